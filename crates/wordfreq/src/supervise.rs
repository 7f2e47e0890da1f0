//! A fleet of fixed size: worker processes on this machine, each started anew when it dies, with a growing pause.
//! Not here: deciding how many there should be, and what a worker does.

use std::io;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use shared_child::SharedChild;
use wordfreq_pipeline::Drain;

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A worker that lived this long did not die of its start.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// A worker that *ends itself* with an error this often in a row never gets to work: the cause lies in its
/// configuration or the data directory. A worker that is killed or crashes is another matter, and is started for ever.
const MAX_REFUSALS: u32 = 5;

/// Starts one worker.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<std::ffi::OsString>,
}

struct Running {
    child: Arc<SharedChild>,
    /// Its end tells the worker to drain, also when this process dies without a word.
    stdin: Option<ChildStdin>,
}

type Slots = Arc<Mutex<Vec<Option<Running>>>>;

/// The workers of one `up`.
pub struct Supervisor {
    slots: Slots,
    threads: Vec<JoinHandle<()>>,
}

/// Ends every worker at once.
#[derive(Clone)]
pub struct KillAll(Slots);

impl KillAll {
    /// Does it.
    pub fn run(&self) {
        for running in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten() {
            if let Err(error) = running.child.kill() {
                tracing::error!(worker = running.child.id(), %error, "cannot kill a worker");
            }
        }
    }
}

impl Supervisor {
    /// Starts `workers` of them. `given_up` hears of a worker that cannot be run at all.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        launch: &Launch,
        workers: usize,
        drain: &Drain,
        given_up: &Sender<String>,
    ) -> anyhow::Result<Self> {
        let slots: Slots = Arc::new(Mutex::new((0..workers).map(|_| None).collect()));
        let mut threads = Vec::new();
        for slot in 0..workers {
            let (launch, slots, drain, given_up) =
                (launch.clone(), slots.clone(), drain.clone(), given_up.clone());
            let supervise = move || {
                if let Err(reason) = keep_alive(slot, &launch, &slots, &drain) {
                    // If nobody listens any more, `up` is on its way out.
                    drop(given_up.send(reason));
                }
            };
            let name = format!("worker-{slot}");
            threads.push(
                std::thread::Builder::new().name(name).spawn(supervise).context("cannot start a thread")?,
            );
        }
        Ok(Self { slots, threads })
    }

    /// For the second signal.
    pub fn kill_all(&self) -> KillAll {
        KillAll(self.slots.clone())
    }

    /// Waits for every worker to finish what it has in hand. `drain` must have been requested.
    pub fn join(self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter_mut().flatten().for_each(|running| drop(running.stdin.take()));
        drop(slots);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a supervisor ended in a panic");
            }
        }
    }
}

fn keep_alive(slot: usize, launch: &Launch, slots: &Slots, drain: &Drain) -> Result<(), String> {
    let mut pause = SHORTEST_PAUSE;
    let mut refusals = 0;
    loop {
        let started = Instant::now();
        let child = {
            // Under the lock, so that a drain either sees this worker or is seen here.
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            if drain.requested() {
                return Ok(());
            }
            let running = spawn(launch)
                .map_err(|error| format!("cannot start {}: {error}", launch.program.display()))?;
            let child = running.child.clone();
            slots[slot] = Some(running);
            child
        };
        tracing::info!(worker = child.id(), "worker started");
        let ended = child.wait();
        slots.lock().unwrap_or_else(PoisonError::into_inner)[slot] = None;
        let status = ended.map_err(|error| format!("cannot wait for worker {}: {error}", child.id()))?;
        if drain.requested() {
            tracing::info!(worker = child.id(), %status, "worker stopped");
            return Ok(());
        }
        let was_healthy = started.elapsed() >= HEALTHY_AFTER;
        refusals = if refused(status) && !was_healthy { refusals + 1 } else { 0 };
        if refusals == MAX_REFUSALS {
            return Err(format!(
                "workers end with an error as soon as they start ({status}); their log tells why"
            ));
        }
        if was_healthy {
            pause = SHORTEST_PAUSE;
        }
        tracing::warn!(worker = child.id(), %status, again_in = ?pause, "worker died");
        if drain.wait(pause) {
            return Ok(());
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Exit codes 1 and 2 are the program's own; a panic or a signal has others.
fn refused(status: ExitStatus) -> bool {
    matches!(status.code(), Some(1 | 2))
}

fn spawn(launch: &Launch) -> io::Result<Running> {
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).stdin(Stdio::piped()).stdout(Stdio::null());
    let child = SharedChild::spawn(&mut command)?;
    let stdin = child.take_stdin();
    Ok(Running { child: Arc::new(child), stdin })
}
