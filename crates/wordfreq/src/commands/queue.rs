//! `wordfreq queue`: how much work waits, what was given up and why, and sending it back.

use anyhow::Context as _;
use wordfreq_pipeline::queue::Redrive;

use super::results::shown_time;
use crate::backend;
use crate::cli::{QueueArgs, QueueCommand};
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Cell, Format, Listing};

/// Of a body that stands for a key; a message may have a mebibyte.
const SHOWN_CHARS: usize = 200;

/// Does what is asked for.
pub fn run(args: &QueueArgs, config: &Config) -> anyhow::Result<Exit> {
    let style = args.command.output().format.style();
    let queue = backend::queue(config)?;
    match &args.command {
        QueueCommand::Status(_) => {
            let depth = queue.depth()?;
            let oldest_age_seconds = depth.oldest_age.map(|age| age.as_secs());
            if style.format == Format::Json {
                let status = serde_json::json!({
                    "visible": depth.visible, "in_flight": depth.in_flight, "delayed": depth.delayed,
                    "oldest_age_seconds": oldest_age_seconds, "dead_letters": depth.dead_letters,
                });
                output::to_stdout(|out| writeln!(out, "{status}"))?;
            } else {
                let mut listing = Listing::new(
                    "queue",
                    ["visible", "in_flight", "delayed", "oldest_age_seconds", "dead_letters"],
                );
                listing.push([
                    depth.visible.into(),
                    depth.in_flight.into(),
                    depth.delayed.into(),
                    oldest_age_seconds.into(),
                    depth.dead_letters.into(),
                ]);
                output::to_stdout(|out| output::write_listing(out, &listing, style))?;
            }
        }
        QueueCommand::DeadLetters(_) => {
            let mut listing = Listing::new(
                "dead_letters",
                ["id", "bucket", "key", "reason", "receive_count", "sent_at", "died_at"],
            );
            for letter in queue.dead_letters()? {
                let (bucket, key) = match queue.document(&letter.body) {
                    Some(event) => (event.id.bucket().into(), event.id.key().into()),
                    // Whatever it was, it is shown where a person looks for its name.
                    None => (Cell::Missing, Cell::Text(letter.body.chars().take(SHOWN_CHARS).collect())),
                };
                listing.push([
                    letter.id.into(),
                    bucket,
                    key,
                    letter.reason.into(),
                    u64::from(letter.receive_count).into(),
                    shown_time(letter.sent_at),
                    shown_time(letter.died_at),
                ]);
            }
            output::to_stdout(|out| output::write_listing(out, &listing, style))?;
        }
        QueueCommand::Redrive { ids, .. } => {
            let (which, failed) = if ids.is_empty() {
                (Redrive::All, "not all was redriven")
            } else {
                (Redrive::Only(ids.clone()), "nothing was redriven")
            };
            let redriven = queue.redrive(&which).context(failed)?;
            let mut listing = Listing::new("redriven", ["redriven"]);
            listing.push([redriven.into()]);
            if style.format == Format::Json {
                output::to_stdout(|out| writeln!(out, "{}", serde_json::json!({ "redriven": redriven })))?;
            } else {
                output::to_stdout(|out| output::write_listing(out, &listing, style))?;
            }
        }
    }
    Ok(Exit::Done)
}
