//! What a document costs in requests, and what an idle worker costs: AWS bills each of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::oracle::Random;
use crate::support::proxy::Proxy;
use crate::world::{Stack, assert_item, etag, report};
use crate::{MOTO, say};

const DOCUMENTS: usize = 500;

/// Requests to SQS a document, all together. Three of ten is what full batches give: receive, tell, delete.
const MAX_SQS_REQUESTS: f64 = 0.35;

/// One long poll, as long as SQS has them.
const POLL: Duration = Duration::from_secs(20);

const SQS: [&str; 5] = [
    "ReceiveMessage",
    "DeleteMessageBatch",
    "SendMessageBatch",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
];

#[test]
fn full_batches_cost_little_and_an_idle_worker_next_to_nothing() {
    let proxy = Proxy::start(&MOTO.url);
    let mut stack = Stack::new(&MOTO, &proxy.url);
    stack.set("WORKER_COUNT", "2");
    stack.set("WORKER_MESSAGE_VISIBILITY", "60");
    let mut random = Random(7);
    let documents: BTreeMap<_, _> =
        (0..DOCUMENTS).map(|number| (format!("{number:03}.txt"), random.document())).collect();
    for (key, bytes) in &documents {
        stack.put(key, bytes.as_slice());
    }

    let mut worker = stack.worker(&[]);
    stack.wait_until_idle(|| worker.read_on(Duration::from_millis(100)));
    let counts = proxy.counts();
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let sqs: u64 = SQS.iter().map(|name| count(name)).sum();
    let each = sqs as f64 / DOCUMENTS as f64;
    say(&format!("{DOCUMENTS} documents: {counts:?}; {each:.3} requests to SQS a document"));
    // The look at the table before the work begins is one for a process.
    assert_eq!(count("DescribeTable"), 1);
    let known = [&SQS[..], &["GetObject", "PutItem", "DescribeTable"]].concat();
    let unknown: Vec<_> = counts.keys().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "these are in no budget: {unknown:?}");
    assert!(each <= MAX_SQS_REQUESTS, "{each} requests to SQS a document: {counts:?}");
    assert_eq!((count("GetObject"), count("PutItem")), (DOCUMENTS as u64, DOCUMENTS as u64));
    for (key, bytes) in &documents {
        let item = stack.live_item(key).unwrap();
        assert_item(&item, &report(bytes), &etag(&stack.cloud, &stack.bucket, key).unwrap());
    }
    assert_eq!(stack.outcomes().len(), DOCUMENTS);

    // The poll that is under way has been counted.
    proxy.reset_counts();
    worker.read_on(POLL + POLL / 4);
    let counts = proxy.counts();
    say(&format!("idle for {:?}: {counts:?}", POLL + POLL / 4));
    assert_eq!(worker.ended(), None, "{}", worker.log.join("\n"));
    let polls = counts.get("ReceiveMessage").copied().unwrap_or(0);
    assert!((1..=2).contains(&polls), "{polls} polls: {counts:?}");
    assert_eq!(counts.len(), 1, "{counts:?}");
    worker.stop();
}
