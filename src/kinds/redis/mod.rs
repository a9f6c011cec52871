//! Redis and Valkey.

#[cfg(feature = "redis")]
mod drivers;
#[cfg(feature = "redis")]
mod probe;
#[cfg(all(test, feature = "redis"))]
mod tests;

use super::compiled_in;
use crate::probe::{Reason, reason};
use crate::targets::{Kind, Parameters, Scheme, Setting};

pub(super) static KIND: Kind = Kind {
    name: "redis",
    title: "Redis and Valkey",
    schemes: &[
        Scheme::plain("redis", 6379),
        Scheme::tls("rediss", 6379),
        Scheme::plain("valkey", 6379),
        Scheme::tls("valkeys", 6379),
    ],
    settings: &[Setting::User, Setting::Password, Setting::Database],
    several_hosts: false,
    parameters: Parameters::Known {
        shown: &["db"],
        others: &[
            "ssl",
            "tls",
            "skip_verify",
            "ssl[verify_peer]",
            "ssl_ca_certs",
            "ssl_cert_reqs",
            "ssl_check_hostname",
        ],
    },
    #[cfg(feature = "redis")]
    dialects: &[drivers::socket, drivers::stack_exchange],
    #[cfg(not(feature = "redis"))]
    dialects: &[],
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
        &UNKNOWN_DATABASE,
        &TOO_MANY_CONNECTIONS,
        &reason::STARTING,
        &reason::NOT_SERVING,
        &reason::TLS_FAILED,
        &reason::SERVER_ERROR,
        &PROTOCOL,
    ],
    codes: &[
        ("LOADING", reason::STARTING),
        ("MASTERDOWN", NO_PRIMARY),
        ("BUSY", BUSY),
        ("MISCONF", NO_SNAPSHOT),
        ("WRONGPASS", ACCESS_DENIED),
        ("NOAUTH", ACCESS_DENIED),
        ("NOPERM", ACCESS_DENIED),
        ("DENIED", PROTECTED),
    ],
    ready_when: "PING is answered, after AUTH and SELECT if the target has a password and a database. \
                 Without a password, a server that asks for one is ready too",
    examples: &[
        "redis://cache",
        "redis://:secret@cache:6379/2",
        "rediss://app:secret@cache?db=1",
        "valkey://app:secret@cache/0",
    ],
    parse: compiled_in!("redis", probe::parse),
};

const ACCESS_DENIED: Reason = reason::ACCESS_DENIED.with_hint(
    "check the user and password, here and on the server (WAIT_REDIS_USER, WAIT_REDIS_PASSWORD or _FILE)",
);
const PROTECTED: Reason =
    reason::ACCESS_DENIED.with_hint("give the server a password, or let it bind to this network");
const UNKNOWN_DATABASE: Reason = reason::UNKNOWN_DATABASE
    .with_seen("the server has no database of this number")
    .with_hint("raise the server's `databases`, or check the number (WAIT_REDIS_DATABASE)");
const TOO_MANY_CONNECTIONS: Reason = reason::TOO_MANY_CONNECTIONS
    .with_hint("raise maxclients, or find out which clients hold the connections");
const NO_PRIMARY: Reason =
    reason::NOT_SERVING.with_hint("does the replica reach its primary (replica-serve-stale-data)?");
const BUSY: Reason = reason::NOT_SERVING.with_hint("a script blocks the server: SCRIPT KILL");
const NO_SNAPSHOT: Reason =
    reason::NOT_SERVING.with_hint("the server cannot write its snapshot; its log has the cause");
const PROTOCOL: Reason =
    reason::PROTOCOL.with_hint("is this the right port, redis:// for plain text and rediss:// for TLS?");
