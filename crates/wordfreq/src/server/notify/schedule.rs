//! When something is tried again, and when it is given up: plain functions of the time and of what was tried.

use std::time::Duration;

use wordfreq_pipeline::Timestamp;

/// What is waited for after each try; the last one again and again.
const RETRY_AFTER: [Duration; 6] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
];

/// After this long an event is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How many times as fast as it should everything here waits. A test passes more than 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace(pub f64);

impl Pace {
    /// A time at this pace.
    pub(super) fn of(self, time: Duration) -> Duration {
        time.div_f64(self.0.max(1.0))
    }
}

/// How long to wait after the `tried`-th try, with a random part so that many do not come at once; `chance` is from 0 to
/// 1.
pub(super) fn back_off(tried: u32, chance: f64, pace: Pace) -> Duration {
    let last = RETRY_AFTER.len() - 1;
    let index = usize::try_from(tried).map_or(last, |tried| tried.saturating_sub(1).min(last));
    pace.of(RETRY_AFTER[index].mul_f64(0.8 + 0.4 * chance))
}

/// When to try again what was tried for the `tried`-th time at `now`; `None` gives it up.
pub(super) fn next_try(
    created_at: Timestamp,
    now: Timestamp,
    tried: u32,
    chance: f64,
    pace: Pace,
) -> Option<Timestamp> {
    let next = now.plus(back_off(tried, chance, pace));
    (next < created_at.plus(pace.of(GIVE_UP_AFTER))).then_some(next)
}

/// What is given up because it waited too long.
pub(super) fn given_up_before(now: Timestamp, pace: Pace) -> Timestamp {
    let age = i64::try_from(pace.of(GIVE_UP_AFTER).as_millis()).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: Pace = Pace(1.0);
    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn tries_come_after_ten_seconds_up_to_six_hours_for_a_day() {
        let mut now = NOW;
        let mut waits = Vec::new();
        let mut tried = 1;
        while let Some(next) = next_try(NOW, now, tried, 0.5, REAL) {
            waits.push(next.since(now).as_secs());
            now = next;
            tried += 1;
        }
        assert_eq!(waits, [10, 30, 120, 600, 3600, 21600, 21600, 21600]);
        assert!(now.since(NOW) < GIVE_UP_AFTER);
    }

    #[test]
    fn a_wait_is_shortened_or_lengthened_by_a_fifth_at_most_and_a_pace_divides_it() {
        assert_eq!(back_off(1, 0.0, REAL), Duration::from_secs(8));
        assert_eq!(back_off(1, 1.0, REAL), Duration::from_secs(12));
        assert_eq!(back_off(u32::MAX, 0.5, REAL), Duration::from_secs(6 * 3600));
        assert_eq!(back_off(0, 0.5, Pace(100.0)), Duration::from_millis(100));
    }
}
