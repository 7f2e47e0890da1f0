//! What the program's exit code says. Scripts rely on these numbers; nothing else in the program makes one up.
//!
//! Not here: turning the number into the process's end, which only `main.rs` does.

use crate::config::Misconfiguration;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything asked for is done.
    Done,
    /// 1: nothing usable came of it.
    Failed,
    /// 2: wrong usage or configuration; nothing was started.
    Usage,
    /// 3: done in part: some documents failed, each is named on standard error.
    Partly,
}

impl Exit {
    /// The number the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partly => 3,
        }
    }

    /// The exit that an error stands for: [`Exit::Usage`] when a [`Misconfiguration`] or a [`UsageError`] is anywhere
    /// in its chain, [`Exit::Failed`] otherwise.
    pub fn of(error: &anyhow::Error) -> Self {
        let is_usage = error.chain().any(|cause| cause.is::<Misconfiguration>() || cause.is::<UsageError>());
        if is_usage { Self::Usage } else { Self::Failed }
    }
}

/// A command line that parses but asks for something that makes no sense. Says what, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn usage_errors_are_found_under_their_context() {
        let wrong_usage = Err::<(), _>(UsageError("no".into())).context("while starting").unwrap_err();
        assert_eq!(Exit::of(&wrong_usage), Exit::Usage);
        assert_eq!(Exit::of(&anyhow::anyhow!("disk on fire")), Exit::Failed);
    }
}
