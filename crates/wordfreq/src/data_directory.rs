//! From the resolved configuration to an open data directory, for every command that works on one.

use wordfreq_core::Profile;
use wordfreq_pipeline::BackendError;
use wordfreq_pipeline::embedded::{Embedded, IfMissing, Options};

use crate::config::Config;

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
