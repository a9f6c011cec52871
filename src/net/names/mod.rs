//! Names to addresses, looked up anew for every attempt: a name that is not there yet has to be
//! asked for again.

#[cfg(any(not(feature = "dns"), target_vendor = "apple"))]
mod c_library;
#[cfg(all(feature = "dns", not(target_vendor = "apple")))]
mod name_servers;
mod order;
#[cfg(all(feature = "dns", not(target_vendor = "apple")))]
mod zones;

use std::net::{SocketAddr, SocketAddrV6};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

#[cfg(any(not(feature = "dns"), target_vendor = "apple"))]
pub use c_library::Names;
#[cfg(all(feature = "dns", not(target_vendor = "apple")))]
pub use name_servers::Names;
#[cfg(all(feature = "dns", not(target_vendor = "apple"), fuzzing))]
pub use name_servers::what_files_say;

use crate::probe::{NotReady, Overlap, reason};
use crate::targets::{Endpoint, Host};

impl Names {
    /// All addresses of a host, at least one, in the order in which they are to be tried.
    ///
    /// # Errors
    /// `Unresolved` or `TimedOut`.
    pub async fn look_up(
        &self,
        endpoint: &Endpoint,
        overlap: &Overlap,
    ) -> Result<Vec<SocketAddr>, NotReady> {
        let port = endpoint.port;
        let name = match &endpoint.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Zoned(address, zone) => {
                // The interface may be there later.
                let index = if_nametoindex(&**zone)
                    .or(zone.parse().map_err(|_| Errno::ENODEV))
                    .map_err(|_| {
                        let detail = format!("there is no network interface {zone}");
                        NotReady::new(&reason::UNREACHABLE, detail)
                    })?;
                return Ok(vec![SocketAddrV6::new(*address, port, 0, index).into()]);
            }
            Host::Name(name) => name,
        };
        let addresses = self.addresses(name, overlap).await?.into_iter();
        let addresses = addresses.map(|address| SocketAddr::new(address, port));
        let addresses = order::sort(addresses.collect());
        tracing::trace!(event = "notice", "{name} is {addresses:?}");
        Ok(addresses)
    }
}
