//! Words with their counts as text, row by row, and what makes text of strangers safe in it.
//!
//! A table has millions of rows, so this stands in the crate that is compiled for speed. Not here: heads, sums and lists of
//! anything but words, which the command line adds.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

/// Text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// A row goes beyond a piece by no more than this, mostly.
const SPARE_BYTES: usize = 1024;

/// How a row looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people: the count, right-aligned in so many columns, and the word as it can be shown.
    Aligned(usize),
    /// `word`, `count`, separated by a tab; after the path of their document, if there is one.
    Tsv,
    /// As RFC 4180 has them, the same columns.
    Csv {
        /// Whether cells that a spreadsheet would run as a formula are written as they are.
        raw: bool,
    },
    /// `{"word":...,"count":...}`, separated by commas.
    Json,
}

/// Writes rows, and hands them on in pieces, the last of them when it [finishes](Self::finish). Without that, rows may be missing.
pub struct Rows<'a>(Sink<'a>);

enum Sink<'a> {
    Csv { csv: Box<csv::Writer<&'a mut dyn Write>>, path: Option<String>, raw: bool, number: Vec<u8> },
    Text { out: &'a mut dyn Write, form: TextForm, text: Vec<u8> },
}

enum TextForm {
    Aligned(usize),
    Tsv(Option<String>),
    Json { is_first: bool },
}

impl<'a> Rows<'a> {
    /// Rows to `out`.
    pub fn new(out: &'a mut dyn Write, form: Form) -> Self {
        let form = match form {
            Form::Csv { raw } => {
                let csv = Box::new(csv::WriterBuilder::new().buffer_capacity(PIECE_BYTES).from_writer(out));
                return Self(Sink::Csv { csv, path: None, raw, number: Vec::new() });
            }
            Form::Aligned(width) => TextForm::Aligned(width),
            Form::Tsv => TextForm::Tsv(None),
            Form::Json => TextForm::Json { is_first: true },
        };
        Self(Sink::Text { out, form, text: Vec::with_capacity(PIECE_BYTES + SPARE_BYTES) })
    }

    /// The rows that follow are of the document at `path`, which TSV and CSV name in a column before the others.
    pub fn of_document(&mut self, path: &str) {
        match &mut self.0 {
            Sink::Csv { path: column, raw, .. } => *column = Some(csv_cell(path, *raw).into_owned()),
            Sink::Text { form: TextForm::Tsv(column), .. } => *column = Some(tsv_cell(path).into_owned()),
            Sink::Text { .. } => {}
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn push(&mut self, word: &str, count: u64) -> io::Result<()> {
        match &mut self.0 {
            Sink::Csv { csv, path, raw, number } => {
                number.clear();
                write!(number, "{count}")?;
                if let Some(path) = path {
                    csv.write_field(path.as_bytes()).map_err(csv_error)?;
                }
                csv.write_field(csv_cell(word, *raw).as_bytes()).map_err(csv_error)?;
                csv.write_field(number).map_err(csv_error)?;
                csv.write_record(None::<&[u8]>).map_err(csv_error)
            }
            Sink::Text { out, form, text } => {
                form.put(text, word, count)?;
                if text.len() < PIECE_BYTES {
                    return Ok(());
                }
                let written = out.write_all(text);
                text.clear();
                written
            }
        }
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Sink::Csv { mut csv, .. } => csv.flush(),
            Sink::Text { out, text, .. } => out.write_all(&text),
        }
    }
}

impl TextForm {
    fn put(&mut self, text: &mut Vec<u8>, word: &str, count: u64) -> io::Result<()> {
        match self {
            Self::Aligned(width) => {
                // The go-sample profile counts an empty word.
                let shown = if word.is_empty() { Cow::Borrowed("\"\"") } else { escaped(word) };
                writeln!(text, "{count:>width$}  {shown}")
            }
            Self::Tsv(path) => {
                if let Some(path) = path {
                    text.extend_from_slice(path.as_bytes());
                    text.push(b'\t');
                }
                // No profile has white space in a word, so it needs no escaping.
                text.extend_from_slice(word.as_bytes());
                writeln!(text, "\t{count}")
            }
            Self::Json { is_first } => {
                if !std::mem::replace(is_first, false) {
                    text.push(b',');
                }
                Ok(serde_json::to_writer(text, &Row { word, count })?)
            }
        }
    }
}

/// The cause itself, so that a closed pipe is still known as one; csv's own conversion hides it.
pub fn csv_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("could not write csv: {other:?}")),
    }
}

#[derive(Serialize)]
struct Row<'a> {
    word: &'a str,
    count: u64,
}

/// A text cell of CSV before it is quoted: with a `'` in front if a spreadsheet would take it for a formula, unless `raw`. The
/// set of characters is OWASP's for CSV injection.
pub fn csv_cell(text: &str, raw: bool) -> Cow<'_, str> {
    if !raw && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A cell that may hold the characters TSV is made of, with them escaped by a backslash.
pub fn tsv_cell(text: &str) -> Cow<'_, str> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(form: Form, path: Option<&str>, rows: &[(String, u64)]) -> String {
        let mut out = Vec::new();
        let mut text = Rows::new(&mut out, form);
        if let Some(path) = path {
            text.of_document(path);
        }
        for (word, count) in rows {
            text.push(word, *count).unwrap();
        }
        text.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Now and then a word so long that rows are in several pieces.
    fn word() -> impl Strategy<Value = String> {
        let repeats = prop_oneof![9 => Just(1), 1 => 1..3000_usize];
        ("\\PC{0,12}|[=\"',\\\\+@-]{1,4}", repeats).prop_map(|(word, repeats)| word.repeat(repeats))
    }

    proptest! {
        #[test]
        fn what_reads_these_forms_gets_the_rows_back(
            words in prop::collection::vec((word(), any::<u64>()), 0..40),
            path in prop::option::of("\\PC{1,20}|[=\"',\n\r+-]{1,4}"),
        ) {
            let json: serde_json::Value =
                serde_json::from_str(&format!("[{}]", written(Form::Json, path.as_deref(), &words))).unwrap();
            let expected = words.iter().map(|(word, count)| serde_json::json!({"word": word, "count": count}));
            prop_assert_eq!(json.as_array().unwrap(), &expected.collect::<Vec<_>>());

            let csv = written(Form::Csv { raw: true }, path.as_deref(), &words);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
            let read: Vec<Vec<String>> =
                reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
            let expected: Vec<Vec<String>> = words
                .iter()
                .map(|(word, count)| path.iter().cloned().chain([word.clone(), count.to_string()]).collect())
                .collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn lines_are_rows(words in prop::collection::vec(("[a-zé日]{1,12}", any::<u64>()), 0..40)) {
            let tsv = written(Form::Tsv, Some("a\tb"), &words);
            let expected: String = words.iter().map(|(word, count)| format!("a\\tb\t{word}\t{count}\n")).collect();
            prop_assert_eq!(tsv, expected);
            let aligned = written(Form::Aligned(20), None, &words);
            let expected: String = words.iter().map(|(word, count)| format!("{count:>20}  {word}\n")).collect();
            prop_assert_eq!(aligned, expected);
        }
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_defused() {
        let rows = [("=1+1".to_owned(), 2), ("plain".to_owned(), 1)];
        let of = |raw| written(Form::Csv { raw }, Some("@x"), &rows);
        assert_eq!(of(false), "'@x,'=1+1,2\n'@x,plain,1\n");
        assert_eq!(of(true), "@x,=1+1,2\n@x,plain,1\n");
    }

    #[test]
    fn a_writer_that_fails_is_told_of_as_it_fails() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for form in [Form::Aligned(5), Form::Tsv, Form::Csv { raw: false }, Form::Json] {
            let push = |count| {
                let mut closed = Closed;
                let mut rows = Rows::new(&mut closed, form);
                (0..count).try_for_each(|count| rows.push("word", count))?;
                rows.finish()
            };
            for count in [1, 20_000] {
                assert_eq!(push(count).unwrap_err().kind(), io::ErrorKind::BrokenPipe, "{form:?}");
            }
        }
    }

    #[test]
    fn only_hostile_characters_are_escaped() {
        assert_eq!(escaped("naïve 日本 \\ \u{200d}"), "naïve 日本 \\ \u{200d}");
        assert_eq!(escaped("\0\n\u{7f}\u{85}\u{2066}"), "\\u{0}\\n\\u{7f}\\u{85}\\u{2066}");
    }
}
