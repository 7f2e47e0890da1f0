//! Worker processes as a fleet. The workers are shell scripts that say what a worker says, so that a test decides what
//! each does; the program's own workers are under test in `wordfreq`.

use std::cell::RefCell;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use wordfreq_core::scaling::InstanceState;
use wordfreq_pipeline::conformance::fleet::{Subject, check_all};
use wordfreq_pipeline::embedded::{Changed, LaunchTemplate, ProcessFleet};
use wordfreq_pipeline::fleet::{Clock, Fleet as _, Member};
use wordfreq_pipeline::{BackendError, ErrorKind};

/// Says that it is idle, and goes when its standard input ends.
const WORKER: &str = "echo heartbeat held=0 settled=0; cat > /dev/null";

const GUARD: Duration = Duration::from_secs(60);

struct Fixture {
    fleet: ProcessFleet,
    changes: Receiver<Changed>,
    heard: RefCell<Vec<Changed>>,
}

fn fixture(script: &str, change: impl Fn(&mut LaunchTemplate)) -> Fixture {
    let mut template = LaunchTemplate {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Vec::new(),
        memory: None,
        cpus: None,
        grace: GUARD,
        protect: true,
    };
    change(&mut template);
    let (sender, changes) = mpsc::channel();
    // At the end of a test nobody listens any more.
    let changed = move |what| sender.send(what).unwrap_or(());
    let fleet = ProcessFleet::new(template, Clock::of_the_wall(), changed);
    Fixture { fleet, changes, heard: RefCell::default() }
}

impl Fixture {
    fn until(&self, what: &str, is_so: impl Fn(&[Member]) -> bool) -> Vec<Member> {
        let deadline = Instant::now() + GUARD;
        loop {
            let members = self.fleet.members().unwrap();
            if is_so(&members) {
                return members;
            }
            assert!(Instant::now() < deadline, "never so: {what}: {members:#?}");
            self.wait(Duration::from_millis(100));
        }
    }

    fn launch(&self, count: u32) -> Result<Vec<String>, BackendError> {
        let mut ids = Vec::new();
        self.fleet.launch(count, &mut |planned| ids.extend_from_slice(planned)).map(|()| ids)
    }

    fn wait(&self, most: Duration) {
        self.heard.borrow_mut().extend(self.changes.recv_timeout(most).ok());
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.fleet.kill_all();
    }
}

/// As whoever owns the size does: who is lost is let go, and another launched.
fn replace(fixture: &Fixture) -> Result<Vec<String>, BackendError> {
    let members = fixture.until("lost", |members| members.iter().any(|member| !member.instance.healthy));
    let lost = members.into_iter().filter(|member| !member.instance.healthy);
    let ids: Vec<_> = lost.map(|member| member.instance.id).collect();
    fixture.fleet.terminate(&ids).unwrap();
    fixture.launch(1)
}

fn kill(member: &Member) {
    let id = member.process.expect("a process");
    let pid = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn it_keeps_the_contract() {
    let fixture = fixture(WORKER, |_| {});
    check_all(&Subject { fleet: &fixture.fleet, wait: &|most| fixture.wait(most), crash: &kill });
}

#[test]
fn who_holds_messages_is_busy_and_protected_and_tells_when_it_is_idle_again() {
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let script = format!(
        "mkfifo {go}; echo heartbeat held=3 settled=0; cat {go}; echo heartbeat held=0 settled=3; cat > /dev/null",
        go = go.display()
    );
    for protect in [true, false] {
        let fixture = fixture(&script, |template| template.protect = protect);
        fixture.launch(1).unwrap();
        let busy = &fixture.until("busy", |members| members[0].instance.busy)[0];
        assert_eq!((busy.held, busy.documents, busy.instance.protected), (3, 0, protect));
        assert_eq!(busy.instance.state, InstanceState::InService);
        fixture.until("the news", |_| fixture.heard.borrow().contains(&Changed::State));
        assert!(!fixture.heard.borrow().contains(&Changed::Idle));
        std::fs::write(&go, "").unwrap();
        let idle = &fixture.until("idle", |members| !members[0].instance.busy)[0];
        assert_eq!((idle.held, idle.documents, idle.instance.protected), (0, 3, false));
        fixture.until("the news", |_| fixture.heard.borrow().contains(&Changed::Idle));
        std::fs::remove_file(&go).unwrap();
    }
}

#[test]
fn who_falls_silent_is_lost_and_who_falls_silent_while_it_drains_is_stopped() {
    let silent = "echo heartbeat held=1 settled=0; exec tail -f /dev/null";
    let fixture = fixture(silent, |template| template.grace = Duration::from_millis(300));
    let ids = fixture.launch(2).unwrap();
    // The first is asked to go while it is well, and does not.
    fixture.until("in service", |members| members.iter().all(|member| member.instance.busy));
    fixture.fleet.terminate(&ids[..1]).unwrap();
    let members = fixture.until("gone", |members| members.iter().all(|member| member.instance.id != ids[0]));
    let lost = match &members[..] {
        [one] if !one.instance.healthy => one.clone(),
        _ => fixture.until("lost", |members| members.iter().any(|one| !one.instance.healthy))[0].clone(),
    };
    assert!(lost.note.as_ref().unwrap().contains("no sign of life"), "{lost:?}");
    fixture.fleet.terminate(&ids[1..]).unwrap();
    fixture.until("stopped without asking", <[Member]>::is_empty);
}

#[test]
fn workers_that_refuse_as_soon_as_they_start_are_given_up_and_those_that_crash_are_not() {
    let refusing = fixture("echo heartbeat held=0 settled=0; exit 2", |_| {});
    refusing.launch(1).unwrap();
    let error = (0..10).find_map(|_| replace(&refusing).err()).expect("given up");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("exit status: 2"), "{error}");

    let crashing = fixture("kill -9 $$", |_| {});
    crashing.launch(1).unwrap();
    let began = Instant::now();
    for _ in 0..6 {
        replace(&crashing).unwrap();
    }
    crashing.until("the last is lost", |members| !members[0].instance.healthy);
    // 50, 100, 200, 400, 800 and 1,600 ms of pause, each at most once.
    assert!(began.elapsed() >= Duration::from_millis(1500), "without a pause: {:?}", began.elapsed());
}

#[test]
fn what_is_no_program_is_tried_a_few_times_as_a_program_may_be_replaced_at_this_moment() {
    let fixture = fixture("", |template| template.program = "/nowhere/worker".into());
    fixture.launch(1).unwrap();
    let mut tries = 0;
    let error = loop {
        tries += 1;
        match replace(&fixture) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(tries, 5);
    assert!(error.to_string().contains("/nowhere/worker"), "{error}");
}

#[test]
fn one_that_refuses_among_those_that_work_ends_nobody_and_is_tried_ever_more_slowly() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken");
    let script = format!("test -e {} && exit 2; {WORKER}", broken.display());
    let fixture = fixture(&script, |_| {});
    fixture.launch(2).unwrap();
    let in_service = |members: &[Member]| {
        members.iter().filter(|one| one.instance.state == InstanceState::InService).count()
    };
    let first = fixture.until("in service", |members| in_service(members) == 2)[0].clone();
    std::fs::write(&broken, "").unwrap();
    kill(&first);
    let began = Instant::now();
    for _ in 0..7 {
        replace(&fixture).unwrap();
    }
    fixture.until("lost again", |members| members.iter().any(|member| !member.instance.healthy));
    assert!(began.elapsed() >= Duration::from_millis(3000), "without a pause: {:?}", began.elapsed());
    assert_eq!(fixture.fleet.members().unwrap().len(), 2, "the other is as it was");
    std::fs::remove_file(&broken).unwrap();
    replace(&fixture).unwrap();
    fixture.until("in service", |members| in_service(members) == 2);
}

#[test]
fn the_template_gives_arguments_and_environment_and_strange_words_are_no_heartbeat() {
    let directory = tempfile::tempdir().unwrap();
    let said = directory.path().join("said");
    let script = "echo nonsense; echo heartbeat held=-1 settled=x; echo \"$WORDS\" > \"$0\"; cat > /dev/null";
    let fixture = fixture(script, |template| {
        template.arguments.push(said.clone().into());
        template.environment.push(("WORDS".into(), "and their number".into()));
    });
    let ids = fixture.launch(1).unwrap();
    let is_said = |path: &Path| std::fs::read_to_string(path).is_ok_and(|said| said == "and their number\n");
    let members = fixture.until("it has run", |_| is_said(&said));
    assert_eq!(members[0].instance.state, InstanceState::Pending, "nothing it said was a sign of life");
    fixture.fleet.terminate(&ids).unwrap();
    fixture.until("gone", <[Member]>::is_empty);
}
