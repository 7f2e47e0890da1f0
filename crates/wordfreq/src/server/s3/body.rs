//! The body of a put on its way in: from the connection into a staged file, with every digest that S3 knows, checked before
//! anything refers to it. A small one is held in memory until it is whole, so that one visit to the disk is enough; a large
//! one is written in pieces while the next arrive, and no thread waits for the network.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use http::HeaderMap;
use md5::{Digest as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, StdError, TrailingHeaders, s3_error};
use tokio::sync::{Semaphore, oneshot};
use wordfreq_pipeline::embedded::{Bucket, ChecksumAlgorithm, Staged, Staging};

use super::checksum::{self, Claim, Hasher};
use super::{failed, guard, panicked};
use crate::server::paced::{TOO_SLOWLY, TooSlow};
use crate::server::{elsewhere, hex};

/// The largest object of one put, and the largest part.
pub(super) const MAX_PUT_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// Up to here a body is held in memory.
const SMALL_BYTES: usize = 128 * 1024;

/// A larger one is written in pieces of this size; one is being written while the next is filled.
const PIECE_BYTES: usize = 1024 * 1024;

/// How much memory all bodies on their way in may take, in KiB.
const MEMORY_KIB: usize = 256 * 1024;

/// For a place in that memory. Then the client is asked to slow down.
const PLACE_WITHIN: Duration = Duration::from_secs(5);

/// The memory of bodies on their way in.
pub(super) struct Intake {
    memory: Semaphore,
}

/// A body that has arrived and is what it was said to be.
pub(super) struct Received {
    pub(super) staged: Staged,
    pub(super) digests: Digests,
}

/// What a body turned out to be.
pub(super) struct Digests {
    pub(super) md5: [u8; 16],
    /// Its checksum, where one was asked for.
    pub(super) checksum: Option<(ChecksumAlgorithm, String)>,
}

impl Received {
    pub(super) fn etag(&self) -> String {
        hex(&self.digests.md5)
    }
}

/// What the request says of its body.
pub(super) struct Expected {
    md5: Option<[u8; 16]>,
    claim: Claim,
    trailers: Option<TrailingHeaders>,
}

impl Expected {
    pub(super) fn of(
        headers: &HeaderMap,
        content_md5: Option<&str>,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<Self> {
        let claim = Claim::of(headers)?;
        let md5 = content_md5.map(|text| {
            let digest = BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
            digest.ok_or_else(|| s3_error!(InvalidDigest, "Content-MD5 is not 16 bytes in Base64"))
        });
        Ok(Self { md5: md5.transpose()?, claim, trailers })
    }

    /// Which checksum it speaks of.
    pub(super) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.claim.algorithm
    }

    /// Whether what has arrived is that.
    pub(super) fn check(&self, hashers: Hashers) -> S3Result<Digests> {
        let md5: [u8; 16] = hashers.md5.finalize().into();
        if self.md5.is_some_and(|expected| expected != md5) {
            return Err(s3_error!(BadDigest, "Content-MD5 does not match what has arrived"));
        }
        let checksum = hashers.checksum.map(|(algorithm, hasher)| (algorithm, hasher.finish()));
        let trailing = if self.claim.is_trailing {
            let algorithm = self.claim.algorithm.ok_or_else(|| s3_error!(InternalError))?;
            let value = self.trailers.as_ref().and_then(|trailers| {
                let text = |headers: &HeaderMap| {
                    Some(headers.get(checksum::header(algorithm))?.to_str().ok()?.to_owned())
                };
                trailers.read(text).flatten()
            });
            Some(value.ok_or_else(|| {
                unnamed(
                    "MalformedTrailerError",
                    "the body ends without the trailer that x-amz-trailer names".into(),
                )
            })?)
        } else {
            None
        };
        if let Some(expected) = self.claim.value.as_ref().or(trailing.as_ref())
            && checksum.as_ref().is_none_or(|(_, value)| value != expected)
        {
            return Err(s3_error!(BadDigest, "the checksum does not match what has arrived"));
        }
        Ok(Digests { md5, checksum })
    }
}

/// Computes what is said of a body, while it comes.
pub(super) struct Hashers {
    md5: Md5,
    checksum: Option<(ChecksumAlgorithm, Hasher)>,
}

impl Hashers {
    pub(super) fn new(algorithm: Option<ChecksumAlgorithm>) -> Self {
        let checksum = algorithm.map(|algorithm| (algorithm, Hasher::new(algorithm)));
        Self { md5: Md5::new(), checksum }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some((_, hasher)) = &mut self.checksum {
            hasher.update(bytes);
        }
    }
}

impl Intake {
    pub(super) fn new() -> Self {
        Self { memory: Semaphore::new(MEMORY_KIB) }
    }

    /// Takes the body of a request in. `algorithm` is computed in any case.
    pub(super) async fn receive<T>(
        &self,
        bucket: &Bucket,
        request: &mut S3Request<T>,
        body: Option<StreamingBlob>,
        content_length: Option<i64>,
        content_md5: Option<&str>,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> S3Result<Received> {
        let expected = Expected::of(&request.headers, content_md5, request.trailing_headers.take())?;
        if let (Some(algorithm), Some(claimed)) = (algorithm, expected.algorithm())
            && algorithm != claimed
        {
            return Err(s3_error!(
                InvalidRequest,
                "the upload's checksum is {}, and the part's is {}",
                checksum::name(algorithm),
                checksum::name(claimed)
            ));
        }
        let decoded = request.headers.get("x-amz-decoded-content-length");
        let decoded = decoded.and_then(|value| value.to_str().ok()?.parse().ok());
        let length = decoded.or_else(|| u64::try_from(content_length?).ok());
        let bytes = length.ok_or_else(|| s3_error!(MissingContentLength))?;
        if bytes > MAX_PUT_BYTES {
            let mut error =
                s3_error!(EntityTooLarge, "a put has at most {MAX_PUT_BYTES} bytes: upload it in parts");
            error.set_status_code(http::StatusCode::PAYLOAD_TOO_LARGE);
            return Err(error);
        }
        let hashers = Hashers::new(algorithm.or(expected.algorithm()));
        let body = body.unwrap_or_else(|| StreamingBlob::from(s3s::Body::empty()));
        let small = usize::try_from(bytes).ok().filter(|bytes| *bytes <= SMALL_BYTES);
        let kib = small.map_or(2 * PIECE_BYTES, |bytes| bytes).div_ceil(1024).max(1);
        let place = self.memory.acquire_many(u32::try_from(kib).unwrap_or(u32::MAX));
        let _place = match tokio::time::timeout(PLACE_WITHIN, place).await {
            Ok(Ok(place)) => place,
            _ => return Err(s3_error!(SlowDown, "too much is being uploaded at this moment: try again")),
        };
        match small {
            Some(bytes) => receive_small(bucket.clone(), body, bytes, hashers, expected).await,
            None => receive_large(bucket.clone(), body, bytes, hashers, expected).await,
        }
    }
}

async fn receive_small(
    bucket: Bucket,
    mut body: StreamingBlob,
    bytes: usize,
    mut hashers: Hashers,
    expected: Expected,
) -> S3Result<Received> {
    let mut whole = Vec::with_capacity(bytes);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(broken)?;
        if whole.len() + piece.len() > bytes {
            return Err(s3_error!(IncompleteBody, "the body is longer than was said"));
        }
        whole.extend_from_slice(&piece);
    }
    let received = elsewhere(move || {
        hashers.update(&whole);
        let mut staging = bucket.begin_staging().map_err(failed)?;
        staging.write(&whole).map_err(failed)?;
        check(staging.finish().map_err(failed)?, bytes as u64, hashers, &expected)
    });
    received.await.map_err(panicked)?
}

async fn receive_large(
    bucket: Bucket,
    mut body: StreamingBlob,
    length: u64,
    hashers: Hashers,
    expected: Expected,
) -> S3Result<Received> {
    let begin = elsewhere(move || bucket.begin_staging().map_err(failed));
    let staging = begin.await.map_err(panicked)??;
    let mut writing = Writing::Idle(Box::new((staging, hashers)));
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let mut arrived = 0;
    while let Some(bytes) = body.next().await {
        let mut bytes = &bytes.map_err(broken)?[..];
        arrived += bytes.len() as u64;
        if arrived > length {
            return Err(s3_error!(IncompleteBody, "the body is longer than was said"));
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - piece.len()));
            piece.extend_from_slice(now);
            bytes = later;
            if piece.len() == PIECE_BYTES {
                writing =
                    writing.write(std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES))).await?;
            }
        }
    }
    let (staging, hashers) = *writing.write(piece).await?.finish().await?;
    let received = elsewhere(move || check(staging.finish().map_err(failed)?, length, hashers, &expected));
    received.await.map_err(panicked)?
}

/// A file that is being written away from the threads that serve.
enum Writing {
    Idle(Box<(Staging, Hashers)>),
    Busy(oneshot::Receiver<S3Result<Box<(Staging, Hashers)>>>),
}

impl Writing {
    async fn write(self, piece: Vec<u8>) -> S3Result<Self> {
        let mut writing = self.finish().await?;
        Ok(Self::Busy(elsewhere(move || {
            writing.1.update(&piece);
            writing.0.write(&piece).map_err(failed)?;
            Ok(writing)
        })))
    }

    async fn finish(self) -> S3Result<Box<(Staging, Hashers)>> {
        match self {
            Self::Idle(writing) => Ok(writing),
            Self::Busy(write) => write.await.map_err(panicked)?,
        }
    }
}

/// Whether what has arrived is what was said.
fn check(staged: Staged, length: u64, hashers: Hashers, expected: &Expected) -> S3Result<Received> {
    if staged.bytes() != length {
        return Err(s3_error!(IncompleteBody, "{} bytes of {length} have arrived", staged.bytes()));
    }
    Ok(Received { staged, digests: expected.check(hashers)? })
}

/// An error of S3 that s3s has no name for.
pub(super) fn unnamed(code: &'static str, message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    error
}

/// What a body that broke off is answered. The types of s3s's errors are its own secret; their names are not.
pub(super) fn broken(error: StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        return unnamed(
            "XAmzContentSHA256Mismatch",
            "x-amz-content-sha256 does not match what has arrived".into(),
        );
    }
    if TooSlow::of(&*error).is_some() || text.contains(TOO_SLOWLY) {
        return S3Error::with_message(S3ErrorCode::RequestTimeout, text);
    }
    let code = guard::code_of(&*error).unwrap_or(match &text {
        text if text.contains("SignatureMismatch") => S3ErrorCode::SignatureDoesNotMatch,
        text if text.contains("FormatError") => S3ErrorCode::InvalidRequest,
        // Of the guard, within one of theirs that tells no source.
        text if text.contains("is too large: the most is") => S3ErrorCode::InvalidRequest,
        _ => S3ErrorCode::IncompleteBody,
    });
    S3Error::with_message(code, format!("the body cannot be taken: {text}"))
}
