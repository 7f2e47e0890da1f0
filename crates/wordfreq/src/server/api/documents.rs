//! Buckets and documents: what is there, what became of it, its bytes and its words; put, delete, count again.

use std::io::Read as _;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use md5::{Digest as _, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use wordfreq_pipeline::embedded::{
    Attributes, Condition, Embedded, ListedDocument, ListedState, NewObject, NotRecounted, Refused,
    Selection, Staging,
};
use wordfreq_pipeline::{BackendError, DocumentId};

use super::input::{Params, document_id};
use super::listing::{self, ListFormat, Paged, Want};
use crate::server::access::{MayRead, MayWrite};
use crate::server::problem::Problem;
use crate::server::{App, elsewhere, hex};

/// Of a table, if nobody says how much.
const DEFAULT_TOP: usize = 100;

/// Of a document's bytes, to look at.
const PREVIEW_BYTES: u64 = 4096;

/// A piece of a document on its way in or out.
const PIECE_BYTES: usize = 256 * 1024;

/// As S3 has it for one put.
const MAX_DOCUMENT_BYTES: u64 = 5 << 30;

/// What became of the version that a key holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum DocumentState {
    /// Its message waits or is being worked on, or was purged.
    Waiting,
    /// It was counted, by the profile in force.
    Counted,
    /// It was given up, for `reason`.
    Failed,
    /// It stands in a bucket that keeps and does not count.
    Kept,
}

impl From<ListedState> for DocumentState {
    fn from(state: ListedState) -> Self {
        match state {
            ListedState::Waiting => Self::Waiting,
            ListedState::Counted => Self::Counted,
            ListedState::Failed => Self::Failed,
            ListedState::Kept => Self::Kept,
        }
    }
}

impl From<DocumentState> for ListedState {
    fn from(state: DocumentState) -> Self {
        match state {
            DocumentState::Waiting => Self::Waiting,
            DocumentState::Counted => Self::Counted,
            DocumentState::Failed => Self::Failed,
            DocumentState::Kept => Self::Kept,
        }
    }
}

/// A document, and the newest result it has.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Document))]
pub(crate) struct DocumentItem {
    bucket: String,
    key: String,
    /// Its size.
    bytes: u64,
    state: DocumentState,
    /// Its version: a larger one is newer.
    sequence: u64,
    /// When this version was put.
    #[cfg_attr(test, schema(format = DateTime))]
    put_at: String,
    /// What its bytes are, as whoever put them has said.
    content_type: Option<String>,
    /// How many words it has.
    words: Option<u64>,
    /// How many different ones.
    distinct: Option<u64>,
    /// Words too long to be counted.
    over_long: Option<u64>,
    /// The profile that counted it.
    fingerprint: Option<String>,
    /// How long reading and counting took, in microseconds.
    duration_us: Option<u64>,
    /// When its result was committed.
    #[cfg_attr(test, schema(format = DateTime))]
    committed_at: Option<String>,
    /// Of which version the result is. It is `sequence`, unless the document waits or has failed.
    result_sequence: Option<u64>,
    /// Why it was given up.
    reason: Option<String>,
}

const DOCUMENT_COLUMNS: &[&str] = &[
    "bucket",
    "key",
    "bytes",
    "state",
    "sequence",
    "put_at",
    "content_type",
    "words",
    "distinct",
    "over_long",
    "fingerprint",
    "duration_us",
    "committed_at",
    "result_sequence",
    "reason",
];

/// The sequences of a data directory are numbers that count from 1.
pub(super) fn shown_sequence(sequence: wordfreq_pipeline::Sequence) -> u64 {
    u64::try_from(sequence.0).unwrap_or(u64::MAX)
}

impl From<ListedDocument> for DocumentItem {
    fn from(document: ListedDocument) -> Self {
        let ListedDocument { id, bytes, sequence, put_at, content_type, state, result, reason } = document;
        let result = result.as_ref();
        Self {
            bucket: id.bucket().to_owned(),
            key: id.key().to_owned(),
            bytes,
            state: state.into(),
            sequence: shown_sequence(sequence),
            put_at: put_at.to_rfc3339(),
            content_type,
            words: result.map(|result| result.words),
            distinct: result.map(|result| result.distinct),
            over_long: result.map(|result| result.over_long),
            fingerprint: result.map(|result| result.fingerprint.clone()),
            duration_us: result.map(|result| u64::try_from(result.duration.as_micros()).unwrap_or(u64::MAX)),
            committed_at: result.map(|result| result.committed_at.to_rfc3339()),
            result_sequence: result.map(|result| shown_sequence(result.sequence)),
            reason,
        }
    }
}

/// A word of a table, and how often it stands there.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct WordCount {
    pub(super) word: String,
    pub(super) count: u64,
}

pub(super) const COUNT_COLUMNS: &[&str] = &["word", "count"];

pub(super) fn word_counts(counts: Vec<(String, u64)>) -> Vec<WordCount> {
    counts.into_iter().map(|(word, count)| WordCount { word, count }).collect()
}

/// How much of a table is wanted.
pub(super) fn table_limit(
    top: Option<u32>,
    all: Option<bool>,
    default: usize,
) -> Result<Option<usize>, Problem> {
    match (top, all.unwrap_or(false)) {
        (Some(_), true) => Err(Problem::bad_request("top and all exclude each other: leave one out")),
        (_, true) => Ok(None),
        (top, false) => Ok(Some(top.map_or(default, |top| top as usize))),
    }
}

/// A document with its table of words.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct DocumentWithCounts {
    #[serde(flatten)]
    document: DocumentItem,
    /// Its words by rank, as many as were asked for; none if it has no result.
    counts: Vec<WordCount>,
}

/// A bucket.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Bucket {
    name: String,
    /// Whether what is put into it is counted.
    triggers: bool,
    /// How many documents it holds.
    documents: u64,
    /// Their sizes together.
    bytes: u64,
    #[cfg_attr(test, schema(format = DateTime))]
    created_at: String,
}

/// The buckets.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Buckets {
    items: Vec<Bucket>,
}

/// Lists the buckets.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/buckets", tag = "documents", responses((status = 200, body = Buckets))))]
pub(super) async fn buckets(_: MayRead, State(app): State<Arc<App>>) -> Result<Json<Buckets>, Problem> {
    let buckets = app.look(|embedded| embedded.catalogue.buckets()).await?;
    let items = buckets
        .into_iter()
        .map(|bucket| Bucket {
            name: bucket.name,
            triggers: bucket.triggers,
            documents: bucket.documents,
            bytes: bucket.bytes,
            created_at: bucket.created_at.to_rfc3339(),
        })
        .collect();
    Ok(Json(Buckets { items }))
}

/// Which documents to list, and how.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct ListParams {
    /// Of this bucket only.
    bucket: Option<String>,
    /// Whose keys begin with this.
    prefix: Option<String>,
    /// In whose keys this stands, whatever the case of its letters.
    q: Option<String>,
    /// Of which this became.
    #[cfg_attr(test, param(inline))]
    state: Option<DocumentState>,
}

/// Lists documents in the order of their names.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/documents", tag = "documents", params(ListParams, listing::PageParams), responses(
    (status = 200, content(
        (listing::ItemsPage<DocumentItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn list(
    _: MayRead,
    State(app): State<Arc<App>>,
    Paged(want, params): Paged<ListParams>,
) -> Result<Response, Problem> {
    let ListParams { bucket, prefix, q, state } = params;
    if let Some(bucket) = &bucket {
        document_id(bucket, "-")?;
    }
    let selection = Selection {
        bucket,
        prefix: prefix.unwrap_or_default(),
        containing: q.unwrap_or_default(),
        state: state.map(ListedState::from),
    };
    let fetch = move |embedded: &Embedded, after: Option<DocumentId>, limit: usize| {
        let page = embedded.catalogue.documents(&selection, after.as_ref(), limit)?;
        Ok(page.map(DocumentItem::from))
    };
    listing::answer(app, want, "documents", DOCUMENT_COLUMNS, fetch).await
}

/// A document's name.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct NameParams {
    /// Its bucket.
    #[cfg_attr(test, param(min_length = 3, max_length = 63, pattern = "^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    bucket: String,
    /// Its key in it: 1 to 1,024 bytes of UTF-8.
    #[cfg_attr(test, param(min_length = 1))]
    key: String,
}

impl NameParams {
    fn id(&self) -> Result<DocumentId, Problem> {
        document_id(&self.bucket, &self.key)
    }
}

fn no_document(id: &DocumentId) -> Problem {
    Problem::not_found(format!("there is no document {id}: /api/v1/documents lists those there are"))
}

async fn listed(app: &Arc<App>, id: &DocumentId) -> Result<DocumentItem, Problem> {
    let wanted = id.clone();
    let found = app.blocking(move |embedded| embedded.catalogue.document(&wanted)).await?;
    found.map(DocumentItem::from).ok_or_else(|| no_document(id))
}

/// A document's name, and how much of its table is wanted.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct ShowParams {
    /// Its bucket.
    #[cfg_attr(test, param(min_length = 3, max_length = 63, pattern = "^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    bucket: String,
    /// Its key in it: 1 to 1,024 bytes of UTF-8.
    #[cfg_attr(test, param(min_length = 1))]
    key: String,
    /// So many words of its table.
    #[cfg_attr(test, param(default = 100))]
    top: Option<u32>,
    /// Its whole table.
    all: Option<bool>,
    /// The form, over what `Accept` says. CSV and NDJSON are the words alone, all of them unless `top` is given.
    #[cfg_attr(test, param(inline))]
    format: Option<ListFormat>,
    /// Whether CSV cells that a spreadsheet would run as a formula are left as they are.
    raw: Option<bool>,
}

/// Shows a document with its words by rank.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/document", tag = "documents", params(ShowParams), responses(
    (status = 200, content(
        (DocumentWithCounts = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn show(
    _: MayRead,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Params(params): Params<ShowParams>,
) -> Result<Response, Problem> {
    let ShowParams { bucket, key, top, all, format, raw } = params;
    let id = document_id(&bucket, &key)?;
    let want = Want::whole(format, raw, &headers);
    let is_list = want.format != ListFormat::Json;
    let limit = table_limit(top, all.or((is_list && top.is_none()).then_some(true)), DEFAULT_TOP)?;
    let document = listed(&app, &id).await?;
    let result = app.look(move |embedded| embedded.catalogue.result(&id, limit)).await?;
    let counts = word_counts(result.map(|result| result.counts).unwrap_or_default());
    if is_list {
        return listing::answer_whole(&want, "words", COUNT_COLUMNS, &counts);
    }
    Ok(Json(DocumentWithCounts { document, counts }).into_response())
}

/// A document's name, and whether to look at its beginning only.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct ContentParams {
    /// Its bucket.
    #[cfg_attr(test, param(min_length = 3, max_length = 63, pattern = "^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    bucket: String,
    /// Its key in it: 1 to 1,024 bytes of UTF-8.
    #[cfg_attr(test, param(min_length = 1))]
    key: String,
    /// Whether to answer with the first 4 KiB as text in JSON.
    preview: Option<bool>,
}

/// The beginning of a document.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Preview {
    /// Its first 4 KiB at most; what is not UTF-8 in it is U+FFFD.
    text: String,
    /// Whether there is more.
    truncated: bool,
}

/// The bytes of a document, or a look at the first of them.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/document/content", tag = "documents", params(ContentParams), responses(
    (status = 200, content((Preview = "application/json"), (Vec<u8> = "application/octet-stream"))),
)))]
pub(super) async fn content(
    _: MayRead,
    State(app): State<Arc<App>>,
    Params(params): Params<ContentParams>,
) -> Result<Response, Problem> {
    let id = document_id(&params.bucket, &params.key)?;
    let wanted = id.clone();
    let opened = app.blocking(move |embedded| embedded.bucket.open_object(&wanted)).await?;
    let (info, mut file) = opened.map_err(|_refused| no_document(&id))?;
    let bytes = info.bytes;
    if params.preview.unwrap_or(false) {
        let text = app
            .blocking(move |_| {
                let mut begin = Vec::new();
                match file.by_ref().take(PREVIEW_BYTES).read_to_end(&mut begin) {
                    Ok(_) => Ok(String::from_utf8_lossy(&begin).into_owned()),
                    Err(error) => Err(unreadable(&error)),
                }
            })
            .await?;
        return Ok(Json(Preview { text, truncated: bytes > PREVIEW_BYTES }).into_response());
    }
    let pieces = stream::try_unfold(file, |mut file| async move {
        let piece = elsewhere(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece)?;
            piece.truncate(read);
            Ok::<_, std::io::Error>((Bytes::from(piece), file))
        });
        let (piece, file) = piece.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>((!piece.is_empty()).then_some((piece, file)))
    });
    let name = id.key().rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("document");
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    // Whatever its own type is: nothing from here is to be shown, let alone run.
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn unreadable(error: &std::io::Error) -> BackendError {
    BackendError::new(wordfreq_pipeline::ErrorKind::Other, format!("cannot read a document: {error}"))
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!("a document has {MAX_DOCUMENT_BYTES} bytes at most: put it in parts through the S3 endpoint"),
    )
}

/// Puts a document; it is durable when this answers.
#[cfg_attr(test, utoipa::path(put, path = "/api/v1/document", tag = "documents", params(NameParams),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The document's bytes"),
    responses(
        (status = 201, body = DocumentItem),
        (status = 409, description = "The bucket was deleted at this moment",
         body = crate::server::problem::ProblemDetails, content_type = "application/problem+json"),
    ),
))]
pub(super) async fn put(
    _: MayWrite,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Params(name): Params<NameParams>,
    body: Body,
) -> Result<(StatusCode, Json<DocumentItem>), Problem> {
    let id = name.id()?;
    app.admit().await?;
    let content_type = headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().map(str::to_owned))
        .transpose()
        .map_err(|_| Problem::bad_request("Content-Type must be ASCII"))?;
    if headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .is_some_and(|length| length > MAX_DOCUMENT_BYTES)
    {
        return Err(too_large());
    }
    let (staging, etag) = stage(&app, body).await?;
    let (attributes, condition) = (Attributes::default(), Condition::None);
    let object = NewObject { id: id.clone(), etag, content_type, attributes, condition };
    // As `wordfreq upload` does: a bucket is made by putting something into it.
    let bucket = id.bucket().to_owned();
    if !app.blocking(move |embedded| embedded.bucket.has_bucket(&bucket)).await?
        && let Err(refused) =
            app.change(|bucket, done| bucket.create_bucket(object.id.bucket(), done)).await?
        && refused != Refused::BucketExists
    {
        return Err(conflict(&refused));
    }
    let staged = app.blocking(move |_| staging.finish()).await?;
    app.change(|bucket, done| bucket.put_object(staged, object, done))
        .await?
        .map_err(|refused| conflict(&refused))?;
    Ok((StatusCode::CREATED, Json(listed(&app, &id).await?)))
}

fn conflict(refused: &Refused) -> Problem {
    Problem::new(StatusCode::CONFLICT, "conflict", refused.to_string())
}

/// Writes a body down as it comes, and makes its tag. Between its pieces no thread waits.
async fn stage(app: &Arc<App>, body: Body) -> Result<(Staging, String), Problem> {
    let mut staging = app.blocking(|embedded| embedded.bucket.begin_staging()).await?;
    let mut pieces = body.into_data_stream();
    let (mut taken, mut ready, mut tag) = (0, Vec::new(), Md5::new());
    loop {
        let piece = pieces.next().await.transpose().map_err(|error| Problem::of_body(&error))?;
        let is_end = piece.is_none();
        if let Some(piece) = piece {
            taken += piece.len() as u64;
            if taken > MAX_DOCUMENT_BYTES {
                return Err(too_large());
            }
            ready.extend_from_slice(&piece);
        }
        if ready.len() >= PIECE_BYTES || (is_end && !ready.is_empty()) {
            let piece = std::mem::take(&mut ready);
            (staging, tag) = app
                .blocking(move |_| {
                    staging.write(&piece)?;
                    tag.update(&piece);
                    Ok((staging, tag))
                })
                .await?;
        }
        if is_end {
            return Ok((staging, hex(&tag.finalize())));
        }
    }
}

/// Deletes a document.
#[cfg_attr(test, utoipa::path(delete, path = "/api/v1/document", tag = "documents", params(NameParams), responses(
    (status = 204, description = "It is deleted"),
)))]
pub(super) async fn delete(
    _: MayWrite,
    State(app): State<Arc<App>>,
    Params(name): Params<NameParams>,
) -> Result<StatusCode, Problem> {
    let id = name.id()?;
    let wanted = id.clone();
    if app.blocking(move |embedded| embedded.bucket.delete(&wanted)).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_document(&id))
    }
}

/// Counts a document again: what it holds becomes a new version with the same bytes, and a message.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/document/recount", tag = "documents", params(NameParams), responses(
    (status = 202, body = DocumentItem),
    (status = 409, description = "Its bucket keeps documents and does not count them",
     body = crate::server::problem::ProblemDetails, content_type = "application/problem+json"),
)))]
pub(super) async fn recount(
    _: MayWrite,
    State(app): State<Arc<App>>,
    Params(name): Params<NameParams>,
) -> Result<(StatusCode, Json<DocumentItem>), Problem> {
    let id = name.id()?;
    // It becomes a message again, like one that was put.
    app.admit().await?;
    let wanted = id.clone();
    app.blocking(move |embedded| embedded.bucket.recount(&wanted)).await?.map_err(
        |refused| match refused {
            NotRecounted::Keeps => Problem::new(
                StatusCode::CONFLICT,
                "keeps",
                format!(
                    "the bucket {:?} keeps documents and does not count them: copy the document to one that triggers",
                    id.bucket()
                ),
            ),
            NotRecounted::NoSuchKey => no_document(&id),
        },
    )?;
    Ok((StatusCode::ACCEPTED, Json(listed(&app, &id).await?)))
}
