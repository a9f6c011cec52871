//! Commands that have to succeed: `--exec` and `WAIT_EXEC`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCHLD, SIGHUP, SIGKILL, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, kill, killpg, signal, sigprocmask};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{Outcome, WAIT, has_line, process_status, wait, with_path_alone};

/// For one attempt at a command that fails.
fn failing(line: &str) -> Outcome {
    let args = ["--exec", line, "--timeout=0", "--connect-timeout=20"];
    wait().args(args).run()
}

/// For a script, which is run by a shell.
fn script(text: &str) -> String {
    shell_words::join(["sh", "-c", text])
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Reads a file once it has a line.
fn line_of(file: &Path) -> String {
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') {
            return text.trim().to_owned();
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{} is empty",
            file.display()
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that a process has ended, be it that its parent has not noticed yet.
#[track_caller]
fn has_ended(pid: &str) {
    let start = Instant::now();
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{stat} goes on");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_command_is_waited_for_until_it_exits_with_0() {
    let folder = folder();
    let file = folder.path().join("ready");
    let started = wait()
        .args(["--exec", &format!("test -e {}", file.display())])
        .args(["--exec=true", "echo", "started"])
        .start();
    thread::sleep(Duration::from_millis(500));
    fs::write(&file, "").expect("written");
    let outcome = started.end();
    outcome.exits(0).took_from_to(0.5, 10.0);
    assert_eq!(outcome.stdout, "started\n");
    outcome.says(&[
        "wait: exec test … is not ready after",
        ": exec_failed: exit status 1",
    ]);
    outcome.says(&["wait: exec test … is ready after", "attempts"]);
    outcome.says(&["wait: exec true is ready after", "1 attempt"]);
}

#[test]
fn the_end_of_a_command_and_its_last_line_are_reported() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "\u{7f}ELF?").expect("written");
    let not_executable = file.display().to_string();
    for (line, detail) in [
        ("false", "exec_failed: exit status 1; does the same command"),
        (&*script("exit 7"), "exec_failed: exit status 7; "),
        (&script("echo a; echo b >&2; exit 1"), "exit status 1: b; "),
        (&script("echo b >&2; echo a; exit 1"), "exit status 1: a; "),
        (&script("printf 'a\\nb'; exit 1"), "exit status 1: b; "),
        (
            &script("printf 'a\\r\\n \\n\\n'; exit 1"),
            "exit status 1: a; ",
        ),
        (
            &script("printf '10%%\\r50%%\\r'; exit 1"),
            "exit status 1: 50%; ",
        ),
        (&script("kill -9 $$"), "exec_failed: ended by SIGKILL; "),
        (
            &script("echo x; kill -40 $$"),
            "exec_failed: ended by signal 40: x; ",
        ),
        (
            "no-such-program a",
            "exec_failed: there is no such program; ",
        ),
        (
            "/no/such/program",
            "exec_failed: there is no such program; ",
        ),
        (
            "/dev/null/program",
            "exec_failed: there is no such program; ",
        ),
        (
            &not_executable,
            "exec_failed: it cannot be started: Permission denied; ",
        ),
        (
            "/",
            "exec_failed: it cannot be started: Permission denied; ",
        ),
        ("''", "exec_failed: there is no such program; "),
    ] {
        failing(line).exits(1).says(&["wait: error: exec ", detail]);
    }
    let json = wait()
        .args([
            "--exec",
            &script("echo x; exit 7"),
            "--timeout=0",
            "--log-format=json",
        ])
        .run();
    json.exits(1).says(&[
        r#""event":"timed_out""#,
        r#""target":"exec sh …""#,
        r#""kind":"exec""#,
        r#""reason":"exec_failed""#,
        r#""detail":"exit status 7: x""#,
        r#""code":"7""#,
    ]);
}

#[test]
fn a_program_without_its_interpreter_says_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let program = folder.path().join("program");
    fs::write(&program, "#!/no/such/interpreter\n").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    let outcome = failing(&program.display().to_string());
    outcome
        .exits(1)
        .says(&["exec_failed: its interpreter or dynamic loader is not"]);
}

#[test]
fn output_is_bounded_and_escaped_in_the_log() {
    let long = script("printf '\\033[31m'; head -c 1000000 /dev/zero | tr '\\0' x; exit 1");
    let outcome = failing(&long);
    outcome
        .exits(1)
        .says(&["exec_failed: exit status 1: \\u{1b}[31mxxx"]);
    for line in outcome.stderr.lines() {
        assert!(line.len() < 1_000, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    let invalid = failing(&script("printf 'a\\377b\\342\\200\\256c'; exit 1"));
    invalid
        .exits(1)
        .says(&["exit status 1: a\u{fffd}b\\u{202e}c"]);
}

#[test]
fn a_command_that_writes_without_end_is_ended_at_the_deadline() {
    for line in ["yes", &script("yes >&2"), &script("tr '\\0' x </dev/zero")] {
        let started = wait().args(["--exec", line, "--timeout=2"]).start();
        thread::sleep(Duration::from_millis(1_700));
        let most = process_status(started.id(), "VmHWM");
        assert!(most < 64 * 1024, "{line}: {most} KiB");
        let outcome = started.end();
        outcome.exits(1).took_from_to(2.0, 4.0);
        outcome.says(&["timed_out: no answer for", "while running the command"]);
    }
}

#[test]
fn much_output_is_read_to_its_end() {
    let line = script("head -c 5000000 /dev/zero | tr '\\0' '\\n'; echo end; exit 3");
    failing(&line)
        .exits(1)
        .says(&["exec_failed: exit status 3: end"]);
}

/// Runs `wait` where these signals are ignored, some are blocked, and standard input never ends.
fn in_odd_circumstances(args: &[&str]) -> Output {
    use std::os::unix::process::CommandExt as _;
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let mut command = with_path_alone(WAIT);
    command.args(args).stdin(reader);
    // SAFETY: nothing in it allocates or locks, and to ignore a signal runs no code.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(|| {
            for ignored in [SIGHUP, SIGCHLD, SIGPIPE, SIGUSR1] {
                signal(ignored, SigHandler::SigIgn)?;
            }
            let blocked: SigSet = [SIGUSR2, SIGTERM].into_iter().collect();
            Ok(sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?)
        });
    }
    command.output().expect("wait")
}

#[test]
fn a_command_finds_nothing_to_read_and_every_signal_at_its_default() {
    for line in [
        "cat",
        // The C library may have two of its own.
        "grep -E 'SigIgn:.*[08]0000000$' /proc/self/status",
        "grep -E 'SigBlk:.0{16}$' /proc/self/status",
    ] {
        let output = in_odd_circumstances(&["--exec", line, "--timeout=0"]);
        assert!(output.status.success(), "{line}: {output:?}");
    }
    let output = in_odd_circumstances(&["--exec=sh -c 'exit 7'", "--timeout=0"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("exec_failed: exit status 7"), "{said}");
}

#[test]
fn the_command_of_wait_finds_its_signals_as_they_were() {
    let fields = ["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"];
    let without = in_odd_circumstances(&fields);
    let with = in_odd_circumstances(&[&["--exec=true"], &fields[..]].concat());
    assert!(with.status.success(), "{with:?}");
    assert_eq!(with.stdout, without.stdout);
    let said = String::from_utf8_lossy(&with.stdout);
    // Whatever started the tests may have more of them ignored.
    let ignored = said.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap_or_default().trim(), 16).expect("a mask");
    assert_eq!(ignored & 0x11201, 0x11201, "{said}");
    assert!(has_line(&said, &["SigBlk", "4800"]), "{said}");
}

#[test]
fn the_environment_is_that_of_the_command() {
    let line = "sh -c 'test \"$A\" = 1 && test -z \"$WAIT_MYSQL_PASSWORD\"'";
    let outcome = wait()
        .var("A", "1")
        .var("WAIT_MYSQL_PASSWORD", "secret")
        .var("WAIT_SCRUB", "1")
        .args(["--exec", line, "--timeout=5"])
        .run();
    outcome.exits(0);
}

#[test]
fn a_command_outlives_the_connect_timeout_and_is_not_started_twice() {
    let outcome = wait()
        .args(["--exec=sleep 1.2", "--connect-timeout=100ms"])
        .run();
    outcome
        .exits(0)
        .took_from_to(1.2, 5.0)
        .says(&["is ready after", "1 attempt"]);
    // Where there is one attempt, that is all of its time.
    let single = wait()
        .args(["--exec=sleep 9", "--connect-timeout=300ms", "--timeout=0"])
        .run();
    single.exits(1).took_from_to(0.3, 3.0);
}

#[test]
fn a_command_is_tried_again_even_if_it_may_not_end_before_the_deadline() {
    let folder = folder();
    let round = folder.path().join("round");
    let round = round.display();
    let line = script(&format!(
        "sleep 1; echo >>{round}; test $(wc -l <{round}) = 3"
    ));
    // The third time begins with less than two seconds left.
    let outcome = wait().args(["--exec", &line, "--timeout=4100ms"]).run();
    outcome.exits(0).says(&["is ready after", "3 attempts"]);
}

#[test]
fn the_rest_of_its_process_group_ends_with_a_command() {
    let folder = folder();
    let file = folder.path().join("pid");
    // The background process ignores SIGTERM, and has the output open.
    let line = script(&format!(
        "(trap '' TERM; sleep 60; sleep 60) & echo $! >{}",
        file.display()
    ));
    let outcome = wait().args(["--exec", &line]).run();
    outcome.exits(0).took_from_to(0.0, 5.0);
    has_ended(&line_of(&file));
}

#[test]
fn a_process_that_has_left_the_group_does_not_hold_up_the_wait() {
    let folder = folder();
    let file = folder.path().join("pid");
    let daemon = script(&format!("echo $$ >{}; yes & sleep 60", file.display()));
    let line = script(&format!(
        "setsid {daemon} & while ! test -s {}; do sleep 0.01; done; exit 5",
        file.display()
    ));
    failing(&line).exits(1).says(&["exit status 5"]);
    let daemon = line_of(&file);
    assert!(Path::new(&format!("/proc/{daemon}")).exists());
    let daemon = Pid::from_raw(daemon.parse().expect("a number"));
    assert!(daemon.as_raw() > 1);
    killpg(daemon, SIGKILL).expect("its own group");
}

#[test]
fn a_command_that_closes_its_output_is_waited_for() {
    let line = script("exec >&- 2>&-; sleep 1");
    let outcome = wait().args(["--exec", &line]).run();
    outcome.exits(0).took_from_to(1.0, 4.0).says(&["1 attempt"]);
}

/// Asserts that a command was asked to end: on a machine that is very busy, it may have had no time
/// to note it.
#[track_caller]
fn is_asked(mut run: impl FnMut(&Path) -> PathBuf) {
    let is_noted = |_| {
        let folder = folder();
        let asked = run(folder.path());
        fs::read_to_string(asked).is_ok_and(|text| text == "asked\n")
    };
    assert!((0..3).any(is_noted), "it was not asked");
}

/// A command that notes its number, and whether it was asked to end.
fn noting(folder: &Path, on_term: &str) -> (String, PathBuf, PathBuf) {
    let (pid, asked) = (folder.join("pid"), folder.join("asked"));
    let text = format!(
        "trap 'echo asked >{}; {on_term}' TERM; echo $$ >{}; while :; do sleep 0.05; done",
        asked.display(),
        pid.display()
    );
    (script(&text), pid, asked)
}

#[test]
fn a_command_is_asked_to_end_at_the_deadline_and_then_is_ended() {
    for on_term in ["exit 0", ":"] {
        is_asked(|folder| {
            let (line, pid, asked) = noting(folder, on_term);
            let outcome = wait().args(["--exec", &line, "--timeout=1"]).run();
            outcome.exits(1).took_from_to(1.0, 3.0);
            let pid = line_of(&pid);
            // Nothing is left, not even for its parent to notice: that was `wait`.
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{on_term}");
            asked
        });
    }
}

#[test]
fn a_command_is_ended_when_a_signal_ends_the_wait() {
    for on_term in ["exit 0", ":"] {
        is_asked(|folder| {
            let (line, pid, asked) = noting(folder, on_term);
            let started = wait().args(["--exec", &line]).start();
            let pid = line_of(&pid);
            started.kill(15);
            let outcome = started.end();
            assert!(outcome.took < Duration::from_secs(10), "{outcome:?}");
            outcome.says(&["ended by SIGTERM while waiting"]);
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{on_term}");
            asked
        });
    }
}

#[test]
fn the_command_of_wait_has_no_children_that_it_did_not_start() {
    let lines = [
        script("sleep 60 & sleep 60 & exit 0"),
        script("trap '' TERM; sleep 60"),
        "no-such-program".to_owned(),
        "true".to_owned(),
    ];
    let mut waiting = wait().args(["--timeout=1", "--on-timeout=start"]);
    for line in lines {
        waiting = waiting.args(["--exec", &line]);
    }
    let outcome = waiting
        .args(["sh", "-c", "cat /proc/$$/task/$$/children; echo"])
        .run();
    // The `cat` alone.
    let children = outcome.exits(0).stdout.split_whitespace().count();
    assert_eq!(children, 1, "{outcome:?}");
}

#[test]
fn two_hundred_rounds_leave_no_descriptor_and_no_thread() {
    let folder = folder();
    let (round, first) = (folder.path().join("round"), folder.path().join("first"));
    let text = format!(
        "n=$(cat {round} 2>/dev/null || echo 0); n=$((n + 1)); echo $n >{round}
         seen=$(ls /proc/$PPID/fd /proc/$PPID/task | wc -l)
         test $n = 5 && echo $seen >{first}
         test $n -lt 200 && exit 1
         test $seen -le $(cat {first})",
        round = round.display(),
        first = first.display()
    );
    let outcome = wait()
        .args(["--exec", &script(&text), "--interval=1ms", "--timeout=60"])
        .run();
    outcome.exits(0).says(&["is ready after", "200 attempts"]);
}

#[test]
fn wait_exec_has_one_command_a_line() {
    let dry_run = |value: &str| {
        let outcome = wait().var("WAIT_EXEC", value).args(["--dry-run"]).run();
        let lines = outcome.stdout.lines();
        let indented = |line: &&str| !line.starts_with(' ') && !line.starts_with("command");
        let targets: Vec<_> = lines.filter(indented).map(str::to_owned).collect();
        (targets, outcome.stderr)
    };
    let silent = String::new();
    for (value, targets) in [
        ("true", &["exec true"][..]),
        (
            "pg_isready -h db\ncurl -f http://web/a,b\n",
            &["exec pg_isready …", "exec curl …"],
        ),
        ("\n  a  \n\n b\n", &["exec a", "exec b"]),
        ("a # a comment\n# another", &["exec a"]),
        ("/opt/a 'b\\c' \"d e\"", &["exec /opt/a …"]),
    ] {
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(dry_run(value), (targets, silent.clone()), "{value:?}");
    }
    let (targets, said) = dry_run("a b\r\nc\r\n");
    assert_eq!(targets, ["exec a …", "exec c"]);
    assert!(said.contains("Windows line end"), "{said}");
    let (targets, said) = dry_run("\"npm run check\"");
    assert_eq!(targets, ["exec npm …"]);
    assert!(said.contains("the value is in quotes"), "{said}");
    // A flag beats the variable.
    let flag = wait().var("WAIT_EXEC", "false").args(["--exec=true"]).run();
    flag.exits(0).took_from_to(0.0, 5.0);
}

#[test]
fn arguments_are_not_printed() {
    let line = "mysqladmin -uroot -pOpen-Sesame ping";
    for args in [&["--dry-run"][..], &["--timeout=0", "--log-level=trace"]] {
        let outcome = wait().args(["--exec", line]).args(args).run();
        assert!(!format!("{outcome:?}").contains("Sesame"), "{outcome:?}");
    }
    let dry_run = wait().args(["--exec", line, "--dry-run"]).run();
    let expected = "exec mysqladmin …\n  kind: Commands\n  program: mysqladmin\n  \
                    arguments: 3, not printed\n  ready when: the command exits with 0\n\
                    command: none\n";
    assert_eq!(dry_run.exits(0).stdout, expected);
}

#[test]
fn what_a_shell_would_do_is_a_warning_and_an_open_quote_an_error() {
    for (line, word) in [
        ("true && false", "&&"),
        ("true | true", "|"),
        ("true > /dev/null", ">"),
        ("true $HOME", "$HOME"),
    ] {
        let outcome = wait().var("WAIT_EXEC", line).args(["--dry-run"]).run();
        let expected = format!(
            "wait: warning: WAIT_EXEC: there is no shell to understand {word}: for one, write sh -c '…'\n"
        );
        assert_eq!(outcome.exits(0).stderr, expected);
    }
    for (line, expected) in [
        (
            "pg_isready -h 'db",
            "--exec: pg_isready …: expected every quote to be closed",
        ),
        (
            "true #gone",
            "--exec: true …: expected no option gone: for the opposite, write sh -c '! …'",
        ),
        (
            "true #stable=x",
            "--exec: true …: expected stable to be seconds above 0, or a duration such as 500ms",
        ),
    ] {
        let outcome = wait().args(["--exec", line]).run();
        assert_eq!(
            outcome.exits(2).stderr,
            format!("wait: error: {expected}\n")
        );
    }
    let near = wait().var("WAIT_EXECS", "true").run();
    near.exits(0)
        .says(&["WAIT_EXECS is no setting: did you mean WAIT_EXEC?"]);
}

#[test]
fn options_stand_where_a_shell_has_a_comment() {
    let optional = wait()
        .args(["--exec=false #optional", "--timeout=300ms"])
        .run();
    optional
        .exits(0)
        .says(&["wait: warning: exec false is not ready after"]);
    let blank = wait().var("WAIT_EXEC", "true\nfalse #optional \n");
    blank.args(["--timeout=300ms"]).run().exits(0);
    let stable = wait().args(["--exec=true #stable=600ms"]).run();
    stable.exits(0).took_from_to(0.6, 5.0);
    let argument = script("test \"$0\" = '/#optional'") + " /#optional";
    wait()
        .args(["--exec", &argument, "--timeout=5"])
        .run()
        .exits(0);
}

/// Runs `wait` as PID 1.
#[cfg(target_os = "linux")]
fn as_pid_1(args: &[&str]) -> Output {
    let mut command = with_path_alone("unshare");
    let command = command.args(&crate::pid1::unshare()[1..]).arg(WAIT);
    command.args(args).output().expect("unshare")
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs a PID namespace"]
fn as_pid_1_a_command_is_waited_for_and_leaves_nothing() {
    // Orphans of the process group, and where there is an init one of a group of its own.
    let orphans = "(trap '' TERM; sleep 60) & (sleep 60 & sleep 60) & exit 0";
    let with_daemon = script(&format!("setsid sleep 0.2 & {orphans}"));
    let orphans = script(orphans);
    let stubborn = script("trap '' TERM; (sleep 60) & sleep 60");
    for (mode, orphans, expected) in [
        ("--init=auto", &with_daemon, &["wait", "sh"][..]),
        ("--init=never", &orphans, &["sh"]),
    ] {
        let output = as_pid_1(&[
            mode,
            "--timeout=1",
            "--on-timeout=start",
            "--exec",
            orphans,
            "--exec",
            &stubborn,
            "--exec=sh -c 'exit 3'",
            "--exec=true",
            "sh",
            "-c",
            "for stat in /proc/[0-9]*/stat; do read -r line <$stat && echo \"$line\"; done; exit 7",
        ]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{mode}: {said}");
        assert!(said.contains("exec_failed: exit status 3"), "{said}");
        assert!(said.contains("exec true is ready"), "{said}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let names = stdout
            .lines()
            .filter_map(|line| line.split(['(', ')']).nth(1));
        assert_eq!(names.collect::<Vec<_>>(), expected, "{mode}: {stdout}");
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs a PID namespace"]
fn as_pid_1_the_status_of_a_command_is_never_lost() {
    for mode in ["--init=auto", "--init=never"] {
        for _ in 0..100 {
            let output = as_pid_1(&[
                mode,
                "--timeout=0",
                "--exec=sh -c 'true & exit 4'",
                "--exec=true",
            ]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("exec_failed: exit status 4"), "{said}");
            assert!(said.contains("exec true is ready"), "{said}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs a PID namespace"]
fn as_pid_1_a_signal_ends_the_command() {
    is_asked(|folder| {
        let (line, pid, asked) = noting(folder, ":");
        let mut command = with_path_alone("unshare");
        command
            .args(&crate::pid1::unshare()[1..])
            .arg(WAIT)
            .args(["--exec", &line]);
        let mut unshare = command.spawn().expect("unshare");
        line_of(&pid);
        let pid_1 = crate::support::children(unshare.id())[0];
        let pid_1 = Pid::from_raw(pid_1.try_into().expect("a number"));
        kill(pid_1, SIGTERM).expect("a process of ours");
        let status = unshare.wait().expect("an end");
        assert_eq!(status.code(), Some(143), "{status}");
        asked
    });
}
