//! `wordfreq worker`: one worker on the data directory, until it is asked to stop. Not here: workers on AWS (`aws`).

use std::io::Read as _;
use std::sync::Arc;

use anyhow::Context as _;
use wordfreq_pipeline::Drain;
use wordfreq_pipeline::embedded::IfMissing;
use wordfreq_pipeline::worker::{Backend, WorkerOptions, run as work};

use crate::cli::WorkerArgs;
use crate::config::{BackendName, Config};
use crate::exit::Exit;
use crate::upkeep::{Sweep, keep_up};
use crate::{aws, data_directory, signals};

/// Works until a signal, or the end of standard input when supervised.
pub fn run(args: &WorkerArgs, config: &Config) -> anyhow::Result<Exit> {
    if config.backend.value == BackendName::Aws {
        return aws::worker(config);
    }
    let drain = Drain::new();
    signals::drain_on_signal(drain.clone(), || {})?;
    if args.supervised {
        let drain = drain.clone();
        let listen = move || {
            // Nothing is ever written there; its end, or an error, means that whoever started us is gone or done.
            let ended = std::io::stdin().lock().read_to_end(&mut Vec::new());
            tracing::debug!(?ended, "standard input closed");
            drain.request();
        };
        std::thread::Builder::new()
            .name("supervised".into())
            .spawn(listen)
            .context("cannot start a thread")?;
    }
    let embedded = Arc::new(data_directory::open(config, IfMissing::Refuse)?);
    let options = WorkerOptions::embedded(
        config.queue.visibility_timeout.value,
        config.queue.batch.value,
        config.threads.value,
        config.queue.max_receive_count.value,
    );
    let upkeep = {
        let (embedded, drain) = (embedded.clone(), drain.clone());
        let keep_up = move || keep_up(&embedded, Sweep::No, &drain);
        std::thread::Builder::new().name("upkeep".into()).spawn(keep_up).context("cannot start a thread")?
    };
    let tally = work(&Backend::embedded(embedded), &options, &drain);
    drain.request();
    if upkeep.join().is_err() {
        tracing::error!("the upkeep ended in a panic");
    }
    let tally = tally?;
    tally.log();
    Ok(Exit::Done)
}
