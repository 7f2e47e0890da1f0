//! `wordfreq config`: every setting, its effective value, and where the value comes from.

use crate::cli::ConfigArgs;
use crate::config::{self, Config};
use crate::exit::Exit;
use crate::output::{self, Cell, Listing, Style};

/// Prints the effective settings, or the manual's table of them.
pub fn run(args: &ConfigArgs, config: &Config) -> anyhow::Result<Exit> {
    if args.reference {
        output::to_stdout(|out| out.write_all(config::reference_table().as_bytes()))?;
        return Ok(Exit::Done);
    }
    let mut listing = Listing::new("settings", ["setting", "value", "origin"]);
    for effective in config.effective() {
        listing.push([
            Cell::from(effective.setting.name),
            effective.value,
            Cell::from(effective.origin.to_string()),
        ]);
    }
    let style = Style { format: args.format.into(), raw_csv: false };
    output::to_stdout(|out| output::write_listing(out, &listing, style))?;
    Ok(Exit::Done)
}
