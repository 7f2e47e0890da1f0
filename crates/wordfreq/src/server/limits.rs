//! How much one may ask, and how many may ask at once. Not here: the time a request may take (`connection`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// Places for connections: so many in all, and not all of them for one client.
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_one: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// A place, for as long as it is held.
pub(super) struct Place {
    places: Arc<Places>,
    client: IpAddr,
    _one_of_all: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(all: usize, of_one: usize) -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(all)), of_one, held: Mutex::default() })
    }

    /// A place for a client at this address, if there is one for it.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let one_of_all = self.all.clone().try_acquire_owned().ok()?;
        let client = network(address);
        let mut held = self.held();
        let of_client = held.entry(client).or_default();
        if *of_client >= self.of_one {
            return None;
        }
        *of_client += 1;
        Some(Place { places: self.clone(), client, _one_of_all: one_of_all })
    }

    /// Waits until none of `all` is held.
    pub(super) async fn none_held(&self, all: usize) {
        // Nobody closes it.
        drop(self.all.acquire_many(u32::try_from(all).unwrap_or(u32::MAX)).await);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Who holds none is forgotten.
        if let Entry::Occupied(mut held) = self.places.held().entry(self.client) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
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
    fn one_client_cannot_hold_all_places_and_gets_back_what_it_leaves() {
        let places = Places::new(4, 2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        let others = [places.take(other).unwrap(), places.take(other).unwrap()];
        assert!(places.take(IpAddr::from([10, 0, 0, 3])).is_none());
        drop(first);
        assert!(places.take(one).is_some());
        drop(others);
        assert_eq!(places.held().len(), 1);
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let rate = Rate::new(1);
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        assert!(rate.check(address(1)).is_ok());
        assert!(rate.check(address(2)).is_err());
    }
}
