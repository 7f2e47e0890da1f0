//! SQS requests of up to ten entries, each of which succeeds or fails by itself although the answer is a 200. What
//! failed and may pass is sent again; the rest is told. Not here: what the entries mean.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageAttributeValue, SendMessageBatchRequestEntry,
};
use wordfreq_pipeline::{BackendError, ErrorKind};

use crate::connection::Connection;
use crate::error::failed;

/// Entries of one request, by SQS's limit.
pub(crate) const MAX_ENTRIES: usize = 10;

/// Of one message with its attributes (SQS: 1 MiB).
pub(crate) const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Of all messages of one request, unless one alone is larger. SQS allows 1 MiB, but a queue may be set to less, and
/// services that speak its protocol still have the 256 KiB of before August 2025.
pub(crate) const MAX_BATCH_BYTES: usize = 256 * 1024;

/// How often entries that failed for no fault of ours are sent, and the pause after the first time; it doubles.
const MAX_ROUNDS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Of one try to change visibilities.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(5);

/// A message to send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) body: String,
    pub(crate) delay_seconds: i32,
    pub(crate) attributes: Vec<(&'static str, String)>,
}

impl Entry {
    /// As SQS counts them.
    pub(crate) fn bytes(&self) -> usize {
        let attributes = self.attributes.iter();
        self.body.len()
            + attributes.map(|(name, value)| name.len() + value.len() + "String".len()).sum::<usize>()
    }
}

/// One entry that was refused for good.
struct Refused {
    index: usize,
    code: String,
    message: String,
}

/// Sends the entries at these indices and gives those that failed; again and again until none may still pass.
async fn until_settled(
    context: &str,
    mut pending: Vec<usize>,
    request: impl AsyncFn(&[usize]) -> Result<Vec<BatchResultErrorEntry>, BackendError>,
) -> Result<Vec<Refused>, BackendError> {
    let mut refused = Vec::new();
    let mut pause = FIRST_PAUSE;
    for round in 1.. {
        let failed = request(&pending).await?;
        let mut again = Vec::new();
        let mut last = None;
        for failure in failed {
            let Some(index) = failure.id().parse().ok().filter(|index| pending.contains(index)) else {
                let text = format!(
                    "cannot {context}: the answer tells of an entry {:?} that was not sent",
                    failure.id()
                );
                return Err(BackendError::new(ErrorKind::Other, text));
            };
            let code = failure.code().to_owned();
            let message = failure.message().unwrap_or_default().to_owned();
            if failure.sender_fault() {
                refused.push(Refused { index, code, message });
            } else {
                again.push(index);
                last = Some((code, message));
            }
        }
        let Some((code, message)) = last else {
            break;
        };
        if round == MAX_ROUNDS {
            let text = format!(
                "cannot {context}: {} of {} entries failed: {code}: {message}",
                again.len(),
                pending.len()
            );
            return Err(BackendError::new(ErrorKind::Busy, text));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        pending = again;
    }
    Ok(refused)
}

fn requests(num_entries: usize, bytes: impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
    let mut requests: Vec<Vec<usize>> = Vec::new();
    let mut request_bytes = 0;
    for index in 0..num_entries {
        let fits = requests.last().is_some_and(|request| {
            request.len() < MAX_ENTRIES && request_bytes + bytes(index) <= MAX_BATCH_BYTES
        });
        if !fits {
            requests.push(Vec::new());
            request_bytes = 0;
        }
        request_bytes += bytes(index);
        requests.last_mut().expect("one was pushed").push(index);
    }
    requests
}

/// The builders of the SDK fail only where a required field is missing, and none is.
fn complete<T>(built: Result<T, aws_sdk_sqs::error::BuildError>) -> Result<T, BackendError> {
    built.map_err(|error| BackendError::new(ErrorKind::Invalid, error.to_string()))
}

/// Sends every message; an error says how many were taken before it.
pub(crate) async fn send(connection: &Connection, url: &str, entries: &[Entry]) -> Result<(), BackendError> {
    let context = format!("send to {url}");
    let mut taken = 0;
    for request in requests(entries.len(), |index| entries[index].bytes()) {
        let num_entries = request.len();
        let refused = until_settled(&context, request, async |indices| {
            let entries = indices.iter().map(|&index| {
                let Entry { body, delay_seconds, attributes } = &entries[index];
                let attributes = attributes.iter().map(|(name, value)| {
                    let value =
                        MessageAttributeValue::builder().data_type("String").string_value(value).build();
                    complete(value).map(|value| ((*name).to_owned(), value))
                });
                let attributes: std::collections::HashMap<_, _> = attributes.collect::<Result<_, _>>()?;
                complete(
                    SendMessageBatchRequestEntry::builder()
                        .id(index.to_string())
                        .message_body(body)
                        .delay_seconds(*delay_seconds)
                        .set_message_attributes((!attributes.is_empty()).then_some(attributes))
                        .build(),
                )
            });
            let entries = entries.collect::<Result<_, _>>()?;
            let sent =
                connection.sqs.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
            sent.map(|sent| sent.failed).map_err(|error| failed(&context, error))
        })
        .await;
        let refused = refused.and_then(|refused| match refused.first() {
            None => Ok(()),
            Some(Refused { index, code, message }) => Err(BackendError::new(
                ErrorKind::Invalid,
                format!("cannot {context}: message {index} is refused: {code}: {message}"),
            )),
        });
        if let Err(error) = refused {
            if taken == 0 {
                return Err(error);
            }
            return Err(BackendError::new(
                error.kind(),
                format!("{error}; {taken} of {} messages were sent", entries.len()),
            ));
        }
        taken += num_entries;
    }
    Ok(())
}

/// Deletes what these receipts stand for. One that SQS does not know any more deletes nothing and is no error.
pub(crate) async fn delete(
    connection: &Connection,
    url: &str,
    receipts: &[&str],
) -> Result<(), BackendError> {
    let context = format!("delete messages from {url}");
    for request in requests(receipts.len(), |_| 0) {
        until_settled(&context, request, async |indices| {
            let entries = indices.iter().map(|&index| {
                complete(
                    DeleteMessageBatchRequestEntry::builder()
                        .id(index.to_string())
                        .receipt_handle(receipts[index])
                        .build(),
                )
            });
            let entries = entries.collect::<Result<_, _>>()?;
            let deleted =
                connection.sqs.delete_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
            deleted.map(|deleted| deleted.failed).map_err(|error| failed(&context, error))
        })
        .await?;
    }
    Ok(())
}

/// Makes each message visible in so many seconds from now. `false` where SQS refuses the receipt.
pub(crate) async fn change_visibility(
    connection: &Connection,
    url: &str,
    changes: &[(&str, i32)],
) -> Result<Vec<bool>, BackendError> {
    let context = format!("change the visibility of messages of {url}");
    let mut changed = vec![true; changes.len()];
    for request in requests(changes.len(), |_| 0) {
        let refused = until_settled(&context, request, async |indices| {
            let entries = indices.iter().map(|&index| {
                complete(
                    ChangeMessageVisibilityBatchRequestEntry::builder()
                        .id(index.to_string())
                        .receipt_handle(changes[index].0)
                        .visibility_timeout(changes[index].1)
                        .build(),
                )
            });
            let entries = entries.collect::<Result<_, _>>()?;
            let request = connection.sqs.change_message_visibility_batch().queue_url(url);
            // A heartbeat must not outlast the lease that it holds.
            let timeouts = TimeoutConfig::builder().operation_attempt_timeout(HEARTBEAT_TIMEOUT).build();
            let config = aws_sdk_sqs::config::Builder::new().timeout_config(timeouts);
            let request = request.set_entries(Some(entries)).customize().config_override(config);
            let answer = request.send().await;
            answer.map(|answer| answer.failed).map_err(|error| failed(&context, error))
        })
        .await?;
        refused.iter().for_each(|refused| changed[refused.index] = false);
    }
    Ok(changed)
}

/// The text with every character that SQS refuses in a message replaced by its escape, as in a JSON string or not.
pub(crate) fn acceptable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                out.push(character)
            }
            refused => out.push_str(&format!("\\u{:04x}", u32::from(refused))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn requests_hold_ten_entries_and_a_quarter_of_a_mebibyte() {
        assert!(requests(0, |_| 0).is_empty());
        let lengths = |requests: Vec<Vec<usize>>| requests.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(requests(25, |_| 1)), [10, 10, 5]);
        assert_eq!(lengths(requests(5, |_| 100 * 1024)), [2, 2, 1]);
        assert_eq!(lengths(requests(3, |_| 1024 * 1024)), [1, 1, 1]);
        assert_eq!(requests(21, |_| 0).concat(), (0..21).collect::<Vec<_>>());
    }

    fn failure(index: usize, sender_fault: bool) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder()
            .id(index.to_string())
            .sender_fault(sender_fault)
            .code("Code")
            .build()
            .unwrap()
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn only_what_failed_is_sent_again_and_what_is_refused_never() {
        let sent = RefCell::new(Vec::new());
        let refused = block(until_settled("test", vec![0, 1, 2, 3], async |indices| {
            sent.borrow_mut().push(indices.to_vec());
            Ok(match sent.borrow().len() {
                1 => vec![failure(1, false), failure(2, true), failure(3, false)],
                2 => vec![failure(3, false)],
                _ => Vec::new(),
            })
        }));
        assert_eq!(refused.unwrap().iter().map(|refused| refused.index).collect::<Vec<_>>(), [2]);
        assert_eq!(sent.into_inner(), [vec![0, 1, 2, 3], vec![1, 3], vec![3]]);
    }

    #[test]
    fn what_never_passes_is_an_error_that_may_pass_and_a_strange_answer_one_that_does_not() {
        let error = block(until_settled("test", vec![0, 1], async |_| Ok(vec![failure(1, false)])));
        assert_eq!(error.err().unwrap().kind(), ErrorKind::Busy);
        let error = block(until_settled("test", vec![0, 1], async |_| Ok(vec![failure(7, false)])));
        assert_eq!(error.err().unwrap().kind(), ErrorKind::Other);
    }

    #[test]
    fn text_is_made_acceptable_without_loss() {
        assert_eq!(acceptable("plain \u{1F600}\t\n\r\u{7f}"), "plain \u{1F600}\t\n\r\u{7f}");
        assert_eq!(acceptable("\0\u{1b}[2J\u{fffe}\u{ffff}"), "\\u0000\\u001b[2J\\ufffe\\uffff");
    }
}
