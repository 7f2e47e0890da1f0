//! From a word as it stands in a document to the word it is counted as.
//!
//! Every function returns either its argument or a view of the caller's scratch, so that a word already in the table
//! costs no allocation. Not here: boundaries, and which words are kept.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// What `unicode` and `whitespace` count a word as: NFC, then full Unicode lower-casing, then NFC.
///
/// NFC comes first so that equivalent spellings lower-case alike, and again because lower-casing can leave
/// something to compose.
#[inline]
pub(crate) fn normalise<'a>(source: &'a str, scratch: &'a mut String) -> &'a str {
    if source.is_ascii() { lower_ascii(source, scratch) } else { normalise_any(source, scratch) }
}

#[inline]
fn lower_ascii<'a>(source: &'a str, scratch: &'a mut String) -> &'a str {
    if !source.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return source;
    }
    scratch.clear();
    scratch.push_str(source);
    scratch.make_ascii_lowercase();
    scratch
}

fn normalise_any<'a>(source: &'a str, scratch: &'a mut String) -> &'a str {
    let composed: String;
    let source = if is_nfc(source) {
        source
    } else {
        composed = source.nfc().collect();
        &composed
    };
    scratch.clear();
    if source.contains('Σ') {
        // The one letter whose lower case depends on its neighbours.
        scratch.push_str(&source.to_lowercase());
    } else {
        scratch.extend(source.chars().flat_map(char::to_lowercase));
    }
    if !is_nfc(scratch) {
        *scratch = scratch.nfc().collect();
    }
    scratch
}

/// Whether `text` is certainly in NFC; a false "no" costs time, not correctness.
fn is_nfc(text: &str) -> bool {
    is_nfc_quick(text.chars()) == IsNormalized::Yes
}

/// Go's `strings.ToLower` on a token whose invalid bytes are U+FFFD already: one character to one character.
#[inline]
pub(crate) fn lower_simple<'a>(source: &'a str, scratch: &'a mut String) -> &'a str {
    if source.is_ascii() {
        return lower_ascii(source, scratch);
    }
    scratch.clear();
    scratch.extend(source.chars().map(lower_char_simple));
    scratch
}

/// The simple lower-case mapping of UnicodeData.txt.
///
/// The full mapping, which `char::to_lowercase` gives, differs in U+0130 alone: the only unconditional lower-case
/// row of SpecialCasing.txt that is longer than one character.
fn lower_char_simple(c: char) -> char {
    if c == '\u{130}' {
        return 'i';
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// The sample's `strings.Trim` with its set of characters.
pub(crate) fn trim_sample(word: &str) -> &str {
    word.trim_matches(['.', ',', '"', '\'', '?', '!'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simple_lower_case_is_the_full_one_but_for_one_letter() {
        for c in '\0'..=char::MAX {
            let full: String = c.to_lowercase().collect();
            if c == '\u{130}' {
                assert_eq!(full, "i\u{307}");
                assert_eq!(lower_char_simple(c), 'i');
            } else {
                assert_eq!(full, lower_char_simple(c).to_string(), "U+{:04X}", c as u32);
            }
        }
    }

    #[test]
    fn words_are_composed_before_and_after_lower_casing() {
        let normalised = |source: &str| normalise(source, &mut String::new()).to_owned();
        assert_eq!(normalised("The"), "the");
        assert_eq!(normalised("the"), "the");
        assert_eq!(normalised("CAFE\u{301}"), "café");
        assert_eq!(normalised("\u{212A}elvin \u{212B}"), "kelvin å");
        assert_eq!(normalised("ΟΔΥΣΣΕΥΣ"), "οδυσσευς");
        assert_eq!(normalised("\u{130}"), "i\u{307}");
        // U+0130 lower-cases to i and U+0307, below which U+0323 sorts and composes with i.
        assert_eq!(normalised("\u{130}\u{323}"), "\u{1ECB}\u{307}");
        assert_eq!(normalised("straße ẞ"), "straße ß");
    }
}
