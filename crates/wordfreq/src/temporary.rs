//! A `wordfreq up` of a load test's own, on a directory of its own: started, stopped, and gone whatever happens. Not here:
//! the load, and looking at it (`commands::loadtest`).

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use shared_child::SharedChild;
use tempfile::TempDir;

use crate::cli::LoadtestArgs;
use crate::exit::{Exit, UsageError};
use crate::output;

/// Its log, in its data directory.
pub const LOG_FILE: &str = "up.log";

/// How much of the log is told when it ends unasked.
const TOLD_LINES: usize = 5;

/// Where its data is.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Removes it, unless it is kept.
    temporary: Option<TempDir>,
}

impl Place {
    /// Makes a directory: the one to keep, or one that goes with this.
    ///
    /// # Errors
    /// [`UsageError`] if the one to keep holds anything; and when it cannot be made.
    pub fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = keep else {
            let temporary =
                TempDir::with_prefix("wordfreq-loadtest-").context("cannot make a temporary directory")?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        let cannot = || format!("cannot make {}", path.display());
        std::fs::create_dir_all(path).with_context(cannot)?;
        if std::fs::read_dir(path).with_context(cannot)?.next().is_some() {
            return Err(UsageError(format!(
                "{} is not empty: name a new directory with --keep, or test the `up` that runs there with --data-dir",
                path.display()
            ))
            .into());
        }
        Ok(Self { path: path.to_owned(), temporary: None })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn remove(self) -> anyhow::Result<()> {
        let path = self.path;
        self.temporary
            .map_or(Ok(()), TempDir::close)
            .with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// A running `wordfreq up` and its directory.
pub struct TemporaryUp {
    child: Arc<SharedChild>,
    /// Its end asks it to drain; it comes by itself when this process dies.
    stdin: Option<ChildStdin>,
    place: Arc<Mutex<Option<Place>>>,
    log: PathBuf,
}

impl TemporaryUp {
    /// Starts it.
    ///
    /// # Errors
    /// When the log cannot be made or the process not be started.
    pub fn start(args: &LoadtestArgs, place: Place) -> anyhow::Result<Self> {
        let log = place.path().join(LOG_FILE);
        let to = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(&program);
        command.args(arguments(args, place.path()));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(to);
        let child = SharedChild::spawn(&mut command)
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdin = child.take_stdin();
        Ok(Self { child: Arc::new(child), stdin, place: Arc::new(Mutex::new(Some(place))), log })
    }

    /// Fails if it has ended, with the end of its log.
    ///
    /// # Errors
    /// That it has ended; [`UsageError`] if what it was asked for makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait().context("cannot look after the temporary `wordfreq up`")?
        else {
            return Ok(());
        };
        let log = std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        let told = lines[lines.len().saturating_sub(TOLD_LINES)..].join("\n");
        if status.code() == Some(i32::from(Exit::Usage.code())) {
            return Err(UsageError(format!("`wordfreq up` refuses it: {told}")).into());
        }
        bail!("the temporary `wordfreq up` ended: {status}; its log ends with\n{told}")
    }

    /// What is to be done before this process ends at once.
    pub fn end_at_once(&self) -> impl FnOnce() + Send + 'static {
        let (child, place) = (self.child.clone(), self.place.clone());
        move || {
            let ended = child.kill().context("cannot kill the temporary `wordfreq up`").and_then(|()| {
                child.wait().context("cannot wait for the temporary `wordfreq up`")?;
                remove(&place)
            });
            if let Err(error) = ended {
                output::remark(format!("error: {error:#}"));
            }
        }
    }

    /// Has it drain, waits for its end, and removes its directory unless that is kept.
    ///
    /// # Errors
    /// If it ended otherwise than it should.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.stdin = None;
        let status = self.child.wait().context("cannot wait for the temporary `wordfreq up`")?;
        if !status.success() {
            self.check()?;
        }
        remove(&self.place)
    }
}

/// Whoever comes second waits for the first: a process that ends at once must not end in the middle of it.
fn remove(place: &Mutex<Option<Place>>) -> anyhow::Result<()> {
    let mut held = place.lock().unwrap_or_else(PoisonError::into_inner);
    held.take().map_or(Ok(()), Place::remove)
}

/// After an error: nothing may work on the directory when it is removed.
impl Drop for TemporaryUp {
    fn drop(&mut self) {
        self.stdin = None;
        if let Err(error) = self.child.wait() {
            tracing::error!(%error, "cannot wait for the temporary `wordfreq up`");
        }
        if let Err(error) = remove(&self.place) {
            output::remark(format!("error: {error:#}"));
        }
    }
}

/// Whatever the environment and the files say, it works on this directory and watches nothing.
fn arguments(args: &LoadtestArgs, directory: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["up", "--supervised", "--no-watch", "--data-dir"].map(OsString::from).into();
    arguments.push(directory.into());
    let mut option = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            arguments.extend([name.into(), value]);
        }
    };
    option("--preset", args.preset.map(|preset| preset.as_str().into()));
    option("--plan", args.plan.clone().map(OsString::from));
    option("--min", args.min.map(|min| min.to_string().into()));
    option("--max", args.max.map(|max| max.to_string().into()));
    option("--acceptable-latency", args.acceptable_latency.clone().map(OsString::from));
    option("--service-time", args.service_time.clone().map(OsString::from));
    option("--time-scale", Some(args.time_scale.to_string().into()));
    option("--work", args.work.as_ref().map(|work| work.to_string().into()));
    option("--work-seed", args.work.as_ref().map(|_| args.seed.to_string().into()));
    arguments
}
