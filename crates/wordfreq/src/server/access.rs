//! Who may do what: tokens, the sessions of browsers, and the keys of S3.
//!
//! Without tokens the API is open to this machine alone, and then only under a name of this machine: a page from elsewhere
//! whose name was made to lead here (DNS rebinding) has another name in its Host. With tokens everyone needs one. S3 always
//! needs a key. Not here: where credentials are kept (`embedded::AccessList`), and the commands that make them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use subtle::ConstantTimeEq as _;
use tokio::time::MissedTickBehavior;
use wordfreq_pipeline::BackendError;
use wordfreq_pipeline::embedded::{AccessList, Credential, S3Key, Scope, Token};

use super::problem::Problem;
use super::{App, Peer};

/// What a token's text begins with, so that one that got where it should not be is recognised.
pub const TOKEN_PREFIX: &str = "wf_";

/// The cookie of a browser's session.
pub const COOKIE_NAME: &str = "wordfreq_session";

/// The header by which a page proves that a request is its own.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// How often the credentials are read anew.
const READ_EVERY: Duration = Duration::from_secs(1);

/// For how long a browser stays signed in.
pub const SESSION_LASTS: Duration = Duration::from_secs(12 * 3600);

/// The most sessions at a time; the oldest gives way.
const MAX_SESSIONS: usize = 1024;

/// Bits nobody can guess, as text.
///
/// # Errors
/// When the system has no randomness, which it always has.
pub fn random_text(bytes: usize) -> Result<String, getrandom::Error> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random))
}

/// What is kept of a token.
pub fn digest(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// Who asks, once that is established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What they may do.
    pub scope: Scope,
    /// By what they are known.
    pub by: By,
}

/// By what a caller is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// By being on this machine, where there are no tokens.
    Loopback,
    /// By a token's id.
    Token(String),
    /// By the session of a browser that showed a token; with what its page proves that a request is its own.
    Session {
        /// What the page sends.
        csrf: String,
    },
}

#[derive(Clone)]
struct Session {
    token: String,
    csrf: String,
    began: Instant,
}

#[derive(Default)]
struct Known {
    tokens: Vec<Token>,
    keys: HashMap<String, S3Key>,
}

/// Who may do what.
pub struct Access {
    list: AccessList,
    /// Whether only this machine can reach the server.
    is_local: bool,
    known: Mutex<Arc<Known>>,
    /// By digest, so that how long a look takes tells nothing of the session's text.
    sessions: Mutex<HashMap<[u8; 32], Session>>,
}

impl Access {
    /// By the credentials of a data directory. `is_local` says that the server listens on loopback alone.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(list: AccessList, is_local: bool) -> Result<Self, BackendError> {
        let access = Self { list, is_local, known: Mutex::default(), sessions: Mutex::default() };
        access.refresh()?;
        Ok(access)
    }

    /// Reads the credentials anew. Blocks; everything else here does not.
    ///
    /// # Errors
    /// When they cannot be read: those that were known stay so.
    pub fn refresh(&self) -> Result<(), BackendError> {
        let keys = self.list.s3_keys()?;
        let known = Known {
            tokens: self.list.tokens()?,
            keys: keys.into_iter().map(|key| (key.credential.id.clone(), key)).collect(),
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }

    fn known(&self) -> Arc<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The S3 key of an access key id.
    pub fn s3_key(&self, id: &str) -> Option<S3Key> {
        self.known().keys.get(id).cloned()
    }

    /// Whether everyone needs a token.
    pub fn tokens_required(&self) -> bool {
        !self.is_local || !self.known().tokens.is_empty()
    }

    /// The token that this text is.
    pub fn token(&self, text: &str) -> Option<Credential> {
        let digest = digest(text);
        let known = self.known();
        // All of them are compared, so that how long it takes tells nothing.
        let found = known.tokens.iter().fold(None, |found, token| {
            if bool::from(token.digest.ct_eq(&digest)) { Some(&token.credential) } else { found }
        });
        found.cloned()
    }

    /// Begins the session of a browser that showed this token; answers the cookie's value and the page's proof.
    pub fn begin_session(&self, token: &Credential) -> Result<(String, String), Problem> {
        let random = || {
            random_text(32).map_err(|error| {
                tracing::error!(%error, "there is no randomness");
                Problem::internal()
            })
        };
        let (text, csrf) = (random()?, random()?);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.began.elapsed() < SESSION_LASTS);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.began).map(|(text, _)| *text);
            oldest.map(|oldest| sessions.remove(&oldest));
        }
        let session = Session { token: token.id.clone(), csrf: csrf.clone(), began: Instant::now() };
        sessions.insert(digest(&text), session);
        Ok((text, csrf))
    }

    /// Ends the session that these headers belong to.
    pub fn end_session(&self, headers: &HeaderMap) {
        if let Some(text) = cookie(headers) {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(text));
        }
    }

    /// Who asks; `None` if nobody says.
    ///
    /// # Errors
    /// What the asker says is wrong.
    pub fn caller(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<Option<Caller>, Problem> {
        let known = self.known();
        if self.is_local && known.tokens.is_empty() {
            let is_here = peer.is_some_and(|peer| peer.address.ip().to_canonical().is_loopback());
            if !is_here || !is_loopback_name(headers) || is_passed_on(headers) {
                return Err(Problem::forbidden(
                    "without tokens this server is for its own machine, by the name localhost or its address: open it so, or \
                     make a token with `wordfreq token create`",
                ));
            }
            return Ok(Some(Caller { scope: Scope::Admin, by: By::Loopback }));
        }
        if let Some(value) = headers.get(AUTHORIZATION) {
            let text = value.to_str().ok().and_then(|value| {
                let (scheme, text) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
            });
            let token = text.and_then(|text| self.token(text));
            return match token {
                Some(token) => Ok(Some(Caller { scope: token.scope, by: By::Token(token.id) })),
                None => Err(Problem::unauthorized(
                    "the token is not known here, or was revoked: send `Authorization: Bearer TOKEN` with one that \
                     `wordfreq token create` made",
                )),
            };
        }
        let Some(text) = cookie(headers) else { return Ok(None) };
        let session = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.get(&digest(text)).filter(|session| session.began.elapsed() < SESSION_LASTS).cloned()
        };
        // A session is as good as its token.
        let Some(session) = session else { return Ok(None) };
        let token = known.tokens.iter().find(|token| token.credential.id == session.token);
        Ok(token
            .map(|token| Caller { scope: token.credential.scope, by: By::Session { csrf: session.csrf } }))
    }

    /// Who asks, if they may do what needs `scope`; what `changes` something must come from our own page, or from none.
    ///
    /// # Errors
    /// 401 if nobody knows who asks, 403 if they may not.
    pub fn require(
        &self,
        headers: &HeaderMap,
        peer: Option<Peer>,
        scope: Scope,
        changes: bool,
    ) -> Result<Caller, Problem> {
        let caller = self.caller(headers, peer)?.ok_or_else(|| {
            Problem::unauthorized(
                "this needs a token: send `Authorization: Bearer TOKEN` with one that `wordfreq token create` made",
            )
        })?;
        if caller.scope < scope {
            return Err(Problem::forbidden(format!(
                "this needs the scope {scope}, and the token has {}: make one with `wordfreq token create --scope {scope}`",
                caller.scope
            )));
        }
        if changes && !is_own_page(&caller, headers) {
            return Err(Problem::forbidden(
                "the request comes from another page than this server's own: use its page, or a token in `Authorization`",
            ));
        }
        Ok(caller)
    }
}

/// Whether what a browser sends of its own accord was meant by our page.
fn is_own_page(caller: &Caller, headers: &HeaderMap) -> bool {
    let origin_is_ours = || match headers.get(ORIGIN) {
        None => true,
        Some(origin) => {
            let authority =
                origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
            authority.is_some() && authority == headers.get(HOST).and_then(|host| host.to_str().ok())
        }
    };
    match &caller.by {
        By::Token(_) => true,
        By::Loopback => origin_is_ours(),
        By::Session { csrf } => {
            let shown = headers.get(CSRF_HEADER).map(|value| value.as_bytes()).unwrap_or_default();
            origin_is_ours() && bool::from(shown.ct_eq(csrf.as_bytes()))
        }
    }
}

/// Whether the request names this machine as one that only it can mean.
fn is_loopback_name(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a proxy passed the request on: then whoever asks is not on this machine because the proxy is.
fn is_passed_on(headers: &HeaderMap) -> bool {
    let signs = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
    signs.into_iter().any(|name| headers.contains_key(name))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|cookies| {
        cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
    })
}

/// Reads the credentials anew, every second, until the server ends.
pub(super) async fn keep_known(app: Arc<App>) {
    let mut tick = tokio::time::interval(READ_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let read = app.clone();
        match tokio::task::spawn_blocking(move || read.access.refresh()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot read tokens and keys, trying again"),
            // The runtime ends.
            Err(_cancelled) => return,
        }
    }
}

/// A caller who may look.
#[derive(Clone, Debug)]
pub struct MayRead(pub Caller);

/// A caller who may put and delete.
#[derive(Clone, Debug)]
pub struct MayWrite(pub Caller);

/// A caller who may do everything.
#[derive(Clone, Debug)]
pub struct MayAdminister(pub Caller);

fn caller(parts: &Parts, app: &App, scope: Scope) -> Result<Caller, Problem> {
    let changes = !parts.method.is_safe();
    app.access.require(&parts.headers, parts.extensions.get::<Peer>().copied(), scope, changes)
}

impl FromRequestParts<Arc<App>> for MayRead {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        caller(parts, app, Scope::Read).map(Self)
    }
}

impl FromRequestParts<Arc<App>> for MayWrite {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        caller(parts, app, Scope::Write).map(Self)
    }
}

impl FromRequestParts<Arc<App>> for MayAdminister {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        caller(parts, app, Scope::Admin).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use wordfreq_pipeline::Timestamp;
    use wordfreq_pipeline::embedded::{Embedded, IfMissing, Options};

    use super::*;

    const HERE: Option<Peer> = Some(Peer {
        address: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000),
        is_tls: false,
    });

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn data_directory() -> (tempfile::TempDir, Embedded) {
        let directory = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
        (directory, embedded)
    }

    fn token(embedded: &Embedded, text: &str, scope: Scope) {
        let credential = Credential {
            id: format!("id-of-{text}"),
            name: "test".into(),
            scope,
            created_at: Timestamp::now(),
        };
        embedded.access.add_token(&Token { credential, digest: digest(text) }).unwrap();
    }

    #[test]
    fn without_tokens_only_this_machine_by_its_own_name_is_served() {
        let (_directory, embedded) = data_directory();
        let access = Access::open(embedded.access.clone(), true).unwrap();
        let require =
            |host: &str, peer| access.require(&headers(&[("host", host)]), peer, Scope::Admin, false);
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "127.9.9.9"] {
            assert_eq!(require(host, HERE).unwrap().by, By::Loopback, "{host}");
        }
        for host in
            ["example.org", "localhost.example.org:8080", "10.0.0.1", "", "127.0.0.1@example.org", "[::1"]
        {
            assert_eq!(require(host, HERE).unwrap_err().status(), 403, "{host}");
        }
        let elsewhere = Some(Peer { address: SocketAddr::from(([10, 0, 0, 1], 4000)), is_tls: false });
        assert_eq!(require("localhost", elsewhere).unwrap_err().status(), 403);
        assert_eq!(require("localhost", None).unwrap_err().status(), 403);
        let passed_on = headers(&[("host", "localhost"), ("x-forwarded-for", "10.0.0.1")]);
        assert_eq!(access.require(&passed_on, HERE, Scope::Read, false).unwrap_err().status(), 403);
    }

    #[test]
    fn another_origin_changes_nothing() {
        let (_directory, embedded) = data_directory();
        let access = Access::open(embedded.access.clone(), true).unwrap();
        let change = |origin| {
            access.require(
                &headers(&[("host", "localhost:8080"), ("origin", origin)]),
                HERE,
                Scope::Write,
                true,
            )
        };
        assert!(change("http://localhost:8080").is_ok());
        for origin in ["http://localhost:9090", "https://example.org", "null", "localhost:8080"] {
            assert_eq!(change(origin).unwrap_err().status(), 403, "{origin}");
        }
    }

    #[test]
    fn a_token_does_what_its_scope_allows_until_it_is_revoked() {
        let (_directory, embedded) = data_directory();
        token(&embedded, "wf_writer", Scope::Write);
        let access = Access::open(embedded.access.clone(), true).unwrap();
        let bearer = headers(&[("authorization", "Bearer wf_writer")]);
        assert!(access.require(&bearer, None, Scope::Read, false).is_ok());
        assert!(access.require(&bearer, None, Scope::Write, true).is_ok());
        assert_eq!(access.require(&bearer, None, Scope::Admin, true).unwrap_err().status(), 403);
        let unknown = [
            headers(&[]),
            headers(&[("authorization", "Bearer wf_write")]),
            headers(&[("authorization", "Basic wf_writer")]),
        ];
        for headers in unknown {
            assert_eq!(access.require(&headers, HERE, Scope::Read, false).unwrap_err().status(), 401);
        }
        assert!(embedded.access.revoke_token("id-of-wf_writer").unwrap());
        access.refresh().unwrap();
        // The last token is gone, and the machine itself is all there is.
        assert_eq!(access.require(&bearer, HERE, Scope::Read, false).unwrap_err().status(), 403);
        let open_to_others = Access::open(embedded.access.clone(), false).unwrap();
        assert_eq!(
            open_to_others.require(&headers(&[]), HERE, Scope::Read, false).unwrap_err().status(),
            401
        );
    }

    #[test]
    fn a_session_needs_its_proof_to_change_anything() {
        let (_directory, embedded) = data_directory();
        token(&embedded, "wf_admin", Scope::Admin);
        let access = Access::open(embedded.access.clone(), true).unwrap();
        let shown = access.token("wf_admin").unwrap();
        let (text, csrf) = access.begin_session(&shown).unwrap();
        let cookie = format!("a=b; {COOKIE_NAME}={text}; c=d");
        let with = |csrf: &str| headers(&[("cookie", &cookie), ("host", "h:1"), ("x-csrf-token", csrf)]);
        assert!(access.require(&with(""), None, Scope::Admin, false).is_ok());
        assert_eq!(access.require(&with("wrong"), None, Scope::Write, true).unwrap_err().status(), 403);
        assert!(access.require(&with(&csrf), None, Scope::Write, true).is_ok());
        access.end_session(&with(""));
        assert_eq!(access.require(&with(&csrf), None, Scope::Read, false).unwrap_err().status(), 401);
    }
}
