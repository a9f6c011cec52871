//! Rules that hold for every kind. They loop over the table and name no protocol. The tests of each
//! kind use the helpers too.

mod conformance;
mod properties;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use super::*;
use crate::net::{Io, Route, Stream};
use crate::probe::{Attempt, Stop};
use crate::targets::{Address, Defaults, Expected, Origin};

/// The password in every example.
const PASSWORD: &str = "secret";

/// Parses a target as a setting holds it.
fn address(text: &str) -> Result<Address, Expected> {
    Address::parse(text, KINDS, None, Origin::Ours)
}

/// Makes a target of an address, with these variables and files. Returns the notices too.
fn make(
    address: Address,
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<(Target, Vec<String>), Expected> {
    let variable = |name: &str, _| {
        let found = variables.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(_, value)| (*value).to_owned()))
    };
    let file = |path: &Path| {
        let found = files.iter().find(|(known, _)| Path::new(known) == path);
        let contents = found.map(|(_, contents)| contents.as_bytes().to_vec());
        contents.ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let defaults = Defaults {
        kind: address.kind,
        variable: &variable,
        file: &file,
        notices: RefCell::default(),
    };
    let target = Target::at(address, &defaults)?;
    Ok((target, defaults.notices.into_inner()))
}

/// Makes a target of a text as a setting of the kind holds it: the scheme may be left out.
#[allow(dead_code)] // in a build without the kinds that have tests of their own
pub(super) fn target_of(
    kind: &'static Kind,
    text: &str,
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<(Target, Vec<String>), Expected> {
    let address = Address::parse(text, KINDS, Some(kind), Origin::Ours)?;
    make(address, variables, files)
}

/// Makes a target of an address where the kind's variable for the password holds this one.
fn target_at(address: Address, password: Option<&str>) -> Result<Target, Expected> {
    let name = format!("{}_PASSWORD", address.kind.variable());
    let variable = password.map(|password| (&*name, password));
    Ok(make(address, variable.as_slice(), &[])?.0)
}

fn target(text: &str) -> Result<Target, Expected> {
    target_at(address(text)?, None)
}

/// An attempt over a connection on a private network.
pub(super) fn attempt_over(io: impl Io + 'static) -> Attempt {
    let stream = Stream::new(io, Route::Private);
    Attempt::over(Arc::default(), [stream], Stop::default())
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
