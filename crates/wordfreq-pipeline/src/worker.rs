//! One worker: lease a batch, do each message, commit what is finished, and keep the leases alive meanwhile. A
//! process of its own in every deployment, so that a document that kills it harms nobody else. Not here: what a
//! message means (`process`), and who starts and restarts workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wordfreq_core::Profile;

use crate::document::DocumentEvent;
use crate::drain::Drain;
use crate::embedded::{Embedded, Opened};
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::process::{Settlement, process, settle};
use crate::queue::{Message, Queue, Receipt};
use crate::reading::LARGE_BYTES;
use crate::results::{CommitOutcome, Completion, Effect, Results};

/// One long poll.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// A batch should take about this long: shorter, and commits cost more than counting; longer, and messages lie with
/// one worker while another is idle.
const BATCH_TIME: Duration = Duration::from_millis(200);

/// How long to rest after the backend failed.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Key bytes shown in a log line; a key may have 1,024.
const LOGGED_NAME_CHARS: usize = 200;

/// Gives the bytes of a document's version.
pub type Open = Box<dyn Fn(&DocumentEvent) -> Result<Opened, BackendError> + Send + Sync>;

/// Gives the profile in force.
pub type InForce = Box<dyn Fn() -> Result<Profile, BackendError> + Send + Sync>;

/// What a worker works on.
pub struct Backend {
    /// Where messages come from.
    pub queue: Arc<dyn Queue>,
    /// Where results go.
    pub results: Arc<dyn Results>,
    /// Where documents lie.
    pub open: Open,
    /// Asked before each batch.
    pub profile: InForce,
}

impl Backend {
    /// The worker's view of a data directory.
    pub fn embedded(embedded: Arc<Embedded>) -> Self {
        let bucket = embedded.bucket.clone();
        Self {
            queue: embedded.queue.clone(),
            results: embedded.results.clone(),
            open: Box::new(move |event| bucket.open(&event.id, event.sequence)),
            profile: Box::new(move || {
                embedded.profile()?.ok_or_else(|| {
                    BackendError::new(
                        ErrorKind::NotFound,
                        "this data directory has no profile yet: start `wordfreq up` on it once",
                    )
                })
            }),
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
    /// Threads for one large document.
    pub threads: usize,
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Results and removals committed.
    pub committed: u64,
    /// Messages that turned out to be settled already.
    pub superseded: u64,
    /// Messages given back for another try.
    pub released: u64,
    /// Messages given up.
    pub dead_letters: u64,
    /// Leases lost; the work was thrown away.
    pub lost: u64,
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

/// How many messages to lease next: more while batches are quick, fewer once they are slow.
fn next_batch(batch: usize, took: Duration, max: usize) -> usize {
    if took < BATCH_TIME / 2 {
        (batch * 2).min(max)
    } else if took > BATCH_TIME {
        (batch / 2).max(1)
    } else {
        batch
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
                    rest_or_fail(error, self.drain)?;
                    continue;
                }
            };
            if messages.is_empty() {
                continue;
            }
            failpoint::hit("worker.leased");
            let started = Instant::now();
            let full = messages.len() == batch;
            self.do_batch(messages, &profile)?;
            if full || started.elapsed() > BATCH_TIME {
                batch = next_batch(batch, started.elapsed(), self.options.max_batch);
            }
        }
        Ok(())
    }

    fn do_batch(&mut self, messages: Vec<Message>, profile: &Profile) -> Result<(), BackendError> {
        let mut leased: Vec<_> = messages
            .into_iter()
            .map(|message| {
                let lost = self.leases.hold(&message.receipt);
                let bytes = DocumentEvent::parse(&message.body).map_or(0, |event| event.bytes);
                (message, lost, bytes)
            })
            .collect();
        // The small ones first, so that none of them waits for a large one.
        leased.sort_by_key(|(_, _, bytes)| *bytes);
        let mut finished = Vec::new();
        let mut finished_since = Instant::now();
        let mut met_large = false;
        for (message, lost, bytes) in &leased {
            let is_large = *bytes >= LARGE_BYTES;
            if is_large && !finished.is_empty() {
                self.commit(&mut finished)?;
            }
            // A second large one is better off with a worker that is idle.
            if self.drain.requested() || met_large {
                self.give_back(&message.receipt);
                continue;
            }
            met_large = is_large;
            let (event, outcome) = process(message, profile, self.options.threads, &self.backend.open, lost);
            let name = event.as_ref().map_or_else(|| format!("message {}", message.id), shown_name);
            match (settle(outcome, profile, message.receive_count), event) {
                (Settlement::Commit(effect), Some(event)) => {
                    if finished.is_empty() {
                        finished_since = Instant::now();
                    }
                    finished.push(Completion {
                        receipt: message.receipt.clone(),
                        document: event.id,
                        sequence: event.sequence,
                        effect,
                    });
                }
                (Settlement::Commit(_), None) => unreachable!("only an event leads to a commit"),
                (Settlement::Ack, _) => {
                    tracing::info!(document = name, "superseded");
                    failpoint::hit("worker.before_ack");
                    self.settled(
                        &message.receipt,
                        self.backend.queue.ack(std::slice::from_ref(&message.receipt)),
                    );
                    failpoint::hit("worker.after_ack");
                    self.tally.superseded += 1;
                }
                (Settlement::Release { after, reason }, _) => {
                    tracing::warn!(document = name, reason, tries = message.receive_count, again_in = ?after, "failed");
                    self.settled(
                        &message.receipt,
                        self.backend.queue.release(&message.receipt, after, Some(&reason)),
                    );
                    self.tally.released += 1;
                }
                (Settlement::DeadLetter { reason }, _) => {
                    tracing::error!(document = name, reason, tries = message.receive_count, "dead letter");
                    self.settled(&message.receipt, self.backend.queue.dead_letter(&message.receipt, &reason));
                    self.tally.dead_letters += 1;
                }
                (Settlement::Abandon, _) => {
                    tracing::warn!(document = name, "abandoned: the lease is lost");
                    self.leases.let_go(&message.receipt);
                    self.tally.lost += 1;
                }
            }
            if !finished.is_empty() && finished_since.elapsed() > BATCH_TIME {
                self.commit(&mut finished)?;
            }
        }
        if !finished.is_empty() {
            self.commit(&mut finished)?;
        }
        Ok(())
    }

    fn give_back(&mut self, receipt: &Receipt) {
        self.settled(receipt, self.backend.queue.release(receipt, Duration::ZERO, None));
        self.tally.released += 1;
    }

    fn commit(&mut self, finished: &mut Vec<Completion>) -> Result<(), BackendError> {
        // A full disk or a busy store passes; the heartbeat holds the leases meanwhile, and fencing sees to the rest.
        let committed = loop {
            match self.backend.results.commit(finished) {
                Ok(committed) => break committed,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
                    return self.commit_apart(finished, &error);
                }
                Err(error) => rest_or_fail(error, self.drain)?,
            }
            if self.drain.requested() {
                tracing::warn!(documents = finished.len(), "drained before the commit succeeded");
                for completion in finished.drain(..) {
                    self.give_back(&completion.receipt);
                }
                return Ok(());
            }
        };
        for (completion, committed) in finished.drain(..).zip(committed) {
            let document: String = completion.document.to_string().chars().take(LOGGED_NAME_CHARS).collect();
            let sequence = completion.sequence.0;
            let receipt = &completion.receipt;
            let acknowledge = match committed.outcome {
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
                    true
                }
                CommitOutcome::AlreadyCommitted | CommitOutcome::Superseded => {
                    tracing::info!(document, sequence, outcome = ?committed.outcome, "superseded");
                    self.tally.superseded += 1;
                    true
                }
                CommitOutcome::LeaseLost => {
                    tracing::warn!(document, sequence, "abandoned: the lease is lost");
                    self.tally.lost += 1;
                    false
                }
                CommitOutcome::ProfileChanged => {
                    tracing::info!(document, sequence, "released: the profile changed meanwhile");
                    self.give_back(receipt);
                    false
                }
            };
            if acknowledge && !committed.acknowledged {
                self.settled(receipt, self.backend.queue.ack(std::slice::from_ref(receipt)));
            }
            self.leases.let_go(receipt);
        }
        Ok(())
    }

    /// One document of a batch cannot be committed: finds out which, so that the others are.
    fn commit_apart(
        &mut self,
        finished: &mut Vec<Completion>,
        error: &BackendError,
    ) -> Result<(), BackendError> {
        if let [culprit] = &finished[..] {
            let document: String = culprit.document.to_string().chars().take(LOGGED_NAME_CHARS).collect();
            let reason = format!("its result cannot be stored: {error}");
            tracing::error!(document, reason, "dead letter");
            self.settled(&culprit.receipt, self.backend.queue.dead_letter(&culprit.receipt, &reason));
            self.tally.dead_letters += 1;
            finished.clear();
            return Ok(());
        }
        finished.drain(..).try_for_each(|completion| self.commit(&mut vec![completion]))
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

/// Rests after a failure that may pass; returns one that will not.
fn rest_or_fail(error: BackendError, drain: &Drain) -> Result<(), BackendError> {
    match error.kind() {
        ErrorKind::Busy | ErrorKind::Full => {
            tracing::warn!(%error, "the store cannot take writes now, trying again");
            drain.wait(REST_AFTER_FAILURE);
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
        let quick = Duration::ZERO;
        let slow = BATCH_TIME * 2;
        let mut batch = 1;
        for _ in 0..10 {
            batch = next_batch(batch, quick, 64);
        }
        assert_eq!(batch, 64);
        for _ in 0..10 {
            batch = next_batch(batch, slow, 64);
        }
        assert_eq!(batch, 1);
        assert_eq!(next_batch(8, BATCH_TIME * 3 / 4, 64), 8);
        assert_eq!(next_batch(40, quick, 48), 48);
    }
}
