//! Bytes from a file or stream into the counter, in constant memory: the one way in for `count` and for the worker.
//! A large file is cut at certain boundaries and counted by several threads, which hash it too if they are asked to, so that it is
//! read once. Not here: which files, and what a failure means for a document.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use blake3::hazmat::{self, ChainingValue, HasherExt as _, Mode};
use bytes::Bytes;
use wordfreq_core::{CountError, Counter, Counts, Profile, certain_boundary};

/// Small enough for the allocator to keep, so that a small document does not pay for fresh pages.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bounds of a part's length, which is a power of two, as is that of any whole subtree of BLAKE3. Long parts cost nothing but balance
/// at the end; short ones cost a seek and a scan.
const SHORTEST_PART_BYTES: u64 = 1024 * 1024;
const LONGEST_PART_BYTES: u64 = 16 * 1024 * 1024;

/// How many parts of a file each thread should get at least, so that the others make up for a slow one.
const PARTS_PER_THREAD: u64 = 4;

/// A smaller file is not worth a second thread.
pub const LARGE_BYTES: u64 = 2 * SHORTEST_PART_BYTES;

/// How much memory counts may take, and where they go when it is not enough.
pub struct Budget<'a> {
    /// For the counts of one thread, in bytes.
    pub bytes: u64,
    /// Takes counts out of memory; they are part of the document's.
    pub spill: &'a (dyn Fn(Counts) -> io::Result<()> + Sync),
}

impl Budget<'_> {
    /// Makes room in `counter` for the words of another `bytes` bytes.
    fn make_room(&self, counter: &mut Counter, bytes: usize) -> Result<(), ReadError> {
        // A word and what ends it take two bytes.
        if counter.memory_with(bytes as u64 / 2 + 1) > self.bytes.max(LEAST_BUDGET) {
            (self.spill)(counter.take_counts()).map_err(ReadError::Spill)?;
        }
        Ok(())
    }
}

/// Fewer words than this are merged sooner than threads start.
const MANY_WORDS: u64 = 20_000;

/// A smaller budget is taken for this one: what a table takes that holds the words of one buffer, and some more.
const LEAST_BUDGET: u64 = 16 * 1024 * 1024;

/// Why a document was not counted.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its bytes cannot be read.
    #[error("reading failed at byte {offset}: {source}")]
    Io {
        /// How far it was read.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Another version took its place while it was read.
    #[error("it was replaced while it was read")]
    Replaced,
    /// It is not as long as it was said to be.
    #[error("it became shorter while it was read: count it when nobody writes it")]
    Shortened,
    /// Its counts do not fit memory, nor the disk.
    #[error("counts that take more than their memory could not be put on disk: {0}")]
    Spill(io::Error),
    /// Its profile refuses it.
    #[error("{0}")]
    Count(#[from] CountError),
    /// `observe` asked to stop.
    #[error("stopped")]
    Stopped,
}

impl ReadError {
    /// Where in the document it happened, as far as that is known.
    fn offset(&self) -> u64 {
        match self {
            Self::Io { offset, .. } | Self::Count(CountError::TokenTooLong { offset }) => *offset,
            Self::Replaced | Self::Shortened | Self::Spill(_) | Self::Stopped => u64::MAX,
        }
    }
}

/// Counts a stream to its end. `observe` sees every piece as it is read, in order, and returns `false` to stop.
pub fn count_reader(
    reader: &mut dyn Read,
    profile: &Profile,
    budget: Option<&Budget<'_>>,
    mut observe: impl FnMut(&[u8]) -> bool,
) -> Result<Counts, ReadError> {
    let mut counter = Counter::new(profile);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut offset = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(counter.finish()?),
            Ok(read) => {
                if !observe(&buffer[..read]) {
                    return Err(ReadError::Stopped);
                }
                if let Some(budget) = budget {
                    budget.make_room(&mut counter, read)?;
                }
                counter.feed(&buffer[..read]);
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(ReadError::Io { offset, source }),
        }
    }
}

/// Counts the first `bytes` of a file with up to `threads` threads; the counts do not depend on their number.
/// `observe` learns how many bytes each piece had, from any thread, and returns `false` to stop.
pub fn count_file(
    file: &File,
    bytes: u64,
    profile: &Profile,
    threads: usize,
    budget: Option<&Budget<'_>>,
    observe: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Counts, ReadError> {
    count_in_parts(file, Cut::new(bytes, threads), profile, budget, None, observe)
}

/// As [`count_file`], with the BLAKE3 of those bytes as they were read: each once, though text at the bounds of parts is read twice.
///
/// # Panics
/// If there are not more than [`LARGE_BYTES`].
pub fn count_and_hash_file(
    file: &File,
    bytes: u64,
    profile: &Profile,
    threads: usize,
    observe: &(dyn Fn(u64) -> bool + Sync),
) -> Result<(Counts, blake3::Hash), ReadError> {
    assert!(bytes > LARGE_BYTES, "{bytes} bytes are no large file");
    let (cut, hashes) = (Cut::new(bytes, threads), Mutex::new(BTreeMap::new()));
    let counts = count_in_parts(file, cut, profile, None, Some(&hashes), observe)?;
    let hashes: Vec<_> = hashes.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    Ok((counts, hash_of_parts(&hashes, bytes, cut.part_bytes)))
}

/// How the first `bytes` of a file are cut into parts, and how many threads count them at most.
#[derive(Clone, Copy, Debug)]
struct Cut {
    bytes: u64,
    part_bytes: u64,
    threads: usize,
}

impl Cut {
    fn new(bytes: u64, threads: usize) -> Self {
        let share = bytes / (threads.max(1) as u64 * PARTS_PER_THREAD);
        let part_bytes = 1 << share.clamp(SHORTEST_PART_BYTES, LONGEST_PART_BYTES).ilog2();
        Self { bytes, part_bytes, threads }
    }
}

/// What parts hash to, by their numbers.
type PartHashes = Mutex<BTreeMap<u64, ChainingValue>>;

/// The hash of `bytes` bytes by those of their parts, of which there are two at least; all but the last have `part_bytes`.
fn hash_of_parts(parts: &[ChainingValue], bytes: u64, part_bytes: u64) -> blake3::Hash {
    fn subtree(parts: &[ChainingValue], bytes: u64, part_bytes: u64) -> ChainingValue {
        if let [part] = parts {
            return *part;
        }
        let (left, right) = halves(parts, bytes, part_bytes);
        hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash)
    }
    fn halves(parts: &[ChainingValue], bytes: u64, part_bytes: u64) -> (ChainingValue, ChainingValue) {
        let left = hazmat::left_subtree_len(bytes);
        let (first, second) = parts.split_at((left / part_bytes) as usize);
        (subtree(first, left, part_bytes), subtree(second, bytes - left, part_bytes))
    }
    let (left, right) = halves(parts, bytes, part_bytes);
    hazmat::merge_subtrees_root(&left, &right, Mode::Hash)
}

fn count_in_parts(
    file: &File,
    Cut { bytes, part_bytes, threads }: Cut,
    profile: &Profile,
    budget: Option<&Budget<'_>>,
    hashes: Option<&PartHashes>,
    observe: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Counts, ReadError> {
    let parts = bytes.div_ceil(part_bytes).max(1);
    let threads = threads.clamp(1, usize::try_from(parts).unwrap_or(usize::MAX));
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let count_share = || {
        let mut share = Share::new(profile);
        let mut buffer = vec![0; BUFFER_BYTES];
        let outcome = loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts || failed.load(Ordering::Relaxed) {
                break Ok(());
            }
            let nominal = Part { start: part * part_bytes, end: ((part + 1) * part_bytes).min(bytes), bytes };
            let mut hash = hashes.map(|_| PartHash::new(nominal));
            let see = |offset, window: &[u8]| {
                if let Some(hash) = &mut hash {
                    hash.take(offset, window);
                }
            };
            let mut read = read_part(file, nominal, &mut buffer, see, |offset, piece| {
                if let Some(budget) = budget {
                    budget.make_room(&mut share.counter, piece.len())?;
                }
                share.feed(offset, piece);
                if observe(piece.len() as u64) { Ok(()) } else { Err(ReadError::Stopped) }
            });
            if let (Ok(()), Some(hash), Some(hashes)) = (&read, hash, hashes) {
                read = hash.finish(file, &mut buffer).map(|hash| {
                    hashes.lock().unwrap_or_else(PoisonError::into_inner).insert(part, hash);
                });
            }
            if let Err(error) = read {
                break Err(error);
            }
        };
        let outcome = outcome.and_then(|()| share.finish());
        failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
        outcome
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(count_share)).collect();
        let mut outcomes = vec![count_share()];
        outcomes.extend(
            others
                .into_iter()
                .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        outcomes
    });
    merge(outcomes, budget)
}

/// Counts a document that arrives in pieces, with up to `threads` threads; the counts do not depend on their number.
/// The text changes threads only at certain boundaries. `observe` learns how many bytes each piece had, in order, and
/// returns `false` to stop. At most two pieces a thread are held, so memory does not depend on the document's size.
pub fn count_pieces(
    pieces: &mut dyn Iterator<Item = Result<Bytes, ReadError>>,
    profile: &Profile,
    threads: usize,
    mut observe: impl FnMut(u64) -> bool,
) -> Result<Counts, ReadError> {
    if threads <= 1 {
        // A small document must not pay for a thread.
        let mut share = Share::new(profile);
        for piece in pieces {
            let piece = piece?;
            if !observe(piece.len() as u64) {
                return Err(ReadError::Stopped);
            }
            share.feed(share.end, &piece);
        }
        return share.finish();
    }
    thread::scope(|scope| {
        let shares: Vec<_> = (0..threads)
            .map(|_| {
                let (to_share, arriving) = mpsc::sync_channel::<(u64, Bytes)>(1);
                let count_share = move || {
                    let mut share = Share::new(profile);
                    arriving.iter().for_each(|(offset, piece)| share.feed(offset, &piece));
                    share.finish()
                };
                (to_share, scope.spawn(count_share))
            })
            .collect();
        let mut offset = 0;
        let mut turn = 0;
        // A share that is gone has panicked, and its panic goes on below.
        let mut hand_over = |turn: usize, piece: Bytes| {
            let bytes = piece.len() as u64;
            shares[turn].0.send((offset, piece)).ok();
            offset += bytes;
        };
        let mut ended = Ok(());
        for piece in pieces {
            let mut piece = match piece {
                Ok(piece) if observe(piece.len() as u64) => piece,
                Ok(_) => {
                    ended = Err(ReadError::Stopped);
                    break;
                }
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            };
            if let Some(boundary) = certain_boundary(&piece) {
                hand_over(turn, piece.split_to(boundary));
                turn = (turn + 1) % shares.len();
            }
            if !piece.is_empty() {
                hand_over(turn, piece);
            }
        }
        let counted = shares.into_iter().map(|(to_share, share)| {
            drop(to_share);
            share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let counted = merge(counted.collect(), None);
        ended.and(counted)
    })
}

/// All shares together, but those that are too many for memory, or the failure that is first in the text.
fn merge(shares: Vec<Result<Counts, ReadError>>, budget: Option<&Budget<'_>>) -> Result<Counts, ReadError> {
    let mut counted = Vec::with_capacity(shares.len());
    let mut first_error: Option<ReadError> = None;
    for share in shares {
        match share {
            Ok(share) => counted.push(share),
            Err(error) if first_error.as_ref().is_none_or(|first| error.offset() < first.offset()) => {
                first_error = Some(error);
            }
            Err(_) => {}
        }
    }
    if let Some(error) = first_error {
        return Err(error);
    }
    let words: u64 = counted.iter().map(Counts::distinct).sum();
    let fits = |counts: &Counts, words| budget.is_none_or(|budget| counts.memory_with(words) <= budget.bytes);
    if words >= MANY_WORDS && counted.iter().all(|counts| fits(counts, words)) {
        return Ok(merge_at_once(counted));
    }
    let mut counts = Counts::new();
    for share in counted {
        match budget {
            Some(budget) if !fits(&counts, share.distinct()) => {
                (budget.spill)(share).map_err(ReadError::Spill)?;
            }
            _ => counts.merge(share),
        }
    }
    Ok(counts)
}

/// Merges in as many threads as have counted, and one more for long words.
fn merge_at_once(counted: Vec<Counts>) -> Counts {
    let threads = counted.len();
    Counts::merge_in_parts(counted, threads, |tasks| {
        thread::scope(|scope| tasks.into_iter().for_each(|task| drop(scope.spawn(task))));
    })
}

/// What one thread counts of a file. Parts are handed out in ascending order and each but the last ends at a certain
/// boundary, so one counter can take them all, and tables are merged once for every thread only.
struct Share {
    counter: Counter,
    fed: u64,
    /// Where the text goes on after a gap: bytes fed before it, and its position in the file.
    pieces: Vec<(u64, u64)>,
    /// Position after the last byte fed.
    end: u64,
}

impl Share {
    fn new(profile: &Profile) -> Self {
        Self { counter: Counter::new(profile), fed: 0, pieces: Vec::new(), end: 0 }
    }

    fn feed(&mut self, offset: u64, piece: &[u8]) {
        if self.pieces.is_empty() || offset != self.end {
            self.pieces.push((self.fed, offset));
        }
        self.counter.feed(piece);
        self.fed += piece.len() as u64;
        self.end = offset + piece.len() as u64;
    }

    fn finish(self) -> Result<Counts, ReadError> {
        self.counter.finish().map_err(|CountError::TokenTooLong { offset }| {
            let piece = self.pieces.iter().rfind(|(fed, _)| *fed <= offset);
            let offset = piece.map_or(offset, |(fed, position)| position + (offset - fed));
            CountError::TokenTooLong { offset }.into()
        })
    }
}

/// A part of a file by its nominal bounds. It owns the text from the first certain boundary at or behind its start to
/// the first one at or behind its end; so neighbours agree, without a word between them, on who counts what. A part
/// without a boundary in it owns nothing and the one before it reads on: a file that is one line costs one more scan,
/// not one for every part.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    end: u64,
    /// Of the whole file.
    bytes: u64,
}

/// Hashes a part while it is read, with whatever else is read with it.
struct PartHash {
    hasher: blake3::Hasher,
    /// Where in the file the next byte is.
    next: u64,
    end: u64,
}

impl PartHash {
    fn new(part: Part) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(part.start);
        Self { hasher, next: part.start, end: part.end }
    }

    /// Takes what comes next of `window`, which is at `position` in the file: not behind that, unless all of the part was taken.
    fn take(&mut self, position: u64, window: &[u8]) {
        assert!(position <= self.next || self.next == self.end, "a gap before {position}");
        let within = |at: u64| {
            usize::try_from(at.saturating_sub(position)).map_or(window.len(), |at| at.min(window.len()))
        };
        let bytes = &window[within(self.next)..within(self.end).max(within(self.next))];
        self.hasher.update(bytes);
        self.next += bytes.len() as u64;
    }

    /// Reads what was not read of the part.
    fn finish(mut self, file: &File, buffer: &mut [u8]) -> Result<ChainingValue, ReadError> {
        while self.next < self.end {
            let position = self.next;
            self.take(position, read_window(file, buffer, position, self.end)?);
        }
        Ok(self.hasher.finalize_non_root())
    }
}

/// Passes on the text a part owns, in order, each piece with its position in the file. `see` has all that is read for it, some of it
/// twice.
fn read_part(
    file: &File,
    part: Part,
    buffer: &mut [u8],
    mut see: impl FnMut(u64, &[u8]),
    mut feed: impl FnMut(u64, &[u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let is_last = part.end == part.bytes;
    // A boundary exactly at a nominal bound shows in the byte before it.
    let mut position = part.start.saturating_sub(1);
    if part.start > 0 {
        loop {
            let window = read_window(file, buffer, position, part.end - 1)?;
            see(position, window);
            if window.is_empty() {
                return Ok(());
            }
            if let Some(boundary) = certain_boundary(window) {
                position += boundary as u64;
                break;
            }
            position += window.len() as u64;
        }
    }
    // Up to here everything is this part's; behind it, what comes before the next boundary.
    let own_until = if is_last { part.bytes } else { part.end - 1 };
    loop {
        let limit = if position < own_until { own_until } else { part.bytes };
        let mut window = read_window(file, buffer, position, limit)?;
        see(position, window);
        let boundary = if position >= own_until { certain_boundary(window) } else { None };
        window = boundary.map_or(window, |boundary| &window[..boundary]);
        if window.is_empty() {
            return Ok(());
        }
        feed(position, window)?;
        if boundary.is_some() {
            return Ok(());
        }
        position += window.len() as u64;
    }
}

/// Reads from `position`, at most to `limit`; empty only at `limit`.
fn read_window<'a>(
    file: &File,
    buffer: &'a mut [u8],
    position: u64,
    limit: u64,
) -> Result<&'a [u8], ReadError> {
    // To a multiple of the buffer's length, so that within a part whole pages are copied and whole chunks of BLAKE3 hashed.
    let aligned = buffer.len() - (position % buffer.len() as u64) as usize;
    let wanted = aligned.min(usize::try_from(limit.saturating_sub(position)).unwrap_or(usize::MAX));
    if wanted == 0 {
        return Ok(&[]);
    }
    loop {
        match file.read_at(&mut buffer[..wanted], position) {
            Ok(0) => return Err(ReadError::Shortened),
            Ok(read) => return Ok(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(ReadError::Io { offset: position, source });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use wordfreq_core::{MAX_TOKEN_BYTES, ProfileName, count};

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// What each part owns, in order.
    fn owned(bytes: &[u8], part_bytes: u64, buffer_bytes: usize) -> Vec<Vec<u8>> {
        let file = file_of(bytes);
        let len = bytes.len() as u64;
        let mut buffer = vec![0; buffer_bytes];
        (0..len.div_ceil(part_bytes))
            .map(|part| {
                let part =
                    Part { start: part * part_bytes, end: ((part + 1) * part_bytes).min(len), bytes: len };
                let mut text = Vec::new();
                read_part(
                    &file,
                    part,
                    &mut buffer,
                    |_, _| (),
                    |position, piece| {
                        assert_eq!(&bytes[position as usize..][..piece.len()], piece, "{part:?}");
                        text.extend(piece);
                        Ok(())
                    },
                )
                .unwrap();
                text
            })
            .collect()
    }

    /// Lines of any length, and none; parts that end within a line, at its end and before it; a last part of one byte.
    #[test]
    fn parts_hash_to_what_the_whole_does() {
        let profile = Profile::new(ProfileName::Whitespace);
        for line in [1, 2, 63, 1000, 1024, 5000, 1 << 20] {
            let text: Vec<u8> = (0..70_000)
                .map(|at| if at % line == line - 1 { b'\n' } else { b'a' + (at % 23) as u8 })
                .collect();
            for len in [1025, 2048, 2049, 3072, 4096, 5001, 65_536, 65_537, 70_000] {
                let (text, file) = (&text[..len], file_of(&text[..len]));
                for part_bytes in [1024, 4096, 32_768] {
                    let parts = (len as u64).div_ceil(part_bytes) as usize;
                    for threads in [1, 2, 3] {
                        let cut = Cut { bytes: len as u64, part_bytes, threads };
                        let hashes = Mutex::new(BTreeMap::new());
                        let counts =
                            count_in_parts(&file, cut, &profile, None, Some(&hashes), &|_| true).unwrap();
                        assert_eq!(counts, count(&profile, text).unwrap());
                        let hashes: Vec<_> = hashes.into_inner().unwrap().into_values().collect();
                        assert_eq!(hashes.len(), parts);
                        if parts > 1 {
                            let hash = hash_of_parts(&hashes, len as u64, part_bytes);
                            assert_eq!(hash, blake3::hash(text), "{line} {len} {part_bytes} {threads}");
                        }
                    }
                }
            }
        }
        let text = b"some text\n".repeat(250_000);
        for threads in [2, 7] {
            let (counts, hash) =
                count_and_hash_file(&file_of(&text), text.len() as u64, &profile, threads, &|_| true)
                    .unwrap();
            assert_eq!((counts, hash), (count(&profile, &text).unwrap(), blake3::hash(&text)));
        }
    }

    #[test]
    fn parts_own_every_byte_once_and_end_at_boundaries() {
        let texts: [&[u8]; 9] = [
            b"one line without an end",
            b"a\nb\nc\nd\n",
            b"\n\n\n\n\n\n\n",
            b"\nleading",
            b"trailing in the last byte\n",
            b"a long first line\nx",
            b"x\na long last line",
            b"x",
            b"ab\ncdefgh\n\nijklmnopqrstuvw\nx\r\ny",
        ];
        for text in texts {
            for part_bytes in 1..=text.len() as u64 + 1 {
                for buffer_bytes in [1, 2, 3, 7, 64] {
                    let parts = owned(text, part_bytes, buffer_bytes);
                    assert_eq!(parts.concat(), text, "{part_bytes} {buffer_bytes}");
                    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                    for part in &parts[..parts.len() - 1] {
                        assert!(part.ends_with(b"\n"), "{parts:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_single_line_belongs_to_the_first_part_alone() {
        let parts = owned(&[b'x'; 1000], 10, 16);
        assert_eq!(parts[0].len(), 1000);
        assert!(parts[1..].iter().all(Vec::is_empty));
    }

    #[test]
    fn counts_do_not_depend_on_parts_or_threads() {
        let text = "One line, two Lines.\nthree don't\r\n\nκόσμος КНИГА \u{e9}t\u{301}\n".repeat(40);
        let file = file_of(text.as_bytes());
        for name in ProfileName::ALL {
            let profile = Profile::new(name);
            let expected = count(&profile, text.as_bytes()).unwrap();
            for part_bytes in [1, 7, 64, 1000, 1 << 20] {
                for threads in [1, 2, 5] {
                    let cut = Cut { bytes: text.len() as u64, part_bytes, threads };
                    let counts = count_in_parts(&file, cut, &profile, None, None, &|_| true).unwrap();
                    assert_eq!(counts, expected, "{name} {part_bytes} {threads}");
                }
            }
        }
    }

    /// Enough words for threads to merge them: all in one part of the text, or in several.
    #[test]
    fn many_words_merge_to_the_same_counts_in_any_number_of_threads() {
        let mut text = String::new();
        for number in 0..120_000_u32 {
            text.push_str(&format!("word{} common and longer than others {}\n", number % 50_000, number / 3));
        }
        let file = file_of(text.as_bytes());
        for name in [ProfileName::Unicode, ProfileName::Whitespace] {
            let profile = Profile::new(name);
            let expected = count(&profile, text.as_bytes()).unwrap();
            let len = text.len() as u64;
            for threads in [1, 2, 7] {
                let counts = count_in_parts(
                    &file,
                    Cut { bytes: len, part_bytes: 100_000, threads },
                    &profile,
                    None,
                    None,
                    &|_| true,
                )
                .unwrap();
                assert_eq!(counts, expected, "{name} {threads}");
                assert_eq!(counts.top(10), expected.top(10), "{name} {threads}");
            }
        }
    }

    #[test]
    fn counts_do_not_depend_on_the_pieces_a_document_arrives_in() {
        let text = "One line, two Lines.\nthree don't\r\n\nκόσμος КНИГА \u{e9}t\u{301}\n".repeat(40);
        for name in ProfileName::ALL {
            let profile = Profile::new(name);
            let expected = count(&profile, text.as_bytes()).unwrap();
            for piece_bytes in [1, 7, 64, 1000, 1 << 20] {
                for threads in [1, 2, 5] {
                    let mut pieces =
                        text.as_bytes().chunks(piece_bytes).map(|piece| Ok(Bytes::copy_from_slice(piece)));
                    let counts = count_pieces(&mut pieces, &profile, threads, |_| true).unwrap();
                    assert_eq!(counts, expected, "{name} {piece_bytes} {threads}");
                }
            }
        }
    }

    #[test]
    fn pieces_end_at_the_first_failure_and_can_be_stopped() {
        let profile = Profile::default();
        let mut cut = [Ok(Bytes::from_static(b"a\nb\n")), Err(ReadError::Replaced)].into_iter();
        let error = count_pieces(&mut cut, &profile, 2, |_| true).unwrap_err();
        assert!(matches!(error, ReadError::Replaced));
        let mut whole = std::iter::repeat_with(|| Ok(Bytes::from_static(b"a\n")));
        let error = count_pieces(&mut whole, &profile, 2, |_| false).unwrap_err();
        assert!(matches!(error, ReadError::Stopped));
        let mut pieces = b"x\nyy\n".repeat(30_000);
        let first = pieces.len() as u64;
        pieces.extend([b'z'; MAX_TOKEN_BYTES]);
        let go = Profile::new(ProfileName::GoSample);
        let mut pieces = pieces.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let error = count_pieces(&mut pieces, &go, 3, |_| true).unwrap_err();
        assert!(matches!(error, ReadError::Count(CountError::TokenTooLong { offset }) if offset == first));
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let file = file_of(b"a\nb\nc\n");
        let error = count_file(&file, 100, &Profile::default(), 2, None, &|_| true).unwrap_err();
        assert!(matches!(error, ReadError::Shortened), "{error}");
    }

    #[test]
    fn the_first_token_that_is_too_long_is_told_by_its_place_in_the_file() {
        let mut text = b"short words\n".repeat(20_000);
        let first = text.len() as u64;
        text.extend(vec![b'x'; MAX_TOKEN_BYTES]);
        text.extend(b"\nmore\n".repeat(20_000));
        text.extend(vec![b'y'; MAX_TOKEN_BYTES]);
        let profile = Profile::new(ProfileName::GoSample);
        let file = file_of(&text);
        for threads in [1, 2, 4] {
            let error = count_in_parts(
                &file,
                Cut { bytes: text.len() as u64, part_bytes: 40_000, threads },
                &profile,
                None,
                None,
                &|_| true,
            )
            .unwrap_err();
            assert!(
                matches!(error, ReadError::Count(CountError::TokenTooLong { offset }) if offset == first),
                "{threads}: {error}"
            );
        }
    }

    #[test]
    fn observing_can_stop_it() {
        let file = file_of(b"a\nb\n");
        let error = count_file(&file, 4, &Profile::default(), 1, None, &|_| false).unwrap_err();
        assert!(matches!(error, ReadError::Stopped));
    }
}
