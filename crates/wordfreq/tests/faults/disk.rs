//! A disk that is full or read-only: said plainly, retried where somebody waits, and nothing that was accepted is lost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use wordfreq_core::ProfileName;

use crate::oracle::Random;
use crate::system::System;

const FULL: &str = "the disk is full: nothing that was accepted is lost; free some space";

const PLACES: [&str; 3] = ["bucket.stage", "bucket.sync_object", "bucket.before_rename"];

#[test]
fn an_upload_that_meets_a_full_disk_says_so_and_accepts_nothing() {
    for place in PLACES {
        let system = System::new();
        let mut documents = BTreeMap::new();
        for key in ["a.txt", "b.txt"] {
            let bytes = format!("some words of {key}").into_bytes();
            system.write(&format!("all/{key}"), &bytes);
            documents.insert(key.to_owned(), bytes);
        }
        for at in [1, 2] {
            let ended = system
                .run_with(&["upload", "all"], &[("WORDFREQ_FAILPOINTS", &format!("{place}=enospc@{at}"))]);
            ended.code(1).says(&["No space left on device", FULL, system.data().to_str().unwrap()]);
            assert_eq!(system.depth("visible"), 0, "{place}");
            assert_eq!(system.stored("incoming"), [] as [String; 0], "{place}");
        }
        system.run_until_idle(&[]);
        system.assert_holds(ProfileName::Unicode, &BTreeMap::new());
        system.upload(&["all"]);
        system.run_until_idle(&[]);
        system.assert_holds(ProfileName::Unicode, &documents);
    }
}

#[test]
fn a_watch_that_meets_a_full_disk_tries_again_by_itself() {
    for place in PLACES {
        let system = System::new();
        let documents = BTreeMap::from([("a.txt".to_owned(), b"some words".to_vec())]);
        let watched = system.watched();
        fs::write(watched.join("a.txt"), "some words").unwrap();
        let args = ["up", "--exit-when-idle", "--max", "1", "--watch", watched.to_str().unwrap()];
        let ended = system.run_with(&args, &[("WORDFREQ_FAILPOINTS", &format!("{place}=enospc@1"))]).code(0);
        ended.says(&["cannot take in now, trying again", FULL]);
        system.assert_holds(ProfileName::Unicode, &documents);
    }
}

/// Documents whose words are many, so that their results need room.
fn wordy(random: &mut Random, count: usize) -> BTreeMap<String, Vec<u8>> {
    (0..count)
        .map(|number| {
            let words: Vec<String> = (0..200).map(|_| format!("w{:x}", random.next())).collect();
            (format!("{number:03}.txt"), words.join(" ").into_bytes())
        })
        .collect()
}

#[test]
fn a_full_database_keeps_what_was_accepted() {
    // Less than the database has: it can hold what it holds, and not one page more.
    const NO_MORE_PAGES: (&str, &str) = ("WORDFREQ_FAILPOINT_MAX_PAGES", "1");
    let system = System::new().with_short_leases();
    system.run_until_idle(&[]);
    let documents = wordy(&mut Random(2), 40);
    for (key, bytes) in &documents {
        system.write(&format!("all/{key}"), bytes);
    }
    system.upload(&["all"]);
    for number in 0..250 {
        system.write(&format!("too-many/{number}"), format!("{number}"));
    }
    let refused = system.run_with(&["upload", "too-many"], &[NO_MORE_PAGES]);
    refused.code(1).says(&[FULL]);
    assert_eq!(system.depth("visible"), 40, "all of a command's documents, or none");

    let mut up = system.start(&["up", "--preset", "fixed", "--max", "2"], &[NO_MORE_PAGES]);
    let line = up.wait_for_line("the backend cannot be used now");
    assert!(line.contains(FULL), "{line}");
    up.signal(Signal::TERM);
    let status = up.wait_for_end();
    assert!(status.success(), "{status}: {}", up.log.join("\n"));
    let waiting = system.depth("visible") + system.depth("in_flight");
    assert_eq!(waiting + system.list().len() as u64, 40);
    assert_eq!(system.depth("dead_letters"), 0);

    system.run_until_idle(&[]);
    system.assert_holds(ProfileName::Unicode, &documents);
}

/// Tells the test, when it runs itself anew in a mount namespace of its own, that it is there.
const INSIDE: &str = "WORDFREQ_TEST_INSIDE_A_MOUNT_NAMESPACE";

pub(crate) const WAY_OUT: &str = "this machine does not allow it. It needs the commands `unshare` and `mount` (package util-linux), and either root with CAP_SYS_ADMIN, \
    or user namespaces for everybody: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu, \
    `sysctl -w user.max_user_namespaces=10000` elsewhere, `--security-opt seccomp=unconfined --cap-add SYS_ADMIN` \
    in a container";

/// Runs this test once more, alone, where mounts are its own. Tells whether this is that run.
fn is_inside(test: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration; this tells it where it is")]
    let inside = std::env::var_os(INSIDE).is_some();
    if inside {
        return true;
    }
    let mut tried = String::new();
    for flags in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
        let probe =
            Command::new("unshare").args(flags).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        match probe {
            Ok(output) if output.status.success() => {
                let status = Command::new("unshare")
                    .args(flags)
                    .arg(std::env::current_exe().unwrap())
                    .args(["--exact", test, "--nocapture"])
                    .env(INSIDE, "yes")
                    .stdin(Stdio::null())
                    .status()
                    .unwrap();
                assert!(status.success(), "the test failed inside its namespace, see above");
                return false;
            }
            Ok(output) => {
                tried += &format!("\nunshare {flags:?}: {}", String::from_utf8_lossy(&output.stderr))
            }
            Err(error) => tried += &format!("\nunshare {flags:?}: {error}"),
        }
    }
    panic!("this test mounts a small disk (tmpfs) in a mount namespace of its own: {WAY_OUT}{tried}");
}

/// A disk of eight megabytes.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Self {
        let disk = Self { directory: tempfile::tempdir().unwrap() };
        disk.call(&["-t", "tmpfs", "-o", "size=8m", "none"]);
        disk
    }

    fn call(&self, args: &[&str]) {
        let status = Command::new("mount").args(args).arg(self.path()).status().unwrap();
        assert!(status.success(), "mount {args:?}: {status}");
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn remount(&self, how: &str) {
        self.call(&["-o", &format!("remount,{how}")]);
    }

    /// Writes a file of this many bytes, or as many as there is room for.
    fn fill(&self, name: &str, bytes: usize) {
        let mut file = File::create(self.path().join(name)).unwrap();
        for _ in 0..bytes / 4096 {
            match file.write_all(&[b'#'; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn free(&self, name: &str) {
        fs::remove_file(self.path().join(name)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !status.is_ok_and(|status| status.success()) {
            // It goes with the namespace.
            assert!(std::thread::panicking(), "cannot unmount");
        }
    }
}

#[test]
fn what_was_uploaded_to_a_disk_that_fills_up_is_counted_once_there_is_room() {
    if !is_inside("disk::what_was_uploaded_to_a_disk_that_fills_up_is_counted_once_there_is_room") {
        return;
    }
    let disk = SmallDisk::mount();
    let system = System::new().with_short_leases().with_data(disk.data());
    disk.fill("filler", 3 << 20);
    let mut random = Random(3);
    let mut documents = BTreeMap::new();
    let refused = loop {
        let key = format!("{:03}.txt", documents.len());
        let bytes = format!("mark{:x} {}", random.next(), "some words ".repeat(9_000)).into_bytes();
        system.write(&key, &bytes);
        let ended = system.run(&["upload", &key]);
        if !ended.status.success() {
            break ended;
        }
        documents.insert(key, bytes);
        assert!(documents.len() < 200, "the disk never fills");
    };
    refused.code(1).says(&[FULL]);
    assert!(documents.len() > 10, "full after {} documents", documents.len());
    // Not one block is left.
    disk.fill("rest", 8 << 20);
    for command in [&["up", "--exit-when-idle"][..], &["upload", "000.txt"]] {
        system.run(command).code(1).says(&[FULL]);
    }
    disk.free("rest");
    disk.free("filler");
    system.run_until_idle(&[]);
    system.assert_holds(ProfileName::Unicode, &documents);
}

#[test]
fn a_running_system_outlives_a_full_disk() {
    if !is_inside("disk::a_running_system_outlives_a_full_disk") {
        return;
    }
    let disk = SmallDisk::mount();
    let system = System::new().with_short_leases().with_data(disk.data());
    let watched = system.watched();
    let mut documents = BTreeMap::new();
    let mut put = |name: &str| {
        let bytes = format!("{name} {}", "some words ".repeat(9_000)).into_bytes();
        fs::write(watched.join(name), &bytes).unwrap();
        documents.insert(name.to_owned(), bytes);
    };
    let mut up =
        system.start(&["up", "--preset", "fixed", "--max", "2", "--watch", watched.to_str().unwrap()], &[]);
    put("before.txt");
    up.wait_for_line(r#""message":"counted","document":"processing/before.txt""#);
    disk.fill("filler", 8 << 20);
    put("while-full.txt");
    let line = up.wait_for_line("cannot take in now, trying again");
    assert!(line.contains(FULL), "{line}");
    disk.free("filler");
    up.wait_for_line(r#""message":"counted","document":"processing/while-full.txt""#);
    up.signal(Signal::TERM);
    assert!(up.wait_for_end().success(), "{}", up.log.join("\n"));
    system.run_until_idle(&["--watch", watched.to_str().unwrap()]);
    system.assert_holds(ProfileName::Unicode, &documents);
}

#[test]
fn a_read_only_disk_is_refused_and_left_alone() {
    if !is_inside("disk::a_read_only_disk_is_refused_and_left_alone") {
        return;
    }
    let disk = SmallDisk::mount();
    let system = System::new().with_short_leases().with_data(disk.data());
    let documents = BTreeMap::from([
        ("a.txt".to_owned(), b"counted before".to_vec()),
        ("b.txt".to_owned(), b"counted after".to_vec()),
    ]);
    for (key, bytes) in &documents {
        system.write(key, bytes);
    }
    system.upload(&["a.txt"]);
    system.run_until_idle(&[]);
    system.upload(&["b.txt"]);
    disk.remount("ro");
    for command in [&["up"][..], &["upload", "a.txt"], &["worker"]] {
        let ended = system.run(command).code(1);
        ended.says(&[
            "error: ",
            disk.data().to_str().unwrap(),
            "must be writable: check its permissions and its mount",
        ]);
    }
    disk.remount("rw");
    system.run_until_idle(&[]);
    system.assert_holds(ProfileName::Unicode, &documents);
}
