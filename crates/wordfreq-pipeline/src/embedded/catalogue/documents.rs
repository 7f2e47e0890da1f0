//! Documents as they are listed: what stands under each key, and what became of it.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{Catalogue, Page};
use crate::document::{DocumentId, Sequence};
use crate::embedded::queue::reason_of_death;
use crate::embedded::results::{current_profile_row, document_id};
use crate::error::BackendError;
use crate::results::ResultSummary;
use crate::time::Timestamp;

/// What became of the version that a key holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListedState {
    /// Its message waits or is being worked on, or was purged.
    Waiting,
    /// It was counted, by the profile in force.
    Counted,
    /// Its message was given up.
    Failed,
    /// It stands in a bucket that keeps and does not count.
    Kept,
}

impl ListedState {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Counted, Self::Failed, Self::Kept];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Counted => "counted",
            Self::Failed => "failed",
            Self::Kept => "kept",
        }
    }
}

/// A document, and the newest result it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDocument {
    /// Its name.
    pub id: DocumentId,
    /// Its size in bytes.
    pub bytes: u64,
    /// Which version it is.
    pub sequence: Sequence,
    /// When that was put.
    pub put_at: Timestamp,
    /// What its bytes are, as whoever put them has said.
    pub content_type: Option<String>,
    /// What became of it.
    pub state: ListedState,
    /// The newest result of its name, which may be of an older version or by another profile, unless it is counted.
    pub result: Option<ResultSummary>,
    /// Why it was given up, if it was.
    pub reason: Option<String>,
}

/// Which documents to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this bucket only.
    pub bucket: Option<String>,
    /// Whose keys begin with this.
    pub prefix: String,
    /// In whose keys this stands, whatever the case of its letters.
    pub containing: String,
    /// Of which this became.
    pub state: Option<ListedState>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSummary {
    /// Its name.
    pub name: String,
    /// Whether its documents are counted.
    pub triggers: bool,
    /// How many documents it holds.
    pub documents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A place in the course of settlements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The latest commit, and how many documents have it.
    counted: (i64, u64),
    /// The latest death, and how many dead letters have it.
    failed: (i64, u64),
}

/// What was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledSince {
    /// How many documents the profile in force has counted in all.
    pub counted: u64,
    /// The last documents that were counted or failed since, newest first.
    pub recent: Vec<ListedDocument>,
    /// The place after them.
    pub place: Settled,
}

const DOCUMENT: &str =
    "SELECT d.bucket, d.key, d.bytes, d.sequence, d.changed_at, d.digest IS NULL, d.content_type, b.triggers,
            r.sequence, r.bytes, r.words, r.distinct_words, r.over_long, r.duration_us, r.committed_at,
            p.fingerprint, r.profile_id
     FROM documents d JOIN buckets b ON b.name = d.bucket
                      LEFT JOIN results r ON r.bucket = d.bucket AND r.key = d.key
                      LEFT JOIN profiles p ON p.id = r.profile_id";

/// The row as a document, if it is one of the wanted; `profile` is the one in force.
fn document(
    transaction: &Transaction<'_>,
    row: &Row<'_>,
    profile: Option<i64>,
    wanted: Option<ListedState>,
) -> Result<Option<ListedDocument>, BackendError> {
    let (id, sequence) = (document_id(row, 0)?, row.get(3)?);
    let counted_by: Option<i64> = row.get(16)?;
    let result = match counted_by {
        None => None,
        Some(_) => Some(ResultSummary {
            document: id.clone(),
            sequence: row.get(8)?,
            fingerprint: row.get(15)?,
            bytes: row.get(9)?,
            words: row.get(10)?,
            distinct: row.get(11)?,
            over_long: row.get(12)?,
            duration: std::time::Duration::from_micros(row.get(13)?),
            committed_at: Timestamp(row.get(14)?),
        }),
    };
    let is_counted = counted_by == profile
        && result.as_ref().is_some_and(|result: &ResultSummary| result.sequence == sequence);
    let (state, reason) = if !row.get::<_, bool>(7)? {
        (ListedState::Kept, None)
    } else if is_counted {
        (ListedState::Counted, None)
    } else {
        match reason_of_death(transaction, &id, sequence)? {
            Some(reason) => (ListedState::Failed, Some(reason)),
            None => (ListedState::Waiting, None),
        }
    };
    if wanted.is_some_and(|wanted| wanted != state) {
        return Ok(None);
    }
    let (bytes, put_at, content_type) = (row.get(2)?, Timestamp(row.get(4)?), row.get(6)?);
    Ok(Some(ListedDocument { id, bytes, sequence, put_at, content_type, state, result, reason }))
}

fn one(
    transaction: &Transaction<'_>,
    id: &DocumentId,
    profile: Option<i64>,
) -> Result<Option<ListedDocument>, BackendError> {
    let mut select = transaction
        .prepare_cached(&format!("{DOCUMENT} WHERE d.bucket = ?1 AND d.key = ?2 AND d.digest IS NOT NULL"))?;
    let mut rows = select.query(params![id.bucket(), id.key().as_bytes()])?;
    match rows.next()? {
        Some(row) => document(transaction, row, profile, None),
        None => Ok(None),
    }
}

fn profile_in_force(transaction: &Transaction<'_>) -> Result<Option<i64>, BackendError> {
    Ok(current_profile_row(transaction)?.map(|(id, _)| id))
}

impl Catalogue {
    /// The buckets, by name.
    pub fn buckets(&self) -> Result<Vec<BucketSummary>, BackendError> {
        self.long.read(|transaction| {
            let buckets = transaction
                .prepare_cached(
                    "SELECT name, triggers, created_at, count(d.id), coalesce(sum(d.bytes), 0) FROM buckets
                         LEFT JOIN documents d ON d.bucket = name AND d.digest IS NOT NULL
                     GROUP BY name ORDER BY name",
                )?
                .query_map([], |row| {
                    Ok(BucketSummary {
                        name: row.get(0)?,
                        triggers: row.get(1)?,
                        created_at: Timestamp(row.get(2)?),
                        documents: row.get(3)?,
                        bytes: row.get(4)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            Ok(buckets)
        })
    }

    /// Documents of a selection in the order of their names, those after `after`.
    pub fn documents(
        &self,
        selection: &Selection,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Page<ListedDocument, DocumentId>, BackendError> {
        let containing = selection.containing.to_lowercase();
        let first = (selection.bucket.as_deref().unwrap_or(""), selection.prefix.as_bytes());
        let after = after.map(|after| (after.bucket(), after.key().as_bytes()));
        // Without a bucket a prefix says nothing about where to begin.
        let first = if selection.bucket.is_some() { first } else { ("", &[][..]) };
        let (operator, place) = match after {
            Some(after) if after >= first => (">", after),
            _ => (">=", first),
        };
        self.long.read(|transaction| {
            let profile = profile_in_force(transaction)?;
            let mut select = transaction.prepare_cached(&format!(
                "{DOCUMENT} WHERE (d.bucket, d.key) {operator} (?1, ?2) ORDER BY d.bucket, d.key"
            ))?;
            let mut rows = select.query(params![place.0, place.1])?;
            let (mut items, mut examined, mut full) = (Vec::new(), 0, None);
            while let Some(row) = rows.next()? {
                let bucket = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
                let key = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                let begins = key.starts_with(selection.prefix.as_bytes());
                if selection.bucket.as_deref().is_some_and(|wanted| wanted != bucket || !begins) {
                    return Ok(Page { items, next: None });
                }
                if full.is_some() {
                    return Ok(Page { items, next: full });
                }
                examined += 1;
                let is_there = !row.get::<_, bool>(5)?;
                if is_there
                    && begins
                    && contains(key, &containing)
                    && let Some(document) = document(transaction, row, profile, selection.state)?
                {
                    items.push(document);
                }
                if items.len() >= limit || examined >= self.examined.rows {
                    full = Some(document_id(row, 0)?);
                }
            }
            Ok(Page { items, next: None })
        })
    }

    /// One document.
    pub fn document(&self, id: &DocumentId) -> Result<Option<ListedDocument>, BackendError> {
        self.readers.read(|transaction| one(transaction, id, profile_in_force(transaction)?))
    }

    /// What was settled since a place, at most `most` of it, newest first. Of what was settled in the very millisecond
    /// of the place some may be told again.
    pub fn settled_since(&self, place: Settled, most: usize) -> Result<SettledSince, BackendError> {
        self.readers.read(|transaction| {
            let profile = profile_in_force(transaction)?;
            let counted = transaction
                .prepare_cached("SELECT coalesce(max(documents), 0) FROM profiles WHERE id = ?1")?
                .query_row([profile], |row| row.get(0))?;
            let committed = latest(
                transaction,
                place.counted,
                "SELECT max(committed_at) FROM results WHERE profile_id = ?1",
                "SELECT count(*) FROM results WHERE profile_id = ?1 AND committed_at = ?2",
                profile,
            )?;
            let died = latest(
                transaction,
                place.failed,
                "SELECT max(visible_at) FROM messages WHERE dead = ?1",
                "SELECT count(*) FROM messages WHERE dead = ?1 AND visible_at = ?2",
                Some(1),
            )?;
            let mut names: Vec<(i64, DocumentId)> = Vec::new();
            if committed != place.counted {
                let mut select = transaction.prepare_cached(
                    "SELECT bucket, key, committed_at FROM results WHERE profile_id = ?1 AND committed_at >= ?2
                     ORDER BY committed_at DESC LIMIT ?3",
                )?;
                let mut rows = select.query(params![profile, since(place.counted, committed), most as i64])?;
                while let Some(row) = rows.next()? {
                    names.push((row.get(2)?, document_id(row, 0)?));
                }
            }
            if died != place.failed {
                let mut select = transaction.prepare_cached(
                    "SELECT document, visible_at FROM messages WHERE dead = 1 AND visible_at >= ?1
                     ORDER BY visible_at DESC LIMIT ?2",
                )?;
                let mut rows = select.query(params![since(place.failed, died), most as i64])?;
                while let Some(row) = rows.next()? {
                    let name: Option<Vec<u8>> = row.get(0)?;
                    // What is about no document of ours is no document's failure.
                    let name = name.and_then(|name| String::from_utf8(name).ok());
                    if let Some(id) = name.and_then(|name| DocumentId::parse(&name).ok()) {
                        names.push((row.get(1)?, id));
                    }
                }
            }
            names.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
            names.truncate(most);
            let mut recent = Vec::new();
            for (_, id) in &names {
                recent.extend(one(transaction, id, profile)?);
            }
            Ok(SettledSince { counted, recent, place: Settled { counted: committed, failed: died } })
        })
    }
}

/// The newest moment of a kind, and how many have it. It never goes back, though what was newest may go.
fn latest(
    transaction: &Transaction<'_>,
    before: (i64, u64),
    newest: &str,
    how_many: &str,
    of: Option<i64>,
) -> Result<(i64, u64), BackendError> {
    let at: Option<i64> =
        transaction.prepare_cached(newest)?.query_row([of], |row| row.get(0)).optional()?.flatten();
    let at = at.unwrap_or(0).max(before.0);
    let count = transaction.prepare_cached(how_many)?.query_row(params![of, at], |row| row.get(0))?;
    Ok((at, count))
}

/// From when on to look for what is new: that of the place itself only if more have it now.
fn since(place: (i64, u64), now: (i64, u64)) -> i64 {
    if now.0 == place.0 && now.1 > place.1 { place.0 } else { place.0 + 1 }
}

/// Whether a key has `wanted`, which is lower case, in it.
fn contains(key: &[u8], wanted: &str) -> bool {
    // A stored key is UTF-8; one that is not is told of where it is read as a name.
    wanted.is_empty() || std::str::from_utf8(key).is_ok_and(|key| key.to_lowercase().contains(wanted))
}
