//! The checksums of S3: which one a request speaks of, computing it, and putting together those of parts. Not here: the
//! digests that signatures cover, which s3s checks.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use http::HeaderMap;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::{S3Result, dto, s3_error};
use wordfreq_pipeline::embedded::{Checksum, ChecksumAlgorithm, ChecksumKind};

pub(super) const ALL: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

/// As S3 writes it.
pub(super) const fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "CRC32",
        ChecksumAlgorithm::Crc32c => "CRC32C",
        ChecksumAlgorithm::Crc64Nvme => "CRC64NVME",
        ChecksumAlgorithm::Sha1 => "SHA1",
        ChecksumAlgorithm::Sha256 => "SHA256",
    }
}

/// The header that carries its value.
pub(super) const fn header(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
    }
}

pub(super) fn named(text: &str) -> S3Result<ChecksumAlgorithm> {
    let found = ALL.into_iter().find(|algorithm| name(*algorithm).eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        s3_error!(InvalidRequest, "{text:?} is not a checksum: use CRC32, CRC32C, CRC64NVME, SHA1 or SHA256")
    })
}

/// What kind it is, of an object that is uploaded in parts.
pub(super) fn kind_of_parts(
    algorithm: ChecksumAlgorithm,
    asked: Option<&dto::ChecksumType>,
) -> S3Result<ChecksumKind> {
    use ChecksumAlgorithm::{Crc64Nvme, Sha1, Sha256};
    match (asked.map(dto::ChecksumType::as_str), algorithm) {
        (None, Crc64Nvme) => Ok(ChecksumKind::FullObject),
        (None, _) => Ok(ChecksumKind::Composite),
        (Some(dto::ChecksumType::COMPOSITE), Crc64Nvme)
        | (Some(dto::ChecksumType::FULL_OBJECT), Sha1 | Sha256) => Err(s3_error!(
            InvalidRequest,
            "{} cannot be of this type for an upload in parts",
            name(algorithm)
        )),
        (Some(dto::ChecksumType::COMPOSITE), _) => Ok(ChecksumKind::Composite),
        (Some(dto::ChecksumType::FULL_OBJECT), _) => Ok(ChecksumKind::FullObject),
        (Some(other), _) => Err(s3_error!(
            InvalidRequest,
            "{other:?} is not a type of checksum: use COMPOSITE or FULL_OBJECT"
        )),
    }
}

pub(super) fn type_of(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    })
}

/// What a request says of the checksum of its body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// Which it is.
    pub(super) algorithm: Option<ChecksumAlgorithm>,
    /// What it must be.
    pub(super) value: Option<String>,
    /// It comes after the body.
    pub(super) is_trailing: bool,
}

impl Claim {
    /// Reads the headers of a put.
    pub(super) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let given: Vec<_> =
            ALL.into_iter().filter_map(|algorithm| Some((algorithm, text(header(algorithm))?))).collect();
        let trailing = text("x-amz-trailer").map(|trailer| {
            let found =
                ALL.into_iter().find(|algorithm| header(*algorithm).eq_ignore_ascii_case(trailer.trim()));
            found.ok_or_else(|| {
                s3_error!(InvalidRequest, "x-amz-trailer must name one checksum, not {trailer:?}")
            })
        });
        let claim = match (&given[..], trailing.transpose()?) {
            ([], None) => {
                let algorithm = text("x-amz-sdk-checksum-algorithm").map(named).transpose()?;
                return Ok(Self { algorithm, ..Self::default() });
            }
            ([(algorithm, value)], None) => {
                Self { algorithm: Some(*algorithm), value: Some((*value).to_owned()), is_trailing: false }
            }
            ([], Some(algorithm)) => Self { algorithm: Some(algorithm), value: None, is_trailing: true },
            _ => return Err(s3_error!(InvalidRequest, "there is more than one checksum: send one")),
        };
        Ok(claim)
    }
}

/// Computes one.
pub(super) enum Hasher {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(Box<Sha1>),
    Sha256(Box<Sha256>),
}

impl Hasher {
    pub(super) fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc32 => Self::Crc32(Crc32::new()),
            ChecksumAlgorithm::Crc32c => Self::Crc32c(Crc32c::new()),
            ChecksumAlgorithm::Crc64Nvme => Self::Crc64Nvme(Crc64Nvme::new()),
            ChecksumAlgorithm::Sha1 => Self::Sha1(Box::new(Sha1::new())),
            ChecksumAlgorithm::Sha256 => Self::Sha256(Box::new(Sha256::new())),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(hasher) => hasher.update(bytes),
            Self::Crc32c(hasher) => hasher.update(bytes),
            Self::Crc64Nvme(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// In Base64.
    pub(super) fn finish(self) -> String {
        match self {
            Self::Crc32(hasher) => BASE64_STANDARD.encode(hasher.finalize()),
            Self::Crc32c(hasher) => BASE64_STANDARD.encode(hasher.finalize()),
            Self::Crc64Nvme(hasher) => BASE64_STANDARD.encode(hasher.finalize()),
            Self::Sha1(hasher) => BASE64_STANDARD.encode(hasher.finalize()),
            Self::Sha256(hasher) => BASE64_STANDARD.encode(hasher.finalize()),
        }
    }
}

/// The checksum of an object from those of its parts, each with the part's size; `None` if one of them is missing or
/// unreadable.
pub(super) fn of_parts(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: &[(Option<&str>, u64)],
) -> Option<Checksum> {
    let decode = |value: &str| BASE64_STANDARD.decode(value).ok();
    let value = match kind {
        ChecksumKind::Composite => {
            let mut hasher = Hasher::new(algorithm);
            for (value, _) in parts {
                hasher.update(&decode((*value)?)?);
            }
            format!("{}-{}", hasher.finish(), parts.len())
        }
        ChecksumKind::FullObject => {
            let (crc, width) = match algorithm {
                ChecksumAlgorithm::Crc32 => (CrcAlgorithm::Crc32IsoHdlc, 4),
                ChecksumAlgorithm::Crc32c => (CrcAlgorithm::Crc32Iscsi, 4),
                ChecksumAlgorithm::Crc64Nvme => (CrcAlgorithm::Crc64Nvme, 8),
                ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => return None,
            };
            let number = |value: &str| {
                let bytes = decode(value)?;
                (bytes.len() == width)
                    .then(|| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)))
            };
            let mut whole: Option<u64> = None;
            for (value, bytes) in parts {
                let part = number((*value)?)?;
                whole = Some(whole.map_or(part, |whole| checksum_combine(crc, whole, part, *bytes)));
            }
            BASE64_STANDARD.encode(&whole?.to_be_bytes()[8 - width..])
        }
    };
    Some(Checksum { algorithm, kind, value })
}

/// Puts a value into the field of its algorithm, in whichever of S3's structures has those fields.
macro_rules! set_checksum {
    ($output:expr, $algorithm:expr, $value:expr) => {
        match $algorithm {
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Crc32 => $output.checksum_crc32 = Some($value),
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Crc32c => $output.checksum_crc32c = Some($value),
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Crc64Nvme => {
                $output.checksum_crc64nvme = Some($value)
            }
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Sha1 => $output.checksum_sha1 = Some($value),
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Sha256 => $output.checksum_sha256 = Some($value),
        }
    };
}
pub(super) use set_checksum;

/// The value in the field of an algorithm.
macro_rules! checksum_of {
    ($input:expr, $algorithm:expr) => {
        match $algorithm {
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Crc32 => $input.checksum_crc32.as_deref(),
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Crc32c => $input.checksum_crc32c.as_deref(),
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Crc64Nvme => $input.checksum_crc64nvme.as_deref(),
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Sha1 => $input.checksum_sha1.as_deref(),
            wordfreq_pipeline::embedded::ChecksumAlgorithm::Sha256 => $input.checksum_sha256.as_deref(),
        }
    };
}
pub(super) use checksum_of;

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn the_check_values_of_the_catalogue_come_out() {
        // "123456789", as every description of a CRC gives it.
        let of = |algorithm| {
            let bytes = BASE64_STANDARD.decode(checksum(algorithm, b"123456789")).unwrap();
            crate::server::hex(&bytes)
        };
        assert_eq!(of(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(of(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(of(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(of(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
    }

    #[test]
    fn a_whole_objects_checksum_follows_from_its_parts() {
        let text = b"the whole is what its parts are, one after the other";
        for algorithm in ALL {
            for cut in [1, 5, 17, 100] {
                let parts: Vec<_> =
                    text.chunks(cut).map(|part| (checksum(algorithm, part), part.len() as u64)).collect();
                let parts: Vec<_> =
                    parts.iter().map(|(value, bytes)| (Some(value.as_str()), *bytes)).collect();
                let whole = of_parts(algorithm, ChecksumKind::FullObject, &parts);
                if matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256) {
                    assert_eq!(whole, None);
                } else {
                    assert_eq!(whole.unwrap().value, checksum(algorithm, text), "{algorithm:?} {cut}");
                }
                let composite = of_parts(algorithm, ChecksumKind::Composite, &parts).unwrap().value;
                assert!(composite.ends_with(&format!("-{}", parts.len())), "{composite}");
                let holed = [&parts[..], &[(None, 1)]].concat();
                assert_eq!(of_parts(algorithm, ChecksumKind::Composite, &holed), None);
            }
        }
    }
}
