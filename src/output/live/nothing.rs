//! For builds without them.

use std::time::Duration;

use crate::probe::NotReady;
use crate::targets::Target;

/// Never.
pub fn is_possible() -> bool {
    false
}

/// No lines.
#[derive(Clone, Debug, Default)]
pub struct Live {}

impl Live {
    /// There are none in this build.
    pub fn new(_: bool) -> Self {
        Self {}
    }

    /// No line.
    pub fn line(&self, _: &Target) -> Line {
        Line {}
    }

    /// Never.
    pub fn pace(&self) -> Option<Duration> {
        None
    }

    /// Nothing to draw.
    pub fn draw(&self) {}

    /// Nothing is in the way.
    pub fn step_aside<T>(&self, write: impl FnOnce() -> T) -> T {
        write()
    }
}

/// No line.
#[derive(Clone, Debug)]
pub struct Line {}

impl Line {
    /// There is no line: the log has it.
    pub fn show(&self, _: &NotReady) -> bool {
        false
    }

    /// Nothing to take away.
    pub fn end(&self) {}
}
