//! Subscriptions: who is told of what, and what became of telling them. Not here: the telling (`notify`).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use wordfreq_pipeline::embedded::{Delivery, Embedded, Page, Subscription};
use wordfreq_pipeline::{BackendError, ErrorKind, Timestamp};

use super::input::{Body, Params};
use super::listing::{self, NoFilter, Paged};
use crate::server::App;
use crate::server::access::MayAdminister;
use crate::server::notify::confirmation::NotConfirmed;
use crate::server::problem::Problem;

/// All of it, below `/api/v1`.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/subscriptions", get(list).post(create))
        .route("/subscriptions/confirm", get(ask).post(confirm))
        .route("/subscriptions/{id}", get(show).delete(remove))
        .route("/subscriptions/{id}/deliveries", get(deliveries))
        .route("/subscriptions/{id}/resend-confirmation", post(ask_again))
}

/// The subscription that a path names.
pub(super) struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::from_request_parts(parts, state).await;
        // A name that cannot even be read is nobody's.
        named.map(|Path(id)| Self(id)).map_err(|rejection| Problem::not_found(rejection.body_text()))
    }
}

/// A subscription to be made.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe {
    /// Where to tell it: `https://HOST/PATH` or `mailto:NAME@DOMAIN`.
    #[cfg_attr(test, schema(max_length = 2048, example = "https://hooks.example.org/wordfreq"))]
    target: String,
    /// What to tell: `document.counted`, `document.failed`, `batch.idle`, `alarm.changed`.
    #[cfg_attr(test, schema(min_items = 1, max_items = 4))]
    events: Vec<String>,
    /// Of which bucket's documents; of all if none is named. Events that are about no document come all the same.
    bucket: Option<String>,
}

/// A subscription.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Subscription))]
pub(super) struct SubscriptionItem {
    id: String,
    /// Where it is told.
    target: String,
    /// What it is told.
    events: Vec<&'static str>,
    /// Of which bucket's documents; null for all.
    bucket: Option<String>,
    /// `pending` until its target has agreed, which it must within three days; `confirmed`; `ended` when its target wanted
    /// no more.
    state: &'static str,
    #[cfg_attr(test, schema(format = DateTime))]
    created_at: String,
    /// Deliveries that wait.
    pending: u64,
    /// Events that found no room to wait, and of which it will be told that it missed them.
    missed: u64,
    /// Why it ended, or why its target could not be reached the last time.
    note: Option<String>,
}

impl From<Subscription> for SubscriptionItem {
    fn from(subscription: Subscription) -> Self {
        let Subscription { id, target, events, bucket, state, created_at, pending, missed, note } =
            subscription;
        Self {
            id,
            target,
            events: events.into_iter().map(|event| event.as_str()).collect(),
            bucket,
            state: state.as_str(),
            created_at: created_at.to_rfc3339(),
            pending,
            missed,
            note,
        }
    }
}

const COLUMNS: &[&str] =
    &["id", "target", "events", "bucket", "state", "created_at", "pending", "missed", "note"];

/// A subscription just made.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Subscribed {
    #[serde(flatten)]
    subscription: SubscriptionItem,
    /// What signs each delivery to a webhook; told only now. Null for mail.
    secret: Option<String>,
}

/// Makes a subscription, and asks its target to confirm it.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/subscriptions", tag = "subscriptions", request_body = Subscribe, responses(
    (status = 201, body = Subscribed),
)))]
pub(super) async fn create(
    _: MayAdminister,
    State(app): State<Arc<App>>,
    Body(Subscribe { target, events, bucket }): Body<Subscribe>,
) -> Result<Response, Problem> {
    let registrar = app.registrar.clone();
    let made = app
        .blocking(move |embedded| {
            Ok(registrar.subscribe(&embedded.subscriptions, &target, &events, bucket.as_deref()))
        })
        .await?;
    let (subscription, secret) = made.map_err(|error| match error.downcast::<BackendError>() {
        Ok(error) => Problem::from(error),
        Err(error) => {
            tracing::error!(%error, "a subscription cannot be made");
            Problem::internal()
        }
    })?;
    let location = format!("/api/v1/subscriptions/{}", subscription.id);
    let body = Subscribed { subscription: subscription.into(), secret };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(body)).into_response())
}

/// A page of what was fetched with one item more than fits: whether there is a next page shows in that.
fn page<T, U: From<T>, C>(mut found: Vec<T>, limit: usize, place: impl Fn(&T) -> C) -> Page<U, C> {
    let goes_on = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| goes_on).map(place);
    Page { items: found.into_iter().map(U::from).collect(), next }
}

/// Lists the subscriptions in the order of their making.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/subscriptions", tag = "subscriptions", params(listing::PageParams), responses(
    (status = 200, content(
        (listing::ItemsPage<SubscriptionItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn list(
    _: MayAdminister,
    State(app): State<Arc<App>>,
    Paged(want, NoFilter {}): Paged<NoFilter>,
) -> Result<Response, Problem> {
    let fetch = |embedded: &Embedded, after: Option<String>, limit: usize| {
        let found = embedded.subscriptions.list(after.as_deref(), limit + 1)?;
        Ok(page::<_, SubscriptionItem, _>(found, limit, |last: &Subscription| last.id.clone()))
    };
    listing::answer(app, want, "subscriptions", COLUMNS, fetch).await
}

/// Tells of one subscription.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/subscriptions/{id}", tag = "subscriptions", params(("id" = String, Path)), responses(
    (status = 200, body = SubscriptionItem),
)))]
pub(super) async fn show(
    _: MayAdminister,
    State(app): State<Arc<App>>,
    Id(id): Id,
) -> Result<Json<SubscriptionItem>, Problem> {
    Ok(Json(app.blocking(move |embedded| embedded.subscriptions.get(&id)).await?.into()))
}

/// Removes a subscription, with all that waits for it.
#[cfg_attr(test, utoipa::path(delete, path = "/api/v1/subscriptions/{id}", tag = "subscriptions", params(("id" = String, Path)), responses(
    (status = 204, description = "It is no more."),
)))]
pub(super) async fn remove(
    _: MayAdminister,
    State(app): State<Arc<App>>,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    app.blocking(move |embedded| embedded.subscriptions.remove(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks the target of a pending subscription once more: five times at most, and not twice a minute.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/subscriptions/{id}/resend-confirmation", tag = "subscriptions",
    params(("id" = String, Path)), responses(
    (status = 202, body = SubscriptionItem),
    (status = 409, description = "It is not pending", body = crate::server::problem::ProblemDetails, content_type = "application/problem+json"),
)))]
pub(super) async fn ask_again(
    _: MayAdminister,
    State(app): State<Arc<App>>,
    Id(id): Id,
) -> Result<(StatusCode, Json<SubscriptionItem>), Problem> {
    let asked =
        app.blocking(move |embedded| Ok(embedded.subscriptions.ask_again(&id, Timestamp::now()))).await?;
    match asked {
        Ok(subscription) => Ok((StatusCode::ACCEPTED, Json(subscription.into()))),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            Err(Problem::new(StatusCode::CONFLICT, "not-pending", error.to_string()))
        }
        Err(error) if error.kind() == ErrorKind::Busy => {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", error.to_string());
            Err(problem.retry_after(Duration::from_secs(60)))
        }
        Err(error) => Err(error.into()),
    }
}

/// One event for one subscription, and what became of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Delivery))]
pub(super) struct DeliveryItem {
    /// What the header `Wordfreq-Delivery` says.
    id: i64,
    /// The event's own id, as in its payload.
    event_id: String,
    /// What happened.
    event: &'static str,
    #[cfg_attr(test, schema(format = DateTime))]
    created_at: String,
    /// How often it was tried.
    attempts: u32,
    /// `pending`, `delivered` or `failed`.
    status: &'static str,
    /// When it is tried next; null once it is done.
    #[cfg_attr(test, schema(format = DateTime))]
    next_attempt_at: Option<String>,
    /// The status, or by mail the reply code, that its target answered the last time.
    response: Option<u16>,
    /// What went wrong the last time.
    last_error: Option<String>,
}

impl From<Delivery> for DeliveryItem {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            event: delivery.event.as_str(),
            created_at: delivery.created_at.to_rfc3339(),
            attempts: delivery.attempts,
            status: delivery.status.as_str(),
            next_attempt_at: delivery.next_attempt_at.map(Timestamp::to_rfc3339),
            response: delivery.response,
            last_error: delivery.last_error,
        }
    }
}

const DELIVERY_COLUMNS: &[&str] = &[
    "id",
    "event_id",
    "event",
    "created_at",
    "attempts",
    "status",
    "next_attempt_at",
    "response",
    "last_error",
];

/// Lists what a subscription was told and is to be told, newest first; what is done is kept for 14 days.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/subscriptions/{id}/deliveries", tag = "subscriptions",
    params(("id" = String, Path), listing::PageParams), responses(
    (status = 200, content(
        (listing::ItemsPage<DeliveryItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn deliveries(
    _: MayAdminister,
    State(app): State<Arc<App>>,
    Id(id): Id,
    Paged(want, NoFilter {}): Paged<NoFilter>,
) -> Result<Response, Problem> {
    let fetch = move |embedded: &Embedded, below: Option<i64>, limit: usize| {
        let found = embedded.subscriptions.deliveries(&id, below, limit + 1)?;
        Ok(page::<_, DeliveryItem, _>(found, limit, |last: &Delivery| last.id))
    };
    listing::answer(app, want, "deliveries", DELIVERY_COLUMNS, fetch).await
}

/// A link that confirms.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub(super) struct ConfirmParams {
    /// What its target was sent.
    #[cfg_attr(test, param(max_length = 200))]
    token: String,
}

/// Shows what a link would confirm, with a button that does: to follow a link, as scanners of mail do, confirms nothing.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/subscriptions/confirm", tag = "subscriptions", params(ConfirmParams),
    security(()), responses(
    (status = 200, body = String, content_type = "text/html"),
)))]
pub(super) async fn ask(
    State(app): State<Arc<App>>,
    Params(ConfirmParams { token }): Params<ConfirmParams>,
) -> Result<Response, Problem> {
    let registrar = app.registrar.clone();
    let found = app.blocking(move |embedded| Ok(registrar.confirms(&embedded.subscriptions, &token))).await?;
    let Subscription { target, events, .. } = found.map_err(not_confirmed)?;
    let events: Vec<_> = events.iter().map(|event| event.as_str()).collect();
    let body = format!(
        "<p>Send notifications about {} to <b>{}</b>?</p><form method=\"post\"><button>Confirm</button></form>\
         <p>If you did not ask for them, close this page: none will come.</p>",
        events.join(", "),
        html(&target)
    );
    Ok(small_page(&body))
}

/// Confirms a subscription. Doing so twice is no error.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/subscriptions/confirm", tag = "subscriptions", params(ConfirmParams),
    security(()), responses(
    (status = 200, content((SubscriptionItem = "application/json"), (String = "text/html"))),
)))]
pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Params(ConfirmParams { token }): Params<ConfirmParams>,
) -> Result<Response, Problem> {
    let registrar = app.registrar.clone();
    let found = app.blocking(move |embedded| Ok(registrar.confirm(&embedded.subscriptions, &token))).await?;
    let subscription = found.map_err(not_confirmed)?;
    tracing::info!(subscription = subscription.id, "subscription confirmed");
    let is_browser = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if is_browser {
        let target = html(&subscription.target);
        return Ok(small_page(&format!("<p>Confirmed: notifications go to <b>{target}</b>.</p>")));
    }
    Ok(Json(SubscriptionItem::from(subscription)).into_response())
}

fn not_confirmed(error: NotConfirmed) -> Problem {
    match error {
        NotConfirmed::Unknown => Problem::not_found(error.to_string()),
        NotConfirmed::Failed(error) => error.into(),
    }
}

/// A page that loads nothing and runs nothing, whatever stands on it, and tells nobody its address.
fn small_page(body: &str) -> Response {
    let headers = [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>wordfreq</title>\
         <main><h1>wordfreq</h1>{body}</main></html>"
    );
    (headers, Html(page)).into_response()
}

/// Text as HTML shows it.
fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
