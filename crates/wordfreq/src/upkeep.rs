//! What a data directory needs done while work goes on: the log copied back into the database, totals folded, and
//! objects nobody refers to removed. Not here: who may do it; the locks of the data directory see to that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wordfreq_pipeline::Drain;
use wordfreq_pipeline::embedded::Embedded;

const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Whether to sweep and fold too: one process at a time may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// At once, and every ten minutes.
    Yes,
    /// Leave it to `up`.
    No,
}

/// Sees to a data directory until `drain` is requested.
pub fn keep_up(embedded: &Arc<Embedded>, sweep: Sweep, drain: &Drain) {
    let mut swept: Option<Instant> = None;
    loop {
        if sweep == Sweep::Yes && swept.is_none_or(|swept| swept.elapsed() >= SWEEP_EVERY) {
            swept = Some(Instant::now());
            sweep_once(embedded);
        }
        if drain.wait(CHECKPOINT_EVERY) {
            return;
        }
        if sweep == Sweep::Yes {
            fold_if_idle(embedded);
        }
        if let Err(error) = embedded.checkpoint() {
            tracing::warn!(%error, "cannot checkpoint, trying again");
        }
    }
}

/// Folds what commits have left to fold, unless there is work that goes first.
pub fn fold_if_idle(embedded: &Embedded) {
    let folded =
        embedded.queue.is_idle().and_then(|idle| if idle { embedded.results.fold() } else { Ok(false) });
    if let Err(error) = folded {
        tracing::warn!(%error, "cannot fold the totals, trying again later");
    }
}

/// Uploads in parts that were not completed within this are given up.
const UPLOADS_LAST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Sweeps, and says what was removed.
pub fn sweep_once(embedded: &Embedded) {
    match embedded.bucket.expire_uploads(UPLOADS_LAST) {
        Ok(0) => {}
        Ok(uploads) => tracing::info!(uploads, "uploads in parts that nobody completed are given up"),
        Err(error) => tracing::warn!(%error, "cannot give up old uploads, trying again later"),
    }
    match embedded.bucket.sweep() {
        Ok(swept) if swept.objects + swept.incoming > 0 => {
            tracing::info!(objects = swept.objects, incoming = swept.incoming, "swept");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot sweep, trying again later"),
    }
}
