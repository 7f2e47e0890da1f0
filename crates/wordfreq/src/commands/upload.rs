//! `wordfreq upload` and `wordfreq delete`: documents into and out of a bucket of the data directory, whether or not
//! `up` runs on it. Which files become which documents is decided here for every backend; the rest of it on AWS is in
//! `aws`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use wordfreq_pipeline::embedded::{DocumentState, Embedded, IfMissing, Lock, Staged, StagedPut};
use wordfreq_pipeline::{BackendError, DocumentId, ErrorKind, Sequence};

use crate::cli::{DeleteArgs, UploadArgs};
use crate::config::{BackendName, Config};
use crate::exit::{Exit, UsageError};
use crate::output::{self, Cell, Listing, Style};
use crate::remote::Remote;
use crate::{aws, data_directory};

/// The most documents, and about the most bytes, of one transaction.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// Documents on their way to a server at a time.
const PUTS_AT_ONCE: usize = 8;

/// The bucket whose documents are counted.
const DEFAULT_BUCKET: &str = "processing";

/// How long to wait for a sign before looking all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The reason of a document that is still waiting when the time is up.
pub(crate) const NOT_YET: &str = "it was not counted within the time of --timeout";

/// Uploads, and with `--wait` tells what became of each document.
pub fn run(args: &UploadArgs, config: &Config) -> anyhow::Result<Exit> {
    let bucket = match (&args.bucket, config.backend.value) {
        (Some(bucket), _) => bucket.as_str(),
        (None, BackendName::Embedded | BackendName::Server) => DEFAULT_BUCKET,
        (None, BackendName::Aws) => return aws::upload_without_bucket(config),
    };
    let (sources, mut num_failed) = sources(args, bucket)?;
    if sources.is_empty() {
        output::remark("nothing was uploaded");
        return Ok(if num_failed == 0 { Exit::Done } else { Exit::Failed });
    }
    if config.backend.value == BackendName::Aws {
        return aws::upload(args, config, bucket, &sources, num_failed);
    }
    let store = Store::open(config, IfMissing::Create)?;
    let mut uploaded = Vec::new();
    let ended = match &store {
        Store::Here(embedded) => {
            upload(embedded, &sources, &mut uploaded, &mut num_failed).map_err(Into::into)
        }
        Store::There(remote) => upload_to(remote, &sources, &mut uploaded, &mut num_failed),
    };
    let plural = if uploaded.len() == 1 { "" } else { "s" };
    let bytes: u64 = uploaded.iter().map(|uploaded| uploaded.bytes).sum();
    output::remark(format!("uploaded {} document{plural}, {bytes} bytes, to {}", uploaded.len(), bucket));
    let mut num_done = uploaded.len();
    if let Err(error) = ended {
        let missing = sources.len() - uploaded.len();
        if uploaded.is_empty() {
            return Err(error);
        }
        output::remark(format!("error: {missing} documents were not uploaded: {error:#}"));
        return Ok(Exit::Partly);
    }
    if args.wait {
        let num_lost = wait(&store, &uploaded, args.timeout)?;
        num_failed += num_lost;
        num_done -= num_lost;
    }
    Ok(exit(num_done, num_failed))
}

/// How a command ends of whose documents so many are done and so many failed.
pub(crate) fn exit(num_done: usize, num_failed: usize) -> Exit {
    match (num_done, num_failed) {
        (_, 0) => Exit::Done,
        (0, _) => Exit::Failed,
        _ => Exit::Partly,
    }
}

/// What `--wait` prints.
pub(crate) fn waited_for() -> Listing<6> {
    Listing::new("uploaded", ["bucket", "key", "status", "words", "distinct", "reason"])
}

/// Where documents go.
enum Store {
    Here(Box<Embedded>),
    There(Remote),
}

impl Store {
    fn open(config: &Config, if_missing: IfMissing) -> anyhow::Result<Self> {
        if config.backend.value == BackendName::Server {
            return Remote::open(config).map(Self::There);
        }
        if if_missing == IfMissing::Create {
            data_directory::refuse_foreign(config)?;
        }
        Ok(Self::Here(Box::new(data_directory::open(config, if_missing)?)))
    }

    fn delete(&self, id: &DocumentId) -> anyhow::Result<bool> {
        match self {
            Self::Here(embedded) => Ok(embedded.bucket.delete(id)?),
            Self::There(remote) => remote.delete(id),
        }
    }

    fn state(&self, id: &DocumentId, sequence: Sequence) -> anyhow::Result<DocumentState> {
        match self {
            Self::Here(embedded) => Ok(embedded.state(id, sequence)?),
            Self::There(remote) => remote.state(id, sequence),
        }
    }
}

/// A document that was accepted.
struct Uploaded {
    id: DocumentId,
    sequence: Sequence,
    bytes: u64,
}

/// Puts every source, batch by batch. An error is the store's; `uploaded` tells what it had taken before.
fn upload(
    embedded: &Embedded,
    sources: &BTreeMap<DocumentId, PathBuf>,
    uploaded: &mut Vec<Uploaded>,
    num_failed: &mut usize,
) -> Result<(), BackendError> {
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    for (id, path) in sources {
        match stage(embedded, path) {
            Ok(staged) => {
                batch_bytes += staged.bytes();
                batch.push(StagedPut { id: id.clone(), staged, watched: None });
            }
            Err(NotStaged::Document(reason)) => {
                output::remark(format!("error: {}: {reason}", path.display()));
                *num_failed += 1;
            }
            Err(NotStaged::Store(error)) => return Err(error),
        }
        if batch.len() >= BATCH_DOCUMENTS || batch_bytes >= BATCH_BYTES {
            put(embedded, &mut batch, uploaded)?;
            batch_bytes = 0;
        }
    }
    put(embedded, &mut batch, uploaded)
}

/// What came of one source on its way to a server.
enum Sent {
    Put(Uploaded),
    Failed(String),
}

/// Puts every source, several at a time, as each waits for the server's disk. An error is the server's; `uploaded` tells what
/// it had taken before.
fn upload_to(
    remote: &Remote,
    sources: &BTreeMap<DocumentId, PathBuf>,
    uploaded: &mut Vec<Uploaded>,
    num_failed: &mut usize,
) -> anyhow::Result<()> {
    let left = Mutex::new(sources.iter());
    let broken = Mutex::new(None);
    let sent = Mutex::new(BTreeMap::new());
    let send = || {
        loop {
            let is_broken = broken.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let (false, Some((id, path))) = (is_broken, next) else { return };
            let put = File::open(path).map_err(Into::into).and_then(|file| remote.put(id, file));
            let came = match put {
                Ok((sequence, bytes)) => Sent::Put(Uploaded { id: id.clone(), sequence, bytes }),
                Err(error) if error.is::<std::io::Error>() || Remote::is_about_one(&error) => {
                    Sent::Failed(format!("error: {}: {error:#}", path.display()))
                }
                Err(error) => {
                    broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return;
                }
            };
            sent.lock().unwrap_or_else(PoisonError::into_inner).insert(id, came);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..PUTS_AT_ONCE.min(sources.len()) {
            scope.spawn(send);
        }
    });
    for came in sent.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
        match came {
            Sent::Put(put) => uploaded.push(put),
            Sent::Failed(remark) => {
                output::remark(remark);
                *num_failed += 1;
            }
        }
    }
    broken.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Deletes documents by name.
pub fn delete(args: &DeleteArgs, config: &Config) -> anyhow::Result<Exit> {
    let ids = args
        .documents
        .iter()
        .map(|name| DocumentId::parse(name).map_err(|error| UsageError(error.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    if config.backend.value == BackendName::Aws {
        return aws::delete(config, &ids);
    }
    let store = Store::open(config, IfMissing::Refuse)?;
    let mut missing = 0;
    for id in &ids {
        if store.delete(id)? {
            output::remark(format!("deleted {id}"));
        } else {
            output::remark(format!("error: there is no document {id}"));
            missing += 1;
        }
    }
    Ok(exit(ids.len() - missing, missing))
}

/// What to upload under which name: a file by its own name, a directory's files by their paths below it.
fn sources(args: &UploadArgs, bucket: &str) -> anyhow::Result<(BTreeMap<DocumentId, PathBuf>, usize)> {
    // A bad bucket is wrong usage even if there is nothing to put into it.
    DocumentId::new(bucket, "-").map_err(|error| UsageError(error.to_string()))?;
    let mut sources = BTreeMap::new();
    let mut num_failed = 0;
    let mut fail = |path: &Path, reason: String| {
        output::remark(format!("error: {}: {reason}", path.display()));
        num_failed += 1;
    };
    let mut add = |path: PathBuf, name: &Path, fail: &mut dyn FnMut(&Path, String)| -> anyhow::Result<()> {
        let Some(name) = name.to_str() else {
            fail(&path, "its name is not UTF-8, which a key must be: rename it".into());
            return Ok(());
        };
        let id = DocumentId::new(bucket, format!("{}{name}", args.prefix))
            .map_err(|error| UsageError(error.to_string()))?;
        if let Some(other) = sources.insert(id.clone(), path.clone()) {
            let (other, path) = (other.display(), path.display());
            return Err(UsageError(format!(
                "{other} and {path} would both become {id}: upload them apart, each with its own --prefix"
            ))
            .into());
        }
        Ok(())
    };
    for path in &args.paths {
        match std::fs::metadata(path) {
            Err(error) => fail(path, error.to_string()),
            Ok(metadata) if metadata.is_dir() => {
                for entry in walkdir::WalkDir::new(path).min_depth(1).sort_by_file_name() {
                    match entry {
                        Ok(entry) if entry.file_type().is_file() => {
                            let name =
                                entry.path().strip_prefix(path).context("a file outside its directory")?;
                            add(entry.path().to_owned(), name, &mut fail)?;
                        }
                        Ok(entry) if entry.file_type().is_dir() => {}
                        Ok(entry) if entry.file_type().is_symlink() => output::remark(format!(
                            "note: {}: a symbolic link, not followed; name it to upload what it points at",
                            entry.path().display()
                        )),
                        Ok(entry) => fail(entry.path(), "it is not a regular file".into()),
                        Err(error) => {
                            let path = error.path().unwrap_or(path).to_owned();
                            fail(&path, error.to_string());
                        }
                    }
                }
            }
            Ok(metadata) if !metadata.is_file() => fail(path, "it is not a regular file".into()),
            Ok(_) => match path.file_name() {
                Some(name) => add(path.clone(), Path::new(name), &mut fail)?,
                None => fail(path, "it has no name".into()),
            },
        }
    }
    Ok((sources, num_failed))
}

/// Whose fault it is: one document's, or the store's and so every document's.
enum NotStaged {
    Document(String),
    Store(BackendError),
}

fn stage(embedded: &Embedded, path: &Path) -> Result<Staged, NotStaged> {
    let mut file = File::open(path).map_err(|error| NotStaged::Document(error.to_string()))?;
    embedded.bucket.stage(&mut file).map_err(|error| match error.kind() {
        ErrorKind::Invalid => NotStaged::Document(error.to_string()),
        _ => NotStaged::Store(error),
    })
}

fn put(
    embedded: &Embedded,
    batch: &mut Vec<StagedPut>,
    uploaded: &mut Vec<Uploaded>,
) -> Result<(), BackendError> {
    let names: Vec<_> = batch.iter().map(|put| (put.id.clone(), put.staged.bytes())).collect();
    let sequences = embedded.bucket.put(std::mem::take(batch))?;
    uploaded.extend(names.into_iter().zip(sequences).map(|((id, bytes), sequence)| Uploaded {
        id,
        sequence,
        bytes,
    }));
    Ok(())
}

/// Waits for each document in turn, prints what became of it; the number of failures.
fn wait(store: &Store, uploaded: &[Uploaded], timeout: Option<Duration>) -> anyhow::Result<usize> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    // A sign from before the look is heard after it.
    let mut pause: Box<dyn FnMut(Duration)> = match store {
        Store::Here(embedded) => {
            if !Lock::is_taken(&embedded.directory().join(super::up::LOCK_FILE))? {
                output::remark(
                    "no `wordfreq up` runs on this data directory; waiting for one, or for a `wordfreq worker`",
                );
            }
            let mut seen = embedded.settled_so_far();
            Box::new(move |most| seen = embedded.wait_settled(seen, most))
        }
        Store::There(remote) => {
            let happenings = remote.listen();
            Box::new(move |most| happenings.wait(most))
        }
    };
    let mut listing = waited_for();
    let mut num_failed = 0;
    for Uploaded { id, sequence, .. } in uploaded {
        let state = loop {
            match store.state(id, *sequence)? {
                DocumentState::Waiting if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                    pause(left.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
                }
                settled => break settled,
            }
        };
        let name = [id.bucket().into(), id.key().into()];
        let [bucket, key]: [Cell; 2] = name;
        listing.push(match state {
            DocumentState::Counted(result) => {
                [bucket, key, "counted".into(), result.words.into(), result.distinct.into(), Cell::Missing]
            }
            DocumentState::Superseded => [
                bucket,
                key,
                "superseded".into(),
                Cell::Missing,
                Cell::Missing,
                "a newer version exists".into(),
            ],
            DocumentState::Kept => [
                bucket,
                key,
                "kept".into(),
                Cell::Missing,
                Cell::Missing,
                "its bucket keeps documents and does not have them counted (setting buckets.keep)".into(),
            ],
            DocumentState::Failed(reason) => {
                num_failed += 1;
                [bucket, key, "failed".into(), Cell::Missing, Cell::Missing, reason.into()]
            }
            DocumentState::Waiting => {
                num_failed += 1;
                [bucket, key, "waiting".into(), Cell::Missing, Cell::Missing, NOT_YET.into()]
            }
        });
    }
    output::to_stdout(|out| output::write_listing(out, &listing, Style::default()))?;
    Ok(num_failed)
}
