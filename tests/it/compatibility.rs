//! The behaviour of docker-compose-wait 2.12, row by row: `wait` does the same, or differs on purpose.
//!
//! With `COMPATIBILITY_OF` the rows are run against that binary, which then has to do what they say of
//! docker-compose-wait, and what `wait` does otherwise is listed:
//!
//! ```sh
//! COMPATIBILITY_OF=./docker-compose-wait cargo test --test it compatibility
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use socket2::{Domain, Socket, Type};

use crate::containers::static_wait;
use crate::support::{WAIT, with_path_alone};

/// When the port `{late}` opens, the file `{late-file}` appears and `{early-file}` is gone, in seconds.
const LATE: f64 = 1.5;

/// When the port `{later}` opens.
const LATER: f64 = 4.0;

/// When there is the file `{brief-file}`: not for those who look once a second.
const BRIEF: [f64; 2] = [1.2, 1.8];

/// The most that something may happen later than promised, on a machine that is busy.
const SLACK: f64 = 4.0;

/// The status of a process that a signal ended, as a panic that aborts does.
const SIGNAL: i32 = -1;

/// The longest name that a file may have, in bytes.
const LONGEST_NAME: usize = 255;

/// The number of rows that run side by side: nearly all of the time they sleep.
const ROWS_AT_A_TIME: usize = 32;

#[derive(Clone)]
struct Row {
    args: Vec<&'static str>,
    vars: Vec<(&'static str, &'static str)>,
    is_pid_1: bool,
    ours: Ending,
    /// The behaviour of docker-compose-wait, where `wait` differs on purpose, and why.
    theirs: Option<(Ending, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Ending {
    code: i32,
    /// Not before, in seconds; not later than `SLACK` behind it.
    after: f64,
    stdout: &'static str,
    stderr: Log,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Log {
    Nothing,
    Something,
    Lines(usize),
    /// Something, and so many lines of it are warnings.
    Warnings(usize),
}

fn starts(after: f64) -> Ending {
    prints("started\n", after)
}

fn prints(stdout: &'static str, after: f64) -> Ending {
    Ending {
        code: 0,
        after,
        stdout,
        stderr: Log::Something,
    }
}

fn fails(code: i32, after: f64) -> Ending {
    Ending {
        code,
        ..prints("", after)
    }
}

impl Ending {
    fn logs(self, stderr: Log) -> Self {
        Self { stderr, ..self }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, after, .. } = self;
        let status = match *code {
            SIGNAL => "an abort".to_owned(),
            code => format!("status {code}"),
        };
        write!(f, "{status} after {after} s")?;
        match self.stdout {
            "" => {}
            stdout => write!(f, ", prints {stdout:?}")?,
        }
        match self.stderr {
            Log::Nothing => write!(f, ", logs nothing"),
            Log::Something => Ok(()),
            Log::Lines(lines) => write!(f, ", logs {lines} lines"),
            Log::Warnings(lines) => write!(f, ", warnings: {lines}"),
        }
    }
}

impl Log {
    fn is(self, text: &str) -> bool {
        let is_warning = |line: &&str| line.contains("warning: ") || line.contains("WARN ");
        match self {
            Self::Nothing => text.is_empty(),
            Self::Something => !text.is_empty(),
            Self::Lines(lines) => text.lines().count() == lines,
            Self::Warnings(lines) => {
                !text.is_empty() && text.lines().filter(is_warning).count() == lines
            }
        }
    }
}

fn same(vars: &[(&'static str, &'static str)], ours: Ending) -> Row {
    Row {
        args: Vec::new(),
        vars: vars.to_vec(),
        is_pid_1: false,
        ours,
        theirs: None,
    }
}

fn differs(
    why: &'static str,
    vars: &[(&'static str, &'static str)],
    ours: Ending,
    theirs: Ending,
) -> Row {
    Row {
        theirs: Some((theirs, why)),
        ..same(vars, ours)
    }
}

impl Row {
    fn args(self, args: &[&'static str]) -> Self {
        let args = args.to_vec();
        Self { args, ..self }
    }

    fn pid_1(self) -> Self {
        Self {
            is_pid_1: true,
            ..self
        }
    }

    fn mentions(&self, placeholder: &str) -> bool {
        self.vars
            .iter()
            .any(|(_, value)| value.contains(placeholder))
    }

    /// As it is typed in a shell.
    fn line(&self) -> String {
        let words = self
            .vars
            .iter()
            .map(|(name, value)| format!("{name}={}", shell_words::quote(value)))
            .chain(["wait".to_owned()])
            .chain(self.args.iter().map(std::string::ToString::to_string));
        words.collect::<Vec<_>>().join(" ")
    }
}

const EMPTY: &str = "empty items of a list are ignored";
const LINES: &str = "lists may have an item a line";
const MALFORMED: &str = "a malformed target fails at once";
const HARD: &str = "the deadline is hard";
const DURATION: &str = "1s and 1m 30s are durations";
const ERROR: &str = "a command that cannot be started is reported by its status";
const UNSET: &str = "an empty variable counts as unset";
const NO_NUMBER: &str = "what is no number earns a warning";
const LEVEL: &str = "a log level that does not exist earns a warning";
const INFO: &str = "the default log level is info";
const ARGUMENTS: &str = "arguments are a command";
const PARALLEL: &str = "targets are tried in parallel";
const ADAPTIVE: &str = "the pause between attempts adapts unless it is set";
const INIT: &str = "as PID 1 it is an init";

/// `WAIT_COMMAND` is `echo started`, unless a row says otherwise.
#[rustfmt::skip]
fn rows() -> Vec<Row> { vec![
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
    same(&[("WAIT_PATHS", "{dir}/fifo")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/socket")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/link-to-folder")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/link-to-folder/../file")], starts(0.0)),
    same(&[("WAIT_PATHS", ".")], starts(0.0)),
    same(&[("WAIT_PATHS", "/")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/größe 数 🔑")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/{longest}")], starts(0.0)),
    same(&[("WAIT_PATHS", "{dir}/{longest}x"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "{dir}/loop"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "{dir}/f*"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "{dir}/fil[e]"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "~"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
    same(&[("WAIT_PATHS", "$PATH"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)),
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
    differs(DURATION, &[("WAIT_HOSTS", "{later}"), ("WAIT_TIMEOUT", "1s")], fails(1, 1.0), starts(LATER)),
    differs(DURATION, &[("WAIT_HOSTS", "{later}"), ("WAIT_TIMEOUT", "1s 500ms")], fails(1, 1.5), starts(LATER)),
    differs("spaces around a number are ignored", &[("WAIT_HOSTS", "{later}"), ("WAIT_TIMEOUT", " 1 ")], fails(1, 1.0), starts(LATER)),
    // All deprecated names together; each of them beside its new one is in `pairings`
    same(&[("WAIT_BEFORE_HOSTS", "1"), ("WAIT_AFTER_HOSTS", "1"), ("WAIT_HOSTS_TIMEOUT", "1"), ("WAIT_HOSTS", "{open}")], starts(2.0).logs(Log::Warnings(3))),
    same(&[("WAIT_BEFORE_HOSTS", "1"), ("WAIT_AFTER_HOSTS", "1"), ("WAIT_HOSTS_TIMEOUT", "1"), ("WAIT_HOSTS", "{later}")], fails(1, 2.0).logs(Log::Warnings(3))),
    same(&[("WAIT_BEFORE_HOSTS", "1"), ("WAIT_AFTER_HOSTS", "1"), ("WAIT_HOSTS_TIMEOUT", "1"), ("WAIT_BEFORE", "0"), ("WAIT_AFTER", "0"), ("WAIT_TIMEOUT", "30"), ("WAIT_HOSTS", "{late}")], starts(LATE).logs(Log::Warnings(3))),
    // The pauses
    same(&[("WAIT_BEFORE", "1")], starts(1.0)),
    same(&[("WAIT_BEFORE", "abc")], starts(0.0)),
    same(&[("WAIT_BEFORE", "2"), ("WAIT_HOSTS", "{late}"), ("WAIT_TIMEOUT", "1")], starts(2.0)),
    same(&[("WAIT_BEFORE", "1"), ("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "1")], fails(1, 2.0)),
    same(&[("WAIT_AFTER", "1")], starts(1.0)),
    same(&[("WAIT_AFTER", "-1")], starts(0.0)),
    same(&[("WAIT_AFTER", "2"), ("WAIT_HOSTS", "{open}"), ("WAIT_TIMEOUT", "1")], starts(2.0)),
    same(&[("WAIT_AFTER", "9"), ("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "0")], fails(1, 0.0)),
    same(&[("WAIT_BEFORE", "1"), ("WAIT_AFTER", "1"), ("WAIT_HOSTS", "{open}")], starts(2.0)),
    // Between and during attempts
    differs(ADAPTIVE, &[("WAIT_PATHS", "{brief-file}"), ("WAIT_TIMEOUT", "3")], starts(BRIEF[0]), fails(1, 3.0)),
    same(&[("WAIT_PATHS", "{brief-file}"), ("WAIT_TIMEOUT", "3"), ("WAIT_SLEEP_INTERVAL", "3")], fails(1, 3.0)),
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
    same(&[("WAIT_COMMAND", r#"printf [%s] "a\"b" "a\\b" "a\b""#)], prints(r#"[a"b][a\b][a\b]"#, 0.0)),
    same(&[("WAIT_COMMAND", r"printf [%s] 'a\b' 'a\\b'")], prints(r"[a\b][a\\b]", 0.0)),
    same(&[("WAIT_COMMAND", r#"printf [%s] "\$x" \$x "\`" '\$x'"#)], prints(r"[$x][$x][`][\$x]", 0.0)),
    same(&[("WAIT_COMMAND", "printf [%s] a\\\nb \"c\\\nd\" 'e\\\nf' \\\ng")], prints("[ab][cd][e\\\nf][g]", 0.0)),
    same(&[("WAIT_COMMAND", r#"printf [%s] a'b'"c"\d 'e''f' ''"g" "'"'"'"#)], prints(r#"[abcd][ef][g]['"]"#, 0.0)),
    same(&[("WAIT_COMMAND", r"printf [%s] a\")], prints(r"[a\]", 0.0)),
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
    differs(DURATION, &[("WAIT_BEFORE", "1s")], starts(1.0), starts(0.0)),
    // Arguments
    differs(ARGUMENTS, &[("WAIT_HOSTS", "{open}")], prints("argument\n", 0.0), starts(0.0)).args(&["echo", "argument"]),
    differs(ARGUMENTS, &[("WAIT_HOSTS", "{late}"), ("WAIT_COMMAND", "")], prints("argument\n", LATE), prints("", LATE)).args(&["echo", "argument"]),
    differs(ARGUMENTS, &[("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "0")], fails(2, 0.0), fails(1, 0.0)).args(&["--no-such-flag"]),
    // One after another, or all at the same time
    differs(PARALLEL, &[("WAIT_HOSTS", "{late}"), ("WAIT_PATHS", "{early-file}"), ("WAIT_TIMEOUT", "3")], starts(LATE), fails(1, 3.0)),
    // As PID 1
    differs(INIT, &[("WAIT_COMMAND", "sh -c 'echo $$'")], prints("2\n", 0.0), prints("1\n", 0.0)).pid_1(),
    same(&[("WAIT_COMMAND", "sh -c 'exit 7'"), ("WAIT_HOSTS", "{open}")], fails(7, 0.0)).pid_1(),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "1")], fails(1, 1.0)).pid_1(),
    // The log: none of it is on standard output
    same(&[("WAIT_LOGGER_LEVEL", "off"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Nothing)),
    same(&[("WAIT_LOGGER_LEVEL", "OFF"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Nothing)),
    same(&[("WAIT_LOGGER_LEVEL", "off"), ("WAIT_HOSTS", "{closed}"), ("WAIT_HOSTS_TIMEOUT", "1"), ("WAIT_BEFORE", "abc")], fails(1, 1.0).logs(Log::Nothing)),
    same(&[("WAIT_LOGGER_LEVEL", "error"), ("WAIT_HOSTS", "{open}"), ("WAIT_AFTER_HOSTS", "0")], starts(0.0).logs(Log::Nothing)),
    same(&[("WAIT_LOGGER_LEVEL", "error"), ("WAIT_HOSTS", "{closed}"), ("WAIT_HOSTS_TIMEOUT", "1")], fails(1, 1.0).logs(Log::Lines(1))),
    same(&[("WAIT_LOGGER_LEVEL", "warn"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Nothing)),
    same(&[("WAIT_LOGGER_LEVEL", "warn"), ("WAIT_HOSTS", "{open}"), ("WAIT_AFTER_HOSTS", "0")], starts(0.0).logs(Log::Lines(1))),
    same(&[("WAIT_LOGGER_LEVEL", "info"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Warnings(0))),
    same(&[("WAIT_LOGGER_LEVEL", "INFO"), ("WAIT_HOSTS", "{open}"), ("WAIT_AFTER_HOSTS", "0")], starts(0.0).logs(Log::Warnings(1))),
    same(&[("WAIT_LOGGER_LEVEL", "debug"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Warnings(0))),
    same(&[("WAIT_LOGGER_LEVEL", "trace"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Warnings(0))),
    differs(INFO, &[("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Lines(3)), starts(0.0).logs(Log::Lines(18))),
    differs("what is said at a level is said in other words", &[("WAIT_LOGGER_LEVEL", "info"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Lines(3)), starts(0.0).logs(Log::Lines(8))),
    differs(UNSET, &[("WAIT_LOGGER_LEVEL", ""), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Lines(3)), starts(0.0).logs(Log::Nothing)),
    differs(LEVEL, &[("WAIT_LOGGER_LEVEL", "loud"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Warnings(1)), starts(0.0).logs(Log::Nothing)),
    differs(LEVEL, &[("WAIT_LOGGER_LEVEL", "wait=info"), ("WAIT_HOSTS", "{open}")], starts(0.0).logs(Log::Warnings(1)), starts(0.0)),
] }

/// Rows that take too long for every day: the default of a timeout.
#[rustfmt::skip]
fn slow_rows() -> Vec<Row> { vec![
    same(&[("WAIT_HOSTS", "{closed}")], fails(1, 30.0)),
    same(&[("WAIT_HOSTS", "{closed}"), ("WAIT_TIMEOUT", "")], fails(1, 30.0)),
    same(&[("WAIT_PATHS", "{dir}/missing"), ("WAIT_TIMEOUT", "abc")], fails(1, 30.0)),
    same(&[("WAIT_PATHS", "{dir}/missing"), ("WAIT_HOSTS_TIMEOUT", "-1")], fails(1, 30.0)),
] }

/// Every new name beside its deprecated one, each of them unset, empty, a number and what is none.
fn pairings() -> Vec<Row> {
    // The file is gone by the end of a pause, and without a pause it is there.
    let early = ("WAIT_COMMAND", "test -e {early-file}");
    #[rustfmt::skip]
    let names = [
        (["WAIT_TIMEOUT", "WAIT_HOSTS_TIMEOUT"], ["2", "1"], ("WAIT_HOSTS", "{later}"), starts(LATER)),
        (["WAIT_BEFORE", "WAIT_BEFORE_HOSTS"], ["4", "3"], early, prints("", 0.0)),
        (["WAIT_AFTER", "WAIT_AFTER_HOSTS"], ["4", "3"], early, prints("", 0.0)),
    ];
    let mut rows = Vec::new();
    for ([new_name, old_name], [new_number, old_number], shown_by, by_default) in names {
        for new in [None, Some(""), Some(new_number), Some("abc")] {
            for old in [None, Some(""), Some(old_number), Some("abc")] {
                let ending = |used: Option<&str>| match used.and_then(|text| text.parse().ok()) {
                    Some(seconds) => fails(1, seconds),
                    None => by_default,
                };
                let is_set = |text: &&str| !text.is_empty();
                let used = new.filter(is_set).or(old.filter(is_set));
                let is_no_number = used == Some("abc");
                let warnings =
                    usize::from(old.is_some_and(|text| is_set(&text))) + usize::from(is_no_number);
                let ours = ending(used).logs(Log::Warnings(warnings));
                // The new name counts if it exists.
                let warnings = usize::from(old.is_some());
                let theirs = ending(new.or(old)).logs(Log::Warnings(warnings));
                let why = if is_no_number { NO_NUMBER } else { UNSET };

                let vars = [(new_name, new), (old_name, old)];
                let set = vars
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?)));
                rows.push(Row {
                    theirs: (ours != theirs).then_some((theirs, why)),
                    ..same(&set.chain([shown_by]).collect::<Vec<_>>(), ours)
                });
            }
        }
    }
    rows
}

/// The values of a row's placeholders, for as long as it takes.
struct World {
    folder: tempfile::TempDir,
    /// By the names of their placeholders. A port that is closed is not another process's either.
    sockets: BTreeMap<&'static str, Socket>,
    _queue: Vec<TcpStream>,
}

impl World {
    fn of(row: &Row) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let longest = "x".repeat(LONGEST_NAME);
        for name in ["file", "with space", "größe 数 🔑", "early", &longest] {
            fs::write(path(name), "").expect("written");
        }
        fs::create_dir(path("folder")).expect("made");
        mkfifo(&path("fifo"), Mode::S_IRUSR).expect("a FIFO");
        UnixListener::bind(path("socket")).expect("a socket");
        for (to, name) in [
            ("file", "link"),
            ("folder", "link-to-folder"),
            ("missing", "dangling"),
            ("loop", "loop"),
        ] {
            symlink(path(to), path(name)).expect("a link");
        }
        // No program of our own: it could not be run while another thread forks (ETXTBSY).
        symlink("/bin/echo", path("program")).expect("a link");

        let (mut sockets, mut queue) = (BTreeMap::new(), Vec::new());
        for name in [
            "open", "open2", "port", "port6", "closed", "late", "later", "silent",
        ] {
            if !row.mentions(&format!("{{{name}}}")) {
                continue;
            }
            let (domain, host) = match name {
                "port6" => (Domain::IPV6, IpAddr::from(Ipv6Addr::LOCALHOST)),
                _ => (Domain::IPV4, Ipv4Addr::LOCALHOST.into()),
            };
            let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
            let address = SocketAddr::from((host, 0));
            socket.bind(&address.into()).expect("a port");
            match name {
                "closed" | "late" | "later" => {}
                "silent" => {
                    // A full queue: what comes now is neither taken nor refused.
                    socket.listen(0).expect("listening");
                    let address = SocketAddr::from((host, port_of(&socket)));
                    let connect =
                        || TcpStream::connect_timeout(&address, Duration::from_millis(200));
                    queue.extend((0..64).map_while(|_| connect().ok()));
                }
                _ => socket.listen(64).expect("listening"),
            }
            sockets.insert(name, socket);
        }
        Self {
            folder,
            sockets,
            _queue: queue,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fill_in(&self, text: &str) -> String {
        let mut text = text
            .replace("{late-file}", "{dir}/late")
            .replace("{early-file}", "{dir}/early")
            .replace("{brief-file}", "{dir}/brief")
            .replace("{longest}", &"x".repeat(LONGEST_NAME))
            .replace("{dir}", &self.folder.path().display().to_string());
        for (name, socket) in &self.sockets {
            let host = if name.starts_with("port") {
                ""
            } else {
                "127.0.0.1:"
            };
            let value = format!("{host}{}", port_of(socket));
            text = text.replace(&format!("{{{name}}}"), &value);
        }
        text
    }

    fn listen(&self, name: &str) {
        if let Some(socket) = self.sockets.get(name) {
            socket.listen(64).expect("listening");
        }
    }

    fn write(&self, name: &str) {
        fs::write(self.path(name), "").expect("written");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("removed");
    }

    fn late(&self) {
        // The one first, so that both are never there at once.
        self.remove("early");
        self.write("late");
        self.listen("late");
    }
}

fn port_of(socket: &Socket) -> u16 {
    let address = socket.local_addr().ok().and_then(|bound| bound.as_socket());
    address.expect("bound").port()
}

/// The programs that the rows are about.
#[derive(Clone, Copy)]
enum Who {
    Ours,
    Theirs,
}

/// The words that make the next word PID 1, where that is allowed.
fn to_pid_1() -> Option<&'static [&'static str]> {
    #[cfg(target_os = "linux")]
    {
        use std::sync::OnceLock;
        static WORDS: OnceLock<Option<Vec<&str>>> = OnceLock::new();
        let words = WORDS.get_or_init(|| {
            let words = crate::pid1::unshare();
            let tried = with_path_alone(words[0])
                .args(&words[1..])
                .arg("true")
                .output();
            tried.is_ok_and(|o| o.status.success()).then_some(words)
        });
        words.as_deref()
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Runs a row. Returns what was not as it should be.
fn run(row: &Row, binary: &Path, who: Who) -> Result<(), String> {
    let expected = match (who, row.theirs) {
        (Who::Theirs, Some((theirs, _))) => theirs,
        _ => row.ours,
    };
    let world = World::of(row);
    let to_pid_1 = to_pid_1().filter(|_| row.is_pid_1).unwrap_or_default();
    let mut words = to_pid_1.iter().map(OsStr::new).chain([binary.as_os_str()]);
    let mut command = with_path_alone(words.next().expect("the binary at least"));
    command.args(words).env("WAIT_COMMAND", "echo started");
    for (name, value) in &row.vars {
        command.env(name, world.fill_in(value));
    }
    let start = Instant::now();
    let child = command
        .args(&row.args)
        .current_dir(world.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    // Waited for on another thread, so that what comes late comes in time.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send((child.wait_with_output(), start.elapsed())));
    let events: [(f64, &dyn Fn()); 4] = [
        (BRIEF[0], &|| world.write("brief")),
        (LATE, &|| world.late()),
        (BRIEF[1], &|| world.remove("brief")),
        (LATER, &|| world.listen("later")),
    ];
    let mut ended = None;
    for (seconds, happens) in events {
        let left = Duration::from_secs_f64(seconds).saturating_sub(start.elapsed());
        ended = receiver.recv_timeout(left).ok();
        if ended.is_some() {
            break;
        }
        happens();
    }
    let (output, took) = ended.unwrap_or_else(|| receiver.recv().expect("no panic"));

    let output = output.expect("it ends");
    let code = output.status.code().unwrap_or(SIGNAL);
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|o| String::from_utf8_lossy(o));
    let took = took.as_secs_f64();
    // A pause of exactly a second may be measured a little short of it, from outside.
    let is_in_time = (expected.after - 0.005..expected.after + SLACK).contains(&took);
    let is_as_expected =
        code == expected.code && stdout == expected.stdout && expected.stderr.is(&stderr);
    match is_as_expected && is_in_time {
        true => Ok(()),
        false => Err(format!(
            "{}: {expected:?}, but status {code} after {took:.2} s, {stdout:?}\n{stderr}",
            row.line()
        )),
    }
}

/// Runs all rows, those that can be run here, and tells what was wrong.
#[track_caller]
fn run_all(rows: &[Row], binary: &Path, who: Who) {
    let (next, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run_some = || {
        let rows = std::iter::from_fn(|| rows.get(next.fetch_add(1, Ordering::Relaxed)));
        rows.filter(|row| is_possible(row))
            .filter_map(|row| {
                let result = run(row, binary, who);
                ran.fetch_add(1, Ordering::Relaxed);
                result.err()
            })
            .collect::<Vec<_>>()
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..ROWS_AT_A_TIME).map(|_| scope.spawn(run_some)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let possible = rows.iter().filter(|row| is_possible(row)).count();
    assert_eq!(ran.into_inner(), possible);
    // Those of PID 1 are all that a machine may not be able to run.
    assert!(possible >= 190, "only {possible} rows ran");
}

fn is_possible(row: &Row) -> bool {
    !row.is_pid_1 || to_pid_1().is_some()
}

/// The differences of `wait` on purpose, row by row.
fn on_purpose(rows: &[Row]) -> String {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let Some((theirs, why)) = row.theirs {
            let not_here = match is_possible(row) {
                true => "",
                false => " (not run: no PID namespace here, see tests/it/pid1.rs)",
            };
            let line = format!(
                "    {}{not_here}\n        wait: {}\n        docker-compose-wait: {theirs}",
                row.line(),
                row.ours
            );
            reasons.entry(why).or_default().push(line);
        }
    }
    let number: usize = reasons.values().map(Vec::len).sum();
    let mut text = format!(
        "{} rows, {number} of them different on purpose:\n",
        rows.len()
    );
    for (why, rows) in reasons {
        text += &format!("{why}:\n{}\n", rows.join("\n"));
    }
    text
}

#[test]
fn compatibility_with_docker_compose_wait() {
    let mut rows = [rows(), pairings()].concat();
    let Some(other) = std::env::var_os("COMPATIBILITY_OF") else {
        return run_all(&rows, Path::new(WAIT), Who::Ours);
    };
    // A row has a folder of its own to run in.
    let binary = Path::new(&other).canonicalize();
    let binary = binary.unwrap_or_else(|error| panic!("COMPATIBILITY_OF: {other:?}: {error}"));
    rows.extend(slow_rows());
    // Past the harness, which keeps to itself what a test prints that goes well.
    let _ = std::io::stderr().write_all(on_purpose(&rows).as_bytes());
    run_all(&rows, &binary, Who::Theirs);
}

#[test]
#[ignore = "needs Docker"]
fn the_static_binary_of_the_image_is_as_compatible() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let rows = [rows(), pairings(), slow_rows()].concat();
    run_all(&rows, &static_wait(folder.path()), Who::Ours);
}
