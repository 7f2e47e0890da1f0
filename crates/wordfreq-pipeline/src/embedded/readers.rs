//! Read-only connections for those who look: a long look holds up neither a put, nor a lease, nor another look. Opened
//! when first needed, so that a worker, who never looks, has none. Not here: any statement.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::database::{FILE_NAME, wait_while_busy};
use crate::error::BackendError;

/// As many as may look at once; who comes later waits for one of them.
const AT_MOST: usize = 4;

/// Of each connection, in KiB.
const CACHE_KIB: i64 = 16 * 1024;

/// The connections, those in use and those not.
#[derive(Debug)]
pub(super) struct Readers {
    directory: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Connection>,
    in_use: usize,
}

/// Gives the connection back, or, if a panic took it, its place.
struct Borrowed<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.in_use -= 1;
        if !std::thread::panicking() {
            pool.idle.extend(self.connection.take());
        }
        drop(pool);
        self.readers.returned.notify_one();
    }
}

impl Readers {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), pool: Mutex::default(), returned: Condvar::new() }
    }

    /// Reads in one snapshot. While it lasts the log cannot be reset: look at so much at a time as takes a second at
    /// most.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        while pool.in_use == AT_MOST {
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.in_use += 1;
        let mut borrowed = Borrowed { readers: self, connection: pool.idle.pop() };
        drop(pool);
        let connection = match &mut borrowed.connection {
            Some(connection) => connection,
            none => none.insert(
                open(&self.directory).map_err(|error| error.of_database(&self.directory.join(FILE_NAME)))?,
            ),
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        work(&transaction)
    }
}

fn open(directory: &Path) -> Result<Connection, BackendError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(directory.join(FILE_NAME), flags)?;
    connection.busy_handler(Some(wait_while_busy))?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::{Embedded, IfMissing, Options};
    use super::*;
    use crate::error::ErrorKind;

    fn one(transaction: &Transaction<'_>) -> Result<i64, BackendError> {
        Ok(transaction.query_row("SELECT 1", [], |row| row.get(0))?)
    }

    #[test]
    fn who_comes_when_all_are_in_use_waits_for_one_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let _embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
        let readers = Readers::new(directory.path());
        std::thread::scope(|scope| {
            let (entered, entries) = mpsc::channel();
            let leave: Vec<_> = (0..AT_MOST)
                .map(|_| {
                    let (leave, left) = mpsc::channel::<()>();
                    let (readers, entered) = (&readers, entered.clone());
                    scope.spawn(move || {
                        readers.read(|_| {
                            entered.send(()).unwrap();
                            left.recv().unwrap();
                            Ok(())
                        })
                    });
                    leave
                })
                .collect();
            (0..AT_MOST).for_each(|_| entries.recv().unwrap());
            let late = scope.spawn(|| readers.read(one));
            assert_eq!(readers.pool.lock().unwrap().in_use, AT_MOST);
            leave.iter().for_each(|leave| leave.send(()).unwrap());
            assert_eq!(late.join().unwrap().unwrap(), 1);
        });
        let pool = readers.pool.lock().unwrap();
        assert_eq!(pool.in_use, 0);
        assert!((1..=AT_MOST).contains(&pool.idle.len()), "{} are open", pool.idle.len());
    }

    #[test]
    fn a_panic_takes_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let _embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
        let readers = Readers::new(directory.path());
        for _ in 0..=AT_MOST {
            let panic = std::thread::scope(|scope| {
                scope.spawn(|| readers.read(|_| -> Result<(), BackendError> { panic!("in a look") })).join()
            });
            panic.unwrap_err();
        }
        assert_eq!(readers.read(one).unwrap(), 1);
    }

    #[test]
    fn nothing_can_be_written_and_a_missing_database_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let readers = Readers::new(directory.path());
        let error = readers.read(one).unwrap_err();
        assert!(error.to_string().contains(FILE_NAME), "{error}");
        let _embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
        let error =
            readers.read(|transaction| Ok(transaction.execute("DELETE FROM messages", [])?)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    }
}
