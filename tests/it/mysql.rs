//! MySQL targets against the embedded server; the real ones are in `containers.rs`.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::fixtures::mysql::{self, Account, Ends, deny, greeting, packet};
use crate::fixtures::ports::{Port, serve};
use crate::support::{Outcome, Wait, process_status, wait};

/// With characters that a URL does not take as they are.
const ACCOUNT: Account = Account {
    user: "app",
    password: "s3cret/p@ss",
    database: "shop",
};

fn server() -> (u16, Arc<Ends>) {
    let (address, ends) = mysql::start(ACCOUNT);
    (address.port(), ends)
}

/// One attempt at a target, the password from the variable.
fn once(target: String) -> Outcome {
    wait()
        .var("WAIT_TIMEOUT", "0")
        .var("WAIT_MYSQL", target)
        .var("WAIT_MYSQL_PASSWORD", ACCOUNT.password)
        .run()
}

#[test]
fn a_login_with_its_database_is_ready_and_ends_with_a_goodbye() {
    let (port, ends) = server();
    once(format!("app@127.0.0.1:{port}/shop")).exits(0);
    once(format!("app:s3cret%2Fp%40ss@localhost:{port}/shop")).exits(0);
    for _ in 0..100 {
        if ends.goodbyes.load(Ordering::Relaxed) == 2 {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    assert_eq!(ends.goodbyes.load(Ordering::Relaxed), 2, "{ends:?}");
    assert_eq!(ends.others.load(Ordering::Relaxed), 0, "{ends:?}");
}

#[test]
fn a_denied_login_and_an_unknown_database_are_reported() {
    let (port, _) = server();
    let denied = once(format!("other@127.0.0.1:{port}"));
    denied
        .exits(1)
        .says(&["error: mysql://other@", "access_denied: error 1698"]);
    let unknown = once(format!("app@127.0.0.1:{port}/none"));
    unknown
        .exits(1)
        .says(&["error: mysql://app@", "unknown_database: error 1049"]);
}

#[test]
fn without_a_user_a_denial_is_an_answer() {
    let (port, ends) = server();
    let outcome = wait()
        .args(["--mysql", &format!("127.0.0.1:{port}"), "--timeout", "0"])
        .run();
    outcome.exits(0).says(&["is ready after"]);
    assert_eq!(ends.others.load(Ordering::Relaxed), 1);
}

#[test]
fn a_query_must_return_a_row() {
    let (port, _) = server();
    for (query, code, reason) in [
        ("SELECT 1", 0, "is ready"),
        ("SELECT 1 WHERE FALSE", 1, "query_empty"),
        ("SELEKT", 1, "query_failed: error 1064"),
    ] {
        let outcome = wait()
            .var("WAIT_TIMEOUT", "0")
            .var("WAIT_MYSQL", format!("app@127.0.0.1:{port}/shop"))
            .var("WAIT_MYSQL_PASSWORD", ACCOUNT.password)
            .var("WAIT_MYSQL_QUERY", query)
            .run();
        outcome.exits(code).says(&[reason]);
    }
}

#[test]
fn after_a_denied_login_the_pauses_grow() {
    let (port, ends) = server();
    let outcome = wait()
        .args([
            "--mysql",
            &format!("other@127.0.0.1:{port}"),
            "--timeout",
            "1",
        ])
        .run();
    outcome.exits(1);
    let logins = ends.others.load(Ordering::Relaxed);
    assert!((2..=10).contains(&logins), "{logins} logins in a second");
}

#[test]
fn a_server_that_greets_late_is_ready() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let server = serve(move |mut connection| {
        counted.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_secs(7)); // longer than a connect may take
        let _ = connection.write_all(&greeting(false));
        deny(connection);
    });
    let outcome = wait().args(["--mysql", &server.to_string()]).run();
    outcome.exits(0).took_from_to(7.0, 9.0);
    outcome.says(&[
        "timed_out: no answer for ",
        " while waiting for the greeting",
    ]);
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[test]
fn servers_that_are_not_mysql_are_told_apart() {
    let refused = Port::new();
    once(refused.address.to_string())
        .exits(1)
        .says(&["error: ", "refused"]);

    once(serve(drop).to_string())
        .exits(1)
        .says(&["error: ", "closed"]);

    let server = serve(|mut connection| {
        let _ = connection.write_all(&packet(0, b"hello")); // the client may be gone
    });
    once(server.to_string())
        .exits(1)
        .says(&["error: ", "protocol"]);
}

#[test]
fn an_applications_own_url_is_enough() {
    let (port, _) = server();
    let outcome = wait()
        .var(
            "DATABASE_URL",
            format!("mysql://app:s3cret%2Fp%40ss@127.0.0.1:{port}/shop?pool=5"),
        )
        .args(["--for", "env:DATABASE_URL", "--timeout", "0"])
        .run();
    outcome
        .exits(0)
        .says(&[&format!("mysql://app@127.0.0.1:{port}/shop is ready")]);
}

#[test]
fn several_targets_have_credentials_of_their_own() {
    let (first, _) = server();
    let (second, _) = server();
    let targets = format!(
        "mysql://app:s3cret%2Fp%40ss@127.0.0.1:{first}/shop,\
         mysql://app:wrong@127.0.0.1:{second}, mysql://127.0.0.1:{second}"
    );
    let outcome = wait().args(["--for", &targets, "--timeout", "0"]).run();
    outcome.exits(1);
    for (target, says) in [
        (format!("app@127.0.0.1:{first}/shop"), "is ready"),
        (format!("app@127.0.0.1:{second}"), "access_denied"),
        (format!("127.0.0.1:{second}"), "is ready"),
    ] {
        outcome.says(&[&format!("mysql://{target} "), says]);
    }
}

/// `wait` with the password in a file.
fn with_password_file(port: u16, file: &Path) -> Wait {
    wait()
        .var("WAIT_MYSQL", format!("app@127.0.0.1:{port}/shop"))
        .var("WAIT_MYSQL_PASSWORD_FILE", file)
}

#[test]
fn a_password_file_is_read_anew_for_every_attempt() {
    let (port, ends) = server();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    let mut waiting = with_password_file(port, &file).start();
    waiting.until(&["missing: the password's file ", "password does not exist"]);
    sleep(Duration::from_millis(300));
    assert_eq!(ends.others.load(Ordering::Relaxed), 0, "{ends:?}");
    std::fs::write(&file, format!("{}\n", ACCOUNT.password)).expect("written");
    let outcome = waiting.end();
    outcome.exits(0).took_from_to(0.3, 5.0);
    outcome.says(&["mysql://app@", "is ready after"]);
}

#[test]
fn a_password_that_changes_is_used_at_the_next_attempt() {
    let (port, _) = server();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "wrong").expect("written");
    let mut waiting = with_password_file(port, file.path()).start();
    waiting.until(&["access_denied"]);
    std::fs::write(file.path(), ACCOUNT.password).expect("written");
    waiting.end().exits(0).says(&["is ready after"]);
}

#[test]
fn one_line_end_at_the_end_of_a_password_file_is_dropped() {
    let (port, ends) = server();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let password = ACCOUNT.password;
    for (contents, code) in [
        (password.to_owned(), 0),
        (format!("{password}\n"), 0),
        (format!("{password}\r\n"), 0),
        (format!("{password}\n\n"), 1),
        (format!("{password}\r"), 1),
        (format!(" {password}"), 1),
        ("\n".to_owned(), 1),
    ] {
        std::fs::write(file.path(), &contents).expect("written");
        let wait = with_password_file(port, file.path()).args(["--timeout=0"]);
        let outcome = wait.run();
        outcome.exits(code);
        if code > 0 {
            outcome.says(&["access_denied"]);
        }
    }
    assert_eq!(ends.others.load(Ordering::Relaxed), 4, "{ends:?}");
}

#[test]
fn a_password_file_that_cannot_be_used_makes_its_target_missing() {
    let (port, ends) = server();
    let folder = tempfile::tempdir().expect("a folder");
    let written = |name: &str, contents: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, contents).expect("written");
        file
    };
    for (file, says) in [
        (folder.path().join("none"), "does not exist"),
        (written("empty", b""), "is empty"),
        (written("binary", b"\xff\xfe"), "is not UTF-8 text"),
        (written("long", &[b'x'; (1 << 20) + 1]), "cannot be read: "),
        (
            folder.path().into(),
            "cannot be read: it is not a regular file",
        ),
        (
            "/dev/zero".into(),
            "cannot be read: it is not a regular file",
        ),
    ] {
        let path = file.display().to_string();
        let outcome = with_password_file(port, &file)
            .args(["--timeout=300ms", "true"])
            .run();
        outcome.exits(1).took_from_to(0.3, 3.0);
        outcome.says(&[
            "error: mysql://app@",
            ": missing: the password's file ",
            &path,
            says,
        ]);
    }
    // Where no target needs it, it is not opened.
    with_password_file(port, &folder.path().join("none"))
        .var("WAIT_MYSQL", format!("127.0.0.1:{port}"))
        .run()
        .exits(0);
    assert_eq!(ends.others.load(Ordering::Relaxed), 1, "{ends:?}");
}

#[test]
fn two_databases_have_queries_and_secrets_of_their_own() {
    let start = |user, password, database| {
        let account = Account {
            user,
            password,
            database,
        };
        mysql::start(account).0
    };
    let shop = start("app", "first", "shop");
    let stock = start("root", "se,cond", "stock");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "se,cond\n").expect("written");
    let file = file.path().display();
    for (of_stock, says) in [
        ("SELECT 1", "is ready"),
        ("SELECT 1 WHERE FALSE", "query_empty"),
    ] {
        let targets = format!(
            "app@{shop}/shop#query=SELECT 1&password-env=OF_SHOP,\
             root@{stock}/stock#password-file={file}&query={of_stock}"
        );
        let outcome = wait()
            .var("WAIT_MYSQL", targets)
            .var("OF_SHOP", "first")
            .var("WAIT_TIMEOUT", "0")
            .run();
        outcome.exits(i32::from(says != "is ready"));
        outcome.says(&[&format!("mysql://app@{shop}/shop is ready")]);
        outcome.says(&[&format!("mysql://root@{stock}/stock "), says]);
    }
}

#[test]
fn options_are_added_to_an_applications_url() {
    let (port, _) = server();
    for (options, code, says) in [
        ("query=SELECT 1", 0, "is ready"),
        ("query=SELECT 1 WHERE FALSE", 1, "query_empty"),
        ("query=SELEKT", 1, "query_failed: error 1064"),
        ("query=", 0, "is ready"), // none, although there is a default
        ("tls=require", 1, "tls_failed: the server offers no TLS"),
        ("tls=off&query=SELECT%201", 0, "is ready"),
    ] {
        let url = format!("mysql://app:s3cret%2Fp%40ss@127.0.0.1:{port}/shop?pool=5");
        let outcome = wait()
            .var("DATABASE_URL", url)
            .var("WAIT_MYSQL_QUERY", "SELECT 1")
            .args(["--timeout=0", &format!("--for=env:DATABASE_URL#{options}")])
            .run();
        outcome.exits(code).says(&[says]);
        let name = format!("mysql://app@127.0.0.1:{port}/shop is ");
        outcome.says(&[&name]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_row_is_not_kept_in_memory() {
    const MEGABYTES: usize = 64;
    let port = Port::new();
    let address = port.address.to_string();
    let listener = port.listener();
    let mut wait = std::process::Command::new(crate::support::WAIT)
        .env("WAIT_MYSQL_QUERY", "SELECT everything")
        .args(["--mysql", &format!("app@{address}"), "--timeout=30"])
        .spawn()
        .expect("it starts");
    let (mut connection, _) = listener.accept().expect("a connection");
    let ok = [0, 0, 0, 2, 0, 0, 0];
    let mut question = [0; 1024];
    for answer in [greeting(false), packet(2, &ok), packet(1, &ok)] {
        connection.write_all(&answer).expect("written");
        let read = connection.read(&mut question).expect("a question");
        assert!(read > 0, "it has left");
    }
    // One column, and one row in parts of 16 MB that does not end.
    let column = b"\x03def\0\0\0\x01n\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
    for (sequence, answer) in [(1, &[1][..]), (2, column), (3, &[0xfe, 0, 0, 2, 0])] {
        let answer = packet(sequence, answer);
        connection.write_all(&answer).expect("written");
    }
    let part = vec![b'x'; 0xff_ff_ff];
    for sequence in 0..MEGABYTES / 16 {
        let header = [0xff, 0xff, 0xff, sequence as u8 + 4];
        connection.write_all(&header).expect("written");
        connection.write_all(&part).expect("written");
    }
    let peak = process_status(wait.id(), "VmHWM");
    assert!(peak < 20_000, "{peak} kB");
    wait.kill().expect("killed");
    wait.wait().expect("an end");
}
