//! When to try again: pure functions.

use std::time::Duration;

use crate::probe::{Overlap, Retry};

/// The shortest pause that can be asked for: twice what the timer can tell apart.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// The shortest adaptive pause.
const SHORTEST_ADAPTIVE_PAUSE: Duration = Duration::from_millis(3);
/// About what an attempt and the start of the command take, so that all of it is 1 %.
const OVERHEAD: Duration = Duration::from_millis(7);
/// The shortest pause after a server has answered, so as not to load it.
const SHORTEST_POLITE_PAUSE: Duration = Duration::from_millis(100);
/// The longest adaptive pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long to pause after an attempt: exactly what the user said, or else in proportion to the time
/// waited.
///
/// A target that becomes ready is found by the next attempt, so it is found late by one pause and one
/// attempt at most. With pauses of a hundredth of the time waited that is no more than 1 % of the
/// wait, while the number of attempts grows with the logarithm of the time alone: some 105 in every
/// stretch that multiplies the time waited by e, and one a second in the end. `jitter`, from 0 to 1,
/// adds up, so that a hundred replicas do not connect in step; where a lag counts it only shortens.
///
/// | after | of the time waited | at least | at most | jitter |
/// | --- | --- | --- | --- | --- |
/// | [`Retry::Soon`] | 1 % | 3 ms | 1 s | up to 10 % less |
/// | [`Retry::Politely`] | 1 % | 100 ms | 1 s | up to 10 % less |
/// | [`Retry::BackOff`] | 20 % | 100 ms | 1 s | up to 50 % more |
pub(super) fn pause(
    interval: Option<Duration>,
    waited: Duration,
    retry: Retry,
    jitter: f64,
) -> Duration {
    let in_proportion = |shortest| {
        (waited / 100)
            .saturating_sub(OVERHEAD)
            .clamp(shortest, LONGEST_PAUSE)
            .mul_f64(1.0 - jitter / 10.0)
    };
    match (interval, retry) {
        (Some(interval), _) => interval.max(SHORTEST_PAUSE),
        (None, Retry::Soon) => in_proportion(SHORTEST_ADAPTIVE_PAUSE),
        (None, Retry::Politely) => in_proportion(SHORTEST_POLITE_PAUSE),
        (None, Retry::BackOff) => (waited / 5)
            .clamp(SHORTEST_POLITE_PAUSE, LONGEST_PAUSE)
            .mul_f64(1.0 + jitter / 2.0),
    }
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
        for (interval, waited, retry, least, most) in [
            (Some(ms(700)), 90_000, Retry::BackOff, 700, 700),
            (Some(ms(0)), 0, Retry::Soon, 2, 2),
            (None, 0, Retry::Soon, 2, 3),
            (None, 1_000, Retry::Soon, 2, 3),
            (None, 5_000, Retry::Soon, 38, 43),
            (None, 2_000_000, Retry::Soon, 900, 1_000),
            (None, 0, Retry::Politely, 90, 100),
            (None, 50_000, Retry::Politely, 443, 493),
            (None, 0, Retry::BackOff, 100, 150),
            (None, 2_000, Retry::BackOff, 400, 600),
            (None, 60_000, Retry::BackOff, 1_000, 1_500),
        ] {
            let pause = |jitter| pause(interval, ms(waited), retry, jitter);
            let mut ends = [pause(0.0), pause(1.0)];
            ends.sort();
            let ends = ends.map(|end| end.as_millis() as u64);
            assert_eq!(ends, [least, most], "after {waited} ms");
        }
    }
}
