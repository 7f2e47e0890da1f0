//! The life of a document: it is put into a bucket, becomes a message, is leased by a worker, counted, and its
//! result is committed exactly once.
//!
//! Here are the ports ([`Queue`], [`Results`], [`Fleet`]), the worker and the scaling loop that stand on
//! them, and the embedded backend that implements all three with one SQLite file and processes of this machine. Not here:
//! how words are counted and fleets sized (`wordfreq-core`), and command lines and configuration (`wordfreq`).
//!
//! The ports are synchronous on purpose: counting keeps a core busy, SQLite blocks, and a worker is one thread with
//! one batch of leases. An adapter to a remote service blocks on its own runtime inside its methods.

pub mod document;
pub mod drain;
pub mod embedded;
pub mod encoding;
pub mod error;
pub mod failpoint;
pub mod fleet;
pub mod object;
pub mod process;
pub mod queue;
pub mod reading;
pub mod report;
pub mod results;
pub mod rows;
pub mod scale;
pub mod spill;
pub mod time;
pub mod watch;
pub mod worker;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use document::{DocumentEvent, DocumentId, EventKind, Provenance, Record, Sequence};
pub use drain::Drain;
pub use error::{BackendError, ErrorKind};
pub use fleet::Fleet;
pub use queue::Queue;
pub use results::Results;
pub use time::Timestamp;
