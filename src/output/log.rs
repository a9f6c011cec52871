//! The log: `tracing` to standard error, as text for people or JSON for machines.

use std::fmt;
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use super::json::Object;
use super::live::Live;
use super::stderr::StandardError;

/// The least level and the form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The least important events that are printed.
    pub level: LevelFilter,
    /// How an event looks.
    pub format: Format,
    /// Whether lines that change in place show what is not ready yet.
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
        Format::Json => layer.event_format(Object).boxed(),
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

/// Writes a text that may hold a server's words: a control character in it must neither end the line
/// nor reach a terminal.
pub(super) fn write_line(writer: &mut impl fmt::Write, text: &str) -> fmt::Result {
    text.chars()
        .try_for_each(|c| match c.is_control() || is_mark(c) {
            true => write!(writer, "{}", c.escape_default()),
            false => writer.write_char(c),
        })
}

/// Whether a character changes the line or the direction of what follows without being a control
/// character.
pub(super) fn is_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_break_a_line() {
        let mut line = String::new();
        write_line(&mut line, "naïve\nwait: \x1b[31mready\u{202e}")
            .expect("a String takes everything");
        assert_eq!(line, "naïve\\nwait: \\u{1b}[31mready\\u{202e}");
    }
}
