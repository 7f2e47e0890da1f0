//! Finds bytes in long texts, which may be one word: many at a time, as the compiler makes vectors of plain loops over arrays.
//!
//! Not here: what is found in prose, where the next byte of a kind is near (`simd`).

/// ASCII white space, with U+000B, which `u8::is_ascii_whitespace` leaves out.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// How many bytes are looked at together.
const BLOCK: usize = 64;

/// How many bytes are looked at one by one before that.
const NEAR: usize = 16;

/// The place of the first byte that `is` says yes to.
#[inline]
pub(crate) fn first_byte(text: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let (near, far) = text.split_at(text.len().min(NEAR));
    if let Some(place) = near.iter().position(|&byte| is(byte)) {
        return Some(place);
    }
    let any = |block: &&[u8; BLOCK]| block.iter().fold(0, |any, &byte| any | u8::from(is(byte))) != 0;
    let from = BLOCK * far.as_chunks().0.iter().take_while(|block| !any(block)).count();
    Some(near.len() + from + far[from..].iter().position(|&byte| is(byte))?)
}

/// The place of the last one.
#[inline]
pub(crate) fn last_byte(text: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let any = |block: &&[u8; BLOCK]| block.iter().fold(0, |any, &byte| any | u8::from(is(byte))) != 0;
    let behind = BLOCK * text.as_rchunks().1.iter().rev().take_while(|block| !any(block)).count();
    text[..text.len() - behind].iter().rposition(|&byte| is(byte))
}

/// The place of the second byte of the first two neighbours that `are` says yes to.
#[inline]
pub(crate) fn first_pair(text: &[u8], are: impl Fn(u8, u8) -> bool) -> Option<usize> {
    if let Some(place) = text.array_windows().take(NEAR).position(|&[before, after]| are(before, after)) {
        return Some(1 + place);
    }
    let after = text.get(1..)?;
    let blocks = text.as_chunks::<BLOCK>().0.iter().zip(after.as_chunks::<BLOCK>().0);
    let from = BLOCK * blocks.take_while(|blocks| !any_pair(blocks.0, blocks.1, &are)).count();
    let mut pairs = text[from..].array_windows();
    Some(from + 1 + pairs.position(|&[before, after]| are(before, after))?)
}

/// The place of the second byte of the last two.
#[inline]
pub(crate) fn last_pair(text: &[u8], are: impl Fn(u8, u8) -> bool) -> Option<usize> {
    let after = text.get(1..)?;
    let before = &text[..after.len()];
    let blocks = before.as_rchunks::<BLOCK>().1.iter().zip(after.as_rchunks::<BLOCK>().1).rev();
    let behind = BLOCK * blocks.take_while(|blocks| !any_pair(blocks.0, blocks.1, &are)).count();
    let mut pairs = text[..text.len() - behind].array_windows();
    Some(1 + pairs.rposition(|&[before, after]| are(before, after))?)
}

#[inline]
fn any_pair(before: &[u8; BLOCK], after: &[u8; BLOCK], are: impl Fn(u8, u8) -> bool) -> bool {
    before.iter().zip(after).fold(0, |any, (&before, &after)| any | u8::from(are(before, after))) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_look_at_each_byte_finds(
            text in prop::collection::vec(prop_oneof![100 => Just(b'a'), 1 => Just(b' '), 1 => Just(b'-')], 0..400),
        ) {
            let dash = |byte| byte == b'-';
            let pair = |before, after| before == b'-' && after != b' ';
            prop_assert_eq!(first_byte(&text, dash), text.iter().position(|&byte| dash(byte)));
            prop_assert_eq!(last_byte(&text, dash), text.iter().rposition(|&byte| dash(byte)));
            let pairs = || (1..text.len()).filter(|&at| pair(text[at - 1], text[at]));
            prop_assert_eq!(first_pair(&text, pair), pairs().next());
            prop_assert_eq!(last_pair(&text, pair), pairs().next_back());
        }
    }
}
