//! Whether the process answers, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use crate::server::App;
use crate::server::problem::Problem;

/// The scaler sees to its fleet every second; so long without is too long.
const SCALER_WITHIN: Duration = Duration::from_secs(30);

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses(
    (status = 200, body = String, content_type = "text/plain"),
))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether everything is there that documents need.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Readiness {
    /// It is: what is not ready answers 503.
    ready: bool,
}

/// Whether documents can be taken and counted: the database answers, the disk can be written, the scaler is alive.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses((status = 200, body = Readiness)))]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Readiness>, Problem> {
    let mut reasons = app
        .blocking(|embedded| {
            let database = embedded.catalogue.queue().map(drop);
            // Dropping it takes it back.
            let disk = embedded.bucket.stage(&mut &b"ready?"[..]).map(drop);
            let failed = [database, disk].into_iter().filter_map(Result::err);
            Ok(failed.map(|error| error.to_string()).collect::<Vec<_>>())
        })
        .await?;
    match app.waker.since_last_pass() {
        None => reasons.push("the fleet has not begun yet".to_owned()),
        Some(since) if since >= SCALER_WITHIN => {
            reasons.push(format!("nobody has seen to the fleet for {} s", since.as_secs()));
        }
        Some(_) => {}
    }
    if reasons.is_empty() {
        return Ok(Json(Readiness { ready: true }));
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", reasons.join("; "))
        .retry_after(Duration::from_secs(1)))
}
