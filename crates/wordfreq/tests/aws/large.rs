//! One document far larger than memory should be: counted by ranges, whatever is cut off, in memory that does not grow
//! with it, and given up as soon as a newer version takes its place.

use std::fs;
use std::time::{Duration, Instant};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use serde_json::Value;
use wordfreq_core::Counts;

use crate::process::{GUARD, Running};
use crate::say;
use crate::support::cloud::unique;
use crate::support::moto::Moto;
use crate::support::proxy::{Fault, Proxy, Rule, Seen};
use crate::world::{Stack, assert_item, counted, etag, report, report_of, take_all};

const KEY: &str = "large.txt";
const BLOCKS: usize = 300;
/// Nothing that reads go by divides it, so that words stand across every border.
const BLOCK_BYTES: usize = 1_000_003;

/// What a worker may hold in memory at its most.
const MAX_KIBIBYTES: u64 = 150 * 1024;

/// Words of many lengths, the same in every block, but for one word that tells the blocks apart.
fn block(number: usize) -> Vec<u8> {
    let mut text = format!("block{number:05}");
    let mut word = 0_usize;
    while text.len() < BLOCK_BYTES - 32 {
        word += 1;
        text.push_str(&format!(" Word{}-{}", word % 997, "o".repeat(word % 13)));
    }
    text.push_str(&" ".repeat(BLOCK_BYTES - text.len()));
    text.into_bytes()
}

/// The sum over the blocks, none of whose words reaches into the next one.
fn expected() -> Value {
    let mut sum = Counts::new();
    let one = counted(&block(0));
    for (word, count) in one.iter().filter(|(word, _)| !word.starts_with("block")) {
        sum.add(word, count * BLOCKS as u64);
    }
    (0..BLOCKS).for_each(|number| sum.add(&format!("block{number:05}"), 1));
    sum.add_totals((BLOCKS * BLOCK_BYTES) as u64, 0);
    report_of(&sum, 1)
}

fn put_large(stack: &Stack) {
    let (s3, bucket) = (&stack.cloud.s3, &stack.bucket);
    let upload = stack.cloud.wait(s3.create_multipart_upload().bucket(bucket).key(KEY).send()).unwrap();
    let upload_id = upload.upload_id.unwrap();
    let mut parts = Vec::new();
    for (numbers, part) in (0..BLOCKS).collect::<Vec<_>>().chunks(25).zip(1..) {
        let bytes = numbers.iter().flat_map(|number| block(*number)).collect::<Vec<_>>();
        let request = s3.upload_part().bucket(bucket).key(KEY).upload_id(&upload_id).part_number(part);
        let sent = stack.cloud.wait(request.body(bytes.into()).send()).unwrap();
        parts.push(CompletedPart::builder().part_number(part).set_e_tag(sent.e_tag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = s3.complete_multipart_upload().bucket(bucket).key(KEY).upload_id(upload_id);
    stack.cloud.wait(complete.multipart_upload(parts).send()).unwrap();
}

/// The most memory a process has had resident so far, in KiB.
fn peak_kibibytes(worker: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", worker.pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

fn gets(proxy: &Proxy) -> Vec<Seen> {
    proxy.requests().into_iter().filter(|seen| seen.operation == "GetObject").collect()
}

#[test]
fn a_large_document_is_read_by_ranges_in_little_memory_and_never_mixed_with_another_version() {
    let moto = Moto::start();
    let proxy = Proxy::start(&moto.url);
    let mut stack = Stack::new(&moto, &proxy.url);
    stack.set("WORDFREQ_THREADS", "2");
    // The emulator needs its time for each of the ranges.
    stack.set("WORKER_MESSAGE_VISIBILITY", "20");
    let tap = stack.cloud.queue(&unique("tap"));
    stack.cloud.notify(&stack.bucket, &tap);
    let began = Instant::now();
    put_large(&stack);
    say(&format!("put {} MB in {:.0?}", BLOCKS * BLOCK_BYTES / 1_000_000, began.elapsed()));
    // Two events of a multipart upload are the emulator's way; one is enough here.
    let events = take_all(&stack.cloud, &tap);
    let event = events.iter().find(|event| event.contains("CompleteMultipartUpload")).unwrap();
    stack.cloud.send(&stack.queues.url, event);

    let cut = |after| Rule {
        operation: Some("GetObject"),
        fault: Fault::CutBody { after },
        one_in: 10,
        at_most: 1,
    };
    proxy.inject(cut(1_000_000));
    proxy.inject(cut(0));
    let began = Instant::now();
    let mut worker = stack.worker(&[]);
    let line = worker.wait_for_line(r#""message":"counted""#);
    let peak = peak_kibibytes(&worker);
    say(&format!(
        "counted in {:.0?} with {} MiB at most, {} GETs: {line}",
        began.elapsed(),
        peak / 1024,
        gets(&proxy).len()
    ));
    assert_eq!(proxy.faults()["CutBody"], 2);
    assert!(peak < MAX_KIBIBYTES, "{peak} KiB");
    let expected = expected();
    let old_etag = etag(&stack.cloud, &stack.bucket, KEY).unwrap();
    assert_item(&stack.live_item(KEY).unwrap(), &expected, &old_etag);
    assert_eq!(stack.show(KEY), expected);

    // Once more, and while it is read somebody puts another version.
    proxy.clear();
    stack.wait_until_idle(|| worker.read_on(Duration::from_millis(100)));
    proxy.reset_counts();
    stack.cloud.send(&stack.queues.url, event);
    let began = Instant::now();
    while gets(&proxy).len() < 12 {
        worker.read_on(Duration::from_millis(20));
        assert!(began.elapsed() < GUARD && worker.ended().is_none(), "{}", worker.log.join("\n"));
    }
    stack.cloud.notify(&stack.bucket, &stack.queues.url);
    stack.put(KEY, "the newer version");
    worker.wait_for_line(r#""message":"superseded""#);
    stack.wait_until_idle(|| worker.read_on(Duration::from_millis(100)));
    worker.stop();
    let refused = gets(&proxy).iter().filter(|seen| seen.status == Some(412)).count();
    say(&format!("{refused} of {} GETs were refused", gets(&proxy).len()));
    assert!(refused >= 1, "no range of the old version was asked for after the new one was there");
    let new_etag = etag(&stack.cloud, &stack.bucket, KEY).unwrap();
    assert_item(&stack.live_item(KEY).unwrap(), &report(b"the newer version"), &new_etag);
    assert_eq!(stack.show(KEY), report(b"the newer version"));
}
