//! The scaler: whole runs on a toy queue, one rule at a time, and what holds whatever happens.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use wordfreq_core::scaling::{
    Activity, ActivityKind, Alarm, AlarmState, Bounds, ComparisonOperator, Conditions, Decision, Instance,
    InstanceState, Metric, Metrics, Moment, Observation, Plan, Policy, Scaler, Schedule, SimpleScaling,
    TargetTracking, TrapKind, TreatMissingData, classic, fixed, latency, traps,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn instance(id: &str, state: InstanceState, launched_at: Moment) -> Instance {
    Instance {
        id: id.to_owned(),
        state,
        launched_at,
        in_service_at: (state == InstanceState::InService).then_some(launched_at),
        protected: false,
        busy: false,
        healthy: true,
    }
}

/// A scaler with a fleet that does at once what is decided.
struct Run {
    scaler: Scaler,
    metrics: Metrics,
    now: Moment,
    boot: Duration,
    instances: Vec<Instance>,
    launched: usize,
    /// When the size changed, and to what.
    sizes: Vec<(u64, u32)>,
    activities: Vec<Activity>,
    transitions: Vec<(u64, String, AlarmState)>,
}

impl Run {
    fn new(plan: Plan) -> Self {
        Self {
            metrics: plan.metrics(),
            scaler: Scaler::new(plan, Duration::ZERO).unwrap(),
            now: Duration::ZERO,
            boot: Duration::ZERO,
            instances: Vec::new(),
            launched: 0,
            sizes: Vec::new(),
            activities: Vec::new(),
            transitions: Vec::new(),
        }
    }

    fn in_service(&self) -> u32 {
        self.instances.iter().filter(|instance| instance.state == InstanceState::InService).count() as u32
    }

    fn observe(&mut self, visible: u64, not_visible: u64) {
        self.record(Observation { visible, not_visible, ..Observation::default() });
    }

    fn record(&mut self, observation: Observation) {
        self.metrics.record(&Observation { at: self.now, in_service: self.in_service(), ..observation });
    }

    fn tick(&mut self) -> Decision {
        for instance in &mut self.instances {
            if instance.state == InstanceState::Pending && instance.launched_at + self.boot <= self.now {
                instance.state = InstanceState::InService;
                instance.in_service_at = Some(instance.launched_at + self.boot);
            }
        }
        let decision = self.scaler.tick(self.now, &self.metrics, &self.instances);
        for change in &decision.changes {
            self.sizes.push((self.now.as_secs(), change.to));
        }
        for transition in &decision.transitions {
            self.transitions.push((self.now.as_secs(), transition.alarm.clone(), transition.to));
        }
        self.activities.extend(decision.activities.iter().cloned());
        // An idle instance goes at once, a busy one drains.
        let goes = |instance: &Instance| decision.terminations.contains(&instance.id);
        self.instances.retain(|instance| !goes(instance) || instance.busy);
        self.instances.iter_mut().filter(|instance| goes(instance)).for_each(|instance| {
            instance.state = InstanceState::Terminating;
        });
        for _ in 0..decision.launches {
            self.launched += 1;
            self.instances.push(instance(&format!("i-{}", self.launched), InstanceState::Pending, self.now));
        }
        decision
    }

    /// Launches the first instances, which are in service at once unless they boot.
    fn start(&mut self) {
        self.tick();
        self.tick();
    }

    /// Ticks every 10 seconds until `end`, with the same backlog at each.
    fn steady(&mut self, end: u64, visible: u64, not_visible: u64) {
        while self.now < seconds(end) {
            self.observe(visible, not_visible);
            self.now += seconds(10);
            self.tick();
        }
    }
}

/// Messages that are there from the start, and workers that take one at a time.
fn drain(plan: Plan, messages: u64, service: Duration, boot: Duration, end: u64) -> Run {
    let mut run = Run::new(plan);
    run.boot = boot;
    let (mut visible, mut received, mut deleted) = (messages, 0, 0);
    let mut work: Vec<(String, Moment)> = Vec::new();
    for second in 0..=end {
        run.now = seconds(second);
        let done = |work: &(String, Moment)| work.1 <= run.now;
        for (id, _) in work.extract_if(.., |work| done(work)) {
            deleted += 1;
            run.instances
                .iter_mut()
                .filter(|instance| instance.id == id)
                .for_each(|instance| instance.busy = false);
        }
        run.instances.retain(|instance| instance.busy || instance.state != InstanceState::Terminating);
        for instance in &mut run.instances {
            if instance.state == InstanceState::InService && !instance.busy && visible > 0 {
                (visible, received, instance.busy) = (visible - 1, received + 1, true);
                work.push((instance.id.clone(), run.now + service));
            }
        }
        if second % 10 == 0 {
            let not_visible = work.len() as u64;
            run.record(Observation { visible, not_visible, received, deleted, ..Observation::default() });
            (received, deleted) = (0, 0);
        }
        run.tick();
    }
    assert_eq!((visible, work.len()), (0, 0), "everything is done");
    run
}

#[test]
fn the_classic_fleet_breathes() {
    let run = drain(classic(), 130, seconds(12), Duration::ZERO, 3_600);
    // The first launch waits for the alarm's period; then one each 120 seconds, as long as more than 50 wait.
    assert_eq!(run.sizes[..4], [(0, 1), (60, 2), (180, 3), (300, 4)]);
    let sizes: Vec<u32> = run.sizes.iter().map(|&(_, size)| size).collect();
    assert_eq!(sizes, [1, 2, 3, 4, 3, 2, 1]);
    for pair in run.sizes[4..].windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 120, "{:?}", run.sizes);
    }
    assert_eq!((run.scaler.desired(), run.instances.len()), (1, 1));
    let raised: Vec<u64> = run
        .transitions
        .iter()
        .filter(|(_, alarm, state)| alarm == "backlog-high" && *state == AlarmState::Alarm)
        .map(|&(at, ..)| at)
        .collect();
    assert_eq!(raised, [60]);

    // With more to do it goes to its maximum, and no further.
    let run = drain(classic(), 400, seconds(12), seconds(5), 7_200);
    assert_eq!(run.sizes[..5], [(0, 1), (60, 2), (180, 3), (300, 4), (420, 5)]);
    assert_eq!(run.sizes.iter().map(|&(_, size)| size).max(), Some(5));
    assert_eq!(run.scaler.desired(), 1);
}

#[test]
fn on_messages_received_the_classic_fleet_never_leaves_one() {
    let plan = classic().with_metric(Metric::MessagesReceived);
    let run = drain(plan.clone(), 130, seconds(12), Duration::ZERO, 3_600);
    assert_eq!(run.sizes, [(0, 1)]);
    let conditions = Conditions { prefetch: 1, service_time: Some(seconds(12)), ..Conditions::default() };
    assert!(traps(&plan, &conditions).iter().any(|trap| trap.kind == TrapKind::ThroughputMetric));
}

#[test]
fn causes_are_worded_as_the_activity_log_words_them() {
    let run = drain(classic(), 130, seconds(12), Duration::ZERO, 3_600);
    let told: Vec<String> = run
        .activities
        .iter()
        .map(|activity| activity.cause_in_words(|at| format!("{}s", at.as_secs())))
        .collect();
    assert_eq!(
        told[0],
        "At 0s a user request created an AutoScalingGroup changing the desired capacity from 0 to 1. At 0s an instance was \
         started in response to a difference between desired and actual capacity, increasing the capacity from 0 to 1.",
    );
    assert_eq!(
        told[1],
        "At 60s a monitor alarm backlog-high in state ALARM with ApproximateNumberOfMessagesVisible 127.5 triggered \
         policy add-one changing the desired capacity from 1 to 2. At 60s an instance was started in response to a \
         difference between desired and actual capacity, increasing the capacity from 1 to 2.",
    );
    assert_eq!(
        told[4],
        "At 540s a monitor alarm backlog-low in state ALARM with ApproximateNumberOfMessagesVisible 6 triggered policy \
         remove-one changing the desired capacity from 4 to 3. At 540s an instance was taken out of service in response to \
         a difference between desired and actual capacity, shrinking the capacity from 4 to 3. At 540s instance i-1 was \
         selected for termination.",
    );
    assert_eq!(run.activities[4].kind, ActivityKind::Terminate("i-1".to_owned()));
    assert_eq!(run.activities[4].description(), "Terminating instance: i-1");
}

#[test]
fn warm_up_counts_from_service_and_a_boot_delays_the_next_step() {
    let run = drain(classic(), 400, seconds(12), seconds(45), 9_000);
    // In service at 105, warm at 220: the next minute is 240.
    assert_eq!(run.sizes[..3], [(0, 1), (60, 2), (240, 3)]);
}

#[test]
fn the_first_instances_need_no_warm_up() {
    let mut run = Run::new(Plan { warmup: Some(seconds(600)), ..classic() });
    run.start();
    run.steady(120, 100, 0);
    assert_eq!(run.sizes, [(0, 1), (60, 2)]);
}

#[test]
fn a_simple_policy_waits_for_its_instances_and_then_for_its_cooldown() {
    let mut plan = classic();
    let Policy::Simple(remove) = plan.policies.remove(1) else { panic!("the second policy is simple") };
    let add = SimpleScaling {
        name: "add-two".to_owned(),
        alarm: "backlog-high".to_owned(),
        adjustment: 2,
        cooldown: None,
        ..remove
    };
    plan.policies = vec![Policy::Simple(add)];
    plan.bounds.max = 9;
    let mut run = Run::new(plan);
    run.tick();
    run.boot = seconds(90);
    run.steady(900, 100, 0);
    // The first instance is in service at 90. Two more at 120, in service at 210; the plan's 300 seconds later, at
    // 510, they count, and the next minute is 540. Those are in service at 630.
    assert_eq!(run.sizes, [(0, 1), (120, 3), (540, 5)]);
    let cooldown = run.scaler.state().cooldown.unwrap();
    assert_eq!(
        (cooldown.since, cooldown.length, cooldown.settled),
        (seconds(540), seconds(300), Some(seconds(630)))
    );
}

fn tracking(name: &str, metric: Metric, target: f64) -> TargetTracking {
    TargetTracking {
        name: name.to_owned(),
        metric,
        statistic: metric.usual_statistic(),
        target,
        period: seconds(60),
        disable_scale_in: false,
        warmup: Some(seconds(120)),
    }
}

fn tracked(policies: Vec<TargetTracking>, min: u32, max: u32) -> Plan {
    let policies = policies.into_iter().map(Policy::TargetTracking).collect();
    Plan { bounds: Bounds { min, max }, policies, ..fixed(0) }
}

#[test]
fn target_tracking_adds_after_three_periods_and_removes_after_fifteen() {
    let mut run = Run::new(tracked(vec![tracking("latency", Metric::BacklogPerInstance, 100.0)], 10, 100));
    run.start();
    // 1,500 messages on 10 instances: 150 each, 100 is the target.
    run.steady(180, 1_500, 0);
    assert_eq!(run.sizes, [(0, 10), (180, 15)]);
    // With 15 it is on target and stays there.
    run.steady(3_600, 1_500, 0);
    assert_eq!(run.sizes.len(), 2, "{:?}", run.sizes);
    // A third of it: 15 minutes of low datapoints, none of them above 34.
    run.steady(5_400, 500, 0);
    assert_eq!(run.sizes[2..], [(4_500, 10)]);
}

#[test]
fn instances_are_not_multiplied_by_a_metric_from_before_they_came() {
    let policy =
        TargetTracking { period: seconds(10), ..tracking("latency", Metric::BacklogPerInstance, 5.0) };
    let mut run = Run::new(tracked(vec![policy], 3, 20));
    run.boot = seconds(81);
    run.tick();
    // 13 for none, as for one, is over the target, also at 90, when three are there. For those it is not.
    run.steady(600, 13, 0);
    assert_eq!(run.sizes, [(0, 3)]);
    assert!(run.transitions.iter().any(|(at, _, state)| *at == 30 && *state == AlarmState::Alarm));
}

#[test]
fn a_metric_that_comes_late_is_held_against_the_fleet_of_its_own_time() {
    let policy = TargetTracking {
        warmup: Some(Duration::ZERO),
        ..tracking("latency", Metric::BacklogPerInstance, 100.0)
    };
    let mut run = Run::new(tracked(vec![policy], 10, 100));
    run.start();
    let mut unknown = VecDeque::new();
    while run.now < seconds(1_800) {
        unknown.push_back(Observation {
            at: run.now,
            visible: 1_500,
            in_service: run.in_service(),
            ..Observation::default()
        });
        run.now += seconds(10);
        while let Some(known) = unknown.pop_front_if(|known| known.at + seconds(120) <= run.now) {
            run.metrics.record(&known);
        }
        run.tick();
    }
    // For two minutes after it grew the metric still shows 150 for each of ten, while fifteen are at work.
    assert_eq!(run.sizes, [(0, 10), (180, 15)]);
}

#[test]
fn a_cooldown_begins_also_when_the_size_comes_to_the_instances() {
    let mut plan = classic();
    plan.policies.truncate(1);
    let Policy::Step(step) = plan.policies.remove(0) else { panic!("the first policy has steps") };
    plan.policies.push(Policy::Simple(SimpleScaling {
        name: "add-two".to_owned(),
        alarm: step.alarm,
        adjustment_type: step.adjustment_type,
        adjustment: 2,
        min_adjustment_magnitude: 0,
        cooldown: None,
    }));
    let desired = Some(1);
    plan.schedules.push(Schedule {
        name: "back".to_owned(),
        at: seconds(75),
        every: None,
        min: None,
        max: None,
        desired,
    });
    let mut run = Run::new(plan);
    run.start();
    run.steady(60, 100, 0);
    assert_eq!(run.scaler.desired(), 3);
    // What it launched dies, and then nobody wants it any more.
    run.instances.truncate(1);
    run.now = seconds(75);
    run.tick();
    let state = run.scaler.state().clone();
    assert_eq!((state.desired, state.cooldown.and_then(|cooldown| cooldown.settled)), (1, Some(seconds(75))));
    run.tick();
    assert_eq!(run.scaler.state(), &state);
}

#[test]
fn without_data_nothing_happens() {
    let plan = tracked(vec![tracking("latency", Metric::BacklogPerInstance, 1.0)], 1, 9);
    let mut run = Run::new(plan);
    run.steady(300, 50, 0);
    assert_eq!(run.sizes.last(), Some(&(180, 9)));
    while run.now < seconds(7_200) {
        run.now += seconds(10);
        run.tick();
    }
    assert_eq!(run.sizes.last(), Some(&(180, 9)));
    let states: Vec<AlarmState> = run.scaler.alarms().map(|(_, status)| status.state).collect();
    assert_eq!(states, [AlarmState::InsufficientData; 2]);
}

#[test]
fn of_several_policies_any_may_add_and_all_must_agree_to_remove() {
    let backlog = tracking("backlog", Metric::BacklogPerInstance, 10.0);
    let age = tracking("age", Metric::AgeOfOldestMessage, 60.0);
    let sized = |age: TargetTracking| {
        let mut run = Run::new(tracked(vec![backlog.clone(), age], 1, 20));
        run.start();
        let observed = |run: &mut Run, end: u64, visible: u64, age: u64| {
            while run.now < seconds(end) {
                let oldest_age = Some(seconds(age));
                run.record(Observation { visible, oldest_age, ..Observation::default() });
                run.now += seconds(10);
                run.tick();
            }
        };
        // The backlog wants 4; the age is low and adds nothing.
        observed(&mut run, 180, 40, 0);
        // The backlog is low, the age is not.
        observed(&mut run, 2_400, 0, 60);
        let kept = run.scaler.desired();
        // The age is low too, but not for fifteen minutes yet.
        observed(&mut run, 3_240, 0, 0);
        assert_eq!(run.scaler.desired(), kept);
        // Both are low.
        observed(&mut run, 6_000, 0, 0);
        (run.sizes[1], kept, run.scaler.desired())
    };
    assert_eq!(sized(age.clone()), ((180, 4), 4, 1));
    // One that must not remove is not asked.
    let never = TargetTracking { disable_scale_in: true, ..age };
    assert_eq!(sized(never), ((180, 4), 1, 1));
}

#[test]
fn a_larger_capacity_wins_over_a_smaller_one() {
    // A step that removes and a step that adds, on alarms that both call.
    let mut plan = classic();
    plan.alarms[1].threshold = 1_000.0;
    let mut run = Run::new(plan);
    run.steady(70, 100, 0);
    assert_eq!(run.sizes.last(), Some(&(60, 2)));
    assert!(run.scaler.alarms().all(|(_, status)| status.state == AlarmState::Alarm));
    // Where the one that adds can add no more it still holds what is there.
    run.steady(3_600, 100, 0);
    assert_eq!(run.scaler.desired(), 5);
}

#[test]
fn a_fleet_goes_to_zero_when_nothing_is_left_and_wakes_for_one_message() {
    let plan = Plan { bounds: Bounds { min: 0, max: 5 }, ..classic() };
    let mut run = Run::new(plan.clone());
    run.tick();
    assert_eq!(run.scaler.desired(), 0);
    run.observe(1, 0);
    run.tick();
    assert_eq!(run.scaler.desired(), 1);
    // One message in flight keeps the last instance.
    run.steady(1_200, 0, 1);
    assert_eq!(run.scaler.desired(), 1);
    run.steady(1_260, 0, 0);
    assert_eq!((run.scaler.desired(), run.instances.len()), (0, 0));
    assert_eq!(run.sizes, [(0, 1), (1_260, 0)]);

    // As on AWS: a few messages are too few for the alarm.
    let mut run = Run::new(Plan { wakes_from_zero: false, ..plan });
    run.steady(3_600, 40, 0);
    assert_eq!(run.sizes, []);
    run.steady(3_660, 60, 0);
    assert_eq!(run.sizes, [(3_660, 1)]);
}

#[test]
fn schedules_set_bounds_and_size_when_their_moment_comes() {
    let daily = |name: &str, at: u64, min, max, desired| Schedule {
        name: name.to_owned(),
        at: seconds(at),
        every: Some(seconds(86_400)),
        min,
        max,
        desired,
    };
    let schedules = vec![
        daily("day", 28_800, Some(2), Some(10), Some(4)),
        daily("night", 72_000, Some(0), Some(1), None),
    ];
    let mut run = Run::new(Plan { schedules, ..fixed(1) });
    run.tick();
    for (at, expected) in [(28_799, 1), (28_800, 4), (72_000, 1), (115_200, 4), (300_000, 4)] {
        run.now = seconds(at);
        run.tick();
        assert_eq!(run.scaler.desired(), expected, "at {at}");
    }
    let told =
        run.activities.iter().map(|activity| activity.cause_in_words(|at| format!("{}s", at.as_secs())));
    let told: Vec<String> = told.collect();
    assert!(
        told[1].starts_with(
            "At 28800s a scheduled action update of AutoScalingGroup constraints to min: 2, max: 10, desired: 4 changing \
             the desired capacity from 1 to 4. "
        ),
        "{}",
        told[1],
    );
    assert_eq!(run.scaler.next_tick(seconds(28_800)), Some(seconds(72_000)));
}

#[test]
fn what_is_unhealthy_is_replaced_though_it_is_protected() {
    let mut run = Run::new(fixed(3));
    run.tick();
    run.now = seconds(10);
    run.tick();
    (run.instances[1].healthy, run.instances[1].protected) = (false, true);
    run.now = seconds(20);
    let decision = run.tick();
    assert_eq!((decision.launches, &*decision.terminations), (1, &["i-2".to_owned()][..]));
    let told: Vec<String> =
        decision.activities.iter().map(|activity| activity.cause_in_words(|_| "noon".to_owned())).collect();
    assert_eq!(
        told,
        [
            "At noon an instance was taken out of service in response to a health check.",
            "At noon an instance was launched in response to an unhealthy instance needing to be replaced.",
        ]
    );
    // One that died is simply not there.
    run.instances.remove(0);
    run.now = seconds(30);
    let decision = run.tick();
    assert_eq!((decision.launches, decision.terminations.len(), decision.changes.len()), (1, 0, 0));
}

#[test]
fn protection_delays_a_scale_in_and_the_log_still_knows_why() {
    let mut run = Run::new(classic());
    run.steady(70, 100, 0);
    run.instances.iter_mut().for_each(|instance| instance.protected = true);
    run.steady(400, 30, 0);
    run.steady(480, 0, 0);
    assert_eq!((run.scaler.desired(), run.instances.len()), (1, 2));
    run.instances[1].protected = false;
    let decision = run.tick();
    assert_eq!(decision.terminations, ["i-2".to_owned()]);
    let told = decision.activities[0].cause_in_words(|at| format!("{}s", at.as_secs()));
    assert!(told.starts_with("At 480s a monitor alarm backlog-low in state ALARM"), "{told}");
}

#[test]
fn another_plan_takes_over_the_size_and_the_alarms() {
    let mut run = Run::new(classic());
    run.steady(200, 100, 0);
    assert_eq!(run.scaler.desired(), 3);
    let state = run.scaler.state().clone();
    let plan = Plan { bounds: Bounds { min: 1, max: 2 }, ..classic() };
    let mut scaler = Scaler::restore(plan, state.clone(), run.now).unwrap();
    assert_eq!(scaler.desired(), 2);
    assert_eq!(scaler.state().alarms, state.alarms);
    let decision = scaler.tick(run.now, &run.metrics, &run.instances);
    assert_eq!(decision.terminations.len(), 1);
    assert_eq!(
        decision.changes[0].cause,
        "a user request update of AutoScalingGroup constraints to min: 1, max: 2, desired: 2",
    );
    let scaler =
        Scaler::restore(latency(seconds(60), seconds(1), Bounds { min: 1, max: 9 }), state, run.now).unwrap();
    assert_eq!(scaler.desired(), 3);
    assert!(scaler.alarms().all(|(_, status)| status.state == AlarmState::InsufficientData));
    let wrong = Plan { bounds: Bounds { min: 3, max: 2 }, ..classic() };
    assert!(Scaler::new(wrong, Duration::ZERO).is_err());
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_a_restarted_scaler() {
    let mut run = Run::new(classic());
    run.start();
    run.steady(36_000, 100, 0);
    assert_eq!(run.scaler.desired(), 5);
    run.now = seconds(7_200);
    run.metrics = run.scaler.plan().metrics();
    run.scaler = Scaler::restore(classic(), run.scaler.state().clone(), run.now).unwrap();
    for instance in &mut run.instances {
        (instance.launched_at, instance.in_service_at) = (seconds(0), Some(seconds(0)));
    }
    // An alarm that goes on calls again, and one that is over ends.
    run.scaler = Scaler::restore(
        Plan { bounds: Bounds { min: 1, max: 6 }, ..classic() },
        run.scaler.state().clone(),
        run.now,
    )
    .unwrap();
    run.steady(7_320, 100, 0);
    assert_eq!(run.scaler.desired(), 6, "{:?}", run.sizes);
    run.steady(8_400, 0, 0);
    assert_eq!(run.scaler.desired(), 1, "{:?}", run.sizes);
}

/// Whether an instance of one of [`any_plan`]'s fleets warms: a plain reading of the rule.
fn warms(instance: &Instance, first_growth: Option<Moment>, now: Moment) -> bool {
    let from = |since: Moment| since.as_secs() / 10 * 10;
    instance.state.is_active()
        && instance.healthy
        && first_growth.is_some_and(|first| instance.launched_at >= first)
        && instance.in_service_at.is_none_or(|since| now.as_secs() < from(since) + 120)
}

/// Plans whose fleets all have a warm-up of 120 seconds.
fn any_plan() -> impl Strategy<Value = Plan> {
    let bounds = (0..3u32, 1..6u32).prop_map(|(min, more)| Bounds { min, max: min + more });
    let period = prop::sample::select(vec![10, 30, 60]);
    let schedule = prop::option::of((0..1_500u64, prop::option::of(60..900u64), 0..9u32));
    (bounds, period, 0..4usize, schedule, 1..40u32, any::<bool>()).prop_map(
        |(bounds, period, kind, schedule, target, wakes_from_zero)| {
            let target = TargetTracking {
                period: seconds(period),
                ..tracking("target", Metric::BacklogPerInstance, f64::from(target))
            };
            let mut plan = classic();
            for alarm in &mut plan.alarms {
                alarm.period = seconds(period);
            }
            match kind {
                0 => {}
                1 => plan = tracked(vec![target], 0, 1),
                2 => plan.policies.push(Policy::TargetTracking(target)),
                _ => plan = fixed(0),
            }
            let schedule = schedule.map(|(at, every, desired)| Schedule {
                name: "now and then".to_owned(),
                at: seconds(at),
                every: every.map(seconds),
                min: None,
                max: None,
                desired: Some(desired),
            });
            let schedules = schedule.into_iter().collect();
            Plan { bounds, schedules, wakes_from_zero, warmup: Some(seconds(120)), ..plan }
        },
    )
}

/// What happens to a fleet between two ticks.
#[derive(Clone, Debug)]
struct Event {
    pause: u64,
    observed: Option<(u64, u64)>,
    /// Of each instance: whether it boots, dies, falls ill, is busy, is protected, has drained.
    fates: Vec<[bool; 6]>,
}

fn any_event() -> impl Strategy<Value = Event> {
    let rare = || prop::bool::weighted(0.05);
    let often = || prop::bool::weighted(0.5);
    let fate = (often(), rare(), rare(), often(), rare(), often()).prop_map(
        |(boots, dies, ill, busy, protected, drained)| [boots, dies, ill, busy, protected, drained],
    );
    let observed = prop::option::weighted(0.9, (prop_oneof![Just(0), 0..60u64, 0..900u64], 0..5u64));
    (0..45u64, observed, prop::collection::vec(fate, 12)).prop_map(|(pause, observed, fates)| Event {
        pause,
        observed,
        fates,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_the_size_has_one_owner(plan in any_plan(), events in prop::collection::vec(any_event(), 1..120)) {
        let mut run = Run::new(plan.clone());
        // Never boots by itself: events decide.
        run.boot = Duration::MAX / 2;
        let mut twin = Scaler::new(plan.clone(), Duration::ZERO).unwrap();
        let mut desired = 0;
        let mut first_growth: Option<Moment> = None;
        for event in events {
            run.now += seconds(event.pause);
            let now = run.now;
            let mut index = 0;
            run.instances.retain_mut(|instance| {
                let [boots, dies, ill, busy, protected, drained] = event.fates[index % 12];
                index += 1;
                instance.healthy &= !ill;
                instance.protected = protected;
                match instance.state {
                    InstanceState::Pending if boots => {
                        (instance.state, instance.in_service_at) = (InstanceState::InService, Some(now));
                    }
                    InstanceState::InService => instance.busy = busy,
                    InstanceState::Terminating if drained => return false,
                    _ => {}
                }
                !dies
            });
            if let Some((visible, not_visible)) = event.observed {
                run.observe(visible, not_visible);
            }

            // A scaler restarted before every tick decides the same.
            let shown = run.instances.clone();
            twin = Scaler::restore(plan.clone(), twin.state().clone(), now).unwrap();
            let twins = twin.tick(now, &run.metrics, &shown);
            let decision = run.tick();
            let mut expected = decision.clone();
            if desired == 0 {
                // Its creation was told before it was restarted.
                expected.changes.retain(|change| change.cause != "a user request created an AutoScalingGroup");
            }
            prop_assert_eq!(&twins, &expected);
            prop_assert_eq!(twin.state(), run.scaler.state());

            // The size is within bounds, and every change of it is told.
            let bounds = run.scaler.bounds();
            prop_assert_eq!(decision.desired, run.scaler.desired());
            prop_assert!((bounds.min..=bounds.max).contains(&decision.desired));
            for change in &decision.changes {
                prop_assert_eq!(change.from, desired);
                desired = change.to;
            }
            prop_assert_eq!(decision.desired, desired);

            // No policy scales in while an instance of a scale-out warms, nor to nothing while there is work.
            for change in &decision.changes {
                if change.cause.contains("triggered policy") && change.to < change.from {
                    let warms = shown.iter().any(|instance| warms(instance, first_growth, now));
                    prop_assert!(!warms, "{change:?}");
                    let done = run.metrics.latest().is_some_and(|latest| latest.unfinished() == 0);
                    prop_assert!(change.to > 0 || done, "{change:?}");
                }
                if change.to > change.from && !change.cause.contains("created") {
                    first_growth = first_growth.or(Some(change.at));
                }
            }

            // Instances: never more than the bounds, and the idle go before the busy.
            let well: Vec<&Instance> =
                shown.iter().filter(|instance| instance.state.is_active() && instance.healthy).collect();
            prop_assert!(decision.launches == 0 || well.len() as u32 + decision.launches == desired);
            let (gone, kept): (Vec<&&Instance>, Vec<&&Instance>) =
                well.iter().partition(|instance| decision.terminations.contains(&instance.id));
            prop_assert!(gone.iter().all(|instance| !instance.protected));
            if gone.iter().any(|instance| instance.busy) {
                prop_assert!(kept.iter().all(|instance| instance.busy || instance.protected));
            }
            prop_assert_eq!(decision.activities.len(), decision.launches as usize + decision.terminations.len());

            // Reapplying changes nothing.
            let state = run.scaler.state().clone();
            let mut repeated = run.scaler.clone();
            let again = repeated.tick(now, &run.metrics, &shown);
            prop_assert_eq!(repeated.state(), &state);
            prop_assert_eq!((again.desired, again.launches), (decision.desired, decision.launches));
            prop_assert_eq!(&again.terminations, &decision.terminations);
            prop_assert!(again.changes.is_empty() && again.transitions.is_empty());
            let mut applied = run.scaler.clone();
            let nothing = applied.tick(now, &run.metrics, &run.instances);
            prop_assert_eq!((nothing.desired, nothing.launches, nothing.terminations.len()), (desired, 0, 0));
            prop_assert!(nothing.changes.is_empty() && nothing.transitions.is_empty() && nothing.activities.is_empty());
            prop_assert_eq!(applied.state().desired, state.desired);
        }
    }

    /// Of two queues, each with a constant backlog, the one with more never has fewer instances.
    #[test]
    fn more_backlog_never_has_fewer_instances(
        (a, b) in (0..300u64, 0..300u64),
        preset in 0..3usize,
        min in 1..4u32,
        boot in 0..100u64,
    ) {
        let (less, more) = (a.min(b), a.max(b));
        let bounds = Bounds { min, max: 9 };
        let plan = match preset {
            0 => Plan { bounds, ..classic() },
            1 => latency(seconds(60), seconds(6), bounds),
            _ => latency(seconds(600), seconds(12), bounds),
        };
        let [mut less, mut more] = [less, more].map(|visible| {
            let mut run = Run::new(plan.clone());
            run.boot = seconds(boot);
            run.tick();
            (run, visible)
        });
        for end in (10..3_600).step_by(10) {
            for (run, visible) in [&mut less, &mut more] {
                run.steady(end, *visible, 0);
            }
            prop_assert!(less.0.scaler.desired() <= more.0.scaler.desired(), "at {end}: {} {}", less.1, more.1);
        }
    }
}

#[test]
fn an_alarm_calls_once_a_minute_while_it_stays() {
    // A step of one each call, without a warm-up, on an alarm that looks every 10 seconds.
    let mut plan = classic();
    plan.alarms = vec![Alarm {
        period: seconds(10),
        operator: ComparisonOperator::GreaterThan,
        missing_data: TreatMissingData::Missing,
        ..plan.alarms.remove(0)
    }];
    plan.policies.truncate(1);
    plan.bounds.max = 9;
    let Policy::Step(step) = &mut plan.policies[0] else { panic!("the first policy has steps") };
    step.warmup = Some(Duration::ZERO);
    let mut run = Run::new(plan);
    run.start();
    run.steady(200, 100, 0);
    assert_eq!(run.sizes, [(0, 1), (10, 2), (70, 3), (130, 4), (190, 5)]);
    // When it comes back after it was over it calls at once.
    run.steady(210, 0, 0);
    run.steady(220, 100, 0);
    assert_eq!(run.sizes[5..], [(220, 6)]);
    assert_eq!(run.scaler.next_tick(seconds(200)), Some(seconds(210)));
}
