//! `wordfreq loadtest`: the real thing under load accounts for every document, and does what `simulate` said it would.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::program::{Ended, Program, hear_hang_ups};

/// An evaluation period of the plans, in seconds of the fleet's clock.
const PERIOD: f64 = 60.0;

#[expect(clippy::disallowed_methods, reason = "another process's files give no signal")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// What was launched and terminated, and when.
fn activities(report: &Value) -> Vec<(String, f64)> {
    let activities = report["activities"].as_array().unwrap_or_else(|| panic!("no activities: {report}"));
    let one = |activity: &Value| {
        (activity["kind"].as_str().unwrap().to_owned(), activity["at_seconds"].as_f64().unwrap())
    };
    activities.iter().map(one).collect()
}

/// The same load, simulated and for real: the same launches and terminations, each within a period.
fn agree(simulated: &[&str], real: &[&str]) {
    const BOTH: [&str; 6] = ["--arrivals", "burst:130", "--seed", "7", "--format", "json"];
    let program = Program::new();
    let model = ["simulate", "--service", "uniform:10s..20s", "--boot", "1s", "--activities"];
    let simulation = program.run(&[&model[..], &BOTH, simulated].concat()).json();
    let test = ["loadtest", "--work", "10s..20s", "--time-scale", "60"];
    let test = program.run(&[&test[..], &BOTH, real].concat());
    assert_eq!(test.code, 0, "{}{}", test.stdout, test.stderr);
    let test = test.json();
    let (expected, found) = (activities(&simulation["policies"][0]), activities(&test));
    let kinds =
        |activities: &[(String, f64)]| activities.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>();
    assert!(expected.len() >= 8, "{expected:?}");
    assert_eq!(kinds(&expected), kinds(&found), "{expected:?}\n{found:?}");
    for (expected, found) in expected.iter().zip(&found) {
        assert!((expected.1 - found.1).abs() <= PERIOD, "{expected:?} {found:?}\n{test}");
    }
    for figure in ["documents", "max_in_service", "launches", "terminations"] {
        assert_eq!(simulation["policies"][0][figure], test[figure], "{figure}");
    }
    assert_eq!((&test["counted"], &test["wrong"]), (&130.into(), &0.into()), "{test}");
}

#[test]
fn the_original_does_what_the_simulation_says() {
    agree(&["--preset", "classic"], &["--preset", "classic"]);
}

#[test]
fn target_tracking_does_what_the_simulation_says() {
    let preset = ["--preset", "latency", "--max", "5"];
    let real = ["--acceptable-latency", "5min", "--service-time", "15s"];
    agree(&[&preset[..], &["--target", "5min"]].concat(), &[&preset[..], &real].concat());
}

#[test]
fn every_document_is_accounted_for() {
    let program = Program::new();
    let ended = program.run(&[
        "loadtest",
        "--preset=fixed",
        "--max=2",
        "--arrivals=burst:50",
        "--format=json",
        "--report=r.html",
        "--list=l.csv",
    ]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    let report = ended.json();
    for (figure, value) in [
        ("documents", 50),
        ("counted", 50),
        ("failed", 0),
        ("unfinished", 0),
        ("wrong", 0),
        ("max_in_service", 2),
        ("launches", 0),
    ] {
        assert_eq!(report[figure], value, "{figure}: {report}");
    }
    let list = std::fs::read_to_string(program.path("l.csv")).unwrap();
    let rows: Vec<Vec<&str>> = list.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 50);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row[0], number.to_string());
        assert!(row[1].starts_with("load/2") && row[1].ends_with(&format!("Z/{number:08}.txt")), "{row:?}");
        assert_eq!((row[6], row[7]), ("counted", row[8]), "{row:?}");
    }
    let page = std::fs::read_to_string(program.path("r.html")).unwrap();
    assert!(page.contains("All 50 documents were counted, each with as many words as it has"));
    assert!(page.contains("Z/00000049.txt") && page.trim_end().ends_with("</html>"));
}

#[test]
fn a_running_up_is_tested_and_left_running() {
    let program = Program::new();
    program.write("texts/a.txt", "to be, or not to be");
    program.write("texts/b/c.txt", "that is the question");
    let mut up =
        program.command(&["up", "--preset", "fixed", "--max", "1", "--data-dir", "data"]).spawn().unwrap();
    let feed = [
        "loadtest",
        "--data-dir",
        "data",
        "--leave",
        "--documents",
        "texts",
        "--arrivals",
        "poisson:50:1s",
        "--format",
        "json",
    ];
    // Until it has come up there is nothing to test.
    let ended = loop {
        let ended = program.run(&feed);
        if ended.code == 0 {
            break ended;
        }
        assert!(up.try_wait().unwrap().is_none(), "{}", ended.stderr);
        assert!(ended.stderr.contains("data"), "{}", ended.stderr);
        pause();
    };
    let report = ended.json();
    let documents = report["documents"].as_u64().unwrap();
    assert!((20..100).contains(&documents), "{report}");
    assert_eq!(report["counted"], documents);
    let listed = program.run(&["results", "list", "--data-dir", "data", "--all", "--format", "json"]).json();
    let words: Vec<u64> =
        listed["results"].as_array().unwrap().iter().map(|one| one["words"].as_u64().unwrap()).collect();
    assert_eq!(words.len() as u64, documents);
    assert_eq!(words[..4], [6, 4, 6, 4], "the files, over and over");
    assert!(up.try_wait().unwrap().is_none(), "it is not stopped");
    assert!(Command::new("kill").arg(up.id().to_string()).status().unwrap().success());
    assert!(up.wait().unwrap().success());
    let message = program.run(&feed).ended(2);
    assert!(message.contains("no `wordfreq up` runs on data"), "{message}");
}

#[test]
fn what_lies_in_a_tested_directory_stays_and_what_was_put_there_goes() {
    let program = Program::new();
    program.write("texts/load/00000000.txt", "mine");
    let mut up =
        program.command(&["up", "--preset", "fixed", "--max", "1", "--data-dir", "data"]).spawn().unwrap();
    while program.run(&["upload", "--data-dir", "data", "--wait", "texts"]).code != 0 {
        assert!(up.try_wait().unwrap().is_none());
        pause();
    }
    let test = ["loadtest", "--data-dir", "data", "--arrivals", "burst:5", "--format", "json"];
    let report = program.run(&test).json();
    assert_eq!((&report["counted"], &report["ending"]), (&5.into(), &"rested".into()), "{report}");
    let keys = || {
        let listed = program.run(&["results", "list", "--data-dir", "data", "--format", "json"]).json();
        let keys = listed["results"].as_array().unwrap().iter();
        keys.map(|one| one["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    while keys() != ["load/00000000.txt"] {
        assert!(up.try_wait().unwrap().is_none() && keys().len() <= 6, "{:?}", keys());
        pause();
    }
    up.kill().unwrap();
    up.wait().unwrap();
}

#[test]
fn an_up_that_ends_meanwhile_ends_the_test_with_what_was_seen() {
    let program = Program::new();
    let up = ["up", "--preset", "fixed", "--max", "1", "--data-dir", "data", "--work", "10s"];
    let mut up = program.command(&up).spawn().unwrap();
    let status = ["fleet", "status", "--data-dir", "data", "--format", "json"];
    while !program.run(&status).stdout.contains("InService") {
        assert!(up.try_wait().unwrap().is_none());
        pause();
    }
    let test = ["loadtest", "--data-dir", "data", "--arrivals", "burst:5", "--format", "json"];
    let test = program.command(&test).spawn().unwrap();
    while !is_at_work(&program, Path::new("data")) {
        pause();
    }
    up.kill().unwrap();
    up.wait().unwrap();
    let ended = Ended::from(test.wait_with_output().unwrap());
    let report = ended.json();
    assert_eq!((&report["unfinished"], &report["ending"]), (&5.into(), &"gone".into()), "{report}");
    let message = ended.ended(1);
    assert!(message.contains("the `wordfreq up` on data ended during the test"), "{message}");
}

#[test]
fn what_is_kept_can_be_looked_at_and_what_is_not_is_gone() {
    let program = Program::new();
    let temporary = program.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let quick = [
        "loadtest",
        "--preset=fixed",
        "--max=1",
        "--arrivals=burst:3",
        "--document-size=100B",
        "--vocabulary=10",
    ];
    let run = |more: &[&str]| {
        let output =
            program.command(&[&quick[..], more].concat()).env("TMPDIR", &temporary).output().unwrap();
        Ended::from(output)
    };
    assert_eq!(run(&["--keep", "kept"]).code, 0);
    let totals = program.run(&["results", "totals", "--data-dir", "kept", "--format", "json"]).json();
    assert_eq!(totals["documents"], 3);
    assert!(program.path("kept/up.log").is_file());
    let message = run(&["--keep", "kept"]).ended(2);
    assert!(message.contains("is not empty"), "{message}");
    assert_eq!(run(&[]).code, 0);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the temporary directory is gone");
    // What `up` refuses is told in its words, and leaves nothing in the way of the next try.
    let message = run(&["--min=3"]).ended(2);
    assert!(message.contains("fleet.max") && message.matches("error:").count() == 1, "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    std::fs::create_dir(program.path("empty")).unwrap();
    run(&["--min=3", "--keep", "new"]).ended(2);
    run(&["--min=3", "--keep", "empty"]).ended(2);
    assert!(!program.path("new").exists());
    assert_eq!(std::fs::read_dir(program.path("empty")).unwrap().count(), 0);
}

#[test]
fn a_result_that_cannot_be_written_is_found_out_before_the_test_and_none_is_lost_after_it() {
    let program = Program::new();
    let message = program.run(&["loadtest", "--list", "nowhere/l.csv"]).ended(2);
    assert!(message.contains("cannot write nowhere/l.csv"), "{message}");
    let quick = ["loadtest", "--preset=fixed", "--max=1", "--arrivals=burst:3", "--format=json"];
    let ended = program.run(&[&quick[..], &["--list", "/dev/full", "--report", "r.html"]].concat());
    assert_eq!(ended.json()["counted"], 3);
    assert!(program.path("r.html").metadata().unwrap().len() > 1000);
    let message = ended.ended(1);
    assert!(message.contains("cannot write /dev/full"), "{message}");
}

#[test]
fn a_test_that_is_stopped_leaves_nothing_running() {
    let program = Program::new();
    let args = [
        "loadtest",
        "--preset=fixed",
        "--max=1",
        "--arrivals=burst:100",
        "--work=10s",
        "--keep=kept",
        "--format=json",
    ];
    let mut test = program.command(&args).spawn().unwrap();
    let log = program.path("kept/up.log");
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("worker started") {
        assert!(test.try_wait().unwrap().is_none());
        pause();
    }
    // Without a word: the `up` it has started must notice by itself.
    test.kill().unwrap();
    test.wait().unwrap();
    let lock = std::fs::File::open(program.path("kept/up.lock")).unwrap();
    lock.lock().unwrap();
    assert!(std::fs::read_to_string(&log).unwrap().contains("stopped"));
}

/// Whether a worker has a document in hand.
fn is_at_work(program: &Program, directory: &Path) -> bool {
    let status = ["queue", "status", "--format", "json", "--data-dir", directory.to_str().unwrap()];
    let ended = program.run(&status);
    ended.code == 0 && ended.json()["in_flight"].as_u64().unwrap() > 0
}

/// A load test that is in the middle of it, its temporary directories, and the process id of its `up`.
fn in_the_middle(program: &Program, work: &str, arrivals: &str, more: &[&str]) -> (Child, PathBuf, Pid) {
    let temporary = program.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let (work, arrivals) = (format!("--work={work}"), format!("--arrivals={arrivals}"));
    let args = ["loadtest", "--preset=fixed", "--max=1", &arrivals, &work, "--format=json"];
    let mut test = program.command(&[&args, more].concat()).env("TMPDIR", &temporary).spawn().unwrap();
    loop {
        assert!(test.try_wait().unwrap().is_none());
        let directory = std::fs::read_dir(&temporary).unwrap().next().map(|entry| entry.unwrap().path());
        if let Some(directory) = directory.filter(|directory| is_at_work(program, directory)) {
            let holder = std::fs::read_to_string(directory.join("up.lock")).unwrap();
            let id: String = holder.chars().filter(char::is_ascii_digit).collect();
            return (test, temporary, Pid::from_raw(id.parse().unwrap()).unwrap());
        }
        pause();
    }
}

/// Neither a process of the `up` nor a directory is left, now or later.
fn assert_gone(temporary: &Path, up: Pid) {
    // One that nobody has waited for yet is a process still, and does nothing any more.
    let is_running = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().take(3).collect();
        matches!(fields[..], [state, _, group] if state != "Z" && group == up.as_raw_pid().to_string())
    };
    assert!(!std::fs::read_dir("/proc").unwrap().any(|entry| is_running(entry.unwrap())));
    assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0);
}

fn signal(process: &Child, signal: Signal) {
    rustix::process::kill_process(Pid::from_child(process), signal).unwrap();
}

#[test]
fn one_signal_ends_it_properly_with_what_was_seen() {
    hear_hang_ups();
    for one in [Signal::INT, Signal::HUP] {
        let program = Program::new();
        let (test, temporary, up) = in_the_middle(&program, "1s", "burst:100", &[]);
        signal(&test, one);
        let ended = Ended::from(test.wait_with_output().unwrap());
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("stopped before"), "{}", ended.stderr);
        let report = ended.json();
        assert_eq!((&report["documents"], &report["ending"]), (&100.into(), &"stopped".into()), "{report}");
        assert!(report["unfinished"].as_u64().unwrap() >= 90, "{report}");
        assert_gone(&temporary, up);
    }
}

#[test]
fn documents_that_were_not_due_yet_are_unfinished() {
    let program = Program::new();
    program.write("arrivals.csv", "seconds\n0\n3000\n3001\n");
    let (test, ..) = in_the_middle(&program, "2s", "arrivals.csv", &[]);
    signal(&test, Signal::INT);
    let report = Ended::from(test.wait_with_output().unwrap()).json();
    assert_eq!(report["documents"], 3, "{report}");
    assert!(report["put"].as_u64().unwrap() <= 1 && report["unfinished"].as_u64().unwrap() >= 2, "{report}");
}

#[test]
fn a_second_signal_ends_it_and_its_workers_at_once() {
    let program = Program::new();
    let (mut test, temporary, up) = in_the_middle(&program, "1h", "burst:100", &[]);
    signal(&test, Signal::INT);
    let mut said = BufReader::new(test.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("a second signal stops at once")));
    signal(&test, Signal::INT);
    assert!(!test.wait().unwrap().success());
    assert_gone(&temporary, up);
}

#[test]
fn workers_do_not_outlive_it_when_its_up_dies() {
    let program = Program::new();
    let (test, temporary, up) = in_the_middle(&program, "1h", "burst:100", &[]);
    rustix::process::kill_process(up, Signal::KILL).unwrap();
    let ended = Ended::from(test.wait_with_output().unwrap());
    assert_eq!(ended.json()["ending"], "gone");
    let message = ended.ended(1);
    assert!(message.contains("the temporary `wordfreq up` ended: signal: 9"), "{message}");
    assert_gone(&temporary, up);
}

#[test]
fn its_time_bounds_all_of_it() {
    let program = Program::new();
    let (test, temporary, up) = in_the_middle(&program, "1h", "burst:100", &["--timeout=1s"]);
    let ended = Ended::from(test.wait_with_output().unwrap());
    let report = ended.json();
    assert_eq!((&report["unfinished"], &report["ending"]), (&100.into(), &"timeout".into()), "{report}");
    assert!(ended.ended(3).contains("killed"));
    assert_gone(&temporary, up);
}

#[test]
fn wrong_usage_is_refused_with_the_mend() {
    let program = Program::new();
    std::fs::create_dir(program.path("empty")).unwrap();
    std::fs::create_dir(program.path("links")).unwrap();
    std::os::unix::fs::symlink("nowhere", program.path("links/a.txt")).unwrap();
    for (args, mend) in [
        (&["--arrivals", "soon"][..], "burst:COUNT"),
        (&["--document-size", "0"], "4KiB"),
        (&["--vocabulary", "0"], "1..="),
        (&["--time-scale", "0"], "scale from 1"),
        (&["--time-scale", "601"], "to 600"),
        (&["--timeout", "400000000000y"], "400000000000y"),
        (&["--arrivals", "poisson:1e300:1h"], "lower the rate"),
        (&["--documents", "links"], "note: links/a.txt: a symbolic link, not followed"),
        (&["--documents", "nowhere"], "no directory nowhere"),
        (&["--leave"], "--data-dir"),
        (&["--instance-type", "t9.nano"], "known are"),
        (&["--documents", "empty"], "no file below empty"),
        (&["--documents", "empty", "--vocabulary", "5"], "cannot be used with"),
        (&["--data-dir", "x", "--work", "1s"], "cannot be used with"),
        (&["--data-dir", "x", "--preset", "fixed"], "cannot be used with"),
    ] {
        let message = program.run(&[&["loadtest"], args].concat()).ended(2);
        assert!(message.contains(mend), "{args:?}: {message}");
    }
    let message = program.run(&["loadtest", "--data-dir", "nowhere"]).ended(1);
    assert!(message.contains("there is no data directory at nowhere"), "{message}");
}
