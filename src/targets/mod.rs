//! Targets: how they are written, printed and made, and the data of their kinds. Nothing here touches
//! the network.
#![forbid(unsafe_code)]

pub mod address;
mod host;
mod kind;
pub mod secret;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use humantime::format_duration;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::net::At;
#[cfg(feature = "tls")]
use crate::net::tls::{Identity, Tls, TlsMode, Verification, certificates_from_pem};
use crate::probe::{NotReady, Probe, reason};
#[cfg(feature = "tls")]
use crate::settings::environment;
use crate::settings::parse_duration;
#[cfg(feature = "postgres")]
pub(crate) use address::login_and_hosts;
pub use address::{Address, Origin};
pub use host::{Endpoint, Host};
pub use kind::{Dialect, Kind, Parameters, Parse, Scheme, Setting};
pub use secret::{Password, Secret, SecretFile, Source};

/// A target, complete. `Display` is its name in the log; no secret is in it.
#[derive(Debug)]
pub struct Target {
    /// The kind of target.
    pub kind: &'static Kind,
    /// The way to try it.
    pub probe: Box<dyn Probe>,
    /// The options that every kind has.
    pub common: Common,
    name: String,
    /// Where connections are made.
    places: Vec<At>,
    /// Everything that it was made of, secrets included.
    identity: Secret,
}

impl Target {
    /// A target that has no address, by its name.
    pub fn named(kind: &'static Kind, name: impl Into<String>, probe: Box<dyn Probe>) -> Self {
        let name = name.into();
        Self {
            kind,
            probe,
            common: Common::default(),
            places: Vec::new(),
            identity: Secret::new(name.clone()),
            name,
        }
    }

    /// The same, where the name alone does not tell it from others.
    #[must_use]
    pub fn known_as(self, identity: String) -> Self {
        let identity = Secret::new(identity);
        Self { identity, ..self }
    }

    /// The same with options, as they are written.
    ///
    /// # Errors
    /// Options that do not exist, and values that they cannot have.
    pub fn with_options(self, options: &str) -> Result<Self, Expected> {
        if options.is_empty() {
            return Ok(self);
        }
        let common = Common::of(&address::parse_options(options, self.kind)?)?;
        let identity = Secret::new(format!("{}#{common:?}", self.identity.expose()));
        Ok(Self {
            common,
            identity,
            ..self
        })
    }

    /// The target at an address.
    ///
    /// # Errors
    /// The kind's own, and for a kind that is not compiled in.
    pub fn at(mut address: Address, defaults: &Defaults<'_>) -> Result<Self, Expected> {
        let kind = address.kind;
        let identity = address.identity();
        let common = Common::of(&address.options)?;
        let parse = kind.parse.ok_or_else(|| Expected::compiled_in(kind))?;
        let places = match kind.parameters {
            Parameters::Known { .. } => address.places()?,
            Parameters::Opaque => vec![At::Tcp(address.endpoint.clone())],
        };
        let probe = parse(&mut address, defaults)?;
        Ok(Self {
            kind,
            probe,
            common,
            name: address.to_string(),
            places,
            identity,
        })
    }

    /// Its parts, for people: how it was understood.
    pub fn description(&self) -> Vec<(&'static str, String)> {
        let mut parts = vec![("kind", self.kind.title.to_owned())];
        parts.extend(self.places.iter().map(|at| match at {
            At::Tcp(_) => ("address", at.to_string()),
            At::Socket(_) => ("socket", at.to_string()),
        }));
        parts.extend(self.probe.description());
        let Common {
            is_gone,
            is_optional,
            stable,
            connect_timeout,
        } = self.common;
        let flags = [("gone", is_gone), ("optional", is_optional)];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set);
        parts.extend(flags.map(|(name, _)| (name, "yes".to_owned())));
        let durations = [("stable", stable), ("connect timeout", connect_timeout)];
        let durations = durations
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        parts.extend(durations.map(|(name, value)| (name, format_duration(value).to_string())));
        let ready_when = match is_gone {
            true => "nothing is there: no process listens, or there is no such name or path",
            false => self.kind.ready_when,
        };
        parts.push(("ready when", ready_when.to_owned()));
        parts
    }

    /// Whether it is the same target, down to the password.
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.identity == other.identity
    }

    /// Whether it is at the same hosts and ports.
    pub fn is_at_same_place(&self, other: &Self) -> bool {
        !self.places.is_empty() && self.places == other.places
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The options that every kind has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// `gone`: ready when nothing is there.
    pub is_gone: bool,
    /// `optional`: not ready in time is a warning.
    pub is_optional: bool,
    /// `stable`: ready only after it has stayed so for this long.
    pub stable: Option<Duration>,
    /// `connect-timeout`, in the place of the one for all.
    pub connect_timeout: Option<Duration>,
}

impl Common {
    /// Their names.
    pub const NAMES: [&str; 4] = ["gone", "optional", "stable", "connect-timeout"];

    /// Splits options off a text that may hold a '#' of its own: what follows the last one, if there
    /// are no other options in it than these.
    pub fn split(text: &OsStr) -> (&OsStr, &str) {
        let bytes = text.as_bytes();
        let at = bytes.iter().rposition(|byte| *byte == b'#');
        let options = at.and_then(|at| Some((at, str::from_utf8(&bytes[at + 1..]).ok()?)));
        let is_known = |pair: &str| {
            let name = pair.split('=').next().unwrap_or_default();
            Self::NAMES.contains(&name)
        };
        match options {
            Some((at @ 1.., options)) if options.split('&').all(is_known) => {
                (OsStr::from_bytes(&bytes[..at]), options)
            }
            _ => (text, ""),
        }
    }

    fn of(options: &[(String, Secret)]) -> Result<Self, Expected> {
        let duration = |name| match address::option(options, name) {
            None => Ok(None),
            Some(text) => match parse_duration(text).filter(|duration| !duration.is_zero()) {
                None => Err(Expected::new(format!(
                    "expected {name} to be seconds above 0, or a duration such as 500ms"
                ))),
                duration => Ok(duration),
            },
        };
        Ok(Self {
            is_gone: address::flag(options, "gone")?,
            is_optional: address::flag(options, "optional")?,
            stable: duration("stable")?,
            connect_timeout: duration("connect-timeout")?,
        })
    }
}

/// Why a text is not a target: what was expected in its place. No part of the text is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Expected(Cow<'static, str>);

impl Expected {
    /// In these words.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }

    /// One of several names.
    pub fn one_of(what: &str, names: &[&str]) -> Self {
        let names = match names {
            [first, .., last] => match &names[1..names.len() - 1] {
                [] => format!("{first} or {last}"),
                middle => format!("{first}, {} or {last}", middle.join(", ")),
            },
            names => names.concat(),
        };
        Self::new(format!("{what} {names}"))
    }

    /// A scheme of one of these kinds. The one that is there is named, if it cannot be anything else.
    fn scheme(name: &str, kinds: &[&'static Kind]) -> Self {
        let schemes = kinds.iter().flat_map(|kind| kind.main_schemes());
        let schemes: Vec<_> = schemes.map(|scheme| scheme.name).collect();
        let schemes = schemes.join("://…, ");
        let unknown = match address::is_scheme(name) {
            true => format!("the scheme {name} is unknown: "),
            false => String::new(),
        };
        Self::new(format!(
            "{unknown}expected HOST:PORT, {schemes}://…, unix:///PATH, dns:NAME or env:NAME"
        ))
    }

    /// A kind that is compiled in.
    fn compiled_in(kind: &Kind) -> Self {
        Self::new(format!("support for {} is not compiled in", kind.name))
    }
}

/// The value that a name stands for, in upper or lower case.
///
/// # Errors
/// A name that is not one of these; the words before their list are given.
pub fn one_of<T: Copy>(what: &str, name: &str, values: &[(&str, T)]) -> Result<T, Expected> {
    let found = values
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
        Expected::one_of(what, &names)
    })
}

/// The value of a variable, `None` if it is empty. One that is a secret is taken exactly as it is.
pub type Lookup<'a> = dyn Fn(&str, bool) -> Result<Option<String>, Expected> + 'a;

/// The settings of a kind, for targets that do not say themselves, and the variables that options
/// name.
pub struct Defaults<'a> {
    /// The kind.
    pub kind: &'static Kind,
    /// The value of a variable by its name, and whether it is a secret.
    pub variable: &'a Lookup<'a>,
    /// The contents of a file with certificates.
    pub file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Notices for the user.
    pub notices: RefCell<Vec<String>>,
}

/// Who logs in, where, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Password>,
    /// The database, or whatever the path of a URL names.
    pub database: Option<String>,
}

impl Login {
    /// Its parts, for people; not the password.
    pub fn description(&self) -> Vec<(&'static str, String)> {
        let password = self.password.as_ref();
        let password = password.map(|password| format!("from {}", password.setting));
        let parts = [
            ("user", self.user.clone()),
            ("password", password),
            ("database", self.database.clone()),
        ];
        let parts = parts.into_iter();
        parts
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// A denied login with a hint that names the setting of the password, and what looks wrong with
    /// it.
    pub fn explain(&self, why: NotReady, password: Option<&Secret>) -> NotReady {
        match why.is(&reason::ACCESS_DENIED) {
            true => why.with_hint(self.advice(password)),
            false => why,
        }
    }

    /// What to look at where a login is denied.
    pub fn advice(&self, password: Option<&Secret>) -> String {
        match (&self.password, password.and_then(Secret::flaw)) {
            (Some(Password { setting, .. }), Some(flaw)) => {
                format!("check the password from {setting}: {flaw}")
            }
            (Some(Password { setting, .. }), None) => {
                format!("check the user and the password, which is from {setting}")
            }
            (None, _) => "no password is set for this target".to_owned(),
        }
    }
}

impl Defaults<'_> {
    fn get(&self, suffix: &str) -> Result<Option<String>, Expected> {
        let name = format!("{}_{suffix}", self.kind.variable());
        (self.variable)(&name, suffix == "PASSWORD")
    }

    /// The login of a target: from the address, from its options, or from the kind's settings. What
    /// is printed of it is put into the address.
    ///
    /// # Errors
    /// Two passwords at once, and text that is not UTF-8.
    pub fn login(&self, address: &mut Address) -> Result<Login, Expected> {
        let mut login = self.account(address)?;
        let database = self.or_default(address.segment()?, Setting::Database)?;
        let mut names = address.user.iter().chain(&database);
        if names.any(|name| name.contains('\0')) {
            return Err(Expected::new(
                "expected a user and a database without a NUL (%00)",
            ));
        }
        match &database {
            Some(database) => address.set_segment(database),
            None => address.path.clear(),
        }
        login.database = database;
        Ok(login)
    }

    /// The same without a database, for a path that is something else.
    ///
    /// # Errors
    /// Two passwords at once.
    pub fn account(&self, address: &mut Address) -> Result<Login, Expected> {
        let user = address.option("user").map(str::to_owned);
        let user = user.filter(|user| !user.is_empty());
        let own = address.user.take();
        // The password in an application's URL is that of its user.
        let is_another = user.is_some() && own.is_some() && user != own;
        let names = ["password-env", "password-file"];
        let is_given = names.iter().any(|name| address.option(name).is_some());
        if address.origin == Origin::Application && (is_another || is_given) {
            address.password = None;
        }
        address.user = self.or_default(user.or(own), Setting::User)?;
        Ok(Login {
            user: address.user.clone(),
            password: self.password(address)?,
            database: None,
        })
    }

    /// A part of a login, or what the kind's setting has in its place.
    fn or_default(
        &self,
        own: Option<String>,
        setting: Setting,
    ) -> Result<Option<String>, Expected> {
        match own {
            None if self.kind.settings.contains(&setting) => self.get(setting.suffixes()[0]),
            own => Ok(own),
        }
    }

    fn password(&self, address: &Address) -> Result<Option<Password>, Expected> {
        let (variable, file) = (
            address.option("password-env"),
            address.option("password-file"),
        );
        let own = [
            address.password.is_some(),
            variable.is_some(),
            file.is_some(),
        ];
        if own.into_iter().filter(|is_given| *is_given).count() > 1 {
            return Err(Expected::new(
                "expected one of a password, password-file and password-env",
            ));
        }
        let given = |secret: Secret, setting: String| {
            let source = Source::Given(secret);
            Ok(Some(Password { source, setting }))
        };
        let from_file = |path: &str, setting: String| {
            let source = Source::File(SecretFile::new(path));
            Ok(Some(Password { source, setting }))
        };
        if let Some(password) = &address.password {
            return given(password.clone(), "the URL".to_owned());
        }
        if let Some(path) = file {
            if path.is_empty() {
                return Err(Expected::new("expected password-file to name a file"));
            }
            return from_file(path, format!("the file {}", SecretFile::new(path)));
        }
        if let Some(name) = variable {
            let value = (self.variable)(name, true)?;
            let value = value.ok_or_else(|| {
                Expected::new("expected password-env to name a variable that is set")
            })?;
            return given(Secret::new(value), name.to_owned());
        }
        if !self.kind.settings.contains(&Setting::Password) {
            return Ok(None);
        }
        let variable = self.kind.variable();
        match (self.get("PASSWORD")?, self.get("PASSWORD_FILE")?) {
            (Some(_), Some(_)) => Err(Expected::new(format!(
                "expected one of {variable}_PASSWORD and {variable}_PASSWORD_FILE, not both"
            ))),
            (Some(password), None) => given(Secret::new(password), format!("{variable}_PASSWORD")),
            (None, Some(path)) => from_file(&path, format!("{variable}_PASSWORD_FILE")),
            (None, None) => Ok(None),
        }
    }

    /// [`tls`](Self::tls) in a mode that is not `prefer`; `None` for `off`.
    ///
    /// # Errors
    /// As of [`tls`](Self::tls).
    #[cfg(feature = "tls")]
    pub fn tls_or_none(
        &self,
        address: &Address,
        mode: TlsMode,
        authorities: Option<&(String, String)>,
    ) -> Result<Option<Tls>, Expected> {
        match mode {
            TlsMode::Off => Ok(None),
            mode => self
                .tls(address, mode.verification(), authorities)
                .map(Some),
        }
    }

    /// Warns about a password that is not used because there is no user.
    pub fn notice_no_user(&self, address: &Address, login: &Login) {
        if login.user.is_none() && login.password.is_some() {
            let setting = match self.kind.settings.contains(&Setting::User) {
                true => format!(" (set {}_USER)", self.kind.variable()),
                false => String::new(),
            };
            self.notice(format!(
                "{address} has a password and no user: it is not logged in to{setting}"
            ));
        }
    }

    /// How TLS is to be made, with the files that the target's options, a parameter or the variables
    /// name. A parameter for authorities, by its name and value, may hold them itself, in PEM format.
    ///
    /// # Errors
    /// Files that cannot be read or hold no certificates, and a certificate without its key.
    #[cfg(feature = "tls")]
    pub fn tls(
        &self,
        address: &Address,
        verification: Verification,
        authorities: Option<&(String, String)>,
    ) -> Result<Tls, Expected> {
        let read = |what: &str, path: &str| {
            (self.file)(Path::new(path))
                .map_err(|error| Expected::new(format!("expected {what} to be readable: {error}")))
        };
        let name = |option, variable: &str| match address.option(option) {
            Some(path) => Ok(Some(path.to_owned())),
            None => (self.variable)(variable, false),
        };
        let own = address.option("ca-file").map(|path| ("ca-file", path));
        let authorities = own.or(authorities.map(|(name, value)| (&**name, &**value)));
        let authorities = match authorities {
            None => Vec::new(),
            Some((name, value)) => {
                let pem = match value.contains("-----BEGIN") {
                    true => value.as_bytes().to_vec(),
                    false => read(name, value)?,
                };
                certificates_from_pem(&pem).ok_or_else(|| {
                    Expected::new(format!(
                        "expected {name} to hold certificates in PEM format"
                    ))
                })?
            }
        };
        let certificate = name("cert-file", environment::TLS_CERT_FILE.name)?;
        let key = name("key-file", environment::TLS_KEY_FILE.name)?;
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let pem = (read("cert-file", &certificate)?, read("key-file", &key)?);
                let identity = Identity::from_pem(&pem.0, &pem.1);
                Some(identity.ok_or_else(|| {
                    Expected::new("expected a certificate and its key in PEM format")
                })?)
            }
            _ => {
                return Err(Expected::new(
                    "expected both cert-file and key-file, or neither",
                ));
            }
        };
        Ok(Tls {
            verification,
            authorities,
            identity,
            protocol: None,
            is_protocol_optional: false,
        })
    }

    /// The statement that must return a row: the target's own, or the kind's.
    ///
    /// # Errors
    /// Text that is not UTF-8, and a query that no user is to run.
    pub fn query(&self, address: &Address, login: &Login) -> Result<Option<String>, Expected> {
        let query = match address.option("query") {
            Some(query) => Some(query.to_owned()).filter(|query| !query.trim().is_empty()),
            None => self.get("QUERY")?,
        };
        if query.is_some() && login.user.is_none() {
            return Err(Expected::new(format!(
                "expected a user, to run the query as ({}_USER)",
                self.kind.variable()
            )));
        }
        Ok(query)
    }

    /// Something that the user should know.
    pub fn notice(&self, text: String) {
        self.notices.borrow_mut().push(text);
    }
}

/// A text with every special character percent-encoded, for any part of a URL.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The parts of a text `Name=value;…`, names in lower case.
pub struct KeyValues(pub Vec<(String, String)>);

impl KeyValues {
    /// The value of the first part that has one of these names.
    pub fn get(&self, names: &[&str]) -> Option<&str> {
        let mut parts = self.0.iter();
        let found = parts.find(|(name, _)| names.contains(&&**name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Splits `Name=value;…`; `None` if it has another form. A value may be quoted.
pub fn key_values(text: &str, separator: char) -> Option<KeyValues> {
    let mut quote = None;
    let is_separator = |c: char| {
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            _ => {}
        }
        quote.is_none() && c == separator
    };
    let parts = text.split(is_separator).map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_ ".contains(c));
        let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        (is_name && !name.is_empty()).then(|| (name, value.to_owned()))
    };
    parts.map(pair).collect::<Option<_>>().map(KeyValues)
}

/// The variable's name, if a text is `env:NAME`. `env:3306` is a host and its port.
pub fn env_reference(text: &str) -> Option<&str> {
    let name = text.strip_prefix("env:")?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_off_a_text_that_may_hold_a_number_sign() {
        for (text, expected) in [
            ("/a", ("/a", "")),
            ("/a#gone", ("/a", "gone")),
            ("/a#gone&stable=2s", ("/a", "gone&stable=2s")),
            ("/a#b#optional", ("/a#b", "optional")),
            ("/a#optional#b", ("/a#optional#b", "")),
            ("/a#gone&other", ("/a#gone&other", "")),
            ("/a#tls=off", ("/a#tls=off", "")),
            ("/a#", ("/a#", "")),
            ("/a#gone&", ("/a#gone&", "")),
            ("/a#Gone", ("/a#Gone", "")),
            ("/a%23gone", ("/a%23gone", "")),
            ("#gone", ("#gone", "")),
        ] {
            let (before, options) = Common::split(OsStr::new(text));
            assert_eq!((before.to_str(), options), (Some(expected.0), expected.1));
        }
        let invalid = OsStr::from_bytes(b"/\xff#gone");
        let expected = (OsStr::from_bytes(b"/\xff"), "gone");
        assert_eq!(Common::split(invalid), expected);
    }
}
