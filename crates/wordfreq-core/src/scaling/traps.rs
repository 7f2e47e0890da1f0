//! What is allowed, and will not do what it seems to: traps of plans that work on paper.
//!
//! Not here: what is simply wrong. A plan refuses that (`plan`).

use std::fmt;
use std::time::Duration;

use super::alarm::Alarm;
use super::metrics::{Metric, Statistic};
use super::number;
use super::plan::Plan;
use super::policy::Policy;

/// What a plan will meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Conditions {
    /// From the launch of an instance until it works.
    pub boot: Duration,
    /// How many messages an instance may hold, the one it works on included.
    pub prefetch: u32,
    /// How long an instance works on a message, if that is known.
    pub service_time: Option<Duration>,
    /// The most messages that will wait, if that is known.
    pub peak_backlog: Option<u64>,
    /// From an observation to its being known.
    pub metric_delay: Duration,
}

/// Which trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrapKind {
    /// An alarm on a throughput: it shows what the workers do, not what there is to do.
    ThroughputMetric,
    /// A target for a metric that does not fall as the fleet grows.
    NotPerInstance,
    /// A backlog that the instances can hold out of an alarm's sight.
    HiddenInPrefetch,
    /// A cooldown that is over before a new instance works.
    CooldownShorterThanBoot,
    /// A fleet that may be empty, and a metric that says nothing then.
    UndefinedAtZero,
    /// A threshold that the metric never crosses.
    UnreachableThreshold,
    /// A metric that comes later than an alarm looks back.
    LateMetric,
}

/// A trap, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Which one.
    pub kind: TrapKind,
    /// The alarm or policy that is in it.
    pub subject: String,
    /// What will happen, and why.
    pub explanation: String,
    /// What to do instead.
    pub mend: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.subject, self.explanation, self.mend)
    }
}

/// The traps in a plan, in the order of its alarms and policies.
pub fn traps(plan: &Plan, conditions: &Conditions) -> Vec<Trap> {
    let alarms = plan.every_alarm().flat_map(|(alarm, owner)| {
        [
            throughput(&alarm),
            hidden(&alarm, plan, conditions),
            undefined_at_zero(&alarm, plan),
            // A load that needs no more instances is no fault of a target.
            if owner.is_none() { unreachable(&alarm, plan, conditions) } else { None },
            late(&alarm, conditions),
        ]
    });
    let policies = plan.policies.iter().map(|policy| policy_trap(policy, plan, conditions));
    alarms.chain(policies).flatten().collect()
}

fn throughput(alarm: &Alarm) -> Option<Trap> {
    alarm.metric.is_throughput().then(|| Trap {
        kind: TrapKind::ThroughputMetric,
        subject: alarm.name.clone(),
        explanation: format!(
            "{} counts what passes through the queue, not what waits in it. Few workers receive few messages however many \
             wait, so the fleet does not grow when it must; more workers receive more, so once it grows it may not stop",
            alarm.metric,
        ),
        mend: format!("watch {} or {}", Metric::MessagesVisible, Metric::BacklogPerInstance),
    })
}

fn hidden(alarm: &Alarm, plan: &Plan, conditions: &Conditions) -> Option<Trap> {
    let instances = match alarm.metric {
        Metric::MessagesVisible => plan.bounds.max,
        Metric::BacklogPerInstance => 1,
        _ => return None,
    };
    let held = u64::from(instances) * u64::from(conditions.prefetch);
    let hides = alarm.operator.is_upper() && conditions.prefetch > 1 && held as f64 > alarm.threshold;
    hides.then(|| Trap {
        kind: TrapKind::HiddenInPrefetch,
        subject: alarm.name.clone(),
        explanation: format!(
            "{} does not show messages in flight, and {} may hold {held} of them, {} each, which is more than the threshold \
             of {}. That much backlog can wait inside busy instances while the alarm sees none of it",
            alarm.metric,
            if instances == 1 { "an instance".to_owned() } else { format!("{instances} instances") },
            conditions.prefetch,
            number(alarm.threshold),
        ),
        mend: "let an instance take one message at a time, or lower the threshold".to_owned(),
    })
}

fn undefined_at_zero(alarm: &Alarm, plan: &Plan) -> Option<Trap> {
    let least = plan.schedules.iter().filter_map(|schedule| schedule.min).fold(plan.bounds.min, u32::min);
    let what = match alarm.metric {
        Metric::BacklogPerInstance => "on CloudWatch is a division by zero, which gives no data",
        Metric::MessagesReceived | Metric::MessagesDeleted => "is 0, as nobody receives anything",
        _ => return None,
    };
    (least == 0 && alarm.operator.is_upper()).then(|| Trap {
        kind: TrapKind::UndefinedAtZero,
        subject: alarm.name.clone(),
        explanation: format!(
            "the fleet may be empty, and {} then {what}: the alarm never calls, and on AWS the fleet stays empty{}",
            alarm.metric,
            if plan.wakes_from_zero { " (here it wakes when a message waits)" } else { "" },
        ),
        mend: "set min to 1; or on AWS watch IF(m2 > 0, m1/m2, m1), with a second alarm for a single message".to_owned(),
    })
}

/// The most the metric can be as long as the fleet has its fewest instances, if that is known.
fn ceiling(alarm: &Alarm, plan: &Plan, conditions: &Conditions) -> Option<(f64, String)> {
    let min = plan.bounds.min.max(1);
    match alarm.metric {
        Metric::InServiceInstances => {
            Some((f64::from(plan.bounds.max), "that is the most instances".to_owned()))
        }
        Metric::MessagesVisible => {
            conditions.peak_backlog.map(|peak| (peak as f64, "no more messages ever wait".to_owned()))
        }
        Metric::BacklogPerInstance => conditions
            .peak_backlog
            .map(|peak| (peak as f64 / f64::from(min), format!("no more ever wait for each of {min}"))),
        Metric::MessagesNotVisible => Some((
            f64::from(plan.bounds.max) * f64::from(conditions.prefetch),
            "all instances together hold no more".to_owned(),
        )),
        Metric::MessagesReceived | Metric::MessagesDeleted if alarm.statistic == Statistic::Sum => {
            let each = alarm.period.as_secs_f64() / conditions.service_time?.as_secs_f64().max(1e-6);
            let most = f64::from(min) * (each.ceil() + f64::from(conditions.prefetch));
            Some((most, format!("{min} of the fewest instances manage no more in {:?}", alarm.period)))
        }
        _ => None,
    }
}

fn unreachable(alarm: &Alarm, plan: &Plan, conditions: &Conditions) -> Option<Trap> {
    let (extreme, end, why) = if alarm.operator.is_upper() {
        let (most, why) = ceiling(alarm, plan, conditions)?;
        (most, "at most", why)
    } else {
        (0.0, "at least", "it is never negative".to_owned())
    };
    (!alarm.operator.breaches(extreme, alarm.threshold)).then(|| Trap {
        kind: TrapKind::UnreachableThreshold,
        subject: alarm.name.clone(),
        explanation: format!(
            "{} is {} {end}, since {why}: it never crosses the threshold of {}, and the alarm never calls",
            alarm.metric,
            number(extreme),
            number(alarm.threshold),
        ),
        mend: "move the threshold to where the metric goes".to_owned(),
    })
}

fn late(alarm: &Alarm, conditions: &Conditions) -> Option<Trap> {
    let looks_back = alarm.period.saturating_mul(alarm.evaluation_range());
    (conditions.metric_delay > looks_back).then(|| Trap {
        kind: TrapKind::LateMetric,
        subject: alarm.name.clone(),
        explanation: format!(
            "{} is known after {:?}, and the alarm looks back for {looks_back:?}: it never sees any data, and never calls",
            alarm.metric, conditions.metric_delay,
        ),
        mend: "give it a longer period, or measure what is known sooner".to_owned(),
    })
}

fn policy_trap(policy: &Policy, plan: &Plan, conditions: &Conditions) -> Option<Trap> {
    match policy {
        Policy::Simple(simple) => {
            let cooldown = simple.cooldown.unwrap_or(plan.cooldown);
            (cooldown < conditions.boot).then(|| Trap {
                kind: TrapKind::CooldownShorterThanBoot,
                subject: simple.name.clone(),
                explanation: format!(
                    "its cooldown of {cooldown:?} is over before an instance works, which takes {:?}: it acts again before \
                     its last act could have had an effect, and takes instances away faster than they can come back",
                    conditions.boot,
                ),
                mend: "make the cooldown longer than the boot".to_owned(),
            })
        }
        Policy::Step(_) => None,
        Policy::TargetTracking(tracking) => {
            let falls = matches!(tracking.metric, Metric::BacklogPerInstance | Metric::AgeOfOldestMessage);
            (!falls).then(|| Trap {
                kind: TrapKind::NotPerInstance,
                subject: tracking.name.clone(),
                explanation: format!(
                    "{} does not fall in proportion as the fleet grows, so no size brings it to the target",
                    tracking.metric,
                ),
                mend: format!("track {}", Metric::BacklogPerInstance),
            })
        }
    }
}
