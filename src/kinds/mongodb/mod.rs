//! MongoDB.

#[cfg(feature = "mongodb")]
mod bson;
#[cfg(feature = "mongodb")]
mod login;
#[cfg(feature = "mongodb")]
mod options;
#[cfg(feature = "mongodb")]
mod probe;
#[cfg(feature = "mongodb")]
mod seeds;
#[cfg(feature = "mongodb")]
mod session;
#[cfg(all(test, feature = "mongodb"))]
mod tests;
#[cfg(feature = "mongodb")]
mod topology;

use super::compiled_in;
use crate::probe::{Reason, reason};
use crate::targets::{Kind, Parameters, Scheme, Setting};

pub(super) static KIND: Kind = Kind {
    name: "mongodb",
    title: "MongoDB",
    schemes: &[
        Scheme::plain("mongodb", 27017).encoded(),
        Scheme::tls("mongodb+srv", 27017).encoded().service(),
    ],
    settings: &[Setting::User, Setting::Password, Setting::Database],
    several_hosts: true,
    parameters: Parameters::Known {
        shown: &[
            "authSource",
            "directConnection",
            "loadBalanced",
            "readPreference",
            "replicaSet",
            "socket",
            "tls",
        ],
        others: PARAMETERS,
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
        &ACCESS_DENIED,
        &reason::STARTING,
        &NO_PRIMARY,
        &reason::SHUTTING_DOWN,
        &CLOSED,
        &TLS_REQUIRED,
        &reason::TLS_FAILED,
        &reason::SERVER_ERROR,
        &PROTOCOL,
    ],
    codes: &[
        ("6", NO_SHARD),
        ("7", NO_SHARD),
        ("11", ACCESS_DENIED),
        ("13", NO_ROLE),
        ("18", ACCESS_DENIED),
        ("89", NO_SHARD),
        ("91", reason::SHUTTING_DOWN),
        ("94", NOT_INITIATED),
        ("133", NO_SHARD),
        ("134", reason::STARTING),
        ("189", NO_PRIMARY),
        ("202", NO_SHARD),
        ("211", reason::STARTING),
        ("334", NO_MECHANISM),
        ("8000", ACCESS_DENIED), // Atlas
        ("10058", NO_PRIMARY),
        ("10107", NO_PRIMARY),
        ("11600", reason::SHUTTING_DOWN),
        ("11602", NO_PRIMARY),
        ("13435", NO_PRIMARY),
        ("13436", reason::STARTING),
    ],
    ready_when: "a server answers `hello` that the driver would choose: of a replica set the primary, or \
                 another member if readPreference allows it. With a user: the login succeeds, and a \
                 command after it",
    examples: &[
        "mongodb://mongo",
        "mongodb://app:secret@mongo/shop?authSource=admin",
        "mongodb://app:secret@a,b:27018/shop?replicaSet=rs0",
        "mongodb://mongo/?directConnection=true",
        "mongodb+srv://app:secret@cluster.example.com/shop",
    ],
    parse: compiled_in!("mongodb", probe::parse),
};

/// The other options of drivers. Those that mean nothing to `wait` are here too, so that the URL of an
/// application can be copied.
const PARAMETERS: &[&str] = &[
    "appName",
    "authMechanism",
    "authMechanismProperties",
    "compressors",
    "connectTimeoutMS",
    "heartbeatFrequencyMS",
    "journal",
    "localThresholdMS",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "maxStalenessSeconds",
    "minPoolSize",
    "readConcernLevel",
    "readPreferenceTags",
    "retryReads",
    "retryWrites",
    "serverMonitoringMode",
    "serverSelectionTimeoutMS",
    "socketTimeoutMS",
    "srvMaxHosts",
    "srvServiceName",
    "ssl",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsCertificateKeyFilePassword",
    "tlsInsecure",
    "uuidRepresentation",
    "w",
    "waitQueueTimeoutMS",
    "wtimeoutMS",
    "zlibCompressionLevel",
];

const ACCESS_DENIED: Reason = reason::ACCESS_DENIED.with_hint(
    "check the user, password and authSource, here and on the server (WAIT_MONGODB_USER, \
     WAIT_MONGODB_PASSWORD or _FILE)",
);
const NO_ROLE: Reason = reason::ACCESS_DENIED
    .with_hint("give the user a role in the database (db.grantRolesToUser), or check its name");
const NO_MECHANISM: Reason = reason::ACCESS_DENIED
    .with_hint("check authMechanism, and the server's authenticationMechanisms");
const NO_PRIMARY: Reason = reason::NOT_SERVING
    .with_seen("a replica set is not initiated or has no primary, or no member that readPreference allows")
    .with_hint("do the members of the replica set reach each other (rs.status())?");
const NOT_INITIATED: Reason =
    reason::NOT_SERVING.with_hint("initiate the replica set: rs.initiate()");
const NO_SHARD: Reason =
    reason::NOT_SERVING.with_hint("does mongos reach the config servers and the shards?");
const TLS_REQUIRED: Reason = reason::TLS_REQUIRED.with_hint("add tls=true to the target");
const CLOSED: Reason = reason::CLOSED.with_hint(
    "does the server require TLS (?tls=true), and has it connections left (maxIncomingConnections)?",
);
const PROTOCOL: Reason =
    reason::PROTOCOL.with_hint("is this the port of MongoDB, 3.6 or newer? The usual one is 27017");
