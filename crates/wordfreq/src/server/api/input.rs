//! What a request says, read and checked. Whatever is wrong with it is answered in the one shape of errors.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::IntoResponse as _;
use http::StatusCode;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use wordfreq_pipeline::DocumentId;

use crate::server::paced::TooSlow;
use crate::server::problem::Problem;

/// The query of a request.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        params(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// What a query says.
pub(super) fn params<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    // A name that is not UTF-8 must not become another name.
    if percent_decode_str(query).decode_utf8().is_err() {
        return Err(Problem::bad_request("the query must be UTF-8, percent-encoded"));
    }
    let uri = format!("/?{query}").parse().map_err(|_| Problem::bad_request("the query makes no sense"))?;
    match Query::try_from_uri(&uri) {
        Ok(Query(params)) => Ok(params),
        Err(rejection) => Err(Problem::bad_request(format!(
            "{}: /api/v1/openapi.json describes what may be asked",
            rejection.body_text()
        ))),
    }
}

/// The body of a request, which is JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => {
                let text = rejection.body_text();
                Err(match &rejection {
                    JsonRejection::MissingJsonContentType(_) => Problem::new(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        "unsupported-media-type",
                        "the body must be JSON: say so with `Content-Type: application/json`",
                    ),
                    JsonRejection::JsonDataError(_) => {
                        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", text)
                    }
                    JsonRejection::BytesRejection(unread) if TooSlow::of(unread).is_some() => {
                        Problem::of_body(unread)
                    }
                    _ => match rejection.into_response().status() {
                        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            "too-large",
                            "the body is longer than 2 MiB: send less at a time",
                        ),
                        _ => Problem::bad_request(text),
                    },
                })
            }
        }
    }
}

/// A document's name.
pub(super) fn document_id(bucket: &str, key: &str) -> Result<DocumentId, Problem> {
    Ok(DocumentId::new(bucket, key)?)
}

/// `/api/v1/...` by a method that is not for it.
pub(super) async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this path does not take this method: /api/v1/openapi.json lists those it takes",
    )
}
