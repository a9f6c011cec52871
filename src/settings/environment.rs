//! The environment: one table of the variables that `wait` reads, and the one place where it reads
//! them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use crate::kinds::KINDS;

/// An environment variable that holds a setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The name docker-compose-wait gave it earlier; it still works and earns a warning.
    pub deprecated: Option<&'static str>,
}

const fn variable(name: &'static str) -> Variable {
    Variable {
        name,
        deprecated: None,
    }
}

const fn renamed(name: &'static str, deprecated: &'static str) -> Variable {
    Variable {
        name,
        deprecated: Some(deprecated),
    }
}

/// Targets to wait for.
pub const HOSTS: Variable = variable("WAIT_HOSTS");
/// Files and directories that must exist.
pub const PATHS: Variable = variable("WAIT_PATHS");
/// Commands that must exit with 0, one a line.
pub const EXEC: Variable = variable("WAIT_EXEC");
/// The deadline for all targets together.
pub const TIMEOUT: Variable = renamed("WAIT_TIMEOUT", "WAIT_HOSTS_TIMEOUT");
/// The longest that looking up a name and connecting may take.
pub const CONNECT_TIMEOUT: Variable = variable("WAIT_HOST_CONNECT_TIMEOUT");
/// The pause between attempts.
pub const INTERVAL: Variable = variable("WAIT_SLEEP_INTERVAL");
/// The pause before the first attempt.
pub const BEFORE: Variable = renamed("WAIT_BEFORE", "WAIT_BEFORE_HOSTS");
/// The pause once all targets are ready.
pub const AFTER: Variable = renamed("WAIT_AFTER", "WAIT_AFTER_HOSTS");
/// The command, where the command line has none.
pub const COMMAND: Variable = variable("WAIT_COMMAND");
/// Whether to be an init.
pub const INIT: Variable = variable("WAIT_INIT");
/// The receivers of the signals that are sent to an init.
pub const INIT_SIGNALS: Variable = variable("WAIT_INIT_SIGNALS");
/// Exit statuses of the command that an init makes 0.
pub const INIT_OK: Variable = variable("WAIT_INIT_OK");
/// The least important lines to print.
pub const LOG_LEVEL: Variable = variable("WAIT_LOGGER_LEVEL");
/// Text for people or JSON for machines.
pub const LOG_FORMAT: Variable = variable("WAIT_LOG_FORMAT");
/// What to do after the deadline.
pub const ON_TIMEOUT: Variable = variable("WAIT_ON_TIMEOUT");
/// Whether to wait for nothing.
pub const DISABLED: Variable = variable("WAIT_DISABLED");
/// Whether to take the kinds' variables out of the command's environment.
pub const SCRUB: Variable = variable("WAIT_SCRUB");
/// Certificates to trust besides the built-in ones.
pub const TLS_CA_FILE: Variable = variable("WAIT_TLS_CA_FILE");
/// The same, by the name that OpenSSL and others know it by.
pub const SSL_CERT_FILE: Variable = variable("SSL_CERT_FILE");
/// A client certificate, for servers that ask for one.
pub const TLS_CERT_FILE: Variable = variable("WAIT_TLS_CERT_FILE");
/// Its key.
pub const TLS_KEY_FILE: Variable = variable("WAIT_TLS_KEY_FILE");

/// All of them but those of the kinds, in the order of the documentation.
pub const ALL: &[&Variable] = &[
    &HOSTS,
    &PATHS,
    &EXEC,
    &TIMEOUT,
    &CONNECT_TIMEOUT,
    &INTERVAL,
    &BEFORE,
    &AFTER,
    &ON_TIMEOUT,
    &DISABLED,
    &COMMAND,
    &INIT,
    &INIT_SIGNALS,
    &INIT_OK,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &SCRUB,
    &TLS_CA_FILE,
    &TLS_CERT_FILE,
    &TLS_KEY_FILE,
    &SSL_CERT_FILE,
];

/// The value of a variable of this process.
pub fn get(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The names of all variables of this process.
pub fn names() -> Vec<OsString> {
    std::env::vars_os().map(|(name, _)| name).collect()
}

/// Whether `WAIT_SCRUB` asks for it.
pub fn asks_for_scrub(value: Option<OsString>) -> bool {
    value.is_some_and(|value| value.as_bytes().trim_ascii() == b"1")
}

/// Whether `WAIT_SCRUB` takes the variable of this name out of the command's environment: those of
/// the kinds, which may hold passwords. It allocates nothing.
pub fn is_scrubbed(name: &[u8]) -> bool {
    KINDS.iter().any(|kind| kind.owns_variable(name))
}
