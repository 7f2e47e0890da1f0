//! Who is told of what happened: one thread of `up` looks into the outbox and gives each subscription its turn, in a thread
//! of its own and for a bounded time, so that a slow target holds up nobody else. An event is in the outbox since the
//! transaction that made it true, and leaves it when its target has taken it: what was cut off is sent once more, under the
//! same name.
//!
//! Not here: what is in the outbox and how it comes there (`wordfreq_pipeline::embedded`), and who may subscribe (the API).

pub mod confirmation;
pub mod mail;
mod registrar;
mod schedule;
pub mod target;
pub mod webhook;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::Uri;
use lettre::Address;
use serde_json::value::RawValue;
use wordfreq_pipeline::embedded::{
    Attempt, CONFIRM_WITHIN, Delivery, DeliveryStatus, Embedded, Event, Ready, Rest,
};
use wordfreq_pipeline::{BackendError, Drain, ErrorKind, Timestamp, failpoint};

use crate::config::NotifyConfig;
use mail::Mailer;
use registrar::NO_LINK;
pub use registrar::Registrar;
pub use schedule::Pace;
use schedule::{back_off, given_up_before, next_try};
use target::Target;
use webhook::Webhooks;

/// How many targets are spoken to at once.
const TURNS_AT_ONCE: usize = 16;

/// How long a turn goes on taking deliveries, and how many.
const TURN_WITHIN: Duration = Duration::from_secs(10);
const TURN_AT_MOST: usize = 256;

/// However much happens, the outbox is looked into this often at most.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// And at least: an alarm rings no bell.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(2);

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How long an `up` that ends by itself goes on telling of it.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(30);
/// And how long any other waits for what is under way.
const TURNS_END_WITHIN: Duration = Duration::from_secs(2);

/// A target may ask to be left alone for so long at most.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(3600);

/// What happens within this time becomes one mail.
const DIGEST: Duration = Duration::from_secs(60);

/// How long the queue must rest to be said to: between two documents of one batch it may be empty for a moment.
const REST: Duration = Duration::from_secs(2);

/// The body of a webhook.
///
/// ```text
/// {"id": the event's name, "event": "document.counted", "at": RFC 3339, "subscription": id, "data": {...}}
/// ```
fn payload(subscription: &str, delivery: &Delivery, data: &str) -> Result<String, serde_json::Error> {
    #[derive(serde::Serialize)]
    struct Payload<'a> {
        id: &'a str,
        event: &'a str,
        at: String,
        subscription: &'a str,
        data: &'a RawValue,
    }
    serde_json::to_string(&Payload {
        id: &delivery.event_id,
        event: delivery.event.as_str(),
        at: delivery.at.to_rfc3339(),
        subscription,
        data: serde_json::from_str(data)?,
    })
}

/// What an `up` does with its outbox when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It leaves it to the next one.
    AtOnce,
    /// It tells what can be told within a while: nobody knows when the next one is.
    LastWords,
}

/// Sends what is in the outbox of a data directory.
#[derive(Debug)]
pub struct Notifier {
    embedded: Arc<Embedded>,
    registrar: Registrar,
    webhooks: Webhooks,
    mailer: Option<Mailer>,
    pace: Pace,
    /// The subscriptions whose turn it is.
    going_on: Mutex<HashSet<String>>,
}

impl Notifier {
    /// One by these settings; `public_url` is how others reach this server, where that is known.
    ///
    /// # Errors
    /// When a file that the settings name cannot be used; those of the data directory.
    pub fn new(
        embedded: Arc<Embedded>,
        config: &NotifyConfig,
        public_url: Option<String>,
        pace: Pace,
    ) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            registrar: Registrar::new(config, &embedded.subscriptions, public_url)?,
            webhooks: Webhooks::new(config.allow.value.clone(), config.ca_file.value.as_deref())?,
            mailer: Mailer::new(config)?,
            embedded,
            pace,
            going_on: Mutex::default(),
        }))
    }

    /// Starts it, until a drain is requested.
    ///
    /// # Errors
    /// When the operating system refuses the thread.
    pub fn start(self: Arc<Self>, drain: Drain, ending: Ending) -> anyhow::Result<JoinHandle<()>> {
        let run = move || self.run(&drain, ending);
        std::thread::Builder::new().name("notifier".into()).spawn(run).context("cannot start a thread")
    }

    fn run(self: &Arc<Self>, drain: &Drain, ending: Ending) {
        let _wakes = drain.on_request(self.embedded.settled_waker());
        let mut last_turns = HashMap::new();
        let mut resting = None;
        let mut swept: Option<Instant> = None;
        let turns_end = Drain::new();
        while !drain.requested() {
            let seen = self.embedded.settled_so_far();
            if swept.is_none_or(|swept| swept.elapsed() >= self.pace.of(SWEEP_EVERY)) {
                swept = Some(Instant::now());
                report(self.embedded.subscriptions.sweep(Timestamp::now()));
            }
            let rest = report(self.look_for_rest(&mut resting)).flatten();
            let due = report(self.give_turns(&mut last_turns, self.pace.of(DIGEST), &turns_end)).flatten();
            if drain.wait(LOOK_AGAIN_AFTER) {
                break;
            }
            let until = [rest, due, Some(LOOK_AT_LEAST_EVERY)].into_iter().flatten().min();
            self.embedded.wait_settled(seen, until.unwrap_or(LOOK_AT_LEAST_EVERY));
        }
        // One that is stopped before its work is done leaves the telling to the next too.
        let has_last_words = ending == Ending::LastWords && report(self.announce_the_end()) == Some(true);
        let within = if has_last_words { LAST_WORDS_WITHIN } else { TURNS_END_WITHIN };
        if !has_last_words {
            turns_end.request();
        }
        let deadline = Instant::now() + within;
        loop {
            let seen = self.embedded.settled_so_far();
            if has_last_words {
                report(self.give_turns(&mut last_turns, Duration::ZERO, &turns_end));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.going_on().is_empty() {
                break;
            }
            self.embedded.wait_settled(seen, left);
        }
        // What is still under way ends with the process, and is sent once more by the next.
        turns_end.request();
    }

    fn going_on(&self) -> MutexGuard<'_, HashSet<String>> {
        self.going_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces that the queue rests, once it has for a while; tells how long that is still.
    fn look_for_rest(&self, resting: &mut Option<(u64, Instant)>) -> Result<Option<Duration>, BackendError> {
        let Rest { is_idle, sent, announced } = self.embedded.subscriptions.rest()?;
        if !is_idle || sent == announced {
            *resting = None;
            return Ok(None);
        }
        let since = resting.filter(|(of, _)| *of == sent).map_or_else(Instant::now, |(_, since)| since);
        let left = self.pace.of(REST).saturating_sub(since.elapsed());
        if !left.is_zero() {
            *resting = Some((sent, since));
            return Ok(Some(left));
        }
        self.embedded.subscriptions.announce_rest(sent, Timestamp::now())?;
        *resting = None;
        Ok(None)
    }

    /// Announces rest without waiting whether it lasts, as there will be no more work; tells whether there is rest.
    fn announce_the_end(&self) -> Result<bool, BackendError> {
        let Rest { is_idle, sent, .. } = self.embedded.subscriptions.rest()?;
        if is_idle {
            self.embedded.subscriptions.announce_rest(sent, Timestamp::now())?;
        }
        Ok(is_idle)
    }

    /// Gives a turn to each subscription that something is due for, who waited longest first, as many at once as may be;
    /// tells after what time the next is due.
    fn give_turns(
        self: &Arc<Self>,
        last_turns: &mut HashMap<String, Instant>,
        digest: Duration,
        turns_end: &Drain,
    ) -> Result<Option<Duration>, BackendError> {
        let now = Timestamp::now();
        let mut ready = self.embedded.subscriptions.ready()?;
        let still_there: HashSet<_> = ready.iter().map(|ready| ready.id.clone()).collect();
        last_turns.retain(|id, _| still_there.contains(id));
        ready.sort_by_key(|ready| last_turns.get(&ready.id).copied());
        let mut next: Option<Duration> = None;
        for ready in ready {
            // Mail to be confirmed goes at once.
            let gathers = ready.is_confirmed && ready.target.starts_with("mailto:");
            let due_at = if gathers { ready.due_at.plus(digest) } else { ready.due_at };
            if due_at > now {
                let left = due_at.since(now);
                next = Some(next.map_or(left, |next| next.min(left)));
                continue;
            }
            let mut going_on = self.going_on();
            if going_on.len() >= TURNS_AT_ONCE {
                // The end of a turn wakes us.
                break;
            }
            if !going_on.insert(ready.id.clone()) {
                continue;
            }
            drop(going_on);
            last_turns.insert(ready.id.clone(), Instant::now());
            let turn = Turn { notifier: self.clone(), id: ready.id.clone() };
            let turns_end = turns_end.clone();
            let take = move || {
                if report(turn.notifier.take_turn(&ready, &turns_end)).is_none() {
                    // Whatever the data directory suffers from, asking again at once does not help.
                    turns_end.wait(LOOK_AT_LEAST_EVERY);
                }
                drop(turn);
            };
            if let Err(error) = std::thread::Builder::new().name("notification".into()).spawn(take) {
                tracing::warn!(%error, "cannot start a thread for a notification, trying again");
            }
        }
        Ok(next)
    }

    fn take_turn(&self, ready: &Ready, turns_end: &Drain) -> Result<(), BackendError> {
        match Target::parse(&ready.target, &self.registrar.allowed) {
            Ok(Target::Webhook(uri)) => self.post_all(ready, &uri, turns_end),
            Ok(Target::Mail(address)) => self.mail_all(ready, &address),
            // It was let in by other settings.
            Err(why) => self.pause(ready, &[], None, &why),
        }
    }

    fn post_all(&self, ready: &Ready, uri: &Uri, turns_end: &Drain) -> Result<(), BackendError> {
        let subscriptions = &self.embedded.subscriptions;
        let began = Instant::now();
        for delivery in subscriptions.due(&ready.id, Timestamp::now(), TURN_AT_MOST)? {
            if turns_end.requested() || began.elapsed() >= TURN_WITHIN {
                break;
            }
            let token =
                (delivery.event == Event::Confirm).then(|| self.registrar.confirmations.token(&ready.id));
            let body = match &token {
                Some(token) => payload(&ready.id, &delivery, &self.confirmation(&ready.id, token)?),
                None => payload(&ready.id, &delivery, &delivery.facts),
            };
            let body = body.map_err(|error| {
                BackendError::new(
                    ErrorKind::Corrupt,
                    format!("the facts of delivery {}: {error}", delivery.id),
                )
            })?;
            let (name, secret) = (delivery.event.as_str(), &ready.secret);
            failpoint::hit("notify.before_post");
            let answer = self.webhooks.post(uri, name, delivery.id, &body, secret, Timestamp::now());
            failpoint::hit("notify.after_post");
            let now = Timestamp::now();
            let answer = match answer {
                Ok(answer) => answer,
                Err(why) => return self.pause(ready, &[delivery.id], None, &why),
            };
            let status = answer.status;
            tracing::debug!(
                subscription = ready.id,
                event = name,
                delivery = delivery.id,
                status,
                "notified"
            );
            match status {
                200..300 => {
                    if token.is_some_and(|token| agrees(&answer.body, &token)) {
                        subscriptions.confirm(&ready.id, now)?;
                        tracing::info!(subscription = ready.id, "subscription confirmed");
                    }
                    let attempt = Attempt {
                        delivery: delivery.id,
                        status: DeliveryStatus::Delivered,
                        next_attempt_at: None,
                        response: Some(status),
                        error: None,
                    };
                    subscriptions.record(&ready.id, &[attempt])?;
                }
                410 => {
                    tracing::info!(subscription = ready.id, "subscription ended: 410 Gone");
                    return subscriptions.end(&ready.id, now, "its target answered 410 Gone");
                }
                429 | 503 => {
                    let why = format!("its target answered {status}: it cannot take more now");
                    return self.pause(ready, &[delivery.id], answer.retry_after, &why);
                }
                _ => {
                    let next_attempt_at =
                        next_try(delivery.created_at, now, delivery.attempts + 1, fastrand::f64(), self.pace);
                    let status_now = if next_attempt_at.is_some() {
                        DeliveryStatus::Pending
                    } else {
                        DeliveryStatus::Failed
                    };
                    let attempt = Attempt {
                        delivery: delivery.id,
                        status: status_now,
                        next_attempt_at,
                        response: Some(status),
                        error: Some(format!("its target answered {status}")),
                    };
                    subscriptions.record(&ready.id, &[attempt])?;
                }
            }
        }
        Ok(())
    }

    fn mail_all(&self, ready: &Ready, address: &Address) -> Result<(), BackendError> {
        let subscriptions = &self.embedded.subscriptions;
        let Some(mailer) = &self.mailer else {
            return self.pause(
                ready,
                &[],
                None,
                "there is no mail server to send by: set smtp.host and smtp.from",
            );
        };
        // All that waits goes with what is due: it is bounded where it waits.
        let mut waiting = subscriptions.due(&ready.id, Timestamp(i64::MAX), usize::MAX)?;
        // It may have been confirmed since this turn began: what came in since is not told by a question for confirmation.
        waiting.retain(|delivery| ready.is_confirmed || delivery.event == Event::Confirm);
        if waiting.is_empty() {
            return Ok(());
        }
        let (subject, text) = if ready.is_confirmed {
            mail::digest(&waiting, &ready.id)
        } else {
            let Some(url) = self.registrar.url(&self.registrar.confirmations.token(&ready.id)) else {
                return self.pause(ready, &[], None, NO_LINK);
            };
            let events = named(&subscriptions.get(&ready.id)?.events);
            mail::confirmation(&url, &ready.target, &events)
        };
        let ids: Vec<_> = waiting.iter().map(|delivery| delivery.id).collect();
        match mailer.send(address, &subject, &text) {
            Ok(()) => {
                let attempt = |delivery| Attempt {
                    delivery,
                    status: DeliveryStatus::Delivered,
                    next_attempt_at: None,
                    response: Some(250),
                    error: None,
                };
                let attempts: Vec<_> = ids.into_iter().map(attempt).collect();
                subscriptions.record(&ready.id, &attempts)
            }
            Err(mail::NotSent { code, why }) => {
                let why = code
                    .map_or_else(|| why.clone(), |code| format!("the mail server answered {code}: {why}"));
                self.pause(ready, &ids, None, &why)
            }
        }
    }

    /// Leaves a target alone for a while, longer each time, and at least as long as it asks for.
    fn pause(
        &self,
        ready: &Ready,
        tried: &[i64],
        asked_for: Option<Duration>,
        why: &str,
    ) -> Result<(), BackendError> {
        tracing::warn!(subscription = ready.id, why, "a notification could not be delivered");
        let now = Timestamp::now();
        let pause = back_off(ready.failures.saturating_add(1), fastrand::f64(), self.pace);
        let asked_for = self.pace.of(asked_for.unwrap_or_default().min(LONGEST_ASKED_FOR));
        let given_up = given_up_before(now, self.pace);
        self.embedded.subscriptions.pause(&ready.id, tried, now.plus(pause.max(asked_for)), given_up, why)
    }

    /// What a webhook is asked to confirm.
    fn confirmation(&self, id: &str, token: &str) -> Result<String, BackendError> {
        let subscription = self.embedded.subscriptions.get(id)?;
        let expires_at = subscription.created_at.plus(CONFIRM_WITHIN).to_rfc3339();
        let events: Vec<_> = subscription.events.iter().map(|event| event.as_str()).collect();
        let (target, bucket) = (subscription.target, subscription.bucket);
        Ok(serde_json::json!({
            "token": token, "confirm_url": self.registrar.url(token), "expires_at": expires_at, "target": target,
            "events": events, "bucket": bucket,
        })
        .to_string())
    }
}

/// One subscription's turn; when it is over, by a panic too, the notifier looks again.
struct Turn {
    notifier: Arc<Notifier>,
    id: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.notifier.going_on().remove(&self.id);
        self.notifier.embedded.settled_waker()();
    }
}

/// Logs a failure; whatever it was, it is tried again.
fn report<T>(outcome: Result<T, BackendError>) -> Option<T> {
    outcome
        .inspect_err(
            |error| tracing::warn!(%error, "cannot work on the outbox of notifications, trying again"),
        )
        .ok()
}

/// Whether an answer to the question for confirmation says yes.
fn agrees(body: &[u8], token: &str) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|answer| answer["confirm"] == token)
}

fn named(events: &[Event]) -> String {
    events.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn only_the_token_in_the_answer_agrees() {
        assert!(agrees(br#"{"confirm":"abc"}"#, "abc"));
        for body in
            ["", "abc", "{\"confirm\":\"abcd\"}", "{\"confirm\":true}", "[\"abc\"]", "{\"confirm\":\"abc\""]
        {
            assert!(!agrees(body.as_bytes(), "abc"), "{body}");
        }
    }

    #[test]
    fn a_payload_names_the_event_and_holds_its_facts() {
        let delivery = Delivery {
            id: 3,
            event_id: "abcd".into(),
            event: Event::BatchIdle,
            at: NOW,
            facts: "{\"messages\":2,\"dead_letters\":0}".into(),
            created_at: NOW,
            status: DeliveryStatus::Pending,
            attempts: 0,
            next_attempt_at: Some(NOW),
            response: None,
            last_error: None,
        };
        assert_eq!(
            payload("s1", &delivery, &delivery.facts).unwrap(),
            "{\"id\":\"abcd\",\"event\":\"batch.idle\",\"at\":\"2027-01-15T08:00:00Z\",\"subscription\":\"s1\",\
             \"data\":{\"messages\":2,\"dead_letters\":0}}"
        );
    }
}
