//! Each policy of `deploy/aws` is enough for what its role does, and for nothing beside it: the adapters work under it on
//! an emulator that enforces IAM, and what is next to their work is denied. Not here: how the adapters work (`adapters`).
//!
//! The emulator is not AWS in three things, which `for_the_emulator` makes up for: it knows resources of SQS and S3 only,
//! so a policy's DynamoDB actions are given on all tables, and it takes `SendMessageBatch` and its like for actions of
//! their own, where AWS has them under `SendMessage`. And a queue's own policy is not asked at all: that S3 may send, and
//! nobody else's bucket, cannot be shown here.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use serde_json::{Value, json};
use support::cloud::{ACCESS_KEY, REGION, SECRET_KEY};
use support::moto::Moto;
use support::proxy::Proxy;
use tokio::runtime::Runtime;
use wordfreq_aws::bootstrap::{BootstrapOptions, RESULT_PREFIX, Role, Stack, StackName, bootstrap, policy};
use wordfreq_aws::{
    Asked, Connection, DynamoResults, Job, JobResult, JobStatus, Leases, ResultQueue, SpillLocation,
    SqsQueue, TableLocation, Uploads, WorkerSettings, Workers,
};
use wordfreq_core::{Profile, count};
use wordfreq_pipeline::queue::{Queue as _, Redrive};
use wordfreq_pipeline::results::{CommitOutcome, Completion, Effect, Results as _};
use wordfreq_pipeline::worker::run as work;
use wordfreq_pipeline::{DocumentEvent, DocumentId, Drain, EventKind, Sequence};

const LEASE: Duration = Duration::from_secs(60);
/// Far longer than anything here takes.
const GUARD: Duration = Duration::from_secs(60);

/// An emulator with a stack for each role, in which a user of the role's name may do what the role does, and one more
/// stack, in which nobody may anything.
struct World {
    moto: Moto,
    stacks: BTreeMap<String, Stack>,
    other: Stack,
    keys: BTreeMap<String, [String; 2]>,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let moto = Moto::start();
        let connection = Connection::for_endpoint(&moto.url, REGION, ACCESS_KEY, SECRET_KEY).unwrap();
        let make = |name: &str| {
            let name = StackName::parse(name).unwrap();
            bootstrap(&connection, &name, &BootstrapOptions::default()).unwrap()
        };
        let all = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }],
        });
        let mut users = BTreeMap::from([("admin".to_owned(), all)]);
        let mut stacks = BTreeMap::new();
        for role in Role::ALL {
            let stack = make(&name_of(role));
            users.insert(name_of(role), for_the_emulator(&policy(role, &stack)));
            stacks.insert(name_of(role), stack);
        }
        let other = make("other");
        let keys = make_users(&moto, &users);
        moto.enable_iam();
        Self { moto, stacks, other, keys }
    }

    fn admin(&self) -> Client {
        Client::new(&self.moto.url, &self.keys["admin"])
    }

    /// What can ask for anything with the keys of a role.
    fn client(&self, role: Role) -> Client {
        Client::new(&self.moto.url, &self.keys[&name_of(role)])
    }

    fn connection(&self, url: &str, user: &str) -> Arc<Connection> {
        let [access_key, secret_key] = &self.keys[user];
        Connection::for_endpoint(url, REGION, access_key, secret_key).unwrap()
    }

    /// What a role works with, through a proxy that sees what it asks for.
    fn seen(&self, role: Role) -> (Arc<Connection>, Proxy) {
        let proxy = Proxy::start(&self.moto.url);
        (self.connection(&proxy.url, &name_of(role)), proxy)
    }
}

/// Of its stack and its user.
fn name_of(role: Role) -> String {
    format!("{role:?}").to_lowercase()
}

/// See the head of this file.
fn for_the_emulator(policy: &str) -> Value {
    let mut policy: Value = serde_json::from_str(policy).unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        let mut actions = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            one => vec![one.clone()],
        };
        if actions.iter().any(|action| action.as_str().unwrap().starts_with("dynamodb:")) {
            statement["Resource"] = json!("*");
        }
        for action in ["sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"] {
            if actions.contains(&json!(action)) {
                actions.push(json!(format!("{action}Batch")));
            }
        }
        statement["Action"] = Value::Array(actions);
    }
    policy
}

fn make_users(moto: &Moto, users: &BTreeMap<String, Value>) -> BTreeMap<String, [String; 2]> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(here.join("../../target/venv/bin/python"))
        .arg(here.join("tests/iam_setup.py"))
        .arg(&moto.url)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(users).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "its message is above");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Clients of one user, to ask for what no adapter asks for.
struct Client {
    runtime: Runtime,
    sqs: aws_sdk_sqs::Client,
    s3: aws_sdk_s3::Client,
    dynamo: aws_sdk_dynamodb::Client,
}

impl Client {
    fn new(url: &str, [access_key, secret_key]: &[String; 2]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = runtime.block_on(
            aws_config::defaults(BehaviorVersion::v2026_01_12())
                .http_client(http)
                .endpoint_url(url)
                .region(Region::from_static(REGION))
                .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
                .load(),
        );
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            dynamo: aws_sdk_dynamodb::Client::new(&config),
            runtime,
        }
    }

    fn wait<F: Future>(&self, answer: F) -> F::Output {
        self.runtime.block_on(answer)
    }

    fn put(&self, bucket: &str, key: &str, text: &str) -> Option<String> {
        let put = self.s3.put_object().bucket(bucket).key(key).body(text.as_bytes().to_vec().into());
        self.wait(put.send()).unwrap().version_id
    }

    fn send(&self, url: &str, body: &str) {
        self.wait(self.sqs.send_message().queue_url(url).message_body(body).send()).unwrap();
    }

    fn keys(&self, bucket: &str) -> Vec<String> {
        let listed = self.wait(self.s3.list_objects_v2().bucket(bucket).send()).unwrap();
        listed.contents.unwrap_or_default().into_iter().map(|object| object.key.unwrap()).collect()
    }

    /// Waits for a message and takes it.
    fn next(&self, url: &str) -> aws_sdk_sqs::types::Message {
        let receive =
            self.sqs.receive_message().queue_url(url).wait_time_seconds(20).message_attribute_names("All");
        let message = self.wait(receive.send()).unwrap().messages.unwrap_or_default().remove(0);
        let delete = self.sqs.delete_message().queue_url(url);
        self.wait(delete.receipt_handle(message.receipt_handle.as_ref().unwrap()).send()).unwrap();
        message
    }

    fn expect_denied(&self, requests: Vec<Request>) {
        let answers = requests.into_iter().map(|(what, request)| (what, self.wait(request)));
        let others: Vec<_> = answers.filter(|(_, status)| *status != Some(403)).collect();
        assert_eq!(others, [], "these are not denied");
    }
}

/// What is asked for, and the status of the answer; `None` for success.
type Request = (&'static str, std::pin::Pin<Box<dyn Future<Output = Option<u16>>>>);

fn request<T, E: Debug>(
    what: &'static str,
    sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + 'static,
) -> Request {
    (
        what,
        Box::pin(async {
            let error = sent.await.err()?;
            let status = error.raw_response().map(|response| response.status().as_u16());
            Some(status.unwrap_or_else(|| panic!("no answer: {error:?}")))
        }),
    )
}

/// All the operations that were asked for, none of which was denied.
fn operations(proxy: &Proxy) -> BTreeSet<String> {
    let seen = proxy.requests();
    let denied: Vec<_> = seen.iter().filter(|seen| seen.status == Some(403)).collect();
    assert!(denied.is_empty(), "{denied:?}");
    seen.into_iter().map(|seen| seen.operation).collect()
}

fn location(stack: &Stack) -> TableLocation {
    let spill = SpillLocation { bucket: stack.results_bucket.clone(), prefix: RESULT_PREFIX.into() };
    TableLocation { table: stack.table.clone(), spill: Some(spill) }
}

/// A vocabulary that no item can hold.
fn large_text() -> String {
    let mut state = 7_u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:x} ", state >> 8)
    };
    (0..60_000).map(|_| word()).collect()
}

/// As S3 tells it.
fn event(stack: &Stack, name: &str, key: &str, version_id: Option<&str>, sequencer: &str) -> String {
    let mut object = json!({ "key": key, "size": 5, "eTag": "tag", "sequencer": sequencer });
    if let Some(version_id) = version_id {
        object["versionId"] = json!(version_id);
    }
    let record = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": name,
        "s3": { "bucket": { "name": stack.bucket }, "object": object },
    });
    json!({ "Records": [record] }).to_string()
}

/// However a test ends, its worker ends too.
struct DrainAtEnd(Drain);

impl Drop for DrainAtEnd {
    fn drop(&mut self) {
        self.0.request();
    }
}

#[test]
fn a_worker_works_under_its_policy_and_may_nothing_else() {
    let world = &*WORLD;
    let (connection, proxy) = world.seen(Role::Worker);
    let (stack, admin) = (&world.stacks["worker"], world.admin());
    // What only happens when a document takes long, or fails. Before there is a worker: one that is drained leaves a poll
    // behind in the emulator, which still takes messages. The message is S3's own, of the notification.
    let queue = SqsQueue::open(connection.clone(), &stack.queue_url, Arc::new(Leases::default())).unwrap();
    let message = queue.receive(1, LEASE, GUARD, &Drain::new()).unwrap().remove(0);
    assert_eq!(queue.extend(std::slice::from_ref(&message.receipt), LEASE).unwrap(), [true]);
    queue.release(&message.receipt, Duration::ZERO, None).unwrap();
    let message = queue.receive(1, LEASE, GUARD, &Drain::new()).unwrap().remove(0);
    queue.ack(&[message.receipt]).unwrap();

    let settings = WorkerSettings {
        queue_url: stack.queue_url.clone(),
        result_queue_url: stack.result_queue_url.clone(),
        location: location(stack),
        profile: Profile::default(),
    };
    let workers = Workers::open(connection.clone(), settings).unwrap();
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let version = admin.s3.put_bucket_versioning().bucket(&stack.bucket).versioning_configuration(on);
    admin.wait(version.send()).unwrap();

    admin.put(&stack.bucket, "small", "one two two");
    admin.put(&stack.bucket, "large", &large_text());
    let version_id = admin.put(&stack.bucket, "versioned", "three").unwrap();
    admin.send(&stack.queue_url, &event(stack, "ObjectCreated:Put", "versioned", Some(&version_id), "ff"));
    admin.send(&stack.queue_url, &event(stack, "ObjectCreated:Put", "missing", None, "ff"));
    admin.send(&stack.queue_url, "not an event");
    // Another version of the same moment is there: the bucket is asked which of them it has.
    let newest = "ff".repeat(12);
    let text = |text: &str| AttributeValue::S(text.into());
    let item = [
        ("Filename", text(&format!("{}/same", stack.bucket))),
        ("Sequencer", text(&format!("{newest:0>32}"))),
        ("ETag", text("another")),
        ("CommitId", text("another")),
    ];
    let item = item.map(|(name, value)| (name.to_owned(), value));
    let put = admin.dynamo.put_item().table_name(&stack.table).set_item(Some(item.into()));
    admin.wait(put.send()).unwrap();
    // The emulator tells of it as well, by the time; that is older.
    admin.put(&stack.bucket, "same", "four");
    admin.send(&stack.queue_url, &event(stack, "ObjectCreated:Put", "same", None, &newest));

    let told = |keys: &[&str]| {
        let mut left: BTreeSet<_> = keys.iter().copied().collect();
        while !left.is_empty() {
            let body = admin.next(&stack.result_queue_url).body.unwrap();
            let result: JobResult = serde_json::from_str(&body).unwrap();
            assert_eq!(result.status, JobStatus::Success, "{body}");
            left.remove(&*result.job.key);
        }
    };
    let drain = Drain::new();
    let tally = std::thread::scope(|scope| {
        let _at_end = DrainAtEnd(drain.clone());
        let worker = scope.spawn(|| work(&workers.backend(), &workers.options(LEASE, 1), &drain));
        told(&["small", "large", "versioned", "same"]);
        let letter = admin.next(&stack.dead_letter_url);
        assert_eq!(letter.body.as_deref(), Some("not an event"));
        assert_eq!(admin.keys(&stack.results_bucket).len(), 1, "the large table is beside its item");
        admin.send(
            &stack.queue_url,
            &event(stack, "ObjectRemoved:DeleteMarkerCreated", "large", None, &newest),
        );
        admin.put(&stack.bucket, "last", "five");
        told(&["last"]);
        assert_eq!(admin.keys(&stack.results_bucket), Vec::<String>::new(), "and gone with it");
        drain.request();
        worker.join().unwrap().unwrap()
    });
    assert_eq!((tally.dead_letters, tally.lost), (1, 0), "{tally:?}");

    let used = [
        "ChangeMessageVisibilityBatch",
        "DeleteMessageBatch",
        "DeleteObject",
        "DescribeTable",
        "GetObject",
        "GetQueueAttributes",
        "HeadObject",
        "PutItem",
        "PutObject",
        "ReceiveMessage",
        "SendMessageBatch",
    ];
    assert_eq!(
        operations(&proxy).into_iter().collect::<Vec<_>>(),
        used,
        "the policy has no more than these need"
    );
    a_worker_may_nothing_else(world, &admin);
}

fn a_worker_may_nothing_else(world: &World, admin: &Client) {
    let (ours, theirs, client) = (&world.stacks["worker"], &world.other, world.client(Role::Worker));
    let Client { sqs, s3, dynamo, .. } = &client;
    for (bucket, key) in [
        (&theirs.bucket, "document"),
        (&ours.results_bucket, "counts/table"),
        (&ours.results_bucket, "elsewhere"),
    ] {
        admin.put(bucket, key, "words");
    }
    let receive = |url: &String| sqs.receive_message().queue_url(url).send();
    let send = |url: &String| sqs.send_message().queue_url(url).message_body("x").send();
    let get = |bucket: &String, key: &str| s3.get_object().bucket(bucket).key(key).send();
    let put =
        |bucket: &String, key: &str| s3.put_object().bucket(bucket).key(key).body(vec![b'x'].into()).send();
    let delete = |bucket: &String, key: &str| s3.delete_object().bucket(bucket).key(key).send();
    let list = |bucket: &String| s3.list_objects_v2().bucket(bucket).send();
    let key = || AttributeValue::S("a".into());
    let table = &ours.table;
    client.expect_denied(vec![
        request("receive another's jobs", receive(&theirs.queue_url)),
        request("receive dead letters", receive(&ours.dead_letter_url)),
        request("receive results", receive(&ours.result_queue_url)),
        request("send jobs", send(&ours.queue_url)),
        request("send another's jobs", send(&theirs.queue_url)),
        request("send another's dead letters", send(&theirs.dead_letter_url)),
        request("send another's results", send(&theirs.result_queue_url)),
        request("purge jobs", sqs.purge_queue().queue_url(&ours.queue_url).send()),
        request("delete the queue of jobs", sqs.delete_queue().queue_url(&ours.queue_url).send()),
        request(
            "change the queue of jobs",
            sqs.set_queue_attributes()
                .queue_url(&ours.queue_url)
                .attributes(QueueAttributeName::VisibilityTimeout, "1")
                .send(),
        ),
        request("read another's document", get(&theirs.bucket, "document")),
        request("put a document", put(&ours.bucket, "document")),
        request("delete a document", delete(&ours.bucket, "small")),
        request("delete another's document", delete(&theirs.bucket, "document")),
        request("list another's documents", list(&theirs.bucket)),
        request("list tables", list(&ours.results_bucket)),
        request("read a table", get(&ours.results_bucket, "counts/table")),
        request("put beside the tables", put(&ours.results_bucket, "elsewhere")),
        request("delete beside the tables", delete(&ours.results_bucket, "elsewhere")),
        request("put another's table", put(&theirs.results_bucket, "counts/table")),
        request("delete the bucket", s3.delete_bucket().bucket(&ours.bucket).send()),
        request(
            "look at notifications",
            s3.get_bucket_notification_configuration().bucket(&ours.bucket).send(),
        ),
        request("read a result", dynamo.get_item().table_name(table).key("Filename", key()).send()),
        request("read all results", dynamo.scan().table_name(table).send()),
        request("delete a result", dynamo.delete_item().table_name(table).key("Filename", key()).send()),
        request("update a result", dynamo.update_item().table_name(table).key("Filename", key()).send()),
        request("delete the table", dynamo.delete_table().table_name(table).send()),
    ]);
}

#[test]
fn an_uploader_works_under_its_policy_and_may_nothing_else() {
    let world = &*WORLD;
    let (connection, proxy) = world.seen(Role::Uploader);
    let (ours, theirs, admin) = (&world.stacks["uploader"], &world.other, world.admin());
    let uploads = Uploads::new(connection.clone());
    let files = tempfile::tempdir().unwrap();
    let id = |key: &str| DocumentId::new(&*ours.bucket, key).unwrap();
    let since = SystemTime::now();
    let put = |key: &str, bytes: usize| {
        let path = files.path().join(key);
        std::fs::write(&path, vec![b'x'; bytes]).unwrap();
        uploads.put(&path, &id(key), &|_| {}).unwrap()
    };
    let small = put("small", 10);
    put("of-parts", 17 * 1024 * 1024);
    let upload = admin.s3.create_multipart_upload().bucket(&ours.bucket).key("unfinished").send();
    let upload = admin.wait(upload).unwrap().upload_id.unwrap();
    let client = world.client(Role::Uploader);
    let abort = client.s3.abort_multipart_upload().bucket(&ours.bucket).key("unfinished").upload_id(upload);
    client.wait(abort.send()).unwrap();

    let result = |key: &str, etag: Option<String>| JobResult {
        job: Job {
            started_at: humantime::format_rfc3339(SystemTime::now()).to_string(),
            bucket: ours.bucket.clone(),
            key: key.into(),
            etag,
            ..Job::default()
        },
        words: None,
        duration: 0,
        status: JobStatus::Success,
        status_message: String::new(),
    };
    // Another's is looked at and given back.
    for result in [result("another", None), result("small", small.etag.clone())] {
        admin.send(&ours.result_queue_url, &serde_json::to_string(&result).unwrap());
    }
    let asked = [Asked { id: id("small"), etag: small.etag, since }];
    let mut answered = 0;
    let queue = ResultQueue::new(connection.clone(), &ours.result_queue_url);
    queue.wait(&asked, Instant::now() + GUARD, &Drain::new(), |_, _| answered += 1).unwrap();
    assert_eq!(answered, 1);
    let results =
        DynamoResults::new(connection, location(ours), Profile::default(), Arc::new(Leases::default()));
    assert!(results.read(&id("small"), Some(0)).unwrap().is_none());
    assert!(uploads.delete(&id("small")).unwrap());
    assert!(!uploads.delete(&id("small")).unwrap());
    operations(&proxy);

    let Client { sqs, s3, dynamo, .. } = &client;
    let table = &ours.table;
    client.expect_denied(vec![
        request("take jobs", sqs.receive_message().queue_url(&ours.queue_url).send()),
        request("send jobs", sqs.send_message().queue_url(&ours.queue_url).message_body("x").send()),
        request(
            "tell results",
            sqs.send_message().queue_url(&ours.result_queue_url).message_body("x").send(),
        ),
        request("take another's results", sqs.receive_message().queue_url(&theirs.result_queue_url).send()),
        request("put another's document", s3.put_object().bucket(&theirs.bucket).key("k").send()),
        request("put a table", s3.put_object().bucket(&ours.results_bucket).key("counts/k").send()),
        request("delete a version", s3.delete_object().bucket(&ours.bucket).key("k").version_id("v").send()),
        request("delete the bucket", s3.delete_bucket().bucket(&ours.bucket).send()),
        request("read all results", dynamo.scan().table_name(table).send()),
        request(
            "put a result",
            dynamo.put_item().table_name(table).item("Filename", AttributeValue::S("a".into())).send(),
        ),
    ]);
}

#[test]
fn a_reader_works_under_its_policy_and_may_nothing_else() {
    let world = &*WORLD;
    let (connection, proxy) = world.seen(Role::Reader);
    let (ours, theirs, admin) = (&world.stacks["reader"], &world.other, world.admin());
    let large = large_text();
    for (key, text) in [("small", "one two"), ("large", &*large)] {
        commit(world, ours, key, text);
    }
    let tables = admin.keys(&ours.results_bucket);
    assert_eq!(tables.len(), 1);
    let queue = SqsQueue::open(connection.clone(), &ours.queue_url, Arc::new(Leases::default())).unwrap();
    queue.depth().unwrap();
    let results =
        DynamoResults::new(connection, location(ours), Profile::default(), Arc::new(Leases::default()));
    assert_eq!(results.list(None, 10).unwrap().len(), 2);
    let id = DocumentId::new(&*ours.bucket, "large").unwrap();
    assert!(results.read(&id, None).unwrap().unwrap().counts.len() > 50_000);
    assert_eq!(results.totals(Some(1)).unwrap().documents, 2);
    operations(&proxy);

    let client = world.client(Role::Reader);
    let Client { sqs, s3, dynamo, .. } = &client;
    admin.put(&ours.bucket, "document", "words");
    admin.put(&ours.results_bucket, "elsewhere", "secret");
    let key = || AttributeValue::S("a".into());
    let table = &ours.table;
    client.expect_denied(vec![
        request("take jobs", sqs.receive_message().queue_url(&ours.queue_url).send()),
        request("take results", sqs.receive_message().queue_url(&ours.result_queue_url).send()),
        request("look at another's queue", sqs.get_queue_attributes().queue_url(&theirs.queue_url).send()),
        request("read a document", s3.get_object().bucket(&ours.bucket).key("document").send()),
        request(
            "read beside the tables",
            s3.get_object().bucket(&ours.results_bucket).key("elsewhere").send(),
        ),
        request("delete a table", s3.delete_object().bucket(&ours.results_bucket).key(&tables[0]).send()),
        request("put a result", dynamo.put_item().table_name(table).item("Filename", key()).send()),
        request("delete a result", dynamo.delete_item().table_name(table).key("Filename", key()).send()),
    ]);
}

#[test]
fn an_operator_works_under_its_policy_and_may_nothing_else() {
    let world = &*WORLD;
    let (connection, proxy) = world.seen(Role::Operator);
    let (ours, theirs, admin) = (&world.stacks["operator"], &world.other, world.admin());
    admin.send(&ours.dead_letter_url, "dead");
    let queue = SqsQueue::open(connection, &ours.queue_url, Arc::new(Leases::default())).unwrap();
    assert_eq!(queue.depth().unwrap().dead_letters, 1);
    assert_eq!(queue.dead_letters(10).unwrap()[0].body, "dead");
    assert_eq!(queue.redrive(&Redrive::All).unwrap(), 1);
    assert_eq!(queue.depth().unwrap().dead_letters, 0);
    operations(&proxy);

    let client = world.client(Role::Operator);
    let Client { sqs, s3, dynamo, .. } = &client;
    client.expect_denied(vec![
        request("take jobs", sqs.receive_message().queue_url(&ours.queue_url).send()),
        request("purge jobs", sqs.purge_queue().queue_url(&ours.queue_url).send()),
        request("purge dead letters", sqs.purge_queue().queue_url(&ours.dead_letter_url).send()),
        request("take results", sqs.receive_message().queue_url(&ours.result_queue_url).send()),
        request(
            "take another's dead letters",
            sqs.receive_message().queue_url(&theirs.dead_letter_url).send(),
        ),
        request(
            "send another's jobs",
            sqs.send_message().queue_url(&theirs.queue_url).message_body("x").send(),
        ),
        request("list documents", s3.list_objects_v2().bucket(&ours.bucket).send()),
        request("read all results", dynamo.scan().table_name(&ours.table).send()),
    ]);
}

/// Commits a result as a worker does, with every right.
fn commit(world: &World, stack: &Stack, key: &str, text: &str) {
    let connection = world.connection(&world.moto.url, "admin");
    let (leases, profile) = (Arc::new(Leases::default()), Profile::default());
    let queue = SqsQueue::open(connection.clone(), &stack.queue_url, leases.clone()).unwrap();
    world.admin().send(&stack.queue_url, "a lease");
    let receipt = queue.receive(1, LEASE, GUARD, &Drain::new()).unwrap().remove(0).receipt;
    let id = DocumentId::new(&*stack.bucket, key).unwrap();
    let event = DocumentEvent::new(EventKind::Created, id, Sequence(1), 0);
    let counts = count(&profile, text.as_bytes()).unwrap();
    let effect = Effect::Counted { counts, fingerprint: profile.fingerprint(), duration: Duration::ZERO };
    let results = DynamoResults::new(connection, location(stack), profile, leases);
    let committed = results.commit(&[Completion { receipt: receipt.clone(), event, effect }]).unwrap();
    assert_eq!(committed[0].outcome, CommitOutcome::Committed);
    queue.ack(&[receipt]).unwrap();
}

/// Without this the tests above would show nothing: the emulator enforces both whose key it is and what may be done.
#[test]
fn the_emulator_denies_those_it_does_not_know() {
    let stranger = Client::new(&WORLD.moto.url, &[ACCESS_KEY.into(), SECRET_KEY.into()]);
    let Client { sqs, s3, dynamo, .. } = &stranger;
    let stack = &WORLD.other;
    stranger.expect_denied(vec![
        request("take jobs", sqs.receive_message().queue_url(&stack.queue_url).send()),
        request("list documents", s3.list_objects_v2().bucket(&stack.bucket).send()),
        request("read all results", dynamo.scan().table_name(&stack.table).send()),
    ]);
}
