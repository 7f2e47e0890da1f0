//! Count tables too large for an item, as objects under a prefix of a results bucket. Written before the item that
//! points to one, removed after the item that no longer does; whatever dies in between leaves an object nobody points
//! to, and no pointer to nothing. Not here: what is in a table (`wordfreq_pipeline::encoding`).

use aws_sdk_s3::primitives::ByteStream;
use wordfreq_pipeline::{BackendError, DocumentEvent, DocumentId};

use crate::connection::Connection;
use crate::error::failed;

/// Where spilled tables lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillLocation {
    /// A bucket whose notifications do not include the prefix, or every result would become a document.
    pub bucket: String,
    /// Put before every key; empty for none.
    pub prefix: String,
}

impl SpillLocation {
    /// The same version counted by the same profile has the same key, so that work done twice writes it twice. The
    /// document's own key is data and hashed, whatever it holds.
    pub(crate) fn key(&self, event: &DocumentEvent, fingerprint: &str) -> String {
        let document = blake3::hash(event.id.to_string().as_bytes());
        let etag = event.provenance.etag.as_deref().unwrap_or_default();
        let version = blake3::hash(format!("{etag}\n{fingerprint}").as_bytes());
        format!(
            "{}{}/{:032x}-{}",
            self.prefix,
            &document.to_hex()[..32],
            event.sequence.0,
            &version.to_hex()[..16]
        )
    }

    /// Whether an object is a table of ours: where the bucket's notifications include the prefix after all, counting
    /// tables must not go on for ever.
    pub(crate) fn holds(&self, id: &DocumentId) -> bool {
        let shape = |key: &str| {
            let (document, version) = key.split_once('/')?;
            let (sequence, version) = version.split_once('-')?;
            let hex = |part: &str, digits| {
                part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            Some(hex(document, 32) && hex(sequence, 32) && hex(version, 16))
        };
        let ours = id.key().strip_prefix(&self.prefix).and_then(shape);
        id.bucket() == self.bucket && ours == Some(true)
    }

    pub(crate) async fn put(
        &self,
        connection: &Connection,
        key: &str,
        table: Vec<u8>,
    ) -> Result<(), BackendError> {
        let request = connection.s3(None).put_object().bucket(&self.bucket).key(key);
        let request = request.content_type("application/octet-stream").body(ByteStream::from(table));
        let context = format!("write the count table {}/{key}", self.bucket);
        request.send().await.map(|_| ()).map_err(|error| failed(&context, error))
    }
}

/// Reads a table by what the item says of it; `None` if it is not there (any more).
pub(crate) async fn get(
    connection: &Connection,
    bucket: &str,
    key: &str,
) -> Result<Option<Vec<u8>>, BackendError> {
    let context = format!("read the count table {bucket}/{key}");
    match connection.s3(None).get_object().bucket(bucket).key(key).send().await {
        Ok(found) => {
            let body = found.body.collect().await.map_err(|error| {
                let text = format!("cannot {context}: {}", crate::error::causes(&error));
                BackendError::new(wordfreq_pipeline::ErrorKind::Busy, text)
            })?;
            Ok(Some(body.to_vec()))
        }
        Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => Ok(None),
        Err(error) => Err(failed(&context, error)),
    }
}

pub(crate) async fn delete(connection: &Connection, bucket: &str, key: &str) -> Result<(), BackendError> {
    let context = format!("delete the count table {bucket}/{key}");
    let request = connection.s3(None).delete_object().bucket(bucket).key(key);
    request.send().await.map(|_| ()).map_err(|error| failed(&context, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wordfreq_pipeline::{EventKind, Sequence};

    #[test]
    fn a_table_is_known_by_its_place() {
        let location = SpillLocation { bucket: "results".into(), prefix: "counts/".into() };
        let document = DocumentId::new("documents", "../a//b\0").unwrap();
        let event = DocumentEvent::new(EventKind::Created, document, Sequence(5), 0);
        let key = location.key(&event, "unicode-v1");
        assert!(key.starts_with("counts/") && !key.contains(".."));
        let holds = |bucket: &str, key: &str| location.holds(&DocumentId::new(bucket, key).unwrap());
        assert!(holds("results", &key));
        assert!(!holds("documents", &key), "another bucket");
        assert!(
            !holds("results", "counts/notes.txt") && !holds("results", "notes.txt"),
            "somebody's document"
        );
    }
}
