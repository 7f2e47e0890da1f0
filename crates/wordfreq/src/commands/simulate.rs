//! `wordfreq simulate`: what a scaling plan would do with a load, and what it would cost, before anyone pays.
//!
//! Not here: the decisions and the simulation (`wordfreq_core`), loads (`load`), prices (`prices`), charts (`chart`).

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use wordfreq_core::scaling::{
    Activity, ActivityKind, Bounds, Conditions, Metric, Moment, Plan, Trap, classic, fixed, latency, traps,
};
use wordfreq_core::simulation::{Outcome, Setting, clairvoyant, simulate};
use wordfreq_pipeline::embedded::Deed;
use wordfreq_pipeline::rows::csv_cell;

use crate::chart::{self, Drawn, Mark};
use crate::cli::SimulateArgs;
use crate::config::{Config, Preset};
use crate::exit::{Exit, UsageError};
use crate::load::Workload;
use crate::output::{self, Cell, Format, Listing};
use crate::plan_file;
use crate::prices::Prices;
use crate::run::Latency;

/// The sizes of presets, where no flag says others.
const FEWEST: u32 = 1;
const MOST: u32 = 5;

/// One plan's line of the result.
#[derive(Debug, Serialize)]
struct PolicyReport {
    name: String,
    documents: u64,
    unfinished: u64,
    rested: bool,
    max_in_service: u32,
    launches: u64,
    terminations: u64,
    backlog_peak: u64,
    instance_hours: f64,
    cost_usd: f64,
    lambda_usd: f64,
    latency_seconds: Latency,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activities: Option<Vec<Act>>,
}

#[derive(Debug, Serialize)]
struct Act {
    at_seconds: f64,
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct Clairvoyant {
    instance_hours: f64,
    target_seconds: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    policies: Vec<PolicyReport>,
    clairvoyant: Clairvoyant,
    prices: String,
}

/// What is known of a load before it is simulated.
struct Facts {
    work: Duration,
    mean_service: Duration,
    /// About the most messages that would wait for a single instance.
    peak_backlog: u64,
}

/// Simulates every plan with the same load.
///
/// # Errors
/// Wrong usage, unreadable files, and charts or timelines that cannot be written.
pub fn run(args: &SimulateArgs, _config: &Config) -> anyhow::Result<Exit> {
    let workload = Workload::new(args.arrivals.clone(), args.service.clone(), args.seed)?;
    let facts = facts(&workload);
    let prices = Prices::built_in()?;
    let hourly = prices.instance(&args.instance_type).map_err(UsageError)?;
    let is_json = args.format.format == Format::Json;
    let target = args.target;
    let plans = plans(args, facts.mean_service)?;
    let bounds = widest(args, &plans);
    let mut reports = Vec::new();
    let mut outcomes = Vec::new();
    let mut drawn_alarms = Vec::new();
    for (name, plan) in plans {
        let setting = Setting {
            plan,
            boot: args.boot,
            metric_delay: args.metric_delay,
            prefetch: args.prefetch,
            visibility: args.visibility,
            failures: args.failures,
            lifetime: args.lifetime,
            protect: args.protect,
        };
        let mut warnings = warnings(&setting, &facts);
        let high_alarms: Vec<String> = setting.plan.high_alarms().collect();
        let mut random = fastrand::Rng::with_seed(args.seed.wrapping_add(2));
        let mut outcome = simulate(&setting, &mut workload.loads(), &mut || random.f64())
            .map_err(|error| UsageError(format!("{name}: {error}")))?;
        if !outcome.rested && outcome.unfinished == 0 {
            warnings.push(
                "a day after the last arrival the fleet was not back at its least, and all of that day is billed: nothing \
                 shrinks it; give it an alarm and a policy that do"
                    .to_owned(),
            );
        }
        let activities = (args.activities && is_json).then(|| acts(&outcome));
        let report = report(name.clone(), &mut outcome, &prices, hourly, facts.work, warnings);
        reports.push(PolicyReport { activities, ..report });
        drawn_alarms.push(high_alarms);
        outcomes.push((name, outcome));
    }
    let end = outcomes.iter().map(|(_, outcome)| outcome.end).max().unwrap_or_default();
    let bound = clairvoyant(&mut workload.loads(), target, bounds, end);
    let clairvoyant = Clairvoyant { instance_hours: hours(bound), target_seconds: target.as_secs_f64() };
    let report = Report { policies: reports, clairvoyant, prices: prices.date };
    if let Some(path) = &args.timeline {
        write_timeline(path, &outcomes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for path in &args.chart {
        let marks: Vec<Vec<Mark>> = outcomes.iter().map(|(_, outcome)| marks(outcome)).collect();
        let drawn: Vec<_> = outcomes
            .iter()
            .zip(&marks)
            .zip(&drawn_alarms)
            .map(|(((name, outcome), marks), high_alarms)| Drawn {
                name,
                timeline: &outcome.timeline,
                marks,
                high_alarms,
            })
            .collect();
        chart::draw(path, &drawn)?;
    }
    print(args, &report)?;
    for policy in &report.policies {
        policy
            .warnings
            .iter()
            .for_each(|warning| output::remark(format!("warning: {}: {warning}", policy.name)));
    }
    if args.activities && !is_json {
        for (name, outcome) in &outcomes {
            outcome.activities.iter().for_each(|activity| output::remark(told(name, activity)));
        }
    }
    let unfinished = report.policies.iter().any(|policy| policy.unfinished > 0);
    Ok(if unfinished { Exit::Partly } else { Exit::Done })
}

/// What is to be simulated, with its name: presets and files, each on its own metrics or on every one that is asked for.
fn plans(args: &SimulateArgs, mean_service: Duration) -> Result<Vec<(String, Plan)>, UsageError> {
    let SimulateArgs { preset: presets, plan: files, metric: metrics, min, max, .. } = args;
    let bounds = Bounds { min: min.unwrap_or(FEWEST), max: max.unwrap_or(MOST) };
    let presets = match &presets[..] {
        [] if files.is_empty() => &[Preset::Latency, Preset::Classic],
        given => given,
    };
    let mut plans: Vec<(&str, Plan)> = Vec::new();
    plans.extend(presets.iter().map(|preset| match preset {
        Preset::Classic => ("classic", Plan { bounds, ..classic() }),
        Preset::Latency => ("latency", latency(args.target, mean_service, bounds)),
        Preset::Fixed => ("fixed", fixed(bounds.max)),
    }));
    for file in files {
        let mut plan = plan_file::read(file)?;
        plan.bounds.min = min.unwrap_or(plan.bounds.min);
        plan.bounds.max = max.unwrap_or(plan.bounds.max);
        plans.push((plan_file::name(file), plan));
    }
    let on_metrics = |(name, plan): (&str, Plan)| -> Vec<(String, Plan)> {
        // A fleet that looks at nothing is the same on every metric.
        if metrics.is_empty() || plan.policies.is_empty() {
            return vec![(name.to_owned(), plan)];
        }
        let on = |metric: &Metric| (format!("{name} on {metric}"), plan.clone().with_metric(*metric));
        metrics.iter().map(on).collect()
    };
    Ok(plans.into_iter().flat_map(on_metrics).collect())
}

/// The sizes that a fleet could have by any of the plans: what the clairvoyant bound may use.
fn widest(args: &SimulateArgs, plans: &[(String, Plan)]) -> Bounds {
    let (mut mins, mut maxes) = (Vec::new(), Vec::new());
    // A preset may be narrower than the flags: a fixed fleet could have been another.
    if !args.preset.is_empty() || args.plan.is_empty() {
        mins.push(args.min.unwrap_or(FEWEST));
        maxes.push(args.max.unwrap_or(MOST));
    }
    for (_, plan) in plans {
        mins.push(plan.bounds.min);
        maxes.push(plan.bounds.max);
        mins.extend(plan.schedules.iter().filter_map(|schedule| schedule.min));
        maxes.extend(plan.schedules.iter().filter_map(|schedule| schedule.max));
    }
    Bounds { min: mins.into_iter().min().unwrap_or(0), max: maxes.into_iter().max().unwrap_or(0) }
}

fn facts(workload: &Workload) -> Facts {
    let (mut documents, mut work) = (0_u64, Duration::ZERO);
    // Work that a single instance would not have done yet.
    let (mut now, mut left, mut most_left) = (Moment::ZERO, Duration::ZERO, Duration::ZERO);
    for load in workload.loads() {
        documents += 1;
        work += load.service;
        left = left.saturating_sub(load.arrival - now) + load.service;
        now = load.arrival;
        most_left = most_left.max(left);
    }
    let mean = work.as_secs_f64() / documents.max(1) as f64;
    // A target needs a time to divide by.
    let mean_service = Duration::from_secs_f64(mean).max(Duration::from_millis(1));
    let peak_backlog = (most_left.as_secs_f64() / mean_service.as_secs_f64()).ceil() as u64;
    Facts { work, mean_service, peak_backlog: peak_backlog.clamp(1, documents.max(1)) }
}

fn warnings(setting: &Setting, facts: &Facts) -> Vec<String> {
    let conditions = Conditions {
        boot: setting.boot,
        prefetch: setting.prefetch,
        service_time: Some(facts.mean_service),
        peak_backlog: Some(facts.peak_backlog),
        metric_delay: setting.metric_delay,
    };
    let once = setting.plan.schedules.iter().filter(|schedule| schedule.every.is_none());
    let never = once.map(|schedule| {
        format!(
            "{}: it happens once, at a moment of the calendar, which a simulated day is no part of, so here it never does: \
             give it a time of day",
            schedule.name,
        )
    });
    traps(&setting.plan, &conditions).iter().map(Trap::to_string).chain(never).collect()
}

fn report(
    name: String,
    outcome: &mut Outcome,
    prices: &Prices,
    hourly: f64,
    work: Duration,
    warnings: Vec<String>,
) -> PolicyReport {
    let mut at = |share| outcome.latency(share).unwrap_or_default().as_secs_f64();
    let latency_seconds = Latency { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) };
    let instance_hours = hours(outcome.instance_time);
    PolicyReport {
        name,
        documents: outcome.documents,
        unfinished: outcome.unfinished,
        rested: outcome.rested,
        max_in_service: outcome.max_in_service,
        launches: outcome.launches,
        terminations: outcome.terminations,
        backlog_peak: outcome.backlog_peak,
        instance_hours,
        cost_usd: instance_hours * hourly + prices.requests(outcome.documents, outcome.received),
        lambda_usd: prices.lambda(outcome.documents, work)
            + prices.requests(outcome.documents, outcome.received),
        latency_seconds,
        warnings,
        activities: None,
    }
}

/// Each launch and termination as JSON has it, in the words of the load test's.
fn acts(outcome: &Outcome) -> Vec<Act> {
    let kind = |kind: &ActivityKind| match kind {
        ActivityKind::Launch => Deed::Launch.as_str(),
        ActivityKind::Terminate(_) => Deed::Terminate.as_str(),
    };
    let act = |act: &Activity| Act { at_seconds: act.at.as_secs_f64(), kind: kind(&act.kind) };
    outcome.activities.iter().map(act).collect()
}

fn marks(outcome: &Outcome) -> Vec<Mark> {
    let mark = |act: &Activity| Mark { at: act.at, is_launch: act.kind == ActivityKind::Launch };
    outcome.activities.iter().map(mark).collect()
}

fn hours(time: Duration) -> f64 {
    time.as_secs_f64() / 3600.0
}

fn print(args: &SimulateArgs, report: &Report) -> anyhow::Result<()> {
    let style = args.format.style();
    if style.format == Format::Json {
        return output::to_stdout(|out| {
            serde_json::to_writer(&mut *out, report)?;
            writeln!(out)
        });
    }
    let mut listing = Listing::new(
        "policies",
        [
            "policy",
            "documents",
            "unfinished",
            "max_in_service",
            "launches",
            "terminations",
            "backlog_peak",
            "instance_hours",
            "cost_usd",
            "lambda_usd",
            "p50_s",
            "p95_s",
            "p99_s",
            "max_s",
        ],
    );
    for policy in &report.policies {
        let [p50, p95, p99, max] = policy.latency_seconds.cells();
        listing.push([
            policy.name.as_str().into(),
            policy.documents.into(),
            policy.unfinished.into(),
            u64::from(policy.max_in_service).into(),
            policy.launches.into(),
            policy.terminations.into(),
            policy.backlog_peak.into(),
            Cell::fixed(policy.instance_hours, 3),
            Cell::fixed(policy.cost_usd, 4),
            Cell::fixed(policy.lambda_usd, 4),
            p50,
            p95,
            p99,
            max,
        ]);
    }
    output::to_stdout(|out| output::write_listing(out, &listing, style))?;
    output::remark(format!(
        "who knew all arrivals beforehand could have done it within {} s a document in {:.3} instance-hours; prices of {} \
         for {}",
        report.clairvoyant.target_seconds,
        report.clairvoyant.instance_hours,
        report.prices,
        args.instance_type
    ));
    Ok(())
}

fn write_timeline(path: &Path, outcomes: &[(String, Outcome)]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(BufWriter::new(File::create(path)?));
    csv.write_record(["policy", "seconds", "visible", "not_visible", "desired", "in_service", "alarms"])?;
    for (name, outcome) in outcomes {
        for sample in &outcome.timeline {
            csv.write_record([
                &*csv_cell(name, false),
                &sample.at.as_secs_f64().to_string(),
                &sample.visible.to_string(),
                &sample.not_visible.to_string(),
                &sample.desired.to_string(),
                &sample.in_service.to_string(),
                &*csv_cell(&sample.alarms.join("; "), false),
            ])?;
        }
    }
    csv.flush()?;
    Ok(())
}

fn told(policy: &str, activity: &Activity) -> String {
    let time = |moment: Moment| humantime::format_duration(moment).to_string();
    let what = match &activity.kind {
        ActivityKind::Launch => "launch".to_owned(),
        ActivityKind::Terminate(id) => format!("terminate {id}"),
    };
    format!("{policy}: {what}: {}", activity.cause_in_words(time))
}
