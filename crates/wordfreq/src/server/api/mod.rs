//! The API: what it has, and where. Not here: who may do what (`access`), and S3.

mod session;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::App;
use super::problem::Problem;

/// Everything that is not S3's.
pub fn router(app: Arc<App>) -> Router {
    let api = Router::new().route("/session", get(session::show).post(session::begin).delete(session::end));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .nest("/api/v1", api)
        .fallback(|| async {
            Problem::not_found("there is nothing at this path: /api/v1/openapi.json lists what there is")
        })
        .with_state(app)
}
