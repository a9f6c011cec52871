//! The waiting: a loop for every target, all under one deadline.
#![forbid(unsafe_code)]

mod schedule;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::net::Network;
use crate::output::live::Live;
use crate::output::report::{Reporter, duration};
use crate::probe::{Attempt, NotReady, Overlap, Retry, reason};
use crate::process::sys;
use crate::settings::Timing;
use crate::targets::Target;

/// An attempt that has taken this long shows that there is no answer, and one that the deadline ends
/// sooner does not.
const TELLING: Duration = Duration::from_secs(1);

/// Waits until all targets are ready or the deadline has passed, and reports as it goes. Of a check
/// only the first failure is reported. Returns whether all are ready.
pub async fn all(
    targets: Vec<Target>,
    network: Network,
    timing: Timing,
    is_check: bool,
    live: Live,
) -> bool {
    let start = Instant::now();
    let network = Arc::new(network);
    let descriptors = sys::free_descriptors() / targets.len().max(1);
    let mut waits: JoinSet<Result<(), Reporter>> = targets
        .into_iter()
        .map(|target| {
            let wait = Wait {
                reporter: Reporter::new(&target, start, &live),
                target,
                network: Arc::clone(&network),
                overlap: Overlap::new(descriptors),
                timing,
                start,
            };
            wait.run()
        })
        .collect();
    let mut all_ready = true;
    // To the end, even after a failure: a login that is broken off leaves a mark on its server.
    loop {
        let next = waits.join_next();
        let ended = match live.pace() {
            Some(pace) => timeout(pace, next).await,
            None => Ok(next.await),
        };
        match ended {
            Ok(Some(Ok(Ok(())))) => continue,
            Ok(Some(Ok(Err(mut reporter)))) if !is_check => reporter.timed_out(),
            Ok(Some(Ok(Err(mut reporter)))) if all_ready => reporter.failed_check(),
            Ok(Some(_)) => {}
            Ok(None) => return all_ready,
            Err(_) => {
                live.draw();
                continue;
            }
        }
        all_ready = false;
    }
}

/// The wait for one target.
struct Wait {
    target: Target,
    network: Arc<Network>,
    overlap: Overlap,
    timing: Timing,
    start: Instant,
    reporter: Reporter,
}

impl Wait {
    /// Waits until the target is ready or the deadline has passed, and then returns what is left to
    /// be reported.
    async fn run(mut self) -> Result<(), Reporter> {
        let timing = self.timing;
        // A deadline too far away for the clock is as good as none.
        let deadline = timing
            .timeout
            .and_then(|after| self.start.checked_add(after));
        let is_single_attempt = timing.timeout == Some(Duration::ZERO);
        // What the last attempt that told anything asks for.
        let mut last = None;
        loop {
            let limit = match deadline {
                Some(deadline) if !is_single_attempt => {
                    timing.connect_timeout.min(deadline - Instant::now())
                }
                _ => timing.connect_timeout,
            };
            self.overlap.pace = schedule::pace(timing.interval, self.start.elapsed());
            let Err(why) = self.attempt(limit).await else {
                self.reporter.ready();
                return Ok(());
            };
            // An attempt that was given little time says less than the one before.
            let is_cut_short = limit < timing.connect_timeout.min(TELLING);
            match last {
                _ if is_single_attempt => {
                    self.reporter.failed(why);
                    return Err(self.reporter);
                }
                Some(_) if is_cut_short && why.is(&reason::TIMED_OUT) => self.reporter.unfinished(),
                _ => {
                    last = Some(why.reason.retry);
                    self.reporter.not_ready(why);
                }
            }
            let retry = last.unwrap_or(Retry::Soon);
            let waited = self.start.elapsed();
            let pause = schedule::pause(timing.interval, waited, retry, fastrand::f64());
            match deadline {
                Some(deadline) if deadline - Instant::now() <= pause => {
                    sleep_until(deadline).await;
                    return Err(self.reporter);
                }
                _ => sleep(pause).await,
            }
        }
    }

    /// Makes one attempt. Not even a library that panics ends the wait.
    async fn attempt(&mut self, limit: Duration) -> Result<(), NotReady> {
        let cx = Attempt::new(Arc::clone(&self.network), self.overlap.clone());
        let attempt = AssertUnwindSafe(self.target.probe.attempt(&cx));
        let mut attempt = pin!(attempt.catch_unwind());
        let no_answer = |time| {
            let detail = format!(
                "no answer for {} while {}",
                duration(time),
                cx.current_phase()
            );
            NotReady::new(&reason::TIMED_OUT, detail)
        };
        let mut ended = timeout(limit.min(TELLING), &mut attempt).await;
        if ended.is_err() && limit > TELLING {
            self.reporter
                .pending(self.target.kind.in_own_words(no_answer(TELLING)));
            ended = timeout(limit.saturating_sub(TELLING), &mut attempt).await;
        }
        if let Some(warning) = cx.warning() {
            self.reporter.warn(warning);
        }
        let result = match ended {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(cx.unexpected()),
            Err(_) => Err(no_answer(limit)),
        };
        result.map_err(|why| self.target.kind.in_own_words(why))
    }
}

#[cfg(test)]
mod tests;
