//! Files into a bucket: one PUT for a small one, parts in parallel for a large one. Not here: which files, and under
//! which keys.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use tokio::task::JoinSet;
use wordfreq_pipeline::{BackendError, DocumentId, ErrorKind};

use crate::connection::Connection;
use crate::error::failed;
use crate::objects::Objects;

/// A file of at most this is one PUT.
const SMALL_BYTES: u64 = 16 * 1024 * 1024;
/// Of a part, unless there would be too many (S3: 10,000).
const PART_BYTES: u64 = 8 * 1024 * 1024;
const MAX_PARTS: u64 = 10_000;
const PARTS_AT_ONCE: usize = 4;

/// What S3 says of a version that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutObject {
    /// Its tag, without quotes.
    pub etag: Option<String>,
    /// How long it is.
    pub bytes: u64,
}

/// Puts files.
#[derive(Debug)]
pub struct Uploads {
    connection: Arc<Connection>,
}

impl Uploads {
    /// Asks nothing of S3 yet.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// Puts one file; `progress` learns of every further so many bytes. A part that fails for good takes the others
    /// with it: S3 keeps nothing of the file.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` and others of the file itself, and those of S3.
    pub fn put(
        &self,
        path: &Path,
        id: &DocumentId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<PutObject, BackendError> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let bytes = file.metadata().map_err(|error| unreadable(path, &error))?.len();
        let context = format!("put {id}");
        let etag = if bytes <= SMALL_BYTES {
            let body = read(&file, path, 0, bytes)?;
            let s3 = self.connection.s3(None);
            let request = s3.put_object().bucket(id.bucket()).key(id.key()).body(body.into());
            let put = self.connection.wait(request.send()).map_err(|error| failed(&context, error))?;
            progress(bytes);
            put.e_tag
        } else {
            self.put_in_parts(&file, path, bytes, id, progress)?
        };
        Ok(PutObject { etag: etag.map(|etag| etag.trim_matches('"').to_owned()), bytes })
    }

    /// Deletes an object; tells whether there was one.
    pub fn delete(&self, id: &DocumentId) -> Result<bool, BackendError> {
        self.connection.wait(async {
            if Objects::current(&self.connection, id, None).await?.is_none() {
                return Ok(false);
            }
            let request = self.connection.s3(None).delete_object().bucket(id.bucket()).key(id.key());
            request.send().await.map(|_| true).map_err(|error| failed(&format!("delete {id}"), error))
        })
    }

    fn put_in_parts(
        &self,
        file: &File,
        path: &Path,
        bytes: u64,
        id: &DocumentId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Option<String>, BackendError> {
        let context = format!("put {id}");
        let s3 = self.connection.s3(None);
        let (bucket, key) = (id.bucket(), id.key());
        let create =
            s3.create_multipart_upload().bucket(bucket).key(key).checksum_algorithm(ChecksumAlgorithm::Crc32);
        let created = self.connection.wait(create.send()).map_err(|error| failed(&context, error))?;
        let upload_id = created.upload_id.unwrap_or_default();
        let parts = self.connection.wait(self.parts(file, path, bytes, id, &upload_id, progress));
        let completed = parts.and_then(|parts| {
            let etag = etag_of_parts(&parts);
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
            let complete = s3.complete_multipart_upload().bucket(bucket).key(key);
            let complete = complete.upload_id(&upload_id).multipart_upload(parts);
            self.connection.wait(async {
                match complete.send().await {
                    Ok(completed) => Ok(completed.e_tag),
                    Err(error) => {
                        // The answer may have been lost, and to be sent again it is too late then; some stores answer
                        // in a form of their own. What is there tells.
                        let present = Objects::current(&self.connection, id, None).await?.flatten();
                        match present {
                            Some(present) if Some(&present) == etag.as_ref() => Ok(Some(present)),
                            _ => Err(failed(&context, error)),
                        }
                    }
                }
            })
        });
        completed.inspect_err(|_| {
            let abort = s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(&upload_id);
            if let Err(error) = self.connection.wait(abort.send()) {
                let error = failed(&format!("take back the parts of {id}"), error);
                tracing::warn!(%error, "they cost storage until the bucket's lifecycle rule removes them");
            }
        })
    }

    async fn parts(
        &self,
        file: &File,
        path: &Path,
        bytes: u64,
        id: &DocumentId,
        upload_id: &str,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<CompletedPart>, BackendError> {
        let part_bytes = PART_BYTES.max(bytes.div_ceil(MAX_PARTS));
        let mut sending = JoinSet::new();
        let mut done: Vec<CompletedPart> = Vec::new();
        let mut offset = 0;
        while offset < bytes || !sending.is_empty() {
            if offset < bytes && sending.len() < PARTS_AT_ONCE {
                let length = part_bytes.min(bytes - offset);
                let body = read(file, path, offset, length)?;
                let number = i32::try_from(offset / part_bytes + 1).unwrap_or(i32::MAX);
                offset += length;
                let request = self
                    .connection
                    .s3(None)
                    .upload_part()
                    .bucket(id.bucket())
                    .key(id.key())
                    .upload_id(upload_id)
                    .part_number(number)
                    .checksum_algorithm(ChecksumAlgorithm::Crc32)
                    .body(body.into());
                sending.spawn(async move { (number, length, request.send().await) });
                continue;
            }
            let Some(sent) = sending.join_next().await else { break };
            let context = format!("put {id}");
            let (number, length, sent) = sent
                .map_err(|error| BackendError::new(ErrorKind::Other, format!("cannot {context}: {error}")))?;
            let sent = sent.map_err(|error| failed(&context, error))?;
            progress(length);
            done.push(
                CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag)
                    .set_checksum_crc32(sent.checksum_crc32)
                    .build(),
            );
        }
        done.sort_by_key(CompletedPart::part_number);
        Ok(done)
    }
}

/// The tag S3 gives an object made of parts, which is made of theirs: the MD5 of their MD5s, and their number. `None`
/// where a part's tag is no MD5, as with some kinds of encryption.
fn etag_of_parts(parts: &[CompletedPart]) -> Option<String> {
    let mut hasher = Md5::new();
    for part in parts {
        let hex = part.e_tag()?.trim_matches('"');
        let digits = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = digits.then(|| u128::from_str_radix(hex, 16).ok()).flatten()?;
        hasher.update(digest.to_be_bytes());
    }
    let digest: [u8; 16] = hasher.finalize().into();
    Some(format!("{:032x}-{}", u128::from_be_bytes(digest), parts.len()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> BackendError {
    BackendError::new(ErrorKind::Other, format!("cannot read {}: {error}", path.display()))
}

fn read(file: &File, path: &Path, offset: u64, length: u64) -> Result<Bytes, BackendError> {
    let length = usize::try_from(length)
        .map_err(|_| BackendError::new(ErrorKind::Invalid, format!("{} is too large", path.display())))?;
    let mut body = vec![0; length];
    file.read_exact_at(&mut body, offset).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => BackendError::new(
            ErrorKind::Invalid,
            format!("{} became shorter while it was read: upload it when nobody writes it", path.display()),
        ),
        _ => unreadable(path, &error),
    })?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_parts_is_made_of_theirs() {
        let part = |etag: &str| CompletedPart::builder().e_tag(etag).build();
        // MD5 of "a" and of "b"; then `printf 'a' | md5sum` of both digests' bytes together.
        let (a, b) = ("\"0cc175b9c0f1b6a831c399e269772661\"", "92eb5ffee6ae2fec3ad71c777531578f");
        assert_eq!(etag_of_parts(&[part(a), part(b)]).as_deref(), Some("96e024ba2074fe77e8e965ba43a704be-2"));
        assert_eq!(etag_of_parts(&[part(a), part("no digest")]), None);
    }
}
