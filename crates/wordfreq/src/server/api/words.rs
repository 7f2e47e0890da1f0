//! The words of all documents: the totals, the frequency list, one word, and the documents it stands in.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderMap};
use serde::{Deserialize, Serialize};
use wordfreq_pipeline::DocumentId;
use wordfreq_pipeline::embedded::{Embedded, Occurrence, Page, RankedWord, Ranking};

use super::documents::{COUNT_COLUMNS, WordCount, table_limit};
use super::input::Params;
use super::listing::{self, ItemsPage, ListFormat, Paged, Want};
use crate::server::App;
use crate::server::access::MayRead;
use crate::server::problem::Problem;

/// Of the totals, if nobody says how much.
const DEFAULT_TOP: usize = 10;

/// Words of a piece of an answer.
const WORDS_AT_ONCE: usize = 5000;

/// Points of a Zipf plot.
const DEFAULT_POINTS: u32 = 200;
const MAX_POINTS: u32 = 2000;

/// A ranking that nobody has asked for as long as this is dropped.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Drops a ranking when nobody asks for it any more, for as long as the server serves.
pub(in crate::server) async fn forget_ranking(app: Arc<App>) {
    let mut ending = app.ending.clone();
    while !*ending.borrow() {
        tokio::select! {
            () = tokio::time::sleep(FORGET_AFTER / 2) => app.embedded.catalogue.forget_ranking(FORGET_AFTER),
            _ = ending.changed() => return,
        };
    }
}

/// How much of the totals, and how.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct TotalsParams {
    /// So many words.
    #[cfg_attr(test, param(default = 10))]
    top: Option<u32>,
    /// All words.
    all: Option<bool>,
    /// The form, over what `Accept` says. CSV and NDJSON are the words alone, all of them unless `top` is given.
    #[cfg_attr(test, param(inline))]
    format: Option<ListFormat>,
    /// Whether CSV cells that a spreadsheet would run as a formula are left as they are.
    raw: Option<bool>,
}

/// The sums over all documents of the profile in force.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Totals {
    /// The profile's name.
    profile: String,
    /// The whole rule by which they were counted.
    fingerprint: String,
    /// Documents counted.
    documents: u64,
    /// Their sizes together.
    bytes: u64,
    /// Their words together.
    words: u64,
    /// Different words.
    distinct: u64,
    /// Words too long to be counted.
    over_long: u64,
    /// Documents counted by another profile, which are in none of these sums.
    other_documents: u64,
    /// Words by rank, as many as were asked for.
    counts: Vec<WordCount>,
}

/// The totals, exact at the moment of the answer.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/totals", tag = "words", params(TotalsParams), responses(
    (status = 200, content(
        (Totals = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn totals(
    _: MayRead,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Params(params): Params<TotalsParams>,
) -> Result<Response, Problem> {
    let TotalsParams { top, all, format, raw } = params;
    let want = Want::whole(format, raw, &headers);
    let is_list = want.format != ListFormat::Json;
    let limit = table_limit(top, all.or((is_list && top.is_none()).then_some(true)), DEFAULT_TOP)?;
    let ranking = app.look(|embedded| embedded.catalogue.ranking()).await?;
    let sums = ranking.sums();
    let distinct = usize::try_from(sums.distinct).unwrap_or(usize::MAX);
    let wanted = limit.unwrap_or(distinct).min(distinct);
    if wanted > ranking.len() {
        return Err(Problem::new(
            http::StatusCode::UNPROCESSABLE_ENTITY,
            "too-many-words",
            format!(
                "there are {distinct} words, and the server ranks {}: ask for fewer by top, or run `wordfreq results totals \
                 --all` on the data directory",
                ranking.len()
            ),
        ));
    }
    if is_list {
        let place = Arc::new(app.export()?);
        let fetch = move |_: &Embedded, from: Option<usize>, limit: usize| {
            let _held = &place;
            let from = from.unwrap_or(0);
            let end = wanted.min(from + limit);
            let words = (from..end).filter_map(|index| ranking.get(index));
            let items = words.map(|ranked| word_count(&ranked)).collect();
            Ok(Page { items, next: (end < wanted).then_some(end) })
        };
        return listing::answer(app, want, "totals", COUNT_COLUMNS, fetch).await;
    }
    let head = Totals {
        profile: ranking.profile().name.to_string(),
        fingerprint: sums.fingerprint.clone(),
        documents: sums.documents,
        bytes: sums.bytes,
        words: sums.words,
        distinct: sums.distinct,
        over_long: sums.over_long,
        other_documents: sums.other_documents,
        counts: Vec::new(),
    };
    if wanted <= WORDS_AT_ONCE {
        let counts =
            (0..wanted).filter_map(|index| ranking.get(index)).map(|ranked| word_count(&ranked)).collect();
        return Ok(Json(Totals { counts, ..head }).into_response());
    }
    let place = app.export()?;
    let head = serde_json::to_string(&head).map_err(unwritable)?;
    // The words are the last of its fields; they go out piece by piece, so that a million of them need no memory.
    let head = head.strip_suffix("]}").map(str::to_owned).ok_or_else(Problem::internal)?;
    let pieces =
        stream::try_unfold((ranking, place, 0, Some(head)), move |(ranking, place, from, head)| async move {
            if from > wanted {
                return Ok::<_, std::io::Error>(None);
            }
            let mut text = head.unwrap_or_default();
            let end = wanted.min(from + WORDS_AT_ONCE);
            for ranked in (from..end).filter_map(|index| ranking.get(index)) {
                if ranked.rank > 1 {
                    text.push(',');
                }
                text.push_str(&serde_json::to_string(&word_count(&ranked))?);
            }
            if end == wanted {
                text.push_str("]}");
            }
            // Past the end, once it was reached.
            let next = if end == wanted { wanted + 1 } else { end };
            Ok(Some((Bytes::from(text), (ranking, place, next, None))))
        });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response())
}

fn unwritable(error: serde_json::Error) -> Problem {
    tracing::error!(%error, "an answer cannot be written");
    Problem::internal()
}

fn word_count(ranked: &RankedWord<'_>) -> WordCount {
    WordCount { word: ranked.word.to_owned(), count: ranked.count }
}

fn per_million(count: u64, words: u64) -> f64 {
    if words == 0 { 0.0 } else { count as f64 / words as f64 * 1e6 }
}

/// Which words to list, and how.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct ListParams {
    /// Words that begin with this.
    prefix: Option<String>,
    /// Words with this in them.
    q: Option<String>,
}

/// A word in its place.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct WordItem {
    /// Its rank among all words, from 1 on.
    rank: u64,
    word: String,
    /// How often it stands in all documents.
    count: u64,
    /// In how many documents it stands.
    documents: u64,
    /// How often among a million words.
    per_million: f64,
}

const COLUMNS: &[&str] = &["rank", "word", "count", "documents", "per_million"];

fn item(ranked: &RankedWord<'_>, words: u64) -> WordItem {
    let RankedWord { rank, word, count, documents } = *ranked;
    WordItem { rank, word: word.to_owned(), count, documents, per_million: per_million(count, words) }
}

/// A page of words by rank.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct WordsPage {
    #[serde(flatten)]
    page: ItemsPage<WordItem>,
    /// Words in all documents.
    words: u64,
    /// Different words.
    distinct: u64,
    /// Documents counted.
    documents: u64,
    /// How many words are ranked and so can be listed: all of them, up to five million.
    ranked: u64,
}

/// Lists words by rank. While documents are being counted the list may be a moment old: the more words there are, the
/// longer the moment.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/words", tag = "words", params(ListParams, listing::PageParams), responses(
    (status = 200, content(
        (WordsPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn list(
    _: MayRead,
    State(app): State<Arc<App>>,
    Paged(want, params): Paged<ListParams>,
) -> Result<Response, Problem> {
    let ListParams { prefix, q } = params;
    let (prefix, containing) =
        (prefix.unwrap_or_default().to_lowercase(), q.unwrap_or_default().to_lowercase());
    let ranking = app.look(|embedded| embedded.catalogue.recent_ranking()).await?;
    let of = ranking.clone();
    // A place is a count and a word, which mean the same in every ranking.
    let fetch = move |_: &Embedded, after: Option<(u64, String)>, limit: usize| {
        let from = after.map_or(0, |(count, word)| of.after(count, &word));
        Ok(selected(&of, from, &prefix, &containing, limit))
    };
    if want.format != ListFormat::Json {
        let place = Arc::new(app.export()?);
        let fetch = move |embedded: &Embedded, after, limit| {
            let _held = &place;
            fetch(embedded, after, limit)
        };
        return listing::answer(app, want, "words", COLUMNS, fetch).await;
    }
    let (after, limit) = (want.after()?, want.limit());
    let page = ItemsPage::of(app.look(move |embedded| fetch(embedded, after, limit)).await?)?;
    let sums = ranking.sums();
    let (words, distinct, documents) = (sums.words, sums.distinct, sums.documents);
    Ok(Json(WordsPage { page, words, distinct, documents, ranked: ranking.len() as u64 }).into_response())
}

fn selected(
    ranking: &Ranking,
    from: usize,
    prefix: &str,
    containing: &str,
    limit: usize,
) -> Page<WordItem, (u64, String)> {
    let (mut found, _) = ranking.select(from, prefix, containing, limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = if more { found.last().map(|last| (last.count, last.word.to_owned())) } else { None };
    let words = ranking.sums().words;
    Page { items: found.iter().map(|ranked| item(ranked, words)).collect(), next }
}

/// How many points.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct ZipfParams {
    /// At most so many.
    #[cfg_attr(test, param(minimum = 1, maximum = 2000, default = 200))]
    points: Option<u32>,
}

/// A point of a Zipf plot.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct ZipfPoint {
    rank: u64,
    count: u64,
    word: String,
}

/// Points of a Zipf plot.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Zipf {
    /// By rank, spaced evenly on a logarithmic axis.
    points: Vec<ZipfPoint>,
    /// Words in all documents.
    words: u64,
    /// Different words.
    distinct: u64,
}

/// Words whose ranks stand evenly on a logarithmic axis, the first and the last among them.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/words/zipf", tag = "words", params(ZipfParams), responses(
    (status = 200, body = Zipf),
)))]
pub(super) async fn zipf(
    _: MayRead,
    State(app): State<Arc<App>>,
    Params(params): Params<ZipfParams>,
) -> Result<Json<Zipf>, Problem> {
    let points = params.points.unwrap_or(DEFAULT_POINTS);
    if !(1..=MAX_POINTS).contains(&points) {
        return Err(Problem::bad_request(format!("points must be 1 to {MAX_POINTS}")));
    }
    let ranking = app.look(|embedded| embedded.catalogue.recent_ranking()).await?;
    let points = ranking
        .zipf(points as usize)
        .iter()
        .map(|ranked| ZipfPoint { rank: ranked.rank, count: ranked.count, word: ranked.word.to_owned() })
        .collect();
    Ok(Json(Zipf { points, words: ranking.sums().words, distinct: ranking.sums().distinct }))
}

/// Which word.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct WordParams {
    /// The word as a person writes it, or as it is counted.
    #[cfg_attr(test, param(max_length = 1024))]
    word: String,
}

/// A word's place in the corpus.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Word {
    /// The word as it is counted.
    word: String,
    /// How often it stands in all documents; 0 if nowhere.
    count: u64,
    /// In how many documents it stands.
    documents: u64,
    /// How often among a million words.
    per_million: f64,
    /// Its rank, from 1 on; null if it stands nowhere.
    rank: Option<u64>,
}

/// Looks a word up: as it stands if it is a word of the corpus, else as the profile in force counts it.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/word", tag = "words", params(WordParams), responses((status = 200, body = Word))))]
pub(super) async fn word(
    _: MayRead,
    State(app): State<Arc<App>>,
    Params(params): Params<WordParams>,
) -> Result<Json<Word>, Problem> {
    let found = app.look(move |embedded| embedded.catalogue.word(&params.word)).await?;
    let per_million = per_million(found.count, found.words);
    let (count, documents, rank) = (found.count, found.documents, found.rank);
    Ok(Json(Word { word: found.word, count, documents, per_million, rank }))
}

/// Which word's documents, and how.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct OccurrencesParams {
    /// The word, as `GET /api/v1/word` takes it.
    #[cfg_attr(test, param(max_length = 1024))]
    word: String,
}

/// A document in which a word stands.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Occurrence))]
pub(super) struct OccurrenceItem {
    bucket: String,
    key: String,
    /// How often the word stands in it.
    count: u64,
    /// How many words it has.
    words: u64,
    /// How often among a million words of it.
    per_million: f64,
}

const OCCURRENCE_COLUMNS: &[&str] = &["bucket", "key", "count", "words", "per_million"];

impl From<Occurrence> for OccurrenceItem {
    fn from(occurrence: Occurrence) -> Self {
        let Occurrence { id, count, words } = occurrence;
        Self {
            bucket: id.bucket().to_owned(),
            key: id.key().to_owned(),
            count,
            words,
            per_million: per_million(count, words),
        }
    }
}

/// Lists the documents in which a word stands, in the order of their names. They are looked for in their tables, so many
/// for a page: a page may hold none and yet not be the last.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/word/documents", tag = "words", params(OccurrencesParams, listing::PageParams), responses(
    (status = 200, content(
        (ItemsPage<OccurrenceItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn documents(
    _: MayRead,
    State(app): State<Arc<App>>,
    Paged(want, params): Paged<OccurrencesParams>,
) -> Result<Response, Problem> {
    let OccurrencesParams { word } = params;
    let word = app.look(move |embedded| embedded.catalogue.as_counted(&word)).await?;
    let fetch = move |embedded: &Embedded, after: Option<DocumentId>, limit: usize| {
        Ok(embedded.catalogue.documents_of_word(&word, after.as_ref(), limit)?.map(OccurrenceItem::from))
    };
    listing::answer(app, want, "documents", OCCURRENCE_COLUMNS, fetch).await
}
