//! The session of a browser: a token is shown once, and a cookie stands for it from then on.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HeaderMap, SET_COOKIE};
use serde::{Deserialize, Serialize};

use super::input::Body;
use crate::server::access::{By, COOKIE_NAME, SESSION_LASTS};
use crate::server::problem::Problem;
use crate::server::{App, Peer};

/// A token to sign in with.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct SignIn {
    token: String,
}

/// Who is signed in.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Session {
    /// Whether requests are answered as they come now.
    authenticated: bool,
    /// What they may do: read, write or admin.
    scope: Option<String>,
    /// What a page sends as `X-CSRF-Token` with each request that changes something.
    csrf: Option<String>,
    /// Whether anyone needs a token.
    tokens_required: bool,
    /// The server's version.
    version: &'static str,
}

/// Tells who is signed in.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/session", tag = "session", security(()), responses((status = 200, body = Session))))]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<Session>, Problem> {
    let caller = match app.access.caller(&headers, Some(peer)) {
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => None,
        caller => caller?,
    };
    Ok(Json(Session {
        authenticated: caller.is_some(),
        scope: caller.as_ref().map(|caller| caller.scope.to_string()),
        csrf: caller.and_then(|caller| match caller.by {
            By::Session { csrf } => Some(csrf),
            By::Loopback | By::Token(_) => None,
        }),
        tokens_required: app.access.tokens_required(),
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// Signs a browser in.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/session", tag = "session", security(()), request_body = SignIn, responses(
    (status = 200, body = Session, headers(("Set-Cookie" = String, description = "The session"))),
)))]
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    Body(SignIn { token }): Body<SignIn>,
) -> Result<Response, Problem> {
    let known = app.access.token(token.trim()).ok_or_else(|| {
        Problem::unauthorized(
            "the token is not known here, or was revoked: `wordfreq token create` makes one",
        )
    })?;
    let (text, csrf) = app.access.begin_session(&known)?;
    let secure = if app.is_encrypted { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE_NAME}={text}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        SESSION_LASTS.as_secs()
    );
    let session = Session {
        authenticated: true,
        scope: Some(known.scope.to_string()),
        csrf: Some(csrf),
        tokens_required: app.access.tokens_required(),
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(([(SET_COOKIE, cookie)], Json(session)).into_response())
}

/// Signs a browser out.
#[cfg_attr(test, utoipa::path(delete, path = "/api/v1/session", tag = "session", security(()), responses(
    (status = 204, description = "It is signed out"),
)))]
pub(super) async fn end(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    app.access.end_session(&headers);
    let gone = format!("{COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (StatusCode::NO_CONTENT, [(SET_COOKIE, gone)]).into_response()
}
