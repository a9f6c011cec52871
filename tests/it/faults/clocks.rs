//! Clocks that are set while `wait` looks at them, and some that were never set.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::handshakes::be_healthy;
use super::*;
use crate::fixtures::ports::Port;
use crate::fixtures::tls::{Authority, secured, tls};
use crate::support::Wait;

/// Shifts the time of day, back and forth if SWINGS is set, and leaves the other clocks alone.
const SHIM: &str = r#"
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int sign = 1;
    int result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += sign * atoll(getenv("SHIFT"));
    if (clock == CLOCK_REALTIME && getenv("SWINGS")) sign = -sign;
    return result;
}
"#;

fn compiled(folder: &Path) -> PathBuf {
    let (source, shim) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SHIM).expect("written");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&shim, &source])
        .status();
    assert!(status.expect("a compiler").success());
    shim
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock of this machine is set").as_secs() as i64
}

/// The distance of the timestamps of a log from the time of day, in seconds.
fn shifts(log: &str) -> Vec<i64> {
    let shift = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let time = line["timestamp"].as_str().expect("a timestamp");
        // Unlike our libraries, it reads dates before 1970.
        let date = Command::new("date")
            .args(["--utc", "+%s", "--date", time])
            .output();
        let seconds = String::from_utf8(date.expect("date").stdout).expect("UTF-8");
        let seconds: i64 = seconds.trim().parse().expect(time);
        seconds - now()
    };
    log.lines().map(shift).collect()
}

#[test]
#[ignore = "needs a C compiler"]
fn clocks_that_are_not_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let shim = compiled(folder.path());
    let certified = Authority::new().certify(&["127.0.0.1"]);
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &certified.authority).expect("written");
    let secure = format!("https://{}", secured(&tls(&certified), be_healthy));

    let under = |wait: Wait, shift: &str, swings: &str| {
        let wait = wait.var("LD_PRELOAD", &shim).var("SHIFT", shift);
        let wait = match swings {
            "" => wait,
            swings => wait.var("SWINGS", swings),
        };
        wait.var("WAIT_LOG_FORMAT", "json")
    };
    // That the clock is wrong as it should be, and everything is said in order all the same.
    let is_wrong = |outcome: &Outcome, expected: &[i64]| {
        let shifts = shifts(&outcome.stderr);
        let is_near = |shift: &i64, expected: &i64| (shift - expected).abs() < 60;
        let is_expected = |shift: &i64| expected.iter().any(|e| is_near(shift, e));
        assert!(shifts.iter().all(is_expected), "{shifts:?} of {outcome:?}");
        let is_there = |e: &i64| shifts.iter().any(|shift| is_near(shift, e));
        assert!(expected.iter().all(is_there), "{shifts:?} of {outcome:?}");
        assert!(!outcome.stderr.contains("a bug in wait"), "{outcome:?}");
    };
    for (shift, swings, expected) in [
        ("3600", "yes", &[3_600, -3_600][..]),
        ("-4000000000", "", &[-4_000_000_000]),
    ] {
        println!("a clock that is wrong by {shift} s");
        let closed = Port::new();
        let outcome = under(waiting_for(closed.address.to_string()), shift, swings).run();
        outcome.exits(1).took_from_to(1.5, 4.0);
        is_wrong(&outcome, expected);

        let late = Port::new();
        let wait = waiting_long_for(late.address.to_string());
        let waiting = under(wait, shift, swings).start();
        thread::sleep(Duration::from_millis(500));
        late.open();
        let outcome = waiting.end();
        starts(&outcome, 0.5);
        is_wrong(&outcome, expected);
    }
    let with_tls = |wait: Wait| wait.var("WAIT_TLS_CA_FILE", &file);
    let outcome = under(with_tls(waiting_long_for(&secure)), "3600", "yes").run();
    starts(&outcome, 0.0);
    is_wrong(&outcome, &[3_600, -3_600]);

    let outcome = under(with_tls(waiting_for(&secure)), "-4000000000", "").run();
    outcome.exits(1).took_from_to(1.5, 4.0);
    outcome.says(&[
        r#""event":"timed_out""#,
        r#""reason":"tls_failed""#,
        "not valid yet",
    ]);
    is_wrong(&outcome, &[-4_000_000_000]);
}
