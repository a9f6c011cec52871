//! From the command line and the environment to one [`Config`]: a pure function. The outside world
//! (variables, the contents of files) comes in as functions, notices go out as values.
#![forbid(unsafe_code)]

mod advice;
pub mod cli;
pub mod environment;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tracing_subscriber::filter::LevelFilter;

use crate::kinds::{self, KINDS};
use crate::output::log::{self, Format};
use crate::process::exec::Command;
use crate::process::init::{Mode, Receivers, Successes};
use crate::targets::address::{is_scheme, of_dialect, shown, split_options};
use crate::targets::{
    Address, Common, Defaults, Endpoint, Expected, Kind, Origin, Target, env_reference, one_of,
};
use advice::Form;
use cli::Cli;
use environment::Variable;

/// How deep `env:` may name variables that hold `env:` again.
const MAX_ENV_DEPTH: usize = 8;

/// How much of an item an error shows, in characters.
const LONGEST_ITEM: usize = 200;

/// Everything that `wait` needs to know, decided.
#[derive(Debug)]
pub struct Config {
    /// The targets, complete.
    pub targets: Vec<Target>,
    /// Whether one attempt is asked for, and nothing but its result.
    pub is_check: bool,
    /// How long and how often.
    pub timing: Timing,
    /// Certificates of authorities to trust besides the built-in ones.
    pub tls_authorities: Vec<CertificateDer<'static>>,
    /// The command to become when all is ready.
    pub command: Option<Command>,
    /// What follows if not everything is ready in time.
    pub on_timeout: OnTimeout,
    /// Whether the targets are to be printed and not tried.
    pub is_dry_run: bool,
    /// Whether the variables of the kinds are taken out of the command's environment.
    pub scrub: bool,
}

/// What follows if not everything is ready in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// The exit status says so.
    #[default]
    Fail,
    /// The command starts all the same.
    Start,
}

/// How long and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For all targets together, from the first attempt on; `None` is for ever, zero one attempt each.
    pub timeout: Option<Duration>,
    /// For looking up a name and connecting; with a timeout of zero for the whole attempt.
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

/// The sources of the settings, besides the command line.
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The contents of a regular file with certificates.
    pub file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The names of all environment variables.
    pub names: &'a dyn Fn() -> Vec<OsString>,
    /// Whether standard error is a terminal that can move its cursor.
    pub is_terminal: bool,
}

/// Settings that cannot be used. `Display` is one line: the setting, the item and the expected form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The command line is not one of ours.
    #[error("{0} (see /wait --help)")]
    Usage(String),
    /// One setting, or an item of its list.
    #[error("{setting}: {item}{expected}", item = Item(.item))]
    Invalid {
        /// The flag's or variable's name.
        setting: String,
        /// The item as it may be printed; empty where there is nothing to print.
        item: String,
        /// The expected form.
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
    setting: String,
    value: T,
    /// From a flag, where mistakes are errors even if docker-compose-wait ignored them.
    is_flag: bool,
}

impl<T> Given<T> {
    fn error(&self, item: impl AsRef<str>, expected: impl fmt::Display) -> ConfigError {
        invalid(&self.setting, item, expected)
    }
}

/// No item gets into an error but through here: any of them may hold a password, be it only because
/// it is in the wrong place.
fn invalid(setting: &str, item: impl AsRef<str>, expected: impl fmt::Display) -> ConfigError {
    ConfigError::Invalid {
        setting: setting.to_owned(),
        item: shown_item(item.as_ref()),
        expected: expected.to_string(),
    }
}

/// An item as it may be printed: a path, a reference or a plain word as it is, and of anything else
/// the parts that cannot be a secret.
fn shown_item(item: &str) -> String {
    let is_plain = !item.contains(['@', ':', '=', '?', '/', '\\', '#']);
    let is_path = item.starts_with('/') && !item.contains('@');
    match is_plain || is_path || env_reference(item).is_some() {
        true => item.to_owned(),
        false => shown(item),
    }
}

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];
const FORMATS: [(&str, Format); 2] = [("text", Format::Text), ("json", Format::Json)];
const ON_TIMEOUT: [(&str, OnTimeout); 2] = [("fail", OnTimeout::Fail), ("start", OnTimeout::Start)];
const YES_OR_NO: [(&str, bool); 2] = [("1", true), ("0", false)];

/// The value of a setting that has names for its values.
fn choose<T: Copy>(
    given: Option<Given<String>>,
    values: &[(&str, T)],
    default: T,
) -> Result<T, ConfigError> {
    match given {
        None => Ok(default),
        Some(given) => one_of("expected", given.value.trim(), values)
            .map_err(|expected| given.error(&given.value, expected)),
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
    let (level, format) = (resolver.level(cli)?, resolver.format(cli)?);
    let variable = |name| (surroundings.variable)(name).unwrap_or_default();
    let is_live = surroundings.is_terminal
        && format == Format::Text
        && level == LevelFilter::INFO
        && variable("NO_COLOR").is_empty()
        && variable("TERM") != "dumb";
    Ok(log::Settings {
        level,
        format,
        is_live,
    })
}

/// The value of a variable of this process, before the settings are read.
pub fn early(variable: &Variable) -> Option<String> {
    let value = environment::get(variable.name)?.into_string().ok()?;
    let (rest, _) = advice::cleaned(&value, Form::of(variable.name));
    Some(rest.into_owned())
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
    // By now they are used; this time it is said what is wrong with them.
    resolver.level(cli)?;
    resolver.format(cli)?;
    resolver.check_init(cli)?;
    for warning in advice::near_misses((surroundings.names)().into_iter()) {
        resolver.notice(warning);
    }
    let (mut targets, mut timing, mut tls_authorities) = Default::default();
    // What is not used cannot be wrong.
    if cli.check.is_some() || !resolver.is_disabled() {
        targets = match &cli.check {
            Some(target) => resolver.check_target(target, cli)?,
            None => resolver.targets(cli)?,
        };
        resolver.check_unused(&targets);
        timing = resolver.timing(cli)?;
        tls_authorities = resolver.tls_authorities(&targets)?;
    }
    if cli.check.is_some() {
        timing = Timing {
            timeout: Some(Duration::ZERO),
            connect_timeout: timing.connect_timeout,
            ..Timing::default()
        };
    }
    let config = Config {
        tls_authorities,
        targets,
        is_check: cli.check.is_some(),
        timing,
        command: match cli.check {
            Some(_) => None,
            None => resolver.command(cli)?,
        },
        on_timeout: resolver.on_timeout(cli)?,
        is_dry_run: cli.dry_run,
        scrub: resolver.scrub()?,
    };
    Ok((config, resolver.notices.into_inner()))
}

struct Resolver<'a> {
    surroundings: &'a Surroundings<'a>,
    notices: RefCell<Vec<Notice>>,
}

impl<'a> Resolver<'a> {
    fn new(surroundings: &'a Surroundings<'a>) -> Self {
        Self {
            surroundings,
            notices: RefCell::default(),
        }
    }

    /// Something that the user should know, once.
    fn notice(&self, text: String) {
        let (notice, mut notices) = (Notice(text), self.notices.borrow_mut());
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }

    /// The value of a variable that is set and not empty, as it is.
    fn exactly(&self, name: &str) -> Option<Given<OsString>> {
        let value = (self.surroundings.variable)(name).filter(|value| !value.is_empty())?;
        Some(Given {
            setting: name.to_owned(),
            value,
            is_flag: false,
        })
    }

    /// The value of a variable that is set and not empty, without what is not meant.
    fn named(&self, name: &str) -> Option<Given<OsString>> {
        let mut given = self.exactly(name)?;
        if let Some(text) = given.value.to_str() {
            let (rest, dropped) = advice::cleaned(text, Form::of(name));
            if let Some(dropped) = dropped {
                self.notice(format!("{name}: {dropped}: dropped"));
            }
            given.value = rest.as_ref().into();
        }
        Some(given).filter(|given| !given.value.is_empty())
    }

    /// A setting that has names for its values. A variable with another value earns a warning, since
    /// docker-compose-wait ignored it.
    fn lenient<T: Copy>(
        &mut self,
        flag: &str,
        typed: Option<&str>,
        variable: &Variable,
        values: &[(&str, T)],
        default: T,
    ) -> Result<T, ConfigError> {
        let given = self.text(flag, typed, variable)?;
        let is_flag = given.as_ref().is_some_and(|given| given.is_flag);
        match choose(given, values, default) {
            Err(error) if !is_flag => {
                self.notice(format!("{error}; the default is used"));
                Ok(default)
            }
            result => result,
        }
    }

    fn level(&mut self, cli: &Cli) -> Result<LevelFilter, ConfigError> {
        let (typed, default) = (cli.log_level.as_deref(), log::Settings::default().level);
        self.lenient(
            "--log-level",
            typed,
            &environment::LOG_LEVEL,
            &LEVELS,
            default,
        )
    }

    fn format(&mut self, cli: &Cli) -> Result<Format, ConfigError> {
        let (typed, default) = (cli.log_format.as_deref(), log::Settings::default().format);
        self.lenient(
            "--log-format",
            typed,
            &environment::LOG_FORMAT,
            &FORMATS,
            default,
        )
    }

    /// Whether there is nothing to wait for, by the user's will.
    fn is_disabled(&self) -> bool {
        let is_disabled = self.named(environment::DISABLED.name).is_some();
        if is_disabled {
            let name = environment::DISABLED.name;
            self.notice(format!("{name} is set: nothing is waited for"));
        }
        is_disabled
    }

    fn on_timeout(&mut self, cli: &Cli) -> Result<OnTimeout, ConfigError> {
        let typed = cli.on_timeout.as_deref();
        let given = self.text("--on-timeout", typed, &environment::ON_TIMEOUT)?;
        choose(given, &ON_TIMEOUT, OnTimeout::Fail)
    }

    /// The settings of a kind mean nothing without a target of it.
    fn check_unused(&self, targets: &[Target]) {
        for kind in KINDS.iter().filter(|kind| kind.has_settings()) {
            if !targets.iter().any(|target| target.kind == *kind) {
                for name in kind.variables().filter(|name| self.exactly(name).is_some()) {
                    self.notice(format!(
                        "{name} is set, and there is no {} target",
                        kind.name
                    ));
                }
            }
        }
    }

    /// A variable's value, from its deprecated name if need be.
    fn raw(&mut self, variable: &Variable) -> Option<Given<OsString>> {
        let current = self.named(variable.name);
        let old = variable.deprecated.and_then(|name| self.named(name));
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
        flag: &str,
        typed: Option<&str>,
        variable: &Variable,
    ) -> Result<Option<Given<String>>, ConfigError> {
        if let Some(typed) = typed {
            return Ok(Some(Given {
                setting: flag.to_owned(),
                value: typed.to_owned(),
                is_flag: true,
            }));
        }
        self.raw(variable).map(utf8).transpose()
    }

    fn variable(&mut self, variable: &Variable) -> Result<Option<Given<String>>, ConfigError> {
        self.raw(variable).map(utf8).transpose()
    }

    /// These took effect long before the settings are read, see [`crate::process::init`]. What was passed
    /// over there is an error here.
    fn check_init(&mut self, cli: &Cli) -> Result<(), ConfigError> {
        use environment::{INIT, INIT_OK, INIT_SIGNALS};
        let mode = self.text("--init", cli.init.as_deref(), &INIT)?;
        choose(mode, &Mode::NAMES, Mode::default())?;
        let receivers = self.text("--init-signals", cli.init_signals.as_deref(), &INIT_SIGNALS)?;
        choose(receivers, &Receivers::NAMES, Receivers::default())?;
        match self.text("--init-ok", cli.init_ok.as_deref(), &INIT_OK)? {
            Some(given) => Successes::parse(&given.value)
                .map(drop)
                .map_err(|expected| given.error(&given.value, expected)),
            None => Ok(()),
        }
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

    /// Certificates to trust besides the built-in ones.
    fn tls_authorities(
        &mut self,
        targets: &[Target],
    ) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let mut authorities = Vec::new();
        if let Some(file) = self.raw(&environment::TLS_CA_FILE) {
            authorities = self.certificates(&file)?;
        }
        if targets
            .iter()
            .any(|target| target.probe.verifies_certificates())
            && let Some(file) = self.raw(&environment::SSL_CERT_FILE)
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
    fn check_target(&mut self, target: &str, cli: &Cli) -> Result<Vec<Target>, ConfigError> {
        let given = Given {
            setting: "--check".into(),
            value: target.to_owned(),
            is_flag: true,
        };
        if !cli.command.is_empty() {
            return Err(given.error("", "expected no command beside it"));
        }
        let mut targets = Vec::new();
        match target.starts_with('/') {
            true => targets
                .push(path_target(OsStr::new(target)).map_err(|error| given.error(target, error))?),
            false => self.expand(&given, None, &mut Vec::new(), &mut targets)?,
        }
        if targets.is_empty() {
            return Err(given.error("", "expected a target"));
        }
        Ok(targets)
    }

    fn targets(&mut self, cli: &Cli) -> Result<Vec<Target>, ConfigError> {
        let mut targets = Vec::new();
        let lists = self.lists("--for", &cli.targets, environment::HOSTS.name)?;
        let mut lists: Vec<_> = lists.into_iter().map(|list| (None, list)).collect();
        for kind in KINDS.iter().filter(|kind| kind.has_settings()) {
            let typed = cli.kinds.iter().find(|(other, _)| other == kind);
            let typed = typed.map_or(&[][..], |(_, typed)| typed);
            let found = self.lists(&format!("--{}", kind.name), typed, &kind.variable())?;
            lists.extend(found.into_iter().map(|list| (Some(*kind), list)));
        }
        for (kind, list) in lists {
            self.expand(&list, kind, &mut Vec::new(), &mut targets)?;
        }
        // A flag holds one path, so that a path with a comma can be given there.
        let list = match cli.paths.is_empty() {
            true => self.raw(&environment::PATHS),
            false => None,
        };
        let from_list = list.iter().flat_map(|list| split_list(&list.value));
        let typed = cli.paths.iter().map(|path| path.as_os_str());
        let setting = list.as_ref().map_or("--path", |list| &list.setting);
        for path in from_list.chain(typed.filter(|path| !path.is_empty())) {
            let target = match list.is_some() && advice::is_quoted(path.as_bytes()) {
                true => Err(Expected::new(advice::NO_QUOTES)),
                false => path_target(path),
            };
            targets.push(target.map_err(|error| invalid(setting, path.to_string_lossy(), error))?);
        }
        for lines in self.lists("--exec", &cli.exec, environment::EXEC.name)? {
            for line in command_lines(&lines) {
                targets.extend(self.command_target(&line)?);
            }
        }
        Ok(without_repetitions(targets))
    }

    /// The target that is a command, unless the line is empty.
    fn command_target(&mut self, line: &Given<String>) -> Result<Option<Target>, ConfigError> {
        // Options stand where a shell has a comment.
        let (before, options) = Common::split(OsStr::new(&line.value));
        let before = before.to_string_lossy();
        let (text, options) = match before.ends_with(char::is_whitespace) {
            true => (&*before, options),
            false => (&*line.value, ""),
        };
        let Some(command) = self.split_command(line, text)? else {
            return Ok(None);
        };
        let name = format!("{} …", command.name());
        let target = kinds::command(command).with_options(options);
        let target = target.and_then(|target| match target.common.is_gone {
            true => Err(Expected::new(
                "expected no option gone: for the opposite, write sh -c '! …'",
            )),
            false => Ok(target),
        });
        target
            .map(Some)
            .map_err(|expected| line.error(name, expected))
    }

    /// The lists that a repeatable flag or else its variable holds.
    fn lists(
        &mut self,
        flag: &str,
        typed: &[String],
        variable: &str,
    ) -> Result<Vec<Given<String>>, ConfigError> {
        let given = |value: &String| Given {
            setting: flag.to_owned(),
            value: value.clone(),
            is_flag: true,
        };
        match typed {
            [] => Ok(self
                .named(variable)
                .map(utf8)
                .transpose()?
                .into_iter()
                .collect()),
            typed => Ok(typed.iter().map(given).collect()),
        }
    }

    /// Makes targets of the items of a list, and of the lists that its `env:NAME` stand for.
    /// `through` are the names that have led here.
    fn expand(
        &mut self,
        list: &Given<String>,
        kind: Option<&'static Kind>,
        through: &mut Vec<String>,
        targets: &mut Vec<Target>,
    ) -> Result<(), ConfigError> {
        let items = split_list(OsStr::new(&list.value)).flat_map(split_at_blanks);
        // They are from a string, cut at ASCII.
        let items = items.map(OsStr::to_string_lossy).collect();
        for item in if kind.is_none() {
            join_hosts(items)
        } else {
            items
        } {
            let (reference, options) = split_options(&item);
            if let Some(name) = env_reference(reference) {
                let error = |expected: &str| list.error(reference, expected);
                if through.len() == MAX_ENV_DEPTH {
                    return Err(error("expected a variable that does not lead back here"));
                }
                let value = match self.named(name) {
                    Some(given) => given.value,
                    None => self.file_of(name, reference, list)?,
                };
                let value = value
                    .into_string()
                    .map_err(|_| error("expected a variable with UTF-8 text"))?;
                through.push(name.to_owned());
                // A URL is one target, whatever commas it holds.
                if is_one_target(&value) {
                    let value = with_options(&value, options);
                    self.add_target(&value, kind, list, through, targets)?;
                } else {
                    let items = split_list(OsStr::new(&value)).map(OsStr::to_string_lossy);
                    let items: Vec<_> = items.map(|item| with_options(&item, options)).collect();
                    if items.is_empty() {
                        return Err(error("expected a variable with a target"));
                    }
                    let inner = Given {
                        setting: list.setting.clone(),
                        value: items.join(","),
                        is_flag: list.is_flag,
                    };
                    self.expand(&inner, kind, through, targets)?;
                }
                through.pop();
            } else {
                self.add_target(&item, kind, list, through, targets)?;
            }
        }
        Ok(())
    }

    /// The contents of the file that `NAME_FILE` names, in the place of `NAME`.
    fn file_of(
        &self,
        name: &str,
        reference: &str,
        list: &Given<String>,
    ) -> Result<OsString, ConfigError> {
        let variable = format!("{name}_FILE");
        let Some(file) = self.named(&variable) else {
            return Err(list.error(reference, "expected a variable that is set"));
        };
        let contents = (self.surroundings.file)(Path::new(&file.value)).map_err(|error| {
            let expected = format!("expected {variable} to name a readable file: {error}");
            list.error(reference, expected)
        })?;
        let text = String::from_utf8_lossy(&contents);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (text, dropped) = advice::cleaned(text.trim_end_matches(['\r', '\n']), Form::List);
        if let Some(dropped) = dropped {
            self.notice(format!("{variable}: {dropped}: dropped"));
        }
        Ok(text.as_ref().into())
    }

    fn add_target(
        &mut self,
        item: &str,
        kind: Option<&'static Kind>,
        list: &Given<String>,
        through: &[String],
        targets: &mut Vec<Target>,
    ) -> Result<(), ConfigError> {
        if kind.is_none()
            && let Some((scheme, what)) = advice::without_server(item)
        {
            self.notice(format!("{scheme}: {what} has nothing to wait for"));
            return Ok(());
        }
        let target = match advice::is_unexpanded(split_options(item).0) {
            true => Err(Expected::new(
                "expected no ${…}: it is the name of a variable, which nothing has expanded",
            )),
            false => self.target(item, kind, !through.is_empty()),
        };
        let target = target.map_err(|expected| {
            let is_alone = list.setting == "--check";
            let expected = advice::target(item, &list.value, is_alone).unwrap_or(expected);
            match through.last() {
                // All of an application's variable may be a secret.
                Some(name) => list.error(format!("env:{name}"), expected),
                None => ConfigError::Invalid {
                    setting: list.setting.clone(),
                    // A comma may have cut it out of a password in another form.
                    item: match list.value.contains(';') && item.len() < list.value.len() {
                        true => "…".to_owned(),
                        false => shown(item),
                    },
                    expected: expected.to_string(),
                },
            }
        })?;
        targets.push(target);
        Ok(())
    }

    /// Makes a target of an item. One that an `env:NAME` led to may be an application's own URL.
    fn target(
        &mut self,
        item: &str,
        kind: Option<&'static Kind>,
        is_indirect: bool,
    ) -> Result<Target, Expected> {
        let origin = match is_indirect {
            true => Origin::Application,
            false => Origin::Ours,
        };
        if kind.is_none()
            && let Some(target) = kinds::without_host(item)
        {
            return target;
        }
        let address = Address::parse(item, KINDS, kind, origin).or_else(|expected| {
            let found = match kind {
                None => Address::only_port(item)?,
                Some(_) => None,
            };
            let (address, scheme) = found.ok_or(expected)?;
            self.notice(format!(
                "{address}: of {scheme}:// only the port is checked"
            ));
            Ok(address)
        })?;
        let defaults = Defaults {
            kind: address.kind,
            variable: &|name, is_secret| {
                let given = match is_secret {
                    true => self.exactly(name),
                    false => self.named(name),
                };
                match given.map(utf8).transpose() {
                    Ok(given) => Ok(given.map(|given| given.value)),
                    Err(error) => Err(Expected::new(error.to_string())),
                }
            },
            file: self.surroundings.file,
            notices: RefCell::default(),
        };
        let target = Target::at(address, &defaults)?;
        for notice in defaults.notices.into_inner() {
            self.notice(notice);
        }
        Ok(target)
    }

    fn timing(&mut self, cli: &Cli) -> Result<Timing, ConfigError> {
        use environment::{AFTER, BEFORE, CONNECT_TIMEOUT, INTERVAL, TIMEOUT};
        let Timing {
            timeout,
            connect_timeout,
            interval,
            before,
            after,
        } = Timing::default();
        let mut duration = |flag, typed: &Option<String>, variable, default| {
            self.duration(flag, typed.as_deref(), variable, default)
        };
        // Only the deadline can be infinite, and only the interval is adaptive by default.
        let is_there = |duration: Option<Duration>| duration.unwrap_or_default();
        Ok(Timing {
            timeout: duration("--timeout", &cli.timeout, &TIMEOUT, timeout)?,
            connect_timeout: is_there(duration(
                "--connect-timeout",
                &cli.connect_timeout,
                &CONNECT_TIMEOUT,
                Some(connect_timeout),
            )?),
            interval: duration("--interval", &cli.interval, &INTERVAL, interval)?,
            before: is_there(duration("--before", &cli.before, &BEFORE, Some(before))?),
            after: is_there(duration("--after", &cli.after, &AFTER, Some(after))?),
        })
    }

    /// A setting that is a duration. A variable that holds none earns a warning, since
    /// docker-compose-wait ignored it and images in the field must keep starting.
    fn duration(
        &mut self,
        flag: &str,
        typed: Option<&str>,
        variable: &Variable,
        default: Option<Duration>,
    ) -> Result<Option<Duration>, ConfigError> {
        let Some(given) = self.text(flag, typed, variable)? else {
            return Ok(default);
        };
        let text = given.value.trim();
        let (needs_some, may_be_infinite) = (
            *variable == environment::CONNECT_TIMEOUT,
            *variable == environment::TIMEOUT,
        );
        match parse_duration(text) {
            Some(duration) if !(needs_some && duration.is_zero()) => return Ok(Some(duration)),
            None if may_be_infinite && text.eq_ignore_ascii_case("infinity") => return Ok(None),
            _ => {}
        }
        let expected = match (needs_some, may_be_infinite) {
            (true, _) => "expected seconds above 0, or a duration such as 500ms or 1m 30s",
            (_, true) => "expected seconds, a duration such as 500ms or 1m 30s, or infinity",
            _ => "expected seconds, or a duration such as 500ms or 1m 30s",
        };
        let error = given.error(text, expected);
        if given.is_flag {
            return Err(error);
        }
        let default_text = default.map(|default| humantime::format_duration(default).to_string());
        let default_text = default_text.unwrap_or("adaptive".to_owned());
        self.notice(format!("{error}; the default is used: {default_text}"));
        Ok(default)
    }

    fn command(&mut self, cli: &Cli) -> Result<Option<Command>, ConfigError> {
        if cli.command.is_empty() {
            return match self.variable(&environment::COMMAND)? {
                Some(line) => self.split_command(&line, &line.value),
                None => Ok(None),
            };
        }
        if let Some(advice) = advice::target_as_command(&cli.command) {
            return Err(ConfigError::Usage(advice));
        }
        Ok(command_of(cli.command.clone()))
    }

    /// Splits a command line by the quoting of shells, without a shell.
    fn split_command(
        &self,
        line: &Given<String>,
        text: &str,
    ) -> Result<Option<Command>, ConfigError> {
        let words = shell_words::split(text).map_err(|_| {
            // The first word alone: what follows may hold secrets.
            let end = |c: char| c.is_whitespace() || "'\"".contains(c);
            let program = text.trim().split(end).next().unwrap_or_default();
            line.error(format!("{program} …"), "expected every quote to be closed")
        })?;
        if let Some(word) = advice::needs_shell(&words) {
            self.notice(format!(
                "{}: there is no shell to understand {word}: for one, write sh -c '…'",
                line.setting
            ));
        }
        Ok(command_of(words.into_iter().map(OsString::from).collect()))
    }

    fn scrub(&mut self) -> Result<bool, ConfigError> {
        choose(self.variable(&environment::SCRUB)?, &YES_OR_NO, false)
    }
}

/// The options of a reference, added to a target that it stands for.
fn with_options(item: &str, options: &str) -> String {
    let has_options = match of_dialect(item, KINDS) {
        Some((_, own)) => !own.is_empty(),
        None => item.contains('#'),
    };
    match (options, has_options) {
        ("", _) => item.to_owned(),
        (options, true) => format!("{item}&{options}"),
        (options, false) => format!("{item}#{options}"),
    }
}

/// Whether a value is one target, whatever commas it holds: one that begins with a scheme, unless
/// another begins so after a comma, or a driver's own form.
fn is_one_target(value: &str) -> bool {
    let has_scheme = |text: &str| {
        let prefix = text.trim().split_once("://");
        prefix.is_some_and(|(prefix, _)| prefix.split(':').all(is_scheme)) // jdbc:…
    };
    let mut items = value.split([',', '\n']);
    let is_url = items.next().is_some_and(has_scheme) && !items.any(has_scheme);
    is_url || of_dialect(value, KINDS).is_some() || kinds::of_driver(value).is_some()
}

/// The target at a path, which options may follow.
fn path_target(text: &OsStr) -> Result<Target, Expected> {
    let (path, options) = Common::split(text);
    kinds::path(Path::new(path)).with_options(options)
}

fn command_of(mut words: Vec<OsString>) -> Option<Command> {
    let args = words.split_off(words.len().min(1));
    Some(Command {
        program: words.pop()?,
        args,
    })
}

/// The command lines of a setting: a flag holds one, a variable has one a line.
fn command_lines(given: &Given<String>) -> Vec<Given<String>> {
    let lines = match given.is_flag {
        true => vec![&*given.value],
        false => given.value.lines().collect(),
    };
    let with = |value: &str| Given {
        setting: given.setting.clone(),
        value: value.trim().to_owned(),
        is_flag: given.is_flag,
    };
    lines.into_iter().map(with).collect()
}

/// Splits a list at commas and line ends; spaces around items are dropped, empty items ignored.
pub fn split_list(list: &OsStr) -> impl Iterator<Item = &OsStr> {
    list.as_bytes()
        .split(|byte| matches!(byte, b',' | b'\n' | b'\r'))
        .map(|item| OsStr::from_bytes(item.trim_ascii()))
        .filter(|item| !item.is_empty())
}

/// Joins items that are one URL of several hosts: `SCHEME://A`, `B/PATH`. Alone the last is no target.
fn join_hosts(items: Vec<Cow<'_, str>>) -> Vec<Cow<'_, str>> {
    let is_begun = |item: &str| {
        let Some((scheme, rest)) = item.split_once("://") else {
            return false;
        };
        let mut kinds = KINDS.iter();
        let kind = kinds.find(|kind| kind.scheme(scheme).is_some());
        kind.is_some_and(|kind| kind.several_hosts) && !rest.contains(['/', '?', '#'])
    };
    let mut joined: Vec<Cow<'_, str>> = Vec::new();
    let mut items = items.into_iter();
    while let Some(item) = items.next() {
        let is_other = |item: &str| item.contains("://") || env_reference(item).is_some();
        let mut rest = items.clone().take_while(|next| !is_other(next));
        let end = match is_begun(&item) {
            true => rest.position(|next| next.contains(['/', '?'])),
            false => None,
        };
        joined.push(match end {
            None => item,
            Some(end) => {
                let others: Vec<_> = items.by_ref().take(end + 1).collect();
                format!("{item},{}", others.join(",")).into()
            }
        });
    }
    joined
}

/// Splits an item at its blanks if every part is a plain `HOST:PORT`.
fn split_at_blanks(item: &OsStr) -> Vec<&OsStr> {
    let parts = item.as_bytes().split(u8::is_ascii_whitespace);
    let parts: Vec<_> = parts
        .filter(|part| !part.is_empty())
        .map(OsStr::from_bytes)
        .collect();
    let is_plain = |part: &&OsStr| {
        part.to_str()
            .is_some_and(|part| part.parse::<Endpoint>().is_ok())
    };
    match parts.iter().all(is_plain) {
        true => parts,
        false => vec![item],
    }
}

/// Each target once, and no bare connection where another target is at the same place: that one says
/// more, and some servers count a connection without a login as an error.
fn without_repetitions(targets: Vec<Target>) -> Vec<Target> {
    let mut kept: Vec<Target> = Vec::new();
    for target in targets {
        if !kept.iter().any(|other| other.is_same(&target)) {
            kept.push(target);
        }
    }
    let is_bare = |target: &Target| target.kind == KINDS[0];
    let implied: Vec<bool> = kept
        .iter()
        .map(|target| {
            let says_more = |other: &Target| !is_bare(other) && other.is_at_same_place(target);
            is_bare(target) && kept.iter().any(says_more)
        })
        .collect();
    let mut implied = implied.into_iter();
    kept.retain(|_| !implied.next().unwrap_or_default());
    kept
}

/// A whole number of seconds, as docker-compose-wait has it, or what humantime reads.
pub fn parse_duration(text: &str) -> Option<Duration> {
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
        Err(_) => Err(invalid(&given.setting, "", "expected UTF-8 text")),
    }
}
