//! SIGINT, SIGTERM, and the terminal's going away. Where documents are counted the first asks for a drain and the second ends the process at once;
//! where one only watches, the first ends it.
//! And the end of standard input, which asks a process for a drain that another one started and looks after.

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use wordfreq_pipeline::Drain;

/// Signals closer together are one: `timeout` and others send theirs to a process, and then to its whole group.
const ONE_SIGNAL_WITHIN: Duration = Duration::from_millis(100);

/// Listens from now on, for the rest of the process. `at_once` is called on the second signal, just before the end.
///
/// # Errors
/// When the operating system refuses the handlers or the thread.
pub fn drain_on_signal(drain: Drain, at_once: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let mut signals = listen()?;
    let listen = move || {
        // Counted here and not read off the drain, which others may have requested: on a terminal control-C reaches the
        // workers themselves and, through the end of their standard input, once more.
        if let Some(signal) = signals.forever().next() {
            tracing::info!(signal, "draining");
            drain.request();
            #[expect(clippy::disallowed_methods, reason = "what comes in this time says nothing new")]
            std::thread::sleep(ONE_SIGNAL_WITHIN);
            signals.pending().for_each(drop);
            tracing::info!("a second signal stops at once");
        }
        if let Some(signal) = signals.forever().next() {
            tracing::warn!(signal, "stopping at once");
            at_once();
            if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
                tracing::error!(%error, "cannot end the process");
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).context("cannot start a thread")?;
    Ok(())
}

/// Requests a drain when standard input ends, which is how a process learns that whoever started it is gone or done.
///
/// # Errors
/// When the operating system refuses the thread.
pub fn drain_on_end_of_input(drain: Drain) -> anyhow::Result<()> {
    let listen = move || {
        // Nothing is ever written there; an error means the same as the end.
        let ended = std::io::stdin().lock().read_to_end(&mut Vec::new());
        tracing::debug!(?ended, "standard input closed");
        drain.request();
    };
    std::thread::Builder::new().name("supervised".into()).spawn(listen).context("cannot start a thread")?;
    Ok(())
}

/// Calls `end` at the first signal. A second one ends the process at once.
///
/// # Errors
/// When the operating system refuses the handlers or the thread.
pub fn on_end(end: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let mut signals = listen()?;
    let listen = move || {
        let mut arrived = signals.forever();
        if arrived.next().is_some() {
            end();
        }
        if let Some(signal) = arrived.next()
            && let Err(error) = signal_hook::low_level::emulate_default_handler(signal)
        {
            tracing::error!(%error, "cannot end the process");
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).context("cannot start a thread")?;
    Ok(())
}

fn listen() -> anyhow::Result<Signals> {
    let hangup = Some(SIGHUP).filter(|_| !ignores_hangup());
    Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup)).context("cannot listen to signals")
}

/// Whether this process was started to outlive its terminal, as `nohup` does. Only Linux tells; elsewhere it drains.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    ignored.is_some_and(|bits| bits & (1 << (SIGHUP - 1)) != 0)
}
