//! Options that follow the '#' of a target, what happens after the deadline, and the files of secrets.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::fixtures::mysql::{self, Account, greet_and_deny};
use crate::fixtures::ports::{Port, Silent, serve};
use crate::support::{Wait, best_of_three, wait};

const APP: Account = Account {
    user: "app",
    password: "secret",
    database: "shop",
};

fn waiting_for(target: &str) -> Wait {
    wait().var("WAIT_HOSTS", target).var("WAIT_TIMEOUT", "1")
}

/// A server with the account.
fn server() -> SocketAddr {
    mysql::start(APP).0
}

#[test]
fn a_target_is_gone_where_nothing_is_there() {
    let closed = Port::new();
    let closed = closed.address;
    for target in [
        format!("{closed}#gone"),
        format!("http://{closed}/#gone"),
        format!("mysql://app:secret@{closed}/shop#gone"),
        "env:DATABASE_URL#gone&connect-timeout=3".to_owned(),
        "mysql://app@localhost/shop?socket=/nonexistent.sock#gone".to_owned(),
    ] {
        let outcome = waiting_for(&target)
            .var("DATABASE_URL", format!("mysql://app:secret@{closed}/shop"))
            .run();
        outcome.exits(0).says(&["is ready"]);
    }
}

#[test]
fn a_target_that_is_there_is_not_gone() {
    let open = Port::opened();
    let denying = serve(greet_and_deny);
    let silent = Silent::new();
    let failing = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    });
    let login = "is not ready after";
    for (target, reason) in [
        (format!("{}#gone", open.address), "still_there: it is there"),
        (
            format!("mysql://app:secret@{}/shop#gone", server()),
            "still_there",
        ),
        (format!("mysql://{denying}#gone"), "still_there"),
        (
            format!("http://{failing}/#gone"),
            "still_there: it is there",
        ),
        (
            format!("http://{failing}/#gone&contains=welcome"),
            "still_there: it is there",
        ),
        (format!("mysql://app:wrong@{denying}#gone"), "access_denied"),
        (format!("{}#gone", silent.address()), "timed_out"),
        (
            "mysql://app@localhost:1/#gone&password-file=/nonexistent".to_owned(),
            "missing",
        ),
    ] {
        waiting_for(&target).run().exits(1).says(&[login, reason]);
    }
}

#[test]
fn a_server_of_another_protocol_is_not_asked_again_at_once() {
    for scheme in [
        "postgres", "mysql", "redis", "kafka", "amqp", "mongodb", "grpc", "http",
    ] {
        let connections = Arc::new(AtomicUsize::new(0));
        let own = Arc::clone(&connections);
        let address = serve(move |mut stream| {
            own.fetch_add(1, Ordering::Relaxed);
            // The server of this protocol waits for the client's first line.
            if stream
                .set_read_timeout(Some(Duration::from_millis(5)))
                .is_ok()
            {
                let _ = stream.read(&mut [0; 1024]);
            }
            let answer = match scheme {
                "http" => "SSH-2.0-OpenSSH_9.6\r\n",
                _ => "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            };
            let _ = stream.write_all(answer.as_bytes());
        });
        waiting_for(&format!("{scheme}://app:secret@{address}"))
            .run()
            .exits(1);
        let connections = connections.load(Ordering::Relaxed);
        assert!(
            (1..=25).contains(&connections),
            "{scheme}: {connections} in a second"
        );
    }
}

#[test]
fn a_target_is_waited_for_until_it_is_gone() {
    let port = Port::opened();
    let (address, started) = (port.address, std::time::Instant::now());
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(1));
        drop(port);
    });
    let target = format!("{address}#gone");
    let outcome = wait().var("WAIT_HOSTS", &target).run();
    outcome.exits(0).says(&["still_there: it is there"]);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn an_optional_target_is_a_warning() {
    let (closed, open) = (Port::new().address, Port::opened());
    let targets = format!("{closed}#optional,{}", open.address);
    let outcome = waiting_for(&targets).args(["echo", "started"]).run();
    assert_eq!(outcome.exits(0).stdout, "started\n");
    let line = format!("wait: warning: {closed} is not ready after ");
    outcome.says(&[&line, "refused"]).took_from_to(1.0, 3.0);
    // Alone, and in a check.
    waiting_for(&format!("http://{closed}/#optional"))
        .run()
        .exits(0);
    let check = wait().args(["--check", &format!("{closed}#optional")]);
    check.run().exits(1);
}

#[test]
fn a_stable_target_stays_ready_for_a_while() {
    let open = Port::opened();
    let target = format!("{}#stable=700ms", open.address);
    let outcome = wait().var("WAIT_HOSTS", &target).run();
    outcome.exits(0).took_from_to(0.7, 3.0);
    outcome.says(&[
        "is not ready after",
        "starting: it has been ready for ",
        " of 700 ms",
    ]);
    let target = format!("{}#stable=5", open.address);
    let outcome = waiting_for(&target).run();
    let hint = "of 5.0 s; #stable asks for that; does it come and go?";
    outcome.exits(1).says(&[hint]);
}

#[test]
fn a_connect_timeout_of_its_own_is_an_options() {
    let silent = Silent::new();
    let target = format!("{}#connect-timeout=300ms", silent.address());
    let outcome = wait()
        .var("WAIT_HOSTS", &target)
        .var("WAIT_TIMEOUT", "0")
        .run();
    outcome.exits(1).took_from_to(0.3, 2.0).says(&["timed_out"]);
}

#[test]
fn logins_and_queries_are_options() {
    let address = server();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"secret\n").expect("written");
    let path = file.path().display();
    for target in [
        format!("mysql://{address}/shop#user=app&password-env=TOKEN"),
        format!("mysql://other@{address}/shop#user=app&password-file={path}"),
        "env:DATABASE_URL#user=app&password-env=TOKEN&query=SELECT 1".to_owned(),
        format!("mysql://app:secret@{address}/shop#query=SELECT 1&tls=off"),
        format!("mysql://app:secret@{address}/shop#query=SELECT%201&tls=prefer"),
    ] {
        let outcome = waiting_for(&target)
            .var("TOKEN", "secret")
            .var("DATABASE_URL", format!("mysql://{address}/shop?pool=5"))
            .run();
        outcome
            .exits(0)
            .says(&[&format!("mysql://app@{address}/shop is ready")]);
    }
    for (options, reason) in [
        ("query=SELECT 1 WHERE FALSE", "query_empty"),
        ("query=SELECT 1%2C 2", "query_failed"),
        ("tls=require", "tls_failed"),
        ("tls=verify-full", "tls_failed"),
    ] {
        let target = format!("mysql://app:secret@{address}/shop#{options}");
        waiting_for(&target).run().exits(1).says(&[reason]);
    }
}

#[test]
fn after_the_deadline_the_command_may_start_all_the_same() {
    let closed = Port::new().address.to_string();
    let line = "wait: warning: not everything is ready in time; the command starts all the same\n";
    for wait in [
        waiting_for(&closed).var("WAIT_ON_TIMEOUT", "start"),
        waiting_for(&closed).args(["--on-timeout", "start"]),
    ] {
        let outcome = wait.args(["echo", "started"]).run();
        assert_eq!(outcome.exits(0).took_from_to(1.0, 3.0).stdout, "started\n");
        assert!(outcome.stderr.contains(line), "{outcome:?}");
    }
    let fail = waiting_for(&closed).var("WAIT_ON_TIMEOUT", "fail");
    fail.args(["echo", "started"]).run().exits(1);
    // Without a command the status is the result.
    waiting_for(&closed)
        .var("WAIT_ON_TIMEOUT", "start")
        .run()
        .exits(1);
    let outcome = wait().var("WAIT_ON_TIMEOUT", "maybe").run();
    let line = "wait: error: WAIT_ON_TIMEOUT: maybe: expected fail or start\n";
    assert_eq!(outcome.exits(2).stderr, line);
}

#[test]
fn what_may_be_meant_as_its_opposite_is_an_error() {
    for (option, expected) in [
        ("gone=false", "expected gone without a value"),
        ("optional=no", "expected optional without a value"),
        ("cleartext=0", "expected cleartext without a value"),
    ] {
        let outcome = wait()
            .var("WAIT_HOSTS", format!("mysql://app:pw@db#{option}"))
            .run();
        outcome.exits(2).says(&[expected]);
    }
    let outcome = wait().var("DB", ",").args(["--for=env:DB"]).run();
    outcome
        .exits(2)
        .says(&["expected a variable with a target"]);
}

#[test]
fn with_disabled_nothing_is_waited_for() {
    for value in ["1", "0", "false", "any"] {
        let outcome = wait()
            .var("WAIT_DISABLED", value)
            .var("WAIT_HOSTS", "this is no target")
            .var("WAIT_MYSQL_PASSWORD", "secret")
            .var("WAIT_BEFORE", "5")
            .var("WAIT_TLS_CA_FILE", "/nonexistent")
            .args(["echo", "started"])
            .run();
        assert_eq!(outcome.exits(0).took_from_to(0.0, 2.0).stdout, "started\n");
        assert_eq!(
            outcome.stderr,
            "wait: warning: WAIT_DISABLED is set: nothing is waited for\n\
             wait: nothing to wait for\nwait: starting echo\n"
        );
    }
    let closed = Port::new().address.to_string();
    let check = wait().var("WAIT_DISABLED", "1").args(["--check", &closed]);
    check.run().exits(1).says(&["refused"]);
}

#[test]
fn a_dry_run_prints_the_targets_and_tries_nothing() {
    let outcome = wait()
        .var(
            "WAIT_HOSTS",
            "env:DATABASE_URL#query=SELECT 1&optional&stable=2s, db:80#gone",
        )
        .var(
            "DATABASE_URL",
            "mysql://app:secret@db/shop?sslaccept=strict",
        )
        .args(["--dry-run", "node", "--password=secret"])
        .run();
    assert_eq!(outcome.exits(0).stderr, "");
    let expected = "\
mysql://app@db:3306/shop
  kind: MySQL and MariaDB
  address: db:3306
  user: app
  password: from the URL
  database: shop
  TLS: verify-full
  query: yes
  optional: yes
  stable: 2s
  ready when: with a user: the login succeeds, the database is selected, a ping and a statement are answered, and the query, if there is one, returns a row whose first column is true. Without a user: the server accepts or denies a login
db:80
  kind: TCP ports
  address: db:80
  gone: yes
  ready when: nothing is there: no process listens, or there is no such name or path
command: node
";
    assert_eq!(outcome.stdout, expected);
    let outcome = wait().args(["--dry-run", "--for", "db"]).run();
    outcome.exits(2);
    let outcome = wait()
        .var("WAIT_REDIS_PASSWORD", "secret")
        .args([
            "--dry-run",
            "--redis",
            "app@cache/2",
            "--redis",
            "rediss://b",
        ])
        .run();
    let printed = &outcome.exits(0).stdout;
    for part in [
        "  user: app\n  password: from WAIT_REDIS_PASSWORD\n  database: 2\n  TLS: off\n",
        "  address: b:6379\n  password: from WAIT_REDIS_PASSWORD\n  TLS: verify-full\n",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    let outcome = wait()
        .args(["--dry-run", "--for", "mysql://app:secret@a,b:3307/shop"])
        .run();
    let printed = &outcome.exits(0).stdout;
    let part = "mysql://app@a:3306,b:3307/shop\n  kind: MySQL and MariaDB\n  address: a:3306\n  \
                address: b:3307\n";
    assert!(printed.starts_with(part), "{printed}");
}

#[test]
fn the_file_of_a_password_is_waited_for() {
    let address = server();
    best_of_three(Duration::from_millis(2_100), || {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let started = wait()
            .var("WAIT_MYSQL", format!("app@{address}/shop"))
            .var("WAIT_MYSQL_PASSWORD_FILE", &path)
            .start();
        // As an agent writes it: late, and first empty.
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(1));
            std::fs::write(&path, "").expect("written");
            thread::sleep(Duration::from_millis(600));
            std::fs::write(&path, "secret\n").expect("written");
        });
        let outcome = started.end();
        outcome
            .exits(0)
            .says(&["missing: the password's file ", " does not exist"]);
        assert!(outcome.took >= Duration::from_millis(1_600), "{outcome:?}");
        drop(folder);
        outcome.took
    });
}

#[test]
fn the_file_of_a_password_that_no_target_needs_is_not_opened() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"secret").expect("written");
    let no_one = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(file.path(), no_one).expect("its owner may");
    let open = Port::opened();
    let (address, path) = (open.address.to_string(), file.path().display().to_string());
    for path in [&*path, "/nonexistent", "/dev/zero", "/"] {
        let check = wait()
            .var("WAIT_MYSQL_PASSWORD_FILE", path)
            .args(["--check", &address]);
        assert_eq!(check.run().exits(0).stderr, "");
    }
}

#[test]
fn a_denied_login_has_a_hint_about_its_password() {
    let address = serve(greet_and_deny);
    let denied = |user: &str, wait: Wait| {
        let outcome = wait
            .var("WAIT_HOSTS", format!("mysql://{user}@{address}/shop"))
            .var("WAIT_TIMEOUT", "0")
            .run();
        outcome.exits(1).says(&["access_denied"]);
        let (_, hint) = outcome.stderr.trim_end().rsplit_once("; ").expect("a hint");
        hint.to_owned()
    };
    for (password, flaw) in [
        ("secret\n", ": it ends in a line end"),
        ("secret\r", ": it ends in a line end"),
        ("\u{feff}secret", ": it begins with a byte order mark"),
        ("\"secret\"", ": it is in quotes"),
        ("'secret'", ": it is in quotes"),
        (
            "secret # the password",
            ": it holds ' #', which begins a comment elsewhere",
        ),
        (
            "${DB_PASSWORD}",
            ": it holds '${', which nothing has expanded",
        ),
    ] {
        let variable = wait().var("WAIT_MYSQL_PASSWORD", password);
        let hint = denied("app", variable);
        assert_eq!(
            hint,
            format!("check the password from WAIT_MYSQL_PASSWORD{flaw}"),
            "{password:?}"
        );
    }
    // Every source.
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"'wrong'\r\n").expect("written");
    let path = file.path().display().to_string();
    let from_file = wait().var("WAIT_MYSQL_PASSWORD_FILE", &path);
    assert_eq!(
        denied("app", from_file),
        "check the password from WAIT_MYSQL_PASSWORD_FILE: it is in quotes"
    );
    assert_eq!(
        denied("app:", wait()),
        "check the password from the URL: it is empty"
    );
    assert_eq!(
        denied("app:sec%00ret", wait()),
        "check the password from the URL: it holds a NUL"
    );
    assert_eq!(
        denied("app:wrong", wait()),
        "check the user and the password, which is from the URL"
    );
    assert_eq!(denied("app", wait()), "no password is set for this target");
    let options = wait()
        .var("TOKEN", "wrong")
        .args(["--mysql", &format!("app@{address}/shop#password-env=TOKEN")]);
    let outcome = options.var("WAIT_TIMEOUT", "0").run();
    outcome
        .exits(1)
        .says(&["; check the user and the password, which is from TOKEN"]);
    let options = wait().args([
        "--mysql",
        &format!("app@{address}/shop#password-file={path}"),
    ]);
    let outcome = options.var("WAIT_TIMEOUT", "0").run();
    let hint = format!("; check the password from the file {path}: it is in quotes");
    outcome.exits(1).says(&[&hint]);
}

#[test]
fn options_follow_a_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("app.pid");
    let path = pid.display();
    let waiting = || wait().args(["--timeout=300ms"]);
    waiting()
        .args(["--path", &format!("{path}#gone")])
        .run()
        .exits(0);
    waiting()
        .args(["--check", &format!("{path}#gone")])
        .run()
        .exits(0);
    let optional = waiting()
        .var("WAIT_PATHS", format!("{path}#optional, /"))
        .run();
    optional
        .exits(0)
        .says(&["wait: warning: ", "app.pid is not ready", "missing"]);
    std::fs::write(&pid, "1").expect("written");
    let there = waiting().var("WAIT_PATHS", format!("/,{path}#gone")).run();
    there
        .exits(1)
        .says(&["app.pid is not ready after", "still_there: it is there"]);
    waiting()
        .args(["--check", &format!("{path}#gone")])
        .run()
        .exits(1);
    let stable = wait()
        .args(["--path", &format!("{path}#stable=600ms")])
        .run();
    stable.exits(0).took_from_to(0.6, 5.0);
    // It is the same path with another meaning.
    let both = waiting().args([
        "--path",
        &format!("{path}"),
        "--path",
        &format!("{path}#gone"),
    ]);
    both.run().exits(1).says(&["still_there"]);
    let removed = wait().args(["--path", &format!("{path}#gone")]).start();
    thread::sleep(Duration::from_millis(400));
    std::fs::remove_file(&pid).expect("removed");
    removed.end().exits(0).took_from_to(0.4, 5.0);
}

#[test]
fn a_number_sign_may_be_part_of_a_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let waiting = |name: &str| {
        let path = folder.path().join(name);
        wait().args(["--timeout=0", "--path"]).args([path]).run()
    };
    for name in ["a#b", "a#gone#b", "a#gone&b", "a#tls=off", "a#", "a%23gone"] {
        waiting(name).exits(1);
        std::fs::write(folder.path().join(name), "").expect("written");
        waiting(name).exits(0);
        waiting(&format!("{name}#gone")).exits(1);
    }
    for options in ["stable=x", "gone=no", "gone&connect-timeout=0"] {
        let outcome = waiting(&format!("a#{options}"));
        outcome
            .exits(2)
            .says(&["wait: error: --path: /", "expected "]);
    }
}
