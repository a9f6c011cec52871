//! Rules that hold for every kind. They loop over the table and name no protocol.

mod conformance;
mod properties;

use std::cell::RefCell;

use super::*;
use crate::targets::{Address, Defaults, Expected, Origin};

/// The password in every example.
const PASSWORD: &str = "secret";

/// Parses a target as a setting holds it.
fn address(text: &str) -> Result<Address, Expected> {
    Address::parse(text, KINDS, None, Origin::Ours)
}

/// Makes a target of an address where the variables with passwords hold this one.
fn target_at(address: Address, password: Option<&str>) -> Result<Target, Expected> {
    let variable = |name: &str, _| {
        let password = password.filter(|_| name.ends_with("_PASSWORD"));
        Ok(password.map(str::to_owned))
    };
    let defaults = Defaults {
        kind: address.kind,
        variable: &variable,
        file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        notices: RefCell::default(),
    };
    Target::at(address, &defaults)
}

fn target(text: &str) -> Result<Target, Expected> {
    target_at(address(text)?, None)
}

/// The kinds that are compiled in and have URLs.
fn kinds() -> impl Iterator<Item = &'static Kind> {
    let kinds = KINDS.iter().copied();
    kinds.filter(|kind| kind.parse.is_some() && !kind.schemes.is_empty())
}

/// The examples of all of them.
fn examples() -> impl Iterator<Item = (&'static Kind, &'static str)> {
    kinds().flat_map(|kind| kind.examples.iter().map(move |example| (kind, *example)))
}

/// A server's side of TLS, with a certificate that it has signed itself.
#[cfg(feature = "tls")]
pub(super) fn untrusted_certificate() -> tokio_rustls::TlsAcceptor {
    use std::sync::Arc;

    let signed = rcgen::generate_simple_self_signed(["db".to_owned(), "web".to_owned()]);
    let signed = signed.expect("a certificate");
    let key = signed.signing_key.serialize_der();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key.into())
        .expect("a configuration");
    Arc::new(config).into()
}
