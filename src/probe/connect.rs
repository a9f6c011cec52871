//! Connections: to whichever address of a host takes one first, or to a unix socket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "mysql")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tls")]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "mysql")]
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::resolve::Names;
use super::{NotReady, Overlap, Progress, Reason};
use crate::target::Endpoint;

/// How long an address has for itself before the next one is tried beside it: the "Connection
/// Attempt Delay" that RFC 8305 recommends. Without it, every server behind a name would be
/// connected to and left again, which MySQL counts against the host.
const HEAD_START: Duration = Duration::from_millis(250);

/// Something to talk through.
#[cfg(feature = "tls")]
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

#[cfg(feature = "tls")]
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to a host.
///
/// A packet that is dropped is sent again by the kernel after 1, 3 and 7 seconds, and a question to
/// a name server after 5, which is long after the host has come up. So while nothing is heard,
/// another look-up and connect is begun beside the first, now and then; the first of them to end,
/// well or not, decides. When there are too many the second is given up: the first has all the time
/// that an attempt may take, in case the way is just slow.
pub(super) async fn tcp(
    names: &Arc<Names>,
    endpoint: &Endpoint,
    overlap: &Overlap,
    progress: &Progress,
) -> Result<TcpStream, NotReady> {
    let mut tries = JoinSet::new();
    let mut handles: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        // What is told is what the first is doing.
        let progress = match handles.is_empty() {
            true => progress.clone(),
            false => Progress::default(),
        };
        let (names, endpoint) = (Arc::clone(names), endpoint.clone());
        let new = async move { look_up_and_connect(&names, &endpoint, &progress).await };
        handles.push_back(tries.spawn(new));
        let pace = match overlap.most {
            0 | 1 => Duration::MAX,
            _ => overlap.pace,
        };
        if let Ok(ended) = timeout(pace, first_to_end(&mut tries)).await {
            return ended;
        }
        if handles.len() >= overlap.most
            && let Some(second) = handles.remove(1)
        {
            second.abort();
        }
    }
}

async fn first_to_end(
    tries: &mut JoinSet<Result<TcpStream, NotReady>>,
) -> Result<TcpStream, NotReady> {
    loop {
        match tries.join_next().await {
            Some(Ok(result)) => return result,
            Some(Err(error)) if error.is_cancelled() => {} // one that was given up
            Some(Err(error)) => return Err(NotReady::new(Reason::Unreachable, error.to_string())),
            None => std::future::pending().await, // there is always one
        }
    }
}

async fn look_up_and_connect(
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
#[cfg(feature = "mysql")]
pub(super) async fn unix(path: &Path, progress: &Progress) -> Result<UnixStream, NotReady> {
    progress.set("connecting");
    let stream = UnixStream::connect(path).await;
    stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotReady::new(Reason::Missing, "there is no such socket"),
        _ => NotReady::from_io(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::net::{TcpListener, TcpSocket};

    async fn connect_to(port: u16) -> Result<TcpStream, NotReady> {
        let endpoint = format!("127.0.0.1:{port}").parse().expect("an endpoint");
        let (names, overlap) = (Arc::default(), Overlap::new(Overlap::MOST));
        tcp(&names, &endpoint, &overlap, &Progress::default()).await
    }

    #[tokio::test]
    async fn a_port_takes_connections_while_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        connect_to(port).await.expect("somebody listens");
        drop(listener);
        let refused = connect_to(port).await.expect_err("nobody listens");
        assert_eq!(refused.reason, Reason::Refused);
    }

    /// The kernel sends what was dropped again after 1 and 3 seconds.
    #[tokio::test]
    async fn a_connection_that_hangs_does_not_hold_up_the_next() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind("127.0.0.1:0".parse().expect("an address"))
            .expect("a port");
        let listener = socket.listen(0).expect("listening");
        let address = listener.local_addr().expect("bound");
        // A listener whose queue is full drops what comes.
        let fill = || timeout(Duration::from_millis(100), TcpStream::connect(address));
        let mut queue = Vec::new();
        while let Ok(connection) = fill().await {
            queue.push(connection.expect("connected"));
        }
        let start = Instant::now();
        let connecting = tokio::spawn(connect_to(address.port()));
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        for _ in &queue {
            listener.accept().await.expect("one of the queue");
        }
        connecting
            .await
            .expect("no panic")
            .expect("there is room now");
        let took = start.elapsed();
        assert!(took < Duration::from_millis(2_500), "{took:?}");
    }
}
