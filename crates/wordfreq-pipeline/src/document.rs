//! What a document is called, and the events that tell of it. A key is data, never a path: nothing in this crate
//! builds a file name from one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{BackendError, ErrorKind};
use crate::time::Timestamp;

/// The longest key in bytes, as S3 has it.
pub const MAX_KEY_BYTES: usize = 1024;

/// A document's name: a bucket and a key in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentId {
    bucket: String,
    key: String,
}

impl DocumentId {
    /// Checks and makes a name. The bucket follows S3's rule (3 to 63 of `a-z 0-9 . -`, a letter or digit at both
    /// ends); the key is any UTF-8 of 1 to 1,024 bytes.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Result<Self, BackendError> {
        let (bucket, key) = (bucket.into(), key.into());
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = bucket.as_bytes();
        let well_formed = (3..=63).contains(&bytes.len())
            && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-' || byte == b'.')
            && alphanumeric(bytes[0])
            && alphanumeric(bytes[bytes.len() - 1]);
        if !well_formed {
            return Err(BackendError::new(
                ErrorKind::Invalid,
                format!(
                    "{bucket:?} is not a bucket name: use 3 to 63 of a-z, 0-9, `.` and `-`, for example `processing`"
                ),
            ));
        }
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let shown: String = key.chars().take(40).collect();
            return Err(BackendError::new(
                ErrorKind::Invalid,
                format!("the key {shown:?} has {} bytes: a key has 1 to {MAX_KEY_BYTES}", key.len()),
            ));
        }
        Ok(Self { bucket, key })
    }

    /// Reads `BUCKET/KEY`; the key is everything after the first slash.
    pub fn parse(text: &str) -> Result<Self, BackendError> {
        match text.split_once('/') {
            Some((bucket, key)) => Self::new(bucket, key),
            None => Err(BackendError::new(
                ErrorKind::Invalid,
                format!(
                    "{text:?} does not name a document: write BUCKET/KEY, for example `processing/notes.txt`"
                ),
            )),
        }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key within the bucket.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.bucket, self.key)
    }
}

/// Orders the versions of one document: a larger one is newer. Says nothing across documents. The embedded backend
/// numbers its puts; on S3 it is the event's sequencer, which may have 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u128);

/// What happened to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A version was put.
    Created,
    /// The document was deleted.
    Removed,
    /// Something happened to it that may or may not have left it there: it is counted if it is there, else it was
    /// deleted.
    Changed,
}

/// What an object store tells of a version beyond its order. Empty in the embedded backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Where its bucket is.
    pub region: Option<String>,
    /// The store's tag of its bytes, without quotes.
    pub etag: Option<String>,
    /// Its name among the kept versions of the key, in a bucket that keeps them.
    pub version_id: Option<String>,
}

/// One change of one document. May arrive twice, late and out of order; [`Sequence`] tells which is newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentEvent {
    /// What happened.
    pub event: EventKind,
    /// To which document.
    #[serde(flatten)]
    pub id: DocumentId,
    /// Which version of it.
    pub sequence: Sequence,
    /// The version's size; 0 for a removal, and where it is not told.
    #[serde(default)]
    pub bytes: u64,
    /// What else is known of it.
    #[serde(skip)]
    pub provenance: Provenance,
}

/// One thing a message tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A document changed.
    Event(DocumentEvent),
    /// Nothing that concerns us; why.
    Ignored(String),
    /// It cannot be read, now or ever; why.
    Poison(String),
}

impl DocumentEvent {
    /// An event of which no more is known.
    pub fn new(event: EventKind, id: DocumentId, sequence: Sequence, bytes: u64) -> Self {
        Self { event, id, sequence, bytes, provenance: Provenance::default() }
    }

    /// The body of the embedded backend's message that carries this event, as JSON.
    pub fn to_body(&self) -> String {
        serde_json::json!({
            "event": self.event, "bucket": self.id.bucket, "key": self.id.key, "sequence": self.sequence,
            "bytes": self.bytes,
        })
        .to_string()
    }

    /// Reads a message body of the embedded backend. An error here is poison: no retry will make it readable.
    pub fn parse(body: &str) -> Result<Self, String> {
        let event: Self = serde_json::from_str(body)
            .map_err(|error| format!("the message is not a document event: {error}"))?;
        DocumentId::new(event.id.bucket.as_str(), event.id.key.as_str())
            .map_err(|error| error.to_string())?;
        Ok(event)
    }

    /// What a message of the embedded backend tells of, which is one event. It says itself which version is newest.
    pub fn records(body: &str, _sent_at: Timestamp) -> Vec<Record> {
        vec![Self::parse(body).map_or_else(Record::Poison, Record::Event)]
    }
}
