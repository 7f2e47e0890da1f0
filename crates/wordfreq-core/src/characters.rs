//! What a character beyond ASCII does to the words around it, where that can be said without looking far: the table behind the
//! kernel's path for prose in any script.
//!
//! What cannot be said so is [`Class::Slow`], and the tokenizer is asked. Pages of 64 characters are made when first needed, from
//! the tables that the tokenizer and `normalise` use. Not here: where words are (`kernel`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use unicode_normalization::{IsNormalized, is_nfc_quick};

use crate::profile::ProfileName;
use crate::simd::plain::{PAGES, Plain};
use crate::word_break::WordBreak;

/// How many characters the last bits of UTF-8 tell apart.
const PAGE: usize = 64;

/// Characters from here on are all slow: the planes behind hold hardly any.
const END: usize = 0x3_0000;

/// What a character does. All but `Slow`, `Break` and the composing ones are in NFC by themselves, and beside any other but those
/// and a `Mark` out of its place, and stay so in lower case, which takes as many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ask the tokenizer.
    Slow,
    /// Is part of no word, with a boundary on both sides unless a mark follows, or what is joined.
    Break,
    /// As ASCII letters do. In `whitespace`, whatever is part of a word.
    Letter,
    /// The same, where no ASCII quote follows.
    Hebrew,
    /// U+03A3, which is a letter like any other where a word starts; elsewhere its lower case depends on what is around it.
    Sigma,
    /// As ASCII digits do.
    Digit,
    /// Joins two letters or two digits between which it stands.
    MidBoth,
    MidLetter,
    MidDigit,
    /// Is a word by itself, with what is joined to it.
    Alone,
    /// Makes words with its like and what is joined to it, unless `_` stands beside.
    Katakana,
    /// Joins what is before it, and the rules do not see it.
    Joined,
    /// The same, and a symbol right behind joins it (WB3c): some that are `Break`, and some with letters in them, which are `Slow`.
    Joiner,
    /// The same, and among those it stands with it has a place, by its combining class.
    Mark,
    /// The same, and with what it follows it may be a single character in NFC. It may have no class, and then no place.
    Composing,
    /// A letter that may be a single character with the one it follows.
    ComposingLetter,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct Character {
    pub(crate) class: Class,
    /// Its lower case in UTF-8, of the same length; zeros if it is itself, or longer than this.
    pub(crate) lower: [u8; 3],
    /// Its canonical combining class, by which marks are in order.
    pub(crate) combining: u8,
    /// That of the last character it is composed of: a mark of a lower one would have come before that.
    pub(crate) trailing: u8,
    /// Whether whatever it is part of is a word, as some marks are letters.
    pub(crate) is_alphanumeric: bool,
}

impl Character {
    /// What stands for bytes that are not UTF-8.
    pub(crate) const REPLACEMENT: Self = Self::nobody(Class::Break);

    const fn nobody(class: Class) -> Self {
        Self { class, lower: [0; 3], combining: 0, trailing: 0, is_alphanumeric: false }
    }

    fn new(c: char, class: Class, lower: Option<[u8; 3]>) -> Self {
        let mut trailing = 0;
        decompose_canonical(c, |part| trailing = canonical_combining_class(part));
        let combining = canonical_combining_class(c);
        let is_alphanumeric = c.is_alphanumeric();
        Self { class, lower: lower.unwrap_or_default(), combining, trailing, is_alphanumeric }
    }
}

/// How a character stands in UTF-8: how long it is, and where it is in the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) len: usize,
    page: usize,
    at: usize,
}

/// The character that these bytes begin with, which is not ASCII; `None` if that is not UTF-8, or not in the tables.
#[inline(always)]
pub(crate) fn place(bytes: [u8; 4]) -> Option<Place> {
    let [a, b, c, d] = bytes;
    let low = |byte: u8| usize::from(byte & 0x3F);
    let follows = |byte: u8| byte & 0xC0 == 0x80;
    match a {
        0xC2..=0xDF if follows(b) => Some(Place { len: 2, page: usize::from(a & 0x1F), at: low(b) }),
        0xE0..=0xEF if follows(b) & follows(c) => {
            let page = usize::from(a & 0xF) << 6 | low(b);
            // A shorter form would have done.
            (page >= 0x800 / PAGE).then_some(Place { len: 3, page, at: low(c) })
        }
        0xF0 if follows(b) & follows(c) & follows(d) => {
            let page = low(b) << 6 | low(c);
            (0x1_0000 / PAGE..END / PAGE).contains(&page).then_some(Place { len: 4, page, at: low(d) })
        }
        _ => None,
    }
}

/// The tables of one rule.
#[derive(Debug)]
pub(crate) struct Characters {
    pages: [OnceLock<[Character; PAGE]>; END / PAGE],
    /// What is plain in the pages that are made: letters, what joins them, marks; and words by themselves.
    plain: [[AtomicU64; 4]; PAGES],
    describe: fn(char) -> Character,
}

impl Characters {
    const fn new(describe: fn(char) -> Character) -> Self {
        Self {
            pages: [const { OnceLock::new() }; END / PAGE],
            plain: [const { [const { AtomicU64::new(0) }; 4] }; PAGES],
            describe,
        }
    }

    /// The tables of `unicode` or `whitespace`.
    pub(crate) fn of(rule: ProfileName) -> &'static Self {
        static UNICODE: Characters = Characters::new(for_unicode);
        static WHITESPACE: Characters = Characters::new(for_whitespace);
        if rule == ProfileName::Unicode { &UNICODE } else { &WHITESPACE }
    }

    #[inline(always)]
    pub(crate) fn at(&self, place: Place) -> Character {
        let page = self.pages[place.page].get_or_init(|| self.page(place.page));
        page[place.at % PAGE]
    }

    /// What is plain in a page, as far as anyone has looked up a character of it.
    #[inline(always)]
    pub(crate) fn plain(&self, page: usize) -> Plain {
        let [letters, joined, marks, _] = &self.plain[page % PAGES];
        let bits = |bits: &AtomicU64| bits.load(Ordering::Relaxed);
        Plain { letters: bits(letters), joined: bits(joined), marks: bits(marks) }
    }

    /// Whether these bytes are a character that is known to be [`Class::Alone`], and its own lower case.
    #[inline(always)]
    pub(crate) fn is_alone(&self, [a, b, c]: [u8; 3]) -> bool {
        place([a, b, c, 0]).filter(|place| place.len == 3).is_some_and(|place| {
            let [.., alone] = &self.plain[place.page % PAGES];
            alone.load(Ordering::Relaxed) >> place.at & 1 == 1
        })
    }

    #[cold]
    fn page(&self, page: usize) -> [Character; PAGE] {
        let made: [Character; PAGE] = std::array::from_fn(|at| {
            let c = char::from_u32((page * PAGE + at) as u32);
            c.map_or(Character::nobody(Class::Slow), self.describe)
        });
        if let Some(plain) = self.plain.get(page) {
            for (at, of) in made.iter().enumerate().filter(|(_, of)| of.lower[0] == 0) {
                let kind = match of.class {
                    Class::Letter | Class::Hebrew => 0,
                    Class::Joined => 1,
                    Class::Mark => 2,
                    Class::Alone => 3,
                    _ => continue,
                };
                plain[kind].fetch_or(1 << at, Ordering::Relaxed);
            }
        }
        made
    }
}

/// The lower case of a character that neither its own case nor its neighbours can change the composition of; `None` of another.
fn plain_lower(c: char) -> Option<[u8; 3]> {
    let mut lower = c.to_lowercase();
    let (Some(lower), None) = (lower.next(), lower.next()) else { return None };
    let composed = |c: char| is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes;
    let same_class = canonical_combining_class(c) == canonical_combining_class(lower);
    if !composed(c) || !composed(lower) || !same_class || c.len_utf8() != lower.len_utf8() {
        return None;
    }
    let mut bytes = [0; 4];
    lower.encode_utf8(&mut bytes);
    match bytes {
        _ if c == lower => Some([0; 3]),
        [a, b, c, 0] => Some([a, b, c]),
        _ => None,
    }
}

/// Whether it has no case and no parts, and may be composed with what is before it.
fn is_composing(c: char) -> bool {
    let mut is_whole = true;
    decompose_canonical(c, |part| is_whole &= part == c);
    is_whole
        && is_nfc_quick(std::iter::once(c)) == IsNormalized::Maybe
        && c.to_lowercase().eq(std::iter::once(c))
}

/// U+03A3, in its lower case at the start of a word.
fn sigma() -> Character {
    Character::new('Σ', Class::Sigma, Some([0xCF, 0x83, 0]))
}

fn for_unicode(c: char) -> Character {
    use WordBreak as W;
    if c == 'Σ' {
        return sigma();
    }
    let plain = plain_lower(c);
    let class = match WordBreak::of(c) {
        W::Other | W::Pictographic if !c.is_alphanumeric() => Class::Break,
        W::Cr | W::Lf | W::Newline | W::WSegSpace | W::RegionalIndicator if !c.is_alphanumeric() => {
            Class::Break
        }
        W::Extend | W::Format if is_composing(c) => Class::Composing,
        W::ALetter if is_composing(c) && c.is_alphanumeric() => Class::ComposingLetter,
        _ if plain.is_none() => Class::Slow,
        W::Other => Class::Alone,
        W::Zwj => Class::Joiner,
        W::Extend | W::Format if canonical_combining_class(c) == 0 => Class::Joined,
        W::Extend | W::Format => Class::Mark,
        W::MidNumLet => Class::MidBoth,
        W::MidLetter => Class::MidLetter,
        W::MidNum => Class::MidDigit,
        // A word of nothing but these would not be one, and the kernel does not look.
        _ if !c.is_alphanumeric() => Class::Slow,
        W::ALetter => Class::Letter,
        W::HebrewLetter => Class::Hebrew,
        W::Numeric => Class::Digit,
        W::Katakana => Class::Katakana,
        _ => Class::Slow,
    };
    Character::new(c, class, plain)
}

fn for_whitespace(c: char) -> Character {
    if c == 'Σ' {
        return sigma();
    }
    let plain = plain_lower(c);
    let class = if c.is_whitespace() || c == char::REPLACEMENT_CHARACTER {
        Class::Break
    } else if is_composing(c) {
        Class::Composing
    } else if plain.is_none() {
        Class::Slow
    } else if canonical_combining_class(c) != 0 {
        Class::Mark
    } else {
        Class::Letter
    };
    Character::new(c, class, plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_found_where_its_bytes_say() {
        for c in '\u{80}'..=char::MAX {
            let mut bytes = [b' '; 4];
            c.encode_utf8(&mut bytes);
            match place(bytes) {
                Some(place) => {
                    assert_eq!((place.len, place.page * PAGE + place.at), (c.len_utf8(), c as usize));
                }
                None => assert!(c as usize >= END, "{c:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_utf8_is_no_character() {
        for bytes in [
            *b"\x80   ",
            *b"\xC3   ",
            *b"\xC1\x81  ",
            *b"\xE0\x9F\xBF ",
            *b"\xE2\x80  ",
            *b"\xF0\x8F\xBF\xBF",
            *b"\xF0\x9F\x98 ",
            *b"\xF4\x90\x80\x80",
            *b"\xFF\xFF\xFF\xFF",
        ] {
            assert!(place(bytes).is_none(), "{bytes:?}");
        }
        // A surrogate has a place, and nobody there.
        let surrogate =
            place(*b"\xED\xA0\x80 ").map(|place| Characters::of(ProfileName::Unicode).at(place).class);
        assert_eq!(surrogate, Some(Class::Slow));
    }
}
