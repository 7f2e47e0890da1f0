//! Alarms: a metric held against a threshold over some periods.
//!
//! The rules are those of "Using Amazon CloudWatch alarms" in the CloudWatch user guide. Not here: when an alarm is
//! evaluated and whom it calls (`scaler`).

use std::time::Duration;

use super::metrics::{Metric, Metrics, Statistic};
use super::words::words;
use super::{MINUTE, Moment, TEN_SECONDS};

/// How a datapoint is held against the threshold: in these relations it breaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComparisonOperator {
    /// At or above the threshold.
    GreaterThanOrEqualTo,
    /// Above the threshold.
    GreaterThan,
    /// Below the threshold.
    LessThan,
    /// At or below the threshold.
    LessThanOrEqualTo,
}

words!(ComparisonOperator, "comparison operator",
    GreaterThanOrEqualTo => "GreaterThanOrEqualToThreshold",
    GreaterThan => "GreaterThanThreshold",
    LessThan => "LessThanThreshold",
    LessThanOrEqualTo => "LessThanOrEqualToThreshold",
);

impl ComparisonOperator {
    /// Whether `value` breaches.
    pub fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::GreaterThanOrEqualTo => value >= threshold,
            Self::GreaterThan => value > threshold,
            Self::LessThan => value < threshold,
            Self::LessThanOrEqualTo => value <= threshold,
        }
    }

    /// Whether it looks for values above the threshold.
    pub const fn is_upper(self) -> bool {
        matches!(self, Self::GreaterThan | Self::GreaterThanOrEqualTo)
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::GreaterThanOrEqualTo => "greater than or equal to",
            Self::GreaterThan => "greater than",
            Self::LessThan => "less than",
            Self::LessThanOrEqualTo => "less than or equal to",
        }
    }
}

/// What stands in for datapoints that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TreatMissingData {
    /// Nothing; without any datapoint the state is INSUFFICIENT_DATA.
    #[default]
    Missing,
    /// Nothing; the state stays as it is.
    Ignore,
    /// Breaching ones.
    Breaching,
    /// Others.
    NotBreaching,
}

words!(TreatMissingData, "treatment of missing data",
    Missing => "missing", Ignore => "ignore", Breaching => "breaching", NotBreaching => "notBreaching",
);

impl TreatMissingData {
    const fn in_words(self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::Ignore => "Ignore",
            Self::Breaching => "Breaching",
            Self::NotBreaching => "NonBreaching",
        }
    }
}

/// How an alarm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AlarmState {
    /// Within the threshold.
    Ok,
    /// Not within it.
    Alarm,
    /// Not known: the state every alarm begins in.
    #[default]
    InsufficientData,
}

words!(AlarmState, "alarm state", Ok => "OK", Alarm => "ALARM", InsufficientData => "INSUFFICIENT_DATA");

/// The rule of an alarm, with the fields of CloudWatch's `PutMetricAlarm`.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// What policies call it by.
    pub name: String,
    /// What it watches.
    pub metric: Metric,
    /// How samples become a datapoint.
    pub statistic: Statistic,
    /// The time that a datapoint stands for: 10, 20 or 30 seconds, or whole minutes.
    pub period: Duration,
    /// N: how many datapoints are looked at.
    pub evaluation_periods: u32,
    /// M: how many of them must breach.
    pub datapoints_to_alarm: u32,
    /// In which relation to the threshold they breach.
    pub operator: ComparisonOperator,
    /// What they are held against.
    pub threshold: f64,
    /// What missing ones count as.
    pub missing_data: TreatMissingData,
}

/// What is wrong with an [`Alarm`], by its field, and the mend.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AlarmError {
    /// It has no name.
    #[error("an alarm has no name: give it one, by which policies can refer to it")]
    Name,
    /// `period` is not one that CloudWatch has.
    #[error(
        "alarm `{alarm}`: period {period:?} is not 10, 20, 30 or a multiple of 60 seconds: use one of these"
    )]
    Period {
        /// The alarm's name.
        alarm: String,
        /// The period as given.
        period: Duration,
    },
    /// `evaluation_periods` is 0.
    #[error("alarm `{alarm}`: evaluation_periods is 0: look at 1 datapoint at least")]
    EvaluationPeriods {
        /// The alarm's name.
        alarm: String,
    },
    /// `datapoints_to_alarm` is 0 or above `evaluation_periods`.
    #[error("alarm `{alarm}`: datapoints_to_alarm is {given}: use 1 to {most}, which is evaluation_periods")]
    DatapointsToAlarm {
        /// The alarm's name.
        alarm: String,
        /// M as given.
        given: u32,
        /// N.
        most: u32,
    },
    /// All periods together are longer than CloudWatch looks back.
    #[error(
        "alarm `{alarm}`: period times evaluation_periods is {given:?}, over the limit of {most:?}: lower either one"
    )]
    TooLong {
        /// The alarm's name.
        alarm: String,
        /// All periods together.
        given: Duration,
        /// A week with periods of an hour or more, else a day.
        most: Duration,
    },
    /// `threshold` is infinite or not a number.
    #[error("alarm `{alarm}`: threshold is not a finite number: give one that the metric can reach")]
    Threshold {
        /// The alarm's name.
        alarm: String,
    },
}

/// What an alarm found.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The state that follows.
    pub state: AlarmState,
    /// Why, worded as CloudWatch words `StateReason`, but without the times of the datapoints.
    pub reason: String,
    /// The real datapoints that counted, newest first.
    pub datapoints: Vec<f64>,
}

impl Alarm {
    /// Checks every field against the limits of CloudWatch's `PutMetricAlarm`.
    pub fn validate(&self) -> Result<(), AlarmError> {
        let alarm = self.name.clone();
        let seconds = self.period.as_secs();
        let whole = self.period.subsec_nanos() == 0;
        if self.name.is_empty() {
            return Err(AlarmError::Name);
        }
        if !(whole && (matches!(seconds, 10 | 20 | 30) || (seconds > 0 && seconds.is_multiple_of(60)))) {
            return Err(AlarmError::Period { alarm, period: self.period });
        }
        if self.evaluation_periods == 0 {
            return Err(AlarmError::EvaluationPeriods { alarm });
        }
        if !(1..=self.evaluation_periods).contains(&self.datapoints_to_alarm) {
            let (given, most) = (self.datapoints_to_alarm, self.evaluation_periods);
            return Err(AlarmError::DatapointsToAlarm { alarm, given, most });
        }
        let given = self.period.saturating_mul(self.evaluation_periods);
        let most = Duration::from_secs(86_400 * if seconds < 3_600 { 1 } else { 7 });
        if given > most {
            return Err(AlarmError::TooLong { alarm, given, most });
        }
        if !self.threshold.is_finite() {
            return Err(AlarmError::Threshold { alarm });
        }
        Ok(())
    }

    /// How many datapoints are fetched, so that late ones leave enough. The guide says "more than the evaluation
    /// periods" and shows 5 for 3; the same two more are taken for every number.
    pub fn evaluation_range(&self) -> u32 {
        self.evaluation_periods.saturating_add(2)
    }

    /// How often it is evaluated: every minute, over a window that slides by the minute; with a period below a minute
    /// every 10 seconds.
    pub fn interval(&self) -> Duration {
        if self.period < MINUTE { TEN_SECONDS } else { MINUTE }
    }

    /// The datapoints of the evaluation range that ends at `at`, oldest first.
    pub fn datapoints(&self, metrics: &Metrics, at: Moment) -> Vec<Option<f64>> {
        (1..=self.evaluation_range())
            .rev()
            .map(|back| {
                let start = at.checked_sub(self.period.saturating_mul(back))?;
                metrics.datapoint(self.metric, self.statistic, start, self.period)
            })
            .collect()
    }

    /// Judges the datapoints of an evaluation range, oldest first.
    ///
    /// With N real ones or more the newest N decide, whatever is missing among them. Otherwise all real ones count,
    /// and the shortfall is filled as [`missing_data`](Self::missing_data) says. ALARM if M of N breach.
    pub fn evaluate(&self, points: &[Option<f64>], before: AlarmState) -> Evaluation {
        let (n, m) = (self.evaluation_periods as usize, self.datapoints_to_alarm as usize);
        let breaches = |value: f64| self.operator.breaches(value, self.threshold);
        // Ages count from 1, the newest period.
        let real: Vec<(usize, f64)> = (1..)
            .zip(points.iter().rev())
            .filter_map(|(age, point)| point.map(|value| (age, value)))
            .take(n)
            .collect();
        let breaching = real.iter().filter(|&&(_, value)| breaches(value)).count();
        let all_breach = breaching == real.len();
        let shortfall = n - real.len();
        let state = match self.missing_data {
            _ if breaching >= m => AlarmState::Alarm,
            _ if shortfall == 0 => AlarmState::Ok,
            TreatMissingData::Breaching if breaching + shortfall >= m => AlarmState::Alarm,
            TreatMissingData::Ignore if all_breach => before,
            TreatMissingData::Missing if real.is_empty() => AlarmState::InsufficientData,
            // "Avoiding premature transitions to alarm state": alone, a breaching datapoint waits for the next ones;
            // but if M periods did not bring anything better, it counts.
            TreatMissingData::Missing if all_breach && real.last().is_some_and(|&(age, _)| age >= m) => {
                AlarmState::Alarm
            }
            _ => AlarmState::Ok,
        };
        let datapoints: Vec<f64> = real.into_iter().map(|(_, value)| value).collect();
        Evaluation { state, reason: self.reason(state, &datapoints), datapoints }
    }

    fn reason(&self, state: AlarmState, datapoints: &[f64]) -> String {
        let (n, m) = (self.evaluation_periods as usize, self.datapoints_to_alarm as usize);
        let missing = n - datapoints.len();
        if state == AlarmState::InsufficientData {
            return format!("Insufficient Data: {} unknown.", were(missing, "datapoint"));
        }
        let treated =
            format!("{} treated as [{}]", were(missing, "missing datapoint"), self.missing_data.in_words());
        if datapoints.is_empty() {
            return format!(
                "Threshold Crossed: no datapoints were received for {} and {treated}.",
                counted(n, "period")
            );
        }
        let (breaching, others): (Vec<f64>, Vec<f64>) =
            datapoints.iter().partition(|&&value| self.operator.breaches(value, self.threshold));
        let within = state == AlarmState::Ok && !others.is_empty();
        let told = if within { others } else { breaching };
        let (least, transition) =
            if state == AlarmState::Alarm { (m, "OK -> ALARM") } else { (n - m + 1, "ALARM -> OK") };
        format!(
            "Threshold Crossed: {} out of the last {n} datapoints {told:?} {} {}{} the threshold ({:?}){}{} \
             (minimum {} for {transition} transition).",
            told.len(),
            if told.len() == 1 { "was" } else { "were" },
            if within { "not " } else { "" },
            self.operator.in_words(),
            self.threshold,
            if missing > 0 { " and " } else { "" },
            if missing > 0 { &*treated } else { "" },
            counted(least, "datapoint"),
        )
    }
}

/// "1 datapoint", "2 datapoints".
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// "1 datapoint was", "2 datapoints were".
fn were(count: usize, what: &str) -> String {
    format!("{} {}", counted(count, what), if count == 1 { "was" } else { "were" })
}
