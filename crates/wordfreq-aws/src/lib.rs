//! The ports on AWS: S3 events in, SQS messages, S3 objects streamed, DynamoDB results, and the results queue of the
//! Go sample, whose message shapes and items its readers go on understanding.
//!
//! Everything here blocks on a runtime of its own, as the ports are synchronous. Not here: what a worker does with a
//! message (`wordfreq-pipeline`), how words are counted (`wordfreq-core`), and flags and settings (`wordfreq`).

mod batch;
pub mod bootstrap;
mod connection;
mod dynamo_results;
mod error;
mod instance;
mod job_result;
mod leases;
mod notification;
mod objects;
mod result_queue;
mod spilled;
mod sqs_queue;
mod upload;
mod worker;

pub use connection::{Connection, Endpoint};
pub use dynamo_results::{DynamoResults, TableLocation};
pub use instance::watch_for_notices;
pub use job_result::{Job, JobResult, JobStatus, Word};
pub use leases::Leases;
pub use notification::parse;
pub use objects::Objects;
pub use result_queue::{Asked, ResultQueue};
pub use spilled::SpillLocation;
pub use sqs_queue::SqsQueue;
pub use upload::{PutObject, Uploads};
pub use worker::{WorkerSettings, Workers};
