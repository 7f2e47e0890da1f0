//! `wordfreq results`: what was counted, whether or not anything runs at the moment.

use anyhow::{Context as _, bail};
use wordfreq_core::ProfileName;
use wordfreq_pipeline::queue::Depth;
use wordfreq_pipeline::results::{ResultSummary, Totals};
use wordfreq_pipeline::{DocumentId, Sequence, Timestamp};

use crate::backend::{self, AnyResults};
use crate::cli::{ResultsArgs, ResultsCommand};
use crate::config::{BackendName, Config};
use crate::exit::{Exit, UsageError};
use crate::output::{self, Cell, CountReport, Listing, Style};

/// Prints what is asked for.
pub fn run(args: &ResultsArgs, config: &Config) -> anyhow::Result<Exit> {
    let flags = args.command.output();
    let (limit, style) = (flags.limit.limit(), flags.format.style());
    let results = backend::results(config)?;
    match &args.command {
        ResultsCommand::List(_) => {
            let (listing, more) = list(&results, config.backend.value, limit)?;
            output::to_stdout(|out| output::write_listing(out, &listing, style))?;
            if more {
                output::remark("there are more results: --top N or --all prints them");
            }
        }
        ResultsCommand::Show { document, .. } => {
            let id = DocumentId::parse(document).map_err(|error| UsageError(error.to_string()))?;
            let Some(result) = results.read(&id, limit)? else {
                bail!(
                    "{id} has no result: `wordfreq results list` names those that have, `wordfreq queue status` what still waits"
                );
            };
            let summary = result.summary;
            let report = CountReport {
                profile: name_of(&summary.fingerprint)?,
                fingerprint: summary.fingerprint,
                documents: 1,
                bytes: summary.bytes,
                words: summary.words,
                distinct: summary.distinct,
                over_long: summary.over_long,
            };
            let rows = output::in_memory(&result.counts);
            output::to_stdout(|out| output::write_count(out, &report, rows, style))?;
        }
        ResultsCommand::Totals(_) => {
            let totals = results.totals(limit)?;
            let other_documents = totals.other_documents;
            print_totals(totals, style)?;
            remark_on_what_is_missing(results.depth()?, other_documents)?;
        }
    }
    Ok(Exit::Done)
}

/// Prints the totals.
pub(super) fn print_totals(totals: Totals, style: Style) -> anyhow::Result<()> {
    let report = CountReport {
        profile: name_of(&totals.fingerprint)?,
        fingerprint: totals.fingerprint,
        documents: totals.documents,
        bytes: totals.bytes,
        words: totals.words,
        distinct: totals.distinct,
        over_long: totals.over_long,
    };
    let rows = totals.counts.iter().map(|total| Ok((total.word.as_str(), total.count)));
    output::to_stdout(|out| output::write_count(out, &report, rows, style))
}

/// Totals are exact over what is committed; a person wants to know when that is not everything.
fn remark_on_what_is_missing(depth: Option<Depth>, other_documents: u64) -> anyhow::Result<()> {
    if other_documents > 0 {
        output::remark(format!(
            "not in these totals: {other_documents} documents counted by another profile"
        ));
    }
    let Some(depth) = depth else { return Ok(()) };
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

fn list(
    results: &AnyResults,
    backend: BackendName,
    limit: Option<usize>,
) -> anyhow::Result<(Listing<10>, bool)> {
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
    let limit = limit.unwrap_or(usize::MAX);
    // One more than is printed tells whether there are more.
    let mut found = results.list(limit.saturating_add(1))?;
    let more = found.len() > limit;
    found.truncate(limit);
    found.iter().for_each(|result| listing.push(row(result, backend)));
    Ok((listing, more))
}

fn row(result: &ResultSummary, backend: BackendName) -> [Cell; 10] {
    [
        result.document.bucket().into(),
        result.document.key().into(),
        result.bytes.into(),
        result.words.into(),
        result.distinct.into(),
        result.over_long.into(),
        result.fingerprint.as_str().into(),
        shown_sequence(result.sequence, backend),
        u64::try_from(result.duration.as_micros()).unwrap_or(u64::MAX).into(),
        shown_time(result.committed_at),
    ]
}

/// A data directory's own number; on AWS the sequencer as the table keeps it, which no JSON number holds.
fn shown_sequence(sequence: Sequence, backend: BackendName) -> Cell {
    match (backend, u64::try_from(sequence.0)) {
        (BackendName::Embedded | BackendName::Server, Ok(number)) => Cell::Number(number),
        _ => Cell::Text(format!("{:032x}", sequence.0)),
    }
}

/// RFC 3339, UTC, whole seconds.
pub(super) fn shown_time(time: Timestamp) -> Cell {
    Cell::Text(time.to_rfc3339())
}

fn name_of(fingerprint: &str) -> anyhow::Result<ProfileName> {
    ProfileName::of_fingerprint(fingerprint)
        .with_context(|| format!("no profile of this version has the fingerprint {fingerprint:?}"))
}
