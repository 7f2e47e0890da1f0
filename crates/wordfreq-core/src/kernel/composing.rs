//! Letters and marks as NFC has them, in place: marks in their order, and what is one character of what was two.
//!
//! What is one takes the end of the bytes that both had; those before it are a gap, which is closed when it is known in which word it is.
//! Not here: which characters may need it (`characters`), and when it is asked for (`kernel`).

use unicode_normalization::char::compose;

use super::{Kernel, Slow};
use crate::characters::{self, Class};
use crate::tokenize::MAX_WORD_BYTES;

/// Marks are put in order among so many bytes of others.
const MOST_MARKS_BYTES: usize = 32;

/// So many pairs of characters are remembered.
pub(super) const PAIRS: usize = 256;

/// What two characters are as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// The bytes of both.
    of: [u32; 2],
    composed: [u8; 4],
    /// In bytes; 0 if they stay two.
    len: usize,
    /// Of what is composed; `Slow` if it had to be looked at again.
    class: Class,
}

impl Pair {
    pub(super) const NONE: Self = Self { of: [0; 2], composed: [0; 4], len: 0, class: Class::Slow };
}

impl Kernel {
    /// Moves the mark from `mark` to `end` before those since `from` that are of a higher combining class, where NFC has it. There must not
    /// be many, as each is looked at.
    pub(super) fn put_in_order(
        &mut self,
        from: usize,
        mark: usize,
        end: usize,
        combining: u8,
    ) -> Result<(), Slow> {
        if mark - from > MOST_MARKS_BYTES {
            return Err(Slow(mark));
        }
        let mut to = mark;
        while to > from {
            let length = self.lowered[from..to].iter().rev().position(|&byte| byte & 0xC0 != 0x80);
            let before = to - 1 - length.ok_or(Slow(mark))?;
            let of = self.character(before).ok_or(Slow(mark))?;
            if of.combining <= combining {
                break;
            }
            if of.class != Class::Mark {
                return Err(Slow(mark));
            }
            to = before;
        }
        self.lowered[to..end].rotate_right(end - mark);
        Ok(())
    }

    /// Puts what the character from `base` on and that from `mark` to `end` are as one, which must be of this class, in place of both,
    /// at the end of these bytes. Returns where that starts; `None` if they stay two.
    pub(super) fn compose(
        &mut self,
        base: usize,
        mark: usize,
        end: usize,
        class: Class,
    ) -> Result<Option<usize>, Slow> {
        let pair = self.pair(base, mark, end).ok_or(Slow(mark))?;
        if pair.len == 0 {
            return Ok(None);
        }
        // Nothing that would have to be looked at again.
        if pair.class != class || pair.len > end - base {
            return Err(Slow(mark));
        }
        let start = end - pair.len;
        match (&mut self.lowered[start..end], pair.composed) {
            ([first, second], [a, b, ..]) => (*first, *second) = (a, b),
            ([first, second, third], [a, b, c, _]) => (*first, *second, *third) = (a, b, c),
            (bytes, composed) => bytes.copy_from_slice(&composed[..pair.len]),
        }
        match self.gaps.last_mut() {
            Some([_, to]) if usize::from(*to) == base => *to = start as u16,
            _ if start > base => self.gaps.push([base as u16, start as u16]),
            _ => {}
        }
        Ok(Some(start))
    }

    /// What is known of the characters from `base` and from `mark` on, the latter to `end`; `None` if these bytes are no characters.
    fn pair(&mut self, base: usize, mark: usize, end: usize) -> Option<Pair> {
        let bytes = |from: usize, to: usize| {
            let bytes = u32::from_le_bytes(*self.lowered[from..].first_chunk()?);
            (1..=4).contains(&(to - from)).then(|| bytes & u32::MAX >> (8 * (4 - (to - from))))
        };
        let of = [bytes(base, mark)?, bytes(mark, end)?];
        let at = (of[0].wrapping_mul(0x9E37_79B1) ^ of[1].wrapping_mul(0x85EB_CA77)) >> 24;
        let known = self.pairs[at as usize % PAIRS];
        if known.of == of {
            return Some(known);
        }
        let character =
            |from: usize, to: usize| std::str::from_utf8(&self.lowered[from..to]).ok()?.chars().next();
        let mut pair = Pair { of, ..Pair::NONE };
        if let Some(composed) = compose(character(base, mark)?, character(mark, end)?) {
            pair.len = composed.encode_utf8(&mut pair.composed).len();
            let of = characters::place(pair.composed).map(|place| self.characters.at(place));
            pair.class = of.filter(|of| of.lower[0] == 0).map_or(Class::Slow, |of| of.class);
        }
        self.pairs[at as usize % PAIRS] = pair;
        Some(pair)
    }
}

/// Moves what is in a word before each of its gaps to behind it, so that the word starts later. One that is over-long with its gaps
/// keeps them, as it counts as it stood.
pub(super) fn close_gaps(words: &mut [[u16; 2]], gaps: &[[u16; 2]], text: &mut [u8]) {
    let mut gaps = gaps.iter().peekable();
    for [start, end] in words {
        let is_over_long = usize::from(*end - *start) > MAX_WORD_BYTES;
        while let Some([from, to]) = gaps.next_if(|[_, to]| to <= end) {
            if from >= start && !is_over_long {
                let moved = *start + (to - from);
                text.copy_within(usize::from(*start)..usize::from(*from), usize::from(moved));
                *start = moved;
            }
        }
    }
}
