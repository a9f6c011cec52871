//! By indicatif, without a thread of its own.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::super::log::write_line;
use super::super::report::cut;
use super::super::stderr::StandardError;
use crate::probe::NotReady;
use crate::targets::Target;

/// How often they are drawn anew. What is ready before the first time is not drawn at all.
const PACE: Duration = Duration::from_millis(200);
const PER_SECOND: u8 = 5;

/// Whether standard error is a terminal that can show them. One of no size, as Compose makes it with
/// `tty: true`, cannot.
pub fn is_possible() -> bool {
    Term::stderr().size_checked().is_some()
}

/// All the lines; none where there is no terminal.
#[derive(Clone, Debug, Default)]
pub struct Live(Option<Arc<Lines>>);

#[derive(Debug)]
struct Lines {
    together: MultiProgress,
    each: Mutex<Vec<ProgressBar>>,
}

impl Live {
    /// Lines, if they are wanted.
    pub fn new(are_wanted: bool) -> Self {
        let lines = || Lines {
            together: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            each: Mutex::default(),
        };
        Self(are_wanted.then(|| Arc::new(lines())))
    }

    /// A line for a target that is waited for from now on.
    pub fn line(&self, target: &Target) -> Line {
        Line(self.0.as_ref().map(|lines| {
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4} {wide_msg}");
            let line = lines.together.add(ProgressBar::new_spinner());
            line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            line.set_prefix(printable(&target.to_string()));
            lines.each().push(line.clone());
            line
        }))
    }

    /// How long after the last time to [`draw`](Self::draw) them, if there are any.
    pub fn pace(&self) -> Option<Duration> {
        self.0.as_ref().map(|_| PACE)
    }

    /// Draws them as they are now.
    pub fn draw(&self) {
        let Some(lines) = &self.0 else { return };
        if lines.together.is_hidden() {
            let terminal = Box::<Terminal>::default();
            let target = ProgressDrawTarget::term_like_with_hz(terminal, PER_SECOND);
            lines.together.set_draw_target(target);
        }
        let mut each = lines.each();
        each.retain(|line| !line.is_finished());
        each.iter().for_each(ProgressBar::tick);
    }

    /// Writes something above them.
    pub fn step_aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(lines) => lines.together.suspend(write),
            None => write(),
        }
    }
}

impl Lines {
    fn each(&self) -> MutexGuard<'_, Vec<ProgressBar>> {
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line of one target.
#[derive(Clone, Debug)]
pub struct Line(Option<ProgressBar>);

impl Line {
    /// Shows why it is not ready. Returns whether there is a line for it.
    pub fn show(&self, why: &NotReady) -> bool {
        if let Some(line) = &self.0 {
            line.set_message(printable(&why.to_string()));
        }
        self.0.is_some()
    }

    /// Takes it away.
    pub fn end(&self) {
        if let Some(line) = &self.0 {
            line.finish_and_clear();
        }
    }
}

/// Escapes a text that may hold a server's words: a control character must not reach the terminal.
fn printable(text: &str) -> String {
    let mut line = String::new();
    let _ = write_line(&mut line, &cut(text)); // a String takes everything
    line
}

/// Standard error, as indicatif wants a terminal: what it draws is written at once, and never waits
/// for a terminal that is stopped (Ctrl-S).
#[derive(Debug, Default)]
struct Terminal(Mutex<String>);

impl Terminal {
    fn add(&self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.write_fmt(text).map_err(io::Error::other)
    }

    /// A terminal takes 0 for 1.
    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        match n {
            0 => Ok(()),
            n => self.add(format_args!("\x1b[{n}{direction}")),
        }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        Term::stderr().size().1
    }

    fn height(&self) -> u16 {
        Term::stderr().size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(format_args!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(format_args!("{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add(format_args!("\r\x1b[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        io::Write::write_all(&mut StandardError, drawn.as_bytes())?;
        drawn.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::reason;

    #[test]
    fn a_servers_words_are_cut_and_escaped() {
        let long = format!("\x1b[2J\u{7f}\u{85}\u{2028}\u{202e}{}", "x".repeat(10_000));
        let target = crate::kinds::path(format!("/{long}").as_ref());
        let Line(bar) = Live::new(true).line(&target);
        let bar = bar.expect("a line");
        let line = Line(Some(bar.clone()));
        assert!(line.show(&NotReady::new(&reason::CLOSED, long)));
        for shown in [bar.prefix(), bar.message()] {
            assert!(
                shown.contains(r"\u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}xx"),
                "{shown}"
            );
            assert!(shown.len() < 600, "{} bytes", shown.len());
        }
    }
}
