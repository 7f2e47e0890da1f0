//! What enters the outbox, for whom, and what becomes of it. Results and dead letters come by the ports.

use wordfreq_core::{Counter, Profile};

use super::super::{Embedded, IfMissing, Options, StagedPut};
use super::*;
use crate::document::{DocumentEvent, DocumentId};
use crate::drain::Drain;
use crate::queue::Queue as _;
use crate::results::{Completion, Effect, Results as _};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

struct Fixture {
    _directory: tempfile::TempDir,
    embedded: Embedded,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
    embedded.set_profile(&Profile::default()).unwrap();
    Fixture { _directory: directory, embedded }
}

impl Fixture {
    fn subscriptions(&self) -> &Subscriptions {
        &self.embedded.subscriptions
    }

    fn subscribe(&self, id: &str, events: &[Event], bucket: Option<&str>) {
        let new = NewSubscription {
            id: id.into(),
            target: "https://example.org/hook".into(),
            events: events.to_vec(),
            bucket: bucket.map(Into::into),
            secret: Secret([7; 32]),
        };
        assert_eq!(self.subscriptions().create(&new, NOW).unwrap().state, SubscriptionState::Pending);
    }

    fn confirmed(&self, id: &str, events: &[Event], bucket: Option<&str>) {
        self.subscribe(id, events, bucket);
        let confirmed = self.subscriptions().confirm(id, NOW).unwrap();
        assert_eq!((confirmed.state, confirmed.pending), (SubscriptionState::Confirmed, 0));
    }

    /// What waits for a subscription: event and facts.
    fn waiting(&self, id: &str) -> Vec<(Event, serde_json::Value)> {
        let due = self.subscriptions().due(id, Timestamp(i64::MAX), usize::MAX).unwrap();
        assert_eq!(self.subscriptions().get(id).unwrap().pending, due.len() as u64, "the kept number");
        due.into_iter()
            .map(|delivery| (delivery.event, serde_json::from_str(&delivery.facts).unwrap()))
            .collect()
    }

    fn put(&self, bucket: &str, key: &str, text: &[u8]) {
        let staged = self.embedded.bucket.stage(&mut &text[..]).unwrap();
        let id = DocumentId::new(bucket, key).unwrap();
        self.embedded.bucket.put(vec![StagedPut { id, staged, watched: None }]).unwrap();
    }

    fn receive(&self) -> Vec<crate::queue::Message> {
        let (lease, drain) = (Duration::from_secs(30), Drain::new());
        self.embedded.queue.receive(10, lease, Duration::ZERO, &drain).unwrap()
    }

    fn count_all(&self) {
        for message in self.receive() {
            let mut counter = Counter::new(&Profile::default());
            counter.feed(b"two words");
            let counts = counter.finish().unwrap();
            let fingerprint = Profile::default().fingerprint();
            let effect = Effect::Counted { counts, fingerprint, duration: Duration::from_micros(42) };
            let event = DocumentEvent::parse(&message.body).unwrap();
            let completion = Completion { receipt: message.receipt, event, effect };
            self.embedded.results.commit(&[completion]).unwrap();
        }
    }
}

#[test]
fn a_committed_result_is_told_once_to_each_who_asked_and_to_nobody_else() {
    let fixture = fixture();
    fixture.confirmed("all", &[Event::DocumentCounted, Event::DocumentFailed], None);
    fixture.confirmed("same-bucket", &[Event::DocumentCounted], Some("processing"));
    fixture.confirmed("other-bucket", &[Event::DocumentCounted], Some("elsewhere"));
    fixture.confirmed("other-event", &[Event::AlarmChanged], None);
    fixture.subscribe("pending", &[Event::DocumentCounted], None);
    let key = "a \"key\"\0 of\r\n\u{1F600}";
    for _version in 0..2 {
        fixture.put("processing", key, b"two words");
        fixture.count_all();
    }
    for id in ["all", "same-bucket"] {
        let waiting = fixture.waiting(id);
        assert_eq!(waiting.len(), 2, "{id}: one a version");
        for (sequence, (event, facts)) in (1..).zip(waiting) {
            assert_eq!(event, Event::DocumentCounted);
            let expected = serde_json::json!({
                "bucket": "processing", "key": key, "sequence": sequence, "bytes": 9, "words": 2, "distinct": 2,
                "over_long": 0, "duration_us": 42, "fingerprint": Profile::default().fingerprint(),
            });
            assert_eq!(facts, expected);
        }
    }
    assert_eq!(fixture.waiting("other-bucket"), []);
    assert_eq!(fixture.waiting("other-event"), []);
    let asked: Vec<_> = fixture.waiting("pending").into_iter().map(|(event, _)| event).collect();
    assert_eq!(asked, [Event::Confirm]);
    let name = |id| fixture.subscriptions().due(id, Timestamp(i64::MAX), 1).unwrap()[0].event_id.clone();
    assert_eq!(name("all"), name("same-bucket"), "one event has one name");
}

#[test]
fn a_transaction_that_is_undone_tells_nobody() {
    let fixture = fixture();
    fixture.confirmed("all", &Event::SUBSCRIBABLE, None);
    let undone = fixture.embedded.durable.write(|transaction| -> Result<(), BackendError> {
        transaction.execute(
            "INSERT INTO fleet_transitions (at, alarm, old_state, new_state, reason)
             VALUES (1, 'high', 'OK', 'ALARM', 'crossed')",
            [],
        )?;
        Err(BackendError::new(ErrorKind::Other, "a power cut"))
    });
    assert!(undone.is_err());
    assert_eq!(fixture.waiting("all"), []);
}

#[test]
fn a_dead_letter_is_told_with_its_reason_and_again_after_a_redrive() {
    let fixture = fixture();
    fixture.confirmed("all", &[Event::DocumentFailed], None);
    fixture.confirmed("elsewhere", &[Event::DocumentFailed], Some("elsewhere"));
    for round in 1..=2 {
        if round == 1 {
            fixture.put("processing", "a/b", b"\xff");
        } else {
            fixture.embedded.queue.redrive(&crate::queue::Redrive::All).unwrap();
        }
        let receipt = fixture.receive()[0].receipt.clone();
        fixture.embedded.queue.dead_letter(&receipt, "cannot be counted").unwrap();
        let waiting = fixture.waiting("all");
        assert_eq!(waiting.len(), round);
        let (event, facts) = waiting.last().unwrap();
        assert_eq!(*event, Event::DocumentFailed);
        let told = (&facts["bucket"], &facts["key"], &facts["sequence"], &facts["reason"]);
        assert_eq!(told, (&"processing".into(), &"a/b".into(), &1.into(), &"cannot be counted".into()));
        assert_eq!(facts["dead_letter"], fixture.embedded.queue.dead_letters(9).unwrap()[0].id);
    }
    // A message that is about no document.
    fixture
        .embedded
        .queue
        .send(&[crate::queue::Outgoing { body: "hello".into(), delay: Duration::ZERO }])
        .unwrap();
    let receipt = fixture.receive()[0].receipt.clone();
    fixture.embedded.queue.dead_letter(&receipt, "unreadable").unwrap();
    let (_, facts) = fixture.waiting("all").pop().unwrap();
    assert_eq!((&facts["key"], &facts["body"]), (&serde_json::Value::Null, &"hello".into()));
    assert_eq!(fixture.waiting("elsewhere"), [], "nothing of other buckets, or of none");
}

#[test]
fn an_alarm_is_told_whatever_the_bucket() {
    let fixture = fixture();
    fixture.confirmed("all", &[Event::AlarmChanged], Some("processing"));
    let insert = "INSERT INTO fleet_transitions (at, alarm, old_state, new_state, reason, value)
                  VALUES (5, 'high', 'OK', 'ALARM', 'crossed', 51.5)";
    fixture.embedded.durable.write(|transaction| Ok(transaction.execute(insert, [])?)).unwrap();
    let expected = serde_json::json!({
        "alarm": "high", "old_state": "OK", "new_state": "ALARM", "reason": "crossed", "value": 51.5,
    });
    assert_eq!(fixture.waiting("all"), [(Event::AlarmChanged, expected)]);
}

#[test]
fn rest_is_announced_once_a_batch() {
    let fixture = fixture();
    fixture.confirmed("all", &[Event::BatchIdle], None);
    let subscriptions = fixture.subscriptions();
    let rest = |is_idle, sent, announced| Rest { is_idle, sent, announced };
    assert_eq!(subscriptions.rest().unwrap(), rest(true, 0, 0));
    assert!(!subscriptions.announce_rest(0, NOW).unwrap(), "there was no work");
    fixture.put("processing", "a", b"x");
    fixture.put("processing", "b", b"x");
    assert_eq!(subscriptions.rest().unwrap(), rest(false, 2, 0));
    assert!(!subscriptions.announce_rest(2, NOW).unwrap(), "it works");
    fixture.count_all();
    assert_eq!(subscriptions.rest().unwrap(), rest(true, 2, 0));
    assert!(!subscriptions.announce_rest(1, NOW).unwrap(), "more was sent since the look");
    assert!(subscriptions.announce_rest(2, NOW).unwrap());
    assert!(!subscriptions.announce_rest(2, NOW).unwrap());
    let expected = serde_json::json!({ "messages": 2, "dead_letters": 0 });
    assert_eq!(fixture.waiting("all"), [(Event::BatchIdle, expected)]);
}

#[test]
fn what_finds_no_room_is_counted_and_told_later() {
    let fixture = fixture();
    fixture.confirmed("slow", &[Event::AlarmChanged], None);
    fixture.confirmed("quick", &[Event::AlarmChanged], None);
    let insert = "WITH RECURSIVE up_to (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up_to WHERE n < ?1)
                  INSERT INTO fleet_transitions (at, alarm, old_state, new_state, reason)
                  SELECT n, 'high', 'OK', 'ALARM', 'crossed' FROM up_to";
    let happen = |times: u64| {
        fixture.embedded.durable.write(|transaction| Ok(transaction.execute(insert, [times])?)).unwrap();
    };
    let settle = |id: &str, most: usize| {
        let attempts: Vec<_> = fixture
            .subscriptions()
            .due(id, Timestamp(i64::MAX), most)
            .unwrap()
            .into_iter()
            .map(|delivery| Attempt {
                delivery: delivery.id,
                status: DeliveryStatus::Delivered,
                next_attempt_at: None,
                response: Some(204),
                error: None,
            })
            .collect();
        fixture.subscriptions().record(id, &attempts).unwrap();
    };
    happen(PENDING_AT_MOST - 1);
    settle("quick", usize::MAX);
    happen(3);
    let slow = fixture.subscriptions().get("slow").unwrap();
    assert_eq!((slow.pending, slow.missed), (PENDING_AT_MOST, 2));
    let quick = fixture.subscriptions().get("quick").unwrap();
    assert_eq!((quick.pending, quick.missed), (3, 0));
    fixture.subscriptions().sweep(NOW).unwrap();
    assert_eq!(fixture.subscriptions().get("slow").unwrap().missed, 2, "there is no room yet");
    settle("slow", usize::try_from(PENDING_AT_MOST / 2).unwrap());
    fixture.subscriptions().sweep(NOW).unwrap();
    let slow = fixture.subscriptions().get("slow").unwrap();
    assert_eq!((slow.pending, slow.missed), (PENDING_AT_MOST / 2 + 1, 0));
    let newest = &fixture.subscriptions().deliveries("slow", None, 1).unwrap()[0];
    assert_eq!((newest.event, newest.facts.as_str()), (Event::EventsMissed, "{\"missed\":2}"));
}

#[test]
fn who_does_not_agree_in_time_is_forgotten() {
    let fixture = fixture();
    fixture.subscribe("late", &[Event::BatchIdle], None);
    fixture.confirmed("kept", &[Event::BatchIdle], None);
    let last = NOW.plus(CONFIRM_WITHIN - Duration::from_millis(1));
    fixture.subscriptions().sweep(last).unwrap();
    assert_eq!(fixture.subscriptions().list(None, 9).unwrap().len(), 2);
    let over = NOW.plus(CONFIRM_WITHIN);
    let error = fixture.subscriptions().confirm("late", over).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    fixture.subscriptions().sweep(over).unwrap();
    let left: Vec<_> =
        fixture.subscriptions().list(None, 9).unwrap().into_iter().map(|kept| kept.id).collect();
    assert_eq!(left, ["kept"]);
}

#[test]
fn nobody_is_asked_to_agree_again_and_again() {
    let fixture = fixture();
    fixture.subscribe("asked", &[Event::BatchIdle], None);
    let again = |after: u64| fixture.subscriptions().ask_again("asked", NOW.plus(Duration::from_secs(after)));
    assert_eq!(again(59).unwrap_err().kind(), ErrorKind::Busy);
    for minute in 1..5 {
        again(minute * 60).unwrap();
    }
    assert_eq!(again(3600).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(fixture.waiting("asked").len(), 5);
    fixture.subscriptions().confirm("asked", NOW).unwrap();
    assert_eq!(fixture.waiting("asked"), [], "what still asks has its answer");
    assert_eq!(again(7200).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn an_ended_one_gets_nothing_and_is_kept_for_a_while() {
    let fixture = fixture();
    fixture.confirmed("gone", &[Event::BatchIdle], None);
    let announce = || {
        fixture.put("processing", "a", b"x");
        fixture.count_all();
        let sent = fixture.subscriptions().rest().unwrap().sent;
        assert!(fixture.subscriptions().announce_rest(sent, NOW).unwrap());
    };
    announce();
    fixture.subscriptions().end("gone", NOW, "it answered 410 Gone").unwrap();
    announce();
    let [only] = &fixture.subscriptions().deliveries("gone", None, 9).unwrap()[..1] else { panic!("none") };
    assert_eq!(only.status, DeliveryStatus::Failed);
    assert_eq!(only.last_error.as_deref(), Some("it answered 410 Gone"));
    assert_eq!(fixture.waiting("gone"), []);
    assert_eq!(fixture.subscriptions().ready().unwrap(), []);
    fixture.subscriptions().sweep(NOW.plus(KEPT)).unwrap();
    assert_eq!(fixture.subscriptions().get("gone").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_target_that_cannot_be_reached_is_left_alone_and_what_is_too_old_given_up() {
    let fixture = fixture();
    fixture.subscribe("away", &[Event::BatchIdle], None);
    let tried = fixture.subscriptions().due("away", NOW, 9).unwrap()[0].id;
    let until = NOW.plus(Duration::from_secs(10));
    fixture.subscriptions().pause("away", &[tried], until, Timestamp(0), "refused").unwrap();
    let ready = &fixture.subscriptions().ready().unwrap()[0];
    assert_eq!((ready.due_at, ready.failures, ready.is_confirmed), (until, 1, false));
    let delivery = &fixture.subscriptions().deliveries("away", None, 9).unwrap()[0];
    assert_eq!((delivery.attempts, delivery.last_error.as_deref()), (1, Some("refused")));
    fixture.subscriptions().pause("away", &[tried], until, NOW, "refused").unwrap();
    assert_eq!(fixture.subscriptions().ready().unwrap(), []);
    let delivery = &fixture.subscriptions().deliveries("away", None, 9).unwrap()[0];
    assert_eq!((delivery.attempts, delivery.status), (2, DeliveryStatus::Failed));
}

#[test]
fn the_key_of_confirmations_is_made_once() {
    let fixture = fixture();
    assert_eq!(fixture.subscriptions().confirmation_key([1; 32]).unwrap(), [1; 32]);
    assert_eq!(fixture.subscriptions().confirmation_key([2; 32]).unwrap(), [1; 32]);
}
