//! Tables of counts: adding, merging and ranking.

use proptest::prelude::*;
use wordfreq_core::{Counter, Counts, Profile, ProfileName, Top};

fn any_counts() -> impl Strategy<Value = Counts> {
    // Few words, so that tables overlap; a few counts near the end of the range, so that sums saturate.
    let count = prop_oneof![4 => 0..5u64, 1 => u64::MAX - 2..=u64::MAX];
    let rows = prop::collection::vec(("[abé]{0,2}", count), 0..12);
    (rows, 0..100u64, 0..3u64).prop_map(|(rows, bytes, over_long)| {
        let mut counts = Counts::new();
        counts.add_totals(bytes, over_long);
        for (word, count) in rows {
            counts.add(&word, count);
        }
        counts
    })
}

fn merged(mut a: Counts, b: Counts) -> Counts {
    a.merge(b);
    a
}

proptest! {
    #[test]
    fn merging_commutes_associates_and_keeps_the_empty_one_out(a in any_counts(), b in any_counts(), c in any_counts()) {
        prop_assert_eq!(merged(a.clone(), b.clone()), merged(b.clone(), a.clone()));
        let left = merged(merged(a.clone(), b.clone()), c.clone());
        let right = merged(a.clone(), merged(b.clone(), c.clone()));
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(merged(a.clone(), Counts::new()), a.clone());
        for (word, count) in left.iter() {
            let sum = a.get(word).saturating_add(b.get(word)).saturating_add(c.get(word));
            prop_assert_eq!(count, sum);
        }
        prop_assert_eq!(left.bytes(), a.bytes() + b.bytes() + c.bytes());
        prop_assert_eq!(left.over_long(), a.over_long() + b.over_long() + c.over_long());
    }

    #[test]
    fn top_is_the_head_of_the_whole_ranking(counts in any_counts(), n in 0..15usize) {
        let mut expected: Vec<(String, u64)> =
            counts.iter().map(|(word, count)| (word.to_owned(), count)).collect();
        expected.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.chars().cmp(b.0.chars())));
        let owned = |rows: Vec<wordfreq_core::WordCount<'_>>| -> Vec<(String, u64)> {
            rows.into_iter().map(|row| (row.word.to_owned(), row.count)).collect()
        };
        prop_assert_eq!(owned(counts.ranked()), expected.clone());

        let mut all = Top::new(usize::MAX);
        let mut best = Top::new(n);
        let mut best_of_some = Top::new(n);
        for (word, count) in counts.iter() {
            all.offer(word, count);
            best.offer(word, count);
            if best_of_some.may_keep(count) {
                best_of_some.offer(word, count);
            }
        }
        prop_assert_eq!(all.into_ranked(), expected.clone());
        expected.truncate(n);
        prop_assert_eq!(owned(counts.top(n)), expected.clone());
        prop_assert_eq!(best.into_ranked(), expected.clone());
        prop_assert_eq!(best_of_some.into_ranked(), expected);
    }
}

#[test]
fn totals_follow_what_is_added() {
    let mut counts = Counts::new();
    assert_eq!((counts.words(), counts.distinct(), counts.bytes(), counts.over_long()), (0, 0, 0, 0));
    counts.add("one", 2);
    counts.add("", 1);
    counts.add("one", 3);
    counts.add("none", 0);
    counts.add_totals(10, 1);
    assert_eq!((counts.words(), counts.distinct(), counts.bytes(), counts.over_long()), (6, 2, 10, 1));
    assert_eq!((counts.get("one"), counts.get(""), counts.get("none")), (5, 1, 0));
}

#[test]
fn ties_rank_in_code_point_order() {
    let mut counts = Counts::new();
    // U+FF5E comes before U+10000 by code point, and after it in UTF-16.
    for word in ["b", "\u{10000}", "a", "\u{FF5E}", "B", "ab", "é", ""] {
        counts.add(word, 1);
    }
    counts.add("z", 2);
    let words: Vec<&str> = counts.ranked().into_iter().map(|row| row.word).collect();
    assert_eq!(words, ["z", "", "B", "a", "ab", "b", "é", "\u{FF5E}", "\u{10000}"]);
}

/// More words than are looked through at a time, in orders that let the best come late, and with many as frequent as others.
#[test]
fn the_best_of_many_are_found_whatever_comes_first() {
    let counts_of: [fn(u64) -> u64; 4] =
        [|_| 1, |number| number, |number| 20_000 - number, |number| 1 + number * 2_654_435_761 % 7];
    for count_of in counts_of {
        let mut counts = Counts::new();
        for number in 0..5_000 {
            // Of every kind that a table has, in any order where they are as frequent.
            let word = match number % 9 {
                0 => format!("x, a rather long word, {number}"),
                1..4 => format!("medium {number:04}"),
                _ => format!("w{number}"),
            };
            counts.add(&word, count_of(number).max(1));
        }
        let ranked: Vec<(&str, u64)> = counts.ranked().iter().map(|row| (row.word, row.count)).collect();
        assert_eq!(ranked.len(), 5_000);
        assert!(ranked.is_sorted_by(|a, b| (b.1, a.0) < (a.1, b.0)));
        for n in [0, 1, 2, 1_023, 1_024, 1_025, 2_047, 2_048, 2_500, 4_999, 5_000, 5_001] {
            let top: Vec<(&str, u64)> = counts.top(n).iter().map(|row| (row.word, row.count)).collect();
            assert_eq!(top, ranked[..n.min(5_000)], "{n}");
        }
        // Counts that no slot has room for are among the best wherever they stand.
        for word in ["w5", "medium 0001"] {
            counts.add(word, 1 << 40);
        }
        let top: Vec<&str> = counts.top(2).iter().map(|row| row.word).collect();
        assert!(top == ["medium 0001", "w5"] || top == ["w5", "medium 0001"], "{top:?}");
    }
}

/// What is taken out amid a document is whole: each word that its total tells of.
#[test]
fn counts_that_are_taken_out_have_all_words_so_far() {
    let profile = Profile::new(ProfileName::Unicode);
    let mut counter = Counter::new(&profile);
    let text = "to be or not to be, a question of some length\n".repeat(20_000);
    let mut sum = Counts::new();
    for _ in 0..3 {
        counter.feed(text.as_bytes());
        let taken = counter.take_counts();
        assert_eq!((taken.words(), taken.get("to")), (11 * 20_000, 2 * 20_000));
        assert_eq!(taken.iter().map(|(_, count)| count).sum::<u64>(), taken.words());
        sum.merge(taken);
    }
    sum.merge(counter.finish().unwrap());
    assert_eq!((sum.words(), sum.get("be"), sum.distinct()), (33 * 20_000, 6 * 20_000, 9));
}
