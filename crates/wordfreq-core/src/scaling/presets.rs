//! Plans that need no more than a name.

use std::time::Duration;

use super::alarm::{Alarm, ComparisonOperator, TreatMissingData};
use super::metrics::{Metric, Statistic};
use super::plan::{Bounds, Plan};
use super::policy::{
    AdjustmentType, Policy, SimpleScaling, StepAdjustment, StepScaling, TargetTracking, target_for,
};
use super::{MINUTE, TEN_SECONDS};

/// The original's: one more while over 50 messages wait, one less while under 20 do, 1 to 5 instances.
///
/// Missing data does not breach the alarm that adds and does breach the one that removes, so that a queue that went
/// silent shrinks its fleet.
pub fn classic() -> Plan {
    let alarm = |name: &str, operator, threshold, missing_data| Alarm {
        name: name.to_owned(),
        metric: Metric::MessagesVisible,
        statistic: Statistic::Average,
        period: MINUTE,
        evaluation_periods: 1,
        datapoints_to_alarm: 1,
        operator,
        threshold,
        missing_data,
    };
    let two_minutes = Some(Duration::from_secs(120));
    Plan {
        alarms: vec![
            alarm("backlog-high", ComparisonOperator::GreaterThan, 50.0, TreatMissingData::NotBreaching),
            alarm("backlog-low", ComparisonOperator::LessThan, 20.0, TreatMissingData::Breaching),
        ],
        policies: vec![
            Policy::Step(StepScaling {
                name: "add-one".to_owned(),
                alarm: "backlog-high".to_owned(),
                adjustment_type: AdjustmentType::ChangeInCapacity,
                steps: vec![StepAdjustment { lower: Some(0.0), upper: None, adjustment: 1 }],
                min_adjustment_magnitude: 0,
                aggregation: Statistic::Average,
                warmup: two_minutes,
            }),
            Policy::Simple(SimpleScaling {
                name: "remove-one".to_owned(),
                alarm: "backlog-low".to_owned(),
                adjustment_type: AdjustmentType::ChangeInCapacity,
                adjustment: -1,
                min_adjustment_magnitude: 0,
                cooldown: two_minutes,
            }),
        ],
        ..Plan::of(Bounds { min: 1, max: 5 })
    }
}

/// Target tracking on the backlog of each instance, so that most messages are done within `acceptable_latency` of
/// being sent, if one takes `mean_service_time`.
///
/// Half of that latency is for the backlog: it gives the target. The other half is for the alarm that adds, which
/// needs three periods, for the boot of what it adds, and for the message's own work. So the period is 60 seconds
/// where three of them fit into that half, else 30, else 10. The warm-up is two periods: one in which the instance
/// came, and one that it was in throughout.
///
/// Its alarms look back for five periods at the least. Metrics that come later are never seen, which
/// [`traps`](super::traps()) tells: below a latency of three minutes that is after 50 seconds.
pub fn latency(acceptable_latency: Duration, mean_service_time: Duration, bounds: Bounds) -> Plan {
    let period = [MINUTE, MINUTE / 2]
        .into_iter()
        .find(|&period| acceptable_latency >= 6 * period)
        .unwrap_or(TEN_SECONDS);
    Plan {
        policies: vec![Policy::TargetTracking(TargetTracking {
            name: "latency".to_owned(),
            metric: Metric::BacklogPerInstance,
            statistic: Statistic::Average,
            target: target_for(acceptable_latency / 2, mean_service_time),
            period,
            disable_scale_in: false,
            warmup: Some(2 * period),
        })],
        ..Plan::of(bounds)
    }
}

/// Always so many.
pub fn fixed(instances: u32) -> Plan {
    Plan::of(Bounds { min: instances, max: instances })
}
