//! Scripted servers, for what a real one does not do on demand.

mod passwords;
mod statements;
mod tls;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex,
};

use super::codes::CODES;
use super::session::{EOF, ERROR, LOCAL_INFILE, MORE_DATA, OK};
use super::*;
use crate::kinds::tests::{target_of, untrusted_certificate};
use crate::net::{Route, Stream};
use crate::probe::{Attempt, NotReady, Stop};
use crate::targets::{Expected, Target};
use mysql_common::constants::CapabilityFlags;

const NATIVE: &str = "mysql_native_password";
const TARGET: &str = "app:secret@db/shop";
const PASSWORD: &[u8] = b"secret";

/// The server's end of a conversation.
#[derive(Debug)]
struct Server<S = DuplexStream> {
    stream: S,
    /// How many bytes are written at once.
    chunk: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Server<S> {
    async fn send(&mut self, sequence: u8, payload: &[u8]) {
        let mut packet = (payload.len() as u32).to_le_bytes();
        packet[3] = sequence;
        self.send_raw(&[&packet[..], payload].concat()).await;
    }

    async fn send_raw(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(self.chunk) {
            // The client may have left.
            let _ = self.stream.write_all(part).await;
            tokio::task::yield_now().await;
        }
    }

    /// The next packet; `None` when the client has left.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.ok()?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(payload)
    }

    /// Offers TLS, and takes the request for it.
    async fn offer_tls(&mut self) {
        let offer = greeting(NATIVE, CapabilityFlags::CLIENT_SSL);
        self.send(0, &offer).await;
        let request = self.receive().await.expect("a request for TLS");
        assert_eq!(request.len(), 32, "a login in clear");
    }

    async fn greet(&mut self, plugin: &str) {
        self.send(0, &greeting(plugin, CapabilityFlags::empty()))
            .await;
    }

    /// Takes the login, whatever it is.
    async fn let_in(&mut self) {
        self.greet(NATIVE).await;
        self.receive().await.expect("a login");
        self.send(2, &ok()).await;
    }

    /// Takes the login and answers the ping.
    async fn let_in_and_answer(&mut self) {
        self.let_in().await;
        self.answer_ping().await;
    }

    async fn answer_ping(&mut self) {
        assert_eq!(self.receive().await.expect("a ping"), [0x0e]);
        self.send(1, &ok()).await;
    }

    /// Answers the statement that does nothing, and sees the client go.
    async fn expect_the_end(&mut self) {
        assert_eq!(self.receive().await.expect("a statement"), b"\x03DO 0");
        self.send(1, &ok()).await;
        self.expect_goodbye().await;
    }

    async fn expect_goodbye(&mut self) {
        assert_eq!(self.receive().await.expect("a goodbye"), [0x01]);
        assert_eq!(self.receive().await, None);
    }
}

fn greeting(plugin: &str, more: CapabilityFlags) -> Vec<u8> {
    let capabilities = more
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH;
    let [a, b, c, d] = capabilities.bits().to_le_bytes();
    let mut packet = b"\x0a8.4.0\0".to_vec();
    packet.extend(7u32.to_le_bytes());
    packet.extend(b"nonce-01\0");
    packet.extend([a, b, 45, 2, 0, c, d, 21]);
    packet.extend([0; 10]);
    packet.extend(b"nonce-02-is-\0");
    packet.extend(plugin.as_bytes());
    packet.push(0);
    packet
}

fn ok() -> Vec<u8> {
    vec![OK, 0, 0, 2, 0, 0, 0]
}

fn error(number: u16, text: &str) -> Vec<u8> {
    [&[ERROR], &number.to_le_bytes()[..], text.as_bytes()].concat()
}

/// A target with a query.
fn target(text: &str, query: Option<&str>) -> Target {
    let query = query.map(|query| ("WAIT_MYSQL_QUERY", query));
    try_target(text, query.as_slice(), &[]).expect("a target")
}

/// A target with these variables and files.
fn try_target(
    text: &str,
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Target, Expected> {
    Ok(target_of(&KIND, text, variables, files)?.0)
}

/// The result of an attempt at a target against a server on a private network.
async fn against(
    text: &str,
    query: Option<&str>,
    chunk: usize,
    server: impl AsyncFnOnce(Server),
) -> Result<(), NotReady> {
    let (result, _) = by_route(Route::Private, &target(text, query), chunk, server).await;
    result
}

/// The same over any route, with the warning.
async fn by_route(
    route: Route,
    target: &Target,
    chunk: usize,
    server: impl AsyncFnOnce(Server),
) -> (Result<(), NotReady>, Option<Cow<'static, str>>) {
    let server = async |servers: [Server; 1]| {
        let [mut only] = servers;
        only.chunk = chunk;
        server(only).await;
    };
    over_several(route, target, Stop::default(), server).await
}

/// The same over several connections, which the attempt makes one after the other.
async fn over_several<const N: usize>(
    route: Route,
    target: &Target,
    stop: Stop,
    server: impl AsyncFnOnce([Server; N]),
) -> (Result<(), NotReady>, Option<Cow<'static, str>>) {
    let mut ours = Vec::new();
    let servers = std::array::from_fn(|_| {
        let (io, stream) = duplex(1 << 16);
        ours.push(Stream::new(io, route));
        Server { stream, chunk: 999 }
    });
    let cx = Attempt::over(Arc::default(), ours, stop);
    let both = async { tokio::join!(target.probe.attempt(&cx), server(servers)) };
    let both = tokio::time::timeout(Duration::from_secs(20), both).await;
    (both.expect("neither side hangs").0, cx.warning())
}

#[track_caller]
fn refused(result: Result<(), NotReady>, reason: &Reason, detail: &str) {
    let why = result.expect_err("not ready");
    assert!(why.is(reason), "{why}");
    assert!(why.detail.contains(detail), "{why}");
}

#[tokio::test]
async fn packets_may_come_in_pieces_or_together() {
    for chunk in [1, 2, 3, 5, 7, 1000] {
        let result = against(TARGET, None, chunk, async |mut server| {
            server.let_in_and_answer().await;
            server.expect_the_end().await;
        });
        assert_eq!(result.await, Ok(()), "{chunk} bytes at once");
    }
    // The answers come before the questions.
    let result = against(TARGET, Some("SELECT 1"), 1000, async |mut server| {
        let column = b"\x03def\0\0\0\x01n\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
        let mut bytes = Vec::new();
        for (sequence, payload) in [
            (0, &greeting(NATIVE, CapabilityFlags::empty())[..]),
            (2, &ok()),
            (1, &ok()),
            (1, &[1]),
            (2, column),
            (3, &[EOF, 0, 0, 2, 0]),
            (4, b"\x011"),
            (5, &[EOF, 0, 0, 2, 0]),
        ] {
            bytes.extend([payload.len() as u8, 0, 0, sequence]);
            bytes.extend(payload);
        }
        server.send_raw(&bytes).await;
        while server.receive().await.is_some() {}
    });
    assert_eq!(result.await, Ok(()));
}

#[tokio::test]
async fn a_servers_error_is_known_by_its_number_whatever_its_words() {
    for (code, reason) in CODES {
        let number = code.parse().expect("a number");
        for text in ["", "Zu viele Verbindungen", "#08004Too many"] {
            let result = against(TARGET, None, 9, async |mut server| {
                server.send(0, &error(number, text)).await;
            });
            let why = result.await.expect_err("not ready");
            assert_eq!(why.reason, *reason);
            assert_eq!(why.code.as_deref(), Some(*code));
            let text = text.trim_start_matches("#08004");
            assert_eq!(why.detail, format!("error {code}: {text}"));
        }
        let result = against(TARGET, None, 9, async |mut server| {
            server.greet(NATIVE).await;
            server.receive().await;
            server.send(2, &error(number, "#HY000No")).await;
        });
        refused(result.await, reason, ": No");
    }
    let result = against(TARGET, None, 9, async |mut server| {
        server.send(0, &error(1064, "#42000Syntax")).await;
    });
    let why = result.await.expect_err("not ready");
    assert_eq!(why.code.as_deref(), Some("1064"));
    refused(Err(why), &reason::SERVER_ERROR, "error 1064: Syntax");
}

#[tokio::test]
async fn every_phase_has_a_name_when_the_server_leaves() {
    let result = against(TARGET, None, 9, async |_| {}).await;
    refused(result, &reason::CLOSED, "while waiting for the greeting");
    let result = against(TARGET, None, 9, async |mut server| {
        server.send_raw(b"\x4a\0\0\0\x0a8.4.0").await;
    });
    refused(
        result.await,
        &reason::CLOSED,
        "while waiting for the greeting",
    );
    let result = against(TARGET, None, 9, async |mut server| {
        server.greet(NATIVE).await;
        server.receive().await;
    });
    refused(result.await, &reason::CLOSED, "while logging in");
    let result = against(TARGET, None, 9, async |mut server| {
        server.let_in().await;
        server.receive().await;
    });
    refused(result.await, &reason::CLOSED, "while pinging");
    let result = against(TARGET, Some("SELECT 1"), 9, async |mut server| {
        server.let_in_and_answer().await;
        server.receive().await;
    });
    refused(result.await, &reason::CLOSED, "while running the query");
}

#[tokio::test]
async fn what_is_not_mysql_is_shown() {
    for (sent, shown) in [
        ("SSH-2.0-OpenSSH_9.2p1\r\n", "begins with \\\"SSH-\\\""),
        ("HTTP/1.1 400 Bad Request", "begins with \\\"HTTP\\\""),
        ("\x05\0\0\0hello", "begins with \\\"hello\\\""),
        // A packet of 16 MB is not waited for.
        ("\u{7f}\u{7f}\u{7f}\0", "protocol: "),
    ] {
        let result = against(TARGET, None, 64, async |mut server| {
            server.send_raw(sent.as_bytes()).await;
            server.receive().await; // it is for the client to leave
        });
        let why = result.await.expect_err("not ready");
        assert!(why.is(&PROTOCOL), "{why}");
        assert!(
            format!("{:?}", why.to_string()).contains(shown),
            "{why} has no {shown}"
        );
    }
}

/// An RSA key of 1024 bits.
const KEY: &[u8] = b"-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDZ4C6lY/ilXFjJn92XaGUPIIYh
u+AKb/pFT7jMpezGlkXdeDZZ13efIbf4BI3aZP7551r6BtJCQZd3bSxK3RmRq6I0
MgkawVzjIkag8CjqJA6HmSbvvSnChPHfiF5OQXtBDVrP4kg06hzLyZgEkqoQNE5Z
x76cITjTQHsOeoghwQIDAQAB
-----END PUBLIC KEY-----
";

/// Garbage: random bytes, or a good conversation with random bytes in it.
fn garbage(random: &mut fastrand::Rng, capabilities: CapabilityFlags) -> Vec<u8> {
    let plugin = ["caching_sha2_password", NATIVE, "sha256_password", "x"][random.usize(..4)];
    let switch = ["client_ed25519", "sha256_password"][random.usize(..2)];
    let switch = [&[EOF], switch.as_bytes(), &[0], &[7; 32]].concat();
    let key = [&b"no key"[..], KEY][random.usize(..2)];
    let full_login = [vec![MORE_DATA, 4], [&[MORE_DATA], key].concat()];
    let mut script = vec![greeting(plugin, capabilities)];
    script.extend(random.bool().then_some(switch));
    script.extend(full_login.into_iter().filter(|_| random.bool()));
    script.extend([
        ok(),
        ok(),
        vec![1],
        b"\x03def\0\0\0\x01n\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0".to_vec(),
        vec![EOF, 0, 0, 2, 0],
        b"\x011".to_vec(),
        vec![EOF, 0, 0, 2, 0],
    ]);
    for _ in 0..random.usize(1..4) {
        let packet = random.usize(..script.len());
        let packet = &mut script[packet];
        match random.u8(..4) {
            0 => packet.truncate(random.usize(..=packet.len())),
            1 => *packet = (0..random.usize(..80)).map(|_| random.u8(..)).collect(),
            _ if packet.is_empty() => {}
            _ => {
                let at = random.usize(..packet.len());
                packet[at] = random.u8(..);
            }
        }
    }
    if random.bool() {
        script.remove(random.usize(..script.len()));
    }
    let mut bytes = Vec::new();
    for (sequence, payload) in script.iter().enumerate() {
        let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
        bytes.extend([a, b, c, sequence as u8]);
        bytes.extend(payload);
    }
    if random.u8(..10) == 0 {
        bytes.fill_with(|| random.u8(..));
    }
    bytes
}

#[tokio::test]
async fn garbage_neither_panics_nor_hangs() {
    let mut random = fastrand::Rng::with_seed(20_261_124);
    for round in 0..10_000 {
        let bytes = garbage(&mut random, CapabilityFlags::empty());
        let chunk = random.usize(1..200);
        let result = against(TARGET, Some("SELECT 1"), chunk, async |mut server| {
            server.send_raw(&bytes).await;
            server.stream.shutdown().await.expect("closed");
            while server.receive().await.is_some() {}
        });
        if let Err(why) = result.await {
            assert!(!why.detail.is_empty(), "round {round}");
        }
    }
}

/// Whatever the server sends: in clear text a password is sent to a unix socket alone, a login that needs
/// TLS is not sent at all, and a login that succeeds ends properly.
#[tokio::test]
async fn no_server_can_ask_for_the_password_in_clear() {
    let mut random = fastrand::Rng::with_seed(20_261_126);
    let mut ready = 0;
    for round in 0..10_000 {
        let (text, needs_tls) = [
            ("app-user:secret@db/shop", false),
            ("app-user:secret@db?ssl-mode=DISABLED", false),
            ("app-user:secret@db?ssl-mode=REQUIRED", true),
            ("app-user:secret@db?ssl-mode=VERIFY_CA", true),
            ("app-user:secret@db#tls=verify-full", true),
            ("db?ssl-mode=REQUIRED", true),
        ][random.usize(..6)];
        let route = [Route::Local, Route::Private, Route::Public][random.usize(..3)];
        let capabilities = match random.u8(..10) {
            0 => CapabilityFlags::CLIENT_SSL,
            _ => CapabilityFlags::empty(),
        };
        let bytes = garbage(&mut random, capabilities);
        let query = random.bool().then_some("SELECT 1");
        let target = target(text, query.filter(|_| text != "db?ssl-mode=REQUIRED"));
        let mut heard = Vec::new();
        let (result, _) = by_route(route, &target, 64, async |mut server| {
            server.send_raw(&bytes).await;
            server.stream.shutdown().await.expect("closed");
            let _ = server.stream.read_to_end(&mut heard).await;
        })
        .await;
        let is_heard = |text: &[u8]| heard.windows(text.len()).any(|window| window == text);
        if route != Route::Local || needs_tls {
            assert!(!is_heard(PASSWORD), "round {round}: {text}");
        }
        if needs_tls {
            assert!(!is_heard(b"app-user"), "round {round}: {text}");
            result.as_ref().expect_err("no TLS was ever made");
        }
        match result {
            Ok(()) => {
                assert!(heard.ends_with(&[1, 0, 0, 0, 1]), "round {round}: no COM_QUIT");
                ready += 1;
            }
            Err(why) => assert!(!why.to_string().contains("secret"), "{why}"),
        }
    }
    assert!(ready > 100, "{ready} logins are too few to show anything");
}

#[tokio::test]
async fn a_server_may_ask_for_another_plugin() {
    for (plugin, nonce, length) in [
        (NATIVE, &b"12345678901234567890\0"[..], 20),
        ("caching_sha2_password", b"12345678901234567890\0", 32),
        // Its nonce may end with a zero that belongs to it.
        ("client_ed25519", b"1234567890123456789012345678901\0", 64),
        ("sha256_password", b"12345678901234567890\0", 1),
    ] {
        let result = against(TARGET, None, 9, async |mut server| {
            server.greet("unheard_of").await;
            let login = server.receive().await.expect("a login");
            assert!(login.windows(NATIVE.len()).any(|w| w == NATIVE.as_bytes()));
            let switch = [&[EOF], plugin.as_bytes(), &[0], nonce].concat();
            server.send(2, &switch).await;
            assert_eq!(server.receive().await.expect("an answer").len(), length);
            server.send(4, &ok()).await;
            server.answer_ping().await;
            server.expect_the_end().await;
        });
        assert_eq!(result.await, Ok(()), "{plugin}");
    }
}

#[tokio::test]
async fn an_unknown_plugin_is_left_for_the_server_to_deny() {
    for plugin in ["dialog", "mysql_clear_password", "mysql_old_password", ""] {
        let result = against(TARGET, None, 9, async |mut server| {
            server.greet(NATIVE).await;
            server.receive().await;
            let request = match plugin {
                "" => vec![EOF],
                plugin => [&[EOF], plugin.as_bytes(), b"\0nonce"].concat(),
            };
            server.send(2, &request).await;
            assert_eq!(server.receive().await.expect("an answer"), b"");
            server.send(4, &error(1045, "#28000Access denied")).await;
        });
        refused(
            result.await,
            &ACCESS_DENIED,
            &format!(
                "asks for {}",
                if plugin.is_empty() {
                    "mysql_old_password"
                } else {
                    plugin
                }
            ),
        );
    }
    // Its name is not what fills the log.
    let result = against(TARGET, None, 999, async |mut server| {
        server.greet(NATIVE).await;
        server.receive().await;
        server
            .send(2, &[&[EOF], &[b'x'; 10_000][..]].concat())
            .await;
        server.receive().await;
        server.send(4, &error(1045, "#28000Access denied")).await;
    });
    let why = result.await.expect_err("denied");
    assert!(why.detail.len() < 200, "{why}");
    // Without a user that is a decision.
    let result = against("db", None, 9, async |mut server| {
        server.greet(NATIVE).await;
        server.receive().await;
        server
            .send(2, &[&[EOF], &b"dialog\0nonce"[..]].concat())
            .await;
        server.receive().await;
        server.send(4, &error(1045, "#28000Access denied")).await;
    });
    assert_eq!(result.await, Ok(()));
}

#[tokio::test]
async fn a_key_that_is_none_gets_no_password() {
    for key in [
        "",
        "no key",
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK==\n-----END PUBLIC KEY-----\n",
        // 512 bits, which is too short for any password.
        "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMDd1gE5ZjtPlkkpKPhJTxGJSVA0Rjlw\n\
         mgq9v8UErVfZ4CzT0mgD5KDYeYvBhCm9yA2kGcZBlLbFo7wQAvq6Q8ECAwEAAQ==\n-----END PUBLIC KEY-----\n",
    ] {
        let result = against(TARGET, None, 9, async |mut server| {
            server.greet("caching_sha2_password").await;
            server.receive().await;
            server.send(2, &[MORE_DATA, 4]).await;
            assert_eq!(server.receive().await.expect("a request"), [2]);
            server
                .send(4, &[&[MORE_DATA], key.as_bytes()].concat())
                .await;
            // The server denies it, and does not count it against the host.
            assert_eq!(server.receive().await.expect("an empty answer"), b"");
            server.send(6, &error(1045, "#28000Access denied")).await;
            assert_eq!(server.receive().await, None);
        });
        refused(result.await, &PROTOCOL, "public key");
    }
}

#[tokio::test]
async fn where_tls_is_required_and_not_offered_a_made_up_user_is_denied() {
    for mode in [
        "?ssl-mode=REQUIRED",
        "?ssl-mode=verify_ca",
        "?ssl-mode=VERIFY_IDENTITY",
        "#tls=require",
        "#tls=verify-ca",
        "?ssl-mode=DISABLED#tls=verify-full",
    ] {
        let target = format!("{TARGET}{mode}");
        let result = against(&target, None, 9, async |mut server| {
            server.greet(NATIVE).await;
            let login = server.receive().await.expect("a login");
            let is_in = |text: &[u8]| login.windows(text.len()).any(|window| window == text);
            assert!(is_in(b"\0wait\0") && !is_in(b"app"), "{login:?}");
            server.send(2, &error(1045, "#28000Access denied")).await;
        });
        refused(result.await, &TLS_FAILED, "the server offers no TLS");
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_denies_a_made_up_user() {
    for (mode, user, reason) in [
        ("?ssl-mode=PREFERRED", "app-user", &ACCESS_DENIED),
        ("?ssl-mode=REQUIRED", "app-user", &ACCESS_DENIED),
        ("?ssl-mode=VERIFY_CA", "wait", &TLS_FAILED),
        ("?ssl-mode=VERIFY_IDENTITY", "wait", &TLS_FAILED),
        ("#tls=verify-ca", "wait", &TLS_FAILED),
        ("#tls=verify-full", "wait", &TLS_FAILED),
    ] {
        let text = format!("app-user:secret@db/shop{mode}");
        let result = against(&text, None, 999, async |mut server| {
            let capabilities = CapabilityFlags::CLIENT_SSL;
            server.send(0, &greeting(NATIVE, capabilities)).await;
            let request = server.receive().await.expect("a request for TLS");
            assert_eq!(request.len(), 32, "{mode}: a login in clear");
            let stream = untrusted_certificate().accept(server.stream).await;
            let (stream, chunk) = (stream.expect("TLS"), 999);
            let mut server = Server { stream, chunk };
            let login = server.receive().await.expect("a login");
            let is_in = |text: &str| login.windows(text.len()).any(|at| at == text.as_bytes());
            assert!(is_in(&format!("\0{user}\0")), "{mode}: {login:?}");
            assert_eq!(is_in("shop"), user != "wait", "{mode}: {login:?}");
            server.send(3, &error(1045, "#28000Access denied")).await;
            assert_eq!(server.receive().await, None, "{mode}");
        });
        refused(result.await, reason, "");
    }
}

#[tokio::test]
async fn a_query_is_read_to_its_end() {
    let column = b"\x03def\0\0\0\x01n\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
    let query = Some("CALL migrations()");
    // No row, and then another result with one.
    let result = against(TARGET, query, 9, async |mut server| {
        server.let_in_and_answer().await;
        server.receive().await;
        for (sequence, payload) in [
            &[1][..],
            column,
            &[EOF, 0, 0, 2, 0],
            &[EOF, 0, 0, 10, 0],
            &[1],
            column,
            &[EOF, 0, 0, 2, 0],
            b"\x011",
            &[EOF, 0, 0, 10, 0],
            &ok(),
        ]
        .iter()
        .enumerate()
        {
            server.send(sequence as u8 + 1, payload).await;
        }
        server.expect_goodbye().await;
    });
    assert_eq!(result.await, Ok(()));
    // An error after some rows; and no result at all.
    let result = against(TARGET, query, 9, async |mut server| {
        server.let_in_and_answer().await;
        server.receive().await;
        for payload in [&[1][..], column, &[EOF, 0, 0, 2, 0], b"\x011"] {
            server.send(1, payload).await;
        }
        server.send(5, &error(1317, "#70100Interrupted")).await;
        server.expect_goodbye().await;
    });
    refused(result.await, &QUERY_FAILED, "error 1317: Interrupted");
    let result = against(TARGET, query, 9, async |mut server| {
        server.let_in_and_answer().await;
        server.receive().await;
        server.send(1, &ok()).await;
        server.expect_goodbye().await;
    });
    refused(result.await, &QUERY_EMPTY, "no row");
    // Our files are not the server's.
    let result = against(TARGET, query, 9, async |mut server| {
        server.let_in_and_answer().await;
        server.receive().await;
        let request = [&[LOCAL_INFILE], &b"/etc/passwd"[..]].concat();
        server.send(1, &request).await;
        server.expect_goodbye().await;
    });
    refused(result.await, &PROTOCOL, "an unexpected answer while running the query");
}

#[tokio::test]
async fn an_expired_password_is_no_login_though_it_pings() {
    for query in [None, Some("SELECT 1")] {
        let result = against(TARGET, query, 9, async |mut server| {
            server.let_in_and_answer().await;
            server.receive().await;
            server.send(1, &error(1820, "#HY000Reset it")).await;
            server.expect_goodbye().await;
        });
        refused(result.await, &ACCESS_DENIED, "error 1820: Reset it");
    }
}

#[tokio::test]
async fn a_server_is_told_of_the_end_of_a_session_that_is_given_up() {
    let (io, stream) = duplex(1 << 16);
    let mut server = Server { stream, chunk: 999 };
    let target = target(TARGET, None);
    let cx = Attempt::over(Arc::default(), [Stream::new(io, Route::Private)], Stop::default());
    let is_asked = async {
        server.let_in_and_answer().await;
        assert_eq!(server.receive().await.expect("a statement"), b"\x03DO 0");
    };
    tokio::select! {
        result = target.probe.attempt(&cx) => panic!("{result:?} without an answer"),
        () = is_asked => {}
    }
    server.expect_goodbye().await;
}

#[tokio::test]
async fn a_password_without_tls_over_the_internet_is_warned_of() {
    for (text, route, is_warned) in [
        (TARGET, Route::Public, true),
        (TARGET, Route::Private, false),
        (TARGET, Route::Local, false),
        ("app:@db", Route::Public, false),
        ("db", Route::Public, false),
        ("app:secret@db?ssl-mode=DISABLED", Route::Public, false),
    ] {
        let target = target(text, None);
        let attempt = by_route(route, &target, 64, async |mut server| {
            server.greet(NATIVE).await;
            server.receive().await;
        });
        let (result, warning) = attempt.await;
        result.expect_err("it left");
        assert_eq!(warning.is_some(), is_warned, "{text}");
    }
}
