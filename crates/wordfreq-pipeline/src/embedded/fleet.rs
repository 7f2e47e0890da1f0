//! [`Fleet`] as processes of this machine, all launched from one template. Not here: how many there should be, and what a
//! worker does.
//!
//! A worker is told to drain by the end of its standard input, which also comes when this process dies without a word.
//! It gives signs of life on its standard output, one [`Heartbeat`] a line.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared_child::SharedChild;
use wordfreq_core::scaling::{InstanceId, InstanceState, Moment};

use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::fleet::{Clock, Fleet, Member};
use crate::time::Timestamp;

/// How often a worker gives a sign of life when nothing changes.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// How long the start of a worker is put off after one that died young, at first and at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A worker that lived this long did not die of its start.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// When workers cannot be started, or *end themselves* with an error as soon as they start, this often in a row, and none is
/// in service, then none will ever get to work: the cause lies in the program, its configuration or the data directory.
/// Workers that are killed or crash are another matter, and are started for ever.
const MAX_REFUSALS: u32 = 5;

/// Who looks at the fleet at longer distances than this was away itself, and cannot tell who was silent meanwhile.
const AWAY_AFTER: Duration = HEARTBEAT_EVERY.saturating_mul(2);

/// How instances are launched.
#[derive(Clone, Debug)]
pub struct LaunchTemplate {
    /// The program.
    pub program: PathBuf,
    /// Its arguments. Those for the limits below are added; a worker puts them on itself before anything else.
    pub arguments: Vec<OsString>,
    /// What its environment has beside this process's own.
    pub environment: Vec<(OsString, OsString)>,
    /// The most memory of a worker, in bytes.
    pub memory: Option<u64>,
    /// How many processors a worker is tied to.
    pub cpus: Option<usize>,
    /// How long a worker may be silent before it counts as lost.
    pub grace: Duration,
    /// Whether scale-in leaves a worker alone while it holds messages.
    pub protect: bool,
}

/// A worker's sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Messages it holds.
    pub held: u64,
    /// Messages it has settled so far.
    pub settled: u64,
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "heartbeat held={} settled={}", self.held, self.settled)
    }
}

impl FromStr for Heartbeat {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let fields = line.strip_prefix("heartbeat held=").ok_or(())?;
        let (held, settled) = fields.split_once(" settled=").ok_or(())?;
        Ok(Self { held: held.parse().map_err(drop)?, settled: settled.parse().map_err(drop)? })
    }
}

/// Whether a process is a supervised worker on a data directory: one that outlived who launched it, and drains. Only Linux
/// tells; elsewhere none is.
pub fn is_worker_on(process: u32, directory: &Path) -> bool {
    let Ok(command) = std::fs::read(format!("/proc/{process}/cmdline")) else { return false };
    let mut arguments = command.split(|byte| *byte == 0);
    let directory = directory.as_os_str().as_encoded_bytes();
    arguments.clone().any(|argument| argument == b"--supervised")
        && arguments.any(|argument| argument == directory)
}

/// What the owner of a fleet's size may want to look at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// An instance came into service, was lost, or is gone.
    State,
    /// An instance holds nothing any more.
    Idle,
}

type Listener = Box<dyn Fn(Changed) + Send + Sync>;

/// Worker processes of this machine. Clones are the same fleet.
#[derive(Clone)]
pub struct ProcessFleet(Arc<Shared>);

struct Shared {
    template: LaunchTemplate,
    clock: Clock,
    changed: Listener,
    state: Mutex<State>,
    /// Wakes those that wait for their start.
    woken: Condvar,
}

#[derive(Default)]
struct State {
    workers: Vec<Worker>,
    num_launched: u64,
    /// Deaths of the young in a row, how many of them were their own decision, and when the last of them was.
    early_deaths: u32,
    refusals: u32,
    last_early_death: Option<Instant>,
    /// Why no worker can be run.
    given_up: Option<String>,
    /// Whether all were ended at once: none may begin any more.
    killed: bool,
    looked: Option<Instant>,
}

struct Worker {
    member: Member,
    /// The smallest number that no other has.
    slot: usize,
    child: Option<Arc<SharedChild>>,
    /// Its end asks the worker to drain.
    stdin: Option<ChildStdin>,
    /// When it was launched, began, or last gave a sign of life.
    heard: Instant,
    /// Up to when `member.worked` is known.
    worked_until: Instant,
}

impl State {
    fn find(&mut self, id: &str) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.member.instance.id == id)
    }

    fn pause(&self) -> Duration {
        match self.early_deaths {
            0 => Duration::ZERO,
            deaths => SHORTEST_PAUSE.saturating_mul(1 << (deaths - 1).min(10)).min(LONGEST_PAUSE),
        }
    }

    /// Takes a new one into the list.
    fn plan(&mut self, now: Moment) -> InstanceId {
        self.num_launched += 1;
        // Ids of one machine and one moment are told apart by their last digits.
        let id = format!("i-{:011x}{:03x}", Timestamp::now().0, self.num_launched % 0x1000);
        let member = Member::pending(id.clone(), now);
        let is_free = |slot: &usize| self.workers.iter().all(|worker| worker.slot != *slot);
        let slot = (0..).find(is_free).unwrap_or_default();
        let (child, stdin, heard) = (None, None, Instant::now());
        self.workers.push(Worker { member, slot, child, stdin, heard, worked_until: heard });
        id
    }

    /// One died of its start. `refused` says why, if it was its own decision.
    fn died_young(&mut self, refused: Option<String>) {
        self.last_early_death = Some(Instant::now());
        self.early_deaths = self.early_deaths.saturating_add(1);
        let Some(why) = refused else {
            self.refusals = 0;
            return;
        };
        self.refusals = self.refusals.saturating_add(1);
        let is_well = |worker: &Worker| {
            worker.member.instance.state == InstanceState::InService && worker.member.instance.healthy
        };
        if self.refusals >= MAX_REFUSALS && !self.workers.iter().any(is_well) {
            self.given_up = Some(why);
        }
    }

    /// One that began at `began` is alive: if it did after the last that died young, starts go well again.
    fn is_alive(&mut self, began: Instant) {
        if began.elapsed() >= HEALTHY_AFTER && self.last_early_death.is_none_or(|death| began > death) {
            (self.early_deaths, self.refusals) = (0, 0);
        }
    }
}

impl Worker {
    fn is_terminating(&self) -> bool {
        self.member.instance.state == InstanceState::Terminating
    }

    /// Takes note of the work up to now. By the machine's steady time: a fleet does not work while the machine sleeps, and its
    /// clock goes on.
    fn note_work(&mut self, scale: f64) {
        let now = Instant::now();
        if self.member.held > 0 {
            self.member.worked += (now - self.worked_until).mul_f64(scale);
        }
        self.worked_until = now;
    }

    /// Whether its process has ended, or never began and never will.
    fn is_over(&self) -> bool {
        self.child.is_none() && !self.member.instance.healthy
    }

    fn lost(&mut self, why: String) {
        self.member.instance.healthy = false;
        self.member.note = Some(why);
    }

    fn kill(&self) {
        if let Some(child) = &self.child
            && let Err(error) = child.kill()
        {
            tracing::error!(worker = child.id(), %error, "cannot kill a worker");
        }
    }
}

impl ProcessFleet {
    /// A fleet without instances. `changed` is called, from any thread, when there is reason to look at it again.
    pub fn new(
        template: LaunchTemplate,
        clock: Clock,
        changed: impl Fn(Changed) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            template,
            clock,
            changed: Box::new(changed),
            state: Mutex::default(),
            woken: Condvar::new(),
        }))
    }

    /// Ends every process at once, draining ones too. For a second signal.
    pub fn kill_all(&self) {
        let mut state = self.0.state();
        state.killed = true;
        state.workers.iter().for_each(Worker::kill);
        drop(state);
        self.0.woken.notify_all();
    }
}

impl Fleet for ProcessFleet {
    fn launch(&self, count: u32, planned: &mut dyn FnMut(&[InstanceId])) -> Result<(), BackendError> {
        let (ids, pause) = {
            let mut state = self.0.state();
            if let Some(reason) = &state.given_up {
                return Err(BackendError::new(ErrorKind::Invalid, reason.clone()));
            }
            let ids: Vec<InstanceId> = (0..count).map(|_| state.plan(self.0.clock.now())).collect();
            (ids, state.pause())
        };
        planned(&ids);
        for (index, id) in ids.iter().enumerate() {
            failpoint::hit("fleet.before_launch");
            let (shared, of) = (self.0.clone(), id.clone());
            let begun = std::thread::Builder::new().name(id.clone()).spawn(move || shared.run(&of, pause));
            if let Err(error) = begun {
                let missing = &ids[index..];
                self.0.state().workers.retain(|worker| !missing.contains(&worker.member.instance.id));
                return Err(BackendError::new(ErrorKind::Busy, format!("cannot start a thread: {error}")));
            }
            failpoint::hit("fleet.after_launch");
        }
        Ok(())
    }

    fn terminate(&self, ids: &[InstanceId]) -> Result<(), BackendError> {
        if ids.is_empty() {
            return Ok(());
        }
        failpoint::hit("fleet.before_terminate");
        let mut state = self.0.state();
        for id in ids {
            let Some(worker) = state.find(id).filter(|worker| !worker.is_terminating()) else { continue };
            worker.member.instance.state = InstanceState::Terminating;
            worker.stdin = None;
            if !worker.member.instance.healthy {
                worker.kill();
            }
        }
        // Those that are gone already, and were only still to be told of.
        state.workers.retain(|worker| !(worker.is_terminating() && worker.is_over()));
        drop(state);
        self.0.woken.notify_all();
        (self.0.changed)(Changed::State);
        Ok(())
    }

    fn members(&self) -> Result<Vec<Member>, BackendError> {
        let mut state = self.0.state();
        let now = Instant::now();
        let was_away = state.looked.is_some_and(|looked| now - looked > AWAY_AFTER);
        state.looked = Some(now);
        for worker in &mut state.workers {
            if was_away {
                worker.heard = now;
            }
            self.0.look_after(worker);
            worker.note_work(self.0.clock.scale());
        }
        Ok(state.workers.iter().map(|worker| worker.member.clone()).collect())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who falls silent is lost; who falls silent while it drains is stopped.
    fn look_after(&self, worker: &mut Worker) {
        if worker.child.is_none() || worker.heard.elapsed() < self.template.grace {
            return;
        }
        if worker.is_terminating() {
            worker.kill();
        } else if worker.member.instance.healthy {
            let why = format!("it gave no sign of life for {} s", self.template.grace.as_secs());
            tracing::warn!(
                instance = worker.member.instance.id,
                worker = worker.member.process,
                why,
                "worker lost"
            );
            worker.lost(why);
        }
    }

    /// The life of one instance, on a thread of its own.
    fn run(&self, id: &str, pause: Duration) {
        let Some((child, stdout)) = self.begin(id, pause) else { return };
        let began = Instant::now();
        let mut strange = false;
        for line in BufReader::new(stdout).lines() {
            // An end in the middle of a line is an end.
            let Ok(line) = line else { break };
            match line.parse() {
                Ok(heartbeat) => self.heard(id, heartbeat, began),
                Err(()) if !strange => {
                    strange = true;
                    tracing::warn!(instance = id, line, "what it says is no heartbeat: is it a worker?");
                }
                Err(()) => {}
            }
        }
        let ended = child.wait();
        self.ended(id, ended, began);
    }

    /// Waits for its turn and starts the process; `None` if it was asked to go before.
    fn begin(&self, id: &str, pause: Duration) -> Option<(Arc<SharedChild>, ChildStdout)> {
        let due = Instant::now() + pause;
        let mut state = self.state();
        loop {
            if state.find(id).is_none_or(|worker| worker.is_terminating()) {
                state.workers.retain(|worker| worker.member.instance.id != id);
                drop(state);
                (self.changed)(Changed::State);
                return None;
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.woken.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.killed {
            state.workers.retain(|worker| worker.member.instance.id != id);
            return None;
        }
        // Under the lock, so that whoever kills all either sees this process or is seen here.
        let slot = state.find(id)?.slot;
        match self.spawn(slot) {
            Ok((child, stdin, stdout)) => {
                let worker = state.find(id)?;
                tracing::info!(instance = id, worker = child.id(), "worker started");
                worker.member.process = Some(child.id());
                worker.heard = Instant::now();
                worker.stdin = stdin;
                let child = Arc::new(child);
                worker.child = Some(child.clone());
                Some((child, stdout?))
            }
            Err(error) => {
                let reason = format!("cannot start {}: {error}", self.template.program.display());
                tracing::warn!(instance = id, reason, "worker not started");
                state.find(id)?.lost(reason.clone());
                state.died_young(Some(reason));
                drop(state);
                (self.changed)(Changed::State);
                None
            }
        }
    }

    fn spawn(&self, slot: usize) -> io::Result<(SharedChild, Option<ChildStdin>, Option<ChildStdout>)> {
        let LaunchTemplate { program, arguments, environment, memory, cpus, .. } = &self.template;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        if let Some(bytes) = memory {
            command.args(["--memory", &bytes.to_string()]);
        }
        if let Some(cpus) = cpus {
            command.args(["--cpus", &cpus.to_string(), "--first-cpu", &(slot * cpus).to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = SharedChild::spawn(&mut command)?;
        let (stdin, stdout) = (child.take_stdin(), child.take_stdout());
        Ok((child, stdin, stdout))
    }

    fn heard(&self, id: &str, Heartbeat { held, settled }: Heartbeat, began: Instant) {
        let mut state = self.state();
        state.is_alive(began);
        let protect = self.template.protect;
        let now = self.clock.now();
        let Some(worker) = state.find(id) else { return };
        worker.heard = Instant::now();
        worker.note_work(self.clock.scale());
        let Member { instance, held: held_before, documents, batch_since, .. } = &mut worker.member;
        if held == 0 {
            *batch_since = None;
        } else if batch_since.is_none() || *documents != settled {
            *batch_since = Some(now);
        }
        let came = instance.state == InstanceState::Pending;
        if came {
            instance.state = InstanceState::InService;
            instance.in_service_at = Some(now);
        }
        let idles = *held_before > 0 && held == 0;
        (*held_before, *documents) = (held, settled);
        instance.busy = held > 0;
        instance.protected = protect && held > 0;
        drop(state);
        if came {
            (self.changed)(Changed::State);
        } else if idles {
            (self.changed)(Changed::Idle);
        }
    }

    fn ended(&self, id: &str, ended: io::Result<ExitStatus>, began: Instant) {
        let mut state = self.state();
        let Some(worker) = state.find(id) else { return };
        (worker.child, worker.stdin) = (None, None);
        let how = match &ended {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if worker.is_terminating() {
            tracing::info!(instance = id, worker = worker.member.process, status = how, "worker stopped");
            state.workers.retain(|worker| worker.member.instance.id != id);
        } else {
            worker.member.held = 0;
            (worker.member.instance.busy, worker.member.instance.protected) = (false, false);
            tracing::warn!(instance = id, worker = worker.member.process, status = how, "worker died");
            worker.lost(format!("its process ended: {how}"));
            worker.member.batch_since = None;
            if began.elapsed() < HEALTHY_AFTER {
                let why =
                    format!("workers end with an error as soon as they start ({how}); their log tells why");
                state.died_young(ended.is_ok_and(refused).then_some(why));
            } else {
                state.is_alive(began);
            }
        }
        drop(state);
        (self.changed)(Changed::State);
    }
}

/// Exit codes 1 and 2 are the program's own; a panic or a signal has others.
fn refused(status: ExitStatus) -> bool {
    matches!(status.code(), Some(1 | 2))
}
