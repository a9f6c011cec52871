//! `wait` as PID 1: in a PID namespace of its own, and with Node.js in containers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;

use crate::containers::{docker, image, static_wait, text, try_docker};
use crate::handover::seen;
use crate::support::{WAIT, best_of_three, children, process_status, with_path_alone};

/// The words that make the next word PID 1.
pub fn unshare() -> Vec<&'static str> {
    let mut words = vec!["unshare", "--pid", "--fork", "--mount-proc"];
    if Path::new("/proc/self").metadata().expect("/proc").uid() != 0 {
        words.extend(["--user", "--map-root-user"]);
    }
    words
}

/// A process that is PID 1, and the `unshare` above it, which ends with its status.
pub struct Pid1 {
    pub unshare: Child,
    /// Its number out here.
    pub pid: i32,
}

/// A program as PID 1, to be started.
pub fn as_pid_1(init: &str, args: &[&str]) -> Command {
    let mut command = with_path_alone("unshare");
    command
        .args(&unshare()[1..])
        .arg(init)
        .args(args)
        .env("WAIT_LOGGER_LEVEL", "error")
        .stdin(Stdio::null());
    command
}

/// Starts a program as PID 1 and returns once it runs.
pub fn start(init: &str, args: &[&str], stdout: Stdio) -> Pid1 {
    let mut command = as_pid_1(init, args);
    command.stdout(stdout);
    until_it_runs(init, &mut command)
}

/// Starts `unshare` and returns once the program that it makes PID 1 runs.
#[allow(clippy::zombie_processes)] // Pid1::end waits for it
pub fn until_it_runs(init: &str, unshare: &mut Command) -> Pid1 {
    let unshare = unshare.spawn().expect("unshare");
    let program = Path::new(init).canonicalize().expect("a path");
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < Duration::from_secs(20), "no PID 1");
        if let [pid] = children(unshare.id())[..] {
            // Until then it is unshare still.
            let runs = std::fs::read_link(format!("/proc/{pid}/exe"));
            if runs.is_ok_and(|exe| exe == program) {
                let pid = pid.try_into().expect("a number");
                return Pid1 { unshare, pid };
            }
        }
        thread::sleep(Duration::from_micros(200));
    }
}

impl Pid1 {
    pub fn kill(&self, signal: i32) {
        // SAFETY: it is a number of ours, since its parent has not been waited for.
        #[allow(unsafe_code)]
        let result = unsafe { nix::libc::kill(self.pid, signal) };
        assert_eq!(result, 0);
    }

    /// Until its program runs, the kernel drops what a new PID 1 has no handler for: there is no
    /// help against that. By the time it has forked it has begun.
    pub fn until_it_has_a_child(&self) {
        let start = Instant::now();
        while children(self.pid.unsigned_abs()).is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "it has no child");
        }
    }

    /// Its status, as a shell would have it, and how long that took from now.
    pub fn end(mut self) -> (i32, Duration) {
        use std::os::unix::process::ExitStatusExt as _;
        let start = Instant::now();
        let status = self.unshare.wait().expect("an end");
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        (code.expect("a status"), start.elapsed())
    }

    fn status(&self, field: &str) -> u64 {
        process_status(self.pid.unsigned_abs(), field)
    }
}

/// Runs `wait` as PID 1 to its end and returns its status.
pub fn run(args: &[&str]) -> i32 {
    let status = as_pid_1(WAIT, args).status().expect("unshare");
    status.code().unwrap_or_else(|| panic!("{status}"))
}

#[test]
#[ignore = "needs a PID namespace"]
fn every_status_comes_through() {
    for code in 0..=255 {
        assert_eq!(run(&["sh", "-c", &format!("exit {code}")]), code);
    }
    for (signal, number) in [
        ("HUP", 1),
        ("KILL", 9),
        ("SEGV", 11),
        ("TERM", 15),
        ("40", 40),
    ] {
        let script = format!("kill -{signal} $$; sleep 9");
        assert_eq!(run(&["sh", "-c", &script]), 128 + number);
    }
}

#[test]
#[ignore = "needs a PID namespace"]
fn a_command_that_cannot_be_started_is_127_or_126_as_pid_1_too() {
    for (command, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let output = as_pid_1(WAIT, &[command]).output().expect("unshare");
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(text(&output).lines().count(), 1, "{}", text(&output));
    }
}

#[test]
#[ignore = "needs a PID namespace"]
fn a_signal_ends_the_wait_at_once() {
    for mode in ["--init=auto", "--init=never"] {
        for (signal, code) in [
            (15, 143),
            (2, 130),
            (1, 129),
            (37, 165),
            (28, 156),
            (6, 134),
            (11, 139),
        ] {
            best_of_three(Duration::from_millis(500), || {
                let wait = start(WAIT, &[mode, "--path=/nonexistent"], Stdio::inherit());
                thread::sleep(Duration::from_millis(300));
                wait.kill(signal);
                let (status, took) = wait.end();
                assert_eq!(status, code, "{mode}");
                took
            });
        }
    }
}

#[test]
#[ignore = "needs a PID namespace"]
fn a_signal_that_ends_the_wait_is_in_the_log_as_pid_1_too() {
    for mode in ["--init=auto", "--init=never"] {
        for (wait, line) in [
            ("--path=/nonexistent", "/nonexistent is not ready"),
            ("--after=60", "now that everything is ready"),
        ] {
            let mut command = as_pid_1(WAIT, &[mode, wait, "echo", "started"]);
            command.env("WAIT_LOGGER_LEVEL", "info");
            let unshare = command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let mut unshare = unshare.expect("unshare");
            let mut log = BufReader::new(unshare.stderr.take().expect("a pipe")).lines();
            let mut next = || log.next().map(|line| line.expect("UTF-8"));
            while !next().expect(line).contains(line) {}
            let pid = children(unshare.id())[0].try_into().expect("a number");
            let wait = Pid1 { unshare, pid };
            wait.kill(15);
            let last = std::iter::from_fn(next).last();
            let expected = "wait: warning: ended by SIGTERM while waiting";
            assert_eq!(last.as_deref(), Some(expected), "{mode} {line}");
            assert_eq!(wait.end().0, 143, "{mode} {line}");
        }
    }
}

#[test]
#[ignore = "needs a PID namespace"]
fn no_signal_is_lost_at_any_moment_of_the_start() {
    let mut longest = Duration::ZERO;
    for i in 0..300_u64 {
        // Some are still waiting by then, some are starting the command, some have started it.
        let until = format!("--before={}ms", i % 3 * 20);
        let wait = start(WAIT, &[&until, "sleep", "9"], Stdio::inherit());
        wait.until_it_has_a_child();
        // Up to 60 ms, in an order without a pattern.
        thread::sleep(Duration::from_micros(i * 7919 % 60_000));
        wait.kill(15);
        let (status, took) = wait.end();
        assert_eq!(status, 143, "start {i}");
        longest = longest.max(took);
    }
    println!("the longest of 300 took {longest:?}");
    // One that is lost is seen by the status.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

/// Prints the number of every signal that it gets, one a line.
const LISTENER: &str = r#"
    use POSIX;
    $| = 1;
    for my $n (1..64) {
        next if grep { $n == $_ } 9, 19, 32, 33;
        my $action = POSIX::SigAction->new(sub { print "$n\n" });
        $action->safe(1); # not in the middle of another print
        POSIX::sigaction($n, $action) or die "$n: $!";
    }
    print "listening\n";
    my $end = time + 60;
    select(undef, undef, undef, 1) while time < $end;
"#;

#[test]
#[ignore = "needs a PID namespace and perl"]
fn every_signal_that_can_be_passed_on_arrives_once() {
    let mut wait = start(WAIT, &["perl", "-e", LISTENER], Stdio::piped());
    let stdout = wait.unshare.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let mut heard = || lines.next().expect("a line").expect("UTF-8");
    assert_eq!(heard(), "listening");
    // Two that cannot be caught, and two that belong to the C library.
    let (faults, others) = ([4, 7, 8, 11], [9, 19, 32, 33]);
    let signals = (1..=64).filter(|signal| !faults.contains(signal) && !others.contains(signal));
    for signal in signals.cycle().take(1000) {
        wait.kill(signal);
        assert_eq!(heard(), signal.to_string());
    }
    // Perl handles these at once, in the middle of another handler too.
    for signal in faults {
        thread::sleep(Duration::from_millis(100));
        wait.kill(signal);
        assert_eq!(heard(), signal.to_string());
    }
    wait.kill(9);
    // Had one come twice, it would be here.
    assert_eq!(lines.count(), 0);
    wait.end();
}

/// Leaves 500 orphans that end at the same moment, and ends with 42: at that moment too with the
/// argument `together`, else when PID 1 has none of them left, or with 1 after some seconds.
const PARENT: &str = r#"
    pipe(my $wait, my $end) or die;
    for my $n (1..500) {
        my $child = fork // die "fork: $!";
        waitpid($child, 0), next if $child;
        POSIX::_exit(0) if fork;             # what it forked is an orphan now
        close $end; sysread $wait, my $x, 1; # until the other end is closed
        POSIX::_exit(0);
    }
    close $end;
    exit 42 if $ARGV[0] eq "together";
    for (1..300) {
        my $orphans = 0;
        for my $file (glob "/proc/[0-9]*/stat") {
            open my $stat, "<", $file or next;
            my ($parent) = <$stat> =~ /\) \S+ (\d+) /;
            $orphans++ if $parent == ($ARGV[1] // 1);
        }
        exit 42 if $orphans == $ARGV[2];
        select undef, undef, undef, 0.01;
    }
    exit 1;
"#;

#[test]
#[ignore = "needs a PID namespace and perl"]
fn five_hundred_orphans_are_reaped() {
    let code = |mode: &str, when: &str, left: &str| {
        let args = ["perl", "-MPOSIX", "-e", PARENT, when, "1", left];
        run(&[&[mode], &args[..]].concat())
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..25 {
                    // The only child that PID 1 has at the end is the command itself.
                    let when = if i % 2 == 0 { "together" } else { "later" };
                    assert_eq!(code("--init=auto", when, "1"), 42, "run {i}");
                }
            });
        }
    });
    // The same check without an init: as PID 1, perl has its orphans until it ends.
    assert_eq!(code("--init=never", "later", "0"), 1);
}

/// A statement of a seccomp filter. `jf` statements are skipped if it is a comparison that fails.
fn statement(code: u32, k: u32, jf: u8) -> libc::sock_filter {
    let (code, jt) = (code as u16, 0);
    libc::sock_filter { code, jt, jf, k }
}

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0)
}

fn end(result: u32) -> libc::sock_filter {
    statement(libc::BPF_RET, result, 0)
}

const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A filter that refuses a call.
pub fn without(call: libc::c_long) -> Vec<libc::sock_filter> {
    vec![
        load(0), // the call's number
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 1),
        end(REFUSED),
        end(libc::SECCOMP_RET_ALLOW),
    ]
}

/// A filter that refuses threads, and allows processes. It also refuses openat2, which makes threads
/// needless in looking at files that the kernel knows.
fn without_threads() -> Vec<libc::sock_filter> {
    const FLAGS: u32 = 16; // the low half of the first argument
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let has = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    vec![
        load(0),
        statement(is, libc::SYS_openat2 as u32, 1),
        end(REFUSED),
        statement(is, libc::SYS_clone3 as u32, 1), // its flags are out of reach
        end(REFUSED),
        statement(is, libc::SYS_clone as u32, 3),
        load(FLAGS),
        statement(has, libc::CLONE_THREAD as u32, 1),
        end(REFUSED),
        end(libc::SECCOMP_RET_ALLOW),
    ]
}

/// Puts a process under a seccomp filter.
pub fn filtered(command: &mut Command, filter: Vec<libc::sock_filter>) {
    use std::os::unix::process::CommandExt as _;
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        let (on, mode) = (1, libc::SECCOMP_MODE_FILTER);
        // SAFETY: the program is there for as long as the calls take.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, 0, 0)
        };
        match result {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: it does nothing but two system calls.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(install)
    };
}

/// `wait` as an init under a filter, as a tight seccomp profile is one.
pub fn under(filter: Vec<libc::sock_filter>, args: &[&str]) -> Command {
    let mut command = with_path_alone(WAIT);
    command.arg("--init=always").args(args).stdin(Stdio::null());
    filtered(&mut command, filter);
    command
}

/// `wait` as an init, to which the system refuses a call.
pub fn refusing(call: libc::c_long, args: &[&str]) -> Command {
    under(without(call), args)
}

/// The processor time of a process, in hundredths of a second.
pub fn processor_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("alive");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let times = fields.split(' ').skip(11).take(2);
    times
        .map(|time| time.parse::<u64>().expect("a number"))
        .sum()
}

#[test]
fn an_init_works_without_calls_that_it_can_do_without() {
    // What is missing then is said.
    let hold_back = "wait: warning: cannot hold back the first signals: ENOSYS";
    let orphans = "wait: warning: cannot become the parent of orphans: ENOSYS";
    let group = "wait: warning: cannot have a process group: ENOSYS";
    let catch = "wait: warning: cannot catch signals: ENOSYS";
    let calls = [
        ("rt_sigtimedwait", without(libc::SYS_rt_sigtimedwait), ""),
        (
            "rt_sigprocmask",
            without(libc::SYS_rt_sigprocmask),
            hold_back,
        ),
        ("rt_sigaction", without(libc::SYS_rt_sigaction), catch),
        ("prctl", without(libc::SYS_prctl), orphans),
        ("setpgid", without(libc::SYS_setpgid), group),
        ("madvise", without(libc::SYS_madvise), ""),
        ("ioctl", without(libc::SYS_ioctl), ""),
        ("clone3", without(libc::SYS_clone3), ""),
        ("pidfd_open", without(libc::SYS_pidfd_open), ""),
        ("openat2", without(libc::SYS_openat2), ""),
        ("threads", without_threads(), ""),
        #[cfg(target_arch = "x86_64")]
        ("poll", without(libc::SYS_poll), ""),
    ];
    let scripts = |(name, filter, warning): &(&str, Vec<_>, &str)| {
        let log = "--log-level=warn";
        let ended = under(filter.clone(), &[log, "--path=/", "sh", "-c", "exit 7"]).output();
        let ended = ended.expect("it starts");
        assert_eq!(ended.status.code(), Some(7), "{name}: {}", text(&ended));
        let said = String::from_utf8_lossy(&ended.stderr);
        let said: Vec<_> = said.lines().collect();
        match *warning {
            "" => assert_eq!(said, [""; 0], "{name}"),
            warning => assert!(
                matches!(said[..], [line] if line.starts_with(warning)),
                "{name}: {said:?}"
            ),
        }
        // Where it cannot be caught, a shell has no trap either.
        if *name == "rt_sigaction" {
            return;
        }
        // An orphan that has ended, and a command that is ended by a signal.
        let script = "(sleep 0.1 &); trap 'exit 8' TERM; echo begun; while :; do sleep 0.1; done";
        let mut init = under(filter.clone(), &["--log-level=error", "sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut begun = [0; 6];
        let stdout = init.stdout.as_mut().expect("a pipe");
        stdout.read_exact(&mut begun).expect(name);
        thread::sleep(Duration::from_secs(1));
        let time = processor_time(init.id());
        assert!(time < 20, "{name}: {time}0 ms");
        let children = children(init.id());
        assert_eq!(children.len(), 1, "{name}: {children:?}");
        // SAFETY: it is a number of ours, since it has not been waited for.
        #[allow(unsafe_code)]
        let result = unsafe { libc::kill(init.id() as i32, libc::SIGTERM) };
        assert_eq!(result, 0);
        let ended = init.wait().expect("an end");
        assert_eq!(ended.code(), Some(8), "{name}: {ended}");
    };
    thread::scope(|scope| {
        for call in &calls {
            scope.spawn(move || scripts(call));
        }
    });
}

/// A shell waits for its children by this call, the init by another.
#[test]
fn an_init_does_not_need_wait4() {
    let args = ["--log-level=warn", "--path=/", "sh", "-c", "exit 7"];
    let output = refusing(libc::SYS_wait4, &args)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    assert_eq!(text(&output), "");
}

#[test]
fn an_init_without_a_call_that_it_needs_ends_with_one_line() {
    for (call, code, line) in [
        (
            libc::SYS_waitid,
            126,
            "wait: error: cannot look after the command: ",
        ),
        (libc::SYS_pipe2, 1, "wait: error: cannot wait: "),
        (libc::SYS_fcntl, 1, "wait: error: cannot wait: "),
        (libc::SYS_epoll_create1, 1, "wait: error: cannot wait: "),
    ] {
        let start = Instant::now();
        let args = ["--log-level=error", "--before=1", "sleep", "9"];
        let output = refusing(call, &args).output().expect("it starts");
        assert!(start.elapsed() < Duration::from_secs(5), "{line}");
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.starts_with(line) && said.lines().count() == 1,
            "{said}"
        );
    }
}

/// As a shell's `trap '' CHLD` has it: then the kernel reaps and tells no process.
#[test]
#[ignore = "needs a PID namespace and perl"]
fn an_ignored_sigchld_holds_nothing_up_and_stays_ignored() {
    let ignoring = ["perl", "-e", "$SIG{CHLD} = 'IGNORE'; exec @ARGV", WAIT];
    for init in [
        &[&ignoring[..], &["--init=always"]].concat()[..],
        &[&unshare()[..], &ignoring].concat(),
    ] {
        let output = with_path_alone("timeout")
            .arg("20")
            .args(init)
            .args(["grep", "SigIgn", "/proc/self/status"])
            .output()
            .expect("timeout");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let said = String::from_utf8_lossy(&output.stdout);
        let mask = said.trim().strip_prefix("SigIgn:\t").expect("a mask");
        let mask = u64::from_str_radix(mask, 16).expect("a number");
        assert_ne!(mask & 1 << 16, 0, "{said}");
    }
}

#[test]
#[ignore = "needs root, to be a user with a limit on processes"]
fn a_check_needs_no_second_process() {
    let output = with_path_alone("setpriv")
        .args(["--reuid=65534", "--clear-groups", "prlimit", "--nproc=1:1"])
        .args([WAIT, "--init=always", "--check=/"])
        .output()
        .expect("setpriv");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
#[ignore = "needs perl"]
fn outside_pid_1_always_makes_it_the_parent_of_orphans() {
    let script = format!(
        "exec perl -MPOSIX -e '{}' later $PPID 1",
        PARENT.replace('\'', "'\\''")
    );
    let status = with_path_alone(WAIT)
        .args(["--init=always", "--log-level=error", "sh", "-c", &script])
        .status()
        .expect("wait starts");
    assert_eq!(status.code(), Some(42));
}

#[test]
#[ignore = "needs a PID namespace"]
fn the_command_is_given_what_pid_1_was_given() {
    for is_odd in [false, true] {
        let without = seen(&unshare(), is_odd);
        let with = seen(&[&unshare()[..], &[WAIT, "--"]].concat(), is_odd);
        // All but that it is not PID 1 itself.
        let parent = |line: &String| line.starts_with("PPid:");
        assert_eq!(
            without.iter().find(|line| parent(line)).expect("a line"),
            "PPid:\t0"
        );
        let without: Vec<_> = without
            .iter()
            .map(|line| line.replace("PPid:\t0", "PPid:\t1"))
            .collect();
        assert_eq!(with, without);
    }
}

#[test]
#[ignore = "needs a PID namespace"]
fn a_stopped_child_is_not_an_ended_one() {
    let script = "(sleep 0.3; kill -CONT $$) & kill -STOP $$; exit 5";
    assert_eq!(run(&["sh", "-c", script]), 5);
}

#[test]
#[ignore = "needs a PID namespace, Docker for the static binary, and tini"]
fn the_init_is_no_larger_than_tini_and_sleeps() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let wait = static_wait(folder.path());
    let which = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut files = std::env::split_paths(&path).map(|folder| folder.join(program));
        files
            .find(|file| file.exists())
            .map(|file| file.canonicalize().expect("a path"))
    };
    let tini = which("tini").expect("tini is installed");
    let inits = [
        Some(wait),
        Some(tini),
        which("catatonit"),
        which("dumb-init"),
    ];
    let mut sizes = Vec::new();
    for init in inits.into_iter().flatten() {
        let process = start(
            init.to_str().expect("UTF-8"),
            &["--", "sleep", "11"],
            Stdio::inherit(),
        );
        thread::sleep(Duration::from_millis(500));
        let (size, anonymous) = (process.status("VmRSS"), process.status("RssAnon"));
        println!("{}: {size} kB, {anonymous} of it anonymous", init.display());
        if sizes.is_empty() {
            let wake_ups = || {
                let voluntary = process.status("voluntary_ctxt_switches");
                voluntary + process.status("nonvoluntary_ctxt_switches")
            };
            let before = wake_ups();
            thread::sleep(Duration::from_secs(10));
            assert_eq!(wake_ups(), before);
        }
        sizes.push(size);
        process.kill(15);
        process.end();
    }
    assert!(sizes[0] <= sizes[1], "{sizes:?}");
}

/// A container, gone when this is dropped.
pub struct Container(pub String);

impl Drop for Container {
    fn drop(&mut self) {
        try_docker(&["rm", "--force", &self.0], &[]);
    }
}

/// Node.js in a container, under `/wait` from this repository's image.
struct Node {
    container: Container,
    _folder: tempfile::TempDir,
}

/// A service that does nothing about signals, and one that does.
const CARELESS: &str =
    "require('http').createServer().listen(3000, () => console.log('listening'))";
const CAREFUL: &str = "require('http').createServer().listen(3000, () => console.log('listening')); \
    process.on('SIGTERM', () => { console.log('handled'); process.exit(33); })";

impl Node {
    fn start(options: &[&str], args: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let volume = format!("{}:/wait:ro", static_wait(folder.path()).display());
        let node = image("NODE_IMAGE", "node:20-slim");
        let run = [
            "run",
            "--detach",
            "--network=none",
            "--entrypoint=/wait",
            "--volume",
            &volume,
        ];
        let container = docker(&[&run[..], options, &[&node], args].concat());
        Self {
            container: Container(container),
            _folder: folder,
        }
    }

    fn log(&self) -> String {
        text(&try_docker(&["logs", &self.container.0], &[]))
    }

    /// Waits until a line is in the log.
    fn says(self, line: &str) -> Self {
        let start = Instant::now();
        while !self.log().contains(line) {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
        self
    }

    /// Does something to the container that ends it; returns its status and how long it took.
    fn ends_by(&self, args: &[&str]) -> (i32, Duration) {
        let start = Instant::now();
        docker(&[args, &[&self.container.0]].concat());
        let code = docker(&["wait", &self.container.0]);
        (code.parse().expect("a status"), start.elapsed())
    }

    /// The processes inside: number, parent, program.
    fn processes(&self) -> String {
        let script = "for s in /proc/[0-9]*/stat; do read pid name state parent rest <$s && \
            [ $pid != $$ ] && echo $pid $parent $name; done; true";
        docker(&["exec", &self.container.0, "sh", "-c", script])
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_container_that_waits_is_gone_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        best_of_three(Duration::from_millis(500), || {
            let node = Node::start(&[], &["--path=/nonexistent", "node"]).says("is not ready");
            let (status, took) = node.ends_by(&["kill", "--signal", signal]);
            println!("{signal} while waiting: {took:?}");
            assert_eq!(status, code);
            took
        });
    }
}

#[test]
#[ignore = "needs Docker"]
fn docker_stop_ends_node_at_once_with_a_handler_and_without() {
    for options in [&[][..], &["--init"]] {
        for (script, code) in [(CARELESS, 143), (CAREFUL, 33)] {
            best_of_three(Duration::from_secs(1), || {
                let node = Node::start(options, &["node", "-e", script]).says("listening");
                let (status, took) = node.ends_by(&["stop"]);
                println!("docker stop {options:?}: {status} after {took:?}");
                assert_eq!(status, code);
                assert_eq!(node.log().contains("handled"), code == 33);
                took
            });
        }
    }
}

#[test]
#[ignore = "needs Docker"]
fn compose_stop_ends_node_at_once_with_and_without_an_init_of_dockers() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let wait = static_wait(folder.path());
    let service = |name: &str, script: &str, init: bool| {
        let node = image("NODE_IMAGE", "node:20-slim");
        let script = serde_json::to_string(script).expect("JSON");
        let wait = wait.display();
        format!(
            "  {name}:\n    image: {node}\n    network_mode: none\n    init: {init}\n    \
             volumes: ['{wait}:/wait:ro']\n    entrypoint: [/wait]\n    \
             command: [node, -e, {script}]\n"
        )
    };
    let file = folder.path().join("compose.yaml");
    let mut yaml = std::fs::File::create(&file).expect("a file");
    let name = format!("compose-wait-test-stop-{}", std::process::id());
    writeln!(yaml, "name: {name}\nservices:").expect("written");
    let services = [
        ("careless", CARELESS, false, "143"),
        ("careful", CAREFUL, false, "33"),
        ("careless-init", CARELESS, true, "143"),
        ("careful-init", CAREFUL, true, "33"),
    ];
    for (name, script, init, _) in services {
        yaml.write_all(service(name, script, init).as_bytes())
            .expect("written");
    }
    let file = file.to_str().expect("UTF-8");
    let compose = |args: &[&str]| try_docker(&[&["compose", "--file", file], args].concat(), &[]);
    struct Down<F: Fn()>(F);
    impl<F: Fn()> Drop for Down<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let _down = Down(|| drop(compose(&["down", "--timeout=1"])));
    for (name, _, _, code) in services {
        best_of_three(Duration::from_secs(1), || {
            let up = ["up", "--detach", "--force-recreate", name];
            assert!(compose(&up).status.success());
            let begun = Instant::now();
            while !text(&compose(&["logs", name])).contains("listening") {
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "{name} does not start"
                );
                thread::sleep(Duration::from_millis(100));
            }
            let container = compose(&["ps", "--quiet", name]).stdout;
            let container = String::from_utf8(container).expect("UTF-8");
            let begun = Instant::now();
            assert!(compose(&["stop", name]).status.success());
            let took = begun.elapsed();
            println!("compose stop {name}: {took:?}");
            let format = ["inspect", "--format", "{{.State.ExitCode}}"];
            let status = docker(&[&format[..], &[container.trim()]].concat());
            assert_eq!(status, code, "{name}");
            took
        });
    }
}

#[test]
#[ignore = "needs Docker"]
fn node_is_the_only_child_of_pid_1() {
    let node = Node::start(&[], &["node", "-e", CARELESS]).says("listening");
    let processes = node.processes();
    let lines: Vec<_> = processes.lines().collect();
    assert!(
        matches!(lines[..], ["1 0 (wait)", child] if child.ends_with(" 1 (node)")),
        "{processes}"
    );
    let node = Node::start(&[], &["--init=never", "node", "-e", CARELESS]).says("listening");
    assert_eq!(node.processes(), "1 0 (node)");
    // With an init of Docker's, that is the parent.
    let node = Node::start(&["--init"], &["node", "-e", CARELESS]).says("listening");
    let processes = node.processes();
    assert!(
        processes.ends_with(" 1 (node)") && !processes.contains("(wait)"),
        "{processes}"
    );
}

/// A terminal's `script`. Nothing of it is to be there when other tests look.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command in a terminal and types, each time until the screen shows something new; what is
/// typed is shown too, so none of it may hold the text that is waited for. Returns what the screen
/// showed and the command's status.
pub fn at_a_keyboard(command: &str, types: &[(&str, &str)]) -> (String, Option<i32>) {
    let script = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command"])
        .args([command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut terminal = Terminal(script.expect("script"));
    let mut keyboard = terminal.0.stdin.take().expect("a pipe");
    let mut stdout = terminal.0.stdout.take().expect("a pipe");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stdout.read(&mut bytes) {
            let _ = sender.send(bytes[..read].to_vec()); // the test may have failed
        }
    });
    let mut screen = String::new();
    // What it shows next, nothing at its end.
    let next = |screen: &str| match receiver.recv_timeout(Duration::from_secs(20)) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing more after {screen}"),
    };
    for (keys, shows) in types {
        keyboard.write_all(keys.as_bytes()).expect("typed");
        let begin = screen.len();
        while !screen[begin..].contains(shows) {
            let new = next(&screen);
            screen += &new.unwrap_or_else(|| panic!("no {shows} in {screen}"));
        }
    }
    while let Some(new) = next(&screen) {
        screen += &new;
    }
    (screen, terminal.0.wait().expect("an end").code())
}

#[test]
#[ignore = "needs Docker, and script for a terminal"]
fn a_shell_in_a_terminal_has_job_control() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let debian = image("DEBIAN_IMAGE", "debian:bookworm-slim");
    let name = format!("compose-wait-test-terminal-{}", std::process::id());
    let docker_run = format!(
        "docker run --rm --name {name} --interactive --tty --network=none --entrypoint=/wait \
         --volume {}:/wait:ro {debian} bash --norc",
        static_wait(folder.path()).display()
    );
    let _gone = Container(name);
    let types = [
        ("", "bash"), // its prompt
        ("PS1=; echo be''gin\n", "begin"),
        ("sh -c 'echo sle\"\"eping; exec sleep 50'\n", "sleeping"),
        ("\x03", "^C"),
        ("echo status $?\n", "status 130"),
        ("sh -c 'echo dow\"\"sing; exec sleep 60'\n", "dowsing"),
        ("\x1a", "Stopped"), // Ctrl-Z
        ("jobs\n", "Stopped"),
        // Not `wait`, which does not wait for what was stopped the last time that bash looked.
        (
            "kill %1; while kill -0 %1; do sleep 0.1; done 2>/dev/null; echo go''ne\n",
            "gone",
        ),
        ("exit 9\n", ""),
    ];
    let (screen, code) = at_a_keyboard(&docker_run, &types);
    assert_eq!(code, Some(9), "{screen}");
    assert!(
        !screen.contains("no job control") && !screen.contains("cannot set terminal"),
        "{screen}"
    );
}

#[test]
#[ignore = "needs bash, perl, and script for a terminal"]
fn outside_pid_1_it_is_a_job_of_the_shells() {
    let wait = format!("{WAIT} --init=always --log-level=off");
    // It says when it goes on, which is when it has the terminal again. A single process: a shell in
    // the middle of a vfork does not stop, and its child does.
    let sleeper = format!(
        "{wait} perl -e '$| = 1; $SIG{{CONT}} = sub {{ print \"awa\" . \"ke\\n\" }}; \
         print \"sle\" . \"eping\\n\"; sleep 1 for 1..20'\n"
    );
    let reader = format!("{wait} sh -c 'read x; echo go\"\"t $x' &\n");
    let types = [
        ("", "bash"), // its prompt
        ("PS1=; echo be''gin\n", "begin"),
        (&sleeper, "sleeping"),
        ("\x1a", "Stopped"), // Ctrl-Z
        ("echo ba''ck\n", "back"),
        ("fg\n", "awake"),
        ("\x03", "^C"),
        ("echo status $?\n", "status 130"),
        (&reader, "[1]"),
        ("fg\n", "read x"),
        ("hello\n", "got hello"),
        ("exit 9\n", ""),
    ];
    let (screen, code) = at_a_keyboard("bash --norc", &types);
    assert_eq!(code, Some(9), "{screen}");
}

#[test]
#[ignore = "needs a PID namespace, and script for a terminal"]
fn ctrl_z_stops_neither_the_wait_nor_the_command_of_pid_1() {
    // A terminal of its own, as in a container.
    let unshare = format!("{} setsid --ctty", unshare().join(" "));
    let wait = format!("{unshare} {WAIT} --log-level=info --timeout=2 --path=/nonexistent true");
    let types = [("", "is not ready"), ("\x1a", "^Z")];
    let (screen, code) = at_a_keyboard(&wait, &types);
    assert_eq!(code, Some(1), "{screen}");
    // There is no shell that could continue it.
    let command = "sh -c 'echo beg\"\"un; read x; echo go\"\"t $x; exit 9'";
    let command = format!("{unshare} {WAIT} --log-level=off {command}");
    let types = [("", "begun"), ("\x1a", "^Z"), ("hello\n", "got hello")];
    let (screen, code) = at_a_keyboard(&command, &types);
    assert_eq!(code, Some(9), "{screen}");
}
