//! A bucket that tells of its changes in one of three ways, everything that happens to it, and what must be in the table
//! in the end. Not here: who works.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, StorageClass};
use serde_json::{Value, json};
use wordfreq_core::Counts;

use super::content;
use super::fleet::Fleet;
use crate::oracle::Random;
use crate::support::cloud::unique;
use crate::support::moto::Moto;
use crate::support::proxy::{Fault, Proxy};
use crate::world::{Item, Program, Stack, assert_item, counted, is_live, report_of, take_all};

/// Short, so that what is killed comes back within the test.
const VISIBILITY_SECONDS: &str = "5";

/// Documents of which the program itself must print the whole table, of each ground.
const SHOWN: usize = 8;

/// So many changes, half of them to one document.
const HASTE: usize = 12;

/// The key of a document that cannot be read.
const ARCHIVED: &str = "archived.txt";

/// Put by hand, with sequencers, into a bucket that tells nobody.
const QUIET_KEYS: usize = 6;

/// How the events reach the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    Sns,
    EventBridge,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Sns => "sns",
            Self::EventBridge => "event-bridge",
        }
    }

    /// Some records as this way's message.
    fn message(self, records: &Value) -> String {
        let message = json!({ "Records": records }).to_string();
        match self {
            Self::Sns => {
                json!({"Type": "Notification", "MessageId": "by hand", "Message": message}).to_string()
            }
            Self::Direct | Self::EventBridge => message,
        }
    }
}

type Content = Arc<Version>;

/// Some bytes, and their recount, once somebody asked for it.
struct Version {
    bytes: Vec<u8>,
    counts: OnceLock<Counts>,
}

impl Version {
    fn counts(&self) -> &Counts {
        self.counts.get_or_init(|| counted(&self.bytes))
    }
}

/// A document's bucket and key.
type Name = (String, String);

pub(super) struct Ground {
    stack: Stack,
    way: Way,
    /// Whose events are told by nobody but this test.
    quiet_bucket: String,
    keys: Vec<String>,
    /// What is in the buckets now.
    present: BTreeMap<Name, Content>,
    /// Every version there ever was, by tag.
    versions: BTreeMap<Name, HashMap<String, Content>>,
    /// A queue that every event comes to as well.
    tap: String,
    events: Vec<String>,
    archived: Name,
    /// Messages that nobody can ever read, as [`identity`] has them.
    poison: BTreeSet<String>,
    outcomes: Vec<Value>,
    num_changes: usize,
    num_marks: u64,
    lost_answers: usize,
}

impl Ground {
    pub(super) fn new(moto: &Moto, proxy: &Proxy, way: Way, documents: usize) -> Self {
        let mut stack = Stack::new(moto, &proxy.url);
        stack.set("WORKER_MESSAGE_VISIBILITY", VISIBILITY_SECONDS);
        stack.set("WORKER_COUNT", "2");
        if way == Way::Sns {
            // Where its own tables are announced to it as documents.
            stack.set("WORKER_RESULT_BUCKET", stack.bucket.clone());
        }
        let (tap, quiet_bucket) = (stack.cloud.queue(&unique("tap")), stack.cloud.bucket());
        let archived_bucket = stack.bucket.clone();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws/storm/route.py");
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/python");
        let queue = |url: &str| url.rsplit('/').next().unwrap().to_owned();
        let routed = Command::new(python)
            .arg(script)
            .args([&moto.url, way.name(), &stack.bucket, &queue(&stack.queues.url), &queue(&tap)])
            .env_clear()
            .status()
            .unwrap();
        assert!(routed.success(), "{way:?}: {routed}");
        Self {
            stack,
            way,
            quiet_bucket,
            keys: content::keys(documents),
            present: BTreeMap::new(),
            versions: BTreeMap::new(),
            tap,
            events: Vec::new(),
            archived: (archived_bucket, ARCHIVED.to_owned()),
            poison: BTreeSet::new(),
            outcomes: Vec::new(),
            num_changes: 0,
            num_marks: 0,
            lost_answers: 0,
        }
    }

    /// What its workers are.
    pub(super) fn program(&self) -> &Program {
        self.stack.program()
    }

    /// Puts every document once, some of them large, and an archived one.
    pub(super) fn fill(&mut self, random: &mut Random, mut meanwhile: impl FnMut(&mut Random)) {
        let put = self.stack.cloud.s3.put_object().bucket(&self.archived.0).key(&self.archived.1);
        let put = put.storage_class(StorageClass::Glacier).body(b"words on ice".to_vec().into());
        self.stack.cloud.wait(put.send()).unwrap();
        self.poison.insert(ARCHIVED.to_owned());
        for index in 0..self.keys.len() {
            let bytes = match index % 50 {
                10 => Vec::new(),
                20 => content::wordy(random),
                30 if index < 50 => content::large(random),
                _ => content::document(random),
            };
            self.put(&self.keys[index].clone(), bytes);
            meanwhile(random);
        }
        for number in 0..QUIET_KEYS {
            self.tell_quietly(random, number);
        }
    }

    /// Hears of its own events.
    pub(super) fn listen(&mut self) {
        for body in take_all(&self.stack.cloud, &self.tap) {
            // What can never be read is announced once.
            if !body.contains(ARCHIVED) {
                self.events.push(body);
            }
        }
        self.outcomes.extend(self.stack.outcomes());
    }

    pub(super) fn backlog(&self) -> u64 {
        self.stack.cloud.depth(&self.stack.queues.url).iter().sum()
    }

    pub(super) fn num_changes(&self) -> usize {
        self.num_changes
    }

    /// One thing that happens.
    pub(super) fn change(&mut self, random: &mut Random) {
        self.num_changes += 1;
        // Each document has its time of many changes in a row, which meet each other on their way.
        let hot = self.num_changes / HASTE * 7;
        let index = if random.below(2) == 0 { hot } else { random.below(self.keys.len()) };
        let key = self.keys[index % self.keys.len()].clone();
        match random.below(100) {
            0..36 => self.put(&key, content::document(random)),
            36..48 => self.delete(&key),
            48..54 => self.put_an_old_version_again(random, &key),
            // A key that XML cannot hold cannot be answered to whoever begins an upload in parts.
            54..60 if !key.contains(content::is_not_xml) => self.put_in_parts(random, &key),
            54..60 => self.put(&key, content::document(random)),
            60..70 => self.send_again(random, 10),
            70..82 => self.send_again(random, usize::MAX),
            82..88 => self.send_several(random),
            88..94 => {
                let number = random.below(QUIET_KEYS);
                self.tell_quietly(random, number);
            }
            _ => self.send_poison(random),
        }
    }

    fn name(&self, key: &str) -> Name {
        (self.stack.bucket.clone(), key.to_owned())
    }

    fn note(&mut self, name: Name, etag: Option<String>, bytes: Vec<u8>) {
        let etag = etag.unwrap().trim_matches('"').to_owned();
        let content = Arc::new(Version { bytes, counts: OnceLock::new() });
        self.versions.entry(name.clone()).or_default().insert(etag, content.clone());
        self.present.insert(name, content);
    }

    fn put_into(&mut self, name: Name, bytes: Vec<u8>) -> String {
        let put = self.stack.cloud.s3.put_object().bucket(&name.0).key(&name.1).body(bytes.clone().into());
        let etag = self.stack.cloud.wait(put.send()).unwrap().e_tag;
        self.note(name, etag.clone(), bytes);
        etag.unwrap()
    }

    fn put(&mut self, key: &str, bytes: Vec<u8>) {
        self.put_into(self.name(key), bytes);
    }

    fn delete(&mut self, key: &str) {
        // Of what is not there the emulator tells nothing.
        if self.present.remove(&self.name(key)).is_some() {
            self.stack.cloud.delete(&self.stack.bucket, key);
        }
    }

    /// With the same tag as long ago, whatever was there in between.
    fn put_an_old_version_again(&mut self, random: &mut Random, key: &str) {
        let versions: Vec<_> = self.versions[&self.name(key)].values().cloned().collect();
        self.put(key, versions[random.below(versions.len())].bytes.clone());
    }

    /// Which the emulator announces twice.
    fn put_in_parts(&mut self, random: &mut Random, key: &str) {
        let bytes = content::document(random);
        let (s3, bucket, cloud) = (&self.stack.cloud.s3, &self.stack.bucket, &self.stack.cloud);
        let upload = cloud.wait(s3.create_multipart_upload().bucket(bucket).key(key).send()).unwrap();
        let upload_id = upload.upload_id.unwrap();
        let part = s3.upload_part().bucket(bucket).key(key).upload_id(&upload_id).part_number(1);
        let part = cloud.wait(part.body(bytes.clone().into()).send()).unwrap();
        let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = s3.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload_id);
        let etag = cloud.wait(complete.multipart_upload(parts).send()).unwrap().e_tag;
        self.note(self.name(key), etag, bytes);
    }

    /// One of the latest events comes again.
    fn send_again(&self, random: &mut Random, latest: usize) {
        if let Some(body) = self.event(random, latest) {
            self.stack.cloud.send(&self.stack.queues.url, &body);
        }
    }

    fn event(&self, random: &mut Random, latest: usize) -> Option<String> {
        let latest = latest.min(self.events.len());
        let from = self.events.len() - latest;
        (latest > 0).then(|| self.events[from + random.below(latest)].clone())
    }

    /// Old events in one message, sometimes with a bad one between them.
    fn send_several(&mut self, random: &mut Random) {
        let mut records = Vec::new();
        for _ in 0..2 + random.below(3) {
            let event = self.event(random, usize::MAX).unwrap_or_default();
            let message: Value = serde_json::from_str(&identity(&event)).unwrap_or_default();
            records.extend(message["Records"].as_array().cloned().unwrap_or_default());
        }
        let is_bad = random.below(2) == 0;
        if is_bad {
            let bad = self.bad_record(random);
            records.insert(records.len() / 2, bad);
        }
        if !records.is_empty() {
            self.send_message(&self.way.message(&records.into()), is_bad);
        }
    }

    fn send_message(&mut self, body: &str, is_poison: bool) {
        self.stack.cloud.send(&self.stack.queues.url, body);
        if is_poison {
            self.poison.insert(identity(body));
        }
    }

    /// Two changes of a document, each told by one message only, the newer one before the older one, and the newer one
    /// beside a record that nobody can read.
    fn tell_quietly(&mut self, random: &mut Random, number: usize) {
        let name = (self.quiet_bucket.clone(), format!("quiet/{number} ü+.txt"));
        let older = self.change_quietly(random, &name);
        let newer = self.change_quietly(random, &name);
        let bad = self.bad_record(random);
        self.send_message(&self.way.message(&json!([older.clone(), bad, newer])), true);
        self.send_message(&self.way.message(&json!([older])), false);
    }

    /// Its event, as AWS writes it today.
    fn change_quietly(&mut self, random: &mut Random, name: &Name) -> Value {
        let key = name.1.replace('+', "%2B").replace(' ', "+");
        let sequencer = format!("{:018X}", 0x0055_AED6_DCD9_0000_u64 + self.mark());
        let (event, object) = if random.below(3) == 0 {
            self.present.remove(name);
            self.stack.cloud.delete(&name.0, &name.1);
            ("ObjectRemoved:Delete", json!({ "key": key, "sequencer": sequencer }))
        } else {
            let bytes = content::document(random);
            let length = bytes.len();
            let etag = self.put_into(name.clone(), bytes);
            let object =
                json!({"key": key, "size": length, "eTag": etag.trim_matches('"'), "sequencer": sequencer});
            ("ObjectCreated:Put", object)
        };
        json!({
            "eventVersion": "2.6", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-01-01T00:00:00.000Z", "eventName": event,
            "s3": {"bucket": {"name": name.0}, "object": object},
        })
    }

    fn mark(&mut self) -> u64 {
        self.num_marks += 1;
        self.num_marks
    }

    /// A record that can never be read, unlike any other.
    fn bad_record(&mut self, random: &mut Random) -> Value {
        let mark = self.mark();
        let mut record = json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": self.stack.bucket}, "object": {"key": format!("bad-{mark}"), "size": 1}},
        });
        let object = |name: &str| format!("/s3/object/{name}");
        let (path, value) = match random.below(7) {
            0 => (object("key"), json!(format!("{mark}%zz"))),
            1 => (object("key"), json!(format!("{mark}%ff"))),
            2 => (object("key"), json!(format!("{mark}{}", "x".repeat(1024)))),
            3 => (object("size"), json!(-1)),
            4 => ("/eventVersion".into(), json!("3.0")),
            5 => ("/eventSource".into(), json!("aws:sqs")),
            _ => ("/s3/bucket/name".into(), json!(format!("No_Bucket_{mark}"))),
        };
        *record.pointer_mut(&path).unwrap() = value;
        record
    }

    fn send_poison(&mut self, random: &mut Random) {
        let mark = self.mark();
        let body = match random.below(6) {
            0 => format!("not JSON {mark}"),
            1 => json!({ "mark": mark }).to_string(),
            2 => json!({"Records": [], "mark": mark}).to_string(),
            3 => json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {"mark": mark}})
                .to_string(),
            4 if self.poison.insert("{}".into()) => "{}".into(),
            _ => {
                let record = self.bad_record(random);
                self.way.message(&json!([record]))
            }
        };
        self.send_message(&body, true);
    }

    /// A letter whose sending was answered by nobody is sent once more.
    pub(super) fn note_lost_answers(&mut self, proxy: &Proxy) {
        let queue = self.stack.queues.dead_url.rsplit('/').next().unwrap();
        let lost = proxy.requests().into_iter();
        let lost = lost.filter(|seen| seen.key == queue && seen.fault == Some(Fault::CutAfter));
        self.lost_answers += lost.filter(|seen| seen.operation == "SendMessageBatch").count();
    }

    pub(super) fn wait_until_idle(&self, meanwhile: impl FnMut()) {
        self.stack.wait_until_idle(meanwhile);
    }

    /// The table holds what a recount gives, and nothing else.
    pub(super) fn check(&mut self, fleet: &Fleet) {
        let items = self.items();
        let name = |(bucket, key): &Name| format!("{bucket}/{key}");
        let live: BTreeSet<_> =
            items.iter().filter(|(_, item)| is_live(item)).map(|(name, _)| name.clone()).collect();
        let expected: BTreeSet<_> = self.present.keys().map(name).collect();
        if let Some(wrong) = live.symmetric_difference(&expected).next() {
            let is_live = live.contains(wrong);
            panic!("{:?}: {wrong:?} is in the table: {is_live}\n{}", self.way, fleet.history(wrong));
        }
        let mut reports = Vec::new();
        for (document, content) in &self.present {
            let report = report_of(content.counts(), 1);
            let etag = crate::world::etag(&self.stack.cloud, &document.0, &document.1).unwrap();
            let item = &items[&name(document)];
            if item["ETag"].as_s() != Ok(&etag)
                || item["TotalWords"].as_n().ok() != Some(&report["words"].to_string())
            {
                panic!("{document:?} must have {etag}: {item:?}\n{}", fleet.history(&name(document)));
            }
            assert_item(item, &report, &etag);
            self.assert_told(document, &etag);
            reports.push((name(document), report));
        }
        self.assert_only_truth_is_told();
        let step = reports.len().div_ceil(SHOWN);
        let spilled = |name: &String| items[name].contains_key("CountsObject");
        let wordy = reports.iter().filter(|(name, _)| spilled(name)).take(2);
        for (name, report) in reports.iter().step_by(step).chain(wordy) {
            let args = ["results", "show", name, "--all", "--format", "json"];
            assert_eq!(&self.stack.run(&args).code(0).json(), report, "{name}");
        }
        let totals = self.stack.run(&["results", "totals", "--all", "--format", "json"]).code(0).json();
        let mut sum = Counts::new();
        self.present.values().for_each(|content| sum.merge(content.counts().clone()));
        let right = report_of(&sum, self.present.len());
        assert!(totals == right, "{:?}: the totals are wrong", self.way);
    }

    /// Every item of the table, by name.
    fn items(&self) -> BTreeMap<String, Item> {
        let mut items = BTreeMap::new();
        let mut start = None;
        loop {
            let scan =
                self.stack.cloud.dynamo.scan().table_name(&self.stack.table).set_exclusive_start_key(start);
            let page = self.stack.cloud.wait(scan.send()).unwrap();
            items.extend(
                page.items().iter().map(|item| (item["Filename"].as_s().unwrap().clone(), item.clone())),
            );
            start = page.last_evaluated_key;
            if start.is_none() {
                return items;
            }
        }
    }

    fn assert_told(&self, (bucket, key): &Name, etag: &str) {
        let is_told = self.outcomes.iter().any(|told| {
            let job = &told["Job"];
            told["Status"] == "success"
                && job["Bucket"] == **bucket
                && job["Key"] == **key
                && job["ETag"] == etag
        });
        assert!(is_told, "nobody was told of {bucket}/{key}, {etag}");
    }

    /// Whatever was told of a version is what is in it; and only what can never be read is told to have failed.
    fn assert_only_truth_is_told(&self) {
        let mut known: HashMap<(Name, &str), Vec<(String, u64)>> = HashMap::new();
        for told in &self.outcomes {
            let job = &told["Job"];
            let text = |name: &str| job[name].as_str().unwrap();
            let name = (text("Bucket").to_owned(), text("Key").to_owned());
            if told["Status"] == "failure" {
                assert_eq!(name, self.archived, "{told}");
                continue;
            }
            let words = told["Words"].as_array().unwrap().iter();
            let words: Vec<_> = words
                .map(|word| (word["Word"].as_str().unwrap().to_owned(), word["Count"].as_u64().unwrap()))
                .collect();
            let etag = text("ETag");
            let content = self.versions.get(&name).and_then(|versions| versions.get(etag));
            let content = content.unwrap_or_else(|| panic!("there never was such a version: {told}"));
            let expected = known.entry((name, etag)).or_insert_with(|| {
                let top = content.counts().top(10).into_iter();
                top.map(|entry| (entry.word.to_owned(), entry.count)).collect()
            });
            assert_eq!(&words, expected, "{told}");
        }
    }

    /// The dead letters are the poison and nothing else.
    pub(super) fn check_dead_letters(&mut self, fleet: &Fleet) {
        let letters = take_all(&self.stack.cloud, &self.stack.queues.dead_url);
        let dead: BTreeSet<_> = letters.iter().map(|letter| identity(letter)).collect();
        let lost: Vec<_> = self.poison.difference(&dead).collect();
        let wrong: Vec<_> = dead.difference(&self.poison).collect();
        assert!(lost.is_empty() && wrong.is_empty(), "{:?}: lost: {lost:#?}\nwrong: {wrong:#?}", self.way);
        // Sent twice is what was sent and not deleted: by one who was killed, whose lease ran out, or who had no answer.
        let twice = letters.len() - dead.len();
        let reasons = fleet.total_kills()
            + self.lost_answers
            + fleet.num_lines("cannot settle")
            + fleet.num_lines("lease lost");
        assert!(twice <= reasons, "{twice} letters came twice for {reasons} reasons");
        assert!(self.failures() > 0, "nobody was told that {:?} has failed", self.archived);
    }

    fn failures(&self) -> usize {
        self.outcomes.iter().filter(|told| told["Status"] == "failure").count()
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "{:?}: {} documents, {} changes, {} versions, {} events, {} outcomes told ({} failures), {} poison messages",
            self.way,
            self.present.len(),
            self.num_changes,
            self.versions.values().map(HashMap::len).sum::<usize>(),
            self.events.len(),
            self.outcomes.len(),
            self.failures(),
            self.poison.len(),
        )
    }
}

/// What makes a message this one: of what the emulator sends itself, each copy is a little different.
fn identity(body: &str) -> String {
    let message: Value = serde_json::from_str(body).unwrap_or_default();
    match message["Message"].as_str() {
        _ if body.contains(ARCHIVED) => ARCHIVED.to_owned(),
        Some(inner) => inner.to_owned(),
        None => body.to_owned(),
    }
}
