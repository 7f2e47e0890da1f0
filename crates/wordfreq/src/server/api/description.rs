//! The description of the API in OpenAPI, as a file. That it is made from the code is what its test sees to, so that who
//! builds wordfreq need not build what makes it.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

#[cfg(test)]
mod tests;

const DESCRIPTION: &str = include_str!("openapi.json");

/// This description.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", security(()), responses(
    (status = 200, body = Object),
)))]
pub(super) async fn describe() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}
