//! TCP: a port that accepts connections.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::net::At;
use crate::probe::{Attempt, NotReady, Probe};
use crate::targets::{Address, Defaults, Expected, Kind, Parameters, Scheme};

pub(super) static KIND: Kind = Kind {
    name: "tcp",
    title: "TCP ports",
    schemes: &[Scheme {
        name: "tcp",
        default_port: None,
        is_tls: false,
        is_encoded: false,
        is_service: false,
    }],
    settings: &[],
    several_hosts: false,
    parameters: Parameters::Known {
        shown: &[],
        others: &[],
    },
    dialects: &[],
    options: &[],
    reasons: &[],
    codes: &[],
    ready_when: "a TCP connection is made, to any of the host's addresses",
    examples: &["db:3306", "tcp://db:3306"],
    parse: Some(parse),
};

#[derive(Debug)]
struct Tcp(At);

fn parse(address: &mut Address, _: &Defaults<'_>) -> Result<Box<dyn Probe>, Expected> {
    if address.user.is_some() || address.password.is_some() || !matches!(&*address.path, "" | "/") {
        return Err(Expected::new("expected HOST:PORT"));
    }
    address.path.clear();
    Ok(Box::new(Tcp(address.at()?)))
}

impl Probe for Tcp {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        async { cx.connect(&self.0).await.map(drop) }.boxed()
    }
}
