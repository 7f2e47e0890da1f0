//! Hundreds of SIGKILLs at every named place and at random moments, on data directories that live through all of
//! them. Afterwards nothing that was accepted is missing, nothing is counted twice, and nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use walkdir::WalkDir;
use wordfreq_core::ProfileName;

use crate::oracle::{self, Random};
use crate::system::{System, is_kill, send};

const AT_LEAST: usize = 300;

/// Every place passes these many times through the whole program.
const CYCLES: u32 = 2;

/// Kills of workers at one place in one go.
const WORKERS_AT_ONCE: usize = 11;

/// In `upload`, before the moment from which the documents must be there.
const UPLOAD_BEFORE: [&str; 7] = [
    "bucket.stage",
    "bucket.sync_object",
    "bucket.before_rename",
    "bucket.after_rename",
    "bucket.before_directory_sync",
    "bucket.before_record",
    "database.before_commit",
];
/// And after it.
const UPLOAD_AFTER: [&str; 2] = ["database.after_commit", "bucket.after_record"];

/// In `up`: taking in, deleting, sweeping.
const UP: [&str; 18] = [
    "fleet.before_launch",
    "fleet.after_launch",
    "fleet.before_terminate",
    "bucket.stage",
    "bucket.sync_object",
    "bucket.before_rename",
    "bucket.after_rename",
    "bucket.before_directory_sync",
    "bucket.before_record",
    "bucket.after_record",
    "bucket.before_sweep",
    "bucket.after_sweep",
    "watch.before_put",
    "watch.after_put",
    "watch.before_delete",
    "watch.after_delete",
    "database.before_commit",
    "database.after_commit",
];

/// In workers, with any document.
const WORKER: [&str; 15] = [
    "worker.before_receive",
    "worker.leased",
    "process.before_open",
    "process.before_count",
    "process.after_count",
    "results.before_commit",
    "results.before_totals",
    "totals.before_fold",
    "totals.after_fold",
    "results.in_transaction",
    "results.after_commit",
    "worker.before_tell",
    "worker.after_tell",
    "database.before_commit",
    "database.after_commit",
];
/// In workers, with a version that has been replaced.
const WORKER_SUPERSEDED: [&str; 2] = ["worker.before_ack", "worker.after_ack"];
/// In workers, with a document that cannot be counted.
const WORKER_POISON: [&str; 2] = ["queue.before_dead_letter", "queue.after_dead_letter"];

/// In the notifier, whose own tests kill it there.
const NOTIFIER: [&str; 2] = ["notify.before_post", "notify.after_post"];

/// In `up`, while it puts together an upload in parts (`s3`).
const S3: [&str; 2] = ["uploads.before_assemble", "uploads.after_assemble"];

fn places() -> BTreeSet<&'static str> {
    [&UPLOAD_BEFORE[..], &UPLOAD_AFTER, &UP, &WORKER, &WORKER_SUPERSEDED, &WORKER_POISON]
        .into_iter()
        .flatten()
        .copied()
        .collect()
}

#[test]
fn no_place_is_forgotten() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut named = BTreeSet::new();
    for entry in WalkDir::new(crates) {
        let entry = entry.unwrap();
        let below = entry.path().strip_prefix(crates).unwrap();
        let is_source = below.components().nth(1).is_some_and(|part| part.as_os_str() == "src");
        // The places on AWS are the `aws` tests' to reach.
        if below.starts_with("wordfreq-aws")
            || !is_source
            || entry.path().extension().is_none_or(|extension| extension != "rs")
        {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        for call in ["failpoint::hit(", "failpoint::io("] {
            for after in text.split(call).skip(1) {
                let name = after.trim_start().strip_prefix('"').and_then(|name| name.split('"').next());
                let name = name.unwrap_or_else(|| {
                    panic!("{}: {call}...) does not name its place in plain sight", entry.path().display())
                });
                named.insert(name.to_owned());
            }
        }
    }
    let known: BTreeSet<String> = places().into_iter().chain(NOTIFIER).chain(S3).map(str::to_owned).collect();
    assert_eq!(named, known, "the places in the sources, and those that are killed at");
}

/// The kills so far, by place; those at random moments by what was killed.
#[derive(Default)]
struct Kills(BTreeMap<&'static str, usize>);

impl Kills {
    fn add(&mut self, place: &'static str, kills: usize) {
        *self.0.entry(place).or_default() += kills;
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }
}

/// One data directory, and what must be in it.
struct World {
    system: System,
    random: Random,
    kills: Kills,
    /// What was uploaded, by key.
    uploaded: BTreeMap<String, Vec<u8>>,
    /// Keys of which an upload was killed at a moment nobody knows: what they may hold, `None` for nothing.
    unsure: BTreeMap<String, Vec<Option<Vec<u8>>>>,
    num_names: u64,
    /// Of the last file that was given a modification time; each gets its own, all long past.
    modified: SystemTime,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            system: System::new()
                .with_short_leases()
                .with_variable("WORDFREQ_QUEUE_MAX_RECEIVE_COUNT", "1000")
                // So that totals are folded at most commits of this size, but not at all of them.
                .with_variable("WORDFREQ_FAILPOINT_FOLD_AT", "4"),
            random: Random(seed),
            kills: Kills::default(),
            uploaded: BTreeMap::new(),
            unsure: BTreeMap::new(),
            num_names: 0,
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000),
        }
    }

    fn up_args(watched: &str) -> [&str; 7] {
        ["up", "--preset", "fixed", "--max", "4", "--watch", watched]
    }

    fn new_name(&mut self) -> String {
        self.num_names += 1;
        // Some in directories, which come and go with their files.
        match self.num_names % 3 {
            0 => format!("below/{}/{:04}.txt", self.num_names % 5, self.num_names),
            _ => format!("{:04} ü.txt", self.num_names),
        }
    }

    /// The watched files there are.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let root = self.system.watched();
        WalkDir::new(&root)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let key = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                (key, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    /// Writes a watched file as something that has rested, so that it is taken in at once.
    fn write_file(&mut self, name: &str, bytes: &[u8]) {
        let path = self.system.watched().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        self.modified += Duration::from_secs(1);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(self.modified).unwrap();
    }

    /// Every kind of change to the watched directory: new files, an empty one, one text under two names, other
    /// contents under an old name, a rename, a rename over another file, deletions.
    fn change_files(&mut self) {
        for _ in 0..4 {
            let (name, bytes) = (self.new_name(), self.random.document());
            self.write_file(&name, &bytes);
        }
        let (first, second, empty) = (self.new_name(), self.new_name(), self.new_name());
        let twin = self.random.document();
        self.write_file(&first, &twin);
        self.write_file(&second, &twin);
        self.write_file(&empty, b"");
        let root = self.system.watched();
        let mut names: Vec<String> = self.files().into_keys().collect();
        let mut pick = |random: &mut Random| names.swap_remove(random.below(names.len()));
        let (rewritten, renamed, over, under) =
            (pick(&mut self.random), pick(&mut self.random), pick(&mut self.random), pick(&mut self.random));
        let gone: Vec<_> = (0..2).map(|_| pick(&mut self.random)).collect();
        let bytes = self.random.document();
        self.write_file(&rewritten, &bytes);
        let new_name = root.join(self.new_name());
        fs::create_dir_all(new_name.parent().unwrap()).unwrap();
        fs::rename(root.join(renamed), new_name).unwrap();
        fs::rename(root.join(over), root.join(under)).unwrap();
        for name in gone {
            fs::remove_file(root.join(name)).unwrap();
        }
        // No more than a screenful, or the checks take longer than the kills.
        for name in self.files().into_keys().skip(20) {
            fs::remove_file(root.join(name)).unwrap();
        }
    }

    /// Uploads documents under `uploaded/`, all in one command; returns how it ended and what it would put.
    fn upload(
        &mut self,
        count: usize,
        variables: &[(&str, &str)],
    ) -> (crate::system::Ended, BTreeMap<String, Vec<u8>>) {
        let documents: BTreeMap<String, Vec<u8>> = (0..count)
            .map(|number| {
                let bytes = match number {
                    3 => Vec::new(),
                    4 => b"one text under many names".to_vec(),
                    _ => self.random.document(),
                };
                (format!("uploaded/{number:02}"), bytes)
            })
            .collect();
        let directory = self.system.path("outbox");
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        for (key, bytes) in &documents {
            self.system.write(&format!("outbox/{key}"), bytes);
        }
        (self.system.run_with(&["upload", "outbox"], variables), documents)
    }

    fn accept(&mut self, documents: BTreeMap<String, Vec<u8>>) {
        for key in documents.keys() {
            self.unsure.remove(key);
        }
        self.uploaded.extend(documents);
    }

    fn upload_all(&mut self, count: usize) {
        let (ended, documents) = self.upload(count, &[]);
        ended.code(0);
        self.accept(documents);
    }

    fn kill_uploads(&mut self) {
        for place in UPLOAD_BEFORE.into_iter().chain(UPLOAD_AFTER) {
            // One document, which can pass each place once only, and more than one.
            for count in [1, 3] {
                let at = match place {
                    "bucket.stage"
                    | "bucket.sync_object"
                    | "bucket.before_rename"
                    | "bucket.after_rename" => count,
                    _ => 1,
                };
                let (ended, documents) =
                    self.upload(count, &[("WORDFREQ_FAILPOINTS", &format!("{place}=kill@{at}"))]);
                assert!(ended.was_killed(), "{place}: {ended:#?}");
                self.kills.add(place, 1);
                if UPLOAD_AFTER.contains(&place) {
                    self.accept(documents);
                }
            }
        }
    }

    fn kill_deletes(&mut self) {
        for (place, is_done) in [("database.before_commit", false), ("database.after_commit", true)] {
            let key = self.uploaded.keys().next_back().unwrap().clone();
            let ended = self.system.run_with(
                &["delete", &format!("processing/{key}")],
                &[("WORDFREQ_FAILPOINTS", &format!("{place}=kill"))],
            );
            assert!(ended.was_killed(), "{place}: {ended:#?}");
            self.kills.add(place, 1);
            if is_done {
                self.uploaded.remove(&key);
            }
        }
        let key = self.uploaded.keys().next_back().unwrap().clone();
        self.system.run(&["delete", &format!("processing/{key}")]).code(0);
        self.uploaded.remove(&key);
    }

    /// Kills an upload at a moment that nobody knows.
    fn kill_upload_at_random(&mut self) {
        let key = format!("uploaded/{:02}", self.random.below(8));
        let bytes = self.random.document().repeat(20);
        self.system.write(&format!("single/{key}"), &bytes);
        let mut upload = self.system.start(&["upload", "single"], &[]);
        upload.read_on(Duration::from_micros(self.random.next() % 15_000));
        upload.signal(Signal::KILL);
        let status = upload.wait_for_end();
        fs::remove_dir_all(self.system.path("single")).unwrap();
        if status.success() {
            self.accept(BTreeMap::from([(key, bytes)]));
        } else {
            assert!(is_kill(status), "{status}: {:?}", upload.log);
            self.kills.add("(upload, at random)", 1);
            let before = self.uploaded.get(&key).cloned();
            let candidates = self.unsure.entry(key).or_insert_with(|| vec![before]);
            candidates.push(Some(bytes));
        }
    }

    /// Kills `up` at this place; what its workers meet there is counted too.
    fn kill_up(&mut self, place: &'static str, at: u32) {
        if place.ends_with("_delete") {
            // What was never taken in cannot be deleted either.
            self.check();
            let oldest = self.files().into_keys().next().unwrap();
            fs::remove_file(self.system.watched().join(oldest)).unwrap();
        }
        self.change_files();
        // Leaves two objects that nothing refers to.
        self.upload_all(2);
        self.upload_all(2);
        let watched = self.system.watched();
        let mut up = self.system.start(
            &Self::up_args(watched.to_str().unwrap()),
            &[("WORDFREQ_FAILPOINTS", &format!("{place}=kill@{at}"))],
        );
        if place == "fleet.before_terminate" {
            // A lost worker is asked to go before its successor is launched.
            let workers = up.wait_for_workers(4);
            send(workers[self.random.below(workers.len())], Signal::KILL);
        }
        let status = up.wait_for_end();
        assert!(is_kill(status), "{place}@{at}: {status}: {}", up.log.join("\n"));
        self.kills.add(place, 1 + up.num_killed_workers());
    }

    /// Kills workers at this place, again and again; in the end kills `up` too, or lets it drain.
    fn kill_workers(&mut self, place: &'static str, at: u32, drain: bool) {
        let documents = 18 * at as usize;
        self.upload_all(documents);
        if WORKER_SUPERSEDED.contains(&place) {
            self.upload_all(documents);
        }
        let watched = self.system.watched();
        let failpoints = format!("{place}=kill@{at}");
        let mut variables = vec![("WORDFREQ_FAILPOINTS", failpoints.as_str())];
        if place.starts_with("totals.") {
            // Every commit must come here, however little it moves.
            variables.push(("WORDFREQ_FAILPOINT_FOLD_AT", "1"));
        }
        // A batch meets some places only once, and there must be enough of them.
        let batch = if WORKER_SUPERSEDED.contains(&place) { "1" } else { "2" };
        variables.push(("WORDFREQ_QUEUE_BATCH", batch));
        let mut up = self.system.start(&Self::up_args(watched.to_str().unwrap()), &variables);
        // A worker that lives through one pass may have done a larger batch in it, so fewer die of as many documents.
        up.wait_for_killed_workers(WORKERS_AT_ONCE / at as usize);
        if drain {
            up.signal(Signal::TERM);
            let status = up.wait_for_end();
            assert!(status.success(), "{status}: {}", up.log.join("\n"));
            up.wait_until_all_are_gone();
        } else {
            up.signal(Signal::KILL);
            assert!(is_kill(up.wait_for_end()));
            self.kills.add("(up, at random)", 1);
        }
        self.kills.add(place, up.num_killed_workers());
    }

    /// Kills workers of their own, not `up`'s, at a place where `up` would be killed first.
    fn kill_lone_workers(&mut self, place: &'static str) {
        self.upload_all(24);
        for at in [1, 2, 3, 1, 2, 3] {
            let ended =
                self.system.run_with(&["worker"], &[("WORDFREQ_FAILPOINTS", &format!("{place}=kill@{at}"))]);
            assert!(ended.was_killed(), "{place}@{at}: {ended:#?}");
            self.kills.add(place, 1);
        }
    }

    /// Kills workers and at last `up` at moments that nobody knows, while files change under it.
    fn kill_at_random(&mut self) {
        self.upload_all(12);
        let watched = self.system.watched();
        let mut up = self.system.start(&Self::up_args(watched.to_str().unwrap()), &[]);
        for _ in 0..6 {
            up.read_on(Duration::from_micros(self.random.next() % 60_000));
            self.change_files();
            let workers = up.workers();
            if !workers.is_empty() {
                send(workers[self.random.below(workers.len())], Signal::KILL);
            }
        }
        up.read_on(Duration::from_micros(self.random.next() % 200_000));
        up.signal(Signal::KILL);
        assert!(is_kill(up.wait_for_end()));
        self.kills.add("(worker, at random)", up.num_killed_workers());
        self.kills.add("(up, at random)", 1);
    }

    /// Lets everything be done, and compares.
    fn check(&mut self) {
        let watched = self.system.watched();
        self.system.run_until_idle(&["--watch", watched.to_str().unwrap()]);
        self.settle_unsure();
        let mut documents = self.files();
        documents.extend(self.uploaded.clone());
        self.system.assert_holds(ProfileName::Unicode, &documents);
    }

    /// An upload that was killed has put all of a document or nothing; whichever it is, from now on it stays so.
    fn settle_unsure(&mut self) {
        let listed = self.system.list();
        for (key, candidates) in std::mem::take(&mut self.unsure) {
            if listed.contains_key(&key) {
                let shown = self.system.show(&key);
                let held = candidates
                    .into_iter()
                    .flatten()
                    .find(|bytes| oracle::report(ProfileName::Unicode, [&bytes[..]]) == shown);
                let held = held.unwrap_or_else(|| panic!("{key} holds what nobody put there: {shown}"));
                self.uploaded.insert(key, held);
            } else {
                assert!(candidates.contains(&None), "{key} is gone");
                self.uploaded.remove(&key);
            }
        }
    }
}

/// Documents that cannot be counted, in a data directory of their own.
struct PoisonWorld {
    system: System,
    random: Random,
    poison: BTreeMap<String, Vec<u8>>,
}

impl PoisonWorld {
    const PROFILE: [&str; 2] = ["--profile", "go-sample"];

    fn new(seed: u64) -> Self {
        let system =
            System::new().with_short_leases().with_variable("WORDFREQ_QUEUE_MAX_RECEIVE_COUNT", "1000");
        system.write("good.txt", "a good neighbour");
        system.upload(&["good.txt"]);
        Self { system, random: Random(seed), poison: BTreeMap::new() }
    }

    fn kill_workers(&mut self, place: &'static str, wanted: usize, kills: &mut Kills) {
        for _ in 0..wanted + 2 {
            let key = format!("poison-{}.txt", self.poison.len());
            let bytes = format!("mark{:x} {}", self.random.next(), "y".repeat(70_000)).into_bytes();
            self.system.write(&key, &bytes);
            self.system.upload(&[&key]);
            self.poison.insert(key, bytes);
        }
        let mut up = self.system.start(
            &["up", "--preset", "fixed", "--max", "4", Self::PROFILE[0], Self::PROFILE[1]],
            &[("WORDFREQ_FAILPOINTS", &format!("{place}=kill"))],
        );
        up.wait_for_killed_workers(wanted);
        up.signal(Signal::TERM);
        assert!(up.wait_for_end().success(), "{}", up.log.join("\n"));
        kills.add(place, up.num_killed_workers());
    }

    /// Each is a dead letter once, until another profile can count it.
    fn check(self) {
        let args = ["up", "--exit-when-idle", Self::PROFILE[0], Self::PROFILE[1]];
        self.system.run(&args).code(3);
        let mut keys: Vec<_> = self
            .system
            .dead_letters()
            .iter()
            .map(|letter| letter["key"].as_str().unwrap().to_owned())
            .collect();
        keys.sort_unstable();
        let mut poison: Vec<_> = self.poison.keys().cloned().collect();
        poison.sort_unstable();
        assert_eq!(keys, poison);
        self.system.run(&["queue", "redrive"]).code(0);
        self.system.run_until_idle(&["--profile", "unicode"]);
        let mut documents = self.poison;
        documents.insert("good.txt".into(), b"a good neighbour".to_vec());
        self.system.assert_holds(ProfileName::Unicode, &documents);
    }
}

#[test]
fn nothing_is_lost_or_doubled_by_hundreds_of_kills() {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration; this replays a failed run")]
    let seed = std::env::var("WORDFREQ_TEST_SEED").map_or(20_260_101, |seed| seed.parse().unwrap());
    // Shown when the test fails.
    say(&format!("to replay: WORDFREQ_TEST_SEED={seed}"));
    let started = std::time::Instant::now();
    let mut world = World::new(seed);
    let mut poison = PoisonWorld::new(seed);
    world.change_files();
    world.upload_all(6);
    world.check();
    for cycle in 1..=CYCLES {
        world.kill_uploads();
        world.kill_deletes();
        world.check();
        for (number, place) in WORKER.into_iter().chain(WORKER_SUPERSEDED).enumerate() {
            if place.starts_with("database.") {
                world.kill_lone_workers(place);
            } else {
                world.kill_workers(place, cycle, number % 2 == 0);
            }
            if number % 4 == 3 {
                world.check();
            }
        }
        world.check();
        for (number, place) in UP.into_iter().enumerate() {
            let at = match place {
                "bucket.stage"
                | "bucket.sync_object"
                | "bucket.before_rename"
                | "fleet.before_launch"
                | "fleet.after_launch"
                | "database.before_commit"
                | "database.after_commit" => cycle,
                _ => 1,
            };
            world.kill_up(place, at);
            if number % 5 == 4 {
                world.check();
            }
        }
        for _ in 0..3 {
            world.kill_at_random();
            for _ in 0..8 {
                world.kill_upload_at_random();
            }
            world.check();
        }
        for place in WORKER_POISON {
            poison.kill_workers(place, 6, &mut world.kills);
        }
    }
    poison.check();
    let kills = world.kills;
    for (place, kills) in &kills.0 {
        say(&format!("{kills:4} kills at {place}"));
    }
    say(&format!("{:4} kills in {:.0?}", kills.total(), started.elapsed()));
    for place in places() {
        assert!(kills.0.contains_key(place), "no kill at {place}");
    }
    assert!(kills.total() >= AT_LEAST, "only {} kills", kills.total());
}

#[expect(clippy::print_stderr, reason = "what a long test did is worth a line")]
fn say(text: &str) {
    eprintln!("{text}");
}
