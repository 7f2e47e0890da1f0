//! A `wordfreq up` of a load test's own, on a directory of its own: started, stopped, and gone whatever happens. Not here:
//! the load, and looking at it (`commands::loadtest`).

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use shared_child::SharedChild;
use tempfile::TempDir;

use crate::cli::LoadtestArgs;
use crate::exit::{Exit, UsageError};
use crate::output;

/// Its log, in its data directory.
pub const LOG_FILE: &str = "up.log";

/// How much of the log is told when it ends unasked.
const TOLD_LINES: usize = 5;

/// How long it may take to drain after an error, when nobody waits for what it does any more.
const DRAINED_WITHIN: Duration = Duration::from_secs(2);

/// How long to wait for killed processes to be gone. They do nothing any more, but a machine may be slow to bury them.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// What must not be left behind, however this process ends: a second signal ends it in the middle of anything.
#[derive(Clone, Default)]
pub struct Remains(Arc<Mutex<Left>>);

#[derive(Default)]
struct Left {
    directory: Option<TempDir>,
    child: Option<Arc<SharedChild>>,
    /// Nothing is started any more.
    is_over: bool,
}

impl Remains {
    /// Whoever comes second waits for the first: a process that ends at once must not end in the middle of it.
    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done before this process ends at once.
    pub fn end_at_once(&self) -> impl FnOnce() + Send + 'static {
        let remains = self.clone();
        move || {
            let mut left = remains.left();
            left.is_over = true;
            let killed = left.child.as_deref().map_or(Ok(()), kill_all);
            if let Err(error) = killed.and_then(|()| left.remove()) {
                output::remark(format!("error: {error:#}"));
            }
        }
    }
}

impl Left {
    fn remove(&mut self) -> anyhow::Result<()> {
        let Some(directory) = self.directory.take() else { return Ok(()) };
        let path = directory.path().to_owned();
        directory.close().with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// Where its data is. Goes with this, unless it is kept.
pub struct Place {
    path: PathBuf,
    remains: Remains,
    /// A directory to keep, and whether it was there before.
    kept: Option<bool>,
}

impl Place {
    /// Makes a directory: the one to keep, or one that goes with this.
    ///
    /// # Errors
    /// [`UsageError`] if the one to keep holds anything; and when it cannot be made.
    pub fn make(keep: Option<&Path>, remains: &Remains) -> anyhow::Result<Self> {
        let remains = remains.clone();
        let Some(path) = keep else {
            let mut left = remains.left();
            let temporary =
                TempDir::with_prefix("wordfreq-loadtest-").context("cannot make a temporary directory")?;
            let path = temporary.path().to_owned();
            left.directory = Some(temporary);
            drop(left);
            return Ok(Self { path, remains, kept: None });
        };
        let cannot = || format!("cannot make {}", path.display());
        let was_there = path.is_dir();
        fs::create_dir_all(path).with_context(cannot)?;
        if fs::read_dir(path).with_context(cannot)?.next().is_some() {
            return Err(UsageError(format!(
                "{} is not empty: name a new directory with --keep, or test the `up` that runs there with --data-dir",
                path.display()
            ))
            .into());
        }
        Ok(Self { path: path.to_owned(), remains, kept: Some(was_there) })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it as if it had never been made, also if it was to be kept.
    fn unmake(&self) -> anyhow::Result<()> {
        let Some(was_there) = self.kept else { return self.remains.left().remove() };
        let cannot = || format!("cannot remove what was made in {}", self.path.display());
        if !was_there {
            return fs::remove_dir_all(&self.path).with_context(cannot);
        }
        for entry in fs::read_dir(&self.path).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let is_directory = entry.file_type().with_context(cannot)?.is_dir();
            let remove = if is_directory { fs::remove_dir_all } else { fs::remove_file };
            remove(entry.path()).with_context(cannot)?;
        }
        Ok(())
    }
}

/// After an error.
impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.remains.left().remove() {
            output::remark(format!("error: {error:#}"));
        }
    }
}

/// A running `wordfreq up` and its directory.
pub struct TemporaryUp {
    child: Arc<SharedChild>,
    /// Its end asks it to drain; it comes by itself when this process dies.
    stdin: Option<ChildStdin>,
    log: PathBuf,
    /// Whether it and its workers are known to be gone.
    is_gone: bool,
    /// Whether it has refused what it was asked for.
    has_refused: Cell<bool>,
    place: Place,
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
        // A group of its own, in which its workers are too: so that all of them can be ended, also when it is dead itself.
        // A terminal's control-C does not reach them then; the end of standard input does.
        command.process_group(0);
        let mut left = place.remains.left();
        if left.is_over {
            bail!("stopped before the load began");
        }
        let child = SharedChild::spawn(&mut command)
            .with_context(|| format!("cannot start {}", program.display()))?;
        let child = Arc::new(child);
        left.child = Some(child.clone());
        drop(left);
        let stdin = child.take_stdin();
        Ok(Self { child, stdin, log, is_gone: false, has_refused: Cell::new(false), place })
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn is_running(&self) -> anyhow::Result<bool> {
        let status = self.child.try_wait().context("cannot look after the temporary `wordfreq up`")?;
        Ok(status.is_none())
    }

    /// Fails if it has ended, and tells the end of its log.
    ///
    /// # Errors
    /// That it has ended; [`UsageError`] if what it was asked for makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait().context("cannot look after the temporary `wordfreq up`")?
        else {
            return Ok(());
        };
        let log = fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        if status.code() == Some(i32::from(Exit::Usage.code())) {
            self.has_refused.set(true);
            let said = lines.last().copied().unwrap_or_default();
            let said = said.strip_prefix("error: ").unwrap_or(said);
            return Err(UsageError(format!("`wordfreq up` refuses it: {said}")).into());
        }
        lines[lines.len().saturating_sub(TOLD_LINES)..].iter().for_each(output::remark);
        bail!("the temporary `wordfreq up` ended: {status}; the end of its log is above")
    }

    /// Has it drain, waits for its end, and removes its directory unless that is kept. What is not done when its time is over
    /// is killed.
    ///
    /// # Errors
    /// If it ended otherwise than it should.
    pub fn end(mut self, deadline: Instant) -> anyhow::Result<()> {
        self.stdin = None;
        let deadline = deadline.max(Instant::now() + DRAINED_WITHIN);
        let ended =
            self.child.wait_deadline(deadline).context("cannot wait for the temporary `wordfreq up`")?;
        match ended {
            None => {
                output::remark(
                    "the workers had not finished what they had in hand when the time was over: killed",
                );
                kill_all(&self.child)?;
            }
            Some(status) if !status.success() => self.check()?,
            Some(_) => {}
        }
        self.is_gone = true;
        self.place.remains.left().remove()
    }
}

/// Ends an `up` and its workers at once, and waits until they are gone.
fn kill_all(up: &SharedChild) -> anyhow::Result<()> {
    let group = i32::try_from(up.id()).ok().and_then(Pid::from_raw).context("no process has this id")?;
    match kill_process_group(group, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => return Err(error).context("cannot kill the temporary `wordfreq up`"),
    }
    up.wait().context("cannot wait for the temporary `wordfreq up`")?;
    let asked = Instant::now();
    // The workers are not this process's own children.
    while test_kill_process_group(group).is_ok() && asked.elapsed() < GONE_WITHIN {
        #[expect(
            clippy::disallowed_methods,
            reason = "somebody else's child gives no signal when it is gone"
        )]
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// After an error: nothing may work on the directory when it is removed.
impl Drop for TemporaryUp {
    fn drop(&mut self) {
        if self.is_gone {
            return;
        }
        self.stdin = None;
        let waited =
            self.child.wait_timeout(DRAINED_WITHIN).context("cannot wait for the temporary `wordfreq up`");
        // Also when it has ended: it may have died without its workers.
        let ended = waited.and_then(|_| kill_all(&self.child));
        let unmade = if self.has_refused.get() { self.place.unmake() } else { Ok(()) };
        for error in [ended, unmade].into_iter().filter_map(Result::err) {
            output::remark(format!("error: {error:#}"));
        }
    }
}

/// Whatever the environment and the files say, it works on this directory and watches nothing.
fn arguments(args: &LoadtestArgs, directory: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["up", "--supervised", "--no-watch", "--listen", "none", "--data-dir"].map(OsString::from).into();
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
