//! Everything the program prints: results on standard output, remarks for people on standard error.
//!
//! The machine-readable forms are a contract with scripts. Words and keys come from strangers: a table shows control
//! characters escaped, and CSV defuses what a spreadsheet would run. Not here: the log (`logging`) and progress
//! (`commands::count`).

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use wordfreq_core::{Counts, Profile, ProfileName};

use wordfreq_pipeline::spill::Totals;

/// The forms of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people; not stable
    #[default]
    Table,
    /// Columns separated by tabs, after a header
    Tsv,
    /// Columns as RFC 4180 quotes them, after a header; lines end in LF
    Csv,
    /// One JSON object
    Json,
}

/// How a result is to be printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The form.
    pub format: Format,
    /// Whether CSV cells that a spreadsheet would run as a formula are written as they are.
    pub raw_csv: bool,
}

/// The counts of one or more documents, as `count`, `results show` and `results totals` print them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CountReport {
    /// Name of the profile.
    #[serde(serialize_with = "profile_name")]
    pub profile: ProfileName,
    /// Fingerprint of the profile with its options.
    pub fingerprint: String,
    /// Documents counted.
    pub documents: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Words counted: the sum of all counts, also of those that `counts` leaves out.
    pub words: u64,
    /// Different words among them.
    pub distinct: u64,
    /// Words too long to be counted, in none of the other numbers.
    pub over_long: u64,
    /// The ranking, as long as asked for.
    #[serde(serialize_with = "ranking")]
    pub counts: Vec<(String, u64)>,
}

impl CountReport {
    /// The report of counts that are not in memory, with these totals, and without their ranking.
    pub(crate) fn of_totals(profile: &Profile, documents: u64, totals: Totals) -> Self {
        let Totals { bytes, words, distinct, over_long } = totals;
        Self {
            profile: profile.name,
            fingerprint: profile.fingerprint(),
            documents,
            bytes,
            words,
            distinct,
            over_long,
            counts: Vec::new(),
        }
    }

    /// The report of `counts`, with the `limit` first of the ranking, or all of it.
    pub fn new(profile: &Profile, documents: u64, counts: &Counts, limit: Option<usize>) -> Self {
        let ranked = limit.map_or_else(|| counts.ranked(), |limit| counts.top(limit));
        Self {
            profile: profile.name,
            fingerprint: profile.fingerprint(),
            documents,
            bytes: counts.bytes(),
            words: counts.words(),
            distinct: counts.distinct(),
            over_long: counts.over_long(),
            counts: ranked.into_iter().map(|ranked| (ranked.word.to_owned(), ranked.count)).collect(),
        }
    }
}

/// The counts of one file, under its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// The path; what is not UTF-8 in it is shown as U+FFFD.
    pub path: String,
    /// Its counts.
    #[serde(flatten)]
    pub report: CountReport,
}

fn profile_name<S: Serializer>(profile: &ProfileName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(profile)
}

#[derive(Serialize)]
struct Row<'a> {
    word: &'a str,
    count: u64,
}

fn ranking<S: Serializer>(counts: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(counts.iter().map(|(word, count)| Row { word, count: *count }))
}

/// Prints through `render` to standard output, buffered. A closed pipe is no error: whoever read has had enough.
///
/// # Errors
/// When standard output does not take the result for any other reason, such as a full disk.
pub fn to_stdout(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    match render(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is still in the buffer has no reader; dropping the writer would try again.
            let _unsent = out.into_parts();
            Ok(())
        }
        outcome => outcome.context("could not write the result to standard output"),
    }
}

/// Tells the person at the terminal something, on standard error, with control characters escaped.
pub fn remark(text: impl AsRef<str>) {
    let line = format!("{}\n", escaped(text.as_ref()));
    // If standard error is gone there is nowhere left to say so.
    io::stderr().lock().write_all(line.as_bytes()).ok();
}

/// The text with every character that could drive a terminal or reorder what is around it written as an escape.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let is_hostile = |character: char| {
        // Bidirectional overrides and isolates are not control characters to Unicode, but can disguise a line.
        character.is_control()
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_hostile(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Writes one count.
///
/// # Errors
/// Those of `out`.
pub fn write_count(out: &mut dyn Write, report: &CountReport, style: Style) -> io::Result<()> {
    let rows = report.counts.iter().map(|(word, count)| Ok((word.as_str(), *count)));
    match style.format {
        Format::Json => write_json(out, report),
        _ => write_rows(out, report, rows, style),
    }
}

/// Writes one count whose ranking comes row by row; what `report` has of it is left out.
///
/// # Errors
/// Those of `out` and of the ranking.
pub fn write_ranking(
    out: &mut dyn Write,
    report: &CountReport,
    rows: impl Iterator<Item = io::Result<(String, u64)>>,
    style: Style,
) -> io::Result<()> {
    match style.format {
        Format::Json => {
            // All but the rows, up to where they go: `counts` is the last there is.
            let head = serde_json::to_string(&CountReport { counts: Vec::new(), ..report.clone() })?;
            out.write_all(head.strip_suffix("]}").unwrap_or(&head).as_bytes())?;
            for (number, row) in rows.enumerate() {
                let (word, count) = row?;
                out.write_all(if number == 0 { b"" } else { b"," })?;
                serde_json::to_writer(&mut *out, &Row { word: &word, count })?;
            }
            out.write_all(b"]}\n")
        }
        _ => write_rows(out, report, rows, style),
    }
}

fn write_rows<W: AsRef<str>>(
    out: &mut dyn Write,
    report: &CountReport,
    mut rows: impl Iterator<Item = io::Result<(W, u64)>>,
    style: Style,
) -> io::Result<()> {
    match style.format {
        Format::Table | Format::Json => write_count_table(out, report, rows),
        Format::Tsv => {
            out.write_all(b"word\tcount\n")?;
            // No profile has white space in a word, so it needs no escaping.
            rows.try_for_each(|row| row.and_then(|(word, count)| writeln!(out, "{}\t{count}", word.as_ref())))
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(["word", "count"]).map_err(csv_error)?;
            for row in rows {
                let (word, count) = row?;
                csv.write_record([&*csv_cell(word.as_ref(), style), &count.to_string()])
                    .map_err(csv_error)?;
            }
            csv.flush()
        }
    }
}

/// Writes the counts of several files, each by itself.
///
/// # Errors
/// Those of `out`.
pub fn write_files(out: &mut dyn Write, files: &[FileReport], style: Style) -> io::Result<()> {
    #[derive(Serialize)]
    struct Files<'a> {
        files: &'a [FileReport],
    }
    match style.format {
        Format::Table => {
            for (index, file) in files.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                writeln!(out, "{}", escaped(&file.path))?;
                let rows = file.report.counts.iter().map(|(word, count)| Ok((word, *count)));
                write_count_table(out, &file.report, rows)?;
            }
            Ok(())
        }
        Format::Tsv => {
            out.write_all(b"path\tword\tcount\n")?;
            for file in files {
                let path = tsv_cell(&file.path);
                for (word, count) in &file.report.counts {
                    writeln!(out, "{path}\t{word}\t{count}")?;
                }
            }
            Ok(())
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(["path", "word", "count"]).map_err(csv_error)?;
            for file in files {
                let path = csv_cell(&file.path, style);
                for (word, count) in &file.report.counts {
                    csv.write_record([&*path, &*csv_cell(word, style), &count.to_string()])
                        .map_err(csv_error)?;
                }
            }
            csv.flush()
        }
        Format::Json => write_json(out, &Files { files }),
    }
}

/// Count first and unpadded word last: nothing has to be measured, so a million rows need no memory, and a word of
/// any script and width cannot spoil a column.
fn write_count_table<W: AsRef<str>>(
    out: &mut dyn Write,
    report: &CountReport,
    rows: impl Iterator<Item = io::Result<(W, u64)>>,
) -> io::Result<()> {
    let CountReport { fingerprint, documents, bytes, words, distinct, over_long, .. } = report;
    let plural = |number: u64| if number == 1 { "" } else { "s" };
    write!(out, "{documents} document{}, {bytes} byte{}", plural(*documents), plural(*bytes))?;
    write!(out, ", {words} word{}, {distinct} distinct", plural(*words))?;
    if *over_long > 0 {
        write!(out, ", {over_long} over-long word{} left out", plural(*over_long))?;
    }
    writeln!(out, "\nprofile {fingerprint}")?;
    let mut rows = rows.peekable();
    let largest = match rows.peek() {
        // The first of a ranking has the highest count.
        Some(Ok((_, count))) => *count,
        Some(Err(_)) => 0,
        None => return Ok(()),
    };
    let width = largest.to_string().len().max("count".len());
    writeln!(out, "\n{:>width$}  word", "count")?;
    for row in rows {
        let (word, count) = row?;
        let word = word.as_ref();
        // The go-sample profile counts an empty word.
        let shown = if word.is_empty() { Cow::Borrowed("\"\"") } else { escaped(word) };
        writeln!(out, "{count:>width$}  {shown}")?;
    }
    Ok(())
}

/// One value of a [`Listing`].
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Any text, from anyone.
    Text(String),
    /// A number.
    Number(u64),
    /// A number with a fraction: as it is in JSON, elsewhere with two decimals at most.
    Real(f64),
    /// No value: empty, in JSON `null`.
    Missing,
}

impl Cell {
    /// A number with just so many decimals.
    pub fn fixed(number: f64, decimals: usize) -> Self {
        Self::Text(format!("{number:.decimals$}"))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Real(number) => serializer.serialize_f64(*number),
            Self::Missing => serializer.serialize_none(),
        }
    }
}

/// Rows under named columns, printed in any [`Format`]. In JSON it is `{"<name>":[{"<column>":...},...]}`.
#[derive(Clone, Debug)]
pub struct Listing<const N: usize> {
    name: &'static str,
    columns: [&'static str; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Listing<N> {
    /// An empty listing. The names become JSON keys and headers: lower case, joined by underscores.
    pub fn new(name: &'static str, columns: [&'static str; N]) -> Self {
        Self { name, columns, rows: Vec::new() }
    }

    /// Appends a row.
    pub fn push(&mut self, row: [Cell; N]) {
        self.rows.push(row);
    }
}

impl<const N: usize> Serialize for Listing<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(1))?;
        object.serialize_entry(self.name, &Rows(self))?;
        object.end()
    }
}

struct Rows<'a, const N: usize>(&'a Listing<N>);

impl<const N: usize> Serialize for Rows<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.rows.len()))?;
        for row in &self.0.rows {
            rows.serialize_element(&ListingRow { columns: &self.0.columns, row })?;
        }
        rows.end()
    }
}

struct ListingRow<'a, const N: usize> {
    columns: &'a [&'static str; N],
    row: &'a [Cell; N],
}

impl<const N: usize> Serialize for ListingRow<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns.iter().zip(self.row))
    }
}

/// Writes a listing.
///
/// # Errors
/// Those of `out`.
pub fn write_listing<const N: usize>(
    out: &mut dyn Write,
    listing: &Listing<N>,
    style: Style,
) -> io::Result<()> {
    match style.format {
        Format::Table => write_listing_table(out, listing),
        Format::Tsv => {
            writeln!(out, "{}", listing.columns.join("\t"))?;
            for row in &listing.rows {
                let cells = row.each_ref().map(|cell| match cell {
                    Cell::Text(text) => tsv_cell(text),
                    Cell::Number(number) => Cow::Owned(number.to_string()),
                    Cell::Real(number) => Cow::Owned(decimal(*number)),
                    Cell::Missing => Cow::Borrowed(""),
                });
                writeln!(out, "{}", cells.join("\t"))?;
            }
            Ok(())
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(listing.columns).map_err(csv_error)?;
            for row in &listing.rows {
                let cells = row.each_ref().map(|cell| match cell {
                    Cell::Text(text) => csv_cell(text, style),
                    Cell::Number(number) => Cow::Owned(number.to_string()),
                    Cell::Real(number) => Cow::Owned(decimal(*number)),
                    Cell::Missing => Cow::Borrowed(""),
                });
                csv.write_record(cells.iter().map(|cell| cell.as_bytes())).map_err(csv_error)?;
            }
            csv.flush()
        }
        Format::Json => write_json(out, listing),
    }
}

fn write_listing_table<const N: usize>(out: &mut dyn Write, listing: &Listing<N>) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(listing.columns);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let has = |is_kind: fn(&Cell) -> bool| listing.rows.iter().any(|row| is_kind(&row[index]));
        if has(|cell| matches!(cell, Cell::Number(_) | Cell::Real(_)))
            && !has(|cell| matches!(cell, Cell::Text(_)))
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in &listing.rows {
        table.add_row(row.iter().map(|cell| match cell {
            Cell::Text(text) => escaped(text),
            Cell::Number(number) => Cow::Owned(number.to_string()),
            Cell::Real(number) => Cow::Owned(decimal(*number)),
            Cell::Missing => Cow::Borrowed("-"),
        }));
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// A number as a person would write it: two decimals at most.
pub fn decimal(number: f64) -> String {
    ((number * 100.0).round() / 100.0).to_string()
}

/// Writes anything as one line of JSON.
///
/// # Errors
/// Those of `out`.
pub fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// The cause itself, so that a closed pipe is still known as one; csv's own conversion hides it.
fn csv_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("could not write csv: {other:?}")),
    }
}

/// A cell that may hold the characters TSV is made of, with them escaped by a backslash.
fn tsv_cell(text: &str) -> Cow<'_, str> {
    if !text.contains(['\t', '\n', '\r', '\\']) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\t' => safe.push_str("\\t"),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\\' => safe.push_str("\\\\"),
            other => safe.push(other),
        }
    }
    Cow::Owned(safe)
}

/// A text cell, with a leading `'` if a spreadsheet would take it for a formula and the user did not ask for the raw
/// text. The set of characters is OWASP's for CSV injection.
pub(crate) fn csv_cell(text: &str, style: Style) -> Cow<'_, str> {
    if !style.raw_csv && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        let mut safe = String::with_capacity(text.len() + 1);
        safe.push('\'');
        safe.push_str(text);
        Cow::Owned(safe)
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing<3> {
        let mut listing = Listing::new("dead_letters", ["key", "receives", "reason"]);
        listing.push(["plain".into(), 5_u64.into(), "too big".into()]);
        listing.push(["=a\tb\\c\r\n\x1b[2J\u{202e}".into(), 12_u64.into(), Cell::Missing]);
        listing
    }

    fn written(listing: &Listing<3>, format: Format, raw_csv: bool) -> String {
        let mut out = Vec::new();
        write_listing(&mut out, listing, Style { format, raw_csv }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_listing_in_each_form() {
        let listing = listing();
        assert_eq!(
            written(&listing, Format::Json, false),
            "{\"dead_letters\":[{\"key\":\"plain\",\"receives\":5,\"reason\":\"too big\"},\
             {\"key\":\"=a\\tb\\\\c\\r\\n\\u001b[2J\u{202e}\",\"receives\":12,\"reason\":null}]}\n"
        );
        assert_eq!(
            written(&listing, Format::Tsv, false),
            "key\treceives\treason\nplain\t5\ttoo big\n=a\\tb\\\\c\\r\\n\x1b[2J\u{202e}\t12\t\n"
        );
        assert_eq!(
            written(&listing, Format::Csv, false),
            "key,receives,reason\nplain,5,too big\n\"'=a\tb\\c\r\n\x1b[2J\u{202e}\",12,\n"
        );
        assert!(written(&listing, Format::Csv, true).contains("\n\"=a\tb"));
        assert_eq!(
            written(&listing, Format::Table, false),
            "key                           receives  reason\n\
             plain                                5  too big\n\
             =a\\tb\\c\\r\\n\\u{1b}[2J\\u{202e}        12  -\n"
        );
    }

    #[test]
    fn an_empty_listing_is_its_header() {
        let listing = Listing::new("documents", ["key", "words", "bytes"]);
        assert_eq!(written(&listing, Format::Json, false), "{\"documents\":[]}\n");
        assert_eq!(written(&listing, Format::Tsv, false), "key\twords\tbytes\n");
        assert_eq!(written(&listing, Format::Csv, false), "key,words,bytes\n");
        assert_eq!(written(&listing, Format::Table, false), "key  words  bytes\n");
    }

    #[test]
    fn only_hostile_characters_are_escaped() {
        assert_eq!(escaped("naïve 日本 \\ \u{200d}"), "naïve 日本 \\ \u{200d}");
        assert_eq!(escaped("\0\n\u{7f}\u{85}\u{2066}"), "\\u{0}\\n\\u{7f}\\u{85}\\u{2066}");
    }

    #[test]
    fn the_empty_word_of_the_go_profile_can_be_seen() {
        let report = CountReport {
            profile: ProfileName::GoSample,
            fingerprint: "go-sample-v1".into(),
            documents: 2,
            bytes: 1,
            words: 3,
            distinct: 1,
            over_long: 0,
            counts: vec![(String::new(), 3)],
        };
        let write = |format| {
            let mut out = Vec::new();
            write_count(&mut out, &report, Style { format, raw_csv: false }).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(write(Format::Table).ends_with("\n    3  \"\"\n"));
        assert_eq!(write(Format::Tsv), "word\tcount\n\t3\n");
        assert_eq!(write(Format::Csv), "word,count\n,3\n");
    }
}
