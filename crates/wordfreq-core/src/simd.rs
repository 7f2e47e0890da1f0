//! What the counting kernel needs of the processor: the one place of this crate with `unsafe`.
//!
//! Which bytes of a window are of which class, as bit masks, and where the bits of a mask are. The best [`Level`] this
//! processor has is found while running. Every function has a scalar twin that says what it does, and the tests hold
//! all levels against it. Not here: what a word is (`kernel`).

#![allow(unsafe_code)]

pub(crate) mod lines;
pub(crate) mod plain;

use std::sync::OnceLock;

/// How many bytes are looked at together.
pub(crate) const WINDOW: usize = 4096;
/// How many masks that makes.
pub(crate) const BLOCKS: usize = WINDOW / 64;
/// How many bits the mask of a window can have, with room for what is written past the last.
pub(crate) const PLACES: usize = WINDOW + 128;

/// A bit for each byte of a window, and of two blocks past it, which stay clear.
pub(crate) type Mask = [u64; BLOCKS + 2];

/// The classes of the bytes of a window. Past its end there is white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Masks {
    /// ASCII white space, U+000B with it.
    pub(crate) space: Mask,
    pub(crate) non_ascii: Mask,
    /// From here on only for `unicode`: ASCII letters, digits, `_`, then what joins only letters or digits (`'` `.`), only letters
    /// (`:`), only digits (`,` `;`).
    pub(crate) letter: Mask,
    pub(crate) digit: Mask,
    pub(crate) underscore: Mask,
    pub(crate) mid_both: Mask,
    pub(crate) mid_letter: Mask,
    pub(crate) mid_digit: Mask,
}

impl Masks {
    pub(crate) fn new() -> Self {
        let none = [0; BLOCKS + 2];
        Self {
            space: none,
            non_ascii: none,
            letter: none,
            digit: none,
            underscore: none,
            mid_both: none,
            mid_letter: none,
            mid_digit: none,
        }
    }
}

/// What the processor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// With BW, DQ, VL and VBMI2, which came together with many others in Ice Lake and Zen 4.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The levels this processor has, the best first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let levels = [
            (is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt"))
            .then_some(Self::Avx512),
            (is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("popcnt"))
            .then_some(Self::Avx2),
            Some(Self::Portable),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Some(Self::Portable)];
        levels.into_iter().flatten()
    }

    pub(crate) fn best() -> Self {
        match LIMIT.get() {
            Some(&limit) => limit,
            None => Self::available().next().unwrap_or(Self::Portable),
        }
    }
}

static LIMIT: OnceLock<Level> = OnceLock::new();

/// Has this process count with `avx512`, `avx2` or `portable` and with nothing else, for tests that compare them. Returns whether the
/// processor has that, and nobody has chosen before.
pub fn limit_processor(name: &str) -> bool {
    let named = |level: &Level| format!("{level:?}").eq_ignore_ascii_case(name);
    Level::available().find(named).is_some_and(|level| LIMIT.set(level).is_ok())
}

/// Classifies `bytes`, at most a window of them, and writes them lower-cased, then white space up to a whole block.
/// Returns how many blocks that is; of the masks, the blocks past those are as they were. `UNICODE`: all the classes
/// and not only the first two.
pub(crate) fn classify<const UNICODE: bool>(
    level: Level,
    bytes: &[u8],
    masks: &mut Masks,
    lowered: &mut [u8; WINDOW + 64],
) -> usize {
    assert!(bytes.len() <= WINDOW);
    match level {
        Level::Portable => classify_scalar::<UNICODE>(bytes, masks, lowered),
        // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { classify_avx2::<UNICODE>(bytes, masks, lowered) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { classify_avx512::<UNICODE>(bytes, masks, lowered) },
    }
    bytes.len().div_ceil(64)
}

/// Writes where the bits of the first `blocks` masks and of the one after are, in order. Returns how many; what stands after
/// those has no meaning.
pub(crate) fn places(level: Level, mask: &Mask, blocks: usize, places: &mut [u16; PLACES]) -> usize {
    match level {
        Level::Portable => places_scalar(mask, blocks, places),
        // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { places_avx2(mask, blocks, places) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { places_avx512(mask, blocks, places) },
    }
}

const SPACE: u8 = 1;
const NON_ASCII: u8 = 2;
const LETTER: u8 = 4;
const DIGIT: u8 = 8;
const UNDERSCORE: u8 = 16;
const MID_BOTH: u8 = 32;
const MID_LETTER: u8 = 64;
const MID_DIGIT: u8 = 128;

static CLASS: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'\t'..=b'\r' | b' ' => SPACE,
            128.. => NON_ASCII,
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b'_' => UNDERSCORE,
            b'\'' | b'.' => MID_BOTH,
            b':' => MID_LETTER,
            b',' | b';' => MID_DIGIT,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// A matrix of eight by eight bits with rows and columns exchanged: bit `i` of byte `k` becomes bit `k` of byte `i`.
fn transpose(mut bits: u64) -> u64 {
    for (shift, mask) in
        [(7, 0x00AA_00AA_00AA_00AA), (14, 0x0000_CCCC_0000_CCCC), (28, 0x0000_0000_F0F0_F0F0)]
    {
        let swapped = (bits ^ bits >> shift) & mask;
        bits ^= swapped ^ swapped << shift;
    }
    bits
}

fn classify_scalar<const UNICODE: bool>(bytes: &[u8], masks: &mut Masks, lowered: &mut [u8; WINDOW + 64]) {
    for (block, bytes) in bytes.chunks(64).enumerate() {
        let mut padded = [b' '; 64];
        padded[..bytes.len()].copy_from_slice(bytes);
        let mut masks_of = [0; 8];
        for (at, eight) in padded.chunks_exact(8).enumerate() {
            let classes = std::array::from_fn(|byte| CLASS[usize::from(eight[byte])]);
            for (mask, bits) in masks_of.iter_mut().zip(transpose(u64::from_le_bytes(classes)).to_le_bytes())
            {
                *mask |= u64::from(bits) << (8 * at);
            }
        }
        let mask = |class: u8| masks_of[class.trailing_zeros() as usize];
        masks.space[block] = mask(SPACE);
        masks.non_ascii[block] = mask(NON_ASCII);
        if UNICODE {
            masks.letter[block] = mask(LETTER);
            masks.digit[block] = mask(DIGIT);
            masks.underscore[block] = mask(UNDERSCORE);
            masks.mid_both[block] = mask(MID_BOTH);
            masks.mid_letter[block] = mask(MID_LETTER);
            masks.mid_digit[block] = mask(MID_DIGIT);
        }
        padded.make_ascii_lowercase();
        lowered[block * 64..block * 64 + 64].copy_from_slice(&padded);
    }
}

#[inline(always)]
fn places_scalar(mask: &Mask, blocks: usize, places: &mut [u16; PLACES]) -> usize {
    let mut found = 0;
    for (block, &mask) in mask[..=blocks].iter().enumerate() {
        let mut rest = mask;
        let here = mask.count_ones() as usize;
        let Some(places) = places[found..].first_chunk_mut::<64>() else { break };
        // Eight at a time, so that how many there are decides a branch only now and then.
        for eight in places.chunks_exact_mut(8).take(here.div_ceil(8)) {
            for place in eight {
                *place = (block * 64) as u16 + rest.trailing_zeros() as u16;
                rest &= rest.wrapping_sub(1);
            }
        }
        found += here;
    }
    found
}

/// # Safety
/// The processor has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
unsafe fn places_avx2(mask: &Mask, blocks: usize, places: &mut [u16; PLACES]) -> usize {
    places_scalar(mask, blocks, places)
}

/// # Safety
/// The processor has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
unsafe fn classify_avx2<const UNICODE: bool>(
    bytes: &[u8],
    masks: &mut Masks,
    lowered: &mut [u8; WINDOW + 64],
) {
    use std::arch::x86_64::*;
    let set = |byte: u8| _mm256_set1_epi8(byte as i8);
    let bits = |half: __m256i| u64::from(_mm256_movemask_epi8(half) as u32);
    // Whether `low <= byte <= high`, unsigned.
    let within = |half: __m256i, low: u8, high: u8| {
        let from_low = _mm256_sub_epi8(half, set(low));
        _mm256_cmpeq_epi8(_mm256_min_epu8(from_low, set(high - low)), from_low)
    };
    let is = |half: __m256i, byte: u8| _mm256_cmpeq_epi8(half, set(byte));
    let either = |a, b| _mm256_or_si256(a, b);
    for (block, bytes) in bytes.chunks(64).enumerate() {
        let mut padded = [b' '; 64];
        let bytes: &[u8; 64] = match bytes.try_into() {
            Ok(whole) => whole,
            Err(_) => {
                padded[..bytes.len()].copy_from_slice(bytes);
                &padded
            }
        };
        let target = &mut lowered[block * 64..block * 64 + 64];
        // SAFETY: `bytes` is an array of 64, and `target` a slice of 64; the loads and stores need no alignment.
        let halves = unsafe {
            let (low, high) = (
                _mm256_loadu_si256(bytes.as_ptr().cast()),
                _mm256_loadu_si256(bytes.as_ptr().add(32).cast()),
            );
            let lower = |half| {
                let bit = _mm256_and_si256(within(half, b'A', b'Z'), set(0x20));
                _mm256_or_si256(half, bit)
            };
            _mm256_storeu_si256(target.as_mut_ptr().cast(), lower(low));
            _mm256_storeu_si256(target.as_mut_ptr().add(32).cast(), lower(high));
            [low, high]
        };
        macro_rules! mask {
            ($half:ident => $class:expr) => {{
                let [low, high] = halves.map(|$half| bits($class));
                low | high << 32
            }};
        }
        masks.space[block] = mask!(half => either(within(half, b'\t', b'\r'), is(half, b' ')));
        masks.non_ascii[block] = mask!(half => half);
        if UNICODE {
            masks.letter[block] = mask!(half => within(either(half, set(0x20)), b'a', b'z'));
            masks.digit[block] = mask!(half => within(half, b'0', b'9'));
            masks.underscore[block] = mask!(half => is(half, b'_'));
            masks.mid_both[block] = mask!(half => either(is(half, b'\''), is(half, b'.')));
            masks.mid_letter[block] = mask!(half => is(half, b':'));
            masks.mid_digit[block] = mask!(half => either(is(half, b','), is(half, b';')));
        }
    }
}

/// # Safety
/// The processor has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,bmi2,popcnt")]
unsafe fn classify_avx512<const UNICODE: bool>(
    bytes: &[u8],
    masks: &mut Masks,
    lowered: &mut [u8; WINDOW + 64],
) {
    use std::arch::x86_64::*;
    let set = |byte: u8| _mm512_set1_epi8(byte as i8);
    let within = |all: __m512i, low: u8, high: u8| {
        _mm512_cmple_epu8_mask(_mm512_sub_epi8(all, set(low)), set(high - low))
    };
    let is = |all: __m512i, byte: u8| _mm512_cmpeq_epi8_mask(all, set(byte));
    for (block, bytes) in bytes.chunks(64).enumerate() {
        let target = &mut lowered[block * 64..block * 64 + 64];
        // SAFETY: the load touches only the bytes its mask names, `bytes.len()` of them, 1 to 64; no alignment needed.
        let all = unsafe {
            let there = u64::MAX >> (64 - bytes.len());
            _mm512_mask_loadu_epi8(set(b' '), there, bytes.as_ptr().cast())
        };
        let upper = within(all, b'A', b'Z');
        // SAFETY: `target` is a slice of 64; no alignment needed.
        unsafe {
            _mm512_storeu_si512(target.as_mut_ptr().cast(), _mm512_mask_add_epi8(all, upper, all, set(0x20)));
        }
        masks.space[block] = within(all, b'\t', b'\r') | is(all, b' ');
        masks.non_ascii[block] = _mm512_movepi8_mask(all);
        if UNICODE {
            masks.letter[block] = upper | within(all, b'a', b'z');
            masks.digit[block] = within(all, b'0', b'9');
            masks.underscore[block] = is(all, b'_');
            masks.mid_both[block] = is(all, b'\'') | is(all, b'.');
            masks.mid_letter[block] = is(all, b':');
            masks.mid_digit[block] = is(all, b',') | is(all, b';');
        }
    }
}

/// # Safety
/// The processor has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vbmi2,bmi2,popcnt")]
unsafe fn places_avx512(mask: &Mask, blocks: usize, places: &mut [u16; PLACES]) -> usize {
    use std::arch::x86_64::*;
    const NUMBERS: [u8; 64] = {
        let mut numbers = [0; 64];
        let mut at = 0;
        while at < 64 {
            numbers[at] = at as u8;
            at += 1;
        }
        numbers
    };
    // SAFETY: an array of 64 bytes; no alignment needed.
    let numbers = unsafe { _mm512_loadu_si512(NUMBERS.as_ptr().cast()) };
    let mut found = 0;
    for (block, &mask) in mask[..=blocks].iter().enumerate() {
        let number = mask.count_ones() as usize;
        let within = _mm512_maskz_compress_epi8(mask, numbers);
        let base = _mm512_set1_epi16((block * 64) as i16);
        let Some(target) = places[found..].first_chunk_mut::<64>() else { break };
        let low = _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(within)), base);
        // SAFETY: an array of 128 bytes; no alignment needed.
        unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), low) };
        if number > 32 {
            let high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(within));
            // SAFETY: the second half of an array of 128 bytes.
            unsafe {
                _mm512_storeu_si512(target[32..].as_mut_ptr().cast(), _mm512_add_epi16(high, base));
            }
        }
        found += number;
    }
    found
}

/// Asks for the cache line that many bytes behind where `slice` begins; a hint without any other effect.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], offset: u64) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults, whatever the address; SSE is part of x86-64. The address
        // is computed without the promise to stay within the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().wrapping_byte_add(offset as usize).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, offset);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_levels_classify_as_the_scalar_twin(
            bytes in prop::collection::vec(any::<u8>(), 0..=WINDOW),
        ) {
            let (mut expected, mut expected_lowered) = (Masks::new(), [0; WINDOW + 64]);
            classify_scalar::<true>(&bytes, &mut expected, &mut expected_lowered);
            for level in Level::available() {
                let (mut masks, mut lowered) = (Masks::new(), [0; WINDOW + 64]);
                let blocks = classify::<true>(level, &bytes, &mut masks, &mut lowered);
                prop_assert_eq!(blocks, bytes.len().div_ceil(64));
                prop_assert_eq!(&masks, &expected);
                prop_assert_eq!(lowered, expected_lowered);
                let mut masks = Masks::new();
                classify::<false>(level, &bytes, &mut masks, &mut lowered);
                prop_assert_eq!(masks.space, expected.space);
                prop_assert_eq!(masks.non_ascii, expected.non_ascii);
                prop_assert_eq!(lowered, expected_lowered);
            }
        }

        #[test]
        fn all_levels_find_every_place(
            masks in prop::collection::vec(prop_oneof![any::<u64>(), Just(u64::MAX), Just(0)], BLOCKS),
            blocks in 0..=BLOCKS,
        ) {
            let mut mask: Mask = [0; BLOCKS + 2];
            for (to, from) in mask.iter_mut().zip(&masks[..blocks]) {
                *to = *from;
            }
            let expected: Vec<u16> =
                (0..WINDOW).filter(|at| mask[at / 64] >> (at % 64) & 1 == 1).map(|at| at as u16).collect();
            for level in Level::available() {
                let mut found = [0; PLACES];
                let number = places(level, &mask, blocks, &mut found);
                prop_assert_eq!(&found[..number], &expected[..]);
            }
        }
    }

    proptest! {
        #[test]
        fn transposing_exchanges_bits_and_bytes(bits in any::<u64>(), bit in 0..8_u32, byte in 0..8_u32) {
            prop_assert_eq!(transpose(bits) >> (8 * bit + byte) & 1, bits >> (8 * byte + bit) & 1);
        }
    }

    /// The bytes the classifier needs are the only ones it touches: at the end of an allocation of its own.
    #[test]
    fn any_length_is_read_from_an_allocation_of_that_length() {
        for len in 0..200 {
            let bytes: Box<[u8]> = (0..len).map(|at| b"aZ \xC3'"[at % 5]).collect();
            for level in Level::available() {
                let (mut masks, mut lowered) = (Masks::new(), [0; WINDOW + 64]);
                classify::<true>(level, &bytes, &mut masks, &mut lowered);
                assert_eq!(lowered[..len], *bytes.to_ascii_lowercase());
            }
        }
    }
}
