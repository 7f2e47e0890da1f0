//! Proves the committed table equal to the Unicode data files, and writes it from them when asked to.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::WordBreak;

fn data_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/unicode").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The rows of a file in the syntax of the Unicode Character Database: `0041..005A ; ALetter # comment`.
fn rows(text: &str) -> Vec<(u32, u32, String)> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (range, value) = line.split_once(';').expect("a row has a semicolon");
        let (first, last) = range.trim().split_once("..").unwrap_or((range.trim(), range.trim()));
        let scalar = |hex| u32::from_str_radix(hex, 16).expect("a code point in hexadecimal");
        rows.push((scalar(first), scalar(last), value.trim().to_owned()));
    }
    rows
}

fn class(name: &str) -> WordBreak {
    match name {
        "CR" => WordBreak::Cr,
        "LF" => WordBreak::Lf,
        "Newline" => WordBreak::Newline,
        "Extend" => WordBreak::Extend,
        "ZWJ" => WordBreak::Zwj,
        "Format" => WordBreak::Format,
        "Regional_Indicator" => WordBreak::RegionalIndicator,
        "Katakana" => WordBreak::Katakana,
        "Hebrew_Letter" => WordBreak::HebrewLetter,
        "ALetter" => WordBreak::ALetter,
        "Single_Quote" => WordBreak::SingleQuote,
        "Double_Quote" => WordBreak::DoubleQuote,
        "MidNumLet" => WordBreak::MidNumLet,
        "MidLetter" => WordBreak::MidLetter,
        "MidNum" => WordBreak::MidNum,
        "Numeric" => WordBreak::Numeric,
        "ExtendNumLet" => WordBreak::ExtendNumLet,
        "WSegSpace" => WordBreak::WSegSpace,
        other => panic!("WordBreakProperty.txt has a class the rules do not know: {other}"),
    }
}

/// The letter a class has in the generated text.
fn letter(class: WordBreak) -> char {
    match class {
        WordBreak::Other => 'O',
        WordBreak::Pictographic => 'P',
        WordBreak::Cr => 'C',
        WordBreak::Lf => 'L',
        WordBreak::Newline => 'N',
        WordBreak::Extend => 'E',
        WordBreak::Zwj => 'Z',
        WordBreak::Format => 'F',
        WordBreak::RegionalIndicator => 'R',
        WordBreak::Katakana => 'K',
        WordBreak::HebrewLetter => 'H',
        WordBreak::ALetter => 'A',
        WordBreak::PictographicALetter => 'B',
        WordBreak::SingleQuote => 'S',
        WordBreak::DoubleQuote => 'D',
        WordBreak::MidNumLet => 'M',
        WordBreak::MidLetter => 'T',
        WordBreak::MidNum => 'U',
        WordBreak::Numeric => 'I',
        WordBreak::ExtendNumLet => 'X',
        WordBreak::WSegSpace => 'W',
    }
}

const EVERY_CLASS: [WordBreak; 21] = [
    WordBreak::Other,
    WordBreak::Pictographic,
    WordBreak::Cr,
    WordBreak::Lf,
    WordBreak::Newline,
    WordBreak::Extend,
    WordBreak::Zwj,
    WordBreak::Format,
    WordBreak::RegionalIndicator,
    WordBreak::Katakana,
    WordBreak::HebrewLetter,
    WordBreak::ALetter,
    WordBreak::PictographicALetter,
    WordBreak::SingleQuote,
    WordBreak::DoubleQuote,
    WordBreak::MidNumLet,
    WordBreak::MidLetter,
    WordBreak::MidNum,
    WordBreak::Numeric,
    WordBreak::ExtendNumLet,
    WordBreak::WSegSpace,
];

/// The class of every code point as the data files have it. Surrogates, which no `char` can be, are Other.
fn classes_of_the_data_files() -> Vec<WordBreak> {
    let mut classes = vec![WordBreak::Other; 0x11_0000];
    for (first, last, name) in rows(&data_file("WordBreakProperty.txt")) {
        classes[first as usize..=last as usize].fill(class(&name));
    }
    for (first, last, name) in rows(&data_file("emoji-data.txt")) {
        assert_eq!(name, "Extended_Pictographic");
        for class in &mut classes[first as usize..=last as usize] {
            *class = match *class {
                WordBreak::Other => WordBreak::Pictographic,
                WordBreak::ALetter => WordBreak::PictographicALetter,
                overlap => {
                    panic!("{overlap:?} overlaps Extended_Pictographic, which the rules do not foresee")
                }
            };
        }
    }
    classes
}

/// Unicode's version as the header of the data files names it.
fn version_of(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("# Unicode Version "));
    line.expect("a data file names its version").to_owned()
}

/// The whole text of `word_break_table.rs`.
fn generated(classes: &[WordBreak]) -> String {
    let version = version_of(&data_file("WordBreakProperty.txt"));
    assert_eq!(version, version_of(&data_file("emoji-data.txt")));

    let mut blocks: Vec<&[WordBreak]> = Vec::new();
    let mut number_of: HashMap<String, usize> = HashMap::new();
    let mut block_of = Vec::new();
    for block in classes.chunks(256) {
        let text: String = block.iter().map(|&class| letter(class)).collect();
        let number = *number_of.entry(text).or_insert_with(|| {
            blocks.push(block);
            blocks.len() - 1
        });
        block_of.push(u8::try_from(number).expect("at most 256 different blocks"));
    }

    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("a String takes any text");
    line(format_args!("//! Word_Break of every character, Unicode {version}. GENERATED: do not edit."));
    line(format_args!("//!"));
    line(format_args!(
        "//! Made from WordBreakProperty.txt and the Extended_Pictographic rows of emoji-data.txt, which are in"
    ));
    line(format_args!("//! `testdata/unicode`. To make it anew after changing them:"));
    line(format_args!("//! `UPDATE_WORD_BREAK_TABLE=1 cargo test -p wordfreq-core word_break`."));
    line(format_args!(""));
    line(format_args!("use crate::word_break::WordBreak;"));
    line(format_args!(""));
    line(format_args!("/// The version of Unicode the table is of."));
    line(format_args!("pub(crate) const UNICODE_VERSION: (u8, u8, u8) = ({});", version.replace('.', ", ")));
    line(format_args!(""));
    for class in EVERY_CLASS {
        line(format_args!("const {}: WordBreak = WordBreak::{class:?};", letter(class)));
    }
    line(format_args!(""));
    line(format_args!("/// For each 256 code points, which of `BLOCKS` has their classes."));
    line(format_args!("#[rustfmt::skip]"));
    line(format_args!("pub(crate) static BLOCK_OF: [u8; {}] = [", block_of.len()));
    for row in block_of.chunks(32) {
        let row: Vec<String> = row.iter().map(u8::to_string).collect();
        line(format_args!("    {},", row.join(",")));
    }
    line(format_args!("];"));
    line(format_args!(""));
    line(format_args!("/// The classes of 256 code points at a time, each different block once."));
    line(format_args!("#[rustfmt::skip]"));
    line(format_args!("pub(crate) static BLOCKS: [[WordBreak; 256]; {}] = [", blocks.len()));
    for block in blocks {
        line(format_args!("    ["));
        for row in block.chunks(64) {
            let row: String = row.iter().flat_map(|&class| [letter(class), ',']).collect();
            line(format_args!("        {row}"));
        }
        line(format_args!("    ],"));
    }
    line(format_args!("];"));
    text
}

#[test]
fn the_table_is_the_data_files_for_every_scalar_value() {
    let classes = classes_of_the_data_files();
    for c in '\0'..=char::MAX {
        assert_eq!(WordBreak::of(c), classes[c as usize], "U+{:04X}", c as u32);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a request to the test, which is no setting of the product")]
fn the_table_is_what_the_generator_writes() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/word_break_table.rs");
    let text = generated(&classes_of_the_data_files());
    if std::env::var_os("UPDATE_WORD_BREAK_TABLE").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).expect("the table can be written");
        return;
    }
    let committed = std::fs::read_to_string(&path).expect("the table can be read");
    // Compared without assert_eq!, whose report would be the table twice.
    assert!(
        committed == text,
        "word_break_table.rs is not what testdata/unicode gives: \
         run UPDATE_WORD_BREAK_TABLE=1 cargo test -p wordfreq-core word_break"
    );
}
