//! From flags and variables to one [`Config`]: a pure function. What it needs of the outside world
//! (variables, the contents of files) comes in as functions, what it has to say goes out as values.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::cli::Cli;
use crate::env::{self, Variable};
use crate::init::Mode;
use crate::log::{self, Format};
use crate::target::{self, MySql, Parameters, Secret, Target, TargetError};
use tracing_subscriber::filter::LevelFilter;

/// How deep `env:` may name variables that hold `env:` again.
const MAX_ENV_DEPTH: usize = 8;

/// How much of an item an error shows, in characters.
const LONGEST_ITEM: usize = 200;

/// Everything that `wait` needs to know, decided.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// What to wait for; MySQL targets have their user, password and database filled in.
    pub targets: Vec<Target>,
    /// Whether it is one attempt that is asked for, and nothing but its result.
    pub is_check: bool,
    /// How long and how often.
    pub timing: Timing,
    /// The statement that must return a row, on every MySQL target.
    pub mysql_query: Option<String>,
    /// Certificates of authorities to trust besides the built-in ones.
    pub tls_authorities: Vec<CertificateDer<'static>>,
    /// What to become when all is ready.
    pub command: Option<Command>,
    /// Whether the `WAIT_MYSQL` variables are taken out of the command's environment.
    pub scrub: bool,
}

/// How long and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For all targets together, from the first attempt on; `None` is for ever, zero one attempt each.
    pub timeout: Option<Duration>,
    /// For one attempt, name look-up and login included.
    pub connect_timeout: Duration,
    /// The pause between attempts; `None` is adaptive.
    pub interval: Option<Duration>,
    /// The pause before the first attempt.
    pub before: Duration,
    /// The pause once all targets are ready.
    pub after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(5),
            interval: None,
            before: Duration::ZERO,
            after: Duration::ZERO,
        }
    }
}

/// A program and its arguments. `Debug` keeps the arguments to itself: they may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// A path, or a name to be looked up in `PATH`.
    pub program: OsString,
    /// Without the program.
    pub args: Vec<OsString>,
}

impl Command {
    /// The program as it may be printed. What is no path may be a target or a `PASSWORD=…` that is
    /// in the wrong place.
    pub fn name(&self) -> String {
        let program = self.program.to_string_lossy();
        match program.starts_with('/') {
            true => program.into_owned(),
            false => target::redacted(&program),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} and {} arguments", self.name(), self.args.len())
    }
}

/// What the settings are read from, besides the command line.
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The contents of a regular file.
    pub file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Whether standard error is a terminal.
    pub is_terminal: bool,
}

/// Settings that cannot be used. `Display` is one line that names the setting and the item and
/// says what was expected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The command line is not one of ours.
    #[error("{0} (see wait --help)")]
    Usage(String),
    /// One setting, or an item of its list.
    #[error("{setting}: {item}{expected}", item = Item(.item))]
    Invalid {
        /// The flag's or variable's name.
        setting: String,
        /// The item as it may be printed; empty where there is nothing to print.
        item: String,
        /// What was expected instead.
        expected: String,
    },
}

struct Item<'a>(&'a str);

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            item => match item.char_indices().nth(LONGEST_ITEM) {
                Some((end, _)) => write!(f, "{}…: ", &item[..end]),
                None => write!(f, "{item}: "),
            },
        }
    }
}

/// Something the user should know that stops nothing; printed as a warning.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice(pub String);

/// A setting's value and where it is from.
struct Given<T> {
    setting: &'static str,
    value: T,
    /// From a flag, where mistakes are errors even if docker-compose-wait ignored them.
    is_flag: bool,
}

impl<T> Given<T> {
    fn error(&self, item: impl AsRef<str>, expected: impl fmt::Display) -> ConfigError {
        invalid(self.setting, item, expected)
    }
}

/// No item gets into an error but through here: any of them may hold a password, be it only because
/// it is in the wrong place.
fn invalid(setting: &str, item: impl AsRef<str>, expected: impl fmt::Display) -> ConfigError {
    ConfigError::Invalid {
        setting: setting.to_owned(),
        item: target::redacted(item.as_ref()),
        expected: expected.to_string(),
    }
}

/// Decides how to log. It comes before everything else, so that the rest can be logged.
///
/// # Errors
/// A level or format that does not exist.
pub fn log_settings(
    cli: &Cli,
    surroundings: &Surroundings<'_>,
) -> Result<log::Settings, ConfigError> {
    let mut resolver = Resolver::new(surroundings);
    let mut settings = log::Settings::default();
    let level = resolver.text("--log-level", cli.log_level.as_deref(), &env::LOG_LEVEL)?;
    if let Some(level) = level {
        const LEVELS: [(&str, LevelFilter); 6] = [
            ("off", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ];
        settings.level = LEVELS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(level.value.trim()))
            .ok_or_else(|| {
                let expected = "expected off, error, warn, info, debug or trace";
                level.error(&level.value, expected)
            })?
            .1;
    }
    let format = resolver.text("--log-format", cli.log_format.as_deref(), &env::LOG_FORMAT)?;
    if let Some(format) = format {
        settings.format = match format.value.trim() {
            "text" => Format::Text,
            "json" => Format::Json,
            _ => return Err(format.error(&format.value, "expected text or json")),
        };
    }
    let variable = |name| (surroundings.variable)(name).unwrap_or_default();
    settings.is_live = surroundings.is_terminal
        && settings.format == Format::Text
        && settings.level == LevelFilter::INFO
        && variable("NO_COLOR").is_empty()
        && variable("TERM") != "dumb";
    Ok(settings)
}

/// Decides everything else. A flag beats its variable, a variable beats its deprecated name, and
/// an empty variable counts as unset. Of what is beaten nothing is used, and nothing is wrong with it.
///
/// # Errors
/// The first setting that cannot be used.
pub fn resolve(
    cli: &Cli,
    surroundings: &Surroundings<'_>,
) -> Result<(Config, Vec<Notice>), ConfigError> {
    let mut resolver = Resolver::new(surroundings);
    resolver.check_init(cli)?;
    let defaults = resolver.mysql_defaults()?;
    let targets = match &cli.check {
        Some(target) => resolver.check_target(target, cli, &defaults)?,
        None => resolver.targets(cli, &defaults)?,
    };
    let mut timing = resolver.timing(cli)?;
    if cli.check.is_some() {
        timing = Timing {
            timeout: Some(Duration::ZERO),
            connect_timeout: timing.connect_timeout,
            ..Timing::default()
        };
    }
    let config = Config {
        tls_authorities: resolver.tls_authorities(&targets)?,
        targets,
        is_check: cli.check.is_some(),
        timing,
        mysql_query: defaults.query,
        command: match cli.check {
            Some(_) => None,
            None => resolver.command(cli)?,
        },
        scrub: resolver.scrub()?,
    };
    Ok((config, resolver.notices))
}

/// What MySQL targets get that do not say it themselves.
struct MySqlDefaults {
    user: Option<String>,
    password: Option<Secret>,
    database: Option<String>,
    query: Option<String>,
}

struct Resolver<'a> {
    surroundings: &'a Surroundings<'a>,
    notices: Vec<Notice>,
}

impl<'a> Resolver<'a> {
    fn new(surroundings: &'a Surroundings<'a>) -> Self {
        Self {
            surroundings,
            notices: Vec::new(),
        }
    }

    fn notice(&mut self, text: String) {
        self.notices.push(Notice(text));
    }

    /// A variable's value, from its deprecated name if need be.
    fn raw(&mut self, variable: &Variable) -> Option<Given<OsString>> {
        let value = |name| (self.surroundings.variable)(name).filter(|value| !value.is_empty());
        let given = |setting, value| Given {
            setting,
            value,
            is_flag: false,
        };
        let current = value(variable.name).map(|value| given(variable.name, value));
        let old = variable
            .deprecated
            .and_then(|name| value(name).map(|value| given(name, value)));
        if let Some(old) = &old {
            let so = match current {
                Some(_) => ", which is set too and is used",
                None => "",
            };
            self.notice(format!(
                "{} is deprecated: use {}{so}",
                old.setting, variable.name
            ));
        }
        current.or(old)
    }

    /// A flag's or else a variable's value.
    fn text(
        &mut self,
        flag: &'static str,
        typed: Option<&str>,
        variable: &Variable,
    ) -> Result<Option<Given<String>>, ConfigError> {
        if let Some(typed) = typed {
            return Ok(Some(Given {
                setting: flag,
                value: typed.to_owned(),
                is_flag: true,
            }));
        }
        self.raw(variable).map(utf8).transpose()
    }

    fn variable(&mut self, variable: &Variable) -> Result<Option<Given<String>>, ConfigError> {
        self.raw(variable).map(utf8).transpose()
    }

    fn value(&mut self, variable: &Variable) -> Result<Option<String>, ConfigError> {
        Ok(self.variable(variable)?.map(|given| given.value))
    }

    /// The mode took effect long before the settings are read, see [`crate::init`]. What was passed
    /// over there is an error here.
    fn check_init(&mut self, cli: &Cli) -> Result<(), ConfigError> {
        match self.text("--init", cli.init.as_deref(), &env::INIT)? {
            Some(given) if Mode::parse(given.value.trim()).is_none() => {
                Err(given.error(&given.value, "expected auto, always or never"))
            }
            _ => Ok(()),
        }
    }

    fn mysql_defaults(&mut self) -> Result<MySqlDefaults, ConfigError> {
        let password = self.variable(&env::MYSQL_PASSWORD)?;
        let file = self.raw(&env::MYSQL_PASSWORD_FILE);
        let password = match (password, file) {
            (Some(_), Some(file)) => {
                let expected = format!("expected either this or {}", env::MYSQL_PASSWORD.name);
                return Err(file.error("", expected));
            }
            (Some(password), None) => Some(password.value),
            (None, Some(file)) => Some(self.password_file(&file)?),
            (None, None) => None,
        };
        Ok(MySqlDefaults {
            user: self.value(&env::MYSQL_USER)?,
            password: password.map(Secret::new),
            database: self.value(&env::MYSQL_DATABASE)?,
            query: self.value(&env::MYSQL_QUERY)?,
        })
    }

    fn password_file(&self, file: &Given<OsString>) -> Result<String, ConfigError> {
        let path = file.value.to_string_lossy();
        // What is no path from the root may be the password itself.
        let path = if path.starts_with('/') { &path } else { "" };
        let text = String::from_utf8(self.read(file, path, "a readable file with the password")?)
            .map_err(|_| file.error(path, "expected UTF-8 text"))?;
        // One line end, as editors and `echo` leave it, is not part of the password.
        let line = text.strip_suffix("\r\n").or(text.strip_suffix('\n'));
        Ok(line.unwrap_or(&text).to_owned())
    }

    /// Reads a file, whose path is `path` if it is to be printed.
    fn read(
        &self,
        file: &Given<OsString>,
        path: &str,
        expected: &str,
    ) -> Result<Vec<u8>, ConfigError> {
        (self.surroundings.file)(Path::new(&file.value))
            .map_err(|error| file.error(path, format!("expected {expected}: {error}")))
    }

    /// Certificates to trust besides the built-in ones, where a certificate is verified at all.
    fn tls_authorities(
        &mut self,
        targets: &[Target],
    ) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let mut authorities = Vec::new();
        if let Some(file) = self.raw(&env::TLS_CA_FILE) {
            authorities = self.certificates(&file)?;
        }
        if targets.iter().any(Target::verifies_certificates)
            && let Some(file) = self.raw(&env::SSL_CERT_FILE)
        {
            // It is not ours alone, and may be meant for programs that read other forms.
            match self.certificates(&file) {
                Ok(more) => authorities.extend(more),
                Err(error) => self.notice(format!("{error}; the built-in ones are used")),
            }
        }
        Ok(authorities)
    }

    fn certificates(
        &self,
        file: &Given<OsString>,
    ) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let path = file.value.to_string_lossy();
        let pem = self.read(file, &path, "a readable file with certificates")?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => {
                let expected = "expected certificates in PEM format";
                Err(file.error(path, expected))
            }
        }
    }

    /// The target of a check, which may be a path too: there is no other flag for it.
    fn check_target(
        &mut self,
        target: &str,
        cli: &Cli,
        defaults: &MySqlDefaults,
    ) -> Result<Vec<Target>, ConfigError> {
        let given = Given {
            setting: "--check",
            value: target.to_owned(),
            is_flag: true,
        };
        if !cli.command.is_empty() {
            return Err(given.error("", "expected no command beside it"));
        }
        let mut targets = Vec::new();
        match target.starts_with('/') {
            true => targets.push(Target::Path(target.into())),
            false => self.expand(&given, List::Any, &[], &mut targets)?,
        }
        if targets.is_empty() {
            return Err(given.error("", "expected a target"));
        }
        self.complete_all(&mut targets, defaults)?;
        Ok(targets)
    }

    fn targets(&mut self, cli: &Cli, defaults: &MySqlDefaults) -> Result<Vec<Target>, ConfigError> {
        let mut targets = Vec::new();
        for list in self.lists("--for", &cli.targets, &env::HOSTS)? {
            self.expand(&list, List::Any, &[], &mut targets)?;
        }
        for list in self.lists("--mysql", &cli.mysql, &env::MYSQL)? {
            self.expand(&list, List::MySql, &[], &mut targets)?;
        }
        self.complete_all(&mut targets, defaults)?;
        // A flag holds one path, so that a path with a comma can be given there.
        if cli.paths.is_empty() {
            if let Some(list) = self.raw(&env::PATHS) {
                targets.extend(
                    target::split_list(&list.value).map(|path| Target::Path(PathBuf::from(path))),
                );
            }
        } else {
            let given = cli.paths.iter().filter(|path| !path.as_os_str().is_empty());
            targets.extend(given.cloned().map(Target::Path));
        }
        Ok(without_repetitions(targets))
    }

    /// The lists that a repeatable flag or else its variable holds.
    fn lists(
        &mut self,
        flag: &'static str,
        typed: &[String],
        variable: &Variable,
    ) -> Result<Vec<Given<String>>, ConfigError> {
        if typed.is_empty() {
            return Ok(self.variable(variable)?.into_iter().collect());
        }
        let given = |value: &String| Given {
            setting: flag,
            value: value.clone(),
            is_flag: true,
        };
        Ok(typed.iter().map(given).collect())
    }

    /// Parses the items of a list, and the lists that its `env:NAME` stand for. `through` are the
    /// names that have led here.
    fn expand(
        &self,
        list: &Given<String>,
        kind: List,
        through: &[&str],
        targets: &mut Vec<Target>,
    ) -> Result<(), ConfigError> {
        for item in target::split_list(OsStr::new(&list.value)) {
            let item = item.to_string_lossy(); // it is from a string, cut at ASCII
            if let Some(name) = target::env_reference(&item) {
                let error = |expected: &str| list.error(&item, expected);
                if through.len() == MAX_ENV_DEPTH {
                    return Err(error("expected a variable that does not lead back here"));
                }
                let value = (self.surroundings.variable)(name)
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| error("expected a variable that is set"))?
                    .into_string()
                    .map_err(|_| error("expected a variable with UTF-8 text"))?;
                let inner = Given {
                    setting: list.setting,
                    value,
                    is_flag: list.is_flag,
                };
                self.expand(&inner, kind, &[through, &[name]].concat(), targets)?;
            } else {
                let target = kind.parse(&item, !through.is_empty());
                targets.push(target.map_err(|expected| match through.last() {
                    // What an application's variable holds may be a secret through and through.
                    Some(name) => list.error(format!("env:{name}"), expected),
                    None => list.error(&item, expected),
                })?);
            }
        }
        Ok(())
    }

    fn complete_all(
        &mut self,
        targets: &mut [Target],
        defaults: &MySqlDefaults,
    ) -> Result<(), ConfigError> {
        for target in targets {
            if let Target::MySql(mysql) = target {
                self.complete(mysql, defaults)?;
            }
        }
        Ok(())
    }

    fn complete(&mut self, mysql: &mut MySql, defaults: &MySqlDefaults) -> Result<(), ConfigError> {
        mysql.user = mysql.user.take().or_else(|| defaults.user.clone());
        mysql.password = mysql.password.take().or_else(|| defaults.password.clone());
        mysql.database = mysql.database.take().or_else(|| defaults.database.clone());
        if mysql.user.is_some() {
            return Ok(());
        }
        if defaults.query.is_some() {
            let expected = format!("expected a user for {mysql}, to run the statement as");
            return Err(invalid(env::MYSQL_QUERY.name, "", expected));
        }
        if mysql.password.is_some() {
            self.notice(format!(
                "{mysql} has a password and no user: it is not logged in to (set {})",
                env::MYSQL_USER.name
            ));
        }
        Ok(())
    }

    fn timing(&mut self, cli: &Cli) -> Result<Timing, ConfigError> {
        let default = Timing::default();
        let given = |text: &str| parse_duration(text).map(Some);
        Ok(Timing {
            timeout: self.duration(
                "--timeout",
                &cli.timeout,
                &env::TIMEOUT,
                default.timeout,
                |text| {
                    let infinite = text.eq_ignore_ascii_case("infinity").then_some(None);
                    infinite.or_else(|| given(text))
                },
            )?,
            connect_timeout: self.duration(
                "--connect-timeout",
                &cli.connect_timeout,
                &env::CONNECT_TIMEOUT,
                default.connect_timeout,
                |text| parse_duration(text).filter(|duration| !duration.is_zero()),
            )?,
            interval: self.duration(
                "--interval",
                &cli.interval,
                &env::INTERVAL,
                default.interval,
                given,
            )?,
            before: self.duration(
                "--before",
                &cli.before,
                &env::BEFORE,
                default.before,
                parse_duration,
            )?,
            after: self.duration(
                "--after",
                &cli.after,
                &env::AFTER,
                default.after,
                parse_duration,
            )?,
        })
    }

    /// A setting that is a duration. A variable that holds none earns a warning, since
    /// docker-compose-wait ignored it and images in the field must keep starting.
    fn duration<T: ShowDefault>(
        &mut self,
        flag: &'static str,
        typed: &Option<String>,
        variable: &Variable,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let Some(given) = self.text(flag, typed.as_deref(), variable)? else {
            return Ok(default);
        };
        let text = given.value.trim();
        if let Some(value) = parse(text) {
            return Ok(value);
        }
        let expected = if *variable == env::CONNECT_TIMEOUT {
            "expected seconds above 0, or a duration such as 500ms or 1m 30s"
        } else if *variable == env::TIMEOUT {
            "expected seconds, a duration such as 500ms or 1m 30s, or infinity"
        } else {
            "expected seconds, or a duration such as 500ms or 1m 30s"
        };
        if given.is_flag {
            return Err(given.error(text, expected));
        }
        self.notice(format!(
            "{}: {}{expected}; the default is used: {}",
            given.setting,
            Item(&target::redacted(text)),
            default.show()
        ));
        Ok(default)
    }

    fn command(&mut self, cli: &Cli) -> Result<Option<Command>, ConfigError> {
        let mut words = if cli.command.is_empty() {
            let Some(line) = self.variable(&env::COMMAND)? else {
                return Ok(None);
            };
            shell_words::split(&line.value)
                .map_err(|_| {
                    // The first word alone: what follows may hold secrets.
                    let end = |c: char| c.is_whitespace() || "'\"".contains(c);
                    let program = line.value.trim().split(end).next().unwrap_or_default();
                    line.error(format!("{program} …"), "expected every quote to be closed")
                })?
                .into_iter()
                .map(OsString::from)
                .collect()
        } else {
            cli.command.clone()
        };
        if words.is_empty() {
            return Ok(None);
        }
        let args = words.split_off(1);
        Ok(words.pop().map(|program| Command { program, args }))
    }

    fn scrub(&mut self) -> Result<bool, ConfigError> {
        match self.variable(&env::SCRUB)? {
            None => Ok(false),
            Some(given) => match given.value.trim() {
                "1" => Ok(true),
                "0" => Ok(false),
                other => Err(given.error(other, "expected 1 or 0")),
            },
        }
    }
}

/// A default in words, for the warning that it is used.
trait ShowDefault {
    fn show(&self) -> String;
}

impl ShowDefault for Duration {
    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl ShowDefault for Option<Duration> {
    /// None of the settings is infinite by default: without a duration it is the interval.
    fn show(&self) -> String {
        self.map_or("adaptive".to_owned(), |duration| duration.show())
    }
}

/// What a list holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Any,
    MySql,
}

impl List {
    /// `indirect` is for items that an `env:NAME` led to: those may be an application's own URLs.
    fn parse(self, item: &str, indirect: bool) -> Result<Target, TargetError> {
        let parameters = match indirect {
            true => Parameters::Applications,
            false => Parameters::Ours,
        };
        match self {
            Self::Any if !target::is_mysql_url(item) => item.parse(),
            _ => Ok(Target::MySql(MySql::parse(item, parameters)?)),
        }
    }
}

/// Each target once, and no bare TCP target where a MySQL target is at the same place: the login
/// says more, and a connection without one counts as an error on the server.
fn without_repetitions(targets: Vec<Target>) -> Vec<Target> {
    let is_implied = |target: &Target| match target {
        Target::Tcp(endpoint) => targets.iter().any(|other| match other {
            Target::MySql(mysql) => mysql.socket.is_none() && mysql.endpoint == *endpoint,
            _ => false,
        }),
        _ => false,
    };
    let mut kept: Vec<Target> = Vec::new();
    for target in &targets {
        if !kept.contains(target) && !is_implied(target) {
            kept.push(target.clone());
        }
    }
    kept
}

/// A whole number of seconds, as docker-compose-wait has it, or what humantime reads.
fn parse_duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

fn utf8(given: Given<OsString>) -> Result<Given<String>, ConfigError> {
    match given.value.into_string() {
        Ok(value) => Ok(Given {
            setting: given.setting,
            value,
            is_flag: given.is_flag,
        }),
        Err(_) => Err(invalid(given.setting, "", "expected UTF-8 text")),
    }
}

#[cfg(test)]
mod tests;
