//! The S3 endpoint: buckets and objects for any client of S3, by keys of the data directory. It stands on s3s, which reads
//! requests, checks their signatures and writes answers; what it leaves open is refused before it (`guard`).
//!
//! Here: what comes in and goes out, who may do what, and which errors become which codes. Not here: how objects are kept
//! (`embedded`), and listening. docs/s3.md says what is supported, and what is not.

mod body;
mod buckets;
mod checksum;
mod guard;
mod objects;
mod operations;
mod ranges;
mod uploads;
mod xml;

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::response::IntoResponse as _;
use futures_util::TryStreamExt as _;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use tokio::sync::oneshot::error::RecvError;
use wordfreq_pipeline::embedded::{Answer, Bucket, Embedded, Refused, Scope};
use wordfreq_pipeline::{BackendError, DocumentId, ErrorKind};

use super::{App, elsewhere};
use body::Intake;
use ranges::Unranged;
use xml::Fault;

/// Who owns everything, as S3 wants it told.
const OWNER: &str = "wordfreq";

/// The service.
#[derive(Clone)]
pub struct S3 {
    service: S3Service,
}

impl S3 {
    /// Over the data directory of `app`, for those with a key of it.
    pub fn new(app: Arc<App>) -> Self {
        let store = Store { app: app.clone(), intake: Arc::new(Intake::new()) };
        let mut config = S3Config::default();
        config.xml_max_body_size = guard::MAX_XML_BYTES;
        let config = Arc::new(StaticConfigProvider::new(Arc::new(config)));
        let builder = || {
            let mut builder = S3ServiceBuilder::new(store.clone());
            builder.set_auth(Keys(app.clone()));
            builder.set_access(Keys(app.clone()));
            builder.set_config(config.clone());
            builder
        };
        let mut whole = builder();
        whole.set_route(Unranged { service: builder().build() });
        Self { service: whole.build() }
    }

    /// Answers a request, however it is signed.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut response = match self.try_to_answer(request).await {
            Ok(response) => {
                let mut response = with_references(response).map(Body::new);
                if let Some(InPlace(status)) = response.extensions().get() {
                    *response.status_mut() = *status;
                }
                response
            }
            Err(error) => {
                tracing::error!(error, "a request to S3 cannot be answered");
                let mut response = Response::new(Body::empty());
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        };
        // What is stored may be a page, and comes from where the dashboard does: it must not act in its name.
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn try_to_answer(&self, request: Request<Body>) -> Result<Response<s3s::Body>, String> {
        let refuse = |refused: S3Error| refused.to_http_response().map_err(|error| error.to_string());
        let (parts, body) = request.into_parts();
        if let Err(refused) = guard::check(&parts.method, &parts.uri, &parts.headers) {
            return refuse(refused);
        }
        let fault = Fault::default();
        let is_xml = guard::is_xml(&parts.method, &parts.uri);
        let body = if body.is_end_stream() {
            // Of what only asks, s3s does not care.
            if is_xml
                && [Method::POST, Method::PUT].contains(&parts.method)
                && let Err(refused) = xml::Incoming::check_nothing(&parts)
            {
                return refuse(refused);
            }
            // To s3s this is not the same as one whose length nobody knows.
            s3s::Body::empty()
        } else if is_xml {
            match xml::Incoming::new(body.into_data_stream(), &parts, fault.clone()) {
                Ok(body) => s3s::Body::http_body_unsync(StreamBody::new(body.map_ok(Frame::data))),
                Err(refused) => return refuse(refused),
            }
        } else if guard::is_chunked(&parts.headers) {
            let chunks = guard::Chunks::new(body.into_data_stream());
            s3s::Body::http_body_unsync(StreamBody::new(chunks.map_ok(Frame::data)))
        } else {
            s3s::Body::http_body_unsync(body)
        };
        let answered = self.service.call(Request::from_parts(parts, body)).await;
        match fault.take() {
            Some(fault) => refuse(fault),
            None => answered.map_err(|error| format!("{error:?}")),
        }
    }
}

/// What an answer carries that has another status than s3s gives it.
#[derive(Clone, Copy)]
struct InPlace(http::StatusCode);

/// What an answer carries whose body is an object: it goes out as it is.
#[derive(Clone)]
struct Verbatim;

/// An answer whose XML can be read.
fn with_references(response: Response<s3s::Body>) -> Response<s3s::Body> {
    let is_xml = response.headers().get(CONTENT_TYPE).is_some_and(|media| media == "application/xml");
    if !is_xml || response.extensions().get::<Verbatim>().is_some() {
        return response;
    }
    let written =
        response.body().bytes().and_then(|xml| xml::with_references(std::str::from_utf8(&xml).ok()?));
    match written {
        Some(written) => response.map(|_as_it_was| s3s::Body::from(written)),
        None => response,
    }
}

/// What S3 answers who asks too often.
pub(super) fn slow_down() -> Response<Body> {
    let error = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
        <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    let headers = [(CONTENT_TYPE, "application/xml"), (RETRY_AFTER, "1")];
    (http::StatusCode::SERVICE_UNAVAILABLE, headers, error).into_response()
}

/// What the operations work on.
#[derive(Clone)]
struct Store {
    app: Arc<App>,
    intake: Arc<Intake>,
}

impl Store {
    fn bucket(&self) -> &Bucket {
        &self.app.embedded.bucket
    }

    /// Does what blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Embedded) -> Result<T, BackendError> + Send + 'static,
    ) -> S3Result<T> {
        let embedded = self.app.embedded.clone();
        elsewhere(move || work(&embedded)).await.map_err(panicked)?.map_err(failed)
    }

    /// The same, of what may be refused.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Embedded) -> Answer<T> + Send + 'static,
    ) -> S3Result<T> {
        self.blocking(work).await?.map_err(refused)
    }

    /// Asks for a change, and waits until it is durable.
    async fn change<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Bucket, Box<dyn FnOnce(Answer<T>) + Send>),
    ) -> S3Result<T> {
        self.app.change(ask).await.map_err(failed)?.map_err(refused)
    }

    /// Refuses while too many messages wait.
    async fn check_backlog(&self) -> S3Result<()> {
        self.app.admit().await.map_err(|refused| s3_error!(SlowDown, "{}", refused.detail()))
    }
}

/// By which key a request was signed whose signature was checked and taken off.
#[derive(Clone)]
struct SignedBy(String);

/// The keys of the data directory.
struct Keys(Arc<App>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.access.s3_key(access_key) {
            Some(key) => Ok(SecretKey::from(key.secret)),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "this access key id is not known here: `wordfreq key create` makes one"
            )),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Keys {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let checked_before = context.extensions_mut().get::<SignedBy>().map(|SignedBy(key)| key.clone());
        let by = context.credentials().map(|credentials| credentials.access_key.clone()).or(checked_before);
        let by = by.ok_or_else(|| s3_error!(AccessDenied, "the request is not signed"))?;
        let key = self.0.access.s3_key(&by);
        let held = key.map(|key| key.credential.scope);
        let needed = scope_of(context.s3_op().name());
        if held.is_none_or(|held| held < needed) {
            return Err(s3_error!(AccessDenied, "this needs a key with the scope {needed}"));
        }
        refuse_unsupported(context.headers())?;
        if let S3Path::Object { bucket, key } = context.s3_path() {
            DocumentId::new(&**bucket, &**key).map_err(failed)?;
        }
        Ok(())
    }
}

/// What an operation needs; what is not known here is not supported, and so needs the most.
fn scope_of(operation: &str) -> Scope {
    match operation {
        "ListBuckets"
        | "HeadBucket"
        | "GetBucketLocation"
        | "GetObject"
        | "HeadObject"
        | "GetObjectAttributes"
        | "ListObjects"
        | "ListObjectsV2"
        | "ListObjectVersions"
        | "GetBucketVersioning"
        | "ListParts"
        | "ListMultipartUploads" => Scope::Read,
        "PutObject"
        | "CopyObject"
        | "DeleteObject"
        | "DeleteObjects"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload" => Scope::Write,
        _ => Scope::Admin,
    }
}

/// What a client must not believe to have got: encryption, locks, tags, rights of others, other storage.
const UNSUPPORTED: [&str; 7] = [
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock",
    "x-amz-bucket-object-lock",
    "x-amz-tagging",
    "x-amz-grant-",
    "x-amz-website-redirect-location",
];

fn refuse_unsupported(headers: &HeaderMap) -> S3Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        let is_unsupported = UNSUPPORTED.iter().any(|prefix| name.starts_with(prefix))
            || (name == "x-amz-acl" && value != "private" && value != "bucket-owner-full-control")
            || (name == "x-amz-storage-class" && value != "STANDARD");
        if is_unsupported {
            return Err(s3_error!(
                NotImplemented,
                "{name}: {} is not supported",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        if name == "x-amz-expected-bucket-owner" && value != OWNER {
            return Err(s3_error!(AccessDenied, "the owner of every bucket is {OWNER}"));
        }
    }
    Ok(())
}

fn refused(refused: Refused) -> S3Error {
    let code = match refused {
        Refused::NoSuchBucket => S3ErrorCode::NoSuchBucket,
        Refused::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
        Refused::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
        Refused::NoSuchKey => S3ErrorCode::NoSuchKey,
        Refused::PreconditionFailed => S3ErrorCode::PreconditionFailed,
        Refused::NoSuchUpload => S3ErrorCode::NoSuchUpload,
        Refused::InvalidPart => S3ErrorCode::InvalidPart,
        Refused::Keeps => S3ErrorCode::InvalidRequest,
    };
    S3Error::with_message(code, refused.to_string())
}

fn failed(error: BackendError) -> S3Error {
    let code = match error.kind() {
        ErrorKind::Busy => S3ErrorCode::SlowDown,
        ErrorKind::Full | ErrorKind::ReadOnly => S3ErrorCode::ServiceUnavailable,
        ErrorKind::Invalid => S3ErrorCode::InvalidArgument,
        ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Other => S3ErrorCode::InternalError,
    };
    if code != S3ErrorCode::InvalidArgument {
        tracing::warn!(%error, "a request to S3 failed");
    }
    S3Error::with_message(code, error.to_string())
}

fn panicked(_dropped: RecvError) -> S3Error {
    tracing::error!("a request to S3 ended in a panic");
    s3_error!(InternalError)
}

/// The name of an object.
fn named(bucket: &str, key: &str) -> S3Result<DocumentId> {
    DocumentId::new(bucket, key).map_err(failed)
}
