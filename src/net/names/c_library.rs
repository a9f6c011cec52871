//! By the C library, for builds without a resolver of our own.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use crate::probe::{NotReady, Overlap, reason};

/// Where names are looked up: where the C library does.
#[derive(Clone, Debug, Default)]
pub struct Names {}

impl Names {
    /// How many descriptors the look-up of a name needs, about: the C library asks one server after
    /// the other.
    pub(crate) fn descriptors(&self) -> usize {
        2
    }

    /// The addresses of a name, at least one.
    pub(in crate::net) async fn addresses(
        &self,
        name: &str,
        overlap: &Overlap,
    ) -> Result<Vec<IpAddr>, NotReady> {
        let name = name.to_owned();
        let found = overlap.aside(move || Ok((name.as_str(), 0).to_socket_addrs()?.collect()));
        let found: Vec<SocketAddr> = found.await.map_err(|error| {
            let text = error.to_string();
            // Rust's own prefix of the C library's words.
            let detail = text.rsplit(": ").next().unwrap_or(&text);
            NotReady::new(&reason::UNRESOLVED, detail)
        })?;
        Ok(found.into_iter().map(|address| address.ip()).collect())
    }
}
