//! [`Queue`] on SQS. Receives and settles in tens, waits in long polls, and moves what is given up to the queue's
//! dead-letter queue together with its reason, which SQS's own move cannot do. Not here: what a message means
//! (`notification`), and sending what was counted (`result_queue`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName, QueueAttributeName};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle};
use wordfreq_pipeline::queue::{DeadLetter, Depth, Message, Outgoing, Queue, Receipt, Redrive};
use wordfreq_pipeline::{BackendError, Drain, ErrorKind, Timestamp, failpoint};

use crate::batch::{self, Entry, MAX_MESSAGE_BYTES, acceptable};
use crate::connection::Connection;
use crate::error::failed;
use crate::leases::Leases;

/// The longest a message without a dead-letter queue to go to is put out of the way.
const LONGEST_PARKING: Duration = Duration::from_secs(43_000);

/// Receives after which a message is given up where the queue does not say.
const DEFAULT_MAX_RECEIVE_COUNT: u32 = 5;

/// How long dead letters are held while they are looked through.
const LOOK_SECONDS: i32 = 120;
/// How long to wait for the next ones; a short poll asks a few of SQS's servers only and may miss some.
const LOOK_WAIT_SECONDS: i32 = 2;

/// What is kept beside the body of a dead letter.
const REASON: &str = "WordfreqReason";
const RECEIVE_COUNT: &str = "WordfreqReceiveCount";
const SENT_AT: &str = "WordfreqSentAt";
const DIED_AT: &str = "WordfreqDiedAt";
const ATTRIBUTES: [&str; 4] = [REASON, RECEIVE_COUNT, SENT_AT, DIED_AT];

/// A queue and its dead-letter queue.
#[derive(Debug)]
pub struct SqsQueue {
    connection: Arc<Connection>,
    url: String,
    dead_letter_url: Option<String>,
    max_receive_count: u32,
    leases: Arc<Leases>,
    /// One long poll at a time is enough for all workers of a process; each costs money even when nothing comes.
    polling: Mutex<()>,
    /// The poll that was under way when a drain began.
    interrupted: Mutex<Option<Poll>>,
}

type Poll = JoinHandle<Result<Vec<Seen>, BackendError>>;

/// A receive's messages with what only SQS knows of them.
#[derive(Debug)]
struct Seen {
    message: Message,
    attributes: HashMap<String, String>,
}

impl SqsQueue {
    /// Asks the queue about its dead-letter queue and its maximum of receives, and remembers both.
    ///
    /// # Errors
    /// `NotFound` if there is no such queue; `Invalid` if its redrive policy cannot be read.
    pub fn open(connection: Arc<Connection>, url: &str, leases: Arc<Leases>) -> Result<Self, BackendError> {
        let attributes =
            connection.wait(attributes(&connection, url, &[QueueAttributeName::RedrivePolicy]))?;
        let policy =
            attributes.get(&QueueAttributeName::RedrivePolicy).map(|policy| redrive_policy(url, policy));
        let (dead_letter_url, max_receive_count) = match policy.transpose()? {
            Some((dead_letter_url, max_receive_count)) => (Some(dead_letter_url), max_receive_count),
            None => (None, DEFAULT_MAX_RECEIVE_COUNT),
        };
        Ok(Self {
            connection,
            url: url.to_owned(),
            dead_letter_url,
            max_receive_count,
            leases,
            polling: Mutex::default(),
            interrupted: Mutex::default(),
        })
    }

    /// Receives after which SQS gives a message up.
    pub fn max_receive_count(&self) -> u32 {
        self.max_receive_count
    }

    /// Whether there is anywhere for a message to be given up to.
    pub fn has_dead_letters(&self) -> bool {
        self.dead_letter_url.is_some()
    }

    fn dead_letter_url(&self) -> Result<&str, BackendError> {
        self.dead_letter_url.as_deref().ok_or_else(|| {
            BackendError::new(
                ErrorKind::Invalid,
                format!(
                    "{} has no dead-letter queue: give it a redrive policy, or make a queue with `wordfreq aws bootstrap`",
                    self.url
                ),
            )
        })
    }

    /// Waits for the poll that a drain interrupted, at most as long as a poll lasts, and gives back what it brought.
    /// SQS goes on with a poll whose caller is gone, and would hide that until its lease would have ended.
    ///
    /// # Errors
    /// Those of the service; what was not given back comes again when its lease would have ended.
    pub fn end_poll(&self) -> Result<(), BackendError> {
        let Some(poll) = self.interrupted.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        self.connection.wait(async {
            let brought = poll.await.map_err(|error| stopped(&self.url, &error))??;
            self.let_go(&self.url, &brought).await
        })
    }

    /// Holds every dead letter there is, or `limit` of them, and hands them over with their receipts; they come back
    /// when their time is up, or by `let_go`.
    async fn hold_dead_letters(&self, url: &str, limit: usize) -> Result<Vec<Seen>, BackendError> {
        let mut held: Vec<Seen> = Vec::new();
        let mut extended = Instant::now();
        while held.len() < limit {
            let found =
                receive(&self.connection, url, limit - held.len(), LOOK_SECONDS, LOOK_WAIT_SECONDS).await;
            let found = match found {
                Ok(found) if found.is_empty() => break,
                Ok(found) => found,
                Err(error) => {
                    self.let_go(url, &held).await?;
                    return Err(error);
                }
            };
            held.extend(found);
            // However many there are, the first must not come back before the last is seen.
            if extended.elapsed() > Duration::from_secs(LOOK_SECONDS as u64 / 3) {
                self.hide(url, &held, LOOK_SECONDS).await?;
                extended = Instant::now();
            }
        }
        Ok(held)
    }

    async fn hide(&self, url: &str, held: &[Seen], seconds: i32) -> Result<(), BackendError> {
        let changes: Vec<_> = held.iter().map(|seen| (seen.message.receipt.0.as_str(), seconds)).collect();
        batch::change_visibility(&self.connection, url, &changes).await.map(|_| ())
    }

    async fn let_go(&self, url: &str, held: &[Seen]) -> Result<(), BackendError> {
        self.hide(url, held, 0).await
    }

    /// Sends these back, each before it is deleted: an end in between doubles some, and loses none.
    async fn send_back(&self, url: &str, letters: &[Seen]) -> Result<(), BackendError> {
        for ten in letters.chunks(batch::MAX_ENTRIES) {
            let entries: Vec<_> = ten
                .iter()
                .map(|seen| Entry { body: seen.message.body.clone(), ..Entry::default() })
                .collect();
            batch::send(&self.connection, &self.url, &entries).await?;
            let receipts: Vec<_> = ten.iter().map(|seen| &*seen.message.receipt.0).collect();
            batch::delete(&self.connection, url, &receipts).await?;
        }
        Ok(())
    }
}

impl Queue for SqsQueue {
    fn send(&self, messages: &[Outgoing]) -> Result<(), BackendError> {
        let entries: Vec<_> = messages.iter().map(entry).collect::<Result<_, _>>()?;
        self.connection.wait(batch::send(&self.connection, &self.url, &entries))
    }

    fn receive(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
        drain: &Drain,
    ) -> Result<Vec<Message>, BackendError> {
        let drained = Arc::new(Notify::new());
        let _wakes_on_drain = drain.on_request({
            let drained = drained.clone();
            move || drained.notify_one()
        });
        // Whoever polls ends early on a drain, and so frees those who wait for their turn.
        let _turn = self.polling.lock().unwrap_or_else(PoisonError::into_inner);
        if drain.requested() || max == 0 {
            return Ok(Vec::new());
        }
        let (connection, url) = (self.connection.clone(), self.url.clone());
        let (hidden, wait) = (seconds(lease), seconds(wait).min(20));
        let mut poll =
            self.connection.spawn(async move { receive(&connection, &url, max, hidden, wait).await });
        let received = self.connection.wait(async {
            tokio::select! {
                received = &mut poll => Some(received),
                () = drained.notified() => None,
            }
        });
        let Some(received) = received else {
            *self.interrupted.lock().unwrap_or_else(PoisonError::into_inner) = Some(poll);
            return Ok(Vec::new());
        };
        let received = received.map_err(|error| stopped(&self.url, &error))??;
        let now = Instant::now();
        let messages = received.into_iter().map(|seen| seen.message);
        Ok(messages.inspect(|message| self.leases.begin(message, lease, now)).collect())
    }

    fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<bool>, BackendError> {
        let now = Instant::now();
        let extendable: Vec<_> =
            receipts.iter().map(|receipt| self.leases.extendable(receipt, lease, now)).collect();
        let changes: Vec<_> = receipts
            .iter()
            .zip(&extendable)
            .filter_map(|(receipt, lease)| Some((receipt.0.as_str(), seconds((*lease)?))))
            .collect();
        let changed =
            self.connection.wait(batch::change_visibility(&self.connection, &self.url, &changes))?;
        let mut changed = changed.into_iter();
        Ok(receipts
            .iter()
            .zip(extendable)
            .map(|(receipt, lease)| {
                let held = lease.is_some() && changed.next() == Some(true);
                match lease {
                    Some(lease) if held => self.leases.extended(receipt, lease, now),
                    _ => self.leases.end(receipt),
                }
                held
            })
            .collect())
    }

    fn ack(&self, receipts: &[Receipt]) -> Result<(), BackendError> {
        let held: Vec<_> = receipts
            .iter()
            .filter(|receipt| self.leases.is_held(receipt))
            .map(|receipt| &*receipt.0)
            .collect();
        let deleted = self.connection.wait(batch::delete(&self.connection, &self.url, &held));
        receipts.iter().for_each(|receipt| self.leases.end(receipt));
        deleted
    }

    fn release(&self, receipt: &Receipt, after: Duration, _reason: Option<&str>) -> Result<(), BackendError> {
        if !self.leases.is_held(receipt) {
            return Ok(());
        }
        self.leases.end(receipt);
        let change = (&*receipt.0, seconds(after));
        let changed =
            self.connection.wait(batch::change_visibility(&self.connection, &self.url, &[change]))?;
        if changed != [true] {
            tracing::warn!(?after, "SQS refuses to give a message back: it comes again when its lease ends");
        }
        Ok(())
    }

    fn dead_letter(&self, receipt: &Receipt, reason: &str) -> Result<(), BackendError> {
        let Some(lease) = self.leases.get(receipt, Instant::now()) else {
            return Ok(());
        };
        let Some(dead_letter_url) = &self.dead_letter_url else {
            tracing::error!(
                message_id = lease.message.id,
                reason,
                "there is no dead-letter queue: the message is put out of the way for 12 hours and stays in the queue"
            );
            // From its receive on, a message can be hidden for 12 hours in all.
            let now = Instant::now();
            let parking = self.leases.extendable(receipt, LONGEST_PARKING, now).unwrap_or_default();
            return self.release(receipt, parking, Some(reason));
        };
        let letter = dead_letter(&lease.message, reason, Timestamp::now());
        failpoint::hit("sqs.before_dead_letter");
        self.connection.wait(async {
            batch::send(&self.connection, dead_letter_url, &[letter]).await?;
            failpoint::hit("sqs.dead_letter_sent");
            // Dies it here, the message comes again and becomes a dead letter once more: twice told, never lost.
            batch::delete(&self.connection, &self.url, &[receipt.0.as_str()]).await
        })?;
        failpoint::hit("sqs.after_dead_letter");
        self.leases.end(receipt);
        Ok(())
    }

    fn depth(&self) -> Result<Depth, BackendError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        };
        let names = [
            ApproximateNumberOfMessages,
            ApproximateNumberOfMessagesNotVisible,
            ApproximateNumberOfMessagesDelayed,
        ];
        let numbers = async |url: &str| {
            let attributes = attributes(&self.connection, url, &names).await?;
            let number = |name| attributes.get(name).and_then(|number| number.parse().ok()).unwrap_or(0);
            Ok::<[u64; 3], BackendError>(names.each_ref().map(number))
        };
        self.connection.wait(async {
            let [visible, in_flight, delayed] = numbers(&self.url).await?;
            let dead_letters = match &self.dead_letter_url {
                Some(url) => numbers(url).await?.iter().sum(),
                None => 0,
            };
            // SQS tells the age of the oldest message to CloudWatch only.
            Ok(Depth { visible, in_flight, delayed, oldest_age: None, dead_letters })
        })
    }

    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, BackendError> {
        let url = self.dead_letter_url()?;
        let held = self.connection.wait(async {
            let held = self.hold_dead_letters(url, limit).await?;
            self.let_go(url, &held).await?;
            Ok::<_, BackendError>(held)
        })?;
        let mut letters: Vec<_> = held.into_iter().map(Seen::into_dead_letter).collect();
        letters.sort_by(|left, right| (left.died_at, &left.id).cmp(&(right.died_at, &right.id)));
        Ok(letters)
    }

    fn redrive(&self, which: &Redrive) -> Result<u64, BackendError> {
        let url = self.dead_letter_url()?;
        let ids = match which {
            Redrive::All => {
                // Ten by ten, so that any number of them takes no memory, and none is held for long.
                return self.connection.wait(async {
                    let mut redriven = 0;
                    loop {
                        let ten = receive(
                            &self.connection,
                            url,
                            batch::MAX_ENTRIES,
                            LOOK_SECONDS,
                            LOOK_WAIT_SECONDS,
                        )
                        .await?;
                        if ten.is_empty() {
                            return Ok(redriven);
                        }
                        self.send_back(url, &ten).await?;
                        redriven += ten.len() as u64;
                    }
                });
            }
            Redrive::Only(ids) => ids,
        };
        self.connection.wait(async {
            let held = self.hold_dead_letters(url, usize::MAX).await?;
            if let Some(missing) = ids.iter().find(|id| held.iter().all(|seen| seen.message.id != **id)) {
                self.let_go(url, &held).await?;
                return Err(BackendError::new(
                    ErrorKind::NotFound,
                    format!("there is no dead letter {missing:?}: `wordfreq queue dead-letters` lists them"),
                ));
            }
            let (chosen, others): (Vec<Seen>, Vec<Seen>) =
                held.into_iter().partition(|seen| ids.contains(&seen.message.id));
            self.let_go(url, &others).await?;
            self.send_back(url, &chosen).await?;
            Ok(chosen.len() as u64)
        })
    }
}

impl Seen {
    fn into_dead_letter(self) -> DeadLetter {
        let Self { message, attributes } = self;
        let time = |name| attributes.get(name).and_then(|millis| millis.parse().ok()).map(Timestamp);
        // What SQS moved by itself has only what SQS keeps: the receives are those of both queues.
        let receives = attributes.get(RECEIVE_COUNT).and_then(|count| count.parse().ok());
        let receive_count = receives.unwrap_or(message.receive_count);
        let reason = attributes.get(REASON).cloned().unwrap_or_else(|| {
            "received too often: its worker died, stalled or lost the lease each time, and SQS gave it up"
                .into()
        });
        DeadLetter {
            id: message.id,
            body: message.body,
            reason,
            receive_count,
            sent_at: time(SENT_AT).unwrap_or(message.sent_at),
            died_at: time(DIED_AT).unwrap_or(message.sent_at),
        }
    }
}

async fn receive(
    connection: &Connection,
    url: &str,
    max: usize,
    visibility_seconds: i32,
    wait_seconds: i32,
) -> Result<Vec<Seen>, BackendError> {
    let answer = connection
        .sqs
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(i32::try_from(max.min(batch::MAX_ENTRIES)).unwrap_or(1))
        .visibility_timeout(visibility_seconds)
        .wait_time_seconds(wait_seconds)
        .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
        .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
        .set_message_attribute_names(Some(ATTRIBUTES.map(str::to_owned).to_vec()))
        .send()
        .await
        .map_err(|error| failed(&format!("receive from {url}"), error))?;
    answer.messages.unwrap_or_default().into_iter().map(seen).collect()
}

fn stopped(url: &str, error: &JoinError) -> BackendError {
    BackendError::new(ErrorKind::Other, format!("receiving from {url} stopped: {error}"))
}

fn seen(message: SqsMessage) -> Result<Seen, BackendError> {
    let incomplete = || BackendError::new(ErrorKind::Other, "SQS sent a message without an id or a receipt");
    let system = message.attributes.unwrap_or_default();
    let number = |name| system.get(&name).and_then(|text| text.parse::<i64>().ok());
    let receive_count = number(MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(1);
    let attributes = message.message_attributes.unwrap_or_default();
    Ok(Seen {
        message: Message {
            id: message.message_id.ok_or_else(incomplete)?,
            receipt: Receipt(message.receipt_handle.ok_or_else(incomplete)?),
            body: message.body.unwrap_or_default(),
            receive_count: u32::try_from(receive_count).unwrap_or(1),
            sent_at: number(MessageSystemAttributeName::SentTimestamp).map_or_else(Timestamp::now, Timestamp),
        },
        attributes: attributes
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.string_value?)))
            .collect(),
    })
}

fn entry(message: &Outgoing) -> Result<Entry, BackendError> {
    let refused = if message.body.is_empty() {
        Some("a message must not be empty".to_owned())
    } else if message.body.len() > MAX_MESSAGE_BYTES {
        Some(format!("a message of {} bytes is too long: SQS takes {MAX_MESSAGE_BYTES}", message.body.len()))
    } else if acceptable(&message.body) != message.body {
        Some("a message has a character that SQS refuses, such as a control character: escape it".to_owned())
    } else {
        None
    };
    match refused {
        Some(why) => Err(BackendError::new(ErrorKind::Invalid, why)),
        None => Ok(Entry {
            body: message.body.clone(),
            delay_seconds: seconds(message.delay),
            attributes: Vec::new(),
        }),
    }
}

/// As much of the reason as fits beside the body; where nothing does, the body alone.
fn dead_letter(message: &Message, reason: &str, now: Timestamp) -> Entry {
    let attributes = vec![
        (RECEIVE_COUNT, message.receive_count.to_string()),
        (SENT_AT, message.sent_at.0.to_string()),
        (DIED_AT, now.0.to_string()),
        (REASON, acceptable(reason)),
    ];
    let mut letter = Entry { body: message.body.clone(), delay_seconds: 0, attributes };
    let excess = letter.bytes().saturating_sub(MAX_MESSAGE_BYTES);
    if excess > 0 {
        let reason = letter.attributes.pop().map(|(_, reason)| reason).unwrap_or_default();
        let kept = reason.floor_char_boundary(reason.len().saturating_sub(excess));
        if kept > 0 {
            letter.attributes.push((REASON, reason[..kept].to_owned()));
        }
    }
    if letter.bytes() > MAX_MESSAGE_BYTES {
        letter.attributes.clear();
    }
    letter
}

/// Whole seconds, as SQS has them: never shorter than asked for.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

async fn attributes(
    connection: &Connection,
    url: &str,
    names: &[QueueAttributeName],
) -> Result<HashMap<QueueAttributeName, String>, BackendError> {
    let request =
        connection.sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    let answer = request.send().await.map_err(|error| failed(&format!("look at {url}"), error))?;
    Ok(answer.attributes.unwrap_or_default())
}

/// The dead-letter queue's URL and the maximum of receives. The policy names the queue by its ARN; SQS keeps both
/// queues in one region and account, so the URL differs in its last segment only, and nobody needs to be asked.
fn redrive_policy(url: &str, policy: &str) -> Result<(String, u32), BackendError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Policy {
        dead_letter_target_arn: String,
        /// A number, and with some tools a text.
        max_receive_count: serde_json::Value,
    }
    let read = || {
        let policy: Policy = serde_json::from_str(policy).ok()?;
        let name = policy.dead_letter_target_arn.rsplit(':').next().filter(|name| !name.is_empty())?;
        let (base, _) = url.rsplit_once('/')?;
        let count = match &policy.max_receive_count {
            serde_json::Value::String(text) => text.parse().ok()?,
            number => number.as_u64()?,
        };
        Some((format!("{base}/{name}"), u32::try_from(count).ok()?))
    };
    read().ok_or_else(|| {
        BackendError::new(ErrorKind::Invalid, format!("the redrive policy of {url} cannot be read: {policy}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: String) -> Message {
        Message {
            id: "m".into(),
            receipt: Receipt("r".into()),
            body,
            receive_count: 2,
            sent_at: Timestamp(7),
        }
    }

    #[test]
    fn a_redrive_policy_gives_the_url_beside_ours() {
        let url = "https://sqs.eu-west-2.amazonaws.com/123456789012/jobs";
        let policy = |count: &str| {
            format!(
                r#"{{"deadLetterTargetArn":"arn:aws:sqs:eu-west-2:123456789012:jobs-dead","maxReceiveCount":{count}}}"#
            )
        };
        let dead = "https://sqs.eu-west-2.amazonaws.com/123456789012/jobs-dead".to_owned();
        assert_eq!(redrive_policy(url, &policy("5")).unwrap(), (dead.clone(), 5));
        assert_eq!(redrive_policy(url, &policy("\"3\"")).unwrap(), (dead, 3));
        for bad in ["", "{}", "[]", &policy("-1"), &policy("\"x\"")] {
            assert_eq!(redrive_policy(url, bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_dead_letter_always_fits() {
        let fits = |body: usize, reason: &str| {
            let letter = dead_letter(&message("b".repeat(body)), reason, Timestamp(9));
            assert!(letter.bytes() <= MAX_MESSAGE_BYTES, "{} bytes", letter.bytes());
            assert_eq!(letter.body.len(), body, "the body is never cut");
            letter.attributes.into_iter().collect::<HashMap<_, _>>()
        };
        assert_eq!(fits(10, "why\0")[REASON], "why\\u0000");
        assert_eq!(fits(10, "why")[SENT_AT], "7");
        let cut = fits(MAX_MESSAGE_BYTES - 200, &"é".repeat(1000));
        assert!(cut[REASON].starts_with("éé") && cut[REASON].len() < 200);
        assert!(!fits(MAX_MESSAGE_BYTES - 110, "why").contains_key("nothing"));
        assert!(fits(MAX_MESSAGE_BYTES, "why").is_empty());
    }

    #[test]
    fn seconds_are_whole_and_never_shorter() {
        let of = |millis| seconds(Duration::from_millis(millis));
        assert_eq!([of(0), of(1), of(1000), of(1001)], [0, 1, 1, 2]);
    }

    #[test]
    fn what_sqs_refuses_is_refused_before_it_is_sent() {
        let refused = |body: String| entry(&Outgoing { body, delay: Duration::ZERO }).unwrap_err().kind();
        for body in [String::new(), "\0".into(), "\u{ffff}".into(), "x".repeat(MAX_MESSAGE_BYTES + 1)] {
            assert_eq!(refused(body), ErrorKind::Invalid);
        }
    }
}
