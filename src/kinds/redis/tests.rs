//! Scripted servers, for what a real one does not do on demand.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::timeout;

use super::KIND;
use crate::kinds::tests::{attempt_over, target_of};
use crate::probe::{NotReady, Reason, reason};
use crate::targets::{Address, Defaults, Origin, Target};

fn target(text: &str) -> Target {
    target_of(&KIND, text, &[], &[]).expect(text).0
}

/// The result of an attempt, its warning, and the commands that the server has received, against one
/// that gives these replies and then closes the connection.
async fn against(
    target: &Target,
    replies: &[&str],
) -> (Result<(), NotReady>, Option<Cow<'static, str>>, Vec<String>) {
    let (ours, mut theirs) = duplex(1 << 16);
    let cx = attempt_over(ours);
    let server = async move {
        let mut commands = Vec::new();
        let mut buffer = vec![0; 4096];
        for reply in replies {
            let read = theirs.read(&mut buffer).await.expect("a command");
            commands.push(words(&buffer[..read]));
            theirs.write_all(reply.as_bytes()).await.expect("sent");
            if !reply.ends_with('\n') {
                return commands;
            }
        }
        if let Ok(read @ 1..) = theirs.read(&mut buffer).await {
            commands.push(words(&buffer[..read]));
        }
        commands
    };
    let both = async { tokio::join!(target.probe.attempt(&cx), server) };
    let both = timeout(Duration::from_secs(20), both).await;
    let (result, commands) = both.expect("neither hangs");
    (result, cx.warning(), commands)
}

/// The words of a command.
fn words(command: &[u8]) -> String {
    let text = String::from_utf8_lossy(command);
    let lines: Vec<_> = text.split("\r\n").collect();
    let words: Vec<_> = lines[1..].chunks(2).filter_map(|pair| pair.get(1)).collect();
    assert_eq!(lines[0], format!("*{}", words.len()), "{text}");
    words.into_iter().copied().collect::<Vec<_>>().join(" ")
}

async fn is_ready(text: &str, replies: &[&str], commands: &[&str]) {
    let (result, _, received) = against(&target(text), replies).await;
    assert_eq!(result, Ok(()), "{text}");
    assert_eq!(received, commands, "{text}");
}

async fn is_not_ready(text: &str, replies: &[&str], reason: &Reason, code: Option<&str>) {
    let (result, ..) = against(&target(text), replies).await;
    let why = result.expect_err(text);
    assert!(why.is(reason), "{replies:?}: {why}");
    assert_eq!(why.code.as_deref(), code, "{replies:?}");
}

#[tokio::test]
async fn each_command_is_answered_before_the_next_is_sent() {
    let (ok, pong) = ("+OK\r\n", "+PONG\r\n");
    is_ready("db", &[pong], &["PING", "QUIT"]).await;
    is_ready(":secret@db", &[ok, pong, ok], &["AUTH secret", "PING", "QUIT"]).await;
    let commands = ["AUTH app se@cret", "SELECT 2", "PING", "QUIT"];
    is_ready("app:se%40cret@db/2", &[ok, ok, pong, ok], &commands).await;
    is_ready("db?db=3", &[ok, pong], &["SELECT 3", "PING", "QUIT"]).await;
}

/// Each as `--dry-run` prints it: the database, the TLS and the socket.
#[test]
fn words_of_drivers_are_understood() {
    let of = |text: &str| {
        let address = Address::parse(text, &[&KIND], None, Origin::Application).expect(text);
        let defaults = Defaults {
            kind: &KIND,
            variable: &|_, _| Ok(None),
            file: &|_| Err(std::io::ErrorKind::NotFound.into()),
            notices: RefCell::default(),
        };
        let target = Target::at(address, &defaults).expect(text);
        let parts = target.description().into_iter();
        let parts = parts.filter(|(name, _)| !matches!(*name, "kind" | "ready when"));
        let parts: Vec<_> = parts.map(|(name, value)| format!("{name}: {value}")).collect();
        parts.join(", ")
    };
    let (db, password) = ("address: db:6379", "password: from the URL");
    for (text, expected) in [
        ("redis+tls://:secret@db", format!("{db}, {password}, TLS: verify-full")),
        ("redis+ssl://:secret@db", format!("{db}, {password}, TLS: verify-full")),
        ("rediss://db?ssl_cert_reqs=none", format!("{db}, TLS: require")),
        ("rediss://db?ssl_cert_reqs=CERT_NONE", format!("{db}, TLS: require")),
        ("rediss://db?ssl_cert_reqs=required", format!("{db}, TLS: verify-full")),
        ("rediss://db?ssl_check_hostname=false", format!("{db}, TLS: verify-ca")),
        ("rediss://db?skip_verify=true", format!("{db}, TLS: require")),
        ("rediss://db?ssl[verify_peer]=0", format!("{db}, TLS: require")),
        ("redis://db?ssl_cert_reqs=none", format!("{db}, TLS: off")),
        ("redis://db/messages", format!("{db}, TLS: off")),
        ("redis://secret@db/1", format!("{db}, {password}, database: 1, TLS: off")),
        (
            "db:6380,password=secret,ssl=True,abortConnect=False,defaultDatabase=2",
            format!("address: db:6380, {password}, database: 2, TLS: verify-full"),
        ),
        (
            "db,password=a@/b,defaultDatabase=2",
            format!("{db}, {password}, database: 2, TLS: off"),
        ),
        (
            "redis:///run/redis.sock",
            "socket: /run/redis.sock, TLS: off".to_owned(),
        ),
        (
            "redis+socket://:secret@/run/redis.sock",
            format!("socket: /run/redis.sock, {password}, TLS: off"),
        ),
        (
            "redis-socket:///redis.sock",
            "socket: /redis.sock, TLS: off".to_owned(),
        ),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    for text in ["redis+sentinel://db", "redis+srv://db"] {
        Address::parse(text, &[&KIND], None, Origin::Application).expect_err(text);
    }
}

#[test]
fn a_parameter_that_asks_for_tls_is_obeyed() {
    for (text, expected) in [
        ("redis://:secret@cache", false),
        ("redis://:secret@cache?tls=false", false),
        ("redis://:secret@cache?tls=true", true),
        ("redis://:secret@cache/0?db=1&ssl=1", true),
        ("rediss://:secret@cache?tls=false", true),
        ("redis://:secret@cache?tls=true#tls=off", false),
    ] {
        let verifies = target(text).probe.verifies_certificates();
        assert_eq!(verifies, expected, "{text}");
    }
}

#[tokio::test]
async fn without_a_password_a_server_that_asks_for_one_is_ready() {
    let noauth = "-NOAUTH Authentication required.\r\n";
    is_ready("db", &[noauth], &["PING", "QUIT"]).await;
    is_ready("db/1", &[noauth], &["SELECT 1", "QUIT"]).await;
    is_not_ready(":x@db", &["+OK\r\n", noauth], &reason::ACCESS_DENIED, Some("NOAUTH")).await;
}

#[tokio::test]
async fn a_password_that_is_not_needed_is_a_warning() {
    for error in [
        "-ERR AUTH <password> called without any password configured for the default user.\r\n",
        "-ERR Client sent AUTH, but no password is set\r\n",
    ] {
        let (result, warning, _) = against(&target(":x@db"), &[error, "+PONG\r\n"]).await;
        assert_eq!(result, Ok(()));
        assert!(warning.is_some_and(|warning| warning.contains("not checked")));
    }
}

#[tokio::test]
async fn a_user_that_may_not_ping_is_logged_in() {
    let noperm = "-NOPERM this user has no permissions to run the 'ping' command\r\n";
    let (result, ..) = against(&target("app:x@db"), &["+OK\r\n", noperm]).await;
    assert_eq!(result, Ok(()));
    is_not_ready("app:x@db/1", &["+OK\r\n", noperm], &reason::ACCESS_DENIED, Some("NOPERM")).await;
}

#[tokio::test]
async fn errors_are_known_by_their_code() {
    for (error, reason, code) in [
        ("LOADING Redis is loading the dataset in memory", reason::STARTING, "LOADING"),
        ("MASTERDOWN Link with MASTER is down", reason::NOT_SERVING, "MASTERDOWN"),
        (
            "ERR SELECT is not allowed in cluster mode",
            reason::UNKNOWN_DATABASE,
            "ERR",
        ),
        ("BUSY Redis is busy running a script.", reason::NOT_SERVING, "BUSY"),
        ("MISCONF Redis is configured to save", reason::NOT_SERVING, "MISCONF"),
        ("WRONGPASS invalid username-password pair", reason::ACCESS_DENIED, "WRONGPASS"),
        ("DENIED Redis is running in protected mode", reason::ACCESS_DENIED, "DENIED"),
        ("ERR invalid password", reason::ACCESS_DENIED, "ERR"),
        ("ERR max number of clients reached", reason::TOO_MANY_CONNECTIONS, "ERR"),
        ("ERR DB index is out of range", reason::UNKNOWN_DATABASE, "ERR"),
        ("ERR unknown command", reason::SERVER_ERROR, "ERR"),
        ("OOM command not allowed", reason::SERVER_ERROR, "OOM"),
    ] {
        let reply = format!("-{error}\r\n");
        is_not_ready("db", &[&reply], &reason, Some(code)).await;
        is_not_ready(":x@db/1", &[&reply], &reason, Some(code)).await;
    }
}

#[tokio::test]
async fn replies_of_another_protocol_are_shown() {
    for reply in ["HTTP/1.1 400 Bad Request\r\n", "SSH-2.0-x\n", ":1\r\n", "+Hello\r\n", "-\r\n"] {
        is_not_ready("db", &[reply], &reason::PROTOCOL, None).await;
    }
    let endless = "x".repeat(5000);
    is_not_ready("db", &[&endless], &reason::PROTOCOL, None).await;
    is_not_ready("db", &["+PON"], &reason::CLOSED, None).await;
    is_not_ready("db", &[""], &reason::CLOSED, None).await;
}

#[tokio::test]
async fn a_server_that_repeats_the_password_does_not_have_it_logged() {
    let reply = "-ERR unknown command 'AUTH', with args beginning with: 'app' 'TOPSECRET'\r\n";
    let (ours, mut theirs) = duplex(1 << 16);
    let server = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(1..) = theirs.read(&mut buffer).await {
            let _ = theirs.write_all(reply.as_bytes()).await; // it may have left
        }
    });
    let cx = attempt_over(ours);
    let why = target("app:TOPSECRET@db").probe.attempt(&cx).await;
    let why = cx.without_secrets(why.expect_err("not ready"));
    assert!(why.detail.contains("unknown command"), "{why}");
    assert!(!why.detail.contains("TOPSECRET"), "{why}");
    server.abort();
}

#[test]
fn a_target_names_a_database_by_its_number() {
    let printed = |text: &str, variables: &[_]| {
        target_of(&KIND, text, variables, &[]).map(|(target, _)| target.to_string())
    };
    assert_eq!(printed("db", &[]).as_deref(), Ok("redis://db:6379"));
    assert_eq!(printed("valkeys://u:p@db?db=4", &[]).as_deref(), Ok("rediss://u@db:6379/4"));
    let defaults = [
        ("WAIT_REDIS_USER", "app"),
        ("WAIT_REDIS_PASSWORD", "x"),
        ("WAIT_REDIS_DATABASE", "1"),
    ];
    assert_eq!(printed("db", &defaults).as_deref(), Ok("redis://app@db:6379/1"));
    for text in ["db/shop", "db?db=x", "db/-1", "db/1/2", "db#tls=prefer", "db#tls=maybe"] {
        assert!(printed(text, &[]).is_err(), "{text}");
    }
    let (_, notices) = target_of(&KIND, "app@db", &[], &[]).expect("a target");
    assert_eq!(notices.len(), 1, "{notices:?}");
}
