//! What a fleet's scaler saw, found and did, kept in the data directory for those who look and for the next scaler. Each
//! kind of record is kept for a bounded time and a bounded number. Not here: the scaler (`scale`), and every printed form.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wordfreq_core::scaling::{
    Alarm, AlarmState, AlarmTransition, Bounds, Instance, InstanceState, Moment, Observation, ScalerState,
    UnknownWord,
};

use super::database::Database;
use crate::error::{BackendError, ErrorKind};
use crate::fleet::{ActivityStatus, Member};
use crate::time::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// As long as CloudWatch keeps datapoints of a minute.
const OBSERVATIONS_KEPT: Duration = DAY.saturating_mul(15);
/// As long as CloudWatch keeps the history of an alarm.
const TRANSITIONS_KEPT: Duration = DAY.saturating_mul(30);
/// As long as Auto Scaling keeps activities: six weeks.
const ACTIVITIES_KEPT: Duration = DAY.saturating_mul(42);

/// The most rows of each, however quickly they come. Two weeks of observations every ten seconds are 129,600.
const OBSERVATIONS_AT_MOST: u64 = 150_000;
const EVENTS_AT_MOST: u64 = 20_000;

/// A fleet of more is a slip.
pub const MOST_INSTANCES: u32 = 1024;

/// How a fleet is sized, as its scaler last left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizing {
    /// What the plan is called: a preset, or a file.
    pub plan: String,
    /// The sizes the fleet may have.
    pub bounds: Bounds,
    /// The rule of each alarm, in the order of the alarms of `state`.
    pub rules: Vec<AlarmRule>,
    /// All that the scaler remembers, the size and the state of each alarm among it.
    pub state: ScalerState,
    /// How long an instance works on a document, if that is known by measure.
    pub service: Option<Duration>,
    /// When this was written, by the scaler's clock.
    pub at: Moment,
    /// When this was written, by the wall clock.
    pub wall: i64,
    /// How many times as fast as time the scaler's clock goes.
    pub scale: f64,
}

/// An alarm's rule, for those who look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmRule {
    /// The alarm's name.
    pub name: String,
    /// What it watches, by CloudWatch's name.
    pub metric: String,
    /// What it is held against.
    pub threshold: f64,
    /// The whole rule, such as "Average ApproximateNumberOfMessagesVisible GreaterThanThreshold 50, 1 of 1 of 60s".
    pub condition: String,
    /// Whether the alarm is on while its metric is high.
    #[serde(default)]
    pub is_upper: bool,
}

impl AlarmRule {
    /// The rule of an alarm.
    pub fn of(alarm: &Alarm) -> Self {
        let Alarm { name, metric, statistic, operator, threshold, period, .. } = alarm;
        Self {
            name: name.clone(),
            metric: metric.to_string(),
            threshold: *threshold,
            condition: format!(
                "{statistic} {metric} {operator} {threshold}, {} of {} of {} s",
                alarm.datapoints_to_alarm,
                alarm.evaluation_periods,
                period.as_secs()
            ),
            is_upper: operator.is_upper(),
        }
    }
}

/// What is new since the last record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// A look at queue and fleet.
    pub look: Option<Look>,
    /// Alarms that changed their state.
    pub transitions: Vec<AlarmTransition>,
    /// Activities that began.
    pub activities: Vec<NewActivity>,
    /// Activities that ended, those among the above too.
    pub ends: Vec<End>,
}

/// The end of the activities in progress of one kind on one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Which instance.
    pub instance: String,
    /// Which kind.
    pub kind: Deed,
    /// When.
    pub at: Moment,
    /// How.
    pub status: ActivityStatus,
    /// What there is to say.
    pub message: Option<String>,
}

/// How queue and fleet stood at one look, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// What was measured.
    pub observation: Observation,
    /// How many instances there should have been.
    pub desired: u32,
}

/// An activity that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewActivity {
    /// When it began.
    pub at: Moment,
    /// Which instance.
    pub instance: String,
    /// What is done to it.
    pub kind: Deed,
    /// What is done, in words.
    pub description: String,
    /// Why, in whole sentences.
    pub cause: String,
    /// What else there is to say.
    pub message: Option<String>,
}

/// What is done to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// It is launched.
    Launch,
    /// It is asked to go.
    Terminate,
}

impl Deed {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "Launch",
            Self::Terminate => "Terminate",
        }
    }
}

/// An activity as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptActivity {
    /// What and why.
    pub activity: NewActivity,
    /// When it was done, or came to nothing.
    pub ended_at: Option<Moment>,
    /// How it stands.
    pub status: ActivityStatus,
}

/// The history of the fleet of one data directory.
#[derive(Debug)]
pub struct History {
    database: Arc<Database>,
}

fn bad(what: impl std::fmt::Display) -> BackendError {
    BackendError::new(ErrorKind::Corrupt, format!("the history of the fleet cannot be read: {what}"))
}

fn ms(moment: Moment) -> i64 {
    Timestamp::from(moment).0
}

fn moment(row: &Row<'_>, column: &str) -> rusqlite::Result<Moment> {
    row.get(column).map(|at| Timestamp(at).into())
}

fn maybe_moment(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Moment>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|at| Timestamp(at).into()))
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

impl History {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// How the fleet is sized; `None` if there never was a scaler.
    pub fn sizing(&self) -> Result<Option<Sizing>, BackendError> {
        self.database.read(sizing)
    }

    /// The bounds that somebody has set by hand, over those of the plan, if anybody has.
    pub fn bounds_by_hand(&self) -> Result<Option<Bounds>, BackendError> {
        self.database.read(bounds_by_hand)
    }

    /// Sets the bounds by hand, or, by `None`, goes back to the plan's. The scaler takes them with its next pass.
    ///
    /// # Errors
    /// `Invalid` if the fewest are more than the most, or the most more than [`MOST_INSTANCES`].
    pub fn set_bounds(&self, bounds: Option<Bounds>) -> Result<(), BackendError> {
        if let Some(Bounds { min, max }) = bounds
            && (min > max || max > MOST_INSTANCES)
        {
            return Err(BackendError::new(
                ErrorKind::Invalid,
                format!(
                    "a fleet of {min} to {max} instances makes no sense: use 0 to {MOST_INSTANCES}, and a min that is \
                     not above max"
                ),
            ));
        }
        let json = bounds.map(|bounds| serde_json::to_string(&bounds).map_err(bad)).transpose()?;
        self.database.write(|transaction| match json {
            Some(json) => put_setting(transaction, BOUNDS_BY_HAND, &json),
            None => {
                transaction
                    .prepare_cached("DELETE FROM settings WHERE name = ?1")?
                    .execute([BOUNDS_BY_HAND])?;
                Ok(())
            }
        })
    }

    /// Puts down how the fleet is sized, and what is due with it, all or nothing.
    pub fn record(&self, sizing: &Sizing, members: &[Member], news: &News) -> Result<(), BackendError> {
        let json = serde_json::to_string(sizing).map_err(bad)?;
        let News { look, transitions, activities, ends } = news;
        self.database.write(|transaction| {
            put_setting(transaction, SIZING, &json)?;
            if let Some(look) = look {
                insert_look(transaction, look)?;
                forget(
                    transaction,
                    "fleet_observations",
                    "at",
                    sizing.at,
                    OBSERVATIONS_KEPT,
                    OBSERVATIONS_AT_MOST,
                )?;
            }
            transitions.iter().try_for_each(|transition| insert_transition(transaction, transition))?;
            if !transitions.is_empty() {
                forget(transaction, "fleet_transitions", "at", sizing.at, TRANSITIONS_KEPT, EVENTS_AT_MOST)?;
            }
            activities.iter().try_for_each(|activity| insert_activity(transaction, activity))?;
            if !activities.is_empty() {
                forget(
                    transaction,
                    "fleet_activities",
                    "started_at",
                    sizing.at,
                    ACTIVITIES_KEPT,
                    EVENTS_AT_MOST,
                )?;
            }
            ends.iter().try_for_each(|end| end_activity(transaction, end))?;
            replace_members(transaction, members)
        })
    }

    /// The instances as they were last put down, in the order of their launches.
    pub fn members(&self) -> Result<Vec<Member>, BackendError> {
        self.database.read(members)
    }

    /// The newest activities, at most so many, newest first.
    pub fn activities(&self, most: usize) -> Result<Vec<KeptActivity>, BackendError> {
        let numbered = self.database.read(|transaction| activities(transaction, None, most))?;
        Ok(numbered.into_iter().map(|(_, activity)| activity).collect())
    }

    /// The newest changes of alarms' states, at most so many, newest first.
    pub fn transitions(&self, most: usize) -> Result<Vec<AlarmTransition>, BackendError> {
        let numbered = self.database.read(|transaction| transitions(transaction, None, most))?;
        Ok(numbered.into_iter().map(|(_, transition)| transition).collect())
    }

    /// The looks of the last time, in their order.
    pub fn looks(&self, since: Moment) -> Result<Vec<Look>, BackendError> {
        let mut looks = Vec::new();
        self.database.read(|transaction| visit_looks(transaction, since, |look| looks.push(look)))?;
        Ok(looks)
    }
}

const SIZING: &str = "fleet";
const BOUNDS_BY_HAND: &str = "fleet_bounds";

fn put_setting(transaction: &Transaction<'_>, name: &str, json: &str) -> Result<(), BackendError> {
    transaction
        .prepare_cached(
            "INSERT INTO settings VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([name, json])?;
    Ok(())
}

fn setting<T: DeserializeOwned>(
    transaction: &Transaction<'_>,
    name: &str,
) -> Result<Option<T>, BackendError> {
    let json: Option<String> = transaction
        .prepare_cached("SELECT value FROM settings WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    json.map(|json| serde_json::from_str(&json).map_err(bad)).transpose()
}

pub(super) fn sizing(transaction: &Transaction<'_>) -> Result<Option<Sizing>, BackendError> {
    setting(transaction, SIZING)
}

pub(super) fn bounds_by_hand(transaction: &Transaction<'_>) -> Result<Option<Bounds>, BackendError> {
    setting(transaction, BOUNDS_BY_HAND)
}

pub(super) fn members(transaction: &Transaction<'_>) -> Result<Vec<Member>, BackendError> {
    transaction
        .prepare_cached("SELECT * FROM fleet_instances ORDER BY launched_at, id")?
        .query_map([], |row| {
            let held: u64 = row.get("held")?;
            let instance = Instance {
                id: row.get("id")?,
                state: InstanceState::Pending,
                launched_at: moment(row, "launched_at")?,
                in_service_at: maybe_moment(row, "in_service_at")?,
                protected: row.get("protected")?,
                busy: held > 0,
                healthy: row.get("healthy")?,
            };
            let state: String = row.get("state")?;
            let (process, documents, note) = (row.get("process")?, row.get("documents")?, row.get("note")?);
            let (worked, batch_since) = (Duration::ZERO, None);
            Ok((state, Member { instance, process, held, documents, worked, batch_since, note }))
        })?
        .map(|row| {
            let (state, mut member) = row?;
            member.instance.state = state.parse().map_err(|error: UnknownWord| bad(error))?;
            Ok(member)
        })
        .collect()
}

/// Activities with their numbers, newest first, those before number `before`.
pub(super) fn activities(
    transaction: &Transaction<'_>,
    before: Option<i64>,
    most: usize,
) -> Result<Vec<(i64, KeptActivity)>, BackendError> {
    transaction
        .prepare_cached("SELECT * FROM fleet_activities WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?
        .query_map(params![before.unwrap_or(i64::MAX), limit(most)], |row| {
            let activity = NewActivity {
                at: moment(row, "started_at")?,
                instance: row.get("instance")?,
                kind: Deed::Launch,
                description: row.get("description")?,
                cause: row.get("cause")?,
                message: row.get("message")?,
            };
            let (kind, status): (String, String) = (row.get("kind")?, row.get("status")?);
            Ok((row.get("id")?, kind, status, activity, maybe_moment(row, "ended_at")?))
        })?
        .map(|row| {
            let (id, kind, status, mut activity, ended_at) = row?;
            activity.kind = [Deed::Launch, Deed::Terminate]
                .into_iter()
                .find(|known| known.as_str() == kind)
                .ok_or_else(|| bad(format!("{kind:?} is done to no instance")))?;
            let status = ActivityStatus::ALL
                .into_iter()
                .find(|known| known.as_str() == status)
                .ok_or_else(|| bad(format!("{status:?} is no status of an activity")))?;
            Ok((id, KeptActivity { activity, ended_at, status }))
        })
        .collect()
}

/// Changes of alarms' states with their numbers, newest first, those before number `before`.
pub(super) fn transitions(
    transaction: &Transaction<'_>,
    before: Option<i64>,
    most: usize,
) -> Result<Vec<(i64, AlarmTransition)>, BackendError> {
    transaction
        .prepare_cached("SELECT * FROM fleet_transitions WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?
        .query_map(params![before.unwrap_or(i64::MAX), limit(most)], |row| {
            let (from, to): (String, String) = (row.get("old_state")?, row.get("new_state")?);
            let (at, alarm) = (moment(row, "at")?, row.get("alarm")?);
            Ok((row.get("id")?, from, to, at, alarm, row.get("reason")?, row.get("value")?))
        })?
        .map(|row| {
            let (id, from, to, at, alarm, reason, value) = row?;
            let state = |word: &str| -> Result<AlarmState, BackendError> {
                word.parse().map_err(|error: UnknownWord| bad(error))
            };
            Ok((id, AlarmTransition { at, alarm, from: state(&from)?, to: state(&to)?, reason, value }))
        })
        .collect()
}

/// Hands every look since a moment to `visit`, in their order.
pub(super) fn visit_looks(
    transaction: &Transaction<'_>,
    since: Moment,
    mut visit: impl FnMut(Look),
) -> Result<(), BackendError> {
    let mut select =
        transaction.prepare_cached("SELECT * FROM fleet_observations WHERE at >= ?1 ORDER BY at, id")?;
    let mut rows = select.query([ms(since)])?;
    while let Some(row) = rows.next()? {
        let oldest_age: Option<u64> = row.get("oldest_age_ms")?;
        visit(Look {
            observation: Observation {
                at: moment(row, "at")?,
                visible: row.get("visible")?,
                not_visible: row.get("not_visible")?,
                delayed: row.get("delayed")?,
                oldest_age: oldest_age.map(Duration::from_millis),
                sent: row.get("sent")?,
                received: row.get("received")?,
                deleted: row.get("deleted")?,
                in_service: row.get("in_service")?,
            },
            desired: row.get("desired")?,
        });
    }
    Ok(())
}

fn insert_look(transaction: &Transaction<'_>, look: &Look) -> Result<(), BackendError> {
    let Look { observation, desired } = look;
    let oldest_age = observation.oldest_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    transaction
        .prepare_cached(
            "INSERT INTO fleet_observations (at, visible, not_visible, delayed, oldest_age_ms, sent, received, deleted,
                 in_service, desired) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            ms(observation.at),
            observation.visible,
            observation.not_visible,
            observation.delayed,
            oldest_age,
            observation.sent,
            observation.received,
            observation.deleted,
            observation.in_service,
            desired
        ])?;
    Ok(())
}

fn insert_transition(
    transaction: &Transaction<'_>,
    transition: &AlarmTransition,
) -> Result<(), BackendError> {
    let AlarmTransition { at, alarm, from, to, reason, value } = transition;
    transaction
        .prepare_cached(
            "INSERT INTO fleet_transitions (at, alarm, old_state, new_state, reason, value)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![ms(*at), alarm, from.as_str(), to.as_str(), reason, value])?;
    Ok(())
}

fn insert_activity(transaction: &Transaction<'_>, activity: &NewActivity) -> Result<(), BackendError> {
    let NewActivity { at, instance, kind, description, cause, message } = activity;
    transaction
        .prepare_cached(
            "INSERT INTO fleet_activities (started_at, instance, kind, status, description, cause, message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            ms(*at),
            instance,
            kind.as_str(),
            ActivityStatus::InProgress.as_str(),
            description,
            cause,
            message
        ])?;
    Ok(())
}

fn end_activity(transaction: &Transaction<'_>, end: &End) -> Result<(), BackendError> {
    let End { instance, kind, at, status, message } = end;
    transaction
        .prepare_cached(
            "UPDATE fleet_activities SET ended_at = ?3, status = ?4, message = coalesce(?5, message)
             WHERE instance = ?1 AND kind = ?2 AND ended_at IS NULL",
        )?
        .execute(params![instance, kind.as_str(), ms(*at), status.as_str(), message])?;
    Ok(())
}

fn replace_members(transaction: &Transaction<'_>, members: &[Member]) -> Result<(), BackendError> {
    transaction.prepare_cached("DELETE FROM fleet_instances")?.execute([])?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO fleet_instances VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    for Member { instance, process, held, documents, note, .. } in members {
        insert.execute(params![
            instance.id,
            instance.state.as_str(),
            process,
            ms(instance.launched_at),
            instance.in_service_at.map(ms),
            instance.healthy,
            instance.protected,
            held,
            documents,
            note
        ])?;
    }
    Ok(())
}

/// Removes what is too old, and what is too much. The table's and the column's name are this file's own.
fn forget(
    transaction: &Transaction<'_>,
    table: &str,
    column: &str,
    now: Moment,
    keep: Duration,
    at_most: u64,
) -> Result<(), BackendError> {
    // Rows are in the order of their ids, and so is their age but for a clock that was set back.
    transaction
        .prepare_cached(&format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?1"))?
        .execute(params![at_most])?;
    // Only the oldest are looked at, so that nothing is searched for.
    transaction
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE {column} < ?1 AND id IN (SELECT id FROM {table} ORDER BY id LIMIT 100)"
        ))?
        .execute(params![ms(now.saturating_sub(keep))])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use wordfreq_core::scaling::{AlarmStatus, Change};

    use super::super::{Embedded, IfMissing, Options};
    use super::*;

    const START: Moment = Moment::from_secs(1_800_000_000);

    struct Fixture {
        _directory: tempfile::TempDir,
        history: Arc<History>,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(directory.path(), IfMissing::Create, Options::default()).unwrap();
        Fixture { _directory: directory, history: embedded.history }
    }

    fn sizing(at: Moment) -> Sizing {
        Sizing {
            plan: "latency".into(),
            bounds: Bounds { min: 1, max: 7 },
            rules: vec![AlarmRule {
                name: "high".into(),
                metric: "BacklogPerInstance".into(),
                threshold: 12.5,
                is_upper: true,
                condition: "Average BacklogPerInstance GreaterThanThreshold 12.5, 3 of 3 of 60s".into(),
            }],
            state: ScalerState {
                desired: 3,
                scheduled: Some(Bounds { min: 2, max: 4 }),
                ticked: at,
                alarms: vec![AlarmStatus {
                    name: "high".into(),
                    state: AlarmState::Alarm,
                    since: Some(at),
                    reason: "Threshold Crossed".into(),
                    value: Some(13.25),
                    called: None,
                }],
                scale_outs: Vec::new(),
                cooldown: None,
                changes: vec![Change { at, from: 2, to: 3, cause: "a schedule".into() }],
            },
            service: Some(Duration::from_millis(12)),
            at,
            wall: 1_800_000_000_123,
            scale: 30.0,
        }
    }

    fn members() -> Vec<Member> {
        let mut in_service = Member::pending("a".into(), START);
        in_service.instance.state = InstanceState::InService;
        in_service.instance.in_service_at = Some(START + Duration::from_millis(1500));
        (in_service.instance.protected, in_service.instance.busy) = (true, true);
        (in_service.process, in_service.held, in_service.documents) = (Some(4711), 64, 1000);
        let mut ill = Member::pending("b".into(), START + Duration::from_secs(1));
        (ill.instance.healthy, ill.note) = (false, Some("its process ended: signal 9".into()));
        vec![in_service, ill]
    }

    fn look(at: Moment) -> Look {
        let observation = Observation {
            at,
            visible: 1,
            not_visible: 2,
            delayed: 3,
            oldest_age: Some(Duration::from_millis(4)),
            sent: 5,
            received: 6,
            deleted: 7,
            in_service: 8,
        };
        Look { observation, desired: 9 }
    }

    fn transition(at: Moment) -> AlarmTransition {
        AlarmTransition {
            at,
            alarm: "high".into(),
            from: AlarmState::InsufficientData,
            to: AlarmState::Alarm,
            reason: "Threshold Crossed".into(),
            value: None,
        }
    }

    fn activity(at: Moment, instance: &str, kind: Deed) -> NewActivity {
        NewActivity {
            at,
            instance: instance.into(),
            kind,
            description: "Launching a new instance".into(),
            cause: "At some time something was so.".into(),
            message: None,
        }
    }

    #[test]
    fn what_is_put_down_comes_back() {
        let history = fixture().history;
        assert_eq!(history.sizing().unwrap(), None);
        let activities = [activity(START, "a", Deed::Launch), activity(START, "b", Deed::Terminate)];
        let transitions = [transition(START), transition(START + Duration::from_millis(1))];
        let news = News {
            look: Some(look(START)),
            transitions: transitions.to_vec(),
            activities: activities.to_vec(),
            ends: Vec::new(),
        };
        history.record(&sizing(START), &members(), &news).unwrap();
        assert_eq!(history.sizing().unwrap(), Some(sizing(START)));
        assert_eq!(history.members().unwrap(), members());
        assert_eq!(history.looks(START).unwrap(), [look(START)]);
        assert_eq!(history.looks(START + Duration::from_millis(1)).unwrap(), []);
        assert_eq!(history.transitions(1).unwrap(), transitions[1..]);
        let told: Vec<_> =
            history.activities(10).unwrap().into_iter().map(|kept| (kept.activity, kept.status)).collect();
        let [first, second] = activities.map(|activity| (activity, ActivityStatus::InProgress));
        assert_eq!(told, [second, first]);
        // Instances are replaced, all else is added to.
        history.record(&sizing(START), &members()[1..], &News::default()).unwrap();
        assert_eq!(history.members().unwrap(), members()[1..]);
        assert_eq!(history.transitions(10).unwrap().len(), 2);
    }

    #[test]
    fn an_activity_ends_once_and_alone() {
        let history = fixture().history;
        let activities = vec![
            activity(START, "a", Deed::Launch),
            activity(START, "a", Deed::Terminate),
            activity(START, "b", Deed::Launch),
        ];
        let later = START + Duration::from_secs(1);
        let end = |status, message: Option<&str>| End {
            instance: "a".into(),
            kind: Deed::Launch,
            at: later,
            status,
            message: message.map(Into::into),
        };
        // Also one that begins and ends in the same record.
        let ends = vec![end(ActivityStatus::Failed, Some("it ended: signal 9"))];
        history.record(&sizing(START), &[], &News { activities, ends, ..News::default() }).unwrap();
        let ends = vec![end(ActivityStatus::Successful, None)];
        history.record(&sizing(START), &[], &News { ends, ..News::default() }).unwrap();
        let [b, leaves, a] = &history.activities(10).unwrap()[..] else { panic!("not three") };
        assert_eq!((a.status, a.ended_at), (ActivityStatus::Failed, Some(later)));
        assert_eq!(a.activity.message.as_deref(), Some("it ended: signal 9"));
        for other in [b, leaves] {
            assert_eq!((other.status, other.ended_at), (ActivityStatus::InProgress, None));
        }
    }

    #[test]
    fn what_is_too_old_goes() {
        let history = fixture().history;
        let record = |at| {
            let news = News {
                look: Some(look(at)),
                transitions: vec![transition(at)],
                activities: vec![activity(at, "a", Deed::Launch)],
                ends: Vec::new(),
            };
            history.record(&sizing(at), &[], &news).unwrap();
        };
        record(START);
        let kept = || {
            let looks = history.looks(Moment::ZERO).unwrap().len();
            (looks, history.transitions(10).unwrap().len(), history.activities(10).unwrap().len())
        };
        record(START + OBSERVATIONS_KEPT);
        assert_eq!(kept(), (2, 2, 2), "as old as may be");
        record(START + OBSERVATIONS_KEPT + Duration::from_secs(1));
        assert_eq!(kept(), (2, 3, 3));
        record(START + TRANSITIONS_KEPT + Duration::from_secs(1));
        assert_eq!(kept(), (2, 3, 4));
        record(START + ACTIVITIES_KEPT + Duration::from_secs(1));
        assert_eq!(kept(), (2, 4, 4));
    }

    #[test]
    fn what_is_too_much_goes_however_new_it_is() {
        let history = fixture().history;
        let too_many = EVENTS_AT_MOST as usize + 7;
        let transitions = vec![transition(START); too_many];
        let activities: Vec<_> =
            (0..too_many).map(|index| activity(START, &index.to_string(), Deed::Launch)).collect();
        history.record(&sizing(START), &[], &News { transitions, activities, ..News::default() }).unwrap();
        assert_eq!(history.transitions(usize::MAX).unwrap().len(), EVENTS_AT_MOST as usize);
        let kept = history.activities(usize::MAX).unwrap();
        assert_eq!(kept.len(), EVENTS_AT_MOST as usize);
        assert_eq!(kept.first().unwrap().activity.instance, (too_many - 1).to_string());
    }
}
