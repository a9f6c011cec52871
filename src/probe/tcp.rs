//! TCP: a connection that is made, and closed again.

use super::{NotReady, Probe, Progress, connect};
use crate::target::Endpoint;

/// Ready when any of the host's addresses takes a connection.
pub(super) async fn attempt(
    probe: &Probe,
    endpoint: &Endpoint,
    progress: &Progress,
) -> Result<(), NotReady> {
    connect::tcp(&probe.names, endpoint, progress).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Reason;
    use tokio::net::TcpListener;

    async fn attempt_at(port: u16) -> Result<(), NotReady> {
        let probe = Probe::default();
        let endpoint = format!("127.0.0.1:{port}").parse().expect("an endpoint");
        attempt(&probe, &endpoint, &Progress::default()).await
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
