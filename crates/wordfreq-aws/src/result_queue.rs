//! The results queue: whoever asked is told there, and whoever uploaded waits there. It is shared by everybody who
//! uploads: what belongs to others is looked at and given back at once. Not here: the messages' form (`job_result`).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sqs::types::Message;
use tokio::sync::Notify;
use wordfreq_pipeline::report::Report;
use wordfreq_pipeline::{BackendError, DocumentId, Drain, ErrorKind};

use crate::batch::{self, Entry};
use crate::connection::Connection;
use crate::error::failed;
use crate::job_result::JobResult;

/// How long others' messages are held while the queue is looked through, at most; they are given back right after.
const LOOK_SECONDS: i32 = 15;
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// Others' messages of one look.
const MAX_HELD: usize = 1000;

/// Rests between looks that found only what belongs to others.
const SHORTEST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(8);

/// By how much a worker's clock may be behind ours: its time tells an old result from a new one.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// A document whose result is waited for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its name.
    pub id: DocumentId,
    /// The tag of the version that was uploaded.
    pub etag: Option<String>,
    /// Just before it was uploaded.
    pub since: SystemTime,
}

impl Asked {
    /// Whether a result tells of this version, and was made since it was put: the same bytes may have been put before, and
    /// counted by another profile. The Go sample's workers say no tag; then the time alone must do.
    pub fn is_answered_by(&self, result: &JobResult) -> bool {
        let job = &result.job;
        if job.bucket != self.id.bucket() || job.key != self.id.key() {
            return false;
        }
        let same = match (&self.etag, &job.etag) {
            (Some(asked), Some(told)) => asked == told,
            _ => true,
        };
        same && humantime::parse_rfc3339_weak(&job.started_at)
            .is_ok_and(|started_at| started_at + CLOCK_SKEW >= self.since)
    }
}

/// The queue that results are told on.
#[derive(Debug)]
pub struct ResultQueue {
    connection: Arc<Connection>,
    url: String,
}

/// What one look through the queue found.
#[derive(Default)]
struct Look {
    answers: Vec<(usize, JobResult)>,
    /// Receipts of the messages that answer.
    ours: Vec<String>,
    others: Vec<String>,
}

impl ResultQueue {
    /// Asks nothing of the queue yet.
    pub fn new(connection: Arc<Connection>, url: impl Into<String>) -> Self {
        Self { connection, url: url.into() }
    }

    /// Whether there is such a queue.
    ///
    /// # Errors
    /// `NotFound` if not; others if nothing can be said.
    pub(crate) fn look(&self) -> Result<(), BackendError> {
        let name = aws_sdk_sqs::types::QueueAttributeName::QueueArn;
        let request = self.connection.sqs.get_queue_attributes().queue_url(&self.url).attribute_names(name);
        let looked = self.connection.wait(request.send());
        looked.map(drop).map_err(|error| failed(&format!("look at {}", self.url), error))
    }

    /// Sends a message for each report. When it returns they are on the queue.
    pub fn tell(&self, reports: &[Report<'_>]) -> Result<(), BackendError> {
        let entry = |report| Entry { body: JobResult::of(report).to_body(), ..Entry::default() };
        let entries: Vec<_> = reports.iter().map(entry).collect();
        self.connection.wait(batch::send(&self.connection, &self.url, &entries))
    }

    /// Waits until every document is answered, `deadline` has come or `drain` is requested. `answered` is called with
    /// each document's position in `asked`, once; its message is deleted then.
    pub fn wait(
        &self,
        asked: &[Asked],
        deadline: Instant,
        drain: &Drain,
        mut answered: impl FnMut(usize, JobResult),
    ) -> Result<(), BackendError> {
        let mut open: Vec<usize> = (0..asked.len()).collect();
        let mut rest = SHORTEST_REST;
        while !open.is_empty() && Instant::now() < deadline && !drain.requested() {
            let look = match self.look_for(asked, &open, deadline, drain) {
                Ok(look) => look,
                Err(error) if error.kind() == ErrorKind::Busy => {
                    tracing::warn!(%error, "the results queue cannot be used now");
                    drain.wait(rest.min(deadline.saturating_duration_since(Instant::now())));
                    rest = (rest * 2).min(LONGEST_REST);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (found_ours, found_others) = (!look.answers.is_empty(), !look.others.is_empty());
            for (index, result) in look.answers {
                open.retain(|one| *one != index);
                answered(index, result);
            }
            if found_ours {
                rest = SHORTEST_REST;
            } else if found_others {
                // A long poll does not wait while there are messages, whosever they are.
                drain.wait(rest.min(deadline.saturating_duration_since(Instant::now())));
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
        Ok(())
    }

    /// Looks through what is there, takes what answers, and gives back the rest.
    fn look_for(
        &self,
        asked: &[Asked],
        open: &[usize],
        deadline: Instant,
        drain: &Drain,
    ) -> Result<Look, BackendError> {
        let drained = Arc::new(Notify::new());
        let _wakes_on_drain = drain.on_request({
            let drained = drained.clone();
            move || drained.notify_one()
        });
        self.connection.wait(async {
            let mut look = Look::default();
            let looked = tokio::select! {
                looked = self.look_through(asked, open, deadline, &mut look) => looked,
                () = drained.notified() => Ok(()),
            };
            let released: Vec<_> = look.others.iter().map(|receipt| (receipt.as_str(), 0)).collect();
            batch::change_visibility(&self.connection, &self.url, &released).await?;
            let ours: Vec<_> = look.ours.iter().map(String::as_str).collect();
            batch::delete(&self.connection, &self.url, &ours).await?;
            looked.map(|()| look)
        })
    }

    async fn look_through(
        &self,
        asked: &[Asked],
        open: &[usize],
        deadline: Instant,
        look: &mut Look,
    ) -> Result<(), BackendError> {
        let started = Instant::now();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // The first poll waits for something to come; the next ones only make sure that nothing is left.
            let is_first = look.others.is_empty() && look.ours.is_empty();
            let wait_seconds = if is_first { left.as_secs().clamp(1, 20) } else { 1 };
            let answer = self
                .connection
                .sqs
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(10)
                .visibility_timeout(LOOK_SECONDS)
                .wait_time_seconds(i32::try_from(wait_seconds).unwrap_or(20))
                .send()
                .await
                .map_err(|error| failed(&format!("receive from {}", self.url), error))?;
            let messages = answer.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(());
            }
            for Message { receipt_handle, body, .. } in messages {
                let Some(receipt) = receipt_handle else { continue };
                // What is no result is somebody's too.
                let result: Option<JobResult> = body.and_then(|body| serde_json::from_str(&body).ok());
                let is_new = |index: &&usize| look.answers.iter().all(|(answered, _)| answered != *index);
                let answers = result.and_then(|result| {
                    let index =
                        *open.iter().filter(is_new).find(|index| asked[**index].is_answered_by(&result))?;
                    Some((index, result))
                });
                match answers {
                    Some(answer) => {
                        look.answers.push(answer);
                        look.ours.push(receipt);
                    }
                    None => look.others.push(receipt),
                }
            }
            let is_done = look.answers.len() == open.len();
            if is_done || look.others.len() >= MAX_HELD || started.elapsed() >= LONGEST_LOOK {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_result::{Job, JobStatus};

    #[test]
    fn a_result_answers_the_version_that_was_uploaded_and_no_other() {
        let asked = Asked {
            id: DocumentId::new("bucket", "key").unwrap(),
            etag: Some("tag".into()),
            since: humantime::parse_rfc3339("2026-01-01T12:00:00Z").unwrap(),
        };
        let answers = |key: &str, etag: Option<&str>, started_at: &str| {
            let etag = etag.map(str::to_owned);
            let job = Job {
                started_at: started_at.into(),
                bucket: "bucket".into(),
                key: key.into(),
                etag,
                ..Job::default()
            };
            let (status, status_message) = (JobStatus::Success, String::new());
            asked.is_answered_by(&JobResult { job, words: None, duration: 0, status, status_message })
        };
        assert!(answers("key", Some("tag"), "2026-01-01T12:00:01Z"));
        assert!(!answers("key", Some("tag"), "2020-01-01T00:00:00Z"), "the same bytes, put before");
        assert!(!answers("key", Some("other"), "2026-01-01T12:00:01Z"));
        assert!(!answers("kay", Some("tag"), "2026-01-01T12:00:01Z"));
        assert!(answers("key", None, "2026-01-01T12:00:00.5Z"), "as the sample tells it");
        assert!(!answers("key", None, "2026-01-01T11:00:00Z"), "an older one of the same name");
        assert!(!answers("key", None, "yesterday"));
    }
}
