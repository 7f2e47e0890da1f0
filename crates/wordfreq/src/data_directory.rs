//! From the resolved configuration to an open data directory, for every command that works on one.

use wordfreq_core::Profile;
use wordfreq_pipeline::BackendError;
use wordfreq_pipeline::embedded::{self, Embedded, IfMissing, Options};

use crate::config::Config;
use crate::exit::UsageError;

/// Refuses to make a data directory of a folder that holds other things, most likely somebody's documents.
///
/// # Errors
/// [`UsageError`] if the configured directory exists, is not empty and is no data directory.
pub fn refuse_foreign(config: &Config) -> Result<(), UsageError> {
    let directory = &config.data_dir.value;
    if directory.join(embedded::DATABASE_FILE).exists() {
        return Ok(());
    }
    // What cannot be listed is reported by whoever opens it. `up` makes its lock before anything else.
    let stranger = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .find(|entry| !embedded::OWN_NAMES.iter().any(|own| entry.file_name() == *own));
    match stranger {
        None => Ok(()),
        Some(stranger) => Err(UsageError(format!(
            "{} is not a data directory: it holds {}; name an empty or a new one with --data-dir",
            directory.display(),
            stranger.path().display()
        ))),
    }
}

/// Opens the configured data directory.
///
/// # Errors
/// Those of [`Embedded::open`].
pub fn open(config: &Config, if_missing: IfMissing) -> Result<Embedded, BackendError> {
    let options = Options { max_receive_count: config.queue.max_receive_count.value, ..Options::default() };
    Embedded::open(&config.data_dir.value, if_missing, options)
}

/// The profile that `up` puts in force: what is set explicitly, over what the directory was counted with, over the
/// default.
pub fn profile_for(config: &Config, in_force: Option<Profile>) -> Profile {
    let Some(mut profile) = in_force else {
        return config.profile();
    };
    if let Some(name) = config.profile.explicit() {
        profile.name = *name;
    }
    if let Some(min_length) = config.min_length.explicit() {
        profile.min_length = *min_length;
    }
    profile
}
