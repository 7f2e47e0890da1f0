//! A watched directory and the bucket stay in step, whatever happens to the files and whenever the watch runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wordfreq_pipeline::embedded::{Embedded, IfMissing, Options};
use wordfreq_pipeline::watch::{Progress, Watch};
use wordfreq_pipeline::{ErrorKind, Queue};

/// Longer than anything in here takes; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

struct Fixture {
    directory: TempDir,
    embedded: Embedded,
}

struct Watching {
    watch: Watch,
    changed: Receiver<()>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("in")).unwrap();
        let embedded =
            Embedded::open(&directory.path().join("data"), IfMissing::Create, Options::default()).unwrap();
        Self { directory, embedded }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("in").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn watch(&self) -> Watching {
        self.watch_directories(&[self.path("")])
    }

    fn watch_directories(&self, directories: &[PathBuf]) -> Watching {
        let (sender, changed) = mpsc::channel();
        let watch = Watch::start(
            self.embedded.bucket.clone(),
            "processing",
            directories,
            self.embedded.directory(),
            move || {
                // The test may have seen enough.
                sender.send(()).ok();
            },
        )
        .unwrap();
        Watching { watch, changed }
    }

    /// Key and size of every document that was taken in from the directory and is still there.
    fn documents(&self) -> BTreeMap<String, u64> {
        let files = self.embedded.bucket.watched().unwrap();
        files.into_iter().map(|file| (file.id.key().to_owned(), file.stamp.bytes)).collect()
    }
}

impl Watching {
    #[track_caller]
    fn wait_until(&self, what: &str, mut holds: impl FnMut(&Progress) -> bool) -> Progress {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let progress = self.watch.progress();
            if holds(&progress) {
                return progress;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(self.changed.recv_timeout(left).is_ok(), "never {what}: {progress:?}");
        }
    }

    #[track_caller]
    fn wait_for(&self, fixture: &Fixture, expected: &[(&str, u64)]) -> Progress {
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(key, bytes)| ((*key).to_owned(), *bytes)).collect();
        self.wait_until(&format!("{expected:?}"), |progress| progress.idle && fixture.documents() == expected)
    }
}

#[test]
fn files_are_taken_in_changed_renamed_and_deleted() {
    let fixture = Fixture::new();
    fixture.write("before.txt", "here before the watch");
    fixture.write("deep/er/before.txt", "deep");
    fixture.write("empty", "");
    let watching = fixture.watch();
    watching.wait_for(&fixture, &[("before.txt", 21), ("deep/er/before.txt", 4), ("empty", 0)]);

    fixture.write("after.txt", "new");
    fixture.write("before.txt", "changed");
    fixture.write("new/directory/file", "12345");
    watching.wait_for(
        &fixture,
        &[
            ("after.txt", 3),
            ("before.txt", 7),
            ("deep/er/before.txt", 4),
            ("empty", 0),
            ("new/directory/file", 5),
        ],
    );

    fs::rename(fixture.path("after.txt"), fixture.path("renamed.txt")).unwrap();
    fs::rename(fixture.path("new"), fixture.path("moved")).unwrap();
    fs::remove_file(fixture.path("empty")).unwrap();
    fs::remove_dir_all(fixture.path("deep")).unwrap();
    watching.wait_for(&fixture, &[("before.txt", 7), ("moved/directory/file", 5), ("renamed.txt", 3)]);

    // Saved as editors do: written beside and moved over.
    fixture.write("renamed.txt~", "longer than before");
    fs::rename(fixture.path("renamed.txt~"), fixture.path("renamed.txt")).unwrap();
    watching.wait_for(&fixture, &[("before.txt", 7), ("moved/directory/file", 5), ("renamed.txt", 18)]);
    // A link to a whole file is whole.
    fs::hard_link(fixture.path("renamed.txt"), fixture.path("linked.txt")).unwrap();
    watching.wait_for(
        &fixture,
        &[("before.txt", 7), ("linked.txt", 18), ("moved/directory/file", 5), ("renamed.txt", 18)],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_half_written_file_waits_for_its_writer_to_close() {
    let fixture = Fixture::new();
    let watching = fixture.watch();
    watching.wait_for(&fixture, &[]);
    let mut half = File::create(fixture.path("half")).unwrap();
    half.write_all(b"first half, ").unwrap();
    half.sync_all().unwrap();
    for round in 0..3 {
        // Each of these comes and goes through the whole intake while the other stays open.
        fixture.write("whole", &"x".repeat(round + 1));
        watching.wait_until("taken in", |_| fixture.documents().get("whole") == Some(&(round as u64 + 1)));
        assert!(!fixture.documents().contains_key("half"), "taken in half-written");
        assert!(!watching.watch.progress().idle, "idle although a file is being written");
        half.write_all(b"more, ").unwrap();
    }
    // Still the same writer's after a rename.
    fs::rename(fixture.path("half"), fixture.path("renamed")).unwrap();
    fixture.write("whole", "last");
    watching.wait_until("taken in", |_| fixture.documents().get("whole") == Some(&4));
    assert!(!fixture.documents().contains_key("renamed"), "taken in half-written after a rename");
    half.write_all(b"done").unwrap();
    drop(half);
    let progress = watching.wait_for(&fixture, &[("renamed", 34), ("whole", 4)]);
    assert_eq!(progress.taken, 5, "every version once: four of `whole`, one of the other");
}

#[test]
fn a_restart_takes_in_only_what_changed() {
    let fixture = Fixture::new();
    for name in ["same", "changed", "gone", "touched"] {
        fixture.write(name, name);
    }
    let watching = fixture.watch();
    watching.wait_for(&fixture, &[("changed", 7), ("gone", 4), ("same", 4), ("touched", 7)]);
    drop(watching);
    fs::remove_file(fixture.path("gone")).unwrap();
    fixture.write("changed", "CHANGED");
    fixture.write("touched", "touched");
    fixture.write("new", "new");
    let watching = fixture.watch();
    let progress = watching.wait_for(&fixture, &[("changed", 7), ("new", 3), ("same", 4), ("touched", 7)]);
    assert_eq!((progress.taken, progress.deleted), (2, 1));
    let depth = fixture.embedded.queue.depth().unwrap();
    assert_eq!(depth.visible, 4 + 2 + 1, "one message for each change");
}

#[test]
fn what_cannot_be_taken_in_is_named_and_harms_nobody() {
    let fixture = Fixture::new();
    fixture.write("good", "good");
    fs::write(fixture.path("").join(std::ffi::OsStr::from_bytes(b"bad\xff")), "x").unwrap();
    let long: PathBuf = fixture.path("").join(vec!["d".repeat(200); 6].join("/"));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("too-long"), "x").unwrap();
    std::os::unix::fs::symlink(fixture.path("good"), fixture.path("link")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(fixture.path("socket")).unwrap();
    let watching = fixture.watch();
    let progress = watching.wait_for(&fixture, &[("good", 4)]);
    let mut reasons: Vec<_> = progress.failures.values().map(String::as_str).collect();
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("not a regular file") && reasons[1].contains("not UTF-8"), "{reasons:?}");
    assert!(reasons[2].contains("has 1214 bytes"), "{reasons:?}");
    drop(socket);
    fs::remove_file(fixture.path("socket")).unwrap();
    watching.wait_until("forgotten", |progress| progress.failures.len() == 2);
}

#[test]
fn two_directories_cannot_fight_over_a_key() {
    let fixture = Fixture::new();
    fixture.write("one/same", "first");
    fixture.write("two/same", "second");
    let watching = fixture.watch_directories(&[fixture.path("one"), fixture.path("two")]);
    let progress = watching.wait_until("idle", |progress| progress.idle && progress.taken == 1);
    let reason = &progress.failures[&fixture.path("two/same").canonicalize().unwrap()];
    assert!(reason.contains("watch a directory above both"), "{reason}");
    fs::remove_file(fixture.path("one/same")).unwrap();
    watching.wait_until("taken over", |progress| progress.taken == 2 && progress.failures.is_empty());
}

#[test]
fn a_watched_directory_that_vanishes_keeps_its_documents() {
    let fixture = Fixture::new();
    fixture.write("sub/file", "text");
    let watching = fixture.watch_directories(&[fixture.path("sub")]);
    watching.wait_until("taken in", |progress| progress.idle && progress.taken == 1);
    fs::rename(fixture.path("sub"), fixture.path("elsewhere")).unwrap();
    fs::create_dir(fixture.path("other")).unwrap();
    drop(watching);
    let error = Watch::start(
        fixture.embedded.bucket.clone(),
        "processing",
        &[fixture.path("sub")],
        fixture.embedded.directory(),
        || {},
    )
    .err()
    .expect("a missing directory is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    fs::rename(fixture.path("elsewhere"), fixture.path("sub")).unwrap();
    let watching = fixture.watch_directories(&[fixture.path("sub")]);
    let progress = watching.wait_until("idle", |progress| progress.idle);
    assert_eq!((progress.taken, progress.deleted), (0, 0));
}

#[test]
fn directories_in_each_other_are_refused() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("inner")).unwrap();
    fs::write(fixture.path("file"), "x").unwrap();
    let refused = |directories: &[&Path]| {
        let directories: Vec<_> = directories.iter().map(|path| (*path).to_owned()).collect();
        let error = Watch::start(
            fixture.embedded.bucket.clone(),
            "processing",
            &directories,
            fixture.embedded.directory(),
            || {},
        )
        .err()
        .expect("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    assert!(refused(&[&fixture.path(""), &fixture.path("inner")]).contains("one lies in the other"));
    assert!(refused(&[&fixture.path("file")]).contains("not a directory"));
    assert!(refused(&[&fixture.path("missing")]).contains("No such file"));
    assert!(refused(&[fixture.directory.path()]).contains("--data-dir"));
    assert!(refused(&[fixture.embedded.directory()]).contains("--data-dir"));
}

#[test]
fn what_a_data_directory_holds_is_nobodys_document() {
    let fixture = Fixture::new();
    let other = fixture.path("wordfreq-data");
    drop(Embedded::open(&other, IfMissing::Create, Options::default()).unwrap());
    fixture.write("a", "some words");
    let watching = fixture.watch();
    watching.wait_for(&fixture, &[("a", 10)]);
    // What happens in it is heard of too.
    fixture.write("wordfreq-data/objects/later", "no document");
    fixture.write("b", "more");
    watching.wait_for(&fixture, &[("a", 10), ("b", 4)]);
    drop(watching);
    let error = Watch::start(
        fixture.embedded.bucket.clone(),
        "processing",
        &[other],
        fixture.embedded.directory(),
        || {},
    );
    assert_eq!(error.err().unwrap().kind(), ErrorKind::Invalid);
}

#[test]
fn a_file_of_the_same_size_and_time_is_another_file() {
    let fixture = Fixture::new();
    fixture.write("file", "aaaa");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    File::options().write(true).open(fixture.path("file")).unwrap().set_modified(long_ago).unwrap();
    let watching = fixture.watch();
    watching.wait_until("taken in", |progress| progress.idle && progress.taken == 1);
    let other = fixture.directory.path().join("other");
    fs::write(&other, "bbbb").unwrap();
    File::options().write(true).open(&other).unwrap().set_modified(long_ago).unwrap();
    fs::rename(&other, fixture.path("file")).unwrap();
    watching.wait_until("taken in again", |progress| progress.idle && progress.taken == 2);
}

#[test]
fn another_directory_does_not_take_over_keys_that_are_still_in_use() {
    let fixture = Fixture::new();
    fixture.write("one/same", "first");
    fixture.write("two/same", "second");
    let watching = fixture.watch_directories(&[fixture.path("one")]);
    watching.wait_until("taken in", |progress| progress.idle && progress.taken == 1);
    drop(watching);
    let watching = fixture.watch_directories(&[fixture.path("two")]);
    let progress = watching.wait_until("refused", |progress| progress.idle && !progress.failures.is_empty());
    assert_eq!(progress.taken, 0);
    drop(watching);
    // The whole directory has moved: nobody else's any more.
    fs::remove_dir_all(fixture.path("two")).unwrap();
    fs::rename(fixture.path("one"), fixture.path("two")).unwrap();
    fixture.write("two/same", "changed");
    let watching = fixture.watch_directories(&[fixture.path("two")]);
    let progress = watching.wait_until("taken over", |progress| progress.idle && progress.taken == 1);
    assert!(progress.failures.is_empty(), "{progress:?}");
    assert_eq!(fixture.documents(), BTreeMap::from([("same".to_owned(), 7)]));
}
