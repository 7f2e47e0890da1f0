//! How queue and fleet stood over the last while: a bounded number of samples, and the columns of a chart over them.
//! Not here: where samples come from (`view`).

use std::collections::VecDeque;
use std::time::Duration;

use wordfreq_core::scaling::Moment;
use wordfreq_pipeline::embedded::{Look, Throughput};

/// Six hours of a look each second, and the looks of a scaler before them.
const AT_MOST: usize = 30_000;

/// How queue and fleet stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When, by the clock of the fleet.
    pub at: Moment,
    /// Messages that wait.
    pub visible: u64,
    /// Messages in flight.
    pub in_flight: u64,
    /// Instances in service.
    pub in_service: u64,
    /// Instances that there should be.
    pub desired: u64,
    /// What passed through the queue since the sample before, where that is known.
    pub passed: Option<Throughput>,
}

/// A look of the scaler.
impl From<&Look> for Sample {
    fn from(Look { observation, desired }: &Look) -> Self {
        Self {
            at: observation.at,
            visible: observation.visible,
            in_flight: observation.not_visible,
            in_service: observation.in_service.into(),
            desired: (*desired).into(),
            passed: Some(Throughput {
                sent: observation.sent,
                received: observation.received,
                deleted: observation.deleted,
            }),
        }
    }
}

/// One column of a chart: the most there was in its time, and the mean rate of what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Column {
    /// Messages that waited.
    pub visible: u64,
    /// Messages in flight.
    pub in_flight: u64,
    /// Instances in service.
    pub in_service: u64,
    /// Instances that there should have been.
    pub desired: u64,
    /// Documents done each second, where that is known.
    pub rate: Option<f64>,
}

/// Messages each second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Sent.
    pub sent: f64,
    /// Received, again and again if they come back.
    pub received: f64,
    /// Done and deleted.
    pub done: f64,
}

/// Samples in the order of their moments.
#[derive(Clone, Debug, Default)]
pub struct Samples(VecDeque<Sample>);

impl Samples {
    /// Adds a sample. Later ones, left by a clock that was set back, go.
    pub fn push(&mut self, sample: Sample) {
        while self.0.back().is_some_and(|newest| newest.at >= sample.at) {
            self.0.pop_back();
        }
        if self.0.len() == AT_MOST {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The newest one.
    pub fn newest(&self) -> Option<&Sample> {
        self.0.back()
    }

    /// What passed through the queue each second of the last `window`; `None` if nothing is known of it.
    pub fn rates(&self, window: Duration) -> Option<Rates> {
        let since = self.newest()?.at.saturating_sub(window);
        let (mut time, mut all) = (Duration::ZERO, Throughput::default());
        for (before, after) in self.steps().rev().take_while(|(_, after)| after.at > since) {
            let Some(Throughput { sent, received, deleted }) = after.passed else { break };
            time += after.at - before.at;
            all = Throughput {
                sent: all.sent + sent,
                received: all.received + received,
                deleted: all.deleted + deleted,
            };
        }
        let each_second = |count: u64| count as f64 / time.as_secs_f64();
        (time > Duration::ZERO).then(|| Rates {
            sent: each_second(all.sent),
            received: each_second(all.received),
            done: each_second(all.deleted),
        })
    }

    /// The `span` until `now` in `width` columns; `None` where nobody looked: a value is taken to be the same until the
    /// next sample, but not for longer than `holds`.
    ///
    /// A column begins at a multiple of its length, so that it keeps what it shows while time moves on.
    pub fn columns(&self, now: Moment, span: Duration, holds: Duration, width: usize) -> Vec<Option<Column>> {
        let length = span.as_secs_f64() / width.max(1) as f64;
        let first = (now.as_secs_f64() / length).ceil() - width as f64;
        let position = |moment: Moment| (moment.as_secs_f64() / length - first).clamp(0.0, width as f64);
        let mut columns = vec![None; width];
        let mut known = vec![0.0; width];
        let until = self.newest().map(|newest| Sample { at: now.max(newest.at), passed: None, ..*newest });
        for (before, after) in self.newest().zip(until.as_ref()).into_iter().chain(self.steps().rev()) {
            let (from, to) = (position(before.at), position(after.at.min(before.at + holds)));
            if position(after.at) == 0.0 {
                break;
            }
            // A sample is of its own column, however little of that is left.
            let from_column = (from as usize).min(width.saturating_sub(1));
            let to_column = if to > 0.0 { (to.ceil() as usize).max(from_column + 1) } else { from_column };
            for index in from_column..to_column {
                let column = columns[index].get_or_insert_with(Column::default);
                column.visible = column.visible.max(before.visible);
                column.in_flight = column.in_flight.max(before.in_flight);
                column.in_service = column.in_service.max(before.in_service);
                column.desired = column.desired.max(before.desired);
                let share = to.min(index as f64 + 1.0) - from.max(index as f64);
                if let Some(passed) = after.passed
                    && share > 0.0
                {
                    let rate = passed.deleted as f64 / (after.at - before.at).as_secs_f64();
                    let whole = known[index] + share;
                    column.rate = Some((column.rate.unwrap_or(0.0) * known[index] + rate * share) / whole);
                    known[index] = whole;
                }
            }
        }
        columns
    }

    /// Each sample with the next one.
    fn steps(&self) -> impl DoubleEndedIterator<Item = (&Sample, &Sample)> {
        self.0.iter().zip(self.0.iter().skip(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDS: Duration = Duration::from_secs(120);

    fn at(seconds: u64) -> Moment {
        Moment::from_secs(1000 + seconds)
    }

    fn sample(seconds: u64, visible: u64, done: u64) -> Sample {
        let passed = Some(Throughput { sent: done / 2, received: 2 * done, deleted: done });
        Sample { at: at(seconds), visible, passed, ..Sample::default() }
    }

    fn samples(all: &[Sample]) -> Samples {
        let mut samples = Samples::default();
        all.iter().for_each(|sample| samples.push(*sample));
        samples
    }

    #[test]
    fn a_column_has_the_most_that_was_and_the_mean_of_what_was_done() {
        let samples = samples(&[sample(0, 5, 99), sample(10, 9, 10), sample(12, 3, 20), sample(20, 1, 8)]);
        let columns = samples.columns(at(20), Duration::from_secs(40), HOLDS, 4);
        let told: Vec<_> =
            columns.iter().map(|column| column.map(|column| (column.visible, column.rate))).collect();
        // Nobody looked before 0; nothing is known of what was done before the first sample.
        assert_eq!(told[..2], [None, None]);
        assert_eq!(told[2].unwrap(), (5, Some(1.0)));
        let (visible, rate) = told[3].unwrap();
        assert_eq!((visible, (rate.unwrap() * 1000.0).round()), (9, 2800.0));
    }

    #[test]
    fn where_nobody_looked_there_is_nothing() {
        let samples = samples(&[sample(0, 5, 0), sample(600, 7, 0)]);
        let columns = samples.columns(at(600), Duration::from_secs(600), HOLDS, 10);
        let seen: Vec<_> = columns.iter().map(|column| column.map(|column| column.visible)).collect();
        assert_eq!(seen[..3], [Some(5), Some(5), None]);
        assert_eq!(seen[8..], [None, Some(7)]);
        assert_eq!(samples.columns(at(610), Duration::from_secs(20), HOLDS, 2)[1].unwrap().visible, 7);
        assert_eq!(Samples::default().columns(at(0), Duration::from_secs(60), HOLDS, 3), [None; 3]);
    }

    #[test]
    fn rates_are_of_the_last_while_and_of_what_is_known() {
        let mut samples =
            samples(&[sample(0, 0, 0), sample(50, 0, 500), sample(55, 0, 10), sample(60, 0, 30)]);
        assert_eq!(
            samples.rates(Duration::from_secs(10)),
            Some(Rates { sent: 2.0, received: 8.0, done: 4.0 })
        );
        samples.push(Sample { at: at(61), ..Sample::default() });
        assert_eq!(samples.rates(Duration::from_secs(10)), None);
    }

    #[test]
    fn the_number_of_samples_is_bounded_and_their_order_kept() {
        let mut samples = Samples::default();
        (0..AT_MOST as u64 + 5).for_each(|second| samples.push(sample(second, second, 0)));
        assert_eq!((samples.0.len(), samples.0[0].visible), (AT_MOST, 5));
        samples.push(sample(10, 1, 0));
        assert_eq!(samples.newest().unwrap().at, at(10));
        assert_eq!(samples.0.len(), 6);
    }
}
