//! What a server's error means. The number is the same in every version and language of the
//! server; the text is not.

use crate::probe::{NotReady, Reason};

/// What an error number means and what helps.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// The server's number for it.
    pub number: u16,
    /// The kind of trouble that it is.
    pub reason: Reason,
    /// What the user can do about it, where the reason's own hint says less.
    pub hint: Option<&'static str>,
}

const fn meaning(number: u16, reason: Reason) -> Meaning {
    Meaning {
        number,
        reason,
        hint: None,
    }
}

const fn with_hint(number: u16, reason: Reason, hint: &'static str) -> Meaning {
    Meaning {
        number,
        reason,
        hint: Some(hint),
    }
}

const LOCKED: &str = "ALTER USER … ACCOUNT UNLOCK, and see what locked it";
const EXPIRED: &str = "the password has expired: ALTER USER … IDENTIFIED BY …";
const LIMITED: &str = "the account has a limit of its own: ALTER USER … WITH MAX_USER_CONNECTIONS, \
                       or max_user_connections";
const GIVEN_UP: &str = "the network or this machine is too slow for the server's connect_timeout";

/// The errors that say more than that something is wrong with the server; the others are
/// `server_error`.
pub const MEANINGS: &[Meaning] = &[
    meaning(1040, Reason::TooManyConnections),
    meaning(1044, Reason::UnknownDatabase),
    meaning(1045, Reason::AccessDenied),
    meaning(1049, Reason::UnknownDatabase),
    meaning(1053, Reason::ShuttingDown),
    meaning(1077, Reason::ShuttingDown),
    meaning(1079, Reason::ShuttingDown),
    meaning(1129, Reason::HostBlocked),
    with_hint(
        1130,
        Reason::AccessDenied,
        "no account may log in from this host: CREATE USER …@'%', or MYSQL_ROOT_HOST for root",
    ),
    with_hint(1158, Reason::Closed, GIVEN_UP),
    with_hint(1159, Reason::TimedOut, GIVEN_UP),
    with_hint(1160, Reason::Closed, GIVEN_UP),
    with_hint(1161, Reason::TimedOut, GIVEN_UP),
    with_hint(1203, Reason::TooManyConnections, LIMITED),
    with_hint(1226, Reason::TooManyConnections, LIMITED),
    with_hint(
        1251,
        Reason::AccessDenied,
        "the server's way to log in is older than MySQL 4.1",
    ),
    with_hint(
        1698,
        Reason::AccessDenied,
        "the account takes no password, but the system user's name at the socket (?socket=)",
    ),
    with_hint(1820, Reason::AccessDenied, EXPIRED),
    with_hint(1862, Reason::AccessDenied, EXPIRED),
    meaning(1927, Reason::ShuttingDown),
    with_hint(3118, Reason::AccessDenied, LOCKED),
    meaning(3159, Reason::TlsRequired),
    with_hint(3955, Reason::AccessDenied, LOCKED),
    with_hint(4151, Reason::AccessDenied, LOCKED),
];

/// From an error packet, whatever it was the answer to.
pub(super) fn not_ready(packet: &[u8]) -> NotReady {
    let (number, message) = parse(packet);
    let meaning = MEANINGS.iter().find(|meaning| meaning.number == number);
    let (reason, hint) = match meaning {
        Some(meaning) => (meaning.reason, meaning.hint),
        None => (Reason::ServerError(number), None),
    };
    NotReady {
        reason,
        detail: format!("error {number}: {message}"),
        hint: hint.unwrap_or(reason.hint()),
    }
}

/// The number and the text. Before the login there is no SQL state between them, and a server that
/// is short of memory may leave out the text.
fn parse(packet: &[u8]) -> (u16, String) {
    let number = match packet {
        [_, low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    };
    let text = packet.get(3..).unwrap_or_default();
    let text = match text {
        [b'#', _, _, _, _, _, text @ ..] => text,
        text => text,
    };
    // The longest that MySQL has is 512.
    let text = &text[..text.len().min(512)];
    (number, String::from_utf8_lossy(text).into_owned())
}
