//! Name servers whose address is one only together with a network interface (`fe80::1%eth0`): hickory
//! knows addresses alone, so that the interface is added where the sockets are made.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Tokio's runtime, for sockets through one interface.
#[derive(Clone, Default)]
pub(super) struct Runtime {
    tokio: TokioRuntimeProvider,
    zone: Option<String>,
}

type Made<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Runtime {
    pub(super) fn of(zone: Option<String>) -> Self {
        Self {
            tokio: TokioRuntimeProvider::default(),
            zone,
        }
    }
}

impl RuntimeProvider for Runtime {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = UdpSocket;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        mut server: SocketAddr,
        local: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Made<Self::Tcp> {
        if let (Some(zone), SocketAddr::V6(v6)) = (&self.zone, &mut server) {
            match if_nametoindex(&**zone) {
                Ok(index) => v6.set_scope_id(index),
                Err(errno) => return Box::pin(async move { Err(errno.into()) }),
            }
        }
        self.tokio.connect_tcp(server, local, limit)
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Made<UdpSocket> {
        let Some(zone) = self.zone.clone() else {
            return self.tokio.bind_udp(local, server);
        };
        Box::pin(async move {
            let udp = Some(Protocol::UDP);
            let socket = Socket::new(Domain::for_address(local), Type::DGRAM, udp)?;
            socket.set_nonblocking(true)?;
            #[cfg(target_os = "linux")]
            socket.bind_device(Some(zone.as_bytes()))?;
            #[cfg(not(target_os = "linux"))]
            drop(zone);
            socket.bind(&local.into())?;
            UdpSocket::from_std(socket.into())
        })
    }
}
