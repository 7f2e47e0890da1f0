//! What the emulator (moto) does otherwise than AWS, as far as the adapters' tests meet it, each shown by a test: one
//! that fails says that the emulator has learnt it, and that a capability can be turned on.

use aws_sdk_sqs::types::{Message, QueueAttributeName};
use wordfreq_pipeline::conformance::queue::Capabilities;

use crate::support::cloud::{REGION, unique};
use crate::support::moto::ACCOUNT;
use crate::{CLOUD, MOTO};

/// What the suite of queues cannot expect here. The first is SQS's own, which tells the age to CloudWatch only; the
/// second too: what SQS moves by itself keeps no count of our receives apart from those of looking at it.
pub(crate) const QUEUE: Capabilities =
    Capabilities { tells_oldest_age: false, counts_receives_of_what_died_by_itself: false };

fn receive(url: &str, visibility_seconds: i32) -> Message {
    let receive = CLOUD.sqs.receive_message().queue_url(url).visibility_timeout(visibility_seconds);
    let mut messages = CLOUD.wait(receive.wait_time_seconds(5).send()).unwrap().messages.unwrap();
    messages.remove(0)
}

/// AWS: without effect. So the adapter asks its own clock before it acts.
#[test]
fn gap_a_stale_receipt_deletes_what_another_holds() {
    let url = CLOUD.queue(&unique("stale"));
    CLOUD.send(&url, "fenced");
    let stale = receive(&url, 1).receipt_handle.unwrap();
    receive(&url, 60);
    CLOUD.wait(CLOUD.sqs.delete_message().queue_url(&url).receipt_handle(stale).send()).unwrap();
    assert_eq!(CLOUD.depth(&url), [0, 0, 0], "the emulator fences now: say so in QUEUE and in the adapter");
}

/// AWS: refused. So the adapter checks bodies itself.
#[test]
fn gap_refused_characters_are_accepted() {
    let url = CLOUD.queue(&unique("characters"));
    let sent = CLOUD.wait(CLOUD.sqs.send_message().queue_url(&url).message_body("\u{1}").send());
    assert!(sent.is_ok(), "the emulator refuses them now");
}

/// AWS: moves dead letters. So the adapter's redrive sends and deletes, which works everywhere.
#[test]
fn gap_there_are_no_message_move_tasks() {
    let queues = CLOUD.queues(3);
    let name = queues.dead_url.rsplit('/').next().unwrap();
    let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}");
    let moved = CLOUD.wait(CLOUD.sqs.start_message_move_task().source_arn(arn).send());
    assert!(moved.is_err(), "the emulator moves messages now");
    assert!(
        MOTO.log().contains("NotImplementedError") || MOTO.log().contains("500"),
        "it said something else"
    );
}

/// AWS: `sequencer` on every put and deletion. So events are ordered by their time there, ties by the bucket.
#[test]
fn gap_events_have_no_sequencer() {
    let (bucket, url) = (CLOUD.bucket(), CLOUD.queue(&unique("events")));
    CLOUD.notify(&bucket, &url);
    CLOUD.put(&bucket, "a b", "words");
    let events = CLOUD.take_all(&url);
    let put = events.iter().find(|event| event.contains("ObjectCreated")).unwrap();
    assert!(!put.contains("sequencer"), "the emulator has sequencers now: {put}");
}

/// AWS: one event of a multipart upload. A duplicate for free.
#[test]
fn gap_a_multipart_upload_is_announced_twice() {
    let (bucket, url) = (CLOUD.bucket(), CLOUD.queue(&unique("twins")));
    CLOUD.notify(&bucket, &url);
    let upload = CLOUD.wait(CLOUD.s3.create_multipart_upload().bucket(&bucket).key("k").send()).unwrap();
    let upload_id = upload.upload_id.unwrap();
    let part = CLOUD.s3.upload_part().bucket(&bucket).key("k").upload_id(&upload_id).part_number(1);
    let part = CLOUD.wait(part.body(b"words".to_vec().into()).send()).unwrap();
    let part = aws_sdk_s3::types::CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
    let complete = CLOUD.s3.complete_multipart_upload().bucket(&bucket).key("k");
    CLOUD.wait(complete.upload_id(&upload_id).multipart_upload(parts).send()).unwrap();
    let events = CLOUD.take_all(&url);
    let created = events.iter().filter(|event| event.contains("ObjectCreated")).count();
    assert_eq!(created, 2, "the emulator announces it once now");
}

/// AWS: refuses an unknown attribute name and a retention below 60 s.
#[test]
fn gap_queue_attributes_are_not_checked() {
    let url = CLOUD.queue(&unique("attributes"));
    let set = CLOUD.sqs.set_queue_attributes().queue_url(&url);
    let set = set.attributes(QueueAttributeName::MessageRetentionPeriod, "1");
    assert!(CLOUD.wait(set.send()).is_ok(), "the emulator checks them now");
}
