//! Uploads in parts. Each part is an object of its own, named by digest, that the table of parts refers to; it is durable
//! before its put returns. Completing writes the parts one after the other into the object and, in the transaction
//! that makes it visible, takes the parts away; until then nobody sees anything of it.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::bucket::{BUFFER_BYTES, Bucket, Staged, Version, record};
use super::buckets::triggers;
use super::objects::{
    Answer, Attributes, ListQuery, NewObject, Refused, Step, Walk, may_put, successor, to_json,
};
use super::results::document_id;
use crate::document::DocumentId;
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::time::Timestamp;

/// An upload to begin.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its name, which nobody must be able to guess.
    pub upload: String,
    /// The object it becomes.
    pub id: DocumentId,
    /// The object's content type.
    pub content_type: Option<String>,
    /// What else is to be kept of the object; a checksum without a value says which one its parts have.
    pub attributes: Attributes,
}

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Its name.
    pub upload: String,
    /// The object it becomes.
    pub id: DocumentId,
    /// When it was begun.
    pub started_at: Timestamp,
    /// The object's content type.
    pub content_type: Option<String>,
    /// What else is to be kept of the object.
    pub attributes: Attributes,
    /// The object's tag, if it was completed already.
    pub completed_etag: Option<String>,
}

/// A part to be put.
#[derive(Debug)]
pub struct NewPart {
    /// Its number, from 1.
    pub number: i32,
    /// Its bytes.
    pub staged: Staged,
    /// Their MD5 in hexadecimal.
    pub etag: String,
    /// Their checksum in Base64, by the algorithm of the upload.
    pub checksum: Option<String>,
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: i32,
    /// The BLAKE3 digest of its bytes.
    pub digest: [u8; 32],
    /// Its size.
    pub bytes: u64,
    /// The MD5 of its bytes in hexadecimal.
    pub etag: String,
    /// Its checksum in Base64, by the algorithm of the upload.
    pub checksum: Option<String>,
    /// When it was put.
    pub put_at: Timestamp,
}

/// A page of uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uploads {
    /// In the order of keys, then of names.
    pub uploads: Vec<UploadInfo>,
    /// What the keys of others, which have the delimiter, begin with.
    pub common_prefixes: Vec<String>,
    /// After which key to go on, if there are more, and after which name if not after all of that key.
    pub next: Option<(String, Option<String>)>,
}

const UPLOAD: &str = "id, bucket, key, started_at, content_type, attributes, completed_etag";
const PART: &str = "number, digest, bytes, etag, checksum, put_at";

fn upload_info(row: &Row<'_>) -> Result<UploadInfo, BackendError> {
    let id = document_id(row, 1)?;
    let attributes: Option<String> = row.get(5)?;
    let attributes = attributes
        .map_or(Ok(Attributes::default()), |attributes| serde_json::from_str(&attributes))
        .map_err(|error| {
            BackendError::new(ErrorKind::Corrupt, format!("the stored upload of {id} is damaged: {error}"))
        })?;
    Ok(UploadInfo {
        upload: row.get(0)?,
        started_at: Timestamp(row.get(3)?),
        content_type: row.get(4)?,
        completed_etag: row.get(6)?,
        attributes,
        id,
    })
}

fn part(row: &Row<'_>) -> rusqlite::Result<Part> {
    Ok(Part {
        number: row.get(0)?,
        digest: row.get(1)?,
        bytes: row.get(2)?,
        etag: row.get(3)?,
        checksum: row.get(4)?,
        put_at: Timestamp(row.get(5)?),
    })
}

fn find(transaction: &Transaction<'_>, id: &DocumentId, upload: &str) -> Answer<UploadInfo> {
    if triggers(transaction, id.bucket())?.is_none() {
        return Ok(Err(Refused::NoSuchBucket));
    }
    let mut select = transaction.prepare_cached(&format!(
        "SELECT {UPLOAD} FROM uploads WHERE id = ?1 AND bucket = ?2 AND key = ?3"
    ))?;
    let mut rows = select.query(params![upload, id.bucket(), id.key().as_bytes()])?;
    match rows.next()? {
        Some(row) => upload_info(row).map(Ok),
        None => Ok(Err(Refused::NoSuchUpload)),
    }
}

/// The same, of one that is still under way.
fn find_open(transaction: &Transaction<'_>, id: &DocumentId, upload: &str) -> Answer<UploadInfo> {
    Ok(find(transaction, id, upload)?.and_then(|upload| {
        if upload.completed_etag.is_none() { Ok(upload) } else { Err(Refused::NoSuchUpload) }
    }))
}

fn list(
    transaction: &Transaction<'_>,
    query: &ListQuery,
    after_name: Option<&str>,
) -> Result<Uploads, BackendError> {
    let mut listed = Uploads::default();
    if query.limit == 0 {
        return Ok(listed);
    }
    let mut from = query.prefix.clone().into_bytes();
    let end = successor(&query.prefix);
    let after_key = query.after.as_deref().unwrap_or_default();
    // No name is greater than this.
    let after_name = after_name.unwrap_or("\u{10FFFF}");
    let mut select = transaction.prepare_cached(&format!(
        "SELECT {UPLOAD} FROM uploads INDEXED BY uploads_by_key
         WHERE bucket = ?1 AND key >= ?2 AND key < ?3 AND (key, id) > (?4, ?5) AND completed_etag IS NULL
         ORDER BY key, id"
    ))?;
    let mut walk = Walk::new(query);
    'seek: loop {
        let mut rows = select.query(params![query.bucket, from, end, after_key.as_bytes(), after_name])?;
        while let Some(row) = rows.next()? {
            let upload = upload_info(row)?;
            match walk.step(upload.id.key()) {
                Step::Take => listed.uploads.push(upload),
                Step::PassTo(later) => {
                    from = later;
                    continue 'seek;
                }
                Step::Stop => break 'seek,
            }
        }
        break;
    }
    let (common_prefixes, next) = walk.end();
    listed.common_prefixes = common_prefixes;
    listed.next = next.map(|key| {
        let last = listed.uploads.last().filter(|last| last.id.key() == key);
        let name = last.map(|last| last.upload.clone());
        (key, name)
    });
    Ok(listed)
}

fn find_part(transaction: &Transaction<'_>, upload: &str, number: i32) -> Result<Option<Part>, BackendError> {
    Ok(transaction
        .prepare_cached(&format!("SELECT {PART} FROM parts WHERE upload = ?1 AND number = ?2"))?
        .query_row(params![upload, number], part)
        .optional()?)
}

fn parts(
    transaction: &Transaction<'_>,
    upload: &str,
    after: i32,
    limit: usize,
) -> Result<Vec<Part>, BackendError> {
    Ok(transaction
        .prepare_cached(&format!(
            "SELECT {PART} FROM parts WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3"
        ))?
        .query_map(params![upload, after, i64::try_from(limit).unwrap_or(i64::MAX)], part)?
        .collect::<Result<_, _>>()?)
}

fn forget(transaction: &Transaction<'_>, upload: &str) -> Result<(), BackendError> {
    transaction.prepare_cached("DELETE FROM parts WHERE upload = ?1")?.execute([upload])?;
    transaction.prepare_cached("DELETE FROM uploads WHERE id = ?1")?.execute([upload])?;
    Ok(())
}

impl Bucket {
    /// Begins an upload in parts.
    pub fn create_upload(&self, new: NewUpload, done: impl FnOnce(Answer<()>) + Send + 'static) {
        let record = move |transaction: &Transaction<'_>| {
            if triggers(transaction, new.id.bucket())?.is_none() {
                return Ok(Err(Refused::NoSuchBucket));
            }
            transaction
                .prepare_cached(
                    "INSERT INTO uploads (id, bucket, key, started_at, content_type, attributes)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    new.upload,
                    new.id.bucket(),
                    new.id.key().as_bytes(),
                    Timestamp::now().0,
                    new.content_type,
                    to_json(&new.attributes)
                ])?;
            Ok(Ok(()))
        };
        self.change(None, record, done);
    }

    /// An upload that is under way, or was completed a while ago.
    pub fn upload(&self, id: &DocumentId, upload: &str) -> Answer<UploadInfo> {
        self.readers.read(|transaction| find(transaction, id, upload))
    }

    /// Puts a part, in place of one of the same number.
    pub fn put_part(
        &self,
        id: DocumentId,
        upload: String,
        part: NewPart,
        done: impl FnOnce(Answer<()>) + Send + 'static,
    ) {
        let NewPart { number, staged, etag, checksum } = part;
        let (digest, bytes) = (*staged.digest(), staged.bytes());
        let record = move |transaction: &Transaction<'_>| {
            if let Err(refused) = find_open(transaction, &id, &upload)? {
                return Ok(Err(refused));
            }
            transaction
                .prepare_cached("INSERT OR REPLACE INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params![upload, number, digest, bytes, etag, checksum, Timestamp::now().0])?;
            Ok(Ok(()))
        };
        self.change(Some(staged), record, done);
    }

    /// The parts of an upload after this number, in order.
    pub fn list_parts(&self, id: &DocumentId, upload: &str, after: i32, limit: usize) -> Answer<Vec<Part>> {
        self.readers.read(|transaction| match find_open(transaction, id, upload)? {
            Ok(_open) => parts(transaction, upload, after, limit).map(Ok),
            Err(refused) => Ok(Err(refused)),
        })
    }

    /// An upload that is under way, or was completed a while ago, and at one with it its first parts; one that was completed
    /// has none.
    pub fn upload_with_parts(
        &self,
        id: &DocumentId,
        upload: &str,
        limit: usize,
    ) -> Answer<(UploadInfo, Vec<Part>)> {
        self.readers.read(|transaction| match find(transaction, id, upload)? {
            Ok(found) => Ok(Ok((found, parts(transaction, upload, 0, limit)?))),
            Err(refused) => Ok(Err(refused)),
        })
    }

    /// Uploads under way, in the order of their keys and names. Of those to the key that the query goes on after, it goes on
    /// after this name; without one all of them are passed.
    pub fn list_uploads(&self, query: &ListQuery, after_name: Option<&str>) -> Answer<Uploads> {
        self.readers.read(|transaction| {
            if triggers(transaction, &query.bucket)?.is_none() {
                return Ok(Err(Refused::NoSuchBucket));
            }
            list(transaction, query, after_name).map(Ok)
        })
    }

    /// Gives an upload up; its parts go with the next sweep.
    pub fn abort_upload(
        &self,
        id: DocumentId,
        upload: String,
        done: impl FnOnce(Answer<()>) + Send + 'static,
    ) {
        let record = move |transaction: &Transaction<'_>| match find_open(transaction, &id, &upload)? {
            Ok(_open) => forget(transaction, &upload).map(Ok),
            Err(refused) => Ok(Err(refused)),
        };
        self.change(None, record, done);
    }

    /// Gives up what was begun longer ago than this, and forgets what was completed; tells how many.
    pub fn expire_uploads(&self, age: Duration) -> Result<u64, BackendError> {
        let before =
            Timestamp(Timestamp::now().0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
        let any = self.database.read(|transaction| expired(transaction, before))?;
        if any.is_empty() {
            return Ok(0);
        }
        self.database.write(|transaction| {
            let uploads = expired(transaction, before)?;
            uploads.iter().try_for_each(|upload| forget(transaction, upload))?;
            Ok(uploads.len() as u64)
        })
    }

    /// Writes these parts one after the other. Nothing is visible of it yet.
    pub fn assemble(&self, parts: &[Part]) -> Answer<Staged> {
        failpoint::hit("uploads.before_assemble");
        let mut staging = self.begin_staging()?;
        let mut buffer = vec![0; BUFFER_BYTES];
        for part in parts {
            let path = self.path_of(&blake3::Hash::from_bytes(part.digest));
            let unreadable = |error| BackendError::io("read", &path, error);
            let mut file = match File::open(&path) {
                // Completed or aborted by another request, and swept, in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Err(Refused::NoSuchUpload));
                }
                file => file.map_err(unreadable)?,
            };
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => staging.write(&buffer[..read])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(unreadable(error)),
                }
            }
        }
        let staged = staging.finish()?;
        if staged.bytes() != parts.iter().map(|part| part.bytes).sum::<u64>() {
            return Err(BackendError::new(
                ErrorKind::Corrupt,
                "the stored parts of the upload have another size than was recorded: upload them again",
            ));
        }
        failpoint::hit("uploads.after_assemble");
        Ok(Ok(staged))
    }

    /// Makes what was assembled of these parts the object, if they are still the upload's. If another request that asked
    /// for the same was faster, it is done already.
    pub fn complete_upload(
        &self,
        upload: String,
        parts: Vec<Part>,
        staged: Staged,
        object: NewObject,
        done: impl FnOnce(Answer<()>) + Send + 'static,
    ) {
        let version = Version {
            etag: Some(object.etag),
            content_type: object.content_type,
            attributes: to_json(&object.attributes),
            ..Version::of(&staged, object.id)
        };
        let record = move |transaction: &Transaction<'_>| {
            match find(transaction, &version.id, &upload)? {
                Ok(UploadInfo { completed_etag: None, .. }) => {}
                Ok(UploadInfo { completed_etag, .. }) if completed_etag == version.etag => return Ok(Ok(())),
                Ok(_completed_with_other_parts) => return Ok(Err(Refused::NoSuchUpload)),
                Err(refused) => return Ok(Err(refused)),
            }
            for wanted in &parts {
                if find_part(transaction, &upload, wanted.number)?.map(|part| part.digest)
                    != Some(wanted.digest)
                {
                    return Ok(Err(Refused::InvalidPart));
                }
            }
            let triggers = match may_put(transaction, &version.id, &object.condition)? {
                Ok(triggers) => triggers,
                Err(refused) => return Ok(Err(refused)),
            };
            record(transaction, &version, triggers, Timestamp::now())?;
            transaction.prepare_cached("DELETE FROM parts WHERE upload = ?1")?.execute([&upload])?;
            transaction
                .prepare_cached("UPDATE uploads SET completed_etag = ?2 WHERE id = ?1")?
                .execute(params![upload, version.etag])?;
            Ok(Ok(()))
        };
        self.change(Some(staged), record, done);
    }
}

fn expired(transaction: &Transaction<'_>, before: Timestamp) -> Result<Vec<String>, BackendError> {
    Ok(transaction
        .prepare_cached("SELECT id FROM uploads WHERE started_at < ?1")?
        .query_map([before.0], |row| row.get(0))?
        .collect::<Result<_, _>>()?)
}
