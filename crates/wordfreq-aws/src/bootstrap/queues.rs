//! The queues of a stack. Not here: what is sent and received (`sqs_queue`, `result_queue`).

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;
use wordfreq_pipeline::{BackendError, ErrorKind};

use super::{Look, Site};
use crate::error::{Refusal, failed};

type Attributes = HashMap<QueueAttributeName, String>;

/// SQS's longest, and its usual one.
const FOURTEEN_DAYS: u32 = 14 * 24 * 3600;
const FOUR_DAYS: u32 = 4 * 24 * 3600;

/// The longest poll, for whoever does not say.
const WAIT_SECONDS: u32 = 20;

const MAX_RECEIVE_COUNT: u32 = 5;

fn attributes<const N: usize>(attributes: [(QueueAttributeName, String); N]) -> Attributes {
    let encrypted = (QueueAttributeName::SqsManagedSseEnabled, "true".to_owned());
    attributes.into_iter().chain([encrypted]).collect()
}

/// Of a jobs queue: the bucket's events may come in, and from nobody's bucket but ours.
pub(super) fn jobs(site: &Site<'_>, visibility_seconds: u64) -> Attributes {
    let redrive = json!({
        "deadLetterTargetArn": site.queue_arn(&site.names.jobs_dead),
        "maxReceiveCount": MAX_RECEIVE_COUNT,
    });
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "EventsOfTheBucket",
            "Effect": "Allow",
            "Principal": { "Service": "s3.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": site.queue_arn(&site.names.jobs),
            "Condition": {
                "ArnEquals": { "aws:SourceArn": site.bucket_arn(&site.names.bucket) },
                "StringEquals": { "aws:SourceAccount": site.account },
            },
        }],
    });
    attributes([
        (QueueAttributeName::VisibilityTimeout, visibility_seconds.to_string()),
        (QueueAttributeName::MessageRetentionPeriod, FOURTEEN_DAYS.to_string()),
        (QueueAttributeName::ReceiveMessageWaitTimeSeconds, WAIT_SECONDS.to_string()),
        (QueueAttributeName::RedrivePolicy, redrive.to_string()),
        (QueueAttributeName::Policy, policy.to_string()),
    ])
}

/// Of a queue of dead letters, whose age counts from when they were first sent: it keeps them as long as it can.
pub(super) fn dead_letters() -> Attributes {
    attributes([(QueueAttributeName::MessageRetentionPeriod, FOURTEEN_DAYS.to_string())])
}

/// Of a results queue.
pub(super) fn results() -> Attributes {
    attributes([(QueueAttributeName::MessageRetentionPeriod, FOUR_DAYS.to_string())])
}

pub(super) async fn look(site: &Site<'_>, name: &str) -> Result<Look<String>, BackendError> {
    let sqs = &site.connection.sqs;
    let url = match sqs.get_queue_url().queue_name(name).send().await {
        Ok(found) => found.queue_url.unwrap_or_default(),
        Err(error) if Refusal::of(&error).is_some_and(|refusal| is_missing(&refusal)) => {
            return Ok(Look::Nothing);
        }
        Err(error) => return Err(failed(&format!("look for the queue {name}"), error)),
    };
    let tags = match sqs.list_queue_tags().queue_url(&url).send().await {
        Ok(found) => found.tags.unwrap_or_default(),
        // Just deleted: its name lives a little longer.
        Err(error) if Refusal::of(&error).is_some_and(|refusal| is_missing(&refusal)) => {
            return Ok(Look::Nothing);
        }
        Err(error) => return Err(failed(&format!("read the tags of the queue {name}"), error)),
    };
    let mismatch = site.mismatch(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Ok(mismatch.map_or(Look::Ours(url), Look::Foreign))
}

/// Makes a queue, or sets the attributes of one that is there; its URL.
pub(super) async fn ensure(
    site: &Site<'_>,
    name: &str,
    present: Option<String>,
    attributes: Attributes,
) -> Result<String, BackendError> {
    if let Some(url) = present {
        match set(site, &url, attributes.clone(), is_without_target).await {
            // It was deleted a moment ago and is only still known here.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            set => return set.map(|()| url),
        }
    }
    let may_pass = |refusal: &Refusal| {
        // The name of a queue is free 60 s after its deletion.
        refusal.code.ends_with("QueueDeletedRecently") || is_without_target(refusal)
    };
    let context = format!("make the queue {name}");
    let made = site.patiently(&context, may_pass, async || {
        let create = site.connection.sqs.create_queue().queue_name(name);
        let tags = site.tags().map(|(name, value)| (name.to_owned(), value));
        create.set_attributes(Some(attributes.clone())).set_tags(Some(tags.into())).send().await
    });
    Ok(made.await?.queue_url.unwrap_or_default())
}

/// Lets nothing but the jobs queue move its messages to the queue of dead letters, which was there or was made just now,
/// and may not be known everywhere.
pub(super) async fn only_from_jobs(site: &Site<'_>, url: &str) -> Result<(), BackendError> {
    let allow =
        json!({ "redrivePermission": "byQueue", "sourceQueueArns": [site.queue_arn(&site.names.jobs)] });
    set(site, url, HashMap::from([(QueueAttributeName::RedriveAllowPolicy, allow.to_string())]), is_missing)
        .await
}

async fn set(
    site: &Site<'_>,
    url: &str,
    attributes: Attributes,
    may_pass: impl Fn(&Refusal) -> bool,
) -> Result<(), BackendError> {
    let context = format!("set the attributes of {url}");
    let set = site.patiently(&context, may_pass, async || {
        let set = site.connection.sqs.set_queue_attributes().queue_url(url);
        set.set_attributes(Some(attributes.clone())).send().await
    });
    set.await.map(drop)
}

pub(super) async fn delete(site: &Site<'_>, name: &str, url: &str) -> Result<(), BackendError> {
    match site.connection.sqs.delete_queue().queue_url(url).send().await {
        Ok(_) => Ok(()),
        Err(error) if Refusal::of(&error).is_some_and(|refusal| is_missing(&refusal)) => Ok(()),
        Err(error) => Err(failed(&format!("delete the queue {name}"), error)),
    }
}

/// The queue of dead letters was just made and is not known everywhere.
fn is_without_target(refusal: &Refusal) -> bool {
    refusal.message.contains("Dead letter target does not exist")
}

fn is_missing(refusal: &Refusal) -> bool {
    ["NonExistentQueue", "QueueDoesNotExist"].iter().any(|code| refusal.code.ends_with(code))
}
