//! The settings: which there are, where their values come from, and what makes a value acceptable.
//!
//! Precedence: flag > environment (`WORDFREQ_*`) > `wordfreq.toml` in the working directory > the user's own
//! `wordfreq.toml` > default. Every layer that is present is checked, also where a higher one wins, and anything
//! unknown is refused: a misspelt setting must not fall back to a default in silence.
//!
//! This is the only file that reads the environment; the SDKs of AWS read theirs (`AWS_*`) themselves. Not here: the
//! flags' definition (`cli`), the list of settings (`settings`), and opening or creating anything that a setting names.

mod notify;
mod remote;
mod server;
mod settings;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use wordfreq_core::{MAX_WORD_BYTES, Profile, ProfileName};
use wordfreq_pipeline::DocumentId;

use crate::output::Cell;
pub use notify::{NotifyConfig, Password, SmtpConfig, SmtpTls};
pub use remote::RemoteConfig;
pub(crate) use server::DEFAULT_LISTEN;
pub use server::ServerConfig;
use settings::{
    AWS_PROFILE, AWS_QUEUE_URL, AWS_RESULT_BUCKET, AWS_RESULT_PREFIX, AWS_RESULT_QUEUE_URL, AWS_RESULT_TABLE,
    AWS_VISIBILITY, AWS_WORKER_COUNT, BACKEND, BUCKETS_KEEP, DATA_DIR, FLEET_GRACE, FLEET_MAX, FLEET_MIN,
    FLEET_PROTECT, FLEET_WORKER_CPUS, FLEET_WORKER_MEMORY, LOG_FORMAT, MEMORY, MIN_LENGTH, PROFILE,
    QUEUE_BATCH, QUEUE_MAX_RECEIVES, QUEUE_VISIBILITY, SCALING_LATENCY, SCALING_PLAN, SCALING_PRESET,
    SCALING_SERVICE, THREADS, WATCH,
};
pub use settings::{SETTINGS, Setting, reference_table};

/// The name of a configuration file, in the working directory and in the user's configuration directory.
pub const FILE_NAME: &str = "wordfreq.toml";

/// What all our environment variables begin with, but those of the Go sample's worker.
const ENVIRONMENT_PREFIX: &str = "WORDFREQ_";

/// What the sample's begin with, and perhaps other programs' too: one that is only nearly ours is taken for misspelt.
const SAMPLE_PREFIX: &str = "WORKER_";
const NEARLY: usize = 2;

/// SQS's own bound on a visibility timeout (12 hours), which the embedded queue shares.
const MAX_VISIBILITY_SECONDS: u64 = 43_200;

/// With less a worker does not even start.
const LEAST_WORKER_MEMORY: u64 = 64 << 20;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line, by this flag.
    Flag(&'static str),
    /// The environment, by this variable.
    Environment(&'static str),
    /// This configuration file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A resolved value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value in force.
    pub value: T,
    /// Who set it.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    /// The value if somebody set it, `None` if it is the default.
    pub fn explicit(&self) -> Option<&T> {
        (self.origin != Origin::Default).then_some(&self.value)
    }
}

/// A setting that is refused, or a source of settings that cannot be used. Ends the program with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Misconfiguration {
    /// A value is not acceptable.
    #[error("setting `{setting}` from {origin} is `{value}`: {mend}")]
    Value {
        /// Which setting.
        setting: &'static str,
        /// Who set it.
        origin: Origin,
        /// To what.
        value: String,
        /// What it must be.
        mend: String,
    },
    /// A configuration file has a key that is no setting.
    #[error("{}: unknown setting `{key}`; did you mean `{nearest}`? (`wordfreq config` lists all of them)", .file.display())]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The dotted path of the key.
        key: String,
        /// The setting whose name is most like it.
        nearest: &'static str,
    },
    /// A table's name stands for a plain value.
    #[error("{}: `{key}` is a group of settings, not a value; write it as a table `[{key}]`", .file.display())]
    NotATable {
        /// The file.
        file: PathBuf,
        /// The group.
        key: String,
    },
    /// A variable of ours that is no setting.
    #[error("unknown environment variable {variable}; did you mean {nearest}? unset it, or correct its name")]
    UnknownVariable {
        /// Its name.
        variable: String,
        /// The variable whose name is most like it.
        nearest: &'static str,
    },
    /// A configuration file that is there cannot be read.
    #[error("{}: could not read this configuration file: {cause}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A configuration file is not TOML.
    #[error("{}, line {line}: this is not valid TOML: {cause}", .file.display())]
    NotToml {
        /// The file.
        file: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// Why.
        cause: String,
    },
    /// More workers at least than at most.
    #[error(
        "`fleet.min` is {min} from {min_origin}, and `fleet.max` is {max} from {max_origin}: lower the one or raise the other"
    )]
    Bounds {
        /// Fewest workers asked for.
        min: u32,
        /// By whom.
        min_origin: Origin,
        /// Most workers asked for.
        max: u32,
        /// By whom.
        max_origin: Origin,
    },
}

/// Where buckets, queue and results are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendName {
    /// In the data directory.
    #[default]
    Embedded,
    /// On S3, SQS and DynamoDB.
    Aws,
    /// At an `up` elsewhere.
    Server,
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Aws => "aws",
            Self::Server => "server",
        })
    }
}

impl FromStr for BackendName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "embedded" => Ok(Self::Embedded),
            "aws" => Ok(Self::Aws),
            "server" => Ok(Self::Server),
            _ => Err("must be embedded, aws or server".to_owned()),
        }
    }
}

/// The settings that were given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Whether the command works on a backend that may be on AWS.
    pub needs_backend: bool,
    /// `--backend`
    pub backend: Option<BackendName>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--profile`
    pub profile: Option<ProfileName>,
    /// `--min-length`
    pub min_length: Option<u32>,
    /// `--threads`
    pub threads: Option<usize>,
    /// `--memory`
    pub memory: Option<String>,
    /// `--watch`; empty means not given
    pub watch: Vec<PathBuf>,
    /// `--min`
    pub min_workers: Option<u32>,
    /// `--max`
    pub max_workers: Option<u32>,
    /// `--preset`
    pub preset: Option<Preset>,
    /// `--plan`
    pub plan: Option<PathBuf>,
    /// `--acceptable-latency`
    pub acceptable_latency: Option<String>,
    /// `--service-time`
    pub service_time: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--server`
    pub server: Option<String>,
}

/// The environment as it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// This process's own.
    pub fn capture() -> Self {
        std::env::vars_os().collect()
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Whether colours are wanted. <https://no-color.org>: any value but the empty one turns them off.
    fn wants_color(&self) -> bool {
        self.get("NO_COLOR").is_none_or(OsStr::is_empty)
    }

    /// The user's own configuration file, by the XDG base directory specification, which says to ignore a relative
    /// `XDG_CONFIG_HOME`. `None` without a home directory.
    fn user_file(&self) -> Option<PathBuf> {
        let directory = self
            .get("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(Path::new(self.get("HOME")?).join(".config")))?;
        Some(directory.join("wordfreq").join(FILE_NAME))
    }

    fn refuse_unknown(&self, also_samples: bool) -> Result<(), Misconfiguration> {
        for variable in self.variables.keys() {
            let variable = variable.to_string_lossy();
            let candidates = SETTINGS.iter().map(|setting| setting.environment);
            let is_nearly_ours = || {
                also_samples
                    && variable.starts_with(SAMPLE_PREFIX)
                    && strsim::osa_distance(&variable, nearest(&variable, candidates)) <= NEARLY
            };
            if !variable.starts_with(ENVIRONMENT_PREFIX) && !is_nearly_ours() {
                continue;
            }
            let is_failpoint = cfg!(feature = "failpoints") && variable.starts_with("WORDFREQ_FAILPOINT");
            let is_known = SETTINGS.iter().any(|setting| setting.environment == variable);
            if !is_known && !is_failpoint {
                return Err(Misconfiguration::UnknownVariable {
                    nearest: nearest(&variable, SETTINGS.iter().map(|setting| setting.environment)),
                    variable: variable.into_owned(),
                });
            }
        }
        Ok(())
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().collect() }
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON lines elsewhere.
    #[default]
    Auto,
    /// Compact text.
    Text,
    /// One JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be auto, text or json".to_owned()),
        }
    }
}

/// A plan that has a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// Target tracking on an acceptable latency.
    #[default]
    Latency,
    /// The original's.
    Classic,
    /// Always the same size.
    Fixed,
}

impl Preset {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Latency, Self::Classic, Self::Fixed];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Classic => "classic",
            Self::Fixed => "fixed",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|preset| preset.as_str() == name);
        known.ok_or_else(|| "must be latency, classic or fixed".to_owned())
    }
}

/// Settings of the fleet.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// Fewest workers; without it, the plan's.
    pub min: Sourced<Option<u32>>,
    /// Most workers; without it, the plan's.
    pub max: Sourced<Option<u32>>,
    /// Most memory of a worker, in bytes.
    pub worker_memory: Sourced<Option<u64>>,
    /// Most processors a worker runs on.
    pub worker_cpus: Sourced<Option<usize>>,
    /// How long a worker may be silent.
    pub grace: Sourced<Duration>,
    /// Whether scale-in leaves a worker alone while it holds messages.
    pub protect: Sourced<bool>,
}

/// Settings of the scaler.
#[derive(Clone, Debug)]
pub struct ScalingConfig {
    /// Which plan; one that is not [`Sourced::explicit`] gives way to `fixed` where everything is there already.
    pub preset: Sourced<Preset>,
    /// A plan of the user's own.
    pub plan: Sourced<Option<PathBuf>>,
    /// Within what time most documents are to be done.
    pub acceptable_latency: Sourced<Duration>,
    /// How long a worker works on a document; `None` is to be measured.
    pub service_time: Sourced<Option<Duration>>,
}

/// Settings of the queue.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// How long a lease lasts unless it is extended; whole seconds.
    pub visibility_timeout: Sourced<Duration>,
    /// Deliveries of a message before it becomes a dead letter.
    pub max_receive_count: Sourced<u32>,
    /// Messages a worker takes at a time.
    pub batch: Sourced<usize>,
}

/// Settings of the backend on AWS, most of them by the Go sample's names.
#[derive(Clone, Debug)]
pub struct AwsConfig {
    /// Of the queue that S3's events arrive on.
    pub queue_url: Sourced<Option<String>>,
    /// Of the queue that results are told on.
    pub result_queue_url: Sourced<Option<String>>,
    /// Of the table of results.
    pub result_table: Sourced<Option<String>>,
    /// For count tables that do not fit their item.
    pub result_bucket: Sourced<Option<String>>,
    /// What their keys begin with.
    pub result_prefix: Sourced<String>,
    /// What a word is there.
    pub word_profile: Sourced<ProfileName>,
    /// How long a lease lasts unless it is extended; whole seconds.
    pub message_visibility: Sourced<Duration>,
    /// Workers of one process.
    pub worker_count: Sourced<usize>,
    /// Whether the environment names an endpoint for S3 that stands for all of AWS.
    pub has_endpoint: bool,
    /// Whether the environment says that instance metadata must not be asked (`AWS_EC2_METADATA_DISABLED`, as the SDKs
    /// have it).
    pub metadata_disabled: bool,
}

impl AwsConfig {
    /// Who says that there is anything on AWS.
    fn origin(&self) -> Option<&Origin> {
        let texts = [&self.queue_url, &self.result_queue_url, &self.result_table];
        texts.into_iter().find(|text| text.value.is_some()).map(|text| &text.origin)
    }

    fn resolve(
        layers: &Layers<'_>,
        profile: &Sourced<ProfileName>,
        cores: usize,
    ) -> Result<Self, Misconfiguration> {
        let optional = |setting, parse: fn(&Raw<'_>) -> Result<String, String>| {
            let found = layers.resolve(setting, None, |raw| parse(raw).map(Some))?;
            Ok::<_, Misconfiguration>(found.or_default(|| None))
        };
        let seconds = |raw: &Raw<'_>| integer(raw, 1..=MAX_VISIBILITY_SECONDS).map(Duration::from_secs);
        let word_profile = layers.resolve(&AWS_PROFILE, None, name::<ProfileName>)?;
        let set = |name| layers.environment.get(name).is_some_and(|value| !value.is_empty());
        Ok(Self {
            queue_url: optional(&AWS_QUEUE_URL, queue_url)?,
            result_queue_url: optional(&AWS_RESULT_QUEUE_URL, queue_url)?,
            result_table: optional(&AWS_RESULT_TABLE, nonempty)?,
            result_bucket: optional(&AWS_RESULT_BUCKET, nonempty)?,
            result_prefix: layers
                .resolve(&AWS_RESULT_PREFIX, None, nonempty)?
                .or_default(|| AWS_RESULT_PREFIX.default.to_owned()),
            word_profile: word_profile.0.unwrap_or_else(|| profile.clone()),
            message_visibility: layers
                .resolve(&AWS_VISIBILITY, None, seconds)?
                .or_default(|| Duration::from_secs(60)),
            worker_count: layers
                .resolve(&AWS_WORKER_COUNT, None, |raw| integer(raw, 1..=1024))?
                .or_default(|| cores),
            metadata_disabled: layers
                .environment
                .get("AWS_EC2_METADATA_DISABLED")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            has_endpoint: set("AWS_ENDPOINT_URL") || set("AWS_ENDPOINT_URL_S3"),
        })
    }
}

/// Settings of the log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Its form.
    pub format: Sourced<LogFormat>,
    /// Whether the user allows colours (`NO_COLOR`); they also need a terminal.
    pub color: bool,
}

/// Every setting, resolved and checked. Relative paths are relative to the working directory, whoever set them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the commands that are not `up` work.
    pub backend: Sourced<BackendName>,
    /// Directory of the embedded backend.
    pub data_dir: Sourced<PathBuf>,
    /// Name of the profile. For `up`, one that is not [`Sourced::explicit`] gives way to the data directory's own.
    pub profile: Sourced<ProfileName>,
    /// The profile's minimum length in characters.
    pub min_length: Sourced<u32>,
    /// Threads of `count`, at least 1.
    pub threads: Sourced<usize>,
    /// Memory for words in `count`, in bytes.
    pub memory: Sourced<u64>,
    /// Directories `up` takes documents from.
    pub watch: Sourced<Vec<PathBuf>>,
    /// Buckets that keep their documents uncounted.
    pub kept_buckets: Sourced<BTreeSet<String>>,
    /// `[fleet]`
    pub fleet: FleetConfig,
    /// `[scaling]`
    pub scaling: ScalingConfig,
    /// `[queue]`
    pub queue: QueueConfig,
    /// `[server]`
    pub server: ServerConfig,
    /// `[notify]` and `[smtp]`
    pub notify: NotifyConfig,
    /// An `up` elsewhere; of `[server]` too
    pub remote: RemoteConfig,
    /// `[aws]`
    pub aws: AwsConfig,
    /// `[log]`
    pub log: LogConfig,
}

/// One line of `wordfreq config`.
#[derive(Debug)]
pub struct Effective<'a> {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value: a number, a text, lists joined as in PATH, [`Cell::Missing`] for an empty list.
    pub value: Cell,
    /// Who set it.
    pub origin: &'a Origin,
}

impl Config {
    /// Resolves every setting from all layers. `working_directory` is where [`FILE_NAME`] is looked for; an empty
    /// path is the process's own.
    ///
    /// # Errors
    /// The first thing found that is unknown, unreadable or not acceptable.
    pub fn resolve(
        flags: &Flags,
        environment: &Environment,
        working_directory: &Path,
    ) -> Result<Self, Misconfiguration> {
        environment.refuse_unknown(flags.needs_backend)?;
        let mut files = Vec::new();
        let paths = environment.user_file().into_iter().chain([working_directory.join(FILE_NAME)]);
        for path in paths {
            if let Some(values) = read_file(&path)? {
                files.push((path, values));
            }
        }
        let layers = Layers { environment, files };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);

        let data_dir = layers
            .resolve(
                &DATA_DIR,
                flags.data_dir.as_deref().map(|path| Raw::Text(path.as_os_str().into())),
                directory,
            )?
            .or_default(|| PathBuf::from(DATA_DIR.default));
        let profile = layers
            .resolve(&PROFILE, Raw::of(flags.profile), name::<ProfileName>)?
            .or_default(ProfileName::default);
        let min_length = layers
            .resolve(&MIN_LENGTH, Raw::of(flags.min_length), |raw| integer(raw, 0..=MAX_WORD_BYTES as u64))?
            .or_default(|| 0);
        let threads = layers
            .resolve(&THREADS, Raw::of(flags.threads), |raw| integer(raw, 1..=1024))?
            .or_default(|| cores);
        let memory =
            layers.resolve(&MEMORY, Raw::of(flags.memory.as_deref()), bytes)?.or_default(quarter_of_memory);
        let watch_flag = (!flags.watch.is_empty()).then_some(Raw::Paths(&flags.watch));
        let watch = layers.resolve(&WATCH, watch_flag, directories)?.or_default(Vec::new);
        let kept_buckets = layers
            .resolve(&BUCKETS_KEEP, None, bucket_names)?
            .or_default(|| BTreeSet::from([BUCKETS_KEEP.default.to_owned()]));
        let queue = QueueConfig {
            visibility_timeout: layers
                .resolve(&QUEUE_VISIBILITY, None, |raw| {
                    integer(raw, 1..=MAX_VISIBILITY_SECONDS).map(Duration::from_secs)
                })?
                .or_default(|| Duration::from_secs(30)),
            max_receive_count: layers
                .resolve(&QUEUE_MAX_RECEIVES, None, |raw| integer(raw, 1..=1000))?
                .or_default(|| 5),
            batch: layers.resolve(&QUEUE_BATCH, None, |raw| integer(raw, 1..=1000))?.or_default(|| 64),
        };
        let format = layers.resolve(&LOG_FORMAT, None, name::<LogFormat>)?.or_default(LogFormat::default);
        // Other programs have variables of such names too: they are judged where they matter only.
        let elsewhere = Layers { environment: &Environment::default(), files: Vec::new() };
        let aws =
            AwsConfig::resolve(if flags.needs_backend { &layers } else { &elsewhere }, &profile, cores)?;
        let remote = RemoteConfig::resolve(&layers, flags)?;
        let chosen = layers.resolve(&BACKEND, Raw::of(flags.backend), name::<BackendName>)?.0;
        let backend = match (chosen, &data_dir.origin, &remote.url, aws.origin()) {
            // A flag says which `up` to ask, so it also says that one is to be asked.
            (_, _, Sourced { origin: origin @ Origin::Flag(_), .. }, _) => {
                Sourced { value: BackendName::Server, origin: origin.clone() }
            }
            (Some(chosen), ..) => chosen,
            (None, origin @ Origin::Flag(_), ..) => {
                Sourced { value: BackendName::Embedded, origin: origin.clone() }
            }
            (None, _, Sourced { value: Some(_), origin }, _) => {
                Sourced { value: BackendName::Server, origin: origin.clone() }
            }
            (None, _, _, Some(origin)) => Sourced { value: BackendName::Aws, origin: origin.clone() },
            (None, ..) => Sourced { value: BackendName::Embedded, origin: Origin::Default },
        };
        if let (BackendName::Server, None) = (backend.value, &remote.url.value) {
            return Err(Misconfiguration::Value {
                setting: BACKEND.name,
                origin: backend.origin,
                value: backend.value.to_string(),
                mend: "needs `server.url` beside it, or --server, to say which".into(),
            });
        }
        Ok(Self {
            backend,
            data_dir,
            profile,
            min_length,
            threads,
            memory,
            watch,
            kept_buckets,
            fleet: FleetConfig::resolve(&layers, flags)?,
            scaling: ScalingConfig::resolve(&layers, flags)?,
            queue,
            server: ServerConfig::resolve(&layers, flags)?,
            notify: NotifyConfig::resolve(&layers)?,
            remote,
            aws,
            log: LogConfig { format, color: environment.wants_color() },
        })
    }

    /// The whole profile, as `count` uses it.
    pub fn profile(&self) -> Profile {
        Profile { min_length: self.min_length.value, ..Profile::new(self.profile.value) }
    }

    /// The whole profile of the AWS backend.
    pub fn aws_profile(&self) -> Profile {
        Profile { min_length: self.min_length.value, ..Profile::new(self.aws.word_profile.value) }
    }

    /// Every setting with its value and origin, in the order of [`SETTINGS`].
    pub fn effective(&self) -> Vec<Effective<'_>> {
        let path = |path: &Path| Cell::Text(path.to_string_lossy().into_owned());
        let watch = std::env::join_paths(&self.watch.value).map_or_else(
            // Only a path with the separator in it cannot be joined, and a file's list may have one.
            |_| format!("{:?}", self.watch.value),
            |joined| joined.to_string_lossy().into_owned(),
        );
        let optional = |text: &Option<String>| text.as_deref().map(Cell::from).unwrap_or(Cell::Missing);
        let number = |number: Option<u64>| number.map_or(Cell::Missing, Cell::from);
        let number_of = |text: Option<String>| text.map_or(Cell::Missing, Cell::from);
        let time = |time: Duration| Cell::Text(humantime::format_duration(time).to_string());
        let (aws, fleet, scaling) = (&self.aws, &self.fleet, &self.scaling);
        let before = [
            (&BACKEND, Cell::from(self.backend.value.to_string()), &self.backend.origin),
            (&DATA_DIR, path(&self.data_dir.value), &self.data_dir.origin),
            (&PROFILE, Cell::from(self.profile.value.to_string()), &self.profile.origin),
            (&MIN_LENGTH, Cell::from(u64::from(self.min_length.value)), &self.min_length.origin),
            (&THREADS, Cell::from(self.threads.value as u64), &self.threads.origin),
            (&MEMORY, Cell::from(format!("{}KiB", self.memory.value >> 10)), &self.memory.origin),
            (&WATCH, if watch.is_empty() { Cell::Missing } else { Cell::Text(watch) }, &self.watch.origin),
            (
                &BUCKETS_KEEP,
                Cell::Text(self.kept_buckets.value.iter().cloned().collect::<Vec<_>>().join(",")),
                &self.kept_buckets.origin,
            ),
            (&FLEET_MIN, number(fleet.min.value.map(u64::from)), &fleet.min.origin),
            (&FLEET_MAX, number(fleet.max.value.map(u64::from)), &fleet.max.origin),
            (
                &FLEET_WORKER_MEMORY,
                // Only whole binary units can be set.
                number_of(fleet.worker_memory.value.map(|bytes| format!("{}KiB", bytes >> 10))),
                &fleet.worker_memory.origin,
            ),
            (
                &FLEET_WORKER_CPUS,
                number(fleet.worker_cpus.value.map(|cpus| cpus as u64)),
                &fleet.worker_cpus.origin,
            ),
            (&FLEET_GRACE, Cell::from(fleet.grace.value.as_secs()), &fleet.grace.origin),
            (&FLEET_PROTECT, Cell::from(fleet.protect.value.to_string()), &fleet.protect.origin),
            (&SCALING_PRESET, Cell::from(scaling.preset.value.to_string()), &scaling.preset.origin),
            (&SCALING_PLAN, scaling.plan.value.as_deref().map_or(Cell::Missing, path), &scaling.plan.origin),
            (&SCALING_LATENCY, time(scaling.acceptable_latency.value), &scaling.acceptable_latency.origin),
            (
                &SCALING_SERVICE,
                scaling.service_time.value.map_or(Cell::Missing, time),
                &scaling.service_time.origin,
            ),
            (
                &QUEUE_VISIBILITY,
                Cell::from(self.queue.visibility_timeout.value.as_secs()),
                &self.queue.visibility_timeout.origin,
            ),
            (
                &QUEUE_MAX_RECEIVES,
                Cell::from(u64::from(self.queue.max_receive_count.value)),
                &self.queue.max_receive_count.origin,
            ),
            (&QUEUE_BATCH, Cell::from(self.queue.batch.value as u64), &self.queue.batch.origin),
        ];
        let after = [
            (&AWS_QUEUE_URL, optional(&aws.queue_url.value), &aws.queue_url.origin),
            (&AWS_RESULT_QUEUE_URL, optional(&aws.result_queue_url.value), &aws.result_queue_url.origin),
            (&AWS_RESULT_TABLE, optional(&aws.result_table.value), &aws.result_table.origin),
            (&AWS_RESULT_BUCKET, optional(&aws.result_bucket.value), &aws.result_bucket.origin),
            (&AWS_RESULT_PREFIX, Cell::from(aws.result_prefix.value.as_str()), &aws.result_prefix.origin),
            (&AWS_PROFILE, Cell::from(aws.word_profile.value.to_string()), &aws.word_profile.origin),
            (
                &AWS_VISIBILITY,
                Cell::from(aws.message_visibility.value.as_secs()),
                &aws.message_visibility.origin,
            ),
            (&AWS_WORKER_COUNT, Cell::from(aws.worker_count.value as u64), &aws.worker_count.origin),
            (&LOG_FORMAT, Cell::from(self.log.format.value.to_string()), &self.log.format.origin),
        ];
        let row = |(setting, value, origin)| Effective { setting, value, origin };
        let (before, after) = (before.into_iter().map(row), after.into_iter().map(row));
        let before = before.chain(self.server.effective()).chain(self.notify.effective());
        before.chain(self.remote.effective()).chain(after).collect()
    }
}

impl FleetConfig {
    fn resolve(layers: &Layers<'_>, flags: &Flags) -> Result<Self, Misconfiguration> {
        let min = layers
            .resolve(&FLEET_MIN, Raw::of(flags.min_workers), |raw| integer(raw, 0..=1024).map(Some))?
            .or_default(|| None);
        let max = layers
            .resolve(&FLEET_MAX, Raw::of(flags.max_workers), |raw| integer(raw, 1..=1024).map(Some))?
            .or_default(|| None);
        if let (Some(fewest), Some(most)) = (min.value, max.value)
            && fewest > most
        {
            let (min_origin, max_origin) = (min.origin, max.origin);
            return Err(Misconfiguration::Bounds { min: fewest, min_origin, max: most, max_origin });
        }
        Ok(Self {
            min,
            max,
            worker_memory: layers
                .resolve(&FLEET_WORKER_MEMORY, None, |raw| bytes(raw).map(Some))?
                .or_default(|| None),
            worker_cpus: layers
                .resolve(&FLEET_WORKER_CPUS, None, |raw| integer(raw, 1..=1024).map(Some))?
                .or_default(|| None),
            grace: layers
                .resolve(&FLEET_GRACE, None, |raw| integer(raw, 3..=3600).map(Duration::from_secs))?
                .or_default(|| Duration::from_secs(30)),
            protect: layers.resolve(&FLEET_PROTECT, None, truth)?.or_default(|| true),
        })
    }
}

impl ScalingConfig {
    fn resolve(layers: &Layers<'_>, flags: &Flags) -> Result<Self, Misconfiguration> {
        let text = |flag: &Option<String>| Raw::of(flag.as_ref());
        let plan_flag = flags.plan.as_deref().map(|path| Raw::Text(path.as_os_str().into()));
        Ok(Self {
            preset: layers
                .resolve(&SCALING_PRESET, Raw::of(flags.preset), name::<Preset>)?
                .or_default(Preset::default),
            plan: layers
                .resolve(&SCALING_PLAN, plan_flag, |raw| directory(raw).map(Some))?
                .or_default(|| None),
            acceptable_latency: layers
                .resolve(&SCALING_LATENCY, text(&flags.acceptable_latency), duration)?
                .or_default(|| Duration::from_secs(60)),
            service_time: layers
                .resolve(&SCALING_SERVICE, text(&flags.service_time), |raw| duration(raw).map(Some))?
                .or_default(|| None),
        })
    }
}

/// A value as one layer gives it, not yet checked.
enum Raw<'a> {
    Text(Cow<'a, OsStr>),
    Paths(&'a [PathBuf]),
    Toml(&'a toml::Value),
}

impl Raw<'_> {
    fn of(flag: Option<impl ToString>) -> Option<Self> {
        flag.map(|value| Self::Text(Cow::Owned(value.to_string().into())))
    }
}

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&text.to_string_lossy()),
            Self::Paths(paths) => write!(f, "{paths:?}"),
            Self::Toml(value) => write!(f, "{value}"),
        }
    }
}

/// The sources of settings, the flags apart.
struct Layers<'a> {
    environment: &'a Environment,
    /// Values by setting name; the weakest file first.
    files: Vec<(PathBuf, BTreeMap<&'static str, toml::Value>)>,
}

/// A value that somebody set, if anybody did.
struct Found<T>(Option<Sourced<T>>);

impl<T> Found<T> {
    fn or_default(self, default: impl FnOnce() -> T) -> Sourced<T> {
        self.0.unwrap_or_else(|| Sourced { value: default(), origin: Origin::Default })
    }
}

impl Layers<'_> {
    /// The strongest layer's value. Every layer's is parsed, and `parse` says of a bad one what it must be.
    fn resolve<T>(
        &self,
        setting: &'static Setting,
        flag: Option<Raw<'_>>,
        parse: impl Fn(&Raw<'_>) -> Result<T, String>,
    ) -> Result<Found<T>, Misconfiguration> {
        let mut layers: Vec<(Raw<'_>, Origin)> = Vec::new();
        for (path, values) in &self.files {
            if let Some(value) = values.get(setting.name) {
                layers.push((Raw::Toml(value), Origin::File(path.clone())));
            }
        }
        if let Some(text) = self.environment.get(setting.environment) {
            layers.push((Raw::Text(Cow::Borrowed(text)), Origin::Environment(setting.environment)));
        }
        if let Some(raw) = flag {
            layers.push((raw, Origin::Flag(setting.flag.unwrap_or(setting.name))));
        }
        let mut found = None;
        for (raw, origin) in layers {
            found = match parse(&raw) {
                Ok(value) => Some(Sourced { value, origin }),
                Err(mend) => {
                    let value = raw.to_string();
                    return Err(Misconfiguration::Value { setting: setting.name, origin, value, mend });
                }
            };
        }
        Ok(Found(found))
    }
}

/// Reads a configuration file into values by setting name. `None` if there is no such file.
fn read_file(path: &Path) -> Result<Option<BTreeMap<&'static str, toml::Value>>, Misconfiguration> {
    let file = || path.to_owned();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Misconfiguration::Unreadable { file: file(), cause }),
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = &text.as_bytes()[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Misconfiguration::NotToml {
            file: file(),
            line,
            cause: error.message().trim_end().replace('\n', "; "),
        }
    })?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let group = format!("{key}.");
        if !SETTINGS.iter().any(|setting| setting.name.starts_with(&group)) {
            values.insert(known(&key, path)?, value);
            continue;
        }
        let toml::Value::Table(members) = value else {
            return Err(Misconfiguration::NotATable { file: file(), key });
        };
        for (member, value) in members {
            values.insert(known(&format!("{group}{member}"), path)?, value);
        }
    }
    Ok(Some(values))
}

/// The setting of this name, as the registry spells it.
fn known(key: &str, file: &Path) -> Result<&'static str, Misconfiguration> {
    let mut names = SETTINGS.iter().map(|setting| setting.name);
    names.clone().find(|name| *name == key).ok_or_else(|| Misconfiguration::UnknownKey {
        file: file.to_owned(),
        key: key.to_owned(),
        nearest: nearest(key, &mut names),
    })
}

/// The candidate most like `name`. There is always one, as the registry is not empty.
fn nearest(name: &str, candidates: impl Iterator<Item = &'static str>) -> &'static str {
    candidates.min_by_key(|candidate| strsim::osa_distance(name, candidate)).unwrap_or_default()
}

fn integer<T: TryFrom<u64>>(raw: &Raw<'_>, bounds: RangeInclusive<u64>) -> Result<T, String> {
    let number = match raw {
        Raw::Text(text) => text.to_str().and_then(|text| text.parse().ok()),
        Raw::Toml(value) => value.as_integer().and_then(|number| u64::try_from(number).ok()),
        Raw::Paths(_) => None,
    };
    number
        .filter(|number| bounds.contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number from {} to {}", bounds.start(), bounds.end()))
}

fn name<T: FromStr<Err: fmt::Display>>(raw: &Raw<'_>) -> Result<T, String> {
    let text = match raw {
        Raw::Text(text) => text.to_str(),
        Raw::Toml(value) => value.as_str(),
        Raw::Paths(_) => None,
    };
    text.ok_or("must be a name in quotes")?.parse().map_err(|error: T::Err| error.to_string())
}

fn truth(raw: &Raw<'_>) -> Result<bool, String> {
    let truth = match raw {
        Raw::Text(text) => text.to_str().and_then(|text| text.parse().ok()),
        Raw::Toml(value) => value.as_bool(),
        Raw::Paths(_) => None,
    };
    truth.ok_or_else(|| "must be true or false".to_owned())
}

/// A time that is not nothing.
fn duration(raw: &Raw<'_>) -> Result<Duration, String> {
    let mend = "must be a time from 1ms to 14days, such as 20ms, 60s or 5min";
    let time = humantime::parse_duration(&text(raw).map_err(|_| mend)?).map_err(|_| mend)?;
    let is_sensible = (Duration::from_millis(1)..=Duration::from_secs(14 * 24 * 3600)).contains(&time);
    is_sensible.then_some(time).ok_or_else(|| mend.to_owned())
}

/// A quarter of the memory of the machine, or of the control group that stands for one.
fn quarter_of_memory() -> u64 {
    let machine = rustix::system::sysinfo();
    let machine = (machine.totalram as u64).saturating_mul(u64::from(machine.mem_unit));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    (machine.min(group) / 4).max(LEAST_WORKER_MEMORY)
}

/// A size of memory with its binary unit.
fn bytes(raw: &Raw<'_>) -> Result<u64, String> {
    let text = text(raw).unwrap_or_default();
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1_u64 << 40)];
    let size = units.into_iter().find_map(|(unit, bytes)| {
        text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(bytes)
    });
    size.filter(|size| *size >= LEAST_WORKER_MEMORY)
        .ok_or_else(|| "must be a size from 64MiB, such as 512MiB or 2GiB".to_owned())
}

fn text(raw: &Raw<'_>) -> Result<String, String> {
    let text = match raw {
        Raw::Text(text) => text.to_str(),
        Raw::Toml(value) => value.as_str(),
        Raw::Paths(_) => None,
    };
    text.map(str::to_owned).ok_or_else(|| "must be a text in quotes".to_owned())
}

fn nonempty(raw: &Raw<'_>) -> Result<String, String> {
    text(raw).and_then(|text| match text.is_empty() {
        true => Err("must not be empty; leave the setting out".to_owned()),
        false => Ok(text),
    })
}

/// A queue is named by its URL; its name alone or its ARN are common slips.
fn queue_url(raw: &Raw<'_>) -> Result<String, String> {
    let url = text(raw)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let path = rest.and_then(|rest| rest.split_once('/')).map(|(_, path)| path);
    if path.is_some_and(|path| !path.is_empty() && !path.ends_with('/')) {
        return Ok(url);
    }
    Err("must be a queue's URL, such as https://sqs.eu-west-2.amazonaws.com/123456789012/jobs".to_owned())
}

fn directory(raw: &Raw<'_>) -> Result<PathBuf, String> {
    match raw {
        Raw::Text(text) => checked_directory(Path::new(text)),
        Raw::Toml(toml::Value::String(text)) => checked_directory(Path::new(text)),
        Raw::Toml(_) | Raw::Paths(_) => Err("must be one path in quotes".to_owned()),
    }
}

fn directories(raw: &Raw<'_>) -> Result<Vec<PathBuf>, String> {
    match raw {
        Raw::Text(text) => std::env::split_paths(text).map(|path| checked_directory(&path)).collect(),
        Raw::Paths(paths) => paths.iter().map(|path| checked_directory(path)).collect(),
        Raw::Toml(toml::Value::Array(paths)) => {
            paths.iter().map(|path| directory(&Raw::Toml(path))).collect()
        }
        Raw::Toml(_) => Err("must be a list of paths in quotes, such as [\"inbox\"]".to_owned()),
    }
}

/// Names of buckets, as a list, or as a text with commas. None at all is a list too.
fn bucket_names(raw: &Raw<'_>) -> Result<BTreeSet<String>, String> {
    let mend = "must be a list of bucket names in quotes, such as [\"uploading\", \"archive\"]";
    let names: BTreeSet<String> = match raw {
        Raw::Text(text) => {
            let text = text.to_str().ok_or("must be UTF-8")?;
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        }
        Raw::Toml(toml::Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned).ok_or_else(|| mend.to_owned()))
            .collect::<Result<_, _>>()?,
        Raw::Toml(_) | Raw::Paths(_) => return Err(mend.to_owned()),
    };
    match names.iter().find_map(|name| DocumentId::new(name.as_str(), "-").err()) {
        None => Ok(names),
        Some(error) => Err(error.to_string()),
    }
}

/// A file or a service definition does not expand `~` as a shell does; taken literally it would quietly make a
/// directory of that name.
fn checked_directory(path: &Path) -> Result<PathBuf, String> {
    if path.as_os_str().is_empty() {
        return Err("must not be empty; name a directory, or leave the setting out".to_owned());
    }
    if path.starts_with("~") {
        return Err("`~` is not expanded here; write the path out".to_owned());
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
    }

    /// Resolves in a directory that holds `project` as its file, with a user file of `user`.
    fn resolve(
        flags: &Flags,
        variables: &[(&str, &str)],
        project: &str,
        user: &str,
    ) -> Result<Config, Misconfiguration> {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        std::fs::create_dir_all(home.join(".config/wordfreq")).unwrap();
        std::fs::write(home.join(".config/wordfreq").join(FILE_NAME), user).unwrap();
        std::fs::write(directory.path().join(FILE_NAME), project).unwrap();
        let mut environment = environment(variables);
        environment.variables.insert("HOME".into(), home.into());
        Config::resolve(flags, &environment, directory.path())
    }

    #[test]
    fn each_layer_beats_the_next() {
        let variables = [("WORDFREQ_QUEUE_BATCH", "3"), ("WORDFREQ_THREADS", "3")];
        let project = "threads = 4\nmin_length = 4\n[queue]\nbatch = 4";
        let user = "threads = 5\nmin_length = 5\nwatch = [\"a\", \"b\"]";
        let flags = Flags { threads: Some(2), ..Flags::default() };
        let config = resolve(&flags, &variables, project, user).unwrap();
        assert_eq!(config.threads, Sourced { value: 2, origin: Origin::Flag("--threads") });
        assert_eq!(
            config.queue.batch,
            Sourced { value: 3, origin: Origin::Environment("WORDFREQ_QUEUE_BATCH") }
        );
        assert_eq!(config.min_length.value, 4);
        assert!(matches!(&config.min_length.origin, Origin::File(path) if !path.starts_with("home")));
        assert_eq!(config.watch.value, [Path::new("a"), Path::new("b")]);
        assert!(config.watch.explicit().is_some());
        assert_eq!(config.profile, Sourced { value: ProfileName::Unicode, origin: Origin::Default });
        assert_eq!(config.profile.explicit(), None);
        assert_eq!(config.queue.visibility_timeout.value, Duration::from_secs(30));
    }

    #[test]
    fn every_setting_is_listed_once() {
        let config = resolve(&Flags::default(), &[], "", "").unwrap();
        let listed: Vec<_> = config.effective().iter().map(|effective| effective.setting.name).collect();
        assert_eq!(listed, SETTINGS.map(|setting| setting.name));
        for setting in SETTINGS {
            let expected = setting.name.to_uppercase().replace('.', "_");
            let is_samples =
                setting.environment.starts_with(SAMPLE_PREFIX) && setting.name.starts_with("aws.");
            // Those of another machine's `up` have the names that people would guess.
            let is_remote = matches!(
                (setting.name, setting.environment),
                ("server.url", "WORDFREQ_SERVER")
                    | ("server.token", "WORDFREQ_TOKEN")
                    | ("server.token_file", "WORDFREQ_TOKEN_FILE")
            );
            let is_expected = setting.environment == format!("{ENVIRONMENT_PREFIX}{expected}");
            assert!(is_samples || is_remote || is_expected, "{}", setting.environment);
            assert!(reference_table().contains(setting.environment));
        }
    }

    #[test]
    fn bad_values_are_refused_with_setting_origin_value_and_mend() {
        let message = |variables: &[_], project, user| {
            resolve(&Flags::default(), variables, project, user).unwrap_err().to_string()
        };
        assert_eq!(
            message(&[("WORDFREQ_THREADS", "0")], "", ""),
            "setting `threads` from environment variable WORDFREQ_THREADS is `0`: \
             must be a whole number from 1 to 1024",
        );
        for (variable, value, mend) in [
            ("WORDFREQ_MIN_LENGTH", "-1", "from 0 to 1024"),
            ("WORDFREQ_MIN_LENGTH", "1025", "from 0 to 1024"),
            ("WORDFREQ_QUEUE_VISIBILITY_TIMEOUT_SECONDS", "43201", "from 1 to 43200"),
            ("WORDFREQ_QUEUE_MAX_RECEIVE_COUNT", "1001", "from 1 to 1000"),
            ("WORDFREQ_QUEUE_BATCH", "many", "from 1 to 1000"),
            ("WORDFREQ_FLEET_MIN", "1025", "from 0 to 1024"),
            ("WORDFREQ_FLEET_MAX", "0", "from 1 to 1024"),
            ("WORDFREQ_FLEET_WORKER_MEMORY", "1000", "such as 512MiB"),
            ("WORDFREQ_FLEET_WORKER_MEMORY", "1MiB", "from 64MiB"),
            ("WORDFREQ_FLEET_PROTECT", "yes", "true or false"),
            ("WORDFREQ_SCALING_PRESET", "modern", "latency, classic or fixed"),
            ("WORDFREQ_SCALING_ACCEPTABLE_LATENCY", "60", "such as"),
            ("WORDFREQ_SCALING_SERVICE_TIME", "0s", "from 1ms"),
            ("WORDFREQ_LOG_FORMAT", "xml", "must be auto, text or json"),
            ("WORDFREQ_PROFILE", "french", "go-sample"),
            ("WORDFREQ_DATA_DIR", "", "must not be empty"),
            ("WORDFREQ_DATA_DIR", "~/corpus", "write the path out"),
            ("WORDFREQ_WATCH", "a::b", "must not be empty"),
        ] {
            let message = message(&[(variable, value)], "", "");
            assert!(message.contains(variable) && message.contains(mend), "{message}");
        }
        for (file, mend) in [
            ("threads = \"2\"", "must be a whole number"),
            ("threads = 2.5", "must be a whole number"),
            ("watch = \"inbox\"", "must be a list of paths"),
            ("watch = [1]", "must be one path in quotes"),
            ("data_dir = 7", "must be one path in quotes"),
            ("profile = true", "must be a name in quotes"),
            ("queue = 7", "write it as a table `[queue]`"),
            ("thread = 7", "did you mean `threads`?"),
            ("[queue]\nbatches = 7", "did you mean `queue.batch`?"),
            ("[listen]\nport = 7", "unknown setting `listen`"),
            ("threads = 1\nthreads = 2", "not valid TOML"),
        ] {
            let in_project = message(&[], file, "");
            assert!(in_project.contains(mend) && in_project.contains(FILE_NAME), "{in_project}");
            // A weaker layer is held to the same rules, even where a stronger one would win.
            let in_user = message(&[("WORDFREQ_THREADS", "1")], "threads = 1", file);
            assert!(in_user.contains(mend) && in_user.contains(".config/wordfreq"), "{in_user}");
        }
    }

    #[test]
    fn flags_are_checked_as_the_other_layers_are() {
        let flags = Flags { max_workers: Some(0), ..Flags::default() };
        let message = resolve(&flags, &[], "", "").unwrap_err().to_string();
        assert_eq!(
            message,
            "setting `fleet.max` from flag --max is `0`: must be a whole number from 1 to 1024"
        );
        let flags = Flags { watch: vec![PathBuf::from("a:b"), PathBuf::new()], ..Flags::default() };
        let message = resolve(&flags, &[], "", "").unwrap_err().to_string();
        assert!(message.contains("flag --watch"), "{message}");
    }

    #[test]
    fn unknown_variables_are_refused_with_the_nearest() {
        let message = |name| resolve(&Flags::default(), &[(name, "1")], "", "").unwrap_err().to_string();
        assert!(message("WORDFREQ_THREAD").contains("did you mean WORDFREQ_THREADS?"));
        assert!(message("WORDFREQ_DATADIR").contains("did you mean WORDFREQ_DATA_DIR?"));
        assert!(resolve(&Flags::default(), &[("WORDFREQUENCY", "1")], "", "").is_ok());
    }

    #[test]
    fn failpoints_are_known_only_to_a_build_that_has_them() {
        let outcome = resolve(&Flags::default(), &[("WORDFREQ_FAILPOINTS", "commit=abort@1")], "", "");
        assert_eq!(outcome.is_ok(), cfg!(feature = "failpoints"));
    }

    #[test]
    fn the_fleet_may_be_of_any_size_between_its_bounds_which_must_be_in_order() {
        let flags = Flags { min_workers: Some(3), ..Flags::default() };
        let config = resolve(&flags, &[("WORDFREQ_FLEET_MAX", "4")], "", "").unwrap();
        assert_eq!((config.fleet.min.value, config.fleet.max.value), (Some(3), Some(4)));
        assert_eq!(resolve(&flags, &[], "", "").unwrap().fleet.max.value, None);
        let message = resolve(&flags, &[], "[fleet]\nmax = 2", "").unwrap_err().to_string();
        assert!(message.contains("3 from flag --min") && message.contains("is 2 from file"), "{message}");
    }

    #[test]
    fn times_sizes_and_truths_are_read_and_shown() {
        let file = "[fleet]\nworker_memory = \"1GiB\"\nprotect = false\n[scaling]\nservice_time = \"12s\"\n\
                    acceptable_latency = \"5min\"\npreset = \"classic\"";
        let config = resolve(&Flags::default(), &[], file, "").unwrap();
        assert_eq!(config.fleet.worker_memory.value, Some(1 << 30));
        assert!(!config.fleet.protect.value);
        assert_eq!(config.scaling.service_time.value, Some(Duration::from_secs(12)));
        assert_eq!(config.scaling.acceptable_latency.value, Duration::from_secs(300));
        assert_eq!(config.scaling.preset.value, Preset::Classic);
    }

    #[test]
    fn the_user_file_is_where_xdg_says() {
        let file = |variables: &[_]| environment(variables).user_file();
        let at_home = Some(PathBuf::from("/h/.config/wordfreq/wordfreq.toml"));
        assert_eq!(file(&[("HOME", "/h")]), at_home);
        assert_eq!(file(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "relative")]), at_home);
        assert_eq!(
            file(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]),
            Some(PathBuf::from("/x/wordfreq/wordfreq.toml"))
        );
        assert_eq!(file(&[]), None);
    }
}
