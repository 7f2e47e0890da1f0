//! The contract of [`Queue`]. The queue under test must be empty and move a message to its dead letters at the
//! receive after [`MAX_RECEIVE_COUNT`] ones.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::drain::Drain;
use crate::error::ErrorKind;
use crate::queue::{Message, Outgoing, Queue, Receipt, Redrive};

/// The maximum the queue under test must be set to.
pub const MAX_RECEIVE_COUNT: u32 = 3;

const LEASE: Duration = Duration::from_secs(30);
/// Short, but long enough for a few calls on a busy machine before it ends.
const SHORT: Duration = Duration::from_secs(3);
/// Longer than anything in here takes, on a busy machine too, and the longest that SQS waits.
const PATIENCE: Duration = Duration::from_secs(20);

fn send(queue: &dyn Queue, bodies: &[&str]) {
    let messages: Vec<_> =
        bodies.iter().map(|body| Outgoing { body: (*body).to_owned(), delay: Duration::ZERO }).collect();
    queue.send(&messages).expect("send");
}

fn receive_one(queue: &dyn Queue, lease: Duration) -> Message {
    let mut messages = queue.receive(1, lease, PATIENCE, &Drain::new()).expect("receive");
    assert_eq!(messages.len(), 1, "one message was visible and must be received");
    messages.remove(0)
}

fn assert_nothing_visible(queue: &dyn Queue, why: &str) {
    let messages = queue.receive(10, LEASE, Duration::ZERO, &Drain::new()).expect("receive");
    assert!(messages.is_empty(), "{why}: received {messages:?}");
}

/// What some backends cannot do, or not be seen doing on what the test runs them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `depth` tells the age of the oldest message.
    pub tells_oldest_age: bool,
    /// A message that was received too often keeps the number of its receives among the dead letters.
    pub counts_receives_of_what_died_by_itself: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self { tells_oldest_age: true, counts_receives_of_what_died_by_itself: true };
}

/// Runs every case below, each of which leaves the queue empty.
pub fn run(queue: &dyn Queue, capabilities: Capabilities) {
    sent_messages_are_received_once_each(queue, capabilities);
    a_delay_hides_at_first(queue);
    a_lease_that_ends_makes_the_message_visible_with_a_new_receipt(queue);
    only_the_latest_receipt_counts(queue);
    an_extension_holds_the_lease(queue);
    a_release_makes_visible_now_or_later(queue);
    too_many_receives_lead_to_the_dead_letters(queue, capabilities);
    a_dead_letter_keeps_its_reason_and_comes_back_new(queue);
    a_drain_ends_a_long_poll(queue);
    a_send_ends_a_long_poll(queue);
    an_empty_body_is_refused(queue);
    strange_receipts_do_nothing(queue);
}

/// Nothing is lost, doubled or invented; acknowledged messages are gone; depth counts along.
pub fn sent_messages_are_received_once_each(queue: &dyn Queue, capabilities: Capabilities) {
    let sent: BTreeSet<String> = (0..25).map(|number| format!("message {number} \u{1F600} \"'\\")).collect();
    send(queue, &sent.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(queue.depth().expect("depth").visible, 25);
    let mut received = Vec::new();
    while received.len() < sent.len() {
        let messages = queue.receive(10, LEASE, PATIENCE, &Drain::new()).expect("receive");
        assert!((1..=10).contains(&messages.len()), "asked for 1 to 10, got {}", messages.len());
        received.extend(messages);
    }
    let bodies: BTreeSet<String> = received.iter().map(|message| message.body.clone()).collect();
    assert_eq!(bodies, sent);
    assert!(received.iter().all(|message| message.receive_count == 1));
    let ids: BTreeSet<_> = received.iter().map(|message| &message.id).collect();
    assert_eq!(ids.len(), received.len(), "two messages share an id");
    let depth = queue.depth().expect("depth");
    assert_eq!((depth.visible, depth.in_flight), (0, 25));
    assert_eq!(depth.oldest_age.is_some(), capabilities.tells_oldest_age);
    assert_nothing_visible(queue, "all are leased");
    let receipts: Vec<_> = received.iter().map(|message| message.receipt.clone()).collect();
    queue.ack(&receipts).expect("ack");
    assert!(queue.depth().expect("depth").is_idle());
    queue.ack(&receipts).expect("a second ack is no error");
}

/// `delay` hides a message and counts it as delayed.
pub fn a_delay_hides_at_first(queue: &dyn Queue) {
    let sent = Instant::now();
    queue.send(&[Outgoing { body: "later".into(), delay: SHORT }]).expect("send");
    assert_eq!(queue.depth().expect("depth").delayed, 1);
    assert_nothing_visible(queue, "it is delayed");
    let message = receive_one(queue, LEASE);
    assert!(sent.elapsed() >= SHORT - Duration::from_millis(50), "came after {:?}", sent.elapsed());
    queue.ack(&[message.receipt]).expect("ack");
}

/// Same id and sending, another receipt, one more receive.
pub fn a_lease_that_ends_makes_the_message_visible_with_a_new_receipt(queue: &dyn Queue) {
    send(queue, &["again"]);
    let first = receive_one(queue, SHORT);
    let second = receive_one(queue, LEASE);
    assert_eq!((&second.id, second.sent_at), (&first.id, first.sent_at));
    assert_ne!(second.receipt, first.receipt);
    assert_eq!((first.receive_count, second.receive_count), (1, 2));
    queue.ack(&[second.receipt]).expect("ack");
}

/// An older receipt neither deletes, extends, releases nor gives up.
pub fn only_the_latest_receipt_counts(queue: &dyn Queue) {
    send(queue, &["fenced"]);
    let stale = receive_one(queue, SHORT).receipt;
    let latest = receive_one(queue, LEASE).receipt;
    queue.ack(std::slice::from_ref(&stale)).expect("a stale ack is no error");
    assert_eq!(queue.extend(&[stale.clone(), latest.clone()], LEASE).expect("extend"), [false, true]);
    queue.release(&stale, Duration::ZERO, None).expect("release");
    queue.dead_letter(&stale, "stale").expect("dead letter");
    let depth = queue.depth().expect("depth");
    assert_eq!(
        (depth.visible, depth.in_flight, depth.dead_letters),
        (0, 1, 0),
        "a stale receipt had an effect"
    );
    queue.ack(&[latest]).expect("ack");
    assert!(queue.depth().expect("depth").is_idle());
}

/// An extended lease outlives its first end; one that has ended cannot be extended.
pub fn an_extension_holds_the_lease(queue: &dyn Queue) {
    send(queue, &["held", "let go"]);
    let messages = [receive_one(queue, SHORT), receive_one(queue, SHORT)];
    let (held, let_go) =
        if messages[0].body == "held" { (&messages[0], &messages[1]) } else { (&messages[1], &messages[0]) };
    assert_eq!(queue.extend(std::slice::from_ref(&held.receipt), LEASE).expect("extend"), [true]);
    let again = receive_one(queue, LEASE);
    assert_eq!(again.body, "let go", "the extended one came back");
    assert_eq!(queue.extend(std::slice::from_ref(&let_go.receipt), LEASE).expect("extend"), [false]);
    queue.ack(&[held.receipt.clone(), again.receipt]).expect("ack");
    assert!(queue.depth().expect("depth").is_idle());
}

/// `release` with no rest makes visible at once; with a rest it hides that long.
pub fn a_release_makes_visible_now_or_later(queue: &dyn Queue) {
    send(queue, &["given back"]);
    let first = receive_one(queue, LEASE);
    queue.release(&first.receipt, Duration::ZERO, Some("not now")).expect("release");
    let second = receive_one(queue, LEASE);
    let released = Instant::now();
    queue.release(&second.receipt, SHORT, None).expect("release");
    assert_nothing_visible(queue, "it rests");
    assert!(!queue.depth().expect("depth").is_idle(), "a resting message is not done");
    let third = receive_one(queue, LEASE);
    assert!(released.elapsed() >= SHORT - Duration::from_millis(50));
    assert_eq!(third.receive_count, 3);
    queue.ack(&[third.receipt]).expect("ack");
}

/// After the maximum of receives the next one moves the message instead of handing it out.
pub fn too_many_receives_lead_to_the_dead_letters(queue: &dyn Queue, capabilities: Capabilities) {
    send(queue, &["hopeless"]);
    for receive_count in 1..=MAX_RECEIVE_COUNT {
        let message = receive_one(queue, LEASE);
        assert_eq!(message.receive_count, receive_count);
        assert_eq!(queue.depth().expect("depth").dead_letters, 0);
        queue.release(&message.receipt, Duration::ZERO, Some("no hope")).expect("release");
    }
    assert_nothing_visible(queue, "it was received too often");
    let depth = queue.depth().expect("depth");
    assert!(depth.is_idle());
    assert_eq!(depth.dead_letters, 1);
    let letters = queue.dead_letters(10).expect("dead letters");
    assert_eq!(letters[0].body, "hopeless");
    if capabilities.counts_receives_of_what_died_by_itself {
        assert_eq!(letters[0].receive_count, MAX_RECEIVE_COUNT);
    }
    assert!(!letters[0].reason.is_empty());
    assert_eq!(queue.redrive(&Redrive::All).expect("redrive"), 1);
    let message = receive_one(queue, LEASE);
    assert_eq!(message.receive_count, 1, "a redriven message starts anew");
    queue.ack(&[message.receipt]).expect("ack");
}

/// `dead_letter` is at once and with its reason; `redrive` by id takes only that one, an unknown id takes none.
pub fn a_dead_letter_keeps_its_reason_and_comes_back_new(queue: &dyn Queue) {
    send(queue, &["first", "second"]);
    for _ in 0..2 {
        let message = receive_one(queue, LEASE);
        queue.dead_letter(&message.receipt, &format!("{} is bad", message.body)).expect("dead letter");
    }
    let letters = queue.dead_letters(10).expect("dead letters");
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        assert_eq!(letter.reason, format!("{} is bad", letter.body));
        assert!(letter.died_at >= letter.sent_at);
    }
    assert_eq!(queue.dead_letters(1).expect("dead letters").len(), 1);
    let unknown = Redrive::Only(vec![letters[0].id.clone(), "no such message".into()]);
    assert_eq!(queue.redrive(&unknown).expect_err("an unknown id").kind(), ErrorKind::NotFound);
    assert_eq!(queue.depth().expect("depth").dead_letters, 2, "a refused redrive moved something");
    assert_eq!(queue.redrive(&Redrive::Only(vec![letters[0].id.clone()])).expect("redrive"), 1);
    let back = receive_one(queue, LEASE);
    assert_eq!(back.body, letters[0].body);
    assert_eq!(queue.redrive(&Redrive::All).expect("redrive"), 1);
    let other = receive_one(queue, LEASE);
    assert_eq!(other.body, letters[1].body);
    queue.ack(&[back.receipt, other.receipt]).expect("ack");
}

/// A waiting receive comes back at once, and empty, when its drain is requested.
pub fn a_drain_ends_a_long_poll(queue: &dyn Queue) {
    let drain = Drain::new();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.receive(1, LEASE, PATIENCE * 3, &drain));
        drain.request();
        assert!(waiting.join().expect("no panic").expect("receive").is_empty());
    });
    assert!(started.elapsed() < PATIENCE, "the drain was not heard for {:?}", started.elapsed());
}

/// A waiting receive gets what is sent meanwhile.
pub fn a_send_ends_a_long_poll(queue: &dyn Queue) {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| receive_one(queue, LEASE));
        send(queue, &["wake up"]);
        let message = waiting.join().expect("no panic");
        queue.ack(&[message.receipt]).expect("ack");
    });
    assert!(started.elapsed() < PATIENCE);
}

/// SQS refuses an empty body; so does everyone, and nothing of that batch is sent.
pub fn an_empty_body_is_refused(queue: &dyn Queue) {
    let error =
        queue.send(&[Outgoing { body: String::new(), delay: Duration::ZERO }]).expect_err("an empty body");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(queue.depth().expect("depth").is_idle());
}

/// A receipt from nowhere is stale.
pub fn strange_receipts_do_nothing(queue: &dyn Queue) {
    for text in ["", "x", "1", "1.1", "999999.1", "-1.-1", "1.99999999999999999999"] {
        let receipt = Receipt(text.into());
        queue.ack(std::slice::from_ref(&receipt)).expect("ack");
        queue.release(&receipt, Duration::ZERO, None).expect("release");
        queue.dead_letter(&receipt, "strange").expect("dead letter");
        assert_eq!(queue.extend(&[receipt], LEASE).expect("extend"), [false]);
    }
    let depth = queue.depth().expect("depth");
    assert!(depth.is_idle() && depth.dead_letters == 0);
}
