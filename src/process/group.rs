//! A program beside the wait, in a process group of its own.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::AsRawFd as _;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use super::exec::{Command, c_string};
use super::sys;

/// How long the end of what is left of a process group is waited for.
const LONGEST_END: Duration = Duration::from_millis(100);

/// A program and all that it has started in its process group.
#[derive(Debug, Default)]
pub struct Group(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Starting,
    /// Its leader is not reaped yet, so that the number is no other group's.
    Running(Pid),
    Over,
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a program, with all of its output to a pipe, and waits until it has ended; the rest of
    /// its process group is ended then. This blocks, and so may starting it: it is for a thread of
    /// its own.
    ///
    /// # Errors
    /// The system's, where the program cannot be started.
    pub fn run(&self, command: Command, output: PipeWriter) -> io::Result<ExitStatus> {
        let leader = spawn(command, &output)?;
        drop(output);
        {
            let mut state = self.state();
            match *state {
                State::Over => kill(leader, Signal::SIGKILL),
                _ => *state = State::Running(leader),
            }
        }
        let ended = sys::wait_until_ended(leader);
        let status = {
            let mut state = self.state();
            kill(leader, Signal::SIGKILL);
            *state = State::Over;
            sys::reap(leader)
        };
        // As PID 1, this process has become the parent of the others.
        while sys::reap(Pid::from_raw(-leader.as_raw())).is_ok() {}
        // Elsewhere, the parent of the others may never reap them.
        let start = Instant::now();
        while killpg(leader, None).is_ok() && start.elapsed() < LONGEST_END {
            sleep(Duration::from_millis(1));
        }
        ended?;
        Ok(status?)
    }

    /// Asks all of its processes to end.
    pub fn terminate(&self) {
        if let State::Running(leader) = *self.state() {
            kill(leader, Signal::SIGTERM);
        }
    }

    /// Ends all of its processes, even if the program is only about to start.
    pub fn end(&self) {
        let mut state = self.state();
        match *state {
            State::Starting => *state = State::Over,
            State::Running(leader) => kill(leader, Signal::SIGKILL),
            State::Over => {}
        }
    }
}

fn kill(leader: Pid, signal: Signal) {
    let _ = killpg(leader, signal); // they may have ended
}

/// Starts a program as the leader of a process group, with the environment of this process, nothing
/// to read, and every signal at its default.
fn spawn(command: Command, output: &PipeWriter) -> io::Result<Pid> {
    let words = std::iter::once(command.program).chain(command.args);
    let variables = std::env::vars_os().map(|(mut variable, value)| {
        variable.push("=");
        variable.push(value);
        variable
    });
    let c_strings = |strings: Vec<_>| -> Result<Vec<CString>, _> {
        strings.into_iter().map(c_string).collect()
    };
    let words = c_strings(words.collect()).map_err(|_| Errno::EINVAL)?;
    let variables = c_strings(variables.collect()).map_err(|_| Errno::EINVAL)?;
    let input = File::open("/dev/null");
    let input = input.map_err(|error| io::Error::other(format!("/dev/null: {error}")))?;
    let mut streams = PosixSpawnFileActions::init()?;
    for (from, to) in [
        (input.as_raw_fd(), 0),
        (output.as_raw_fd(), 1),
        (output.as_raw_fd(), 2),
    ] {
        streams.add_dup2(from, to)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let leader = posix_spawnp(&words[0], &streams, &attributes, &words, &variables)?;
    Ok(leader)
}
