//! Who is told of what happens, and the outbox of what they are to be told. An event enters the outbox by a trigger of the
//! schema, in the very transaction that makes it true; what is delivered, and when it is tried again, is written down
//! here. Not here: sending, how often to try, and what a target may be (`wordfreq`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::bell::Bell;
use super::database::Database;
use crate::error::{BackendError, ErrorKind};
use crate::time::Timestamp;

/// The most subscriptions of a data directory, those to be confirmed among them.
const SUBSCRIPTIONS_AT_MOST: usize = 1000;

/// The most deliveries that wait for one subscription. What happens beyond is counted, and told of as
/// [`Event::EventsMissed`] when there is room. The trigger `announce` of the schema holds it.
pub const PENDING_AT_MOST: u64 = 10_000;

/// How long a subscription waits to be confirmed before it vanishes.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(3 * 24 * 3600);

/// How long an ended subscription, and what was delivered or given up, is kept to be looked at.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// The most deliveries that are kept, done ones; the oldest go first.
const DELIVERIES_AT_MOST: i64 = 100_000;

/// How many old deliveries one sweep removes, so that nobody waits for it.
const SWEPT_AT_ONCE: i64 = 5_000;

/// How often a confirmation may be asked for again: whoever subscribes somebody else must not flood them.
const CONFIRMATIONS_AT_MOST: u64 = 5;
const CONFIRMATION_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What a subscription is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A document's result was committed.
    DocumentCounted,
    /// A document's message was given up.
    DocumentFailed,
    /// The queue came to rest after work.
    BatchIdle,
    /// An alarm of the fleet changed its state.
    AlarmChanged,
    /// It is to be confirmed. Never subscribed to.
    Confirm,
    /// More happened than could wait to be told. Never subscribed to.
    EventsMissed,
}

impl Event {
    /// Those that can be subscribed to.
    pub const SUBSCRIBABLE: [Self; 4] =
        [Self::DocumentCounted, Self::DocumentFailed, Self::BatchIdle, Self::AlarmChanged];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DocumentCounted => "document.counted",
            Self::DocumentFailed => "document.failed",
            Self::BatchIdle => "batch.idle",
            Self::AlarmChanged => "alarm.changed",
            Self::Confirm => "subscription.confirm",
            Self::EventsMissed => "events.missed",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Event {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::SUBSCRIBABLE
            .into_iter()
            .chain([Self::Confirm, Self::EventsMissed])
            .find(|event| event.as_str() == name)
            .ok_or_else(|| BackendError::new(ErrorKind::Invalid, format!("there is no event {name:?}")))
    }
}

/// Whether a subscription is told anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Whoever is at its target has not agreed yet.
    Pending,
    /// It is told.
    Confirmed,
    /// Its target wants no more.
    Ended,
}

impl SubscriptionState {
    const ALL: [Self; 3] = [Self::Pending, Self::Confirmed, Self::Ended];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Ended => "ended",
        }
    }
}

/// A subscription to be made.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// Its name among the others, which nobody can guess. The listing goes by it.
    pub id: String,
    /// A URL, or `mailto:` and an address.
    pub target: String,
    /// What it is told of.
    pub events: Vec<Event>,
    /// Of which bucket's documents; `None` for all. Events that are not about a document come all the same.
    pub bucket: Option<String>,
    /// What its deliveries are signed with.
    pub secret: Secret,
}

/// What deliveries are signed with. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its name.
    pub id: String,
    /// A URL, or `mailto:` and an address.
    pub target: String,
    /// What it is told of, in the order of [`Event`].
    pub events: Vec<Event>,
    /// Of which bucket's documents; `None` for all.
    pub bucket: Option<String>,
    /// Whether it is told.
    pub state: SubscriptionState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Deliveries that wait.
    pub pending: u64,
    /// Events of which it was not told, and not yet told that it was not.
    pub missed: u64,
    /// Why it ended, or why its target could not be reached the last time.
    pub note: Option<String>,
}

/// A subscription for which deliveries wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its name.
    pub id: String,
    /// A URL, or `mailto:` and an address.
    pub target: String,
    /// What its deliveries are signed with.
    pub secret: Secret,
    /// Whether it is told anything but to confirm.
    pub is_confirmed: bool,
    /// How often in a row its target could not be reached.
    pub failures: u32,
    /// When its first delivery is due.
    pub due_at: Timestamp,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// To be tried, or tried again.
    Pending,
    /// Its target has it.
    Delivered,
    /// Given up.
    Failed,
}

impl DeliveryStatus {
    const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// One event for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The event's own name, the same for every subscription and at every try.
    pub event_id: String,
    /// What happened.
    pub event: Event,
    /// When it happened.
    pub at: Timestamp,
    /// What there is to know of it: a JSON object.
    pub facts: String,
    /// When it entered the outbox.
    pub created_at: Timestamp,
    /// How it stands.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; `None` once it is done.
    pub next_attempt_at: Option<Timestamp>,
    /// What the target answered the last time: an HTTP status, or a reply code of SMTP.
    pub response: Option<u16>,
    /// What went wrong the last time.
    pub last_error: Option<String>,
}

/// What became of trying a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which delivery.
    pub delivery: i64,
    /// How it stands now.
    pub status: DeliveryStatus,
    /// When to try again, where it is pending still.
    pub next_attempt_at: Option<Timestamp>,
    /// What the target answered.
    pub response: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
}

/// How the queue stands, and what of it was not announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Whether nothing is left to do.
    pub is_idle: bool,
    /// How many messages were ever sent.
    pub sent: u64,
    /// How many of them had been sent when rest was announced the last time.
    pub announced: u64,
}

/// The subscriptions of a data directory and their outbox.
#[derive(Debug)]
pub struct Subscriptions {
    durable: Arc<Database>,
    /// For what may be lost in a power cut: that something was delivered. It is delivered once more then.
    progress: Arc<Database>,
    settled: Arc<Bell>,
}

fn corrupt(what: impl fmt::Display) -> BackendError {
    BackendError::new(ErrorKind::Corrupt, format!("the subscriptions cannot be read: {what}"))
}

fn not_found(id: &str) -> BackendError {
    let shown: String = id.chars().take(40).collect();
    BackendError::new(
        ErrorKind::NotFound,
        format!("there is no subscription {shown:?}: `wordfreq subscriptions list` lists them"),
    )
}

fn before(now: Timestamp, age: Duration) -> i64 {
    now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

const SUBSCRIPTION: &str = "SELECT id, target, bucket, state, created_at, pending, missed, note,
    (SELECT group_concat(event) FROM subscription_events WHERE subscription = id) FROM subscriptions";

fn subscription(row: &Row<'_>) -> Result<Subscription, BackendError> {
    let (state, events): (String, Option<String>) = (row.get(3)?, row.get(8)?);
    let events = events.unwrap_or_default();
    let mut events: Vec<Event> = events.split(',').map(str::parse).collect::<Result<_, _>>()?;
    events.sort_unstable();
    Ok(Subscription {
        id: row.get(0)?,
        target: row.get(1)?,
        events,
        bucket: row.get(2)?,
        state: SubscriptionState::ALL
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or_else(|| corrupt(format!("{state:?} is no state")))?,
        created_at: Timestamp(row.get(4)?),
        pending: row.get(5)?,
        missed: row.get(6)?,
        note: row.get(7)?,
    })
}

const DELIVERY: &str =
    "SELECT id, event_id, event, at, facts, created_at, status, attempts, next_attempt_at, response,
    last_error FROM deliveries";

fn delivery(row: &Row<'_>) -> Result<Delivery, BackendError> {
    let (event, status): (String, String) = (row.get(2)?, row.get(6)?);
    Ok(Delivery {
        id: row.get(0)?,
        event_id: row.get(1)?,
        event: event.parse()?,
        at: Timestamp(row.get(3)?),
        facts: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        status: DeliveryStatus::ALL
            .into_iter()
            .find(|known| known.as_str() == status)
            .ok_or_else(|| corrupt(format!("{status:?} is no status")))?,
        attempts: row.get(7)?,
        next_attempt_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        response: row.get(9)?,
        last_error: row.get(10)?,
    })
}

fn collect<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, BackendError>,
) -> Result<Vec<T>, BackendError> {
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(read(row)?);
    }
    Ok(list)
}

/// Puts something into the outbox of one subscription, whatever its state.
fn tell(
    transaction: &Transaction<'_>,
    subscription: &str,
    event: Event,
    facts: &str,
    now: Timestamp,
) -> Result<(), BackendError> {
    transaction
        .prepare_cached(
            "INSERT INTO deliveries (subscription, event_id, event, at, facts, created_at, next_attempt_at)
             VALUES (?1, lower(hex(randomblob(16))), ?2, ?3, ?4, ?3, ?3)",
        )?
        .execute(params![subscription, event.as_str(), now.0, facts])?;
    Ok(())
}

impl Subscriptions {
    pub(super) fn new(durable: Arc<Database>, progress: Arc<Database>, settled: Arc<Bell>) -> Self {
        Self { durable, progress, settled }
    }

    /// Makes a subscription, and asks its target to confirm it.
    ///
    /// # Errors
    /// `Invalid` if it is told of nothing, or there are too many.
    pub fn create(&self, new: &NewSubscription, now: Timestamp) -> Result<Subscription, BackendError> {
        let NewSubscription { id, target, events, bucket, secret } = new;
        if events.is_empty() || !events.iter().all(|event| Event::SUBSCRIBABLE.contains(event)) {
            let known: Vec<_> = Event::SUBSCRIBABLE.iter().map(|event| event.as_str()).collect();
            return Err(BackendError::new(
                ErrorKind::Invalid,
                format!("a subscription names at least one of the events {}", known.join(", ")),
            ));
        }
        let made = self.durable.write(|transaction| {
            let existing: usize =
                transaction.query_row("SELECT count(*) FROM subscriptions", [], |row| row.get(0))?;
            if existing >= SUBSCRIPTIONS_AT_MOST {
                return Err(BackendError::new(
                    ErrorKind::Invalid,
                    format!("there are {existing} subscriptions, which is the most: remove one first"),
                ));
            }
            transaction
                .prepare_cached(
                    "INSERT INTO subscriptions (id, target, bucket, state, created_at, secret)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    id,
                    target,
                    bucket,
                    SubscriptionState::Pending.as_str(),
                    now.0,
                    &secret.0[..]
                ])?;
            let mut insert =
                transaction.prepare_cached("INSERT OR IGNORE INTO subscription_events VALUES (?1, ?2)")?;
            for event in events {
                insert.execute(params![event.as_str(), id])?;
            }
            tell(transaction, id, Event::Confirm, "{}", now)?;
            find(transaction, id)
        })?;
        self.settled.ring();
        Ok(made)
    }

    /// Subscriptions in the order of their making, at most so many after this one.
    pub fn list(&self, after: Option<&str>, most: usize) -> Result<Vec<Subscription>, BackendError> {
        self.progress.read(|transaction| {
            let mut select =
                transaction.prepare_cached(&format!("{SUBSCRIPTION} WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            collect(select.query(params![after.unwrap_or_default(), most])?, subscription)
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// `NotFound`
    pub fn get(&self, id: &str) -> Result<Subscription, BackendError> {
        self.progress.read(|transaction| find(transaction, id))
    }

    /// Removes one, with all that waits for it.
    ///
    /// # Errors
    /// `NotFound`
    pub fn remove(&self, id: &str) -> Result<(), BackendError> {
        let removed = self.durable.write(|transaction| {
            Ok(transaction.prepare_cached("DELETE FROM subscriptions WHERE id = ?1")?.execute([id])?)
        })?;
        if removed == 0 { Err(not_found(id)) } else { Ok(()) }
    }

    /// Its target agrees. Agreeing twice is no error.
    ///
    /// # Errors
    /// `NotFound`, also if its time has run out; `Invalid` if it has ended.
    pub fn confirm(&self, id: &str, now: Timestamp) -> Result<Subscription, BackendError> {
        let confirmed = self.durable.write(|transaction| {
            let found = find(transaction, id)?;
            match found.state {
                SubscriptionState::Confirmed => return Ok(found),
                SubscriptionState::Ended => {
                    return Err(BackendError::new(
                        ErrorKind::Invalid,
                        "this subscription has ended: make another",
                    ));
                }
                SubscriptionState::Pending if now.since(found.created_at) >= CONFIRM_WITHIN => {
                    return Err(not_found(id));
                }
                SubscriptionState::Pending => {}
            }
            transaction
                .prepare_cached(
                    "UPDATE subscriptions SET state = ?2, note = NULL, failures = 0, paused_until = 0 WHERE id = ?1",
                )?
                .execute(params![id, SubscriptionState::Confirmed.as_str()])?;
            // What still asks has its answer.
            transaction
                .prepare_cached(
                    "UPDATE deliveries SET status = ?3, next_attempt_at = NULL
                     WHERE subscription = ?1 AND event = ?2 AND next_attempt_at IS NOT NULL",
                )?
                .execute(params![id, Event::Confirm.as_str(), DeliveryStatus::Delivered.as_str()])?;
            find(transaction, id)
        })?;
        self.settled.ring();
        Ok(confirmed)
    }

    /// Asks a pending subscription's target once more.
    ///
    /// # Errors
    /// `NotFound`; `Busy` if it was asked a moment ago, or too often; `Invalid` if it is not pending.
    pub fn ask_again(&self, id: &str, now: Timestamp) -> Result<Subscription, BackendError> {
        let asked = self.durable.write(|transaction| {
            let found = find(transaction, id)?;
            if found.state != SubscriptionState::Pending {
                let state = found.state.as_str();
                return Err(BackendError::new(
                    ErrorKind::Invalid,
                    format!("the subscription is {state}: only a pending one is to be confirmed"),
                ));
            }
            let (asked, last): (u64, Option<i64>) = transaction
                .prepare_cached(
                    "SELECT count(*), max(created_at) FROM deliveries WHERE subscription = ?1 AND event = ?2",
                )?
                .query_row(params![id, Event::Confirm.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let just_now = last.is_some_and(|last| last > before(now, CONFIRMATION_AGAIN_AFTER));
            if just_now || asked >= CONFIRMATIONS_AT_MOST {
                return Err(BackendError::new(
                    ErrorKind::Busy,
                    format!(
                        "it was asked {asked} times, at most {CONFIRMATIONS_AT_MOST} times and not twice a minute: \
                         wait, or remove it and subscribe anew"
                    ),
                ));
            }
            transaction
                .prepare_cached("UPDATE subscriptions SET failures = 0, paused_until = 0 WHERE id = ?1")?
                .execute([id])?;
            tell(transaction, id, Event::Confirm, "{}", now)?;
            Ok(found)
        })?;
        self.settled.ring();
        Ok(asked)
    }

    /// The record of one's deliveries, newest first, at most so many below this number.
    ///
    /// # Errors
    /// `NotFound`
    pub fn deliveries(
        &self,
        id: &str,
        below: Option<i64>,
        most: usize,
    ) -> Result<Vec<Delivery>, BackendError> {
        self.progress.read(|transaction| {
            find(transaction, id)?;
            let mut select = transaction.prepare_cached(&format!(
                "{DELIVERY} WHERE subscription = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
            ))?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            collect(select.query(params![id, below.unwrap_or(i64::MAX), most])?, delivery)
        })
    }

    /// The key of this data directory from which confirmations are made; `fresh` is taken if there is none yet.
    pub fn confirmation_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], BackendError> {
        const FIND: &str = "SELECT value FROM settings WHERE name = 'confirmation_key'";
        let found = self.progress.read(|transaction| {
            Ok(transaction.prepare_cached(FIND)?.query_row([], |row| row.get(0)).optional()?)
        })?;
        match found {
            Some(key) => Ok(key),
            None => self.durable.write(|transaction| {
                transaction
                    .prepare_cached("INSERT OR IGNORE INTO settings VALUES ('confirmation_key', ?1)")?
                    .execute([&fresh[..]])?;
                Ok(transaction.prepare_cached(FIND)?.query_row([], |row| row.get(0))?)
            }),
        }
    }

    /// The subscriptions for which something waits.
    pub fn ready(&self) -> Result<Vec<Ready>, BackendError> {
        self.progress.read(|transaction| {
            let mut select = transaction.prepare_cached(
                "SELECT id, target, secret, state, failures, max(paused_until, (
                     SELECT min(next_attempt_at) FROM deliveries
                     WHERE subscription = subscriptions.id AND next_attempt_at IS NOT NULL))
                 FROM subscriptions WHERE pending > 0 AND state <> ?1",
            )?;
            let ended = SubscriptionState::Ended.as_str();
            collect(select.query([ended])?, |row| {
                Ok(Ready {
                    id: row.get(0)?,
                    target: row.get(1)?,
                    secret: Secret(row.get(2)?),
                    is_confirmed: row.get::<_, String>(3)? == SubscriptionState::Confirmed.as_str(),
                    failures: row.get(4)?,
                    due_at: Timestamp(row.get(5)?),
                })
            })
        })
    }

    /// What waits for one subscription and is due, the longest due first, at most so many.
    pub fn due(&self, id: &str, now: Timestamp, most: usize) -> Result<Vec<Delivery>, BackendError> {
        self.progress.read(|transaction| {
            let mut select = transaction.prepare_cached(&format!(
                "{DELIVERY} WHERE subscription = ?1 AND next_attempt_at <= ?2 ORDER BY next_attempt_at, id LIMIT ?3"
            ))?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            collect(select.query(params![id, now.0, most])?, delivery)
        })
    }

    /// Puts down what became of tries. Something that was delivered says that its target can be reached.
    pub fn record(&self, id: &str, attempts: &[Attempt]) -> Result<(), BackendError> {
        self.progress.write(|transaction| {
            // One that was settled meanwhile, as by a confirmation, stays so.
            let mut update = transaction.prepare_cached(
                "UPDATE deliveries SET attempts = attempts + 1, response = ?4, last_error = ?5,
                     status = CASE WHEN next_attempt_at IS NULL THEN status ELSE ?2 END,
                     next_attempt_at = CASE WHEN next_attempt_at IS NULL THEN NULL ELSE ?3 END
                 WHERE id = ?1",
            )?;
            for Attempt { delivery, status, next_attempt_at, response, error } in attempts {
                let next = next_attempt_at.map(|at| at.0);
                update.execute(params![delivery, status.as_str(), next, response, error])?;
            }
            if attempts.iter().any(|attempt| attempt.status == DeliveryStatus::Delivered) {
                transaction
                    .prepare_cached(
                        "UPDATE subscriptions SET failures = 0, paused_until = 0, note = NULL
                         WHERE id = ?1 AND failures > 0",
                    )?
                    .execute([id])?;
            }
            Ok(())
        })
    }

    /// The target of one could not be reached, when these deliveries were tried: nothing is sent there before `until`.
    /// What waits since `given_up_before` or longer is given up.
    pub fn pause(
        &self,
        id: &str,
        tried: &[i64],
        until: Timestamp,
        given_up_before: Timestamp,
        why: &str,
    ) -> Result<(), BackendError> {
        self.progress.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE subscriptions SET failures = failures + 1, paused_until = ?2, note = ?3 WHERE id = ?1",
                )?
                .execute(params![id, until.0, why])?;
            let mut update = transaction.prepare_cached(
                "UPDATE deliveries SET attempts = attempts + 1, response = NULL, last_error = ?2 WHERE id = ?1",
            )?;
            for delivery in tried {
                update.execute(params![delivery, why])?;
            }
            transaction
                .prepare_cached(
                    "UPDATE deliveries SET status = ?3, next_attempt_at = NULL, last_error = ?4
                     WHERE subscription = ?1 AND next_attempt_at IS NOT NULL AND created_at <= ?2",
                )?
                .execute(params![id, given_up_before.0, DeliveryStatus::Failed.as_str(), why])?;
            Ok(())
        })
    }

    /// The target of one wants no more of it.
    pub fn end(&self, id: &str, now: Timestamp, why: &str) -> Result<(), BackendError> {
        self.durable.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE subscriptions SET state = ?2, note = ?3, ended_at = ?4 WHERE id = ?1",
                )?
                .execute(params![id, SubscriptionState::Ended.as_str(), why, now.0])?;
            transaction
                .prepare_cached(
                    "UPDATE deliveries SET status = ?2, next_attempt_at = NULL, last_error = ?3
                     WHERE subscription = ?1 AND next_attempt_at IS NOT NULL",
                )?
                .execute(params![id, DeliveryStatus::Failed.as_str(), why])?;
            Ok(())
        })
    }

    /// Removes what nobody needs any more: subscriptions that were not confirmed in time or ended long ago, and the
    /// record of old deliveries. Tells subscriptions that have missed something so, where there is room again.
    pub fn sweep(&self, now: Timestamp) -> Result<(), BackendError> {
        let is_due: bool = self.progress.read(|transaction| {
            Ok(transaction
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM subscriptions)")?
                .query_row([], |row| row.get(0))?)
        })?;
        if !is_due {
            return Ok(());
        }
        self.progress.write(|transaction| {
            let removed = transaction
                .prepare_cached(
                    "DELETE FROM subscriptions WHERE (state = ?1 AND created_at <= ?2) OR (state = ?3 AND ended_at <= ?4)",
                )?
                .execute(params![
                    SubscriptionState::Pending.as_str(),
                    before(now, CONFIRM_WITHIN),
                    SubscriptionState::Ended.as_str(),
                    before(now, KEPT)
                ])?;
            if removed > 0 {
                tracing::info!(removed, "subscriptions that were not confirmed, or ended, are removed");
            }
            transaction
                .prepare_cached(
                    "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries ORDER BY id LIMIT ?1)
                     AND next_attempt_at IS NULL
                     AND (created_at <= ?2 OR id <= (SELECT max(id) FROM deliveries) - ?3)",
                )?
                .execute(params![SWEPT_AT_ONCE, before(now, KEPT), DELIVERIES_AT_MOST])?;
            let missed: Vec<(String, u64)> = transaction
                .prepare_cached(
                    "SELECT id, missed FROM subscriptions WHERE missed > 0 AND pending <= ?1 AND state = ?2",
                )?
                .query_map(params![PENDING_AT_MOST / 2, SubscriptionState::Confirmed.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect::<Result<_, _>>()?;
            for (id, missed) in missed {
                let facts = format!("{{\"missed\":{missed}}}");
                tell(transaction, &id, Event::EventsMissed, &facts, now)?;
                transaction
                    .prepare_cached("UPDATE subscriptions SET missed = 0 WHERE id = ?1")?
                    .execute([&id])?;
            }
            Ok(())
        })
    }

    /// How the queue stands against what was announced of it.
    pub fn rest(&self) -> Result<Rest, BackendError> {
        self.progress.read(rest)
    }

    /// Announces that the queue came to rest, if it still rests since `sent` messages and that was not announced before.
    pub fn announce_rest(&self, sent: u64, now: Timestamp) -> Result<bool, BackendError> {
        self.progress.write(|transaction| {
            let found = rest(transaction)?;
            if !found.is_idle || found.sent != sent || found.announced == sent {
                return Ok(false);
            }
            transaction
                .prepare_cached("UPDATE settings SET value = ?1 WHERE name = 'rest_announced'")?
                .execute([sent])?;
            transaction
                .prepare_cached(
                    "INSERT INTO announcements (id, event, at, bucket, facts)
                     SELECT lower(hex(randomblob(16))), ?1, ?2, NULL, json_object('messages', ?3, 'dead_letters',
                         (SELECT count(*) FROM messages WHERE dead = 1))
                     WHERE EXISTS (SELECT 1 FROM subscription_events WHERE event = ?1)",
                )?
                .execute(params![Event::BatchIdle.as_str(), now.0, sent - found.announced])?;
            Ok(true)
        })
    }
}

fn find(transaction: &Transaction<'_>, id: &str) -> Result<Subscription, BackendError> {
    let mut select = transaction.prepare_cached(&format!("{SUBSCRIPTION} WHERE id = ?1"))?;
    let mut rows = select.query([id])?;
    let row = rows.next()?.ok_or_else(|| not_found(id))?;
    subscription(row)
}

fn rest(transaction: &Transaction<'_>) -> Result<Rest, BackendError> {
    Ok(transaction
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM messages WHERE dead = 0), sent,
                 (SELECT value FROM settings WHERE name = 'rest_announced') FROM throughput",
        )?
        .query_row([], |row| Ok(Rest { is_idle: row.get(0)?, sent: row.get(1)?, announced: row.get(2)? }))?)
}

#[cfg(test)]
mod tests;
