//! The kinds of targets: one module each, and one line in the table. Docs on how to add one are in
//! `docs/adding-a-kind.md`.
#![forbid(unsafe_code)]

use std::path::Path;

use crate::targets::{Kind, Target};

/// Declares the modules and the table of them. The first needs no scheme.
macro_rules! kinds {
    ($($module:ident)*) => {
        $(mod $module;)*

        /// Every kind, compiled in or not, in the order of the documentation.
        pub static KINDS: &[&Kind] = &[$(&$module::KIND),*];
    };
}

kinds! {
    tcp
    file
    http
    mysql
    redis
}

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

#[cfg(test)]
mod tests;
