//! `wordfreq fleet` and `wordfreq top` on a data directory whose fleet is made up: what is printed, in which form, and
//! what is refused. The fleet that `up` runs is not here.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use wordfreq_core::scaling::{
    AlarmState, AlarmStatus, AlarmTransition, Bounds, Instance, InstanceState, Moment, ScalerState,
};
use wordfreq_pipeline::embedded::{
    AlarmRule, Deed, Embedded, End, IfMissing, Lock, NewActivity, News, Options, Sizing,
};
use wordfreq_pipeline::fleet::{ActivityStatus, Member};

use crate::program::{Program, hear_hang_ups};

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
        is_upper: true,
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
        service: Some(Duration::from_millis(12_500)),
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
    let end = |instance: &str, at, status, message: Option<&str>| End {
        instance: instance.into(),
        kind: Deed::Launch,
        at,
        status,
        message: message.map(Into::into),
    };
    let news = News {
        look: None,
        transitions: vec![transition],
        activities: vec![launch("w-1", at(0)), launch("w-2", at(60)), launch("w-3", at(61))],
        ends: vec![
            end("w-1", at(1), ActivityStatus::Successful, None),
            end("w-2", at(62), ActivityStatus::Failed, Some("it ended")),
        ],
    };
    history.record(&sizing(), &members, &news).unwrap();
    program
}

#[test]
fn the_status_of_a_fleet() {
    let program = with_a_fleet();
    // Nobody looks after a fleet whose `up` is gone.
    let csv = program.run(&["fleet", "status", "--format", "csv"]).done();
    assert_eq!(csv.matches(",Unknown,").count(), 3, "{csv}");
    let gone = program.run(&["fleet", "status"]).stderr;
    assert!(
        gone.ends_with("`wordfreq up` does not run: this is how its fleet stood at 2027-01-15T08:01:01Z\n"),
        "{gone}"
    );
    let _up = Lock::take(&program.path("wordfreq-data/up.lock")).unwrap().unwrap();
    let ended = program.run(&["fleet", "status"]);
    assert_eq!(
        ended.stderr,
        "plan classic, 1 to 5 instances: 3 desired, 2 in service, 1 pending, 0 terminating\n"
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
            "running": true, "service_seconds": 12.5, "at": "2027-01-15T08:01:01Z", "time_scale": 1.0,
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

/// A terminal that the test types at and reads.
struct Terminal {
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    /// The program's side.
    side: OwnedFd,
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Self {
        // The program must not hold the test's side, or it would never learn that the terminal is gone.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keys = openpt(flags).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let side = ioctl_tiocgptpeer(&keys, flags).unwrap();
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&side, size).unwrap();
        let keys = File::from(keys);
        let mut screen = keys.try_clone().unwrap();
        let (sender, receiver) = mpsc::channel();
        // Ends when nobody holds the program's side any more.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read) = screen.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keys, screen: receiver, seen: String::new(), side }
    }

    /// Runs `wordfreq top` here, in a session of its own: whoever runs the tests may sit at a terminal of another size.
    fn top(&self, program: &Program) -> Top {
        let side = || self.side.try_clone().unwrap();
        let top = Command::new("setsid")
            .args([env!("CARGO_BIN_EXE_wordfreq"), "top", "--interval", "100ms"])
            .current_dir(program.path(""))
            .env_clear()
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn();
        Top(top.unwrap())
    }

    /// Waits until the program has written this.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes =
                self.screen.recv_timeout(left).unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    fn local_modes(&self) -> LocalModes {
        tcgetattr(&self.side).unwrap().local_modes
    }
}

/// Does not outlive its test.
struct Top(Child);

impl Drop for Top {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_live_view_gives_the_terminal_back_however_it_ends() {
    const ALTERNATE_SCREEN: &str = "\x1b[?1049h";
    const USUAL_SCREEN: &str = "\x1b[?1049l";
    hear_hang_ups();
    let program = with_a_fleet();
    for end in ["q", "\x03", "TERM", "HUP"] {
        let mut terminal = Terminal::new(100, 30);
        let modes = terminal.local_modes();
        let mut top = terminal.top(&program);
        terminal.wait_for(ALTERNATE_SCREEN);
        terminal
            .wait_for("wordfreq top   UP DOES NOT RUN   plan classic, 1 to 5 instances   ./wordfreq-data");
        terminal.wait_for("=high\\u{1b}[2J\\tx");
        assert!(!terminal.local_modes().contains(LocalModes::ICANON), "{end}");
        if end.len() == 1 {
            terminal.keys.write_all(end.as_bytes()).unwrap();
        } else {
            let killed = Command::new("kill").args(["-s", end, &top.0.id().to_string()]).status().unwrap();
            assert!(killed.success());
        }
        terminal.wait_for(USUAL_SCREEN);
        assert_eq!(top.0.wait().unwrap().code(), Some(0), "{end}");
        assert_eq!(terminal.local_modes(), modes, "{end}");
    }
}

#[test]
fn the_live_view_says_when_its_terminal_is_too_small() {
    let program = with_a_fleet();
    let mut terminal = Terminal::new(60, 10);
    let mut top = terminal.top(&program);
    // What separates words need not be written on an empty screen.
    for word in ["60x10", "small:", "needs", "80x24"] {
        terminal.wait_for(word);
    }
    tcsetwinsize(&terminal.side, Winsize { ws_col: 80, ws_row: 24, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    terminal.wait_for("UP DOES NOT RUN");
    terminal.keys.write_all(b"-").unwrap();
    // The middle of the charts, which was -2m30s.
    terminal.wait_for("-30s");
    terminal.keys.write_all(b"\x1b").unwrap();
    assert_eq!(top.0.wait().unwrap().code(), Some(0));
}
