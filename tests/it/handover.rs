//! The command finds everything as it would without `wait`.

use std::process::Stdio;

use crate::support::{WAIT, wait, with_path_alone};

/// The circumstances of a process: the usual ones, and those where everything is odd.
#[cfg(target_os = "linux")]
mod given {
    use std::ffi::OsStr;
    use std::os::fd::{BorrowedFd, IntoRawFd as _};
    use std::os::unix::process::CommandExt as _;
    use std::process::Stdio;

    use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
    use nix::sys::stat::{Mode, umask};

    use crate::support::with_path_alone;

    /// The output of a command that is started under these circumstances.
    pub fn run(command: &[&str], is_odd: bool) -> String {
        let mut process = with_path_alone(command[0]);
        process
            .args(&command[1..])
            .env("WAIT_PATHS", "/")
            .env("ZZZ", "last")
            .env("AAA", OsStr::new("first"))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if is_odd {
            process.current_dir("/usr");
        }
        // Also where it does nothing: without it some programs are started by posix_spawn, which
        // hands on other dispositions of the signals that are the C library's own.
        // SAFETY: nothing in it allocates or locks.
        #[allow(unsafe_code)]
        unsafe {
            process.pre_exec(move || match is_odd {
                true => Ok(be_odd()?),
                false => Ok(()),
            });
        }
        let output = process.output().expect("a process");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn be_odd() -> nix::Result<()> {
        umask(Mode::from_bits_truncate(0o027));
        for ignored in [Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGUSR2] {
            // SAFETY: to ignore a signal runs no code.
            #[allow(unsafe_code)]
            unsafe {
                signal(ignored, SigHandler::SigIgn)?;
            }
        }
        let blocked: SigSet = [Signal::SIGUSR1, Signal::SIGCHLD].into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
        let null = open("/dev/null", OFlag::O_RDONLY, Mode::empty())?;
        // SAFETY: nothing in this process is the owner of that number.
        #[allow(unsafe_code)]
        let last = unsafe { nix::unistd::dup2_raw(null, 76) }?;
        let _ = last.into_raw_fd();
        // That was the last that this limit allows. By now the other tests may have opened more.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, 77, hard)?;
        // No standard input and no standard error.
        for stream in [0, 2] {
            // SAFETY: they are this process's own, and it is about to become another program.
            #[allow(unsafe_code)]
            let stream = unsafe { BorrowedFd::borrow_raw(stream) };
            fcntl(stream, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        }
        Ok(())
    }
}

/// The circumstances as a process that is started by `prefix` sees them, but for those that differ
/// from run to run.
#[cfg(target_os = "linux")]
pub fn seen(prefix: &[&str], is_odd: bool) -> Vec<String> {
    let run = |command: &[&str]| given::run(&[prefix, command].concat(), is_odd);
    let files = ["environ", "cmdline", "limits", "oom_score_adj", "status"];
    let files = files.map(|file| format!("/proc/self/{file}"));
    let contents = run(&[&["cat"], &files.each_ref().map(String::as_str)[..]].concat());
    let is_given = |line: &&str| {
        let own = [
            "Pid", "Tgid", "Ngid", "NSp", "NSt", "NSs", "Vm", "Rss", "Hugetlb", "SigQ",
        ];
        !own.iter().any(|name| line.starts_with(name)) && !line.contains("ctxt_switches")
    };
    let mut lines: Vec<String> = contents
        .lines()
        .filter(is_given)
        .map(str::to_owned)
        .collect();

    // Links without what `ls` says of their times, and without the numbers of pipes and processes.
    let links = run(&["ls", "-l", "/proc/self/fd", "/proc/self/cwd"]);
    lines.extend(links.lines().filter_map(|line| {
        let (from, to) = line.split_once(" -> ")?;
        let to = match to.starts_with('/') && !to.starts_with("/proc/") {
            true => to.to_owned(),
            false => to.replace(|c: char| c.is_ascii_digit(), ""),
        };
        Some(format!("{} -> {to}", from.rsplit(' ').next()?))
    }));
    lines
}

#[cfg(target_os = "linux")]
#[test]
fn the_command_is_given_what_wait_was_given() {
    for is_odd in [false, true] {
        let without = seen(&[], is_odd);
        assert_eq!(seen(&[WAIT, "--"], is_odd), without);
        // Circumstances are what they are meant to be, or else this shows nothing.
        for (start, end, is_there) in [
            ("SigBlk:", "10200", is_odd),
            ("Umask:", "0027", is_odd),
            ("76 ->", "/dev/null", is_odd),
            ("/proc/self/cwd ->", "/usr", is_odd),
            ("0 ->", "/dev/null", !is_odd),
            ("2 ->", "/dev/null", !is_odd),
        ] {
            let is_it = |line: &String| line.starts_with(start) && line.ends_with(end);
            assert_eq!(
                without.iter().any(is_it),
                is_there,
                "{start} in {without:#?}"
            );
        }
        // Whoever runs the tests may ignore others too, as a shell in the background does.
        let ignored = without
            .iter()
            .find_map(|line| line.strip_prefix("SigIgn:\t"));
        let ignored = u64::from_str_radix(ignored.expect("a mask"), 16).expect("a number");
        assert_eq!(ignored & 0x1801 == 0x1801, is_odd, "{ignored:x}");
    }
}

#[test]
fn the_command_has_the_process_of_wait_and_there_is_no_other() {
    let child = with_path_alone(WAIT)
        .args(["--path", "/", "sh", "-c", "echo $$ $PPID; ls /proc/$$/task"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("wait starts");
    let (pid, parent) = (child.id(), std::process::id());
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.starts_with(&format!("{pid} {parent}\n")), "{text}");
    #[cfg(target_os = "linux")]
    assert_eq!(text, format!("{pid} {parent}\n{pid}\n"));
}

#[test]
fn a_command_that_cannot_be_started_is_127_or_126() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/nonexistent/interpreter\n").expect("written");
    let script = script.to_str().expect("UTF-8").to_owned();
    let last_line = |program: &str, code| {
        let outcome = wait().args(["--", program]).run();
        outcome
            .exits(code)
            .stderr
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        last_line("no-such-program", 127),
        "wait: error: cannot start no-such-program: not found"
    );
    assert_eq!(
        last_line("/nonexistent/x", 127),
        "wait: error: cannot start /nonexistent/x: not found"
    );
    assert_eq!(last_line("", 127), "wait: error: cannot start : not found");
    assert_eq!(
        last_line("node server.js", 127),
        "wait: error: cannot start node server.js: not found (the program and its arguments are \
         words of their own)"
    );
    assert_eq!(
        last_line(&script, 126),
        format!("wait: error: cannot start {script}: EACCES: it is not executable (chmod +x)")
    );
    assert_eq!(
        last_line("/usr", 126),
        "wait: error: cannot start /usr: it is a directory"
    );
    make_executable(&script);
    assert!(
        last_line(&script, 126).ends_with("its interpreter or dynamic loader is not in this image")
    );
    // As with a shell, a script without a first line of its own is one for sh.
    std::fs::write(&script, "echo hello from $0\n").expect("written");
    let outcome = wait().args([&script]).run();
    assert_eq!(outcome.exits(0).stdout, format!("hello from {script}\n"));
}

fn make_executable(path: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("changed");
}

#[test]
fn arguments_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt as _;
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let output = with_path_alone(WAIT)
        .args([
            std::ffi::OsStr::new("printf"),
            std::ffi::OsStr::new("%s"),
            odd,
        ])
        .env("ODD", odd)
        .output()
        .expect("wait starts");
    assert_eq!(output.stdout, b"\xff\xfe");
}

#[test]
fn a_log_whose_reader_has_gone_does_not_end_the_wait() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = with_path_alone(WAIT)
        .args(["--path", "/", "echo", "started"])
        .stderr(writer)
        .output()
        .expect("wait starts");
    assert_eq!(output.stdout, b"started\n");
    // Nor does it change what is wrong with the command.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = with_path_alone(WAIT)
        .arg("no-such-program")
        .stderr(writer)
        .status();
    assert_eq!(status.expect("wait starts").code(), Some(127));
}

#[test]
fn without_a_path_the_command_is_not_looked_for_in_the_working_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    std::fs::write(&program, "exit 0\n").expect("written");
    make_executable(program.to_str().expect("UTF-8"));
    let output = with_path_alone(WAIT)
        .arg("program")
        .env_remove("PATH")
        .current_dir(folder.path())
        .output()
        .expect("wait starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(127), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs strace"]
fn with_everything_ready_there_is_no_thread_and_no_sleep_before_the_command() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("bound").to_string();
    let calls = |path: &str| {
        let trace = tempfile::NamedTempFile::new().expect("a file");
        let traced =
            "trace=clone,clone3,fork,vfork,nanosleep,clock_nanosleep,timerfd_settime,execve";
        let status = with_path_alone("strace")
            .args(["-f", "-e", traced, "-o"])
            .arg(trace.path())
            .args([WAIT, "--timeout=1", "--for", &target, "--path", path])
            .args(["/bin/sh", "-c", ":"])
            .status();
        let trace = std::fs::read_to_string(trace.path()).expect("a trace");
        (status.expect("strace").code(), trace)
    };
    let (status, trace) = calls("/");
    assert_eq!(status, Some(0));
    // Its own start, the command's start, and the end.
    assert_eq!(trace.lines().count(), 3, "{trace}");
    // The kernel has to read a disk for a path that it has not looked up before.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time");
    let (status, trace) = calls(&format!("/nonexistent-{}", now.as_nanos()));
    assert_eq!(status, Some(1));
    assert!(trace.contains("clone"), "{trace}");
}

#[test]
fn a_closed_standard_error_is_never_the_number_of_a_socket() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("bound").to_string();
    let reader = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut connection, &mut bytes).expect("an end");
        String::from_utf8_lossy(&bytes).into_owned()
    });
    // While the connection waits for a greeting, there is a lot to say about the path.
    let status = with_path_alone("sh")
        .args(["-c", r#"exec "$@" 0<&- 1>&- 2>&-"#, "sh", WAIT])
        .args(["--mysql", &target, "--path", "/nonexistent"])
        .args(["--timeout", "500ms", "--log-level", "debug"])
        .status()
        .expect("a shell");
    assert_eq!(status.code(), Some(1), "{status}");
    let heard = reader.join().expect("no panic");
    assert!(!heard.contains("wait"), "{heard}");
}
