//! Scripted servers, for what a real one does not do on demand.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::KIND;
use super::drivers::DriverOptions;
use super::session::Limits;
use crate::kinds::KINDS;
use crate::kinds::tests::{attempt_over, target_of};
use crate::probe::{NotReady, Reason, Retry, reason};
use crate::targets::{Address, Origin, Target};

const HEADER: &[u8] = b"AMQP\0\0\x09\x01";

fn target(text: &str) -> Target {
    target_of(&KIND, text, &[], &[]).expect(text).0
}

/// A method in a frame.
fn method(channel: u16, class: u16, number: u16, fields: &[u8]) -> Vec<u8> {
    let mut frame = vec![1];
    frame.extend(channel.to_be_bytes());
    frame.extend((fields.len() as u32 + 4).to_be_bytes());
    frame.extend([class, number].map(u16::to_be_bytes).concat());
    frame.extend(fields);
    frame.push(0xce);
    frame
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn long(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

fn start(mechanisms: &str) -> Vec<u8> {
    let fields = [vec![0, 9], long(""), long(mechanisms), long("en_US")];
    method(0, 10, 10, &fields.concat())
}

fn tune(channel_max: u16, frame_max: u32) -> Vec<u8> {
    let (channel_max, frame_max) = (channel_max.to_be_bytes(), frame_max.to_be_bytes());
    method(0, 10, 30, &[&channel_max[..], &frame_max, &[0, 60]].concat())
}

fn open_ok() -> Vec<u8> {
    method(0, 10, 41, &[0])
}

fn close_ok() -> Vec<u8> {
    method(0, 10, 51, &[])
}

/// The end of a connection by the server, or of the channel.
fn close(class: u16, code: u16, text: &str) -> Vec<u8> {
    let fields = [&code.to_be_bytes()[..], &short(text), &[0; 4]].concat();
    let (channel, number) = if class == 10 { (0, 50) } else { (1, 40) };
    method(channel, class, number, &fields)
}

fn heartbeat() -> Vec<u8> {
    vec![8, 0, 0, 0, 0, 0, 0, 0xce]
}

fn blocked() -> Vec<u8> {
    method(0, 10, 60, &short("low on memory"))
}

/// The answers of a server that accepts every login.
fn lets_in() -> Vec<Vec<u8>> {
    vec![start("AMQPLAIN PLAIN"), tune(2047, 131_072), open_ok(), close_ok()]
}

/// The same up to a login, and then this.
fn lets_in_and(answer: Vec<u8>) -> Vec<Vec<u8>> {
    vec![start("PLAIN"), tune(0, 0), answer]
}

/// The methods that the client sends at once, by their numbers, and the bytes.
async fn heard(theirs: &mut DuplexStream) -> Option<(Vec<(u16, u16)>, Vec<u8>)> {
    let mut buffer = vec![0; 4096];
    let read = theirs.read(&mut buffer).await.expect("open");
    buffer.truncate(read);
    if read == 0 {
        return None;
    }
    let mut methods = Vec::new();
    let mut rest = &*buffer;
    if rest == HEADER {
        return Some((methods, buffer));
    }
    while let [1, _, channel, a, b, c, d, after @ ..] = rest {
        let (payload, end) = after.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        let class = u16::from(payload[1]);
        assert_eq!(*channel, u8::from(class != 10), "{methods:?}");
        methods.push((class, u16::from(payload[3])));
        assert_eq!(end[0], 0xce, "{methods:?}");
        rest = &end[1..];
    }
    assert!(rest.is_empty(), "{buffer:?}");
    Some((methods, buffer))
}

/// The result of an attempt against a server that gives these answers, each when it has heard something,
/// and then listens; the methods and the bytes that it has heard.
async fn against(
    target: &Target,
    answers: &[Vec<u8>],
) -> (Result<(), NotReady>, Vec<(u16, u16)>, Vec<u8>) {
    let (ours, mut theirs) = duplex(1 << 16);
    let cx = attempt_over(ours);
    let server = async move {
        let (mut methods, mut bytes) = (Vec::new(), Vec::new());
        let mut answers = answers.iter();
        while let Some((next, more)) = heard(&mut theirs).await {
            methods.extend(next);
            bytes.extend(more);
            if let Some(answer) = answers.next() {
                theirs.write_all(answer).await.expect("sent");
            }
        }
        (methods, bytes)
    };
    let both = async {
        let attempt = async {
            let result = target.probe.attempt(&cx).await;
            drop(cx);
            result
        };
        tokio::join!(attempt, server)
    };
    let both = timeout(Duration::from_secs(20), both).await;
    let (result, (methods, bytes)) = both.expect("neither hangs");
    (result, methods, bytes)
}

#[track_caller]
fn is_in(part: &[u8], bytes: &[u8]) {
    let mut windows = bytes.windows(part.len());
    assert!(windows.any(|window| window == part), "{part:?} is not in {bytes:?}");
}

const START_OK: (u16, u16) = (10, 11);
const TUNE_OK: (u16, u16) = (10, 31);
const OPEN: (u16, u16) = (10, 40);
const CLOSE: (u16, u16) = (10, 50);
const CLOSE_OK: (u16, u16) = (10, 51);
const CHANNEL_OPEN: (u16, u16) = (20, 10);
const CHANNEL_CLOSE_OK: (u16, u16) = (20, 41);
const DECLARE: (u16, u16) = (50, 10);

#[tokio::test]
async fn a_connection_is_opened_and_closed() {
    let (result, methods, bytes) = against(&target("app:s%40cret@mq/shop"), &lets_in()).await;
    assert_eq!(result, Ok(()));
    assert_eq!(methods, [START_OK, TUNE_OK, OPEN, CLOSE]);
    is_in(b"\x05PLAIN\x00\x00\x00\x0b\x00app\x00s@cret\x05en_US", &bytes);
    is_in(b"\x1cauthentication_failure_closet\x01\x12connection.blockedt\x01", &bytes);
    is_in(&tune_ok(2047, 131_072), &bytes);
    is_in(&method(0, 10, 40, b"\x04shop\0\0"), &bytes);
}

/// The limits that the client agrees on, without heartbeats.
fn tune_ok(channel_max: u16, frame_max: u32) -> Vec<u8> {
    let (channel_max, frame_max) = (channel_max.to_be_bytes(), frame_max.to_be_bytes());
    method(0, 10, 31, &[&channel_max[..], &frame_max, &[0, 0]].concat())
}

#[tokio::test]
async fn without_a_user_the_offer_to_start_is_enough() {
    for text in ["mq", "mq/shop", ":secret@mq"] {
        let (result, methods, bytes) = against(&target(text), &lets_in()).await;
        assert_eq!(result, Ok(()), "{text}");
        assert_eq!((methods.len(), &*bytes), (0, HEADER), "{text}");
    }
    let result = against(&target("mq"), &[close(10, 320, "CONNECTION_FORCED - shutdown")]).await.0;
    assert!(result.expect_err("not ready").is(&reason::SHUTTING_DOWN));
}

#[tokio::test]
async fn a_queue_is_looked_for_without_being_made() {
    let target = target("app:secret@mq#queue=jobs");
    let mut answers = lets_in();
    let (channel, declared) = (method(1, 20, 11, &[0; 4]), method(1, 50, 11, b"\x04jobs\0\0\0\0\0\0\0\0"));
    answers.splice(3..3, [channel.clone(), declared]);
    let (result, methods, bytes) = against(&target, &answers).await;
    assert_eq!(result, Ok(()));
    assert_eq!(methods, [START_OK, TUNE_OK, OPEN, CHANNEL_OPEN, DECLARE, CLOSE]);
    is_in(&method(1, 50, 10, b"\0\0\x04jobs\x01\0\0\0\0"), &bytes);

    let text = "NOT_FOUND - no queue 'jobs' in vhost '/'";
    answers[4] = close(20, 404, text);
    let (result, methods, _) = against(&target, &answers).await;
    let why = result.expect_err("not ready");
    assert!(why.is(&reason::NOT_SERVING), "{why}");
    assert_eq!(why.detail, format!("no such queue: 404 {text}"));
    assert_eq!(why.reason.retry, Retry::BackOff, "each look is an error in the server's log");
    assert_eq!(methods[4..], [DECLARE, CHANNEL_CLOSE_OK, CLOSE]);

    // A user without channels: the server closes the connection.
    answers.truncate(4);
    answers[3] = close(
        10,
        530,
        "NOT_ALLOWED - number of channels opened for user 'app' has reached the maximum allowed user limit of (0)",
    );
    let (result, methods, _) = against(&target, &answers).await;
    assert!(result.expect_err("not ready").is(&reason::TOO_MANY_CONNECTIONS));
    assert_eq!(methods[3..], [CHANNEL_OPEN, CLOSE_OK]);
}

/// The texts with which RabbitMQ 3.10 and 4.x close a connection, and other servers' codes.
const REFUSALS: &[(u16, &str, Reason, &str)] = &[
    (530, "NOT_ALLOWED - vhost shop not found", reason::UNKNOWN_DATABASE, "add_vhost"),
    (402, "INVALID_PATH - no access", reason::UNKNOWN_DATABASE, "add_vhost"),
    (
        530,
        "NOT_ALLOWED - access to vhost 'shop' refused for user 'app'",
        reason::UNKNOWN_DATABASE,
        "set_permissions",
    ),
    (
        530,
        "NOT_ALLOWED - access to vhost 'shop' refused for user 'app': connection limit (0) is reached",
        reason::TOO_MANY_CONNECTIONS,
        "limit",
    ),
    (
        530,
        "NOT_ALLOWED - connection refused for user 'app': user connection limit (1) is reached",
        reason::TOO_MANY_CONNECTIONS,
        "limit",
    ),
    (
        530,
        "NOT_ALLOWED - connection refused: node connection limit (1) is reached",
        reason::TOO_MANY_CONNECTIONS,
        "limit",
    ),
    (
        530,
        "NOT_ALLOWED - access to vhost 'shop' refused for user 'app': connection limit cannot be queried, timeout",
        reason::NOT_SERVING,
        "cluster",
    ),
    (
        530,
        "NOT_ALLOWED - access to vhost 'shop' refused for user 'app' by backend rabbit_auth_backend_http: denied",
        reason::UNKNOWN_DATABASE,
        "set_permissions",
    ),
    (
        530,
        "NOT_ALLOWED - access to vhost 'shop' refused for user 'app', backend rabbit_auth_backend_http returned \
         an error: econnrefused",
        reason::NOT_SERVING,
        "backend",
    ),
    (
        530,
        "NOT_ALLOWED - negotiated frame_max = 4096 is lower than the minimum allowed value (8192)",
        reason::SERVER_ERROR,
        "frameMax",
    ),
    (530, "NOT_ALLOWED - something else", reason::SERVER_ERROR, "log"),
    (
        541,
        "INTERNAL_ERROR - access to vhost 'shop' refused for user 'app': vhost 'shop' is down",
        reason::NOT_SERVING,
        "restart_vhost",
    ),
    (541, "INTERNAL_ERROR", reason::SERVER_ERROR, "log"),
    (506, "RESOURCE_ERROR", reason::NOT_SERVING, "resources"),
    (
        320,
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
        reason::SHUTTING_DOWN,
        "started again",
    ),
    (504, "CHANNEL_ERROR - unexpected method", reason::SERVER_ERROR, "log"),
];

#[tokio::test]
async fn a_refused_connection_has_its_reason_and_is_ended_as_the_protocol_has_it() {
    for (code, text, reason, hint) in REFUSALS {
        let answers = lets_in_and(close(10, *code, text));
        let (result, methods, _) = against(&target("app:secret@mq/shop"), &answers).await;
        let why = result.expect_err(text);
        assert!(why.is(reason), "{text}: {why}");
        assert!(why.hint().contains(hint), "{text}: {}", why.hint());
        assert_eq!(why.detail, format!("{code} {text}"));
        assert_eq!(why.code, Some(code.to_string().into()));
        assert_eq!(methods, [START_OK, TUNE_OK, OPEN, CLOSE_OK], "{text}");
    }
}

#[tokio::test]
async fn a_denied_login_has_a_hint_that_fits() {
    let denied = close(10, 403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN");
    for (text, hint) in [
        ("app:secret@mq", "check the user and the password, which is from the URL"),
        ("app@mq", "no password is set for this target"),
        ("guest:guest@mq", "guest may log in only from the server's own host"),
        ("mq?auth_mechanism=external", "give a certificate and its key"),
    ] {
        let answers = [start("PLAIN EXTERNAL"), denied.clone()];
        let (result, methods, _) = against(&target(text), &answers).await;
        let why = result.expect_err(text);
        assert!(why.is(&reason::ACCESS_DENIED), "{why}");
        assert!(why.hint().contains(hint), "{text}: {}", why.hint());
        assert_eq!(methods, [START_OK, CLOSE_OK]);
    }
}

#[tokio::test]
async fn a_server_without_the_mechanism_gets_no_password() {
    let many = "X".repeat(100);
    for (text, mechanisms) in [
        ("app:secret@mq", "EXTERNAL AMQPLAIN"),
        ("app:secret@mq", &many),
        ("app:secret@mq", ""),
        ("app:secret@mq?auth_mechanism=external", "PLAIN AMQPLAIN"),
    ] {
        let offered = if mechanisms == many { many.repeat(50) } else { mechanisms.to_owned() };
        let (result, _, bytes) = against(&target(text), &[start(&offered)]).await;
        let why = result.expect_err(text);
        assert!(why.is(&reason::ACCESS_DENIED), "{why}");
        assert!(why.detail.ends_with(mechanisms), "{why}");
        assert_eq!(bytes, HEADER, "{text}");
    }
}

#[tokio::test]
async fn a_certificate_is_a_login() {
    let mut answers = lets_in();
    answers[0] = start("PLAIN EXTERNAL");
    for text in ["mq/shop?auth_mechanism=external", "mq/shop?login_method=EXTERNAL"] {
        let (result, methods, bytes) = against(&target(text), &answers).await;
        assert_eq!(result, Ok(()));
        assert_eq!(methods, [START_OK, TUNE_OK, OPEN, CLOSE]);
        is_in(b"\x08EXTERNAL\x00\x00\x00\x00\x05en_US", &bytes);
    }
}

#[tokio::test]
async fn a_server_that_reports_an_alarm_takes_no_messages() {
    for (answers, is_ready) in [
        (vec![open_ok(), [blocked(), close_ok()].concat()], false),
        (vec![[open_ok(), blocked()].concat(), close_ok()], false),
        (vec![[open_ok(), blocked()].concat(), heartbeat()], false),
        (vec![open_ok(), [blocked(), method(0, 10, 61, &[]), close_ok()].concat()], true),
    ] {
        let answers = [vec![start("PLAIN"), tune(0, 0)], answers].concat();
        let result = against(&target("app:secret@mq"), &answers).await.0;
        assert_eq!(result.is_ok(), is_ready, "{result:?}");
        if let Err(why) = result {
            assert!(why.is(&reason::NOT_SERVING), "{why}");
            assert_eq!(why.detail, "the server takes no messages: low on memory");
        }
    }
}

#[tokio::test]
async fn a_goodbye_that_is_not_answered_does_not_matter_and_another_does() {
    let mut answers = lets_in();
    answers[3] = heartbeat();
    assert_eq!(against(&target("app:secret@mq"), &answers).await.0, Ok(()));
    answers[3] = close(10, 320, "CONNECTION_FORCED - shutdown");
    let why = against(&target("app:secret@mq"), &answers).await.0;
    assert!(why.expect_err("not ready").is(&reason::SHUTTING_DOWN));
}

#[tokio::test]
async fn heartbeats_are_passed_over() {
    let answers = lets_in().into_iter();
    let answers: Vec<_> = answers.map(|answer| [heartbeat(), answer].concat()).collect();
    assert_eq!(against(&target("app:secret@mq"), &answers).await.0, Ok(()));
    let endless = [start("PLAIN"), heartbeat().repeat(100)];
    let why = against(&target("app:secret@mq"), &endless).await.0;
    assert!(why.expect_err("not ready").is(&reason::PROTOCOL));
}

#[tokio::test]
async fn other_protocols_and_cut_frames_are_told_apart() {
    let cut = |frame: Vec<u8>| frame[..frame.len() - 1].to_vec();
    let too_short = method(0, 10, 10, &[0, 9, 0, 0]);
    let too_long = vec![1, 0, 0, 0, 2, 0, 1, 0, 0];
    let wrong_end = [cut(start("PLAIN")), vec![0]].concat();
    for (answer, words) in [
        (b"SSH-2.0-x\r\n".to_vec(), "SSH-2.0-x"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "HTTP/1.1 400 Bad"),
        (b"AMQP\0\x01\0\0".to_vec(), "AMQP 1.0.0"),
        (b"AMQP\x03\x01\0\0".to_vec(), "AMQP 1.0.0"),
        (b"AMQ".to_vec(), "AMQ"),
        (too_short, "unexpected"),
        (too_long, "begins with"),
        (wrong_end, "unexpected"),
        (open_ok(), "unexpected"),
        (method(0, 10, 50, &[1]), "unexpected"),
    ] {
        let why = against(&target("app:secret@mq"), &[answer]).await.0;
        let why = why.expect_err(words);
        assert!(why.is(&reason::PROTOCOL), "{words}: {why}");
        assert!(why.detail.contains(words), "{words}: {why}");
    }
}

#[tokio::test]
async fn an_alert_of_tls_means_that_tls_is_required() {
    let alert = b"\x15\x03\x01\x00\x02\x02\x46".to_vec();
    let why = against(&target("app:secret@mq:5671"), &[alert]).await.0;
    let why = why.expect_err("not ready");
    assert!(why.is(&reason::TLS_REQUIRED), "{why}");
    assert!(why.hint().contains("amqps://"), "{why}");
}

#[tokio::test]
async fn a_server_that_repeats_the_password_does_not_have_it_logged() {
    let (ours, mut theirs) = duplex(1 << 16);
    let server = tokio::spawn(async move {
        for answer in [start("PLAIN"), close(10, 403, "no such user: app TOPSECRET")] {
            heard(&mut theirs).await;
            theirs.write_all(&answer).await.expect("sent");
        }
        heard(&mut theirs).await;
    });
    let cx = attempt_over(ours);
    let why = target("app:TOPSECRET@mq").probe.attempt(&cx).await;
    let why = cx.without_secrets(why.expect_err("not ready"));
    assert!(why.detail.contains("no such user"), "{why}");
    assert!(!format!("{why} {}", why.hint()).contains("TOPSECRET"), "{why}");
    server.await.expect("no panic");
}

#[test]
fn limits_are_agreed_on_as_clients_do_it() {
    let server = |channel_max, frame_max| Limits {
        channel_max,
        frame_max,
    };
    for (query, proposed, agreed) in [
        ("", (2047, 131_072), (2047, 131_072)),
        ("", (0, 0), (0, 0)),
        ("?frameMax=4096&channelMax=10", (2047, 131_072), (10, 4096)),
        ("?frame_max=4096&channel_max=10", (0, 0), (10, 4096)),
        ("?frameMax=999999&channelMax=0", (2047, 131_072), (2047, 131_072)),
        ("?frameMax=x", (2047, 131_072), (2047, 131_072)),
    ] {
        let url = format!("amqp://mq/{query}");
        let address = Address::parse(&url, KINDS, None, Origin::Ours).expect(&url);
        let options = DriverOptions::of(&address).expect(&url);
        let agrees = options.limits(server(proposed.0, proposed.1));
        assert_eq!(agrees, server(agreed.0, agreed.1), "{url}");
    }
}

#[test]
fn targets_are_understood() {
    let printed = |text: &str, variables: &[_]| {
        target_of(&KIND, text, variables, &[]).map(|(target, _)| target.to_string())
    };
    for (text, expected) in [
        ("mq", "amqp://mq:5672"),
        ("mq/", "amqp://mq:5672"),
        ("pyamqp://mq//", "amqp://mq:5672/%2F"),
        ("mq/%2F", "amqp://mq:5672/%2F"),
        ("mq/%2f", "amqp://mq:5672/%2F"),
        ("mq/%2f/messages", "amqp://mq:5672/%2F"),
        ("mq/a/b", "amqp://mq:5672/a%2Fb"),
        ("mq/a%2Fb", "amqp://mq:5672/a%2Fb"),
        ("app:secret@mq:5673/shop?heartbeat=30", "expected"),
        ("app:secret@mq:5673/shop?frameMax=8192", "amqp://app@mq:5673/shop"),
        ("amqps://mq", "amqps://mq:5671"),
        ("rabbitmqs://mq", "amqps://mq:5671"),
        ("a,b:1/shop", "amqp://a:5672,b:1/shop"),
        ("amqp://a;amqp://b", "amqp://a:5672,b:5672"),
        ("amqp://app:x@a/shop,amqp://app:x@b:1/shop", "amqp://app@a:5672,b:1/shop"),
        ("amqp://app:x@a/shop;amqp://other:x@b/shop", "expected"),
        ("amqp://a/shop;amqp://b/stats", "expected"),
        ("mq#tls=prefer", "expected"),
        ("mq#queue=jobs", "expected"),
        ("app@mq#queue=", "expected"),
    ] {
        match printed(text, &[]) {
            Ok(printed) => assert_eq!(printed, expected, "{text}"),
            Err(error) => assert!(error.to_string().contains(expected), "{text}: {error}"),
        }
    }
    let long = "x".repeat(256);
    for text in [format!("app@mq/{long}"), format!("app@mq#queue={long}")] {
        assert!(printed(&text, &[]).is_err(), "{text}");
        printed(&text.replace("xx", "é"), &[]).expect_err("it counts bytes");
        printed(&text[..text.len() - 1], &[]).expect("just short enough");
    }
    let defaults = [
        ("WAIT_AMQP_USER", "app"),
        ("WAIT_AMQP_PASSWORD", "x"),
        ("WAIT_AMQP_DATABASE", "shop"),
    ];
    assert_eq!(printed("mq", &defaults).as_deref(), Ok("amqp://app@mq:5672/shop"));
    assert_eq!(printed("mq//", &defaults).as_deref(), Ok("amqp://app@mq:5672/%2F"));
    let (_, notices) = target_of(&KIND, ":secret@mq", &[], &[]).expect("a target");
    assert_eq!(notices.len(), 1, "{notices:?}");
}
