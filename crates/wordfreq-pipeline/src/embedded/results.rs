//! [`Results`] on SQLite. A batch of commits is one transaction: check each lease, replace the result, move the
//! totals by the difference, acknowledge. Not here: how totals are kept (`totals`).

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use wordfreq_core::{Profile, ProfileName, Top};

use super::bell::Bell;
use super::database::Database;
use super::queue::{acknowledge, enqueue_event, forget_dead_letters, is_held};
use super::totals::{self, Moves};
use crate::document::{DocumentEvent, DocumentId, EventKind, Sequence};
use crate::encoding::{self, Move};
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;
use crate::results::{
    CommitOutcome, Committed, Completion, DocumentResult, Effect, ResultSummary, Results, TotalWord, Totals,
};
use crate::time::Timestamp;

/// The embedded results.
#[derive(Debug)]
pub struct EmbeddedResults {
    durable: Arc<Database>,
    settled: Arc<Bell>,
    fold_at: u64,
}

impl EmbeddedResults {
    pub(super) fn new(durable: Arc<Database>, settled: Arc<Bell>, fold_at: u64) -> Self {
        Self { durable, settled, fold_at }
    }
}

impl EmbeddedResults {
    /// Folds the moves of totals that wait, which makes reading them quicker. For quiet moments; tells whether there
    /// was anything to do.
    pub fn fold(&self) -> Result<bool, BackendError> {
        Ok(self.durable.read(totals::any_pending)? && self.durable.write(totals::fold_all)?)
    }
}

pub(super) fn current_profile(transaction: &Transaction<'_>) -> Result<Option<Profile>, BackendError> {
    Ok(current_profile_row(transaction)?.map(|(_, profile)| profile))
}

pub(super) fn current_profile_row(
    transaction: &Transaction<'_>,
) -> Result<Option<(i64, Profile)>, BackendError> {
    let row: Option<(i64, String, u32)> = transaction
        .prepare_cached(
            "SELECT profiles.id, profiles.name, min_length FROM settings JOIN profiles ON profiles.id = value
             WHERE settings.name = 'profile'",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    row.map(|(id, name, min_length)| Ok((id, profile(&name, min_length)?))).transpose()
}

fn profile(name: &str, min_length: u32) -> Result<Profile, BackendError> {
    let name: ProfileName =
        name.parse().map_err(|error| BackendError::new(ErrorKind::Invalid, format!("{error}")))?;
    Ok(Profile { name, min_length })
}

pub(super) fn set_profile(transaction: &Transaction<'_>, profile: &Profile) -> Result<u64, BackendError> {
    transaction.execute(
        "INSERT INTO profiles (fingerprint, name, min_length) VALUES (?1, ?2, ?3) ON CONFLICT (fingerprint) DO NOTHING",
        params![profile.fingerprint(), profile.name.to_string(), profile.min_length],
    )?;
    let id: i64 = transaction.query_row(
        "SELECT id FROM profiles WHERE fingerprint = ?1",
        [profile.fingerprint()],
        |row| row.get(0),
    )?;
    let before: Option<i64> = transaction
        .query_row("SELECT value FROM settings WHERE name = 'profile'", [], |row| row.get(0))
        .optional()?;
    if before == Some(id) {
        return Ok(0);
    }
    transaction.execute(
        "INSERT INTO settings VALUES ('profile', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [id],
    )?;
    // Only documents whose newest version was counted: all others have their message still, dead or alive.
    let mut stale = transaction.prepare(
        "SELECT documents.bucket, documents.key, documents.sequence, documents.bytes FROM results JOIN documents
             USING (bucket, key, sequence) WHERE profile_id <> ?1 AND digest IS NOT NULL ORDER BY documents.sequence",
    )?;
    let mut rows = stale.query([id])?;
    let now = Timestamp::now();
    let mut recounted = 0;
    while let Some(row) = rows.next()? {
        let event = DocumentEvent::new(EventKind::Created, document_id(row, 0)?, row.get(2)?, row.get(3)?);
        enqueue_event(transaction, &event, now)?;
        recounted += 1;
    }
    Ok(recounted)
}

/// Reads a bucket at column `first` and a key at the next.
pub(super) fn document_id(row: &Row<'_>, first: usize) -> Result<DocumentId, BackendError> {
    let key = String::from_utf8(row.get(first + 1)?)
        .map_err(|_| BackendError::new(ErrorKind::Corrupt, "a stored key is not UTF-8"))?;
    DocumentId::new(row.get::<_, String>(first)?, key)
}

fn as_count(count: u64) -> Result<i64, BackendError> {
    i64::try_from(count)
        .map_err(|_| BackendError::new(ErrorKind::Invalid, format!("the count {count} is too large")))
}

fn commit_one(
    transaction: &Transaction<'_>,
    completion: &Completion,
    profile: Option<(i64, &str)>,
    now: Timestamp,
    moves: &mut Moves,
) -> Result<Committed, BackendError> {
    let kept = |outcome| Ok(Committed { outcome, acknowledged: false });
    if !is_held(transaction, &completion.receipt, now)? {
        return kept(CommitOutcome::LeaseLost);
    }
    let profile_id = match (&completion.effect, profile) {
        (Effect::Removed, _) => None,
        (Effect::Counted { fingerprint, .. }, Some((id, current))) if fingerprint == current => Some(id),
        (Effect::Counted { .. }, _) => return kept(CommitOutcome::ProfileChanged),
    };
    let (bucket, key) = (completion.event.id.bucket(), completion.event.id.key().as_bytes());
    let before: Option<(i64, Sequence, Option<i64>)> = transaction
        .prepare_cached("SELECT id, sequence, profile_id FROM results WHERE bucket = ?1 AND key = ?2")?
        .query_row(params![bucket, key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let settled = |outcome| -> Result<Committed, BackendError> {
        acknowledge(transaction, &completion.receipt, now)?;
        Ok(Committed { outcome, acknowledged: true })
    };
    if let Some((_, sequence, counted_by)) = before {
        if sequence > completion.event.sequence {
            return settled(CommitOutcome::Superseded);
        }
        if sequence == completion.event.sequence && counted_by == profile_id {
            return settled(CommitOutcome::AlreadyCommitted);
        }
    }
    if let Some((id, _, Some(counted_by))) = before {
        let encoded: Vec<u8> = transaction
            .prepare_cached("DELETE FROM count_tables WHERE result_id = ?1 RETURNING encoded")?
            .query_row([id], |row| row.get(0))?;
        encoding::decode_counts(&encoded, None, |word, count| {
            // `encode_counts` only ever saw counts that passed `as_count`.
            moves.add(counted_by, word, Move { count: -(count as i64), documents: -1 });
        })?;
    }
    let (bytes, words, distinct, over_long, duration) = match &completion.effect {
        Effect::Removed => (0, 0, 0, 0, Duration::ZERO),
        Effect::Counted { counts, duration, .. } => {
            (counts.bytes(), counts.words(), counts.distinct(), counts.over_long(), *duration)
        }
    };
    let id: i64 = transaction
        .prepare_cached(
            "INSERT INTO results (bucket, key, sequence, profile_id, bytes, words, distinct_words, over_long,
                 duration_us, committed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (bucket, key) DO UPDATE SET sequence = excluded.sequence, profile_id = excluded.profile_id,
                 bytes = excluded.bytes, words = excluded.words, distinct_words = excluded.distinct_words,
                 over_long = excluded.over_long, duration_us = excluded.duration_us,
                 committed_at = excluded.committed_at
             RETURNING id",
        )?
        .query_row(
            params![
                bucket,
                key,
                completion.event.sequence,
                profile_id,
                as_count(bytes)?,
                as_count(words)?,
                as_count(distinct)?,
                as_count(over_long)?,
                i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
                now.0
            ],
            |row| row.get(0),
        )?;
    if let (Effect::Counted { counts, .. }, Some(profile_id)) = (&completion.effect, profile_id) {
        transaction
            .prepare_cached("INSERT INTO count_tables VALUES (?1, ?2)")?
            .execute(params![id, encoding::encode_counts(counts)])?;
        for (word, count) in counts.iter() {
            moves.add(profile_id, word, Move { count: as_count(count)?, documents: 1 });
        }
    }
    forget_dead_letters(transaction, &completion.event.id, completion.event.sequence)?;
    settled(CommitOutcome::Committed)
}

const SUMMARY: &str =
    "SELECT bucket, key, sequence, fingerprint, bytes, words, distinct_words, over_long, duration_us,
    committed_at, results.id FROM results JOIN profiles ON profiles.id = profile_id";

fn summary(row: &Row<'_>) -> Result<ResultSummary, BackendError> {
    Ok(ResultSummary {
        document: document_id(row, 0)?,
        sequence: row.get(2)?,
        fingerprint: row.get(3)?,
        bytes: row.get(4)?,
        words: row.get(5)?,
        distinct: row.get(6)?,
        over_long: row.get(7)?,
        duration: Duration::from_micros(row.get(8)?),
        committed_at: Timestamp(row.get(9)?),
    })
}

/// The profile in force, where there must be one.
pub(super) fn profile_in_force(transaction: &Transaction<'_>) -> Result<(i64, Profile), BackendError> {
    current_profile_row(transaction)?.ok_or_else(|| {
        BackendError::new(
            ErrorKind::NotFound,
            "nothing was counted in this data directory yet: start `wordfreq up`",
        )
    })
}

/// The sums over all documents of a profile, as far as no word has to be looked at.
pub(super) fn sums(
    transaction: &Transaction<'_>,
    profile_id: i64,
    profile: &Profile,
) -> Result<Totals, BackendError> {
    Ok(transaction
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE profile_id = ?1), coalesce(sum(bytes) FILTER (WHERE profile_id = ?1), 0),
                    coalesce(sum(over_long) FILTER (WHERE profile_id = ?1), 0),
                    count(*) FILTER (WHERE profile_id <> ?1)
             FROM results",
        )?
        .query_row([profile_id], |row| {
            Ok(Totals {
                fingerprint: profile.fingerprint(),
                documents: row.get(0)?,
                bytes: row.get(1)?,
                words: 0,
                distinct: 0,
                over_long: row.get(2)?,
                other_documents: row.get(3)?,
                counts: Vec::new(),
            })
        })?)
}

/// See [`Results::read`].
pub(super) fn read(
    transaction: &Transaction<'_>,
    document: &DocumentId,
    limit: Option<usize>,
) -> Result<Option<DocumentResult>, BackendError> {
    let mut select = transaction.prepare_cached(&format!("{SUMMARY} WHERE bucket = ?1 AND key = ?2"))?;
    let mut rows = select.query(params![document.bucket(), document.key().as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let summary = summary(row)?;
    let encoded: Vec<u8> = transaction
        .prepare_cached("SELECT encoded FROM count_tables WHERE result_id = ?1")?
        .query_row([row.get::<_, i64>(10)?], |row| row.get(0))?;
    let mut counts = Vec::new();
    encoding::decode_counts(&encoded, limit, |word, count| counts.push((word.to_owned(), count)))
        .map_err(|error| BackendError::new(error.kind(), format!("result of {document}: {error}")))?;
    Ok(Some(DocumentResult { summary, counts }))
}

/// See [`Results::list`].
pub(super) fn list(
    transaction: &Transaction<'_>,
    after: Option<&DocumentId>,
    limit: usize,
) -> Result<Vec<ResultSummary>, BackendError> {
    let (bucket, key) = after.map_or(("", &[][..]), |after| (after.bucket(), after.key().as_bytes()));
    let mut select = transaction
        .prepare_cached(&format!("{SUMMARY} WHERE (bucket, key) > (?1, ?2) ORDER BY bucket, key LIMIT ?3"))?;
    let mut rows = select.query(params![bucket, key, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(summary(row)?);
    }
    Ok(list)
}

impl Results for EmbeddedResults {
    fn commit(&self, completions: &[Completion]) -> Result<Vec<Committed>, BackendError> {
        failpoint::hit("results.before_commit");
        let committed = self.durable.write(|transaction| {
            let now = Timestamp::now();
            let profile = current_profile_row(transaction)?.map(|(id, profile)| (id, profile.fingerprint()));
            let profile = profile.as_ref().map(|(id, fingerprint)| (*id, fingerprint.as_str()));
            let mut moves = Moves::default();
            let committed = completions
                .iter()
                .map(|completion| commit_one(transaction, completion, profile, now, &mut moves))
                .collect::<Result<Vec<_>, _>>()?;
            failpoint::hit("results.before_totals");
            totals::apply(transaction, moves, self.fold_at)?;
            failpoint::hit("results.in_transaction");
            Ok(committed)
        })?;
        failpoint::hit("results.after_commit");
        self.settled.ring();
        Ok(committed)
    }

    fn read(
        &self,
        document: &DocumentId,
        limit: Option<usize>,
    ) -> Result<Option<DocumentResult>, BackendError> {
        self.durable.read(|transaction| read(transaction, document, limit))
    }

    fn list(&self, after: Option<&DocumentId>, limit: usize) -> Result<Vec<ResultSummary>, BackendError> {
        self.durable.read(|transaction| list(transaction, after, limit))
    }

    fn totals(&self, limit: Option<usize>) -> Result<Totals, BackendError> {
        self.durable.read(|transaction| {
            let (profile_id, profile) = profile_in_force(transaction)?;
            let mut totals = sums(transaction, profile_id, &profile)?;
            let pending = totals::pending(transaction, profile_id)?;
            let mut top = limit.map(Top::new);
            totals::visit(transaction, profile_id, &pending, |word, total| {
                totals.distinct += 1;
                totals.words += total.count;
                match &mut top {
                    Some(top) => top.offer(word, total.count),
                    None => totals.counts.push(TotalWord {
                        word: word.to_owned(),
                        count: total.count,
                        documents: total.documents,
                    }),
                }
            })?;
            match top {
                None => totals.counts.sort_unstable_by(|left, right| {
                    right.count.cmp(&left.count).then_with(|| left.word.cmp(&right.word))
                }),
                Some(top) => {
                    for (word, count) in top.into_ranked() {
                        let total =
                            totals::of_word(transaction, profile_id, &pending, &word)?.ok_or_else(|| {
                                BackendError::new(ErrorKind::Corrupt, "a stored word has totals and has none")
                            })?;
                        totals.counts.push(TotalWord { word, count, documents: total.documents });
                    }
                }
            }
            Ok(totals)
        })
    }
}
