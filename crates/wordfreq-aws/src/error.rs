//! From what the SDKs say to the one error of the ports. The kind decides what a worker does: `Busy` is tried again,
//! anything else is for a person. Not here: what a missing or forbidden *object* means (`objects`).

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use wordfreq_pipeline::{BackendError, ErrorKind};

/// The codes by which the services say "not so fast" or "not in time", whatever status they come with.
const THROTTLING: [&str; 14] = [
    "BandwidthLimitExceeded",
    "KmsThrottled",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "RequestTimeoutException",
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
        // An answer that was cut off is none.
        let is_answer = match error {
            SdkError::ServiceError(_) => true,
            SdkError::ResponseError(_) => {
                error.raw_response().is_some_and(|answer| answer.status().as_u16() >= 400)
            }
            _ => false,
        };
        if !is_answer {
            return None;
        }
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
        // Only this is an item's own fault: any other is the table's, and every document's.
        "ValidationException" if refusal.message.contains("Item size") => ErrorKind::Invalid,
        "InvalidMessageContents" | "InvalidParameterValue" => ErrorKind::Invalid,
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
