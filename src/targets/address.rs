//! The one grammar of targets: `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT][/PATH][?PARAMETERS][#OPTIONS]`.
//! It decodes, prints and hides.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::net::At;
#[cfg(feature = "tls")]
use crate::net::tls::TlsMode;

#[cfg(feature = "tls")]
use super::one_of;
use super::{Common, Endpoint, Expected, Host, Kind, Parameters, Scheme, Secret};
use crate::kinds::{KINDS, OF_ANY_KIND, ONLY_PORTS, of_driver};

/// The address of a target. `Display` is its name in the log: no secret is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The kind of target.
    pub kind: &'static Kind,
    /// The scheme, aliases replaced.
    pub scheme: &'static Scheme,
    /// The user, decoded; never empty.
    pub user: Option<String>,
    /// The password, decoded; an empty one differs from none.
    pub password: Option<Secret>,
    /// The host and the port; of several the first.
    pub endpoint: Endpoint,
    /// The others.
    pub others: Vec<Endpoint>,
    /// The path as it is written: empty, or with its first slash.
    pub path: String,
    /// The query after the `?`, as it is written.
    pub query: Option<Secret>,
    /// The options after the `#`, decoded. They are for `wait` alone and never sent.
    pub options: Vec<(String, Secret)>,
    /// Where it is written.
    pub origin: Origin,
}

/// Where a target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a setting of `wait`: a parameter that the kind does not know is a mistake.
    Ours,
    /// In an application's own variable: the parameters of its driver are passed over.
    Application,
}

impl Address {
    /// Parses a target. Where `kind` is given, the scheme may be left out, and only its schemes
    /// count; otherwise `kinds` are looked through, and a target without a scheme is of the first.
    ///
    /// # Errors
    /// Says what was expected, without any part of the text.
    pub fn parse(
        text: &str,
        kinds: &[&'static Kind],
        kind: Option<&'static Kind>,
        origin: Origin,
    ) -> Result<Self, Expected> {
        let url = as_url(text, kinds, kind);
        Self::of_url(&url, kinds, kind, origin).map_err(|expected| match is_cut_login(&url) {
            true => Expected::new(NOT_ENCODED),
            false => expected,
        })
    }

    fn of_url(
        text: &str,
        kinds: &[&'static Kind],
        kind: Option<&'static Kind>,
        origin: Origin,
    ) -> Result<Self, Expected> {
        let (kind, scheme, rest) = match (text.split_once("://"), kind) {
            (Some((name, rest)), None) => {
                let found = kinds
                    .iter()
                    .find_map(|kind| Some((*kind, kind.scheme(name)?)));
                let (kind, scheme) = found.ok_or_else(|| Expected::scheme(name, kinds))?;
                (kind, scheme, rest)
            }
            (Some((name, rest)), Some(kind)) => {
                let expected = || {
                    let scheme = kind.schemes[0].name;
                    Expected::new(format!(
                        "expected a {scheme}:// URL, or one without the scheme"
                    ))
                };
                let is_of_any = OF_ANY_KIND.iter().any(|any| any.eq_ignore_ascii_case(name));
                let any = is_of_any.then_some(&kind.schemes[0]);
                (kind, kind.scheme(name).or(any).ok_or_else(expected)?, rest)
            }
            (None, kind) => {
                let kind = kind.unwrap_or(kinds[0]);
                (kind, &kind.schemes[0], text)
            }
        };
        if kind.parse.is_none() {
            return Err(Expected::compiled_in(kind));
        }
        let (rest, options) = split_options(rest);
        let options = parse_options(options, kind)?;
        let (authority, path, query) = split(rest);
        let (login, endpoint) = match kind.several_hosts && !scheme.is_encoded {
            true => login_and_hosts(authority)?,
            false => match authority.rsplit_once('@') {
                Some((login, endpoint)) => (Some(login), endpoint.into()),
                None => (None, authority.into()),
            },
        };
        if scheme.is_encoded && !login.is_none_or(is_encoded) {
            return Err(Expected::new(LOGIN_NOT_ENCODED));
        }
        // In `wait`'s own settings, a target may be written as it is printed.
        if scheme.is_service && origin == Origin::Application && endpoint.contains(':') {
            return Err(Expected::new(NO_PORT));
        }
        // A socket may stand in the place of the host.
        let (endpoint, socket) = match decode(&endpoint)? {
            path if path.starts_with('/') => ("localhost".to_owned(), Some(path)),
            empty if empty.is_empty() && scheme.default_port.is_some() => {
                match login.is_some() || origin == Origin::Application {
                    true => ("localhost".to_owned(), None),
                    false => return Err(Expected::new("expected a host")),
                }
            }
            endpoint => (endpoint, None),
        };
        let (first, others) = match endpoint.split_once(',') {
            Some((first, others)) if kind.several_hosts => (first, others.split(',').collect()),
            _ => (&*endpoint, Vec::new()),
        };
        // An application's driver takes the default for a port that is empty; in a setting of `wait` it
        // is what nothing was put in for.
        let parse = |text: &str| {
            let default = scheme.default_port;
            // `http://c` may follow a comma.
            let may_be_empty =
                origin == Origin::Application && default.is_some() && !path.starts_with("//");
            let host = text.strip_suffix(':').filter(|_| may_be_empty);
            Endpoint::parse(host.unwrap_or(text), default)
        };
        let parse_other = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Err(Expected::new("expected a host")),
            false => parse(text),
        };
        let endpoint = parse(first)?;
        let others = others
            .into_iter()
            .map(parse_other)
            .collect::<Result<_, _>>()?;
        // Such an '@' most likely ends the rest of a password that was not encoded. Without a login
        // it is one of a web page's characters.
        let is_suspect = match (kind.parameters, origin) {
            (Parameters::Opaque, _) => login.is_some() && origin == Origin::Ours,
            (Parameters::Known { .. }, Origin::Ours) => true,
            // The database of an application may have one in its name.
            (Parameters::Known { .. }, Origin::Application) => {
                login.is_none() && path.contains('@')
            }
        };
        if is_suspect && rest[authority.len()..].contains('@') {
            return Err(Expected::new(NOT_ENCODED));
        }
        // The rest of a connection string in another form, of which any part may be a password.
        let is_user = |login: &str| {
            !login
                .split(':')
                .next()
                .unwrap_or_default()
                .contains(['=', ';'])
        };
        if !login.is_none_or(is_user) {
            return Err(Expected::new(
                "expected a user without = and ;, which are %3D and %3B",
            ));
        }
        let (user, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
            Some(Ok((user, password))) => (decode(user)?, Some(Secret::new(decode(password)?))),
            Some(Err(user)) => (decode(user)?, None),
            None => (String::new(), None),
        };
        let mut address = Self {
            kind,
            scheme,
            user: Some(user).filter(|user| !user.is_empty()),
            password,
            endpoint,
            others,
            path: match kind.parameters {
                Parameters::Known { .. } => path.replace('@', "%40"),
                Parameters::Opaque => path.to_owned(),
            },
            query: query.map(Secret::new),
            options,
            origin,
        };
        if let Some(socket) = socket {
            address.set_parameter("socket", &socket);
        }
        address.check_parameters()?;
        address.take_login_from_parameters()?;
        Ok(address)
    }

    /// The port of a service whose scheme is that of no kind that is compiled in, and the scheme; of
    /// several hosts the first. `None` for any other text.
    ///
    /// # Errors
    /// As of [`parse`](Self::parse).
    pub fn only_port(text: &str) -> Result<Option<(Self, String)>, Expected> {
        let url = of_driver(text);
        let (form, options) = split_options(url.as_deref().unwrap_or(text));
        let Some((prefix, rest)) = form.split_once("://") else {
            return Ok(None);
        };
        // `jdbc:sqlserver`, `postgresql+psycopg2`, `mongodb+srv`
        let scheme = prefix.rsplit(':').next().unwrap_or_default();
        let whole = scheme.to_ascii_lowercase();
        let is_known = |name: &str| ONLY_PORTS.iter().any(|(known, _)| *known == name);
        let scheme = match is_known(&whole) {
            true => whole,
            false => whole.split('+').next().unwrap_or_default().to_owned(),
        };
        let mut others = KINDS.iter().filter(|kind| kind.parse.is_none());
        let known = others.find_map(|kind| kind.scheme(&scheme)?.default_port);
        let port = known.or_else(|| {
            let found = ONLY_PORTS.iter().find(|(known, _)| *known == scheme);
            found.map(|(_, port)| *port)
        });
        let Some(port) = port else {
            return Ok(None);
        };
        if is_cut_login(form) {
            return Err(Expected::new(NOT_ENCODED));
        }
        let (authority, ..) = split(rest);
        // SQL Server's parameters follow a semicolon, and may hold an '@'.
        let authority = match prefix.contains(':') || scheme == "sqlserver" {
            true => authority.split(';').next().unwrap_or_default(),
            false => authority,
        };
        let hosts = authority.rsplit('@').next().unwrap_or_default();
        let first = decode(hosts.split(',').next().unwrap_or_default())?;
        let (kind, origin) = (KINDS[0], Origin::Application);
        let address = Self {
            kind,
            scheme: &kind.schemes[0],
            user: None,
            password: None,
            endpoint: Endpoint::parse(&first, Some(port))?,
            others: Vec::new(),
            path: String::new(),
            query: None,
            options: parse_options(options, kind)?,
            origin,
        };
        Ok(Some((address, scheme)))
    }

    /// Refuses parameters that the kind does not know, unless they may be there.
    fn check_parameters(&self) -> Result<(), Expected> {
        let Parameters::Known { shown, others } = self.kind.parameters else {
            return Ok(());
        };
        let login = match self.kind.has_settings() {
            true => &["user", "password"][..],
            false => &[],
        };
        let is_known = |name: &str| [shown, others, login].concat().contains(&name);
        let mut parameters = self.parameters()?.into_iter();
        match self.origin == Origin::Ours && parameters.any(|(name, _)| !is_known(&name)) {
            // It is not said which: it may be what a '?' and a ',' have cut out of a password.
            true if shown.is_empty() => Err(Expected::new(
                "expected no parameter after '?': there are none for this target",
            )),
            true => Err(Expected::one_of("an unknown parameter: expected", shown)),
            false => Ok(()),
        }
    }

    /// Some drivers have the user and the password among the parameters.
    fn take_login_from_parameters(&mut self) -> Result<(), Expected> {
        if self.kind.has_settings() {
            if self.user.is_none() {
                self.user = self.parameter("user")?.filter(|user| !user.is_empty());
            }
            if self.password.is_none() {
                self.password = self.parameter("password")?.map(Secret::new);
            }
        }
        Ok(())
    }

    /// The parameters that are printed, as they are written.
    pub fn shown_query(&self) -> Option<String> {
        let (Parameters::Known { shown, .. }, Some(query)) = (self.kind.parameters, &self.query)
        else {
            return None;
        };
        let is_shown = |pair: &&str| shown.contains(&pair.split('=').next().unwrap_or_default());
        let pairs: Vec<_> = query.expose().split('&').filter(is_shown).collect();
        // After the host no '@' is taken for one that is meant.
        Some(pairs.join("&").replace('@', "%40")).filter(|query| !query.is_empty())
    }

    fn set_parameter(&mut self, name: &str, value: &str) {
        let value = utf8_percent_encode(value, RESERVED);
        let before = self.query.as_ref().map_or("", Secret::expose);
        let separator = if before.is_empty() { "" } else { "&" };
        self.query = Some(Secret::new(format!("{before}{separator}{name}={value}")));
    }

    /// The parameters after the `?`, decoded.
    ///
    /// # Errors
    /// Encoding that is not UTF-8.
    pub fn parameters(&self) -> Result<Vec<(String, String)>, Expected> {
        match &self.query {
            Some(query) => pairs(query.expose(), |text| decode(&text.replace('+', " "))),
            None => Ok(Vec::new()),
        }
    }

    /// The value of a parameter; the last one, if it is repeated.
    ///
    /// # Errors
    /// Encoding that is not UTF-8.
    pub fn parameter(&self, name: &str) -> Result<Option<String>, Expected> {
        let parameters = self.parameters()?.into_iter().rev();
        let mut values = parameters.filter_map(|(known, value)| (known == name).then_some(value));
        Ok(values.next())
    }

    /// Where the server is: at the socket that a parameter names, in any driver's words, or else at
    /// the host.
    ///
    /// # Errors
    /// A socket that is no absolute path.
    pub fn at(&self) -> Result<At, Expected> {
        for name in [
            "socket",
            "unix_socket",
            "unixSocket",
            "socketPath",
            "localSocket",
            "host",
        ] {
            let Some(value) = self.parameter(name)? else {
                continue;
            };
            // Prisma has parentheses around it.
            let path = value.trim_start_matches('(').trim_end_matches(')');
            match path.starts_with('/') {
                true => return Ok(At::Socket(path.into())),
                false if name == "socket" && self.origin == Origin::Ours => {
                    return Err(Expected::new("expected socket=/PATH"));
                }
                false => {}
            }
        }
        Ok(At::Tcp(self.endpoint.clone()))
    }

    /// The same for every host.
    ///
    /// # Errors
    /// As of [`at`](Self::at).
    pub fn places(&self) -> Result<Vec<At>, Expected> {
        let others = self.others.iter().cloned().map(At::Tcp);
        Ok(match self.at()? {
            At::Tcp(first) => [At::Tcp(first)].into_iter().chain(others).collect(),
            socket @ At::Socket(_) => vec![socket],
        })
    }

    /// The hosts and ports as they are printed.
    fn hosts(&self) -> String {
        let hosts = [&self.endpoint].into_iter().chain(&self.others);
        let has_no_port = |endpoint: &&Endpoint| {
            self.scheme.is_service && Some(endpoint.port) == self.scheme.default_port
        };
        let hosts = hosts.map(|endpoint| match has_no_port(&endpoint) {
            true => endpoint.host.to_string(),
            false => endpoint.to_string(),
        });
        hosts.collect::<Vec<_>>().join(",")
    }

    /// The value of the option `tls`.
    ///
    /// # Errors
    /// A mode that does not exist.
    #[cfg(feature = "tls")]
    pub fn tls_mode(&self) -> Result<Option<TlsMode>, Expected> {
        let mode = |name| one_of("expected tls to be", name, &TlsMode::NAMES);
        self.option("tls").map(mode).transpose()
    }

    /// The same or else `mode`, for servers that have TLS on a port of its own, so that there is none to
    /// prefer.
    ///
    /// # Errors
    /// The mode `prefer`, too.
    #[cfg(feature = "tls")]
    pub fn tls_mode_or(&self, mode: TlsMode) -> Result<TlsMode, Expected> {
        match self.tls_mode()?.unwrap_or(mode) {
            TlsMode::Prefer => Err(Expected::new(
                "expected tls to be off, require, verify-ca or verify-full",
            )),
            mode => Ok(mode),
        }
    }

    /// An option after the `#`; the last one, if it is repeated.
    pub fn option(&self, name: &str) -> Option<&str> {
        option(&self.options, name)
    }

    /// The values of an option that may be repeated.
    #[cfg(feature = "http")]
    pub fn options_named(&self, name: &str) -> impl Iterator<Item = &str> {
        let options = self.options.iter().filter(move |(known, _)| known == name);
        options.map(|(_, value)| value.expose())
    }

    /// Whether an option is set that is one by its name alone.
    ///
    /// # Errors
    /// A value, which may have been meant as the opposite.
    pub fn flag(&self, name: &str) -> Result<bool, Expected> {
        flag(&self.options, name)
    }

    /// The one segment that a path may have, decoded; `None` if it is empty.
    ///
    /// # Errors
    /// More than one segment.
    pub fn segment(&self) -> Result<Option<String>, Expected> {
        let path = self.path.strip_prefix('/').unwrap_or_default();
        match path.contains('/') {
            true => Err(Expected::new("expected one name after the host")),
            false => Ok(Some(decode(path)?).filter(|segment| !segment.is_empty())),
        }
    }

    /// Replaces the path by one segment.
    pub fn set_segment(&mut self, segment: &str) {
        self.path = format!("/{}", utf8_percent_encode(segment, RESERVED));
    }

    /// The whole of it, secrets included, by which equal targets are recognised.
    pub fn identity(&self) -> Secret {
        let encode = |text| utf8_percent_encode(text, RESERVED);
        let mut text = format!("{}://", self.scheme.name);
        if let Some(user) = &self.user {
            text += &encode(user).to_string();
        }
        if let Some(password) = &self.password {
            text += &format!(":{}", encode(password.expose()));
        }
        if self.user.is_some() || self.password.is_some() {
            text.push('@');
        }
        text += &format!("{}{}", self.hosts(), self.path);
        if let Some(query) = &self.query {
            text += &format!("?{}", query.expose());
        }
        for (at, (name, value)) in self.options.iter().enumerate() {
            let separator = if at == 0 { '#' } else { '&' };
            text += &format!("{separator}{name}={}", encode(value.expose()));
        }
        Secret::new(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first kind needs no scheme, unless what follows has something like one.
        if self.kind != KINDS[0] || self.path.contains("://") {
            write!(f, "{}://", self.scheme.name)?;
        }
        if let Some(user) = &self.user {
            write!(f, "{}@", utf8_percent_encode(user, RESERVED))?;
        }
        write!(f, "{}{}", self.hosts(), self.path)?;
        match (self.kind.parameters, self.shown_query()) {
            (Parameters::Opaque, _) if self.query.is_some() => f.write_str("?…"),
            (_, Some(query)) => write!(f, "?{query}"),
            (_, None) => Ok(()),
        }
    }
}

/// A target in a driver's own form, as a URL.
fn as_url<'a>(text: &'a str, kinds: &[&'static Kind], kind: Option<&'static Kind>) -> Cow<'a, str> {
    // One of another kind is its URL, too, so that it is not taken for a target without a scheme.
    let own = kind.and_then(|kind| of_dialect(text, &[kind]));
    if let Some((url, options)) = own.or_else(|| of_dialect(text, kinds)) {
        return match options {
            "" => url.into(),
            options => format!("{url}#{options}").into(),
        };
    }
    // `jdbc:SCHEME://`, `r2dbc:SCHEME://`, and what pools and balancers put between.
    let Some((prefix, rest)) = text.split_once("://") else {
        return text.into();
    };
    let mut parts = prefix.split(':');
    let first = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_known = |name: &&str| kinds.iter().any(|kind| kind.scheme(name).is_some());
    match parts.find(is_known) {
        Some(scheme) if matches!(&*first, "jdbc" | "r2dbc") => format!("{scheme}://{rest}").into(),
        // Its last letter asks for TLS.
        Some(scheme) if first == "r2dbcs" => {
            let (url, options) = rest.split_at(rest.find('#').unwrap_or(rest.len()));
            let separator = if url.contains('?') { '&' } else { '?' };
            format!("{scheme}://{url}{separator}ssl=true{options}").into()
        }
        _ => text.into(),
    }
}

const NOT_ENCODED: &str = "expected a URL whose special characters are percent-encoded: in a URL, / is \
                           %2F, ? is %3F, # is %23 and @ is %40";

const LOGIN_NOT_ENCODED: &str = "expected a user and a password that are percent-encoded: in a URL, : is %3A, \
                                 @ is %40, [ is %5B, ] is %5D and % is %25";

/// The error of a port after a service, also for the kind.
pub(crate) const NO_PORT: &str = "expected no port: the SRV records of the name have it";

/// Whether the user and the password have no special character that is not percent-encoded.
fn is_encoded(login: &str) -> bool {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let is_hex =
        |part: &str| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let is_encoded =
        |text: &str| !text.contains([':', '@', '[', ']']) && text.split('%').skip(1).all(is_hex);
    is_encoded(user) && is_encoded(password)
}

/// Whether an '@' follows where the host should be, so that what stands there is the beginning of a
/// login that was not encoded: `USER:PART/PART@HOST`.
fn is_cut_login(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let path = after.split(['=', '&']).next().unwrap_or_default();
    authority.contains(':') && !authority.contains('@') && path.contains('@')
}

/// The URL of a target in a driver's own form, and its options. Nothing is encoded there, and a '#'
/// may be part of a password: options are what follows the last one, if there are such options.
pub(crate) fn of_dialect<'a>(text: &'a str, kinds: &[&Kind]) -> Option<(String, &'a str)> {
    let dialects = || kinds.iter().flat_map(|kind| kind.dialects);
    let known = || {
        kinds
            .iter()
            .flat_map(|kind| kind.options)
            .chain(&Common::NAMES)
    };
    let is_known = |pair: &str| known().any(|name| pair.split('=').next() == Some(name));
    let split = text.rsplit_once('#');
    let split = split.filter(|(_, options)| options.split('&').all(is_known));
    let forms = split.into_iter().chain([(text, "")]);
    let mut urls = forms.filter_map(|(form, options)| {
        let url = dialects().find_map(|dialect| dialect(form))?;
        Some((url, options))
    });
    urls.next()
}

/// Splits what follows the scheme into authority, path and query.
fn split(text: &str) -> (&str, &str, Option<&str>) {
    let (text, query) = match text.split_once('?') {
        Some((text, query)) => (text, Some(query)),
        None => (text, None),
    };
    let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    (authority, path, query)
}

/// Splits an authority into the login and the hosts. A login that each host has is one login.
///
/// # Errors
/// Several logins.
pub(crate) fn login_and_hosts(authority: &str) -> Result<(Option<&str>, Cow<'_, str>), Expected> {
    let Some((login, hosts)) = authority.rsplit_once('@') else {
        return Ok((None, authority.into()));
    };
    let ats = || {
        login
            .match_indices('@')
            .map(|(at, _)| (&login[..at], at + 1))
    };
    let same = ats().find_map(|(login, end)| {
        let again = format!(",{login}@");
        let hosts = &authority[end..];
        let is_again = !login.is_empty() && hosts.contains(&again);
        let hosts = is_again.then(|| hosts.replace(&again, ","));
        Some((login, hosts.filter(|hosts| !hosts.contains('@'))?))
    });
    if let Some((login, hosts)) = same {
        return Ok((Some(login), hosts.into()));
    }
    // A password that is not encoded may hold '@' and ',' too, but no host and port with another login
    // behind them.
    let is_another = |(_, end): (&str, usize)| {
        let parts = login[end..].split_once(',');
        parts.is_some_and(|(host, next)| {
            Endpoint::parse(host, Some(1)).is_ok() && next.contains(':')
        })
    };
    match ats().any(is_another) {
        true => Err(Expected::new("expected one login for all hosts")),
        false => Ok((Some(login), hosts.into())),
    }
}

/// Splits the options off a target.
pub(crate) fn split_options(text: &str) -> (&str, &str) {
    text.split_once('#').unwrap_or((text, ""))
}

/// The value of an option; the last one, if it is repeated.
pub(super) fn option<'a>(options: &'a [(String, Secret)], name: &str) -> Option<&'a str> {
    let mut options = options.iter().rev();
    options.find_map(|(known, value)| (known == name).then(|| value.expose()))
}

/// Whether an option is set that is one by its name alone.
pub(super) fn flag(options: &[(String, Secret)], name: &str) -> Result<bool, Expected> {
    match option(options, name) {
        None => Ok(false),
        Some("") => Ok(true),
        Some(_) => Err(Expected::new(format!("expected {name} without a value"))),
    }
}

/// Parses the options of a target.
pub(super) fn parse_options(text: &str, kind: &Kind) -> Result<Vec<(String, Secret)>, Expected> {
    let options = pairs(text, decode)?;
    let known = [kind.options, &Common::NAMES].concat();
    if options
        .iter()
        .any(|(name, _)| !known.contains(&name.as_str()))
    {
        return Err(Expected::one_of(
            "an unknown option after '#': expected",
            &known,
        ));
    }
    let options = options.into_iter();
    Ok(options
        .map(|(name, value)| (name, Secret::new(value)))
        .collect())
}

/// Splits `NAME=VALUE&…`; empty pairs are passed over.
fn pairs(
    text: &str,
    decode: impl Fn(&str) -> Result<String, Expected>,
) -> Result<Vec<(String, String)>, Expected> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Decodes percent-encoding.
pub(crate) fn decode(text: &str) -> Result<String, Expected> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Expected::new("percent-encoding that is not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// The longest scheme, in characters: errors name it.
const LONGEST_SCHEME: usize = 64;

/// Whether a text has the form of a scheme.
pub(crate) fn is_scheme(name: &str) -> bool {
    let is_in_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    name.len() <= LONGEST_SCHEME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(is_in_scheme)
}

/// A malformed target as it may be printed: scheme, host and port, and only where they cannot be
/// anything else.
pub fn shown(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((name, rest)) if is_scheme(name) => (&text[..name.len() + 3], rest),
        _ => ("", text),
    };
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    let (login, endpoint) = authority.rsplit_once('@').unwrap_or(("", authority));
    // An '@' that comes later ends a password that was not encoded, and in `Server=db;Password=p@ss`
    // it begins no host.
    let is_clear = rest.matches('@').count() == authority.matches('@').count()
        && !(scheme.is_empty() && login.contains('='));
    if !is_clear {
        return format!("{scheme}…");
    }
    // A text that cannot be a port is the rest of a login, or of an address without brackets.
    let (host, port) = match endpoint.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (endpoint, None),
    };
    let is_number = |text: &str| text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let hidden = if authority.contains('@') { "…@" } else { "" };
    let (end, rest) = match port {
        _ if host.parse::<Host>().is_err() => return format!("{scheme}{hidden}…"),
        None => (String::new(), &rest[authority.len()..]),
        Some(port) if is_number(port) => (format!(":{port}"), &rest[authority.len()..]),
        Some(_) => (":".to_owned(), "…"),
    };
    let rest = if rest.is_empty() { "" } else { "…" };
    format!("{scheme}{hidden}{host}{end}{rest}")
}

/// The characters that are percent-encoded in a printed user or path segment.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_target_is_shown_as_far_as_it_cannot_be_a_secret() {
        for (text, expected) in [
            ("db:99999", "db:99999"),
            ("db:80:90", "…"),
            ("[::1", "…"),
            ("db:port", "db:…"),
            ("db:999999", "db:…"),
            ("abc", "abc"),
            ("any://app:secret@db:x/shop", "any://…@db:…"),
            ("any://app:p@ss@db:0", "any://…@db:0"),
            ("any://app:p?ss@db:0", "any://…"),
            ("any://app:se/cret@db:0", "any://…"),
            ("any://db:0/secret", "any://db:0…"),
            ("app:secret@db:99999", "…@db:99999"),
            ("app:sec", "app:…"),
            ("app:sec[", "app:…"),
            ("any://app:sec", "any://app:…"),
            ("any://app:12?sec", "any://app:12…"),
            ("cret@db", "…@db"),
            ("app:sec://ret@db", "…"),
            ("db:1/x?password=secret", "db:1…"),
            ("any:host=db;password=secret", "any:…"),
            ("Server=db;Password=secret", "…"),
            ("Server=db;Password=p@secret", "…"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn parts_are_split_at_the_first_delimiter() {
        assert_eq!(split("a@b:1/c/d?e?f/g"), ("a@b:1", "/c/d", Some("e?f/g")));
        assert_eq!(split("b"), ("b", "", None));
        assert_eq!(split("b?x=/y"), ("b", "", Some("x=/y")));
        assert_eq!(split_options("b:1#c#d"), ("b:1", "c#d"));
    }
}
