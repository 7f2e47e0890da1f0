//! How workers start on an instance, and how they go: by a signal, by a Spot notice, by the end of their time in a
//! group. Whichever it is, what is in hand is finished and what is not begun is somebody else's at once.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::metadata::Metadata;
use crate::oracle::Random;
use crate::process::Running;
use crate::support::proxy::{Fault, Proxy, Rule, Seen};
use crate::world::{EMPTY, Stack, assert_item, etag, report};
use crate::{MOTO, say};

/// More than four batches.
const DOCUMENTS: usize = 40;

/// So slow is every document, so that a worker has several leased and one in hand at any moment.
const SLOW: Duration = Duration::from_secs(4);

/// One long poll, as long as SQS has them.
const POLL: Duration = Duration::from_secs(20);

/// Much longer than a process takes to end.
const SOON: Duration = Duration::from_secs(10);

const SPOT: &str = "/latest/meta-data/spot/instance-action";
const LIFECYCLE: &str = "/latest/meta-data/autoscaling/target-lifecycle-state";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const ROLE: &str = "/latest/meta-data/iam/security-credentials/wordfreq-worker";
const PLACE: &str = "/latest/meta-data/placement/region";

fn slowly(proxy: &Proxy, by: Duration) {
    let fault = Fault::Delay(by);
    proxy.inject(Rule { operation: Some("GetObject"), fault, one_in: 1, at_most: u32::MAX });
}

fn wait_for_gets(proxy: &Proxy, worker: &mut Running, wanted: u64) {
    let began = Instant::now();
    while proxy.counts().get("GetObject").copied().unwrap_or(0) < wanted {
        worker.read_on(Duration::from_millis(20));
        assert_eq!(worker.ended(), None, "{}", worker.log.join("\n"));
        assert!(began.elapsed() < crate::process::GUARD, "{}", worker.log.join("\n"));
    }
}

/// A worker drains while it has a batch in hand. `begin` starts that, and may be noticed some seconds later.
fn drains_midway(mut stack: Stack, proxy: &Proxy, begin: impl FnOnce(&Running)) -> Vec<String> {
    // So long that a message that is not given back shows.
    stack.set("WORKER_MESSAGE_VISIBILITY", "600");
    let mut random = Random(11);
    let documents: Vec<_> =
        (0..DOCUMENTS).map(|number| (format!("{number:02}"), random.document())).collect();
    for (key, bytes) in &documents {
        stack.put(key, bytes.as_slice());
    }
    slowly(proxy, SLOW);
    let mut worker = stack.worker(&[]);
    // The first batch is one message, and the next ten, which are all fetched at once.
    wait_for_gets(proxy, &mut worker, 11);
    begin(&worker);
    let status = worker.wait_for_end();
    let depth = stack.cloud.depth(&stack.queues.url);
    let log = std::mem::take(&mut worker.log);
    assert!(status.success(), "{status}: {}", log.join("\n"));

    let drained: Value = serde_json::from_str(log.last().unwrap()).unwrap();
    assert_eq!(drained["message"], "drained", "{drained}");
    let number = |name: &str| drained[name].as_u64().unwrap();
    let (committed, released) = (number("committed"), number("released"));
    // What was received and not begun; the rest of the queue was never touched.
    assert!((1..=9).contains(&released), "{drained}");
    assert!(committed >= 2, "{drained}");
    assert_eq!(depth, [DOCUMENTS as u64 - committed, 0, 0], "what is not done is visible at once");
    let counted: Vec<_> =
        documents.iter().filter_map(|(key, bytes)| Some((key, bytes, stack.live_item(key)?))).collect();
    assert_eq!(counted.len() as u64, committed, "what was in hand is finished");
    assert_eq!(stack.outcomes().len() as u64, committed, "and told");
    // Nobody has to wait for anything.
    proxy.clear();
    stack.work_until_idle(&[("AWS_EC2_METADATA_DISABLED", "true")]);
    for (key, bytes) in &documents {
        let item = stack.live_item(key).unwrap();
        assert_item(&item, &report(bytes), &etag(&stack.cloud, &stack.bucket, key).unwrap());
    }
    assert_eq!(stack.cloud.depth(&stack.queues.dead_url), EMPTY);
    log
}

#[test]
fn sigterm_finishes_what_is_in_hand_and_gives_back_the_rest_at_once() {
    let proxy = Proxy::start(&MOTO.url);
    let stack = Stack::new(&MOTO, &proxy.url);
    drains_midway(stack, &proxy, |worker| worker.signal(Signal::TERM));
}

/// A stack whose workers believe to be on an instance.
fn on_an_instance(proxy: &Proxy, metadata: &Metadata) -> Stack {
    let mut stack = Stack::new(&MOTO, &proxy.url);
    stack.unset("AWS_EC2_METADATA_DISABLED");
    stack.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url.as_str());
    stack
}

#[test]
fn a_spot_notice_starts_a_drain() {
    let (proxy, metadata) = (Proxy::start(&MOTO.url), Metadata::start());
    let stack = on_an_instance(&proxy, &metadata);
    let log = drains_midway(stack, &proxy, |_| {
        assert!(metadata.asked(SPOT) > 0, "nobody looks for a notice");
        metadata.tell(SPOT, r#"{"action": "terminate", "time": "2030-01-01T00:00:00Z"}"#);
    });
    assert!(
        log.iter().any(|line| line.contains("this instance will go") && line.contains("Spot")),
        "{log:?}"
    );
}

#[test]
fn the_end_in_a_group_starts_a_drain() {
    let (proxy, metadata) = (Proxy::start(&MOTO.url), Metadata::start());
    metadata.tell(LIFECYCLE, "InService");
    let stack = on_an_instance(&proxy, &metadata);
    let log = drains_midway(stack, &proxy, |_| {
        assert!(metadata.asked(LIFECYCLE) > 0, "nobody looks at the state");
        metadata.tell(LIFECYCLE, "Terminated");
    });
    let says_why = |line: &String| line.contains("this instance will go") && line.contains("Terminated");
    assert!(log.iter().any(says_why), "{log:?}");
}

/// SQS goes on with a poll whose caller is gone, and hides what it brings for as long as that had asked.
#[test]
fn what_comes_while_idle_workers_drain_is_given_back() {
    let proxy = Proxy::start(&MOTO.url);
    let stack = Stack::new(&MOTO, &proxy.url);
    let mut worker = stack.worker(&[("WORKER_COUNT", "3"), ("WORKER_MESSAGE_VISIBILITY", "600")]);
    // The test event is gone and a long poll has begun.
    stack.wait_until_idle(|| worker.read_on(Duration::from_millis(100)));
    while !is_polling(&proxy) {
        worker.read_on(Duration::from_millis(20));
        assert_eq!(worker.ended(), None, "{}", worker.log.join("\n"));
    }
    let began = Instant::now();
    worker.signal(Signal::TERM);
    worker.wait_for_line("draining");
    // Nor only at the very moment.
    worker.read_on(Duration::from_secs(3));
    stack.put("a", "some words");
    let log = worker.end_well();
    say(&format!("idle workers drain in {:.1?}", began.elapsed()));
    assert!(began.elapsed() < POLL + SOON, "{:?}", began.elapsed());
    assert_eq!(stack.cloud.depth(&stack.queues.url), [1, 0, 0], "{log:?}");
    assert_eq!(stack.live_item("a"), None);
}

/// Whether the last poll has not been answered.
fn is_polling(proxy: &Proxy) -> bool {
    let polls = |requests: Vec<Seen>| requests.into_iter().rfind(|seen| seen.operation == "ReceiveMessage");
    polls(proxy.requests()).is_some_and(|seen| seen.status.is_none())
}

#[test]
fn a_second_signal_stops_a_busy_worker_at_once() {
    let proxy = Proxy::start(&MOTO.url);
    let stack = Stack::new(&MOTO, &proxy.url);
    slowly(&proxy, Duration::from_secs(100));
    stack.put("slow", "some words");
    let mut worker = stack.worker(&[]);
    wait_for_gets(&proxy, &mut worker, 1);
    worker.signal(Signal::TERM);
    worker.wait_for_line("a second signal stops at once");
    let began = Instant::now();
    worker.signal(Signal::TERM);
    let status = worker.wait_for_end();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}");
}

/// What cannot be stored or told now is another worker's to do, at once.
#[test]
fn a_drain_does_not_wait_for_a_service_that_is_down() {
    for (down, is_stored) in [("PutItem", false), ("SendMessageBatch", true)] {
        let proxy = Proxy::start(&MOTO.url);
        let stack = Stack::new(&MOTO, &proxy.url);
        stack.put("a", "some words");
        let (fault, operation) = (Fault::Status(503), Some(down));
        proxy.inject(Rule { operation, fault, one_in: 1, at_most: u32::MAX });
        // Longer than this test takes.
        let mut worker = stack.worker(&[("WORKER_MESSAGE_VISIBILITY", "600")]);
        worker.wait_for_line("the backend cannot be used now");
        worker.drain();
        assert_eq!(stack.cloud.depth(&stack.queues.url)[1], 0, "{down}: given back");
        assert_eq!(stack.live_item("a").is_some(), is_stored, "{down}");
        assert_eq!(stack.cloud.depth(&stack.result_queue), EMPTY, "{down}: nobody was told");
        proxy.clear();
        stack.work_until_idle(&[]);
        let etag = etag(&stack.cloud, &stack.bucket, "a").unwrap();
        assert_item(&stack.live_item("a").unwrap(), &report(b"some words"), &etag);
        let outcomes = stack.outcomes();
        assert!(outcomes.len() == 1 && outcomes[0]["Status"] == "success", "{down}: {outcomes:?}");
    }
}

#[test]
fn region_and_credentials_come_from_the_instance_where_nothing_else_says() {
    let (proxy, metadata) = (Proxy::start(&MOTO.url), Metadata::start());
    metadata.tell(ROLES, "wordfreq-worker");
    metadata.tell(
        ROLE,
        r#"{"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC", "AccessKeyId": "test",
            "SecretAccessKey": "test", "Token": "test", "Expiration": "2099-01-01T00:00:00Z"}"#,
    );
    let mut stack = on_an_instance(&proxy, &metadata);
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        stack.unset(name);
    }
    // Where there are no such queues.
    metadata.tell(PLACE, "eu-west-2");
    let ended = stack.run(&["worker"]).code(1);
    ended.says(&[r#""region":"eu-west-2""#, "error: ", stack.queues.url.rsplit('/').next().unwrap()]);

    metadata.tell(PLACE, "us-east-1");
    stack.put("a", "some words");
    let log = stack.work_until_idle(&[]);
    assert!(log.iter().any(|line| line.contains(r#""region":"us-east-1""#)), "{log:?}");
    assert_item(
        &stack.live_item("a").unwrap(),
        &report(b"some words"),
        &etag(&stack.cloud, &stack.bucket, "a").unwrap(),
    );
    assert!(metadata.asked(PLACE) >= 2 && metadata.asked(ROLE) >= 2, "the instance was asked");
}
