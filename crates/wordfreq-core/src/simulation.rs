//! What a plan would do: a discrete-event simulation of a queue and its fleet, driven by the very [`Scaler`] that drives a
//! real one. Pure: the documents, and chance, come in as arguments.
//!
//! The model: documents arrive on a queue and are taken in their order; an instance does one at a time and holds a few
//! more; an instance that is told to go finishes the one in hand and gives back the rest; metrics are looked at once an
//! evaluation interval, and known to the scaler after a delay. Not here: where arrivals and service times come from, what
//! any of it costs, and every printed form.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::scaling::{
    Activity, AlarmState, AlarmTransition, Bounds, Instance, InstanceState, Metrics, Moment, Observation,
    Plan, PlanError, Scaler,
};

/// How long after the last arrival a fleet may take to come to rest before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// How often a fleet without alarms is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// From telling an instance that has nothing in hand to go until it is gone. Little, but not nothing: the scaler must see it
/// go, as the cooldown of a simple policy counts from then, and not from its next look.
const STOP: Duration = Duration::from_secs(1);

/// The least time an instance is paid for (EC2, Linux: 60 s).
const SHORTEST_PAID: Duration = Duration::from_secs(60);

/// A document of a load: when it arrives, and how long an instance works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// When it is put on the queue. Loads come in the order of their arrivals.
    pub arrival: Moment,
    /// How long it takes.
    pub service: Duration,
}

/// A time that is exponentially distributed with this mean, by inversion of `chance`, which is from 0 up to 1.
pub fn exponential(mean: Duration, chance: f64) -> Duration {
    mean.mul_f64(-(1.0 - chance).ln())
}

/// A time between two others, equally likely, by `chance`, which is from 0 up to 1.
pub fn uniform(least: Duration, most: Duration, chance: f64) -> Duration {
    least + (most - least).mul_f64(chance)
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How the fleet is sized.
    pub plan: Plan,
    /// From an instance's launch to its first receive.
    pub boot: Duration,
    /// From an observation to its being known.
    pub metric_delay: Duration,
    /// Messages an instance holds at most, the one in hand included.
    pub prefetch: u32,
    /// How long a message of a failed try, or of an instance that died, stays hidden.
    pub visibility: Duration,
    /// The share of tries that fail, 0 to 1.
    pub failures: f64,
    /// How long an instance lives on average before it dies unasked; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// Whether scale-in leaves an instance alone while it holds messages, as a worker sets scale-in protection for the
    /// time of its batch. If not, one that must go gives back what it has not begun.
    pub protect: bool,
}

impl Setting {
    /// A plan in an ideal world.
    pub fn of(plan: Plan) -> Self {
        Self {
            plan,
            boot: Duration::ZERO,
            metric_delay: Duration::ZERO,
            prefetch: 1,
            visibility: Duration::from_secs(60),
            failures: 0.0,
            lifetime: None,
            protect: true,
        }
    }
}

/// How queue and fleet stood at one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Moment,
    /// Messages that wait.
    pub visible: u64,
    /// Messages in flight.
    pub not_visible: u64,
    /// How many instances there should be.
    pub desired: u32,
    /// How many are at work.
    pub in_service: u32,
    /// Names of the alarms in ALARM.
    pub alarms: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Documents that were done.
    pub documents: u64,
    /// Documents that were not, because the fleet was stuck.
    pub unfinished: u64,
    /// From arrival to done, in seconds, in no order.
    pub latencies: Vec<f32>,
    /// The most instances at work at one moment.
    pub max_in_service: u32,
    /// Instances launched, those of the beginning not counted.
    pub launches: u64,
    /// Instances terminated by the scaler.
    pub terminations: u64,
    /// The most messages that waited at one moment.
    pub backlog_peak: u64,
    /// Time of all instances from launch to end, each at least a minute.
    pub instance_time: Duration,
    /// Messages received, those of failed tries included.
    pub received: u64,
    /// When the fleet was at rest, or counted as stuck.
    pub end: Moment,
    /// Whether it came to rest: everything done, and no more instances than there must be.
    pub rested: bool,
    /// One entry a look.
    pub timeline: Vec<Sample>,
    /// Every change of an alarm's state.
    pub transitions: Vec<AlarmTransition>,
    /// Every launch and termination, with its cause.
    pub activities: Vec<Activity>,
}

/// Nanoseconds since the start: a whole simulation in 584 years.
type Nanos = u64;

fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Clone, Copy, Debug)]
struct Message {
    arrival: Nanos,
    service: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// The instance in this slot is at work from now on.
    Booted(usize),
    /// It has finished the message in hand.
    Done(usize),
    /// It dies, or has stopped.
    Died(usize),
}

struct Machine {
    instance: Instance,
    /// The one in hand first.
    held: VecDeque<Message>,
}

struct World<'a> {
    setting: &'a Setting,
    now: Nanos,
    queue: VecDeque<Message>,
    /// Hidden until a moment: of failed tries and dead instances.
    hidden: BinaryHeap<Reverse<(Nanos, Nanos, Nanos)>>,
    happenings: BinaryHeap<Reverse<(Nanos, u64, Happening)>>,
    num_happenings: u64,
    /// Slots of instances, all that ever were; the living ones by their slot.
    machines: Vec<Option<Machine>>,
    living: Vec<usize>,
    idle: Vec<usize>,
    held: u64,
    /// Whether an instance came or went since the scaler last looked, or one it spared may go now.
    fleet_changed: bool,
    /// How many instances there are more than there should be, because protection spared them.
    surplus: usize,
    random: &'a mut dyn FnMut() -> f64,
    outcome: Outcome,
    sent: u64,
    received: u64,
    deleted: u64,
}

/// Simulates a load from its first arrival until the fleet is back at rest. `random` gives numbers from 0 up to 1; it is
/// asked only where failures or deaths are.
///
/// # Errors
/// Those of the plan.
pub fn simulate(
    setting: &Setting,
    loads: &mut dyn Iterator<Item = Load>,
    random: &mut dyn FnMut() -> f64,
) -> Result<Outcome, PlanError> {
    let mut scaler = Scaler::new(setting.plan.clone(), Moment::ZERO)?;
    let mut metrics = setting.plan.metrics();
    let interval = nanos(scaler.alarms().map(|(alarm, _)| alarm.interval()).min().unwrap_or(LOOK_EVERY));
    let mut world = World {
        setting,
        now: 0,
        queue: VecDeque::new(),
        hidden: BinaryHeap::new(),
        happenings: BinaryHeap::new(),
        num_happenings: 0,
        machines: Vec::new(),
        living: Vec::new(),
        idle: Vec::new(),
        held: 0,
        fleet_changed: false,
        surplus: 0,
        random,
        outcome: Outcome::default(),
        sent: 0,
        received: 0,
        deleted: 0,
    };
    // A fleet at rest: the instances of its minimum are at work already.
    for _ in 0..scaler.desired() {
        let slot = world.launch();
        world.booted(slot);
    }
    let mut loads = loads.peekable();
    let mut unknown: VecDeque<Observation> = VecDeque::new();
    let mut next_look = 0;
    let mut last_arrival = 0;
    loop {
        let arrival = loads.peek().map(|load| nanos(load.arrival));
        let happening = world.happenings.peek().map(|Reverse((at, ..))| *at);
        let returning = world.hidden.peek().map(|Reverse((at, ..))| *at);
        let next = [arrival, happening, returning].into_iter().flatten().min().unwrap_or(u64::MAX);
        if next < next_look {
            world.now = next;
            if arrival == Some(next) {
                last_arrival = next;
                if let Some(load) = loads.next() {
                    world.sent += 1;
                    world.enqueue(Message { arrival: next, service: nanos(load.service) });
                }
            } else if returning == Some(next) {
                if let Some(Reverse((_, arrival, service))) = world.hidden.pop() {
                    world.enqueue(Message { arrival, service });
                }
            } else if let Some(Reverse((_, _, happening))) = world.happenings.pop() {
                world.happens(happening);
            }
            // Once for all that comes or goes at one moment: the look at a large fleet is what costs.
            let is_last = world.happenings.peek().is_none_or(|Reverse((at, ..))| *at > next);
            if world.fleet_changed && is_last {
                world.follow(&mut scaler, &metrics);
            }
            continue;
        }
        world.now = next_look;
        let observation = world.observe();
        unknown.push_back(observation.clone());
        let delay = setting.metric_delay;
        while let Some(known) = unknown.pop_front_if(|known| known.at + delay <= observation.at) {
            metrics.record(&known);
        }
        let desired = world.follow(&mut scaler, &metrics);
        let in_alarm = scaler.alarms().filter(|(_, status)| status.state == AlarmState::Alarm);
        world.outcome.timeline.push(Sample {
            at: observation.at,
            visible: observation.visible,
            not_visible: observation.not_visible,
            desired,
            in_service: world.in_service(),
            alarms: in_alarm.map(|(alarm, _)| alarm.name.clone()).collect(),
        });
        let has_all = loads.peek().is_none();
        let is_done = has_all && world.queue.is_empty() && world.held == 0 && world.hidden.is_empty();
        // Once all is done, who is still going has nothing in hand.
        let is_at_rest = desired <= scaler.bounds().min && world.active() == desired as usize;
        let is_stuck = has_all && world.now > last_arrival.saturating_add(nanos(PATIENCE));
        world.outcome.rested = is_done && is_at_rest;
        if world.outcome.rested || is_stuck {
            return Ok(world.end());
        }
        next_look += interval;
    }
}

impl World<'_> {
    fn moment(&self) -> Moment {
        Duration::from_nanos(self.now)
    }

    /// Does what the scaler decides; how many instances there should be now.
    fn follow(&mut self, scaler: &mut Scaler, metrics: &Metrics) -> u32 {
        let decision = scaler.tick(self.moment(), metrics, &self.instances());
        for _ in 0..decision.launches {
            let slot = self.launch();
            self.later(nanos(self.setting.boot), Happening::Booted(slot));
            self.outcome.launches += 1;
        }
        for id in &decision.terminations {
            self.terminate(id);
            self.outcome.terminations += 1;
        }
        self.fleet_changed = false;
        let machines = self.living.iter().filter_map(|slot| self.machines[*slot].as_ref());
        let active = machines.filter(|machine| machine.instance.state.is_active()).count();
        self.surplus = active.saturating_sub(decision.desired as usize);
        // Messages given back, and instances that were spared between two batches.
        while !self.queue.is_empty()
            && let Some(slot) = self.idle.pop()
        {
            self.take(slot);
        }
        self.outcome.transitions.extend(decision.transitions);
        self.outcome.activities.extend(decision.activities);
        decision.desired
    }

    fn later(&mut self, after: Nanos, happening: Happening) {
        self.num_happenings += 1;
        self.happenings.push(Reverse((self.now.saturating_add(after), self.num_happenings, happening)));
    }

    fn instances(&self) -> Vec<Instance> {
        let machines = self.living.iter().filter_map(|slot| self.machines[*slot].as_ref());
        machines
            .map(|machine| {
                let busy = !machine.held.is_empty();
                Instance { busy, protected: self.setting.protect && busy, ..machine.instance.clone() }
            })
            .collect()
    }

    fn observe(&mut self) -> Observation {
        let visible = self.queue.len() as u64;
        let oldest = self.queue.front().map(|message| Duration::from_nanos(self.now - message.arrival));
        let in_service = self.in_service();
        self.outcome.received += self.received;
        Observation {
            at: self.moment(),
            visible,
            not_visible: self.held + self.hidden.len() as u64,
            delayed: 0,
            oldest_age: oldest,
            sent: std::mem::take(&mut self.sent),
            received: std::mem::take(&mut self.received),
            deleted: std::mem::take(&mut self.deleted),
            in_service,
        }
    }

    fn active(&self) -> usize {
        let machines = self.living.iter().filter_map(|slot| self.machines[*slot].as_ref());
        machines.filter(|machine| machine.instance.state.is_active()).count()
    }

    fn in_service(&self) -> u32 {
        let machines = self.living.iter().filter_map(|slot| self.machines[*slot].as_ref());
        machines.filter(|machine| machine.instance.state == InstanceState::InService).count() as u32
    }

    fn launch(&mut self) -> usize {
        let slot = self.machines.len();
        let instance = Instance {
            id: format!("i-{:04}", slot + 1),
            state: InstanceState::Pending,
            launched_at: self.moment(),
            in_service_at: None,
            protected: false,
            busy: false,
            healthy: true,
        };
        self.machines.push(Some(Machine { instance, held: VecDeque::new() }));
        self.living.push(slot);
        slot
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Booted(slot) => self.booted(slot),
            Happening::Done(slot) => self.done(slot),
            Happening::Died(slot) => self.dies(slot),
        }
    }

    fn booted(&mut self, slot: usize) {
        let now = self.moment();
        let Some(machine) = &mut self.machines[slot] else { return };
        if machine.instance.state != InstanceState::Pending {
            return;
        }
        machine.instance.state = InstanceState::InService;
        machine.instance.in_service_at = Some(now);
        self.fleet_changed = true;
        self.outcome.max_in_service = self.outcome.max_in_service.max(self.in_service());
        if let Some(lifetime) = self.setting.lifetime {
            // Exponential: an instance dies as easily when it is old.
            let lives = -(1.0 - (self.random)()).ln() * lifetime.as_secs_f64();
            self.later(nanos(Duration::from_secs_f64(lives)), Happening::Died(slot));
        }
        self.take(slot);
    }

    fn enqueue(&mut self, message: Message) {
        self.queue.push_back(message);
        if let Some(slot) = self.idle.pop() {
            self.take(slot);
        }
        self.outcome.backlog_peak = self.outcome.backlog_peak.max(self.queue.len() as u64);
    }

    /// An instance with nothing in hand takes what there is, or waits.
    fn take(&mut self, slot: usize) {
        let prefetch = self.setting.prefetch.max(1) as usize;
        let Some(machine) = &mut self.machines[slot] else { return };
        while machine.held.len() < prefetch
            && let Some(message) = self.queue.pop_front()
        {
            machine.held.push_back(message);
            self.held += 1;
            self.received += 1;
        }
        match machine.held.front().map(|message| message.service) {
            Some(service) => self.later(service, Happening::Done(slot)),
            None => self.idle.push(slot),
        }
    }

    fn done(&mut self, slot: usize) {
        let Some(machine) = &mut self.machines[slot] else { return };
        let Some(message) = machine.held.pop_front() else { return };
        self.held -= 1;
        let failed = self.setting.failures > 0.0 && (self.random)() < self.setting.failures;
        if failed {
            self.hide(message);
        } else {
            self.deleted += 1;
            self.outcome.documents += 1;
            let latency = Duration::from_nanos(self.now - message.arrival);
            self.outcome.latencies.push(latency.as_secs_f32());
        }
        match &self.machines[slot] {
            Some(machine) if machine.instance.state == InstanceState::Terminating => self.gone(slot),
            Some(machine) => match machine.held.front().map(|message| message.service) {
                Some(service) => self.later(service, Happening::Done(slot)),
                // Between two batches nothing protects it, and the scaler is asked before it takes another.
                None if self.surplus > 0 => {
                    self.idle.push(slot);
                    self.fleet_changed = true;
                }
                None => self.take(slot),
            },
            None => {}
        }
    }

    fn hide(&mut self, message: Message) {
        let until = self.now.saturating_add(nanos(self.setting.visibility));
        self.hidden.push(Reverse((until, message.arrival, message.service)));
    }

    fn terminate(&mut self, id: &str) {
        let found = self
            .living
            .iter()
            .copied()
            .find(|slot| self.machines[*slot].as_ref().is_some_and(|machine| machine.instance.id == id));
        let Some(slot) = found else { return };
        let Some(machine) = &mut self.machines[slot] else { return };
        machine.instance.state = InstanceState::Terminating;
        // It drains: what it has not begun is given back at once, to the front.
        while machine.held.len() > 1 {
            if let Some(message) = machine.held.pop_back() {
                self.held -= 1;
                self.queue.push_front(message);
            }
        }
        if machine.held.is_empty() {
            self.idle.retain(|idle| *idle != slot);
            self.later(nanos(STOP), Happening::Died(slot));
        }
    }

    fn dies(&mut self, slot: usize) {
        let held = self.machines[slot].as_mut().map(|machine| std::mem::take(&mut machine.held));
        for message in held.into_iter().flatten() {
            self.held -= 1;
            self.hide(message);
        }
        self.gone(slot);
    }

    fn gone(&mut self, slot: usize) {
        self.idle.retain(|idle| *idle != slot);
        self.living.retain(|living| *living != slot);
        self.fleet_changed = true;
        if let Some(machine) = self.machines[slot].take() {
            let lived = self.moment().saturating_sub(machine.instance.launched_at);
            self.outcome.instance_time += lived.max(SHORTEST_PAID);
        }
    }

    fn end(mut self) -> Outcome {
        for slot in std::mem::take(&mut self.living) {
            self.gone(slot);
        }
        self.outcome.unfinished = self.queue.len() as u64 + self.held + self.hidden.len() as u64;
        self.outcome.end = self.moment();
        self.outcome
    }
}

impl Outcome {
    /// The latency that so large a share of the documents does not exceed, 0 to 1, by the nearest-rank method. `None` if
    /// nothing was done.
    pub fn latency(&mut self, share: f64) -> Option<Duration> {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        let index = rank.max(1).min(self.latencies.len()).checked_sub(1)?;
        let (_, latency, _) = self.latencies.select_nth_unstable_by(index, f32::total_cmp);
        Some(Duration::from_secs_f32(*latency))
    }
}

/// The least time of instances that could have done the load with every document within `target` of its arrival, had all
/// arrivals been known beforehand: no boot, no waiting for metrics, instances by the slot of a minute, work divisible at
/// will. Nothing that does not know the future can do with less.
///
/// A work's deadline is the end of the slot that its `target` falls into. As extra capacity serves any work that has
/// arrived, it is best bought as late as the deadlines allow; only where a slot would need more than `bounds.max`
/// instances is it bought earlier. `until` is the moment the comparison ends: the minimum is paid up to then.
pub fn clairvoyant(
    loads: &mut dyn Iterator<Item = Load>,
    target: Duration,
    bounds: Bounds,
    until: Moment,
) -> Duration {
    const SLOT: Duration = Duration::from_secs(60);
    let slot_of = |moment: Moment| (moment.as_secs() / SLOT.as_secs()) as usize;
    let mut arrived: Vec<f64> = Vec::new();
    let mut due: Vec<f64> = Vec::new();
    let add = |work: &mut Vec<f64>, slot: usize, seconds: f64| {
        if work.len() <= slot {
            work.resize(slot + 1, 0.0);
        }
        work[slot] += seconds;
    };
    for load in loads {
        let seconds = load.service.as_secs_f64();
        add(&mut arrived, slot_of(load.arrival), seconds);
        add(&mut due, slot_of(load.arrival + target.max(load.service)), seconds);
    }
    let slots = due.len().max(slot_of(until) + 1);
    arrived.resize(slots, 0.0);
    due.resize(slots, 0.0);
    let sum = |work: &mut Vec<f64>| {
        let mut total = 0.0;
        for seconds in work.iter_mut() {
            total += *seconds;
            *seconds = total;
        }
    };
    sum(&mut arrived);
    sum(&mut due);
    let slot = SLOT.as_secs_f64();
    let most = f64::from(bounds.max) * slot;
    for index in (1..slots).rev() {
        due[index - 1] = due[index - 1].max(due[index] - most).min(arrived[index - 1]);
    }
    let least = f64::from(bounds.min) * slot;
    let mut served = 0.0;
    let mut paid = 0.0;
    for index in 0..slots {
        // Guards against a hair of work left over by rounding.
        let missing = (due[index] - served - least - 1e-6).max(0.0);
        let more = (missing / slot).ceil() * slot;
        served = f64::min(served + least + more, arrived[index]);
        paid += more;
    }
    // No longer than any of those it is compared with, however late the last deadline is.
    until * bounds.min + Duration::from_secs_f64(paid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::{Metric, Schedule, classic, fixed};

    fn no_chance() -> f64 {
        panic!("nothing here is left to chance")
    }

    fn burst(documents: u64, seconds: u64) -> impl Iterator<Item = Load> {
        (0..documents).map(move |_| Load { arrival: Moment::ZERO, service: Duration::from_secs(seconds) })
    }

    #[test]
    fn one_instance_does_one_document_after_the_other() {
        let outcome = simulate(&Setting::of(fixed(1)), &mut burst(10, 6), &mut no_chance);
        let mut outcome = outcome.unwrap();
        assert_eq!((outcome.documents, outcome.unfinished, outcome.launches), (10, 0, 0));
        let latency = |outcome: &mut Outcome, share| outcome.latency(share).unwrap().as_secs();
        assert_eq!(latency(&mut outcome, 0.5), 30);
        assert_eq!(latency(&mut outcome, 1.0), 60);
        assert_eq!(outcome.instance_time, outcome.end);
    }

    #[test]
    fn the_original_grows_by_one_every_warm_up_and_comes_back() {
        let setting = Setting { boot: Duration::from_secs(30), ..Setting::of(classic()) };
        let outcome = simulate(&setting, &mut burst(130, 15), &mut no_chance).unwrap();
        assert_eq!((outcome.documents, outcome.unfinished), (130, 0));
        assert_eq!(outcome.launches, outcome.terminations, "back to one at the end");
        let launched: Vec<_> = outcome
            .activities
            .iter()
            .filter(|activity| {
                activity.kind == crate::scaling::ActivityKind::Launch && !activity.at.is_zero()
            })
            .map(|activity| activity.at.as_secs())
            .collect();
        assert!(launched[0] >= 60, "not before the alarm's period: {launched:?}");
        assert!(launched.windows(2).all(|pair| pair[1] - pair[0] >= 120), "one a warm-up: {launched:?}");
        assert_eq!(outcome.timeline.last().unwrap().in_service, 1);
        let gone: Vec<_> = outcome
            .activities
            .iter()
            .filter(|activity| activity.kind != crate::scaling::ActivityKind::Launch)
            .map(|activity| activity.at.as_secs())
            .collect();
        assert!(gone.windows(2).all(|pair| pair[1] - pair[0] == 120), "one a cooldown: {gone:?}");
    }

    #[test]
    fn on_the_number_of_received_messages_it_never_leaves_one() {
        let setting = Setting::of(classic().with_metric(Metric::MessagesReceived));
        let outcome = simulate(&setting, &mut burst(130, 15), &mut no_chance).unwrap();
        assert_eq!((outcome.max_in_service, outcome.launches, outcome.documents), (1, 0, 130));
    }

    #[test]
    fn failures_and_deaths_lose_nothing() {
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let setting = Setting {
            failures: 0.2,
            lifetime: Some(Duration::from_secs(300)),
            prefetch: 4,
            boot: Duration::from_secs(20),
            ..Setting::of(classic())
        };
        let outcome = simulate(&setting, &mut burst(200, 12), &mut random).unwrap();
        assert_eq!((outcome.documents, outcome.unfinished), (200, 0));
        assert!(outcome.received > 220, "{}", outcome.received);
    }

    #[test]
    fn a_protected_instance_goes_when_its_batch_is_done_and_another_gives_it_back() {
        // Down to one at 60 s. By then each has done the message that woke it, and has a batch of three until 200 s.
        let plan = Plan {
            schedules: vec![Schedule {
                name: "down".to_owned(),
                at: Duration::from_secs(60),
                every: None,
                min: Some(1),
                max: None,
                desired: Some(1),
            }],
            bounds: Bounds { min: 4, max: 4 },
            ..fixed(4)
        };
        let ended = |protect: bool| {
            let setting = Setting { prefetch: 3, protect, ..Setting::of(plan.clone()) };
            let outcome = simulate(&setting, &mut burst(30, 50), &mut no_chance).unwrap();
            assert_eq!((outcome.documents, outcome.terminations), (30, 3), "protect {protect}");
            let terminated = outcome
                .activities
                .iter()
                .filter(|activity| matches!(activity.kind, crate::scaling::ActivityKind::Terminate(_)));
            let at: Vec<u64> = terminated.map(|activity| activity.at.as_secs()).collect();
            let look_at = |seconds: u64| {
                let look = outcome.timeline.iter().find(|sample| sample.at.as_secs() == seconds).unwrap();
                (look.in_service, look.visible)
            };
            (at, look_at(60), look_at(240), outcome.instance_time.as_secs() - outcome.end.as_secs())
        };
        // Spared at 60 s, and told to go with their batch done at 200 s although more messages wait.
        assert_eq!(ended(true), (vec![200; 3], (4, 14), (1, 11), 3 * 201));
        // Gone at once: each finishes the one in hand at 100 s and gives back two.
        assert_eq!(ended(false), (vec![60; 3], (1, 14), (1, 17), 3 * 100));
    }

    #[test]
    fn the_clairvoyant_pays_for_the_work_and_the_minimum_and_no_more() {
        let bounds = Bounds { min: 1, max: 10 };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        // 60 minutes of work, all of it due within ten minutes.
        let paid = clairvoyant(&mut burst(60, 60), minutes(10), bounds, minutes(20));
        // Ten minutes and one (the deadline's own slot) with enough to do an hour's work, then the minimum.
        assert_eq!(paid, minutes(60 + 9));
        // A short load is not charged for its target.
        let seconds = Duration::from_secs;
        assert_eq!(clairvoyant(&mut burst(1, 5), minutes(5), bounds, seconds(60)), seconds(60));
        // What the minimum can do alone costs nothing more.
        assert_eq!(clairvoyant(&mut burst(10, 60), minutes(15), bounds, minutes(20)), minutes(20));
        assert_eq!(clairvoyant(&mut std::iter::empty(), minutes(1), bounds, minutes(5)), minutes(5));
    }
}
