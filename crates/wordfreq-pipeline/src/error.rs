//! The one error of the ports. A kind exists only where a caller branches on it; everything else is the message.

use std::fmt;
use std::path::Path;

/// What a caller can do about a [`BackendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The disk, or a quota on it, is full. Nothing that was accepted is lost; try again when there is room.
    Full,
    /// The store cannot be written: a read-only file system or missing permission.
    ReadOnly,
    /// Other processes kept the store busy longer than we wait. Try again.
    Busy,
    /// Stored data does not match its checksum or its format.
    Corrupt,
    /// The thing asked for is not there.
    NotFound,
    /// The caller's input cannot be accepted: a bad key, an unknown message.
    Invalid,
    /// Anything else.
    Other,
}

/// A failed operation of a backend: what was tried, on what, and why it failed.
#[derive(Debug)]
pub struct BackendError {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BackendError {
    /// An error without a deeper cause.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// An operating system error met while doing `context` to `path`.
    pub fn io(context: &str, path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Full,
            Io::ReadOnlyFilesystem | Io::PermissionDenied => ErrorKind::ReadOnly,
            Io::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Other,
        };
        Self { kind, context: format!("cannot {context} {}", path.display()), source: Some(source.into()) }
    }

    /// The same, said of this file, if it is an error of the database.
    pub(crate) fn of_database(mut self, path: &Path) -> Self {
        if self.source.as_ref().is_some_and(|source| source.is::<rusqlite::Error>()) {
            self.context = format!("the database {} failed", path.display());
        }
        self
    }

    /// The same error for another who waited for the same thing. Its cause becomes words.
    pub(crate) fn for_another(&self) -> Self {
        let context = match &self.source {
            Some(source) => format!("{}: {source}", self.context),
            None => self.context.clone(),
        };
        Self { kind: self.kind, context, source: None }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.context)?;
        if let Some(source) = &self.source {
            write!(out, ": {source}")?;
        }
        match self.kind {
            ErrorKind::Full => out.write_str(
                " (the disk is full: nothing that was accepted is lost; free some space and run the command again)",
            ),
            ErrorKind::ReadOnly => {
                out.write_str(" (the data directory must be writable: check its permissions and its mount)")
            }
            ErrorKind::Corrupt if self.source.is_some() => {
                out.write_str(" (is this a data directory of wordfreq? if so, restore it from a backup)")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BackendError {}

impl From<rusqlite::Error> for BackendError {
    fn from(source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let kind = match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => ErrorKind::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                ErrorKind::ReadOnly
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
            Some(ErrorCode::TooBig) => ErrorKind::Invalid,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
            // The shared-memory file beside the database could not grow.
            _ if source
                .sqlite_error()
                .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
            {
                ErrorKind::Full
            }
            _ => ErrorKind::Other,
        };
        Self { kind, context: "the data directory's database failed".into(), source: Some(source.into()) }
    }
}
