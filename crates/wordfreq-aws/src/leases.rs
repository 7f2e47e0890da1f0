//! The leases this process holds, by its own clock. SQS lets an old receipt act once its lease has run out, and its
//! emulators let it act even against the new holder; here it is refused before it is sent, and a result is not written
//! under it. Not here: the calls that take, extend and end leases (`sqs_queue`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wordfreq_pipeline::queue::{MAX_HOLD, Message, Receipt};

/// SQS refuses an extension to exactly 12 hours from the receive, as time passes on the way.
const HOLD_MARGIN: Duration = Duration::from_secs(5);

/// Run-out leases nobody ended are forgotten when there are this many.
const MANY: usize = 1000;

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) message: Arc<Message>,
    received: Instant,
    until: Instant,
}

/// The leases, shared by the queue that takes them and the results that are written under them.
#[derive(Debug, Default)]
pub struct Leases(Mutex<HashMap<Receipt, Lease>>);

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<Receipt, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, message: &Message, lease: Duration, now: Instant) {
        let mut leases = self.lock();
        if leases.len() >= MANY {
            leases.retain(|_, lease| lease.until > now);
        }
        let lease = Lease { message: Arc::new(message.clone()), received: now, until: now + lease };
        leases.insert(message.receipt.clone(), lease);
    }

    /// Whether a lease has not run out.
    pub fn is_held(&self, receipt: &Receipt) -> bool {
        self.get(receipt, Instant::now()).is_some()
    }

    pub(crate) fn get(&self, receipt: &Receipt, now: Instant) -> Option<Lease> {
        self.lock().get(receipt).filter(|lease| lease.until > now).cloned()
    }

    /// For how long a lease can be made to last from now; `None` if it is lost, or was held as long as it can be.
    pub(crate) fn extendable(&self, receipt: &Receipt, lease: Duration, now: Instant) -> Option<Duration> {
        let held = self.get(receipt, now)?;
        let left = (held.received + MAX_HOLD - HOLD_MARGIN).saturating_duration_since(now);
        Some(left.min(lease)).filter(|lease| lease.as_secs() > 0)
    }

    pub(crate) fn extended(&self, receipt: &Receipt, lease: Duration, now: Instant) {
        if let Some(held) = self.lock().get_mut(receipt) {
            held.until = now + lease;
        }
    }

    pub(crate) fn end(&self, receipt: &Receipt) {
        self.lock().remove(receipt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wordfreq_pipeline::Timestamp;

    #[test]
    fn a_lease_ends_by_its_time_and_is_extended_to_twelve_hours_at_most() {
        let leases = Leases::default();
        let receipt = Receipt("r".into());
        let message = Message {
            id: "m".into(),
            receipt: receipt.clone(),
            body: "b".into(),
            receive_count: 1,
            sent_at: Timestamp(0),
        };
        let lease = Duration::from_secs(60);
        let start = Instant::now();
        assert!(leases.get(&receipt, start).is_none());
        leases.begin(&message, lease, start);
        assert!(leases.get(&receipt, start + lease / 2).is_some());
        assert!(leases.get(&receipt, start + lease).is_none(), "it ends at its very end");
        let mut now = start;
        while let Some(extended) = leases.extendable(&receipt, lease, now) {
            leases.extended(&receipt, extended, now);
            now += extended / 2;
        }
        let held = now - start;
        assert!(held < MAX_HOLD && held > MAX_HOLD - 2 * lease, "{held:?}");
        leases.end(&receipt);
        assert!(!leases.is_held(&receipt));
    }
}
