//! `wordfreq worker`: one worker on the data directory, until it is asked to stop. Not here: workers on AWS (`aws`).

use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::Context as _;
use wordfreq_pipeline::Drain;
use wordfreq_pipeline::embedded::{HEARTBEAT_EVERY, Heartbeat, IfMissing};
use wordfreq_pipeline::worker::{Backend, Open, WorkerOptions, run as work};

use crate::cli::WorkerArgs;
use crate::config::{BackendName, Config};
use crate::exit::Exit;
use crate::load::{self, ServiceTimes};
use crate::upkeep::{Sweep, keep_up};
use crate::{aws, backend, data_directory, signals};

/// Works until a signal, or the end of standard input when supervised.
pub fn run(args: &WorkerArgs, config: &Config) -> anyhow::Result<Exit> {
    if config.backend.value == BackendName::Aws {
        return aws::worker(config);
    }
    backend::refuse_remote(config, "worker")?;
    let cores = limit_self(args)?;
    let drain = Drain::new();
    signals::drain_on_signal(drain.clone(), || {})?;
    if args.supervised {
        signals::drain_on_end_of_input(drain.clone())?;
    }
    let embedded = Arc::new(data_directory::open(config, IfMissing::Refuse)?);
    let options = WorkerOptions::embedded(
        config.queue.visibility_timeout.value,
        config.queue.batch.value,
        config.threads.value.min(cores.unwrap_or(usize::MAX)),
        config.queue.max_receive_count.value,
    );
    let upkeep = {
        let (embedded, drain) = (embedded.clone(), drain.clone());
        let keep_up = move || keep_up(&embedded, Sweep::No, &drain);
        std::thread::Builder::new().name("upkeep".into()).spawn(keep_up).context("cannot start a thread")?
    };
    let mut backend = Backend::embedded(embedded);
    if let Some(work) = &args.work {
        let times = ServiceTimes::new(work.clone(), args.work_seed)?;
        backend = slower(backend, times, args.time_scale);
    }
    if args.supervised {
        let pulse = Arc::new(Pulse::default());
        let beating = pulse.clone();
        // It ends with the process: a worker that finishes what it has in hand is alive until then.
        std::thread::Builder::new()
            .name("pulse".into())
            .spawn(move || beating.beat())
            .context("cannot start a thread")?;
        backend.hold = Box::new(move |held, tally| {
            pulse.set(Heartbeat { held: held as u64, settled: tally.settled() });
        });
    }
    let tally = work(&backend, &options, &drain);
    drain.request();
    if upkeep.join().is_err() {
        tracing::error!("the upkeep ended in a panic");
    }
    let tally = tally?;
    tally.log();
    Ok(Exit::Done)
}

/// Has each document take so much longer, at so many times the speed of time. A drain does not cut it short, as it would
/// not cut a count short.
fn slower(backend: Backend, times: ServiceTimes, scale: f64) -> Backend {
    let open = backend.open;
    let open_later: Open = Box::new(move |event| {
        let work = times.of(load::number(event.id.key())).div_f64(scale);
        #[expect(clippy::disallowed_methods, reason = "it stands for work, which nothing ends early")]
        std::thread::sleep(work);
        open(event)
    });
    Backend { open: open_later, ..backend }
}

/// What the heartbeat says. The worker only puts it here, so that nobody who does not read it holds up the work.
#[derive(Default)]
struct Pulse {
    now: Mutex<Heartbeat>,
    changed: Condvar,
}

impl Pulse {
    fn set(&self, heartbeat: Heartbeat) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = heartbeat;
        self.changed.notify_all();
    }

    /// Gives a sign of life now, at each change, and every so often.
    fn beat(&self) {
        loop {
            let said = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
            let mut out = std::io::stdout().lock();
            if let Err(error) = writeln!(out, "{said}").and_then(|()| out.flush()) {
                // Who started us is gone; the end of standard input says so too.
                tracing::debug!(%error, "nobody listens to the heartbeat");
                return;
            }
            let state = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            let unchanged = |now: &mut Heartbeat| *now == said;
            drop(
                self.changed
                    .wait_timeout_while(state, HEARTBEAT_EVERY, unchanged)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}

/// Puts the limits of the launch template on this process; how many processors it has then, if they are limited.
fn limit_self(args: &WorkerArgs) -> anyhow::Result<Option<usize>> {
    if let Some(bytes) = args.memory {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        setrlimit(Resource::Data, limit).context("cannot limit the memory of this worker")?;
    }
    args.cpus.map(|most| limit_processors(most, args.first_cpu)).transpose()
}

#[cfg(target_os = "linux")]
fn limit_processors(most: usize, first: usize) -> anyhow::Result<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let context = "cannot limit the processors of this worker";
    let all = sched_getaffinity(None).context(context)?;
    let usable: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    let mut mine = CpuSet::new();
    usable
        .iter()
        .cycle()
        .skip(first % usable.len().max(1))
        .take(most.min(usable.len()))
        .for_each(|cpu| mine.set(*cpu));
    sched_setaffinity(None, &mine).context(context)?;
    Ok(mine.count() as usize)
}

#[cfg(not(target_os = "linux"))]
fn limit_processors(_most: usize, _first: usize) -> anyhow::Result<usize> {
    anyhow::bail!("`fleet.worker_cpus` needs Linux: leave it out on this system")
}
