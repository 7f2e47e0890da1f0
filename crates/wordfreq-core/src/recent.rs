//! A small table of recent short words in front of the large one, which is seldom in the processor's cache.
//!
//! It is only a matter of speed: every count ends up in [`Counts`]. Its hash is cheap and can be foreseen, but words
//! chosen to collide only fall through to the large table, whose hash cannot.

use crate::counts::Counts;

/// 2,048 slots of 32 bytes: most words of a text hit, and it fits the cache nearest but one.
const SLOTS_LOG2: u32 = 11;
const LONGEST: usize = 15;

/// Words of up to 15 bytes, each in the one slot its hash names, with what they have been counted since they came.
#[derive(Debug)]
pub(crate) struct Recent {
    slots: Vec<Slot>,
}

/// A word's bytes with its length in the last, and its count; 0 if the slot is free.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u128,
    count: u64,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { slots: vec![Slot::default(); 1 << SLOTS_LOG2] }
    }

    /// Counts `word` once, here or in `counts`.
    #[inline]
    pub(crate) fn add(&mut self, word: &str, counts: &mut Counts) {
        if word.len() > LONGEST {
            counts.add(word, 1);
            return;
        }
        let mut bytes = [0; LONGEST + 1];
        bytes[..word.len()].copy_from_slice(word.as_bytes());
        bytes[LONGEST] = word.len() as u8;
        let key = u128::from_le_bytes(bytes);
        let slot = &mut self.slots[slot_of(key)];
        if slot.key == key {
            slot.count += 1;
        } else {
            slot.move_to(counts);
            *slot = Slot { key, count: 1 };
        }
    }

    /// Moves everything to `counts`.
    pub(crate) fn finish(mut self, counts: &mut Counts) {
        for slot in &mut self.slots {
            slot.move_to(counts);
        }
    }
}

impl Slot {
    fn move_to(&mut self, counts: &mut Counts) {
        let bytes = self.key.to_le_bytes();
        let word = std::str::from_utf8(&bytes[..usize::from(bytes[LONGEST])]).expect("a key holds a whole word");
        counts.add(word, std::mem::take(&mut self.count));
    }
}

#[inline]
fn slot_of(key: u128) -> usize {
    let folded = (key as u64) ^ ((key >> 64) as u64).rotate_left(23);
    // Multiplying by 2^64 over the golden ratio spreads any difference into the upper bits.
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SLOTS_LOG2)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More words than slots, of every length around the longest, each several times in two orders.
    #[test]
    fn nothing_is_lost_or_confused_however_words_displace_each_other() {
        let words: Vec<String> = (0..5000).map(|number| format!("é{number:0width$}", width = number % 17)).collect();
        let mut recent = Recent::new();
        let (mut counts, mut expected) = (Counts::new(), Counts::new());
        for word in words.iter().chain(words.iter().rev()).chain(&words).map(String::as_str).chain(["", "\0", ""]) {
            recent.add(word, &mut counts);
            expected.add(word, 1);
        }
        recent.finish(&mut counts);
        assert!(counts.distinct() > 1 << SLOTS_LOG2);
        assert_eq!(counts, expected);
    }
}
