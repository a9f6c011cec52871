//! When to try again: pure functions.

use std::time::Duration;

use crate::probe::{Overlap, Retry};

/// The shortest interval: two ticks of the timer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// The shortest adaptive pause.
const SHORTEST_ADAPTIVE_PAUSE: Duration = Duration::from_millis(3);
/// About what an attempt and the start of the command take, so that all of it is 1 %.
const OVERHEAD: Duration = Duration::from_millis(7);
/// The shortest pause after a server has said that it starts, which is soon over.
const SHORTEST_PAUSE_OF_STARTS: Duration = Duration::from_millis(40);
/// The shortest pause after a server has answered, so as not to load it.
const SHORTEST_POLITE_PAUSE: Duration = Duration::from_millis(100);
/// The longest adaptive pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a failure that servers count.
const LONGEST_RARE_PAUSE: Duration = Duration::from_secs(10);

/// How often attempts are made.
///
/// A target that becomes ready is found by the next attempt, so it is found late by one pause and one
/// attempt at most. With pauses of a hundredth of the time waited that is no more than 1 % of the
/// wait, while the number of attempts grows with the logarithm of the time alone: some 105 in every
/// stretch that multiplies the time waited by e, and one a second in the end. `jitter`, from 0 to 1,
/// adds up, so that a hundred replicas do not connect in step; where a lag counts it is small.
///
/// | after | pause | at least | at most | jitter |
/// | --- | --- | --- | --- | --- |
/// | [`Retry::Soon`] | 1 % of the time waited | 3 ms | 1 s | up to 10 % less |
/// | [`Retry::Shortly`] | 1 % of the time waited | 40 ms | 1 s | up to 5 % more |
/// | [`Retry::Politely`] | 1 % of the time waited | 100 ms | 1 s | up to 5 % more |
/// | [`Retry::BackOff`] | 20 % of the time waited | 100 ms | 1 s | up to 50 % more |
/// | [`Retry::Denied`] | 100 ms once, then 1 s | 100 ms | 1 s | up to 50 % more |
/// | [`Retry::Rarely`] | 100 ms, then twice the one before | 100 ms | 10 s | up to 10 % more |
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The last kind of failure, and how often in a row it has come.
    last: Option<(Retry, u32)>,
}

impl Pace {
    /// How long to pause after an attempt: exactly the interval, or else by the last failure.
    pub(super) fn pause(
        &mut self,
        interval: Option<Duration>,
        waited: Duration,
        retry: Retry,
        jitter: f64,
    ) -> Duration {
        let times = match self.last {
            Some((last, times)) if last == retry => times + 1,
            _ => 0,
        };
        self.last = Some((retry, times));
        if let Some(interval) = interval {
            return interval.max(SHORTEST_PAUSE);
        }
        let one_percent = (waited / 100).saturating_sub(OVERHEAD);
        let fifth = (waited / 5).clamp(SHORTEST_POLITE_PAUSE, LONGEST_PAUSE);
        match retry {
            Retry::Soon => one_percent
                .clamp(SHORTEST_ADAPTIVE_PAUSE, LONGEST_PAUSE)
                .mul_f64(1.0 - jitter / 10.0),
            Retry::Shortly => one_percent
                .clamp(SHORTEST_PAUSE_OF_STARTS, LONGEST_PAUSE)
                .mul_f64(1.0 + jitter / 20.0),
            Retry::Politely => one_percent
                .clamp(SHORTEST_POLITE_PAUSE, LONGEST_PAUSE)
                .mul_f64(1.0 + jitter / 20.0),
            Retry::BackOff => fifth.mul_f64(1.0 + jitter / 2.0),
            Retry::Denied if times == 0 => SHORTEST_POLITE_PAUSE.mul_f64(1.0 + jitter / 2.0),
            Retry::Denied => LONGEST_PAUSE.mul_f64(1.0 + jitter / 2.0),
            Retry::Rarely => (SHORTEST_POLITE_PAUSE * 2_u32.pow(times.min(10)))
                .min(LONGEST_RARE_PAUSE)
                .mul_f64(1.0 + jitter / 10.0),
        }
    }
}

/// The pause where the server asks for one, `left` before the deadline. If it asks for more than is left,
/// the last attempt comes when there is just enough time for one, `room`: the wait would end anyway, so
/// that it costs the server one request, and it may be the one that succeeds. After it there is none.
pub(super) fn as_asked(
    pause: Duration,
    asked: Duration,
    left: Option<Duration>,
    room: Duration,
) -> Option<Duration> {
    let asked = match left {
        Some(left) if asked >= left => left.checked_sub(room)?,
        _ => asked,
    };
    Some(pause.max(asked))
}

/// How long an attempt may hear nothing before another connection is begun beside it.
pub(super) fn pace(interval: Option<Duration>, waited: Duration) -> Duration {
    match interval {
        Some(interval) => interval.max(Overlap::SHORTEST_PACE),
        None => (waited / 100).clamp(Overlap::SHORTEST_PACE, LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_pause_is_the_interval_or_grows_with_the_time_waited() {
        for (interval, waited, retry, times, least, most) in [
            (Some(ms(700)), 90_000, Retry::BackOff, 1, 700, 700),
            (Some(ms(0)), 0, Retry::Soon, 1, 2, 2),
            (None, 0, Retry::Soon, 1, 2, 3),
            (None, 1_000, Retry::Soon, 1, 2, 3),
            (None, 5_000, Retry::Soon, 1, 38, 43),
            (None, 2_000_000, Retry::Soon, 1, 900, 1_000),
            (None, 0, Retry::Shortly, 1, 40, 42),
            (None, 50_000, Retry::Shortly, 9, 493, 517),
            (None, 0, Retry::Politely, 1, 100, 105),
            (None, 50_000, Retry::Politely, 1, 493, 517),
            (None, 0, Retry::BackOff, 1, 100, 150),
            (None, 2_000, Retry::BackOff, 1, 400, 600),
            (None, 60_000, Retry::BackOff, 9, 1_000, 1_500),
            (None, 60_000, Retry::Denied, 1, 100, 150),
            (None, 0, Retry::Denied, 2, 1_000, 1_500),
            (None, 0, Retry::Rarely, 1, 100, 110),
            (None, 0, Retry::Rarely, 4, 800, 880),
            (None, 0, Retry::Rarely, 100, 10_000, 11_000),
        ] {
            let pause = |jitter| {
                let mut pace = Pace::default();
                let pauses = (0..times).map(|_| pace.pause(interval, ms(waited), retry, jitter));
                pauses.last().expect("at least one")
            };
            let mut ends = [pause(0.0), pause(1.0)];
            ends.sort();
            let ends = ends.map(|end| end.as_millis() as u64);
            assert_eq!(ends, [least, most], "{retry:?} {times} after {waited} ms");
        }
    }

    #[test]
    fn a_server_may_ask_for_a_longer_pause_but_for_the_last_attempt() {
        for (pause, asked, left, expected) in [
            (100, 0, Some(9_000), Some(100)),
            (100, 3_000, Some(9_000), Some(3_000)),
            (100, 3_000, None, Some(3_000)),
            (100, 9_000, Some(9_000), Some(8_500)),
            (100, 60_000, Some(9_000), Some(8_500)),
            (100, 60_000, Some(550), Some(100)),
            (100, 60_000, Some(499), None),
            (100, 60_000, Some(0), None),
            (100, 300, Some(499), Some(300)),
        ] {
            let found = as_asked(ms(pause), ms(asked), left.map(ms), ms(500));
            assert_eq!(found, expected.map(ms), "{asked} of {left:?}");
        }
    }

    #[test]
    fn another_failure_begins_anew() {
        let mut pace = Pace::default();
        let mut pause = |retry| pace.pause(None, ms(0), retry, 0.0);
        assert_eq!(
            [pause(Retry::Denied), pause(Retry::Denied)],
            [ms(100), ms(1_000)]
        );
        assert_eq!([pause(Retry::Soon), pause(Retry::Denied)], [ms(3), ms(100)]);
    }
}
