//! MySQL and MariaDB: a real login, as the application will make it, and a clean goodbye.
//!
//! A server counts connections that end before their login against the host, and shuts it out when
//! there are too many; so nothing here ever just connects, or reads the greeting alone, and a login
//! that cannot succeed is left for the server to deny.
//!
//! Existing drivers cannot do that: they take TLS always or never and find out that a server has
//! none by breaking off, they connect to addresses in their own way, and they do not report in which
//! phase an error came. So the conversation is held here, on the packets and ciphers of
//! `mysql_common`, which is the ground that `mysql_async` stands on.

mod errors;
mod login;
mod session;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::connect::{self, Connection};
use super::{NotReady, Overlap, Probe, Progress, Reason};
use crate::target::MySql;

pub use errors::{MEANINGS, Meaning};
pub(super) use login::Transport;

/// The longest that a goodbye may take: the target's fate is known by then.
const GOODBYE: Duration = Duration::from_millis(500);

/// A statement that does nothing.
const NOTHING: &str = "DO 0";

/// With a user: ready when the login succeeds, the database is selected, a ping is answered and
/// the query, if there is one, returns a row. Without one: when the server decides a login.
pub(super) async fn attempt(
    probe: &Probe,
    target: &MySql,
    overlap: &Overlap,
    progress: &Progress,
) -> Result<(), NotReady> {
    let (stream, transport): (Box<dyn Connection>, _) = match &target.socket {
        Some(path) => (
            Box::new(connect::unix(path, progress).await?),
            Transport::Local,
        ),
        None => {
            let stream = connect::tcp(&probe.names, &target.endpoint, overlap, progress).await?;
            let peer = stream.peer_addr().and_then(|peer| {
                stream.set_nodelay(true)?;
                Ok(peer.ip())
            });
            let transport = match peer.map_err(|error| NotReady::from_io(&error))? {
                peer if is_private(peer) => Transport::Private,
                _ => Transport::Public,
            };
            (Box::new(stream), transport)
        }
    };
    converse(stream, transport, probe, target, progress).await
}

/// All that is said over one connection.
pub(super) async fn converse(
    stream: Box<dyn Connection>,
    transport: Transport,
    probe: &Probe,
    target: &MySql,
    progress: &Progress,
) -> Result<(), NotReady> {
    let (session, greeting) = login::greeting(stream, progress).await?;
    let login = login::log_in(session, greeting, transport, target, &probe.trust).await;
    let mut session = match (login, &target.user) {
        (Ok(session), _) => session,
        (Err(why), None) if is_denial(why.reason) => return Ok(()),
        (Err(why), _) => return Err(why),
    };
    let result = match target.user {
        Some(_) => check(&mut session, probe.mysql_query.as_deref(), progress).await,
        None => Ok(()),
    };
    // Even after a failure: a connection that ends without a word is counted as aborted.
    progress.set("saying goodbye");
    let _ = tokio::time::timeout(GOODBYE, session.quit()).await;
    result
}

/// What comes after the login. The database was selected by it.
async fn check(
    session: &mut session::Session,
    query: Option<&str>,
    progress: &Progress,
) -> Result<(), NotReady> {
    progress.set("pinging");
    session.ping().await?;
    let Some(query) = query else {
        progress.set("running a statement");
        // With an expired password one may be let in, and ping, and can do nothing else. A server
        // that does not know the statement, such as a proxy, lets the login stand all the same.
        return match session.has_row(NOTHING).await {
            Err(why) if matches!(why.reason, Reason::ServerError(_)) => Ok(()),
            result => result.map(drop),
        };
    };
    progress.set("running the query");
    match session.has_row(query).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotReady::new(
            Reason::QueryEmpty,
            "the query returns no row",
        )),
        Err(why) if is_about_the_query(why.reason) => {
            Err(NotReady::new(Reason::QueryFailed, why.detail))
        }
        Err(why) => Err(why),
    }
}

/// Whether an error that came as the answer to the query would not have come to any other.
fn is_about_the_query(reason: Reason) -> bool {
    matches!(reason, Reason::ServerError(_) | Reason::UnknownDatabase)
}

/// Whether a server that says so has looked at the login.
fn is_denial(reason: Reason) -> bool {
    matches!(reason, Reason::AccessDenied | Reason::TlsRequired)
}

/// Whether an address is of this machine or of a network that is not the internet.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            // RFC 6598's is what carriers and some clouds use inside.
            let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || is_shared
                || v4 == Ipv4Addr::UNSPECIFIED // connects to this machine
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests;
