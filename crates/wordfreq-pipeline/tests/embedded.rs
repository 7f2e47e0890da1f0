//! The embedded backend: the suites of both ports, and what is its own: the bucket, the sweep, the profile in force.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use wordfreq_core::{Profile, ProfileName};
use wordfreq_pipeline::conformance;
use wordfreq_pipeline::conformance::results::Subject;
use wordfreq_pipeline::embedded::{Embedded, IfMissing, Options, StagedPut};
use wordfreq_pipeline::object::Opened;
use wordfreq_pipeline::results::CommitOutcome;
use wordfreq_pipeline::worker::{Backend, WorkerOptions};
use wordfreq_pipeline::{
    DocumentEvent, DocumentId, Drain, ErrorKind, EventKind, Queue, Results, Sequence, worker,
};

fn open(directory: &Path) -> Arc<Embedded> {
    open_folding_at(directory, Options::default().fold_at)
}

fn open_folding_at(directory: &Path, fold_at: u64) -> Arc<Embedded> {
    let options =
        Options { max_receive_count: conformance::queue::MAX_RECEIVE_COUNT, fold_at, ..Options::default() };
    Arc::new(Embedded::open(directory, IfMissing::Create, options).unwrap())
}

fn with_profile(directory: &Path, name: ProfileName) -> Arc<Embedded> {
    let embedded = open(directory);
    embedded.set_profile(&Profile::new(name)).unwrap();
    embedded
}

fn put(embedded: &Embedded, key: &str, text: &[u8]) -> Sequence {
    let staged = embedded.bucket.stage(&mut &text[..]).unwrap();
    let id = DocumentId::new("processing", key).unwrap();
    embedded.bucket.put(vec![StagedPut { id, staged, watched: None }]).unwrap()[0]
}

/// Works in this process until the queue is idle.
fn work_until_idle(embedded: &Arc<Embedded>) -> worker::Tally {
    work_by_threads(embedded, 1)
}

fn work_by_threads(embedded: &Arc<Embedded>, threads: usize) -> worker::Tally {
    let drain = Drain::new();
    let backend = Backend::embedded(embedded.clone());
    let options = WorkerOptions::embedded(Duration::from_secs(5), 8, threads, 5);
    std::thread::scope(|scope| {
        let working = scope.spawn(|| worker::run(&backend, &options, &drain));
        let mut seen = embedded.settled_so_far();
        while !embedded.queue.depth().unwrap().is_idle() && !working.is_finished() {
            seen = embedded.wait_settled(seen, Duration::from_secs(2));
        }
        drain.request();
        working.join().unwrap().unwrap()
    })
}

fn object_names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory.join("objects"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_queue_keeps_its_contract() {
    let directory = tempfile::tempdir().unwrap();
    conformance::queue::run(&*open(directory.path()).queue, conformance::queue::Capabilities::ALL);
}

#[test]
fn the_results_keep_their_contract() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    conformance::results::run(&Subject {
        queue: &*embedded.queue,
        results: &*embedded.results,
        profile: embedded.profile().unwrap().unwrap(),
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn totals_are_exact_after_every_delivery_in_any_order(
        history in conformance::results::histories(),
        fold_at in prop::sample::select(vec![1, 7, 20, u64::MAX]),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let embedded = open_folding_at(directory.path(), fold_at);
        embedded.set_profile(&Profile::default()).unwrap();
        let subject = Subject {
            queue: &*embedded.queue,
            results: &*embedded.results,
            profile: embedded.profile().unwrap().unwrap(),
        };
        conformance::results::a_history_ends_as_the_model_says(&subject, &history);
    }
}

#[test]
fn any_key_is_only_data() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    let longest = "k".repeat(1024);
    let keys = [
        "..",
        "../../etc/passwd",
        "/leading",
        "a//b",
        "a/b",
        "nul\0in it",
        "\u{1F600}",
        " ",
        "a\nb",
        "%2F+",
        &longest,
    ];
    for key in keys {
        put(&embedded, key, format!("text of {}", key.len()).as_bytes());
    }
    work_until_idle(&embedded);
    let mut listed: Vec<_> = embedded
        .results
        .list(None, 100)
        .unwrap()
        .into_iter()
        .map(|result| result.document.key().to_owned())
        .collect();
    let mut expected: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    for name in object_names(directory.path()) {
        assert!(
            name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{name:?} is no digest"
        );
    }
    for bad in ["", &"k".repeat(1025)] {
        assert_eq!(DocumentId::new("processing", bad).unwrap_err().kind(), ErrorKind::Invalid);
    }
    for bad in ["", "ab", "Has-Capitals", "under_score", "../x", "-dash", "dot.", "a/b"] {
        assert!(DocumentId::new(bad, "key").is_err(), "{bad:?} is no bucket");
    }
}

#[test]
fn a_version_is_superseded_by_the_next_and_by_a_deletion() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    let id = DocumentId::new("processing", "a").unwrap();
    let first = put(&embedded, "a", b"old old");
    let second = put(&embedded, "a", b"new");
    assert!(matches!(embedded.bucket.open(&id, first).unwrap(), Opened::Superseded));
    assert!(matches!(embedded.bucket.open(&id, second).unwrap(), Opened::Current(_)));
    work_until_idle(&embedded);
    assert_eq!(embedded.results.totals(None).unwrap().words, 1);
    assert!(embedded.bucket.delete(&id).unwrap());
    assert!(!embedded.bucket.delete(&id).unwrap(), "deleted twice");
    work_until_idle(&embedded);
    assert_eq!(embedded.results.totals(None).unwrap().documents, 0);
    assert!(embedded.results.read(&id, None).unwrap().is_none());
    put(&embedded, "a", b"back again");
    work_until_idle(&embedded);
    assert_eq!(embedded.results.totals(None).unwrap().words, 2);
}

#[test]
fn a_sweep_removes_what_nothing_refers_to_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    put(&embedded, "a", b"first version");
    put(&embedded, "b", b"shared bytes");
    put(&embedded, "c", b"shared bytes");
    put(&embedded, "a", b"second version");
    embedded.bucket.delete(&DocumentId::new("processing", "b").unwrap()).unwrap();
    assert_eq!(object_names(directory.path()).len(), 3);
    fs::write(directory.path().join("incoming/4194305-0"), "left by a dead process").unwrap();
    fs::write(directory.path().join("objects/README"), "not an object").unwrap();
    let in_hand = embedded.bucket.stage(&mut &b"still owned"[..]).unwrap();
    let swept = embedded.bucket.sweep().unwrap();
    assert_eq!((swept.objects, swept.incoming), (1, 1));
    assert_eq!(object_names(directory.path()).len(), 3, "a, the shared one, and the stranger's file");
    let id = DocumentId::new("processing", "d").unwrap();
    embedded.bucket.put(vec![StagedPut { id, staged: in_hand, watched: None }]).unwrap();
    work_until_idle(&embedded);
    assert_eq!(embedded.results.totals(None).unwrap().documents, 3);
}

#[test]
fn damaged_bytes_become_a_dead_letter_not_a_count() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    put(&embedded, "a", b"good words");
    put(&embedded, "b", b"other words");
    let damaged = blake3::hash(b"good words").to_hex();
    fs::write(directory.path().join("objects").join(damaged.as_str()), b"evil words").unwrap();
    let tally = work_until_idle(&embedded);
    assert_eq!((tally.committed, tally.dead_letters), (1, 1));
    let letters = embedded.queue.dead_letters(10).unwrap();
    assert!(letters[0].reason.contains("do not match their digest"), "{}", letters[0].reason);
    fs::remove_file(directory.path().join("objects").join(damaged.as_str())).unwrap();
    embedded.queue.redrive(&wordfreq_pipeline::queue::Redrive::All).unwrap();
    work_until_idle(&embedded);
    let letters = embedded.queue.dead_letters(10).unwrap();
    assert!(letters[0].reason.contains("are missing"), "{}", letters[0].reason);
    put(&embedded, "a", b"good words");
    work_until_idle(&embedded);
    assert_eq!(embedded.results.totals(None).unwrap().documents, 2);
}

/// One byte of a document that several threads count: in the first part, at the start and within what the part before counts, at the
/// end of a part, and the last.
#[test]
fn a_damaged_byte_anywhere_in_a_large_document_makes_a_dead_letter() {
    const PART: usize = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    let text = |name: &str| {
        [name, " ", &"words of a line of a large document\n".repeat(75_000)].concat().into_bytes()
    };
    put(&embedded, "good", &text("good"));
    let len = text("0").len();
    assert!(len > 2 * PART && len < 3 * PART);
    for (number, at) in [0, PART, PART + 3, 2 * PART - 1, 2 * PART, len - 1].into_iter().enumerate() {
        let mut text = text(&number.to_string());
        put(&embedded, &format!("bad-{number}"), &text);
        let object = directory.path().join("objects").join(blake3::hash(&text).to_hex().as_str());
        text[at] ^= 1;
        fs::write(object, text).unwrap();
    }
    let tally = work_by_threads(&embedded, 2);
    assert_eq!((tally.committed, tally.dead_letters), (1, 6));
    for letter in embedded.queue.dead_letters(10).unwrap() {
        assert!(letter.reason.contains("do not match their digest"), "{}", letter.reason);
    }
    assert_eq!(embedded.results.totals(None).unwrap().words, 1 + 8 * 75_000);
}

#[test]
fn another_profile_counts_every_document_again_and_totals_never_mix() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Whitespace);
    put(&embedded, "a", b"don't, stop.");
    put(&embedded, "b", b"stop");
    work_until_idle(&embedded);
    let words = |embedded: &Embedded| -> Vec<String> {
        embedded.results.totals(None).unwrap().counts.into_iter().map(|total| total.word).collect()
    };
    assert_eq!(words(&embedded), ["don't,", "stop", "stop."]);
    assert_eq!(embedded.set_profile(&Profile::new(ProfileName::Unicode)).unwrap(), 2);
    let between = embedded.results.totals(None).unwrap();
    assert_eq!((between.documents, between.other_documents, between.words), (0, 2, 0));
    work_until_idle(&embedded);
    assert_eq!(words(&embedded), ["stop", "don't"]);
    let after = embedded.results.totals(None).unwrap();
    assert_eq!((after.documents, after.other_documents), (2, 0));
    assert_eq!(embedded.set_profile(&Profile::new(ProfileName::Unicode)).unwrap(), 0);
}

#[test]
fn a_message_that_is_no_event_is_a_dead_letter_and_harms_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    let bad_key = serde_json::json!({"event": "created", "bucket": "processing", "key": "", "sequence": 1});
    for body in ["not json", "{}", "[1,2]", &bad_key.to_string()] {
        let message = wordfreq_pipeline::queue::Outgoing { body: body.into(), delay: Duration::ZERO };
        embedded.queue.send(&[message]).unwrap();
    }
    put(&embedded, "a", b"fine");
    let tally = work_until_idle(&embedded);
    assert_eq!((tally.committed, tally.dead_letters), (1, 4));
}

#[test]
fn an_event_reads_back_as_it_was_written() {
    let id = DocumentId::new("processing", "\0\u{1F600}\"\\/..").unwrap();
    let event = DocumentEvent::new(EventKind::Removed, id, Sequence(u128::from(u64::MAX >> 1)), 5);
    assert_eq!(DocumentEvent::parse(&event.to_body()).unwrap(), event);
}

#[test]
fn a_missing_directory_is_refused_unless_it_may_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none");
    let error = Embedded::open(&missing, IfMissing::Refuse, Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!missing.exists(), "a refusal made the directory");
}

#[test]
fn a_worker_that_lost_its_lease_commits_nothing_even_if_nobody_took_over() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    let sequence = put(&embedded, "a", b"words");
    let message = embedded
        .queue
        .receive(1, Duration::from_millis(1), Duration::from_secs(5), &Drain::new())
        .unwrap()
        .remove(0);
    // The lease of a millisecond has ended when the message is visible again.
    while embedded.queue.depth().unwrap().visible == 0 {
        std::thread::yield_now();
    }
    let completion = wordfreq_pipeline::results::Completion {
        receipt: message.receipt,
        event: DocumentEvent::new(
            EventKind::Removed,
            DocumentId::new("processing", "a").unwrap(),
            sequence,
            0,
        ),
        effect: wordfreq_pipeline::results::Effect::Removed,
    };
    assert_eq!(embedded.results.commit(&[completion]).unwrap()[0].outcome, CommitOutcome::LeaseLost);
}

#[test]
fn a_damaged_result_harms_only_its_own_document() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    for key in ["a", "b", "c"] {
        put(&embedded, key, b"first words");
    }
    work_until_idle(&embedded);
    let database = rusqlite::Connection::open(directory.path().join("wordfreq.db")).unwrap();
    let damage = "UPDATE count_tables SET encoded = zeroblob(20) WHERE result_id = (SELECT id FROM results WHERE key = ?1)";
    assert_eq!(database.execute(damage, [b"b"]).unwrap(), 1);
    for key in ["a", "b", "c"] {
        put(&embedded, key, b"second version");
    }
    let tally = work_until_idle(&embedded);
    assert_eq!((tally.committed, tally.dead_letters), (2, 1));
    let letters = embedded.queue.dead_letters(10).unwrap();
    assert!(letters[0].reason.contains("cannot be stored"), "{}", letters[0].reason);
}

#[test]
fn a_dead_letter_is_forgotten_once_its_document_is_mended_or_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::GoSample);
    let bad = vec![b'x'; 70_000];
    for key in ["mended", "deleted", "stays"] {
        put(&embedded, key, &bad);
    }
    work_until_idle(&embedded);
    assert_eq!(embedded.queue.depth().unwrap().dead_letters, 3);
    put(&embedded, "mended", b"good words");
    embedded.bucket.delete(&DocumentId::new("processing", "deleted").unwrap()).unwrap();
    work_until_idle(&embedded);
    let letters = embedded.queue.dead_letters(10).unwrap();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].body.contains("stays"), "{}", letters[0].body);
}

#[test]
fn folding_in_a_quiet_moment_changes_no_total() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = with_profile(directory.path(), ProfileName::Unicode);
    for (key, text) in [("a", "one two two"), ("b", "two three")] {
        put(&embedded, key, text.as_bytes());
        work_until_idle(&embedded);
    }
    embedded.bucket.delete(&DocumentId::new("processing", "a").unwrap()).unwrap();
    work_until_idle(&embedded);
    let before = embedded.results.totals(None).unwrap();
    assert!(embedded.results.fold().unwrap(), "there was something to fold");
    assert_eq!(embedded.results.totals(None).unwrap(), before);
    assert!(!embedded.results.fold().unwrap(), "folded twice");
}
