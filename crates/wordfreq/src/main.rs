//! The program: parse, resolve the configuration, start the log, run the command, end with its exit code.
//!
//! The only place that ends the process. Everything else is in the library beside it.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use wordfreq::cli::{Cli, Command};
use wordfreq::commands::credential::Kind;
use wordfreq::config::{Config, Environment};
use wordfreq::exit::Exit;
use wordfreq::{aws, commands, logging, output};

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    limit_processor();
    // Wrong usage, and --help, end here.
    let cli = Cli::parse();
    let exit = run(&cli.command).unwrap_or_else(|error| {
        output::remark(format!("error: {error:#}"));
        Exit::of(&error)
    });
    ExitCode::from(exit.code())
}

fn run(command: &Command) -> anyhow::Result<Exit> {
    if let Command::Completions(args) = command {
        return commands::completions::run(args);
    }
    let config = Config::resolve(&command.flags(), &Environment::capture(), Path::new(""))?;
    logging::init(&config.log)?;
    match command {
        Command::Count(args) => commands::count::run(args, &config),
        Command::Config(args) => commands::config::run(args, &config),
        Command::Completions(args) => commands::completions::run(args),
        Command::Up(args) => commands::up::run(args, &config),
        Command::Worker(args) => commands::worker::run(args, &config),
        Command::Upload(args) => commands::upload::run(args, &config),
        Command::Delete(args) => commands::upload::delete(args, &config),
        Command::Results(args) => commands::results::run(args, &config),
        Command::Queue(args) => commands::queue::run(args, &config),
        Command::Fleet(args) => commands::fleet::run(args, &config),
        Command::Top(args) => commands::top::run(args, &config),
        Command::Token(args) => commands::credential::run(Kind::Token, args, &config),
        Command::Key(args) => commands::credential::run(Kind::Key, args, &config),
        Command::Subscriptions(args) => commands::subscriptions::run(args, &config),
        Command::Aws(args) => aws::run(args, &config),
        Command::Simulate(args) => commands::simulate::run(args, &config),
        Command::Loadtest(args) => commands::loadtest::run(args, &config),
    }
}

/// What WORDFREQ_FAILPOINT_PROCESSOR names is all that the counting kernel may use, in a build for tests.
#[cfg(feature = "failpoints")]
fn limit_processor() {
    #[expect(clippy::disallowed_methods, reason = "no setting of the product: compiled for tests only")]
    if let Ok(name) = std::env::var("WORDFREQ_FAILPOINT_PROCESSOR") {
        assert!(wordfreq_core::limit_processor(&name), "this processor cannot count with `{name}`");
    }
}
