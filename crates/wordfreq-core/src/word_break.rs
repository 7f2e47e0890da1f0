//! The Word_Break property of a character, by table.
//!
//! Not here: the rules that use it (`tokenize::unicode`). The table is generated; the tests below prove it equal to
//! the Unicode data files and write it anew from them.

use crate::word_break_table::{BLOCK_OF, BLOCKS};

/// Word_Break as the rules need it: the classes of UAX #29, with Extended_Pictographic split off the two classes
/// it overlaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordBreak {
    Other,
    /// Other and Extended_Pictographic.
    Pictographic,
    Cr,
    Lf,
    Newline,
    Extend,
    Zwj,
    Format,
    RegionalIndicator,
    Katakana,
    HebrewLetter,
    ALetter,
    /// ALetter and Extended_Pictographic, such as U+24C2.
    PictographicALetter,
    SingleQuote,
    DoubleQuote,
    MidNumLet,
    MidLetter,
    MidNum,
    Numeric,
    ExtendNumLet,
    WSegSpace,
}

impl WordBreak {
    /// The class of `c`.
    #[inline]
    pub(crate) fn of(c: char) -> Self {
        let scalar = c as usize;
        BLOCKS[usize::from(BLOCK_OF[scalar >> 8])][scalar & 0xFF]
    }
}

#[cfg(test)]
mod tests;
