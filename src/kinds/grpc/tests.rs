//! Scripted servers, for what a real one does not do on demand.

use std::time::Duration;

use http::{HeaderMap, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::KIND;
use crate::kinds::tests::{attempt_over, target_of};
use crate::probe::{NotReady, Reason, reason};
use crate::targets::Target;

const SERVICE: &str = "grpc://api/shop.v1.Cart";

// Types and flags of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0xfa;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

// Codes of HTTP/2.
const NO_ERROR: u8 = 0;
const REFUSED_STREAM: u8 = 7;
const ENHANCE_YOUR_CALM: u8 = 11;
const HTTP_1_1_REQUIRED: u8 = 13;

fn target(text: &str) -> Target {
    target_of(&KIND, text, &[], &[]).expect(text).0
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A list of headers, none of them compressed.
fn list(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        assert!(text.len() < 127, "{text}");
        [&[text.len() as u8], text.as_bytes()].concat()
    };
    let header = |(name, value): &(&str, &str)| [&[0][..], &text(name), &text(value)].concat();
    headers.iter().flat_map(header).collect()
}

fn headers(flags: u8, headers: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, &list(headers))
}

fn data(payload: &[u8]) -> Vec<u8> {
    frame(DATA, 0, 1, payload)
}

/// The headers before a message.
fn head() -> Vec<u8> {
    headers(0, &[(":status", "200"), ("content-type", "application/grpc")])
}

/// The status after it.
fn trailers(status: &str) -> Vec<u8> {
    headers(END_STREAM, &[("grpc-status", status)])
}

/// A response that is a status alone.
fn trailers_only(fields: &[(&str, &str)]) -> Vec<u8> {
    let all = [&[(":status", "200"), ("content-type", "application/grpc")], fields].concat();
    headers(END_STREAM, &all)
}

/// A response with this message, which is whole.
fn message(message: &[u8]) -> Vec<u8> {
    let prefix = [0, 0, 0, 0, message.len() as u8];
    [head(), data(&[&prefix, message].concat()), trailers("0")].concat()
}

/// A frame with a code of HTTP/2.
fn reset(code: u8) -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &[0, 0, 0, code])
}

fn go_away(last_stream: u8, code: u8) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[0, 0, 0, last_stream, 0, 0, 0, code])
}

/// The server's end of a connection.
struct Server(DuplexStream);

impl Server {
    /// Takes the preface, answers with settings, and takes the whole request.
    async fn accept(&mut self) {
        let mut preface = [0; 24];
        self.0.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        self.send(&frame(SETTINGS, 0, 0, &[])).await;
        while self.frame().await.expect("a request") != (DATA, END_STREAM) {}
    }

    /// The type and the flags of the next frame; `None` when the client has left.
    async fn frame(&mut self) -> Option<(u8, u8)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4]))
    }

    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await; // the client may have left
    }

    /// The types of the frames that the client sends before it closes the connection.
    async fn rest(mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        while let Some((kind, _)) = self.frame().await {
            kinds.push(kind);
        }
        kinds
    }
}

/// The result of an attempt against a server that behaves so, and the server's own result.
async fn against<T>(
    text: &str,
    serve: impl AsyncFnOnce(Server) -> T,
) -> (Result<(), NotReady>, T) {
    let target = target(text);
    let (ours, theirs) = duplex(1 << 12);
    let cx = attempt_over(ours);
    let attempt = async {
        let result = target.probe.attempt(&cx).await;
        let result = result.map_err(|why| target.kind.in_own_words(cx.without_secrets(why)));
        drop(cx); // and with it the connection, if it is still there
        result
    };
    let both = async { tokio::join!(attempt, serve(Server(theirs))) };
    timeout(Duration::from_secs(20), both).await.expect("neither hangs")
}

/// The result of an attempt against a server that gives this answer, in parts of so many bytes, and
/// whose client has to say goodbye.
async fn answered(text: &str, answer: &[u8], part: usize) -> Result<(), NotReady> {
    let (result, kinds) = against(text, async |mut server: Server| {
        server.accept().await;
        for part in answer.chunks(part) {
            server.send(part).await;
            tokio::task::yield_now().await;
        }
        server.rest().await
    })
    .await;
    assert!(kinds.contains(&GOAWAY), "{result:?}: {kinds:?}");
    result
}

#[track_caller]
fn is(result: Result<(), NotReady>, reason: &Reason, code: Option<&str>, words: &str) {
    let why = result.expect_err(words);
    assert!(why.is(reason), "{words}: {why}");
    assert_eq!(why.code.as_deref(), code, "{why}");
    assert!(why.detail.contains(words), "{words}: {why}");
}

#[tokio::test(start_paused = true)]
async fn the_request_is_that_of_a_grpc_client() {
    for (text, uri, body, authorization) in [
        ("grpc://api", "http://api:50051", &b"\0\0\0\0\0"[..], None),
        (
            "grpc://[::1]:80/a%2Fb?socket=/run/api.sock",
            "http://[::1]:80",
            b"\0\0\0\0\x05\x0a\x03a/b",
            None,
        ),
        ("grpc://[fe80::1%25eth0]/", "http://[fe80::1]:50051", b"\0\0\0\0\0", None),
        (
            "grpc://Aladdin:open%20sesame@api",
            "http://api:50051",
            b"\0\0\0\0\0",
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ),
    ] {
        let serve = async |server: Server| {
            let mut connection = h2::server::handshake(server.0).await.expect("HTTP/2");
            let (request, mut responder) = connection.accept().await.expect("one").expect("whole");
            let (head, mut received) = request.into_parts();
            assert_eq!(head.method, "POST");
            assert_eq!(head.uri.to_string(), format!("{uri}/grpc.health.v1.Health/Check"));
            for (name, value) in [
                ("te", Some("trailers")),
                ("content-type", Some("application/grpc")),
                ("user-agent", Some(concat!("compose-wait/", env!("CARGO_PKG_VERSION")))),
                ("authorization", authorization),
            ] {
                let found = head.headers.get(name).map(|value| value.to_str().expect("text"));
                assert_eq!(found, value, "{text}: {name}");
            }
            let exchange = async {
                let message = received.data().await.expect("a message").expect("whole");
                assert_eq!(&*message, body, "{text}");
                assert!(received.data().await.is_none(), "{text}: one message");
                let response = Response::builder().header("content-type", "application/grpc+proto");
                let response = response.body(()).expect("a response");
                let mut sending = responder.send_response(response, false).expect("sent");
                let message = vec![0, 0, 0, 0, 2, 8, 1].into();
                sending.send_data(message, false).expect("sent");
                let status = HeaderMap::from_iter([(
                    "grpc-status".parse().expect("a name"),
                    "0".parse().expect("a value"),
                )]);
                sending.send_trailers(status).expect("sent");
            };
            tokio::pin!(exchange);
            let mut is_over = false;
            std::future::poll_fn(|context| {
                if !is_over {
                    is_over = exchange.as_mut().poll(context).is_ready();
                }
                connection.poll_closed(context)
            })
            .await
        };
        let (result, closed) = against(text, serve).await;
        assert_eq!(result, Ok(()), "{text}");
        closed.expect("a goodbye");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_message_that_says_serving_and_the_status_0_are_ready() {
    // Parts of any size, fields that a later version may have, several frames, and padding.
    let padded = frame(DATA, 8, 1, &[3, 0, 0, 0, 0, 2, 8, 1, 0, 0, 0]);
    for answer in [
        message(&[8, 1]),
        message(&[8, 2, 8, 1]),
        message(&[0x12, 2, 8, 2, 8, 1, 0x19, 7, 7, 7, 7, 7, 7, 7, 7, 0x25, 7, 7, 7, 7, 0x28, 0x80, 1]),
        [head(), data(&[0, 0, 0]), data(&[]), data(&[0, 2, 8]), data(&[1]), trailers("0")].concat(),
        [head(), padded, trailers("0")].concat(),
        [frame(HEADERS, END_HEADERS, 1, &list(&[(":status", "103")])), message(&[8, 1])].concat(),
        [frame(PING, 0, 0, &[7; 8]), frame(UNKNOWN, 0, 0, b"x"), message(&[8, 1])].concat(),
        // The connection ends, after this call.
        [go_away(1, NO_ERROR), message(&[8, 1])].concat(),
    ] {
        for part in [1, 5, 4096] {
            assert_eq!(answered(SERVICE, &answer, part).await, Ok(()), "{answer:?} by {part}");
        }
    }
    let page = &[(":status", "200"), ("content-type", "text/html")];
    let not_of_health = "a response that is not of the health service";
    for (answer, words) in [
        (message(&[8, 1, 8]), not_of_health),
        (message(&[8]), not_of_health),
        (message(&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), not_of_health),
        (message(&[0x0b]), not_of_health),
        (message(&[0x12, 200, 1, 2]), not_of_health),
        (message(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), not_of_health),
        ([head(), data(&[1, 0, 0, 0, 2, 8, 1]), trailers("0")].concat(), not_of_health),
        ([head(), data(&[0, 0, 0, 0, 9, 8, 1]), trailers("0")].concat(), not_of_health),
        ([head(), data(&[0, 0, 0, 0, 2, 8, 1, 0]), trailers("0")].concat(), not_of_health),
        ([head(), data(&[0, 0, 0]), trailers("0")].concat(), not_of_health),
        ([head(), trailers("0")].concat(), not_of_health),
        (trailers_only(&[("grpc-status", "0")]), not_of_health),
        (
            [head(), frame(DATA, END_STREAM, 1, &[0, 0, 0, 0, 2, 8, 1])].concat(),
            "a response without a gRPC status (application/grpc)",
        ),
        (
            [headers(0, page), frame(DATA, END_STREAM, 1, b"<html>")].concat(),
            "a response without a gRPC status (text/html)",
        ),
        (headers(END_STREAM, &[(":status", "200")]), "(without a content type)"),
        ([head(), data(&[b'x'; 2048])].concat(), "a response without a gRPC status"),
    ] {
        is(answered(SERVICE, &answer, 4096).await, &reason::PROTOCOL, None, words);
    }
}

#[tokio::test(start_paused = true)]
async fn each_state_that_is_not_serving_is_named() {
    for (body, code, words) in [
        (&[][..], Some("UNKNOWN"), "the state of the service shop.v1.Cart is UNKNOWN"),
        (&[8, 0], Some("UNKNOWN"), "the state of the service shop.v1.Cart is UNKNOWN"),
        (&[8, 1, 8, 2], Some("NOT_SERVING"), "the state of the service shop.v1.Cart is NOT_SERVING"),
        (&[8, 3], Some("SERVICE_UNKNOWN"), "the state of the service shop.v1.Cart is SERVICE_UNKNOWN"),
        (&[8, 99], None, "the state of the service shop.v1.Cart is not one that is known"),
    ] {
        is(answered(SERVICE, &message(body), 4096).await, &reason::NOT_SERVING, code, words);
    }
    let result = answered("grpc://api", &message(&[8, 2]), 4096).await;
    is(result, &reason::NOT_SERVING, Some("NOT_SERVING"), "the state of the server is NOT_SERVING");
}

#[tokio::test(start_paused = true)]
async fn each_status_has_its_reason() {
    use reason::{ACCESS_DENIED, NOT_SERVING, SERVER_ERROR};
    for (status, text, reason, words) in [
        ("5", SERVICE, NOT_SERVING, "the server does not know the service shop.v1.Cart (NOT_FOUND): a b"),
        ("5", "grpc://api", NOT_SERVING, "the server has no state for the whole of it (NOT_FOUND): a b"),
        ("7", SERVICE, ACCESS_DENIED, "the gRPC status is PERMISSION_DENIED: a b"),
        ("8", SERVICE, SERVER_ERROR, "the gRPC status is RESOURCE_EXHAUSTED: a b"),
        ("12", SERVICE, SERVER_ERROR, "the server has no health service (UNIMPLEMENTED): a b"),
        ("14", SERVICE, NOT_SERVING, "the gRPC status is UNAVAILABLE: a b"),
        ("16", SERVICE, ACCESS_DENIED, "the gRPC status is UNAUTHENTICATED: a b"),
        ("17", SERVICE, SERVER_ERROR, "the gRPC status is a code that is not known: a b"),
        ("x", SERVICE, SERVER_ERROR, "the gRPC status is a code that is not known: a b"),
    ] {
        let fields = [("grpc-status", status), ("grpc-message", "a%20b")];
        let at_the_end = [head(), headers(END_STREAM, &fields)].concat();
        for answer in [trailers_only(&fields), at_the_end] {
            is(answered(text, &answer, 4096).await, &reason, Some(status), words);
        }
    }
    // A status in the trailers counts, whatever the message says.
    let failed = [head(), data(&[0, 0, 0, 0, 2, 8, 1]), trailers("14")].concat();
    is(answered(SERVICE, &failed, 4096).await, &NOT_SERVING, Some("14"), "UNAVAILABLE");
}

#[tokio::test(start_paused = true)]
async fn a_proxys_status_has_the_reason_that_grpc_gives_it() {
    use reason::{ACCESS_DENIED, NOT_SERVING, SERVER_ERROR};
    for (status, reason) in [
        ("400", SERVER_ERROR),
        ("401", ACCESS_DENIED),
        ("403", ACCESS_DENIED),
        ("404", SERVER_ERROR),
        ("429", NOT_SERVING),
        ("500", SERVER_ERROR),
        ("502", NOT_SERVING),
        ("503", NOT_SERVING),
        ("504", NOT_SERVING),
        ("302", SERVER_ERROR),
    ] {
        let head = headers(0, &[(":status", status), ("content-type", "text/html")]);
        let answer = [head, frame(DATA, END_STREAM, 1, b"<html>")].concat();
        let words = format!("the response is {status} ");
        is(answered(SERVICE, &answer, 4096).await, &reason, Some(status), &words);
    }
    // Of gRPC's own status it is told apart.
    let both = headers(END_STREAM, &[(":status", "503"), ("grpc-status", "16")]);
    is(answered(SERVICE, &both, 4096).await, &ACCESS_DENIED, Some("16"), "UNAUTHENTICATED");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_call_or_connection_has_its_reason() {
    for (answer, reason, code, words) in [
        (reset(REFUSED_STREAM), reason::NOT_SERVING, Some("REFUSED_STREAM"), "has ended the call"),
        (reset(NO_ERROR), reason::SERVER_ERROR, Some("NO_ERROR"), "has ended the call"),
        ([head(), reset(2)].concat(), reason::SERVER_ERROR, Some("INTERNAL_ERROR"), "has ended the call"),
        (reset(HTTP_1_1_REQUIRED), reason::PROTOCOL, None, "an unexpected answer"),
        (go_away(0, NO_ERROR), reason::SHUTTING_DOWN, None, "closes its connections (GOAWAY)"),
        (
            go_away(0, ENHANCE_YOUR_CALM),
            reason::SERVER_ERROR,
            Some("ENHANCE_YOUR_CALM"),
            "has ended the call",
        ),
        (data(&[0]), reason::PROTOCOL, None, "an answer that is not HTTP/2 (PROTOCOL_ERROR)"),
        (frame(HEADERS, END_HEADERS, 1, &[0x80]), reason::PROTOCOL, None, "PROTOCOL_ERROR"),
        (vec![0xff; 9], reason::PROTOCOL, None, "FRAME_SIZE_ERROR"),
    ] {
        is(answered(SERVICE, &answer, 4096).await, &reason, code, words);
    }

    for answer in [vec![], head(), message(&[8, 1])[..20].to_vec(), [head(), data(&[0])].concat()] {
        let (result, ()) = against(SERVICE, async |mut server: Server| {
            server.accept().await;
            server.send(&answer).await;
        })
        .await;
        let words = "the server closed the connection while waiting for the response";
        is(result, &reason::CLOSED, None, words);
    }
}

#[tokio::test(start_paused = true)]
async fn another_protocol_is_recognised_by_its_first_bytes() {
    for (answer, words, hint) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "\"HTTP/1.1 400 Bad\"", "HTTP/1"),
        (b"HTTP/1.0 505 x\r\n", "\"HTTP/1.0 505 x\\r\\n\"", "HTTP/1"),
        (b"\x15\x03\x03\0\x02\x02\x46", "\"\\x15\\x03\\x03\\x00\\x02\\x02F\"", "grpcs:// for TLS"),
        (b"SSH-2.0-OpenSSH\r\n", "\"SSH-2.0-OpenSSH\\r\"", "grpcs:// for TLS"),
    ] {
        for part in [1, 4096] {
            let (result, ()) = against(SERVICE, async |mut server: Server| {
                for part in answer.chunks(part) {
                    server.send(part).await;
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let why = result.as_ref().expect_err("not ready");
            assert!(why.hint().contains(hint), "{why}: {}", why.hint());
            is(result, &reason::PROTOCOL, None, if part == 1 { &words[..4] } else { words });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_stops_is_bounded() {
    const MOST: usize = 100_000;
    let part_of_list = list(&[("x", "y")]);
    let informational = list(&[(":status", "103")]);
    for (once, again) in [
        (vec![], frame(SETTINGS, 0, 0, &[])),
        (vec![], frame(PING, 0, 0, &[0; 8])),
        (vec![], frame(UNKNOWN, 0, 0, &[0; 100])),
        (vec![], frame(HEADERS, END_HEADERS, 1, &informational)),
        (frame(HEADERS, 0, 1, &part_of_list), frame(CONTINUATION, 0, 1, &part_of_list)),
        (head(), data(&[])),
        (head(), frame(DATA, 8, 1, &[0])),
        (head(), frame(UNKNOWN, 0, 1, &[])),
    ] {
        let (result, sent) = against(SERVICE, async |mut server: Server| {
            server.accept().await;
            let (mut reading, mut writing) = tokio::io::split(server.0);
            let answers = async move {
                let mut received = 0;
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = reading.read(&mut buffer).await {
                    received += length;
                }
                received
            };
            let flood = async move {
                let mut sent = once.len();
                let _ = writing.write_all(&once).await;
                while writing.write_all(&again).await.is_ok() {
                    sent += again.len();
                    assert!(sent < MOST, "it reads on and on");
                }
                sent
            };
            let (received, sent) = tokio::join!(answers, flood);
            assert!(received < MOST, "it sends on and on");
            sent
        })
        .await;
        let why = result.expect_err("not ready");
        assert!(why.is(&reason::PROTOCOL), "{why}, after {sent} bytes");
    }
    // A list of headers that is too long, which takes few bytes: one of them is repeated by its number.
    let fields = list(&[(":status", "200"), ("grpc-status", "14")]);
    let long = "x".repeat(120);
    let repeated = [&[0x40, 1, b'x', 120][..], long.as_bytes(), &[0xbe; 4000]].concat();
    for (more, reason) in [(vec![], reason::NOT_SERVING), (repeated, reason::PROTOCOL)] {
        let answer = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&fields[..], &more].concat());
        let why = answered(SERVICE, &answer, 1 << 16).await.expect_err("not ready");
        assert!(why.is(&reason), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_repeats_the_password_does_not_have_it_logged() {
    let repeated = "app:TOPSECRET YXBwOlRPUFNFQ1JFVA==";
    let fields = [("grpc-status", "16"), ("grpc-message", repeated)];
    let result = answered("grpc://app:TOPSECRET@api", &trailers_only(&fields), 4096).await;
    let why = result.expect_err("not ready");
    assert!(why.is(&reason::ACCESS_DENIED), "{why}");
    assert!(why.detail.ends_with(": app:… …"), "{why}");
    assert!(why.hint().contains("the URL"), "{}", why.hint());
}

#[test]
fn a_target_names_a_server_and_a_service() {
    let printed = |text: &str, variables: &[_]| {
        target_of(&KIND, text, variables, &[]).map(|(target, _)| target.to_string())
    };
    for (text, expected) in [
        ("api", "grpc://api:50051"),
        ("grpcs://api/", "grpcs://api:443"),
        ("GRPC://a_b.c:80/shop.v1.Cart", "grpc://a_b.c:80/shop.v1.Cart"),
        ("app:x@api#tls=require", "grpc://app@api:50051"),
        ("app:x@api#user=other", "grpc://other@api:50051"),
    ] {
        // There are no such variables.
        let variables = [("WAIT_GRPC_USER", "other"), ("WAIT_GRPC_PASSWORD", "x")];
        assert_eq!(printed(text, &variables).as_deref(), Ok(expected), "{text}");
    }
    let variables = [("WAIT_GRPC_PASSWORD", "x"), ("WAIT_GRPC_PASSWORD_FILE", "/x")];
    let (ours, _) = target_of(&KIND, "api", &variables, &[]).expect("a target");
    assert_eq!(ours.probe.description(), [("TLS", "off".to_owned())]);
    for text in ["api/a/b", "api?x=y", "api#tls=prefer", "api#tls=maybe", "api#query=x", "api?socket=x"] {
        assert!(printed(text, &[]).is_err(), "{text}");
    }
    for (text, verifies) in [
        ("api", false),
        ("grpcs://api", true),
        ("grpcs://api#tls=off", false),
        ("grpcs://api#tls=require", false),
        ("api#tls=verify-ca", true),
    ] {
        assert_eq!(target(text).probe.verifies_certificates(), verifies, "{text}");
    }
}
