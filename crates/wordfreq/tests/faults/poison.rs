//! Documents that cannot be counted, and documents that kill whoever counts them: they end among the dead letters,
//! with a reason, and harm nobody else.

use std::collections::BTreeMap;

use rustix::process::Signal;
use wordfreq_core::ProfileName;

use crate::oracle;
use crate::system::System;

#[test]
fn a_poison_document_fails_once_and_its_neighbours_are_counted() {
    let system = System::new();
    let mut documents = BTreeMap::new();
    for number in 0..20 {
        documents.insert(format!("{number:02}.txt"), format!("some words, number {number}").into_bytes());
    }
    let poison = format!("before {} after", "z".repeat(64 * 1024 + 1)).into_bytes();
    documents.insert("10-poison.txt".to_owned(), poison);
    for (key, bytes) in &documents {
        system.write(&format!("all/{key}"), bytes);
    }
    system.upload(&["all"]);

    let args = ["up", "--exit-when-idle", "--max", "2", "--profile", "go-sample"];
    let ended = system.run(&args).code(3);
    let neighbours = documents.iter().filter(|(key, _)| *key != "10-poison.txt");
    assert_eq!(
        system.totals(),
        oracle::report(ProfileName::GoSample, neighbours.map(|(_, bytes)| &bytes[..]))
    );
    let letters = system.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["key"], "10-poison.txt");
    assert_eq!(letters[0]["receive_count"], 1, "the same bytes fail the same way: one try");
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(reason.contains("go-sample") && reason.contains("byte 7"), "the profile and the place: {reason}");
    ended.says(&[&format!("failed: processing/10-poison.txt: {reason}"), "queue redrive"]);
    // Nothing has changed, so nothing is tried.
    system.run(&args).code(3);
    assert_eq!(system.dead_letters(), letters);

    let mut up = system.start(&["up", "--preset", "fixed", "--max", "2", "--profile", "unicode"], &[]);
    up.wait_for_line(r#""message":"ready""#);
    let redriven = system.run(&["queue", "redrive", "--format", "json"]).code(0).json();
    assert_eq!(redriven["redriven"], 1);
    up.wait_for_line(r#""document":"processing/10-poison.txt""#);
    up.signal(Signal::TERM);
    assert!(up.wait_for_end().success(), "{}", up.log.join("\n"));
    system.run_until_idle(&[]);
    system.assert_holds(ProfileName::Unicode, &documents);
}

#[test]
fn a_document_that_kills_every_worker_is_given_up_after_five_tries() {
    let system = System::new().with_short_leases();
    let bytes = b"this one kills".to_vec();
    system.write("killer.txt", &bytes);
    system.upload(&["killer.txt"]);
    let ended = system.run_with(
        &["up", "--exit-when-idle", "--max", "2"],
        &[("WORDFREQ_FAILPOINTS", "process.before_count=kill@1")],
    );
    // Nothing was counted at all.
    let ended = ended.code(1);
    ended.says(&["failed: processing/killer.txt: received 5 times", "worker died"]);
    assert_eq!(ended.stderr.matches("signal: 9 (SIGKILL)").count(), 5);
    let letters = system.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["receive_count"], 5);
    assert_eq!(
        letters[0]["reason"],
        "received 5 times, the last time: its worker died, stalled or lost the lease"
    );

    system.run(&["queue", "redrive"]).code(0);
    system.run_until_idle(&[]);
    let documents = BTreeMap::from([("killer.txt".to_owned(), bytes)]);
    system.assert_holds(ProfileName::Unicode, &documents);
}
