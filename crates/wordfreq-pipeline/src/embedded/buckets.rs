//! The table of buckets: which there are, and which of them trigger. A bucket triggers unless the setting in force says
//! that it keeps its documents; into one that keeps, puts and deletions enqueue nothing. Not here: what lies in them.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Transaction, params};

use super::bucket::{Bucket, next_sequence};
use super::objects::{Answer, Refused};
use super::queue::enqueue_event;
use super::results::document_id;
use crate::document::{DocumentEvent, DocumentId, EventKind};
use crate::error::{BackendError, ErrorKind};
use crate::time::Timestamp;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// Whether what is put into it is counted.
    pub triggers: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What followed from other buckets keeping their documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rearranged {
    /// Documents that became messages, as their bucket triggers now.
    pub sent: u64,
    /// Documents whose results will be removed, as their bucket keeps now.
    pub removed: u64,
}

/// Whether a bucket triggers; `None` if there is none of this name.
pub(super) fn triggers(transaction: &Transaction<'_>, name: &str) -> Result<Option<bool>, BackendError> {
    Ok(transaction
        .prepare_cached("SELECT triggers FROM buckets WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

/// Whether a bucket triggers, which is made if it is not there.
pub(super) fn made(transaction: &Transaction<'_>, name: &str, now: Timestamp) -> Result<bool, BackendError> {
    if let Some(triggers) = triggers(transaction, name)? {
        return Ok(triggers);
    }
    let triggers = !kept(transaction)?.contains(name);
    transaction
        .prepare_cached("INSERT INTO buckets VALUES (?1, ?2, ?3)")?
        .execute(params![name, triggers, now.0])?;
    Ok(triggers)
}

pub(super) fn kept(transaction: &Transaction<'_>) -> Result<BTreeSet<String>, BackendError> {
    let names: String = transaction
        .prepare_cached("SELECT value FROM settings WHERE name = 'kept_buckets'")?
        .query_row([], |row| row.get(0))?;
    serde_json::from_str(&names).map_err(|error| {
        BackendError::new(ErrorKind::Corrupt, format!("the stored list of kept buckets is damaged: {error}"))
    })
}

pub(super) fn set_kept(
    transaction: &Transaction<'_>,
    names: &BTreeSet<String>,
) -> Result<Rearranged, BackendError> {
    for name in names {
        check_name(name)?;
    }
    transaction.execute(
        "UPDATE settings SET value = ?1 WHERE name = 'kept_buckets'",
        [serde_json::json!(names).to_string()],
    )?;
    let mut rearranged = Rearranged::default();
    for bucket in list(transaction)? {
        let triggers = !names.contains(&bucket.name);
        if triggers == bucket.triggers {
            continue;
        }
        transaction
            .execute("UPDATE buckets SET triggers = ?2 WHERE name = ?1", params![bucket.name, triggers])?;
        if triggers {
            rearranged.sent += tell_again(transaction, &bucket.name, EventKind::Created)?;
        } else {
            rearranged.removed += tell_again(transaction, &bucket.name, EventKind::Removed)?;
        }
    }
    Ok(rearranged)
}

/// Enqueues an event for every document of a bucket, each under a new sequence, which supersedes whatever is still under
/// way about it.
fn tell_again(transaction: &Transaction<'_>, bucket: &str, event: EventKind) -> Result<u64, BackendError> {
    let now = Timestamp::now();
    let documents: Vec<(i64, DocumentId, u64)> = {
        let mut select = transaction.prepare_cached(
            "SELECT id, bucket, key, bytes FROM documents WHERE bucket = ?1 AND digest IS NOT NULL ORDER BY sequence",
        )?;
        let mut rows = select.query([bucket])?;
        let mut documents = Vec::new();
        while let Some(row) = rows.next()? {
            documents.push((row.get(0)?, document_id(row, 1)?, row.get(3)?));
        }
        documents
    };
    let number = documents.len() as u64;
    for (row, id, bytes) in documents {
        let sequence = next_sequence(transaction)?;
        transaction
            .prepare_cached("UPDATE documents SET sequence = ?2 WHERE id = ?1")?
            .execute(params![row, sequence])?;
        let bytes = if event == EventKind::Removed { 0 } else { bytes };
        enqueue_event(transaction, &DocumentEvent::new(event, id, sequence, bytes), now)?;
    }
    Ok(number)
}

fn check_name(name: &str) -> Result<(), BackendError> {
    DocumentId::new(name, "-").map(|_well_formed| ())
}

fn list(transaction: &Transaction<'_>) -> Result<Vec<BucketInfo>, BackendError> {
    Ok(transaction
        .prepare_cached("SELECT name, triggers, created_at FROM buckets ORDER BY name")?
        .query_map([], |row| {
            Ok(BucketInfo { name: row.get(0)?, triggers: row.get(1)?, created_at: Timestamp(row.get(2)?) })
        })?
        .collect::<Result<_, _>>()?)
}

impl Bucket {
    /// The buckets there are, by name.
    pub fn list_buckets(&self) -> Result<Vec<BucketInfo>, BackendError> {
        self.readers.read(list)
    }

    /// Whether there is a bucket of this name.
    pub fn has_bucket(&self, name: &str) -> Result<bool, BackendError> {
        self.readers.read(|transaction| Ok(triggers(transaction, name)?.is_some()))
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// `Invalid` if it cannot have this name.
    pub fn create_bucket(&self, name: &str, done: impl FnOnce(Answer<()>) + Send + 'static) {
        if let Err(error) = check_name(name) {
            return done(Err(error));
        }
        let name = name.to_owned();
        let record = move |transaction: &Transaction<'_>| {
            if triggers(transaction, &name)?.is_some() {
                return Ok(Err(Refused::BucketExists));
            }
            made(transaction, &name, Timestamp::now())?;
            Ok(Ok(()))
        };
        self.change(None, record, done);
    }

    /// Deletes a bucket in which nothing is; uploads in parts that were begun in it are aborted.
    pub fn delete_bucket(&self, name: &str, done: impl FnOnce(Answer<()>) + Send + 'static) {
        let name = name.to_owned();
        let record = move |transaction: &Transaction<'_>| {
            if triggers(transaction, &name)?.is_none() {
                return Ok(Err(Refused::NoSuchBucket));
            }
            let is_used = transaction
                .prepare_cached("SELECT 1 FROM documents WHERE bucket = ?1 AND digest IS NOT NULL")?
                .exists([&name])?;
            if is_used {
                return Ok(Err(Refused::BucketNotEmpty));
            }
            transaction.execute(
                "DELETE FROM parts WHERE upload IN (SELECT id FROM uploads WHERE bucket = ?1)",
                [&name],
            )?;
            transaction.execute("DELETE FROM uploads WHERE bucket = ?1", [&name])?;
            transaction.execute("DELETE FROM buckets WHERE name = ?1", [&name])?;
            Ok(Ok(()))
        };
        self.change(None, record, done);
    }
}
