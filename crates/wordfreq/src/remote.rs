//! An `up` elsewhere, asked through its API: what the commands print of a data directory they print of it too. Not here: what
//! the API answers (`server::api`), and the printed forms.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{Method, Request, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Body};
use wordfreq_pipeline::embedded::DocumentState;
use wordfreq_pipeline::queue::{DeadLetter, Depth, Redrive};
use wordfreq_pipeline::results::{DocumentResult, ResultSummary, TotalWord, Totals};
use wordfreq_pipeline::{DocumentId, Sequence, Timestamp};

use crate::config::Config;

/// To reach it at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// For the head of an answer, once the question is sent: a ranking of many words takes its time.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Of an answer. A million words have some 40 MB.
const MAX_ANSWER_BYTES: u64 = 4 << 30;

/// Items of a page.
const PAGE: usize = 1000;

/// How long to wait for a sign before looking all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// An `up` elsewhere. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Remote {
    agent: Agent,
    url: String,
    token: Option<String>,
}

/// What the server says is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
struct Refusal {
    status: StatusCode,
    detail: String,
}

#[derive(Deserialize)]
struct ProblemDetails {
    detail: String,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct WordCount {
    word: String,
    count: u64,
}

/// The API's form of a result.
#[derive(Deserialize)]
struct ResultItem {
    bucket: String,
    key: String,
    bytes: u64,
    words: u64,
    distinct: u64,
    over_long: u64,
    fingerprint: String,
    sequence: u64,
    duration_us: u64,
    committed_at: String,
}

/// The API's form of counts.
#[derive(Deserialize)]
struct CountsItem {
    fingerprint: String,
    documents: u64,
    bytes: u64,
    words: u64,
    distinct: u64,
    over_long: u64,
    #[serde(default)]
    other_documents: u64,
    counts: Vec<WordCount>,
}

/// The API's form of a document, as far as it matters here.
#[derive(Deserialize)]
struct DocumentItem {
    state: String,
    sequence: u64,
    words: Option<u64>,
    distinct: Option<u64>,
    result_sequence: Option<u64>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct QueueItem {
    visible: u64,
    in_flight: u64,
    delayed: u64,
    oldest_age_seconds: Option<u64>,
    dead_letters: u64,
}

#[derive(Deserialize)]
struct DeadLetterItem {
    id: String,
    reason: String,
    receive_count: u32,
    sent_at: String,
    died_at: String,
    body: String,
}

fn timestamp(text: &str) -> anyhow::Result<Timestamp> {
    let time =
        humantime::parse_rfc3339(text).with_context(|| format!("the server tells a time as {text:?}"))?;
    Ok(time.into())
}

impl ResultItem {
    fn summary(self) -> anyhow::Result<ResultSummary> {
        Ok(ResultSummary {
            document: DocumentId::new(self.bucket, self.key)?,
            sequence: Sequence(self.sequence.into()),
            fingerprint: self.fingerprint,
            bytes: self.bytes,
            words: self.words,
            distinct: self.distinct,
            over_long: self.over_long,
            duration: Duration::from_micros(self.duration_us),
            committed_at: timestamp(&self.committed_at)?,
        })
    }
}

/// How much of a table is wanted.
fn top(limit: Option<usize>) -> (&'static str, String) {
    match limit {
        None => ("all", "true".to_owned()),
        // No table has more words than that.
        Some(limit) => ("top", limit.min(u32::MAX as usize).to_string()),
    }
}

/// Whether a refusal says that the thing is not there.
fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == StatusCode::NOT_FOUND)
}

/// What to do about an error of the way there, where its text tells: errors of TLS have no better sign.
fn mend(url: &str, error: &str) -> &'static str {
    if error.contains("invalid peer certificate") {
        " (server.ca_file names who vouches for it; a certificate that vouches for itself must be a server's, not an \
         authority's: CA:FALSE)"
    } else if url.starts_with("https://") && error.contains("corrupt message") {
        " (does it speak without TLS? then it is http://)"
    } else if url.starts_with("http://") && error.contains("http parse fail") {
        " (does it speak TLS? then it is https://)"
    } else {
        ""
    }
}

impl Remote {
    /// The one in force.
    ///
    /// # Errors
    /// When there is none, or the token or the certificates cannot be read.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let remote = &config.remote;
        let url = remote.url.value.clone().context("there is no server to ask: name one with --server")?;
        let mut tls = TlsConfig::builder();
        if let Some(path) = &remote.ca_file.value {
            let name = path.display();
            let pem = std::fs::read(path)
                .with_context(|| format!("cannot read {name} (setting server.ca_file)"))?;
            let certificates = ureq::tls::parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                    Ok(_) => None,
                    Err(error) => Some(Err(error)),
                })
                .collect::<Result<Vec<_>, _>>()
                .with_context(|| format!("{name} (setting server.ca_file) is no PEM"))?;
            anyhow::ensure!(!certificates.is_empty(), "{name} (setting server.ca_file) holds no certificate");
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        }
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            // A token is for this server and no other.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_recv_response(Some(ANSWER_WITHIN))
            .build()
            .into();
        Ok(Self { agent, url, token: remote.token()? })
    }

    /// Asks, and answers what is not refused.
    fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        media: Option<&str>,
        body: impl AsSendBody,
    ) -> anyhow::Result<Response<Body>> {
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let joint = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}/api/v1/{path}{joint}{}", self.url, query.join("&"));
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        let request = request.body(body).context("cannot ask the server")?;
        let mut response = self.agent.run(request).map_err(|error| {
            let mend = mend(&self.url, &error.to_string());
            anyhow::Error::from(error).context(format!("cannot ask the server at {}{mend}", self.url))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.body_mut().with_config().limit(64 * 1024).read_to_string().unwrap_or_default();
        match serde_json::from_str(&text) {
            Ok(ProblemDetails { detail }) if status == StatusCode::UNAUTHORIZED => {
                let detail = format!(
                    "{detail}; here that is WORDFREQ_TOKEN, or the file that server.token_file names"
                );
                Err(Refusal { status, detail }.into())
            }
            Ok(ProblemDetails { detail }) => Err(Refusal { status, detail }.into()),
            Err(_) => bail!("the server at {} answers {status}, which is none of wordfreq's own", self.url),
        }
    }

    fn read<T: DeserializeOwned>(&self, mut response: Response<Body>) -> anyhow::Result<T> {
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).reader();
        serde_json::from_reader(BufReader::new(body))
            .with_context(|| format!("cannot read the answer of the server at {}", self.url))
    }

    fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
        self.read(self.ask(Method::GET, path, query, None, ())?)
    }

    /// As [`Remote::get`]; `None` if it is not there.
    fn find<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Option<T>> {
        match self.get(path, query) {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first `most` items of a list.
    fn list<T: DeserializeOwned>(&self, path: &str, most: usize) -> anyhow::Result<Vec<T>> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        while items.len() < most {
            let limit = (most - items.len()).min(PAGE).to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &query)?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(items)
    }

    /// See [`Results::list`](wordfreq_pipeline::Results::list).
    pub fn results(&self, most: usize) -> anyhow::Result<Vec<ResultSummary>> {
        self.list::<ResultItem>("results", most)?.into_iter().map(ResultItem::summary).collect()
    }

    /// See [`Results::read`](wordfreq_pipeline::Results::read). What only a list tells of it is left out.
    pub fn result(&self, id: &DocumentId, limit: Option<usize>) -> anyhow::Result<Option<DocumentResult>> {
        let (name, value) = top(limit);
        let query = [("bucket", id.bucket()), ("key", id.key()), (name, value.as_str())];
        let found: Option<CountsItem> = self.find("result", &query)?;
        Ok(found.map(|found| DocumentResult {
            summary: ResultSummary {
                document: id.clone(),
                sequence: Sequence(0),
                fingerprint: found.fingerprint,
                bytes: found.bytes,
                words: found.words,
                distinct: found.distinct,
                over_long: found.over_long,
                duration: Duration::ZERO,
                committed_at: Timestamp(0),
            },
            counts: found.counts.into_iter().map(|WordCount { word, count }| (word, count)).collect(),
        }))
    }

    /// See [`Results::totals`](wordfreq_pipeline::Results::totals). In how many documents a word stands is left out.
    pub fn totals(&self, limit: Option<usize>) -> anyhow::Result<Totals> {
        let (name, value) = top(limit);
        let found: CountsItem = self.get("totals", &[(name, value.as_str())])?;
        let word = |WordCount { word, count }| TotalWord { word, count, documents: 0 };
        Ok(Totals {
            fingerprint: found.fingerprint,
            documents: found.documents,
            bytes: found.bytes,
            words: found.words,
            distinct: found.distinct,
            over_long: found.over_long,
            other_documents: found.other_documents,
            counts: found.counts.into_iter().map(word).collect(),
        })
    }

    /// See [`Queue::depth`](wordfreq_pipeline::Queue::depth).
    pub fn depth(&self) -> anyhow::Result<Depth> {
        let QueueItem { visible, in_flight, delayed, oldest_age_seconds, dead_letters } =
            self.get("queue", &[])?;
        let oldest_age = oldest_age_seconds.map(Duration::from_secs);
        Ok(Depth { visible, in_flight, delayed, oldest_age, dead_letters })
    }

    /// See [`Queue::dead_letters`](wordfreq_pipeline::Queue::dead_letters).
    pub fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let letters: Vec<DeadLetterItem> = self.list("queue/dead-letters", usize::MAX)?;
        letters
            .into_iter()
            .map(|letter| {
                let DeadLetterItem { id, reason, receive_count, sent_at, died_at, body } = letter;
                let (sent_at, died_at) = (timestamp(&sent_at)?, timestamp(&died_at)?);
                Ok(DeadLetter { id, body, reason, receive_count, sent_at, died_at })
            })
            .collect()
    }

    /// See [`Queue::redrive`](wordfreq_pipeline::Queue::redrive).
    pub fn redrive(&self, which: &Redrive) -> anyhow::Result<u64> {
        #[derive(Deserialize)]
        struct Redriven {
            redriven: u64,
        }
        let request = match which {
            Redrive::All => json!({ "all": true }),
            Redrive::Only(ids) => json!({ "ids": ids }),
        };
        let body = request.to_string();
        let response =
            self.ask(Method::POST, "queue/redrive", &[], Some("application/json"), body.as_str())?;
        Ok(self.read::<Redriven>(response)?.redriven)
    }

    /// Whether an error is about this one question, and others may be answered.
    pub fn is_about_one(error: &anyhow::Error) -> bool {
        error.downcast_ref::<Refusal>().is_some_and(|refusal| {
            let is_about_all =
                [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
            refusal.status.is_client_error() && !is_about_all.contains(&refusal.status)
        })
    }

    /// Puts a file; its version and size. It is durable when this returns.
    pub fn put(&self, id: &DocumentId, file: File) -> anyhow::Result<(Sequence, u64)> {
        #[derive(Deserialize)]
        struct Put {
            sequence: u64,
            bytes: u64,
        }
        let query = [("bucket", id.bucket()), ("key", id.key())];
        let response = self.ask(Method::PUT, "document", &query, None, file)?;
        let Put { sequence, bytes } = self.read(response)?;
        Ok((Sequence(sequence.into()), bytes))
    }

    /// Deletes a document; tells whether there was one.
    pub fn delete(&self, id: &DocumentId) -> anyhow::Result<bool> {
        let query = [("bucket", id.bucket()), ("key", id.key())];
        match self.ask(Method::DELETE, "document", &query, None, ()) {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What has become of a version of a document, as far as `upload --wait` tells it.
    pub fn state(&self, id: &DocumentId, sequence: Sequence) -> anyhow::Result<DocumentState> {
        let query = [("bucket", id.bucket()), ("key", id.key()), ("top", "0")];
        let Some(found) = self.find::<DocumentItem>("document", &query)? else {
            return Ok(DocumentState::Superseded);
        };
        let (now, counted) = (u128::from(found.sequence), found.result_sequence.map(u128::from));
        Ok(match found.state.as_str() {
            _ if counted == Some(sequence.0) => DocumentState::Counted(ResultSummary {
                document: id.clone(),
                sequence,
                fingerprint: String::new(),
                bytes: 0,
                words: found.words.unwrap_or_default(),
                distinct: found.distinct.unwrap_or_default(),
                over_long: 0,
                duration: Duration::ZERO,
                committed_at: Timestamp(0),
            }),
            _ if now != sequence.0 => DocumentState::Superseded,
            "failed" => DocumentState::Failed(found.reason.unwrap_or_default()),
            "kept" => DocumentState::Kept,
            _ => DocumentState::Waiting,
        })
    }

    /// One object of the API.
    pub fn object(&self, path: &str) -> anyhow::Result<Value> {
        self.get(path, &[])
    }

    /// The first `most` items of a list of the API.
    pub fn objects(&self, path: &str, most: usize) -> anyhow::Result<Vec<Value>> {
        self.list(path, most)
    }

    /// Hears what happens, from now on.
    pub fn listen(&self) -> Happenings {
        let (sender, receiver) = mpsc::channel();
        let remote = self.clone();
        let hear = move || {
            let Ok(response) = remote.ask(Method::GET, "events", &[], None, ()) else { return };
            let lines = BufReader::new(response.into_body().into_reader()).lines();
            for line in lines.map_while(Result::ok) {
                // Who does not listen any more has seen enough.
                if line.starts_with("data:") && sender.send(()).is_err() {
                    return;
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("events".into()).spawn(hear) {
            tracing::debug!(%error, "cannot hear of events, looking every two seconds instead");
        }
        Happenings(receiver)
    }
}

/// What happens at a server, without saying what.
pub struct Happenings(Receiver<()>);

impl Happenings {
    /// Waits until something has happened, at most so long and never much longer than two seconds.
    pub fn wait(&self, most: Duration) {
        let most = most.min(LOOK_AGAIN);
        match self.0.recv_timeout(most) {
            // However much has happened, one look is enough.
            Ok(()) => self.0.try_iter().for_each(drop),
            Err(RecvTimeoutError::Timeout) => {}
            #[expect(clippy::disallowed_methods, reason = "a server that cannot be heard gives no signal")]
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(most),
        }
    }
}
