//! The port to the results: one effective result per document, whatever is delivered twice, late or out of order.
//! Its contract is what every adapter must keep and what `conformance::results` checks. Not here: how counts are
//! made (`process`), and the bucket that holds the documents' bytes.
//!
//! - The newest version of a document wins, by its [`Sequence`]. A commit of an older version, or of the same version
//!   under the same fingerprint, changes nothing. The same version under another fingerprint replaces.
//! - A removal leaves a mark with its sequence, so that an older version cannot come back.
//! - Totals equal, at every moment, the sum over the committed documents of that fingerprint.
//! - A result is durable before `commit` returns.

use std::time::Duration;

use wordfreq_core::Counts;

use crate::document::{DocumentEvent, DocumentId, Sequence};
use crate::error::BackendError;
use crate::queue::Receipt;
use crate::time::Timestamp;

/// What is committed for one document.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Its words were counted.
    Counted {
        /// The whole table, with the totals of bytes and over-long words.
        counts: Counts,
        /// The fingerprint of the profile that made it.
        fingerprint: String,
        /// How long reading and counting took.
        duration: Duration,
    },
    /// It was deleted.
    Removed,
}

/// A finished piece of work, and the lease it was done under.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The lease. A backend that keeps queue and results in one store checks it and acknowledges the message in the
    /// same transaction; its messages tell of one document each. Elsewhere several completions may share a lease.
    pub receipt: Receipt,
    /// Which version of which document.
    pub event: DocumentEvent,
    /// What is to be stored.
    pub effect: Effect,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Stored; it is the document's result now.
    Committed,
    /// This very version was already there. Nothing changed.
    AlreadyCommitted,
    /// A newer version was already there. Nothing changed.
    Superseded,
    /// The lease is lost. Nothing changed, and nothing must be acknowledged.
    LeaseLost,
    /// The backend counts by another profile now. Nothing changed; the message must be done again.
    ProfileChanged,
}

/// The answer to one [`Completion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What happened.
    pub outcome: CommitOutcome,
    /// Whether the message was acknowledged in the same transaction; if not, and the outcome asks for it, the caller
    /// must.
    pub acknowledged: bool,
}

/// A committed result without its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultSummary {
    /// Of which document.
    pub document: DocumentId,
    /// Of which version.
    pub sequence: Sequence,
    /// By which profile.
    pub fingerprint: String,
    /// Size of the document.
    pub bytes: u64,
    /// Sum of the counts.
    pub words: u64,
    /// Number of different words.
    pub distinct: u64,
    /// Words too long to be counted.
    pub over_long: u64,
    /// How long reading and counting took.
    pub duration: Duration,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// A committed result with its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentResult {
    /// Everything but the table.
    pub summary: ResultSummary,
    /// Words by rank (count, then word in code-point order), as many as were asked for.
    pub counts: Vec<(String, u64)>,
}

/// A word's place in the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalWord {
    /// The word.
    pub word: String,
    /// How often it stands in all documents.
    pub count: u64,
    /// In how many documents it stands.
    pub documents: u64,
}

/// Sums over all committed documents of one fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Of which profile.
    pub fingerprint: String,
    /// Number of documents.
    pub documents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their words.
    pub words: u64,
    /// Different words among them.
    pub distinct: u64,
    /// Words too long to be counted.
    pub over_long: u64,
    /// Documents counted by another profile, which are in none of these sums.
    pub other_documents: u64,
    /// Words by rank, as many as were asked for.
    pub counts: Vec<TotalWord>,
}

/// Where results are kept.
pub trait Results: Send + Sync {
    /// Commits finished work, each piece as the contract above says; answers in the order given. An error means none
    /// of it is known to be stored, and the caller does it again.
    fn commit(&self, completions: &[Completion]) -> Result<Vec<Committed>, BackendError>;

    /// The result of a document with its `limit` best words (`None`: the whole table); `None` if it has none.
    fn read(
        &self,
        document: &DocumentId,
        limit: Option<usize>,
    ) -> Result<Option<DocumentResult>, BackendError>;

    /// Up to `limit` results in the order of their names, those after `after` first.
    fn list(&self, after: Option<&DocumentId>, limit: usize) -> Result<Vec<ResultSummary>, BackendError>;

    /// Sums for the profile in force, with its `limit` best words (`None`: all).
    fn totals(&self, limit: Option<usize>) -> Result<Totals, BackendError>;
}
