//! The lines of the log: their words, and their fields for machines.

use std::fmt;
use std::io::{self, Write as _};
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::time::Duration;

use humantime::format_duration;
use tokio::time::Instant;
use tracing::{Level, debug, error, info, warn};

use super::live::{Line, Live};
use crate::probe::{NotReady, Retry};
use crate::process::exec::Command;
use crate::settings::{Config, ConfigError, Notice, Timing};
use crate::targets::Target;

/// How long a target that is not ready, for the same reason as before, goes without a line.
const SILENCE: Duration = Duration::from_secs(10);

/// A signal ends the wait.
pub fn ended_by(signal: &str) {
    warn!(event = "notice", "ended by {signal} while waiting");
}

/// Something that the user should know.
pub fn notice(Notice(text): &Notice) {
    warn!(event = "notice", "{text}");
}

/// The settings cannot be used.
pub fn unusable(error: &ConfigError) {
    error!(event = "notice", "{error}");
}

/// The waiting starts.
pub fn waiting(config: &Config) {
    let Timing {
        connect_timeout,
        interval,
        ..
    } = config.timing;
    let interval = interval.map_or("adaptive".to_owned(), |pause| {
        format_duration(pause).to_string()
    });
    debug!(
        event = "notice",
        "pause between attempts: {interval}; connect timeout: {}",
        format_duration(connect_timeout)
    );
    let targets = config.targets.iter().map(Target::to_string);
    let targets: Vec<_> = targets.map(|target| cut(&target)).collect();
    if targets.is_empty() {
        info!(event = "waiting", "nothing to wait for");
        return;
    }
    let limit = match config.timing.timeout {
        Some(Duration::ZERO) => ", one attempt each".to_owned(),
        Some(timeout) => format!(", up to {}", format_duration(timeout)),
        None => ", for as long as it takes".to_owned(),
    };
    info!(
        event = "waiting",
        "waiting for {}{limit}",
        targets.join(", ")
    );
}

/// A pause that the user asked for.
pub fn pausing(duration: Duration, when: &str) {
    let duration = format_duration(duration);
    info!(event = "notice", "pausing for {duration} {when}");
}

/// The command starts although not everything is ready.
pub fn starting_anyway() {
    warn!(
        event = "notice",
        "not everything is ready in time; the command starts all the same"
    );
}

/// The targets as they were understood, on standard output; no secret is printed.
///
/// # Errors
/// The system's, where nothing can be written.
pub fn dry_run(config: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for target in &config.targets {
        writeln!(out, "{target}")?;
        for (name, value) in target.description() {
            writeln!(out, "  {name}: {value}")?;
        }
    }
    match &config.command {
        Some(command) => writeln!(out, "command: {}", command.name()),
        None => writeln!(out, "command: none"),
    }
}

/// The command starts. Its arguments are not printed: they may hold secrets.
pub fn starting(command: &Command) {
    info!(event = "starting", "starting {}", cut(&command.name()));
}

/// Something of the system's that `wait` cannot do without failed.
pub fn failed(what: &dyn fmt::Display) {
    error!(event = "notice", "{}", cut(&what.to_string()));
}

/// Something panicked, and most likely will at every attempt: it is logged once. The payload is not
/// logged: it may hold words of a server or the user.
pub fn panicked(panic: &PanicHookInfo<'_>) {
    static LOGGED: Once = Once::new();
    if let Some(place) = panic.location() {
        LOGGED.call_once(|| warn!(event = "notice", "a bug in wait, please report it: {place}"));
    }
}

/// The report on one target.
#[derive(Debug)]
pub struct Reporter {
    target: String,
    kind: &'static str,
    start: Instant,
    attempts: u64,
    last: Option<NotReady>,
    /// The reason of the last line, and when it was logged.
    logged: Option<(&'static str, Instant)>,
    /// The names of reasons that have been logged as errors.
    alarmed: Vec<&'static str>,
    warned: bool,
    is_optional: bool,
    line: Line,
}

impl Reporter {
    /// For a target that has been waited for since `start`.
    pub fn new(target: &Target, start: Instant, live: &Live) -> Self {
        Self {
            line: live.line(target),
            target: cut(&target.to_string()),
            kind: target.kind.name,
            start,
            attempts: 0,
            last: None,
            logged: None,
            alarmed: Vec::new(),
            warned: false,
            is_optional: target.common.is_optional,
        }
    }

    /// Something the user should know, once per target.
    pub fn warn(&mut self, warning: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            warn!(event = "notice", "{}: {}", self.target, cut(warning));
        }
    }

    /// An attempt begins.
    pub fn begin(&mut self) {
        self.attempts += 1;
    }

    /// An attempt has failed: a line if the reason is a new one, or has been the same for a while. The
    /// first time that waiting will hardly help, it is an error: the wait goes on all the same,
    /// since users and schemas are often made late.
    pub fn not_ready(&mut self, why: NotReady, is_logged: bool) {
        if is_logged {
            self.log_change(&why);
        }
        self.last = Some(why);
    }

    /// An attempt has not ended yet, and will fail if it goes on like this.
    pub fn pending(&mut self, why: &NotReady) {
        self.log_change(why);
    }

    /// The wait ends, and there is no answer to the last attempt. It is the reason unless the server
    /// has decided before, or the attempt had little time.
    pub fn unanswered(&mut self, why: NotReady, is_telling: bool) {
        let has_decided = |last: &NotReady| last.reason.retry != Retry::Soon;
        if self
            .last
            .as_ref()
            .is_none_or(|last| is_telling && !has_decided(last))
        {
            self.last = Some(why);
        }
    }

    fn log_change(&mut self, why: &NotReady) {
        let is_new = self.logged.is_none_or(|(name, _)| name != why.reason.name);
        let is_long_ago = self.logged.is_some_and(|(_, at)| at.elapsed() >= SILENCE);
        let is_shown = self.line.show(why);
        let is_alarm = why.reason.permanent && !self.alarmed.contains(&why.reason.name);
        let level = match (is_alarm, is_shown) {
            (true, _) => Level::ERROR,
            (false, false) if is_new || is_long_ago => Level::INFO,
            (false, _) => Level::DEBUG,
        };
        if level != Level::DEBUG || is_new {
            self.logged = Some((why.reason.name, Instant::now()));
        }
        if is_alarm {
            self.alarmed.push(why.reason.name);
        }
        let after = duration(self.start.elapsed());
        let message = format!("{} is not ready after {after}", self.target);
        self.log(why, level, "not_ready", &message);
    }

    /// The target is ready.
    pub fn ready(&mut self) {
        self.line.end();
        let (target, elapsed) = (&self.target, self.start.elapsed());
        info!(
            event = "ready",
            target,
            kind = self.kind,
            elapsed_ms = milliseconds(elapsed),
            attempts = self.attempts,
            "{target} is ready after {}, {}",
            duration(elapsed),
            attempts(self.attempts),
        );
    }

    /// Whether the wait does not fail without this target.
    pub fn is_optional(&self) -> bool {
        self.is_optional
    }

    /// The time is up, and the target is not ready.
    pub fn timed_out(&mut self) {
        self.line.end();
        let level = match self.is_optional {
            true => Level::WARN,
            false => Level::ERROR,
        };
        let (after, attempts) = (duration(self.start.elapsed()), attempts(self.attempts));
        let message = format!("{} is not ready after {after} and {attempts}", self.target);
        if let Some(why) = &self.last {
            self.log(why, level, "timed_out", &message);
        }
    }

    /// A check has failed.
    pub fn failed_check(&mut self) {
        let message = format!("{} is not ready", self.target);
        if let Some(why) = &self.last {
            self.log(why, Level::ERROR, "not_ready", &message);
        }
    }

    /// Logs a reason; an error has the hint too.
    fn log(&self, why: &NotReady, level: Level, event: &str, message: &str) {
        let (elapsed_ms, reason) = (milliseconds(self.start.elapsed()), why.reason.name);
        let (detail, hint) = (cut(&why.detail), why.hint());
        let (target, kind, attempts, code) = (&self.target, self.kind, self.attempts, &why.code);
        let code = code.as_deref();
        // The level of an event is fixed where it stands, hence the macro.
        macro_rules! event {
            ($level:ident, $hint:expr, $($words:tt)*) => {
                $level!(
                    event, target, kind, elapsed_ms, attempts, reason, detail, code, hint = $hint,
                    $($words)*
                )
            };
        }
        match level {
            Level::ERROR => event!(error, Some(hint), "{message}: {reason}: {detail}; {hint}"),
            Level::WARN => event!(warn, Some(hint), "{message}: {reason}: {detail}; {hint}"),
            Level::INFO => event!(info, None::<&str>, "{message}: {reason}: {detail}"),
            _ => event!(debug, None::<&str>, "{message}: {reason}: {detail}"),
        }
    }
}

/// The longest name or observation in a line, in characters. Docker keeps 4096 bytes of the output
/// of a health check.
const LONGEST: usize = 500;

/// Cuts a text that may be a server's to a bounded length.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A duration for people, as exact as they need it.
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ ..950 => format!("{ms} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

fn attempts(number: u64) -> String {
    match number {
        1 => "1 attempt".to_owned(),
        number => format!("{number} attempts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::capture::Capture;
    use crate::probe::reason;

    #[tokio::test(start_paused = true)]
    async fn a_reason_that_stays_is_logged_every_ten_seconds() {
        let capture = Capture::start();
        let target = crate::kinds::path("/a".as_ref());
        let mut reporter = Reporter::new(&target, Instant::now(), &Live::default());
        let mut lines_after = async |reason, ms| {
            tokio::time::advance(Duration::from_millis(ms)).await;
            reporter.not_ready(NotReady::new(reason, "as it is"), true);
            let events = capture.events("not_ready");
            let lines = events.iter().filter(|event| event.level <= Level::INFO);
            lines.count()
        };
        let (refused, closed) = (&reason::REFUSED, &reason::CLOSED);
        assert_eq!(lines_after(refused, 0).await, 1);
        assert_eq!(lines_after(refused, 9_999).await, 1);
        assert_eq!(lines_after(refused, 1).await, 2);
        assert_eq!(lines_after(refused, 9_999).await, 2);
        assert_eq!(lines_after(closed, 0).await, 3);
        assert_eq!(lines_after(closed, 9_999).await, 3);
        assert_eq!(lines_after(refused, 0).await, 4);
    }

    #[tokio::test]
    async fn long_names_and_observations_are_cut_short() {
        let capture = Capture::start();
        let long = "x".repeat(10_000);
        let target = crate::kinds::path(format!("/{long}").as_ref());
        let mut reporter = Reporter::new(&target, Instant::now(), &Live::default());
        reporter.not_ready(NotReady::new(&reason::CLOSED, &*long), true);
        reporter.ready();
        reporter.timed_out();
        failed(&long);
        starting(&Command {
            program: format!("/{long}").into(),
            args: Vec::new(),
        });
        for event in ["not_ready", "ready", "timed_out", "notice", "starting"] {
            let event = &capture.events(event)[0];
            for field in ["message", "target", "detail"] {
                assert!(event.field(field).len() < 1_300, "{field} of {event:?}");
            }
        }
        let timed_out = &capture.events("timed_out")[0];
        assert!(
            timed_out.field("detail").ends_with("x\u{2026}"),
            "{timed_out:?}"
        );
    }
}
