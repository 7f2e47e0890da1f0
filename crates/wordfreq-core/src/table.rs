//! The table of words behind [`Counts`](crate::Counts): open addressing, and nearly every word inside its slot.
//!
//! A word of up to 12 bytes is in the *narrow* part: its bytes, then bytes that no UTF-8 has, and a count of 32 bits. Four words
//! with their counts are a cache line, which is looked through at once; a word whose line is full goes to the next. Any other word
//! has a slot of 32 bytes in the *wide* part, with a count of 64 bits: up to 16 bytes inside it, a longer one in an arena. A
//! narrow count never overflows, since all of them are moved aside before any can.
//!
//! Slots are taken by a quick keyed hash, and the keys are random. Who finds words that collide all the same gets a table with
//! other keys, and then one that is keyed by SipHash: no table goes on for long with more than [`PROBES`] extra looks a word.
//!
//! Not here: what a word is, totals, the loops over words of a text that are in their first line (`simd::lines`), and merging at
//! the same time (`parts`).

mod parts;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use crate::simd::lines::{
    BATCH, Batch, Key, Line, Lines, NARROW, SINK, SLOTS, Slot, Spread, key_in, narrow_key, shift, slot_of,
};
use crate::simd::{self, Level};

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

/// A narrow count stays below twice this, which is below 2^32.
const SWEEP: u64 = 1 << 31;

/// The key that a free slot has.
const NULS: Key = !0 << (8 * NARROW);

/// The key of a word, if it is narrow.
fn key_of(word: &[u8]) -> Option<Key> {
    (!word.is_empty() && word.len() <= NARROW).then(|| narrow_key(padded(word), word.len()))
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
    Keys { low, high, last: last | 1, spread: Spread::new([low, high], [last, times]), hash }
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
    /// The hash of a narrow key, or of 16 bytes.
    #[inline]
    fn narrow(self, key: Key) -> u64 {
        if self.hash == Hash::Sip { self.sip(key) } else { self.spread.hash(key) }
    }

    #[inline(always)]
    fn sip(self, key: u128) -> u64 {
        sip13(self.low, self.high, [key as u64, (key >> 64) as u64])
    }

    /// The hash of a word of the wide part.
    fn wide(self, word: &[u8]) -> u64 {
        let Some(last) = word.last_chunk::<INLINE>().filter(|_| word.len() > INLINE) else {
            return self.narrow(number(word));
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

/// The word of a slot.
#[inline]
fn word_in(slot: &Slot) -> &[u8] {
    &slot[..INLINE - key_in(slot).leading_ones() as usize / 8]
}

/// A word of a table. Only UTF-8 was put in. To say so to the compiler would be `unsafe`; to check it is cheap.
#[inline]
pub(crate) fn as_str(word: &[u8]) -> &str {
    std::str::from_utf8(word).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Wide {
    /// A word of up to 16 bytes; or the offset in the arena, and the hash.
    key: [u8; INLINE],
    /// 0 in a free slot, and never otherwise.
    count: u64,
    /// In bytes.
    len: u64,
}

impl Wide {
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
        if self.len as usize <= INLINE { keys.narrow(u128::from_le_bytes(self.key)) } else { self.halves().1 }
    }
}

/// Words and how often each occurs.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Each of the two has no line or slot, or a power of two of them.
    narrow: Lines,
    wide: Vec<Wide>,
    arena: Vec<u8>,
    narrow_used: usize,
    wide_used: usize,
    /// What narrow counts were before they were swept.
    swept: HashMap<Slot, u64>,
    /// What was added to narrow counts since.
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
            narrow: Lines::free(0),
            wide: Vec::new(),
            arena: Vec::new(),
            narrow_used: 0,
            wide_used: 0,
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
        // The word of twelve NULs has the key of a free slot, and so is never taken for a new one.
        let nuls = usize::from(self.narrow_count(NULS) > 0);
        self.narrow_used + nuls - usize::from(self.narrow_count(SINK) > 0) + self.wide_used
    }

    /// The bytes of memory in use, at most, while that many more words are added.
    pub(crate) fn memory_with(&self, more: usize) -> usize {
        let of = |len: usize, grown: Option<usize>, slot: usize| {
            len.saturating_add(grown.unwrap_or(0)).saturating_mul(slot)
        };
        let slots = self.narrow.len() * SLOTS;
        let narrow = grown_narrow(slots, self.narrow_used.saturating_add(more));
        let narrow = of(slots, narrow, size_of::<Line>() / SLOTS);
        let wide = grown_wide(self.wide.len(), self.wide_used.saturating_add(more));
        let wide = of(self.wide.len(), wide, size_of::<Wide>());
        narrow.saturating_add(wide).saturating_add(self.arena.capacity())
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
            self.reserve_wide(1);
            let looks = self.add_wide(word, self.keys.wide(word), count);
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
        let len = words.len();
        self.reserve_narrow(len);
        self.sweep_before(len as u64);
        let keys = self.keys;
        let num_others = batch.find_keys(level, text, words);
        if keys.hash == Hash::Sip {
            let shift = shift(&self.narrow);
            batch.find_lines_by(len, &self.narrow, |key| keys.sip(key) >> shift);
        } else {
            batch.find_lines(level, len, &self.narrow, &keys.spread);
        }
        let num_missed = batch.count(level, len, &mut self.narrow);
        let mut looks = 0;
        for &at in batch.missed(num_missed) {
            let (key, first) = batch.word(at as usize);
            looks += add_narrow(&mut self.narrow, first, key, 1, &mut self.narrow_used);
        }
        self.account(looks, len as u64);
        if num_others > 0 {
            self.add_others(batch, num_others, |at| {
                let [start, end] = words[at];
                &text[usize::from(start)..usize::from(end)]
            });
        }
    }

    /// Adds those words of a batch that are not narrow.
    fn add_others<'a>(&mut self, batch: &mut Batch, number: usize, word: impl Fn(usize) -> &'a [u8]) {
        self.reserve_wide(number);
        let (keys, shift) = (self.keys, shift(&self.wide));
        let mut hashes = [0; BATCH];
        let others = batch.others(number);
        for (hash, &at) in hashes.iter_mut().zip(others) {
            *hash = keys.wide(word(at as usize));
            simd::prefetch(&self.wide, (*hash >> shift) as usize);
        }
        let mut looks = 0;
        for (&hash, &at) in hashes.iter().zip(others) {
            looks += self.add_wide(word(at as usize), hash, 1);
        }
        self.account(looks, number as u64);
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Table) {
        // Every sixteenth block of lines, then every sixteenth but one: words that come in the order of their hashes would crowd the
        // first lines of a table that has yet to grow.
        for turn in 0..16 {
            for lines in other.narrow.chunks(16).skip(turn).step_by(16) {
                for (slot, count) in narrow_words(lines) {
                    self.add_key(key_in(slot), u64::from(count));
                }
            }
        }
        self.merge_wide(other);
        self.merge_swept(other);
    }

    fn merge_wide(&mut self, other: &Table) {
        for turn in 0..16 {
            for slots in other.wide.chunks(64).skip(turn).step_by(16) {
                for slot in slots.iter().filter(|slot| slot.count > 0) {
                    self.add_bytes(slot.word(&other.arena), slot.count);
                }
            }
        }
    }

    fn merge_swept(&mut self, other: &Table) {
        for (&slot, &count) in &other.swept {
            let swept = self.swept.entry(slot).or_insert(0);
            *swept = swept.saturating_add(count);
        }
    }

    pub(crate) fn get(&self, word: &str) -> u64 {
        let word = word.as_bytes();
        if let Some(key) = key_of(word) {
            return self.with_swept(&slot_of(key), self.narrow_count(key));
        }
        if self.wide.is_empty() {
            return 0;
        }
        let mut at = (self.keys.wide(word) >> shift(&self.wide)) as usize;
        loop {
            let slot = &self.wide[at & (self.wide.len() - 1)];
            if slot.count == 0 || slot.len == word.len() as u64 && slot.word(&self.arena) == word {
                return slot.count;
            }
            at += 1;
        }
    }

    /// What is counted of a key, and has not been moved aside.
    fn narrow_count(&self, key: Key) -> u64 {
        if self.narrow.is_empty() {
            return 0;
        }
        let first = (self.keys.narrow(key) >> shift(&self.narrow)) as usize;
        let lines = self.narrow[first..].iter().chain(&self.narrow[..first]);
        let mut slots = lines.flat_map(|line| line.slots.iter().zip(line.counts));
        let found = slots.find(|(slot, count)| *count == 0 || **slot == slot_of(key));
        found.map_or(0, |(_, count)| u64::from(count))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.iter_bytes().map(|(word, count)| (as_str(word), count))
    }

    /// As [`iter`](Self::iter), for who looks at few of the words: their bytes, of which [`as_str`] makes a string.
    pub(crate) fn iter_bytes(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let narrow = narrow_words(&self.narrow);
        let narrow = narrow.map(|(slot, count)| (word_in(slot), self.with_swept(slot, u64::from(count))));
        let wide = self.wide.iter().filter(|slot| slot.count > 0);
        narrow.chain(wide.map(|slot| (slot.word(&self.arena), slot.count)))
    }

    /// The count of a word, with what has been moved aside.
    fn with_swept(&self, slot: &Slot, count: u64) -> u64 {
        let swept = if self.swept.is_empty() { None } else { self.swept.get(slot) };
        swept.map_or(count, |swept| swept.saturating_add(count))
    }

    /// Adds to a narrow word.
    fn add_key(&mut self, key: Key, count: u64) {
        self.reserve_narrow(1);
        let mut now = count;
        if count >= SWEEP {
            now = 1;
            let swept = self.swept.entry(slot_of(key)).or_insert(0);
            *swept = swept.saturating_add(count - 1);
        }
        self.sweep_before(now);
        let first = (self.keys.narrow(key) >> shift(&self.narrow)) as usize;
        let looks = add_narrow(&mut self.narrow, first, key, now as u32, &mut self.narrow_used);
        self.account(looks, 1);
    }

    /// Adds to a wide word, for which there is a free slot; returns how many looks beyond the first it took.
    fn add_wide(&mut self, word: &[u8], hash: u64, count: u64) -> u64 {
        let first = (hash >> shift(&self.wide)) as usize;
        let mask = self.wide.len() - 1;
        let inline = if word.len() <= INLINE { number(word) } else { 0 };
        let mut looks = 0;
        loop {
            let at = (first + looks) & mask;
            let slot = self.wide[at];
            if slot.count == 0 {
                let mut key = inline;
                if word.len() > INLINE {
                    key = u128::from(hash) << 64 | self.arena.len() as u128;
                    self.arena.extend_from_slice(word);
                }
                self.wide[at] = Wide { key: key.to_le_bytes(), count, len: word.len() as u64 };
                self.wide_used += 1;
                return looks as u64;
            }
            let same = slot.len == word.len() as u64
                && if word.len() <= INLINE {
                    u128::from_le_bytes(slot.key) == inline
                } else {
                    slot.halves().1 == hash && slot.word(&self.arena) == word
                };
            if same {
                self.wide[at].count = slot.count.saturating_add(count);
                return looks as u64;
            }
            looks += 1;
        }
    }

    /// Before that many occurrences are added to narrow words: moves the counts aside that could overflow.
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
        for line in &mut *self.narrow {
            for (slot, count) in line.slots.iter().zip(&mut line.counts).filter(|(_, count)| **count > 1) {
                let swept = self.swept.entry(*slot).or_insert(0);
                *swept = swept.saturating_add(u64::from(*count - 1));
                *count = 1;
            }
        }
    }

    /// Takes note of how many looks beyond the first some words took. Returns whether the keys are others now.
    #[inline]
    fn account(&mut self, looks: u64, words: u64) -> bool {
        #[cfg(test)]
        {
            self.looks += looks;
        }
        self.debt = (self.debt + looks).saturating_sub(PROBES * words);
        self.debt > FORGIVEN && self.rekey()
    }

    #[cold]
    fn rekey(&mut self) -> bool {
        self.debt = 0;
        let Some(keys) = self.keys.next() else { return false };
        self.keys = keys;
        for slot in self.wide.iter_mut().filter(|slot| slot.len as usize > INLINE) {
            let from = slot.halves().0;
            let hash = keys.wide(slot.word(&self.arena));
            slot.key = (u128::from(hash) << 64 | u128::from(from)).to_le_bytes();
        }
        self.resize_narrow(self.narrow.len());
        self.resize_wide(self.wide.len());
        true
    }

    /// Makes room for `more` new narrow words.
    #[inline]
    pub(crate) fn reserve_narrow(&mut self, more: usize) {
        if let Some(slots) = grown_narrow(self.narrow.len() * SLOTS, self.narrow_used + more) {
            self.resize_narrow(slots / SLOTS);
        }
    }

    #[inline]
    fn reserve_wide(&mut self, more: usize) {
        if let Some(len) = grown_wide(self.wide.len(), self.wide_used + more) {
            self.resize_wide(len);
        }
    }

    #[cold]
    fn resize_narrow(&mut self, len: usize) {
        let old_len = self.narrow.len();
        if len == 2 * old_len && self.narrow.extend(old_len) {
            return self.spread_narrow(old_len);
        }
        let old = std::mem::replace(&mut self.narrow, Lines::free(len));
        let (keys, shift, mut used) = (self.keys, shift(&self.narrow), 0);
        for (slot, count) in old.iter().flat_map(Line::used) {
            let key = key_in(slot);
            let first = (keys.narrow(key) >> shift) as usize;
            add_narrow(&mut self.narrow, first, key, count, &mut used);
        }
    }

    /// Puts the words of the first `old_len` lines where they belong, now that there are twice as many. The last line goes first: as
    /// lines are by the first bits of a hash, its words belong to twice as late a line, behind all lines that have yet to go, and so
    /// in their turn do nearly all others. Those that do not are put in at the end.
    fn spread_narrow(&mut self, old_len: usize) {
        let (keys, shift, mut used, mut left) = (self.keys, shift(&self.narrow), 0, Vec::new());
        let first = |key| (keys.narrow(key) >> shift) as usize;
        for at in (0..old_len).rev() {
            let line = std::mem::take(&mut self.narrow[at]);
            for (slot, count) in line.used() {
                let (key, first) = (key_in(slot), first(key_in(slot)));
                if first < at || add_to(&mut self.narrow[first..], key, count, &mut used).is_none() {
                    left.push((key, count));
                }
            }
        }
        for (key, count) in left {
            add_narrow(&mut self.narrow, first(key), key, count, &mut used);
        }
        debug_assert_eq!(used, self.narrow_used);
    }

    #[cold]
    fn resize_wide(&mut self, len: usize) {
        let old = std::mem::replace(&mut self.wide, vec![Wide::default(); len]);
        let shift = shift(&self.wide);
        for slot in old.into_iter().filter(|slot| slot.count > 0) {
            let mut at = (slot.hash(self.keys) >> shift) as usize;
            while self.wide[at & (len - 1)].count > 0 {
                at += 1;
            }
            self.wide[at & (len - 1)] = slot;
        }
    }
}

/// The narrow slots for `words` words if `len` are too few: three quarters of them are in use at most, which four in a line allow.
#[inline(always)]
fn grown_narrow(len: usize, words: usize) -> Option<usize> {
    grown(len, words.saturating_add(words / 3))
}

/// The wide slots, one of which is looked at at a time: a half of them are in use at most.
#[inline(always)]
fn grown_wide(len: usize, words: usize) -> Option<usize> {
    grown(len, words.saturating_mul(2))
}

#[inline(always)]
fn grown(len: usize, wanted: usize) -> Option<usize> {
    (wanted > len).then(|| wanted.checked_next_power_of_two().unwrap_or(usize::MAX).max(FEWEST))
}

/// The words of some lines, and their counts.
fn narrow_words(lines: &[Line]) -> impl Iterator<Item = (&Slot, u32)> {
    lines.iter().flat_map(Line::used).filter(|(slot, _)| **slot != slot_of(SINK))
}

/// Adds to a key that is looked for from line `first` on. There is a free slot. Returns how many lines beyond the first it took.
#[inline]
fn add_narrow(lines: &mut [Line], first: usize, key: Key, more: u32, used: &mut usize) -> u64 {
    let behind = lines.len() - first;
    match add_to(&mut lines[first..], key, more, used) {
        Some(looks) => looks as u64,
        None => add_to(&mut lines[..first], key, more, used).map_or(0, |looks| (behind + looks) as u64),
    }
}

/// Adds to a key that is looked for from the first of these lines on. Returns how many lines beyond that it took; `None` if it is
/// not there, and no room.
#[inline]
fn add_to(lines: &mut [Line], key: Key, more: u32, used: &mut usize) -> Option<usize> {
    let wanted = slot_of(key);
    for (looks, line) in lines.iter_mut().enumerate() {
        // All four without a branch between them: which it is cannot be foretold.
        let is_it = |slot: usize| (line.counts[slot] == 0) | (line.slots[slot] == wanted);
        let these = (0..SLOTS).fold(0, |these, slot| these | u32::from(is_it(slot)) << slot);
        if these != 0 {
            let slot = these.trailing_zeros() as usize % SLOTS;
            // Twelve NULs are what a free slot has, so that they are never new.
            *used += usize::from(line.slots[slot] != wanted);
            line.slots[slot] = wanted;
            line.counts[slot] += more;
            return Some(looks);
        }
    }
    None
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
