//! Holds the kernel at every level against the tokenizers it is a shortcut for.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::counts::Counts;
use crate::profile::Profile;

/// What the tokenizers alone find in one chunk.
fn by_tokenizer(profile: &Profile, bytes: &[u8]) -> Counts {
    let mut tally = Tally::new(profile);
    let mut tokenizer = Tokenizer::new(profile.name);
    tokenizer.feed(bytes, &mut |token| tally.take(token));
    tokenizer.finish(&mut |token| tally.take(token)).expect("neither profile fails");
    tally.counts
}

fn by_kernel(level: Level, profile: &Profile, bytes: &[u8], cuts: &[usize]) -> Counts {
    let mut tally = Tally::new(profile);
    let mut kernel = Kernel::new(profile.name, level);
    let mut from = 0;
    for &to in cuts.iter().chain([&bytes.len()]) {
        kernel.feed(&bytes[from..to], &mut tally);
        from = to;
    }
    kernel.finish(&mut tally);
    tally.counts
}

fn assert_same(bytes: &[u8], cuts: &[usize]) {
    for name in [ProfileName::Unicode, ProfileName::Whitespace] {
        for min_length in [1, 3] {
            let mut profile = Profile::new(name);
            profile.min_length = min_length;
            let expected = by_tokenizer(&profile, bytes);
            for level in Level::available() {
                let found = by_kernel(level, &profile, bytes, cuts);
                let differing: Vec<_> = (expected.iter().chain(found.iter()))
                    .filter(|(word, _)| expected.get(word) != found.get(word))
                    .map(|(word, _)| (word, expected.get(word), found.get(word)))
                    .collect();
                assert!(
                    found == expected,
                    "{name:?} {level:?} {min_length} {cuts:?}: {differing:?}, {:?} {:?}, over-long {} {}, {:?}",
                    expected.words(),
                    found.words(),
                    expected.over_long(),
                    found.over_long(),
                    String::from_utf8_lossy(bytes),
                );
            }
        }
    }
}

fn sorted(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

const ASCII: &[&str] = &[
    "a",
    "The",
    "can't",
    "Z",
    "0",
    "3.14",
    "1,000",
    "_",
    "__",
    "'",
    "\"",
    ".",
    ":",
    ",",
    ";",
    "-",
    " ",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\u{B}",
    "\u{C}",
    "\0",
    "\u{1F}",
    "abcdefghijklmno",
    "abcdefghijklmnop",
    "ABCDEFGHIJKLMNOPQ",
    "[",
    "`",
    "{",
    "@",
    "/",
];
/// Letters of one, two, three and four bytes with and without a plain lower case, everything that joins or does not, marks with and
/// without an order, what composes, white space, and what is not UTF-8.
const OTHER: &[&[u8]] = &[
    "é".as_bytes(),
    "É".as_bytes(),
    "Жук".as_bytes(),
    "Ώρα".as_bytes(),
    "한글".as_bytes(),
    "\u{1100}\u{1161}".as_bytes(),
    "ＡＢ".as_bytes(),
    "\u{10400}".as_bytes(),
    "\u{20000}".as_bytes(),
    "\u{30000}".as_bytes(),
    "ª".as_bytes(),
    "²".as_bytes(),
    "ǅ".as_bytes(),
    "Ⱥ".as_bytes(),
    "E\u{301}".as_bytes(),
    "’".as_bytes(),
    "·".as_bytes(),
    "\u{387}".as_bytes(),
    "\u{2024}".as_bytes(),
    "\u{60C}".as_bytes(),
    "\u{66C}".as_bytes(),
    "٣".as_bytes(),
    "“".as_bytes(),
    "”".as_bytes(),
    "—".as_bytes(),
    "…".as_bytes(),
    "\u{AD}".as_bytes(),
    "\u{85}".as_bytes(),
    "\u{A0}".as_bytes(),
    "\u{202F}".as_bytes(),
    "\u{2003}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{3000}".as_bytes(),
    "א".as_bytes(),
    "א\"".as_bytes(),
    "ב\u{5B0}".as_bytes(),
    "カ".as_bytes(),
    "タカナ".as_bytes(),
    "ー".as_bytes(),
    "ﾊﾞ".as_bytes(),
    "\u{309B}".as_bytes(),
    "か".as_bytes(),
    "か\u{3099}".as_bytes(),
    "中".as_bytes(),
    "文字".as_bytes(),
    "ก".as_bytes(),
    "ก\u{E31}".as_bytes(),
    "हि".as_bytes(),
    "क्ष".as_bytes(),
    "क\u{93C}".as_bytes(),
    "\u{301}".as_bytes(),
    "\u{64B}".as_bytes(),
    "\u{64E}\u{651}".as_bytes(),
    "\u{651}\u{64E}".as_bytes(),
    "\u{93E}".as_bytes(),
    "\u{94D}".as_bytes(),
    "\u{200C}".as_bytes(),
    "\u{200D}".as_bytes(),
    "\u{200E}".as_bytes(),
    "👩".as_bytes(),
    "❤\u{FE0F}".as_bytes(),
    "Ⓜ".as_bytes(),
    "🇦".as_bytes(),
    "\u{212A}".as_bytes(),
    "İ".as_bytes(),
    "ẞ".as_bytes(),
    "Σ".as_bytes(),
    "ς".as_bytes(),
    "\u{37A}".as_bytes(),
    "\u{2C2}".as_bytes(),
    "\u{F900}".as_bytes(),
    "\u{203F}".as_bytes(),
    "\u{FFFD}".as_bytes(),
    b"\xFF",
    b"\xC3",
    b"\xE2\x80",
    b"\xF0\x9F",
    b"\xED\xA0\x80",
    b"\xA9",
];

fn units(most: usize, other: u32) -> impl Strategy<Value = Vec<u8>> {
    let unit = prop_oneof![
        20 => prop::sample::select(ASCII).prop_map(|unit| unit.as_bytes().to_vec()),
        other => prop::sample::select(OTHER).prop_map(|unit| unit.to_vec()),
        other.div_ceil(8) => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        other.div_ceil(8) => prop::char::range('\u{80}', '\u{3100}').prop_map(|c| c.to_string().into_bytes()),
    ];
    prop::collection::vec(unit, 0..most).prop_map(|units| units.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 1500 } else { 60_000 }))]

    #[test]
    fn short_texts_count_as_by_the_tokenizer(
        bytes in prop_oneof![units(40, 1), units(40, 20), units(12, 60), units(30, 200)],
        cuts in prop::collection::vec(any::<Index>(), 0..5),
    ) {
        assert_same(&bytes, &sorted(&cuts, bytes.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 60 } else { 1500 }))]

    /// Several windows, with what stands in them at any offset.
    #[test]
    fn long_texts_count_as_by_the_tokenizer(
        bytes in prop_oneof![units(6000, 1), units(4000, 10), units(1500, 100)],
        shift in 0..200_usize,
        longest in 0..6000_usize,
        place in any::<Index>(),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let mut all = vec![b'x'; shift];
        all.extend_from_slice(&bytes);
        let place = place.index(all.len() + 1);
        all.splice(place..place, std::iter::repeat_n(b'y', longest));
        assert_same(&all, &sorted(&cuts, all.len()));
    }
}

/// Words around the limit, and atoms around a window, at every offset in a block and with what may follow.
#[test]
fn limits_hold_at_every_offset() {
    for len in [15, 16, 17, 63, 64, 65, 1023, 1024, 1025, 4031, 4032, 4095, 4096, 4097] {
        for shift in 0..66 {
            for end in ["", " ", "\n", ".", "’s", " \u{93E}", "'t x"] {
                let mut bytes = b"-".repeat(shift);
                bytes.push(b' ');
                bytes.extend(std::iter::repeat_n(b'Q', len));
                bytes.extend(end.as_bytes());
                for name in [ProfileName::Unicode, ProfileName::Whitespace] {
                    let profile = Profile::new(name);
                    let expected = by_tokenizer(&profile, &bytes);
                    for level in Level::available() {
                        assert!(by_kernel(level, &profile, &bytes, &[]) == expected, "{len} {shift} {end:?}");
                    }
                }
            }
        }
    }
}

/// A text that has everything, cut in two at every byte.
#[test]
fn cuts_anywhere_change_nothing() {
    let text =
        "The can't  3.14, 1,000; a_b __ x.é é.x \u{93E} \u{2003} \u{93E}  y’s\r\n“Quoted” a:b 1:2 a;b 1;2 \
                don't. \u{1F1E6}\u{1F1E7} 中文字 _é_ end "
            .as_bytes();
    for a in 0..=text.len() {
        assert_same(text, &[a]);
        assert_same(text, &[a, (a + 1).min(text.len())]);
    }
    assert_same(text, &(0..text.len()).collect::<Vec<_>>());
}
