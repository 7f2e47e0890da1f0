//! From the resolved configuration to the queue and the results of the backend in force, for the commands that look at
//! them. Not here: the workers' view of a backend, and the buckets.

use std::sync::Arc;

use wordfreq_pipeline::embedded::IfMissing;
use wordfreq_pipeline::worker::Parse;
use wordfreq_pipeline::{DocumentEvent, Queue, Record, Results};

use crate::config::{BackendName, Config};
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

/// The queue in force.
///
/// # Errors
/// Those of opening it, and wrong configuration.
pub fn queue(config: &Config) -> anyhow::Result<OpenQueue> {
    match config.backend.value {
        BackendName::Embedded => {
            let queue = data_directory::open(config, IfMissing::Refuse)?.queue;
            Ok(OpenQueue { queue, parse: Box::new(DocumentEvent::records) })
        }
        BackendName::Aws => aws::queue(config),
    }
}

/// The results in force.
///
/// # Errors
/// Those of opening them, and wrong configuration.
pub fn results(config: &Config) -> anyhow::Result<OpenResults> {
    match config.backend.value {
        BackendName::Embedded => {
            let embedded = data_directory::open(config, IfMissing::Refuse)?;
            Ok(OpenResults { results: embedded.results, queue: Some(embedded.queue) })
        }
        BackendName::Aws => aws::results(config),
    }
}
