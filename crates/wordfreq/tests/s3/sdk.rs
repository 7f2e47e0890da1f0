//! The SDK of Rust, pointed at an endpoint of ours.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::Builder;

/// A client with this key. It asks once, so that what went wrong is seen.
pub(crate) fn client(url: &str, id: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(Builder::new().build_http())
        .endpoint_url(url)
        .region(Region::from_static("nowhere-1"))
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

/// What `wordfreq key create` prints: the id, and the secret.
pub(crate) fn key(printed: &str) -> (String, String) {
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in {printed:?}")).to_owned()
    };
    (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"))
}
