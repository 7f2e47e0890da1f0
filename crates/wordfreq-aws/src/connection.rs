//! One connection to AWS: a runtime to block on, the configuration every client shares, and the clients. Credentials,
//! region and endpoints come from the standard chain of the SDKs (environment, profile, instance metadata). Not here:
//! what is asked of a service.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, ProvideCredentials as _};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::runtime::Runtime;
use wordfreq_pipeline::{BackendError, ErrorKind};

/// Above the 20 s of the longest poll: how long the first byte of an answer may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Tries of one request, the first included, before its failure is the caller's.
const MAX_ATTEMPTS: u32 = 4;

/// How the services are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endpoint {
    /// At AWS.
    #[default]
    Aws,
    /// At an address of the environment's, which stands for every bucket: names go into the path.
    Custom,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    runtime: Runtime,
    config: SdkConfig,
    region: String,
    endpoint: Endpoint,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) dynamo: aws_sdk_dynamodb::Client,
    /// By region: an event says where its bucket is.
    s3: Mutex<HashMap<String, aws_sdk_s3::Client>>,
}

impl Connection {
    /// Finds region and credentials, and makes the clients. Asks no service anything but those that give credentials.
    ///
    /// # Errors
    /// `Invalid` if there is no region or there are no credentials, with the mend.
    pub fn open(endpoint: Endpoint) -> Result<Arc<Self>, BackendError> {
        Self::with(aws_config::defaults(BehaviorVersion::v2026_01_12()), endpoint)
    }

    /// A connection to one address for every service, with these credentials instead of the standard chain.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn for_endpoint(
        url: &str,
        region: &str,
        access_key: &str,
        secret_key: &str,
    ) -> Result<Arc<Self>, BackendError> {
        let credentials = Credentials::new(access_key, secret_key, None, None, "static");
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .endpoint_url(url)
            .region(Region::new(region.to_owned()))
            .credentials_provider(credentials);
        Self::with(loader, Endpoint::Custom)
    }

    fn with(loader: ConfigLoader, endpoint: Endpoint) -> Result<Arc<Self>, BackendError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("aws")
            .enable_all()
            .build()
            .map_err(|error| {
                BackendError::new(ErrorKind::Other, format!("cannot start the threads for AWS: {error}"))
            })?;
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
        let loader = loader
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
            .timeout_config(timeouts.build());
        let config = runtime.block_on(loader.load());
        let invalid = |what: &str| BackendError::new(ErrorKind::Invalid, what);
        let region = config.region().map(ToString::to_string).ok_or_else(|| {
            invalid(
                "no AWS region: set AWS_REGION, or `region` in the AWS profile; instance metadata has none either",
            )
        })?;
        let credentials = config.credentials_provider().ok_or_else(|| invalid("no AWS credentials"))?;
        runtime.block_on(credentials.provide_credentials()).map_err(|error| {
            invalid(&format!(
                "no AWS credentials ({}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, an AWS profile, or give the \
                 instance a role",
                crate::error::causes(&error)
            ))
        })?;
        let endpoint = if config.endpoint_url().is_some() { Endpoint::Custom } else { endpoint };
        Ok(Arc::new(Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            dynamo: aws_sdk_dynamodb::Client::new(&config),
            s3: Mutex::default(),
            runtime,
            config,
            region,
            endpoint,
        }))
    }

    /// The region that everything is in but buckets of which an event says otherwise.
    pub fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    pub(crate) fn s3(&self, region: Option<&str>) -> aws_sdk_s3::Client {
        let region = region.unwrap_or(&self.region);
        let mut clients = self.s3.lock().unwrap_or_else(PoisonError::into_inner);
        clients
            .entry(region.to_owned())
            .or_insert_with(|| {
                let config = aws_sdk_s3::config::Builder::from(&self.config)
                    .region(Region::new(region.to_owned()))
                    .force_path_style(self.endpoint == Endpoint::Custom);
                aws_sdk_s3::Client::from_conf(config.build())
            })
            .clone()
    }

    /// Waits for an answer. From any thread but the runtime's own.
    pub(crate) fn wait<F: Future>(&self, answer: F) -> F::Output {
        self.runtime.block_on(answer)
    }

    pub(crate) fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.runtime.spawn(task)
    }
}
