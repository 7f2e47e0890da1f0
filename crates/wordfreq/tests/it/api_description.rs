//! Whether the API answers as it is described: by clients that are not ours, from the virtual environment that `make test`
//! makes. What each path promises beyond that is in `api`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::api::Client;
use crate::program::Program;
use crate::server::Serving;

/// A family of metrics: its name, its kind, its unit, and its samples with their labels.
type Family = (String, String, String, Vec<(Value, f64)>);

/// A tool of the virtual environment.
fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv-api/bin").join(name);
    assert!(path.exists(), "{} is missing: run `make api-tools`", path.display());
    path
}

/// What it prints, if it ends well.
fn printed(command: &mut Command, stdin: &[u8]) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Hundreds of requests, sensible ones and others, made up by schemathesis from the description: none is answered by a
/// fault of the server, and none otherwise than described.
#[test]
fn every_answer_is_described_whatever_is_asked() {
    let program = Program::new();
    let serving = Serving::start(&program, &["--profile", "go-sample"]);
    let client = Client::of(&serving);
    client.put("processing", "good", "several counted words");
    client.put("processing", "bad", "x".repeat(70_000));
    client.until_idle();
    let mut command = Command::new(tool("schemathesis"));
    command
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", serving.url))
        // An endless answer, a fleet of any size, and questions to anyone's server: all are under test elsewhere.
        .args(["--exclude-operation-id", "get_events", "--exclude-operation-id", "put_fleet_bounds"])
        .args(["--exclude-operation-id", "post_subscriptions"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_headers_conformance,response_schema_conformance,unsupported_method"])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--mode",
            "all",
            "--max-examples",
            "20",
            "--seed",
            "1",
        ])
        .args(["--request-timeout", "20", "--continue-on-failure", "--no-color"])
        .env("HYPOTHESIS_STORAGE_DIRECTORY", program.path("hypothesis"))
        .current_dir(program.path(""));
    let report = printed(&mut command, b"");
    // Such as "1612 generated, 1612 passed".
    let cases = report.lines().find_map(|line| line.trim().split_once(" generated, ")).expect(&report);
    let asked: u32 = cases.0.parse().unwrap();
    assert!(asked > 1000 && cases.1 == format!("{asked} passed"), "{report}");
}

#[test]
fn prometheus_reads_the_metrics_and_their_names_are_as_it_wants_them() {
    let program = Program::new();
    let serving = Serving::start_with(&program, &["--preset", "classic"]);
    let client = Client::of(&serving);
    client.put("processing", "k", "several counted words");
    client.until_idle();
    while client.get("fleet").status != 200 {}
    let metrics = client.get("/metrics");
    assert_eq!(metrics.media, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let script = "import json, sys\n\
                  from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
                  families = [[family.name, family.type, family.unit, [[sample.labels, sample.value] for sample in family.samples]]\n\
                  \x20           for family in parse(sys.stdin.read())]\n\
                  print(json.dumps(families))\n";
    let parsed = printed(Command::new(tool("python")).args(["-c", script]), &metrics.body);
    let families: Vec<Family> = serde_json::from_str(&parsed).unwrap();
    let find = |name: &str| {
        families
            .iter()
            .find(|family| family.0 == name)
            .unwrap_or_else(|| panic!("{name} is missing: {parsed}"))
    };
    for (name, kind, unit, value) in [
        ("wordfreq_queue_dead_letters", "gauge", "", 0.0),
        ("wordfreq_queue_oldest_message_age_seconds", "gauge", "seconds", 0.0),
        ("wordfreq_queue_messages_sent", "counter", "", 1.0),
        ("wordfreq_queue_messages_received", "counter", "", 1.0),
        ("wordfreq_queue_messages_deleted", "counter", "", 1.0),
        ("wordfreq_documents", "gauge", "", 1.0),
        ("wordfreq_documents_size_bytes", "gauge", "bytes", 21.0),
        ("wordfreq_documents_counted", "gauge", "", 1.0),
        ("wordfreq_fleet_desired_instances", "gauge", "", 1.0),
    ] {
        let (_, found_kind, found_unit, samples) = find(name);
        assert_eq!((found_kind.as_str(), found_unit.as_str(), samples[0].1), (kind, unit, value), "{name}");
    }
    assert_eq!(find("wordfreq_queue_messages").3.len(), 3);
    assert_eq!(find("wordfreq_build").1, "info");
    let alarms = &find("wordfreq_fleet_alarm_state").3;
    assert_eq!((alarms.len(), alarms.iter().map(|(_, value)| value).sum::<f64>()), (6, 2.0), "{alarms:?}");
    let requests = &find("wordfreq_http_requests").3;
    let puts = requests.iter().find(|(labels, _)| labels["method"] == "PUT").unwrap();
    assert_eq!((&puts.0["code"], puts.1), (&Value::from("201"), 1.0), "{requests:?}");
    assert!(families.iter().all(|family| family.0.starts_with("wordfreq_")));
}
