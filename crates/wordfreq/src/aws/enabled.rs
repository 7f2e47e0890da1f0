//! Workers, uploads and the other commands on AWS: from settings to adapters and from outcomes to what is printed. Not
//! here: anything that speaks to a service (`wordfreq-aws`).

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use wordfreq_aws::bootstrap::{
    BootstrapOptions, Destroyed, Documents, Role, StackName, bootstrap, destroy, find, policy,
};
use wordfreq_aws::{
    Asked, Connection, DynamoResults, Endpoint, JobResult, JobStatus, Leases, ResultQueue, SpillLocation,
    SqsQueue, TableLocation, Uploads, WorkerSettings, Workers, watch_for_notices,
};
use wordfreq_pipeline::worker::{Tally, run as work};
use wordfreq_pipeline::{BackendError, DocumentId, Drain, ErrorKind, Queue, Results as _};

use crate::backend::{OpenQueue, OpenResults};
use crate::cli::{AwsArgs, AwsCommand, PolicyRole, UploadArgs};
use crate::commands::upload::{NOT_YET, exit, waited_for};
use crate::config::{Config, Sourced};
use crate::exit::{Exit, UsageError};
use crate::output::{self, Cell, Style};
use crate::signals;

/// Files that are put at a time.
const PUTS_AT_ONCE: usize = 8;

/// How long `--wait` waits unless it is told: S3 announces a document within seconds, sometimes a minute or more.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Wrong settings end with another exit code than services that fail.
fn connect(config: &Config) -> anyhow::Result<Arc<Connection>> {
    let endpoint = if config.aws.has_endpoint { Endpoint::Custom } else { Endpoint::Aws };
    Connection::open(endpoint).map_err(usage_if_invalid)
}

fn usage_if_invalid(error: BackendError) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Invalid => UsageError(error.to_string()).into(),
        _ => error.into(),
    }
}

fn required<'a>(
    setting: &'a Sourced<Option<String>>,
    name: &str,
    variable: &str,
) -> Result<&'a str, UsageError> {
    setting.value.as_deref().ok_or_else(|| {
        UsageError(format!(
            "the setting `{name}` is missing: set {variable}; `wordfreq aws bootstrap` prints it"
        ))
    })
}

fn queue_url(config: &Config) -> Result<&str, UsageError> {
    required(&config.aws.queue_url, "aws.queue_url", "WORKER_QUEUE_URL")
}

fn location(config: &Config) -> Result<TableLocation, UsageError> {
    let table = required(&config.aws.result_table, "aws.result_table", "WORKER_RESULT_TABLENAME")?.to_owned();
    let prefix = config.aws.result_prefix.value.clone();
    let spill = config.aws.result_bucket.value.clone().map(|bucket| SpillLocation { bucket, prefix });
    Ok(TableLocation { table, spill })
}

/// Runs workers until a signal, or a notice that this instance will go.
///
/// # Errors
/// Wrong configuration, and what no worker can go on after.
pub fn worker(config: &Config) -> anyhow::Result<Exit> {
    let settings = WorkerSettings {
        queue_url: queue_url(config)?.to_owned(),
        result_queue_url: required(
            &config.aws.result_queue_url,
            "aws.result_queue_url",
            "WORKER_RESULT_QUEUE_URL",
        )?
        .to_owned(),
        location: location(config)?,
        profile: config.aws_profile(),
    };
    let drain = Drain::new();
    signals::drain_on_signal(drain.clone(), || {})?;
    let connection = connect(config)?;
    let num_workers = config.aws.worker_count.value;
    let lease = config.aws.message_visibility.value;
    tracing::info!(
        queue = settings.queue_url,
        table = settings.location.table,
        result_bucket = config.aws.result_bucket.value,
        profile = settings.profile.fingerprint(),
        profile_from = %config.aws.word_profile.origin,
        region = connection.region(),
        workers = num_workers,
        visibility_seconds = lease.as_secs(),
        "starting"
    );
    let workers = Workers::open(connection.clone(), settings).map_err(usage_if_invalid)?;
    if !workers.has_dead_letters() {
        tracing::warn!(
            "the queue has no dead-letter queue: what cannot be counted stays in it until its retention ends; \
             give it a redrive policy"
        );
    }
    if config.aws.result_bucket.value.is_none() {
        tracing::warn!(
            "WORKER_RESULT_BUCKET is not set: a count table too large for its item is not kept, only its best words"
        );
    }
    // The workers of a process share its cores, unless somebody says otherwise.
    let threads = match config.threads.explicit() {
        Some(threads) => *threads,
        None => (config.threads.value / num_workers).max(1),
    };
    let options = workers.options(lease, threads);
    let outcomes = std::thread::scope(|scope| {
        let notices =
            (!config.aws.metadata_disabled).then(|| scope.spawn(|| watch_for_notices(&connection, &drain)));
        let running: Vec<_> = (0..num_workers)
            .map(|_| {
                scope.spawn(|| {
                    // One that cannot go on, or panics, takes the others along: whoever started the process sees it end.
                    let _ends_all = RequestOnDrop(&drain);
                    work(&workers.backend(), &options, &drain)
                })
            })
            .collect();
        let outcomes: Vec<_> = running
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        drain.request();
        if let Some(Err(panic)) = notices.map(|notices| notices.join()) {
            std::panic::resume_unwind(panic);
        }
        outcomes
    });
    if let Err(error) = workers.end_poll() {
        tracing::warn!(%error, "what the last poll brought comes again only when its lease ends");
    }
    let mut tally = Tally::default();
    for outcome in outcomes {
        tally += outcome?;
    }
    tally.log();
    Ok(Exit::Done)
}

/// A worker works until a drain is requested, so where it ends there must be one.
struct RequestOnDrop<'a>(&'a Drain);

impl Drop for RequestOnDrop<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// The queue of S3's events.
///
/// # Errors
/// Wrong configuration, and those of the service.
pub fn queue(config: &Config) -> anyhow::Result<OpenQueue> {
    let url = queue_url(config)?;
    let queue =
        SqsQueue::open(connect(config)?, url, Arc::new(Leases::default())).map_err(usage_if_invalid)?;
    Ok(OpenQueue { queue: Arc::new(queue), parse: Box::new(wordfreq_aws::parse) })
}

/// The table of results, and the queue if it is set.
///
/// # Errors
/// Wrong configuration, and those of the services.
pub fn results(config: &Config) -> anyhow::Result<OpenResults> {
    let (location, connection) = (location(config)?, connect(config)?);
    let leases = Arc::new(Leases::default());
    let queue = match &config.aws.queue_url.value {
        Some(url) => {
            let queue = SqsQueue::open(connection.clone(), url, leases.clone()).map_err(usage_if_invalid)?;
            Some(Arc::new(queue) as Arc<dyn Queue>)
        }
        None => None,
    };
    let results = Arc::new(DynamoResults::new(connection, location, config.aws_profile(), leases));
    Ok(OpenResults { results, queue })
}

/// Deletes objects by name.
///
/// # Errors
/// Those of the service.
pub fn delete(config: &Config, ids: &[DocumentId]) -> anyhow::Result<Exit> {
    let uploads = Uploads::new(connect(config)?);
    let mut missing = 0;
    for id in ids {
        if uploads.delete(id)? {
            output::remark(format!("deleted {id}"));
        } else {
            output::remark(format!("error: there is no document {id}"));
            missing += 1;
        }
    }
    Ok(exit(ids.len() - missing, missing))
}

/// On AWS there is no bucket to fall back on.
///
/// # Errors
/// Always.
pub fn upload_without_bucket(_config: &Config) -> anyhow::Result<Exit> {
    Err(UsageError("on AWS, say which bucket: --bucket NAME".into()).into())
}

/// Puts files, and with `--wait` tells what became of each document.
///
/// # Errors
/// Wrong configuration, and those of the services.
pub fn upload(
    args: &UploadArgs,
    config: &Config,
    bucket: &str,
    sources: &BTreeMap<DocumentId, PathBuf>,
    mut num_failed: usize,
) -> anyhow::Result<Exit> {
    let result_queue_url = match args.wait {
        true => {
            Some(required(&config.aws.result_queue_url, "aws.result_queue_url", "WORKER_RESULT_QUEUE_URL")?)
        }
        false => None,
    };
    let connection = connect(config)?;
    let drain = Drain::new();
    signals::drain_on_signal(drain.clone(), || {})?;
    let since = SystemTime::now();
    let (asked, bytes) = put_all(&connection, sources, &drain, since)?;
    num_failed += sources.len() - asked.len();
    let plural = if asked.len() == 1 { "" } else { "s" };
    output::remark(format!("uploaded {} document{plural}, {bytes} bytes, to {bucket}", asked.len()));
    let mut num_done = asked.len();
    if let Some(url) = result_queue_url.filter(|_| !asked.is_empty()) {
        let queue = ResultQueue::new(connection.clone(), url);
        let deadline = Instant::now() + args.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let mut results: Vec<Option<JobResult>> = vec![None; asked.len()];
        queue.wait(&asked, deadline, &drain, |index, result| results[index] = Some(result))?;
        let num_lost = print_waited_for(config, &connection, &asked, &results)?;
        num_failed += num_lost;
        num_done -= num_lost;
    }
    Ok(exit(num_done, num_failed))
}

/// Puts every file, several at a time; what was put, in the order of the names, and how many bytes it has.
fn put_all(
    connection: &Arc<Connection>,
    sources: &BTreeMap<DocumentId, PathBuf>,
    drain: &Drain,
    since: SystemTime,
) -> anyhow::Result<(Vec<Asked>, u64)> {
    let uploads = Uploads::new(connection.clone());
    let progress = progress(sources.values())?;
    let sources: Vec<_> = sources.iter().collect();
    let next = AtomicUsize::new(0);
    let put: Mutex<Vec<(usize, Asked, u64)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..PUTS_AT_ONCE.min(sources.len()) {
            scope.spawn(|| {
                while !drain.requested() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((id, path)) = sources.get(number) else { return };
                    match uploads.put(path, id, &|bytes| progress.inc(bytes)) {
                        Ok(object) => {
                            let asked = Asked { id: (*id).clone(), etag: object.etag, since };
                            put.lock().unwrap_or_else(PoisonError::into_inner).push((
                                number,
                                asked,
                                object.bytes,
                            ));
                        }
                        Err(error) => {
                            progress
                                .suspend(|| output::remark(format!("error: {}: {error}", path.display())));
                        }
                    }
                }
            });
        }
    });
    progress.finish_and_clear();
    if drain.requested() {
        output::remark("interrupted: not every document was uploaded");
    }
    let mut put = put.into_inner().unwrap_or_else(PoisonError::into_inner);
    put.sort_by_key(|(number, ..)| *number);
    let bytes = put.iter().map(|(_, _, bytes)| bytes).sum();
    Ok((put.into_iter().map(|(_, asked, _)| asked).collect(), bytes))
}

/// A bar over all bytes, on a terminal only.
fn progress<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    // What cannot be looked at is told of when it is put.
    let bytes = paths.filter_map(|path| Path::metadata(path).ok()).map(|metadata| metadata.len()).sum();
    let style = "uploading {bytes}/{total_bytes} [{wide_bar}] {bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(style).context("the progress bar's template")?;
    Ok(ProgressBar::new(bytes).with_style(style))
}

/// Prints what became of each document; the number of those that were not counted.
fn print_waited_for(
    config: &Config,
    connection: &Arc<Connection>,
    asked: &[Asked],
    results: &[Option<JobResult>],
) -> anyhow::Result<usize> {
    // The table knows more than the message says, where it may be asked.
    let table = match config.aws.result_table.value {
        Some(_) => Some(DynamoResults::new(
            connection.clone(),
            location(config)?,
            config.aws_profile(),
            Arc::new(Leases::default()),
        )),
        None => None,
    };
    let mut listing = waited_for();
    let mut num_failed = 0;
    let mut read_failed = None;
    for (asked, result) in asked.iter().zip(results) {
        let [bucket, key]: [Cell; 2] = [asked.id.bucket().into(), asked.id.key().into()];
        listing.push(match result {
            Some(result) if result.status == JobStatus::Success => {
                // Counted it is, whether or not we may look, or another program's worker wrote it.
                let stored = table.as_ref().map(|table| table.read(&asked.id, Some(0))).transpose();
                let stored = stored.unwrap_or_else(|error| {
                    read_failed = Some(error);
                    None
                });
                let stored = stored.flatten();
                let [words, distinct] = match stored {
                    Some(stored) => [stored.summary.words.into(), stored.summary.distinct.into()],
                    None => [Cell::Missing, Cell::Missing],
                };
                [bucket, key, "counted".into(), words, distinct, Cell::Missing]
            }
            Some(result) => {
                num_failed += 1;
                let reason = result.status_message.as_str().into();
                [bucket, key, "failed".into(), Cell::Missing, Cell::Missing, reason]
            }
            // Not told, or told where others' messages hid it: the table knows.
            None if is_in(table.as_ref(), asked) => {
                [bucket, key, "counted".into(), Cell::Missing, Cell::Missing, Cell::Missing]
            }
            None => {
                num_failed += 1;
                [bucket, key, "waiting".into(), Cell::Missing, Cell::Missing, NOT_YET.into()]
            }
        });
    }
    output::to_stdout(|out| output::write_listing(out, &listing, Style::default()))?;
    if let Some(error) = read_failed {
        output::remark(format!("words and distinct are missing where they cannot be read: {error}"));
    }
    Ok(num_failed)
}

fn is_in(table: Option<&DynamoResults>, asked: &Asked) -> bool {
    match (table, &asked.etag) {
        (Some(table), Some(etag)) => table.has(&asked.id, etag).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot ask the table");
            false
        }),
        _ => false,
    }
}

/// `wordfreq aws`
///
/// # Errors
/// Wrong usage, and those of the services.
pub fn run(args: &AwsArgs, config: &Config) -> anyhow::Result<Exit> {
    match &args.command {
        AwsCommand::Bootstrap { name } => {
            let name = StackName::parse(name).map_err(usage_if_invalid)?;
            let stack = bootstrap(&*connect(config)?, &name, &BootstrapOptions::default())?;
            let documents = ("DOCUMENTS", stack.bucket.clone());
            // Names and URLs of ours hold nothing that a shell, `docker --env-file` or systemd would read differently.
            output::to_stdout(|out| {
                let mut lines = stack.environment().into_iter().chain([documents]);
                lines.try_for_each(|(name, value)| writeln!(out, "{name}={value}"))
            })?;
        }
        AwsCommand::Policy { name, role } => {
            let name = StackName::parse(name).map_err(usage_if_invalid)?;
            let stack = find(&*connect(config)?, &name)?;
            output::to_stdout(|out| writeln!(out, "{}", policy((*role).into(), &stack).trim_end()))?;
        }
        AwsCommand::Destroy { name, delete_documents } => {
            let name = StackName::parse(name).map_err(usage_if_invalid)?;
            let documents = if *delete_documents { Documents::Delete } else { Documents::Keep };
            let Destroyed { deleted, left } = destroy(&*connect(config)?, &name, documents)?;
            deleted.iter().for_each(|resource| output::remark(format!("deleted {resource}")));
            left.iter().for_each(|(resource, why)| output::remark(format!("left {resource}: {why}")));
            if deleted.is_empty() && left.is_empty() {
                output::remark("there was nothing to delete");
            }
        }
    }
    Ok(Exit::Done)
}

impl From<PolicyRole> for Role {
    fn from(role: PolicyRole) -> Self {
        match role {
            PolicyRole::Worker => Self::Worker,
            PolicyRole::Uploader => Self::Uploader,
            PolicyRole::Reader => Self::Reader,
            PolicyRole::Operator => Self::Operator,
        }
    }
}
