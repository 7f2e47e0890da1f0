//! The embedded backend: queue, results and bucket in one data directory, shared by any number of processes on one
//! machine. No network, no server.
//!
//! ```text
//! DATA-DIR/wordfreq.db     SQLite (WAL): documents, messages, results, totals, settings, the fleet's history
//! DATA-DIR/objects/HEX     the documents' bytes, named by their BLAKE3 digest, immutable
//! DATA-DIR/incoming/       bytes on their way in; what a dead process left here is swept
//! DATA-DIR/bell/           files whose change wakes waiting processes
//! DATA-DIR/*.lock          who runs `up`, who checkpoints
//! ```
//!
//! The directory must be on a local disk: WAL needs shared memory, and locks must mean something.

mod access;
mod bell;
mod bucket;
mod buckets;
mod catalogue;
mod database;
mod fleet;
mod group;
mod history;
mod objects;
mod queue;
mod readers;
mod results;
mod subscriptions;
mod totals;
mod uploads;

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use access::{AccessList, Credential, S3Key, Scope, Token};
pub use bell::Bell;
pub use bucket::{Bucket, NotRecounted, Staged, StagedPut, Staging, Stamp, Swept, WatchedFile};
pub use buckets::{BucketInfo, Rearranged};
pub use catalogue::{
    BucketSummary, Catalogue, Examined, FleetView, ListedDocument, ListedState, Occurrence, Page, RankedWord,
    Ranking, Selection, Settled, SettledSince, WordTotals,
};
use database::Database;
pub use fleet::{Changed, HEARTBEAT_EVERY, Heartbeat, LaunchTemplate, ProcessFleet, is_worker_on};
pub use group::wait_for;
pub use history::{
    AlarmRule, Deed, End, History, KeptActivity, Look, MOST_INSTANCES, NewActivity, News, Sizing,
};
pub use objects::{
    Answer, Attributes, Checksum, ChecksumAlgorithm, ChecksumKind, Condition, Description, ListQuery, Listed,
    NewObject, ObjectInfo, Refused,
};
pub use queue::{EmbeddedQueue, Purge, Throughput};
pub use results::EmbeddedResults;
pub use subscriptions::{
    Attempt, CONFIRM_WITHIN, Delivery, DeliveryStatus, Event, NewSubscription, PENDING_AT_MOST, Ready, Rest,
    Secret, Subscription, SubscriptionState, Subscriptions,
};
pub use uploads::{NewPart, NewUpload, Part, UploadInfo, Uploads};
use wordfreq_core::Profile;

use crate::document::{DocumentId, Sequence};
use crate::error::{BackendError, ErrorKind};
use crate::results::{ResultSummary, Results as _};

/// The file that makes a directory a data directory.
pub const DATABASE_FILE: &str = database::FILE_NAME;

/// What may lie in a data directory before its database does, if its making was interrupted.
pub const OWN_NAMES: [&str; 5] = ["bell", "incoming", "objects", "open.lock", "up.lock"];

/// The settings of a data directory; the same for every process on it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A message received this often goes to the dead letters at the next receive.
    pub max_receive_count: u32,
    /// A message older than this goes to the dead letters instead of being handed out.
    pub retention: Duration,
    /// How many moves of totals may wait before they are folded into the rows.
    pub fold_at: u64,
}

impl Default for Options {
    /// Five receives, as the documentation of SQS recommends at least, and SQS's longest retention of 14 days.
    fn default() -> Self {
        Self {
            max_receive_count: 5,
            retention: Duration::from_secs(14 * 24 * 3600),
            fold_at: totals::FOLD_AT,
        }
    }
}

/// Whether [`Embedded::open`] may make a data directory where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Make it.
    Create,
    /// Refuse.
    Refuse,
}

/// What has become of one version of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentState {
    /// Its message waits or is being worked on.
    Waiting,
    /// It has this result.
    Counted(ResultSummary),
    /// Its message was given up, for this reason.
    Failed(String),
    /// Its bucket does not trigger: it is kept, and nobody counts it.
    Kept,
    /// A newer version exists, or it was deleted.
    Superseded,
}

/// An open data directory.
#[derive(Debug)]
pub struct Embedded {
    directory: PathBuf,
    durable: Arc<Database>,
    leases: Arc<Database>,
    /// The objects' side.
    pub bucket: Bucket,
    /// The queue's side.
    pub queue: Arc<EmbeddedQueue>,
    /// The results' side.
    pub results: Arc<EmbeddedResults>,
    /// The fleet's past.
    pub history: Arc<History>,
    /// Who may reach it over the network.
    pub access: AccessList,
    /// For looking at any of it without holding up the others.
    pub catalogue: Arc<Catalogue>,
    /// Who is told of what happens.
    pub subscriptions: Arc<Subscriptions>,
}

impl Embedded {
    /// Opens a data directory, bringing its schema up to date.
    ///
    /// # Errors
    /// `NotFound` if it is missing and may not be made; `ReadOnly`, `Full`; `Invalid` if a newer version of the
    /// program wrote it.
    pub fn open(directory: &Path, if_missing: IfMissing, options: Options) -> Result<Self, BackendError> {
        if if_missing == IfMissing::Refuse && !directory.join(database::FILE_NAME).exists() {
            return Err(BackendError::new(
                ErrorKind::NotFound,
                format!(
                    "there is no data directory at {}: name one with --data-dir, or make one with `wordfreq up` or \
                     `wordfreq upload`",
                    directory.display()
                ),
            ));
        }
        for sub in ["objects", "incoming", "bell"] {
            make_directory(&directory.join(sub))?;
        }
        sync_directory(directory)?;
        let durable = Arc::new(Database::open(directory, database::Durability::Full)?);
        // Losing the last moments of a lease in a power cut costs nothing: its holder is gone too.
        let leases = Arc::new(Database::open(directory, database::Durability::Normal)?);
        let bells = directory.join("bell");
        let sent = Arc::new(Bell::open(&bells.join("sent"))?);
        let settled = Arc::new(Bell::open(&bells.join("settled"))?);
        #[cfg(feature = "failpoints")]
        let fold_at = crate::failpoint::fold_at().unwrap_or(options.fold_at);
        #[cfg(not(feature = "failpoints"))]
        let fold_at = options.fold_at;
        Ok(Self {
            bucket: Bucket::new(directory, durable.clone(), sent.clone()),
            queue: Arc::new(EmbeddedQueue::new(
                durable.clone(),
                leases.clone(),
                sent,
                settled.clone(),
                options,
            )),
            results: Arc::new(EmbeddedResults::new(durable.clone(), settled.clone(), fold_at)),
            subscriptions: Arc::new(Subscriptions::new(durable.clone(), leases.clone(), settled)),
            history: Arc::new(History::new(leases.clone())),
            access: AccessList::new(directory, durable.clone()),
            catalogue: Arc::new(Catalogue::new(directory)),
            directory: directory.to_owned(),
            durable,
            leases,
        })
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The profile in force; `None` before the first [`Embedded::set_profile`].
    pub fn profile(&self) -> Result<Option<Profile>, BackendError> {
        self.durable.read(results::current_profile)
    }

    /// Puts a profile in force. Documents that were counted by another become messages again; tells how many.
    pub fn set_profile(&self, profile: &Profile) -> Result<u64, BackendError> {
        let recounted = self.durable.write(|transaction| results::set_profile(transaction, profile))?;
        if recounted > 0 {
            self.queue.ring_sent();
        }
        Ok(recounted)
    }

    /// Which buckets keep their documents uncounted.
    pub fn kept_buckets(&self) -> Result<BTreeSet<String>, BackendError> {
        self.durable.read(buckets::kept)
    }

    /// Puts in force which buckets keep their documents uncounted; all others trigger. What is in a bucket that begins
    /// to trigger becomes messages, and of one that begins to keep the results are removed.
    pub fn set_kept_buckets(&self, names: &BTreeSet<String>) -> Result<Rearranged, BackendError> {
        let rearranged = self.durable.write(|transaction| buckets::set_kept(transaction, names))?;
        if rearranged != Rearranged::default() {
            self.queue.ring_sent();
        }
        Ok(rearranged)
    }

    /// What has become of one version of a document.
    pub fn state(&self, id: &DocumentId, sequence: Sequence) -> Result<DocumentState, BackendError> {
        if let Some(result) = self.results.read(id, Some(0))?
            && result.summary.sequence == sequence
        {
            return Ok(DocumentState::Counted(result.summary));
        }
        if !self.bucket.is_newest(id, sequence)? {
            return Ok(DocumentState::Superseded);
        }
        self.durable.read(|transaction| {
            if buckets::triggers(transaction, id.bucket())? == Some(false) {
                return Ok(DocumentState::Kept);
            }
            let reason = queue::reason_of_death(transaction, id, sequence)?;
            Ok(reason.map_or(DocumentState::Waiting, DocumentState::Failed))
        })
    }

    /// Copies what the log holds into the database file, if no other process does it at this moment. Tells whether
    /// it was this process's turn.
    ///
    /// One process at a time checkpoints; all others leave the log alone.
    pub fn checkpoint(&self) -> Result<bool, BackendError> {
        match lock(&self.directory.join("checkpoint.lock"))? {
            Ok(_held) => self.leases.checkpoint().map(|()| true),
            Err(_held_by_another) => Ok(false),
        }
    }

    /// Waits until something was committed, acknowledged or given up since `seen`, or `timeout` has passed; returns
    /// what to pass as `seen` next.
    pub fn wait_settled(&self, seen: u64, timeout: Duration) -> u64 {
        self.queue.settled().wait(seen, timeout)
    }

    /// Ends a [`Embedded::wait_settled`] in this process early.
    pub fn settled_waker(&self) -> impl Fn() + Send + Sync + 'static {
        self.queue.settled().waker()
    }

    /// Where the bell of settled messages stands; take it before looking, then wait from it.
    pub fn settled_so_far(&self) -> u64 {
        self.queue.settled().position()
    }
}

/// An exclusive lock of one process on a file, which also tells who holds it. Freed when dropped, or when the process
/// ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Whether anyone holds the lock. Leaves the file as it is.
    pub fn is_taken(path: &Path) -> Result<bool, BackendError> {
        Ok(lock(path)?.is_err())
    }

    /// Takes the lock, or answers what its holder wrote about itself.
    pub fn take(path: &Path) -> Result<Result<Self, String>, BackendError> {
        let context = |error| BackendError::io("lock", path, error);
        match lock(path)? {
            Ok(mut file) => {
                let holder = format!("process {}\n", std::process::id());
                file.set_len(0)
                    .and_then(|()| file.seek(SeekFrom::Start(0)))
                    .and_then(|_| file.write_all(holder.as_bytes()))
                    .map_err(context)?;
                Ok(Ok(Self { _file: file }))
            }
            Err(mut file) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(context)?;
                Ok(Err(holder.trim().to_owned()))
            }
        }
    }
}

/// Opens a file and locks it; `Err` holds it unlocked, when another process has it locked.
fn lock(path: &Path) -> Result<Result<File, File>, BackendError> {
    let context = |error| BackendError::io("lock", path, error);
    let file =
        File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(context)?;
    match file.try_lock() {
        Ok(()) => Ok(Ok(file)),
        Err(TryLockError::WouldBlock) => Ok(Err(file)),
        Err(TryLockError::Error(error)) => Err(context(error)),
    }
}

/// Makes a directory, and those above it that are missing, durably and for its owner alone: documents may be anyone's
/// secrets.
pub fn make_directory(path: &Path) -> Result<(), BackendError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directory(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(parent),
        // Another process was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(BackendError::io("make the directory", path, error)),
    }
}

/// Makes the names in a directory durable.
fn sync_directory(path: &Path) -> Result<(), BackendError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| BackendError::io("sync the directory", path, error))
}
