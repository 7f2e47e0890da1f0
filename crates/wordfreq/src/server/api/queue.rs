//! The queue: how much waits, what was given up and why, sending it back, and deleting it unseen.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use wordfreq_pipeline::embedded::{Embedded, Purge, Throughput};
use wordfreq_pipeline::queue::{DeadLetter, Depth, Redrive};
use wordfreq_pipeline::{DocumentEvent, Queue as _, Timestamp};

use super::input::Body;
use super::listing::{self, NoFilter, Paged};
use crate::server::App;
use crate::server::access::{MayAdminister, MayRead, MayWrite};
use crate::server::problem::Problem;

/// Of a message's body; it may have a mebibyte.
const BODY_CHARS: usize = 4096;

/// The most ids of one redrive.
const MAX_IDS: usize = 10_000;

/// How the queue stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct QueueStatus {
    /// Messages ready to be received.
    visible: u64,
    /// Messages that somebody works on.
    in_flight: u64,
    /// Messages that are to wait.
    delayed: u64,
    /// The age of the oldest message that is no dead letter.
    oldest_age_seconds: Option<u64>,
    /// Messages that were given up.
    dead_letters: u64,
    /// Messages sent since the data directory was made.
    sent: u64,
    /// How often one was received since then.
    received: u64,
    /// Messages done with since then.
    deleted: u64,
}

impl QueueStatus {
    pub(crate) fn new((depth, throughput): (Depth, Throughput)) -> Self {
        let Depth { visible, in_flight, delayed, oldest_age, dead_letters } = depth;
        let Throughput { sent, received, deleted } = throughput;
        let oldest_age_seconds = oldest_age.map(|age| age.as_secs());
        Self { visible, in_flight, delayed, oldest_age_seconds, dead_letters, sent, received, deleted }
    }
}

/// Tells how the queue stands.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/queue", tag = "queue", responses((status = 200, body = QueueStatus))))]
pub(super) async fn status(_: MayRead, State(app): State<Arc<App>>) -> Result<Json<QueueStatus>, Problem> {
    Ok(Json(QueueStatus::new(app.blocking(|embedded| embedded.catalogue.queue()).await?)))
}

/// A message that was given up.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = DeadLetter))]
pub(super) struct DeadLetterItem {
    /// To name it in a redrive.
    id: String,
    /// The bucket of the document it is about; null if it is about none.
    bucket: Option<String>,
    /// The document's key.
    key: Option<String>,
    /// Why it was given up.
    reason: String,
    /// How often it was received.
    receive_count: u32,
    #[cfg_attr(test, schema(format = DateTime))]
    sent_at: String,
    #[cfg_attr(test, schema(format = DateTime))]
    died_at: String,
    /// What its sender wrote, up to 4,096 characters of it.
    body: String,
}

const COLUMNS: &[&str] = &["id", "bucket", "key", "reason", "receive_count", "sent_at", "died_at", "body"];

impl From<DeadLetter> for DeadLetterItem {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { id, body, reason, receive_count, sent_at, died_at } = letter;
        let document = DocumentEvent::parse(&body).ok().map(|event| event.id);
        Self {
            id,
            bucket: document.as_ref().map(|document| document.bucket().to_owned()),
            key: document.as_ref().map(|document| document.key().to_owned()),
            reason,
            receive_count,
            sent_at: sent_at.to_rfc3339(),
            died_at: died_at.to_rfc3339(),
            body: match body.char_indices().nth(BODY_CHARS) {
                Some((end, _)) => body[..end].to_owned(),
                None => body,
            },
        }
    }
}

/// Lists the messages that were given up, oldest death first.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/queue/dead-letters", tag = "queue", params(listing::PageParams), responses(
    (status = 200, content(
        (listing::ItemsPage<DeadLetterItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn dead_letters(
    _: MayRead,
    State(app): State<Arc<App>>,
    Paged(want, NoFilter {}): Paged<NoFilter>,
) -> Result<Response, Problem> {
    let fetch = |embedded: &Embedded, after: Option<(i64, i64)>, limit: usize| {
        let after = after.map(|(died_at, id)| (Timestamp(died_at), id));
        let page = embedded.catalogue.dead_letters(after, limit)?.map(DeadLetterItem::from);
        let next = page.next.map(|(died_at, id)| (died_at.0, id));
        Ok(wordfreq_pipeline::embedded::Page { items: page.items, next })
    };
    listing::answer(app, want, "dead-letters", COLUMNS, fetch).await
}

/// Which dead letters to send back: some by id, or all.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RedriveRequest {
    /// These, at most 10,000.
    #[cfg_attr(test, schema(max_items = 10_000))]
    ids: Option<Vec<String>>,
    /// Every one.
    all: Option<bool>,
}

/// How many were sent back.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Redriven {
    redriven: u64,
}

/// Sends dead letters back to the queue; all that are named, or none if one is not there. `all` is done in batches, and ends when
/// as many messages wait as may; an error tells how many were sent back before it.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/queue/redrive", tag = "queue", request_body = RedriveRequest, responses(
    (status = 200, body = Redriven),
)))]
pub(super) async fn redrive(
    _: MayWrite,
    State(app): State<Arc<App>>,
    Body(request): Body<RedriveRequest>,
) -> Result<Json<Redriven>, Problem> {
    let which = match (request.ids, request.all.unwrap_or(false)) {
        (Some(ids), false) if ids.len() <= MAX_IDS => Redrive::Only(ids),
        (None, true) => Redrive::All,
        (Some(_), false) => {
            return Err(Problem::bad_request(format!("name at most {MAX_IDS} ids at a time")));
        }
        _ => return Err(Problem::bad_request("say either {\"ids\":[...]} or {\"all\":true}")),
    };
    // They become messages that wait, like those of documents that are put.
    app.admit().await?;
    let most = app.max_backlog;
    let redriven = app.blocking(move |embedded| match which {
        Redrive::All => embedded.queue.redrive_all(most),
        Redrive::Only(_) => embedded.queue.redrive(&which),
    });
    let redriven = redriven.await?;
    Ok(Json(Redriven { redriven }))
}

/// Which messages to delete unseen: dead letters, or all others.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct PurgeRequest {
    /// Those that were given up.
    dead_letters: Option<bool>,
    /// All others, those that somebody works on too.
    messages: Option<bool>,
}

/// How many were deleted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Purged {
    purged: u64,
}

/// Deletes messages without doing anything about them, and tells how many. Their documents wait until they are recounted.
/// Messages that tell of a removal are left, or the results of what was removed would stay.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/queue/purge", tag = "queue", request_body = PurgeRequest, responses(
    (status = 200, body = Purged),
)))]
pub(super) async fn purge(
    _: MayAdminister,
    State(app): State<Arc<App>>,
    Body(request): Body<PurgeRequest>,
) -> Result<Json<Purged>, Problem> {
    let which = match (request.dead_letters.unwrap_or(false), request.messages.unwrap_or(false)) {
        (true, false) => Purge::DeadLetters,
        (false, true) => Purge::Messages,
        _ => return Err(Problem::bad_request("say either {\"dead_letters\":true} or {\"messages\":true}")),
    };
    let purged = app.blocking(move |embedded| embedded.queue.purge(which)).await?;
    Ok(Json(Purged { purged }))
}
