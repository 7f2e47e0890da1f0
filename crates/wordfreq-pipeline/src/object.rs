//! The bytes of one version of a document, as a bucket gives them to whoever counts: a local file, or pieces that
//! arrive from elsewhere. Not here: how they are found and fetched, which is the backend's, and counting (`reading`).

use std::fmt;
use std::fs::File;

use bytes::Bytes;

use crate::document::Provenance;
use crate::reading::ReadError;

/// The pieces of a document in order, without gaps; ends after the last one, or after the first error.
pub type Pieces = Box<dyn Iterator<Item = Result<Bytes, ReadError>> + Send>;

/// The bytes of one version of a document.
#[derive(Debug)]
pub struct Object {
    /// Its size.
    pub bytes: u64,
    /// Which version it turned out to be, where that is known.
    pub provenance: Provenance,
    /// Where they are.
    pub content: Content,
}

/// Where the bytes of an object are.
pub enum Content {
    /// In a file on this machine.
    File {
        /// Open for reading, at the start; stays readable when the object is swept.
        file: File,
        /// What its bytes must hash to (BLAKE3).
        digest: [u8; 32],
    },
    /// Elsewhere; they arrive while they are counted, checked by whoever fetches them.
    Pieces(Pieces),
}

impl fmt::Debug for Content {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::File { .. } => "File",
            Self::Pieces(_) => "Pieces",
        })
    }
}

/// The answer to opening a version.
#[derive(Debug)]
pub enum Opened {
    /// It is the newest version, as far as the bucket knows.
    Current(Object),
    /// There is a newer version, or the document was deleted since; a message of its own tells of that.
    Superseded,
    /// There is no such document now.
    Gone,
}
