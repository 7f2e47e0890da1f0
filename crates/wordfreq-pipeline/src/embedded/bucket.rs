//! The bucket: documents' bytes as immutable files named by digest, and the row that gives a key its newest version.
//! A put is durable, then visible, and its event is enqueued by the very transaction that makes it visible.
//!
//! Not here: reading directories (`watch`), and anything that turns a key into a path.

use std::fs::{self, File};
use std::io::{self, ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{OptionalExtension, Transaction, params};

use super::bell::Bell;
use super::buckets;
use super::database::Database;
use super::group::Group;
use super::objects::{Answer, Refused};
use super::queue::{enqueue_event, forget_dead_letters};
use super::readers::Readers;
use super::sync_directory;
use crate::document::{DocumentEvent, DocumentId, EventKind, Provenance, Sequence};
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::object::{Content, Object, Opened};
use crate::time::Timestamp;

/// Small enough for the allocator to keep, so that a small document does not pay for fresh pages.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// What is larger is synced by whoever staged it, and not by the commit that others wait for.
const SYNCED_ALONE_BYTES: u64 = 1024 * 1024;

/// How many files to sync at once.
const SYNCS_AT_ONCE: usize = 4;

/// The objects of a data directory.
#[derive(Clone, Debug)]
pub struct Bucket {
    objects: PathBuf,
    incoming: PathBuf,
    pub(super) database: Arc<Database>,
    pub(super) group: Arc<Group>,
    pub(super) readers: Arc<Readers>,
    sent: Arc<Bell>,
}

/// Bytes that are still arriving, written as they come. Dropping it takes them back.
#[derive(Debug)]
pub struct Staging {
    staged: Staged,
    hasher: blake3::Hasher,
}

impl Staging {
    /// Adds the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        self.hasher.update(bytes);
        self.staged.file.write_all(bytes).map_err(|error| self.staged.cannot_write(error))?;
        self.staged.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Says that these were all. If they are many this waits until they are on the disk, so that those whose changes are
    /// committed together with this one's need not.
    pub fn finish(self) -> Result<Staged, BackendError> {
        let mut staged = self.end();
        if staged.bytes > SYNCED_ALONE_BYTES {
            staged.sync().map_err(|error| staged.cannot_write(error))?;
        }
        Ok(staged)
    }

    fn end(mut self) -> Staged {
        self.staged.digest = self.hasher.finalize();
        self.staged
    }
}

/// Bytes on their way in: written, not yet visible. Dropping it takes them back.
#[derive(Debug)]
pub struct Staged {
    file: File,
    path: Option<PathBuf>,
    digest: blake3::Hash,
    bytes: u64,
    is_synced: bool,
}

impl Staged {
    /// How many bytes were staged.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their BLAKE3 digest.
    pub fn digest(&self) -> &[u8; 32] {
        self.digest.as_bytes()
    }

    /// Has the bytes on the disk, under whatever name.
    fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            failpoint::io("bucket.sync_object")?;
            self.file.sync_all()?;
            self.is_synced = true;
        }
        Ok(())
    }

    fn cannot_write(&self, error: io::Error) -> BackendError {
        BackendError::io("write", self.path.as_deref().unwrap_or(Path::new("incoming")), error)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
        {
            tracing::debug!(%error, path = %path.display(), "staged bytes are left to the sweep");
        }
    }
}

/// Staged bytes and the key they are for.
#[derive(Debug)]
pub struct StagedPut {
    /// The key.
    pub id: DocumentId,
    /// The bytes.
    pub staged: Staged,
    /// The file of a watched directory they came from, remembered in the same transaction.
    pub watched: Option<WatchedFile>,
}

/// What the file system says of a file. Of the two times only that of the last change of status (ctime) cannot be set
/// at will, and a file that takes another's place has another inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Size.
    pub bytes: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Time of the last change of status, nanoseconds since 1970.
    pub changed_ns: i64,
    /// Inode number.
    pub inode: u64,
}

impl From<&fs::Metadata> for Stamp {
    fn from(metadata: &fs::Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            bytes: metadata.len(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// What is remembered of a file that was taken in from a watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedFile {
    /// The watched directory, as bytes of its absolute path.
    pub root: Vec<u8>,
    /// The file below it, as bytes.
    pub path: Vec<u8>,
    /// The document it became.
    pub id: DocumentId,
    /// What the file system said of it when it was read.
    pub stamp: Stamp,
    /// When it was read.
    pub taken_at: Timestamp,
    /// The digest of what was read.
    pub digest: [u8; 32],
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects that no document refers to.
    pub objects: u64,
    /// Bytes on their way in whose process is gone.
    pub incoming: u64,
}

impl Bucket {
    pub(super) fn new(directory: &Path, database: Arc<Database>, sent: Arc<Bell>) -> Self {
        Self {
            objects: directory.join("objects"),
            incoming: directory.join("incoming"),
            database,
            group: Arc::default(),
            readers: Arc::new(Readers::new(directory)),
            sent,
        }
    }

    /// The same, without a way to the thread that commits: for that thread, which would never end otherwise.
    pub(super) fn without_group(&self) -> Self {
        Self { group: Arc::default(), ..self.clone() }
    }

    /// Begins to take in bytes that arrive bit by bit.
    pub fn begin_staging(&self) -> Result<Staging, BackendError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (file, path) = loop {
            let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = self.incoming.join(name);
            let context = |error| BackendError::io("write", &path, error);
            failpoint::io("bucket.stage").map_err(context)?;
            // Our number may be another process's too: a dead one's, or one's in another process namespace.
            let file = match File::options().read(true).write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == Io::AlreadyExists => continue,
                file => file.map_err(context)?,
            };
            // Holding the lock tells the sweep that these bytes have an owner, until they are recorded.
            file.lock().map_err(context)?;
            // A sweep may have taken the file for an orphan before it was locked.
            if file.metadata().map_err(context)?.nlink() > 0 {
                break (file, path);
            }
        };
        let staged = Staged { file, path: Some(path), digest: blake3::hash(b""), bytes: 0, is_synced: false };
        Ok(Staging { staged, hasher: blake3::Hasher::new() })
    }

    /// Copies `source` to its end beside the objects, in constant memory. It is for [`Bucket::put`], which syncs all that
    /// it is given at once.
    pub fn stage(&self, source: &mut dyn Read) -> Result<Staged, BackendError> {
        let mut staging = self.begin_staging()?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => return Ok(staging.end()),
                Ok(read) => read,
                Err(error) if error.kind() == Io::Interrupted => continue,
                Err(error) => {
                    return Err(BackendError::new(
                        ErrorKind::Invalid,
                        format!("cannot read the document: {error}"),
                    ));
                }
            };
            staging.write(&buffer[..read])?;
        }
    }

    /// Makes staged bytes durable, then visible under their keys, and enqueues an event for each; all of them or
    /// none. Answers each one's sequence.
    pub fn put(&self, puts: Vec<StagedPut>) -> Result<Vec<Sequence>, BackendError> {
        if puts.is_empty() {
            return Ok(Vec::new());
        }
        let mut staged = Vec::with_capacity(puts.len());
        let mut versions = Vec::with_capacity(puts.len());
        for put in puts {
            versions.push((Version::of(&put.staged, put.id), put.watched));
            staged.push(put.staged);
        }
        self.store(&mut staged, |transaction| {
            let now = Timestamp::now();
            versions
                .iter()
                .map(|(version, watched)| {
                    let triggers = buckets::made(transaction, version.id.bucket(), now)?;
                    let sequence = record(transaction, version, triggers, now)?;
                    if let Some(file) = watched {
                        remember(transaction, file)?;
                    }
                    Ok(sequence)
                })
                .collect()
        })
    }

    /// Makes staged bytes durable, then runs `record`, which refers to them, in one transaction; all or nothing.
    pub(super) fn store<T>(
        &self,
        staged: &mut [Staged],
        mut record: impl FnMut(&Transaction<'_>) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        loop {
            if !staged.is_empty() {
                self.sync(staged)?;
                for staged in &mut *staged {
                    self.place(staged)?;
                }
                failpoint::hit("bucket.before_directory_sync");
                sync_directory(&self.objects)?;
            }
            failpoint::hit("bucket.before_record");
            // A sweep between placing and here may have taken an object nobody referred to yet. It deletes under
            // the write lock, so what exists in this transaction exists when it commits.
            let recorded = self.database.write(|transaction| {
                for staged in &*staged {
                    if !self.is_placed(&staged.digest)? {
                        return Ok(None);
                    }
                }
                record(transaction).map(Some)
            })?;
            if let Some(recorded) = recorded {
                failpoint::hit("bucket.after_record");
                self.sent.ring();
                return Ok(recorded);
            }
            for staged in &mut *staged {
                if !self.is_placed(&staged.digest)? {
                    staged.file.seek(SeekFrom::Start(0)).map_err(|error| self.cannot_write(error))?;
                    *staged = self.stage(&mut &staged.file)?;
                }
            }
        }
    }

    fn cannot_write(&self, error: io::Error) -> BackendError {
        BackendError::io("write to", &self.objects, error)
    }

    /// An error where it cannot be told; "no" would have it put again and again.
    fn is_placed(&self, digest: &blake3::Hash) -> Result<bool, BackendError> {
        let path = self.path_of(digest);
        path.try_exists().map_err(|error| BackendError::io("look for", &path, error))
    }

    pub(super) fn path_of(&self, digest: &blake3::Hash) -> PathBuf {
        self.objects.join(digest.to_hex().as_str())
    }

    /// Syncs the staged bytes, several at a time: a disk does more at once than one after the other.
    fn sync(&self, staged: &mut [Staged]) -> Result<(), BackendError> {
        let sync = |staged: &mut [Staged]| staged.iter_mut().try_for_each(Staged::sync);
        let share = staged.len().div_ceil(SYNCS_AT_ONCE).max(1);
        let synced = std::thread::scope(|scope| {
            let (first, others) = staged.split_at_mut(share);
            let others: Vec<_> =
                others.chunks_mut(share).map(|staged| scope.spawn(move || sync(staged))).collect();
            others.into_iter().fold(sync(first), |synced, other| {
                synced.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        });
        synced.map_err(|error| self.cannot_write(error))
    }

    /// Gives synced bytes their final name.
    fn place(&self, staged: &mut Staged) -> Result<(), BackendError> {
        if let Some(path) = &staged.path {
            failpoint::io("bucket.before_rename")
                .and_then(|()| fs::rename(path, self.path_of(&staged.digest)))
                .map_err(|error| self.cannot_write(error))?;
            failpoint::hit("bucket.after_rename");
        }
        staged.path = None;
        Ok(())
    }

    /// Deletes a document and enqueues the event; tells whether there was one. Its bytes go with the next sweep.
    pub fn delete(&self, id: &DocumentId) -> Result<bool, BackendError> {
        let existed = self.database.write(|transaction| delete(transaction, id))?;
        self.sent.ring();
        Ok(existed)
    }

    /// Deletes documents and enqueues their events, all or nothing.
    pub fn delete_all(&self, ids: &[DocumentId]) -> Result<(), BackendError> {
        self.database.write(|transaction| ids.iter().try_for_each(|id| delete(transaction, id).map(drop)))?;
        self.sent.ring();
        Ok(())
    }

    /// Has what a key holds counted anew: it becomes a new version with the same bytes, and a message again. Dead letters
    /// about it are gone with that. Answers the sequence.
    pub fn recount(&self, id: &DocumentId) -> Answer<Sequence> {
        let recounted = self.database.write(|transaction| recount(transaction, id))?;
        self.sent.ring();
        Ok(recounted)
    }

    /// Opens a version for counting.
    ///
    /// # Errors
    /// `Corrupt` if the newest version's bytes are gone or have another size.
    pub fn open(&self, id: &DocumentId, sequence: Sequence) -> Result<Opened, BackendError> {
        loop {
            let row: Option<(Sequence, Option<[u8; 32]>, u64)> = self.database.read(|transaction| {
                Ok(transaction
                    .prepare_cached(
                        "SELECT sequence, digest, bytes FROM documents WHERE bucket = ?1 AND key = ?2",
                    )?
                    .query_row(params![id.bucket(), id.key().as_bytes()], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()?)
            })?;
            let Some((newest, Some(digest), bytes)) = row else {
                return Ok(Opened::Superseded);
            };
            if newest > sequence {
                return Ok(Opened::Superseded);
            }
            let path = self.path_of(&blake3::Hash::from_bytes(digest));
            let damaged = |what: &str| {
                BackendError::new(
                    ErrorKind::Corrupt,
                    format!("the stored bytes of {id} {what}: put the document again"),
                )
            };
            match File::open(&path) {
                Ok(file) => {
                    let found =
                        file.metadata().map_err(|error| BackendError::io("read", &path, error))?.len();
                    if found != bytes {
                        return Err(damaged(&format!("are {found}, not {bytes}, long")));
                    }
                    return Ok(Opened::Current(Object {
                        bytes,
                        provenance: Provenance::default(),
                        content: Content::File { file, digest },
                    }));
                }
                Err(error) if error.kind() == Io::NotFound => {
                    // It may have been replaced, and the old bytes swept, since the row was read.
                    let unchanged = self.database.read(|transaction| {
                        Ok(transaction
                            .prepare_cached(
                                "SELECT 1 FROM documents WHERE bucket = ?1 AND key = ?2 AND digest = ?3",
                            )?
                            .exists(params![id.bucket(), id.key().as_bytes(), digest])?)
                    })?;
                    if unchanged {
                        return Err(damaged("are missing"));
                    }
                }
                Err(error) => return Err(BackendError::io("open", &path, error)),
            }
        }
    }

    /// Whether this version is what its key holds now.
    pub(super) fn is_newest(&self, id: &DocumentId, sequence: Sequence) -> Result<bool, BackendError> {
        self.database.read(|transaction| {
            Ok(transaction
                .prepare_cached(
                    "SELECT 1 FROM documents WHERE bucket = ?1 AND key = ?2 AND sequence = ?3 AND digest IS NOT NULL",
                )?
                .exists(params![id.bucket(), id.key().as_bytes(), sequence])?)
        })
    }

    /// Removes objects that nothing refers to, and bytes on their way in whose process is gone. Safe at any time, by
    /// one process at a time.
    pub fn sweep(&self) -> Result<Swept, BackendError> {
        let mut swept = Swept::default();
        for entry in list(&self.incoming)? {
            // Removed while the lock is held, so that nobody can make the file their own in between.
            match open_if_unowned(&entry)? {
                Some(_locked) => swept.incoming += u64::from(remove(&entry)?),
                None => continue,
            }
        }
        let objects = list(&self.objects)?;
        let candidates = self.database.read(|transaction| {
            let mut candidates = Vec::new();
            for entry in objects {
                if !is_referred_to(transaction, &entry)? {
                    candidates.push(entry);
                }
            }
            Ok(candidates)
        })?;
        for batch in candidates.chunks(64) {
            // Under the write lock, so that no put can come between the look and the removal.
            swept.objects += self.database.write(|transaction| {
                let mut removed = 0;
                for entry in batch {
                    // Whoever is putting it holds the lock from when the bytes were on their way in.
                    let Some(_locked) = open_if_unowned(entry)? else { continue };
                    if !is_referred_to(transaction, entry)? {
                        failpoint::hit("bucket.before_sweep");
                        removed += u64::from(remove(entry)?);
                        failpoint::hit("bucket.after_sweep");
                    }
                }
                Ok(removed)
            })?;
        }
        Ok(swept)
    }

    /// What is remembered of the files of every directory that was ever watched.
    pub fn watched(&self) -> Result<Vec<WatchedFile>, BackendError> {
        self.database.read(|transaction| {
            let mut select = transaction.prepare_cached(
                "SELECT root, path, bucket, key, bytes, modified_ns, changed_ns, inode, taken_at, digest FROM watched",
            )?;
            let mut rows = select.query([])?;
            let mut files = Vec::new();
            while let Some(row) = rows.next()? {
                files.push(WatchedFile {
                    root: row.get(0)?,
                    path: row.get(1)?,
                    id: super::results::document_id(row, 2)?,
                    stamp: Stamp {
                        bytes: row.get(4)?,
                        modified_ns: row.get(5)?,
                        changed_ns: row.get(6)?,
                        // Stored bit for bit: an inode number may use all 64.
                        inode: row.get::<_, i64>(7)? as u64,
                    },
                    taken_at: Timestamp(row.get(8)?),
                    digest: row.get(9)?,
                });
            }
            Ok(files)
        })
    }

    /// Remembers anew a file whose bytes did not change.
    pub fn remember_watched(&self, file: &WatchedFile) -> Result<(), BackendError> {
        self.database.write(|transaction| remember(transaction, file))
    }

    /// Forgets files of a watched directory and deletes their documents, in one transaction.
    pub fn delete_watched(&self, files: &[WatchedFile]) -> Result<(), BackendError> {
        self.database.write(|transaction| {
            for file in files {
                transaction
                    .prepare_cached("DELETE FROM watched WHERE root = ?1 AND path = ?2")?
                    .execute(params![file.root, file.path])?;
                delete(transaction, &file.id)?;
            }
            Ok(())
        })?;
        self.sent.ring();
        Ok(())
    }
}

pub(super) fn next_sequence(transaction: &Transaction<'_>) -> Result<Sequence, BackendError> {
    Ok(transaction
        .prepare_cached("UPDATE settings SET value = value + 1 WHERE name = 'sequence' RETURNING value")?
        .query_row([], |row| row.get(0))?)
}

/// A version of a document that is about to be recorded.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) id: DocumentId,
    pub(super) digest: [u8; 32],
    pub(super) bytes: u64,
    pub(super) etag: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) attributes: Option<String>,
}

impl Version {
    /// One of which no more is known than its bytes.
    pub(super) fn of(staged: &Staged, id: DocumentId) -> Self {
        Self {
            id,
            digest: *staged.digest(),
            bytes: staged.bytes(),
            etag: None,
            content_type: None,
            attributes: None,
        }
    }
}

/// Makes a version its key's newest, and enqueues its event where the bucket triggers.
pub(super) fn record(
    transaction: &Transaction<'_>,
    version: &Version,
    triggers: bool,
    now: Timestamp,
) -> Result<Sequence, BackendError> {
    let sequence = next_sequence(transaction)?;
    transaction
        .prepare_cached(
            "INSERT INTO documents (bucket, key, sequence, digest, bytes, changed_at, etag, content_type, attributes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (bucket, key) DO UPDATE SET sequence = excluded.sequence, digest = excluded.digest,
                 bytes = excluded.bytes, changed_at = excluded.changed_at, etag = excluded.etag,
                 content_type = excluded.content_type, attributes = excluded.attributes",
        )?
        .execute(params![
            version.id.bucket(),
            version.id.key().as_bytes(),
            sequence,
            version.digest,
            version.bytes,
            now.0,
            version.etag,
            version.content_type,
            version.attributes
        ])?;
    if triggers {
        let event = DocumentEvent::new(EventKind::Created, version.id.clone(), sequence, version.bytes);
        enqueue_event(transaction, &event, now)?;
    }
    Ok(sequence)
}

fn remember(transaction: &Transaction<'_>, file: &WatchedFile) -> Result<(), BackendError> {
    transaction
        // A key has one file: one in a directory that was watched before gives way.
        .prepare_cached("INSERT OR REPLACE INTO watched VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            file.root,
            file.path,
            file.id.bucket(),
            file.id.key().as_bytes(),
            file.stamp.bytes,
            file.stamp.modified_ns,
            file.stamp.changed_ns,
            file.stamp.inode as i64,
            file.taken_at.0,
            file.digest
        ])?;
    Ok(())
}

/// Deletes a document and enqueues the event where its bucket triggers; tells whether there was one.
pub(super) fn delete(transaction: &Transaction<'_>, id: &DocumentId) -> Result<bool, BackendError> {
    let now = Timestamp::now();
    let (bucket, key) = (id.bucket(), id.key().as_bytes());
    let exists = transaction
        .prepare_cached("SELECT 1 FROM documents WHERE bucket = ?1 AND key = ?2 AND digest IS NOT NULL")?
        .exists(params![bucket, key])?;
    if exists {
        let sequence = next_sequence(transaction)?;
        transaction
            .prepare_cached(
                "UPDATE documents SET sequence = ?3, digest = NULL, bytes = 0, changed_at = ?4, etag = NULL,
                     content_type = NULL, attributes = NULL
                 WHERE bucket = ?1 AND key = ?2",
            )?
            .execute(params![bucket, key, sequence, now.0])?;
        if buckets::triggers(transaction, bucket)? == Some(true) {
            let event = DocumentEvent::new(EventKind::Removed, id.clone(), sequence, 0);
            enqueue_event(transaction, &event, now)?;
        }
    }
    Ok(exists)
}

fn recount(transaction: &Transaction<'_>, id: &DocumentId) -> Answer<Sequence> {
    let (bucket, key) = (id.bucket(), id.key().as_bytes());
    let bytes: Option<u64> = transaction
        .prepare_cached("SELECT bytes FROM documents WHERE bucket = ?1 AND key = ?2 AND digest IS NOT NULL")?
        .query_row(params![bucket, key], |row| row.get(0))
        .optional()?;
    let Some(bytes) = bytes else { return Ok(Err(Refused::NoSuchKey)) };
    if buckets::triggers(transaction, bucket)? == Some(false) {
        return Ok(Err(Refused::Keeps));
    }
    // A commit of a version that was committed before changes nothing, so it must be another one.
    let sequence = next_sequence(transaction)?;
    transaction
        .prepare_cached("UPDATE documents SET sequence = ?3 WHERE bucket = ?1 AND key = ?2")?
        .execute(params![bucket, key, sequence])?;
    forget_dead_letters(transaction, id, sequence)?;
    enqueue_event(
        transaction,
        &DocumentEvent::new(EventKind::Created, id.clone(), sequence, bytes),
        Timestamp::now(),
    )?;
    Ok(Ok(sequence))
}

fn is_referred_to(transaction: &Transaction<'_>, object: &Path) -> Result<bool, BackendError> {
    let digest =
        object.file_name().and_then(|name| name.to_str()).and_then(|name| blake3::Hash::from_hex(name).ok());
    // A name that is no digest is not ours to remove.
    let Some(digest) = digest else { return Ok(true) };
    Ok(transaction
        .prepare_cached(
            "SELECT 1 FROM documents WHERE digest = ?1 UNION ALL SELECT 1 FROM parts WHERE digest = ?1",
        )?
        .exists([digest.as_bytes()])?)
}

/// Opens and locks a file; `None` if somebody has it locked, or it is gone.
fn open_if_unowned(path: &Path) -> Result<Option<File>, BackendError> {
    match File::open(path) {
        Ok(file) => Ok(file.try_lock().is_ok().then_some(file)),
        Err(error) if error.kind() == Io::NotFound => Ok(None),
        Err(error) => Err(BackendError::io("open", path, error)),
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, BackendError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|error| BackendError::io("list", directory, error))
}

fn remove(path: &Path) -> Result<bool, BackendError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == Io::NotFound => Ok(false),
        Err(error) => Err(BackendError::io("remove", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Embedded, IfMissing, Options};
    use super::*;

    #[test]
    fn much_is_on_the_disk_before_it_is_committed_and_little_with_others() {
        let directory = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
        let staged = |bytes: u64| {
            let mut staging = embedded.bucket.begin_staging().unwrap();
            staging.write(&vec![b'a'; usize::try_from(bytes).unwrap()]).unwrap();
            staging.finish().unwrap()
        };
        let [little, much] = [SYNCED_ALONE_BYTES, SYNCED_ALONE_BYTES + 1].map(staged);
        assert_eq!([little.is_synced, much.is_synced], [false, true]);
        let mut both = [little, much];
        embedded.bucket.store(&mut both, |_| Ok(())).unwrap();
        assert!(both.iter().all(|staged| staged.is_synced));
    }
}
