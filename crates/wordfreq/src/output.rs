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
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use wordfreq_core::{Profile, ProfileName};
use wordfreq_pipeline::rows::{Form, Rows, csv_cell, csv_error, escaped, tsv_cell};
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
    /// Words counted: the sum of all counts, however few of them are printed.
    pub words: u64,
    /// Different words among them.
    pub distinct: u64,
    /// Words too long to be counted, in none of the other numbers.
    pub over_long: u64,
}

impl CountReport {
    /// The report of counts with these sums.
    pub(crate) fn new(profile: &Profile, documents: u64, totals: Totals) -> Self {
        let Totals { bytes, words, distinct, over_long } = totals;
        let fingerprint = profile.fingerprint();
        Self { profile: profile.name, fingerprint, documents, bytes, words, distinct, over_long }
    }
}

/// The counts of one file, under its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// The path; what is not UTF-8 in it is shown as U+FFFD.
    pub path: String,
    /// The sums over its counts.
    #[serde(flatten)]
    pub report: CountReport,
    /// The ranking, as long as asked for.
    #[serde(skip)]
    pub counts: Vec<(String, u64)>,
}

fn profile_name<S: Serializer>(profile: &ProfileName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(profile)
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

/// Rows of a ranking that are there already, as [`write_count`] takes them.
pub fn in_memory<'a>(
    counts: impl IntoIterator<Item = &'a (String, u64)>,
) -> impl Iterator<Item = io::Result<(&'a str, u64)>> {
    counts.into_iter().map(|(word, count)| Ok((word.as_str(), *count)))
}

/// Writes one count: its sums and the rows of its ranking, as they come.
///
/// # Errors
/// Those of `out` and of the ranking.
pub fn write_count<W: AsRef<str>>(
    out: &mut dyn Write,
    report: &CountReport,
    rows: impl Iterator<Item = io::Result<(W, u64)>>,
    style: Style,
) -> io::Result<()> {
    match style.format {
        Format::Table => write_count_table(out, report, rows),
        Format::Tsv => {
            out.write_all(b"word\tcount\n")?;
            write_rows(out, Form::Tsv, rows)
        }
        Format::Csv => {
            out.write_all(b"word,count\n")?;
            write_rows(out, Form::Csv { raw: style.raw_csv }, rows)
        }
        Format::Json => {
            write_json_count(out, report, rows)?;
            out.write_all(b"\n")
        }
    }
}

fn write_rows<W: AsRef<str>>(
    out: &mut dyn Write,
    form: Form,
    rows: impl Iterator<Item = io::Result<(W, u64)>>,
) -> io::Result<()> {
    let mut text = Rows::new(out, form);
    for row in rows {
        let (word, count) = row?;
        text.push(word.as_ref(), count)?;
    }
    text.finish()
}

/// An object with the fields of `sums`, and `counts` as the last.
fn write_json_count<W: AsRef<str>>(
    out: &mut dyn Write,
    sums: &impl Serialize,
    rows: impl Iterator<Item = io::Result<(W, u64)>>,
) -> io::Result<()> {
    let mut head = serde_json::to_string(sums)?;
    head.truncate(head.len() - "}".len());
    write!(out, "{head},\"counts\":[")?;
    write_rows(out, Form::Json, rows)?;
    out.write_all(b"]}")
}

/// Writes the counts of several files, each by itself.
///
/// # Errors
/// Those of `out`.
pub fn write_files(out: &mut dyn Write, files: &[FileReport], style: Style) -> io::Result<()> {
    match style.format {
        Format::Table => {
            for (index, file) in files.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                writeln!(out, "{}", escaped(&file.path))?;
                write_count_table(out, &file.report, in_memory(&file.counts))?;
            }
            Ok(())
        }
        Format::Tsv => {
            out.write_all(b"path\tword\tcount\n")?;
            write_rows_of_files(out, Form::Tsv, files)
        }
        Format::Csv => {
            out.write_all(b"path,word,count\n")?;
            write_rows_of_files(out, Form::Csv { raw: style.raw_csv }, files)
        }
        Format::Json => {
            out.write_all(b"{\"files\":[")?;
            for (index, file) in files.iter().enumerate() {
                out.write_all(if index == 0 { b"" } else { b"," })?;
                write_json_count(out, file, in_memory(&file.counts))?;
            }
            out.write_all(b"]}\n")
        }
    }
}

fn write_rows_of_files(out: &mut dyn Write, form: Form, files: &[FileReport]) -> io::Result<()> {
    let mut text = Rows::new(out, form);
    for file in files {
        text.of_document(&file.path);
        file.counts.iter().try_for_each(|(word, count)| text.push(word, *count))?;
    }
    text.finish()
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
    write_rows(out, Form::Aligned(width), rows)
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

    /// As it stands in a form that is no JSON, its text made safe for it.
    fn shown<'a>(&'a self, safe: impl Fn(&'a str) -> Cow<'a, str>, missing: &'static str) -> Cow<'a, str> {
        match self {
            Self::Text(text) => safe(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Real(number) => Cow::Owned(decimal(*number)),
            Self::Missing => Cow::Borrowed(missing),
        }
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
        object.serialize_entry(self.name, &self.cells())?;
        object.end()
    }
}

/// A listing of any width.
struct Cells<'a> {
    columns: &'a [&'static str],
    rows: Vec<&'a [Cell]>,
}

impl<const N: usize> Listing<N> {
    fn cells(&self) -> Cells<'_> {
        Cells { columns: &self.columns, rows: self.rows.iter().map(<[Cell; N]>::as_slice).collect() }
    }
}

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows.iter().map(|row| CellsOfRow { columns: self.columns, row }))
    }
}

struct CellsOfRow<'a> {
    columns: &'a [&'static str],
    row: &'a [Cell],
}

impl Serialize for CellsOfRow<'_> {
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
    let rows = listing.cells();
    match style.format {
        Format::Json => write_json(out, listing),
        Format::Table => write_listing_table(out, &rows),
        Format::Tsv => {
            writeln!(out, "{}", rows.columns.join("\t"))?;
            for row in &rows.rows {
                let cells: Vec<_> = row.iter().map(|cell| cell.shown(tsv_cell, "")).collect();
                writeln!(out, "{}", cells.join("\t"))?;
            }
            Ok(())
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(rows.columns).map_err(csv_error)?;
            for row in &rows.rows {
                let cells = row.iter().map(|cell| cell.shown(|text| csv_cell(text, style.raw_csv), ""));
                csv.write_record(cells.map(|cell| cell.into_owned().into_bytes())).map_err(csv_error)?;
            }
            csv.flush()
        }
    }
}

fn write_listing_table(out: &mut dyn Write, listing: &Cells<'_>) -> io::Result<()> {
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
        table.add_row(row.iter().map(|cell| cell.shown(escaped, "-")));
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
    fn the_empty_word_of_the_go_profile_can_be_seen() {
        let report = CountReport {
            profile: ProfileName::GoSample,
            fingerprint: "go-sample-v1".into(),
            documents: 2,
            bytes: 1,
            words: 3,
            distinct: 1,
            over_long: 0,
        };
        let write = |format| {
            let mut out = Vec::new();
            let rows = [Ok(("", 3))].into_iter();
            write_count(&mut out, &report, rows, Style { format, raw_csv: false }).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(write(Format::Table).ends_with("\n    3  \"\"\n"));
        assert_eq!(write(Format::Tsv), "word\tcount\n\t3\n");
        assert_eq!(write(Format::Csv), "word,count\n,3\n");
    }

    #[test]
    fn a_ranking_that_breaks_off_is_an_error() {
        let report = CountReport::new(&Profile::default(), 1, Totals::default());
        for format in [Format::Table, Format::Tsv, Format::Csv, Format::Json] {
            let rows = [Ok(("whole", 2)), Err(io::Error::other("damaged"))].into_iter();
            let outcome = write_count(&mut Vec::new(), &report, rows, Style { format, raw_csv: false });
            assert_eq!(outcome.unwrap_err().to_string(), "damaged", "{format:?}");
        }
    }
}
