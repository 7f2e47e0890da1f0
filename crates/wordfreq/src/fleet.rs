//! From the resolved configuration to how the fleet is sized and how its workers are launched. Not here: the sizing
//! (`wordfreq_pipeline::scale`) and the processes (`wordfreq_pipeline::embedded`).

use std::ffi::OsString;

use anyhow::Context as _;
use wordfreq_core::scaling::{Bounds, Plan, classic, fixed, latency};
use wordfreq_pipeline::embedded::LaunchTemplate;
use wordfreq_pipeline::scale::Sized;

use crate::cli::UpArgs;
use crate::config::{Config, Origin, Preset};
use crate::exit::UsageError;
use crate::plan_file;

/// The plan in force and what it is called.
///
/// # Errors
/// [`UsageError`] for a plan that makes no sense, or cannot be read.
pub fn sized(args: &UpArgs, config: &Config) -> Result<(String, Sized), UsageError> {
    let scaling = &config.scaling;
    let is_by_flag = matches!(scaling.preset.origin, Origin::Flag(_));
    if let (Some(path), false) = (&scaling.plan.value, is_by_flag) {
        let plan = plan_file::read(path)?;
        let plan = Plan { bounds: bounds(config, plan.bounds)?, ..plan };
        plan.validate().map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
        return Ok((plan_file::name(path).to_owned(), Sized::By(plan)));
    }
    // Who waits for the end of what is there wants all hands at once.
    let preset = match scaling.preset.explicit() {
        None if args.exit_when_idle => Preset::Fixed,
        _ => scaling.preset.value,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(1024) as u32;
    let acceptable = scaling.acceptable_latency.value;
    let sized = match preset {
        Preset::Classic => {
            let plan = classic();
            Sized::By(Plan { bounds: bounds(config, plan.bounds)?, ..plan })
        }
        Preset::Fixed => Sized::By(fixed(bounds(config, Bounds { min: 1, max: cores })?.max)),
        Preset::Latency => {
            let bounds = bounds(config, Bounds { min: 1, max: cores })?;
            match scaling.service_time.value {
                Some(service) => Sized::By(latency(acceptable, service, bounds)),
                None => Sized::ByLatency { acceptable, bounds },
            }
        }
    };
    Ok((preset.to_string(), sized))
}

/// The bounds that are set, and the plan's own where none are: they make room for a set one.
fn bounds(config: &Config, own: Bounds) -> Result<Bounds, UsageError> {
    let (min, max) = (config.fleet.min.value, config.fleet.max.value);
    let max = max.unwrap_or(own.max.max(min.unwrap_or(0))).max(1);
    let min = min.unwrap_or(own.min.min(max));
    Ok(Bounds { min, max })
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
    option("--memory", config.fleet.worker_memory.value.map(|bytes| bytes.to_string()));
    option("--cpus", config.fleet.worker_cpus.value.map(|cpus| cpus.to_string()));
    if let Some(work) = &args.work {
        option("--work", Some(work.clone()));
        option("--work-seed", Some(args.work_seed.to_string()));
        option("--time-scale", Some(args.time_scale.to_string()));
    }
    Ok(LaunchTemplate {
        program: std::env::current_exe().context("cannot find this program's own file")?,
        arguments,
        environment: Vec::new(),
        grace: config.fleet.grace.value,
        protect: config.fleet.protect.value,
    })
}
