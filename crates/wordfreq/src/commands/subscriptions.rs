//! `wordfreq subscriptions`: who is told of what happens, and what became of telling them. Works on the data directory;
//! `up` does the telling (`server::notify`).

use wordfreq_pipeline::Timestamp;
use wordfreq_pipeline::embedded::{Delivery, IfMissing, Subscription};

use super::results::shown_time;
use crate::cli::{SubscriptionsArgs, SubscriptionsCommand};
use crate::config::Config;
use crate::data_directory;
use crate::exit::Exit;
use crate::output::{self, Cell, Listing};
use crate::server::{self, notify::Registrar};

/// Does what is asked for.
pub fn run(args: &SubscriptionsArgs, config: &Config) -> anyhow::Result<Exit> {
    let subscriptions = data_directory::open(config, IfMissing::Refuse)?.subscriptions;
    match &args.command {
        SubscriptionsCommand::List { format, .. } => {
            let mut listing = Listing::new(
                "subscriptions",
                ["id", "target", "events", "bucket", "state", "created_at", "pending", "missed", "note"],
            );
            for subscription in subscriptions.list(None, usize::MAX)? {
                let Subscription { id, target, events, bucket, state, created_at, pending, missed, note } =
                    subscription;
                let events: Vec<_> = events.iter().map(|event| event.as_str()).collect();
                listing.push([
                    id.into(),
                    target.into(),
                    events.join(",").into(),
                    bucket.into(),
                    state.as_str().into(),
                    shown_time(created_at),
                    pending.into(),
                    missed.into(),
                    note.into(),
                ]);
            }
            output::to_stdout(|out| output::write_listing(out, &listing, format.style()))?;
        }
        SubscriptionsCommand::Add { target, events, bucket, format, .. } => {
            // It makes no links; who does knows where it really listens.
            let url = server::public_url(config, config.server.listen.value);
            let registrar = Registrar::new(&config.notify, &subscriptions, url)?;
            let (made, secret) = registrar.subscribe(&subscriptions, target, events, bucket.as_deref())?;
            let mut listing = Listing::new("subscriptions", ["id", "state", "secret"]);
            listing.push([made.id.into(), made.state.as_str().into(), secret.into()]);
            output::to_stdout(|out| output::write_listing(out, &listing, format.style()))?;
            output::remark("`wordfreq up` asks its target to confirm it, within three days");
        }
        SubscriptionsCommand::Remove { ids, .. } => {
            for id in ids {
                subscriptions.remove(id)?;
                output::remark(format!("removed {id}"));
            }
        }
        SubscriptionsCommand::Deliveries { id, limit, format, .. } => {
            let columns = [
                "id",
                "event_id",
                "event",
                "created_at",
                "attempts",
                "status",
                "next_attempt_at",
                "response",
                "last_error",
            ];
            let mut listing = Listing::new("deliveries", columns);
            for delivery in subscriptions.deliveries(id, None, limit.limit().unwrap_or(usize::MAX))? {
                listing.push(row(delivery));
            }
            output::to_stdout(|out| output::write_listing(out, &listing, format.style()))?;
        }
    }
    Ok(Exit::Done)
}

fn row(delivery: Delivery) -> [Cell; 9] {
    let time = |at: Option<Timestamp>| at.map_or(Cell::Missing, shown_time);
    [
        delivery.id.to_string().into(),
        delivery.event_id.into(),
        delivery.event.as_str().into(),
        shown_time(delivery.created_at),
        u64::from(delivery.attempts).into(),
        delivery.status.as_str().into(),
        time(delivery.next_attempt_at),
        delivery.response.map(u64::from).into(),
        delivery.last_error.into(),
    ]
}
