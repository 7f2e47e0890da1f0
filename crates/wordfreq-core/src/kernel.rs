//! The fast path of `unicode` and `whitespace`: whole windows of ASCII by bit masks, everything else by the rules of
//! `tokenize`.
//!
//! An *atom* is a maximal run of bytes other than ASCII white space. What `unicode` and `whitespace` find in an atom of
//! ASCII depends on nothing outside it, and neither does what they find elsewhere depend on it. An atom with another byte
//! goes to the tokenizer, together with the blanks around it where a mark could join one (WB4), and so does the atom that
//! a chunk leaves open. Not here: how bytes are classified (`simd`), and how words are counted (`table`).

use crate::profile::ProfileName;
use crate::simd::{self, Level, Mask, Masks, PLACES, WINDOW};
use crate::table::Batch;
use crate::tokenize::{MAX_WORD_BYTES, Token, Tokenizer};

use crate::counter::Tally;

#[derive(Debug)]
pub(crate) struct Kernel {
    unicode: bool,
    level: Level,
    tokenizer: Tokenizer,
    /// Whether the tokenizer has had the bytes up to here; else a certain boundary is here.
    open: bool,
    masks: Masks,
    words: Mask,
    /// The window in lower case.
    lowered: [u8; WINDOW + 64],
    /// Where words start and end, in turn.
    edges: [u16; PLACES],
    batch: Batch,
}

impl Kernel {
    /// For `unicode` or `whitespace`.
    pub(crate) fn new(rule: ProfileName, level: Level) -> Self {
        Self {
            unicode: rule == ProfileName::Unicode,
            level,
            tokenizer: Tokenizer::new(rule),
            open: false,
            masks: Masks::new(),
            words: [0; simd::BLOCKS + 2],
            lowered: [0; WINDOW + 64],
            edges: [0; PLACES],
            batch: Batch::new(),
        }
    }

    /// Counts every word that certainly ends in `chunk`.
    pub(crate) fn feed(&mut self, chunk: &[u8], tally: &mut Tally) {
        let mut at = 0;
        if self.open {
            at = self.slowly(chunk, 0, tally);
        }
        let tail = at + tail(&chunk[at..]);
        while at < tail {
            at = self.window(chunk, at, tail, tally);
        }
        if at < chunk.len() {
            self.slowly(chunk, at, tally);
        }
    }

    /// Ends the document.
    pub(crate) fn finish(mut self, tally: &mut Tally) {
        self.tokenizer.end(&mut |token| tally.take(token));
    }

    /// Gives the tokenizer what comes from `from` on, to the next certain boundary, and returns that; or to the end of
    /// the chunk, and it stays open.
    fn slowly(&mut self, chunk: &[u8], from: usize, tally: &mut Tally) -> usize {
        let mut sink = |token: Token<'_>| tally.take(token);
        let mut scan = from;
        if !self.open {
            // The blanks before an atom, if it is given with them.
            scan += chunk[from..].iter().position(|&byte| !is_blank(byte)).unwrap_or(0);
        }
        let end = loop {
            let Some(atom) = chunk[scan..].iter().position(|&byte| is_space(byte)) else {
                self.open = true;
                break chunk.len();
            };
            let end = scan + atom;
            let Some(blanks) = chunk[end..].iter().position(|&byte| !is_blank(byte)) else {
                self.open = true;
                break chunk.len();
            };
            scan = end + blanks;
            if chunk[scan].is_ascii() {
                self.open = false;
                break end;
            }
        };
        self.tokenizer.feed(&chunk[from..end], &mut sink);
        if !self.open {
            self.tokenizer.end(&mut sink);
        }
        end
    }

    /// Counts the words from `at`, where a certain boundary is, to another one, as far as a window goes but not beyond
    /// `tail` without need; returns that.
    fn window(&mut self, chunk: &[u8], at: usize, tail: usize, tally: &mut Tally) -> usize {
        let bytes = &chunk[at..tail.min(at + WINDOW)];
        let blocks = if self.unicode {
            simd::classify::<true>(self.level, bytes, &mut self.masks, &mut self.lowered)
        } else {
            simd::classify::<false>(self.level, bytes, &mut self.masks, &mut self.lowered)
        };
        // At the tail a word ends, whether by a space or by the end of the chunk.
        let mut cut = bytes.len();
        if at + cut < tail {
            match last_bit(&self.masks.space, cut) {
                Some(space) => cut = space + 1,
                None => return self.slowly(chunk, with_blanks(chunk, at), tally),
            }
        }
        let underscores =
            if self.unicode { self.unicode_words(blocks) } else { self.whitespace_words(blocks) };
        let blocks = cut.div_ceil(64);
        if !cut.is_multiple_of(64) {
            self.words[blocks - 1] &= (1 << (cut % 64)) - 1;
        }
        self.words[blocks] = 0;

        let mut to = cut;
        let mut from = 0;
        while let Some(other) = next_bit(&self.masks.non_ascii, from, cut) {
            let start = last_bit(&self.masks.space, other).map_or(0, |space| space + 1);
            to = self.slowly(chunk, with_blanks(chunk, at + start), tally) - at;
            clear(&mut self.words, start, to.min(cut));
            from = to;
            if to >= cut {
                break;
            }
            to = cut;
        }
        self.count_words(blocks, underscores, tally);
        at + to.max(cut)
    }

    fn whitespace_words(&mut self, blocks: usize) -> bool {
        for (words, space) in self.words[..blocks].iter_mut().zip(&self.masks.space) {
            *words = !space;
        }
        false
    }

    /// UAX #29 for ASCII: letters, digits and `_` join (WB5, WB8 to WB10, WB13a, WB13b), and what stands between two
    /// letters or two digits may join them (WB6, WB7, WB11, WB12). Returns whether there is any `_`.
    fn unicode_words(&mut self, blocks: usize) -> bool {
        let masks = &mut self.masks;
        masks.letter[blocks] = 0;
        masks.digit[blocks] = 0;
        let (mut letter_before, mut digit_before, mut underscores) = (0, 0, 0);
        for block in 0..blocks {
            let (letter, digit) = (masks.letter[block], masks.digit[block]);
            let letters = (letter << 1 | letter_before >> 63) & (letter >> 1 | masks.letter[block + 1] << 63);
            let digits = (digit << 1 | digit_before >> 63) & (digit >> 1 | masks.digit[block + 1] << 63);
            let joins = letters & (masks.mid_both[block] | masks.mid_letter[block])
                | digits & (masks.mid_both[block] | masks.mid_digit[block]);
            self.words[block] = letter | digit | masks.underscore[block] | joins;
            underscores |= masks.underscore[block];
            (letter_before, digit_before) = (letter, digit);
        }
        underscores != 0
    }

    /// Counts the runs of bits in `words`; if there are `underscores`, not those of nothing else.
    #[inline]
    fn count_words(&mut self, blocks: usize, underscores: bool, tally: &mut Tally) {
        let mut edges: Mask = [0; simd::BLOCKS + 2];
        let (mut before, mut longish) = (0, false);
        for (edges, &words) in edges.iter_mut().zip(&self.words[..=blocks]) {
            longish |= words == u64::MAX;
            *edges = words ^ (words << 1 | before >> 63);
            before = words;
        }
        let number = simd::places(self.level, &edges, blocks, &mut self.edges) / 2;
        let (words, _) = self.edges.as_chunks_mut();
        let mut words = &mut words[..number];
        if longish || underscores || tally.min_length > 1 {
            words = drop_words(words, &self.lowered, underscores, tally);
        }
        tally.counts.add_words(&mut self.batch, &self.lowered, words);
    }
}

/// Keeps those of `words`, by their starts and ends in `text`, that are neither too short nor too long and, if there are
/// `underscores`, not of nothing else.
fn drop_words<'a>(
    words: &'a mut [[u16; 2]],
    text: &[u8],
    underscores: bool,
    tally: &mut Tally,
) -> &'a mut [[u16; 2]] {
    let mut kept = 0;
    for at in 0..words.len() {
        let [start, end] = words[at];
        let word = &text[usize::from(start)..usize::from(end)];
        if word.len() < tally.min_length || underscores && word.iter().all(|&byte| byte == b'_') {
            continue;
        }
        if word.len() > MAX_WORD_BYTES {
            tally.counts.add_totals(0, 1);
            continue;
        }
        words[kept] = [start, end];
        kept += 1;
    }
    &mut words[..kept]
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// White space that a mark right after it joins (WB4): to UAX #29 a tab is like any symbol. The rest ends a line, and is a boundary
/// on both sides.
#[inline]
fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | b' ')
}

/// Where the last atom of `chunk` starts if it is open, with the blanks before it; or the blanks at the end.
fn tail(chunk: &[u8]) -> usize {
    let atom = chunk.iter().rposition(|&byte| is_space(byte)).map_or(0, |space| space + 1);
    chunk[..atom].iter().rposition(|&byte| !is_blank(byte)).map_or(0, |other| other + 1)
}

/// Where the atom at `start` starts with the blanks before it, if it starts with a byte that could join them.
fn with_blanks(chunk: &[u8], start: usize) -> usize {
    if chunk[start].is_ascii() {
        return start;
    }
    chunk[..start].iter().rposition(|&byte| !is_blank(byte)).map_or(0, |other| other + 1)
}

/// The last bit before `end`.
#[inline]
fn last_bit(mask: &Mask, end: usize) -> Option<usize> {
    let mut block = end / 64;
    let mut bits = mask[block] & ((1 << (end % 64)) - 1);
    while bits == 0 {
        block = block.checked_sub(1)?;
        bits = mask[block];
    }
    Some(block * 64 + 63 - bits.leading_zeros() as usize)
}

/// The first bit from `from` on and before `end`.
#[inline]
fn next_bit(mask: &Mask, from: usize, end: usize) -> Option<usize> {
    let mut block = from / 64;
    let mut bits = mask[block] & u64::MAX << (from % 64);
    while bits == 0 {
        block += 1;
        if block * 64 >= end {
            return None;
        }
        bits = mask[block];
    }
    Some(block * 64 + bits.trailing_zeros() as usize).filter(|&bit| bit < end)
}

/// Clears the bits from `from` to before `to`.
fn clear(mask: &mut Mask, from: usize, to: usize) {
    for (block, bits) in mask.iter_mut().enumerate().take(to.div_ceil(64)).skip(from / 64) {
        let below = |at: usize| match at.saturating_sub(block * 64) {
            within @ ..64 => (1_u64 << within) - 1,
            _ => u64::MAX,
        };
        *bits &= !(below(to) & !below(from));
    }
}

#[cfg(test)]
mod tests;
