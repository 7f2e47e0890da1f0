//! Reads what S3, or a store that imitates it, says in a message: directly, through SNS, or through EventBridge.
//!
//! Pure and total: any text gives an answer, the time comes in as an argument, and what cannot be read is told with
//! its reason. Not here: receiving and answering the message (`sqs_queue`), looking at the object it tells of
//! (`objects`), and deciding which of two events is newer (`wordfreq-pipeline`, by [`Sequence`]).

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use percent_encoding::percent_decode_str;
use serde_json::Value;
use wordfreq_pipeline::Timestamp;
use wordfreq_pipeline::document::{DocumentEvent, DocumentId, EventKind, Provenance, Record, Sequence};

/// A reason quotes no more characters than this of what it complains about.
const MAX_QUOTED_CHARS: usize = 100;

/// Longer than any AWS region's name; the region becomes part of a host name.
const MAX_REGION_CHARS: usize = 32;

/// One record for each thing the message tells of, in its order. `sent_at` is when the message was sent: it orders
/// events that carry neither a sequencer nor a time.
///
/// A message that cannot be read at all is one [`Record::Poison`]; a record that cannot be read is one too, and its
/// neighbours are read all the same.
pub fn parse(body: &str, sent_at: Timestamp) -> Vec<Record> {
    read(body, sent_at, false).unwrap_or_else(|why| vec![Record::Poison(why)])
}

fn read(text: &str, sent_at: Timestamp, within_sns: bool) -> Result<Vec<Record>, String> {
    let message: Value =
        serde_json::from_str(text).map_err(|error| format!("the message is not JSON: {error}"))?;
    if message["Event"] == "s3:TestEvent" {
        return Ok(vec![Record::Ignored("`s3:TestEvent`, sent when notifications are configured".into())]);
    }
    match &message["Records"] {
        Value::Null => {}
        Value::Array(records) if records.is_empty() => return Err("the message has no records".into()),
        Value::Array(records) => {
            let numbered = |(record, position)| {
                s3_record(record, sent_at).unwrap_or_else(|why| {
                    Record::Poison(format!("record {position} of {}: {why}", records.len()))
                })
            };
            return Ok(records.iter().zip(1..).map(numbered).collect());
        }
        _ => return Err("`Records` is not a list".into()),
    }
    match message["Type"].as_str() {
        Some("Notification") if within_sns => {
            return Err("an SNS notification within an SNS notification: \
                        let the queue subscribe to the topic that S3 publishes to"
                .into());
        }
        Some("Notification") => {
            let inner = required(&message, "/Message")?;
            return read(inner, sent_at, true).map_err(|why| format!("in an SNS notification: {why}"));
        }
        Some(kind @ ("SubscriptionConfirmation" | "UnsubscribeConfirmation")) => {
            return Err(format!(
                "`{kind}`: SNS is not confirmed to deliver to this queue, so events do not arrive: \
                 subscribe the queue anew, or give this message's token to `aws sns confirm-subscription`"
            ));
        }
        _ => {}
    }
    if message["source"] == "aws.s3" {
        return event_bridge(&message, sent_at).map(|record| vec![record]);
    }
    Err("the message is not from S3: expected `Records`, `s3:TestEvent`, an SNS notification of either, \
         or an EventBridge event with the source `aws.s3`"
        .into())
}

/// One of the `Records`. The version and the names are those of S3's "event message structure": a minor version adds
/// fields only, and 2.0 (MinIO, hand-written events without one) already has all that is needed here.
fn s3_record(record: &Value, sent_at: Timestamp) -> Result<Record, String> {
    if let Some(version) = text(record, "/eventVersion")?
        && version.split('.').next() != Some("2")
    {
        return Err(format!("`eventVersion` {} is not understood: expected 2.x", quoted(version)));
    }
    if let Some(source) = text(record, "/eventSource")?
        && !matches!(source, "aws:s3" | "minio:s3")
    {
        return Err(format!("`eventSource` {} is not S3: expected `aws:s3` or `minio:s3`", quoted(source)));
    }
    let name = required(record, "/eventName")?;
    let name = name.strip_prefix("s3:").unwrap_or(name);
    let well_formed = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !name.split(':').all(well_formed) {
        return Err(format!(
            "`eventName` {} is not the name of an event, as `ObjectCreated:Put` is",
            quoted(name)
        ));
    }
    let told = &record["s3"];
    let kind = match name.split_once(':') {
        Some(("ObjectCreated", _)) => EventKind::Created,
        Some(("ObjectRemoved" | "LifecycleExpiration", "DeleteMarkerCreated")) => EventKind::Removed,
        Some(("ObjectRemoved" | "LifecycleExpiration", "Delete")) => deleted(told)?,
        // Such as MinIO's `DeleteAllVersions`.
        Some(("ObjectRemoved", _)) => EventKind::Changed,
        _ => return Ok(Record::Ignored(format!("`eventName` {}", quoted(name)))),
    };
    let key = form_decoded(required(told, "/object/key")?)?;
    document_event(kind, key, told, text(record, "/awsRegion")?, &record["eventTime"], sent_at)
}

/// An event of EventBridge, whose keys are not encoded.
fn event_bridge(message: &Value, sent_at: Timestamp) -> Result<Record, String> {
    let told = &message["detail"];
    let kind = match required(message, "/detail-type")? {
        "Object Created" => EventKind::Created,
        "Object Deleted" if told["deletion-type"] == "Permanently Deleted" => deleted(told)?,
        "Object Deleted" => EventKind::Removed,
        other => return Ok(Record::Ignored(format!("`detail-type` {}", quoted(other)))),
    };
    let key = required(told, "/object/key")?.to_owned();
    document_event(kind, key, told, text(message, "/region")?, &message["time"], sent_at)
}

/// The two forms call a bucket and an object the same, save for two spellings; both are read in either.
fn document_event(
    kind: EventKind,
    key: String,
    told: &Value,
    region: Option<&str>,
    time: &Value,
    sent_at: Timestamp,
) -> Result<Record, String> {
    let sequencer =
        text(told, "/object/sequencer")?.filter(|hex| !hex.is_empty()).map(sequence).transpose()?;
    let event = match kind {
        // Without the store's order a late deletion must look before it deletes what was put since.
        EventKind::Removed if sequencer.is_none() => EventKind::Changed,
        kind => kind,
    };
    let sent_at = Duration::from_millis(u64::try_from(sent_at.0).unwrap_or(0));
    let time = time.as_str().and_then(since_epoch).unwrap_or(sent_at);
    let sequence = sequencer.unwrap_or_else(|| sequence_at(time));
    // The error quotes the bucket. One that was cut to this length is still too long, so it is still refused.
    let bucket: String = required(told, "/bucket/name")?.chars().take(MAX_QUOTED_CHARS).collect();
    let id = DocumentId::new(bucket, key).map_err(|error| error.to_string())?;
    let region = region.filter(|region| !region.is_empty()).map(checked_region).transpose()?;
    let bytes = size(told)?;
    let etag = text(told, "/object/eTag")?.or(text(told, "/object/etag")?).map(|etag| etag.trim_matches('"'));
    let version_id = version_id(told)?;
    let event = match event {
        EventKind::Created => {
            let etag = etag.filter(|etag| !etag.is_empty()).map(str::to_owned);
            let provenance = Provenance { region, etag, version_id: version_id.map(str::to_owned) };
            DocumentEvent { event, id, sequence, bytes, provenance }
        }
        // What a deletion tells of the object is what was destroyed: nobody should look for that version.
        EventKind::Removed | EventKind::Changed => {
            let provenance = Provenance { region, ..Provenance::default() };
            DocumentEvent { event, id, sequence, bytes: 0, provenance }
        }
    };
    Ok(Record::Event(event))
}

/// What a deletion that left no marker means. Where it names a version, `null` from before the bucket kept versions
/// included, this one is gone, perhaps an old one: what is there now must be looked at.
fn deleted(told: &Value) -> Result<EventKind, String> {
    Ok(if named_version(told)?.is_some() { EventKind::Changed } else { EventKind::Removed })
}

fn named_version(told: &Value) -> Result<Option<&str>, String> {
    let version_id = text(told, "/object/versionId")?.or(text(told, "/object/version-id")?);
    Ok(version_id.filter(|version_id| !version_id.is_empty()))
}

/// A bucket that keeps no versions has the version `null`, or none.
fn version_id(told: &Value) -> Result<Option<&str>, String> {
    Ok(named_version(told)?.filter(|version_id| *version_id != "null"))
}

fn size(told: &Value) -> Result<u64, String> {
    match &told["object"]["size"] {
        Value::Null => Ok(0),
        size => size.as_u64().ok_or_else(|| "`object.size` is not a number of bytes".into()),
    }
}

fn checked_region(region: &str) -> Result<String, String> {
    let well_formed = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !well_formed || region.len() > MAX_REGION_CHARS {
        return Err(format!("{} is not the name of a region, as `eu-west-1` is", quoted(region)));
    }
    Ok(region.to_owned())
}

/// A key out of the form `application/x-www-form-urlencoded`, in which stores differ: AWS leaves `/` as it is, MinIO
/// and moto escape it, and a space comes as `+` or `%20`. A malformed escape is never left standing, as it would name
/// another document.
fn form_decoded(encoded: &str) -> Result<String, String> {
    let complete = |escape: &str| escape.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !encoded.split('%').skip(1).all(complete) {
        return Err(format!(
            "the key {} has a `%` without two hexadecimal digits: a plain one is sent as `%25`",
            quoted(encoded)
        ));
    }
    let spaced = encoded.replace('+', " ");
    let key = percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned);
    key.map_err(|_| format!("the key {} is not UTF-8 once it is decoded", quoted(encoded)))
}

/// A sequencer as a number. AWS has described two ways to compare sequencers of unequal length; only as numbers do
/// those of its own examples stand in order of time, whatever their leading zeros.
fn sequence(hex: &str) -> Result<Sequence, String> {
    let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = if digits { u128::from_str_radix(hex, 16).ok() } else { None };
    number.map(Sequence).ok_or_else(|| {
        format!("`object.sequencer` {} is not a hexadecimal number of up to 32 digits", quoted(hex))
    })
}

/// What the sequencer of an event at this time would be, nearly: those of AWS have Unix seconds in their leading
/// digits and 32 further bits below (`0055AED6DCD90281E5` is of July 2015, `617f08299329d189` of October 2021). So
/// events of one key sort by time even where only some of them carry a sequencer. Only the events of one key are
/// ever compared, so a store that counts otherwise does no harm to others.
fn sequence_at(since_epoch: Duration) -> Sequence {
    let fraction = (u128::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
    Sequence(u128::from(since_epoch.as_secs()) << 32 | fraction)
}

/// ISO 8601 as stores write it: a fraction of any length or none, and a zone, which is UTC where it is missing.
fn since_epoch(text: &str) -> Option<Duration> {
    const SECONDS_END: usize = "2026-11-25T13:00:00".len();
    let fraction = text.get(SECONDS_END..)?;
    let zone = SECONDS_END + fraction.find(['Z', 'z', '+', '-']).unwrap_or(fraction.len());
    let (local, zone) = text.split_at(zone);
    let local =
        humantime::parse_rfc3339_weak(&local.replace('t', "T")).ok()?.duration_since(UNIX_EPOCH).ok()?;
    match zone.split_at_checked(1) {
        None | Some(("Z" | "z", "")) => Some(local),
        Some(("+", offset)) => local.checked_sub(zone_offset(offset)?),
        Some(("-", offset)) => local.checked_add(zone_offset(offset)?),
        Some(_) => None,
    }
}

/// `02:00` or `0200`.
fn zone_offset(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':').or_else(|| text.split_at_checked(2))?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60)
        .then(|| Duration::from_secs(u64::from(hours) * 3600 + u64::from(minutes) * 60))
}

/// The text at a JSON pointer, if there is one; null is as good as none.
fn text<'a>(value: &'a Value, pointer: &str) -> Result<Option<&'a str>, String> {
    match value.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{}` is not a string", dotted(pointer))),
    }
}

fn required<'a>(value: &'a Value, pointer: &str) -> Result<&'a str, String> {
    text(value, pointer)?.ok_or_else(|| format!("`{}` is missing", dotted(pointer)))
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    format!("{cut:?}{}", if cut.len() < text.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests;
