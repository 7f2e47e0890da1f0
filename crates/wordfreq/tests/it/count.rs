//! `wordfreq count`: its printed forms, what it reads, and what it does when something is wrong.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use serde_json::json;

use crate::program::Program;

const TEXT: &str = "The cat sat on the mat.\nThe end, said the cat!\n";

#[test]
fn json_is_one_object_with_its_keys_in_order() {
    let expected = "{\"profile\":\"unicode\",\"fingerprint\":\"unicode-v1-ucd17.0.0\",\"documents\":1,\"bytes\":47,\
        \"words\":11,\"distinct\":7,\"over_long\":0,\"counts\":[{\"word\":\"the\",\"count\":4},\
        {\"word\":\"cat\",\"count\":2}]}\n";
    assert_eq!(Program::new().run_on(TEXT, &["count", "--format", "json", "--top", "2"]).done(), expected);
}

#[test]
fn tsv_and_csv_begin_with_the_header() {
    let program = Program::new();
    let tsv = program.run_on(TEXT, &["count", "--format", "tsv", "--all"]).done();
    assert_eq!(tsv, "word\tcount\nthe\t4\ncat\t2\nend\t1\nmat\t1\non\t1\nsaid\t1\nsat\t1\n");
    let csv = program.run_on(TEXT, &["count", "--format", "csv", "--top", "3"]).done();
    assert_eq!(csv, "word,count\nthe,4\ncat,2\nend,1\n");
    assert_eq!(program.run_on("", &["count", "--format", "csv"]).done(), "word,count\n");
}

#[test]
fn the_table_is_a_summary_and_the_ranking() {
    let program = Program::new();
    let table = program.run_on(TEXT, &["count", "--top", "2"]).done();
    assert_eq!(
        table,
        "1 document, 47 bytes, 11 words, 7 distinct\nprofile unicode-v1-ucd17.0.0\n\n\
         count  word\n    4  the\n    2  cat\n"
    );
    let table = program.run_on(format!("a {}", "x".repeat(1025)), &["count"]).done();
    assert!(
        table.starts_with("1 document, 1027 bytes, 1 word, 1 distinct, 1 over-long word left out\n"),
        "{table}"
    );
}

#[test]
fn ten_words_are_shown_unless_asked_otherwise() {
    let program = Program::new();
    let text = "a b c d e f g h i j k l";
    let num_shown = |args: &[&str]| {
        let count = program.run_on(text, &[&["count", "--format", "json"], args].concat()).json();
        assert_eq!(count["distinct"], 12);
        count["counts"].as_array().unwrap().len()
    };
    assert_eq!(num_shown(&[]), 10);
    assert_eq!(num_shown(&["--top", "3"]), 3);
    assert_eq!(num_shown(&["--top", "0"]), 0);
    assert_eq!(num_shown(&["--all"]), 12);
    program.run(&["count", "--top", "3", "--all"]).ended(2);
}

#[test]
fn per_file_prints_each_file_by_itself_in_order() {
    let program = Program::new();
    program.write("b.txt", "one two two");
    program.write("a.txt", "three");
    let run = |format| program.run(&["count", "--per-file", "--format", format, "b.txt", "a.txt"]).done();
    assert_eq!(run("tsv"), "path\tword\tcount\nb.txt\ttwo\t2\nb.txt\tone\t1\na.txt\tthree\t1\n");
    assert_eq!(run("csv"), "path,word,count\nb.txt,two,2\nb.txt,one,1\na.txt,three,1\n");
    assert_eq!(
        run("json"),
        "{\"files\":[{\"path\":\"b.txt\",\"profile\":\"unicode\",\"fingerprint\":\"unicode-v1-ucd17.0.0\",\
         \"documents\":1,\"bytes\":11,\"words\":3,\"distinct\":2,\"over_long\":0,\
         \"counts\":[{\"word\":\"two\",\"count\":2},{\"word\":\"one\",\"count\":1}]},\
         {\"path\":\"a.txt\",\"profile\":\"unicode\",\"fingerprint\":\"unicode-v1-ucd17.0.0\",\
         \"documents\":1,\"bytes\":5,\"words\":1,\"distinct\":1,\"over_long\":0,\
         \"counts\":[{\"word\":\"three\",\"count\":1}]}]}\n"
    );
    assert_eq!(
        run("table"),
        "b.txt\n1 document, 11 bytes, 3 words, 2 distinct\nprofile unicode-v1-ucd17.0.0\n\n\
         count  word\n    2  two\n    1  one\n\n\
         a.txt\n1 document, 5 bytes, 1 word, 1 distinct\nprofile unicode-v1-ucd17.0.0\n\n\
         count  word\n    1  three\n"
    );
    let stdin = program.run_on("x", &["count", "--per-file", "--format", "tsv"]).done();
    assert_eq!(stdin, "path\tword\tcount\n-\tx\t1\n");
}

#[test]
fn options_are_part_of_the_fingerprint() {
    let count = Program::new().run_on(TEXT, &["count", "--format", "json", "--min-length", "4"]).json();
    assert_eq!(count["fingerprint"], "unicode-v1-ucd17.0.0-min4");
    assert_eq!(count["counts"], json!([{"word": "said", "count": 1}]));
}

#[test]
fn standard_input_mixes_with_files_but_is_read_once() {
    let program = Program::new();
    program.write("file", "b");
    let count = program.run_on("a", &["count", "--format", "json", "file", "-"]).json();
    assert_eq!((&count["documents"], &count["words"]), (&json!(2), &json!(2)));
    let message = program.run_on("a", &["count", "-", "file", "-"]).ended(2);
    assert!(message.contains("more than once") && message.contains("./-"), "{message}");
}

#[test]
fn directories_are_read_recursively_in_order_and_hidden_files_too() {
    let program = Program::new();
    program.write("tree/b/2", "two");
    program.write("tree/a/1", "one");
    program.write("tree/.hidden", "zero");
    program.write("tree/c", "three");
    let tsv = program.run(&["count", "--per-file", "--format", "tsv", "--threads", "3", "tree"]).done();
    assert_eq!(
        tsv,
        "path\tword\tcount\ntree/.hidden\tzero\t1\ntree/a/1\tone\t1\ntree/b/2\ttwo\t1\ntree/c\tthree\t1\n"
    );
    std::fs::create_dir(program.path("empty")).unwrap();
    assert_eq!(program.run(&["count", "--format", "tsv", "empty"]).done(), "word\tcount\n");
}

#[test]
fn a_named_link_is_followed_and_one_found_in_a_directory_is_named() {
    let program = Program::new();
    program.write("tree/file", "word");
    symlink("tree", program.path("link")).unwrap();
    symlink("..", program.path("tree/loop")).unwrap();
    let ended = program.run(&["count", "--format", "json", "link"]);
    let count = ended.json();
    assert_eq!((&count["documents"], &count["words"]), (&json!(1), &json!(1)));
    let message = ended.ended(0);
    assert!(message.starts_with("note: link/loop: a symbolic link, not followed"), "{message}");

    // If there is nothing but links, nothing was counted, and that must not look like success.
    std::fs::create_dir(program.path("links")).unwrap();
    symlink("../tree/file", program.path("links/one")).unwrap();
    program.run(&["count", "links"]).ended(1);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_counted() {
    let program = Program::new();
    program.write("good", "word");
    symlink("loop-b", program.path("loop-a")).unwrap();
    symlink("loop-a", program.path("loop-b")).unwrap();
    symlink("gone", program.path("dangling")).unwrap();
    for bad in ["missing", "loop-a", "dangling", "good/below"] {
        let ended = program.run(&["count", "--format", "json", bad, "good"]);
        assert_eq!(ended.json()["documents"], 1);
        let message = ended.ended(3);
        assert!(message.starts_with(&format!("error: could not count {bad}: ")), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let ended = program.run(&["count", "missing"]);
    assert_eq!(ended.stdout, "");
    assert!(ended.ended(1).ends_with("error: nothing could be counted\n"));
}

/// Opening it works for everybody, reading it at its beginning for nobody.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_fails_while_it_is_read_is_named() {
    let program = Program::new();
    program.write("good", "word");
    let ended = program.run(&["count", "--format", "json", "good", "/proc/self/mem"]);
    assert_eq!(ended.json()["documents"], 1);
    let message = ended.ended(3);
    assert!(message.contains("could not count /proc/self/mem: reading failed at byte 0"), "{message}");
}

#[test]
fn a_socket_in_a_directory_is_named_as_failed() {
    let program = Program::new();
    program.write("tree/file", "word");
    let _listener = UnixListener::bind(program.path("tree/socket")).unwrap();
    let ended = program.run(&["count", "--format", "json", "tree"]);
    assert_eq!(ended.json()["documents"], 1);
    let message = ended.ended(3);
    assert!(message.contains("tree/socket: not a regular file"), "{message}");
}

#[test]
fn names_that_are_not_utf_8_are_read_and_shown() {
    let program = Program::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    program.write(name, "word");
    let args = ["count", "--per-file", "--format", "tsv"].map(std::ffi::OsStr::new);
    let tsv = program.run(&[&args[..], &[name]].concat()).done();
    assert_eq!(tsv, "path\tword\tcount\ncaf\u{fffd}.txt\tword\t1\n");
}

#[test]
fn hostile_words_and_names_drive_neither_terminal_nor_spreadsheet() {
    let program = Program::new();
    let text = "\x1b[2J\u{9b}31m =cmd() +1 -1 @x it's,\"quoted\" ok";
    let whitespace = |args: &[&str]| {
        program.run_on(text, &[&["count", "--profile", "whitespace", "--all"], args].concat()).done()
    };
    let table = whitespace(&[]);
    assert!(table.contains("    1  \\u{1b}[2j\\u{9b}31m\n"), "{table}");
    assert!(!table.contains(|character: char| character.is_control() && character != '\n'), "{table:?}");
    assert_eq!(
        whitespace(&["--format", "csv"]),
        "word,count\n\x1b[2j\u{9b}31m,1\n'+1,1\n'-1,1\n'=cmd(),1\n'@x,1\n\"it's,\"\"quoted\"\"\",1\nok,1\n"
    );
    assert_eq!(
        whitespace(&["--format", "csv", "--raw-csv"]),
        "word,count\n\x1b[2j\u{9b}31m,1\n+1,1\n-1,1\n=cmd(),1\n@x,1\n\"it's,\"\"quoted\"\"\",1\nok,1\n"
    );
    assert!(whitespace(&["--format", "tsv"]).contains("\n=cmd()\t1\n"));

    let name = "a\tb\\\n\x1b[2J=";
    program.write(name, "word");
    let run = |format| program.run(&["count", "--per-file", "--format", format, name]).done();
    assert_eq!(run("tsv"), "path\tword\tcount\na\\tb\\\\\\n\x1b[2J=\tword\t1\n");
    assert!(run("table").starts_with("a\\tb\\\\n\\u{1b}[2J=\n"), "{}", run("table"));
    let message = program.run(&["count", "gone\n\x1b[2J"]).ended(1);
    assert!(message.contains("could not count gone\\n\\u{1b}[2J: "), "{message}");
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let program = Program::new();
    let words: String = (0..100_000).map(|number| format!("w{number}\n")).collect();
    program.write("words", words);
    for format in ["table", "tsv", "csv", "json"] {
        let mut child = program.command(&["count", "--all", "--format", format, "words"]).spawn().unwrap();
        let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
        let mut first = [0; 4];
        std::io::Read::read_exact(&mut stdout, &mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "{format}");
    }
}

#[test]
fn a_closed_pipe_does_not_hide_that_something_failed() {
    let program = Program::new();
    program.write("words", "a b c");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program.command(&["count", "words", "missing"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let program = Program::new();
    program.write("words", TEXT);
    for format in ["table", "tsv", "csv", "json"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = program.command(&["count", "--format", format, "words"]);
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with("error: could not write the result to standard output: "), "{message}");
    }
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    let program = Program::new();
    let mut command = program.command(&["count", "--format", "tsv", "/dev/stdin"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"from a pipe").unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().nth(1).unwrap().unwrap();
    assert_eq!(line, "a\t1");
    assert!(child.wait().unwrap().success());
}

/// Words from a small generator: the same at every run, with accents, case and punctuation, and about `len` bytes.
fn generated(len: usize, mut separator: impl FnMut(usize) -> &'static str) -> String {
    const STEMS: [&str; 8] = ["river", "Stone", "café", "straße", "NIGHT", "o'clock", "日本", "Ωmega"];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut text = String::with_capacity(len + 32);
    while text.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(STEMS[(state % 8) as usize]);
        if state & 0x700 == 0 {
            text.push_str(&((state >> 16) % 5000).to_string());
        }
        text.push_str(separator(text.len()));
    }
    text
}

#[test]
fn any_number_of_threads_counts_the_same() {
    let program = Program::new();
    let mib = 1024 * 1024;
    let mut num_words = 0;
    let texts = [
        ("lines", "unicode", generated(3 * mib, |len| if len % 11 == 0 { "\r\n" } else { " " })),
        ("one-line", "unicode", generated(2 * mib, |_| " ")),
        // One line that spans whole ranges, between ordinary ones.
        (
            "long-line",
            "whitespace",
            generated(5 * mib, |len| if !(mib..4 * mib).contains(&len) { ".\n" } else { ", " }),
        ),
        ("no-space", "whitespace", generated(2 * mib, |_| "-")),
    ];
    for (name, profile, text) in &texts {
        program.write(name, text);
        let run = |threads: &str| {
            let args =
                ["count", "--all", "--format", "json", "--profile", profile, "--threads", threads, name];
            program.run(&args).done()
        };
        let alone = run("1");
        let count: serde_json::Value = serde_json::from_str(&alone).unwrap();
        assert_eq!(count["bytes"], text.len());
        num_words += count["words"].as_u64().unwrap();
        for threads in ["2", "5"] {
            assert!(run(threads) == alone, "{name} {threads}");
        }
    }
    assert!(num_words > 1_000_000, "{num_words}");
    // All files together, whole ones and ranges mixed.
    program.write("small", TEXT);
    let together = |threads| {
        let args = ["count", "--all", "--format", "json", "--threads", threads, "."];
        program.run(&args).done()
    };
    assert!(together("4") == together("1"));
    assert!(together("4").contains("\"documents\":5,"));
}

#[test]
fn an_endless_word_fails_its_document_under_the_go_profile_only() {
    let program = Program::new();
    program.write("bad", format!("abc {}", "x".repeat(70_000)));
    program.write("good", "mississippi");
    let ended = program.run(&["count", "--profile", "go-sample", "--format", "json", "bad", "good"]);
    let count = ended.json();
    assert_eq!((&count["documents"], &count["bytes"]), (&json!(1), &json!(11)));
    let message = ended.ended(3);
    assert!(message.starts_with("error: could not count bad: the token at byte 4 does not fit"), "{message}");
    let ended = program.run(&["count", "--profile", "go-sample", "bad"]);
    assert_eq!(ended.stdout, "");
    ended.ended(1);
    program.run(&["count", "--profile", "unicode", "bad"]).done();
}

#[test]
fn the_place_of_an_endless_word_is_the_same_on_any_number_of_threads() {
    let program = Program::new();
    let mut text = generated(3 * 1024 * 1024, |len| if len % 7 == 0 { "\n" } else { " " });
    let offset = text.len();
    text.push_str(&"x".repeat(70_000));
    text.push_str(&generated(1024 * 1024, |_| "\n"));
    program.write("bad", &text);
    for threads in ["1", "2", "5"] {
        let message = program.run(&["count", "--profile", "go-sample", "--threads", threads, "bad"]).ended(1);
        assert!(
            message.contains(&format!("could not count bad: the token at byte {offset} does not fit")),
            "{message}"
        );
    }
}

/// A million words are too many for the smallest memory: what is printed must not show that they were sorted on disk, and nothing
/// of it may stay there.
#[test]
fn words_that_do_not_fit_memory_are_counted_exactly() {
    const WORDS: usize = 1_200_000;
    let scratch = tempfile::tempdir().unwrap();
    let program = Program::new().with_variable("TMPDIR", scratch.path().to_str().unwrap());
    let mut text = String::new();
    let mut expected: Vec<(String, usize)> = Vec::with_capacity(WORDS);
    for number in 0..WORDS {
        let word = format!("{:06x}w", (number * 7_654_321) % 0xFF_FFFD);
        // In every hundredth line once more, far from the others.
        expected.push((word, 1 + usize::from(number % 100 == 0)));
    }
    expected.iter().for_each(|(word, _)| text.extend([word, "\n"]));
    expected.iter().filter(|(_, count)| *count == 2).for_each(|(word, _)| text.extend([word, " "]));
    program.write("text", &text);
    expected.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut tsv = "word\tcount\n".to_owned();
    expected.iter().for_each(|(word, count)| tsv.push_str(&format!("{word}\t{count}\n")));

    let found = program
        .run(&["count", "text", "--memory", "64MiB", "--threads", "1", "--all", "--format", "tsv"])
        .done();
    assert!(found == tsv, "{} bytes, not {}", found.len(), tsv.len());
    let two = program
        .run(&["count", "text", "text", "--memory", "64MiB", "--threads", "2", "--format", "json"])
        .json();
    assert_eq!(two["words"], 2 * (WORDS + WORDS / 100));
    assert_eq!(two["distinct"], WORDS);
    assert_eq!(two["counts"][0], json!({"word": expected[0].0, "count": 4}));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);

    let nowhere = Program::new().with_variable("TMPDIR", "/nowhere");
    nowhere.write("text", &text);
    let error = nowhere.run(&["count", "text", "--memory", "64MiB", "--threads", "1"]).ended(1);
    assert!(error.contains("TMPDIR") && error.contains("/nowhere"), "{error}");
}
