//! The fast path of `unicode` and `whitespace`: whole windows by bit masks, and what is too rare for them by the rules of
//! `tokenize`.
//!
//! An *atom* is a maximal run of bytes other than ASCII white space. What `unicode` and `whitespace` find in an atom that begins
//! with ASCII depends on nothing outside it, and neither does what they find elsewhere depend on it. Characters beyond ASCII
//! are put into the same masks with all their bytes: plain letters and what joins them many at a time (`simd::plain`), where there are
//! many; all others are looked up one by one. What composing leaves over of them is a gap, which is closed once it is known in which
//! word it is. An atom with a character that needs more than that goes to the tokenizer, or what of it is between two certain
//! boundaries, together with the blanks around it where a mark could join one (WB4); and so does the atom that a chunk leaves open.
//! Not here: how bytes are classified (`simd`), what characters do (`characters`), how letters and marks become one (`composing`), and how
//! words are counted (`table`, `simd::lines`).

mod composing;

use crate::characters::{self, Character, Characters, Class};
use crate::profile::ProfileName;
use crate::scan::{first_byte, first_pair, is_space, last_byte, last_pair};
use crate::simd::lines::Batch;
use crate::simd::plain::Leads;
use crate::simd::{self, Level, Mask, Masks, PLACES, WINDOW};
use crate::tokenize::{MAX_WORD_BYTES, Token, Tokenizer};

use crate::counter::Tally;
use composing::{PAIRS, Pair, close_gaps};

/// What is written many bytes at a time comes first, in this order, so that it starts with a page or a cache line.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct Kernel {
    /// The window in lower case.
    lowered: [u8; WINDOW + 64],
    /// Where words start and end, in turn.
    edges: [u16; PLACES],
    masks: Masks,
    words: Mask,
    batch: Box<Batch>,
    unicode: bool,
    level: Level,
    characters: &'static Characters,
    tokenizer: Tokenizer,
    /// Whether the tokenizer has had the bytes up to here; else a certain boundary is here.
    open: bool,
    /// Where plain characters beyond ASCII begin.
    leads: [Leads; simd::BLOCKS],
    /// For how many windows they are not looked for.
    pause: u8,
    /// The pairs that were composed last, by their bytes.
    pairs: [Pair; PAIRS],
    /// Words that touch others, so that no mask can show them.
    alone: Vec<[u16; 2]>,
    /// Characters beyond ASCII that may join what is around them.
    mids: Vec<(u16, u8, Class)>,
    /// Bytes within words that composing has left over, from and to before, in their order.
    gaps: Vec<[u16; 2]>,
}

impl Kernel {
    /// For `unicode` or `whitespace`.
    pub(crate) fn new(rule: ProfileName, level: Level) -> Self {
        Self {
            batch: Batch::new(),
            lowered: [0; WINDOW + 64],
            edges: [0; PLACES],
            masks: Masks::new(),
            words: [0; simd::BLOCKS + 2],
            unicode: rule == ProfileName::Unicode,
            level,
            characters: Characters::of(rule),
            tokenizer: Tokenizer::new(rule),
            open: false,
            leads: [Leads::NONE; simd::BLOCKS],
            pause: 0,
            pairs: [Pair::NONE; PAIRS],
            alone: Vec::new(),
            mids: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Counts every word that certainly ends in `chunk`.
    pub(crate) fn feed(&mut self, chunk: &[u8], tally: &mut Tally) {
        let mut at = 0;
        if self.open {
            at = self.slowly(chunk, 0, 0, tally);
        }
        let tail = at + self.tail(&chunk[at..]);
        while at < tail {
            at = self.window(chunk, at, tail, tally);
        }
        while at < chunk.len() {
            at = self.slowly(chunk, at, at, tally);
        }
    }

    /// Ends the document.
    pub(crate) fn finish(mut self, tally: &mut Tally) {
        self.tokenizer.end(&mut |token| tally.take(token));
        self.settle(tally);
    }

    /// How many different words there may be that are counted and not yet in the counts.
    pub(crate) fn most_unsettled(&self) -> usize {
        self.batch.most_unsettled()
    }

    /// Gives `tally` all that has been counted: before that, some words are here.
    pub(crate) fn settle(&mut self, tally: &mut Tally) {
        tally.counts.settle(&mut self.batch);
    }

    /// Gives the tokenizer what comes from `from` on, to the next certain boundary behind the byte at `place`, and returns that; or
    /// to the end of the chunk, and it stays open.
    fn slowly(&mut self, chunk: &[u8], from: usize, place: usize, tally: &mut Tally) -> usize {
        let mut sink = |token: Token<'_>| tally.take(token);
        let mut scan = place;
        if !self.open && place == from {
            // The blanks before an atom, if it is given with them.
            scan += chunk[from..].iter().position(|&byte| !is_blank(byte)).unwrap_or(0);
        }
        let within = if self.unicode {
            let atom = first_byte(&chunk[scan..], is_space).map_or(chunk.len(), |atom| scan + atom);
            first_pair(&chunk[scan..atom], is_boundary).map(|boundary| scan + boundary)
        } else {
            None
        };
        let end = loop {
            if let Some(within) = within {
                self.open = false;
                break within;
            }
            let Some(atom) = first_byte(&chunk[scan..], is_space) else {
                self.open = true;
                break chunk.len();
            };
            let end = scan + atom;
            let Some(blanks) = chunk[end..].iter().position(|&byte| !is_blank(byte)) else {
                self.open = true;
                break chunk.len();
            };
            scan = end + blanks;
            if self.stands_apart(&chunk[scan..]) {
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

    /// Whether what this text begins with does not join the blanks before it, so that no word does that ends or begins at them.
    fn stands_apart(&self, text: &[u8]) -> bool {
        if !self.unicode || text[0].is_ascii() {
            return true;
        }
        let character = text.first_chunk().and_then(|&bytes| characters::place(bytes));
        character.is_some_and(|character| match self.characters.at(character).class {
            Class::Letter | Class::ComposingLetter | Class::Hebrew | Class::Sigma => true,
            Class::Digit | Class::Alone | Class::Katakana => true,
            Class::MidBoth | Class::MidLetter | Class::MidDigit => true,
            // White space among the first, and marks among the others.
            Class::Break | Class::Slow => false,
            Class::Joined | Class::Joiner | Class::Mark | Class::Composing => false,
        })
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
            match last_bit(&self.masks.space, cut)
                .map(|space| space + 1)
                .or_else(|| self.last_boundary(bytes))
            {
                Some(boundary) => cut = boundary,
                None => return self.slowly(chunk, with_blanks(chunk, at), at + cut - 1, tally),
            }
        }
        let has_others = next_bit(&self.masks.non_ascii, 0, cut).is_some();
        let to = if has_others { self.look_up_others(chunk, at, cut, tally) } else { cut };
        let underscores =
            if self.unicode { self.unicode_words(blocks) } else { self.whitespace_words(blocks) };
        if has_others {
            self.join_mids();
        }
        let blocks = cut.div_ceil(64);
        if !cut.is_multiple_of(64) {
            self.words[blocks - 1] &= (1 << (cut % 64)) - 1;
        }
        self.words[blocks] = 0;
        self.count_words(blocks, underscores, has_others, tally);
        at + to.max(cut)
    }

    /// Puts the characters beyond ASCII of the window before `cut` into the masks, or their atoms to the tokenizer. Returns how far that
    /// came, which may be beyond the window.
    fn look_up_others(&mut self, chunk: &[u8], at: usize, cut: usize, tally: &mut Tally) -> usize {
        self.alone.clear();
        self.mids.clear();
        self.gaps.clear();
        if self.pause > 0 {
            self.pause -= 1;
        } else {
            let others = self.masks.non_ascii[..cut.div_ceil(64)].iter();
            let number: usize = others.map(|bits| bits.count_ones() as usize).sum();
            if number * FEW > cut && !self.take_plain(cut) {
                self.pause = PAUSE;
            }
        }
        let (mut from, mut taken) = (0, 0);
        while let Some(other) = next_bit(&self.masks.non_ascii, from, cut) {
            from = match self.compose_letter(other, cut).map_or_else(|| self.look_up_run(other, cut), Ok) {
                Ok(end) => end,
                Err(Slow(place)) => {
                    let space = last_bit(&self.masks.space, other).map_or(0, |space| space + 1);
                    let mut start = space.max(taken);
                    start += self.last_boundary(&chunk[at + start..at + place]).unwrap_or(0);
                    let end = self.slowly(chunk, with_blanks(chunk, at + start), at + place, tally) - at;
                    self.forget(start, end.min(cut));
                    taken = end;
                    end
                }
            };
            if from >= cut {
                break;
            }
        }
        from
    }

    /// Looks up a character at `place`, and those that follow it as long as they are not ASCII. Returns where they end.
    fn look_up_run(&mut self, mut place: usize, cut: usize) -> Result<usize, Slow> {
        // What has no boundary between since `start`, and is of this class.
        let (mut start, mut run) = (place, self.class_before(place));
        // From where to where the last character is that has no combining class, that of its last part, and that of the last mark which
        // still stands behind it: before what is looked up there is none.
        let (mut base, mut trailing, mut before) = ([place, place], 0, 0);
        // Whether the last character that joins nothing is a `Break`.
        let mut is_break = false;
        loop {
            let Some(&bytes) = self.lowered[place..].first_chunk() else { return Err(Slow(place)) };
            let (len, mut of) = match characters::place(bytes) {
                Some(character) => (character.len, self.characters.at(character)),
                // Not in the tables, if it is a character at all.
                None if matches!(bytes, [0xF0..=0xF4, 0x80..=0xBF, 0x80..=0xBF, 0x80..=0xBF]) => {
                    return Err(Slow(place));
                }
                None => (1, Character::REPLACEMENT),
            };
            let mut end = place + len;
            if end > cut {
                return Err(Slow(place));
            }
            if of.lower[0] != 0 {
                // Not by a length that the compiler does not know, which would be a call.
                let [a, b, c] = of.lower;
                match &mut self.lowered[place..end] {
                    [first, second] => (*first, *second) = (a, b),
                    [first, second, third, ..] => (*first, *second, *third) = (a, b, c),
                    _ => {}
                }
            }
            let next = self.lowered[end];
            let (mut is_composed, mut is_moved) = (false, false);
            // As most are in prose: quotes and dashes.
            if of.class == Class::Break && place == start && !has(&self.masks.non_ascii, end) {
                if !self.unicode {
                    set(&mut self.masks.space, place, end);
                }
                return Ok(end);
            }
            // Few need to know what is before all of them.
            if place == start && matches!(of.class, Class::Mark | Class::Composing | Class::ComposingLetter) {
                base = [self.before(place), place];
                if !self.lowered[base[0]].is_ascii() {
                    trailing = self.character(base[0]).map_or(0, |base| base.trailing);
                }
            }
            match of.class {
                Class::Letter if run == Run::Letter => {}
                Class::ComposingLetter if run == Run::Letter => {
                    if base[1] == place
                        && let Some(from) = self.compose(base[0], place, end, Class::Letter)?
                    {
                        (base, is_composed) = ([from, end], true);
                    }
                }
                // What joins no word makes none, whatever is behind it.
                Class::Joined | Class::Joiner | Class::Mark | Class::Composing
                    if self.unicode && is_break && !of.is_alphanumeric =>
                {
                    if of.class == Class::Joiner && !self.ignores_joiner(end, cut, true) {
                        return Err(Slow(place));
                    }
                }
                Class::Joiner if !self.ignores_joiner(end, cut, false) => return Err(Slow(place)),
                Class::Joined | Class::Joiner | Class::Mark | Class::Composing => {
                    let joins = match run {
                        // To `whitespace` a mark is as good as a letter.
                        _ if !self.unicode => true,
                        Run::Letter | Run::Digit => !is_quote(next) || !self.is_hebrew_before(place),
                        Run::Alone => true,
                        Run::Katakana => next != b'_',
                        Run::Other => false,
                    };
                    if !joins {
                        return Err(Slow(place));
                    }
                    let is_marked = of.combining != 0;
                    if is_marked && of.combining < before {
                        if of.class != Class::Mark {
                            return Err(Slow(place));
                        }
                        self.put_in_order(base[1], place, end, of.combining)?;
                        is_moved = true;
                    }
                    if of.class == Class::Composing && base[1] == place {
                        if is_marked && of.combining < trailing {
                            return Err(Slow(place));
                        }
                        let class = match run {
                            Run::Alone => Class::Alone,
                            Run::Katakana => Class::Katakana,
                            _ => Class::Letter,
                        };
                        if let Some(from) = self.compose(base[0], place, end, class)? {
                            (base, trailing, is_composed) = ([from, end], of.combining, true);
                        }
                    } else if of.class == Class::Composing && of.combining > before {
                        // Not even another mark between may keep these two apart.
                        return Err(Slow(place));
                    }
                    if matches!(run, Run::Alone | Run::Katakana) {
                        self.extend_alone(place, end)?;
                    }
                }
                Class::Katakana if run == Run::Katakana && next != b'_' => self.extend_alone(place, end)?,
                class => {
                    self.put(run, start, place);
                    start = place;
                    run = match class {
                        Class::Letter | Class::ComposingLetter => Run::Letter,
                        Class::Hebrew if !is_quote(next) => Run::Letter,
                        Class::Sigma if self.put_sigma(place, end, cut) => Run::Letter,
                        Class::Digit => Run::Digit,
                        Class::Break | Class::MidBoth | Class::MidLetter | Class::MidDigit => Run::Other,
                        Class::Alone => Run::Alone,
                        Class::Katakana
                            if next != b'_' && (place == 0 || self.lowered[place - 1] != b'_') =>
                        {
                            Run::Katakana
                        }
                        _ => return Err(Slow(place)),
                    };
                    let word = [place as u16, end as u16];
                    match class {
                        Class::Break if !self.unicode => set(&mut self.masks.space, place, end),
                        Class::MidBoth | Class::MidLetter | Class::MidDigit => {
                            self.mids.push((word[0], len as u8, class));
                        }
                        Class::Katakana => self.alone.push(word),
                        Class::Alone => {
                            self.alone.push(word);
                            let behind = self.alone_end(end, cut);
                            let starts = (end..behind).step_by(3);
                            self.alone.extend(starts.map(|start| [start as u16, start as u16 + 3]));
                            if behind > end {
                                (place, end) = (behind - 3, behind);
                                if self.lowered[place] < 0xE4 {
                                    of = self.character(place).unwrap_or(of);
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            is_break = match of.class {
                Class::Joined | Class::Joiner | Class::Mark | Class::Composing => is_break,
                class => class == Class::Break,
            };
            if of.combining == 0 && !is_composed {
                (base, trailing) = ([place, end], of.trailing);
            }
            if is_composed {
                before = 0;
            } else if !is_moved {
                before = of.combining;
            }
            place = end;
            if end >= cut || !has(&self.masks.non_ascii, end) {
                self.put(run, start, end);
                return Ok(end);
            }
        }
    }

    /// Puts what is plain beyond ASCII before `cut` into the masks, and has it looked up no more: `non_ascii` is then what is left.
    /// Returns whether there was any.
    fn take_plain(&mut self, cut: usize) -> bool {
        let (blocks, characters) = (cut.div_ceil(64), self.characters);
        let plain = |page| characters.plain(page);
        let (text, others) = (&self.lowered, &self.masks.non_ascii);
        if !simd::plain::find(self.level, text, others, blocks, plain, &mut self.leads) {
            return false;
        }
        // None that ends behind `cut`.
        for (block, leads) in self.leads[..blocks].iter_mut().enumerate().skip((cut.max(64) - 64) / 64) {
            for kind in [&mut leads.letters, &mut leads.joined, &mut leads.marks] {
                kind[0] &= below(block, cut.saturating_sub(1));
                kind[1] &= below(block, cut.saturating_sub(2));
            }
        }
        // All bytes of letters, and of what may join them.
        let (mut letters, mut joined): (Mask, Mask) = ([0; simd::BLOCKS + 2], [0; simd::BLOCKS + 2]);
        let (mut letters_over, mut joined_over) = (0, 0);
        for ((leads, letters), joined) in self.leads[..blocks].iter().zip(&mut letters).zip(&mut joined) {
            *letters = bytes_of(leads.letters, &mut letters_over);
            *joined = bytes_of(leads.joined, &mut joined_over);
        }
        let masks = &mut self.masks;
        let (mut marks_over, mut word_before) = (0, 0);
        for block in 0..blocks {
            let left = |block: usize| masks.non_ascii[block] & !(letters[block] | joined[block]);
            let (left, left_after) = (left(block), left(block + 1));
            // A mark is left for what is left behind it, which may be another mark.
            let [two, three] = self.leads[block].marks;
            let marks = [two & !(left >> 2 | left_after << 62), three & !(left >> 3 | left_after << 61)];
            let joined = joined[block] | bytes_of(marks, &mut marks_over);
            // All of what joins, from a letter on: a sum carries through each run that begins right behind one.
            let before =
                if self.unicode { masks.letter[block] } else { !masks.non_ascii[block] } | letters[block];
            let joined = joined & !(joined & (before << 1 | word_before)).wrapping_add(joined);
            word_before = (before | joined) >> 63;
            let taken = letters[block] | joined;
            masks.non_ascii[block] &= !taken;
            if self.unicode {
                masks.letter[block] |= taken;
            }
        }
        true
    }

    /// Where the words by themselves end, a character of three bytes each, that begin at `from`.
    #[inline]
    fn alone_end(&self, from: usize, cut: usize) -> usize {
        let mut end = from;
        while let Some(&character) = self.lowered[end..cut].first_chunk() {
            let more = if matches!(character, [0xE4..=0xE9, _, _]) {
                ideographs(&self.lowered[end..cut])
            } else {
                usize::from(self.characters.is_alone(character))
            };
            if more == 0 {
                break;
            }
            end += 3 * more;
        }
        end
    }

    /// Whether what is at `place` does right behind a joiner what it does elsewhere. There, symbols join what is before it (WB3c), which
    /// makes no difference if that is a symbol too.
    fn ignores_joiner(&self, place: usize, cut: usize, after_symbol: bool) -> bool {
        let ignores = |of: Character| of.class != Class::Slow && (after_symbol || of.class != Class::Break);
        place < cut && (self.lowered[place].is_ascii() || self.character(place).is_some_and(ignores))
    }

    /// Has the word by itself that ends at `place` end at `end`.
    fn extend_alone(&mut self, place: usize, end: usize) -> Result<(), Slow> {
        match self.alone.last_mut() {
            Some([from, to]) if usize::from(*to) == place && end - usize::from(*from) <= MAX_WORD_BYTES => {
                *to = end as u16;
                Ok(())
            }
            _ => Err(Slow(place)),
        }
    }

    /// The character at this place, if it is in the tables.
    fn character(&self, place: usize) -> Option<Character> {
        let character = characters::place(*self.lowered[place..].first_chunk()?)?;
        Some(self.characters.at(character))
    }

    /// Where the character starts that ends before `place`; of what is not UTF-8, its last byte.
    fn before(&self, place: usize) -> usize {
        let last = place.saturating_sub(1);
        let length = self.lowered[..place].iter().rev().take(4).position(|&byte| byte & 0xC0 != 0x80);
        let start = last - length.unwrap_or(0);
        let expected = match self.lowered[start] {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        if start + expected == place { start } else { last }
    }

    /// What the character before `place` makes of a mark there.
    fn class_before(&self, place: usize) -> Run {
        let Some(before) = place.checked_sub(1).filter(|_| self.unicode) else { return Run::Other };
        let (letter, digit) = (has(&self.masks.letter, before), has(&self.masks.digit, before));
        // With no branch on what cannot be foretold.
        [Run::Other, Run::Digit, Run::Letter, Run::Letter][usize::from(letter) << 1 | usize::from(digit)]
    }

    /// Whether what is before `place` is ASCII, or nothing, and ends there for sure.
    fn starts_word(&self, place: usize) -> bool {
        let Some(before) = place.checked_sub(1) else { return true };
        if !self.unicode {
            return has(&self.masks.space, before);
        }
        let byte = self.lowered[before];
        is_space(byte) || is_symbol(byte)
    }

    /// Puts the lower case of the capital sigma that is there, if what is beside it says which (Unicode, `Final_Sigma`): ASCII, or Greek.
    fn put_sigma(&mut self, place: usize, end: usize, cut: usize) -> bool {
        if self.starts_word(place) {
            return true;
        }
        if end >= cut || !self.has_case(self.before(place)) {
            return false;
        }
        let next = self.lowered[end];
        if is_space(next) || self.unicode && (is_symbol(next) || matches!(next, b',' | b';')) {
            self.lowered[place..end].copy_from_slice("ς".as_bytes());
            return true;
        }
        self.has_case(end)
    }

    /// Whether the letter that is there has case: of ASCII and the Greek of two bytes, where none with case is passed over by the rule.
    fn has_case(&self, place: usize) -> bool {
        match self.lowered[place] {
            byte if byte.is_ascii() => byte.is_ascii_lowercase(),
            0xCE | 0xCF => std::str::from_utf8(&self.lowered[place..place + 2])
                .is_ok_and(|letter| letter.chars().all(|c| c.is_lowercase() || c.is_uppercase())),
            _ => false,
        }
    }

    /// Whether the letter that what is at `place` joins is Hebrew.
    fn is_hebrew_before(&self, place: usize) -> bool {
        let mut at = place;
        while at > 0 {
            at = self.before(at);
            match self.character(at).map(|of| of.class) {
                Some(Class::Joined | Class::Joiner | Class::Mark | Class::Composing) => {}
                class => return class == Some(Class::Hebrew),
            }
        }
        false
    }

    /// Puts a run that ends before `end` into its mask.
    #[inline(always)]
    fn put(&mut self, run: Run, start: usize, end: usize) {
        if self.unicode && start < end {
            match run {
                Run::Letter => set(&mut self.masks.letter, start, end),
                Run::Digit => set(&mut self.masks.digit, start, end),
                Run::Katakana | Run::Alone | Run::Other => {}
            }
        }
    }

    /// Takes what is from `start` to before `end` out of everything: the tokenizer has it.
    fn forget(&mut self, start: usize, end: usize) {
        if self.unicode {
            for mask in [&mut self.masks.letter, &mut self.masks.digit, &mut self.masks.underscore] {
                clear(mask, start, end);
            }
        } else {
            set(&mut self.masks.space, start, end);
        }
        while self.alone.pop_if(|[from, _]| usize::from(*from) >= start).is_some() {}
        while self.mids.pop_if(|(from, ..)| usize::from(*from) >= start).is_some() {}
        while self.gaps.pop_if(|[from, _]| usize::from(*from) >= start).is_some() {}
    }

    /// WB6, WB7, WB11 and WB12 for what stands between two letters or two digits with more bytes than one.
    fn join_mids(&mut self) {
        for &(place, len, class) in &self.mids {
            let (start, end) = (usize::from(place), usize::from(place) + usize::from(len));
            let within = |mask: &Mask| start > 0 && has(mask, start - 1) && has(mask, end);
            let joins = match class {
                Class::MidLetter => within(&self.masks.letter),
                Class::MidDigit => within(&self.masks.digit),
                _ => within(&self.masks.letter) || within(&self.masks.digit),
            };
            if joins {
                set(&mut self.words, start, end);
            }
        }
    }

    /// Where the last atom of `chunk` starts if it is open, with the blanks before it; or the blanks at the end; or, later than
    /// these, the last boundary in the atom.
    fn tail(&self, chunk: &[u8]) -> usize {
        let atom = last_byte(chunk, is_space).map_or(0, |space| space + 1);
        match self.last_boundary(&chunk[atom..]) {
            Some(boundary) => atom + boundary,
            None => before_blanks(&chunk[..atom]),
        }
    }

    /// The last boundary that two bytes show, if the rule has such.
    fn last_boundary(&self, text: &[u8]) -> Option<usize> {
        if self.unicode { last_pair(text, is_boundary) } else { None }
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
    fn count_words(&mut self, blocks: usize, underscores: bool, has_others: bool, tally: &mut Tally) {
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
        if has_others && !self.gaps.is_empty() {
            close_gaps(words, &self.gaps, &mut self.lowered);
        }
        if longish || underscores || tally.min_length > 1 {
            words = drop_words(words, &self.lowered, underscores, tally);
        }
        tally.counts.add_words(self.level, &mut self.batch, &self.lowered, words);
        if has_others && !self.alone.is_empty() {
            let mut words = &mut self.alone[..];
            if !self.gaps.is_empty() {
                close_gaps(words, &self.gaps, &mut self.lowered);
            }
            if tally.min_length > 1 {
                words = drop_words(words, &self.lowered, false, tally);
            }
            tally.counts.add_words(self.level, &mut self.batch, &self.lowered, words);
        }
    }
}

/// All bytes of the characters of two bytes and of three that begin there, and those that are over from the block before. What goes
/// beyond is over for the next.
#[inline(always)]
fn bytes_of([two, three]: [u64; 2], over: &mut u64) -> u64 {
    let bytes = *over | two | two << 1 | three | three << 1 | three << 2;
    *over = two >> 63 | three >> 63 | three >> 62;
    bytes
}

/// The bits of a block that are before `end`.
#[inline]
fn below(block: usize, end: usize) -> u64 {
    match end.saturating_sub(block * 64) {
        within @ ..64 => (1 << within) - 1,
        _ => u64::MAX,
    }
}

/// Of less than a byte in so many, characters beyond ASCII are looked up one by one.
const FEW: usize = 16;

/// For so many windows nothing plain is looked for after one that had none, as in capitals or ideographs.
const PAUSE: u8 = 4;

/// The tokenizer has to be asked about the character at this place.
struct Slow(usize);

/// What the characters since some place have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Letter,
    Digit,
    Katakana,
    /// A word by itself, with what is joined to it.
    Alone,
    Other,
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
        if underscores && word.iter().all(|&byte| byte == b'_') {
            continue;
        }
        // An over-long word is one however few characters it has.
        if word.len() > MAX_WORD_BYTES {
            tally.counts.add_totals(0, 1);
            continue;
        }
        let num_characters = || word.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        if tally.min_length > 1 && num_characters() < tally.min_length {
            continue;
        }
        words[kept] = [start, end];
        kept += 1;
    }
    &mut words[..kept]
}

/// How many characters from U+4E00 to U+9FFF `text` begins with, as text without spaces does: each of three bytes, and
/// [`Class::Alone`].
#[inline]
fn ideographs(text: &[u8]) -> usize {
    let follows = |byte: u8| byte & 0xC0 == 0x80;
    let is_ideograph =
        |&[a, b, c]: &[u8; 3]| (a > 0xE4 || b >= 0xB8) & matches!(a, 0xE4..=0xE9) & follows(b) & follows(c);
    let (characters, _) = text.as_chunks();
    characters.iter().take_while(|character| is_ideograph(character)).count()
}

/// What may join a Hebrew letter and no other.
#[inline]
fn is_quote(byte: u8) -> bool {
    matches!(byte, b'\'' | b'"')
}

/// White space that a mark right after it joins (WB4): to UAX #29 a tab is like any symbol. The rest ends a line, and is a boundary
/// on both sides.
#[inline]
fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | b' ')
}

/// A symbol that joins nothing, so that UAX #29 has a boundary after it when ASCII follows.
#[inline]
fn is_symbol(byte: u8) -> bool {
    byte.is_ascii_punctuation() & !matches!(byte, b'_' | b'\'' | b'.' | b':' | b',' | b';')
}

/// Whether UAX #29 has a boundary between these two bytes, whatever stands around them: after a symbol, and before what begins
/// U+4000 to U+9FFF, ideographs all of them or symbols, to which nothing before joins them.
#[inline]
fn is_boundary(before: u8, after: u8) -> bool {
    is_symbol(before) & after.is_ascii() | matches!(after, 0xE4..=0xE9)
}

/// Where the atom at `start` starts with the blanks before it, if it starts with a byte that could join them.
fn with_blanks(chunk: &[u8], start: usize) -> usize {
    if chunk[start].is_ascii() { start } else { before_blanks(&chunk[..start]) }
}

/// Where the blanks start that `text` ends with: a space joins any other there is, too (WB3d).
fn before_blanks(text: &[u8]) -> usize {
    let mut end = text.len();
    loop {
        end = match &text[..end] {
            [.., last] if is_blank(*last) => end - 1,
            [.., 0xE1, 0x9A, 0x80]
            | [.., 0xE2, 0x80, 0x80..=0x8A]
            | [.., 0xE2, 0x81, 0x9F]
            | [.., 0xE3, 0x80, 0x80] => end - 3,
            _ => return end,
        };
    }
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

#[inline]
fn has(mask: &Mask, bit: usize) -> bool {
    mask[bit / 64] >> (bit % 64) & 1 == 1
}

/// Sets the bits from `from` to before `to`, which is later.
#[inline(always)]
fn set(mask: &mut Mask, from: usize, to: usize) {
    let (first, last) = (from / 64, (to - 1) / 64);
    let (above, below) = (u64::MAX << (from % 64), u64::MAX >> (63 - (to - 1) % 64));
    if first == last {
        mask[first] |= above & below;
    } else {
        mask[first] |= above;
        mask[first + 1..last].fill(u64::MAX);
        mask[last] |= below;
    }
}

/// Clears the bits from `from` to before `to`.
fn clear(mask: &mut Mask, from: usize, to: usize) {
    for (block, bits) in mask.iter_mut().enumerate().take(to.div_ceil(64)).skip(from / 64) {
        *bits &= !(below(block, to) & !below(block, from));
    }
}

#[cfg(test)]
mod tests;
