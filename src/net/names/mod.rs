//! Names to addresses, looked up anew for every attempt: a name that is not there yet has to be
//! asked for again.

#[cfg(any(not(feature = "dns"), target_vendor = "apple"))]
mod c_library;
#[cfg(all(feature = "dns", not(target_vendor = "apple")))]
mod name_servers;

use std::net::IpAddr;

#[cfg(any(not(feature = "dns"), target_vendor = "apple"))]
pub use c_library::Names;
#[cfg(all(feature = "dns", not(target_vendor = "apple")))]
pub use name_servers::Names;
#[cfg(all(feature = "dns", not(target_vendor = "apple"), fuzzing))]
pub use name_servers::what_files_say;

use crate::probe::{NotReady, Overlap};
use crate::targets::Host;

impl Names {
    /// All addresses of a host, at least one, in the order in which they are to be tried.
    ///
    /// # Errors
    /// `Unresolved` or `TimedOut`.
    pub async fn look_up(&self, host: &Host, overlap: &Overlap) -> Result<Vec<IpAddr>, NotReady> {
        let name = match host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name,
        };
        let addresses = alternating(self.addresses(name, overlap).await?);
        tracing::trace!(event = "notice", "{name} is {addresses:?}");
        Ok(addresses)
    }
}

/// IPv6 and IPv4 in turn, so that a family without a way out does not hold up the other (RFC 8305).
fn alternating(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let longest = v6.len().max(v4.len());
    (0..longest)
        .flat_map(|at| [v6.get(at), v4.get(at)])
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mixed = ["1.1.1.1", "2.2.2.2", "3.3.3.3", "::1"].map(address);
        let expected = ["::1", "1.1.1.1", "2.2.2.2", "3.3.3.3"].map(address);
        assert_eq!(alternating(mixed.into()), expected);
    }
}
