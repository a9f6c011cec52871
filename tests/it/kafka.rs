//! Brokers of Kafka: scripted ones, in whatever state a cluster can be, and a real one, tansu, beside
//! kafkajs. The real one is the program `tansu`, if it is installed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::drivers::error_of;
use crate::fixtures::kafka::{
    API_VERSIONS, Broker, Cluster, LEADER_NOT_AVAILABLE, Login, METADATA, Request,
    SASL_AUTHENTICATE, SASL_HANDSHAKE, TOPIC_AUTHORIZATION_FAILED, Topic, string,
};
use crate::fixtures::ports::{Port, Silent, speechless};
use crate::fixtures::tls::{Authority, tls};
use crate::support::{Outcome, Wait, wait};

/// One attempt.
fn once(url: &str) -> Wait {
    wait().args(["--timeout=0", "--for", url])
}

/// A state of a cluster, a target without its scheme and address, and the reason that it is not ready.
struct Case {
    change: fn(&mut Cluster),
    login: &'static str,
    rest: &'static str,
    reason: Option<&'static str>,
}

const fn case(
    change: fn(&mut Cluster),
    login: &'static str,
    rest: &'static str,
    reason: Option<&'static str>,
) -> Case {
    Case {
        change,
        login,
        rest,
        reason,
    }
}

/// Two topics, of one and of three partitions.
fn with_topics(cluster: &mut Cluster) {
    cluster.topics = vec![
        Topic::new("orders", &[1]),
        Topic::new("pay.ments_2-x", &[1, 1, 1]),
    ];
}

fn with_login(cluster: &mut Cluster) {
    cluster.login = Some(Login::new("app", "s3cr=t, ü"));
}

fn with_mechanisms(cluster: &mut Cluster, mechanisms: &[&'static str]) {
    with_login(cluster);
    let login = cluster.login.as_mut().expect("a login");
    login.mechanisms = mechanisms.to_vec();
}

const RIGHT: &str = "app:s3cr%3Dt%2C%20%C3%BC@";

/// The states in which kafkajs has to agree.
const CASES: &[Case] = &[
    case(|_| {}, "", "", None),
    case(
        |cluster| cluster.controller = -1,
        "",
        "",
        Some("not_serving: the cluster has no controller"),
    ),
    case(
        |cluster| cluster.brokers.clear(),
        "",
        "",
        Some("starting: the cluster has no broker yet"),
    ),
    case(with_topics, "", "/orders", None),
    case(with_topics, "", "/orders%2Cpay.ments_2-x", None),
    case(
        with_topics,
        "",
        "/other",
        Some("not_serving: no such topic: other"),
    ),
    case(
        with_topics,
        "",
        "/orders%2Cother",
        Some("not_serving: no such topic: other"),
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.topics[0].error = LEADER_NOT_AVAILABLE;
        },
        "",
        "/orders",
        Some("starting: the topic orders has no leader yet"),
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.topics[1].partitions[2] = (LEADER_NOT_AVAILABLE, -1);
        },
        "",
        "/pay.ments_2-x",
        Some("starting: partition 2 of the topic pay.ments_2-x has no leader"),
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.topics[1].partitions[1] = (0, 7);
        },
        "",
        "/pay.ments_2-x",
        Some("starting: partition 1 of the topic pay.ments_2-x has no leader"),
    ),
    case(
        |cluster| cluster.topics = vec![Topic::new("orders", &[])],
        "",
        "/orders",
        Some("starting: the topic orders has no partition yet"),
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.topics[0].error = TOPIC_AUTHORIZATION_FAILED;
        },
        "",
        "/orders",
        Some("access_denied: the user may not see the topic orders"),
    ),
    case(with_login, RIGHT, "?sasl_mechanism=plain", None),
    case(with_login, RIGHT, "?sasl_mechanism=scram-sha-256", None),
    case(with_login, RIGHT, "?sasl_mechanism=SCRAM-SHA-512", None),
    case(with_login, RIGHT, "", None),
    case(
        with_login,
        "app:wrong@",
        "?sasl_mechanism=plain",
        Some("access_denied: Authentication failed"),
    ),
    case(
        with_login,
        "app:wrong@",
        "",
        Some("access_denied: Authentication failed"),
    ),
    case(
        with_login,
        "other:x@",
        "?sasl_mechanism=scram-sha-256",
        Some("access_denied: Authentication failed"),
    ),
    case(
        with_login,
        "",
        "",
        Some("closed: the server closed the connection while asking for the metadata"),
    ),
    case(
        |_| {},
        RIGHT,
        "",
        Some("access_denied: the listener has no SASL"),
    ),
    case(
        |cluster| with_mechanisms(cluster, &["GSSAPI", "PLAIN"]),
        RIGHT,
        "?sasl_mechanism=scram-sha-256",
        Some("access_denied: the listener has the mechanisms GSSAPI, PLAIN"),
    ),
    case(
        |cluster| {
            with_login(cluster);
            with_topics(cluster);
            // Kafka 0.11: the messages of the login are frames of their own.
            cluster.versions.insert(SASL_HANDSHAKE, 0..=0);
            cluster.versions.remove(&SASL_AUTHENTICATE);
            cluster.versions.insert(METADATA, 0..=4);
            cluster.versions.insert(API_VERSIONS, 0..=1);
        },
        RIGHT,
        "/orders",
        None,
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.versions.insert(METADATA, 0..=1); // Kafka 0.10
            cluster.versions.insert(API_VERSIONS, 0..=0);
        },
        "",
        "/orders",
        None,
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.versions.insert(METADATA, 0..=2);
        },
        "",
        "/other",
        Some("not_serving: no such topic: other"),
    ),
];

/// Runs a case, and returns the target.
#[track_caller]
fn run(case: &Case) -> String {
    let broker = Broker::start();
    broker.change(case.change);
    let url = format!("kafka://{}{}{}", case.login, broker.address, case.rest);
    let outcome = once(&url).run();
    match case.reason {
        None => outcome.exits(0),
        Some(reason) => outcome.exits(1).says(&[reason]),
    };
    for Request { version, body, .. } in broker.received(METADATA) {
        let creates_topics =
            body[..4] != [0; 4] && body[..4] != [0xff; 4] && body.last() != Some(&0);
        assert!(!creates_topics, "{url}: version {version}: {body:?}");
    }
    url
}

#[test]
fn a_cluster_is_ready_when_its_metadata_are_complete() {
    for case in CASES {
        run(case);
    }
}

#[test]
#[ignore = "needs npm"]
fn kafkajs_agrees_about_scripted_brokers() {
    for case in CASES {
        let broker = Broker::start();
        broker.change(case.change);
        let url = format!("kafka://{}{}{}", case.login, broker.address, case.rest);
        let error = error_of("kafkajs", &url, &[]);
        println!("{url}: {:?}, kafkajs: {error:?}", case.reason);
        assert_eq!(error.is_none(), case.reason.is_none(), "{url}: {error:?}");
    }
}
