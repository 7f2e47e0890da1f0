//! Who may reach a data directory over the network: tokens of the API, and keys of the S3 endpoint. Not here: how secrets
//! are made, and what each scope allows (`wordfreq`).
//!
//! A token is kept as its digest only. An S3 key's secret is kept as it is, since a signature can only be checked by
//! making it again; the data directory is its owner's alone.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{ErrorCode, Row, params};

use super::database::Database;
use super::readers::Readers;
use crate::error::{BackendError, ErrorKind};
use crate::time::Timestamp;

/// What its holder may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Look at everything.
    Read,
    /// Put, delete and count again.
    Write,
    /// Everything.
    Admin,
}

impl Scope {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == name);
        known.ok_or_else(|| "must be read, write or admin".to_owned())
    }
}

impl FromSql for Scope {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|error: String| FromSqlError::Other(error.into()))
    }
}

/// A credential of either kind, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// What it is called by; an S3 key's access key id.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A token of the API: BLAKE3 of its text, which has 256 random bits, so that no slow hash is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What is known of it.
    pub credential: Credential,
    /// Its digest.
    pub digest: [u8; 32],
}

/// A key of the S3 endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Key {
    /// What is known of it.
    pub credential: Credential,
    /// The secret access key.
    pub secret: String,
}

impl fmt::Debug for S3Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("S3Key").field("credential", &self.credential).finish_non_exhaustive()
    }
}

/// The credentials of a data directory. A change is seen by every process at its next look.
#[derive(Clone, Debug)]
pub struct AccessList {
    database: Arc<Database>,
    /// Who asks whether someone may do something must not wait for those who do.
    readers: Arc<Readers>,
}

impl AccessList {
    pub(super) fn new(directory: &Path, database: Arc<Database>) -> Self {
        Self { database, readers: Arc::new(Readers::new(directory)) }
    }

    /// Every token, oldest first.
    pub fn tokens(&self) -> Result<Vec<Token>, BackendError> {
        self.readers.read(|transaction| {
            let mut select = transaction.prepare_cached(
                "SELECT id, name, scope, created_at, digest FROM tokens ORDER BY created_at, id",
            )?;
            let tokens = select
                .query_map([], |row| Ok(Token { credential: credential(row)?, digest: row.get(4)? }))?
                .collect::<Result<_, _>>()?;
            Ok(tokens)
        })
    }

    /// Every S3 key, oldest first.
    pub fn s3_keys(&self) -> Result<Vec<S3Key>, BackendError> {
        self.readers.read(|transaction| {
            let mut select = transaction.prepare_cached(
                "SELECT id, name, scope, created_at, secret FROM s3_keys ORDER BY created_at, id",
            )?;
            let keys = select
                .query_map([], |row| Ok(S3Key { credential: credential(row)?, secret: row.get(4)? }))?
                .collect::<Result<_, _>>()?;
            Ok(keys)
        })
    }

    /// Adds a token.
    ///
    /// # Errors
    /// `Invalid` if the id is taken.
    pub fn add_token(&self, token: &Token) -> Result<(), BackendError> {
        let Credential { id, name, scope, created_at } = &token.credential;
        self.add("INSERT INTO tokens VALUES (?1, ?2, ?3, ?4, ?5)", id, |sql, transaction| {
            transaction.execute(sql, params![id, name, scope.as_str(), created_at.0, token.digest])
        })
    }

    /// Adds an S3 key.
    ///
    /// # Errors
    /// `Invalid` if the id is taken.
    pub fn add_s3_key(&self, key: &S3Key) -> Result<(), BackendError> {
        let Credential { id, name, scope, created_at } = &key.credential;
        self.add("INSERT INTO s3_keys VALUES (?1, ?2, ?3, ?4, ?5)", id, |sql, transaction| {
            transaction.execute(sql, params![id, name, scope.as_str(), created_at.0, key.secret])
        })
    }

    fn add(
        &self,
        sql: &str,
        id: &str,
        insert: impl FnOnce(&str, &rusqlite::Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<(), BackendError> {
        self.database.write(|transaction| match insert(sql, transaction) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(BackendError::new(ErrorKind::Invalid, format!("{id} is there already")))
            }
            inserted => Ok(inserted.map(drop)?),
        })
    }

    /// Removes a token; tells whether there was one.
    pub fn revoke_token(&self, id: &str) -> Result<bool, BackendError> {
        self.database
            .write(|transaction| Ok(transaction.execute("DELETE FROM tokens WHERE id = ?1", [id])? == 1))
    }

    /// Removes an S3 key; tells whether there was one.
    pub fn revoke_s3_key(&self, id: &str) -> Result<bool, BackendError> {
        self.database
            .write(|transaction| Ok(transaction.execute("DELETE FROM s3_keys WHERE id = ?1", [id])? == 1))
    }
}

fn credential(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential {
        id: row.get(0)?,
        name: row.get(1)?,
        scope: row.get(2)?,
        created_at: Timestamp(row.get(3)?),
    })
}
