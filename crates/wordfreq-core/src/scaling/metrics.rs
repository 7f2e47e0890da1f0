//! What is measured, and a bounded history of it from which datapoints are read.
//!
//! Not here: who measures, and how often. A metric that arrives late is recorded late, as on CloudWatch.

use std::collections::VecDeque;
use std::time::Duration;

use super::words::words;
use super::{MINUTE, Moment, TEN_SECONDS, floor};

/// What an alarm may watch, under the name CloudWatch has for it (namespaces `AWS/SQS` and `AWS/AutoScaling`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Messages that wait: the backlog.
    MessagesVisible,
    /// Messages in flight: received, and neither deleted nor given back.
    MessagesNotVisible,
    /// Messages that may not be received yet.
    MessagesDelayed,
    /// Age of the oldest message that is not deleted, in seconds.
    AgeOfOldestMessage,
    /// Messages sent. Throughput.
    MessagesSent,
    /// Messages received, again and again if they come back. Throughput of the workers, not load.
    MessagesReceived,
    /// Messages deleted. Throughput.
    MessagesDeleted,
    /// Instances in service.
    InServiceInstances,
    /// [`MessagesVisible`](Self::MessagesVisible) for each instance in service, and for one where there is none. The
    /// division that the Auto Scaling guide proposes is undefined there; this is its guarded form,
    /// `IF(m2 > 0, m1/m2, m1)`.
    BacklogPerInstance,
}

words!(Metric, "metric",
    MessagesVisible => "ApproximateNumberOfMessagesVisible",
    MessagesNotVisible => "ApproximateNumberOfMessagesNotVisible",
    MessagesDelayed => "ApproximateNumberOfMessagesDelayed",
    AgeOfOldestMessage => "ApproximateAgeOfOldestMessage",
    MessagesSent => "NumberOfMessagesSent",
    MessagesReceived => "NumberOfMessagesReceived",
    MessagesDeleted => "NumberOfMessagesDeleted",
    InServiceInstances => "GroupInServiceInstances",
    BacklogPerInstance => "BacklogPerInstance",
);

impl Metric {
    /// Whether it counts what happened in a time, rather than how things stand.
    pub const fn is_throughput(self) -> bool {
        matches!(self, Self::MessagesSent | Self::MessagesReceived | Self::MessagesDeleted)
    }

    /// The statistic that says most: the sum of a throughput, else the average.
    pub const fn usual_statistic(self) -> Statistic {
        if self.is_throughput() { Statistic::Sum } else { Statistic::Average }
    }
}

/// How the samples of a period become one datapoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// Their mean.
    Average,
    /// Their sum; of a throughput, all that happened in the period.
    Sum,
    /// The least.
    Minimum,
    /// The greatest.
    Maximum,
}

words!(Statistic, "statistic", Average => "Average", Sum => "Sum", Minimum => "Minimum", Maximum => "Maximum");

impl Statistic {
    /// The statistic of some values; `None` of none.
    pub(super) fn of(self, values: &[f64]) -> Option<f64> {
        let mut summary = Summary::default();
        values.iter().for_each(|&value| summary.sample(value));
        summary.read(self)
    }
}

/// How the queue and the fleet stood at one moment.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Observation {
    /// When.
    pub at: Moment,
    /// Messages that wait.
    pub visible: u64,
    /// Messages in flight.
    pub not_visible: u64,
    /// Messages that may not be received yet.
    pub delayed: u64,
    /// Age of the oldest message. `None` is 0 if there is no message, as SQS reports it, else "not measured".
    pub oldest_age: Option<Duration>,
    /// Messages sent since the observation before.
    pub sent: u64,
    /// Messages received since the observation before.
    pub received: u64,
    /// Messages deleted since the observation before.
    pub deleted: u64,
    /// Instances in service.
    pub in_service: u32,
}

impl Observation {
    /// Messages that are not done: waiting, in flight or delayed.
    pub fn unfinished(&self) -> u64 {
        self.visible + self.not_visible + self.delayed
    }

    fn value(&self, metric: Metric) -> Option<f64> {
        Some(match metric {
            Metric::MessagesVisible => self.visible as f64,
            Metric::MessagesNotVisible => self.not_visible as f64,
            Metric::MessagesDelayed => self.delayed as f64,
            Metric::AgeOfOldestMessage => match self.oldest_age {
                Some(age) => age.as_secs_f64(),
                None if self.unfinished() == 0 => 0.0,
                None => return None,
            },
            Metric::MessagesSent => self.sent as f64,
            Metric::MessagesReceived => self.received as f64,
            Metric::MessagesDeleted => self.deleted as f64,
            Metric::InServiceInstances => f64::from(self.in_service),
            Metric::BacklogPerInstance => self.visible as f64 / f64::from(self.in_service.max(1)),
        })
    }
}

/// How finely a history is kept. The finest period an alarm can have is its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// 60 seconds, CloudWatch's "standard resolution" and that of the SQS metrics.
    Standard,
    /// 10 seconds, which is as often as a high-resolution alarm looks.
    High,
}

impl Resolution {
    /// Its length.
    pub const fn length(self) -> Duration {
        match self {
            Self::Standard => MINUTE,
            Self::High => TEN_SECONDS,
        }
    }
}

/// What CloudWatch calls a statistic set.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    count: u32,
    sum: f64,
    min: f64,
    max: f64,
}

impl Summary {
    fn sample(&mut self, value: f64) {
        self.merge(&Self { count: 1, sum: value, min: value, max: value });
    }

    fn merge(&mut self, other: &Self) {
        if self.count == 0 || other.count == 0 {
            if other.count > 0 {
                *self = *other;
            }
            return;
        }
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    fn read(&self, statistic: Statistic) -> Option<f64> {
        (self.count > 0).then(|| match statistic {
            Statistic::Average => self.sum / f64::from(self.count),
            Statistic::Sum => self.sum,
            Statistic::Minimum => self.min,
            Statistic::Maximum => self.max,
        })
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    start: Moment,
    summaries: [Summary; Metric::ALL.len()],
}

/// A bounded history of observations, kept as one summary of each metric for each 10 or 60 seconds.
#[derive(Clone, Debug)]
pub struct Metrics {
    resolution: Resolution,
    keep: Duration,
    /// In the order of their starts.
    buckets: VecDeque<Bucket>,
    latest: Option<Observation>,
}

impl Metrics {
    /// An empty history that forgets what is older than `keep`. [`Plan::metrics`](super::Plan::metrics) makes one
    /// that is fine and long enough for a plan.
    pub fn new(resolution: Resolution, keep: Duration) -> Self {
        Self { resolution, keep, buckets: VecDeque::new(), latest: None }
    }

    /// Adds an observation. One older than the history goes back is ignored.
    pub fn record(&mut self, observation: &Observation) {
        let start = floor(observation.at, self.resolution.length());
        if self.buckets.back().is_some_and(|newest| start + self.keep < newest.start) {
            return;
        }
        let index = self.buckets.partition_point(|bucket| bucket.start < start);
        if self.buckets.get(index).is_none_or(|bucket| bucket.start != start) {
            self.buckets.insert(index, Bucket { start, summaries: Default::default() });
        }
        for (&metric, summary) in Metric::ALL.iter().zip(&mut self.buckets[index].summaries) {
            match observation.value(metric) {
                // What happened within a bucket is one sample, however often somebody looked: SQS sends one a minute.
                Some(value) if metric.is_throughput() => {
                    let sum = summary.sum + value;
                    *summary = Summary { count: 1, sum, min: sum, max: sum };
                }
                Some(value) => summary.sample(value),
                None => {}
            }
        }
        if self.latest.as_ref().is_none_or(|latest| latest.at <= observation.at) {
            self.latest = Some(observation.clone());
        }
        let newest = self.buckets.back().map_or(start, |bucket| bucket.start);
        while self.buckets.front().is_some_and(|oldest| oldest.start + self.keep < newest) {
            self.buckets.pop_front();
        }
    }

    /// The statistic of `metric` over the period from `start`; `None` where nothing was observed.
    pub fn datapoint(
        &self,
        metric: Metric,
        statistic: Statistic,
        start: Moment,
        period: Duration,
    ) -> Option<f64> {
        let first = self.buckets.partition_point(|bucket| bucket.start < start);
        let mut whole = Summary::default();
        for bucket in self.buckets.iter().skip(first).take_while(|bucket| bucket.start < start + period) {
            whole.merge(&bucket.summaries[metric as usize]);
        }
        whole.read(statistic)
    }

    /// The newest observation.
    pub fn latest(&self) -> Option<&Observation> {
        self.latest.as_ref()
    }
}
