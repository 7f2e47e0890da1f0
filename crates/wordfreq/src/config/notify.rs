//! The settings of notifications: where they may go, and by which mail server. Not here: sending them.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use http::Uri;
use lettre::message::Mailbox;

use super::settings::{
    NOTIFY_ALLOW, NOTIFY_CA_FILE, SERVER_PUBLIC_URL, SMTP_FROM, SMTP_HOST, SMTP_PASSWORD, SMTP_PASSWORD_FILE,
    SMTP_PORT, SMTP_TLS, SMTP_USER, Setting,
};
use super::{
    Effective, Layers, Misconfiguration, Origin, Raw, Sourced, directory, integer, name, nonempty, text,
};
use crate::output::Cell;
use crate::server::notify::target::Allowed;

/// The longest password a file may hold.
const MAX_PASSWORD_BYTES: usize = 4096;

/// How the way to the mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmtpTls {
    /// From the first command on that allows it; a server that does not is refused.
    #[default]
    StartTls,
    /// From the first byte on.
    Tls,
    /// Not at all.
    None,
}

impl SmtpTls {
    const ALL: [Self; 3] = [Self::StartTls, Self::Tls, Self::None];

    const fn as_str(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }

    /// The port that is usual with it.
    const fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

impl FromStr for SmtpTls {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == name);
        known.ok_or_else(|| "must be starttls, tls or none".to_owned())
    }
}

/// A password, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub(super) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Settings of the mail server.
#[derive(Clone, Debug)]
pub struct SmtpConfig {
    /// Its name; `None`: there is none.
    pub host: Sourced<Option<String>>,
    /// Its port.
    pub port: Sourced<u16>,
    /// How the way there is encrypted.
    pub tls: Sourced<SmtpTls>,
    /// From whom mail comes; there is one if there is a host.
    pub from: Sourced<Option<Mailbox>>,
    /// Whom to sign in as.
    pub user: Sourced<Option<String>>,
    password: Sourced<Option<Password>>,
    password_file: Sourced<Option<PathBuf>>,
}

impl SmtpConfig {
    /// The password, read from its file where it is in one.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no password.
    pub fn password(&self) -> anyhow::Result<Option<String>> {
        if let Some(Password(password)) = &self.password.value {
            return Ok(Some(password.clone()));
        }
        self.password_file.value.as_deref().map(|path| secret(path, &SMTP_PASSWORD_FILE)).transpose()
    }
}

/// The secret that a file holds, which is its only line.
///
/// # Errors
/// When the file cannot be read, or holds no secret.
pub(super) fn secret(path: &Path, setting: &'static Setting) -> anyhow::Result<String> {
    let (shown, name) = (path.display(), setting.name);
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {shown} (setting {name})"))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    let is_sensible = (1..=MAX_PASSWORD_BYTES).contains(&secret.len()) && !secret.contains(char::is_control);
    anyhow::ensure!(is_sensible, "{shown} is to hold one line with nothing but the secret (setting {name})");
    Ok(secret.to_owned())
}

/// Refuses a secret in a configuration file, before it is read as others are, whose values are shown when they are refused.
pub(super) fn refuse_in_files(
    layers: &Layers<'_>,
    setting: &'static Setting,
    of_file: &'static Setting,
) -> Result<(), Misconfiguration> {
    let Some((file, _)) = layers.files.iter().find(|(_, values)| values.contains_key(setting.name)) else {
        return Ok(());
    };
    Err(Misconfiguration::Value {
        setting: setting.name,
        origin: Origin::File(file.clone()),
        value: "(not shown)".into(),
        mend: format!(
            "a secret does not belong into a configuration file: put it into a file of its own and name that with `{}`, or \
             set {}",
            of_file.name, setting.environment
        ),
    })
}

/// Settings of notifications.
#[derive(Clone, Debug)]
pub struct NotifyConfig {
    /// Hosts that are notified whatever their address.
    pub allow: Sourced<Allowed>,
    /// The authorities that vouch for those who are notified, in place of those that browsers know.
    pub ca_file: Sourced<Option<PathBuf>>,
    /// How others reach the server, without a slash at the end; `None`: by the address it listens on.
    pub public_url: Sourced<Option<String>>,
    /// `[smtp]`
    pub smtp: SmtpConfig,
}

impl NotifyConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, Misconfiguration> {
        let optional = |setting| -> Result<Sourced<Option<String>>, Misconfiguration> {
            Ok(layers.resolve(setting, None, |raw| nonempty(raw).map(Some))?.or_default(|| None))
        };
        let path = |setting| -> Result<Sourced<Option<PathBuf>>, Misconfiguration> {
            Ok(layers.resolve(setting, None, |raw| directory(raw).map(Some))?.or_default(|| None))
        };
        refuse_in_files(layers, &SMTP_PASSWORD, &SMTP_PASSWORD_FILE)?;
        let tls = layers.resolve(&SMTP_TLS, None, name::<SmtpTls>)?.or_default(SmtpTls::default);
        let usual = tls.value.port();
        let smtp = SmtpConfig {
            host: layers.resolve(&SMTP_HOST, None, |raw| host(raw).map(Some))?.or_default(|| None),
            port: layers.resolve(&SMTP_PORT, None, |raw| integer(raw, 1..=65_535))?.or_default(|| usual),
            tls,
            from: layers.resolve(&SMTP_FROM, None, |raw| mailbox(raw).map(Some))?.or_default(|| None),
            user: optional(&SMTP_USER)?,
            password: layers
                .resolve(&SMTP_PASSWORD, None, |raw| Ok(Some(Password(text(raw)?))))?
                .or_default(|| None),
            password_file: path(&SMTP_PASSWORD_FILE)?,
        };
        let config = Self {
            allow: layers.resolve(&NOTIFY_ALLOW, None, allowed)?.or_default(Allowed::default),
            ca_file: path(&NOTIFY_CA_FILE)?,
            public_url: layers
                .resolve(&SERVER_PUBLIC_URL, None, |raw| public_url(raw).map(Some))?
                .or_default(|| None),
            smtp,
        };
        config.check_smtp()?;
        Ok(config)
    }

    /// What of the mail server's settings needs what other.
    fn check_smtp(&self) -> Result<(), Misconfiguration> {
        let SmtpConfig { host, port, tls, from, user, password, password_file } = &self.smtp;
        let refused = |setting: &'static Setting, origin: &Origin, value: String, mend: String| {
            Err(Misconfiguration::Value { setting: setting.name, origin: origin.clone(), value, mend })
        };
        let needs = |setting: &'static Setting| format!("needs `{}` beside it", setting.name);
        match (&host.value, &from.value) {
            (Some(host_name), None) => {
                return refused(&SMTP_HOST, &host.origin, host_name.clone(), needs(&SMTP_FROM));
            }
            (None, Some(mailbox)) => {
                return refused(&SMTP_FROM, &from.origin, mailbox.to_string(), needs(&SMTP_HOST));
            }
            _ => {}
        }
        let shown =
            |path: &Option<PathBuf>| path.iter().map(|path| path.display().to_string()).collect::<String>();
        let has_password = password.value.is_some() || password_file.value.is_some();
        match &user.value {
            Some(user_name) if !has_password => {
                return refused(&SMTP_USER, &user.origin, user_name.clone(), needs(&SMTP_PASSWORD_FILE));
            }
            None if password.value.is_some() => {
                return refused(&SMTP_PASSWORD, &password.origin, "(not shown)".into(), needs(&SMTP_USER));
            }
            None if has_password => {
                let value = shown(&password_file.value);
                return refused(&SMTP_PASSWORD_FILE, &password_file.origin, value, needs(&SMTP_USER));
            }
            _ => {}
        }
        if password.value.is_some() && password_file.value.is_some() {
            let mend = format!("there is a password from {} too: leave one of them out", password.origin);
            return refused(&SMTP_PASSWORD_FILE, &password_file.origin, shown(&password_file.value), mend);
        }
        let Some(host_name) = &host.value else { return Ok(()) };
        let is_loopback = host_name == "localhost"
            || host_name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        if tls.value == SmtpTls::None && !is_loopback && !self.allow.value.covers(host_name, port.value) {
            let mend = format!(
                "mail would go to {host_name} for everyone on the way to read: use starttls or tls, or name {host_name} in \
                 `{}`",
                NOTIFY_ALLOW.name
            );
            return refused(&SMTP_TLS, &tls.origin, tls.value.as_str().into(), mend);
        }
        Ok(())
    }

    pub(super) fn effective(&self) -> [Effective<'_>; 10] {
        let row = |setting, value, origin| Effective { setting, value, origin };
        let path = |path: &Option<PathBuf>| {
            path.as_deref().map_or(Cell::Missing, |path| Cell::Text(path.to_string_lossy().into_owned()))
        };
        let optional = |text: &Option<String>| text.as_deref().map_or(Cell::Missing, Cell::from);
        let allow = self.allow.value.entries().collect::<Vec<_>>().join(",");
        let smtp = &self.smtp;
        let from = smtp.from.value.as_ref().map_or(Cell::Missing, |from| Cell::Text(from.to_string()));
        let password = smtp.password.value.as_ref().map_or(Cell::Missing, |_| Cell::from("(not shown)"));
        [
            row(&SERVER_PUBLIC_URL, optional(&self.public_url.value), &self.public_url.origin),
            row(
                &NOTIFY_ALLOW,
                if allow.is_empty() { Cell::Missing } else { Cell::Text(allow) },
                &self.allow.origin,
            ),
            row(&NOTIFY_CA_FILE, path(&self.ca_file.value), &self.ca_file.origin),
            row(&SMTP_HOST, optional(&smtp.host.value), &smtp.host.origin),
            row(&SMTP_PORT, Cell::from(u64::from(smtp.port.value)), &smtp.port.origin),
            row(&SMTP_TLS, Cell::from(smtp.tls.value.as_str()), &smtp.tls.origin),
            row(&SMTP_FROM, from, &smtp.from.origin),
            row(&SMTP_USER, optional(&smtp.user.value), &smtp.user.origin),
            row(&SMTP_PASSWORD_FILE, path(&smtp.password_file.value), &smtp.password_file.origin),
            row(&SMTP_PASSWORD, password, &smtp.password.origin),
        ]
    }
}

/// Hosts with or without a port, as a list, or as a text with commas.
fn allowed(raw: &Raw<'_>) -> Result<Allowed, String> {
    let mend = "must be a list of host names in quotes, such as [\"hooks.internal\", \"127.0.0.1:9000\"]";
    match raw {
        Raw::Text(text) => {
            let text = text.to_str().ok_or(mend)?;
            Allowed::parse(text.split(',').map(str::trim).filter(|entry| !entry.is_empty()))
        }
        Raw::Toml(toml::Value::Array(entries)) => {
            let entries: Vec<_> =
                entries.iter().map(|entry| entry.as_str().ok_or(mend)).collect::<Result<_, _>>()?;
            Allowed::parse(entries)
        }
        Raw::Toml(_) | Raw::Paths(_) => Err(mend.to_owned()),
    }
}

fn host(raw: &Raw<'_>) -> Result<String, String> {
    let text = text(raw)?;
    let is_name = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
        && (!text.contains(':') || text.parse::<IpAddr>().is_ok());
    is_name
        .then_some(text)
        .ok_or_else(|| "must be a host's name or address, without a port (`smtp.port`)".to_owned())
}

fn mailbox(raw: &Raw<'_>) -> Result<Mailbox, String> {
    let text = text(raw)?;
    let mailbox = text.parse().ok().filter(|_| !text.contains(char::is_control));
    mailbox.ok_or_else(|| {
        "must be a mail address, such as wordfreq@example.org or Wordfreq <wordfreq@example.org>".to_owned()
    })
}

/// A URL others reach the server by, without the slash at its end.
fn public_url(raw: &Raw<'_>) -> Result<String, String> {
    server_url(raw).ok_or_else(|| {
        "must be how others reach this server, such as https://wordfreq.example.org".to_owned()
    })
}

/// The URL of a server, without a slash at the end, if it is one.
pub(super) fn server_url(raw: &Raw<'_>) -> Option<String> {
    let text = text(raw).ok()?;
    let url: Uri = text.parse().ok()?;
    let is_plain = matches!(url.scheme_str(), Some("http" | "https"))
        && url.host().is_some_and(|host| !host.is_empty())
        && url.query().is_none()
        && !text.contains(['@', '#']);
    is_plain.then(|| text.trim_end_matches('/').to_owned())
}
