//! Bodies in XML, as far as s3s leaves something open. On their way in it looks at no digest but the signed one, and of one
//! that breaks off, or is not what was signed, it says no more than that something failed. On their way out it writes
//! characters that have no place in XML as they are.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::Stream;
use http::request::Parts;
use s3s::{S3Error, S3Result, StdError, s3_error};
use sha2::{Digest as _, Sha256};

use super::body::{Expected, Hashers, broken, unnamed};
use super::guard::{self, MAX_XML_BYTES, too_long};
use crate::server::hex;

/// What was wrong with a body, for when s3s has answered.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<Mutex<Option<S3Error>>>);

impl Fault {
    pub(super) fn take(&self) -> Option<S3Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps an error, and ends the body with another that tells as much to a log.
    fn end(&self, error: S3Error) -> StdError {
        let text = error.to_string();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        text.into()
    }
}

/// A body in XML on its way in, which is compared with all that was said of it.
pub(super) struct Incoming {
    body: BodyDataStream,
    came: usize,
    length: Option<usize>,
    /// The digest that was signed, unless none was.
    signed: Option<(String, Sha256)>,
    checked: Option<(Hashers, Expected)>,
    fault: Fault,
}

impl Incoming {
    pub(super) fn new(body: BodyDataStream, head: &Parts, fault: Fault) -> S3Result<Self> {
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let signed = text("x-amz-content-sha256").filter(|digest| digest.len() == 64);
        // The checksum of a request about an object is the object's.
        let checked = if guard::has_key(&head.uri) {
            None
        } else {
            let expected = Expected::of(&head.headers, text("content-md5"), None)?;
            Some((Hashers::new(expected.algorithm()), expected))
        };
        Ok(Self {
            body,
            came: 0,
            length: text("content-length").and_then(|length| length.parse().ok()),
            signed: signed.map(|digest| (digest.to_ascii_lowercase(), Sha256::new())),
            checked,
            fault,
        })
    }

    /// Whether there is nothing where nothing was said to be.
    pub(super) fn check_nothing(head: &Parts) -> S3Result<()> {
        Self::new(Body::empty().into_data_stream(), head, Fault::default())?.check()
    }

    fn take(&mut self, bytes: &[u8]) -> S3Result<()> {
        self.came += bytes.len();
        if self.came > MAX_XML_BYTES {
            return Err(too_long());
        }
        if let Some((_, hasher)) = &mut self.signed {
            hasher.update(bytes);
        }
        if let Some((hashers, _)) = &mut self.checked {
            hashers.update(bytes);
        }
        // s3s compares at its last byte, and reads no further.
        if self.length == Some(self.came) { self.check() } else { Ok(()) }
    }

    fn check(&mut self) -> S3Result<()> {
        if let Some((signed, hasher)) = self.signed.take()
            && hex(&hasher.finalize()) != signed
        {
            return Err(unnamed(
                "XAmzContentSHA256Mismatch",
                "x-amz-content-sha256 does not match what has arrived".into(),
            ));
        }
        match self.checked.take() {
            Some((hashers, expected)) => expected.check(hashers).map(drop),
            None => Ok(()),
        }
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let taken = match ready!(Pin::new(&mut this.body).poll_next(context)) {
            None => match this.length {
                Some(length) if this.came < length => {
                    Err(s3_error!(IncompleteBody, "{} bytes of {length} have arrived", this.came))
                }
                _ => return Poll::Ready(None),
            },
            Some(Ok(bytes)) => this.take(&bytes).map(|()| bytes),
            Some(Err(error)) => Err(broken(error.into())),
        };
        Poll::Ready(Some(taken.map_err(|error| this.fault.end(error))))
    }
}

/// XML in which every character that is none of XML 1.0 is written by its number, as S3 does it. That is no XML 1.0 either, but
/// most readers take it, and the others are refused nothing else by it; who wants to be sure asks for `encoding-type=url`.
/// A carriage return is one of them: as it is, readers take it for a line's end.
pub(super) fn with_references(xml: &str) -> Option<String> {
    let is_odd = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if !xml.contains(is_odd) {
        return None;
    }
    let mut written = String::with_capacity(xml.len() + 64);
    for c in xml.chars() {
        if is_odd(c) {
            written.push_str(&format!("&#x{:X};", u32::from(c)));
        } else {
            written.push(c);
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_in_xml_is_written_by_its_number() {
        assert_eq!(with_references("<Key>a\tb\nc \u{7f}\u{85}ü</Key>"), None);
        let odd = "<Key>a\0\u{1}\u{b}\r\u{1f}\u{ffff}</Key>";
        assert_eq!(with_references(odd).unwrap(), "<Key>a&#x0;&#x1;&#xB;&#xD;&#x1F;&#xFFFF;</Key>");
    }
}
