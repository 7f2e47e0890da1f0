//! Instances: the states they go through, and which of them goes first.
//!
//! Not here: how they are started, told to drain and stopped, and who finds them unhealthy.

use super::Moment;
use super::words::words;

/// What a fleet calls an instance by.
pub type InstanceId = String;

/// Where an instance is in its life (Auto Scaling user guide, "Instance lifecycle", without its wait states).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// Launched, and not at work yet.
    Pending,
    /// At work.
    InService,
    /// Takes no new messages, and finishes or gives back those it has.
    Terminating,
    /// Gone.
    Terminated,
}

words!(InstanceState, "instance state",
    Pending => "Pending", InService => "InService", Terminating => "Terminating", Terminated => "Terminated",
);

/// A step that no instance takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instance that is {from} cannot become {to}: launch another instead")]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: InstanceState,
    /// The state it cannot go to.
    pub to: InstanceState,
}

impl InstanceState {
    /// The next state, if it may be: states are passed in their order, and an instance may die in each of them.
    pub fn transition(self, next: Self) -> Result<Self, IllegalTransition> {
        match (self, next) {
            (Self::Pending, Self::InService)
            | (Self::Pending | Self::InService, Self::Terminating)
            | (Self::Pending | Self::InService | Self::Terminating, Self::Terminated) => Ok(next),
            _ => Err(IllegalTransition { from: self, to: next }),
        }
    }

    /// Whether it counts towards the size of the fleet.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::InService)
    }
}

/// A worker as the scaler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name in the fleet.
    pub id: InstanceId,
    /// Where it is in its life.
    pub state: InstanceState,
    /// When it was launched. Not before the tick that asked for it.
    pub launched_at: Moment,
    /// When it came into service.
    pub in_service_at: Option<Moment>,
    /// Whether scale-in must leave it alone. Health replacement need not.
    pub protected: bool,
    /// Whether it holds messages.
    pub busy: bool,
    /// Whether it is well. One that is not is replaced.
    pub healthy: bool,
}

/// Which instances go when so many must: never a protected one, so there may be fewer.
///
/// A busy one goes only when there is no idle one. Of those alike in that, an unhealthy one goes first, as it would
/// be replaced anyway; then one that is pending, which does nothing yet and has nothing to drain; then the oldest, as
/// in Auto Scaling's default policy the oldest launch template does; among those of one moment, by id. The order is
/// total, so the same fleet always gives the same answer.
pub fn choose_to_terminate<'a>(
    instances: impl IntoIterator<Item = &'a Instance>,
    how_many: usize,
) -> Vec<InstanceId> {
    let mut candidates: Vec<&Instance> =
        instances.into_iter().filter(|instance| instance.state.is_active() && !instance.protected).collect();
    candidates.sort_by_key(|instance| {
        let in_service = instance.state == InstanceState::InService;
        (instance.busy, instance.healthy, in_service, instance.launched_at, &instance.id)
    });
    candidates.into_iter().take(how_many).map(|instance| instance.id.clone()).collect()
}
