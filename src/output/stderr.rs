//! Standard error, whose failures do not stop the wait.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};

/// How long standard error may take to be written to, in milliseconds, before a line is dropped.
const PATIENCE: u8 = 100;

/// The length that a pipe takes at once when it is ready, in bytes.
const AT_ONCE: usize = 4096;

/// Standard error: a full disk loses lines, and so does a pipe that no process reads or a terminal
/// that is stopped (Ctrl-S), which would hold up its writer for ever.
pub(super) struct StandardError;

/// The terminal of standard error, opened once more. Unlike a pipe, a terminal that is ready may
/// still let the writer wait; this one never does, and the original, which other processes share,
/// stays as it is.
static TERMINAL: LazyLock<Option<File>> = LazyLock::new(|| {
    let terminal = io::stderr().is_terminal().then(|| {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = File::options();
        options.write(true).custom_flags(flags).open("/dev/fd/2")
    });
    terminal.and_then(Result::ok)
});

impl io::Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One that did not move is not waited for again until it does.
        static IS_STUCK: AtomicBool = AtomicBool::new(false);
        let patience = match IS_STUCK.load(Ordering::Relaxed) {
            true => 0,
            false => PATIENCE,
        };
        let mut stderr = io::stderr().lock();
        let is_stuck = {
            let mut question = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
            poll(&mut question, patience) == Ok(0)
        };
        IS_STUCK.store(is_stuck, Ordering::Relaxed);
        if is_stuck {
            return Ok(bytes.len());
        }
        let part = &bytes[..bytes.len().min(AT_ONCE)];
        let written = match TERMINAL.as_ref() {
            Some(mut terminal) => terminal.write(part),
            None => stderr.write(part),
        };
        Ok(written.unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
