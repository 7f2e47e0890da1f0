//! `wordfreq up`: the whole system on this machine. Watches directories, runs the fleet, keeps the data directory in
//! order, and with `--exit-when-idle` prints the totals and stops.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wordfreq_pipeline::embedded::{
    Embedded, IfMissing, Lock, ProcessFleet, Rearranged, is_worker_on, make_directory,
};
use wordfreq_pipeline::fleet::Clock;
use wordfreq_pipeline::scale::{self, Scaling, Waker, Wakes};
use wordfreq_pipeline::watch::{self, Progress, Watch};
use wordfreq_pipeline::{BackendError, DocumentEvent, Drain, ErrorKind, Queue as _, Results as _, Timestamp};

use super::results::print_totals;
use crate::cli::UpArgs;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::fleet;
use crate::output::{self, Style};
use crate::server::notify::{Ending, Notifier, Pace};
use crate::server::{self, Server};
use crate::upkeep::{Sweep, fold_if_idle, keep_up, sweep_once};
use crate::{data_directory, signals};

/// Where watched directories' files go.
const WATCHED_BUCKET: &str = "processing";

/// The file that one `up` holds locked.
pub(super) const LOCK_FILE: &str = "up.lock";

/// How long to wait for a sign before looking all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How many failures are named at the end; the rest is counted.
const NAMED_FAILURES: usize = 20;

enum Happened {
    /// The watch or the queue moved, or a drain was requested: look again.
    Something,
    /// The fleet cannot be run.
    GivenUp(String),
}

/// Runs until a signal, or until there is nothing left to do.
pub fn run(args: &UpArgs, config: &Config) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let directory = &config.data_dir.value;
    let watched = if args.no_watch { &[][..] } else { &config.watch.value };
    if let Some(missing) = watched.iter().find(|watched| !watched.is_dir()) {
        return Err(UsageError(format!("cannot watch {}: it is not a directory", missing.display())).into());
    }
    let (plan, sized) = fleet::sized(args, config)?;
    data_directory::refuse_foreign(config)?;
    // Before anything is made where it should not be.
    watch::roots(watched, directory).map_err(as_usage)?;
    make_directory(directory)?;
    let _lock = lock(directory)?;
    let embedded = Arc::new(data_directory::open(config, IfMissing::Create)?);
    let profile = data_directory::profile_for(config, embedded.profile()?);
    let recounted = embedded.set_profile(&profile)?;
    if recounted > 0 {
        tracing::info!(
            documents = recounted,
            profile = profile.fingerprint(),
            "profile changed, counting again"
        );
    }
    let kept = match config.kept_buckets.explicit() {
        Some(kept) => kept.clone(),
        None => embedded.kept_buckets()?,
    };
    let rearranged = embedded.set_kept_buckets(&kept)?;
    if rearranged != Rearranged::default() {
        tracing::info!(
            counting = rearranged.sent,
            removing = rearranged.removed,
            ?kept,
            "other buckets keep their documents now"
        );
    }

    let drain = Drain::new();
    let (happened, events) = mpsc::channel();
    let watch = start_watch(&embedded, watched, happened.clone())?;
    let clock = Clock::starting_at(Timestamp::now().into(), args.time_scale);
    let (waker, wakes) = scale::wakes();
    let fleet = {
        let waker = waker.clone();
        let template = fleet::template(args, config)?;
        ProcessFleet::new(template, clock.clone(), move |what| waker.changed(what))
    };
    let workers = fleet.clone();
    signals::drain_on_signal(drain.clone(), move || workers.kill_all())?;
    if args.supervised {
        signals::drain_on_end_of_input(drain.clone())?;
    }
    let listen = match config.server.listen.explicit() {
        // Who is to end by itself need not be asked meanwhile.
        None if args.exit_when_idle => None,
        _ => config.server.listen.value,
    };
    let server = listen.map(|address| server::start(config, address, &drain, waker.clone())).transpose()?;
    let url = server::public_url(config, server.as_ref().map(|server| server.address));
    let notifier = Notifier::new(embedded.clone(), &config.notify, url, Pace(args.notify_pace))?;
    let upkeep = {
        let (embedded, drain) = (embedded.clone(), drain.clone());
        let keep_up = move || keep_up(&embedded, Sweep::Yes, &drain);
        std::thread::Builder::new().name("upkeep".into()).spawn(keep_up).context("cannot start a thread")?
    };
    let scaler = {
        let (embedded, drain, happened) = (embedded.clone(), drain.clone(), happened.clone());
        let (name, sized) = (plan.clone(), sized);
        let size = move || size(&embedded, name, sized, &fleet, clock, &wakes, &drain, &happened);
        std::thread::Builder::new().name("scaler".into()).spawn(size).context("cannot start a thread")?
    };
    let forwarding = forward(&embedded, &drain, waker, &happened)?;
    tracing::info!(
        data_dir = %directory.display(),
        profile = profile.fingerprint(),
        plan,
        server = server.as_ref().map(Server::url),
        micros = started.elapsed().as_micros() as u64,
        "ready"
    );
    let ending = if args.exit_when_idle { Ending::LastWords } else { Ending::AtOnce };
    let notifier = notifier.start(drain.clone(), ending)?;

    let is_idle = || args.exit_when_idle && is_idle(&embedded, watch.as_ref());
    let given_up = wait(&events, &drain, is_idle);
    let interrupted = drain.requested();
    let progress = watch.as_ref().map(Watch::progress).unwrap_or_default();
    drop(watch);
    drain.request();
    for thread in forwarding.into_iter().chain([scaler, upkeep, notifier]) {
        if thread.join().is_err() {
            tracing::error!("a thread ended in a panic");
        }
    }
    if server.is_some_and(|server| server.join().is_err()) {
        tracing::error!("the server ended in a panic");
    }
    sweep_once(&embedded);
    fold_if_idle(&embedded);
    embedded.checkpoint()?;
    if let Some(reason) = given_up {
        bail!(reason);
    }
    if args.exit_when_idle && interrupted {
        output::remark(format!("stopped before everything was done: {}", embedded.queue.depth()?));
        return Ok(Exit::Failed);
    }
    if args.exit_when_idle {
        print_totals(embedded.results.totals(Some(10))?, Style::default())?;
        return failures(&embedded, &progress);
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// A predecessor that was killed while it made a child process holds the lock through that child until the child
/// becomes another program, which is a matter of milliseconds.
const PREDECESSOR_GONE_WITHIN: Duration = Duration::from_millis(500);

/// Makes this process the only `up` on the data directory.
fn lock(directory: &Path) -> anyhow::Result<Lock> {
    let asked = Instant::now();
    loop {
        match Lock::take(&directory.join(LOCK_FILE))? {
            Ok(lock) => return Ok(lock),
            Err(_) if asked.elapsed() < PREDECESSOR_GONE_WITHIN => {
                #[expect(clippy::disallowed_methods, reason = "a lock gives no signal when it is free")]
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(holder) => bail!(
                "{holder} runs `wordfreq up` on {} already: stop it first, or name another directory with --data-dir",
                directory.display()
            ),
        }
    }
}

/// Keeps the fleet at its size until it is drained.
#[expect(clippy::too_many_arguments, reason = "a thread's whole world, named where it is started")]
fn size(
    embedded: &Embedded,
    name: String,
    sized: scale::Sized,
    fleet: &ProcessFleet,
    clock: Clock,
    wakes: &Wakes,
    drain: &Drain,
    happened: &Sender<Happened>,
) {
    // As it was given to the workers.
    let directory = embedded.directory();
    let is_alive = |process| is_worker_on(process, directory);
    let (queue, history) = (&*embedded.queue, &*embedded.history);
    let scaling = Scaling { name, sized, fleet, queue, history, clock, is_alive: &is_alive };
    let ended = catch_unwind(AssertUnwindSafe(|| scale::run(&scaling, wakes, drain)));
    let reason = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        // Nobody owns the fleet any more: its workers end with this process.
        Err(_panic) => "the scaler ended in a panic; the log tells where".to_owned(),
    };
    // When nobody listens any more, `up` is on its way out.
    drop(happened.send(Happened::GivenUp(reason)));
}

fn start_watch(
    embedded: &Embedded,
    directories: &[PathBuf],
    happened: Sender<Happened>,
) -> anyhow::Result<Option<Watch>> {
    if directories.is_empty() {
        return Ok(None);
    }
    // When nobody listens any more, `up` is on its way out.
    let changed = move || drop(happened.send(Happened::Something));
    let watch =
        Watch::start(embedded.bucket.clone(), WATCHED_BUCKET, directories, embedded.directory(), changed);
    Ok(Some(watch.map_err(as_usage)?))
}

/// What cannot be watched was named by whoever started this.
fn as_usage(error: BackendError) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Invalid => UsageError(error.to_string()).into(),
        _ => error.into(),
    }
}

/// Brings everything that may end the wait into one channel.
fn forward(
    embedded: &Arc<Embedded>,
    drain: &Drain,
    waker: Waker,
    happened: &Sender<Happened>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let thread = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(work).context("cannot start a thread")
    };
    let sent = {
        let (embedded, drain) = (embedded.clone(), drain.clone());
        thread(
            "sent",
            Box::new(move || {
                let _wakes = drain.on_request(embedded.queue.sent_waker());
                let mut seen = embedded.queue.sent_so_far();
                while !drain.requested() {
                    let now = embedded.queue.wait_sent(seen, LOOK_AGAIN);
                    if now != seen {
                        waker.message();
                    }
                    seen = now;
                }
            }),
        )?
    };
    let (sender, drain_waits) = (happened.clone(), drain.clone());
    let draining = thread(
        "drain",
        Box::new(move || {
            while !drain_waits.wait(Duration::from_secs(3600)) {}
            drop(sender.send(Happened::Something));
        }),
    )?;
    let (sender, embedded, drain) = (happened.clone(), embedded.clone(), drain.clone());
    let settled = thread(
        "settled",
        Box::new(move || {
            let _wakes = drain.on_request(embedded.settled_waker());
            let mut seen = embedded.settled_so_far();
            while !drain.requested() && sender.send(Happened::Something).is_ok() {
                seen = embedded.wait_settled(seen, LOOK_AGAIN);
            }
        }),
    )?;
    Ok(vec![sent, draining, settled])
}

/// Waits until there is nothing left to do or a drain is requested; answers why the fleet was given up, if it was.
fn wait(events: &mpsc::Receiver<Happened>, drain: &Drain, is_idle: impl Fn() -> bool) -> Option<String> {
    while !drain.requested() && !is_idle() {
        let first = events.recv().ok()?;
        // However much has happened, one look is enough.
        for happened in std::iter::once(first).chain(std::iter::from_fn(|| events.try_recv().ok())) {
            if let Happened::GivenUp(reason) = happened {
                return Some(reason);
            }
        }
    }
    None
}

fn is_idle(embedded: &Embedded, watch: Option<&Watch>) -> bool {
    // The watch first: once it is idle, everything it will ever send is in the queue.
    watch.is_none_or(Watch::is_idle)
        && embedded.queue.is_idle().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look at the queue, trying again");
            false
        })
}

/// Names what could not be taken in or counted.
fn failures(embedded: &Embedded, progress: &Progress) -> anyhow::Result<Exit> {
    for (path, reason) in progress.failures.iter().take(NAMED_FAILURES) {
        output::remark(format!("not taken in: {}: {reason}", path.display()));
    }
    let depth = embedded.queue.depth()?;
    for letter in embedded.queue.dead_letters(NAMED_FAILURES)? {
        let name =
            DocumentEvent::parse(&letter.body).map_or_else(|_| letter.body, |event| event.id.to_string());
        output::remark(format!("failed: {name}: {}", letter.reason));
    }
    let num_failed = depth.dead_letters + progress.failures.len() as u64;
    if num_failed == 0 {
        return Ok(Exit::Done);
    }
    let plural = if num_failed == 1 { "" } else { "s" };
    let mut failed = format!("{num_failed} document{plural} failed");
    if depth.dead_letters > 0 {
        failed += "; `wordfreq queue dead-letters` lists those that could not be counted, `wordfreq queue redrive` tries them again";
    }
    output::remark(failed);
    let committed = embedded.results.totals(Some(0))?.documents;
    Ok(if committed == 0 { Exit::Failed } else { Exit::Partly })
}
