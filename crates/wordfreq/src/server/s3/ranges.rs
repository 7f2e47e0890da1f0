//! Which bytes of an object are wanted: ranges as HTTP (RFC 9110) has them, and parts. A range that is malformed, one of several
//! or in another unit than bytes is as good as none, one beyond the object is an error, and with `If-Range` a range holds for
//! the version that the asker has a piece of.
//!
//! s3s refuses what is to be ignored, and numbers that are too large for it, and a range may be signed, so it cannot be taken out
//! before. [`Ranged`] takes it out once the signature was checked, and reads it itself.

use std::ops::Range as Bytes;

use http::header::{
    AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
};
use http::{Method, Request, Uri};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use wordfreq_pipeline::embedded::ObjectInfo;

use super::{SignedBy, guard};

/// A range as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// From this byte to that, which is one of them, or to the end.
    From(u64, Option<u64>),
    /// The last so many.
    Last(u64),
}

impl Range {
    /// The one range there is; `None` if what there is counts for nothing.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut ranges = headers.get_all(RANGE).iter();
        let range = ranges.next()?.to_str().ok()?;
        if ranges.next().is_some() {
            return None;
        }
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        match (first, last) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The bytes that it is of so many, if it is any.
    fn within(self, bytes: u64) -> Option<Bytes<u64>> {
        let range = match self {
            Self::From(first, last) => first..last.map_or(bytes, |last| last.saturating_add(1).min(bytes)),
            Self::Last(length) => bytes.saturating_sub(length)..bytes,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// A number, or the largest there is in place of a larger one: no object has so many bytes.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Which bytes are wanted of an object.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) range: Option<Range>,
    /// The version that the range is of.
    pub(super) if_range: Option<HeaderValue>,
    pub(super) part: Option<i32>,
}

impl Wanted {
    /// What a request wants.
    pub(super) fn asked<T>(request: &S3Request<T>, part: Option<i32>) -> Self {
        let range = request.extensions.get().copied();
        Self { range, if_range: request.headers.get(IF_RANGE).cloned(), part }
    }

    /// Them, or `None` for all.
    pub(super) fn of(&self, object: &ObjectInfo) -> S3Result<Option<Bytes<u64>>> {
        let is_meant = |version: &HeaderValue| is_version(version, object);
        let range = self.range.filter(|_| self.if_range.as_ref().is_none_or(is_meant));
        match (range, self.part) {
            (_, Some(_)) if self.range.is_some() => {
                Err(s3_error!(InvalidRequest, "a range of a part is not supported"))
            }
            (None, None) => Ok(None),
            (Some(range), None) => range.within(object.bytes).map(Some).ok_or_else(|| unsatisfiable(object)),
            (_, Some(number)) => {
                let sizes = &object.attributes.part_bytes;
                let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
                let missing = || s3_error!(InvalidPart, "the object has no part {number}");
                match place {
                    Some(0) if sizes.is_empty() => Ok(None),
                    Some(place) => {
                        let bytes = sizes.get(place).ok_or_else(missing)?;
                        let from: u64 = sizes[..place].iter().sum();
                        Ok(Some(from..from + bytes))
                    }
                    None => Err(missing()),
                }
            }
        }
    }
}

/// Whether an object is the version of an `If-Range`: by its tag, which must not be a weak one. Nobody is by a date: two puts of one
/// second have the same.
fn is_version(version: &HeaderValue, object: &ObjectInfo) -> bool {
    let Ok(version) = version.to_str() else { return false };
    let tag = version.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    tag == Some(&object.etag)
}

fn unsatisfiable(object: &ObjectInfo) -> S3Error {
    let mut error = s3_error!(InvalidRange, "the range is not within the {} bytes there are", object.bytes);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{}", object.bytes)) {
        headers.insert(CONTENT_RANGE, range);
    }
    error.set_headers(headers);
    error
}

/// Answers requests with a range, which is what the operations are handed in place of its header.
pub(super) struct Ranged {
    pub(super) service: S3Service,
}

#[async_trait::async_trait]
impl S3Route for Ranged {
    fn is_match(&self, method: &Method, _: &Uri, headers: &HeaderMap, _: &mut http::Extensions) -> bool {
        (*method == Method::GET || *method == Method::HEAD) && headers.contains_key(RANGE)
    }

    /// Whoever signed it, and what they may do is looked at as it is always.
    async fn call(&self, request: S3Request<s3s::Body>) -> S3Result<S3Response<s3s::Body>> {
        let S3Request { input, method, uri, mut headers, mut extensions, credentials, .. } = request;
        let credentials = credentials.ok_or_else(|| s3_error!(AccessDenied, "the request is not signed"))?;
        extensions.insert(SignedBy(credentials.access_key));
        if let Some(range) = Range::of(&headers) {
            extensions.insert(range);
        }
        for name in [RANGE, AUTHORIZATION, HeaderName::from_static("x-amz-content-sha256")] {
            headers.remove(name);
        }
        let mut ranged = Request::new(input);
        *ranged.method_mut() = method;
        *ranged.uri_mut() = guard::without_signature(&uri)?;
        *ranged.headers_mut() = headers;
        *ranged.extensions_mut() = extensions;
        let answered = self.service.call(ranged).await.map_err(|error| {
            tracing::error!(?error, "a request to S3 cannot be answered");
            s3_error!(InternalError)
        })?;
        let (parts, output) = answered.into_parts();
        Ok(S3Response {
            output,
            status: Some(parts.status),
            headers: parts.headers,
            extensions: parts.extensions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranges: &[&str]) -> Option<Range> {
        let mut headers = HeaderMap::new();
        for range in ranges {
            headers.append(RANGE, range.parse().unwrap());
        }
        Range::of(&headers)
    }

    #[test]
    fn only_one_range_of_bytes_is_a_range() {
        for (good, range) in [
            ("bytes=0-5", Range::From(0, Some(5))),
            ("bytes=5-", Range::From(5, None)),
            ("bytes=-5", Range::Last(5)),
            ("bytes=7-7", Range::From(7, Some(7))),
            ("bytes=-0", Range::Last(0)),
            ("bytes=1000-18446744073709551615", Range::From(1000, Some(u64::MAX))),
            ("bytes=0007-99999999999999999999999", Range::From(7, Some(u64::MAX))),
            ("bytes=99999999999999999999999-", Range::From(u64::MAX, None)),
            ("bytes=-99999999999999999999999", Range::Last(u64::MAX)),
        ] {
            assert_eq!(of(&[good]), Some(range), "{good}");
        }
        for bad in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "items=0-5",
            "bytes=0-5,7-8",
            "0-5",
            "bytes=+1-5",
            "bytes=1--5",
            "bytes= 1-5",
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["bytes=0-5", "bytes=0-5"]), None);
    }

    #[test]
    fn a_range_is_cut_where_the_object_ends_or_is_none_of_it() {
        for (range, within) in [
            ("bytes=0-5", Some(0..6)),
            ("bytes=90-18446744073709551615", Some(90..100)),
            ("bytes=90-", Some(90..100)),
            ("bytes=-5", Some(95..100)),
            ("bytes=-18446744073709551616", Some(0..100)),
            ("bytes=100-", None),
            ("bytes=9223372036854775808-", None),
            ("bytes=18446744073709551616-18446744073709551617", None),
            ("bytes=-0", None),
        ] {
            assert_eq!(of(&[range]).unwrap().within(100), within, "{range}");
        }
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(of(&[range]).unwrap().within(0), None, "{range}");
        }
    }
}
