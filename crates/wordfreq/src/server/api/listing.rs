//! Lists: pages of JSON that go on by a cursor, and whole lists as CSV or as one JSON object a line. A whole list is
//! fetched page by page as the client takes it, so that neither memory nor a thread waits for a slow one.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::stream;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wordfreq_pipeline::BackendError;
use wordfreq_pipeline::embedded::{Embedded, Page};
use wordfreq_pipeline::rows::csv_cell;

use super::input;
use crate::server::App;
use crate::server::problem::Problem;

/// Items of a page, if nobody says.
const DEFAULT_LIMIT: usize = 100;

/// The most items of a page.
pub(super) const MAX_LIMIT: u32 = 1000;

/// The forms of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum ListFormat {
    /// A page of JSON.
    Json,
    /// The whole list as RFC 4180 has it, after a header.
    Csv,
    /// The whole list, one JSON object a line.
    Ndjson,
}

/// What page of a list, and in which form.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct PageParams {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// The most items of a page, 100 if not said; of CSV and NDJSON the most rows, all if not said.
    #[cfg_attr(test, param(minimum = 1, maximum = 1000))]
    limit: Option<u32>,
    /// The form, over what `Accept` says.
    #[cfg_attr(test, param(inline))]
    format: Option<ListFormat>,
    /// Whether CSV cells that a spreadsheet would run as a formula are left as they are.
    raw: Option<bool>,
}

/// The parameters of [`PageParams`].
const OF_PAGES: [&str; 4] = ["cursor", "limit", "format", "raw"];

/// What a request for a list says: of the page, and of what is to be in the list.
pub(super) struct Paged<F>(pub(super) Want, pub(super) F);

/// Of a list that has all there is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFilter {}

impl<F: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Paged<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let is_of_pages = |pair: &&str| {
            let name = percent_decode_str(pair.split('=').next().unwrap_or_default());
            OF_PAGES.iter().any(|known| name.clone().eq(known.bytes()))
        };
        let (of_page, of_list): (Vec<_>, Vec<_>) = query.split('&').partition(is_of_pages);
        let page = input::params(&of_page.join("&"))?;
        Ok(Self(Want::new(page, &parts.headers)?, input::params(&of_list.join("&"))?))
    }
}

/// What a request says about the form of a list.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub(super) format: ListFormat,
    pub(super) raw: bool,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl Want {
    /// From the parameters, and from what the client accepts.
    fn new(params: PageParams, headers: &HeaderMap) -> Result<Self, Problem> {
        let PageParams { cursor, limit, format, raw } = params;
        if limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
            return Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")));
        }
        let format = format.unwrap_or_else(|| accepted(headers));
        if format != ListFormat::Json && cursor.is_some() {
            return Err(Problem::bad_request(
                "a cursor is for pages of JSON: leave it out, as CSV and NDJSON are the whole list, or its first \
                 `limit` rows",
            ));
        }
        Ok(Self { format, raw: raw.unwrap_or(false), limit, cursor })
    }

    /// For what is a whole and no list of pages.
    pub(super) fn whole(format: Option<ListFormat>, raw: Option<bool>, headers: &HeaderMap) -> Self {
        let format = format.unwrap_or_else(|| accepted(headers));
        Self { format, raw: raw.unwrap_or(false), limit: None, cursor: None }
    }

    /// How many items a page has at most.
    pub(super) fn limit(&self) -> usize {
        let unsaid = if self.format == ListFormat::Json { DEFAULT_LIMIT } else { MAX_LIMIT as usize };
        self.limit.map_or(unsaid, |limit| limit as usize)
    }

    /// After which place the page begins.
    pub(super) fn after<C: DeserializeOwned>(&self) -> Result<Option<C>, Problem> {
        let place = |cursor: &String| {
            let json = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
            serde_json::from_slice(&json).ok()
        };
        self.cursor
            .as_ref()
            .map(|cursor| {
                place(cursor).ok_or_else(|| {
                    Problem::bad_request(
                        "the cursor is none of this list: pass `next_cursor` as it came, or begin anew",
                    )
                })
            })
            .transpose()
    }
}

/// The form that the client likes best, of those there are.
fn accepted(headers: &HeaderMap) -> ListFormat {
    let mut best = (0.0, ListFormat::Json);
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next() {
            Some("text/csv") => ListFormat::Csv,
            Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => ListFormat::Ndjson,
            Some("application/json" | "application/*" | "*/*") => ListFormat::Json,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
        if let Ok(quality) = quality
            && quality > best.0
        {
            best = (quality, format);
        }
    }
    best.1
}

/// A place as a cursor.
pub(super) fn cursor<C: Serialize>(place: &C) -> Result<String, Problem> {
    let json = serde_json::to_vec(place).map_err(|error| {
        tracing::error!(%error, "a cursor cannot be written");
        Problem::internal()
    })?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(json))
}

/// A page of a list.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct ItemsPage<T> {
    /// What is listed. A page may hold fewer than were asked for, even none, and yet not be the last.
    pub(super) items: Vec<T>,
    /// What to pass as `cursor` for the next page; null at the end of the list.
    pub(super) next_cursor: Option<String>,
}

impl<T> ItemsPage<T> {
    pub(super) fn of<C: Serialize>(page: Page<T, C>) -> Result<Self, Problem> {
        let next_cursor = page.next.as_ref().map(cursor).transpose()?;
        Ok(Self { items: page.items, next_cursor })
    }
}

/// Answers with a list in the form that is wanted. `columns` are the names of an item's fields in the order of the
/// columns of CSV; `fetch` gets a page after a place.
pub(super) async fn answer<T, C>(
    app: Arc<App>,
    want: Want,
    name: &'static str,
    columns: &'static [&'static str],
    fetch: impl Fn(&Embedded, Option<C>, usize) -> Result<Page<T, C>, BackendError> + Clone + Send + 'static,
) -> Result<Response, Problem>
where
    T: Serialize + Send + 'static,
    C: Serialize + DeserializeOwned + Send + 'static,
{
    let after = want.after::<C>()?;
    let limit = want.limit();
    let get = move |app: Arc<App>, after: Option<C>| {
        let fetch = fetch.clone();
        async move { app.look(move |embedded| fetch(embedded, after, limit)).await }
    };
    // The first page before anything is answered: what is wrong shows there.
    let first = get(app.clone(), after).await?;
    if want.format == ListFormat::Json {
        return Ok(axum::Json(ItemsPage::of(first)?).into_response());
    }
    let render = Render { want: want.clone(), columns };
    let head = render.head();
    let rows = want.limit.map_or(usize::MAX, |limit| limit as usize);
    let rest = stream::try_unfold(Some((app, first, rows)), move |state| {
        let (get, render) = (get.clone(), render.clone());
        async move {
            let Some((app, page, rows)) = state else { return Ok(None) };
            let items = &page.items[..page.items.len().min(rows)];
            let text = render.rows(items)?;
            let rows = rows - items.len();
            let next = match page.next.filter(|_| rows > 0) {
                None => None,
                // Cut off, so that nobody takes it for the whole.
                Some(place) => match get(app.clone(), Some(place)).await {
                    Ok(page) => Some((app, page, rows)),
                    Err(problem) => return Err(std::io::Error::other(problem.detail().to_owned())),
                },
            };
            Ok(Some((text, next)))
        }
    });
    Ok(whole(&want, name, head, rest))
}

/// The whole of a list whose rows are there already.
pub(super) fn answer_whole<T: Serialize>(
    want: &Want,
    name: &'static str,
    columns: &'static [&'static str],
    items: &[T],
) -> Result<Response, Problem> {
    let render = Render { want: want.clone(), columns };
    let rows = render.rows(items).map_err(|error| {
        tracing::error!(%error, "a list cannot be written");
        Problem::internal()
    })?;
    Ok(whole(want, name, render.head(), stream::iter([Ok(rows)])))
}

/// An answer of CSV or NDJSON: a head, and the rest as it comes.
fn whole(
    want: &Want,
    name: &'static str,
    head: Bytes,
    rest: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Response {
    let (media, extension) = match want.format {
        ListFormat::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        ListFormat::Json | ListFormat::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::iter([Ok(head)]), rest));
    let disposition = format!("attachment; filename=\"{name}.{extension}\"");
    ([(CONTENT_TYPE, media.to_owned()), (CONTENT_DISPOSITION, disposition)], body).into_response()
}

/// How rows become text.
#[derive(Clone)]
struct Render {
    want: Want,
    columns: &'static [&'static str],
}

impl Render {
    fn head(&self) -> Bytes {
        match self.want.format {
            ListFormat::Csv => Bytes::from(self.columns.join(",") + "\n"),
            ListFormat::Json | ListFormat::Ndjson => Bytes::new(),
        }
    }

    fn rows<T: Serialize>(&self, items: &[T]) -> std::io::Result<Bytes> {
        let mut out = Vec::new();
        match self.want.format {
            ListFormat::Json | ListFormat::Ndjson => {
                for item in items {
                    serde_json::to_writer(&mut out, item)?;
                    out.push(b'\n');
                }
            }
            ListFormat::Csv => {
                let mut csv = csv::Writer::from_writer(&mut out);
                for item in items {
                    let item = serde_json::to_value(item)?;
                    let cells = self.columns.iter().map(|column| match &item[*column] {
                        Value::Null => String::new(),
                        Value::String(text) => csv_cell(text, self.want.raw).into_owned(),
                        other => other.to_string(),
                    });
                    csv.write_record(cells).map_err(std::io::Error::other)?;
                }
                csv.flush()?;
            }
        }
        Ok(Bytes::from(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_likes_best_is_what_it_gets() {
        let of = |accept: &str| accepted(&HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]));
        assert_eq!(accepted(&HeaderMap::new()), ListFormat::Json);
        for (accept, format) in [
            ("*/*", ListFormat::Json),
            ("text/html, */*;q=0.1", ListFormat::Json),
            ("text/csv", ListFormat::Csv),
            ("application/json;q=0.5, text/csv;q=0.6", ListFormat::Csv),
            ("application/x-ndjson, text/csv", ListFormat::Ndjson),
            ("text/csv;q=0, application/json", ListFormat::Json),
            ("text/csv;q=what", ListFormat::Json),
        ] {
            assert_eq!(of(accept), format, "{accept}");
        }
    }

    #[test]
    fn a_cursor_is_what_it_was_and_any_other_text_is_refused() {
        let want =
            |cursor: String| Want { format: ListFormat::Json, raw: false, limit: None, cursor: Some(cursor) };
        let place = ("bucket".to_owned(), "a\0\u{202e}\"key".to_owned());
        assert_eq!(want(cursor(&place).unwrap()).after().unwrap(), Some(place.clone()));
        let other = cursor(&17_i64).unwrap();
        for wrong in ["", "!", "bm9uZQ", &other] {
            assert_eq!(
                want(wrong.to_owned()).after::<(String, String)>().unwrap_err().status(),
                400,
                "{wrong}"
            );
        }
    }
}
