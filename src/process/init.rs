//! PID 1: a small init that stays while its child waits and then becomes the command.
//!
//! [`start`] comes before everything else. As PID 1 it forks there, and the parent never returns:
//! it passes signals on, reaps orphans and ends with its child. The child goes on as if nothing
//! had happened, so that nothing else in the program knows of any of this.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use nix::libc::{self, c_int};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, getpid, setpgid};

use super::exit::Exit;
use super::inits;
use super::sys::{self, Change, Disposition, OneThread, Signals};
use crate::output::report;
use crate::settings::cli::Early;
use crate::settings::environment::{self, Variable};
use crate::settings::{self, Notice};
use crate::targets::{Expected, one_of};

/// Whether to be an init.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As PID 1, unless the command is an init itself.
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
}

/// The receivers of the signals that are sent to an init.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receivers {
    /// The command.
    #[default]
    Child,
    /// The command's process group.
    Group,
}

impl Receivers {
    /// All of them, with their names.
    pub const NAMES: [(&str, Self); 2] = [("child", Self::Child), ("group", Self::Group)];
}

/// Exit statuses of the command that an init makes 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successes([bool; 256]);

impl Default for Successes {
    fn default() -> Self {
        Self([false; 256])
    }
}

impl Successes {
    /// From a list.
    ///
    /// # Errors
    /// An item that is no exit status.
    pub fn parse(list: &str) -> Result<Self, Expected> {
        let mut successes = Self::default();
        for item in settings::split_list(list.as_ref()) {
            match item.to_str().map(str::parse::<u8>) {
                Some(Ok(status)) => successes.0[usize::from(status)] = true,
                _ => return Err(Expected::new("expected exit statuses, such as 143,130")),
            }
        }
        Ok(successes)
    }

    fn are_some(&self) -> bool {
        self.0.contains(&true)
    }

    fn contain(&self, status: i32) -> bool {
        usize::try_from(status).is_ok_and(|status| self.0.get(status) == Some(&true))
    }
}

/// What an init has to know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    mode: Mode,
    receivers: Receivers,
    successes: Successes,
}

impl Options {
    /// By a first look at the settings: a fork after they are read would copy all the memory of that. A
    /// value that cannot be used is the default here, and an error when they are read.
    fn look(early: &Early<'_>, variable: impl Fn(&Variable) -> Option<String>) -> Self {
        let given = |flag: Option<&OsStr>, name| match flag {
            Some(flag) => flag.to_str().map(str::to_owned),
            None => variable(name),
        };
        let (mode, receivers, successes) = (
            given(early.init, &environment::INIT).unwrap_or_default(),
            given(early.init_signals, &environment::INIT_SIGNALS).unwrap_or_default(),
            given(early.init_ok, &environment::INIT_OK).unwrap_or_default(),
        );
        Self {
            mode: one_of("", mode.trim(), &Mode::NAMES).unwrap_or_default(),
            receivers: one_of("", receivers.trim(), &Receivers::NAMES).unwrap_or_default(),
            successes: Successes::parse(&successes).unwrap_or_default(),
        }
    }
}

/// Whether the command is an init itself.
fn is_for_an_init(early: &Early<'_>, variable: impl Fn(&Variable) -> Option<String>) -> bool {
    if !early.command.is_empty() {
        return inits::is_init(early.command.iter().map(|word| word.as_bytes()));
    }
    let words = variable(&environment::COMMAND).and_then(|line| shell_words::split(&line).ok());
    inits::is_init(words.iter().flatten().map(String::as_bytes))
}

/// Becomes an init if the mode asks for it: returns in the child, and where there is no init, with
/// warnings. Signals are blocked by the caller and unblocked here. `log` starts the log of the init, if
/// it has something to say.
///
/// # Errors
/// The system's, where there can be no other process.
pub fn start(
    early: &Early<'_>,
    mask: &sys::Mask,
    thread: &OneThread,
    log: &dyn Fn(),
) -> nix::Result<Vec<Notice>> {
    let options = Options::look(early, settings::early);
    let is_pid_1 = getpid().as_raw() == 1;
    // A check becomes no command and is over soon.
    let is_init = !early.is_check
        && match options.mode {
            Mode::Auto => is_pid_1 && !is_for_an_init(early, settings::early),
            Mode::Always => true,
            Mode::Never => false,
        };
    let mut warnings = Vec::new();
    if let Some(errno) = mask.refused().filter(|_| is_init || is_pid_1) {
        warnings.push(format!("cannot hold back the first signals: {errno}"));
    }
    let mut result = Ok(());
    if is_init {
        if !is_pid_1 && let Err(errno) = sys::become_subreaper() {
            warnings.push(format!("cannot become the parent of orphans: {errno}"));
        }
        result = fork(is_pid_1, &options, mask, thread, log, &mut warnings);
    } else if !early.is_check {
        let has_no_effect = [
            (
                options.receivers != Receivers::default(),
                early.init_signals.map(|_| "--init-signals"),
                environment::INIT_SIGNALS,
            ),
            (
                options.successes.are_some(),
                early.init_ok.map(|_| "--init-ok"),
                environment::INIT_OK,
            ),
        ];
        let reason = match options.mode {
            Mode::Auto if is_pid_1 => "the command is an init itself (see --init)",
            _ => "wait is not the init here",
        };
        for (_, flag, variable) in has_no_effect.iter().filter(|(is_set, ..)| *is_set) {
            let name = flag.unwrap_or(variable.name);
            warnings.push(format!("{name} has no effect: {reason}"));
        }
    }
    sys::end_on_signals(is_pid_1 && !is_init);
    sys::restore(mask);
    result.map(|()| warnings.into_iter().map(Notice).collect())
}

/// Forks; returns in the child, which has a process group of its own, in the foreground of the
/// terminal if there is one.
fn fork(
    is_pid_1: bool,
    options: &Options,
    mask: &sys::Mask,
    thread: &OneThread,
    log: &dyn Fn(),
    warnings: &mut Vec<String>,
) -> nix::Result<()> {
    let terminal = sys::terminal_of(sys::own_group());
    // Where SIGCHLD is ignored, as it may be inherited, the kernel reaps children by itself and
    // sends no signal.
    let ignored = Disposition::default(Signal::SIGCHLD);
    match sys::fork(thread)? {
        ForkResult::Child => {
            ignored.give_back();
            if let Err(errno) = setpgid(Pid::from_raw(0), Pid::from_raw(0)) {
                warnings.push(format!("cannot have a process group: {errno}"));
            }
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
            sys::occupy_closed_standard_streams();
            let code = supervise(child, is_pid_1, options, mask, log).unwrap_or_else(|error| {
                log();
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
fn supervise(
    child: Pid,
    is_pid_1: bool,
    options: &Options,
    mask: &sys::Mask,
    log: &dyn Fn(),
) -> io::Result<i32> {
    sys::give_back_code();
    let mut signals = Signals::new(mask)?;
    loop {
        // One signal may stand for many children, and the kernel's may have been merged into
        // another process's SIGCHLD; so the children are looked at every time. The first time is for
        // one that has ended before its signal was waited for.
        let mut status = None;
        while let Some(pid) = sys::changed_child()? {
            // How the wait itself has ended is no status of the command's.
            let is_command = pid == child && sys::has_executed(child);
            match sys::take_change(pid)? {
                Some(Change::Ended(code)) if pid == child => {
                    let is_success = is_command && options.successes.contain(code);
                    status = Some(if is_success { 0 } else { code });
                }
                Some(Change::Stopped(signal)) if pid == child => match is_pid_1 {
                    true => continue_without_shell(child, signal),
                    false => stop_with(child, signal),
                },
                _ => {}
            }
        }
        if let Some(status) = status {
            return Ok(status);
        }
        let received = signals.receive()?;
        // A terminal's new size means nothing to a wait, which takes what its init passes on for a stop.
        let is_for_the_command = !received.is_resize() || sys::has_executed(child);
        if received.is_about_children() || received.is_from_itself() || !is_for_the_command {
            continue;
        }
        let passed_on = match options.receivers {
            Receivers::Child => received.pass_on(child),
            Receivers::Group => received.pass_on_to_group(child),
        };
        if let Err(errno) = passed_on {
            log();
            let name = received.name();
            report::notice(&Notice(format!(
                "cannot pass {name} on as it came: {errno}"
            )));
        }
    }
}

/// Stops with a child that its terminal has stopped, so that the shell whose job this is sees it, and
/// continues with it. Whichever process stops the child by another signal may continue the child alone.
fn stop_with(child: Pid, signal: c_int) {
    let is_by_terminal = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal);
    if !is_by_terminal || !sys::has_terminal() {
        return;
    }
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

/// Continues a child that Ctrl-Z has stopped: as PID 1 there is no shell that could do so, and a wait
/// that is stopped would outlast its deadline.
fn continue_without_shell(child: Pid, signal: c_int) {
    if signal == libc::SIGTSTP && sys::has_terminal() {
        sys::continue_group(child);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn options(flags: [&str; 3], variables: [&str; 3]) -> Options {
        let flags = ["--init", "--init-signals", "--init-ok"]
            .into_iter()
            .zip(flags)
            .filter(|(_, value)| !value.is_empty())
            .map(|(flag, value)| format!("{flag}={value}").into());
        let args: Vec<OsString> = std::iter::once("wait".into()).chain(flags).collect();
        let names = [
            environment::INIT,
            environment::INIT_SIGNALS,
            environment::INIT_OK,
        ];
        Options::look(&Early::look(&args), |variable| {
            let index = names.iter().position(|name| name == variable)?;
            Some(variables[index].to_owned())
        })
    }

    #[test]
    fn a_flag_beats_the_variable_and_nonsense_is_the_default() {
        let mode = |flag, variable| options([flag, "", ""], [variable, "", ""]).mode;
        assert_eq!(mode("never", "always"), Mode::Never);
        assert_eq!(mode("", "always"), Mode::Always);
        assert_eq!(mode("", ""), Mode::Auto);
        assert_eq!(mode("sometimes", "always"), Mode::Auto);
        let receivers = |flag, variable| options(["", flag, ""], ["", variable, ""]).receivers;
        assert_eq!(receivers("child", "group"), Receivers::Child);
        assert_eq!(receivers("", " Group "), Receivers::Group);
        assert_eq!(receivers("all", "group"), Receivers::Child);
        let is_ok = |flag, variable, status| {
            let options = options(["", "", flag], ["", "", variable]);
            options.successes.contain(status)
        };
        assert!(is_ok("", "143, 130", 130));
        assert!(is_ok("7", "143", 7) && !is_ok("7", "143", 143));
        assert!(!is_ok("7,x", "143", 7) && !is_ok("", "", 0) && !is_ok("", "", -1));
    }

    #[test]
    fn the_command_that_counts_is_the_one_that_will_start() {
        let is_for_an_init = |words: &[&str], variable: &str| {
            let args: Vec<OsString> = [&["wait"], words].concat().iter().map(Into::into).collect();
            super::is_for_an_init(&Early::look(&args), |_| Some(variable.to_owned()))
        };
        assert!(is_for_an_init(&["/init"], "node app.js"));
        assert!(is_for_an_init(&["--timeout", "3", "--", "/init"], ""));
        assert!(!is_for_an_init(&["node", "app.js"], "/init"));
        assert!(is_for_an_init(
            &[],
            "'/usr/bin/env' tini -- \"node\" app.js"
        ));
        assert!(!is_for_an_init(&[], "node '/init"));
        assert!(!is_for_an_init(&[], ""));
    }
}
