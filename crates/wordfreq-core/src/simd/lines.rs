//! Cache lines of four words, and counting many words in them at once: the hot loops of `table`.
//!
//! In three steps, each over a whole batch and without a branch that depends on the words: their keys; the lines where they are
//! to be looked for, which are asked for; and adding to those that are there. Not here: whatever is not in its first line (`table`).

use memmap2::MmapMut;

use super::{Level, prefetch};

/// From how many bytes on lines are in large pages.
const LARGE: usize = 2 << 20;

/// The longest word of a line, in bytes.
pub(crate) const NARROW: usize = 16;

/// How many words a line has room for.
pub(crate) const SLOTS: usize = 4;

/// How many words are looked up together: enough to hide that memory is slow, and few enough for their lines to stay in the
/// first-level cache.
pub(crate) const BATCH: usize = 128;

/// A word of up to 16 bytes as a number, little-endian: its bytes, then bytes that no UTF-8 has, so that it tells the length.
pub(crate) type Key = u128;

/// The key of no word: where what is not narrow is counted, so that nobody need branch on it.
pub(crate) const SINK: Key = Key::MAX;

/// The bytes of a key, in order.
pub(crate) type Slot = [u8; NARROW];

/// Keys that are looked through at once. Their counts are apart: who writes to what is about to be read at once makes it wait.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [Slot; SLOTS]);

/// The counts of the keys of a line; 0 of a free slot, and never otherwise.
pub(crate) type LineCounts = [u32; SLOTS];

/// Lines and behind them their counts, in pages of 2 MB where they are many and the system has such: a table is read all over, and
/// each small page would be asked for and looked up by itself.
#[derive(Debug)]
pub(crate) struct Lines {
    memory: Memory,
    number: usize,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<Line>),
    Mapped(MmapMut),
}

impl Lines {
    /// That many, which are none or a power of two and at least four, without any word.
    pub(crate) fn free(number: usize) -> Self {
        let with_counts = number + number / 4;
        let bytes = with_counts * size_of::<Line>();
        if bytes >= LARGE
            && let Ok(map) = MmapMut::map_anon(bytes.next_multiple_of(LARGE))
        {
            // A hint: without it, everything works as before.
            #[cfg(target_os = "linux")]
            map.advise(memmap2::Advice::HugePage).ok();
            return Self { memory: Memory::Mapped(map), number };
        }
        Self { memory: Memory::Heap(vec![Line::default(); with_counts]), number }
    }

    pub(crate) fn len(&self) -> usize {
        self.number
    }

    #[inline]
    pub(crate) fn parts(&self) -> (&[Line], &[LineCounts]) {
        let all = match &self.memory {
            Memory::Heap(lines) => lines,
            // SAFETY: any 64 bytes are a line.
            Memory::Mapped(map) => unsafe { &map.align_to().1[..self.number + self.number / 4] },
        };
        let (lines, counts) = all.split_at(self.number);
        // SAFETY: any 16 bytes are the counts of a line.
        (lines, unsafe { counts.align_to().1 })
    }

    #[inline]
    pub(crate) fn parts_mut(&mut self) -> (&mut [Line], &mut [LineCounts]) {
        let all = match &mut self.memory {
            Memory::Heap(lines) => lines,
            // SAFETY: any 64 bytes are a line, and the other way round.
            Memory::Mapped(map) => unsafe { &mut map.align_to_mut().1[..self.number + self.number / 4] },
        };
        let (lines, counts) = all.split_at_mut(self.number);
        // SAFETY: any 16 bytes are the counts of a line, and four of these a line.
        (lines, unsafe { counts.align_to_mut().1 })
    }
}

impl Clone for Lines {
    fn clone(&self) -> Self {
        let mut copy = Self::free(self.number);
        let ((from, from_counts), (to, to_counts)) = (self.parts(), copy.parts_mut());
        to.copy_from_slice(from);
        to_counts.copy_from_slice(from_counts);
        copy
    }
}

/// What spreads keys over lines: random numbers.
///
/// Two 32-bit sums multiplied, twice, and added (NH, by Black and others, collides with a chance of 2^-32); then multiplied by an odd
/// number, of which the highest bits are taken (by Dietzfelbinger and others, 2 in the number of lines).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    add: [u32; 4],
    times: u64,
}

impl Spread {
    pub(crate) fn new(low: u64, high: u64, last: u64) -> Self {
        Self { add: [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32], times: last | 1 }
    }

    /// The hash of 16 bytes.
    #[inline(always)]
    pub(crate) fn hash(&self, bytes: u128) -> u64 {
        let part = |at: usize| u64::from(((bytes >> (32 * at)) as u32).wrapping_add(self.add[at]));
        let sum = (part(0) * part(1)).wrapping_add(part(2) * part(3));
        (sum ^ sum >> 32).wrapping_mul(self.times)
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
    firsts: [u32; BATCH],
    others: [u32; BATCH + 16],
    missed: [u32; BATCH],
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            keys: [SINK; BATCH],
            #[cfg(target_arch = "x86_64")]
            starts: [[0; 2]; BATCH],
            firsts: [0; BATCH],
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

    /// Finds the first line of each of the first `number` words among `lines`, and asks for it.
    pub(crate) fn find_lines(
        &mut self,
        level: Level,
        number: usize,
        lines: &[Line],
        counts: &[LineCounts],
        spread: &Spread,
    ) {
        match level {
            Level::Portable => {
                let shift = shift(lines);
                self.find_lines_by(number, lines, counts, |key| spread.hash(key) >> shift);
            }
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.find_lines_avx2(number, lines, counts, spread) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.find_lines_avx512(number, lines, counts, spread) },
        }
    }

    /// As [`find_lines`](Self::find_lines), by any function from keys to lines.
    #[inline(always)]
    pub(crate) fn find_lines_by(
        &mut self,
        number: usize,
        lines: &[Line],
        counts: &[LineCounts],
        line: impl Fn(Key) -> u64,
    ) {
        for (first, &key) in self.firsts.iter_mut().zip(&self.keys).take(number) {
            *first = line(key) as u32;
            prefetch(lines, *first as usize);
            prefetch(counts, *first as usize);
        }
    }

    /// Adds 1 to each of the first `number` words that is in its first line. Returns how many are not.
    pub(crate) fn count(
        &mut self,
        level: Level,
        number: usize,
        lines: &[Line],
        counts: &mut [LineCounts],
    ) -> usize {
        match level {
            Level::Portable => self.count_by(number, lines, counts, |key, line| {
                let same = |slot: usize| u32::from(line.0[slot] == key.to_le_bytes()) * (0b11 << (2 * slot));
                same(0) | same(1) | same(2) | same(3)
            }),
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.count_avx2(number, lines, counts) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.count_avx512(number, lines, counts) },
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
    unsafe fn find_lines_avx2(
        &mut self,
        number: usize,
        lines: &[Line],
        counts: &[LineCounts],
        spread: &Spread,
    ) {
        let shift = shift(lines);
        self.find_lines_by(number, lines, counts, |key| spread.hash(key) >> shift);
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi2,popcnt")]
    unsafe fn find_lines_avx512(
        &mut self,
        number: usize,
        lines: &[Line],
        counts: &[LineCounts],
        spread: &Spread,
    ) {
        use std::arch::x86_64::*;
        let [a, b, c, d] = spread.add.map(|add| add as i32);
        let add = _mm512_setr_epi32(a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d);
        let times = _mm512_set1_epi64(spread.times as i64);
        let shift = _mm_cvtsi32_si128(shift(lines) as i32);
        let (even, odd) = (
            _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14),
            _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15),
        );
        let (keys, _) = self.keys.as_chunks::<8>();
        let (firsts, _) = self.firsts.as_chunks_mut::<8>();
        for (keys, firsts) in keys.iter().zip(firsts).take(number.div_ceil(8)) {
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
            let hash = _mm512_mullo_epi64(_mm512_xor_si512(sum, _mm512_srli_epi64::<32>(sum)), times);
            let first = _mm512_cvtepi64_epi32(_mm512_srl_epi64(hash, shift));
            // SAFETY: an array of 32 bytes; no alignment needed.
            unsafe { _mm256_storeu_si256(firsts.as_mut_ptr().cast(), first) };
            for &first in &*firsts {
                prefetch(lines, first as usize);
                prefetch(counts, first as usize);
            }
        }
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    unsafe fn count_avx2(&mut self, number: usize, lines: &[Line], counts: &mut [LineCounts]) -> usize {
        use std::arch::x86_64::*;
        self.count_by(number, lines, counts, |key, line| {
            // SAFETY: 16 bytes, and twice 32; no alignment needed.
            unsafe {
                let key = _mm256_broadcastsi128_si256(_mm_loadu_si128(std::ptr::from_ref(key).cast()));
                let half = |slots: &[Slot]| {
                    let same = _mm256_cmpeq_epi64(key, _mm256_loadu_si256(slots.as_ptr().cast()));
                    _mm256_movemask_pd(_mm256_castsi256_pd(same)) as u32
                };
                half(&line.0[..2]) | half(&line.0[2..]) << 4
            }
        })
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi2,popcnt")]
    unsafe fn count_avx512(&mut self, number: usize, lines: &[Line], counts: &mut [LineCounts]) -> usize {
        use std::arch::x86_64::*;
        self.count_by(number, lines, counts, |key, line| {
            // SAFETY: 16 bytes, and 64; no alignment needed.
            let (key, line) = unsafe {
                let key = _mm_loadu_si128(std::ptr::from_ref(key).cast());
                (_mm512_broadcast_i32x4(key), _mm512_loadu_si512(std::ptr::from_ref(line).cast()))
            };
            u32::from(_mm512_cmpeq_epi64_mask(key, line))
        })
    }
}

impl Batch {
    /// Counts, by a function that says which of the eight halves of keys in a line are as those of a key.
    #[inline(always)]
    fn count_by(
        &mut self,
        number: usize,
        lines: &[Line],
        counts: &mut [LineCounts],
        same: impl Fn(&Key, &Line) -> u32,
    ) -> usize {
        let counts = &mut counts[..lines.len()];
        let mut num_missed = 0;
        for (at, (key, &first)) in self.keys.iter().zip(&self.firsts).enumerate().take(number) {
            let halves = same(key, &lines[first as usize]);
            let found = halves & halves >> 1 & 0b01_01_01_01;
            if found == 0 {
                self.missed[num_missed] = at as u32;
                num_missed += 1;
                continue;
            }
            let slot = found.trailing_zeros() as usize / 2;
            counts[first as usize][slot % SLOTS] += 1;
        }
        num_missed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: usize = 4096 + 64;

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
            spread in any::<[u64; 3]>(),
            log_lines in 2..8_u32,
        ) {
            let (text, places) = text_of(&words);
            let spread = Spread::new(spread[0], spread[1], spread[2]);
            let mut lines = Lines::free(1 << log_lines);
            for known in known {
                if words.is_empty() {
                    break;
                }
                let word = &words[known.index(words.len())];
                let mut bytes = [0; 16];
                bytes[..word.len().min(16)].copy_from_slice(&word[..word.len().min(16)]);
                let key = narrow_key(bytes, word.len());
                let (lines, counts) = lines.parts_mut();
                let first = (spread.hash(key) >> shift(lines)) as usize;
                if let Some(slot) = counts[first].iter().position(|count| *count == 0) {
                    lines[first].0[slot] = key.to_le_bytes();
                    counts[first][slot] = 7;
                }
            }
            let with = |level: Level| {
                let (mut batch, mut table) = (Batch::new(), lines.clone());
                let (lines, counts) = table.parts_mut();
                let others = batch.find_keys(level, &text, &places);
                batch.find_lines(level, places.len(), lines, counts, &spread);
                let missed = batch.count(level, places.len(), lines, counts);
                let found: Vec<_> = (0..places.len()).map(|at| batch.word(at)).collect();
                (found, batch.others(others).to_vec(), batch.missed(missed).to_vec(), counts.to_vec())
            };
            let expected = with(Level::Portable);
            for level in Level::available() {
                prop_assert_eq!(with(level), expected.clone());
            }
        }
    }
}
