//! The command line as typed. Nothing here has a default: [`crate::config`] decides what counts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

/// Waits until every target is ready, then becomes COMMAND.
///
/// TARGET is HOST:PORT, tcp://HOST:PORT, mysql://[USER[:PASSWORD]@]HOST[:3306][/DATABASE]
/// (or mariadb://), http://…, https://…, or env:NAME for what the variable NAME holds.
/// DURATION is a number of seconds, or 500ms, 1m 30s and the like.
#[derive(Debug, Default, Parser)]
#[command(
    name = "wait",
    version,
    override_usage = "wait [OPTIONS] [--] [COMMAND [ARG]...]",
    after_help = "Also by environment alone: WAIT_COMMAND, WAIT_MYSQL_USER, WAIT_MYSQL_PASSWORD, \
WAIT_MYSQL_PASSWORD_FILE, WAIT_MYSQL_DATABASE, WAIT_MYSQL_QUERY, WAIT_SCRUB, WAIT_TLS_CA_FILE, SSL_CERT_FILE.\n\
Exit status: 0 ready and no command, 1 not ready in time, 2 unusable settings, 126 and 127 the \
command cannot be executed or found, otherwise the command's own."
)]
pub struct Cli {
    /// A target to wait for; may be repeated [WAIT_HOSTS]
    #[arg(long = "for", value_name = "TARGET")]
    pub targets: Vec<String>,

    /// A file or directory that must exist; may be repeated [WAIT_PATHS]
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// A target that is MySQL, scheme left out: db, db:3306, app@db/shop; may be repeated [WAIT_MYSQL]
    #[arg(long = "mysql", value_name = "TARGET")]
    pub mysql: Vec<String>,

    /// The deadline for all targets together: 0 is one attempt each, infinity is none [WAIT_TIMEOUT, default 30s]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,

    /// The longest that one attempt may take, name look-up and login included [WAIT_HOST_CONNECT_TIMEOUT, default 5s]
    #[arg(long, value_name = "DURATION")]
    pub connect_timeout: Option<String>,

    /// The pause between attempts [WAIT_SLEEP_INTERVAL, default adaptive: 1% of the time waited]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,

    /// A pause before the first attempt, outside the deadline [WAIT_BEFORE]
    #[arg(long, value_name = "DURATION")]
    pub before: Option<String>,

    /// A pause once all are ready, outside the deadline [WAIT_AFTER]
    #[arg(long, value_name = "DURATION")]
    pub after: Option<String>,

    /// auto (an init as PID 1), always or never [WAIT_INIT, default auto]
    #[arg(long, value_name = "MODE")]
    pub init: Option<String>,

    /// off, error, warn, info, debug or trace [WAIT_LOGGER_LEVEL, default info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// text or json [WAIT_LOG_FORMAT, default text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// One attempt at this target alone, for a HEALTHCHECK: 0 if it is ready, else a line and 1
    #[arg(long, value_name = "TARGET")]
    pub check: Option<String>,

    /// What to start; without it the exit status is the result [WAIT_COMMAND]
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}
