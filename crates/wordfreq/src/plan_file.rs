//! Plan files: a scaling plan written down in TOML, with the words that AWS has for things.
//! `docs/plans/README.md` lists the fields, and examples stand beside it.
//!
//! Not here: what a plan means, and whether it makes sense (`wordfreq_core::scaling`).

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer, Error as _};
use wordfreq_core::scaling::{
    AdjustmentType, Alarm, Bounds, ComparisonOperator, Metric, Moment, Plan, Policy, Schedule, SimpleScaling,
    Statistic, StepAdjustment, StepScaling, TargetTracking, TreatMissingData,
};

use crate::exit::UsageError;
use crate::load;

/// The most instances that a plan may have: far more than anyone pays for, and few enough to simulate.
pub const MAX_INSTANCES: u32 = 100_000;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Reads a plan, and checks that it makes sense.
///
/// # Errors
/// The file cannot be read, or what it says makes no sense; with the place in it, and the mend.
pub fn read(path: &Path) -> Result<Plan, UsageError> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| UsageError(format!("cannot read the plan {shown}: {error}")))?;
    let file: File = toml::from_str(&text)
        .map_err(|error| UsageError(format!("{shown}, {}: {}", place(&text, &error), one_line(&error))))?;
    let plan = Plan::from(file);
    sensible(&plan).map_err(|error| UsageError(format!("{shown}: {error}")))?;
    plan.validate().map_err(|error| UsageError(format!("{shown}: {error}")))?;
    Ok(plan)
}

/// Refuses what a program could mean, and a person can not.
fn sensible(plan: &Plan) -> Result<(), String> {
    let bounds = plan.bounds;
    let own = [("min", Some(bounds.min)), ("max", Some(bounds.max))].map(|size| (String::new(), size));
    let scheduled = plan.schedules.iter().flat_map(|schedule| {
        [("min", schedule.min), ("max", schedule.max), ("desired", schedule.desired)]
            .map(|size| (format!("schedule `{}`: ", schedule.name), size))
    });
    for (place, (field, size)) in own.into_iter().chain(scheduled) {
        if let Some(size) = size.filter(|size| *size > MAX_INSTANCES) {
            return Err(format!("{place}{field} {size} is more than {MAX_INSTANCES}: lower it"));
        }
    }
    // A schedule that says no bounds may come while those of any other are in force.
    let lowest = plan.schedules.iter().filter_map(|schedule| schedule.min).fold(bounds.min, u32::min);
    let highest = plan.schedules.iter().filter_map(|schedule| schedule.max).fold(bounds.max, u32::max);
    for Schedule { name, min, max, desired, .. } in &plan.schedules {
        if (min, max, desired) == (&None, &None, &None) {
            return Err(format!("schedule `{name}` sets nothing: give it min, max or desired"));
        }
        let (min, max) = (min.unwrap_or(lowest), max.unwrap_or(highest));
        if let Some(desired) = desired.filter(|desired| min <= max && !(min..=max).contains(desired)) {
            return Err(format!("schedule `{name}`: desired {desired} is not from min {min} to max {max}"));
        }
    }
    Ok(())
}

/// What the plan of a file is called.
pub fn name(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).unwrap_or("plan")
}

/// Where an error is: the line, its table and its field.
fn place(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let lines: Vec<&str> = text[..end].lines().map(str::trim).collect();
    let table = lines.iter().rev().find(|line| line.starts_with('[') && line.ends_with(']'));
    let field = lines.last().and_then(|line| line.split_once('=')).map(|(field, _)| field.trim());
    let names: Vec<&str> = table.copied().into_iter().chain(field).collect();
    format!("line {} {}", lines.len().max(1), names.join(" ")).trim_end().to_owned()
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().trim_end().replace('\n', "; ")
}

/// A value that is written as a string and read by its own rules.
struct Word<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(word) => word,
            other => {
                return Err(D::Error::custom(format!(
                    "{other} must be in quotes, a time with its unit: \"60s\""
                )));
            }
        };
        word.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A length of time such as "90s" or "5min".
struct Time(Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        load::time(text).map(Self).map_err(|error| format!("{error}: write one such as \"90s\" or \"5min\""))
    }
}

/// When a schedule begins.
enum At {
    /// The time since midnight, UTC.
    Daily(Duration),
    /// A moment of the calendar.
    Once(Moment),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(moment) = humantime::parse_rfc3339(text) {
            let since = moment.duration_since(UNIX_EPOCH).map_err(|_| format!("{text:?} is before 1970"))?;
            return Ok(Self::Once(since));
        }
        load::time(text).ok().filter(|time| *time < DAY).map(Self::Daily).ok_or_else(|| {
            format!(
                "{text:?} is neither a time of day nor a moment: write one such as \"8h30m\" or \"2027-01-31T08:30:00Z\", \
                 in UTC"
            )
        })
    }
}

/// How long from one time of a schedule to the next.
struct Every(Duration);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let every = load::time(text).ok().filter(|every| {
            // Others would be at another time each day, and which one would depend on the year 1970.
            *every >= Duration::from_secs(60) && DAY.as_nanos().is_multiple_of(every.as_nanos())
        });
        every.map(Self).ok_or_else(|| {
            format!("{text:?} is not a minute or more that divides a day: write one such as \"24h\", \"12h\" or \"1h\"")
        })
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    min: u32,
    max: u32,
    warmup: Option<Word<Time>>,
    #[serde(default = "default_cooldown")]
    cooldown: Word<Time>,
    #[serde(default = "yes")]
    wakes_from_zero: bool,
    #[serde(default)]
    alarm: Vec<AlarmTable>,
    #[serde(default)]
    step_scaling: Vec<StepTable>,
    #[serde(default)]
    simple_scaling: Vec<SimpleTable>,
    #[serde(default)]
    target_tracking: Vec<TrackingTable>,
    #[serde(default)]
    schedule: Vec<ScheduleTable>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AlarmTable {
    name: String,
    metric: Word<Metric>,
    statistic: Option<Word<Statistic>>,
    #[serde(default = "default_period")]
    period: Word<Time>,
    #[serde(default = "one")]
    evaluation_periods: u32,
    datapoints_to_alarm: Option<u32>,
    comparison_operator: Word<ComparisonOperator>,
    threshold: f64,
    #[serde(default = "default_missing_data")]
    treat_missing_data: Word<TreatMissingData>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SimpleTable {
    name: String,
    alarm: String,
    #[serde(default = "default_adjustment_type")]
    adjustment_type: Word<AdjustmentType>,
    adjustment: i32,
    #[serde(default)]
    min_adjustment_magnitude: u32,
    cooldown: Option<Word<Time>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    name: String,
    alarm: String,
    #[serde(default = "default_adjustment_type")]
    adjustment_type: Word<AdjustmentType>,
    steps: Vec<Step>,
    #[serde(default)]
    min_adjustment_magnitude: u32,
    #[serde(default = "default_aggregation")]
    metric_aggregation_type: Word<Statistic>,
    warmup: Option<Word<Time>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    lower: Option<f64>,
    upper: Option<f64>,
    adjustment: i32,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TrackingTable {
    name: String,
    metric: Word<Metric>,
    statistic: Option<Word<Statistic>>,
    target: f64,
    #[serde(default = "default_period")]
    period: Word<Time>,
    #[serde(default)]
    disable_scale_in: bool,
    warmup: Option<Word<Time>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleTable {
    name: String,
    at: Word<At>,
    every: Option<Word<Every>>,
    min: Option<u32>,
    max: Option<u32>,
    desired: Option<u32>,
}

fn default_cooldown() -> Word<Time> {
    Word(Time(Duration::from_secs(300)))
}

fn default_period() -> Word<Time> {
    Word(Time(Duration::from_secs(60)))
}

fn default_missing_data() -> Word<TreatMissingData> {
    Word(TreatMissingData::Missing)
}

fn default_adjustment_type() -> Word<AdjustmentType> {
    Word(AdjustmentType::ChangeInCapacity)
}

fn default_aggregation() -> Word<Statistic> {
    Word(Statistic::Average)
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn time(word: Option<Word<Time>>) -> Option<Duration> {
    word.map(|Word(Time(time))| time)
}

fn statistic(given: Option<Word<Statistic>>, metric: Metric) -> Statistic {
    given.map_or(metric.usual_statistic(), |Word(statistic)| statistic)
}

impl From<File> for Plan {
    fn from(file: File) -> Self {
        let steps = file.step_scaling.into_iter().map(Policy::from);
        let simple = file.simple_scaling.into_iter().map(Policy::from);
        let tracking = file.target_tracking.into_iter().map(Policy::from);
        Self {
            bounds: Bounds { min: file.min, max: file.max },
            alarms: file.alarm.into_iter().map(Alarm::from).collect(),
            policies: steps.chain(simple).chain(tracking).collect(),
            schedules: file.schedule.into_iter().map(Schedule::from).collect(),
            warmup: time(file.warmup),
            cooldown: file.cooldown.0.0,
            wakes_from_zero: file.wakes_from_zero,
        }
    }
}

impl From<AlarmTable> for Alarm {
    fn from(table: AlarmTable) -> Self {
        Self {
            name: table.name,
            metric: table.metric.0,
            statistic: statistic(table.statistic, table.metric.0),
            period: table.period.0.0,
            evaluation_periods: table.evaluation_periods,
            datapoints_to_alarm: table.datapoints_to_alarm.unwrap_or(table.evaluation_periods),
            operator: table.comparison_operator.0,
            threshold: table.threshold,
            missing_data: table.treat_missing_data.0,
        }
    }
}

impl From<SimpleTable> for Policy {
    fn from(table: SimpleTable) -> Self {
        Self::Simple(SimpleScaling {
            name: table.name,
            alarm: table.alarm,
            adjustment_type: table.adjustment_type.0,
            adjustment: table.adjustment,
            min_adjustment_magnitude: table.min_adjustment_magnitude,
            cooldown: time(table.cooldown),
        })
    }
}

impl From<StepTable> for Policy {
    fn from(table: StepTable) -> Self {
        let step = |Step { lower, upper, adjustment }| StepAdjustment { lower, upper, adjustment };
        Self::Step(StepScaling {
            name: table.name,
            alarm: table.alarm,
            adjustment_type: table.adjustment_type.0,
            steps: table.steps.into_iter().map(step).collect(),
            min_adjustment_magnitude: table.min_adjustment_magnitude,
            aggregation: table.metric_aggregation_type.0,
            warmup: time(table.warmup),
        })
    }
}

impl From<TrackingTable> for Policy {
    fn from(table: TrackingTable) -> Self {
        Self::TargetTracking(TargetTracking {
            name: table.name,
            metric: table.metric.0,
            statistic: statistic(table.statistic, table.metric.0),
            target: table.target,
            period: table.period.0.0,
            disable_scale_in: table.disable_scale_in,
            warmup: time(table.warmup),
        })
    }
}

impl From<ScheduleTable> for Schedule {
    fn from(table: ScheduleTable) -> Self {
        let given = table.every.map(|Word(Every(every))| every);
        let (at, every) = match table.at.0 {
            At::Daily(at) => (at, Some(given.unwrap_or(DAY))),
            At::Once(at) => (at, given),
        };
        Self { name: table.name, at, every, min: table.min, max: table.max, desired: table.desired }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wordfreq_core::scaling::{classic, latency};

    fn example(name: &str) -> Plan {
        read(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/plans")).join(name)).unwrap()
    }

    fn refused(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.toml");
        fs::write(&path, text).unwrap();
        read(&path).unwrap_err().to_string()
    }

    #[test]
    fn the_examples_are_what_they_say() {
        assert_eq!(example("classic.toml"), classic());
        let step = example("step.toml");
        let Policy::Step(policy) = &step.policies[0] else { panic!("{step:?}") };
        assert_eq!(policy.steps.len(), 3);
        let evening = &step.schedules[1];
        assert_eq!((evening.at, evening.every), (Duration::from_secs(19 * 3600), Some(DAY)));
        let bounds = Bounds { min: 1, max: 20 };
        let preset = latency(Duration::from_secs(300), Duration::from_secs(12), bounds);
        assert_eq!(example("target.toml"), preset);
    }

    #[test]
    fn a_schedule_is_daily_or_once() {
        let table = |at: &str| -> Schedule {
            let text = format!("name = 'a'\nat = '{at}'");
            toml::from_str::<ScheduleTable>(&text).unwrap().into()
        };
        assert_eq!(table("8h30m").every, Some(DAY));
        let once = table("2027-01-31T08:30:00Z");
        assert_eq!((once.at, once.every), (Duration::from_secs(1_801_384_200), None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place_and_the_mend() {
        const BOUNDS: &str = "min = 1\nmax = 5\n";
        const ALARM: &str = "[[alarm]]\nname = 'a'\nthreshold = 1\nmetric = 'NumberOfMessagesSent'\n";
        for (text, place, mend) in [
            ("min = 1".to_owned(), "plan.toml, line 1", "missing field `max`"),
            (format!("{BOUNDS}most = 3"), "plan.toml, line 3 most", "unknown field `most`, expected one of"),
            (format!("{BOUNDS}cooldown = 'soon'"), "line 3 cooldown", "such as \"90s\""),
            (format!("{BOUNDS}[[alarm]]\nname = 'a'\n"), "line 3 [[alarm]]", "missing field `metric`"),
            (
                format!("{BOUNDS}{ALARM}comparison_operator = 'Above'"),
                "line 7 [[alarm]] comparison_operator",
                "GreaterThanThreshold",
            ),
            (
                format!("{BOUNDS}{ALARM}comparison_operator = 'LessThanThreshold'\nperiod = '45s'"),
                "alarm `a`: period 45s",
                "use one of these",
            ),
            (
                format!("{BOUNDS}[[schedule]]\nname = 'a'\nat = '25h'"),
                "line 5 [[schedule]] at",
                "\"8h30m\" or \"2027-01-31T08:30:00Z\"",
            ),
            (
                format!("{BOUNDS}[[schedule]]\nname = 'a'\nat = '1h'\nevery = '5h'"),
                "line 6 [[schedule]] every",
                "divides a day",
            ),
            (
                format!("{BOUNDS}[[schedule]]\nname = 'a'\nat = '1h'\nmax = 2\nevery = '1ns'"),
                "line 7 [[schedule]] every",
                "a minute or more",
            ),
            (
                format!("{BOUNDS}[[schedule]]\nname = 'a'\nat = '1h'"),
                "schedule `a` sets nothing",
                "give it min",
            ),
            (
                format!("{BOUNDS}[[schedule]]\nname = 'a'\nat = '1h'\nmax = 4\ndesired = 5"),
                "schedule `a`: desired 5",
                "to max 4",
            ),
            ("min = 1\nmax = 100001".to_owned(), "plan.toml: max 100001", "more than 100000"),
            (
                format!("{BOUNDS}[[step_scaling]]\nname = 'a'\nalarm = 'b'\nsteps = [{{ lowest = 0 }}]"),
                "line 6 [[step_scaling]] steps",
                "unknown field `lowest`",
            ),
            (
                format!("{BOUNDS}[[simple_scaling]]\nname = 'a'\nalarm = 'b'\nadjustment = 1"),
                "plan.toml: policy `a`: there is no alarm `b`",
                "use one of none",
            ),
            ("min = 2\nmax = 1".to_owned(), "plan.toml: min 2 is above max 1", "lower min"),
            ("min = 1\nmax = ".to_owned(), "plan.toml, line 2 max", ""),
        ] {
            let message = refused(&text);
            assert!(message.contains(place) && message.contains(mend), "{text}\n{message}");
        }
        assert!(read(Path::new("nowhere.toml")).unwrap_err().to_string().contains("nowhere.toml"));
    }
}
