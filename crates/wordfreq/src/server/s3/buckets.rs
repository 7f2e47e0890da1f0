//! Buckets, and what is in them. Not here: objects themselves.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Response, S3Result, s3_error};
use wordfreq_pipeline::embedded::{ListQuery, Listed, ObjectInfo};

use super::{OWNER, Store, checksum, failed};

/// A page of a listing has no more.
pub(super) const MAX_KEYS: i32 = 1000;

/// Everywhere is in one place; this is what clients take for granted.
const REGION: &str = "us-east-1";

/// The name of the one version there is.
pub(super) const NO_VERSION: &str = "null";

/// What S3 leaves as it is where it writes keys as in a URL.
const AS_IN_A_URL: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

pub(super) fn owner() -> Owner {
    Owner { display_name: Some(OWNER.into()), id: Some(OWNER.into()) }
}

/// How keys are written in an answer.
#[derive(Clone, Copy)]
pub(super) struct Written {
    as_in_a_url: bool,
}

impl Written {
    pub(super) fn asked(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None | Some("") => Ok(Self { as_in_a_url: false }),
            Some(EncodingType::URL) => Ok(Self { as_in_a_url: true }),
            Some(_) => Err(s3_error!(InvalidArgument, "encoding-type must be url")),
        }
    }

    pub(super) fn key(self, key: &str) -> String {
        if self.as_in_a_url { utf8_percent_encode(key, AS_IN_A_URL).to_string() } else { key.to_owned() }
    }
}

/// How many are wanted of one page.
pub(super) fn page(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    usize::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "a page cannot have {asked} keys"))
}

pub(super) fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn listed(object: &ObjectInfo, written: Written, with_owner: bool) -> Object {
    let stored = object.attributes.checksum.as_ref();
    Object {
        key: Some(written.key(object.id.key())),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(super::objects::time(object.put_at)),
        size: i64::try_from(object.bytes).ok(),
        owner: with_owner.then(owner),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        checksum_algorithm: stored
            .map(|stored| vec![ChecksumAlgorithm::from_static(checksum::name(stored.algorithm))]),
        checksum_type: stored.map(|stored| checksum::type_of(stored.kind)),
        ..Object::default()
    }
}

pub(super) fn prefixes(prefixes: &[String], written: Written) -> Option<Vec<CommonPrefix>> {
    let prefixes: Vec<_> =
        prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(written.key(prefix)) }).collect();
    (!prefixes.is_empty()).then_some(prefixes)
}

impl Store {
    pub(super) async fn buckets(&self, input: ListBucketsInput) -> S3Result<ListBucketsOutput> {
        let all = self.blocking(|embedded| embedded.bucket.list_buckets()).await?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let after = input.continuation_token.as_deref().unwrap_or_default();
        let limit = usize::try_from(input.max_buckets.unwrap_or(10_000))
            .map_err(|_| s3_error!(InvalidArgument, "max-buckets must not be negative"))?;
        let mut wanted =
            all.into_iter().filter(|bucket| bucket.name.starts_with(prefix) && *bucket.name > *after);
        let buckets: Vec<_> = wanted
            .by_ref()
            .take(limit)
            .map(|bucket| Bucket {
                name: Some(bucket.name),
                creation_date: Some(super::objects::time(bucket.created_at)),
                bucket_region: input.max_buckets.map(|_| REGION.into()),
            })
            .collect();
        let last = buckets.last().and_then(|bucket| bucket.name.clone());
        Ok(ListBucketsOutput {
            continuation_token: wanted.next().and(last),
            buckets: Some(buckets),
            owner: Some(owner()),
            prefix: input.prefix,
        })
    }

    pub(super) async fn make_bucket(&self, input: CreateBucketInput) -> S3Result<CreateBucketOutput> {
        // Names of hosts, which S3's bucket names are, have no such labels.
        if ["..", ".-", "-."].iter().any(|bad| input.bucket.contains(bad)) {
            return Err(s3_error!(InvalidBucketName, "a bucket's name has no `..`, `.-` or `-.`"));
        }
        let location = format!("/{}", input.bucket);
        self.change(|bucket, done| bucket.create_bucket(&input.bucket, done)).await?;
        Ok(CreateBucketOutput { location: Some(location) })
    }

    pub(super) async fn drop_bucket(
        &self,
        input: DeleteBucketInput,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.change(|bucket, done| bucket.delete_bucket(&input.bucket, done)).await?;
        Ok(S3Response::with_status(DeleteBucketOutput {}, StatusCode::NO_CONTENT))
    }

    async fn check_bucket(&self, name: String) -> S3Result<()> {
        let there = self.blocking(move |embedded| embedded.bucket.has_bucket(&name)).await?;
        if there { Ok(()) } else { Err(s3_error!(NoSuchBucket, "there is no such bucket")) }
    }

    pub(super) async fn look_at_bucket(&self, input: HeadBucketInput) -> S3Result<HeadBucketOutput> {
        self.check_bucket(input.bucket).await?;
        Ok(HeadBucketOutput { bucket_region: Some(REGION.into()), ..HeadBucketOutput::default() })
    }

    pub(super) async fn bucket_location(
        &self,
        input: GetBucketLocationInput,
    ) -> S3Result<GetBucketLocationOutput> {
        self.check_bucket(input.bucket).await?;
        Ok(GetBucketLocationOutput::default())
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: Option<&str>,
        delimiter: Option<&str>,
        after: Option<String>,
        limit: usize,
    ) -> S3Result<Listed> {
        let query = ListQuery {
            bucket: bucket.to_owned(),
            prefix: prefix.unwrap_or_default().to_owned(),
            delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()).map(str::to_owned),
            after,
            limit,
        };
        self.look(move |embedded| embedded.bucket.list_objects(&query)).await
    }

    pub(super) async fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let written = Written::asked(input.encoding_type.as_ref())?;
        let limit = page(input.max_keys)?;
        let (prefix, delimiter) = (input.prefix.as_deref(), input.delimiter.as_deref());
        let after = not_empty(input.marker.clone());
        let page = self.list(&input.bucket, prefix, delimiter, after, limit).await?;
        let is_told = delimiter.is_some_and(|delimiter| !delimiter.is_empty());
        Ok(ListObjectsOutput {
            contents: Some(page.objects.iter().map(|object| listed(object, written, true)).collect()),
            common_prefixes: prefixes(&page.common_prefixes, written),
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next.filter(|_| is_told).map(|next| written.key(&next)),
            max_keys: Some(input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS)),
            prefix: Some(written.key(prefix.unwrap_or_default())),
            delimiter: not_empty(input.delimiter).map(|delimiter| written.key(&delimiter)),
            marker: Some(written.key(input.marker.as_deref().unwrap_or_default())),
            name: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    pub(super) async fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let written = Written::asked(input.encoding_type.as_ref())?;
        let limit = page(input.max_keys)?;
        let (prefix, delimiter) = (input.prefix.as_deref(), input.delimiter.as_deref());
        let after = match input.continuation_token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => Some(
                BASE64_STANDARD
                    .decode(token)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .filter(|after| !after.is_empty())
                    .ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of ours"))?,
            ),
            None => not_empty(input.start_after.clone()),
        };
        let page = self.list(&input.bucket, prefix, delimiter, after, limit).await?;
        let with_owner = input.fetch_owner == Some(true);
        Ok(ListObjectsV2Output {
            contents: Some(page.objects.iter().map(|object| listed(object, written, with_owner)).collect()),
            common_prefixes: prefixes(&page.common_prefixes, written),
            key_count: i32::try_from(page.objects.len() + page.common_prefixes.len()).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(|next| BASE64_STANDARD.encode(next)),
            max_keys: Some(input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS)),
            prefix: Some(written.key(prefix.unwrap_or_default())),
            delimiter: not_empty(input.delimiter).map(|delimiter| written.key(&delimiter)),
            start_after: input.start_after.map(|after| written.key(&after)),
            continuation_token: input.continuation_token,
            name: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    /// There is one version of everything, whose name is `null`, as in any bucket of S3 that keeps no versions.
    pub(super) async fn list_versions(
        &self,
        input: ListObjectVersionsInput,
    ) -> S3Result<ListObjectVersionsOutput> {
        let written = Written::asked(input.encoding_type.as_ref())?;
        let limit = page(input.max_keys)?;
        let (prefix, delimiter) = (input.prefix.as_deref(), input.delimiter.as_deref());
        let after = not_empty(input.key_marker.clone());
        let page = self.list(&input.bucket, prefix, delimiter, after, limit).await?;
        let version = |object: &ObjectInfo| {
            let Object { key, e_tag, last_modified, size, owner, checksum_algorithm, checksum_type, .. } =
                listed(object, written, true);
            ObjectVersion {
                key,
                e_tag,
                last_modified,
                size,
                owner,
                checksum_algorithm,
                checksum_type,
                is_latest: Some(true),
                version_id: Some(NO_VERSION.into()),
                storage_class: Some(ObjectVersionStorageClass::from_static(
                    ObjectVersionStorageClass::STANDARD,
                )),
                ..ObjectVersion::default()
            }
        };
        Ok(ListObjectVersionsOutput {
            versions: Some(page.objects.iter().map(version).collect()),
            common_prefixes: prefixes(&page.common_prefixes, written),
            is_truncated: Some(page.next.is_some()),
            next_version_id_marker: page.next.is_some().then(|| NO_VERSION.into()),
            next_key_marker: page.next.map(|next| written.key(&next)),
            max_keys: Some(input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS)),
            prefix: Some(written.key(prefix.unwrap_or_default())),
            delimiter: not_empty(input.delimiter).map(|delimiter| written.key(&delimiter)),
            key_marker: Some(written.key(input.key_marker.as_deref().unwrap_or_default())),
            version_id_marker: input.version_id_marker,
            name: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListObjectVersionsOutput::default()
        })
    }

    pub(super) async fn versioning(
        &self,
        input: GetBucketVersioningInput,
    ) -> S3Result<GetBucketVersioningOutput> {
        self.check_bucket(input.bucket).await?;
        Ok(GetBucketVersioningOutput::default())
    }

    pub(super) async fn delete_many(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        if input.delete.objects.is_empty() || input.delete.objects.len() > MAX_KEYS as usize {
            return Err(s3_error!(MalformedXML, "1 to {MAX_KEYS} objects are deleted at once"));
        }
        let (mut ids, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let named = wordfreq_pipeline::DocumentId::new(&*input.bucket, &*object.key).map_err(failed);
            let named = named.and_then(|id| {
                super::objects::check_version(object.version_id.as_deref())?;
                if object.e_tag.is_some() || object.size.is_some() || object.last_modified_time.is_some() {
                    return Err(s3_error!(NotImplemented, "deletions on a condition are not supported"));
                }
                Ok(id)
            });
            match named {
                Ok(id) => ids.push(id),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        let keys: Vec<_> = ids.iter().map(|id| id.key().to_owned()).collect();
        self.change(|bucket, done| bucket.delete_objects(&input.bucket, ids, done)).await?;
        let deleted = if input.delete.quiet == Some(true) { Vec::new() } else { keys };
        let deleted =
            deleted.into_iter().map(|key| DeletedObject { key: Some(key), ..DeletedObject::default() });
        Ok(DeleteObjectsOutput {
            deleted: Some(deleted.collect()),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        })
    }
}
