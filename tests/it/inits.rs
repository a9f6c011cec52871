//! The init in the field: beside other inits, at terminals, under seccomp profiles, with a group.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;

use crate::containers::{docker, image, static_wait, text, try_docker};
use crate::handover::seen;
use crate::image::build;
use crate::pid1::{
    Container, as_pid_1, filtered, processor_time, refusing, run, start, unshare, until_it_runs,
    without,
};
use crate::support::{WAIT, best_of_three, children, has_line, wait, with_path_alone};

/// Sends a signal to a process of ours that has not been waited for.
fn kill(pid: u32, signal: i32) {
    // SAFETY: it is a number of ours.
    #[allow(unsafe_code)]
    let result = unsafe { libc::kill(pid as i32, signal) };
    assert_eq!(result, 0);
}

/// Waits for something that takes a moment.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The lines of a process's standard output, one after the other.
struct Lines(std::io::Lines<BufReader<ChildStdout>>);

impl Lines {
    fn of(child: &mut Child) -> Self {
        let stdout = child.stdout.take().expect("a pipe");
        Self(BufReader::new(stdout).lines())
    }

    fn next(&mut self) -> String {
        self.0.next().expect("a line").expect("UTF-8")
    }

    fn rest(self) -> Vec<String> {
        self.0.map(|line| line.expect("UTF-8")).collect()
    }
}

/// The state of a process, as `ps` has it.
fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("alive");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    fields.chars().next().expect("a state")
}

/// A program that is there until the folder is dropped.
fn program(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(&file, content).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("changed");
    file.to_str().expect("UTF-8").to_owned()
}

/// As s6-overlay's.
const ONLY_AS_PID_1: &str = "#!/bin/sh
if [ $$ != 1 ]; then echo 's6-overlay-suexec: fatal: can only run as pid 1' >&2; exit 100; fi
exit 7
";

#[test]
#[ignore = "needs a PID namespace"]
fn a_command_that_is_an_init_is_pid_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let init = program(folder.path(), "init", ONLY_AS_PID_1);
    let app = program(folder.path(), "init.sh", ONLY_AS_PID_1);
    let (init, app) = (init.as_str(), app.as_str());
    for (command, code) in [
        (&[init, "a", "b"][..], 7),
        (&["--", init], 7),
        (&["--path", "/", "--init", "auto", "--", init], 7),
        (&["/usr/bin/env", "-u", "HOME", "A=b", init], 7),
        (&["--init=never", app], 7),
        (&[app], 100),
        (&["--init=always", init], 100),
        (&["sh", "-c", init], 100),
    ] {
        assert_eq!(run(command), code, "{command:?}");
    }
    for (command, code) in [
        (format!("'{init}' x"), 7),
        (format!("\"{init}\""), 7), // as --env-file keeps it
        (format!("env -i {init}"), 7),
        (app.to_owned(), 100),
    ] {
        let status = as_pid_1(WAIT, &[]).env("WAIT_COMMAND", &command).status();
        assert_eq!(status.expect("unshare").code(), Some(code), "{command}");
    }
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let status = as_pid_1(WAIT, &["init"]).env("PATH", path).status();
    assert_eq!(status.expect("unshare").code(), Some(7));
}

#[test]
#[ignore = "needs a PID namespace"]
fn a_signal_ends_the_wait_for_an_init_at_once_and_is_in_the_log() {
    for (signal, name, code) in [
        (15, "SIGTERM", 143),
        (3, "SIGQUIT", 131),
        (28, "SIGWINCH", 156),
        (37, "signal 37", 165), // SIGRTMIN+3, systemd's
    ] {
        best_of_three(Duration::from_millis(500), || {
            let mut command = as_pid_1(WAIT, &["--path=/nonexistent", "/init"]);
            command.env("WAIT_LOGGER_LEVEL", "warn");
            command.stderr(Stdio::piped());
            let mut wait = until_it_runs(WAIT, &mut command);
            thread::sleep(Duration::from_millis(300));
            assert!(children(wait.pid.unsigned_abs()).is_empty());
            let mut log = wait.unshare.stderr.take().expect("a pipe");
            wait.kill(signal);
            let (status, took) = wait.end();
            assert_eq!(status, code);
            let mut said = String::new();
            log.read_to_string(&mut said).expect("UTF-8");
            let line = format!("wait: warning: ended by {name} while waiting\n");
            assert_eq!(said, line);
            took
        });
    }
}

#[test]
#[ignore = "needs a PID namespace"]
fn an_init_is_given_what_pid_1_was_given() {
    for is_odd in [false, true] {
        let without = seen(&unshare(), is_odd);
        let env = [WAIT, "--init=never", "--"];
        assert_eq!(seen(&[&unshare()[..], &env].concat(), is_odd), without);
    }
}

/// Apache's stop signal, which does nothing to a process without a handler.
#[test]
#[ignore = "needs a PID namespace"]
fn no_sigwinch_is_lost_at_any_moment_of_the_wait() {
    for i in 0..150_u64 {
        let wait = start(WAIT, &["--path=/nonexistent", "httpd"], Stdio::inherit());
        wait.until_it_has_a_child();
        // Up to 20 ms, in an order without a pattern.
        thread::sleep(Duration::from_micros(i * 7919 % 20_000));
        wait.kill(28);
        let (status, took) = wait.end();
        assert_eq!(status, 156, "start {i}");
        assert!(took < Duration::from_secs(5), "start {i}: {took:?}");
    }
}

/// A terminal, and a process that leads a session at it.
struct AtTerminal {
    keyboard: OwnedFd,
    child: Child,
}

impl AtTerminal {
    fn start(command: &mut Command, is_redirected: bool) -> Self {
        let (mut keyboard, mut terminal) = (0, 0);
        // SAFETY: the numbers are there to be written to, and nothing else is asked for.
        #[allow(unsafe_code)]
        let (keyboard, terminal) = unsafe {
            use std::os::fd::FromRawFd as _;
            let null = std::ptr::null_mut();
            let (first, second) = (&raw mut keyboard, &raw mut terminal);
            assert_eq!(
                libc::openpty(first, second, null, null.cast(), null.cast()),
                0
            );
            (
                OwnedFd::from_raw_fd(keyboard),
                OwnedFd::from_raw_fd(terminal),
            )
        };
        let number = terminal.as_raw_fd();
        // SAFETY: it does nothing but system calls.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || {
                match libc::setsid() == -1 || libc::ioctl(number, libc::TIOCSCTTY, 0) == -1 {
                    true => Err(std::io::Error::last_os_error()),
                    false => Ok(()),
                }
            })
        };
        if !is_redirected {
            let terminal = terminal.try_clone().expect("one more");
            command.stdin(terminal);
        }
        let child = command.spawn().expect("it starts");
        Self { keyboard, child }
    }

    /// Gives the terminal another size, which the kernel tells its foreground.
    fn resize(&self, columns: u16) {
        let size = libc::winsize {
            ws_row: 25,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let keyboard = self.keyboard.as_raw_fd();
        // SAFETY: the pointer is to what it has to be.
        #[allow(unsafe_code)]
        let result = unsafe { libc::ioctl(keyboard, libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(result, 0);
    }
}

/// A wait at a terminal whose size has changed some times; it goes on.
fn resized(command: &mut Command, is_redirected: bool) -> AtTerminal {
    command.args(["--path=/nonexistent", "--timeout=20"]);
    command.env_remove("WAIT_LOGGER_LEVEL");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut at = AtTerminal::start(command, is_redirected);
    let mut log = BufReader::new(at.child.stderr.take().expect("a pipe")).lines();
    let mut next = || log.next().expect("a line").expect("UTF-8");
    while !next().contains("is not ready") {}
    for columns in 80..100 {
        at.resize(columns);
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(100));
    assert_eq!(at.child.try_wait().expect("a child"), None, "{command:?}");
    at
}

#[test]
fn a_terminals_new_size_does_not_end_the_wait() {
    // With other standard streams the init stays in the terminal's foreground, and not its child.
    for (mode, is_redirected) in [
        ("--init=auto", false),
        ("--init=always", false),
        ("--init=always", true),
    ] {
        let mut at = resized(with_path_alone(WAIT).arg(mode), is_redirected);
        // As sudo does, which has a terminal of its own.
        kill(at.child.id(), libc::SIGWINCH);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(at.child.try_wait().expect("a child"), None, "{mode}");
        kill(at.child.id(), libc::SIGTERM);
        let status = at.child.wait().expect("an end");
        use std::os::unix::process::ExitStatusExt as _;
        let code = status.signal().map(|signal| 128 + signal).or(status.code());
        assert_eq!(code, Some(143), "{mode}");
    }
}

#[test]
#[ignore = "needs a PID namespace"]
fn sigwinch_ends_the_wait_unless_a_terminal_sent_it() {
    for mode in ["--init=auto", "--init=never"] {
        let mut at = resized(&mut as_pid_1(WAIT, &[mode]), false);
        kill(children(at.child.id())[0], libc::SIGWINCH); // from outside
        assert_eq!(at.child.wait().expect("an end").code(), Some(156), "{mode}");
    }
}

#[test]
#[ignore = "needs perl"]
fn the_command_is_told_of_the_terminals_new_size() {
    let script = "$| = 1; $SIG{WINCH} = sub { print \"resized\\n\"; exit 3 }; print \"begun\\n\"; \
                  sleep 1 for 1..20";
    for is_redirected in [false, true] {
        let mut command = with_path_alone(WAIT);
        command.args(["--init=always", "perl", "-e", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut at = AtTerminal::start(&mut command, is_redirected);
        let mut lines = Lines::of(&mut at.child);
        assert_eq!(lines.next(), "begun");
        at.resize(99);
        assert_eq!(lines.next(), "resized", "{is_redirected}");
        assert_eq!(at.child.wait().expect("an end").code(), Some(3));
    }
}

/// A shell with a trap, and its child with another.
const FAMILY: &str = r#"
    trap 'echo shell' TERM
    sh -c 'trap "echo child; exit" TERM; echo begun; for i in $(seq 400); do sleep 0.05; done' &
    wait; wait
    exit 9
"#;

#[test]
#[ignore = "needs a PID namespace"]
fn signals_go_to_the_command_or_to_its_group() {
    type Starts = fn(&[&str]) -> Command;
    let starts: [Starts; 2] = [
        |args| as_pid_1(WAIT, args),
        |args| {
            let mut command = with_path_alone(WAIT);
            command
                .args(["--init=always", "--log-level=error"])
                .args(args);
            command
        },
    ];
    for as_init in starts {
        for (args, variable, is_group) in [
            (&["--init-signals=group"][..], "", true),
            (&["--init-signals", "child"], "group", false),
            (&[], "group", true),
            (&[], "'group'", true),
            (&[], "", false),
        ] {
            let args = [args, &["sh", "-c", FAMILY]].concat();
            let mut init = as_init(&args);
            init.env("WAIT_INIT_SIGNALS", variable)
                .stdout(Stdio::piped());
            let mut init = init.spawn().expect("it starts");
            let mut lines = Lines::of(&mut init);
            assert_eq!(lines.next(), "begun");
            // As PID 1 it is the child of unshare.
            let pid = match args.is_empty() || !is_unshare(init.id()) {
                true => init.id(),
                false => children(init.id())[0],
            };
            kill(pid, libc::SIGTERM);
            let mut heard = vec![lines.next()];
            if is_group {
                heard.push(lines.next());
                heard.sort_unstable();
                assert_eq!(heard, ["child", "shell"]);
            } else {
                assert_eq!(heard, ["shell"]);
                // The child goes on, until all are ended.
                let family = children(children(pid)[0]);
                for pid in family {
                    kill(pid, libc::SIGKILL);
                }
            }
            assert_eq!(lines.rest(), [""; 0]);
            assert_eq!(init.wait().expect("an end").code(), Some(9));
        }
    }
}

fn is_unshare(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).expect("alive");
    name.trim() == "unshare"
}

/// Where the command has left the group, or could not have one.
#[test]
fn without_a_group_its_signals_go_to_the_command() {
    let script = "trap 'exit 8' TERM; echo begun; for i in $(seq 200); do sleep 0.05; done";
    let args = [
        "--init-signals=group",
        "--log-level=error",
        "sh",
        "-c",
        script,
    ];
    let mut init = refusing(libc::SYS_setpgid, &args);
    let mut init = init.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = Lines::of(&mut init);
    assert_eq!(lines.next(), "begun");
    kill(init.id(), libc::SIGTERM);
    assert_eq!(init.wait().expect("an end").code(), Some(8));
}

#[test]
fn chosen_statuses_of_the_command_become_0() {
    for (flag, variable, command, expected) in [
        ("--init-ok=", "", "exit 143", 143),
        ("", "143,130", "exit 143", 0),
        ("", " 143 ,\n130", "exit 130", 0),
        ("", "\"143,130\"", "exit 130", 0), // as --env-file keeps it
        ("", "143,130", "exit 144", 144),
        ("", "255", "exit 255", 0),
        ("--init-ok=7", "143", "exit 7", 0),
        ("--init-ok=7", "143", "exit 143", 143),
        ("--init-ok=0", "", "exit 1", 1),
        // Ended by a signal without a handler, as by `docker stop`.
        ("--init-ok=143", "", "kill $$; sleep 9", 0),
        ("--init-ok=165", "", "kill -37 $$; sleep 9", 0),
        // In a session of its own it is the command still.
        ("--init-ok=5", "", "exec setsid sh -c 'exit 5'", 0),
    ] {
        let flags = Some(flag).filter(|flag| !flag.is_empty());
        let outcome = wait()
            .args(["--init=always", "--log-level=error"])
            .args(flags)
            .args(["sh", "-c", command])
            .var("WAIT_INIT_OK", variable)
            .run();
        outcome.exits(expected);
        assert_eq!(outcome.stderr, "", "{flag} {variable}");
    }
}

#[test]
fn how_the_wait_itself_ends_is_no_status_of_the_commands() {
    let all = (1..=255).map(|status| status.to_string());
    let all = all.collect::<Vec<_>>().join(",");
    for _ in 0..20 {
        let wait = || wait().args(["--init=always", "--init-ok", &all]);
        wait().args(["true"]).run().exits(0);
        wait().args(["false"]).run().exits(0);
        wait()
            .args(["--path=/nonexistent", "--timeout=0", "true"])
            .run()
            .exits(1);
        wait().args(["no-such-program"]).run().exits(127);
        wait().args(["/etc/passwd"]).run().exits(126);
        wait().args(["--timeout=x", "true"]).run().exits(2);
    }
    let mut waiting = wait()
        .args(["--init=always", "--init-ok", &all, "--path=/nonexistent"])
        .start();
    waiting.until(&["is not ready"]);
    waiting.kill(15);
    waiting.end().exits(143);
}

#[test]
fn options_of_the_init_that_cannot_be_used_are_an_error_of_one_line() {
    for (name, value, expected) in [
        ("init-signals", "all", "all: expected child or group"),
        (
            "init-signals",
            "child,group",
            "child,group: expected child or group",
        ),
        ("init-ok", "x", "x: expected exit statuses, such as 143,130"),
        (
            "init-ok",
            "143,256",
            "143,256: expected exit statuses, such as 143,130",
        ),
        (
            "init-ok",
            "-1",
            "-1: expected exit statuses, such as 143,130",
        ),
    ] {
        let variable = format!("WAIT_{}", name.replace('-', "_").to_uppercase());
        for mode in ["--init=always", "--init=auto"] {
            let flag = format!("--{name}={value}");
            let outcome = wait().args([mode, &flag, "echo", "started"]).run();
            assert_eq!(
                outcome.exits(2).stderr,
                format!("wait: error: --{name}: {expected}\n")
            );
            let outcome = wait()
                .var(&variable, value)
                .args([mode, "echo", "started"])
                .run();
            assert_eq!(
                outcome.exits(2).stderr,
                format!("wait: error: {variable}: {expected}\n")
            );
            assert_eq!(outcome.stdout, "");
        }
    }
}

#[test]
fn options_of_an_init_where_there_is_none_earn_a_warning() {
    let warnings = |args: &[&str]| {
        let outcome = wait().args(["--log-level=warn"]).args(args).run();
        outcome.exits(0).stderr.clone()
    };
    let none = |name| format!("wait: warning: {name} has no effect: wait is not the init here\n");
    let group = none("--init-signals");
    assert_eq!(warnings(&["--init-signals=group", "true"]), group);
    assert_eq!(warnings(&["--init-ok=143", "true"]), none("--init-ok"));
    let variable = wait().var("WAIT_INIT_OK", "143").args(["true"]).run();
    assert!(variable.exits(0).stderr.contains(&none("WAIT_INIT_OK")));
    assert_eq!(
        warnings(&["--init-signals=child", "--init-ok=", "true"]),
        ""
    );
    assert_eq!(warnings(&["--init=always", "--init-ok=143", "true"]), "");
    let check = wait().var("WAIT_INIT_OK", "143").args(["--check=/"]).run();
    assert_eq!(check.exits(0).stderr, "");
}

#[test]
#[ignore = "needs a PID namespace"]
fn the_warning_names_a_command_that_is_an_init_as_the_cause() {
    let folder = tempfile::tempdir().expect("a folder");
    let init = program(folder.path(), "init", ONLY_AS_PID_1);
    for (mode, cause) in [
        ("--init=auto", "the command is an init itself (see --init)"),
        ("--init=never", "wait is not the init here"),
    ] {
        let mut command = as_pid_1(WAIT, &[mode, "--init-ok=143", &init]);
        let output = command.env("WAIT_LOGGER_LEVEL", "warn").output();
        let output = output.expect("unshare");
        assert_eq!(output.status.code(), Some(7));
        let line = format!("wait: warning: --init-ok has no effect: {cause}\n");
        assert_eq!(text(&output), line);
    }
}

/// With all three of a command's streams elsewhere, and in a session without a terminal.
#[test]
#[ignore = "needs perl"]
fn a_command_that_another_process_stops_and_continues_does_not_stop_the_init() {
    for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN] {
        let script = "$| = 1; $SIG{TERM} = sub { exit 6 }; unless (fork) { sleep 1; exit } \
                      print \"begun\\n\"; sleep 1 for 1..30";
        let mut command = with_path_alone("setsid");
        command.args([
            WAIT,
            "--init=always",
            "--log-level=error",
            "perl",
            "-e",
            script,
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut init = command.spawn().expect("it starts");
        let mut lines = Lines::of(&mut init);
        assert_eq!(lines.next(), "begun");
        let child = children(init.id())[0];
        kill(child, signal);
        until("it stops", || state(child) == 'T');
        thread::sleep(Duration::from_millis(100));
        assert_eq!(state(init.id()), 'S', "after signal {signal}");
        // It still passes on signals, which wait for the command to be continued.
        kill(init.id(), libc::SIGTERM);
        kill(child, libc::SIGCONT);
        assert_eq!(init.wait().expect("an end").code(), Some(6));
    }
}

/// The header of a program for another processor, and then words for a shell.
fn foreign(machine: u8) -> Vec<u8> {
    let mut program = vec![0; 64];
    program[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    program[16] = 2;
    program[18] = machine;
    program[20] = 1;
    program.extend(b"\necho run by a shell\n");
    program
}

#[test]
fn a_program_for_another_processor_is_never_given_to_a_shell() {
    let (own, other, machine) = match cfg!(target_arch = "x86_64") {
        true => ("linux/amd64", "linux/arm64", 183),
        false => ("linux/arm64", "linux/amd64", 62),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let app = program(folder.path(), "app", foreign(machine));
    let mac = program(
        folder.path(),
        "mac",
        b"\xcf\xfa\xed\xfe\x07\0\0\x01\necho run by a shell\n",
    );
    let garbage = program(
        folder.path(),
        "garbage",
        b"echo run by a shell\0\necho run by a shell\n",
    );
    let script = program(
        folder.path(),
        "script",
        format!("#!{app} -x\necho run by a shell\n"),
    );
    let text = program(folder.path(), "text", b"echo run by a shell\n\0\0\0");
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    for (command, shown, expected) in [
        (app.as_str(), app.clone(), other),
        ("app", "app".into(), other),
        (&script, format!("{script} with {app}"), other),
        (&mac, mac.clone(), "macOS"),
    ] {
        for mode in ["--init=auto", "--init=always"] {
            let wait = wait()
                .var("PATH", &path)
                .args([mode, "--log-level=error", command]);
            let outcome = wait.run();
            let line = format!(
                "wait: error: cannot start {shown}: built for another processor? \
                 It is for {expected}, and this is {own}\n"
            );
            assert_eq!(outcome.exits(126).stderr, line);
            assert_eq!(outcome.stdout, "");
        }
    }
    let outcome = wait().args(["--log-level=error", &garbage]).run();
    let line = format!("wait: error: cannot start {garbage}: ENOEXEC: Exec format error\n");
    assert_eq!(outcome.exits(126).stderr, line);
    assert_eq!(outcome.stdout, "");
    // A script with something in another form at its end is one all the same.
    assert_eq!(wait().args([&text]).run().stdout, "run by a shell\n");
}

#[test]
fn a_program_is_looked_up_as_by_a_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let is_first = program(folder.path(), "first/app", "#!/bin/sh\necho first\n");
    program(folder.path(), "second/app", "#!/bin/sh\necho second $0\n");
    program(folder.path(), "third/other", "#!/nonexistent\n");
    let path = format!(
        "/nonexistent:{0}/first:{0}/third:{0}/second",
        folder.path().display()
    );
    let run = |name: &str| {
        let wait = wait().var("PATH", &path).args(["--log-level=error", name]);
        let outcome = wait.run();
        (
            outcome.code,
            format!("{}{}", outcome.stdout, outcome.stderr),
        )
    };
    assert_eq!(run("app"), (Some(0), "first\n".into()));
    // One that may not be executed is passed over, and reported where there is no other.
    fs::set_permissions(&is_first, fs::Permissions::from_mode(0o644)).expect("changed");
    let (code, said) = run("app");
    assert!(code == Some(0) && said.starts_with("second"), "{said}");
    fs::remove_file(folder.path().join("second/app")).expect("removed");
    let (code, said) = run("app");
    assert!(code == Some(126) && said.contains("EACCES"), "{said}");
    let (code, said) = run("other");
    assert!(
        code == Some(126) && said.contains("its interpreter"),
        "{said}"
    );
    assert_eq!(run("nothing").0, Some(127));
}

/// Prints the code, the sender and the value of every real-time signal 40. The offsets are those of
/// 64 bits.
const VALUES: &str = r#"
    use POSIX;
    my $action = POSIX::SigAction->new(sub {
        syswrite STDOUT, sprintf "%d %d %d\n", unpack "x8 l x4 l x4 q", $_[2];
    }, POSIX::SigSet->new, SA_SIGINFO);
    $action->safe(0);
    POSIX::sigaction(40, $action) or die;
    syswrite STDOUT, "listening\n";
    my $end = time + 60;
    select(undef, undef, undef, 1) while time < $end;
"#;

/// Sends a signal with a value.
fn queue(pid: u32, signal: i32, value: usize) {
    // As sigqueue has it: number, error, code, nothing, sender, user, value.
    let mut info = [
        signal,
        0,
        libc::SI_QUEUE,
        0,
        std::process::id() as i32,
        0,
        0,
        0,
    ];
    info[6] = value as i32;
    info[7] = (value >> 32) as i32;
    let mut whole = [0; 32];
    whole[..8].copy_from_slice(&info);
    // SAFETY: the pointer is to as much as the kernel reads.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signal, &raw const whole) };
    assert_eq!(result, 0);
}

#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
#[test]
#[ignore = "needs perl"]
fn the_values_of_queued_signals_are_passed_on() {
    let args = ["--log-level=error", "perl", "-e", VALUES];
    let (always, group) = (
        &["--init=always"][..],
        &["--init=always", "--init-signals=group"],
    );
    let plain = |options: &[&str]| {
        let mut command = with_path_alone(WAIT);
        command.args(options).args(args);
        command
    };
    for (mut init, keeps_value) in [
        (plain(always), true),
        (plain(group), false), // the system has no call for it
        (refusing(libc::SYS_rt_sigtimedwait, &args), true),
        (refusing(libc::SYS_rt_sigqueueinfo, &args), false),
    ] {
        let mut init = init.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = Lines::of(&mut init);
        assert_eq!(lines.next(), "listening");
        for value in [42, 0, usize::MAX >> 1] {
            queue(init.id(), 40, value);
            let line = lines.next();
            match keeps_value {
                // By the process that has sent it first.
                true => assert_eq!(line, format!("-1 {} {value}", std::process::id())),
                false => assert!(line.starts_with(&format!("0 {} ", init.id())), "{line}"),
            }
        }
        kill(init.id(), 40); // without one
        let line = lines.next();
        assert!(line.starts_with(&format!("0 {} ", init.id())), "{line}");
        kill(init.id(), libc::SIGTERM);
        init.wait().expect("an end");
    }
}

/// As with `cap_drop: [ALL]` and a command that changes its user.
#[test]
#[ignore = "needs root, and a PID namespace"]
fn a_signal_that_cannot_be_passed_on_is_a_warning() {
    let mut command = with_path_alone("setpriv");
    let drops = ["--bounding-set=-kill", "--inh-caps=-kill"];
    command
        .args(drops)
        .args(unshare())
        .args([WAIT, "--log-level=warn"]);
    command.args(["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c"]);
    command.arg("echo begun; sleep 1; exit 4");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut wait = until_it_runs(WAIT, &mut command);
    let mut lines = Lines::of(&mut wait.unshare);
    assert_eq!(lines.next(), "begun");
    let mut log = wait.unshare.stderr.take().expect("a pipe");
    wait.kill(15);
    assert_eq!(wait.end().0, 4);
    let mut said = String::new();
    log.read_to_string(&mut said).expect("UTF-8");
    let line = "wait: warning: cannot pass SIGTERM on as it came: EPERM: Operation not permitted\n";
    assert_eq!(said, line);
}

#[test]
fn a_log_file_that_is_full_ends_neither_the_wait_nor_the_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    for mode in ["--init=auto", "--init=always"] {
        let script = format!("ulimit -f 1; exec \"$@\" 2>'{}'", log.display());
        let mut command = with_path_alone("sh");
        // As long as the limit, and some more.
        let paths = (0..40).map(|i| format!("--path=/nonexistent/{i}/{}", "x".repeat(50)));
        command.args(["-c", &script, "sh", WAIT, mode]).args(paths);
        command.args(["--timeout=300ms", "--on-timeout=start"]);
        command.args([
            "sh",
            "-c",
            "echo started; trap '' XFSZ; grep SigIgn /proc/$$/status",
        ]);
        command.stdin(Stdio::null());
        let output = command.output().expect("a shell");
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", text(&output));
        assert!(text(&output).starts_with("started\n"), "{}", text(&output));
        let length = fs::metadata(&log).expect("a log").len();
        assert!(length == 512 || length == 1024, "{length}");
        fs::remove_file(&log).expect("removed");
    }
}

/// The init's own warning is the one that does not fit.
#[test]
#[ignore = "needs perl"]
fn a_log_file_that_is_full_sends_the_command_no_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    fs::write(&log, "x".repeat(1024)).expect("written");
    let script = format!("ulimit -f 1; exec \"$@\" 2>>'{}'", log.display());
    let command = "$| = 1; $SIG{XFSZ} = sub { print \"SIGXFSZ\\n\" }; print \"begun\\n\"; \
                   $SIG{TERM} = sub { exit 5 }; sleep 1 for 1..20";
    let mut shell = with_path_alone("sh");
    shell.args([
        "-c",
        &script,
        "sh",
        WAIT,
        "--init=always",
        "perl",
        "-e",
        command,
    ]);
    filtered(&mut shell, without(libc::SYS_kill));
    let mut init = shell.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = Lines::of(&mut init);
    assert_eq!(lines.next(), "begun");
    let child = children(init.id())[0];
    kill(init.id(), libc::SIGTERM); // cannot be passed on
    thread::sleep(Duration::from_millis(300));
    kill(child, libc::SIGTERM);
    assert_eq!(lines.rest(), [""; 0]);
    assert_eq!(init.wait().expect("an end").code(), Some(5));
}

/// A container that runs this repository's `wait` as PID 1.
struct InContainer {
    container: Container,
    _folder: tempfile::TempDir,
}

impl InContainer {
    fn start(options: &[&str], image: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let volume = format!("{}:/wait:ro", static_wait(folder.path()).display());
        let run = ["run", "--detach", "--network=none", "--entrypoint=/wait"];
        let run = [&run[..], &["--volume", &volume], options, &[image], args];
        Self {
            container: Container(docker(&run.concat())),
            _folder: folder,
        }
    }

    fn log(&self) -> String {
        text(&try_docker(&["logs", &self.container.0], &[]))
    }

    #[track_caller]
    fn says(&self, line: &str) {
        let start = Instant::now();
        while !self.log().contains(line) {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{line}: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn kill(&self, signal: &str) {
        docker(&["kill", "--signal", signal, &self.container.0]);
    }

    /// The number of its PID 1 out here.
    fn pid(&self) -> u32 {
        let pid = docker(&["inspect", "--format={{.State.Pid}}", &self.container.0]);
        pid.parse().expect("a number")
    }

    fn status(&self) -> i32 {
        let status = docker(&["wait", &self.container.0]);
        status.parse().expect("a status")
    }

    /// Stops it, and returns its status and how long that took.
    fn stop(&self) -> (i32, Duration) {
        let start = Instant::now();
        docker(&["stop", &self.container.0]);
        (self.status(), start.elapsed())
    }
}

fn debian() -> String {
    image("DEBIAN_IMAGE", "debian:bookworm-slim")
}

#[test]
#[ignore = "needs Docker"]
fn other_inits_are_pid_1_behind_wait() {
    let packages = "tini dumb-init catatonit";
    let image = build(
        "inits",
        &format!(
            "FROM {}\nRUN apt-get update -q \\\n && \
             apt-get install -y -q --no-install-recommends {packages}\n",
            debian()
        ),
    );
    // Says who is PID 1, and is ended by the second of two signals.
    let script = "trap 'echo heard' USR1; trap 'exit 33' TERM; echo under $(cat /proc/1/comm); \
                  while :; do sleep 0.05; done";
    for init in [
        &["tini", "--"][..],
        &["/usr/bin/tini", "-g", "--"],
        &["tini-static", "--"],
        &["dumb-init"],
        &["/usr/bin/env", "A=b", "dumb-init", "--"],
        &["catatonit", "--"],
    ] {
        let args = [&["--path=/etc/hostname", "--"], init, &["sh", "-c", script]].concat();
        let container = InContainer::start(&[], &image, &args);
        container.says("under ");
        container.kill("USR1");
        container.says("heard");
        let (status, took) = container.stop();
        let log = container.log();
        assert_eq!(status, 33, "{init:?}: {log}");
        assert!(took < Duration::from_secs(5), "{init:?}: {took:?}");
        let name = init
            .iter()
            .find(|word| !word.contains('=') && !word.ends_with("env"));
        let name = name
            .and_then(|path| path.rsplit('/').next())
            .expect("a name");
        assert!(log.contains(&format!("under {name}\n")), "{init:?}: {log}");
        // The shell's own words on its child, where that is sent the signal too.
        let others = ["", "User defined signal 1", "Terminated"];
        let is_more = |line: &&str| !line.starts_with("wait: ") && !others.contains(line);
        assert_eq!(log.lines().filter(is_more).count(), 2, "{init:?}: {log}");
        assert!(!log.contains("warning"), "{init:?}: {log}");

        for code in ["0", "7", "255"] {
            let script = format!("exit {code}");
            let args = [init, &["sh", "-c", &script]].concat();
            let container = InContainer::start(&[], &image, &args);
            assert_eq!(container.status().to_string(), code, "{init:?}");
        }
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_container_that_waits_ends_at_once_by_its_stop_signal() {
    let of_containers = [
        &[][..],
        &["--tty"],
        &["--init"],
        &["--env=WAIT_INIT=never"],
        &["--init", "--env=WAIT_INIT=always"],
    ];
    for signal in ["SIGWINCH", "SIGQUIT", "RTMIN+3", "SIGUSR1"] {
        for options in of_containers {
            let stop_signal = format!("--stop-signal={signal}");
            let options = [&[&*stop_signal], options].concat();
            best_of_three(Duration::from_secs(1), || {
                let args = ["--path=/nonexistent", "httpd"];
                let container = InContainer::start(&options, &debian(), &args);
                container.says("is not ready");
                let (status, took) = container.stop();
                assert!(status > 128 && status != 137, "{options:?}: {status}");
                assert!(
                    has_line(&container.log(), &["ended by "]),
                    "{}",
                    container.log()
                );
                took
            });
        }
    }
}

#[test]
#[ignore = "needs Docker"]
fn docker_stop_is_a_success_where_143_is_one() {
    let options = ["--env=WAIT_INIT_OK=143"];
    let container = InContainer::start(&options, &debian(), &["sleep", "30"]);
    container.says("starting sleep");
    let (status, took) = container.stop();
    assert_eq!(status, 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // A wait that is stopped has not succeeded.
    let container = InContainer::start(&options, &debian(), &["--path=/nonexistent", "sleep"]);
    container.says("is not ready");
    assert_eq!(container.stop().0, 143);
}

/// A seccomp profile that refuses system calls.
fn profile(folder: &Path, rules: &serde_json::Value) -> String {
    let profile = serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
    let file = folder.join("profile.json");
    fs::write(&file, profile.to_string()).expect("written");
    format!("--security-opt=seccomp={}", file.display())
}

#[test]
#[ignore = "needs Docker"]
fn under_seccomp_profiles_the_command_runs_and_its_status_comes_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let refuse = |names: &[&str], errno: i32| serde_json::json!([{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno }]);
    let threads = |errno: i32| {
        let of_threads = serde_json::json!([{
            "index": 0, "value": libc::CLONE_THREAD, "valueTwo": libc::CLONE_THREAD,
            "op": "SCMP_CMP_MASKED_EQ"
        }]);
        serde_json::json!([
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS },
            { "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": of_threads },
        ])
    };
    let calls = [
        "prctl",
        "setpgid",
        "rt_sigtimedwait",
        "rt_sigprocmask",
        "wait4",
        "waitid",
        "clone3",
        "pidfd_open",
        "openat2",
        "threads",
    ];
    // A name, a port where nothing listens, and what the kernel has not looked up before.
    let warn = [
        "--log-level=warn",
        "--timeout=5",
        "--for=localhost:1#gone",
        "--path=/usr/lib",
    ];
    for call in calls {
        for errno in [libc::ENOSYS, libc::EPERM] {
            let rules = match call {
                "threads" => threads(errno),
                call => refuse(&[call], errno),
            };
            let options = [
                &*profile(folder.path(), &rules),
                "--security-opt=no-new-privileges",
            ];
            let args = [&warn[..], &["sh", "-c", "exit 7"]].concat();
            let container = InContainer::start(&options, &debian(), &args);
            let (status, log) = (container.status(), container.log());
            match (call, status) {
                ("waitid", 126) => assert_eq!(log.lines().count(), 1, "{call}: {log}"),
                (_, 7) => assert!(log.lines().count() <= 1, "{call}: {log}"),
                _ => panic!("{call}: {status}: {log}"),
            }
            if call == "waitid" {
                continue;
            }
            let args = [&warn[..], &["sh", "-c", "echo begun; exec sleep 30"]].concat();
            let container = InContainer::start(&options, &debian(), &args);
            container.says("begun");
            let before = processor_time(container.pid());
            thread::sleep(Duration::from_secs(1));
            let spent = processor_time(container.pid()) - before;
            assert!(spent < 20, "{call}: {spent}0 ms");
            assert_eq!(container.stop().0, 143, "{call}");
        }
    }
}

#[test]
#[ignore = "needs Docker"]
fn without_new_privileges_under_dockers_own_profile_there_is_no_warning() {
    for mode in ["auto", "always", "never"] {
        let options = [
            "--security-opt=no-new-privileges",
            "--cap-drop=ALL",
            "--user=12345",
        ];
        let args = [
            "--init",
            mode,
            "--log-level=warn",
            "--path=/usr",
            "sh",
            "-c",
            "exit 7",
        ];
        let container = InContainer::start(&options, &debian(), &args);
        assert_eq!(container.status(), 7, "{mode}");
        assert_eq!(container.log(), "", "{mode}");
    }
}
