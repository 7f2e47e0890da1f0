//! Notifications by mail: one plain text for all that happened within a while, through the SMTP server of the settings.
//! Keys, reasons and words of strangers stand in the body alone, with their control characters escaped; no header holds
//! anything of theirs. Not here: when to send.

use std::time::Duration;

use anyhow::Context as _;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, SmtpTransport, Transport as _};
use serde_json::Value;
use wordfreq_pipeline::embedded::{Delivery, Event};
use wordfreq_pipeline::rows::escaped;

use crate::config::{NotifyConfig, SmtpTls};

/// For each step of the exchange.
const STEP_WITHIN: Duration = Duration::from_secs(15);

/// How many events a mail names; the rest is counted.
const NAMED_AT_MOST: usize = 100;

/// Of one fact, such as a reason.
const SHOWN_CHARS: usize = 300;

/// Sends mail.
#[derive(Clone)]
pub struct Mailer {
    transport: SmtpTransport,
    from: Mailbox,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mailer").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Why a mail was not taken.
#[derive(Debug)]
pub struct NotSent {
    /// The server's reply code, if it gave one.
    pub code: Option<u16>,
    /// What went wrong.
    pub why: String,
}

impl Mailer {
    /// The one of the settings; `None` if they name no server.
    ///
    /// # Errors
    /// When a file that they name cannot be read.
    pub fn new(config: &NotifyConfig) -> anyhow::Result<Option<Self>> {
        let smtp = &config.smtp;
        let (Some(host), Some(from)) = (&smtp.host.value, &smtp.from.value) else {
            return Ok(None);
        };
        let parameters = || -> anyhow::Result<TlsParameters> {
            let mut builder = TlsParameters::builder(host.clone());
            if let Some(path) = &config.ca_file.value {
                let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                let authorities = Certificate::from_pem(&pem)
                    .with_context(|| format!("{}: not certificates in PEM", path.display()))?;
                builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authorities);
            }
            Ok(builder.build()?)
        };
        let tls = match smtp.tls.value {
            SmtpTls::StartTls => Tls::Required(parameters()?),
            SmtpTls::Tls => Tls::Wrapper(parameters()?),
            SmtpTls::None => Tls::None,
        };
        let mut builder = SmtpTransport::builder_dangerous(host.as_str())
            .port(smtp.port.value)
            .tls(tls)
            .timeout(Some(STEP_WITHIN));
        if let (Some(user), Some(password)) = (&smtp.user.value, smtp.password()?) {
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Some(Self { transport: builder.build(), from: from.clone() }))
    }

    /// Sends a plain text.
    ///
    /// # Errors
    /// What the server, or the way to it, had against it.
    pub fn send(&self, to: &Address, subject: &str, body: &str) -> Result<(), NotSent> {
        let unsent = |why: String| NotSent { code: None, why };
        let message = compose(&self.from, to, subject, body).map_err(|error| unsent(error.to_string()))?;
        match self.transport.send(&message) {
            Ok(_) => Ok(()),
            Err(error) => Err(NotSent {
                code: error.status().map(u16::from),
                // The server's words may be anything.
                why: escaped(&chain(&error)).chars().take(SHOWN_CHARS).collect(),
            }),
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn compose(from: &Mailbox, to: &Address, subject: &str, body: &str) -> Result<Message, lettre::error::Error> {
    let mut message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(subject)
        .date_now()
        .message_id(None)
        .header(ContentType::TEXT_PLAIN)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(body.to_owned())?;
    // No holiday notice in return, please (RFC 3834).
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(message)
}

/// The subject and text that ask to confirm.
pub fn confirmation(url: &str, target: &str, events: &str) -> (String, String) {
    let text = format!(
        "Someone asked wordfreq to send notifications to {target} about: {events}.\n\n\
         If that was you, confirm it within three days:\n\n{url}\n\n\
         If it was not, do nothing: no other mail will come.\n",
        target = escaped(target)
    );
    ("Confirm notifications of wordfreq".to_owned(), text)
}

/// The subject and text that tell of what happened, in the order in which it happened.
pub fn digest(deliveries: &[Delivery], subscription: &str) -> (String, String) {
    let of = |event| deliveries.iter().filter(|delivery| delivery.event == event).count();
    let kinds = [
        (of(Event::DocumentCounted), "document counted", "documents counted"),
        (of(Event::DocumentFailed), "document failed", "documents failed"),
        (of(Event::BatchIdle), "batch done", "batches done"),
        (of(Event::AlarmChanged), "alarm changed", "alarms changed"),
    ];
    let told: Vec<_> = kinds
        .iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| format!("{number} {}", if *number == 1 { one } else { many }))
        .collect();
    let subject = format!("wordfreq: {}", if told.is_empty() { "news".to_owned() } else { told.join(", ") });
    let mut text = String::new();
    for delivery in deliveries.iter().take(NAMED_AT_MOST) {
        text.push_str(&line(delivery));
        text.push('\n');
    }
    if deliveries.len() > NAMED_AT_MOST {
        text.push_str(&format!("... and {} more\n", deliveries.len() - NAMED_AT_MOST));
    }
    text.push_str(&format!(
        "\nTo get no more of these: wordfreq subscriptions remove {subscription}, or DELETE /api/v1/subscriptions/{subscription}\n"
    ));
    (subject, text)
}

/// One event in a line.
fn line(delivery: &Delivery) -> String {
    let facts: Value = serde_json::from_str(&delivery.facts).unwrap_or(Value::Null);
    let fact = |name: &str| -> String {
        let text = match &facts[name] {
            Value::String(text) => text.clone(),
            Value::Null => "?".to_owned(),
            other => other.to_string(),
        };
        escaped(&text).chars().take(SHOWN_CHARS).collect()
    };
    let at = delivery.at.to_rfc3339();
    match delivery.event {
        Event::DocumentCounted => {
            format!(
                "{at}  counted  {}/{}  {} words, {} different",
                fact("bucket"),
                fact("key"),
                fact("words"),
                fact("distinct")
            )
        }
        Event::DocumentFailed if facts["key"].is_null() => {
            format!("{at}  failed   a message: {}  {}", fact("body"), fact("reason"))
        }
        Event::DocumentFailed => {
            format!("{at}  failed   {}/{}  {}", fact("bucket"), fact("key"), fact("reason"))
        }
        Event::BatchIdle => {
            format!(
                "{at}  at rest  after {} messages; {} dead letters",
                fact("messages"),
                fact("dead_letters")
            )
        }
        Event::AlarmChanged => {
            format!(
                "{at}  alarm    {}: {} -> {}  {}",
                fact("alarm"),
                fact("old_state"),
                fact("new_state"),
                fact("reason")
            )
        }
        Event::EventsMissed => {
            format!("{at}  missed   {} events found no room to wait here", fact("missed"))
        }
        Event::Confirm => format!("{at}  to be confirmed"),
    }
}

#[cfg(test)]
mod tests {
    use wordfreq_pipeline::Timestamp;
    use wordfreq_pipeline::embedded::DeliveryStatus;

    use super::*;

    fn delivery(event: Event, facts: Value) -> Delivery {
        Delivery {
            id: 1,
            event_id: "e".into(),
            event,
            at: Timestamp(1_800_000_000_000),
            facts: facts.to_string(),
            created_at: Timestamp(0),
            status: DeliveryStatus::Pending,
            attempts: 0,
            next_attempt_at: None,
            response: None,
            last_error: None,
        }
    }

    #[test]
    fn what_strangers_wrote_stays_in_the_body_on_its_line() {
        let hostile = "a\r\nBcc: eve@example.org\r\n\r\n.\r\nQUIT\r\n\u{202e}\u{0}";
        let facts = serde_json::json!({ "bucket": "processing", "key": hostile, "reason": hostile });
        let (subject, text) = digest(&[delivery(Event::DocumentFailed, facts)], "abc");
        assert_eq!(subject, "wordfreq: 1 document failed");
        assert_eq!(text.lines().count(), 3, "{text}");
        let from = "wordfreq <wordfreq@example.org>".parse().unwrap();
        let message = compose(&from, &"ada@example.org".parse().unwrap(), &subject, &text).unwrap();
        assert_eq!(message.envelope().to().len(), 1);
        let raw = String::from_utf8(message.formatted()).unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        let names: Vec<_> =
            head.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect();
        for name in &names {
            let known = [
                "From",
                "To",
                "Subject",
                "Date",
                "Message-ID",
                "MIME-Version",
                "Content-Type",
                "Content-Transfer-Encoding",
                "Auto-Submitted",
            ];
            assert!(known.contains(&name.as_str()), "{name} in {head}");
        }
        assert!(!body.lines().any(|line| line == "." || line.starts_with("Bcc:")), "{body}");
    }

    #[test]
    fn many_events_are_one_mail_that_names_the_first() {
        let facts = serde_json::json!({ "bucket": "b", "key": "k", "words": 5, "distinct": 3 });
        let mut many = vec![delivery(Event::DocumentCounted, facts); 250];
        many.push(delivery(Event::BatchIdle, serde_json::json!({ "messages": 250, "dead_letters": 0 })));
        let (subject, text) = digest(&many, "abc");
        assert_eq!(subject, "wordfreq: 250 documents counted, 1 batch done");
        assert!(
            text.contains("  counted  b/k  5 words, 3 different\n") && text.contains("... and 151 more"),
            "{text}"
        );
    }
}
