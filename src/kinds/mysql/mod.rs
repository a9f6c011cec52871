//! MySQL and MariaDB.

mod codes;
#[cfg(feature = "mysql")]
mod drivers;
#[cfg(feature = "mysql")]
mod login;
#[cfg(feature = "mysql")]
mod probe;
#[cfg(feature = "mysql")]
mod session;
#[cfg(all(test, feature = "mysql"))]
mod tests;

use super::compiled_in;
use crate::probe::{Reason, Retry, reason};
use crate::targets::{Kind, Parameters, Scheme, Setting};

pub(super) static KIND: Kind = Kind {
    name: "mysql",
    title: "MySQL and MariaDB",
    schemes: &[
        Scheme::plain("mysql", 3306),
        Scheme::plain("mariadb", 3306),
        Scheme::plain("mysql2", 3306),
        Scheme::plain("mysqli", 3306),
        Scheme::plain("mysqlgis", 3306),
        Scheme::plain("mysql-connector", 3306),
        Scheme::plain("pdo-mysql", 3306),
        Scheme::plain("trilogy", 3306),
    ],
    settings: &[
        Setting::User,
        Setting::Password,
        Setting::Database,
        Setting::Query,
    ],
    several_hosts: true,
    parameters: Parameters::Known {
        shown: &["ssl-mode", "socket"],
        others: PARAMETERS,
    },
    #[cfg(feature = "mysql")]
    dialects: drivers::DIALECTS,
    #[cfg(not(feature = "mysql"))]
    dialects: &[],
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
        &HOST_BLOCKED,
        &reason::STARTING,
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
    ready_when: "with a user: the login succeeds, the database is selected, a ping and a statement \
                 are answered, and the query, if there is one, returns a row whose first column is true. \
                 Without a user: the server accepts or denies a login",
    examples: &[
        "mysql://db",
        "mysql://app:secret@db/shop",
        "mariadb://app:secret@db:3307/shop?ssl-mode=REQUIRED",
        "mysql://app:secret@localhost/shop?socket=/run/mysqld/mysqld.sock",
        "mysql://app:secret@db/shop#query=SELECT 1 FROM migrations",
    ],
    parse: compiled_in!("mysql", probe::parse),
};

/// The parameters that mean something to `wait`, besides those that are printed.
const PARAMETERS: &[&str] = &[
    "host",
    "localSocket",
    "requireSSL",
    "socketPath",
    "ssl",
    "ssl-ca",
    "ssl-verify-server-cert",
    "sslMode",
    "ssl_ca",
    "ssl_disabled",
    "ssl_mode",
    "ssl_verify_cert",
    "ssl_verify_identity",
    "sslaccept",
    "sslca",
    "sslcert",
    "sslmode",
    "sslverify",
    "tls",
    "trustServerCertificate",
    "unixSocket",
    "unix_socket",
    "useSSL",
    "useSsl",
    "verifyServerCertificate",
];

const ACCESS_DENIED: Reason = reason::ACCESS_DENIED.with_hint(
    "check the user and password, here and on the server (WAIT_MYSQL_USER, WAIT_MYSQL_PASSWORD or _FILE)",
);
const UNKNOWN_DATABASE: Reason = reason::UNKNOWN_DATABASE.with_hint(
    "create the database and GRANT it to the user, or check its name (WAIT_MYSQL_DATABASE)",
);
const TOO_MANY_CONNECTIONS: Reason = reason::TOO_MANY_CONNECTIONS
    .with_hint("raise max_connections, or find out which clients hold the connections");
const HOST_BLOCKED: Reason = Reason {
    name: "host_blocked",
    seen: "the server has counted too many broken connections from here",
    hint: "on the server: TRUNCATE performance_schema.host_cache, or mariadb-admin flush-hosts",
    retry: Retry::BackOff,
    permanent: false,
};
const TLS_REQUIRED: Reason = reason::TLS_REQUIRED
    .with_seen("the server requires TLS (require_secure_transport), and the target forbids it")
    .with_hint("allow TLS with ?ssl-mode=PREFERRED or REQUIRED");
const TLS_FAILED: Reason =
    reason::TLS_FAILED.with_hint("check the server's certificate, ssl-mode and WAIT_TLS_CA_FILE");
/// [`crate::net::tls::NOTHING_IN_COMMON`] with the setting.
#[cfg(feature = "mysql")]
const NOTHING_IN_COMMON: Reason = reason::TLS_FAILED.with_hint(
    "enable TLS 1.3, or TLS 1.2 with an ECDHE suite, on the server (tls_version, ssl_cipher), or allow \
     none (ssl-mode=PREFERRED); to be verified its key must be RSA, P-256 or P-384",
);
const QUERY_FAILED: Reason =
    reason::QUERY_FAILED.with_hint("have the migrations run, and is the query right (WAIT_MYSQL_QUERY)?");
const QUERY_EMPTY: Reason =
    reason::QUERY_EMPTY.with_hint("have the migrations run, and is the query right (WAIT_MYSQL_QUERY)?");
const PROTOCOL: Reason =
    reason::PROTOCOL.with_hint("is this the right port? The usual one is 3306, and 33060 is another protocol");
