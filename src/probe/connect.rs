//! Connections: to whichever address of a host takes one first, or to a unix socket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "mysql")]
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, abortable, pending};
use futures_util::stream::{FuturesUnordered, Stream};
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

#[cfg(feature = "tls")]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "mysql")]
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::resolve::Names;
use super::{NotReady, Overlap, Progress, Reason};
use crate::target::{Endpoint, Host};

/// How long an address has for itself before the next one is tried beside it: the "Connection
/// Attempt Delay" that RFC 8305 recommends. Without it, every server behind a name would be
/// connected to and left again, which MySQL counts against the host.
const HEAD_START: Duration = Duration::from_millis(250);

/// Something to talk through.
#[cfg(feature = "tls")]
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

#[cfg(feature = "tls")]
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects to a host.
///
/// A packet that is dropped is sent again by the kernel after 1, 3 and 7 seconds, and a question to
/// a name server after 5, which is long after the host has come up. So while nothing is heard,
/// another look-up and connect is begun beside the first, now and then; the first of them to end,
/// well or not, decides. When there are too many the second is given up: the first has all the time
/// that an attempt may take, in case the way is just slow.
pub(super) async fn tcp(
    names: &Names,
    endpoint: &Endpoint,
    overlap: &Overlap,
    progress: &Progress,
) -> Result<TcpStream, NotReady> {
    let mut tries = FuturesUnordered::new();
    let mut handles: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        // What is told is what the first is doing.
        let progress = match handles.is_empty() {
            true => progress.clone(),
            false => Progress::default(),
        };
        let (new, handle) = abortable(look_up_and_connect(names, endpoint, overlap, progress));
        tries.push(new);
        handles.push_back(handle);
        if let Ok(ended) = timeout(overlap.pace, first_to_end(&mut tries)).await {
            return ended;
        }
        let most = overlap.most(match endpoint.host {
            Host::Name(_) => names.descriptors() + 1,
            Host::Address(_) => 1,
        });
        if most == 1 {
            return first_to_end(&mut tries).await;
        }
        if handles.len() >= most
            && let Some(second) = handles.remove(1)
        {
            second.abort();
        }
    }
}

async fn first_to_end(
    tries: &mut (impl Stream<Item = Result<Result<TcpStream, NotReady>, Aborted>> + Unpin),
) -> Result<TcpStream, NotReady> {
    loop {
        match tries.next().await {
            Some(Ok(result)) => return result,
            Some(Err(Aborted)) => {} // one that was given up
            None => pending().await, // there is always one
        }
    }
}

async fn look_up_and_connect(
    names: &Names,
    endpoint: &Endpoint,
    overlap: &Overlap,
    progress: Progress,
) -> Result<TcpStream, NotReady> {
    let addresses = names.look_up(&endpoint.host, overlap, &progress).await?;
    progress.set("connecting");
    let mut addresses = addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, endpoint.port))
        .peekable();
    let mut attempts = FuturesUnordered::new();
    // Of several failures the first is told: the others are most often the same.
    let mut first_error = None;
    loop {
        attempts.extend(addresses.next().map(connect));
        let head_start = match addresses.peek() {
            Some(_) => HEAD_START,
            None => Duration::MAX,
        };
        match timeout(head_start, attempts.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => first_error = first_error.or(Some(error)),
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
    let (domain, tcp) = (Domain::for_address(address), Some(Protocol::TCP));
    #[cfg(target_os = "linux")]
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), tcp)?;
    #[cfg(not(target_os = "linux"))]
    let socket = Socket::new(domain, Type::STREAM, tcp)?;
    #[cfg(not(target_os = "linux"))]
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    // On one machine, between containers too, the refusal is there by now. To see it without the
    // reactor and its timers halves what a wait costs.
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    let stream = TcpStream::from_std(socket.into())?;
    if stream.peer_addr().is_err() {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
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
        let (names, overlap) = (Names::default(), Overlap::default());
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
