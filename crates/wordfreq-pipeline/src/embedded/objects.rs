//! Objects as S3 knows them: a document's newest version with its etag, content type, attributes and conditions. A put,
//! copy or deletion is decided in the transaction that makes it. Not here: uploads in parts (`uploads`), and anything
//! about HTTP or XML.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind as Io;

use rusqlite::{Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, Staged, Version, delete, record};
use super::buckets::triggers;
use super::results::document_id;
use crate::document::{DocumentId, Sequence};
use crate::error::{BackendError, ErrorKind};
use crate::time::Timestamp;

/// What was asked for, or why it is not done. Nothing has changed then.
pub type Answer<T> = Result<Result<T, Refused>, BackendError>;

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such bucket.
    #[error("there is no such bucket")]
    NoSuchBucket,
    /// There is a bucket of this name already.
    #[error("there is a bucket of this name already")]
    BucketExists,
    /// The bucket holds objects.
    #[error("the bucket is not empty: delete its objects first")]
    BucketNotEmpty,
    /// There is no such object.
    #[error("there is no such object")]
    NoSuchKey,
    /// A condition of the request does not hold.
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    /// There is no such upload in parts: it was never begun, completed or aborted.
    #[error("there is no such upload in parts: it was never begun, or completed or aborted since")]
    NoSuchUpload,
    /// A part that was named was not uploaded, or is another one by now.
    #[error("a part that was named was not uploaded, or was replaced since")]
    InvalidPart,
    /// The bucket keeps its documents uncounted.
    #[error("the bucket keeps documents and does not count them: copy the document to one that triggers")]
    Keeps,
}

/// What is kept of an object beside its bytes and its type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// `Cache-Control`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Content-Disposition`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Content-Encoding`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Language`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Expires`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// What the user attached, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The checksum that the user sent or asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// The sizes of the parts it was uploaded in, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub part_bytes: Vec<u64>,
}

/// A checksum of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// How it is computed.
    pub algorithm: ChecksumAlgorithm,
    /// Of what.
    pub kind: ChecksumKind,
    /// As S3 writes it: Base64, a composite one with the number of parts after a hyphen. Empty while an upload in parts
    /// is not completed.
    pub value: String,
}

/// The algorithms of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC)
    Crc32,
    /// CRC-32C
    Crc32c,
    /// CRC-64/NVME
    Crc64Nvme,
    /// SHA-1
    Sha1,
    /// SHA-256
    Sha256,
}

/// Of what a checksum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// Of all bytes.
    FullObject,
    /// Of the checksums of the parts.
    Composite,
}

/// An object, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub id: DocumentId,
    /// Its version.
    pub sequence: Sequence,
    /// The BLAKE3 digest of its bytes.
    pub digest: [u8; 32],
    /// Its size.
    pub bytes: u64,
    /// When it was put.
    pub put_at: Timestamp,
    /// Its tag, without quotes.
    pub etag: String,
    /// Its content type, where one was given.
    pub content_type: Option<String>,
    /// What else is kept of it.
    pub attributes: Attributes,
}

/// An object to be put.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Its name.
    pub id: DocumentId,
    /// Its tag, without quotes.
    pub etag: String,
    /// Its content type.
    pub content_type: Option<String>,
    /// What else is to be kept of it.
    pub attributes: Attributes,
    /// On which condition.
    pub condition: Condition,
}

/// On which condition an object is put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// On none.
    #[default]
    None,
    /// If there is no object of this name.
    Absent,
    /// If there is one.
    Present,
    /// If there is one with this tag.
    Etag(String),
}

/// What is to be kept of a copy.
#[derive(Clone, Debug)]
pub struct Description {
    /// Content type.
    pub content_type: Option<String>,
    /// Everything else; the checksum stays the source's.
    pub attributes: Attributes,
}

/// Which objects to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// In which bucket.
    pub bucket: String,
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that have this after the prefix are told as one, up to and with it.
    pub delimiter: Option<String>,
    /// Only what comes after this.
    pub after: Option<String>,
    /// How many objects and common prefixes at most.
    pub limit: usize,
}

/// Objects in the order of their keys, which is that of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The objects.
    pub objects: Vec<ObjectInfo>,
    /// What their keys that have the delimiter begin with.
    pub common_prefixes: Vec<String>,
    /// After what to go on, if there is more.
    pub next: Option<String>,
}

const OBJECT: &str = "bucket, key, sequence, digest, bytes, changed_at, etag, content_type, attributes";

fn object_info(row: &Row<'_>) -> Result<ObjectInfo, BackendError> {
    let id = document_id(row, 0)?;
    let digest: [u8; 32] = row.get(3)?;
    let attributes: Option<String> = row.get(8)?;
    let attributes = attributes
        .map_or(Ok(Attributes::default()), |attributes| serde_json::from_str(&attributes))
        .map_err(|error| {
            BackendError::new(ErrorKind::Corrupt, format!("the stored attributes of {id}: {error}"))
        })?;
    Ok(ObjectInfo {
        sequence: row.get(2)?,
        bytes: row.get(4)?,
        put_at: Timestamp(row.get(5)?),
        etag: row.get::<_, Option<String>>(6)?.unwrap_or_else(|| etag_of_digest(&digest)),
        content_type: row.get(7)?,
        attributes,
        id,
        digest,
    })
}

/// The tag of what came without one. In the form of an upload in parts, which no client checks against an MD5.
fn etag_of_digest(digest: &[u8; 32]) -> String {
    let hex = blake3::Hash::from_bytes(*digest).to_hex();
    format!("{}-1", &hex[..32])
}

pub(super) fn to_json(attributes: &Attributes) -> Option<String> {
    // A map of strings and numbers can be written.
    (*attributes != Attributes::default()).then(|| serde_json::json!(attributes).to_string())
}

fn find(transaction: &Transaction<'_>, id: &DocumentId) -> Result<Option<ObjectInfo>, BackendError> {
    let mut select = transaction.prepare_cached(&format!(
        "SELECT {OBJECT} FROM documents WHERE bucket = ?1 AND key = ?2 AND digest IS NOT NULL"
    ))?;
    let mut rows = select.query(params![id.bucket(), id.key().as_bytes()])?;
    rows.next()?.map(object_info).transpose()
}

fn present(transaction: &Transaction<'_>, id: &DocumentId) -> Answer<ObjectInfo> {
    if triggers(transaction, id.bucket())?.is_none() {
        return Ok(Err(Refused::NoSuchBucket));
    }
    Ok(find(transaction, id)?.ok_or(Refused::NoSuchKey))
}

/// Whether the bucket triggers, if the object may be put.
pub(super) fn may_put(transaction: &Transaction<'_>, id: &DocumentId, condition: &Condition) -> Answer<bool> {
    let Some(triggers) = triggers(transaction, id.bucket())? else {
        return Ok(Err(Refused::NoSuchBucket));
    };
    let refused = match condition {
        Condition::None => None,
        Condition::Absent => find(transaction, id)?.map(|_there| Refused::PreconditionFailed),
        Condition::Present => find(transaction, id)?.is_none().then_some(Refused::NoSuchKey),
        Condition::Etag(etag) => match find(transaction, id)? {
            None => Some(Refused::NoSuchKey),
            Some(object) => (object.etag != *etag).then_some(Refused::PreconditionFailed),
        },
    };
    Ok(refused.map_or(Ok(triggers), Err))
}

impl Bucket {
    /// Puts an object: when `done` is called its bytes, its name and its message are durable.
    pub fn put_object(
        &self,
        staged: Staged,
        object: NewObject,
        done: impl FnOnce(Answer<Sequence>) + Send + 'static,
    ) {
        let version = Version {
            etag: Some(object.etag),
            content_type: object.content_type,
            attributes: to_json(&object.attributes),
            ..Version::of(&staged, object.id)
        };
        let record = move |transaction: &Transaction<'_>| match may_put(
            transaction,
            &version.id,
            &object.condition,
        )? {
            Ok(triggers) => record(transaction, &version, triggers, Timestamp::now()).map(Ok),
            Err(refused) => Ok(Err(refused)),
        };
        self.change(Some(staged), record, done);
    }

    /// What there is of an object beside its bytes.
    pub fn object(&self, id: &DocumentId) -> Answer<ObjectInfo> {
        self.readers.read(|transaction| present(transaction, id))
    }

    /// An object and its bytes, of one and the same version; they stay readable when it is replaced or deleted.
    ///
    /// # Errors
    /// `Corrupt` if its bytes are gone or have another size.
    pub fn open_object(&self, id: &DocumentId) -> Answer<(ObjectInfo, File)> {
        loop {
            let object = match self.object(id)? {
                Ok(object) => object,
                Err(refused) => return Ok(Err(refused)),
            };
            let path = self.path_of(&blake3::Hash::from_bytes(object.digest));
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == Io::NotFound => {
                    // It may have been replaced, and the old bytes swept, since the row was read.
                    match self.object(id)? {
                        Ok(now) if now.digest == object.digest => return Err(damaged(id, "are missing")),
                        _ => continue,
                    }
                }
                Err(error) => return Err(BackendError::io("open", &path, error)),
            };
            let found = file.metadata().map_err(|error| BackendError::io("read", &path, error))?.len();
            if found != object.bytes {
                return Err(damaged(id, &format!("are {found}, not {}, long", object.bytes)));
            }
            return Ok(Ok((object, file)));
        }
    }

    /// Copies an object, without its bytes being read: the copy refers to the same. `is_wanted` sees the version that
    /// would be copied; if it does not want that, the answer is `PreconditionFailed`. Without a description of its own
    /// the copy has its source's.
    pub fn copy_object(
        &self,
        from: DocumentId,
        to: DocumentId,
        description: Option<Description>,
        condition: Condition,
        is_wanted: impl FnOnce(&ObjectInfo) -> bool + Send + 'static,
        done: impl FnOnce(Answer<ObjectInfo>) + Send + 'static,
    ) {
        let record = move |transaction: &Transaction<'_>| {
            let source = match present(transaction, &from)? {
                Ok(source) if is_wanted(&source) => source,
                Ok(_unwanted) => return Ok(Err(Refused::PreconditionFailed)),
                Err(refused) => return Ok(Err(refused)),
            };
            let triggers = match may_put(transaction, &to, &condition)? {
                Ok(triggers) => triggers,
                Err(refused) => return Ok(Err(refused)),
            };
            let (content_type, attributes) = match description {
                None => (source.content_type, source.attributes),
                Some(Description { content_type, attributes }) => {
                    let Attributes { checksum, part_bytes, .. } = source.attributes;
                    (content_type, Attributes { checksum, part_bytes, ..attributes })
                }
            };
            let version = Version {
                id: to,
                digest: source.digest,
                bytes: source.bytes,
                etag: Some(source.etag),
                content_type,
                attributes: to_json(&attributes),
            };
            record(transaction, &version, triggers, Timestamp::now())?;
            present(transaction, &version.id)
        };
        self.change(None, record, done);
    }

    /// Deletes objects of one bucket, all or nothing; tells of each whether it was there.
    pub fn delete_objects(
        &self,
        bucket: &str,
        ids: Vec<DocumentId>,
        done: impl FnOnce(Answer<Vec<bool>>) + Send + 'static,
    ) {
        let bucket = bucket.to_owned();
        let record = move |transaction: &Transaction<'_>| {
            if triggers(transaction, &bucket)?.is_none() {
                return Ok(Err(Refused::NoSuchBucket));
            }
            ids.iter().map(|id| delete(transaction, id)).collect::<Result<_, _>>().map(Ok)
        };
        self.change(None, record, done);
    }

    /// Lists objects. What has a common prefix is passed over with one look, however much it is.
    pub fn list_objects(&self, query: &ListQuery) -> Answer<Listed> {
        self.readers.read(|transaction| {
            if triggers(transaction, &query.bucket)?.is_none() {
                return Ok(Err(Refused::NoSuchBucket));
            }
            list(transaction, query).map(Ok)
        })
    }
}

fn list(transaction: &Transaction<'_>, query: &ListQuery) -> Result<Listed, BackendError> {
    let mut listed = Listed::default();
    if query.limit == 0 {
        return Ok(listed);
    }
    let mut from = query.prefix.clone().into_bytes();
    if let Some(after) = &query.after {
        // The least that comes after it.
        from = from.max([after.as_bytes(), &[0]].concat());
    }
    let end = successor(&query.prefix);
    let mut select = transaction.prepare_cached(&format!(
        "SELECT {OBJECT} FROM documents INDEXED BY documents_present
         WHERE bucket = ?1 AND key >= ?2 AND key < ?3 AND digest IS NOT NULL ORDER BY key"
    ))?;
    let mut walk = Walk::new(query);
    'seek: loop {
        let mut rows = select.query(params![query.bucket, from, end])?;
        while let Some(row) = rows.next()? {
            let object = object_info(row)?;
            match walk.step(object.id.key()) {
                Step::Take => listed.objects.push(object),
                Step::PassTo(later) => {
                    from = later;
                    continue 'seek;
                }
                Step::Stop => break 'seek,
            }
        }
        break;
    }
    (listed.common_prefixes, listed.next) = walk.end();
    Ok(listed)
}

/// A walk over keys in their order, in which those with a common prefix are one.
pub(super) struct Walk<'a> {
    query: &'a ListQuery,
    number: usize,
    common_prefixes: Vec<String>,
    last: Option<String>,
    is_truncated: bool,
}

/// What is to be done about a key.
pub(super) enum Step {
    /// It is one of those that are listed.
    Take,
    /// It and all before this are one, or none: go on from there.
    PassTo(Vec<u8>),
    /// The page is full.
    Stop,
}

impl<'a> Walk<'a> {
    pub(super) fn new(query: &'a ListQuery) -> Self {
        Self { query, number: 0, common_prefixes: Vec::new(), last: None, is_truncated: false }
    }

    pub(super) fn step(&mut self, key: &str) -> Step {
        let common = common_prefix(key, self.query);
        let after = self.query.after.as_deref().unwrap_or_default();
        if let Some(common) = common.filter(|common| *common <= after) {
            return Step::PassTo(successor(common));
        }
        if self.number == self.query.limit {
            self.is_truncated = true;
            return Step::Stop;
        }
        self.number += 1;
        self.last = Some(common.unwrap_or(key).to_owned());
        match common {
            Some(common) => {
                self.common_prefixes.push(common.to_owned());
                Step::PassTo(successor(common))
            }
            None => Step::Take,
        }
    }

    /// The common prefixes, and after what the next page begins, if there is one.
    pub(super) fn end(self) -> (Vec<String>, Option<String>) {
        (self.common_prefixes, self.last.filter(|_| self.is_truncated))
    }
}

fn common_prefix<'a>(key: &'a str, query: &ListQuery) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref()?;
    let rest = key.get(query.prefix.len()..)?;
    let at = rest.find(delimiter)?;
    key.get(..query.prefix.len() + at + delimiter.len())
}

/// The least that is greater than everything that begins so.
pub(super) fn successor(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    match bytes.last_mut() {
        // No byte of UTF-8 is 0xFF.
        Some(last) => *last += 1,
        None => bytes.push(0xFF),
    }
    bytes
}

fn damaged(id: &DocumentId, what: &str) -> BackendError {
    BackendError::new(ErrorKind::Corrupt, format!("the stored bytes of {id} {what}: put the object again"))
}
