//! What docker-compose-wait does, row by row, and that `wait` does the same, or differs on purpose.
//!
//! With `COMPATIBILITY_OF=/path/to/binary` the rows are run against that binary, which then has to do
//! what the rows say of docker-compose-wait:
//!
//! ```sh
//! COMPATIBILITY_OF=$PWD/docker-compose-wait cargo test --test it compatibility
//! ```

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::WAIT;

/// When the port `{late}` opens and the file `{late-file}` appears, in seconds.
const LATE: f64 = 1.2;

/// How much later than promised something may happen, on a machine that is busy.
const SLACK: f64 = 4.0;

/// The status of a process that a signal ended, as a panic that aborts does.
const SIGNAL: i32 = -1;

struct Row {
    vars: &'static [(&'static str, &'static str)],
    ours: Ending,
    /// What docker-compose-wait does, where `wait` differs on purpose, and why.
    theirs: Option<(Ending, &'static str)>,
}

#[derive(Clone, Copy, Debug)]
struct Ending {
    code: i32,
    /// Not before, in seconds; not later than `SLACK` behind it.
    after: f64,
    stdout: &'static str,
}

const fn starts(after: f64) -> Ending {
    prints("started\n", after)
}

const fn prints(stdout: &'static str, after: f64) -> Ending {
    Ending {
        code: 0,
        after,
        stdout,
    }
}

const fn fails(code: i32, after: f64) -> Ending {
    Ending {
        code,
        after,
        stdout: "",
    }
}

const fn same(vars: &'static [(&'static str, &'static str)], ours: Ending) -> Row {
    Row {
        vars,
        ours,
        theirs: None,
    }
}

const fn differs(
    why: &'static str,
    vars: &'static [(&'static str, &'static str)],
    ours: Ending,
    theirs: Ending,
) -> Row {
    Row {
        vars,
        ours,
        theirs: Some((theirs, why)),
    }
}

const EMPTY: &str = "empty items of a list are ignored";
const LINES: &str = "lists may have an item a line";
const MALFORMED: &str = "a malformed target fails at once";
const HARD: &str = "the deadline is hard";
const DURATION: &str = "1s is a duration";
const ERROR: &str = "a command that cannot be started is told by its status";

/// `WAIT_COMMAND` is `echo started`, unless a row says otherwise.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Hosts
    same(&[], starts(0.0)),
    same(&[("WAIT_HOSTS", "")], starts(0.0)),
    same(&[("WAIT_HOSTS", " \t ")], starts(0.0)),
    same(&[("WAIT_HOSTS", "{open}")], starts(0.0)),
    same(&[("WAIT_HOSTS", "{open},{open2}")], starts(0.0)),
    same(&[("WAIT_HOSTS", " {open} , {open2}\t")], starts(0.0)),
    same(&[("WAIT_HOSTS", "{open}\n")], starts(0.0)),
    same(&[("WAIT_HOSTS", "localhost:{port}")], starts(0.0)),
    same(&[("WAIT_HOSTS", "LOCALHOST:{port}")], starts(0.0)),
    same(&[("WAIT_HOSTS", "[::1]:{port6}")], starts(0.0)),
    same(&[("WAIT_HOSTS", "::1:{port6}")], starts(0.0)),
    same(&[("WAIT_HOSTS", "[::ffff:127.0.0.1]:{port}")], starts(0.0)),
    same(&[("WAIT_HOSTS", "{late}")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{open},{late}")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{late},{open}")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{open},{closed}"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{closed},{open}"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{silent}"), ("WAIT_TIMEOUT", "1"), ("WAIT_HOST_CONNECT_TIMEOUT", "1")], fails(1, 1.0)),
    differs(HARD, &[("WAIT_HOSTS", "{silent}"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0), fails(1, 5.0)),
    differs(EMPTY, &[("WAIT_HOSTS", "{open},,{open2}"), ("WAIT_TIMEOUT", "1")], starts(0.0), fails(1, 1.0)),
    differs(EMPTY, &[("WAIT_HOSTS", ",{open}"), ("WAIT_TIMEOUT", "1")], starts(0.0), fails(1, 1.0)),
    differs(EMPTY, &[("WAIT_HOSTS", "{open}, "), ("WAIT_TIMEOUT", "1")], starts(0.0), fails(1, 1.0)),
    differs(LINES, &[("WAIT_HOSTS", "{open}\n{open2}"), ("WAIT_TIMEOUT", "1")], starts(0.0), fails(1, 1.0)),
    differs(MALFORMED, &[("WAIT_HOSTS", "localhost"), ("WAIT_TIMEOUT", "1")], fails(2, 0.0), fails(1, 1.0)),
    differs(MALFORMED, &[("WAIT_HOSTS", "localhost:"), ("WAIT_TIMEOUT", "1")], fails(2, 0.0), fails(1, 1.0)),
    differs(MALFORMED, &[("WAIT_HOSTS", ":{port}"), ("WAIT_TIMEOUT", "1")], fails(2, 0.0), fails(1, 1.0)),
    differs(MALFORMED, &[("WAIT_HOSTS", "localhost:0"), ("WAIT_TIMEOUT", "1")], fails(2, 0.0), fails(1, 1.0)),
    differs(MALFORMED, &[("WAIT_HOSTS", "localhost:99999"), ("WAIT_TIMEOUT", "1")], fails(2, 0.0), fails(1, 1.0)),
    differs(MALFORMED, &[("WAIT_HOSTS", "localhost:http"), ("WAIT_TIMEOUT", "1")], fails(2, 0.0), fails(1, 1.0)),
    differs(MALFORMED, &[("WAIT_HOSTS", "{open};{open2}"), ("WAIT_TIMEOUT", "1")], fails(2, 0.0), fails(1, 1.0)),
    differs("tcp:// may be written out", &[("WAIT_HOSTS", "tcp://{open}"), ("WAIT_TIMEOUT", "1")], starts(0.0), fails(1, 1.0)),
    // Paths
    same(&[("WAIT_PATHS", "")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/file")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/")], starts(0.0)),
    same(&[("WAIT_PATHS", "file")], starts(0.0)),
    same(&[("WAIT_PATHS", "./folder/../file")], starts(0.0)),
    same(&[("WAIT_PATHS", " {dir}/file , {dir}/folder ")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/with space")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/link")], starts(0.0)),
    same(&[("WAIT_PATHS", "/dev/null")], starts(0.0)),
    same(&[("WAIT_PATHS", "{late-file}")], starts(LATE)),
    same(&[("WAIT_PATHS", "{dir}/missing"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "{dir}/dangling"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "{dir}/file/"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "{dir}/file/below"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "{dir}/file,{dir}/missing"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{open}"), ("WAIT_PATHS", "{dir}/file")], starts(0.0)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_PATHS", "{late-file}")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_PATHS", "{dir}/file"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{open}"), ("WAIT_PATHS", "{dir}/missing"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    differs(EMPTY, &[("WAIT_PATHS", "{dir}/file,"), ("WAIT_TIMEOUT", "1")], starts(0.0), fails(1, 1.0)),
    differs(LINES, &[("WAIT_PATHS", "{dir}/file\n{dir}"), ("WAIT_TIMEOUT", "1")], starts(0.0), fails(1, 1.0)),
    // The timeout
    same(&[("WAIT_HOSTS", "{open}"), ("WAIT_TIMEOUT", "0")], starts(0.0)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "0")], fails(1, 0.0)),
    same(&[("WAIT_PATHS", "{dir}/missing"), ("WAIT_TIMEOUT", "0")], fails(1, 0.0)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "2")], fails(1, 2.0)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "+1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "01")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "18446744073709551615")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "18446744073709551616")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "-1")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "abc")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "0.5")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "1e0")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "")], starts(LATE)),
    differs(DURATION, &[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "1s")], fails(1, 1.0), starts(LATE)),
    differs("spaces around a number are ignored", &[("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", " 1 ")], fails(1, 1.0), starts(LATE)),
    // Its deprecated name
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_HOSTS_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_HOSTS_TIMEOUT", "abc")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_HOSTS_TIMEOUT", ""), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_HOSTS_TIMEOUT", "0"), ("WAIT_TIMEOUT", "30")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_HOSTS_TIMEOUT", "30"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_HOSTS_TIMEOUT", "1"), ("WAIT_TIMEOUT", "abc")], starts(LATE)),
    differs("an empty variable counts as unset", &[("WAIT_HOSTS", "{late}"), ("WAIT_HOSTS_TIMEOUT", "1"), ("WAIT_TIMEOUT", "")], fails(1, 1.0), starts(LATE)),
    // The pauses
    same(&[("WAIT_BEFORE", "1")], starts(1.0)),
    same(&[("WAIT_BEFORE", "abc")], starts(0.0)),
    same(&[("WAIT_BEFORE_HOSTS", "1")], starts(1.0)),
    same(&[("WAIT_BEFORE_HOSTS", "9"), ("WAIT_BEFORE", "1")], starts(1.0)),
    same(&[("WAIT_BEFORE_HOSTS", "9"), ("WAIT_BEFORE", "0")], starts(0.0)),
    same(&[("WAIT_BEFORE", "2"), ("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "1")], starts(2.0)),
    same(&[("WAIT_BEFORE", "1"), ("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "1")], fails(1, 2.0)),
    same(&[("WAIT_AFTER", "1")], starts(1.0)),
    same(&[("WAIT_AFTER", "-1")], starts(0.0)),
    same(&[("WAIT_AFTER_HOSTS", "1")], starts(1.0)),
    same(&[("WAIT_AFTER_HOSTS", "9"), ("WAIT_AFTER", "1")], starts(1.0)),
    same(&[("WAIT_AFTER", "2"), ("WAIT_HOSTS", "{open}"), ("WAIT_TIMEOUT", "1")], starts(2.0)),
    same(&[("WAIT_AFTER", "9"), ("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "0")], fails(1, 0.0)),
    same(&[("WAIT_BEFORE", "1"), ("WAIT_AFTER", "1"), ("WAIT_HOSTS", "{open}")], starts(2.0)),
    // Between and during attempts
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_SLEEP_INTERVAL", "2")], starts(2.0)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_SLEEP_INTERVAL", "0")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{late}"), ("WAIT_SLEEP_INTERVAL", "abc")], starts(LATE)),
    same(&[("WAIT_HOSTS", "{open}"), ("WAIT_HOST_CONNECT_TIMEOUT", "abc")], starts(0.0)),
    same(&[("WAIT_HOSTS", "{open}"), ("WAIT_HOST_CONNECT_TIMEOUT", "1")], starts(0.0)),
    differs("an attempt without time is no attempt", &[("WAIT_HOSTS", "{open}"), ("WAIT_HOST_CONNECT_TIMEOUT", "0"), ("WAIT_TIMEOUT", "1")], starts(0.0), fails(1, 1.0)),
    // The command
    same(&[("WAIT_COMMAND", "")], prints("", 0.0)),
    same(&[("WAIT_COMMAND", "  ")], prints("", 0.0)),
    same(&[("WAIT_COMMAND", "  echo  a   b ")], prints("a b\n", 0.0)),
    same(&[("WAIT_COMMAND", "printf [%s] 'a b' \"c d\" e\\ f")], prints("[a b][c d][e f]", 0.0)),
    same(&[("WAIT_COMMAND", "printf [%s] '' \"\"")], prints("[][]", 0.0)),
    same(&[("WAIT_COMMAND", "printf [%s] \"it's\" 'a\"b'")], prints("[it's][a\"b]", 0.0)),
    same(&[("WAIT_COMMAND", "echo $HOME * `id` ; true && false")], prints("$HOME * `id` ; true && false\n", 0.0)),
    same(&[("WAIT_COMMAND", "echo a # b")], prints("a\n", 0.0)),
    same(&[("WAIT_COMMAND", "echo a\nb")], prints("a b\n", 0.0)),
    same(&[("WAIT_COMMAND", "sh -c 'echo $WAIT_HOSTS'"), ("WAIT_HOSTS", " ")], prints("\n", 0.0)),
    same(&[("WAIT_COMMAND", "sh -c 'exit 7'")], fails(7, 0.0)),
    same(&[("WAIT_COMMAND", "sh -c 'kill -TERM $$'")], fails(SIGNAL, 0.0)),
    same(&[("WAIT_COMMAND", "{dir}/program a")], prints("a\n", 0.0)),
    same(&[("WAIT_COMMAND", "./program a")], prints("a\n", 0.0)),
    same(&[("WAIT_COMMAND", "no-such-command"), ("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "0")], fails(1, 0.0)),
    differs(ERROR, &[("WAIT_COMMAND", "no-such-command")], fails(127, 0.0), fails(SIGNAL, 0.0)),
    differs(ERROR, &[("WAIT_COMMAND", "{dir}/missing a")], fails(127, 0.0), fails(SIGNAL, 0.0)),
    differs(ERROR, &[("WAIT_COMMAND", "{dir}/file")], fails(126, 0.0), fails(SIGNAL, 0.0)),
    differs(ERROR, &[("WAIT_COMMAND", "{dir}")], fails(126, 0.0), fails(SIGNAL, 0.0)),
    differs(ERROR, &[("WAIT_COMMAND", "echo 'a")], fails(2, 0.0), fails(SIGNAL, 0.0)),
    // The log: none of it is on standard output
    same(&[("WAIT_LOGGER_LEVEL", "off"), ("WAIT_HOSTS", "{open}")], starts(0.0)),
    same(&[("WAIT_LOGGER_LEVEL", "trace"), ("WAIT_HOSTS", "{open}")], starts(0.0)),
    same(&[("WAIT_LOGGER_LEVEL", "INFO"), ("WAIT_HOSTS", "{open}")], starts(0.0)),
    same(&[("WAIT_LOGGER_LEVEL", ""), ("WAIT_HOSTS", "{open}")], starts(0.0)),
    differs("a level that does not exist is an error", &[("WAIT_LOGGER_LEVEL", "loud")], fails(2, 0.0), starts(0.0)),
];

/// What the rows' placeholders stand for, as long as a row takes.
struct World {
    folder: tempfile::TempDir,
    open: [TcpListener; 2],
    open6: TcpListener,
    /// Nobody listens; bound, so that nobody else does.
    closed: Socket,
    late: Socket,
    silent: TcpListener,
    _queue: Vec<TcpStream>,
}

fn port_of(socket: &Socket) -> u16 {
    let address = socket.local_addr().ok().and_then(|bound| bound.as_socket());
    address.expect("bound").port()
}

impl World {
    fn new() -> Self {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let bind = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            socket.bind(&address.into()).expect("a port");
            socket
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "").expect("written");
        fs::write(path("with space"), "").expect("written");
        fs::create_dir(path("folder")).expect("made");
        symlink(path("file"), path("link")).expect("a link");
        symlink(path("missing"), path("dangling")).expect("a link");
        // No program of our own: it could not be run while another thread forks (ETXTBSY).
        symlink("/bin/echo", path("program")).expect("a link");
        // A full queue: what comes now is neither taken nor refused.
        let silent = bind();
        silent.listen(0).expect("listening");
        let silent: TcpListener = silent.into();
        let address = silent.local_addr().expect("bound");
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue = (0..64).map_while(connect).collect();
        Self {
            folder,
            open: [listen(), listen()],
            open6: TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port"),
            closed: bind(),
            late: bind(),
            silent,
            _queue: queue,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fill_in(&self, text: &str) -> String {
        let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let ports = [
            ("open", port(&self.open[0])),
            ("open2", port(&self.open[1])),
            ("closed", port_of(&self.closed)),
            ("late", port_of(&self.late)),
            ("silent", port(&self.silent)),
        ];
        let mut text = text.to_owned();
        for (name, port) in ports {
            text = text.replace(&format!("{{{name}}}"), &format!("127.0.0.1:{port}"));
        }
        text.replace("{port}", &port(&self.open[0]).to_string())
            .replace("{port6}", &port(&self.open6).to_string())
            .replace("{late-file}", &self.path("late").display().to_string())
            .replace("{dir}", &self.folder.path().display().to_string())
    }
}

/// Runs a row. Returns what was not as it should be.
fn run(row: &Row, binary: &str, is_ours: bool) -> Result<(), String> {
    let expected = match (is_ours, row.theirs) {
        (false, Some((theirs, _))) => theirs,
        _ => row.ours,
    };
    let world = World::new();
    let has_command = row.vars.iter().any(|(name, _)| *name == "WAIT_COMMAND");
    let command = [("WAIT_COMMAND", "echo started")];
    let start = Instant::now();
    let child = Command::new(binary)
        .current_dir(world.folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(command.into_iter().filter(|_| !has_command))
        .envs(
            row.vars
                .iter()
                .map(|(name, value)| (name, world.fill_in(value))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{binary}: {error}"))?;
    // Waited for on another thread, so that what comes late comes in time.
    let outcome = thread::spawn(move || (child.wait_with_output(), start.elapsed()));
    thread::sleep(Duration::from_secs_f64(LATE).saturating_sub(start.elapsed()));
    world.late.listen(64).expect("listening");
    fs::write(world.path("late"), "").expect("written");

    let (output, took) = outcome.join().expect("no panic");
    let output = output.expect("it ends");
    let (code, stdout) = (
        output.status.code().unwrap_or(SIGNAL),
        String::from_utf8_lossy(&output.stdout),
    );
    let took = took.as_secs_f64();
    let is_in_time = (expected.after..expected.after + SLACK).contains(&took);
    // A pause of exactly a second may be measured a little short of it, from outside.
    let is_in_time = is_in_time || (expected.after - took).abs() < 0.005;
    match code == expected.code && stdout == expected.stdout && is_in_time {
        true => Ok(()),
        false => Err(format!(
            "{:?}: {expected:?}, but status {code} after {took:.2} s, {stdout:?}\n{}",
            row.vars,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

#[test]
fn compatibility_with_docker_compose_wait() {
    let other = std::env::var("COMPATIBILITY_OF").ok();
    let (binary, is_ours) = (other.as_deref().unwrap_or(WAIT), other.is_none());
    let next = AtomicUsize::new(0);
    let run_some = || {
        std::iter::from_fn(|| ROWS.get(next.fetch_add(1, Ordering::Relaxed)))
            .filter_map(|row| run(row, binary, is_ours).err())
            .collect::<Vec<_>>()
    };
    // Most of the time each waits for a second.
    let wrong: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..24).map(|_| scope.spawn(run_some)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let on_purpose: Vec<_> = ROWS
        .iter()
        .filter_map(|row| Some((row.vars, row.theirs?.1)))
        .collect();
    println!(
        "{} rows, {} of them different on purpose: {on_purpose:#?}",
        ROWS.len(),
        on_purpose.len()
    );
    assert!(ROWS.len() >= 60);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
