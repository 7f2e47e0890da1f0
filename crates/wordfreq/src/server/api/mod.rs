//! The API: what it has, and where; `description` describes it. Not here: who may do what (`access`), and S3.

mod description;
pub(super) mod documents;
pub(super) mod fleet;
mod health;
mod input;
mod listing;
pub(super) mod queue;
mod results;
mod session;
mod subscriptions;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{get, post, put};

use super::problem::Problem;
use super::s3::S3;
use super::{App, events, metrics};

pub(super) use health::LastLook;
pub(super) use words::forget_ranking;

/// The longest body that is not a document: some thousand ids of dead letters.
const MAX_JSON_BYTES: usize = 64 * 1024;

/// Everything that is not S3's.
pub fn router(app: Arc<App>, s3: S3) -> Router {
    let api = Router::new()
        .route(
            "/session",
            get(session::show).post(session::begin).delete(session::end).layer(DefaultBodyLimit::max(4096)),
        )
        .route("/buckets", get(documents::buckets))
        .route("/documents", get(documents::list))
        .route("/document", get(documents::show).put(documents::put).delete(documents::delete))
        .route("/document/content", get(documents::content))
        .route("/document/recount", post(documents::recount))
        .route("/results", get(results::list))
        .route("/result", get(results::show))
        .route("/totals", get(words::totals))
        .route("/words", get(words::list))
        .route("/words/zipf", get(words::zipf))
        .route("/word", get(words::word))
        .route("/word/documents", get(words::documents))
        .route("/queue", get(queue::status))
        .route("/queue/dead-letters", get(queue::dead_letters))
        .route("/queue/redrive", post(queue::redrive))
        .route("/queue/purge", post(queue::purge))
        .route("/fleet", get(fleet::status))
        .route("/fleet/bounds", put(fleet::set_bounds))
        .route("/fleet/activities", get(fleet::activities))
        .route("/fleet/alarms", get(fleet::alarms))
        .route("/fleet/alarms/history", get(fleet::alarm_history))
        .route("/fleet/metrics", get(fleet::metrics))
        .route("/events", get(events::events))
        .route("/openapi.json", get(description::describe))
        .merge(subscriptions::router())
        .fallback(|| async {
            Problem::not_found("there is nothing at this path: /api/v1/openapi.json lists what there is")
        });
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .nest("/api/v1", api)
        .merge(super::page::router())
        .method_not_allowed_fallback(input::wrong_method)
        // Everything else is a bucket's or an object's path, and S3 says what is wrong with it.
        .fallback(move |request: Request| async move { s3.answer(request).await })
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
        .with_state(app)
}
