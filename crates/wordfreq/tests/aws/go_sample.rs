//! A drop-in for the Go sample: its readers understand what is told and what is stored, and its profile counts as it does.
//!
//! `golden/go-sample.json` is what the sample's own `countWords` (its worker's, compiled by Go 1.19 without a change) made
//! of `golden/go-sample.txt`. Not here: each quirk by its name (`wordfreq-core/tests/go_sample.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::MOTO;
use crate::world::{Stack, best, etag};

const TEXT: &[u8] = include_bytes!("golden/go-sample.txt");
const COUNTS: &str = include_str!("golden/go-sample.json");

const KEY: &str = "in/a b+ü%2B.txt";
const TOO_LONG: &str = "too long.txt";

fn stack() -> Stack {
    let mut stack = Stack::new(&MOTO, &MOTO.url);
    stack.set("WORKER_PROFILE", "go-sample");
    stack
}

#[test]
fn it_counts_as_the_sample_does() {
    let stack = stack();
    stack.put(KEY, TEXT);
    stack.work_until_idle(&[]);
    let golden: BTreeMap<String, u64> = serde_json::from_str(COUNTS).unwrap();
    let shown = stack.show(KEY);
    let counted: BTreeMap<String, u64> = shown["counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["word"].as_str().unwrap().to_owned(), entry["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(counted, golden);
    assert_eq!(shown["words"], golden.values().sum::<u64>());

    // The ten best of this text have no equals, so the sample's own order of them is known.
    let mut ranked: Vec<_> = golden.into_iter().map(|(word, count)| (count, word)).collect();
    ranked.sort_unstable_by(|left, right| right.cmp(left));
    let top: Vec<_> = ranked.into_iter().take(10).map(|(count, word)| (word, count)).collect();
    assert_eq!(best(&shown), top);
    let outcomes = stack.outcomes();
    let told = outcomes[0]["Words"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .map(|word| (word["Word"].as_str().unwrap().to_owned(), word["Count"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, top);
}

/// `JobResult` of the sample's `shared_types.go`, as Go's `encoding/json` reads it; `Job.ETag` it passes over.
#[track_caller]
fn assert_is_job_result(told: &Value, key: &str, stack: &Stack) {
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names(told), of(&["Job", "Words", "Duration", "Status", "StatusMessage"]));
    let job = &told["Job"];
    assert_eq!(names(job), of(&["StartedAt", "Region", "Bucket", "Key", "ETag"]));
    let started_at = job["StartedAt"].as_str().unwrap();
    // Strictly RFC 3339, which Go's `time.Time` insists on.
    let started_at =
        humantime::parse_rfc3339(started_at).unwrap_or_else(|error| panic!("{started_at}: {error}"));
    let age = SystemTime::now().duration_since(started_at).unwrap();
    assert!(age < 2 * crate::process::GUARD, "{told}");
    assert_eq!(job["Region"], "us-east-1");
    assert_eq!(job["Bucket"], *stack.bucket);
    assert_eq!(job["Key"], key, "decoded");
    assert_eq!(job["ETag"].as_str(), etag(&stack.cloud, &stack.bucket, key).as_deref());
    // `time.Duration`, in nanoseconds.
    let duration = told["Duration"].as_i64().unwrap();
    assert!((1..=i64::try_from(age.as_nanos()).unwrap()).contains(&duration), "{told}");
    assert!(told["StatusMessage"].is_string(), "{told}");
}

#[test]
fn its_readers_understand_what_is_told_and_what_is_stored() {
    let stack = stack();
    stack.put(KEY, "words Words other WORDS other things small");
    stack.put(TOO_LONG, format!("words {} words", "z".repeat(70_000)));
    stack.work_until_idle(&[]);
    let outcomes = stack.outcomes();
    let of = |key: &str| {
        let found: Vec<_> = outcomes.iter().filter(|told| told["Job"]["Key"] == key).collect();
        assert_eq!(found.len(), 1, "{outcomes:?}");
        found[0]
    };
    let success = of(KEY);
    assert_is_job_result(success, KEY, &stack);
    assert_eq!((&success["Status"], &success["StatusMessage"]), (&"success".into(), &"".into()));
    let expected = serde_json::json!([
        {"Word": "words", "Count": 3}, {"Word": "other", "Count": 2}, {"Word": "small", "Count": 1},
        {"Word": "things", "Count": 1},
    ]);
    assert_eq!(success["Words"], expected, "a list in the order of rank, of exactly these fields");

    let failure = of(TOO_LONG);
    assert_is_job_result(failure, TOO_LONG, &stack);
    assert_eq!(failure["Status"], "failure");
    assert_eq!(failure["Words"], Value::Null, "a slice that is nil");
    let reason = failure["StatusMessage"].as_str().unwrap();
    assert!(reason.contains("byte 6 ") && reason.contains("go-sample"), "{failure}");
    assert_eq!(outcomes.len(), 2);

    // `resultRecord`: the file's name, and a map of numbers. What else is there, the sample passes over.
    let item = stack.live_item(KEY).unwrap();
    assert_eq!(item["Filename"], AttributeValue::S(stack.filename(KEY)));
    let number = |number: u64| AttributeValue::N(number.to_string());
    let words = [("words", 3), ("other", 2), ("small", 1), ("things", 1)];
    let words = words.map(|(word, count)| (word.to_owned(), number(count)));
    assert_eq!(item["Words"], AttributeValue::M(words.into()));
    assert_eq!(stack.live_item(TOO_LONG), None, "the sample stores no failure either");
}
