//! One worker: lease a batch, do each message, commit what is finished, and keep the leases alive meanwhile. A thread of
//! a process that has one of them or, on AWS, as many as the sample's had. Not here: what a message means (`process`), and
//! who starts and restarts workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wordfreq_core::Profile;

use crate::document::{DocumentEvent, EventKind, Record};
use crate::drain::Drain;
use crate::embedded::Embedded;
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::object::Opened;
use crate::process::{Outcome, Settlement, Then, process, settle};
use crate::queue::{Message, Queue, Receipt};
use crate::reading::LARGE_BYTES;
use crate::report::{Report, Reported};
use crate::results::{CommitOutcome, Committed, Completion, Effect, Results};
use crate::time::Timestamp;

/// One long poll, as long as SQS has them.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How many times as many messages the next batch may have.
const BATCH_GROWTH: usize = 10;

/// How long to rest after the backend failed: at first, and at most.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Key bytes shown in a log line; a key may have 1,024.
const LOGGED_NAME_CHARS: usize = 200;

/// Tells what a message is about by its body and the time it was sent at.
pub type Parse = Box<dyn Fn(&str, Timestamp) -> Vec<Record> + Send + Sync>;

/// Learns which documents of a batch will be opened, in order, so that small ones can be fetched beforehand.
pub type Ahead = Box<dyn Fn(&[&DocumentEvent]) + Send + Sync>;

/// Gives the bytes of a document's version.
pub type Open = Box<dyn Fn(&DocumentEvent) -> Result<Opened, BackendError> + Send + Sync>;

/// Gives the profile in force.
pub type InForce = Box<dyn Fn() -> Result<Profile, BackendError> + Send + Sync>;

/// Tells whoever asked. When it returns, they will learn of it.
pub type Tell = Box<dyn Fn(&[Report<'_>]) -> Result<(), BackendError> + Send + Sync>;

/// Learns how many messages the worker holds, whenever a batch begins or ends, and what it has done so far. It must return
/// at once.
pub type Hold = Box<dyn Fn(usize, &Tally) + Send + Sync>;

/// What a worker works on.
pub struct Backend {
    /// Where messages come from.
    pub queue: Arc<dyn Queue>,
    /// Where results go.
    pub results: Arc<dyn Results>,
    /// How messages are written.
    pub parse: Parse,
    /// What will be opened.
    pub ahead: Ahead,
    /// Where documents lie.
    pub open: Open,
    /// Asked before each batch.
    pub profile: InForce,
    /// Who asked.
    pub tell: Tell,
    /// Who watches over the worker.
    pub hold: Hold,
}

impl Backend {
    /// The worker's view of a data directory.
    pub fn embedded(embedded: Arc<Embedded>) -> Self {
        let bucket = embedded.bucket.clone();
        Self {
            queue: embedded.queue.clone(),
            results: embedded.results.clone(),
            parse: Box::new(DocumentEvent::records),
            ahead: Box::new(|_| {}),
            open: Box::new(move |event| bucket.open(&event.id, event.sequence)),
            profile: Box::new(move || {
                embedded.profile()?.ok_or_else(|| {
                    BackendError::new(
                        ErrorKind::NotFound,
                        "this data directory has no profile yet: start `wordfreq up` on it once",
                    )
                })
            }),
            // Whoever waits looks at the results, woken by the bell that every commit rings.
            tell: Box::new(|_| Ok(())),
            hold: Box::new(|_, _| {}),
        }
    }
}

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerOptions {
    /// How long a lease lasts without a heartbeat; one is sent after half of it.
    pub lease: Duration,
    /// The most messages to lease at once.
    pub max_batch: usize,
    /// About how long a batch should take: shorter, and commits cost more than counting; longer, and messages lie with
    /// one worker while another is idle.
    pub batch_time: Duration,
    /// Threads for one large document.
    pub threads: usize,
    /// How often the queue hands a message out before it gives it up by itself.
    pub max_receive_count: u32,
    /// Whether a second large document of a batch goes back for an idle worker. Not where giving back costs a message
    /// one of its tries in the company of others.
    pub share_large: bool,
}

impl WorkerOptions {
    /// For the embedded backend, whose commits are quick and whose messages come back alone.
    pub fn embedded(lease: Duration, max_batch: usize, threads: usize, max_receive_count: u32) -> Self {
        let batch_time = Duration::from_millis(200);
        Self { lease, max_batch, batch_time, threads, max_receive_count, share_large: true }
    }
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Results and removals committed.
    pub committed: u64,
    /// Messages and results that turned out to be settled already, or to concern nothing.
    pub superseded: u64,
    /// Messages given back for another try.
    pub released: u64,
    /// Messages given up.
    pub dead_letters: u64,
    /// Leases lost; the work was thrown away.
    pub lost: u64,
}

impl Tally {
    /// How many messages found their end.
    pub fn settled(&self) -> u64 {
        self.committed + self.superseded + self.dead_letters
    }

    /// Writes it to the log, when a worker has drained.
    pub fn log(&self) {
        let Self { committed, superseded, released, dead_letters, lost } = *self;
        tracing::info!(committed, superseded, released, dead_letters, lost, "drained");
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.committed += other.committed;
        self.superseded += other.superseded;
        self.released += other.released;
        self.dead_letters += other.dead_letters;
        self.lost += other.lost;
    }
}

/// Works until `drain` is requested: then finishes the document in hand, commits, and gives back what it did not
/// start.
pub fn run(backend: &Backend, options: &WorkerOptions, drain: &Drain) -> Result<Tally, BackendError> {
    let leases = Leases::default();
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (queue, held, lease) = (&*backend.queue, &leases, options.lease);
        scope.spawn(move || heartbeat(queue, held, lease, &stopped));
        let mut worker = Worker { backend, options, drain, leases: &leases, tally: Tally::default() };
        let worked = worker.work();
        drop(stop);
        worked.map(|()| worker.tally)
    })
}

/// The leases a worker holds, shared with its heartbeat. The flag turns true when the lease is lost.
#[derive(Default)]
struct Leases(Mutex<HashMap<Receipt, Arc<AtomicBool>>>);

impl Leases {
    fn hold(&self, receipt: &Receipt) -> Arc<AtomicBool> {
        let lost = Arc::new(AtomicBool::new(false));
        self.held().insert(receipt.clone(), lost.clone());
        lost
    }

    fn let_go(&self, receipt: &Receipt) {
        self.held().remove(receipt);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Receipt, Arc<AtomicBool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn heartbeat(queue: &dyn Queue, leases: &Leases, lease: Duration, stopped: &mpsc::Receiver<()>) {
    let mut pause = lease / 2;
    loop {
        match stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        pause = lease / 2;
        let receipts: Vec<Receipt> = leases.held().keys().cloned().collect();
        if receipts.is_empty() {
            continue;
        }
        match queue.extend(&receipts, lease) {
            Ok(answers) => {
                let held = leases.held();
                for (receipt, _) in receipts.iter().zip(answers).filter(|(_, still_held)| !still_held) {
                    if let Some(lost) = held.get(receipt) {
                        tracing::warn!(receipt = %receipt.0, "lease lost");
                        lost.store(true, Ordering::Relaxed);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "heartbeat failed");
                // There is time for a few more tries before the leases end.
                pause = lease / 8;
            }
        }
    }
}

/// How many messages to lease next, if `batch` of them took `took`: as many as should take `batch_time`.
fn next_batch(batch: usize, took: Duration, batch_time: Duration, max: usize) -> usize {
    let fitting = batch_time.as_secs_f64() * batch as f64 / took.as_secs_f64().max(1e-6);
    // Saturates at the type's bounds.
    (fitting as usize).clamp(1, max.min(batch.saturating_mul(BATCH_GROWTH)))
}

/// A message under lease, on its way through a batch.
struct Leased {
    message: Message,
    records: Vec<Record>,
    lost: Arc<AtomicBool>,
    /// The largest of its documents, in bytes.
    bytes: u64,
}

/// Finished messages, and their completions in the same order.
#[derive(Default)]
struct Batch {
    finished: Vec<Finished>,
    completions: Vec<Completion>,
}

/// A message whose records are done and whose settlement is due.
struct Finished {
    receipt: Receipt,
    receive_count: u32,
    started_at: Timestamp,
    started: Instant,
    num_completions: usize,
    failures: Vec<(DocumentEvent, String)>,
    then: Then,
}

impl Finished {
    /// The same message as if it told of one document only, and that one were done.
    fn alone(&self) -> Self {
        Self {
            receipt: self.receipt.clone(),
            num_completions: 1,
            failures: Vec::new(),
            then: Then::Ack,
            ..*self
        }
    }

    fn report<'a>(&self, event: &'a DocumentEvent, outcome: Reported<'a>) -> Report<'a> {
        Report { event, started_at: self.started_at, duration: self.started.elapsed(), outcome }
    }
}

struct Worker<'a> {
    backend: &'a Backend,
    options: &'a WorkerOptions,
    drain: &'a Drain,
    leases: &'a Leases,
    tally: Tally,
}

impl Worker<'_> {
    fn work(&mut self) -> Result<(), BackendError> {
        let mut batch = 1;
        let mut rest = SHORTEST_REST;
        while !self.drain.requested() {
            failpoint::hit("worker.before_receive");
            let received = self
                .backend
                .queue
                .receive(batch, self.options.lease, LONGEST_WAIT, self.drain)
                .and_then(|messages| Ok((messages, (self.backend.profile)()?)));
            let (messages, profile) = match received {
                Ok(received) => received,
                Err(error) => {
                    rest_or_fail(error, &mut rest, self.drain)?;
                    continue;
                }
            };
            rest = SHORTEST_REST;
            if messages.is_empty() {
                continue;
            }
            failpoint::hit("worker.leased");
            let started = Instant::now();
            let num_messages = messages.len();
            let has_suspects = messages.iter().any(Message::is_suspect);
            (self.backend.hold)(num_messages, &self.tally);
            let done = self.do_batch(messages, &profile);
            (self.backend.hold)(0, &self.tally);
            done?;
            let took = started.elapsed();
            if has_suspects {
                // Where one came back its neighbours may follow, and one of them has killed a worker.
                batch = 1;
            } else if num_messages == batch || took > self.options.batch_time {
                batch = next_batch(num_messages, took, self.options.batch_time, self.options.max_batch);
            }
        }
        Ok(())
    }

    fn do_batch(&mut self, messages: Vec<Message>, profile: &Profile) -> Result<(), BackendError> {
        let started_at = Timestamp::now();
        let leased_at = Instant::now();
        let mut leased: Vec<_> = messages
            .into_iter()
            .map(|message| {
                let lost = self.leases.hold(&message.receipt);
                let records = (self.backend.parse)(&message.body, message.sent_at);
                let bytes = events(&records).map(|event| event.bytes).max().unwrap_or(0);
                Leased { message, records, lost, bytes }
            })
            .collect();
        // The small ones first, so that none of them waits for a large one; those that may kill last, so that they take
        // nobody with them.
        leased.sort_by_key(|leased| (leased.message.is_suspect(), leased.bytes));
        let opened = leased.iter().flat_map(|leased| events(&leased.records));
        let opened: Vec<_> = opened.filter(|event| event.event != EventKind::Removed).collect();
        (self.backend.ahead)(&opened);
        let mut batch = Batch::default();
        let mut finished_since = Instant::now();
        let mut met_large = false;
        for Leased { message, records, lost, bytes } in leased {
            let is_large = bytes >= LARGE_BYTES;
            if is_large || message.is_suspect() {
                self.finish(std::mem::take(&mut batch))?;
            }
            // What cannot be started before its lease would have run out is better off elsewhere, and a second large
            // one with a worker that is idle.
            let is_hoarded = leased_at.elapsed() >= self.options.lease;
            let is_unwanted = self.drain.requested() || is_hoarded || (met_large && self.options.share_large);
            let last_try = message.receive_count >= self.options.max_receive_count;
            // Given back now, the queue would give it up untried.
            if is_unwanted && !last_try {
                if is_hoarded {
                    tracing::info!(message_id = message.id, "given back: not begun within its lease");
                }
                self.give_back(&message.receipt);
                continue;
            }
            met_large = is_large;
            let started = Instant::now();
            let threads = self.options.threads;
            let processed: Vec<_> = records
                .into_iter()
                .map(|record| process(record, profile, threads, &self.backend.open, &lost))
                .collect();
            for one in &processed {
                let document =
                    one.event.as_ref().map_or_else(|| format!("message {}", message.id), shown_name);
                match &one.outcome {
                    Ok(Outcome::Superseded) => tracing::info!(document, "superseded"),
                    Ok(Outcome::Ignored(reason)) => tracing::info!(document, reason, "ignored"),
                    _ => {}
                }
            }
            let Settlement { effects, failures, then } =
                settle(processed, profile, message.receive_count, last_try);
            let Message { id, receipt, receive_count, .. } = message;
            match &then {
                Then::Ack => {}
                Then::Release { after, reason } => {
                    tracing::warn!(message_id = id, reason, tries = receive_count, again_in = ?after, "failed");
                }
                Then::DeadLetter { reason } => {
                    tracing::error!(message_id = id, reason, tries = receive_count, "dead letter");
                }
                Then::Abandon => tracing::warn!(message_id = id, "abandoned: the lease is lost"),
            }
            if batch.finished.is_empty() {
                finished_since = Instant::now();
            }
            let num_completions = effects.len();
            batch.completions.extend(effects.into_iter().map(|(event, effect)| Completion {
                receipt: receipt.clone(),
                event,
                effect,
            }));
            batch.finished.push(Finished {
                receipt,
                receive_count,
                started_at,
                started,
                num_completions,
                failures,
                then,
            });
            if finished_since.elapsed() > self.options.batch_time {
                self.finish(std::mem::take(&mut batch))?;
            }
        }
        self.finish(batch)
    }

    fn give_back(&mut self, receipt: &Receipt) {
        self.settled(receipt, self.backend.queue.release(receipt, Duration::ZERO, None));
        self.tally.released += 1;
    }

    /// Commits, tells, and only then settles the messages.
    fn finish(&mut self, batch: Batch) -> Result<(), BackendError> {
        let outcomes = match self.commit(&batch.completions) {
            Ok(Some(outcomes)) => outcomes,
            Ok(None) => return self.give_all_back(&batch.finished),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
                return self.finish_apart(batch, &error);
            }
            Err(error) => return Err(error),
        };
        let Batch { mut finished, completions } = batch;
        let mut committed = completions.iter().zip(&outcomes);
        let mut reports = Vec::new();
        let mut unacknowledged = Vec::new();
        for one in &mut finished {
            let mut is_acknowledged = one.num_completions > 0;
            for (completion, committed) in committed.by_ref().take(one.num_completions) {
                is_acknowledged &= committed.acknowledged;
                self.committed(one, completion, committed.outcome, &mut reports);
            }
            if one.then == Then::Ack && !is_acknowledged {
                unacknowledged.push(one.receipt.clone());
                self.tally.superseded += u64::from(one.num_completions == 0);
            }
        }
        for one in finished.iter().filter(|one| matches!(one.then, Then::DeadLetter { .. })) {
            reports.extend(
                one.failures.iter().map(|(event, reason)| one.report(event, Reported::Failed(reason))),
            );
        }
        if !reports.is_empty() {
            failpoint::hit("worker.before_tell");
            if !self.tell(&reports)? {
                return self.give_all_back(&finished);
            }
            failpoint::hit("worker.after_tell");
        }
        for one in &finished {
            match &one.then {
                Then::Ack => {}
                Then::Release { after, reason } => {
                    self.settled(
                        &one.receipt,
                        self.backend.queue.release(&one.receipt, *after, Some(reason)),
                    );
                    self.tally.released += 1;
                }
                Then::DeadLetter { reason } => {
                    self.settled(&one.receipt, self.backend.queue.dead_letter(&one.receipt, reason));
                    self.tally.dead_letters += 1;
                }
                Then::Abandon => self.tally.lost += 1,
            }
        }
        if !unacknowledged.is_empty() {
            failpoint::hit("worker.before_ack");
            if let Err(error) = self.backend.queue.ack(&unacknowledged) {
                tracing::warn!(%error, "cannot acknowledge every message, the rest will come again");
            }
            failpoint::hit("worker.after_ack");
        }
        finished.iter().for_each(|one| self.leases.let_go(&one.receipt));
        Ok(())
    }

    /// Commits as soon as the store can; `None` if a drain comes first. A full disk or a busy store passes; the heartbeat
    /// holds the leases meanwhile, and fencing sees to the rest.
    fn commit(&self, completions: &[Completion]) -> Result<Option<Vec<Committed>>, BackendError> {
        if completions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut rest = SHORTEST_REST;
        loop {
            match self.backend.results.commit(completions) {
                Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
                    rest_or_fail(error, &mut rest, self.drain)?;
                }
                answered => return answered.map(Some),
            }
            if self.drain.requested() {
                tracing::warn!(documents = completions.len(), "drained before the commit succeeded");
                return Ok(None);
            }
        }
    }

    /// Tells as soon as it can; `false` if a drain comes first.
    fn tell(&self, reports: &[Report<'_>]) -> Result<bool, BackendError> {
        let mut rest = SHORTEST_REST;
        while let Err(error) = (self.backend.tell)(reports) {
            if error.kind() == ErrorKind::Invalid {
                // No try will make it fit, and the results are safe.
                tracing::error!(%error, "a result cannot be told");
                break;
            }
            rest_or_fail(error, &mut rest, self.drain)?;
            if self.drain.requested() {
                tracing::warn!(documents = reports.len(), "drained before their results could be told");
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn give_all_back(&mut self, finished: &[Finished]) -> Result<(), BackendError> {
        finished.iter().for_each(|one| self.give_back(&one.receipt));
        Ok(())
    }

    /// Something of a batch cannot be committed: finds out which, so that the others are.
    fn finish_apart(&mut self, batch: Batch, error: &BackendError) -> Result<(), BackendError> {
        let Batch { mut finished, mut completions } = batch;
        if let ([culprit], [_]) = (&mut finished[..], &completions[..]) {
            let reason = format!("its result cannot be stored: {error}");
            tracing::error!(document = shown_name(&completions[0].event), reason, "dead letter");
            culprit
                .failures
                .extend(completions.drain(..).map(|completion| (completion.event, reason.clone())));
            culprit.num_completions = 0;
            culprit.then = Then::DeadLetter { reason };
            return self.finish(Batch { finished, completions });
        }
        if let [several] = &mut finished[..] {
            // A message of several documents: the others are stored, and told, all the same. Its own fate comes last.
            let fate = std::mem::replace(&mut several.then, Then::Abandon);
            let mut failures = std::mem::take(&mut several.failures);
            let mut reason = None;
            for completion in completions {
                let mut one = several.alone();
                match self.commit(std::slice::from_ref(&completion)) {
                    Ok(None) => return self.give_all_back(&finished),
                    Ok(Some(outcomes)) => {
                        let mut reports = Vec::new();
                        for committed in &outcomes {
                            self.committed(&mut one, &completion, committed.outcome, &mut reports);
                        }
                        if one.then != Then::Ack {
                            several.then = one.then;
                            return self.finish(Batch { finished, completions: Vec::new() });
                        }
                        if !self.tell(&reports)? {
                            return self.give_all_back(&finished);
                        }
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
                        let why = format!("its result cannot be stored: {error}");
                        reason = Some(why.clone());
                        failures.push((completion.event, why));
                    }
                    Err(error) => return Err(error),
                }
            }
            several.num_completions = 0;
            several.failures = failures;
            several.then = match reason {
                Some(reason) if matches!(fate, Then::Ack) => Then::DeadLetter { reason },
                _ => fate,
            };
            return self.finish(Batch { finished, completions: Vec::new() });
        }
        let mut completions = completions.into_iter();
        for one in finished {
            let completions = completions.by_ref().take(one.num_completions).collect();
            self.finish(Batch { finished: vec![one], completions })?;
        }
        Ok(())
    }

    /// Takes note of what one commit did: in the log, in what becomes of its message, and in what is told.
    fn committed<'b>(
        &mut self,
        one: &mut Finished,
        completion: &'b Completion,
        outcome: CommitOutcome,
        reports: &mut Vec<Report<'b>>,
    ) {
        let document = shown_name(&completion.event);
        let sequence = tracing::field::display(completion.event.sequence.0);
        match outcome {
            CommitOutcome::Committed => {
                match &completion.effect {
                    Effect::Counted { counts, duration, .. } => tracing::info!(
                        document,
                        sequence,
                        bytes = counts.bytes(),
                        words = counts.words(),
                        distinct = counts.distinct(),
                        micros = duration.as_micros() as u64,
                        "counted"
                    ),
                    Effect::Removed => tracing::info!(document, sequence, "removed"),
                }
                self.tally.committed += 1;
            }
            CommitOutcome::AlreadyCommitted | CommitOutcome::Superseded => {
                tracing::info!(document, sequence, ?outcome, "superseded");
                self.tally.superseded += 1;
            }
            CommitOutcome::LeaseLost => {
                tracing::warn!(document, sequence, "abandoned: the lease is lost");
                one.then = Then::Abandon;
            }
            CommitOutcome::ProfileChanged => {
                let reason = "the profile changed meanwhile".to_owned();
                tracing::info!(document, sequence, reason, "released");
                one.then = Then::Release { after: Duration::ZERO, reason };
            }
        }
        // Who died after a commit may not have told of it; the message that comes again is told once more.
        let is_news = match outcome {
            CommitOutcome::Committed => true,
            CommitOutcome::AlreadyCommitted => one.receive_count > 1,
            _ => false,
        };
        if let (true, Effect::Counted { counts, .. }) = (is_news, &completion.effect) {
            reports.push(one.report(&completion.event, Reported::Counted(counts)));
        }
    }

    /// A settlement that fails is not a lost document: the lease ends by itself and the message comes again.
    fn settled(&self, receipt: &Receipt, done: Result<(), BackendError>) {
        if let Err(error) = done {
            tracing::warn!(receipt = %receipt.0, %error, "cannot settle, the message will come again");
        }
        self.leases.let_go(receipt);
    }
}

fn shown_name(event: &DocumentEvent) -> String {
    event.id.to_string().chars().take(LOGGED_NAME_CHARS).collect()
}

fn events(records: &[Record]) -> impl Iterator<Item = &DocumentEvent> {
    records.iter().filter_map(|record| match record {
        Record::Event(event) => Some(event),
        Record::Ignored(_) | Record::Poison(_) => None,
    })
}

/// Rests after a failure that may pass, each time longer; returns one that will not.
fn rest_or_fail(error: BackendError, rest: &mut Duration, drain: &Drain) -> Result<(), BackendError> {
    match error.kind() {
        ErrorKind::Busy | ErrorKind::Full => {
            tracing::warn!(%error, again_in = ?rest, "the backend cannot be used now");
            drain.wait(*rest);
            *rest = (*rest * 2).min(LONGEST_REST);
            Ok(())
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_grows_while_quick_shrinks_when_slow_and_stays_in_bounds() {
        let batch_time = Duration::from_millis(200);
        let next = |batch, took| next_batch(batch, took, batch_time, 64);
        assert_eq!(next(1, Duration::ZERO), 10);
        assert_eq!(next(10, Duration::ZERO), 64);
        assert_eq!(next(64, batch_time), 64);
        assert_eq!(next(64, batch_time * 2), 32);
        assert_eq!(next(10, batch_time * 100), 1);
        assert_eq!(next(1, Duration::from_secs(3600)), 1);
        assert_eq!(next(8, batch_time / 2), 16);
    }
}
