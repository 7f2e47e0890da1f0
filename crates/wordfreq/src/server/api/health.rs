//! Whether the process answers, and whether it can do its work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use wordfreq_pipeline::embedded::Embedded;

use crate::server::App;
use crate::server::problem::Problem;

/// The scaler sees to its fleet every second; so long without is too long.
const SCALER_WITHIN: Duration = Duration::from_secs(30);

/// Anyone may ask, as often as they like; the disk is not.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// What was found, and when.
pub(in crate::server) type LastLook = Mutex<Option<(Instant, Vec<String>)>>;

/// What stands in the way. Anyone may read it, so the log alone tells why.
fn look(embedded: &Embedded) -> Vec<String> {
    let database = embedded.access.tokens().map(drop);
    // Dropping it takes it back.
    let disk = embedded.bucket.stage(&mut &b"ready?"[..]).map(drop);
    [("the database does not answer", database), ("the disk cannot be written", disk)]
        .into_iter()
        .filter_map(|(reason, found)| {
            let error = found.err()?;
            tracing::error!(%error, reason, "not ready");
            Some(reason.to_owned())
        })
        .collect()
}

/// The process answers.
#[cfg_attr(test, utoipa::path(get, path = "/healthz", tag = "health", security(()), responses(
    (status = 200, body = String, content_type = "text/plain"),
)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether everything is there that documents need.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Readiness {
    /// It is: what is not ready answers 503.
    ready: bool,
}

/// Whether documents can be taken and counted: the database answers, the disk can be written, the scaler is alive.
#[cfg_attr(test, utoipa::path(get, path = "/readyz", tag = "health", security(()), responses((status = 200, body = Readiness))))]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Readiness>, Problem> {
    let mut known = app.readiness.lock().await;
    let mut reasons = match &*known {
        Some((at, reasons)) if at.elapsed() < KNOWN_FOR => reasons.clone(),
        _ => {
            let reasons = app.blocking(|embedded| Ok(look(embedded))).await?;
            *known = Some((Instant::now(), reasons.clone()));
            reasons
        }
    };
    drop(known);
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
