//! How a document's whole count table is stored: compact, ordered by rank, and checked.
//!
//! Layout: a format byte (1), then groups of words with equal counts, highest count first:
//! `varint count, varint words in the group`, and for each word in code-point order
//! `varint bytes shared with the word before it in the group, varint further bytes, those bytes`.
//! Last, the first 8 bytes of the BLAKE3 hash of all before. Most words of a text occur once or twice, so nearly all
//! of the table stands in a few large groups where neighbours share beginnings; and the best N words are a prefix.

use wordfreq_core::Counts;

use crate::error::{BackendError, ErrorKind};

const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// Encodes the whole table.
pub fn encode(counts: &Counts) -> Vec<u8> {
    let ranked = counts.ranked();
    let mut out = Vec::with_capacity(ranked.len() * 8 + 16);
    out.push(FORMAT);
    for group in ranked.chunk_by(|left, right| left.count == right.count) {
        put_varint(&mut out, group[0].count);
        put_varint(&mut out, group.len() as u64);
        let mut before: &[u8] = b"";
        for entry in group {
            let word = entry.word.as_bytes();
            let shared = before.iter().zip(word).take_while(|(left, right)| left == right).count();
            put_varint(&mut out, shared as u64);
            put_varint(&mut out, (word.len() - shared) as u64);
            out.extend_from_slice(&word[shared..]);
            before = word;
        }
    }
    let checksum = blake3::hash(&out);
    out.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
    out
}

/// Hands the `limit` best words (`None`: all) to `visit`, by rank.
///
/// # Errors
/// `Corrupt` if the bytes are not what [`encode`] wrote; nothing is visited then.
pub fn decode(
    encoded: &[u8],
    limit: Option<usize>,
    mut visit: impl FnMut(&str, u64),
) -> Result<(), BackendError> {
    let corrupt =
        || BackendError::new(ErrorKind::Corrupt, "a stored count table does not match its checksum");
    let body = encoded.len().checked_sub(CHECKSUM_BYTES).ok_or_else(corrupt)?;
    let (body, checksum) = encoded.split_at(body);
    if blake3::hash(body).as_bytes()[..CHECKSUM_BYTES] != *checksum {
        return Err(corrupt());
    }
    let mut input = body.strip_prefix(&[FORMAT]).ok_or_else(|| {
        BackendError::new(ErrorKind::Corrupt, "a stored count table has a format this version does not know")
    })?;
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
            let shared =
                usize::try_from(take_varint(&mut input).ok_or_else(corrupt)?).map_err(|_| corrupt())?;
            let further =
                usize::try_from(take_varint(&mut input).ok_or_else(corrupt)?).map_err(|_| corrupt())?;
            if shared > word.len() || further > input.len() {
                return Err(corrupt());
            }
            word.truncate(shared);
            let (suffix, rest) = input.split_at(further);
            word.extend_from_slice(suffix);
            input = rest;
            visit(std::str::from_utf8(&word).map_err(|_| corrupt())?, count);
            left -= 1;
        }
    }
    Ok(())
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
            let encoded = encode(&counts);
            let expected: Vec<_> = counts.ranked().iter().map(|entry| (entry.word.to_owned(), entry.count)).collect();
            let mut all = Vec::new();
            decode(&encoded, None, |word, count| all.push((word.to_owned(), count))).unwrap();
            prop_assert_eq!(&all, &expected);
            let mut best = Vec::new();
            decode(&encoded, Some(limit), |word, count| best.push((word.to_owned(), count))).unwrap();
            prop_assert_eq!(&best[..], &expected[..limit.min(expected.len())]);
        }

        #[test]
        fn a_flipped_bit_is_found(position in 0usize..4096, bit in 0u8..8) {
            let mut counts = Counts::new();
            for word in ["the", "then", "thence", "a", "b"] {
                counts.add(word, word.len() as u64);
            }
            let mut encoded = encode(&counts);
            let position = position % encoded.len();
            encoded[position] ^= 1 << bit;
            let error = decode(&encoded, None, |_, _| panic!("visited a damaged table")).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
