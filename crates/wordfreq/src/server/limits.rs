//! How much one may ask, and how many may ask at once. Not here: the time a request may take (`connection`).

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not connections: the database, objects, pipes of workers.
const OTHER_FILES: u64 = 512;

/// After so many requests, addresses that asked nothing lately are forgotten.
const FORGET_EVERY: u32 = 4096;

/// Requests a second of one address. Who was silent for a second may ask a second's worth at once.
pub(super) struct Rate {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    clock: DefaultClock,
    asked: AtomicU32,
}

impl Rate {
    pub(super) fn new(a_second: u32) -> Self {
        let quota = Quota::per_second(NonZeroU32::new(a_second).unwrap_or(NonZeroU32::MIN));
        Self {
            limiter: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
            asked: AtomicU32::new(0),
        }
    }

    /// Counts a request; an error tells how long to wait.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Duration> {
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&network(address))
            .map_err(|too_early| too_early.wait_time_from(self.clock.now()))
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// Lets this process have as many files open as it may; a connection is one.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// How many connections there may be, of `wanted`.
pub(super) fn connections(wanted: usize) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return wanted };
    let possible = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
    if possible < wanted {
        tracing::warn!(
            possible,
            wanted,
            "the limit of open files allows fewer connections than server.max_connections"
        );
    }
    wanted.min(possible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_is_told_when_to_come_again_and_others_are_not() {
        let rate = Rate::new(2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let refused = (0..100).filter(|_| rate.check(one).is_err()).count();
        assert!(refused >= 50, "{refused}");
        assert!(rate.check(other).is_ok());
        assert!(rate.check(one).is_err_and(|wait| wait <= Duration::from_secs(1)));
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let rate = Rate::new(1);
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        assert!(rate.check(address(1)).is_ok());
        assert!(rate.check(address(2)).is_err());
    }
}
