//! A minute of starts and stops while both cores are busy and targets flap: every status is right,
//! nothing is left over, and a wait that goes on all the time stays as small as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixtures::http;
use crate::fixtures::mysql::{self, Account};
use crate::fixtures::ports::{self, Port, Silent, speechless};
use crate::support::{WAIT, Wait, children, process_status, wait, with_path_alone};

const ACCOUNT: Account = Account {
    user: "app",
    password: "",
    database: "shop",
};

/// The number of starts and stops side by side.
const WORKERS: usize = 4;

/// The least number of starts, on a machine that is far slower than any.
const STARTS_PER_SECOND: u64 = 20;

/// The most that a long wait may grow from its second quarter to its last, in kB.
const GROWTH: u64 = 512;

/// `SOAK_SECONDS=300` makes it the five minutes that are run by hand before a release; the default
/// is a minute, for every change.
fn duration() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").ok();
    let seconds = seconds.map_or(60, |seconds| seconds.parse().expect("SOAK_SECONDS"));
    Duration::from_secs(seconds.clamp(8, 300))
}

/// Targets that come and go, as arguments.
fn flapping(folder: &Path) -> Vec<String> {
    let times = || std::iter::repeat_with(|| (some_time(), some_time()));
    let mysql = |listener| _ = mysql::serve_on(listener, ACCOUNT);
    let mysql = ports::flapping(mysql, times());
    let http = ports::flapping(|listener| http::serve_on(listener, http::OK), times());
    let path = folder.join("flapping");
    let arg = format!("--path={}", path.display());
    thread::spawn(move || {
        // Until the folder is removed.
        while fs::write(&path, "").is_ok() {
            thread::sleep(some_time());
            let _ = fs::remove_file(&path);
            thread::sleep(some_time());
        }
    });
    vec![
        format!("--for=mysql://app@{mysql}/shop"),
        format!("--for=http://{http}/"),
        format!("--for={http}"),
        arg,
    ]
}

fn some_time() -> Duration {
    Duration::from_millis(fastrand::u64(10..80))
}

/// A start and what it comes to.
struct Kind {
    name: &'static str,
    /// The status as a shell has it: 128 and the signal if one ended it.
    status: i32,
    start: fn(Wait, &World) -> Wait,
    /// The signal that is sent to it, at any time.
    signal: Option<Signal>,
}

struct World {
    flapping: Vec<String>,
    refused: String,
    /// The descriptors of a command that is started without `wait`.
    descriptors: Vec<u8>,
}

const DESCRIPTORS: [&str; 3] = ["sh", "-c", "echo /proc/self/fd/*"];

/// Leaves an orphan, and ends with 5 when its parent has reaped that.
const ORPHAN: &str = "(sleep 0.02 &); n=0; while [ $n -lt 500 ]; do \
    read children </proc/$PPID/task/$PPID/children; [ \"$children\" = $$ ] && exit 5; \
    sleep 0.01; n=$((n + 1)); done; exit 1";

const fn kind(name: &'static str, status: i32, start: fn(Wait, &World) -> Wait) -> Kind {
    Kind {
        name,
        status,
        start,
        signal: None,
    }
}

const fn ended_by(signal: Signal, name: &'static str, start: fn(Wait, &World) -> Wait) -> Kind {
    Kind {
        signal: Some(signal),
        ..kind(name, 128 + signal as i32, start)
    }
}

const KINDS: [Kind; 16] = [
    kind("ready", 0, |wait, world| wait.args(&world.flapping)),
    kind("true", 0, |wait, world| {
        wait.args(&world.flapping).args(["true"])
    }),
    kind("false", 1, |wait, world| {
        wait.args(&world.flapping).args(["false"])
    }),
    kind("exit 7", 7, |wait, world| {
        wait.args(&world.flapping).args(["sh", "-c", "exit 7"])
    }),
    kind("descriptors", 0, |wait, _| {
        wait.args(["--path=/"]).args(DESCRIPTORS)
    }),
    kind("orphan", 5, |wait, _| {
        wait.args(["--init=always", "sh", "-c", ORPHAN])
    }),
    kind("not ready", 1, |wait, world| {
        wait.args([&world.refused, "--timeout=50ms", "true"])
    }),
    kind("not well", 1, |wait, world| {
        wait.args([&world.refused.replace("--for", "--check")])
    }),
    kind("unusable", 2, |wait, _| wait.args(["--for=db", "true"])),
    kind("not found", 127, |wait, _| wait.args(["no-such-program"])),
    kind("not executable", 126, |wait, _| wait.args(["/"])),
    kind("killed", 137, |wait, _| {
        wait.args(["sh", "-c", "kill -KILL $$"])
    }),
    ended_by(Signal::SIGTERM, "SIGTERM while waiting", |wait, world| {
        wait.args([&world.refused, "true"])
    }),
    ended_by(Signal::SIGINT, "SIGINT while waiting", |wait, world| {
        wait.args([&world.refused, "true"])
    }),
    ended_by(Signal::SIGTERM, "SIGTERM for the command", |wait, _| {
        wait.args(["--path=/", "sleep", "60"])
    }),
    ended_by(Signal::SIGKILL, "SIGKILL", |wait, world| {
        wait.var("WAIT_INIT", "never")
            .args([&world.refused, "true"])
    }),
];

impl Kind {
    fn run(&self, world: &World, mode: &str) {
        let started = (self.start)(wait().var("WAIT_INIT", mode), world).start();
        if let Some(signal) = self.signal {
            thread::sleep(Duration::from_millis(fastrand::u64(0..30)));
            let pid = Pid::from_raw(started.id().try_into().expect("a number"));
            kill(pid, signal).expect("it is there until it is waited for");
        }
        let output = started.output();
        assert_eq!(
            as_in_a_shell(&output),
            self.status,
            "{}, {mode}: {output:?}",
            self.name
        );
        if self.name == "descriptors" {
            assert_eq!(output.stdout, world.descriptors, "{mode}: {output:?}");
        }
    }
}

fn as_in_a_shell(output: &Output) -> i32 {
    let signal = || 128 + output.status.signal().expect("one of them");
    output.status.code().unwrap_or_else(signal)
}

/// Starts and stops until the end, and returns how many there were of each kind.
fn start_and_stop(world: &World, end: Instant) -> BTreeMap<&'static str, u64> {
    let mut runs = BTreeMap::new();
    while Instant::now() < end {
        for kind in &KINDS {
            kind.run(world, fastrand::choice(["always", "never"]).expect("some"));
            *runs.entry(kind.name).or_default() += 1;
        }
    }
    runs
}

/// The resources of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    resident: u64,
    anonymous: u64,
    descriptors: u64,
    threads: u64,
}

impl Size {
    fn of(pid: u32) -> Self {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("alive");
        Self {
            resident: process_status(pid, "VmRSS"),
            anonymous: process_status(pid, "RssAnon"),
            threads: process_status(pid, "Threads"),
            descriptors: descriptors.count() as u64,
        }
    }

    fn or_more(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            anonymous: self.anonymous.max(other.anonymous),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

/// The one child of a process, which may still be about to make it.
fn only_child(pid: u32) -> u32 {
    let start = Instant::now();
    loop {
        let children = children(pid);
        if let [child] = children[..] {
            return child;
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "not one child: {children:?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// All children of this process, ended or not.
fn left_over() -> String {
    let tasks = fs::read_dir("/proc/self/task").expect("this process");
    let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children"));
    let children = tasks.flatten().filter_map(|task| children(task).ok());
    children.collect()
}

#[test]
#[ignore = "keeps both cores busy for a minute"]
fn thousands_of_starts_and_stops() {
    let duration = duration();
    let folder = tempfile::tempdir().expect("a folder");
    let (refused, silent) = (Port::new(), Silent::new());
    let (refused, silent, speechless) = (refused.address, silent.address(), speechless());
    let (ill, _requests) = http::service(http::status("503 Service Unavailable"));
    let (mysql, _) = mysql::start(ACCOUNT);
    let without_wait = Command::new(DESCRIPTORS[0])
        .args(&DESCRIPTORS[1..])
        .stdin(Stdio::null())
        .output();
    let world = Arc::new(World {
        flapping: flapping(folder.path()),
        refused: format!("--for={refused}"),
        descriptors: without_wait.expect("a shell").stdout,
    });
    // A process that is not reaped where that is promised becomes ours.
    set_child_subreaper(true).expect("Linux");

    let never_ready = [
        refused.to_string(),
        silent.to_string(),
        "nowhere.invalid:1".to_owned(),
        format!("mysql://app@{refused}/shop"),
        format!("mysql://app@{speechless}/shop"),
        format!("mysql://nobody@{mysql}/shop"),
        format!("mysql://app@{mysql}/none"),
        format!("http://127.0.0.1:{ill}/"),
        format!("http://{silent}/"),
        format!("https://127.0.0.1:{ill}/"),
    ];
    // It ends some time, even where the test fails.
    let deadline = format!("--timeout={}", (duration * 2).as_secs());
    let mut long = with_path_alone(WAIT)
        .args(["--init=always", "--connect-timeout=2", &deadline])
        .args([
            "--interval=20ms",
            "--log-level=trace",
            "--path=/nonexistent",
        ])
        .arg(format!("--for={}", never_ready.join(",")))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");

    let (start, end) = (Instant::now(), Instant::now() + duration);
    let cores = thread::available_parallelism().map_or(2, Into::into);
    let busy: Vec<_> = (0..cores)
        .map(|_| thread::spawn(move || while Instant::now() < end {}))
        .collect();
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let world = Arc::clone(&world);
            thread::spawn(move || start_and_stop(&world, end))
        })
        .collect();

    // The most in the second quarter and in the last, of the init and of its child that waits.
    let mut most = [[Size::default(); 2]; 4];
    while Instant::now() < end && !workers.iter().any(std::thread::JoinHandle::is_finished) {
        thread::sleep(Duration::from_millis(250));
        let quarter = (start.elapsed().as_millis() * 4 / duration.as_millis()).min(3);
        let child = only_child(long.id());
        for (most, pid) in most[quarter as usize].iter_mut().zip([long.id(), child]) {
            *most = most.or_more(Size::of(pid));
        }
    }
    let mut runs: BTreeMap<_, u64> = BTreeMap::new();
    for worker in workers {
        for (kind, number) in worker.join().expect("every status is right") {
            *runs.entry(kind).or_default() += number;
        }
    }
    for thread in busy {
        thread.join().expect("no panic");
    }
    let pid = Pid::from_raw(long.id().try_into().expect("a number"));
    kill(pid, Signal::SIGTERM).expect("it waits");
    assert_eq!(long.wait().expect("an end").code(), Some(143));

    let all: u64 = runs.values().sum();
    println!("{all} starts and stops in {:?}: {runs:#?}", start.elapsed());
    for (who, process) in ["init", "wait"].iter().zip(0..) {
        println!("{who}, by quarters: {:#?}", most.map(|both| both[process]));
    }
    assert!(all >= STARTS_PER_SECOND * duration.as_secs(), "{all}");
    for process in 0..2 {
        let [_, early, _, late] = most.map(|both| both[process]);
        assert!(late.resident <= early.resident + GROWTH, "{most:#?}");
        assert!(late.anonymous <= early.anonymous + GROWTH, "{most:#?}");
        assert!(late.descriptors <= early.descriptors + 8, "{most:#?}");
        assert!(late.threads <= early.threads + 2, "{most:#?}");
    }
    assert_eq!(left_over(), "", "left over");
    set_child_subreaper(false).expect("Linux");
}
