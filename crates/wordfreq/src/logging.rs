//! The log: events on standard error, one line each, for a person on a terminal and as JSON for everything else.
//!
//! Keys and words come from strangers, so control characters are escaped in both forms: a document's name must not
//! be able to drive the terminal or to forge a line. If standard error is gone nothing is said, and work goes on: a report
//! of that would itself go to standard error, and panic. Not here: results (`output`), and what is worth an event.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use wordfreq_pipeline::rows::escaped;

use crate::config::{LogConfig, LogFormat};

/// Starts the log of this process on standard error. To be called once, before anything is started.
///
/// # Errors
/// When the process already has a log.
pub fn init(config: &LogConfig) -> anyhow::Result<()> {
    let is_terminal = io::stderr().is_terminal();
    let dispatch = match config.format.value {
        LogFormat::Json => json(io::stderr),
        LogFormat::Auto if !is_terminal => json(io::stderr),
        LogFormat::Text | LogFormat::Auto => text(is_terminal && config.color, io::stderr),
    };
    tracing::dispatcher::set_global_default(dispatch)?;
    Ok(())
}

fn text<W>(color: bool, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let fields = debug_fn(|out, field, value| {
        let value = format!("{value:?}");
        match field.name() {
            "message" => write!(out, "{}", escaped(&value)),
            name => write!(out, "{name}={}", escaped(&value)),
        }
    })
    .delimited(" ");
    let subscriber = tracing_subscriber::fmt()
        .compact()
        .log_internal_errors(false)
        .fmt_fields(fields)
        .with_target(false)
        .with_ansi(color)
        .with_max_level(LevelFilter::INFO)
        .with_writer(writer)
        .finish();
    Dispatch::new(subscriber.with(of_ours()))
}

/// The SDKs of AWS tell of what they tried on the way to an error that is told anyway, with all of a request in it.
fn of_ours() -> Targets {
    let sdks = ["aws_config", "aws_runtime", "aws_smithy_runtime", "aws_smithy_http_client", "aws_sdk_s3"];
    let sdks = sdks.map(|target| (target, LevelFilter::ERROR));
    // To s3s every refusal is an error; what is one to us, our own code says.
    Targets::new().with_default(LevelFilter::INFO).with_targets(sdks).with_target("s3s", LevelFilter::OFF)
}

fn json<W>(writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let subscriber = tracing_subscriber::fmt()
        .json()
        .log_internal_errors(false)
        .flatten_event(true)
        .with_span_list(false)
        .with_max_level(LevelFilter::INFO)
        .with_writer(EscapingMaker(writer))
        .finish();
    Dispatch::new(subscriber.with(of_ours()))
}

/// JSON escapes the ASCII control characters only; some terminals obey those above U+007F as well.
struct EscapingMaker<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for EscapingMaker<W> {
    type Writer = EscapingWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter(self.0.make_writer())
    }
}

struct EscapingWriter<W>(W);

impl<W: Write> Write for EscapingWriter<W> {
    /// Called once with each whole event, which is what makes escaping by characters possible.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        use fmt::Write as _;
        let text = String::from_utf8_lossy(event);
        let mut safe = String::with_capacity(text.len());
        for character in text.chars() {
            if character.is_control() && character != '\n' {
                write!(safe, "\\u{:04x}", u32::from(character)).map_err(io::Error::other)?;
            } else {
                safe.push(character);
            }
        }
        self.0.write_all(safe.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(dispatch: impl FnOnce(Box<dyn Fn() -> Captured + Send + Sync>) -> Dispatch) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        tracing::dispatcher::with_default(&dispatch(Box::new(move || writer.clone())), || {
            let hostile = "a\x1b[2J\u{9b}31m\nb";
            tracing::info!(key = hostile, shown = %hostile, attempt = 2, "counted {hostile}");
            tracing::debug!("not shown");
        });
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_one_flat_escaped_object_a_line() {
        let log = logged(json);
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(!log.trim_end().contains(char::is_control), "{log:?}");
        let event: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(event["level"], "INFO");
        assert_eq!(event["message"], "counted a\x1b[2J\u{9b}31m\nb");
        assert_eq!(event["key"], "a\x1b[2J\u{9b}31m\nb");
        assert_eq!(event["attempt"], 2);
        assert!(event["timestamp"].is_string());
    }

    #[test]
    fn text_is_one_escaped_line() {
        let log = logged(|writer| text(false, writer));
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(!log.trim_end().contains(char::is_control), "{log:?}");
        assert!(log.contains(r"counted a\u{1b}[2J\u{9b}31m\nb") && log.contains("attempt=2"), "{log}");
    }
}
