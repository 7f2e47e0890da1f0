//! The fleet of `up` as its user sees it: whatever is killed, it comes back to its size, the activity log tells why, and
//! every document is done once.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::Value;
use wordfreq_core::ProfileName;

use crate::oracle::Random;
use crate::system::{Running, System, is_kill, send};

const FIXED: [&str; 5] = ["up", "--preset", "fixed", "--max", "3"];

/// `null` before `up` has put down its first words.
fn status(system: &System) -> Value {
    let ended = system.run(&["fleet", "status", "--format", "json"]);
    if ended.status.success() { ended.json() } else { Value::Null }
}

fn activities(system: &System) -> Vec<Value> {
    let json = system.run(&["fleet", "activity", "--all", "--format", "json"]).code(0).json();
    // Newest first, as printed; here in the order of events.
    json["activities"].as_array().unwrap().iter().rev().cloned().collect()
}

fn num_in_service(status: &Value) -> usize {
    let instances = status["instances"].as_array().into_iter().flatten();
    instances.filter(|one| one["state"] == "InService" && one["health"] == "Healthy").count()
}

/// Waits for lines of the log of `up`, and looks at each.
fn until(up: &mut Running, system: &System, what: &str, is_so: impl Fn(&Value) -> bool) {
    for _ in 0..600 {
        if is_so(&status(system)) {
            return;
        }
        up.read_on(std::time::Duration::from_millis(100));
    }
    panic!("never so: {what}: {:#}\n{}", status(system), up.log.join("\n"));
}

fn count(activities: &[Value], description: &str, cause: &str) -> usize {
    let has = |one: &&Value, field: &str, part: &str| one[field].as_str().unwrap().contains(part);
    activities.iter().filter(|one| has(one, "description", description) && has(one, "cause", cause)).count()
}

fn num_terminated(activities: &[Value], message: &str) -> usize {
    let is = |one: &&Value| {
        one["description"].as_str().unwrap().starts_with("Terminating")
            && one["message"].as_str().is_some_and(|text| text.contains(message))
    };
    activities.iter().filter(is).count()
}

#[test]
fn whatever_is_killed_the_fleet_comes_back_to_its_size_and_the_log_tells_why() {
    let system = System::new().with_short_leases().with_variable("WORDFREQ_QUEUE_MAX_RECEIVE_COUNT", "1000");
    let mut random = Random(7);
    let mut documents = BTreeMap::new();
    for number in 0..400 {
        documents.insert(format!("{number:03}.txt"), random.document());
    }
    for (key, bytes) in &documents {
        system.write(&format!("all/{key}"), bytes);
    }
    system.upload(&["all"]);
    let mut up = system.start(&FIXED, &[("WORDFREQ_QUEUE_BATCH", "4")]);
    for _ in 0..5 {
        let workers = up.wait_for_workers(3);
        send(workers[random.below(3)], Signal::KILL);
        let killed = up.num_killed_workers();
        up.wait_for_killed_workers(killed + 1);
    }
    until(&mut up, &system, "three again", |status| num_in_service(status) == 3);
    up.signal(Signal::KILL);
    assert!(is_kill(up.wait_for_end()));
    up.wait_until_all_are_gone();

    // The next one goes on from where it was.
    let mut up = system.start(&FIXED, &[]);
    // Until it has put down its first words the old ones stand there.
    until(&mut up, &system, "the old ones are buried", |_| {
        count(&activities(&system), "Terminating instance", "was found to have ended") == 3
    });
    until(&mut up, &system, "three at the next", |status| num_in_service(status) == 3);
    let log = activities(&system);
    let launch = "Launching a new instance";
    assert_eq!(count(&log, launch, "a user request created an AutoScalingGroup"), 3, "{log:#?}");
    assert_eq!(
        count(&log, launch, "in response to an unhealthy instance needing to be replaced"),
        5,
        "{log:#?}"
    );
    assert_eq!(count(&log, "Terminating instance", "in response to a health check"), 5, "{log:#?}");
    assert_eq!(count(&log, "Terminating instance", "was found to have ended"), 3, "{log:#?}");
    assert_eq!(
        count(&log, launch, "difference between desired and actual capacity, increasing"),
        6,
        "{log:#?}"
    );
    assert_eq!(num_terminated(&log, "signal: 9"), 5, "{log:#?}");
    assert!(log.iter().all(|one| one["status"] != "InProgress"), "{log:#?}");
    up.signal(Signal::TERM);
    assert!(up.wait_for_end().success());
    assert_eq!(count(&activities(&system), "Terminating instance", "was asked to stop"), 3);
    assert_eq!(status(&system)["instances"].as_array().unwrap().len(), 0);
    system.run_until_idle(&[]);
    system.assert_holds(ProfileName::Unicode, &documents);
}

#[test]
fn what_is_launched_is_in_the_log_before_it_begins() {
    let system = System::new();
    let mut up = system.start(&FIXED, &[("WORDFREQ_FAILPOINTS", "fleet.before_launch=kill@1")]);
    assert!(is_kill(up.wait_for_end()));
    let log = activities(&system);
    assert_eq!(count(&log, "Launching a new instance", "created an AutoScalingGroup"), 3, "{log:#?}");
    assert!(log.iter().all(|one| one["status"] == "InProgress"), "{log:#?}");
    let mut next = system.start(&FIXED, &[]);
    until(&mut next, &system, "three", |status| num_in_service(status) == 3);
    next.signal(Signal::TERM);
    assert!(next.wait_for_end().success());
    let log = activities(&system);
    assert_eq!(log.iter().filter(|one| one["status"] == "Failed").count(), 3, "{log:#?}");
}

#[test]
fn a_worker_that_hangs_is_replaced_and_what_it_held_is_done() {
    let system = System::new().with_short_leases();
    let mut up = system.start(&FIXED, &[("WORDFREQ_FLEET_GRACE_SECONDS", "8")]);
    let workers = up.wait_for_workers(3);
    send(workers[1], Signal::STOP);
    up.wait_for_line("worker lost");
    // It cannot drain: it is killed.
    up.wait_for_killed_workers(1);
    up.wait_for_workers(3);
    until(&mut up, &system, "three again", |status| num_in_service(status) == 3);
    let log = activities(&system);
    assert_eq!(num_terminated(&log, "no sign of life"), 1, "{log:#?}");
    up.signal(Signal::TERM);
    assert!(up.wait_for_end().success());
}

#[test]
fn an_empty_fleet_wakes_for_one_document_and_goes_to_sleep_again() {
    let system = System::new();
    let mut up = system.start(&["up", "--min", "0", "--max", "2", "--time-scale", "60"], &[]);
    until(&mut up, &system, "empty", |status| status["desired"] == 0);
    system.write("a.txt", b"good morning");
    system.run(&["upload", "a.txt", "--wait", "--timeout", "60s"]).code(0);
    until(&mut up, &system, "empty again", |status| {
        status["desired"] == 0 && status["instances"].as_array().unwrap().is_empty()
    });
    let log = activities(&system);
    let woken = count(&log, "Launching a new instance", "changing the desired capacity from 0 to 1");
    assert_eq!(woken, 1, "{log:#?}");
    assert_eq!(count(&log, "Terminating instance", "AlarmLow in state ALARM"), 1, "{log:#?}");
    up.signal(Signal::TERM);
    assert!(up.wait_for_end().success());
}

#[test]
fn an_empty_fleet_wakes_by_the_message_and_not_by_its_next_look() {
    // Without alarms it looks once a minute.
    let system = System::new();
    system.write("none.toml", b"min = 0\nmax = 1\n");
    let mut up = system.start(&["up", "--plan", "none.toml"], &[]);
    until(&mut up, &system, "empty", |status| status["desired"] == 0);
    let began = std::time::Instant::now();
    system.write("a.txt", b"good morning");
    system.run(&["upload", "a.txt", "--wait", "--timeout", "60s"]).code(0);
    up.signal(Signal::TERM);
    assert!(up.wait_for_end().success());
    // A look in between may have found it: one in six times, and then this says nothing.
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_worker_that_outlives_its_up_is_counted_until_it_is_gone() {
    let system = System::new();
    system.write("slow.txt", b"takes its time");
    system.upload(&["slow.txt"]);
    let slow = ["up", "--preset", "fixed", "--max", "1", "--work", "4s"];
    let mut up = system.start(&slow, &[]);
    until(&mut up, &system, "at work", |status| status["instances"][0]["held"] == 1);
    up.signal(Signal::KILL);
    assert!(is_kill(up.wait_for_end()));
    let mut next = system.start(&slow, &[]);
    until(&mut next, &system, "both", |status| {
        status["terminating"] == 1 && num_in_service(status) == 1 && status["instances"][0]["held"] == 1
    });
    until(&mut next, &system, "the new one alone", |status| {
        status["terminating"] == 0 && num_in_service(status) == 1
    });
    next.signal(Signal::TERM);
    assert!(next.wait_for_end().success());
    assert_eq!(system.list().len(), 1);
}

#[test]
fn documents_that_take_long_get_more_workers_though_nobody_said_how_long() {
    let system = System::new();
    for number in 0..60 {
        system.write(&format!("all/{number}.txt"), b"a slow one");
    }
    system.upload(&["all"]);
    // At the 10 ms that a document is taken to need at first, 60 would be no reason for a second worker.
    let args = ["up", "--max", "4", "--acceptable-latency", "2min", "--work", "15s", "--time-scale", "60"];
    let mut up = system.start(&args, &[("WORDFREQ_QUEUE_BATCH", "1")]);
    until(&mut up, &system, "four", |status| num_in_service(status) == 4);
    let service = status(&system)["service_seconds"].as_f64().unwrap();
    // A quarter of a second on a busy machine is another 15 of the fleet's.
    assert!((10.0..150.0).contains(&service), "{service}");
    until(&mut up, &system, "one again", |status| status["desired"] == 1 && num_in_service(status) == 1);
    up.signal(Signal::TERM);
    assert!(up.wait_for_end().success());
    assert_eq!(system.list().len(), 60);
}

#[test]
fn a_document_that_needs_more_memory_than_a_worker_may_have_takes_nobody_with_it() {
    let system = System::new()
        .with_short_leases()
        .with_variable("WORDFREQ_FLEET_WORKER_MEMORY", "96MiB")
        .with_variable("WORDFREQ_FLEET_WORKER_CPUS", "1");
    // Three million different words.
    let mut huge = String::new();
    for number in 0..3_000_000 {
        huge.push_str(&format!("w{number:x} "));
    }
    system.write("huge.txt", huge.as_bytes());
    system.write("small.txt", b"fits");
    system.upload(&["huge.txt", "small.txt"]);
    let ended = system.run(&["up", "--exit-when-idle", "--max", "2"]).code(3);
    ended.says(&["failed: processing/huge.txt: received 5 times", "worker died"]);
    assert_eq!(system.list().keys().collect::<Vec<_>>(), ["small.txt"]);
}
