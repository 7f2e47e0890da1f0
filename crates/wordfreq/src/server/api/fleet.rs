//! The fleet: its size and instances, what was done to it and why, its alarms, its past, and bounds by hand.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use wordfreq_core::scaling::{AlarmTransition, Bounds, InstanceState, Moment};
use wordfreq_pipeline::Timestamp;
use wordfreq_pipeline::embedded::{AlarmRule, Embedded, FleetView, KeptActivity, Look, MOST_INSTANCES};
use wordfreq_pipeline::fleet::Member;

use super::input::{Body, Params};
use super::listing::{self, NoFilter, Paged};
use crate::server::App;
use crate::server::access::{MayAdminister, MayRead};
use crate::server::problem::Problem;

const DEFAULT_MINUTES: u32 = 60;
/// As long as observations are kept: 15 days.
const MAX_MINUTES: u32 = 15 * 24 * 60;
const DEFAULT_POINTS: u32 = 300;
const MAX_POINTS: u32 = 2000;

/// How the fleet stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct FleetStatus {
    /// The plan's name: a preset, or a file.
    plan: String,
    /// The fewest instances.
    min: u32,
    /// The most instances.
    max: u32,
    /// How many there should be.
    desired: u32,
    in_service: usize,
    pending: usize,
    terminating: usize,
    /// Whether somebody sees to it.
    running: bool,
    /// How long an instance works on a document, once that was measured.
    service_seconds: Option<f64>,
    /// When this was put down.
    #[cfg_attr(test, schema(format = DateTime))]
    at: String,
    /// How many times as fast as time the fleet's clock goes.
    time_scale: f64,
    /// Whether the bounds were set by hand, over those of the plan.
    bounds_set_by_hand: bool,
    instances: Vec<Instance>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Instance {
    id: String,
    /// Pending, InService or Terminating.
    state: String,
    /// Healthy or Unhealthy.
    health: &'static str,
    /// Its process.
    process: Option<u32>,
    #[cfg_attr(test, schema(format = DateTime))]
    launched_at: String,
    #[cfg_attr(test, schema(format = DateTime))]
    in_service_since: Option<String>,
    /// Messages it works on.
    held: u64,
    /// Messages it is done with.
    documents: u64,
    /// What there is to say of it.
    note: Option<String>,
}

fn shown(moment: Moment) -> String {
    Timestamp::from(moment).to_rfc3339()
}

impl From<&Member> for Instance {
    fn from(member: &Member) -> Self {
        let Member { instance, process, held, documents, note, .. } = member;
        Self {
            id: instance.id.clone(),
            state: instance.state.as_str().to_owned(),
            health: if instance.healthy { "Healthy" } else { "Unhealthy" },
            process: *process,
            launched_at: shown(instance.launched_at),
            in_service_since: instance.in_service_at.map(shown),
            held: *held,
            documents: *documents,
            note: note.clone(),
        }
    }
}

impl FleetStatus {
    /// `None` before the scaler has begun.
    pub(crate) fn new(view: &FleetView) -> Option<Self> {
        let FleetView { sizing, bounds_by_hand, members } = view;
        let sizing = sizing.as_ref()?;
        let count = |state| members.iter().filter(|member| member.instance.state == state).count();
        // What was set by hand is in force from the scaler's next pass on.
        let Bounds { min, max } = bounds_by_hand.unwrap_or(sizing.state.scheduled.unwrap_or(sizing.bounds));
        Some(Self {
            plan: sizing.plan.clone(),
            min,
            max,
            desired: sizing.state.desired,
            in_service: count(InstanceState::InService),
            pending: count(InstanceState::Pending),
            terminating: count(InstanceState::Terminating),
            running: true,
            service_seconds: sizing.service.map(|service| service.as_secs_f64()),
            at: shown(sizing.at),
            time_scale: sizing.scale,
            bounds_set_by_hand: bounds_by_hand.is_some(),
            instances: members.iter().map(Instance::from).collect(),
        })
    }
}

fn not_begun() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not-ready",
        "the fleet has not begun yet: try again in a moment",
    )
    .retry_after(Duration::from_secs(1))
}

/// What the present scaler has put down; what is there before it has begun is its predecessor's.
async fn view(app: &Arc<App>) -> Result<FleetView, Problem> {
    app.waker.since_last_pass().ok_or_else(not_begun)?;
    app.blocking(|embedded| embedded.catalogue.fleet()).await
}

async fn fleet(app: &Arc<App>) -> Result<FleetStatus, Problem> {
    FleetStatus::new(&view(app).await?).ok_or_else(not_begun)
}

/// Tells how the fleet stands.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/fleet", tag = "fleet", responses((status = 200, body = FleetStatus))))]
pub(super) async fn status(_: MayRead, State(app): State<Arc<App>>) -> Result<Json<FleetStatus>, Problem> {
    Ok(Json(fleet(&app).await?))
}

/// The sizes the fleet may have.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct BoundsRequest {
    /// The fewest instances.
    #[cfg_attr(test, schema(maximum = 1024))]
    min: u32,
    /// The most instances.
    #[cfg_attr(test, schema(maximum = 1024))]
    max: u32,
}

/// Sets the bounds by hand, over those of the plan, until `up` ends in order or a scheduled action sets others.
#[cfg_attr(test, utoipa::path(put, path = "/api/v1/fleet/bounds", tag = "fleet", request_body = BoundsRequest, responses(
    (status = 200, body = FleetStatus),
)))]
pub(super) async fn set_bounds(
    _: MayAdminister,
    State(app): State<Arc<App>>,
    Body(BoundsRequest { min, max }): Body<BoundsRequest>,
) -> Result<Json<FleetStatus>, Problem> {
    if min > max || max > MOST_INSTANCES {
        return Err(Problem::bad_request(format!(
            "min {min} and max {max} make no sense: use 0 to {MOST_INSTANCES}, and a min that is not above max"
        )));
    }
    app.blocking(move |embedded| embedded.history.set_bounds(Some(Bounds { min, max }))).await?;
    app.waker.bounds();
    Ok(Json(fleet(&app).await?))
}

/// Something done to an instance.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Activity))]
pub(crate) struct ActivityItem {
    /// InProgress, Successful or Failed.
    status: &'static str,
    #[cfg_attr(test, schema(format = DateTime))]
    started_at: String,
    #[cfg_attr(test, schema(format = DateTime))]
    ended_at: Option<String>,
    instance: String,
    description: String,
    message: Option<String>,
    /// Why, in whole sentences.
    cause: String,
}

const ACTIVITY_COLUMNS: &[&str] =
    &["status", "started_at", "ended_at", "instance", "description", "message", "cause"];

impl From<KeptActivity> for ActivityItem {
    fn from(kept: KeptActivity) -> Self {
        let KeptActivity { activity, ended_at, status } = kept;
        Self {
            status: status.as_str(),
            started_at: shown(activity.at),
            ended_at: ended_at.map(shown),
            instance: activity.instance,
            description: activity.description,
            message: activity.message,
            cause: activity.cause,
        }
    }
}

/// Lists what was done to instances, newest first.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/fleet/activities", tag = "fleet", params(listing::PageParams), responses(
    (status = 200, content(
        (listing::ItemsPage<ActivityItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn activities(
    _: MayRead,
    State(app): State<Arc<App>>,
    Paged(want, NoFilter {}): Paged<NoFilter>,
) -> Result<Response, Problem> {
    let fetch = |embedded: &Embedded, before: Option<i64>, limit: usize| {
        Ok(embedded.catalogue.activities(before, limit)?.map(|(_, activity)| ActivityItem::from(activity)))
    };
    listing::answer(app, want, "activities", ACTIVITY_COLUMNS, fetch).await
}

/// An alarm, and how it stands.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Alarm {
    name: String,
    /// OK, ALARM or INSUFFICIENT_DATA.
    state: String,
    #[cfg_attr(test, schema(format = DateTime))]
    since: Option<String>,
    /// The newest value of its metric.
    value: Option<f64>,
    /// What that is held against.
    threshold: f64,
    /// What it watches, by CloudWatch's name.
    metric: String,
    /// The whole rule.
    rule: String,
    /// Why it stands so.
    reason: String,
    /// Whether it is on while its metric is high.
    is_upper: bool,
}

/// The alarms.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Alarms {
    items: Vec<Alarm>,
}

/// Lists the alarms.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/fleet/alarms", tag = "fleet", responses((status = 200, body = Alarms))))]
pub(super) async fn alarms(_: MayRead, State(app): State<Arc<App>>) -> Result<Json<Alarms>, Problem> {
    let sizing = view(&app).await?.sizing.ok_or_else(not_begun)?;
    let alarm = |(rule, status): (AlarmRule, wordfreq_core::scaling::AlarmStatus)| Alarm {
        name: status.name,
        state: status.state.as_str().to_owned(),
        since: status.since.map(shown),
        value: status.value,
        threshold: rule.threshold,
        metric: rule.metric,
        rule: rule.condition,
        reason: status.reason,
        is_upper: rule.is_upper,
    };
    Ok(Json(Alarms { items: sizing.rules.into_iter().zip(sizing.state.alarms).map(alarm).collect() }))
}

/// An alarm's change of state.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = AlarmTransition))]
pub(crate) struct TransitionItem {
    #[cfg_attr(test, schema(format = DateTime))]
    at: String,
    alarm: String,
    old_state: String,
    new_state: String,
    reason: String,
    value: Option<f64>,
}

const TRANSITION_COLUMNS: &[&str] = &["at", "alarm", "old_state", "new_state", "reason", "value"];

impl From<AlarmTransition> for TransitionItem {
    fn from(transition: AlarmTransition) -> Self {
        let AlarmTransition { at, alarm, from, to, reason, value } = transition;
        let (old_state, new_state) = (from.as_str().to_owned(), to.as_str().to_owned());
        Self { at: shown(at), alarm, old_state, new_state, reason, value }
    }
}

/// Lists the changes of alarms' states, newest first.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/fleet/alarms/history", tag = "fleet", params(listing::PageParams), responses(
    (status = 200, content(
        (listing::ItemsPage<TransitionItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )),
)))]
pub(super) async fn alarm_history(
    _: MayRead,
    State(app): State<Arc<App>>,
    Paged(want, NoFilter {}): Paged<NoFilter>,
) -> Result<Response, Problem> {
    let fetch = |embedded: &Embedded, before: Option<i64>, limit: usize| {
        let page = embedded.catalogue.transitions(before, limit)?;
        Ok(page.map(|(_, transition)| TransitionItem::from(transition)))
    };
    listing::answer(app, want, "alarm-history", TRANSITION_COLUMNS, fetch).await
}

/// How much of the past.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub(super) struct MetricsParams {
    /// The last so many minutes, by the fleet's clock.
    #[cfg_attr(test, param(minimum = 1, maximum = 21_600, default = 60))]
    minutes: Option<u32>,
    /// As at most so many points. Of looks that become one point, sizes keep their peak and what passed through adds up.
    #[cfg_attr(test, param(minimum = 1, maximum = 2000, default = 300))]
    points: Option<u32>,
}

/// How queue and fleet stood.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct MetricsPoint {
    #[cfg_attr(test, schema(format = DateTime))]
    at: String,
    visible: u64,
    in_flight: u64,
    delayed: u64,
    oldest_age_seconds: Option<f64>,
    /// Since the point before.
    sent: u64,
    /// Since the point before.
    received: u64,
    /// Since the point before.
    deleted: u64,
    in_service: u32,
    desired: u32,
}

impl From<Look> for MetricsPoint {
    fn from(look: Look) -> Self {
        let Look { observation, desired } = look;
        Self {
            at: shown(observation.at),
            visible: observation.visible,
            in_flight: observation.not_visible,
            delayed: observation.delayed,
            oldest_age_seconds: observation.oldest_age.map(|age| age.as_secs_f64()),
            sent: observation.sent,
            received: observation.received,
            deleted: observation.deleted,
            in_service: observation.in_service,
            desired,
        }
    }
}

/// The past of queue and fleet.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct MetricsHistory {
    /// Oldest first.
    items: Vec<MetricsPoint>,
}

/// The past of queue and fleet, as the scaler saw it.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/fleet/metrics", tag = "fleet", params(MetricsParams), responses(
    (status = 200, body = MetricsHistory),
)))]
pub(super) async fn metrics(
    _: MayRead,
    State(app): State<Arc<App>>,
    Params(params): Params<MetricsParams>,
) -> Result<Json<MetricsHistory>, Problem> {
    let minutes = params.minutes.unwrap_or(DEFAULT_MINUTES);
    let points = params.points.unwrap_or(DEFAULT_POINTS);
    if !(1..=MAX_MINUTES).contains(&minutes) || !(1..=MAX_POINTS).contains(&points) {
        return Err(Problem::bad_request(format!(
            "minutes must be 1 to {MAX_MINUTES}, and points 1 to {MAX_POINTS}"
        )));
    }
    let looks = app
        .look(move |embedded| {
            // By the scaler's clock, which may go faster than ours.
            let now = embedded.catalogue.fleet()?.sizing.map_or(Moment::ZERO, |sizing| sizing.at);
            let since = now.saturating_sub(Duration::from_secs(60) * minutes);
            embedded.catalogue.looks(since, points as usize)
        })
        .await?;
    Ok(Json(MetricsHistory { items: looks.into_iter().map(MetricsPoint::from).collect() }))
}
