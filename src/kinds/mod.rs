//! The kinds of targets: one module each, and one line in the table. Docs on how to add one are in
//! `docs/adding-a-kind.md`.
#![forbid(unsafe_code)]

use std::path::Path;

use crate::process::exec::Command;
use crate::targets::address::split_options;
use crate::targets::{Expected, Kind, Target};

/// Declares the modules and the table of them. The first needs no scheme.
macro_rules! kinds {
    ($($module:ident)*) => {
        $(mod $module;)*

        /// Every kind, compiled in or not, in the order of the documentation.
        pub static KINDS: &[&Kind] = &[$({
            static KIND: Kind = $module::KIND.in_this_build();
            &KIND
        }),*];
    };
}

kinds! {
    tcp
    file
    http
    mysql
    postgres
    redis
    amqp
    kafka
    grpc
    mongodb
    unix
    dns
    exec
}

// SASL's mechanism, for the kinds whose protocols have it.
#[cfg(any(feature = "kafka", feature = "mongodb"))]
mod scram;

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod query;

mod ports;
pub(crate) use ports::{OF_ANY_KIND, ONLY_PORTS, of_driver};

/// The parser of a kind, where its feature is on.
macro_rules! compiled_in {
    ($feature:literal, $parse:expr) => {{
        #[cfg(feature = $feature)]
        let parse: Option<$crate::targets::Parse> = Some($parse);
        #[cfg(not(feature = $feature))]
        let parse: Option<$crate::targets::Parse> = None;
        parse
    }};
}
use compiled_in;

/// The target that is a file or a directory, which has no URL.
pub fn path(path: &Path) -> Target {
    file::target(path)
}

/// The target that is a command, which has no URL either.
pub fn command(command: Command) -> Target {
    exec::target(command)
}

/// The target of a text in a form of its own, without a host and a port: a socket's or a name's.
/// `None` for any other text.
pub fn without_host(text: &str) -> Option<Result<Target, Expected>> {
    unix::target(text).or_else(|| dns::target(text))
}

/// The text after `SCHEME:`, and the options; `None` for any other text. A host may have the name of
/// a scheme, and be followed by its port.
fn after_scheme<'a>(scheme: &str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let (form, options) = split_options(text);
    let (name, rest) = form.split_once(':')?;
    let is_port = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    (name.eq_ignore_ascii_case(scheme) && !is_port).then_some((rest, options))
}

#[cfg(test)]
mod tests;
