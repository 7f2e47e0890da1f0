//! Settings: which layer wins, what is refused, and `wordfreq config`.

use serde_json::json;

use crate::program::Program;

/// Value and origin of one setting.
fn effective(program: &Program, args: &[&str], setting: &str) -> (serde_json::Value, String) {
    let ended = program.run(&[&["config", "--format", "json"], args].concat());
    let listing = ended.json();
    ended.done();
    let rows = listing["settings"].as_array().unwrap();
    let row = rows.iter().find(|row| row["setting"] == setting).unwrap();
    (row["value"].clone(), row["origin"].as_str().unwrap().to_owned())
}

#[test]
fn flag_beats_environment_beats_project_beats_user_beats_default() {
    let program = Program::new();
    assert_eq!(effective(&program, &[], "min_length"), (json!(0), "default".to_owned()));

    program.write_home(".config/wordfreq/wordfreq.toml", "min_length = 5");
    let (value, origin) = effective(&program, &[], "min_length");
    assert_eq!(value, json!(5));
    assert!(
        origin.starts_with("file /") && origin.ends_with("home/.config/wordfreq/wordfreq.toml"),
        "{origin}"
    );

    program.write("wordfreq.toml", "min_length = 4");
    assert_eq!(effective(&program, &[], "min_length"), (json!(4), "file wordfreq.toml".to_owned()));

    let program = program.with_variable("WORDFREQ_MIN_LENGTH", "3");
    let from_environment = (json!(3), "environment variable WORDFREQ_MIN_LENGTH".to_owned());
    assert_eq!(effective(&program, &[], "min_length"), from_environment);

    let from_flag = (json!(2), "flag --min-length".to_owned());
    assert_eq!(effective(&program, &["--min-length", "2"], "min_length"), from_flag);
}

#[test]
fn the_layers_reach_the_count() {
    let program = Program::new().with_variable("WORDFREQ_MIN_LENGTH", "3");
    program.write("wordfreq.toml", "profile = \"whitespace\"");
    let count = program.run_on("it's a dog", &["count", "--format", "json"]).json();
    assert_eq!(count["profile"], "whitespace");
    assert_eq!(count["counts"], json!([{"word": "dog", "count": 1}, {"word": "it's", "count": 1}]));
    let count = program.run_on("it's a dog", &["count", "--format", "json", "--min-length", "4"]).json();
    assert_eq!(count["counts"], json!([{"word": "it's", "count": 1}]));
}

#[test]
fn the_user_file_moves_with_xdg() {
    let program = Program::new();
    program.write("xdg/wordfreq/wordfreq.toml", "threads = 7");
    let directory = program.path("xdg").into_os_string().into_string().unwrap();
    let program = program.with_variable("XDG_CONFIG_HOME", directory);
    assert_eq!(effective(&program, &[], "threads").0, json!(7));
}

#[test]
fn lists_come_from_repeated_flags_files_and_the_environment() {
    let program = Program::new();
    assert_eq!(effective(&program, &[], "watch"), (json!(null), "default".to_owned()));
    program.write("wordfreq.toml", "watch = [\"a\", \"b c\"]");
    assert_eq!(effective(&program, &[], "watch").0, json!("a:b c"));
    let program = program.with_variable("WORDFREQ_WATCH", "d:e");
    assert_eq!(effective(&program, &[], "watch").0, json!("d:e"));
    assert_eq!(effective(&program, &["--watch", "f", "--watch", "g"], "watch").0, json!("f:g"));
}

#[test]
fn the_table_lines_up() {
    let program = Program::new().with_variable("WORDFREQ_QUEUE_BATCH", "8");
    let table = program.run(&["config"]).done();
    let header: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["setting", "value", "origin"]);
    let line = table.lines().find(|line| line.starts_with("queue.batch")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["queue.batch", "8", "environment", "variable", "WORDFREQ_QUEUE_BATCH"]
    );
}

#[test]
fn what_is_misspelt_is_refused_with_the_nearest_name() {
    let program = Program::new();
    program.write("wordfreq.toml", "[queue]\nbach = 7\n");
    let message = program.run_on("a", &["count"]).ended(2);
    assert!(
        message.contains("wordfreq.toml: unknown setting `queue.bach`; did you mean `queue.batch`?"),
        "{message}"
    );

    let program = Program::new().with_variable("WORDFREQ_PROFIL", "unicode");
    let message = program.run_on("a", &["count"]).ended(2);
    assert!(message.contains("WORDFREQ_PROFIL; did you mean WORDFREQ_PROFILE?"), "{message}");
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let program = Program::new();
    program.write("wordfreq.toml", "threads = 2\nprofile = unicode\n");
    let message = program.run(&["config"]).ended(2);
    assert!(message.contains("wordfreq.toml, line 2: ") && message.lines().count() == 1, "{message}");

    let program = Program::new();
    std::fs::create_dir(program.path("wordfreq.toml")).unwrap();
    let message = program.run(&["config"]).ended(2);
    assert!(message.contains("could not read this configuration file"), "{message}");
}

#[test]
fn a_bad_value_is_refused_with_setting_origin_value_and_mend() {
    for args in [["count", "--threads", "0"], ["count", "--threads", "1025"], ["up", "--max", "0"]] {
        let message = Program::new().run(&args).ended(2);
        let expected =
            format!("from flag {} is `{}`: must be a whole number from 1 to 1024", args[1], args[2]);
        assert!(message.contains(&expected), "{message}");
    }
    let program = Program::new().with_variable("WORDFREQ_PROFILE", "french");
    let message = program.run_on("a", &["count"]).ended(2);
    assert!(
        message.contains("setting `profile` from environment variable WORDFREQ_PROFILE is `french`"),
        "{message}"
    );
    assert!(message.contains("unicode") && message.contains("whitespace") && message.contains("go-sample"));
    assert!(Program::new().run(&["count", "--profile", "french"]).ended(2).contains("go-sample"));
}

#[test]
fn a_fleet_with_more_at_least_than_at_most_is_refused() {
    let message = Program::new().run(&["up", "--min", "5", "--max", "1"]).ended(2);
    assert!(message.contains("`fleet.min` is 5 from flag --min"), "{message}");
    let program = Program::new().with_variable("WORDFREQ_FLEET_MAX", "3");
    assert_eq!(effective(&program, &[], "fleet.max").0, json!(3));
    assert_eq!(effective(&program, &["--min", "3"], "fleet.min").1, "flag --min");
}

#[test]
fn the_manual_table_has_every_setting() {
    let program = Program::new();
    let manual = program.run(&["config", "--reference"]).done();
    let listing = program.run(&["config", "--format", "json"]).json();
    for row in listing["settings"].as_array().unwrap() {
        let name = format!("| `{}` |", row["setting"].as_str().unwrap());
        assert_eq!(manual.matches(&name).count(), 1, "{name}");
    }
}

const QUEUE_URL: &str = "https://sqs.eu-west-2.amazonaws.com/123456789012/jobs";

#[test]
fn the_samples_environment_chooses_aws_and_a_data_directory_on_the_command_line_does_not() {
    let program = Program::new();
    assert_eq!(effective(&program, &[], "backend"), (json!("embedded"), "default".to_owned()));
    let program = program.with_variable("WORKER_QUEUE_URL", QUEUE_URL).with_variable("WORKER_COUNT", "3");
    let from_sample = "environment variable WORKER_QUEUE_URL".to_owned();
    assert_eq!(effective(&program, &[], "backend"), (json!("aws"), from_sample));
    assert_eq!(effective(&program, &[], "aws.worker_count").0, json!(3));
    assert_eq!(effective(&program, &[], "aws.word_profile").0, json!("unicode"));
    let from_flag = (json!("embedded"), "flag --data-dir".to_owned());
    assert_eq!(effective(&program, &["--data-dir", "here"], "backend"), from_flag);
    let program = program.with_variable("WORDFREQ_BACKEND", "embedded");
    assert_eq!(effective(&program, &[], "backend").0, json!("embedded"));
}

#[test]
fn the_samples_variables_are_checked_and_nearly_theirs_are_refused() {
    let message =
        |name: &'static str, value: &str| Program::new().with_variable(name, value).run(&["config"]).ended(2);
    for (name, value, mend) in [
        ("WORKER_QUEUE_URL", "jobs", "must be a queue's URL"),
        ("WORKER_RESULT_TABLENAME", "", "must not be empty"),
        ("WORKER_COUNT", "0", "from 1 to 1024"),
        ("WORKER_MESSAGE_VISIBILITY", "never", "from 1 to 43200"),
        ("WORKER_PROFILE", "french", "go-sample"),
        ("WORKER_PROFIL", "unicode", "did you mean WORKER_PROFILE?"),
        ("WORKER_RESULT_TABLE_NAME", "t", "did you mean WORKER_RESULT_TABLENAME?"),
    ] {
        let message = message(name, value);
        assert!(message.contains(name) && message.contains(mend), "{message}");
    }
    // Somebody else's, and where nobody asks for AWS.
    Program::new().with_variable("WORKER_CONCURRENCY", "7").run(&["config"]).done();
    Program::new().with_variable("WORKER_COUNT", "auto").run_on("a", &["count"]).done();
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_says_so_whoever_asks_for_it() {
    let program = Program::new().with_variable("WORKER_QUEUE_URL", QUEUE_URL);
    program.write("a.txt", "a");
    let commands: [&[&str]; 6] = [
        &["worker"],
        &["results", "totals"],
        &["queue", "status"],
        &["upload", "a.txt"],
        &["delete", "bucket/k"],
        &["aws", "policy", "--name", "corpus"],
    ];
    for command in commands {
        let message = program.run(command).ended(2);
        assert!(message.contains("--features aws"), "{command:?}: {message}");
    }
}
