//! Cache lines of four words, and counting many words in them at once: the hot loops of `table`.
//!
//! In three steps, each over a whole batch and with hardly a branch that depends on the words: their keys; the lines where they are
//! to be looked for; and adding to those that are there, with lines asked for long before they are used. Not here: whatever is not in its first line (`table`).

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use super::{Level, prefetch};

/// From how many bytes on lines are in large pages.
const LARGE: usize = 2 << 20;

/// The longest word of a line, in bytes.
pub(crate) const NARROW: usize = 12;

/// How many words a line has room for.
pub(crate) const SLOTS: usize = 4;

/// How many words are looked up together.
pub(crate) const BATCH: usize = 512;

/// How many words ahead lines are asked for: enough to hide that memory is slow, and few enough for them to stay in the first-level
/// cache.
const AHEAD: usize = 64;

/// A word of up to 12 bytes as a number, little-endian: its bytes, then bytes that no UTF-8 has, so that it tells the length.
pub(crate) type Key = u128;

/// The key of no word: where what is not narrow is counted, so that nobody need branch on it.
pub(crate) const SINK: Key = Key::MAX;

/// The first bytes of a key, in order; all others are the same in all keys.
pub(crate) type Slot = [u8; NARROW];

#[inline(always)]
pub(crate) fn slot_of(key: Key) -> Slot {
    let [slot @ .., _, _, _, _] = key.to_le_bytes();
    slot
}

#[inline(always)]
pub(crate) fn key_in(slot: &Slot) -> Key {
    let mut bytes = [0xFF; 16];
    bytes[..NARROW].copy_from_slice(slot);
    Key::from_le_bytes(bytes)
}

/// Words that are looked through at once, and their counts. These are apart, as who reads what another has just written a part of
/// has to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line {
    pub(crate) slots: [Slot; SLOTS],
    /// 0 of a free slot, and never otherwise.
    pub(crate) counts: [u32; SLOTS],
}

impl Line {
    /// What is in use, with the sink.
    pub(crate) fn used(&self) -> impl Iterator<Item = (&Slot, u32)> {
        self.slots.iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }
}

/// Lines in pages of 2 MB, where they are many and the system has such: a table is read all over, and each small page would be
/// asked for and looked up by itself.
#[derive(Debug)]
pub(crate) enum Lines {
    Heap(Vec<Line>),
    Mapped(MmapMut),
}

impl Lines {
    /// That many, a power of two or none, without any word.
    pub(crate) fn free(number: usize) -> Self {
        let bytes = number * size_of::<Line>();
        if bytes >= LARGE
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            // A hint: without it, everything works as before.
            #[cfg(target_os = "linux")]
            map.advise(memmap2::Advice::HugePage).ok();
            return Self::Mapped(map);
        }
        Self::Heap(vec![Line::default(); number])
    }

    /// Makes them that many more lines, which are free, if that takes no copy of those there are; else they stay as they are. Returns
    /// whether it does.
    #[cfg(target_os = "linux")]
    pub(crate) fn extend(&mut self, more: usize) -> bool {
        let Self::Mapped(map) = self else { return false };
        let options = memmap2::RemapOptions::new().may_move(true);
        // SAFETY: what is mapped is memory of this process alone, and none of it is borrowed while the map is borrowed to be changed;
        // what is new is zeros, which are lines; how many there are then, the map says.
        unsafe { map.remap(map.len() + more * size_of::<Line>(), options) }.is_ok()
    }

    /// Elsewhere there is no such call.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn extend(&mut self, _: usize) -> bool {
        false
    }
}

impl Deref for Lines {
    type Target = [Line];

    #[inline]
    fn deref(&self) -> &[Line] {
        match self {
            Self::Heap(lines) => lines,
            // SAFETY: a line is 64 bytes without others between them, and any 64 bytes are one.
            Self::Mapped(map) => unsafe { map.align_to().1 },
        }
    }
}

impl DerefMut for Lines {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Line] {
        match self {
            Self::Heap(lines) => lines,
            // SAFETY: as above.
            Self::Mapped(map) => unsafe { map.align_to_mut().1 },
        }
    }
}

impl Clone for Lines {
    fn clone(&self) -> Self {
        let mut lines = Self::free(self.len());
        lines.copy_from_slice(self);
        lines
    }
}

/// What spreads keys over lines: random numbers.
///
/// Two 32-bit sums multiplied, twice, and added (NH, by Black and others, collides with a chance of 2^-32); then, twice, mixed with
/// its upper half and multiplied by an odd number. The highest bits of the last product are taken (by Dietzfelbinger and others, two
/// collide with a chance of two in the number of lines); the one before makes that regular words spread as others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    add: [u32; 4],
    times: [u64; 2],
}

impl Spread {
    pub(crate) fn new(add: [u64; 2], times: [u64; 2]) -> Self {
        let [low, high] = add;
        Self {
            add: [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32],
            times: times.map(|times| times | 1),
        }
    }

    /// The hash of 16 bytes.
    #[inline(always)]
    pub(crate) fn hash(&self, bytes: u128) -> u64 {
        let part = |at: usize| u64::from(((bytes >> (32 * at)) as u32).wrapping_add(self.add[at]));
        let sum = (part(0) * part(1)).wrapping_add(part(2) * part(3));
        self.times.iter().fold(sum, |hash, times| (hash ^ hash >> 32).wrapping_mul(*times))
    }
}

/// What a hash is shifted by to give the line, of which there are a power of two and more than one.
#[inline(always)]
pub(crate) fn shift<T>(lines: &[T]) -> u32 {
    64 - lines.len().max(2).trailing_zeros()
}

/// Room for what is found out about words that are looked up together.
#[derive(Debug)]
pub(crate) struct Batch {
    keys: [Key; BATCH],
    /// Where the words start, and what to put over the 16 bytes from there on, as a place in [`PADDING`].
    #[cfg(target_arch = "x86_64")]
    starts: [[u16; 2]; BATCH],
    firsts: [u32; BATCH + AHEAD],
    others: [u32; BATCH + 16],
    missed: [u32; BATCH],
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            keys: [SINK; BATCH],
            #[cfg(target_arch = "x86_64")]
            starts: [[0; 2]; BATCH],
            firsts: [0; BATCH + AHEAD],
            others: [0; BATCH + 16],
            missed: [0; BATCH],
        }
    }

    /// The key of a word, and its first line.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> (Key, usize) {
        (self.keys[at], self.firsts[at] as usize)
    }

    /// The words of the batch that are not narrow, of which there are this many.
    pub(crate) fn others(&self, number: usize) -> &[u32] {
        &self.others[..number]
    }

    /// The words of the batch that were not found, of which there are this many.
    pub(crate) fn missed(&self, number: usize) -> &[u32] {
        &self.missed[..number]
    }

    /// Finds the keys of `words`, a batch at most, that start and end there in `text`; of those that are not narrow, the sink.
    /// Returns how many these are.
    pub(crate) fn find_keys<const N: usize>(
        &mut self,
        level: Level,
        text: &[u8; N],
        words: &[[u16; 2]],
    ) -> usize {
        assert!(words.len() <= BATCH);
        match level {
            Level::Portable => self.find_keys_scalar(text, words),
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.find_keys_avx2(text, words) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.find_keys_avx512(text, words) },
        }
    }

    /// Finds the first line of each of the first `number` words among `lines`.
    pub(crate) fn find_lines(&mut self, level: Level, number: usize, lines: &[Line], spread: &Spread) {
        match level {
            Level::Portable => {
                let shift = shift(lines);
                self.find_lines_by(number, lines, |key| spread.hash(key) >> shift);
            }
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.find_lines_avx2(number, lines, spread) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.find_lines_avx512(number, lines, spread) },
        }
    }

    /// As [`find_lines`](Self::find_lines), by any function from keys to lines.
    #[inline(always)]
    pub(crate) fn find_lines_by(&mut self, number: usize, lines: &[Line], line: impl Fn(Key) -> u64) {
        for (first, &key) in self.firsts.iter_mut().zip(&self.keys).take(number) {
            *first = line(key) as u32;
        }
        self.prefetch_near(lines);
    }

    /// Asks for the lines that are used before others can be asked for.
    #[inline(always)]
    fn prefetch_near(&self, lines: &[Line]) {
        for &first in &self.firsts[..AHEAD] {
            prefetch(lines, first as usize);
        }
    }

    /// Adds 1 to each of the first `number` words that is in its first line. Returns how many are not. What is asked for behind the last
    /// are lines of other batches, which does no harm.
    pub(crate) fn count(&mut self, level: Level, number: usize, lines: &mut [Line]) -> usize {
        match level {
            Level::Portable => self.count_by(number, lines, |key, line| {
                let mut same = 0;
                for (slot, bytes) in line.slots.iter().enumerate() {
                    same |= u32::from(*bytes == slot_of(*key)) << (4 * slot + 3);
                }
                same
            }),
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.count_avx2(number, lines) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.count_avx512(number, lines) },
        }
    }

    fn find_keys_scalar<const N: usize>(&mut self, text: &[u8; N], words: &[[u16; 2]]) -> usize {
        let mut num_others = 0;
        for (at, (&[start, end], to)) in words.iter().zip(&mut self.keys).enumerate() {
            let len = end.wrapping_sub(start);
            let Some(bytes) = text[place::<N>(start)..].first_chunk() else { continue };
            *to = narrow_key(*bytes, usize::from(len));
            self.others[num_others] = at as u32;
            num_others += usize::from(usize::from(len) > NARROW);
        }
        num_others
    }
}

/// A place of a text where 16 bytes follow, which is `start` if that is one. A remainder by a power of two, to spare a branch.
#[inline(always)]
fn place<const N: usize>(start: u16) -> usize {
    usize::from(start) % (1 << (N - 16).ilog2())
}

/// The key of a word by its length and the 16 bytes it begins with; of one that is not narrow, the sink.
#[inline(always)]
pub(crate) fn narrow_key(bytes: [u8; 16], len: usize) -> Key {
    u128::from_le_bytes(bytes) | if len <= NARROW { u128::MAX << (8 * len) } else { SINK }
}

/// What to put over 16 bytes to have a key: from 12 - n on, for a word of n; for one that is not narrow, as for an
/// empty one.
#[cfg(target_arch = "x86_64")]
#[repr(align(32))]
struct Padding([u8; NARROW + 16]);

#[cfg(target_arch = "x86_64")]
static PADDING: Padding = {
    let mut padding = [0xFF; NARROW + 16];
    let mut at = 0;
    while at < NARROW {
        padding[at] = 0;
        at += 1;
    }
    Padding(padding)
};

#[cfg(target_arch = "x86_64")]
impl Batch {
    /// The keys, when it is known where the words start and what to put over them.
    #[inline(always)]
    fn cut_keys<const N: usize>(&mut self, text: &[u8; N], number: usize) {
        use std::arch::x86_64::*;
        for (&[start, padding], to) in self.starts.iter().zip(&mut self.keys).take(number) {
            let bytes = &text[place::<N>(start)..][..16];
            // SAFETY: `bytes` is a slice of 16; `padding` is at most 12, and 16 bytes are behind that; a key has 16. SSE2 is part
            // of x86-64; the loads and the store need no alignment.
            unsafe {
                let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
                let padding = _mm_loadu_si128(PADDING.0.as_ptr().add(usize::from(padding)).cast());
                _mm_storeu_si128(std::ptr::from_mut(to).cast(), _mm_or_si128(bytes, padding));
            }
        }
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    unsafe fn find_keys_avx2<const N: usize>(&mut self, text: &[u8; N], words: &[[u16; 2]]) -> usize {
        let mut num_others = 0;
        for (at, (&[start, end], to)) in words.iter().zip(&mut self.starts).enumerate() {
            let len = end.wrapping_sub(start);
            let is_other = usize::from(len) > NARROW;
            *to = [start, NARROW as u16 - if is_other { 0 } else { len }];
            self.others[num_others] = at as u32;
            num_others += usize::from(is_other);
        }
        self.cut_keys(text, words.len());
        num_others
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi2,popcnt")]
    unsafe fn find_keys_avx512<const N: usize>(&mut self, text: &[u8; N], words: &[[u16; 2]]) -> usize {
        use std::arch::x86_64::*;
        let numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        // A number in the half of each element where the end of a word is, or what is made of it.
        let above = |number: usize| _mm512_set1_epi32((number as i32) << 16);
        let mut num_others = 0;
        for (at, (words, to)) in words.chunks(16).zip(self.starts.chunks_exact_mut(16)).enumerate() {
            let there = u16::MAX >> (16 - words.len());
            // SAFETY: the load touches only the elements that `there` names, `words.len()` of them, 1 to 16; no alignment needed.
            let ends = unsafe { _mm512_maskz_loadu_epi32(there, words.as_ptr().cast()) };
            let starts = _mm512_slli_epi32::<16>(ends);
            // Where a word starts is below, and above what to leave of twelve bytes.
            let left = _mm512_sub_epi16(starts, _mm512_sub_epi16(ends, above(NARROW)));
            let left = _mm512_mask_blend_epi16(0xAAAA_AAAA, ends, left);
            let is_other = _mm512_cmpgt_epu16_mask(left, above(NARROW)) & 0xAAAA_AAAA;
            let left = _mm512_mask_mov_epi16(left, is_other, above(NARROW));
            let is_other = _pext_u32(is_other, 0xAAAA_AAAA) as u16;
            let which = _mm512_add_epi32(numbers, _mm512_set1_epi32(16 * at as i32));
            let Some(others) = self.others[num_others..].first_chunk_mut::<16>() else { break };
            // SAFETY: arrays of 16 elements of 32 bits; no alignment needed.
            unsafe {
                _mm512_storeu_si512(to.as_mut_ptr().cast(), left);
                let which = _mm512_maskz_compress_epi32(is_other, which);
                _mm512_storeu_si512(others.as_mut_ptr().cast(), which);
            }
            num_others += is_other.count_ones() as usize;
        }
        self.cut_keys(text, words.len());
        num_others
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    unsafe fn find_lines_avx2(&mut self, number: usize, lines: &[Line], spread: &Spread) {
        let shift = shift(lines);
        self.find_lines_by(number, lines, |key| spread.hash(key) >> shift);
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi2,popcnt")]
    unsafe fn find_lines_avx512(&mut self, number: usize, lines: &[Line], spread: &Spread) {
        use std::arch::x86_64::*;
        let [a, b, c, d] = spread.add.map(|add| add as i32);
        let add = _mm512_setr_epi32(a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d);
        let times = spread.times.map(|times| _mm512_set1_epi64(times as i64));
        let shift = _mm_cvtsi32_si128(shift(lines) as i32);
        let (even, odd) =
            (_mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15));
        for (at, keys) in self.keys.as_chunks::<8>().0.iter().enumerate().take(number.div_ceil(8)) {
            // SAFETY: an array of twice 64 bytes; no alignment needed.
            let halves = unsafe {
                [_mm512_loadu_si512(keys.as_ptr().cast()), _mm512_loadu_si512(keys[4..].as_ptr().cast())]
            };
            let [one, two] = halves.map(|keys| {
                let sums = _mm512_add_epi32(keys, add);
                _mm512_mul_epu32(sums, _mm512_srli_epi64::<32>(sums))
            });
            let sum = _mm512_add_epi64(
                _mm512_permutex2var_epi64(one, even, two),
                _mm512_permutex2var_epi64(one, odd, two),
            );
            let hash = times.iter().fold(sum, |hash, times| {
                _mm512_mullo_epi64(_mm512_xor_si512(hash, _mm512_srli_epi64::<32>(hash)), *times)
            });
            let first = _mm512_cvtepi64_epi32(_mm512_srl_epi64(hash, shift));
            // SAFETY: an array of 32 bytes; no alignment needed.
            unsafe { _mm256_storeu_si256(self.firsts.as_chunks_mut::<8>().0[at].as_mut_ptr().cast(), first) };
            if at == AHEAD / 8 {
                self.prefetch_near(lines);
            }
        }
        if number <= AHEAD {
            self.prefetch_near(lines);
        }
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    unsafe fn count_avx2(&mut self, number: usize, lines: &mut [Line]) -> usize {
        use std::arch::x86_64::*;
        let turns = _mm256_setr_epi32(0, 1, 2, 0, 1, 2, 0, 1);
        self.count_by(number, lines, |key, line| {
            // SAFETY: 16 bytes, 32, and 16 behind those, of the 48 of the slots; no alignment needed.
            let (key, low, high) = unsafe {
                let slots: *const u8 = line.slots.as_ptr().cast();
                (
                    _mm_loadu_si128(std::ptr::from_ref(key).cast()),
                    _mm256_loadu_si256(slots.cast()),
                    _mm_loadu_si128(slots.add(32).cast()),
                )
            };
            let keys = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(key), turns);
            let low = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(keys, low))) as u32;
            let keys = _mm_shuffle_epi32::<0b10_01_00_10>(key);
            let high = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(keys, high))) as u32;
            let same = high << 8 | low;
            let all = same & same >> 1 & same >> 2;
            all << 3 & 1 << 3 | all << 4 & 1 << 7 | all << 5 & 1 << 11 | all << 6 & 1 << 15
        })
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi2,popcnt")]
    unsafe fn count_avx512(&mut self, number: usize, lines: &mut [Line]) -> usize {
        use std::arch::x86_64::*;
        // What is behind the slots does not matter: of the sixteen, the bits of twelve are taken.
        let turns = _mm512_setr_epi32(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 3, 3, 3);
        self.count_by(number, lines, |key, line| {
            // SAFETY: 16 bytes, 32, and 16 behind those, of the 48 of the slots; no alignment needed.
            let (key, low, high) = unsafe {
                let slots: *const u8 = line.slots.as_ptr().cast();
                (
                    _mm_loadu_si128(std::ptr::from_ref(key).cast()),
                    _mm256_loadu_si256(slots.cast()),
                    _mm_loadu_si128(slots.add(32).cast()),
                )
            };
            let keys = _mm512_permutexvar_epi32(turns, _mm512_castsi128_si512(key));
            let slots = _mm512_inserti32x4::<2>(_mm512_zextsi256_si512(low), high);
            let same = _mm512_cmpeq_epi32_mask(keys, slots);
            // Three bits for each slot, and a fourth into which adding carries if all of them are set.
            (_pdep_u32(same.into(), 0x7777) + 0x1111) & 0x8888
        })
    }
}

impl Batch {
    /// Counts, by a function that says which slots of a line are of a key: by the last of four bits for each.
    #[inline(always)]
    fn count_by(&mut self, number: usize, lines: &mut [Line], found: impl Fn(&Key, &Line) -> u32) -> usize {
        let mut num_missed = 0;
        let (keys, firsts) = (&self.keys[..number], &self.firsts[..number]);
        let ahead = &self.firsts[AHEAD..][..number];
        for at in 0..number {
            prefetch(lines, ahead[at] as usize);
            let line = &mut lines[firsts[at] as usize];
            let found = found(&keys[at], line);
            if found == 0 {
                // It is looked for in the next one too, more often than not.
                prefetch(lines, firsts[at] as usize + 1);
                self.missed[num_missed] = at as u32;
                num_missed += 1;
                continue;
            }
            line.counts[found.trailing_zeros() as usize / SLOTS % SLOTS] += 1;
        }
        num_missed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: usize = (1 << 14) + 64;

    /// Words of every length, one after the other, with a byte between them.
    fn text_of(words: &[Vec<u8>]) -> ([u8; TEXT], Vec<[u16; 2]>) {
        let (mut text, mut places, mut at) = ([b' '; TEXT], Vec::new(), 0);
        for word in words {
            text[at..at + word.len()].copy_from_slice(word);
            places.push([at as u16, (at + word.len()) as u16]);
            at += word.len() + 1;
        }
        (text, places)
    }

    proptest! {
        /// Keys, lines and counts: what is found, what is missed, and what the lines hold afterwards, by each level as by the scalar twin.
        #[test]
        fn all_levels_count_as_the_scalar_twin(
            words in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'a'), Just(0), any::<u8>()], 1..24), 0..=BATCH),
            known in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
            spread in any::<[[u64; 2]; 2]>(),
            log_lines in 2..8_u32,
        ) {
            let (text, places) = text_of(&words);
            let spread = Spread::new(spread[0], spread[1]);
            let mut lines = Lines::free(1 << log_lines);
            for known in known {
                if words.is_empty() {
                    break;
                }
                let word = &words[known.index(words.len())];
                let mut bytes = [0; 16];
                bytes[..word.len().min(16)].copy_from_slice(&word[..word.len().min(16)]);
                let key = narrow_key(bytes, word.len());
                let first = (spread.hash(key) >> shift(&lines)) as usize;
                let line = &mut lines[first];
                if let Some(slot) = line.counts.iter().position(|count| *count == 0) {
                    (line.slots[slot], line.counts[slot]) = (slot_of(key), 7);
                }
            }
            let with = |level: Level| {
                let (mut batch, mut lines) = (Batch::new(), lines.clone());
                let others = batch.find_keys(level, &text, &places);
                batch.find_lines(level, places.len(), &lines, &spread);
                let missed = batch.count(level, places.len(), &mut lines);
                let found: Vec<_> = (0..places.len()).map(|at| batch.word(at)).collect();
                (found, batch.others(others).to_vec(), batch.missed(missed).to_vec(), lines.to_vec())
            };
            let expected = with(Level::Portable);
            for level in Level::available() {
                prop_assert_eq!(with(level), expected.clone());
            }
        }
    }
}
