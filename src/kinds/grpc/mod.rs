//! gRPC servers with the standard health service.

#[cfg(feature = "grpc")]
mod health;
#[cfg(feature = "grpc")]
mod probe;
#[cfg(all(test, feature = "grpc"))]
mod tests;

use super::compiled_in;
use crate::probe::{Reason, Retry, reason};
use crate::targets::{Kind, Parameters, Scheme};

pub(super) static KIND: Kind = Kind {
    name: "grpc",
    title: "gRPC",
    schemes: &[Scheme::plain("grpc", 50051), Scheme::tls("grpcs", 443)],
    settings: &[],
    several_hosts: false,
    parameters: Parameters::Known {
        shown: &["socket"],
        others: &[],
    },
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
        &NOT_SERVING,
        &ACCESS_DENIED,
        &reason::SHUTTING_DOWN,
        &reason::TLS_FAILED,
        &SERVER_ERROR,
        &CLOSED,
        &PROTOCOL,
    ],
    // States of the health service, codes of gRPC, statuses of the transport where there is no code of
    // gRPC, and codes of the transport. Those of the transport have the reasons that gRPC's own
    // documentation gives them.
    codes: &[
        ("UNKNOWN", NOT_SERVING),
        ("NOT_SERVING", NOT_SERVING),
        ("SERVICE_UNKNOWN", UNKNOWN_SERVICE),
        ("5", UNKNOWN_SERVICE),
        ("7", ACCESS_DENIED),
        ("12", NO_HEALTH_SERVICE),
        ("14", UNAVAILABLE),
        ("16", ACCESS_DENIED),
        ("401", ACCESS_DENIED),
        ("403", ACCESS_DENIED),
        ("404", NO_HEALTH_SERVICE),
        ("429", UNAVAILABLE),
        ("502", UNAVAILABLE),
        ("503", UNAVAILABLE),
        ("504", UNAVAILABLE),
        ("REFUSED_STREAM", UNAVAILABLE),
    ],
    ready_when: "`Check` of `grpc.health.v1.Health` is answered with SERVING, for the service that the \
                 target names or for the whole server",
    examples: &[
        "grpc://api",
        "grpc://api:8080/shop.v1.Cart",
        "grpc://localhost?socket=/run/api.sock",
        "grpcs://app:secret@api/shop.v1.Cart",
    ],
    parse: compiled_in!("grpc", probe::parse),
};

const NOT_SERVING: Reason = reason::NOT_SERVING
    .with_seen("the server does not report that it is serving")
    .with_hint("the server sets this state itself; its log may have the cause");
const UNKNOWN_SERVICE: Reason = reason::NOT_SERVING.with_hint(
    "is the name the full one (PACKAGE.SERVICE), and does the server set the state of this service?",
);
const UNAVAILABLE: Reason =
    reason::NOT_SERVING.with_hint("does the proxy reach the server behind it, and is that started?");
const ACCESS_DENIED: Reason = reason::ACCESS_DENIED
    .with_seen("the server or a proxy denies the request")
    .with_hint("let the health service answer without a login, or give the target a user and a password");
const SERVER_ERROR: Reason = Reason {
    retry: Retry::Politely,
    ..reason::SERVER_ERROR
};
const NO_HEALTH_SERVICE: Reason = Reason {
    hint: "add the health service (grpc.health.v1) to the server, or wait for its port alone: HOST:PORT",
    permanent: true,
    ..SERVER_ERROR
};

/// The server has had the request.
const CLOSED: Reason = Reason {
    hint: "does the server speak TLS (grpcs://)? A published port is open before its container listens",
    retry: Retry::Politely,
    ..reason::CLOSED
};
const PROTOCOL: Reason = Reason {
    hint: "is this the port of a gRPC server, grpc:// for plain text and grpcs:// for TLS?",
    retry: Retry::Politely,
    ..reason::PROTOCOL
};
