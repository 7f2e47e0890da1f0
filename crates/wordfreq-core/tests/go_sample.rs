//! Profile `go-sample`: each quirk of the Go sample, and the limit of its scanner.
//!
//! The expectations are those of Go's `bufio`, `strings` and `unicode` as they document themselves.

use wordfreq_core::{CountError, Counter, Counts, MAX_TOKEN_BYTES, Profile, ProfileName, count};

fn profile() -> Profile {
    Profile::new(ProfileName::GoSample)
}

fn words(counts: &Counts) -> Vec<(&str, u64)> {
    counts.ranked().into_iter().map(|row| (row.word, row.count)).collect()
}

fn assert_words(bytes: &[u8], expected: &[(&str, u64)]) {
    let counts = count(&profile(), bytes).expect("short tokens only");
    assert_eq!(words(&counts), expected, "{:?}", String::from_utf8_lossy(bytes));
    assert_eq!(counts.over_long(), 0);
    assert_eq!(counts.bytes(), bytes.len() as u64);
}

#[test]
fn four_bytes_or_fewer_are_dropped_before_trimming() {
    assert_words(b"this, this this. \"this\" this", &[("this", 3)]);
    assert_words(
        "café cafe caf\u{65}\u{301} naïf".as_bytes(),
        &[("cafe\u{301}", 1), ("café", 1), ("naïf", 1)],
    );
    assert_words(b"a.... b", &[("a", 1)]);
}

#[test]
fn trimming_may_leave_the_empty_word() {
    assert_words(b"..... ..... !?!?! ....", &[("", 3)]);
}

#[test]
fn only_six_ascii_marks_are_trimmed_and_only_at_the_ends() {
    assert_words(b".,\"'?!words!?'\",.", &[("words", 1)]);
    assert_words(b"don't, o'clock", &[("don't", 1), ("o'clock", 1)]);
    assert_words(b"word; (word) word: -word", &[("(word)", 1), ("-word", 1), ("word:", 1), ("word;", 1)]);
    assert_words("“word” ‘word’ word…".as_bytes(), &[("word…", 1), ("‘word’", 1), ("“word”", 1)]);
}

#[test]
fn lower_case_is_one_character_to_one() {
    // U+0130 is 'i' and no dot above.
    assert_words("İSTANBUL".as_bytes(), &[("istanbul", 1)]);
    assert_words("STRAẞE STRASSE".as_bytes(), &[("strasse", 1), ("straße", 1)]);
    // No final sigma.
    assert_words("ΟΔΥΣΣΕΥΣ ΣΑΣ".as_bytes(), &[("οδυσσευσ", 1), ("σασ", 1)]);
    assert_words("\u{212A}elvin \u{212B}ngstrom".as_bytes(), &[("kelvin", 1), ("ångstrom", 1)]);
    // U+01C5 is title case.
    assert_words("ǅungla".as_bytes(), &[("ǆungla", 1)]);
}

/// The minimum is of the lowered word: U+0130 shrinks from two bytes to one, U+023A grows from two to three.
#[test]
fn the_minimum_of_bytes_is_taken_after_lower_casing() {
    assert_words("İabc İabcd".as_bytes(), &[("iabcd", 1)]);
    assert_words("Ⱥab Ⱥa".as_bytes(), &[("ⱥab", 1)]);
}

#[test]
fn nothing_is_composed() {
    assert_words("cafe\u{301} café".as_bytes(), &[("cafe\u{301}", 1), ("café", 1)]);
    assert_words("\u{93E}\u{93E} abcd\u{93E}".as_bytes(), &[("abcd\u{93E}", 1), ("\u{93E}\u{93E}", 1)]);
}

#[test]
fn each_invalid_byte_is_a_replacement_character_of_the_word() {
    assert_words(b"ab\xFFcd", &[("ab\u{FFFD}cd", 1)]);
    // Two bytes make six, so this is long enough; one makes three.
    assert_words(b"\xFF\xFE \xFF \xFFa \xFFab", &[("\u{FFFD}ab", 1), ("\u{FFFD}\u{FFFD}", 1)]);
    // A character cut short is as many as its bytes, a surrogate three, an overlong form two or three.
    assert_words(b"a\xE2\x80 b", &[("a\u{FFFD}\u{FFFD}", 1)]);
    assert_words(b"\xF0\x9F\x98", &[("\u{FFFD}\u{FFFD}\u{FFFD}", 1)]);
    assert_words(b"\xED\xA0\x80", &[("\u{FFFD}\u{FFFD}\u{FFFD}", 1)]);
    assert_words(b"\xC0\xA0", &[("\u{FFFD}\u{FFFD}", 1)]);
    assert_words(b"\xE0\x80\xA0", &[("\u{FFFD}\u{FFFD}\u{FFFD}", 1)]);
    assert_words(b"\xF4\x90\x80\x80", &[("\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}", 1)]);
    // The real character is one, and is no separator here.
    assert_words("ab\u{FFFD}cd".as_bytes(), &[("ab\u{FFFD}cd", 1)]);
    // A lone byte that would be a space in Latin-1 is none.
    assert_words(b"abc\xA0def \x85abcd", &[("abc\u{FFFD}def", 1), ("\u{FFFD}abcd", 1)]);
}

#[test]
fn tokens_are_split_at_unicode_white_space() {
    let spaces = [
        '\t', '\n', '\u{B}', '\u{C}', '\r', ' ', '\u{85}', '\u{A0}', '\u{1680}', '\u{2000}', '\u{200A}',
        '\u{2028}', '\u{2029}', '\u{202F}', '\u{205F}', '\u{3000}',
    ];
    for space in spaces {
        assert_words(
            format!("{space}first{space}{space}second{space}").as_bytes(),
            &[("first", 1), ("second", 1)],
        );
    }
    for none in ['\u{1C}', '\u{200B}', '\u{FEFF}', '\u{180E}'] {
        let word = format!("first{none}second");
        assert_words(word.as_bytes(), &[(&word, 1)]);
    }
}

#[test]
fn a_minimum_length_is_of_the_trimmed_word() {
    let profile = Profile { name: ProfileName::GoSample, min_length: 5 };
    let counts = count(&profile, "this, ..... words. «été»".as_bytes()).expect("short tokens only");
    assert_eq!(words(&counts), [("words", 1), ("«été»", 1)]);
}

/// A token of `length` bytes starting at byte 3, then `after`; whole and in chunks.
fn long_token(length: usize, after: &str) -> Result<u64, CountError> {
    let text = format!("ab {}{after}", "x".repeat(length));
    let whole = count(&profile(), text.as_bytes()).map(|counts| counts.words());
    for size in [4096, 65_535, 65_536, 65_537] {
        let mut counter = Counter::new(&profile());
        text.as_bytes().chunks(size).for_each(|chunk| counter.feed(chunk));
        assert_eq!(counter.finish().map(|counts| counts.words()), whole, "chunks of {size}");
    }
    whole
}

#[test]
fn a_token_and_its_end_must_fit_the_scanner() {
    let too_long = Err(CountError::TokenTooLong { offset: 3 });
    assert_eq!(MAX_TOKEN_BYTES, 65_536);
    assert_eq!(long_token(65_535, "\n"), Ok(1));
    assert_eq!(long_token(65_535, "\nlater words"), Ok(3));
    assert_eq!(long_token(65_535, ""), Ok(1));
    assert_eq!(long_token(65_536, "\n"), too_long);
    assert_eq!(long_token(65_536, ""), too_long);
    assert_eq!(long_token(65_534, "\u{A0}"), Ok(1));
    assert_eq!(long_token(65_535, "\u{A0}"), too_long);
    assert_eq!(long_token(65_533, "\u{3000}"), Ok(1));
    assert_eq!(long_token(65_534, "\u{3000}"), too_long);
    assert_eq!(long_token(200_000, " later words"), too_long);
}

#[test]
fn the_limit_is_on_bytes_of_the_document() {
    // Each invalid byte is three of the word, which has no limit of its own.
    let mut bytes = vec![0xFF; 65_535];
    assert_eq!(count(&profile(), &bytes).map(|counts| counts.words()), Ok(1));
    bytes.push(0xFF);
    assert_eq!(count(&profile(), &bytes), Err(CountError::TokenTooLong { offset: 0 }));
    // White space takes no part, however much.
    let spaces = " ".repeat(200_000);
    assert_eq!(
        count(&profile(), format!("{spaces}first{spaces}").as_bytes()).map(|counts| counts.words()),
        Ok(1)
    );
}

#[test]
fn the_first_token_too_long_is_the_one_named() {
    let long = "x".repeat(70_000);
    let error = count(&profile(), format!("words \u{A0}\u{FFFD} {long} {long}").as_bytes()).unwrap_err();
    assert_eq!(error, CountError::TokenTooLong { offset: 12 });
    let message = error.to_string();
    assert!(message.contains("byte 12") && message.contains("65536"), "{message}");
}
