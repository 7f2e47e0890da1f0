//! Bytes in chunks to text, with the invalid sequences told apart.
//!
//! An invalid sequence is what `String::from_utf8_lossy` replaces by one U+FFFD: the maximal subpart of a character
//! that is not there, or else one byte. Not here: what stands in for it, which is up to each rule.

/// A stretch of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Valid text, never empty.
    Text(&'a str),
    /// One invalid sequence of this many bytes, 1 to 3.
    Invalid(usize),
}

/// The decoder's state between two chunks: the start of a character whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    start: [u8; 4],
    /// How many bytes of `start` are in use: 0 to 3.
    len: usize,
}

impl Decoder {
    /// Hands every piece that is complete within `chunk` to `sink`, in order.
    pub(super) fn feed(&mut self, chunk: &[u8], sink: &mut impl FnMut(Piece<'_>)) {
        let mut rest = self.complete(chunk, sink);
        while !rest.is_empty() {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => return sink(Piece::Text(text)),
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            // Validated a second time, since only `unsafe` could skip that; it is linear all the same.
            if let Ok(text) = std::str::from_utf8(valid)
                && !text.is_empty()
            {
                sink(Piece::Text(text));
            }
            match error.error_len() {
                Some(len) => {
                    sink(Piece::Invalid(len));
                    rest = &after[len..];
                }
                None => {
                    self.len = after.len();
                    self.start[..self.len].copy_from_slice(after);
                    return;
                }
            }
        }
    }

    /// Ends the document, where a character left incomplete is invalid.
    pub(super) fn finish(self, sink: &mut impl FnMut(Piece<'_>)) {
        if self.len > 0 {
            sink(Piece::Invalid(self.len));
        }
    }

    /// Completes the character that the last chunk left open, and returns the rest of this one.
    fn complete<'a>(&mut self, mut chunk: &'a [u8], sink: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        while self.len > 0
            && let Some((&byte, rest)) = chunk.split_first()
        {
            self.start[self.len] = byte;
            match std::str::from_utf8(&self.start[..=self.len]) {
                Ok(text) => {
                    sink(Piece::Text(text));
                    self.len = 0;
                    chunk = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    self.len += 1;
                    chunk = rest;
                }
                // What was there could be continued until now, so all of it is the maximal subpart, and this byte
                // may start something of its own.
                Err(_) => {
                    sink(Piece::Invalid(self.len));
                    self.len = 0;
                }
            }
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lossy(chunks: &[&[u8]]) -> (String, usize) {
        let mut text = String::new();
        let mut bytes = 0;
        let mut sink = |piece: Piece<'_>| match piece {
            Piece::Text(valid) => {
                assert!(!valid.is_empty());
                text.push_str(valid);
                bytes += valid.len();
            }
            Piece::Invalid(len) => {
                assert!((1..=3).contains(&len));
                text.push('\u{FFFD}');
                bytes += len;
            }
        };
        let mut decoder = Decoder::default();
        for chunk in chunks {
            decoder.feed(chunk, &mut sink);
        }
        decoder.finish(&mut sink);
        (text, bytes)
    }

    /// Bytes that start, continue and break characters, in every combination.
    const TRICKY: [u8; 20] = [
        b'a', b'\n', 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1,
        0xF4, 0xF5, 0xFE, 0xFF,
    ];

    proptest! {
        #[test]
        fn decodes_as_from_utf8_lossy_at_any_chunking(
            bytes in prop::collection::vec(prop::sample::select(&TRICKY[..]), 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            prop_assert_eq!(lossy(&chunks), (String::from_utf8_lossy(&bytes).into_owned(), bytes.len()));
        }
    }

    /// All sequences of up to four bytes out of the tricky ones, a byte at a time.
    #[test]
    fn decodes_as_from_utf8_lossy_byte_by_byte() {
        let mut sequences: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..3 {
            let longer = sequences.iter().flat_map(|head| {
                TRICKY.iter().map(|&byte| head.iter().copied().chain([byte]).collect::<Vec<u8>>())
            });
            sequences = longer.collect();
            for bytes in &sequences {
                let chunks: Vec<&[u8]> = bytes.chunks(1).collect();
                assert_eq!(lossy(&chunks).0, String::from_utf8_lossy(bytes), "{bytes:X?}");
            }
        }
        assert_eq!(sequences.len(), 8000);
    }
}
