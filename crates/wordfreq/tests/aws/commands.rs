//! The commands people type, on AWS: uploading and waiting, deleting, looking at results and at the queue.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use wordfreq_core::ProfileName;

use crate::process::{Running, run};
use crate::support::proxy::{Fault, Proxy, Rule};
use crate::world::{EMPTY, Stack, assert_item, etag, report, take_all};
use crate::{MOTO, oracle};

const TOO_LONG: usize = 70_000;

fn stack() -> Stack {
    Stack::new(&MOTO, &MOTO.url)
}

fn upload<'a>(stack: &'a Stack, names: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&["upload"], names, &["--bucket", &stack.bucket], more].concat()
}

#[test]
fn upload_waits_and_prints_what_was_counted() {
    let stack = stack();
    let worker = stack.worker(&[]);
    stack.write("a b+ü.txt", "one two two three three three");
    stack.write("empty.txt", "");
    let args = upload(&stack, &["a b+ü.txt", "empty.txt"], &["--prefix", "in//", "--wait"]);
    let ended = stack.run(&args).code(0);
    let lines: Vec<Vec<_>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |key: &str| lines.iter().find(|line| line.join(" ").contains(key)).unwrap();
    assert_eq!(row("in//a b+ü.txt")[3..], ["counted", "6", "3", "-"], "{ended:#?}");
    assert_eq!(row("in//empty.txt")[2..], ["counted", "0", "0", "-"], "{ended:#?}");
    ended.says(&["uploaded 2 documents, 29 bytes"]);
    assert_eq!(stack.cloud.depth(&stack.result_queue), EMPTY, "its answers are gone from the queue");
    let shown = stack.show("in//a b+ü.txt");
    assert_eq!(shown, report(b"one two two three three three"));
    stack.stop_when_idle(worker);
}

/// Whatever lies in a results queue that many use, each takes what is its own.
#[test]
fn two_who_wait_take_their_own_results_and_leave_everybody_elses() {
    let stack = stack();
    let documents =
        |whose: &str| -> Vec<String> { (0..15).map(|number| format!("{whose}-{number:02}")).collect() };
    let (mine, yours) = (documents("mine"), documents("yours"));
    for name in mine.iter().chain(&yours) {
        stack.write(name, format!("some words of {name}"));
    }
    let mut strangers: Vec<String> = (0..25)
        .map(|number| {
            // Of other documents, and of other versions of these.
            let key = if number % 2 == 0 { "mine-03".to_owned() } else { format!("other-{number}") };
            let job = json!({"StartedAt": "2030-01-01T00:00:00Z", "Region": "us-east-1", "Bucket": stack.bucket,
                             "Key": key, "ETag": format!("{number:032x}")});
            json!({"Job": job, "Words": [], "Duration": 1, "Status": "success", "StatusMessage": ""}).to_string()
        })
        .collect();
    strangers.extend(["not JSON".to_owned(), "{}".to_owned(), r#"{"Job":null}"#.to_owned()]);
    for body in &strangers {
        stack.cloud.send(&stack.result_queue, body);
    }
    let wait = |names: &[String]| {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        run(stack.command(&upload(&stack, &names, &["--wait", "--timeout", "200s"]), &[]))
    };
    let worker = stack.worker(&[]);
    let ended = std::thread::scope(|scope| {
        let mine = scope.spawn(|| wait(&mine));
        let yours = wait(&yours);
        [mine.join().unwrap(), yours]
    });
    stack.stop_when_idle(worker);
    for (ended, names) in ended.into_iter().zip([&mine, &yours]) {
        let ended = ended.code(0);
        assert_eq!(ended.stdout.matches("counted").count(), names.len(), "{ended:#?}");
        for name in names {
            assert!(ended.stdout.contains(name), "{name}: {ended:#?}");
        }
    }
    assert_eq!(stack.cloud.depth(&stack.result_queue), [strangers.len() as u64, 0, 0], "all visible at once");
    let mut left = take_all(&stack.cloud, &stack.result_queue);
    left.sort_unstable();
    strangers.sort_unstable();
    assert_eq!(left, strangers);
}

#[test]
fn a_document_that_cannot_be_counted_is_told_and_redriven_once_it_can() {
    let mut stack = stack();
    stack.set("WORKER_PROFILE", "go-sample");
    let long = format!("before {} after", "z".repeat(TOO_LONG));
    for (name, text) in [("long-1", &*long), ("long-2", &long), ("good", "three words here")] {
        stack.write(name, text);
    }
    let worker = stack.worker(&[]);
    let ended = stack.run(&upload(&stack, &["long-1"], &["--wait"])).code(1);
    ended.prints(&["failed", "go-sample", "byte 7"]);
    let ended = stack.run(&upload(&stack, &["long-2", "good"], &["--wait"])).code(3);
    ended.prints(&["failed", "counted"]);
    stack.stop_when_idle(worker);
    assert_eq!(stack.live_item("long-1"), None);

    let status = |stack: &Stack| stack.run(&["queue", "status", "--format", "json"]).code(0).json();
    let expected =
        json!({"visible": 0, "in_flight": 0, "delayed": 0, "oldest_age_seconds": null, "dead_letters": 2});
    assert_eq!(status(&stack), expected);
    stack
        .run(&["queue", "status", "--format", "csv"])
        .code(0)
        .prints(&["visible,in_flight,delayed,oldest_age_seconds,dead_letters\n0,0,0,,2\n"]);
    let letters = |stack: &Stack| -> Vec<Value> {
        let letters = stack.run(&["queue", "dead-letters", "--format", "json"]).code(0).json();
        letters["dead_letters"].as_array().unwrap().clone()
    };
    let seen = letters(&stack);
    assert_eq!(seen.len(), 2, "{seen:?}");
    for (letter, key) in seen.iter().zip(["long-1", "long-2"]) {
        assert_eq!((letter["bucket"].as_str(), letter["key"].as_str()), (Some(&*stack.bucket), Some(key)));
        assert_eq!(letter["receive_count"], 1, "the same bytes fail the same way: one try");
        assert!(letter["reason"].as_str().unwrap().contains("go-sample"), "{letter}");
        assert!(letter["sent_at"].as_str() <= letter["died_at"].as_str(), "{letter}");
    }
    assert_eq!(letters(&stack), seen, "looking changes nothing");
    for format in ["table", "tsv", "csv"] {
        let args = ["queue", "dead-letters", "--format", format];
        stack.run(&args).code(0).prints(&["long-1", "long-2", "reason", seen[0]["id"].as_str().unwrap()]);
    }
    stack.run(&["results", "totals"]).code(0).says(&["not in these totals: 2 dead letters"]);

    let refused = stack.run(&["queue", "redrive", "no-such-letter"]).code(1);
    refused.says(&["nothing was redriven", "no-such-letter", "wordfreq queue dead-letters"]);
    assert_eq!(letters(&stack), seen);
    let args = ["queue", "redrive", seen[1]["id"].as_str().unwrap(), "--format", "json"];
    assert_eq!(stack.run(&args).code(0).json(), json!({"redriven": 1}));
    let status_now = status(&stack);
    let [visible, in_flight] = ["visible", "in_flight"].map(|name| status_now[name].as_u64().unwrap());
    // The poll of the worker that is gone may have it.
    assert_eq!(visible + in_flight, 1, "{status_now}");
    let left = letters(&stack);
    assert_eq!((left.len(), &left[0]["key"]), (1, &json!("long-1")));
    assert_eq!(stack.run(&["queue", "redrive", "--format", "json"]).code(0).json(), json!({"redriven": 1}));
    assert_eq!(status(&stack)["dead_letters"], 0);

    stack.unset("WORKER_PROFILE");
    stack.work_until_idle(&[]);
    assert_eq!(stack.show("long-1"), report(long.as_bytes()));
    assert_eq!(stack.show("long-2"), report(long.as_bytes()));
    assert_eq!(status(&stack)["dead_letters"], 0);
    // What the other profile counted is in no sum of this one.
    let totals = stack.run(&["results", "totals", "--all", "--format", "json"]).code(0);
    let expected = oracle::report(ProfileName::Unicode, [long.as_bytes(), long.as_bytes()]);
    assert_eq!(totals.json(), expected);
    totals.says(&["not in these totals: 1 documents counted by another profile"]);
}

#[test]
fn whoever_waits_in_vain_ends_in_time() {
    let stack = stack();
    stack.write("a.txt", "some words");
    let began = Instant::now();
    let ended = stack.run(&upload(&stack, &["a.txt"], &["--wait", "--timeout", "2s"])).code(1);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(12), "{took:?}");
    ended.prints(&["a.txt", "waiting", "--timeout"]);
    assert_eq!(stack.cloud.depth(&stack.queues.url)[0], 2, "the document waits, and the test event");
    // Interrupted, it ends too, whatever it was to wait for.
    let mut waiting = Running::start(stack.command(&upload(&stack, &["a.txt"], &["--wait"]), &[]));
    waiting.wait_for_line("uploaded 1 document");
    let began = Instant::now();
    waiting.signal(Signal::INT);
    assert_eq!(waiting.wait_for_end().code(), Some(1), "{:?}", waiting.log);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Also when the answer to its last request is lost, which to send again is too late.
#[test]
fn a_file_in_parts_arrives_whole_and_is_counted_once() {
    let proxy = Proxy::start(&MOTO.url);
    let stack = Stack::new(&MOTO, &proxy.url);
    let line = "forty megabytes of words, ";
    let mut text = String::new();
    while text.len() < 40 << 20 {
        text.push_str(line);
        text.push_str(&format!("number {}\n", text.len() / 977));
    }
    text.truncate(40 << 20);
    stack.write("large.txt", &text);
    let once =
        |operation, fault| proxy.inject(Rule { operation: Some(operation), fault, one_in: 1, at_most: 1 });
    once("UploadPart", Fault::CutAfter);
    once("UploadPart", Fault::Status(503));
    once("CompleteMultipartUpload", Fault::CutAfter);
    let worker = stack.worker(&[]);
    let ended = stack.run(&upload(&stack, &["large.txt"], &["--wait"])).code(0);
    let lines: Vec<_> = ended.stdout.lines().filter(|line| line.contains("large.txt")).collect();
    assert!(lines.len() == 1 && lines[0].contains("counted"), "{ended:#?}");
    stack.stop_when_idle(worker);
    let faults = proxy.faults();
    assert_eq!((faults["CutAfter"], faults["Status"]), (2, 1), "{faults:?}");
    let counts = proxy.counts();
    assert!(counts["UploadPart"] >= 5 && !counts.contains_key("AbortMultipartUpload"), "{counts:?}");
    let get = stack.cloud.s3.get_object().bucket(&stack.bucket).key("large.txt");
    let stored = stack.cloud.wait(async { get.send().await.unwrap().body.collect().await.unwrap().to_vec() });
    assert!(stored == text.as_bytes(), "{} bytes arrived", stored.len());
    let etag = etag(&stack.cloud, &stack.bucket, "large.txt").unwrap();
    assert!(etag.ends_with("-5"), "five parts of eight megabytes: {etag}");
    let expected = report(text.as_bytes());
    assert_item(&stack.live_item("large.txt").unwrap(), &expected, &etag);
}

#[test]
fn documents_are_deleted_by_name() {
    let stack = stack();
    for name in ["a.txt", "b.txt"] {
        stack.write(name, format!("some words of {name}"));
    }
    stack.run(&upload(&stack, &["a.txt", "b.txt"], &[])).code(0);
    stack.work_until_idle(&[]);
    let named = |key: &str| stack.filename(key);
    stack.run(&["delete", &named("a.txt")]).code(0).says(&["deleted ", "a.txt"]);
    stack.work_until_idle(&[]);
    assert_eq!(stack.live_item("a.txt"), None);
    stack.run(&["results", "show", &named("a.txt")]).code(1).says(&["has no result"]);
    let totals = stack.run(&["results", "totals", "--all", "--format", "json"]).code(0).json();
    assert_eq!(totals, report(b"some words of b.txt"));
    stack.run(&["delete", &named("a.txt")]).code(1).says(&["there is no document"]);
    stack.run(&["delete", &named("a.txt"), &named("b.txt")]).code(3).says(&["there is no", "deleted"]);
    stack.run(&["delete", "nonsense"]).code(2).says(&["write BUCKET/KEY"]);
    stack.work_until_idle(&[]);
    let totals = stack.run(&["results", "totals", "--all", "--format", "json"]).code(0).json();
    assert_eq!(totals, oracle::report(ProfileName::Unicode, []));
}

#[test]
fn results_are_printed_in_every_form() {
    let stack = stack();
    for (name, text) in [("a\tb.txt", "one two two"), ("c.txt", "=two")] {
        stack.put(name, text);
    }
    stack.work_until_idle(&[]);
    let print = |args: &[&str]| stack.run(args).code(0).stdout;
    let name = stack.filename("a\tb.txt");
    assert_eq!(print(&["results", "show", &name, "--format", "tsv"]), "word\tcount\ntwo\t2\none\t1\n");
    assert_eq!(print(&["results", "show", &name, "--format", "csv", "--top", "1"]), "word,count\ntwo,2\n");
    let table = print(&["results", "show", &name]);
    assert!(table.contains("two") && table.contains("one"), "{table}");
    assert_eq!(stack.show("a\tb.txt"), report(b"one two two"));
    assert_eq!(print(&["results", "totals", "--format", "csv"]), "word,count\ntwo,3\none,1\n");
    assert_eq!(print(&["results", "totals", "--format", "tsv", "--top", "1"]), "word\tcount\ntwo\t3\n");
    let totals = stack.run(&["results", "totals", "--all", "--format", "json"]).code(0).json();
    assert_eq!(totals, oracle::report(ProfileName::Unicode, [&b"one two two"[..], b"=two"]));
    let totals = print(&["results", "totals"]);
    assert!(totals.contains("two") && totals.contains('3'), "{totals}");

    let listed = stack.run(&["results", "list", "--format", "json"]).code(0).json();
    let listed = listed["results"].as_array().unwrap();
    let names: Vec<_> = listed.iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(names, ["a\tb.txt", "c.txt"]);
    assert_eq!(
        (&listed[0]["words"], &listed[0]["distinct"], &listed[0]["bytes"]),
        (&json!(3), &json!(2), &json!(11))
    );
    assert_eq!(listed[0]["sequence"].as_str().map(str::len), Some(32), "as the table has it");
    let tsv = print(&["results", "list", "--format", "tsv"]);
    assert!(
        tsv.starts_with("bucket\tkey\tbytes\twords\t") && tsv.contains("\ta\\tb.txt\t11\t3\t2\t0\t"),
        "{tsv}"
    );
    let csv = print(&["results", "list", "--format", "csv"]);
    assert!(csv.lines().count() == 3 && csv.contains(",c.txt,4,1,1,0,"), "{csv}");
    let one = stack.run(&["results", "list", "--top", "1"]).code(0);
    assert!(!one.stdout.contains("c.txt"), "{one:#?}");
    one.says(&["there are more results"]);
    stack.run(&["results", "show", "nonsense"]).code(2).says(&["write BUCKET/KEY"]);
    stack.run(&["results", "list", "--backend", "azure"]).code(2);
}
