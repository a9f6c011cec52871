//! The wait loop in paused time, with probes that follow a script.

use std::collections::VecDeque;
use std::sync::Mutex;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending};
use tokio::time::sleep;
use tracing::Level;

use super::schedule::Pace;
use super::*;
use crate::output::capture::Capture;
use crate::probe::{Attempt, NotReady, Probe, Reason, reason};
use crate::targets::{Kind, Parameters};

/// Rounding: the timer has ticks of a millisecond.
const TICK: Duration = Duration::from_millis(2);

const OWN_HINT: &str = "is the toy wound up?";

static TOY: Kind = Kind {
    several_hosts: false,
    name: "toy",
    title: "Toys",
    schemes: &[],
    settings: &[],
    parameters: Parameters::Known {
        shown: &[],
        others: &[],
    },
    dialects: &[],
    options: &[],
    reasons: &[&reason::REFUSED.with_hint(OWN_HINT)],
    codes: &[],
    ready_when: "the script is ready",
    examples: &[],
    parse: None,
};

/// The course of an attempt.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ready,
    /// It fails at once.
    Fails(&'static Reason),
    /// It is ready, or fails, after some milliseconds.
    ReadyIn(u64),
    FailsIn(u64, &'static Reason),
    /// It is ready once so many milliseconds have passed since the start.
    ReadyFrom(u64),
    Hangs,
    /// The server has answered something, and then it is ready after some milliseconds, or fails.
    TalksFor(u64),
    TalksAndFailsIn(u64, &'static Reason),
    TalksAndHangs,
    /// A statement runs for some milliseconds.
    WorksFor(u64),
    /// A statement runs until the wait ends, and is then cancelled, which takes some milliseconds.
    WorksUntilStopped(u64),
    /// The server sends without end, so that there is always something to do.
    Floods,
    Panics,
    /// It leaves a warning and fails.
    Warns,
}
use Step::*;

/// A probe that follows a script, whose last step is repeated.
#[derive(Debug)]
struct Fake {
    script: Mutex<VecDeque<Step>>,
    log: Arc<Mutex<Vec<Tried>>>,
    start: Instant,
    alive: Arc<Alive>,
}

/// How many attempts there are at once, and the most that there were.
#[derive(Debug, Default)]
struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Alive {
    fn begin(self: &Arc<Self>) -> Begun {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Begun(Arc::clone(self))
    }
}

struct Begun(Arc<Alive>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An attempt that was made.
#[derive(Clone, Copy, Debug)]
struct Tried {
    /// Since the start.
    at: Duration,
    /// The pace of what goes on beside it.
    pace: Duration,
}

impl Fake {
    fn next(&self) -> Step {
        let mut script = self.script.lock().expect("not poisoned");
        match script.len() {
            1 => script[0],
            _ => script.pop_front().expect("a step"),
        }
    }
}

impl Probe for Fake {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        let tried = Tried {
            at: self.start.elapsed(),
            pace: cx.overlap().pace,
        };
        self.log.lock().expect("not poisoned").push(tried);
        let step = self.next();
        let fails = |reason| Err(NotReady::new(reason, "as scripted"));
        let begun = self.alive.begin();
        async move {
            let _begun = begun;
            cx.phase("playing");
            match step {
                Ready => Ok(()),
                Fails(reason) => fails(reason),
                ReadyIn(ms) => {
                    sleep(Duration::from_millis(ms)).await;
                    Ok(())
                }
                FailsIn(ms, reason) => {
                    sleep(Duration::from_millis(ms)).await;
                    fails(reason)
                }
                ReadyFrom(ms) if tried.at >= Duration::from_millis(ms) => Ok(()),
                ReadyFrom(_) => fails(&reason::REFUSED),
                Hangs => pending().await,
                TalksFor(ms) => {
                    cx.talking();
                    sleep(Duration::from_millis(ms)).await;
                    Ok(())
                }
                TalksAndFailsIn(ms, reason) => {
                    cx.talking();
                    sleep(Duration::from_millis(ms)).await;
                    fails(reason)
                }
                TalksAndHangs => {
                    cx.talking();
                    pending().await
                }
                WorksFor(ms) => {
                    cx.working("working").await;
                    sleep(Duration::from_millis(ms)).await;
                    Ok(())
                }
                WorksUntilStopped(ms) => {
                    cx.working("working").await;
                    cx.stopped().await;
                    sleep(Duration::from_millis(ms)).await;
                    fails(&reason::CLOSED)
                }
                Floods => {
                    cx.talking();
                    let start = std::time::Instant::now();
                    while start.elapsed() < Duration::from_secs(10) {
                        tokio::task::consume_budget().await;
                    }
                    fails(&reason::CLOSED)
                }
                Panics => panic!("as scripted"),
                Warns => {
                    cx.warn("the paint is wet");
                    fails(&reason::REFUSED)
                }
            }
        }
        .boxed()
    }
}

/// The targets of a wait, and its result.
struct Play {
    start: Instant,
    targets: Vec<Target>,
    logs: Vec<Arc<Mutex<Vec<Tried>>>>,
    timing: Timing,
    is_check: bool,
    stop: Stop,
    alive: Arc<Alive>,
    capture: Capture,
}

struct Outcome {
    ready: bool,
    took: Duration,
    /// The attempts, by target.
    tried: Vec<Vec<Tried>>,
    /// The most attempts at once.
    most: usize,
    capture: Capture,
}

impl Play {
    fn new(timing: Timing) -> Self {
        Self {
            start: Instant::now(),
            targets: Vec::new(),
            logs: Vec::new(),
            timing,
            is_check: false,
            stop: Stop::default(),
            alive: Arc::default(),
            capture: Capture::start(),
        }
    }

    fn with(mut self, script: &[Step]) -> Self {
        let log = Arc::default();
        let fake = Fake {
            script: Mutex::new(script.iter().copied().collect()),
            log: Arc::clone(&log),
            start: self.start,
            alive: Arc::clone(&self.alive),
        };
        let name = format!("toy-{}", self.targets.len() + 1);
        self.targets.push(Target::named(&TOY, name, Box::new(fake)));
        self.logs.push(log);
        self
    }

    async fn run(self) -> Outcome {
        let network = Network::default();
        let live = Live::default();
        let (timing, stop) = (self.timing, &self.stop);
        let ready = all(self.targets, network, timing, self.is_check, live, stop).await;
        let tried = |log: &Arc<Mutex<Vec<_>>>| log.lock().expect("not poisoned").clone();
        Outcome {
            ready,
            took: self.start.elapsed(),
            most: self.alive.most.load(Ordering::Relaxed),
            tried: self.logs.iter().map(tried).collect(),
            capture: self.capture,
        }
    }
}

impl Outcome {
    #[track_caller]
    fn took(&self, ms: u64) -> &Self {
        let expected = Duration::from_millis(ms);
        let took = self.took;
        assert!((expected..=expected + TICK).contains(&took), "{took:?}");
        self
    }

    #[track_caller]
    fn is_ready(&self) -> &Self {
        assert!(self.ready, "{:?}", self.capture.events("timed_out"));
        self
    }

    #[track_caller]
    fn is_not_ready(&self) -> &Self {
        assert!(!self.ready, "it is ready");
        self
    }

    /// The reason, the detail and the number of attempts in the only line at the end.
    #[track_caller]
    fn ends_with(&self, reason: &Reason, detail: &str, attempts: u64) -> &Self {
        let events = self.capture.events("timed_out");
        let [event] = &events[..] else {
            panic!("not one line: {events:?}");
        };
        assert_eq!(event.field("reason"), reason.name, "{event:?}");
        assert!(event.field("detail").contains(detail), "{event:?}");
        assert_eq!(event.number("attempts"), attempts, "{event:?}");
        self
    }

    /// When the attempts at the first target began, in milliseconds.
    fn times(&self) -> Vec<u128> {
        self.tried[0].iter().map(|one| one.at.as_millis()).collect()
    }
}

fn seconds(timeout: u64) -> Timing {
    Timing {
        timeout: Some(Duration::from_secs(timeout)),
        ..Timing::default()
    }
}

fn every(interval: Duration, timing: Timing) -> Timing {
    Timing {
        interval: Some(interval),
        ..timing
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_ready_is_tried_once() {
    let outcome = Play::new(Timing::default()).with(&[Ready]).run().await;
    outcome.is_ready().took(0);
    let events = outcome.capture.events("ready");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].number("attempts"), 1);
    assert_eq!(events[0].field("kind"), "toy");
    assert_eq!(outcome.tried[0].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_hard_for_an_attempt_that_hangs() {
    let outcome = Play::new(seconds(3)).with(&[Hangs]).run().await;
    outcome.is_not_ready().took(3_000);
    outcome.ends_with(&reason::TIMED_OUT, "no answer for 3.0 s while playing", 1);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_hard_for_an_attempt_that_fails() {
    let outcome = Play::new(seconds(3)).with(&[Fails(&reason::CLOSED)]).run();
    let outcome = outcome.await;
    outcome.is_not_ready().took(3_000);
    let attempts = outcome.tried[0].len() as u64;
    assert!(attempts > 100, "{attempts}");
    outcome.ends_with(&reason::CLOSED, "as scripted", attempts);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_ready_just_before_the_deadline_counts() {
    let outcome = Play::new(seconds(3)).with(&[ReadyIn(2_990)]).run().await;
    outcome.is_ready().took(2_990);
    let outcome = Play::new(seconds(3)).with(&[ReadyIn(3_010)]).run().await;
    outcome.is_not_ready().took(3_000);
}

#[tokio::test(start_paused = true)]
async fn attempts_follow_the_schedule_with_jitter_within_its_bounds() {
    for reason in [
        &reason::REFUSED,       // soon
        &reason::NOT_SERVING,   // politely
        &reason::SERVER_ERROR,  // back off
        &reason::ACCESS_DENIED, // denied
        &reason::TLS_FAILED,    // rarely
    ] {
        let outcome = Play::new(seconds(60)).with(&[Fails(reason)]).run().await;
        let mut jitters = Vec::new();
        let mut paces = [Pace::default(), Pace::default()];
        for pair in outcome.tried[0].windows(2) {
            let (waited, paused) = (pair[0].at, pair[1].at.saturating_sub(pair[0].at));
            let [least, most] = &mut paces;
            let mut bounds = [
                least.pause(None, waited, reason.retry, 0.0),
                most.pause(None, waited, reason.retry, 1.0),
            ];
            bounds.sort();
            let [least, most] = bounds;
            assert!(
                (least..=most + TICK).contains(&paused),
                "{reason}: {pair:?}"
            );
            let between = |from: Duration, to: Duration| to.as_secs_f64() - from.as_secs_f64();
            if most > least + 10 * TICK {
                jitters.push(between(least, paused) / between(least, most));
            }
        }
        let spread = |at: f64| jitters.iter().filter(|jitter| **jitter > at).count();
        // A few may be on one side by chance.
        let is_spread = spread(0.5) > 0 && spread(0.5) < jitters.len();
        assert!(is_spread || jitters.len() < 30, "{reason}: {jitters:?}");
        // Twice the same would be a strange coincidence.
        let again = Play::new(seconds(60)).with(&[Fails(reason)]).run().await;
        assert_ne!(again.times(), outcome.times(), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_reason_decides_on_the_pause() {
    let script = [
        Fails(&reason::ACCESS_DENIED),
        Fails(&reason::REFUSED),
        Fails(&reason::NOT_SERVING),
        Ready,
    ];
    let outcome = Play::new(Timing::default()).with(&script).run().await;
    outcome.is_ready();
    let [_, denied, refused, loading] = outcome.times()[..] else {
        panic!("{:?}", outcome.times());
    };
    assert!((100..=152).contains(&denied), "{denied}");
    assert!((2..=5).contains(&(refused - denied)), "{refused}");
    assert!((100..=107).contains(&(loading - refused)), "{loading}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_a_connection_is_reported_after_a_second_and_cut_at_the_connect_timeout()
{
    let script = [Hangs, Ready];
    let outcome = Play::new(Timing::default()).with(&script).run().await;
    outcome.is_ready();
    assert_eq!(outcome.most, 1);
    let events = outcome.capture.events("not_ready");
    let [pending, cut] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(pending.field("reason"), "timed_out");
    assert_eq!(pending.number("attempts"), 1);
    assert!((1_000..=1_002).contains(&pending.number("elapsed_ms")));
    assert_eq!(pending.field("detail"), "no answer for 1.0 s while playing");
    assert_eq!(cut.number("attempts"), 1);
    assert_eq!(cut.field("detail"), "no answer for 5.0 s while playing");
    let second = outcome.times()[1];
    assert!((5_000..=5_050).contains(&second), "{second}");
}

#[tokio::test(start_paused = true)]
async fn a_connect_timeout_below_a_second_cuts_there() {
    let timing = Timing {
        connect_timeout: Duration::from_millis(300),
        ..Timing::default()
    };
    let outcome = Play::new(timing).with(&[Hangs, Ready]).run().await;
    outcome.is_ready();
    let events = outcome.capture.events("not_ready");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        events[0].field("detail"),
        "no answer for 300 ms while playing"
    );
    assert!(
        (300..=310).contains(&outcome.times()[1]),
        "{:?}",
        outcome.times()
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_answers_late_is_not_repeated() {
    let outcome = Play::new(Timing::default()).with(&[ReadyIn(4_900)]).run();
    let outcome = outcome.await;
    outcome.is_ready().took(4_900);
    assert_eq!(outcome.tried[0].len(), 1);
    // After it has failed late, the pause begins.
    let script = [FailsIn(4_900, &reason::NOT_SERVING), Ready];
    let outcome = Play::new(Timing::default()).with(&script).run().await;
    outcome.is_ready();
    assert!(
        (5_000..=5_010).contains(&outcome.times()[1]),
        "{:?}",
        outcome.times()
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_is_one_attempt_each_within_the_connect_timeout() {
    let timing = Timing {
        connect_timeout: Duration::from_millis(1_700),
        ..seconds(0)
    };
    let play = Play::new(timing).with(&[Hangs]);
    let play = play.with(&[Fails(&reason::REFUSED)]).with(&[Ready]);
    let outcome = play.with(&[ReadyIn(1_600)]).run().await;
    outcome.is_not_ready().took(1_700);
    assert!(outcome.tried.iter().all(|tried| tried.len() == 1));
    let events = outcome.capture.events("timed_out");
    let reason = |target: &str| {
        let event = events.iter().find(|event| event.field("target") == target);
        event.map(|event| event.field("reason").to_owned())
    };
    assert_eq!(reason("toy-1").as_deref(), Some("timed_out"));
    assert_eq!(reason("toy-2").as_deref(), Some("refused"));
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.number("attempts") == 1));
    assert_eq!(outcome.capture.events("ready").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_line_of_a_single_attempt_is_the_last_one() {
    let outcome = Play::new(seconds(0)).with(&[Fails(&reason::REFUSED)]).run();
    let outcome = outcome.await;
    outcome.is_not_ready().took(0);
    assert_eq!(outcome.capture.events("not_ready").len(), 0);
    outcome.ends_with(&reason::REFUSED, "as scripted", 1);
}

#[tokio::test(start_paused = true)]
async fn infinity_has_no_deadline() {
    const HOURS: u64 = 2 * 60 * 60 * 1_000;
    let timing = Timing {
        timeout: None,
        ..Timing::default()
    };
    // A deadline too far away for the clock is as good as none.
    for timing in [timing, seconds(u64::MAX)] {
        let outcome = Play::new(timing).with(&[ReadyFrom(HOURS)]).run().await;
        outcome.is_ready();
        let late = outcome.took.saturating_sub(Duration::from_millis(HOURS));
        assert!(late <= Duration::from_secs(1), "{late:?}");
        let outcome = Play::new(timing).with(&[Hangs, Hangs, Ready]).run().await;
        outcome.is_ready();
        assert!((10_000..=10_200).contains(&outcome.took.as_millis()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_is_the_pause_between_attempts() {
    for reason in [&reason::REFUSED, &reason::ACCESS_DENIED] {
        let timing = every(Duration::from_millis(700), seconds(3));
        let outcome = Play::new(timing).with(&[Fails(reason)]).run().await;
        outcome.is_not_ready().took(3_000);
        assert_eq!(outcome.times(), [0, 700, 1_400, 2_100, 2_800], "{reason}");
    }
    // The pause begins when the attempt has ended.
    let timing = every(Duration::from_millis(700), seconds(3));
    let script = [FailsIn(500, &reason::CLOSED)];
    let outcome = Play::new(timing).with(&script).run().await;
    assert_eq!(outcome.times(), [0, 1_200, 2_400]);
}

#[tokio::test(start_paused = true)]
async fn no_interval_is_too_short() {
    let timing = every(Duration::ZERO, seconds(1));
    let outcome = Play::new(timing).with(&[Fails(&reason::REFUSED)]).run();
    let outcome = outcome.await;
    outcome.is_not_ready().took(1_000);
    let attempts = outcome.tried[0].len();
    assert!((300..=501).contains(&attempts), "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn a_huge_interval_ends_at_the_deadline() {
    for interval in [Duration::MAX, Duration::from_secs(u64::MAX)] {
        let timing = every(interval, seconds(2));
        let outcome = Play::new(timing).with(&[Fails(&reason::REFUSED)]).run();
        let outcome = outcome.await;
        outcome.is_not_ready().took(2_000);
        outcome.ends_with(&reason::REFUSED, "", 1);
    }
}

#[tokio::test(start_paused = true)]
async fn all_targets_are_tried_at_the_same_time_and_the_last_decides() {
    let play = Play::new(Timing::default()).with(&[Hangs, ReadyFrom(5_000)]);
    let play = play.with(&[ReadyFrom(8_000)]).with(&[Ready]);
    let outcome = play
        .with(&[Fails(&reason::ACCESS_DENIED), Ready])
        .run()
        .await;
    outcome.is_ready();
    assert!(outcome.tried.iter().all(|tried| tried[0].at.is_zero()));
    let ready = outcome.capture.events("ready");
    let ready: Vec<_> = ready.iter().map(|event| event.field("target")).collect();
    assert_eq!(ready, ["toy-3", "toy-4", "toy-1", "toy-2"]);
    assert!(
        (8_000..=8_100).contains(&outcome.took.as_millis()),
        "{:?}",
        outcome.took
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_does_not_end_the_wait_for_the_others() {
    let play = Play::new(seconds(4)).with(&[Hangs]);
    let outcome = play.with(&[ReadyFrom(3_900)]).run().await;
    outcome.is_not_ready().took(4_000);
    assert_eq!(outcome.capture.events("ready").len(), 1);
    outcome.ends_with(&reason::TIMED_OUT, "", 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_to_wait_for_is_ready() {
    Play::new(Timing::default()).run().await.is_ready().took(0);
}

#[tokio::test(start_paused = true)]
async fn a_check_reports_its_failure_and_nothing_else() {
    let check = |script| Play {
        is_check: true,
        ..Play::new(seconds(0)).with(script)
    };
    let outcome = check(&[Fails(&reason::CLOSED)]).run().await;
    outcome.is_not_ready().took(0);
    let events = outcome.capture.events("not_ready");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].level, Level::ERROR);
    assert_eq!(
        events[0].field("message"),
        format!(
            "toy-1 is not ready: closed: as scripted; {}",
            reason::CLOSED.hint
        )
    );
    assert!(outcome.capture.events("timed_out").is_empty());
    // Of several targets, as a variable may hold, the first to fail.
    let outcome = check(&[Hangs]).with(&[Fails(&reason::CLOSED)]).run().await;
    outcome.is_not_ready().took(5_000);
    let errors = outcome.capture.events("not_ready");
    let errors: Vec<_> = errors
        .iter()
        .filter(|event| event.level == Level::ERROR)
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].field("target"), "toy-2");
    // When all is well there is no line at the level of a check.
    let outcome = check(&[Ready]).run().await;
    outcome.is_ready().took(0);
    assert!(outcome.capture.events("ready")[0].level > Level::ERROR);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_not_ready_and_the_wait_goes_on() {
    let script = [Panics, Panics, Fails(&reason::REFUSED), Ready];
    let outcome = Play::new(Timing::default()).with(&script).run().await;
    outcome.is_ready();
    let events = outcome.capture.events("not_ready");
    let reasons: Vec<_> = events.iter().map(|event| event.field("reason")).collect();
    assert_eq!(reasons, ["protocol", "protocol", "refused"]);
    assert_eq!(
        events[0].field("detail"),
        "an unexpected answer while playing"
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_the_deadline_cuts_short_keeps_the_earlier_reason() {
    let timing = every(Duration::from_millis(900), seconds(1));
    let script = [Fails(&reason::REFUSED), Hangs];
    let outcome = Play::new(timing).with(&script).run().await;
    outcome.is_not_ready().took(1_000);
    outcome.ends_with(&reason::REFUSED, "as scripted", 2);
    // One that had time enough shows that there is no answer.
    let timing = every(Duration::from_millis(900), seconds(2));
    let outcome = Play::new(timing).with(&script).run().await;
    outcome.is_not_ready().took(2_000);
    outcome.ends_with(&reason::TIMED_OUT, "no answer for 1.1 s", 2);
    // And where there is no earlier reason, little time is better than none.
    let timing = Timing {
        timeout: Some(Duration::from_millis(200)),
        ..Timing::default()
    };
    let outcome = Play::new(timing).with(&[Hangs]).run().await;
    outcome.is_not_ready().took(200);
    outcome.ends_with(&reason::TIMED_OUT, "no answer for 200 ms", 1);
}

#[tokio::test(start_paused = true)]
async fn a_kind_has_its_own_version_of_a_common_reason() {
    let outcome = Play::new(seconds(1)).with(&[Fails(&reason::REFUSED)]).run();
    let outcome = outcome.await;
    let events = outcome.capture.events("timed_out");
    assert_eq!(events[0].field("hint"), OWN_HINT);
    let outcome = Play::new(seconds(1)).with(&[Fails(&reason::CLOSED)]).run();
    let outcome = outcome.await;
    let events = outcome.capture.events("timed_out");
    assert_eq!(events[0].field("hint"), reason::CLOSED.hint);
}

#[tokio::test(start_paused = true)]
async fn where_waiting_hardly_helps_the_first_line_is_an_error() {
    let outcome = Play::new(seconds(5)).with(&[Fails(&reason::ACCESS_DENIED)]);
    let outcome = outcome.run().await;
    let events = outcome.capture.events("not_ready");
    assert_eq!(events[0].level, Level::ERROR);
    assert!(events.len() > 3);
    assert!(events[1..].iter().all(|event| event.level == Level::DEBUG));
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_logged_once_for_each_target() {
    let play = Play::new(seconds(1)).with(&[Warns]);
    let outcome = play.with(&[Warns]).run().await;
    let warnings = outcome.capture.events("notice");
    let warnings = warnings.iter().filter(|event| event.level == Level::WARN);
    let mut warnings: Vec<_> = warnings
        .map(|event| event.field("message").to_owned())
        .collect();
    warnings.sort();
    assert_eq!(
        warnings,
        ["toy-1: the paint is wet", "toy-2: the paint is wet"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_beside_a_hanging_connection_is_ever_rarer() {
    let timing = Timing {
        timeout: Some(Duration::from_secs(300)),
        ..Timing::default()
    };
    let outcome = Play::new(timing).with(&[Hangs]).run().await;
    let paces: Vec<_> = outcome.tried[0].iter().map(|one| one.pace).collect();
    assert_eq!(paces[0], Overlap::SHORTEST_PACE);
    assert!(
        paces.is_sorted() && paces.last() == Some(&Duration::from_secs(1)),
        "{paces:?}"
    );
    for one in &outcome.tried[0] {
        assert_eq!(one.pace, schedule::pace(None, one.at));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_after_the_connect_timeout_is_ready_then() {
    let outcome = Play::new(Timing::default()).with(&[TalksFor(7_000), TalksAndHangs]);
    let outcome = outcome.run().await;
    // The second one is given the time of a login to end.
    outcome.is_ready().took(7_100);
    assert_eq!(outcome.times(), [0, 5_000]);
    let events = outcome.capture.events("ready");
    assert_eq!(events[0].number("attempts"), 2);
}

#[tokio::test(start_paused = true)]
async fn beside_a_connection_that_is_not_answered_there_is_one_other() {
    let timing = seconds(200);
    let outcome = Play::new(timing).with(&[TalksAndHangs]).run().await;
    outcome.is_not_ready().took(200_100);
    // The second is replaced after 30 s, then after 60 s; it is looked at every 5 s.
    assert_eq!(outcome.times(), [0, 5_000, 35_000, 95_000]);
    assert_eq!(outcome.most, 2);
    let events = outcome.capture.events("not_ready");
    let lines = events.iter().filter(|event| event.level == Level::INFO);
    assert!((15..=21).contains(&lines.count()), "{events:?}");
    outcome.ends_with(&reason::TIMED_OUT, "no answer for 200.0 s while playing", 4);
}

#[tokio::test(start_paused = true)]
async fn the_first_of_two_to_end_decides() {
    let script = [TalksAndHangs, Fails(&reason::SHUTTING_DOWN), TalksFor(100)];
    let outcome = Play::new(Timing::default()).with(&script).run().await;
    outcome.is_ready();
    assert!(
        (6_000..=6_900).contains(&outcome.took.as_millis()),
        "{:?}",
        outcome.took
    );
    assert_eq!(outcome.most, 2);
    let events = outcome.capture.events("not_ready");
    let reasons: Vec<_> = events.iter().map(|event| event.field("reason")).collect();
    assert_eq!(reasons, ["timed_out", "timed_out", "shutting_down"]);
}

#[tokio::test(start_paused = true)]
async fn a_statement_is_never_repeated_while_it_runs() {
    let timing = seconds(60);
    let outcome = Play::new(timing).with(&[WorksFor(40_000)]).run().await;
    outcome.is_ready().took(40_000);
    assert_eq!(outcome.times(), [0]);
    // Not even where a second connection was made before the statement began.
    let script = [TalksAndHangs, WorksFor(20_000), Ready];
    let outcome = Play::new(timing).with(&script).run().await;
    outcome.is_ready().took(25_100);
    assert_eq!(outcome.times(), [0, 5_000]);
    // Nor when that connection would be replaced, or the other is lost meanwhile.
    let script = [TalksAndHangs, WorksFor(50_000), Ready];
    let outcome = Play::new(timing).with(&script).run().await;
    outcome.is_ready().took(55_100);
    assert_eq!(outcome.times(), [0, 5_000]);
    let lost = TalksAndFailsIn(9_000, &reason::CLOSED);
    let script = [lost, WorksFor(20_000), Ready];
    let outcome = Play::new(timing).with(&script).run().await;
    outcome.is_ready().took(25_000);
    assert_eq!(outcome.times(), [0, 5_000]);
}

#[tokio::test(start_paused = true)]
async fn a_statement_is_cancelled_at_the_deadline() {
    let outcome = Play::new(seconds(3)).with(&[WorksUntilStopped(50)]).run();
    let outcome = outcome.await;
    outcome.is_not_ready().took(3_050);
    outcome.ends_with(&reason::TIMED_OUT, "no answer for 3.0 s while working", 1);
    // A server that does not answer that either is not waited for.
    let outcome = Play::new(seconds(3))
        .with(&[WorksUntilStopped(9_000)])
        .run();
    outcome.await.is_not_ready().took(3_500);
}

#[tokio::test(start_paused = true)]
async fn a_login_under_way_at_the_deadline_may_end_properly() {
    let outcome = Play::new(seconds(3)).with(&[TalksFor(3_050)]).run().await;
    outcome.is_ready().took(3_050);
    let outcome = Play::new(seconds(3)).with(&[TalksFor(3_200)]).run().await;
    outcome.is_not_ready().took(3_100);
    outcome.ends_with(&reason::TIMED_OUT, "no answer for 3.0 s", 1);
}

#[tokio::test(start_paused = true)]
async fn no_login_is_begun_that_could_not_be_finished() {
    let script = [TalksAndFailsIn(400, &reason::NOT_SERVING)];
    let outcome = Play::new(seconds(3)).with(&script).run().await;
    outcome.is_not_ready().took(3_000);
    let last = *outcome.times().last().expect("an attempt");
    assert!((2_000..=2_600).contains(&last), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_wait_at_once_and_without_lines() {
    let play = Play::new(Timing::default()).with(&[Hangs]);
    let play = play
        .with(&[Fails(&reason::ACCESS_DENIED)])
        .with(&[WorksUntilStopped(30)]);
    let stop = play.stop.clone();
    let signal = async {
        sleep(Duration::from_millis(1_500)).await;
        stop.stop_by_signal();
    };
    let (outcome, ()) = tokio::join!(play.run(), signal);
    outcome.is_not_ready().took(1_530);
    let events = outcome.capture.events("timed_out");
    assert!(events.is_empty(), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_line_keeps_what_the_server_had_decided() {
    let script = [Fails(&reason::ACCESS_DENIED), TalksAndHangs];
    let outcome = Play::new(seconds(20)).with(&script).run().await;
    outcome.is_not_ready();
    let events = outcome.capture.events("timed_out");
    assert_eq!(events[0].field("reason"), "access_denied");
    // No server has decided before: the last attempt counts.
    let script = [Fails(&reason::REFUSED), TalksAndHangs];
    let outcome = Play::new(seconds(20)).with(&script).run().await;
    let events = outcome.capture.events("timed_out");
    assert_eq!(events[0].field("reason"), "timed_out");
}

/// In real time: it passes while something is done.
#[tokio::test]
async fn a_flood_holds_up_neither_the_deadline_nor_another_target() {
    let timing = Timing {
        timeout: Some(Duration::from_millis(1_200)),
        ..Timing::default()
    };
    let play = Play::new(timing).with(&[Floods]).with(&[ReadyIn(100)]);
    let outcome = play.run().await;
    outcome.is_not_ready();
    assert!(outcome.took < Duration::from_secs(4), "{:?}", outcome.took);
    outcome.ends_with(&reason::TIMED_OUT, "while playing", 1);
    assert_eq!(outcome.capture.events("ready").len(), 1);
}
