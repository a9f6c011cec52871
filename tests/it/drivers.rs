//! `wait` beside the driver of an application: a program for Node.js that connects and does one round
//! trip every 40 ms. Both begin together, and `wait` is neither too early nor late.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::containers::{docker, mysql_image, text, try_docker};
use crate::support::{Outcome, wait};

/// The longest that `wait` may take after the driver's first success, on a machine that is busy.
const SLACK: i64 = 1000;
/// The times that each of the things that happen to a server is repeated, unless the variable has
/// another number, as for docs/benchmarks.md.
const ROUNDS: (&str, usize) = ("COMPOSE_WAIT_ROUNDS", 3);

/// A server whose address is there before the server is, and stays while it comes and goes: another
/// container has the network. Both are gone when this is dropped.
pub struct Server {
    pub name: String,
    network: String,
    pub address: String,
    image: String,
}

impl Server {
    /// Makes the network alone.
    pub fn to_be_started(test: &str, image: String) -> Self {
        let name = format!("compose-wait-test-{test}-{}", std::process::id());
        let network = format!("{name}-network");
        let run = ["run", "--detach", "--name", &network, "--entrypoint=sleep"];
        docker(&[&run[..], &[&image, "infinity"]].concat());
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = docker(&["inspect", "--format", format, &network]);
        Self {
            name,
            network,
            address,
            image,
        }
    }

    /// Starts it for the first time; `options` are docker's, `args` the server's.
    pub fn run(&self, options: &[&str], args: &[&str]) {
        let network = format!("container:{}", self.network);
        let run = [
            "run",
            "--detach",
            "--name",
            &self.name,
            "--network",
            &network,
        ];
        docker(&[&run[..], options, &[&self.image], args].concat());
    }

    /// `docker stop`, `start`, `kill`, `pause` or `unpause`.
    pub fn docker(&self, command: &str) {
        docker(&[command, &self.name]);
    }

    /// The output of a program inside, which has to succeed.
    #[track_caller]
    pub fn exec(&self, program: &[&str]) -> String {
        docker(&[&["exec", &self.name], program].concat())
    }

    /// Its output.
    pub fn log(&self) -> String {
        text(&try_docker(&["logs", &self.name], &[]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().rev().take(20).collect();
            println!("the last lines of {}, backwards: {lines:#?}", self.name);
        }
        try_docker(
            &["rm", "--force", "--volumes", &self.name, &self.network],
            &[],
        );
    }
}

/// The folder that the drivers are installed in, once for each lock file.
pub fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/drivers");
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drivers");
        fs::create_dir_all(&to).expect("a folder");
        for entry in fs::read_dir(from).expect("the drivers") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
        let lock = fs::read(to.join("package-lock.json")).expect("a lock file");
        let mark = to.join("node_modules/installed");
        if fs::read(&mark).ok().as_ref() != Some(&lock) {
            let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
            let output = Command::new("npm").args(npm).current_dir(&to).output();
            let output = output.expect("npm is installed");
            assert!(output.status.success(), "npm ci: {}", text(&output));
            fs::write(mark, lock).expect("written");
        }
        to
    })
}

/// An attempt of a driver's. Times are in milliseconds since 1970.
#[derive(Debug)]
pub struct Attempt {
    began: i64,
    ended: i64,
    error: Option<String>,
}

impl Attempt {
    fn parse(line: &str) -> Self {
        let attempt: serde_json::Value = serde_json::from_str(line).expect("an attempt");
        let time = |name: &str| attempt[name].as_i64().expect("a time");
        Self {
            began: time("began"),
            ended: time("ended"),
            error: attempt["error"].as_str().map(str::to_owned),
        }
    }
}

/// A driver that tries again and again.
pub struct Driver {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    /// Starts `tests/fixtures/drivers/NAME.js`, with variables of the environment. It is about to make
    /// its first attempt.
    pub fn start(name: &str, url: &str, vars: &[(&str, &Path)]) -> Self {
        let mut child = Command::new("node")
            .args(["loop.js", name, url])
            .current_dir(installed())
            .envs(vars.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node.js is installed");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.next().expect("it has started").expect("UTF-8");
        assert_eq!(line, "{}", "{name}");
        Self { child, lines }
    }
}

impl Iterator for Driver {
    type Item = Attempt;

    /// The next attempt that has ended.
    fn next(&mut self) -> Option<Attempt> {
        let line = self.lines.next()?;
        Some(Attempt::parse(&line.expect("UTF-8")))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The error of one attempt of a driver's, or none.
pub fn error_of(driver: &str, url: &str, vars: &[(&str, &Path)]) -> Option<String> {
    let attempt = Driver::start(driver, url, vars).next();
    attempt.expect("an attempt").error
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_millis() as i64
}

/// How long after a driver's first success `wait` ends, in milliseconds, and below 0 if `wait` is the
/// first; and its end. Both begin before `event`, of which the server becomes ready.
///
/// No attempt of the driver's that begins after `wait` has ended may fail, and one begins at once: by
/// this `wait` is never too early, whatever the driver's interval is.
#[track_caller]
pub fn lag(driver: &str, url: &str, event: impl FnOnce()) -> (i64, Outcome) {
    let mut driver = Driver::start(driver, url, &[]);
    let mut stdin = driver.child.stdin.take().expect("a pipe");
    let application = wait().var("DATABASE_URL", url);
    let mut waiting = application
        .args(["--for=env:DATABASE_URL", "--timeout=120"])
        .start();
    let (attempts, outcome, ended) = thread::scope(|scope| {
        let attempts = scope.spawn(|| driver.by_ref().collect::<Vec<_>>());
        waiting.until(&["waiting for"]);
        let waited = scope.spawn(move || {
            let outcome = waiting.end();
            let ended = now();
            thread::sleep(Duration::from_millis(2)); // so that the next attempt begins later
            stdin.write_all(b"\n").expect("it is there");
            thread::sleep(Duration::from_millis(300));
            (outcome, ended)
        });
        event();
        let (outcome, ended) = waited.join().expect("no panic");
        (attempts.join().expect("no panic"), outcome, ended)
    });
    outcome.exits(0);
    let earliest = attempts.iter().min_by_key(|attempt| attempt.began);
    assert!(
        earliest.is_some_and(|attempt| attempt.error.is_some()),
        "the server was ready before: {attempts:?}"
    );
    let after: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.began > ended)
        .collect();
    assert!(!after.is_empty(), "{attempts:?}");
    assert!(
        after.iter().all(|attempt| attempt.error.is_none()),
        "too early, at {ended}: {attempts:?}\n{outcome:?}"
    );
    let first = attempts
        .iter()
        .find(|attempt| attempt.error.is_none())
        .expect("a success");
    let lag = ended - first.ended;
    assert!(
        lag <= SLACK,
        "{lag} ms after the driver: {attempts:?}\n{outcome:?}"
    );
    (lag, outcome)
}

/// Compares `wait` with a driver over the life of a server that has not been started: `run` does it.
#[track_caller]
pub fn compare(driver: &str, server: &Server, url: &str, run: impl FnOnce()) {
    println!("{driver}: wait ended so long after the driver's first success:");
    println!("first start: {} ms", lag(driver, url, run).0);
    for (name, down, up) in [
        ("restart", "stop", "start"),
        ("crash", "kill", "start"),
        ("freeze", "pause", "unpause"),
    ] {
        print_lags(name, || {
            server.docker(down);
            let (lag, _) = lag(driver, url, || {
                thread::sleep(Duration::from_millis(1500));
                server.docker(up);
            });
            lag
        });
    }
}

/// Measures a lag several times.
pub fn print_lags(name: &str, lag: impl FnMut() -> i64) {
    let (variable, rounds) = ROUNDS;
    let rounds = env::var(variable).map_or(rounds, |rounds| rounds.parse().expect("a number"));
    let mut lags: Vec<_> = std::iter::repeat_with(lag).take(rounds).collect();
    lags.sort_unstable();
    println!("{name}: {lags:?} ms, the median {}", lags[rounds / 2]);
}

#[test]
#[ignore = "needs Docker and npm"]
fn mysql_is_ready_when_mysql2_is() {
    let server = Server::to_be_started("mysql2", mysql_image());
    let url = format!("mysql://app:s3cret@{}/shop", server.address);
    let variables = [
        "MYSQL_USER=app",
        "MYSQL_PASSWORD=s3cret",
        "MYSQL_DATABASE=shop",
        "MYSQL_ROOT_PASSWORD=r00t",
    ];
    let options: Vec<_> = variables
        .iter()
        .flat_map(|variable| ["--env", variable])
        .collect();
    compare("mysql2", &server, &url, || server.run(&options, &[]));
}
