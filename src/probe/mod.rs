//! One attempt at one target: ready, or why not.
#![forbid(unsafe_code)]

mod connect;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "mysql")]
pub mod mysql;
mod path;
pub mod resolve;
#[cfg(feature = "tls")]
pub mod tls;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
#[cfg(fuzzing)]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};

use crate::target::Target;
use resolve::Names;
#[cfg(feature = "tls")]
use tls::Trust;

/// What all attempts share.
#[derive(Debug, Default)]
pub struct Probe {
    /// How names become addresses.
    pub names: Names,
    /// The statement that must return a row, on every MySQL target.
    pub mysql_query: Option<String>,
    /// What certificates are verified against.
    #[cfg(feature = "tls")]
    pub trust: Trust,
}

impl Probe {
    /// Makes one attempt. It has no deadline of its own: drop it when its time is up, and
    /// `progress` says what it was doing.
    ///
    /// # Errors
    /// Why the target is not ready.
    pub async fn attempt(
        &self,
        target: &Target,
        overlap: &Overlap,
        progress: &Progress,
    ) -> Result<(), NotReady> {
        match target {
            Target::Tcp(endpoint) => {
                connect::tcp(&self.names, endpoint, overlap, progress).await?;
                Ok(())
            }
            Target::Path(path) => path::attempt(path, overlap, progress).await,
            #[cfg(feature = "mysql")]
            Target::MySql(mysql) => mysql::attempt(self, mysql, overlap, progress).await,
            #[cfg(feature = "http")]
            Target::Http(http) => http::attempt(self, http, overlap, progress).await,
            #[cfg(not(feature = "http"))]
            Target::Http(_) => Err(NotReady::new(Reason::Protocol, "not in this build")),
            #[cfg(not(feature = "mysql"))]
            Target::MySql(_) => Err(NotReady::new(Reason::Protocol, "not in this build")),
        }
    }

    /// Makes one attempt over a connection that is there already, with a fuzzer at its other end.
    /// A MySQL target with a socket is talked to as through one, any other as over a private
    /// network.
    ///
    /// # Errors
    /// Why the target is not ready.
    #[cfg(fuzzing)]
    pub async fn converse(
        &self,
        target: &Target,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        progress: &Progress,
    ) -> Result<(), NotReady> {
        match target {
            Target::Tcp(_) | Target::Path(_) => Ok(()),
            Target::MySql(mysql) => {
                let transport = match mysql.socket {
                    Some(_) => mysql::Transport::Local,
                    None => mysql::Transport::Private,
                };
                mysql::converse(Box::new(stream), transport, self, mysql, progress).await
            }
            Target::Http(http) => http::converse(Box::new(stream), self, http, progress).await,
        }
    }
}

/// What a look at a path or the C library's look-up of a name needs, in bytes.
const STACK: usize = 256 * 1024;

/// What may go on side by side for one target, so that what hangs does not hold up what would not.
#[derive(Clone, Debug)]
pub struct Overlap {
    /// How long to hear nothing before another look-up and connect is begun beside those that hang.
    pub pace: Duration,
    /// How many descriptors all of them may have together, about.
    descriptors: usize,
    /// One permit for every thread that may be stuck.
    threads: Arc<Semaphore>,
}

impl Overlap {
    /// The most that may go on at once.
    const MOST: usize = 8;
    /// The most descriptors that a target is meant to have, so that one that never answers stays
    /// below 64.
    const MOST_DESCRIPTORS: usize = 57;
    /// The shortest [`pace`](Self::pace).
    pub const SHORTEST_PACE: Duration = Duration::from_millis(80);

    /// For a target with room for so many descriptors.
    pub fn new(descriptors: usize) -> Self {
        Self {
            pace: Self::SHORTEST_PACE,
            descriptors: descriptors.min(Self::MOST_DESCRIPTORS),
            threads: Arc::new(Semaphore::new(Self::MOST)),
        }
    }

    /// How many may go on at once where each has so many descriptors at most.
    fn most(&self, descriptors_each: usize) -> usize {
        (self.descriptors / descriptors_each).clamp(1, Self::MOST)
    }

    /// Does what cannot be cancelled on a thread of its own: a dead network file system, say, must
    /// not hold up the deadline.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        // Never closed; while earlier threads are stuck this waits, as long as the attempt may take.
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (tell, told) = oneshot::channel();
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let _ = tell.send(work()); // nobody may be waiting any more
            drop(permit);
        })?;
        told.await.map_err(io::Error::other)?
    }
}

impl Default for Overlap {
    /// For a target that is alone.
    fn default() -> Self {
        Self::new(Self::MOST_DESCRIPTORS)
    }
}

/// What is known of an attempt while it is under way.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    doing: &'static str,
    warning: Option<&'static str>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, doing: &'static str) {
        self.state().doing = doing;
    }

    #[cfg(feature = "mysql")]
    fn warn(&self, warning: &'static str) {
        self.state().warning = Some(warning);
    }

    /// What the attempt is doing at the moment, in words that go behind "while".
    pub fn doing(&self) -> &'static str {
        self.state().doing
    }

    /// What the user should know of how it was done.
    pub fn warning(&self) -> Option<&'static str> {
        self.state().warning
    }
}

/// Why a target is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct NotReady {
    /// The kind of trouble.
    pub reason: Reason,
    /// What was seen, for people.
    pub detail: String,
    /// What they can do about it.
    pub hint: &'static str,
}

impl NotReady {
    /// Puts a reason, with its own hint, and what was seen together.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            hint: reason.hint(),
        }
    }

    /// From what a socket said.
    fn from_io(error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => Reason::Refused,
            io::ErrorKind::TimedOut => Reason::TimedOut,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Reason::Closed,
            io::ErrorKind::InvalidData => Reason::Protocol,
            // No route, no such network, forbidden by a firewall here, no descriptor left: the
            // host cannot be reached, and the detail says why.
            _ => Reason::Unreachable,
        };
        let detail = match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).desc().to_owned(),
            None => error.to_string(),
        };
        Self::new(reason, detail)
    }

    /// From a connection that broke.
    #[cfg(feature = "tls")]
    fn broken(error: &io::Error, progress: &Progress) -> Self {
        let (why, doing) = (Self::from_io(error), progress.doing());
        match error.get_ref() {
            // Even after the handshake, as when a certificate of ours is demanded.
            Some(inner) if inner.is::<rustls::Error>() => {
                Self::new(Reason::TlsFailed, format!("{inner} while {doing}"))
            }
            _ if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::new(why.reason, format!("the server hung up while {doing}"))
            }
            _ => Self::new(why.reason, format!("{} while {doing}", why.detail)),
        }
    }
}

/// The kinds of trouble that a target can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No such name, or nobody who could say.
    Unresolved,
    /// Nothing listens on the port.
    Refused,
    /// No way to the host.
    Unreachable,
    /// No answer.
    TimedOut,
    /// Hung up in the middle.
    Closed,
    /// Answers, but not in this protocol.
    Protocol,
    /// The server does not take this login.
    AccessDenied,
    /// There is no such database, or not for this user.
    UnknownDatabase,
    /// The server has no room for a connection.
    TooManyConnections,
    /// The server shuts out this host for its failed connections.
    HostBlocked,
    /// The server is going down.
    ShuttingDown,
    /// The server takes no login without TLS.
    TlsRequired,
    /// No TLS, or not with this certificate.
    TlsFailed,
    /// The statement was refused.
    QueryFailed,
    /// The statement returned no row.
    QueryEmpty,
    /// Any other error of the server's.
    ServerError(u16),
    /// Something else than success, as a status of HTTP.
    HttpStatus(u16),
    /// No such file or directory.
    Missing,
}

impl Reason {
    /// All of them, with no number in particular.
    pub const ALL: [Self; 18] = [
        Self::Unresolved,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Closed,
        Self::Protocol,
        Self::AccessDenied,
        Self::UnknownDatabase,
        Self::TooManyConnections,
        Self::HostBlocked,
        Self::ShuttingDown,
        Self::TlsRequired,
        Self::TlsFailed,
        Self::QueryFailed,
        Self::QueryEmpty,
        Self::ServerError(0),
        Self::HttpStatus(0),
        Self::Missing,
    ];

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::AccessDenied => "access_denied",
            Self::UnknownDatabase => "unknown_database",
            Self::TooManyConnections => "too_many_connections",
            Self::HostBlocked => "host_blocked",
            Self::ShuttingDown => "shutting_down",
            Self::TlsRequired => "tls_required",
            Self::TlsFailed => "tls_failed",
            Self::QueryFailed => "query_failed",
            Self::QueryEmpty => "query_empty",
            Self::ServerError(_) => "server_error",
            Self::HttpStatus(_) => "http_status",
            Self::Missing => "missing",
        }
    }

    /// What the user can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Unresolved => {
                "is the name right, and is its service started and on the same network?"
            }
            Self::Refused => "is the service started, and is this its port?",
            Self::Unreachable => "is the host up, and on a network that this one reaches?",
            Self::TimedOut => "is the host up and responding, and is no firewall dropping this?",
            Self::Closed => {
                "is there a server behind the port? A published port is open before its container listens"
            }
            Self::Protocol => {
                "is this the right port, for MySQL 3306 and not 33060, and https:// for TLS?"
            }
            Self::AccessDenied => {
                "check the user and password, here and on the server (WAIT_MYSQL_USER, WAIT_MYSQL_PASSWORD or _FILE)"
            }
            Self::UnknownDatabase => {
                "create the database and GRANT it to the user, or check its name (WAIT_MYSQL_DATABASE)"
            }
            Self::TooManyConnections => "raise max_connections, or find out who holds them",
            Self::HostBlocked => {
                "on the server: TRUNCATE performance_schema.host_cache, or mariadb-admin flush-hosts"
            }
            Self::ShuttingDown => "will the server be started again?",
            Self::TlsRequired => "allow TLS with ?ssl-mode=PREFERRED or REQUIRED",
            Self::TlsFailed => "check the server's certificate, ssl-mode and WAIT_TLS_CA_FILE",
            Self::QueryFailed | Self::QueryEmpty => {
                "have the migrations run, and is WAIT_MYSQL_QUERY right?"
            }
            Self::ServerError(_) => "the server's log may say more",
            Self::HttpStatus(_) => "is this the right path? If so, the service's own log says more",
            Self::Missing => "is the volume mounted, and what creates the file?",
        }
    }

    /// Whether waiting rarely heals it, so that the user should hear of it at once.
    pub fn is_rarely_healed(self) -> bool {
        matches!(
            self,
            Self::AccessDenied | Self::UnknownDatabase | Self::TlsFailed
        )
    }

    /// What a server has said by it.
    pub fn answer(self) -> Answer {
        match self {
            Self::AccessDenied
            | Self::UnknownDatabase
            | Self::TooManyConnections
            | Self::HostBlocked
            | Self::ShuttingDown
            | Self::TlsRequired
            | Self::TlsFailed
            | Self::ServerError(_) => Answer::No,
            Self::QueryFailed | Self::QueryEmpty | Self::HttpStatus(_) => Answer::NotYet,
            Self::Unresolved
            | Self::Refused
            | Self::Unreachable
            | Self::TimedOut
            | Self::Closed
            | Self::Protocol
            | Self::Missing => Answer::Nothing,
        }
    }
}

/// What a server has said to an attempt, which is how soon it may be asked again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Nothing that it could mind.
    Nothing,
    /// It has done what it was asked for, a statement or a request, and has written it down.
    NotYet,
    /// A decision against us. To ask again at once would be rude, and would count against the account.
    No,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use tokio::time::timeout;

    #[test]
    fn what_goes_on_at_once_is_bounded_by_descriptors() {
        for (room, each, most) in [
            (1000, 1, 8),  // an address
            (1000, 7, 8),  // a name, and one name server
            (1000, 13, 4), // two
            (1000, 19, 3), // three
            (20, 7, 2),    // many targets, or a low limit
            (0, 19, 1),
        ] {
            assert_eq!(Overlap::new(room).most(each), most, "{each} of {room}");
        }
    }

    #[tokio::test]
    async fn threads_that_are_stuck_are_bounded() {
        let overlap = Overlap::default();
        // Reading from it ends when nobody can write to it any more.
        let (reader, writer) = io::pipe().expect("a pipe");
        let look = || {
            let mut reader = reader.try_clone().expect("a descriptor");
            overlap.aside(move || reader.read(&mut [0]))
        };
        for _ in 0..Overlap::MOST {
            let stuck = timeout(Duration::from_millis(20), look()).await;
            stuck.expect_err("it is stuck");
        }
        let one_more = timeout(Duration::from_millis(200), overlap.aside(|| Ok(()))).await;
        one_more.expect_err("there is no thread for it");
        drop(writer);
        let after = timeout(Duration::from_secs(20), look()).await;
        after.expect("in time").expect("nothing is stuck any more");
    }
}
