//! Counts words, bytes in, counts out; and decides how large a fleet should be, observations in, a decision out.
//!
//! A [`Profile`] says what a word is, a [`Counter`] takes a document in chunks of any size and gives [`Counts`],
//! and [`Top`] ranks any table of words. Memory is bounded by the number of distinct words and by nothing else:
//! not by the length of a document, of a line or of a word.
//!
//! Beside it, as pure and apart from it: [`scaling`] decides how large a fleet should be, and [`simulation`] says what such
//! decisions would do with a load.
//!
//! Deliberately not here: files, threads, clocks, the environment, logging, and every wire format.

mod characters;
mod counter;
mod counts;
mod kernel;
mod normalise;
mod profile;
mod scan;
mod simd;
mod table;
mod tokenize;
mod top;
mod word_break;
mod word_break_table;

pub mod scaling;
pub mod simulation;

pub use counter::{CountError, Counter, certain_boundary, count};
pub use counts::{Counts, MergeTask, WordCount};
pub use profile::{Profile, ProfileName, UnknownProfile};
#[doc(hidden)]
pub use simd::limit_processor;
pub use tokenize::{MAX_TOKEN_BYTES, MAX_WORD_BYTES};
pub use top::Top;
