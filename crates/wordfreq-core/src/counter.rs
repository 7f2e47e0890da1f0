//! A document, in chunks of any size, to its counts.
//!
//! Not here: where a word begins and ends (`tokenize`), or what a word is counted as (`normalise`).

use crate::counts::Counts;
use crate::kernel::Kernel;
use crate::normalise::{lower_simple, normalise, trim_sample};
use crate::profile::{Profile, ProfileName};
use crate::simd::Level;
use crate::tokenize::{Token, Tokenizer};

/// Why a document has no counts. Only `go-sample` can fail, as the sample does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// A token, with the white space that ends it, does not fit the sample's buffer of
    /// [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES).
    #[error(
        "the token at byte {offset} does not fit the 65536 bytes profile `go-sample` reads at a time: \
         count this document with profile `unicode` or `whitespace`"
    )]
    TokenTooLong {
        /// Where the token starts, in bytes from the start of the document.
        offset: u64,
    },
}

/// A document of more bytes than this tells how many words it has.
const MOST_GUESSED_BYTES: usize = 8 * 1024;

/// Counts the words of one document.
///
/// The chunks may be cut anywhere, within a word or within a character: only their concatenation matters.
#[derive(Debug)]
pub struct Counter {
    engine: Engine,
    tally: Tally,
}

#[derive(Debug)]
enum Engine {
    Kernel(Box<Kernel>),
    Tokenizer(Tokenizer),
}

impl Counter {
    /// A counter for one document under `profile`.
    pub fn new(profile: &Profile) -> Self {
        let engine = match profile.name {
            ProfileName::Unicode | ProfileName::Whitespace => {
                Engine::Kernel(Box::new(Kernel::new(profile.name, Level::best())))
            }
            ProfileName::GoSample => Engine::Tokenizer(Tokenizer::new(profile.name)),
        };
        Self { engine, tally: Tally::new(profile) }
    }

    /// Takes the next bytes of the document. After an error, which [`finish`](Self::finish) reports, it ignores
    /// what it is given.
    pub fn feed(&mut self, chunk: &[u8]) {
        let Self { engine, tally } = self;
        if tally.counts.words() == 0 {
            // A word in ten bytes is a guess for a small document, whose table else grows four times before it is through.
            tally.counts.expect_words(chunk.len().min(MOST_GUESSED_BYTES) / 10);
        }
        tally.counts.add_totals(chunk.len() as u64, 0);
        match engine {
            Engine::Kernel(kernel) => kernel.feed(chunk, tally),
            Engine::Tokenizer(tokenizer) => tokenizer.feed(chunk, &mut |token| tally.take(token)),
        }
    }

    /// The bytes of memory the counts take at most while `words` more words are added (see [`Counts::memory_with`]).
    pub fn memory_with(&self, words: u64) -> u64 {
        let unsettled = match &self.engine {
            Engine::Kernel(kernel) => kernel.most_unsettled(),
            Engine::Tokenizer(_) => 0,
        };
        self.tally.counts.memory_with(words + unsettled as u64)
    }

    /// Takes out what has been counted so far, for whoever wants it out of memory; what comes later is counted anew. All
    /// that was taken out and what [`finish`](Self::finish) gives, merged, are the counts of the document, unless that fails.
    pub fn take_counts(&mut self) -> Counts {
        if let Engine::Kernel(kernel) = &mut self.engine {
            kernel.settle(&mut self.tally);
        }
        std::mem::take(&mut self.tally.counts)
    }

    /// Ends the document.
    pub fn finish(self) -> Result<Counts, CountError> {
        let Self { engine, mut tally } = self;
        match engine {
            Engine::Kernel(kernel) => kernel.finish(&mut tally),
            Engine::Tokenizer(tokenizer) => tokenizer.finish(&mut |token| tally.take(token))?,
        }
        Ok(tally.counts)
    }
}

/// From the tokens of a document to its counts.
#[derive(Debug)]
pub(crate) struct Tally {
    rule: ProfileName,
    pub(crate) min_length: usize,
    pub(crate) counts: Counts,
    scratch: String,
}

impl Tally {
    pub(crate) fn new(profile: &Profile) -> Self {
        Self {
            rule: profile.name,
            min_length: usize::try_from(profile.min_length).unwrap_or(usize::MAX),
            counts: Counts::new(),
            scratch: String::new(),
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, token: Token<'_>) {
        let Token::Word(source) = token else {
            self.counts.add_totals(0, 1);
            return;
        };
        let word = match self.rule {
            ProfileName::Unicode | ProfileName::Whitespace => normalise(source, &mut self.scratch),
            ProfileName::GoSample => {
                let lowered = lower_simple(source, &mut self.scratch);
                // The sample measures bytes, and before it trims.
                if lowered.len() <= 4 {
                    return;
                }
                trim_sample(lowered)
            }
        };
        if self.min_length <= 1 || word.chars().count() >= self.min_length {
            self.counts.add(word, 1);
        }
    }
}

/// Counts the words of a whole document at once.
pub fn count(profile: &Profile, bytes: &[u8]) -> Result<Counts, CountError> {
    let mut counter = Counter::new(profile);
    counter.feed(bytes);
    counter.finish()
}

/// Position just after the first LF in `window`: a boundary for every profile whatever stands on either side, so a
/// document may be cut there and its parts counted apart and merged. `None` if `window` has no LF.
///
/// It holds for every profile: LF is white space; UAX #29 always breaks after it (WB3a); and no sequence of UTF-8,
/// valid or not, continues across it. Only the offset in [`CountError::TokenTooLong`] is then relative to the part.
pub fn certain_boundary(window: &[u8]) -> Option<usize> {
    window.iter().position(|&byte| byte == b'\n').map(|position| position + 1)
}
