//! What every adapter of a port must pass. Each function panics with a message when the contract is broken; adapters
//! call them from their own tests with a fresh, empty store.

pub mod fleet;
pub mod queue;
pub mod results;
