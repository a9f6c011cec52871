//! Connections: names, addresses, sockets, TLS. It knows no protocol of any target.
#![forbid(unsafe_code)]

mod connect;
#[cfg(any(feature = "http", feature = "grpc"))]
pub mod limited;
pub mod names;
#[cfg(feature = "tls")]
pub mod tls;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::targets::{Endpoint, Host};
pub use names::Names;
#[cfg(feature = "tls")]
pub use tls::{Roots, Verdict};

/// The parts that all attempts share.
#[derive(Debug, Default)]
pub struct Network {
    /// How names become addresses.
    pub names: Names,
    /// The authorities that certificates are verified against.
    #[cfg(feature = "tls")]
    pub roots: Roots,
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A host and a port.
    Tcp(Endpoint),
    /// A unix socket.
    Socket(PathBuf),
}

impl At {
    /// The host; a socket is on this one.
    pub fn host(&self) -> Host {
        match self {
            Self::Tcp(endpoint) => endpoint.host.clone(),
            Self::Socket(_) => this_machine(),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(endpoint) => endpoint.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

fn this_machine() -> Host {
    Host::Name("localhost".to_owned())
}

/// The two directions of a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection.
pub struct Stream {
    /// Its two directions.
    pub io: Box<dyn Io>,
    /// The way to the server.
    pub route: Route,
    /// The host that was asked for, and that a certificate has to be for.
    pub host: Host,
}

impl Stream {
    /// A connection with this machine.
    pub fn new(io: impl Io + 'static, route: Route) -> Self {
        let (io, host) = (Box::new(io), this_machine());
        Self { io, route, host }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.route)
    }
}

/// The way to a server, by who could read the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A unix socket: no process but the server can read it.
    Local,
    /// This machine or a private network.
    Private,
    /// A network that may be the internet.
    Public,
}

impl Route {
    /// The route to an address.
    pub fn to(address: IpAddr) -> Self {
        let is_private = match address.to_canonical() {
            IpAddr::V4(v4) => {
                // RFC 6598's range is for carriers, and some clouds use it inside.
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
        };
        match is_private {
            true => Self::Private,
            false => Self::Public,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_are_told_from_the_internet() {
        for (address, expected) in [
            ("127.0.0.1", Route::Private),
            ("10.0.0.1", Route::Private),
            ("172.17.0.2", Route::Private),
            ("192.168.1.1", Route::Private),
            ("169.254.1.1", Route::Private),
            ("100.64.0.1", Route::Private),
            ("100.128.0.1", Route::Public),
            ("172.32.0.1", Route::Public),
            ("8.8.8.8", Route::Public),
            ("::1", Route::Private),
            ("fd00::1", Route::Private),
            ("fe80::1", Route::Private),
            ("::ffff:10.0.0.1", Route::Private),
            ("::ffff:8.8.8.8", Route::Public),
            ("2001:db8::1", Route::Public),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(Route::to(address), expected, "{address}");
        }
    }
}
