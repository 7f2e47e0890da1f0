//! The real program as a fleet of workers on AWS, which an emulator plays here: every test starts processes with the
//! environment of the Go sample and compares what is left with a recount. Between them and the emulator stands a proxy
//! where harm is to be done or requests are to be counted.
//!
//! Not here: single adapters (`wordfreq-aws/tests`), and the embedded backend (`it`, `faults`).

mod commands;
mod cost;
mod go_sample;
mod large;
mod lifecycle;
mod metadata;
mod misconfiguration;
#[path = "../faults/oracle.rs"]
mod oracle;
mod poison;
mod process;
mod races;
mod storm;
#[path = "../../../wordfreq-aws/tests/support/mod.rs"]
mod support;
mod world;

use std::sync::LazyLock;

use support::moto::Moto;

/// For every test that does not load it much; the others have one of their own.
static MOTO: LazyLock<Moto> = LazyLock::new(Moto::start);

#[expect(clippy::print_stderr, reason = "what a long test did is worth a line")]
fn say(text: &str) {
    eprintln!("{text}");
}
