//! Group commit: changes that are asked for at the same time share their syncs and one transaction. Whoever comes first
//! leads: it takes along what waits by then, and when that is durable it lets the next one lead. So there is no thread of
//! its own, no timer, and a lone change waits for nobody.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Transaction;

use super::bucket::{Bucket, Staged};
use crate::error::{BackendError, ErrorKind};

/// The most changes of one transaction, so that nobody waits for an endless one.
const MAX_CHANGES: usize = 256;

/// The changes of one process that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Group {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Change>,
    /// Whether somebody leads at this moment.
    is_led: bool,
}

struct Change {
    staged: Option<Staged>,
    record: Box<dyn FnOnce(&Transaction<'_>) -> Result<(), BackendError> + Send>,
    turn: Sender<Turn>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Change").field("staged", &self.staged).finish_non_exhaustive()
    }
}

enum Turn {
    /// The change waits still: its owner is to do it, together with the others.
    Lead,
    /// It is durable, or why it is not.
    Done(Result<(), BackendError>),
}

impl Group {
    /// Adds a change; whether its owner is to lead is what it will hear first.
    fn join(&self, change: Change) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.changes.push_back(change);
        if !waiting.is_led {
            waiting.is_led = true;
            call_first(&mut waiting);
        }
    }

    fn take(&self) -> Vec<Change> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = waiting.changes.len().min(MAX_CHANGES);
        waiting.changes.drain(..taken).collect()
    }
}

/// Lets the owner of the first change that waits lead. It waits for its turn as long as its change does.
fn call_first(waiting: &mut Waiting) {
    match waiting.changes.front() {
        Some(first) => drop(first.turn.send(Turn::Lead)),
        None => waiting.is_led = false,
    }
}

/// Gives the lead away in whatever way it ends.
struct Led<'a>(&'a Group);

impl Drop for Led<'_> {
    fn drop(&mut self) {
        call_first(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Bucket {
    /// Makes staged bytes durable and runs `record`, which refers to them, in a transaction that other changes share.
    /// When this returns, all of it is durable. An error of `record` undoes the whole transaction, so only what
    /// concerns everybody may be one; what concerns this change alone belongs into `T`.
    pub(super) fn change<T: Send + 'static>(
        &self,
        staged: Option<Staged>,
        record: impl FnOnce(&Transaction<'_>) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let (turn, turns) = mpsc::channel();
        let answer = Arc::new(Mutex::new(None));
        let record = {
            let answer = answer.clone();
            Box::new(move |transaction: &Transaction<'_>| {
                let recorded = record(transaction)?;
                *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(recorded);
                Ok(())
            })
        };
        self.group.join(Change { staged, record, turn });
        self.wait(&turns)?;
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.ok_or_else(interrupted)
    }

    fn wait(&self, turns: &Receiver<Turn>) -> Result<(), BackendError> {
        loop {
            match turns.recv() {
                Ok(Turn::Lead) => {
                    let _led = Led(&self.group);
                    self.commit(self.group.take());
                }
                Ok(Turn::Done(done)) => return done,
                Err(_leader_panicked) => return Err(interrupted()),
            }
        }
    }

    fn commit(&self, changes: Vec<Change>) {
        let mut staged = Vec::with_capacity(changes.len());
        let mut records = Vec::with_capacity(changes.len());
        let mut turns = Vec::with_capacity(changes.len());
        for change in changes {
            staged.extend(change.staged);
            records.push(change.record);
            turns.push(change.turn);
        }
        let done = self
            .store(&mut staged, |transaction| records.drain(..).try_for_each(|record| record(transaction)));
        for turn in turns {
            // Nobody listens when a request was given up; its change is made all the same.
            drop(turn.send(Turn::Done(match &done {
                Ok(()) => Ok(()),
                Err(error) => Err(error.for_another()),
            })));
        }
    }
}

fn interrupted() -> BackendError {
    BackendError::new(ErrorKind::Other, "the change was interrupted by a fault of this program: try again")
}
