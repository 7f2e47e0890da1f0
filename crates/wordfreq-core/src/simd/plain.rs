//! Characters beyond ASCII that can be told by themselves, many at a time: letters in lower case and what joins them, in scripts with
//! alphabets.
//!
//! A page is 64 characters that have all bytes but the last in common. A block of text has few pages, and which of its characters are
//! in one, and of what kind, takes some comparisons for all of them. Not here: what a character is (`characters`), and what is made
//! of those that are left (`kernel`).

use super::{BLOCKS, Level, Mask, WINDOW};

/// How many pages the characters of two bytes and three have.
pub(crate) const PAGES: usize = 0x1_0000 / 64;

/// What of a page is plain, by the last six bits. A letter goes on with a word of letters, whatever follows but an ASCII quote, and is
/// in lower case. What joins it does so unless an ASCII quote follows; a mark may have to change places with others besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) letters: u64,
    pub(crate) joined: u64,
    pub(crate) marks: u64,
}

/// Where the plain characters of a block begin, those of two bytes and those of three, but for those that an ASCII quote follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leads {
    pub(crate) letters: [u64; 2],
    pub(crate) joined: [u64; 2],
    pub(crate) marks: [u64; 2],
}

impl Leads {
    pub(crate) const NONE: Self = Self { letters: [0; 2], joined: [0; 2], marks: [0; 2] };
}

/// Finds them in each of the first `blocks` of `text` that has any of `others`; in another there are none. A character may go on in the
/// block behind its own. `plain` tells what is plain in a page. Returns whether there are any.
pub(crate) fn find(
    level: Level,
    text: &[u8; WINDOW + 64],
    others: &Mask,
    blocks: usize,
    plain: impl Fn(usize) -> Plain,
    leads: &mut [Leads; BLOCKS],
) -> bool {
    let (others, leads) = (&others[..blocks], &mut leads[..blocks]);
    match level {
        Level::Portable => find_scalar(text, others, plain, leads),
        // SAFETY: a level other than Portable comes from `available` only, which has seen the features.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { find_avx2(text, others, plain, leads) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { find_avx512(text, others, plain, leads) },
    }
    leads.iter().any(|leads| *leads != Leads::NONE)
}

/// The page of a character by its first two bytes, if that is one to be looked for.
#[inline(always)]
fn page_of(a: u8, b: u8) -> Option<usize> {
    match a {
        0xC2..=0xDF => Some(usize::from(a & 0x1F)),
        // Not symbols, nor kana and ideographs, which are words by themselves; nor what a shorter form would have done for.
        0xE0 | 0xE1 | 0xEA..=0xED => {
            Some(usize::from(a & 0xF) << 6 | usize::from(b & 0x3F)).filter(|page| *page >= 0x800 / 64)
        }
        _ => None,
    }
}

fn find_scalar(
    text: &[u8; WINDOW + 64],
    others: &[u64],
    plain: impl Fn(usize) -> Plain,
    leads: &mut [Leads],
) {
    let follows = |byte: u8| byte & 0xC0 == 0x80;
    for (block, (leads, &others)) in leads.iter_mut().zip(others).enumerate() {
        *leads = Leads::NONE;
        let mut rest = others;
        while rest != 0 {
            let at = rest.trailing_zeros();
            rest &= rest - 1;
            let Some(&[a, b, c, d]) = text[block * 64 + at as usize..].first_chunk() else { break };
            let is_long = a >= 0xE0;
            let (last, next) = if is_long { (c, d) } else { (b, c) };
            if follows(b) && matches!(a, 0xC0..=0xEF) {
                // Whatever it is, the bytes it goes on with begin none.
                rest &= !(if is_long && follows(c) { 6 } else { 2 } << at);
            }
            let is_taken = follows(b) && follows(last) && !matches!(next, b'\'' | b'"');
            let Some(page) = page_of(a, b).filter(|_| is_taken) else { continue };
            let Plain { letters, joined, marks } = plain(page);
            let bit = |bits: u64| (bits >> (last & 0x3F) & 1) << at;
            leads.letters[usize::from(is_long)] |= bit(letters);
            leads.joined[usize::from(is_long)] |= bit(joined);
            leads.marks[usize::from(is_long)] |= bit(marks);
        }
    }
}

/// A byte with the bit set that the last three bits of its place tell.
#[cfg(target_arch = "x86_64")]
static BITS: [u8; 32] = {
    let mut bits = [0; 32];
    let mut at = 0;
    while at < 32 {
        bits[at] = 1 << (at % 8);
        at += 1;
    }
    bits
};

/// # Safety
/// The processor has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vl,avx512dq,bmi2,popcnt")]
unsafe fn find_avx512(
    text: &[u8; WINDOW + 64],
    others: &[u64],
    plain: impl Fn(usize) -> Plain,
    leads: &mut [Leads],
) {
    use std::arch::x86_64::*;
    let set = |byte: u8| _mm512_set1_epi8(byte as i8);
    let is = |all: __m512i, byte: u8| _mm512_cmpeq_epi8_mask(all, set(byte));
    // Whether these bits are those of `byte`.
    let has = |all: __m512i, bits: u8, byte: u8| is(_mm512_and_si512(all, set(bits)), byte);
    let is_quote = |all: __m512i| is(all, b'\'') | is(all, b'"');
    // SAFETY: the first 16 bytes of 32; no alignment needed.
    let bits = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(BITS.as_ptr().cast()) });
    for (block, (leads, &others)) in leads.iter_mut().zip(others).enumerate() {
        *leads = Leads::NONE;
        if others == 0 {
            continue;
        }
        let Some(bytes) = text[block * 64..].first_chunk::<67>() else { break };
        // SAFETY: 64 bytes from each of the first four of 67 on; no alignment needed.
        let [first, second, third, fourth] =
            [0, 1, 2, 3].map(|from| unsafe { _mm512_loadu_si512(bytes.as_ptr().add(from).cast()) });
        let follow = has(second, 0xC0, 0x80);
        let two = has(first, 0xE0, 0xC0) & follow;
        let three = (has(first, 0xFE, 0xE0) | has(first, 0xFE, 0xEA) | has(first, 0xFE, 0xEC)) & follow;
        if two | three == 0 {
            continue;
        }
        let two = two & !is_quote(third);
        let three = three & has(third, 0xC0, 0x80) & !is_quote(fourth);
        for (is_long, mut rest, last) in [(false, two, second), (true, three, third)] {
            // Of each character, the byte of its page's bits, and the bit of that byte.
            let byte = _mm512_and_si512(_mm512_srli_epi16::<3>(last), set(7));
            let bit = _mm512_shuffle_epi8(bits, _mm512_and_si512(last, set(7)));
            while rest != 0 {
                let at = rest.trailing_zeros() as usize % 64;
                let (a, b) = (bytes[at], bytes[at + 1]);
                let mut here = rest & is(first, a);
                if is_long {
                    here &= is(second, b);
                }
                rest &= !here;
                let Some(page) = page_of(a, b) else { continue };
                let these = |page: u64| {
                    let page = _mm512_shuffle_epi8(_mm512_set1_epi64(page as i64), byte);
                    here & _mm512_test_epi8_mask(page, bit)
                };
                let Plain { letters, joined, marks } = plain(page);
                leads.letters[usize::from(is_long)] |= these(letters);
                leads.joined[usize::from(is_long)] |= these(joined);
                leads.marks[usize::from(is_long)] |= these(marks);
            }
        }
    }
}

/// # Safety
/// The processor has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
unsafe fn find_avx2(
    text: &[u8; WINDOW + 64],
    others: &[u64],
    plain: impl Fn(usize) -> Plain,
    leads: &mut [Leads],
) {
    use std::arch::x86_64::*;
    let set = |byte: u8| _mm256_set1_epi8(byte as i8);
    let mask = |half: __m256i| _mm256_movemask_epi8(half) as u32;
    let is = |half: __m256i, byte: u8| mask(_mm256_cmpeq_epi8(half, set(byte)));
    let has = |half: __m256i, bits: u8, byte: u8| is(_mm256_and_si256(half, set(bits)), byte);
    let is_quote = |half: __m256i| is(half, b'\'') | is(half, b'"');
    // SAFETY: an array of 32 bytes; no alignment needed.
    let bits = unsafe { _mm256_loadu_si256(BITS.as_ptr().cast()) };
    for (block, (leads, &others)) in leads.iter_mut().zip(others).enumerate() {
        *leads = Leads::NONE;
        for from in [0, 32] {
            if others >> from & u64::from(u32::MAX) == 0 {
                continue;
            }
            let Some(bytes) = text[block * 64 + from..].first_chunk::<35>() else { break };
            // SAFETY: 32 bytes from each of the first four of 35 on; no alignment needed.
            let [first, second, third, fourth] =
                [0, 1, 2, 3].map(|from| unsafe { _mm256_loadu_si256(bytes.as_ptr().add(from).cast()) });
            let follow = has(second, 0xC0, 0x80);
            let two = has(first, 0xE0, 0xC0) & follow;
            let three = (has(first, 0xFE, 0xE0) | has(first, 0xFE, 0xEA) | has(first, 0xFE, 0xEC)) & follow;
            if two | three == 0 {
                continue;
            }
            let two = two & !is_quote(third);
            let three = three & has(third, 0xC0, 0x80) & !is_quote(fourth);
            for (is_long, mut rest, last) in [(false, two, second), (true, three, third)] {
                let byte = _mm256_and_si256(_mm256_srli_epi16::<3>(last), set(7));
                let bit = _mm256_shuffle_epi8(bits, _mm256_and_si256(last, set(7)));
                while rest != 0 {
                    let at = rest.trailing_zeros() as usize % 32;
                    let (a, b) = (bytes[at], bytes[at + 1]);
                    let mut here = rest & is(first, a);
                    if is_long {
                        here &= is(second, b);
                    }
                    rest &= !here;
                    let Some(page) = page_of(a, b) else { continue };
                    let these = |page: u64| {
                        let page = _mm256_shuffle_epi8(_mm256_set1_epi64x(page as i64), byte);
                        let found = mask(_mm256_cmpeq_epi8(_mm256_and_si256(page, bit), bit));
                        u64::from(here & found) << from
                    };
                    let Plain { letters, joined, marks } = plain(page);
                    leads.letters[usize::from(is_long)] |= these(letters);
                    leads.joined[usize::from(is_long)] |= these(joined);
                    leads.marks[usize::from(is_long)] |= these(marks);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_levels_find_what_the_scalar_twin_finds(
            bytes in prop::collection::vec(
                prop_oneof![
                    3 => prop::sample::select(&[0xC0, 0xC3, 0xD0, 0xD7, 0xE0, 0xE1, 0xE2, 0xE4, 0xEA, 0xED, 0xEE, 0xF0][..]),
                    4 => 0x80..=0xBF_u8,
                    1 => prop::sample::select(&b"a '\""[..]),
                    1 => any::<u8>(),
                ],
                WINDOW + 64,
            ),
            blocks in 0..=BLOCKS,
            seed in any::<u64>(),
        ) {
            let text: &[u8; WINDOW + 64] = bytes.as_slice().try_into()?;
            let mut others: Mask = [0; BLOCKS + 2];
            for (at, _) in bytes[..blocks * 64].iter().enumerate().filter(|(_, byte)| !byte.is_ascii()) {
                others[at / 64] |= 1 << (at % 64);
            }
            let plain = |page: usize| {
                let bits = |kind: u64| seed.wrapping_mul(page as u64 * 6 + 2 * kind + 1).rotate_left(17);
                Plain { letters: bits(0), joined: bits(1), marks: bits(2) }
            };
            let with = |level: Level| {
                let mut leads = [Leads { letters: [1; 2], ..Leads::NONE }; BLOCKS];
                find(level, text, &others, blocks, plain, &mut leads);
                leads
            };
            let expected = with(Level::Portable);
            for level in Level::available() {
                prop_assert_eq!(with(level), expected);
            }
        }
    }
}
