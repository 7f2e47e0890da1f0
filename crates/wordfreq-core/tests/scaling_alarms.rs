//! Metrics and alarms: the golden tables of the CloudWatch user guide, the words, the limits.

use std::time::Duration;

use proptest::prelude::*;
use wordfreq_core::scaling::{
    Alarm, AlarmError, AlarmState, ComparisonOperator, Metric, Metrics, Observation, Resolution, Statistic,
    TreatMissingData,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// M of N above 1.
fn alarm(m: u32, n: u32, missing_data: TreatMissingData) -> Alarm {
    Alarm {
        name: "alarm".to_owned(),
        metric: Metric::MessagesVisible,
        statistic: Statistic::Average,
        period: seconds(60),
        evaluation_periods: n,
        datapoints_to_alarm: m,
        operator: ComparisonOperator::GreaterThan,
        threshold: 1.0,
        missing_data,
    }
}

/// `0` does not breach, `X` does, `-` is missing; the newest is on the right.
fn points(pattern: &str) -> Vec<Option<f64>> {
    let point = |c| match c {
        '0' => Some(0.0),
        'X' => Some(2.0),
        '-' => None,
        _ => panic!("{c} is no datapoint"),
    };
    pattern.chars().map(point).collect()
}

const COLUMNS: [TreatMissingData; 4] = [
    TreatMissingData::Missing,
    TreatMissingData::Ignore,
    TreatMissingData::Breaching,
    TreatMissingData::NotBreaching,
];

#[test]
fn the_golden_table_holds_in_all_four_columns() {
    // `None` is "the state is kept".
    const OK: Option<AlarmState> = Some(AlarmState::Ok);
    const ALARM: Option<AlarmState> = Some(AlarmState::Alarm);
    const UNKNOWN: Option<AlarmState> = Some(AlarmState::InsufficientData);
    const KEPT: Option<AlarmState> = None;
    let table = [
        (3, "0-X-X", [OK, OK, OK, OK]),
        (3, "0----", [OK, OK, OK, OK]),
        (3, "-----", [UNKNOWN, KEPT, ALARM, OK]),
        (3, "0XX-X", [ALARM, ALARM, ALARM, ALARM]),
        (3, "--X--", [ALARM, KEPT, ALARM, OK]),
        (2, "0-X-X", [ALARM, ALARM, ALARM, ALARM]),
        (2, "00X0X", [ALARM, ALARM, ALARM, ALARM]),
        (2, "0-X--", [OK, OK, ALARM, OK]),
        (2, "----0", [OK, OK, ALARM, OK]),
        (2, "---X-", [ALARM, KEPT, ALARM, OK]),
        // "Avoiding premature transitions": one breaching datapoint waits for the next ones.
        (3, "----X", [OK, KEPT, ALARM, OK]),
        (3, "---X-", [OK, KEPT, ALARM, OK]),
        (3, "--X-0", [OK, OK, OK, OK]),
        // With enough datapoints the setting does not matter.
        (3, "XXX--", [ALARM, ALARM, ALARM, ALARM]),
        (3, "XXX-0", [OK, OK, OK, OK]),
    ];
    for (m, pattern, row) in table {
        for (missing_data, expected) in COLUMNS.into_iter().zip(row) {
            for &before in AlarmState::ALL {
                let state = alarm(m, 3, missing_data).evaluate(&points(pattern), before).state;
                assert_eq!(
                    state,
                    expected.unwrap_or(before),
                    "{pattern} M={m} {missing_data} after {before}"
                );
            }
        }
    }
}

#[test]
fn operators_differ_at_the_threshold_alone() {
    let breaching = [
        (ComparisonOperator::GreaterThanOrEqualTo, [false, true, true]),
        (ComparisonOperator::GreaterThan, [false, false, true]),
        (ComparisonOperator::LessThan, [true, false, false]),
        (ComparisonOperator::LessThanOrEqualTo, [true, true, false]),
    ];
    for (operator, expected) in breaching {
        assert_eq!([49.0, 50.0, 51.0].map(|value| operator.breaches(value, 50.0)), expected, "{operator}");
    }
}

#[test]
fn reasons_are_worded_as_cloudwatch_words_them() {
    let reason = |m, n, missing, pattern: &str| {
        alarm(m, n, missing).evaluate(&points(pattern), AlarmState::InsufficientData).reason
    };
    use TreatMissingData::{Breaching, Missing, NotBreaching};
    assert_eq!(
        reason(1, 1, Missing, "0X"),
        "Threshold Crossed: 1 out of the last 1 datapoints [2.0] was greater than the threshold (1.0) (minimum 1 \
         datapoint for OK -> ALARM transition).",
    );
    assert_eq!(
        reason(3, 3, Missing, "XXX"),
        "Threshold Crossed: 3 out of the last 3 datapoints [2.0, 2.0, 2.0] were greater than the threshold (1.0) (minimum \
         3 datapoints for OK -> ALARM transition).",
    );
    assert_eq!(
        reason(2, 3, Missing, "0X0"),
        "Threshold Crossed: 2 out of the last 3 datapoints [0.0, 0.0] were not greater than the threshold (1.0) (minimum \
         2 datapoints for ALARM -> OK transition).",
    );
    assert_eq!(
        reason(1, 20, NotBreaching, "X"),
        "Threshold Crossed: 1 out of the last 20 datapoints [2.0] was greater than the threshold (1.0) and 19 missing \
         datapoints were treated as [NonBreaching] (minimum 1 datapoint for OK -> ALARM transition).",
    );
    assert_eq!(
        reason(2, 2, Breaching, "---"),
        "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as [Breaching].",
    );
    assert_eq!(
        reason(1, 1, Breaching, "-"),
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [Breaching].",
    );
    assert_eq!(reason(3, 3, Missing, "-----"), "Insufficient Data: 3 datapoints were unknown.");
}

#[test]
fn every_field_is_checked_and_the_error_names_it() {
    let good = alarm(3, 3, TreatMissingData::Missing);
    good.validate().unwrap();
    for period in [10, 20, 30, 60, 120, 3_600] {
        Alarm { period: seconds(period), ..good.clone() }.validate().unwrap();
    }
    let wrong = |change: fn(&mut Alarm)| {
        let mut alarm = good.clone();
        change(&mut alarm);
        alarm.validate().unwrap_err()
    };
    assert_eq!(wrong(|alarm| alarm.name.clear()), AlarmError::Name);
    for period in [0, 1, 11, 40, 90] {
        let error = Alarm { period: seconds(period), ..good.clone() }.validate().unwrap_err();
        assert!(matches!(error, AlarmError::Period { .. }), "{error}");
        assert!(error.to_string().contains("period"), "{error}");
    }
    assert!(matches!(wrong(|alarm| alarm.period = Duration::from_millis(60_001)), AlarmError::Period { .. }));
    let error = wrong(|alarm| alarm.evaluation_periods = 0);
    assert!(error.to_string().contains("evaluation_periods"), "{error}");
    for m in [0, 4] {
        let error = Alarm { datapoints_to_alarm: m, ..good.clone() }.validate().unwrap_err();
        assert!(error.to_string().contains("datapoints_to_alarm"), "{error}");
    }
    for threshold in [f64::NAN, f64::INFINITY] {
        let error = Alarm { threshold, ..good.clone() }.validate().unwrap_err();
        assert!(error.to_string().contains("threshold"), "{error}");
    }
    // A day of periods under an hour, a week of others.
    let lasting = |period, evaluation_periods| {
        Alarm { period: seconds(period), evaluation_periods, ..good.clone() }.validate().is_ok()
    };
    assert!(lasting(60, 1_440) && !lasting(60, 1_441));
    assert!(lasting(3_540, 24) && !lasting(3_540, 25));
    assert!(lasting(3_600, 168) && !lasting(3_600, 169));
}

#[test]
fn words_round_trip_and_others_are_refused_with_the_known_ones() {
    for &metric in Metric::ALL {
        assert_eq!(metric.to_string().parse(), Ok(metric));
    }
    for &operator in ComparisonOperator::ALL {
        assert_eq!(operator.to_string().parse(), Ok(operator));
    }
    for missing in COLUMNS {
        assert_eq!(missing.to_string().parse(), Ok(missing));
    }
    let error = "NumberOfMessages".parse::<Metric>().unwrap_err().to_string();
    assert!(error.starts_with("unknown metric `NumberOfMessages`: use one of "), "{error}");
    assert!(error.contains("ApproximateNumberOfMessagesVisible, "), "{error}");
    let throughput: Vec<&str> =
        Metric::ALL.iter().filter(|metric| metric.is_throughput()).map(|metric| metric.as_str()).collect();
    assert_eq!(throughput, ["NumberOfMessagesSent", "NumberOfMessagesReceived", "NumberOfMessagesDeleted"]);
}

#[test]
fn a_datapoint_is_the_statistic_of_its_period() {
    for resolution in [Resolution::Standard, Resolution::High] {
        let mut metrics = Metrics::new(resolution, seconds(3_600));
        for (at, visible, received) in [(60, 10, 1), (70, 40, 2), (119, 10, 3), (120, 99, 9)] {
            metrics.record(&Observation {
                at: seconds(at),
                visible,
                received,
                in_service: 2,
                ..Observation::default()
            });
        }
        let of = |metric, statistic| metrics.datapoint(metric, statistic, seconds(60), seconds(60));
        assert_eq!(of(Metric::MessagesVisible, Statistic::Average), Some(20.0));
        assert_eq!(of(Metric::MessagesVisible, Statistic::Sum), Some(60.0));
        assert_eq!(of(Metric::MessagesVisible, Statistic::Minimum), Some(10.0));
        assert_eq!(of(Metric::MessagesVisible, Statistic::Maximum), Some(40.0));
        assert_eq!(of(Metric::BacklogPerInstance, Statistic::Average), Some(10.0));
        assert_eq!(of(Metric::InServiceInstances, Statistic::Average), Some(2.0));
        assert_eq!(of(Metric::MessagesReceived, Statistic::Sum), Some(6.0));
        for start in [0, 180] {
            let there =
                metrics.datapoint(Metric::MessagesVisible, Statistic::Sum, seconds(start), seconds(60));
            assert_eq!(there, None);
        }
        assert_eq!(metrics.latest().map(|latest| latest.visible), Some(99));
    }
    // SQS sends a throughput once a minute, so that its average is its sum.
    let mut metrics = Metrics::new(Resolution::Standard, seconds(600));
    for at in [0, 20, 40] {
        metrics.record(&Observation { at: seconds(at), received: 5, ..Observation::default() });
    }
    let average = metrics.datapoint(Metric::MessagesReceived, Statistic::Average, seconds(0), seconds(60));
    assert_eq!(average, Some(15.0));
}

#[test]
fn a_datapoint_that_is_late_is_waited_for() {
    let watched = alarm(1, 1, TreatMissingData::Breaching);
    assert_eq!(alarm(3, 3, TreatMissingData::Missing).evaluation_range(), 5);
    let mut metrics = Metrics::new(Resolution::Standard, seconds(600));
    metrics.record(&Observation { at: seconds(70), ..Observation::default() });
    // Two periods later it still decides, three periods later there is no data.
    for (at, expected) in [(120, AlarmState::Ok), (240, AlarmState::Ok), (300, AlarmState::Alarm)] {
        let points = watched.datapoints(&metrics, seconds(at));
        assert_eq!(watched.evaluate(&points, AlarmState::Ok).state, expected, "at {at}");
    }
    // Nothing can have been observed before the start.
    assert_eq!(watched.datapoints(&metrics, seconds(60)), [None, None, None]);
}

#[test]
fn an_empty_fleet_has_a_backlog_for_one_and_an_empty_queue_an_age_of_0() {
    let mut metrics = Metrics::new(Resolution::High, seconds(600));
    metrics.record(&Observation { visible: 7, ..Observation::default() });
    let of = |metrics: &Metrics, metric, at| {
        metrics.datapoint(metric, Statistic::Average, seconds(at), seconds(10))
    };
    assert_eq!(of(&metrics, Metric::BacklogPerInstance, 0), Some(7.0));
    assert_eq!(of(&metrics, Metric::AgeOfOldestMessage, 0), None);
    metrics.record(&Observation { at: seconds(10), ..Observation::default() });
    assert_eq!(of(&metrics, Metric::AgeOfOldestMessage, 10), Some(0.0));
    let oldest_age = Some(seconds(90));
    metrics.record(&Observation { at: seconds(20), visible: 1, oldest_age, ..Observation::default() });
    assert_eq!(of(&metrics, Metric::AgeOfOldestMessage, 20), Some(90.0));
}

proptest! {
    #[test]
    fn a_history_is_bounded_and_takes_what_comes_late(
        observed in prop::collection::vec((0..2_000u64, 0..100u64), 1..60),
    ) {
        let keep = 300;
        let mut metrics = Metrics::new(Resolution::High, seconds(keep));
        let mut newest = 0;
        let mut oldest_ever_kept = 0;
        for &(at, visible) in &observed {
            metrics.record(&Observation { at: seconds(at), visible, ..Observation::default() });
            newest = newest.max(at / 10 * 10);
            oldest_ever_kept = newest.saturating_sub(keep);
        }
        for start in (0..2_000).step_by(10) {
            let expected: Vec<u64> = observed
                .iter()
                .filter(|&&(at, _)| at / 10 * 10 == start && start >= oldest_ever_kept)
                .map(|&(_, visible)| visible)
                .collect();
            let most = metrics.datapoint(Metric::MessagesVisible, Statistic::Maximum, seconds(start), seconds(10));
            prop_assert_eq!(most, expected.iter().max().map(|&most| most as f64));
        }
    }

    #[test]
    fn more_breaching_datapoints_never_end_an_alarm(
        pattern in prop::collection::vec(prop::option::weighted(0.7, any::<bool>()), 0..9),
        m in 1..4u32,
        more in 0..3u32,
        column in 0..4usize,
        raised in any::<prop::sample::Index>(),
    ) {
        let alarm = alarm(m, m + more, COLUMNS[column]);
        let mut points: Vec<Option<f64>> =
            pattern.iter().map(|point| point.map(|breaches| if breaches { 2.0 } else { 0.0 })).collect();
        let before = alarm.evaluate(&points, AlarmState::Ok).state;
        if !points.is_empty() {
            let index = raised.index(points.len());
            points[index] = points[index].map(|_| 2.0);
        }
        let after = alarm.evaluate(&points, AlarmState::Ok).state;
        prop_assert!(before != AlarmState::Alarm || after == AlarmState::Alarm);
    }
}
