//! `wordfreq fleet`: how the fleet of `up` stands, what was done to it and why, whether or not `up` runs at the moment.
//! Reads only what the scaler has put down; the live view of the same is `top`.

use anyhow::bail;
use serde::Serialize;
use wordfreq_core::scaling::{InstanceState, Moment};
use wordfreq_pipeline::Timestamp;
use wordfreq_pipeline::embedded::{Embedded, IfMissing, Lock, Sizing};
use wordfreq_pipeline::fleet::Member;

use super::results::shown_time;
use crate::cli::{FleetArgs, FleetCommand};
use crate::config::{BackendName, Config};
use crate::data_directory;
use crate::exit::{Exit, UsageError};
use crate::output::{self, Cell, Format, Listing, Style};

/// Prints what is asked for.
pub fn run(args: &FleetArgs, config: &Config) -> anyhow::Result<Exit> {
    let style = args.command.output().format.style();
    let embedded = open(config)?;
    let Some(sizing) = embedded.history.sizing()? else {
        let directory = embedded.directory().display();
        bail!("no fleet has run on {directory} yet: start one with `wordfreq up --data-dir {directory}`");
    };
    match &args.command {
        FleetCommand::Status(_) => status(&embedded, &sizing, style)?,
        FleetCommand::Activity { newest, .. } => activity(&embedded, newest.limit(), style)?,
        FleetCommand::Alarms { history: true, newest, .. } => transitions(&embedded, newest.limit(), style)?,
        FleetCommand::Alarms { newest, .. } if newest.is_given() => {
            return Err(UsageError(
                "--top and --all are about what happened: add --history, or drop them".into(),
            )
            .into());
        }
        FleetCommand::Alarms { .. } => alarms(&sizing, style)?,
    }
    Ok(Exit::Done)
}

/// Opens the data directory of the fleet that is to be looked at.
pub(super) fn open(config: &Config) -> anyhow::Result<Embedded> {
    if config.backend.value == BackendName::Aws {
        return Err(UsageError(
            "on AWS the fleet is an EC2 Auto Scaling group: look at it there, with `aws autoscaling \
             describe-scaling-activities` and `aws cloudwatch describe-alarms`, or name a data directory with --data-dir"
                .into(),
        )
        .into());
    }
    Ok(data_directory::open(config, IfMissing::Refuse)?)
}

/// Whether an `up` runs on the data directory.
pub(super) fn up_runs(embedded: &Embedded) -> anyhow::Result<bool> {
    Ok(Lock::is_taken(&embedded.directory().join(super::up::LOCK_FILE))?)
}

/// The fleet as one JSON object.
#[derive(Serialize)]
struct Status<'a> {
    plan: &'a str,
    min: u32,
    max: u32,
    desired: u32,
    in_service: usize,
    pending: usize,
    terminating: usize,
    running: bool,
    /// How long an instance works on a document, once it was measured.
    service_seconds: Option<f64>,
    at: Cell,
    time_scale: f64,
    #[serde(flatten)]
    instances: Listing<9>,
}

fn status(embedded: &Embedded, sizing: &Sizing, style: Style) -> anyhow::Result<()> {
    let members = embedded.history.members()?;
    let count = |state| members.iter().filter(|member| member.instance.state == state).count();
    let running = up_runs(embedded)?;
    let bounds = sizing.state.scheduled.unwrap_or(sizing.bounds);
    let status = Status {
        plan: &sizing.plan,
        min: bounds.min,
        max: bounds.max,
        desired: sizing.state.desired,
        in_service: count(InstanceState::InService),
        pending: count(InstanceState::Pending),
        terminating: count(InstanceState::Terminating),
        running,
        service_seconds: sizing.service.map(|service| service.as_secs_f64()),
        at: shown_moment(sizing.at),
        time_scale: sizing.scale,
        instances: instances(&members, running),
    };
    output::to_stdout(|out| match style.format {
        Format::Json => output::write_json(out, &status),
        _ => output::write_listing(out, &status.instances, style),
    })?;
    if style.format == Format::Table {
        let Status { plan, min, max, desired, in_service, pending, terminating, .. } = status;
        output::remark(format!(
            "plan {plan}, {min} to {max} instances: {desired} desired, {in_service} in service, {pending} pending, \
             {terminating} terminating"
        ));
        if !status.running {
            let at = Timestamp::from(sizing.at).to_rfc3339();
            output::remark(format!("`wordfreq up` does not run: this is how its fleet stood at {at}"));
        }
    }
    Ok(())
}

fn instances(members: &[Member], running: bool) -> Listing<9> {
    let mut listing = Listing::new(
        "instances",
        ["id", "state", "health", "process", "launched_at", "in_service_since", "held", "documents", "note"],
    );
    for Member { instance, process, held, documents, note, .. } in members {
        listing.push([
            instance.id.as_str().into(),
            instance.state.as_str().into(),
            match (running, instance.healthy) {
                // Nobody has looked since.
                (false, _) => "Unknown",
                (true, true) => "Healthy",
                (true, false) => "Unhealthy",
            }
            .into(),
            process.map(u64::from).into(),
            shown_moment(instance.launched_at),
            instance.in_service_at.map(shown_moment).unwrap_or(Cell::Missing),
            (*held).into(),
            (*documents).into(),
            note.as_deref().into(),
        ]);
    }
    listing
}

fn activity(embedded: &Embedded, limit: usize, style: Style) -> anyhow::Result<()> {
    // One more than is printed tells whether there are more.
    let mut found = embedded.history.activities(limit.saturating_add(1))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let mut listing = Listing::new(
        "activities",
        ["status", "started_at", "ended_at", "instance", "description", "message", "cause"],
    );
    for kept in found {
        listing.push([
            kept.status.as_str().into(),
            shown_moment(kept.activity.at),
            kept.ended_at.map(shown_moment).unwrap_or(Cell::Missing),
            kept.activity.instance.into(),
            kept.activity.description.into(),
            kept.activity.message.into(),
            kept.activity.cause.into(),
        ]);
    }
    print_newest(&listing, style, more)
}

fn transitions(embedded: &Embedded, limit: usize, style: Style) -> anyhow::Result<()> {
    let mut found = embedded.history.transitions(limit.saturating_add(1))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let mut listing = Listing::new("transitions", ["at", "alarm", "from", "to", "value", "reason"]);
    for transition in found {
        listing.push([
            shown_moment(transition.at),
            transition.alarm.into(),
            transition.from.as_str().into(),
            transition.to.as_str().into(),
            transition.value.into(),
            transition.reason.into(),
        ]);
    }
    print_newest(&listing, style, more)
}

fn alarms(sizing: &Sizing, style: Style) -> anyhow::Result<()> {
    let mut listing = Listing::new("alarms", ["name", "state", "since", "value", "rule", "reason"]);
    for (rule, status) in sizing.rules.iter().zip(&sizing.state.alarms) {
        listing.push([
            status.name.as_str().into(),
            status.state.as_str().into(),
            status.since.map(shown_moment).unwrap_or(Cell::Missing),
            status.value.into(),
            rule.condition.as_str().into(),
            status.reason.as_str().into(),
        ]);
    }
    output::to_stdout(|out| output::write_listing(out, &listing, style))
}

fn print_newest<const N: usize>(listing: &Listing<N>, style: Style, more: bool) -> anyhow::Result<()> {
    output::to_stdout(|out| output::write_listing(out, listing, style))?;
    if more {
        output::remark("there are older ones: --top N or --all prints them");
    }
    Ok(())
}

fn shown_moment(moment: Moment) -> Cell {
    shown_time(moment.into())
}
