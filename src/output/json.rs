//! An event as one JSON object, which is one line.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format.
pub(super) struct Object;

impl<S, N> FormatEvent<S, N> for Object
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
        let level = *event.metadata().level();
        // As the consoles of clouds read it.
        let severity = match level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields(String::new());
        fields.add("timestamp", &timestamp);
        fields.add("level", level.as_str());
        fields.add("severity", severity);
        event.record(&mut fields);
        writeln!(writer, "{{{}}}", fields.0)
    }
}

/// The members of an object.
struct Fields(String);

impl Fields {
    fn name(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        write_string(&mut self.0, name);
        self.0.push(':');
    }

    fn add(&mut self, name: &str, value: &str) {
        self.name(name);
        write_string(&mut self.0, value);
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field.name());
        let _ = write!(self.0, "{value}"); // a String takes everything
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}

/// Writes a JSON string. Whatever could confuse a reader of the raw line is escaped, beyond what JSON
/// demands.
fn write_string(into: &mut String, text: &str) {
    into.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => into.extend(['\\', c]),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            c if c.is_control() || super::log::is_mark(c) => {
                let _ = write!(into, "\\u{:04x}", u32::from(c)); // all of these have four digits
            }
            c => into.push(c),
        }
    }
    into.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_as_they_were_written() {
        let text = "plain \"quoted\" \\ \n\r\t\0\x1b\x7f\u{85}\u{202e}\u{2028} naïve 🦀";
        let mut json = String::new();
        write_string(&mut json, text);
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
        let is_plain = |c: char| !c.is_control() && !"\u{202e}\u{2028}".contains(c);
        assert!(json.chars().all(is_plain), "{json}");
    }
}
