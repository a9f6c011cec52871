//! PostgreSQL, and poolers that speak its protocol.

mod codes;
#[cfg(feature = "postgres")]
mod drivers;
#[cfg(feature = "postgres")]
mod login;
#[cfg(feature = "postgres")]
mod probe;
#[cfg(feature = "postgres")]
mod session;
#[cfg(all(test, feature = "postgres"))]
mod tests;

use super::compiled_in;
use crate::probe::{Reason, reason};
use crate::targets::{Kind, Parameters, Scheme, Setting};

pub(super) static KIND: Kind = Kind {
    name: "postgres",
    title: "PostgreSQL",
    schemes: &[
        Scheme::plain("postgres", 5432),
        Scheme::plain("postgresql", 5432),
        Scheme::plain("pdo-pgsql", 5432),
        Scheme::plain("pgsql", 5432),
        Scheme::plain("pgx", 5432),
        Scheme::plain("postgis", 5432),
        Scheme::plain("psql", 5432),
        Scheme::plain("timescale", 5432),
        Scheme::plain("timescalegis", 5432),
    ],
    settings: &[
        Setting::User,
        Setting::Password,
        Setting::Database,
        Setting::Query,
    ],
    parameters: Parameters::Known {
        shown: &["sslmode", "target_session_attrs", "socket"],
        others: PARAMETERS,
    },
    #[cfg(feature = "postgres")]
    dialects: drivers::DIALECTS,
    #[cfg(not(feature = "postgres"))]
    dialects: &[],
    several_hosts: true,
    options: &[
        "user",
        "query",
        "tls",
        "ca-file",
        "cert-file",
        "key-file",
        "password-file",
        "password-env",
        "cleartext",
    ],
    reasons: &[
        &ACCESS_DENIED,
        &UNKNOWN_DATABASE,
        &TOO_MANY_CONNECTIONS,
        &STARTING,
        &reason::NOT_SERVING,
        &reason::SHUTTING_DOWN,
        &TLS_REQUIRED,
        &TLS_FAILED,
        &QUERY_FAILED,
        &QUERY_EMPTY,
        &reason::SERVER_ERROR,
        &PROTOCOL,
    ],
    codes: codes::CODES,
    ready_when: "with a user: the login succeeds, a statement is answered, and the query, if there is \
                 one, returns a row whose first column is true. Without a user: the server decides a \
                 login, or asks for a password",
    examples: &[
        "postgres://db",
        "postgres://app:secret@db/shop",
        "postgresql://app:secret@db:5433/shop?sslmode=require",
        "postgres://app:secret@one,two:5433/shop?target_session_attrs=read-write",
        "postgres://app:secret@localhost/shop?socket=/run/postgresql",
        "postgres://app:secret@db/shop#query=SELECT 1 FROM migrations",
    ],
    parse: compiled_in!("postgres", probe::parse),
};

/// The parameters that mean something to `wait`, besides those that are printed. Those for the host,
/// the port and the database are part of the forms that [`drivers`] rewrites.
const PARAMETERS: &[&str] = &[
    "channelBinding",
    "channel_binding",
    "requireAuth",
    "require_auth",
    "requiressl",
    "ssl",
    "sslCert",
    "sslKey",
    "sslMode",
    "sslNegotiation",
    "sslRootCert",
    "sslaccept",
    "sslcert",
    "sslfactory",
    "sslkey",
    "sslnegotiation",
    "sslrootcert",
    "targetServerType",
    "uselibpqcompat",
];

const ACCESS_DENIED: Reason = reason::ACCESS_DENIED.with_hint(
    "check the user and password, here and on the server (WAIT_POSTGRES_USER, WAIT_POSTGRES_PASSWORD or _FILE)",
);
const UNKNOWN_DATABASE: Reason = reason::UNKNOWN_DATABASE.with_hint(
    "create the database and GRANT CONNECT on it to the user, or check its name (WAIT_POSTGRES_DATABASE)",
);
const TOO_MANY_CONNECTIONS: Reason = reason::TOO_MANY_CONNECTIONS
    .with_hint("raise max_connections, or find out which clients hold the connections");
const STARTING: Reason = reason::STARTING.with_hint(
    "the server starts, recovers, or is a standby that accepts no connections yet; its log may say more",
);
const TLS_REQUIRED: Reason = reason::TLS_REQUIRED.with_hint("allow TLS with ?sslmode=prefer or require");
const TLS_FAILED: Reason =
    reason::TLS_FAILED.with_hint("check the server's certificate, sslmode and WAIT_TLS_CA_FILE");
const QUERY_FAILED: Reason =
    reason::QUERY_FAILED.with_hint("have the migrations run, and is the query right (WAIT_POSTGRES_QUERY)?");
const QUERY_EMPTY: Reason =
    reason::QUERY_EMPTY.with_hint("have the migrations run, and is the query right (WAIT_POSTGRES_QUERY)?");
const PROTOCOL: Reason = reason::PROTOCOL.with_hint("is this the right port? The usual one is 5432");
