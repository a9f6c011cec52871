//! The fault matrix: whatever is wrong with the world, `wait` ends in time, with the status that is
//! promised, and says what it is. A row is a fault, what is waited for, and what is promised.
//!
//! Faults of a whole system have one of their own: a network and mount namespace for the thread of the test.

mod clocks;
mod conversations;
mod handshakes;
mod names;
mod networks;
mod people;
mod systems;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::support::{Outcome, Wait, wait, wait_from_a_shell};
use crate::world;

/// The deadline of a wait that will not be ready.
const DEADLINE: &str = "1500ms";

type Fault<'a> = (&'a str, &'a (dyn Fn() + Sync));

/// Runs every fault and reports all that did not go as promised.
fn side_by_side(faults: &[Fault]) {
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(|| one_by_one(&[*fault]));
        }
    });
}

/// Like `side_by_side`, for faults that are of the whole world.
fn one_by_one(faults: &[Fault]) {
    let broken: Vec<&str> = faults
        .iter()
        .filter(|(name, check)| {
            println!("fault: {name}");
            catch_unwind(AssertUnwindSafe(check)).is_err()
        })
        .map(|(name, _)| *name)
        .collect();
    assert!(broken.is_empty(), "not as promised: {broken:?}");
}

/// In namespaces that end with the test.
pub fn in_a_world(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root");
        world::run("mount --make-rprivate /");
        world::prepare();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A rule of the firewall, in force until this is dropped.
struct Rule(String);

impl Rule {
    fn new(rule: String) -> Self {
        world::run(&format!("iptables -I {rule}"));
        Self(rule)
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        world::run(&format!("iptables -D {}", self.0));
    }
}

/// For what is not ready at the deadline.
fn waiting_for(target: impl AsRef<str>) -> Wait {
    wait()
        .var("WAIT_HOSTS", target.as_ref())
        .var("WAIT_TIMEOUT", DEADLINE)
        .args(["echo", "started"])
}

/// For what is ready in time, be the machine as busy as it may.
fn waiting_long_for(target: impl AsRef<str>) -> Wait {
    waiting_for(target).var("WAIT_TIMEOUT", "30")
}

/// Not ready at the deadline, for this reason.
#[track_caller]
fn gives_up(outcome: &Outcome, reason: &str) {
    outcome.exits(1).took_from_to(1.5, 4.0);
    outcome.says(&["error: ", &format!(": {reason}: ")]);
    assert_eq!(outcome.stdout, "");
}

/// Not ready at the deadline, for this reason, and this is what was seen of it.
#[track_caller]
fn gives_up_as(outcome: &Outcome, reason: &str, detail: &str) {
    gives_up(outcome, reason);
    outcome.says(&["error: ", &format!(": {reason}: "), detail]);
}

/// Ready, and not before these seconds.
#[track_caller]
fn starts(outcome: &Outcome, after: f64) {
    starts_within(outcome, after, after + 4.0);
}

#[track_caller]
fn starts_within(outcome: &Outcome, after: f64, before: f64) {
    outcome.exits(0).took_from_to(after, before);
    assert_eq!(outcome.stdout, "started\n");
}

/// Runs `wait` from a shell that first does something to itself.
fn from_a_shell(before: &str, args: &[&str]) -> Outcome {
    wait_from_a_shell(before).args(args).run()
}
