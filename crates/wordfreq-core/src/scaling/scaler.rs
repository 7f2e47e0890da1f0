//! The one owner of a fleet's size: alarms are evaluated, policies asked, schedules kept, and the instances compared
//! with what should be.
//!
//! Not here: the arithmetic of a policy (`policy`), the judgement of an alarm (`alarm`), and the doing: a decision
//! says what to launch and what to stop, and the fleet does it.

use std::time::Duration;

use super::alarm::{Alarm, AlarmState, Evaluation};
use super::decision::{Activity, ActivityKind, AlarmTransition, Change, Decision, Reason};
use super::instance::{Instance, InstanceState, choose_to_terminate};
use super::metrics::{Metric, Metrics, Statistic};
use super::plan::{Bounds, Plan, PlanError};
use super::policy::{FleetSize, Policy, TargetTracking};
use super::{MINUTE, Moment, TEN_SECONDS, floor, number};

/// How many changes of the size are remembered until the fleet has followed them.
const CHANGES_KEPT: usize = 8;

/// How an alarm stands.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AlarmStatus {
    /// The alarm's name.
    pub name: String,
    /// Its state.
    pub state: AlarmState,
    /// Since when; `None` is from the beginning.
    pub since: Option<Moment>,
    /// Why, as CloudWatch words it.
    pub reason: String,
    /// The newest datapoint, if there was one.
    pub value: Option<f64>,
    /// When it last called its policies, while it is in ALARM.
    pub called: Option<Moment>,
}

/// A decision to grow. Instances launched since then, and before the next one, warm up for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScaleOut {
    /// When.
    pub at: Moment,
    /// How long an instance is in service before it counts.
    pub warmup: Duration,
}

/// A simple policy's silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cooldown {
    /// When the policy acted.
    pub since: Moment,
    /// How long the silence is once its instances have come or gone.
    pub length: Duration,
    /// When they had.
    pub settled: Option<Moment>,
}

/// All that a scaler remembers, as plain data: with it a restarted scaler goes on.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScalerState {
    /// How many instances there should be.
    pub desired: u32,
    /// The bounds in force, where a schedule has changed them.
    pub scheduled: Option<Bounds>,
    /// The last tick.
    pub ticked: Moment,
    /// Every alarm, those of policies too.
    pub alarms: Vec<AlarmStatus>,
    /// Decisions to grow, by which living instances warm, and the last one.
    pub scale_outs: Vec<ScaleOut>,
    /// The silence after the last act of a simple policy.
    pub cooldown: Option<Cooldown>,
    /// Changes of the size that the fleet has not followed yet.
    pub changes: Vec<Change>,
}

/// What a policy wants when its alarm calls.
struct Proposal<'a> {
    policy: &'a Policy,
    alarm: usize,
    value: Option<f64>,
    to: u32,
}

/// The one owner of a fleet's size.
#[derive(Clone, Debug)]
pub struct Scaler {
    plan: Plan,
    /// Every alarm with the index of the policy that owns it; parallel to `state.alarms`.
    watched: Vec<(Alarm, Option<usize>)>,
    state: ScalerState,
    /// Changes that no decision has told yet.
    untold: Vec<Change>,
}

impl Scaler {
    /// A scaler that begins at `now`, with the fewest instances and every alarm in INSUFFICIENT_DATA.
    pub fn new(plan: Plan, now: Moment) -> Result<Self, PlanError> {
        let mut scaler = Self::assemble(
            plan,
            ScalerState {
                desired: 0,
                scheduled: None,
                ticked: now,
                alarms: Vec::new(),
                scale_outs: Vec::new(),
                cooldown: None,
                changes: Vec::new(),
            },
        )?;
        scaler.resize(
            now,
            scaler.bounds().min,
            "a user request created an AutoScalingGroup".to_owned(),
            None,
        );
        // The first instances count as soon as they are in service.
        scaler.state.scale_outs.clear();
        Ok(scaler)
    }

    /// A scaler that goes on from where another one was, with the same plan or another. An alarm that has kept its
    /// name keeps its state; a size that is out of bounds is moved into them. Moments after `now`, left by a clock
    /// that was set back since, are taken as `now`.
    pub fn restore(plan: Plan, mut state: ScalerState, now: Moment) -> Result<Self, PlanError> {
        state.ticked = state.ticked.min(now);
        state.alarms.iter_mut().for_each(|status| status.called = status.called.map(|at| at.min(now)));
        state.scale_outs.iter_mut().for_each(|scale_out| scale_out.at = scale_out.at.min(now));
        if let Some(cooldown) = &mut state.cooldown {
            cooldown.since = cooldown.since.min(now);
            cooldown.settled = cooldown.settled.map(|at| at.min(now));
        }
        let mut scaler = Self::assemble(plan, state)?;
        let bounds = scaler.bounds();
        let desired = bounds.clamp(scaler.desired());
        scaler.resize(now, desired, constraints("user request", bounds, desired), None);
        Ok(scaler)
    }

    fn assemble(plan: Plan, mut state: ScalerState) -> Result<Self, PlanError> {
        plan.validate()?;
        let watched: Vec<(Alarm, Option<usize>)> = plan.every_alarm().collect();
        let mut known = std::mem::take(&mut state.alarms);
        state.alarms = watched
            .iter()
            .map(|(alarm, _)| match known.iter().position(|status| status.name == alarm.name) {
                Some(index) => known.swap_remove(index),
                None => AlarmStatus {
                    name: alarm.name.clone(),
                    state: AlarmState::default(),
                    since: None,
                    reason: "Unchecked: Initial alarm creation".to_owned(),
                    value: None,
                    called: None,
                },
            })
            .collect();
        if plan.schedules.is_empty() {
            state.scheduled = None;
        }
        Ok(Self { plan, watched, state, untold: Vec::new() })
    }

    /// The plan it follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// All that it remembers.
    pub fn state(&self) -> &ScalerState {
        &self.state
    }

    /// How many instances there should be.
    pub fn desired(&self) -> u32 {
        self.state.desired
    }

    /// The bounds in force: the plan's, or a schedule's.
    pub fn bounds(&self) -> Bounds {
        self.state.scheduled.unwrap_or(self.plan.bounds)
    }

    /// Every alarm and how it stands, those of policies too.
    pub fn alarms(&self) -> impl Iterator<Item = (&Alarm, &AlarmStatus)> {
        self.watched.iter().map(|(alarm, _)| alarm).zip(&self.state.alarms)
    }

    /// The next moment after `now` at which a tick may find something to do although no instance changed its state
    /// and, in an empty fleet, no message came.
    pub fn next_tick(&self, now: Moment) -> Option<Moment> {
        let alarms = self.watched.iter().map(|(alarm, _)| floor(now, alarm.interval()) + alarm.interval());
        alarms.chain(self.plan.schedules.iter().filter_map(|schedule| schedule.next(now))).min()
    }

    /// Decides what there is to do at `now`.
    ///
    /// Call it at every [`next_tick`](Self::next_tick) and whenever an instance changes its state, with every
    /// instance that is not terminated. What it asks to launch and to terminate is the difference between what should
    /// be and what `instances` shows, so it asks again for what was not done, and nothing for what was. Alarms and
    /// schedules have their say once for each of their moments: another tick at the same `now` never changes the
    /// size. Time does not run backwards; an earlier `now` is taken as the last one.
    pub fn tick(&mut self, now: Moment, metrics: &Metrics, instances: &[Instance]) -> Decision {
        let before = self.state.ticked;
        let now = now.max(before);
        let mut decision = Decision::default();

        self.settle(now, instances);
        self.follow_schedules(before, now);
        let calls = self.evaluate_alarms(before, now, metrics, &mut decision.transitions);
        self.follow_policies(now, &calls, metrics, instances);
        self.wake(now, metrics);
        // Again, as the size may have come to the instances instead.
        self.settle(now, instances);
        self.state.ticked = now;

        decision.changes = std::mem::take(&mut self.untold);
        self.forget_scale_outs(instances);
        self.compare(now, instances, &mut decision);
        decision.desired = self.state.desired;
        decision
    }

    /// The only place where the size changes.
    fn resize(&mut self, now: Moment, to: u32, cause: String, warmup: Option<Duration>) {
        let from = std::mem::replace(&mut self.state.desired, to);
        if from == to {
            return;
        }
        if to > from {
            let warmup = warmup.or(self.plan.warmup).unwrap_or(Duration::ZERO);
            self.state.scale_outs.push(ScaleOut { at: now, warmup });
        }
        let change = Change { at: now, from, to, cause };
        self.untold.push(change.clone());
        self.state.changes.push(change);
        if self.state.changes.len() > CHANGES_KEPT {
            self.state.changes.remove(0);
        }
    }

    /// Notes when a simple policy's instances have come or gone: its cooldown counts from then.
    fn settle(&mut self, now: Moment, instances: &[Instance]) {
        let changing = self.size(now, instances).is_changing();
        if let Some(cooldown) = &mut self.state.cooldown
            && cooldown.settled.is_none()
            && cooldown.since < now
            && !changing
        {
            cooldown.settled = Some(now);
        }
    }

    fn follow_schedules(&mut self, before: Moment, now: Moment) {
        let mut due: Vec<(Moment, usize)> = (0..)
            .zip(&self.plan.schedules)
            .filter_map(|(index, schedule)| Some((schedule.last(now).filter(|&at| at > before)?, index)))
            .collect();
        due.sort_unstable();
        for (_, index) in due {
            let schedule = &self.plan.schedules[index];
            let bounds = self.bounds();
            let bounds =
                Bounds { min: schedule.min.unwrap_or(bounds.min), max: schedule.max.unwrap_or(bounds.max) };
            let desired = bounds.clamp(schedule.desired.unwrap_or(self.state.desired));
            self.state.scheduled = Some(bounds);
            self.resize(now, desired, constraints("scheduled action", bounds, desired), None);
        }
    }

    /// Evaluates the alarms that are due, and gives those that call their policies: at a transition to ALARM, and as
    /// long as they stay there once a minute (CloudWatch user guide: the exception for Auto Scaling actions).
    fn evaluate_alarms(
        &mut self,
        before: Moment,
        now: Moment,
        metrics: &Metrics,
        transitions: &mut Vec<AlarmTransition>,
    ) -> Vec<(usize, Evaluation)> {
        let mut calls = Vec::new();
        for (index, ((alarm, _), status)) in self.watched.iter().zip(&mut self.state.alarms).enumerate() {
            let at = floor(now, alarm.interval());
            if at <= floor(before, alarm.interval()) {
                continue;
            }
            let evaluation = alarm.evaluate(&alarm.datapoints(metrics, at), status.state);
            status.value = evaluation.datapoints.first().copied();
            if evaluation.state != status.state {
                transitions.push(AlarmTransition {
                    at: now,
                    alarm: alarm.name.clone(),
                    from: status.state,
                    to: evaluation.state,
                    reason: evaluation.reason.clone(),
                    value: status.value,
                });
                (status.state, status.since, status.called) = (evaluation.state, Some(now), None);
                status.reason.clone_from(&evaluation.reason);
            }
            if status.state == AlarmState::Alarm && status.called.is_none_or(|last| at >= last + MINUTE) {
                status.called = Some(at);
                calls.push((index, evaluation));
            }
        }
        calls
    }

    /// Asks the policies whose alarms call. Of several answers the largest capacity counts (Auto Scaling user guide,
    /// "When multiple dynamic scaling policies are in force").
    fn follow_policies(
        &mut self,
        now: Moment,
        calls: &[(usize, Evaluation)],
        metrics: &Metrics,
        instances: &[Instance],
    ) {
        if calls.is_empty() {
            return;
        }
        let fleet = self.size(now, instances);
        let mut best: Option<Proposal<'_>> = None;
        for proposal in calls
            .iter()
            .flat_map(|(alarm, evaluation)| self.proposals(*alarm, evaluation, now, metrics, &fleet))
        {
            let to = self.permitted(proposal.to, metrics, &fleet);
            if best.as_ref().is_none_or(|best| to > best.to) {
                best = Some(Proposal { to, ..proposal });
            }
        }
        let Some(Proposal { policy, alarm, value, to }) = best.filter(|best| best.to != fleet.desired) else {
            return;
        };
        let alarm = &self.watched[alarm].0;
        let cause = format!(
            "a monitor alarm {} in state ALARM{} triggered policy {}",
            alarm.name,
            value.map_or(String::new(), |value| format!(" with {} {}", alarm.metric, number(value))),
            policy.name(),
        );
        let mut cooldown = None;
        let warmup = match policy {
            Policy::Simple(simple) => {
                let length = simple.cooldown.unwrap_or(self.plan.cooldown);
                cooldown = Some(Cooldown { since: now, length, settled: None });
                None
            }
            Policy::Step(step) => step.warmup.or(self.plan.warmup).or(Some(self.plan.cooldown)),
            Policy::TargetTracking(tracking) => {
                tracking.warmup.or(self.plan.warmup).or(Some(self.plan.cooldown))
            }
        };
        self.state.cooldown = cooldown.or(self.state.cooldown);
        self.resize(now, to, cause, warmup);
    }

    /// What the policies of one alarm want.
    fn proposals<'a>(
        &'a self,
        alarm: usize,
        evaluation: &'a Evaluation,
        now: Moment,
        metrics: &'a Metrics,
        fleet: &'a FleetSize,
    ) -> impl Iterator<Item = Proposal<'a>> {
        let (rule, owner) = &self.watched[alarm];
        let newest = evaluation.datapoints.first().copied();
        (0..).zip(&self.plan.policies).filter_map(move |(index, policy)| {
            let (value, to) = match policy {
                Policy::Simple(simple) if simple.alarm == rule.name => {
                    (!fleet.is_changing() && !self.cools(now)).then(|| (newest, simple.propose(fleet)))?
                }
                // Without any datapoint there is no telling which step it is.
                Policy::Step(step) if step.alarm == rule.name => {
                    let value = step.aggregation.of(&evaluation.datapoints)?;
                    (Some(value), step.propose(value - rule.threshold, rule.operator, fleet))
                }
                Policy::TargetTracking(tracking) if *owner == Some(index) => {
                    let to = if rule.operator.is_upper() {
                        tracking.propose_out(newest?, &measured(rule, now, metrics, fleet))
                    } else {
                        self.agreed_in(now, metrics, fleet)?
                    };
                    (newest, to)
                }
                _ => return None,
            };
            Some(Proposal { policy, alarm, value, to })
        })
    }

    /// What all target-tracking policies that may scale in agree on; `None` unless each of them would ("scales in
    /// only if all of the target tracking policies with the scale-in portion enabled are ready to").
    fn agreed_in(&self, now: Moment, metrics: &Metrics, fleet: &FleetSize) -> Option<u32> {
        let proposal = |index: usize, tracking: &TargetTracking| {
            let (alarm, status) = self
                .watched
                .iter()
                .zip(&self.state.alarms)
                .find(|((alarm, owner), _)| *owner == Some(index) && !alarm.operator.is_upper())
                .map(|((alarm, _), status)| (alarm, status))?;
            let value = status.value.filter(|_| status.state == AlarmState::Alarm)?;
            Some(tracking.propose_in(value, &measured(alarm, now, metrics, fleet)))
        };
        let mut agreed = None;
        for (index, policy) in self.plan.policies.iter().enumerate() {
            match policy {
                Policy::TargetTracking(tracking) if !tracking.disable_scale_in => {
                    agreed = agreed.max(Some(proposal(index, tracking)?));
                }
                _ => {}
            }
        }
        agreed
    }

    /// The size nearest to `to` that a policy may give the fleet: within bounds, not less while instances of a
    /// scale-out warm, and not nothing while there is work, in flight or not.
    fn permitted(&self, to: u32, metrics: &Metrics, fleet: &FleetSize) -> u32 {
        let to = self.bounds().clamp(to);
        if to < fleet.desired && fleet.warming > 0 {
            return fleet.desired;
        }
        let done = metrics.latest().is_some_and(|latest| latest.unfinished() == 0) && fleet.busy == 0;
        if to == 0 && !done { fleet.desired.min(1) } else { to }
    }

    fn wake(&mut self, now: Moment, metrics: &Metrics) {
        let waiting = metrics.latest().map_or(0, |latest| latest.visible);
        if self.plan.wakes_from_zero && self.state.desired == 0 && self.bounds().max > 0 && waiting > 0 {
            self.resize(now, 1, format!("a backlog of {waiting} without an instance"), None);
        }
    }

    /// Whether a simple policy's cooldown runs. Its start is rounded as [`warms`](Self::warms) rounds.
    fn cools(&self, now: Moment) -> bool {
        self.state.cooldown.is_some_and(|cooldown| {
            cooldown.settled.is_none_or(|settled| now < floor(settled, TEN_SECONDS) + cooldown.length)
        })
    }

    /// Whether a scale-out launched this instance and its warm-up, which counts from when it came into service, runs.
    ///
    /// Starts are rounded down to ten seconds, the finest step of an alarm. Otherwise an instance that came into
    /// service some milliseconds after a full minute would miss the evaluation it is due for, and whether it does
    /// would depend on the speed of the machine.
    fn warms(&self, instance: &Instance, now: Moment) -> bool {
        self.scale_out_of(instance).is_some_and(|index| {
            instance
                .in_service_at
                .is_none_or(|since| now < floor(since, TEN_SECONDS) + self.state.scale_outs[index].warmup)
        })
    }

    /// The decision to grow that this instance was launched after. The first instances of a fleet have none.
    fn scale_out_of(&self, instance: &Instance) -> Option<usize> {
        self.state.scale_outs.iter().rposition(|scale_out| scale_out.at <= instance.launched_at)
    }

    fn forget_scale_outs(&mut self, instances: &[Instance]) {
        let mut needed: Vec<usize> = instances
            .iter()
            .filter(|instance| instance.state.is_active())
            .filter_map(|instance| self.scale_out_of(instance))
            .collect();
        needed.extend(self.state.scale_outs.len().checked_sub(1));
        let mut index = 0;
        self.state.scale_outs.retain(|_| {
            index += 1;
            needed.contains(&(index - 1))
        });
    }

    fn size(&self, now: Moment, instances: &[Instance]) -> FleetSize {
        let mut size = FleetSize { desired: self.state.desired, ..FleetSize::default() };
        for instance in instances {
            let warms = self.warms(instance, now);
            match instance.state {
                InstanceState::Terminating => size.terminating += 1,
                InstanceState::Pending if instance.healthy => {
                    size.pending += 1;
                    size.warming += u32::from(warms);
                }
                InstanceState::InService if instance.healthy => {
                    size.in_service += 1;
                    size.warming += u32::from(warms);
                    size.warmed += u32::from(!warms);
                    size.busy += u32::from(instance.busy);
                }
                _ => {}
            }
        }
        size
    }

    /// Compares the instances with what should be. Unhealthy ones are replaced: protection does not save them.
    fn compare(&mut self, now: Moment, instances: &[Instance], decision: &mut Decision) {
        let (well, ill): (Vec<&Instance>, Vec<&Instance>) = instances
            .iter()
            .filter(|instance| instance.state.is_active())
            .partition(|instance| instance.healthy);
        let desired = self.state.desired;
        let actual = u32::try_from(well.len()).unwrap_or(u32::MAX);
        if actual == desired {
            self.state.changes.clear();
        }
        let because = |text: String| Reason { at: now, text };
        let changes = || self.state.changes.iter().map(Change::reason);

        for instance in &ill {
            let cause = vec![because(
                "an instance was taken out of service in response to a health check".to_owned(),
            )];
            let kind = ActivityKind::Terminate(instance.id.clone());
            decision.activities.push(Activity { at: now, kind, cause });
            decision.terminations.push(instance.id.clone());
        }

        decision.launches = desired.saturating_sub(actual);
        let replacements = decision.launches.min(u32::try_from(ill.len()).unwrap_or(u32::MAX));
        let start = because(format!(
            "an instance was started in response to a difference between desired and actual capacity, increasing the \
             capacity from {} to {desired}",
            actual + replacements,
        ));
        let replace = because(
            "an instance was launched in response to an unhealthy instance needing to be replaced".to_owned(),
        );
        for launch in 0..decision.launches {
            let cause = if launch < replacements {
                vec![replace.clone()]
            } else {
                changes().chain([start.clone()]).collect()
            };
            decision.activities.push(Activity { at: now, kind: ActivityKind::Launch, cause });
        }

        let surplus = actual.saturating_sub(desired);
        let chosen = choose_to_terminate(well, surplus as usize);
        let left = actual - u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        for id in chosen {
            let stop = because(format!(
                "an instance was taken out of service in response to a difference between desired and actual capacity, \
                 shrinking the capacity from {actual} to {left}",
            ));
            let selected = because(format!("instance {id} was selected for termination"));
            let kind = ActivityKind::Terminate(id.clone());
            decision.activities.push(Activity {
                at: now,
                kind,
                cause: changes().chain([stop, selected]).collect(),
            });
            decision.terminations.push(id);
        }
    }
}

/// The fleet as a policy needs it that goes by the newest datapoint of `alarm`. Where metrics come late that is an old
/// one, and instances that came since are not in it.
fn measured(alarm: &Alarm, now: Moment, metrics: &Metrics, fleet: &FleetSize) -> FleetSize {
    let at = floor(now, alarm.interval());
    let newest = (1..=alarm.evaluation_range())
        .map_while(|back| at.checked_sub(alarm.period.saturating_mul(back)))
        .find(|start| metrics.datapoint(alarm.metric, alarm.statistic, *start, alarm.period).is_some());
    let then = newest.and_then(|start| {
        metrics.datapoint(Metric::InServiceInstances, Statistic::Average, start, alarm.period)
    });
    FleetSize { measured: then.map_or(fleet.in_service, |then| then.ceil() as u32), ..*fleet }
}

fn constraints(who: &str, Bounds { min, max }: Bounds, desired: u32) -> String {
    format!("a {who} update of AutoScalingGroup constraints to min: {min}, max: {max}, desired: {desired}")
}
