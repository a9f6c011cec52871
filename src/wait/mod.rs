//! The waiting: a loop for every target, all under one deadline.
#![forbid(unsafe_code)]

mod one;
mod schedule;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::net::Network;
use crate::output::live::Live;
use crate::output::report::Reporter;
use crate::probe::{Overlap, Stop};
use crate::process::sys;
use crate::settings::Timing;
use crate::targets::Target;
use one::Wait;

/// Waits until all targets are ready or the deadline has passed, and reports as it goes. Of a check
/// only the first failure is reported, and nothing once a signal ends the wait. Returns whether all are
/// ready.
pub async fn all(
    targets: Vec<Target>,
    network: Network,
    timing: Timing,
    is_check: bool,
    live: Live,
    stop: &Stop,
) -> bool {
    let start = Instant::now();
    // A deadline too far away for the clock is as good as none.
    let deadline = timing.timeout.and_then(|after| start.checked_add(after));
    let network = Arc::new(network);
    let descriptors = sys::free_descriptors() / targets.len().max(1);
    let mut waits: JoinSet<Result<(), Reporter>> = targets
        .into_iter()
        .map(|target| {
            let connect_timeout = target.common.connect_timeout;
            let wait = Wait {
                reporter: Reporter::new(&target, start, &live),
                target: Arc::new(target),
                network: Arc::clone(&network),
                overlap: Overlap::new(descriptors),
                timing: Timing {
                    connect_timeout: connect_timeout.unwrap_or(timing.connect_timeout),
                    ..timing
                },
                start,
                signal: stop.clone(),
                // One of its own: a target that has an end of its own ends no other.
                stop: Stop::default().with_deadline(deadline),
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
            Ok(Some(_)) if stop.is_by_signal() => {}
            Ok(Some(Ok(Err(mut reporter)))) if !is_check => {
                reporter.timed_out();
                if reporter.is_optional() {
                    continue;
                }
            }
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

#[cfg(test)]
mod tests;
