//! The SQLite database of a data directory: how it is opened, its schema, and the two ways to use it. Not here: any
//! statement about messages, results or documents.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, Transaction, TransactionBehavior};

use crate::document::Sequence;
use crate::error::{BackendError, ErrorKind};
use crate::failpoint;

pub(super) const FILE_NAME: &str = "wordfreq.db";

/// Earlier versions can lose commits or corrupt the file when one process checkpoints while others write
/// (fixed in SQLite 3.51.3, "WAL-reset").
const OLDEST_SAFE_SQLITE: i32 = 3_051_003;

/// A log of more pages is begun anew: 64 MiB.
const LOG_PAGES: i64 = 16 * 1024;

/// How often to try for that. Each takes about a millisecond; while readers are waited for, writers are held up.
const RESTART_ATTEMPTS: i32 = 1000;

/// "WFQ1", so that `file` and a careless command can tell what this is.
const APPLICATION_ID: i32 = 0x5746_5131;

/// Each entry brings the schema one version forward. Never change one that was released; add another.
const MIGRATIONS: &[&str] = &[
    r"
    CREATE TABLE settings (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO settings VALUES ('sequence', 0);

    -- The newest version of every key there ever was; a deleted one has no digest. Keys and words are bytes: they
    -- may hold NUL, and their order is code-point order.
    CREATE TABLE documents (
        id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,
        digest BLOB, bytes INTEGER NOT NULL, changed_at INTEGER NOT NULL,
        UNIQUE (bucket, key)
    ) STRICT;
    CREATE INDEX documents_by_digest ON documents (digest) WHERE digest IS NOT NULL;

    -- visible_at decides everything: hidden until then, whether delayed (never received) or leased (received).
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, dead INTEGER NOT NULL DEFAULT 0, visible_at INTEGER NOT NULL,
        sent_at INTEGER NOT NULL, received_at INTEGER, receive_count INTEGER NOT NULL DEFAULT 0,
        body TEXT NOT NULL, reason TEXT, document BLOB, sequence INTEGER
    ) STRICT;
    CREATE INDEX dead_letters_by_document ON messages (document) WHERE dead = 1;
    CREATE INDEX messages_by_visibility ON messages (dead, visible_at);

    CREATE TABLE profiles (
        id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL, min_length INTEGER NOT NULL
    ) STRICT;

    -- profile_id is NULL for a removed document.
    CREATE TABLE results (
        id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,
        profile_id INTEGER REFERENCES profiles, bytes INTEGER NOT NULL, words INTEGER NOT NULL,
        distinct_words INTEGER NOT NULL, over_long INTEGER NOT NULL, duration_us INTEGER NOT NULL,
        committed_at INTEGER NOT NULL,
        UNIQUE (bucket, key)
    ) STRICT;
    CREATE TABLE count_tables (result_id INTEGER PRIMARY KEY REFERENCES results, encoded BLOB NOT NULL) STRICT;
    CREATE TABLE totals (
        profile_id INTEGER NOT NULL REFERENCES profiles, word BLOB NOT NULL,
        count INTEGER NOT NULL, documents INTEGER NOT NULL,
        PRIMARY KEY (profile_id, word)
    ) STRICT, WITHOUT ROWID;

    -- Moves of totals that are not yet in the rows above.
    CREATE TABLE totals_pending (
        id INTEGER PRIMARY KEY, profile_id INTEGER NOT NULL REFERENCES profiles, moves INTEGER NOT NULL,
        encoded BLOB NOT NULL
    ) STRICT;

    -- What was last taken in from watched directories, so that a restart takes in only what changed.
    CREATE TABLE watched (
        root BLOB NOT NULL, path BLOB NOT NULL, bucket TEXT NOT NULL, key BLOB NOT NULL,
        bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
        taken_at INTEGER NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (root, path)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX watched_by_key ON watched (bucket, key);
",
    r"
    -- How often messages were sent, received and deleted since the beginning: what CloudWatch counts of a queue. A
    -- message that becomes a dead letter is not deleted, and deleting a dead letter is nobody's throughput.
    CREATE TABLE throughput (sent INTEGER NOT NULL, received INTEGER NOT NULL, deleted INTEGER NOT NULL) STRICT;
    INSERT INTO throughput VALUES (0, 0, 0);
    CREATE TRIGGER message_sent AFTER INSERT ON messages BEGIN
        UPDATE throughput SET sent = sent + 1;
    END;
    CREATE TRIGGER message_received AFTER UPDATE OF receive_count ON messages BEGIN
        UPDATE throughput SET received = received + 1;
    END;
    CREATE TRIGGER message_deleted AFTER DELETE ON messages WHEN old.dead = 0 BEGIN
        UPDATE throughput SET deleted = deleted + 1;
    END;

    -- What a fleet's scaler saw, found and did. Times are milliseconds of the scaler's clock, which is the wall clock
    -- but in a load test whose time is scaled.
    CREATE TABLE fleet_observations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
        visible INTEGER NOT NULL, not_visible INTEGER NOT NULL, delayed INTEGER NOT NULL, oldest_age_ms INTEGER,
        sent INTEGER NOT NULL, received INTEGER NOT NULL, deleted INTEGER NOT NULL,
        in_service INTEGER NOT NULL, desired INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE fleet_transitions (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, alarm TEXT NOT NULL,
        old_state TEXT NOT NULL, new_state TEXT NOT NULL, reason TEXT NOT NULL, value REAL
    ) STRICT;
    CREATE TABLE fleet_activities (
        id INTEGER PRIMARY KEY AUTOINCREMENT, started_at INTEGER NOT NULL, ended_at INTEGER, instance TEXT NOT NULL,
        kind TEXT NOT NULL, status TEXT NOT NULL, description TEXT NOT NULL, cause TEXT NOT NULL, message TEXT
    ) STRICT;
    CREATE INDEX fleet_activities_in_progress ON fleet_activities (instance) WHERE ended_at IS NULL;
    CREATE TABLE fleet_instances (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, process INTEGER, launched_at INTEGER NOT NULL,
        in_service_at INTEGER, healthy INTEGER NOT NULL, protected INTEGER NOT NULL, held INTEGER NOT NULL,
        documents INTEGER NOT NULL, note TEXT
    ) STRICT, WITHOUT ROWID;
",
    r"
    -- Who may reach the data directory over the network. A token is kept as its digest; a key's secret as it is.
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, scope TEXT NOT NULL, created_at INTEGER NOT NULL, digest BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE s3_keys (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, scope TEXT NOT NULL, created_at INTEGER NOT NULL, secret TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    r"
    -- How many documents the profile in force has counted, and which were counted last.
    CREATE INDEX results_by_commit ON results (profile_id, committed_at);
    CREATE INDEX fleet_observations_by_time ON fleet_observations (at);
",
    r"
    -- Who is told of what happens. `pending` counts their deliveries that wait, `missed` the events that found no room
    -- there; `failures` in a row keep a target alone until `paused_until`.
    CREATE TABLE subscriptions (
        id TEXT PRIMARY KEY, target TEXT NOT NULL, bucket TEXT, state TEXT NOT NULL, created_at INTEGER NOT NULL,
        secret BLOB NOT NULL, pending INTEGER NOT NULL DEFAULT 0, missed INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0, paused_until INTEGER NOT NULL DEFAULT 0, ended_at INTEGER, note TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE subscription_events (
        event TEXT NOT NULL, subscription TEXT NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
        PRIMARY KEY (event, subscription)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX subscription_events_by_subscription ON subscription_events (subscription);

    -- The outbox, and what became of it. Only what is to be tried has a next_attempt_at.
    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subscription TEXT NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
        event_id TEXT NOT NULL, event TEXT NOT NULL, at INTEGER NOT NULL, facts TEXT NOT NULL,
        created_at INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0,
        next_attempt_at INTEGER, response INTEGER, last_error TEXT
    ) STRICT;
    CREATE INDEX deliveries_by_subscription ON deliveries (subscription, id);
    CREATE INDEX deliveries_due ON deliveries (subscription, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
    CREATE TRIGGER delivery_waits AFTER INSERT ON deliveries WHEN new.next_attempt_at IS NOT NULL BEGIN
        UPDATE subscriptions SET pending = pending + 1 WHERE id = new.subscription;
    END;
    CREATE TRIGGER delivery_settled AFTER UPDATE OF next_attempt_at ON deliveries
    WHEN old.next_attempt_at IS NOT NULL AND new.next_attempt_at IS NULL BEGIN
        UPDATE subscriptions SET pending = pending - 1 WHERE id = new.subscription;
    END;

    -- What happens is put into this view, which holds nothing: it goes to whoever subscribed to it. Each of the triggers
    -- below runs in the transaction that makes its event true, and costs one look at an empty index if nobody listens.
    CREATE VIEW announcements AS SELECT '' AS id, '' AS event, 0 AS at, '' AS bucket, '' AS facts WHERE 0;
    CREATE TRIGGER announce INSTEAD OF INSERT ON announcements BEGIN
        UPDATE subscriptions SET missed = missed + 1
        WHERE state = 'confirmed' AND pending >= 10000
            AND (bucket IS NULL OR bucket = new.bucket OR new.event NOT LIKE 'document.%')
            AND id IN (SELECT subscription FROM subscription_events WHERE event = new.event);
        INSERT INTO deliveries (subscription, event_id, event, at, facts, created_at, next_attempt_at)
        SELECT subscriptions.id, new.id, new.event, new.at, new.facts,
            CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER)
        FROM subscription_events JOIN subscriptions ON subscriptions.id = subscription
        WHERE subscription_events.event = new.event AND state = 'confirmed' AND pending < 10000
            AND (subscriptions.bucket IS NULL OR subscriptions.bucket = new.bucket OR new.event NOT LIKE 'document.%');
    END;

    -- A result is inserted the first time and updated later. Keys are UTF-8, though they are kept as bytes.
    CREATE TRIGGER announce_first_result AFTER INSERT ON results
    WHEN new.profile_id IS NOT NULL AND EXISTS (SELECT 1 FROM subscription_events WHERE event = 'document.counted') BEGIN
        INSERT INTO announcements VALUES (lower(hex(randomblob(16))), 'document.counted', new.committed_at, new.bucket,
            json_object('bucket', new.bucket, 'key', CAST(new.key AS TEXT), 'sequence', new.sequence,
                'bytes', new.bytes, 'words', new.words, 'distinct', new.distinct_words, 'over_long', new.over_long,
                'duration_us', new.duration_us,
                'fingerprint', (SELECT fingerprint FROM profiles WHERE profiles.id = new.profile_id)));
    END;
    CREATE TRIGGER announce_next_result AFTER UPDATE OF committed_at ON results
    WHEN new.profile_id IS NOT NULL AND EXISTS (SELECT 1 FROM subscription_events WHERE event = 'document.counted') BEGIN
        INSERT INTO announcements VALUES (lower(hex(randomblob(16))), 'document.counted', new.committed_at, new.bucket,
            json_object('bucket', new.bucket, 'key', CAST(new.key AS TEXT), 'sequence', new.sequence,
                'bytes', new.bytes, 'words', new.words, 'distinct', new.distinct_words, 'over_long', new.over_long,
                'duration_us', new.duration_us,
                'fingerprint', (SELECT fingerprint FROM profiles WHERE profiles.id = new.profile_id)));
    END;
    -- A message of somebody else's is about no document: its body tells what it was.
    CREATE TRIGGER announce_dead_letter AFTER UPDATE OF dead ON messages
    WHEN new.dead = 1 AND old.dead = 0
        AND EXISTS (SELECT 1 FROM subscription_events WHERE event = 'document.failed') BEGIN
        INSERT INTO announcements VALUES (lower(hex(randomblob(16))), 'document.failed', new.visible_at,
            CAST(substr(new.document, 1, instr(new.document, x'2F') - 1) AS TEXT),
            json_object('bucket', CAST(substr(new.document, 1, instr(new.document, x'2F') - 1) AS TEXT),
                'key', CAST(substr(new.document, instr(new.document, x'2F') + 1) AS TEXT),
                'sequence', new.sequence, 'reason', substr(new.reason, 1, 2000), 'receive_count', new.receive_count,
                'dead_letter', CAST(new.id AS TEXT),
                'body', CASE WHEN new.document IS NULL THEN substr(new.body, 1, 1000) END));
    END;
    CREATE TRIGGER announce_alarm AFTER INSERT ON fleet_transitions
    WHEN EXISTS (SELECT 1 FROM subscription_events WHERE event = 'alarm.changed') BEGIN
        INSERT INTO announcements VALUES (lower(hex(randomblob(16))), 'alarm.changed', new.at, NULL,
            json_object('alarm', new.alarm, 'old_state', new.old_state, 'new_state', new.new_state,
                'reason', new.reason, 'value', new.value));
    END;
    -- Rest is announced by who looks for it; of what was sent so far, it is too late.
    INSERT INTO settings SELECT 'rest_announced', sent FROM throughput;
",
    r#"
    -- A bucket that does not trigger keeps its documents uncounted. Which names keep is a setting; a list in JSON.
    CREATE TABLE buckets (
        name TEXT PRIMARY KEY, triggers INTEGER NOT NULL, created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO settings VALUES ('kept_buckets', '["uploading"]');
    INSERT INTO buckets SELECT bucket, 1, min(changed_at) FROM documents GROUP BY bucket;
    INSERT OR IGNORE INTO buckets VALUES ('uploading', 0, unixepoch() * 1000), ('processing', 1, unixepoch() * 1000);

    -- What S3 keeps of an object beside its bytes; attributes are JSON, NULL where there are none. What was put in
    -- without any has no etag.
    ALTER TABLE documents ADD COLUMN etag TEXT;
    ALTER TABLE documents ADD COLUMN content_type TEXT;
    ALTER TABLE documents ADD COLUMN attributes TEXT;
    -- For listings, which must not walk over what was deleted.
    CREATE INDEX documents_present ON documents (bucket, key) WHERE digest IS NOT NULL;

    -- Uploads in parts. A completed one is remembered for a while, for the client that asks again.
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, started_at INTEGER NOT NULL,
        content_type TEXT, attributes TEXT, completed_etag TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX uploads_by_key ON uploads (bucket, key, id) WHERE completed_etag IS NULL;
    CREATE TABLE parts (
        upload TEXT NOT NULL REFERENCES uploads, number INTEGER NOT NULL, digest BLOB NOT NULL, bytes INTEGER NOT NULL,
        etag TEXT NOT NULL, checksum TEXT, put_at INTEGER NOT NULL,
        PRIMARY KEY (upload, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX parts_by_digest ON parts (digest);
"#,
    r"
    -- How many documents have a result of this profile, which is looked at far too often to be counted.
    ALTER TABLE profiles ADD COLUMN documents INTEGER NOT NULL DEFAULT 0;
    UPDATE profiles SET documents = (SELECT count(*) FROM results WHERE profile_id = profiles.id);
    CREATE TRIGGER result_inserted AFTER INSERT ON results WHEN new.profile_id IS NOT NULL BEGIN
        UPDATE profiles SET documents = documents + 1 WHERE id = new.profile_id;
    END;
    CREATE TRIGGER result_moved AFTER UPDATE OF profile_id ON results WHEN new.profile_id IS NOT old.profile_id BEGIN
        UPDATE profiles SET documents = documents - 1 WHERE id = old.profile_id;
        UPDATE profiles SET documents = documents + 1 WHERE id = new.profile_id;
    END;
    CREATE TRIGGER result_deleted AFTER DELETE ON results WHEN old.profile_id IS NOT NULL BEGIN
        UPDATE profiles SET documents = documents - 1 WHERE id = old.profile_id;
    END;
",
];

/// What a commit of this connection promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// On disk before it returns.
    Full,
    /// Safe from a crash of the process; a power cut may undo the last ones, in order.
    Normal,
}

#[derive(Debug)]
pub(super) struct Database {
    connection: Mutex<Connection>,
}

impl Database {
    pub(super) fn open(directory: &Path, durability: Durability) -> Result<Self, BackendError> {
        Self::open_unnamed(directory, durability)
            .map_err(|error| error.of_database(&directory.join(FILE_NAME)))
    }

    fn open_unnamed(directory: &Path, durability: Durability) -> Result<Self, BackendError> {
        if rusqlite::version_number() < OLDEST_SAFE_SQLITE {
            return Err(BackendError::new(
                ErrorKind::Invalid,
                format!("SQLite {} can lose commits here: build with 3.51.3 or later", rusqlite::version()),
            ));
        }
        let path = directory.join(FILE_NAME);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_handler(Some(wait_while_busy))?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", -64 * 1024)?;
        connection.set_prepared_statement_cache_capacity(64);
        {
            // Two processes that make the same database at once would both try to switch it to WAL.
            let lock_path = directory.join("open.lock");
            let lock = std::fs::File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&lock_path)
                .and_then(|file| file.lock().map(|()| file))
                .map_err(|error| BackendError::io("lock", &lock_path, error))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            migrate(&connection, &path)?;
            drop(lock);
        }
        // Only `Embedded::checkpoint` copies the log back, one process at a time.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(
            None,
            "synchronous",
            match durability {
                Durability::Full => "FULL",
                Durability::Normal => "NORMAL",
            },
        )?;
        #[cfg(feature = "failpoints")]
        if let Some(pages) = failpoint::max_database_pages() {
            connection.pragma_update(None, "max_page_count", pages)?;
        }
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Reads in one snapshot.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        work(&transaction)
    }

    /// Writes all or nothing. IMMEDIATE, because a read that turns into a write fails at once when another process
    /// wrote in between, and no busy handler helps.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        failpoint::hit("database.before_commit");
        transaction.commit()?;
        failpoint::hit("database.after_commit");
        Ok(value)
    }

    /// Copies what the log holds into the database file, and sees to it that the log is begun anew now and then.
    pub(super) fn checkpoint(&self) -> Result<(), BackendError> {
        self.checkpoint_beyond(LOG_PAGES)
    }

    fn checkpoint_beyond(&self, most_pages: i64) -> Result<(), BackendError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // PASSIVE never waits for readers or writers; what it could not copy is copied next time.
        let pages: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get("log"))?;
        if pages <= most_pages {
            return Ok(());
        }
        // The log begins anew when all of it is copied and nobody reads it, for which writers that never rest leave no
        // moment: it would grow for as long as they go on. RESTART makes them wait for the little that is left to copy,
        // and for those who read now; where that takes too long it is tried again next time.
        connection.busy_handler(Some(wait_a_moment))?;
        let restarted = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        connection.busy_handler(Some(wait_while_busy))?;
        match restarted.map_err(BackendError::from) {
            Err(error) if error.kind() != ErrorKind::Busy => Err(error),
            _ => Ok(()),
        }
    }
}

/// SQLite's own back-off starves a waiter among many writers; a short even wait with jitter does not. Gives up after
/// about half a minute.
pub(super) fn wait_while_busy(attempt: i32) -> bool {
    let jitter =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos() % 1000);
    #[expect(clippy::disallowed_methods, reason = "a lock of SQLite gives no signal when it is free")]
    std::thread::sleep(Duration::from_micros(500 + u64::from(jitter)));
    attempt < 30_000
}

/// The same, and gives up after about a second.
fn wait_a_moment(attempt: i32) -> bool {
    attempt < RESTART_ATTEMPTS && wait_while_busy(attempt)
}

fn migrate(connection: &Connection, path: &Path) -> Result<(), BackendError> {
    let version = |connection: &Connection| -> Result<usize, BackendError> {
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        usize::try_from(version).map_err(|_| {
            BackendError::new(ErrorKind::Corrupt, format!("{} has no valid schema", path.display()))
        })
    };
    let found = version(connection)?;
    if found > MIGRATIONS.len() {
        return Err(BackendError::new(
            ErrorKind::Invalid,
            format!(
                "{} was written by a newer wordfreq (schema {found}; this one knows {}): use that version",
                path.display(),
                MIGRATIONS.len()
            ),
        ));
    }
    if found == MIGRATIONS.len() {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let migrated =
        MIGRATIONS[found..].iter().try_for_each(|step| connection.execute_batch(step)).and_then(|()| {
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            connection.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
            connection.execute_batch("COMMIT")
        });
    if let Err(error) = migrated {
        connection.execute_batch("ROLLBACK")?;
        return Err(error.into());
    }
    Ok(())
}

/// The sequences of a data directory are its own numbers, which count from 1.
impl ToSql for Sequence {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        i64::try_from(self.0)
            .map(ToSqlOutput::from)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

impl FromSql for Sequence {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u64::column_result(value).map(|number| Self(number.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(Database::open(directory.path(), Durability::Full).unwrap());
        let path = directory.path().join(FILE_NAME);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Database::open(directory.path(), Durability::Full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("schema 99"), "{error}");
    }

    #[test]
    fn the_log_stays_short_although_writers_never_rest() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), Durability::Normal).unwrap();
        let log = directory.path().join(format!("{FILE_NAME}-wal"));
        let write = || {
            let database = Database::open(directory.path(), Durability::Full).unwrap();
            for _ in 0..1000 {
                database
                    .write(|transaction| {
                        let sql = "INSERT OR REPLACE INTO settings VALUES ('test', randomblob(100000))";
                        Ok(transaction.execute(sql, [])?)
                    })
                    .unwrap();
            }
            1000 * 100_000
        };
        let written: u64 = std::thread::scope(|scope| {
            let writers = [scope.spawn(write), scope.spawn(write)];
            while writers.iter().any(|writer| !writer.is_finished()) {
                database.checkpoint_beyond(100).unwrap();
            }
            writers.into_iter().map(|writer| writer.join().unwrap()).sum()
        });
        let length = std::fs::metadata(&log).unwrap().len();
        assert!(length < written / 2, "{written} bytes were written, and the log has {length}");
    }

    #[test]
    fn the_bundled_sqlite_is_safe() {
        assert!(rusqlite::version_number() >= OLDEST_SAFE_SQLITE);
    }

    #[test]
    fn every_connection_is_in_wal_mode_without_mmap() {
        let directory = tempfile::tempdir().unwrap();
        for (durability, synchronous) in [(Durability::Full, 2), (Durability::Normal, 1)] {
            let database = Database::open(directory.path(), durability).unwrap();
            let connection = database.connection.lock().unwrap();
            let pragma =
                |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(pragma("synchronous"), synchronous);
            assert_eq!(pragma("wal_autocheckpoint"), 0);
            let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
            assert_eq!(mode, "wal");
        }
    }
}
