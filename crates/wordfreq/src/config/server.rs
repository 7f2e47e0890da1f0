//! The settings of the server that `up` runs. Not here: listening, and who may do what.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::{
    SERVER_BODY_TIMEOUT, SERVER_CERTIFICATE, SERVER_KEY, SERVER_LISTEN, SERVER_MAX_BACKLOG,
    SERVER_MAX_CONNECTIONS, SERVER_MAX_CONNECTIONS_PER_ADDRESS, SERVER_MIN_BODY_RATE, SERVER_RATE,
};
use super::{Effective, Flags, Layers, Misconfiguration, Origin, Raw, Sourced, directory, integer, text};
use crate::output::Cell;

/// The address of who says nothing else.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it listens; `None`: nowhere. One that is not [`Sourced::explicit`] gives way to none where `up` is to end
    /// by itself.
    pub listen: Sourced<Option<SocketAddr>>,
    /// Its certificate chain, in PEM.
    pub certificate: Sourced<Option<PathBuf>>,
    /// The certificate's private key, in PEM.
    pub key: Sourced<Option<PathBuf>>,
    /// The most connections at a time.
    pub max_connections: Sourced<usize>,
    /// The most connections at a time of one client.
    pub max_connections_per_address: Sourced<usize>,
    /// How long to wait for the next part of a body.
    pub body_timeout: Sourced<Duration>,
    /// The fewest bytes a second that a body comes with.
    pub min_body_rate: Sourced<u64>,
    /// The most requests a second of one client.
    pub rate: Sourced<Option<u32>>,
    /// No document is taken while this many messages wait.
    pub max_backlog: Sourced<u64>,
}

impl ServerConfig {
    pub(super) fn resolve(layers: &Layers<'_>, flags: &Flags) -> Result<Self, Misconfiguration> {
        let certificate =
            layers.resolve(&SERVER_CERTIFICATE, None, |raw| directory(raw).map(Some))?.or_default(|| None);
        let key = layers.resolve(&SERVER_KEY, None, |raw| directory(raw).map(Some))?.or_default(|| None);
        let lone = match (&certificate.value, &key.value) {
            (Some(_), None) => Some((&SERVER_CERTIFICATE, &certificate, SERVER_KEY.name)),
            (None, Some(_)) => Some((&SERVER_KEY, &key, SERVER_CERTIFICATE.name)),
            _ => None,
        };
        if let Some((setting, given, missing)) = lone {
            return Err(Misconfiguration::Value {
                setting: setting.name,
                origin: given.origin.clone(),
                value: given.value.iter().map(|path| path.display().to_string()).collect(),
                mend: format!("needs `{missing}` beside it: TLS takes a certificate and its key"),
            });
        }
        Ok(Self {
            listen: layers
                .resolve(&SERVER_LISTEN, Raw::of(flags.listen.as_ref()), address)?
                .or_default(|| Some(DEFAULT_LISTEN)),
            certificate,
            key,
            max_connections: layers
                .resolve(&SERVER_MAX_CONNECTIONS, None, |raw| integer(raw, 1..=1_000_000))?
                .or_default(|| 16_384),
            max_connections_per_address: layers
                .resolve(&SERVER_MAX_CONNECTIONS_PER_ADDRESS, None, |raw| integer(raw, 1..=1_000_000))?
                .or_default(|| 8192),
            body_timeout: layers
                .resolve(&SERVER_BODY_TIMEOUT, None, |raw| integer(raw, 1..=3600).map(Duration::from_secs))?
                .or_default(|| Duration::from_secs(30)),
            min_body_rate: layers
                .resolve(&SERVER_MIN_BODY_RATE, None, |raw| integer(raw, 1..=1_000_000_000))?
                .or_default(|| 4096),
            rate: layers
                .resolve(&SERVER_RATE, None, |raw| integer(raw, 1..=1_000_000).map(Some))?
                .or_default(|| None),
            max_backlog: layers
                .resolve(&SERVER_MAX_BACKLOG, None, |raw| integer(raw, 1..=1_000_000_000))?
                .or_default(|| 1_000_000),
        })
    }

    pub(super) fn effective(&self) -> [Effective<'_>; 9] {
        let path = |path: &Option<PathBuf>| {
            path.as_deref().map_or(Cell::Missing, |path| Cell::Text(path.to_string_lossy().into_owned()))
        };
        let row = |setting, value, origin| Effective { setting, value, origin };
        let listen = self.listen.value.map_or_else(|| "none".to_owned(), |address| address.to_string());
        let rate = self.rate.value.map_or(Cell::Missing, |rate| Cell::from(u64::from(rate)));
        [
            row(&SERVER_LISTEN, Cell::Text(listen), &self.listen.origin),
            row(&SERVER_CERTIFICATE, path(&self.certificate.value), &self.certificate.origin),
            row(&SERVER_KEY, path(&self.key.value), &self.key.origin),
            row(
                &SERVER_MAX_CONNECTIONS,
                Cell::from(self.max_connections.value as u64),
                &self.max_connections.origin,
            ),
            row(
                &SERVER_MAX_CONNECTIONS_PER_ADDRESS,
                Cell::from(self.max_connections_per_address.value as u64),
                &self.max_connections_per_address.origin,
            ),
            row(
                &SERVER_BODY_TIMEOUT,
                Cell::from(self.body_timeout.value.as_secs()),
                &self.body_timeout.origin,
            ),
            row(&SERVER_MIN_BODY_RATE, Cell::from(self.min_body_rate.value), &self.min_body_rate.origin),
            row(&SERVER_RATE, rate, &self.rate.origin),
            row(&SERVER_MAX_BACKLOG, Cell::from(self.max_backlog.value), &self.max_backlog.origin),
        ]
    }

    /// Who says where it listens.
    pub fn listen_origin(&self) -> &Origin {
        &self.listen.origin
    }
}

/// An address to listen on, or none.
fn address(raw: &Raw<'_>) -> Result<Option<SocketAddr>, String> {
    let mend =
        "must be an address and a port, such as 127.0.0.1:8080 or [::1]:0 (0 is any free port), or none";
    let text = text(raw).map_err(|_| mend)?;
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| mend.to_owned())
}
