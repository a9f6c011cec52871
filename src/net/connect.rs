//! Connecting: to whichever address of a host accepts first, or to a unix socket.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable, pending};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{At, Network, Route, Stream};
use crate::probe::{Attempt, NotReady, reason};
use crate::targets::{Endpoint, Host};

/// How long an address has for itself before the next one is tried beside it: the "Connection
/// Attempt Delay" that RFC 8305 recommends. Without it, a connection would be made to and dropped
/// by every server behind a name, which some servers count against the host.
const HEAD_START: Duration = Duration::from_millis(250);

impl Network {
    /// Connects to a server.
    pub(crate) async fn connect(&self, at: &At, cx: &Attempt) -> Result<Stream, NotReady> {
        let endpoint = match at {
            At::Tcp(endpoint) => endpoint,
            At::Socket(path) => return connect_to_socket(path, cx).await,
        };
        let stream = self.connect_by_tcp(endpoint, cx).await?;
        let set_up = || {
            stream.set_nodelay(true)?;
            Ok(Route::to(stream.peer_addr()?.ip()))
        };
        let route = set_up().map_err(|error: io::Error| NotReady::from_io(&error))?;
        Ok(Stream::new(stream, route))
    }

    /// The addresses of a name.
    pub(crate) async fn look_up(&self, name: &str, cx: &Attempt) -> Result<Vec<IpAddr>, NotReady> {
        cx.phase("looking up the name");
        let each = || self.names.descriptors();
        first_of_many(cx, &each, &|_| {
            self.names.addresses(name, cx.overlap()).boxed()
        })
        .await
    }

    /// Connects to a host.
    async fn connect_by_tcp(
        &self,
        endpoint: &Endpoint,
        cx: &Attempt,
    ) -> Result<TcpStream, NotReady> {
        let each = || match endpoint.host {
            Host::Name(_) => self.names.descriptors() + 1,
            Host::Address(_) | Host::Zoned(..) => 1,
        };
        // The phase that is reported is the first one's.
        first_of_many(cx, &each, &|is_first| {
            self.look_up_and_connect(endpoint, cx, is_first).boxed()
        })
        .await
    }

    async fn look_up_and_connect(
        &self,
        endpoint: &Endpoint,
        cx: &Attempt,
        is_reported: bool,
    ) -> Result<TcpStream, NotReady> {
        let phase = |phase| {
            if is_reported {
                cx.phase(phase);
            }
        };
        phase("looking up the name");
        let addresses = self.names.look_up(endpoint, cx.overlap()).await?;
        phase("connecting");
        let mut addresses = addresses.into_iter().peekable();
        let mut attempts = FuturesUnordered::new();
        // Of several failures the first is reported: the others are most often the same.
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
                        None => NotReady::new(&reason::UNRESOLVED, "the name has no address"),
                    });
                }
                Err(_) => {} // its head start is over
            }
        }
    }
}

/// Begins the same thing again and again, beside those that hang.
///
/// The kernel sends a dropped packet again after 1, 3 and 7 seconds, and a question to a name
/// server is repeated after 5, which is long after the host has come up. So while nothing is
/// heard, another look-up and connect is begun beside the first, now and then; the first of
/// them to end, well or not, decides. When there are too many the second is given up: the first
/// has all the time that an attempt may take, in case the network is just slow.
///
/// `descriptors` is how many each of them may have.
async fn first_of_many<'a, T>(
    cx: &Attempt,
    descriptors: &(dyn Fn() -> usize + Sync),
    begin: &(dyn Fn(bool) -> BoxFuture<'a, Result<T, NotReady>> + Sync),
) -> Result<T, NotReady> {
    let mut tries = FuturesUnordered::new();
    let mut handles: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (new, handle) = abortable(begin(handles.is_empty()));
        tries.push(new);
        handles.push_back(handle);
        if let Ok(ended) = timeout(cx.overlap().pace, first_to_end(&mut tries)).await {
            return ended;
        }
        let most = cx.overlap().most(descriptors());
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

async fn first_to_end<T>(
    tries: &mut (impl futures_util::Stream<Item = Result<T, Aborted>> + Unpin),
) -> T {
    loop {
        match tries.next().await {
            Some(Ok(result)) => return result,
            Some(Err(Aborted)) => {} // one that was given up
            None => pending().await, // there is always one
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
    // Where no process listens on a port of the ephemeral range, the kernel now and then picks that
    // very port for our end, and the connection is one with ourselves.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

async fn connect_to_socket(path: &Path, cx: &Attempt) -> Result<Stream, NotReady> {
    cx.phase("connecting");
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Stream::new(stream, Route::Local)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(NotReady::new(&reason::MISSING, "there is no such socket"))
        }
        Err(error) => Err(NotReady::from_io(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Overlap, Stop};
    use std::sync::Arc;
    use std::time::Instant;
    use tokio::net::{TcpListener, TcpSocket};

    async fn connect_to(port: u16) -> Result<Stream, NotReady> {
        let endpoint = format!("127.0.0.1:{port}").parse().expect("an endpoint");
        let cx = Attempt::new(Arc::default(), Overlap::default(), Stop::default());
        cx.connect(&At::Tcp(endpoint)).await
    }

    #[tokio::test]
    async fn a_port_is_ready_while_a_process_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        connect_to(port).await.expect("a process listens");
        drop(listener);
        let refused = connect_to(port).await.expect_err("no process listens");
        assert!(refused.is(&reason::REFUSED), "{refused}");
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
