//! A bell between processes: ringing changes a file, and whoever waits on that file wakes. The message itself is in
//! the database; a bell only says "look again", so a lost or doubled ring does no harm.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::error::BackendError;

/// Look again at least this often: a process that died between its commit and its ring must not leave others asleep.
const AT_LEAST_EVERY: Duration = Duration::from_secs(2);

/// One bell, for ringing and for waiting.
pub struct Bell {
    path: PathBuf,
    file: Mutex<File>,
    heard: Arc<Heard>,
    /// `None` when the system has no more watches to give.
    watcher: OnceLock<Option<RecommendedWatcher>>,
}

#[derive(Default)]
struct Heard {
    rings: Mutex<u64>,
    changed: Condvar,
}

impl Heard {
    fn add(&self) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }
}

impl Bell {
    /// Opens the bell's file, making it if needed. Nothing is watched before the first wait.
    pub fn open(path: &Path) -> Result<Self, BackendError> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| BackendError::io("open", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            heard: Arc::default(),
            watcher: OnceLock::new(),
        })
    }

    /// Wakes everyone who waits, in every process. It changes one byte in place, so a full disk does not matter; if
    /// it fails all the same, waiters look again by themselves within two seconds.
    pub fn ring(&self) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(b"\n")) {
            tracing::debug!(%error, bell = %self.path.display(), "cannot ring");
        }
        drop(file);
        self.heard.add();
    }

    /// A waker that outlives this borrow.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let heard = self.heard.clone();
        move || heard.add()
    }

    /// Where the bell stands now. Take it *before* looking at the database, then wait from it: a ring in between is
    /// not missed.
    pub fn position(&self) -> u64 {
        self.listen();
        *self.heard.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a ring after `seen`, at most `timeout` and never much longer than two seconds; returns the new
    /// position.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        self.listen();
        let deadline = Instant::now() + timeout.min(AT_LEAST_EVERY);
        let mut rings = self.heard.rings.lock().unwrap_or_else(PoisonError::into_inner);
        while *rings == seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            rings = self.heard.changed.wait_timeout(rings, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rings
    }

    fn listen(&self) {
        if self.watcher.get().is_some() {
            return;
        }
        let heard = self.heard.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) if event.kind.is_access() => {}
            // An error may have swallowed a ring.
            _ => heard.add(),
        })
        .and_then(|mut watcher| watcher.watch(&self.path, RecursiveMode::NonRecursive).map(|()| watcher));
        if let Err(error) = &watcher {
            tracing::warn!(%error, bell = %self.path.display(), "cannot be woken, looking every two seconds instead");
        }
        // Of two threads that come here at once one watcher is dropped; both heard all there was.
        drop(self.watcher.set(watcher.ok()));
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Bell").field("path", &self.path).finish()
    }
}
