//! What a fleet costs on AWS, by a dated list of prices. Not here: how long instances run (`wordfreq_core::simulation`).

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

/// SQS requests of a document at full batches: a tenth of a receive, of a delete and of a result, and a little more.
const SQS_REQUESTS: f64 = 0.32;
/// A result of a document of some kilobytes takes this many write units (one a KB).
const WRITE_UNITS: f64 = 3.0;

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When it was taken down.
    pub date: String,
    instance: BTreeMap<String, f64>,
    requests: Requests,
    lambda: Lambda,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requests {
    sqs_per_million: f64,
    s3_get_per_thousand: f64,
    dynamodb_write_units_per_million: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lambda {
    requests_per_million: f64,
    gigabyte_second: f64,
    gigabytes: f64,
}

impl Prices {
    /// The list that comes with the program.
    ///
    /// # Errors
    /// If it was damaged before it was built in.
    pub fn built_in() -> anyhow::Result<Self> {
        toml::from_str(include_str!("../assets/prices.toml")).context("the built-in list of prices")
    }

    /// Dollars an hour for a type of instance; `Err` holds the known types.
    pub fn instance(&self, kind: &str) -> Result<f64, String> {
        self.instance.get(kind).copied().ok_or_else(|| {
            let known: Vec<_> = self.instance.keys().map(String::as_str).collect();
            format!("no price is known for the instance type {kind:?}; known are {}", known.join(", "))
        })
    }

    /// Dollars for the requests that so many documents, received so often, make.
    pub fn requests(&self, documents: u64, received: u64) -> f64 {
        let Requests { sqs_per_million, s3_get_per_thousand, dynamodb_write_units_per_million } =
            self.requests;
        received as f64 * (SQS_REQUESTS * sqs_per_million / 1e6 + s3_get_per_thousand / 1e3)
            + documents as f64 * WRITE_UNITS * dynamodb_write_units_per_million / 1e6
    }

    /// Dollars if Lambda functions did the same work, the requests of the documents not counted.
    pub fn lambda(&self, documents: u64, work: Duration) -> f64 {
        let Lambda { requests_per_million, gigabyte_second, gigabytes } = self.lambda;
        documents as f64 * requests_per_million / 1e6 + work.as_secs_f64() * gigabytes * gigabyte_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_can_be_read_and_adds_up() {
        let prices = Prices::built_in().unwrap();
        assert!(prices.instance("t2.micro").unwrap() > 0.0);
        assert!(prices.instance("t9.nano").unwrap_err().contains("t4g.nano"));
        // A million documents, each received once: 0.128 for SQS, 0.40 for S3, 1.875 for DynamoDB.
        assert!((prices.requests(1_000_000, 1_000_000) - 2.403).abs() < 1e-9);
        let hour = prices.lambda(0, Duration::from_secs(3600));
        assert!((hour - 3600.0 * 0.5 * 0.000_013_333_4).abs() < 1e-12);
    }
}
