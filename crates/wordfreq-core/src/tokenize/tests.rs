//! Proves segmentation against the Unicode test file and an independent implementation, and memory against inputs
//! that never end a word. Whole profiles are judged in the crate's `tests` directory.

use std::path::Path;

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::unicode::{Segment, Segmenter};
use super::utf8::Piece;
use super::{MAX_TOKEN_BYTES, MAX_WORD_BYTES, Token, Tokenizer};
use crate::counter::CountError;
use crate::profile::ProfileName;
use crate::word_break::WordBreak;

/// The segments of a text given in pieces.
fn segments<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut segments = Vec::new();
    let mut sink = |segment: Segment<'_>| match segment {
        Segment::Text(text) => segments.push(text.to_owned()),
        Segment::OverLong { .. } => panic!("the tests on single segments use short ones"),
    };
    let mut segmenter = Segmenter::default();
    for piece in pieces {
        segmenter.take(Piece::Text(piece), &mut sink);
    }
    segmenter.end_text("", &mut sink);
    segments
}

fn characters(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()])
}

#[test]
fn segments_are_those_of_the_unicode_test_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/unicode/WordBreakTest.txt");
    let file = std::fs::read_to_string(&path).expect("the test file is part of the project");
    let mut cases = 0;
    for line in file.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let expected: Vec<String> = line
            .split('÷')
            .map(str::trim)
            .filter(|segment| !segment.is_empty())
            .map(|segment| {
                let scalars =
                    segment.split('×').map(|hex| u32::from_str_radix(hex.trim(), 16).expect("a code point"));
                scalars.map(|scalar| char::from_u32(scalar).expect("a scalar value")).collect()
            })
            .collect();
        let text = expected.concat();
        assert_eq!(segments([text.as_str()]), expected, "{line}");
        assert_eq!(segments(characters(&text)), expected, "{line}, a character at a time");
        cases += 1;
    }
    assert_eq!(cases, 1944);
}

/// Characters of every class, several where a class has members that could be told apart, and ASCII ones for which
/// there is a path of their own.
const TRICKY: &str = "aZé09_٣ '\".:,;·’״/-\t\r\n\u{B}\u{85}\u{2028}\u{3000}\u{2003}\u{A0}אבカー々한각\u{1100}\u{1161}\u{11A8}\
    \u{301}\u{308}\u{345}\u{93E}\u{94D}क\u{200C}\u{200D}\u{200D}\u{AD}\u{FEFF}\u{FE0F}🇦🇧👩🛑🏽Ⓜℹ©\u{212A}İΣσß中ไ\u{202F}\u{203F}\u{1}";

fn tricky_text(longest: usize) -> impl Strategy<Value = String> {
    let alphabet: Vec<char> = TRICKY.chars().collect();
    prop::collection::vec(prop::sample::select(alphabet), 0..longest).prop_map(String::from_iter)
}

/// A text and where to cut it, at characters' boundaries.
fn cut(text: &str, cuts: &[prop::sample::Index]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in cuts.into_iter().chain([chars.len()]) {
        pieces.push(chars[from..to].iter().collect());
        from = to;
    }
    pieces
}

/// The rules of UAX #29 read off one by one for each position, with all the text in view.
fn segments_by_the_letter(text: &str) -> Vec<String> {
    use WordBreak as C;
    let chars: Vec<char> = text.chars().collect();
    let class = |at: usize| WordBreak::of(chars[at]);
    let skipped = |class| matches!(class, C::Extend | C::Format | C::Zwj);
    let line_end = |class| matches!(class, C::Cr | C::Lf | C::Newline);
    let letter = |class| matches!(class, C::ALetter | C::PictographicALetter | C::HebrewLetter);
    // The character WB4 leaves standing for the one before `at`.
    let before = |at: usize| {
        let mut at = at.checked_sub(1)?;
        while skipped(class(at)) && at > 0 && !line_end(class(at - 1)) {
            at -= 1;
        }
        Some(at)
    };
    let after = |at: usize| (at + 1..chars.len()).find(|&at| !skipped(class(at)));

    let is_boundary = |at: usize| {
        let (raw, right) = (class(at - 1), class(at));
        if raw == C::Cr && right == C::Lf {
            return false; // WB3
        }
        if line_end(raw) || line_end(right) {
            return true; // WB3a, WB3b
        }
        if raw == C::Zwj && matches!(right, C::Pictographic | C::PictographicALetter) {
            return false; // WB3c
        }
        if raw == C::WSegSpace && right == C::WSegSpace || skipped(right) {
            return false; // WB3d, WB4
        }
        let Some(left_at) = before(at) else { return true };
        let left = class(left_at);
        let left_of_left = before(left_at).map(class);
        let right_of_right = after(at).map(class);
        let mid_letter = |class| matches!(class, C::MidLetter | C::MidNumLet | C::SingleQuote);
        let mid_number = |class| matches!(class, C::MidNum | C::MidNumLet | C::SingleQuote);
        let joins = letter(left) && letter(right) // WB5
            || letter(left) && mid_letter(right) && right_of_right.is_some_and(letter) // WB6
            || left_of_left.is_some_and(letter) && mid_letter(left) && letter(right) // WB7
            || left == C::HebrewLetter && right == C::SingleQuote // WB7a
            || left == C::HebrewLetter && right == C::DoubleQuote && right_of_right == Some(C::HebrewLetter) // WB7b
            || left_of_left == Some(C::HebrewLetter) && left == C::DoubleQuote && right == C::HebrewLetter // WB7c
            || (left == C::Numeric || letter(left)) && right == C::Numeric // WB8, WB9
            || left == C::Numeric && letter(right) // WB10
            || left_of_left == Some(C::Numeric) && mid_number(left) && right == C::Numeric // WB11
            || left == C::Numeric && mid_number(right) && right_of_right == Some(C::Numeric) // WB12
            || left == C::Katakana && right == C::Katakana // WB13
            || (letter(left) || matches!(left, C::Numeric | C::Katakana | C::ExtendNumLet))
                && right == C::ExtendNumLet // WB13a
            || left == C::ExtendNumLet && (letter(right) || matches!(right, C::Numeric | C::Katakana)); // WB13b
        if left == C::RegionalIndicator && right == C::RegionalIndicator {
            let mut indicators = 0;
            let mut at = Some(left_at);
            while let Some(indicator) = at.filter(|&at| class(at) == C::RegionalIndicator) {
                indicators += 1;
                at = before(indicator);
            }
            return indicators % 2 == 0; // WB15, WB16
        }
        !joins // WB999
    };

    let mut segments = Vec::new();
    for (at, &c) in chars.iter().enumerate() {
        if at == 0 || is_boundary(at) {
            segments.push(String::new());
        }
        segments.last_mut().expect("a segment is open").push(c);
    }
    segments
}

/// The crate `unicode-segmentation`, or nothing where it departs from the standard. It does not see that a letter
/// which is Extended_Pictographic, such as U+24C2, is still a letter after a ZWJ; and it joins a mid character to the
/// letter before it, whatever follows, if a ZWJ and an Extended_Pictographic do.
fn segments_of_the_peer(text: &str) -> Option<Vec<&str>> {
    use WordBreak as C;
    let classes: Vec<WordBreak> = text.chars().map(WordBreak::of).collect();
    let departs = (1..classes.len()).any(|at| match (classes[at - 1], classes[at]) {
        (C::Zwj, C::PictographicALetter) => true,
        (C::Zwj, C::Pictographic) => {
            let held =
                classes[..at].iter().rev().find(|class| !matches!(class, C::Extend | C::Format | C::Zwj));
            held.is_some_and(|class| {
                matches!(class, C::SingleQuote | C::DoubleQuote | C::MidNumLet | C::MidLetter | C::MidNum)
            })
        }
        _ => false,
    });
    (!departs).then(|| text.split_word_bounds().collect())
}

fn assert_segments(text: &str) {
    let found = segments([text]);
    assert_eq!(found, segments_by_the_letter(text), "{text:?}");
    if let Some(expected) = segments_of_the_peer(text) {
        assert_eq!(found, expected, "{text:?}, by the peer");
    }
}

/// Every text of four characters out of one of each class that is not alone in its behaviour.
#[test]
fn short_texts_of_all_classes_segment_by_the_standard() {
    let alphabet: Vec<char> = "aא0_'\".:, \rカ\u{301}\u{200D}🇦🛑Ⓜ".chars().collect();
    let n = alphabet.len();
    for number in 0..n.pow(4) {
        let text: String = (0..4).map(|place| alphabet[number / n.pow(place) % n]).collect();
        assert_segments(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn tricky_texts_segment_by_the_standard(
        text in tricky_text(24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        assert_segments(&text);
        let pieces = cut(&text, &cuts);
        let expected = segments_by_the_letter(&text);
        prop_assert_eq!(&segments(pieces.iter().map(String::as_str)), &expected, "cut into {:?}", pieces);
    }

    #[test]
    fn any_text_segments_by_the_standard(text in any::<String>()) {
        assert_segments(&text.replace('\u{FFFD}', ""));
    }
}

/// Feeds `unit` over and over, a thousand times what may be held, and returns the greatest memory held between chunks, the words and the
/// over-long words found, and the end.
fn feed_much_of(rule: ProfileName, prefix: &str, unit: &str) -> (usize, u64, u64, Result<(), CountError>) {
    const MUCH: usize = 4 << 20;
    // Chunks end within characters too: their length is no multiple of the unit's.
    let chunk = unit.repeat((1 << 16) / unit.len() + 1);
    let (mut words, mut over_long) = (0, 0);
    let mut sink = |token: Token<'_>| match token {
        Token::Word(_) => words += 1,
        Token::OverLong => over_long += 1,
    };
    let mut tokenizer = Tokenizer::new(rule);
    let mut held = 0;
    tokenizer.feed(prefix.as_bytes(), &mut sink);
    let mut fed = 0;
    let mut offset = 0;
    while fed < MUCH {
        let chunk = &chunk.as_bytes()[offset..];
        // The next chunk goes on where this one ends, which is a byte before the end of a unit.
        let chunk = &chunk[..chunk.len() - 1];
        offset = unit.len() - 1;
        tokenizer.feed(chunk, &mut sink);
        fed += chunk.len();
        held = held.max(tokenizer.held_bytes());
    }
    let end = tokenizer.finish(&mut sink);
    (held, words, over_long, end)
}

#[test]
fn memory_is_bounded_whatever_never_ends() {
    // Unit, what stands before it, and how many over-long words `unicode` finds.
    let inputs = [
        ("a", "", 1),
        ("\u{301}", "", 0),
        ("\u{301}", "a", 1),
        // A mid character is held until something other than a mark follows.
        ("\u{301}", "a'", 0),
        ("\u{301}", "1,", 0),
        ("\u{301}", "א\"", 0),
        ("\u{200D}", "a.", 0),
        // Marks that are alphanumeric make the held part a word of its own.
        ("\u{93E}", "a'", 1),
        ("'", "a", 0),
        (" ", "", 0),
        ("a'", "", 1),
        ("🇦", "", 0),
        ("\n", "", 0),
        ("中", "", 0),
    ];
    for (unit, prefix, expected) in inputs {
        let (held, _, over_long, end) = feed_much_of(ProfileName::Unicode, prefix, unit);
        assert!(held <= 4 * MAX_WORD_BYTES, "{held} bytes held of {unit:?} after {prefix:?}");
        assert_eq!(over_long, expected, "{unit:?} after {prefix:?}");
        assert_eq!(end, Ok(()));
    }

    let (held, words, over_long, end) = feed_much_of(ProfileName::Whitespace, "", "é");
    assert!(held <= 2 * MAX_WORD_BYTES, "{held} bytes held");
    assert_eq!((words, over_long, end), (0, 1, Ok(())));

    for unit in ["a", "é", "\u{301}"] {
        let (held, words, over_long, end) = feed_much_of(ProfileName::GoSample, "one ", unit);
        assert!(held <= 4 * MAX_TOKEN_BYTES, "{held} bytes held");
        assert_eq!((words, over_long, end), (1, 0, Err(CountError::TokenTooLong { offset: 4 })));
    }
}

#[test]
fn memory_is_bounded_when_nothing_is_valid() {
    for rule in ProfileName::ALL {
        let mut tokenizer = Tokenizer::new(rule);
        let chunk = vec![0xF0; 1 << 16];
        for _ in 0..64 {
            tokenizer.feed(&chunk, &mut |token| panic!("{token:?} is no word"));
            assert!(tokenizer.held_bytes() <= 4 * MAX_TOKEN_BYTES);
        }
    }
}
