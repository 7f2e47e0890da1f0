//! The table of words behind [`Counts`](crate::Counts): open addressing, and nearly every word inside its slot.
//!
//! A word of up to 8 bytes is a *short* one, and five of them with their counts of 32 bits are a cache line, which is looked through at
//! once; one of up to 12 is *medium*, and four of those are. Any other word is *long*, and has a slot of 32 bytes with a count of 64
//! bits: up to 16 bytes inside it, a longer one in an arena. A count of 32 bits never overflows, since all of them are moved aside
//! before any can.
//!
//! Slots are taken by a quick keyed hash, and the keys are random. Who finds words that collide all the same gets a table with
//! other keys, and then one that is keyed by SipHash: no table goes on for long with more than [`PROBES`] extra looks a word.
//!
//! Not here: what a word is, totals, the loops over words of a text that are in their first line (`simd::lines`), and merging at
//! the same time (`parts`).

mod buckets;
mod parts;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use crate::simd::lines::{
    BATCH, Batch, Key, Line, MEDIUM, SHORT, Spread, key_in, medium_key, shift, short_key,
};
use crate::simd::{self, Level};

use buckets::{Buckets, word_in, words};
pub use parts::Task;

/// The longest word that stands in a slot, in bytes.
const INLINE: usize = 16;

/// The fewest slots of a part that has any.
const FEWEST: usize = 64;

/// How many looks beyond the first a word may take, in the mean over some time, before a table suspects its keys. In a table of
/// random words it is below one.
const PROBES: u64 = 4;

/// The looks beyond that mean which are forgiven: what an attack can cost at a time.
const FORGIVEN: u64 = 1 << 16;

/// A count of 32 bits stays below twice this.
const SWEEP: u64 = 1 << 31;

/// After so many words of a text, about half a millisecond's, it pays to take memory at once for what it has yet to come.
const MANY: u64 = 1 << 17;

/// After so many, tiny words are counted by the batch.
const MANY_FOR_TINY: u64 = if cfg!(test) { 1 << 5 } else { MANY };

/// How many long words are looked up together.
const LONG_BATCH: usize = 64;

/// The key of a word, if it is short or medium.
#[inline]
fn key_of(word: &[u8]) -> Option<Key> {
    match word.len() {
        len @ 1..=SHORT => Some(short_key(number(word) as u64, len).into()),
        len @ ..=MEDIUM if len > 0 => Some(medium_key(number(word), len)),
        _ => None,
    }
}

/// Whether a key is that of a short word.
#[inline]
fn is_short(key: Key) -> bool {
    key <= u64::MAX.into()
}

#[inline]
fn padded(word: &[u8]) -> [u8; INLINE] {
    let mut bytes = [0; INLINE];
    bytes[..word.len()].copy_from_slice(word);
    bytes
}

/// The number that up to 16 bytes are, little-endian, with zeros above.
#[inline]
fn number(word: &[u8]) -> u128 {
    match (word.first_chunk(), word.last_chunk()) {
        // From halves that overlap, which is faster than copying a number of bytes that is not known.
        (Some(&first), Some(&last)) => {
            let last = u128::from(u64::from_le_bytes(last)) << (8 * (word.len() - 8));
            u128::from(u64::from_le_bytes(first)) | last
        }
        _ => u128::from_le_bytes(padded(word)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keys {
    low: u64,
    high: u64,
    last: u64,
    spread: Spread,
    hash: Hash,
}

/// How the keys are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    /// By multiplication: a few cycles, and no promise against who sees how words are spread.
    Quick,
    /// The same with keys of this table alone.
    QuickAnew,
    /// SipHash-1-3: a promise.
    Sip,
}

fn random(hash: Hash) -> Keys {
    // The standard library's way to random bits; it asks the system.
    let random = std::hash::RandomState::new();
    let [low, high, last, times] = [1_u8, 2, 3, 4].map(|number| random.hash_one(number));
    Keys { low, high, last: last | 1, spread: Spread::new([low, high], times), hash }
}

/// The keys that tables begin with, new for each process.
fn first_keys() -> Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    *KEYS.get_or_init(|| random(Hash::Quick))
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

impl Keys {
    /// The hash of a key, or of 16 bytes.
    #[inline]
    fn hash(self, key: Key) -> u64 {
        if self.hash == Hash::Sip { self.sip(key) } else { self.spread.hash(key) }
    }

    #[inline(always)]
    fn sip(self, key: u128) -> u64 {
        sip13(self.low, self.high, [key as u64, (key >> 64) as u64])
    }

    /// The hash of a long word.
    fn hash_long(self, word: &[u8]) -> u64 {
        let Some(last) = word.last_chunk::<INLINE>().filter(|_| word.len() > INLINE) else {
            return self.hash(number(word));
        };
        // The last piece overlaps the one before.
        let pieces = word.as_chunks().0.iter().chain([last]).map(|piece| u128::from_le_bytes(*piece));
        if self.hash == Hash::Sip {
            let halves = pieces.flat_map(|piece| [piece as u64, (piece >> 64) as u64]);
            return sip13(self.low, self.high, halves.chain([word.len() as u64]));
        }
        let first = self.last ^ word.len() as u64;
        let hash = pieces.fold(first, |hash, piece| {
            fold(piece as u64 ^ self.low ^ hash, (piece >> 64) as u64 ^ self.high ^ hash.rotate_left(32))
        });
        fold(hash, self.last)
    }

    /// The next keys, for a table whose words collide under these; `None` if these are the last.
    fn next(self) -> Option<Self> {
        match self.hash {
            Hash::Quick => Some(random(Hash::QuickAnew)),
            Hash::QuickAnew => Some(random(Hash::Sip)),
            Hash::Sip => None,
        }
    }
}

/// SipHash-1-3 of words of 64 bits, without the length at the end: who hashes different lengths hashes them too.
#[inline(always)]
fn sip13(low: u64, high: u64, words: impl IntoIterator<Item = u64>) -> u64 {
    let mut v = [
        low ^ 0x736f_6d65_7073_6575,
        high ^ 0x646f_7261_6e64_6f6d,
        low ^ 0x6c79_6765_6e65_7261,
        high ^ 0x7465_6462_7974_6573,
    ];
    let round = |v: &mut [u64; 4]| {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[1]);
        v[0] = v[0].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    };
    for word in words {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xFF;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

/// A word of a table. Only UTF-8 was put in. To say so to the compiler would be `unsafe`; to check it is cheap.
#[inline]
pub(crate) fn as_str(word: &[u8]) -> &str {
    std::str::from_utf8(word).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Long {
    /// A word of up to 16 bytes; or the offset in the arena, and the hash.
    key: [u8; INLINE],
    /// 0 in a free slot, and never otherwise.
    count: u64,
    /// In bytes.
    len: u64,
}

impl Long {
    fn halves(&self) -> (u64, u64) {
        let key = u128::from_le_bytes(self.key);
        (key as u64, (key >> 64) as u64)
    }

    fn word<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        let len = self.len as usize;
        if len <= INLINE {
            &self.key[..len]
        } else {
            let from = self.halves().0 as usize;
            &arena[from..from + len]
        }
    }

    /// The hash under the keys that it was put in with.
    fn hash(&self, keys: Keys) -> u64 {
        if self.len as usize <= INLINE { keys.hash(u128::from_le_bytes(self.key)) } else { self.halves().1 }
    }
}

/// Words and how often each occurs.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    short: Buckets<SHORT, 5>,
    medium: Buckets<MEDIUM, 4>,
    /// No slot, or a power of two of them.
    long: Vec<Long>,
    arena: Vec<u8>,
    long_used: usize,
    /// What counts of 32 bits were before they were swept.
    swept: HashMap<Key, u64>,
    /// What was added to such counts since: nearly always, all that was.
    unswept: u64,
    keys: Keys,
    /// The looks beyond the mean that is allowed, so far.
    debt: u64,
    #[cfg(test)]
    looks: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            short: Buckets::default(),
            medium: Buckets::default(),
            long: Vec::new(),
            arena: Vec::new(),
            long_used: 0,
            swept: HashMap::new(),
            unswept: 0,
            keys: first_keys(),
            debt: 0,
            #[cfg(test)]
            looks: 0,
        }
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.short.len(self.keys) + self.medium.len(self.keys) + self.long_used
    }

    /// The bytes of memory in use, at most, while that many more words are added, of whichever kind: each has room for all of them.
    pub(crate) fn memory_with(&self, more: usize) -> usize {
        let long = grown(self.long.len(), self.long_used.saturating_add(more)).unwrap_or(0);
        let long = self.long.len().saturating_add(long).saturating_mul(size_of::<Long>());
        let is_long = self.unswept.saturating_add(more as u64) >= MANY;
        let (short, medium) = (self.short.memory_with(more, is_long), self.medium.memory_with(more, is_long));
        [short, medium, long, self.arena.capacity()].into_iter().fold(0, usize::saturating_add)
    }

    /// Adds `count`, which is not 0, occurrences of `word`.
    pub(crate) fn add(&mut self, word: &str, count: u64) {
        self.add_bytes(word.as_bytes(), count);
    }

    /// As [`add`](Self::add), of bytes that are UTF-8.
    pub(crate) fn add_bytes(&mut self, word: &[u8], count: u64) {
        if let Some(key) = key_of(word) {
            self.add_key(key, count);
        } else {
            self.reserve_long(1);
            let looks = self.add_long(word, self.keys.hash_long(word), count);
            self.account(looks, 1);
        }
    }

    /// Adds once each word of `text` that starts and ends there, none of which is empty. Lines are asked for
    /// long before they are used.
    pub(crate) fn add_words<const N: usize>(
        &mut self,
        level: Level,
        batch: &mut Batch,
        text: &[u8; N],
        words: &[[u16; 2]],
    ) {
        for words in words.chunks(BATCH) {
            self.add_few_words(level, batch, text, words);
        }
    }

    fn add_few_words<const N: usize>(
        &mut self,
        level: Level,
        batch: &mut Batch,
        text: &[u8; N],
        words: &[[u16; 2]],
    ) {
        if self.unswept >= MANY_FOR_TINY {
            batch.count_tiny(level);
        }
        if batch.has_to_settle() {
            self.settle(batch);
        }
        let keys = self.keys;
        batch.find_keys(level, text, words);
        let Batch { short, medium, .. } = &mut *batch;
        self.sweep_before((short.len() + medium.len()) as u64);
        let is_long = self.unswept >= MANY;
        self.short.reserve(short.len(), is_long, keys);
        self.medium.reserve(medium.len(), is_long, keys);
        if keys.hash == Hash::Sip {
            short.find_lines_by(&self.short.lines, |key| keys.sip(key));
            medium.find_lines_by(&self.medium.lines, |key| keys.sip(key));
        } else {
            short.find_lines(level, &self.short.lines, &keys.spread);
            medium.find_lines(level, &self.medium.lines, &keys.spread);
        }
        let left = short.count(level, &mut self.short.lines, &mut self.short.used);
        let mut looks = self.short.add_left(short, left);
        let left = medium.count(level, &mut self.medium.lines, &mut self.medium.used);
        looks += self.medium.add_left(medium, left);
        self.account(looks, words.len() as u64);
        if !batch.long().is_empty() {
            self.add_long_words(batch.long(), |at| {
                let [start, end] = words[at];
                &text[usize::from(start)..usize::from(end)]
            });
        }
    }

    /// Adds what was counted in the batch itself, which is neither here nor seen by anybody before.
    pub(crate) fn settle(&mut self, batch: &mut Batch) {
        for (key, count) in batch.take_tiny() {
            self.add_key(key, count.into());
        }
    }

    /// Adds those words of a batch, each by its place.
    fn add_long_words<'a>(&mut self, those: &[u32], word: impl Fn(usize) -> &'a [u8]) {
        self.reserve_long(those.len());
        let mut looks = 0;
        for few in those.chunks(LONG_BATCH) {
            let (keys, shift) = (self.keys, shift(&self.long));
            let mut hashes = [0; LONG_BATCH];
            for (hash, &at) in hashes.iter_mut().zip(few) {
                *hash = keys.hash_long(word(at as usize));
                simd::prefetch(&self.long, (*hash >> shift) * size_of::<Long>() as u64);
            }
            for (&hash, &at) in hashes.iter().zip(few) {
                looks += self.add_long(word(at as usize), hash, 1);
            }
        }
        self.account(looks, those.len() as u64);
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Table) {
        self.merge_lines(&other.short.lines);
        self.merge_lines(&other.medium.lines);
        self.merge_long(other);
        self.merge_swept(other);
    }

    fn merge_lines<const LEN: usize, const SLOTS: usize>(&mut self, other: &[Line<LEN, SLOTS>]) {
        // Every sixteenth block of lines, then every sixteenth but one: words that come in the order of their hashes would crowd the
        // first lines of a table that has yet to grow.
        for turn in 0..16 {
            for lines in other.chunks(16).skip(turn).step_by(16) {
                for (slot, count) in words(lines) {
                    self.add_key(key_in(slot), u64::from(count));
                }
            }
        }
    }

    fn merge_long(&mut self, other: &Table) {
        for turn in 0..16 {
            for slots in other.long.chunks(64).skip(turn).step_by(16) {
                for slot in slots.iter().filter(|slot| slot.count > 0) {
                    self.add_bytes(slot.word(&other.arena), slot.count);
                }
            }
        }
    }

    fn merge_swept(&mut self, other: &Table) {
        for (&key, &count) in &other.swept {
            let swept = self.swept.entry(key).or_insert(0);
            *swept = swept.saturating_add(count);
        }
    }

    pub(crate) fn get(&self, word: &str) -> u64 {
        let word = word.as_bytes();
        if let Some(key) = key_of(word) {
            let (short, medium) = (&self.short, &self.medium);
            let count =
                if is_short(key) { short.count(key, self.keys) } else { medium.count(key, self.keys) };
            return self.with_swept(key, count);
        }
        if self.long.is_empty() {
            return 0;
        }
        let mut at = (self.keys.hash_long(word) >> shift(&self.long)) as usize;
        loop {
            let slot = &self.long[at & (self.long.len() - 1)];
            if slot.count == 0 || slot.len == word.len() as u64 && slot.word(&self.arena) == word {
                return slot.count;
            }
            at += 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let short = words(&self.short.lines).map(|(slot, count)| self.word_of(slot, count));
        let medium = words(&self.medium.lines).map(|(slot, count)| self.word_of(slot, count));
        let words = short.chain(medium).chain(self.long_words());
        words.map(|(word, count)| (as_str(word), count))
    }

    fn long_words(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let used = self.long.iter().filter(|slot| slot.count > 0);
        used.map(|slot| (slot.word(&self.arena), slot.count))
    }

    /// Gives `take` the words, as bytes of which [`as_str`] makes a string, and their counts, but for some that are counted less often
    /// than it said last it would look at.
    pub(crate) fn for_each_frequent<'a>(&'a self, mut take: impl FnMut(&'a [u8], u64) -> u64) {
        let least = self.for_each_in(&self.short.lines, 0, &mut take);
        self.for_each_in(&self.medium.lines, least, &mut take);
        for (word, count) in self.long_words() {
            take(word, count);
        }
    }

    fn for_each_in<'a, const LEN: usize, const SLOTS: usize>(
        &self,
        lines: &'a [Line<LEN, SLOTS>],
        mut least: u64,
        take: &mut impl FnMut(&'a [u8], u64) -> u64,
    ) -> u64 {
        for line in lines {
            // Nearly all words are rare. What has been moved aside, no line tells.
            let most = line.counts.iter().fold(0, |most, &count| most.max(count));
            if u64::from(most) >= least || !self.swept.is_empty() {
                for (slot, count) in line.used() {
                    let (word, count) = self.word_of(slot, count);
                    least = take(word, count);
                }
            }
        }
        least
    }

    #[inline]
    fn word_of<'a, const LEN: usize>(&self, slot: &'a [u8; LEN], count: u32) -> (&'a [u8], u64) {
        (word_in(slot), self.with_swept(key_in(slot), u64::from(count)))
    }

    /// The count of a key, with what has been moved aside.
    #[inline]
    fn with_swept(&self, key: Key, count: u64) -> u64 {
        let swept = if self.swept.is_empty() { None } else { self.swept.get(&key) };
        swept.map_or(count, |swept| swept.saturating_add(count))
    }

    /// Adds to a key.
    fn add_key(&mut self, key: Key, count: u64) {
        let mut now = count;
        if count >= SWEEP {
            now = 1;
            let swept = self.swept.entry(key).or_insert(0);
            *swept = swept.saturating_add(count - 1);
        }
        self.sweep_before(now);
        let keys = self.keys;
        let looks = if is_short(key) {
            self.short.reserve(1, false, keys);
            self.short.add(key, now as u32, keys)
        } else {
            self.medium.reserve(1, false, keys);
            self.medium.add(key, now as u32, keys)
        };
        self.account(looks, 1);
    }

    /// Adds to a long word, for which there is a free slot; returns how many looks beyond the first it took.
    fn add_long(&mut self, word: &[u8], hash: u64, count: u64) -> u64 {
        let first = (hash >> shift(&self.long)) as usize;
        let mask = self.long.len() - 1;
        let inline = if word.len() <= INLINE { number(word) } else { 0 };
        let mut looks = 0;
        loop {
            let at = (first + looks) & mask;
            let slot = self.long[at];
            if slot.count == 0 {
                let mut key = inline;
                if word.len() > INLINE {
                    key = u128::from(hash) << 64 | self.arena.len() as u128;
                    self.arena.extend_from_slice(word);
                }
                self.long[at] = Long { key: key.to_le_bytes(), count, len: word.len() as u64 };
                self.long_used += 1;
                return looks as u64;
            }
            let same = slot.len == word.len() as u64
                && if word.len() <= INLINE {
                    u128::from_le_bytes(slot.key) == inline
                } else {
                    slot.halves().1 == hash && slot.word(&self.arena) == word
                };
            if same {
                self.long[at].count = slot.count.saturating_add(count);
                return looks as u64;
            }
            looks += 1;
        }
    }

    /// Before that many occurrences are added to short and medium words: moves the counts aside that could overflow.
    #[inline]
    fn sweep_before(&mut self, more: u64) {
        self.unswept += more;
        if self.unswept >= SWEEP {
            self.sweep();
            self.unswept = more;
        }
    }

    #[cold]
    fn sweep(&mut self) {
        self.short.sweep(&mut self.swept);
        self.medium.sweep(&mut self.swept);
    }

    /// Takes note of how many looks beyond the first some words took.
    #[inline]
    fn account(&mut self, looks: u64, words: u64) {
        #[cfg(test)]
        {
            self.looks += looks;
        }
        self.debt = (self.debt + looks).saturating_sub(PROBES * words);
        if self.debt > FORGIVEN {
            self.rekey();
        }
    }

    #[cold]
    fn rekey(&mut self) {
        self.debt = 0;
        let Some(keys) = self.keys.next() else { return };
        self.keys = keys;
        for slot in self.long.iter_mut().filter(|slot| slot.len as usize > INLINE) {
            let from = slot.halves().0;
            let hash = keys.hash_long(slot.word(&self.arena));
            slot.key = (u128::from(hash) << 64 | u128::from(from)).to_le_bytes();
        }
        self.short.resize(self.short.lines.len(), keys);
        self.medium.resize(self.medium.lines.len(), keys);
        self.resize_long(self.long.len());
    }

    /// Makes room for that many new words of up to 12 bytes.
    pub(crate) fn reserve(&mut self, words: usize) {
        self.short.reserve(words, false, self.keys);
        self.medium.reserve(words, false, self.keys);
    }

    #[inline]
    fn reserve_long(&mut self, more: usize) {
        if let Some(len) = grown(self.long.len(), self.long_used + more) {
            self.resize_long(len);
        }
    }

    #[cold]
    fn resize_long(&mut self, len: usize) {
        let old = std::mem::replace(&mut self.long, vec![Long::default(); len]);
        let shift = shift(&self.long);
        for slot in old.into_iter().filter(|slot| slot.count > 0) {
            let mut at = (slot.hash(self.keys) >> shift) as usize;
            while self.long[at & (len - 1)].count > 0 {
                at += 1;
            }
            self.long[at & (len - 1)] = slot;
        }
    }
}

/// The slots for that many long words if `len` are too few: one is looked at at a time, so that a half of them are in use at most.
#[inline(always)]
fn grown(len: usize, words: usize) -> Option<usize> {
    let wanted = words.saturating_mul(2);
    (wanted > len).then(|| wanted.checked_next_power_of_two().unwrap_or(usize::MAX).max(FEWEST))
}

/// The same words with the same counts, wherever they stand.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(word, count)| other.get(word) == count)
    }
}

impl Eq for Table {}

#[cfg(test)]
mod tests;
