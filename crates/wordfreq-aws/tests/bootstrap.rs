//! A stack made, mended and destroyed on an emulator of AWS. What the emulator always has at once, and AWS has not, is
//! put in its way by a gate that answers some requests itself. Not here: what the policies allow (`iam`).

mod support;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_sdk_dynamodb::types::{PointInTimeRecoverySpecification, Tag as TableTag};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, Event, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, NotificationConfiguration, QueueConfiguration, Tag, Tagging,
    VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use support::cloud::{ACCESS_KEY, Cloud, REGION, SECRET_KEY, unique};
use support::moto::{ACCOUNT, Moto};
use wordfreq_aws::Connection;
use wordfreq_aws::bootstrap::{
    BootstrapOptions, Destroyed, Documents, Stack, StackName, bootstrap, destroy, find,
};
use wordfreq_pipeline::ErrorKind;

static MOTO: LazyLock<Moto> = LazyLock::new(Moto::start);
static CLOUD: LazyLock<Cloud> = LazyLock::new(|| Cloud::new(&MOTO.url));
static CONNECTION: LazyLock<Arc<Connection>> = LazyLock::new(|| connection(&MOTO.url, REGION));

fn connection(url: &str, region: &str) -> Arc<Connection> {
    Connection::for_endpoint(url, region, ACCESS_KEY, SECRET_KEY).unwrap()
}

fn new_name() -> StackName {
    StackName::parse(&unique("s")).unwrap()
}

fn made(name: &StackName) -> Stack {
    bootstrap(&CONNECTION, name, &BootstrapOptions::default()).unwrap()
}

fn documents_of(name: &StackName) -> String {
    format!("{name}-{ACCOUNT}-{REGION}-documents")
}

fn tables_of(name: &StackName) -> String {
    format!("{name}-{ACCOUNT}-{REGION}-results")
}

fn queue_attributes(url: &str) -> BTreeMap<String, String> {
    let get = CLOUD.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
    let attributes = CLOUD.wait(get.send()).unwrap().attributes.unwrap();
    let is_a_setting = |name: &str| !name.starts_with("Approximate") && !name.ends_with("Timestamp");
    attributes
        .into_iter()
        .map(|(name, value)| (name.as_str().to_owned(), value))
        .filter(|(name, _)| is_a_setting(name))
        .collect()
}

fn notifications(bucket: &str) -> Vec<QueueConfiguration> {
    let get = CLOUD.s3.get_bucket_notification_configuration().bucket(bucket);
    match CLOUD.wait(get.send()) {
        Ok(found) => found.queue_configurations.unwrap_or_default(),
        // Where there are none, the emulator's answer has a root element of another name, which the SDK does not take.
        Err(error) => {
            let answer = error.raw_response().unwrap();
            let body = String::from_utf8_lossy(answer.body().bytes().unwrap()).into_owned();
            assert!(answer.status().is_success() && !body.contains("Configuration>"), "{error:?}");
            Vec::new()
        }
    }
}

fn lifecycle(bucket: &str) -> Vec<LifecycleRule> {
    let get = CLOUD.s3.get_bucket_lifecycle_configuration().bucket(bucket);
    CLOUD.wait(get.send()).unwrap().rules.unwrap_or_default()
}

fn bucket_tags(bucket: &str) -> BTreeMap<String, String> {
    let tags = CLOUD.wait(CLOUD.s3.get_bucket_tagging().bucket(bucket).send()).unwrap().tag_set;
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn table_tags(table: &str) -> BTreeMap<String, String> {
    let described = CLOUD.wait(CLOUD.dynamo.describe_table().table_name(table).send()).unwrap();
    let arn = described.table.unwrap().table_arn.unwrap();
    let tags = CLOUD.wait(CLOUD.dynamo.list_tags_of_resource().resource_arn(arn).send()).unwrap().tags;
    tags.unwrap().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn queue_tags(url: &str) -> BTreeMap<String, String> {
    let tags = CLOUD.wait(CLOUD.sqs.list_queue_tags().queue_url(url).send()).unwrap().tags;
    tags.unwrap_or_default().into_iter().collect()
}

/// All of a stack's settings as text, without what differs from one stack to another.
fn settings(name: &StackName) -> Vec<String> {
    let mut settings = Vec::new();
    for queue in ["jobs", "jobs-dead", "results"] {
        let get = CLOUD.sqs.get_queue_url().queue_name(format!("{name}-{queue}"));
        let url = CLOUD.wait(get.send()).unwrap().queue_url.unwrap();
        settings.push(format!("{queue}: {:?} {:?}", queue_attributes(&url), queue_tags(&url)));
    }
    for bucket in [documents_of(name), tables_of(name)] {
        let s3 = &CLOUD.s3;
        settings.extend([
            format!("{:?}", bucket_tags(&bucket)),
            format!(
                "{:?}",
                CLOUD
                    .wait(s3.get_public_access_block().bucket(&bucket).send())
                    .unwrap()
                    .public_access_block_configuration
            ),
            format!(
                "{:?}",
                CLOUD
                    .wait(s3.get_bucket_ownership_controls().bucket(&bucket).send())
                    .unwrap()
                    .ownership_controls
            ),
            format!(
                "{:?}",
                CLOUD
                    .wait(s3.get_bucket_encryption().bucket(&bucket).send())
                    .unwrap()
                    .server_side_encryption_configuration
            ),
            format!("{:?}", lifecycle(&bucket)),
            format!("{:?}", notifications(&bucket)),
        ]);
    }
    let table = format!("{name}-results");
    let described =
        CLOUD.wait(CLOUD.dynamo.describe_table().table_name(&table).send()).unwrap().table.unwrap();
    let backups = CLOUD.wait(CLOUD.dynamo.describe_continuous_backups().table_name(&table).send()).unwrap();
    let backups = backups.continuous_backups_description.unwrap().point_in_time_recovery_description.unwrap();
    let expiry = CLOUD.wait(CLOUD.dynamo.describe_time_to_live().table_name(&table).send()).unwrap();
    settings.push(format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        described.key_schema,
        described.attribute_definitions,
        described.billing_mode_summary.map(|summary| summary.billing_mode),
        described.deletion_protection_enabled,
        table_tags(&table),
        backups.point_in_time_recovery_status,
        expiry.time_to_live_description,
    ));
    settings.iter().map(|text| text.replace(name.as_str(), "NAME")).collect()
}

/// Names of queues, tables and buckets that begin with this.
fn present(prefix: &str) -> Vec<String> {
    let queues = CLOUD.wait(CLOUD.sqs.list_queues().queue_name_prefix(prefix).send()).unwrap().queue_urls;
    let queues = queues.unwrap_or_default();
    let queues = queues.iter().map(|url| format!("queue {}", url.rsplit('/').next().unwrap()));
    let tables = CLOUD.wait(CLOUD.dynamo.list_tables().send()).unwrap().table_names.unwrap_or_default();
    let tables =
        tables.into_iter().filter(|name| name.starts_with(prefix)).map(|name| format!("table {name}"));
    let buckets = CLOUD.wait(CLOUD.s3.list_buckets().send()).unwrap().buckets.unwrap_or_default();
    let buckets = buckets.into_iter().map(|bucket| bucket.name.unwrap());
    let buckets = buckets.filter(|name| name.starts_with(prefix)).map(|name| format!("bucket {name}"));
    let mut all: Vec<_> = queues.chain(tables).chain(buckets).collect();
    all.sort();
    all
}

/// Takes every message off a queue. Without a long poll, which is what these queues do by themselves.
fn taken(url: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let receive =
            CLOUD.sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(0);
        let messages = CLOUD.wait(receive.send()).unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            return bodies;
        }
        for message in messages {
            let delete = CLOUD.sqs.delete_message().queue_url(url);
            CLOUD.wait(delete.receipt_handle(message.receipt_handle.unwrap()).send()).unwrap();
            bodies.push(message.body.unwrap());
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_stack_is_what_it_is_said_to_be() {
    let name = new_name();
    let stack = made(&name);
    let url = |queue: &str| format!("{}/{ACCOUNT}/{name}-{queue}", MOTO.url);
    assert_eq!(stack.queue_url, url("jobs"));
    assert_eq!(stack.dead_letter_url, url("jobs-dead"));
    assert_eq!(stack.result_queue_url, url("results"));
    assert_eq!((&*stack.account, &*stack.region), (ACCOUNT, REGION));
    assert_eq!((stack.bucket.clone(), stack.results_bucket.clone()), (documents_of(&name), tables_of(&name)));
    assert_eq!(stack.table, format!("{name}-results"));
    assert_eq!(
        stack.environment(),
        [
            ("WORKER_QUEUE_URL", url("jobs")),
            ("WORKER_RESULT_QUEUE_URL", url("results")),
            ("WORKER_RESULT_TABLENAME", format!("{name}-results")),
            ("WORKER_RESULT_BUCKET", tables_of(&name)),
            ("AWS_REGION", REGION.to_owned()),
        ]
    );

    let tags = BTreeMap::from([
        ("created-by".to_owned(), "wordfreq".to_owned()),
        ("wordfreq:stack".to_owned(), name.to_string()),
    ]);
    let arn = |queue: &str| format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-{queue}");
    for (url, retention) in [
        (&stack.queue_url, "1209600"),
        (&stack.dead_letter_url, "1209600"),
        (&stack.result_queue_url, "345600"),
    ] {
        let attributes = queue_attributes(url);
        assert_eq!(attributes["SqsManagedSseEnabled"], "true", "{url}");
        assert_eq!(attributes["MessageRetentionPeriod"], retention, "{url}");
        assert_eq!(queue_tags(url), tags, "{url}");
    }
    let jobs = queue_attributes(&stack.queue_url);
    assert_eq!((&*jobs["VisibilityTimeout"], &*jobs["ReceiveMessageWaitTimeSeconds"]), ("60", "20"));
    assert_eq!(
        json(&jobs["RedrivePolicy"]),
        json!({ "deadLetterTargetArn": arn("jobs-dead"), "maxReceiveCount": 5 })
    );
    let statement = json!([{
        "Sid": "EventsOfTheBucket",
        "Effect": "Allow",
        "Principal": { "Service": "s3.amazonaws.com" },
        "Action": "sqs:SendMessage",
        "Resource": arn("jobs"),
        "Condition": {
            "ArnEquals": { "aws:SourceArn": format!("arn:aws:s3:::{}", stack.bucket) },
            "StringEquals": { "aws:SourceAccount": ACCOUNT },
        },
    }]);
    assert_eq!(json(&jobs["Policy"])["Statement"], statement);
    for bucket in [&stack.bucket, &stack.results_bucket] {
        let s3 = &CLOUD.s3;
        assert_eq!(bucket_tags(bucket), tags);
        let block = CLOUD.wait(s3.get_public_access_block().bucket(bucket).send()).unwrap();
        let block = block.public_access_block_configuration.unwrap();
        assert_eq!(
            [
                block.block_public_acls,
                block.block_public_policy,
                block.ignore_public_acls,
                block.restrict_public_buckets
            ],
            [Some(true); 4]
        );
        let controls = CLOUD.wait(s3.get_bucket_ownership_controls().bucket(bucket).send()).unwrap();
        let rules = controls.ownership_controls.unwrap().rules;
        assert_eq!(
            rules.iter().map(|rule| rule.object_ownership.as_str()).collect::<Vec<_>>(),
            ["BucketOwnerEnforced"]
        );
        let encryption = CLOUD.wait(s3.get_bucket_encryption().bucket(bucket).send()).unwrap();
        let rules = encryption.server_side_encryption_configuration.unwrap().rules;
        let algorithms: Vec<_> = rules
            .iter()
            .map(|rule| rule.apply_server_side_encryption_by_default().unwrap().sse_algorithm().as_str())
            .collect();
        assert_eq!(algorithms, ["AES256"]);
        let rules = lifecycle(bucket);
        let [rule] = &rules[..] else { panic!("{rules:?}") };
        assert_eq!(rule.abort_incomplete_multipart_upload().unwrap().days_after_initiation(), Some(7));
        assert_eq!((rule.status(), rule.expiration()), (&ExpirationStatus::Enabled, None));
    }
    let told = notifications(&stack.bucket);
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((told.queue_arn(), told.filter()), (&*arn("jobs"), None));
    assert_eq!(told.events(), [Event::S3ObjectCreated, Event::S3ObjectRemoved]);
    assert_eq!(notifications(&stack.results_bucket), [], "results are no documents");

    let described = CLOUD.wait(CLOUD.dynamo.describe_table().table_name(&stack.table).send()).unwrap();
    let described = described.table.unwrap();
    let keys: Vec<_> =
        described.key_schema().iter().map(|key| (key.attribute_name(), key.key_type().as_str())).collect();
    assert_eq!(keys, [("Filename", "HASH")]);
    assert_eq!(described.attribute_definitions()[0].attribute_type().as_str(), "S");
    assert_eq!(described.billing_mode_summary().unwrap().billing_mode().unwrap().as_str(), "PAY_PER_REQUEST");
    assert_eq!(described.deletion_protection_enabled(), Some(false));
    assert_eq!(table_tags(&stack.table), tags);
    let expiry = CLOUD.wait(CLOUD.dynamo.describe_time_to_live().table_name(&stack.table).send()).unwrap();
    let expiry = expiry.time_to_live_description.unwrap();
    assert_eq!(expiry.attribute_name(), Some("ExpiresAt"));
    assert_eq!(expiry.time_to_live_status().unwrap().as_str(), "ENABLED");
    let backups =
        CLOUD.wait(CLOUD.dynamo.describe_continuous_backups().table_name(&stack.table).send()).unwrap();
    let recovery =
        backups.continuous_backups_description.unwrap().point_in_time_recovery_description.unwrap();
    assert_eq!(recovery.point_in_time_recovery_status().unwrap().as_str(), "ENABLED");
    assert_eq!(MOTO.unexpected_errors(), Vec::<String>::new());
}

/// The emulator takes this attribute and never tells it.
#[test]
fn only_the_jobs_queue_may_move_messages_to_its_dead_letters() {
    let name = new_name();
    let set = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate::new({
        let set = set.clone();
        move |request| {
            if request.operation == "SetQueueAttributes" {
                set.lock().unwrap().push(json(&request.body));
            }
            None
        }
    });
    let stack = bootstrap(&connection(&gate.url, REGION), &name, &BootstrapOptions::default()).unwrap();
    let set = set.lock().unwrap();
    let [set] = &set[..] else { panic!("{set:?}") };
    assert!(set["QueueUrl"].as_str().unwrap().ends_with(&format!("/{name}-jobs-dead")), "{set}");
    let jobs = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-jobs");
    assert_eq!(
        json(set["Attributes"]["RedriveAllowPolicy"].as_str().unwrap()),
        json!({ "redrivePermission": "byQueue", "sourceQueueArns": [jobs] })
    );
    assert!(
        !queue_attributes(&stack.dead_letter_url).contains_key("RedriveAllowPolicy"),
        "now it does: read it"
    );
}

#[test]
fn what_is_put_into_the_bucket_becomes_a_job() {
    let stack = made(&new_name());
    assert_eq!(json(&taken(&stack.queue_url)[0])["Event"], "s3:TestEvent");
    CLOUD.put(&stack.bucket, "a document.txt", "words");
    CLOUD.delete(&stack.bucket, "a document.txt");
    CLOUD.put(&stack.results_bucket, "counts/table", "no document");
    let jobs = taken(&stack.queue_url);
    let events: Vec<_> = jobs.iter().map(|job| json(job)["Records"][0]["eventName"].clone()).collect();
    assert_eq!(events, ["ObjectCreated:Put", "ObjectRemoved:Delete"]);
}

#[test]
fn a_second_run_changes_nothing_and_disturbs_nobody() {
    let name = new_name();
    let first = made(&name);
    let before = settings(&name);
    assert_eq!(taken(&first.queue_url).len(), 1, "the test event of S3");
    CLOUD.put(&first.bucket, "document", "words");
    assert_eq!(made(&name), first);
    assert_eq!(settings(&name), before);
    assert_eq!(taken(&first.queue_url).len(), 1, "the document, and no second test event");
    assert_eq!(find(&CONNECTION, &name).unwrap(), first);
}

#[test]
fn any_part_that_is_gone_or_changed_is_mended() {
    let name = new_name();
    let stack = made(&name);
    let before = settings(&name);
    let delete_queue = |url: &str| {
        CLOUD.wait(CLOUD.sqs.delete_queue().queue_url(url).send()).unwrap();
    };
    let delete_bucket = |bucket: &str| {
        CLOUD.wait(CLOUD.s3.delete_bucket().bucket(bucket).send()).unwrap();
    };
    let spoil: [(&str, &dyn Fn()); 9] = [
        ("jobs", &|| delete_queue(&stack.queue_url)),
        ("dead letters", &|| delete_queue(&stack.dead_letter_url)),
        ("results", &|| delete_queue(&stack.result_queue_url)),
        ("documents", &|| delete_bucket(&stack.bucket)),
        ("tables", &|| delete_bucket(&stack.results_bucket)),
        ("table", &|| {
            CLOUD.wait(CLOUD.dynamo.delete_table().table_name(&stack.table).send()).unwrap();
        }),
        ("notification", &|| {
            let none = NotificationConfiguration::builder().build();
            let put = CLOUD.s3.put_bucket_notification_configuration().bucket(&stack.bucket);
            CLOUD.wait(put.notification_configuration(none).send()).unwrap();
        }),
        ("attributes", &|| {
            let set = CLOUD.sqs.set_queue_attributes().queue_url(&stack.queue_url);
            let set = set.attributes(QueueAttributeName::VisibilityTimeout, "1");
            let set = set.attributes(QueueAttributeName::MessageRetentionPeriod, "60");
            CLOUD.wait(set.send()).unwrap();
        }),
        ("settings", &|| {
            let s3 = &CLOUD.s3;
            CLOUD.wait(s3.delete_public_access_block().bucket(&stack.bucket).send()).unwrap();
            CLOUD.wait(s3.delete_bucket_lifecycle().bucket(&stack.bucket).send()).unwrap();
            CLOUD.wait(s3.delete_bucket_encryption().bucket(&stack.results_bucket).send()).unwrap();
            let off = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(false);
            let update = CLOUD.dynamo.update_continuous_backups().table_name(&stack.table);
            let update = update.point_in_time_recovery_specification(off.build().unwrap());
            CLOUD.wait(update.send()).unwrap();
        }),
    ];
    for (part, spoil) in spoil {
        spoil();
        assert_eq!(made(&name), stack, "{part}");
        assert_eq!(settings(&name), before, "{part}");
    }
}

/// Every request that changes something is in its turn the first that is refused.
#[test]
fn an_interruption_at_any_step_is_mended_by_the_next_run() {
    let whole = new_name();
    made(&whole);
    let expected = settings(&whole);
    for num_changes in 0.. {
        let name = new_name();
        let gate = Gate::after_changes(num_changes);
        let interrupted = bootstrap(&connection(&gate.url, REGION), &name, &BootstrapOptions::default());
        let Err(error) = interrupted else {
            assert!(num_changes > 15, "all changes are seen: {num_changes}");
            break;
        };
        assert!(error.to_string().contains("AccessDenied"), "{error}");
        made(&name);
        assert_eq!(settings(&name), expected, "after {num_changes} changes");
    }
}

#[test]
fn a_destruction_interrupted_at_any_step_is_finished_by_the_next() {
    for num_changes in 0.. {
        let name = new_name();
        let stack = made(&name);
        CLOUD.put(&stack.bucket, "document", "words");
        let gate = Gate::after_changes(num_changes);
        let interrupted = destroy(&connection(&gate.url, REGION), &name, Documents::Delete);
        let is_whole = interrupted.is_ok();
        destroy(&CONNECTION, &name, Documents::Delete).unwrap();
        assert_eq!(present(name.as_str()), Vec::<String>::new(), "after {num_changes} changes");
        if is_whole {
            assert!(num_changes >= 8, "all changes are seen: {num_changes}");
            break;
        }
    }
}

#[test]
fn two_runs_at_once_make_one_stack() {
    let (name, whole) = (new_name(), new_name());
    let stacks = std::thread::scope(|scope| {
        let run = || bootstrap(&connection(&MOTO.url, REGION), &name, &BootstrapOptions::default()).unwrap();
        let runs = [scope.spawn(run), scope.spawn(run), scope.spawn(run)];
        runs.map(|run| run.join().unwrap())
    });
    assert!(stacks.iter().all(|stack| *stack == stacks[0]));
    made(&whole);
    assert_eq!(settings(&name), settings(&whole));
}

#[test]
fn what_is_somebody_elses_is_refused_by_name_before_anything_is_made() {
    let foreign_queue = |queue: &str| CLOUD.queue(queue);
    let foreign_bucket = |bucket: &str| {
        CLOUD.wait(CLOUD.s3.create_bucket().bucket(bucket).send()).unwrap();
        CLOUD.put(bucket, "theirs", "theirs");
    };
    let tag_bucket = |bucket: &str, key: &str, value: &str| {
        let tag = Tag::builder().key(key).value(value).build().unwrap();
        let tagging = Tagging::builder().tag_set(tag).build().unwrap();
        CLOUD.wait(CLOUD.s3.put_bucket_tagging().bucket(bucket).tagging(tagging).send()).unwrap();
    };
    type Make<'a> = &'a dyn Fn(&StackName) -> String;
    let cases: [(&str, Make<'_>); 9] = [
        ("jobs", &|name| {
            foreign_queue(&format!("{name}-jobs"));
            format!("queue {name}-jobs")
        }),
        ("dead letters", &|name| {
            foreign_queue(&format!("{name}-jobs-dead"));
            format!("queue {name}-jobs-dead")
        }),
        ("results, of another stack", &|name| {
            let url = foreign_queue(&format!("{name}-results"));
            let tag = CLOUD.sqs.tag_queue().queue_url(url).tags("wordfreq:stack", "another");
            CLOUD.wait(tag.tags("created-by", "wordfreq").send()).unwrap();
            format!("queue {name}-results")
        }),
        ("table, of another maker", &|name| {
            foreign_table(&format!("{name}-results"), &[("wordfreq:stack", name.as_str())]);
            format!("table {name}-results")
        }),
        ("table, with another key", &|name| {
            let tags = [("wordfreq:stack", name.as_str()), ("created-by", "wordfreq")];
            foreign_table(&format!("{name}-results"), &tags);
            format!("table {name}-results")
        }),
        ("a bucket that is not empty", &|name| {
            foreign_bucket(&documents_of(name));
            format!("bucket {}", documents_of(name))
        }),
        ("a results bucket that is not empty", &|name| {
            foreign_bucket(&tables_of(name));
            format!("bucket {}", tables_of(name))
        }),
        ("an empty bucket with tags", &|name| {
            let bucket = documents_of(name);
            CLOUD.wait(CLOUD.s3.create_bucket().bucket(&bucket).send()).unwrap();
            tag_bucket(&bucket, "team", "theirs");
            format!("bucket {bucket}")
        }),
        ("an empty bucket that tells somebody", &|name| {
            let bucket = documents_of(name);
            CLOUD.wait(CLOUD.s3.create_bucket().bucket(&bucket).send()).unwrap();
            CLOUD.notify(&bucket, &CLOUD.queue(&unique("theirs")));
            format!("bucket {bucket}")
        }),
    ];
    for (case, make) in cases {
        let name = new_name();
        let theirs = make(&name);
        let error = bootstrap(&CONNECTION, &name, &BootstrapOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{case}: {error}");
        let message = error.to_string();
        assert!(message.contains(&format!("the {theirs} is there")), "{case}: {message}");
        assert!(message.ends_with(": take another name"), "{case}: {message}");
        assert_eq!(present(name.as_str()), std::slice::from_ref(&theirs), "{case}: nothing was made");
        assert!(find(&CONNECTION, &name).unwrap_err().to_string().contains(&theirs), "{case}");
        // And destroying leaves it.
        let destroyed = destroy(&CONNECTION, &name, Documents::Delete).unwrap();
        assert_eq!(destroyed.deleted, Vec::<String>::new(), "{case}");
        assert_eq!(destroyed.left.iter().map(|(what, _)| what).collect::<Vec<_>>(), [&theirs], "{case}");
        assert_eq!(present(name.as_str()), [theirs], "{case}");
    }
}

/// With a key of another name than ours.
fn foreign_table(name: &str, tags: &[(&str, &str)]) {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    };
    let key = KeySchemaElement::builder().attribute_name("Id").key_type(KeyType::Hash).build().unwrap();
    let attribute =
        AttributeDefinition::builder().attribute_name("Id").attribute_type(ScalarAttributeType::S);
    let create = CLOUD.dynamo.create_table().table_name(name).key_schema(key);
    let create =
        create.attribute_definitions(attribute.build().unwrap()).billing_mode(BillingMode::PayPerRequest);
    let tags = tags.iter().map(|(key, value)| TableTag::builder().key(*key).value(*value).build().unwrap());
    CLOUD.wait(create.set_tags(Some(tags.collect())).send()).unwrap();
}

#[test]
fn an_empty_bucket_without_tags_is_an_interrupted_run_of_ours() {
    let (name, whole) = (new_name(), new_name());
    CLOUD.wait(CLOUD.s3.create_bucket().bucket(documents_of(&name)).send()).unwrap();
    let destroyed = destroy(&CONNECTION, &name, Documents::Delete).unwrap();
    assert!(
        destroyed.left[0].1.contains("bootstrap"),
        "what it may be is not enough to delete it: {destroyed:?}"
    );
    made(&name);
    made(&whole);
    assert_eq!(settings(&name), settings(&whole));
}

#[test]
fn what_people_set_on_their_bucket_beside_ours_stays() {
    let name = new_name();
    let stack = made(&name);
    let expire = LifecycleRule::builder()
        .id("theirs")
        .filter(LifecycleRuleFilter::builder().prefix("old/").build())
        .status(ExpirationStatus::Enabled)
        .expiration(LifecycleExpiration::builder().days(90).build())
        .build()
        .unwrap();
    let rules = BucketLifecycleConfiguration::builder().rules(expire.clone()).build().unwrap();
    let put = CLOUD.s3.put_bucket_lifecycle_configuration().bucket(&stack.bucket);
    CLOUD.wait(put.lifecycle_configuration(rules).send()).unwrap();
    let theirs = unique("theirs");
    CLOUD.queue(&theirs);
    let queue = |id: &str, queue: &str, event| {
        let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}");
        QueueConfiguration::builder().id(id).queue_arn(arn).events(event).build().unwrap()
    };
    // An earlier version of ours, and one of another program.
    let other = queue("theirs", &theirs, Event::S3ObjectRestoreCompleted);
    let old = queue("wordfreq", &theirs, Event::S3ObjectCreatedPut);
    let told =
        NotificationConfiguration::builder().queue_configurations(other.clone()).queue_configurations(old);
    let put = CLOUD.s3.put_bucket_notification_configuration().bucket(&stack.bucket);
    CLOUD.wait(put.notification_configuration(told.build()).send()).unwrap();
    made(&name);
    let rules = lifecycle(&stack.bucket);
    assert_eq!(rules.len(), 2);
    let kept = rules.iter().find(|rule| rule.id() == Some("theirs")).unwrap();
    assert_eq!(kept.expiration().unwrap().days(), Some(90));
    assert_eq!(kept.filter().unwrap().prefix(), Some("old/"));
    let told = notifications(&stack.bucket);
    assert_eq!(told.len(), 2);
    assert!(told.contains(&other));
    let ours = told.iter().find(|queue| queue.id() == Some("wordfreq")).unwrap();
    assert!(ours.queue_arn().ends_with(&format!(":{name}-jobs")) && ours.events().len() == 2);
    // It stays while the bucket is emptied, as well: nobody else is to miss an event.
    CLOUD.put(&stack.bucket, "document", "words");
    destroy(&CONNECTION, &name, Documents::Delete).unwrap();
    assert_eq!(present(name.as_str()), Vec::<String>::new());
}

#[test]
fn a_protected_table_stays_protected() {
    let name = new_name();
    let stack = made(&name);
    let update = CLOUD.dynamo.update_table().table_name(&stack.table).deletion_protection_enabled(true);
    CLOUD.wait(update.send()).unwrap();
    made(&name);
    let before = present(name.as_str());
    let error = destroy(&CONNECTION, &name, Documents::Delete).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&format!("table {} is protected", stack.table)), "{error}");
    assert_eq!(present(name.as_str()), before, "nothing was deleted");
}

#[test]
fn a_stack_is_destroyed_whole_and_its_neighbours_stay() {
    let name = new_name();
    made(&name);
    let neighbour = StackName::parse(&format!("{name}-2")).unwrap();
    made(&neighbour);
    let queue = format!("{name}-jobs-old");
    CLOUD.queue(&queue);
    let destroyed = destroy(&CONNECTION, &name, Documents::Keep).unwrap();
    let ours = |name: &StackName| {
        vec![
            format!("bucket {}", documents_of(name)),
            format!("bucket {}", tables_of(name)),
            format!("table {name}-results"),
            format!("queue {name}-jobs"),
            format!("queue {name}-jobs-dead"),
            format!("queue {name}-results"),
        ]
    };
    assert_eq!(destroyed, Destroyed { deleted: ours(&name), left: Vec::new() });
    let mut left = ours(&neighbour);
    left.push(format!("queue {queue}"));
    left.sort();
    assert_eq!(present(name.as_str()), left);
    assert_eq!(destroy(&CONNECTION, &name, Documents::Keep).unwrap(), Destroyed::default(), "twice is fine");
    let error = find(&CONNECTION, &name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&format!("the queue {name}-jobs is not there")), "{error}");
    assert_eq!(made(&name).environment().len(), 5, "and it can be made again");
}

#[test]
fn a_bucket_that_is_not_empty_stops_everything_unless_documents_may_go() {
    let name = new_name();
    let stack = made(&name);
    let before = present(name.as_str());
    let refused = |bucket: &str, what: &str| {
        let error = destroy(&CONNECTION, &name, Documents::Keep).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(&format!("the bucket {bucket} holds {what}")), "{error}");
        assert_eq!(present(name.as_str()), before, "nothing was deleted");
    };
    let upload = CLOUD.s3.create_multipart_upload().bucket(&stack.results_bucket).key("unfinished");
    CLOUD.wait(upload.send()).unwrap();
    refused(&stack.results_bucket, "unfinished uploads");
    let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let version = CLOUD.s3.put_bucket_versioning().bucket(&stack.bucket).versioning_configuration(versions);
    CLOUD.wait(version.send()).unwrap();
    // Three versions of one key, a mark of a deletion, and keys that need care.
    for text in ["one", "two", "three"] {
        CLOUD.put(&stack.bucket, "document", text);
    }
    CLOUD.delete(&stack.bucket, "document");
    refused(&stack.bucket, "objects");
    for key in ["a+b c%2F", "ü/€ & <x>", "a//b/../c"] {
        CLOUD.put(&stack.bucket, key, "words");
    }
    CLOUD.put(&stack.results_bucket, "counts/x", "table");
    refused(&stack.results_bucket, "objects");
    taken(&stack.queue_url);
    let destroyed = destroy(&CONNECTION, &name, Documents::Delete).unwrap();
    assert_eq!((destroyed.deleted.len(), destroyed.left.len()), (6, 0));
    assert_eq!(present(name.as_str()), Vec::<String>::new());
    assert_eq!(MOTO.unexpected_errors(), Vec::<String>::new());
}

#[test]
fn more_objects_than_one_request_can_delete_go_too() {
    let name = new_name();
    let stack = made(&name);
    let put =
        |number| CLOUD.s3.put_object().bucket(&stack.results_bucket).key(format!("counts/{number}")).send();
    for numbers in (0..1_005).collect::<Vec<_>>().chunks(67) {
        CLOUD.wait(try_join_all(numbers.iter().map(put))).unwrap();
    }
    destroy(&CONNECTION, &name, Documents::Delete).unwrap();
    assert_eq!(present(name.as_str()), Vec::<String>::new());
}

#[test]
fn another_region_is_named_to_s3_and_in_the_names() {
    let name = new_name();
    let connection = connection(&MOTO.url, "eu-west-2");
    let stack = bootstrap(&connection, &name, &BootstrapOptions::default()).unwrap();
    assert_eq!(stack.bucket, format!("{name}-{ACCOUNT}-eu-west-2-documents"));
    let place = CLOUD.wait(CLOUD.s3.get_bucket_location().bucket(&stack.bucket).send()).unwrap();
    assert_eq!(place.location_constraint().unwrap().as_str(), "eu-west-2");
    assert_eq!(bootstrap(&connection, &name, &BootstrapOptions::default()).unwrap(), stack);
    assert_eq!(destroy(&connection, &name, Documents::Keep).unwrap().deleted.len(), 6);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let name = StackName::parse(&format!("a{}", "b".repeat(39))).unwrap();
    let error = bootstrap(&CONNECTION, &name, &BootstrapOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("take a name of at most 30"), "{error}");
    for visibility in [Duration::from_secs(43_201), Duration::from_millis(1_500)] {
        let options = BootstrapOptions { visibility, ..BootstrapOptions::default() };
        let error = bootstrap(&CONNECTION, &new_name(), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(present(name.as_str()), Vec::<String>::new());
}

/// Everything that AWS is known to answer for a while after something was made or deleted.
#[test]
fn what_aws_does_not_have_ready_at_once_is_waited_for() {
    let (name, whole) = (new_name(), new_name());
    let mut answers = vec![
        ("CreateQueue", 400, "AWS.SimpleQueueService.QueueDeletedRecently", "wait 60 seconds"),
        ("CreateQueue", 400, "InvalidParameterValue", "Reason: Dead letter target does not exist."),
        ("SetQueueAttributes", 400, "AWS.SimpleQueueService.NonExistentQueue", "no such queue"),
        ("UpdateContinuousBackups", 400, "ContinuousBackupsUnavailableException", "not yet"),
        ("PUT ", 409, "OperationAborted", "a conflicting operation is in progress"),
        ("PUT ?tagging", 404, "NoSuchBucket", "not yet"),
        ("PUT ?publicAccessBlock", 409, "OperationAborted", "not yet"),
        (
            "PUT ?notification",
            400,
            "InvalidArgument",
            "Unable to validate the following destination configurations",
        ),
    ];
    let given = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate::new({
        let given = given.clone();
        let mut creating = 2;
        move |request| {
            let index = answers.iter().position(|(operation, ..)| *operation == request.operation);
            if let Some(index) = index {
                let (operation, status, code, message) = answers.remove(index);
                given.lock().unwrap().push(operation);
                return Some(Reply { status, ..Reply::refusal(code, message) });
            }
            // The table exists after its third look.
            if request.operation == "DescribeTable"
                && given.lock().unwrap().contains(&"CreateTable")
                && creating > 0
            {
                creating -= 1;
                let table = json!({ "Table": { "TableName": "t", "TableStatus": "CREATING" } });
                return Some(Reply::body(&table.to_string()));
            }
            if request.operation == "CreateTable" {
                given.lock().unwrap().push("CreateTable");
            }
            None
        }
    });
    bootstrap(&connection(&gate.url, REGION), &name, &BootstrapOptions::default()).unwrap();
    assert_eq!(given.lock().unwrap().len(), 9, "{:?}", given.lock().unwrap());
    made(&whole);
    assert_eq!(settings(&name), settings(&whole));
}

/// A queue that was deleted is still found for a while.
#[test]
fn a_queue_that_is_found_and_not_there_any_more_is_made_again() {
    let name = new_name();
    made(&name);
    let before = settings(&name);
    let operations = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate::new({
        let operations = operations.clone();
        move |request| {
            let mut operations = operations.lock().unwrap();
            if !["SetQueueAttributes", "CreateQueue"].contains(&&*request.operation) {
                return None;
            }
            operations.push(request.operation.clone());
            let refusal = |code| Some(Reply { status: 400, ..Reply::refusal(code, "deleted") });
            match operations.len() {
                1 => refusal("AWS.SimpleQueueService.NonExistentQueue"),
                2 => refusal("AWS.SimpleQueueService.QueueDeletedRecently"),
                _ => None,
            }
        }
    });
    bootstrap(&connection(&gate.url, REGION), &name, &BootstrapOptions::default()).unwrap();
    assert_eq!(operations.lock().unwrap()[..3], ["SetQueueAttributes", "CreateQueue", "CreateQueue"]);
    assert_eq!(settings(&name), before);
}

#[test]
fn patience_ends() {
    let name = new_name();
    let gate = Gate::new(|request| {
        let recently = "AWS.SimpleQueueService.QueueDeletedRecently";
        (request.operation == "CreateQueue").then(|| Reply::refusal(recently, "wait 60 seconds"))
    });
    let options = BootstrapOptions { patience: Duration::from_millis(300), ..BootstrapOptions::default() };
    let error = bootstrap(&connection(&gate.url, REGION), &name, &options).unwrap_err();
    assert!(error.to_string().contains(&format!("make the queue {name}-jobs-dead")), "{error}");
    assert!(error.to_string().contains("QueueDeletedRecently"), "{error}");
    let gate = Gate::new(|request| {
        let table = json!({ "Table": { "TableName": "t", "TableStatus": "CREATING" } });
        (request.operation == "DescribeTable").then(|| Reply::body(&table.to_string()))
    });
    let error = bootstrap(&connection(&gate.url, REGION), &name, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains(&format!("the table {name}-results is still CREATING")), "{error}");
}

/// The bucket of another account: it cannot be looked at, and least of all used.
#[test]
fn a_bucket_of_another_account_is_refused() {
    let name = new_name();
    let gate = Gate::new(|request| {
        (request.operation == "HEAD ").then(|| Reply {
            status: 403,
            code: String::new(),
            body: String::new(),
        })
    });
    let error = bootstrap(&connection(&gate.url, REGION), &name, &BootstrapOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("another account's"), "{error}");
    assert_eq!(present(name.as_str()), Vec::<String>::new());
}

/// Whose requests reach the bucket's true owner only.
#[test]
fn every_request_about_a_bucket_names_its_owner() {
    let name = new_name();
    let without = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate::new({
        let without = without.clone();
        move |request| {
            let is_s3 = request.operation.contains(' ') && request.operation != "PUT ";
            if is_s3 && !request.head.contains(&format!("x-amz-expected-bucket-owner: {ACCOUNT}\r\n")) {
                without.lock().unwrap().push(request.operation.clone());
            }
            None
        }
    });
    let connection = connection(&gate.url, REGION);
    let stack = bootstrap(&connection, &name, &BootstrapOptions::default()).unwrap();
    CLOUD.put(&stack.bucket, "document", "words");
    let upload = CLOUD.s3.create_multipart_upload().bucket(&stack.bucket).key("unfinished");
    CLOUD.wait(upload.send()).unwrap();
    destroy(&connection, &name, Documents::Delete).unwrap();
    assert_eq!(*without.lock().unwrap(), Vec::<String>::new());
}

/// The emulator keeps no more than queues; AWS tells topics, functions and EventBridge too.
#[test]
fn whomever_else_a_bucket_tells_stays() {
    let name = new_name();
    made(&name);
    let others = "<TopicConfiguration><Id>t</Id><Topic>arn:aws:sns:us-east-1:1:topic</Topic><Event>s3:ObjectTagging:*\
        </Event></TopicConfiguration><CloudFunctionConfiguration><Id>f</Id><CloudFunction>arn:aws:lambda:us-east-1:1:\
        function:f</CloudFunction><Event>s3:ObjectRestore:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>p/\
        </Value></FilterRule></S3Key></Filter></CloudFunctionConfiguration><EventBridgeConfiguration/>";
    let others = others.replace("    ", "");
    let told = format!("<NotificationConfiguration>{others}</NotificationConfiguration>");
    let put = Arc::new(Mutex::new(None));
    let gate = Gate::new({
        let put = put.clone();
        move |request| match &*request.operation {
            "GET ?notification" => Some(Reply::body(&told)),
            "PUT ?notification" => {
                *put.lock().unwrap() = Some(request.body.clone());
                Some(Reply::body(""))
            }
            _ => None,
        }
    });
    bootstrap(&connection(&gate.url, REGION), &name, &BootstrapOptions::default()).unwrap();
    let put = put.lock().unwrap().take().unwrap();
    for part in [
        "arn:aws:sns:us-east-1:1:topic",
        "s3:ObjectTagging:*",
        "arn:aws:lambda:us-east-1:1:function:f",
        "<Value>p/</Value>",
        "<EventBridgeConfiguration",
        &format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-jobs"),
    ] {
        assert!(put.contains(part), "{part} in {put}");
    }
}

/// Listed as AWS lists, which the emulator does not: encoded, in pages.
#[test]
fn keys_that_xml_cannot_hold_and_pages_of_uploads_go_too() {
    let name = new_name();
    made(&name);
    let documents = documents_of(&name);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate::new({
        let (seen, documents) = (seen.clone(), documents.clone());
        let mut versions = vec![
            "<ListVersionsResult><EncodingType>url</EncodingType><Version><Key>odd+%01key%2B</Key><VersionId>v</VersionId>\
             </Version><DeleteMarker><Key>plain+key</Key><VersionId>m</VersionId></DeleteMarker></ListVersionsResult>",
        ];
        let mut uploads = vec![
            "<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Upload><Key>b\
             </Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>",
            "<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>a+a\
             </NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker><Upload><Key>a+a</Key><UploadId>1</UploadId>\
             </Upload></ListMultipartUploadsResult>",
        ];
        move |request| {
            let line = request.head.lines().next().unwrap_or_default();
            let is_of_documents = line.contains(&documents);
            match &*request.operation {
                "GET ?versions" if is_of_documents => versions.pop().map(Reply::body),
                "GET ?uploads" if is_of_documents => {
                    seen.lock().unwrap().push(line.to_owned());
                    uploads.pop().map(Reply::body)
                }
                operation if operation.starts_with("DELETE ") && line.contains("Id=") => {
                    seen.lock().unwrap().push(line.to_owned());
                    Some(Reply { status: 204, ..Reply::body("") })
                }
                "POST ?delete" => {
                    seen.lock().unwrap().push(request.body.clone());
                    Some(Reply::body("<DeleteResult/>"))
                }
                _ => None,
            }
        }
    });
    destroy(&connection(&gate.url, REGION), &name, Documents::Delete).unwrap();
    let seen = seen.lock().unwrap();
    let has = |all: &[&str]| seen.iter().any(|line| all.iter().all(|part| line.contains(part)));
    assert!(has(&["DELETE", "/a%20a?", "uploadId=1"]), "{seen:?}");
    assert!(has(&["GET", "key-marker=a%20a", "upload-id-marker=1"]), "{seen:?}");
    assert!(has(&["DELETE", "/b?", "uploadId=2"]), "{seen:?}");
    assert!(has(&["DELETE", "/odd%20%01key%2B?", "versionId=v"]), "{seen:?}");
    assert!(has(&["<Key>plain key</Key>", "<VersionId>m</VersionId>"]), "{seen:?}");
}

#[test]
fn an_object_that_may_not_be_deleted_is_named_and_the_rest_stays() {
    let name = new_name();
    let stack = made(&name);
    CLOUD.put(&stack.bucket, "locked", "words");
    let mut answers = vec![
        "<DeleteResult><Error><Key>locked</Key><Code>AccessDenied</Code><Message>object lock</Message></Error></DeleteResult>",
        "<DeleteResult><Error><Key>locked</Key><Code>SlowDown</Code><Message>slower</Message></Error></DeleteResult>",
    ];
    let gate = Gate::new(move |request| match &*request.operation {
        "POST ?delete" => answers.pop().map(Reply::body),
        _ => None,
    });
    let connection = connection(&gate.url, REGION);
    let error = destroy(&connection, &name, Documents::Delete).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "nothing at all was deleted, and may be later: {error}");
    let error = destroy(&connection, &name, Documents::Delete).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.to_string().ends_with("\"locked\": AccessDenied: object lock"), "{error}");
    assert_eq!(present(name.as_str()).len(), 6);
    destroy(&connection, &name, Documents::Delete).unwrap();
    assert_eq!(present(name.as_str()), Vec::<String>::new());
}

/// Stands before the emulator and answers some requests itself.
struct Gate {
    url: String,
    address: SocketAddr,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Request {
    /// Of a JSON protocol its name; of S3 the method and the name of what is asked for: `PUT ?tagging`, `HEAD `.
    operation: String,
    head: String,
    body: String,
}

impl Request {
    fn is_change(&self) -> bool {
        let looks = ["Get", "List", "Describe", "GET", "HEAD", "STS"];
        !looks.iter().any(|look| self.operation.starts_with(look))
    }
}

/// An answer; with a code, an error of whichever protocol was spoken.
struct Reply {
    status: u16,
    code: String,
    body: String,
}

impl Reply {
    fn refusal(code: &str, message: &str) -> Self {
        Self { status: 403, code: code.to_owned(), body: message.to_owned() }
    }

    fn body(body: &str) -> Self {
        Self { status: 200, code: String::new(), body: body.to_owned() }
    }

    fn text(self, is_s3: bool) -> String {
        let Self { status, code, body } = self;
        let (kind, body) = match (is_s3, code.is_empty()) {
            (_, true) => ("application/json", body),
            (true, false) => {
                ("application/xml", format!("<Error><Code>{code}</Code><Message>{body}</Message></Error>"))
            }
            (false, false) => {
                ("application/x-amz-json-1.0", json!({ "__type": code, "message": body }).to_string())
            }
        };
        let length = body.len();
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }
}

impl Gate {
    fn new(answer: impl FnMut(&Request) -> Option<Reply> + Send + 'static) -> Self {
        let upstream: SocketAddr = MOTO.url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let answer = Arc::new(Mutex::new(answer));
        let thread = std::thread::spawn({
            let closed = closed.clone();
            move || {
                for stream in listener.incoming() {
                    if closed.load(Ordering::Relaxed) {
                        return;
                    }
                    let answer = answer.clone();
                    // A connection may be closed without a request, by a client that has no more.
                    std::thread::spawn(move || {
                        stream.and_then(|stream| pass(stream, upstream, &answer)).ok()
                    });
                }
            }
        });
        Self { url: format!("http://{address}"), address, closed, thread: Some(thread) }
    }
}

impl Gate {
    /// Lets so many requests that change something pass, and refuses the rest.
    fn after_changes(mut left: usize) -> Self {
        Self::new(move |request| {
            if !request.is_change() {
                return None;
            }
            if left == 0 {
                return Some(Reply::refusal("AccessDenied", "interrupted"));
            }
            left -= 1;
            None
        })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// One request of one connection; the emulator closes each after its answer.
fn pass(
    mut client: TcpStream,
    upstream: SocketAddr,
    answer: &Mutex<impl FnMut(&Request) -> Option<Reply>>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let head_bytes = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut more = [0; 4096];
        match client.read(&mut more)? {
            0 => return Ok(()),
            read => bytes.extend_from_slice(&more[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_bytes]).into_owned();
    let header = |name: &str| {
        head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let length: usize = header("content-length").map_or(0, |(_, length)| length.parse().unwrap());
    let there = bytes.len() - head_bytes;
    bytes.resize(head_bytes + length, 0);
    client.read_exact(&mut bytes[head_bytes + there..])?;
    let target = header("x-amz-target").and_then(|(_, target)| target.rsplit_once('.'));
    let is_form = header("content-type").is_some_and(|(_, kind)| kind.contains("x-www-form-urlencoded"));
    let operation = match target {
        Some((_, operation)) => operation.to_owned(),
        None if is_form => "STS".to_owned(),
        None => {
            let mut line = head.split(' ');
            let (method, path) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
            let asked = path.split_once('?').map_or("", |(_, query)| query);
            let asked =
                asked.split('&').find(|part| !part.contains('=') || part.ends_with('=')).unwrap_or_default();
            let asked = asked.trim_end_matches('=');
            let mark = if asked.is_empty() { "" } else { "?" };
            format!("{method} {mark}{asked}")
        }
    };
    let is_s3 = target.is_none();
    let body = String::from_utf8_lossy(&bytes[head_bytes..]).into_owned();
    let request = Request { operation, head, body };
    let answered = answer.lock().unwrap()(&request);
    let reply = match answered {
        Some(reply) => reply.text(is_s3).into_bytes(),
        None => {
            let mut server = TcpStream::connect(upstream)?;
            server.write_all(&bytes)?;
            let mut reply = Vec::new();
            server.read_to_end(&mut reply)?;
            reply
        }
    };
    client.write_all(&reply)
}
