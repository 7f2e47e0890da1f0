//! From the resolved configuration to how the fleet is sized and how its workers are launched. Not here: the sizing
//! (`wordfreq_pipeline::scale`) and the processes (`wordfreq_pipeline::embedded`).

use std::cmp::Ordering;
use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use wordfreq_core::scaling::{Bounds, Plan, classic, fixed, latency};
use wordfreq_pipeline::embedded::LaunchTemplate;
use wordfreq_pipeline::scale::Sized;

use crate::cli::UpArgs;
use crate::config::{Config, Origin, Preset, Sourced};
use crate::exit::UsageError;
use crate::plan_file;

/// A fleet of more is a slip.
const MOST_WORKERS: u32 = 1024;

/// The plan in force and what it is called.
///
/// # Errors
/// [`UsageError`] for a plan that makes no sense or cannot be read, and for settings that have no effect together.
pub fn sized(args: &UpArgs, config: &Config) -> Result<(String, Sized), UsageError> {
    let scaling = &config.scaling;
    if let Some(path) = plan_in_force(config)? {
        refuse_latency_flags(config, "a plan of a file")?;
        let plan = plan_file::read(path)?;
        let plan = Plan { bounds: bounds(config, plan.bounds), ..plan };
        let shown = path.display();
        plan.validate().map_err(|error| UsageError(format!("{shown}: {error}")))?;
        let schedules = plan.schedules.iter().flat_map(|schedule| [schedule.max, schedule.desired]);
        if schedules.flatten().chain([plan.bounds.max]).any(|most| most > MOST_WORKERS) {
            return Err(UsageError(format!("{shown}: a fleet here has {MOST_WORKERS} workers at most")));
        }
        return Ok((plan_file::name(path).to_owned(), Sized::By(plan)));
    }
    let asks_for_latency = by_flag(&scaling.acceptable_latency) || by_flag(&scaling.service_time);
    // Who waits for the end of what is there wants all hands at once.
    let preset = match scaling.preset.explicit() {
        None if args.exit_when_idle && !asks_for_latency => Preset::Fixed,
        _ => scaling.preset.value,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(1024) as u32;
    let acceptable = scaling.acceptable_latency.value;
    let sized = match preset {
        Preset::Classic => {
            refuse_latency_flags(config, "the preset classic")?;
            let plan = classic();
            Sized::By(Plan { bounds: bounds(config, plan.bounds), ..plan })
        }
        Preset::Fixed => {
            refuse_latency_flags(config, "the preset fixed")?;
            let (min, max) = (config.fleet.min.value, config.fleet.max.value);
            if let (Some(min), Some(max), Some(_)) = (min, max, scaling.preset.explicit())
                && min != max
            {
                return Err(UsageError(format!(
                    "the preset fixed has one size, and --min is {min}, --max {max}: give --max alone"
                )));
            }
            Sized::By(fixed(max.or(min).unwrap_or(cores)))
        }
        Preset::Latency => {
            let bounds = bounds(config, Bounds { min: 1, max: cores });
            match scaling.service_time.value {
                Some(service) => Sized::By(latency(acceptable, service, bounds)),
                None => Sized::ByLatency { acceptable, bounds },
            }
        }
    };
    Ok((preset.to_string(), sized))
}

fn by_flag<T>(setting: &Sourced<T>) -> bool {
    matches!(setting.origin, Origin::Flag(_))
}

/// The plan's file, unless a preset was asked for by a stronger layer.
fn plan_in_force(config: &Config) -> Result<Option<&Path>, UsageError> {
    let (plan, preset) = (&config.scaling.plan, &config.scaling.preset);
    let Some(path) = &plan.value else { return Ok(None) };
    let strength = |origin: &Origin| match origin {
        Origin::Flag(_) => 3,
        Origin::Environment(_) => 2,
        Origin::File(_) => 1,
        Origin::Default => 0,
    };
    match strength(&plan.origin).cmp(&strength(&preset.origin)) {
        Ordering::Greater => Ok(Some(path)),
        Ordering::Less => Ok(None),
        Ordering::Equal => Err(UsageError(format!(
            "`scaling.plan` (from {}) and `scaling.preset` (from {}) exclude each other: take one out",
            plan.origin, preset.origin
        ))),
    }
}

/// What is asked for on the command line must have an effect.
fn refuse_latency_flags(config: &Config, instead: &str) -> Result<(), UsageError> {
    let scaling = &config.scaling;
    let flags = [
        ("--acceptable-latency", by_flag(&scaling.acceptable_latency)),
        ("--service-time", by_flag(&scaling.service_time)),
    ];
    match flags.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(UsageError(format!(
            "{flag} has a meaning with the preset latency only, and {instead} is in force: leave one of them out"
        ))),
        None => Ok(()),
    }
}

/// The bounds that are set, and the plan's own where none are: they make room for a set one.
fn bounds(config: &Config, own: Bounds) -> Bounds {
    let (min, max) = (config.fleet.min.value, config.fleet.max.value);
    let max = max.unwrap_or(own.max.max(min.unwrap_or(0))).max(1);
    let min = min.unwrap_or(own.min.min(max));
    Bounds { min, max }
}

/// How workers are launched.
///
/// # Errors
/// When this program's own file cannot be found.
pub fn template(args: &UpArgs, config: &Config) -> anyhow::Result<LaunchTemplate> {
    // Whatever the environment says, they work on this directory.
    let mut arguments: Vec<OsString> =
        ["worker", "--supervised", "--backend", "embedded", "--data-dir"].map(OsString::from).into();
    arguments.push(config.data_dir.value.clone().into());
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([name.into(), value.into()]);
        }
    };
    if let Some(work) = &args.work {
        option("--work", Some(work.clone()));
        option("--work-seed", Some(args.work_seed.to_string()));
        option("--time-scale", Some(args.time_scale.to_string()));
    }
    Ok(LaunchTemplate {
        program: std::env::current_exe().context("cannot find this program's own file")?,
        arguments,
        environment: Vec::new(),
        memory: config.fleet.worker_memory.value,
        cpus: config.fleet.worker_cpus.value,
        grace: config.fleet.grace.value,
        protect: config.fleet.protect.value,
    })
}
