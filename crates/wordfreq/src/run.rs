//! What a load test saw, and the figures that follow from it. Pure: everything comes in as arguments. Times are those of
//! the scaler's clock since the first arrival. Not here: the test itself (`loadtest`) and the page about it (`report`).

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use wordfreq_core::simulation::Sample;
use wordfreq_pipeline::embedded::Deed;

use crate::output::Cell;
use crate::prices::Prices;

/// The least time an instance is paid for (EC2, Linux: 60 s).
const SHORTEST_PAID: Duration = Duration::from_secs(60);

/// A load test that has ended.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What was run: names and values, in the order they are shown in.
    pub what: Vec<(&'static str, String)>,
    /// The rules of the alarms.
    pub rules: Vec<String>,
    /// The alarms that are on while there is too much to do.
    pub high_alarms: Vec<String>,
    /// What became of each document that was put, in the order of arrivals.
    pub documents: Vec<Document>,
    /// How many documents of the load were not put, since the test ended before they were due.
    pub not_put: u64,
    /// How queue and fleet stood, often enough to draw it.
    pub timeline: Vec<Sample>,
    /// The most messages that were seen waiting.
    pub backlog_peak: u64,
    /// The most instances that were seen in service.
    pub max_in_service: u32,
    /// The instances that were there at the first arrival.
    pub there_before: Vec<String>,
    /// Every launch and termination since then.
    pub activities: Vec<Activity>,
    /// Every change of an alarm's state since then.
    pub transitions: Vec<Transition>,
    /// Messages received, those of repeated tries included.
    pub received: u64,
    /// When the fleet was back at rest, or the test was given up.
    pub end: Duration,
    /// Which of these it was.
    pub ending: Ending,
    /// Type of the instances that costs are for.
    pub instance_type: String,
}

/// How a test came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Every document was settled, and the fleet back at rest.
    #[default]
    Rested,
    /// The time for that was over.
    Timeout,
    /// It was stopped by a signal.
    Stopped,
    /// The `up` under test ended.
    Gone,
}

/// A document of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its place in the order of arrivals, from 0.
    pub number: u64,
    /// Its key.
    pub key: String,
    /// When it was due. Latency counts from here, so that a test that falls behind does not flatter what it tests.
    pub arrival: Duration,
    /// When it was put.
    pub put: Duration,
    /// How long it was worked on, if that is known.
    pub work: Duration,
    /// How many words it must have, if that is known.
    pub expected: Option<u64>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has a result.
    Counted {
        /// When it was committed.
        done: Duration,
        /// How many words it has.
        words: u64,
    },
    /// It was given up.
    Failed {
        /// When, as far as that is known.
        done: Duration,
        /// Why.
        reason: String,
    },
    /// Somebody else put or deleted a document of that name meanwhile.
    Superseded,
    /// It was not done when the test ended.
    Unfinished,
}

impl Document {
    /// From its arrival to its result.
    pub fn latency(&self) -> Option<Duration> {
        match &self.fate {
            Fate::Counted { done, .. } => Some(done.saturating_sub(self.arrival)),
            _ => None,
        }
    }

    /// Whether it was counted, and otherwise than it must be.
    pub fn is_wrong(&self) -> bool {
        matches!((&self.fate, self.expected), (Fate::Counted { words, .. }, Some(expected)) if *words != expected)
    }

    /// What is the matter with it, if anything is.
    pub fn trouble(&self) -> Option<String> {
        match (&self.fate, self.expected) {
            (Fate::Counted { words, .. }, Some(expected)) if self.is_wrong() => {
                Some(format!("wrong: {words} words were counted, and it has {expected}"))
            }
            (Fate::Counted { .. }, _) => None,
            (Fate::Failed { reason, .. }, _) => Some(format!("failed: {reason}")),
            (Fate::Superseded, _) => Some("superseded: somebody else put or deleted it meanwhile".to_owned()),
            (Fate::Unfinished, _) => Some("unfinished when the test ended".to_owned()),
        }
    }
}

/// A launch or a termination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// When it was decided.
    pub at: Duration,
    /// When it was done.
    pub ended: Option<Duration>,
    /// Which it is.
    pub kind: Deed,
    /// Of which instance.
    pub instance: String,
    /// Why, in whole sentences.
    pub cause: String,
}

/// An alarm that changed its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// When.
    pub at: Duration,
    /// Its name.
    pub alarm: String,
    /// Its state since.
    pub to: String,
    /// The newest datapoint.
    pub value: Option<f64>,
    /// Why, as CloudWatch words it.
    pub reason: String,
}

/// How long documents took from their arrival until they were done, in seconds, by the nearest-rank method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: f64,
    /// 95 in 100 took no longer.
    pub p95: f64,
    /// 99 in 100 took no longer.
    pub p99: f64,
    /// None took longer.
    pub max: f64,
}

/// The figures of a run; as JSON, a contract with scripts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Documents of the load.
    pub documents: u64,
    /// Those that were put.
    pub put: u64,
    /// Those that have a result.
    pub counted: u64,
    /// Those that were given up.
    pub failed: u64,
    /// Those that somebody else replaced.
    pub superseded: u64,
    /// Those that were not done when the test ended, those not put among them.
    pub unfinished: u64,
    /// Those that were counted, and wrongly.
    pub wrong: u64,
    /// The most instances at work.
    pub max_in_service: u32,
    /// Instances launched since the first arrival.
    pub launches: u64,
    /// Instances terminated since then.
    pub terminations: u64,
    /// The most messages that waited.
    pub backlog_peak: u64,
    /// Time of all instances.
    pub instance_hours: f64,
    /// What they would have cost on AWS, with the requests of the documents.
    pub cost_usd: f64,
    /// What Lambda functions would have cost for the same work.
    pub lambda_usd: f64,
    /// From arrival to result.
    pub latency_seconds: Latency,
    /// The most that a document was put later than it was due.
    pub late_seconds: f64,
    /// How the test came to its end.
    pub ending: Ending,
    /// When.
    pub end_seconds: f64,
    /// Each launch and termination.
    pub activities: Vec<Act>,
    /// Each change of an alarm's state.
    pub transitions: Vec<Change>,
}

/// A launch or termination, as JSON has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Act {
    /// Since the first arrival.
    pub at_seconds: f64,
    /// Launch or Terminate.
    pub kind: &'static str,
    /// Of which instance.
    pub instance: String,
    /// Why.
    pub cause: String,
}

/// A change of an alarm's state, as JSON has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Since the first arrival.
    pub at_seconds: f64,
    /// The alarm's name.
    pub alarm: String,
    /// Its state since.
    pub to: String,
    /// The newest datapoint.
    pub value: Option<f64>,
}

impl Latency {
    /// As a listing has it.
    pub fn cells(self) -> [Cell; 4] {
        // Of what takes no second, the milliseconds are what is of interest.
        let decimals = |seconds: f64| if seconds < 1.0 { 3 } else { 1 };
        [self.p50, self.p95, self.p99, self.max].map(|seconds| Cell::fixed(seconds, decimals(seconds)))
    }
}

impl Run {
    /// The figures, with costs at so many dollars an instance-hour.
    pub fn figures(&self, prices: &Prices, hourly: f64) -> Figures {
        let count = |is: fn(&Document) -> bool| self.documents.iter().filter(|one| is(one)).count() as u64;
        let deeds = |kind| self.activities.iter().filter(|activity| activity.kind == kind).count() as u64;
        let counted = count(|one| matches!(one.fate, Fate::Counted { .. }));
        let instance_hours = self.instance_time().as_secs_f64() / 3600.0;
        let work = self.documents.iter().map(|one| one.work).sum();
        let requests = prices.requests(counted, self.received);
        let late = self.documents.iter().map(|one| one.put.saturating_sub(one.arrival)).max();
        let put = self.documents.len() as u64;
        Figures {
            documents: put + self.not_put,
            put,
            counted,
            failed: count(|one| matches!(one.fate, Fate::Failed { .. })),
            superseded: count(|one| one.fate == Fate::Superseded),
            unfinished: count(|one| one.fate == Fate::Unfinished) + self.not_put,
            wrong: count(Document::is_wrong),
            max_in_service: self.max_in_service,
            launches: deeds(Deed::Launch),
            terminations: deeds(Deed::Terminate),
            backlog_peak: self.backlog_peak,
            instance_hours,
            cost_usd: instance_hours * hourly + requests,
            lambda_usd: prices.lambda(counted, work) + requests,
            latency_seconds: self.latency(),
            late_seconds: seconds(late.unwrap_or_default()),
            ending: self.ending,
            end_seconds: seconds(self.end),
            activities: self.activities.iter().map(act).collect(),
            transitions: self.transitions.iter().map(change).collect(),
        }
    }

    /// Whether every document was counted, rightly, and the fleet came to rest.
    pub fn is_flawless(&self) -> bool {
        self.ending == Ending::Rested
            && self.not_put == 0
            && self.documents.iter().all(|one| one.trouble().is_none())
    }

    fn latency(&self) -> Latency {
        let mut latencies: Vec<Duration> = self.documents.iter().filter_map(Document::latency).collect();
        latencies.sort_unstable();
        let at = |share: f64| {
            let rank = (share * latencies.len() as f64).ceil() as usize;
            let latency = rank.max(1).min(latencies.len()).checked_sub(1).map(|index| latencies[index]);
            seconds(latency.unwrap_or_default())
        };
        Latency { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }

    /// Time of all instances, each from its launch, or the first arrival, until it was gone, or the end.
    fn instance_time(&self) -> Duration {
        let before = self.there_before.iter().map(|instance| (instance.as_str(), Duration::ZERO));
        let launched = self.activities.iter().filter(|activity| activity.kind == Deed::Launch);
        let began: HashMap<&str, Duration> =
            before.chain(launched.map(|launch| (launch.instance.as_str(), launch.at))).collect();
        let terminated = self.activities.iter().filter(|activity| activity.kind == Deed::Terminate);
        let gone: HashMap<&str, Duration> = terminated
            .map(|activity| (activity.instance.as_str(), activity.ended.unwrap_or(self.end)))
            .collect();
        let lived = |(instance, began): (&&str, &Duration)| {
            gone.get(instance).unwrap_or(&self.end).saturating_sub(*began).max(SHORTEST_PAID)
        };
        began.iter().map(lived).sum()
    }
}

fn act(activity: &Activity) -> Act {
    let Activity { at, kind, instance, cause, .. } = activity;
    let (instance, cause) = (instance.clone(), cause.clone());
    Act { at_seconds: seconds(*at), kind: kind.as_str(), instance, cause }
}

fn change(transition: &Transition) -> Change {
    let Transition { at, alarm, to, value, .. } = transition;
    Change { at_seconds: seconds(*at), alarm: alarm.clone(), to: to.clone(), value: *value }
}

/// To the millisecond, which is what the history keeps.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Names come from anyone who writes a plan.
    pub(crate) const HOSTILE_ALARM: &str = "=<i>\u{1b}]0;\u{202e}&";

    /// A made-up run with one of everything.
    pub(crate) fn made_up() -> Run {
        let at = Duration::from_secs;
        let document = |number: u64, fate| Document {
            number,
            key: crate::load::key("load/1/", number),
            arrival: at(number),
            put: at(number) + Duration::from_millis(250),
            work: at(10),
            expected: Some(100),
            fate,
        };
        let sample = |seconds: u64, visible, in_service, alarms: &[&str]| Sample {
            at: at(seconds),
            visible,
            not_visible: u64::from(in_service),
            desired: in_service,
            in_service,
            alarms: alarms.iter().map(|name| (*name).to_owned()).collect(),
        };
        let activity = |seconds, kind, instance: &str| Activity {
            at: at(seconds),
            ended: Some(at(seconds + 1)),
            kind,
            instance: instance.to_owned(),
            cause: "At 12:00 it was <so>.".to_owned(),
        };
        Run {
            what: vec![("arrivals", "burst:6".to_owned()), ("key", "<script>alert(1)</script>".to_owned())],
            rules: vec!["backlog-high: Average > 50".to_owned()],
            high_alarms: vec!["backlog-high".to_owned(), HOSTILE_ALARM.to_owned()],
            documents: vec![
                document(0, Fate::Counted { done: at(20), words: 100 }),
                document(1, Fate::Counted { done: at(31), words: 100 }),
                document(2, Fate::Counted { done: at(42), words: 99 }),
                document(3, Fate::Failed { done: at(50), reason: "=cmd <b>&\u{202e}".to_owned() }),
                document(4, Fate::Superseded),
                document(5, Fate::Unfinished),
            ],
            timeline: vec![
                sample(0, 6, 1, &[]),
                sample(60, 3, 1, &["backlog-high"]),
                sample(120, 1, 2, &["backlog-high", HOSTILE_ALARM]),
                sample(180, 0, 1, &[]),
            ],
            backlog_peak: 6,
            max_in_service: 2,
            there_before: vec!["i-1".to_owned()],
            activities: vec![activity(60, Deed::Launch, "i-2"), activity(179, Deed::Terminate, "i-2")],
            transitions: vec![Transition {
                at: at(60),
                alarm: "backlog-high".to_owned(),
                to: "ALARM".to_owned(),
                value: Some(51.0),
                reason: "Threshold Crossed".to_owned(),
            }],
            received: 7,
            not_put: 0,
            end: at(240),
            ending: Ending::Rested,
            instance_type: "t3.micro".to_owned(),
        }
    }

    #[test]
    fn the_figures_add_up() {
        let run = made_up();
        let prices = Prices::built_in().unwrap();
        let figures = run.figures(&prices, 1.0);
        let Figures { documents, counted, failed, superseded, unfinished, wrong, .. } = figures;
        assert_eq!((documents, counted, failed, superseded, unfinished, wrong), (6, 3, 1, 1, 1, 1));
        assert_eq!((figures.launches, figures.terminations, figures.late_seconds), (1, 1, 0.25));
        assert_eq!(figures.latency_seconds, Latency { p50: 30.0, p95: 40.0, p99: 40.0, max: 40.0 });
        // One from the first arrival to the end, one from its launch until it was gone.
        assert!((figures.instance_hours - (240.0 + 120.0) / 3600.0).abs() < 1e-9);
        assert!((figures.cost_usd - figures.instance_hours - prices.requests(3, 7)).abs() < 1e-9);
        assert!(!run.is_flawless());
        let json = serde_json::to_value(&figures).unwrap();
        assert_eq!(json["activities"][0]["kind"], "Launch");
        assert_eq!(
            (&json["transitions"][0]["to"], &json["transitions"][0]["value"]),
            (&"ALARM".into(), &51.0.into())
        );
    }

    #[test]
    fn an_instance_is_paid_for_a_minute_at_least_and_nothing_is_no_flaw() {
        let run = Run { there_before: vec!["i-1".to_owned()], end: Duration::from_secs(3), ..Run::default() };
        let figures = run.figures(&Prices::built_in().unwrap(), 1.0);
        assert!((figures.instance_hours - 1.0 / 60.0).abs() < 1e-9);
        assert_eq!(figures.latency_seconds.max, 0.0);
        assert!(run.is_flawless());
    }

    #[test]
    fn documents_that_were_not_put_are_unfinished() {
        let mut run = made_up();
        run.documents.truncate(2);
        run.not_put = 3;
        let figures = run.figures(&Prices::built_in().unwrap(), 1.0);
        assert_eq!((figures.documents, figures.put, figures.unfinished), (5, 2, 3));
        assert!(!run.is_flawless());
    }

    #[test]
    fn trouble_is_named() {
        let troubles: Vec<Option<String>> = made_up().documents.iter().map(Document::trouble).collect();
        assert_eq!(troubles[0], None);
        assert_eq!(troubles[2].as_deref(), Some("wrong: 99 words were counted, and it has 100"));
        assert!(troubles[3..].iter().all(Option::is_some));
    }
}
