//! A reverse proxy between clients of AWS and an emulator, which counts requests and does harm to them by rule: the
//! emulator never throttles, never fails halfway and never drops a connection, and AWS does all of that.
//!
//! A request goes on as it came, with its `Host`: the signature covers it, and queue URLs are made from it, so that a
//! client stays behind the proxy. Bodies of S3 pass in both directions without being held in memory.
//!
//! Not here: TLS, buckets as host names, HTTP/2, and any harm that reorders or repeats what was answered.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::{request, response};
use hyper::rt::ReadBufCursor;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// So many of the latest requests are remembered one by one.
const REMEMBERED: usize = 10_000;

/// The operations that `Fault::PartialBatch` is for.
const BATCHES: [&str; 3] = ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"];

type Failure = Box<dyn Error + Send + Sync>;
type Body = BoxBody<Bytes, Failure>;

/// What can be done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Goes on so much later. Adds up with other delays, and comes before any other harm.
    Delay(Duration),
    /// 500 or 503 with the body of the service, and nothing goes on. 503 of S3 is `SlowDown`.
    Status(u16),
    /// The service's way to say "too many requests", and nothing goes on.
    Throttle,
    /// The connection is closed and nothing goes on.
    CutBefore,
    /// The request goes on and takes effect; the connection is closed without an answer.
    CutAfter,
    /// The answer's head, which promises the whole body, then so many bytes of the body, then the connection is closed.
    /// Of a body no longer than that, all but the last byte. An answer without a body is not sent at all.
    CutBody {
        /// Bytes of the body that arrive.
        after: usize,
    },
    /// The first entry of a batch goes on and the second is reported as failed, and so in turn. An only entry is
    /// reported as failed. Works on the three batch operations of SQS that change something, and on nothing else; not
    /// while IAM is enforced, because the signature covers the entries.
    PartialBatch,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Delay(_) => "Delay",
            Self::Status(_) => "Status",
            Self::Throttle => "Throttle",
            Self::CutBefore => "CutBefore",
            Self::CutAfter => "CutAfter",
            Self::CutBody { .. } => "CutBody",
            Self::PartialBatch => "PartialBatch",
        }
    }

    fn suits(self, operation: &str) -> bool {
        self != Self::PartialBatch || BATCHES.contains(&operation)
    }
}

/// When to do what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// As in `Seen`; without one, any that the fault works on.
    pub(crate) operation: Option<&'static str>,
    pub(crate) fault: Fault,
    /// The chance, by the seed: 1 is always.
    pub(crate) one_in: u32,
    /// The rule is spent after so many.
    pub(crate) at_most: u32,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `ReceiveMessage`, `PutItem`, `GetObject`; `Other` if it is none that is known here.
    pub(crate) operation: String,
    /// The queue's name, the table's name, or the path without its first slash, as it was sent: `bucket/key%20of%20it`.
    pub(crate) key: String,
    /// What was answered, if anything was: nothing is to a connection that was cut, or to a client that did not wait.
    /// 502 is the proxy's own: the upstream could not be reached, or broke off.
    pub(crate) status: Option<u16>,
    /// What was done to it; of several, the one that is not a delay.
    pub(crate) fault: Option<Fault>,
    pub(crate) at: Instant,
}

/// A running proxy. It ends, and closes every connection, when it is dropped.
pub(crate) struct Proxy {
    /// As an endpoint for a client, for example `http://127.0.0.1:40124`.
    pub(crate) url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Before `upstream`, which is `http://ADDRESS:PORT`. Harm is decided by the seed 0.
    #[track_caller]
    pub(crate) fn start(upstream: &str) -> Self {
        Self::start_with_seed(upstream, 0)
    }

    /// The same seed and rules decide the same for the n-th request that a rule is about, whatever else goes on. Print
    /// the seed, so that a failed run can be repeated.
    #[track_caller]
    pub(crate) fn start_with_seed(upstream: &str, seed: u64) -> Self {
        let upstream = upstream
            .strip_prefix("http://")
            .and_then(|address| address.trim_end_matches('/').parse::<SocketAddr>().ok())
            .unwrap_or_else(|| panic!("{upstream} is not http:// with an address and a port"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("a listener can be asynchronous");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let shared = Arc::new(Shared { upstream, state: Mutex::new(State::new(seed)) });
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || run(listener, &shared, stopped)
        });
        Self { url, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// From now on. Rules are independent of each other; where several come true for one request, delays add up, and of
    /// the rest the one that was injected first is done, and counted.
    #[track_caller]
    pub(crate) fn inject(&self, rule: Rule) {
        assert!(rule.one_in > 0 && rule.at_most > 0, "{rule:?} never comes true");
        assert!(
            rule.operation.is_none_or(|operation| rule.fault.suits(operation)),
            "{rule:?}: the fault does not work on this operation"
        );
        if let Fault::Status(status) = rule.fault {
            assert!(matches!(status, 500 | 503), "{rule:?}: only 500 and 503 have a body here");
        }
        self.shared.state().add(rule);
    }

    /// No rules from now on. Requests that are under way keep what was decided for them.
    pub(crate) fn clear(&self) {
        self.shared.state().rules.clear();
    }

    /// Requests that arrived, by operation.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.state().counts.clone()
    }

    /// Harm that was done, by the name of the fault.
    pub(crate) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.shared.state().faults.clone()
    }

    /// The latest requests, oldest first.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.shared.state().seen.iter().cloned().collect()
    }

    /// How long the upstream took from the start of each request to the head of its answer, all together. A long poll
    /// counts in full.
    pub(crate) fn upstream_time(&self) -> Duration {
        self.shared.state().upstream_time
    }

    /// Forgets everything that was counted, timed and remembered. Rules stay, and what they have done so far counts
    /// towards their limits.
    pub(crate) fn reset_counts(&self) {
        let mut state = self.shared.state();
        state.forgotten += state.seen.len();
        state.seen.clear();
        state.counts.clear();
        state.faults.clear();
        state.upstream_time = Duration::ZERO;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.stop.take();
        let ended = self.thread.take().expect("dropped once").join();
        assert!(ended.is_ok() || thread::panicking(), "the proxy has failed; its message is above");
    }
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State {
    seed: u64,
    /// Rules there have been, so that each has its own chances.
    injected: u64,
    rules: Vec<Armed>,
    counts: BTreeMap<String, u64>,
    faults: BTreeMap<&'static str, u64>,
    seen: VecDeque<Seen>,
    /// Requests that came before the first of `seen`.
    forgotten: usize,
    upstream_time: Duration,
}

struct Armed {
    rule: Rule,
    left: u32,
    chances: SplitMix64,
}

/// What will be done to a request.
struct Plan {
    /// Its place among all requests there have been.
    number: usize,
    delay: Duration,
    harm: Option<Fault>,
}

impl State {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            injected: 0,
            rules: Vec::new(),
            counts: BTreeMap::new(),
            faults: BTreeMap::new(),
            seen: VecDeque::new(),
            forgotten: 0,
            upstream_time: Duration::ZERO,
        }
    }

    fn add(&mut self, rule: Rule) {
        // The n-th number of the seed's own sequence starts the sequence of the n-th rule.
        let mut seeds = SplitMix64(self.seed);
        let start = (0..=self.injected).fold(0, |_, _| seeds.next());
        self.injected += 1;
        self.rules.push(Armed { rule, left: rule.at_most, chances: SplitMix64(start) });
    }

    /// Counts it, and decides what becomes of it.
    fn arrive(&mut self, operation: &str, key: String) -> Plan {
        *self.counts.entry(operation.to_owned()).or_default() += 1;
        let mut plan = Plan { number: self.forgotten + self.seen.len(), delay: Duration::ZERO, harm: None };
        let mut delayed = None;
        for Armed { rule, left, chances } in &mut self.rules {
            let concerned =
                rule.operation.is_none_or(|name| name == operation) && rule.fault.suits(operation);
            // A chance is used up whether or not something else has been decided already.
            if !concerned || !chances.next().is_multiple_of(u64::from(rule.one_in)) || *left == 0 {
                continue;
            }
            match rule.fault {
                Fault::Delay(delay) => {
                    plan.delay += delay;
                    delayed = Some(rule.fault);
                }
                _ if plan.harm.is_some() => continue,
                fault => plan.harm = Some(fault),
            }
            *left -= 1;
            *self.faults.entry(rule.fault.name()).or_default() += 1;
        }
        let fault = plan.harm.or(delayed);
        self.seen.push_back(Seen {
            operation: operation.to_owned(),
            key,
            status: None,
            fault,
            at: Instant::now(),
        });
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
            self.forgotten += 1;
        }
        plan
    }

    fn answered(&mut self, number: usize, status: StatusCode) {
        if let Some(seen) = number.checked_sub(self.forgotten).and_then(|index| self.seen.get_mut(index)) {
            seen.status = Some(status.as_u16());
        }
    }
}

/// Sebastiano Vigna's generator: enough for chances, and the same everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Serves until told to stop. The runtime takes all connections with it.
fn run(listener: TcpListener, shared: &Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the listener suits the runtime");
        let mut stopped = std::pin::pin!(stopped);
        loop {
            let accepted = std::future::poll_fn(|context| {
                if stopped.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                listener.poll_accept(context).map(Some)
            });
            let Some(accepted) = accepted.await else { return };
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(shared)))),
                // A client that was gone before its turn.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => panic!("the proxy cannot accept connections: {error}"),
            }
        }
    });
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // An answer in two small packets must not wait for an acknowledgement of the first.
    stream.set_nodelay(true).ok();
    let flush = Arc::new(Flush::default());
    let wire = Wire { stream: TokioIo::new(stream), flush: Arc::clone(&flush) };
    let service = service_fn(move |request| serve(request, Arc::clone(&shared), Arc::clone(&flush)));
    // Its error is a cut by rule, or a client that is gone.
    hyper::server::conn::http1::Builder::new().serve_connection(wire, service).await.ok();
}

/// An error closes the connection without an answer.
async fn serve(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    flush: Arc<Flush>,
) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let call = Call::of(&head);
    let (key, json, mut body) = match call.protocol {
        Protocol::Sqs | Protocol::DynamoDb | Protocol::Json => {
            let bytes = body.collect().await.map_err(|_| Cut)?.to_bytes();
            let parsed: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            (json_key(&parsed), Some(parsed), whole(bytes))
        }
        Protocol::S3 | Protocol::Query => {
            (head.uri.path().trim_start_matches('/').to_owned(), None, body.map_err(Failure::from).boxed())
        }
    };
    let plan = shared.state().arrive(&call.operation, key);
    if !plan.delay.is_zero() {
        // The delay is the harm itself; nothing waits for anything here.
        tokio::time::sleep(plan.delay).await;
    }
    let response = match plan.harm {
        None | Some(Fault::Delay(_)) => forward(&shared, head, body).await,
        Some(fault @ (Fault::Status(_) | Fault::Throttle)) => {
            // A client that is still sending would not read the answer.
            drain(&mut body).await?;
            call.refuse(fault, &head.method)
        }
        Some(Fault::CutBefore) => return Err(Cut),
        Some(Fault::CutAfter) => {
            forward(&shared, head, body).await;
            return Err(Cut);
        }
        Some(Fault::CutBody { after }) => {
            let response = forward(&shared, head, body).await;
            if response.body().is_end_stream() {
                return Err(Cut);
            }
            response.map(|body| CutBody::new(body, after, flush).boxed())
        }
        Some(Fault::PartialBatch) => partial(&shared, head, json.expect("a batch is JSON")).await,
    };
    shared.state().answered(plan.number, response.status());
    Ok(response)
}

/// The connection is to be closed, by rule or because the other side is gone.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl Error for Cut {}

/// Which way a service speaks, as far as its errors differ.
#[derive(Clone, Copy)]
enum Protocol {
    S3,
    Sqs,
    DynamoDb,
    /// Another service that names the operation in `X-Amz-Target`.
    Json,
    /// A form in, XML out, as SNS, STS and IAM do.
    Query,
}

/// What is asked for.
struct Call {
    protocol: Protocol,
    operation: String,
}

impl Call {
    fn of(head: &request::Parts) -> Self {
        if let Some(target) = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()) {
            let (service, operation) = target.rsplit_once('.').unwrap_or(("", target));
            let protocol = match service {
                "AmazonSQS" => Protocol::Sqs,
                "DynamoDB_20120810" => Protocol::DynamoDb,
                _ => Protocol::Json,
            };
            return Self { protocol, operation: operation.to_owned() };
        }
        let form = head
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        let (protocol, operation) = if form && head.method == Method::POST {
            (Protocol::Query, "Other")
        } else {
            (Protocol::S3, s3_operation(head))
        };
        Self { protocol, operation: operation.to_owned() }
    }

    fn refuse(&self, fault: Fault, method: &Method) -> Response<Body> {
        let status = match (fault, self.protocol) {
            (Fault::Status(status), _) => status,
            (_, Protocol::S3) => 503,
            _ => 400,
        };
        let (code, message) = match (self.protocol, status) {
            (Protocol::S3, 500) => ("InternalError", "We encountered an internal error. Please try again."),
            (Protocol::S3, _) => ("SlowDown", "Please reduce your request rate."),
            (Protocol::Sqs, 500) => ("com.amazonaws.sqs#InternalFailure", "The request has failed."),
            (Protocol::Sqs, 503) => ("com.amazonaws.sqs#ServiceUnavailable", "The service is unavailable."),
            (Protocol::DynamoDb, 500) => {
                ("com.amazonaws.dynamodb.v20120810#InternalServerError", "Internal server error")
            }
            (Protocol::DynamoDb, 503) => {
                ("com.amazonaws.dynamodb.v20120810#ServiceUnavailable", "The service is unavailable.")
            }
            (Protocol::DynamoDb, _) => (
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded.",
            ),
            (Protocol::Json | Protocol::Query, 500) => ("InternalFailure", "The request has failed."),
            (Protocol::Json | Protocol::Query, 503) => ("ServiceUnavailable", "The service is unavailable."),
            (Protocol::Sqs | Protocol::Json, _) => {
                ("com.amazon.coral.availability#ThrottlingException", "Rate exceeded")
            }
            (Protocol::Query, _) => ("Throttling", "Rate exceeded"),
        };
        let (id, kind, text) = match self.protocol {
            Protocol::S3 => (
                "x-amz-request-id",
                "application/xml",
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
                     <Message>{message}</Message><RequestId>{REQUEST_ID}</RequestId></Error>"
                ),
            ),
            Protocol::Query => (
                "x-amzn-requestid",
                "text/xml",
                format!(
                    "<ErrorResponse><Error><Type>{}</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                     <RequestId>{REQUEST_ID}</RequestId></ErrorResponse>",
                    if status < 500 { "Sender" } else { "Receiver" }
                ),
            ),
            Protocol::Sqs | Protocol::DynamoDb | Protocol::Json => (
                "x-amzn-requestid",
                "application/x-amz-json-1.0",
                json!({ "__type": code, "message": message }).to_string(),
            ),
        };
        // An answer to HEAD has no body, and so no code: a client has only the status to go by.
        let text = if method == Method::HEAD { String::new() } else { text };
        Response::builder()
            .status(status)
            .header(id, REQUEST_ID)
            .header(header::CONTENT_TYPE, kind)
            .body(whole(text))
            .expect("all parts are well formed")
    }
}

/// Says in a client's log whose answer it was.
const REQUEST_ID: &str = "FAULT-PROXY";

/// By method, by how deep the path is, and by what the query asks for.
fn s3_operation(head: &request::Parts) -> &'static str {
    let path = head.uri.path().trim_start_matches('/');
    let query = head.uri.query().unwrap_or_default();
    let has =
        |name: &str| query.split('&').any(|part| part.split_once('=').map_or(part, |(name, _)| name) == name);
    let copied = head.headers.contains_key("x-amz-copy-source");
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    if bucket.is_empty() {
        return if head.method == Method::GET { "ListBuckets" } else { "Other" };
    }
    if bucket == "moto-api" || S3_SETTINGS.iter().any(|name| has(name)) {
        return "Other";
    }
    match (head.method.as_str(), key.is_empty()) {
        ("GET", true) if has("versions") => "ListObjectVersions",
        ("GET", true) if has("uploads") => "ListMultipartUploads",
        ("GET", true) if has("list-type") => "ListObjectsV2",
        ("GET", true) => "ListObjects",
        ("HEAD", true) => "HeadBucket",
        ("PUT", true) => "CreateBucket",
        ("DELETE", true) => "DeleteBucket",
        ("POST", true) if has("delete") => "DeleteObjects",
        ("GET", false) if has("uploadId") => "ListParts",
        ("GET", false) => "GetObject",
        ("HEAD", false) => "HeadObject",
        ("PUT", false) if has("uploadId") && copied => "UploadPartCopy",
        ("PUT", false) if has("uploadId") => "UploadPart",
        ("PUT", false) if copied => "CopyObject",
        ("PUT", false) => "PutObject",
        ("DELETE", false) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", false) => "DeleteObject",
        ("POST", false) if has("uploads") => "CreateMultipartUpload",
        ("POST", false) if has("uploadId") => "CompleteMultipartUpload",
        _ => "Other",
    }
}

/// Parts of a bucket or an object that are asked for by name, and are neither a listing nor the object itself.
const S3_SETTINGS: [&str; 27] = [
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "versioning",
    "website",
];

/// What a call of SQS or DynamoDB is about.
fn json_key(body: &Value) -> String {
    let text = |name: &str| body[name].as_str();
    let queue = text("QueueUrl").and_then(|url| url.rsplit('/').next());
    queue.or_else(|| text("QueueName")).or_else(|| text("TableName")).unwrap_or_default().to_owned()
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

async fn drain(body: &mut Body) -> Result<(), Cut> {
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| Cut)?;
    }
    Ok(())
}

/// The upstream's answer, from a connection of its own: moto closes each after one.
async fn forward(shared: &Shared, mut head: request::Parts, body: Body) -> Response<Body> {
    strip(&mut head.headers);
    let request = Request::from_parts(head, body);
    let began = Instant::now();
    let answer = exchange(shared.upstream, request).await;
    shared.state().upstream_time += began.elapsed();
    match answer {
        Ok(mut response) => {
            strip(response.headers_mut());
            response.map(|body| body.map_err(Failure::from).boxed())
        }
        Err(error) => Response::builder()
            .status(StatusCode::BAD_GATEWAY)
            .body(whole(format!("the proxy got no answer from {}: {error}", shared.upstream)))
            .expect("all parts are well formed"),
    }
}

async fn exchange(upstream: SocketAddr, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer's body; the error, if any, comes out there.
    tokio::spawn(async { connection.await.ok() });
    Ok(sender.send_request(request).await?)
}

/// What is between two neighbours only. The upstream says "close", and the client's connection is to be kept.
fn strip(headers: &mut HeaderMap) {
    for name in [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// Every second entry fails, and the rest goes on, if there is any.
async fn partial(shared: &Shared, mut head: request::Parts, mut body: Value) -> Response<Body> {
    let entries =
        body.get_mut("Entries").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let only = entries.len() == 1;
    let (kept, failed): (Vec<_>, Vec<_>) =
        entries.into_iter().enumerate().partition(|(index, _)| index % 2 == 0 && !only);
    let values = |entries: Vec<(usize, Value)>| entries.into_iter().map(|(_, entry)| entry);
    let failed = values(failed).map(|entry| {
        json!({
            "Id": entry["Id"],
            "Code": "InternalError",
            "Message": "The request has failed.",
            "SenderFault": false,
        })
    });
    if only {
        let answer = json!({ "Successful": [], "Failed": failed.collect::<Value>() });
        return Response::builder()
            .header("x-amzn-requestid", REQUEST_ID)
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
            .body(whole(answer.to_string()))
            .expect("all parts are well formed");
    }
    body["Entries"] = values(kept).collect();
    let text = body.to_string();
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    let (mut head, body): (response::Parts, Body) = forward(shared, head, whole(text)).await.into_parts();
    let Ok(bytes) = body.collect().await.map(|body| body.to_bytes()) else {
        return Response::builder()
            .status(StatusCode::BAD_GATEWAY)
            .body(whole("the upstream broke off"))
            .expect("all parts are well formed");
    };
    // A batch that was refused as a whole stays refused.
    let bytes = match serde_json::from_slice::<Value>(&bytes) {
        Ok(mut answer) if head.status == StatusCode::OK => {
            let mut all = answer["Failed"].as_array_mut().map(std::mem::take).unwrap_or_default();
            all.extend(failed);
            answer["Failed"] = Value::from(all);
            Bytes::from(answer.to_string())
        }
        _ => bytes,
    };
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Response::from_parts(head, whole(bytes))
}

/// Tells a body that is to be cut when everything before the cut has left the process; before that, hyper would throw
/// away what it still holds.
#[derive(Default)]
struct Flush(Mutex<Flushing>);

#[derive(Default)]
enum Flushing {
    #[default]
    Unasked,
    Asked(Waker),
    Done,
}

impl Flush {
    fn state(&self) -> MutexGuard<'_, Flushing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if matches!(*state, Flushing::Done) {
            return Poll::Ready(());
        }
        *state = Flushing::Asked(context.waker().clone());
        Poll::Pending
    }

    fn done(&self) {
        let mut state = self.state();
        if let Flushing::Asked(waker) = &*state {
            waker.wake_by_ref();
            *state = Flushing::Done;
        }
    }
}

/// The client's connection. A flush that succeeds means that hyper has handed over all it had.
struct Wire {
    stream: TokioIo<TcpStream>,
    flush: Arc<Flush>,
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.flush.done();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }
}

/// Promises as much as the whole body, and fails before its end.
struct CutBody {
    body: Body,
    left: u64,
    flush: Arc<Flush>,
}

impl CutBody {
    fn new(body: Body, after: usize, flush: Arc<Flush>) -> Self {
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        let left = body.size_hint().exact().map_or(after, |length| after.min(length.saturating_sub(1)));
        Self { body, left, flush }
    }
}

impl hyper::body::Body for CutBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.left > 0 {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(mut data) = frame.into_data() {
                        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                        self.left -= data.len() as u64;
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    // Trailers come after the last byte, and so after the cut.
                    self.left = 0;
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.left = 0,
            }
        }
        ready!(self.flush.poll(context));
        Poll::Ready(Some(Err(Cut.into())))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
