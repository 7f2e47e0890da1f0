//! Results as they were committed, for who knows them from the command line: what `wordfreq results` prints.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::HeaderMap;
use serde::{Deserialize, Serialize};
use wordfreq_core::ProfileName;
use wordfreq_pipeline::DocumentId;
use wordfreq_pipeline::embedded::Embedded;
use wordfreq_pipeline::results::ResultSummary;

use super::documents::{COUNT_COLUMNS, WordCount, shown_sequence, table_limit, word_counts};
use super::input::{Params, document_id};
use super::listing::{self, ListFormat, NoFilter, Paged, Want};
use crate::server::App;
use crate::server::access::MayRead;
use crate::server::problem::Problem;

/// Of a table, if nobody says how much.
const DEFAULT_TOP: usize = 10;

/// A committed result.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Result))]
pub(super) struct ResultItem {
    bucket: String,
    key: String,
    bytes: u64,
    words: u64,
    distinct: u64,
    over_long: u64,
    fingerprint: String,
    sequence: u64,
    duration_us: u64,
    #[cfg_attr(test, schema(format = DateTime))]
    committed_at: String,
}

const COLUMNS: &[&str] = &[
    "bucket",
    "key",
    "bytes",
    "words",
    "distinct",
    "over_long",
    "fingerprint",
    "sequence",
    "duration_us",
    "committed_at",
];

impl From<ResultSummary> for ResultItem {
    fn from(result: ResultSummary) -> Self {
        Self {
            bucket: result.document.bucket().to_owned(),
            key: result.document.key().to_owned(),
            bytes: result.bytes,
            words: result.words,
            distinct: result.distinct,
            over_long: result.over_long,
            fingerprint: result.fingerprint,
            sequence: shown_sequence(result.sequence),
            duration_us: u64::try_from(result.duration.as_micros()).unwrap_or(u64::MAX),
            committed_at: result.committed_at.to_rfc3339(),
        }
    }
}

/// Lists results in the order of their documents' names, whatever became of the documents since.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/results", tag = "documents", params(listing::PageParams), responses(
    (status = 200, content(
        (listing::ItemsPage<ResultItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn list(
    _: MayRead,
    State(app): State<Arc<App>>,
    Paged(want, NoFilter {}): Paged<NoFilter>,
) -> Result<Response, Problem> {
    let fetch = |embedded: &Embedded, after: Option<DocumentId>, limit: usize| {
        Ok(embedded.catalogue.results(after.as_ref(), limit)?.map(ResultItem::from))
    };
    listing::answer(app, want, "results", COLUMNS, fetch).await
}

/// Whose result, and how much of it.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct ShowParams {
    /// The document's bucket.
    #[cfg_attr(test, param(min_length = 3, max_length = 63, pattern = "^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    bucket: String,
    /// Its key in it: 1 to 1,024 bytes of UTF-8.
    #[cfg_attr(test, param(min_length = 1))]
    key: String,
    /// So many words of its table.
    #[cfg_attr(test, param(default = 10))]
    top: Option<u32>,
    /// The whole table.
    all: Option<bool>,
    /// The form, over what `Accept` says. CSV and NDJSON are the words alone, all of them unless `top` is given.
    #[cfg_attr(test, param(inline))]
    format: Option<ListFormat>,
    /// Whether CSV cells that a spreadsheet would run as a formula are left as they are.
    raw: Option<bool>,
}

/// Counts of one document or of many, as `wordfreq` prints them.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Counts {
    /// The profile's name.
    pub(super) profile: String,
    /// The whole rule by which they were counted.
    pub(super) fingerprint: String,
    /// Documents counted.
    pub(super) documents: u64,
    /// Their sizes together.
    pub(super) bytes: u64,
    /// Their words together.
    pub(super) words: u64,
    /// Different words.
    pub(super) distinct: u64,
    /// Words too long to be counted.
    pub(super) over_long: u64,
    /// Words by rank, as many as were asked for.
    pub(super) counts: Vec<WordCount>,
}

/// The name in a fingerprint.
pub(super) fn profile_of(fingerprint: &str) -> Result<String, Problem> {
    ProfileName::of_fingerprint(fingerprint).map(|name| name.to_string()).ok_or_else(|| {
        tracing::error!(fingerprint, "no profile of this version has this fingerprint");
        Problem::internal()
    })
}

/// Shows the result of a document, whatever became of the document since.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/result", tag = "documents", params(ShowParams), responses(
    (status = 200, content(
        (Counts = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
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
    let wanted = id.clone();
    let found = app.look(move |embedded| embedded.catalogue.result(&wanted, limit)).await?;
    let result = found.ok_or_else(|| {
        Problem::not_found(format!("{id} has no result: /api/v1/results lists those there are"))
    })?;
    let counts = word_counts(result.counts);
    if is_list {
        return listing::answer_whole(&want, "words", COUNT_COLUMNS, &counts);
    }
    let summary = result.summary;
    Ok(Json(Counts {
        profile: profile_of(&summary.fingerprint)?,
        fingerprint: summary.fingerprint,
        documents: 1,
        bytes: summary.bytes,
        words: summary.words,
        distinct: summary.distinct,
        over_long: summary.over_long,
        counts,
    })
    .into_response())
}
