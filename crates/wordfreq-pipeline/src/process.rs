//! One message becomes one outcome, and an outcome becomes one settlement of its message. The worker and every other
//! host of the pipeline call these two functions and add nothing to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wordfreq_core::{Counts, Profile};

use crate::document::{DocumentEvent, EventKind};
use crate::embedded::Opened;
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::queue::Message;
use crate::reading::{LARGE_BYTES, ReadError, count_file, count_reader};
use crate::results::Effect;

/// The longest time a failed document rests before it is tried again.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What a message led to.
#[derive(Debug)]
pub enum Outcome {
    /// The document was counted.
    Counted {
        /// The whole table.
        counts: Counts,
        /// How long reading and counting took.
        duration: Duration,
    },
    /// The document was deleted.
    Removed,
    /// A newer version exists; its own message will see to it.
    Superseded,
}

/// Why a message led to nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum JobError {
    /// Something that may pass: try again later.
    Retry(String),
    /// It can never succeed as it is: same bytes, same profile, same failure.
    Poison(String),
    /// The lease is lost: another worker may have the message, so nothing must be done for it.
    LeaseLost,
}

/// What is to be done with the message.
#[derive(Debug)]
pub enum Settlement {
    /// Commit this and acknowledge.
    Commit(Effect),
    /// Acknowledge; there is nothing to store.
    Ack,
    /// Give it back for another try.
    Release {
        /// How long it rests first.
        after: Duration,
        /// What went wrong.
        reason: String,
    },
    /// Give it up.
    DeadLetter {
        /// What went wrong.
        reason: String,
    },
    /// Leave it alone.
    Abandon,
}

/// Does what a message asks for, without effect on the store. `open` gives the bytes of a version; `lost` turns true
/// when the lease is lost, and then counting stops early.
pub fn process(
    message: &Message,
    profile: &Profile,
    threads: usize,
    open: &dyn Fn(&DocumentEvent) -> Result<Opened, BackendError>,
    lost: &AtomicBool,
) -> (Option<DocumentEvent>, Result<Outcome, JobError>) {
    match DocumentEvent::parse(&message.body) {
        Err(reason) => (None, Err(JobError::Poison(reason))),
        Ok(event) => {
            let outcome = match event.event {
                EventKind::Removed => Ok(Outcome::Removed),
                EventKind::Created => count(&event, profile, threads, open, lost),
            };
            (Some(event), outcome)
        }
    }
}

fn count(
    event: &DocumentEvent,
    profile: &Profile,
    threads: usize,
    open: &dyn Fn(&DocumentEvent) -> Result<Opened, BackendError>,
    lost: &AtomicBool,
) -> Result<Outcome, JobError> {
    let started = Instant::now();
    failpoint::io("process.before_open").map_err(|error| JobError::Retry(error.to_string()))?;
    let mut object = match open(event) {
        Ok(Opened::Current(object)) => object,
        Ok(Opened::Superseded) => return Ok(Outcome::Superseded),
        Err(error) if error.kind() == ErrorKind::Corrupt => return Err(JobError::Poison(error.to_string())),
        Err(error) => return Err(JobError::Retry(error.to_string())),
    };
    failpoint::io("process.before_count").map_err(|error| JobError::Retry(error.to_string()))?;
    let held = || !lost.load(Ordering::Relaxed);
    let mut hasher = blake3::Hasher::new();
    let counted = if object.bytes > LARGE_BYTES && threads > 1 {
        let file = &object.file;
        std::thread::scope(|scope| {
            let hashing = scope.spawn(|| {
                let mut hasher = blake3::Hasher::new();
                hasher.update_reader(file)?;
                Ok::<_, std::io::Error>(hasher)
            });
            let counted = count_file(file, object.bytes, profile, threads, &|_| held());
            let hashed = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            hasher = hashed.map_err(|source| ReadError::Io { offset: 0, source })?;
            counted
        })
    } else {
        count_reader(&mut object.file, profile, |piece| {
            hasher.update(piece);
            held()
        })
    };
    failpoint::hit("process.after_count");
    let counts = match counted {
        Ok(counts) => counts,
        Err(ReadError::Stopped) => return Err(JobError::LeaseLost),
        Err(ReadError::Count(error)) => {
            return Err(JobError::Poison(error.to_string()));
        }
        Err(error @ (ReadError::Io { .. } | ReadError::Shortened)) => {
            return Err(JobError::Retry(format!("the document's bytes: {error}")));
        }
    };
    if hasher.finalize().as_bytes() != &object.digest {
        return Err(JobError::Poison(
            "the stored bytes do not match their digest, the disk has damaged them: put the document again"
                .into(),
        ));
    }
    Ok(Outcome::Counted { counts, duration: started.elapsed() })
}

/// The one place that decides what becomes of a message.
pub fn settle(outcome: Result<Outcome, JobError>, profile: &Profile, receive_count: u32) -> Settlement {
    match outcome {
        Ok(Outcome::Counted { counts, duration }) => {
            Settlement::Commit(Effect::Counted { counts, fingerprint: profile.fingerprint(), duration })
        }
        Ok(Outcome::Removed) => Settlement::Commit(Effect::Removed),
        Ok(Outcome::Superseded) => Settlement::Ack,
        Err(JobError::Poison(reason)) => Settlement::DeadLetter { reason },
        Err(JobError::Retry(reason)) => {
            // 1 s, 2 s, 4 s ...: whatever passes by itself gets time to pass.
            let doublings = receive_count.saturating_sub(1).min(16);
            Settlement::Release { after: Duration::from_secs(1 << doublings).min(LONGEST_REST), reason }
        }
        Err(JobError::LeaseLost) => Settlement::Abandon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_settles_its_message_in_one_way() {
        let profile = Profile::default();
        let settle = |outcome, receive_count| settle(outcome, &profile, receive_count);
        assert!(matches!(settle(Ok(Outcome::Removed), 1), Settlement::Commit(Effect::Removed)));
        assert!(matches!(settle(Ok(Outcome::Superseded), 1), Settlement::Ack));
        assert!(matches!(settle(Err(JobError::LeaseLost), 1), Settlement::Abandon));
        assert!(
            matches!(settle(Err(JobError::Poison("p".into())), 1), Settlement::DeadLetter { reason } if reason == "p")
        );
        let counted = Outcome::Counted { counts: Counts::new(), duration: Duration::ZERO };
        assert!(matches!(
            settle(Ok(counted), 1),
            Settlement::Commit(Effect::Counted { fingerprint, .. }) if fingerprint == profile.fingerprint()
        ));
    }

    #[test]
    fn a_retry_rests_longer_each_time_and_never_too_long() {
        let mut before = Duration::ZERO;
        for receive_count in 1..100 {
            let Settlement::Release { after, .. } =
                settle(Err(JobError::Retry("r".into())), &Profile::default(), receive_count)
            else {
                panic!("a retry is a release")
            };
            assert!(after >= before && after <= LONGEST_REST);
            before = after;
        }
        assert_eq!(before, LONGEST_REST);
    }

    #[test]
    fn a_body_that_is_no_event_is_poison() {
        let message = Message {
            id: "1".into(),
            receipt: crate::queue::Receipt("1.1".into()),
            body: "{\"event\":\"created\"}".into(),
            receive_count: 1,
            sent_at: crate::Timestamp(0),
        };
        let open = |_: &DocumentEvent| -> Result<Opened, BackendError> {
            panic!("opened for a body that is no event")
        };
        let (event, outcome) = process(&message, &Profile::default(), 1, &open, &AtomicBool::new(false));
        assert!(event.is_none());
        assert!(matches!(outcome, Err(JobError::Poison(_))));
    }
}
