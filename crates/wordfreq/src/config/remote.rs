//! The settings by which commands ask an `up` elsewhere. Not here: asking it (`remote`).

use std::path::PathBuf;

use super::notify::{Password, refuse_in_files, secret, server_url};
use super::settings::{REMOTE_CA_FILE, REMOTE_TOKEN, REMOTE_TOKEN_FILE, REMOTE_URL};
use super::{Effective, Flags, Layers, Misconfiguration, Raw, Sourced, directory, text};
use crate::output::Cell;

const MEND: &str = "must be where an `up` is, such as https://wordfreq.example.org";

/// Settings of an `up` elsewhere.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Where it is, without a slash at the end.
    pub url: Sourced<Option<String>>,
    /// The authorities that vouch for it, in place of those that browsers know.
    pub ca_file: Sourced<Option<PathBuf>>,
    token: Sourced<Option<Password>>,
    token_file: Sourced<Option<PathBuf>>,
}

impl RemoteConfig {
    pub(super) fn resolve(layers: &Layers<'_>, flags: &Flags) -> Result<Self, Misconfiguration> {
        let path = |setting| -> Result<Sourced<Option<PathBuf>>, Misconfiguration> {
            Ok(layers.resolve(setting, None, |raw| directory(raw).map(Some))?.or_default(|| None))
        };
        refuse_in_files(layers, &REMOTE_TOKEN, &REMOTE_TOKEN_FILE)?;
        Ok(Self {
            url: layers
                .resolve(&REMOTE_URL, Raw::of(flags.server.as_ref()), |raw| {
                    server_url(raw).map(Some).ok_or_else(|| MEND.to_owned())
                })?
                .or_default(|| None),
            ca_file: path(&REMOTE_CA_FILE)?,
            token: layers
                .resolve(&REMOTE_TOKEN, None, |raw| Ok(Some(Password(text(raw)?))))?
                .or_default(|| None),
            token_file: path(&REMOTE_TOKEN_FILE)?,
        })
    }

    /// The token to show, read from its file where it is in one; `None`: there is none.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no token.
    pub fn token(&self) -> anyhow::Result<Option<String>> {
        if let Some(Password(token)) = &self.token.value {
            return Ok(Some(token.clone()));
        }
        self.token_file.value.as_deref().map(|path| secret(path, &REMOTE_TOKEN_FILE)).transpose()
    }

    pub(super) fn effective(&self) -> [Effective<'_>; 4] {
        let row = |setting, value, origin| Effective { setting, value, origin };
        let path = |path: &Option<PathBuf>| {
            path.as_deref().map_or(Cell::Missing, |path| Cell::Text(path.to_string_lossy().into_owned()))
        };
        let url = self.url.value.as_deref().map_or(Cell::Missing, Cell::from);
        let token = self.token.value.as_ref().map_or(Cell::Missing, |_| Cell::from("(not shown)"));
        [
            row(&REMOTE_URL, url, &self.url.origin),
            row(&REMOTE_CA_FILE, path(&self.ca_file.value), &self.ca_file.origin),
            row(&REMOTE_TOKEN_FILE, path(&self.token_file.value), &self.token_file.origin),
            row(&REMOTE_TOKEN, token, &self.token.origin),
        ]
    }
}
