//! A record of a message becomes one outcome, and the outcomes of a message become one settlement of it. The worker and
//! every other host of the pipeline call these two functions and add nothing to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wordfreq_core::{Counts, Profile};

use crate::document::{DocumentEvent, EventKind, Record};
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::object::{Content, Object, Opened};
use crate::reading::{LARGE_BYTES, ReadError, count_and_hash_file, count_pieces, count_reader};
use crate::results::Effect;

/// How long a document rests first before it is tried again; the time doubles with every try.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The same after trouble of the bucket's: five tries make up for more than seven minutes of it.
const FIRST_REST_OF_BUSY: Duration = Duration::from_secs(30);

/// The longest of a reason that is kept.
const MAX_REASON_BYTES: usize = 1024;

/// The longest time a failed document rests before it is tried again.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What a record of a message led to.
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
    /// A newer version exists, or it was deleted since; its own message will see to it.
    Superseded,
    /// It told of nothing that concerns us, for this reason.
    Ignored(String),
}

/// Why a record led to nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum JobError {
    /// Something that may pass: try again later.
    Retry(String),
    /// The bucket has trouble, most likely with every document: try again much later, as tries are few.
    Busy(String),
    /// It can never succeed as it is: same bytes, same profile, same failure.
    Poison(String),
    /// The lease is lost: another worker may have the message, so nothing must be done for it.
    LeaseLost,
}

/// One record of a message, done.
#[derive(Debug)]
pub struct Processed {
    /// What it told of, with the version that was found; `None` if it could not be read or concerns nothing.
    pub event: Option<DocumentEvent>,
    /// What it led to.
    pub outcome: Result<Outcome, JobError>,
}

/// What is to be done with a message: store these effects, and when they are durable the rest.
#[derive(Debug)]
pub struct Settlement {
    /// To commit first.
    pub effects: Vec<(DocumentEvent, Effect)>,
    /// The documents that are given up with it, each with its reason.
    pub failures: Vec<(DocumentEvent, String)>,
    /// To do with the message then.
    pub then: Then,
}

/// What becomes of a message whose effects are durable.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    /// It is done.
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

/// Does what a record asks for, without effect on the store. `open` gives the bytes of a version; `lost` turns true
/// when the lease is lost, and then counting stops early.
pub fn process(
    record: Record,
    profile: &Profile,
    threads: usize,
    open: &dyn Fn(&DocumentEvent) -> Result<Opened, BackendError>,
    lost: &AtomicBool,
) -> Processed {
    match record {
        Record::Poison(reason) => Processed { event: None, outcome: Err(JobError::Poison(reason)) },
        Record::Ignored(reason) => Processed { event: None, outcome: Ok(Outcome::Ignored(reason)) },
        Record::Event(mut event) => {
            let outcome = match event.event {
                EventKind::Removed => Ok(Outcome::Removed),
                EventKind::Created | EventKind::Changed => count(&mut event, profile, threads, open, lost),
            };
            Processed { event: Some(event), outcome }
        }
    }
}

fn count(
    event: &mut DocumentEvent,
    profile: &Profile,
    threads: usize,
    open: &dyn Fn(&DocumentEvent) -> Result<Opened, BackendError>,
    lost: &AtomicBool,
) -> Result<Outcome, JobError> {
    let started = Instant::now();
    failpoint::io("process.before_open").map_err(|error| JobError::Retry(error.to_string()))?;
    let object = match open(event) {
        Ok(Opened::Current(object)) => object,
        Ok(Opened::Superseded) => return Ok(Outcome::Superseded),
        Ok(Opened::Gone) if event.event == EventKind::Changed => return Ok(Outcome::Removed),
        Ok(Opened::Gone) => return Ok(Outcome::Superseded),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
            return Err(JobError::Poison(error.to_string()));
        }
        Err(error) if error.kind() == ErrorKind::Busy => return Err(JobError::Busy(error.to_string())),
        Err(error) => return Err(JobError::Retry(error.to_string())),
    };
    failpoint::io("process.before_count").map_err(|error| JobError::Retry(error.to_string()))?;
    let Object { bytes, provenance, content } = object;
    event.provenance = provenance;
    let is_remote = matches!(content, Content::Pieces(_));
    let counted = count_content(content, bytes, profile, threads, lost);
    failpoint::hit("process.after_count");
    match counted {
        Ok(Some(counts)) => Ok(Outcome::Counted { counts, duration: started.elapsed() }),
        Ok(None) => Err(JobError::Poison(
            "the stored bytes do not match their digest, the disk has damaged them: put the document again"
                .into(),
        )),
        Err(ReadError::Stopped) => Err(JobError::LeaseLost),
        Err(ReadError::Replaced) => Ok(Outcome::Superseded),
        Err(ReadError::Count(error)) => Err(JobError::Poison(error.to_string())),
        Err(error @ (ReadError::Io { .. } | ReadError::Shortened | ReadError::Spill(_))) => {
            let reason = format!("the document's bytes: {error}");
            Err(if is_remote { JobError::Busy(reason) } else { JobError::Retry(reason) })
        }
    }
}

/// The counts, or `None` if the bytes of a file are not what they must be.
fn count_content(
    content: Content,
    bytes: u64,
    profile: &Profile,
    threads: usize,
    lost: &AtomicBool,
) -> Result<Option<Counts>, ReadError> {
    let held = || !lost.load(Ordering::Relaxed);
    let threads = if bytes > LARGE_BYTES { threads } else { 1 };
    let (mut file, digest) = match content {
        Content::File { file, digest } => (file, digest),
        Content::Pieces(mut pieces) => {
            return count_pieces(&mut pieces, profile, threads, |_| held()).map(Some);
        }
    };
    let (counts, hash) = if threads > 1 {
        count_and_hash_file(&file, bytes, profile, threads, &|_| held())?
    } else {
        let mut hasher = blake3::Hasher::new();
        let counts = count_reader(&mut file, profile, None, |piece| {
            hasher.update(piece);
            held()
        })?;
        (counts, hasher.finalize())
    };
    Ok((hash.as_bytes() == &digest).then_some(counts))
}

/// The one place that decides what becomes of a message: the worst of its records decides, the best of them are stored
/// all the same. `last_try` says that the queue would not hand it out again.
pub fn settle(
    processed: Vec<Processed>,
    profile: &Profile,
    receive_count: u32,
    last_try: bool,
) -> Settlement {
    let mut effects = Vec::new();
    let mut failures: Vec<(Option<DocumentEvent>, String)> = Vec::new();
    let (mut rest, mut lost) = (None::<Duration>, false);
    for Processed { event, outcome } in processed {
        let effect = match outcome {
            Ok(Outcome::Counted { counts, duration }) => {
                Effect::Counted { counts, fingerprint: profile.fingerprint(), duration }
            }
            Ok(Outcome::Removed) => Effect::Removed,
            Ok(Outcome::Superseded | Outcome::Ignored(_)) => continue,
            Err(JobError::Poison(reason)) => {
                failures.push((event, reason));
                continue;
            }
            Err(JobError::Retry(reason)) => {
                rest = rest.max(Some(FIRST_REST));
                failures.push((event, reason));
                continue;
            }
            Err(JobError::Busy(reason)) => {
                rest = rest.max(Some(FIRST_REST_OF_BUSY));
                failures.push((event, reason));
                continue;
            }
            Err(JobError::LeaseLost) => {
                lost = true;
                continue;
            }
        };
        effects.extend(event.map(|event| (event, effect)));
    }
    if lost {
        return Settlement { effects: Vec::new(), failures: Vec::new(), then: Then::Abandon };
    }
    if failures.is_empty() {
        return Settlement { effects, failures: Vec::new(), then: Then::Ack };
    }
    let mut reason = failures.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<_>>().join("; ");
    if reason.len() > MAX_REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        reason.push('…');
    }
    if let (Some(rest), false) = (rest, last_try) {
        // Whatever passes by itself gets time to pass, and more of it each time.
        let doublings = receive_count.saturating_sub(1).min(16);
        let after = (rest * (1 << doublings)).min(LONGEST_REST);
        return Settlement { effects, failures: Vec::new(), then: Then::Release { after, reason } };
    }
    let reason = if rest.is_some() {
        format!("received {receive_count} times, the last time: {reason}")
    } else {
        reason
    };
    let failures = failures.into_iter().filter_map(|(event, reason)| Some((event?, reason))).collect();
    Settlement { effects, failures, then: Then::DeadLetter { reason } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{DocumentId, Sequence};

    fn event(kind: EventKind) -> DocumentEvent {
        DocumentEvent::new(kind, DocumentId::new("processing", "a").unwrap(), Sequence(1), 0)
    }

    fn settled(outcomes: Vec<Result<Outcome, JobError>>, receive_count: u32, last_try: bool) -> Settlement {
        let processed = outcomes
            .into_iter()
            .map(|outcome| Processed { event: Some(event(EventKind::Created)), outcome })
            .collect();
        settle(processed, &Profile::default(), receive_count, last_try)
    }

    fn counted() -> Result<Outcome, JobError> {
        Ok(Outcome::Counted { counts: Counts::new(), duration: Duration::ZERO })
    }

    #[test]
    fn every_outcome_settles_its_message_in_one_way() {
        let one = |outcome| {
            let Settlement { effects, then, .. } = settled(vec![outcome], 1, false);
            (effects.into_iter().map(|(_, effect)| effect).next(), then)
        };
        assert!(matches!(one(Ok(Outcome::Removed)), (Some(Effect::Removed), Then::Ack)));
        assert!(matches!(one(Ok(Outcome::Superseded)), (None, Then::Ack)));
        assert!(matches!(one(Ok(Outcome::Ignored("i".into()))), (None, Then::Ack)));
        assert!(matches!(one(Err(JobError::LeaseLost)), (None, Then::Abandon)));
        assert!(
            matches!(one(Err(JobError::Poison("p".into()))), (None, Then::DeadLetter { reason }) if reason == "p")
        );
        assert!(matches!(
            one(counted()),
            (Some(Effect::Counted { fingerprint, .. }), Then::Ack) if fingerprint == Profile::default().fingerprint()
        ));
        assert_eq!(settled(Vec::new(), 1, false).then, Then::Ack);
    }

    #[test]
    fn the_worst_record_decides_and_the_others_are_stored_all_the_same() {
        let poison = || Err(JobError::Poison("p".into()));
        let retry = || Err(JobError::Retry("r".into()));
        let with_poison = settled(vec![counted(), poison(), Ok(Outcome::Removed)], 1, false);
        assert_eq!(with_poison.effects.len(), 2);
        assert_eq!(with_poison.then, Then::DeadLetter { reason: "p".into() });
        let with_both = settled(vec![counted(), poison(), retry()], 1, false);
        assert_eq!(with_both.effects.len(), 1);
        assert!(matches!(with_both.then, Then::Release { reason, .. } if reason == "p; r"));
        let at_last = settled(vec![counted(), poison(), retry()], 5, true);
        assert_eq!((at_last.effects.len(), at_last.failures.len()), (1, 2));
        assert!(with_both.failures.is_empty(), "a failure is final at the last try only");
        assert_eq!(at_last.then, Then::DeadLetter { reason: "received 5 times, the last time: p; r".into() });
        let lost = settled(vec![counted(), poison(), Err(JobError::LeaseLost)], 5, true);
        assert!(lost.effects.is_empty(), "a lost lease stores nothing of its message");
        assert_eq!(lost.then, Then::Abandon);
    }

    #[test]
    fn a_retry_rests_longer_each_time_and_never_too_long() {
        let mut before = Duration::ZERO;
        for receive_count in 1..100 {
            let Then::Release { after, .. } =
                settled(vec![Err(JobError::Retry("r".into()))], receive_count, false).then
            else {
                panic!("a retry is a release")
            };
            assert!(after >= before && after <= LONGEST_REST);
            before = after;
        }
        assert_eq!(before, LONGEST_REST);
    }

    #[test]
    fn five_tries_outlast_some_minutes_of_trouble_of_the_bucket() {
        let rest =
            |receive_count| match settled(vec![Err(JobError::Busy("b".into()))], receive_count, false).then {
                Then::Release { after, .. } => after,
                then => panic!("{then:?}"),
            };
        assert!((1..5).map(rest).sum::<Duration>() > Duration::from_secs(7 * 60));
    }

    #[test]
    fn a_reason_has_an_end() {
        let reason = "é".repeat(5000);
        let Then::DeadLetter { reason } = settled(vec![Err(JobError::Poison(reason))], 1, false).then else {
            panic!("poison is given up")
        };
        assert!(reason.len() < 2 * MAX_REASON_BYTES && reason.ends_with('…'));
    }

    #[test]
    fn what_is_gone_was_deleted_only_if_its_event_leaves_that_open() {
        let outcome = |kind| {
            let open = |_: &DocumentEvent| Ok(Opened::Gone);
            process(Record::Event(event(kind)), &Profile::default(), 1, &open, &AtomicBool::new(false))
                .outcome
        };
        assert!(matches!(outcome(EventKind::Created), Ok(Outcome::Superseded)));
        assert!(matches!(outcome(EventKind::Changed), Ok(Outcome::Removed)));
    }

    #[test]
    fn what_cannot_be_read_is_poison_and_never_opened() {
        let open = |_: &DocumentEvent| -> Result<Opened, BackendError> {
            panic!("opened for a record that is no event")
        };
        let processed = process(
            Record::Poison("no event".into()),
            &Profile::default(),
            1,
            &open,
            &AtomicBool::new(false),
        );
        assert!(processed.event.is_none());
        assert_eq!(processed.outcome.unwrap_err(), JobError::Poison("no event".into()));
    }
}
