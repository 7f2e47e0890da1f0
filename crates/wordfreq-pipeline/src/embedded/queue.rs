//! [`Queue`] on SQLite: one row a message, and one number, `visible_at`, that hides it. Each rule about time is a
//! function of `now`, so tests pass moments instead of waiting for them.
//!
//! Stricter than the port asks in two ways: a lease whose time has run out can do nothing any more, even if nobody else
//! has the message yet; and a message that was received before is handed out alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{OptionalExtension, Transaction, params};

use super::Options;
use super::bell::Bell;
use super::database::Database;
use crate::document::{DocumentEvent, DocumentId, EventKind, Sequence};
use crate::drain::Drain;
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::queue::{DeadLetter, Depth, MAX_HOLD, Message, Outgoing, Queue, Receipt, Redrive};
use crate::time::Timestamp;

/// The embedded queue and its dead letters.
#[derive(Debug)]
pub struct EmbeddedQueue {
    durable: Arc<Database>,
    leases: Arc<Database>,
    sent: Arc<Bell>,
    settled: Arc<Bell>,
    options: Options,
}

/// How many messages were sent, received and deleted since the data directory was made; a message counts each time it
/// is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throughput {
    /// Put on the queue, redriven ones again.
    pub sent: u64,
    /// Handed out.
    pub received: u64,
    /// Acknowledged, dead letters not counted.
    pub deleted: u64,
}

/// Which messages to delete unseen. Those that tell of a removal are spared by either: the result of what was removed
/// would stay in the totals, and nothing could have it removed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Those that were given up.
    DeadLetters,
    /// All others, those that somebody works on too.
    Messages,
}

/// How many messages of a purge are looked at, or dead letters redriven, in one transaction.
const AT_ONCE: usize = 2_000;

/// A receipt is the message's row and the number of the receive, which never comes twice for one row.
struct Lease {
    message: i64,
    receive: u32,
}

impl Lease {
    fn parse(receipt: &Receipt) -> Option<Self> {
        let (message, receive) = receipt.0.split_once('.')?;
        Some(Self { message: message.parse().ok()?, receive: receive.parse().ok()? })
    }

    fn receipt(&self) -> Receipt {
        Receipt(format!("{}.{}", self.message, self.receive))
    }
}

/// Whether this receipt is the latest of its message and its time has not run out.
pub(super) fn is_held(
    transaction: &Transaction<'_>,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<bool, BackendError> {
    let Some(lease) = Lease::parse(receipt) else {
        return Ok(false);
    };
    let held = transaction
        .prepare_cached(
            "SELECT 1 FROM messages WHERE id = ?1 AND receive_count = ?2 AND dead = 0 AND visible_at > ?3",
        )?
        .exists(params![lease.message, lease.receive, now.0])?;
    Ok(held)
}

/// Deletes the message if the receipt is held; tells whether it was.
pub(super) fn acknowledge(
    transaction: &Transaction<'_>,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<bool, BackendError> {
    let Some(lease) = Lease::parse(receipt) else {
        return Ok(false);
    };
    let deleted = transaction
        .prepare_cached(
            "DELETE FROM messages WHERE id = ?1 AND receive_count = ?2 AND dead = 0 AND visible_at > ?3",
        )?
        .execute(params![lease.message, lease.receive, now.0])?;
    Ok(deleted == 1)
}

/// Puts a document event into the queue within a transaction of the caller's, who rings the bell afterwards.
pub(super) fn enqueue_event(
    transaction: &Transaction<'_>,
    event: &DocumentEvent,
    now: Timestamp,
) -> Result<(), BackendError> {
    let subject = Subject { document: event.id.to_string().into_bytes(), sequence: event.sequence };
    enqueue(transaction, &event.to_body(), Some(&subject), now, now)
}

/// What a message is about, beside its body, so that it can be found by that.
struct Subject {
    document: Vec<u8>,
    sequence: Sequence,
}

/// Removes the dead letters about this version of a document and older ones: it has a result, and they are history.
pub(super) fn forget_dead_letters(
    transaction: &Transaction<'_>,
    document: &DocumentId,
    sequence: Sequence,
) -> Result<(), BackendError> {
    transaction
        .prepare_cached("DELETE FROM messages WHERE dead = 1 AND document = ?1 AND sequence <= ?2")?
        .execute(params![document.to_string().as_bytes(), sequence])?;
    Ok(())
}

/// Why this version of a document was given up, if it was.
pub(super) fn reason_of_death(
    transaction: &Transaction<'_>,
    document: &DocumentId,
    sequence: Sequence,
) -> Result<Option<String>, BackendError> {
    let reason: Option<Option<String>> = transaction
        .prepare_cached("SELECT reason FROM messages WHERE dead = 1 AND document = ?1 AND sequence = ?2")?
        .query_row(params![document.to_string().as_bytes(), sequence], |row| row.get(0))
        .optional()?;
    Ok(reason.map(Option::unwrap_or_default))
}

fn enqueue(
    transaction: &Transaction<'_>,
    body: &str,
    subject: Option<&Subject>,
    visible_at: Timestamp,
    now: Timestamp,
) -> Result<(), BackendError> {
    if body.is_empty() {
        return Err(BackendError::new(ErrorKind::Invalid, "a message must not be empty"));
    }
    transaction
        .prepare_cached(
            "INSERT INTO messages (visible_at, sent_at, body, document, sequence) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            visible_at.0,
            now.0,
            body,
            subject.map(|subject| &subject.document),
            subject.map(|subject| subject.sequence)
        ])?;
    Ok(())
}

fn receive_at(
    transaction: &Transaction<'_>,
    max: usize,
    lease: Duration,
    now: Timestamp,
    options: Options,
) -> Result<Vec<Message>, BackendError> {
    let mut messages = Vec::new();
    let mut select = transaction.prepare_cached(
        "SELECT id, receive_count, sent_at, body FROM messages
         WHERE dead = 0 AND visible_at <= ?1 ORDER BY visible_at LIMIT ?2",
    )?;
    loop {
        let wanted = max - messages.len();
        let due = select
            .query_map(params![now.0, wanted as i64], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, u32>(1)?,
                    Timestamp(row.get(2)?),
                    row.get::<_, String>(3)?,
                ))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        if due.is_empty() {
            return Ok(messages);
        }
        for (id, received, sent_at, body) in due {
            // What was received before may be what killed its worker. It goes alone, so that it cannot take its
            // neighbours' tries with it.
            let suspect = received > 0;
            if suspect && !messages.is_empty() {
                return Ok(messages);
            }
            let too_often = received >= options.max_receive_count;
            if too_often || now.since(sent_at) >= options.retention {
                let (tries, why) = if too_often {
                    (received, "its worker died, stalled or lost the lease")
                } else {
                    (received, "it was older than the queue keeps messages")
                };
                transaction
                    .prepare_cached(
                        "UPDATE messages SET dead = 1, visible_at = ?2,
                             reason = 'received ' || ?3 || ' times, the last time: ' || coalesce(reason, ?4)
                         WHERE id = ?1",
                    )?
                    .execute(params![id, now.0, tries, why])?;
                continue;
            }
            // The reason always tells of the latest receive.
            transaction
                .prepare_cached(
                    "UPDATE messages SET visible_at = ?2, received_at = ?3, receive_count = receive_count + 1,
                         reason = NULL WHERE id = ?1",
                )?
                .execute(params![id, now.plus(lease).0, now.0])?;
            let lease = Lease { message: id, receive: received + 1 };
            messages.push(Message {
                id: id.to_string(),
                receipt: lease.receipt(),
                body,
                receive_count: received + 1,
                sent_at,
            });
            if suspect {
                return Ok(messages);
            }
        }
        if messages.len() == max {
            return Ok(messages);
        }
    }
}

pub(super) fn throughput(transaction: &Transaction<'_>) -> Result<Throughput, BackendError> {
    Ok(transaction
        .prepare_cached("SELECT sent, received, deleted FROM throughput")?
        .query_row([], |row| {
            Ok(Throughput { sent: row.get(0)?, received: row.get(1)?, deleted: row.get(2)? })
        })?)
}

/// Whether so many messages wait or are worked on. Ids are given in order, so what lies between the oldest and the newest
/// tells in most cases that there cannot be so many, without counting them.
pub(super) fn backlog_is(transaction: &Transaction<'_>, most: u64) -> Result<bool, BackendError> {
    let span: Option<u64> = transaction
        .prepare_cached("SELECT (SELECT max(id) FROM messages) - (SELECT min(id) FROM messages) + 1")?
        .query_row([], |row| row.get(0))?;
    if span.is_none_or(|span| span < most) {
        return Ok(false);
    }
    let count: u64 = transaction
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM messages WHERE dead = 0 LIMIT ?1)")?
        .query_row([i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0))?;
    Ok(count >= most)
}

/// Dead letters in the order of their deaths, those after `after` first: a moment, and the id among those of it.
pub(super) fn dead_letters(
    transaction: &Transaction<'_>,
    after: Option<(Timestamp, i64)>,
    limit: usize,
) -> Result<Vec<DeadLetter>, BackendError> {
    let (died_at, id) = after.map_or((i64::MIN, 0), |(died_at, id)| (died_at.0, id));
    let letters = transaction
        .prepare_cached(
            "SELECT id, body, reason, receive_count, sent_at, visible_at FROM messages
             WHERE dead = 1 AND (visible_at, id) > (?1, ?2) ORDER BY visible_at, id LIMIT ?3",
        )?
        .query_map(params![died_at, id, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok(DeadLetter {
                id: row.get::<_, i64>(0)?.to_string(),
                body: row.get(1)?,
                reason: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                receive_count: row.get(3)?,
                sent_at: Timestamp(row.get(4)?),
                died_at: Timestamp(row.get(5)?),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(letters)
}

/// The newest message there is.
fn newest(transaction: &Transaction<'_>) -> Result<Option<i64>, BackendError> {
    Ok(transaction.prepare_cached("SELECT max(id) FROM messages")?.query_row([], |row| row.get(0))?)
}

/// Purges among the next messages after this one and up to the newest; tells how many, and which was looked at last.
fn purge_some(
    transaction: &Transaction<'_>,
    which: Purge,
    after: i64,
    newest: Option<i64>,
) -> Result<(u64, Option<i64>), BackendError> {
    let mut delete = transaction.prepare_cached("DELETE FROM messages WHERE id = ?1")?;
    let mut select = transaction.prepare_cached(
        "SELECT id, CASE WHEN dead = ?3 THEN body END FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?4",
    )?;
    let looked_at: Vec<(i64, Option<String>)> = select
        .query_map(params![after, newest, which == Purge::DeadLetters, AT_ONCE as i64], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut purged = 0;
    for (id, body) in &looked_at {
        if body.as_deref().is_some_and(|body| !is_removal(body)) {
            purged += delete.execute([id])? as u64;
        }
    }
    Ok((purged, looked_at.last().map(|(id, _)| *id)))
}

/// What is no event of ours tells of nothing.
fn is_removal(body: &str) -> bool {
    DocumentEvent::parse(body).is_ok_and(|event| event.event == EventKind::Removed)
}

/// Makes a dead letter a new message; tells whether it was there.
fn redrive_one(transaction: &Transaction<'_>, id: i64, now: Timestamp) -> Result<bool, BackendError> {
    let letter: Option<(String, Option<Vec<u8>>, Option<Sequence>)> = transaction
        .prepare_cached("DELETE FROM messages WHERE id = ?1 AND dead = 1 RETURNING body, document, sequence")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((body, document, sequence)) = letter else { return Ok(false) };
    let subject = document.zip(sequence).map(|(document, sequence)| Subject { document, sequence });
    enqueue(transaction, &body, subject.as_ref(), now, now)?;
    Ok(true)
}

/// Redrives those that died first, of those up to the newest; tells how many.
fn redrive_some(transaction: &Transaction<'_>, newest: Option<i64>) -> Result<usize, BackendError> {
    let ids: Vec<i64> = transaction
        .prepare_cached(
            "SELECT id FROM messages WHERE dead = 1 AND id <= ?1 ORDER BY visible_at, id LIMIT ?2",
        )?
        .query_map(params![newest, AT_ONCE as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let now = Timestamp::now();
    for id in &ids {
        redrive_one(transaction, *id, now)?;
    }
    Ok(ids.len())
}

fn next_visible(transaction: &Transaction<'_>) -> Result<Option<Timestamp>, BackendError> {
    let next: Option<i64> = transaction
        .prepare_cached("SELECT min(visible_at) FROM messages WHERE dead = 0")?
        .query_row([], |row| row.get(0))?;
    Ok(next.map(Timestamp))
}

fn extend_at(
    transaction: &Transaction<'_>,
    receipt: &Receipt,
    duration: Duration,
    now: Timestamp,
) -> Result<bool, BackendError> {
    let Some(lease) = Lease::parse(receipt) else {
        return Ok(false);
    };
    let extended = transaction
        .prepare_cached(
            "UPDATE messages SET visible_at = min(?3, received_at + ?4)
             WHERE id = ?1 AND receive_count = ?2 AND dead = 0 AND visible_at > ?5",
        )?
        .execute(params![
            lease.message,
            lease.receive,
            now.plus(duration).0,
            i64::try_from(MAX_HOLD.as_millis()).unwrap_or(i64::MAX),
            now.0
        ])?;
    Ok(extended == 1)
}

pub(super) fn depth_at(transaction: &Transaction<'_>, now: Timestamp) -> Result<Depth, BackendError> {
    let depth = transaction
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE dead = 0 AND visible_at <= ?1),
                    count(*) FILTER (WHERE dead = 0 AND visible_at > ?1 AND receive_count > 0),
                    count(*) FILTER (WHERE dead = 0 AND visible_at > ?1 AND receive_count = 0),
                    count(*) FILTER (WHERE dead = 1),
                    min(sent_at) FILTER (WHERE dead = 0)
             FROM messages",
        )?
        .query_row([now.0], |row| {
            Ok(Depth {
                visible: row.get(0)?,
                in_flight: row.get(1)?,
                delayed: row.get(2)?,
                dead_letters: row.get(3)?,
                oldest_age: row.get::<_, Option<i64>>(4)?.map(|sent_at| now.since(Timestamp(sent_at))),
            })
        })?;
    Ok(depth)
}

impl EmbeddedQueue {
    pub(super) fn new(
        durable: Arc<Database>,
        leases: Arc<Database>,
        sent: Arc<Bell>,
        settled: Arc<Bell>,
        options: Options,
    ) -> Self {
        Self { durable, leases, sent, settled, options }
    }

    /// Whether nothing is left to do: [`Depth::is_idle`] without counting.
    pub fn is_idle(&self) -> Result<bool, BackendError> {
        self.leases.read(|transaction| Ok(next_visible(transaction)?.is_none()))
    }

    /// How the queue stands and what passed through it so far, in one snapshot.
    pub fn depth_and_throughput(&self) -> Result<(Depth, Throughput), BackendError> {
        self.leases
            .read(|transaction| Ok((depth_at(transaction, Timestamp::now())?, throughput(transaction)?)))
    }

    /// Deletes messages without doing anything about them, a few at a time so that others are not held up; tells how
    /// many. Whoever holds one has lost it, and writes nothing.
    pub fn purge(&self, which: Purge) -> Result<u64, BackendError> {
        // What comes meanwhile is not meant.
        let newest = self.durable.read(newest)?;
        let (mut purged, mut after) = (0, 0);
        loop {
            let (some, last) =
                self.durable.write(|transaction| purge_some(transaction, which, after, newest))?;
            purged += some;
            let Some(last) = last else {
                self.settled.ring();
                return Ok(purged);
            };
            after = last;
        }
    }

    /// Redrives all that are dead now, a few at a time so that others are not held up, and no more once as many as `most`
    /// messages wait; tells how many.
    pub fn redrive_all(&self, most: u64) -> Result<u64, BackendError> {
        // What is redriven gets a greater number, so that none is redriven twice, however soon it dies again.
        let newest = self.durable.read(newest)?;
        let mut redriven = 0;
        let redrive_some = || {
            if self.leases.read(|transaction| backlog_is(transaction, most))? {
                return Ok(0);
            }
            self.durable.write(|transaction| redrive_some(transaction, newest))
        };
        loop {
            let some = redrive_some().map_err(|error: BackendError| {
                let done = format!("{redriven} dead letters were redriven, then: {}", error.for_another());
                if redriven == 0 { error } else { BackendError::new(error.kind(), done) }
            })?;
            if some == 0 {
                return Ok(redriven);
            }
            self.sent.ring();
            redriven += some as u64;
        }
    }

    /// Waits until something was sent since `seen`, or `timeout` has passed, or somebody waked it; returns what to pass
    /// as `seen` next.
    pub fn wait_sent(&self, seen: u64, timeout: Duration) -> u64 {
        self.sent.wait(seen, timeout)
    }

    /// Where the bell of sent messages stands; take it before looking, then wait from it.
    pub fn sent_so_far(&self) -> u64 {
        self.sent.position()
    }

    /// Ends a [`EmbeddedQueue::wait_sent`] in this process early.
    pub fn sent_waker(&self) -> impl Fn() + Send + Sync + 'static {
        self.sent.waker()
    }

    pub(super) fn ring_sent(&self) {
        self.sent.ring();
    }

    pub(super) fn settled(&self) -> &Bell {
        &self.settled
    }
}

impl Queue for EmbeddedQueue {
    fn send(&self, messages: &[Outgoing]) -> Result<(), BackendError> {
        let now = Timestamp::now();
        self.durable.write(|transaction| {
            messages.iter().try_for_each(|message| {
                enqueue(transaction, &message.body, None, now.plus(message.delay), now)
            })
        })?;
        self.sent.ring();
        Ok(())
    }

    fn receive(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
        drain: &Drain,
    ) -> Result<Vec<Message>, BackendError> {
        let deadline = Instant::now() + wait;
        let _wakes_on_drain = drain.on_request(self.sent.waker());
        let mut position = self.sent.position();
        loop {
            if drain.requested() || max == 0 {
                return Ok(Vec::new());
            }
            let now = Timestamp::now();
            // An idle worker must not queue for the write lock: look first.
            let next = self.leases.read(next_visible)?;
            if next.is_some_and(|next| next <= now) {
                let messages = self.leases.write(|transaction| {
                    receive_at(transaction, max, lease, Timestamp::now(), self.options)
                })?;
                if !messages.is_empty() {
                    return Ok(messages);
                }
                // Another worker was faster, or all that was due went to the dead letters.
                self.settled.ring();
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            let until_visible = next.map_or(left, |next| next.since(now));
            position = self.sent.wait(position, left.min(until_visible));
        }
    }

    fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<bool>, BackendError> {
        self.leases.write(|transaction| {
            let now = Timestamp::now();
            receipts.iter().map(|receipt| extend_at(transaction, receipt, lease, now)).collect()
        })
    }

    fn ack(&self, receipts: &[Receipt]) -> Result<(), BackendError> {
        self.durable.write(|transaction| {
            receipts.iter().try_for_each(|receipt| {
                acknowledge(transaction, receipt, Timestamp::now()).map(|_was_there| ())
            })
        })?;
        self.settled.ring();
        Ok(())
    }

    fn release(&self, receipt: &Receipt, after: Duration, reason: Option<&str>) -> Result<(), BackendError> {
        let Some(lease) = Lease::parse(receipt) else {
            return Ok(());
        };
        self.leases.write(|transaction| {
            let now = Timestamp::now();
            // A lease that has run out may already be visible; hiding it again would be a theft.
            transaction
                .prepare_cached(
                    "UPDATE messages SET visible_at = ?3, reason = ?4
                     WHERE id = ?1 AND receive_count = ?2 AND dead = 0 AND visible_at > ?5",
                )?
                .execute(params![lease.message, lease.receive, now.plus(after).0, reason, now.0])?;
            Ok(())
        })?;
        self.sent.ring();
        Ok(())
    }

    fn dead_letter(&self, receipt: &Receipt, reason: &str) -> Result<(), BackendError> {
        let Some(lease) = Lease::parse(receipt) else {
            return Ok(());
        };
        failpoint::hit("queue.before_dead_letter");
        self.durable.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE messages SET dead = 1, visible_at = ?3, reason = ?4
                     WHERE id = ?1 AND receive_count = ?2 AND dead = 0 AND visible_at > ?3",
                )?
                .execute(params![lease.message, lease.receive, Timestamp::now().0, reason])?;
            Ok(())
        })?;
        failpoint::hit("queue.after_dead_letter");
        self.settled.ring();
        Ok(())
    }

    fn depth(&self) -> Result<Depth, BackendError> {
        self.leases.read(|transaction| depth_at(transaction, Timestamp::now()))
    }

    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, BackendError> {
        self.leases.read(|transaction| dead_letters(transaction, None, limit))
    }

    fn redrive(&self, which: &Redrive) -> Result<u64, BackendError> {
        let Redrive::Only(ids) = which else {
            return self.redrive_all(u64::MAX);
        };
        let mut ids: Vec<i64> = ids
            .iter()
            .map(|id| id.parse().map_err(|_not_a_number| no_dead_letter(id)))
            .collect::<Result<_, _>>()?;
        ids.sort_unstable();
        ids.dedup();
        self.durable.write(|transaction| {
            let now = Timestamp::now();
            ids.iter().try_for_each(|id| {
                let was_there = redrive_one(transaction, *id, now)?;
                was_there.then_some(()).ok_or_else(|| no_dead_letter(&id.to_string()))
            })
        })?;
        self.sent.ring();
        Ok(ids.len() as u64)
    }
}

fn no_dead_letter(id: &str) -> BackendError {
    BackendError::new(
        ErrorKind::NotFound,
        format!("there is no dead letter {id:?}: `wordfreq queue dead-letters` lists them"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Embedded, IfMissing};
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    struct Fixture {
        _directory: tempfile::TempDir,
        embedded: Embedded,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
        Fixture { _directory: directory, embedded }
    }

    impl Fixture {
        fn at<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, BackendError>) -> T {
            self.embedded.durable.write(work).unwrap()
        }

        fn receive(&self, now: i64) -> Vec<Message> {
            self.at(|transaction| receive_at(transaction, 10, LEASE, Timestamp(now), Options::default()))
        }
    }

    #[test]
    fn a_lease_hides_until_its_time_runs_out_to_the_millisecond() {
        let fixture = fixture();
        fixture.at(|transaction| enqueue(transaction, "a", None, Timestamp(1000), Timestamp(1000)));
        assert_eq!(fixture.receive(999).len(), 0);
        assert_eq!(fixture.receive(1000).len(), 1);
        assert_eq!(fixture.receive(30_999).len(), 0);
        assert_eq!(fixture.receive(31_000)[0].receive_count, 2);
    }

    #[test]
    fn an_extension_counts_from_now_and_ends_twelve_hours_after_the_receive() {
        let fixture = fixture();
        fixture.at(|transaction| enqueue(transaction, "a", None, Timestamp(0), Timestamp(0)));
        let receipt = fixture.receive(0)[0].receipt.clone();
        let extend = |now| fixture.at(|transaction| extend_at(transaction, &receipt, LEASE, Timestamp(now)));
        assert!(extend(29_999));
        assert_eq!(fixture.receive(59_998).len(), 0);
        let hold = i64::try_from(MAX_HOLD.as_millis()).unwrap();
        let mut now = 29_999;
        while now < hold {
            assert!(extend(now));
            now += 29_000;
        }
        assert!(!extend(hold), "held longer than twelve hours");
        assert_eq!(fixture.receive(hold).len(), 1);
    }

    #[test]
    fn an_expired_lease_cannot_be_extended_or_prolonged_by_release() {
        let fixture = fixture();
        fixture.at(|transaction| enqueue(transaction, "a", None, Timestamp(0), Timestamp(0)));
        let first = fixture.receive(0)[0].receipt.clone();
        assert!(!fixture.at(|transaction| extend_at(transaction, &first, LEASE, Timestamp(30_000))));
        assert!(!fixture.at(|transaction| is_held(transaction, &first, Timestamp(30_000))));
        assert!(fixture.at(|transaction| is_held(transaction, &first, Timestamp(29_999))));
    }

    #[test]
    fn retention_is_judged_from_the_sending() {
        let fixture = fixture();
        fixture.at(|transaction| enqueue(transaction, "a", None, Timestamp(0), Timestamp(0)));
        let retention = i64::try_from(Options::default().retention.as_millis()).unwrap();
        assert_eq!(fixture.receive(retention - 1).len(), 1);
        assert_eq!(fixture.receive(retention + 30_000).len(), 0);
        let dead = fixture.embedded.queue.dead_letters(10).unwrap();
        assert!(dead[0].reason.contains("older than the queue keeps messages"), "{}", dead[0].reason);
    }

    #[test]
    fn depth_tells_visible_in_flight_and_delayed_apart() {
        let fixture = fixture();
        fixture.at(|transaction| {
            enqueue(transaction, "leased", None, Timestamp(0), Timestamp(0))?;
            receive_at(transaction, 1, LEASE, Timestamp(0), Options::default())?;
            enqueue(transaction, "visible", None, Timestamp(5), Timestamp(5))?;
            enqueue(transaction, "delayed", None, Timestamp(900), Timestamp(6))
        });
        let depth = fixture.at(|transaction| depth_at(transaction, Timestamp(10)));
        assert_eq!((depth.visible, depth.in_flight, depth.delayed, depth.dead_letters), (1, 1, 1, 0));
        assert_eq!(depth.oldest_age, Some(Duration::from_millis(10)));
    }

    #[test]
    fn a_purge_takes_one_kind_and_whoever_holds_a_message_has_lost_it() {
        let fixture = fixture();
        let queue = &fixture.embedded.queue;
        let now = Timestamp::now();
        let many = AT_ONCE + 3;
        fixture.at(|transaction| {
            (0..many).try_for_each(|number| enqueue(transaction, &number.to_string(), None, now, now))
        });
        let [held, dead] = &fixture.receive(now.0)[..2] else { panic!("two messages") };
        queue.dead_letter(&dead.receipt, "a reason").unwrap();
        assert_eq!(queue.purge(Purge::DeadLetters).unwrap(), 1);
        assert_eq!(queue.purge(Purge::DeadLetters).unwrap(), 0);
        assert_eq!(queue.purge(Purge::Messages).unwrap(), many as u64 - 1);
        assert!(queue.is_idle().unwrap());
        assert_eq!(queue.extend(std::slice::from_ref(&held.receipt), LEASE).unwrap(), [false]);
    }

    #[test]
    fn a_purge_leaves_removals_and_goes_on_behind_them() {
        let fixture = fixture();
        let queue = &fixture.embedded.queue;
        let (many, now) = (AT_ONCE as u64 + 3, Timestamp::now());
        let send = |kind| {
            fixture.at(|transaction| {
                (1..=many).try_for_each(|number| {
                    let id = DocumentId::new("processing", number.to_string())?;
                    enqueue_event(transaction, &DocumentEvent::new(kind, id, Sequence(number.into()), 0), now)
                })
            });
        };
        send(EventKind::Removed);
        send(EventKind::Created);
        assert_eq!(queue.purge(Purge::Messages).unwrap(), many);
        assert_eq!(queue.depth().unwrap().visible, many);
        fixture.at(|transaction| Ok(transaction.execute("UPDATE messages SET dead = 1", [])?));
        assert_eq!(queue.purge(Purge::DeadLetters).unwrap(), 0);
        assert_eq!(queue.depth().unwrap().dead_letters, many);
    }

    #[test]
    fn a_redrive_of_all_is_in_batches_and_none_is_redriven_twice() {
        let fixture = fixture();
        let queue = &fixture.embedded.queue;
        let (many, now) = (2 * AT_ONCE as u64 + 3, Timestamp::now());
        fixture.at(|transaction| {
            (0..many).try_for_each(|number| enqueue(transaction, &number.to_string(), None, now, now))
        });
        fixture.at(|transaction| Ok(transaction.execute("UPDATE messages SET dead = 1", [])?));
        // From now on what is redriven dies on the spot.
        fixture.at(|transaction| {
            Ok(transaction.execute_batch(
                "CREATE TRIGGER dies AFTER INSERT ON messages BEGIN
                     UPDATE messages SET dead = 1 WHERE id = new.id;
                 END;",
            )?)
        });
        assert_eq!(fixture.at(|transaction| redrive_some(transaction, newest(transaction)?)), AT_ONCE);
        assert_eq!(queue.redrive(&Redrive::All).unwrap(), many);
        let depth = queue.depth().unwrap();
        assert_eq!((depth.visible, depth.dead_letters), (0, many));
    }

    #[test]
    fn a_redrive_of_all_ends_when_enough_wait() {
        let fixture = fixture();
        let queue = &fixture.embedded.queue;
        let (a_batch, now) = (AT_ONCE as u64, Timestamp::now());
        fixture.at(|transaction| {
            (0..3 * a_batch).try_for_each(|number| enqueue(transaction, &number.to_string(), None, now, now))
        });
        fixture.at(|transaction| Ok(transaction.execute("UPDATE messages SET dead = 1", [])?));
        assert_eq!(queue.redrive_all(a_batch + 1).unwrap(), 2 * a_batch);
        assert_eq!(queue.redrive_all(2 * a_batch).unwrap(), 0);
        assert_eq!(queue.redrive_all(2 * a_batch + 1).unwrap(), a_batch);
        assert_eq!(queue.redrive_all(u64::MAX).unwrap(), 0);
    }

    #[test]
    fn dead_letters_come_in_pages_whatever_comes_and_goes() {
        let fixture = fixture();
        let at = |second: i64| Timestamp(1000 * second);
        for number in 0..5 {
            fixture.at(|transaction| enqueue(transaction, &number.to_string(), None, at(0), at(0)));
        }
        // Three die in one moment.
        fixture.at(|transaction| {
            Ok(transaction.execute("UPDATE messages SET dead = 1, visible_at = 1000 * max(id, 3)", [])?)
        });
        let page = |after| fixture.at(|transaction| dead_letters(transaction, after, 2));
        let first = page(None);
        fixture.at(|transaction| Ok(transaction.execute("DELETE FROM messages WHERE id = 1", [])?));
        let last = &first[1];
        let second = page(Some((last.died_at, last.id.parse().unwrap())));
        let last = &second[1];
        let third = page(Some((last.died_at, last.id.parse().unwrap())));
        let ids: Vec<_> = [first, second, third].concat().into_iter().map(|letter| letter.id).collect();
        assert_eq!(ids, ["1", "2", "3", "4", "5"]);
    }

    #[test]
    fn what_was_received_before_goes_alone() {
        let fixture = fixture();
        for body in ["killer", "neighbour", "other"] {
            fixture.at(|transaction| enqueue(transaction, body, None, Timestamp(0), Timestamp(0)));
        }
        assert_eq!(fixture.receive(0).len(), 3);
        fixture.at(|transaction| enqueue(transaction, "new", None, Timestamp(40_000), Timestamp(40_000)));
        // Their worker has died: each comes by itself, and the new one not behind any of them.
        for expected in 1..=3 {
            let alone = fixture.receive(40_000);
            assert_eq!(
                alone.iter().map(|message| message.receive_count).collect::<Vec<_>>(),
                [2],
                "{expected}"
            );
        }
        assert_eq!(fixture.receive(40_000)[0].body, "new");
        assert!(fixture.receive(40_000).is_empty());
    }
}
