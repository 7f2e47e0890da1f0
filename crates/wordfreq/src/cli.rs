//! The command line, as clap derives it. Types and help only: what a flag means together with the environment and
//! the configuration files is decided in `config`, and what a command does is in `commands`.
//!
//! clap ends wrong usage with exit code 2 by itself.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use wordfreq_core::ProfileName;
use wordfreq_core::scaling::Metric;
use wordfreq_pipeline::embedded::Scope;

use crate::config::{BackendName, Flags, Preset};
use crate::corpus::{MAX_VOCABULARY, Size};
use crate::load::{self, Arrivals, Service};
use crate::output::{Format, Style};
use crate::plan_file::MAX_INSTANCES;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 partly done (some documents failed).

Settings: a flag wins over an environment variable, that over wordfreq.toml in the working directory, that over the \
user's own wordfreq.toml, that over the default. `wordfreq config` prints each value and its origin.";

/// Word frequencies of documents, from one file to a fleet of workers.
#[derive(Debug, Parser)]
#[command(name = "wordfreq", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of this release.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Count files, directories (recursively) or standard input, here and now.
    Count(CountArgs),
    /// Run the whole system on this machine: watch directories, and a fleet of workers that counts what arrives.
    Up(UpArgs),
    /// Put documents into a bucket.
    Upload(UploadArgs),
    /// Delete documents from a bucket; their counts leave the totals.
    Delete(DeleteArgs),
    /// Look at results: of every document, of one, or of the whole corpus.
    Results(ResultsArgs),
    /// Look at the queue, and at the documents that could not be counted.
    Queue(QueueArgs),
    /// Look at the fleet of `up`: its instances, what was done to them and why, its alarms.
    Fleet(FleetArgs),
    /// Watch queue and fleet live on a terminal: charts, alarms, instances, activities.
    Top(TopArgs),
    /// Run one worker on the data directory, or WORKER_COUNT of them on AWS.
    Worker(WorkerArgs),
    /// Make what a fleet of workers needs on AWS, or delete it.
    Aws(AwsArgs),
    /// Simulate fleets that grow and shrink with a load: how long documents wait, and what it costs.
    Simulate(Box<SimulateArgs>),
    /// Put a load on the real thing and account for every document, beside what the fleet did and would cost.
    Loadtest(Box<LoadtestArgs>),
    /// Tokens, by which clients may use the API of `up`.
    Token(CredentialArgs),
    /// Keys, by which clients may use the S3 endpoint of `up`.
    Key(CredentialArgs),
    /// Who is told of results, failures and alarms, by HTTP or mail, and what became of telling them.
    Subscriptions(SubscriptionsArgs),
    /// Print every setting, its effective value and where it comes from.
    Config(ConfigArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
}

/// Flags that choose what a word is.
#[derive(Debug, Default, Args)]
pub struct ProfileFlag {
    /// What a word is [default: unicode; `up`: what the data directory was counted with]
    #[arg(long, value_name = "NAME", value_parser = profile_parser())]
    pub profile: Option<ProfileName>,
}

/// The flag of the data directory.
#[derive(Debug, Default, Args)]
pub struct DataDirFlag {
    /// Directory that holds the buckets, the queue and the results [default: ./wordfreq-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Flags that choose where buckets, queue and results are.
#[derive(Debug, Default, Args)]
pub struct BackendFlags {
    /// Where the data is.
    #[command(flatten)]
    pub data_dir: DataDirFlag,
    /// Where buckets, queue and results are: embedded (the data directory), aws, or server (the `up` of the setting
    /// server.url) [default: embedded if --data-dir is given, server if server.url is set, aws if an aws setting such as
    /// WORKER_QUEUE_URL is, else embedded]
    #[arg(long, value_name = "NAME", value_parser = backend_parser())]
    pub backend: Option<BackendName>,
}

/// Flags that choose where buckets, queue and results are, of commands that can also ask an `up` elsewhere.
#[derive(Debug, Default, Args)]
pub struct AnywhereFlags {
    /// Where the data is.
    #[command(flatten)]
    pub backend: BackendFlags,
    /// Ask the `up` that is there, such as <https://wordfreq.example.org>; its token comes from WORDFREQ_TOKEN or from the
    /// file of the setting server.token_file
    #[arg(long, value_name = "URL", conflicts_with_all = ["data_dir", "backend"])]
    pub server: Option<String>,
}

/// Flags that only `count` and `config` take.
#[derive(Debug, Default, Args)]
pub struct CountSettings {
    /// Leave out words of fewer characters than this [default: 0, which leaves out none]
    #[arg(long, value_name = "CHARS")]
    pub min_length: Option<u32>,
    /// Threads that count [default: the cores available]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory that `count` may take for words, such as 512MiB or 2GiB; with more of them it sorts on disk, where TMPDIR
    /// says [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
}

/// Flags that only `up` and `config` take.
#[derive(Debug, Default, Args)]
pub struct UpSettings {
    /// Directory to take documents from, now and whenever one appears; repeatable
    #[arg(long, value_name = "DIR")]
    pub watch: Vec<PathBuf>,
    /// Fewest workers; 0 is allowed [default: 1]
    #[arg(long, value_name = "N")]
    pub min: Option<u32>,
    /// Most workers [default: the cores available, or --min if that is more; 5 with --preset classic]
    #[arg(long, value_name = "N")]
    pub max: Option<u32>,
    /// How the fleet is sized between the two [default: latency; fixed with --exit-when-idle]
    #[arg(long, value_name = "NAME", value_enum, conflicts_with = "plan")]
    pub preset: Option<Preset>,
    /// File of a plan of your own, with its alarms, policies and schedules
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// With --preset latency, within what time most documents are to be done [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub acceptable_latency: Option<String>,
    /// With --preset latency, how long a worker works on a document [default: as measured]
    #[arg(long, value_name = "TIME")]
    pub service_time: Option<String>,
    /// Where the S3 endpoint, the API and the page listen, or none [default: 127.0.0.1:8080; none with --exit-when-idle]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
}

/// How a result is printed.
#[derive(Debug, Default, Args)]
pub struct FormatFlags {
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// In CSV, write cells that begin with = + - @ as they are; by default they get a leading ' so that a
    /// spreadsheet does not run them as a formula
    #[arg(long)]
    pub raw_csv: bool,
}

impl FormatFlags {
    /// The same as the printing functions want it.
    pub fn style(&self) -> Style {
        Style { format: self.format, raw_csv: self.raw_csv }
    }
}

/// How much of a ranking is printed.
#[derive(Debug, Default, Args)]
pub struct LimitFlags {
    /// Print the N first entries
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "all")]
    pub top: usize,
    /// Print every entry
    #[arg(long)]
    pub all: bool,
}

impl LimitFlags {
    /// The most entries to print, `None` for all of them.
    pub fn limit(&self) -> Option<usize> {
        (!self.all).then_some(self.top)
    }
}

/// `wordfreq count`
#[derive(Debug, Args)]
#[command(after_help = "\
A document that cannot be read or counted is named on standard error and left out as a whole; the rest is counted and \
the exit code is 3. If nothing could be counted it is 1. Directories are read recursively, hidden files included. A \
symbolic link given as PATH is followed; one found inside a directory is named on standard error and not followed.

With --per-file, a table is printed for each file; tsv and csv have a first column `path` (header path, word, count; \
in tsv, a tab, line end or backslash in a path is written \\t, \\n, \\r or \\\\); json is \
{\"files\":[{\"path\":...,\"profile\":...,...}]} with the fields of an ordinary count after the path. A path that is not \
UTF-8 is printed with U+FFFD in place of what cannot be shown.")]
pub struct CountArgs {
    /// Files or directories; `-` is standard input, and so is none at all
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// What a word is.
    #[command(flatten)]
    pub profile: ProfileFlag,
    /// How to count.
    #[command(flatten)]
    pub counting: CountSettings,
    /// How much is printed.
    #[command(flatten)]
    pub limit: LimitFlags,
    /// In which form.
    #[command(flatten)]
    pub format: FormatFlags,
    /// Print the counts of each file by itself, in the order of the paths
    #[arg(long)]
    pub per_file: bool,
}

/// `wordfreq up`
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where the data is.
    #[command(flatten)]
    pub data_dir: DataDirFlag,
    /// What to watch, and the size of the fleet.
    #[command(flatten)]
    pub settings: UpSettings,
    /// What a word is.
    #[command(flatten)]
    pub profile: ProfileFlag,
    /// Process what is there, print the totals, stop
    #[arg(long)]
    pub exit_when_idle: bool,
    /// Drain and stop when standard input closes, which is how it learns that whoever started it is gone
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// Watch nothing, whatever the environment and the files say
    #[arg(long, conflicts_with = "watch", hide = true)]
    pub no_watch: bool,
    /// How many times as fast as time the scaler's clock goes, for a load test
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = time_scale, hide = true)]
    pub time_scale: f64,
    /// How many times as fast as they should notifications wait, for a test of them
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = notify_pace, hide = true)]
    pub notify_pace: f64,
    /// How much longer each document takes, for a load test
    #[arg(long, value_name = "TIME", hide = true)]
    pub work: Option<String>,
    /// What those times are drawn from
    #[arg(long, value_name = "N", default_value_t = 0, requires = "work", hide = true)]
    pub work_seed: u64,
}

/// `wordfreq upload`
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// Files or directories; `-` is not taken, as a document needs a name
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Bucket to put them into; on AWS, where names are everybody's, it must be said [default: processing]
    #[arg(long, value_name = "NAME")]
    pub bucket: Option<String>,
    /// Put this before every key
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub prefix: String,
    /// Wait until each document is counted, or has failed for good
    #[arg(long)]
    pub wait: bool,
    /// With --wait, the most to wait for all of them, such as 90s, 10min or 2h [default on AWS: 15min; else for ever]
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Where the data is.
    #[command(flatten)]
    pub backend: AnywhereFlags,
}

/// `wordfreq delete`
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The documents, as `results list` names them
    #[arg(value_name = "BUCKET/KEY", required = true)]
    pub documents: Vec<String>,
    /// Where the data is.
    #[command(flatten)]
    pub backend: AnywhereFlags,
}

/// `wordfreq results`
#[derive(Debug, Args)]
pub struct ResultsArgs {
    /// Which results.
    #[command(subcommand)]
    pub command: ResultsCommand,
}

/// Which results to print.
#[derive(Debug, Subcommand)]
pub enum ResultsCommand {
    /// List the documents that have a result.
    List(ResultsOutput),
    /// Print the counts of one document.
    Show {
        /// The document, as `results list` names it
        #[arg(value_name = "BUCKET/KEY")]
        document: String,
        /// Where the results are and how to print them.
        #[command(flatten)]
        output: ResultsOutput,
    },
    /// Print the counts of all documents together.
    Totals(ResultsOutput),
}

impl ResultsCommand {
    /// The flags that every kind of result takes.
    pub fn output(&self) -> &ResultsOutput {
        match self {
            Self::List(output) | Self::Show { output, .. } | Self::Totals(output) => output,
        }
    }
}

/// The flags that every kind of result takes.
#[derive(Debug, Default, Args)]
pub struct ResultsOutput {
    /// Where the data is.
    #[command(flatten)]
    pub backend: AnywhereFlags,
    /// How much is printed.
    #[command(flatten)]
    pub limit: LimitFlags,
    /// In which form.
    #[command(flatten)]
    pub format: FormatFlags,
}

/// `wordfreq token` and `wordfreq key`
#[derive(Debug, Args)]
pub struct CredentialArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CredentialCommand,
}

/// What to do with credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Make one and print it, this once, as lines to be sourced by a shell.
    Create {
        /// What to call it, to know it again in the list
        #[arg(long, value_name = "NAME", value_parser = credential_name)]
        name: String,
        /// What its holder may do: read; write, which is put and delete too; admin, which is everything
        #[arg(long, value_name = "SCOPE", value_parser = scope_parser(), default_value = "read")]
        scope: Scope,
        /// Where the data is.
        #[command(flatten)]
        data_dir: DataDirFlag,
    },
    /// List those there are, without their secrets.
    List {
        /// Where the data is.
        #[command(flatten)]
        data_dir: DataDirFlag,
        /// How to print it.
        #[command(flatten)]
        format: FormatFlags,
    },
    /// Revoke some; `up` turns them away within a second.
    Revoke {
        /// Which, as `list` names them
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Where the data is.
        #[command(flatten)]
        data_dir: DataDirFlag,
    },
}

impl CredentialCommand {
    fn data_dir(&self) -> &DataDirFlag {
        match self {
            Self::Create { data_dir, .. } | Self::List { data_dir, .. } | Self::Revoke { data_dir, .. } => {
                data_dir
            }
        }
    }
}

fn scope_parser() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(Scope::ALL.map(Scope::as_str)).try_map(|name| name.parse::<Scope>())
}

fn credential_name(name: &str) -> Result<String, String> {
    let is_sensible = (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    is_sensible
        .then(|| name.to_owned())
        .ok_or_else(|| "a name has 1 to 64 characters, none of them a control character".to_owned())
}

/// `wordfreq subscriptions`
#[derive(Debug, Args)]
pub struct SubscriptionsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SubscriptionsCommand,
}

/// What to do with subscriptions.
#[derive(Debug, Subcommand)]
pub enum SubscriptionsCommand {
    /// List them.
    List {
        /// Where the data is.
        #[command(flatten)]
        data_dir: DataDirFlag,
        /// How to print it.
        #[command(flatten)]
        format: FormatFlags,
    },
    /// Make one. Its target must confirm it before it is told anything else.
    Add {
        /// Where to tell it: https://HOST/PATH or mailto:NAME@DOMAIN
        #[arg(value_name = "TARGET")]
        target: String,
        /// What to tell: document.counted, document.failed, batch.idle or alarm.changed; repeatable
        #[arg(long = "event", value_name = "NAME", required = true)]
        events: Vec<String>,
        /// Of which bucket's documents [default: of all]
        #[arg(long, value_name = "NAME")]
        bucket: Option<String>,
        /// Where the data is.
        #[command(flatten)]
        data_dir: DataDirFlag,
        /// How to print its id, and this once the secret that signs what is sent.
        #[command(flatten)]
        format: FormatFlags,
    },
    /// Remove some, with all that waits for them.
    Remove {
        /// Which, as `list` names them
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Where the data is.
        #[command(flatten)]
        data_dir: DataDirFlag,
    },
    /// List what one was told and is to be told, newest first.
    Deliveries {
        /// Which, as `list` names it
        #[arg(value_name = "ID")]
        id: String,
        /// How much is printed.
        #[command(flatten)]
        limit: LimitFlags,
        /// Where the data is.
        #[command(flatten)]
        data_dir: DataDirFlag,
        /// How to print it.
        #[command(flatten)]
        format: FormatFlags,
    },
}

impl SubscriptionsCommand {
    fn data_dir(&self) -> &DataDirFlag {
        match self {
            Self::List { data_dir, .. }
            | Self::Add { data_dir, .. }
            | Self::Remove { data_dir, .. }
            | Self::Deliveries { data_dir, .. } => data_dir,
        }
    }
}

/// `wordfreq queue`
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// What to do with the queue.
    #[command(subcommand)]
    pub command: QueueCommand,
}

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Print how many messages wait, are being worked on, and have failed.
    Status(QueueOutput),
    /// List the messages that failed for good, each with its reason.
    DeadLetters(QueueOutput),
    /// Put messages that failed for good back on the queue.
    Redrive {
        /// Which, as `queue dead-letters` names them; all of them if none is named
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Where the queue is and how to print it.
        #[command(flatten)]
        output: QueueOutput,
    },
}

impl QueueCommand {
    /// The flags that every one of them takes.
    pub fn output(&self) -> &QueueOutput {
        match self {
            Self::Status(output) | Self::DeadLetters(output) | Self::Redrive { output, .. } => output,
        }
    }
}

/// The flags that every queue command takes.
#[derive(Debug, Default, Args)]
pub struct QueueOutput {
    /// Where the data is.
    #[command(flatten)]
    pub backend: AnywhereFlags,
    /// In which form.
    #[command(flatten)]
    pub format: FormatFlags,
}

/// `wordfreq fleet`
#[derive(Debug, Args)]
pub struct FleetArgs {
    /// What to look at.
    #[command(subcommand)]
    pub command: FleetCommand,
}

/// What of a fleet to look at.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Times are those of the fleet's own clock, which is the wall clock unless `up` was told to let it go faster.")]
pub enum FleetCommand {
    /// Print how many instances there are and should be, and each of them.
    #[command(after_help = "\
--format json is one object: {\"plan\",\"min\",\"max\",\"desired\",\"in_service\",\"pending\",\"terminating\",\"running\",\"at\",\
\"time_scale\",\"instances\":[{\"id\",...}]}; `running` is whether an `up` runs, `at` when all this was so. tsv and csv hold \
the instances alone.")]
    Status(FleetOutput),
    /// List launches and terminations with their causes, the newest first.
    Activity {
        /// How much is printed.
        #[command(flatten)]
        newest: NewestFlags,
        /// Where the fleet is and how to print it.
        #[command(flatten)]
        output: FleetOutput,
    },
    /// List the alarms and how they stand.
    Alarms {
        /// List the changes of their states instead, the newest first
        #[arg(long)]
        history: bool,
        /// How much of the history is printed.
        #[command(flatten)]
        newest: NewestFlags,
        /// Where the fleet is and how to print it.
        #[command(flatten)]
        output: FleetOutput,
    },
}

impl FleetCommand {
    /// The flags that every one of them takes.
    pub fn output(&self) -> &FleetOutput {
        match self {
            Self::Status(output) | Self::Activity { output, .. } | Self::Alarms { output, .. } => output,
        }
    }
}

/// The flags that every fleet command takes.
#[derive(Debug, Default, Args)]
pub struct FleetOutput {
    /// Where the data is.
    #[command(flatten)]
    pub backend: AnywhereFlags,
    /// In which form.
    #[command(flatten)]
    pub format: FormatFlags,
}

/// How much of what happened is printed.
#[derive(Debug, Default, Args)]
pub struct NewestFlags {
    /// Print the N newest entries [default: 20]
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub top: Option<usize>,
    /// Print every entry that is kept
    #[arg(long)]
    pub all: bool,
}

impl NewestFlags {
    /// The most entries to print.
    pub fn limit(&self) -> usize {
        if self.all { usize::MAX } else { self.top.unwrap_or(20) }
    }

    /// Whether anything was said.
    pub fn is_given(&self) -> bool {
        self.all || self.top.is_some()
    }
}

/// `wordfreq top`
#[derive(Debug, Args)]
#[command(after_help = "\
Keys: q, Esc and control-C end it, the arrows or + and - change the time that the charts show. It needs a terminal of 80x24 \
or more. NO_COLOR is honoured.")]
pub struct TopArgs {
    /// Where the data is.
    #[command(flatten)]
    pub backend: BackendFlags,
    /// How often to look, from 100ms to 1min
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
}

/// `wordfreq worker`
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Where the data is.
    #[command(flatten)]
    pub backend: BackendFlags,
    /// Drain and stop when standard input closes, which is how a worker learns that whoever started it is gone
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// Most memory, in bytes
    #[arg(long, value_name = "BYTES", hide = true)]
    pub memory: Option<u64>,
    /// Most processors
    #[arg(long, value_name = "N", hide = true)]
    pub cpus: Option<usize>,
    /// The first of them, counted round
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    pub first_cpu: usize,
    /// How much longer each document takes, for a load test
    #[arg(long, value_name = "TIME", hide = true)]
    pub work: Option<Service>,
    /// What those times are drawn from
    #[arg(long, value_name = "N", default_value_t = 0, requires = "work", hide = true)]
    pub work_seed: u64,
    /// How many times as fast as time that work is done
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = time_scale, requires = "work", hide = true)]
    pub time_scale: f64,
}

/// `wordfreq aws`
#[derive(Debug, Args)]
pub struct AwsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AwsCommand,
}

/// What to do on AWS.
#[derive(Debug, Subcommand)]
pub enum AwsCommand {
    /// Make the buckets, queues and the table of a stack, or bring them into order, and print a worker's environment.
    Bootstrap {
        /// The stack's name, which its resources' names begin with
        #[arg(long, value_name = "NAME")]
        name: String,
    },
    /// Print the IAM policy of whoever works with a stack.
    Policy {
        /// The stack's name
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Who
        #[arg(long, value_enum, default_value_t = PolicyRole::Worker)]
        role: PolicyRole,
    },
    /// Delete what `bootstrap` made, and nothing else.
    Destroy {
        /// The stack's name
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Delete the documents and count tables in its buckets too; else a bucket that is not empty stops everything
        #[arg(long)]
        delete_documents: bool,
    },
}

/// Whose IAM policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyRole {
    /// A worker.
    Worker,
    /// Who uploads documents and waits for their results.
    Uploader,
    /// Who reads results.
    Reader,
    /// Who looks after the queue and its dead letters.
    Operator,
}

/// `wordfreq simulate`
#[derive(Debug, Args)]
#[command(after_help = "\
Loads are made up from --seed, so the same command always says the same. A recorded load is a CSV file whose first column \
holds seconds. --format json is {\"policies\":[{\"name\",\"documents\",\"unfinished\",\"rested\",\"max_in_service\",\"launches\",\"terminations\",\
\"backlog_peak\",\"instance_hours\",\"cost_usd\",\"latency_seconds\":{\"p50\",\"p95\",\"p99\",\"max\"},...}],\
\"clairvoyant\":{\"instance_hours\",...}}; with --activities, each policy has \"activities\":[{\"at_seconds\",\"kind\"}] too. \
If a fleet gets stuck, its unfinished documents are counted and the exit code is 3; one that has done all and does not come \
back to its least within a day is warned of, and not `rested`.")]
pub struct SimulateArgs {
    /// When documents arrive: burst:COUNT, poisson:RATE:DURATION, wave:RATE:PERIOD:DURATION (rates in documents a
    /// second), or a CSV file: one arrival a line, in seconds; or under the header `seconds,documents` how many
    /// arrive, evenly spread from that second until the next line's (in the last line: all at once)
    #[arg(long, value_name = "LOAD")]
    pub arrivals: Arrivals,
    /// How long each takes: a time, uniform:10s..20s or only 10s..20s, exp:12s, or a CSV file
    #[arg(long, value_name = "TIME")]
    pub service: Service,
    /// Plan to simulate; repeatable, side by side [default: latency and classic, unless there is a --plan]
    #[arg(long, value_enum)]
    pub preset: Vec<Preset>,
    /// Plan to simulate from a TOML file, shown by the file's name; repeatable, side by side
    #[arg(long, value_name = "FILE")]
    pub plan: Vec<PathBuf>,
    /// Metric for the plans' alarms instead of their own, by its name in CloudWatch; repeatable, side by side
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<Metric>,
    /// Fewest instances [default: 1, or what the --plan says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_INSTANCES)))]
    pub min: Option<u32>,
    /// Most instances [default: 5, or what the --plan says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_INSTANCES)))]
    pub max: Option<u32>,
    /// How long a document may take from its arrival until it is done: what `latency` aims at, and what the clairvoyant
    /// bound keeps
    #[arg(long, visible_alias = "acceptable-latency", value_name = "TIME", default_value = "5min", value_parser = load::time)]
    pub target: Duration,
    /// From an instance's launch to its first document: next to nothing for a process, about a minute on EC2
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = load::time)]
    pub boot: Duration,
    /// From an observation to its being known
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = load::time)]
    pub metric_delay: Duration,
    /// Messages an instance holds at most, the one in hand included
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub prefetch: u32,
    /// How long the message of a failed try stays hidden
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = load::time)]
    pub visibility: Duration,
    /// Share of tries that fail, 0 to below 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub failures: f64,
    /// How long an instance lives on average before it dies unasked [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub lifetime: Option<Duration>,
    /// Whether scale-in leaves an instance alone while it holds messages. With `false` one that must go finishes the
    /// message in hand and gives back the others
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub protect: bool,
    /// Type of the instances, for the costs
    #[arg(long, value_name = "TYPE", default_value = "t3.micro")]
    pub instance_type: String,
    /// Where chance begins
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write how each fleet stood, look by look, to this CSV file
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Draw the fleets into this file, .svg or .png; repeatable
    #[arg(long, value_name = "FILE", value_parser = picture)]
    pub chart: Vec<PathBuf>,
    /// Tell each launch and termination: with its cause, on standard error, or with --format json in the result
    #[arg(long)]
    pub activities: bool,
    /// In which form.
    #[command(flatten)]
    pub format: FormatFlags,
}

/// `wordfreq loadtest`
#[derive(Debug, Args)]
#[command(after_help = "\
Without --data-dir, a `wordfreq up` is started for the test on a directory of its own, and both are gone at its end. \
With it, the load goes to the `up` that runs there, which is never stopped. The keys of its documents begin with load/ and \
the moment of the test, so that they replace nobody's; at the end they are deleted, and the workers take them out of the \
results, unless --leave is given.

Every time in the result is of the fleet's clock, which goes --time-scale times as fast as time, since the first arrival. \
Latency counts from when a document was due. The load begins 5 seconds after a whole minute of that clock if the fleet has \
alarms, so that they meet it as they do in `wordfreq simulate` with the same --arrivals, --seed and, as --service, --work.

--format json is {\"documents\",\"put\",\"counted\",\"failed\",\"superseded\",\"unfinished\",\"wrong\",\"max_in_service\",\
\"launches\",\"terminations\",\"backlog_peak\",\"instance_hours\",\"cost_usd\",\"lambda_usd\",\
\"latency_seconds\":{\"p50\",\"p95\",\"p99\",\"max\"},\"late_seconds\",\"ending\",\"end_seconds\",\
\"activities\":[{\"at_seconds\",\"kind\",\"instance\",\"cause\"}],\
\"transitions\":[{\"at_seconds\",\"alarm\",\"to\",\"value\"}]}. The exit code is 0 only if every document was counted, with as \
many words as it has, and the fleet came back to rest; else 3, and what is the matter is told on standard error. `ending` is \
`rested`, `timeout`, `stopped` or `gone`, the latter if the `up` ended meanwhile; these two are exit code 1. Whatever was \
seen until then is told all the same; documents that were not put any more count as unfinished.")]
pub struct LoadtestArgs {
    /// When documents arrive, by the fleet's clock: burst:COUNT, poisson:RATE:DURATION, wave:RATE:PERIOD:DURATION (rates
    /// in documents a second), or a CSV file
    #[arg(long, value_name = "LOAD", default_value = "burst:130")]
    pub arrivals: Arrivals,
    /// How much longer than its counting each document takes, by the fleet's clock: a time, uniform:10s..20s or only
    /// 10s..20s, exp:12s, or a CSV file [default: no longer]
    #[arg(long, value_name = "TIME", conflicts_with = "data_dir")]
    pub work: Option<Service>,
    /// How large the made-up documents are: a size, 1KiB..64KiB, or lognormal:MEAN
    #[arg(long, value_name = "SIZE", default_value = "lognormal:4KiB")]
    pub document_size: Size,
    /// How many different words the made-up documents have in all
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_VOCABULARY)))]
    pub vocabulary: u32,
    /// Take the files of this directory, over and over, instead of made-up documents
    #[arg(long, value_name = "DIR", conflicts_with_all = ["document_size", "vocabulary"])]
    pub documents: Option<PathBuf>,
    /// Where chance begins
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Data directory of a running `wordfreq up` to test, instead of a temporary one
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// With --data-dir, leave the documents there at the end
    #[arg(long, requires = "data_dir")]
    pub leave: bool,
    /// Keep the temporary data directory, which is made here; `up.log` in it is the log
    #[arg(long, value_name = "DIR", conflicts_with = "data_dir")]
    pub keep: Option<PathBuf>,
    /// How many times as fast as time the fleet's clock goes, 1 to 600
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = watched_time_scale, conflicts_with = "data_dir")]
    pub time_scale: f64,
    /// How the fleet is sized [default: as `wordfreq up`]
    #[arg(long, value_name = "NAME", value_enum, conflicts_with_all = ["plan", "data_dir"])]
    pub preset: Option<Preset>,
    /// File of a plan of your own
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    pub plan: Option<PathBuf>,
    /// Fewest workers [default: as `wordfreq up`]
    #[arg(long, value_name = "N", conflicts_with = "data_dir")]
    pub min: Option<u32>,
    /// Most workers [default: as `wordfreq up`]
    #[arg(long, value_name = "N", conflicts_with = "data_dir")]
    pub max: Option<u32>,
    /// With --preset latency, within what time most documents are to be done
    #[arg(long, value_name = "TIME", conflicts_with = "data_dir")]
    pub acceptable_latency: Option<String>,
    /// With --preset latency, how long a worker works on a document [default: as measured]
    #[arg(long, value_name = "TIME", conflicts_with = "data_dir")]
    pub service_time: Option<String>,
    /// After the last arrival, the most to wait for the documents and then for the fleet's rest, by your clock; workers of
    /// the test's own that are not done then are killed
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = load::time)]
    pub timeout: Duration,
    /// Type of the instances, for the costs
    #[arg(long, value_name = "TYPE", default_value = "t3.micro")]
    pub instance_type: String,
    /// Write a report with charts and every document to this file, one HTML page that needs no other
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write what became of every document that was put to this CSV file
    #[arg(long, value_name = "FILE.csv")]
    pub list: Option<PathBuf>,
    /// In which form.
    #[command(flatten)]
    pub format: FormatFlags,
}

/// `wordfreq config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Where the data is.
    #[command(flatten)]
    pub data_dir: DataDirFlag,
    /// What a word is.
    #[command(flatten)]
    pub profile: ProfileFlag,
    /// How to count.
    #[command(flatten)]
    pub counting: CountSettings,
    /// What to watch, and the size of the fleet.
    #[command(flatten)]
    pub up: UpSettings,
    /// Form of the list on standard output
    #[arg(long, value_enum, default_value_t = ConfigFormat::Table)]
    pub format: ConfigFormat,
    /// Print the manual's table of all settings in Markdown instead
    #[arg(long, conflicts_with = "format")]
    pub reference: bool,
}

/// The forms `wordfreq config` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigFormat {
    /// Aligned columns, for people.
    Table,
    /// One JSON object.
    Json,
}

impl From<ConfigFormat> for Format {
    fn from(format: ConfigFormat) -> Self {
        match format {
            ConfigFormat::Table => Self::Table,
            ConfigFormat::Json => Self::Json,
        }
    }
}

/// `wordfreq completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

impl Command {
    /// The settings that were given as flags, for [`crate::config::Config::resolve`].
    pub fn flags(&self) -> Flags {
        let none = Flags::default();
        match self {
            Self::Count(args) => none.with_profile(&args.profile).with_counting(&args.counting),
            Self::Up(args) => {
                none.with_data_dir(&args.data_dir).with_profile(&args.profile).with_up(&args.settings)
            }
            Self::Upload(args) => none.with_anywhere(&args.backend),
            Self::Delete(args) => none.with_anywhere(&args.backend),
            Self::Results(args) => none.with_anywhere(&args.command.output().backend),
            Self::Queue(args) => none.with_anywhere(&args.command.output().backend),
            Self::Fleet(args) => none.with_anywhere(&args.command.output().backend),
            Self::Top(args) => none.with_backend(&args.backend),
            Self::Worker(args) => none.with_backend(&args.backend),
            Self::Aws(_) => Flags { needs_backend: true, backend: Some(BackendName::Aws), ..none },
            Self::Token(args) | Self::Key(args) => none.with_data_dir(args.command.data_dir()),
            Self::Subscriptions(args) => none.with_data_dir(args.command.data_dir()),
            Self::Config(args) => Flags { needs_backend: true, ..none }
                .with_data_dir(&args.data_dir)
                .with_profile(&args.profile)
                .with_counting(&args.counting)
                .with_up(&args.up),
            Self::Loadtest(args) => Flags { data_dir: args.data_dir.clone(), ..none },
            Self::Completions(_) | Self::Simulate(_) => none,
        }
    }
}

impl Flags {
    fn with_data_dir(mut self, flag: &DataDirFlag) -> Self {
        self.data_dir.clone_from(&flag.data_dir);
        self
    }

    fn with_backend(mut self, flags: &BackendFlags) -> Self {
        self.backend = flags.backend;
        self.needs_backend = true;
        self.with_data_dir(&flags.data_dir)
    }

    fn with_anywhere(mut self, flags: &AnywhereFlags) -> Self {
        self.server.clone_from(&flags.server);
        self.with_backend(&flags.backend)
    }

    fn with_profile(mut self, flag: &ProfileFlag) -> Self {
        self.profile = flag.profile;
        self
    }

    fn with_counting(mut self, flags: &CountSettings) -> Self {
        self.min_length = flags.min_length;
        self.threads = flags.threads;
        self.memory.clone_from(&flags.memory);
        self
    }

    fn with_up(mut self, flags: &UpSettings) -> Self {
        self.watch.clone_from(&flags.watch);
        self.min_workers = flags.min;
        self.max_workers = flags.max;
        self.preset = flags.preset;
        self.plan.clone_from(&flags.plan);
        self.acceptable_latency.clone_from(&flags.acceptable_latency);
        self.service_time.clone_from(&flags.service_time);
        self.listen.clone_from(&flags.listen);
        self
    }
}

impl ValueEnum for Preset {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()).help(match self {
            Self::Latency => "as many as let a document wait no longer than is acceptable",
            Self::Classic => {
                "as the original: one more while over 50 messages wait, one less while under 20 do"
            }
            Self::Fixed => "always as many as may be",
        }))
    }
}

/// Takes the names of the built-in profiles and shows them in the help and to the shell.
fn profile_parser() -> impl TypedValueParser<Value = ProfileName> {
    PossibleValuesParser::new(ProfileName::ALL.map(ProfileName::as_str))
        .try_map(|name| name.parse::<ProfileName>())
}

fn notify_pace(text: &str) -> Result<f64, String> {
    let pace = text.parse().ok().filter(|pace| (1.0..=100_000.0).contains(pace));
    pace.ok_or_else(|| "must be a number from 1 to 100000".to_owned())
}

fn time_scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| (1.0..=1000.0).contains(scale));
    scale.ok_or_else(|| format!("{text:?} is not a scale from 1 to 1000"))
}

/// Faster, and a load test's looks are minutes of the fleet's clock apart.
fn watched_time_scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| (1.0..=600.0).contains(scale));
    scale.ok_or_else(|| format!("{text:?} is not a scale from 1 to 600"))
}

/// Looking without a pause would take a core, and looking once in an hour is no live view.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let is_sensible = (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&interval);
    is_sensible.then_some(interval).ok_or_else(|| format!("{text:?} is not from 100ms to 1min"))
}

/// A chart is known by the end of its name.
fn picture(text: &str) -> Result<PathBuf, String> {
    let is_known = [".svg", ".png"].iter().any(|end| text.ends_with(end) && text.len() > end.len());
    is_known.then(|| text.into()).ok_or_else(|| format!("{text:?} ends neither in .svg nor in .png"))
}

/// Instances that die at once do nothing, for ever.
fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = load::time(text)?;
    let is_sensible = lifetime >= Duration::from_secs(1);
    is_sensible.then_some(lifetime).ok_or_else(|| format!("{text:?} is shorter than a second"))
}

/// A share of tries that all fail would never end.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is not a share from 0 to below 1"))
}

fn backend_parser() -> impl TypedValueParser<Value = BackendName> {
    PossibleValuesParser::new(["embedded", "aws", "server"]).try_map(|name| name.parse::<BackendName>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
