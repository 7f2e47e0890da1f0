//! What there is to see in a data directory, for those who look: documents and what became of them, words, dead letters,
//! and the fleet. Lists come in pages, each a snapshot of its own; a page goes on after a place in the order of the list,
//! so that what is there all the time is seen once, whatever comes and goes meanwhile. Nothing here writes.
//!
//! A page may hold fewer than were asked for, even none, and yet not be the last: where an answer must be looked for, a
//! page looks at so much and no more.

mod documents;
mod words;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

pub use documents::{BucketSummary, ListedDocument, ListedState, Selection, Settled, SettledSince};
use wordfreq_core::scaling::{AlarmTransition, Bounds, Moment};
pub use words::{Occurrence, RankedWord, Ranking, WordTotals};

use super::history::{self, KeptActivity, Look, Sizing};
use super::queue::{self, Throughput};
use super::readers::Readers;
use super::results;
use crate::document::DocumentId;
use crate::error::BackendError;
use crate::fleet::Member;
use crate::queue::{DeadLetter, Depth};
use crate::results::{DocumentResult, ResultSummary};
use crate::time::Timestamp;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// What is listed.
    pub items: Vec<T>,
    /// After which the next page begins; `None` at the end of the list.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// The same places with other items.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U, C> {
        Page { items: self.items.into_iter().map(make).collect(), next: self.next }
    }
}

/// How much a page looks at where an answer must be looked for.
#[derive(Clone, Copy, Debug)]
pub struct Examined {
    /// Rows of the list.
    pub rows: usize,
    /// Bytes of stored tables of words.
    pub table_bytes: usize,
}

impl Default for Examined {
    /// About an eighth of a second of either.
    fn default() -> Self {
        Self { rows: 25_000, table_bytes: 16 * 1024 * 1024 }
    }
}

/// The fleet in one snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetView {
    /// How it is sized; `None` if there never was a scaler.
    pub sizing: Option<Sizing>,
    /// The bounds that were set by hand, if any were.
    pub bounds_by_hand: Option<Bounds>,
    /// The instances, in the order of their launches.
    pub members: Vec<Member>,
}

/// The looking side of a data directory.
#[derive(Debug)]
pub struct Catalogue {
    readers: Readers,
    /// For looks at much, so that those at little never wait for them.
    long: Readers,
    examined: Examined,
    ranking: Mutex<Option<words::KeptRanking>>,
}

/// Cuts what was fetched, which is one more than is wanted if there is more, into a page.
fn page<T, C>(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> C) -> Page<T, C> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(place) } else { None };
    Page { items, next }
}

impl Catalogue {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            readers: Readers::new(directory),
            long: Readers::new(directory),
            examined: Examined::default(),
            ranking: Mutex::default(),
        }
    }

    /// How the queue stands and what passed through it so far.
    pub fn queue(&self) -> Result<(Depth, Throughput), BackendError> {
        self.readers.read(|transaction| {
            Ok((queue::depth_at(transaction, Timestamp::now())?, queue::throughput(transaction)?))
        })
    }

    /// Whether so many messages wait or are worked on.
    pub fn backlog_is(&self, most: u64) -> Result<bool, BackendError> {
        self.readers.read(|transaction| queue::backlog_is(transaction, most))
    }

    /// Dead letters, oldest death first, after the one that died at a moment and has an id.
    pub fn dead_letters(
        &self,
        after: Option<(Timestamp, i64)>,
        limit: usize,
    ) -> Result<Page<DeadLetter, (Timestamp, i64)>, BackendError> {
        let letters = self
            .readers
            .read(|transaction| queue::dead_letters(transaction, after, limit.saturating_add(1)))?;
        // The ids of this queue are numbers.
        Ok(page(letters, limit, |letter| (letter.died_at, letter.id.parse().unwrap_or(i64::MAX))))
    }

    /// The result of a document, as [`Results::read`](crate::Results::read) has it.
    pub fn result(
        &self,
        document: &DocumentId,
        limit: Option<usize>,
    ) -> Result<Option<DocumentResult>, BackendError> {
        self.readers.read(|transaction| results::read(transaction, document, limit))
    }

    /// Results in the order of their names, as [`Results::list`](crate::Results::list) has them.
    pub fn results(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Page<ResultSummary, DocumentId>, BackendError> {
        let found =
            self.long.read(|transaction| results::list(transaction, after, limit.saturating_add(1)))?;
        Ok(page(found, limit, |summary| summary.document.clone()))
    }

    /// The fleet.
    pub fn fleet(&self) -> Result<FleetView, BackendError> {
        self.readers.read(|transaction| {
            Ok(FleetView {
                sizing: history::sizing(transaction)?,
                bounds_by_hand: history::bounds_by_hand(transaction)?,
                members: history::members(transaction)?,
            })
        })
    }

    /// Activities with their numbers, newest first, those before number `before`.
    pub fn activities(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<(i64, KeptActivity), i64>, BackendError> {
        let found = self
            .readers
            .read(|transaction| history::activities(transaction, before, limit.saturating_add(1)))?;
        Ok(page(found, limit, |(number, _)| *number))
    }

    /// Changes of alarms' states with their numbers, newest first, those before number `before`.
    pub fn transitions(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<(i64, AlarmTransition), i64>, BackendError> {
        let found = self
            .readers
            .read(|transaction| history::transitions(transaction, before, limit.saturating_add(1)))?;
        Ok(page(found, limit, |(number, _)| *number))
    }

    /// The looks since a moment, oldest first, as at most `points`: of neighbours that become one, what is a size
    /// keeps its peak, and what passed through adds up, so that no peak and no message is lost.
    pub fn looks(&self, since: Moment, points: usize) -> Result<Vec<Look>, BackendError> {
        let mut looks = Vec::new();
        self.long.read(|transaction| history::visit_looks(transaction, since, |look| looks.push(look)))?;
        if looks.len() <= points {
            return Ok(looks);
        }
        let (first, last) = (looks[0].observation.at, looks[looks.len() - 1].observation.at);
        // By time and not by number, so that the points stand evenly where looks do not.
        let width = (last.saturating_sub(first) / u32::try_from(points).unwrap_or(u32::MAX).max(1))
            .max(Duration::from_millis(1));
        let slot = |look: &Look| {
            let slot = look.observation.at.saturating_sub(first).as_nanos() / width.as_nanos();
            // The last look falls on the far edge of the last slot.
            slot.min(points.saturating_sub(1) as u128)
        };
        Ok(looks
            .chunk_by(|left, right| slot(left) == slot(right))
            .map(|neighbours| neighbours.iter().skip(1).fold(neighbours[0].clone(), joined))
            .collect())
    }
}

fn joined(sum: Look, look: &Look) -> Look {
    let (mut sum, look, desired) = (sum.observation, &look.observation, sum.desired.max(look.desired));
    sum.at = look.at;
    sum.visible = sum.visible.max(look.visible);
    sum.not_visible = sum.not_visible.max(look.not_visible);
    sum.delayed = sum.delayed.max(look.delayed);
    sum.oldest_age = sum.oldest_age.max(look.oldest_age);
    sum.sent += look.sent;
    sum.received += look.received;
    sum.deleted += look.deleted;
    sum.in_service = sum.in_service.max(look.in_service);
    Look { observation: sum, desired }
}

#[cfg(test)]
mod tests {
    use wordfreq_core::{Profile, ProfileName};

    use super::*;
    use crate::drain::Drain;
    use crate::embedded::{Embedded, IfMissing, Options, StagedPut};
    use crate::queue::Queue as _;
    use crate::worker::{Backend, WorkerOptions, run};

    /// Nine documents, of which every third has the word.
    fn embedded(directory: &Path) -> Embedded {
        let embedded = Embedded::open(directory, IfMissing::Create, Options::default()).unwrap();
        embedded.set_profile(&Profile::default()).unwrap();
        for number in 0..9 {
            let text = if number % 3 == 2 { "needle" } else { "hay" };
            let id = DocumentId::new("processing", format!("{text}{number}")).unwrap();
            let staged = embedded.bucket.stage(&mut text.as_bytes()).unwrap();
            embedded.bucket.put(vec![StagedPut { id, staged, watched: None }]).unwrap();
        }
        embedded
    }

    /// What the pages of a list hold, one after the other.
    fn pages<T, C>(mut get: impl FnMut(Option<&C>) -> Page<T, C>) -> Vec<usize> {
        let (mut sizes, mut after) = (Vec::new(), None);
        loop {
            let page = get(after.as_ref());
            sizes.push(page.items.len());
            after = page.next;
            if after.is_none() {
                return sizes;
            }
        }
    }

    #[test]
    fn a_page_looks_at_so_much_and_no_more_and_the_next_goes_on_there() {
        let directory = tempfile::tempdir().unwrap();
        let embedded = std::sync::Arc::new(embedded(directory.path()));
        let drain = Drain::new();
        let worker = {
            let (embedded, drain) = (embedded.clone(), drain.clone());
            std::thread::spawn(move || {
                let options = WorkerOptions::embedded(Duration::from_secs(30), 64, 1, 5);
                run(&Backend::embedded(embedded), &options, &drain)
            })
        };
        let mut seen = embedded.settled_so_far();
        while !embedded.queue.is_idle().unwrap() {
            seen = embedded.wait_settled(seen, Duration::from_secs(2));
        }
        drain.request();
        worker.join().unwrap().unwrap();
        let narrow = |rows, table_bytes| Catalogue {
            examined: Examined { rows, table_bytes },
            ..Catalogue::new(directory.path())
        };
        let catalogue = narrow(2, usize::MAX);
        let needles = Selection { containing: "needle".into(), ..Selection::default() };
        // In the order of their names the needles come last: two rows a page.
        assert_eq!(pages(|after| catalogue.documents(&needles, after, 10).unwrap()), [0, 0, 0, 2, 1]);
        assert_eq!(pages(|after| catalogue.documents_of_word("needle", after, 10).unwrap()), [0, 0, 0, 2, 1]);
        // Each table is longer than a byte: one a page.
        let catalogue = narrow(usize::MAX, 1);
        let found = pages(|after| catalogue.documents_of_word("needle", after, 10).unwrap());
        assert_eq!(found, [0, 0, 0, 0, 0, 0, 1, 1, 1]);
        // None was counted by another profile yet, and none is passed for nothing.
        embedded.set_profile(&Profile::new(ProfileName::Whitespace)).unwrap();
        let catalogue = narrow(2, usize::MAX);
        let found = pages(|after| catalogue.documents_of_word("needle", after, 10).unwrap());
        assert_eq!(found, [0, 0, 0, 0, 0]);
        assert_eq!(embedded.queue.depth().unwrap().dead_letters, 0);
    }
}
