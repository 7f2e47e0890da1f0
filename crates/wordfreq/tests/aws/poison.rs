//! What cannot be counted, now or ever: it lands among the dead letters with its reason, whoever asked is told, and its
//! neighbours are counted. Not here: messages that nobody can read (`storm`), and what people do about it (`commands`).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wordfreq_core::ProfileName;

use crate::support::proxy::{Fault, Proxy, Rule};
use crate::world::Stack;
use crate::{MOTO, oracle};

/// A message of S3's that tells of these documents.
fn message(documents: &[(&str, &str)]) -> String {
    let record = |(bucket, key): &(&str, &str)| {
        let s3 = json!({"bucket": {"name": bucket}, "object": {"key": key, "size": 10, "sequencer": "1"}});
        json!({"eventVersion": "2.6", "eventName": "ObjectCreated:Put", "s3": s3})
    };
    json!({"Records": documents.iter().map(record).collect::<Vec<_>>()}).to_string()
}

fn dead_letters(stack: &Stack) -> Vec<Value> {
    let letters = stack.run(&["queue", "dead-letters", "--format", "json"]).code(0).json();
    letters["dead_letters"].as_array().unwrap().clone()
}

#[test]
fn what_may_pass_is_tried_again_and_given_up_at_the_last_try_with_its_reason() {
    const TRIES: u32 = 3;
    let stack = Stack::with_tries(&MOTO, &MOTO.url, TRIES);
    let later = format!("{}-later", stack.bucket);
    stack.cloud.send(&stack.queues.url, &message(&[("no-such-bucket", "a")]));
    stack.cloud.send(&stack.queues.url, &message(&[(&later, "a")]));
    let mut worker = stack.worker(&[]);
    worker.wait_for_lines(r#""message":"failed""#, 2);
    stack.cloud.wait(stack.cloud.s3.create_bucket().bucket(&later).send()).unwrap();
    stack.cloud.put(&later, "a", "some words");
    worker.wait_for_line(r#""message":"dead letter""#);
    worker.wait_for_line(r#""message":"counted""#);
    let log: Vec<Value> =
        stack.stop_when_idle(worker).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |text: &str| log.iter().filter(|line| line["message"] == text).count();
    assert_eq!((said("dead letter"), said("counted")), (1, 1), "to a program that reads it: {log:?}");
    let letters = dead_letters(&stack);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("received 3 times, the last time: ") && reason.contains("bucket is gone"),
        "{reason}"
    );
    assert_eq!(
        (&letters[0]["bucket"], &letters[0]["receive_count"]),
        (&json!("no-such-bucket"), &json!(TRIES))
    );
    let mut outcomes = stack.outcomes();
    outcomes.sort_unstable_by_key(|told| told["Status"].to_string());
    let statuses: Vec<_> = outcomes.iter().map(|told| (&told["Status"], &told["Job"]["Bucket"])).collect();
    let (failure, success) = (json!("failure"), json!("success"));
    assert_eq!(
        statuses,
        [(&failure, &json!("no-such-bucket")), (&success, &json!(later))],
        "once, at the last try"
    );
    assert_eq!(
        outcomes[0]["StatusMessage"].as_str(),
        Some(reason.trim_start_matches("received 3 times, the last time: "))
    );
}

/// Of several documents of a message one has a result that no item can hold, and the table has trouble besides.
#[test]
fn a_result_that_cannot_be_stored_harms_no_neighbour() {
    let proxy = Proxy::start(&MOTO.url);
    let mut stack = Stack::new(&MOTO, &proxy.url);
    stack.set("WORKER_PROFILE", "go-sample");
    let quiet = format!("{}-quiet", stack.bucket);
    stack.cloud.wait(stack.cloud.s3.create_bucket().bucket(&quiet).send()).unwrap();
    let huge: String = (0..9).map(|number| format!("{number}{} ", "x".repeat(60_000))).collect();
    stack.cloud.put(&quiet, "huge", huge);
    let neighbours = ["first", "last"];
    for key in neighbours {
        stack.cloud.put(&quiet, key, format!("several words of the {key} document"));
    }
    stack.cloud.send(&stack.queues.url, &message(&[(&quiet, "first"), (&quiet, "huge"), (&quiet, "last")]));
    // More than all tries of one request.
    proxy.inject(Rule { operation: Some("PutItem"), fault: Fault::Status(503), one_in: 1, at_most: 10 });
    stack.work_until_idle(&[]);
    assert_eq!(proxy.faults().get("Status"), Some(&10), "{:?}", proxy.counts());

    for key in neighbours {
        let args = ["results", "show", &format!("{quiet}/{key}"), "--all", "--format", "json"];
        let text = format!("several words of the {key} document");
        let expected = oracle::report(ProfileName::GoSample, [text.as_bytes()]);
        assert_eq!(stack.run(&args).code(0).json(), expected, "{key}");
    }
    let letters = dead_letters(&stack);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be stored") && reason.contains("ten best words"), "{reason}");
    let outcomes = stack.outcomes();
    let told = |status: &str| -> BTreeSet<_> {
        let told = outcomes.iter().filter(|told| told["Status"] == status);
        told.map(|told| told["Job"]["Key"].as_str().unwrap()).collect()
    };
    assert_eq!((told("success"), told("failure")), (neighbours.into(), ["huge"].into()), "{outcomes:?}");
}
