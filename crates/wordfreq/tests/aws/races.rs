//! Two workers at one document: whoever is late with an old version changes nothing, whether events say their order or,
//! as those of stores without sequencers, do not.

use std::time::Duration;

use serde_json::json;

use crate::MOTO;
use crate::process::{GUARD, Running};
use crate::support::proxy::{Fault, Proxy, Rule};
use crate::world::{EMPTY, Stack, assert_item, etag, is_live, report};

const KEY: &str = "contested";

/// As EventBridge has it, which has a sequencer always, and on the emulator the same one.
fn event(bucket: &str, detail_type: &str, sequencer: &str) -> String {
    let object = json!({"key": KEY, "sequencer": sequencer});
    json!({
        "source": "aws.s3", "detail-type": detail_type, "region": "us-east-1",
        "detail": {"bucket": {"name": bucket}, "object": object},
    })
    .to_string()
}

fn wait_for_writes(proxy: &Proxy, worker: &mut Running, wanted: u64) {
    let began = std::time::Instant::now();
    while proxy.counts().get("PutItem").copied().unwrap_or(0) < wanted {
        worker.read_on(Duration::from_millis(10));
        assert!(worker.ended().is_none() && began.elapsed() < GUARD, "{}", worker.log.join("\n"));
    }
}

/// Somebody counts a version and is slow to store it; meanwhile it is replaced or deleted, and another is quick.
#[track_caller]
fn the_late_one_changes_nothing(newer: Option<&str>, sequencers: [&str; 2]) {
    let proxy = Proxy::start(&MOTO.url);
    let stack = Stack::new(&MOTO, &proxy.url);
    let bucket = format!("{}-quiet", stack.bucket);
    stack.cloud.wait(stack.cloud.s3.create_bucket().bucket(&bucket).send()).unwrap();
    stack.cloud.put(&bucket, KEY, "the old version of it");
    let fault = Fault::Delay(Duration::from_secs(5));
    proxy.inject(Rule { operation: Some("PutItem"), fault, one_in: 1, at_most: 1 });
    let [older, later] = sequencers;
    let mut worker = stack.worker(&[("WORKER_COUNT", "2")]);
    stack.cloud.send(&stack.queues.url, &event(&bucket, "Object Created", older));
    wait_for_writes(&proxy, &mut worker, 1);
    let detail_type = match newer {
        Some(text) => {
            stack.cloud.put(&bucket, KEY, text);
            "Object Created"
        }
        None => {
            stack.cloud.delete(&bucket, KEY);
            "Object Deleted"
        }
    };
    stack.cloud.send(&stack.queues.url, &event(&bucket, detail_type, later));
    let quick = worker.wait_for_line(if newer.is_some() { r#""counted""# } else { r#""removed""# });
    let late = worker.wait_for_line(r#""outcome":"Superseded""#);
    assert!(quick.contains(KEY) && late.contains(KEY), "{quick}\n{late}");
    stack.stop_when_idle(worker);

    let item = stack.cloud.item(&stack.table, &format!("{bucket}/{KEY}")).unwrap();
    match newer {
        Some(text) => {
            assert_item(&item, &report(text.as_bytes()), &etag(&stack.cloud, &bucket, KEY).unwrap());
        }
        None => assert!(!is_live(&item), "{item:?}"),
    }
    assert_eq!(stack.outcomes().len(), usize::from(newer.is_some()), "only what is true is told");
    assert_eq!(stack.cloud.depth(&stack.queues.dead_url), EMPTY);
}

const IN_ORDER: [&str; 2] = ["0055AED6DCD90281E5", "0055AED6DCD90281E6"];
const TIED: [&str; 2] = ["617f08299329d189", "617f08299329d189"];

#[test]
fn an_old_version_that_is_late_does_not_replace_a_newer_one() {
    for sequencers in [IN_ORDER, TIED] {
        the_late_one_changes_nothing(Some("another version"), sequencers);
    }
}

#[test]
fn a_version_that_is_late_does_not_revive_a_deleted_document() {
    for sequencers in [IN_ORDER, TIED] {
        the_late_one_changes_nothing(None, sequencers);
    }
}
