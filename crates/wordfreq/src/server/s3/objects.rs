//! Objects: put, get, copy, delete. Not here: uploads in parts (`uploads`), the body on its way in (`body`), and which bytes of
//! an object a range is (`ranges`).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range as Bytes_;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http::header::IF_RANGE;
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::dto::*;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3Request, S3Response, S3Result, StdError, s3_error};
use tokio::sync::oneshot;
use wordfreq_pipeline::embedded::{
    Attributes, Bucket as Objects, Checksum as Stored, ChecksumKind, Condition, Description, NewObject,
    ObjectInfo,
};
use wordfreq_pipeline::{BackendError, DocumentId, ErrorKind};

use super::checksum::{self, set_checksum};
use super::ranges::Wanted;
use super::{InPlace, Store, failed, named, panicked, refused};
use crate::server::elsewhere;

/// What S3 says of an object of which nobody said.
const DEFAULT_TYPE: &str = "binary/octet-stream";

/// All names and values that a user attaches to an object, together.
const MAX_METADATA_BYTES: usize = 2 * 1024;

/// The longest other header that is kept.
const MAX_HEADER_BYTES: usize = 2 * 1024;

/// Up to here an object is read and checked before the answer begins.
const SMALL_BYTES: u64 = 128 * 1024;

/// Larger ones are read in pieces.
const PIECE_BYTES: u64 = 256 * 1024;

pub(super) fn time(at: wordfreq_pipeline::Timestamp) -> Timestamp {
    Timestamp::from(std::time::SystemTime::from(at))
}

/// When it was put, as HTTP tells it: in whole seconds.
pub(super) fn modified(object: &ObjectInfo) -> Timestamp {
    time(wordfreq_pipeline::Timestamp(object.put_at.0.div_euclid(1000) * 1000))
}

fn http_date(at: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    at.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// There is one version of everything.
pub(super) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("" | "null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "versions of objects are not kept")),
    }
}

/// What is to be kept of an object beside its bytes, checked.
pub(super) struct Described {
    pub(super) content_type: Option<String>,
    pub(super) attributes: Attributes,
}

macro_rules! described {
    ($input:expr) => {
        $crate::server::s3::objects::describe(
            $input.content_type,
            $input.metadata,
            wordfreq_pipeline::embedded::Attributes {
                cache_control: $input.cache_control,
                content_disposition: $input.content_disposition,
                content_encoding: $input.content_encoding,
                content_language: $input.content_language,
                expires: $input.expires.as_ref().and_then($crate::server::s3::objects::http_date_of),
                ..wordfreq_pipeline::embedded::Attributes::default()
            },
        )
    };
}
pub(super) use described;

pub(super) fn http_date_of(at: &Timestamp) -> Option<String> {
    http_date(at)
}

pub(super) fn describe(
    content_type: Option<String>,
    metadata: Option<Metadata>,
    mut attributes: Attributes,
) -> S3Result<Described> {
    attributes.metadata = metadata.unwrap_or_default().into_iter().collect();
    let bytes: usize = attributes.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "user metadata has {bytes} bytes: the most is {MAX_METADATA_BYTES}"
        ));
    }
    // How the body came is nothing that is kept.
    attributes.content_encoding = attributes.content_encoding.and_then(|encoding| {
        let kept: Vec<_> = encoding
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty() && !one.eq_ignore_ascii_case("aws-chunked"))
            .collect();
        (!kept.is_empty()).then(|| kept.join(","))
    });
    let kept = [
        &content_type,
        &attributes.cache_control,
        &attributes.content_disposition,
        &attributes.content_encoding,
        &attributes.content_language,
    ];
    if kept.into_iter().flatten().any(|value| value.len() > MAX_HEADER_BYTES) {
        return Err(s3_error!(InvalidArgument, "a header that is kept has at most {MAX_HEADER_BYTES} bytes"));
    }
    Ok(Described { content_type, attributes })
}

/// On which condition to put.
pub(super) fn condition(
    if_match: Option<&IfMatch>,
    if_none_match: Option<&IfNoneMatch>,
) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Condition::Present),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Etag(etag.value().to_owned())),
        _ => Err(s3_error!(
            NotImplemented,
            "a put takes If-None-Match: * or If-Match with a tag, and not both"
        )),
    }
}

/// The conditions of HTTP on what is read.
#[derive(Clone, Default)]
struct Conditions {
    if_match: Option<IfMatch>,
    if_none_match: Option<IfNoneMatch>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// As RFC 9110 (13.2.2) has it: a tag counts for more than a date.
    fn check(&self, object: &ObjectInfo) -> S3Result<()> {
        let is_meant = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.value() == object.etag,
        };
        let modified = modified(object);
        let holds = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => is_meant(condition),
            (None, Some(since)) => modified <= *since,
            (None, None) => true,
        };
        if !holds {
            return Err(s3_error!(PreconditionFailed, "a condition of the request does not hold"));
        }
        let is_new = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => !is_meant(condition),
            (None, Some(since)) => modified > *since,
            (None, None) => true,
        };
        if is_new { Ok(()) } else { Err(not_modified(object)) }
    }

    /// The same for the source of a copy, where everything that does not hold is an error.
    fn hold(&self, object: &ObjectInfo) -> bool {
        self.check(object).is_ok()
    }
}

fn not_modified(object: &ObjectInfo) -> S3Error {
    let mut error = s3_error!(NotModified);
    error.set_status_code(StatusCode::NOT_MODIFIED);
    let mut headers = HeaderMap::new();
    let etag = format!("\"{}\"", object.etag);
    for (name, value) in
        [(http::header::ETAG, Some(etag)), (http::header::LAST_MODIFIED, http_date(&modified(object)))]
    {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    error.set_headers(headers);
    error
}

/// The fields that the answers to GET and HEAD share.
macro_rules! shown {
    ($output:ident, $object:expr, $bytes:expr, $checksum_mode:expr) => {{
        let (object, bytes) = ($object, $bytes);
        let attributes = &object.attributes;
        let mut output = $output {
            accept_ranges: Some("bytes".into()),
            cache_control: attributes.cache_control.clone(),
            content_disposition: attributes.content_disposition.clone(),
            content_encoding: attributes.content_encoding.clone(),
            content_language: attributes.content_language.clone(),
            content_length: i64::try_from(
                bytes.as_ref().map_or(object.bytes, |bytes| bytes.end - bytes.start),
            )
            .ok(),
            content_range: bytes.as_ref().map(|bytes| {
                format!("bytes {}-{}/{}", bytes.start, bytes.end.saturating_sub(1), object.bytes)
            }),
            content_type: Some(object.content_type.clone().unwrap_or_else(|| DEFAULT_TYPE.into())),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            expires: attributes
                .expires
                .as_deref()
                .and_then(|expires| Timestamp::parse(TimestampFormat::HttpDate, expires).ok()),
            last_modified: Some(modified(object)),
            metadata: Some(attributes.metadata.clone().into_iter().collect()),
            parts_count: Some(attributes.part_bytes.len())
                .filter(|parts| *parts > 0)
                .and_then(|parts| i32::try_from(parts).ok()),
            ..$output::default()
        };
        let is_asked = $checksum_mode.as_ref().is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        if let Some(stored) = attributes.checksum.as_ref().filter(|_| is_asked) {
            output.checksum_type = Some(checksum::type_of(stored.kind));
            // That of the whole says nothing of a range.
            if bytes.is_none() {
                set_checksum!(output, stored.algorithm, stored.value.clone());
            }
        }
        output
    }};
}

impl Store {
    pub(super) async fn put(&self, mut request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        if request.input.write_offset_bytes.is_some() {
            return Err(s3_error!(NotImplemented, "appending to an object is not supported"));
        }
        let id = named(&request.input.bucket, &request.input.key)?;
        self.check_backlog().await?;
        let (body, length) = (request.input.body.take(), request.input.content_length);
        let md5 = request.input.content_md5.take();
        let condition = condition(request.input.if_match.as_ref(), request.input.if_none_match.as_ref())?;
        let received =
            self.intake.receive(self.bucket(), &mut request, body, length, md5.as_deref(), None).await?;
        let Described { content_type, mut attributes } = described!(request.input)?;
        let etag = received.etag();
        let mut output =
            PutObjectOutput { e_tag: Some(ETag::Strong(etag.clone())), ..PutObjectOutput::default() };
        if let Some((algorithm, value)) = received.digests.checksum {
            set_checksum!(output, algorithm, value.clone());
            output.checksum_type = Some(checksum::type_of(ChecksumKind::FullObject));
            attributes.checksum = Some(Stored { algorithm, kind: ChecksumKind::FullObject, value });
        }
        let object = NewObject { id, etag, content_type, attributes, condition };
        self.change(|bucket, done| bucket.put_object(received.staged, object, done)).await?;
        Ok(output)
    }

    pub(super) async fn get(&self, request: S3Request<GetObjectInput>) -> S3Result<GetObjectOutput> {
        let S3Request { input, headers, .. } = request;
        check_version(input.version_id.as_deref())?;
        let id = named(&input.bucket, &input.key)?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let if_range = headers.get(IF_RANGE).cloned();
        let wanted = Wanted { range: input.range, if_range, part: input.part_number };
        let embedded = self.app.embedded.clone();
        let opened = elsewhere(move || open(&embedded.bucket, &id, &conditions, &wanted));
        let Opened { object, bytes, content } = opened.await.map_err(panicked)??;
        let mut output = shown!(GetObjectOutput, &object, bytes, input.checksum_mode);
        output.body = Some(match content {
            Content::Read(bytes) => StreamingBlob::from(s3s::Body::from(Bytes::from(bytes))),
            Content::ToRead(file) => StreamingBlob::new(*file),
        });
        Ok(output)
    }

    pub(super) async fn head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let S3Request { input, headers, .. } = request;
        check_version(input.version_id.as_deref())?;
        let id = named(&input.bucket, &input.key)?;
        let object = self.look(move |embedded| embedded.bucket.object(&id)).await?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&object)?;
        let if_range = headers.get(IF_RANGE).cloned();
        let bytes = Wanted { range: input.range, if_range, part: input.part_number }.of(&object)?;
        let is_partial = bytes.is_some();
        let mut response = S3Response::new(shown!(HeadObjectOutput, &object, bytes, input.checksum_mode));
        if is_partial {
            response.extensions.insert(InPlace(StatusCode::PARTIAL_CONTENT));
        }
        Ok(response)
    }

    pub(super) async fn attributes(
        &self,
        input: GetObjectAttributesInput,
    ) -> S3Result<GetObjectAttributesOutput> {
        check_version(input.version_id.as_deref())?;
        let id = named(&input.bucket, &input.key)?;
        let object = self.look(move |embedded| embedded.bucket.object(&id)).await?;
        let asked = input.object_attributes.iter().flat_map(|asked| asked.as_str().split(','));
        let asked: Vec<_> = asked.map(str::trim).collect();
        let is_asked = |name: &str| asked.contains(&name);
        let stored = object.attributes.checksum.as_ref();
        let sizes = &object.attributes.part_bytes;
        Ok(GetObjectAttributesOutput {
            e_tag: is_asked(ObjectAttributes::ETAG).then(|| ETag::Strong(object.etag.clone())),
            object_size: is_asked(ObjectAttributes::OBJECT_SIZE).then_some(object.bytes as i64),
            storage_class: is_asked(ObjectAttributes::STORAGE_CLASS)
                .then_some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum: stored.filter(|_| is_asked(ObjectAttributes::CHECKSUM)).map(|stored| {
                let mut shown =
                    Checksum { checksum_type: Some(checksum::type_of(stored.kind)), ..Checksum::default() };
                set_checksum!(shown, stored.algorithm, stored.value.clone());
                shown
            }),
            object_parts: (is_asked(ObjectAttributes::OBJECT_PARTS) && !sizes.is_empty()).then(|| {
                GetObjectAttributesParts {
                    total_parts_count: i32::try_from(sizes.len()).ok(),
                    ..GetObjectAttributesParts::default()
                }
            }),
            last_modified: Some(modified(&object)),
            ..GetObjectAttributesOutput::default()
        })
    }

    pub(super) async fn copy(&self, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        let from = source(&input.copy_source)?;
        let to = named(&input.bucket, &input.key)?;
        self.check_backlog().await?;
        let replaces = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => false,
            Some(MetadataDirective::REPLACE) => true,
            Some(_) => {
                return Err(s3_error!(InvalidArgument, "x-amz-metadata-directive must be COPY or REPLACE"));
            }
        };
        if from == to && !replaces {
            return Err(s3_error!(
                InvalidRequest,
                "a copy of an object onto itself must change its metadata: x-amz-metadata-directive: REPLACE"
            ));
        }
        let conditions = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let description = if replaces {
            let Described { content_type, attributes } = described!(input)?;
            Some(Description { content_type, attributes })
        } else {
            None
        };
        let is_wanted = move |object: &ObjectInfo| conditions.hold(object);
        let copied = self
            .change(|bucket, done| {
                bucket.copy_object(from, to, description, Condition::None, is_wanted, done);
            })
            .await?;
        let mut result = CopyObjectResult {
            e_tag: Some(ETag::Strong(copied.etag)),
            last_modified: Some(time(copied.put_at)),
            ..CopyObjectResult::default()
        };
        if let Some(stored) = copied.attributes.checksum {
            set_checksum!(result, stored.algorithm, stored.value);
            result.checksum_type = Some(checksum::type_of(stored.kind));
        }
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
    }

    pub(super) async fn delete(&self, input: DeleteObjectInput) -> S3Result<S3Response<DeleteObjectOutput>> {
        check_version(input.version_id.as_deref())?;
        if input.if_match.is_some()
            || input.if_match_size.is_some()
            || input.if_match_last_modified_time.is_some()
        {
            return Err(s3_error!(NotImplemented, "deletions on a condition are not supported"));
        }
        let id = named(&input.bucket, &input.key)?;
        self.change(|bucket, done| bucket.delete_objects(&input.bucket, vec![id], done)).await?;
        Ok(S3Response::with_status(DeleteObjectOutput::default(), StatusCode::NO_CONTENT))
    }
}

/// The object that a copy is of.
pub(super) fn source(source: &CopySource) -> S3Result<DocumentId> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            check_version(version_id.as_deref())?;
            named(bucket, key)
        }
        _ => Err(s3_error!(NotImplemented, "a copy is of BUCKET/KEY; access points are not supported")),
    }
}

/// Whether the source of a copy of a part is wanted.
pub(super) fn check_source(object: &ObjectInfo, input: &UploadPartCopyInput) -> S3Result<()> {
    let conditions = Conditions {
        if_match: input.copy_source_if_match.clone(),
        if_none_match: input.copy_source_if_none_match.clone(),
        if_modified_since: input.copy_source_if_modified_since.clone(),
        if_unmodified_since: input.copy_source_if_unmodified_since.clone(),
    };
    if conditions.hold(object) {
        Ok(())
    } else {
        Err(s3_error!(PreconditionFailed, "a condition of the request does not hold"))
    }
}

struct Opened {
    object: ObjectInfo,
    bytes: Option<Bytes_<u64>>,
    content: Content,
}

enum Content {
    Read(Vec<u8>),
    ToRead(Box<FileBody>),
}

fn open(bucket: &Objects, id: &DocumentId, conditions: &Conditions, wanted: &Wanted) -> S3Result<Opened> {
    let (object, mut file) = bucket.open_object(id).map_err(failed)?.map_err(refused)?;
    conditions.check(&object)?;
    let bytes = wanted.of(&object)?;
    let (from, length) =
        bytes.as_ref().map_or((0, object.bytes), |bytes| (bytes.start, bytes.end - bytes.start));
    let unreadable = |error: io::Error| {
        failed(BackendError::new(
            ErrorKind::Other,
            format!("the stored bytes of {id} cannot be read: {error}"),
        ))
    };
    if from > 0 {
        file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
    }
    let content = if length <= SMALL_BYTES {
        let mut read = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.take(length).read_to_end(&mut read).map_err(unreadable)?;
        if bytes.is_none() && *blake3::hash(&read).as_bytes() != object.digest {
            return Err(failed(damaged(id)));
        }
        Content::Read(read)
    } else {
        let digest = bytes.is_none().then(|| (blake3::Hasher::new(), object.digest));
        Content::ToRead(Box::new(FileBody {
            id: id.clone(),
            digest,
            left: length,
            to_read: length,
            file: Some(file),
            reading: None,
        }))
    };
    Ok(Opened { object, bytes, content })
}

fn damaged(id: &DocumentId) -> BackendError {
    BackendError::new(
        ErrorKind::Corrupt,
        format!(
            "the stored bytes of {id} do not match their digest, the disk has damaged them: put the object again"
        ),
    )
}

/// A piece that is being read; the file comes back with it.
type Reading = oneshot::Receiver<io::Result<(File, Vec<u8>)>>;

/// The bytes of a file, read ahead by one piece. A whole object is checked on the way; if it is damaged its last piece is
/// held back and the connection ends, so that nobody takes it for whole.
struct FileBody {
    id: DocumentId,
    digest: Option<(blake3::Hasher, [u8; 32])>,
    /// Not handed out yet.
    left: u64,
    /// Not asked for yet.
    to_read: u64,
    file: Option<File>,
    reading: Option<Reading>,
}

impl FileBody {
    fn read_ahead(&mut self) {
        let Some(mut file) = self.file.take().filter(|_| self.to_read > 0) else { return };
        let length = self.to_read.min(PIECE_BYTES);
        self.to_read -= length;
        self.reading = Some(elsewhere(move || {
            let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
            file.read_exact(&mut piece)?;
            Ok((file, piece))
        }));
    }
}

impl Stream for FileBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        if this.reading.is_none() {
            this.read_ahead();
        }
        let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(context));
        this.reading = None;
        let read = match read {
            Ok(Ok((file, piece))) => {
                this.left -= piece.len() as u64;
                this.file = Some(file);
                this.read_ahead();
                let is_damaged = this.digest.as_mut().is_some_and(|(hasher, digest)| {
                    hasher.update(&piece);
                    this.left == 0 && hasher.finalize() != *digest
                });
                if is_damaged { Err(StdError::from(damaged(&this.id))) } else { Ok(Bytes::from(piece)) }
            }
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &read {
            tracing::error!(%error, document = %this.id, "an object cannot be read to its end");
            this.left = 0;
        }
        Poll::Ready(Some(read))
    }
}

impl ByteStream for FileBody {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.left).unwrap_or(usize::MAX))
    }
}
