//! `wordfreq completions`: a completion script for a shell, made from the same definition that parses the command.

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::output;

/// Prints the script. Needs no configuration, so that a broken one does not break the start of a shell.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "wordfreq", &mut script);
    output::to_stdout(|out| out.write_all(&script))?;
    Ok(Exit::Done)
}
