//! What goes wrong in the life of a system, done to the real program: killed, frozen, poisoned, out of space, started
//! twice. Each test runs real processes on a data directory of its own and compares what is left with a recount.
//!
//! Not here: what the program prints when all is well (`it`).

mod disk;
mod fencing;
mod fleet;
mod kill;
mod lifecycle;
mod notify;
mod oracle;
mod poison;
mod processor;
mod s3;
mod schema;
#[path = "../s3/sdk.rs"]
mod sdk;
mod system;
