//! The waiting: a loop for every target, all under one deadline.
#![forbid(unsafe_code)]

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Timing;
use crate::live::Live;
use crate::probe::{Answer, NotReady, Overlap, Probe, Progress, Reason};
use crate::report::{self, Reporter};
use crate::sys;
use crate::target::Target;

/// The shortest pause that can be asked for: what the timer can tell apart, doubled.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// The shortest adaptive pause.
const SHORTEST_ADAPTIVE_PAUSE: Duration = Duration::from_millis(3);
/// What an attempt and the start of the command take, about, so that all of it is 1 %.
const OVERHEAD: Duration = Duration::from_millis(7);
/// The shortest pause after a server has answered, so as not to press it.
const SHORTEST_POLITE_PAUSE: Duration = Duration::from_millis(100);
/// The longest adaptive pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// An attempt that has taken this long shows that nobody answers, and one that the deadline ends
/// sooner does not.
const TELLING: Duration = Duration::from_secs(1);

/// Waits until all targets are ready or the deadline has passed, and reports as it goes.
/// Returns whether all are ready.
pub async fn all(targets: Vec<Target>, probe: Probe, timing: Timing, live: Live) -> bool {
    let start = Instant::now();
    let probe = Arc::new(probe);
    let descriptors = sys::free_descriptors() / targets.len().max(1);
    let mut waits: JoinSet<bool> = targets
        .into_iter()
        .map(|target| {
            let target = Arc::new(target);
            let reporter = Reporter::new(Arc::clone(&target), start, &live);
            let (probe, overlap) = (Arc::clone(&probe), Overlap::new(descriptors));
            one(target, probe, overlap, timing, start, reporter)
        })
        .collect();
    let mut all_ready = true;
    loop {
        let next = waits.join_next();
        let ended = match live.pace() {
            Some(pace) => timeout(pace, next).await,
            None => Ok(next.await),
        };
        match ended {
            Ok(Some(ready)) => all_ready &= ready.unwrap_or(false),
            Ok(None) => return all_ready,
            Err(_) => live.draw(),
        }
    }
}

/// Makes one attempt at each target and reports the first that is not ready, and nothing else.
/// Returns whether all are ready.
pub async fn check(targets: Vec<Target>, probe: Probe, limit: Duration) -> bool {
    let start = Instant::now();
    let probe = Arc::new(probe);
    let mut attempts: JoinSet<Result<(), (Target, NotReady)>> = targets
        .into_iter()
        .map(|target| {
            let probe = Arc::clone(&probe);
            async move {
                let result = attempt(&target, &probe, &Overlap::default(), limit, None).await;
                result.map_err(|why| (target, why))
            }
        })
        .collect();
    let mut all_ready = true;
    // To the end, even after a failure: a login that is broken off leaves a mark on its server.
    while let Some(ended) = attempts.join_next().await {
        match ended {
            Ok(Ok(())) => continue,
            Ok(Err((target, why))) if all_ready => report::unwell(&target, &why, start.elapsed()),
            Ok(Err(_)) | Err(_) => {}
        }
        all_ready = false;
    }
    all_ready
}

/// Waits for one target.
async fn one(
    target: Arc<Target>,
    probe: Arc<Probe>,
    mut overlap: Overlap,
    timing: Timing,
    start: Instant,
    mut reporter: Reporter,
) -> bool {
    // Too far away for the clock is as good as never.
    let deadline = timing.timeout.and_then(|after| start.checked_add(after));
    let is_single_attempt = timing.timeout == Some(Duration::ZERO);
    loop {
        let begun = Instant::now();
        let cut_short_at = deadline.filter(|_| !is_single_attempt);
        let limit = cut_short_at.map_or(timing.connect_timeout, |deadline| {
            timing.connect_timeout.min(deadline - begun)
        });
        overlap.pace = match timing.interval {
            Some(interval) => interval.max(Overlap::SHORTEST_PACE),
            None => (start.elapsed() / 100).clamp(Overlap::SHORTEST_PACE, LONGEST_PAUSE),
        };
        let attempt = attempt(&target, &probe, &overlap, limit, Some(&mut reporter));
        let why = match attempt.await {
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
        let next = pause(
            timing.interval,
            start.elapsed(),
            reporter.answer(),
            fastrand::f64(),
        );
        match deadline {
            Some(deadline) if deadline - Instant::now() <= next => {
                sleep_until(deadline).await;
                break;
            }
            _ => sleep(next).await,
        }
    }
    reporter.timed_out();
    false
}

/// Makes one attempt. Not even a library that panics ends the wait.
async fn attempt(
    target: &Target,
    probe: &Probe,
    overlap: &Overlap,
    limit: Duration,
    mut reporter: Option<&mut Reporter>,
) -> Result<(), NotReady> {
    let progress = Progress::default();
    let attempt = AssertUnwindSafe(probe.attempt(target, overlap, &progress));
    let mut attempt = pin!(attempt.catch_unwind());
    let no_answer = |time: Duration| {
        let (time, doing) = (report::seconds(time), progress.doing());
        NotReady::new(
            Reason::TimedOut,
            format!("no answer for {time} while {doing}"),
        )
    };
    let mut ended = timeout(limit.min(TELLING), &mut attempt).await;
    if ended.is_err() && limit > TELLING {
        if let Some(reporter) = &mut reporter {
            reporter.pending(no_answer(TELLING));
        }
        ended = timeout(limit - TELLING, &mut attempt).await;
    }
    if let (Some(reporter), Some(warning)) = (reporter, progress.warning()) {
        reporter.warn(warning);
    }
    match ended {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => {
            let detail = format!("an answer that makes no sense, while {}", progress.doing());
            Err(NotReady::new(Reason::Protocol, detail))
        }
        Err(_) => Err(no_answer(limit)),
    }
}

/// How long to pause after an attempt: exactly what the user said, or else in proportion to the time
/// waited.
///
/// A target that becomes ready is found by the next attempt, so it is found late by one pause and one
/// attempt at most. With pauses of a hundredth of the time waited that is no more than 1 % of the
/// wait, while the number of attempts grows with the logarithm of the time alone: some 105 in every
/// stretch that multiplies the time waited by e, and one a second in the end. `jitter`, from 0 to 1,
/// adds up, so that a hundred replicas do not knock in step; where a lag counts it only shortens.
///
/// | what the last attempt was told | of the time waited | at least | at most | jitter |
/// | --- | --- | --- | --- | --- |
/// | nothing: nobody listens yet | 1 % | 3 ms | 1 s | up to 10 % less |
/// | not yet: a status, a statement without its row | 1 % | 100 ms | 1 s | up to 10 % less |
/// | no: denied, full, going down | 20 % | 100 ms | 1 s | up to 50 % more |
fn pause(interval: Option<Duration>, waited: Duration, answer: Answer, jitter: f64) -> Duration {
    let in_proportion = |shortest| {
        (waited / 100)
            .saturating_sub(OVERHEAD)
            .clamp(shortest, LONGEST_PAUSE)
            .mul_f64(1.0 - jitter / 10.0)
    };
    match (interval, answer) {
        (Some(interval), _) => interval.max(SHORTEST_PAUSE),
        (None, Answer::Nothing) => in_proportion(SHORTEST_ADAPTIVE_PAUSE),
        (None, Answer::NotYet) => in_proportion(SHORTEST_POLITE_PAUSE),
        (None, Answer::No) => (waited / 5)
            .clamp(SHORTEST_POLITE_PAUSE, LONGEST_PAUSE)
            .mul_f64(1.0 + jitter / 2.0),
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
        for (interval, waited, answer, least, most) in [
            (Some(ms(700)), 90_000, Answer::No, 700, 700),
            (Some(ms(0)), 0, Answer::Nothing, 2, 2),
            (None, 0, Answer::Nothing, 2, 3),
            (None, 1_000, Answer::Nothing, 2, 3),
            (None, 5_000, Answer::Nothing, 38, 43),
            (None, 2_000_000, Answer::Nothing, 900, 1_000),
            (None, 0, Answer::NotYet, 90, 100),
            (None, 50_000, Answer::NotYet, 443, 493),
            (None, 0, Answer::No, 100, 150),
            (None, 2_000, Answer::No, 400, 600),
            (None, 60_000, Answer::No, 1_000, 1_500),
        ] {
            let pause = |jitter| pause(interval, ms(waited), answer, jitter);
            let mut ends = [pause(0.0), pause(1.0)];
            ends.sort();
            let ends = ends.map(|end| end.as_millis() as u64);
            assert_eq!(ends, [least, most], "after {waited} ms");
        }
    }
}
