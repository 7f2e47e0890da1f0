//! The request to stop taking new work, finish what is in hand and give back the rest. Once made it stays made.
//! Not here: where the request comes from (signals, a closed pipe), and stopping at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

type Listener = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    requested: bool,
    listeners: BTreeMap<u64, Listener>,
    next_listener: u64,
}

/// A shared, one-way switch that can be waited on. Clones share it.
#[derive(Clone, Default)]
pub struct Drain(Arc<(Mutex<State>, Condvar)>);

impl Drain {
    /// A switch not yet thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Throws the switch and wakes everyone who waits. Idempotent.
    pub fn request(&self) {
        let (state, condition) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requested = true;
        condition.notify_all();
        for listener in state.listeners.values() {
            listener();
        }
    }

    /// Whether the switch was thrown.
    pub fn requested(&self) -> bool {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).requested
    }

    /// Waits until the switch is thrown or `timeout` has passed; tells whether it was thrown.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (state, condition) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.requested {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = condition.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Calls `listener` when the switch is thrown, or now if it already was, for as long as the subscription lives.
    /// It must return at once.
    #[must_use = "the listener is dropped with its subscription"]
    pub fn on_request(&self, listener: impl Fn() + Send + Sync + 'static) -> Subscription {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.requested {
            listener();
        }
        let id = state.next_listener;
        state.next_listener += 1;
        state.listeners.insert(id, Box::new(listener));
        Subscription { drain: self.clone(), id }
    }
}

/// Keeps a listener of a [`Drain`] subscribed until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    drain: Drain,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.drain.0.0.lock().unwrap_or_else(PoisonError::into_inner).listeners.remove(&self.id);
    }
}

impl std::fmt::Debug for Drain {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Drain").field("requested", &self.requested()).finish()
    }
}
