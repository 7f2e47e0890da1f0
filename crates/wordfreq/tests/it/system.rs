//! The whole system from outside: documents in, workers as real processes, results out; and the same counts on every
//! way through.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Ended, Program};

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/library")
}

fn library_files() -> BTreeMap<String, PathBuf> {
    let root = library();
    let files: BTreeMap<_, _> = walkdir::WalkDir::new(&root)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let key = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (key, entry.into_path())
        })
        .collect();
    assert!(files.len() >= 12, "the library is incomplete: {files:?}");
    files
}

impl Program {
    fn up_until_idle(&self, more: &[&str]) -> Ended {
        self.run(&[&["up", "--exit-when-idle"], more].concat())
    }

    fn totals(&self) -> Value {
        self.run(&["results", "totals", "--all", "--format", "json"]).json()
    }

    fn status(&self) -> Value {
        self.run(&["queue", "status", "--format", "json"]).json()
    }

    fn keys(&self) -> Vec<String> {
        let listed = self.run(&["results", "list", "--all", "--format", "json"]).json();
        listed["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["key"].as_str().unwrap().into())
            .collect()
    }
}

#[test]
fn every_way_through_gives_the_same_table() {
    let files = library_files();
    for profile in ["unicode", "whitespace"] {
        let program = Program::new();
        let watched = library();
        let ended = program.up_until_idle(&["--watch", watched.to_str().unwrap(), "--profile", profile]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(program.keys(), files.keys().cloned().collect::<Vec<_>>());
        let flags = ["--all", "--format", "json", "--profile", profile];
        for (key, path) in &files {
            let bytes = fs::read(path).unwrap();
            let counted = program.run(&[&["count", path.to_str().unwrap()], &flags[..]].concat()).json();
            for chunk in [1, 13, 4096] {
                let mut child = program.command(&[&["count", "-"], &flags[..]].concat());
                let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
                let mut stdin = child.stdin.take().unwrap();
                for piece in bytes.chunks(chunk) {
                    stdin.write_all(piece).unwrap();
                }
                drop(stdin);
                assert_eq!(
                    Ended::from(child.wait_with_output().unwrap()).json(),
                    counted,
                    "{key} in {chunk}s"
                );
            }
            let document = format!("processing/{key}");
            let shown = program.run(&["results", "show", &document, "--all", "--format", "json"]).json();
            assert_eq!(shown, counted, "{key}");
        }
        let together = program.run(&[&["count", watched.to_str().unwrap()], &flags[..]].concat()).json();
        assert_eq!(program.totals(), together);
        assert_eq!(together["documents"], files.len());
    }
}

#[test]
fn the_totals_are_printed_when_idle() {
    let program = Program::new();
    program.write("in/one.txt", "a rose is a rose");
    let ended = program.up_until_idle(&["--watch", "in"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let expected = "1 document, 16 bytes, 5 words, 3 distinct\nprofile unicode-v1-ucd17.0.0\n\n\
                    count  word\n    2  a\n    2  rose\n    1  is\n";
    assert_eq!(ended.stdout, expected);
    for line in ended.stderr.lines() {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not a structured line: {line}"));
        assert!(event["message"].is_string(), "{line}");
    }
}

#[test]
fn uploads_are_counted_replaced_and_deleted() {
    let program = Program::new();
    program.write("first/a.txt", "one two");
    program.write("first/b/c.txt", "two three");
    program.write("second/a.txt", "four");
    let ended = program.run(&["upload", "first"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, "uploaded 2 documents, 16 bytes, to processing\n"));
    assert_eq!(program.status()["visible"], 2);
    assert_eq!(program.up_until_idle(&[]).code, 0);
    assert_eq!(program.keys(), ["a.txt", "b/c.txt"]);
    // The newer version replaces the older one's counts.
    assert_eq!(program.run(&["upload", "second/a.txt"]).code, 0);
    assert_eq!(program.up_until_idle(&[]).code, 0);
    let totals = program.totals();
    let words: Vec<_> =
        totals["counts"].as_array().unwrap().iter().map(|row| row["word"].as_str().unwrap()).collect();
    assert_eq!(words, ["four", "three", "two"]);
    assert_eq!((&totals["documents"], &totals["bytes"]), (&2.into(), &13.into()));
    // Deleting one that is there and one that is not is done in part.
    let ended = program.run(&["delete", "processing/a.txt", "processing/none"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("there is no document processing/none"), "{}", ended.stderr);
    assert_eq!(program.up_until_idle(&[]).code, 0);
    assert_eq!(program.keys(), ["b/c.txt"]);
    assert_eq!(program.totals()["words"], 2);
    let ended = program.run(&["results", "show", "processing/a.txt"]);
    assert!(ended.ended(1).contains("processing/a.txt has no result"));
}

#[test]
fn an_upload_can_wait_for_its_results() {
    let program = Program::new();
    program.write("good.txt", "good words");
    program.write("bad.txt", "x".repeat(65_536));
    program.write("empty/keep", "");
    // Makes the directory and puts the profile in force.
    assert_eq!(program.up_until_idle(&["--profile", "go-sample"]).code, 0);
    let mut up = program.command(&["up"]).spawn().unwrap();
    let ended = program.run(&["upload", "good.txt", "bad.txt", "--wait", "--prefix", "p/"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    let rows: Vec<_> =
        ended.stdout.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(&rows[0][..3], ["processing", "p/bad.txt", "failed"]);
    assert_eq!(&rows[1][..4], ["processing", "p/good.txt", "counted", "1"]);
    // The supervising pipe is this test's end: `up` is asked to stop by a signal, as a person would.
    let killed = std::process::Command::new("kill").arg(up.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert!(up.wait().unwrap().success());
}

#[test]
fn the_profile_stays_with_the_data_until_another_is_asked_for() {
    let program = Program::new();
    program.write("in/a.txt", "Don't, stop.");
    let fingerprint = |program: &Program| program.totals()["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(program.up_until_idle(&["--watch", "in", "--profile", "whitespace"]).code, 0);
    assert_eq!(fingerprint(&program), "whitespace-v1-ucd17.0.0");
    assert_eq!(program.up_until_idle(&["--watch", "in"]).code, 0);
    assert_eq!(fingerprint(&program), "whitespace-v1-ucd17.0.0");
    let ended = program.up_until_idle(&["--watch", "in", "--profile", "unicode"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("counting again"), "{}", ended.stderr);
    let totals = program.totals();
    assert_eq!(totals["fingerprint"], "unicode-v1-ucd17.0.0");
    assert_eq!(totals["counts"][0]["word"], "don't");
    // The minimum length is an option of the profile, and part of what is kept.
    let short = Program::new().with_variable("WORDFREQ_MIN_LENGTH", "5");
    short.write("in/a.txt", "Don't, stop.");
    assert_eq!(short.up_until_idle(&["--watch", "in"]).code, 0);
    assert_eq!(fingerprint(&short), "unicode-v1-ucd17.0.0-min5");
    assert_eq!(short.totals()["words"], 1);
}

#[test]
fn results_are_listed_in_every_format() {
    let program = Program::new();
    program.write("in/=1+1\t.txt", "a b");
    program.write("in/b.txt", "b");
    program.write("in/c.txt", "");
    assert_eq!(program.up_until_idle(&["--watch", "in"]).code, 0);
    let header = "bucket,key,bytes,words,distinct,over_long,fingerprint,sequence,duration_us,committed_at";
    let csv = program.run(&["results", "list", "--format", "csv"]).done();
    assert_eq!(csv.lines().next().unwrap(), header);
    assert!(csv.lines().nth(1).unwrap().starts_with("processing,'=1+1\t.txt,3,2,2,0,unicode-v1-"), "{csv}");
    let tsv = program.run(&["results", "list", "--format", "tsv"]).done();
    assert_eq!(tsv.lines().next().unwrap(), header.replace(',', "\t"));
    assert!(tsv.lines().nth(1).unwrap().starts_with("processing\t=1+1\\t.txt\t3\t2"), "{tsv}");
    let json = program.run(&["results", "list", "--format", "json", "--top", "2"]);
    assert_eq!(json.json()["results"].as_array().unwrap().len(), 2);
    assert!(json.stderr.contains("there are more results"), "{}", json.stderr);
    assert_eq!(program.run(&["results", "list", "--format", "json", "--top", "3"]).stderr, "");
    let table = program.run(&["results", "list"]).done();
    assert!(table.lines().nth(1).unwrap().contains("=1+1\\t.txt"), "{table}");
    let shown = program.run(&["results", "show", "processing/=1+1\t.txt", "--format", "tsv"]).done();
    assert_eq!(shown, "word\tcount\na\t1\nb\t1\n");
    let top = program.run(&["results", "totals", "--top", "1", "--format", "csv"]).done();
    assert_eq!(top, "word,count\nb,2\n");
}

#[test]
fn a_queue_is_looked_at_and_redriven() {
    let program = Program::new();
    program.write("in/bad.txt", "x".repeat(70_000));
    program.write("in/good.txt", "fine words");
    let ended = program.up_until_idle(&["--watch", "in", "--profile", "go-sample"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("failed: processing/bad.txt: "), "{}", ended.stderr);
    assert_eq!(
        program.run(&["queue", "status", "--format", "csv"]).done(),
        "visible,in_flight,delayed,oldest_age_seconds,dead_letters\n0,0,0,,1\n"
    );
    let letters = program.run(&["queue", "dead-letters", "--format", "json"]).json();
    let letter = &letters["dead_letters"][0];
    assert_eq!((&letter["bucket"], &letter["key"]), (&"processing".into(), &"bad.txt".into()));
    assert_eq!(letter["receive_count"], 1, "the same bytes fail the same way: one try is enough");
    assert!(letter["reason"].as_str().unwrap().contains("the token at byte 0 does not fit"), "{letter}");
    let message = program.run(&["queue", "redrive", "nonsense"]).ended(1);
    assert!(message.contains("there is no dead letter \"nonsense\""), "{message}");
    let id = letter["id"].as_str().unwrap();
    assert_eq!(program.run(&["queue", "redrive", id, "--format", "json"]).done(), "{\"redriven\":1}\n");
    // Under another profile it can be counted.
    let ended = program.up_until_idle(&["--watch", "in", "--profile", "unicode"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let totals = program.totals();
    assert_eq!(
        (&totals["documents"], &totals["over_long"], &totals["words"]),
        (&2.into(), &1.into(), &2.into())
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    let program = Program::new();
    program.write("a/same.txt", "1");
    program.write("b/same.txt", "2");
    let refused = |code: i32, args: &[&str], message: &str| {
        let stderr = program.run(args).ended(code);
        assert!(stderr.contains(message), "{args:?}: {stderr}");
    };
    refused(2, &["upload", "a/same.txt", "b/same.txt"], "would both become processing/same.txt");
    refused(2, &["upload", "a", "--bucket", "No"], "is not a bucket name");
    refused(1, &["upload", "missing.txt"], "missing.txt");
    refused(2, &["up", "--watch", "missing", "--exit-when-idle"], "cannot watch missing");
    refused(2, &["up", "--watch", ".", "--data-dir", "inner", "--exit-when-idle"], "--data-dir");
    assert!(!program.path("inner").exists(), "a refusal left something behind");
    refused(2, &["up", "--data-dir", "a"], "a is not a data directory: it holds a/same.txt");
    refused(2, &["upload", "b", "--data-dir", "a"], "is not a data directory");
    assert_eq!(fs::read_dir(program.path("a")).unwrap().count(), 1, "a refusal left something behind");
    refused(2, &["up", "--min", "3", "--max", "2"], "fleet");
    refused(2, &["up", "--plan", "missing.toml"], "missing.toml");
    program.write("many.toml", "min = 1\nmax = 5000\n");
    refused(2, &["up", "--plan", "many.toml"], "1024 workers at most");
    for preset in ["classic", "fixed"] {
        refused(2, &["up", "--preset", preset, "--service-time", "1s"], "with the preset latency only");
    }
    program.write("wordfreq.toml", "[scaling]\npreset = \"fixed\"\nplan = \"many.toml\"\n");
    refused(2, &["up"], "exclude each other");
    fs::remove_file(program.path("wordfreq.toml")).unwrap();
    assert_eq!(program.run(&["upload", "b", "--data-dir", "there"]).code, 0);
    refused(2, &["results", "show", "no-slash", "--data-dir", "there"], "BUCKET/KEY");
    let elsewhere = ["--data-dir", "nowhere"];
    for args in [&["results", "totals"][..], &["results", "list"], &["queue", "status"], &["worker"]] {
        refused(1, &[args, &elsewhere[..]].concat(), "there is no data directory at nowhere");
    }
    assert!(!program.path("nowhere").exists());
    // A directory that only `upload` has touched has no profile yet.
    assert_eq!(program.run(&["upload", "a", "--data-dir", "fresh"]).code, 0);
    refused(1, &["worker", "--data-dir", "fresh"], "start `wordfreq up` on it once");
    refused(1, &["results", "totals", "--data-dir", "fresh"], "nothing was counted");
}

#[test]
fn up_lives_on_when_nobody_reads_its_log() {
    let program = Program::new();
    program.write("in/a.txt", "some words");
    let mut up = program.command(&["up", "--watch", "in", "--exit-when-idle"]).spawn().unwrap();
    drop(up.stderr.take());
    let ended = up.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", ended.status);
    assert!(String::from_utf8(ended.stdout).unwrap().starts_with("1 document, 10 bytes"));
}

#[test]
fn one_control_c_drains_up_and_its_workers() {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::CommandExt as _;
    let program = Program::new();
    for round in 0..5 {
        let mut up =
            program.command(&["up", "--preset", "fixed", "--max", "4"]).process_group(0).spawn().unwrap();
        let mut log = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
        // A terminal sends the signal to every process of the group.
        let started: Vec<_> = log.by_ref().filter(|line| line.contains("worker started")).take(4).collect();
        assert_eq!(started.len(), 4);
        let group = rustix::process::Pid::from_child(&up);
        rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
        let rest: Vec<String> = log.collect();
        assert!(up.wait().unwrap().success());
        assert!(!rest.iter().any(|line| line.contains("stopping at once")), "round {round}: {rest:#?}");
    }
}

#[test]
fn waiting_ends_when_its_time_is_up() {
    let program = Program::new();
    program.write("a.txt", "words");
    let ended = program.run(&["upload", "a.txt", "--wait", "--timeout", "300ms"]);
    assert!(ended.stdout.contains("waiting"), "{}", ended.stdout);
    ended.ended(1);
    program.run(&["upload", "a.txt", "--timeout", "1s"]).ended(2);
}
