//! Keys that somebody will use one day, and documents of every size. Not here: what becomes of them.

use crate::oracle::Random;

/// Keys by which programs that build paths, URLs, XML or JSON from them are found out. All different to S3.
const HOSTILE: [&str; 44] = [
    "a b",
    "a+b",
    "a%2Bb",
    "a%20b",
    "%",
    "%zz",
    "%00",
    "a/b",
    "a//b",
    "a%2Fb",
    "/a",
    "a/",
    "//",
    "/",
    ".",
    "..",
    "./a",
    "../a",
    "a/../b",
    "\u{e9}",
    "e\u{301}",
    "\u{1f600}",
    "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\"quoted\"",
    "'quoted'",
    "&<>;",
    "&amp;",
    "]]>",
    "\u{1}\u{2}\u{1f}",
    "\u{7f}",
    "tab\there",
    "return\rhere",
    "a\u{2028}b",
    "\u{feff}",
    "\u{fffe}",
    "\u{ffff}",
    "a\\b",
    " a ",
    "?versions=x&uploads",
    "#fragment",
    "counts/notes.txt",
    "-rf",
    "=1+1",
    "$(id)`id`",
];

/// So many keys, the hostile ones first.
pub(crate) fn keys(count: usize) -> Vec<String> {
    let longest = ["x".repeat(1024), "é".repeat(512), format!("{}/{}", "y".repeat(511), "%".repeat(512))];
    let plain = (0..).map(|number| format!("in box/{}/{number:03}+ü.txt", number % 7));
    HOSTILE.iter().map(|key| (*key).to_owned()).chain(longest).chain(plain).take(count).collect()
}

/// By XML 1.0, which S3 answers in.
pub(crate) fn is_not_xml(character: char) -> bool {
    !matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Nine megabytes: more than two ranges.
pub(crate) fn large(random: &mut Random) -> Vec<u8> {
    repeated(random, 9_000_000)
}

/// More words than an item of the table has room for.
pub(crate) fn wordy(random: &mut Random) -> Vec<u8> {
    (0..70_000).flat_map(|_| format!("{:x} ", random.next() >> 8).into_bytes()).collect()
}

/// Mostly some three kilobytes; now and then nothing, a large vocabulary, some megabytes.
pub(crate) fn document(random: &mut Random) -> Vec<u8> {
    match random.below(400) {
        0..12 => Vec::new(),
        12..22 => wordy(random),
        22..24 => repeated(random, 3_000_000),
        24 => large(random),
        _ => (0..6).flat_map(|_| random.document()).take(3_200).collect(),
    }
}

fn repeated(random: &mut Random, bytes: usize) -> Vec<u8> {
    let document = random.document();
    document.iter().copied().cycle().take(bytes).collect()
}
