//! Which bytes of an object are wanted: ranges as HTTP (RFC 9110) has them, and parts. A range that is malformed, one of several
//! or in another unit than bytes is as good as none, one beyond the object is an error, and with `If-Range` a range holds for
//! the version that the asker has a piece of.
//!
//! s3s refuses what is to be ignored, and a range may be signed, so it cannot be taken out before. [`Unranged`] takes it out once
//! the signature was checked.

use std::ops::Range as Bytes;

use http::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE};
use http::{Method, Request, Uri};
use s3s::dto::{Range, Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use wordfreq_pipeline::embedded::ObjectInfo;

use super::objects::modified;
use super::{SignedBy, guard};

/// Which bytes are wanted of an object.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) range: Option<Range>,
    /// The version that the range is of.
    pub(super) if_range: Option<HeaderValue>,
    pub(super) part: Option<i32>,
}

impl Wanted {
    /// Them, or `None` for all.
    pub(super) fn of(&self, object: &ObjectInfo) -> S3Result<Option<Bytes<u64>>> {
        let is_meant = |version: &HeaderValue| is_version(version, object);
        let range = self.range.filter(|_| self.if_range.as_ref().is_none_or(is_meant));
        match (range, self.part) {
            (_, Some(_)) if self.range.is_some() => {
                Err(s3_error!(InvalidRequest, "a range of a part is not supported"))
            }
            (None, None) => Ok(None),
            (Some(range), None) => match range.check(object.bytes) {
                Ok(bytes) if !bytes.is_empty() => Ok(Some(bytes)),
                _ => Err(unsatisfiable(object)),
            },
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

/// Whether an object is the version of an `If-Range`: by its tag, which must not be a weak one, or by the very second at which
/// it was put.
fn is_version(version: &HeaderValue, object: &ObjectInfo) -> bool {
    let Ok(version) = version.to_str().map(str::trim) else { return false };
    match version.strip_prefix('"') {
        Some(tag) => tag.strip_suffix('"') == Some(&object.etag),
        None => Timestamp::parse(TimestampFormat::HttpDate, version).is_ok_and(|at| at == modified(object)),
    }
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

/// Whether there is a range that is to be ignored.
fn has_void_range(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(RANGE).iter();
    let is_void = |range: &HeaderValue| match range.to_str() {
        // s3s takes this for the last 0 bytes.
        Ok("bytes=-") | Err(_) => true,
        Ok(range) => Range::parse(range).is_err(),
    };
    ranges.next().is_some_and(is_void) || ranges.next().is_some()
}

/// Answers requests whose range is to be ignored as if they had none.
pub(super) struct Unranged {
    pub(super) service: S3Service,
}

#[async_trait::async_trait]
impl S3Route for Unranged {
    fn is_match(&self, method: &Method, _: &Uri, headers: &HeaderMap, _: &mut http::Extensions) -> bool {
        (*method == Method::GET || *method == Method::HEAD) && has_void_range(headers)
    }

    /// Whoever signed it, and what they may do is looked at as it is always.
    async fn call(&self, request: S3Request<s3s::Body>) -> S3Result<S3Response<s3s::Body>> {
        let S3Request { input, method, uri, mut headers, mut extensions, credentials, .. } = request;
        let credentials = credentials.ok_or_else(|| s3_error!(AccessDenied, "the request is not signed"))?;
        extensions.insert(SignedBy(credentials.access_key));
        for name in [RANGE, AUTHORIZATION, HeaderName::from_static("x-amz-content-sha256")] {
            headers.remove(name);
        }
        let mut unranged = Request::new(input);
        *unranged.method_mut() = method;
        *unranged.uri_mut() = guard::without_signature(&uri)?;
        *unranged.headers_mut() = headers;
        *unranged.extensions_mut() = extensions;
        let answered = self.service.call(unranged).await.map_err(|error| {
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

    #[test]
    fn only_one_range_of_bytes_is_a_range() {
        let is_void = |ranges: &[&str]| {
            let pair = |range: &&str| (RANGE, range.parse::<HeaderValue>().unwrap());
            has_void_range(&ranges.iter().map(pair).fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            }))
        };
        for good in [&[][..], &["bytes=0-5"], &["bytes=5-"], &["bytes=-5"], &["bytes=7-7"], &["bytes=-0"]] {
            assert!(!is_void(good), "{good:?}");
        }
        for bad in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "items=0-5", "bytes=0-5,7-8", "0-5"]
        {
            assert!(is_void(&[bad]), "{bad}");
        }
        assert!(is_void(&["bytes=0-5", "bytes=0-5"]));
    }
}
