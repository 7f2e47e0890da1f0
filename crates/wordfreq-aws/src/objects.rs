//! Documents as S3 objects: one GET for a small one, parallel GETs of ranges for a large one, each range of the same
//! version, in memory that does not depend on the object's size. A body that is cut off goes on where it broke.
//!
//! What S3 may say instead of bytes, and what becomes of the message:
//!
//! | S3 says | it means | the message |
//! | --- | --- | --- |
//! | 404 `NoSuchKey`, `NoSuchVersion`; 405 (a delete marker) | deleted since | ignored: the deletion has its own |
//! | 412 `PreconditionFailed`, or 404 or 416 between two ranges | replaced or deleted while it was read | ignored: the change has its own |
//! | 200 with no bytes | an empty object | counted: no words |
//! | 403 `InvalidObjectState` | archived | dead letter at once: restore it, then redrive |
//! | 400 about the customer's own encryption key | encrypted with a key nobody else has | dead letter at once |
//! | 403 anything else, 400 `KMS.…` | no permission for the object or its key | tried again, then dead letter |
//! | 404 `NoSuchBucket`, 301 | the bucket is gone, or in another region | tried again, then dead letter |
//! | 500, 503, a time-out, a body cut off five times without a byte in between | S3 or the way there has trouble | tried again, then dead letter |
//!
//! Not here: which objects, which events and messages tell (`notification`), and counting.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;
use wordfreq_pipeline::object::{Content, Object, Opened};
use wordfreq_pipeline::reading::ReadError;
use wordfreq_pipeline::{BackendError, DocumentEvent, DocumentId, ErrorKind, EventKind, Provenance};

use crate::connection::Connection;
use crate::error::{Refusal, causes, failed};

/// Of one GET of a large object.
const RANGE_BYTES: u64 = 4 * 1024 * 1024;
/// GETs of one large object at a time, 24 MiB; what is being counted adds two ranges a thread.
const RANGES_AT_ONCE: usize = 6;

/// An object of at most this is fetched whole before its turn comes.
const AHEAD_BYTES: u64 = 1024 * 1024;

/// And no more than so many, as a single message may tell of thousands.
const AHEAD_OBJECTS: usize = 10;

/// How often in a row a body may be cut off without one more byte.
const MAX_CUTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Which version of which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Target {
    id: DocumentId,
    region: Option<String>,
    version_id: Option<String>,
}

impl Target {
    fn of(event: &DocumentEvent) -> Self {
        // After a change that may be a deletion, what counts is what is there now.
        let version_id = event.provenance.version_id.clone().filter(|_| event.event == EventKind::Created);
        Self { id: event.id.clone(), region: event.provenance.region.clone(), version_id }
    }
}

/// The start of an object: all of a small one.
#[derive(Debug)]
struct Start {
    bytes: u64,
    etag: Option<String>,
    version_id: Option<String>,
    /// From the first byte on.
    first: Bytes,
}

/// Why an object, or the rest of it, does not come.
#[derive(Debug)]
enum Missing {
    Gone,
    Replaced,
    /// There is no such range of it.
    OutOfRange,
    Failed(BackendError),
}

/// The objects of every bucket, for one worker.
#[derive(Debug)]
pub struct Objects {
    connection: Arc<Connection>,
    ahead: Mutex<HashMap<Target, JoinHandle<Result<Start, Missing>>>>,
}

impl Objects {
    /// Nothing is asked of S3 yet.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, ahead: Mutex::default() }
    }

    /// Begins to fetch what is small, all at once; what was begun before and not opened is dropped.
    pub fn ahead(&self, events: &[&DocumentEvent]) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.drain().for_each(|(_, fetching)| fetching.abort());
        for event in events.iter().filter(|event| event.bytes <= AHEAD_BYTES).take(AHEAD_OBJECTS) {
            ahead.entry(Target::of(event)).or_insert_with_key(|target| {
                let (connection, target, bytes) = (self.connection.clone(), target.clone(), event.bytes);
                self.connection.spawn(async move { start(&connection, &target, bytes).await })
            });
        }
    }

    /// Opens what an event tells of.
    ///
    /// # Errors
    /// `Invalid` if it can never be read as it is; any other kind may pass.
    pub fn open(&self, event: &DocumentEvent) -> Result<Opened, BackendError> {
        let target = Target::of(event);
        let begun = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).remove(&target);
        let started = self.connection.wait(async {
            match begun {
                Some(fetching) => fetching.await.unwrap_or_else(|error| {
                    let text = format!("fetching {} stopped: {error}", target.id);
                    Err(Missing::Failed(BackendError::new(ErrorKind::Other, text)))
                }),
                None => start(&self.connection, &target, event.bytes).await,
            }
        });
        let Start { bytes, etag, version_id, first } = match started {
            Ok(start) => start,
            Err(Missing::Gone) => return Ok(Opened::Gone),
            Err(Missing::Replaced | Missing::OutOfRange) => return Ok(Opened::Superseded),
            Err(Missing::Failed(error)) => return Err(error),
        };
        let provenance = Provenance {
            region: event.provenance.region.clone(),
            etag: etag.as_deref().map(unquoted),
            version_id: version_id.clone().or_else(|| target.version_id.clone()),
        };
        let at = first.len() as u64;
        let source = Source { connection: self.connection.clone(), target, etag };
        let pieces = Ranges {
            source: Arc::new(source),
            first: Some(first),
            next: at,
            bytes,
            fetching: VecDeque::new(),
        };
        Ok(Opened::Current(Object { bytes, provenance, content: Content::Pieces(Box::new(pieces)) }))
    }

    /// The tag of what is there now; `None` if nothing is.
    pub(crate) async fn current(
        connection: &Connection,
        id: &DocumentId,
        region: Option<&str>,
    ) -> Result<Option<Option<String>>, BackendError> {
        let s3 = connection.s3(region);
        match s3.head_object().bucket(id.bucket()).key(id.key()).send().await {
            Ok(found) => Ok(Some(found.e_tag().map(unquoted))),
            Err(error) => match Refusal::of(&error) {
                Some(refusal) if refusal.status == 404 => Ok(None),
                _ => Err(failed(&format!("look at {id}"), error)),
            },
        }
    }
}

/// As events have them.
fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// Where the ranges of an object come from.
#[derive(Debug)]
struct Source {
    connection: Arc<Connection>,
    target: Target,
    etag: Option<String>,
}

/// The pieces of an object, in order, several of them on their way.
struct Ranges {
    source: Arc<Source>,
    first: Option<Bytes>,
    /// Where the next range to ask for begins.
    next: u64,
    bytes: u64,
    fetching: VecDeque<(u64, JoinHandle<Result<Bytes, Missing>>)>,
}

impl Iterator for Ranges {
    type Item = Result<Bytes, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.fetching.len() < RANGES_AT_ONCE && self.next < self.bytes {
            let range = self.next..(self.next + RANGE_BYTES).min(self.bytes);
            self.next = range.end;
            let source = self.source.clone();
            let fetching = self.source.connection.spawn({
                let range = range.clone();
                async move { source.range(range).await }
            });
            self.fetching.push_back((range.start, fetching));
        }
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Some(Ok(first));
        }
        let (offset, fetching) = self.fetching.pop_front()?;
        let failed = |source: std::io::Error| ReadError::Io { offset, source };
        Some(match self.source.connection.wait(fetching) {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(Missing::Gone | Missing::Replaced | Missing::OutOfRange)) => Err(ReadError::Replaced),
            Ok(Err(Missing::Failed(error))) => Err(failed(std::io::Error::other(error))),
            Err(stopped) => Err(failed(std::io::Error::other(stopped))),
        })
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        self.fetching.iter().for_each(|(_, fetching)| fetching.abort());
    }
}

impl Source {
    async fn range(&self, range: Range<u64>) -> Result<Bytes, Missing> {
        let mut piece = BytesMut::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
        self.rest(&mut piece, range).await?;
        Ok(piece.freeze())
    }

    /// Reads a range behind what of it is there already, however often it is cut off.
    async fn rest(&self, piece: &mut BytesMut, range: Range<u64>) -> Result<(), Missing> {
        let mut cuts = 0;
        let mut pause = FIRST_PAUSE;
        loop {
            let at = range.start + piece.len() as u64;
            if at == range.end {
                return Ok(());
            }
            let mut output =
                get(&self.connection, &self.target, Some(at..range.end), self.etag.as_deref()).await?;
            let mut cut = read_body(&mut output, piece).await;
            let read = range.start + piece.len() as u64;
            if cut.is_err() && read == range.end {
                // All there, and not what S3 has by its checksum.
                piece.truncate(usize::try_from(at - range.start).unwrap_or(0));
            } else if cut.is_ok() && read < range.end {
                cut = Err("it ended early".into());
            }
            let read = range.start + piece.len() as u64;
            if read > range.end {
                let text = format!("S3 sent more of {} than was asked for", self.target.id);
                return Err(Missing::Failed(BackendError::new(ErrorKind::Other, text)));
            }
            cuts = if read > at { 0 } else { cuts + 1 };
            if cuts == MAX_CUTS {
                let why = cut.err().unwrap_or_default();
                let text =
                    format!("reading {} was cut off again and again at byte {read}: {why}", self.target.id);
                return Err(Missing::Failed(BackendError::new(ErrorKind::Busy, text)));
            }
            if cuts > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
}

/// Fetches a small object whole, and the first range of a large one. `expected` is its size by the event, 0 if that
/// does not say; only the answer counts.
async fn start(connection: &Arc<Connection>, target: &Target, expected: u64) -> Result<Start, Missing> {
    // An empty object has no first byte to ask for.
    let mut range = (expected > RANGE_BYTES).then_some(0..RANGE_BYTES);
    for _ in 0..MAX_CUTS {
        let mut output = match get(connection, target, range.clone(), None).await {
            // What was large when it was announced may be empty by now.
            Err(Missing::OutOfRange) if range.is_some() => {
                range = None;
                continue;
            }
            got => got?,
        };
        let Some(length) = output.content_length().and_then(|length| u64::try_from(length).ok()) else {
            let text = format!("S3 does not say how long {} is", target.id);
            return Err(Missing::Failed(BackendError::new(ErrorKind::Other, text)));
        };
        let total = output.content_range().and_then(|range| range.rsplit('/').next()?.parse().ok());
        let mut start = Start {
            bytes: total.unwrap_or(length),
            etag: output.e_tag().map(str::to_owned),
            version_id: output.version_id().filter(|version| *version != "null").map(str::to_owned),
            first: Bytes::new(),
        };
        if range.is_none() && length > RANGE_BYTES {
            // Larger than anyone said: by ranges, then.
            return Ok(start);
        }
        let mut first = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
        if read_body(&mut output, &mut first).await.is_err() && first.len() as u64 == length {
            // All there, and not what S3 has by its checksum: once more.
            continue;
        }
        let source =
            Source { connection: connection.clone(), target: target.clone(), etag: start.etag.clone() };
        source.rest(&mut first, 0..length).await?;
        start.first = first.freeze();
        return Ok(start);
    }
    let text =
        format!("the bytes of {} arrive damaged again and again: they do not match S3's checksum", target.id);
    Err(Missing::Failed(BackendError::new(ErrorKind::Busy, text)))
}

/// Appends what comes of a body; an error is why it ended, in words.
async fn read_body(output: &mut GetObjectOutput, piece: &mut BytesMut) -> Result<(), String> {
    while let Some(chunk) = output.body.next().await {
        piece.extend_from_slice(&chunk.map_err(|error| causes(&error))?);
    }
    Ok(())
}

async fn get(
    connection: &Connection,
    target: &Target,
    range: Option<Range<u64>>,
    etag: Option<&str>,
) -> Result<GetObjectOutput, Missing> {
    let request = connection
        .s3(target.region.as_deref())
        .get_object()
        .bucket(target.id.bucket())
        .key(target.id.key())
        .set_version_id(target.version_id.clone())
        .set_if_match(etag.map(str::to_owned))
        .set_range(range.map(|range| format!("bytes={}-{}", range.start, range.end - 1)));
    request.send().await.map_err(|error| match Refusal::of(&error) {
        Some(refusal) => verdict(&target.id, &refusal),
        None => Missing::Failed(failed(&format!("read {}", target.id), error)),
    })
}

/// The table at the head of this file.
fn verdict(id: &DocumentId, refusal: &Refusal) -> Missing {
    let Refusal { status, code, message } = refusal;
    let failed = |kind, what: &str| {
        let said = if message.is_empty() { code } else { message };
        Missing::Failed(BackendError::new(
            kind,
            format!("cannot read {id}: {what} ({status} {code}: {said})"),
        ))
    };
    match (*status, code.as_str()) {
        (404, "NoSuchBucket") => failed(ErrorKind::NotFound, "its bucket is gone"),
        (404 | 405, _) => Missing::Gone,
        (412, _) => Missing::Replaced,
        (416, _) => Missing::OutOfRange,
        (403, "InvalidObjectState") => {
            failed(ErrorKind::Invalid, "it is archived: restore it, then redrive its message")
        }
        (400, _) if message.contains("Server Side Encryption") => failed(
            ErrorKind::Invalid,
            "it is encrypted with a key of its owner's: store it without, then redrive",
        ),
        (403, _) => failed(
            ErrorKind::Other,
            "no permission: the worker needs s3:GetObject on it, kms:Decrypt on its key if it has one, and \
             s3:ListBucket to tell a missing object from a forbidden one",
        ),
        (301, _) => failed(ErrorKind::Other, "its bucket is in another region than the event says"),
        (500.., _) => failed(ErrorKind::Busy, "S3 has trouble"),
        _ => failed(ErrorKind::Other, "S3 refuses"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_s3_has_its_outcome() {
        let id = DocumentId::new("bucket", "key").unwrap();
        let of = |status, code: &str, message: &str| {
            verdict(&id, &Refusal { status, code: code.into(), message: message.into() })
        };
        let kind = |missing| match missing {
            Missing::Failed(error) => error.kind(),
            other => panic!("{other:?}"),
        };
        assert!(matches!(of(404, "NoSuchKey", ""), Missing::Gone));
        assert!(matches!(of(404, "NoSuchVersion", ""), Missing::Gone));
        assert!(matches!(of(404, "", ""), Missing::Gone));
        assert!(matches!(of(405, "MethodNotAllowed", ""), Missing::Gone));
        assert!(matches!(of(412, "PreconditionFailed", ""), Missing::Replaced));
        assert!(matches!(of(416, "InvalidRange", ""), Missing::OutOfRange));
        assert_eq!(kind(of(403, "InvalidObjectState", "")), ErrorKind::Invalid);
        let customer_key = "The object was stored using a form of Server Side Encryption. The correct parameters \
                            must be provided to retrieve the object.";
        assert_eq!(kind(of(400, "InvalidRequest", customer_key)), ErrorKind::Invalid);
        for (status, code) in [
            (403, "AccessDenied"),
            (400, "KMS.DisabledException"),
            (301, "PermanentRedirect"),
            (400, "Other"),
        ] {
            assert_eq!(kind(of(status, code, "")), ErrorKind::Other, "{code}");
        }
        assert_eq!(kind(of(404, "NoSuchBucket", "")), ErrorKind::NotFound);
        assert_eq!(kind(of(503, "SlowDown", "")), ErrorKind::Busy);
    }
}
