//! What a scaler decides, and the words the Auto Scaling activity log has for it.
//!
//! Not here: how a moment is written. Whoever knows the calendar does that.

use super::Moment;
use super::alarm::AlarmState;
use super::instance::InstanceId;

/// A change of the fleet's size.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Change {
    /// When.
    pub at: Moment,
    /// The size before.
    pub from: u32,
    /// The size since.
    pub to: u32,
    /// Why, such as "a monitor alarm backlog-high in state ALARM triggered policy add-one".
    pub cause: String,
}

impl Change {
    pub(super) fn reason(&self) -> Reason {
        let Self { at, from, to, cause } = self;
        Reason { at: *at, text: format!("{cause} changing the desired capacity from {from} to {to}") }
    }
}

/// A sentence of an activity's cause, without its time and full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// When it was so.
    pub at: Moment,
    /// What was so.
    pub text: String,
}

/// An instance that is to come or to go, as the Auto Scaling activity log words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// When it was decided.
    pub at: Moment,
    /// Which it is.
    pub kind: ActivityKind,
    /// Why, in the order of events.
    pub cause: Vec<Reason>,
}

/// What an activity does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivityKind {
    /// An instance is launched.
    Launch,
    /// This instance is drained and stopped.
    Terminate(InstanceId),
}

impl Activity {
    /// What is done, in words.
    pub fn description(&self) -> String {
        match &self.kind {
            ActivityKind::Launch => "Launching a new instance".to_owned(),
            ActivityKind::Terminate(id) => format!("Terminating instance: {id}"),
        }
    }

    /// The cause in whole sentences; `time` writes a moment.
    pub fn cause_in_words(&self, time: impl Fn(Moment) -> String) -> String {
        let sentences: Vec<String> =
            self.cause.iter().map(|reason| format!("At {} {}.", time(reason.at), reason.text)).collect();
        sentences.join(" ")
    }
}

/// An alarm that changed its state.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmTransition {
    /// When.
    pub at: Moment,
    /// The alarm's name.
    pub alarm: String,
    /// The state before.
    pub from: AlarmState,
    /// The state since.
    pub to: AlarmState,
    /// Why, as CloudWatch words it.
    pub reason: String,
    /// The newest datapoint, if there was one.
    pub value: Option<f64>,
}

/// What a tick found to do.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Decision {
    /// How many instances there should be.
    pub desired: u32,
    /// How many are to be launched now.
    pub launches: u32,
    /// Which ones are to drain and stop now.
    pub terminations: Vec<InstanceId>,
    /// How the size changed, step by step.
    pub changes: Vec<Change>,
    /// Which alarms changed their state.
    pub transitions: Vec<AlarmTransition>,
    /// One for each launch and each termination, with its cause.
    pub activities: Vec<Activity>,
}
