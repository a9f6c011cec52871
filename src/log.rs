//! The log: `tracing` to standard error, as text for people or JSON for machines.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::live::Live;

/// What is printed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The least important events that are printed.
    pub level: LevelFilter,
    /// How an event looks.
    pub format: Format,
    /// Whether lines that change in place tell what is not ready yet.
    pub is_live: bool,
}

/// How an event looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    Text,
    /// One object per line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: LevelFilter::INFO,
            format: Format::Text,
            is_live: false,
        }
    }
}

/// Starts logging to standard error, for the whole process. A second call changes nothing. Returns
/// the lines that it writes around.
pub fn init(settings: Settings) -> Live {
    let live = Live::new(settings.is_live);
    // Our own events alone: those of the libraries have neither our form nor our promise that no
    // password is in them.
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), settings.level);
    let lines = live.clone();
    let layer = tracing_subscriber::fmt::layer().with_writer(move || Around(lines.clone()));
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        Format::Text => layer.event_format(Line).boxed(),
        Format::Json => layer
            .json()
            .flatten_event(true)
            .with_target(false) // the module's name, in the place of our own `target`
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    // It fails only when there is a log already.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(ours))
        .try_init();
    live
}

/// Standard error, above the lines that change in place.
struct Around(Live);

impl io::Write for Around {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.step_aside(|| StandardError.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long standard error may take to be written to, in milliseconds, before a line is dropped.
const PATIENCE: u8 = 100;

/// What a pipe takes at once when it says that it takes anything, in bytes.
const AT_ONCE: usize = 4096;

/// Standard error, where nothing that goes wrong stops the wait: a full disk loses lines, and so
/// does a pipe that nobody reads or a terminal that stands still (Ctrl-S), which would hold up its
/// writer for ever.
pub(crate) struct StandardError;

/// The terminal that standard error is, opened once more. Unlike a pipe, a terminal that says that
/// it takes something may still let the writer wait; this one never does, and the original, which
/// others have too, stays as it is.
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

/// An event as `wait: [level: ]message`; the other fields are for machines.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        let mut message = Message(String::new());
        event.record(&mut message);
        write!(writer, "wait: {level}")?;
        write_line(&mut writer, &message.0)?;
        writeln!(writer)
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = fmt::Write::write_fmt(&mut self.0, format_args!("{value:?}")); // it takes all
        }
    }
}

/// Writes a text that may hold what a server said: a control character in it must neither end the
/// line nor reach a terminal.
pub(crate) fn write_line(writer: &mut impl fmt::Write, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| match c.is_control() {
        true => write!(writer, "{}", c.escape_default()),
        false => writer.write_char(c),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_break_a_line() {
        let mut line = String::new();
        write_line(&mut line, "naïve\nwait: \x1b[31mready").expect("a String takes everything");
        assert_eq!(line, "naïve\\nwait: \\u{1b}[31mready");
    }
}
