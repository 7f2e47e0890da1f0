//! `wordfreq results`: what was counted, from the data directory, whether or not `up` runs on it.

use std::time::SystemTime;

use anyhow::bail;
use wordfreq_core::Profile;
use wordfreq_pipeline::embedded::{Embedded, IfMissing};
use wordfreq_pipeline::results::{ResultSummary, Results as _, Totals};
use wordfreq_pipeline::{BackendError, DocumentId, Queue as _, Sequence, Timestamp};

use crate::cli::{ResultsArgs, ResultsCommand};
use crate::config::Config;
use crate::data_directory;
use crate::exit::{Exit, UsageError};
use crate::output::{self, Cell, CountReport, Listing};

/// How many results are read at once; a listing of any length takes little more memory than its rows.
const PAGE: usize = 1000;

/// Prints what is asked for.
pub fn run(args: &ResultsArgs, config: &Config) -> anyhow::Result<Exit> {
    let flags = args.command.output();
    let (limit, style) = (flags.limit.limit(), flags.format.style());
    let embedded = data_directory::open(config, IfMissing::Refuse)?;
    match &args.command {
        ResultsCommand::List(_) => {
            let (listing, more) = list(&embedded, limit)?;
            output::to_stdout(|out| output::write_listing(out, &listing, style))?;
            if more {
                output::remark("there are more results: --top N or --all prints them");
            }
        }
        ResultsCommand::Show { document, .. } => {
            let id = DocumentId::parse(document).map_err(|error| UsageError(error.to_string()))?;
            let Some(result) = embedded.results.read(&id, limit)? else {
                bail!(
                    "{id} has no result: `wordfreq results list` names those that have, `wordfreq queue status` what still waits"
                );
            };
            let summary = result.summary;
            let report = CountReport {
                profile: name_of(&embedded, &summary.fingerprint)?,
                fingerprint: summary.fingerprint,
                documents: 1,
                bytes: summary.bytes,
                words: summary.words,
                distinct: summary.distinct,
                over_long: summary.over_long,
                counts: result.counts,
            };
            output::to_stdout(|out| output::write_count(out, &report, style))?;
        }
        ResultsCommand::Totals(_) => {
            let totals = embedded.results.totals(limit)?;
            let other_documents = totals.other_documents;
            let report = totals_report(&embedded, totals)?;
            output::to_stdout(|out| output::write_count(out, &report, style))?;
            remark_on_what_is_missing(&embedded, other_documents)?;
        }
    }
    Ok(Exit::Done)
}

/// The totals as a report.
pub(super) fn totals_report(embedded: &Embedded, totals: Totals) -> Result<CountReport, BackendError> {
    Ok(CountReport {
        profile: name_of(embedded, &totals.fingerprint)?,
        fingerprint: totals.fingerprint,
        documents: totals.documents,
        bytes: totals.bytes,
        words: totals.words,
        distinct: totals.distinct,
        over_long: totals.over_long,
        counts: totals.counts.into_iter().map(|total| (total.word, total.count)).collect(),
    })
}

/// Totals are exact over what is committed; a person wants to know when that is not everything.
fn remark_on_what_is_missing(embedded: &Embedded, other_documents: u64) -> anyhow::Result<()> {
    if other_documents > 0 {
        output::remark(format!(
            "not in these totals: {other_documents} documents counted by another profile"
        ));
    }
    let depth = embedded.queue.depth()?;
    if !depth.is_idle() {
        output::remark(format!("not in these totals yet: {depth}"));
    } else if depth.dead_letters > 0 {
        output::remark(format!(
            "not in these totals: {} dead letters, see `wordfreq queue dead-letters`",
            depth.dead_letters
        ));
    }
    Ok(())
}

fn list(embedded: &Embedded, limit: Option<usize>) -> anyhow::Result<(Listing<10>, bool)> {
    let mut listing = Listing::new(
        "results",
        [
            "bucket",
            "key",
            "bytes",
            "words",
            "distinct",
            "over_long",
            "fingerprint",
            "sequence",
            "duration_us",
            "committed_at",
        ],
    );
    let mut left = limit.unwrap_or(usize::MAX);
    let mut after: Option<DocumentId> = None;
    loop {
        // One more than is printed tells whether there are more.
        let page = embedded.results.list(after.as_ref(), PAGE.min(left.saturating_add(1)))?;
        let Some(last) = page.last() else {
            return Ok((listing, false));
        };
        after = Some(last.document.clone());
        for result in page {
            if left == 0 {
                return Ok((listing, true));
            }
            listing.push(row(&result));
            left -= 1;
        }
    }
}

fn row(result: &ResultSummary) -> [Cell; 10] {
    [
        result.document.bucket().into(),
        result.document.key().into(),
        result.bytes.into(),
        result.words.into(),
        result.distinct.into(),
        result.over_long.into(),
        result.fingerprint.as_str().into(),
        shown_sequence(result.sequence),
        u64::try_from(result.duration.as_micros()).unwrap_or(u64::MAX).into(),
        shown_time(result.committed_at),
    ]
}

/// A number where it is one of a data directory's own; an S3 sequencer as the table keeps it, which no number holds.
fn shown_sequence(sequence: Sequence) -> Cell {
    u64::try_from(sequence.0).map_or_else(|_| format!("{:032x}", sequence.0).into(), Cell::Number)
}

/// RFC 3339, UTC, whole seconds.
pub(super) fn shown_time(time: Timestamp) -> Cell {
    Cell::Text(humantime::format_rfc3339_seconds(SystemTime::from(time)).to_string())
}

fn name_of(embedded: &Embedded, fingerprint: &str) -> Result<wordfreq_core::ProfileName, BackendError> {
    embedded.profile_of(fingerprint).map(|Profile { name, .. }| name)
}
