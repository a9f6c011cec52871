//! Scripted servers, for what the server in `tests/fixtures` does not do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::bson::{Document, Draft};
use super::{CLOSED, KIND, NO_PRIMARY, PROTOCOL, TLS_REQUIRED};
use crate::kinds::tests::target_of;
use crate::net::{Route, Stream};
use crate::probe::{Attempt, NotReady, Stop, reason};
use crate::targets::Target;

fn target(text: &str) -> Target {
    target_of(&KIND, text, &[], &[]).expect(text).0
}

/// The notices about a target.
fn notices(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    target_of(&KIND, text, variables, &[]).expect(text).1
}

/// A message with these bytes after its header.
fn message(kind: i32, replies_to: i32, body: &[u8]) -> Vec<u8> {
    let numbers = [body.len() as i32 + 16, 1, replies_to, kind].map(i32::to_le_bytes);
    [&numbers.concat(), body].concat()
}

/// A reply to the command of this number.
fn reply(to: i32, document: Draft) -> Vec<u8> {
    let document = document.int("ok", 1).finish();
    message(2013, to, &[&[0; 5][..], &document].concat())
}

fn hello() -> Draft {
    Draft::new().flag("isWritablePrimary", true).int("maxWireVersion", 21)
}

/// A member's answer to `hello`.
fn member(is_primary: bool, me: &str, others: &[&str]) -> Draft {
    let mut hosts = Draft::new();
    for (at, host) in [me].iter().chain(others).enumerate() {
        hosts = hosts.text(&at.to_string(), host);
    }
    Draft::new()
        .flag("isWritablePrimary", is_primary)
        .flag("secondary", !is_primary)
        .text("setName", "rs0")
        .text("me", me)
        .array("hosts", hosts)
}

async fn read_command(stream: &mut DuplexStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.expect("a command");
    let mut rest = vec![0; i32::from_le_bytes(length) as usize - 4];
    stream.read_exact(&mut rest).await.expect("the rest");
    rest[17..].to_vec()
}

/// An attempt over connections with as many servers, and their ends.
fn over<const N: usize>() -> (Attempt, [DuplexStream; N]) {
    let mut ours = Vec::new();
    let servers = std::array::from_fn(|_| {
        let (io, stream) = duplex(1 << 16);
        ours.push(Stream::new(io, Route::Private));
        stream
    });
    (Attempt::over(Arc::default(), ours, Stop::default()), servers)
}

/// The result of an attempt against a server that gives these bytes for an answer to `hello`.
async fn against(answer: &[u8]) -> Result<(), NotReady> {
    let (cx, [mut server]) = over();
    let target = target("mongodb://mongo");
    let server = async {
        read_command(&mut server).await;
        server.write_all(answer).await.expect("sent");
        drop(server);
    };
    let both = async { tokio::join!(target.probe.attempt(&cx), server).0 };
    timeout(Duration::from_secs(20), both).await.expect("neither hangs")
}

#[tokio::test]
async fn hello_says_who_asks() {
    let (cx, [mut server]) = over();
    let target = target("mongodb://app:secret@mongo/shop?authSource=admin");
    let commands = async {
        let command = read_command(&mut server).await;
        drop(server);
        command
    };
    let (_, command) = tokio::join!(target.probe.attempt(&cx), commands);
    let command = Document::parse(&command).expect("a document");
    assert_eq!(command.number("hello"), Some(1));
    assert_eq!(command.text("$db"), Some("admin"));
    assert_eq!(command.text("saslSupportedMechs"), Some("admin.app"));
    assert!(command.has("client") && !command.has("loadBalanced"));
}

#[tokio::test]
async fn an_answer_to_hello_is_ready() {
    assert_eq!(against(&reply(1, hello())).await, Ok(()));
    // A checksum may follow.
    let document = hello().int("ok", 1).finish();
    let body = [&[1, 0, 0, 0, 0][..], &document, b"crc!"].concat();
    assert_eq!(against(&message(2013, 1, &body)).await, Ok(()));
}

#[tokio::test]
async fn what_is_no_reply_is_another_protocol_or_closed() {
    let document = hello().int("ok", 1).finish();
    let with = |before: &[u8]| message(2013, 1, &[before, &document].concat());
    for (answer, reason) in [
        (message(1, 1, &[&[0; 20][..], &document].concat()), &PROTOCOL), // OP_REPLY
        (reply(2, hello()), &PROTOCOL), // to another command
        (with(&[2, 0, 0, 0, 0]), &PROTOCOL), // more to come
        (with(&[0, 0, 0, 0, 1]), &PROTOCOL), // a section of another kind
        (message(2013, 1, &[&[0; 5][..], &document[1..]].concat()), &PROTOCOL),
        (message(2013, 1, &[0; 5]), &PROTOCOL),
        (message(2013, 1, &[1, 0, 0, 0, 0]), &PROTOCOL),
        (message(2013, 1, &[&[0; 5][..], &hello().finish()].concat()), &PROTOCOL), // without "ok"
        (vec![0xff, 0xff, 0xff, 0x7f, 0, 0], &PROTOCOL),
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), &PROTOCOL),
        (b"\x15\x03\x01\0\x02\x02\x28".to_vec(), &TLS_REQUIRED),
        (reply(1, hello())[..40].to_vec(), &CLOSED),
        (b"\x40".to_vec(), &CLOSED),
        (Vec::new(), &CLOSED),
    ] {
        let why = against(&answer).await.expect_err("not ready");
        assert!(why.is(reason), "{}: {why}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn an_error_without_a_number_is_one_of_the_server() {
    let document = Draft::new().int("ok", 0).text("errmsg", "no").finish();
    let answer = message(2013, 1, &[&[0; 5][..], &document].concat());
    let why = against(&answer).await.expect_err("an error");
    assert!(why.is(&reason::SERVER_ERROR), "{why}");
    assert_eq!(why.detail, "error 0: no");
}

/// An attempt at two members of which the first is a secondary, and the second does not answer.
async fn with_one_silent(target: &Target) -> (NotReady, Duration) {
    let (cx, [mut first, second]) = over();
    let server = async {
        read_command(&mut first).await;
        let secondary = member(false, "a:27017", &["b:27017"]);
        first.write_all(&reply(1, secondary)).await.expect("sent");
    };
    let start = Instant::now();
    let (result, ()) = tokio::join!(target.probe.attempt(&cx), server);
    drop(second);
    (result.expect_err("no primary"), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_answer_is_waited_for_longer_each_time() {
    let target = target("mongodb://a%2Cb/?replicaSet=rs0");
    for seconds in [1, 2, 4, 8, 16, 16] {
        let (why, took) = with_one_silent(&target).await;
        assert!(why.is(&NO_PRIMARY), "{why}");
        assert_eq!(why.detail, "a:27017 is a secondary; b:27017: no answer");
        assert_eq!(took.as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_answers_late_is_taken() {
    let (cx, [mut first, mut second]) = over();
    let target = target("mongodb://a%2Cb");
    let servers = async {
        read_command(&mut first).await;
        let secondary = member(false, "a:27017", &["b:27017"]);
        first.write_all(&reply(1, secondary)).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(900)).await;
        read_command(&mut second).await;
        let primary = member(true, "b:27017", &["a:27017"]);
        second.write_all(&reply(1, primary)).await.expect("sent");
    };
    assert_eq!(tokio::join!(target.probe.attempt(&cx), servers).0, Ok(()));
}

#[tokio::test]
async fn a_server_cannot_name_hosts_without_end() {
    let (cx, [mut server]) = over();
    let target = target("mongodb://a");
    let server = async {
        read_command(&mut server).await;
        let names: Vec<_> = (0..2000).map(|number| format!("host-{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let secondary = member(false, "a:27017", &names);
        server.write_all(&reply(1, secondary)).await.expect("sent");
    };
    let why = tokio::join!(target.probe.attempt(&cx), server).0.expect_err("no primary");
    // Itself, four that are shown, and the rest of 64.
    assert!(why.detail.ends_with("; and 59 more"), "{why}");
    assert!(why.detail.chars().count() < 640, "{why}");
}

#[test]
fn what_means_nothing_is_a_notice() {
    for (text, variables, expected) in [
        ("mongodb://a", &[][..], None),
        ("mongodb://app@a", &[], None),
        ("mongodb://a/?tlsCAFile=/x&tls=false", &[], None),
        ("mongodb://a/?tlsInsecure=true", &[], Some("its TLS parameters mean nothing without tls=true")),
        ("mongodb://app:x@a/?authMechanism=PLAIN", &[], Some("wait lacks its authMechanism")),
        ("mongodb://a", &[("WAIT_MONGODB_PASSWORD", "x")], Some("has a password and no user")),
        ("mongodb://cn@a/?authMechanism=MONGODB-X509", &[("WAIT_MONGODB_PASSWORD", "x")], None),
        ("mongodb+srv://a.b.c", &[], None),
    ] {
        let notices = notices(text, variables);
        match expected {
            None => assert!(notices.is_empty(), "{text}: {notices:?}"),
            Some(expected) => {
                assert!(notices.len() == 1 && notices[0].contains(expected), "{text}: {notices:?}");
            }
        }
    }
}

#[test]
fn a_target_is_described_as_it_is_understood() {
    let target = target("mongodb://app:secret@a/shop?replicaSet=rs0&readPreference=nearest&tls=true");
    let expected = [
        ("user", "app"),
        ("password", "from the URL"),
        ("database", "shop"),
        ("replica set", "rs0"),
        ("read preference", "nearest"),
        ("TLS", "verify-full"),
    ];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(target.probe.description(), expected);
}

/// The parts of a conversation that a server makes, each of which some of the cases change.
fn conversation() -> Vec<Vec<u8>> {
    let mechanisms = Draft::new().text("0", "SCRAM-SHA-1");
    let tags = Draft::new().text("dc", "east");
    let hello = member(true, "mongo:27017", &["b:27017"])
        .array("saslSupportedMechs", mechanisms)
        .document("tags", tags);
    let challenge = Draft::new()
        .int("conversationId", 1)
        .flag("done", false)
        .bytes("payload", b"r=x,s=c2FsdA==,i=4096");
    vec![reply(1, hello), reply(2, challenge), reply(3, Draft::new())]
}

#[tokio::test(start_paused = true)]
async fn garbage_neither_panics_nor_hangs() {
    let times = std::env::var("GARBAGE").map_or(3000, |times| times.parse().expect("a number"));
    let mut random = fastrand::Rng::with_seed(20_261_126);
    let targets = ["mongodb://app:secret@mongo", "mongodb://mongo%2Cb/?replicaSet=rs0"].map(target);
    let mut reasons = std::collections::HashMap::new();
    for _ in 0..times {
        let mut answers = conversation();
        for _ in 0..random.usize(1..8) {
            let answer = &mut answers[random.usize(..3)];
            let at = random.usize(..answer.len());
            match random.u8(..4) {
                0 => answer[at] = random.u8(..),
                1 => answer[at] ^= 1 << random.u8(..8),
                2 => answer.truncate(at.max(1)),
                _ => answer.insert(at, random.u8(..)),
            }
        }
        let (cx, [mut server]) = over();
        let server = async {
            for answer in answers {
                let mut buffer = [0; 4096];
                // Where the client waits for more of an answer, it sends nothing.
                let read = timeout(Duration::from_secs(1), server.read(&mut buffer)).await;
                if !matches!(read, Ok(Ok(1..))) {
                    break;
                }
                if server.write_all(&answer).await.is_err() {
                    break;
                }
            }
            drop(server);
        };
        let target = random.choice(&targets).expect("one of two");
        let both = async { tokio::join!(target.probe.attempt(&cx), server).0 };
        let result = timeout(Duration::from_secs(60), both).await.expect("neither hangs");
        let reason = result.map_or_else(|why| why.reason.name, |()| "ready");
        *reasons.entry(reason).or_insert(0) += 1;
    }
    println!("{reasons:?}");
    // Nearly all that can come of it has come of it.
    assert!(reasons.len() >= 4, "{reasons:?}");
}
