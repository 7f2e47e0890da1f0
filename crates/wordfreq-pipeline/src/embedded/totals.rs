//! The corpus totals: rows of `totals`, and moves not yet folded into them.
//!
//! A commit touches nearly as many words as its documents have, all over the vocabulary. Changing as many rows in each
//! commit would write most of the table's pages again and again; so a commit only appends its moves, sorted and
//! compact, and once there are many they are folded into the rows in one go. The totals are rows plus moves at every
//! moment, in every snapshot. Not here: when a document's counts enter or leave them (`results`).

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::encoding::{Move, decode_moves, encode_moves};
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;

/// Fold when this many moves wait: about ten megabytes of memory for whoever reads the totals, and some fifty
/// milliseconds for the commit that folds.
pub(super) const FOLD_AT: u64 = 100_000;

pub(super) type WordMoves = HashMap<Box<[u8]>, Move>;

/// The moves of one commit, by profile.
#[derive(Debug, Default)]
pub(super) struct Moves(HashMap<i64, WordMoves>);

impl Moves {
    pub(super) fn add(&mut self, profile_id: i64, word: &str, moved: Move) {
        add(self.0.entry(profile_id).or_default(), word.as_bytes(), moved);
    }
}

fn add(moves: &mut WordMoves, word: &[u8], moved: Move) {
    match moves.get_mut(word) {
        Some(sum) => *sum = sum.and(moved),
        None => {
            moves.insert(word.into(), moved);
        }
    }
}

/// The totals of one word that stands in at least one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) count: u64,
    pub(super) documents: u64,
}

/// Moves the totals, and folds what waits if that is `fold_at` moves or more.
pub(super) fn apply(transaction: &Transaction<'_>, moves: Moves, fold_at: u64) -> Result<(), BackendError> {
    for (profile_id, moves) in moves.0 {
        let moves = sorted(moves);
        if moves.is_empty() {
            continue;
        }
        let encoded = encode_moves(moves.iter().map(|(word, moved)| (&word[..], *moved)));
        transaction
            .prepare_cached("INSERT INTO totals_pending (profile_id, moves, encoded) VALUES (?1, ?2, ?3)")?
            .execute(params![profile_id, moves.len() as u64, encoded])?;
        let waiting: u64 = transaction
            .prepare_cached("SELECT sum(moves) FROM totals_pending WHERE profile_id = ?1")?
            .query_row([profile_id], |row| row.get(0))?;
        if waiting >= fold_at {
            failpoint::hit("totals.before_fold");
            fold(transaction, profile_id)?;
            failpoint::hit("totals.after_fold");
        }
    }
    Ok(())
}

/// In the order of the table, so that neighbours share pages; without those that cancelled out.
fn sorted(moves: WordMoves) -> Vec<(Box<[u8]>, Move)> {
    let mut moves: Vec<_> = moves.into_iter().filter(|(_, moved)| *moved != Move::default()).collect();
    moves.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    moves
}

/// Folds whatever waits; tells whether anything did.
pub(super) fn fold_all(transaction: &Transaction<'_>) -> Result<bool, BackendError> {
    let profiles: Vec<i64> = transaction
        .prepare_cached("SELECT DISTINCT profile_id FROM totals_pending")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    profiles.iter().try_for_each(|profile_id| fold(transaction, *profile_id))?;
    Ok(!profiles.is_empty())
}

/// Whether moves wait to be folded.
pub(super) fn any_pending(transaction: &Transaction<'_>) -> Result<bool, BackendError> {
    Ok(transaction.prepare_cached("SELECT 1 FROM totals_pending")?.exists([])?)
}

fn fold(transaction: &Transaction<'_>, profile_id: i64) -> Result<(), BackendError> {
    let mut add = transaction.prepare_cached(
        "INSERT INTO totals (profile_id, word, count, documents) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count, documents = documents + excluded.documents",
    )?;
    let mut prune = transaction
        .prepare_cached("DELETE FROM totals WHERE profile_id = ?1 AND word = ?2 AND documents = 0")?;
    for (word, moved) in sorted(pending(transaction, profile_id)?) {
        add.execute(params![profile_id, &word[..], moved.count, moved.documents])?;
        if moved.documents < 0 {
            prune.execute(params![profile_id, &word[..]])?;
        }
    }
    transaction.prepare_cached("DELETE FROM totals_pending WHERE profile_id = ?1")?.execute([profile_id])?;
    Ok(())
}

/// The sum of the moves that wait.
pub(super) fn pending(transaction: &Transaction<'_>, profile_id: i64) -> Result<WordMoves, BackendError> {
    let mut sum = WordMoves::new();
    let mut select =
        transaction.prepare_cached("SELECT encoded FROM totals_pending WHERE profile_id = ?1")?;
    let mut rows = select.query([profile_id])?;
    while let Some(row) = rows.next()? {
        let encoded = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        decode_moves(encoded, |word, moved| add(&mut sum, word, moved)).map_err(damaged)?;
    }
    Ok(sum)
}

/// Hands every word and its totals to `visit`, in no order.
pub(super) fn visit(
    transaction: &Transaction<'_>,
    profile_id: i64,
    pending: &WordMoves,
    mut visit: impl FnMut(&str, Total),
) -> Result<(), BackendError> {
    let mut select =
        transaction.prepare_cached("SELECT word, count, documents FROM totals WHERE profile_id = ?1")?;
    let mut rows = select.query([profile_id])?;
    let mut num_met = 0;
    while let Some(row) = rows.next()? {
        let word = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let mut sum = Move { count: row.get(1)?, documents: row.get(2)? };
        if let Some(moved) = pending.get(word) {
            num_met += 1;
            sum = sum.and(*moved);
        }
        if let Some(total) = total(sum)? {
            visit(as_word(word)?, total);
        }
    }
    if num_met == pending.len() {
        return Ok(());
    }
    // The others have no row yet.
    let mut row = transaction.prepare_cached("SELECT 1 FROM totals WHERE profile_id = ?1 AND word = ?2")?;
    for (word, moved) in pending {
        if !row.exists(params![profile_id, &word[..]])?
            && let Some(total) = total(*moved)?
        {
            visit(as_word(word)?, total);
        }
    }
    Ok(())
}

/// The totals of a word; `None` if it stands in no document.
pub(super) fn of_word(
    transaction: &Transaction<'_>,
    profile_id: i64,
    pending: &WordMoves,
    word: &str,
) -> Result<Option<Total>, BackendError> {
    let row = transaction
        .prepare_cached("SELECT count, documents FROM totals WHERE profile_id = ?1 AND word = ?2")?
        .query_row(params![profile_id, word.as_bytes()], |row| {
            Ok(Move { count: row.get(0)?, documents: row.get(1)? })
        })
        .optional()?
        .unwrap_or_default();
    let sum = row.and(pending.get(word.as_bytes()).copied().unwrap_or_default());
    total(sum)
}

fn total(sum: Move) -> Result<Option<Total>, BackendError> {
    match (u64::try_from(sum.count), u64::try_from(sum.documents)) {
        (Ok(0), Ok(0)) => Ok(None),
        (Ok(count), Ok(documents)) if count > 0 && documents > 0 => Ok(Some(Total { count, documents })),
        _ => Err(inconsistent(sum)),
    }
}

/// Not `Corrupt`, which would be held against the document that is being committed.
fn damaged(error: BackendError) -> BackendError {
    BackendError::new(ErrorKind::Other, format!("the stored totals are damaged: {error}; restore a backup"))
}

fn inconsistent(sum: Move) -> BackendError {
    BackendError::new(ErrorKind::Corrupt, format!("the stored totals are inconsistent: {sum:?}"))
}

fn as_word(word: &[u8]) -> Result<&str, BackendError> {
    std::str::from_utf8(word).map_err(|_| BackendError::new(ErrorKind::Corrupt, "a stored word is not UTF-8"))
}
