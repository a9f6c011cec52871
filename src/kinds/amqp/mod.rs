//! RabbitMQ and other servers of AMQP 0-9-1.

#[cfg(feature = "amqp")]
mod drivers;
#[cfg(feature = "amqp")]
mod probe;
#[cfg(feature = "amqp")]
mod session;
#[cfg(all(test, feature = "amqp"))]
mod tests;

use super::compiled_in;
use crate::probe::{Reason, Retry, reason};
use crate::targets::{Kind, Parameters, Scheme, Setting};

pub(super) static KIND: Kind = Kind {
    name: "amqp",
    title: "RabbitMQ (AMQP 0-9-1)",
    schemes: &[
        Scheme::plain("amqp", 5672),
        Scheme::plain("pyamqp", 5672),
        Scheme::plain("librabbitmq", 5672),
        Scheme::plain("rabbitmq", 5672),
        Scheme::tls("amqps", 5671),
        Scheme::tls("rabbitmqs", 5671),
    ],
    settings: &[Setting::User, Setting::Password, Setting::Database],
    several_hosts: true,
    parameters: Parameters::Known {
        shown: &[],
        others: PARAMETERS,
    },
    #[cfg(feature = "amqp")]
    dialects: drivers::DIALECTS,
    #[cfg(not(feature = "amqp"))]
    dialects: &[],
    options: &[
        "user",
        "queue",
        "tls",
        "ca-file",
        "cert-file",
        "key-file",
        "password-file",
        "password-env",
    ],
    reasons: &[
        &ACCESS_DENIED,
        &UNKNOWN_VIRTUAL_HOST,
        &TOO_MANY_CONNECTIONS,
        &reason::NOT_SERVING,
        &reason::SHUTTING_DOWN,
        &TLS_REQUIRED,
        &TLS_FAILED,
        &reason::SERVER_ERROR,
        &PROTOCOL,
    ],
    codes: &[
        ("320", reason::SHUTTING_DOWN),
        ("402", UNKNOWN_VIRTUAL_HOST),
        ("403", ACCESS_DENIED),
        ("404", NO_QUEUE),
        ("405", EXCLUSIVE_QUEUE),
        ("506", NO_RESOURCES),
    ],
    ready_when: "with a user: the login succeeds, the connection to the virtual host is opened and then \
                 closed properly, and the queue, if one is named, is there. Without a user: the server \
                 offers to start a connection",
    examples: &[
        "amqp://mq",
        "amqp://app:secret@mq/shop",
        "amqps://app:secret@mq:5671/%2F",
        "amqp://app:secret@mq-1,mq-2:5673/shop",
        "amqp://app:secret@mq/shop#queue=jobs",
    ],
    parse: compiled_in!("amqp", probe::parse),
};

/// The parameters that mean something to `wait`.
const PARAMETERS: &[&str] = &[
    "auth_mechanism",
    "ca_certs",
    "cacert",
    "cacertfile",
    "cert",
    "certfile",
    "channelMax",
    "channel_max",
    "frameMax",
    "frame_max",
    "key",
    "keyfile",
    "login_method",
    "server_name_indication",
    "ssl",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_keyfile",
    "verify",
];

const ACCESS_DENIED: Reason = reason::ACCESS_DENIED.with_hint(
    "check the user and password, here and on the server (WAIT_AMQP_USER, WAIT_AMQP_PASSWORD or _FILE)",
);
const UNKNOWN_VIRTUAL_HOST: Reason = reason::UNKNOWN_DATABASE
    .with_seen("the login succeeds, but this user has no such virtual host")
    .with_hint("create the virtual host (rabbitmqctl add_vhost), or check its name (WAIT_AMQP_DATABASE)");
const TOO_MANY_CONNECTIONS: Reason = reason::TOO_MANY_CONNECTIONS
    .with_seen("the server, the virtual host or the user has no connection left")
    .with_hint("raise the limit that the server names, or find out which clients hold the connections");
/// The server writes an error into its log for each attempt, and not only for ours.
const NO_QUEUE: Reason = Reason {
    retry: Retry::BackOff,
    ..reason::NOT_SERVING.with_hint("which service declares the queue, and in this virtual host?")
};
const EXCLUSIVE_QUEUE: Reason = Reason {
    retry: Retry::BackOff,
    ..reason::NOT_SERVING.with_hint("an exclusive queue serves only the connection that has declared it")
};
const NO_RESOURCES: Reason =
    reason::NOT_SERVING.with_hint("the server lacks resources; its log has the cause");
const TLS_REQUIRED: Reason = reason::TLS_REQUIRED
    .with_seen("the port is one with TLS, and the target's scheme is not")
    .with_hint("write amqps://, or take the port without TLS, which usually is 5672");
const TLS_FAILED: Reason = reason::TLS_FAILED
    .with_hint("check the server's certificate and WAIT_TLS_CA_FILE; the usual port with TLS is 5671");
const PROTOCOL: Reason =
    reason::PROTOCOL.with_hint("is this the right port? The usual ones are 5672, and 5671 with TLS");
