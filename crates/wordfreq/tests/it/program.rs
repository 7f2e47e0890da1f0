//! Runs the binary in a directory of its own with an environment that holds nothing but what a test puts there.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Lets programs started from now on hear SIGHUP, also where whoever started the tests (`nohup`) has it ignored: what is
/// ignored stays so in a new program, and what is handled does not.
pub(crate) fn hear_hang_ups() {
    signal_hook::flag::register(signal_hook::consts::SIGHUP, std::sync::Arc::default()).unwrap();
}

/// A working directory and a home, both gone when the test ends.
pub(crate) struct Program {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("home")).unwrap();
        std::fs::create_dir(directory.path().join("work")).unwrap();
        Self { directory, variables: Vec::new() }
    }

    pub(crate) fn with_variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// A path in the working directory.
    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join("work").join(name.as_ref())
    }

    /// A path in the home directory, whose parents are made.
    pub(crate) fn write_home(&self, name: &str, text: &str) {
        let path = self.directory.path().join("home").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Writes a file in the working directory, whose parents are made.
    pub(crate) fn write(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wordfreq"));
        command
            .args(args)
            .current_dir(self.path(""))
            .env_clear()
            // Tests run side by side, and there is one default port.
            .env("WORDFREQ_SERVER_LISTEN", "none")
            .env("HOME", self.directory.path().join("home"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ended {
        self.command(args).output().unwrap().into()
    }

    pub(crate) fn run_on<S: AsRef<OsStr>>(&self, stdin: impl AsRef<[u8]>, args: &[S]) -> Ended {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        match child.stdin.take().unwrap().write_all(stdin.as_ref()) {
            // A program that refuses its configuration may be gone before it reads; its exit code tells.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            outcome => outcome.unwrap(),
        }
        child.wait_with_output().unwrap().into()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the program ends by itself, not by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Standard output of a run that did all it was asked and had nothing to remark.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self.stdout
    }

    /// Standard error of a run that ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self.stderr
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert!(self.stdout.ends_with('\n') && self.stdout.lines().count() == 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }
}
