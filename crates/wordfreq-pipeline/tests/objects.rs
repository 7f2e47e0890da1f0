//! Buckets and objects as S3 knows them: what is decided in a transaction, what a listing passes over, and what becomes
//! of messages and results when a bucket begins to trigger or to keep.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use wordfreq_core::Profile;
use wordfreq_pipeline::embedded::{
    Attributes, Condition, DocumentState, Embedded, IfMissing, ListQuery, NewObject, NewPart, NewUpload,
    Options, Part, Purge, Rearranged, Refused, wait_for,
};
use wordfreq_pipeline::queue::Redrive;
use wordfreq_pipeline::worker::{self, Backend, WorkerOptions};
use wordfreq_pipeline::{DocumentId, Drain, ErrorKind, Queue as _, Results as _, Sequence};

struct Fixture {
    _directory: tempfile::TempDir,
    embedded: Arc<Embedded>,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
    embedded.set_profile(&Profile::default()).unwrap();
    Fixture { _directory: directory, embedded: Arc::new(embedded) }
}

fn id(name: &str) -> DocumentId {
    DocumentId::parse(name).unwrap()
}

fn object(name: &str, condition: Condition) -> NewObject {
    NewObject {
        id: id(name),
        etag: format!("tag of {name}"),
        content_type: Some("text/plain".into()),
        attributes: Attributes::default(),
        condition,
    }
}

impl Fixture {
    fn put_if(&self, name: &str, text: &str, condition: Condition) -> Result<Sequence, Refused> {
        let staged = self.embedded.bucket.stage(&mut text.as_bytes()).unwrap();
        wait_for(|done| self.embedded.bucket.put_object(staged, object(name, condition), done)).unwrap()
    }

    fn put(&self, name: &str, text: &str) -> Sequence {
        self.put_if(name, text, Condition::None).unwrap()
    }

    fn read(&self, name: &str) -> Result<String, Refused> {
        let (_, mut file) = self.embedded.bucket.open_object(&id(name)).unwrap()?;
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    fn list(&self, query: &ListQuery) -> (Vec<String>, Vec<String>, Option<String>) {
        let listed = self.embedded.bucket.list_objects(query).unwrap().unwrap();
        let keys = listed.objects.into_iter().map(|object| object.id.key().to_owned()).collect();
        (keys, listed.common_prefixes, listed.next)
    }

    fn keep(&self, names: &[&str]) -> Rearranged {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.embedded.set_kept_buckets(&names).unwrap()
    }

    fn messages(&self) -> u64 {
        self.embedded.queue.depth().unwrap().visible
    }

    /// Works until nothing waits; then what has a result.
    fn counted(&self) -> Vec<String> {
        let drain = Drain::new();
        let backend = Backend::embedded(self.embedded.clone());
        let options = WorkerOptions::embedded(Duration::from_secs(5), 8, 1, 5);
        std::thread::scope(|scope| {
            let working = scope.spawn(|| worker::run(&backend, &options, &drain));
            let mut seen = self.embedded.settled_so_far();
            while !self.embedded.queue.depth().unwrap().is_idle() && !working.is_finished() {
                seen = self.embedded.wait_settled(seen, Duration::from_secs(2));
            }
            drain.request();
            working.join().unwrap().unwrap();
        });
        let results = self.embedded.results.list(None, 1000).unwrap();
        results.into_iter().map(|result| result.document.to_string()).collect()
    }

    fn put_part(&self, upload: &str, name: &str, number: i32, text: &str) -> Result<(), Refused> {
        let staged = self.embedded.bucket.stage(&mut text.as_bytes()).unwrap();
        let etag = format!("tag of {text}");
        let part = NewPart { number, staged, etag, checksum: None };
        wait_for(|done| self.embedded.bucket.put_part(id(name), upload.into(), part, done)).unwrap()
    }

    fn begin(&self, upload: &str, name: &str) -> Result<(), Refused> {
        let new = NewUpload {
            upload: upload.into(),
            id: id(name),
            content_type: None,
            attributes: Attributes::default(),
        };
        wait_for(|done| self.embedded.bucket.create_upload(new, done)).unwrap()
    }

    fn parts(&self, upload: &str, name: &str) -> Result<Vec<Part>, Refused> {
        self.embedded.bucket.list_parts(&id(name), upload, 0, 1000).unwrap()
    }

    fn complete(&self, upload: &str, name: &str, parts: Vec<Part>) -> Result<(), Refused> {
        let staged = self.embedded.bucket.assemble(&parts).unwrap()?;
        wait_for(|done| {
            self.embedded.bucket.complete_upload(
                upload.into(),
                parts,
                staged,
                object(name, Condition::None),
                done,
            )
        })
        .unwrap()
    }

    fn num_objects(&self) -> usize {
        std::fs::read_dir(self.embedded.directory().join("objects")).unwrap().count()
    }
}

#[test]
fn a_put_into_a_bucket_that_keeps_is_no_message() {
    let fixture = fixture();
    let kept = fixture.put("uploading/a", "kept");
    assert_eq!(fixture.messages(), 0);
    assert_eq!(fixture.embedded.state(&id("uploading/a"), kept).unwrap(), DocumentState::Kept);
    fixture.put("processing/a", "counted");
    assert_eq!(fixture.messages(), 1);
    let deleted =
        wait_for(|done| fixture.embedded.bucket.delete_objects("uploading", vec![id("uploading/a")], done))
            .unwrap();
    assert_eq!(deleted, Ok(vec![true]));
    assert_eq!(fixture.messages(), 1);
    assert_eq!(fixture.counted(), ["processing/a"]);
}

#[test]
fn a_bucket_that_begins_to_keep_loses_its_results_and_one_that_begins_to_trigger_is_counted() {
    let fixture = fixture();
    fixture.put("processing/a", "one");
    assert_eq!(fixture.counted(), ["processing/a"]);
    // Not counted yet when the bucket turns: its message is superseded.
    fixture.put("processing/b", "two");
    fixture.put("uploading/c", "three");
    assert_eq!(fixture.keep(&["processing"]), Rearranged { sent: 1, removed: 2 });
    assert_eq!(fixture.counted(), ["uploading/c"]);
    assert_eq!(fixture.embedded.results.totals(None).unwrap().words, 1);
    assert_eq!(fixture.keep(&["processing"]), Rearranged::default());
    // Back and forth before anybody worked: the last word holds.
    fixture.keep(&["uploading"]);
    fixture.keep(&["processing"]);
    fixture.keep(&["uploading"]);
    assert_eq!(fixture.counted(), ["processing/a", "processing/b"]);
}

#[test]
fn a_new_bucket_triggers_unless_the_setting_names_it() {
    let fixture = fixture();
    fixture.keep(&["uploading", "archive"]);
    for name in ["archive", "letters"] {
        assert_eq!(wait_for(|done| fixture.embedded.bucket.create_bucket(name, done)).unwrap(), Ok(()));
        assert_eq!(
            wait_for(|done| fixture.embedded.bucket.create_bucket(name, done)).unwrap(),
            Err(Refused::BucketExists)
        );
        fixture.put(&format!("{name}/a"), "text");
    }
    assert_eq!(fixture.counted(), ["letters/a"]);
    assert_eq!(
        wait_for(|done| fixture.embedded.bucket.delete_bucket("archive", done)).unwrap(),
        Err(Refused::BucketNotEmpty)
    );
    wait_for(|done| fixture.embedded.bucket.delete_objects("archive", vec![id("archive/a")], done))
        .unwrap()
        .unwrap();
    assert_eq!(wait_for(|done| fixture.embedded.bucket.delete_bucket("archive", done)).unwrap(), Ok(()));
    assert_eq!(
        wait_for(|done| fixture.embedded.bucket.delete_bucket("archive", done)).unwrap(),
        Err(Refused::NoSuchBucket)
    );
    assert_eq!(fixture.put_if("archive/a", "text", Condition::None), Err(Refused::NoSuchBucket));
    let names: Vec<_> =
        fixture.embedded.bucket.list_buckets().unwrap().into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(names, ["letters", "processing", "uploading"]);
    let refused = wait_for(|done| fixture.embedded.bucket.create_bucket("No", done)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[test]
fn conditions_are_decided_where_the_put_is_recorded() {
    let fixture = fixture();
    let name = "processing/a";
    assert_eq!(fixture.put_if(name, "x", Condition::Present), Err(Refused::NoSuchKey));
    assert_eq!(fixture.put_if(name, "x", Condition::Etag("t".into())), Err(Refused::NoSuchKey));
    fixture.put_if(name, "first", Condition::Absent).unwrap();
    assert_eq!(fixture.put_if(name, "x", Condition::Absent), Err(Refused::PreconditionFailed));
    assert_eq!(fixture.put_if(name, "x", Condition::Etag("t".into())), Err(Refused::PreconditionFailed));
    assert_eq!(fixture.read(name).unwrap(), "first");
    fixture.put_if(name, "second", Condition::Etag(format!("tag of {name}"))).unwrap();
    assert_eq!(fixture.read(name).unwrap(), "second");
    wait_for(|done| fixture.embedded.bucket.delete_objects("processing", vec![id(name)], done))
        .unwrap()
        .unwrap();
    assert_eq!(fixture.read(name), Err(Refused::NoSuchKey));
    fixture.put_if(name, "third", Condition::Absent).unwrap();
}

#[test]
fn of_many_who_put_what_is_absent_one_does() {
    let fixture = fixture();
    let done: usize = std::thread::scope(|scope| {
        let putting: Vec<_> = (0..32)
            .map(|number| {
                let fixture = &fixture;
                scope.spawn(move || {
                    let text = format!("text {number}");
                    usize::from(fixture.put_if("processing/a", &text, Condition::Absent).is_ok())
                })
            })
            .collect();
        putting.into_iter().map(|putting| putting.join().unwrap()).sum()
    });
    assert_eq!(done, 1);
    assert_eq!(fixture.messages(), 1);
}

#[test]
fn what_is_put_at_the_same_time_is_all_there_with_its_own_bytes() {
    let fixture = fixture();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let fixture = &fixture;
            scope.spawn(move || {
                for number in 0..20 {
                    fixture.put(&format!("processing/{thread}-{number}"), &format!("text {thread} {number}"));
                }
            });
        }
    });
    for thread in 0..16 {
        for number in 0..20 {
            let text = fixture.read(&format!("processing/{thread}-{number}")).unwrap();
            assert_eq!(text, format!("text {thread} {number}"));
        }
    }
    assert_eq!(fixture.messages(), 320);
}

#[test]
fn a_copy_shares_bytes_and_triggers_by_its_own_bucket() {
    let fixture = fixture();
    fixture.put("uploading/a", "one text");
    let copy = |from: &str, to: &str, wanted: bool| {
        let is_wanted = move |_: &_| wanted;
        let (from, to) = (id(from), id(to));
        wait_for(|done| fixture.embedded.bucket.copy_object(from, to, None, Condition::None, is_wanted, done))
            .unwrap()
    };
    assert_eq!(copy("uploading/a", "processing/b", false), Err(Refused::PreconditionFailed));
    assert_eq!(copy("uploading/none", "processing/b", true), Err(Refused::NoSuchKey));
    assert_eq!(copy("uploading/a", "nowhere/b", true), Err(Refused::NoSuchBucket));
    let copied = copy("uploading/a", "processing/b", true).unwrap();
    assert_eq!(copied.etag, "tag of uploading/a");
    assert_eq!(copied.content_type.as_deref(), Some("text/plain"));
    assert_eq!(fixture.num_objects(), 1);
    assert_eq!(fixture.counted(), ["processing/b"]);
    // The source may go.
    wait_for(|done| fixture.embedded.bucket.delete_objects("uploading", vec![id("uploading/a")], done))
        .unwrap()
        .unwrap();
    fixture.embedded.bucket.sweep().unwrap();
    assert_eq!(fixture.read("processing/b").unwrap(), "one text");
}

#[test]
fn a_purge_leaves_no_result_of_what_was_removed() {
    let fixture = fixture();
    let queue = &fixture.embedded.queue;
    wait_for(|done| fixture.embedded.bucket.create_bucket("other", done)).unwrap().unwrap();
    for name in ["processing/deleted", "processing/stays", "other/kept"] {
        fixture.put(name, "words");
    }
    assert_eq!(fixture.counted().len(), 3);
    assert!(fixture.embedded.bucket.delete(&id("processing/deleted")).unwrap());
    fixture.put("processing/stays", "newer words");
    assert_eq!(fixture.keep(&["uploading", "other"]).removed, 1);
    // Only the message of the newer version.
    assert_eq!(queue.purge(Purge::Messages).unwrap(), 1);
    let lease = Duration::from_secs(60);
    let held = queue.receive(1, lease, Duration::ZERO, &Drain::new()).unwrap();
    queue.dead_letter(&held[0].receipt, "its worker died").unwrap();
    assert_eq!(queue.purge(Purge::DeadLetters).unwrap(), 0);
    assert_eq!(queue.redrive(&Redrive::All).unwrap(), 1);
    assert_eq!(fixture.counted(), ["processing/stays"]);
    let totals = fixture.embedded.results.totals(None).unwrap();
    assert_eq!((totals.documents, totals.words), (1, 1));
    fixture.embedded.bucket.recount(&id("processing/stays")).unwrap().unwrap();
    fixture.counted();
    assert_eq!(fixture.embedded.results.totals(None).unwrap().words, 2);
}

#[test]
fn what_is_open_stays_readable_when_it_is_replaced_and_swept() {
    let fixture = fixture();
    fixture.put("processing/a", "old");
    let (_, mut file) = fixture.embedded.bucket.open_object(&id("processing/a")).unwrap().unwrap();
    fixture.put("processing/a", "new");
    assert_eq!(fixture.embedded.bucket.sweep().unwrap().objects, 1);
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "old");
}

#[test]
fn an_upload_in_parts_is_nothing_until_it_is_completed_and_then_all_of_it() {
    let fixture = fixture();
    let name = "processing/large";
    assert_eq!(fixture.begin("u", "nowhere/large"), Err(Refused::NoSuchBucket));
    fixture.begin("u", name).unwrap();
    assert_eq!(fixture.put_part("other", name, 1, "x"), Err(Refused::NoSuchUpload));
    fixture.put_part("u", name, 2, "world").unwrap();
    fixture.put_part("u", name, 1, "wrong ").unwrap();
    fixture.put_part("u", name, 1, "hello ").unwrap();
    assert_eq!(fixture.read(name), Err(Refused::NoSuchKey));
    assert_eq!(fixture.messages(), 0);
    // The refused part and the replaced one go, those in force stay.
    assert_eq!(fixture.embedded.bucket.sweep().unwrap().objects, 2);
    let parts = fixture.parts("u", name).unwrap();
    assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2]);
    let mut replaced = parts.clone();
    replaced[0].digest = [0; 32];
    let staged = fixture.embedded.bucket.assemble(&parts).unwrap().unwrap();
    let refused = wait_for(|done| {
        fixture.embedded.bucket.complete_upload(
            "u".into(),
            replaced,
            staged,
            object(name, Condition::None),
            done,
        )
    })
    .unwrap();
    assert_eq!(refused, Err(Refused::InvalidPart));
    fixture.complete("u", name, parts).unwrap();
    assert_eq!(fixture.read(name).unwrap(), "hello world");
    let upload = fixture.embedded.bucket.upload(&id(name), "u").unwrap().unwrap();
    assert_eq!(upload.completed_etag, Some(format!("tag of {name}")));
    assert_eq!(fixture.parts("u", name), Err(Refused::NoSuchUpload));
    assert_eq!(fixture.counted(), [name]);
    assert_eq!(fixture.embedded.bucket.sweep().unwrap().objects, 2);
    assert_eq!(fixture.read(name).unwrap(), "hello world");
}

#[test]
fn a_completion_that_is_asked_for_twice_at_once_succeeds_twice() {
    let fixture = fixture();
    let (bucket, name) = (&fixture.embedded.bucket, "processing/large");
    fixture.begin("u", name).unwrap();
    fixture.put_part("u", name, 1, "hello").unwrap();
    let (upload, parts) = bucket.upload_with_parts(&id(name), "u", 1000).unwrap().unwrap();
    assert_eq!((upload.completed_etag, parts.len()), (None, 1));
    let complete = |staged, object| {
        wait_for(|done| bucket.complete_upload("u".into(), parts.clone(), staged, object, done)).unwrap()
    };
    let staged = || bucket.assemble(&parts).unwrap().unwrap();
    // All have looked and assembled when the first is done.
    let (first, second, third) = (staged(), staged(), staged());
    assert_eq!(complete(first, object(name, Condition::Absent)), Ok(()));
    let messages = fixture.messages();
    assert_eq!(complete(second, object(name, Condition::Absent)), Ok(()));
    assert_eq!(fixture.messages(), messages);
    let other = NewObject { etag: "of other parts".into(), ..object(name, Condition::None) };
    assert_eq!(complete(third, other), Err(Refused::NoSuchUpload));
    assert_eq!(fixture.read(name).unwrap(), "hello");
    let (upload, none) = bucket.upload_with_parts(&id(name), "u", 1000).unwrap().unwrap();
    assert_eq!((upload.completed_etag, none.len()), (Some(format!("tag of {name}")), 0));
    fixture.put(name, "replaced");
    bucket.sweep().unwrap();
    assert_eq!(bucket.assemble(&parts).unwrap().unwrap_err(), Refused::NoSuchUpload);
}

#[test]
fn uploads_are_aborted_expire_and_are_listed_by_key() {
    let fixture = fixture();
    for (upload, name) in
        [("u2", "processing/b"), ("u1", "processing/b"), ("u3", "processing/a"), ("u4", "uploading/a")]
    {
        fixture.begin(upload, name).unwrap();
    }
    let list = |after: Option<&str>, name, limit| {
        let (bucket, after) = ("processing".to_owned(), after.map(str::to_owned));
        let query = ListQuery { bucket, prefix: String::new(), delimiter: None, after, limit };
        let uploads = fixture.embedded.bucket.list_uploads(&query, name).unwrap().unwrap();
        let names: Vec<_> = uploads.uploads.into_iter().map(|upload| upload.upload).collect();
        (names, uploads.next)
    };
    let place = |key: &str, name: &str| Some((key.to_owned(), Some(name.to_owned())));
    assert_eq!(list(None, None, 10), (vec!["u3".into(), "u1".into(), "u2".into()], None));
    assert_eq!(list(None, None, 2), (vec!["u3".into(), "u1".into()], place("b", "u1")));
    assert_eq!(list(Some("b"), Some("u1"), 2), (vec!["u2".into()], None));
    assert_eq!(list(Some("b"), None, 2), (vec![], None));
    assert_eq!(list(None, None, 0), (vec![], None));
    fixture.put_part("u3", "processing/a", 1, "text").unwrap();
    wait_for(|done| fixture.embedded.bucket.abort_upload(id("processing/a"), "u3".into(), done))
        .unwrap()
        .unwrap();
    let again =
        wait_for(|done| fixture.embedded.bucket.abort_upload(id("processing/a"), "u3".into(), done)).unwrap();
    assert_eq!(again, Err(Refused::NoSuchUpload));
    assert_eq!(fixture.embedded.bucket.sweep().unwrap().objects, 1);
    assert_eq!(fixture.embedded.bucket.expire_uploads(Duration::from_secs(3600)).unwrap(), 0);
    fixture.put_part("u1", "processing/b", 1, "text").unwrap();
    // A clock that stands still for a moment does not matter: what began now is not older than nothing.
    while fixture.embedded.bucket.expire_uploads(Duration::ZERO).unwrap() == 0 {}
    assert_eq!(list(None, None, 10), (Vec::new(), None));
    assert_eq!(fixture.embedded.bucket.sweep().unwrap().objects, 1);
}

#[test]
fn uploads_whose_keys_have_a_common_prefix_are_listed_as_one() {
    let fixture = fixture();
    for (upload, key) in
        [("u1", "a"), ("u2", "b/1"), ("u3", "b/1"), ("u4", "b/2/x"), ("u5", "c"), ("u6", "c"), ("u7", "d/1")]
    {
        fixture.begin(upload, &format!("processing/{key}")).unwrap();
    }
    let pages = |prefix: &str, limit| {
        let (mut names, mut prefixes, mut place) = (Vec::new(), Vec::new(), None::<(String, Option<String>)>);
        loop {
            let query = ListQuery {
                bucket: "processing".into(),
                prefix: prefix.into(),
                delimiter: Some("/".into()),
                after: place.as_ref().map(|(key, _)| key.clone()),
                limit,
            };
            let name = place.and_then(|(_, name)| name);
            let page = fixture.embedded.bucket.list_uploads(&query, name.as_deref()).unwrap().unwrap();
            assert!(page.uploads.len() + page.common_prefixes.len() <= limit);
            names.extend(page.uploads.into_iter().map(|upload| upload.upload));
            prefixes.extend(page.common_prefixes);
            place = page.next;
            if place.is_none() {
                return (names.join(" "), prefixes.join(" "));
            }
        }
    };
    for limit in 1..10 {
        assert_eq!(pages("", limit), ("u1 u5 u6".into(), "b/ d/".into()), "{limit}");
        assert_eq!(pages("b/", limit), ("u2 u3".into(), "b/2/".into()), "{limit}");
    }
}

#[test]
fn a_bucket_that_is_deleted_takes_its_uploads_along() {
    let fixture = fixture();
    fixture.begin("u", "uploading/a").unwrap();
    fixture.put_part("u", "uploading/a", 1, "text").unwrap();
    assert_eq!(wait_for(|done| fixture.embedded.bucket.delete_bucket("uploading", done)).unwrap(), Ok(()));
    assert_eq!(fixture.put_part("u", "uploading/a", 1, "text"), Err(Refused::NoSuchBucket));
    assert_eq!(fixture.embedded.bucket.sweep().unwrap().objects, 1);
}

/// What S3 lists, told in the plainest way: everything in order, cut after the limit.
fn model(keys: &BTreeSet<String>, query: &ListQuery) -> (Vec<String>, Vec<String>, Option<String>) {
    let mut items: BTreeMap<String, bool> = BTreeMap::new();
    for key in keys.iter().filter(|key| key.starts_with(&query.prefix)) {
        let delimiter = query.delimiter.as_deref();
        let rest = &key[query.prefix.len()..];
        match delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len())) {
            Some(length) => items.insert(key[..query.prefix.len() + length].to_owned(), true),
            None => items.insert(key.clone(), false),
        };
    }
    let after = query.after.clone().unwrap_or_default();
    let all: Vec<_> = items.into_iter().filter(|(item, _)| *item > after).collect();
    let page = &all[..all.len().min(query.limit)];
    let of = |wanted: bool| {
        page.iter().filter(|(_, common)| *common == wanted).map(|(item, _)| item.clone()).collect()
    };
    let next = (all.len() > page.len()).then(|| page.last().map(|(item, _)| item.clone())).flatten();
    (of(false), of(true), next)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_listing_is_what_the_model_says(
        keys in prop::collection::btree_set("[ab/é\u{10FFFF}]{1,5}", 0..24),
        deleted in prop::collection::btree_set("[ab/]{1,3}", 0..8),
        queries in prop::collection::vec(
            ("[ab/]{0,2}", prop::option::of("/|é|ab"), prop::option::of("[ab/é\u{10FFFF}]{0,4}"), 1usize..6), 1..12),
    ) {
        let fixture = fixture();
        let mut names: Vec<_> = keys.iter().chain(&deleted).map(|key| format!("uploading/{key}")).collect();
        names.sort();
        names.dedup();
        for name in &names {
            fixture.put(name, "text");
        }
        let gone: Vec<_> = deleted.iter().map(|key| id(&format!("uploading/{key}"))).collect();
        wait_for(|done| fixture.embedded.bucket.delete_objects("uploading", gone, done)).unwrap().unwrap();
        let keys = &keys - &deleted;
        for (prefix, delimiter, after, limit) in queries {
            let query = ListQuery { bucket: "uploading".into(), prefix, delimiter, after, limit };
            prop_assert_eq!(fixture.list(&query), model(&keys, &query), "{:?}", query);
        }
    }
}
