//! Scripted brokers, for answers that no real one gives.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;
use crate::kinds::KINDS;
use crate::kinds::tests::target_of;
use crate::net::{Route, Stream};
use crate::probe::{Attempt, NotReady, Retry, Stop};
use crate::targets::{Address, Origin, Target};

/// Where the broker of `metadata` is, according to itself.
const TARGET: &str = "kafka://kafka:9092";

fn target(text: &str) -> Target {
    target_of(&KIND, text, &[], &[]).expect(text).0
}

/// The result of an attempt, its warning, and the kinds and contents of the requests that were received.
struct Met {
    result: Result<(), NotReady>,
    warning: Option<Cow<'static, str>>,
    requests: Vec<(i16, Vec<u8>)>,
}

/// An attempt over several connections, on each of which a broker gives these answers and then closes it.
async fn meet(text: &str, route: Route, connections: &[&[&[u8]]], chunk: usize) -> Met {
    let (mut streams, mut servers) = (Vec::new(), Vec::new());
    for answers in connections {
        let (ours, theirs) = duplex(1 << 16);
        streams.push(Stream::new(ours, route));
        servers.push(serve(theirs, answers, chunk));
    }
    let target = target(text);
    let cx = Attempt::over(Arc::default(), streams, Stop::default());
    let servers = futures_util::future::join_all(servers);
    let attempt = async {
        let result = target.probe.attempt(&cx).await;
        let warning = cx.warning();
        drop(cx); // and with it the connections that were not needed
        (result, warning)
    };
    let both = async { tokio::join!(attempt, servers) };
    let both = timeout(Duration::from_secs(20), both).await;
    let ((result, warning), requests) = both.expect("neither side hangs");
    Met {
        result,
        warning,
        requests: requests.concat(),
    }
}

async fn serve(mut stream: DuplexStream, answers: &[&[u8]], chunk: usize) -> Vec<(i16, Vec<u8>)> {
    let mut requests = Vec::new();
    for answer in answers {
        let Some(request) = receive(&mut stream).await else {
            return requests;
        };
        let (api, number) = ([request[0], request[1]], &request[4..8]);
        let name = usize::from(request[9]);
        requests.push((i16::from_be_bytes(api), request[10 + name..].to_vec()));
        let frame = session::bytes(&[number, answer].concat());
        for part in frame.chunks(chunk) {
            let _ = stream.write_all(part).await; // the client may have left
            tokio::task::yield_now().await;
        }
    }
    requests
}

async fn receive(stream: &mut DuplexStream) -> Option<Vec<u8>> {
    let length = stream.read_i32().await.ok()?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

/// An answer that supports these requests, each in a range of versions.
fn versions(supported: &[(i16, i16, i16)]) -> Vec<u8> {
    let mut answer = vec![0; 2];
    answer.extend((supported.len() as i32).to_be_bytes());
    for (api, first, last) in supported {
        answer.extend([*api, *first, *last].iter().flat_map(|number| number.to_be_bytes()));
    }
    answer
}

fn all_versions() -> Vec<u8> {
    versions(&[(3, 0, 12), (17, 0, 1), (18, 0, 4), (36, 0, 2)])
}

/// Metadata of version 4: brokers by their numbers and addresses, the controller, and no topic.
fn metadata(brokers: &[(i32, &str, i32)], controller: i32) -> Vec<u8> {
    let mut answer = vec![0; 4];
    answer.extend((brokers.len() as i32).to_be_bytes());
    for (id, host, port) in brokers {
        answer.extend(id.to_be_bytes());
        answer.extend(session::string(host));
        answer.extend(port.to_be_bytes());
        answer.extend([0xff; 2]);
    }
    answer.extend(session::string("a-cluster"));
    answer.extend(controller.to_be_bytes());
    answer.extend([0; 4]);
    answer
}

fn of_one_broker() -> Vec<u8> {
    metadata(&[(1, "kafka", 9092)], 1)
}

/// The answer to the choice of a mechanism.
fn mechanisms(error: i16, names: &[&str]) -> Vec<u8> {
    let mut answer = error.to_be_bytes().to_vec();
    answer.extend((names.len() as i32).to_be_bytes());
    answer.extend(names.iter().flat_map(|name| session::string(name)));
    answer
}

/// The answer to a message of the login.
fn token(error: i16, words: &str, token: &[u8]) -> Vec<u8> {
    [&error.to_be_bytes()[..], &session::string(words), &session::bytes(token)].concat()
}

#[track_caller]
fn is_not_ready(met: &Met, reason: &Reason, detail: &str) {
    let why = met.result.as_ref().expect_err("not ready");
    assert!(why.is(reason), "{why}");
    assert!(why.detail.contains(detail), "{why}");
}

#[tokio::test]
async fn responses_may_come_in_pieces() {
    for chunk in [1, 2, 3, 5, 1000] {
        let answers = [&*all_versions(), &of_one_broker()];
        let met = meet(TARGET, Route::Private, &[&answers], chunk).await;
        assert_eq!(met.result, Ok(()), "{chunk}");
        // No topic, and none is to be created.
        assert_eq!(met.requests, [(18, vec![]), (3, vec![0; 5])]);
    }
}

#[tokio::test]
async fn a_response_that_is_cut_short_is_malformed() {
    for end in 0..of_one_broker().len() {
        let answers = [&*all_versions(), &of_one_broker()[..end]];
        let met = meet(TARGET, Route::Private, &[&answers], 1000).await;
        is_not_ready(&met, &PROTOCOL, "an unexpected answer while asking for the metadata");
    }
    for end in 0..all_versions().len() {
        let met = meet(TARGET, Route::Private, &[&[&all_versions()[..end]]], 1000).await;
        is_not_ready(&met, &PROTOCOL, "while asking for the protocol's versions");
    }
}

/// The result against a server that sends these bytes to whatever it receives first.
async fn against(bytes: &[u8]) -> NotReady {
    let (ours, mut theirs) = duplex(1 << 16);
    let cx = crate::kinds::tests::attempt_over(ours);
    let server = async move {
        receive(&mut theirs).await.expect("a request");
        let _ = theirs.write_all(bytes).await;
    };
    let target = target(TARGET);
    let (result, ()) = tokio::join!(target.probe.attempt(&cx), server);
    result.expect_err("not ready")
}

#[tokio::test]
async fn answers_of_other_protocols_are_shown() {
    for (bytes, shown) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "HTTP/1.1 400 Bad"),
        (b"\x15\x03\x03\x00\x02\x02\x46", r"\x15\x03\x03\x00\x02\x02F"), // an alert of TLS
        (b"\xff\xff\xff\xff", r"\xff\xff\xff\xff"),
        (&((1 << 20) + 1_u32).to_be_bytes(), r"\x00\x10\x00\x01"),
    ] {
        let why = against(bytes).await;
        assert!(why.is(&PROTOCOL), "{why}");
        assert!(why.detail.contains(shown), "{why}");
    }
    // The number is that of another request.
    let why = against(b"\0\0\0\x0a\0\0\0\x02\0\0\0\0\0\0").await;
    assert!(why.is(&PROTOCOL), "{why}");
    // More was announced.
    let why = against(b"\0\0\0\x0a\0\0\0\x01").await;
    assert!(why.is(&CLOSED), "{why}");
}

#[tokio::test]
async fn a_broker_without_a_version_in_common_is_malformed() {
    for (supported, detail) in [
        (&[(3, 9, 13)][..], "of Metadata, versions 1..=4 are needed, and the broker supports 9..=13"),
        (&[(3, 0, 0)], "supports 0..=0"),
        (&[(3, 5, 2)], "supports 5..=2"),
        (&[(1, 1, 4)], "supports none"),
    ] {
        let met = meet(TARGET, Route::Private, &[&[&versions(supported)]], 1000).await;
        is_not_ready(&met, &PROTOCOL, detail);
    }
}

#[tokio::test]
async fn an_error_in_place_of_the_versions_is_the_brokers() {
    let met = meet(TARGET, Route::Private, &[&[&[0, 35, 0, 0, 0, 0]]], 1000).await;
    is_not_ready(&met, &reason::SERVER_ERROR, "does not say which versions");
    let why = met.result.expect_err("not ready");
    assert_eq!(why.code.as_deref(), Some("35"));
}

/// The messages of a login that a broker has received.
fn messages(met: &Met) -> Vec<String> {
    let of_login = met.requests.iter().filter(|(api, _)| *api == 36);
    let text = |(_, body): &(i16, Vec<u8>)| String::from_utf8_lossy(&body[4..]).into_owned();
    of_login.map(text).collect()
}

#[tokio::test]
async fn the_password_itself_is_sent_only_where_the_target_says_so() {
    let (all, done) = (all_versions(), of_one_broker());
    let (refused, taken) = (mechanisms(33, &["PLAIN"]), mechanisms(0, &["PLAIN"]));
    let (plain, let_in) = (mechanisms(33, &["GSSAPI", "PLAIN"]), token(0, "", b""));
    let login: &[&[u8]] = &[&all, &taken, &let_in, &done];
    let met = meet("kafka://app:s3cret@kafka?sasl_mechanism=plain", Route::Private, &[login], 1000).await;
    assert_eq!(met.result, Ok(()));
    assert_eq!(messages(&met), ["\0app\0s3cret"]);
    assert_eq!(met.warning, None);

    let text = "kafka://app:s3cret@kafka";
    for answer in [&refused, &plain] {
        let met = meet(text, Route::Private, &[&[&all, answer], login], 1000).await;
        is_not_ready(&met, &ACCESS_DENIED, "only PLAIN is supported");
        assert_eq!(messages(&met), [""; 0]);
    }
    // A broker that says one thing and does another.
    let met = meet(text, Route::Private, &[&[&all, &taken, &let_in, &done]], 1000).await;
    is_not_ready(&met, &PROTOCOL, "SCRAM");
    assert!(!messages(&met).concat().contains("s3cret"));
}

#[tokio::test]
async fn a_password_in_clear_text_on_a_public_network_is_a_warning() {
    let (all, taken, let_in, done) = (all_versions(), mechanisms(0, &["PLAIN"]), token(0, "", b""), of_one_broker());
    let login: &[&[u8]] = &[&all, &taken, &let_in, &done];
    let text = "kafka://app:s3cret@kafka?sasl_mechanism=plain";
    let met = meet(text, Route::Public, &[login], 1000).await;
    assert_eq!(met.result, Ok(()));
    assert!(met.warning.is_some_and(|warning| warning.contains("unencrypted")));
}

#[tokio::test]
async fn a_mechanism_that_the_broker_lacks_is_replaced_on_a_new_connection() {
    let all = all_versions();
    let refused = mechanisms(33, &["PLAIN", "SCRAM-SHA-256"]);
    let taken = mechanisms(0, &["PLAIN", "SCRAM-SHA-256"]);
    let denied = token(58, "no such user", b"");
    let connections: &[&[&[u8]]] = &[&[&all, &refused], &[&all, &taken, &denied]];
    let met = meet("kafka://app:s3cret@kafka", Route::Private, connections, 1000).await;
    is_not_ready(&met, &ACCESS_DENIED, "no such user");
    let chosen: Vec<_> = met.requests.iter().filter(|(api, _)| *api == 17).collect();
    assert_eq!(chosen[0].1, session::string("SCRAM-SHA-512"));
    assert_eq!(chosen[1].1, session::string("SCRAM-SHA-256"));
    // A broker that refuses what it has offered.
    let connections: &[&[&[u8]]] = &[&[&all, &refused], &[&all, &refused]];
    let met = meet("kafka://app:s3cret@kafka", Route::Private, connections, 1000).await;
    is_not_ready(&met, &ACCESS_DENIED, "the listener has the mechanisms PLAIN, SCRAM-SHA-256");
}

/// Whoever has the user's name alone cannot sign: it is not the broker of the application.
#[tokio::test]
async fn a_broker_that_does_not_know_the_password_is_not_believed() {
    let (ours, mut theirs) = duplex(1 << 16);
    let cx = crate::kinds::tests::attempt_over(ours);
    let target = target("kafka://app:s3cret@kafka?sasl_mechanism=scram-sha-256");
    let server = async move {
        for number in 1..=4_i32 {
            let request = receive(&mut theirs).await.expect("a request");
            let request = String::from_utf8_lossy(&request);
            let answer = match number {
                1 => all_versions(),
                2 => mechanisms(0, &["SCRAM-SHA-256"]),
                3 => {
                    let (_, nonce) = request.rsplit_once("r=").expect("a nonce");
                    token(0, "", format!("r={nonce}more,s=c2FsdA==,i=4096").as_bytes())
                }
                _ => token(0, "", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            };
            let frame = session::bytes(&[&number.to_be_bytes()[..], &answer].concat());
            theirs.write_all(&frame).await.expect("sent");
        }
        assert_eq!(receive(&mut theirs).await, None, "a request after the login");
    };
    let both = async { tokio::join!(target.probe.attempt(&cx), server) };
    let both = timeout(Duration::from_secs(20), both).await;
    let (result, ()) = both.expect("neither side hangs");
    let why = result.expect_err("not ready");
    assert!(why.detail.contains("a signature that it cannot have made"), "{why}");
}

#[tokio::test]
async fn a_broker_that_repeats_the_password_does_not_have_it_logged() {
    let (all, taken) = (all_versions(), mechanisms(0, &["PLAIN"]));
    let denied = token(58, "app has not s3cret", b"");
    let (ours, theirs) = duplex(1 << 16);
    let cx = crate::kinds::tests::attempt_over(ours);
    let target = target("kafka://app:s3cret@kafka?sasl_mechanism=plain");
    let answers: &[&[u8]] = &[&all, &taken, &denied];
    let (result, _) = tokio::join!(target.probe.attempt(&cx), serve(theirs, answers, 1000));
    let why = cx.without_secrets(result.expect_err("not ready"));
    assert_eq!(why.detail, "app has not …");
    assert_eq!(why.code.as_deref(), Some("58"));
    assert!(why.hint().contains("the URL"), "{}", why.hint());
}

#[tokio::test]
async fn a_denial_without_words_is_described() {
    let (all, taken) = (all_versions(), mechanisms(0, &["PLAIN"]));
    for words in ["", " "] {
        let denied = token(58, words, b"");
        let login: &[&[u8]] = &[&all, &taken, &denied];
        let text = "kafka://app:s3cret@kafka?sasl_mechanism=plain";
        let met = meet(text, Route::Private, &[login], 1000).await;
        is_not_ready(&met, &ACCESS_DENIED, "the broker denies the login");
    }
}

#[tokio::test]
async fn brokers_that_are_not_reached_are_named() {
    let all = all_versions();
    // There is one connection alone.
    let unreached = "broker 2 advertises localhost:9092, which is not reached from here: refused: ";
    let brokers = [(2, "localhost", 9092)];
    let met = meet(TARGET, Route::Private, &[&[&all, &metadata(&brokers, 2)]], 1000).await;
    is_not_ready(&met, &reason::NOT_SERVING, unreached);
    assert_eq!(met.warning, None);
    let why = met.result.expect_err("not ready");
    assert_eq!(why.reason.retry, Retry::Politely);
    // Another broker is.
    let brokers = [(2, "localhost", 9092), (1, "kafka", 9092)];
    let met = meet(TARGET, Route::Private, &[&[&all, &metadata(&brokers, 2)]], 1000).await;
    assert_eq!(met.result, Ok(()));
    let warning = met.warning.expect("a warning");
    assert!(warning.contains(unreached) && warning.contains("advertised.listeners"), "{warning}");
    // And this one too.
    let connections: &[&[&[u8]]] = &[&[&all, &metadata(&brokers, 2)], &[&all]];
    let met = meet(TARGET, Route::Private, connections, 1000).await;
    assert_eq!((met.result, met.warning), (Ok(()), None));
}

#[tokio::test]
async fn a_login_that_is_denied_elsewhere_is_repeated_as_rarely_as_here() {
    let (all, taken) = (all_versions(), mechanisms(0, &["PLAIN"]));
    let (let_in, denied) = (token(0, "", b""), token(58, "no such user", b""));
    let elsewhere = metadata(&[(1, "elsewhere", 9092)], 1);
    let here: &[&[u8]] = &[&all, &taken, &let_in, &elsewhere];
    let there: &[&[u8]] = &[&all, &taken, &denied];
    let text = "kafka://app:s3cret@kafka?sasl_mechanism=plain";
    let met = meet(text, Route::Private, &[here, there], 1000).await;
    is_not_ready(&met, &reason::NOT_SERVING, "elsewhere:9092, which is not reached from here: access_denied: no such user");
    let why = met.result.expect_err("not ready");
    assert_eq!(why.reason.retry, Retry::Denied);
}

#[tokio::test]
async fn an_address_that_is_none_is_not_reached() {
    for (host, port) in [("", 9092), ("a b", 9092), ("kafka", 0), ("kafka", 65536), ("kafka", -1)] {
        let answers = [&*all_versions(), &metadata(&[(1, host, port)], 1)];
        let met = meet(TARGET, Route::Private, &[&answers], 1000).await;
        let detail = format!(
            "broker 1 advertises {host}:{port}, which is not reached from here: unresolved: that is no address"
        );
        is_not_ready(&met, &reason::NOT_SERVING, &detail);
    }
    let answers = [&*all_versions(), &metadata(&[(1, "::1", 9092)], 1)];
    let met = meet("kafka://[::1]", Route::Private, &[&answers], 1000).await;
    assert_eq!(met.result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_holds_nothing_up() {
    let (ours, theirs) = duplex(1 << 16);
    let (other, _silent) = duplex(1 << 16);
    let streams = [ours, other].map(|io| Stream::new(io, Route::Private));
    let cx = Attempt::over(Arc::default(), streams, Stop::default());
    let (all, brokers) = (all_versions(), metadata(&[(1, "elsewhere", 9092)], 1));
    let answers: &[&[u8]] = &[&all, &brokers];
    let target = target(TARGET);
    let attempt = timeout(Duration::from_secs(2), target.probe.attempt(&cx));
    let (result, _) = tokio::join!(attempt, serve(theirs, answers, 1000));
    let why = result.expect("in time").expect_err("not ready");
    assert!(why.detail.contains("elsewhere:9092"), "{why}");
    assert!(why.detail.contains("no answer while asking for the protocol's versions"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn brokers_that_may_not_be_needed_hold_up_an_attempt_for_three_seconds_at_most() {
    let others = ["a", "b", "c", "d", "e", "f"].map(|host| (7, host, 9092));
    for (first, is_ready) in [("kafka", true), ("elsewhere", false)] {
        let (ours, theirs) = duplex(1 << 16);
        let (mut streams, mut silent) = (vec![Stream::new(ours, Route::Private)], Vec::new());
        for _ in 0..=others.len() {
            let (ours, theirs) = duplex(1 << 16);
            streams.push(Stream::new(ours, Route::Private));
            silent.push(theirs);
        }
        let cx = Attempt::over(Arc::default(), streams, Stop::default());
        let brokers = [&[(1, first, 9092)], &others[..]].concat();
        let (all, brokers) = (all_versions(), metadata(&brokers, 1));
        let answers: &[&[u8]] = &[&all, &brokers];
        let target = target(TARGET);
        let attempt = timeout(Duration::from_millis(3500), target.probe.attempt(&cx));
        let (result, _) = tokio::join!(attempt, serve(theirs, answers, 1000));
        assert_eq!(result.expect("in time").is_ok(), is_ready);
        assert_eq!(cx.warning().is_some(), is_ready);
    }
}

/// What a target is understood as.
fn description(text: &str) -> String {
    let parts = target(text).description();
    let parts = parts.iter().filter(|(name, _)| !matches!(*name, "kind" | "ready when"));
    let parts = parts.map(|(name, value)| format!("{name} {value}"));
    parts.collect::<Vec<_>>().join("; ")
}

#[test]
fn targets_are_understood_in_the_words_of_many_programs() {
    for (text, expected) in [
        ("kafka://a,b:9093/orders,payments", "address a:9092; address b:9093; topics orders, payments; TLS off"),
        ("kafka://a/orders%2Cpayments", "address a:9092; topics orders, payments; TLS off"),
        ("kafka+ssl://a", "address a:9092; TLS verify-full"),
        ("kafkas://a", "address a:9092; TLS verify-full"),
        ("kafka+tls://a:9093#tls=verify-ca", "address a:9093; TLS verify-ca"),
        ("kafka://a?ssl=true", "address a:9092; TLS verify-full"),
        ("kafka://a?tls_enabled=true", "address a:9092; TLS verify-full"),
        ("kafka://a?enable-tls=0", "address a:9092; TLS off"),
        ("kafka://a?security.protocol=SASL_SSL", "address a:9092; TLS verify-full"),
        ("kafka://a?security_protocol=plaintext", "address a:9092; TLS off"),
        ("kafka+ssl://a?security_protocol=plaintext", "address a:9092; TLS verify-full"),
        (
            "kafka://app:x@a?sasl.mechanism=SCRAM-SHA-512",
            "address a:9092; user app; password from the URL; mechanism SCRAM-SHA-512; TLS off",
        ),
        (
            "kafka://a?sasl-user=app&sasl-password=x&sasl-mechanism=plain",
            "address a:9092; user app; password from the URL; mechanism PLAIN; TLS off",
        ),
        (
            "kafka://a?user=app&password=x#user=other",
            "address a:9092; user other; password from the URL; TLS off",
        ),
    ] {
        assert_eq!(description(text), expected, "{text}");
    }
    for text in [
        "kafka://a/or ders",
        "kafka://a/orders/0",
        "kafka://a/.",
        "kafka://a?sasl_mechanism=gssapi",
        "kafka://a?security_protocol=tls",
        "kafka://a?topic=orders",
        "kafka://a#tls=prefer",
    ] {
        assert!(target_of(&KIND, text, &[], &[]).is_err(), "{text}");
    }
    let longest = format!("kafka://a/{}", "x".repeat(249));
    assert!(target_of(&KIND, &longest, &[], &[]).is_ok());
    assert!(target_of(&KIND, &format!("{longest}x"), &[], &[]).is_err());
}

#[test]
fn a_password_comes_from_the_target_alone() {
    let variables = [("WAIT_KAFKA_PASSWORD", "x"), ("WAIT_KAFKA_USER", "app"), ("SASL", "x")];
    let parts = |text| {
        let (target, notices) = target_of(&KIND, text, &variables, &[]).expect(text);
        (target.description(), notices.len())
    };
    let is_password = |(name, _): &(&str, String)| *name == "password";
    let (parts_of_user, notices) = parts("kafka://app@a");
    assert!(!parts_of_user.iter().any(is_password), "{parts_of_user:?}");
    assert_eq!(notices, 0);
    let (parts_of_user, notices) = parts("kafka://app@a#password-env=SASL");
    assert!(parts_of_user.contains(&("password", "from SASL".to_owned())), "{parts_of_user:?}");
    assert_eq!(notices, 0);
    assert_eq!(parts("kafka://:x@a").1, 1, "a password without a user");
}

#[test]
fn every_broker_may_have_the_scheme_and_be_written_as_a_listener() {
    let printed = |text| {
        let address = Address::parse(text, KINDS, None, Origin::Application);
        address.map(|address| address.to_string())
    };
    for (text, expected) in [
        ("kafka+ssl://a:9096,kafka+ssl://b:9096", "kafka+ssl://a:9096,b:9096"),
        ("kafka://a,kafka://b:1/orders", "kafka://a:9092,b:1/orders"),
        ("kafka://app:x@a,kafka://b", "kafka://app@a:9092,b:9092"),
        ("PLAINTEXT://a:1", "kafka://a:1"),
        ("SASL_PLAINTEXT://app@a:1", "kafka://app@a:1"),
        ("SASL_SSL://a:1,SASL_SSL://b:1", "kafka+ssl://a:1,b:1"),
        ("kafka+sasl_ssl://app:x@a", "kafka+ssl://app@a:9092"),
        ("kafka+other://a", "kafka://a:9092"),
        ("kafka://app:x@a,kafka://app:x@b/t", "kafka://app@a:9092,b:9092/t"),
    ] {
        assert_eq!(printed(text).as_deref(), Ok(expected), "{text}");
    }
    for text in [
        "kafka://a,kafka+ssl://b",
        "kafka://a,b,http://c",
        "kafka://app:x@a,kafka://app:y@b",
    ] {
        assert!(printed(text).is_err(), "{text}");
    }
}
