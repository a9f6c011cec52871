//! Kafka, and brokers that speak its protocol.

#[cfg(feature = "kafka")]
mod login;
#[cfg(feature = "kafka")]
mod metadata;
#[cfg(feature = "kafka")]
mod probe;
#[cfg(feature = "kafka")]
mod session;
#[cfg(all(test, feature = "kafka"))]
mod tests;

use super::compiled_in;
use crate::probe::{Reason, reason};
use crate::targets::{Kind, Parameters, Scheme};

pub(super) static KIND: Kind = Kind {
    name: "kafka",
    title: "Kafka",
    schemes: &[
        Scheme::plain("kafka", 9092),
        Scheme::tls("kafka+ssl", 9092),
        Scheme::tls("kafka+tls", 9092),
        Scheme::tls("kafkas", 9092),
    ],
    settings: &[],
    several_hosts: true,
    parameters: Parameters::Known {
        shown: &["sasl_mechanism"],
        others: PARAMETERS,
    },
    dialects: &[listeners],
    options: &[
        "user",
        "tls",
        "ca-file",
        "cert-file",
        "key-file",
        "password-file",
        "password-env",
    ],
    reasons: &[
        &ACCESS_DENIED,
        &STARTING,
        &NOT_SERVING,
        &reason::TLS_FAILED,
        &reason::SERVER_ERROR,
        &CLOSED,
        &PROTOCOL,
    ],
    codes: &[
        ("3", NO_TOPIC),
        ("5", STARTING),
        ("29", NOT_ALLOWED),
        ("33", NO_SUCH_MECHANISM),
        ("34", NO_SASL),
        ("58", ACCESS_DENIED),
        ("72", NO_LISTENER),
    ],
    ready_when: "a broker, after the login if there is a user, knows the brokers and the controller of \
                 the cluster, and one of the brokers is reached at the address that it advertises. \
                 With topics: each of their partitions has a leader, and every leader is reached",
    examples: &[
        "kafka://kafka:9092",
        "kafka://kafka/orders",
        "kafka://app:secret@kafka:9092/orders?sasl_mechanism=plain",
        "kafka+ssl://app:secret@kafka:9093",
    ],
    parse: compiled_in!("kafka", probe::parse),
};

/// The parameters that mean something to `wait`, besides the one that is printed, in the words of
/// clients and of programs that have brokers as URLs.
const PARAMETERS: &[&str] = &[
    "enable-tls",
    "mechanism",
    "password",
    "sasl-mechanism",
    "sasl-password",
    "sasl-user",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "sasl_password",
    "sasl_user",
    "sasl_username",
    "security.protocol",
    "security_protocol",
    "ssl",
    "tls",
    "tls_enabled",
    "user",
];

/// The forms in which every broker has the scheme, and the login if there is one, or in which the
/// scheme is the listener's: `kafka://a,kafka://b`, `SASL_SSL://a`.
fn listeners(text: &str) -> Option<String> {
    let (written, rest) = text.split_once("://")?;
    let scheme = match &*written.to_ascii_lowercase() {
        "plaintext" | "sasl_plaintext" => "kafka",
        "sasl_ssl" | "kafka+sasl_ssl" => "kafka+ssl",
        _ => KIND.scheme(written)?.name,
    };
    let separator = format!(",{written}://");
    let mut brokers: Vec<_> = rest.split(&separator).collect();
    let (first, others) = brokers.split_first_mut()?;
    let login = &first[..first.rfind('@').map_or(0, |at| at + 1)];
    for broker in &mut *others {
        *broker = broker.strip_prefix(login).unwrap_or(broker);
    }
    // Another login would be taken for a part of the first.
    let is_clear = !others.iter().any(|broker| broker.contains('@'));
    let is_usual = KIND.scheme(written).is_some_and(|known| known.name == scheme);
    let is_other_form = !others.is_empty() || !is_usual;
    (is_clear && is_other_form).then(|| format!("{scheme}://{}", brokers.join(",")))
}

const ACCESS_DENIED: Reason = reason::ACCESS_DENIED.with_hint(
    "check the user, the password and the mechanism (?sasl_mechanism=…), here and on the broker",
);
const NOT_ALLOWED: Reason =
    reason::ACCESS_DENIED.with_hint("give the user the right to DESCRIBE the topic (kafka-acls)");
const NO_SUCH_MECHANISM: Reason = reason::ACCESS_DENIED
    .with_hint("name a mechanism that the listener has: ?sasl_mechanism=plain, scram-sha-256 or scram-sha-512");
const NO_SASL: Reason = reason::ACCESS_DENIED.with_hint(
    "the listener takes no login: leave out the user, or is this the port of another listener?",
);
const STARTING: Reason = reason::STARTING
    .with_seen("the cluster has no broker yet, or a partition has no leader")
    .with_hint("do all brokers of the cluster run? Their logs have the election of leaders");
const NOT_SERVING: Reason = reason::NOT_SERVING
    .with_seen(
        "there is no controller or no such topic, or a broker is not reached at the address that it \
         advertises",
    )
    .with_hint(
        "set advertised.listeners of the broker to an address that clients reach: in a Compose network \
         the service's name, not localhost",
    );
#[cfg(feature = "kafka")]
const NO_CONTROLLER: Reason = reason::NOT_SERVING.with_hint(
    "do the brokers reach the controllers (controller.quorum.voters), and do most of those run?",
);
const NO_TOPIC: Reason = reason::NOT_SERVING.with_hint(
    "create the topic (kafka-topics --create), or leave it out of the target if the application creates it",
);
const NO_LISTENER: Reason = reason::NOT_SERVING
    .with_hint("does every broker have a listener of this name (listeners, advertised.listeners)?");
/// The server closes connections that should have begun with TLS or a login.
const CLOSED: Reason = reason::CLOSED.with_hint(
    "does the listener ask for TLS (kafka+ssl://) or for a login (kafka://USER:PASSWORD@…)? \
     A published port is open before its container listens",
);
const PROTOCOL: Reason = reason::PROTOCOL
    .with_hint("is this the right port, kafka:// for plain text and kafka+ssl:// for TLS?");
