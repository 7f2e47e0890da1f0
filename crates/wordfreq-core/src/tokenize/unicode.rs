//! The rule of profile `unicode`: the segments between word boundaries of Unicode Standard Annex #29 that hold an
//! alphanumeric character.
//!
//! A state machine over characters, so that no segment, line or run of marks needs to fit memory. U+FFFD, and an
//! invalid sequence which it stands for, is a boundary on both sides: the segment before it ends, and what follows
//! begins as at the start of a text, so that a combining mark right after it is a segment of its own.

use super::utf8::{Decoder, Piece};
use super::{Carried, MAX_WORD_BYTES, Token, is_alphanumeric};
use crate::scan::first_byte;
use crate::word_break::WordBreak;

#[derive(Debug, Default)]
pub(crate) struct Unicode {
    decoder: Decoder,
    segmenter: Segmenter,
}

impl Unicode {
    pub(super) fn feed(&mut self, chunk: &[u8], sink: &mut impl FnMut(Token<'_>)) {
        let Self { decoder, segmenter } = self;
        let mut keep = |segment: Segment<'_>| keep_words(segment, sink);
        decoder.feed(chunk, &mut |piece| segmenter.take(piece, &mut keep));
    }

    /// Hands over what the end of a text completes, and begins anew.
    pub(super) fn end(&mut self, sink: &mut impl FnMut(Token<'_>)) {
        let Self { decoder, segmenter } = self;
        let mut keep = |segment: Segment<'_>| keep_words(segment, sink);
        std::mem::take(decoder).finish(&mut |piece| segmenter.take(piece, &mut keep));
        segmenter.end_text("", &mut keep);
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.segmenter.carried.text.capacity() + self.segmenter.carried_pending.text.capacity()
    }
}

#[inline]
fn keep_words(segment: Segment<'_>, sink: &mut impl FnMut(Token<'_>)) {
    match segment {
        Segment::Text(text) if !is_alphanumeric(text) => {}
        Segment::Text(text) if text.len() <= MAX_WORD_BYTES => sink(Token::Word(text)),
        Segment::Text(_) | Segment::OverLong { alphanumeric: true } => sink(Token::OverLong),
        Segment::OverLong { alphanumeric: false } => {}
    }
}

/// What stands between two adjacent boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    /// The segment itself. One that was cut by the end of a chunk is at most [`MAX_WORD_BYTES`] long.
    Text(&'a str),
    /// A longer one, of which only this is known.
    OverLong { alphanumeric: bool },
}

/// What the rules know of the open segment, seen from its end. Extend, Format and ZWJ are skipped (WB4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Left {
    /// No segment is open: a boundary is here, and the rules see nothing across a boundary.
    #[default]
    Boundary,
    Cr,
    /// LF or Newline: nothing joins.
    Newline,
    /// WSegSpace with nothing skipped since.
    Space,
    ALetter,
    HebrewLetter,
    /// Hebrew_Letter and Single_Quote, joined by WB7a; a letter still joins by WB7.
    HebrewQuote,
    Numeric,
    Katakana,
    ExtendNumLet,
    /// An odd number of regional indicators: one more joins.
    RegionalIndicator,
    /// Anything else, to which nothing joins but what WB4 skips.
    Other,
}

/// What must come after a mid character, and anything WB4 skips, to join it to the open segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// WB6 and WB7.
    Letter,
    /// WB7b and WB7c.
    HebrewLetter,
    /// WB11 and WB12.
    Numeric,
}

impl Awaited {
    fn is(self, class: WordBreak) -> bool {
        use WordBreak::{ALetter, HebrewLetter, Numeric, PictographicALetter};
        match self {
            Self::Letter => matches!(class, ALetter | PictographicALetter | HebrewLetter),
            Self::HebrewLetter => class == HebrewLetter,
            Self::Numeric => class == Numeric,
        }
    }
}

/// What a character does to the open segment.
enum Step {
    /// It belongs to it, and the rules now see this.
    Join(Left),
    /// It belongs to it if what is awaited comes, or else starts the next.
    Await(Awaited),
    /// It starts the next.
    Break,
}

impl Left {
    /// The rules, for a character right of `self` that WB4 does not skip. `zwj`: it comes right after a ZWJ.
    #[inline]
    fn step(self, zwj: bool, class: WordBreak) -> Step {
        use WordBreak as C;
        match (self, class) {
            // WB3; then WB3a and WB3b.
            (Self::Cr, C::Lf) => Step::Join(Self::Newline),
            (Self::Cr | Self::Newline, _) | (_, C::Cr | C::Lf | C::Newline) => Step::Break,
            // WB3c.
            (_, C::Pictographic | C::PictographicALetter) if zwj => Step::Join(Self::of(class)),
            // WB3d.
            (Self::Space, C::WSegSpace) => Step::Join(Self::Space),
            // WB5, WB7, WB9, WB10, WB13b.
            (
                Self::ALetter | Self::HebrewLetter | Self::HebrewQuote | Self::Numeric | Self::ExtendNumLet,
                C::ALetter | C::PictographicALetter | C::HebrewLetter,
            ) => Step::Join(Self::of(class)),
            // WB8, WB9, WB13b.
            (Self::ALetter | Self::HebrewLetter | Self::Numeric | Self::ExtendNumLet, C::Numeric) => {
                Step::Join(Self::Numeric)
            }
            // WB13, WB13b.
            (Self::Katakana | Self::ExtendNumLet, C::Katakana) => Step::Join(Self::Katakana),
            // WB13a.
            (
                Self::ALetter | Self::HebrewLetter | Self::Numeric | Self::Katakana | Self::ExtendNumLet,
                C::ExtendNumLet,
            ) => Step::Join(Self::ExtendNumLet),
            // WB7a.
            (Self::HebrewLetter, C::SingleQuote) => Step::Join(Self::HebrewQuote),
            // WB7b, WB6, WB12.
            (Self::HebrewLetter, C::DoubleQuote) => Step::Await(Awaited::HebrewLetter),
            (Self::ALetter | Self::HebrewLetter, C::MidLetter | C::MidNumLet | C::SingleQuote) => {
                Step::Await(Awaited::Letter)
            }
            (Self::Numeric, C::MidNum | C::MidNumLet | C::SingleQuote) => Step::Await(Awaited::Numeric),
            // WB15, WB16.
            (Self::RegionalIndicator, C::RegionalIndicator) => Step::Join(Self::Other),
            // WB999.
            _ => Step::Break,
        }
    }

    /// Whether ASCII letters, digits and `_` join, each of them and whatever comes of it.
    fn joins_word_bytes(self) -> bool {
        matches!(self, Self::ALetter | Self::Numeric | Self::ExtendNumLet)
    }

    /// What the rules see of a segment that has just begun with, or been joined by, a character of `class`.
    #[inline]
    fn of(class: WordBreak) -> Self {
        use WordBreak as C;
        match class {
            C::Cr => Self::Cr,
            C::Lf | C::Newline => Self::Newline,
            C::WSegSpace => Self::Space,
            C::ALetter | C::PictographicALetter => Self::ALetter,
            C::HebrewLetter => Self::HebrewLetter,
            C::Numeric => Self::Numeric,
            C::Katakana => Self::Katakana,
            C::ExtendNumLet => Self::ExtendNumLet,
            C::RegionalIndicator => Self::RegionalIndicator,
            C::Other
            | C::Pictographic
            | C::Extend
            | C::Zwj
            | C::Format
            | C::SingleQuote
            | C::DoubleQuote
            | C::MidNumLet
            | C::MidLetter
            | C::MidNum => Self::Other,
        }
    }
}

/// Finds segments across pieces of text.
#[derive(Debug, Default)]
pub(super) struct Segmenter {
    left: Left,
    /// The last character is a ZWJ.
    zwj: bool,
    /// The open segment is followed by a mid character, and anything WB4 skips, that this decides about. `left` is
    /// from before it.
    awaited: Option<Awaited>,
    /// Of the open segment, what earlier pieces held.
    carried: Carried,
    /// Of the part being decided about, what earlier pieces held.
    carried_pending: Carried,
}

impl Segmenter {
    pub(super) fn take(&mut self, piece: Piece<'_>, sink: &mut impl FnMut(Segment<'_>)) {
        match piece {
            Piece::Text(text) => self.take_text(text, sink),
            Piece::Invalid(_) => self.end_text("", sink),
        }
    }

    fn take_text(&mut self, text: &str, sink: &mut impl FnMut(Segment<'_>)) {
        // Of the open segment, `text[start..pending]` is in this piece, and `text[pending..position]` of the part
        // being decided about.
        let mut start = 0;
        let mut pending = 0;
        let mut position = 0;
        while position < text.len() {
            if self.left == Left::Boundary {
                position = ascii_segments(text, position, sink);
                start = position;
            } else if self.awaited.is_none() && self.left.joins_word_bytes() {
                // All of a run join, and the rules see its last one only. A word may have no end.
                position += word_bytes(&text.as_bytes()[position..]).saturating_sub(1);
            }
            let Some(c) = text[position..].chars().next() else {
                break;
            };
            let end = position + c.len_utf8();
            // Newline is a boundary on both sides whatever the neighbours, which is what U+FFFD is to be.
            let class = if c == char::REPLACEMENT_CHARACTER { WordBreak::Newline } else { WordBreak::of(c) };

            if self.left == Left::Boundary {
                self.left = Left::of(class);
            } else if matches!(class, WordBreak::Extend | WordBreak::Format | WordBreak::Zwj)
                && !matches!(self.left, Left::Cr | Left::Newline)
            {
                // WB4; WB3d wants its spaces side by side.
                if self.left == Left::Space {
                    self.left = Left::Other;
                }
            } else if let Some(awaited) = self.awaited {
                self.awaited = None;
                if awaited.is(class) {
                    self.carried.append(&mut self.carried_pending);
                    self.left = Left::of(class);
                } else {
                    // The pending part is the next segment, and this character is seen again from its end.
                    self.end_segment(&text[start..pending], sink);
                    std::mem::swap(&mut self.carried, &mut self.carried_pending);
                    start = pending;
                    self.left = Left::Other;
                    continue;
                }
            } else {
                match self.left.step(self.zwj, class) {
                    Step::Join(left) => self.left = left,
                    Step::Await(awaited) => {
                        self.awaited = Some(awaited);
                        pending = position;
                    }
                    Step::Break => {
                        self.end_segment(&text[start..position], sink);
                        self.left = Left::Boundary;
                        self.zwj = false;
                        start = position;
                        continue;
                    }
                }
            }
            self.zwj = class == WordBreak::Zwj;
            position = end;
        }
        if self.awaited.is_some() {
            self.carried.push(&text[start..pending]);
            self.carried_pending.push(&text[pending..]);
        } else {
            self.carried.push(&text[start..]);
        }
    }

    /// Ends what is open, of which `last` is what has not been carried.
    pub(super) fn end_text(&mut self, last: &str, sink: &mut impl FnMut(Segment<'_>)) {
        self.end_segment(last, sink);
        std::mem::swap(&mut self.carried, &mut self.carried_pending);
        self.end_segment("", sink);
        self.left = Left::Boundary;
        self.zwj = false;
        self.awaited = None;
    }

    /// Ends the open segment, of which `last` is what has not been carried.
    #[inline]
    fn end_segment(&mut self, last: &str, sink: &mut impl FnMut(Segment<'_>)) {
        if self.carried.is_empty() {
            if !last.is_empty() {
                sink(Segment::Text(last));
            }
            return;
        }
        self.carried.push(last);
        sink(if self.carried.over_long {
            Segment::OverLong { alphanumeric: self.carried.alphanumeric }
        } else {
            Segment::Text(&self.carried.text)
        });
        self.carried.clear();
    }
}

/// Hands over the segments from `position`, a boundary, on, as long as ASCII alone decides where they end. Returns
/// the boundary it came to.
///
/// The rules for ASCII: letters, digits and `_` join; `'`, `.` and `:` join two letters; `'`, `.`, `,` and `;` join
/// two digits; spaces join, and CR with LF; anything else stands alone.
fn ascii_segments(text: &str, mut position: usize, sink: &mut impl FnMut(Segment<'_>)) -> usize {
    let bytes = text.as_bytes();
    while let Some(&first) = bytes.get(position) {
        let mut end = position + 1;
        if is_word_byte(first) {
            loop {
                while end < bytes.len() && is_word_byte(bytes[end]) {
                    end += 1;
                }
                let [before, mid, after] = match bytes.get(end - 1..end + 2) {
                    Some(&[before, mid, after]) => [before, mid, after],
                    _ => return position,
                };
                if !mid.is_ascii() {
                    return position;
                }
                let joins = match mid {
                    b'\'' | b'.' | b':' | b',' | b';' if !after.is_ascii() => return position,
                    b'\'' | b'.' => {
                        before.is_ascii_alphabetic() && after.is_ascii_alphabetic()
                            || before.is_ascii_digit() && after.is_ascii_digit()
                    }
                    b':' => before.is_ascii_alphabetic() && after.is_ascii_alphabetic(),
                    b',' | b';' => before.is_ascii_digit() && after.is_ascii_digit(),
                    _ => false,
                };
                if !joins {
                    break;
                }
                end += 2;
            }
        } else {
            match first {
                b' ' => {
                    while end < bytes.len() && bytes[end] == b' ' {
                        end += 1;
                    }
                }
                b'\r' if bytes.get(end) == Some(&b'\n') => end += 1,
                _ => {}
            }
            if !first.is_ascii() || !bytes.get(end).is_some_and(u8::is_ascii) {
                return position;
            }
        }
        sink(Segment::Text(&text[position..end]));
        position = end;
    }
    position
}

#[inline]
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | (byte == b'_')
}

/// How many of these `text` begins with.
fn word_bytes(text: &[u8]) -> usize {
    first_byte(text, |byte| !is_word_byte(byte)).unwrap_or(text.len())
}
