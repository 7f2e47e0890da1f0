//! How many workers there should be: observations of a queue and its fleet in, the fleet's size out.
//!
//! A [`Plan`] says by which rules. A [`Scaler`] owns the size: at each [`tick`](Scaler::tick) it looks at the
//! [`Metrics`] and the [`Instance`]s and gives a [`Decision`]. The rules and their names are those of Amazon
//! CloudWatch and Amazon EC2 Auto Scaling, so that a plan tried here means the same there; where the guides are
//! silent, the comment at the rule says what was chosen.
//!
//! Deliberately not here: clocks (`now` is an argument, so a simulation and a live fleet run the same code),
//! processes, storage, and what anything costs.

mod alarm;
mod decision;
mod instance;
mod metrics;
mod plan;
mod policy;
mod presets;
mod scaler;
mod traps;
mod words;

use std::time::Duration;

pub use alarm::{Alarm, AlarmError, AlarmState, ComparisonOperator, Evaluation, TreatMissingData};
pub use decision::{Activity, ActivityKind, AlarmTransition, Change, Decision, Reason};
pub use instance::{IllegalTransition, Instance, InstanceId, InstanceState, choose_to_terminate};
pub use metrics::{Metric, Metrics, Observation, Resolution, Statistic};
pub use plan::{Bounds, Plan, PlanError, Schedule};
pub use policy::{
    AdjustmentType, FleetSize, Policy, SimpleScaling, StepAdjustment, StepError, StepScaling, TargetTracking,
    target_for,
};
pub use presets::{classic, fixed, latency};
pub use scaler::{AlarmStatus, Cooldown, ScaleOut, Scaler, ScalerState};
pub use traps::{Conditions, Trap, TrapKind, traps};
pub use words::UnknownWord;

/// A moment, as the time since any fixed start. Whole minutes of it are when alarms are evaluated; with the Unix
/// epoch as the start they are those of the wall clock.
pub type Moment = Duration;

/// The shortest time in which an alarm is evaluated again (CloudWatch user guide, "High-resolution alarms").
const TEN_SECONDS: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

/// The last multiple of `step` that is not after `moment`.
fn floor(moment: Moment, step: Duration) -> Moment {
    let nanoseconds = moment.as_nanos() / step.as_nanos().max(1) * step.as_nanos();
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// A number as a person would write it: two decimals at most.
fn number(value: f64) -> String {
    ((value * 100.0).round() / 100.0).to_string()
}
