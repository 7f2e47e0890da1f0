//! A plan: everything that decides about a fleet's size, and whether it makes sense.

use std::time::Duration;

use super::alarm::{Alarm, AlarmError};
use super::metrics::{Metric, Metrics, Resolution};
use super::policy::{Policy, StepError};
use super::{MINUTE, Moment};

/// The sizes a fleet may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Bounds {
    /// The fewest instances.
    pub min: u32,
    /// The most instances.
    pub max: u32,
}

impl Bounds {
    /// The size nearest to `capacity` that is within.
    pub fn clamp(self, capacity: u32) -> u32 {
        capacity.min(self.max).max(self.min)
    }
}

/// A scheduled action: sets what is given, at a moment or every so often from then on.
///
/// It takes effect at the first tick after its moment. A moment that had passed before the scaler began has no
/// effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The action's name.
    pub name: String,
    /// The first moment.
    pub at: Moment,
    /// The time from one moment to the next; `None` is once.
    pub every: Option<Duration>,
    /// The new fewest.
    pub min: Option<u32>,
    /// The new most.
    pub max: Option<u32>,
    /// The new size, which policies may change again.
    pub desired: Option<u32>,
}

impl Schedule {
    /// Its last moment that is not after `now`.
    pub fn last(&self, now: Moment) -> Option<Moment> {
        let passed = now.checked_sub(self.at)?;
        Some(self.at + self.every.map_or(Duration::ZERO, |every| super::floor(passed, every)))
    }

    /// Its first moment after `now`.
    pub fn next(&self, now: Moment) -> Option<Moment> {
        match self.last(now) {
            None => Some(self.at),
            Some(last) => self.every.map(|every| last + every),
        }
    }
}

/// By which rules a fleet is sized.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The sizes it may have. It begins with the fewest.
    pub bounds: Bounds,
    /// The alarms that policies follow.
    pub alarms: Vec<Alarm>,
    /// What the alarms do.
    pub policies: Vec<Policy>,
    /// What happens by the calendar.
    pub schedules: Vec<Schedule>,
    /// How long an instance is in service before it counts, where a policy does not say: `DefaultInstanceWarmup`.
    /// `None` is the cooldown for policies that warm, as on AWS, and nothing for other causes of a launch.
    pub warmup: Option<Duration>,
    /// The cooldown where a simple policy does not say: `DefaultCooldown`, by default 300 seconds.
    pub cooldown: Duration,
    /// Whether an empty fleet gets an instance as soon as a message waits, with no alarm. On AWS it does not: an
    /// alarm on more than a few messages leaves one alone for ever.
    pub wakes_from_zero: bool,
}

/// Why a plan cannot be followed, by its field, and the mend.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The fewest are more than the most.
    #[error("min {} is above max {}: lower min or raise max", .0.min, .0.max)]
    Bounds(Bounds),
    /// An alarm is wrong.
    #[error(transparent)]
    Alarm(#[from] AlarmError),
    /// Two alarms, policies or schedules have one name, or one has none.
    #[error("there are two {what} named `{name}`, or one without a name: give each a name of its own")]
    Name {
        /// "alarms", "policies" or "schedules".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A policy follows an alarm that is not there.
    #[error("policy `{policy}`: there is no alarm `{alarm}`: use one of {known}")]
    UnknownAlarm {
        /// The policy's name.
        policy: String,
        /// The alarm's name as given.
        alarm: String,
        /// The alarms that are there.
        known: String,
    },
    /// A step policy's steps are wrong.
    #[error("policy `{policy}`: steps: {error}")]
    Steps {
        /// The policy's name.
        policy: String,
        /// What is wrong.
        error: StepError,
    },
    /// A target is not a positive number.
    #[error(
        "policy `{policy}`: target {target} is not a positive number: give the metric's value for one instance"
    )]
    Target {
        /// The policy's name.
        policy: String,
        /// The target as given.
        target: f64,
    },
    /// A target-tracking policy has a period that such policies cannot have.
    #[error("policy `{policy}`: period {period:?} is not 10, 30 or 60 seconds: use one of these")]
    Period {
        /// The policy's name.
        policy: String,
        /// The period as given.
        period: Duration,
    },
    /// A scheduled action would put min above max, by itself or after another one.
    #[error("schedule `{schedule}`: min {} can meet max {}: set both in this schedule", .bounds.min, .bounds.max)]
    ScheduleBounds {
        /// The schedule's name.
        schedule: String,
        /// The bounds that would meet.
        bounds: Bounds,
    },
    /// A scheduled action comes every zero seconds.
    #[error("schedule `{0}`: every is 0: give the time from one action to the next, or leave it out")]
    Every(String),
}

impl Plan {
    /// A plan that keeps to `bounds` and does nothing else.
    pub(super) fn of(bounds: Bounds) -> Self {
        Self {
            bounds,
            alarms: Vec::new(),
            policies: Vec::new(),
            schedules: Vec::new(),
            warmup: None,
            cooldown: Duration::from_secs(300),
            wakes_from_zero: true,
        }
    }

    /// Checks that everything in it makes sense, and that everything it names is there.
    pub fn validate(&self) -> Result<(), PlanError> {
        if self.bounds.min > self.bounds.max {
            return Err(PlanError::Bounds(self.bounds));
        }
        for policy in &self.policies {
            self.validate_policy(policy)?;
        }
        let alarms: Vec<Alarm> = self.every_alarm().map(|(alarm, _)| alarm).collect();
        alarms.iter().try_for_each(Alarm::validate)?;
        unique("alarms", alarms.iter().map(|alarm| alarm.name.as_str()))?;
        unique("policies", self.policies.iter().map(Policy::name))?;
        unique("schedules", self.schedules.iter().map(|schedule| schedule.name.as_str()))?;
        self.schedules.iter().try_for_each(|schedule| self.validate_schedule(schedule))
    }

    fn validate_policy(&self, policy: &Policy) -> Result<(), PlanError> {
        let name = policy.name().to_owned();
        if let Some(alarm) = policy.alarm()
            && !self.alarms.iter().any(|known| known.name == alarm)
        {
            let known: Vec<&str> = self.alarms.iter().map(|alarm| alarm.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(PlanError::UnknownAlarm { policy: name, alarm: alarm.to_owned(), known });
        }
        match policy {
            Policy::Simple(_) => Ok(()),
            Policy::Step(step) => step.validate().map_err(|error| PlanError::Steps { policy: name, error }),
            Policy::TargetTracking(tracking) => {
                let (target, period) = (tracking.target, tracking.period);
                if !(target.is_finite() && target > 0.0) {
                    Err(PlanError::Target { policy: name, target })
                } else if ![10, 30, 60].map(Duration::from_secs).contains(&period) {
                    Err(PlanError::Period { policy: name, period })
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Whatever is in force when it comes, no schedule may put min above max.
    fn validate_schedule(&self, schedule: &Schedule) -> Result<(), PlanError> {
        if schedule.every.is_some_and(|every| every.is_zero()) {
            return Err(PlanError::Every(schedule.name.clone()));
        }
        let highest_min = self.schedules.iter().filter_map(|other| other.min).max().unwrap_or(0);
        let lowest_max = self.schedules.iter().filter_map(|other| other.max).min().unwrap_or(u32::MAX);
        let bounds = match (schedule.min, schedule.max) {
            (None, None) => return Ok(()),
            (Some(min), Some(max)) => Bounds { min, max },
            (Some(min), None) => Bounds { min, max: lowest_max.min(self.bounds.max) },
            (None, Some(max)) => Bounds { min: highest_min.max(self.bounds.min), max },
        };
        if bounds.min > bounds.max {
            return Err(PlanError::ScheduleBounds { schedule: schedule.name.clone(), bounds });
        }
        Ok(())
    }

    /// Every alarm, also those that policies own, with the index of the policy that owns it.
    pub(super) fn every_alarm(&self) -> impl Iterator<Item = (Alarm, Option<usize>)> {
        let own = self.policies.iter().enumerate().filter_map(|(index, policy)| match policy {
            Policy::TargetTracking(tracking) => Some(tracking.alarms().map(|alarm| (alarm, Some(index)))),
            _ => None,
        });
        self.alarms.iter().map(|alarm| (alarm.clone(), None)).chain(own.flatten())
    }

    /// The alarms, also those that policies own, that are on while their metric is high.
    pub fn high_alarms(&self) -> impl Iterator<Item = String> {
        self.every_alarm().filter(|(alarm, _)| alarm.operator.is_upper()).map(|(alarm, _)| alarm.name)
    }

    /// An empty history, as fine and as long as the alarms need.
    pub fn metrics(&self) -> Metrics {
        let mut resolution = Resolution::Standard;
        let mut keep = MINUTE;
        for (alarm, _) in self.every_alarm() {
            if alarm.period < MINUTE {
                resolution = Resolution::High;
            }
            keep = keep.max(alarm.period.saturating_mul(alarm.evaluation_range()) + MINUTE);
        }
        Metrics::new(resolution, keep)
    }

    /// The same plan with every alarm, and every target, on another metric, in its usual statistic.
    pub fn with_metric(mut self, metric: Metric) -> Self {
        let statistic = metric.usual_statistic();
        for alarm in &mut self.alarms {
            (alarm.metric, alarm.statistic) = (metric, statistic);
        }
        for policy in &mut self.policies {
            if let Policy::TargetTracking(tracking) = policy {
                (tracking.metric, tracking.statistic) = (metric, statistic);
            }
        }
        self
    }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), PlanError> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    match twice.or(names.first().copied().filter(|name| name.is_empty())) {
        Some(name) => Err(PlanError::Name { what, name: name.to_owned() }),
        None => Ok(()),
    }
}
