//! PID 1: a small init that stays while its child waits and then becomes the command.
//!
//! [`start`] comes before everything else. As PID 1 it forks there, and the parent never returns:
//! it passes signals on, reaps orphans and ends with its child. The child goes on as if nothing
//! had happened, so that nothing else in the program knows of any of this.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use nix::unistd::{ForkResult, Pid, getpid, setpgid};

use crate::env;
use crate::sys::{self, Received};

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
    /// The mode of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "always" => Some(Self::Always),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    /// What the settings say, as far as can be told before they are read in earnest: to fork
    /// later would be to fork with all that reading them takes. What makes no sense is the default
    /// here and an error there.
    fn from_settings(args: &[OsString], variable: Option<OsString>) -> Self {
        flag(args)
            .map(OsStr::to_owned)
            .or(variable)
            .and_then(|name| Self::parse(name.to_str()?.trim()))
            .unwrap_or_default()
    }
}

/// The value of `--init`. All flags but `--help` and `--version` have values, and what does not
/// begin with `--` begins the command.
fn flag(args: &[OsString]) -> Option<&OsStr> {
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next().map(|arg| arg.as_bytes()) {
        if arg == b"--init" {
            return args.next().map(OsString::as_os_str);
        }
        if let Some(value) = arg.strip_prefix(b"--init=") {
            return Some(OsStr::from_bytes(value));
        }
        if arg == b"--" || !arg.starts_with(b"--") {
            return None;
        }
        if !arg.contains(&b'=') && arg != b"--help" && arg != b"--version" {
            args.next();
        }
    }
    None
}

/// Becomes an init where that is wanted: returns in the child, and where none is wanted. Signals
/// are blocked by the caller and unblocked here.
///
/// # Errors
/// The system's, where there can be no other process.
pub fn start(args: &[OsString], mask: &sys::Mask) -> nix::Result<()> {
    let mode = Mode::from_settings(args, std::env::var_os(env::INIT.name));
    let is_pid_1 = getpid().as_raw() == 1;
    let is_init = mode == Mode::Always || (mode == Mode::Auto && is_pid_1);
    let result = if is_init {
        if !is_pid_1 {
            sys::become_subreaper();
        }
        fork()
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
fn fork() -> nix::Result<()> {
    let terminal = sys::foreground_terminal();
    match sys::fork()? {
        ForkResult::Child => {
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0)); // a new process's own business
            if let Some(terminal) = terminal {
                sys::take_foreground(terminal);
            }
            Ok(())
        }
        ForkResult::Parent { child } => {
            let code = supervise(child);
            // Where this is not PID 1, somebody goes on at the terminal.
            if let Some(terminal) = terminal {
                sys::take_foreground(terminal);
            }
            sys::exit_now(code)
        }
    }
}

/// The init: returns the status of the child once it has ended and no orphan is left to be reaped.
/// It never ends the child by itself; that is for those who send signals.
fn supervise(child: Pid) -> i32 {
    sys::give_back_code();
    loop {
        let received = Received::next();
        if !received.is_about_children() {
            received.pass_on(child);
        }
        // One word may be about many children, and the kernel's may have been merged into
        // somebody's SIGCHLD; so it is looked every time. Those that were stopped have not ended.
        let mut status = None;
        while let Some((pid, code)) = sys::reap() {
            if pid == child {
                status = Some(code);
            }
        }
        if let Some(status) = status {
            return status;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{ArgAction, CommandFactory as _, Parser as _};

    #[test]
    fn the_early_look_at_the_flag_sees_what_the_command_line_says() {
        for line in [
            &[][..],
            &["--init", "never"],
            &["--init=always"],
            &["--timeout", "3", "--init", "never"],
            &[
                "--timeout=3",
                "--for",
                "a:1",
                "--init=never",
                "node",
                "--init=always",
            ],
            &["node", "--init", "never"],
            &["--", "--init", "never"],
            &["--timeout", "--init", "never"],
        ] {
            let args: Vec<OsString> = [&["wait"], line].concat().iter().map(Into::into).collect();
            let Ok(cli) = Cli::try_parse_from(&args) else {
                continue; // nothing will be started
            };
            let seen = flag(&args).and_then(OsStr::to_str);
            assert_eq!(seen, cli.init.as_deref(), "{line:?}");
        }
    }

    #[test]
    fn every_flag_has_a_value() {
        // Or else the early look would take what follows for one.
        for arg in Cli::command()
            .get_arguments()
            .filter(|arg| !arg.is_positional())
        {
            let has_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
            assert!(has_value, "{arg}");
        }
    }

    #[test]
    fn a_flag_beats_the_variable_and_nonsense_is_the_default() {
        let mode = |flag: &str, variable: &str| {
            let args = ["wait".into(), format!("--init={flag}").into()];
            let args = if flag.is_empty() { &args[..1] } else { &args };
            Mode::from_settings(args, Some(variable.into()))
        };
        assert_eq!(mode("never", "always"), Mode::Never);
        assert_eq!(mode("", "always"), Mode::Always);
        assert_eq!(mode("", ""), Mode::Auto);
        assert_eq!(mode("sometimes", "always"), Mode::Auto);
    }
}
