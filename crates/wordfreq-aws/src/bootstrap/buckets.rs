//! The buckets of a stack. Every request names the account that must own the bucket, as a bucket's name can be anybody's.
//! Not here: reading and writing objects (`objects`, `spilled`, `upload`).

use aws_sdk_s3::operation::create_bucket::CreateBucketError;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
    CreateBucketConfiguration, Delete, EncodingType, Event, ExpirationStatus, LifecycleRule,
    LifecycleRuleFilter, NotificationConfiguration, ObjectIdentifier, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, PublicAccessBlockConfiguration, QueueConfiguration, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging,
};
use aws_smithy_xml::decode::{Document, try_data};
use percent_encoding::percent_decode_str;
use wordfreq_pipeline::{BackendError, ErrorKind};

use super::{Look, Site, invalid};
use crate::error::{Refusal, failed};

/// What is ours of a bucket's lifecycle and notifications.
const LIFECYCLE_ID: &str = "wordfreq-unfinished-uploads";
const NOTIFICATION_ID: &str = "wordfreq";

const EVENTS: [Event; 2] = [Event::S3ObjectCreated, Event::S3ObjectRemoved];

/// After which the parts of an upload that was never finished are thrown away.
const UNFINISHED_DAYS: i32 = 7;

/// Where S3 began; the only region that must not be named when a bucket is made.
const FIRST_REGION: &str = "us-east-1";

/// Whether a bucket carries the stack's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Tagged,
    /// It is empty, has no tags and tells nobody: S3 tags a bucket once it is made, and what made it was interrupted.
    Untagged,
}

fn complete<T>(built: Result<T, aws_sdk_s3::error::BuildError>) -> Result<T, BackendError> {
    built.map_err(|error| invalid(error.to_string()))
}

pub(super) async fn look(site: &Site<'_>, bucket: &str) -> Result<Look<Mark>, BackendError> {
    let (s3, account) = (site.s3(), &site.account);
    if let Err(error) = s3.head_bucket().bucket(bucket).expected_bucket_owner(account).send().await {
        return match Refusal::of(&error).map(|refusal| refusal.status) {
            Some(404) => Ok(Look::Nothing),
            Some(403) => Ok(Look::Foreign("it is another account's, or you may not look at it".into())),
            Some(301) => Ok(Look::Foreign("it is in another region".into())),
            _ => Err(failed(&format!("look for the bucket {bucket}"), error)),
        };
    }
    let tags = match s3.get_bucket_tagging().bucket(bucket).expected_bucket_owner(account).send().await {
        Ok(found) => found.tag_set,
        Err(error) => match Refusal::of(&error) {
            Some(refusal) if refusal.code == "NoSuchTagSet" => Vec::new(),
            Some(refusal) if refusal.code == "NoSuchBucket" => return Ok(Look::Nothing),
            _ => return Err(failed(&format!("read the tags of the bucket {bucket}"), error)),
        },
    };
    let Some(mismatch) = site.mismatch(tags.iter().map(|tag| (tag.key(), tag.value()))) else {
        return Ok(Look::Ours(Mark::Tagged));
    };
    let tells_nobody = |told: NotificationConfiguration| told == NotificationConfiguration::builder().build();
    let may_be_ours = tags.is_empty()
        && holds(site, bucket).await?.is_none()
        && notifications(site, bucket).await.map(tells_nobody)?;
    Ok(if may_be_ours { Look::Ours(Mark::Untagged) } else { Look::Foreign(mismatch) })
}

/// What there is in a bucket, if anything.
pub(super) async fn holds(site: &Site<'_>, bucket: &str) -> Result<Option<&'static str>, BackendError> {
    let (s3, account) = (site.s3(), &site.account);
    let context = format!("look into the bucket {bucket}");
    let versions = s3.list_object_versions().bucket(bucket).expected_bucket_owner(account).max_keys(1);
    let versions =
        versions.encoding_type(EncodingType::Url).send().await.map_err(|error| failed(&context, error))?;
    if !versions.versions().is_empty() || !versions.delete_markers().is_empty() {
        return Ok(Some("objects"));
    }
    let uploads = s3.list_multipart_uploads().bucket(bucket).expected_bucket_owner(account).max_uploads(1);
    let uploads =
        uploads.encoding_type(EncodingType::Url).send().await.map_err(|error| failed(&context, error))?;
    Ok((!uploads.uploads().is_empty()).then_some("unfinished uploads"))
}

/// Makes a bucket, and shuts it in any case.
pub(super) async fn ensure(site: &Site<'_>, bucket: &str, present: Option<Mark>) -> Result<(), BackendError> {
    if present.is_none() {
        create(site, bucket).await?;
    }
    let (s3, account) = (site.s3(), &site.account);
    let context = format!("set up the bucket {bucket}");
    // A bucket that was just made is not known everywhere at once.
    let may_pass = |refusal: &Refusal| ["NoSuchBucket", "OperationAborted"].contains(&&*refusal.code);
    if present != Some(Mark::Tagged) {
        // First, so that an interrupted run is known by it.
        let tags = site.tags().map(|(name, value)| complete(Tag::builder().key(name).value(value).build()));
        let tags = tags.into_iter().collect::<Result<Vec<_>, _>>()?;
        let tags = complete(Tagging::builder().set_tag_set(Some(tags)).build())?;
        let tag = site.patiently(&context, may_pass, async || {
            let put = s3.put_bucket_tagging().bucket(bucket).expected_bucket_owner(account);
            put.tagging(tags.clone()).send().await
        });
        tag.await?;
    }
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .block_public_policy(true)
        .ignore_public_acls(true)
        .restrict_public_buckets(true)
        .build();
    let shut = site.patiently(&context, may_pass, async || {
        let put = s3.put_public_access_block().bucket(bucket).expected_bucket_owner(account);
        put.public_access_block_configuration(block.clone()).send().await
    });
    shut.await?;
    let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::BucketOwnerEnforced);
    let controls = complete(OwnershipControls::builder().rules(complete(rule.build())?).build())?;
    let own = site.patiently(&context, may_pass, async || {
        let put = s3.put_bucket_ownership_controls().bucket(bucket).expected_bucket_owner(account);
        put.ownership_controls(controls.clone()).send().await
    });
    own.await?;
    let by_default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256);
    let rule = ServerSideEncryptionRule::builder();
    let rule = rule.apply_server_side_encryption_by_default(complete(by_default.build())?).build();
    let encryption = complete(ServerSideEncryptionConfiguration::builder().rules(rule).build())?;
    let encrypt = site.patiently(&context, may_pass, async || {
        let put = s3.put_bucket_encryption().bucket(bucket).expected_bucket_owner(account);
        put.server_side_encryption_configuration(encryption.clone()).send().await
    });
    encrypt.await?;
    forget_unfinished_uploads(site, bucket).await
}

async fn create(site: &Site<'_>, bucket: &str) -> Result<(), BackendError> {
    let region = site.connection.region();
    let place = (region != FIRST_REGION).then(|| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(region))
            .build()
    });
    // S3 still works on the deletion of one of this name.
    let may_pass = |refusal: &Refusal| refusal.code == "OperationAborted";
    let context = format!("make the bucket {bucket}");
    let made = site.patiently(&context, may_pass, async || {
        let create = site.s3().create_bucket().bucket(bucket);
        match create.set_create_bucket_configuration(place.clone()).send().await {
            // Another run was faster, or the answer to this one was lost.
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(CreateBucketError::BucketAlreadyOwnedByYou(_))
                ) =>
            {
                Ok(())
            }
            made => made.map(drop),
        }
    });
    made.await
}

/// Adds our rule to the bucket's lifecycle; others' stay.
async fn forget_unfinished_uploads(site: &Site<'_>, bucket: &str) -> Result<(), BackendError> {
    let (s3, account) = (site.s3(), &site.account);
    let context = format!("set the lifecycle of the bucket {bucket}");
    let get = s3.get_bucket_lifecycle_configuration().bucket(bucket).expected_bucket_owner(account);
    let (mut rules, smallest) = match get.send().await {
        Ok(found) => (found.rules.unwrap_or_default(), found.transition_default_minimum_object_size),
        Err(error) => match Refusal::of(&error) {
            Some(refusal) if refusal.code == "NoSuchLifecycleConfiguration" => (Vec::new(), None),
            _ => return Err(failed(&context, error)),
        },
    };
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(UNFINISHED_DAYS).build();
    let ours = LifecycleRule::builder()
        .id(LIFECYCLE_ID)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .status(ExpirationStatus::Enabled)
        .abort_incomplete_multipart_upload(abort);
    rules.retain(|rule| rule.id() != Some(LIFECYCLE_ID));
    rules.push(complete(ours.build())?);
    let lifecycle = complete(BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build())?;
    let may_pass = |refusal: &Refusal| ["NoSuchBucket", "OperationAborted"].contains(&&*refusal.code);
    let put = site.patiently(&context, may_pass, async || {
        let put = s3.put_bucket_lifecycle_configuration().bucket(bucket).expected_bucket_owner(account);
        let put = put.set_transition_default_minimum_object_size(smallest.clone());
        put.lifecycle_configuration(lifecycle.clone()).send().await
    });
    put.await.map(drop)
}

async fn notifications(site: &Site<'_>, bucket: &str) -> Result<NotificationConfiguration, BackendError> {
    let get = site.s3().get_bucket_notification_configuration().bucket(bucket);
    let found = match get.expected_bucket_owner(&site.account).send().await {
        Ok(found) => found,
        Err(error) => {
            let answer = error.raw_response().filter(|response| response.status().is_success());
            let read = answer.and_then(|response| read_queues(response.body().bytes()?));
            let context = format!("read the notifications of the bucket {bucket}");
            return read.ok_or_else(|| failed(&context, error));
        }
    };
    // No list and an empty one are the same.
    let some = |list: Vec<_>| Some(list).filter(|list| !list.is_empty());
    Ok(NotificationConfiguration::builder()
        .set_topic_configurations(found.topic_configurations.filter(|list| !list.is_empty()))
        .set_queue_configurations(found.queue_configurations.and_then(some))
        .set_lambda_function_configurations(
            found.lambda_function_configurations.filter(|list| !list.is_empty()),
        )
        .set_event_bridge_configuration(found.event_bridge_configuration)
        .build())
}

/// The notifications in an answer that the SDK does not take, because its root element has another name than S3's: so do
/// some that imitate S3. `None` if it tells anybody but queues, as nothing of that may be lost.
fn read_queues(answer: &[u8]) -> Option<NotificationConfiguration> {
    let mut document = Document::try_from(answer).ok()?;
    let mut root = document.root_element().ok()?;
    let end = format!("</{}>", root.start_el().local());
    let mut queues = Vec::new();
    while let Some(mut element) = root.next_tag() {
        if !element.start_el().matches("QueueConfiguration") {
            return None;
        }
        let mut queue = QueueConfiguration::builder();
        while let Some(mut member) = element.next_tag() {
            let name = member.start_el().local().to_owned();
            let mut text = || Some(try_data(&mut member).ok()?.into_owned());
            queue = match &*name {
                "Id" => queue.id(text()?),
                "Queue" => queue.queue_arn(text()?),
                "Event" => queue.events(Event::from(&*text()?)),
                _ => return None,
            };
        }
        queues.push(queue.build().ok()?);
    }
    // The decoder does not tell the end from a cut.
    let answer = answer.trim_ascii_end();
    let is_whole = answer.ends_with(end.as_bytes()) || (queues.is_empty() && answer.ends_with(b"/>"));
    if !is_whole {
        return None;
    }
    let queues = Some(queues).filter(|queues| !queues.is_empty());
    Some(NotificationConfiguration::builder().set_queue_configurations(queues).build())
}

/// Has the bucket tell a queue of every object that comes or goes; whom else it tells stays.
pub(super) async fn notify(site: &Site<'_>, bucket: &str, queue_arn: &str) -> Result<(), BackendError> {
    let mut told = notifications(site, bucket).await?;
    let mut queues = told.queue_configurations.take().unwrap_or_default();
    let is_right = |queue: &QueueConfiguration| {
        let events = queue.events();
        queue.queue_arn() == queue_arn
            && queue.filter().is_none()
            && events.len() == EVENTS.len()
            && EVENTS.iter().all(|event| events.contains(event))
    };
    let mut ours = queues.iter().filter(|queue| queue.id() == Some(NOTIFICATION_ID));
    if ours.next().is_some_and(is_right) && ours.next().is_none() {
        // Putting it again would send a test event to everybody.
        return Ok(());
    }
    queues.retain(|queue| queue.id() != Some(NOTIFICATION_ID));
    let ours = QueueConfiguration::builder()
        .id(NOTIFICATION_ID)
        .queue_arn(queue_arn)
        .set_events(Some(EVENTS.into()));
    queues.push(complete(ours.build())?);
    told.queue_configurations = Some(queues);
    // S3 tries whether it may send, and a queue's policy takes up to a minute to be known everywhere.
    let may_pass = |refusal: &Refusal| {
        refusal.message.contains("validate the following destination") || refusal.code == "OperationAborted"
    };
    let context = format!("have the bucket {bucket} tell {queue_arn} of its documents");
    let put = site.patiently(&context, may_pass, async || {
        let put = site.s3().put_bucket_notification_configuration().bucket(bucket);
        put.expected_bucket_owner(&site.account).notification_configuration(told.clone()).send().await
    });
    put.await.map(drop)
}

/// The bucket tells the stack's queue nothing any more.
pub(super) async fn stop_notifying(site: &Site<'_>, bucket: &str) -> Result<(), BackendError> {
    let mut told = notifications(site, bucket).await?;
    let mut queues = told.queue_configurations.take().unwrap_or_default();
    let before = queues.len();
    queues.retain(|queue| queue.id() != Some(NOTIFICATION_ID));
    if queues.len() == before {
        return Ok(());
    }
    told.queue_configurations = Some(queues).filter(|queues| !queues.is_empty());
    // Whether the others are still there is not ours to mind.
    let put =
        site.s3().put_bucket_notification_configuration().bucket(bucket).skip_destination_validation(true);
    let put = put.expected_bucket_owner(&site.account).notification_configuration(told).send().await;
    put.map(drop).map_err(|error| failed(&format!("change the notifications of the bucket {bucket}"), error))
}

/// Deletes everything in a bucket.
pub(super) async fn clear(site: &Site<'_>, bucket: &str) -> Result<(), BackendError> {
    abort_uploads(site, bucket).await?;
    let (s3, account) = (site.s3(), &site.account);
    let context = format!("delete what is in the bucket {bucket}");
    loop {
        // Always from the start: what was listed before is gone.
        let list = s3.list_object_versions().bucket(bucket).expected_bucket_owner(account);
        let page =
            list.encoding_type(EncodingType::Url).send().await.map_err(|error| failed(&context, error))?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
        let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
        let mut together = Vec::new();
        let mut one_by_one = Vec::new();
        for (key, version) in versions.chain(markers) {
            let key = decoded(key.unwrap_or_default(), is_encoded)?;
            let kind = if is_xml(&key) { &mut together } else { &mut one_by_one };
            kind.push((key, version.map(str::to_owned)));
        }
        if together.is_empty() && one_by_one.is_empty() {
            return Ok(());
        }
        for (key, version) in one_by_one {
            let delete = s3.delete_object().bucket(bucket).expected_bucket_owner(account).key(key);
            delete.set_version_id(version).send().await.map_err(|error| failed(&context, error))?;
        }
        delete_together(site, bucket, together).await?;
    }
}

async fn delete_together(
    site: &Site<'_>,
    bucket: &str,
    objects: Vec<(String, Option<String>)>,
) -> Result<(), BackendError> {
    if objects.is_empty() {
        return Ok(());
    }
    let context = format!("delete what is in the bucket {bucket}");
    let num_objects = objects.len();
    let objects = objects
        .into_iter()
        .map(|(key, version)| complete(ObjectIdentifier::builder().key(key).set_version_id(version).build()));
    let objects = objects.collect::<Result<_, _>>()?;
    let delete = complete(Delete::builder().quiet(true).set_objects(Some(objects)).build())?;
    let request =
        site.s3().delete_objects().bucket(bucket).expected_bucket_owner(&site.account).delete(delete);
    let errors = request.send().await.map_err(|error| failed(&context, error))?.errors.unwrap_or_default();
    // What is only too fast comes up again in the next list, unless nothing gets on at all.
    let passes =
        |code: Option<&str>| matches!(code, Some("InternalError" | "SlowDown" | "ServiceUnavailable"));
    let first = errors.iter().find(|error| !passes(error.code()));
    let Some(error) = first.or_else(|| errors.first().filter(|_| errors.len() == num_objects)) else {
        return Ok(());
    };
    let kind = if passes(error.code()) { ErrorKind::Busy } else { ErrorKind::Other };
    let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
    let (key, code, message) = (part(error.key()), part(error.code()), part(error.message()));
    Err(BackendError::new(kind, format!("cannot {context}: {key:?}: {code}: {message}")))
}

async fn abort_uploads(site: &Site<'_>, bucket: &str) -> Result<(), BackendError> {
    let (s3, account) = (site.s3(), &site.account);
    let context = format!("abort the uploads to the bucket {bucket}");
    let mut after = (None, None);
    loop {
        let list = s3.list_multipart_uploads().bucket(bucket).expected_bucket_owner(account);
        let list =
            list.set_key_marker(after.0).set_upload_id_marker(after.1).encoding_type(EncodingType::Url);
        let page = list.send().await.map_err(|error| failed(&context, error))?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        for upload in page.uploads() {
            let key = decoded(upload.key().unwrap_or_default(), is_encoded)?;
            let abort = s3.abort_multipart_upload().bucket(bucket).expected_bucket_owner(account).key(key);
            match abort.set_upload_id(upload.upload_id.clone()).send().await {
                Ok(_) => {}
                // Finished or aborted by now.
                Err(error) if Refusal::of(&error).is_some_and(|refusal| refusal.code == "NoSuchUpload") => {}
                Err(error) => return Err(failed(&context, error)),
            }
        }
        if page.is_truncated() != Some(true) {
            return Ok(());
        }
        let key = page.next_key_marker().map(|key| decoded(key, is_encoded)).transpose()?;
        after = (key, page.next_upload_id_marker.clone());
    }
}

/// A key out of a listing.
fn decoded(key: &str, is_encoded: bool) -> Result<String, BackendError> {
    if !is_encoded {
        return Ok(key.to_owned());
    }
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| {
        BackendError::new(
            ErrorKind::Other,
            format!("S3 lists the key {key:?}, which is not UTF-8 once it is decoded"),
        )
    })
}

/// Whether a key survives XML, in which several are deleted by one request.
fn is_xml(key: &str) -> bool {
    key.chars().all(|character| !matches!(character, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
}

/// Deletes an empty bucket.
pub(super) async fn delete(site: &Site<'_>, bucket: &str) -> Result<(), BackendError> {
    let delete = site.s3().delete_bucket().bucket(bucket).expected_bucket_owner(&site.account);
    let Err(error) = delete.send().await else { return Ok(()) };
    match Refusal::of(&error).map(|refusal| refusal.code) {
        Some(code) if code == "NoSuchBucket" => Ok(()),
        Some(code) if code == "BucketNotEmpty" => Err(BackendError::new(
            ErrorKind::Busy,
            format!(
                "something was put into the bucket {bucket} meanwhile: stop what writes to it, and run this again"
            ),
        )),
        _ => Err(failed(&format!("delete the bucket {bucket}"), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_key_is_decoded_only_where_it_was_encoded() {
        assert_eq!(decoded("a+b%2B%01%E2%82%AC/c", true).unwrap(), "a b+\u{1}€/c");
        assert_eq!(decoded("a+b%2B", false).unwrap(), "a+b%2B");
        assert!(decoded("%FF", true).is_err());
    }

    #[test]
    fn a_key_that_xml_cannot_hold_is_deleted_by_itself() {
        assert!(is_xml("a b/c+ü€😀"));
        for odd in ["a\u{1}", "a\nb", "\r", "\u{ffff}"] {
            assert!(!is_xml(odd), "{odd:?}");
        }
    }

    #[test]
    fn an_answer_with_a_root_of_another_name_is_read_and_nothing_in_it_is_lost() {
        let nothing = read_queues(b"<?xml version=\"1.0\"?><Other xmlns=\"x\"/>").unwrap();
        assert_eq!(nothing, NotificationConfiguration::builder().build());
        let queue = "<QueueConfiguration><Id>i</Id><Queue>arn:q</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>";
        let read = read_queues(format!("<Other>{queue}</Other>").as_bytes()).unwrap();
        let expected = QueueConfiguration::builder()
            .id("i")
            .queue_arn("arn:q")
            .events(Event::from("s3:ObjectCreated:*"));
        assert_eq!(read.queue_configurations(), [expected.build().unwrap()]);
        let filter = "<QueueConfiguration><Filter/></QueueConfiguration>";
        for unknown in
            ["<Other><TopicConfiguration/></Other>", &format!("<Other>{filter}</Other>"), "<Other>", ""]
        {
            assert!(read_queues(unknown.as_bytes()).is_none(), "{unknown}");
        }
    }
}
