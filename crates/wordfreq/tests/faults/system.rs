//! Runs the program as real processes on a data directory of its own, and waits for what they say or how they end,
//! never for time to pass. Deadlines are only guards: a test that meets one has failed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;
use wordfreq_core::ProfileName;

use crate::oracle;

/// Far longer than anything takes on a loaded machine.
const GUARD: Duration = Duration::from_secs(120);

/// A data directory, a directory to watch, a home and a working directory, all gone when the test ends.
pub(crate) struct System {
    directory: TempDir,
    data: PathBuf,
    variables: Vec<(&'static str, String)>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What was run; a failed assertion shows it.
    #[expect(dead_code, reason = "read by the derived `Debug` only")]
    command: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    pub(crate) fn was_killed(&self) -> bool {
        is_kill(self.status)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Standard error says all of this.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stderr.contains(part), "nothing of {part:?} in: {self:#?}");
        }
    }
}

pub(crate) fn is_kill(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

impl System {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["home", "work", "watched"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let data = directory.path().join("data");
        Self { directory, data, variables: Vec::new() }
    }

    /// With its data directory elsewhere, for example on a small disk.
    pub(crate) fn with_data(mut self, data: PathBuf) -> Self {
        self.data = data;
        self
    }

    /// With this variable in the environment of every process.
    pub(crate) fn with_variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Leases of one second, the shortest there are.
    pub(crate) fn with_short_leases(self) -> Self {
        self.with_variable("WORDFREQ_QUEUE_VISIBILITY_TIMEOUT_SECONDS", "1")
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn watched(&self) -> PathBuf {
        self.directory.path().join("watched")
    }

    /// A path in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("work").join(name)
    }

    /// Writes a file in the working directory, whose parents are made.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The program with `--data-dir` after `args`, and nothing in its environment but what this system puts there.
    pub(crate) fn command(&self, args: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wordfreq"));
        command.args(args).arg("--data-dir").arg(&self.data);
        self.prepare(&mut command, variables);
        command
    }

    pub(crate) fn prepare(&self, command: &mut Command, variables: &[(&str, &str)]) {
        command
            .current_dir(self.path(""))
            .env_clear()
            // Tests run side by side, and there is one default port.
            .env("WORDFREQ_SERVER_LISTEN", "none")
            .env("HOME", self.directory.path().join("home"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, &[])
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Ended {
        run(self.command(args, variables))
    }

    /// Starts it, to be watched.
    pub(crate) fn start(&self, args: &[&str], variables: &[(&str, &str)]) -> Running {
        Running::start(self.command(args, variables))
    }

    /// `up --exit-when-idle`, which must end well.
    #[track_caller]
    pub(crate) fn run_until_idle(&self, args: &[&str]) -> Ended {
        let args = [&["up", "--exit-when-idle", "--max", "2"], args].concat();
        self.run(&args).code(0)
    }

    /// Uploads files of the working directory, which must be accepted.
    #[track_caller]
    pub(crate) fn upload(&self, names: &[&str]) {
        self.run(&[&["upload"], names].concat()).code(0);
    }

    /// `results list`, by key.
    #[track_caller]
    pub(crate) fn list(&self) -> BTreeMap<String, Value> {
        let listed = self.run(&["results", "list", "--all", "--format", "json"]).code(0).json();
        let mut by_key = BTreeMap::new();
        for row in listed["results"].as_array().unwrap() {
            let twice = by_key.insert(row["key"].as_str().unwrap().to_owned(), row.clone());
            assert_eq!(twice, None, "listed twice");
        }
        by_key
    }

    #[track_caller]
    pub(crate) fn show(&self, key: &str) -> Value {
        let name = format!("processing/{key}");
        let args = ["results", "show", &name, "--all", "--format", "json"];
        self.run(&args).code(0).json()
    }

    #[track_caller]
    pub(crate) fn totals(&self) -> Value {
        let args = ["results", "totals", "--all", "--format", "json"];
        self.run(&args).code(0).json()
    }

    /// `queue status`: how many messages stand in this column.
    #[track_caller]
    pub(crate) fn depth(&self, column: &str) -> u64 {
        let status = self.run(&["queue", "status", "--format", "json"]).code(0).json();
        status[column].as_u64().unwrap()
    }

    #[track_caller]
    pub(crate) fn dead_letters(&self) -> Vec<Value> {
        let letters = self.run(&["queue", "dead-letters", "--format", "json"]).code(0).json();
        letters["dead_letters"].as_array().unwrap().clone()
    }

    /// Asks again and again until it is so; what is asked takes its time by itself.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < GUARD, "never so: {what}");
        }
    }

    /// The results are those of exactly these documents, the queue is empty, and nothing else is stored.
    #[track_caller]
    pub(crate) fn assert_holds(&self, profile: ProfileName, documents: &BTreeMap<String, Vec<u8>>) {
        let listed = self.list();
        let (listed, expected): (Vec<_>, Vec<_>) = (listed.keys().collect(), documents.keys().collect());
        assert_eq!(listed, expected, "documents");
        for (key, bytes) in documents {
            assert_eq!(self.show(key), oracle::report(profile, [&bytes[..]]), "the result of {key}");
        }
        assert_eq!(
            self.totals(),
            oracle::report(profile, documents.values().map(Vec::as_slice)),
            "the totals"
        );
        for column in ["visible", "in_flight", "delayed", "dead_letters"] {
            assert_eq!(self.depth(column), 0, "{column}");
        }
        let mut contents: Vec<_> = documents.values().collect();
        contents.sort_unstable();
        contents.dedup();
        assert_eq!(self.stored("objects").len(), contents.len(), "objects");
        assert_eq!(self.stored("incoming"), [] as [String; 0], "bytes on their way in");
    }

    /// The names in a part of the data directory.
    pub(crate) fn stored(&self, part: &str) -> Vec<String> {
        fs::read_dir(self.data.join(part))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let stdout = thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut running = Running::follow(child);
    let status = running.wait_for_end();
    running.wait_until_all_are_gone();
    Ended {
        status,
        stdout: String::from_utf8(stdout.join().unwrap()).unwrap(),
        stderr: running.log.join("\n"),
        command: format!("{command:?}"),
    }
}

/// A process, and the workers it started.
pub(crate) struct Running {
    pub(crate) pid: Pid,
    events: Receiver<Event>,
    /// Every line of standard error so far, the workers' included.
    pub(crate) log: Vec<String>,
    status: Option<ExitStatus>,
    is_closed: bool,
    workers: Vec<Pid>,
    num_killed_workers: usize,
}

enum Event {
    Line(String),
    Ended(ExitStatus),
    /// Nobody holds its standard error any more.
    Closed,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        Self::follow(command.spawn().unwrap())
    }

    fn follow(mut child: Child) -> Self {
        let pid = Pid::from_child(&child);
        let stderr = child.stderr.take().unwrap();
        let (sender, events) = mpsc::channel();
        let lines = sender.clone();
        // A receiver that is gone has seen enough; what is left is still read, so that nobody meets a broken pipe.
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                drop(lines.send(Event::Line(line)));
            }
            drop(lines.send(Event::Closed));
        });
        thread::spawn(move || drop(sender.send(Event::Ended(child.wait().unwrap()))));
        Self {
            pid,
            events,
            log: Vec::new(),
            status: None,
            is_closed: false,
            workers: Vec::new(),
            num_killed_workers: 0,
        }
    }

    /// Takes in one event; tells whether one came in time.
    fn take_in(&mut self, within: Duration) -> bool {
        match self.events.recv_timeout(within) {
            Ok(Event::Line(line)) => {
                if let Ok(event) = serde_json::from_str::<Value>(&line) {
                    self.note_worker(&event);
                }
                self.log.push(line);
            }
            Ok(Event::Ended(status)) => self.status = Some(status),
            Ok(Event::Closed) => self.is_closed = true,
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => {
                panic!("nothing more will happen: {}", self.log.join("\n"))
            }
        }
        true
    }

    fn note_worker(&mut self, event: &Value) {
        let Some(worker) = event["worker"].as_i64() else {
            return;
        };
        let worker = Pid::from_raw(i32::try_from(worker).unwrap()).unwrap();
        match event["message"].as_str() {
            Some("worker started") => self.workers.push(worker),
            Some("worker died" | "worker stopped") => {
                self.workers.retain(|running| *running != worker);
                let is_killed = event["status"].as_str().unwrap().starts_with("signal: 9");
                self.num_killed_workers += usize::from(is_killed);
            }
            _ => {}
        }
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + GUARD;
        while !is_so(self) {
            let in_time = self.take_in(deadline.saturating_duration_since(Instant::now()));
            assert!(in_time, "never so: {what}\n{}", self.log.join("\n"));
        }
    }

    /// Waits for a line of the log with this text, new or old, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        self.wait_for_any_line(&[text])
    }

    /// Waits for a line of the log with any of these texts, new or old, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_any_line(&mut self, texts: &[&str]) -> String {
        let mut looked_at = 0;
        let mut found = None;
        self.wait_until(&texts.join(", or "), |running| {
            let has_any = |line: &String| texts.iter().any(|text| line.contains(text));
            found = running.log[looked_at..].iter().position(has_any);
            found = found.map(|index| index + looked_at);
            looked_at = running.log.len();
            assert!(
                found.is_some() || !running.is_closed,
                "it ended without {texts:?}: {}",
                running.log.join("\n")
            );
            found.is_some()
        });
        self.log[found.unwrap()].clone()
    }

    /// Waits until this many workers were killed.
    #[track_caller]
    pub(crate) fn wait_for_killed_workers(&mut self, wanted: usize) {
        self.wait_until("workers die", |running| {
            assert!(running.status.is_none(), "ended: {}", running.log.join("\n"));
            running.num_killed_workers >= wanted
        });
    }

    /// How many workers were seen to be killed.
    pub(crate) fn num_killed_workers(&self) -> usize {
        self.num_killed_workers
    }

    /// The workers that run, as far as the log was read.
    pub(crate) fn workers(&self) -> &[Pid] {
        &self.workers
    }

    #[track_caller]
    pub(crate) fn wait_for_workers(&mut self, wanted: usize) -> Vec<Pid> {
        self.wait_until("workers start", |running| running.workers.len() == wanted);
        self.workers.clone()
    }

    /// Reads the log on for a while; the moment when this ends is as good as any other.
    pub(crate) fn read_on(&mut self, for_at_most: Duration) {
        let deadline = Instant::now() + for_at_most;
        while self.status.is_none() && self.take_in(deadline.saturating_duration_since(Instant::now())) {}
    }

    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        self.wait_until("it ends", |running| running.status.is_some());
        self.status.unwrap()
    }

    /// Waits until neither it nor any process it started is left.
    #[track_caller]
    pub(crate) fn wait_until_all_are_gone(&mut self) {
        self.wait_until("all are gone", |running| running.is_closed);
    }

    /// Sends a signal to it, unless it is known to have ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            send(self.pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed half-way must not leave processes behind, stopped ones least of all.
        if self.status.is_none() {
            self.signal(Signal::KILL);
            for worker in &self.workers {
                send(*worker, Signal::KILL);
            }
        }
    }
}

/// Sends a signal; it does not matter if the process has just ended.
pub(crate) fn send(pid: Pid, signal: Signal) {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("cannot signal {pid:?}: {error}"),
    }
}

/// Whether there is no process of this number.
pub(crate) fn is_gone(pid: Pid) -> bool {
    test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}
