//! Whole profiles: against a naive oracle, at every chunking, with invalid bytes, at the limits, and cut at certain
//! boundaries. What is particular to `go-sample` is in `go_sample.rs`.

use proptest::prelude::*;
use proptest::sample::Index;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;
use wordfreq_core::{
    CountError, Counter, Counts, MAX_WORD_BYTES, Profile, ProfileName, certain_boundary, count,
};

const NORMALISING: [ProfileName; 2] = [ProfileName::Unicode, ProfileName::Whitespace];

fn count_whole(name: ProfileName, bytes: &[u8]) -> Counts {
    count(&Profile::new(name), bytes).expect("only a token over 64 KiB can fail")
}

fn count_chunks<'a>(
    profile: &Profile,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Counts, CountError> {
    let mut counter = Counter::new(profile);
    for chunk in chunks {
        counter.feed(chunk);
    }
    counter.finish()
}

/// The definition of the two normalising profiles, with everything in memory.
fn oracle(profile: &Profile, bytes: &[u8]) -> Counts {
    let text = String::from_utf8_lossy(bytes);
    let mut counts = Counts::new();
    counts.add_totals(bytes.len() as u64, 0);
    for part in text.split('\u{FFFD}') {
        let words: Vec<&str> = match profile.name {
            ProfileName::Unicode => part.unicode_words().collect(),
            ProfileName::Whitespace => part.split_whitespace().collect(),
            ProfileName::GoSample => panic!("go-sample does not normalise"),
        };
        for source in words {
            if source.len() > MAX_WORD_BYTES {
                counts.add_totals(0, 1);
                continue;
            }
            let word: String = source.nfc().collect::<String>().to_lowercase().nfc().collect();
            if profile.min_length <= 1 || word.chars().count() >= profile.min_length as usize {
                counts.add(&word, 1);
            }
        }
    }
    counts
}

/// Words and characters whose neighbourhood matters, as bytes: some are cut short or were never UTF-8. An
/// Extended_Pictographic comes after a letter only, as elsewhere `unicode-segmentation` departs from the standard;
/// the tests of segmentation judge that.
fn tricky_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let units: Vec<&[u8]> = [
        "a",
        "The",
        "can't",
        "Z",
        "é",
        "E\u{301}",
        "0",
        "3.14",
        "1,000",
        "_",
        "'",
        "\"",
        ".",
        ":",
        ",",
        ";",
        "·",
        "’",
        "-",
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "\u{B}",
        "\u{85}",
        "\u{A0}",
        "\u{2028}",
        "\u{3000}",
        "א",
        "ב",
        "א\"",
        "カ",
        "ー",
        "々",
        "한",
        "\u{1100}",
        "\u{1161}",
        "\u{11A8}",
        "\u{301}",
        "\u{323}",
        "\u{345}",
        "\u{93E}",
        "\u{94D}",
        "क",
        "\u{200C}",
        "\u{200D}",
        "\u{AD}",
        "\u{FEFF}",
        "x👩",
        "x👩\u{200D}🛑",
        "xⓂ",
        "🇦",
        "🇧",
        "\u{212A}",
        "\u{212B}",
        "İ",
        "Σ",
        "ΑΣ",
        "σ",
        "ς",
        "ß",
        "ẞ",
        "ǅ",
        "中",
        "ไ",
        "\u{FFFD}",
        "\u{FFFC}",
        "\u{1}",
        "\u{0}",
    ]
    .iter()
    .map(|text| text.as_bytes())
    .chain([
        &b"\xFF"[..],
        b"\x80",
        b"\xC3",
        b"\xE2\x80",
        b"\xF0\x9F\x98",
        b"\xED\xA0\x80",
        b"\xC0\xAF",
        b"\xF5",
    ])
    .collect();
    prop::collection::vec(prop::sample::select(units), 0..most).prop_map(|units| units.concat())
}

fn any_profile() -> impl Strategy<Value = Profile> {
    (prop::sample::select(&ProfileName::ALL[..]), 0..5u32)
        .prop_map(|(name, min_length)| Profile { name, min_length })
}

fn chunks<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut chunks = Vec::new();
    let mut from = 0;
    for to in cuts.into_iter().chain([bytes.len()]) {
        chunks.push(&bytes[from..to]);
        from = to;
    }
    chunks
}

/// The same counts with U+FFFD written out, but for the bytes, which are more.
fn assert_same_words(a: &Counts, b: &Counts) {
    assert_eq!(a.ranked(), b.ranked());
    assert_eq!((a.words(), a.distinct(), a.over_long()), (b.words(), b.distinct(), b.over_long()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn tricky_bytes_count_as_the_definition_says(bytes in tricky_bytes(30), min_length in 0..4u32) {
        for name in NORMALISING {
            let profile = Profile { name, min_length };
            prop_assert_eq!(count(&profile, &bytes), Ok(oracle(&profile, &bytes)), "{}", name);
        }
    }

    #[test]
    fn any_text_counts_as_the_definition_says(text in any::<String>()) {
        for name in NORMALISING {
            let profile = Profile::new(name);
            prop_assert_eq!(count(&profile, text.as_bytes()), Ok(oracle(&profile, text.as_bytes())), "{}", name);
        }
    }

    #[test]
    fn any_bytes_count_as_the_definition_says(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in NORMALISING {
            let profile = Profile::new(name);
            let counts = count_whole(name, &bytes);
            prop_assert_eq!(&counts, &oracle(&profile, &bytes), "{}", name);
            assert_same_words(&counts, &count_whole(name, String::from_utf8_lossy(&bytes).as_bytes()));
        }
    }

    #[test]
    fn chunks_never_show(
        bytes in tricky_bytes(30),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
        profile in any_profile(),
    ) {
        let whole = count(&profile, &bytes);
        prop_assert_eq!(&count_chunks(&profile, chunks(&bytes, &cuts)), &whole);
        prop_assert_eq!(&count_chunks(&profile, bytes.chunks(1)), &whole);
    }

    #[test]
    fn parts_cut_at_certain_boundaries_add_up(
        bytes in tricky_bytes(40),
        from in any::<Index>(),
        profile in any_profile(),
    ) {
        let from = from.index(bytes.len() + 1);
        match certain_boundary(&bytes[from..]) {
            None => prop_assert!(!bytes[from..].contains(&b'\n')),
            Some(boundary) => {
                let (first, second) = bytes.split_at(from + boundary);
                prop_assert_eq!(first.last(), Some(&b'\n'));
                let mut parts = count(&profile, first).expect("a short document");
                parts.merge(count(&profile, second).expect("a short document"));
                prop_assert_eq!(Ok(parts), count(&profile, &bytes));
            }
        }
    }

    #[test]
    fn an_invalid_sequence_separates_as_the_replacement_character_does(
        before in tricky_bytes(8),
        after in tricky_bytes(8),
    ) {
        for name in NORMALISING {
            let joined = |separator: &[u8]| count_whole(name, &[&before, separator, &after].concat());
            let replaced = joined("\u{FFFD}".as_bytes());
            // A byte that is never part of a character, and a character that nothing can complete.
            assert_same_words(&joined(b"\xFF"), &replaced);
            assert_same_words(&joined(b"\xFE\xFF"), &replaced);
        }
    }
}

#[test]
fn every_cut_of_every_nasty_input_counts_the_same() {
    let long = "x".repeat(MAX_WORD_BYTES);
    let marks = "\u{301}".repeat(MAX_WORD_BYTES);
    let inputs = [
        String::new(),
        "The cat's 3.14 a.b.c 1,000.5 a''b 1..2 a: b".to_owned(),
        "א\"ב א\" ב א'ב א' א'' a\u{301}'\u{301}\u{308}b a\u{301}'\u{301} b".to_owned(),
        "🇦🇧🇨 a🇦🇧b 👩\u{200D}🛑 a\u{200D}🛑b".to_owned(),
        "カタカナ_カ1 한국어 \u{1100}\u{1161}\u{11A8} हिन्दी.ा".to_owned(),
        "\u{FFFD}\u{93E}\u{FFFD}a\u{FFFD}b\r\n\u{93E}\r\u{301}a".to_owned(),
        "ΟΔΥΣΣΕΥΣ. İstanbul ẞ \u{212A}m cafe\u{301}\u{A0}x\u{3000}y\u{2028}z".to_owned(),
        format!("{long} {long}' {long}'x {marks} a{marks}b a'{marks} a'{marks}b"),
    ];
    for name in ProfileName::ALL {
        let profile = Profile::new(name);
        for input in &inputs {
            let bytes = input.as_bytes();
            let whole = count(&profile, bytes);
            // The long one is cut where it matters: around the limit, and sparsely elsewhere.
            let step = if bytes.len() > 1000 { 37 } else { 1 };
            for cut in (0..=bytes.len()).step_by(step) {
                assert_eq!(
                    count_chunks(&profile, [&bytes[..cut], &bytes[cut..]]),
                    whole,
                    "{name}, cut at {cut}"
                );
            }
            assert_eq!(count_chunks(&profile, bytes.chunks(1)), whole, "{name}, byte by byte");
        }
    }
}

fn words(counts: &Counts) -> Vec<(&str, u64)> {
    counts.ranked().into_iter().map(|row| (row.word, row.count)).collect()
}

#[test]
fn unicode_by_example() {
    let of = |text: &str| count_whole(ProfileName::Unicode, text.as_bytes());
    assert_eq!(
        words(&of("The quick (“brown”) fox can’t jump 32.3 feet, right? The end.")),
        [
            ("the", 2),
            ("32.3", 1),
            ("brown", 1),
            ("can’t", 1),
            ("end", 1),
            ("feet", 1),
            ("fox", 1),
            ("jump", 1),
            ("quick", 1),
            ("right", 1),
        ]
    );
    assert_eq!(words(&of("\u{FFFD}\u{93E}")), [("\u{93E}", 1)]);
    assert_eq!(words(&of("CAFÉ cafe\u{301} Cafe\u{301}")), [("café", 3)]);
    assert_eq!(words(&of("_ -- ... 🛑 🇦🇧 \u{301}")), []);
}

#[test]
fn whitespace_by_example() {
    let of = |text: &str| count_whole(ProfileName::Whitespace, text.as_bytes());
    assert_eq!(
        words(&of("The  the,\tThe\u{A0}-- a\u{FFFD}b")),
        [("the", 2), ("--", 1), ("a", 1), ("b", 1), ("the,", 1)]
    );
}

#[test]
fn words_are_counted_up_to_the_limit_and_not_beyond() {
    for name in NORMALISING {
        // (a letter, how often it fills the limit exactly)
        for (letter, times) in [("a", 1024), ("é", 512), ("\u{10400}", 256)] {
            let longest = letter.repeat(times);
            assert_eq!(longest.len(), MAX_WORD_BYTES);
            for (text, words, over_long) in [
                (longest.clone(), 1, 0),
                (format!("{longest}a"), 0, 1),
                (format!("b {longest} b {longest}a b"), 4, 1),
                (format!("{longest}\u{301}"), 0, 1),
            ] {
                for size in [1, 7, 1023, 1024, 1025, 1 << 16] {
                    let profile = Profile::new(name);
                    let counts =
                        count_chunks(&profile, text.as_bytes().chunks(size)).expect("no limit on tokens");
                    assert_eq!(
                        (counts.words(), counts.over_long()),
                        (words, over_long),
                        "{name}, chunks of {size}"
                    );
                    assert_eq!(counts.bytes(), text.len() as u64);
                }
            }
        }
    }
}

/// A mid character at the limit belongs to the word only if a letter follows.
#[test]
fn the_limit_counts_what_is_held_only_once_it_belongs() {
    let longest = "a".repeat(MAX_WORD_BYTES);
    let nearly = "a".repeat(MAX_WORD_BYTES - 2);
    let marks = "\u{93E}".repeat(MAX_WORD_BYTES);
    for (text, words, over_long) in [
        (format!("{longest}'"), 1, 0),
        (format!("{longest}' b"), 2, 0),
        (format!("{longest}.\u{301}\u{301} b"), 2, 0),
        (format!("{longest}'b"), 0, 1),
        (format!("{nearly}'b"), 1, 0),
        (format!("{nearly}'bc"), 0, 1),
        // Too long to be held, and alphanumeric: it is an over-long word of its own unless it joins.
        (format!("a'{marks}"), 1, 1),
        (format!("a'{marks} b"), 2, 1),
        (format!("a'{marks}b"), 0, 1),
        // Without anything alphanumeric it is no word at all, however long.
        (format!("'{}", "\u{301}".repeat(MAX_WORD_BYTES)), 0, 0),
    ] {
        for size in [1, 7, 1023, 1024, 1025, 1 << 16] {
            let counts = count_chunks(&Profile::new(ProfileName::Unicode), text.as_bytes().chunks(size));
            let counts = counts.expect("no limit on tokens");
            assert_eq!((counts.words(), counts.over_long()), (words, over_long), "chunks of {size}");
        }
    }
}

#[test]
fn the_minimum_is_in_characters_of_the_counted_word() {
    let counts = |name, text: &str| {
        count(&Profile { name, min_length: 3 }, text.as_bytes()).expect("a short document")
    };
    // Five characters in the document, two once composed.
    assert_eq!(
        words(&counts(ProfileName::Unicode, "é e\u{301}\u{301} ab éàü abc")),
        [("abc", 1), ("éàü", 1)]
    );
    assert_eq!(words(&counts(ProfileName::Whitespace, "a. é. é.. ,,,")), [(",,,", 1), ("é..", 1)]);
}

#[test]
fn a_certain_boundary_is_just_after_the_first_line_feed() {
    assert_eq!(certain_boundary(b""), None);
    assert_eq!(certain_boundary(b"no line ends \r here"), None);
    assert_eq!(certain_boundary(b"\n"), Some(1));
    assert_eq!(certain_boundary(b"one\r\ntwo\n"), Some(5));
}
