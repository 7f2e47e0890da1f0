//! What whoever asked is told: that a document was counted, or that it was given up. Told after the fact is durable
//! and before its message is acknowledged, so at least once. Not here: how, and whom, which is the backend's.

use std::time::Duration;

use wordfreq_core::Counts;

use crate::document::DocumentEvent;
use crate::time::Timestamp;

/// What became of one document.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Which version of which document.
    pub event: &'a DocumentEvent,
    /// When a worker took it up.
    pub started_at: Timestamp,
    /// From then to its outcome.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Reported<'a>,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub enum Reported<'a> {
    /// Its counts are committed.
    Counted(&'a Counts),
    /// It was given up, for this reason. Said once it is final, not at every try.
    Failed(&'a str),
}
