//! Everything at once: buckets that change all the time and tell of it in three ways, duplicates, stragglers and poison in
//! the queues, a network that delays, refuses and cuts, and workers that are killed at every named place and at random.
//! When the storm is over, the table holds what a recount of the buckets gives, and nothing else.

mod content;
mod fleet;
mod ground;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet::{Fleet, PLACES};
use ground::{Ground, Way};

use crate::oracle::Random;
use crate::say;
use crate::support::moto::Moto;
use crate::support::proxy::{Fault, Proxy, Rule};

/// Documents there are at first, by the way their bucket tells of them. Each is overwritten, deleted and put again.
const DOCUMENTS: [(Way, usize); 3] = [(Way::Direct, 200), (Way::Sns, 50), (Way::EventBridge, 50)];

/// No more changes while so many messages wait.
const BACKLOG: u64 = 60;

/// A storm has phases, each with a calm after it. A phase ends when all of this has happened since the beginning.
struct Phase {
    kills_at_each_place: usize,
    kills_at_random: usize,
    changes: usize,
}

const PHASES: [Phase; 2] = [
    Phase { kills_at_each_place: 1, kills_at_random: 8, changes: 150 },
    Phase { kills_at_each_place: 2, kills_at_random: 16, changes: 500 },
];

/// What a storm may take at most, with a machine that has much else to do.
const LONGEST_PHASE: Duration = Duration::from_secs(600);

#[test]
fn no_place_is_forgotten() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut named = BTreeSet::new();
    let sources = walkdir::WalkDir::new(crates.join("wordfreq-aws/src")).into_iter();
    let mut files: Vec<_> =
        sources.map(|entry| entry.unwrap().into_path()).filter(|path| path.is_file()).collect();
    files.extend(["worker.rs", "process.rs"].map(|name| crates.join("wordfreq-pipeline/src").join(name)));
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for call in ["failpoint::hit(", "failpoint::io("] {
            for after in text.split(call).skip(1) {
                let name = after.trim_start().strip_prefix('"').and_then(|name| name.split('"').next());
                let name = name.unwrap_or_else(|| panic!("{}: {call} without a name", path.display()));
                named.insert(name.to_owned());
            }
        }
    }
    let known: BTreeSet<String> = PLACES.into_iter().map(str::to_owned).collect();
    assert_eq!(named, known, "the places in the sources, and those that are killed at");
}

/// About one request in four fails, and one in ten is late. Of those for documents fewer fail, as those that fail four
/// times in a row are put off for minutes; but their answers break off.
fn harm(proxy: &Proxy) {
    let inject =
        |operation, fault, one_in| proxy.inject(Rule { operation, fault, one_in, at_most: u32::MAX });
    let others = [
        "ReceiveMessage",
        "PutItem",
        "SendMessageBatch",
        "DeleteMessageBatch",
        "ChangeMessageVisibilityBatch",
        "HeadObject",
        "PutObject",
        "DeleteObject",
    ];
    for (operation, one_in) in others.map(|name| (name, 20)).into_iter().chain([("GetObject", 40)]) {
        inject(Some(operation), Fault::Delay(Duration::from_millis(400)), 10);
        let refusals = [Fault::Status(500), Fault::Status(503), Fault::Throttle];
        for fault in refusals.into_iter().chain([Fault::CutBefore, Fault::CutAfter]) {
            inject(Some(operation), fault, one_in);
        }
    }
    inject(None, Fault::PartialBatch, 10);
    for (after, one_in) in [(0, 20), (1_000, 15), (2_000_000, 15)] {
        inject(Some("GetObject"), Fault::CutBody { after }, one_in);
    }
    // A worker asks these once, when it starts; what fails four times in a row ends it, as it should.
    inject(Some("GetQueueAttributes"), Fault::Status(503), 20);
    inject(Some("DescribeTable"), Fault::Status(503), 20);
}

#[test]
fn everything_is_counted_once_under_faults_and_kills() {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration; this replays a failed run")]
    let seed = std::env::var("WORDFREQ_TEST_SEED").map_or(20_260_101, |seed| seed.parse().unwrap());
    // Shown when the test fails. What the processes do in which order is not the seed's to say.
    say(&format!("to replay: WORDFREQ_TEST_SEED={seed}"));
    let began = Instant::now();
    let moto = Moto::start();
    let proxy = Proxy::start_with_seed(&moto.url, seed);
    let mut random = Random(seed);
    let mut grounds: Vec<_> =
        DOCUMENTS.iter().map(|(way, documents)| Ground::new(&moto, &proxy, *way, *documents)).collect();
    let mut fleet = Fleet::new(&grounds);
    let mut faults = BTreeMap::new();
    for (number, phase) in PHASES.iter().enumerate() {
        harm(&proxy);
        if number == 0 {
            for ground in &mut grounds {
                ground.fill(&mut random, |random| fleet.tend(random));
            }
            say(&format!("{:.0?}: all documents are there", began.elapsed()));
        }
        let phase_began = Instant::now();
        let kills = (phase.kills_at_each_place, phase.kills_at_random);
        while !fleet.is_killed_enough(kills) || changes(&grounds) < phase.changes {
            assert!(phase_began.elapsed() < LONGEST_PHASE, "the storm never ends: {}", fleet.summary());
            for ground in &mut grounds {
                ground.listen();
                if ground.backlog() < BACKLOG {
                    ground.change(&mut random);
                } else {
                    fleet.rest();
                }
                fleet.tend(&mut random);
            }
            fleet.shoot(&mut random);
        }
        say(&format!("{:.0?}: the storm ends after {} changes", began.elapsed(), changes(&grounds)));
        for (name, times) in proxy.faults() {
            *faults.entry(name).or_default() += times;
        }
        for ground in &mut grounds {
            ground.note_lost_answers(&proxy);
        }
        proxy.clear();
        fleet.calm();
        for ground in &mut grounds {
            ground.wait_until_idle(|| {
                fleet.rest();
                fleet.tend(&mut random);
            });
        }
        say(&format!("{:.0?}: all is done", began.elapsed()));
        for ground in &mut grounds {
            ground.listen();
            ground.check(&fleet);
        }
        say(&format!("{:.0?}: all is checked", began.elapsed()));
        proxy.reset_counts();
        if number + 1 < PHASES.len() {
            fleet.restart(&mut random);
        }
    }
    fleet.drain();
    for ground in &mut grounds {
        ground.check_dead_letters(&fleet);
        say(&ground.summary());
    }
    say(&format!("harm done by the network: {faults:?}"));
    say(&fleet.summary());
    let harms = ["Delay", "Status", "Throttle", "CutBefore", "CutAfter", "CutBody", "PartialBatch"];
    for name in harms {
        let times: u64 = faults.get(name).copied().unwrap_or(0);
        assert!(times >= 10, "hardly any {name}: {faults:?}");
    }
    assert_eq!(moto.unexpected_errors(), Vec::<String>::new());
}

fn changes(grounds: &[Ground]) -> usize {
    grounds.iter().map(Ground::num_changes).sum()
}
