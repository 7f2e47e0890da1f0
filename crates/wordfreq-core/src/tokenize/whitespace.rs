//! The rule of profile `whitespace`: maximal runs of characters that are neither White_Space nor U+FFFD.
//!
//! An invalid sequence separates words as U+FFFD does.

use super::utf8::{Decoder, Piece};
use super::{Carried, MAX_WORD_BYTES, Token};
use crate::scan::{first_byte, is_space};

#[derive(Debug, Default)]
pub(crate) struct Whitespace {
    decoder: Decoder,
    runs: Runs,
}

impl Whitespace {
    pub(super) fn feed(&mut self, chunk: &[u8], sink: &mut impl FnMut(Token<'_>)) {
        let Self { decoder, runs } = self;
        decoder.feed(chunk, &mut |piece| runs.take(piece, sink));
    }

    /// Hands over what the end of a text completes, and begins anew.
    pub(super) fn end(&mut self, sink: &mut impl FnMut(Token<'_>)) {
        let Self { decoder, runs } = self;
        std::mem::take(decoder).finish(&mut |piece| runs.take(piece, sink));
        runs.end("", sink);
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.runs.carried.text.capacity()
    }
}

/// The run that the last piece left open.
#[derive(Debug, Default)]
struct Runs {
    carried: Carried,
}

impl Runs {
    fn take(&mut self, piece: Piece<'_>, sink: &mut impl FnMut(Token<'_>)) {
        let Piece::Text(text) = piece else {
            return self.end("", sink);
        };
        let mut start = 0;
        let bytes = text.as_bytes();
        let mut position = 0;
        while let Some(next) = first_byte(&bytes[position..], may_separate) {
            position += next;
            let c = char_at(text, position);
            let end = position + c.len_utf8();
            if c.is_whitespace() || c == char::REPLACEMENT_CHARACTER {
                self.end(&text[start..position], sink);
                start = end;
            }
            position = end;
        }
        if start < text.len() {
            self.carried.push(&text[start..]);
        }
    }

    /// Ends the open run, of which `last` is the part that has not been carried.
    #[inline]
    fn end(&mut self, last: &str, sink: &mut impl FnMut(Token<'_>)) {
        if !self.carried.is_empty() {
            self.carried.push(last);
            sink(if self.carried.over_long { Token::OverLong } else { Token::Word(&self.carried.text) });
            self.carried.clear();
        } else if !last.is_empty() {
            sink(if last.len() > MAX_WORD_BYTES { Token::OverLong } else { Token::Word(last) });
        }
    }
}

/// Whether a separator may begin with this byte of a valid text: U+0085, U+00A0, U+1680, U+2000 and others, U+3000, U+FFFD.
#[inline]
fn may_separate(byte: u8) -> bool {
    is_space(byte) | matches!(byte, 0xC2 | 0xE1..=0xE3 | 0xEF)
}

/// The character that starts at `position`, which must be a character's start within `text`.
fn char_at(text: &str, position: usize) -> char {
    text[position..].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_separator_begins_with_a_byte_that_may() {
        for c in ('\0'..=char::MAX).filter(|c| c.is_whitespace() || *c == char::REPLACEMENT_CHARACTER) {
            assert!(may_separate(c.to_string().as_bytes()[0]), "{c:?}");
        }
    }
}
