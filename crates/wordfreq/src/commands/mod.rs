//! One file per command. Each is `run(&its arguments, &the resolved configuration) -> anyhow::Result<Exit>`.
//!
//! Not here: parsing (`cli`), settings (`config`), the printed forms (`output`).

pub mod completions;
pub mod config;
pub mod count;
pub mod credential;
pub mod fleet;
pub mod loadtest;
pub mod queue;
pub mod results;
pub mod simulate;
pub mod subscriptions;
pub mod top;
pub mod up;
pub mod upload;
pub mod worker;
