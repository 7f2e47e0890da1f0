//! Counts that do not fit memory: runs of words on disk, merged when all is counted.
//!
//! A run is a file without a name, so that nothing is left however the process ends: rows in an order, each `varint bytes shared
//! with the word before, varint further bytes, those bytes, varint count`. Merging keeps one row of each run in memory.
//!
//! Not here: when memory is full (`reading`), and how a ranking is printed.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, Write as _};

use wordfreq_core::{Counts, Top};

/// How many runs are merged at a time. When there are twice as many, the smaller half becomes one.
const FAN_IN: usize = 32;

const BUFFER_BYTES: usize = 64 * 1024;

/// A row goes beyond the buffer by no more than this.
const SPARE_BYTES: usize = 2 * 1024;

/// What a row takes in memory beside its bytes, about.
const ROW_BYTES: u64 = 48;

/// A ranking of more rows than this is sorted on disk.
const MOST_ROWS: usize = 1_000_000;

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Word,
    /// By count, highest first; ties by word.
    Rank,
}

impl Order {
    /// What tells most rows apart: a row with a lesser key comes first. Of rows with the same, the lesser word does.
    fn key(self, word: &[u8], count: u64) -> u64 {
        match self {
            Self::Word => {
                let mut first = [0; 8];
                let length = word.len().min(first.len());
                first[..length].copy_from_slice(&word[..length]);
                u64::from_be_bytes(first)
            }
            Self::Rank => !count,
        }
    }
}

/// A row to be sorted by its word. There are as many as memory holds, so each is to be small.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row<'a> {
    /// The first bytes of the word, which tell most apart, as a number.
    first: u32,
    word: &'a str,
    /// `u32::MAX` stands for all that are not less.
    count: u32,
}

impl<'a> Row<'a> {
    fn new(word: &'a str, count: u64) -> Self {
        let first = (Order::Word.key(word.as_bytes(), count) >> 32) as u32;
        Self { first, word, count: u32::try_from(count).unwrap_or(u32::MAX) }
    }
}

/// Rows on disk.
#[derive(Debug)]
struct Run {
    file: File,
    rows: u64,
    bytes: u64,
}

impl Run {
    fn write<'a>(rows: impl Iterator<Item = (&'a [u8], u64)>) -> io::Result<Self> {
        let mut writer = RunWriter::new()?;
        for (word, count) in rows {
            writer.push(word, count)?;
        }
        writer.finish()
    }
}

struct RunWriter {
    file: File,
    /// Rows that are not yet in the file.
    text: Vec<u8>,
    before: Vec<u8>,
    rows: u64,
    bytes: u64,
}

impl RunWriter {
    fn new() -> io::Result<Self> {
        let file = tempfile::tempfile().map_err(with_place)?;
        let text = Vec::with_capacity(BUFFER_BYTES + SPARE_BYTES);
        Ok(Self { file, text, before: Vec::new(), rows: 0, bytes: 0 })
    }

    fn push(&mut self, word: &[u8], count: u64) -> io::Result<()> {
        let shared = shared_bytes(&self.before, word);
        let further = &word[shared..];
        put_varint(&mut self.text, shared as u64);
        put_varint(&mut self.text, further.len() as u64);
        self.text.extend_from_slice(further);
        put_varint(&mut self.text, count);
        self.before.truncate(shared);
        self.before.extend_from_slice(further);
        self.rows += 1;
        if self.text.len() >= BUFFER_BYTES { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all(&self.text).map_err(with_place)?;
        self.bytes += self.text.len() as u64;
        self.text.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Run> {
        self.write_out()?;
        self.file.rewind()?;
        Ok(Run { file: self.file, rows: self.rows, bytes: self.bytes })
    }
}

/// How many bytes at their beginning two words have in common.
fn shared_bytes(left: &[u8], right: &[u8]) -> usize {
    let most = left.len().min(right.len());
    let mut shared = 0;
    while shared + 8 <= most && left[shared..shared + 8] == right[shared..shared + 8] {
        shared += 8;
    }
    while shared < most && left[shared] == right[shared] {
        shared += 1;
    }
    shared
}

/// Says where temporary files are, as nobody has named the place.
fn with_place(error: io::Error) -> io::Error {
    let place = std::env::temp_dir();
    let text = format!(
        "temporary file in {}: {error}; set TMPDIR to a directory with more room, or give more --memory",
        place.display()
    );
    io::Error::new(error.kind(), text)
}

/// Counts on disk.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Vec<Run>,
    /// The totals of what is in the runs.
    totals: Totals,
}

/// The sums over some counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Of the documents.
    pub bytes: u64,
    /// All that were counted.
    pub words: u64,
    /// Words longer than [`MAX_WORD_BYTES`](wordfreq_core::MAX_WORD_BYTES), which are counted only here.
    pub over_long: u64,
    /// Of counts on disk known when all runs are merged.
    pub distinct: u64,
}

impl From<&Counts> for Totals {
    fn from(counts: &Counts) -> Self {
        Self {
            bytes: counts.bytes(),
            words: counts.words(),
            over_long: counts.over_long(),
            distinct: counts.distinct(),
        }
    }
}

impl Runs {
    /// No counts at all, so that what is in memory is all there is.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Puts counts on disk.
    ///
    /// # Errors
    /// When there is no room for temporary files; the text names the place.
    pub fn spill(&mut self, counts: &Counts) -> io::Result<()> {
        let mut rows: Vec<Row<'_>> = counts.iter().map(|(word, count)| Row::new(word, count)).collect();
        rows.sort_unstable();
        let whole = |row: &Row<'_>| match row.count {
            u32::MAX => counts.get(row.word),
            count => u64::from(count),
        };
        self.runs.push(Run::write(rows.iter().map(|row| (row.word.as_bytes(), whole(row))))?);
        self.totals.bytes = self.totals.bytes.saturating_add(counts.bytes());
        self.totals.words = self.totals.words.saturating_add(counts.words());
        self.totals.over_long = self.totals.over_long.saturating_add(counts.over_long());
        self.thin_out()
    }

    /// Takes over the runs of another.
    ///
    /// # Errors
    /// As those of [`Runs::spill`].
    pub fn append(&mut self, other: Self) -> io::Result<()> {
        self.runs.extend(other.runs);
        self.totals.bytes = self.totals.bytes.saturating_add(other.totals.bytes);
        self.totals.words = self.totals.words.saturating_add(other.totals.words);
        self.totals.over_long = self.totals.over_long.saturating_add(other.totals.over_long);
        self.thin_out()
    }

    /// Merges the smaller runs as long as there are too many to be read at once.
    fn thin_out(&mut self) -> io::Result<()> {
        while self.runs.len() >= 2 * FAN_IN {
            self.runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.bytes));
            let smaller = self.runs.split_off(self.runs.len() - FAN_IN);
            let mut merge = Merge::new(smaller, Order::Word)?;
            let mut writer = RunWriter::new()?;
            while let Some((word, count)) = merge.next()? {
                writer.push(word, count)?;
            }
            self.runs.push(writer.finish()?);
        }
        Ok(())
    }

    /// The `limit` best words of all runs, or all of them, in memory of about `memory` bytes; and the totals.
    ///
    /// # Errors
    /// As those of [`Runs::spill`]; when a temporary file is not what was written, as far as that shows.
    pub fn rank(self, limit: Option<usize>, memory: u64) -> io::Result<(Totals, Ranking)> {
        let mut totals = self.totals;
        let mut merge = Merge::new(self.runs, Order::Word)?;
        if let Some(limit @ ..=MOST_ROWS) = limit {
            let mut top = Top::new(limit);
            while let Some((word, count)) = merge.next()? {
                totals.distinct += 1;
                if top.may_keep(count) {
                    top.offer(text(word)?, count);
                }
            }
            return Ok((totals, Ranking::Rows(top.into_ranked().into_iter())));
        }
        let mut ranked = Vec::new();
        let mut rows: Vec<(String, u64)> = Vec::new();
        let mut bytes = 0;
        while let Some((word, count)) = merge.next()? {
            totals.distinct += 1;
            bytes += ROW_BYTES + word.len() as u64;
            rows.push((text(word)?.to_owned(), count));
            if bytes > memory / 2 {
                ranked.push(ranked_run(&mut rows)?);
                rows.clear();
                bytes = 0;
            }
        }
        drop(merge);
        let limit = limit.unwrap_or(usize::MAX);
        if ranked.is_empty() {
            sort_by_rank(&mut rows);
            rows.truncate(limit);
            return Ok((totals, Ranking::Rows(rows.into_iter())));
        }
        ranked.push(ranked_run(&mut rows)?);
        Ok((totals, Ranking::Merge(Merge::new(ranked, Order::Rank)?, limit)))
    }
}

fn sort_by_rank(rows: &mut [(String, u64)]) {
    rows.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
}

fn ranked_run(rows: &mut [(String, u64)]) -> io::Result<Run> {
    sort_by_rank(rows);
    Run::write(rows.iter().map(|(word, count)| (word.as_bytes(), *count)))
}

fn text(word: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(word).map_err(|_| damaged())
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a temporary file does not hold what was written to it")
}

/// Words by rank.
#[derive(Debug)]
pub enum Ranking {
    /// From memory.
    Rows(std::vec::IntoIter<(String, u64)>),
    /// From disk, and how many of them are still wanted.
    Merge(Merge, usize),
}

impl Iterator for Ranking {
    type Item = io::Result<(String, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Rows(rows) => rows.next().map(Ok),
            Self::Merge(merge, left) => {
                *left = left.checked_sub(1)?;
                let row = merge.next().and_then(|row| match row {
                    Some((word, count)) => Ok(Some((text(word)?.to_owned(), count))),
                    None => Ok(None),
                });
                row.transpose()
            }
        }
    }
}

/// Runs as one, in their order; rows of the same word are one row.
#[derive(Debug)]
pub struct Merge {
    order: Order,
    /// The next row of each run, the first of all at the peak.
    heads: BinaryHeap<Box<Head>>,
    current: Vec<u8>,
}

#[derive(Debug)]
struct Head {
    order: Order,
    /// As the order has it.
    key: u64,
    word: Vec<u8>,
    count: u64,
    rows_left: u64,
    input: BufReader<File>,
}

impl Head {
    /// Goes on to the next row. Returns whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(left) = self.rows_left.checked_sub(1) else { return Ok(false) };
        self.rows_left = left;
        // Nearly always the row is in the buffer as a whole.
        let mut rest = self.input.buffer();
        let length = rest.len();
        if let Some(row) = buffered_row(&mut rest) {
            let used = length - rest.len();
            self.word.truncate(shared_length(row.shared, &self.word)?);
            self.word.extend_from_slice(row.further);
            self.count = row.count;
            self.input.consume(used);
        } else {
            let shared = take_varint(&mut self.input)?;
            let further = take_varint(&mut self.input)?;
            self.word.truncate(shared_length(shared, &self.word)?);
            let read = (&mut self.input).take(further).read_to_end(&mut self.word)?;
            if read as u64 != further {
                return Err(damaged());
            }
            self.count = take_varint(&mut self.input)?;
        }
        self.key = self.order.key(&self.word, self.count);
        Ok(true)
    }
}

/// How much of `word` the next one begins with, which cannot be more than there is of it.
fn shared_length(shared: u64, word: &[u8]) -> io::Result<usize> {
    usize::try_from(shared).ok().filter(|shared| *shared <= word.len()).ok_or_else(damaged)
}

/// A row as it stands in a run.
struct BufferedRow<'a> {
    shared: u64,
    further: &'a [u8],
    count: u64,
}

/// Takes a row off bytes that hold the whole of it.
fn buffered_row<'a>(bytes: &mut &'a [u8]) -> Option<BufferedRow<'a>> {
    let shared = buffered_varint(bytes)?;
    let length = usize::try_from(buffered_varint(bytes)?).ok()?;
    let further = bytes.split_off(..length)?;
    let count = buffered_varint(bytes)?;
    Some(BufferedRow { shared, further, count })
}

fn buffered_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The greatest is the first in the order.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key).then_with(|| other.word.cmp(&self.word))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl Merge {
    fn new(runs: Vec<Run>, order: Order) -> io::Result<Self> {
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for run in runs {
            let input = BufReader::with_capacity(BUFFER_BYTES, run.file);
            let mut head =
                Box::new(Head { order, key: 0, word: Vec::new(), count: 0, rows_left: run.rows, input });
            if head.advance()? {
                heads.push(head);
            }
        }
        Ok(Self { order, heads, current: Vec::new() })
    }

    /// The next word, with all its counts.
    fn next(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        let Some(head) = self.heads.peek() else { return Ok(None) };
        self.current.clone_from(&head.word);
        let mut count = 0_u64;
        while let Some(mut head) = self.heads.peek_mut() {
            if head.word != self.current || self.order == Order::Rank && count > 0 {
                break;
            }
            count = count.saturating_add(head.count);
            if !head.advance()? {
                PeekMut::pop(head);
            }
        }
        Ok(Some((&self.current, count)))
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(input: &mut impl BufRead) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7F) << shift;
        if byte[0] < 0x80 {
            return Ok(value);
        }
    }
    Err(damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many small runs, with words in several of them, sorted in memory and on disk: the same as counted in one table.
    #[test]
    fn runs_rank_as_one_table_does() {
        let (mut all, mut runs) = (Counts::new(), Runs::default());
        for run in 0..150_u64 {
            let mut counts = Counts::new();
            for number in 0..200 {
                let word = format!("word {:x}", (run * 7919 + number * 104_729) % 3001);
                counts.add(&word, 1 + (run + number) % 5);
            }
            counts.add("", u64::from(run == 3));
            counts.add_totals(run, 1);
            runs.spill(&counts).unwrap();
            all.merge(counts);
            assert!(runs.runs.len() < 2 * FAN_IN);
        }
        let expected: Vec<_> = all.ranked().into_iter().map(|row| (row.word.to_owned(), row.count)).collect();
        let totals = Totals {
            bytes: all.bytes(),
            words: all.words(),
            over_long: all.over_long(),
            distinct: all.distinct(),
        };
        let mut copy = Runs::default();
        copy.append(runs).unwrap();
        let again = || {
            let mut runs = Runs { totals: copy.totals, ..Runs::default() };
            for run in &copy.runs {
                let mut file = run.file.try_clone().unwrap();
                file.rewind().unwrap();
                let mut whole = tempfile::tempfile().unwrap();
                io::copy(&mut file, &mut whole).unwrap();
                whole.rewind().unwrap();
                runs.runs.push(Run { file: whole, rows: run.rows, bytes: run.bytes });
            }
            runs
        };
        for (limit, memory) in
            [(None, 1 << 30), (None, 10_000), (Some(10), 10_000), (Some(0), 1), (Some(MOST_ROWS + 1), 10_000)]
        {
            let (found, ranking) = again().rank(limit, memory).unwrap();
            assert_eq!(found, totals);
            let rows: Vec<_> = ranking.map(Result::unwrap).collect();
            let wanted = &expected[..limit.unwrap_or(usize::MAX).min(expected.len())];
            assert_eq!(rows, wanted, "{limit:?} {memory}");
        }
    }

    #[test]
    fn what_words_share_is_found_to_the_byte() {
        let word = b"abcdefghijklmnopqrstuvwxyz";
        for shared in 0..=word.len() {
            let mut other = word.to_vec();
            other.truncate(shared);
            assert_eq!(shared_bytes(word, &other), shared);
            other.push(b'!');
            assert_eq!(shared_bytes(word, &other), shared);
            assert_eq!(shared_bytes(&other, word), shared);
        }
    }

    /// The key alone must not decide between words whose first bytes are the same.
    #[test]
    fn words_that_begin_alike_keep_their_order() {
        let mut counts = Counts::new();
        let words = [
            "",
            "\0",
            "\0\0",
            "a",
            "a\0",
            "abcdefgh",
            "abcdefgh\0",
            "abcdefghi",
            "abcdefgi",
            "\u{10ffff}\u{10ffff}x",
        ];
        let most = u64::from(u32::MAX);
        for (word, count) in words.iter().zip([1, most - 1, most, most + 1, u64::MAX / 8].into_iter().cycle())
        {
            counts.add(word, count);
        }
        let mut runs = Runs::default();
        runs.spill(&counts).unwrap();
        let mut merge = Merge::new(std::mem::take(&mut runs.runs), Order::Word).unwrap();
        let mut found = Vec::new();
        while let Some((word, count)) = merge.next().unwrap() {
            found.push((String::from_utf8(word.to_vec()).unwrap(), count));
        }
        assert_eq!(found, words.map(|word| (word.to_owned(), counts.get(word))));
        assert!(found.iter().any(|(_, count)| *count > most));
    }

    /// Rows that lie across the end of the buffer, and a word longer than it.
    #[test]
    fn rows_are_whole_wherever_the_buffer_ends() {
        let mut words: Vec<String> = (0..40_000).map(|number| format!("{number:05}")).collect();
        words.push("5".repeat(3 * BUFFER_BYTES));
        words.sort();
        let rows = || (1..).zip(&words).map(|(count, word)| (word.as_bytes(), count * 1_000_003));
        let mut merge = Merge::new(vec![Run::write(rows()).unwrap()], Order::Word).unwrap();
        for (word, count) in rows() {
            assert_eq!(merge.next().unwrap(), Some((word, count)));
        }
        assert_eq!(merge.next().unwrap(), None);
    }

    #[test]
    fn a_run_that_was_cut_is_refused() {
        let mut runs = Runs::default();
        let mut counts = Counts::new();
        counts.add("one", 1);
        counts.add("two", 2);
        runs.spill(&counts).unwrap();
        runs.runs[0].file.set_len(runs.runs[0].bytes - 1).unwrap();
        assert!(runs.rank(None, 1 << 20).is_err());
    }
}
