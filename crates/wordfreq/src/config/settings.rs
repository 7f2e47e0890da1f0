//! Every setting there is: its names, its default, and what it means. Not here: where values come from, and what makes
//! one acceptable (`config`).

/// One setting as the program knows it. [`SETTINGS`] lists all of them.
#[derive(Debug)]
pub struct Setting {
    /// Dotted path in a configuration file: `queue.batch` is the key `batch` of the table `[queue]`.
    pub name: &'static str,
    /// Environment variable.
    pub environment: &'static str,
    /// Flag, of the commands that have one.
    pub flag: Option<&'static str>,
    /// The default, in words where it depends on the machine.
    pub default: &'static str,
    /// What it does, with unit and bounds.
    pub doc: &'static str,
}

pub(super) const BACKEND: Setting = Setting {
    name: "backend",
    environment: "WORDFREQ_BACKEND",
    flag: Some("--backend"),
    default: "aws if a queue or the table of `[aws]` is set and --data-dir is not given, else embedded",
    doc: "where buckets, queue and results are: embedded (the data directory) or aws",
};
pub(super) const DATA_DIR: Setting = Setting {
    name: "data_dir",
    environment: "WORDFREQ_DATA_DIR",
    flag: Some("--data-dir"),
    default: "./wordfreq-data",
    doc: "directory that holds the buckets, the queue and the results",
};
pub(super) const PROFILE: Setting = Setting {
    name: "profile",
    environment: "WORDFREQ_PROFILE",
    flag: Some("--profile"),
    default: "unicode",
    doc: "what a word is: unicode, whitespace or go-sample; \
          a data directory that was counted before keeps its own unless this is set",
};
pub(super) const MIN_LENGTH: Setting = Setting {
    name: "min_length",
    environment: "WORDFREQ_MIN_LENGTH",
    flag: Some("--min-length"),
    default: "0",
    doc: "leave out words of fewer characters, 0 to 1024; 0 and 1 leave out none; kept by a data directory as the profile is",
};
pub(super) const THREADS: Setting = Setting {
    name: "threads",
    environment: "WORDFREQ_THREADS",
    flag: Some("--threads"),
    default: "the cores available",
    doc: "threads of `wordfreq count`, and of a worker for a large document, 1 to 1024",
};
pub(super) const WATCH: Setting = Setting {
    name: "watch",
    environment: "WORDFREQ_WATCH",
    flag: Some("--watch"),
    default: "none",
    doc: "directories `wordfreq up` takes documents from; a list, in the environment separated as in PATH",
};
pub(super) const FLEET_MIN: Setting = Setting {
    name: "fleet.min",
    environment: "WORDFREQ_FLEET_MIN",
    flag: Some("--min"),
    default: "as fleet.max, or the cores available",
    doc: "fewest workers, 1 to 1024",
};
pub(super) const FLEET_MAX: Setting = Setting {
    name: "fleet.max",
    environment: "WORDFREQ_FLEET_MAX",
    flag: Some("--max"),
    default: "as fleet.min, or the cores available",
    doc: "most workers; the fleet is of fixed size in this release, so it must equal fleet.min",
};
pub(super) const QUEUE_VISIBILITY: Setting = Setting {
    name: "queue.visibility_timeout_seconds",
    environment: "WORDFREQ_QUEUE_VISIBILITY_TIMEOUT_SECONDS",
    flag: None,
    default: "30",
    doc: "seconds after which a message whose worker fell silent is given to another, 1 to 43200",
};
pub(super) const QUEUE_MAX_RECEIVES: Setting = Setting {
    name: "queue.max_receive_count",
    environment: "WORDFREQ_QUEUE_MAX_RECEIVE_COUNT",
    flag: None,
    default: "5",
    doc: "deliveries of a message before it becomes a dead letter, 1 to 1000",
};
pub(super) const QUEUE_BATCH: Setting = Setting {
    name: "queue.batch",
    environment: "WORDFREQ_QUEUE_BATCH",
    flag: None,
    default: "64",
    doc: "messages a worker takes at a time, 1 to 1000",
};
pub(super) const AWS_QUEUE_URL: Setting = Setting {
    name: "aws.queue_url",
    environment: "WORKER_QUEUE_URL",
    flag: None,
    default: "none",
    doc: "URL of the SQS queue that S3's events arrive on",
};
pub(super) const AWS_RESULT_QUEUE_URL: Setting = Setting {
    name: "aws.result_queue_url",
    environment: "WORKER_RESULT_QUEUE_URL",
    flag: None,
    default: "none",
    doc: "URL of the SQS queue that results are told on",
};
pub(super) const AWS_RESULT_TABLE: Setting = Setting {
    name: "aws.result_table",
    environment: "WORKER_RESULT_TABLENAME",
    flag: None,
    default: "none",
    doc: "name of the DynamoDB table of results",
};
pub(super) const AWS_RESULT_BUCKET: Setting = Setting {
    name: "aws.result_bucket",
    environment: "WORKER_RESULT_BUCKET",
    flag: None,
    default: "none",
    doc: "S3 bucket for count tables that do not fit their item in the table; without it they are not kept",
};
pub(super) const AWS_RESULT_PREFIX: Setting = Setting {
    name: "aws.result_prefix",
    environment: "WORKER_RESULT_PREFIX",
    flag: None,
    default: "counts/",
    doc: "what the keys of those tables begin with",
};
pub(super) const AWS_PROFILE: Setting = Setting {
    name: "aws.word_profile",
    environment: "WORKER_PROFILE",
    flag: None,
    default: "as profile",
    doc: "what a word is on AWS: unicode, whitespace or go-sample",
};
pub(super) const AWS_VISIBILITY: Setting = Setting {
    name: "aws.message_visibility_seconds",
    environment: "WORKER_MESSAGE_VISIBILITY",
    flag: None,
    default: "60",
    doc: "seconds after which a message whose worker fell silent is given to another on AWS, 1 to 43200",
};
pub(super) const AWS_WORKER_COUNT: Setting = Setting {
    name: "aws.worker_count",
    environment: "WORKER_COUNT",
    flag: None,
    default: "the cores available",
    doc: "workers of one `wordfreq worker` process on AWS, 1 to 1024",
};
pub(super) const LOG_FORMAT: Setting = Setting {
    name: "log.format",
    environment: "WORDFREQ_LOG_FORMAT",
    flag: None,
    default: "auto",
    doc: "form of the log on standard error: text, json, or auto, which is text on a terminal and json elsewhere",
};

/// Every setting of this release, in the order they are listed.
pub const SETTINGS: [&Setting; 20] = [
    &BACKEND,
    &DATA_DIR,
    &PROFILE,
    &MIN_LENGTH,
    &THREADS,
    &WATCH,
    &FLEET_MIN,
    &FLEET_MAX,
    &QUEUE_VISIBILITY,
    &QUEUE_MAX_RECEIVES,
    &QUEUE_BATCH,
    &AWS_QUEUE_URL,
    &AWS_RESULT_QUEUE_URL,
    &AWS_RESULT_TABLE,
    &AWS_RESULT_BUCKET,
    &AWS_RESULT_PREFIX,
    &AWS_PROFILE,
    &AWS_VISIBILITY,
    &AWS_WORKER_COUNT,
    &LOG_FORMAT,
];

/// All settings as a Markdown table, for the manual.
pub fn reference_table() -> String {
    let mut table = String::from(
        "| setting | environment | flag | default | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for Setting { name, environment, flag, default, doc } in SETTINGS {
        let flag = flag.map_or_else(|| "-".to_owned(), |flag| format!("`{flag}`"));
        table.push_str(&format!("| `{name}` | `{environment}` | {flag} | {default} | {doc} |\n"));
    }
    table
}
