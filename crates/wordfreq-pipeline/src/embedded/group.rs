//! Group commit: changes that are asked for at the same time share their syncs and one transaction. One thread commits;
//! it takes along whatever waits by the time it is free, so a lone change waits for nobody and there is no timer. Who asks
//! gives a function that is called when the change is durable, and so needs no thread to wait in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::Transaction;

use super::bucket::{Bucket, Staged};
use super::objects::Answer;
use crate::error::{BackendError, ErrorKind};

/// The most changes of one transaction, so that nobody waits for an endless one.
const MAX_CHANGES: usize = 256;

/// The way to the thread that commits, which begins with the first change and ends with the last [`Bucket`].
#[derive(Debug, Default)]
pub(super) struct Group {
    changes: OnceLock<Sender<Change>>,
}

type Record = Box<dyn FnOnce(&Transaction<'_>) -> Result<(), BackendError> + Send>;

struct Change {
    staged: Option<Staged>,
    record: Record,
    done: Box<dyn FnOnce(Result<(), BackendError>) + Send>,
}

/// Waits for the answer to a change.
///
/// # Errors
/// `Other` if the change was given up by a fault of this program.
pub fn wait_for<T: Send + 'static>(ask: impl FnOnce(Box<dyn FnOnce(Answer<T>) + Send>)) -> Answer<T> {
    let (done, answer) = mpsc::channel();
    // Who asked is still there: it waits below.
    ask(Box::new(move |answer| drop(done.send(answer))));
    answer.recv().unwrap_or_else(|_dropped| Err(interrupted()))
}

impl Bucket {
    /// Makes staged bytes durable and runs `record`, which refers to them, in a transaction that other changes share.
    /// `done` is called when all of it is durable, or failed. An error of `record` undoes the whole transaction, so only
    /// what concerns everybody may be one; what concerns this change alone is a refusal.
    pub(super) fn change<T: Send + 'static>(
        &self,
        staged: Option<Staged>,
        record: impl FnOnce(&Transaction<'_>) -> Answer<T> + Send + 'static,
        done: impl FnOnce(Answer<T>) + Send + 'static,
    ) {
        let recorded = Arc::new(Mutex::new(None));
        let answer = recorded.clone();
        let change = Change {
            staged,
            record: Box::new(move |transaction| {
                let answer = record(transaction)?;
                *recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                Ok(())
            }),
            done: Box::new(move |committed| {
                let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
                done(committed.and_then(|()| answer.ok_or_else(interrupted)));
            }),
        };
        let sender = match self.group.changes.get() {
            Some(sender) => sender,
            None => match self.start_committing() {
                Ok(sender) => self.group.changes.get_or_init(|| sender),
                Err(error) => return (change.done)(Err(error)),
            },
        };
        if let Err(unsent) = sender.send(change) {
            (unsent.0.done)(Err(interrupted()));
        }
    }

    fn start_committing(&self) -> Result<Sender<Change>, BackendError> {
        let (sender, changes) = mpsc::channel();
        let bucket = self.without_group();
        std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || bucket.commit_all(&changes))
            .map_err(|error| {
                BackendError::new(ErrorKind::Other, format!("cannot start a thread: {error}"))
            })?;
        Ok(sender)
    }

    fn commit_all(&self, changes: &Receiver<Change>) {
        while let Ok(first) = changes.recv() {
            let batch = std::iter::once(first).chain(changes.try_iter()).take(MAX_CHANGES).collect();
            // Those of the batch learn of a panic as their `done` is dropped; later ones are none the worse.
            if catch_unwind(AssertUnwindSafe(|| self.commit(batch))).is_err() {
                tracing::error!("committing ended in a panic");
            }
        }
    }

    fn commit(&self, changes: Vec<Change>) {
        let mut staged = Vec::with_capacity(changes.len());
        let mut records = Vec::with_capacity(changes.len());
        let mut waiting = Vec::with_capacity(changes.len());
        for change in changes {
            staged.extend(change.staged);
            records.push(change.record);
            waiting.push(change.done);
        }
        let committed = self
            .store(&mut staged, |transaction| records.drain(..).try_for_each(|record| record(transaction)));
        for done in waiting {
            done(match &committed {
                Ok(()) => Ok(()),
                Err(error) => Err(error.for_another()),
            });
        }
    }
}

fn interrupted() -> BackendError {
    BackendError::new(ErrorKind::Other, "the change was interrupted by a fault of this program: try again")
}
