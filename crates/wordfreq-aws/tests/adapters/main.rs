//! The adapters against an emulator of AWS: the suites of the ports, unchanged, and what only AWS has. What the emulator
//! does otherwise than AWS is in `gaps`, a test each, so that every run shows the list and a newer emulator that closes
//! one is noticed.

mod gaps;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use support::cloud::{ACCESS_KEY, Cloud, REGION, SECRET_KEY};
use support::moto::Moto;
use wordfreq_aws::{Connection, DynamoResults, Leases, SpillLocation, SqsQueue, TableLocation};
use wordfreq_core::{Counts, Profile, ProfileName, count};
use wordfreq_pipeline::conformance;
use wordfreq_pipeline::queue::{Outgoing, Queue as _};
use wordfreq_pipeline::results::{CommitOutcome, Completion, Effect, Results as _};
use wordfreq_pipeline::{DocumentEvent, DocumentId, Drain, EventKind, Sequence};

pub(crate) static MOTO: LazyLock<Moto> = LazyLock::new(Moto::start);
pub(crate) static CLOUD: LazyLock<Cloud> = LazyLock::new(|| Cloud::new(&MOTO.url));

fn connection() -> Arc<Connection> {
    Connection::for_endpoint(&MOTO.url, REGION, ACCESS_KEY, SECRET_KEY).unwrap()
}

/// A queue, a table and what commits between them need.
struct Store {
    queue: SqsQueue,
    results: DynamoResults,
    table: String,
    profile: Profile,
}

impl Store {
    fn new(profile: Profile, spill: Option<SpillLocation>) -> Self {
        let (connection, leases) = (connection(), Arc::new(Leases::default()));
        let table = CLOUD.table();
        let location = TableLocation { table: table.clone(), spill };
        let queue = SqsQueue::open(connection.clone(), &CLOUD.queues(5).url, leases.clone()).unwrap();
        let results = DynamoResults::new(connection, location, profile.clone(), leases);
        Self { queue, results, table, profile }
    }

    fn subject(&self) -> conformance::results::Subject<'_> {
        let Self { queue, results, profile, .. } = self;
        conformance::results::Subject { queue, results, profile: profile.clone() }
    }

    /// Commits under a lease of its own.
    fn commit(&self, event: DocumentEvent, effect: Effect) -> CommitOutcome {
        self.queue.send(&[Outgoing { body: "{}".into(), delay: Duration::ZERO }]).unwrap();
        let lease = Duration::from_secs(60);
        let message = self.queue.receive(1, lease, lease, &Drain::new()).unwrap().remove(0);
        let completion = Completion { receipt: message.receipt.clone(), event, effect };
        let outcome = self.results.commit(&[completion]).unwrap()[0].outcome;
        self.queue.ack(&[message.receipt]).unwrap();
        outcome
    }

    fn counted(&self, text: &[u8]) -> Effect {
        let counts = count(&self.profile, text).unwrap();
        Effect::Counted {
            counts,
            fingerprint: self.profile.fingerprint(),
            duration: Duration::from_micros(5),
        }
    }
}

fn event(bucket: &str, key: &str, sequence: u128, etag: Option<&str>) -> DocumentEvent {
    let id = DocumentId::new(bucket, key).unwrap();
    let mut event = DocumentEvent::new(EventKind::Created, id, Sequence(sequence), 0);
    event.provenance.etag = etag.map(str::to_owned);
    event
}

#[test]
fn sqs_queue_passes_the_suite_of_queues() {
    let queues = CLOUD.queues(conformance::queue::MAX_RECEIVE_COUNT);
    let queue = SqsQueue::open(connection(), &queues.url, Arc::default()).unwrap();
    conformance::queue::run(&queue, gaps::QUEUE);
    assert_eq!(MOTO.unexpected_errors(), Vec::<String>::new());
}

#[test]
fn dynamo_results_pass_the_suite_of_results() {
    let store = Store::new(Profile::default(), None);
    conformance::results::run(&store.subject());
    assert_eq!(MOTO.unexpected_errors(), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_as_the_model_says(history in conformance::results::histories()) {
        let store = Store::new(Profile::new(ProfileName::Whitespace), None);
        conformance::results::a_history_ends_as_the_model_says(&store.subject(), &history);
    }
}

/// A vocabulary that no item can hold.
fn large_text(salt: u64) -> String {
    let mut state = salt;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:x} ", state >> 8)
    };
    (0..60_000).map(|_| word()).collect()
}

#[test]
fn a_table_too_large_for_an_item_lies_beside_it_and_goes_with_it() {
    let bucket = CLOUD.bucket();
    let store = Store::new(
        Profile::default(),
        Some(SpillLocation { bucket: bucket.clone(), prefix: "counts/".into() }),
    );
    let objects = || {
        let list = CLOUD.s3.list_objects_v2().bucket(&bucket);
        let found = CLOUD.wait(list.send()).unwrap().contents.unwrap_or_default();
        found.into_iter().map(|object| object.key.unwrap()).collect::<Vec<_>>()
    };
    let table_of = |text: &str| {
        let counts = count(&store.profile, text.as_bytes()).unwrap();
        counts.ranked().iter().map(|entry| (entry.word.to_owned(), entry.count)).collect::<Vec<_>>()
    };
    let (first, second) = (large_text(1), large_text(2));
    let at = |sequence, etag| event("documents", "large", sequence, Some(etag));
    assert_eq!(store.commit(at(1, "a"), store.counted(first.as_bytes())), CommitOutcome::Committed);
    let id = at(1, "a").id;
    let read = |limit| store.results.read(&id, limit).unwrap().unwrap().counts;
    assert!(read(None) == table_of(&first), "the whole table, in one call");
    assert_eq!(read(Some(3)), table_of(&first)[..3]);
    assert_eq!(objects().len(), 1);
    assert!(objects()[0].starts_with("counts/"), "{:?}", objects());
    // A newer version's table takes its place, a late one's is not kept, and a deletion takes the last.
    assert_eq!(store.commit(at(3, "b"), store.counted(second.as_bytes())), CommitOutcome::Committed);
    assert!(read(None) == table_of(&second));
    assert_eq!(objects().len(), 1);
    assert_eq!(store.commit(at(2, "c"), store.counted(first.as_bytes())), CommitOutcome::Superseded);
    assert!(read(None) == table_of(&second));
    assert_eq!(objects().len(), 1);
    assert_eq!(store.commit(at(3, "b"), store.counted(second.as_bytes())), CommitOutcome::AlreadyCommitted);
    assert!(read(None) == table_of(&second), "the table is still there");
    let totals = store.results.totals(Some(1)).unwrap();
    assert_eq!((totals.documents, totals.distinct), (1, table_of(&second).len() as u64));
    assert_eq!(store.commit(at(4, "d"), Effect::Removed), CommitOutcome::Committed);
    assert_eq!(objects(), Vec::<String>::new());
    assert!(store.results.read(&id, None).unwrap().is_none());
}

#[test]
fn without_a_bucket_for_it_a_large_table_is_missed_by_name_and_totals_refuse_to_be_wrong() {
    let store = Store::new(Profile::default(), None);
    let at = event("documents", "large", 1, None);
    assert_eq!(store.commit(at.clone(), store.counted(large_text(3).as_bytes())), CommitOutcome::Committed);
    assert_eq!(store.results.read(&at.id, Some(10)).unwrap().unwrap().counts.len(), 10, "the best are there");
    for error in [store.results.read(&at.id, None).unwrap_err(), store.results.totals(None).unwrap_err()] {
        let message = error.to_string();
        assert!(message.contains("documents/large") && message.contains("WORKER_RESULT_BUCKET"), "{message}");
    }
}

#[test]
fn an_item_of_the_sample_is_replaced_and_passed_over() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let store = Store::new(Profile::default(), None);
    for key in ["documents/old", "documents/other"] {
        let words = AttributeValue::M([("words".to_owned(), AttributeValue::N("3".into()))].into());
        let put = CLOUD.dynamo.put_item().table_name(&store.table).item("Words", words);
        CLOUD.wait(put.item("Filename", AttributeValue::S(key.into())).send()).unwrap();
    }
    let old = event("documents", "old", 1, None);
    assert_eq!(store.commit(old.clone(), store.counted(b"new words")), CommitOutcome::Committed);
    let listed = store.results.list(None, 10).unwrap();
    assert_eq!(listed.iter().map(|result| &result.document).collect::<Vec<_>>(), [&old.id]);
    let totals = store.results.totals(None).unwrap();
    assert_eq!((totals.documents, totals.other_documents), (1, 1));
    let item = CLOUD.item(&store.table, "documents/old").unwrap();
    let words = item["Words"].as_m().unwrap();
    assert_eq!(words.len(), 2, "readers of the sample find what they know");
    assert_eq!(words["words"], AttributeValue::N("1".into()));
}

/// An item of the same version that no write of ours named, as a person or another program may have left it.
#[test]
fn an_item_without_a_commit_id_is_replaced_where_the_bucket_says_so() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let bucket = CLOUD.bucket();
    CLOUD.put(&bucket, "key", "two words");
    let head = CLOUD.wait(CLOUD.s3.head_object().bucket(&bucket).key("key").send()).unwrap();
    let etag = head.e_tag.unwrap().trim_matches('"').to_owned();
    let store = Store::new(Profile::default(), None);
    let at = event(&bucket, "key", 7, Some(&etag));
    let put = CLOUD.dynamo.put_item().table_name(&store.table);
    let put = put.item("Filename", AttributeValue::S(at.id.to_string()));
    let put = put.item("Sequencer", AttributeValue::S(format!("{:032x}", 7)));
    CLOUD.wait(put.send()).unwrap();
    assert_eq!(store.commit(at.clone(), store.counted(b"two words")), CommitOutcome::Committed);
    assert_eq!(store.results.read(&at.id, None).unwrap().unwrap().summary.words, 2);
}

/// Where two versions have one sequencer, the one that the bucket holds wins, in whatever order they come.
#[test]
fn of_two_versions_with_one_sequencer_the_present_one_wins() {
    let bucket = CLOUD.bucket();
    let etag = |text: &str| {
        CLOUD.put(&bucket, "key", text);
        let head = CLOUD.s3.head_object().bucket(&bucket).key("key");
        CLOUD.wait(head.send()).unwrap().e_tag.unwrap().trim_matches('"').to_owned()
    };
    let (old, new) = (etag("old words"), etag("new words are these"));
    let store = Store::new(Profile::default(), None);
    let at = |etag: &str| event(&bucket, "key", 7, Some(etag));
    let words = || store.results.read(&at("").id, None).unwrap().map(|result| result.summary.words);
    assert_eq!(store.commit(at(&old), store.counted(b"old words")), CommitOutcome::Committed);
    assert_eq!(store.commit(at(&new), store.counted(b"new words are these")), CommitOutcome::Committed);
    assert_eq!(words(), Some(4));
    assert_eq!(store.commit(at(&old), store.counted(b"old words")), CommitOutcome::Superseded, "a late one");
    assert_eq!(
        store.commit(at(&new), store.counted(b"new words are these")),
        CommitOutcome::AlreadyCommitted
    );
    let removed = DocumentEvent { event: EventKind::Removed, ..at(&new) };
    assert_eq!(store.commit(removed.clone(), Effect::Removed), CommitOutcome::Superseded, "it is there");
    assert_eq!(words(), Some(4));
    CLOUD.delete(&bucket, "key");
    assert_eq!(store.commit(removed.clone(), Effect::Removed), CommitOutcome::Committed);
    assert_eq!(store.commit(removed, Effect::Removed), CommitOutcome::AlreadyCommitted);
    assert_eq!(store.commit(at(&new), store.counted(b"new words are these")), CommitOutcome::Superseded);
    assert_eq!(words(), None, "an older event does not revive it");
}

#[test]
fn a_mark_of_a_deletion_is_forgotten_by_the_table_only_long_after_any_event() {
    let store = Store::new(Profile::default(), None);
    let at = event("documents", "gone", 5, None);
    assert_eq!(store.commit(at.clone(), Effect::Removed), CommitOutcome::Committed);
    assert_eq!(
        store.commit(event("documents", "gone", 4, None), store.counted(b"x")),
        CommitOutcome::Superseded
    );
    let item = CLOUD.item(&store.table, "documents/gone").unwrap();
    let expires: i64 = item["ExpiresAt"].as_n().unwrap().parse().unwrap();
    let days = (expires - wordfreq_pipeline::Timestamp::now().0 / 1000) / 86_400;
    assert!((28..=91).contains(&days), "{days} days");
    assert_eq!(
        store.commit(event("documents", "gone", 6, None), store.counted(b"x")),
        CommitOutcome::Committed
    );
    let item = CLOUD.item(&store.table, "documents/gone").unwrap();
    assert!(!item.contains_key("ExpiresAt") && !item.contains_key("Deleted"), "a document would vanish");
}

/// Counts by another profile replace those of the same version.
#[test]
fn the_same_version_under_another_profile_replaces() {
    let store = Store::new(Profile::default(), None);
    let leases = Arc::new(Leases::default());
    let at = event("documents", "a", 1, Some("tag"));
    assert_eq!(store.commit(at.clone(), store.counted(b"it's one")), CommitOutcome::Committed);
    let other = Profile::new(ProfileName::Whitespace);
    let queue = SqsQueue::open(connection(), &CLOUD.queues(5).url, leases.clone()).unwrap();
    let location = TableLocation { table: store.table.clone(), spill: None };
    let results = DynamoResults::new(connection(), location, other.clone(), leases);
    let other = Store { queue, results, table: store.table.clone(), profile: other };
    assert_eq!(other.commit(at.clone(), other.counted(b"it's one")), CommitOutcome::Committed);
    let read = store.results.read(&at.id, None).unwrap().unwrap();
    assert_eq!(read.summary.fingerprint, other.profile.fingerprint());
    assert_eq!(store.results.totals(None).unwrap().other_documents, 1);
    let mut nothing = Counts::new();
    nothing.add_totals(0, 0);
    let old = Effect::Counted { counts: nothing, fingerprint: "old".into(), duration: Duration::ZERO };
    assert_eq!(other.commit(at, old), CommitOutcome::ProfileChanged);
}
