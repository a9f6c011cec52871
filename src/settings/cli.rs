//! The command line as typed. Nothing here has a default: [`super::resolve`] decides what counts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, value_parser};

use super::ConfigError;
use crate::kinds::KINDS;
use crate::targets::{Kind, address};

const TARGETS: &str = "Targets (each flag but --check can be repeated)";
const TIMES: &str = "Times";
const COMMAND: &str = "Command and log";

/// The arguments as typed.
#[derive(Default)] // no Debug: passwords are in it
pub struct Cli {
    /// `--for`.
    pub targets: Vec<String>,
    /// `--path`.
    pub paths: Vec<PathBuf>,
    /// `--exec`.
    pub exec: Vec<String>,
    /// `--dry-run`.
    pub dry_run: bool,
    /// The targets of the kinds that have a flag of their own.
    pub kinds: Vec<(&'static Kind, Vec<String>)>,
    /// `--check`.
    pub check: Option<String>,
    /// `--timeout`.
    pub timeout: Option<String>,
    /// `--connect-timeout`.
    pub connect_timeout: Option<String>,
    /// `--on-timeout`.
    pub on_timeout: Option<String>,
    /// `--interval`.
    pub interval: Option<String>,
    /// `--before`.
    pub before: Option<String>,
    /// `--after`.
    pub after: Option<String>,
    /// `--init`.
    pub init: Option<String>,
    /// `--init-signals`.
    pub init_signals: Option<String>,
    /// `--init-ok`.
    pub init_ok: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// The command and its arguments.
    pub command: Vec<OsString>,
}

/// The flags with one value: name, value, heading, help. A table is smaller than what clap derives.
#[rustfmt::skip]
const FLAGS: [(&str, &str, &str, &str); 15] = [
    ("for", "TARGET", TARGETS, "A port, a server or a web page: see TARGET below [WAIT_HOSTS]"),
    ("path", "PATH", TARGETS, "A file or directory that must exist [WAIT_PATHS]"),
    ("exec", "COMMAND_LINE", TARGETS, "A command that must exit with 0, without a shell [WAIT_EXEC]"),
    ("check", "TARGET", TARGETS, "One attempt at this target alone, as a HEALTHCHECK: exit status 0 or 1"),
    ("timeout", "DURATION", TIMES, "Deadline for all; 0: one attempt each [WAIT_TIMEOUT: 30s]"),
    ("connect-timeout", "DURATION", TIMES, "Longest time to look up, connect [WAIT_HOST_CONNECT_TIMEOUT: 5s]"),
    ("on-timeout", "ACTION", TIMES, "After the deadline: fail, start [WAIT_ON_TIMEOUT: fail]"),
    ("interval", "DURATION", TIMES, "Pause between attempts [WAIT_SLEEP_INTERVAL: adaptive]"),
    ("before", "DURATION", TIMES, "Pause before the first attempt [WAIT_BEFORE: 0s]"),
    ("after", "DURATION", TIMES, "Pause when all targets are ready [WAIT_AFTER: 0s]"),
    ("init", "MODE", COMMAND, "Run as an init: auto (as PID 1), always, never [WAIT_INIT: auto]"),
    ("init-signals", "TO", COMMAND, "Pass signals on to: child, group [WAIT_INIT_SIGNALS: child]"),
    ("init-ok", "STATUS,...", COMMAND, "Exit statuses of the command that become 0 [WAIT_INIT_OK]"),
    ("log-level", "LEVEL", COMMAND, "off, error, warn, info, debug, trace [WAIT_LOGGER_LEVEL: info]"),
    ("log-format", "FORMAT", COMMAND, "text, json [WAIT_LOG_FORMAT: text]"),
];

/// The command line's grammar, with the flags of the kinds.
pub fn command() -> clap::Command {
    let one_of_flags = |(name, value, heading, help): (&'static str, &'static str, _, _)| {
        let flag = Arg::new(name).long(name).value_name(value);
        let flag = flag.help_heading(heading).help(help);
        match name {
            "for" | "exec" => flag.action(ArgAction::Append),
            "path" => flag
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf)),
            _ => flag.action(ArgAction::Set),
        }
    };
    let of_kinds = KINDS.iter().filter(|kind| kind.has_settings()).map(|kind| {
        let help = format!("{}, without the scheme [{}]", kind.title, kind.variable());
        let flag = Arg::new(kind.name).long(kind.name).value_name("TARGET");
        flag.action(ArgAction::Append)
            .help_heading(TARGETS)
            .help(help)
    });
    let dry_run = Arg::new("dry-run")
        .long("dry-run")
        .action(ArgAction::SetTrue)
        .help_heading(TARGETS)
        .help("Print the targets as they were understood, and try nothing");
    let help = Arg::new("help")
        .long("help")
        .action(ArgAction::Help)
        .help_heading(COMMAND)
        .help("Print help");
    let command = Arg::new("command")
        .value_name("COMMAND")
        .trailing_var_arg(true)
        .num_args(0..)
        .value_parser(value_parser!(OsString))
        .help("Started when all is ready; without it the exit status is the result [WAIT_COMMAND]");
    clap::Command::new("wait")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Waits until every target is ready, then becomes COMMAND")
        .override_usage("wait [OPTIONS] [--] [COMMAND [ARG]...]")
        .disable_help_flag(true)
        .arg(command)
        .args(FLAGS.map(one_of_flags))
        .arg(dry_run)
        .args(of_kinds)
        .arg(help)
        .after_help(after_help())
}

fn after_help() -> String {
    let kinds = KINDS.iter().filter(|kind| !kind.schemes.is_empty());
    let schemes: Vec<_> = kinds.map(|kind| kind.schemes[0].name).collect();
    // Kinds with the same settings share a line.
    let mut lines: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.has_settings()) {
        let suffixes = kind.settings.iter().flat_map(|setting| setting.suffixes());
        let suffixes: Vec<_> = suffixes.copied().collect();
        match lines.iter_mut().find(|(known, _)| *known == suffixes) {
            Some((_, kinds)) => kinds.push(kind.variable()),
            None => lines.push((suffixes, vec![kind.variable()])),
        }
    }
    let variables = lines
        .iter()
        .map(|(suffixes, kinds)| format!(",\n{} with _{}", kinds.join(", "), suffixes.join(", _")));
    format!(
        "\
TARGET is HOST:PORT, a URL, unix:///PATH, dns:NAME, or env:NAME for the value of a variable; options
follow a '#'. Schemes: {}.
DURATION is a number of seconds, or for example 500ms or 1m 30s; --timeout also takes infinity.
A flag beats its variable. Only as variables: WAIT_SCRUB, WAIT_DISABLED, SSL_CERT_FILE,
WAIT_TLS_CA_FILE, WAIT_TLS_CERT_FILE, WAIT_TLS_KEY_FILE{}

Exit status: 0 all is ready and there is no command, 1 not ready in time, 2 unusable settings, 126
or 127 the command cannot be executed or found, 128+n ended by signal n, otherwise the command's.",
        schemes.join(", "),
        variables.collect::<String>(),
    )
}

/// The outcome of parsing a command line.
pub enum Parsed {
    /// The arguments as typed.
    Cli(Box<Cli>),
    /// `--help` or `--version`: a text to print.
    Text(clap::Error),
}

/// Parses the command line, which begins with the program's own name.
///
/// # Errors
/// The first argument that cannot be understood.
pub fn parse(args: &[OsString]) -> Result<Parsed, ConfigError> {
    match Early::look(args).short {
        [help] if help == "-h" => return parse(&["wait".into(), "--help".into()]),
        [option, after @ ..] => {
            if let Some(error) = of_another_program(option, after.first()) {
                return Err(error);
            }
        }
        [] => {}
    }
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Ok(Parsed::Text(error)),
        Err(error) => return Err(usage_error(error)),
    };
    let text = |name: &str| matches.get_one(name).cloned();
    let texts = |name: &str| {
        matches
            .get_many(name)
            .unwrap_or_default()
            .cloned()
            .collect()
    };
    let kinds = KINDS.iter().copied().filter(|kind| kind.has_settings());
    let cli = Cli {
        targets: texts("for"),
        paths: matches
            .get_many("path")
            .unwrap_or_default()
            .cloned()
            .collect(),
        exec: texts("exec"),
        dry_run: matches.get_flag("dry-run"),
        kinds: kinds.map(|kind| (kind, texts(kind.name))).collect(),
        check: text("check"),
        timeout: text("timeout"),
        connect_timeout: text("connect-timeout"),
        on_timeout: text("on-timeout"),
        interval: text("interval"),
        before: text("before"),
        after: text("after"),
        init: text("init"),
        init_signals: text("init-signals"),
        init_ok: text("init-ok"),
        log_level: text("log-level"),
        log_format: text("log-format"),
        command: matches
            .get_many("command")
            .unwrap_or_default()
            .cloned()
            .collect(),
    };
    Ok(Parsed::Cli(Box::new(cli)))
}

/// An option that other programs have, by the call that works here.
fn of_another_program(option: &OsStr, value: Option<&OsString>) -> Option<ConfigError> {
    let value = value.map_or("".into(), |value| value.to_string_lossy());
    let number = |name| match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true if !value.is_empty() => value.to_string(),
        _ => String::from(name),
    };
    let option = option.to_str()?.split('=').next()?;
    let advice = match option {
        // In other programs -h is the host.
        "-h" => &*format!("a host is given as --for {}:PORT", address::shown(&value)),
        "-t" => &*format!("a time limit is given as --timeout {}", number("SECONDS")),
        "-e" => &*format!(
            "a status that is a success is given as --init-ok {}",
            number("STATUS")
        ),
        "-g" => "signals go to the process group with --init-signals group",
        "-s" => "not needed as PID 1; elsewhere it is --init always",
        "-r" | "--rewrite" => {
            "the signal to stop with is set by STOPSIGNAL in the Dockerfile, or by stop_signal"
        }
        "-v" | "-vv" | "-vvv" | "--verbose" => "the log has more with --log-level debug",
        "-c" | "-p" | "-w" | "--single-child" => {
            "an option of another init that is not needed here"
        }
        _ => return None,
    };
    Some(ConfigError::Usage(format!("{option}: {advice}")))
}

/// The first line of clap's error alone, without its label.
fn usage_error(mut error: clap::Error) -> ConfigError {
    if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && option.starts_with("--")
        && let Some(error) = of_another_program(OsStr::new(option), None)
    {
        return error;
    }
    // There may be a target in a flag that does not exist, as in `--mysq=app:secret@db`, or that has
    // no value, as in `--help=…`.
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue] {
        // Of a value that is missing, clap has an empty text.
        if let Some(ContextValue::String(text)) = error.get(kind)
            && !text.is_empty()
        {
            let flag = text.split('=').next().unwrap_or_default();
            let text = match flag.starts_with("--") && !flag.contains([':', '@']) {
                true if flag.len() < text.len() => format!("{flag}=…"),
                true => flag.to_owned(),
                false => address::shown(text),
            };
            error.insert(kind, ContextValue::String(text));
        }
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    ConfigError::Usage(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}

/// The flags that have no value.
const FLAGS_ALONE: [&[u8]; 3] = [b"--help", b"--version", b"--dry-run"];

/// What has to be known of the command line before it is parsed, since parsing allocates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Early<'a> {
    /// The value of `--init`.
    pub init: Option<&'a OsStr>,
    /// The value of `--init-signals`.
    pub init_signals: Option<&'a OsStr>,
    /// The value of `--init-ok`.
    pub init_ok: Option<&'a OsStr>,
    /// Whether there is a `--check`.
    pub is_check: bool,
    /// The command and its arguments.
    pub command: &'a [OsString],
    /// The arguments from an option with one dash on, of which there is none here.
    short: &'a [OsString],
}

impl<'a> Early<'a> {
    /// Looks at the options. All of them but [`FLAGS_ALONE`] have a value, and the first
    /// argument that does not begin with `--` begins the command.
    pub fn look(args: &'a [OsString]) -> Self {
        let mut early = Self::default();
        let mut rest = args.get(1..).unwrap_or_default();
        while let [arg, after @ ..] = rest {
            let from_here = rest;
            rest = after;
            let arg = arg.as_bytes();
            if arg.starts_with(b"-") && !arg.starts_with(b"--") {
                early.short = from_here;
            }
            if arg == b"--" || !arg.starts_with(b"--") {
                early.command = if arg == b"--" { after } else { from_here };
                break;
            }
            let (name, value) = match arg.iter().position(|byte| *byte == b'=') {
                Some(at) => (&arg[..at], Some(OsStr::from_bytes(&arg[at + 1..]))),
                None => (arg, None),
            };
            let value = match (value, rest) {
                (None, [value, after @ ..]) if !FLAGS_ALONE.contains(&name) => {
                    rest = after;
                    Some(value.as_os_str())
                }
                (value, _) => value,
            };
            match name {
                b"--init" => early.init = early.init.or(value),
                b"--init-signals" => early.init_signals = early.init_signals.or(value),
                b"--init-ok" => early.init_ok = early.init_ok.or(value),
                b"--check" => early.is_check = true,
                _ => {}
            }
        }
        early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_early_look_agrees_with_the_parser() {
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
            &[
                "--init-signals=group",
                "--init-ok",
                "143,130",
                "--",
                "node",
                "--",
                "a",
            ],
            &["--dry-run", "--init-ok=1", "/init"],
            &["--", "--init-ok", "1"],
            &["--"],
        ] {
            let args: Vec<OsString> = [&["wait"], line].concat().iter().map(Into::into).collect();
            let Ok(Parsed::Cli(cli)) = parse(&args) else {
                continue; // nothing will be started
            };
            let early = Early::look(&args);
            assert_eq!(
                early.init.and_then(OsStr::to_str),
                cli.init.as_deref(),
                "{line:?}"
            );
            for (early, cli) in [
                (early.init_signals, &cli.init_signals),
                (early.init_ok, &cli.init_ok),
            ] {
                assert_eq!(early.and_then(OsStr::to_str), cli.as_deref(), "{line:?}");
            }
            assert_eq!(early.is_check, cli.check.is_some(), "{line:?}");
            assert_eq!(early.command, cli.command, "{line:?}");
        }
    }

    #[test]
    fn every_flag_has_a_value() {
        // Or else the early look would take what follows for one.
        for arg in command().get_arguments() {
            let has_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
            let name = format!("--{}", arg.get_long().unwrap_or_default());
            let is_alone = FLAGS_ALONE.contains(&name.as_bytes());
            assert!(has_value != is_alone, "{arg}");
        }
    }

    #[test]
    fn a_short_help_flag_before_a_host_is_an_error() {
        let parse = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(Into::into).collect();
            parse(&args).map(drop).map_err(|error| error.to_string())
        };
        let expected = "-h: a host is given as --for db:PORT (see /wait --help)".to_owned();
        assert_eq!(
            parse(&["wait", "-h", "db", "-p", "3306", "--", "node"]),
            Err(expected)
        );
        assert_eq!(parse(&["wait", "-h"]), Ok(()));
        assert_eq!(parse(&["wait", "node", "-h", "db"]), Ok(()));
    }
}
