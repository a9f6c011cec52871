//! Connections: to whichever address of a host takes one first, or to a unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::resolve::Names;
use super::{NotReady, Progress, Reason};
use crate::target::Endpoint;

/// How long an address has for itself before the next one is tried beside it: the "Connection
/// Attempt Delay" that RFC 8305 recommends. Without it, every server behind a name would be
/// connected to and left again, which MySQL counts against the host.
const HEAD_START: Duration = Duration::from_millis(250);

/// Something to talk through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to a host.
pub(super) async fn tcp(
    names: &Names,
    endpoint: &Endpoint,
    progress: &Progress,
) -> Result<TcpStream, NotReady> {
    let addresses = names.look_up(&endpoint.host, progress).await?;
    progress.set("connecting");
    let mut addresses = addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, endpoint.port));
    let mut attempts = JoinSet::new();
    // Of several failures the first is told: the others are most often the same.
    let mut first_error = None;
    loop {
        let ended = match addresses.next() {
            Some(address) => {
                attempts.spawn(connect(address));
                timeout(HEAD_START, attempts.join_next()).await
            }
            None => Ok(attempts.join_next().await),
        };
        match ended {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => first_error = first_error.or(Some(error)),
            Ok(Some(Err(panic))) => {
                first_error = first_error.or(Some(io::Error::other(panic)));
            }
            Ok(None) => {
                return Err(match first_error {
                    Some(error) => NotReady::from_io(&error),
                    None => NotReady::new(Reason::Unresolved, "the name has no address"),
                });
            }
            Err(_) => {} // its head start is over
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Where nobody listens on a port of the ephemeral range, the kernel now and then picks that
    // very port for our end, and the connection is one with ourselves.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Connects to a unix socket.
pub(super) async fn unix(path: &Path, progress: &Progress) -> Result<UnixStream, NotReady> {
    progress.set("connecting");
    let stream = UnixStream::connect(path).await;
    stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotReady::new(Reason::Missing, "there is no such socket"),
        _ => NotReady::from_io(&error),
    })
}
