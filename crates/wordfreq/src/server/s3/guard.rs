//! What stands before s3s: a request must be signed in the one way we accept, wholly, or it goes no further. Written from
//! what s3s 0.14 leaves open: it honours unsigned `x-amz-*` headers, accepts Signature Version 2 (compared in time that
//! tells), a signature that covers no host, and URLs that never expire, and it holds a whole chunk of a chunked
//! body in memory. It checks the signature itself, the clock and the digests of what is sent; that is left to it.
//!
//! Not here: whose key it is, and what that key may do (`mod`).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, IF_MATCH, IF_NONE_MATCH};
use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};

/// The longest body in XML. A thousand keys of 1,024 bytes to delete, or 10,000 parts to complete, fit.
pub(super) const MAX_XML_BYTES: usize = 2 * 1024 * 1024;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A presigned URL may hold for seven days, as S3 has it.
const MAX_EXPIRES_SECONDS: u32 = 7 * 24 * 3600;

/// Chunks of a body that is signed piece by piece are held in memory until their signature is checked. Clients send 64 KiB
/// to 1 MiB.
const MAX_CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// For what a browser may fetch something from here: for a script to read, to show it alone, or as a picture, sound or film.
/// Anything else (a script, a style, a worker, a frame) would make what is stored a part of a page that comes from where the
/// dashboard does.
const FETCHED_FOR: [&str; 5] = ["empty", "document", "image", "audio", "video"];

/// `SIZE;chunk-signature=SIGNATURE`
const MAX_CHUNK_LINE_BYTES: usize = 1024;

/// Refuses what is not wholly signed by Signature Version 4, in the headers or in the query.
pub(super) fn check(method: &Method, uri: &Uri, headers: &HeaderMap) -> S3Result<()> {
    if *method == Method::POST
        && headers.get_all(CONTENT_TYPE).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
        })
    {
        return Err(s3_error!(NotImplemented, "uploads by HTML forms are not supported: use PutObject"));
    }
    for (name, value) in headers {
        if name.as_str().starts_with("x-amz-") && std::str::from_utf8(value.as_bytes()).is_err() {
            return Err(s3_error!(InvalidRequest, "the header {name} is not UTF-8"));
        }
    }
    for fetched_for in headers.get_all("sec-fetch-dest") {
        if !FETCHED_FOR.iter().any(|allowed| fetched_for == allowed) {
            return Err(s3_error!(
                AccessDenied,
                "what is stored is not to be built into a page: a browser wants it as {fetched_for:?}"
            ));
        }
    }
    if is_xml(method, uri) {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > MAX_XML_BYTES) {
            return Err(too_long());
        }
        if is_chunked(headers) {
            return Err(s3_error!(InvalidRequest, "XML is sent as a whole, not in chunks that are signed"));
        }
    }
    // s3s does not know these of a copy, and would make it in spite of them.
    if headers.contains_key("x-amz-copy-source")
        && (headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH))
    {
        return Err(s3_error!(
            NotImplemented,
            "a copy takes no condition on what it replaces, only on its source"
        ));
    }
    let query = Query::parse(uri.query().unwrap_or_default())?;
    if query.has("Signature") || query.has("AWSAccessKeyId") {
        return Err(unsupported());
    }
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    let authorization = authorizations.next();
    if authorizations.next().is_some() {
        return Err(s3_error!(InvalidArgument, "there is more than one Authorization header"));
    }
    let by_query = query
        .0
        .iter()
        .any(|(name, _)| ["X-Amz-Signature", "X-Amz-Algorithm", "X-Amz-Credential"].contains(&name.as_str()));
    match (authorization, by_query) {
        (None, false) => {
            Err(s3_error!(AccessDenied, "the request is not signed: make a key with `wordfreq key create`"))
        }
        (Some(_), true) => {
            Err(s3_error!(InvalidArgument, "a request is signed in its headers or in its query, not in both"))
        }
        (Some(value), false) => {
            let value = value.to_str().map_err(|_| malformed())?;
            let (algorithm, rest) = value.split_once(' ').ok_or_else(malformed)?;
            if algorithm != ALGORITHM {
                return Err(unsupported());
            }
            let mut fields = rest.split(',').map(str::trim);
            let mut field = |name: &str| {
                let value = fields.next()?.strip_prefix(name)?;
                value.strip_prefix('=')
            };
            let credential = field("Credential").ok_or_else(malformed)?;
            let signed = field("SignedHeaders").ok_or_else(malformed)?;
            check_scope(credential)?;
            check_signed(signed, headers, false)
        }
        (None, true) => {
            if query.one("X-Amz-Algorithm")? != ALGORITHM {
                return Err(unsupported());
            }
            check_scope(query.one("X-Amz-Credential")?)?;
            for name in ["X-Amz-Date", "X-Amz-Signature"] {
                query.one(name)?;
            }
            let expires: u32 = query.one("X-Amz-Expires")?.parse().map_err(|_| bad_expiry())?;
            if !(1..=MAX_EXPIRES_SECONDS).contains(&expires) {
                return Err(bad_expiry());
            }
            check_signed(query.one("X-Amz-SignedHeaders")?, headers, true)
        }
    }
}

/// `KEY/DATE/REGION/s3/aws4_request`; any region will do.
fn check_scope(credential: &str) -> S3Result<()> {
    let mut parts = credential.rsplit('/');
    if parts.next() == Some("aws4_request") && parts.next() == Some("s3") && parts.count() == 3 {
        Ok(())
    } else {
        Err(s3_error!(AuthorizationHeaderMalformed, "the credential must be KEY/DATE/REGION/s3/aws4_request"))
    }
}

/// Every header that means something to S3 must be among those that are signed, and those must be there.
fn check_signed(signed: &str, headers: &HeaderMap, is_presigned: bool) -> S3Result<()> {
    let signed: Vec<&str> = signed.split(';').collect();
    if !signed.contains(&"host") {
        return Err(s3_error!(AccessDenied, "the header host must be signed"));
    }
    if let Some(missing) = signed.iter().find(|name| !headers.contains_key(**name)) {
        return Err(s3_error!(SignatureDoesNotMatch, "the header {missing:?} is signed, but not there"));
    }
    for name in headers.keys() {
        let name = name.as_str();
        // A presigned URL covers no body; who sends the body's digest along only has it checked.
        let is_free = is_presigned && name == "x-amz-content-sha256";
        if name.starts_with("x-amz-") && !is_free && !signed.contains(&name) {
            return Err(s3_error!(AccessDenied, "there is a header that is not signed, and must be: {name}"));
        }
    }
    Ok(())
}

/// Whether the body of a request is XML, as all are but those of objects and parts, which have a key in their path.
pub(super) fn is_xml(method: &Method, uri: &Uri) -> bool {
    *method != Method::PUT || !has_key(uri)
}

/// Whether a request is about an object, and not about a bucket or all of them.
pub(super) fn has_key(uri: &Uri) -> bool {
    uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_bucket, key)| !key.is_empty())
}

/// s3s bounds what it reads of XML too, but has no good word for it.
pub(super) fn too_long() -> S3Error {
    s3_error!(MaxMessageLengthExceeded, "a request has at most {MAX_XML_BYTES} bytes of XML")
}

/// Without what signs it, where that is in the query.
pub(super) fn without_signature(uri: &Uri) -> S3Result<Uri> {
    let is_signature = |pair: &&str| {
        let name = percent_decode_str(pair.split('=').next().unwrap_or_default());
        name.decode_utf8().is_ok_and(|name| name.starts_with("X-Amz-"))
    };
    let query = uri.query().unwrap_or_default();
    let rest: Vec<_> = query.split('&').filter(|pair| !is_signature(pair)).collect();
    format!("{}?{}", uri.path(), rest.join("&")).parse().map_err(|_| s3_error!(InvalidURI))
}

fn malformed() -> S3Error {
    s3_error!(AuthorizationHeaderMalformed, "the Authorization header is not one of Signature Version 4")
}

fn unsupported() -> S3Error {
    s3_error!(InvalidRequest, "the authorization mechanism is not supported: use AWS4-HMAC-SHA256")
}

fn bad_expiry() -> S3Error {
    s3_error!(
        AuthorizationQueryParametersError,
        "X-Amz-Expires must be a number of seconds from 1 to {MAX_EXPIRES_SECONDS}"
    )
}

struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> S3Result<Self> {
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| s3_error!(InvalidURI, "the query is not UTF-8"))
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<S3Result<_>>().map(Self)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    fn one(&self, name: &str) -> S3Result<&str> {
        let mut found = self.0.iter().filter(|(found, _)| found == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(value),
            _ => Err(s3_error!(AuthorizationQueryParametersError, "a presigned URL needs {name}, once")),
        }
    }
}

/// A body in the form of `aws-chunked`, no chunk of which is too large to be held. Its bytes pass as they are.
pub(super) struct Chunks<S> {
    inner: S,
    at: At,
}

enum At {
    /// In the line before a chunk.
    Line(Vec<u8>),
    /// In a chunk, with so much to come, its line end included.
    Chunk(u64),
    /// After the last chunk.
    Trailers,
}

impl<S> Chunks<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, at: At::Line(Vec::new()) }
    }

    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), S3Error> {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Trailers => return Ok(()),
                At::Chunk(left) => {
                    let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= passed as u64;
                    bytes = &bytes[passed..];
                    if *left == 0 {
                        self.at = At::Line(Vec::new());
                    }
                }
                At::Line(line) => {
                    let end = bytes.iter().position(|&byte| byte == b'\n');
                    let (of_line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    if line.len() + of_line.len() > MAX_CHUNK_LINE_BYTES {
                        return Err(s3_error!(InvalidRequest, "the line before a chunk is too long"));
                    }
                    line.extend_from_slice(of_line);
                    bytes = rest;
                    if end.is_some() {
                        let size = line.split(|&byte| byte == b';' || byte == b'\r').next();
                        let size = size.and_then(|size| std::str::from_utf8(size).ok());
                        let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
                        self.at = match size {
                            None => {
                                return Err(s3_error!(InvalidRequest, "the size of a chunk is not a number"));
                            }
                            Some(0) => At::Trailers,
                            Some(size) if size <= MAX_CHUNK_BYTES => At::Chunk(size + 2),
                            Some(size) => {
                                return Err(s3_error!(
                                    InvalidRequest,
                                    "a chunk of {size} bytes is too large: the most is {MAX_CHUNK_BYTES}"
                                ));
                            }
                        };
                    }
                }
            }
        }
        Ok(())
    }
}

impl<S, E> Stream for Chunks<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(next) = ready!(Pin::new(&mut self.inner).poll_next(context)) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(next.map_err(Into::into).and_then(|bytes| {
            self.pass(&bytes)?;
            Ok(bytes)
        })))
    }
}

/// Whether the body is sent in chunks that S3 knows of.
pub(super) fn is_chunked(headers: &HeaderMap) -> bool {
    headers.get("x-amz-content-sha256").is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"))
}

/// The code of an error that a body ended with, if it is one of ours.
pub(super) fn code_of(error: &(dyn std::error::Error + 'static)) -> Option<S3ErrorCode> {
    let mut error = Some(error);
    while let Some(found) = error {
        if let Some(ours) = found.downcast_ref::<S3Error>() {
            return Some(ours.code().clone());
        }
        error = found.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_HEADER: &str = "AWS4-HMAC-SHA256 Credential=KEY/20261125/eu-west-1/s3/aws4_request, \
                             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn answer(uri: &str, pairs: &[(&str, &str)]) -> String {
        match check(&Method::GET, &uri.parse().unwrap(), &headers(pairs)) {
            Ok(()) => "passed".into(),
            Err(error) => error.code().as_str().to_owned(),
        }
    }

    const SIGNED: [(&str, &str); 4] = [
        ("host", "localhost"),
        ("x-amz-date", "20261125T000000Z"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("authorization", BY_HEADER),
    ];

    #[test]
    fn only_a_wholly_signed_request_passes() {
        assert_eq!(answer("/b/k", &SIGNED), "passed");
        assert_eq!(answer("/b/k", &SIGNED[..3]), "AccessDenied");
        let with = |name, value| [&SIGNED[..], &[(name, value)]].concat();
        assert_eq!(answer("/b/k", &with("x-amz-meta-a", "injected")), "AccessDenied");
        assert_eq!(answer("/b/k", &with("x-amz-copy-source", "/b/other")), "AccessDenied");
        assert_eq!(answer("/b/k", &with("x-other", "free")), "passed");
        assert_eq!(answer("/b/k", &with("authorization", BY_HEADER)), "InvalidArgument");
        // What is signed must be there, or s3s leaves it out of what it checks.
        assert_eq!(answer("/b/k", &[SIGNED[0], SIGNED[2], SIGNED[3]]), "SignatureDoesNotMatch");
    }

    #[test]
    fn what_is_stored_is_no_part_of_a_page() {
        let wanted_as = |wanted| answer("/b/k", &[&SIGNED[..], &[("sec-fetch-dest", wanted)]].concat());
        for free in ["empty", "document", "image", "audio", "video"] {
            assert_eq!(wanted_as(free), "passed", "{free}");
        }
        for part in [
            "script",
            "style",
            "worker",
            "serviceworker",
            "audioworklet",
            "xslt",
            "iframe",
            "embed",
            "new",
            "",
        ] {
            assert_eq!(wanted_as(part), "AccessDenied", "{part}");
        }
    }

    #[test]
    fn other_ways_to_sign_are_refused() {
        let by = |authorization: &str| {
            answer("/b/k", &[&SIGNED[..3], &[("authorization", authorization)]].concat())
        };
        assert_eq!(by("AWS KEY:signature"), "InvalidRequest");
        assert_eq!(by(&BY_HEADER.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512")), "InvalidRequest");
        assert_eq!(by(&BY_HEADER.replace("/s3/", "/sts/")), "AuthorizationHeaderMalformed");
        assert_eq!(by(&BY_HEADER.replace("aws4_request", "aws4_reques")), "AuthorizationHeaderMalformed");
        assert_eq!(by(&BY_HEADER.replace("host;", "")), "AccessDenied");
        assert_eq!(by("AWS4-HMAC-SHA256"), "AuthorizationHeaderMalformed");
        assert_eq!(answer("/b/k?AWSAccessKeyId=K&Signature=s&Expires=1", &SIGNED[..1]), "InvalidRequest");
        let copy = [("x-amz-copy-source", "/b/k"), ("if-none-match", "*")];
        assert_eq!(answer("/b/k", &[&SIGNED[..], &copy].concat()), "NotImplemented");
        let form = headers(&[&SIGNED[..], &[("content-type", "Multipart/form-data; boundary=x")]].concat());
        let error = check(&Method::POST, &"/b".parse().unwrap(), &form).unwrap_err();
        assert_eq!(error.code().as_str(), "NotImplemented");
    }

    #[test]
    fn a_presigned_url_expires_and_is_complete() {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY%2F20261125%2Fx%2Fs3%2Faws4_request\
                     &X-Amz-Date=20261125T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
        let host = &SIGNED[..1];
        let ask = |query: String| answer(&format!("/b/k?{query}"), host);
        assert_eq!(ask(query.into()), "passed");
        for expires in ["0", "604801", "-1", "x", ""] {
            let query = query.replace("Expires=900", &format!("Expires={expires}"));
            assert_eq!(ask(query), "AuthorizationQueryParametersError", "{expires}");
        }
        assert_eq!(ask(query.replace("X-Amz-Expires=900&", "")), "AuthorizationQueryParametersError");
        assert_eq!(ask(format!("{query}&X-Amz-Expires=9")), "AuthorizationQueryParametersError");
        assert_eq!(ask(query.replace("SignedHeaders=host", "SignedHeaders=x")), "AccessDenied");
        assert_eq!(answer(&format!("/b/k?{query}"), &SIGNED), "InvalidArgument");
        let with_digest = [SIGNED[0], SIGNED[2]];
        assert_eq!(answer(&format!("/b/k?{query}"), &with_digest), "passed");
        assert_eq!(answer(&format!("/b/k?{query}"), &[SIGNED[0], ("x-amz-acl", "private")]), "AccessDenied");
    }

    #[test]
    fn a_chunk_that_would_fill_the_memory_is_refused_however_it_is_cut() {
        let pass = |body: &[u8], cut: usize| {
            let mut chunks = Chunks::new(());
            body.chunks(cut).try_for_each(|piece| chunks.pass(piece)).map_err(|error| error.code().clone())
        };
        let good = b"3;chunk-signature=00\r\nabc\r\n1\r\n\n\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        let large = b"400001\r\n";
        let edge = b"400000\r\n";
        let nothing = b"x\r\n";
        let endless = [b'0'; 1025];
        for cut in [1, 2, 3, 7, 2000] {
            assert_eq!(pass(good, cut), Ok(()), "{cut}");
            assert_eq!(pass(edge, cut), Ok(()), "{cut}");
            for bad in [&large[..], &nothing[..], &endless[..]] {
                assert_eq!(pass(bad, cut), Err(S3ErrorCode::InvalidRequest), "{cut}");
            }
        }
    }
}
