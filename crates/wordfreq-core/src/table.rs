//! The table of words behind [`Counts`](crate::Counts): open addressing, keys of up to 16 bytes inside the slot.
//!
//! A slot is 32 bytes, two to a cache line. A word of up to 16 bytes is found with one comparison of 16 bytes and of
//! its length; a longer one stands in an arena, and its slot holds where and its hash. The hash is keyed at random once
//! a process, so that no document can choose words that collide. Not here: what a word is, and totals.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use crate::simd;

/// The longest word that stands in its slot, in bytes.
pub(crate) const INLINE: usize = 16;

/// How many words [`Table::add_batch`] takes at most.
pub(crate) const BATCH: usize = 256;

/// The fewest slots of a table that has any.
const FEWEST: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Keys {
    low: u64,
    high: u64,
    last: u64,
}

/// The keys of this process. One set for all tables, so that a merge could reuse hashes.
fn keys() -> Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    *KEYS.get_or_init(|| {
        // The standard library's way to random bits; it asks the system.
        let random = std::hash::RandomState::new();
        Keys { low: random.hash_one(1_u8), high: random.hash_one(2_u8), last: random.hash_one(3_u8) | 1 }
    })
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

impl Keys {
    /// The hash of a word of up to 16 bytes, of which `key` is the little-endian number.
    #[inline(always)]
    fn inline(self, key: u128, len: usize) -> u64 {
        let first = fold(key as u64 ^ self.low, (key >> 64) as u64 ^ self.high);
        fold(first ^ len as u64, self.last)
    }

    /// The hash of a longer one.
    fn long(self, word: &[u8]) -> u64 {
        let mut hash = self.last ^ word.len() as u64;
        for lane in word.chunks(16) {
            let lane = inline_key(lane);
            hash =
                fold(lane as u64 ^ self.low ^ hash, (lane >> 64) as u64 ^ self.high ^ hash.rotate_left(32));
        }
        fold(hash, self.last)
    }
}

/// The number that a word of up to 16 bytes is, little-endian, with zeros above.
#[inline]
pub(crate) fn inline_key(word: &[u8]) -> u128 {
    let mut key = [0; INLINE];
    key[..word.len()].copy_from_slice(word);
    u128::from_le_bytes(key)
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Slot {
    /// A word of up to 16 bytes; or the offset in the arena, and the hash.
    key: [u8; INLINE],
    /// 0 in a free slot, and never otherwise.
    count: u64,
    /// In bytes.
    len: u32,
}

impl Slot {
    fn halves(&self) -> (u64, u64) {
        let key = u128::from_le_bytes(self.key);
        (key as u64, (key >> 64) as u64)
    }
}

/// Words of up to [`INLINE`] bytes to be added, each once.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    keys: [u128; BATCH],
    lens: [u8; BATCH],
    hashes: [u64; BATCH],
    len: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { keys: [0; BATCH], lens: [0; BATCH], hashes: [0; BATCH], len: 0 }
    }

    /// How many more words fit.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        BATCH - self.len
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts words in, no more than there is room for, each with its length. One that is not to be kept, by the third of it, gives
    /// its place to the next, so that nobody need branch.
    #[inline(always)]
    pub(crate) fn extend(&mut self, words: impl Iterator<Item = (u128, usize, bool)>) {
        let mut to = self.len;
        for (key, len, keep) in words {
            let at = to % BATCH;
            self.keys[at] = key;
            self.lens[at] = len as u8;
            to += usize::from(keep);
        }
        self.len = to;
    }
}

/// Words and how often each occurs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// None, or a power of two.
    slots: Vec<Slot>,
    arena: Vec<u8>,
    used: usize,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Adds `count`, which is not 0, occurrences of `word`.
    pub(crate) fn add(&mut self, word: &str, count: u64) {
        self.add_bytes(word.as_bytes(), count);
    }

    /// As [`add`](Self::add), of bytes that are UTF-8.
    pub(crate) fn add_bytes(&mut self, word: &[u8], count: u64) {
        self.reserve(1);
        if word.len() <= INLINE {
            let key = inline_key(word);
            let hash = keys().inline(key, word.len());
            self.add_inline(key, word.len() as u32, hash, count);
        } else {
            self.add_long(word, keys().long(word), count);
        }
    }

    /// Adds every word of `batch` once, and empties it. All slots are asked for before any is used: the batch is long enough to
    /// hide the misses and short enough for its slots to stay in the first-level cache.
    pub(crate) fn add_batch(&mut self, batch: &mut Batch) {
        let len = std::mem::take(&mut batch.len).min(BATCH);
        self.reserve(len);
        let keys = keys();
        let shift = self.shift();
        for at in 0..len {
            batch.hashes[at] = keys.inline(batch.keys[at], usize::from(batch.lens[at]));
            simd::prefetch(&self.slots, (batch.hashes[at] >> shift) as usize);
        }
        for at in 0..len {
            self.add_inline(batch.keys[at], u32::from(batch.lens[at]), batch.hashes[at], 1);
        }
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Table) {
        // All the room at once: words that come in the order of their hashes would else crowd the first slots.
        self.reserve(other.used);
        let keys = keys();
        for slot in other.slots.iter().filter(|slot| slot.count > 0) {
            if slot.len as usize <= INLINE {
                let key = u128::from_le_bytes(slot.key);
                self.add_inline(key, slot.len, keys.inline(key, slot.len as usize), slot.count);
            } else {
                self.add_long(other.word(slot), slot.halves().1, slot.count);
            }
        }
    }

    pub(crate) fn get(&self, word: &str) -> u64 {
        if self.slots.is_empty() {
            return 0;
        }
        let word = word.as_bytes();
        let mask = self.slots.len() - 1;
        let (key, hash) = if word.len() <= INLINE {
            let key = inline_key(word);
            (key, keys().inline(key, word.len()))
        } else {
            (0, keys().long(word))
        };
        let mut at = (hash >> self.shift()) as usize;
        loop {
            let slot = &self.slots[at & mask];
            let same = slot.len as usize == word.len()
                && if word.len() <= INLINE {
                    slot.key == key.to_le_bytes()
                } else {
                    slot.halves().1 == hash && self.word(slot) == word
                };
            if slot.count == 0 || same {
                return slot.count;
            }
            at += 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.slots.iter().filter(|slot| slot.count > 0).map(|slot| {
            // Only UTF-8 was put in. To say so to the compiler would be `unsafe`; to check it is cheap.
            (std::str::from_utf8(self.word(slot)).unwrap_or_default(), slot.count)
        })
    }

    fn word<'a>(&'a self, slot: &'a Slot) -> &'a [u8] {
        let len = slot.len as usize;
        if len <= INLINE {
            &slot.key[..len]
        } else {
            let from = slot.halves().0 as usize;
            &self.arena[from..from + len]
        }
    }

    /// What a hash is shifted by to give its slot. There are slots.
    #[inline(always)]
    fn shift(&self) -> u32 {
        // Of one slot there is never a table, so this is below 64.
        64 - self.slots.len().max(2).trailing_zeros()
    }

    /// There is a free slot.
    #[inline(always)]
    fn add_inline(&mut self, key: u128, len: u32, hash: u64, count: u64) {
        let mut at = (hash >> self.shift()) as usize;
        let mask = self.slots.len() - 1;
        loop {
            let slot = &mut self.slots[at & mask];
            if u128::from_le_bytes(slot.key) == key && slot.len == len && slot.count > 0 {
                slot.count = slot.count.saturating_add(count);
                return;
            }
            if slot.count == 0 {
                *slot = Slot { key: key.to_le_bytes(), count, len };
                self.used += 1;
                return;
            }
            at += 1;
        }
    }

    /// There is a free slot.
    fn add_long(&mut self, word: &[u8], hash: u64, count: u64) {
        let mut at = (hash >> self.shift()) as usize;
        let mask = self.slots.len() - 1;
        loop {
            let slot = self.slots[at & mask];
            if slot.count == 0 {
                let from = self.arena.len() as u64;
                self.arena.extend_from_slice(word);
                let key = u128::from(hash) << 64 | u128::from(from);
                self.slots[at & mask] = Slot { key: key.to_le_bytes(), count, len: word.len() as u32 };
                self.used += 1;
                return;
            }
            if slot.len as usize == word.len() && slot.halves().1 == hash && self.word(&slot) == word {
                self.slots[at & mask].count = slot.count.saturating_add(count);
                return;
            }
            at += 1;
        }
    }

    /// Makes room for `more` new words: five of eight slots are in use at most.
    #[inline]
    fn reserve(&mut self, more: usize) {
        if (self.used + more) * 8 > self.slots.len() * 5 {
            self.grow(self.used + more);
        }
    }

    #[cold]
    fn grow(&mut self, words: usize) {
        let mut len = self.slots.len().max(FEWEST);
        while words * 8 > len * 5 {
            len *= 2;
        }
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); len]);
        let (keys, shift, mask) = (keys(), self.shift(), len - 1);
        for slot in old.into_iter().filter(|slot| slot.count > 0) {
            let hash = if slot.len as usize <= INLINE {
                keys.inline(u128::from_le_bytes(slot.key), slot.len as usize)
            } else {
                slot.halves().1
            };
            let mut at = (hash >> shift) as usize;
            while self.slots[at & mask].count > 0 {
                at += 1;
            }
            self.slots[at & mask] = slot;
        }
    }
}

/// The same words with the same counts, wherever they stand.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.used == other.used && self.iter().all(|(word, count)| other.get(word) == count)
    }
}

impl Eq for Table {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the standard table: words of every length around the slot's, with zero bytes, alone, by batch, merged.
        #[test]
        fn holds_what_a_standard_table_holds(
            words in prop::collection::vec(("[a\0é]{0,4}|[ab]{14,19}|[ab]{0,7}|x{30,32}[ab]{0,3}", 1..4_u64), 0..600),
            halves in any::<bool>(),
        ) {
            let mut expected: HashMap<&str, u64> = HashMap::new();
            let (mut table, mut other, mut batch) = (Table::default(), Table::default(), Batch::new());
            for (at, (word, count)) in words.iter().enumerate() {
                *expected.entry(word).or_insert(0) += count;
                if halves && at % 2 == 0 {
                    other.add(word, *count);
                } else if word.len() <= INLINE && *count == 1 {
                    batch.extend([(inline_key(word.as_bytes()), word.len(), true)].into_iter());
                    if batch.room() == 0 {
                        table.add_batch(&mut batch);
                    }
                } else {
                    table.add(word, *count);
                }
            }
            table.add_batch(&mut batch);
            table.merge(&other);
            let found: HashMap<&str, u64> = table.iter().collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(table.len(), expected.len());
            for (word, count) in &expected {
                prop_assert_eq!(table.get(word), *count);
            }
            prop_assert_eq!(table.get("none of them"), 0);
            prop_assert_eq!(&table.clone(), &table);
            prop_assert_eq!(other == table, other.iter().collect::<HashMap<_, _>>() == expected);
        }
    }

    #[test]
    fn grows_and_merges_large_tables() {
        let (mut a, mut b) = (Table::default(), Table::default());
        for number in 0..100_000_u64 {
            a.add(&format!("word {number}"), 1);
            b.add(
                &format!("{}ord {number}", if number % 2 == 0 { "w" } else { "a rather long w" }),
                number + 1,
            );
        }
        a.merge(&b);
        assert_eq!(a.len(), 150_000);
        for number in 0..100_000 {
            let even = number % 2 == 0;
            assert_eq!(a.get(&format!("word {number}")), if even { number + 2 } else { 1 });
            assert_eq!(a.get(&format!("a rather long word {number}")), if even { 0 } else { number + 1 });
        }
    }
}
