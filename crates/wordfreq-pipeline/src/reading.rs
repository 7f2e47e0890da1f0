//! Bytes from a file or stream into the counter, in constant memory: the one way in for `count` and for the worker.
//! A large file is cut at certain boundaries and counted by several threads. Not here: which files, and what a
//! failure means for a document.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use wordfreq_core::{CountError, Counter, Counts, Profile, certain_boundary};

const BUFFER_BYTES: usize = 256 * 1024;

/// A file is cut into parts of this size, and read by one thread if it is not larger.
const PART_BYTES: u64 = 16 * 1024 * 1024;

/// Why a document was not counted.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its bytes cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Its profile refuses it.
    #[error("{0}")]
    Count(#[from] CountError),
    /// `observe` asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Counts a stream to its end. `observe` sees every piece as it is read, in order, and returns `false` to stop.
pub fn count_reader(
    reader: &mut dyn Read,
    profile: &Profile,
    mut observe: impl FnMut(&[u8]) -> bool,
) -> Result<Counts, ReadError> {
    let mut counter = Counter::new(profile);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(counter.finish()?),
            Ok(read) => {
                if !observe(&buffer[..read]) {
                    return Err(ReadError::Stopped);
                }
                counter.feed(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Counts the first `bytes` of a file with up to `threads` threads; the counts do not depend on their number.
/// `observe` learns how many bytes each piece had, from any thread, and returns `false` to stop.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter than `bytes`.
pub fn count_file(
    file: &File,
    bytes: u64,
    profile: &Profile,
    threads: usize,
    observe: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Counts, ReadError> {
    let parts = bytes.div_ceil(PART_BYTES).max(1);
    let threads = threads.clamp(1, usize::try_from(parts).unwrap_or(usize::MAX));
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let count_parts = || -> Result<Counts, (u64, ReadError)> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut counts = Counts::new();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts || failed.load(Ordering::Relaxed) {
                return Ok(counts);
            }
            match count_part(file, bytes, part, profile, &mut buffer, observe) {
                Ok(part) => counts.merge(part),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err((part, error));
                }
            }
        }
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(count_parts)).collect();
        let mut outcomes = vec![count_parts()];
        outcomes.extend(others.into_iter().map(|other| {
            other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }));
        outcomes
    });
    let mut counts = Counts::new();
    let mut first_error: Option<(u64, ReadError)> = None;
    for outcome in outcomes {
        match outcome {
            Ok(part) => counts.merge(part),
            // The earliest in the file, whichever thread met one first. Parts are handed out in order, so every
            // part before a failed one was counted or has failed too.
            Err(error) if first_error.as_ref().is_none_or(|first| error.0 < first.0) => {
                first_error = Some(error)
            }
            Err(_) => {}
        }
    }
    match first_error {
        Some((_, error)) => Err(error),
        None => Ok(counts),
    }
}

/// Counts what part `part` owns: the text after the first certain boundary at or behind its nominal start, up to the
/// first one at or behind its nominal end. A part that holds no boundary owns nothing, and its text belongs to the
/// part before it; so even a file without any boundary is read at most twice.
fn count_part(
    file: &File,
    bytes: u64,
    part: u64,
    profile: &Profile,
    buffer: &mut [u8],
    observe: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Counts, ReadError> {
    let nominal_end = ((part + 1) * PART_BYTES).min(bytes);
    let mut position = part * PART_BYTES;
    if part > 0 {
        // A boundary exactly at the nominal start shows in the byte before it.
        position -= 1;
        loop {
            let window = read_window(file, buffer, position, nominal_end.saturating_sub(1))?;
            if window.is_empty() {
                return Ok(Counts::new());
            }
            if let Some(boundary) = certain_boundary(window) {
                position += boundary as u64;
                break;
            }
            position += window.len() as u64;
        }
    }
    // Up to here everything is this part's; beyond it, only what comes before the next boundary.
    let own_until = if nominal_end == bytes {
        bytes
    } else {
        nominal_end - 1
    };
    let start = position;
    let mut counter = Counter::new(profile);
    let mut at_end = false;
    while !at_end {
        let limit = if position < own_until { own_until } else { bytes };
        let mut window = read_window(file, buffer, position, limit)?;
        if window.is_empty() {
            break;
        }
        if position >= own_until
            && let Some(boundary) = certain_boundary(window)
        {
            window = &window[..boundary];
            at_end = true;
        }
        if !observe(window.len() as u64) {
            return Err(ReadError::Stopped);
        }
        counter.feed(window);
        position += window.len() as u64;
    }
    Ok(counter
        .finish()
        .map_err(|CountError::TokenTooLong { offset }| CountError::TokenTooLong {
            offset: start + offset,
        })?)
}

/// Reads from `position`, at most to `limit`; empty only at `limit`.
fn read_window<'a>(file: &File, buffer: &'a mut [u8], position: u64, limit: u64) -> io::Result<&'a [u8]> {
    let wanted = buffer
        .len()
        .min(usize::try_from(limit.saturating_sub(position)).unwrap_or(usize::MAX));
    if wanted == 0 {
        return Ok(&[]);
    }
    loop {
        match file.read_at(&mut buffer[..wanted], position) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file became shorter while it was read",
                ));
            }
            Ok(read) => return Ok(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
