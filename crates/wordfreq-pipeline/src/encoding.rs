//! How tables of words are stored: compact and checked.
//!
//! Both layouts begin with a format byte and end with the first 8 bytes of the BLAKE3 hash of all before. Words stand
//! front-coded: `varint bytes shared with the word before, varint further bytes, those bytes`.
//!
//! A document's *counts* (format 1) are groups of words with equal counts, highest count first: `varint count, varint
//! words in the group`, then the words in code-point order. Most words of a text occur once or twice, so nearly all of
//! the table stands in a few large groups where neighbours share beginnings; and the best N words are a prefix.
//!
//! *Moves* of totals (format 2) are words in code-point order, each followed by two zigzag varints: by how much its
//! count and its number of documents move.

use wordfreq_core::Counts;

use crate::error::{BackendError, ErrorKind};

const COUNTS_FORMAT: u8 = 1;
const MOVES_FORMAT: u8 = 2;
const CHECKSUM_BYTES: usize = 8;

/// By how much one word's totals move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Move {
    /// Its count.
    pub count: i64,
    /// The number of documents it stands in.
    pub documents: i64,
}

impl Move {
    /// Both one after the other.
    pub fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, documents: self.documents + other.documents }
    }
}

/// Encodes a whole count table.
pub fn encode_counts(counts: &Counts) -> Vec<u8> {
    let ranked = counts.ranked();
    let mut out = Vec::with_capacity(ranked.len() * 8 + 16);
    out.push(COUNTS_FORMAT);
    for group in ranked.chunk_by(|left, right| left.count == right.count) {
        put_varint(&mut out, group[0].count);
        put_varint(&mut out, group.len() as u64);
        let mut before: &[u8] = b"";
        for entry in group {
            let word = entry.word.as_bytes();
            put_word(&mut out, before, word);
            before = word;
        }
    }
    seal(out)
}

/// Hands the `limit` best words (`None`: all) to `visit`, by rank.
///
/// # Errors
/// `Corrupt` if the bytes are not what [`encode_counts`] wrote.
pub fn decode_counts(
    encoded: &[u8],
    limit: Option<usize>,
    mut visit: impl FnMut(&str, u64),
) -> Result<(), BackendError> {
    let mut input = unseal(encoded, COUNTS_FORMAT)?;
    let mut left = limit.unwrap_or(usize::MAX);
    let mut word = Vec::new();
    while left > 0 && !input.is_empty() {
        let count = take_varint(&mut input).ok_or_else(corrupt)?;
        let words = take_varint(&mut input).ok_or_else(corrupt)?;
        word.clear();
        for _ in 0..words {
            if left == 0 {
                break;
            }
            take_word(&mut input, &mut word).ok_or_else(corrupt)?;
            visit(std::str::from_utf8(&word).map_err(|_| corrupt())?, count);
            left -= 1;
        }
    }
    Ok(())
}

/// How often a word stands in a count table, if it does.
///
/// # Errors
/// `Corrupt` if the bytes are not what [`encode_counts`] wrote.
pub fn count_of(encoded: &[u8], wanted: &[u8]) -> Result<Option<u64>, BackendError> {
    let mut input = unseal(encoded, COUNTS_FORMAT)?;
    let mut word = Vec::new();
    while !input.is_empty() {
        let count = take_varint(&mut input).ok_or_else(corrupt)?;
        let words = take_varint(&mut input).ok_or_else(corrupt)?;
        word.clear();
        for _ in 0..words {
            take_word(&mut input, &mut word).ok_or_else(corrupt)?;
            if word == wanted {
                return Ok(Some(count));
            }
        }
    }
    Ok(None)
}

/// Encodes moves, whose words must be in code-point order.
pub fn encode_moves<'a>(moves: impl Iterator<Item = (&'a [u8], Move)>) -> Vec<u8> {
    let mut out = vec![MOVES_FORMAT];
    let mut before: &[u8] = b"";
    for (word, moved) in moves {
        put_word(&mut out, before, word);
        put_varint(&mut out, zigzag(moved.count));
        put_varint(&mut out, zigzag(moved.documents));
        before = word;
    }
    seal(out)
}

/// Hands every move to `visit`, in the order of the words.
///
/// # Errors
/// `Corrupt` if the bytes are not what [`encode_moves`] wrote.
pub fn decode_moves(encoded: &[u8], mut visit: impl FnMut(&[u8], Move)) -> Result<(), BackendError> {
    let mut input = unseal(encoded, MOVES_FORMAT)?;
    let mut word = Vec::new();
    while !input.is_empty() {
        take_word(&mut input, &mut word).ok_or_else(corrupt)?;
        let count = unzigzag(take_varint(&mut input).ok_or_else(corrupt)?);
        let documents = unzigzag(take_varint(&mut input).ok_or_else(corrupt)?);
        visit(&word, Move { count, documents });
    }
    Ok(())
}

fn corrupt() -> BackendError {
    BackendError::new(ErrorKind::Corrupt, "a stored table of words does not match its checksum")
}

fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let checksum = blake3::hash(&out);
    out.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
    out
}

fn unseal(encoded: &[u8], format: u8) -> Result<&[u8], BackendError> {
    let body = encoded.len().checked_sub(CHECKSUM_BYTES).ok_or_else(corrupt)?;
    let (body, checksum) = encoded.split_at(body);
    if blake3::hash(body).as_bytes()[..CHECKSUM_BYTES] != *checksum {
        return Err(corrupt());
    }
    body.strip_prefix(&[format]).ok_or_else(|| {
        BackendError::new(
            ErrorKind::Corrupt,
            "a stored table of words has a format this version does not know",
        )
    })
}

fn put_word(out: &mut Vec<u8>, before: &[u8], word: &[u8]) {
    let shared = before.iter().zip(word).take_while(|(left, right)| left == right).count();
    put_varint(out, shared as u64);
    put_varint(out, (word.len() - shared) as u64);
    out.extend_from_slice(&word[shared..]);
}

/// Turns the word before into the next one.
fn take_word(input: &mut &[u8], word: &mut Vec<u8>) -> Option<()> {
    let shared = usize::try_from(take_varint(input)?).ok()?;
    let further = usize::try_from(take_varint(input)?).ok()?;
    if shared > word.len() {
        return None;
    }
    let (suffix, rest) = input.split_at_checked(further)?;
    word.truncate(shared);
    word.extend_from_slice(suffix);
    *input = rest;
    Some(())
}

/// Small numbers of either sign become small ones without.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_by_rank(table in proptest::collection::btree_map(".{0,12}", 1u64..40, 0..60), limit in 0usize..70) {
            let mut counts = Counts::new();
            for (word, count) in &table {
                counts.add(word, *count);
            }
            let encoded = encode_counts(&counts);
            let expected: Vec<_> = counts.ranked().iter().map(|entry| (entry.word.to_owned(), entry.count)).collect();
            let mut all = Vec::new();
            decode_counts(&encoded, None, |word, count| all.push((word.to_owned(), count))).unwrap();
            prop_assert_eq!(&all, &expected);
            let mut best = Vec::new();
            decode_counts(&encoded, Some(limit), |word, count| best.push((word.to_owned(), count))).unwrap();
            prop_assert_eq!(&best[..], &expected[..limit.min(expected.len())]);
            for word in table.keys().map(String::as_str).chain(["", "a", "no such word"]) {
                prop_assert_eq!(count_of(&encoded, word.as_bytes()).unwrap(), table.get(word).copied());
            }
        }

        #[test]
        fn moves_are_read_back_as_they_were_written(
            moves in proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 0..6), any::<(i64, i64)>(), 0..40),
        ) {
            let moves: Vec<_> =
                moves.into_iter().map(|(word, (count, documents))| (word, Move { count, documents })).collect();
            let encoded = encode_moves(moves.iter().map(|(word, moved)| (&word[..], *moved)));
            let mut read = Vec::new();
            decode_moves(&encoded, |word, moved| read.push((word.to_owned(), moved))).unwrap();
            prop_assert_eq!(read, moves);
            prop_assert!(decode_counts(&encoded, None, |_, _| ()).is_err(), "one layout read as the other");
        }

        #[test]
        fn a_flipped_bit_is_found(position in 0usize..4096, bit in 0u8..8) {
            let mut counts = Counts::new();
            for word in ["the", "then", "thence", "a", "b"] {
                counts.add(word, word.len() as u64);
            }
            let mut encoded = encode_counts(&counts);
            let position = position % encoded.len();
            encoded[position] ^= 1 << bit;
            let error = decode_counts(&encoded, None, |_, _| panic!("visited a damaged table")).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
