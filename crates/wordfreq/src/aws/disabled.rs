//! A build without AWS says so, whichever command asks for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wordfreq_pipeline::DocumentId;

use crate::backend::{OpenQueue, OpenResults};
use crate::cli::{AwsArgs, UploadArgs};
use crate::config::Config;
use crate::exit::{Exit, UsageError};

fn refuse<T>(config: &Config) -> anyhow::Result<T> {
    Err(UsageError(format!(
        "the backend is `aws` (from {}), and this program was built without it: build it with \
         `cargo build --release --features aws`, or choose `--backend embedded`",
        config.backend.origin
    ))
    .into())
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn run(_args: &AwsArgs, config: &Config) -> anyhow::Result<Exit> {
    refuse(config)
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn worker(config: &Config) -> anyhow::Result<Exit> {
    refuse(config)
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn upload(
    _args: &UploadArgs,
    config: &Config,
    _bucket: &str,
    _sources: &BTreeMap<DocumentId, PathBuf>,
    _num_failed: usize,
) -> anyhow::Result<Exit> {
    refuse(config)
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn upload_without_bucket(config: &Config) -> anyhow::Result<Exit> {
    refuse(config)
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn delete(config: &Config, _ids: &[DocumentId]) -> anyhow::Result<Exit> {
    refuse(config)
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn queue(config: &Config) -> anyhow::Result<OpenQueue> {
    refuse(config)
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn results(config: &Config) -> anyhow::Result<OpenResults> {
    refuse(config)
}
