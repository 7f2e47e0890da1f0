//! The commands on AWS, where the program is built with them.

#[cfg(feature = "aws")]
mod enabled;
#[cfg(feature = "aws")]
pub use enabled::{delete, queue, results, run, upload, upload_without_bucket, worker};

#[cfg(not(feature = "aws"))]
mod disabled;
#[cfg(not(feature = "aws"))]
pub use disabled::{delete, queue, results, run, upload, upload_without_bucket, worker};
