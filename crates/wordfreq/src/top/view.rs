//! What the live view shows, read from the data directory look by look. Never writes to it. Not here: how it is drawn.

use std::path::PathBuf;
use std::time::Duration;

use wordfreq_core::scaling::{AlarmTransition, InstanceState, Moment};
use wordfreq_pipeline::embedded::{Embedded, KeptActivity, Lock, Sizing, Throughput};
use wordfreq_pipeline::fleet::Member;
use wordfreq_pipeline::queue::Depth;
use wordfreq_pipeline::{BackendError, Timestamp};

use super::samples::{Sample, Samples};

/// More events than any screen has lines for.
const EVENTS: usize = 100;

/// The spans of time that the charts can show.
const SPANS: [Duration; 6] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(6 * 3600),
];

/// Which span of time the charts show; five minutes at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans(usize);

impl Default for Spans {
    fn default() -> Self {
        Self(1)
    }
}

impl Spans {
    /// Its length.
    pub fn length(self) -> Duration {
        SPANS[self.0]
    }

    /// The next longer one, if there is any.
    pub fn longer(self) -> Self {
        Self((self.0 + 1).min(SPANS.len() - 1))
    }

    /// The next shorter one, if there is any.
    pub fn shorter(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// All that is shown, as of the last look.
#[derive(Clone, Debug)]
pub struct View {
    /// The data directory's name.
    pub directory: String,
    /// Whether an `up` runs on it.
    pub up_runs: bool,
    /// When this was so, by the clock of the fleet.
    pub now: Moment,
    /// What the charts show.
    pub span: Spans,
    /// Whether colours may be used. They never tell anything by themselves.
    pub color: bool,
    /// Why the newest look failed; what is shown is then of the look before.
    pub trouble: Option<String>,
    /// How the fleet is sized; `None` if there never was one.
    pub fleet: Option<Sizing>,
    /// How the queue stands.
    pub queue: Depth,
    /// The instances.
    pub members: Vec<Member>,
    /// The newest activities, newest first.
    pub activities: Vec<KeptActivity>,
    /// The newest changes of alarms' states, newest first.
    pub transitions: Vec<AlarmTransition>,
    /// How it was before.
    pub samples: Samples,
}

/// Looks at a data directory again and again.
#[derive(Debug)]
pub struct Watch {
    embedded: Embedded,
    lock: PathBuf,
    passed: Option<Throughput>,
    /// What was seen.
    pub view: View,
}

impl Watch {
    /// Begins to watch, with what the scaler saw in the last hours. `lock` is the file that `up` holds locked.
    ///
    /// # Errors
    /// Those of the data directory.
    pub fn start(embedded: Embedded, lock: &str, color: bool) -> Result<Self, BackendError> {
        let view = View {
            directory: embedded.directory().display().to_string(),
            up_runs: false,
            now: Moment::ZERO,
            span: Spans::default(),
            color,
            trouble: None,
            fleet: None,
            queue: Depth::default(),
            members: Vec::new(),
            activities: Vec::new(),
            transitions: Vec::new(),
            samples: Samples::default(),
        };
        let mut watch = Self { lock: embedded.directory().join(lock), embedded, passed: None, view };
        watch.try_look()?;
        let longest = SPANS[SPANS.len() - 1];
        let mut samples = Samples::default();
        let looks = watch.embedded.history.looks(watch.view.now.saturating_sub(longest))?;
        looks.iter().for_each(|look| samples.push(look.into()));
        if let Some(first) = watch.view.samples.newest() {
            samples.push(*first);
        }
        watch.view.samples = samples;
        Ok(watch)
    }

    /// Looks. What fails shows in the view, as the next look may find it mended.
    pub fn look(&mut self) {
        self.view.trouble = self.try_look().err().map(|error| error.to_string());
    }

    fn try_look(&mut self) -> Result<(), BackendError> {
        let history = &self.embedded.history;
        let fleet = history.sizing()?;
        let wall = Timestamp::now();
        let up_runs = Lock::is_taken(&self.lock)?;
        // The time of a fleet that has stopped stands still, so that its end can be looked at.
        let now = match &fleet {
            Some(fleet) if up_runs => fleet.at + wall.since(Timestamp(fleet.wall)).mul_f64(fleet.scale),
            Some(fleet) => fleet.at,
            None => wall.into(),
        };
        let (queue, passed) = self.embedded.queue.depth_and_throughput()?;
        let members = history.members()?;
        let (activities, transitions) = (history.activities(EVENTS)?, history.transitions(EVENTS)?);

        let in_service = members.iter().filter(|member| member.instance.state == InstanceState::InService);
        let since = |before: Throughput| Throughput {
            sent: passed.sent.saturating_sub(before.sent),
            received: passed.received.saturating_sub(before.received),
            deleted: passed.deleted.saturating_sub(before.deleted),
        };
        self.view.samples.push(Sample {
            at: now,
            visible: queue.visible,
            in_flight: queue.in_flight,
            in_service: in_service.count() as u64,
            desired: fleet.as_ref().map_or(0, |fleet| fleet.state.desired.into()),
            passed: self.passed.map(since),
        });
        self.passed = Some(passed);
        let view = &mut self.view;
        (view.now, view.up_runs, view.fleet, view.queue) = (now, up_runs, fleet, queue);
        (view.members, view.activities, view.transitions) = (members, activities, transitions);
        Ok(())
    }
}
