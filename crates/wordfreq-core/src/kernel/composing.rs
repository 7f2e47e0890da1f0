//! Letters and marks as NFC has them, in place: marks in their order, and what is one character of what was two.
//!
//! What is one takes the end of the bytes that both had; those before it are a gap, which is closed when it is known in which word it is.
//! Not here: which characters may need it (`characters`), and when it is asked for (`kernel`).

use unicode_normalization::char::compose;

use super::{Kernel, Run, Slow, has};
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
    /// In UTF-8, little-endian.
    composed: u32,
    /// In bytes; 0 if they stay two.
    len: usize,
    /// Of what is composed; `Slow` if it had to be looked at again.
    class: Class,
}

impl Pair {
    pub(super) const NONE: Self = Self { of: [0; 2], composed: 0, len: 0, class: Class::Slow };

    /// Where the pair of these bytes is remembered.
    #[inline]
    fn place([base, mark]: [u32; 2]) -> usize {
        (base.wrapping_mul(0x9E37_79B1) ^ mark.wrapping_mul(0x85EB_CA77)) as usize >> 24 & (PAIRS - 1)
    }
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
        Ok(Some(self.put_pair(pair, base, end)))
    }

    /// Composes the ASCII letter before `place` with the marks that are there, of those that go with letters (U+0300 to U+036F), as long as
    /// it is known that each becomes a letter with what is before it. Returns where what is next is, if there was any such.
    #[inline]
    pub(super) fn compose_letter(&mut self, place: usize, cut: usize) -> Option<usize> {
        if !matches!(self.lowered[place], 0xCC | 0xCD) {
            return None;
        }
        let base = place.checked_sub(1)?;
        let letter = self.lowered[base];
        let is_in_word =
            if self.unicode { has(&self.masks.letter, base) } else { !has(&self.masks.space, base) };
        if !is_in_word || !letter.is_ascii_lowercase() {
            return None;
        }
        let mut composed = Pair { composed: letter.into(), len: 1, ..Pair::NONE };
        let mut end = place;
        while end + 2 <= cut {
            let &mark = self.lowered[end..].first_chunk()?;
            if !matches!(mark, [0xCC | 0xCD, _]) {
                break;
            }
            let of = [composed.composed, u32::from(u16::from_le_bytes(mark))];
            let pair = self.pairs[Pair::place(of)];
            // Two marks are in order if there is such a letter.
            if pair.of != of || pair.class != Class::Letter || pair.len > composed.len + 2 {
                break;
            }
            composed = pair;
            end += 2;
        }
        if end == place {
            return None;
        }
        let start = end - composed.len;
        // With no branch on how long it is, which cannot be foretold.
        if let Some(four) = self.lowered[..end].last_chunk_mut() {
            let over = 8 * (4 - composed.len);
            let before = u32::from_le_bytes(*four) & !(u32::MAX << over);
            *four = (before | composed.composed << over).to_le_bytes();
        } else {
            self.lowered[start..end].copy_from_slice(&composed.composed.to_le_bytes()[..composed.len]);
        }
        if start > base {
            self.gaps.push([base as u16, start as u16]);
        }
        self.put(Run::Letter, place, end);
        Some(end)
    }

    /// Puts what a pair is as one at the end of the bytes from `base` to `end` that were both. Returns where it starts.
    #[inline]
    fn put_pair(&mut self, pair: Pair, base: usize, end: usize) -> usize {
        let start = end - pair.len;
        match (&mut self.lowered[start..end], pair.composed.to_le_bytes()) {
            ([first, second], [a, b, ..]) => (*first, *second) = (a, b),
            ([first, second, third], [a, b, c, _]) => (*first, *second, *third) = (a, b, c),
            (bytes, composed) => bytes.copy_from_slice(&composed[..pair.len]),
        }
        match self.gaps.last_mut() {
            Some([_, to]) if usize::from(*to) == base => *to = start as u16,
            _ if start > base => self.gaps.push([base as u16, start as u16]),
            _ => {}
        }
        start
    }

    /// What is known of the characters from `base` and from `mark` on, the latter to `end`; `None` if these bytes are no characters.
    fn pair(&mut self, base: usize, mark: usize, end: usize) -> Option<Pair> {
        let bytes = |from: usize, to: usize| {
            let bytes = u32::from_le_bytes(*self.lowered[from..].first_chunk()?);
            (1..=4).contains(&(to - from)).then(|| bytes & u32::MAX >> (8 * (4 - (to - from))))
        };
        let of = [bytes(base, mark)?, bytes(mark, end)?];
        let at = Pair::place(of);
        let known = self.pairs[at];
        if known.of == of {
            return Some(known);
        }
        let character =
            |from: usize, to: usize| std::str::from_utf8(&self.lowered[from..to]).ok()?.chars().next();
        let mut pair = Pair { of, ..Pair::NONE };
        if let Some(composed) = compose(character(base, mark)?, character(mark, end)?) {
            let mut bytes = [0; 4];
            pair.len = composed.encode_utf8(&mut bytes).len();
            pair.composed = u32::from_le_bytes(bytes);
            let of = characters::place(bytes).map(|place| self.characters.at(place));
            pair.class = of.filter(|of| of.lower[0] == 0).map_or(Class::Slow, |of| of.class);
        }
        self.pairs[at] = pair;
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
                move_up(text, usize::from(*start), usize::from(from - *start), usize::from(moved));
                *start = moved;
            }
        }
    }
}

/// Moves `len` bytes from `from` to `to`, which is behind it.
#[inline]
fn move_up(text: &mut [u8], from: usize, len: usize, to: usize) {
    let eight = |at: usize| text[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    // Nearly all are short, and a call takes longer than that.
    match (len, eight(from), eight(to)) {
        (0..=7, Some(bytes), Some(behind)) => {
            let moved = !(u64::MAX << (8 * len));
            text[to..to + 8].copy_from_slice(&(bytes & moved | behind & !moved).to_le_bytes());
        }
        _ => text.copy_within(from..from + len, to),
    }
}
