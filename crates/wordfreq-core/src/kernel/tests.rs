//! Holds the kernel at every level against the tokenizers it is a shortcut for.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::counts::Counts;
use crate::profile::Profile;
use crate::word_break::WordBreak;

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
    "\u{5D1}\u{5B8}\u{5BC}".as_bytes(),
    "\u{5BC}".as_bytes(),
    "\u{5B8}".as_bytes(),
    "\u{651}".as_bytes(),
    "\u{4000}".as_bytes(),
    "一丁丂七丄丅丆万丈三".as_bytes(),
    "文\u{FE0F}".as_bytes(),
    b"\xE5\xC5\x80",
    b"\xE5\x80\xC5",
    b"\xE9\xBF",
    "\u{9FFF}\u{301}".as_bytes(),
    "\u{4DC0}".as_bytes(),
    b"\xE4",
    b"\xE9\x80",
    b"\xA9",
    b"e",
    b"I",
    b"=",
    "\u{302}".as_bytes(),
    "\u{307}".as_bytes(),
    "\u{323}".as_bytes(),
    "\u{338}".as_bytes(),
    "\u{345}".as_bytes(),
    "\u{315}".as_bytes(),
    "ê".as_bytes(),
    "Ơ".as_bytes(),
    "α".as_bytes(),
    "Ω".as_bytes(),
    "ا".as_bytes(),
    "\u{653}".as_bytes(),
    "E\u{323}\u{302}".as_bytes(),
    "ne\u{301}e".as_bytes(),
    "\u{11A8}".as_bytes(),
    "\u{1112}\u{1161}\u{11AB}".as_bytes(),
    "가".as_bytes(),
    "カ\u{3099}".as_bytes(),
    "\u{3099}".as_bytes(),
    "กั้".as_bytes(),
    "\u{E48}".as_bytes(),
    "\u{9C7}\u{9BE}".as_bytes(),
    "\u{9BE}".as_bytes(),
    "\u{DD9}\u{DCF}\u{DCA}".as_bytes(),
    "\u{651}\u{64B}\u{653}".as_bytes(),
    "\u{316}".as_bytes(),
    "\u{E0100}".as_bytes(),
    b"\xE1\x84",
    b"\xF5",
    b"\xF4\x90\x80\x80",
    b"\xF0\x80\x80\x80",
    b"\xF1\x80\x80",
    b"na\xEFve",
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

/// A small generator of its own, so that a seed says all about a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A text of a few units only, in any order, so that each meets each of the others at all distances.
    fn text(&mut self) -> Vec<u8> {
        if self.below(4) == 0 {
            return written(self).into_bytes();
        }
        let mut units: Vec<Vec<u8>> = Vec::new();
        for _ in 0..1 + self.below(9) {
            units.push(match self.below(11) {
                10 => marked(self).into_bytes(),
                0..5 => ASCII[self.below(ASCII.len())].as_bytes().to_vec(),
                5..8 => OTHER[self.below(OTHER.len())].to_vec(),
                8 => {
                    let plane = [0x800, 0x3100, 0xFFFF, 0x3_0000, 0x11_0000][self.below(5)];
                    char::from_u32(self.below(plane) as u32).unwrap_or('\u{FFFD}').to_string().into_bytes()
                }
                _ => vec![self.below(256) as u8],
            });
        }
        let most = [24, 200, 9000][self.below(16).saturating_sub(13)];
        let len = self.below(most);
        let mut text = b"y".repeat(self.below(2) * self.below(70));
        while text.len() < len {
            text.extend_from_slice(&units[self.below(units.len())]);
            if self.below(6) == 0 {
                text.push(b' ');
            }
        }
        text
    }
}

/// Where the pages of some scripts begin, with marks and what joins among them.
const SCRIPTS: &[&[u32]] = &[
    &[0x80, 0xC0, 0x100, 0x1E80, 0x300],
    &[0x380, 0x3C0, 0x1F00, 0x300],
    &[0x400, 0x440, 0x480, 0x300],
    &[0x5C0, 0x580, 0xFB00],
    &[0x600, 0x640, 0x680, 0x200C],
    &[0x900, 0x940, 0x980],
    &[0xE00, 0xE40, 0xE80],
    &[0x10C0, 0x1200, 0x1100, 0x1180],
    &[0xAC00, 0xB000, 0xD780, 0x1100],
    &[0x3040, 0x3080, 0x30C0, 0x4E00, 0x3000],
    &[0x2000, 0x2C80, 0xA640, 0x3C0],
    &[0x2000, 0x2600, 0x1F440, 0x1F3C0, 0x24C0, 0x1F1C0],
    &[0xD80, 0xDC0, 0x2000],
];

/// Words of one script, or two, as they are written, with any of its marks.
fn written(random: &mut Random) -> String {
    let scripts = [0; 2].map(|_| SCRIPTS[random.below(SCRIPTS.len())]);
    let len = [40, 300, 6000][random.below(16).saturating_sub(13)];
    let mut text = "y".repeat(random.below(2) * random.below(70));
    let most_often = [' ', '\'', '"', '.', '_', '\u{AD}', '\u{301}', 'x'][random.below(8)];
    while text.len() < len {
        let script = scripts[random.below(8) / 7];
        let page = script[random.below(2 * script.len()).saturating_sub(script.len())];
        // Most words have few letters.
        let few = 8 << random.below(4);
        for _ in 0..random.below(9) {
            text.extend(char::from_u32(page + random.below(few) as u32 % 64));
        }
        let between =
            [' ', '\n', '\'', '"', ':', ',', '-', '7', '_', 'a', 'Σ', most_often, most_often, ' ', ' ', ' '];
        text.push(between[random.below(between.len())]);
    }
    text
}

/// Each character among letters, before quotes, beside marks and joiners, many of them together.
#[test]
fn every_character_among_letters_counts_as_by_the_tokenizer() {
    let step = if cfg!(debug_assertions) { 37 } else { 1 };
    for page in (0x80..0x3_0100).step_by(64).step_by(step) {
        let mut text = String::new();
        for c in (page..page + 64).filter_map(char::from_u32) {
            text += &format!(
                "д{c}д {c}д д{c} {c}{c} д{c}'д א{c}'א א{c}\"א \u{5B8}{c}\" क{c}\u{94D} д{c}\u{301}\u{316}д "
            );
            text += &format!(
                "З{c}' Σ{c}Σ д\u{200D}{c}д ❤\u{200D}{c}д ❤{c}д {c}\u{200D}❤д {c}\u{FE0F}\u{200D}{c}д か{c}\u{3099}\n"
            );
        }
        assert_same(text.as_bytes(), &[]);
        assert_same(text.as_bytes(), &[text.len() / 2, text.len() / 2]);
    }
}

/// Every level against the tokenizer, on made-up texts and cuts: 2 MB of them, or as many bytes as FUZZ_BYTES says, from FUZZ_SEED:
/// `FUZZ_BYTES=1000000000 cargo test --release -p wordfreq-core fuzz -- --nocapture`.
#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the size of a test run is no setting of the product"
)]
fn fuzz() {
    let number = |name, default| match std::env::var(name) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{name} must be a number")),
        Err(_) => default,
    };
    let (bytes, seed) = (number("FUZZ_BYTES", 2_000_000_u64), number("FUZZ_SEED", 1));
    let mut random = Random(seed);
    let (mut done, mut texts) = (0, 0_u64);
    while done < bytes {
        let text = random.text();
        let mut cuts: Vec<usize> = (0..random.below(4)).map(|_| random.below(text.len() + 1)).collect();
        cuts.sort_unstable();
        assert_same(&text, &cuts);
        done += text.len() as u64;
        texts += 1;
    }
    let levels: Vec<_> = Level::available().collect();
    println!("{done} bytes in {texts} texts from seed {seed}: {levels:?} count as the tokenizers do");
}

/// What makes the first byte of U+4000 to U+9FFF a boundary: no rule joins such a character to what is before it.
#[test]
fn ideographs_begin_segments_whatever_is_before() {
    for c in '\u{4000}'..='\u{9FFF}' {
        assert_eq!(WordBreak::of(c), WordBreak::Other, "{c:?}");
        assert!((0xE4..=0xE9).contains(&c.to_string().as_bytes()[0]), "{c:?}");
    }
    // And what `ideographs` takes for granted.
    for c in '\u{4E00}'..='\u{9FFF}' {
        let [a, b, last] = <[u8; 3]>::try_from(c.to_string().as_bytes()).unwrap();
        let of = Characters::of(ProfileName::Unicode).at(characters::place([a, b, last, b' ']).unwrap());
        assert_eq!((of.class, of.lower, of.combining), (Class::Alone, [0; 3], 0), "{c:?}");
    }
}

/// What has gone wrong somewhere, or could.
const NASTY: &[&str] = &[
    "can't",
    "a.b.c",
    "1,234.56",
    "a:b 1:2",
    "__a__ ___",
    "l’été d’œuvre",
    "“Dürer’s”",
    "naïve—coöperate",
    "a\u{2003} \u{64B}b",
    "x \u{93E} y",
    "\u{3000}中文、字",
    "a一二三\u{9FFF}\u{4DFF}\u{4E00}\u{301}四五\u{200D}六七，八九。1十_",
    "カタカナ_ー",
    "ひらがな漢字カナ",
    "שלום\"ה' ט",
    "हिन्दी क्षत्रिय",
    "\u{1F1E6}\u{1F1E7}\u{1F1E8}",
    "👩\u{200D}👩 ❤\u{FE0F}",
    "❤\u{363} “\u{9C7}\u{9BE}-文 ❤\u{FE0F}\u{345}a ❤\u{200D}\u{93E}",
    "a\u{200D}❤b ❤\u{200D}Ⓜb ❤\u{200D}a ❤\u{FE0F}\u{200D}🔥x 👍🏽 1\u{FE0F}\u{20E3} क\u{94D}\u{200D}ष ක\u{DCA}\u{200D}ෂ ❤\u{301}\u{316}a",
    "❤\u{200D}\u{200D}Ⓜ a\u{200D}\u{200D}❤ \u{2028}\u{200D}❤a ❤\u{200D}か ❤\u{200D}カカ ❤\u{200D}3 ❤\u{AD}Ⓜ あ\u{200D}❤ カ\u{200D}カ_ ❤\u{200D}\u{E0061}",
    "ΟΔΥΣΣΕΥΣ Σ",
    "Στο (Σε) a.Σ _Σ 'Σ a'Σ 3Σ «Σ» \"ΣΣ -Σ\u{301}ς \u{AD}Σ a\u{AD}Σ \u{301}Σ Σ.Σ ^Σ a^Σ",
    "ΟΔΟΣ, ΟΔΟΣ. ΟΔΟΣ; ΟΔΟΣ-ΣΣ ΣΣΣ aΣ aΣb έΣ ΆΣΆ ΣΑΣ' ΑΣ:Α ΑΣ1 Α\u{345}Σ ᾈΣ дΣ ΑΣд ΑΣ\u{AD} ϷΣϸ ΟΔΟΣ",
    "\"की\" को' हिन्दी\" \"שָׁ\" שָ' ש'א דָ\"ר عَ\" 3\u{93E}' д\u{301}' д\u{93E}\"д א\u{301}\u{AD}\"א",
    "Ещё раз, добрый-добрый день «Ъ» Ё̈лка",
    "İstanbul \u{212A}",
    "e\u{301}e\u{323}\u{301}",
    "l'e\u{301}cole d'E\u{302}tre.e\u{301}:a\u{300}",
    "Tie\u{302}\u{301}ng Vie\u{323}\u{302}t muo\u{31B}\u{301}n",
    "x\u{301}\u{301} x\u{302}e\u{301} e\u{301}\u{AD}\u{301} e\u{200D}\u{301} 3\u{301} _\u{301} '\u{301}",
    "ω\u{313}\u{301}\u{345}δη Α\u{345} ΩΣ\u{301}",
    "=\u{338} <\u{338}a I\u{307} i\u{307} H\u{331} J\u{30C}",
    "ا\u{653}ا\u{64E}\u{653} نا\u{654}",
    "a\u{AD}b\u{200E}",
    "٣٬٤ 3\u{2044}4",
    "don.'t a..b 1.,2",
    "한글 문장 은 줄 없이 ",
    "\u{1112}\u{1161}\u{11AB}\u{1100}\u{1173}\u{11AF} \u{1161}\u{11A8}\u{301}\u{1161} 가\u{11A8} 각\u{11A8}",
    "ที่นี่ น้ำ กั\u{301} ก\u{3099} _ก์_",
    "が か\u{3099}き\u{3099}_ カ\u{3099}ト\u{3099}_ ハ\u{309A}ー あ\u{3099} か\u{323}\u{3099} か\u{3099}\u{323}",
    "\u{628}\u{651}\u{64E}\u{646}\u{651}\u{64E}\u{670} \u{627}\u{651}\u{653} שּׁ\u{5B8}\u{5BC}\u{5C1}",
    "À\u{323} À\u{316} e\u{302}\u{316}\u{301} u\u{308}\u{334}\u{304} \u{16D63}\u{16D68} a\u{1611E}\u{16121} a\u{113C2}\u{113C5}",
    "x\u{315}\u{316}\u{301}\u{316} e\u{301}\u{316}\u{323} à\u{316}\u{301} क\u{94D}\u{93C}",
    "вот \u{301} так \t\u{200D} же \u{2003} ещё ’ раз א \"ב 中 カ ",
    "\r\n\t \u{85}\u{2028}",
    "ABCDEFGHIJKL ABCDEFGHIJKLM ABCDEFGHIJKLMNOP ABCDEFGHIJKLMNOPQ",
];

/// Each nasty text at every offset in a block, behind and before letters, blanks and symbols; and cut at every byte.
#[test]
fn nasty_texts_count_the_same_at_every_offset_and_cut() {
    let step = if cfg!(debug_assertions) { 7 } else { 1 };
    for text in NASTY {
        for (before, after) in [("a", "b"), (" ", " "), ("\n", ""), ("-", "'"), ("é", "é")] {
            for offset in (0..66).step_by(step) {
                let text = [&before.repeat(offset), *text, after].concat();
                assert_same(text.as_bytes(), &[]);
            }
            for offset in [0, 61] {
                let text = [&before.repeat(offset), *text, after].concat();
                for cut in (0..text.len()).step_by(step) {
                    assert_same(text.as_bytes(), &[cut]);
                    assert_same(text.as_bytes(), &[cut, (cut + 1).min(text.len())]);
                }
            }
        }
    }
}

/// Every character that is composed of others, written as those, in each case, and with what may keep a mark from what is before it.
#[test]
fn all_that_composes_counts_as_by_the_tokenizer() {
    use unicode_normalization::UnicodeNormalization as _;
    let mut text = String::new();
    for c in '\u{80}'..='\u{2FFFF}' {
        let apart: String = c.nfd().collect();
        // A syllable of Hangul is made by rule, and there are eleven thousand.
        if apart.chars().eq([c]) || ('가'..='힣').contains(&c) && !(c as u32).is_multiple_of(97) {
            continue;
        }
        let upper: String = apart.to_uppercase();
        for word in [&apart, &apart.to_lowercase(), &upper, &upper.nfd().collect()] {
            for behind in ["", "\u{301}", "\u{323}", "\u{315}"] {
                text.extend(["n", word, behind, "a ", word, behind, " "]);
            }
        }
        if text.len() > 20_000 {
            assert_same(text.as_bytes(), &[]);
            text.clear();
        }
    }
    assert_same(text.as_bytes(), &[]);
}

/// Marks of every kind of class behind bases of every kind, in any order: those that compose and those that do not, those that may stand
/// between, and what joins without a class.
const MARKS: &[&str] = &[
    "\u{301}",
    "\u{302}",
    "\u{304}",
    "\u{308}",
    "\u{323}",
    "\u{31B}",
    "\u{328}",
    "\u{315}",
    "\u{316}",
    "\u{334}",
    "\u{338}",
    "\u{345}",
    "\u{34F}",
    "\u{AD}",
    "\u{200D}",
    "\u{651}",
    "\u{64E}",
    "\u{653}",
    "\u{5BC}",
    "\u{5B8}",
    "\u{3099}",
    "\u{93C}",
    "\u{9BE}",
    "\u{DCF}",
    "\u{DCA}",
    "\u{E48}",
    "\u{E34}",
    "\u{1161}",
    "\u{11A8}",
    "\u{1611E}",
    "\u{16121}",
    "\u{113C2}",
    "\u{113C5}",
    "\u{16D67}",
    "\u{16D68}",
];
const BASES: &[&str] = &[
    "a",
    "E",
    "o",
    "u",
    "U",
    "x",
    "=",
    "3",
    "_",
    "à",
    "ọ",
    "Ê",
    "ὠ",
    "Ω",
    "Σ",
    "ا",
    "آ",
    "ש",
    "か",
    "カ",
    "一",
    "ก",
    "\u{1100}",
    "가",
    "각",
    "\u{9C7}",
    "\u{DD9}",
    "\u{16D63}",
    "“",
    "👍",
    "Ⓜ",
    "क",
];

/// A base, up to six marks, mostly of few kinds, and what follows.
fn marked(random: &mut Random) -> String {
    let few: Vec<&str> = (0..1 + random.below(4)).map(|_| MARKS[random.below(MARKS.len())]).collect();
    let mut text = BASES[random.below(BASES.len())].to_owned();
    for _ in 0..random.below(7) {
        text.push_str(few[random.below(few.len())]);
    }
    text.push_str(["", "", " ", "n", "'", "\""][random.below(6)]);
    text
}

#[test]
fn marks_in_any_order_count_as_by_the_tokenizer() {
    let mut random = Random(5);
    for _ in 0..if cfg!(debug_assertions) { 3_000 } else { 60_000 } {
        let text: String = (0..12).map(|_| marked(&mut random)).collect();
        assert_same(text.as_bytes(), &[]);
    }
}

/// All that is not surely in NFC by itself, two at a time, behind a letter and before one.
#[test]
fn pairs_of_what_may_compose_count_as_by_the_tokenizer() {
    let may = |c: &char| {
        unicode_normalization::is_nfc_quick(std::iter::once(*c)) == unicode_normalization::IsNormalized::Maybe
    };
    let composing: Vec<char> = ('\u{80}'..='\u{2FFFF}').filter(may).collect();
    assert!(composing.len() > 100);
    for first in &composing {
        let text: String =
            composing.iter().map(|second| format!("a{first}{second}b {second}\u{16D63}{first} ")).collect();
        assert_same(text.as_bytes(), &[]);
    }
}

/// Thousands of marks out of order behind one letter, which must not be moved one by one.
#[test]
fn many_marks_count_as_by_the_tokenizer() {
    for marks in [10, 11, 12, 400, 2000] {
        let text =
            ["a", &"\u{315}".repeat(marks), &"\u{316}".repeat(marks), "\u{301} e\u{315}\u{316} "].concat();
        assert_same(text.as_bytes(), &[]);
    }
}

/// An over-long word is one, also where words must have more characters than it has.
#[test]
fn a_word_is_over_long_before_it_is_too_short() {
    for name in [ProfileName::Unicode, ProfileName::Whitespace] {
        let mut profile = Profile::new(name);
        profile.min_length = 700;
        for letter in ["é", "e\u{301}", "語", "q"] {
            let text = letter.repeat(1200 / letter.len()) + " é\n";
            for level in Level::available() {
                for cuts in [&[][..], &[600]] {
                    let counts = by_kernel(level, &profile, text.as_bytes(), cuts);
                    assert_eq!(
                        counts,
                        by_tokenizer(&profile, text.as_bytes()),
                        "{letter} {name:?} {level:?}"
                    );
                }
            }
        }
    }
}

/// Words that are over-long as they stand, but not once they are composed; and those that are not.
#[test]
fn the_limit_is_for_words_as_they_stand() {
    for letters in [330, 341, 342, 343, 500, 512, 1023, 1024] {
        for filling in [0, 1, 2, 5] {
            let text = ["y".repeat(filling), "e\u{301}".repeat(letters), " z e\u{301}".to_owned()].concat();
            assert_same(text.as_bytes(), &[]);
            assert_same(format!("e\u{301} {text}").as_bytes(), &[2]);
        }
    }
}
