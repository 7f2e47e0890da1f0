//! `wordfreq loadtest`: the real thing under load accounts for every document, and does what `simulate` said it would.

use std::process::Command;

use serde_json::Value;

use crate::program::Program;

/// An evaluation period of the plans, in seconds of the fleet's clock.
const PERIOD: f64 = 60.0;

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
        assert_eq!((row[0], row[1]), (&*number.to_string(), &*format!("load/{number:08}.txt")));
        assert_eq!((row[6], row[7]), ("counted", row[8]), "{row:?}");
    }
    let page = std::fs::read_to_string(program.path("r.html")).unwrap();
    assert!(page.contains("All 50 documents were counted, each with as many words as it has"));
    assert!(page.contains("load/00000049.txt") && page.trim_end().ends_with("</html>"));
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
        crate::program::Ended::from(output)
    };
    assert_eq!(run(&["--keep", "kept"]).code, 0);
    let totals = program.run(&["results", "totals", "--data-dir", "kept", "--format", "json"]).json();
    assert_eq!(totals["documents"], 3);
    assert!(program.path("kept/up.log").is_file());
    let message = run(&["--keep", "kept"]).ended(2);
    assert!(message.contains("is not empty"), "{message}");
    assert_eq!(run(&[]).code, 0);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the temporary directory is gone");
    // What `up` refuses is told in its words.
    let message = run(&["--min=3"]).ended(2);
    assert!(message.contains("fleet.max"), "{message}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
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
        std::thread::yield_now();
    }
    // Without a word: the `up` it has started must notice by itself.
    test.kill().unwrap();
    test.wait().unwrap();
    let lock = std::fs::File::open(program.path("kept/up.lock")).unwrap();
    lock.lock().unwrap();
    assert!(std::fs::read_to_string(&log).unwrap().contains("stopped"));
}

#[test]
fn control_c_ends_it_properly_and_a_second_one_at_once() {
    use std::os::unix::process::CommandExt as _;
    for (work, signals) in [("1s", 1), ("60s", 2)] {
        let program = Program::new();
        let temporary = program.path("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let work = format!("--work={work}");
        let mut test = program
            .command(&[
                "loadtest",
                "--preset=fixed",
                "--max=1",
                "--arrivals=burst:100",
                &work,
                "--format=json",
            ])
            .env("TMPDIR", &temporary)
            .process_group(0)
            .spawn()
            .unwrap();
        let log = || {
            let entry = std::fs::read_dir(&temporary).unwrap().next();
            entry
                .and_then(|entry| std::fs::read_to_string(entry.unwrap().path().join("up.log")).ok())
                .unwrap_or_default()
        };
        let wait_for = |said: &str| {
            while !log().contains(said) {
                std::thread::yield_now();
            }
        };
        wait_for("worker started");
        // A terminal sends the signal to every process of the group.
        let group = rustix::process::Pid::from_child(&test);
        let interrupt = || rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
        interrupt();
        if signals == 2 {
            wait_for("draining");
            interrupt();
            assert!(!test.wait().unwrap().success());
        } else {
            let ended = crate::program::Ended::from(test.wait_with_output().unwrap());
            assert_eq!(ended.code, 1, "{}", ended.stderr);
            assert!(ended.stderr.contains("stopped before"), "{}", ended.stderr);
        }
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "{signals}");
    }
}

#[test]
fn wrong_usage_is_refused_with_the_mend() {
    let program = Program::new();
    std::fs::create_dir(program.path("empty")).unwrap();
    for (args, mend) in [
        (&["--arrivals", "soon"][..], "burst:COUNT"),
        (&["--document-size", "0"], "4KiB"),
        (&["--vocabulary", "0"], "1..="),
        (&["--time-scale", "0"], "scale from 1"),
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
