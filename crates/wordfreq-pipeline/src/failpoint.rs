//! Named places where a test can end the process or fail an operation. Without the feature `failpoints` both
//! functions are empty and the names vanish from the binary.
//!
//! `WORDFREQ_FAILPOINTS` holds `name=action@n` entries separated by `;`. The action happens at the n-th time this
//! process passes the place (default 1): `kill` ends it with SIGKILL, `enospc` and `eio` fail the operation.

#[cfg(not(feature = "failpoints"))]
mod disabled {
    /// A place where a test can kill the process.
    #[inline(always)]
    pub fn hit(_name: &str) {}

    /// A place where a test can kill the process or fail the operation that follows.
    #[inline(always)]
    pub fn io(_name: &str) -> std::io::Result<()> {
        Ok(())
    }
}
#[cfg(not(feature = "failpoints"))]
pub use disabled::{hit, io};

#[cfg(feature = "failpoints")]
mod enabled {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    #[derive(Clone, Copy)]
    enum Action {
        Kill,
        Fail(i32),
    }

    struct Armed {
        action: Action,
        at: u32,
        hits: u32,
    }

    static ARMED: LazyLock<Mutex<HashMap<String, Armed>>> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "no setting of the product: compiled for tests only")]
        let text = std::env::var("WORDFREQ_FAILPOINTS").unwrap_or_default();
        let mut armed = HashMap::new();
        for entry in text.split(';').filter(|entry| !entry.is_empty()) {
            let parsed = entry.split_once('=').and_then(|(name, rest)| {
                let (action, at) = rest.split_once('@').unwrap_or((rest, "1"));
                let action = match action {
                    "kill" => Action::Kill,
                    "enospc" => Action::Fail(rustix::io::Errno::NOSPC.raw_os_error()),
                    "eio" => Action::Fail(rustix::io::Errno::IO.raw_os_error()),
                    _ => return None,
                };
                Some((name.to_owned(), Armed { action, at: at.parse().ok()?, hits: 0 }))
            });
            match parsed {
                Some((name, point)) => armed.insert(name, point),
                None => panic!("WORDFREQ_FAILPOINTS: cannot read `{entry}`"),
            };
        }
        Mutex::new(armed)
    });

    /// `WORDFREQ_FAILPOINT_MAX_PAGES`: how many pages the database may have before it counts as full.
    pub(crate) fn max_database_pages() -> Option<i64> {
        number("WORDFREQ_FAILPOINT_MAX_PAGES")
    }

    /// `WORDFREQ_FAILPOINT_FOLD_AT`: how many moves of totals may wait, so that small tests fold too.
    pub(crate) fn fold_at() -> Option<u64> {
        number("WORDFREQ_FAILPOINT_FOLD_AT")
    }

    #[expect(clippy::disallowed_methods, reason = "no setting of the product: compiled for tests only")]
    fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name}: cannot read `{text}`")))
    }

    /// A place where a test can kill the process.
    pub fn hit(name: &str) {
        if let Err(error) = io(name) {
            panic!("failpoint {name}: this place can only be killed, not failed ({error})");
        }
    }

    /// A place where a test can kill the process or fail the operation that follows.
    pub fn io(name: &str) -> std::io::Result<()> {
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(point) = armed.get_mut(name) else {
            return Ok(());
        };
        point.hits += 1;
        if point.hits != point.at {
            return Ok(());
        }
        match point.action {
            Action::Fail(errno) => Err(std::io::Error::from_raw_os_error(errno)),
            Action::Kill => {
                // The kernel delivers SIGKILL before this call returns to user space.
                let killed =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                panic!("failpoint {name}: the process outlived SIGKILL: {killed:?}");
            }
        }
    }
}
#[cfg(feature = "failpoints")]
pub(crate) use enabled::{fold_at, max_database_pages};
#[cfg(feature = "failpoints")]
pub use enabled::{hit, io};
