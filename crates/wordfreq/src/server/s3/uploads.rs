//! Uploads in parts. Not here: how parts are kept and put together (`embedded`).

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};

use http::StatusCode;
use md5::{Digest as _, Md5};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};
use wordfreq_pipeline::embedded::{
    Bucket as Objects, Checksum as Stored, ChecksumAlgorithm as Algorithm, ListQuery, NewObject, NewPart,
    NewUpload, Part as Kept, Staged, UploadInfo,
};
use wordfreq_pipeline::{BackendError, DocumentId, ErrorKind, Timestamp as Time};

use super::body::MAX_PUT_BYTES;
use super::buckets::{Written, not_empty, owner, page, prefixes};
use super::checksum::{self, Hasher, checksum_of, set_checksum};
use super::objects::{Described, check_source, condition, described, source, time};
use super::{OWNER, Store, failed, named, panicked, refused};
use crate::server::access::random_text;
use crate::server::{elsewhere, hex};

const MAX_PARTS: i32 = 10_000;

/// All parts but the last have at least this.
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// The largest object there is.
const MAX_OBJECT_BYTES: u64 = 5 * 1024 * 1024 * 1024 * 1024;

/// Putting together more than this takes so long that the client is kept waiting with white space, as S3 does.
const LONG_BYTES: u64 = 256 * 1024 * 1024;

/// The longest name of an upload; ours have 32 characters.
const MAX_NAME_BYTES: usize = 128;

fn check_number(number: i32) -> S3Result<()> {
    if (1..=MAX_PARTS).contains(&number) {
        Ok(())
    } else {
        Err(s3_error!(InvalidArgument, "the number of a part is from 1 to {MAX_PARTS}"))
    }
}

fn check_name(upload: &str) -> S3Result<()> {
    if (1..=MAX_NAME_BYTES).contains(&upload.len()) {
        Ok(())
    } else {
        Err(s3_error!(NoSuchUpload, "there is no such upload in parts"))
    }
}

fn initiator() -> Initiator {
    Initiator { display_name: Some(OWNER.into()), id: Some(OWNER.into()) }
}

fn algorithm_of(upload: &UploadInfo) -> Option<Algorithm> {
    upload.attributes.checksum.as_ref().map(|checksum| checksum.algorithm)
}

impl Store {
    pub(super) async fn begin_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let id = named(&input.bucket, &input.key)?;
        let algorithm = input
            .checksum_algorithm
            .as_ref()
            .map(|algorithm| checksum::named(algorithm.as_str()))
            .transpose()?;
        let kind = match algorithm {
            Some(algorithm) => Some(checksum::kind_of_parts(algorithm, input.checksum_type.as_ref())?),
            None if input.checksum_type.is_some() => {
                return Err(s3_error!(
                    InvalidRequest,
                    "x-amz-checksum-type needs x-amz-checksum-algorithm beside it"
                ));
            }
            None => None,
        };
        let Described { content_type, mut attributes } = described!(input)?;
        attributes.checksum =
            algorithm.zip(kind).map(|(algorithm, kind)| Stored { algorithm, kind, value: String::new() });
        let upload = random_text(24).map_err(|error| {
            tracing::error!(%error, "there is no randomness");
            s3_error!(InternalError)
        })?;
        let new = NewUpload { upload: upload.clone(), id, content_type, attributes };
        self.change(|bucket, done| bucket.create_upload(new, done)).await?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: kind.map(checksum::type_of),
            ..CreateMultipartUploadOutput::default()
        })
    }

    /// An upload that is under way.
    async fn open_upload(&self, id: &DocumentId, upload: &str) -> S3Result<UploadInfo> {
        check_name(upload)?;
        let (id, upload) = (id.clone(), upload.to_owned());
        let found = self.look(move |embedded| embedded.bucket.upload(&id, &upload)).await?;
        if found.completed_etag.is_some() {
            return Err(s3_error!(NoSuchUpload, "the upload was completed already"));
        }
        Ok(found)
    }

    pub(super) async fn put_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<UploadPartOutput> {
        let id = named(&request.input.bucket, &request.input.key)?;
        let number = request.input.part_number;
        check_number(number)?;
        let upload = self.open_upload(&id, &request.input.upload_id).await?;
        let (body, length) = (request.input.body.take(), request.input.content_length);
        let md5 = request.input.content_md5.take();
        let algorithm = algorithm_of(&upload);
        let received =
            self.intake.receive(self.bucket(), &mut request, body, length, md5.as_deref(), algorithm).await?;
        let etag = received.etag();
        let mut output =
            UploadPartOutput { e_tag: Some(ETag::Strong(etag.clone())), ..UploadPartOutput::default() };
        let checksum = received.digests.checksum.map(|(algorithm, value)| {
            set_checksum!(output, algorithm, value.clone());
            value
        });
        let part = NewPart {
            number,
            staged: received.staged,
            etag,
            checksum: checksum.filter(|_| algorithm.is_some()),
        };
        self.change(|bucket, done| bucket.put_part(id, request.input.upload_id, part, done)).await?;
        Ok(output)
    }

    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
        let from = source(&input.copy_source)?;
        let id = named(&input.bucket, &input.key)?;
        let number = input.part_number;
        check_number(number)?;
        let upload = self.open_upload(&id, &input.upload_id).await?;
        let algorithm = algorithm_of(&upload);
        let name = input.upload_id.clone();
        let embedded = self.app.embedded.clone();
        let copied = elsewhere(move || {
            let (object, file) = embedded.bucket.open_object(&from).map_err(failed)?.map_err(refused)?;
            check_source(&object, &input)?;
            let (from, length) = match &input.copy_source_range {
                None => (0, object.bytes),
                Some(range) => copied_range(range, object.bytes)?,
            };
            if length > MAX_PUT_BYTES {
                return Err(s3_error!(
                    EntityTooLarge,
                    "a part has at most {MAX_PUT_BYTES} bytes: copy a range"
                ));
            }
            copy_out(&embedded.bucket, file, from, length, algorithm)
        });
        let (staged, etag, checksum) = copied.await.map_err(panicked)??;
        let mut result = CopyPartResult {
            e_tag: Some(ETag::Strong(etag.clone())),
            last_modified: Some(time(Time::now())),
            ..CopyPartResult::default()
        };
        if let (Some(algorithm), Some(value)) = (algorithm, &checksum) {
            set_checksum!(result, algorithm, value.clone());
        }
        let part = NewPart { number, staged, etag, checksum };
        self.change(|bucket, done| bucket.put_part(id, name, part, done)).await?;
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let id = named(&input.bucket, &input.key)?;
        check_name(&input.upload_id)?;
        self.check_backlog().await?;
        let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let shown = move |etag: &str| CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(ETag::Strong(etag.to_owned())),
            ..CompleteMultipartUploadOutput::default()
        };
        let (upload, kept) = {
            let (id, name) = (id.clone(), input.upload_id.clone());
            self.look(move |embedded| embedded.bucket.upload_with_parts(&id, &name, MAX_PARTS as usize))
                .await?
        };
        if let Some(etag) = &upload.completed_etag {
            // The answer may have been lost on its way; who asks again gets it again.
            return Ok(shown(etag));
        }
        let parts = chosen(&input, &kept, upload.attributes.checksum.as_ref())?;
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        if bytes > MAX_OBJECT_BYTES {
            return Err(s3_error!(EntityTooLarge, "an object has at most {MAX_OBJECT_BYTES} bytes"));
        }
        if input.mpu_object_size.is_some_and(|said| u64::try_from(said) != Ok(bytes)) {
            return Err(s3_error!(
                InvalidRequest,
                "the parts have {bytes} bytes, not what x-amz-mp-object-size says"
            ));
        }
        let etag = etag_of(&parts)?;
        let mut attributes = upload.attributes;
        let mut output = shown(&etag);
        if let Some(asked) = attributes.checksum.take() {
            let sums: Vec<_> = parts.iter().map(|part| (part.checksum.as_deref(), part.bytes)).collect();
            let stored = checksum::of_parts(asked.algorithm, asked.kind, &sums)
                .ok_or_else(|| s3_error!(InternalError, "the checksum of a part is missing"))?;
            let said = checksum_of!(input, asked.algorithm);
            let value = stored.value.split('-').next();
            if said.is_some_and(|said| said.split('-').next() != value) {
                return Err(s3_error!(BadDigest, "the checksum does not match that of the parts"));
            }
            set_checksum!(output, stored.algorithm, stored.value.clone());
            output.checksum_type = Some(checksum::type_of(stored.kind));
            attributes.checksum = Some(stored);
        }
        attributes.part_bytes = parts.iter().map(|part| part.bytes).collect();
        let object = NewObject { id, etag, content_type: upload.content_type, attributes, condition };
        let store = self.clone();
        let complete = async move {
            let (id, name, etag) = (object.id.clone(), input.upload_id.clone(), object.etag.clone());
            let assembled = store
                .look(move |embedded| match embedded.bucket.assemble(&parts)? {
                    Ok(staged) => Ok(Ok(Some((parts, staged)))),
                    // Another request that asked for the same may have been faster, and its parts be swept.
                    Err(refused) => Ok(embedded.bucket.upload(&id, &name)?.and_then(|upload| {
                        if upload.completed_etag == Some(etag) { Ok(None) } else { Err(refused) }
                    })),
                })
                .await?;
            if let Some((parts, staged)) = assembled {
                store
                    .change(|bucket, done| {
                        bucket.complete_upload(input.upload_id, parts, staged, object, done)
                    })
                    .await?;
            }
            Ok(output)
        };
        if bytes < LONG_BYTES {
            return complete.await;
        }
        Ok(CompleteMultipartUploadOutput {
            future: Some(Box::pin(complete)),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) async fn abort_upload(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = named(&input.bucket, &input.key)?;
        check_name(&input.upload_id)?;
        self.change(|bucket, done| bucket.abort_upload(id, input.upload_id, done)).await?;
        Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), StatusCode::NO_CONTENT))
    }

    pub(super) async fn parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let id = named(&input.bucket, &input.key)?;
        let upload = self.open_upload(&id, &input.upload_id).await?;
        let limit = page(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let name = input.upload_id.clone();
        let mut parts =
            self.look(move |embedded| embedded.bucket.list_parts(&id, &name, after, limit + 1)).await?;
        let is_truncated = parts.len() > limit;
        parts.truncate(limit);
        let algorithm = algorithm_of(&upload);
        let stored = upload.attributes.checksum.as_ref();
        Ok(ListPartsOutput {
            next_part_number_marker: parts.last().map(|part| part.number).filter(|_| is_truncated),
            is_truncated: Some(is_truncated),
            parts: Some(parts.into_iter().map(|part| shown_part(part, algorithm)).collect()),
            max_parts: i32::try_from(limit).ok(),
            part_number_marker: Some(after),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            owner: Some(owner()),
            initiator: Some(initiator()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: algorithm
                .map(|algorithm| ChecksumAlgorithm::from_static(checksum::name(algorithm))),
            checksum_type: stored.map(|stored| checksum::type_of(stored.kind)),
            ..ListPartsOutput::default()
        })
    }

    pub(super) async fn uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        let written = Written::asked(input.encoding_type.as_ref())?;
        let limit = page(input.max_uploads)?;
        let query = ListQuery {
            bucket: input.bucket.clone(),
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: not_empty(input.delimiter.clone()),
            after: not_empty(input.key_marker.clone()),
            limit,
        };
        let after_name = not_empty(input.upload_id_marker.clone());
        let listed =
            self.look(move |embedded| embedded.bucket.list_uploads(&query, after_name.as_deref())).await?;
        let is_truncated = listed.next.is_some();
        let (next_key, next_name) = listed.next.unzip();
        Ok(ListMultipartUploadsOutput {
            next_key_marker: next_key.map(|key| written.key(&key)),
            next_upload_id_marker: next_name.flatten(),
            is_truncated: Some(is_truncated),
            uploads: Some(listed.uploads.iter().map(|upload| shown_upload(upload, written)).collect()),
            common_prefixes: prefixes(&listed.common_prefixes, written),
            max_uploads: i32::try_from(limit).ok(),
            prefix: input.prefix.map(|prefix| written.key(&prefix)),
            delimiter: not_empty(input.delimiter).map(|delimiter| written.key(&delimiter)),
            key_marker: Some(written.key(input.key_marker.as_deref().unwrap_or_default())),
            upload_id_marker: input.upload_id_marker,
            bucket: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        })
    }
}

fn shown_part(part: Kept, algorithm: Option<Algorithm>) -> Part {
    let mut shown = Part {
        part_number: Some(part.number),
        e_tag: Some(ETag::Strong(part.etag)),
        size: i64::try_from(part.bytes).ok(),
        last_modified: Some(time(part.put_at)),
        ..Part::default()
    };
    if let (Some(algorithm), Some(value)) = (algorithm, part.checksum) {
        set_checksum!(shown, algorithm, value);
    }
    shown
}

fn shown_upload(upload: &UploadInfo, written: Written) -> MultipartUpload {
    let stored = upload.attributes.checksum.as_ref();
    MultipartUpload {
        key: Some(written.key(upload.id.key())),
        upload_id: Some(upload.upload.clone()),
        initiated: Some(time(upload.started_at)),
        owner: Some(owner()),
        initiator: Some(initiator()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: stored
            .map(|stored| ChecksumAlgorithm::from_static(checksum::name(stored.algorithm))),
        checksum_type: stored.map(|stored| checksum::type_of(stored.kind)),
    }
}

/// The parts that the object is to be made of, in order.
fn chosen(
    input: &CompleteMultipartUploadInput,
    kept: &[Kept],
    asked: Option<&Stored>,
) -> S3Result<Vec<Kept>> {
    let named =
        input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref()).unwrap_or_default();
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "the object must have a part"));
    }
    let mut parts: Vec<Kept> = Vec::with_capacity(named.len().min(kept.len()));
    for part in named {
        let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML, "a part has no number"))?;
        if parts.last().is_some_and(|last| last.number >= number) {
            return Err(s3_error!(InvalidPartOrder, "the parts must be in the order of their numbers"));
        }
        let wrong = || s3_error!(InvalidPart, "part {number} was not uploaded, or has another tag");
        let found = kept.binary_search_by_key(&number, |part| part.number).map_err(|_| wrong())?;
        let found = &kept[found];
        if part.e_tag.as_ref().is_none_or(|etag| etag.value() != found.etag) {
            return Err(wrong());
        }
        if let Some(asked) = asked {
            let said = checksum_of!(part, asked.algorithm);
            if said.is_some() && said != found.checksum.as_deref() {
                return Err(s3_error!(InvalidPart, "part {number} has another checksum"));
            }
        }
        parts.push(found.clone());
    }
    let (_last, others) = parts.split_last().ok_or_else(|| s3_error!(MalformedXML))?;
    if let Some(small) = others.iter().find(|part| part.bytes < MIN_PART_BYTES) {
        return Err(s3_error!(
            EntityTooSmall,
            "part {} has {} bytes: all but the last have at least {MIN_PART_BYTES}",
            small.number,
            small.bytes
        ));
    }
    Ok(parts)
}

/// The MD5 of the parts' MD5s, and how many there are.
fn etag_of(parts: &[Kept]) -> S3Result<String> {
    let mut md5 = Md5::new();
    for part in parts {
        let bytes = (0..part.etag.len())
            .step_by(2)
            .map(|at| part.etag.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()));
        let bytes: Option<Vec<u8>> = bytes.collect();
        md5.update(bytes.ok_or_else(|| s3_error!(InternalError, "the tag of a part is damaged"))?);
    }
    Ok(format!("{}-{}", hex(&md5.finalize()), parts.len()))
}

/// `bytes=FIRST-LAST`, both within the object.
fn copied_range(range: &str, bytes: u64) -> S3Result<(u64, u64)> {
    let parsed = range.strip_prefix("bytes=").and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    });
    match parsed {
        Some((first, last)) if first <= last && last < bytes => Ok((first, last - first + 1)),
        Some((first, last)) if first <= last => {
            Err(s3_error!(InvalidRange, "the range {first}-{last} is not within the {bytes} bytes there are"))
        }
        _ => Err(s3_error!(InvalidArgument, "x-amz-copy-source-range must be bytes=FIRST-LAST")),
    }
}

fn copy_out(
    bucket: &Objects,
    mut file: File,
    from: u64,
    length: u64,
    algorithm: Option<Algorithm>,
) -> S3Result<(Staged, String, Option<String>)> {
    let unreadable = |error: std::io::Error| {
        failed(BackendError::new(ErrorKind::Other, format!("the object cannot be read: {error}")))
    };
    file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
    let mut file = file.take(length);
    let mut staging = bucket.begin_staging().map_err(failed)?;
    let (mut md5, mut hasher) = (Md5::new(), algorithm.map(Hasher::new));
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        md5.update(&buffer[..read]);
        if let Some(hasher) = &mut hasher {
            hasher.update(&buffer[..read]);
        }
        staging.write(&buffer[..read]).map_err(failed)?;
    }
    Ok((staging.finish().map_err(failed)?, hex(&md5.finalize()), hasher.map(Hasher::finish)))
}
