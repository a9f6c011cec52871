//! The waiting: a loop for every target, all under one deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Timing;
use crate::probe::{NotReady, Probe, Progress, Reason};
use crate::report::{self, Reporter};
use crate::target::Target;

/// The shortest pause between attempts: what the timer can tell apart, doubled.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// The shortest pause after a server decided against us, so as not to press it.
const SHORTEST_POLITE_PAUSE: Duration = Duration::from_millis(100);
/// The longest adaptive pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// An attempt that the deadline ends sooner than this has not shown that nobody answers.
const TELLING: Duration = Duration::from_secs(1);

/// Waits until all targets are ready or the deadline has passed, and reports as it goes.
/// Returns whether all are ready.
pub async fn all(targets: Vec<Target>, probe: Probe, timing: Timing) -> bool {
    let start = Instant::now();
    let probe = Arc::new(probe);
    let mut waits: JoinSet<bool> = targets
        .into_iter()
        .map(|target| one(target, Arc::clone(&probe), timing, start))
        .collect();
    let mut all_ready = true;
    while let Some(ready) = waits.join_next().await {
        all_ready &= ready.unwrap_or(false);
    }
    all_ready
}

/// Waits for one target.
async fn one(target: Target, probe: Arc<Probe>, timing: Timing, start: Instant) -> bool {
    // Too far away for the clock is as good as never.
    let deadline = timing.timeout.and_then(|after| start.checked_add(after));
    let is_single_attempt = timing.timeout == Some(Duration::ZERO);
    let target = Arc::new(target);
    let mut reporter = Reporter::new(Arc::clone(&target), start);
    loop {
        let begun = Instant::now();
        let cut_short_at = deadline.filter(|_| !is_single_attempt);
        let limit = cut_short_at.map_or(timing.connect_timeout, |deadline| {
            timing.connect_timeout.min(deadline - begun)
        });
        let why = match attempt(&target, &probe, limit).await {
            Ok(()) => {
                reporter.ready();
                return true;
            }
            Err(why) => why,
        };
        // An attempt that was given little time says less than the one before.
        let is_cut_short = why.reason == Reason::TimedOut && limit < timing.connect_timeout;
        if is_cut_short && limit < TELLING {
            reporter.unfinished(why);
        } else {
            reporter.not_ready(why);
        }
        if is_single_attempt || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
        let next = pause(timing.interval, start.elapsed(), reporter.is_decided());
        match deadline {
            Some(deadline) if Instant::now() + next >= deadline => {
                sleep_until(deadline).await;
                break;
            }
            _ => sleep(next).await,
        }
    }
    reporter.timed_out();
    false
}

/// Makes one attempt, in a task of its own: not even a library that panics ends the wait.
async fn attempt(
    target: &Arc<Target>,
    probe: &Arc<Probe>,
    limit: Duration,
) -> Result<(), NotReady> {
    let progress = Progress::new();
    let mut task = {
        let (target, probe, progress) = (Arc::clone(target), Arc::clone(probe), progress.clone());
        tokio::spawn(async move { probe.attempt(&target, &progress).await })
    };
    match timeout(limit, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => {
            let detail = format!("an answer that makes no sense, while {}", progress.doing());
            Err(NotReady::new(Reason::Protocol, detail))
        }
        Err(_) => {
            task.abort();
            let limit = report::seconds(limit);
            let detail = format!("no answer for {limit} while {}", progress.doing());
            Err(NotReady::new(Reason::TimedOut, detail))
        }
    }
}

/// How long to pause after an attempt: what the user said, or else a hundredth of the time waited
/// so far, so that what is found late is late by no more than that, while the number of attempts
/// grows with the logarithm of the time alone. A server that has decided against us is not pressed.
fn pause(interval: Option<Duration>, waited: Duration, is_decided: bool) -> Duration {
    match interval {
        Some(interval) => interval.max(SHORTEST_PAUSE),
        None if is_decided => (waited / 5).clamp(SHORTEST_POLITE_PAUSE, LONGEST_PAUSE),
        None => (waited / 100).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_pause_is_what_was_said_or_grows_with_the_time_waited() {
        assert_eq!(pause(Some(ms(700)), ms(90_000), true), ms(700));
        assert_eq!(pause(Some(ms(0)), ms(0), false), SHORTEST_PAUSE);
        assert_eq!(pause(None, ms(0), false), SHORTEST_PAUSE);
        assert_eq!(pause(None, ms(5_000), false), ms(50));
        assert_eq!(pause(None, ms(1_000_000), false), ms(1_000));
        assert_eq!(pause(None, ms(0), true), ms(100));
        assert_eq!(pause(None, ms(2_000), true), ms(400));
        assert_eq!(pause(None, ms(60_000), true), ms(1_000));
    }
}
