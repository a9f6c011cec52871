//! The wait for one target: attempts one after the other, and a second one beside an attempt that the
//! server does not answer.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, Either, abortable, pending, select};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::schedule;
use crate::net::Network;
use crate::output::report::{Reporter, duration};
use crate::probe::{Attempt, NotReady, Overlap, Retry, Stage, Stop, reason};
use crate::settings::Timing;
use crate::targets::Target;

/// The time without an answer after which an attempt is reported as `timed_out`; one that the deadline
/// ends sooner is not.
const TELLING: Duration = Duration::from_secs(1);

/// How long a login may take to end properly once the wait has ended, and how long the cancelling
/// of a statement may.
const GRACE_OF_LOGINS: Duration = Duration::from_millis(100);
const GRACE_OF_STATEMENTS: Duration = Duration::from_millis(500);

/// The time before the deadline for a last attempt at a server that asks for a longer pause.
const LAST_ATTEMPT: Duration = Duration::from_millis(500);

/// How long the second of two connections is kept that the server does not answer, at first; then
/// twice as long. A server that thaws finds each that was given up, and may count it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The wait for one target.
pub(super) struct Wait {
    pub(super) target: Arc<Target>,
    pub(super) network: Arc<Network>,
    pub(super) overlap: Overlap,
    pub(super) timing: Timing,
    pub(super) start: Instant,
    /// The end of the wait by a signal.
    pub(super) signal: Stop,
    /// The end of the wait for this target.
    pub(super) stop: Stop,
    pub(super) reporter: Reporter,
}

/// An attempt under way.
struct Trial {
    cx: Arc<Attempt>,
    start: Instant,
    /// When it is looked at next, unless it ends before.
    due: Instant,
    handle: AbortHandle,
}

/// The attempts under way, the oldest first.
#[derive(Default)]
struct Trials {
    each: Vec<Trial>,
    running: FuturesUnordered<BoxFuture<'static, Result<Ended, Aborted>>>,
}

/// An attempt that has ended, and its result.
type Ended = (Arc<Attempt>, Result<(), NotReady>);

/// The next thing that happens.
enum Event {
    Ended(Ended),
    /// Something is due.
    Due,
    /// The wait ends, for all targets.
    Stopped,
}

impl Wait {
    /// Waits until the target is ready or the wait ends, and then returns what is left to be
    /// reported.
    pub(super) async fn run(mut self) -> Result<(), Reporter> {
        let timing = self.timing;
        let is_single = timing.timeout == Some(Duration::ZERO);
        let end = match is_single {
            true => Some(self.start + timing.connect_timeout),
            false => self.stop.deadline,
        };
        self.stop = self.stop.with_deadline(end);
        let mut trials = Trials::default();
        let mut pace = schedule::Pace::default();
        let mut patience = PATIENCE;
        // When the next attempt begins; `None` while the one under way may still be answered.
        let mut next = Some(self.start);
        // How long the last login took: one that could not be finished is not begun, even if it takes
        // twice as long.
        let mut login = Duration::ZERO;
        // Since when it has been ready, where that alone is not enough.
        let mut ready_since = None;
        let is_ready = loop {
            if next.is_some_and(|next| next <= Instant::now()) {
                next = None;
                self.begin(&mut trials);
            }
            let due = trials.each.iter().map(|trial| trial.due);
            let wake = due.chain(next).chain(end).min();
            let (cx, result) = match self.event(&mut trials, wake).await {
                Event::Ended(ended) => ended,
                Event::Stopped => break false,
                Event::Due if end.is_some_and(|end| end <= Instant::now()) => break false,
                Event::Due => match self.look(&mut trials, &mut next, &mut patience) {
                    Some(ended) => ended,
                    None => continue,
                },
            };
            let trial = trials.remove(&cx);
            if let Some(warning) = cx.warning() {
                self.reporter.warn(&warning);
            }
            let why = match self.judge(result, &mut ready_since) {
                Ok(()) => break true,
                Err(why) => why,
            };
            let mut retry = why.reason.retry;
            if let Some(trial) = trial.filter(|trial| trial.cx.stage() >= Stage::Talking) {
                login = trial.start.elapsed();
                if retry == Retry::Soon {
                    retry = Retry::Politely; // the server has noticed it
                }
            }
            let asked = cx.pause().filter(|_| timing.interval.is_none());
            self.reporter.not_ready(why, !is_single);
            if is_single {
                break false;
            }
            let waited = self.start.elapsed();
            let pause = pace.pause(timing.interval, waited, retry, fastrand::f64());
            let now = Instant::now();
            let pause = match asked {
                None => Some(pause),
                Some(asked) => {
                    let left = end.map(|end| end.saturating_duration_since(now));
                    schedule::as_asked(pause, asked, left, LAST_ATTEMPT.max(login * 3))
                }
            };
            let begin = pause.and_then(|pause| now.checked_add(pause));
            let is_in_time = |begin: &Instant| end.is_none_or(|end| *begin + login * 2 < end);
            next = begin.filter(|begin| is_in_time(begin) && !trials.is_working());
        };
        if self.finish(trials, is_ready, ready_since).await {
            self.reporter.ready();
            return Ok(());
        }
        Err(self.reporter)
    }

    /// The meaning of a result under the options that every kind has.
    fn judge(
        &self,
        result: Result<(), NotReady>,
        ready_since: &mut Option<Instant>,
    ) -> Result<(), NotReady> {
        let common = self.target.common;
        let result = match result {
            Ok(()) if common.is_gone => Err(NotReady::new(&reason::STILL_THERE, "it is there")),
            Err(why) if common.is_gone && why.is_absence() => Ok(()),
            result => result,
        };
        let (Ok(()), Some(stable)) = (&result, common.stable) else {
            *ready_since = None;
            return result;
        };
        let since = ready_since.get_or_insert_with(Instant::now).elapsed();
        if since >= stable {
            return Ok(());
        }
        let (since, stable) = (duration(since), duration(stable));
        let detail = format!("it has been ready for {since} of {stable}");
        let reason = reason::STARTING.with_hint("#stable asks for that; does it come and go?");
        Err(NotReady::new(&reason, detail))
    }

    /// Begins an attempt.
    fn begin(&mut self, trials: &mut Trials) {
        let start = Instant::now();
        self.overlap.pace = schedule::pace(self.timing.interval, self.start.elapsed());
        let (network, overlap) = (Arc::clone(&self.network), self.overlap.clone());
        let cx = Arc::new(Attempt::new(network, overlap, self.stop.clone()));
        let (target, own) = (Arc::clone(&self.target), Arc::clone(&cx));
        let attempt = async move {
            // Not even a library that panics ends the wait.
            let attempt = AssertUnwindSafe(target.probe.attempt(&own)).catch_unwind();
            let result = attempt.await.unwrap_or_else(|_| Err(own.unexpected()));
            let result = result.map_err(|why| target.kind.in_own_words(own.without_secrets(why)));
            (own, result)
        };
        let (attempt, handle) = abortable(attempt);
        trials.running.push(attempt.boxed());
        trials.each.push(Trial {
            cx,
            start,
            due: start + TELLING.min(self.timing.connect_timeout),
            handle,
        });
        self.reporter.begin();
    }

    /// Waits for the next thing to happen.
    async fn event(&self, trials: &mut Trials, wake: Option<Instant>) -> Event {
        let ended = pin!(trials.next());
        let stopped = pin!(self.signal.stopped());
        let due = pin!(async {
            match wake {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        });
        match select(ended, select(stopped, due)).await {
            Either::Left((ended, _)) => Event::Ended(ended),
            Either::Right((Either::Left(_), _)) => Event::Stopped,
            Either::Right((Either::Right(_), _)) => Event::Due,
        }
    }

    /// Looks at the attempts that take long. One that has no connection in time has failed. Beside one
    /// whose connection the server does not answer, a second one is made, and from time to time it
    /// is replaced, in case the server has forgotten both.
    fn look(
        &mut self,
        trials: &mut Trials,
        next: &mut Option<Instant>,
        patience: &mut Duration,
    ) -> Option<Ended> {
        let (limit, now) = (self.timing.connect_timeout, Instant::now());
        // Where a statement runs another attempt could only wait for it.
        let is_working = trials.is_working();
        let number = trials.each.len();
        let is_due = |trial: &Trial| trial.due <= now;
        let (at, trial) = trials
            .each
            .iter_mut()
            .enumerate()
            .find(|(_, trial)| is_due(trial))?;
        let (elapsed, stage) = (now - trial.start, trial.cx.stage());
        trial.due = match elapsed < limit {
            true => trial.start + limit,
            false => now + limit,
        };
        let why = self.target.kind.in_own_words(no_answer(&trial.cx, elapsed));
        if elapsed >= limit && stage == Stage::Reaching {
            trial.handle.abort();
            return Some((Arc::clone(&trial.cx), Err(why)));
        }
        self.reporter.pending(&why);
        if is_working {
            return None;
        }
        if at > 0 && elapsed >= *patience {
            trial.handle.abort();
            trials.each.remove(at);
            *patience *= 2;
            *next = Some(now);
        } else if number == 1 && elapsed >= limit {
            *next = Some(now);
        }
        None
    }

    /// Lets what is under way end properly. Returns whether the target is ready.
    async fn finish(
        &mut self,
        mut trials: Trials,
        mut is_ready: bool,
        mut ready_since: Option<Instant>,
    ) -> bool {
        let grace = trials.each.iter().map(|trial| match trial.cx.stage() {
            Stage::Working => GRACE_OF_STATEMENTS,
            Stage::Talking => GRACE_OF_LOGINS,
            Stage::Connected if is_ready || trial.start.elapsed() < TELLING => GRACE_OF_LOGINS,
            Stage::Connected | Stage::Reaching => Duration::ZERO,
        });
        let end = Instant::now() + grace.max().unwrap_or_default();
        if let Some(trial) = trials.each.first()
            && !is_ready
        {
            self.stop.stop();
            let why = no_answer(&trial.cx, trial.start.elapsed());
            let is_telling = trial.start.elapsed() >= TELLING.min(self.timing.connect_timeout);
            self.reporter
                .unanswered(self.target.kind.in_own_words(why), is_telling);
        }
        while !trials.each.is_empty()
            && let Ok((cx, result)) = timeout_at(end, trials.next()).await
        {
            trials.remove(&cx);
            is_ready |= self.judge(result, &mut ready_since).is_ok();
        }
        is_ready
    }
}

fn no_answer(cx: &Attempt, elapsed: Duration) -> NotReady {
    let (elapsed, phase) = (duration(elapsed), cx.current_phase());
    NotReady::new(
        &reason::TIMED_OUT,
        format!("no answer for {elapsed} while {phase}"),
    )
}

impl Trials {
    /// The next attempt to end, apart from those that were given up.
    async fn next(&mut self) -> Ended {
        loop {
            match self.running.next().await {
                Some(Ok(ended)) => return ended,
                Some(Err(Aborted)) => {}
                None => pending().await,
            }
        }
    }

    /// Whether a statement runs.
    fn is_working(&self) -> bool {
        let mut stages = self.each.iter().map(|trial| trial.cx.stage());
        stages.any(|stage| stage == Stage::Working)
    }

    fn remove(&mut self, cx: &Arc<Attempt>) -> Option<Trial> {
        let at = self
            .each
            .iter()
            .position(|trial| Arc::ptr_eq(&trial.cx, cx))?;
        Some(self.each.remove(at))
    }
}
