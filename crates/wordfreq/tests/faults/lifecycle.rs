//! Starting twice, draining, stopping at once, being killed: what `up` and its workers owe each other.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use wordfreq_core::ProfileName;

use crate::oracle::Random;
use crate::system::{Running, System, is_gone, is_kill, run, send};

const READY: &str = r#""message":"ready""#;

fn start_up(system: &System, workers: &str) -> Running {
    let mut up = system.start(&["up", "--preset", "fixed", "--max", workers], &[]);
    up.wait_for_line(READY);
    up
}

/// Ends it with SIGTERM, which must go well.
#[track_caller]
fn drain(mut up: Running) -> Running {
    up.signal(Signal::TERM);
    let status = up.wait_for_end();
    assert!(status.success(), "{status}: {}", up.log.join("\n"));
    up
}

#[test]
fn a_second_up_is_refused_and_the_first_goes_on() {
    let system = System::new();
    let up = start_up(&system, "1");
    let refused = system.run(&["up"]).code(1);
    let holder = format!("process {} runs `wordfreq up`", up.pid.as_raw_nonzero());
    refused.says(&[&holder, system.data().to_str().unwrap(), "stop it first", "--data-dir"]);
    system.write("a.txt", "still at work");
    system.run(&["upload", "a.txt", "--wait"]).code(0);
    drain(up);
    // Once it has ended nothing is in the way.
    system.run_until_idle(&[]);
}

#[test]
fn sigterm_finishes_what_is_in_hand_and_gives_back_the_rest() {
    // With leases so long that one which is not given back shows.
    let system = System::new().with_variable("WORDFREQ_QUEUE_VISIBILITY_TIMEOUT_SECONDS", "600");
    let mut random = Random(1);
    let mut documents = BTreeMap::new();
    for number in 0..200 {
        documents.insert(format!("{number:03}.txt"), random.document());
    }
    for (key, bytes) in &documents {
        system.write(&format!("all/{key}"), bytes);
    }
    system.upload(&["all"]);
    let mut up = system.start(&["up", "--preset", "fixed", "--max", "2"], &[]);
    let workers = up.wait_for_workers(2);
    up.wait_for_line(r#""message":"counted""#);
    drain(up);
    assert!(workers.iter().all(|worker| is_gone(*worker)), "workers are left: {workers:?}");
    assert_eq!(system.depth("in_flight"), 0, "leases are left");
    let done = system.list().len() as u64;
    assert_eq!(system.depth("visible") + done, 200);
    system.run_until_idle(&[]);
    system.assert_holds(ProfileName::Unicode, &documents);
}

#[test]
fn a_second_sigterm_ends_all_at_once_even_a_stopped_worker() {
    let system = System::new();
    let mut up = system.start(&["up", "--preset", "fixed", "--max", "2"], &[]);
    let workers = up.wait_for_workers(2);
    up.wait_for_line(READY);
    send(workers[0], Signal::STOP);
    up.signal(Signal::TERM);
    up.wait_for_line("a second signal stops at once");
    up.signal(Signal::TERM);
    let status = up.wait_for_end();
    assert!(!status.success(), "{status}");
    // The stopped one held the log open too.
    up.wait_until_all_are_gone();
}

#[test]
fn workers_end_by_themselves_when_up_is_killed() {
    let system = System::new();
    let mut up = system.start(&["up", "--preset", "fixed", "--max", "3"], &[]);
    up.wait_for_workers(3);
    up.signal(Signal::KILL);
    assert!(is_kill(up.wait_for_end()));
    up.wait_until_all_are_gone();
    let num_drained = up.log.iter().filter(|line| line.contains(r#""message":"drained""#)).count();
    assert_eq!(num_drained, 3, "{}", up.log.join("\n"));
}

#[test]
fn a_killed_up_can_be_started_again_at_once() {
    let system = System::new();
    for _ in 0..30 {
        let mut up = system.start(&["up", "--preset", "fixed", "--max", "8"], &[]);
        // Others are being started at this moment.
        up.wait_for_line("worker started");
        up.signal(Signal::KILL);
        assert!(is_kill(up.wait_for_end()));
        system.run_until_idle(&[]);
    }
}

#[test]
fn a_worker_of_its_own_works_beside_up_and_drains_on_sigint() {
    let system = System::new();
    let mut up = system.start(&["up", "--preset", "fixed", "--max", "1"], &[]);
    let fleet = up.wait_for_workers(1);
    up.wait_for_line(READY);
    // Only the other one is left to work.
    send(fleet[0], Signal::STOP);
    let mut worker = system.start(&["worker"], &[]);
    system.write("a.txt", "one more hand");
    system.run(&["upload", "a.txt", "--wait"]).code(0);
    worker.wait_for_line(r#""document":"processing/a.txt""#);
    worker.signal(Signal::INT);
    let status = worker.wait_for_end();
    assert!(status.success(), "{status}: {}", worker.log.join("\n"));
    worker.wait_for_line(r#""message":"drained","committed":1"#);
    send(fleet[0], Signal::CONT);
    drain(up);
}

#[test]
fn a_sweep_leaves_alone_what_is_on_its_way_in() {
    let system = System::new();
    system.run_until_idle(&[]);
    let mut documents = BTreeMap::new();
    for number in 0..200 {
        let (key, bytes) = (format!("{number:03}.txt"), format!("number {number}").into_bytes());
        system.write(&format!("all/{key}"), &bytes);
        documents.insert(key, bytes);
    }
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sweeping = scope.spawn(|| {
            // Each sweeps when it starts and when it ends.
            while !is_done.load(Ordering::Relaxed) {
                system.run_until_idle(&[]);
            }
        });
        let uploads: Vec<_> = (0..10).map(|_| system.run(&["upload", "all"])).collect();
        is_done.store(true, Ordering::Relaxed);
        sweeping.join().unwrap();
        for upload in uploads {
            upload.code(0);
        }
    });
    system.run_until_idle(&[]);
    system.assert_holds(ProfileName::Unicode, &documents);
}

#[test]
fn uploads_of_one_process_number_keep_apart() {
    // Two containers that share a data directory: in each, the program is process 1.
    let system = System::new();
    system.run_until_idle(&[]);
    let mut random = Random(4);
    let long: Vec<u8> = random.document().repeat(1 << 16);
    let documents =
        BTreeMap::from([("long.txt".to_owned(), long), ("short.txt".to_owned(), random.document())]);
    for (key, bytes) in &documents {
        system.write(key, bytes);
    }
    let alone = |name: &str| {
        let mut command = in_a_process_namespace();
        command.args([env!("CARGO_BIN_EXE_wordfreq"), "upload", name, "--data-dir"]);
        command.arg(system.data());
        system.prepare(&mut command, &[]);
        command
    };
    let mut long = Running::start(alone("long.txt"));
    system.until("the long one is being written", || {
        system.stored("incoming").len() == 1 || !system.stored("objects").is_empty()
    });
    let short = run(alone("short.txt"));
    let status = long.wait_for_end();
    assert!(status.success(), "{status}: {}", long.log.join("\n"));
    system.run_until_idle(&[]);
    short.code(0);
    system.assert_holds(ProfileName::Unicode, &documents);
}

/// The start of a command that runs as process 1.
fn in_a_process_namespace() -> Command {
    let mut tried = String::new();
    for flags in [&["--pid", "--fork"][..], &["--user", "--map-root-user", "--pid", "--fork"]] {
        match Command::new("unshare").args(flags).arg("true").output() {
            Ok(output) if output.status.success() => {
                // By its path, as the environment is emptied.
                let mut command = Command::new("unshare");
                command.args(flags).arg("--kill-child");
                return command;
            }
            Ok(output) => {
                tried += &format!("\nunshare {flags:?}: {}", String::from_utf8_lossy(&output.stderr))
            }
            Err(error) => tried += &format!("\nunshare {flags:?}: {error}"),
        }
    }
    panic!("this test runs a process in a process namespace of its own: {}{tried}", crate::disk::WAY_OUT);
}
