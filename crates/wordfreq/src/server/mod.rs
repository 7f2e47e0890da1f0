//! The server of `up`: one address, and behind it the S3 endpoint, the API and the page.
//!
//! A request that is signed for S3 goes to S3; one whose path is ours goes to the API or the page; whatever else there is
//! goes to S3 again, which refuses it in S3's words, as it is not signed. So neither needs a port or a host name of its own.
//!
//! Here: listening, TLS, the limits of connections and requests, and the end. Not here: who may do what (`access`), and
//! what is answered (`api`, `s3`).

pub mod access;
pub mod api;
mod connection;
mod events;
mod limits;
mod metrics;
pub mod notify;
mod paced;
mod page;
pub mod problem;
mod s3;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tower::ServiceExt as _;
use wordfreq_pipeline::embedded::{Answer, Bucket, Embedded, IfMissing};
use wordfreq_pipeline::scale::Waker;
use wordfreq_pipeline::{BackendError, Drain, ErrorKind};

use crate::config::Config;
use crate::data_directory;
use crate::exit::UsageError;
use access::Access;
use events::Events;
use limits::Rate;
use metrics::{Requests, Service};
use notify::Registrar;
use paced::Pace;
use problem::Problem;

/// Threads that read requests and write answers. What blocks (files, SQLite) has threads of its own.
const THREADS: usize = 2;

/// Threads for what blocks.
const BLOCKING_THREADS: usize = 32;

/// Looks at much at a time.
const LOOKS: usize = 2;

/// For how long the length of the queue is taken as known.
const BACKLOG_KNOWN_FOR: Duration = Duration::from_millis(500);

/// Clients who may take a list of all words at a time: each keeps the ranking in memory that was in force when it began.
const EXPORTS: usize = 4;

/// When to try again after a refusal for too many of them.
const EXPORT_ENDS: Duration = Duration::from_secs(10);

/// When to try again after a refusal for too many messages.
const BACKLOG_PASSES: Duration = Duration::from_secs(5);

/// What every request may need.
pub struct App {
    /// The data directory, with connections of the server's own: whoever asks never waits for a worker's commit longer
    /// than the database makes everyone wait.
    pub embedded: Arc<Embedded>,
    /// Who may do what.
    pub access: Access,
    /// Takes subscriptions.
    pub registrar: Registrar,
    /// Wakes the scaler.
    pub waker: Waker,
    /// Who watches.
    pub events: Events,
    /// How many requests were answered, and how.
    pub requests: Requests,
    /// Becomes true when the server is to end: streams end then.
    pub ending: watch::Receiver<bool>,
    /// How fast bodies must come.
    pace: Pace,
    /// No document is taken while this many messages wait.
    pub max_backlog: u64,
    /// Whether too many messages waited, a moment ago.
    backlog: Mutex<Option<(Instant, bool)>>,
    /// How ready everything was, a moment ago.
    readiness: api::LastLook,
    /// Whether clients reach the server by TLS, its own or a proxy's.
    is_encrypted: bool,
    rate: Option<Rate>,
    looks: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

impl App {
    /// Refuses documents while too many messages wait.
    ///
    /// # Errors
    /// 503, and when to try again.
    pub async fn admit(self: &Arc<Self>) -> Result<(), Problem> {
        let most = self.max_backlog;
        let mut known = self.backlog.lock().await;
        let is_full = match *known {
            Some((at, is_full)) if at.elapsed() < BACKLOG_KNOWN_FOR => is_full,
            _ => {
                let is_full = self.blocking(move |embedded| embedded.catalogue.backlog_is(most)).await?;
                *known = Some((Instant::now(), is_full));
                is_full
            }
        };
        drop(known);
        if is_full {
            return Err(Problem::new(
                http::StatusCode::SERVICE_UNAVAILABLE,
                "backlog",
                format!("{most} messages wait, which is as many as may (`server.max_backlog`): try again when there are fewer"),
            )
            .retry_after(BACKLOG_PASSES));
        }
        Ok(())
    }

    /// Asks for a change of the bucket, and waits until it is durable.
    pub async fn change<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Bucket, Box<dyn FnOnce(Answer<T>) + Send>),
    ) -> Answer<T> {
        let (done, answer) = oneshot::channel();
        // Who asked may be gone: the change is made all the same.
        ask(&self.embedded.bucket, Box::new(move |answer| drop(done.send(answer))));
        answer.await.unwrap_or_else(|_dropped| {
            Err(BackendError::new(
                ErrorKind::Other,
                "the change was interrupted by a fault of this program: try again",
            ))
        })
    }

    /// Looks at much: a few at a time, and those who wait for their turn hold no thread.
    pub async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&Embedded) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, Problem> {
        // Nobody closes it.
        let turn = self.looks.clone().acquire_owned().await.map_err(|_closed| Problem::internal())?;
        self.blocking(move |embedded| {
            // Who asked may be gone before the look is over: its turn is not.
            let _turn = turn;
            look(embedded)
        })
        .await
    }

    /// A place among those who take a list of all words, for as long as it is held.
    ///
    /// # Errors
    /// 503 if there are too many.
    pub fn export(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.exports.clone().try_acquire_owned().map_err(|_full| {
            Problem::new(
                http::StatusCode::SERVICE_UNAVAILABLE,
                "too-many-exports",
                format!(
                    "{EXPORTS} clients take a list of all words already: try again when one of them has it"
                ),
            )
            .retry_after(EXPORT_ENDS)
        })
    }

    /// Does what blocks, away from the threads that serve.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Embedded) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, Problem> {
        let embedded = self.embedded.clone();
        match elsewhere(move || work(&embedded)).await {
            Ok(done) => done.map_err(Problem::from),
            Err(_panicked) => {
                tracing::error!("a request ended in a panic");
                Err(Problem::internal())
            }
        }
    }
}

/// Does what blocks, away from the threads that serve; an error says that it panicked. To the runtime every such work is of one
/// type, which would else be compiled anew for each.
fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    // Who asked may be gone: the work is done all the same.
    spawn(Box::new(move || drop(done.send(work()))));
    result
}

fn spawn(work: Box<dyn FnOnce() + Send>) {
    drop(tokio::task::spawn_blocking(work));
}

/// From where a request came. Each request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whether it is encrypted.
    pub is_tls: bool,
}

/// A server that runs until its drain is requested.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    thread: JoinHandle<()>,
}

impl Server {
    /// Where it is to be found, such as `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.address)
    }

    /// Waits until it has ended; tells whether it did so in order.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }
}

/// How others reach the server of `up`, without a slash at the end: as the settings say, or by the address it listens on;
/// `None` if it listens on every address there is, as that is none to go to.
pub fn public_url(config: &Config, address: Option<SocketAddr>) -> Option<String> {
    if let Some(url) = &config.notify.public_url.value {
        return Some(url.clone());
    }
    let scheme = if config.server.certificate.value.is_some() { "https" } else { "http" };
    match address {
        None => Some(format!("{scheme}://localhost")),
        Some(address) if address.ip().is_unspecified() => None,
        Some(address) => Some(format!("{scheme}://{address}")),
    }
}

/// Listens, and serves until `drain` is requested.
///
/// # Errors
/// [`UsageError`] for an address that others can reach while there is no token, and for a certificate that is none; and
/// when the address cannot be had.
pub fn start(config: &Config, address: SocketAddr, drain: &Drain, waker: Waker) -> anyhow::Result<Server> {
    let embedded = Arc::new(data_directory::open(config, IfMissing::Refuse)?);
    let is_local = address.ip().is_loopback();
    if !is_local && embedded.access.tokens()?.is_empty() {
        return Err(UsageError(format!(
            "`server.listen` from {} is {address}, which others can reach, and there is no token to tell them apart: make one \
             with `wordfreq token create --name NAME --scope SCOPE`, or listen on 127.0.0.1",
            config.server.listen_origin()
        ))
        .into());
    }
    let tls = tls::acceptor(&config.server)?;
    let is_tls = tls.is_some();
    limits::raise_open_files();
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address}: name another address with --listen, 127.0.0.1:0 for any free port, or none")
    })?;
    listener.set_nonblocking(true).context("cannot listen")?;
    let address = listener.local_addr().context("cannot listen")?;
    let (end, ending) = watch::channel(false);
    let public_url = public_url(config, Some(address));
    let app = Arc::new(App {
        is_encrypted: public_url.as_ref().map_or(is_tls, |url| url.starts_with("https:")),
        backlog: Mutex::default(),
        readiness: api::LastLook::default(),
        registrar: Registrar::new(&config.notify, &embedded.subscriptions, public_url)?,
        access: Access::open(embedded.access.clone(), is_local)?,
        embedded,
        waker,
        events: Events::default(),
        requests: Requests::default(),
        ending,
        pace: Pace::new(config.server.min_body_rate.value, config.server.body_timeout.value),
        max_backlog: config.server.max_backlog.value,
        rate: config.server.rate.value.map(Rate::new),
        looks: Arc::new(Semaphore::new(LOOKS)),
        exports: Arc::new(Semaphore::new(EXPORTS)),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("server")
        .enable_all()
        .build()
        .context("cannot start the server's threads")?;
    let max_connections = limits::connections(config.server.max_connections.value);
    let of_one_address = config.server.max_connections_per_address.value;
    let drain = drain.clone();
    let serve = move || {
        // Dropped last: whoever waits for the drain must not be told when nobody serves any more.
        let _ends = drain.on_request(move || {
            end.send_replace(true);
        });
        let ended = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(access::keep_known(app.clone()));
            tokio::spawn(events::publish(app.clone()));
            tokio::spawn(api::forget_ranking(app.clone()));
            connection::accept(listener, tls, max_connections, of_one_address, app).await;
            Ok::<_, std::io::Error>(())
        });
        if let Err(error) = ended {
            tracing::error!(%error, "the server cannot listen");
        }
        runtime.shutdown_background();
    };
    let thread =
        std::thread::Builder::new().name("server".into()).spawn(serve).context("cannot start a thread")?;
    Ok(Server { address, is_tls, thread })
}

/// Answers one request, whoever it is for.
async fn answer(app: Arc<App>, s3: s3::S3, router: axum::Router, request: Request) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let is_signed = is_signed(request.headers(), request.uri().query().unwrap_or_default());
    let (service, method) = (if is_signed { Service::S3 } else { Service::Api }, request.method().clone());
    let has_body = !request.body().is_end_stream();
    let too_early = app.rate.as_ref().zip(peer).and_then(|(rate, peer)| rate.check(peer.address.ip()).err());
    let mut response = match (too_early, is_signed) {
        (Some(_), true) => s3::slow_down(),
        (Some(wait), false) => Problem::too_many_requests(wait).into_response(),
        (None, true) => s3.answer(request).await,
        (None, false) => match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
    };
    // What nobody has read of a body stands in the way of the next request.
    if has_body && (response.status().is_client_error() || response.status().is_server_error()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    app.requests.count(service, &method, response.status());
    response
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a request is signed for S3, in its headers or in its query. It may be signed wrongly: that is S3's to say.
fn is_signed(headers: &HeaderMap, query: &str) -> bool {
    let by_header = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS"));
    let by_query = query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        ["X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Credential"].contains(&name)
    });
    by_header || by_query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_to_who_waits_and_nothing_to_others() {
        let (panics, works) = (elsewhere(|| -> u8 { panic!("as it should") }), elsewhere(|| 7));
        assert!(panics.await.is_err());
        assert_eq!(works.await, Ok(7));
    }

    #[tokio::test]
    async fn work_is_done_for_who_has_gone_too() {
        let (done, is_done) = oneshot::channel();
        drop(elsewhere(move || done.send(())));
        is_done.await.unwrap();
    }
}
