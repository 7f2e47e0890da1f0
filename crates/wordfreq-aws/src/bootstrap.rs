//! A stack: the buckets, queues and the table that documents, jobs and results need on AWS, made or brought into order
//! by [`bootstrap`], and deleted by [`destroy`]. Both can be run again after any interruption and end in the same state.
//!
//! The stack NAME in the account A and the region R:
//!
//! | resource | name | settings |
//! | --- | --- | --- |
//! | bucket of documents | `NAME-A-R-documents` | private, encrypted, tells the jobs queue of every change |
//! | bucket of results | `NAME-A-R-results` | private, encrypted |
//! | jobs queue | `NAME-jobs` | encrypted, S3 may send, five receives |
//! | its dead letters | `NAME-jobs-dead` | encrypted, 14 days, for the jobs queue only |
//! | results queue | `NAME-results` | encrypted, 4 days |
//! | table of results | `NAME-results` | pay per request, point-in-time recovery, forgets deletions by `ExpiresAt` |
//!
//! Everything carries the tags `wordfreq:stack` = NAME and `created-by` = `wordfreq`. What has a name of the stack and
//! not these tags is somebody else's: `bootstrap` refuses before it changes anything, `destroy` leaves it. What people
//! set on a stack's bucket or table beside the above (rules, notifications, capacity, protection) stays.
//!
//! Not here: fleets, and roles; `deploy/aws` has the policies that [`policy`] fills in.

mod buckets;
mod queues;
mod table;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::Instant;
use wordfreq_pipeline::{BackendError, ErrorKind};

use crate::connection::Connection;
use crate::error::{Refusal, failed};

/// Before the keys of spilled count tables where nobody says otherwise; policies allow no other in a stack's bucket.
pub const RESULT_PREFIX: &str = "counts/";

const STACK_TAG: &str = "wordfreq:stack";
const CREATOR_TAG: &str = "created-by";
const CREATOR: &str = "wordfreq";

/// Of a bucket's name (S3).
const MAX_BUCKET_CHARS: usize = 63;
/// With which no bucket's name may begin (S3).
const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Of a queue (SQS).
const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);

/// The name of a stack: 3 to 40 characters of `a-z`, `0-9` and `-`, the first a letter, the last no `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackName(String);

impl StackName {
    /// Checks a name.
    ///
    /// # Errors
    /// `Invalid`, with what a name may be.
    pub fn parse(name: &str) -> Result<Self, BackendError> {
        let characters =
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let is_name = (3..=40).contains(&name.len())
            && characters
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && !name.ends_with('-');
        if !is_name {
            return Err(invalid(format!(
                "{name:?} is not the name of a stack: take 3 to 40 characters of a-z, 0-9 and `-`, a letter first and \
                 no `-` last"
            )));
        }
        if let Some(reserved) = RESERVED_PREFIXES.iter().find(|prefix| name.starts_with(**prefix)) {
            return Err(invalid(format!(
                "{name:?} is not the name of a stack: S3 has no buckets whose names begin with `{reserved}`, take another"
            )));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What [`bootstrap`] may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOptions {
    /// How long a message of the jobs queue stays with a receiver that does not say how long: whole seconds, at most 12
    /// hours. Workers say it; a Lambda function cannot, and needs six times its own timeout.
    pub visibility: Duration,
    /// For how long, all together, to wait for what AWS does not have ready at once.
    pub patience: Duration,
}

impl Default for BootstrapOptions {
    fn default() -> Self {
        Self { visibility: Duration::from_secs(60), patience: Duration::from_secs(300) }
    }
}

/// A stack that is there, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The bucket of documents.
    pub bucket: String,
    /// The bucket of count tables that do not fit their item.
    pub results_bucket: String,
    /// The jobs queue, where the bucket's events go.
    pub queue_url: String,
    /// What was given up of it.
    pub dead_letter_url: String,
    /// Where results are told.
    pub result_queue_url: String,
    /// Where they are kept.
    pub table: String,
    /// All of it is there.
    pub region: String,
    /// Whose it is.
    pub account: String,
    /// `aws`, or another part of AWS with names of its own, as `aws-cn`.
    partition: String,
}

impl Stack {
    /// What a worker of this stack needs in its environment, and no more; credentials it has from its role.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("WORKER_QUEUE_URL", self.queue_url.clone()),
            ("WORKER_RESULT_QUEUE_URL", self.result_queue_url.clone()),
            ("WORKER_RESULT_TABLENAME", self.table.clone()),
            ("WORKER_RESULT_BUCKET", self.results_bucket.clone()),
            ("AWS_REGION", self.region.clone()),
        ]
    }
}

/// Who needs a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A worker.
    Worker,
    /// Who puts documents, takes them back, and waits for their results.
    Uploader,
    /// Who reads results.
    Reader,
    /// Who looks after the queue and its dead letters.
    Operator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Worker, Self::Uploader, Self::Reader, Self::Operator];

    fn template(self) -> &'static str {
        match self {
            Self::Worker => include_str!("../../../deploy/aws/worker-policy.json"),
            Self::Uploader => include_str!("../../../deploy/aws/uploader-policy.json"),
            Self::Reader => include_str!("../../../deploy/aws/reader-policy.json"),
            Self::Operator => include_str!("../../../deploy/aws/operator-policy.json"),
        }
    }
}

/// The IAM policy (JSON) with just what a role does in this stack.
pub fn policy(role: Role, stack: &Stack) -> String {
    let Stack { partition, region, account, .. } = stack;
    let queue = |url: &str| {
        let name = url.rsplit('/').next().unwrap_or(url);
        format!("arn:{partition}:sqs:{region}:{account}:{name}")
    };
    [
        ("AWS::Partition", partition.clone()),
        ("QueueArn", queue(&stack.queue_url)),
        ("DeadLetterQueueArn", queue(&stack.dead_letter_url)),
        ("ResultQueueArn", queue(&stack.result_queue_url)),
        ("TableArn", format!("arn:{partition}:dynamodb:{region}:{account}:table/{}", stack.table)),
        ("Bucket", stack.bucket.clone()),
        ("ResultBucket", stack.results_bucket.clone()),
        ("ResultPrefix", RESULT_PREFIX.to_owned()),
    ]
    .into_iter()
    .fold(role.template().to_owned(), |policy, (name, value)| policy.replace(&format!("${{{name}}}"), &value))
}

/// Makes what is missing of a stack and brings the rest into order.
///
/// # Errors
/// `Invalid` if the stack's names cannot be, or one of them is somebody else's: then nothing was made or changed. `Busy`
/// if AWS took too long. After any error, run it again.
pub fn bootstrap(
    connection: &Connection,
    name: &StackName,
    options: &BootstrapOptions,
) -> Result<Stack, BackendError> {
    let BootstrapOptions { visibility, patience } = options;
    if *visibility > MAX_VISIBILITY || visibility.subsec_nanos() > 0 {
        return Err(invalid(format!(
            "messages cannot stay with a receiver for {visibility:?}: take whole seconds, {} at most",
            MAX_VISIBILITY.as_secs()
        )));
    }
    connection.wait(async {
        let site = Site::open(connection, name, *patience).await?;
        let Found { queue, dead_letters, result_queue, table, bucket, results_bucket } =
            site.look().await?.or_refuse(&site)?;
        let Names { jobs, jobs_dead, results, bucket: documents, results_bucket: tables } = &site.names;
        // Nothing may refer to what is not there yet.
        let dead_letter_url = queues::ensure(&site, jobs_dead, dead_letters, queues::dead_letters()).await?;
        let attributes = queues::jobs(&site, visibility.as_secs());
        let queue_url = queues::ensure(&site, jobs, queue, attributes).await?;
        queues::only_from_jobs(&site, &dead_letter_url).await?;
        let result_queue_url = queues::ensure(&site, results, result_queue, queues::results()).await?;
        table::ensure(&site, results, table).await?;
        buckets::ensure(&site, tables, results_bucket).await?;
        buckets::ensure(&site, documents, bucket).await?;
        buckets::notify(&site, documents, &site.queue_arn(jobs)).await?;
        Ok(site.stack(queue_url, dead_letter_url, result_queue_url))
    })
}

/// A stack that was made before.
///
/// # Errors
/// `NotFound` if any of it is missing or somebody else's.
pub fn find(connection: &Connection, name: &StackName) -> Result<Stack, BackendError> {
    connection.wait(async {
        let site = Site::open(connection, name, BootstrapOptions::default().patience).await?;
        let mut missing = Vec::new();
        let found = site.look().await?;
        for (what, state) in found.states(&site.names) {
            match state {
                State::Nothing | State::Unmarked => missing.push(format!("the {what} is not there")),
                State::Foreign(why) => missing.push(format!("the {what} is another's: {why}")),
                State::Ours => {}
            }
        }
        match (found.queue, found.dead_letters, found.result_queue) {
            (Look::Ours(queue), Look::Ours(dead_letters), Look::Ours(result_queue)) if missing.is_empty() => {
                Ok(site.stack(queue, dead_letters, result_queue))
            }
            _ => Err(BackendError::new(
                ErrorKind::NotFound,
                format!(
                    "there is no whole stack {name} in {} of account {} ({}): `wordfreq aws bootstrap --name {name}` makes it",
                    connection.region(),
                    site.account,
                    missing.join("; ")
                ),
            )),
        }
    })
}

/// What becomes of what is in a stack's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// A bucket that is not empty stops everything.
    Keep,
    /// Every object goes, with all its versions, and every unfinished upload.
    Delete,
}

/// What [`destroy`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// What is gone, as `queue demo-jobs`.
    pub deleted: Vec<String>,
    /// What has a name of the stack and is still there, and why.
    pub left: Vec<(String, String)>,
}

/// Deletes a stack, results and waiting messages included. What is not there is no error.
///
/// # Errors
/// `Invalid` if a bucket is not empty and `documents` are to be kept, or the table is protected: then nothing was
/// deleted. `Busy` if something was put into a bucket meanwhile. After any other error, run it again.
pub fn destroy(
    connection: &Connection,
    name: &StackName,
    documents: Documents,
) -> Result<Destroyed, BackendError> {
    connection.wait(async {
        let site = Site::open(connection, name, BootstrapOptions::default().patience).await?;
        let names = &site.names;
        let found = site.look().await?;
        let mut destroyed = Destroyed::default();
        for (what, state) in found.states(names) {
            match state {
                State::Foreign(why) => destroyed.left.push((what, why)),
                State::Unmarked => {
                    let why = "it is empty and carries no tags, as an interrupted `wordfreq aws bootstrap` leaves it: run \
                               that again first, or delete it yourself";
                    destroyed.left.push((what, why.into()));
                }
                State::Nothing | State::Ours => {}
            }
        }
        let is_marked = |look: &Look<buckets::Mark>| matches!(look, Look::Ours(buckets::Mark::Tagged));
        let buckets = [(&names.bucket, &found.bucket), (&names.results_bucket, &found.results_bucket)];
        let buckets: Vec<_> = buckets.into_iter().filter(|(_, look)| is_marked(look)).map(|(name, _)| name).collect();
        let mut obstacles = Vec::new();
        if documents == Documents::Keep {
            for bucket in &buckets {
                if let Some(what) = buckets::holds(&site, bucket).await? {
                    obstacles.push(format!(
                        "the bucket {bucket} holds {what}: take them elsewhere, or have them deleted with --delete-documents"
                    ));
                }
            }
        }
        if let Look::Ours(table::Protection::On) = found.table {
            obstacles.push(format!("the table {} is protected from deletion: turn that off first", names.results));
        }
        if !obstacles.is_empty() {
            return Err(invalid(format!("nothing was deleted, as {}", obstacles.join(", and "))));
        }
        // What others could still fill comes first, and the queues, to which events may be on their way, last.
        for bucket in buckets {
            if documents == Documents::Delete {
                buckets::stop_notifying(&site, bucket).await?;
                buckets::clear(&site, bucket).await?;
            }
            buckets::delete(&site, bucket).await?;
            destroyed.deleted.push(format!("bucket {bucket}"));
        }
        if matches!(found.table, Look::Ours(_)) {
            table::delete(&site, &names.results).await?;
            destroyed.deleted.push(format!("table {}", names.results));
        }
        let queues = [
            (&names.jobs, found.queue),
            (&names.jobs_dead, found.dead_letters),
            (&names.results, found.result_queue),
        ];
        for (name, look) in queues {
            if let Look::Ours(url) = look {
                queues::delete(&site, name, &url).await?;
                destroyed.deleted.push(format!("queue {name}"));
            }
        }
        Ok(destroyed)
    })
}

fn invalid(what: impl Into<String>) -> BackendError {
    BackendError::new(ErrorKind::Invalid, what)
}

/// What everything of a stack is called. The results queue and the table have the same name.
#[derive(Debug)]
struct Names {
    jobs: String,
    jobs_dead: String,
    results: String,
    bucket: String,
    results_bucket: String,
}

impl Names {
    fn new(stack: &StackName, account: &str, region: &str) -> Result<Self, BackendError> {
        let bucket = format!("{stack}-{account}-{region}-documents");
        let excess = bucket.len().saturating_sub(MAX_BUCKET_CHARS);
        if excess > 0 {
            return Err(invalid(format!(
                "the bucket of the stack {stack} would be {bucket}, {} characters, and S3 allows {MAX_BUCKET_CHARS}: in \
                 {region} take a name of at most {}",
                bucket.len(),
                stack.0.len().saturating_sub(excess)
            )));
        }
        Ok(Self {
            jobs: format!("{stack}-jobs"),
            jobs_dead: format!("{stack}-jobs-dead"),
            results: format!("{stack}-results"),
            bucket,
            results_bucket: format!("{stack}-{account}-{region}-results"),
        })
    }
}

/// Where a stack is or will be, and until when AWS may take.
struct Site<'a> {
    connection: &'a Connection,
    stack: &'a StackName,
    names: Names,
    account: String,
    partition: String,
    until: Instant,
}

impl<'a> Site<'a> {
    /// Asks who this is, which tells the account.
    async fn open(
        connection: &'a Connection,
        stack: &'a StackName,
        patience: Duration,
    ) -> Result<Self, BackendError> {
        let sts = aws_sdk_sts::Client::new(connection.config());
        let caller = sts
            .get_caller_identity()
            .send()
            .await
            .map_err(|error| failed("ask AWS whose account this is", error))?;
        // arn:PARTITION:sts::ACCOUNT:...
        let partition = caller.arn().and_then(|arn| arn.split(':').nth(1));
        let (Some(account), Some(partition)) = (caller.account(), partition) else {
            return Err(BackendError::new(ErrorKind::Other, "AWS does not say whose account this is"));
        };
        let names = Names::new(stack, account, connection.region())?;
        let (account, partition) = (account.to_owned(), partition.to_owned());
        Ok(Self { connection, stack, names, account, partition, until: Instant::now() + patience })
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        self.connection.s3(None)
    }

    fn queue_arn(&self, name: &str) -> String {
        format!("arn:{}:sqs:{}:{}:{name}", self.partition, self.connection.region(), self.account)
    }

    fn bucket_arn(&self, name: &str) -> String {
        format!("arn:{}:s3:::{name}", self.partition)
    }

    fn tags(&self) -> [(&'static str, String); 2] {
        [(STACK_TAG, self.stack.0.clone()), (CREATOR_TAG, CREATOR.to_owned())]
    }

    /// Why something with these tags is not of this stack; `None` if it is.
    fn mismatch<'t>(&self, tags: impl Iterator<Item = (&'t str, &'t str)> + Clone) -> Option<String> {
        self.tags().into_iter().find_map(|(name, ours)| {
            let theirs = tags.clone().find(|(key, _)| *key == name).map(|(_, value)| value);
            match theirs {
                Some(value) if value == ours => None,
                Some(value) => Some(format!("its tag {name} is {value:?}, not {ours:?}")),
                None => Some(format!("it does not carry the tag {name}={ours}")),
            }
        })
    }

    /// Looks at everything and changes nothing.
    async fn look(&self) -> Result<Found, BackendError> {
        let Names { jobs, jobs_dead, results, bucket, results_bucket } = &self.names;
        Ok(Found {
            queue: queues::look(self, jobs).await?,
            dead_letters: queues::look(self, jobs_dead).await?,
            result_queue: queues::look(self, results).await?,
            table: table::look(self, results).await?,
            bucket: buckets::look(self, bucket).await?,
            results_bucket: buckets::look(self, results_bucket).await?,
        })
    }

    fn stack(&self, queue_url: String, dead_letter_url: String, result_queue_url: String) -> Stack {
        Stack {
            bucket: self.names.bucket.clone(),
            results_bucket: self.names.results_bucket.clone(),
            queue_url,
            dead_letter_url,
            result_queue_url,
            table: self.names.results.clone(),
            region: self.connection.region().to_owned(),
            account: self.account.clone(),
            partition: self.partition.clone(),
        }
    }

    fn pauses(&self) -> Pauses {
        Pauses { next: FIRST_PAUSE, until: self.until }
    }

    /// Asks again and again while what AWS answers may pass and there is time.
    async fn patiently<T, E>(
        &self,
        context: &str,
        may_pass: impl Fn(&Refusal) -> bool,
        request: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<T, BackendError>
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let mut pauses = self.pauses();
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = Refusal::of(&error).is_some_and(|refusal| may_pass(&refusal));
            if !again || !pauses.another().await {
                return Err(failed(context, error));
            }
        }
    }
}

/// Ever longer ones, until there is no more time.
struct Pauses {
    next: Duration,
    until: Instant,
}

impl Pauses {
    /// Takes one; `false` if the time is up.
    async fn another(&mut self) -> bool {
        if Instant::now() + self.next > self.until {
            return false;
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}

/// What is there under a name.
#[derive(Debug)]
enum Look<T> {
    Nothing,
    Ours(T),
    /// Somebody else's, with what shows it.
    Foreign(String),
}

/// [`Look`] without what differs between kinds of things.
#[derive(Debug)]
enum State {
    Nothing,
    Ours,
    /// A bucket that may be ours.
    Unmarked,
    Foreign(String),
}

impl<T> Look<T> {
    fn state(&self) -> State {
        match self {
            Self::Nothing => State::Nothing,
            Self::Ours(_) => State::Ours,
            Self::Foreign(why) => State::Foreign(why.clone()),
        }
    }
}

/// A stack as it was found.
struct Found<Q = Look<String>, T = Look<table::Protection>, B = Look<buckets::Mark>> {
    queue: Q,
    dead_letters: Q,
    result_queue: Q,
    table: T,
    bucket: B,
    results_bucket: B,
}

/// A stack without anything of somebody else's: what there is of it.
type Present = Found<Option<String>, Option<table::Protection>, Option<buckets::Mark>>;

impl Found {
    /// Each with what it is.
    fn states(&self, names: &Names) -> Vec<(String, State)> {
        let bucket = |look: &Look<buckets::Mark>| match look {
            Look::Ours(buckets::Mark::Untagged) => State::Unmarked,
            look => look.state(),
        };
        vec![
            (format!("bucket {}", names.bucket), bucket(&self.bucket)),
            (format!("bucket {}", names.results_bucket), bucket(&self.results_bucket)),
            (format!("table {}", names.results), self.table.state()),
            (format!("queue {}", names.jobs), self.queue.state()),
            (format!("queue {}", names.jobs_dead), self.dead_letters.state()),
            (format!("queue {}", names.results), self.result_queue.state()),
        ]
    }

    fn or_refuse(self, site: &Site<'_>) -> Result<Present, BackendError> {
        let others = self.states(&site.names).into_iter().filter_map(|(what, state)| match state {
            State::Foreign(why) => Some(format!("the {what} is there and not of this stack ({why})")),
            _ => None,
        });
        let others: Vec<_> = others.collect();
        if !others.is_empty() {
            return Err(invalid(format!(
                "the stack {} cannot be made, and nothing was changed: {}: take another name",
                site.stack,
                others.join("; ")
            )));
        }
        Ok(Found {
            queue: present(self.queue),
            dead_letters: present(self.dead_letters),
            result_queue: present(self.result_queue),
            table: present(self.table),
            bucket: present(self.bucket),
            results_bucket: present(self.results_bucket),
        })
    }
}

fn present<T>(look: Look<T>) -> Option<T> {
    match look {
        Look::Ours(found) => Some(found),
        Look::Nothing | Look::Foreign(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["abc", "a-1", "word-frequency", &"a".repeat(40)] {
            assert_eq!(StackName::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(41);
        for bad in ["", "ab", "Abc", "a_b", "1ab", "-ab", "abc-", "a.b", "äbc", "ab c", "xn--abc", &long] {
            assert_eq!(StackName::parse(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_bucket_that_cannot_be_named_is_refused_with_the_longest_name_that_can() {
        let names = |length: usize| {
            let name = StackName::parse(&"a".repeat(length)).unwrap();
            Names::new(&name, "123456789012", "ap-southeast-1")
        };
        assert_eq!(names(25).unwrap().bucket.len(), 63);
        let error = names(26).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error
                .to_string()
                .ends_with("64 characters, and S3 allows 63: in ap-southeast-1 take a name of at most 25"),
            "{error}"
        );
    }

    fn stack(partition: &str) -> Stack {
        Stack {
            bucket: "demo-1-r-documents".into(),
            results_bucket: "demo-1-r-results".into(),
            queue_url: "https://sqs.r.amazonaws.com/1/demo-jobs".into(),
            dead_letter_url: "https://sqs.r.amazonaws.com/1/demo-jobs-dead".into(),
            result_queue_url: "https://sqs.r.amazonaws.com/1/demo-results".into(),
            table: "demo-results".into(),
            region: "r".into(),
            account: "1".into(),
            partition: partition.into(),
        }
    }

    #[test]
    fn every_policy_is_filled_in_and_names_no_more_than_it_must() {
        for role in Role::ALL {
            let text = policy(role, &stack("aws-cn"));
            assert!(!text.contains("${") && !text.contains("arn:aws:"), "{text}");
            let policy: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(policy["Version"], "2012-10-17");
            let each = |value: &serde_json::Value| match value {
                serde_json::Value::Array(values) => values.clone(),
                one => vec![one.clone()],
            };
            for statement in policy["Statement"].as_array().unwrap() {
                assert_eq!(statement["Effect"], "Allow");
                for action in each(&statement["Action"]) {
                    assert!(!action.as_str().unwrap().contains('*'), "{action}");
                }
                for resource in each(&statement["Resource"]) {
                    let resource = resource.as_str().unwrap();
                    let (arn, name) = resource.rsplit_once(':').unwrap();
                    assert!(arn.starts_with("arn:aws-cn:") && name.contains("demo-"), "{resource}");
                    assert!(
                        !name.contains('*') || name.ends_with("/*") || name.ends_with("/counts/*"),
                        "{resource}"
                    );
                }
            }
        }
        let worker = policy(Role::Worker, &stack("aws"));
        for arn in [
            "\"arn:aws:sqs:r:1:demo-jobs\"",
            "\"arn:aws:sqs:r:1:demo-jobs-dead\"",
            "\"arn:aws:sqs:r:1:demo-results\"",
            "\"arn:aws:dynamodb:r:1:table/demo-results\"",
            "\"arn:aws:s3:::demo-1-r-documents/*\"",
            "\"arn:aws:s3:::demo-1-r-results/counts/*\"",
        ] {
            assert!(worker.contains(arn), "{arn} in {worker}");
        }
    }
}
