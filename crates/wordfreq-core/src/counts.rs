//! The table of words and their counts, with the totals of the bytes they came from.
//!
//! Not here: what a word is. Any string can be a word of a table, the empty one too (`go-sample` makes it).

use crate::simd::Level;
use crate::simd::lines::Batch;
pub use crate::table::Task as MergeTask;
use crate::table::{Table, as_str};
use crate::top::rank;

/// How often each word occurs in some bytes, and how many bytes and over-long words those were.
///
/// Sums saturate at `u64::MAX`, which keeps [`merge`](Self::merge) commutative and associative for any input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Apart, so that counts can be moved about.
    table: Box<Table>,
    words: u64,
    bytes: u64,
    over_long: u64,
}

/// How many words are looked through for the best at a time, at least.
const SPARE: usize = 1024;

/// A word and how often it occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordCount<'a> {
    /// The word as counted, that is after normalising.
    pub word: &'a str,
    /// How often it occurs; never 0.
    pub count: u64,
}

impl Counts {
    /// The counts of no bytes at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `count` occurrences of `word`, taken as it stands. A count of 0 leaves no trace.
    pub fn add(&mut self, word: &str, count: u64) {
        if count == 0 {
            return;
        }
        self.words = self.words.saturating_add(count);
        self.table.add(word, count);
    }

    /// Makes room for that many different words, as a guess.
    pub(crate) fn expect_words(&mut self, words: usize) {
        self.table.reserve(words);
    }

    /// Adds one occurrence of each word of `text` that starts and ends there, none of which is empty.
    pub(crate) fn add_words<const N: usize>(
        &mut self,
        level: Level,
        batch: &mut Batch,
        text: &[u8; N],
        words: &[[u16; 2]],
    ) {
        self.words = self.words.saturating_add(words.len() as u64);
        self.table.add_words(level, batch, text, words);
    }

    /// Adds to the words what was counted in the batch itself by [`add_words`](Self::add_words).
    pub(crate) fn settle(&mut self, batch: &mut Batch) {
        self.table.settle(batch);
    }

    /// Adds to the totals that no word shows: bytes read, and words too long to be counted.
    pub fn add_totals(&mut self, bytes: u64, over_long: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.over_long = self.over_long.saturating_add(over_long);
    }

    /// Adds all of `other`. The order and grouping of merges never shows in the result.
    pub fn merge(&mut self, mut other: Counts) {
        // The larger table stays where it is.
        if other.table.len() > self.table.len() {
            std::mem::swap(self, &mut other);
        }
        self.words = self.words.saturating_add(other.words);
        self.add_totals(other.bytes, other.over_long);
        self.table.merge(&other.table);
    }

    /// All of these together, as by [`merge`](Self::merge), by about so many tasks that `run` must run, all of them: one after the
    /// other or at the same time.
    pub fn merge_in_parts(
        mut all: Vec<Counts>,
        parts: usize,
        run: impl FnOnce(Vec<MergeTask<'_>>),
    ) -> Counts {
        let Some(largest) = (0..all.len()).max_by_key(|&at| all[at].table.len()) else {
            return Counts::default();
        };
        let mut sum = all.swap_remove(largest);
        for other in &all {
            sum.words = sum.words.saturating_add(other.words);
            sum.add_totals(other.bytes, other.over_long);
        }
        let others: Vec<&Table> = all.iter().map(|other| &*other.table).collect();
        sum.table.merge_in_parts(&others, parts, run);
        sum
    }

    /// The bytes of memory these counts take at most while `words` more of other words are added. When a table grows, the old one is
    /// there until its words are in the new one, unless it can grow where it is, which is not counted on.
    pub fn memory_with(&self, words: u64) -> u64 {
        self.table.memory_with(usize::try_from(words).unwrap_or(usize::MAX)) as u64
    }

    /// How often `word`, given as it is counted, occurs; 0 if it does not.
    pub fn get(&self, word: &str) -> u64 {
        self.table.get(word)
    }

    /// The sum of all counts. Over-long words are not in it.
    pub fn words(&self) -> u64 {
        self.words
    }

    /// The number of different words.
    pub fn distinct(&self) -> u64 {
        self.table.len() as u64
    }

    /// The number of bytes read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of words longer than [`MAX_WORD_BYTES`](crate::MAX_WORD_BYTES), which are counted only here.
    pub fn over_long(&self) -> u64 {
        self.over_long
    }

    /// Every word with its count, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.table.iter()
    }

    /// The `n` most frequent words, most frequent first, ties in code-point order of the word.
    pub fn top(&self, n: usize) -> Vec<WordCount<'_>> {
        let Some(last) = n.checked_sub(1) else { return Vec::new() };
        let order = |a: &(&[u8], u64), b: &(&[u8], u64)| rank(*a, *b);
        // The best so far and some more, of which the best are kept whenever there are that many: most words are rare, or come later
        // in the order, and need not be looked at again.
        let most = n.saturating_add(n.max(SPARE));
        let (mut ranked, mut worst) = (Vec::new(), None);
        self.table.for_each_frequent(|word, count| {
            if worst.is_none_or(|worst| rank((word, count), worst).is_lt()) {
                ranked.push((word, count));
                if ranked.len() >= most {
                    worst = Some(*ranked.select_nth_unstable_by(last, order).1);
                    ranked.truncate(n);
                }
            }
            worst.map_or(0, |(_, count)| count)
        });
        if n < ranked.len() {
            // Selection first: sorting more than is wanted costs more.
            ranked.select_nth_unstable_by(last, order);
            ranked.truncate(n);
        }
        ranked.sort_unstable_by(order);
        ranked.into_iter().map(|(word, count)| WordCount { word: as_str(word), count }).collect()
    }

    /// The whole table, in the order of [`top`](Self::top).
    pub fn ranked(&self) -> Vec<WordCount<'_>> {
        self.top(usize::MAX)
    }
}
