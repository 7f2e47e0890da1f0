//! What a Rust program would do without this crate: the baselines that `bench/words` compares with. Prints what was counted, as
//! `words distinct`.
//!
//! `plain` splits at white space and counts in a standard table; `segmentation` takes the words of the crate
//! unicode-segmentation, in lower case.

use std::collections::HashMap;
use std::io::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (Some(rule), Some(path)) = (std::env::args().nth(1), std::env::args().nth(2)) else {
        return Err("usage: baseline plain|segmentation FILE".into());
    };
    let text = std::fs::read_to_string(path)?;
    let (words, distinct) = match rule.as_str() {
        "plain" => {
            let mut counts: HashMap<&str, u64> = HashMap::new();
            text.split_whitespace().for_each(|word| *counts.entry(word).or_insert(0) += 1);
            (counts.values().sum::<u64>(), counts.len())
        }
        "segmentation" => {
            let mut counts: HashMap<String, u64> = HashMap::new();
            text.unicode_words().for_each(|word| *counts.entry(word.to_lowercase()).or_insert(0) += 1);
            (counts.values().sum(), counts.len())
        }
        other => return Err(format!("there is no baseline {other}: use plain or segmentation").into()),
    };
    writeln!(std::io::stdout(), "{words} {distinct}")?;
    Ok(())
}
