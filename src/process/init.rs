//! PID 1: a small init that stays while its child waits and then becomes the command.
//!
//! [`start`] comes before everything else. As PID 1 it forks there, and the parent never returns:
//! it passes signals on, reaps orphans and ends with its child. The child goes on as if nothing
//! had happened, so that nothing else in the program knows of any of this.

use std::ffi::{OsStr, OsString};
use std::io;

use nix::libc::{self, c_int};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, getpid, setpgid};

use super::exit::Exit;
use super::sys::{self, Change, Disposition, OneThread, Signals};
use crate::output::{log, report};
use crate::settings::cli::Early;
use crate::settings::environment;
use crate::targets::one_of;

/// Whether to be an init.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As PID 1.
    #[default]
    Auto,
    /// As a child subreaper where it is not PID 1.
    Always,
    /// Not even as PID 1.
    Never,
}

impl Mode {
    /// All of them, with their names.
    pub const NAMES: [(&str, Self); 3] = [
        ("auto", Self::Auto),
        ("always", Self::Always),
        ("never", Self::Never),
    ];

    /// The mode by a first look at the settings: a fork after they are read would copy all the
    /// memory of that. A mode that does not exist is the default here, and an error when they are read.
    fn from_settings(flag: Option<&OsStr>, variable: Option<OsString>) -> Self {
        flag.map(OsStr::to_owned)
            .or(variable)
            .and_then(|name| one_of("", name.to_str()?.trim(), &Self::NAMES).ok())
            .unwrap_or_default()
    }
}

/// Becomes an init if the mode asks for it: returns in the child, and where there is no init. Signals
/// are blocked by the caller and unblocked here.
///
/// # Errors
/// The system's, where there can be no other process.
pub fn start(early: Early<'_>, mask: &sys::Mask, thread: &OneThread) -> nix::Result<()> {
    let mode = Mode::from_settings(early.init, environment::get(environment::INIT.name));
    let is_pid_1 = getpid().as_raw() == 1;
    // A check becomes no command and is over soon.
    let is_init = !early.is_check && (mode == Mode::Always || (mode == Mode::Auto && is_pid_1));
    let result = if is_init {
        if !is_pid_1 {
            sys::become_subreaper();
        }
        fork(is_pid_1, mask, thread)
    } else {
        if is_pid_1 {
            sys::end_on_signals();
        }
        Ok(())
    };
    sys::restore(mask);
    result
}

/// Forks; returns in the child, which has a process group of its own, in the foreground of the
/// terminal if there is one.
fn fork(is_pid_1: bool, mask: &sys::Mask, thread: &OneThread) -> nix::Result<()> {
    let terminal = sys::terminal_of(sys::own_group());
    // Where SIGCHLD is ignored, as it may be inherited, the kernel reaps children by itself and
    // sends no signal.
    let ignored = Disposition::default(Signal::SIGCHLD);
    match sys::fork(thread)? {
        ForkResult::Child => {
            ignored.give_back();
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0)); // a new process's own business
            if let Some(terminal) = terminal {
                sys::bring_to_foreground(terminal, sys::own_group());
            }
            Ok(())
        }
        ForkResult::Parent { child } => {
            let scrub = environment::get(environment::SCRUB.name);
            if environment::asks_for_scrub(scrub) {
                sys::overwrite_in_environment(thread, environment::is_scrubbed);
            }
            let code = supervise(child, is_pid_1, mask).unwrap_or_else(|error| {
                log::init(log::Settings::default());
                report::failed(&format_args!("cannot look after the command: {error}"));
                sys::terminate(child);
                Exit::CannotExecute.code()
            });
            // Where this is not PID 1, the shell goes on at the terminal.
            if let Some(terminal) = sys::terminal_of(child) {
                sys::bring_to_foreground(terminal, sys::own_group());
            }
            sys::exit_now(code)
        }
    }
}

/// The init: returns the status of the child once it has ended. It never ends the child by itself;
/// that is for those who send signals.
///
/// # Errors
/// The system's, where it refuses what an init cannot do without.
fn supervise(child: Pid, is_pid_1: bool, mask: &sys::Mask) -> io::Result<i32> {
    sys::give_back_code();
    let mut signals = Signals::new(mask)?;
    loop {
        // One signal may stand for many children, and the kernel's may have been merged into
        // another process's SIGCHLD; so the children are looked at every time. The first time is for
        // one that has ended before its signal was waited for.
        let mut status = None;
        while let Some((pid, change)) = sys::next_change()? {
            match change {
                Change::Ended(code) if pid == child => status = Some(code),
                Change::Stopped(signal) if pid == child && !is_pid_1 => stop_with(child, signal),
                Change::Ended(_) | Change::Stopped(_) => {}
            }
        }
        if let Some(status) = status {
            return Ok(status);
        }
        let received = signals.receive()?;
        if !received.is_about_children() {
            received.pass_on(child);
        }
    }
}

/// Stops with the child, so that the shell whose job this is sees it, and continues with it. PID 1
/// has no shell, and cannot be stopped.
fn stop_with(child: Pid, signal: c_int) {
    // One that is stopped only for want of the terminal, which the shell has given to us, goes on.
    let wants_terminal = signal == libc::SIGTTIN || signal == libc::SIGTTOU;
    if !(wants_terminal && sys::terminal_of(sys::own_group()).is_some()) {
        sys::stop();
    }
    if let Some(terminal) = sys::terminal_of(sys::own_group()) {
        sys::bring_to_foreground(terminal, child);
    }
    sys::continue_group(child);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_variable_and_nonsense_is_the_default() {
        let mode = |flag: &str, variable: &str| {
            let flag = Some(flag).filter(|flag| !flag.is_empty());
            Mode::from_settings(flag.map(OsStr::new), Some(variable.into()))
        };
        assert_eq!(mode("never", "always"), Mode::Never);
        assert_eq!(mode("", "always"), Mode::Always);
        assert_eq!(mode("", ""), Mode::Auto);
        assert_eq!(mode("sometimes", "always"), Mode::Auto);
    }
}
