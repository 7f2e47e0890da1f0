//! From what the SDKs say to the one error of the ports. The kind decides what a worker does: `Busy` is tried again,
//! anything else is for a person. Not here: what a missing or forbidden *object* means (`objects`).

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use wordfreq_pipeline::{BackendError, ErrorKind};

/// The codes by which the services say "not so fast", whatever status they come with.
const THROTTLING: [&str; 12] = [
    "BandwidthLimitExceeded",
    "KmsThrottled",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// What a service answered, as far as anyone branches on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    /// The answer in an error; `None` if none arrived.
    pub(crate) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<Self> {
        let (SdkError::ServiceError(_) | SdkError::ResponseError(_)) = error else {
            return None;
        };
        let metadata = error.as_service_error().map(ProvideErrorMetadata::meta);
        Some(Self {
            status: error.raw_response().map_or(0, |response| response.status().as_u16()),
            code: metadata.and_then(|metadata| metadata.code()).unwrap_or_default().to_owned(),
            message: metadata.and_then(|metadata| metadata.message()).unwrap_or_default().to_owned(),
        })
    }

    fn may_pass(&self) -> bool {
        self.status >= 500 || self.status == 429 || THROTTLING.contains(&self.code.as_str())
    }
}

/// The port's error for a request that failed while doing `context`.
pub(crate) fn failed<E>(context: &str, error: SdkError<E, HttpResponse>) -> BackendError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let Some(refusal) = Refusal::of(&error) else {
        // Not sent, cut off or timed out: nothing says that it will stay so.
        let kind = if matches!(error, SdkError::ConstructionFailure(_)) {
            ErrorKind::Invalid
        } else {
            ErrorKind::Busy
        };
        return BackendError::new(kind, format!("cannot {context}: {}", causes(&error)));
    };
    let kind = match &*refusal.code {
        _ if refusal.may_pass() => ErrorKind::Busy,
        "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist" | "ResourceNotFoundException" => {
            ErrorKind::NotFound
        }
        "ValidationException" | "InvalidMessageContents" | "InvalidParameterValue" => ErrorKind::Invalid,
        _ => ErrorKind::Other,
    };
    let Refusal { status, code, message } = refusal;
    let code = if code.is_empty() { format!("status {status}") } else { code };
    let separator = if message.is_empty() { "" } else { ": " };
    BackendError::new(kind, format!("cannot {context}: {code}{separator}{message}"))
}

/// An error and what it was caused by, which the SDK's errors keep to themselves.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let this = error.to_string();
        if !text.ends_with(&this) {
            text.push_str(": ");
            text.push_str(&this);
        }
        cause = error.source();
    }
    text
}
