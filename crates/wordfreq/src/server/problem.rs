//! The one shape of an error: RFC 9457. Not here: S3's errors, which are XML.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use wordfreq_pipeline::{BackendError, ErrorKind};

use super::paced::TooSlow;

/// What went wrong with a request, and the mend.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

/// `application/problem+json`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ProblemDetails {
    /// Which kind of problem, such as `urn:wordfreq:error:not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What its status means.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What it is about, and the mend.
    pub detail: String,
}

impl Problem {
    /// A problem of a kind, which is a few lower-case words joined by `-`.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), header: None }
    }

    /// What was asked for is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// What was asked makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// Who asks is not known.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        let header = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"wordfreq\""));
        Self { header: Some(header), ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail) }
    }

    /// Who asks is known, and may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// The body cannot be read to its end.
    pub fn of_body(error: &(dyn std::error::Error + 'static)) -> Self {
        match TooSlow::of(error) {
            Some(slow) => {
                let detail = format!("{slow} (`server.min_body_rate`): send it again");
                Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail)
            }
            None => Self::bad_request(format!("the body ended early: {error}")),
        }
    }

    /// Too many requests from one address.
    pub fn too_many_requests(wait: Duration) -> Self {
        let detail = "there are too many requests from this address: ask less often (`server.rate`)";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail).retry_after(wait)
    }

    /// The server has a fault; its log says which.
    pub fn internal() -> Self {
        let detail = "the server failed at this request: its log tells why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.header = Some((RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1))));
        self
    }

    /// The status of its answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What it is about.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<BackendError> for Problem {
    /// What the data directory says. Where it is not the asker's fault the log has it too.
    fn from(error: BackendError) -> Self {
        let detail = error.to_string();
        match error.kind() {
            ErrorKind::NotFound => Self::not_found(detail),
            ErrorKind::Invalid => Self::bad_request(detail),
            ErrorKind::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(Duration::from_secs(1))
            }
            ErrorKind::Full => {
                tracing::error!(%error, "the disk is full");
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", detail)
            }
            _ => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, kind, detail, header } = self;
        let details = ProblemDetails {
            kind: format!("urn:wordfreq:error:{kind}"),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail,
        };
        let mut response = (status, axum::Json(details)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(header);
        response
    }
}
