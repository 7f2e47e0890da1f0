//! `wordfreq fleet`: how the fleet of `up` stands, what was done to it and why, whether or not `up` runs at the moment.
//! Reads only what the scaler has put down; the live view of the same is `top`.

use anyhow::bail;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wordfreq_core::scaling::{InstanceState, Moment};
use wordfreq_pipeline::Timestamp;
use wordfreq_pipeline::embedded::{Embedded, IfMissing, Lock, Sizing};
use wordfreq_pipeline::fleet::Member;

use super::results::shown_time;
use crate::cli::{FleetArgs, FleetCommand};
use crate::config::{BackendName, Config};
use crate::exit::{Exit, UsageError};
use crate::output::{self, Cell, Format, Listing, Style};
use crate::remote::Remote;
use crate::{backend, data_directory};

const INSTANCE_COLUMNS: [&str; 9] =
    ["id", "state", "health", "process", "launched_at", "in_service_since", "held", "documents", "note"];
const ACTIVITY_COLUMNS: [&str; 7] =
    ["status", "started_at", "ended_at", "instance", "description", "message", "cause"];
const TRANSITION_COLUMNS: [&str; 6] = ["at", "alarm", "from", "to", "value", "reason"];
const ALARM_COLUMNS: [&str; 6] = ["name", "state", "since", "value", "rule", "reason"];

/// Prints what is asked for.
pub fn run(args: &FleetArgs, config: &Config) -> anyhow::Result<Exit> {
    let style = args.command.output().format.style();
    if let FleetCommand::Alarms { history: false, newest, .. } = &args.command
        && newest.is_given()
    {
        return Err(UsageError(
            "--top and --all are about what happened: add --history, or drop them".into(),
        )
        .into());
    }
    if config.backend.value == BackendName::Server {
        return served(&Remote::open(config)?, &args.command, style);
    }
    let embedded = open(config)?;
    let Some(sizing) = embedded.history.sizing()? else {
        let directory = embedded.directory().display();
        bail!("no fleet has run on {directory} yet: start one with `wordfreq up --data-dir {directory}`");
    };
    match &args.command {
        FleetCommand::Status(_) => status(&embedded, &sizing, style)?,
        FleetCommand::Activity { newest, .. } => activity(&embedded, newest.limit(), style)?,
        FleetCommand::Alarms { history: true, newest, .. } => transitions(&embedded, newest.limit(), style)?,
        FleetCommand::Alarms { .. } => alarms(&sizing, style)?,
    }
    Ok(Exit::Done)
}

/// The fleet of an `up` elsewhere, as its API tells of it.
#[derive(Deserialize)]
struct Served {
    plan: String,
    min: u32,
    max: u32,
    desired: u32,
    in_service: usize,
    pending: usize,
    terminating: usize,
    running: bool,
    service_seconds: Option<f64>,
    at: String,
    time_scale: f64,
    instances: Vec<Value>,
}

/// Prints what is asked for of an `up` elsewhere.
fn served(remote: &Remote, command: &FleetCommand, style: Style) -> anyhow::Result<Exit> {
    match command {
        FleetCommand::Status(_) => {
            let served: Served = serde_json::from_value(remote.object("fleet")?)?;
            let status = Status {
                plan: &served.plan,
                min: served.min,
                max: served.max,
                desired: served.desired,
                in_service: served.in_service,
                pending: served.pending,
                terminating: served.terminating,
                running: served.running,
                service_seconds: served.service_seconds,
                at: served.at.into(),
                time_scale: served.time_scale,
                instances: listed("instances", INSTANCE_COLUMNS, INSTANCE_COLUMNS, &served.instances),
            };
            print_status(&status, style)?;
        }
        FleetCommand::Activity { newest, .. } => {
            let (found, more) = newest_of(remote, "fleet/activities", newest.limit())?;
            let listing = listed("activities", ACTIVITY_COLUMNS, ACTIVITY_COLUMNS, &found);
            print_newest(&listing, style, more)?;
        }
        FleetCommand::Alarms { history: true, newest, .. } => {
            let (found, more) = newest_of(remote, "fleet/alarms/history", newest.limit())?;
            let fields = ["at", "alarm", "old_state", "new_state", "value", "reason"];
            print_newest(&listed("transitions", TRANSITION_COLUMNS, fields, &found), style, more)?;
        }
        FleetCommand::Alarms { .. } => {
            let found = remote.objects("fleet/alarms", usize::MAX)?;
            let listing = listed("alarms", ALARM_COLUMNS, ALARM_COLUMNS, &found);
            output::to_stdout(|out| output::write_listing(out, &listing, style))?;
        }
    }
    Ok(Exit::Done)
}

/// The first items of a list, and whether there are more.
fn newest_of(remote: &Remote, path: &str, limit: usize) -> anyhow::Result<(Vec<Value>, bool)> {
    let mut found = remote.objects(path, limit.saturating_add(1))?;
    let more = found.len() > limit;
    found.truncate(limit);
    Ok((found, more))
}

/// Objects of the API as rows: a field for each column.
fn listed<const N: usize>(
    name: &'static str,
    columns: [&'static str; N],
    fields: [&str; N],
    items: &[Value],
) -> Listing<N> {
    let mut listing = Listing::new(name, columns);
    for item in items {
        listing.push(fields.map(|field| match &item[field] {
            Value::Null => Cell::Missing,
            Value::String(text) => text.as_str().into(),
            other => match (other.as_u64(), other.as_f64()) {
                (Some(number), _) => number.into(),
                (None, Some(number)) => number.into(),
                (None, None) => other.to_string().into(),
            },
        }));
    }
    listing
}

/// Opens the data directory of the fleet that is to be looked at.
pub(super) fn open(config: &Config) -> anyhow::Result<Embedded> {
    backend::refuse_remote(config, "top")?;
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
    print_status(&status, style)?;
    if style.format == Format::Table && !running {
        let at = Timestamp::from(sizing.at).to_rfc3339();
        output::remark(format!("`wordfreq up` does not run: this is how its fleet stood at {at}"));
    }
    Ok(())
}

fn print_status(status: &Status<'_>, style: Style) -> anyhow::Result<()> {
    output::to_stdout(|out| match style.format {
        Format::Json => output::write_json(out, status),
        _ => output::write_listing(out, &status.instances, style),
    })?;
    if style.format == Format::Table {
        let Status { plan, min, max, desired, in_service, pending, terminating, .. } = status;
        output::remark(format!(
            "plan {plan}, {min} to {max} instances: {desired} desired, {in_service} in service, {pending} pending, \
             {terminating} terminating"
        ));
    }
    Ok(())
}

fn instances(members: &[Member], running: bool) -> Listing<9> {
    let mut listing = Listing::new("instances", INSTANCE_COLUMNS);
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
    let mut listing = Listing::new("activities", ACTIVITY_COLUMNS);
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
    let mut listing = Listing::new("transitions", TRANSITION_COLUMNS);
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
    let mut listing = Listing::new("alarms", ALARM_COLUMNS);
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
