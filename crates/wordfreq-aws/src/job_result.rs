//! The message that tells of a document's outcome, in the Go sample's JSON: `Job` (with `StartedAt`, `Region`, `Bucket`,
//! `Key`), `Words` in their order, `Duration` in nanoseconds, `Status`, `StatusMessage`. `Job.ETag` is ours, which its
//! readers pass over. Not here: the queue it goes to (`result_queue`).

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wordfreq_pipeline::report::{Report, Reported};

use crate::batch::{MAX_BATCH_BYTES, acceptable};

/// Words the sample tells.
const TOP: usize = 10;

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobResult {
    /// Which document.
    pub job: Job,
    /// Its best words, most frequent first; `None` (`null`) if it was not counted.
    pub words: Option<Vec<Word>>,
    /// From its receipt to its outcome, in nanoseconds.
    pub duration: i64,
    /// Whether it was counted.
    pub status: JobStatus,
    /// Why not.
    pub status_message: String,
}

/// A document as the sample names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    /// RFC 3339.
    pub started_at: String,
    /// Of the bucket; empty if unknown.
    pub region: String,
    /// Its name.
    pub bucket: String,
    /// Decoded.
    pub key: String,
    /// Of the version that was counted.
    #[serde(rename = "ETag", skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// A word and how often it occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Word {
    /// The word.
    pub word: String,
    /// How often.
    pub count: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Counted and committed.
    Success,
    /// Given up.
    Failure,
}

impl JobResult {
    /// What is told of a report.
    pub fn of(report: &Report<'_>) -> Self {
        let Report { event, started_at, duration, outcome } = report;
        let job = Job {
            started_at: humantime::format_rfc3339_nanos(SystemTime::from(*started_at)).to_string(),
            region: event.provenance.region.clone().unwrap_or_default(),
            bucket: event.id.bucket().to_owned(),
            key: event.id.key().to_owned(),
            etag: event.provenance.etag.clone(),
        };
        let duration = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        match outcome {
            Reported::Counted(counts) => {
                let words = counts.top(TOP).into_iter();
                let words =
                    words.map(|entry| Word { word: entry.word.to_owned(), count: entry.count }).collect();
                Self {
                    job,
                    words: Some(words),
                    duration,
                    status: JobStatus::Success,
                    status_message: String::new(),
                }
            }
            Reported::Failed(reason) => {
                let status_message = (*reason).to_owned();
                Self { job, words: None, duration, status: JobStatus::Failure, status_message }
            }
        }
    }

    /// The message, of a size that queues of before August 2025 take too. Words that it has no room for (`go-sample` has words of 64 KiB) are left out from the last on,
    /// and `StatusMessage` says so.
    pub fn to_body(&self) -> String {
        let mut told = self.clone();
        loop {
            // JSON escapes control characters itself; of what SQS refuses, U+FFFE and U+FFFF are left.
            let body = acceptable(&serde_json::to_string(&told).expect("texts and numbers are always JSON"));
            let Some(words) = told.words.as_mut().filter(|_| body.len() > MAX_BATCH_BYTES) else {
                return body;
            };
            words.pop();
            told.status_message = format!("{} of the words have room in a message", words.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wordfreq_core::{Counts, Profile, ProfileName, count};
    use wordfreq_pipeline::{DocumentEvent, DocumentId, EventKind, Sequence, Timestamp};

    fn result(counts: Option<&Counts>) -> JobResult {
        let id = DocumentId::new("bucket", "a key\u{ffff}").unwrap();
        let mut event = DocumentEvent::new(EventKind::Created, id, Sequence(1), 0);
        event.provenance.region = Some("eu-west-2".into());
        let outcome = counts.map_or(Reported::Failed("why"), Reported::Counted);
        let (started_at, duration) = (Timestamp(1_600_000_000_123), Duration::from_nanos(1_500));
        JobResult::of(&Report { event: &event, started_at, duration, outcome })
    }

    #[test]
    fn the_message_is_the_samples() {
        let counts = count(&Profile::default(), b"two one two").unwrap();
        let expected = serde_json::json!({
            "Job": {"StartedAt": "2020-09-13T12:26:40.123000000Z", "Region": "eu-west-2", "Bucket": "bucket",
                    "Key": "a key\u{ffff}"},
            "Words": [{"Word": "two", "Count": 2}, {"Word": "one", "Count": 1}],
            "Duration": 1500, "Status": "success", "StatusMessage": "",
        });
        let body = result(Some(&counts)).to_body();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), expected);
        assert!(!body.contains('\u{ffff}'), "SQS would refuse it");
        let failure = result(None);
        assert_eq!(serde_json::from_str::<JobResult>(&failure.to_body()).unwrap(), failure);
        assert!(failure.to_body().contains(r#""Words":null"#));
    }

    #[test]
    fn a_message_always_fits_and_says_what_it_left_out() {
        let text: String =
            (0..10).map(|number| format!("{}{number}\u{1} ", "\u{2}".repeat(60_000))).collect();
        let counts = count(&Profile::new(ProfileName::GoSample), text.as_bytes()).unwrap();
        let body = result(Some(&counts)).to_body();
        assert!(body.len() <= MAX_BATCH_BYTES);
        let told: JobResult = serde_json::from_str(&body).unwrap();
        assert_eq!(told.words.unwrap().len(), 0);
        assert_eq!(told.status_message, "0 of the words have room in a message");
    }
}
