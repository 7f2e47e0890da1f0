//! Looking at a data directory: pages, states, the ranking of words and their documents, against plain models. How
//! documents get there is under test in `embedded`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use wordfreq_core::scaling::{Bounds, Moment, Observation, Scaler, fixed};
use wordfreq_core::{Profile, ProfileName};
use wordfreq_pipeline::embedded::{
    Catalogue, Embedded, IfMissing, ListedState, Look, MOST_INSTANCES, News, Options, Purge, Refused,
    Selection, Settled, Sizing, StagedPut,
};
use wordfreq_pipeline::queue::Redrive;
use wordfreq_pipeline::worker::{Backend, WorkerOptions};
use wordfreq_pipeline::{DocumentId, Drain, ErrorKind, Queue, Results, worker};

struct Fixture {
    _directory: tempfile::TempDir,
    embedded: Arc<Embedded>,
}

fn fixture(profile: ProfileName) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
    embedded.set_profile(&Profile::new(profile)).unwrap();
    Fixture { _directory: directory, embedded: Arc::new(embedded) }
}

fn id(bucket: &str, key: &str) -> DocumentId {
    DocumentId::new(bucket, key).unwrap()
}

impl Fixture {
    fn catalogue(&self) -> &Catalogue {
        &self.embedded.catalogue
    }

    fn put(&self, bucket: &str, key: &str, text: &str) {
        let staged = self.embedded.bucket.stage(&mut text.as_bytes()).unwrap();
        self.embedded.bucket.put(vec![StagedPut { id: id(bucket, key), staged, watched: None }]).unwrap();
    }

    /// Works in this process until the queue is idle.
    fn work(&self) {
        let drain = Drain::new();
        let backend = Backend::embedded(self.embedded.clone());
        let options = WorkerOptions::embedded(Duration::from_secs(5), 8, 1, 5);
        std::thread::scope(|scope| {
            let working = scope.spawn(|| worker::run(&backend, &options, &drain));
            let mut seen = self.embedded.settled_so_far();
            while !self.embedded.queue.is_idle().unwrap() && !working.is_finished() {
                seen = self.embedded.wait_settled(seen, Duration::from_secs(2));
            }
            drain.request();
            working.join().unwrap().unwrap();
        });
    }

    fn keys(&self, selection: &Selection, limit: usize) -> Vec<String> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.catalogue().documents(selection, after.as_ref(), limit).unwrap();
            assert!(page.items.len() <= limit);
            keys.extend(page.items.into_iter().map(|item| item.id.to_string()));
            match page.next {
                Some(next) => after = Some(next),
                None => return keys,
            }
        }
    }

    fn state(&self, key: &str) -> ListedState {
        self.catalogue().document(&id("processing", key)).unwrap().unwrap().state
    }
}

fn in_processing() -> Selection {
    Selection { bucket: Some("processing".into()), ..Selection::default() }
}

#[test]
fn documents_are_listed_by_name_and_the_last_page_says_so() {
    let fixture = fixture(ProfileName::Unicode);
    let hostile = ["../../etc/passwd", "a//b", "=cmd()", "nul\0in it", "ÅNGSTRÖM", "\u{202e}rtl", "zzz"];
    for key in hostile {
        fixture.put("processing", key, "a b");
        fixture.put("other", key, "c");
    }
    let all =
        |bucket: &str| hostile.map(|key| format!("{bucket}/{key}")).into_iter().collect::<BTreeSet<_>>();
    let in_order = |keys: BTreeSet<String>| keys.into_iter().collect::<Vec<_>>();
    let everything = [in_order(all("other")), in_order(all("processing"))].concat();
    for limit in [1, 2, 7, 14, 100] {
        assert_eq!(fixture.keys(&Selection::default(), limit), everything, "{limit}");
        assert_eq!(fixture.keys(&in_processing(), limit), everything[7..], "{limit}");
    }
    let page = fixture.catalogue().documents(&in_processing(), None, 7).unwrap();
    assert_eq!(page.next, None, "all that there is, and another page is promised");
    let with = |prefix: &str, containing: &str| {
        let (prefix, containing) = (prefix.into(), containing.into());
        fixture.keys(&Selection { prefix, containing, ..in_processing() }, 2)
    };
    assert_eq!(with("a", ""), ["processing/a//b"]);
    assert_eq!(with("a//b", ""), ["processing/a//b"]);
    assert_eq!(with("", "ström"), ["processing/ÅNGSTRÖM"]);
    assert_eq!(with("", "L\0I"), ["processing/nul\0in it"]);
    assert_eq!(with("a", "zzz"), Vec::<String>::new());
    let prefix = Selection { prefix: "z".into(), ..Selection::default() };
    assert_eq!(fixture.keys(&prefix, 1), ["other/zzz", "processing/zzz"]);
}

#[test]
fn what_is_there_all_the_time_is_listed_once_whatever_comes_and_goes() {
    let fixture = fixture(ProfileName::Unicode);
    (0..9).for_each(|number| fixture.put("processing", &format!("k{number}"), "x"));
    let first = fixture.catalogue().documents(&in_processing(), None, 3).unwrap();
    // The very place of the cursor goes, and others come before and after it.
    fixture.embedded.bucket.delete(&id("processing", "k2")).unwrap();
    fixture.put("processing", "k0b", "x");
    fixture.put("processing", "k2b", "x");
    let second = fixture.catalogue().documents(&in_processing(), first.next.as_ref(), 3).unwrap();
    let keys: Vec<_> = first.items.iter().chain(&second.items).map(|item| item.id.key().to_owned()).collect();
    assert_eq!(keys, ["k0", "k1", "k2", "k2b", "k3", "k4"]);
}

#[test]
fn a_state_is_what_became_of_the_version_that_is_there() {
    let fixture = fixture(ProfileName::GoSample);
    fixture.put("processing", "good", "counted words counted");
    fixture.put("processing", "poison", &"x".repeat(70_000));
    assert_eq!(fixture.state("good"), ListedState::Waiting);
    fixture.work();
    let good = fixture.catalogue().document(&id("processing", "good")).unwrap().unwrap();
    assert_eq!((good.state, good.reason), (ListedState::Counted, None));
    assert_eq!(good.result.map(|result| (result.words, result.distinct)), Some((3, 2)));
    let poison = fixture.catalogue().document(&id("processing", "poison")).unwrap().unwrap();
    assert_eq!((poison.state, poison.result), (ListedState::Failed, None));
    assert!(poison.reason.unwrap().contains("does not fit"));
    for (state, expected) in
        [(ListedState::Counted, "processing/good"), (ListedState::Failed, "processing/poison")]
    {
        let selection = Selection { state: Some(state), ..Selection::default() };
        assert_eq!(fixture.keys(&selection, 1), [expected]);
    }
    // A new version waits, and the old one's result is there still.
    fixture.put("processing", "good", "other");
    let again = fixture.catalogue().document(&id("processing", "good")).unwrap().unwrap();
    assert_eq!(again.state, ListedState::Waiting);
    assert!(again.result.unwrap().sequence < again.sequence);
    fixture.work();
    // So does what another profile has counted.
    fixture.embedded.set_profile(&Profile::new(ProfileName::Whitespace)).unwrap();
    assert_eq!(fixture.state("good"), ListedState::Waiting);
    fixture.work();
    assert_eq!(fixture.state("good"), ListedState::Counted);
    fixture.embedded.bucket.delete(&id("processing", "good")).unwrap();
    assert_eq!(fixture.catalogue().document(&id("processing", "good")).unwrap(), None);
}

#[test]
fn a_recount_counts_again_what_was_counted_failed_or_purged() {
    let fixture = fixture(ProfileName::GoSample);
    fixture.put("processing", "good", "counted words counted");
    fixture.put("processing", "poison", &"x".repeat(70_000));
    fixture.work();
    let good = id("processing", "good");
    let before = fixture.catalogue().document(&good).unwrap().unwrap();
    let totals = fixture.embedded.results.totals(None).unwrap();
    let sequence = fixture.embedded.bucket.recount(&good).unwrap().unwrap();
    assert_eq!(fixture.state("good"), ListedState::Waiting);
    assert_eq!(fixture.embedded.results.totals(None).unwrap(), totals, "the old result counts until then");
    fixture.work();
    let after = fixture.catalogue().document(&good).unwrap().unwrap();
    assert_eq!((after.sequence, after.put_at), (sequence, before.put_at));
    assert!(after.result.as_ref().is_some_and(|result| result.sequence == sequence));
    assert_eq!(fixture.embedded.results.totals(None).unwrap(), totals);
    // A failed one is one message and no dead letter, and then one dead letter again.
    fixture.embedded.bucket.recount(&id("processing", "poison")).unwrap().unwrap();
    let depth = fixture.embedded.queue.depth().unwrap();
    assert_eq!((depth.visible, depth.dead_letters), (1, 0));
    fixture.work();
    assert_eq!(fixture.embedded.queue.depth().unwrap().dead_letters, 1);
    // A purged one waits for ever, but for a recount.
    fixture.put("processing", "purged", "words");
    fixture.embedded.queue.purge(Purge::Messages).unwrap();
    assert_eq!(fixture.state("purged"), ListedState::Waiting);
    fixture.embedded.bucket.recount(&id("processing", "purged")).unwrap().unwrap();
    fixture.work();
    assert_eq!(fixture.state("purged"), ListedState::Counted);
    assert_eq!(
        fixture.embedded.bucket.recount(&id("processing", "nowhere")).unwrap(),
        Err(Refused::NoSuchKey)
    );
}

#[test]
fn what_a_bucket_keeps_is_kept_and_never_counted() {
    let fixture = fixture(ProfileName::Unicode);
    fixture.put("uploading", "kept", "words");
    fixture.put("processing", "counted", "words");
    fixture.work();
    let kept = id("uploading", "kept");
    assert_eq!(fixture.catalogue().document(&kept).unwrap().unwrap().state, ListedState::Kept);
    assert_eq!(fixture.embedded.bucket.recount(&kept).unwrap(), Err(Refused::Keeps));
    assert!(fixture.embedded.queue.is_idle().unwrap());
    let (sender, made) = std::sync::mpsc::channel();
    fixture.embedded.bucket.create_bucket("empty", move |answer| sender.send(answer).unwrap());
    made.recv().unwrap().unwrap().unwrap();
    let buckets = fixture.catalogue().buckets().unwrap();
    let buckets: Vec<_> = buckets
        .iter()
        .map(|bucket| (&*bucket.name, bucket.triggers, bucket.documents, bucket.bytes))
        .collect();
    assert_eq!(buckets, [("empty", true, 0, 0), ("processing", true, 1, 5), ("uploading", false, 1, 5)]);
}

#[test]
fn a_purged_failure_waits_and_a_redriven_one_fails_again() {
    let fixture = fixture(ProfileName::GoSample);
    fixture.put("processing", "poison", &"x".repeat(70_000));
    fixture.work();
    fixture.embedded.queue.redrive(&Redrive::All).unwrap();
    assert_eq!(fixture.state("poison"), ListedState::Waiting);
    fixture.work();
    assert_eq!(fixture.state("poison"), ListedState::Failed);
    assert_eq!(fixture.embedded.queue.purge(Purge::DeadLetters).unwrap(), 1);
    assert_eq!(fixture.state("poison"), ListedState::Waiting);
}

#[test]
fn the_ranking_equals_the_totals_at_every_moment() {
    let fixture = fixture(ProfileName::Unicode);
    let texts = ["to be or not to be", "that is the question", "be that as it may", "TO  Ünïcode be", ""];
    for (number, text) in texts.into_iter().enumerate() {
        fixture.put("processing", &format!("k{}", number % 4), text);
        fixture.work();
        let (ranking, totals) =
            (fixture.catalogue().ranking().unwrap(), fixture.embedded.results.totals(None).unwrap());
        let ranked: Vec<_> = (0..ranking.len())
            .map(|index| {
                let ranked = ranking.get(index).unwrap();
                assert_eq!(ranked.rank, index as u64 + 1);
                (ranked.word.to_owned(), ranked.count, ranked.documents)
            })
            .collect();
        let expected: Vec<_> =
            totals.counts.iter().map(|total| (total.word.clone(), total.count, total.documents)).collect();
        assert_eq!(ranked, expected);
        let sums = ranking.sums();
        assert_eq!(
            (sums.documents, sums.bytes, sums.words, sums.distinct, &sums.fingerprint),
            (totals.documents, totals.bytes, totals.words, totals.distinct, &totals.fingerprint)
        );
        assert!(Arc::ptr_eq(&ranking, &fixture.catalogue().ranking().unwrap()), "made again for nothing");
    }
    assert!(fixture.catalogue().forget_ranking(Duration::from_secs(3600)));
    assert!(!fixture.catalogue().forget_ranking(Duration::ZERO));
}

#[test]
fn words_are_selected_by_rank_and_a_place_that_is_gone_is_still_a_place() {
    let fixture = fixture(ProfileName::Unicode);
    fixture.put("processing", "k", "e e e e d d d c c b b a");
    fixture.work();
    let ranking = fixture.catalogue().ranking().unwrap();
    let words = |from, prefix, containing, limit| {
        let (selected, next) = ranking.select(from, prefix, containing, limit);
        (selected.iter().map(|ranked| ranked.word.to_owned()).collect::<Vec<_>>(), next)
    };
    assert_eq!(words(0, "", "", 3), (vec!["e".into(), "d".into(), "b".into()], 3));
    assert_eq!(words(3, "", "", 10), (vec!["c".into(), "a".into()], 5));
    assert_eq!(words(0, "c", "c", 10).0, ["c"]);
    for (count, word, expected) in
        [(4, "e", 1), (3, "a", 1), (3, "zz", 2), (2, "b", 3), (2, "bb", 3), (0, "", 5), (u64::MAX, "", 0)]
    {
        assert_eq!(ranking.after(count, word), expected, "{count} {word}");
    }
    let zipf = |points| ranking.zipf(points).iter().map(|ranked| ranked.rank).collect::<Vec<_>>();
    assert_eq!(zipf(100), [1, 2, 3, 4, 5]);
    assert_eq!(zipf(2), [1, 5]);
    assert_eq!(zipf(1), [1]);
}

#[test]
fn a_word_is_asked_for_as_a_person_writes_it() {
    let fixture = fixture(ProfileName::Unicode);
    fixture.put("processing", "one", "Straße straße STRASSE cafe\u{301}");
    fixture.put("processing", "two", "Café");
    fixture.work();
    let word = |wanted: &str| fixture.catalogue().word(wanted).unwrap();
    let cafe = word("CAFÉ");
    assert_eq!((&*cafe.word, cafe.count, cafe.documents, cafe.rank, cafe.words), ("café", 2, 2, Some(1), 5));
    let strasse = word("Straße");
    assert_eq!((&*strasse.word, strasse.count, strasse.documents, strasse.rank), ("straße", 2, 1, Some(2)));
    let nowhere = word("Nowhere");
    assert_eq!((&*nowhere.word, nowhere.count, nowhere.documents, nowhere.rank), ("nowhere", 0, 0, None));
    assert_eq!(word("!").count, 0);
    let error = fixture.catalogue().word("two words").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("2 words"), "{error}");
}

#[test]
fn nothing_counted_yet_is_told_and_not_guessed() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
    assert_eq!(embedded.catalogue.ranking().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(embedded.catalogue.settled_since(Settled::default(), 20).unwrap().counted, 0);
    assert!(embedded.catalogue.fleet().unwrap().sizing.is_none());
}

#[test]
fn the_documents_of_a_word_are_those_whose_tables_have_it() {
    let fixture = fixture(ProfileName::Unicode);
    let mut expected = BTreeMap::new();
    for number in 0..12_u64 {
        let key = format!("k{number:02}");
        let count = number % 3;
        fixture.put("processing", &key, &format!("{} filler", "needle ".repeat(count as usize)));
        if count > 0 {
            expected.insert(key, (count, count + 1));
        }
    }
    fixture.work();
    for limit in [1, 3, 100] {
        let (mut found, mut after) = (BTreeMap::new(), None);
        loop {
            let page = fixture.catalogue().documents_of_word("needle", after.as_ref(), limit).unwrap();
            for item in page.items {
                assert!(found.insert(item.id.key().to_owned(), (item.count, item.words)).is_none());
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, expected, "{limit}");
    }
}

#[test]
fn what_was_settled_is_told_once_it_was() {
    let fixture = fixture(ProfileName::GoSample);
    let place = fixture.catalogue().settled_since(Settled::default(), 20).unwrap().place;
    fixture.put("processing", "good", "counted words counted");
    fixture.put("processing", "poison", &"x".repeat(70_000));
    assert!(fixture.catalogue().settled_since(place, 20).unwrap().recent.is_empty());
    fixture.work();
    let settled = fixture.catalogue().settled_since(place, 20).unwrap();
    assert_eq!(settled.counted, 1);
    let states: BTreeMap<_, _> = settled.recent.iter().map(|item| (item.id.key(), item.state)).collect();
    let expected = [("good", ListedState::Counted), ("poison", ListedState::Failed)];
    assert_eq!(states, BTreeMap::from(expected));
    let rest = fixture.catalogue().settled_since(settled.place, 20).unwrap();
    assert_eq!((rest.counted, rest.recent.len(), rest.place), (1, 0, settled.place));
    (0..30).for_each(|number| fixture.put("processing", &format!("k{number}"), "several words"));
    fixture.work();
    let settled = fixture.catalogue().settled_since(rest.place, 20).unwrap();
    assert_eq!((settled.counted, settled.recent.len()), (31, 20));
}

#[test]
fn the_number_of_counted_documents_is_that_of_the_totals_whatever_happens() {
    let fixture = fixture(ProfileName::Unicode);
    let check = |expected: u64| {
        let counted = fixture.catalogue().settled_since(Settled::default(), 0).unwrap().counted;
        let totals = fixture.embedded.results.totals(None).unwrap();
        assert_eq!((counted, totals.documents), (expected, expected));
    };
    (0..5).for_each(|number| fixture.put("processing", &format!("k{number}"), "words"));
    check(0);
    fixture.work();
    check(5);
    fixture.put("processing", "k0", "other words");
    fixture.embedded.bucket.recount(&id("processing", "k1")).unwrap().unwrap();
    fixture.embedded.bucket.delete(&id("processing", "k2")).unwrap();
    fixture.work();
    check(4);
    fixture.put("processing", "k2", "again");
    fixture.work();
    check(5);
    fixture.embedded.set_profile(&Profile::new(ProfileName::Whitespace)).unwrap();
    check(0);
    fixture.embedded.bucket.delete(&id("processing", "k3")).unwrap();
    fixture.work();
    check(4);
    fixture.embedded.set_profile(&Profile::new(ProfileName::Unicode)).unwrap();
    check(0);
    fixture.work();
    check(4);
}

fn look(second: u64, visible: u64, sent: u64) -> Look {
    let observation = Observation {
        at: Moment::from_secs(second),
        visible,
        not_visible: 1,
        delayed: 0,
        oldest_age: Some(Duration::from_secs(visible)),
        sent,
        received: sent,
        deleted: sent,
        in_service: 2,
    };
    Look { observation, desired: 3 }
}

#[test]
fn looks_are_thinned_to_points_that_keep_every_peak_and_every_message() {
    let fixture = fixture(ProfileName::Unicode);
    let scaler = Scaler::new(fixed(1), Moment::ZERO).unwrap();
    for second in 0..1000 {
        let sizing = Sizing {
            plan: "test".into(),
            bounds: Bounds { min: 1, max: 4 },
            rules: Vec::new(),
            state: scaler.state().clone(),
            service: None,
            at: Moment::from_secs(second),
            wall: 0,
            scale: 1.0,
        };
        let visible = if second == 637 { 9_999 } else { second % 7 };
        let news = News { look: Some(look(second, visible, 2)), ..News::default() };
        fixture.embedded.history.record(&sizing, &[], &news).unwrap();
    }
    let looks = |since, points| fixture.catalogue().looks(Moment::from_secs(since), points).unwrap();
    assert_eq!(looks(0, 2000).len(), 1000);
    assert_eq!(looks(990, 2000).len(), 10);
    for points in [1, 2, 7, 300, 999] {
        let thinned = looks(0, points);
        assert!(thinned.len() <= points && thinned.len() * 2 > points, "{} of {points}", thinned.len());
        let observations = || thinned.iter().map(|look| &look.observation);
        assert_eq!(observations().map(|look| look.visible).max(), Some(9_999));
        assert_eq!(observations().map(|look| look.sent).sum::<u64>(), 2000);
        assert!(observations().is_sorted_by(|left, right| left.at < right.at));
        assert_eq!(observations().next_back().unwrap().at, Moment::from_secs(999));
    }
}

#[test]
fn bounds_are_kept_and_senseless_ones_refused() {
    let fixture = fixture(ProfileName::Unicode);
    let history = &fixture.embedded.history;
    for bounds in [Bounds { min: 3, max: 2 }, Bounds { min: 0, max: MOST_INSTANCES + 1 }] {
        assert_eq!(history.set_bounds(Some(bounds)).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(history.bounds_by_hand().unwrap(), None);
    let bounds = Some(Bounds { min: 0, max: MOST_INSTANCES });
    history.set_bounds(bounds).unwrap();
    assert_eq!(fixture.catalogue().fleet().unwrap().bounds_by_hand, bounds);
    history.set_bounds(None).unwrap();
    assert_eq!(history.bounds_by_hand().unwrap(), None);
}
