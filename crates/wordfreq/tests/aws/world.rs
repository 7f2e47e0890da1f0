//! What a worker needs on AWS, and the program with the environment that says so, which is the Go sample's. Not here:
//! what is done with them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use serde_json::{Value, json};
use tempfile::TempDir;
use wordfreq_core::{Counts, Profile, WordCount, count};

use crate::process::{Ended, GUARD, Running, run};
use crate::support::cloud::{ACCESS_KEY, Cloud, Queues, REGION, SECRET_KEY, unique};
use crate::support::moto::Moto;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// Nothing in a queue: neither visible nor in flight nor delayed.
pub(crate) const EMPTY: [u64; 3] = [0, 0, 0];

/// Buckets, queues and a table, a working directory, and what a process is told of them.
pub(crate) struct Stack {
    /// Straight to the emulator, without the proxy.
    pub(crate) cloud: Cloud,
    pub(crate) bucket: String,
    pub(crate) queues: Queues,
    pub(crate) result_queue: String,
    pub(crate) table: String,
    program: Program,
    /// Gone with this.
    _directory: TempDir,
}

/// The program, and the environment it is started with.
#[derive(Clone)]
pub(crate) struct Program {
    variables: BTreeMap<&'static str, String>,
    home: PathBuf,
    work: PathBuf,
}

impl Program {
    /// Nothing is in its environment but what is known here and what is put over it.
    pub(crate) fn command(&self, args: &[&str], over: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wordfreq"));
        command
            .args(args)
            .current_dir(&self.work)
            .env_clear()
            // Tests run side by side, and there is one default port.
            .env("WORDFREQ_SERVER_LISTEN", "none")
            .env("HOME", &self.home)
            .envs(&self.variables)
            .envs(over.iter().copied())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn worker(&self, over: &[(&str, &str)]) -> Running {
        Running::start(self.command(&["worker"], over))
    }
}

impl Stack {
    /// Whose bucket tells its queue of everything. `endpoint` is where processes find AWS: the emulator, or a proxy
    /// before it.
    pub(crate) fn new(moto: &Moto, endpoint: &str) -> Self {
        // Enough for workers that die many times at one document.
        Self::with_tries(moto, endpoint, 100)
    }

    /// Whose queue gives a message up after so many receives.
    pub(crate) fn with_tries(moto: &Moto, endpoint: &str, tries: u32) -> Self {
        let cloud = Cloud::new(&moto.url);
        let (bucket, result_bucket) = (cloud.bucket(), cloud.bucket());
        let queues = cloud.queues(tries);
        cloud.notify(&bucket, &queues.url);
        let (result_queue, table) = (cloud.queue(&unique("outcomes")), cloud.table());
        let directory = tempfile::tempdir().unwrap();
        let [home, work] = ["home", "work"].map(|name| directory.path().join(name));
        fs::create_dir(&home).unwrap();
        fs::create_dir(&work).unwrap();
        let through = |url: &str| url.replace(&moto.url, endpoint);
        let variables = BTreeMap::from([
            ("WORKER_QUEUE_URL", through(&queues.url)),
            ("WORKER_RESULT_QUEUE_URL", through(&result_queue)),
            ("WORKER_RESULT_TABLENAME", table.clone()),
            ("WORKER_RESULT_BUCKET", result_bucket),
            // The emulator goes on with the poll of a worker that is gone, and hides what comes for so long.
            ("WORKER_MESSAGE_VISIBILITY", "4".into()),
            ("WORKER_COUNT", "1".into()),
            ("AWS_REGION", REGION.into()),
            ("AWS_ENDPOINT_URL", endpoint.into()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]);
        let program = Program { variables, home, work };
        Self { cloud, bucket, queues, result_queue, table, program, _directory: directory }
    }

    /// With this variable in the environment of every process.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.program.variables.insert(name, value.into());
    }

    pub(crate) fn unset(&mut self, name: &'static str) {
        self.program.variables.remove(name).unwrap_or_else(|| panic!("{name} is not set"));
    }

    pub(crate) fn variable(&self, name: &str) -> &str {
        &self.program.variables[name]
    }

    /// A path in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.program.work.join(name)
    }

    /// Writes a file in the working directory.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn command(&self, args: &[&str], over: &[(&str, &str)]) -> Command {
        self.program.command(args, over)
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        run(self.command(args, &[]))
    }

    /// Starts a worker.
    pub(crate) fn worker(&self, over: &[(&str, &str)]) -> Running {
        self.program.worker(over)
    }

    pub(crate) fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        self.cloud.put(&self.bucket, key, bytes);
    }

    pub(crate) fn filename(&self, key: &str) -> String {
        format!("{}/{key}", self.bucket)
    }

    /// The item of a document that is not marked as deleted.
    pub(crate) fn live_item(&self, key: &str) -> Option<Item> {
        self.cloud.item(&self.table, &self.filename(key)).filter(is_live)
    }

    /// Waits until nothing is left to do, which the queue says several times in a row. `meanwhile` takes its time.
    #[track_caller]
    pub(crate) fn wait_until_idle(&self, mut meanwhile: impl FnMut()) {
        let started = Instant::now();
        let mut times_idle = 0;
        while times_idle < 3 {
            let depth = self.cloud.depth(&self.queues.url);
            times_idle = if depth == EMPTY { times_idle + 1 } else { 0 };
            assert!(started.elapsed() < 2 * GUARD, "never idle: {depth:?}");
            meanwhile();
        }
    }

    /// The worker runs until nothing is left to do; its log.
    #[track_caller]
    pub(crate) fn work_until_idle(&self, over: &[(&str, &str)]) -> Vec<String> {
        self.stop_when_idle(self.worker(over))
    }

    /// Lets a worker do what is left to do, and ends it; its log.
    #[track_caller]
    pub(crate) fn stop_when_idle(&self, mut worker: Running) -> Vec<String> {
        self.wait_until_idle(|| {
            worker.read_on(Duration::from_millis(100));
            assert_eq!(worker.ended(), None, "{}", worker.log.join("\n"));
        });
        worker.stop()
    }

    /// Takes the outcomes that were told.
    pub(crate) fn outcomes(&self) -> Vec<Value> {
        let bodies = take_all(&self.cloud, &self.result_queue);
        bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }

    /// `results show`, whole.
    #[track_caller]
    pub(crate) fn show(&self, key: &str) -> Value {
        let name = self.filename(key);
        self.run(&["results", "show", &name, "--all", "--format", "json"]).code(0).json()
    }
}

pub(crate) fn is_live(item: &Item) -> bool {
    item.get("Deleted") != Some(&AttributeValue::Bool(true))
}

/// Takes every message off a queue, ten by ten.
pub(crate) fn take_all(cloud: &Cloud, url: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let receive = cloud.sqs.receive_message().queue_url(url).max_number_of_messages(10);
        let messages = cloud.wait(receive.send()).unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            return bodies;
        }
        let entries = messages.iter().enumerate().map(|(index, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.receipt_handle(message.receipt_handle().unwrap()).build().unwrap()
        });
        let delete = cloud.sqs.delete_message_batch().queue_url(url).set_entries(Some(entries.collect()));
        let deleted = cloud.wait(delete.send()).unwrap();
        assert!(deleted.failed.is_empty(), "{deleted:?}");
        bodies.extend(messages.into_iter().map(|message| message.body.unwrap()));
    }
}

/// The tag of an object, without quotes; `None` if there is none.
pub(crate) fn etag(cloud: &Cloud, bucket: &str, key: &str) -> Option<String> {
    match cloud.wait(cloud.s3.head_object().bucket(bucket).key(key).send()) {
        Ok(head) => Some(head.e_tag.unwrap().trim_matches('"').to_owned()),
        Err(error) => {
            assert!(error.as_service_error().is_some_and(|error| error.is_not_found()), "{error:?}");
            None
        }
    }
}

/// The item's words in their order, from `TopWords`; `Words` must hold the same.
#[track_caller]
pub(crate) fn words(item: &Item) -> Vec<(String, u64)> {
    let number = |value: &AttributeValue| value.as_n().unwrap().parse::<u64>().unwrap();
    let top: Vec<_> = item["TopWords"]
        .as_l()
        .unwrap()
        .iter()
        .map(|entry| {
            let entry = entry.as_m().unwrap();
            (entry["Word"].as_s().unwrap().clone(), number(&entry["Count"]))
        })
        .collect();
    let map = item["Words"].as_m().unwrap();
    let map: BTreeMap<_, _> = map.iter().map(|(word, count)| (word.clone(), number(count))).collect();
    // An empty word cannot name an entry of a map.
    let expected = top.iter().filter(|(word, _)| !word.is_empty()).cloned();
    assert_eq!(map, expected.collect(), "`Words` and `TopWords` of {:?}", item["Filename"]);
    top
}

/// An item says of its document what this report says.
#[track_caller]
pub(crate) fn assert_item(item: &Item, report: &Value, etag: &str) {
    let name = item["Filename"].as_s().unwrap();
    let number = |name: &str| item[name].as_n().unwrap().parse::<u64>().unwrap();
    let said = json!({
        "words": number("TotalWords"), "distinct": number("Distinct"), "over_long": number("OverLong"),
        "bytes": number("Bytes"), "fingerprint": item["Fingerprint"].as_s().unwrap(),
    });
    let expected = json!({
        "words": report["words"], "distinct": report["distinct"], "over_long": report["over_long"],
        "bytes": report["bytes"], "fingerprint": report["fingerprint"],
    });
    assert_eq!(said, expected, "{name}");
    assert_eq!(item["ETag"].as_s().unwrap(), etag, "{name}");
    assert_eq!(words(item), best(report), "{name}");
}

/// The ten best words of a report.
pub(crate) fn best(report: &Value) -> Vec<(String, u64)> {
    let counts = report["counts"].as_array().unwrap();
    let word = |entry: &Value| (entry["word"].as_str().unwrap().to_owned(), entry["count"].as_u64().unwrap());
    counts.iter().take(10).map(word).collect()
}

/// The counts of some bytes under the default profile, which is the tests' unless they say otherwise.
pub(crate) fn counted(bytes: &[u8]) -> Counts {
    count(&Profile::default(), bytes).unwrap()
}

/// What `results show` and `results totals` must print of such counts, with `--all --format json`.
pub(crate) fn report_of(counts: &Counts, documents: usize) -> Value {
    let profile = Profile::default();
    let word = |word: WordCount<'_>| json!({"word": word.word, "count": word.count});
    let ranked: Vec<_> = counts.ranked().into_iter().map(word).collect();
    json!({
        "profile": profile.name.to_string(), "fingerprint": profile.fingerprint(), "documents": documents,
        "bytes": counts.bytes(), "words": counts.words(), "distinct": counts.distinct(),
        "over_long": counts.over_long(), "counts": ranked,
    })
}

/// The same of the bytes of one document.
pub(crate) fn report(bytes: &[u8]) -> Value {
    report_of(&counted(bytes), 1)
}
