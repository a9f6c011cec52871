//! Names: a name that has an address.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::after_scheme;
use crate::probe::{Attempt, NotReady, Probe};
use crate::targets::{Expected, Host, Kind, Parameters, Target};

pub(super) static KIND: Kind = Kind {
    name: "dns",
    title: "Names",
    schemes: &[],
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
    ready_when: "the name has an address, IPv4 or IPv6",
    examples: &[],
    parse: None, // there is no port in it
};

/// The target `dns:NAME`; `None` for any other text.
pub(super) fn target(text: &str) -> Option<Result<Target, Expected>> {
    let (name, options) = after_scheme("dns", text)?;
    let target = parse(name)
        .and_then(|name| Target::named(&KIND, format!("dns:{name}"), Box::new(Name(name))).with_options(options));
    Some(target)
}

fn parse(name: &str) -> Result<String, Expected> {
    let expected = |more| Err(Expected::new(format!("expected dns:NAME{more}")));
    if name.starts_with('/') {
        return expected(", without slashes");
    }
    match name.parse() {
        Ok(Host::Name(name)) => Ok(name),
        Ok(_) => expected(": an address needs no look-up"),
        Err(_) if name.contains(':') => expected(", without a port"),
        Err(_) => expected(""),
    }
}

#[derive(Debug)]
struct Name(String);

impl Probe for Name {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        async { cx.look_up(&self.0).await.map(drop) }.boxed()
    }
}
