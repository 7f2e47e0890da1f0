//! The contract of [`Results`], checked against a plain model: the newest version of each document, and totals as
//! the sum over them. Leases come from the queue that belongs to the results.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use wordfreq_core::{Counts, Profile, count};

use crate::document::{DocumentEvent, DocumentId, EventKind, Sequence};
use crate::drain::Drain;
use crate::queue::{Outgoing, Queue, Receipt};
use crate::results::{CommitOutcome, Completion, Effect, Results};

/// An empty store under test.
pub struct Subject<'a> {
    /// Gives the leases that commits need.
    pub queue: &'a dyn Queue,
    /// The results.
    pub results: &'a dyn Results,
    /// The profile in force.
    pub profile: Profile,
}

/// What is asked of one document in a history.
#[derive(Clone, Debug)]
pub enum Change {
    /// This text is the version.
    Text(String),
    /// The document was deleted.
    Removed,
}

/// One delivery: which of a few documents, which version, and what it says.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Number of the document.
    pub document: u8,
    /// Its version.
    pub sequence: u64,
    /// What the version says; the same version always says the same.
    pub change: Change,
}

impl Subject<'_> {
    fn lease(&self, lease: Duration) -> Receipt {
        self.queue.send(&[Outgoing { body: "{}".into(), delay: Duration::ZERO }]).expect("send");
        let messages = self.queue.receive(1, lease, Duration::from_secs(10), &Drain::new()).expect("receive");
        messages[0].receipt.clone()
    }

    fn counted(&self, text: &str) -> Effect {
        Effect::Counted {
            counts: count(&self.profile, text.as_bytes()).expect("these texts can be counted"),
            fingerprint: self.profile.fingerprint(),
            duration: Duration::from_micros(5),
        }
    }

    fn completion(&self, delivery: &Delivery) -> Completion {
        Completion {
            receipt: self.lease(Duration::from_secs(30)),
            event: event(delivery.document, delivery.sequence),
            effect: match &delivery.change {
                Change::Text(text) => self.counted(text),
                Change::Removed => Effect::Removed,
            },
        }
    }

    fn commit(&self, completion: Completion) -> CommitOutcome {
        let receipt = completion.receipt.clone();
        let committed = self.results.commit(&[completion]).expect("commit")[0];
        if !committed.acknowledged {
            self.queue.ack(&[receipt]).expect("ack");
        }
        committed.outcome
    }

    fn assert_same(&self, model: &BTreeMap<DocumentId, (u64, Option<Counts>)>) {
        let mut sum = Counts::new();
        let mut documents: BTreeMap<String, u64> = BTreeMap::new();
        let (mut num_documents, mut listed) = (0, Vec::new());
        for (id, (sequence, counts)) in model {
            let found = self.results.read(id, None).expect("read");
            match counts {
                None => assert!(found.is_none(), "{id} was removed"),
                Some(counts) => {
                    let found = found.unwrap_or_else(|| panic!("{id} has no result"));
                    let expected: Vec<_> =
                        counts.ranked().iter().map(|entry| (entry.word.to_owned(), entry.count)).collect();
                    assert_eq!(found.counts, expected, "table of {id}");
                    assert_eq!(found.summary.sequence, Sequence(u128::from(*sequence)));
                    assert_eq!(found.summary.words, counts.words());
                    assert_eq!(found.summary.distinct, counts.distinct());
                    assert_eq!(found.summary.bytes, counts.bytes());
                    assert_eq!(found.summary.fingerprint, self.profile.fingerprint());
                    let best = self.results.read(id, Some(2)).expect("read").expect("a result").counts;
                    assert_eq!(best, expected[..expected.len().min(2)]);
                    for (word, _) in counts.iter() {
                        *documents.entry(word.to_owned()).or_default() += 1;
                    }
                    sum.merge(counts.clone());
                    num_documents += 1;
                    listed.push(id.clone());
                }
            }
        }
        let totals = self.results.totals(None).expect("totals");
        assert_eq!((totals.documents, totals.bytes), (num_documents, sum.bytes()));
        assert_eq!(
            (totals.words, totals.distinct, totals.over_long),
            (sum.words(), sum.distinct(), sum.over_long())
        );
        let expected: Vec<_> = sum
            .ranked()
            .iter()
            .map(|entry| (entry.word.to_owned(), entry.count, documents[entry.word]))
            .collect();
        let found: Vec<_> =
            totals.counts.iter().map(|total| (total.word.clone(), total.count, total.documents)).collect();
        assert_eq!(found, expected, "totals are not the sum over the documents");
        let mut pages = Vec::new();
        loop {
            let page = self.results.list(pages.last(), 2).expect("list");
            if page.is_empty() {
                break;
            }
            pages.extend(page.into_iter().map(|summary| summary.document));
        }
        assert_eq!(pages, listed);
    }
}

fn document(number: u8) -> DocumentId {
    let keys = ["a.txt", "a//b", "../up", "nul\0key", "\u{1F600}/\u{e9}"];
    let number = usize::from(number);
    DocumentId::new("processing", format!("{}{}", keys[number % keys.len()], number / keys.len()))
        .expect("a key")
}

/// Random histories of a few documents, for [`a_history_ends_as_the_model_says`].
pub fn histories() -> impl Strategy<Value = Vec<Delivery>> {
    let delivery = (0u8..4, 1u64..6).prop_map(|(document, sequence)| {
        // A version always says the same, so its text follows from its name.
        let change = match (u64::from(document) * 7 + sequence * 3) % 5 {
            0 => Change::Removed,
            1 => Change::Text(String::new()),
            number => Change::Text(format!(
                "one two{} two{} {}",
                sequence,
                sequence,
                "three ".repeat(number as usize)
            )),
        };
        Delivery { document, sequence, change }
    });
    proptest::collection::vec(delivery, 1..24)
}

fn event(number: u8, sequence: u64) -> DocumentEvent {
    DocumentEvent::new(EventKind::Created, document(number), Sequence(sequence.into()), 0)
}

/// Delivers a history in its order and compares with the model after every step.
pub fn a_history_ends_as_the_model_says(subject: &Subject<'_>, history: &[Delivery]) {
    let mut model: BTreeMap<DocumentId, (u64, Option<Counts>)> = BTreeMap::new();
    for delivery in history {
        let id = document(delivery.document);
        let outcome = subject.commit(subject.completion(delivery));
        let newest = model.get(&id).map(|(sequence, _)| *sequence);
        let expected = match newest {
            Some(newest) if newest > delivery.sequence => CommitOutcome::Superseded,
            Some(newest) if newest == delivery.sequence => CommitOutcome::AlreadyCommitted,
            _ => CommitOutcome::Committed,
        };
        assert_eq!(outcome, expected, "{delivery:?} after version {newest:?}");
        if expected == CommitOutcome::Committed {
            let counts = match &delivery.change {
                Change::Text(text) => {
                    Some(count(&subject.profile, text.as_bytes()).expect("these texts can be counted"))
                }
                Change::Removed => None,
            };
            model.insert(id, (delivery.sequence, counts));
        }
        subject.assert_same(&model);
    }
}

/// Runs every fixed case; random histories are left to the adapter's own tests.
pub fn run(subject: &Subject<'_>) {
    subject.assert_same(&BTreeMap::new());
    a_lost_lease_commits_nothing(subject);
    another_profile_commits_nothing(subject);
    a_batch_is_answered_in_order(subject);
}

/// A lease that has ended, or was given to another, writes nothing and acknowledges nothing.
pub fn a_lost_lease_commits_nothing(subject: &Subject<'_>) {
    let short = Duration::from_secs(2);
    let lost = subject.lease(short);
    let again = subject
        .queue
        .receive(1, Duration::from_secs(30), Duration::from_secs(10), &Drain::new())
        .expect("receive")
        .remove(0);
    let completion = |receipt: &Receipt| Completion {
        receipt: receipt.clone(),
        event: event(200, 1),
        effect: subject.counted("written by a ghost"),
    };
    let committed = subject.results.commit(&[completion(&lost)]).expect("commit")[0];
    assert_eq!(committed.outcome, CommitOutcome::LeaseLost);
    assert!(!committed.acknowledged);
    assert!(subject.results.read(&document(200), None).expect("read").is_none());
    assert_eq!(subject.queue.depth().expect("depth").in_flight, 1, "the other worker's message is gone");
    assert_eq!(subject.commit(completion(&again.receipt)), CommitOutcome::Committed);
    let removal =
        Completion { effect: Effect::Removed, event: event(200, 2), ..completion(&subject.lease(LEASE)) };
    assert_eq!(subject.commit(removal), CommitOutcome::Committed);
}

const LEASE: Duration = Duration::from_secs(30);

/// Counts of a profile that is not in force are refused.
pub fn another_profile_commits_nothing(subject: &Subject<'_>) {
    let receipt = subject.lease(LEASE);
    let committed = subject
        .results
        .commit(&[Completion {
            receipt: receipt.clone(),
            event: event(201, 1),
            effect: Effect::Counted {
                counts: Counts::new(),
                fingerprint: "another-profile".into(),
                duration: Duration::ZERO,
            },
        }])
        .expect("commit")[0];
    assert_eq!(committed.outcome, CommitOutcome::ProfileChanged);
    assert!(!committed.acknowledged);
    assert!(subject.results.read(&document(201), None).expect("read").is_none());
    subject.queue.ack(&[receipt]).expect("ack");
}

/// Several versions and documents in one commit have the effect of one after the other.
pub fn a_batch_is_answered_in_order(subject: &Subject<'_>) {
    let deliveries =
        [(202, 5, "five five"), (203, 1, "one"), (202, 4, "four"), (202, 6, "six"), (203, 1, "one")];
    let completions: Vec<_> = deliveries
        .iter()
        .map(|(document, sequence, text)| {
            subject.completion(&Delivery {
                document: *document,
                sequence: *sequence,
                change: Change::Text((*text).into()),
            })
        })
        .collect();
    let receipts: Vec<_> = completions.iter().map(|completion| completion.receipt.clone()).collect();
    let outcomes: Vec<_> = subject
        .results
        .commit(&completions)
        .expect("commit")
        .iter()
        .map(|committed| committed.outcome)
        .collect();
    use CommitOutcome::{AlreadyCommitted, Committed, Superseded};
    assert_eq!(outcomes, [Committed, Committed, Superseded, Committed, AlreadyCommitted]);
    subject.queue.ack(&receipts).expect("ack");
    let totals = subject.results.totals(None).expect("totals");
    let found: Vec<_> =
        totals.counts.iter().map(|total| (total.word.as_str(), total.count, total.documents)).collect();
    assert_eq!(found, [("one", 1, 1), ("six", 1, 1)]);
    for (document_number, sequence) in [(202, 7), (203, 2)] {
        let removal = Delivery { document: document_number, sequence, change: Change::Removed };
        assert_eq!(subject.commit(subject.completion(&removal)), Committed);
    }
    assert_eq!(subject.results.totals(None).expect("totals").distinct, 0);
}
