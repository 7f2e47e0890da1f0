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
    default: "embedded if --data-dir is given, server if `server.url` is set, aws if a queue or the table of `[aws]` is, else \
              embedded",
    doc: "where buckets, queue and results are: embedded (the data directory), aws, or server (an `up` elsewhere)",
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
pub(super) const MEMORY: Setting = Setting {
    name: "memory",
    environment: "WORDFREQ_MEMORY",
    flag: Some("--memory"),
    default: "a quarter of the machine's",
    doc: "memory that `wordfreq count` may take for words, such as 512MiB or 2GiB, from 64MiB; with more words than that it \
          sorts on disk, in temporary files without names, where TMPDIR says",
};
pub(super) const WATCH: Setting = Setting {
    name: "watch",
    environment: "WORDFREQ_WATCH",
    flag: Some("--watch"),
    default: "none",
    doc: "directories `wordfreq up` takes documents from; a list, in the environment separated as in PATH",
};
pub(super) const BUCKETS_KEEP: Setting = Setting {
    name: "buckets.keep",
    environment: "WORDFREQ_BUCKETS_KEEP",
    flag: None,
    default: "uploading",
    doc: "buckets that keep their documents uncounted, all others trigger; a list, in the environment with commas; \
          a data directory keeps its own unless this is set",
};
pub(super) const FLEET_MIN: Setting = Setting {
    name: "fleet.min",
    environment: "WORDFREQ_FLEET_MIN",
    flag: Some("--min"),
    default: "1",
    doc: "fewest workers, 0 to 1024; of 0, the first document wakes one",
};
pub(super) const FLEET_MAX: Setting = Setting {
    name: "fleet.max",
    environment: "WORDFREQ_FLEET_MAX",
    flag: Some("--max"),
    default: "the cores available, or fleet.min if that is more; 5 with the preset classic",
    doc: "most workers, 1 to 1024; how many with the preset fixed, or fleet.min if only that is set",
};
pub(super) const FLEET_WORKER_MEMORY: Setting = Setting {
    name: "fleet.worker_memory",
    environment: "WORDFREQ_FLEET_WORKER_MEMORY",
    flag: None,
    default: "none",
    doc: "most memory of a worker, such as 512MiB or 2GiB; one that needs more ends and is replaced, and the document that \
          needed it becomes a dead letter in the end",
};
pub(super) const FLEET_WORKER_CPUS: Setting = Setting {
    name: "fleet.worker_cpus",
    environment: "WORDFREQ_FLEET_WORKER_CPUS",
    flag: None,
    default: "none",
    doc: "how many processors a worker is tied to, 1 to 1024; workers are spread over those there are",
};
pub(super) const FLEET_GRACE: Setting = Setting {
    name: "fleet.grace_seconds",
    environment: "WORDFREQ_FLEET_GRACE_SECONDS",
    flag: None,
    default: "30",
    doc: "seconds after which a worker that gives no sign of life is replaced, 3 to 3600",
};
pub(super) const FLEET_PROTECT: Setting = Setting {
    name: "fleet.protect",
    environment: "WORDFREQ_FLEET_PROTECT",
    flag: None,
    default: "true",
    doc: "whether scale-in leaves a worker alone while it holds messages, true or false; if false, it finishes the document in \
          hand and gives back the rest",
};
pub(super) const SCALING_PRESET: Setting = Setting {
    name: "scaling.preset",
    environment: "WORDFREQ_SCALING_PRESET",
    flag: Some("--preset"),
    default: "latency; fixed with --exit-when-idle",
    doc: "how the fleet is sized: latency (as many workers as let a document wait no longer than is acceptable), classic (one \
          more while over 50 messages wait, one less while under 20 do), fixed (always fleet.max)",
};
pub(super) const SCALING_PLAN: Setting = Setting {
    name: "scaling.plan",
    environment: "WORDFREQ_SCALING_PLAN",
    flag: Some("--plan"),
    default: "none",
    doc: "file of a plan of alarms, policies and schedules of your own, in place of a preset; its sizes give way to fleet.min \
          and fleet.max",
};
pub(super) const SCALING_LATENCY: Setting = Setting {
    name: "scaling.acceptable_latency",
    environment: "WORDFREQ_SCALING_ACCEPTABLE_LATENCY",
    flag: Some("--acceptable-latency"),
    default: "60s",
    doc: "with the preset latency, within what time most documents are to be done, such as 60s or 5min",
};
pub(super) const SCALING_SERVICE: Setting = Setting {
    name: "scaling.service_time",
    environment: "WORDFREQ_SCALING_SERVICE_TIME",
    flag: Some("--service-time"),
    default: "as measured",
    doc: "with the preset latency, how long a worker works on a document, such as 20ms or 12s",
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
pub(super) const SERVER_LISTEN: Setting = Setting {
    name: "server.listen",
    environment: "WORDFREQ_SERVER_LISTEN",
    flag: Some("--listen"),
    default: "127.0.0.1:8080; none with --exit-when-idle",
    doc: "address of the S3 endpoint, the API and the page of `up`, or none; one that others can reach needs a token \
          (`wordfreq token create`)",
};
pub(super) const SERVER_CERTIFICATE: Setting = Setting {
    name: "server.tls_certificate",
    environment: "WORDFREQ_SERVER_TLS_CERTIFICATE",
    flag: None,
    default: "none",
    doc: "file of the server's certificate and those that vouch for it, in PEM; with it, the server speaks TLS alone",
};
pub(super) const SERVER_KEY: Setting = Setting {
    name: "server.tls_key",
    environment: "WORDFREQ_SERVER_TLS_KEY",
    flag: None,
    default: "none",
    doc: "file of that certificate's private key, in PEM",
};
pub(super) const SERVER_MAX_CONNECTIONS: Setting = Setting {
    name: "server.max_connections",
    environment: "WORDFREQ_SERVER_MAX_CONNECTIONS",
    flag: None,
    default: "16384",
    doc: "most connections at a time, 1 to 1000000, as far as the limit of open files allows; more are turned away with 503",
};
pub(super) const SERVER_MAX_CONNECTIONS_PER_ADDRESS: Setting = Setting {
    name: "server.max_connections_per_address",
    environment: "WORDFREQ_SERVER_MAX_CONNECTIONS_PER_ADDRESS",
    flag: None,
    default: "8192",
    doc: "most connections at a time of one address (of IPv6, one network), 1 to 1000000; more are turned away with 503. Behind a \
          proxy everyone has one address",
};
pub(super) const SERVER_BODY_TIMEOUT: Setting = Setting {
    name: "server.body_timeout_seconds",
    environment: "WORDFREQ_SERVER_BODY_TIMEOUT_SECONDS",
    flag: None,
    default: "30",
    doc: "seconds, 1 to 3600, that the server waits for the next part of a body, which is as much as server.min_body_rate says; \
          slower ones are answered 408, by S3 400 RequestTimeout",
};
pub(super) const SERVER_MIN_BODY_RATE: Setting = Setting {
    name: "server.min_body_rate",
    environment: "WORDFREQ_SERVER_MIN_BODY_RATE",
    flag: None,
    default: "4096",
    doc: "fewest bytes a second that a body comes with, 1 to 1000000000, on an average over server.body_timeout_seconds; time in \
          which the server itself is busy does not count",
};
pub(super) const SERVER_RATE: Setting = Setting {
    name: "server.rate",
    environment: "WORDFREQ_SERVER_RATE",
    flag: None,
    default: "none",
    doc: "most requests a second of one address (of IPv6, one network), 1 to 1000000; more are answered 429, by S3 503 SlowDown",
};
pub(super) const SERVER_MAX_BACKLOG: Setting = Setting {
    name: "server.max_backlog",
    environment: "WORDFREQ_SERVER_MAX_BACKLOG",
    flag: None,
    default: "1000000",
    doc: "while this many messages wait, 1 to 1000000000, the server takes no documents: 503, by S3 503 SlowDown",
};
pub(super) const SERVER_PUBLIC_URL: Setting = Setting {
    name: "server.public_url",
    environment: "WORDFREQ_SERVER_PUBLIC_URL",
    flag: None,
    default: "from the address it listens on",
    doc: "how others reach the server, such as https://wordfreq.example.org, for the links in notifications",
};
pub(super) const NOTIFY_ALLOW: Setting = Setting {
    name: "notify.allow",
    environment: "WORDFREQ_NOTIFY_ALLOW",
    flag: None,
    default: "none",
    doc: "hosts, each with a port or without, that are notified whatever their address and without TLS too; a list, in the \
          environment with commas; all others must have public addresses and TLS",
};
pub(super) const NOTIFY_CA_FILE: Setting = Setting {
    name: "notify.ca_file",
    environment: "WORDFREQ_NOTIFY_CA_FILE",
    flag: None,
    default: "the authorities that browsers know",
    doc: "file of the certificates that vouch for those who are notified and for the mail server, in PEM",
};
pub(super) const SMTP_HOST: Setting = Setting {
    name: "smtp.host",
    environment: "WORDFREQ_SMTP_HOST",
    flag: None,
    default: "none",
    doc: "mail server that notifications go out by; needs smtp.from",
};
pub(super) const SMTP_PORT: Setting = Setting {
    name: "smtp.port",
    environment: "WORDFREQ_SMTP_PORT",
    flag: None,
    default: "587 with starttls, 465 with tls, 25 with none",
    doc: "its port, 1 to 65535",
};
pub(super) const SMTP_TLS: Setting = Setting {
    name: "smtp.tls",
    environment: "WORDFREQ_SMTP_TLS",
    flag: None,
    default: "starttls",
    doc: "how the way to it is encrypted: starttls, tls, or none, which is for this machine and hosts in notify.allow",
};
pub(super) const SMTP_FROM: Setting = Setting {
    name: "smtp.from",
    environment: "WORDFREQ_SMTP_FROM",
    flag: None,
    default: "none",
    doc: "whom mail comes from, such as Wordfreq <wordfreq@example.org>",
};
pub(super) const SMTP_USER: Setting = Setting {
    name: "smtp.user",
    environment: "WORDFREQ_SMTP_USER",
    flag: None,
    default: "none",
    doc: "whom to sign in as there; needs a password",
};
pub(super) const SMTP_PASSWORD_FILE: Setting = Setting {
    name: "smtp.password_file",
    environment: "WORDFREQ_SMTP_PASSWORD_FILE",
    flag: None,
    default: "none",
    doc: "file that holds the password, in one line",
};
pub(super) const SMTP_PASSWORD: Setting = Setting {
    name: "smtp.password",
    environment: "WORDFREQ_SMTP_PASSWORD",
    flag: None,
    default: "none",
    doc: "the password itself; in the environment only",
};
pub(super) const REMOTE_URL: Setting = Setting {
    name: "server.url",
    environment: "WORDFREQ_SERVER",
    flag: Some("--server"),
    default: "none",
    doc: "an `up` elsewhere that `upload`, `delete`, `results`, `queue` and `fleet` ask in place of a data directory, such as \
          https://wordfreq.example.org",
};
pub(super) const REMOTE_CA_FILE: Setting = Setting {
    name: "server.ca_file",
    environment: "WORDFREQ_SERVER_CA_FILE",
    flag: None,
    default: "those that browsers know",
    doc: "file of the certificates, in PEM, of the authorities that vouch for it; its own, where it vouches for itself",
};
pub(super) const REMOTE_TOKEN_FILE: Setting = Setting {
    name: "server.token_file",
    environment: "WORDFREQ_TOKEN_FILE",
    flag: None,
    default: "none",
    doc: "file with the token to show it (`wordfreq token create`), its only line",
};
pub(super) const REMOTE_TOKEN: Setting = Setting {
    name: "server.token",
    environment: "WORDFREQ_TOKEN",
    flag: None,
    default: "none",
    doc: "the token itself; in the environment only",
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
pub const SETTINGS: [&Setting; 53] = [
    &BACKEND,
    &DATA_DIR,
    &PROFILE,
    &MIN_LENGTH,
    &THREADS,
    &MEMORY,
    &WATCH,
    &BUCKETS_KEEP,
    &FLEET_MIN,
    &FLEET_MAX,
    &FLEET_WORKER_MEMORY,
    &FLEET_WORKER_CPUS,
    &FLEET_GRACE,
    &FLEET_PROTECT,
    &SCALING_PRESET,
    &SCALING_PLAN,
    &SCALING_LATENCY,
    &SCALING_SERVICE,
    &QUEUE_VISIBILITY,
    &QUEUE_MAX_RECEIVES,
    &QUEUE_BATCH,
    &SERVER_LISTEN,
    &SERVER_CERTIFICATE,
    &SERVER_KEY,
    &SERVER_MAX_CONNECTIONS,
    &SERVER_MAX_CONNECTIONS_PER_ADDRESS,
    &SERVER_BODY_TIMEOUT,
    &SERVER_MIN_BODY_RATE,
    &SERVER_RATE,
    &SERVER_MAX_BACKLOG,
    &SERVER_PUBLIC_URL,
    &NOTIFY_ALLOW,
    &NOTIFY_CA_FILE,
    &SMTP_HOST,
    &SMTP_PORT,
    &SMTP_TLS,
    &SMTP_FROM,
    &SMTP_USER,
    &SMTP_PASSWORD_FILE,
    &SMTP_PASSWORD,
    &REMOTE_URL,
    &REMOTE_CA_FILE,
    &REMOTE_TOKEN_FILE,
    &REMOTE_TOKEN,
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
