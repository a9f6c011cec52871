//! Why a target is not ready.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use nix::errno::Errno;

/// A reason as the log names it. A kind of target may have its own version of a common reason, with
/// its own hint and its own pacing: see [`Kind::reasons`](crate::targets::Kind::reasons).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Its name in the log.
    pub name: &'static str,
    /// When it is given, for the documentation.
    pub seen: &'static str,
    /// Advice to the user.
    pub hint: &'static str,
    /// How soon the target may be tried again.
    pub retry: Retry,
    /// Whether waiting rarely helps, so that the first occurrence is logged as an error.
    pub permanent: bool,
}

/// How soon a target may be tried again, by what the last attempt cost the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No server has noticed the attempt.
    Soon,
    /// The server has said that it is about to be ready.
    Shortly,
    /// The server has done some work for it.
    Politely,
    /// The server has refused it, and may count that.
    BackOff,
    /// The server has refused the password, and may lock the account.
    Denied,
    /// The server counts it against the host.
    Rarely,
}

impl Reason {
    /// The same reason with another hint.
    #[must_use]
    pub const fn with_hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    /// The same reason with another description.
    #[must_use]
    pub const fn with_seen(self, seen: &'static str) -> Self {
        Self { seen, ..self }
    }
}

/// Declares the reasons: name, pacing, when it is given, hint.
macro_rules! reasons {
    ($($constant:ident $name:literal $retry:ident $($permanent:ident)?: $seen:literal, $hint:literal;)*) => {
        $(
            #[doc = $seen]
            pub const $constant: Reason = Reason {
                name: $name,
                seen: $seen,
                hint: $hint,
                retry: Retry::$retry,
                permanent: reasons!(@ $($permanent)?),
            };
        )*
    };
    (@) => { false };
    (@ permanent) => { true };
}

// The contract's names; a kind's own reasons are in its module.
reasons! {
    UNRESOLVED "unresolved" Politely:
        "there is no such name, or no name server",
        "is the name right, and is its service started and on the same network?";
    REFUSED "refused" Soon:
        "no process listens on the port",
        "is the service started, and is this its port?";
    UNREACHABLE "unreachable" Soon:
        "there is no route to the host",
        "is the host up, and on a network that this one reaches?";
    TIMED_OUT "timed_out" Soon:
        "there is no answer to the step that the line names",
        "is the host up and responding, and does no firewall drop the packets?";
    CLOSED "closed" Soon:
        "the server closes the connection too early",
        "does a server listen on the port? A published port is open before its container listens";
    PROTOCOL "protocol" Politely:
        "the server answers in another protocol",
        "is this the right port, and the right scheme?";
    TLS_FAILED "tls_failed" Rarely permanent:
        "TLS cannot be agreed on, or the certificate is not trusted",
        "check the server's certificate and WAIT_TLS_CA_FILE";
    MISSING "missing" Soon:
        "the path, the socket or the file of a password does not exist",
        "is the volume mounted, and what creates the file?";
    ACCESS_DENIED "access_denied" Denied permanent:
        "the server denies the login",
        "check the user and the password, here and on the server";
    UNKNOWN_DATABASE "unknown_database" BackOff permanent:
        "the login succeeds, but this user has no such database",
        "create the database and give the user access to it, or check its name";
    TOO_MANY_CONNECTIONS "too_many_connections" BackOff:
        "the server or the account has no connection left",
        "raise the server's limit, or find out which clients hold the connections";
    STARTING "starting" Shortly:
        "the server reports that it is still starting",
        "large data takes time to load; the server's log may say more";
    NOT_SERVING "not_serving" Politely:
        "the server runs, but does not serve requests",
        "is the node part of its cluster, and does it reach its primary?";
    SHUTTING_DOWN "shutting_down" BackOff:
        "the server reports that it shuts down",
        "will the server be started again?";
    TLS_REQUIRED "tls_required" BackOff:
        "the server requires TLS, and the target forbids it",
        "allow TLS";
    QUERY_FAILED "query_failed" Politely:
        "the server refuses the query",
        "have the migrations run, and is the query right?";
    QUERY_EMPTY "query_empty" Politely:
        "the query returns no row whose first column is true",
        "have the migrations run, and is the query right?";
    STILL_THERE "still_there" Politely:
        "the target is to be gone (`#gone`), and is there",
        "what ends the service, or removes the file?";
    SERVER_ERROR "server_error" BackOff:
        "the server reports an error that has no other reason",
        "the server's log may say more";
}

/// The reasons that the connection itself can give, for every kind of target.
pub const COMMON: [&Reason; 9] = [
    &UNRESOLVED,
    &REFUSED,
    &UNREACHABLE,
    &TIMED_OUT,
    &CLOSED,
    &PROTOCOL,
    &TLS_FAILED,
    &MISSING,
    &STILL_THERE,
];

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The result of an attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The reason.
    pub reason: Reason,
    /// The observation, for people.
    pub detail: String,
    /// The server's own code for it: an error number, an SQLSTATE, a status.
    pub code: Option<Cow<'static, str>>,
    /// A hint that fits this very target, in the place of the reason's own.
    pub own_hint: Option<Box<str>>,
}

impl NotReady {
    /// A reason and an observation.
    pub fn new(reason: &Reason, detail: impl Into<String>) -> Self {
        Self {
            reason: *reason,
            detail: detail.into(),
            code: None,
            own_hint: None,
        }
    }

    /// The same with the server's code.
    #[must_use]
    pub fn with_code(self, code: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: Some(code.into()),
            ..self
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &str {
        self.own_hint.as_deref().unwrap_or(self.reason.hint)
    }

    /// Whether it is because nothing is there. What has a hint of its own is about another thing: the
    /// name server, or the file of a password.
    pub(crate) fn is_absence(&self) -> bool {
        let reasons = [&REFUSED, &UNRESOLVED, &MISSING];
        self.own_hint.is_none() && reasons.iter().any(|reason| self.is(reason))
    }

    /// The same with a hint of its own.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<Box<str>>) -> Self {
        Self {
            own_hint: Some(hint.into()),
            ..self
        }
    }

    /// Whether the reason is this one, in whichever kind's version.
    pub fn is(&self, reason: &Reason) -> bool {
        self.reason.name == reason.name
    }

    /// From an error of a socket.
    pub(crate) fn from_io(error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => &REFUSED,
            io::ErrorKind::TimedOut => &TIMED_OUT,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => &CLOSED,
            io::ErrorKind::InvalidData => &PROTOCOL,
            // No route, no such network, forbidden by a firewall here, no descriptor left: the
            // host cannot be reached, and the detail is the cause.
            _ => &UNREACHABLE,
        };
        let detail = match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).desc().to_owned(),
            None => error.to_string(),
        };
        Self::new(reason, detail)
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl Error for NotReady {}
