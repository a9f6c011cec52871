//! Scripted servers, for what a real one does not do on demand.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::KIND;
use super::codes;
use super::drivers::{self, Role};
use crate::kinds::tests::{attempt_over, target_of, untrusted_certificate};
use crate::net::tls::{TlsMode, Verification};
use crate::net::{At, Route, Stream};
use crate::probe::{Attempt, NotReady, Reason, Stop, reason};
use crate::targets::{Address, Origin, Target};

/// A connection, as a script sees it.
type Connection = DuplexStream;

fn target(text: &str) -> Target {
    target_of(&KIND, text, &[], &[]).expect(text).0
}

/// A message of the protocol.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(body);
    message
}

fn authentication(request: u32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&request.to_be_bytes(), data].concat())
}

fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0C{code}\0M{text}\0\0").as_bytes())
}

/// The end of a login: settings, the key, and that the server is ready.
fn welcome() -> Vec<u8> {
    [
        authentication(0, b""),
        message(b'S', b"server_version\x0015.1\0"),
        message(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// The result of a statement with one column of a type, of these values.
fn rows(of_type: u32, values: &[Option<&str>]) -> Vec<u8> {
    let column = [b"\0\x01n\0\0\0\0\0\0\0", &of_type.to_be_bytes()[..], &[0; 8]].concat();
    let mut answer = message(b'T', &column);
    for value in values {
        let length = value.map_or(-1, |value| value.len() as i32).to_be_bytes();
        let value = value.unwrap_or_default().as_bytes();
        answer.extend(message(b'D', &[b"\0\x01", &length[..], value].concat()));
    }
    answer.extend(message(b'C', b"SELECT\0"));
    answer.extend(message(b'Z', b"I"));
    answer
}

/// Reads a message without a tag: the first one of a connection.
async fn start(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.expect("a length");
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body).await.expect("a body");
    body
}

/// Reads a message; `None` at the end.
async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let tag = stream.read_u8().await.ok()?;
    Some((tag, start(stream).await))
}

const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
const CANCEL_REQUEST: [u8; 4] = 80_877_102_u32.to_be_bytes();

/// Says that there is no TLS, and reads the start-up message.
async fn without_tls(stream: &mut Connection) -> String {
    assert_eq!(start(stream).await, SSL_REQUEST);
    stream.write_all(b"N").await.expect("sent");
    String::from_utf8_lossy(&start(stream).await).into_owned()
}

async fn run<T>(
    target: &Target,
    script: impl AsyncFnOnce(Connection) -> T,
) -> (Result<(), NotReady>, T) {
    let (ours, theirs) = duplex(1 << 16);
    let cx = attempt_over(ours);
    let both = async { tokio::join!(target.probe.attempt(&cx), script(theirs)) };
    timeout(Duration::from_secs(20), both).await.expect("neither hangs")
}

/// The result of an attempt against a server without TLS that answers each message after the first with
/// one of these and then closes, and the messages that it has received.
async fn against(text: &str, answers: &[Vec<u8>]) -> (Result<(), NotReady>, Vec<String>) {
    run(&target(text), async |mut stream| {
        let mut received = vec![without_tls(&mut stream).await];
        for answer in answers {
            if stream.write_all(answer).await.is_err() {
                return received;
            }
            match next(&mut stream).await {
                Some((tag, body)) => {
                    let body = String::from_utf8_lossy(&body).into_owned();
                    received.push(format!("{}{body}", char::from(tag)));
                }
                None => return received,
            }
        }
        received
    })
    .await
}

#[track_caller]
fn is_not_ready(result: Result<(), NotReady>, reason: &Reason, code: Option<&str>) -> NotReady {
    let why = result.expect_err("not ready");
    assert!(why.is(reason), "{why}");
    assert_eq!(why.code.as_deref(), code, "{why}");
    why
}

#[tokio::test]
async fn a_login_is_followed_by_a_statement_and_a_goodbye() {
    let (result, received) = against("app@db/shop", &[welcome(), rows(23, &[Some("1")])]).await;
    assert_eq!(result, Ok(()));
    let startup = "\0\x03\0\0user\0app\0database\0shop\0application_name\0wait\0client_encoding\0UTF8\0\0";
    assert_eq!(received, [startup, "QSELECT 1\0", "X"]);
    // Without a database the server takes the user's name.
    let (_, received) = against("app@db", &[welcome(), rows(23, &[Some("1")])]).await;
    assert!(!received[0].contains("database"), "{received:?}");
}

#[tokio::test]
async fn without_a_user_a_decision_is_enough() {
    for (answer, received) in [
        (authentication(10, b"SCRAM-SHA-256\0\0"), None),
        (authentication(5, b"salt"), None),
        (authentication(3, b""), None),
        (authentication(7, b""), None),
        (welcome(), Some("X")),
        (error("28000", "no pg_hba.conf entry"), None),
        (error("3D000", "no such database"), None),
    ] {
        let (result, all) = against("db", &[answer]).await;
        assert_eq!(result, Ok(()), "{all:?}");
        assert!(all[0].contains("user\0postgres\0database\0postgres\0"), "{all:?}");
        assert_eq!(all.get(1).map(String::as_str), received);
    }
    for (code, reason) in [
        ("57P03", reason::STARTING),
        ("57P01", reason::SHUTTING_DOWN),
        ("53300", reason::TOO_MANY_CONNECTIONS),
    ] {
        let (result, _) = against("db", &[error(code, "no")]).await;
        is_not_ready(result, &reason, Some(code));
    }
    let (result, _) = against("db", &[error("08P01", "server login has been failing")]).await;
    is_not_ready(result, &reason::NOT_SERVING, Some("08P01"));
}

#[tokio::test]
async fn errors_are_known_by_their_sqlstate_in_any_language() {
    for (code, reason) in [
        ("57P03", reason::STARTING),
        ("57P01", reason::SHUTTING_DOWN),
        ("57P02", reason::SHUTTING_DOWN),
        ("53300", reason::TOO_MANY_CONNECTIONS),
        ("28P01", reason::ACCESS_DENIED),
        ("3D000", reason::UNKNOWN_DATABASE),
        ("42501", reason::UNKNOWN_DATABASE),
        ("55000", reason::NOT_SERVING),
        ("XX000", reason::SERVER_ERROR),
    ] {
        let answer = error(code, "das Datenbanksystem …");
        for text in ["app@db/shop", "app:x@db/shop"] {
            let (result, _) = against(text, std::slice::from_ref(&answer)).await;
            is_not_ready(result, &reason, Some(code));
        }
        // The same in answer to a statement, where the server closes the connection or does not.
        let answer = [answer, message(b'Z', b"I")].concat();
        let (result, _) = against("app@db", &[welcome(), answer]).await;
        is_not_ready(result, &reason, Some(code));
    }
    let (result, ()) = run(&target("app@db"), async |mut stream| {
        without_tls(&mut stream).await;
        stream.write_all(&welcome()).await.expect("sent");
        next(&mut stream).await;
        stream.write_all(&error("57P01", "terminating connection")).await.expect("sent");
    })
    .await;
    is_not_ready(result, &reason::SHUTTING_DOWN, Some("57P01"));
}

#[test]
fn the_texts_of_poolers_are_known() {
    for (text, reason) in [
        ("no such database: shop", reason::UNKNOWN_DATABASE),
        ("no more connections allowed (max_client_conn)", reason::TOO_MANY_CONNECTIONS),
        ("query_wait_timeout", reason::NOT_SERVING),
        ("server login has been failing, try again later (server_login_retry)", reason::NOT_SERVING),
        ("pgbouncer cannot connect to server", reason::NOT_SERVING),
        ("client_login_timeout (server down)", reason::NOT_SERVING),
        ("server DNS lookup failed", reason::NOT_SERVING),
        ("TLS connection required", reason::TLS_REQUIRED),
        ("SASL authentication failed", reason::ACCESS_DENIED),
        ("no such user: app", reason::ACCESS_DENIED),
        ("server connections dropped, exiting", reason::SHUTTING_DOWN),
        ("unsupported startup parameter: options", reason::SERVER_ERROR),
    ] {
        let why = codes::not_ready(format!("C08P01\0M{text}\0\0").as_bytes());
        assert!(why.is(&reason), "{why}");
    }
}

#[test]
fn the_hint_of_a_denial_is_by_the_servers_function() {
    for (routine, words) in [
        ("ClientAuthentication", "pg_hba.conf"),
        ("InitializeSessionUserId", "CREATE ROLE"),
        ("other", "WAIT_POSTGRES_PASSWORD"),
    ] {
        let why = codes::not_ready(format!("C28000\0Mnein\0R{routine}\0\0").as_bytes());
        assert!(why.is(&reason::ACCESS_DENIED) && why.hint().contains(words), "{}", why.hint());
    }
    // Nothing of it is there, or it is cut.
    assert!(codes::not_ready(b"").is(&reason::SERVER_ERROR));
    assert!(codes::not_ready(b"C28P0").is(&reason::SERVER_ERROR));
}

#[tokio::test]
async fn a_password_goes_out_as_the_server_asks_for_it() {
    let md5 = "pmd520e0d4a5bbc1de3ab1d8b8b5e2b8a9a5\0".len();
    let (result, received) = against(
        "app:secret@db",
        &[authentication(5, b"salt"), welcome(), rows(23, &[Some("1")])],
    )
    .await;
    assert_eq!(result, Ok(()));
    assert!(received[1].starts_with("pmd5") && received[1].len() == md5, "{received:?}");
    // In clear text only where nobody else can read it, or where it is allowed.
    let cleartext = || [authentication(3, b""), welcome(), rows(23, &[Some("1")])];
    let (result, received) = against("app:secret@db", &cleartext()).await;
    let why = is_not_ready(result, &reason::ACCESS_DENIED, None);
    assert!(why.hint().contains("#cleartext"), "{}", why.hint());
    assert_eq!(received.len(), 1, "{received:?}");
    let (result, received) = against("app:secret@db#cleartext", &cleartext()).await;
    assert_eq!(result, Ok(()));
    assert_eq!(received[1], "psecret\0");
}

#[tokio::test]
async fn a_server_that_asks_for_a_password_gets_none_where_there_is_none() {
    for (text, hint) in [("app@db", "no password is set"), ("app:@db", "it is empty")] {
        for request in [3, 5] {
            let (result, received) = against(text, &[authentication(request, b"salt")]).await;
            let why = is_not_ready(result, &reason::ACCESS_DENIED, None);
            assert!(why.hint().contains(hint), "{}", why.hint());
            assert_eq!(received.len(), 1, "{received:?}");
        }
    }
}

/// A server's side of SCRAM, which knows the password or not. Returns the messages of the client's.
async fn scram(mut stream: impl AsyncRead + tokio::io::AsyncWrite + Unpin, mechanisms: &[u8], iterations: u32) -> Vec<String> {
    let mut received = Vec::new();
    stream.write_all(&authentication(10, mechanisms)).await.expect("sent");
    if let Some((_, body)) = next(&mut stream).await {
        let text = String::from_utf8_lossy(&body).into_owned();
        let nonce = text.rsplit("r=").next().expect("a nonce");
        let first = format!("r={nonce}server,s=c2FsdA==,i={iterations}");
        received.push(text.clone());
        stream.write_all(&authentication(11, first.as_bytes())).await.expect("sent");
    }
    if let Some((_, body)) = next(&mut stream).await {
        received.push(String::from_utf8_lossy(&body).into_owned());
        let wrong = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let _ = stream.write_all(&authentication(12, wrong)).await;
        let _ = stream.write_all(&welcome()).await; // it may have left
    }
    received
}

#[tokio::test]
async fn a_server_that_does_not_know_the_password_is_found_out() {
    let (result, received) = run(&target("app:secret@db"), async |mut stream| {
        without_tls(&mut stream).await;
        scram(stream, b"SCRAM-SHA-256\0\0", 4096).await
    })
    .await;
    let why = is_not_ready(result, &reason::PROTOCOL, None);
    assert!(why.detail.contains("SCRAM verification error"), "{why}");
    assert_eq!(received.len(), 2, "{received:?}");
    assert!(received[0].contains("n,,n=,r="), "{received:?}");
}

#[tokio::test]
async fn the_work_that_a_server_may_ask_for_is_bounded() {
    let (result, received) = run(&target("app:secret@db"), async |mut stream| {
        without_tls(&mut stream).await;
        scram(stream, b"SCRAM-SHA-256\0\0", u32::MAX).await
    })
    .await;
    is_not_ready(result, &reason::PROTOCOL, None);
    assert_eq!(received.len(), 1, "{received:?}");
}

#[tokio::test]
async fn a_login_is_not_over_before_the_server_has_proved_itself() {
    let (result, _) = run(&target("app:secret@db"), async |mut stream| {
        without_tls(&mut stream).await;
        stream.write_all(&authentication(10, b"SCRAM-SHA-256\0\0")).await.expect("sent");
        next(&mut stream).await;
        stream.write_all(&welcome()).await.expect("sent");
        next(&mut stream).await
    })
    .await;
    is_not_ready(result, &reason::PROTOCOL, None);
}

#[tokio::test]
async fn require_auth_and_channel_binding_are_obeyed() {
    for (parameters, request, is_taken) in [
        ("require_auth=md5", 5, true),
        ("require_auth=scram-sha-256", 5, false),
        ("require_auth=scram-sha-256,md5", 5, true),
        ("require_auth=!md5", 5, false),
        ("require_auth=!password,!gss", 5, true),
        ("require_auth=md5", 0, false),
        ("require_auth=none", 0, true),
        ("channel_binding=require", 5, false),
        ("channel_binding=require", 0, false),
        ("channel_binding=prefer", 5, true),
    ] {
        let mut answers = vec![welcome(), rows(23, &[Some("1")])];
        if request != 0 {
            answers.insert(0, authentication(request, b"salt"));
        }
        let (result, _) = against(&format!("app:secret@db?{parameters}"), &answers).await;
        assert_eq!(result.is_ok(), is_taken, "{parameters}: {result:?}");
    }
}

#[tokio::test]
async fn a_login_is_bound_to_its_connection_where_the_server_offers_it() {
    for (parameters, mechanisms, begins) in [
        ("", &b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"[..], "p=tls-server-end-point,,"),
        ("", b"SCRAM-SHA-256\0\0", "y,,"),
        ("&channel_binding=disable", b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", "n,,"),
        ("&channel_binding=require", b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", "p=tls-server-end-point,,"),
        ("&channel_binding=require", b"SCRAM-SHA-256\0\0", ""),
    ] {
        let target = target(&format!("app:secret@db?sslmode=require{parameters}"));
        let (_, received) = run(&target, async |mut stream| {
            assert_eq!(start(&mut stream).await, SSL_REQUEST);
            stream.write_all(b"S").await.expect("sent");
            let mut stream = untrusted_certificate().accept(stream).await.expect("TLS");
            start(&mut stream).await;
            scram(stream, mechanisms, 4096).await
        })
        .await;
        match begins {
            "" => assert!(received.is_empty(), "{received:?}"),
            begins => {
                let name = if begins.starts_with('p') { "SCRAM-SHA-256-PLUS\0" } else { "SCRAM-SHA-256\0" };
                assert!(received[0].starts_with(name) && received[0][name.len() + 4..].starts_with(begins), "{received:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_untrusted_server_learns_nothing() {
    for text in ["app:secret@db?sslmode=verify-full", "app:secret@db#tls=verify-ca"] {
        let (result, received) = run(&target(text), async |mut stream| {
            assert_eq!(start(&mut stream).await, SSL_REQUEST);
            stream.write_all(b"S").await.expect("sent");
            let mut stream = untrusted_certificate().accept(stream).await.expect("TLS");
            let mut received = Vec::new();
            // The end is a proper one.
            stream.read_to_end(&mut received).await.expect("an end");
            received
        })
        .await;
        is_not_ready(result, &reason::TLS_FAILED, None);
        assert!(received.is_empty(), "{received:?}");
    }
    // Nor does one without TLS.
    let (result, received) = run(&target("app:secret@db?sslmode=require"), async |mut stream| {
        start(&mut stream).await;
        stream.write_all(b"N").await.expect("sent");
        next(&mut stream).await
    })
    .await;
    is_not_ready(result, &reason::TLS_FAILED, None);
    assert_eq!(received, None);
}

#[tokio::test]
async fn what_is_sent_before_tls_is_not_taken_for_tls() {
    for answer in [&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], b"SR\0\0\0\x08\0\0\0\0", b"NR\0\0\0\x08\0\0\0\0", b"HTTP/1.1 400"] {
        let (result, ()) = run(&target("app:secret@db"), async |mut stream| {
            start(&mut stream).await;
            stream.write_all(answer).await.expect("sent");
        })
        .await;
        is_not_ready(result, &reason::PROTOCOL, None);
    }
}

/// The result of an attempt that makes several connections, each with its script.
fn over<const N: usize>(
    target: &Target,
    route: Route,
) -> (impl Future<Output = Result<(), NotReady>>, [Connection; N]) {
    let mut ours = Vec::new();
    let theirs = std::array::from_fn(|_| {
        let (our, their) = duplex(1 << 16);
        ours.push(Stream::new(our, route));
        their
    });
    let cx = Attempt::over(std::sync::Arc::default(), ours, Stop::default());
    (async move { target.probe.attempt(&cx).await }, theirs)
}

#[tokio::test]
async fn where_tls_is_preferred_a_failure_or_a_refusal_leads_to_none() {
    let target = target("app:secret@db");
    for refuses in [true, false] {
        let (attempt, [mut first, mut second]) = over::<2>(&target, Route::Private);
        let script = async {
            assert_eq!(start(&mut first).await, SSL_REQUEST);
            first.write_all(b"S").await.expect("sent");
            if refuses {
                let mut first = untrusted_certificate().accept(first).await.expect("TLS");
                start(&mut first).await;
                first.write_all(&error("28000", "no encryption, please")).await.expect("sent");
            } else {
                assert!(first.read(&mut [0; 4096]).await.expect("a hello") > 0);
                first.write_all(b"\x15\x03\x01\0\x02\x02\x28").await.expect("sent");
            }
            // The second one does not even ask.
            let startup = start(&mut second).await;
            assert!(startup.starts_with(b"\0\x03\0\0user"), "{startup:?}");
            for answer in [welcome(), rows(23, &[Some("1")])] {
                second.write_all(&answer).await.expect("sent");
                next(&mut second).await;
            }
        };
        let attempt = async { assert_eq!(attempt.await, Ok(()), "{refuses}") };
        let both = async { tokio::join!(attempt, script) };
        timeout(Duration::from_secs(20), both).await.expect("no hang");
    }
}

#[tokio::test]
async fn where_tls_is_allowed_it_is_used_after_a_refusal() {
    let target = target("app:secret@db?sslmode=allow");
    let (attempt, [mut first, mut second]) = over::<2>(&target, Route::Private);
    let script = async {
        assert!(start(&mut first).await.starts_with(b"\0\x03\0\0user"));
        first.write_all(&error("28000", "no pg_hba.conf entry, no encryption")).await.expect("sent");
        assert_eq!(start(&mut second).await, SSL_REQUEST);
        second.write_all(b"S").await.expect("sent");
        let mut second = untrusted_certificate().accept(second).await.expect("TLS");
        start(&mut second).await;
        for answer in [welcome(), rows(23, &[Some("1")])] {
            second.write_all(&answer).await.expect("sent");
            next(&mut second).await;
        }
    };
    let (result, ()) = tokio::join!(attempt, script);
    assert_eq!(result, Ok(()));
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    let (result, _) = against("app:secret@db", &[authentication(5, b"salt"), error("28P01", "no")]).await;
    is_not_ready(result, &reason::ACCESS_DENIED, Some("28P01"));
}

#[tokio::test]
async fn on_a_unix_socket_there_is_no_tls() {
    let target = target("app:secret@db?sslmode=require");
    let (attempt, [mut stream]) = over::<1>(&target, Route::Local);
    let script = async {
        assert!(start(&mut stream).await.starts_with(b"\0\x03\0\0user"));
        // Nor does a password need it.
        for answer in [authentication(3, b""), welcome(), rows(23, &[Some("1")])] {
            stream.write_all(&answer).await.expect("sent");
            next(&mut stream).await;
        }
    };
    assert_eq!(tokio::join!(attempt, script).0, Ok(()));
}

#[tokio::test]
async fn on_a_public_network_a_login_without_tls_is_a_warning() {
    for (route, warns) in [(Route::Public, true), (Route::Private, false)] {
        let (ours, mut theirs) = duplex(1 << 16);
        let stream = Stream::new(ours, route);
        let cx = Attempt::over(std::sync::Arc::default(), [stream], Stop::default());
        let target = target("app:secret@db");
        let script = async {
            without_tls(&mut theirs).await;
            theirs.write_all(&error("28P01", "no")).await.expect("sent");
        };
        let (result, ()) = tokio::join!(target.probe.attempt(&cx), script);
        is_not_ready(result, &reason::ACCESS_DENIED, Some("28P01"));
        assert_eq!(cx.warning().is_some(), warns);
    }
}

const QUERY: &str = "app@db#query=SELECT n FROM t";

#[tokio::test]
async fn the_first_column_of_a_row_must_be_true() {
    const TEXT: u32 = 25;
    for (of_type, values, reason) in [
        (23, &[Some("1")][..], None),
        (23, &[Some("-3")], None),
        (23, &[Some("0"), Some("1")], None),
        (16, &[Some("t")], None),
        (TEXT, &[Some("f")], None),
        (TEXT, &[Some("no")], None),
        (17, &[Some("\\x0100")], None),
        (1700, &[Some("0.01")], None),
        (23, &[], Some(reason::QUERY_EMPTY)),
        (23, &[None], Some(reason::QUERY_EMPTY)),
        (23, &[Some("0")], Some(reason::QUERY_EMPTY)),
        (1700, &[Some("0.00")], Some(reason::QUERY_EMPTY)),
        (16, &[Some("f")], Some(reason::QUERY_EMPTY)),
        (TEXT, &[Some("")], Some(reason::QUERY_EMPTY)),
        (TEXT, &[Some("false")], Some(reason::QUERY_EMPTY)),
        (TEXT, &[Some("FALSE"), Some("0")], Some(reason::QUERY_EMPTY)),
        (17, &[Some("\\x")], Some(reason::QUERY_EMPTY)),
        (17, &[Some("\\x0000")], Some(reason::QUERY_EMPTY)),
    ] {
        let (result, received) = against(QUERY, &[welcome(), rows(of_type, values)]).await;
        match reason {
            None => assert_eq!(result, Ok(()), "{values:?}"),
            Some(reason) => drop(is_not_ready(result, &reason, None)),
        }
        assert_eq!(received[1..], ["QSELECT n FROM t\0", "X"]);
    }
}

#[tokio::test]
async fn a_row_may_be_of_any_length() {
    let long = "x".repeat(3_000_000);
    let (result, _) = against(QUERY, &[welcome(), rows(25, &[Some(&long)])]).await;
    assert_eq!(result, Ok(()));
}

#[tokio::test]
async fn an_error_of_the_query_is_its_own() {
    for code in ["42P01", "42501", "XX000"] {
        let answer = [error(code, "no"), message(b'Z', b"I")].concat();
        let (result, received) = against(QUERY, &[welcome(), answer]).await;
        is_not_ready(result, &reason::QUERY_FAILED, Some(code));
        assert_eq!(received.last().map(String::as_str), Some("X"));
    }
    let answer = [error("25006", "read-only"), message(b'Z', b"I")].concat();
    let (result, _) = against(QUERY, &[welcome(), answer]).await;
    is_not_ready(result, &reason::NOT_SERVING, Some("25006"));
}

/// An attempt with a deadline, against a server that answers so.
async fn with_deadline(answers: &[Vec<u8>]) -> (Result<(), NotReady>, Vec<String>) {
    let (ours, mut theirs) = duplex(1 << 16);
    let deadline = tokio::time::Instant::now() + Duration::from_millis(10_500);
    let stop = Stop::default().with_deadline(Some(deadline));
    let cx = Attempt::over(std::sync::Arc::default(), [Stream::new(ours, Route::Private)], stop);
    let target = target(QUERY);
    let script = async {
        let mut received = vec![without_tls(&mut theirs).await];
        for answer in answers {
            theirs.write_all(answer).await.expect("sent");
            let (_, body) = next(&mut theirs).await.expect("a message");
            received.push(String::from_utf8_lossy(&body).into_owned());
        }
        received
    };
    tokio::join!(target.probe.attempt(&cx), script)
}

const LIMITED: &str = "SET LOCAL statement_timeout=12000; SET LOCAL lock_timeout=12000; SELECT n FROM t\0";

#[tokio::test(start_paused = true)]
async fn a_query_is_limited_on_the_server() {
    let (result, received) = with_deadline(&[welcome(), rows(23, &[Some("1")])]).await;
    assert_eq!(result, Ok(()));
    assert_eq!(received[1..], [LIMITED, ""]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_limits_gets_the_query_alone() {
    let refusal = |position: &str| {
        let body = format!("C42601\0Msyntax error\0{position}\0");
        [message(b'E', body.as_bytes()), message(b'Z', b"I")].concat()
    };
    let answers = [welcome(), refusal("P5\0"), rows(23, &[Some("1")])];
    let (result, received) = with_deadline(&answers).await;
    assert_eq!(result, Ok(()));
    assert_eq!(received[1..], [LIMITED, "SELECT n FROM t\0", ""]);
    // An error in the query itself is not repeated.
    let (result, received) = with_deadline(&[welcome(), refusal("P70\0")]).await;
    is_not_ready(result, &reason::QUERY_FAILED, Some("42601"));
    assert_eq!(received[1..], [LIMITED, ""]);
}

#[tokio::test(start_paused = true)]
async fn a_query_is_cancelled_when_the_wait_ends() {
    for is_tls in [false, true] {
        let text = if is_tls { "app@db?sslmode=require#query=SELECT 1" } else { "app@db#query=SELECT 1" };
        let target = target(text);
        let ((first, mut theirs), (second, mut other)) = (duplex(1 << 16), duplex(1 << 16));
        let streams = [first, second].map(|io| Stream::new(io, Route::Private));
        let stop = Stop::default();
        let cx = Attempt::over(std::sync::Arc::default(), streams, stop.clone());
        let script = async {
            assert_eq!(start(&mut theirs).await, SSL_REQUEST);
            if is_tls {
                theirs.write_all(b"S").await.expect("sent");
                let mut theirs = untrusted_certificate().accept(theirs).await.expect("TLS");
                let cancel = async {
                    assert_eq!(start(&mut other).await, SSL_REQUEST, "the key in clear text");
                    other.write_all(b"S").await.expect("sent");
                    let mut other = untrusted_certificate().accept(&mut other).await.expect("TLS");
                    cancelled(&mut other).await;
                };
                session(&mut theirs, &stop, cancel).await
            } else {
                theirs.write_all(b"N").await.expect("sent");
                session(&mut theirs, &stop, cancelled(&mut other)).await
            }
        };
        let both = async { tokio::join!(target.probe.attempt(&cx), script) };
        let (result, last) = timeout(Duration::from_secs(20), both).await.expect("no hang");
        let why = is_not_ready(result, &reason::TIMED_OUT, None);
        assert!(why.detail.contains("cancelled"), "{why}");
        assert_eq!(last, Some((b'X', Vec::new())));
    }
}

/// The request to cancel the statement of [`welcome`]'s session.
async fn cancelled(stream: &mut (impl AsyncRead + Unpin)) {
    let expected = [&CANCEL_REQUEST[..], &[0, 0, 0, 7, 1, 2, 3, 4]].concat();
    assert_eq!(start(stream).await, expected);
    assert_eq!(stream.read(&mut [0]).await.expect("an end"), 0);
}

/// A session whose query runs until it is cancelled. Returns the message after that.
async fn session(
    stream: &mut (impl AsyncRead + tokio::io::AsyncWrite + Unpin),
    stop: &Stop,
    cancel: impl Future<Output = ()>,
) -> Option<(u8, Vec<u8>)> {
    start(stream).await;
    stream.write_all(&welcome()).await.expect("sent");
    next(stream).await.expect("the query");
    stop.stop();
    cancel.await;
    let answer = [error("57014", "canceled"), message(b'Z', b"I")].concat();
    stream.write_all(&answer).await.expect("sent");
    next(stream).await
}

#[tokio::test]
async fn the_role_of_a_server_is_asked_for() {
    for (attribute, question, right, wrong) in [
        ("read-write", "QSHOW transaction_read_only\0", "off", "on"),
        ("read-only", "QSHOW transaction_read_only\0", "on", "off"),
        ("primary", "QSELECT pg_catalog.pg_is_in_recovery()\0", "f", "t"),
        ("standby", "QSELECT pg_catalog.pg_is_in_recovery()\0", "t", "f"),
    ] {
        let text = format!("app@db?target_session_attrs={attribute}");
        let one = rows(23, &[Some("1")]);
        let (result, received) = against(&text, &[welcome(), rows(25, &[Some(right)]), one]).await;
        assert_eq!(result, Ok(()), "{attribute}");
        assert_eq!(received[1..], [question, "QSELECT 1\0", "X"]);
        let (result, received) = against(&text, &[welcome(), rows(25, &[Some(wrong)])]).await;
        is_not_ready(result, &reason::NOT_SERVING, None);
        assert_eq!(received[1..], [question, "X"]);
    }
}

#[test]
fn targets_are_made_and_printed() {
    let printed = |text: &str, variables: &[_]| {
        target_of(&KIND, text, variables, &[]).map(|(target, _)| target.to_string())
    };
    for (text, expected) in [
        ("db", "postgres://db:5432"),
        ("app:x@db/shop", "postgres://app@db:5432/shop"),
        ("app:x@a,b:1/shop", "postgres://app@a:5432,b:1/shop"),
        ("postgresql+psycopg2://app:x@db/shop", "postgres://app@db:5432/shop"),
        ("host=db port=1 user=app password=x dbname=shop", "postgres://app@db:1/shop"),
        ("app:x@/shop?socket=/run/postgresql", "postgres://app@localhost:5432/shop?socket=/run/postgresql"),
    ] {
        assert_eq!(printed(text, &[]).as_deref(), Ok(expected), "{text}");
    }
    for text in [
        "app:x@db/a/b",
        "app:x@db?sslmode=maybe",
        "app:x@db?target_session_attrs=maybe",
        "app:x@db?channel_binding=maybe",
        "app:x@db?unknown=1",
        "db#query=SELECT 1",
        "app@db#query=SELECT%00",
        "app@db#cleartext=1",
        "host=db password='x",
    ] {
        assert!(printed(text, &[]).is_err(), "{text}");
    }
    let (_, notices) = target_of(&KIND, ":x@db", &[], &[]).expect("a target");
    assert_eq!(notices.len(), 1, "{notices:?}");
}

#[test]
fn libpqs_own_form_has_its_own_quotes() {
    let url = |text: &str| drivers::DIALECTS.iter().find_map(|dialect| dialect(text));
    for (text, expected) in [
        ("host=db", "postgres://@db?uselibpqcompat=true"),
        ("host = db  user= app", "postgres://app@db?uselibpqcompat=true"),
        (r"user=app password='it\'s \\ x' host=db", "postgres://app:it%27s%20%5C%20x@db?uselibpqcompat=true"),
        (r"user=app password=a\ b host=db", "postgres://app:a%20b@db?uselibpqcompat=true"),
        ("host=a,b port=1,2 user=app", "postgres://app@a:1,b:2?uselibpqcompat=true"),
        ("host=a,b port=1 user=app", "postgres://app@a:1,b:1?uselibpqcompat=true"),
        ("host=::1 user=app", "postgres://app@[::1]?uselibpqcompat=true"),
        ("host='' user=app", "postgres://app@localhost?socket=/var/run/postgresql&uselibpqcompat=true"),
        ("host=/run/x port=1 user=app", "postgres://app@localhost:1?socket=/run/x&uselibpqcompat=true"),
    ] {
        assert_eq!(url(text).as_deref(), Some(expected), "{text}");
    }
    for text in ["db:5432", "a=b", "host", "host=db x", "host=db unknown=1", "user='x", "", "=", "sslmode=require"] {
        assert_eq!(url(text), None, "{text}");
    }
}

#[test]
fn a_mode_is_taken_as_strictly_as_the_application_takes_it() {
    const UNVERIFIED: TlsMode = TlsMode::Require(Verification::Nothing);
    const VERIFIED: TlsMode = TlsMode::Require(Verification::Authority);
    const FULL: TlsMode = TlsMode::Require(Verification::AuthorityAndName);
    for (words, ours, application) in [
        ("", TlsMode::Prefer, TlsMode::Prefer),
        ("sslmode=disable", TlsMode::Off, TlsMode::Off),
        ("sslmode=allow", TlsMode::Prefer, FULL),
        ("sslmode=prefer", TlsMode::Prefer, FULL),
        ("sslmode=require", UNVERIFIED, FULL),
        ("sslmode=verify-ca", VERIFIED, FULL),
        ("sslmode=verify-full", FULL, FULL),
        ("sslmode=no-verify", UNVERIFIED, UNVERIFIED),
        ("sslmode=require&uselibpqcompat=true", UNVERIFIED, UNVERIFIED),
        ("sslmode=require&sslrootcert=ca.pem", VERIFIED, FULL),
        ("sslmode=require&sslrootcert=system", FULL, FULL),
        ("ssl=true", FULL, FULL),
        ("ssl=0", TlsMode::Off, TlsMode::Off),
        ("ssl=no-verify", UNVERIFIED, UNVERIFIED),
        ("ssl=true&sslmode=no-verify", UNVERIFIED, UNVERIFIED),
        ("sslaccept=strict", FULL, FULL),
    ] {
        for (origin, expected) in [(Origin::Ours, ours), (Origin::Application, application)] {
            let text = format!("postgres://app:secret@db/shop?{words}");
            let address = Address::parse(&text, crate::kinds::KINDS, None, origin).expect(words);
            let encryption = drivers::encryption(&address).expect(words);
            assert_eq!(encryption.mode, expected, "{words}: {origin:?}");
            // Only where something else might have been meant is there a hint about it.
            let is_stricter = ours != application || words.contains("system");
            let is_strict = is_stricter && origin == Origin::Application;
            assert_eq!(encryption.is_taken_strictly, is_strict, "{words}");
        }
    }
}

#[test]
fn a_socket_is_a_file_in_its_folder() {
    let at = |path: &str| drivers::at(At::Socket(path.into()), 5433);
    assert_eq!(at("/run/postgresql"), At::Socket("/run/postgresql/.s.PGSQL.5433".into()));
    assert_eq!(at("/run/.s.PGSQL.1"), At::Socket("/run/.s.PGSQL.1".into()));
}

#[test]
fn roles_have_the_names_of_drivers() {
    for (words, expected) in [
        ("", Role::Any),
        ("target_session_attrs=any", Role::Any),
        ("target_session_attrs=prefer-standby", Role::Any),
        ("targetServerType=master", Role::Primary),
        ("targetServerType=primary", Role::Primary),
        ("targetServerType=secondary", Role::Standby),
        ("targetServerType=preferSecondary", Role::Any),
    ] {
        let text = format!("postgres://db?{words}");
        let address = Address::parse(&text, crate::kinds::KINDS, None, Origin::Ours).expect(words);
        assert_eq!(drivers::role(&address), Ok(expected), "{words}");
    }
}

#[test]
fn libpq_without_a_host_takes_the_socket() {
    let url = |text: &str| drivers::DIALECTS.iter().find_map(|dialect| dialect(text));
    let socket = "socket=/var/run/postgresql";
    for text in [
        "dbname=shop user=app",
        "host='' dbname=shop user=app",
        "pgsql:dbname=shop;user=app",
        "postgresql+psycopg2:///shop?user=app",
        "postgresql+psycopg://app@/shop",
    ] {
        let url = url(text).expect(text);
        assert!(url.contains(socket), "{text}: {url}");
    }
    for text in [
        "dbname=shop user=app host=db",
        "dbname=shop user=app hostaddr=10.0.0.5",
        "postgres:///shop?user=app",
        "jdbc:postgresql:///shop?user=app",
        "postgresql+asyncpg:///shop?user=app",
        "postgresql+psycopg2:///shop?user=app&host=db",
    ] {
        let url = url(text).expect(text);
        assert!(!url.contains(socket), "{text}: {url}");
    }
}
