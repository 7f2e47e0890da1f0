//! `wordfreq fleet` and `wordfreq top` on a data directory whose fleet is made up: what is printed, in which form, and
//! what is refused. The fleet that `up` runs is not here.

use std::time::Duration;

use wordfreq_core::scaling::{
    AlarmState, AlarmStatus, AlarmTransition, Bounds, Instance, InstanceState, Moment, ScalerState,
};
use wordfreq_pipeline::embedded::{AlarmRule, Deed, Embedded, IfMissing, NewActivity, Options, Sizing};
use wordfreq_pipeline::fleet::{ActivityStatus, Member};

use crate::program::Program;

/// 2027-01-15T08:00:00Z
const START: Moment = Moment::from_secs(1_800_000_000);
const HOSTILE: &str = "=high\x1b[2J\tx";

fn at(seconds: u64) -> Moment {
    START + Duration::from_secs(seconds)
}

fn member(id: &str, state: InstanceState, launched_at: Moment) -> Member {
    let mut member = Member::pending(id.into(), launched_at);
    let Instance { state: own, in_service_at, .. } = &mut member.instance;
    (*own, *in_service_at) =
        (state, (state != InstanceState::Pending).then_some(launched_at + Duration::from_secs(1)));
    member
}

fn launch(id: &str, at: Moment) -> NewActivity {
    NewActivity {
        at,
        instance: id.into(),
        kind: Deed::Launch,
        description: format!("Launching a new instance: {id}"),
        cause:
            "At 2027-01-15T08:01:00Z a monitor alarm backlog-high in state ALARM triggered policy add-one \
                changing the desired capacity from 1 to 2."
                .into(),
        message: None,
    }
}

fn sizing() -> Sizing {
    let alarm = |name: &str, state, value| AlarmStatus {
        name: name.into(),
        state,
        since: Some(at(60)),
        reason: "Threshold Crossed: 1 datapoint was greater than the threshold".into(),
        value,
        called: None,
    };
    let rule = |name: &str, threshold| AlarmRule {
        name: name.into(),
        metric: "ApproximateNumberOfMessagesVisible".into(),
        threshold,
        condition: format!(
            "Average ApproximateNumberOfMessagesVisible GreaterThanThreshold {threshold}, 1 of 1 of 60s"
        ),
    };
    Sizing {
        plan: "classic".into(),
        bounds: Bounds { min: 1, max: 5 },
        rules: vec![rule(HOSTILE, 50.0), rule("backlog-low", 20.0)],
        state: ScalerState {
            desired: 3,
            scheduled: None,
            ticked: at(60),
            alarms: vec![
                alarm(HOSTILE, AlarmState::Alarm, Some(126.456)),
                AlarmStatus { since: None, ..alarm("backlog-low", AlarmState::InsufficientData, None) },
            ],
            scale_outs: Vec::new(),
            cooldown: None,
            changes: Vec::new(),
        },
        at: at(61),
        wall: 1_800_000_061_000,
        scale: 1.0,
    }
}

fn open(program: &Program) -> Embedded {
    Embedded::open(&program.path("wordfreq-data"), IfMissing::Create, Options::default()).unwrap()
}

/// A data directory with a fleet of three, one of which is not well.
fn with_a_fleet() -> Program {
    let program = Program::new();
    let history = open(&program).history;
    let mut first = member("w-1", InstanceState::InService, at(0));
    (first.process, first.held, first.documents) = (Some(4711), 2, 17);
    let mut second = member("w-2", InstanceState::InService, at(60));
    (second.instance.healthy, second.note) = (false, Some("its process ended: signal 9".into()));
    let members = [first, second, member("w-3", InstanceState::Pending, at(61))];
    let transition = AlarmTransition {
        at: at(60),
        alarm: HOSTILE.into(),
        from: AlarmState::Ok,
        to: AlarmState::Alarm,
        reason: "Threshold Crossed".into(),
        value: Some(126.456),
    };
    let activities = [launch("w-1", at(0)), launch("w-2", at(60)), launch("w-3", at(61))];
    history.record(&sizing(), &members, None, &[transition], &activities).unwrap();
    history.end_activity("w-1", Deed::Launch, at(1), ActivityStatus::Successful, None).unwrap();
    history.end_activity("w-2", Deed::Launch, at(62), ActivityStatus::Failed, Some("it ended")).unwrap();
    program
}

#[test]
fn the_status_of_a_fleet() {
    let program = with_a_fleet();
    let ended = program.run(&["fleet", "status"]);
    assert_eq!(
        ended.stderr,
        "plan classic, 1 to 5 instances: 3 desired, 2 in service, 1 pending, 0 terminating\n\
         `wordfreq up` does not run: this is how its fleet stood at 2027-01-15T08:01:01Z\n"
    );
    let rows: Vec<Vec<_>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[1],
        [
            "w-1",
            "InService",
            "Healthy",
            "4711",
            "2027-01-15T08:00:00Z",
            "2027-01-15T08:00:01Z",
            "2",
            "17",
            "-"
        ]
    );
    let csv = program.run(&["fleet", "status", "--format", "csv"]).done();
    assert_eq!(
        csv,
        "id,state,health,process,launched_at,in_service_since,held,documents,note\n\
         w-1,InService,Healthy,4711,2027-01-15T08:00:00Z,2027-01-15T08:00:01Z,2,17,\n\
         w-2,InService,Unhealthy,,2027-01-15T08:01:00Z,2027-01-15T08:01:01Z,0,0,its process ended: signal 9\n\
         w-3,Pending,Healthy,,2027-01-15T08:01:01Z,,0,0,\n"
    );
    let status = program.run(&["fleet", "status", "--format", "json"]).json();
    let instances = status["instances"].as_array().unwrap();
    assert_eq!((instances.len(), &instances[2]["in_service_since"]), (3, &serde_json::Value::Null));
    let mut summary = status.clone();
    summary.as_object_mut().unwrap().remove("instances");
    assert_eq!(
        summary,
        serde_json::json!({
            "plan": "classic", "min": 1, "max": 5, "desired": 3, "in_service": 2, "pending": 1, "terminating": 0,
            "running": false, "at": "2027-01-15T08:01:01Z", "time_scale": 1.0,
        })
    );
}

#[test]
fn activities_come_newest_first() {
    let program = with_a_fleet();
    let all = program.run(&["fleet", "activity", "--format", "json"]).json();
    let activities = all["activities"].as_array().unwrap();
    let told: Vec<_> = activities
        .iter()
        .map(|activity| {
            ["instance", "status", "ended_at"].map(|field| activity[field].as_str().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        told,
        [
            ["w-3", "InProgress", "-"],
            ["w-2", "Failed", "2027-01-15T08:01:02Z"],
            ["w-1", "Successful", "2027-01-15T08:00:01Z"],
        ]
    );
    assert_eq!(activities[1]["message"], "it ended");
    let cause = activities[0]["cause"].as_str().unwrap();
    assert!(cause.starts_with("At 2027-01-15T08:01:00Z a monitor alarm backlog-high"), "{cause}");
    let newest = program.run(&["fleet", "activity", "--top", "1", "--format", "tsv"]);
    assert_eq!(newest.stdout.lines().count(), 2, "{}", newest.stdout);
    assert_eq!(newest.stderr, "there are older ones: --top N or --all prints them\n");
    assert_eq!(program.run(&["fleet", "activity", "--all"]).done().lines().count(), 4);
}

#[test]
fn alarms_and_their_history() {
    let program = with_a_fleet();
    let alarms = program.run(&["fleet", "alarms", "--format", "json"]).json();
    assert_eq!(
        alarms["alarms"][0],
        serde_json::json!({
            "name": HOSTILE, "state": "ALARM", "since": "2027-01-15T08:01:00Z", "value": 126.456,
            "rule": "Average ApproximateNumberOfMessagesVisible GreaterThanThreshold 50, 1 of 1 of 60s",
            "reason": "Threshold Crossed: 1 datapoint was greater than the threshold",
        })
    );
    let table = program.run(&["fleet", "alarms"]).done();
    assert!(table.contains("=high\\u{1b}[2J\\tx  ALARM") && table.contains("126.46"), "{table}");
    assert!(
        table.lines().nth(2).unwrap().starts_with("backlog-low        INSUFFICIENT_DATA  -  "),
        "{table}"
    );
    let csv = program.run(&["fleet", "alarms", "--history", "--format", "csv"]).done();
    assert_eq!(
        csv,
        format!(
            "at,alarm,from,to,value,reason\n2027-01-15T08:01:00Z,'{HOSTILE},OK,ALARM,126.46,Threshold Crossed\n"
        )
    );
    let refused = program.run(&["fleet", "alarms", "--top", "1"]).ended(2);
    assert!(refused.contains("add --history"), "{refused}");
}

#[test]
fn where_no_fleet_ever_was_it_says_how_to_start_one() {
    let program = Program::new();
    for command in ["status", "activity", "alarms"] {
        let missing = program.run(&["fleet", command]).ended(1);
        assert!(missing.contains("there is no data directory at ./wordfreq-data"), "{missing}");
    }
    drop(open(&program));
    for command in ["status", "activity", "alarms"] {
        let empty = program.run(&["fleet", command]).ended(1);
        let mend = "start one with `wordfreq up --data-dir ./wordfreq-data`";
        assert!(empty.contains("no fleet has run on ./wordfreq-data yet") && empty.contains(mend), "{empty}");
    }
}

#[test]
fn on_aws_the_fleet_is_somebody_elses() {
    let program = Program::new();
    for command in ["status", "activity", "alarms"] {
        let refused = program.run(&["fleet", command, "--backend", "aws"]).ended(2);
        assert!(refused.contains("EC2 Auto Scaling group"), "{refused}");
    }
}

#[test]
fn the_live_view_needs_a_terminal() {
    let program = with_a_fleet();
    let refused = program.run(&["top"]).ended(2);
    assert!(refused.contains("use `wordfreq fleet status` and `wordfreq queue status`"), "{refused}");
    let refused = program.run(&["top", "--interval", "1ms"]).ended(2);
    assert!(refused.contains("is not from 100ms to 1min"), "{refused}");
}
