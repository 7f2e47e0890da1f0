//! From the resolved configuration to the queue and the results of the backend in force, for the commands that look at
//! them. Not here: the workers' view of a backend, and the buckets.

use std::sync::Arc;

use wordfreq_pipeline::embedded::IfMissing;
use wordfreq_pipeline::queue::{DeadLetter, Depth, Redrive};
use wordfreq_pipeline::results::{DocumentResult, ResultSummary, Totals};
use wordfreq_pipeline::worker::Parse;
use wordfreq_pipeline::{DocumentEvent, DocumentId, Queue, Record, Results};

use crate::config::{BackendName, Config};
use crate::exit::UsageError;
use crate::remote::Remote;
use crate::{aws, data_directory};

/// A queue, and how its messages are written.
pub struct OpenQueue {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Tells what a body is about.
    pub parse: Parse,
}

impl OpenQueue {
    /// The document that a body is about; `None` if it is about several, or cannot be read.
    pub fn document(&self, body: &str) -> Option<DocumentEvent> {
        match &(self.parse)(body, wordfreq_pipeline::Timestamp(0))[..] {
            [Record::Event(event)] => Some(event.clone()),
            _ => None,
        }
    }
}

/// Results, and the queue that belongs to them, where it is known.
pub struct OpenResults {
    /// The results.
    pub results: Arc<dyn Results>,
    /// The queue.
    pub queue: Option<Arc<dyn Queue>>,
}

/// A queue, wherever it is.
pub enum AnyQueue {
    /// One that is opened here.
    Here(OpenQueue),
    /// That of an `up` elsewhere.
    There(Remote),
}

impl AnyQueue {
    /// See [`Queue::depth`].
    pub fn depth(&self) -> anyhow::Result<Depth> {
        match self {
            Self::Here(open) => Ok(open.queue.depth()?),
            Self::There(remote) => remote.depth(),
        }
    }

    /// All dead letters, oldest death first.
    pub fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        match self {
            Self::Here(open) => Ok(open.queue.dead_letters(usize::MAX)?),
            Self::There(remote) => remote.dead_letters(),
        }
    }

    /// See [`Queue::redrive`].
    pub fn redrive(&self, which: &Redrive) -> anyhow::Result<u64> {
        match self {
            Self::Here(open) => Ok(open.queue.redrive(which)?),
            Self::There(remote) => remote.redrive(which),
        }
    }

    /// The document that a body is about; `None` if it is about several, or cannot be read.
    pub fn document(&self, body: &str) -> Option<DocumentEvent> {
        match self {
            Self::Here(open) => open.document(body),
            Self::There(_) => DocumentEvent::parse(body).ok(),
        }
    }
}

/// Results, wherever they are.
pub enum AnyResults {
    /// Some that are opened here.
    Here(OpenResults),
    /// Those of an `up` elsewhere.
    There(Remote),
}

impl AnyResults {
    /// See [`Results::list`].
    pub fn list(&self, most: usize) -> anyhow::Result<Vec<ResultSummary>> {
        match self {
            Self::Here(open) => Ok(open.results.list(None, most)?),
            Self::There(remote) => remote.results(most),
        }
    }

    /// See [`Results::read`].
    pub fn read(&self, id: &DocumentId, limit: Option<usize>) -> anyhow::Result<Option<DocumentResult>> {
        match self {
            Self::Here(open) => Ok(open.results.read(id, limit)?),
            Self::There(remote) => remote.result(id, limit),
        }
    }

    /// See [`Results::totals`].
    pub fn totals(&self, limit: Option<usize>) -> anyhow::Result<Totals> {
        match self {
            Self::Here(open) => Ok(open.results.totals(limit)?),
            Self::There(remote) => remote.totals(limit),
        }
    }

    /// How the queue stands that belongs to them; `None` if it is not known.
    pub fn depth(&self) -> anyhow::Result<Option<Depth>> {
        match self {
            Self::Here(open) => Ok(open.queue.as_ref().map(|queue| queue.depth()).transpose()?),
            Self::There(remote) => remote.depth().map(Some),
        }
    }
}

/// The queue in force.
///
/// # Errors
/// Those of opening it, and wrong configuration.
pub fn queue(config: &Config) -> anyhow::Result<AnyQueue> {
    match config.backend.value {
        BackendName::Embedded => {
            let queue = data_directory::open(config, IfMissing::Refuse)?.queue;
            Ok(AnyQueue::Here(OpenQueue { queue, parse: Box::new(DocumentEvent::records) }))
        }
        BackendName::Aws => aws::queue(config).map(AnyQueue::Here),
        BackendName::Server => Remote::open(config).map(AnyQueue::There),
    }
}

/// The results in force.
///
/// # Errors
/// Those of opening them, and wrong configuration.
pub fn results(config: &Config) -> anyhow::Result<AnyResults> {
    match config.backend.value {
        BackendName::Embedded => {
            let embedded = data_directory::open(config, IfMissing::Refuse)?;
            Ok(AnyResults::Here(OpenResults { results: embedded.results, queue: Some(embedded.queue) }))
        }
        BackendName::Aws => aws::results(config).map(AnyResults::Here),
        BackendName::Server => Remote::open(config).map(AnyResults::There),
    }
}

/// Refuses an `up` elsewhere, where a command can do nothing with one.
///
/// # Errors
/// [`UsageError`].
pub fn refuse_remote(config: &Config, command: &str) -> Result<(), UsageError> {
    if config.backend.value != BackendName::Server {
        return Ok(());
    }
    Err(UsageError(format!(
        "`wordfreq {command}` cannot ask an `up` elsewhere, which the setting `backend` from {} says: run it on that machine, \
         or name a data directory with --data-dir",
        config.backend.origin
    )))
}
