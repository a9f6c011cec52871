//! MySQL targets against the embedded server; the real ones are in `containers.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::mysql_server::{self, Account, Ends};
use crate::support::{Outcome, open_port, process_status, reserved_port, wait};

/// With characters that a URL does not take as they are.
const ACCOUNT: Account = Account {
    user: "app",
    password: "s3cret/p@ss",
    database: "shop",
};

async fn server() -> (u16, Arc<Ends>) {
    let (port, listener) = open_port().await;
    let ends = Arc::new(Ends::default());
    tokio::spawn(mysql_server::serve(listener, ACCOUNT, Arc::clone(&ends)));
    (port, ends)
}

/// One attempt at a target, the password from the variable.
async fn once(target: String) -> Outcome {
    wait()
        .var("WAIT_TIMEOUT", "0")
        .var("WAIT_MYSQL", target)
        .var("WAIT_MYSQL_PASSWORD", ACCOUNT.password)
        .run_beside()
        .await
}

#[tokio::test]
async fn a_login_with_its_database_is_ready_and_ends_with_a_goodbye() {
    let (port, ends) = server().await;
    once(format!("app@127.0.0.1:{port}/shop")).await.exits(0);
    once(format!("app:s3cret%2Fp%40ss@localhost:{port}/shop"))
        .await
        .exits(0);
    for _ in 0..100 {
        if ends.goodbyes.load(Ordering::Relaxed) == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(ends.goodbyes.load(Ordering::Relaxed), 2, "{ends:?}");
    assert_eq!(ends.others.load(Ordering::Relaxed), 0, "{ends:?}");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let (port, _) = server().await;
    let denied = once(format!("other@127.0.0.1:{port}")).await;
    denied
        .exits(1)
        .says(&["error: mysql://other@", "access_denied: error 1698"]);
    let unknown = once(format!("app@127.0.0.1:{port}/none")).await;
    unknown
        .exits(1)
        .says(&["error: mysql://app@", "unknown_database: error 1049"]);
}

#[tokio::test]
async fn without_a_user_a_denial_is_an_answer() {
    let (port, ends) = server().await;
    let outcome = wait()
        .args(["--mysql", &format!("127.0.0.1:{port}"), "--timeout", "0"])
        .run_beside()
        .await;
    outcome.exits(0).says(&["is ready after"]);
    assert_eq!(ends.others.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_query_must_return_a_row() {
    let (port, _) = server().await;
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
            .run_beside()
            .await;
        outcome.exits(code).says(&[reason]);
    }
}

#[tokio::test]
async fn a_server_that_denies_is_not_pressed() {
    let (port, ends) = server().await;
    let outcome = wait()
        .args([
            "--mysql",
            &format!("other@127.0.0.1:{port}"),
            "--timeout",
            "1",
        ])
        .run_beside()
        .await;
    outcome.exits(1);
    let logins = ends.others.load(Ordering::Relaxed);
    assert!((2..=10).contains(&logins), "{logins} logins in a second");
}

#[tokio::test]
async fn what_is_not_a_server_is_told_apart() {
    let (refused, _socket) = reserved_port();
    once(format!("127.0.0.1:{refused}"))
        .await
        .exits(1)
        .says(&["error: ", "refused"]);

    let (port, listener) = open_port().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    once(format!("127.0.0.1:{port}"))
        .await
        .exits(1)
        .says(&["error: ", "closed"]);

    let (port, listener) = open_port().await;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            // The length of a packet of 5 bytes, and then nothing that MySQL would say.
            let _ = connection.write_all(b"\x05\0\0\0hello").await;
        }
    });
    once(format!("127.0.0.1:{port}"))
        .await
        .exits(1)
        .says(&["error: ", "protocol"]);
}

#[tokio::test]
async fn an_applications_own_url_is_enough() {
    let (port, _) = server().await;
    let outcome = wait()
        .var(
            "DATABASE_URL",
            format!("mysql://app:s3cret%2Fp%40ss@127.0.0.1:{port}/shop?pool=5"),
        )
        .args(["--for", "env:DATABASE_URL", "--timeout", "0"])
        .run_beside()
        .await;
    outcome
        .exits(0)
        .says(&[&format!("mysql://app@127.0.0.1:{port}/shop is ready")]);
}

#[tokio::test]
async fn several_targets_have_credentials_of_their_own() {
    let (first, _) = server().await;
    let (second, _) = server().await;
    let targets = format!(
        "mysql://app:s3cret%2Fp%40ss@127.0.0.1:{first}/shop,\
         mysql://app:wrong@127.0.0.1:{second}, mysql://127.0.0.1:{second}"
    );
    let outcome = wait()
        .args(["--for", &targets, "--timeout", "0"])
        .run_beside()
        .await;
    outcome.exits(1);
    for (target, says) in [
        (format!("app@127.0.0.1:{first}/shop"), "is ready"),
        (format!("app@127.0.0.1:{second}"), "access_denied"),
        (format!("127.0.0.1:{second}"), "is ready"),
    ] {
        outcome.says(&[&format!("mysql://{target} "), says]);
    }
}

/// A server that sends more than anybody wants to have.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_server_sends_is_not_kept() {
    const MEGABYTES: usize = 64;
    let (port, listener) = open_port().await;
    let mut wait = tokio::process::Command::new(crate::support::WAIT)
        .env("WAIT_MYSQL_QUERY", "SELECT everything")
        .args(["--mysql", &format!("app@127.0.0.1:{port}"), "--timeout=30"])
        .spawn()
        .expect("it starts");
    let (mut connection, _) = listener.accept().await.expect("a connection");
    let mut greeting = b"\x0a8.4.0\0\x01\0\0\0nonce-01\0\0\x82\x2d\x02\0\x08\0\x15".to_vec();
    greeting.extend([0; 10]);
    greeting.extend(b"nonce-02-is-\0mysql_native_password\0");
    let ok = [0, 0, 0, 2, 0, 0, 0];
    let mut question = [0; 1024];
    for (sequence, answer) in [(0, &greeting[..]), (2, &ok), (1, &ok)] {
        let header = [answer.len() as u8, 0, 0, sequence];
        connection.write_all(&header).await.expect("written");
        connection.write_all(answer).await.expect("written");
        let read = connection.read(&mut question).await.expect("a question");
        assert!(read > 0, "it has left");
    }
    // One column, and one row in parts of 16 MB that does not end.
    let column = b"\x03def\0\0\0\x01n\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
    for (sequence, answer) in [(1, &[1][..]), (2, column), (3, &[0xfe, 0, 0, 2, 0])] {
        let header = [answer.len() as u8, 0, 0, sequence];
        connection.write_all(&header).await.expect("written");
        connection.write_all(answer).await.expect("written");
    }
    let part = vec![b'x'; 0xff_ff_ff];
    for sequence in 0..MEGABYTES / 16 {
        let header = [0xff, 0xff, 0xff, sequence as u8 + 4];
        connection.write_all(&header).await.expect("written");
        connection.write_all(&part).await.expect("written");
    }
    let peak = process_status(wait.id().expect("a child"), "VmHWM");
    assert!(peak < 20_000, "{peak} kB");
    wait.kill().await.expect("killed");
}
