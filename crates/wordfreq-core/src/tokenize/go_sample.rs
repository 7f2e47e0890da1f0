//! The rule of profile `go-sample`: Go's `bufio.Scanner` with `bufio.ScanWords`, its buffer limit included.
//!
//! Go's `unicode.IsSpace` is the White_Space property. Its decoder treats each byte of an invalid sequence as one
//! U+FFFD, which is not white space, where the other profiles see one for the whole sequence; where valid characters
//! start and end is the same for both. Not here: lower-casing, the sample's minimum of bytes, and its trimming.

use super::utf8::{Decoder, Piece};
use super::{MAX_TOKEN_BYTES, Token};
use crate::counter::CountError;

#[derive(Debug, Default)]
pub(crate) struct GoSample {
    decoder: Decoder,
    scanner: Scanner,
}

impl GoSample {
    pub(super) fn feed(&mut self, chunk: &[u8], sink: &mut impl FnMut(Token<'_>)) {
        let Self { decoder, scanner } = self;
        if scanner.failed.is_none() {
            decoder.feed(chunk, &mut |piece| scanner.take(piece, sink));
        }
    }

    pub(super) fn finish(self, sink: &mut impl FnMut(Token<'_>)) -> Result<(), CountError> {
        let Self { decoder, mut scanner } = self;
        decoder.finish(&mut |piece| scanner.take(piece, sink));
        // One free byte is needed to read the end of the document.
        scanner.end(1, sink);
        scanner.failed.map_or(Ok(()), Err)
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.scanner.token.capacity()
    }
}

/// The token that is open, and where.
#[derive(Debug, Default)]
struct Scanner {
    /// What of the open token has been taken, with U+FFFD for each invalid byte.
    token: String,
    /// Bytes of the document that the open token takes so far.
    token_bytes: usize,
    /// Bytes of the document taken so far.
    offset: u64,
    failed: Option<CountError>,
}

impl Scanner {
    fn take(&mut self, piece: Piece<'_>, sink: &mut impl FnMut(Token<'_>)) {
        match piece {
            Piece::Text(text) => self.take_text(text, sink),
            Piece::Invalid(len) => {
                for _ in 0..len {
                    self.extend("\u{FFFD}", 1);
                }
            }
        }
    }

    fn take_text(&mut self, text: &str, sink: &mut impl FnMut(Token<'_>)) {
        let mut rest = text;
        while self.failed.is_none() && !rest.is_empty() {
            let Some((end, space)) = rest.char_indices().find(|(_, c)| c.is_whitespace()) else {
                return self.extend(rest, rest.len());
            };
            let (last, after) = rest.split_at(end);
            self.extend(last, last.len());
            self.end(space.len_utf8(), sink);
            self.offset += space.len_utf8() as u64;
            rest = &after[space.len_utf8()..];
        }
    }

    /// Extends the open token by `text`, which stands for `bytes` bytes of the document.
    fn extend(&mut self, text: &str, bytes: usize) {
        self.offset += bytes as u64;
        self.token_bytes += bytes;
        // No white space, however narrow, can follow within the buffer.
        if self.token_bytes >= MAX_TOKEN_BYTES {
            self.fail();
        }
        if self.failed.is_none() {
            self.token.push_str(text);
        }
    }

    /// Ends the open token, if there is one, at a delimiter that takes `width` bytes of the buffer.
    fn end(&mut self, width: usize, sink: &mut impl FnMut(Token<'_>)) {
        if self.failed.is_some() || self.token_bytes == 0 {
            return;
        }
        if self.token_bytes + width > MAX_TOKEN_BYTES {
            return self.fail();
        }
        sink(Token::Word(&self.token));
        self.token.clear();
        self.token_bytes = 0;
    }

    /// The first failure is the one that counts: the sample stops reading there.
    fn fail(&mut self) {
        if self.failed.is_none() {
            self.failed = Some(CountError::TokenTooLong { offset: self.offset - self.token_bytes as u64 });
            self.token = String::new();
        }
    }
}
