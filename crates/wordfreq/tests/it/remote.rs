//! Commands that ask an `up` elsewhere: what they print is what they print of its data directory. The program that asks has
//! a home and a working directory of its own, and nothing in them.

use serde_json::Value;

use crate::program::{Ended, Program};
use crate::server::Serving;

/// An `up`, and somebody elsewhere.
struct World {
    here: Program,
    serving: Serving,
    there: Program,
}

impl World {
    fn start(more: &[&str]) -> Self {
        let here = Program::new();
        let serving = Serving::start(&here, more);
        Self { here, serving, there: Program::new() }
    }

    fn url(&self) -> String {
        self.serving.url.replace("127.0.0.1", "localhost")
    }

    fn ask(&self, args: &[&str]) -> Ended {
        self.there.run(&[args, &["--server", &self.url()]].concat())
    }

    /// Asks the same, which must change nothing, here and there, and again if what is here changed meanwhile: a worker reports when it does.
    #[track_caller]
    fn same(&self, args: &[&str]) {
        let told = |ended: Ended| (ended.code, ended.stdout, ended.stderr);
        for _ in 0..20 {
            let (before, there) = (told(self.here.run(args)), told(self.ask(args)));
            if before == told(self.here.run(args)) {
                assert_eq!(there, before, "{args:?}");
                assert!(before.0 == 0 || !before.2.is_empty(), "{args:?}: {before:?}");
                return;
            }
        }
        panic!("{args:?}: what is here never stood still");
    }
}

const FORMATS: [&[&str]; 5] = [
    &[],
    &["--format", "tsv"],
    &["--format", "csv"],
    &["--format", "csv", "--raw-csv"],
    &["--format", "json"],
];

#[test]
fn every_answer_is_that_of_the_data_directory_to_the_byte() {
    let world = World::start(&["--profile", "go-sample"]);
    let World { there, .. } = &world;
    for (name, text) in [
        ("docs/plain.txt", "several counted words, several times counted"),
        ("docs/=cmd().txt", "=hostile +hostile counted \u{202e}hostile"),
        ("docs/deep/er/empty.txt", ""),
        ("docs/line\nbreak.txt", "counted"),
    ] {
        there.write(name, text);
    }
    there.write("docs/poison.txt", "x".repeat(70_000));
    let uploaded = world.ask(&["upload", "docs", "--prefix", "some/", "--wait"]);
    assert_eq!(uploaded.code, 3, "{uploaded:?}");
    assert!(uploaded.stderr.contains("uploaded 5 documents"), "{}", uploaded.stderr);
    let data_dir = world.here.path("wordfreq-data");
    let again = there.run(&[
        "upload",
        "docs",
        "--prefix",
        "some/",
        "--wait",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ]);
    assert_eq!((again.code, again.stdout, again.stderr), (uploaded.code, uploaded.stdout, uploaded.stderr));
    // Everything is at rest again.
    world.ask(&["upload", "docs", "--prefix", "some/", "--wait"]);
    for format in FORMATS {
        for command in [
            &["results", "list"][..],
            &["results", "list", "--top", "2"],
            &["results", "list", "--all"],
            &["results", "show", "processing/some/plain.txt"],
            &["results", "show", "processing/some/=cmd().txt", "--all"],
            &["results", "show", "processing/some/plain.txt", "--top", "1"],
            &["results", "show", "processing/some/deep/er/empty.txt"],
            &["results", "totals"],
            &["results", "totals", "--all"],
            &["results", "totals", "--top", "2"],
            &["queue", "status"],
            &["queue", "dead-letters"],
        ] {
            let takes_raw = command[0] != "queue" || command[1] != "status";
            if takes_raw || !format.contains(&"--raw-csv") {
                world.same(&[command, format].concat());
            }
        }
        for command in [
            &["fleet", "status"][..],
            &["fleet", "activity"],
            &["fleet", "activity", "--top", "1"],
            &["fleet", "alarms"],
            &["fleet", "alarms", "--history"],
        ] {
            world.same(&[command, format].concat());
        }
    }
    world.same(&["results", "show", "processing/some/poison.txt"]);
    world.same(&["results", "show", "processing/nothing"]);
    world.same(&["results", "show", "nothing"]);
    world.same(&["queue", "redrive", "77"]);
    world.same(&["fleet", "alarms", "--all"]);
    world.same(&["delete", "processing/nothing"]);
    world.same(&["delete", "UPPER/x"]);
    let letters: Value = world.ask(&["queue", "dead-letters", "--format", "json"]).json();
    let id = letters["dead_letters"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        world.ask(&["queue", "redrive", &id, "--format", "json"]).json(),
        serde_json::json!({"redriven": 1})
    );
    let deleted = world.ask(&["delete", "processing/some/plain.txt", "processing/some/plain.txt"]);
    assert_eq!(deleted.code, 3, "{deleted:?}");
    assert_eq!(
        deleted.stderr,
        "deleted processing/some/plain.txt\nerror: there is no document processing/some/plain.txt\n"
    );
}

#[test]
fn a_token_comes_from_the_environment_or_a_file_and_never_from_the_command_line() {
    let mut world = World::start(&[]);
    let made = world.here.run(&["token", "create", "--name", "one", "--scope", "write"]).done();
    let token = made.trim_end().split_once('=').unwrap().1.to_owned();
    while world.ask(&["queue", "status"]).code == 0 {}
    let refused = world.ask(&["queue", "status"]).ended(1);
    assert!(refused.contains("WORDFREQ_TOKEN"), "{refused}");
    let url = world.url();
    world.there =
        Program::new().with_variable("WORDFREQ_TOKEN", &token).with_variable("WORDFREQ_SERVER", &url);
    // The setting is as good as the flag.
    world.there.run(&["queue", "status"]).done();
    world.there.write("document.txt", "some words");
    assert_eq!(world.there.run(&["upload", "document.txt", "--wait"]).code, 0);
    let config = world.there.run(&["config", "--format", "json"]).done();
    assert!(!config.contains(&token), "{config}");
    world.there = Program::new();
    world.there.write("token", format!("{token}\n"));
    world.there.write("wordfreq.toml", format!("[server]\nurl = \"{url}\"\ntoken_file = \"token\"\n"));
    world.there.run(&["queue", "status"]).done();
    for command in [&["worker"][..], &["token", "list"], &["key", "list"], &["subscriptions", "list"]] {
        let refused = world.there.run(command).ended(2);
        assert!(refused.contains(&format!("`wordfreq {}` cannot ask", command[0])), "{refused}");
    }
    world.there.write("wordfreq.toml", format!("[server]\ntoken = \"{token}\"\n"));
    let refused = world.there.run(&["queue", "status"]).ended(2);
    assert!(refused.contains("server.token_file") && !refused.contains(&token), "{refused}");
    world.there.write("wordfreq.toml", format!("[server]\nurl = \"{url}\"\ntoken_file = \"missing\"\n"));
    assert!(world.there.run(&["queue", "status"]).ended(1).contains("missing"));
}

#[test]
fn what_cannot_be_asked_is_told_with_the_mend() {
    let program = Program::new();
    for url in ["localhost:8080", "ftp://localhost", "http://user@localhost", "http://", ""] {
        let refused = program.run(&["queue", "status", "--server", url]).ended(2);
        assert!(refused.contains("server.url") && refused.contains("flag --server"), "{refused}");
    }
    assert!(
        program
            .run(&["queue", "status", "--server", "http://localhost:1", "--data-dir", "d"])
            .ended(2)
            .contains("--data-dir")
    );
    assert!(program.run(&["queue", "status", "--backend", "server"]).ended(2).contains("server.url"));
    let refused = program.run(&["queue", "status", "--server", "http://127.0.0.1:1"]).ended(1);
    assert!(refused.contains("http://127.0.0.1:1"), "{refused}");
    // Somebody else's server.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stranger = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = listener.accept().unwrap().0;
        let mut head = [0; 4096];
        assert_ne!(stream.read(&mut head).unwrap(), 0);
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\nconnection: close\r\n\r\nwhat?")
            .unwrap();
    });
    let refused = program.run(&["queue", "status", "--server", &url]).ended(1);
    stranger.join().unwrap();
    assert!(refused.contains("404") && refused.contains(&url), "{refused}");
}

#[test]
fn a_certificate_is_trusted_by_name_alone() {
    let here = Program::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    here.write("certificate.pem", made.cert.pem());
    here.write("key.pem", made.signing_key.serialize_pem());
    here.write("wordfreq.toml", "[server]\ntls_certificate = \"certificate.pem\"\ntls_key = \"key.pem\"\n");
    let serving = Serving::start(&here, &[]);
    let url = serving.url.replace("127.0.0.1", "localhost");
    let there = Program::new();
    let refused = there.run(&["queue", "status", "--server", &url]).ended(1);
    assert!(refused.contains("certificate") && refused.contains("server.ca_file"), "{refused}");
    let plain = url.replace("https://", "http://");
    let refused = there.run(&["queue", "status", "--server", &plain]).ended(1);
    assert!(refused.contains("then it is https://"), "{refused}");
    let serving_plainly = Serving::start(&Program::new(), &[]);
    let secret = serving_plainly.url.replace("http://", "https://");
    let refused = there.run(&["queue", "status", "--server", &secret]).ended(1);
    assert!(refused.contains("then it is http://"), "{refused}");
    there.write("authority.pem", made.cert.pem());
    there.write("wordfreq.toml", "[server]\nca_file = \"authority.pem\"\n");
    there.run(&["queue", "status", "--server", &url]).done();
    there.write("document.txt", "some words");
    assert_eq!(there.run(&["upload", "document.txt", "--wait", "--server", &url]).code, 0);
    for (file, text) in [("authority.pem", "nothing"), ("authority.pem", "")] {
        there.write(file, text);
        let refused = there.run(&["queue", "status", "--server", &url]).ended(1);
        assert!(refused.contains("server.ca_file"), "{refused}");
    }
}

#[test]
fn many_documents_go_at_once_and_each_is_accounted_for() {
    let world = World::start(&[]);
    for number in 0..200 {
        world.there.write(format!("docs/{number:03}.txt"), format!("word{number} shared"));
    }
    let uploaded = world.ask(&["upload", "docs", "--wait"]);
    assert_eq!(uploaded.code, 0, "{uploaded:?}");
    let names: Vec<_> =
        uploaded.stdout.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(names.len(), 200);
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(world.ask(&["results", "totals", "--top", "1", "--format", "json"]).json()["words"], 400);
    world.same(&["results", "list", "--all", "--format", "csv"]);
}
