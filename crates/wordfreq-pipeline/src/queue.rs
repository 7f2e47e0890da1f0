//! The port to a queue with the semantics of a standard SQS queue. Its contract is what every adapter must keep and
//! what `conformance::queue` checks. Not here: what a message means (`process`), and when to receive (`worker`).
//!
//! - Delivery is at least once and unordered. A received message is hidden until its lease ends, then visible again.
//! - Each receive gives a new receipt and adds one to the receive count. Only the latest receipt counts: acting with
//!   an older one has no effect on the message.
//! - A message whose receive count has reached the queue's maximum is, at the next receive, moved to the dead letters
//!   instead of being handed out.
//! - A message older than the queue's retention is never handed out.

use std::fmt;
use std::time::Duration;

use crate::drain::Drain;
use crate::error::BackendError;
use crate::time::Timestamp;

/// The longest a message can be held from its receive, extensions included (SQS: 12 hours).
pub const MAX_HOLD: Duration = Duration::from_secs(12 * 3600);

/// Proof of one receive of one message; opaque to everyone but the queue that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receipt(pub String);

/// A message under lease.
#[derive(Clone, Debug)]
pub struct Message {
    /// Stable over receives, unlike the receipt.
    pub id: String,
    /// Proof of this receive.
    pub receipt: Receipt,
    /// What the sender wrote.
    pub body: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: Timestamp,
}

impl Message {
    /// Whether it was received before, and so may be what killed its worker.
    pub fn is_suspect(&self) -> bool {
        self.receive_count > 1
    }
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Non-empty text.
    pub body: String,
    /// How long it stays hidden at first (SQS: at most 15 minutes).
    pub delay: Duration,
}

/// How many messages stand where. Their sum is 0 only when nothing is left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready to be received.
    pub visible: u64,
    /// Received and neither acknowledged nor visible again.
    pub in_flight: u64,
    /// Sent with a delay that has not passed.
    pub delayed: u64,
    /// Age of the oldest message that is not a dead letter, by its sending.
    pub oldest_age: Option<Duration>,
    /// Waiting for a person.
    pub dead_letters: u64,
}

impl Depth {
    /// Whether nothing is left to do; dead letters do not count.
    pub fn is_idle(&self) -> bool {
        self.visible + self.in_flight + self.delayed == 0
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} visible, {} in flight, {} delayed, {} dead letters",
            self.visible, self.in_flight, self.delayed, self.dead_letters
        )
    }
}

/// A message that was given up, with the reason.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// To name it in a redrive.
    pub id: String,
    /// What the sender wrote.
    pub body: String,
    /// Why it is here.
    pub reason: String,
    /// How often it was received before.
    pub receive_count: u32,
    /// When it was first sent.
    pub sent_at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
}

/// Which dead letters to send back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redrive {
    /// Every one.
    All,
    /// These, by id.
    Only(Vec<String>),
}

/// A queue of messages and its dead letters.
pub trait Queue: Send + Sync {
    /// Sends messages; when this returns they are durable. All or none where the backend can, else an error names how
    /// many were taken.
    fn send(&self, messages: &[Outgoing]) -> Result<(), BackendError>;

    /// Leases up to `max` visible messages for `lease`. Waits up to `wait` for the first one; an empty answer is not
    /// proof of an empty queue. Returns early, and empty, when `drain` is requested.
    fn receive(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
        drain: &Drain,
    ) -> Result<Vec<Message>, BackendError>;

    /// Makes each lease last `lease` from now, at most [`MAX_HOLD`] from its receive. Answers in the order asked:
    /// `false` means the lease is lost, and its holder must write nothing and delete nothing for it.
    fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<bool>, BackendError>;

    /// Deletes messages for good. A stale receipt deletes nothing and is no error.
    fn ack(&self, receipts: &[Receipt]) -> Result<(), BackendError>;

    /// Gives a lease back: the message is visible again in `after`. `reason` is kept beside the message where the
    /// backend can, so that a later dead letter can tell it. A stale receipt does nothing.
    fn release(&self, receipt: &Receipt, after: Duration, reason: Option<&str>) -> Result<(), BackendError>;

    /// Moves a leased message to the dead letters with its reason. A stale receipt does nothing.
    fn dead_letter(&self, receipt: &Receipt, reason: &str) -> Result<(), BackendError>;

    /// Counts messages. Exact in the embedded backend, approximate on SQS.
    fn depth(&self) -> Result<Depth, BackendError>;

    /// Up to `limit` dead letters, oldest death first.
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, BackendError>;

    /// Sends dead letters back with a fresh id, receive count and age; tells how many. An id that is not there is an
    /// error of kind `NotFound`, and then none is sent. All of them may be sent in batches, of which an error leaves those
    /// before it done.
    fn redrive(&self, which: &Redrive) -> Result<u64, BackendError>;
}
