//! The command line of wordfreq: what is asked for, with which settings, and how the answer is printed.
//!
//! This is the only crate that knows the command line, the environment, configuration files and the printed forms of
//! results. Not here: how words are counted (`wordfreq-core`), and the life of a document (`wordfreq-pipeline`).
//! The library exists for the binary beside it and makes no promise to anyone else.

pub mod aws;
pub mod backend;
pub mod chart;
pub mod cli;
pub mod commands;
pub mod config;
pub mod corpus;
pub mod data_directory;
pub mod exit;
pub mod fleet;
pub mod load;
pub mod logging;
pub mod output;
pub mod plan_file;
pub mod prices;
pub mod remote;
pub mod report;
pub mod run;
pub mod server;
pub mod signals;
pub mod temporary;
pub mod top;
pub mod upkeep;
