//! When the command starts, and when it does not.

use std::cell::RefCell;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use compose_wait::kinds::KINDS;
use compose_wait::net::{Names, Network};
use compose_wait::output::live::Live;
use compose_wait::probe::Stop;
use compose_wait::settings::Timing;
use compose_wait::targets::{Address, Defaults, Origin, Target};

use crate::fixtures::ports::{Port, Silent, speechless};
use crate::support::{two_hundred_that_never_answer, wait};

#[test]
fn the_command_starts_when_the_last_target_is_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    let (early, late) = (Port::opened(), Port::new());
    let mut running = wait()
        .var(
            "WAIT_HOSTS",
            format!("{},\n localhost:{}\n", early.address, late.number()),
        )
        .var("WAIT_PATHS", &file)
        .args(["sh", "-c", "echo started; exit 7"])
        .start();
    running.until(&["localhost:", "is not ready after", "refused"]);
    late.open();
    running.until(&["localhost:", "is ready after"]);
    std::fs::write(&file, "").expect("written");
    let outcome = running.end();
    outcome.exits(7).took_from_to(0.0, 5.0);
    assert_eq!(outcome.stdout, "started\n");
    outcome.says(&["waiting for 127.0.0.1:", "up to 30s"]);
    outcome.says(&["localhost:", "is not ready after", "refused"]);
    outcome.says(&["file is not ready after", "missing"]);
    outcome.says(&["localhost:", "is ready after"]);
    outcome.says(&["starting sh"]);
}

#[test]
fn without_a_command_the_status_is_the_result() {
    let port = Port::opened();
    let target = port.address.to_string();
    let ready = wait().args(["--for", &target]).run();
    assert_eq!(ready.exits(0).stdout, "");

    let outcome = wait()
        .args([
            "--for",
            &target,
            "--path",
            "/nonexistent",
            "--timeout",
            "500ms",
        ])
        .run();
    outcome.exits(1).took_from_to(0.5, 3.0);
    outcome.says(&["error: /nonexistent is not ready after", "missing"]);
    assert!(!outcome.stderr.contains(&format!("error: {target}")));
}

#[test]
fn a_dangling_link_is_not_there_and_a_link_to_something_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("file"), &link).expect("a link");
    let once = || {
        wait()
            .var("WAIT_TIMEOUT", "0")
            .var("WAIT_PATHS", &link)
            .run()
    };
    once().exits(1);
    std::fs::write(folder.path().join("file"), "").expect("written");
    once().exits(0);
}

#[test]
fn the_deadline_is_hard_for_every_silent_server() {
    let silent = Silent::new();
    let (silent, speechless) = (silent.address(), speechless());
    for (target, doing) in [
        (format!("{silent}"), "while connecting"),
        (format!("mysql://{silent}"), "while connecting"),
        (
            format!("mysql://app@{speechless}/shop"),
            "while waiting for the greeting",
        ),
    ] {
        let outcome = wait()
            .var("WAIT_HOSTS", &target)
            .var("WAIT_TIMEOUT", "1")
            .args(["echo", "started"])
            .run();
        outcome.exits(1).took_from_to(1.0, 3.0);
        outcome.says(&["error: ", "timed_out: no answer for ", doing]);
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn the_deadline_is_hard_for_two_hundred_too() {
    let silent = Silent::new();
    let targets = two_hundred_that_never_answer(silent.address(), speechless());
    let outcome = wait()
        .var("WAIT_HOSTS", &targets)
        .var("WAIT_TIMEOUT", "1")
        .run();
    outcome.exits(1).took_from_to(1.0, 3.0);
    let is_it = |line: &&str| line.starts_with("wait: error: ") && line.contains(" timed_out: ");
    assert_eq!(outcome.stderr.lines().filter(is_it).count(), 200);
}

#[tokio::test]
async fn the_deadline_is_hard_when_the_name_server_is_silent() {
    let name_server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut resolv_conf = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut resolv_conf, b"nameserver 127.0.0.1\n").expect("written");
    let network = Network {
        names: Names {
            resolv_conf: resolv_conf.path().into(),
            hosts: "/nonexistent".into(),
            port: name_server.local_addr().expect("bound").port(),
        },
        ..Network::default()
    };
    let timing = Timing {
        timeout: Some(Duration::from_secs(1)),
        ..Timing::default()
    };
    let targets = ["db:1", "mysql://db"].map(|text| {
        let address = Address::parse(text, KINDS, None, Origin::Ours).expect("an address");
        let defaults = Defaults {
            kind: address.kind,
            variable: &|_, _| Ok(None),
            file: &|_| Err(std::io::ErrorKind::NotFound.into()),
            notices: RefCell::default(),
        };
        Target::at(address, &defaults).expect("a target")
    });
    let start = Instant::now();
    let (live, stop) = (Live::default(), Stop::default());
    assert!(!compose_wait::wait::all(targets.into(), network, timing, false, live, &stop).await);
    let took = start.elapsed();
    assert!((1.0..3.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[test]
fn a_pause_without_end_ends_at_the_deadline() {
    let outcome = wait()
        .args(["--interval", "18446744073709551615", "--timeout", "500ms"])
        .args(["--path", "/nonexistent"])
        .run();
    outcome.exits(1).took_from_to(0.5, 3.0);
    outcome.says(&["error: /nonexistent is not ready after", "missing"]);
}

#[test]
fn one_attempt_each_is_all_that_a_timeout_of_zero_allows() {
    let silent = Silent::new();
    let outcome = wait()
        .var("WAIT_HOSTS", format!("{},127.0.0.1:1", silent.address()))
        .var("WAIT_PATHS", "/nonexistent,/")
        .var("WAIT_TIMEOUT", "0")
        .var("WAIT_HOST_CONNECT_TIMEOUT", "700ms")
        .run();
    outcome.exits(1).took_from_to(0.7, 3.0);
    outcome.says(&["error: 127.0.0.1:1 ", "1 attempt:"]);
    outcome.says(&["error: /nonexistent ", "1 attempt:"]);
    outcome.says(&["/ is ready after", "1 attempt"]);
    outcome.says(&["error: 127.0.0.1:", "no answer for ", " while connecting"]);
}

#[test]
fn the_pauses_before_and_after_are_outside_the_deadline() {
    let outcome = wait()
        .var("WAIT_PATHS", "/")
        .var("WAIT_TIMEOUT", "1")
        .var("WAIT_BEFORE", "600ms")
        .var("WAIT_AFTER_HOSTS", "600ms")
        .args(["echo", "started"])
        .run();
    outcome.exits(0).took_from_to(1.2, 4.0);
    outcome.says(&["pausing for 600ms before the first attempt"]);
    outcome.says(&["pausing for 600ms now that everything is ready"]);

    let outcome = wait()
        .var("WAIT_PATHS", "/nonexistent")
        .var("WAIT_TIMEOUT", "300ms")
        .var("WAIT_BEFORE_HOSTS", "600ms")
        .var("WAIT_AFTER", "20")
        .run();
    outcome.exits(1).took_from_to(0.9, 4.0);
}

#[test]
fn an_interval_is_the_pause_between_attempts() {
    let outcome = wait()
        .args([
            "--path",
            "/nonexistent",
            "--interval",
            "700ms",
            "--timeout",
            "1300ms",
        ])
        .run();
    // The second may be more than half a second late, and a third would be after the deadline.
    outcome.exits(1).says(&["error: ", "and 2 attempts:"]);
}

#[test]
fn no_interval_is_too_short_for_the_deadline() {
    let outcome = wait()
        .var("WAIT_PATHS", "/nonexistent")
        .var("WAIT_SLEEP_INTERVAL", "0")
        .var("WAIT_TIMEOUT", "1")
        .run();
    outcome.exits(1).took_from_to(1.0, 3.0);
}

#[test]
fn numbers_that_docker_compose_wait_ignored_do_not_keep_an_image_from_starting() {
    let outcome = wait()
        .var("WAIT_TIMEOUT", "abc")
        .var("WAIT_HOSTS_TIMEOUT", "3")
        .args(["echo", "started"])
        .run();
    assert_eq!(outcome.exits(0).stdout, "started\n");
    outcome.says(&["warning: WAIT_TIMEOUT: abc: ", "the default is used: 30s"]);
    outcome.says(&["warning: WAIT_HOSTS_TIMEOUT is deprecated"]);
}
