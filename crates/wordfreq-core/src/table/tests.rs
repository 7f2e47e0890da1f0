use std::collections::HashMap;
use std::hash::Hasher as _;

use proptest::prelude::*;

use super::*;
use crate::simd::lines::LARGE;

/// Adds words as the kernel does.
fn add_words(table: &mut Table, words: &[&str]) {
    let mut batch = Batch::new();
    add_batches(table, &mut batch, words);
    table.settle(&mut batch);
}

fn add_batches(table: &mut Table, batch: &mut Batch, words: &[&str]) {
    for words in words.chunks(40) {
        let (mut text, mut places, mut at) = ([b'#'; 4096], vec![], 0);
        for word in words {
            places.push([at, at + word.len()].map(|place| place as u16));
            text[at..at + word.len()].copy_from_slice(word.as_bytes());
            at += word.len();
        }
        table.add_words(Level::best(), batch, &text, &places);
    }
}

proptest! {
    /// Against the standard table: words of every length around both limits, with zero bytes, alone, by batch, merged, swept.
    #[test]
    fn holds_what_a_standard_table_holds(
        words in prop::collection::vec(
            ("[a\0é]{0,4}|[ab]{7,19}|\0{6,18}|[ab]{0,7}|x{30,32}[ab]{0,3}", prop_oneof![9 => 1..4_u64, 1 => any::<u64>()]),
            0..600,
        ),
        halves in any::<bool>(),
        hash in 0..3,
        parts in 0..9_usize,
    ) {
        let mut expected: HashMap<&str, u64> = HashMap::new();
        let (mut table, mut other) = (Table::default(), Table::default());
        for _ in 0..hash {
            table.rekey();
        }
        for (at, (word, count)) in words.iter().enumerate() {
            if *count == 0 {
                continue;
            }
            let sum = expected.entry(word).or_insert(0);
            *sum = sum.saturating_add(*count);
            if halves && at % 2 == 0 {
                other.add(word, *count);
            } else if !word.is_empty() && *count == 1 {
                add_words(&mut table, &[word]);
            } else {
                table.add(word, *count);
            }
            match at % 97 {
                5 => table.sweep(),
                9 => other.sweep(),
                _ => {}
            }
        }
        if parts == 0 {
            table.merge(&other);
        } else {
            table.merge_in_parts(&[&other], parts, |tasks| tasks.into_iter().rev().for_each(|task| task()));
        }
        let found: HashMap<&str, u64> = table.iter().collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(table.len(), expected.len());
        for (word, count) in &expected {
            prop_assert_eq!(table.get(word), *count);
        }
        prop_assert_eq!(table.get("none of them"), 0);
        prop_assert_eq!(table.get("none of them at all"), 0);
        prop_assert_eq!(&table.clone(), &table);
        prop_assert_eq!(other == table, other.iter().collect::<HashMap<_, _>>() == expected);
    }

    #[test]
    fn siphash_is_the_one_of_the_standard_library(words in prop::collection::vec(any::<u64>(), 0..5)) {
        // It ends with a block that has the length; we give it as a word.
        let mut standard = std::hash::DefaultHasher::new();
        words.iter().for_each(|&word| standard.write_u64(word));
        let length = (words.len() as u64 * 8) << 56;
        prop_assert_eq!(sip13(0, 0, words.into_iter().chain([length])), standard.finish());
    }
}

#[test]
fn grows_and_merges_large_tables() {
    let (mut a, mut b) = (Table::default(), Table::default());
    for number in 0..100_000_u64 {
        a.add(&format!("word {number}"), 1);
        b.add(&format!("{}ord {number}", if number % 2 == 0 { "w" } else { "a rather long w" }), number + 1);
    }
    a.merge(&b);
    assert_eq!(a.len(), 150_000);
    for number in 0..100_000 {
        let even = number % 2 == 0;
        assert_eq!(a.get(&format!("word {number}")), if even { number + 2 } else { 1 });
        assert_eq!(a.get(&format!("a rather long word {number}")), if even { 0 } else { number + 1 });
    }
    // Into a small table that has to grow while it takes words in the order of their hashes.
    let mut c = Table::default();
    c.merge(&a);
    assert_eq!(c, a);
    assert!(c.looks < 3 * 150_000, "{} looks", c.looks);
}

/// Tables that grow where they are, with more words in their first and last lines than these have room for, so that some stand far
/// from where they belong, and some of the last lines' in the first ones.
#[test]
fn words_far_from_their_lines_stay_when_a_table_grows() {
    for (hash, kind) in [(Hash::Quick, ""), (Hash::Sip, ""), (Hash::Quick, "med"), (Hash::Sip, "med")] {
        let mut table = Table { keys: random(hash), ..Table::default() };
        let keys = table.keys;
        let line = |word: &String| key_of(word.as_bytes()).map_or(1 << 10, |key| keys.hash(key) >> 47);
        let num_lines = |table: &Table| table.short.lines.len().max(table.medium.lines.len());
        let crowd: Vec<String> = (0..)
            .map(|number| format!("{kind}{number:06x}"))
            .filter(|word| matches!(line(word), 0..4 | 0x1FFFC..))
            .take(60)
            .collect();
        for (number, word) in crowd.iter().enumerate() {
            table.add(word, 1 + number as u64);
        }
        let mut lines = vec![];
        let word = |number: u64| format!("{kind}g{number:06}");
        for number in 0..300_000 {
            table.add(&word(number), 1 + number % 5);
            if lines.last() != Some(&num_lines(&table)) {
                lines.push(num_lines(&table));
                let all = crowd.iter().enumerate().all(|(at, word)| table.get(word) == 1 + at as u64);
                assert!(all, "{} lines, {hash:?}", num_lines(&table));
            }
        }
        assert_eq!(lines.last(), Some(&(1 << 17)));
        assert!((0..300_000).all(|number| table.get(&word(number)) == 1 + number % 5), "{hash:?}");
        assert_eq!((table.len(), table.keys.hash), (300_060, hash));
    }
}

/// Counts that do not fit a slot: by many small steps, as batches make them.
#[test]
fn counts_beyond_32_bits_are_exact() {
    let mut table = Table::default();
    let step = SWEEP - 3;
    for turn in 1..=9 {
        table.add("the", step);
        add_words(&mut table, &["the", "other", "the"]);
        assert_eq!((table.get("the"), table.get("other")), (turn * (step + 2), turn));
    }
    assert_eq!(table.len(), 2);
    let mut merged = Table::default();
    merged.merge(&table);
    merged.merge(&table);
    assert_eq!((merged.get("the"), merged.get("other"), merged.len()), (18 * (step + 2), 18, 2));
}

/// What a batch counts itself, once there are many words, comes to the table when it is asked for, and before it can overflow,
/// whatever else is added meanwhile.
#[test]
fn tiny_words_settle() {
    let (mut table, mut batch) = (Table::default(), Batch::new());
    add_batches(&mut table, &mut batch, &["of", "a"]);
    assert_eq!(table.len(), 2);
    table.add("other", MANY_FOR_TINY);
    add_batches(&mut table, &mut batch, &["of", "é", "the"]);
    let apart = Batch::counts_tiny_at(Level::best());
    let found = ["of", "é", "the"].map(|word| table.get(word));
    assert_eq!(found, if apart { [1, 0, 1] } else { [2, 1, 1] });
    for turn in 1..=50 {
        table.add("other", SWEEP - 1);
        add_batches(&mut table, &mut batch, &["of"; 80]);
        let unsettled = 2 + 80 * turn - table.get("of");
        assert!(unsettled <= if apart { (1 << 10) + 80 } else { 0 }, "{unsettled}");
    }
    for _ in 0..2 {
        table.settle(&mut batch);
        let found = ["a", "of", "é", "the", "other"].map(|word| table.get(word));
        assert_eq!((found, table.len()), ([1, 4002, 1, 1, MANY_FOR_TINY + 50 * (SWEEP - 1)], 5));
    }
}

/// Words that all want the same few slots, made by who knows the keys, as nobody can.
fn colliding(table: &Table, words: usize, long: bool) -> Vec<String> {
    let of = |number: usize| {
        let word = format!("{number:x}");
        if long { format!("a rather long word {word}") } else { word }
    };
    let hash = |word: &String| {
        key_of(word.as_bytes())
            .map_or_else(|| table.keys.hash_long(word.as_bytes()), |key| table.keys.hash(key))
    };
    (0..).map(of).filter(|word| hash(word) >> 56 == 0).take(words).collect()
}

/// The promise is in looks, not in time: whatever the words, few a word, and a fixed number that are forgiven at each change of
/// keys, of which there are two.
#[test]
fn chosen_words_do_not_slow_a_table_down() {
    const WORDS: usize = 4_000;
    for long in [false, true] {
        let mut table = Table::default();
        let mut changes = vec![];
        for _ in 0..3 {
            let words = colliding(&table, WORDS, long);
            add_words(&mut table, &words.iter().map(String::as_str).collect::<Vec<_>>());
            changes.push(table.keys.hash);
            for word in &words {
                assert!(table.get(word) > 0, "{word}");
            }
        }
        // The third time they were made from the last keys, under which they still collide: that is not to be had without
        // knowing 128 random bits.
        assert_eq!(changes, [Hash::QuickAnew, Hash::Sip, Hash::Sip], "{long}");
        let mut table = Table { keys: random(Hash::Quick), ..Table::default() };
        let words = colliding(&table, WORDS, long);
        for _ in 0..3 {
            words.iter().for_each(|word| table.add(word, 1));
        }
        assert!(words.iter().all(|word| table.get(word) == 3));
        let forgiven = 2 * (FORGIVEN + WORDS as u64);
        assert!(table.looks <= forgiven + PROBES * 3 * WORDS as u64, "{} looks, {long}", table.looks);
    }
}

/// Sums, strides, bit patterns, what people write to fill a table: no more looks than random words take.
#[test]
fn regular_words_spread_as_random_ones() {
    let families: [&dyn Fn(u64) -> String; 9] = [
        &|number| format!("{number}"),
        &|number| format!("w{number:07}"),
        &|number| format!("{:08}", number << 3),
        &|number| format!("{}", number * number),
        &|number| format!("{number:012b}"),
        &|number| format!("k{:08}", number * 1000),
        &|number| format!("{number:x}{number:x}"),
        &|number| format!("a long word with {number}"),
        &|number| {
            char::from_u32(0x4E00 + (number % 20_000) as u32)
                .into_iter()
                .chain(format!("{}", number / 20_000).chars())
                .collect()
        },
    ];
    for family in families {
        for mut table in [Table::default(), Table { keys: random(Hash::Sip), ..Table::default() }] {
            for number in 0..20_000 {
                table.add(&family(number), 1);
            }
            assert!(table.looks < 2 * 20_000, "{}: {} looks", family(99), table.looks);
        }
    }
}

/// At the same time, in as many parts as there may be threads: small tables and large ones, full lines at the end of a part, the
/// same words and others.
#[test]
fn parts_merge_as_whole_tables_do() {
    for (sizes, distance) in [([3, 0, 2], 1), ([300, 20, 300], 7), ([40_000, 100_000, 70_000], 25_000)] {
        let tables: Vec<Table> = (0..3)
            .map(|number| {
                let mut table = Table::default();
                for word in 0..sizes[number] {
                    let word = word + number * distance;
                    table.add(&format!("word {word}"), 1 + word as u64);
                    if word % 5 == 0 {
                        table.add(&format!("a rather long word {word}"), 2);
                    }
                }
                add_words(&mut table, &["\0\0\0\0\0\0\0\0\0\0\0\0", "sixteen or more, which is long"]);
                table
            })
            .collect();
        let mut expected = Table::default();
        tables.iter().for_each(|table| expected.merge(table));
        for parts in [1, 2, 3, 7, 64] {
            let mut merged = tables[0].clone();
            merged.merge_in_parts(&[&tables[1], &tables[2]], parts, |tasks| {
                std::thread::scope(|scope| tasks.into_iter().for_each(|task| drop(scope.spawn(task))));
            });
            assert_eq!(merged.len(), expected.len(), "{sizes:?} {parts}");
            assert_eq!(merged, expected, "{sizes:?} {parts}");
            // It can be added to as before.
            merged.merge(&tables[2]);
            assert_eq!(merged.get("word 60000"), expected.get("word 60000") + tables[2].get("word 60000"));
        }
    }
}

/// Words of a last line that is full stand in the first one; and long words that collide when they come together have all others
/// spread anew.
#[test]
fn parts_merge_what_stands_elsewhere() {
    let run = |tasks: Vec<Task<'_>>| tasks.into_iter().for_each(|task| task());
    for kind in ["", "med"] {
        let empty = Table { keys: random(Hash::Quick), ..Table::default() };
        let keys = empty.keys;
        let is_last = |word: &String| key_of(word.as_bytes()).is_some_and(|key| keys.hash(key) >> 60 == 15);
        let last: Vec<String> =
            (0..).map(|number| format!("{kind}{number:06x}")).filter(is_last).take(40).collect();
        let (mut one, mut other) = (empty.clone(), empty.clone());
        last[..20].iter().for_each(|word| one.add(word, 1));
        last[10..].iter().for_each(|word| other.add(word, 2));
        for table in [&mut one, &mut other] {
            add_words(table, &["\0\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\0\0\0\0\0"]);
        }
        for parts in [1, 2, 3, 7, 16, 100] {
            let mut merged = one.clone();
            merged.merge_in_parts(&[&other], parts, run);
            let counts: Vec<u64> = last.iter().map(|word| merged.get(word)).collect();
            assert_eq!(counts, [[1; 10], [3; 10], [2; 10], [2; 10]].concat(), "{kind} {parts}");
            assert_eq!((merged.len(), merged.iter().count()), (42, 42), "{kind} {parts}");
        }
        let (mut one, mut other) = (empty.clone(), empty.clone());
        let long = colliding(&empty, 600, true);
        long[..300].iter().for_each(|word| one.add(word, 1));
        long[300..].iter().for_each(|word| other.add(word, 1));
        for number in 0..3_000 {
            one.add(&format!("{kind}{number}"), 1);
            other.add(&format!("{kind}{number}"), 1);
        }
        assert_eq!((one.keys, other.keys), (keys, keys));
        one.merge_in_parts(&[&other], 4, run);
        assert_ne!(one.keys, keys);
        assert!((0..3_000).all(|number| one.get(&format!("{kind}{number}")) == 2));
        assert!(long.iter().all(|word| one.get(word) == 1));
    }
}

/// Room is made for what tables do not have in common, before they are merged.
#[test]
fn room_is_made_for_words_that_are_new() {
    let with = |from: u64, to: u64| {
        let mut table = Table::default();
        (from..to).for_each(|number| table.add(&format!("w{number:06}"), 1));
        table
    };
    for (from, to, lines) in [(0, 90_000, 1 << 15), (60_000, 150_000, 1 << 16), (100_000, 190_000, 1 << 16)] {
        let (mut one, other) = (with(0, 90_000), with(from, to));
        assert_eq!((one.short.lines.len(), other.short.lines.len()), (1 << 15, 1 << 15));
        one.short.make_room([&other.short].into_iter(), one.keys);
        assert_eq!(one.short.lines.len(), lines, "{from}");
    }
}

/// What a table was said to take at most while words of a kind are added, it does not go beyond.
#[test]
fn memory_is_foretold_for_every_kind_of_word() {
    for kind in ["", "med", "a rather long word "] {
        let mut table = Table::default();
        for step in 0..40_u64 {
            let foretold = table.memory_with(5_000);
            (0..5_000).for_each(|number| table.add(&format!("{kind}{:06}", step * 5_000 + number), 1));
            let lines = (table.short.lines.len() + table.medium.lines.len()) * size_of::<Line<SHORT, 5>>();
            let long = table.long.len() * size_of::<Long>();
            assert!(lines + long <= foretold, "{kind}: {lines} and {long}, {foretold} at {step}");
        }
    }
}

/// A table that has to grow amid a long text does so to large pages, as was foretold; one that is merged into does not.
#[test]
fn memory_is_foretold_amid_a_long_text() {
    let words: Vec<_> = (0..100).map(|number| format!("w{number:05}")).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    for is_long in [true, false] {
        let mut table = Table::default();
        table.add("other", MANY - 10);
        let foretold = table.memory_with(words.len());
        if is_long {
            add_words(&mut table, &words);
        } else {
            words.iter().for_each(|word| table.add(word, 5_000));
        }
        let lines = table.short.lines.len() * size_of::<Line<SHORT, 5>>();
        assert_eq!(lines >= LARGE, is_long);
        assert!(lines <= foretold, "{lines}, {foretold}");
    }
}

/// Tables that have changed their keys, and counts that overflow a slot, are merged all the same.
#[test]
fn parts_merge_what_is_rare() {
    let (mut one, mut other) = (Table::default(), Table::default());
    for word in 0..3_000 {
        one.add(&format!("{word}"), SWEEP - 1);
        other.add(&format!("{word}"), SWEEP - 1);
    }
    let run = |tasks: Vec<Task<'_>>| tasks.into_iter().for_each(|task| task());
    let mut swept = one.clone();
    swept.merge_in_parts(&[&other], 3, run);
    other.rekey();
    one.merge_in_parts(&[&other], 3, run);
    for table in [one, swept] {
        assert!((0..3_000).all(|word| table.get(&format!("{word}")) == 2 * (SWEEP - 1)));
    }
}
