//! Every line of the log but those of `debug` and `trace`: its words, and its fields for machines.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::config::{Command, Config, ConfigError, Notice};
use crate::live::{Line, Live};
use crate::probe::{Answer, NotReady, Reason};
use crate::target::Target;

/// How long a target that is not ready, for the same reason as before, goes without a line.
const SILENCE: Duration = Duration::from_secs(10);

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
    debug!(event = "notice", "{:?}", config.timing);
    let targets: Vec<_> = config.targets.iter().map(Target::to_string).collect();
    if targets.is_empty() {
        info!(event = "waiting", "nothing to wait for");
        return;
    }
    let limit = match config.timing.timeout {
        Some(Duration::ZERO) => ", one attempt each".to_owned(),
        Some(timeout) => format!(", up to {}", humantime::format_duration(timeout)),
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
    let duration = humantime::format_duration(duration);
    info!(event = "notice", "pausing for {duration} {when}");
}

/// The command starts. Its arguments are not told: they may hold secrets.
pub fn starting(command: &Command) {
    info!(event = "starting", "starting {}", command.name());
}

/// A target that was checked is not ready.
pub fn unwell(target: &Target, why: &NotReady, elapsed: Duration) {
    // Docker keeps 4096 bytes of what a health check says.
    let target: String = target.to_string().chars().take(500).collect();
    error!(
        event = "not_ready",
        target,
        elapsed_ms = milliseconds(elapsed),
        attempts = 1,
        reason = why.reason.name(),
        detail = why.detail,
        hint = why.hint,
        "{target} is not ready: {why}; {}",
        why.hint
    );
}

/// Something of the system's that `wait` cannot do without failed.
pub fn failed(what: &dyn fmt::Display) {
    error!(event = "notice", "{what}");
}

/// Something panicked, and most likely will at every attempt: it is told once. The payload is not
/// told: it may hold what a server or the user said.
pub fn panicked(panic: &PanicHookInfo<'_>) {
    static TOLD: Once = Once::new();
    if let Some(place) = panic.location() {
        TOLD.call_once(|| warn!(event = "notice", "a bug in wait, please report it: {place}"));
    }
}

/// What is told of one target.
#[derive(Debug)]
pub struct Reporter {
    target: Arc<Target>,
    start: Instant,
    attempts: u64,
    last: Option<NotReady>,
    told: Option<Instant>,
    /// Reasons that have been told as errors.
    alarmed: Vec<Reason>,
    warned: bool,
    line: Line,
}

impl Reporter {
    /// For a target that has been waited for since `start`.
    pub fn new(target: Arc<Target>, start: Instant, live: &Live) -> Self {
        Self {
            line: live.line(&target),
            target,
            start,
            attempts: 0,
            last: None,
            told: None,
            alarmed: Vec::new(),
            warned: false,
        }
    }

    /// Something the user should know, once per target.
    pub fn warn(&mut self, warning: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            warn!(event = "notice", "{}: {warning}", self.target);
        }
    }

    /// What the server has said to the last attempt.
    pub fn answer(&self) -> Answer {
        let last = self.last.as_ref();
        last.map_or(Answer::Nothing, |why| why.reason.answer())
    }

    /// An attempt that the deadline cut short too early to say anything, unless nothing has been
    /// said before.
    pub fn unfinished(&mut self, why: NotReady) {
        match self.last {
            Some(_) => self.attempts += 1,
            None => self.not_ready(why),
        }
    }

    /// An attempt has failed: a line if the reason is a new one, or has been the same for a while. The
    /// first time that waiting will hardly help, it is an error: the wait goes on all the same,
    /// since users and schemas are often made late.
    pub fn not_ready(&mut self, why: NotReady) {
        self.attempts += 1;
        self.state(why);
    }

    /// An attempt that is not over is stuck.
    pub fn pending(&mut self, why: NotReady) {
        self.state(why);
    }

    fn state(&mut self, why: NotReady) {
        let is_new = self.last.as_ref().map(|last| last.reason) != Some(why.reason);
        let is_long_ago = self.told.is_some_and(|told| told.elapsed() >= SILENCE);
        let (target, elapsed) = (&self.target, self.start.elapsed());
        let is_shown = self.line.tell(&why);
        // The level of an event is fixed where it stands, hence the macro.
        macro_rules! not_ready {
            ($level:ident, $hint:expr) => {
                $level!(
                    event = "not_ready",
                    target = %target,
                    elapsed_ms = milliseconds(elapsed),
                    attempts = self.attempts,
                    reason = why.reason.name(),
                    detail = why.detail,
                    "{target} is not ready after {}: {why}{}",
                    seconds(elapsed),
                    $hint,
                )
            };
        }
        if why.reason.is_rarely_healed() && !self.alarmed.contains(&why.reason) {
            self.told = Some(Instant::now());
            self.alarmed.push(why.reason);
            not_ready!(error, format_args!("; {}", why.hint));
        } else if !is_shown && (is_new || is_long_ago) {
            self.told = Some(Instant::now());
            not_ready!(info, "");
        } else {
            not_ready!(debug, "");
        }
        self.last = Some(why);
    }

    /// The target is ready.
    pub fn ready(&mut self) {
        self.line.end();
        self.attempts += 1;
        let (target, elapsed) = (&self.target, self.start.elapsed());
        info!(
            event = "ready",
            target = %target,
            elapsed_ms = milliseconds(elapsed),
            attempts = self.attempts,
            "{target} is ready after {}, {}",
            seconds(elapsed),
            attempts(self.attempts),
        );
    }

    /// The time is up, and the target is not ready.
    pub fn timed_out(&self) {
        self.line.end();
        let Some(why) = &self.last else { return };
        let (target, elapsed, hint) = (&self.target, self.start.elapsed(), why.hint);
        error!(
            event = "timed_out",
            target = %target,
            elapsed_ms = milliseconds(elapsed),
            attempts = self.attempts,
            reason = why.reason.name(),
            detail = why.detail,
            hint,
            "{target} is not ready after {} and {}: {why}; {hint}",
            seconds(elapsed),
            attempts(self.attempts),
        );
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A duration for people, no more exact than they care.
pub(crate) fn seconds(duration: Duration) -> String {
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
    use std::io::{self, Write};
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn lines(&self) -> usize {
            let log = self.0.lock().expect("not poisoned");
            log.iter().filter(|byte| **byte == b'\n').count()
        }
    }

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_that_stays_is_told_every_ten_seconds() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let target = Arc::new("db:1".parse().expect("a target"));
        let mut reporter = Reporter::new(target, Instant::now(), &Live::default());
        let mut lines_after = async |reason, ms| {
            tokio::time::advance(Duration::from_millis(ms)).await;
            reporter.not_ready(NotReady::new(reason, "as it is"));
            log.lines()
        };
        assert_eq!(lines_after(Reason::Refused, 0).await, 1);
        assert_eq!(lines_after(Reason::Refused, 9_999).await, 1);
        assert_eq!(lines_after(Reason::Refused, 1).await, 2);
        assert_eq!(lines_after(Reason::Refused, 9_999).await, 2);
        assert_eq!(lines_after(Reason::Closed, 0).await, 3);
        assert_eq!(lines_after(Reason::Closed, 9_999).await, 3);
        assert_eq!(lines_after(Reason::Refused, 0).await, 4);
    }
}
