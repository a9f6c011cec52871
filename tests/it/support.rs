//! Running `wait`, and the ports it waits for.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The program under test.
pub const WAIT: &str = env!("CARGO_BIN_EXE_wait");

/// `wait`, in an environment that holds no more than `PATH`.
pub struct Wait(Command);

/// `wait` under way. What it prints is kept, as far as a pipe can.
pub struct Started {
    child: Child,
    start: Instant,
    stderr: BufReader<ChildStderr>,
    /// The part of the log that has been read.
    log: Vec<u8>,
}

/// Its end.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

pub fn wait() -> Wait {
    let mut command = with_path_alone(WAIT);
    command.stdin(Stdio::null());
    Wait(command)
}

/// `wait` from a shell that first does something to itself.
pub fn wait_from_a_shell(before: &str) -> Wait {
    let script = format!("{before}; exec {WAIT} \"$@\"");
    let mut command = with_path_alone("sh");
    command.args(["-c", &script, "sh"]).stdin(Stdio::null());
    Wait(command)
}

/// A program in an environment that holds no more than `PATH`: a CI's own `NO_COLOR` or `WAIT_TIMEOUT`
/// is not to change what a test sees.
pub fn with_path_alone(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

impl Wait {
    pub fn var(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    pub fn start(mut self) -> Started {
        self.0.stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = self.0.spawn().expect("wait starts");
        let stderr = child.stderr.take().expect("a pipe");
        Started {
            child,
            start,
            stderr: BufReader::new(stderr),
            log: Vec::new(),
        }
    }

    pub fn run(self) -> Outcome {
        self.start().end()
    }

    /// Runs it while the test's own servers go on. It has started before anything else does.
    pub async fn run_beside(self) -> Outcome {
        let started = self.start();
        tokio::task::spawn_blocking(|| started.end())
            .await
            .expect("no panic")
    }
}

impl Started {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The time since its start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Reads the log until a line holds all of these, so that what follows does not depend on how
    /// fast this machine is.
    #[track_caller]
    pub fn until(&mut self, parts: &[&str]) {
        let mut line = String::new();
        while !has_line(&line, parts) {
            line.clear();
            let read = self.stderr.read_line(&mut line).expect("UTF-8");
            self.log.extend(line.bytes());
            let log = String::from_utf8_lossy(&self.log);
            assert!(read > 0, "{parts:?} not in {log}");
        }
    }

    /// Sends it a signal by its number.
    pub fn kill(&self, signal: i32) {
        // SAFETY: it is a number of ours, since it has not been waited for.
        #[allow(unsafe_code)]
        let result = unsafe { nix::libc::kill(self.id() as i32, signal) };
        assert_eq!(result, 0);
    }

    pub fn output(mut self) -> Output {
        let log = thread::spawn(move || {
            self.stderr.read_to_end(&mut self.log).expect("the log");
            self.log
        });
        let output = self.child.wait_with_output().expect("an end");
        let stderr = log.join().expect("no panic");
        Output { stderr, ..output }
    }

    pub fn end(self) -> Outcome {
        let start = self.start;
        let output = self.output();
        Outcome {
            status: output.status,
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
            took: start.elapsed(),
        }
    }
}

impl Outcome {
    /// Asserts on how long it took. The upper bound is for a machine that is busy with other tests.
    pub fn took_from_to(&self, from: f64, to: f64) -> &Self {
        let took = self.took.as_secs_f64();
        assert!((from..to).contains(&took), "took {took} s: {self:?}");
        self
    }

    /// Asserts that it ended with this status.
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Asserts that a line of the log holds all of these.
    pub fn says(&self, parts: &[&str]) -> &Self {
        assert!(has_line(&self.stderr, parts), "{parts:?} not in {self:?}");
        self
    }
}

/// Runs something three times at most, until it takes less than this: a busy machine may slow down one
/// of them, and what takes its time by itself does so every time.
#[track_caller]
pub fn best_of_three(limit: Duration, mut run: impl FnMut() -> Duration) {
    let took: Vec<_> = (0..3)
        .map(|_| run())
        .take_while(|took| *took >= limit)
        .collect();
    assert!(took.len() < 3, "{took:?} of {limit:?}");
}

/// Whether one line of a text holds all of these.
pub fn has_line(text: &str, parts: &[&str]) -> bool {
    let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
    text.lines().any(has_all)
}

/// A field of `/proc/PID/status`, in the kernel's units.
pub fn process_status(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("alive");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect(field)
}

/// The processes that a process has started and not waited for.
pub fn children(pid: u32) -> Vec<u32> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    let numbers = std::fs::read_to_string(file).unwrap_or_default();
    let number = |text: &str| text.parse().expect("a number");
    numbers.split_whitespace().map(number).collect()
}

/// Two hundred targets that never answer, of every kind that could: a list for `WAIT_HOSTS`.
pub fn two_hundred_that_never_answer(silent: SocketAddr, speechless: SocketAddr) -> String {
    let of_each_kind = |i| {
        format!(
            "mysql://u{i}@{silent},mysql://u{i}@{speechless},\
             http://{silent}/{i},https://{speechless}/{i}"
        )
    };
    (0..50).map(of_each_kind).collect::<Vec<_>>().join(",")
}
