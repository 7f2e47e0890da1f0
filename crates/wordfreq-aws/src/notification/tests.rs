//! Reads messages as the stores write them (`tests/fixtures/events`; those of moto were captured from version 5.2.1),
//! every rule with the smallest change of one that breaks it, and any text at all.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SENT_AT: Timestamp = Timestamp(1_795_611_600_500);

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/events/", $name, ".json"))
    };
}

const FIXTURES: [&str; 16] = [
    fixture!("eventbridge-delete"),
    fixture!("eventbridge-put"),
    fixture!("go-sample"),
    fixture!("minio-put"),
    fixture!("moto-delete"),
    fixture!("moto-eventbridge-put"),
    fixture!("moto-put"),
    fixture!("moto-sns-test-event"),
    fixture!("moto-test-event"),
    fixture!("s3-2.1-put"),
    fixture!("s3-2.3-expiration"),
    fixture!("s3-2.6-put"),
    fixture!("s3-test-event"),
    fixture!("s3-three-records"),
    fixture!("sns-put"),
    fixture!("sns-subscription-confirmation"),
];

fn event(kind: EventKind, key: &str, sequence: Sequence) -> DocumentEvent {
    DocumentEvent {
        event: kind,
        id: DocumentId::new("processing", key).unwrap(),
        sequence,
        bytes: 0,
        provenance: Provenance::default(),
    }
}

fn provenance(region: &str, etag: &str, version_id: &str) -> Provenance {
    let told = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Provenance { region: told(region), etag: told(etag), version_id: told(version_id) }
}

/// The sequence of an event without a sequencer at this Unix time.
fn at(seconds: u128, nanoseconds: u128) -> Sequence {
    Sequence((seconds << 32) + nanoseconds * (1 << 32) / 1_000_000_000)
}

#[track_caller]
fn one(body: &str) -> Record {
    let records = parse(body, SENT_AT);
    let [record] = &records[..] else { panic!("not one record: {records:?}") };
    record.clone()
}

#[track_caller]
fn one_event(message: &Value) -> DocumentEvent {
    match one(&message.to_string()) {
        Record::Event(event) => event,
        other => panic!("{other:?} from {message}"),
    }
}

#[track_caller]
fn assert_poison(message: &Value, why: &str) {
    match one(&message.to_string()) {
        Record::Poison(reason) if reason.contains(why) => {}
        other => panic!("{other:?} from {message} should be poison with {why:?}"),
    }
}

#[track_caller]
fn assert_ignored(message: &Value, why: &str) {
    match one(&message.to_string()) {
        Record::Ignored(reason) if reason.contains(why) => {}
        other => panic!("{other:?} from {message} should be ignored with {why:?}"),
    }
}

/// What S3 sends when an object is put, with other values in these places of its record.
fn put_with(changes: &[(&str, Value)]) -> Value {
    let record = json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
        "eventTime": "2026-11-25T13:00:00.123Z", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": "processing" }, "object": {
            "key": "notes.txt", "size": 5, "eTag": "5d41402a", "versionId": "v1", "sequencer": "0A",
        } },
    });
    json!({ "Records": [changed(record, changes)] })
}

fn event_bridge_with(changes: &[(&str, Value)]) -> Value {
    changed(serde_json::from_str(fixture!("eventbridge-delete")).unwrap(), changes)
}

fn changed(mut message: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        message.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    message
}

#[test]
fn puts_are_read_in_every_form() {
    let created = |key, sequence| event(EventKind::Created, key, sequence);
    let moto_time = at(1_795_614_257, 113_060_000);
    let cases = [
        (
            fixture!("s3-2.1-put"),
            DocumentEvent {
                bytes: 1024,
                provenance: provenance(
                    "us-west-2",
                    "d41d8cd98f00b204e9800998ecf8427e",
                    "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                ),
                ..created("letters/a b+c, été.txt", Sequence(0x55ae_d6dc_d902_81e5))
            },
        ),
        (
            fixture!("s3-2.6-put"),
            DocumentEvent {
                bytes: 5_368_709_121,
                provenance: provenance("eu-central-1", "9b2cf535f27731c974343645a3985328-2", ""),
                ..created("big.txt", Sequence(0x6b06_dbd0_0102_abcd))
            },
        ),
        (
            fixture!("sns-put"),
            DocumentEvent {
                bytes: 5,
                provenance: provenance("eu-west-1", "5d41402abc4b2a76b9719d911017c592", ""),
                ..created("notes and more.txt", Sequence(0x6b06_dbd0_0102_abcd))
            },
        ),
        (
            fixture!("eventbridge-put"),
            DocumentEvent {
                bytes: 5,
                provenance: provenance(
                    "ca-central-1",
                    "b1946ac92492d2347c6235b4d2611184",
                    "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                ),
                ..created("100%/a+b %41.txt", Sequence(0x617f_0829_9329_d189))
            },
        ),
        (
            fixture!("minio-put"),
            DocumentEvent {
                bytes: 5,
                provenance: provenance("", "5d41402abc4b2a76b9719d911017c592", ""),
                ..created("letters/a b.txt", Sequence(0x18eb_4b3c_9bed_ed15))
            },
        ),
        (
            fixture!("moto-put"),
            DocumentEvent {
                bytes: 5,
                provenance: provenance("eu-west-1", "5d41402abc4b2a76b9719d911017c592", ""),
                ..created("a//b c+d/é.txt", moto_time)
            },
        ),
        (
            fixture!("moto-eventbridge-put"),
            DocumentEvent {
                bytes: 5,
                provenance: provenance("eu-west-1", "5d41402abc4b2a76b9719d911017c592", ""),
                ..created("a//b c+d/é.txt", Sequence(0x617f_0829_9329_d189))
            },
        ),
        (
            fixture!("go-sample"),
            DocumentEvent {
                provenance: provenance("us-west-2", "", ""),
                ..created("notes.txt", at(1_795_611_600, 500_000_000))
            },
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(one(body), Record::Event(expected), "{body}");
    }
}

#[test]
fn raw_delivery_by_sns_is_the_message_without_its_envelope() {
    let envelope: Value = serde_json::from_str(fixture!("sns-put")).unwrap();
    let raw = envelope["Message"].as_str().unwrap();
    assert_eq!(one(raw), one(fixture!("sns-put")));
}

#[test]
fn event_bridge_may_deliver_through_sns() {
    let wrapped = json!({ "Type": "Notification", "Message": fixture!("eventbridge-put") });
    assert_eq!(one(&wrapped.to_string()), one(fixture!("eventbridge-put")));
}

#[test]
fn test_events_are_ignored() {
    for body in [fixture!("s3-test-event"), fixture!("moto-test-event"), fixture!("moto-sns-test-event")] {
        assert!(matches!(one(body), Record::Ignored(why) if why.contains("s3:TestEvent")), "{body}");
    }
}

#[test]
fn a_bad_record_says_which_it_is_and_harms_none_of_its_neighbours() {
    let records = parse(fixture!("s3-three-records"), SENT_AT);
    let [Record::Event(first), Record::Poison(why), Record::Event(third)] = &records[..] else {
        panic!("{records:?}")
    };
    assert_eq!((first.id.key(), third.id.key()), ("one.txt", "three.txt"));
    assert_eq!(
        why,
        "record 2 of 3: the key \"100%.txt\" has a `%` without two hexadecimal digits: a plain one is sent as `%25`"
    );
}

#[test]
fn deletions_are_certain_only_with_the_order_of_the_store_and_without_a_version() {
    use EventKind::{Changed, Removed};
    let null = Value::Null;
    for (name, version_id, sequencer, expected) in [
        ("ObjectRemoved:DeleteMarkerCreated", json!("v1"), json!("0A"), Removed),
        ("ObjectRemoved:DeleteMarkerCreated", json!("v1"), null.clone(), Changed),
        ("LifecycleExpiration:DeleteMarkerCreated", json!("v1"), json!("0A"), Removed),
        ("ObjectRemoved:Delete", json!("v1"), json!("0A"), Changed),
        ("ObjectRemoved:Delete", null.clone(), json!("0A"), Removed),
        ("ObjectRemoved:Delete", json!("null"), json!("0A"), Changed),
        ("ObjectRemoved:Delete", json!(""), json!("0A"), Removed),
        ("ObjectRemoved:Delete", null.clone(), null.clone(), Changed),
        ("ObjectRemoved:Delete", null.clone(), json!(""), Changed),
        ("s3:LifecycleExpiration:Delete", json!("v1"), json!("0A"), Changed),
        ("s3:LifecycleExpiration:Delete", null.clone(), json!("0A"), Removed),
    ] {
        let message = put_with(&[
            ("/eventName", json!(name)),
            ("/s3/object/versionId", version_id),
            ("/s3/object/sequencer", sequencer),
        ]);
        let read = one_event(&message);
        assert_eq!(read.event, expected, "{message}");
        assert_eq!((read.bytes, read.provenance), (0, provenance("eu-west-1", "", "")), "{message}");
    }

    let expired = one(fixture!("s3-2.3-expiration"));
    let provenance = provenance("us-west-2", "", "");
    let expected = event(Removed, "old.txt", Sequence(0x6b06_2507_a1b2_c3d4));
    assert_eq!(expired, Record::Event(DocumentEvent { provenance, ..expected }));
    let Record::Event(moto) = one(fixture!("moto-delete")) else { panic!() };
    assert_eq!((moto.event, moto.bytes), (Changed, 0), "it has no sequencer, and a size");
}

#[test]
fn deletions_of_event_bridge_are_judged_alike() {
    use EventKind::{Changed, Removed};
    let permanent = || ("/detail/deletion-type", json!("Permanently Deleted"));
    let version = |version_id: &str| ("/detail/object/version-id", json!(version_id));
    let unordered = || ("/detail/object/sequencer", Value::Null);
    for (changes, expected) in [
        (vec![], Removed),
        (vec![unordered()], Changed),
        (vec![("/detail/deletion-type", Value::Null)], Removed),
        (vec![permanent()], Changed),
        (vec![permanent(), version("")], Removed),
        (vec![permanent(), version("null")], Changed),
        (vec![permanent(), version("null"), unordered()], Changed),
    ] {
        let message = event_bridge_with(&changes);
        assert_eq!(one_event(&message).event, expected, "{message}");
    }
    assert_ignored(&event_bridge_with(&[("/detail-type", json!("Object Tags Added"))]), "Object Tags Added");
    assert_poison(&event_bridge_with(&[("/detail-type", Value::Null)]), "`detail-type` is missing");
    assert_poison(&event_bridge_with(&[("/detail", json!([]))]), "`object.key` is missing");
    assert_poison(&event_bridge_with(&[("/source", json!("aws.ec2"))]), "the source `aws.s3`");
}

#[test]
fn other_events_are_ignored_by_name_whatever_else_they_hold() {
    for name in [
        "ObjectTagging:Put",
        "ObjectRestore:Completed",
        "ObjectAcl:Put",
        "Replication:OperationFailedReplication",
        "IntelligentTiering",
        "LifecycleTransition",
        "ReducedRedundancyLostObject",
        "s3:ObjectAccessed:Get",
    ] {
        let message = put_with(&[("/eventName", json!(name)), ("/s3", Value::Null)]);
        assert_ignored(&message, name.trim_start_matches("s3:"));
    }
    for name in ["", "s3:", ":", "ObjectCreated:", "ObjectCreated::Put", "Object Created", "ObjectCreated:*"]
    {
        assert_poison(&put_with(&[("/eventName", json!(name))]), "is not the name of an event");
    }
    assert_poison(&put_with(&[("/eventName", Value::Null)]), "`eventName` is missing");
}

#[test]
fn messages_that_are_no_events_are_poison_that_says_what_was_expected() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, why) in [
        ("", "not JSON"),
        ("hello", "not JSON"),
        ("{\"Records\":[", "not JSON"),
        (r#"{"Records":["\ud800"]}"#, "not JSON"),
        (&deep, "recursion limit"),
        ("null", "expected `Records`"),
        ("[]", "expected `Records`"),
        ("7", "expected `Records`"),
        ("\"s3:TestEvent\"", "expected `Records`"),
        (r#"{"Records":null}"#, "expected `Records`"),
        (r#"{"Event":"autoscaling:TEST_NOTIFICATION"}"#, "expected `Records`"),
        (r#"{"Records":[]}"#, "has no records"),
        (r#"{"Records":{}}"#, "`Records` is not a list"),
        (r#"{"Records":[7]}"#, "record 1 of 1: `eventName` is missing"),
        (r#"{"Records":[null]}"#, "record 1 of 1: `eventName` is missing"),
        (r#"{"Type":"Notification"}"#, "`Message` is missing"),
        (r#"{"Type":"Notification","Message":{}}"#, "`Message` is not a string"),
        (r#"{"Type":"Notification","Message":"hello"}"#, "in an SNS notification: the message is not JSON"),
        (
            r#"{"Type":"Notification","Message":"{\"Type\":\"Notification\",\"Message\":\"{}\"}"}"#,
            "an SNS notification within an SNS notification",
        ),
        (fixture!("sns-subscription-confirmation"), "SNS is not confirmed to deliver to this queue"),
        (r#"{"Type":"UnsubscribeConfirmation"}"#, "SNS is not confirmed to deliver to this queue"),
    ] {
        assert!(matches!(one(body), Record::Poison(reason) if reason.contains(why)), "{:?}", one(body));
    }
}

#[test]
fn a_key_named_twice_in_json_gives_one_answer() {
    assert!(matches!(one(r#"{"Event":"s3:TestEvent","Event":7}"#), Record::Poison(_)));
}

#[test]
fn versions_and_sources_of_s3_alone_are_read() {
    for version in [json!("2.0"), json!("2.1"), json!("2.17"), json!("2"), Value::Null] {
        one_event(&put_with(&[("/eventVersion", version)]));
    }
    for version in ["3.0", "1.9", "20.1", ""] {
        let expected = format!("`eventVersion` {version:?} is not understood: expected 2.x");
        assert_poison(&put_with(&[("/eventVersion", json!(version))]), &expected);
    }
    assert_poison(&put_with(&[("/eventVersion", json!(2.1))]), "`eventVersion` is not a string");
    for source in [json!("aws:s3"), json!("minio:s3"), Value::Null] {
        one_event(&put_with(&[("/eventSource", source)]));
    }
    assert_poison(&put_with(&[("/eventSource", json!("aws:sqs"))]), "`eventSource` \"aws:sqs\" is not S3");
}

#[test]
fn keys_are_decoded_once_and_from_a_form() {
    let longest = "k".repeat(1024);
    let escaped = "%6B".repeat(1024);
    for (encoded, key) in [
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("a%2Fb/c%2fd", "a/b/c/d"),
        ("a//b", "a//b"),
        ("/a/./../b/", "/a/./../b/"),
        ("%2541", "%41"),
        ("%F0%9F%8E%89+party", "🎉 party"),
        ("🎉", "🎉"),
        ("line%0Abreak%00%1B", "line\nbreak\0\u{1b}"),
        (&longest, &longest),
        (&escaped, &longest),
    ] {
        let read = one_event(&put_with(&[("/s3/object/key", json!(encoded))]));
        assert_eq!(read.id.key(), key, "{encoded}");
    }
    for (encoded, why) in [
        ("%zz", "has a `%` without two hexadecimal digits"),
        ("trailing%4", "has a `%` without two hexadecimal digits"),
        ("trailing%", "has a `%` without two hexadecimal digits"),
        ("%+1", "has a `%` without two hexadecimal digits"),
        ("%é", "has a `%` without two hexadecimal digits"),
        ("%FF", "is not UTF-8"),
        ("%ED%A0%80", "is not UTF-8"),
        ("", "has 0 bytes"),
        (&format!("{longest}k"), "has 1025 bytes"),
        (&format!("{escaped}k"), "has 1025 bytes"),
    ] {
        assert_poison(&put_with(&[("/s3/object/key", json!(encoded))]), why);
    }
    assert_poison(&put_with(&[("/s3/object/key", Value::Null)]), "`object.key` is missing");
    assert_poison(&put_with(&[("/s3/bucket/name", json!("No Bucket"))]), "is not a bucket name");
    assert_poison(&put_with(&[("/s3/bucket", Value::Null)]), "`bucket.name` is missing");
}

#[test]
fn a_key_out_of_event_bridge_is_left_as_it_is() {
    for key in ["a+b", "a%2Bb", "100%", "a//b", "\0", "🎉"] {
        assert_eq!(one_event(&event_bridge_with(&[("/detail/object/key", json!(key))])).id.key(), key);
    }
}

#[test]
fn what_is_told_of_a_version_is_optional_and_checked() {
    for (size, bytes) in [(json!(0), 0), (json!(u64::MAX), u64::MAX), (Value::Null, 0)] {
        assert_eq!(one_event(&put_with(&[("/s3/object/size", size)])).bytes, bytes);
    }
    for size in [json!(-1), json!(1.5), json!(1e30), json!("5")] {
        assert_poison(&put_with(&[("/s3/object/size", size)]), "`object.size` is not a number of bytes");
    }
    for (etag, expected) in
        [(json!("\"abc-2\""), Some("abc-2")), (json!("\"\""), None), (json!(""), None), (Value::Null, None)]
    {
        let read = one_event(&put_with(&[("/s3/object/eTag", etag)]));
        assert_eq!(read.provenance.etag.as_deref(), expected);
    }
    for version_id in [json!("null"), json!(""), Value::Null] {
        let read = one_event(&put_with(&[("/s3/object/versionId", version_id)]));
        assert_eq!((read.event, read.provenance.version_id), (EventKind::Created, None));
    }
    let longest = "r".repeat(32);
    for region in ["eu-west-1", "US-Gov", &longest] {
        let read = one_event(&put_with(&[("/awsRegion", json!(region))]));
        assert_eq!(read.provenance.region.as_deref(), Some(region));
    }
    for region in [json!(""), Value::Null] {
        assert_eq!(one_event(&put_with(&[("/awsRegion", region)])).provenance.region, None);
    }
    for region in ["evil.example/", "eu_west_1", "a b", "é", &format!("{longest}r")] {
        assert_poison(&put_with(&[("/awsRegion", json!(region))]), "is not the name of a region");
    }
}

#[test]
fn sequencers_are_numbers_whatever_their_length_and_case() {
    let sequence =
        |sequencer: &str| one_event(&put_with(&[("/s3/object/sequencer", json!(sequencer))])).sequence;
    assert_eq!(sequence("00"), Sequence(0));
    assert_eq!(sequence("0055aed6dcd90281e5"), sequence("55AED6DCD90281E5"));
    assert_eq!(sequence(&"F".repeat(32)), Sequence(u128::MAX));
    assert_eq!(sequence(&format!("{}1{}", "0".repeat(500), "0".repeat(31))), Sequence(1 << 124));
    let of_2015 = sequence("0055AED6DCD90281E5");
    let of_2021 = sequence("617f08299329d189");
    assert!(of_2015 < of_2021, "18 digits, and 16 of six years later");
    assert!(at(1_437_521_627, 0) < of_2015 && of_2015 < at(1_437_521_629, 0));
    assert!(at(1_635_715_113, 0) < of_2021 && of_2021 < at(1_635_715_114, 0));
    for sequencer in [&format!("1{}", "0".repeat(32)), "+1", "-1", "0x1", "1g", " 1", "é"] {
        let message = put_with(&[("/s3/object/sequencer", json!(sequencer))]);
        assert_poison(&message, "is not a hexadecimal number of up to 32 digits");
    }
}

#[test]
fn without_a_sequencer_events_stand_in_order_of_their_times() {
    let sequence = |time: Value| {
        one_event(&put_with(&[("/s3/object/sequencer", Value::Null), ("/eventTime", time)])).sequence
    };
    let noon = 1_795_608_000;
    for (time, expected) in [
        ("2026-11-25T12:00:00.123Z", at(noon, 123_000_000)),
        ("2026-11-25T12:00:00.123", at(noon, 123_000_000)),
        ("2026-11-25 12:00:00.123456", at(noon, 123_456_000)),
        ("2026-11-25t12:00:00.123456789z", at(noon, 123_456_789)),
        ("2026-11-25T12:00:00Z", at(noon, 0)),
        ("2026-11-25T12:00:00", at(noon, 0)),
        ("2026-11-25T12:00:00+00:00", at(noon, 0)),
        ("2026-11-25T14:00:00.5+02:00", at(noon, 500_000_000)),
        ("2026-11-25T05:30:00-0630", at(noon, 0)),
        ("1970-01-01T00:00:00.000Z", at(0, 0)),
    ] {
        assert_eq!(sequence(json!(time)), expected, "{time}");
    }
    assert_eq!(sequence(json!("2026-11-25T13:00:00.123Z")), Sequence(0x6b06_dbd0_1f7c_ed91));

    let sent_at = at(1_795_611_600, 500_000_000);
    for time in [
        "",
        "yesterday",
        "2026-11-25",
        "2026-13-25T12:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2026-11-25T12:00:00+99:00",
        "2026-11-25T12:00:00+",
        "2026-11-25T12:00:00Z+00:00",
        "2026-11-25T12:00:0🎉",
    ] {
        assert_eq!(sequence(json!(time)), sent_at, "{time}");
    }
    assert_eq!(sequence(json!(1_795_608_000.0)), sent_at);
    assert_eq!(sequence(Value::Null), sent_at);

    let bridge = event_bridge_with(&[("/detail/object/sequencer", Value::Null)]);
    assert_eq!(one_event(&bridge).sequence, at(1_636_675_200, 0));
    let before_the_epoch = parse(fixture!("go-sample"), Timestamp(-1));
    assert!(matches!(&before_the_epoch[..], [Record::Event(event)] if event.sequence == Sequence(0)));
}

/// As a log or a dead letter shows it: short, on one line, and without control characters.
fn assert_presentable(records: &[Record]) {
    for record in records {
        if let Record::Ignored(why) | Record::Poison(why) = record {
            assert!(!why.chars().any(char::is_control), "{why:?}");
            assert!(why.len() < 1500, "{} bytes: {why}", why.len());
        }
    }
}

#[test]
fn reasons_quote_little_and_no_control_characters() {
    let long = "\u{1b}\n\u{202e}%zz".repeat(10_000);
    for place in [
        "/eventVersion",
        "/eventSource",
        "/eventName",
        "/awsRegion",
        "/s3/bucket/name",
        "/s3/object/key",
        "/s3/object/sequencer",
    ] {
        let message = put_with(&[(place, json!(long))]);
        let records = parse(&message.to_string(), SENT_AT);
        assert!(matches!(&records[..], [Record::Poison(_)]), "{place}: {records:?}");
        assert_presentable(&records);
    }
    let cut = quoted(&"é".repeat(101));
    assert_eq!(cut, format!("\"{}\"…", "é".repeat(100)));
    assert_eq!(quoted(&"é".repeat(100)).chars().count(), 102);
}

/// What `application/x-www-form-urlencoded` makes of a key, where these characters stay as they are.
fn form_encoded(key: &str, unreserved: &str) -> String {
    key.bytes()
        .map(|byte| match char::from(byte) {
            ' ' => "+".to_owned(),
            plain if plain.is_ascii_alphanumeric() || unreserved.contains(plain) => plain.to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Any JSON, with the names and values that mean something here often among it.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,8}",
        any::<String>(),
        prop::sample::select(vec!["Notification", "aws.s3", "s3:TestEvent", "null", "2.9", "%", "0A"])
            .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let name = prop::sample::select(vec!["Records", "Event", "Type", "Message", "s3", "object", "key", "x"]);
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.into(), v)).collect())),
        ]
    })
}

/// Every place in a message, the message itself first.
fn places(message: &Value) -> Vec<String> {
    let mut places = vec![String::new()];
    let mut seen = 0;
    while seen < places.len() {
        let place = places[seen].clone();
        match message.pointer(&place).unwrap() {
            Value::Object(members) => places.extend(members.keys().map(|name| format!("{place}/{name}"))),
            Value::Array(members) => {
                places.extend((0..members.len()).map(|index| format!("{place}/{index}")))
            }
            _ => {}
        }
        seen += 1;
    }
    places
}

/// One answer for a message, or one for each of its records.
fn assert_answered(body: &str) {
    let records = parse(body, SENT_AT);
    let message = serde_json::from_str::<Value>(body).unwrap_or_default();
    let told = message["Records"].as_array().map_or(1, |records| records.len().max(1));
    let wrapped = message["Type"] == "Notification";
    let expected = if message["Event"] == "s3:TestEvent" { 1 } else { told };
    assert!(!records.is_empty() && (records.len() == expected || wrapped), "{records:?} from {body}");
    assert_presentable(&records);
}

proptest! {
    #[test]
    fn any_text_has_an_answer(body: String) {
        assert_answered(&body);
    }

    #[test]
    fn any_json_has_an_answer(message in any_json()) {
        assert_answered(&message.to_string());
    }

    #[test]
    fn any_other_value_in_any_place_has_an_answer(
        fixture in prop::sample::select(&FIXTURES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4),
    ) {
        let mut message: Value = serde_json::from_str(fixture).unwrap();
        for (place, value) in changes {
            let places = places(&message);
            *message.pointer_mut(&places[place.index(places.len())]).unwrap() = value;
        }
        assert_answered(&message.to_string());
        assert_answered(&json!({ "Type": "Notification", "Message": message.to_string() }).to_string());
    }

    #[test]
    fn any_damage_to_the_text_has_an_answer(
        fixture in prop::sample::select(&FIXTURES[..]),
        at in any::<prop::sample::Index>(),
        cut in 0usize..20,
        inserted in "[\\[\\]{}\",:%+0-9a-z\\\\]{0,6}",
    ) {
        let characters: Vec<char> = fixture.chars().collect();
        let (before, rest) = characters.split_at(at.index(characters.len()));
        let rest = rest.iter().skip(cut);
        assert_answered(&before.iter().copied().chain(inserted.chars()).chain(rest.copied()).collect::<String>());
    }

    #[test]
    fn a_key_survives_every_encoder(key in prop::collection::vec(any::<char>(), 1..200)) {
        let key: String = key.into_iter().collect();
        // AWS leaves the slash; Python's `quote_plus`, in moto, does not.
        for unreserved in ["/_.-*", "_.-~"] {
            prop_assert_eq!(form_decoded(&form_encoded(&key, unreserved)).unwrap(), &key[..]);
        }
    }

    #[test]
    fn sequencers_are_ordered_as_strings_padded_on_the_left(left in "[0-9a-fA-F]{1,32}", right in "[0-9a-fA-F]{1,32}") {
        let padded = |hex: &str| format!("{:0>32}", hex.to_ascii_lowercase());
        prop_assert_eq!(sequence(&left).unwrap().cmp(&sequence(&right).unwrap()), padded(&left).cmp(&padded(&right)));
    }

    #[test]
    fn every_record_has_its_own_answer(good in prop::collection::vec(any::<bool>(), 1..20)) {
        let records: Vec<Value> = good
            .iter()
            .map(|good| put_with(&[("/s3/object/key", json!(if *good { "a%2Bb" } else { "a%b" }))])["Records"][0].clone())
            .collect();
        let read = parse(&json!({ "Records": records }).to_string(), SENT_AT);
        let events: Vec<bool> = read.iter().map(|record| matches!(record, Record::Event(_))).collect();
        prop_assert_eq!(events, good);
    }
}
