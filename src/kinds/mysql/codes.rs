//! The meanings of a server's error numbers, which are the same in every version and language of the
//! server; the text is not.

#[cfg(feature = "mysql")]
use super::KIND;
use super::{ACCESS_DENIED, HOST_BLOCKED, TLS_REQUIRED, TOO_MANY_CONNECTIONS, UNKNOWN_DATABASE};
#[cfg(feature = "mysql")]
use crate::probe::NotReady;
use crate::probe::{Reason, reason};

const NOT_SYNCED: &str = "is the node part of its cluster? It serves when wsrep_ready is ON";
const NO_PRIMARY: &str = "has the shard a primary that serves?";
const NO_BACKEND: &str = "does the proxy reach a server of its host group?";
const LOCKED: &str = "the account is locked: ALTER USER … ACCOUNT UNLOCK";
const EXPIRED: &str = "the password has expired: ALTER USER … IDENTIFIED BY …";
const LIMITED: &str = "the account has a limit of its own: ALTER USER … WITH MAX_USER_CONNECTIONS, \
                       or max_user_connections";
const GIVEN_UP: &str = "the network or this machine is too slow for the server's connect_timeout";

/// The errors that have a reason of their own.
pub(super) const CODES: &[(&str, Reason)] = &[
    ("1040", TOO_MANY_CONNECTIONS),
    ("1044", UNKNOWN_DATABASE),
    ("1045", ACCESS_DENIED),
    ("1047", reason::STARTING.with_hint(NOT_SYNCED)),
    ("1049", UNKNOWN_DATABASE),
    ("1053", reason::SHUTTING_DOWN),
    ("1077", reason::SHUTTING_DOWN),
    ("1079", reason::SHUTTING_DOWN),
    ("1105", reason::NOT_SERVING.with_hint(NO_PRIMARY)),
    ("1129", HOST_BLOCKED),
    ("1130", ACCESS_DENIED.with_hint("no account may log in from this host: CREATE USER …@'%', or MYSQL_ROOT_HOST for root")),
    ("1158", reason::CLOSED.with_hint(GIVEN_UP)),
    ("1159", reason::TIMED_OUT.with_hint(GIVEN_UP)),
    ("1160", reason::CLOSED.with_hint(GIVEN_UP)),
    ("1161", reason::TIMED_OUT.with_hint(GIVEN_UP)),
    ("1203", TOO_MANY_CONNECTIONS.with_hint(LIMITED)),
    ("1226", TOO_MANY_CONNECTIONS.with_hint(LIMITED)),
    ("1251", ACCESS_DENIED.with_hint("the server's authentication plugin is older than MySQL 4.1")),
    ("1698", ACCESS_DENIED.with_hint("the account takes no password, but the system user's name at the socket (?socket=)")),
    ("1820", ACCESS_DENIED.with_hint(EXPIRED)),
    ("1862", ACCESS_DENIED.with_hint(EXPIRED)),
    ("1927", reason::SHUTTING_DOWN),
    ("3032", reason::NOT_SERVING.with_hint("the server is in offline_mode")),
    ("3118", ACCESS_DENIED.with_hint(LOCKED)),
    ("3159", TLS_REQUIRED),
    ("3955", ACCESS_DENIED.with_hint(LOCKED)),
    ("4151", ACCESS_DENIED.with_hint(LOCKED)),
    ("9001", reason::NOT_SERVING.with_hint(NO_BACKEND)),
];

/// From an error packet, whatever it was the answer to.
#[cfg(feature = "mysql")]
pub(super) fn not_ready(packet: &[u8]) -> NotReady {
    let (number, message) = parse(packet);
    KIND.error(&number.to_string(), format!("error {number}: {message}"))
}

/// The number and the text. Before the login there is no SQL state between them, and a server that
/// is short of memory may leave out the text.
#[cfg(feature = "mysql")]
fn parse(packet: &[u8]) -> (u16, String) {
    let number = match packet {
        [_, low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    };
    let text = packet.get(3..).unwrap_or_default();
    let text = match text {
        [b'#', sql_state_and_text @ ..] => sql_state_and_text.get(5..).unwrap_or_default(),
        text => text,
    };
    // The longest that MySQL has is 512.
    let text = &text[..text.len().min(512)];
    (number, String::from_utf8_lossy(text).into_owned())
}
