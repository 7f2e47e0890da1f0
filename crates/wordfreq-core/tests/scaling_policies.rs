//! The arithmetic of policies, whether plans make sense, their traps, and the order in which instances go.

use std::time::Duration;

use proptest::prelude::*;
use wordfreq_core::scaling::{
    AdjustmentType, Bounds, ComparisonOperator, Conditions, FleetSize, Instance, InstanceState, Metric, Plan,
    PlanError, Policy, Schedule, SimpleScaling, Statistic, StepAdjustment, StepError, StepScaling,
    TargetTracking, TrapKind, choose_to_terminate, classic, fixed, latency, target_for, traps,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn adjustments_round_as_the_guide_says() {
    use AdjustmentType::{ChangeInCapacity, ExactCapacity, PercentChangeInCapacity};
    let table = [
        (ChangeInCapacity, 4, 3, 0, 7),
        (ChangeInCapacity, 4, -3, 0, 1),
        (ChangeInCapacity, 2, -3, 0, 0),
        (ExactCapacity, 4, 9, 0, 9),
        (ExactCapacity, 4, -9, 0, 0),
        // 12.7 -> 12, 0.67 -> 1, -0.58 -> -1, -6.67 -> -6.
        (PercentChangeInCapacity, 127, 10, 0, 139),
        (PercentChangeInCapacity, 67, 1, 0, 68),
        (PercentChangeInCapacity, 58, -1, 0, 57),
        (PercentChangeInCapacity, 667, -1, 0, 661),
        (PercentChangeInCapacity, 10, 10, 0, 11),
        (PercentChangeInCapacity, 0, 50, 0, 0),
        (PercentChangeInCapacity, 7, 0, 2, 7),
        // At least so many, either way.
        (PercentChangeInCapacity, 4, 25, 2, 6),
        (PercentChangeInCapacity, 4, -25, 2, 2),
        (PercentChangeInCapacity, 100, 25, 2, 125),
        (PercentChangeInCapacity, 0, 50, 2, 2),
        // MinAdjustmentMagnitude is for percentages alone.
        (ChangeInCapacity, 4, 1, 2, 5),
    ];
    for (kind, capacity, adjustment, magnitude, expected) in table {
        let adjusted = kind.adjust(capacity, adjustment, magnitude);
        assert_eq!(adjusted, expected, "{kind} {capacity} {adjustment} {magnitude}");
    }
}

fn step(lower: Option<i32>, upper: Option<i32>, adjustment: i32) -> StepAdjustment {
    StepAdjustment { lower: lower.map(f64::from), upper: upper.map(f64::from), adjustment }
}

fn stepped(adjustment_type: AdjustmentType, steps: Vec<StepAdjustment>) -> StepScaling {
    StepScaling {
        name: "steps".to_owned(),
        alarm: "alarm".to_owned(),
        adjustment_type,
        steps,
        min_adjustment_magnitude: 0,
        aggregation: Statistic::Average,
        warmup: None,
    }
}

/// The guide's example, both ways: nothing within 10, then 10 %, then 30 %.
fn example() -> StepScaling {
    stepped(
        AdjustmentType::PercentChangeInCapacity,
        vec![
            step(Some(0), Some(10), 0),
            step(Some(10), Some(20), 10),
            step(Some(20), None, 30),
            step(Some(-10), Some(0), 0),
            step(Some(-20), Some(-10), -10),
            step(None, Some(-20), -30),
        ],
    )
}

#[test]
fn a_step_has_the_bound_that_is_nearer_to_the_threshold() {
    let policy = example();
    policy.validate().unwrap();
    let table = [
        (0.0, 0),
        (9.9, 0),
        (10.0, 10),
        (19.9, 10),
        (20.0, 30),
        (1e9, 30),
        (-0.1, 0),
        (-9.9, 0),
        (-10.0, -10),
        (-19.9, -10),
        (-20.0, -30),
        (-1e9, -30),
    ];
    for (difference, expected) in table {
        for &operator in ComparisonOperator::ALL {
            let adjustment = policy.step(difference, operator).map(|step| step.adjustment);
            assert_eq!(adjustment, Some(expected), "{difference} {operator}");
        }
    }
    // At the threshold both sides have a step: that of the alarm's side goes first, the other is better than none.
    let both =
        stepped(AdjustmentType::ChangeInCapacity, vec![step(None, Some(0), -1), step(Some(0), None, 1)]);
    let at = |operator| both.step(0.0, operator).map(|step| step.adjustment);
    assert_eq!(at(ComparisonOperator::GreaterThanOrEqualTo), Some(1));
    assert_eq!(at(ComparisonOperator::LessThanOrEqualTo), Some(-1));
    let up = stepped(AdjustmentType::ChangeInCapacity, vec![step(Some(0), None, 1)]);
    assert_eq!(up.step(0.0, ComparisonOperator::LessThanOrEqualTo).map(|step| step.adjustment), Some(1));
    assert_eq!(up.step(-1.0, ComparisonOperator::LessThan), None);
}

#[test]
fn steps_that_do_not_join_are_refused() {
    let table = [
        (vec![], StepError::None),
        (vec![step(None, None, 1)], StepError::Unbounded),
        (vec![step(Some(5), Some(5), 1)], StepError::Reversed { lower: 5.0, upper: 5.0 }),
        (
            vec![step(Some(0), Some(10), 1), step(Some(20), None, 2)],
            StepError::Unjoined { upper: 10.0, lower: 20.0 },
        ),
        (
            vec![step(Some(10), None, 2), step(Some(0), Some(20), 1)],
            StepError::Unjoined { upper: 20.0, lower: 10.0 },
        ),
        (
            vec![step(Some(0), None, 1), step(Some(0), None, 2)],
            StepError::Unjoined { upper: f64::INFINITY, lower: 0.0 },
        ),
        (vec![step(Some(-10), Some(0), -1)], StepError::NoLowest(-10.0)),
        (vec![step(Some(0), Some(10), 1)], StepError::NoHighest(10.0)),
    ];
    for (steps, expected) in table {
        assert_eq!(stepped(AdjustmentType::ChangeInCapacity, steps).validate(), Err(expected));
    }
    let nan = StepAdjustment { lower: Some(f64::NAN), upper: None, adjustment: 1 };
    let error = stepped(AdjustmentType::ChangeInCapacity, vec![nan]).validate();
    assert!(matches!(error, Err(StepError::Reversed { .. })), "{error:?}");
    // Any order, and not necessarily from the threshold on.
    for steps in [
        vec![step(Some(20), None, 2), step(Some(0), Some(20), 1)],
        vec![step(Some(5), None, 1)],
        vec![step(None, Some(-5), -1)],
        vec![step(None, Some(10), -1), step(Some(10), None, 1)],
    ] {
        assert_eq!(stepped(AdjustmentType::ChangeInCapacity, steps).validate(), Ok(()));
    }
}

fn fleet(desired: u32, warmed: u32, warming: u32) -> FleetSize {
    let in_service = warmed + warming;
    FleetSize { desired, in_service, measured: in_service, warmed, warming, ..FleetSize::default() }
}

#[test]
fn what_warms_is_not_added_twice_and_what_drains_is_not_taken_twice() {
    let policy = example();
    let upper = ComparisonOperator::GreaterThanOrEqualTo;
    // 10 instances, 70 % where the threshold is 60: one more. The same again, while it warms: nothing. 80 %: 30 % of
    // the ten, of which one is there.
    assert_eq!(policy.propose(10.0, upper, &fleet(10, 10, 0)), 11);
    assert_eq!(policy.propose(15.0, upper, &fleet(11, 10, 1)), 11);
    assert_eq!(policy.propose(20.0, upper, &fleet(11, 10, 1)), 13);
    assert_eq!(policy.propose(10.0, upper, &fleet(13, 10, 3)), 13);
    assert_eq!(policy.propose(20.0, upper, &fleet(13, 13, 0)), 16);
    // 10 instances, 40 %: 30 % fewer. While those three drain the same takes nothing.
    let lower = ComparisonOperator::LessThanOrEqualTo;
    assert_eq!(policy.propose(-20.0, lower, &fleet(10, 10, 0)), 7);
    let draining = FleetSize { terminating: 3, ..fleet(7, 7, 0) };
    assert_eq!(policy.propose(-20.0, lower, &draining), 7);
    assert_eq!(policy.propose(-20.0, lower, &fleet(7, 7, 0)), 5);
    // An exact capacity is what it says.
    let exact = stepped(AdjustmentType::ExactCapacity, vec![step(Some(0), None, 4)]);
    assert_eq!(exact.propose(1.0, upper, &fleet(1, 1, 0)), 4);
    assert_eq!(exact.propose(1.0, upper, &fleet(9, 9, 0)), 4);
    // No step, no change.
    let none = stepped(AdjustmentType::ChangeInCapacity, vec![step(Some(10), None, 4)]);
    assert_eq!(none.propose(5.0, upper, &fleet(3, 3, 0)), 3);
}

fn tracking(target: f64) -> TargetTracking {
    TargetTracking {
        name: "latency".to_owned(),
        metric: Metric::BacklogPerInstance,
        statistic: Statistic::Average,
        target,
        period: seconds(60),
        disable_scale_in: false,
        warmup: None,
    }
}

#[test]
fn target_tracking_follows_the_example_of_the_guide() {
    // 1,500 messages, 10 instances, 0.1 s each, 10 s acceptable: 100 each is the target, 150 each is there.
    let target = target_for(seconds(10), Duration::from_millis(100));
    assert_eq!(target, 100.0);
    assert_eq!(tracking(target).propose_out(1_500.0 / 10.0, &fleet(10, 10, 0)), 15);
    let [high, low] = tracking(target).alarms();
    assert_eq!((high.evaluation_periods, high.period, high.threshold), (3, seconds(60), 100.0));
    assert_eq!((low.evaluation_periods, low.period, low.threshold), (15, seconds(60), 90.0));
    assert!(high.operator.breaches(100.1, high.threshold) && !high.operator.breaches(100.0, high.threshold));
    assert!(low.operator.breaches(89.9, low.threshold) && !low.operator.breaches(90.0, low.threshold));

    let policy = tracking(100.0);
    // Out rounds up, in too: that takes fewer away.
    assert_eq!(policy.propose_out(101.0, &fleet(1, 1, 0)), 2);
    assert_eq!(policy.propose_in(51.0, &fleet(10, 10, 0)), 6);
    // Seven times a seventh of 900 comes out a little above 900, but needs no tenth instance.
    let sevenths = 900.0 / 7.0;
    assert!(7.0 * sevenths / 100.0 > 9.0);
    assert_eq!(policy.propose_out(sevenths, &fleet(7, 7, 0)), 9);
    // What warms is not in the metric, but is desired already.
    assert_eq!(policy.propose_out(150.0, &fleet(15, 10, 5)), 15);
    assert_eq!(policy.propose_out(200.0, &fleet(15, 10, 5)), 20);
    // What came or went after the metric was measured does not stretch it.
    assert_eq!(policy.propose_out(300.0, &FleetSize { measured: 1, ..fleet(3, 3, 0) }), 3);
    assert_eq!(policy.propose_in(20.0, &FleetSize { measured: 10, ..fleet(5, 5, 0) }), 2);
    // Busy ones stay, though nothing waits.
    assert_eq!(policy.propose_in(0.0, &FleetSize { busy: 4, ..fleet(10, 10, 0) }), 4);
    assert_eq!(policy.propose_in(0.0, &fleet(10, 10, 0)), 0);
    // An empty fleet counts as one.
    assert_eq!(policy.propose_out(250.0, &fleet(0, 0, 0)), 3);
    // There is always a target.
    assert!(target_for(Duration::ZERO, seconds(1)) > 0.0);
    assert!(target_for(seconds(1), Duration::ZERO).is_finite());
}

proptest! {
    /// Policies whose steps rise with the metric, and target tracking, never want fewer instances for more backlog.
    #[test]
    fn more_backlog_never_wants_fewer_instances(
        (a, b) in (0.0..500.0f64, 0.0..500.0f64),
        adjustments in prop::collection::vec(0..5i32, 6),
        kind in prop::sample::select(AdjustmentType::ALL),
        desired in 0..20u32,
        warming in 0..20u32,
        busy in 0..20u32,
        target in 0.1..300.0f64,
    ) {
        let (less, more) = if a <= b { (a, b) } else { (b, a) };
        let warming = warming.min(desired);
        let fleet = FleetSize { busy: busy.min(desired), ..fleet(desired, desired - warming, warming) };
        let tracking = tracking(target);
        prop_assert!(tracking.propose_out(less, &fleet) <= tracking.propose_out(more, &fleet));
        prop_assert!(tracking.propose_in(less, &fleet) <= tracking.propose_in(more, &fleet));

        // Steps at -40, -20, 0, 20, 40 about a threshold of 250, each adding to the one before.
        let bounds = [None, Some(-40), Some(-20), Some(0), Some(20), Some(40), None];
        let mut total = -8;
        let steps = (0..6).map(|index| {
            total += adjustments[index];
            step(bounds[index], bounds[index + 1], total)
        });
        let policy = stepped(kind, steps.collect());
        policy.validate().unwrap();
        let wants = |metric: f64| policy.propose(metric - 250.0, ComparisonOperator::GreaterThan, &fleet);
        prop_assert!(wants(less) <= wants(more), "{} at {less}, {} at {more}", wants(less), wants(more));
    }
}

#[test]
fn presets_make_sense() {
    let minute = seconds(60);
    let bounds = Bounds { min: 0, max: 20 };
    for plan in [classic(), fixed(0), fixed(3), latency(minute, minute, bounds)] {
        plan.validate().unwrap();
        for &metric in Metric::ALL {
            plan.clone().with_metric(metric).validate().unwrap();
        }
    }
    assert_eq!(classic().bounds, Bounds { min: 1, max: 5 });
    let period = |acceptable| match &latency(acceptable, minute, bounds).policies[0] {
        Policy::TargetTracking(tracking) => tracking.period.as_secs(),
        _ => 0,
    };
    assert_eq!(
        [1, 179, 180, 359, 360, 3_600].map(|acceptable| period(seconds(acceptable))),
        [10, 10, 30, 30, 60, 60]
    );
    // Half of the latency is for the backlog: 30 of 60 seconds, 15 messages of 2 seconds each.
    let Policy::TargetTracking(tracking) = &latency(minute, seconds(2), bounds).policies[0] else {
        panic!("the policy tracks a target")
    };
    assert_eq!((tracking.target, tracking.warmup), (15.0, Some(seconds(20))));
    let swapped = classic().with_metric(Metric::MessagesReceived);
    assert!(swapped.alarms.iter().all(|alarm| alarm.metric == Metric::MessagesReceived));
    assert!(swapped.alarms.iter().all(|alarm| alarm.statistic == Statistic::Sum));
}

#[test]
fn a_plan_that_makes_no_sense_is_refused_by_name() {
    let wrong = |change: fn(&mut Plan)| {
        let mut plan = classic();
        change(&mut plan);
        plan.validate().unwrap_err()
    };
    assert_eq!(wrong(|plan| plan.bounds.min = 6), PlanError::Bounds(Bounds { min: 6, max: 5 }));
    assert!(matches!(wrong(|plan| plan.alarms[0].evaluation_periods = 0), PlanError::Alarm(_)));
    assert!(matches!(
        wrong(|plan| plan.alarms[0].name = "backlog-low".to_owned()),
        PlanError::UnknownAlarm { .. }
    ));
    let error = wrong(|plan| plan.alarms.push(plan.alarms[0].clone()));
    assert_eq!(error, PlanError::Name { what: "alarms", name: "backlog-high".to_owned() });
    let error = wrong(|plan| plan.policies.push(plan.policies[0].clone()));
    assert_eq!(error, PlanError::Name { what: "policies", name: "add-one".to_owned() });
    let error = wrong(|plan| plan.alarms.clear()).to_string();
    assert_eq!(error, "policy `add-one`: there is no alarm `backlog-high`: use one of none");
    for target in [0.0, -1.0, f64::NAN] {
        let plan = Plan { policies: vec![Policy::TargetTracking(tracking(target))], ..fixed(1) };
        assert!(matches!(plan.validate(), Err(PlanError::Target { .. })));
    }
    let slow = TargetTracking { period: seconds(20), ..tracking(1.0) };
    let plan = Plan { policies: vec![Policy::TargetTracking(slow)], ..fixed(1) };
    assert!(matches!(plan.validate(), Err(PlanError::Period { .. })));
    let steps = stepped(AdjustmentType::ChangeInCapacity, Vec::new());
    let plan = Plan {
        policies: vec![Policy::Step(StepScaling { alarm: "backlog-low".to_owned(), ..steps })],
        ..classic()
    };
    let error = plan.validate().unwrap_err().to_string();
    assert!(error.starts_with("policy `steps`: steps: there are none"), "{error}");
}

fn schedule(name: &str, min: Option<u32>, max: Option<u32>) -> Schedule {
    Schedule { name: name.to_owned(), at: seconds(100), every: Some(seconds(1_000)), min, max, desired: None }
}

#[test]
fn schedules_never_put_min_above_max() {
    let with = |schedules: Vec<Schedule>| Plan { schedules, ..classic() }.validate();
    // Day and night, each with both bounds.
    with(vec![schedule("day", Some(5), Some(20)), schedule("night", Some(0), Some(2))]).unwrap();
    with(vec![schedule("more", Some(4), None), schedule("less", None, Some(4))]).unwrap();
    for schedules in [
        vec![schedule("wrong", Some(3), Some(2))],
        vec![schedule("above", Some(6), None)],
        vec![schedule("below", None, Some(0))],
        vec![schedule("more", Some(4), None), schedule("less", None, Some(3))],
    ] {
        let error = with(schedules).unwrap_err();
        assert!(matches!(error, PlanError::ScheduleBounds { .. }), "{error}");
    }
    let never = Schedule { every: Some(Duration::ZERO), ..schedule("never", None, None) };
    assert_eq!(with(vec![never]), Err(PlanError::Every("never".to_owned())));

    let daily = schedule("daily", None, None);
    assert_eq!(
        [99, 100, 1_099, 1_100].map(|now| daily.last(seconds(now))),
        [None, Some(seconds(100)), Some(seconds(100)), Some(seconds(1_100))]
    );
    assert_eq!(
        [99, 100, 1_099].map(|now| daily.next(seconds(now))),
        [Some(seconds(100)), Some(seconds(1_100)), Some(seconds(1_100))]
    );
    let once = Schedule { every: None, ..daily };
    assert_eq!((once.next(seconds(100)), once.last(seconds(5_000))), (None, Some(seconds(100))));
}

#[test]
fn traps_are_named_with_their_mend() {
    let easy = Conditions {
        boot: seconds(30),
        prefetch: 1,
        service_time: Some(seconds(12)),
        peak_backlog: Some(130),
        metric_delay: seconds(50),
    };
    let kinds = |plan: &Plan, conditions: &Conditions| -> Vec<(TrapKind, String)> {
        traps(plan, conditions).into_iter().map(|trap| (trap.kind, trap.subject)).collect()
    };
    let named = |kind, subject: &str| (kind, subject.to_owned());
    let tracked = latency(seconds(60), seconds(12), Bounds { min: 1, max: 5 });
    assert_eq!(kinds(&classic(), &easy), []);
    assert_eq!(kinds(&fixed(3), &easy), []);
    assert_eq!(kinds(&tracked, &easy), []);

    let received = classic().with_metric(Metric::MessagesReceived);
    assert_eq!(
        kinds(&received, &easy),
        [
            named(TrapKind::ThroughputMetric, "backlog-high"),
            named(TrapKind::UnreachableThreshold, "backlog-high"),
            named(TrapKind::ThroughputMetric, "backlog-low"),
        ]
    );
    let told: Vec<String> = traps(&received, &easy).iter().map(ToString::to_string).collect();
    assert_eq!(
        told[1],
        "backlog-high: NumberOfMessagesReceived is 6 at most, since 1 of the fewest instances manage no more in 60s: it \
         never crosses the threshold of 50, and the alarm never calls: move the threshold to where the metric goes",
    );
    let prefetching = Conditions { prefetch: 12, ..easy };
    assert_eq!(kinds(&classic(), &prefetching), [named(TrapKind::HiddenInPrefetch, "backlog-high")]);
    assert_eq!(
        kinds(&tracked, &prefetching),
        [named(TrapKind::HiddenInPrefetch, "TargetTracking-latency-AlarmHigh")]
    );
    let late = Conditions { metric_delay: seconds(60), ..easy };
    assert_eq!(kinds(&classic(), &late), []);
    assert_eq!(
        kinds(&tracked, &late),
        [named(TrapKind::LateMetric, "TargetTracking-latency-AlarmHigh")],
        "the low one looks back for 17 periods",
    );
    let slow = Conditions { boot: seconds(180), ..easy };
    assert_eq!(kinds(&classic(), &slow), [named(TrapKind::CooldownShorterThanBoot, "remove-one")]);
    let small = Conditions { peak_backlog: Some(50), ..easy };
    assert_eq!(kinds(&classic(), &small), [named(TrapKind::UnreachableThreshold, "backlog-high")]);
    let empty = Plan { bounds: Bounds { min: 0, max: 5 }, ..tracked.clone() };
    assert_eq!(kinds(&empty, &easy), [named(TrapKind::UndefinedAtZero, "TargetTracking-latency-AlarmHigh")]);
    let mut nightly = tracked.clone();
    nightly.schedules.push(schedule("night", Some(0), Some(5)));
    assert_eq!(kinds(&nightly, &easy), kinds(&empty, &easy));
    let mut below = classic();
    below.alarms[1].threshold = 0.0;
    assert_eq!(kinds(&below, &easy), [named(TrapKind::UnreachableThreshold, "backlog-low")]);
    let raw = tracked.with_metric(Metric::MessagesVisible);
    assert_eq!(kinds(&raw, &easy), [named(TrapKind::NotPerInstance, "latency")]);
}

#[test]
fn states_are_passed_in_their_order() {
    use InstanceState::{InService, Pending, Terminated, Terminating};
    let legal = [
        (Pending, InService),
        (Pending, Terminating),
        (Pending, Terminated),
        (InService, Terminating),
        (InService, Terminated),
        (Terminating, Terminated),
    ];
    for &from in InstanceState::ALL {
        for &to in InstanceState::ALL {
            assert_eq!(from.transition(to).is_ok(), legal.contains(&(from, to)), "{from} to {to}");
        }
    }
}

fn any_instance() -> impl Strategy<Value = Instance> {
    let state = prop::sample::select(InstanceState::ALL);
    (state, 0..4u64, any::<[bool; 3]>()).prop_map(|(state, launched, [protected, busy, healthy])| {
        let in_service = state == InstanceState::InService;
        Instance {
            id: String::new(),
            state,
            launched_at: seconds(launched),
            in_service_at: in_service.then(|| seconds(launched)),
            protected,
            busy: in_service && busy,
            healthy,
        }
    })
}

proptest! {
    #[test]
    fn terminations_spare_the_protected_and_take_the_idle_first(
        mut instances in prop::collection::vec(any_instance(), 0..12),
        how_many in 0..14usize,
        shift in 0..12usize,
    ) {
        for (index, instance) in instances.iter_mut().enumerate() {
            instance.id = format!("i-{index}");
        }
        let chosen = choose_to_terminate(&instances, how_many);
        let candidates: Vec<&Instance> =
            instances.iter().filter(|instance| instance.state.is_active() && !instance.protected).collect();
        prop_assert_eq!(chosen.len(), how_many.min(candidates.len()));
        let (gone, kept): (Vec<&Instance>, Vec<&Instance>) =
            candidates.iter().partition(|instance| chosen.contains(&instance.id));
        prop_assert_eq!(gone.len(), chosen.len());
        if gone.iter().any(|instance| instance.busy) {
            prop_assert!(kept.iter().all(|instance| instance.busy), "an idle one was kept");
        }
        for gone in gone {
            for kept in &kept {
                let alike = (gone.busy, gone.healthy, gone.state) == (kept.busy, kept.healthy, kept.state);
                prop_assert!(!alike || gone.launched_at <= kept.launched_at, "a younger one was kept");
            }
        }
        // Whatever order they are listed in.
        let by = shift % instances.len().max(1);
        instances.rotate_left(by);
        prop_assert_eq!(choose_to_terminate(&instances, how_many), chosen);
    }
}

#[test]
fn simple_scaling_adjusts_what_is_desired() {
    let policy = SimpleScaling {
        name: "half".to_owned(),
        alarm: "alarm".to_owned(),
        adjustment_type: AdjustmentType::PercentChangeInCapacity,
        adjustment: -50,
        min_adjustment_magnitude: 3,
        cooldown: None,
    };
    assert_eq!([10, 4, 2].map(|desired| policy.propose(&fleet(desired, desired, 0))), [5, 1, 0]);
}
