//! A worker's view of AWS: the adapters put together. Not here: the worker itself, which is the pipeline's.

use std::sync::Arc;
use std::time::Duration;

use wordfreq_core::Profile;
use wordfreq_pipeline::worker::{Backend, WorkerOptions};
use wordfreq_pipeline::{BackendError, ErrorKind, Record};

use crate::batch::MAX_ENTRIES;
use crate::connection::Connection;
use crate::dynamo_results::{DynamoResults, TableLocation};
use crate::leases::Leases;
use crate::notification;
use crate::objects::Objects;
use crate::result_queue::ResultQueue;
use crate::spilled::SpillLocation;
use crate::sqs_queue::SqsQueue;

/// What a worker works on and with.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The queue of S3's events.
    pub queue_url: String,
    /// Where results are told.
    pub result_queue_url: String,
    /// Where they are kept.
    pub location: TableLocation,
    /// What a word is.
    pub profile: Profile,
}

/// What all workers of a process share.
#[derive(Debug)]
pub struct Workers {
    connection: Arc<Connection>,
    queue: Arc<SqsQueue>,
    results: Arc<DynamoResults>,
    result_queue: Arc<ResultQueue>,
    spill: Option<SpillLocation>,
    profile: Profile,
}

impl Workers {
    /// Looks at both queues and the table, so that wrong ones are refused before any work.
    ///
    /// # Errors
    /// Those of [`SqsQueue::open`]; `NotFound` and `Invalid` for the others.
    pub fn open(connection: Arc<Connection>, settings: WorkerSettings) -> Result<Self, BackendError> {
        let WorkerSettings { queue_url, result_queue_url, location, profile } = settings;
        let leases = Arc::new(Leases::default());
        let queue = Arc::new(SqsQueue::open(connection.clone(), &queue_url, leases.clone())?);
        let spill = location.spill.clone();
        let results = DynamoResults::new(connection.clone(), location, profile.clone(), leases);
        let result_queue = Arc::new(ResultQueue::new(connection.clone(), result_queue_url));
        refuse_wrong(results.look())?;
        refuse_wrong(result_queue.look())?;
        Ok(Self { connection, queue, results: Arc::new(results), result_queue, spill, profile })
    }

    /// Whether the queue has a dead-letter queue.
    pub fn has_dead_letters(&self) -> bool {
        self.queue.has_dead_letters()
    }

    /// To be called when every worker has ended: [`SqsQueue::end_poll`].
    ///
    /// # Errors
    /// Those of the service.
    pub fn end_poll(&self) -> Result<(), BackendError> {
        self.queue.end_poll()
    }

    /// What one worker of the process works on.
    pub fn backend(&self) -> Backend {
        let objects = Arc::new(Objects::new(self.connection.clone()));
        let spill = self.spill.clone();
        let (ahead, result_queue, profile) =
            (objects.clone(), self.result_queue.clone(), self.profile.clone());
        Backend {
            queue: self.queue.clone(),
            results: self.results.clone(),
            parse: Box::new(move |body, sent_at| {
                let not_a_table = |record| match record {
                    Record::Event(event) if spill.as_ref().is_some_and(|spill| spill.holds(&event.id)) => {
                        Record::Ignored(format!("{} is a count table, not a document", event.id))
                    }
                    record => record,
                };
                notification::parse(body, sent_at).into_iter().map(not_a_table).collect()
            }),
            ahead: Box::new(move |events| ahead.ahead(events)),
            open: Box::new(move |event| objects.open(event)),
            profile: Box::new(move || Ok(profile.clone())),
            tell: Box::new(move |reports| result_queue.tell(reports)),
            hold: Box::new(|_, _| {}),
        }
    }

    /// How one works. A batch is what fits one request, and small enough to be started long before its leases would
    /// have run out; nothing is given back but on a drain, as that costs a message one of its tries.
    pub fn options(&self, lease: Duration, threads: usize) -> WorkerOptions {
        WorkerOptions {
            lease,
            max_batch: MAX_ENTRIES,
            batch_time: lease / 6,
            threads,
            max_receive_count: self.queue.max_receive_count(),
            share_large: false,
        }
    }
}

/// Who may not look, as a worker of the sample may not, can work all the same.
fn refuse_wrong(looked: Result<(), BackendError>) -> Result<(), BackendError> {
    match looked {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "cannot make sure that it is right before the work begins");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
