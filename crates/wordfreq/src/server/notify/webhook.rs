//! Notifications by HTTP: a signed POST to a target whose address is judged at the moment it is dialled, with every part
//! of the exchange bounded in time and size. Not here: when to try, and what is told.

use std::fmt;
use std::io::{self, Read as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Uri;
use sha2::Sha256;
use ureq::config::Config;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use wordfreq_pipeline::Timestamp;
use wordfreq_pipeline::embedded::Secret;

use super::target::{Allowed, is_public, judge_name, port};
use crate::server::hex;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const WHOLE_WITHIN: Duration = Duration::from_secs(15);
/// What an answer says beyond its status matters only to a confirmation.
const BODY_WITHIN: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: u64 = 4096;
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// As many as the client takes.
const MAX_ADDRESSES: usize = 16;

/// Looks a name and a port up.
pub type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the target asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The first bytes of the body.
    pub body: Vec<u8>,
}

/// A client of webhooks.
#[derive(Debug)]
pub struct Webhooks {
    agent: ureq::Agent,
}

impl Webhooks {
    /// One that dials public addresses and what is allowed, with the names of this machine's resolver. It trusts the
    /// authorities in the file, or those that browsers do.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub fn new(allowed: Allowed, authorities: Option<&Path>) -> anyhow::Result<Self> {
        let lookup: Lookup = Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()));
        let roots = match authorities {
            Some(path) => RootCerts::Specific(Arc::new(certificates(path)?)),
            None => RootCerts::WebPki,
        };
        Ok(Self::with(Filter { allowed, lookup }, roots))
    }

    fn with(filter: Filter, roots: RootCerts) -> Self {
        let config = Config::builder()
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_resolve(Some(CONNECT_WITHIN))
            .timeout_global(Some(WHOLE_WITHIN))
            .timeout_recv_body(Some(BODY_WITHIN))
            .max_response_header_size(MAX_HEADER_BYTES)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // A proxy would resolve and dial for us.
            .proxy(None)
            .user_agent(concat!("wordfreq/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Self { agent: ureq::Agent::with_parts(config, DefaultConnector::default(), filter) }
    }

    /// Posts one notification.
    ///
    /// # Errors
    /// Why there is no answer, for those who look at the record of deliveries.
    pub fn post(
        &self,
        target: &Uri,
        event: &str,
        delivery: i64,
        body: &str,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<Answer, String> {
        let mut response = self
            .agent
            .post(target)
            .header("Content-Type", "application/json")
            .header("Wordfreq-Event", event)
            .header("Wordfreq-Delivery", delivery.to_string())
            .header("Wordfreq-Signature", signature(secret, now, body))
            .send(body)
            .map_err(why)?;
        let retry_after = response
            .headers()
            .get("Retry-After")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let mut body = Vec::new();
        // A body that breaks off is as good as its beginning: the status has come.
        if let Err(error) = response.body_mut().as_reader().take(MAX_ANSWER_BYTES).read_to_end(&mut body) {
            tracing::debug!(%error, "the body of an answer broke off");
        }
        Ok(Answer { status: response.status().as_u16(), retry_after, body })
    }
}

fn why(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(timeout) => format!("it took too long ({timeout})"),
        ureq::Error::HostNotFound => "its name has no address".to_owned(),
        error => error.to_string(),
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let context = |what: &str| format!("{}: {what} (setting notify.ca_file)", path.display());
    let pem = std::fs::read(path).map_err(|error| anyhow::anyhow!(context(&error.to_string())))?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!(context(&error.to_string())))?;
    if found.is_empty() {
        anyhow::bail!(context("there is no certificate in PEM in it"));
    }
    Ok(found)
}

/// The text of a secret, as it is shown once and used as the key.
pub fn shown_secret(secret: &Secret) -> String {
    format!("whsec_{}", hex(&secret.0))
}

/// The header `Wordfreq-Signature`: when it was made, and HMAC-SHA256 over that time, a dot and the body.
pub fn signature(secret: &Secret, now: Timestamp, body: &str) -> String {
    let time = now.0.div_euclid(1000);
    #[expect(clippy::unwrap_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(shown_secret(secret).as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(body.as_bytes());
    format!("t={time},v1={}", hex(&mac.finalize().into_bytes()))
}

/// Resolves names for the client itself, so that the address that was judged is the one that is dialled.
struct Filter {
    allowed: Allowed,
    lookup: Lookup,
}

impl fmt::Debug for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Filter").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Filter {
    /// The addresses of a host that may be dialled.
    fn judged(&self, uri: &Uri, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let host = uri.host().unwrap_or_default();
        if self.allowed.covers(host, port(uri)) {
            return Ok(found);
        }
        // One address that is not public shows what the name is up to.
        match found.iter().find(|address| !is_public(address.ip())) {
            None => Ok(found),
            Some(address) => Err(format!(
                "{host} has the address {}, which is not public: if that is meant, name {host} in the setting notify.allow",
                address.ip()
            )),
        }
    }
}

impl Resolver for Filter {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let refused = |why: String| ureq::Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, why));
        judge_name(uri, &self.allowed).map_err(refused)?;
        let host = uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).to_owned();
        // The system's resolver knows no deadline: it is left behind in its thread when it takes too long.
        let (sender, receiver) = mpsc::sync_channel(1);
        let (lookup, port) = (self.lookup.clone(), port(uri));
        std::thread::Builder::new()
            .name("resolver".into())
            .spawn(move || drop(sender.send(lookup(&bare, port))))
            .map_err(ureq::Error::Io)?;
        let found = match receiver.recv_timeout(*timeout.after) {
            Ok(found) => found?,
            Err(RecvTimeoutError::Timeout) => return Err(ureq::Error::Timeout(timeout.reason)),
            Err(RecvTimeoutError::Disconnected) => return Err(ureq::Error::HostNotFound),
        };
        let mut addresses = self.empty();
        for address in self.judged(uri, found).map_err(refused)?.into_iter().take(MAX_ADDRESSES) {
            addresses.push(address);
        }
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_123);

    #[test]
    fn a_signature_is_what_the_manual_says() {
        let secret = Secret([0xab; 32]);
        // printf '1800000000.{"a":1}' | openssl dgst -sha256 -hmac "whsec_abab...ab"
        assert_eq!(
            signature(&secret, NOW, "{\"a\":1}"),
            "t=1800000000,v1=5434948b24481422e8ee9ef451c5f932e6c4de4cec439d5bfeb6798e34da5a1d"
        );
        assert!(!format!("{secret:?}").contains("171"), "a secret is not shown");
    }

    fn webhooks(allowed: &[&str], lookup: Lookup) -> Webhooks {
        let allowed = Allowed::parse(allowed.iter().copied()).unwrap();
        Webhooks::with(Filter { allowed, lookup }, RootCerts::WebPki)
    }

    fn post(webhooks: &Webhooks, target: &str) -> Result<Answer, String> {
        webhooks.post(&target.parse().unwrap(), "batch.idle", 7, "{}", &Secret([1; 32]), NOW)
    }

    #[test]
    fn a_name_that_changes_its_address_is_refused_at_the_moment_it_is_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(0));
        let lookup: Lookup = {
            let asked = asked.clone();
            Arc::new(move |host, port| {
                assert_eq!((host, port), ("rebind.example.org", address.port()));
                *asked.lock().unwrap() += 1;
                Ok(vec![SocketAddr::new("93.184.215.14".parse().unwrap(), port), address])
            })
        };
        let url = format!("https://rebind.example.org:{}/", address.port());
        // Whoever subscribed with it was let in, as the name alone is harmless.
        assert!(super::super::target::Target::parse(&url, &Allowed::default()).is_ok());
        let error = post(&webhooks(&[], lookup), &url).unwrap_err();
        assert!(error.contains("127.0.0.1, which is not public"), "{error}");
        assert_eq!(*asked.lock().unwrap(), 1, "one look-up, whose answer is what is dialled");
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody was dialled");
    }

    #[test]
    fn other_spellings_of_private_addresses_are_refused() {
        let system: Lookup = Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()));
        let webhooks = webhooks(&[], system);
        for host in
            ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "[::1]", "[::ffff:127.0.0.1]"]
        {
            let error = post(&webhooks, &format!("https://{host}:8443/")).unwrap_err();
            let no_address = error.contains("lookup") || error.contains("no address");
            assert!(
                error.contains("not public") || error.contains("not a public") || no_address,
                "{host}: {error}"
            );
        }
    }

    /// Answers one request with these bytes, and gives back what it asked.
    fn serve(answer: Vec<u8>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<_> =
                lines.by_ref().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            // Who reads no more has closed.
            drop(stream.write_all(&answer));
            head
        });
        (port, served)
    }

    fn system() -> Lookup {
        Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    #[test]
    fn no_redirect_is_followed_and_no_proxy_asked() {
        let (port, served) = serve(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        );
        let answer =
            post(&webhooks(&["127.0.0.1"], system()), &format!("http://127.0.0.1:{port}/hook?x=1")).unwrap();
        assert_eq!((answer.status, answer.body.len()), (302, 0));
        let head = served.join().unwrap();
        assert_eq!(head[0], "POST /hook?x=1 HTTP/1.1");
        for header in [
            "wordfreq-event: batch.idle".to_owned(),
            "wordfreq-delivery: 7".to_owned(),
            format!("wordfreq-signature: {}", signature(&Secret([1; 32]), NOW, "{}")),
        ] {
            assert!(head.iter().any(|line| line.eq_ignore_ascii_case(&header)), "{header}: {head:?}");
        }
    }

    #[test]
    fn of_an_endless_answer_only_the_beginning_is_read() {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\nRetry-After: 7\r\n\r\n".to_vec();
        answer.resize(answer.len() + 100_000, b'x');
        let (port, served) = serve(answer);
        let answer = post(&webhooks(&["127.0.0.1"], system()), &format!("http://127.0.0.1:{port}/")).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 4096));
        assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
        served.join().unwrap();
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        for bytes in [&b""[..], b"-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, bytes).unwrap();
            let error = Webhooks::new(Allowed::default(), Some(&path)).unwrap_err();
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
        assert!(Webhooks::new(Allowed::default(), Some(&directory.path().join("none"))).is_err());
    }
}
