//! By the C library, for builds without a resolver of our own.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use crate::probe::{NotReady, Overlap, reason};
use crate::targets::Endpoint;

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

    /// The servers that the SRV records of a name list: the C library has no call for them.
    ///
    /// # Errors
    /// `unresolved`, always.
    #[allow(clippy::unused_async)] // as the other resolver has it
    pub async fn servers(&self, _: &str, _: &Overlap) -> Result<Vec<Endpoint>, NotReady> {
        Err(NotReady::new(
            &reason::UNRESOLVED,
            "this build looks up no SRV records (it is without the feature dns, or for macOS)",
        )
        .with_hint("name the hosts themselves, with their replicaSet and tls=true"))
    }

    /// The TXT records of a name.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async)]
    pub async fn texts(&self, _: &str, _: &Overlap) -> Result<Vec<String>, NotReady> {
        Ok(Vec::new())
    }
}
