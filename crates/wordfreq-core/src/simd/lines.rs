//! Cache lines of words, and counting many words in them at once: the hot loops of `table`.
//!
//! A word of up to 8 bytes is *short*, and five are a line with their counts; one of up to 12 is *medium*, and four are. In three
//! steps, each over a whole batch and with hardly a branch that depends on the words: their keys, those of short words and of medium ones
//! apart; the lines where they are to be looked for; and adding to those that are there, or putting them there, with lines asked for
//! long before they are used. The shortest words, a fifth of English, can do without: they are *tiny*, if that is asked for, and counted
//! by what they are. Not here: whatever has no room in its first line, and longer words (`table`).

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use super::{Level, prefetch};

/// From how many bytes on lines are in large pages.
pub(crate) const LARGE: usize = 2 << 20;

/// The longest tiny word, in bytes.
const TINY: usize = 2;

/// How many tiny words there can be: of one character of ASCII, of two, and of one of two bytes.
const MOST_TINY: usize = (1 << 7) + (1 << 14) + (1 << 11) - (1 << 7);

/// How many tiny words a batch may count before it has to settle, for no count to overflow.
const UNSETTLED: u64 = if cfg!(test) { 1 << 10 } else { 1 << 31 };

/// The longest short word, in bytes.
pub(crate) const SHORT: usize = 8;

/// The longest medium word, in bytes.
pub(crate) const MEDIUM: usize = 12;

/// How many words are looked up together.
pub(crate) const BATCH: usize = 1024;

/// How many words ahead lines are asked for: enough to hide that memory is slow, and few enough for them to stay in the first-level
/// cache.
const AHEAD: usize = 64;

/// A short or medium word as a number, little-endian: its bytes, then bytes that no UTF-8 has up to the 8th or the 16th, so that it
/// tells the length; after the 8th of a short one, zeros.
pub(crate) type Key = u128;

/// The bytes of a key that its slot has, in order; all others are the same in all such keys.
#[inline(always)]
pub(crate) fn slot_of<const LEN: usize>(key: Key) -> [u8; LEN] {
    key.to_le_bytes().first_chunk().copied().unwrap_or([0; LEN])
}

#[inline(always)]
pub(crate) fn key_in<const LEN: usize>(slot: &[u8; LEN]) -> Key {
    let mut bytes = [if LEN == SHORT { 0 } else { 0xFF }; 16];
    bytes[..LEN].copy_from_slice(slot);
    Key::from_le_bytes(bytes)
}

/// Words that are looked through at once, and their counts. These are apart, as who reads what another has just written a part of
/// has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line<const LEN: usize, const SLOTS: usize> {
    pub(crate) slots: [[u8; LEN]; SLOTS],
    /// 0 of a free slot, and never otherwise.
    pub(crate) counts: [u32; SLOTS],
}

pub(crate) type ShortLine = Line<SHORT, 5>;
pub(crate) type MediumLine = Line<MEDIUM, 4>;

/// The size of a line, in bytes.
const LINE: u64 = 64;

const _: () = assert!(size_of::<ShortLine>() as u64 == LINE && size_of::<MediumLine>() as u64 == LINE);

impl<const LEN: usize, const SLOTS: usize> Line<LEN, SLOTS> {
    pub(crate) const FREE: Self = Self { slots: [[0; LEN]; SLOTS], counts: [0; SLOTS] };

    /// Puts a word there that is in no line yet, once, if there is room. Returns whether there is.
    #[cold]
    #[inline(never)]
    fn put<K: Copy + Into<Key>>(&mut self, key: &K) -> bool {
        let free = self.num_used();
        if free < SLOTS {
            (self.slots[free], self.counts[free]) = (slot_of((*key).into()), 1);
        }
        free < SLOTS
    }

    /// How many slots are in use: the first.
    #[inline]
    pub(crate) fn num_used(&self) -> usize {
        self.counts.iter().map(|&count| usize::from(count > 0)).sum()
    }

    /// What is in use.
    #[inline]
    pub(crate) fn used(&self) -> impl Iterator<Item = (&[u8; LEN], u32)> {
        self.slots.iter().zip(self.counts).take(self.num_used())
    }
}

/// Lines in pages of 2 MB, where they are many and the system has such: a table is read all over, and each small page would be
/// asked for and looked up by itself.
#[derive(Debug)]
pub(crate) enum Lines<const LEN: usize, const SLOTS: usize> {
    Heap(Vec<Line<LEN, SLOTS>>),
    Mapped(MmapMut),
}

impl<const LEN: usize, const SLOTS: usize> Lines<LEN, SLOTS> {
    /// That many, a power of two or none, without any word.
    pub(crate) fn free(number: usize) -> Self {
        let bytes = number * size_of::<Line<LEN, SLOTS>>();
        if bytes >= LARGE
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            // A hint: without it, everything works as before.
            #[cfg(target_os = "linux")]
            map.advise(memmap2::Advice::HugePage).ok();
            return Self::Mapped(map);
        }
        Self::Heap(vec![Line::FREE; number])
    }

    /// Makes them twice as many, the second half of which are free, if that takes no copy of those there are; else they stay as they are.
    /// Returns whether it does.
    #[cfg(target_os = "linux")]
    pub(crate) fn double(&mut self) -> bool {
        let Self::Mapped(map) = self else { return false };
        let options = memmap2::RemapOptions::new().may_move(true);
        // SAFETY: what is mapped, by `free` and by nobody else, is memory of this process alone, and none of it is borrowed while the map
        // is borrowed to be changed; what is new is zeros, which are lines; how many there are then, the map says.
        unsafe { map.remap(2 * map.len(), options) }.is_ok()
    }

    /// Elsewhere there is no such call.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn double(&mut self) -> bool {
        false
    }
}

impl<const LEN: usize, const SLOTS: usize> Deref for Lines<LEN, SLOTS> {
    type Target = [Line<LEN, SLOTS>];

    #[inline]
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Heap(lines) => lines,
            // SAFETY: a line is 64 bytes without others between them that matter, and any 64 bytes are one.
            Self::Mapped(map) => unsafe { map.align_to().1 },
        }
    }
}

impl<const LEN: usize, const SLOTS: usize> DerefMut for Lines<LEN, SLOTS> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Heap(lines) => lines,
            // SAFETY: as above.
            Self::Mapped(map) => unsafe { map.align_to_mut().1 },
        }
    }
}

impl<const LEN: usize, const SLOTS: usize> Clone for Lines<LEN, SLOTS> {
    fn clone(&self) -> Self {
        let mut lines = Self::free(self.len());
        lines.copy_from_slice(self);
        lines
    }
}

/// What spreads keys over lines: random numbers.
///
/// Two 32-bit sums multiplied, twice, and added (NH, by Black and others, whose 64 bits collide with a chance of 2^-32); its halves
/// mixed, which is as good by measurement only; and that multiplied by an odd number of 32 bits, of which the highest bits are taken (by
/// Dietzfelbinger and others, two collide with a chance of two in the number of lines).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    add: [u32; 4],
    times: u32,
}

impl Spread {
    pub(crate) fn new(add: [u64; 2], times: u64) -> Self {
        let [low, high] = add;
        let add = [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32];
        Self { add, times: times as u32 | 1 }
    }

    /// The hash of 16 bytes: 32 bits, and zeros below.
    #[inline(always)]
    pub(crate) fn hash(&self, bytes: u128) -> u64 {
        let part = |at: usize| u64::from(((bytes >> (32 * at)) as u32).wrapping_add(self.add[at]));
        let sum = (part(0) * part(1)).wrapping_add(part(2) * part(3));
        let mixed = (sum ^ sum >> 32) as u32;
        u64::from(mixed.wrapping_mul(self.times)) << 32
    }
}

/// What a hash is shifted by to give the line, of which there are a power of two and more than one.
#[inline(always)]
pub(crate) fn shift<T>(lines: &[T]) -> u32 {
    shift_for(lines.len())
}

/// The same, by their number.
#[inline(always)]
pub(crate) fn shift_for(lines: usize) -> u32 {
    64 - lines.max(2).trailing_zeros()
}

/// Room for what is found out about words that are looked up together.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Batch {
    /// A short key without the zeros after its 8th byte.
    pub(crate) short: Group<u64>,
    pub(crate) medium: Group<Key>,
    /// Which words are none of these, and room for what is written past the last.
    long: [u32; BATCH + 16],
    num_long: usize,
    tiny: Tiny,
}

/// Words that are counted here and in no line: where they start and what to put over the two bytes there to have their keys; and how
/// often each has been, by its key.
#[derive(Debug)]
struct Tiny {
    #[cfg(target_arch = "x86_64")]
    places: [[u16; 2]; BATCH + 16],
    #[cfg(target_arch = "x86_64")]
    number: usize,
    counts: Option<Box<[u32; 1 << 16]>>,
    /// The sum of those.
    counted: u64,
}

/// The words of one kind of a batch. It begins a page, and with what is written many at a time and for few of them: what goes over the
/// end of a page takes several times as long, and where the system puts things is not for us to say.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct Group<K> {
    /// Where the words start, and their lengths.
    #[cfg(target_arch = "x86_64")]
    places: [[u16; 2]; BATCH + 16],
    number: usize,
    keys: [K; BATCH],
    /// Where their first lines begin, in bytes: multiples of `LINE`.
    firsts: [u64; BATCH + AHEAD],
    left: [u32; BATCH],
}

impl Batch {
    /// Where it stays, as it is large: made in one place and moved to another, it would take longer than a small document.
    pub(crate) fn new() -> Box<Self> {
        // SAFETY: all of it is numbers, for which zeros will do, but for an `Option<Box>`, which they make `None`.
        unsafe { Box::new_zeroed().assume_init() }
    }

    /// Whether it pays to count words of one or two bytes here: with AVX-512, as without it to sort out one more kind costs more than
    /// it spares.
    pub(crate) fn counts_tiny_at(level: Level) -> bool {
        #[cfg(target_arch = "x86_64")]
        return level == Level::Avx512;
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// From now on counts such words here, if that pays. It takes 256 KB and, at the end, to look through them.
    pub(crate) fn count_tiny(&mut self, level: Level) {
        if Self::counts_tiny_at(level) && self.tiny.counts.is_none() {
            self.tiny.counts = vec![0; 1 << 16].into_boxed_slice().try_into().ok();
        }
    }

    /// Whether so many were counted here that they have to be taken before the next batch.
    pub(crate) fn has_to_settle(&self) -> bool {
        self.tiny.counted >= UNSETTLED
    }

    /// How many different words there may be that are counted here.
    pub(crate) fn most_unsettled(&self) -> usize {
        if self.tiny.counts.is_some() { MOST_TINY } else { 0 }
    }

    /// The keys of those that were counted here since this was called last, and how often each was.
    pub(crate) fn take_tiny(&mut self) -> Vec<(Key, u32)> {
        let Some(counts) = &mut self.tiny.counts else { return Vec::new() };
        self.tiny.counted = 0;
        let counted = counts.iter_mut().enumerate().filter(|(_, count)| **count > 0);
        let key = |bytes| short_key(bytes as u64, TINY).into();
        counted.map(|(bytes, count)| (key(bytes), std::mem::take(count))).collect()
    }

    /// Which words of the batch are neither short nor medium.
    pub(crate) fn long(&self) -> &[u32] {
        &self.long[..self.num_long]
    }

    /// Finds the keys of `words`, a batch at most, that start and end there in `text`. Tiny ones, if they are counted here, are.
    pub(crate) fn find_keys<const N: usize>(&mut self, level: Level, text: &[u8; N], words: &[[u16; 2]]) {
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

    #[inline(always)]
    fn find_keys_scalar<const N: usize>(&mut self, text: &[u8; N], words: &[[u16; 2]]) {
        let (mut short, mut medium, mut long) = (0, 0, 0);
        for (at, &[start, end]) in words.iter().enumerate() {
            let len = usize::from(end.wrapping_sub(start));
            let Some(bytes) = text[place::<N>(start)..].first_chunk() else { continue };
            let bytes = u128::from_le_bytes(*bytes);
            // Written for each, and kept of one: which it is cannot be foretold.
            self.short.keys[short] = short_key(bytes as u64, len);
            self.medium.keys[medium] = medium_key(bytes, len);
            self.long[long] = at as u32;
            short += usize::from(len <= SHORT);
            medium += usize::from(len > SHORT && len <= MEDIUM);
            long += usize::from(len > MEDIUM);
        }
        (self.short.number, self.medium.number, self.num_long) = (short, medium, long);
    }
}

#[cfg(target_arch = "x86_64")]
impl Tiny {
    /// Adds 1 to each of those whose places are known.
    #[inline(always)]
    fn count<const N: usize>(&mut self, text: &[u8; N]) {
        let Some(counts) = &mut self.counts else { return };
        for &[start, after] in &self.places[..self.number] {
            let Some(bytes) = text[place::<N>(start)..].first_chunk() else { continue };
            counts[usize::from(u16::from_le_bytes(*bytes) | after)] += 1;
        }
        self.counted += self.number as u64;
    }
}

impl<K: Copy + Into<Key>> Group<K> {
    pub(crate) fn len(&self) -> usize {
        self.number
    }

    /// The words that are left, of which there are this many: their keys, and their first lines.
    pub(crate) fn left(&self, number: usize) -> impl Iterator<Item = (Key, usize)> {
        let left = self.left[..number].iter();
        left.map(|&at| (self.keys[at as usize].into(), (self.firsts[at as usize] / LINE) as usize))
    }

    /// Finds the first line of each word among `lines`, by any function from keys to hashes.
    #[inline(always)]
    pub(crate) fn find_lines_by<T>(&mut self, lines: &[T], hash: impl Fn(Key) -> u64) {
        let shift = shift(lines);
        for (first, &key) in self.firsts.iter_mut().zip(&self.keys[..self.number]) {
            *first = (hash(key.into()) >> shift) * LINE;
        }
        self.prefetch_near(lines);
    }

    /// # Safety
    /// The processor has the features.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    unsafe fn find_lines_avx2<T>(&mut self, lines: &[T], spread: &Spread) {
        self.find_lines_by(lines, |key| spread.hash(key));
    }

    /// Asks for the lines that are used before others can be asked for.
    #[inline(always)]
    fn prefetch_near<T>(&self, lines: &[T]) {
        for &first in &self.firsts[..self.number.min(AHEAD)] {
            prefetch(lines, first);
        }
    }

    /// Adds 1 to each word that is in its first line or, if that is not full, is put there; by a function that says in which slots of a
    /// line a key is, a bit for each. `used` counts those that are new. Returns how many words are left, whose lines are full. What is
    /// asked for behind the last are lines of other batches, which does no harm.
    #[inline(always)]
    fn count_by<const LEN: usize, const SLOTS: usize>(
        &mut self,
        lines: &mut [Line<LEN, SLOTS>],
        used: &mut usize,
        found: impl Fn(&K, &Line<LEN, SLOTS>) -> u64,
    ) -> usize {
        let (mut num_left, mut new) = (0, 0);
        let size = size_of_val(lines) as u64;
        let (keys, firsts) = (&self.keys[..self.number], &self.firsts[..self.number]);
        let ahead = &self.firsts[AHEAD..][..self.number];
        for at in 0..self.number {
            prefetch(lines, ahead[at]);
            assert!(firsts[at] < size);
            // SAFETY: a multiple of the size of a line, which all that is ever written to `firsts` is, and within the lines.
            let line = unsafe { &mut *lines.as_mut_ptr().byte_add(firsts[at] as usize) };
            // Beyond the last, if there is none.
            let slot = found(&keys[at], line).trailing_zeros() as usize;
            if let Some(count) = line.counts.get_mut(slot) {
                *count += 1;
            } else if line.put(&keys[at]) {
                new += 1;
            } else {
                prefetch(lines, firsts[at] + LINE);
                self.left[num_left] = at as u32;
                num_left += 1;
            }
        }
        *used += new;
        num_left
    }

    #[inline(always)]
    fn count_scalar<const LEN: usize, const SLOTS: usize>(
        &mut self,
        lines: &mut [Line<LEN, SLOTS>],
        used: &mut usize,
    ) -> usize {
        self.count_by(lines, used, |&key, line| {
            let wanted = slot_of(key.into());
            (0..SLOTS).fold(0, |found, slot| found | u64::from(line.slots[slot] == wanted) << slot)
        })
    }
}

impl Group<u64> {
    /// Finds the first line of each word among `lines`.
    pub(crate) fn find_lines(&mut self, level: Level, lines: &[ShortLine], spread: &Spread) {
        match level {
            Level::Portable => self.find_lines_by(lines, |key| spread.hash(key)),
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.find_lines_avx2(lines, spread) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.find_lines_avx512(lines, spread) },
        }
    }

    /// Adds 1 to each word whose first line it is in or has room for it, and to `used` each that is new. Returns how many are left.
    pub(crate) fn count(&mut self, level: Level, lines: &mut [ShortLine], used: &mut usize) -> usize {
        match level {
            Level::Portable => self.count_scalar(lines, used),
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.count_avx2(lines, used) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.count_avx512(lines, used) },
        }
    }
}

impl Group<Key> {
    /// Finds the first line of each word among `lines`.
    pub(crate) fn find_lines(&mut self, level: Level, lines: &[MediumLine], spread: &Spread) {
        match level {
            Level::Portable => self.find_lines_by(lines, |key| spread.hash(key)),
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.find_lines_avx2(lines, spread) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.find_lines_avx512(lines, spread) },
        }
    }

    /// Adds 1 to each word whose first line it is in or has room for it, and to `used` each that is new. Returns how many are left.
    pub(crate) fn count(&mut self, level: Level, lines: &mut [MediumLine], used: &mut usize) -> usize {
        match level {
            Level::Portable => self.count_scalar(lines, used),
            // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.count_avx2(lines, used) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.count_avx512(lines, used) },
        }
    }
}

/// A place of a text where 16 bytes follow, which is `start` if that is one. A remainder by a power of two, to spare a branch.
#[inline(always)]
fn place<const N: usize>(start: u16) -> usize {
    debug_assert!(usize::from(start) < 1 << (N - 16).ilog2());
    usize::from(start) % (1 << (N - 16).ilog2())
}

/// What to put over the bytes that a word begins with, by its length.
static AFTER: [u128; 16] = {
    let mut after = [0; 16];
    let mut len = 0;
    while len < 16 {
        after[len] = u128::MAX << (8 * len);
        len += 1;
    }
    after
};

/// The key of a short word by its length and the 8 bytes it begins with.
#[inline(always)]
pub(crate) fn short_key(bytes: u64, len: usize) -> u64 {
    bytes | AFTER[len % 16] as u64
}

/// The key of a medium word by its length and the 16 bytes it begins with.
#[inline(always)]
pub(crate) fn medium_key(bytes: u128, len: usize) -> Key {
    bytes | AFTER[len % 16]
}

#[cfg(target_arch = "x86_64")]
impl Batch {
    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    unsafe fn find_keys_avx2<const N: usize>(&mut self, text: &[u8; N], words: &[[u16; 2]]) {
        self.find_keys_scalar(text, words);
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
    unsafe fn find_keys_avx512<const N: usize>(&mut self, text: &[u8; N], words: &[[u16; 2]]) {
        use std::arch::x86_64::*;
        let numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        // The first number that is no such length, where the lengths are.
        let beyond = |len: usize| _mm512_set1_epi32((len as i32 + 1) << 16);
        let longest_tiny = if self.tiny.counts.is_some() { TINY } else { 0 };
        let (mut tiny, mut short, mut medium, mut long) = (0, 0, 0, 0);
        for (at, words) in words.chunks(16).enumerate() {
            let there = u16::MAX >> (16 - words.len());
            // SAFETY: the load touches only the elements that `there` names, `words.len()` of them, 1 to 16; no alignment needed.
            let ends = unsafe { _mm512_maskz_loadu_epi32(there, words.as_ptr().cast()) };
            // Where a word starts is below, and above how long it is.
            let places = _mm512_sub_epi16(ends, _mm512_slli_epi32::<16>(ends));
            let is_tiny = _mm512_mask_cmplt_epu32_mask(there, places, beyond(longest_tiny));
            let is_short = _mm512_mask_cmplt_epu32_mask(there & !is_tiny, places, beyond(SHORT));
            let is_long = _mm512_mask_cmpge_epu32_mask(there, places, beyond(MEDIUM));
            let is_medium = there & !is_tiny & !is_short & !is_long;
            let after = _mm512_sllv_epi16(_mm512_set1_epi16(-1), _mm512_slli_epi16::<3>(places));
            let with_after = _mm512_mask_mov_epi16(places, 0xAAAA_AAAA, after);
            let which = _mm512_add_epi32(numbers, _mm512_set1_epi32(16 * at as i32));
            let (Some(tinies), Some(shorts), Some(mediums), Some(longs)) = (
                self.tiny.places[tiny..].first_chunk_mut::<16>(),
                self.short.places[short..].first_chunk_mut::<16>(),
                self.medium.places[medium..].first_chunk_mut::<16>(),
                self.long[long..].first_chunk_mut::<16>(),
            ) else {
                break;
            };
            // SAFETY: arrays of 16 elements of 32 bits; no alignment needed.
            unsafe {
                let store = |to, those, what| {
                    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(those, what));
                };
                store(tinies.as_mut_ptr().cast(), is_tiny, with_after);
                store(shorts.as_mut_ptr().cast(), is_short, places);
                store(mediums.as_mut_ptr().cast(), is_medium, places);
                store(longs.as_mut_ptr().cast(), is_long, which);
            }
            tiny += is_tiny.count_ones() as usize;
            short += is_short.count_ones() as usize;
            medium += is_medium.count_ones() as usize;
            long += is_long.count_ones() as usize;
        }
        (self.tiny.number, self.short.number, self.medium.number, self.num_long) =
            (tiny, short, medium, long);
        self.tiny.count(text);
        for (&[start, _], to) in self.short.places.iter().zip(&mut self.short.keys).take(short) {
            let bytes = &text[place::<N>(start)..][..8];
            // SAFETY: 8 bytes, which need no alignment. As volatile, or else the compiler gathers many at a time, which takes
            // some processors long.
            *to = unsafe { bytes.as_ptr().cast::<Unaligned>().read_volatile().0 };
        }
        let places = self.short.places.as_chunks::<8>().0;
        let keys = self.short.keys.as_chunks_mut::<8>().0;
        for (keys, places) in keys.iter_mut().zip(places).take(short.div_ceil(8)) {
            // SAFETY: arrays of 64 bytes and of 32; no alignment needed.
            let (bytes, places) = unsafe {
                (_mm512_loadu_si512(keys.as_ptr().cast()), _mm256_loadu_si256(places.as_ptr().cast()))
            };
            // All bits of eight bytes, shifted by eight times the length: by 64, none are left.
            let bits = _mm256_slli_epi32::<3>(_mm256_srli_epi32::<16>(places));
            let after = _mm512_sllv_epi64(_mm512_set1_epi64(-1), _mm512_cvtepu32_epi64(bits));
            // SAFETY: as above.
            unsafe { _mm512_storeu_si512(keys.as_mut_ptr().cast(), _mm512_or_si512(bytes, after)) };
        }
        for (&[start, len], to) in self.medium.places.iter().zip(&mut self.medium.keys).take(medium) {
            let (bytes, after) = (&text[place::<N>(start)..][..16], &AFTER[usize::from(len) % 16]);
            // SAFETY: 16 bytes each; no alignment needed.
            unsafe {
                let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
                let after = _mm_loadu_si128(std::ptr::from_ref(after).cast());
                _mm_storeu_si128(std::ptr::from_mut(to).cast(), _mm_or_si128(bytes, after));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Group<u64> {
    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
    unsafe fn find_lines_avx512(&mut self, lines: &[ShortLine], spread: &Spread) {
        use std::arch::x86_64::*;
        let [a, b, c, d] = spread.add;
        let add = _mm512_set1_epi64((u64::from(b) << 32 | u64::from(a)) as i64);
        // What the zeros after the 8th byte come to.
        let zeros = _mm512_set1_epi64(u64::from(c).wrapping_mul(u64::from(d)) as i64);
        let place = FirstLines::new(lines, spread);
        for (at, keys) in self.keys.as_chunks::<8>().0.iter().enumerate().take(self.number.div_ceil(8)) {
            // SAFETY: an array of 64 bytes; no alignment needed.
            let keys = unsafe { _mm512_loadu_si512(keys.as_ptr().cast()) };
            let sums = _mm512_add_epi32(keys, add);
            let first = place.of(_mm512_add_epi64(_mm512_mul_epu32(sums, upper(sums)), zeros));
            // SAFETY: an array of 64 bytes; no alignment needed.
            unsafe { _mm512_storeu_si512(self.firsts.as_chunks_mut::<8>().0[at].as_mut_ptr().cast(), first) };
            if at == AHEAD / 8 {
                self.prefetch_near(lines);
            }
        }
        if self.number <= AHEAD {
            self.prefetch_near(lines);
        }
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    unsafe fn count_avx2(&mut self, lines: &mut [ShortLine], used: &mut usize) -> usize {
        use std::arch::x86_64::*;
        self.count_by(lines, used, |&key, line| {
            let key = _mm256_set1_epi64x(key as i64);
            // SAFETY: 32 bytes, and the 16 up to the 40th, of the 40 of the slots; no alignment needed.
            let (low, high) = unsafe {
                let slots: *const u8 = line.slots.as_ptr().cast();
                (_mm256_loadu_si256(slots.cast()), _mm_loadu_si128(slots.add(24).cast()))
            };
            let low = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(key, low)));
            let high = _mm_cmpeq_epi64(_mm256_castsi256_si128(key), high);
            (low | _mm_movemask_pd(_mm_castsi128_pd(high)) << 3) as u64
        })
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
    unsafe fn count_avx512(&mut self, lines: &mut [ShortLine], used: &mut usize) -> usize {
        use std::arch::x86_64::*;
        self.count_by(lines, used, |&key, line| {
            // SAFETY: 32 bytes of the 40 of the slots; no alignment needed.
            let low = unsafe { _mm256_loadu_si256(line.slots.as_ptr().cast()) };
            // The last is four times there.
            let last = _mm_cvtsi64_si128(i64::from_le_bytes(line.slots[4]));
            let slots = _mm512_mask_broadcastq_epi64(_mm512_zextsi256_si512(low), 0b1111_0000, last);
            _mm512_cmpeq_epi64_mask(_mm512_set1_epi64(key as i64), slots).into()
        })
    }
}

/// A number at any place.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned(u64);

/// The upper halves where the lower are. By a shuffle, as shifts of 64 bytes and multiplications wait for each other.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
#[inline]
fn upper(sums: std::arch::x86_64::__m512i) -> std::arch::x86_64::__m512i {
    std::arch::x86_64::_mm512_shuffle_epi32::<0b11_11_01_01>(sums)
}

/// From the sums of eight hashes to where the first lines begin.
#[cfg(target_arch = "x86_64")]
struct FirstLines {
    times: std::arch::x86_64::__m512i,
    turn: std::arch::x86_64::__m512i,
    within: std::arch::x86_64::__m512i,
}

#[cfg(target_arch = "x86_64")]
impl FirstLines {
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
    fn new<T>(lines: &[T], spread: &Spread) -> Self {
        use std::arch::x86_64::_mm512_set1_epi64;
        // Of 32 bits the highest, as many as `shift` leaves, come to where `LINE` is 1. More lines than they can tell apart would be
        // 256 GB.
        assert!(shift(lines) >= 32);
        let turn = (LINE.ilog2() + 32).wrapping_sub(shift(lines)) % 64;
        Self {
            times: _mm512_set1_epi64(spread.times.into()),
            turn: _mm512_set1_epi64(turn.into()),
            within: _mm512_set1_epi64((lines.len().max(2) as u64 * LINE - LINE) as i64),
        }
    }

    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
    #[inline]
    fn of(&self, sums: std::arch::x86_64::__m512i) -> std::arch::x86_64::__m512i {
        use std::arch::x86_64::*;
        let mixed = _mm512_xor_si512(sums, upper(sums));
        let hash = _mm512_mul_epu32(mixed, self.times);
        _mm512_and_si512(_mm512_rolv_epi64(hash, self.turn), self.within)
    }
}

#[cfg(target_arch = "x86_64")]
impl Group<Key> {
    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
    unsafe fn find_lines_avx512(&mut self, lines: &[MediumLine], spread: &Spread) {
        use std::arch::x86_64::*;
        let [a, b, c, d] = spread.add.map(|add| add as i32);
        let add = _mm512_setr_epi32(a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d);
        let place = FirstLines::new(lines, spread);
        let (even, odd) =
            (_mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15));
        for (at, keys) in self.keys.as_chunks::<8>().0.iter().enumerate().take(self.number.div_ceil(8)) {
            // SAFETY: an array of twice 64 bytes; no alignment needed.
            let halves = unsafe {
                [_mm512_loadu_si512(keys.as_ptr().cast()), _mm512_loadu_si512(keys[4..].as_ptr().cast())]
            };
            let [one, two] = halves.map(|keys| {
                let sums = _mm512_add_epi32(keys, add);
                _mm512_mul_epu32(sums, upper(sums))
            });
            let sum = _mm512_add_epi64(
                _mm512_permutex2var_epi64(one, even, two),
                _mm512_permutex2var_epi64(one, odd, two),
            );
            let first = place.of(sum);
            // SAFETY: an array of 64 bytes; no alignment needed.
            unsafe { _mm512_storeu_si512(self.firsts.as_chunks_mut::<8>().0[at].as_mut_ptr().cast(), first) };
            if at == AHEAD / 8 {
                self.prefetch_near(lines);
            }
        }
        if self.number <= AHEAD {
            self.prefetch_near(lines);
        }
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,bmi1,popcnt")]
    unsafe fn count_avx2(&mut self, lines: &mut [MediumLine], used: &mut usize) -> usize {
        use std::arch::x86_64::*;
        let turns = _mm256_setr_epi32(0, 1, 2, 0, 1, 2, 0, 1);
        self.count_by(lines, used, |key, line| {
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
            u64::from(all & 1 | all >> 2 & 2 | all >> 4 & 4 | all >> 6 & 8)
        })
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi1,bmi2,popcnt")]
    unsafe fn count_avx512(&mut self, lines: &mut [MediumLine], used: &mut usize) -> usize {
        use std::arch::x86_64::*;
        // What is behind the slots does not matter: of the sixteen, the bits of twelve are taken.
        let turns = _mm512_setr_epi32(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 3, 3, 3);
        self.count_by(lines, used, |key, line| {
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
            _pext_u64(_pdep_u64(same.into(), 0x7777) + 0x1111, 0x8888)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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

    /// What is known beforehand, seven times each.
    fn lines_of<const LEN: usize, const SLOTS: usize>(
        number: usize,
        spread: &Spread,
        known: impl Iterator<Item = Key>,
    ) -> Lines<LEN, SLOTS> {
        let mut lines = Lines::free(number);
        for key in known {
            let first = (spread.hash(key) >> shift(&lines)) as usize;
            let line = &mut lines[first];
            if let Some(slot) = line.counts.iter().position(|count| *count == 0) {
                (line.slots[slot], line.counts[slot]) = (slot_of(key), 7);
            }
        }
        lines
    }

    /// From 2 MB on, on Linux, and without a word lost.
    #[test]
    fn lines_double_where_they_are() {
        for number in [1 << 10, 1 << 15, 1 << 16] {
            let mut lines: Lines<SHORT, 5> = Lines::free(number);
            (lines[1].slots[0], lines[number - 1].counts[0]) = (*b"a word!!", 7);
            let before = lines.to_vec();
            let is_double = cfg!(target_os = "linux") && number >= 1 << 15;
            assert_eq!(lines.double(), is_double, "{number}");
            assert_eq!(lines[..number], before);
            assert_eq!(lines.len(), if is_double { 2 * number } else { number });
            assert!(lines[number..].iter().all(|line| *line == Line::FREE));
        }
    }

    proptest! {
        /// Keys, lines and counts: which words are of which kind, what is left, and what the lines hold afterwards, by each level as by
        /// the scalar twin, whose keys are what is meant.
        #[test]
        fn all_levels_count_as_the_scalar_twin(
            words in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'a'), Just(0), any::<u8>()], 1..24), 0..=BATCH),
            known in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
            spread in any::<[u64; 3]>(),
            log_lines in 1..8_u32,
        ) {
            let (text, places) = text_of(&words);
            let spread = Spread::new([spread[0], spread[1]], spread[2]);
            let key = |word: &Vec<u8>| {
                let mut bytes = [0xFF; 16];
                bytes[..word.len()].copy_from_slice(word);
                if word.len() <= SHORT { Key::from_le_bytes(bytes) & Key::from(u64::MAX) } else { Key::from_le_bytes(bytes) }
            };
            let of = |lens: std::ops::RangeInclusive<usize>| words.iter().filter(move |word| lens.contains(&word.len()));
            let known = |lens| {
                let those: Vec<_> = of(lens).map(key).collect();
                let known = if those.is_empty() { &[] } else { &known[..] };
                known.iter().map(|known| *known.get(&those)).collect::<Vec<_>>().into_iter()
            };
            let short: Lines<SHORT, 5> = lines_of(1 << log_lines, &spread, known(1..=SHORT));
            let medium: Lines<MEDIUM, 4> = lines_of(1 << log_lines, &spread, known(SHORT + 1..=MEDIUM));
            let with = |level: Level, places: &[[u16; 2]], count_tiny: bool| {
                let (mut batch, mut short, mut medium, mut used) = (Batch::new(), short.clone(), medium.clone(), [0, 0]);
                if count_tiny {
                    batch.count_tiny(level);
                }
                batch.find_keys(level, &text, places);
                let tiny: BTreeMap<Key, u32> = batch.take_tiny().into_iter().collect();
                let keys: Vec<Key> = batch.short.keys[..batch.short.len()].iter().map(|&key| key.into()).collect();
                let keys = (keys, batch.medium.keys[..batch.medium.len()].to_vec());
                let long: Vec<_> = batch.long().iter().map(|&at| places[at as usize]).collect();
                batch.short.find_lines(level, &short, &spread);
                batch.medium.find_lines(level, &medium, &spread);
                let left = batch.short.count(level, &mut short, &mut used[0]);
                let mut left: Vec<_> = batch.short.left(left).collect();
                let left_medium = batch.medium.count(level, &mut medium, &mut used[1]);
                left.extend(batch.medium.left(left_medium));
                ((keys, long, left, short.to_vec(), medium.to_vec(), used), tiny)
            };
            let expected = with(Level::Portable, &places, false);
            prop_assert_eq!(&expected.0.0.0, &of(1..=SHORT).map(key).collect::<Vec<_>>());
            prop_assert_eq!(&expected.0.0.1, &of(SHORT + 1..=MEDIUM).map(key).collect::<Vec<_>>());
            prop_assert_eq!(expected.0.1.len(), of(MEDIUM + 1..=24).count());
            // Where tiny words are counted apart, all others are as if there were none.
            let others: Vec<_> = places.iter().copied().filter(|[start, end]| usize::from(end - start) > TINY).collect();
            let mut expected_apart = with(Level::Portable, &others, false);
            of(1..=TINY).for_each(|word| *expected_apart.1.entry(key(word)).or_insert(0) += 1);
            for level in Level::available() {
                prop_assert_eq!(with(level, &places, false), expected.clone());
                let counts_apart = Batch::counts_tiny_at(level);
                prop_assert_eq!(with(level, &places, true), if counts_apart { expected_apart.clone() } else { expected.clone() });
            }
        }
    }
}
