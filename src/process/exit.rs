//! The exit statuses of `wait` itself. Once the command runs, the status is the command's own.

/// How `wait` ends when it does not become the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything is ready and there was no command; also `--help` and `--version`.
    Ready = 0,
    /// At least one target was not ready in time.
    NotReady = 1,
    /// The settings cannot be used; nothing was waited for or started.
    Unusable = 2,
    /// The command was found and cannot be executed.
    CannotExecute = 126,
    /// The command was not found.
    NotFound = 127,
}

impl Exit {
    /// The status for `exit(2)`.
    pub fn code(self) -> i32 {
        self as i32
    }
}
