//! The command line as typed. Nothing here has a default: [`crate::config`] decides what counts.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::Parser;

const WHAT: &str = "What to wait for (all but --check may be repeated)";
const HOW_LONG: &str = "How long";
const COMMAND: &str = "The command and the log";

// No Debug: passwords are in it.
/// Waits until every target is ready, then becomes COMMAND.
#[derive(Default, Parser)]
#[command(
    name = "wait",
    version,
    override_usage = "wait [OPTIONS] [--] [COMMAND [ARG]...]",
    after_help = "\
TARGET: HOST:PORT, tcp://HOST:PORT, mysql:// or mariadb://[USER[:PASSWORD]@]HOST[:3306][/DATABASE],
http://…, https://…, or env:NAME for what the variable NAME holds. DURATION: a number of seconds, or
500ms, 1m 30s and the like; --timeout also takes infinity. A flag beats its variable. By variable
alone: WAIT_MYSQL_USER, WAIT_MYSQL_PASSWORD, WAIT_MYSQL_PASSWORD_FILE, WAIT_MYSQL_DATABASE,
WAIT_MYSQL_QUERY, WAIT_SCRUB, WAIT_TLS_CA_FILE, SSL_CERT_FILE.

Exit status: 0 ready and no command, 1 not ready in time, 2 unusable settings, 126 and 127 the
command cannot be executed or found, 128+n ended by signal n, otherwise the command's own."
)]
pub struct Cli {
    /// A port, MySQL server or web page, see TARGET [WAIT_HOSTS]
    #[arg(long = "for", value_name = "TARGET", help_heading = WHAT)]
    pub targets: Vec<String>,

    /// A file or directory that must exist [WAIT_PATHS]
    #[arg(long = "path", value_name = "PATH", help_heading = WHAT)]
    pub paths: Vec<PathBuf>,

    /// MySQL, scheme left out: db, db:3306, app@db/shop [WAIT_MYSQL]
    #[arg(long = "mysql", value_name = "TARGET", help_heading = WHAT)]
    pub mysql: Vec<String>,

    /// One attempt at this alone, for a HEALTHCHECK: 0, or a line and 1
    #[arg(long, value_name = "TARGET", help_heading = WHAT)]
    pub check: Option<String>,

    /// Deadline for all targets; 0: one try each [WAIT_TIMEOUT: 30s]
    #[arg(long, value_name = "DURATION", help_heading = HOW_LONG)]
    pub timeout: Option<String>,

    /// The most for one attempt [WAIT_HOST_CONNECT_TIMEOUT: 5s]
    #[arg(long, value_name = "DURATION", help_heading = HOW_LONG)]
    pub connect_timeout: Option<String>,

    /// Between attempts [WAIT_SLEEP_INTERVAL: 1% of the time waited]
    #[arg(long, value_name = "DURATION", help_heading = HOW_LONG)]
    pub interval: Option<String>,

    /// A pause before the first attempt [WAIT_BEFORE]
    #[arg(long, value_name = "DURATION", help_heading = HOW_LONG)]
    pub before: Option<String>,

    /// A pause once all are ready [WAIT_AFTER]
    #[arg(long, value_name = "DURATION", help_heading = HOW_LONG)]
    pub after: Option<String>,

    /// auto (an init as PID 1), always, never [WAIT_INIT: auto]
    #[arg(long, value_name = "MODE", help_heading = COMMAND)]
    pub init: Option<String>,

    /// off, error, warn, info, debug, trace [WAIT_LOGGER_LEVEL: info]
    #[arg(long, value_name = "LEVEL", help_heading = COMMAND)]
    pub log_level: Option<String>,

    /// text, json [WAIT_LOG_FORMAT: text]
    #[arg(long, value_name = "FORMAT", help_heading = COMMAND)]
    pub log_format: Option<String>,

    /// What to start; without it the exit status is the result [WAIT_COMMAND]
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// Looks for a flag before the command line is read in earnest: `None` without it, `Some(None)`
/// where it has no value. All flags but `--help` and `--version` have one, and what does not begin
/// with `--` begins the command.
pub fn early_look<'a>(args: &'a [OsString], flag: &str) -> Option<Option<&'a OsStr>> {
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next().map(|arg| arg.as_bytes()) {
        let (name, value) = match arg.iter().position(|byte| *byte == b'=') {
            Some(at) => (&arg[..at], Some(OsStr::from_bytes(&arg[at + 1..]))),
            None => (arg, None),
        };
        if arg == b"--" || !arg.starts_with(b"--") {
            return None;
        }
        let has_value = name != b"--help" && name != b"--version";
        let value = match value {
            None if has_value => args.next().map(OsString::as_os_str),
            value => value,
        };
        if name == flag.as_bytes() {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{ArgAction, CommandFactory as _};

    #[test]
    fn the_early_look_at_the_flag_sees_what_the_command_line_says() {
        for line in [
            &[][..],
            &["--init", "never"],
            &["--init=always"],
            &["--timeout", "3", "--init", "never"],
            &[
                "--timeout=3",
                "--for",
                "a:1",
                "--init=never",
                "node",
                "--init=always",
            ],
            &["node", "--init", "never"],
            &["--", "--init", "never"],
            &["--check", "/", "--init=never"],
            &["--check=/"],
            &["node", "--check", "x.js"],
            &["--timeout", "--init", "never"],
        ] {
            let args: Vec<OsString> = [&["wait"], line].concat().iter().map(Into::into).collect();
            let Ok(cli) = Cli::try_parse_from(&args) else {
                continue; // nothing will be started
            };
            let seen = |flag| early_look(&args, flag).flatten().and_then(OsStr::to_str);
            assert_eq!(seen("--init"), cli.init.as_deref(), "{line:?}");
            assert_eq!(seen("--check"), cli.check.as_deref(), "{line:?}");
        }
    }

    #[test]
    fn every_flag_has_a_value() {
        // Or else the early look would take what follows for one.
        for arg in Cli::command()
            .get_arguments()
            .filter(|arg| !arg.is_positional())
        {
            let has_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
            assert!(has_value, "{arg}");
        }
    }
}
