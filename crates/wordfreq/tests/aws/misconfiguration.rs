//! Wrong settings end a worker before it touches anything, with exit code 2 and the mend; what a service answers ends it
//! with 1.

use crate::MOTO;
use crate::support::proxy::Proxy;
use crate::world::Stack;

#[test]
fn what_is_missing_is_named_with_the_mend() {
    let proxy = Proxy::start(&MOTO.url);
    for (variable, setting) in [
        ("WORKER_QUEUE_URL", "aws.queue_url"),
        ("WORKER_RESULT_QUEUE_URL", "aws.result_queue_url"),
        ("WORKER_RESULT_TABLENAME", "aws.result_table"),
    ] {
        let mut stack = Stack::new(&MOTO, &proxy.url);
        stack.unset(variable);
        let mend = format!("set {variable}");
        stack.run(&["worker"]).code(2).says(&["error: ", setting, &mend]);
    }
    let mut stack = Stack::new(&MOTO, &proxy.url);
    stack.unset("AWS_REGION");
    stack.run(&["worker"]).code(2).says(&["error: no AWS region", "set AWS_REGION"]);
    let mut stack = Stack::new(&MOTO, &proxy.url);
    stack.unset("AWS_ACCESS_KEY_ID");
    stack.unset("AWS_SECRET_ACCESS_KEY");
    stack.run(&["worker"]).code(2).says(&[
        "error: no AWS credentials",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "give the instance a role",
    ]);
    assert_eq!(proxy.counts(), Default::default(), "nothing was asked of anyone");
}

#[test]
fn what_makes_no_sense_is_named_with_its_value_and_the_mend() {
    let proxy = Proxy::start(&MOTO.url);
    for (variable, value, mend) in [
        ("WORKER_QUEUE_URL", "jobs", "https://"),
        ("WORKER_QUEUE_URL", "", "https://"),
        ("WORKER_RESULT_QUEUE_URL", "arn:aws:sqs:us-east-1:123456789012:outcomes", "https://"),
        ("WORKER_RESULT_TABLENAME", "", "empty"),
        ("WORKER_COUNT", "0", "1 to 1024"),
        ("WORKER_COUNT", "two", "1 to 1024"),
        ("WORKER_MESSAGE_VISIBILITY", "0", "1 to 43200"),
        ("WORKER_MESSAGE_VISIBILITY", "43201", "1 to 43200"),
        ("WORKER_PROFILE", "french", "unicode"),
    ] {
        let mut stack = Stack::new(&MOTO, &proxy.url);
        stack.set(variable, value);
        let shown = format!("environment variable {variable} is `{value}`");
        stack.run(&["worker"]).code(2).says(&["error: ", &shown, mend]);
    }
    for (misspelt, meant) in [
        ("WORKER_PROFIL", "WORKER_PROFILE"),
        ("WORKER_QUEUE_URI", "WORKER_QUEUE_URL"),
        ("WORKER_RESULT_TABLE_NAME", "WORKER_RESULT_TABLENAME"),
    ] {
        let mut stack = Stack::new(&MOTO, &proxy.url);
        stack.set(misspelt, "x");
        let (unknown, did_you_mean) =
            (format!("unknown environment variable {misspelt}"), format!("did you mean {meant}?"));
        stack.run(&["worker"]).code(2).says(&[&unknown, &did_you_mean]);
    }
    assert_eq!(proxy.counts(), Default::default(), "nothing was asked of anyone");
}

#[test]
fn what_the_services_do_not_have_is_told_as_they_say_it() {
    let proxy = Proxy::start(&MOTO.url);
    let mut stack = Stack::new(&MOTO, &proxy.url);
    let missing = format!("{}-missing", stack.variable("WORKER_QUEUE_URL"));
    stack.set("WORKER_QUEUE_URL", missing.as_str());
    stack.run(&["worker"]).code(1).says(&["error: ", &missing]);

    // What only results need is looked at too, before a message is touched.
    let table = (
        &["error: ", "ResourceNotFoundException", "no-such-table"],
        "WORKER_RESULT_TABLENAME",
        "no-such-table".into(),
    );
    let outcomes = format!("{}-missing", stack.variable("WORKER_RESULT_QUEUE_URL"));
    let outcomes = (&["error: ", "outcomes", "-missing"], "WORKER_RESULT_QUEUE_URL", outcomes);
    for (says, variable, wrong) in [table, outcomes] {
        let mut stack = Stack::new(&MOTO, &proxy.url);
        stack.put("a", "some words");
        stack.set(variable, wrong);
        proxy.reset_counts();
        stack.run(&["worker"]).code(1).says(says);
        let counts = proxy.counts();
        assert!(!counts.contains_key("ReceiveMessage"), "{variable}: {counts:?}");
        assert_eq!(
            stack.cloud.depth(&stack.queues.url),
            [2, 0, 0],
            "the document's message, and the test event"
        );
    }
}

/// Nobody who has a queue in the environment for other reasons is moved to a cloud by it.
#[test]
fn a_data_directory_on_the_command_line_stays_embedded() {
    let proxy = Proxy::start(&MOTO.url);
    let stack = Stack::new(&MOTO, &proxy.url);
    let data = stack.path("data");
    let data = data.to_str().unwrap();
    stack.run(&["worker", "--data-dir", data]).code(1).says(&["error: ", data]);
    stack.write("a.txt", "some words");
    stack.run(&["upload", "a.txt", "--data-dir", data]).code(0);
    stack.run(&["up", "--exit-when-idle", "--data-dir", data]).code(0);
    let mut worker = crate::process::Running::start(stack.command(&["worker", "--data-dir", data], &[]));
    stack.write("b.txt", "more words");
    stack.run(&["upload", "b.txt", "--data-dir", data, "--wait"]).code(0).prints(&["counted"]);
    worker.wait_for_line(r#""document":"processing/b.txt""#);
    worker.drain();
    let listed = stack.run(&["results", "list", "--data-dir", data, "--format", "json"]).code(0).json();
    assert_eq!(listed["results"].as_array().unwrap().len(), 2);
    assert_eq!(proxy.counts(), Default::default(), "nothing was asked of AWS");
    // Without it they are on AWS, where there is nothing yet.
    let listed = stack.run(&["results", "list", "--format", "json"]).code(0).json();
    assert_eq!(listed["results"].as_array().unwrap().len(), 0);
    assert!(proxy.counts().contains_key("Scan"), "{:?}", proxy.counts());
}
