//! What Prometheus asks for: names and units by its conventions, in the text format of OpenMetrics.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use wordfreq_core::scaling::{AlarmState, InstanceState};
use wordfreq_pipeline::embedded::Settled;

use super::App;
use super::access::MayRead;
use super::problem::Problem;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    alarm: String,
    state: String,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Service {
    /// The S3 endpoint.
    S3,
    /// The API and the page.
    Api,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    service: Service,
    method: &'static str,
    code: u16,
}

/// How many requests were answered, and how.
#[derive(Debug, Default)]
pub struct Requests(Family<RequestLabels, Counter>);

impl Requests {
    /// Counts one. Methods that nobody has heard of are one.
    pub(super) fn count(&self, service: Service, method: &Method, status: StatusCode) {
        let known = [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE, Method::OPTIONS];
        let names = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"];
        let method = known.iter().zip(names).find(|(known, _)| *known == method);
        let method = method.map_or("other", |(_, name)| name);
        self.0.get_or_create(&RequestLabels { service, method, code: status.as_u16() }).inc();
    }
}

fn by_state<const N: usize>(states: [(&str, u64); N]) -> Family<StateLabel, Gauge> {
    let family = Family::<StateLabel, Gauge>::default();
    for (state, number) in states {
        family
            .get_or_create(&StateLabel { state: state.to_owned() })
            .set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    family
}

/// The state of queue, documents and fleet, for Prometheus.
#[cfg_attr(test, utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, content((String = "application/openmetrics-text"))),
)))]
pub(super) async fn metrics(_: MayRead, State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let (queue, settled, fleet, buckets) = app
        .look(|embedded| {
            let catalogue = &embedded.catalogue;
            Ok((
                catalogue.queue()?,
                catalogue.settled_since(Settled::default(), 0)?,
                catalogue.fleet()?,
                catalogue.buckets()?,
            ))
        })
        .await?;
    let mut registry = Registry::with_prefix("wordfreq");
    let gauge = |number: u64| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
    let counter = |number: u64| ConstCounter::new(number);
    registry.register("build", "The program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    let (depth, throughput) = queue;
    registry.register(
        "queue_messages",
        "Messages that are no dead letters",
        by_state([("visible", depth.visible), ("in_flight", depth.in_flight), ("delayed", depth.delayed)]),
    );
    registry.register("queue_dead_letters", "Messages that were given up", gauge(depth.dead_letters));
    let oldest = depth.oldest_age.map_or(0.0, |age| age.as_secs_f64());
    registry.register_with_unit(
        "queue_oldest_message_age",
        "Age of the oldest message that is no dead letter, 0 if there is none",
        Unit::Seconds,
        ConstGauge::<f64>::new(oldest),
    );
    registry.register("queue_messages_sent", "Messages sent", counter(throughput.sent));
    registry.register(
        "queue_messages_received",
        "How often a message was received",
        counter(throughput.received),
    );
    registry.register("queue_messages_deleted", "Messages done with", counter(throughput.deleted));
    registry.register(
        "documents",
        "Documents in all buckets",
        gauge(buckets.iter().map(|bucket| bucket.documents).sum()),
    );
    registry.register_with_unit(
        "documents_size",
        "Size of all documents",
        Unit::Bytes,
        gauge(buckets.iter().map(|bucket| bucket.bytes).sum()),
    );
    registry.register(
        "documents_counted",
        "Documents that have a result of the profile in force",
        gauge(settled.counted),
    );
    let members = |state| fleet.members.iter().filter(|member| member.instance.state == state).count() as u64;
    let states = [InstanceState::Pending, InstanceState::InService, InstanceState::Terminating];
    registry.register(
        "fleet_instances",
        "Instances of the fleet",
        by_state(states.map(|state| (state.as_str(), members(state)))),
    );
    if let Some(sizing) = &fleet.sizing {
        let bounds = fleet.bounds_by_hand.unwrap_or(sizing.state.scheduled.unwrap_or(sizing.bounds));
        registry.register(
            "fleet_desired_instances",
            "How many there should be",
            gauge(sizing.state.desired.into()),
        );
        registry.register("fleet_min_instances", "The fewest there may be", gauge(bounds.min.into()));
        registry.register("fleet_max_instances", "The most there may be", gauge(bounds.max.into()));
        let alarms = Family::<AlarmLabels, Gauge>::default();
        for alarm in &sizing.state.alarms {
            for state in [AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData] {
                let labels = AlarmLabels { alarm: alarm.name.clone(), state: state.as_str().to_owned() };
                alarms.get_or_create(&labels).set(i64::from(alarm.state == state));
            }
        }
        registry.register("fleet_alarm_state", "1 for the state that an alarm is in", alarms);
    }
    registry.register("http_requests", "Requests answered", app.requests.0.clone());
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        Problem::internal()
    })?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
