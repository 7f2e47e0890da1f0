//! Made-up documents: words by Zipf's law, sizes by a distribution, and the number of words known beforehand. A document
//! depends on the seed and its number alone. Not here: when documents arrive (`load`).
//!
//! The words are made-up too: at least six ASCII letters, so that every profile counts each of them and counts it once.

use std::fmt;
use std::str::FromStr;

use wordfreq_core::Profile;

use crate::load::chance;

/// The largest vocabulary. Its table of ranks takes 8 bytes a word.
pub const MAX_VOCABULARY: u32 = 10_000_000;

/// The largest document: each is made in memory.
const MAX_BYTES: u64 = 1 << 30;

/// How large documents are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Always as large.
    Fixed(u64),
    /// Anything between two sizes, equally likely.
    Uniform(u64, u64),
    /// Log-normal with this mean, as sizes of files are: the logarithm deviates by 1, so that a document in a hundred is
    /// six times as large as the mean.
    LogNormal(u64),
}

const SIZE: &str = "write a size such as 4KiB, 1KiB..64KiB, or lognormal:4KiB for a mean";

fn bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1_u64), ("", 1)];
    let size = units.into_iter().find_map(|(unit, bytes)| {
        text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(bytes)
    });
    size.filter(|size| (1..=MAX_BYTES).contains(size))
        .ok_or_else(|| format!("{text:?} is not a size from 1 to 1GiB: {SIZE}"))
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(mean) = text.strip_prefix("lognormal:") {
            return bytes(mean).map(Self::LogNormal);
        }
        let Some((least, most)) = text.split_once("..") else { return bytes(text).map(Self::Fixed) };
        let (least, most) = (bytes(least)?, bytes(most)?);
        if least > most {
            return Err(format!("{text:?} goes backwards: write the smaller size first"));
        }
        Ok(Self::Uniform(least, most))
    }
}

/// As it is read.
impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |bytes: u64| {
            let unit = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1_u64 << 10)];
            let unit = unit.into_iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
            unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
        };
        match *self {
            Self::Fixed(bytes) => write!(out, "{}", written(bytes)),
            Self::Uniform(least, most) => write!(out, "{}..{}", written(least), written(most)),
            Self::LogNormal(mean) => write!(out, "lognormal:{}", written(mean)),
        }
    }
}

impl Size {
    fn draw(self, random: &mut fastrand::Rng) -> u64 {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform(least, most) => random.u64(least..=most),
            Self::LogNormal(mean) => {
                // Box and Muller. With a deviation of 1 the mean is exp(1/2) times the median.
                let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
                let normal = radius * (random.f64() * std::f64::consts::TAU).cos();
                ((mean as f64 * (normal - 0.5).exp()) as u64).clamp(1, MAX_BYTES)
            }
        }
    }
}

/// A made-up document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub text: String,
    /// How many words it has.
    pub words: u64,
}

/// A source of documents.
#[derive(Clone, Debug)]
pub struct Corpus {
    size: Size,
    seed: u64,
    /// Sums of the weights 1/rank, up to each rank.
    weights: Vec<f64>,
}

impl Corpus {
    /// Documents of these sizes, of so many different words in all.
    pub fn new(vocabulary: u32, size: Size, seed: u64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=vocabulary.clamp(1, MAX_VOCABULARY)).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self { size, seed, weights: weights.collect() }
    }

    /// The document with this number, and how many words `profile` counts in it.
    pub fn document(&self, number: u64, profile: &Profile) -> Document {
        // Not the source of the service times, which must not depend on the documents.
        let mut random = chance(!self.seed, number);
        let bytes = self.size.draw(&mut random) as usize;
        let mut text = String::with_capacity(bytes + 16);
        let mut words = 0;
        while text.len() < bytes {
            let word = self.word(&mut random);
            words += u64::from(word.len() as u64 >= u64::from(profile.min_length));
            text.push_str(&word);
            // No punctuation, which one profile counts as part of a word and another does not.
            text.push(if random.u8(0..12) == 0 { '\n' } else { ' ' });
        }
        Document { text, words }
    }

    fn word(&self, random: &mut fastrand::Rng) -> String {
        let sum = self.weights.last().copied().unwrap_or_default();
        let drawn = random.f64() * sum;
        let rank = self.weights.partition_point(|weight| *weight <= drawn).min(self.weights.len() - 1);
        spelt(rank)
    }
}

/// The word of a rank: its digits to the base of 80 as syllables, at least three of them.
fn spelt(rank: usize) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghklmnprstvwz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let base = CONSONANTS.len() * VOWELS.len();
    let mut word = String::new();
    let mut left = rank;
    while left > 0 || word.len() < 6 {
        let digit = left % base;
        word.push(char::from(CONSONANTS[digit / VOWELS.len()]));
        word.push(char::from(VOWELS[digit % VOWELS.len()]));
        left /= base;
    }
    word
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use wordfreq_core::{ProfileName, count};

    use super::*;

    #[test]
    fn every_profile_counts_the_words_that_are_known_beforehand() {
        let corpus = Corpus::new(5000, "lognormal:4KiB".parse().unwrap(), 7);
        for name in ProfileName::ALL {
            for min_length in [0, 6, 8] {
                let profile = Profile { name, min_length };
                for number in 0..20 {
                    let document = corpus.document(number, &profile);
                    let counts = count(&profile, document.text.as_bytes()).unwrap();
                    assert_eq!(counts.words(), document.words, "{name} {min_length} {number}");
                    assert_eq!(document, corpus.document(number, &profile));
                }
            }
        }
    }

    #[test]
    fn words_differ_and_follow_zipf() {
        let words: HashSet<String> = (0..100_000).map(spelt).collect();
        assert_eq!(words.len(), 100_000);
        assert!(words.iter().all(|word| word.len() >= 6));
        let corpus = Corpus::new(1000, Size::Fixed(200_000), 1);
        let profile = Profile::new(ProfileName::Unicode);
        let counts = count(&profile, corpus.document(0, &profile).text.as_bytes()).unwrap();
        let top = counts.top(10);
        assert_eq!(top[0].word, spelt(0));
        let share = top[0].count as f64 / top[9].count as f64;
        assert!((7.0..14.0).contains(&share), "the tenth is a tenth as frequent as the first: {share}");
    }

    #[test]
    fn sizes_are_read_written_and_kept() {
        for text in ["4KiB", "100B", "1KiB..64KiB", "lognormal:4KiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for (text, mend) in
            [("0", "from 1 to"), ("2GiB", "from 1 to"), ("big", "4KiB"), ("2KiB..1KiB", "smaller size first")]
        {
            let error = text.parse::<Size>().unwrap_err();
            assert!(error.contains(mend), "{error}");
        }
        let profile = Profile::new(ProfileName::Unicode);
        let mean = |size: &str| {
            let corpus = Corpus::new(100, size.parse().unwrap(), 3);
            (0..2000).map(|number| corpus.document(number, &profile).text.len()).sum::<usize>() / 2000
        };
        assert!((1000..1020).contains(&mean("1000")));
        assert!((900..1100).contains(&mean("lognormal:1000B")));
        assert!((1400..1600).contains(&mean("1000..2000")));
    }
}
