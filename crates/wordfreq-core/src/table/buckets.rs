//! The words of up to so many bytes of a table, with their counts: a line is a bucket of them. A word whose line is full goes to the
//! next, and after the last comes the first.
//!
//! Not here: when counts are moved aside, and when keys are changed (`table`).

use std::collections::HashMap;

use super::{FEWEST, INLINE, Keys};
use crate::simd::lines::{Group, Key, LARGE, Line, Lines, key_in, shift, shift_for, slot_of};

#[derive(Clone, Debug)]
pub(super) struct Buckets<const LEN: usize, const SLOTS: usize> {
    /// None, or a power of two and more than one.
    pub(super) lines: Lines<LEN, SLOTS>,
    pub(super) used: usize,
}

impl<const LEN: usize, const SLOTS: usize> Default for Buckets<LEN, SLOTS> {
    fn default() -> Self {
        Self { lines: Lines::free(0), used: 0 }
    }
}

impl<const LEN: usize, const SLOTS: usize> Buckets<LEN, SLOTS> {
    /// The number of words.
    pub(super) fn len(&self, keys: Keys) -> usize {
        // As many NULs as a slot has bytes are what is in a free slot, and so are never taken for a new word.
        self.used + usize::from(self.count(key_in(&[0; LEN]), keys) > 0)
    }

    /// The bytes of memory in use, at most, while that many more words are added, maybe of a long text.
    pub(super) fn memory_with(&self, more: usize, is_long: bool) -> usize {
        let grown = self.grown(more, is_long).unwrap_or(0);
        let lines = self.lines.len().saturating_add(grown);
        // And a byte a line, while words are moved.
        lines.saturating_mul(size_of::<Line<LEN, SLOTS>>()).saturating_add(grown)
    }

    /// How often a key is counted here.
    pub(super) fn count(&self, key: Key, keys: Keys) -> u64 {
        if self.lines.is_empty() {
            return 0;
        }
        let first = (keys.hash(key) >> shift(&self.lines)) as usize;
        let lines = self.lines[first..].iter().chain(&self.lines[..first]);
        let mut slots = lines.flat_map(|line| line.slots.iter().zip(line.counts));
        let found = slots.find(|(slot, count)| *count == 0 || **slot == slot_of(key));
        found.map_or(0, |(_, count)| u64::from(count))
    }

    /// Adds to a key, for which there is room. Returns how many lines beyond the first it took.
    #[inline]
    pub(super) fn add(&mut self, key: Key, count: u32, keys: Keys) -> u64 {
        let first = (keys.hash(key) >> shift(&self.lines)) as usize;
        add(&mut self.lines, first, key, count, &mut self.used)
    }

    /// Adds 1 to each of that many words that are left. Returns how many lines beyond their first it took.
    #[inline]
    pub(super) fn add_left<K: Copy + Into<Key>>(&mut self, group: &Group<K>, number: usize) -> u64 {
        let left = group.left(number);
        left.map(|(key, first)| add(&mut self.lines, first, key, 1, &mut self.used)).sum()
    }

    /// Moves all counts aside but 1 of each.
    pub(super) fn sweep(&mut self, swept: &mut HashMap<Key, u64>) {
        for line in &mut *self.lines {
            for (slot, count) in line.slots.iter().zip(&mut line.counts).filter(|(_, count)| **count > 1) {
                let swept = swept.entry(key_in(slot)).or_insert(0);
                *swept = swept.saturating_add(u64::from(*count - 1));
                *count = 1;
            }
        }
    }

    /// Makes room for `more` new words; of a long text, if there are many to come.
    #[inline]
    pub(super) fn reserve(&mut self, more: usize, is_long: bool, keys: Keys) {
        if let Some(lines) = self.grown(more, is_long) {
            self.resize(lines, keys);
        }
    }

    /// The lines there should be for `more` new words, if there are too few: three quarters of the slots are in use at most, which
    /// four or five in a line allow. As long as they are few they become four times as many, so that words are seldom moved; and for a
    /// long text they become a large page at once.
    #[inline(always)]
    fn grown(&self, more: usize, is_long: bool) -> Option<usize> {
        let words = self.used.saturating_add(more);
        let slots = words.saturating_add(words / 3);
        let too_few = slots > self.lines.len() * SLOTS;
        let large = LARGE / size_of::<Line<LEN, SLOTS>>();
        let least = if is_long { large } else { large.min(4 * self.lines.len()) };
        too_few.then(|| lines_for::<SLOTS>(slots).max(least))
    }

    #[cold]
    pub(super) fn resize(&mut self, lines: usize, keys: Keys) {
        let old = self.lines.len();
        let mut moving = Moving { used: vec![0; lines], left: Vec::new(), keys, shift: shift_for(lines) };
        if lines == 2 * old && self.lines.double() {
            // As lines are by the first bits of a hash, the words of each belong to twice as late a one. With the last going first,
            // that is behind all that have yet to go.
            for at in (0..old).rev() {
                let line = std::mem::replace(&mut self.lines[at], Line::FREE);
                moving.put(&line, &mut self.lines, at);
            }
        } else {
            let old = std::mem::replace(&mut self.lines, Lines::free(lines));
            old.iter().for_each(|line| moving.put(line, &mut self.lines, 0));
        }
        for (slot, count) in moving.left {
            let first = (keys.hash(key_in(&slot)) >> moving.shift) as usize;
            let is_put =
                put(&mut self.lines[first..], &slot, count) || put(&mut self.lines[..first], &slot, count);
            debug_assert!(is_put);
        }
    }
}

/// What is known while words are put into other lines.
struct Moving<const LEN: usize> {
    /// How many slots of each line are in use. Who asks the line for what was just written there has to wait.
    used: Vec<u8>,
    /// The words that are not in their first line.
    left: Vec<([u8; LEN], u32)>,
    keys: Keys,
    shift: u32,
}

impl<const LEN: usize> Moving<LEN> {
    /// Puts the words of `line` into their first lines among `lines`; those whose line is full, or before `from`, are left.
    #[inline(always)]
    fn put<const SLOTS: usize>(
        &mut self,
        line: &Line<LEN, SLOTS>,
        lines: &mut [Line<LEN, SLOTS>],
        from: usize,
    ) {
        for (slot, count) in line.slots.iter().zip(line.counts) {
            // Which slots are free cannot be foretold, so these go too, to any line: they have nothing and count nothing.
            let first = if count == 0 { from } else { (self.keys.hash(key_in(slot)) >> self.shift) as usize };
            let used = &mut self.used[first];
            if first >= from && usize::from(*used) < SLOTS {
                let line = &mut lines[first];
                (line.slots[usize::from(*used)], line.counts[usize::from(*used)]) = (*slot, count);
                *used += u8::from(count > 0);
            } else if count > 0 {
                self.left.push((*slot, count));
            }
        }
    }
}

/// The lines for that many slots.
pub(super) fn lines_for<const SLOTS: usize>(slots: usize) -> usize {
    slots.max(FEWEST).div_ceil(SLOTS).checked_next_power_of_two().unwrap_or(usize::MAX)
}

/// The words of some lines, and their counts.
pub(super) fn words<const LEN: usize, const SLOTS: usize>(
    lines: &[Line<LEN, SLOTS>],
) -> impl Iterator<Item = (&[u8; LEN], u32)> {
    lines.iter().flat_map(Line::used)
}

/// The word of a slot.
#[inline]
pub(super) fn word_in<const LEN: usize>(slot: &[u8; LEN]) -> &[u8] {
    let after = (key_in(slot) << (8 * (INLINE - LEN))).leading_ones() as usize / 8;
    &slot[..LEN - after]
}

/// Puts a word that is in none of these lines into the first that has room. Returns whether one has.
#[inline]
fn put<const LEN: usize, const SLOTS: usize>(
    lines: &mut [Line<LEN, SLOTS>],
    slot: &[u8; LEN],
    count: u32,
) -> bool {
    for line in lines {
        let free = line.num_used();
        if free < SLOTS {
            (line.slots[free], line.counts[free]) = (*slot, count);
            return true;
        }
    }
    false
}

/// Adds to a key that is looked for from line `first` on. There is a free slot. Returns how many lines beyond the first it took.
#[inline]
fn add<const LEN: usize, const SLOTS: usize>(
    lines: &mut [Line<LEN, SLOTS>],
    first: usize,
    key: Key,
    more: u32,
    used: &mut usize,
) -> u64 {
    let behind = lines.len() - first;
    match add_to(&mut lines[first..], key, more, used) {
        Some(looks) => looks as u64,
        None => add_to(&mut lines[..first], key, more, used).map_or(0, |looks| (behind + looks) as u64),
    }
}

/// Adds to a key that is looked for from the first of these lines on. Returns how many lines beyond that it took; `None` if it is
/// not there, and no room.
#[inline]
pub(super) fn add_to<const LEN: usize, const SLOTS: usize>(
    lines: &mut [Line<LEN, SLOTS>],
    key: Key,
    more: u32,
    used: &mut usize,
) -> Option<usize> {
    let wanted = slot_of(key);
    for (looks, line) in lines.iter_mut().enumerate() {
        // All of them without a branch between: which it is cannot be foretold.
        let is_it = |slot: usize| (line.counts[slot] == 0) | (line.slots[slot] == wanted);
        let these = (0..SLOTS).fold(0_u32, |these, slot| these | u32::from(is_it(slot)) << slot);
        let slot = these.trailing_zeros() as usize;
        if slot < SLOTS {
            // What a free slot has is never new.
            *used += usize::from(line.slots[slot] != wanted);
            line.slots[slot] = wanted;
            line.counts[slot] += more;
            return Some(looks);
        }
    }
    None
}
