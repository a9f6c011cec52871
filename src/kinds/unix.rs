//! Unix sockets: a socket that accepts connections.

use std::os::unix::net::SocketAddr;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::after_scheme;
use crate::net::At;
use crate::probe::{Attempt, NotReady, Probe, Reason, reason};
use crate::targets::address::decode;
use crate::targets::{Expected, Kind, Parameters, Target};

pub(super) static KIND: Kind = Kind {
    name: "unix",
    title: "Unix sockets",
    schemes: &[],
    settings: &[],
    several_hosts: false,
    parameters: Parameters::Known {
        shown: &[],
        others: &[],
    },
    dialects: &[],
    options: &[],
    reasons: &[&MISSING, &REFUSED, &UNREACHABLE],
    codes: &[],
    ready_when: "a connection to the socket is made",
    examples: &[],
    parse: None, // there is no host in it
};

const MISSING: Reason = reason::MISSING
    .with_seen("there is no such socket")
    .with_hint("is its folder mounted, and is the process started that makes it?");
const REFUSED: Reason = reason::REFUSED
    .with_seen("no process listens on the socket")
    .with_hint("is the process started that makes it? The file may be left from before");
const UNREACHABLE: Reason = reason::UNREACHABLE
    .with_seen("the socket cannot be connected to, for example without permission")
    .with_hint("may this user write to the socket, and search the folders above it?");

/// The characters that are percent-encoded in a path.
const RESERVED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b',').add(b'?');

/// The target at `unix:///PATH`, or on Linux at `unix://@NAME`, an abstract socket; `None` for any
/// other text.
pub(super) fn target(text: &str) -> Option<Result<Target, Expected>> {
    let (address, options) = after_scheme("unix", text)?;
    let target = Socket::parse(address).and_then(|(socket, name)| {
        Target::named(&KIND, name, Box::new(socket)).with_options(options)
    });
    Some(target)
}

#[derive(Debug)]
struct Socket(At);

impl Socket {
    /// The socket at an address, and how it is printed.
    fn parse(address: &str) -> Result<(Self, String), Expected> {
        let expected = || Expected::new("expected unix:///PATH");
        let address = address.strip_prefix("//").ok_or_else(expected)?;
        if address.contains(|c: char| c.is_whitespace() || c == '?') {
            return Err(Expected::new(
                "expected unix:///PATH, with a blank as %20 and ? as %3F",
            ));
        }
        let path = decode(address)?;
        let name = format!("unix://{}", utf8_percent_encode(&path, RESERVED));
        let path = match path.strip_prefix('@') {
            // As the kernel has it.
            Some(name) if cfg!(target_os = "linux") && !name.is_empty() => format!("\0{name}"),
            None if path.starts_with('/') => match SocketAddr::from_pathname(&path) {
                Ok(_) => path,
                Err(error) => return Err(Expected::new(format!("expected unix:///PATH: {error}"))),
            },
            _ => return Err(expected()),
        };
        Ok((Self(At::Socket(path.into())), name))
    }
}

impl Probe for Socket {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        async { cx.connect(&self.0).await.map(drop) }.boxed()
    }
}
