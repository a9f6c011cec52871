//! Commands that have to succeed.

use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use nix::errno::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{sleep, timeout};

use crate::probe::{Attempt, NotReady, Probe, Reason, Retry, reason};
use crate::process::exec::{Command, files};
use crate::process::group::Group;
use crate::process::sys::signal_name;
use crate::targets::{Kind, Parameters, Target};

pub(super) static KIND: Kind = Kind {
    name: "exec",
    title: "Commands",
    schemes: &[],
    settings: &[],
    several_hosts: false,
    parameters: Parameters::Known {
        shown: &[],
        others: &[],
    },
    dialects: &[],
    options: &[],
    reasons: &[&EXEC_FAILED, &TIMED_OUT],
    codes: &[],
    ready_when: "the command exits with 0",
    examples: &[],
    parse: None, // a command line is no URL
};

const EXEC_FAILED: Reason = Reason {
    name: "exec_failed",
    seen: "the command exits with another status than 0, a signal ends it, or it cannot be started",
    hint: "does the same command succeed by hand, in this container and as this user?",
    retry: Retry::Politely,
    permanent: false,
};
const TIMED_OUT: Reason = reason::TIMED_OUT
    .with_seen("the command has not ended")
    .with_hint("does the command wait for something by itself? A limit of its own shows more");

/// How long the command has after SIGTERM, when the wait ends.
const GRACE: Duration = Duration::from_millis(300);

/// How long the end of what was killed is waited for.
const KILLED: Duration = Duration::from_millis(100);

/// The target that is a command.
pub(super) fn target(command: Command) -> Target {
    let more = if command.args.is_empty() { "" } else { " …" };
    let name = format!("exec {}{more}", command.name());
    let words = [&command.program].into_iter().chain(&command.args);
    let words = words.map(|word| word.as_encoded_bytes().escape_ascii().to_string());
    let identity = words.collect::<Vec<_>>().join("\n");
    Target::named(&KIND, name, Box::new(Exec(command))).known_as(identity)
}

#[derive(Debug)]
struct Exec(Command);

impl Probe for Exec {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        self.run(cx).boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let arguments = match self.0.args.len() {
            0 => "none".to_owned(),
            number => format!("{number}, not printed"),
        };
        vec![("program", self.0.name()), ("arguments", arguments)]
    }
}

/// Ends a process group when an attempt is over, however that ends.
struct Ended(Arc<Group>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Exec {
    async fn run(&self, cx: &Attempt) -> Result<(), NotReady> {
        cx.working("running the command").await;
        let cannot_start = |error: io::Error| self.cannot_start(&error);
        let (reader, writer) = io::pipe().map_err(cannot_start)?;
        let reader = Receiver::from_owned_fd(reader.into()).map_err(cannot_start)?;
        let group = Ended(Arc::default());
        let (runner, command) = (Arc::clone(&group.0), self.0.clone());
        let mut running = pin!(
            cx.overlap()
                .aside(move || runner.run(command, writer))
        );
        let mut output = Output::default();
        let ended = {
            let (stopped, reading) = (pin!(cx.stopped()), pin!(output.read(&reader)));
            match select(&mut running, select(stopped, reading)).await {
                Either::Left((status, _)) => Some(status.map_err(cannot_start)?),
                Either::Right(_) => None,
            }
        };
        let Some(status) = ended else {
            group.0.terminate();
            if timeout(GRACE, &mut running).await.is_err() {
                group.0.end();
                let _ = timeout(KILLED, running).await;
            }
            return Err(failed("it had not ended when the wait did"));
        };
        cx.unnoticed();
        if status.success() {
            return Ok(());
        }
        output.take_rest(&reader);
        let (end, code) = match (status.code(), status.signal()) {
            (None, Some(signal)) => (format!("ended by {}", signal_name(signal)), 128 + signal),
            (code, _) => {
                let code = code.unwrap_or_default();
                (format!("exit status {code}"), code)
            }
        };
        let line = output.last_line();
        let separator = if line.is_empty() { "" } else { ": " };
        Err(failed(format!("{end}{separator}{line}")).with_code(code.to_string()))
    }

    fn cannot_start(&self, error: &io::Error) -> NotReady {
        let errno = error.raw_os_error().map(Errno::from_raw);
        failed(match errno {
            Some(Errno::ENOENT | Errno::ENOTDIR) => match files(&self.0.program).iter().find(|file| file.exists()) {
                None => "there is no such program".to_owned(),
                Some(_) => "its interpreter or dynamic loader is not in this image".to_owned(),
            },
            Some(errno) => format!("it cannot be started: {}", errno.desc()),
            None => format!("it cannot be started: {error}"),
        })
    }
}

fn failed(detail: impl Into<String>) -> NotReady {
    NotReady::new(&EXEC_FAILED, detail)
}

/// The last line of a command's output that is not blank.
#[derive(Debug, Default)]
struct Output {
    last: Vec<u8>,
    current: Vec<u8>,
}

impl Output {
    /// The length of a line that is kept, in bytes.
    const LONGEST_LINE: usize = 512;
    /// The length that is read at once, in bytes.
    const AT_ONCE: usize = 16 * 1024;
    /// The most that a pipe may hold when the command has ended, in bytes: other processes may still
    /// write to it.
    const MOST_LEFT: usize = 64 * 1024;
    /// A pause after each part, in which a command that writes without end is held up.
    const PAUSE: Duration = Duration::from_millis(1);

    /// Reads to no end.
    async fn read(&mut self, reader: &Receiver) {
        let mut part = vec![0; Self::AT_ONCE];
        while reader.readable().await.is_ok() {
            match reader.try_read(&mut part) {
                Ok(0) => break,
                Ok(length) => {
                    self.take(&part[..length]);
                    sleep(Self::PAUSE).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        pending::<()>().await;
    }

    /// Reads the rest that is in the pipe, of which the runtime may not know yet.
    fn take_rest(&mut self, reader: &Receiver) {
        let mut part = vec![0; Self::AT_ONCE];
        for _ in 0..Self::MOST_LEFT / Self::AT_ONCE {
            match nix::unistd::read(reader, &mut part) {
                Ok(length @ 1..) => self.take(&part[..length]),
                _ => break,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| b"\r\n".contains(byte)) {
            let room = Self::LONGEST_LINE - self.current.len();
            self.current.extend(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") || part.ends_with(b"\r") {
                if !self.current.trim_ascii().is_empty() {
                    std::mem::swap(&mut self.last, &mut self.current);
                }
                self.current.clear();
            }
        }
    }

    fn last_line(&self) -> String {
        let line = match self.current.trim_ascii() {
            [] => self.last.trim_ascii(),
            line => line,
        };
        String::from_utf8_lossy(line).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_is_not_blank_is_kept_up_to_its_limit() {
        for (parts, expected) in [
            (&[][..], ""),
            (&["\n \r\n"], ""),
            (&["a\nb\n"], "b"),
            (&["a\n", "b"], "b"),
            (&["a\nb", "c"], "bc"),
            (&["a\r\n", "\n"], "a"),
            (&["1 %\r2 %\r"], "2 %"),
            (&["a\n", &"\u{2028}".repeat(1_000)], &"\u{2028}".repeat(170)),
        ] {
            let mut output = Output::default();
            for part in parts {
                output.take(part.as_bytes());
            }
            let line = output.last_line();
            assert_eq!(line.trim_end_matches('\u{fffd}'), expected, "{parts:?}");
        }
        let mut output = Output::default();
        for _ in 0..1_000 {
            output.take(&[b'x'; 1_000]);
        }
        assert_eq!(output.last_line().len(), Output::LONGEST_LINE);
        assert!(output.current.capacity() <= 2 * Output::LONGEST_LINE);
    }
}
