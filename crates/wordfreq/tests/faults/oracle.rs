//! What must be in the results: a recount of the bytes themselves, on one thread, in the form the program prints.

use serde_json::{Value, json};
use wordfreq_core::{Counts, Profile, ProfileName, count};

/// What `results show` or `results totals` must print of these documents, with `--all --format json`.
pub(crate) fn report<'a>(profile: ProfileName, documents: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let profile = Profile::new(profile);
    let mut counts = Counts::new();
    let mut num_documents = 0;
    for bytes in documents {
        num_documents += 1;
        counts.merge(count(&profile, bytes).expect("the oracle counts only what can be counted"));
    }
    let ranked: Vec<Value> =
        counts.ranked().iter().map(|ranked| json!({"word": ranked.word, "count": ranked.count})).collect();
    json!({
        "profile": profile.name.to_string(), "fingerprint": profile.fingerprint(), "documents": num_documents,
        "bytes": counts.bytes(), "words": counts.words(), "distinct": counts.distinct(),
        "over_long": counts.over_long(), "counts": ranked,
    })
}

/// A small generator of documents that can be replayed from its seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// A document unlike any other of this generator: words that others share, one that none does, now and then
    /// bytes that are no text, now and then more than one read of a file.
    pub(crate) fn document(&mut self) -> Vec<u8> {
        const WORDS: [&str; 16] = [
            "the",
            "of",
            "The",
            "naïve",
            "NAÏVE",
            "Straße",
            "don't",
            "3.14",
            "ΣΊΣΥΦΟΣ",
            "слово",
            "字",
            "e\u{301}t",
            "well-known",
            "ward",
            "patient",
            "x",
        ];
        let mut text = format!("mark{:016x}", self.next()).into_bytes();
        let words = if self.below(40) == 0 { 60_000 } else { 5 + self.below(120) };
        for _ in 0..words {
            let separator: &[u8] = match self.below(30) {
                0 => b"\n",
                1 => b"\xff",
                2 => b" \xe2\x82 ",
                _ => b" ",
            };
            text.extend_from_slice(separator);
            text.extend_from_slice(WORDS[self.below(WORDS.len())].as_bytes());
        }
        text
    }
}
