//! The program from outside: the built binary is run, and its output, messages and exit code are looked at.

mod api;
mod api_description;
mod completions;
mod config;
mod count;
mod fleet;
mod loadtest;
mod program;
mod remote;
mod server;
mod simulate;
mod subscriptions;
mod system;
