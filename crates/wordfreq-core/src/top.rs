//! The ranking every listing shares: count descending, ties by word in code-point order.
//!
//! Not here: adding counts up. Each word is offered once, with its final count.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The order of a listing, of words by their bytes; the better of the two is less.
///
/// Code-point order is the order of UTF-8 bytes.
#[inline]
pub(crate) fn rank(a: (&[u8], u64), b: (&[u8], u64)) -> Ordering {
    b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0))
}

/// Keeps the `n` best words of a table of any size that is seen one row at a time, in memory for `n` rows.
#[derive(Clone, Debug)]
pub struct Top {
    n: usize,
    /// The greatest row, at the heap's peak, is the worst kept.
    kept: BinaryHeap<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    word: String,
    count: u64,
}

impl Row {
    fn key(&self) -> (&[u8], u64) {
        (self.word.as_bytes(), self.count)
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        rank(self.key(), other.key())
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Top {
    /// Will keep the `n` best; `usize::MAX` keeps and ranks all.
    pub fn new(n: usize) -> Self {
        Self { n, kept: BinaryHeap::new() }
    }

    /// Whether a word with this final count may be among the best: if not, it need not be offered.
    pub fn may_keep(&self, count: u64) -> bool {
        self.kept.len() < self.n || self.kept.peek().is_some_and(|worst| count >= worst.count)
    }

    /// Offers a word with its final count. A word offered twice is two rows.
    pub fn offer(&mut self, word: &str, count: u64) {
        if self.kept.len() < self.n {
            self.kept.push(Row { word: word.to_owned(), count });
        } else if let Some(mut worst) = self.kept.peek_mut()
            && rank((word.as_bytes(), count), worst.key()).is_lt()
        {
            word.clone_into(&mut worst.word);
            worst.count = count;
        }
    }

    /// The kept words with their counts, best first.
    pub fn into_ranked(self) -> Vec<(String, u64)> {
        self.kept.into_sorted_vec().into_iter().map(|row| (row.word, row.count)).collect()
    }
}
