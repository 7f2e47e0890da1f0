//! Runs the program and waits for what it says or how it ends, never for time to pass. Deadlines are only guards: a test
//! that meets one has failed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Far longer than anything takes on a loaded machine.
pub(crate) const GUARD: Duration = Duration::from_secs(240);

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

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Standard error says all of this.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "nothing of {part:?} in: {self:#?}");
        }
        self
    }

    /// Standard output has all of this.
    #[track_caller]
    pub(crate) fn prints(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stdout.contains(part), "nothing of {part:?} in: {self:#?}");
        }
        self
    }
}

pub(crate) fn is_kill(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
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
    Ended {
        status,
        stdout: String::from_utf8(stdout.join().unwrap()).unwrap(),
        stderr: running.log.join("\n"),
        command: format!("{command:?}"),
    }
}

/// A process that is watched. It does not outlive this.
pub(crate) struct Running {
    pub(crate) pid: Pid,
    events: Receiver<Event>,
    /// Every line of standard error so far.
    pub(crate) log: Vec<String>,
    status: Option<ExitStatus>,
    is_closed: bool,
}

enum Event {
    Line(String),
    Ended(ExitStatus),
    /// Standard error is read to its end.
    Closed,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self::follow(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
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
        Self { pid, events, log: Vec::new(), status: None, is_closed: false }
    }

    /// Takes in one event; tells whether one came in time.
    fn take_in(&mut self, within: Duration) -> bool {
        match self.events.recv_timeout(within) {
            Ok(Event::Line(line)) => self.log.push(line),
            Ok(Event::Ended(status)) => self.status = Some(status),
            Ok(Event::Closed) => self.is_closed = true,
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => {
                panic!("nothing more will happen: {}", self.log.join("\n"))
            }
        }
        true
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
        let mut looked_at = 0;
        let mut found = None;
        self.wait_until(text, |running| {
            found = running.log[looked_at..].iter().position(|line| line.contains(text));
            found = found.map(|index| index + looked_at);
            looked_at = running.log.len();
            assert!(
                found.is_some() || !running.is_closed,
                "it ended without {text:?}: {}",
                running.log.join("\n")
            );
            found.is_some()
        });
        self.log[found.unwrap()].clone()
    }

    /// Waits until so many lines of the log have had this text.
    #[track_caller]
    pub(crate) fn wait_for_lines(&mut self, text: &str, wanted: usize) {
        self.wait_until(text, |running| {
            let found = running.log.iter().filter(|line| line.contains(text)).count();
            assert!(found >= wanted || !running.is_closed, "it ended: {}", running.log.join("\n"));
            found >= wanted
        });
    }

    /// Reads the log on for so long, or until it ends.
    pub(crate) fn read_on(&mut self, for_at_most: Duration) {
        let deadline = Instant::now() + for_at_most;
        while !self.has_ended() && self.take_in(deadline.saturating_duration_since(Instant::now())) {}
    }

    /// Waits for its end and the end of what it says.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        self.wait_until("it ends", Self::has_ended);
        self.status.unwrap()
    }

    fn has_ended(&self) -> bool {
        self.status.is_some() && self.is_closed
    }

    /// How it ended, if it has, as far as events were taken in.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.status.filter(|_| self.is_closed)
    }

    /// Ends it at once; what it said.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Vec<String> {
        assert_eq!(self.ended(), None, "it ended by itself: {}", self.log.join("\n"));
        self.signal(Signal::KILL);
        let status = self.wait_for_end();
        assert!(is_kill(status), "{status}: {}", self.log.join("\n"));
        std::mem::take(&mut self.log)
    }

    /// Ends it by SIGTERM, which must go well, and takes as long as a poll where it is idle.
    #[track_caller]
    pub(crate) fn drain(self) -> Vec<String> {
        self.signal(Signal::TERM);
        self.end_well()
    }

    /// Waits for its end, which must go well; what it said.
    #[track_caller]
    pub(crate) fn end_well(mut self) -> Vec<String> {
        let status = self.wait_for_end();
        assert!(status.success(), "{status}: {}", self.log.join("\n"));
        std::mem::take(&mut self.log)
    }

    /// Sends a signal to it, unless it is known to have ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            match kill_process(self.pid, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => panic!("cannot signal {:?}: {error}", self.pid),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed half-way must not leave processes behind, stopped ones least of all.
        self.signal(Signal::KILL);
    }
}
