//! Watched directories: every file below them is a document, kept in step with the file system. Events are only
//! hints where to look; what is done follows from comparing the file with what is remembered of it, so a lost,
//! doubled or late event does no harm, and a restart takes in only what changed.
//!
//! A half-written file is not taken in: a file somebody writes to waits until its writer closes it, and one that was
//! not seen being written must have rested for a moment and must not change while it is read.
//!
//! Symbolic links below a watched directory are not followed, and what a data directory holds is nobody's document. Not here: what becomes of a document.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::document::DocumentId;
use crate::embedded::{Bucket, DATABASE_FILE, StagedPut, Stamp, WatchedFile};
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::time::Timestamp;

/// How long a file must have rested that was not seen being written and closed.
const SETTLE: Duration = Duration::from_secs(1);

/// A new file that is neither written to nor closed may have been a hard link when it came, which makes no further
/// event.
const SILENT_AFTER: Duration = Duration::from_secs(60);

/// A writer this silent may have changed the file without opening it (`truncate(2)`), and will never close it.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);

/// A file system's clock may be this coarse: a file taken in so soon after its last change is looked at again after a
/// restart.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// The most files, and about the most bytes, of one transaction.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: u64 = 32 * 1024 * 1024;

/// The most paths to look at between two looks for new events.
const LOOKS_AT_ONCE: usize = 1024;

/// How long to rest when the store cannot take a document.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What a watch has done so far, for those who wait for it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Whether everything seen so far was taken in or has failed.
    pub idle: bool,
    /// Versions put.
    pub taken: u64,
    /// Documents deleted.
    pub deleted: u64,
    /// Files that cannot be taken in as they are, and why.
    pub failures: BTreeMap<PathBuf, String>,
}

/// A running watch. Dropping it stops it.
pub struct Watch {
    progress: Arc<Mutex<Progress>>,
    _watcher: RecommendedWatcher,
    stop: Option<mpsc::Sender<Signal>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

enum Signal {
    Event(notify::Result<notify::Event>),
    Stop,
}

impl Watch {
    /// Starts to take files below `directories` into `bucket_name`. `changed` is called, from the watch's thread,
    /// whenever the progress changes.
    ///
    /// # Errors
    /// `Invalid` if a directory is missing, is not a directory, or lies within another one or around `data_directory`.
    pub fn start(
        bucket: Bucket,
        bucket_name: &str,
        directories: &[PathBuf],
        data_directory: &Path,
        changed: impl Fn() + Send + 'static,
    ) -> Result<Self, BackendError> {
        let roots = roots(directories, data_directory)?;
        let (stop, signals) = mpsc::channel();
        let events = stop.clone();
        let failed =
            |error: notify::Error| BackendError::new(ErrorKind::Other, format!("cannot watch: {error}"));
        let mut watcher = notify::recommended_watcher(move |event| {
            // The intake ends only when this watcher is dropped too.
            drop(events.send(Signal::Event(event)));
        })
        .map_err(failed)?;
        // Before the first look, so that nothing falls between.
        for root in &roots {
            watcher.watch(root, RecursiveMode::Recursive).map_err(failed)?;
        }
        let progress = Arc::new(Mutex::new(Progress::default()));
        let mut intake = Intake {
            bucket,
            bucket_name: bucket_name.to_owned(),
            known: roots.iter().map(|_| BTreeMap::new()).collect(),
            roots,
            pending: BTreeMap::new(),
            moved_busy: None,
            keys: HashMap::new(),
            elsewhere: HashMap::new(),
            resting_until: None,
            progress: progress.clone(),
        };
        intake.remember_known()?;
        let thread = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || intake.run(&signals, &changed))
            .map_err(|error| {
                BackendError::new(ErrorKind::Other, format!("cannot start a thread: {error}"))
            })?;
        Ok(Self { progress, _watcher: watcher, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether everything seen so far was taken in or has failed.
    pub fn is_idle(&self) -> bool {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).idle
    }

    /// What it has done so far.
    pub fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already.
            drop(stop.send(Signal::Stop));
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watch ended in a panic");
        }
    }
}

/// The directories as they can be watched, without links. The data directory need not be there yet.
///
/// # Errors
/// Those of [`Watch::start`].
pub fn roots(directories: &[PathBuf], data_directory: &Path) -> Result<Vec<PathBuf>, BackendError> {
    let invalid = |message: String| BackendError::new(ErrorKind::Invalid, message);
    let data_directory =
        without_links(data_directory).map_err(|error| BackendError::io("find", data_directory, error))?;
    let mut roots: Vec<PathBuf> = Vec::new();
    for directory in directories {
        let root = directory
            .canonicalize()
            .map_err(|error| invalid(format!("cannot watch {}: {error}", directory.display())))?;
        if !root.is_dir() {
            return Err(invalid(format!("cannot watch {}: it is not a directory", directory.display())));
        }
        if data_directory.starts_with(&root) || root.starts_with(&data_directory) {
            return Err(invalid(format!(
                "cannot watch {}: the data directory {} lies in it or around it; name another with --data-dir",
                directory.display(),
                data_directory.display()
            )));
        }
        if is_data_directory(&root) {
            return Err(invalid(format!(
                "cannot watch {}: it is a data directory, and not of documents",
                directory.display()
            )));
        }
        if let Some(other) = roots.iter().find(|other| root.starts_with(other) || other.starts_with(&root)) {
            return Err(invalid(format!(
                "cannot watch both {} and {}: one lies in the other; name the outer one only",
                other.display(),
                root.display()
            )));
        }
        roots.push(root);
    }
    Ok(roots)
}

/// A path without links; what is not there yet is taken as it is named.
fn without_links(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(without_links(parent)?.join(name))
        }
        (found, ..) => found,
    }
}

fn is_data_directory(path: &Path) -> bool {
    path.join(DATABASE_FILE).exists()
}

/// A path below a root, as bytes.
type Place = (usize, Vec<u8>);

#[derive(Clone, Copy)]
struct Pending {
    due: Instant,
    writer: Writer,
}

/// What is known of a pending file's writer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Writes, and has not closed it: wait for that, if need be [`GIVEN_UP_AFTER`] its last write.
    Busy,
    /// Has closed it, or moved it here whole.
    Done,
    /// Nothing: the file must have rested.
    Unknown,
}

impl Pending {
    fn now(writer: Writer) -> Self {
        Self { due: Instant::now(), writer }
    }

    fn after(pause: Duration) -> Self {
        Self { due: Instant::now() + pause, writer: Writer::Unknown }
    }

    fn busy() -> Self {
        Self { due: Instant::now() + GIVEN_UP_AFTER, writer: Writer::Busy }
    }
}

/// What a look at a pending path led to.
enum Look {
    /// Nothing, or no more, to do.
    Settled,
    /// Look again then.
    Later(Instant),
    /// New bytes, staged.
    Changed(Box<StagedPut>),
    /// It is gone; these documents with it.
    Gone(Vec<WatchedFile>),
    /// A directory: look at what is in it.
    Directory,
    /// It cannot be taken in as it is.
    Failed(String),
}

struct Intake {
    bucket: Bucket,
    bucket_name: String,
    roots: Vec<PathBuf>,
    /// What was taken in, by root and path below it.
    known: Vec<BTreeMap<Vec<u8>, WatchedFile>>,
    /// Whose file a key is, so that two roots cannot fight over one.
    keys: HashMap<String, Place>,
    /// The files behind keys that came from directories watched in earlier runs and not in this one.
    elsewhere: HashMap<String, PathBuf>,
    pending: BTreeMap<Place, Pending>,
    /// The cookie of a move whose file was being written to, between its two halves.
    moved_busy: Option<usize>,
    /// The store failed; nothing is taken in before this.
    resting_until: Option<Instant>,
    progress: Arc<Mutex<Progress>>,
}

impl Intake {
    fn remember_known(&mut self) -> Result<(), BackendError> {
        for file in self.bucket.watched()? {
            let key = file.id.key().to_owned();
            match self.root_of(&file) {
                Some(root) => {
                    self.keys.insert(key, (root, file.path.clone()));
                    self.known[root].insert(file.path.clone(), file);
                }
                None => {
                    self.elsewhere.insert(key, as_path(&file.root).join(as_path(&file.path)));
                }
            }
        }
        Ok(())
    }

    fn root_of(&self, file: &WatchedFile) -> Option<usize> {
        self.roots.iter().position(|root| root.as_os_str().as_bytes() == file.root)
    }

    fn run(&mut self, signals: &mpsc::Receiver<Signal>, changed: &dyn Fn()) {
        self.look_everywhere();
        loop {
            let work_left = self.take_in_what_is_due();
            self.progress.lock().unwrap_or_else(PoisonError::into_inner).idle = self.pending.is_empty();
            changed();
            let next = if work_left { Some(Instant::now()) } else { self.next_due().max(self.resting_until) };
            let signal = match next {
                Some(due) => signals.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match signal {
                Ok(Signal::Event(event)) => self.hear(event),
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Whatever else has come meanwhile, before the next look.
            while let Ok(signal) = signals.try_recv() {
                match signal {
                    Signal::Event(event) => self.hear(event),
                    Signal::Stop => return,
                }
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }

    fn look_everywhere(&mut self) {
        // What was heard of writers may be out of date.
        for pending in self.pending.values_mut().filter(|pending| pending.writer == Writer::Busy) {
            *pending = Pending::after(SETTLE);
        }
        for root in 0..self.roots.len() {
            let known: Vec<_> = self.known[root].keys().cloned().collect();
            for path in known {
                self.pending.entry((root, path)).or_insert(Pending::now(Writer::Unknown));
            }
            self.pending.insert((root, Vec::new()), Pending::now(Writer::Unknown));
        }
    }

    fn hear(&mut self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            Ok(_) => return self.look_everywhere(),
            Err(error) => {
                tracing::warn!(%error, "watching failed, looking everywhere");
                return self.look_everywhere();
            }
        };
        // Only Linux tells when a writer closes; elsewhere a file must rest.
        let closes = cfg!(target_os = "linux");
        for path in &event.paths {
            let Some(place) = self.place(path) else { continue };
            let busy = self.pending.get(&place).is_some_and(|pending| pending.writer == Writer::Busy);
            let pending = match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => Pending::now(Writer::Done),
                EventKind::Access(_) => continue,
                EventKind::Create(CreateKind::Folder) => {
                    self.walk(&place);
                    // Again when files that came before it was watched have settled.
                    Pending::after(SETTLE)
                }
                EventKind::Create(_) if closes => created(path),
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) if closes => Pending::busy(),
                EventKind::Modify(ModifyKind::Metadata(_)) if busy => continue,
                EventKind::Modify(ModifyKind::Metadata(_)) => Pending::now(Writer::Unknown),
                EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                    self.moved_busy = event.tracker().filter(|_| busy);
                    Pending::now(Writer::Done)
                }
                EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                    let still_busy = self.moved_busy.is_some() && self.moved_busy == event.tracker();
                    if still_busy { Pending::busy() } else { Pending::now(Writer::Done) }
                }
                // Both halves were heard already.
                EventKind::Modify(ModifyKind::Name(RenameMode::Both)) if closes => continue,
                EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => {
                    Pending::now(Writer::Unknown)
                }
                _ => Pending::after(SETTLE),
            };
            self.pending.insert(place, pending);
        }
    }

    fn place(&self, path: &Path) -> Option<Place> {
        self.roots.iter().enumerate().find_map(|(root, directory)| {
            let below = path.strip_prefix(directory).ok()?;
            Some((root, below.as_os_str().as_bytes().to_owned()))
        })
    }

    fn path_of(&self, (root, below): &Place) -> PathBuf {
        if below.is_empty() { self.roots[*root].clone() } else { self.roots[*root].join(as_path(below)) }
    }

    /// Makes everything below a directory pending.
    fn walk(&mut self, place: &Place) {
        let directory = self.path_of(place);
        let mut entries = walkdir::WalkDir::new(&directory).follow_links(false).min_depth(1).into_iter();
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() && is_data_directory(entry.path()) => {
                    tracing::warn!(path = %entry.path().display(), "a data directory is not taken in");
                    entries.skip_current_dir();
                }
                Ok(entry) if entry.file_type().is_dir() || entry.file_type().is_symlink() => {}
                Ok(entry) => {
                    if let Some(place) = self.place(entry.path()) {
                        self.pending.entry(place).or_insert(Pending::now(Writer::Unknown));
                    }
                }
                // Gone again before it was looked at: its removal has an event of its own.
                Err(error)
                    if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(&directory).to_owned();
                    self.failed(path, error.to_string());
                }
            }
        }
    }

    /// Looks at due paths and puts what changed, one batch; tells whether more is due.
    fn take_in_what_is_due(&mut self) -> bool {
        let now = Instant::now();
        if self.resting_until.is_some_and(|until| now < until) {
            return false;
        }
        self.resting_until = None;
        let due: Vec<(Place, Writer)> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.due <= now)
            .map(|(place, pending)| (place.clone(), pending.writer))
            .take(LOOKS_AT_ONCE)
            .collect();
        let (mut puts, mut gone) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut looked = 0;
        for (place, writer) in &due {
            if puts.len() >= BATCH_FILES || bytes >= BATCH_BYTES || gone.len() >= BATCH_FILES {
                break;
            }
            looked += 1;
            let path = self.path_of(place);
            match self.look(place, &path, *writer) {
                Ok(look) => {
                    if matches!(look, Look::Settled | Look::Gone(_) | Look::Failed(_)) {
                        self.give_up_claim(place);
                    }
                    if !matches!(look, Look::Failed(_)) {
                        self.progress.lock().unwrap_or_else(PoisonError::into_inner).failures.remove(&path);
                    }
                    match look {
                        Look::Settled => {
                            self.pending.remove(place);
                        }
                        Look::Later(due) => {
                            self.pending.insert(place.clone(), Pending { due, writer: Writer::Unknown });
                        }
                        Look::Changed(put) => {
                            bytes += put.staged.bytes();
                            self.keys.insert(put.id.key().to_owned(), place.clone());
                            puts.push((place.clone(), put));
                        }
                        Look::Gone(files) => {
                            self.pending.remove(place);
                            gone.extend(files);
                        }
                        Look::Directory => {
                            self.pending.remove(place);
                            self.walk(place);
                        }
                        Look::Failed(reason) => {
                            self.pending.remove(place);
                            self.failed(path, reason);
                        }
                    }
                }
                Err(error) => {
                    self.rest(&error);
                    break;
                }
            }
        }
        if !gone.is_empty() {
            self.delete(gone);
        }
        if !puts.is_empty() {
            self.put(puts);
        }
        self.resting_until.is_none()
            && (looked < due.len() || self.next_due().is_some_and(|due| due <= Instant::now()))
    }

    /// A file that was staged once but never taken in no longer holds its key.
    fn give_up_claim(&mut self, place: &Place) {
        if let Some(key) = key(&place.1)
            && !self.known[place.0].contains_key(&place.1)
            && self.keys.get(&key) == Some(place)
        {
            self.keys.remove(&key);
        }
    }

    fn failed(&self, path: PathBuf, reason: String) {
        tracing::error!(path = %path.display(), reason, "cannot take in");
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).failures.insert(path, reason);
    }

    /// The store failed, not a file: what is pending stays so.
    fn rest(&mut self, error: &BackendError) {
        tracing::warn!(pending = self.pending.len(), %error, "cannot take in now, trying again");
        self.resting_until = Some(Instant::now() + REST_AFTER_FAILURE);
    }

    fn put(&mut self, puts: Vec<(Place, Box<StagedPut>)>) {
        failpoint::hit("watch.before_put");
        let (places, puts): (Vec<_>, Vec<_>) = puts.into_iter().map(|(place, put)| (place, *put)).unzip();
        let remembered: Vec<_> = puts.iter().filter_map(|put| put.watched.clone()).collect();
        match self.bucket.put(puts) {
            Ok(sequences) => {
                failpoint::hit("watch.after_put");
                for ((place, file), sequence) in places.into_iter().zip(remembered).zip(&sequences) {
                    tracing::info!(document = %file.id, sequence = sequence.0, bytes = file.stamp.bytes, "taken in");
                    self.pending.remove(&place);
                    self.known[place.0].insert(place.1, file);
                }
                self.progress.lock().unwrap_or_else(PoisonError::into_inner).taken += sequences.len() as u64;
            }
            Err(error) => self.rest(&error),
        }
    }

    fn delete(&mut self, gone: Vec<WatchedFile>) {
        failpoint::hit("watch.before_delete");
        match self.bucket.delete_watched(&gone) {
            Ok(()) => {
                failpoint::hit("watch.after_delete");
                self.progress.lock().unwrap_or_else(PoisonError::into_inner).deleted += gone.len() as u64;
                for file in gone {
                    tracing::info!(document = %file.id, "deleted with its file");
                    if let Some(root) = self.root_of(&file) {
                        self.known[root].remove(&file.path);
                    }
                    self.keys.remove(file.id.key());
                    // A file of the same name below another root may have waited for this.
                    for root in 0..self.roots.len() {
                        self.pending
                            .entry((root, file.path.clone()))
                            .or_insert(Pending::now(Writer::Unknown));
                    }
                }
            }
            Err(error) => {
                for file in gone {
                    if let Some(root) = self.root_of(&file) {
                        self.pending.insert((root, file.path), Pending::now(Writer::Unknown));
                    }
                }
                self.rest(&error);
            }
        }
    }

    /// Compares a path with what is remembered of it. An error is the store's, not the file's.
    fn look(&self, place: &Place, path: &Path, writer: Writer) -> Result<Look, BackendError> {
        let (root, below) = place;
        let known = self.known[*root].get(below);
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(self.gone(place));
            }
            Err(error) => return Ok(Look::Failed(error.to_string())),
        };
        if metadata.is_dir() {
            return Ok(Look::Directory);
        }
        if metadata.is_symlink() {
            return Ok(Look::Settled);
        }
        if !metadata.is_file() {
            return Ok(Look::Failed("it is not a regular file".into()));
        }
        // One that began below a watched directory, or whose files were heard of before it was walked.
        let inside = path.ancestors().skip(1).take_while(|directory| **directory != *self.roots[*root]);
        if known.is_none() && inside.into_iter().any(is_data_directory) {
            return Ok(Look::Settled);
        }
        if let Some(known) = known {
            let changed = Timestamp(known.stamp.modified_ns.max(known.stamp.changed_ns) / 1_000_000);
            if known.taken_at.since(changed) > COARSEST_CLOCK && known.stamp == Stamp::from(&metadata) {
                return Ok(Look::Settled);
            }
        }
        if writer != Writer::Done
            && let Ok(age) =
                metadata.modified().and_then(|modified| modified.elapsed().map_err(io::Error::other))
            && age < SETTLE
        {
            return Ok(Look::Later(Instant::now() + (SETTLE - age)));
        }
        let Some(key) = key(below) else {
            return Ok(Look::Failed("its name is not UTF-8: rename it".into()));
        };
        let id = match DocumentId::new(self.bucket_name.as_str(), key.as_str()) {
            Ok(id) => id,
            Err(error) => return Ok(Look::Failed(error.to_string())),
        };
        let owner = match self.keys.get(&key) {
            Some(owner) => (owner != place).then(|| self.path_of(owner)),
            // A file that has moved here with its whole directory is no rival.
            None => self.elsewhere.get(&key).filter(|path| path.exists()).cloned(),
        };
        if let Some(owner) = owner {
            return Ok(Look::Failed(format!(
                "its key {key:?} belongs to {}: watch a directory above both, so that their keys differ",
                owner.display()
            )));
        }
        self.stage(place, path, id, known)
    }

    fn stage(
        &self,
        (root, below): &Place,
        path: &Path,
        id: DocumentId,
        known: Option<&WatchedFile>,
    ) -> Result<Look, BackendError> {
        let later = Ok(Look::Later(Instant::now() + SETTLE));
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.gone(&(*root, below.clone())));
            }
            Err(error) => return Ok(Look::Failed(format!("it cannot be read: {error}"))),
        };
        let read_metadata = |file: &File| file.metadata().map_err(|error| error.to_string());
        let before = match read_metadata(&file) {
            Ok(metadata) => metadata,
            Err(reason) => return Ok(Look::Failed(reason)),
        };
        let taken_at = Timestamp::now();
        let staged = match self.bucket.stage(&mut file) {
            Ok(staged) => staged,
            Err(error) if error.kind() == ErrorKind::Invalid => return Ok(Look::Failed(error.to_string())),
            Err(error) => return Err(error),
        };
        let after = match read_metadata(&file) {
            Ok(metadata) => metadata,
            Err(reason) => return Ok(Look::Failed(reason)),
        };
        if staged.bytes() != after.len() || Stamp::from(&before) != Stamp::from(&after) {
            return later;
        }
        let watched = WatchedFile {
            root: self.roots[*root].as_os_str().as_bytes().to_owned(),
            path: below.clone(),
            id: id.clone(),
            stamp: Stamp::from(&after),
            taken_at,
            digest: *staged.digest(),
        };
        if known.is_some_and(|known| known.digest == watched.digest) {
            self.bucket.remember_watched(&watched)?;
            return Ok(Look::Settled);
        }
        Ok(Look::Changed(Box::new(StagedPut { id, staged, watched: Some(watched) })))
    }

    fn gone(&self, (root, below): &Place) -> Look {
        // A directory that vanishes as a whole is more likely unmounted than meant.
        if !self.roots[*root].is_dir() {
            return Look::Failed("the watched directory itself is gone; its documents stay".into());
        }
        let mut prefix = below.clone();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        let known = &self.known[*root];
        let files: Vec<_> = known
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(below))
            .filter(|(path, _)| *path == below || path.starts_with(&prefix))
            .map(|(_, file)| file.clone())
            .collect();
        if files.is_empty() { Look::Settled } else { Look::Gone(files) }
    }
}

/// A new file is somebody's to write and close, unless it is a link to a whole one or no file at all.
fn created(path: &Path) -> Pending {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.nlink() == 1 => Pending::after(SILENT_AFTER),
        _ => Pending::now(Writer::Unknown),
    }
}

/// The key of a file: its path below the watched directory, `/` between the parts on every system.
fn key(below: &[u8]) -> Option<String> {
    String::from_utf8(below.to_owned()).ok()
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
