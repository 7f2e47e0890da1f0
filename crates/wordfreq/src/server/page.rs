//! The page: static files that are part of the program. What it shows it asks the API for, as any other client does; so
//! whoever may not ask sees an empty frame. Not here: the page itself (`crates/wordfreq/page`).

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use sha2::{Digest as _, Sha256};

use super::hex;

/// Nothing but our own files, and nobody's frame. Words and keys are anyone's: should one ever become markup, this keeps it
/// from doing anything.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// One file of the page.
#[derive(Clone, Copy)]
struct File {
    /// Within `crates/wordfreq/page`.
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($content_type:ident: $($path:literal)*;)*) => {
        &[$($(File {
            path: $path,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../../page/", $path)),
        },)*)*]
    };
}

const FILES: &[File] = files! {
    HTML: "index.html";
    CSS: "style.css" "vendor/uPlot.css";
    SVG: "icon.svg";
    TEXT: "vendor/LICENSE-htm" "vendor/LICENSE-preact" "vendor/LICENSE-uPlot" "vendor/README.md";
    JAVASCRIPT:
        "api.js" "cell.js" "format.js" "html.js" "live.js" "main.js" "router.js" "theme.js" "uploads.js"
        "charts/bars.js" "charts/cloud.js" "charts/geometry.js" "charts/plot.js" "charts/samples.js" "charts/timeline.js" "charts/zipf.js"
        "pages/dead_letters.js" "pages/document.js" "pages/documents.js" "pages/fleet.js" "pages/overview.js"
        "pages/sign_in.js" "pages/subscriptions.js" "pages/words.js"
        "parts/announce.js" "parts/basics.js" "parts/confirm.js" "parts/loading.js" "parts/preview.js"
        "parts/search_field.js" "parts/uploader.js" "parts/word_table.js"
        "vendor/htm.js" "vendor/preact-hooks.js" "vendor/preact.js" "vendor/uPlot.js";
};

/// The page at `/`, and its files below `/page/`. It is public: there is nothing in it but the program's own text.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &file| {
        let tag = file.tag();
        let path = if file.path == "index.html" { "/".to_owned() } else { format!("/page/{}", file.path) };
        router.route(&path, get(move |headers: HeaderMap| async move { file.answer_to(&headers, tag) }))
    })
}

impl File {
    /// What names these very bytes: a browser keeps them until the program is another.
    fn tag(self) -> HeaderValue {
        let digest = Sha256::digest(self.bytes);
        HeaderValue::try_from(format!("\"{}\"", hex(&digest[..16])))
            .unwrap_or(HeaderValue::from_static("\"\""))
    }

    fn answer_to(self, headers: &HeaderMap, tag: HeaderValue) -> Response {
        let common: [(HeaderName, HeaderValue); 5] = [
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            // Kept, but asked for each time: after an upgrade nobody sees half of the old page.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (ETAG, tag.clone()),
        ];
        if is_known(headers, &tag) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        (common, [(CONTENT_TYPE, HeaderValue::from_static(self.content_type))], Body::from(self.bytes))
            .into_response()
    }
}

/// Whether the asker has these bytes already, by RFC 9110, section 13.1.2.
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let Ok(tag) = tag.to_str() else { return false };
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn asked(path: &str, known: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(path);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        router::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[test]
    fn every_file_of_the_page_is_part_of_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let there: BTreeSet<String> = walkdir::WalkDir::new(&folder)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().strip_prefix(&folder).unwrap().to_str().unwrap().to_owned())
            .collect();
        let embedded: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(embedded, there);
    }

    /// The policy forbids all of this; so that it is seen here first, and not as a page that does not work.
    #[test]
    fn the_page_asks_for_nothing_from_elsewhere_and_has_nothing_inline() {
        for file in FILES.iter().filter(|file| !file.path.starts_with("vendor/")) {
            let text = str::from_utf8(file.bytes).unwrap();
            let foreign = text.matches("://").count();
            let names = text.matches("http://www.w3.org/2000/svg").count() + text.matches("'://'").count();
            let shown = text.matches("https://example.org/hook").count();
            assert_eq!(foreign, names + shown, "{} names another host", file.path);
            for inline in
                [" style=\"", "<style", "javascript:", "innerHTML", "dangerouslySetInnerHTML", "eval("]
            {
                assert!(!text.contains(inline), "{} has {inline}", file.path);
            }
            assert!(!text.contains("<script>"), "{} has an inline script", file.path);
        }
    }

    #[tokio::test]
    async fn each_file_comes_with_its_type_and_the_policy() {
        for file in FILES {
            let path =
                if file.path == "index.html" { "/".to_owned() } else { format!("/page/{}", file.path) };
            let response = asked(&path, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let headers = response.headers();
            assert_eq!(headers[CONTENT_TYPE], file.content_type, "{path}");
            assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY, "{path}");
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        }
    }

    #[tokio::test]
    async fn who_has_a_file_already_is_told_so() {
        let tag = asked("/", None).await.headers()[ETAG].clone();
        assert_eq!(asked("/", Some(&tag)).await.status(), StatusCode::NOT_MODIFIED);
        let other = HeaderValue::from_static("\"0123\"");
        assert_eq!(asked("/", Some(&other)).await.status(), StatusCode::OK);
    }
}
