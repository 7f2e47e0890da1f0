//! The words of all documents by rank, and the documents of a word.
//!
//! The totals stand in the order of the words and change with every commit, so a ranking of them is made anew from all of
//! them: it is kept for as long as nothing changes and somebody asks, and dropped when nobody does. There is no index
//! from words to documents: a word's documents are looked for in their tables, so many at a time.

use std::cmp::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Transaction, params};
use wordfreq_core::{Profile, count};

use super::{Catalogue, Page};
use crate::document::DocumentId;
use crate::embedded::results::{document_id, profile_in_force, sums};
use crate::embedded::{queue, totals};
use crate::encoding;
use crate::error::{BackendError, ErrorKind};
use crate::results::Totals;

/// The most words that are ranked; of more, these are the best.
const WORDS_AT_MOST: usize = 5_000_000;

/// The most bytes of them all.
const BYTES_AT_MOST: usize = 256 * 1024 * 1024;

/// A ranking that is out of date serves lists all the same for this many times as long as it took to make. So while
/// documents are counted, at most a fifth of one core makes rankings.
const SERVES_ITS_MAKING: u32 = 4;

/// What the totals were when a ranking was made. Every commit that moves totals acknowledges its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    profile: i64,
    acknowledged: u64,
}

/// All words by rank, as of one moment.
#[derive(Debug)]
pub struct Ranking {
    version: Version,
    profile: Profile,
    sums: Totals,
    text: String,
    entries: Vec<Entry>,
    made: Instant,
    took: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u16,
    count: u64,
    documents: u64,
}

/// A ranking, and when somebody last asked for it.
#[derive(Debug)]
pub(super) struct KeptRanking {
    ranking: Arc<Ranking>,
    asked: Instant,
}

/// A word in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankedWord<'a> {
    /// From 1 on.
    pub rank: u64,
    /// The word.
    pub word: &'a str,
    /// How often it stands in all documents.
    pub count: u64,
    /// In how many it stands.
    pub documents: u64,
}

/// A word's place in the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordTotals {
    /// The word as it is counted.
    pub word: String,
    /// How often it stands in all documents; 0 if nowhere.
    pub count: u64,
    /// In how many it stands.
    pub documents: u64,
    /// Its rank, from 1 on; `None` if it is nowhere, or beyond the words that are ranked.
    pub rank: Option<u64>,
    /// Words in all documents.
    pub words: u64,
}

/// A document in which a word stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The document.
    pub id: DocumentId,
    /// How often the word stands in it.
    pub count: u64,
    /// How many words it has.
    pub words: u64,
}

impl Ranking {
    /// The sums over all documents of the profile in force, without the words.
    pub fn sums(&self) -> &Totals {
        &self.sums
    }

    /// The profile in force.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// How many words are ranked: every one, unless there are too many to keep.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The word of an index, which is one less than its rank.
    pub fn get(&self, index: usize) -> Option<RankedWord<'_>> {
        self.entries.get(index).map(|entry| RankedWord {
            rank: index as u64 + 1,
            word: word(&self.text, *entry),
            count: entry.count,
            documents: entry.documents,
        })
    }

    /// The index of the first word that ranks after a place, whether or not the place's word is still there.
    pub fn after(&self, count: u64, place: &str) -> usize {
        self.entries.partition_point(|entry| {
            rank((entry.count, word(&self.text, *entry)), (count, place)) != Ordering::Greater
        })
    }

    /// A word, given as it is counted. Looks at all of them.
    fn find(&self, wanted: &str) -> Option<RankedWord<'_>> {
        let index = self.entries.iter().position(|entry| {
            usize::from(entry.length) == wanted.len() && word(&self.text, *entry) == wanted
        })?;
        self.get(index)
    }

    /// The words from an index on that begin with `prefix` and have `containing` in them, at most `limit`, and the index
    /// after the last of them.
    pub fn select(
        &self,
        from: usize,
        prefix: &str,
        containing: &str,
        limit: usize,
    ) -> (Vec<RankedWord<'_>>, usize) {
        let mut selected = Vec::new();
        let mut next = from;
        while selected.len() < limit
            && let Some(ranked) = self.get(next)
        {
            next += 1;
            if ranked.word.starts_with(prefix) && ranked.word.contains(containing) {
                selected.push(ranked);
            }
        }
        (selected, next)
    }

    /// At most `points` words whose ranks stand evenly on a logarithmic axis, the first and the last among them.
    pub fn zipf(&self, points: usize) -> Vec<RankedWord<'_>> {
        let last = self.len();
        if last == 0 {
            return Vec::new();
        }
        let steps = points.saturating_sub(1).max(1);
        let mut indices: Vec<usize> = (0..points.max(1))
            .map(|step| {
                let rank = (last as f64).powf(step as f64 / steps as f64).round() as usize;
                rank.clamp(1, last) - 1
            })
            .collect();
        indices.dedup();
        indices.into_iter().filter_map(|index| self.get(index)).collect()
    }
}

fn word(text: &str, entry: Entry) -> &str {
    let start = entry.start as usize;
    &text[start..start + usize::from(entry.length)]
}

fn rank(left: (u64, &str), right: (u64, &str)) -> Ordering {
    right.0.cmp(&left.0).then_with(|| left.1.cmp(right.1))
}

fn version(transaction: &Transaction<'_>, profile: i64) -> Result<Version, BackendError> {
    Ok(Version { profile, acknowledged: queue::throughput(transaction)?.deleted })
}

/// Keeps the better half.
fn halve(text: &mut String, entries: &mut Vec<Entry>) {
    let half = entries.len() / 2;
    entries.select_nth_unstable_by(half, |left, right| {
        rank((left.count, word(text, *left)), (right.count, word(text, *right)))
    });
    entries.truncate(half);
    let mut kept = String::new();
    for entry in entries {
        // Fits, as all of them did.
        let start = kept.len() as u32;
        kept.push_str(word(text, *entry));
        entry.start = start;
    }
    *text = kept;
}

fn make(transaction: &Transaction<'_>, words_at_most: usize) -> Result<Ranking, BackendError> {
    let made = Instant::now();
    let (profile_id, profile) = profile_in_force(transaction)?;
    let mut sums = sums(transaction, profile_id, &profile)?;
    let pending = totals::pending(transaction, profile_id)?;
    let (mut text, mut entries) = (String::new(), Vec::new());
    totals::visit(transaction, profile_id, &pending, |word, total| {
        sums.words += total.count;
        sums.distinct += 1;
        if entries.len() == 2 * words_at_most || text.len() + word.len() > BYTES_AT_MOST {
            halve(&mut text, &mut entries);
        }
        // Both fit: the text is shorter than 4 GiB, and no word is longer than MAX_WORD_BYTES.
        let (start, length) = (text.len() as u32, word.len() as u16);
        text.push_str(word);
        entries.push(Entry { start, length, count: total.count, documents: total.documents });
    })?;
    let order = |left: &Entry, right: &Entry| {
        rank((left.count, word(&text, *left)), (right.count, word(&text, *right)))
    };
    entries.sort_unstable_by(order);
    entries.truncate(words_at_most);
    entries.shrink_to_fit();
    let version = version(transaction, profile_id)?;
    Ok(Ranking { version, profile, sums, text, entries, made, took: made.elapsed() })
}

impl Catalogue {
    /// All words by rank, as they are now.
    ///
    /// # Errors
    /// `NotFound` if nothing was ever counted.
    pub fn ranking(&self) -> Result<Arc<Ranking>, BackendError> {
        self.ranking_if(|_| false)
    }

    /// All words by rank, as they are now or were a moment ago; the longer making a ranking takes, the longer the moment.
    ///
    /// # Errors
    /// `NotFound` if nothing was ever counted.
    pub fn recent_ranking(&self) -> Result<Arc<Ranking>, BackendError> {
        self.ranking_if(|ranking| ranking.made.elapsed() < SERVES_ITS_MAKING * ranking.took)
    }

    /// Drops a ranking that nobody has asked for as long as this; tells whether one is kept.
    pub fn forget_ranking(&self, unasked: Duration) -> bool {
        let mut kept = self.ranking.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|kept| kept.asked.elapsed() >= unasked) {
            *kept = None;
        }
        kept.is_some()
    }

    fn ranking_if(&self, serves: impl Fn(&Ranking) -> bool) -> Result<Arc<Ranking>, BackendError> {
        // Held while one is made: whoever comes meanwhile wants the same.
        let mut kept = self.ranking.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.readers.read(|transaction| {
            let (profile, _) = profile_in_force(transaction)?;
            version(transaction, profile)
        })?;
        if let Some(kept) = kept.as_mut().filter(|kept| {
            kept.ranking.version == now
                || (kept.ranking.version.profile == now.profile && serves(&kept.ranking))
        }) {
            kept.asked = Instant::now();
            return Ok(kept.ranking.clone());
        }
        // Never two at once in memory for longer than somebody reads the old one.
        *kept = None;
        let ranking = Arc::new(self.long.read(|transaction| make(transaction, WORDS_AT_MOST))?);
        *kept = Some(KeptRanking { ranking: ranking.clone(), asked: Instant::now() });
        Ok(ranking)
    }

    /// A word's place in the corpus. The word is taken as it stands if it is one of the corpus, else as the profile in
    /// force counts it.
    ///
    /// # Errors
    /// `Invalid` if the profile makes several words of it; `NotFound` if nothing was ever counted.
    pub fn word(&self, wanted: &str) -> Result<WordTotals, BackendError> {
        let ranking = self.ranking()?;
        let words = ranking.sums.words;
        let (word, found) = match ranking.find(wanted) {
            Some(found) => (wanted.to_owned(), Some(found)),
            None => {
                let word = as_counted(&ranking.profile, wanted)?;
                let found = ranking.find(&word);
                (word, found)
            }
        };
        if let Some(RankedWord { rank, count, documents, .. }) = found {
            return Ok(WordTotals { word, count, documents, rank: Some(rank), words });
        }
        // It may be one of those that are too many to be ranked.
        let is_whole = ranking.len() as u64 == ranking.sums.distinct;
        let total = if is_whole {
            None
        } else {
            self.long.read(|transaction| {
                let (profile, _) = profile_in_force(transaction)?;
                let pending = totals::pending(transaction, profile)?;
                totals::of_word(transaction, profile, &pending, &word)
            })?
        };
        let (count, documents) = total.map_or((0, 0), |total| (total.count, total.documents));
        Ok(WordTotals { word, count, documents, rank: None, words })
    }

    /// A word as the profile in force counts it; as it stands, if the profile counts nothing of it, as the empty word that
    /// `go-sample` makes.
    ///
    /// # Errors
    /// `Invalid` if the profile makes several words of it; `NotFound` if nothing was ever counted.
    pub fn as_counted(&self, wanted: &str) -> Result<String, BackendError> {
        let (_, profile) = self.readers.read(profile_in_force)?;
        as_counted(&profile, wanted)
    }

    /// The documents in whose counts a word stands, given as it is counted, in the order of their names, those after
    /// `after`.
    pub fn documents_of_word(
        &self,
        word: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Page<Occurrence, DocumentId>, BackendError> {
        self.long.read(|transaction| {
            let (profile, _) = profile_in_force(transaction)?;
            let (bucket, key) = after.map_or(("", &[][..]), |after| (after.bucket(), after.key().as_bytes()));
            let mut select = transaction.prepare_cached(
                // Every row, also one of a removed document or another profile: passing it is work too.
                "SELECT bucket, key, words, CASE WHEN profile_id = ?3 THEN
                     (SELECT encoded FROM count_tables WHERE result_id = id) END
                 FROM results WHERE (bucket, key) > (?1, ?2) ORDER BY bucket, key",
            )?;
            let mut rows = select.query(params![bucket, key, profile])?;
            let (mut items, mut examined, mut bytes, mut full) = (Vec::new(), 0, 0, None);
            while let Some(row) = rows.next()? {
                if full.is_some() {
                    return Ok(Page { items, next: full });
                }
                let encoded = row.get_ref(3)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
                (examined, bytes) = (examined + 1, bytes + encoded.map_or(0, <[u8]>::len));
                if let Some(encoded) = encoded
                    && let Some(count) = encoding::count_of(encoded, word.as_bytes())?
                {
                    items.push(Occurrence { id: document_id(row, 0)?, count, words: row.get(2)? });
                }
                if items.len() >= limit
                    || examined >= self.examined.rows
                    || bytes >= self.examined.table_bytes
                {
                    full = Some(document_id(row, 0)?);
                }
            }
            Ok(Page { items, next: None })
        })
    }
}

/// A word as a profile counts it; as it stands, if the profile counts nothing of it.
fn as_counted(profile: &Profile, wanted: &str) -> Result<String, BackendError> {
    let counts = count(profile, wanted.as_bytes()).map_err(|error| {
        BackendError::new(ErrorKind::Invalid, format!("no word of any document: {error}"))
    })?;
    let mut words = counts.iter();
    match (words.next(), counts.words()) {
        (None, _) => Ok(wanted.to_owned()),
        (Some((word, _)), 1) => Ok(word.to_owned()),
        (Some(_), several) => Err(BackendError::new(
            ErrorKind::Invalid,
            format!(
                "{wanted:?} is {several} words by profile {}: ask for one of them",
                profile.fingerprint()
            ),
        )),
    }
}
