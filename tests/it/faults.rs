//! The fault matrix: whatever is wrong with the world, `wait` ends in time, with the status that is
//! promised, and says what it is. A row is a fault, what is waited for, and what is promised.
//!
//! What needs a world of its own has one: a network and mount namespace for the thread of the test.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use socket2::SockRef;

use crate::support::{Outcome, WAIT, Wait, wait};
use crate::world::{self, Answer, Firewall, NameServer, Port};

/// What everything has before the deadline.
const DEADLINE: &str = "1500ms";

type Fault<'a> = (&'a str, &'a (dyn Fn() + Sync));

/// Runs every fault and tells of all that did not go as promised.
fn side_by_side(faults: &[Fault]) {
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(|| one_by_one(&[*fault]));
        }
    });
}

/// Like `side_by_side`, for faults that are of the whole world.
fn one_by_one(faults: &[Fault]) {
    let broken: Vec<&str> = faults
        .iter()
        .filter(|(name, check)| {
            println!("fault: {name}");
            catch_unwind(AssertUnwindSafe(check)).is_err()
        })
        .map(|(name, _)| *name)
        .collect();
    assert!(broken.is_empty(), "not as promised: {broken:?}");
}

/// In namespaces that end with the test.
fn in_a_world(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root");
        world::run("mount --make-rprivate /");
        world::prepare();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn waiting_for(target: impl AsRef<str>) -> Wait {
    wait()
        .var("WAIT_HOSTS", target.as_ref())
        .var("WAIT_TIMEOUT", DEADLINE)
        .args(["echo", "started"])
}

/// Not ready at the deadline, for this reason.
#[track_caller]
fn gives_up(outcome: Outcome, reason: &str) {
    outcome.exits(1).took_from_to(1.5, 4.0);
    outcome.says(&["error: ", &format!(": {reason}: ")]);
    assert_eq!(outcome.stdout, "");
}

/// Ready, and not before these seconds.
#[track_caller]
fn starts(outcome: Outcome, after: f64) {
    outcome.exits(0).took_from_to(after, after + 4.0);
    assert_eq!(outcome.stdout, "started\n");
}

/// Serves every connection on a thread of its own.
fn serve(each: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let each = each.clone();
            thread::spawn(move || each(stream));
        }
    });
    address
}

/// Takes what is sent, until the other end hangs up.
fn listen_to(mut stream: TcpStream) {
    let mut sink = [0; 4096];
    while stream.read(&mut sink).is_ok_and(|read| read > 0) {}
}

fn answer(with: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(with);
        listen_to(stream);
    })
}

/// Says a byte now and then.
fn drip(text: impl Iterator<Item = u8> + Clone + Send + 'static) -> SocketAddr {
    serve(move |mut stream| {
        for byte in text.clone() {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        listen_to(stream);
    })
}

#[test]
fn servers_that_do_not_do_as_they_should() {
    let hang_up: fn(TcpStream) = |stream| drop(stream);
    let reset = |stream: TcpStream| {
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    };
    let half_close = |stream: TcpStream| {
        let _ = stream.shutdown(Shutdown::Write);
        listen_to(stream);
    };
    let well = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let is = |scheme: &str, address: SocketAddr, reason: &str| {
        gives_up(waiting_for(format!("{scheme}://{address}")).run(), reason);
    };
    side_by_side(&[
        ("MySQL hangs up", &|| is("mysql", serve(hang_up), "closed")),
        ("MySQL resets", &|| is("mysql", serve(reset), "closed")),
        ("MySQL says nothing more", &|| {
            is("mysql", serve(half_close), "closed")
        }),
        ("MySQL is frozen", &|| {
            is("mysql", serve(listen_to), "timed_out")
        }),
        ("MySQL drips", &|| {
            is("mysql", drip(vec![b'J'; 9999].into_iter()), "protocol")
        }),
        ("MySQL is HTTP", &|| is("mysql", answer(well), "timed_out")),
        ("MySQL is SSH", &|| {
            is(
                "mysql",
                drip(b"SSH-2.0-x\r\n".iter().copied().cycle()),
                "protocol",
            );
        }),
        ("HTTP hangs up", &|| is("http", serve(hang_up), "closed")),
        ("HTTP resets", &|| is("http", serve(reset), "closed")),
        ("HTTP is frozen", &|| {
            is("http", serve(listen_to), "timed_out")
        }),
        ("HTTP drips headers for ever", &|| {
            let headers = b"HTTP/1.1 200 OK\r\n"
                .iter()
                .chain(b"X: y\r\n".iter().cycle());
            is("http", drip(headers.copied()), "timed_out");
        }),
        ("HTTP drips and is well", &|| {
            let address = drip(well.iter().copied());
            starts(waiting_for(format!("http://{address}/")).run(), 0.0);
        }),
        ("HTTP is SSH", &|| {
            is("http", answer(b"SSH-2.0-x\r\n\r\n"), "protocol")
        }),
        ("HTTP is ill", &|| {
            is("http", answer(b"HTTP/1.1 500 Oh\r\n\r\n"), "http_status");
        }),
        ("HTTP turns away", &|| {
            is(
                "http",
                answer(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
                "http_status",
            );
        }),
        ("TLS is plain text", &|| {
            is("https", answer(well), "tls_failed")
        }),
        ("TLS refuses", &|| {
            is("https", answer(b"\x15\x03\x03\0\x02\x02\x28"), "tls_failed")
        }),
        ("TLS is frozen", &|| {
            is("https", serve(listen_to), "timed_out")
        }),
        ("TLS hangs up", &|| is("https", serve(hang_up), "closed")),
        ("a port that flaps", &|| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let address = listener.local_addr().expect("bound");
            drop(listener);
            let flapping = thread::spawn(move || {
                let open = || TcpListener::bind(address).expect("still free");
                for _ in 0..8 {
                    drop(open());
                    thread::sleep(Duration::from_millis(50));
                }
                open()
            });
            starts(waiting_for(address.to_string()).run(), 0.0);
            flapping.join().expect("no panic");
        }),
    ]);
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn name_servers_that_do_not_do_as_they_should() {
    in_a_world(|| {
        let port = Port::opened();
        let target = format!("db.test:{}", port.address.port());
        let here = || Answer::Addresses(vec![Ipv4Addr::LOCALHOST]);
        let wrong_at_first = |first: Answer| {
            let server = NameServer::start();
            server.say(first);
            let waiting = thread::spawn({
                let target = target.clone();
                move || waiting_for(target).run()
            });
            thread::sleep(Duration::from_millis(600));
            server.say(here());
            starts(waiting.join().expect("no panic"), 0.6);
        };
        let always = |answer: Answer, reason: &str| {
            let server = NameServer::start();
            server.say(answer);
            gives_up(waiting_for(&target).run(), reason);
        };
        one_by_one(&[
            ("there is none", &|| {
                gives_up(waiting_for(&target).run(), "timed_out")
            }),
            ("it is silent", &|| always(Answer::Silence, "timed_out")),
            ("it is silent at first", &|| wrong_at_first(Answer::Silence)),
            ("it fails", &|| always(Answer::ServerFailure, "unresolved")),
            ("it fails at first", &|| {
                wrong_at_first(Answer::ServerFailure)
            }),
            ("it knows no such name", &|| {
                always(Answer::NoSuchName, "unresolved")
            }),
            ("it does not know the name at first", &|| {
                wrong_at_first(Answer::NoSuchName)
            }),
            ("it knows a name without addresses", &|| {
                always(Answer::Addresses(Vec::new()), "unresolved");
            }),
            ("it is wrong at first", &|| {
                wrong_at_first(Answer::Addresses(vec![Ipv4Addr::new(127, 0, 0, 9)]));
            }),
            ("it knows twenty addresses, and one is right", &|| {
                let server = NameServer::start();
                let wrong = (1..20).map(|last| Ipv4Addr::new(127, 0, 1, last));
                let addresses = wrong.chain([Ipv4Addr::LOCALHOST]).collect();
                server.say(Answer::Addresses(addresses));
                starts(waiting_for(&target).run(), 0.0);
            }),
            ("its answers are cut off, and TCP is refused", &|| {
                let cut_off = |question: &[u8]| {
                    let mut answer = question.to_vec();
                    answer.get_mut(2..4)?.copy_from_slice(&[0x83, 0x80]);
                    Some(answer)
                };
                let _server = NameServer::answering(cut_off);
                gives_up(waiting_for(&target).run(), "unresolved");
            }),
            ("its answers are noise", &|| {
                let noise = |question: &[u8]| Some(question.iter().map(|byte| !byte).collect());
                let _server = NameServer::answering(noise);
                gives_up(waiting_for(&target).run(), "timed_out");
            }),
        ]);
    });
}

/// A rule of the firewall, in force until this is dropped.
struct Rule(String);

impl Rule {
    fn new(rule: String) -> Self {
        world::run(&format!("iptables -I {rule}"));
        Self(rule)
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        world::run(&format!("iptables -D {}", self.0));
    }
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn networks_that_do_not_do_as_they_should() {
    in_a_world(|| {
        let port = Port::opened();
        let (address, number) = (port.address, port.address.port());
        one_by_one(&[
            ("refused", &|| {
                let closed = Port::new();
                gives_up(waiting_for(closed.address.to_string()).run(), "refused");
            }),
            ("rejected by a firewall", &|| {
                let _rule = Rule::new(format!("INPUT -p tcp --dport {number} -j REJECT"));
                gives_up(waiting_for(address.to_string()).run(), "refused");
            }),
            ("dropped", &|| {
                let _firewall = Firewall::before(address);
                gives_up(waiting_for(address.to_string()).run(), "timed_out");
            }),
            ("dropped at first", &|| {
                let firewall = Firewall::before(address);
                let waiting = thread::spawn(move || waiting_for(address.to_string()).run());
                thread::sleep(Duration::from_millis(600));
                drop(firewall);
                starts(waiting.join().expect("no panic"), 0.5);
            }),
            ("answers are dropped", &|| {
                let _rule = Rule::new(format!("INPUT -p tcp --sport {number} -j DROP"));
                gives_up(waiting_for(address.to_string()).run(), "timed_out");
            }),
            ("no route", &|| {
                gives_up(waiting_for("192.0.2.1:80").run(), "unreachable")
            }),
            ("no route for IPv6", &|| {
                gives_up(waiting_for("[2001:db8::1]:80").run(), "unreachable");
            }),
            ("nobody has the address", &|| {
                world::run("ip link add here type veth peer name there");
                world::run("ip addr add 10.99.0.1/24 dev here");
                world::run("ip link set here up");
                world::run("ip link set there up");
                let outcome = waiting_for("10.99.0.2:80").var("WAIT_TIMEOUT", "5").run();
                outcome.exits(1).took_from_to(5.0, 9.0);
                outcome.says(&["is not ready after 3.", ": unreachable: "]);
            }),
            ("dies between connection and greeting", &|| {
                let server = serve(listen_to);
                let _rule = Rule::new(format!(
                    "INPUT -p tcp --dport {} --tcp-flags SYN,ACK ACK -m length --length 53:65535 -j DROP",
                    server.port()
                ));
                let outcome = waiting_for(format!("mysql://{server}")).run();
                gives_up(outcome, "timed_out");
            }),
            ("three of ten packets are lost", &|| {
                let server = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                let _rule = Rule::new(format!(
                    "INPUT -p tcp -m tcp --dport {} -m statistic --mode random --probability 0.3 -j DROP",
                    server.port()
                ));
                let outcome = waiting_for(format!("http://{server}"))
                    .var("WAIT_TIMEOUT", "30")
                    .run();
                outcome.exits(0);
            }),
        ]);
    });
}

/// Runs `wait` from a shell that first does something to itself.
fn from_a_shell(before: &str, args: &[&str]) -> Outcome {
    let script = format!("{before}; exec {WAIT} \"$@\"");
    let start = Instant::now();
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: start.elapsed(),
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(status.expect("kill").success());
}

#[test]
fn systems_that_have_nothing_left() {
    let port = Port::opened();
    let closed = Port::new();
    let (open, closed) = (port.address.to_string(), closed.address.to_string());
    let ready = ["--for", &open, "--timeout=1500ms", "echo", "started"];
    let not_ready = ["--for", &closed, "--timeout=1500ms", "echo", "started"];
    side_by_side(&[
        ("no descriptors", &|| {
            // However few there are, it ends in time; with enough of them it is ready.
            for limit in 3..16 {
                let outcome = from_a_shell(&format!("ulimit -n {limit}"), &ready);
                let is_good = matches!(outcome.code, Some(0 | 1 | 126 | 127));
                assert!(is_good && outcome.took.as_secs_f64() < 4.0, "{outcome:?}");
            }
            starts(from_a_shell("ulimit -n 16", &ready), 0.0);
        }),
        ("little memory", &|| {
            for kilobytes in [4_000, 8_000, 16_000, 32_000, 64_000] {
                let before = format!("ulimit -v {kilobytes} 2>/dev/null");
                let outcome = from_a_shell(&before, &ready);
                assert!(outcome.took.as_secs_f64() < 4.0, "{outcome:?}");
            }
            starts(from_a_shell("ulimit -v 100000", &ready), 0.0);
        }),
        ("a full disk under standard error", &|| {
            starts(from_a_shell("exec 2>/dev/full", &ready), 0.0);
            let outcome = from_a_shell("exec 2>/dev/full", &not_ready);
            outcome.exits(1).took_from_to(1.5, 4.0);
        }),
        ("no standard streams", &|| {
            let outcome = from_a_shell("exec 0<&- 1>&- 2>&-", &ready);
            outcome.exits(1); // echo's own: it has nowhere to write to
            from_a_shell("exec 0<&- 1>&- 2>&-", &not_ready).exits(1);
        }),
        ("an empty environment", &|| {
            let outcome = Command::new(WAIT)
                .env_clear()
                .args(["--for", &open])
                .status();
            assert!(outcome.expect("it starts").success());
        }),
        ("an environment of 128 KB and more", &|| {
            let list = format!("{open},").repeat(130_000 / (open.len() + 1));
            starts(waiting_for(&list).run(), 0.0);
            let wait = (0..10).fold(waiting_for(&open), |wait, i| {
                wait.var(&format!("LONG_{i}"), "x".repeat(120_000))
            });
            starts(wait.run(), 0.0);
        }),
        ("stopped for five seconds", &|| {
            let late = Port::new();
            let address = late.address.to_string();
            let child = Command::new(WAIT)
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
            let child = Command::new(WAIT)
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
        let ready = || waiting_for(port.address.to_string()).var("WAIT_PATHS", "/");
        one_by_one(&[
            ("no /proc", &|| {
                world::run("mount -t tmpfs none /proc");
                starts(ready().run(), 0.0);
                world::run("umount /proc");
            }),
            ("no /etc", &|| {
                world::run("mount -t tmpfs none /etc");
                starts(ready().run(), 0.0);
                gives_up(waiting_for("localhost.test:1").run(), "timed_out");
                world::run("umount /etc");
            }),
            ("a root that is read-only", &|| {
                world::run("mount --bind / /mnt");
                world::run("mount -o remount,bind,ro /mnt");
                let command = format!("exec {WAIT} --path / -- echo started");
                let output = Command::new("chroot")
                    .args(["/mnt", "sh", "-c", &command])
                    .output();
                assert_eq!(output.expect("chroot").stdout, b"started\n");
                world::run("umount /mnt");
            }),
        ]);
    });
}

#[test]
#[ignore = "needs Docker"]
fn containers_with_room_for_few_processes() {
    use crate::containers::{image, static_wait, text, try_docker};
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mount = format!("{}:/wait:ro", static_wait(folder.path()).display());
    let debian = image("DEBIAN_IMAGE", "debian:bookworm-slim");
    for (limit, mode, code) in [("1", "auto", 126), ("1", "never", 0), ("2", "auto", 0)] {
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
        let wait = [
            &debian,
            "--init",
            mode,
            "--path=/etc/hostname",
            "echo",
            "started",
        ];
        let output = try_docker(&[&docker[..], &wait].concat(), &[]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{limit} {mode}: {}",
            text(&output)
        );
    }
}

#[test]
fn people_who_write_something_else() {
    let rows = [
        ("WAIT_HOSTS", "db"),
        ("WAIT_HOSTS", "db:"),
        ("WAIT_HOSTS", ":80"),
        ("WAIT_HOSTS", "db:80:90"),
        ("WAIT_HOSTS", "db:080000"),
        ("WAIT_HOSTS", "[::1"),
        ("WAIT_HOSTS", "htp://web/"),
        ("WAIT_HOSTS", "http//web:80/"),
        ("WAIT_HOSTS", "http://"),
        ("WAIT_HOSTS", "http://web:99999/"),
        ("WAIT_HOSTS", "https://web /"),
        ("WAIT_HOSTS", "env:NOT_SET"),
        ("WAIT_HOSTS", "db:80 redis:6379"),
        ("WAIT_MYSQL", "app@db:33o6"),
        ("WAIT_MYSQL", "app:p@ss@db/x/y"),
        ("WAIT_MYSQL", "db?ssl-mode=yes"),
        ("WAIT_MYSQL", "redis://cache"),
        ("WAIT_MYSQL_PASSWORD_FILE", "/no/such/file"),
        ("WAIT_MYSQL_PASSWORD_FILE", "/dev/zero"),
        ("WAIT_TLS_CA_FILE", "/etc"),
        ("WAIT_COMMAND", "echo 'a"),
        ("WAIT_INIT", "yes"),
        ("WAIT_SCRUB", "yes"),
        ("WAIT_LOGGER_LEVEL", "loud"),
        ("WAIT_LOG_FORMAT", "xml"),
    ];
    for (name, value) in rows {
        let outcome = wait().var(name, value).run();
        outcome.exits(2).took_from_to(0.0, 2.0);
        outcome.says(&["wait: error: ", name]);
        let lines = outcome.stderr.lines().count();
        assert_eq!(lines, 1, "{name}={value}: {outcome:?}");
    }
}
