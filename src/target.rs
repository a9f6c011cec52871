//! What can be waited for, as it is written: parsing, printing, and nothing that touches the world.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

#[cfg(feature = "url")]
mod urls;

/// The port of MySQL and MariaDB where a target names none.
pub const MYSQL_PORT: u16 = 3306;

/// Something to wait for. Its `Display` is its name in the log; no password is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Ready when a TCP connection is made.
    Tcp(Endpoint),
    /// Ready when the file or directory exists, links followed.
    Path(PathBuf),
    /// Ready when the server takes the login.
    MySql(MySql),
    /// Ready when GET is answered with a status from 200 to 399.
    Http(Http),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
}

/// A host, by name or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// To be looked up, anew for every attempt.
    Name(String),
    /// As it is.
    Address(IpAddr),
}

/// A MySQL or MariaDB server and how to log in to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MySql {
    /// Where the server is, unless it is at a socket.
    pub endpoint: Endpoint,
    /// The server's unix socket, in the place of a port.
    pub socket: Option<PathBuf>,
    /// Without a user no login has to succeed: it is enough that the server decides one.
    pub user: Option<String>,
    /// `None` is not said, which differs from an empty one.
    pub password: Option<Secret>,
    /// The database that must be there for the user.
    pub database: Option<String>,
    /// Whether and how TLS is used.
    pub ssl_mode: SslMode,
}

/// What a web service is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Whether it is HTTPS, with a certificate that is verified.
    pub is_secure: bool,
    /// Where the service is.
    pub endpoint: Endpoint,
    /// For basic authentication.
    pub user: Option<String>,
    /// For basic authentication.
    pub password: Option<Secret>,
    /// The path as it is sent.
    pub path: String,
    /// What is sent behind the `?`. Services take keys and tokens there, so it is not printed.
    pub query: Option<Secret>,
}

/// MySQL's own `ssl-mode` values, from the least strict to the strictest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disabled,
    /// TLS where the server offers it, the certificate not verified.
    #[default]
    Preferred,
    /// Always TLS, the certificate not verified.
    Required,
    /// Always TLS, with a certificate from an authority that is trusted.
    VerifyCa,
    /// Like `VerifyCa`, and the certificate is for this host.
    VerifyIdentity,
}

/// Text that neither `Debug` nor anything else prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What a MySQL URL may have behind its `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// Ours alone: any other is a mistake.
    Ours,
    /// An application's URL: what belongs to its driver is passed over.
    Applications,
}

/// Why a text is not a target. `Display` says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages are the documentation
pub enum TargetError {
    #[error("expected HOST:PORT")]
    NoPort,
    #[error("expected a port from 1 to 65535")]
    Port,
    #[error("expected a host name, an IPv4 address or [IPv6]")]
    Host,
    #[error("expected HOST:PORT, tcp://…, mysql://…, mariadb://…, http://…, https://… or env:NAME")]
    Scheme,
    #[error("expected no HTTP: this build of wait has none")]
    NoHttp,
    #[error("expected [USER[:PASSWORD]@]HOST[:PORT][/DATABASE] or a mysql:// URL")]
    NotMySql,
    #[cfg(feature = "url")]
    #[error("not a URL ({0}); in a URL, special characters are percent-encoded")]
    Url(url::ParseError),
    #[error("an '@' behind the host: in a URL, special characters are percent-encoded")]
    MisplacedAt,
    #[error("percent-encoding that is not UTF-8")]
    Encoding,
    #[error("expected one database name behind the host")]
    Database,
    #[error("an unknown parameter: expected ssl-mode or socket")]
    Parameter,
    #[error("expected socket=/PATH")]
    Socket,
    #[error("expected no MySQL: this build of wait has none")]
    NoMySql,
    #[error("expected ssl-mode=DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY")]
    SslMode,
}

impl Secret {
    /// Wraps a text that must not be printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Target {
    /// Whether it depends on who signed a certificate.
    pub fn verifies_certificates(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Path(_) => false,
            Self::MySql(mysql) => mysql.ssl_mode >= SslMode::VerifyCa,
            Self::Http(http) => http.is_secure,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// Parses an item of `WAIT_HOSTS`, but for `env:NAME`, which stands for other targets.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        match split_scheme(text) {
            None => Ok(Self::Tcp(text.parse()?)),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tcp") => {
                Ok(Self::Tcp(rest.trim_end_matches('/').parse()?))
            }
            Some(_) if is_mysql_url(text) => Ok(Self::MySql(MySql::parse(text, Parameters::Ours)?)),
            Some((scheme, _))
                if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
            {
                Ok(Self::Http(text.parse()?))
            }
            Some(_) => Err(TargetError::Scheme),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(endpoint) => endpoint.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::MySql(mysql) => mysql.fmt(f),
            Self::Http(http) => http.fmt(f),
        }
    }
}

impl FromStr for Endpoint {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (host, port) = text.rsplit_once(':').ok_or(TargetError::NoPort)?;
        if host.is_empty() {
            return Err(TargetError::Host);
        }
        // The last colon of an address in brackets is not in front of a port.
        if port.ends_with(']') {
            return Err(TargetError::NoPort);
        }
        Ok(Self {
            port: parse_port(port)?,
            host: host.parse()?,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Host {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').ok_or(TargetError::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| TargetError::Host)?;
            return Ok(Self::Address(address.into()));
        }
        // docker-compose-wait took IPv6 without brackets too, and a port is never left out.
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(TargetError::Host);
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl MySql {
    /// Parses an item of `WAIT_MYSQL`: a MySQL URL whose scheme may be left out.
    ///
    /// # Errors
    /// Says what was expected, without any part of the text.
    #[cfg(feature = "mysql")]
    pub fn parse(text: &str, parameters: Parameters) -> Result<Self, TargetError> {
        urls::mysql(text, parameters)
    }

    /// This build knows none.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "mysql"))]
    pub fn parse(_: &str, _: Parameters) -> Result<Self, TargetError> {
        Err(TargetError::NoMySql)
    }
}

impl fmt::Display for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mysql://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", utf8_percent_encode(user, RESERVED))?;
        }
        self.endpoint.fmt(f)?;
        if let Some(database) = &self.database {
            write!(f, "/{}", utf8_percent_encode(database, RESERVED))?;
        }
        let mut separator = '?';
        if let Some(socket) = &self.socket {
            let socket = utf8_percent_encode(socket.to_str().unwrap_or_default(), IN_QUERY);
            write!(f, "{separator}socket={socket}")?;
            separator = '&';
        }
        if self.ssl_mode != SslMode::default() {
            write!(f, "{separator}ssl-mode={}", self.ssl_mode.name())?;
        }
        Ok(())
    }
}

impl FromStr for Http {
    type Err = TargetError;

    #[cfg(feature = "http")]
    fn from_str(text: &str) -> Result<Self, TargetError> {
        urls::http(text)
    }

    #[cfg(not(feature = "http"))]
    fn from_str(_: &str) -> Result<Self, TargetError> {
        Err(TargetError::NoHttp)
    }
}

impl Http {
    /// The host, and the port unless it is the scheme's own: what a `Host` header holds.
    pub fn authority(&self) -> String {
        match (self.is_secure, self.endpoint.port) {
            (false, 80) | (true, 443) => self.endpoint.host.to_string(),
            _ => self.endpoint.to_string(),
        }
    }
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secure {
            "https://"
        } else {
            "http://"
        })?;
        if let Some(user) = &self.user {
            write!(f, "{}@", utf8_percent_encode(user, RESERVED))?;
        }
        write!(f, "{}{}", self.authority(), self.path)?;
        match self.query {
            Some(_) => f.write_str("?…"),
            None => Ok(()),
        }
    }
}

impl SslMode {
    const ALL: [Self; 5] = [
        Self::Disabled,
        Self::Preferred,
        Self::Required,
        Self::VerifyCa,
        Self::VerifyIdentity,
    ];

    /// MySQL's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Preferred => "PREFERRED",
            Self::Required => "REQUIRED",
            Self::VerifyCa => "VERIFY_CA",
            Self::VerifyIdentity => "VERIFY_IDENTITY",
        }
    }
}

impl FromStr for SslMode {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(text))
            .ok_or(TargetError::SslMode)
    }
}

/// Splits a list at commas and line ends; spaces around items are dropped, empty items ignored.
pub fn split_list(list: &OsStr) -> impl Iterator<Item = &OsStr> {
    list.as_bytes()
        .split(|byte| matches!(byte, b',' | b'\n' | b'\r'))
        .map(|item| OsStr::from_bytes(item.trim_ascii()))
        .filter(|item| !item.is_empty())
}

/// Whether a text is a URL of MySQL or MariaDB.
pub fn is_mysql_url(text: &str) -> bool {
    split_scheme(text).is_some_and(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("mysql") || scheme.eq_ignore_ascii_case("mariadb")
    })
}

/// The variable's name, if a text is `env:NAME`. `env:3306` is a host and its port.
pub fn env_reference(text: &str) -> Option<&str> {
    let name = text.strip_prefix("env:")?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    is_name.then_some(name)
}

/// A text that is not what was expected, as it may be printed: without what is or may be a password.
pub fn redacted(text: &str) -> String {
    if env_reference(text).is_some() {
        return text.to_owned();
    }
    let is_in_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let (scheme, rest) = match text.find("://") {
        Some(at) if text[..at].chars().all(is_in_scheme) => text.split_at(at + 3),
        _ => ("", text),
    };
    let (secret, shown) = match rest.rfind('@') {
        // Of `Server=db;Password=p@ss` not even the end is a host.
        Some(at) if rest[..at].contains('=') => ("…", ""),
        Some(at) => ("…", &rest[at..]),
        None => ("", rest),
    };
    let is_address = shown.trim_start_matches('@').starts_with('[');
    let hides_what_follows = |(at, c): &(usize, char)| match c {
        // Parameters may hold secrets of the application's driver, and so may `PASSWORD=…`.
        '?' | '=' => true,
        // `app:se` and `cret@db` are what a comma in a password leaves of it.
        ':' => {
            let port = shown[at + 1..].split([':', '/', '?']).next();
            !is_address && !port.is_some_and(may_be_port)
        }
        _ => false,
    };
    match shown.char_indices().find(hides_what_follows) {
        Some((at, _)) => format!("{scheme}{secret}{}…", &shown[..=at]),
        None => format!("{scheme}{secret}{shown}"),
    }
}

/// What has to be percent-encoded in a user or database name that is printed.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b'<')
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

/// What has to be percent-encoded in a parameter that is printed.
const IN_QUERY: &AsciiSet = &RESERVED.remove(b'/').add(b'&').add(b'+').add(b'=');

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://")
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text looks like a port, or like nothing at all.
fn may_be_port(text: &str) -> bool {
    text.is_empty() || is_digits(text) && text.len() <= 5
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    // Rust's own parser would take "+80" too.
    match text.parse() {
        Ok(port) if port > 0 && is_digits(text) => Ok(port),
        _ => Err(TargetError::Port),
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, TargetError> {
        text.parse()
    }

    fn mysql(text: &str) -> Result<MySql, TargetError> {
        MySql::parse(text, Parameters::Ours)
    }

    fn items(list: &str) -> Vec<&str> {
        split_list(OsStr::new(list))
            .map(|item| item.to_str().expect("UTF-8"))
            .collect()
    }

    #[test]
    fn a_list_is_split_at_commas_and_line_ends() {
        assert_eq!(items("a:1, b:2,\n"), ["a:1", "b:2"]);
        assert_eq!(items(" a:1 \r\n\tb:2\n\n,,c:3"), ["a:1", "b:2", "c:3"]);
        assert_eq!(items(" ,\n, "), [""; 0]);
    }

    #[test]
    fn what_is_written_is_what_is_printed() {
        for (written, printed) in [
            ("db:3306", "db:3306"),
            ("tcp://db:3306", "db:3306"),
            ("TCP://db:3306/", "db:3306"),
            ("my_db.internal.:1", "my_db.internal.:1"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
            ("[::1]:80", "[::1]:80"),
            ("::1:80", "[::1]:80"),
            ("env:3306", "env:3306"),
            ("mysql://db", "mysql://db:3306"),
            ("http://web", "http://web/"),
            ("HTTPS://Web:443/a,b#c", "https://web/a,b"),
            ("https://web:80/", "https://web:80/"),
            ("https://web/@scope/a", "https://web/@scope/a"),
            (
                "http://u%40x:secret@[::1]:8080/p",
                "http://u%40x@[::1]:8080/p",
            ),
            ("mariadb://db:3307", "mysql://db:3307"),
            ("mysql://app:secret@db/shop", "mysql://app@db:3306/shop"),
            ("mysql://[::1]/shop", "mysql://[::1]:3306/shop"),
            (
                "mysql://a%40b:x@db/a%2Fb?ssl-mode=required",
                "mysql://a%40b@db:3306/a%2Fb?ssl-mode=REQUIRED",
            ),
            (
                "mysql://app@localhost?ssl-mode=DISABLED&socket=/run/my%26sql.sock",
                "mysql://app@localhost:3306?socket=/run/my%26sql.sock&ssl-mode=DISABLED",
            ),
        ] {
            let target = parse(written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(target.to_string(), printed, "{written}");
            let mut again = parse(printed).expect(printed);
            match (&mut again, &target) {
                (Target::MySql(again), Target::MySql(first)) => {
                    again.password.clone_from(&first.password);
                }
                (Target::Http(again), Target::Http(first)) => {
                    again.password.clone_from(&first.password);
                }
                _ => {}
            }
            assert_eq!(again, target, "{printed}");
        }
    }

    #[test]
    fn what_is_not_a_target_says_what_was_expected() {
        use TargetError as E;
        for (text, expected) in [
            ("db", E::NoPort),
            ("", E::NoPort),
            ("[::1]", E::NoPort),
            (":80", E::Host),
            ("db:", E::Port),
            ("db:0", E::Port),
            ("db:+80", E::Port),
            ("db:http", E::Port),
            ("db:99999", E::Port),
            ("db :80", E::Host),
            ("a..b:80", E::Host),
            ("[::1:80", E::Host),
            ("[db]:80", E::Host),
            ("user@db:80", E::Host),
            ("ftp://db:21", E::Scheme),
            ("http://web:0", E::Port),
            ("http://web:x", E::Port),
            ("http://", E::Host),
            ("mysql://db:0", E::Port),
            ("mysql://db:99999", E::Port),
            ("mysql://", E::Host),
            ("mysql://u:p#x@db/shop", E::Port),
            ("mysql://u:1/x@db", E::MisplacedAt),
            ("http://u:p@s/s@web/", E::MisplacedAt),
            ("mysql://u:%ff@db", E::Encoding),
            ("mysql://db/a/b", E::Database),
            ("mysql://db/a#b", E::Database),
            ("mysql://db?ssl-mode=maybe", E::SslMode),
            ("mysql://db?sslmode=x", E::Parameter),
            ("mysql://db?socket=run/mysqld.sock", E::Socket),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert!(matches!(parse("mysql://a b/"), Err(E::Url(_) | E::Host)));
        assert_eq!(mysql("tcp://db:1"), Err(E::NotMySql));
    }

    #[test]
    fn a_mysql_target_may_leave_out_the_scheme() {
        let target = mysql("app:se%40cret@db/shop").expect("target");
        assert_eq!(target.user.as_deref(), Some("app"));
        assert_eq!(target.password, Some(Secret::new("se@cret")));
        assert_eq!(target.database.as_deref(), Some("shop"));
        assert_eq!(target.endpoint.to_string(), "db:3306");
        assert_eq!(mysql("db:1").expect("target").endpoint.port, 1);
        assert_eq!(mysql("app@db").expect("target").password, None);
        assert_eq!(
            mysql("app:@db").expect("target").password,
            Some(Secret::new(""))
        );
    }

    #[test]
    fn an_applications_parameters_are_passed_over_and_ours_are_not() {
        let url = "mysql://app@db/shop?connection_limit=5&ssl-mode=VERIFY_CA&socket=no-path";
        let target = MySql::parse(url, Parameters::Applications).expect("target");
        assert_eq!(target.ssl_mode, SslMode::VerifyCa);
        assert_eq!(target.socket, None);
    }

    #[test]
    fn env_names_a_variable_unless_it_is_a_host() {
        assert_eq!(env_reference("env:DATABASE_URL"), Some("DATABASE_URL"));
        assert_eq!(env_reference("env:_x1"), Some("_x1"));
        for text in ["env:3306", "env:", "env:a-b", "db:3306"] {
            assert_eq!(env_reference(text), None, "{text}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_printed() {
        for (text, shown) in [
            ("db:99999", "db:99999"),
            ("db:80:90", "db:80:90"),
            ("fe80::1:99999", "fe80::1:99999"),
            ("[::1", "[::1"),
            ("env:UNSET", "env:UNSET"),
            ("db:http", "db:…"),
            ("db:999999", "db:…"),
            ("mysql://app:secret@db:x/shop", "mysql://…@db:…"),
            ("app:secret@db:99999", "…@db:99999"),
            ("mysql://app:p@ss@db:0", "mysql://…@db:0"),
            ("mysql://app:p?ss@db:0", "mysql://…@db:0"),
            ("app:sec", "app:…"),
            ("app:sec[", "app:…"),
            ("http://app:sec", "http://app:…"),
            ("mysql://app:12?sec", "mysql://app:12?…"),
            ("cret@db", "…@db"),
            ("app:sec://ret@db", "…@db"),
            ("db:1/x?password=secret", "db:1/x?…"),
            ("mysql:host=db;password=secret", "mysql:…"),
            ("Server=db;Password=secret", "Server=…"),
            ("Server=db;Password=p@secret", "…"),
        ] {
            assert_eq!(redacted(text), shown, "{text}");
        }
        for written in [
            "mysql://app:secret@db",
            "http://app:secret@web/",
            "https://web/?token=secret",
        ] {
            let target = parse(written).expect("target");
            assert!(!format!("{target:?} {target}").contains("secret"));
        }
    }
}
