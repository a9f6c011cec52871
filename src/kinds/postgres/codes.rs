//! The meanings of SQLSTATEs, which are the same in every version and language of the server; the text
//! is not. PgBouncer has one SQLSTATE for nearly everything, and a text that is never translated.

#[cfg(feature = "postgres")]
use super::{ACCESS_DENIED, KIND, TLS_REQUIRED};
use super::{QUERY_FAILED, STARTING, TOO_MANY_CONNECTIONS, UNKNOWN_DATABASE};
#[cfg(feature = "postgres")]
use crate::probe::NotReady;
use crate::probe::{Reason, reason};

const READ_ONLY: &str = "is it a standby? Name the primary, or add target_session_attrs=read-write";
const NO_CONNECTIONS: &str = "ALTER DATABASE … ALLOW_CONNECTIONS true";
#[cfg(feature = "postgres")]
const ROLE: &str =
    "CREATE ROLE … LOGIN on the server, or check the name of the user (WAIT_POSTGRES_USER)";
#[cfg(feature = "postgres")]
const HBA: &str =
    "add a line for this user, database, address and use of TLS to the server's pg_hba.conf, and reload it";
#[cfg(feature = "postgres")]
const POOLER: &str = "does the pooler reach its server, and does it log in there? Its log may say more";

/// PgBouncer gives the same answer for both.
#[cfg(feature = "postgres")]
const POOL: &str =
    "the pooler does not reach its server, or its pool is full; its log may say more";

/// The errors that have a reason of their own.
pub(super) const CODES: &[(&str, Reason)] = &[
    ("25006", reason::NOT_SERVING.with_hint(READ_ONLY)),
    ("28000", super::ACCESS_DENIED),
    ("28P01", super::ACCESS_DENIED),
    ("3D000", UNKNOWN_DATABASE),
    ("42501", UNKNOWN_DATABASE),
    ("53300", TOO_MANY_CONNECTIONS),
    ("55000", reason::NOT_SERVING.with_hint(NO_CONNECTIONS)),
    ("55P03", QUERY_FAILED.with_hint("another session holds a lock: is a migration under way?")),
    ("57014", QUERY_FAILED.with_hint("the query takes longer than the wait, or than a limit of the server")),
    ("57P01", reason::SHUTTING_DOWN),
    ("57P02", reason::SHUTTING_DOWN),
    ("57P03", STARTING),
    ("57P04", UNKNOWN_DATABASE),
];

/// PgBouncer's SQLSTATE: a violation of the protocol.
#[cfg(feature = "postgres")]
const OF_POOLERS: &str = "08P01";

/// The meanings of PgBouncer's texts by the words in them, the first that fits.
#[cfg(feature = "postgres")]
const POOLER_TEXTS: &[(&str, Reason)] = &[
    ("no such database", UNKNOWN_DATABASE),
    ("max_client_conn", TOO_MANY_CONNECTIONS),
    ("query_wait_timeout", reason::NOT_SERVING.with_hint(POOL)),
    ("TLS connection required", TLS_REQUIRED),
    ("SSL required", TLS_REQUIRED),
    ("exiting", reason::SHUTTING_DOWN),
    ("shut", reason::SHUTTING_DOWN),
    ("server login", reason::NOT_SERVING.with_hint(POOLER)),
    ("server down", reason::NOT_SERVING.with_hint(POOLER)),
    ("server DNS lookup failed", reason::NOT_SERVING.with_hint(POOLER)),
    ("server conn", reason::NOT_SERVING.with_hint(POOLER)),
    ("connect", reason::NOT_SERVING.with_hint(POOLER)),
    ("disabled", reason::NOT_SERVING.with_hint(POOLER)),
    ("no such user", ACCESS_DENIED),
    ("authentication failed", ACCESS_DENIED),
    ("login rejected", ACCESS_DENIED),
];

/// The functions of the server's that report an error, where the SQLSTATE alone says too little: they
/// are the same in every language.
#[cfg(feature = "postgres")]
const ROUTINES: &[(&str, &str, &str)] = &[
    ("28000", "ClientAuthentication", HBA),
    ("28000", "InitializeSessionUserId", ROLE),
];

/// From an ErrorResponse, whatever it was the answer to.
#[cfg(feature = "postgres")]
pub(super) fn not_ready(body: &[u8]) -> NotReady {
    let field = |name| field(body, name).unwrap_or_default();
    let (code, text, routine) = (field(b'C'), field(b'M'), field(b'R'));
    let detail = format!("error {code}: {text}");
    let known = || POOLER_TEXTS.iter().find(|(words, _)| text.contains(words));
    if code == OF_POOLERS && let Some((_, reason)) = known() {
        return NotReady::new(reason, detail).with_code(code);
    }
    let why = KIND.error(&code, detail);
    let found = ROUTINES
        .iter()
        .find(|(of, name, _)| *of == code && *name == routine);
    match found {
        Some((.., hint)) => why.with_hint(*hint),
        None => why,
    }
}

/// The longest text that is kept of a field, in bytes.
#[cfg(feature = "postgres")]
const LONGEST_FIELD: usize = 512;

/// A field of an ErrorResponse: a byte that names it and a text that ends in a zero.
#[cfg(feature = "postgres")]
pub(super) fn field(body: &[u8], name: u8) -> Option<String> {
    let mut fields = body.split(|byte| *byte == 0);
    let text = fields.find_map(|field| field.strip_prefix(&[name]))?;
    Some(String::from_utf8_lossy(&text[..text.len().min(LONGEST_FIELD)]).into_owned())
}
