//! The log. Text that is never printed is in `secrets.rs`.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
#[cfg(target_os = "linux")]
use nix::pty::{Winsize, openpty};

use crate::fixtures::mysql::packet;
use crate::fixtures::ports::{Port, listen_to, serve};
use crate::fixtures::{http, mysql};
use crate::support::{Outcome, WAIT, wait, with_path_alone};

fn events(outcome: &Outcome) -> Vec<serde_json::Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    outcome.stderr.lines().map(parse).collect()
}

#[test]
fn json_is_an_object_a_line() {
    let port = Port::opened();
    let ready = port.address.to_string();
    let outcome = wait()
        .var("WAIT_LOG_FORMAT", "json")
        .var("WAIT_HOSTS", &ready)
        .var("WAIT_PATHS", "/nonexistent")
        .var("WAIT_HOSTS_TIMEOUT", "500ms")
        .run();
    let events = events(outcome.exits(1));
    for event in &events {
        let time = event["timestamp"].as_str().expect("a time");
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
        assert!(event["level"].is_string() && event["message"].is_string());
    }
    let is = |event: &str, target: Option<&str>| {
        let found = |e: &&serde_json::Value| e["event"] == event && e["target"].as_str() == target;
        events
            .iter()
            .find(found)
            .unwrap_or_else(|| panic!("no {event} in {events:?}"))
    };
    is("notice", None);
    is("waiting", None);
    assert_eq!(is("ready", Some(&ready))["attempts"], 1);
    let not_ready = is("not_ready", Some("/nonexistent"));
    assert_eq!(not_ready["reason"], "missing");
    assert!(not_ready["elapsed_ms"].is_u64() && not_ready["attempts"] == 1);
    let timed_out = is("timed_out", Some("/nonexistent"));
    assert_eq!(
        (&timed_out["reason"], &timed_out["level"]),
        (&"missing".into(), &"ERROR".into())
    );
    assert!(timed_out["elapsed_ms"].as_u64() >= Some(500));

    let outcome = wait().args(["--log-format=json", "--path=/", "true"]).run();
    let names: Vec<_> = self::events(&outcome)
        .into_iter()
        .map(|event| event["event"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(names, ["waiting", "ready", "starting"]);
}

#[test]
fn a_reason_is_logged_when_it_changes_and_not_for_every_attempt() {
    let outcome = wait()
        .args(["--path", "/nonexistent", "--timeout", "1"])
        .run();
    let lines = outcome
        .stderr
        .lines()
        .filter(|line| line.contains("is not ready"));
    assert_eq!(lines.count(), 2, "{outcome:?}"); // the first time, and at the end
}

#[test]
fn a_level_is_the_least_important_that_is_printed() {
    let lines = |level: &str| {
        let outcome = wait()
            .var("WAIT_LOGGER_LEVEL", level)
            .var("WAIT_PATHS", "/nonexistent")
            .var("WAIT_HOSTS_TIMEOUT", "100ms")
            .run();
        outcome.exits(1);
        assert_eq!(outcome.stdout, "");
        outcome.stderr.lines().count()
    };
    assert_eq!(
        [lines("off"), lines("error"), lines("warn"), lines("info")],
        [0, 1, 2, 4]
    );
    assert!(lines("debug") > 4);
    // Nothing at all is also nothing about settings.
    let outcome = wait()
        .var("WAIT_LOGGER_LEVEL", "off")
        .var("WAIT_HOSTS", "db")
        .run();
    assert_eq!(outcome.exits(2).stderr, "");
}

/// Runs `wait` to its end with this standard error, and a lot to say.
fn run_with_stderr(stderr: impl Into<Stdio>) -> (Option<i32>, Duration) {
    let start = Instant::now();
    let status = with_path_alone(WAIT)
        .args([
            "--path",
            "/nonexistent",
            "--timeout",
            "1",
            "--log-level",
            "debug",
        ])
        .stderr(stderr)
        .status()
        .expect("wait starts");
    (status.code(), start.elapsed())
}

#[test]
fn a_log_that_is_not_read_does_not_hold_up_the_deadline() {
    let (_reader, mut writer) = std::io::pipe().expect("a pipe");
    let full = writer.try_clone().expect("a descriptor");
    std::thread::spawn(move || while writer.write(&[0; 4096]).is_ok() {});
    std::thread::sleep(Duration::from_millis(200)); // it is full, and its writer stuck
    let (code, took) = run_with_stderr(full);
    assert_eq!(code, Some(1));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_on_a_full_disk_is_lost_and_nothing_else() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("a device");
    assert_eq!(run_with_stderr(full).0, Some(1));
}

/// Runs `wait` with a terminal of 100 columns as its standard error, and returns what is drawn there
/// if `read` says that it is read.
#[cfg(target_os = "linux")]
pub fn at_a_terminal(args: &[&str], vars: &[(&str, &str)], read: bool) -> (Outcome, String) {
    at_a_terminal_of((24, 100), args, vars, read)
}

#[cfg(target_os = "linux")]
fn at_a_terminal_of(
    (rows, columns): (u16, u16),
    args: &[&str],
    vars: &[(&str, &str)],
    read: bool,
) -> (Outcome, String) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(&size, None).expect("a terminal");
    // What other tests start beside this is not to have it.
    for end in [&terminal.master, &terminal.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a flag");
    }
    let start = Instant::now();
    let mut child = with_path_alone(WAIT)
        .args(args)
        .envs(vars.iter().copied())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(terminal.slave)
        .spawn()
        .expect("it starts");
    let mut drawn = Vec::new();
    let mut master = std::fs::File::from(terminal.master);
    if read {
        // Once the other side is closed, reading is an error; the text until then stays.
        let _ = master.read_to_end(&mut drawn);
    }
    let status = child.wait().expect("a status");
    let outcome = Outcome {
        status,
        code: status.code(),
        stdout: String::new(),
        stderr: String::new(),
        took: start.elapsed(),
    };
    (outcome, String::from_utf8_lossy(&drawn).into_owned())
}

#[test]
#[cfg(target_os = "linux")]
fn at_a_terminal_lines_change_in_place() {
    let args = ["--for=127.0.0.1:1", "--path=/nonexistent", "--timeout=1"];
    let (outcome, drawn) = at_a_terminal(&args, &[], true);
    outcome.exits(1);
    let in_place = "127.0.0.1:1   0s refused: Connection refused";
    assert!(drawn.contains(in_place), "{drawn:?}");
    assert!(drawn.contains("\x1b["), "{drawn:?}");
    assert!(
        !drawn.contains("127.0.0.1:1 is not ready after 0"),
        "{drawn:?}"
    );
    // What stays is the end, each on a line of its own.
    for target in ["127.0.0.1:1", "/nonexistent"] {
        let stays = format!("\x1b[2Kwait: error: {target} is not ready after 1.");
        assert!(drawn.contains(&stays), "{drawn:?}");
    }
    assert!(drawn.len() < 10_000, "{} bytes", drawn.len());

    for var in [("NO_COLOR", "1"), ("WAIT_LOG_FORMAT", "json")] {
        let (_, drawn) = at_a_terminal(&args, &[var], true);
        assert!(
            !drawn.contains('\x1b') && drawn.contains("is not ready after"),
            "{drawn:?}"
        );
    }
    // All is ready at once: nothing to draw.
    let (outcome, drawn) = at_a_terminal(&["--path=/"], &[], true);
    outcome.exits(0);
    assert!(!drawn.contains('\x1b'), "{drawn:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_stands_still_does_not_hold_up_the_deadline() {
    let targets: Vec<_> = (1..40)
        .map(|port| format!("--for=127.0.0.1:{port}"))
        .collect();
    let mut args: Vec<&str> = targets.iter().map(String::as_str).collect();
    args.push("--timeout=3");
    let (outcome, _) = at_a_terminal(&args, &[], false);
    outcome.exits(1).took_from_to(3.0, 9.0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_without_a_size_gets_plain_lines() {
    let args = ["--path=/nonexistent", "--timeout=500ms"];
    for size in [(0, 0), (0, 100), (24, 0)] {
        let (outcome, drawn) = at_a_terminal_of(size, &args, &[], true);
        outcome.exits(1);
        assert!(!drawn.contains('\x1b'), "{size:?}: {drawn:?}");
        let first = "wait: /nonexistent is not ready after";
        let last = "wait: error: /nonexistent is not ready after";
        assert!(drawn.contains(first) && drawn.contains(last), "{drawn:?}");
    }
}

/// A wait for a target of every kind, none of which is ready.
fn failing(vars: &[(&str, &str)]) -> Outcome {
    let refused = Port::new().address;
    let (denying, _) = mysql::start(mysql::Account {
        user: "app",
        password: "secret",
        database: "shop",
    });
    let (ill, _requests) = http::service(http::status("503 Service Unavailable"));
    let hosts = format!("{refused},http://{ill},mysql://app:wrong@{denying}/shop");
    let hosts = hosts.replace("http://", "http://127.0.0.1:");
    let wait = wait()
        .var("WAIT_HOSTS", hosts)
        .var("WAIT_PATHS", "/nonexistent")
        .var("WAIT_TIMEOUT", "500ms")
        .var("WAIT_AFTER_HOSTS", "0");
    let vars = vars.iter();
    let outcome = vars
        .fold(wait, |wait, (name, value)| wait.var(name, value))
        .run();
    outcome.exits(1);
    outcome
}

#[test]
fn no_data_structure_of_the_program_is_in_the_log() {
    for level in ["debug", "trace"] {
        for format in ["text", "json"] {
            let outcome = failing(&[("WAIT_LOGGER_LEVEL", level), ("WAIT_LOG_FORMAT", format)]);
            let log = &outcome.stderr;
            let is_debug = log.contains("wait: debug: ") || log.contains("\"level\":\"DEBUG\"");
            assert!(is_debug, "{log}");
            for part in [" { ", " }", "Some(", "None", "Ok(", "Err(", "::"] {
                assert!(!log.contains(part), "{part} in {log}");
            }
        }
    }
}

#[test]
fn json_has_the_severity_the_kind_and_the_servers_code() {
    let outcome = failing(&[("WAIT_LOGGER_LEVEL", "debug"), ("WAIT_LOG_FORMAT", "json")]);
    let events = events(&outcome);
    for event in &events {
        let severity = match event["level"].as_str() {
            Some("ERROR") => "ERROR",
            Some("WARN") => "WARNING",
            Some("INFO") => "INFO",
            _ => "DEBUG",
        };
        assert_eq!(event["severity"], severity, "{event}");
        let is_about_target = event["target"].is_string();
        assert_eq!(event["kind"].is_string(), is_about_target, "{event}");
    }
    let severities = |event: &serde_json::Value| event["severity"].clone();
    for severity in ["ERROR", "WARNING", "INFO", "DEBUG"] {
        assert!(events.iter().map(severities).any(|found| found == severity));
    }
    for (kind, reason, code) in [
        ("tcp", "refused", None),
        ("file", "missing", None),
        ("http", "http_status", Some("503")),
        ("mysql", "access_denied", Some("1698")),
    ] {
        for name in ["not_ready", "timed_out"] {
            let is_it =
                |event: &&serde_json::Value| event["event"] == name && event["kind"] == kind;
            let event = events.iter().find(is_it).expect(kind);
            assert_eq!(event["reason"], reason, "{event}");
            assert_eq!(event["code"].as_str(), code, "{event}");
        }
    }
}

/// What would change a terminal, a line or its direction, and how it is written instead.
const MARKS: [(&str, &str); 8] = [
    ("\x1b[2J", r"\u{1b}[2J"),
    ("\x07", r"\u{7}"),
    ("\x7f", r"\u{7f}"),
    ("\u{9b}", r"\u{9b}"),
    ("\u{2028}", r"\u{2028}"),
    ("\u{200f}", r"\u{200f}"),
    ("\u{202e}", r"\u{202e}"),
    ("\u{2066}", r"\u{2066}"),
];

#[test]
fn marks_in_a_servers_words_are_escaped() {
    let words = MARKS.map(|(mark, _)| mark).join("a");
    let escaped = MARKS.map(|(_, escaped)| escaped).join("a");
    let message = [&b"\xff\x10\x04"[..], words.as_bytes()].concat(); // too many connections
    let server = serve(move |mut stream| {
        let _ = stream.write_all(&packet(0, &message));
        listen_to(stream);
    });
    let target = format!("mysql://{server}");
    let run = |format: &str| {
        wait()
            .args(["--for", &target, "--timeout=300ms", "--log-format", format])
            .run()
    };
    let is_mark = |c: char| c != '\n' && MARKS.iter().any(|(mark, _)| mark.starts_with(c));
    let text = run("text");
    text.says(&["wait: error: ", &escaped]);
    assert!(!text.stderr.contains(is_mark), "{text:?}");
    // In JSON the escapes are JSON's, so that a program reads what the server said.
    let json = run("json");
    assert!(!json.stderr.contains(is_mark), "{json:?}");
    let events = events(&json);
    let details = events.iter().filter_map(|event| event["detail"].as_str());
    assert!(
        details.clone().any(|detail| detail.contains(&words)),
        "{json:?}"
    );
}

#[test]
fn a_signal_that_ends_the_wait_is_in_the_log() {
    for (signal, name) in [(15, "SIGTERM"), (2, "SIGINT"), (1, "SIGHUP")] {
        for init in ["always", "never"] {
            let mut waiting = wait()
                .var("WAIT_INIT", init)
                .args(["--path=/nonexistent", "echo", "started"])
                .start();
            waiting.until(&["/nonexistent is not ready"]);
            waiting.kill(signal);
            let outcome = waiting.end();
            ends_by(&outcome, signal, init);
            let last = outcome.stderr.lines().last();
            let line = format!("wait: warning: ended by {name} while waiting");
            assert_eq!(last, Some(&*line), "{outcome:?}");
        }
    }
    let json = ["--log-format=json", "--path=/nonexistent"];
    let mut waiting = wait().args(json).start();
    waiting.until(&["not_ready"]);
    waiting.kill(15);
    let outcome = waiting.end();
    ends_by(&outcome, 15, "auto");
    let events = events(&outcome);
    let last = events.last().expect("an event");
    assert_eq!(last["message"], "ended by SIGTERM while waiting");
    assert_eq!(
        (&last["event"], &last["severity"]),
        (&"notice".into(), &"WARNING".into())
    );
}

#[test]
fn a_signal_ends_the_pauses_too() {
    for (pause, line) in [
        ("--before=60", "before the first attempt"),
        ("--after=60", "now that everything is ready"),
    ] {
        for init in ["always", "never"] {
            let mut waiting = wait()
                .var("WAIT_INIT", init)
                .args([pause, "--path=/", "echo", "started"])
                .start();
            waiting.until(&[line]);
            waiting.kill(15);
            let outcome = waiting.end();
            ends_by(&outcome, 15, init);
            outcome.took_from_to(0.0, 20.0);
            outcome.says(&["warning: ended by SIGTERM while waiting"]);
        }
    }
}

/// Asserts that a signal ended it, and that the command was not started.
#[track_caller]
fn ends_by(outcome: &Outcome, signal: i32, init: &str) {
    use std::os::unix::process::ExitStatusExt as _;
    match init {
        "always" => _ = outcome.exits(128 + signal),
        _ => assert_eq!(outcome.status.signal(), Some(signal), "{outcome:?}"),
    }
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    assert!(!outcome.stderr.contains("starting"), "{outcome:?}");
}
