//! Plain clients of the emulator, and the resources that tests make with them. Not here: the adapters under test.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::runtime::Runtime;

use super::moto::ACCOUNT;

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCESS_KEY: &str = "test";
pub(crate) const SECRET_KEY: &str = "test";

pub(crate) struct Cloud {
    runtime: Runtime,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) dynamo: aws_sdk_dynamodb::Client,
}

/// A queue and its dead-letter queue.
#[derive(Clone, Debug)]
pub(crate) struct Queues {
    pub(crate) url: String,
    pub(crate) dead_url: String,
}

/// A name nobody has had in this process.
pub(crate) fn unique(what: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    format!("{what}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Cloud {
    pub(crate) fn new(url: &str) -> Self {
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
                .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
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

    pub(crate) fn wait<F: Future>(&self, answer: F) -> F::Output {
        self.runtime.block_on(answer)
    }

    pub(crate) fn queue(&self, name: &str) -> String {
        let made = self.wait(self.sqs.create_queue().queue_name(name).send()).unwrap();
        made.queue_url.unwrap()
    }

    /// A queue that gives up after so many receives.
    pub(crate) fn queues(&self, max_receive_count: u32) -> Queues {
        let name = unique("jobs");
        let dead_url = self.queue(&format!("{name}-dead"));
        let policy = format!(
            r#"{{"deadLetterTargetArn":"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-dead","maxReceiveCount":{max_receive_count}}}"#
        );
        let create =
            self.sqs.create_queue().queue_name(&name).attributes(QueueAttributeName::RedrivePolicy, policy);
        let url = self.wait(create.send()).unwrap().queue_url.unwrap();
        Queues { url, dead_url }
    }

    pub(crate) fn table(&self) -> String {
        let name = unique("results");
        let key =
            KeySchemaElement::builder().attribute_name("Filename").key_type(KeyType::Hash).build().unwrap();
        let attribute = AttributeDefinition::builder()
            .attribute_name("Filename")
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap();
        let create = self
            .dynamo
            .create_table()
            .table_name(&name)
            .key_schema(key)
            .attribute_definitions(attribute)
            .billing_mode(BillingMode::PayPerRequest);
        self.wait(create.send()).unwrap();
        name
    }

    pub(crate) fn bucket(&self) -> String {
        let name = unique("documents");
        self.wait(self.s3.create_bucket().bucket(&name).send()).unwrap();
        name
    }

    /// Sends a bucket's events straight to a queue.
    pub(crate) fn notify(&self, bucket: &str, queue_url: &str) {
        let queue = queue_url.rsplit('/').next().unwrap();
        let configuration = QueueConfiguration::builder()
            .queue_arn(format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"))
            .events(Event::from("s3:ObjectCreated:*"))
            .events(Event::from("s3:ObjectRemoved:*"))
            .build()
            .unwrap();
        let configuration = NotificationConfiguration::builder().queue_configurations(configuration).build();
        let put = self.s3.put_bucket_notification_configuration().bucket(bucket);
        self.wait(put.notification_configuration(configuration).send()).unwrap();
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, bytes: impl Into<Vec<u8>>) {
        let body = aws_sdk_s3::primitives::ByteStream::from(bytes.into());
        self.wait(self.s3.put_object().bucket(bucket).key(key).body(body).send()).unwrap();
    }

    pub(crate) fn delete(&self, bucket: &str, key: &str) {
        self.wait(self.s3.delete_object().bucket(bucket).key(key).send()).unwrap();
    }

    pub(crate) fn send(&self, url: &str, body: &str) {
        self.wait(self.sqs.send_message().queue_url(url).message_body(body).send()).unwrap();
    }

    /// Visible, in flight and delayed.
    pub(crate) fn depth(&self, url: &str) -> [u64; 3] {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        };
        let request = self.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let attributes = self.wait(request.send()).unwrap().attributes.unwrap();
        [
            ApproximateNumberOfMessages,
            ApproximateNumberOfMessagesNotVisible,
            ApproximateNumberOfMessagesDelayed,
        ]
        .map(|name| attributes[&name].parse().unwrap())
    }

    /// Takes every message off a queue.
    pub(crate) fn take_all(&self, url: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let receive = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
            let messages = self.wait(receive.send()).unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                let delete = self.sqs.delete_message().queue_url(url);
                self.wait(delete.receipt_handle(message.receipt_handle.unwrap()).send()).unwrap();
                bodies.push(message.body.unwrap());
            }
        }
    }

    pub(crate) fn item(
        &self,
        table: &str,
        filename: &str,
    ) -> Option<std::collections::HashMap<String, AttributeValue>> {
        let get = self.dynamo.get_item().table_name(table).consistent_read(true);
        self.wait(get.key("Filename", AttributeValue::S(filename.into())).send()).unwrap().item
    }
}
