//! The loop that keeps a fleet at its size: look at the queue and the fleet, let the [`Scaler`] decide, do it, and put it
//! down in the history. It is the one owner of the fleet's size, and the only caller of [`Fleet::launch`] and
//! [`Fleet::terminate`]. Not here: the decisions (`wordfreq_core::scaling`), and how an instance is made.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wordfreq_core::scaling::{
    Activity, ActivityKind, AlarmTransition, Bounds, Decision, Instance, InstanceState, Metrics, Moment,
    Observation, Plan, PlanError, Reason, Scaler, ScalerState, latency,
};

use crate::drain::Drain;
use crate::embedded::{
    AlarmRule, Changed, Deed, EmbeddedQueue, End, History, Look, NewActivity, News, Sizing, Throughput,
};
use crate::error::{BackendError, ErrorKind};
use crate::fleet::{ActivityStatus, Clock, Fleet, Member};
use crate::time::Timestamp;

/// How often a fleet without alarms is looked at, by the scaler's clock.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often the instances are looked at although none of them has said anything.
const GLANCE_EVERY: Duration = Duration::from_secs(1);

/// What a document is taken to need before any was measured: about that of a page of text.
const UNMEASURED_SERVICE: Duration = Duration::from_millis(10);

/// Work that must have been seen before it tells how long a document takes.
const LEAST_WORK_MEASURED: Duration = Duration::from_secs(1);

/// A new target is worth a new plan when the service time has changed by so much.
const WORTH_A_NEW_PLAN: f64 = 1.25;

/// How much news of each kind waits for a history that cannot be written.
const NEWS_AT_MOST: usize = 10_000;

/// How a fleet is to be sized.
#[derive(Clone, Debug)]
pub enum Sized {
    /// By this plan.
    By(Plan),
    /// So that most documents are done within an acceptable latency, however long one takes: that is measured, and the
    /// plan `latency` made anew when it changes.
    ByLatency {
        /// From being sent until done.
        acceptable: Duration,
        /// The sizes the fleet may have.
        bounds: Bounds,
    },
}

/// What the loop works on.
pub struct Scaling<'a> {
    /// What the plan is called.
    pub name: String,
    /// The plan.
    pub sized: Sized,
    /// The instances.
    pub fleet: &'a dyn Fleet,
    /// The queue whose backlog decides.
    pub queue: &'a EmbeddedQueue,
    /// Where everything is put down.
    pub history: &'a History,
    /// The time by which alarms are evaluated.
    pub clock: Clock,
    /// Whether a process is a worker of this fleet that still runs, whoever launched it.
    pub is_alive: &'a dyn Fn(u32) -> bool,
}

enum Wake {
    Look,
    Message,
}

/// Wakes the loop before its time. Clones wake the same loop.
#[derive(Clone)]
pub struct Waker {
    sender: Sender<Wake>,
    wants_idle: Arc<AtomicBool>,
    wants_message: Arc<AtomicBool>,
    passed: Arc<Mutex<Option<Instant>>>,
}

impl Waker {
    /// An instance changed.
    pub fn changed(&self, what: Changed) {
        if what == Changed::State || self.wants_idle.load(Ordering::Relaxed) {
            // Who does not listen any more has stopped.
            drop(self.sender.send(Wake::Look));
        }
    }

    /// A message was sent. An empty fleet wants to know at once.
    pub fn message(&self) {
        if self.wants_message.load(Ordering::Relaxed) {
            drop(self.sender.send(Wake::Message));
        }
    }

    /// Somebody has set the bounds by hand.
    pub fn bounds(&self) {
        // Who does not listen any more has stopped.
        drop(self.sender.send(Wake::Look));
    }

    /// How long ago the loop last had seen to its fleet, which it does every few seconds; `None` if it never had.
    pub fn since_last_pass(&self) -> Option<Duration> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).map(|passed| passed.elapsed())
    }

    /// It is to stop.
    pub fn stop(&self) {
        drop(self.sender.send(Wake::Look));
    }
}

/// The loop's ear.
pub struct Wakes {
    receiver: Receiver<Wake>,
    waker: Waker,
}

/// A waker, and what the loop hears by it.
pub fn wakes() -> (Waker, Wakes) {
    let (sender, receiver) = mpsc::channel();
    let waker =
        Waker { sender, wants_idle: Arc::default(), wants_message: Arc::default(), passed: Arc::default() };
    (waker.clone(), Wakes { receiver, waker })
}

/// Keeps the fleet at its size until `drain` is requested and every instance is gone.
///
/// # Errors
/// When instances cannot be run at all, and when the plan makes no sense. What passes, such as a busy database, is waited
/// out.
pub fn run(scaling: &Scaling<'_>, wakes: &Wakes, drain: &Drain) -> Result<(), BackendError> {
    let waker = wakes.waker.clone();
    let _wakes = drain.on_request(move || waker.stop());
    let mut owner = loop {
        match Owner::begin(scaling) {
            Err(error) if passes(&error) && !drain.requested() => {
                tracing::warn!(%error, "cannot begin to size the fleet, trying again");
                wakes.wait(GLANCE_EVERY);
            }
            begun => break begun?,
        }
    };
    let mut fate = Ok(());
    let mut cause = "`wordfreq up` was asked to stop, or had nothing left to do".to_owned();
    while !drain.requested() {
        match owner.pass() {
            Ok(()) => {
                *wakes.waker.passed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            Err(error) if passes(&error) => {
                tracing::warn!(%error, "cannot size the fleet now, trying again");
                wakes.wait(GLANCE_EVERY);
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "the fleet is given up; its workers finish what they have in hand");
                cause = format!("the fleet was given up ({error})");
                fate = Err(error);
                break;
            }
        }
        wakes.waker.wants_idle.store(owner.spared, Ordering::Relaxed);
        let sleeps = owner.sleeps();
        if sleeps && !wakes.waker.wants_message.swap(sleeps, Ordering::Relaxed) {
            // A message that came before this was heard of is looked for once more.
            owner.next_look = Moment::ZERO;
            continue;
        }
        wakes.waker.wants_message.store(sleeps, Ordering::Relaxed);
        if wakes.wait(owner.next()) && sleeps {
            owner.next_look = Moment::ZERO;
        }
    }
    fate.and(owner.end(wakes, &cause))
}

/// Whether trying again may help.
fn passes(error: &BackendError) -> bool {
    matches!(error.kind(), ErrorKind::Busy | ErrorKind::Full)
}

impl Wakes {
    /// Waits, and tells whether a message came.
    fn wait(&self, most: Duration) -> bool {
        let first = match self.receiver.recv_timeout(most) {
            Ok(wake) => wake,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        };
        // However much has happened, one look is enough.
        std::iter::once(first)
            .chain(std::iter::from_fn(|| self.receiver.try_recv().ok()))
            .fold(false, |message, wake| message | matches!(wake, Wake::Message))
    }
}

/// Measures how long an instance works on a document.
#[derive(Debug)]
struct ServiceTime {
    mean: Duration,
    measured: bool,
    /// Work of all instances, and what they did in it, since the last measure.
    work: Duration,
    done: u64,
    /// What a document takes at least that some instance works on now.
    under_way: Duration,
}

impl ServiceTime {
    fn starting_with(known: Option<Duration>) -> Self {
        let (work, done, under_way) = (Duration::ZERO, 0, Duration::ZERO);
        Self { mean: known.unwrap_or(UNMEASURED_SERVICE), measured: known.is_some(), work, done, under_way }
    }

    /// An instance has worked so long and done so much more than when it was last seen.
    fn saw(&mut self, worked: Duration, documents: u64) {
        self.work += worked;
        self.done += documents;
    }

    /// Takes what was seen for the mean, if it is enough.
    fn measure(&mut self) {
        if self.done == 0 || self.work < LEAST_WORK_MEASURED {
            return;
        }
        let sample = self.work.div_f64(self.done as f64);
        self.mean = if self.measured { (self.mean + sample) / 2 } else { sample };
        (self.measured, self.work, self.done) = (true, Duration::ZERO, 0);
    }

    /// What to plan by: of a document that is not done yet all that is known is that it takes longer than this.
    fn expected(&self) -> Duration {
        self.mean.max(self.under_way)
    }
}

struct Owner<'a> {
    scaling: &'a Scaling<'a>,
    scaler: Scaler,
    metrics: Metrics,
    service: ServiceTime,
    /// The service time that the plan goes by.
    planned_service: Duration,
    throughput: Option<Throughput>,
    /// The bounds that somebody has set, over those of the plan.
    by_hand: Option<Bounds>,
    next_look: Moment,
    /// As they were last seen.
    members: Vec<Member>,
    /// Those among them that a predecessor has launched.
    orphans: Vec<Member>,
    /// What is not put down yet.
    unwritten: News,
    /// What was last put down.
    written: Option<(Sizing, Vec<Member>)>,
    /// Whether an instance that should go was spared, because it holds messages.
    spared: bool,
}

fn refused(error: &PlanError) -> BackendError {
    BackendError::new(ErrorKind::Invalid, format!("the fleet's plan makes no sense: {error}"))
}

/// As the Auto Scaling activity log writes a moment.
fn time(moment: Moment) -> String {
    Timestamp::from(moment).to_rfc3339()
}

impl<'a> Owner<'a> {
    fn begin(scaling: &'a Scaling<'a>) -> Result<Self, BackendError> {
        let now = scaling.clock.now();
        let before = scaling.history.sizing().or_else(|error| match error.kind() {
            // Only how it was is lost; what there is to do is not.
            ErrorKind::Corrupt => {
                tracing::warn!(%error, "the fleet begins anew");
                Ok(None)
            }
            _ => Err(error),
        })?;
        let service = ServiceTime::starting_with(before.as_ref().and_then(|sizing| sizing.service));
        let planned_service = service.expected();
        // One that ended in order has left no instances: what it wanted was for its own time.
        let was_cut_off = !scaling.history.members()?.is_empty();
        let mut by_hand = scaling.history.bounds_by_hand()?;
        if !was_cut_off && by_hand.take().is_some() {
            scaling.history.set_bounds(None)?;
        }
        let plan = scaling.plan(planned_service, by_hand);
        let metrics = plan.metrics();
        let scaler = match before {
            Some(sizing) if was_cut_off => Scaler::restore(plan, sizing.state, now),
            _ => Scaler::new(plan, now),
        }
        .map_err(|error| refused(&error))?;
        let mut owner = Self {
            scaling,
            scaler,
            metrics,
            service,
            planned_service,
            throughput: None,
            by_hand,
            next_look: Moment::ZERO,
            members: Vec::new(),
            orphans: Vec::new(),
            unwritten: News::default(),
            written: None,
            spared: false,
        };
        owner.bury(now)?;
        Ok(owner)
    }

    /// Instances of a predecessor that ended without a word finish what they have in hand, and are counted until then.
    fn bury(&mut self, now: Moment) -> Result<(), BackendError> {
        for mut member in self.scaling.history.members()? {
            let Instance { id, state, .. } = &member.instance;
            if *state != InstanceState::Terminating {
                let text = "an instance was taken out of service as the `wordfreq up` that had launched it was found to \
                            have ended";
                let activity = Activity {
                    at: now,
                    kind: ActivityKind::Terminate(id.clone()),
                    cause: vec![Reason { at: now, text: text.to_owned() }],
                };
                self.unwritten.activities.push(told(&activity, id.clone(), None));
            }
            let id = id.clone();
            self.ends(&id, Deed::Launch, now, ActivityStatus::Failed, None);
            if member.process.is_some_and(self.scaling.is_alive) {
                member.instance.state = InstanceState::Terminating;
                self.orphans.push(member);
            } else {
                self.ends(&id, Deed::Terminate, now, ActivityStatus::Successful, None);
            }
        }
        self.members.clone_from(&self.orphans);
        Ok(())
    }

    /// Every instance that is not gone, those of a predecessor too.
    fn everyone(&mut self) -> Result<Vec<Member>, BackendError> {
        self.orphans.retain(|member| member.process.is_some_and(self.scaling.is_alive));
        let mut everyone = self.orphans.clone();
        everyone.extend(self.scaling.fleet.members()?);
        Ok(everyone)
    }

    /// Whether the fleet is empty and the next message should wake it.
    fn sleeps(&self) -> bool {
        self.scaler.desired() == 0 && self.scaler.plan().wakes_from_zero
    }

    /// How long to wait for the next pass, if nothing happens.
    fn next(&self) -> Duration {
        let now = self.scaling.clock.now();
        let tick = self.scaler.next_tick(now).unwrap_or(Moment::MAX);
        self.scaling.clock.until(tick.min(self.next_look)).min(GLANCE_EVERY)
    }

    /// Looks, decides, does it and puts it down.
    fn pass(&mut self) -> Result<(), BackendError> {
        let now = self.scaling.clock.now();
        self.heed(now)?;
        let members = self.everyone()?;
        self.notice(now, members);
        if now >= self.next_look {
            let interval = self.interval();
            self.look(now)?;
            self.next_look = now.saturating_sub(Duration::from_nanos(
                u64::try_from(now.as_nanos() % interval.as_nanos()).unwrap_or(0),
            )) + interval;
        }
        let instances: Vec<Instance> = self.members.iter().map(|member| member.instance.clone()).collect();
        let decision = self.scaler.tick(now, &self.metrics, &instances);
        if let Some(look) = &mut self.unwritten.look {
            look.desired = decision.desired;
        }
        let active = instances.iter().filter(|one| one.state.is_active() && one.healthy).count();
        let going =
            instances.iter().filter(|one| one.healthy && decision.terminations.contains(&one.id)).count();
        self.spared = active.saturating_sub(going) > decision.desired as usize;
        self.follow(now, decision)?;
        self.write(now)
    }

    /// Takes the bounds that somebody has set since the last pass.
    fn heed(&mut self, now: Moment) -> Result<(), BackendError> {
        let by_hand = self.scaling.history.bounds_by_hand()?;
        if by_hand == self.by_hand {
            return Ok(());
        }
        tracing::info!(
            min = by_hand.map(|bounds| bounds.min),
            max = by_hand.map(|bounds| bounds.max),
            "bounds were set"
        );
        self.by_hand = by_hand;
        // Until the next scheduled action changes them again, as on AWS.
        let state = ScalerState { scheduled: None, ..self.scaler.state().clone() };
        self.restore(state, now)
    }

    fn restore(&mut self, state: ScalerState, now: Moment) -> Result<(), BackendError> {
        let plan = self.scaling.plan(self.planned_service, self.by_hand);
        self.scaler = Scaler::restore(plan, state, now).map_err(|error| refused(&error))?;
        Ok(())
    }

    fn interval(&self) -> Duration {
        self.scaler.alarms().map(|(alarm, _)| alarm.interval()).min().unwrap_or(LOOK_EVERY)
    }

    /// Takes note of what became of the instances since they were last seen.
    fn notice(&mut self, now: Moment, members: Vec<Member>) {
        let before: HashMap<String, Member> =
            self.members.drain(..).map(|member| (member.instance.id.clone(), member)).collect();
        let mut under_way = Duration::ZERO;
        for member in &members {
            let Instance { id, state, healthy, in_service_at, .. } = &member.instance;
            let seen = before.get(id);
            let (worked, documents) = seen.map_or((Duration::ZERO, 0), |seen| (seen.worked, seen.documents));
            self.service
                .saw(member.worked.saturating_sub(worked), member.documents.saturating_sub(documents));
            if let Some(since) = member.batch_since {
                // Of a batch some may be done, as they are told of at its end only.
                let each = now.saturating_sub(since).div_f64(member.held.max(1) as f64);
                under_way = under_way.max(each);
            }
            let was = before.get(id).map(|before| &before.instance);
            if in_service_at.is_some() && was.is_none_or(|was| was.in_service_at.is_none()) {
                self.ends(id, Deed::Launch, now, ActivityStatus::Successful, None);
            } else if !healthy && *state == InstanceState::Pending && was.is_none_or(|was| was.healthy) {
                self.ends(id, Deed::Launch, now, ActivityStatus::Failed, member.note.clone());
            }
        }
        for (id, member) in before {
            if members.iter().all(|member| member.instance.id != id) {
                if member.instance.in_service_at.is_none() {
                    let why = Some("it was terminated before it was in service".to_owned());
                    self.ends(&id, Deed::Launch, now, ActivityStatus::Failed, why);
                }
                self.ends(&id, Deed::Terminate, now, ActivityStatus::Successful, None);
            }
        }
        self.members = members;
        self.service.under_way = under_way;
    }

    fn ends(&mut self, id: &str, kind: Deed, at: Moment, status: ActivityStatus, message: Option<String>) {
        self.unwritten.ends.push(End { instance: id.to_owned(), kind, at, status, message });
    }

    /// Measures the queue and the fleet.
    fn look(&mut self, now: Moment) -> Result<(), BackendError> {
        let (depth, throughput) = self.scaling.queue.depth_and_throughput()?;
        let before = self.throughput.replace(throughput).unwrap_or(throughput);
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let in_service = self
            .members
            .iter()
            .filter(|member| member.instance.state == InstanceState::InService && member.instance.healthy);
        let observation = Observation {
            at: now,
            visible: depth.visible,
            not_visible: depth.in_flight,
            delayed: depth.delayed,
            oldest_age: depth.oldest_age.map(|age| age.mul_f64(self.scaling.clock.scale())),
            sent: since(throughput.sent, before.sent),
            received: since(throughput.received, before.received),
            deleted: since(throughput.deleted, before.deleted),
            in_service: u32::try_from(in_service.count()).unwrap_or(u32::MAX),
        };
        self.metrics.record(&observation);
        self.service.measure();
        self.unwritten.look = Some(Look { observation, desired: self.scaler.desired() });
        self.plan_anew(now)
    }

    /// Makes a plan by latency anew, when documents take another time than it goes by.
    fn plan_anew(&mut self, now: Moment) -> Result<(), BackendError> {
        let Sized::ByLatency { .. } = self.scaling.sized else { return Ok(()) };
        let expected = self.service.expected();
        let (planned, measured) = (self.planned_service.as_secs_f64(), expected.as_secs_f64());
        if (planned / WORTH_A_NEW_PLAN..=planned * WORTH_A_NEW_PLAN).contains(&measured) {
            return Ok(());
        }
        tracing::info!(seconds = measured, "a document takes another time now, the target follows");
        self.planned_service = expected;
        self.restore(self.scaler.state().clone(), now)
    }

    /// Does what was decided.
    fn follow(&mut self, now: Moment, decision: Decision) -> Result<(), BackendError> {
        for change in &decision.changes {
            tracing::info!(
                from = change.from,
                to = change.to,
                cause = change.cause,
                "desired capacity changed"
            );
        }
        for transition in &decision.transitions {
            let AlarmTransition { alarm, from, to, reason, .. } = transition;
            tracing::info!(alarm, %from, %to, reason, "alarm changed");
        }
        self.unwritten.transitions.extend(decision.transitions);
        // Who is to go is told first: an instance that is lost makes room for its successor.
        self.scaling.fleet.terminate(&decision.terminations)?;
        let (launches, terminations): (Vec<_>, Vec<_>) =
            decision.activities.iter().partition(|activity| activity.kind == ActivityKind::Launch);
        for activity in terminations {
            if let ActivityKind::Terminate(id) = &activity.kind {
                let note = self.members.iter().find(|member| member.instance.id == *id);
                let note = note.and_then(|member| member.note.clone());
                self.unwritten.activities.push(told(activity, id.clone(), note));
            }
        }
        if launches.is_empty() {
            return Ok(());
        }
        let mut put_down = Ok(());
        let launched = self.scaling.fleet.launch(decision.launches, &mut |ids| {
            for (activity, id) in launches.iter().zip(ids) {
                self.unwritten.activities.push(told(activity, id.clone(), None));
            }
            put_down = self.write(now);
        });
        launched.and(put_down)
    }

    /// Puts down what is new.
    fn write(&mut self, now: Moment) -> Result<(), BackendError> {
        let members = self.everyone()?;
        // Those that came and went between two looks are noticed here.
        self.notice(now, members);
        let sizing = Sizing {
            plan: self.scaling.name.clone(),
            bounds: self.scaler.bounds(),
            rules: self.rules(),
            state: self.scaler.state().clone(),
            service: self.service.measured.then_some(self.service.mean),
            at: now,
            wall: Timestamp::now().0,
            scale: self.scaling.clock.scale(),
        };
        let is_news = self.unwritten != News::default();
        let is_known = self.written.as_ref().is_some_and(|(written, members)| {
            *members == self.members
                && written.state.desired == sizing.state.desired
                && written.bounds == sizing.bounds
        });
        if !is_news && is_known {
            return Ok(());
        }
        let history = self.scaling.history;
        let written = history.record(&sizing, &self.members, &self.unwritten);
        if let Err(error) = written {
            // The fleet goes on without its history; what is not put down yet comes with the next, if it is not too much.
            let News { transitions, activities, ends, .. } = &mut self.unwritten;
            forget_oldest(transitions);
            forget_oldest(activities);
            forget_oldest(ends);
            tracing::warn!(%error, "cannot put down the fleet's history, trying again");
            return Ok(());
        }
        self.unwritten = News::default();
        self.written = Some((sizing, self.members.clone()));
        Ok(())
    }

    fn rules(&self) -> Vec<AlarmRule> {
        self.scaler.alarms().map(|(alarm, _)| AlarmRule::of(alarm)).collect()
    }

    /// Lets every instance finish, and puts that down.
    fn end(&mut self, wakes: &Wakes, cause: &str) -> Result<(), BackendError> {
        let now = self.scaling.clock.now();
        let members = self.everyone()?;
        self.notice(now, members);
        let count = self.members.iter().filter(|member| member.instance.state.is_active()).count();
        let mut ids = Vec::new();
        for Member { instance, note, .. } in &self.members {
            if !instance.state.is_active() {
                continue;
            }
            let text = format!("{cause}, shrinking the capacity from {count} to 0");
            let kind = ActivityKind::Terminate(instance.id.clone());
            let activity = Activity { at: now, kind, cause: vec![Reason { at: now, text }] };
            self.unwritten.activities.push(told(&activity, instance.id.clone(), note.clone()));
            ids.push(instance.id.clone());
        }
        self.scaling.fleet.terminate(&ids)?;
        loop {
            self.write(self.scaling.clock.now())?;
            // A predecessor's may take as long as they like.
            if self.members.len() == self.orphans.len() {
                return Ok(());
            }
            wakes.wait(GLANCE_EVERY);
        }
    }
}

fn forget_oldest<T>(news: &mut Vec<T>) {
    news.drain(..news.len().saturating_sub(NEWS_AT_MOST));
}

impl Scaling<'_> {
    fn plan(&self, service: Duration, by_hand: Option<Bounds>) -> Plan {
        let plan = match &self.sized {
            Sized::By(plan) => plan.clone(),
            Sized::ByLatency { acceptable, bounds } => latency(*acceptable, service, *bounds),
        };
        Plan { bounds: by_hand.unwrap_or(plan.bounds), ..plan }
    }
}

fn told(activity: &Activity, instance: String, message: Option<String>) -> NewActivity {
    let (kind, description) = match &activity.kind {
        ActivityKind::Launch => (Deed::Launch, format!("{}: {instance}", activity.description())),
        ActivityKind::Terminate(_) => (Deed::Terminate, activity.description()),
    };
    let cause = activity.cause_in_words(time);
    tracing::info!(instance, cause, "{}", activity.description());
    NewActivity { at: activity.at, instance, kind, description, cause, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_service_time_is_the_work_of_all_instances_by_the_documents_they_did() {
        let mut service = ServiceTime::starting_with(None);
        assert_eq!(service.expected(), UNMEASURED_SERVICE);
        for _ in 0..3 {
            service.saw(seconds(10), 5);
        }
        service.measure();
        assert_eq!(service.expected(), seconds(2));
        // The next measures move it, and do not throw it about.
        service.saw(seconds(20), 2);
        service.measure();
        assert_eq!(service.expected(), seconds(6));
    }

    #[test]
    fn what_is_too_little_waits_for_more_and_is_not_forgotten() {
        let mut service = ServiceTime::starting_with(None);
        service.saw(LEAST_WORK_MEASURED / 2, 7);
        service.measure();
        assert_eq!((service.expected(), service.measured), (UNMEASURED_SERVICE, false));
        service.saw(LEAST_WORK_MEASURED / 2, 3);
        service.measure();
        assert_eq!(service.expected(), LEAST_WORK_MEASURED / 10);
    }

    #[test]
    fn a_document_that_takes_long_is_noticed_before_it_is_done_however_many_work() {
        let mut service = ServiceTime::starting_with(Some(seconds(1)));
        for _ in 0..8 {
            service.saw(seconds(20), 0);
        }
        service.under_way = seconds(20);
        service.measure();
        assert_eq!(service.expected(), seconds(20));
        for _ in 0..8 {
            service.saw(seconds(5), 1);
        }
        service.under_way = Duration::ZERO;
        service.measure();
        assert_eq!(service.expected(), seconds(13), "half way from 1 to 25");
    }
}
