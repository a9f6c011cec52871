//! What the process was given by whoever started it, put aside for the wait and put back for the
//! command. The one module with `unsafe` in it.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, IntoRawFd as _, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::Mode;

/// What has to be put back before the command starts.
#[derive(Debug)]
pub struct Inherited {
    sigpipe: Option<SigAction>,
}

impl Inherited {
    /// Takes over: to be called first of all, while there is one thread.
    pub fn take_over() -> Self {
        occupy_closed_standard_streams();
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // A reader of the log that goes away must not end the wait.
        // SAFETY: ignoring a signal runs no code of ours.
        let sigpipe = unsafe { sigaction(Signal::SIGPIPE, &ignore) }.ok();
        Self { sigpipe }
    }

    /// Puts everything back; what cannot survive an exec anyway is left to it.
    pub fn give_back(&self) {
        if let Some(sigpipe) = &self.sigpipe {
            // SAFETY: it is what was in force before; a handler in it could only be one that
            // this process had, and it has none.
            let _ = unsafe { sigaction(Signal::SIGPIPE, sigpipe) };
        }
    }
}

/// A closed standard stream would be the number of the next file or socket that is opened, and the
/// log would be written to it. Its place is taken by something that can be neither read nor
/// written and that is closed again by exec, so that the command finds the stream closed.
fn occupy_closed_standard_streams() {
    for number in 0..=2 {
        if is_closed(number) {
            #[cfg(target_os = "linux")]
            let (path, access) = ("/", OFlag::O_PATH);
            #[cfg(not(target_os = "linux"))]
            let (path, access) = ("/dev/null", OFlag::O_RDONLY);
            // The lowest number that is free is the one that is given out.
            if let Ok(placeholder) = open(path, access | OFlag::O_CLOEXEC, Mode::empty()) {
                let _ = placeholder.into_raw_fd();
            }
        }
    }
}

fn is_closed(number: RawFd) -> bool {
    // SAFETY: the borrowed descriptor is used for this one question, whose answer may be that
    // there is no such descriptor.
    let stream = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(stream, FcntlArg::F_GETFD) == Err(Errno::EBADF)
}

/// Takes variables out of the environment that the command will get. To be called while there is
/// one thread.
pub fn remove_from_environment(is_removed: impl Fn(&[u8]) -> bool) {
    use std::os::unix::ffi::OsStrExt as _;
    for (name, _) in std::env::vars_os() {
        if is_removed(name.as_bytes()) {
            // SAFETY: there is no other thread that could read the environment.
            unsafe { std::env::remove_var(name) };
        }
    }
}
