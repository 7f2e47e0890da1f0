//! Live events for whoever watches: how queue and fleet stand, what was counted, alarms and activities.
//!
//! While somebody watches, one task looks when a bell rings, and once a second, as leases and fleets ring none; it tells
//! all who watch what has changed. Who is too slow for that misses what was in between, and is told how it stands then.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use serde::Serialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until};
use wordfreq_pipeline::embedded::{Embedded, Scope, Settled};
use wordfreq_pipeline::fleet::ActivityStatus;
use wordfreq_pipeline::{BackendError, ErrorKind};

use super::access::MayRead;
use super::api::documents::DocumentItem;
use super::api::fleet::{ActivityItem, FleetStatus, TransitionItem};
use super::api::queue::QueueStatus;
use super::connection::ended;
use super::problem::Problem;
use super::{App, Peer};

/// The most who may watch at once.
const MAX_STREAMS: usize = 256;

/// Events that a slow watcher may be behind.
const BEHIND: usize = 256;

/// Never more often than this.
const AT_MOST_EVERY: Duration = Duration::from_millis(250);

/// At least so often, for what rings no bell.
const AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// A look may take this part of one core's time at most.
const SHARE: u32 = 4;

/// So that neither side, nor anything between, takes a silent connection for a dead one.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Documents of one event.
const RECENT: usize = 20;

/// Activities that may still change.
const ACTIVITIES: usize = 50;

/// Events that tell what has happened. All others tell how it stands, and may be told twice.
const HAPPENINGS: [&str; 2] = ["alarm", "activity"];

/// One event, written once for all who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    name: &'static str,
    data: String,
}

impl Message {
    fn new(name: &'static str, data: &impl Serialize) -> Result<Self, BackendError> {
        let data = serde_json::to_string(data).map_err(|error| {
            BackendError::new(ErrorKind::Other, format!("an event cannot be written: {error}"))
        })?;
        Ok(Self { name, data })
    }
}

/// What was counted.
#[derive(Debug, Serialize)]
struct Documents {
    /// Documents with a result.
    counted: u64,
    /// Those that were counted or failed since the last event, newest first.
    recent: Vec<DocumentItem>,
}

/// Who watches.
pub struct Events {
    sender: broadcast::Sender<Arc<Message>>,
    places: Arc<Semaphore>,
    /// How often somebody came, to wake who waits for somebody.
    came: watch::Sender<u64>,
}

impl Default for Events {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(BEHIND);
        Self { sender, places: Arc::new(Semaphore::new(MAX_STREAMS)), came: watch::Sender::new(0) }
    }
}

impl Events {
    /// Waits until somebody watches; tells whether the server goes on.
    async fn somebody(&self, ending: &mut watch::Receiver<bool>) -> bool {
        let mut came = self.came.subscribe();
        loop {
            came.mark_unchanged();
            if *ending.borrow() {
                return false;
            }
            if self.sender.receiver_count() > 0 {
                return true;
            }
            tokio::select! {
                _ = came.changed() => {}
                _ = ending.changed() => {}
            }
        }
    }
}

/// Looks and tells, for as long as the server serves.
pub(super) async fn publish(app: Arc<App>) {
    let rung = Arc::new(Notify::new());
    tokio::spawn(listen(app.clone(), rung.clone(), |embedded, seen| match seen {
        None => embedded.queue.sent_so_far(),
        Some(seen) => embedded.queue.wait_sent(seen, AT_LEAST_EVERY),
    }));
    tokio::spawn(listen(app.clone(), rung.clone(), |embedded, seen| match seen {
        None => embedded.settled_so_far(),
        Some(seen) => embedded.wait_settled(seen, AT_LEAST_EVERY),
    }));
    let mut ending = app.ending.clone();
    while app.events.somebody(&mut ending).await {
        let mut told = Told::default();
        while app.events.sender.receiver_count() > 0 && !*ending.borrow() {
            let began = Instant::now();
            let seen = told.seen.clone();
            for message in told.by(app.blocking(move |embedded| seen.look(embedded)).await) {
                // Who has gone meanwhile is told nothing.
                drop(app.events.sender.send(Arc::new(message)));
            }
            let took = began.elapsed();
            sleep_until(began + AT_MOST_EVERY.max(SHARE * took)).await;
            tokio::select! {
                () = rung.notified() => {}
                () = sleep(AT_LEAST_EVERY) => {}
                _ = ending.changed() => {}
            }
        }
    }
}

/// Passes on the rings of a bell while somebody watches.
async fn listen(app: Arc<App>, rung: Arc<Notify>, wait: fn(&Embedded, Option<u64>) -> u64) {
    let mut ending = app.ending.clone();
    let mut seen = None;
    while app.events.somebody(&mut ending).await {
        match app.blocking(move |embedded| Ok(wait(embedded, seen))).await {
            Ok(now) => {
                if seen.is_some_and(|seen| seen != now) {
                    rung.notify_one();
                }
                seen = Some(now);
            }
            Err(_) => sleep(AT_LEAST_EVERY).await,
        }
    }
}

/// What was told, one look after the other.
#[derive(Default)]
struct Told {
    seen: Seen,
    has_looked: bool,
}

impl Told {
    /// What there is to tell by another look. The first that comes to something tells how it stands, as who came before it may
    /// know only how it stood earlier; what happened until then is no news.
    fn by(&mut self, looked: Result<(Seen, Vec<Message>), Problem>) -> Vec<Message> {
        match looked {
            Ok((seen, messages)) => {
                self.seen = seen;
                let is_first = !std::mem::replace(&mut self.has_looked, true);
                let is_news = |message: &Message| !(is_first && HAPPENINGS.contains(&message.name));
                messages.into_iter().filter(is_news).collect()
            }
            // The log has it. The next look that comes to something tells what has changed since the last that did.
            Err(_failed) => Vec::new(),
        }
    }
}

/// What was seen last.
#[derive(Clone, Default)]
struct Seen {
    queue: Option<QueueStatus>,
    fleet: Option<FleetStatus>,
    settled: Settled,
    counted: u64,
    transition: Option<i64>,
    activities: HashMap<i64, ActivityStatus>,
}

impl Seen {
    /// How it stands now, and what has changed.
    fn look(mut self, embedded: &Embedded) -> Result<(Self, Vec<Message>), BackendError> {
        let mut messages = Vec::new();
        let catalogue = &embedded.catalogue;
        let queue = Some(QueueStatus::new(catalogue.queue()?));
        if queue != self.queue {
            messages.push(Message::new("queue", &queue)?);
            self.queue = queue;
        }
        let settled = catalogue.settled_since(self.settled, RECENT)?;
        if settled.place != self.settled || settled.counted != self.counted {
            (self.settled, self.counted) = (settled.place, settled.counted);
            let recent = settled.recent.into_iter().map(DocumentItem::from).collect();
            messages.push(Message::new("documents", &Documents { counted: settled.counted, recent })?);
        }
        let fleet = FleetStatus::new(&catalogue.fleet()?);
        if fleet.is_some() && fleet != self.fleet {
            messages.push(Message::new("fleet", &fleet)?);
            self.fleet = fleet;
        }
        let transitions = catalogue.transitions(None, ACTIVITIES)?.items;
        for (number, transition) in transitions.into_iter().rev() {
            if self.transition.is_none_or(|last| number > last) {
                messages.push(Message::new("alarm", &TransitionItem::from(transition))?);
                self.transition = Some(number);
            }
        }
        let activities = catalogue.activities(None, ACTIVITIES)?.items;
        let known = activities.iter().map(|(number, activity)| (*number, activity.status)).collect();
        let before = std::mem::replace(&mut self.activities, known);
        for (number, activity) in activities.into_iter().rev() {
            if before.get(&number) != Some(&activity.status) {
                messages.push(Message::new("activity", &ActivityItem::from(activity))?);
            }
        }
        Ok((self, messages))
    }
}

/// How it stands now, for who has just come.
fn now(embedded: &Embedded) -> Result<VecDeque<Message>, BackendError> {
    let catalogue = &embedded.catalogue;
    let settled = catalogue.settled_since(Settled::default(), RECENT)?;
    let recent = settled.recent.into_iter().map(DocumentItem::from).collect();
    let documents = Documents { counted: settled.counted, recent };
    let fleet = FleetStatus::new(&catalogue.fleet()?);
    let messages = [
        Some(Message::new("queue", &QueueStatus::new(catalogue.queue()?))),
        fleet.map(|fleet| Message::new("fleet", &fleet)),
        Some(Message::new("documents", &documents)),
    ];
    messages.into_iter().flatten().collect()
}

/// One who watches.
struct Watcher {
    app: Arc<App>,
    receiver: broadcast::Receiver<Arc<Message>>,
    ready: VecDeque<Message>,
    ending: watch::Receiver<bool>,
    headers: HeaderMap,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(Message { name, data }) = self.ready.pop_front() {
                return Some(Event::default().event(name).data(data));
            }
            let comment_at = Instant::now() + COMMENT_EVERY;
            tokio::select! {
                received = self.receiver.recv() => match received {
                    Ok(message) => self.ready.push_back((*message).clone()),
                    Err(broadcast::error::RecvError::Closed) => return None,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.receiver = self.receiver.resubscribe();
                        self.ready = self.app.blocking(now).await.ok()?;
                    }
                },
                () = sleep_until(comment_at) => return Some(Event::default().comment("")),
                () = ended(&mut self.ending) => return None,
            }
            // A token may have been revoked.
            if self.app.access.require(&self.headers, Some(self.peer), Scope::Read, false).is_err() {
                return None;
            }
        }
    }
}

/// Live events: `queue`, `fleet`, `documents`, `alarm` and `activity`.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/events", tag = "events", responses(
    (status = 200, content((String = "text/event-stream"))),
)))]
pub(super) async fn events(
    _: MayRead,
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = app.events.places.clone().try_acquire_owned().map_err(|_full| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-streams",
            format!(
                "{MAX_STREAMS} watch already: close one of them, or ask for what you need instead of watching"
            ),
        )
        .retry_after(COMMENT_EVERY)
    })?;
    // Before the look, so that nothing falls between.
    let receiver = app.events.sender.subscribe();
    app.events.came.send_modify(|came| *came += 1);
    let ready = app.blocking(now).await?;
    let ending = app.ending.clone();
    let watcher = Watcher { app, receiver, ready, ending, headers, peer, _place: place };
    let events = stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    let mut response = Sse::new(events).into_response();
    // Also for proxies that would gather it up.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use wordfreq_pipeline::DocumentId;
    use wordfreq_pipeline::embedded::{IfMissing, Options, StagedPut};

    use super::*;

    struct Looking {
        embedded: Embedded,
        told: Told,
        _directory: tempfile::TempDir,
    }

    impl Looking {
        fn begin() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
            Self { embedded, told: Told::default(), _directory: directory }
        }

        fn put(&self, key: &str) {
            let staged = self.embedded.bucket.stage(&mut &b"words"[..]).unwrap();
            let id = DocumentId::new("processing", key).unwrap();
            self.embedded.bucket.put(vec![StagedPut { id, staged, watched: None }]).unwrap();
        }

        fn look(&mut self, fails: bool) -> Vec<&'static str> {
            let looked = self.told.seen.clone().look(&self.embedded).map_err(Problem::from);
            let messages = self.told.by(if fails { Err(Problem::internal()) } else { looked });
            messages.into_iter().map(|message| message.name).collect()
        }
    }

    #[test]
    fn after_a_look_that_failed_only_what_has_changed_is_told() {
        let mut looking = Looking::begin();
        looking.put("a");
        looking.look(false);
        assert!(looking.look(true).is_empty());
        assert!(looking.look(false).is_empty(), "nothing has changed");
        looking.put("b");
        assert!(looking.look(true).is_empty());
        assert_eq!(looking.look(false), ["queue"]);
    }

    #[test]
    fn the_first_look_that_comes_to_something_tells_how_it_stands() {
        let mut looking = Looking::begin();
        assert!(looking.look(true).is_empty());
        // Who came before this knows nothing of it.
        looking.put("a");
        assert_eq!(looking.look(false), ["queue"]);
        assert!(looking.look(false).is_empty());
    }

    #[test]
    fn what_happened_before_the_first_look_is_no_news() {
        let told = |is_first: bool| {
            let mut told = Told { has_looked: !is_first, ..Told::default() };
            let all = ["queue", "fleet", "documents", "alarm", "activity"];
            let messages = all.map(|name| Message { name, data: String::new() });
            let messages = told.by(Ok((Seen::default(), messages.to_vec())));
            messages.into_iter().map(|message| message.name).collect::<Vec<_>>()
        };
        assert_eq!(told(true), ["queue", "fleet", "documents"]);
        assert_eq!(told(false), ["queue", "fleet", "documents", "alarm", "activity"]);
    }
}
