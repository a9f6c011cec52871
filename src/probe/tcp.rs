//! TCP: a connection that is made, and closed again.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{NotReady, Probe, Progress, Reason};
use crate::target::Endpoint;

/// Ready when any of the host's addresses takes a connection; all are tried side by side.
pub(super) async fn attempt(
    probe: &Probe,
    endpoint: &Endpoint,
    progress: &Progress,
) -> Result<(), NotReady> {
    let addresses = probe.names.look_up(&endpoint.host, progress).await?;
    progress.set("connecting");
    let mut attempts: JoinSet<io::Result<()>> = addresses
        .into_iter()
        .map(|address| connect(SocketAddr::new(address, endpoint.port)))
        .collect();
    // Of several failures the first is told: the others are most often the same.
    let mut first = None;
    while let Some(attempt) = attempts.join_next().await {
        match attempt.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(()) => return Ok(()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(match first {
        Some(error) => NotReady::from_io(&error),
        None => NotReady::new(Reason::Unresolved, "the name has no address"),
    })
}

async fn connect(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    // Where nobody listens on a port of the ephemeral range, the kernel now and then picks that
    // very port for our end, and the connection is one with ourselves.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::resolve::Names;
    use tokio::net::TcpListener;

    async fn attempt_at(port: u16) -> Result<(), NotReady> {
        let probe = Probe {
            names: Names::default(),
            mysql_query: None,
            tls_ca: None,
        };
        let endpoint = format!("127.0.0.1:{port}").parse().expect("an endpoint");
        attempt(&probe, &endpoint, &Progress::new()).await
    }

    #[tokio::test]
    async fn a_port_is_ready_while_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(attempt_at(port).await, Ok(()));
        drop(listener);
        let refused = attempt_at(port).await.expect_err("nobody listens");
        assert_eq!(refused.reason, Reason::Refused);
    }
}
