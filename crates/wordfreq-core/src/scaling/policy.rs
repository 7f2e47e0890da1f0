//! Policies: what an alarm does to the size of the fleet.
//!
//! Here is the arithmetic alone, as the Amazon EC2 Auto Scaling user guide has it ("Step and simple scaling
//! policies", "Target tracking scaling policies"). Which policy is asked when, and which of several wins, is in
//! `scaler`.

use std::time::Duration;

use super::alarm::{Alarm, ComparisonOperator, TreatMissingData};
use super::metrics::{Metric, Statistic};
use super::words::words;

/// What the number of an adjustment means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdjustmentType {
    /// So many more, or fewer.
    ChangeInCapacity,
    /// So many.
    ExactCapacity,
    /// So many percent more, or fewer.
    PercentChangeInCapacity,
}

words!(AdjustmentType, "adjustment type",
    ChangeInCapacity => "ChangeInCapacity",
    ExactCapacity => "ExactCapacity",
    PercentChangeInCapacity => "PercentChangeInCapacity",
);

impl AdjustmentType {
    /// What becomes of `capacity`. A percentage is rounded towards zero, but to one instance where that would be
    /// none, and then to `min_magnitude` instances at least ("Scaling adjustment types"; `MinAdjustmentMagnitude` is
    /// for percentages alone).
    pub fn adjust(self, capacity: u32, adjustment: i32, min_magnitude: u32) -> u32 {
        let (capacity, adjustment) = (i64::from(capacity), i64::from(adjustment));
        let adjusted = match self {
            Self::ChangeInCapacity => capacity + adjustment,
            Self::ExactCapacity => adjustment,
            Self::PercentChangeInCapacity => {
                let hundredths = capacity * adjustment;
                let rounded = if hundredths == 0 { 0 } else { (hundredths.abs() / 100).max(1) };
                capacity + adjustment.signum() * rounded.max(i64::from(min_magnitude))
            }
        };
        u32::try_from(adjusted.max(0)).unwrap_or(u32::MAX)
    }
}

/// What a policy may know of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FleetSize {
    /// How many instances there should be.
    pub desired: u32,
    /// How many start.
    pub pending: u32,
    /// How many are in service.
    pub in_service: u32,
    /// How many were when the metric was measured.
    pub measured: u32,
    /// How many of those in service are past their warm-up.
    pub warmed: u32,
    /// How many that a scale-out launched start or are in their warm-up.
    pub warming: u32,
    /// How many drain.
    pub terminating: u32,
    /// How many of those in service hold messages.
    pub busy: u32,
}

impl FleetSize {
    /// Whether instances are being started or stopped.
    pub fn is_changing(&self) -> bool {
        self.pending > 0 || self.terminating > 0 || self.in_service < self.desired
    }
}

/// One adjustment for each time its alarm calls, and then silence until all of it has happened and the cooldown is
/// over.
#[derive(Clone, Debug, PartialEq)]
pub struct SimpleScaling {
    /// The policy's name.
    pub name: String,
    /// The alarm that it follows, by name.
    pub alarm: String,
    /// What `adjustment` means.
    pub adjustment_type: AdjustmentType,
    /// By how much.
    pub adjustment: i32,
    /// The fewest instances a percentage stands for.
    pub min_adjustment_magnitude: u32,
    /// The silence after the last instance came or went; `None` is the plan's.
    pub cooldown: Option<Duration>,
}

impl SimpleScaling {
    /// The size it wants.
    pub fn propose(&self, fleet: &FleetSize) -> u32 {
        self.adjustment_type.adjust(fleet.desired, self.adjustment, self.min_adjustment_magnitude)
    }
}

/// An adjustment that depends on how far the metric is from the alarm's threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepAdjustment {
    /// The metric minus the threshold, at the least; `None` is minus infinity.
    pub lower: Option<f64>,
    /// The metric minus the threshold, at the most; `None` is infinity.
    pub upper: Option<f64>,
    /// By how much.
    pub adjustment: i32,
}

impl StepAdjustment {
    fn bounds(&self) -> (f64, f64) {
        (self.lower.unwrap_or(f64::NEG_INFINITY), self.upper.unwrap_or(f64::INFINITY))
    }
}

/// Adjustments in steps, without a cooldown: every call of the alarm counts, but instances that still warm up are not
/// added twice.
#[derive(Clone, Debug, PartialEq)]
pub struct StepScaling {
    /// The policy's name.
    pub name: String,
    /// The alarm that it follows, by name.
    pub alarm: String,
    /// What the steps' `adjustment` means.
    pub adjustment_type: AdjustmentType,
    /// The steps, in any order, without gaps or overlaps.
    pub steps: Vec<StepAdjustment>,
    /// The fewest instances a percentage stands for.
    pub min_adjustment_magnitude: u32,
    /// How the alarm's datapoints become the one metric value: `MetricAggregationType`, by default the average.
    pub aggregation: Statistic,
    /// How long an instance is in service before it counts; `None` is the plan's.
    pub warmup: Option<Duration>,
}

/// What is wrong with the steps of a policy (API reference, `StepAdjustment`).
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum StepError {
    /// There are none.
    #[error("there are none: give one at least, such as lower 0, no upper, adjustment 1")]
    None,
    /// A step is for all values.
    #[error("a step has neither lower nor upper: give it one of them, 0 for the threshold itself")]
    Unbounded,
    /// A bound is infinite or not a number, or lower is not below upper.
    #[error("lower {lower} is not below upper {upper}: exchange or correct them")]
    Reversed {
        /// The step's lower bound.
        lower: f64,
        /// The step's upper bound.
        upper: f64,
    },
    /// Between two steps there is a gap or an overlap.
    #[error("one step ends at {upper} and the next begins at {lower}: let it begin where the other ends")]
    Unjoined {
        /// Where the one ends.
        upper: f64,
        /// Where the next begins.
        lower: f64,
    },
    /// A step below the threshold has no step below it, down to minus infinity.
    #[error("the lowest step ends at {0}, below the threshold: leave out its lower")]
    NoLowest(f64),
    /// A step above the threshold has no step above it, up to infinity.
    #[error("the highest step ends at {0}, above the threshold: leave out its upper")]
    NoHighest(f64),
}

impl StepScaling {
    /// Checks the steps against the rules of the API reference.
    pub fn validate(&self) -> Result<(), StepError> {
        let mut ranges: Vec<(f64, f64)> = self.steps.iter().map(StepAdjustment::bounds).collect();
        ranges.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (Some(&(lowest, _)), Some(&(_, highest))) = (ranges.first(), ranges.last()) else {
            return Err(StepError::None);
        };
        if self.steps.iter().any(|step| step.lower.is_none() && step.upper.is_none()) {
            return Err(StepError::Unbounded);
        }
        let given = self.steps.iter().flat_map(|step| [step.lower, step.upper]).flatten();
        let finite = given.clone().all(f64::is_finite);
        if let Some(&(lower, upper)) = ranges.iter().find(|(lower, upper)| !finite || lower >= upper) {
            return Err(StepError::Reversed { lower, upper });
        }
        if let Some(pair) = ranges.windows(2).find(|pair| pair[0].1 != pair[1].0) {
            return Err(StepError::Unjoined { upper: pair[0].1, lower: pair[1].0 });
        }
        if lowest < 0.0 && lowest.is_finite() {
            return Err(StepError::NoLowest(lowest));
        }
        if highest > 0.0 && highest.is_finite() {
            return Err(StepError::NoHighest(highest));
        }
        Ok(())
    }

    /// The step for a metric that is `difference` above the threshold.
    ///
    /// Above the threshold a step has its lower bound and not its upper, below it the other way round. At the
    /// threshold itself both read true; the side that the alarm looks at goes first.
    pub fn step(&self, difference: f64, operator: ComparisonOperator) -> Option<&StepAdjustment> {
        let above = |step: &&StepAdjustment| {
            let (lower, upper) = step.bounds();
            difference >= 0.0 && lower <= difference && difference < upper
        };
        let below = |step: &&StepAdjustment| {
            let (lower, upper) = step.bounds();
            difference <= 0.0 && lower < difference && difference <= upper
        };
        let (first, second) = (self.steps.iter().find(above), self.steps.iter().find(below));
        if operator.is_upper() { first.or(second) } else { second.or(first) }
    }

    /// The size it wants when the metric is `difference` above the threshold.
    ///
    /// Out: from the instances that are warmed, and never below what is desired already. So the same step again adds
    /// nothing while the first ones warm, and a higher one adds only what it has more. In: from all instances, those
    /// that drain included, and never above what is desired already, so nothing is taken away twice ("Instance
    /// warmup").
    pub fn propose(&self, difference: f64, operator: ComparisonOperator, fleet: &FleetSize) -> u32 {
        let Some(step) = self.step(difference, operator) else {
            return fleet.desired;
        };
        let adjust = |base| self.adjustment_type.adjust(base, step.adjustment, self.min_adjustment_magnitude);
        match self.adjustment_type {
            AdjustmentType::ExactCapacity => adjust(fleet.desired),
            _ if step.adjustment >= 0 => adjust(fleet.warmed).max(fleet.desired),
            _ => adjust(fleet.in_service + fleet.pending + fleet.terminating).min(fleet.desired),
        }
    }
}

/// Keeps a metric for each instance near a target, by two alarms of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetTracking {
    /// The policy's name. Its alarms are named after it.
    pub name: String,
    /// What is kept near the target. It must fall as the fleet grows; the raw length of a queue does not.
    pub metric: Metric,
    /// How samples become a datapoint.
    pub statistic: Statistic,
    /// Where the metric should be.
    pub target: f64,
    /// The period of its alarms: 10, 30 or 60 seconds.
    pub period: Duration,
    /// Whether it only ever adds instances.
    pub disable_scale_in: bool,
    /// How long an instance is in service before it counts; `None` is the plan's.
    pub warmup: Option<Duration>,
}

impl TargetTracking {
    /// Its alarms as AWS creates them, high and low: three periods above the target, fifteen below nine tenths of it.
    /// Without data neither calls.
    pub fn alarms(&self) -> [Alarm; 2] {
        let alarm = |end: &str, periods, operator, threshold| Alarm {
            name: format!("TargetTracking-{}-{end}", self.name),
            metric: self.metric,
            statistic: self.statistic,
            period: self.period,
            evaluation_periods: periods,
            datapoints_to_alarm: periods,
            operator,
            threshold,
            missing_data: TreatMissingData::Missing,
        };
        [
            alarm("AlarmHigh", 3, ComparisonOperator::GreaterThan, self.target),
            alarm("AlarmLow", 15, ComparisonOperator::LessThan, 0.9 * self.target),
        ]
    }

    /// The size it wants when the metric, at `value`, is too high: in proportion to the instances that are warmed and
    /// that it was measured with, since the others are not in it yet, and never below what is desired already. With
    /// none, to one: that is what [`Metric::BacklogPerInstance`] divides by.
    pub fn propose_out(&self, value: f64, fleet: &FleetSize) -> u32 {
        self.proportional(fleet.warmed.min(fleet.measured), value).max(fleet.desired)
    }

    /// The size it wants when the metric, at `value`, is too low: in proportion to all instances that it was measured
    /// with or that are in service, rounded up too, which takes fewer away. As many as hold messages now stay in any
    /// case, since what is in flight is in the backlog no more.
    pub fn propose_in(&self, value: f64, fleet: &FleetSize) -> u32 {
        self.proportional(fleet.in_service.max(fleet.measured), value).max(fleet.busy).min(fleet.desired)
    }

    fn proportional(&self, capacity: u32, value: f64) -> u32 {
        let exact = f64::from(capacity.max(1)) * value / self.target;
        // 7 x (900 / 7) / 100 comes out a little above 9, which must not become 10.
        (exact * (1.0 - 1e-12)).ceil() as u32
    }
}

/// The backlog for each instance at which the last message waits `acceptable_latency`, if one takes
/// `mean_service_time` ("Scaling policy based on Amazon SQS"). A hundredth of a message at the least, so that there
/// is always a target.
pub fn target_for(acceptable_latency: Duration, mean_service_time: Duration) -> f64 {
    (acceptable_latency.as_secs_f64() / mean_service_time.as_secs_f64().max(1e-6)).max(0.01)
}

/// A policy of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// One adjustment and a cooldown.
    Simple(SimpleScaling),
    /// Adjustments in steps, with a warm-up.
    Step(StepScaling),
    /// A metric kept near a target.
    TargetTracking(TargetTracking),
}

impl Policy {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Simple(policy) => &policy.name,
            Self::Step(policy) => &policy.name,
            Self::TargetTracking(policy) => &policy.name,
        }
    }

    /// The name of the alarm it follows, unless it has its own.
    pub fn alarm(&self) -> Option<&str> {
        match self {
            Self::Simple(policy) => Some(&policy.alarm),
            Self::Step(policy) => Some(&policy.alarm),
            Self::TargetTracking(_) => None,
        }
    }
}
