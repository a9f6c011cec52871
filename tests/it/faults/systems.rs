//! Systems that have little left, or are not all there.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::containers::{image, static_wait, text, try_docker};
use crate::fixtures::mysql::greet_and_deny;
use crate::fixtures::ports::{Port, listen_to, serve};
use crate::support::{WAIT, wait_from_a_shell, with_path_alone};
use crate::world;

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(status.expect("kill").success());
}

/// Fifty targets at one server, and what is to be done about them.
fn fifty_at(server: SocketAddr, timeout: &str) -> Vec<String> {
    let mut args: Vec<_> = (0..50)
        .map(|i| format!("--for=mysql://{server}/db{i}"))
        .collect();
    args.extend([timeout, "echo", "started"].map(str::to_owned));
    args
}

#[test]
fn systems_that_have_nothing_left() {
    let port = Port::opened();
    let closed = Port::new();
    let (open, closed) = (port.address.to_string(), closed.address.to_string());
    let ready = ["--for", &open, "--timeout=30", "echo", "started"];
    let not_ready = ["--for", &closed, "--timeout=1500ms", "echo", "started"];
    side_by_side(&[
        ("no descriptors", &|| {
            // Three are taken, and the loader needs a fourth. With 8 and 9, tokio panics, which in
            // this build deals with signals too.
            let soon = ["--for", &open, "--timeout=1500ms", "echo", "started"];
            for limit in [4, 5, 6, 7, 10, 11, 12, 13, 14] {
                let outcome = from_a_shell(&format!("ulimit -n {limit}"), &soon);
                match outcome.code {
                    Some(0) if limit > 9 => assert_eq!(outcome.stdout, "started\n"),
                    _ => _ = outcome.exits(1).says(&["error: ", "Too many open files"]),
                }
                outcome.took_from_to(0.0, 4.0);
            }
            starts(&from_a_shell("ulimit -n 14", &ready), 0.0);
        }),
        ("too few descriptors for all", &|| {
            let args = fifty_at(serve(listen_to), "--timeout=1500ms");
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            let outcome = from_a_shell("ulimit -n 20", &args);
            gives_up_as(&outcome, "unreachable", "Too many open files");
            gives_up_as(&outcome, "timed_out", "while waiting for the greeting");
            assert!(!outcome.stderr.contains("a bug in wait"), "{outcome:?}");
        }),
        ("too few descriptors for all until they are ready", &|| {
            let is_over = Arc::new(AtomicBool::new(false));
            let server = serve({
                let is_over = Arc::clone(&is_over);
                move |stream| {
                    while !is_over.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(5));
                    }
                    greet_and_deny(stream);
                }
            });
            let args = fifty_at(server, "--timeout=30");
            let mut waiting = wait_from_a_shell("ulimit -n 20").args(args).start();
            waiting.until(&[": unreachable: Too many open files"]);
            is_over.store(true, Ordering::Relaxed);
            let outcome = waiting.end();
            outcome.exits(0);
            assert_eq!(outcome.stdout, "started\n");
        }),
        ("little memory", &|| {
            let with = |kilobytes: usize, args: &[&str]| {
                from_a_shell(&format!("ulimit -v {kilobytes} 2>/dev/null"), args)
            };
            let loads = |kilobytes: &usize| with(*kilobytes, &["--version"]).code == Some(0);
            let least = (4_000..100_000).step_by(250).find(loads).expect("enough");
            // Where the loader is done and nothing is left, Rust ends the process by a signal.
            for more in [0, 100, 200] {
                let outcome = with(least + more, &ready);
                assert!(matches!(outcome.code, Some(0) | None), "{outcome:?}");
                outcome.took_from_to(0.0, 4.0);
            }
            for more in [500, 1_000, 2_000, 4_000] {
                starts(&with(least + more, &ready), 0.0);
            }
            gives_up(&with(least + 500, &not_ready), "refused");
        }),
        ("a full disk under standard error", &|| {
            starts(&from_a_shell("exec 2>/dev/full", &ready), 0.0);
            let outcome = from_a_shell("exec 2>/dev/full", &not_ready);
            outcome.exits(1).took_from_to(1.5, 4.0);
        }),
        ("no standard streams", &|| {
            let exits_7 = |target, timeout| {
                let args = ["--for", target, "--timeout", timeout, "sh", "-c", "exit 7"];
                from_a_shell("exec 0<&- 1>&- 2>&-", &args)
            };
            exits_7(&open, "30").exits(7);
            exits_7(&closed, DEADLINE).exits(1).took_from_to(1.5, 4.0);
        }),
        ("an empty environment", &|| {
            let outcome = with_path_alone(WAIT)
                .env_clear()
                .args(["--for", &open])
                .status();
            assert!(outcome.expect("it starts").success());
        }),
        ("an environment of 128 KB and more", &|| {
            let list = format!("{open},").repeat(130_000 / (open.len() + 1));
            starts(&waiting_long_for(&list).run(), 0.0);
            let wait = (0..10).fold(waiting_long_for(&open), |wait, i| {
                wait.var(&format!("LONG_{i}"), "x".repeat(120_000))
            });
            starts(&wait.run(), 0.0);
        }),
        ("stopped for five seconds", &|| {
            let late = Port::new();
            let address = late.address.to_string();
            let child = with_path_alone(WAIT)
                .args(["--for", &address, "--timeout=30", "echo", "started"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts");
            thread::sleep(Duration::from_millis(300));
            signal(&child, "-STOP");
            thread::sleep(Duration::from_secs(5));
            late.open();
            signal(&child, "-CONT");
            let since = Instant::now();
            let output = child.wait_with_output().expect("it ends");
            assert_eq!(output.stdout, b"started\n");
            assert!(since.elapsed() < Duration::from_secs(2));
        }),
        ("stopped past its deadline", &|| {
            let child = with_path_alone(WAIT)
                .args(["--for", &closed, "--timeout=1"])
                .stderr(Stdio::null())
                .spawn();
            let mut child = child.expect("it starts");
            thread::sleep(Duration::from_millis(300));
            signal(&child, "-STOP");
            thread::sleep(Duration::from_millis(1500));
            signal(&child, "-CONT");
            let since = Instant::now();
            assert_eq!(child.wait().expect("it ends").code(), Some(1));
            assert!(since.elapsed() < Duration::from_secs(2));
        }),
    ]);
}

#[test]
#[ignore = "needs root, for mounts of its own"]
fn systems_without_their_folders() {
    in_a_world(|| {
        let port = Port::opened();
        let ready = || waiting_long_for(port.address.to_string()).var("WAIT_PATHS", "/");
        one_by_one(&[
            ("no /proc", &|| {
                world::run("mount -t tmpfs none /proc");
                starts(&ready().run(), 0.0);
                world::run("umount /proc");
            }),
            ("no /etc", &|| {
                world::run("mount -t tmpfs none /etc");
                starts(&ready().run(), 0.0);
                gives_up(&waiting_for("localhost.test:1").run(), "timed_out");
                world::run("umount /etc");
            }),
            ("a root that is read-only", &|| {
                world::run("mount --bind / /mnt");
                world::run("mount -o remount,bind,ro /mnt");
                let command =
                    format!("touch /not-there 2>&1 || exec {WAIT} --path / -- echo started");
                let start = Instant::now();
                let output = Command::new("chroot")
                    .args(["/mnt", "sh", "-c", &command])
                    .output();
                let took = start.elapsed();
                world::run("umount /mnt");
                let output = String::from_utf8(output.expect("chroot").stdout).expect("UTF-8");
                let (touched, started) = output.split_once('\n').expect("two lines");
                assert!(touched.ends_with("Read-only file system"), "{output}");
                assert_eq!(started, "started\n");
                assert!(took < Duration::from_secs(4), "{took:?}");
            }),
        ]);
    });
}

#[test]
#[ignore = "needs Docker"]
fn containers_with_room_for_few_processes() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mount = format!("{}:/wait:ro", static_wait(folder.path()).display());
    let debian = image("DEBIAN_IMAGE", "debian:bookworm-slim");
    // To look for what the kernel has not seen before takes a thread, where there may be one.
    let unseen = "/var/lib/dpkg/info/tar.list";
    for (limit, mode, path, code) in [
        ("1", "auto", "/etc/hostname", 126),
        ("1", "never", "/etc/hostname", 0),
        ("1", "never", unseen, 0),
        ("2", "auto", "/etc/hostname", 0),
        ("2", "auto", unseen, 0),
    ] {
        let limit = format!("--pids-limit={limit}");
        let docker = [
            "run",
            "--rm",
            "--network=none",
            &limit,
            "--volume",
            &mount,
            "--entrypoint=/wait",
        ];
        let wait = [&debian, "--init", mode, "--path", path, "echo", "started"];
        let output = try_docker(&[&docker[..], &wait].concat(), &[]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{limit} {mode} {path}: {}",
            text(&output)
        );
    }
}
