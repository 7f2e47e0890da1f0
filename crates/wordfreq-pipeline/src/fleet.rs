//! The port to a fleet: instances that are launched, come into service, drain and end. Its contract is what every
//! adapter must keep and what `conformance::fleet` checks. Not here: how many there should be (`wordfreq_core::scaling`)
//! and who asks (`scale`).
//!
//! - An instance is Pending from its launch until its first sign of work, then InService, then Terminating from the
//!   moment it is asked to go, and is then gone from the list. It never goes back.
//! - Who is asked to go takes nothing new, finishes or gives back what it holds, and ends.
//! - An instance that ends unasked, or falls silent, stays in the list in its state and not healthy until it is asked to
//!   go: whoever owns the fleet's size learns of every loss.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wordfreq_core::scaling::{Instance, InstanceId, Moment};

use crate::error::BackendError;
use crate::time::Timestamp;

/// An instance, and what those who look at a fleet want to know beside what its scaler does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the scaler sees.
    pub instance: Instance,
    /// The process, where it is one of this machine.
    pub process: Option<u32>,
    /// Messages it holds, as it last said.
    pub held: u64,
    /// Messages it has settled since its launch, as it last said.
    pub documents: u64,
    /// How long it has held messages since its launch, by the scaler's clock. Of this moment only: it is not put down.
    pub worked: Duration,
    /// Since when it holds the messages that it holds now. Of this moment only: it is not put down.
    pub batch_since: Option<Moment>,
    /// Why it is not healthy, such as "its process ended: signal 9".
    pub note: Option<String>,
}

impl Member {
    /// A newly launched one.
    pub fn pending(id: InstanceId, launched_at: Moment) -> Self {
        use wordfreq_core::scaling::InstanceState::Pending;
        let (in_service_at, protected, busy, healthy) = (None, false, false, true);
        Self {
            instance: Instance { id, state: Pending, launched_at, in_service_at, protected, busy, healthy },
            process: None,
            held: 0,
            documents: 0,
            worked: Duration::ZERO,
            batch_since: None,
            note: None,
        }
    }
}

/// A fleet of instances.
pub trait Fleet: Send + Sync {
    /// Launches `count` instances. `planned` learns their ids when they are in the list, Pending, and before any of them
    /// begins to work, so that whatever becomes of this process, somebody knows of them. An instance that cannot be run
    /// stays in the list, not healthy; an error means that none ever will be, as its kind of launch cannot work, or, of
    /// kind `Busy`, that those which are not in the list were not launched.
    fn launch(&self, count: u32, planned: &mut dyn FnMut(&[InstanceId])) -> Result<(), BackendError>;

    /// Asks instances to go; returns at once. One that is not healthy is stopped without asking. Who is not there, or
    /// was asked before, is no error.
    fn terminate(&self, ids: &[InstanceId]) -> Result<(), BackendError>;

    /// Every instance that is not gone, in the order of their launches.
    fn members(&self) -> Result<Vec<Member>, BackendError>;
}

/// The scaler's clock. It starts at a moment of the wall clock and then goes by the machine's steady one, so that
/// setting the wall clock back moves nothing; in a load test it goes faster. If the wall clock runs ahead, because the
/// machine slept or somebody set it, this one follows. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock {
    anchor: Arc<Mutex<(Moment, Instant)>>,
    scale: f64,
}

/// How far the wall clock may be ahead before it is followed.
const AHEAD: Duration = Duration::from_secs(5);

impl Clock {
    /// A clock that shows `zero` now, and goes `scale` times as fast as time does.
    pub fn starting_at(zero: Moment, scale: f64) -> Self {
        Self { anchor: Arc::new(Mutex::new((zero, Instant::now()))), scale }
    }

    /// The wall clock, as it is now.
    pub fn of_the_wall() -> Self {
        Self::starting_at(Timestamp::now().into(), 1.0)
    }

    /// What it shows, as the time since the Unix epoch.
    pub fn now(&self) -> Moment {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let (zero, started) = *anchor;
        let now = zero + started.elapsed().mul_f64(self.scale);
        let wall = Moment::from(Timestamp::now());
        if self.scale == 1.0 && wall > now + AHEAD {
            *anchor = (wall, Instant::now());
            return wall;
        }
        now
    }

    /// How many times as fast as time it goes.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// How long to wait until it shows `moment`; nothing if it already does.
    pub fn until(&self, moment: Moment) -> Duration {
        moment.saturating_sub(self.now()).div_f64(self.scale)
    }
}

/// The moment as a scaler has it.
impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Self::from_millis(u64::try_from(timestamp.0).unwrap_or(0))
    }
}

/// Whole milliseconds of it.
impl From<Moment> for Timestamp {
    fn from(moment: Moment) -> Self {
        Self(i64::try_from(moment.as_millis()).unwrap_or(i64::MAX))
    }
}

/// How an activity stands, in the words of Auto Scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActivityStatus {
    /// Not done yet.
    InProgress,
    /// Done.
    Successful,
    /// It came to nothing: an instance ended before it was in service.
    Failed,
}

impl ActivityStatus {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::InProgress, Self::Successful, Self::Failed];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for ActivityStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}
