//! Where the words of a document are, one rule to a file.
//!
//! [`Tokenizer`] is the seam: bytes in chunks of any size go in, words as they stand in the document come out as
//! slices. A faster tokenizer replaces one behind it and no caller changes. Not here: what a word is counted as.

mod go_sample;
mod unicode;
mod utf8;
mod whitespace;

use crate::counter::CountError;
use crate::profile::ProfileName;
use go_sample::GoSample;
use unicode::Unicode;
use whitespace::Whitespace;

/// The longest word that is counted, in bytes of UTF-8 as it stands in the document, before normalising. Longer
/// ones are counted in [`Counts::over_long`](crate::Counts::over_long) only. `go-sample` has no such limit.
pub const MAX_WORD_BYTES: usize = 1024;

/// The buffer of the Go sample's scanner, in bytes: a token and the white space character that ends it must fit,
/// or the one free byte it takes to see the end of the document.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// What a tokenizer finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A word as it stands in the document; in `go-sample` with U+FFFD for each invalid byte.
    Word(&'a str),
    /// A word longer than [`MAX_WORD_BYTES`].
    OverLong,
}

/// A rule for words, with the state that one document needs between two chunks.
#[derive(Debug)]
pub(crate) enum Tokenizer {
    Unicode(Unicode),
    Whitespace(Whitespace),
    GoSample(GoSample),
}

impl Tokenizer {
    pub(crate) fn new(rule: ProfileName) -> Self {
        match rule {
            ProfileName::Unicode => Self::Unicode(Unicode::default()),
            ProfileName::Whitespace => Self::Whitespace(Whitespace::default()),
            ProfileName::GoSample => Self::GoSample(GoSample::default()),
        }
    }

    /// Hands every word that ends in `chunk` to `sink`, in order.
    pub(crate) fn feed(&mut self, chunk: &[u8], sink: &mut impl FnMut(Token<'_>)) {
        match self {
            Self::Unicode(rule) => rule.feed(chunk, sink),
            Self::Whitespace(rule) => rule.feed(chunk, sink),
            Self::GoSample(rule) => rule.feed(chunk, sink),
        }
    }

    /// Hands over what the end of the document completes.
    pub(crate) fn finish(mut self, sink: &mut impl FnMut(Token<'_>)) -> Result<(), CountError> {
        self.end(sink);
        match self {
            Self::Unicode(_) | Self::Whitespace(_) => Ok(()),
            Self::GoSample(rule) => rule.finish(sink),
        }
    }

    /// Hands over what the end of a text completes, and begins anew; only [`finish`](Self::finish) ends one of
    /// `go-sample`.
    pub(crate) fn end(&mut self, sink: &mut impl FnMut(Token<'_>)) {
        match self {
            Self::Unicode(rule) => rule.end(sink),
            Self::Whitespace(rule) => rule.end(sink),
            Self::GoSample(_) => {}
        }
    }

    /// The bytes of memory held between two chunks.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        match self {
            Self::Unicode(rule) => rule.held_bytes(),
            Self::Whitespace(rule) => rule.held_bytes(),
            Self::GoSample(rule) => rule.held_bytes(),
        }
    }
}

/// The part of a word that came in earlier chunks: its bytes up to [`MAX_WORD_BYTES`], and beyond that only what the
/// rules still need to know, so that a word of any length takes constant memory.
#[derive(Debug, Default)]
struct Carried {
    text: String,
    over_long: bool,
    alphanumeric: bool,
}

impl Carried {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.over_long
    }

    fn clear(&mut self) {
        self.text.clear();
        self.over_long = false;
        self.alphanumeric = false;
    }

    fn push(&mut self, text: &str) {
        self.alphanumeric = self.alphanumeric || is_alphanumeric(text);
        if self.over_long || self.text.len() + text.len() > MAX_WORD_BYTES {
            self.over_long = true;
            self.text.clear();
        } else {
            self.text.push_str(text);
        }
    }

    /// Appends a part that came later, and empties it.
    fn append(&mut self, later: &mut Carried) {
        self.alphanumeric |= later.alphanumeric;
        if later.over_long {
            self.over_long = true;
            self.text.clear();
        } else {
            self.push(&later.text);
        }
        later.clear();
    }
}

/// Whether a segment counts as a word in `unicode`.
#[inline]
fn is_alphanumeric(segment: &str) -> bool {
    segment.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests;
