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
    /// `done` is called when all of it is durable, or failed. Damaged data and bad input are an error of this change alone;
    /// any other error of `record` concerns everybody and undoes the whole transaction.
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
                let answer = apart(transaction, record)?;
                *recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                Ok(())
            }),
            done: Box::new(move |committed| {
                let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
                done(committed.and_then(|()| answer.unwrap_or_else(|| Err(interrupted()))));
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
        let mut records = Vec::with_capacity(changes.len());
        let mut waiting = Vec::with_capacity(changes.len());
        // Last, so that after a panic too it is let go of before anyone is told.
        let mut staged = Vec::with_capacity(changes.len());
        for change in changes {
            staged.extend(change.staged);
            records.push(change.record);
            waiting.push(change.done);
        }
        let committed = self
            .store(&mut staged, |transaction| records.drain(..).try_for_each(|record| record(transaction)));
        // Before anyone is told: whoever sweeps then must not take bytes for being on their way still.
        drop(staged);
        for done in waiting {
            done(match &committed {
                Ok(()) => Ok(()),
                Err(error) => Err(error.for_another()),
            });
        }
    }
}

/// Runs one record so that what is wrong with it alone undoes nobody else's: then its answer is the error.
fn apart<T>(
    transaction: &Transaction<'_>,
    record: impl FnOnce(&Transaction<'_>) -> Answer<T>,
) -> Result<Answer<T>, BackendError> {
    let run = |statement| transaction.prepare_cached(statement)?.execute([]);
    run("SAVEPOINT change")?;
    let answer = record(transaction);
    match &answer {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
            run("ROLLBACK TO change")?;
        }
        Err(_of_everybody) => return answer.map(Ok),
        Ok(_) => {}
    }
    run("RELEASE change")?;
    Ok(answer)
}

fn interrupted() -> BackendError {
    BackendError::new(ErrorKind::Other, "the change was interrupted by a fault of this program: try again")
}

#[cfg(test)]
mod tests {
    use super::super::{Embedded, IfMissing, Options};
    use super::*;

    #[test]
    fn what_is_wrong_with_one_change_undoes_that_one_alone() {
        let directory = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
        let (done, answers) = mpsc::channel();
        let ask = |name: &'static str, error: Option<ErrorKind>| {
            let done = done.clone();
            embedded.bucket.change(
                None,
                move |transaction| {
                    transaction.execute("INSERT INTO settings VALUES (?1, 1)", [name])?;
                    error.map_or(Ok(Ok(())), |kind| Err(BackendError::new(kind, "damaged")))
                },
                move |answer| {
                    done.send((name, answer.map_err(|error| error.kind()).map(Result::unwrap))).unwrap();
                },
            );
        };
        // While this writes, the thread that commits has begun with the first of them at most, so that the one in the
        // middle shares its transaction with one of its neighbours.
        let together = |error| {
            embedded
                .durable
                .write(|_| {
                    ask("before", None);
                    ask("wrong", Some(error));
                    ask("after", None);
                    Ok(())
                })
                .unwrap();
            let mut told: Vec<_> = answers.iter().take(3).collect();
            told.sort_by_key(|(name, _)| *name);
            told.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>()
        };
        let is_set = |name: &str| {
            embedded
                .durable
                .read(|transaction| {
                    Ok(transaction.prepare("SELECT 1 FROM settings WHERE name = ?1")?.exists([name])?)
                })
                .unwrap()
        };
        assert_eq!(together(ErrorKind::Corrupt), [Ok(()), Ok(()), Err(ErrorKind::Corrupt)]);
        assert_eq!(["before", "wrong", "after"].map(is_set), [true, false, true]);
        embedded
            .durable
            .write(|transaction| {
                Ok(transaction.execute("DELETE FROM settings WHERE name IN ('before', 'after')", [])?)
            })
            .unwrap();
        // A disk that is full is full for all.
        let told = together(ErrorKind::Full);
        assert_eq!(told[2], Err(ErrorKind::Full));
        assert!(told[..2].contains(&Err(ErrorKind::Full)), "{told:?}");
        assert!(!is_set("wrong"));
    }
}
