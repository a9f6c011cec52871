//! Many waits at one server: what it counts against their host, and what they leave running.

use std::collections::BTreeMap;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

type Kind = (&'static str, String, &'static str);

/// Tests both kinds side by side.
fn side_by_side(test: impl Fn(&Kind) + Sync) {
    thread::scope(|scope| {
        for kind in kinds() {
            scope.spawn(|| test(&{ kind }));
        }
    });
}

/// A server that keeps account of this machine, which has a name there: of a host without one nothing
/// is counted.
fn that_counts_us(test: &str, kind: &Kind, number: u8) -> Server {
    let number = number + u8::from(kind.0 == "mysql");
    let subnet = format!("--subnet=10.213.{number}.0/24");
    let server = Server::to_be_started(test, kind, &[&subnet]);
    let us = format!("--add-host=us.example:10.213.{number}.1");
    host_cache_on(server, kind, &[&us], &[])
}

/// The errors that the server counts against its hosts, and how many hosts it knows.
fn connect_errors(server: &Server) -> (u64, u64) {
    let sum = "SELECT COALESCE(SUM(SUM_CONNECT_ERRORS), 0), SUM(HOST_VALIDATED = 'YES') \
               FROM performance_schema.host_cache";
    let row = server.sql(sum);
    let mut numbers = row.split_whitespace().map(str::parse);
    let mut next = || numbers.next().expect("a column").expect("a number");
    (next(), next())
}

/// Begins a wait with a query.
fn begin(server: &Server, query: &str, args: &[&str]) -> Beginning {
    let target = format!("app:s3cret@{}/shop", server.address());
    Beginning::new(
        with_path_alone(WAIT)
            .args(["--mysql", &target])
            .args(args)
            .env("WAIT_MYSQL_QUERY", query),
    )
}

#[test]
#[ignore = "needs Docker"]
fn twenty_waits_at_a_server_that_is_frozen_for_long_are_not_blocked_when_it_thaws() {
    side_by_side(|kind| {
        let server = that_counts_us("thaw", kind, 16);
        let ((errors, hosts), marks) = (connect_errors(&server), server.marks());
        assert_eq!(hosts, 1, "it does not know us");
        docker(&["pause", &server.name]);
        let waits: Vec<_> = (0..20)
            .map(|_| server.begin_wait("app:s3cret@db/shop", &["--timeout=120"]))
            .collect();
        thread::sleep(Duration::from_secs(50));
        docker(&["unpause", &server.name]);
        let thawed = Instant::now();
        for wait in waits {
            wait.end().exits(0);
        }
        let took = thawed.elapsed();
        let (after, _) = connect_errors(&server);
        println!(
            "{}: all ready {took:.1?} after the thaw, {} connect errors, marks from {marks:?} to {:?}",
            kind.0,
            after - errors,
            server.marks()
        );
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(after - errors <= 40, "{} of 100", after - errors);
        server.wait("app:s3cret@db/shop", &["--timeout=0"]).exits(0);
    });
}

#[test]
#[ignore = "needs Docker"]
fn two_hundred_waits_in_vain_leave_no_mark() {
    side_by_side(|kind| {
        let server = that_counts_us("vain", kind, 18);
        let (errors, marks) = (connect_errors(&server), server.marks());
        assert_eq!(errors.1, 1, "it does not know us");
        // As many at once as have the processor that a login needs.
        for _ in 0..20 {
            let begin = |_| begin(&server, "SELECT 1 FROM DUAL WHERE FALSE", &["--timeout=2"]);
            let waits: Vec<_> = (0..10).map(begin).collect();
            for wait in waits {
                wait.end().exits(1).says(&["error: ", "query_empty"]);
            }
        }
        assert_eq!((connect_errors(&server), server.marks()), (errors, marks));
    });
}

/// How many statements each replica has running, by the number in its comment.
fn running(server: &Server) -> BTreeMap<String, u32> {
    let list = server.sql("SHOW FULL PROCESSLIST");
    let mut running = BTreeMap::new();
    for (_, rest) in list.lines().filter_map(|row| row.split_once("/* replica ")) {
        *running.entry(rest[..1].to_owned()).or_default() += 1;
    }
    running
}

/// Has root hold a lock until this is dropped.
struct Holder<'a>(&'a Server);

impl<'a> Holder<'a> {
    fn new(server: &'a Server, statements: &str) -> Self {
        let exec = ["exec", "--detach", &server.name, server.client];
        let statements = format!("{statements}; DO SLEEP(1000)");
        let login = ["-uroot", "-pr00t", "shop", "-e", &statements];
        docker(&[&exec[..], &login].concat());
        let holder = Self(server);
        let start = Instant::now();
        while holder.id().is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "no lock");
        }
        holder
    }

    fn id(&self) -> Option<String> {
        let list = self.0.sql("SHOW FULL PROCESSLIST");
        let row = list.lines().find(|row| row.contains("SLEEP(1000)"))?;
        row.split_whitespace().next().map(str::to_owned)
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        let id = self.id().unwrap_or_default();
        self.0.try_sql(&format!("KILL {id}"));
    }
}

#[test]
#[ignore = "needs Docker"]
fn statements_neither_pile_up_nor_outlive_their_wait() {
    side_by_side(|kind| {
        let server = Server::started("pile", kind, &[], &["--max-connections=20"]);
        server.sql(
            "CREATE TABLE shop.migrations (id INT PRIMARY KEY); \
             INSERT INTO shop.migrations VALUES (1), (2), (3); \
             CREATE TABLE shop.n (id INT PRIMARY KEY AUTO_INCREMENT); \
             INSERT INTO shop.n VALUES (), (), (), (), (), (), (), (), (), (); \
             INSERT INTO shop.n SELECT NULL FROM shop.n a, shop.n b, shop.n c",
        );
        for (name, lock, query) in [
            (
                "a metadata lock",
                Some("LOCK TABLES migrations WRITE"),
                "SELECT COUNT(*) FROM migrations",
            ),
            (
                "a row lock",
                Some("BEGIN; SELECT * FROM migrations FOR UPDATE"),
                "SELECT id FROM migrations FOR UPDATE",
            ),
            (
                "a lock by name",
                Some("DO GET_LOCK('m', 0)"),
                "SELECT GET_LOCK('m', 1000)",
            ),
            ("sleep", None, "SELECT SLEEP(100)"),
            (
                "a cross join",
                None,
                // Without a condition MySQL multiplies.
                "SELECT COUNT(*) FROM n a, n b, n c, n d WHERE a.id + b.id + c.id + d.id < 0",
            ),
        ] {
            let holder = lock.map(|lock| Holder::new(&server, lock));
            // Two end at their deadline, two by a signal.
            let start = Instant::now();
            let mut waits: Vec<_> = (0..4)
                .map(|number| {
                    let query = format!("{query} /* replica {number} */");
                    let timeout = if number < 2 {
                        "--timeout=8"
                    } else {
                        "--timeout=60"
                    };
                    begin(&server, &query, &[timeout, "--connect-timeout=1"])
                })
                .collect();
            let mut most = 0;
            // A join takes the processor that looking takes too.
            let is_over = |most| match most {
                4 => start.elapsed() > Duration::from_secs(3),
                _ => start.elapsed() > Duration::from_secs(7),
            };
            while !is_over(most) {
                let running = running(&server);
                let is_one_each = running.values().all(|number| *number == 1);
                assert!(is_one_each, "{name}: {running:?}");
                most = most.max(running.len());
            }
            assert_eq!(most, 4, "{name}: they do not run");
            for wait in &waits[2..] {
                let id = Pid::from_raw(wait.child.id() as i32);
                kill(id, Signal::SIGTERM).expect("signalled");
            }
            for wait in waits.drain(2..) {
                let outcome = wait.end();
                assert!(outcome.code != Some(0), "{name}: {outcome:?}");
                outcome.took_from_to(2.0, 8.0).says(&["SIGTERM"]);
            }
            for wait in waits {
                let outcome = wait.end();
                outcome.exits(1).took_from_to(7.9, 10.0);
                outcome.says(&["timed_out: no answer for ", "while running the query"]);
            }
            thread::sleep(Duration::from_secs(1));
            assert_eq!(running(&server), BTreeMap::new(), "{name}");
            drop(holder);
        }
    });
}

#[test]
#[ignore = "needs Docker"]
fn tls_without_a_suite_in_common_is_done_without() {
    let [mysql, mariadb] = kinds();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // MySQL makes itself a certificate with an RSA key.
    let maker = Server::started("rsa", &mysql, &[], &[]);
    for file in ["server-cert.pem", "server-key.pem"] {
        let pem = maker.file(&format!("/var/lib/mysql/{file}"));
        std::fs::write(folder.path().join(file), pem + "\n").expect("written");
    }
    let volume = format!("{}:/tls:ro", folder.path().display());
    let args = [
        "--tls-version=TLSv1.2",
        "--ssl-cipher=AES256-GCM-SHA384",
        "--ssl-cert=/tls/server-cert.pem",
        "--ssl-key=/tls/server-key.pem",
    ];
    let server = Server::start("suites", &mariadb, &["--volume", &volume], &args);
    let plain = "app:s3cret@db/shop?ssl-mode=DISABLED";
    server.wait(plain, &["--timeout=60"]).exits(0);

    let marks = server.marks();
    server.wait("app:s3cret@db/shop", &["--timeout=0"]).exits(0);
    let with_one = server.marks();
    println!("marks from {marks:?} to {with_one:?}");
    assert!(with_one.iter().sum::<u64>() <= marks.iter().sum::<u64>() + 1);

    let target = "app:s3cret@db/shop?ssl-mode=REQUIRED";
    let outcome = server.wait(target, &["--timeout=6"]);
    outcome.exits(1).says(&[
        "tls_failed: the server has no TLS version or cipher suite in common",
        "ECDHE",
        "ssl-mode=PREFERRED",
    ]);
    let after = server.marks();
    println!("marks from {with_one:?} to {after:?}, {}", outcome.stderr);
    assert!(after.iter().sum::<u64>() <= with_one.iter().sum::<u64>() + 7);
}
