//! The words of drivers: forms of targets that are no URLs, and parameters for TLS. Sources are the
//! documentation of go-sql-driver/mysql ("DSN"), MySqlConnector ("Connection options"), Connector/J
//! and MariaDB Connector/J ("TLS"), Prisma ("MySQL database connector"), mysql2 ("SSL"), PyMySQL and
//! mysqlclient ("connect"), and Rails ("Configuring a MySQL database").

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

#[cfg(feature = "mysql")]
use crate::net::tls::{TlsMode, Verification};
use crate::targets::Dialect;
#[cfg(feature = "mysql")]
use crate::targets::{Address, Expected, key_values};
#[cfg(not(feature = "mysql"))]
use crate::targets::key_values;

pub(super) const DIALECTS: &[Dialect] = &[go, ado_net];

/// The parameters that mean something to `wait`, besides those that are printed.
pub(super) const PARAMETERS: &[&str] = &[
    "requireSSL",
    "ssl",
    "ssl-ca",
    "ssl-verify-server-cert",
    "sslMode",
    "ssl_ca",
    "ssl_disabled",
    "ssl_mode",
    "ssl_verify_cert",
    "ssl_verify_identity",
    "sslaccept",
    "sslca",
    "sslcert",
    "sslmode",
    "sslverify",
    "tls",
    "useSSL",
    "useSsl",
    "verifyServerCertificate",
];

/// `user:password@tcp(host:port)/database?parameters`, where nothing is encoded but the parameters.
fn go(text: &str) -> Option<String> {
    let text = text.strip_prefix("mysql://").unwrap_or(text);
    let (text, parameters) = match text.split_once(")/") {
        Some((before, after)) => match after.split_once('?') {
            Some((database, parameters)) => (format!("{before})/{database}"), parameters),
            None => (text.to_owned(), ""),
        },
        None => return None,
    };
    let (before, database) = text.rsplit_once(")/")?;
    let (login, network) = before.rsplit_once('@').unwrap_or(("", before));
    let (network, address) = network.split_once('(')?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, socket) = match network {
        "tcp" | "tcp4" | "tcp6" | "" => (address, String::new()),
        "unix" => ("", format!("socket={}&", encode(address))),
        _ => return None,
    };
    let login = match login {
        "" => String::new(),
        _ => format!("{}:{}@", encode(user), encode(password)),
    };
    Some(format!(
        "mysql://{login}{host}/{}?{socket}{parameters}",
        encode(database)
    ))
}

/// `Server=host;Port=3306;Database=shop;Uid=app;Pwd=secret`.
fn ado_net(text: &str) -> Option<String> {
    let pairs = key_values(text, ';')?;
    let get = |names: &[&str]| {
        let named = |(name, _): &&(String, String)| names.contains(&&**name);
        pairs.iter().find(named).map(|(_, value)| value.as_str())
    };
    let host = get(&["server", "host", "data source", "datasource", "address", "addr"])?;
    // SQL Server's form has none of these.
    get(&["uid", "port", "sslmode", "ssl mode", "user"])?;
    let user = get(&["uid", "user id", "userid", "username", "user name", "user"]);
    let mut url = "mysql://".to_owned();
    if let Some(user) = user {
        let password = get(&["pwd", "password"]).map(|password| format!(":{}", encode(password)));
        url += &format!("{}{}@", encode(user), password.unwrap_or_default());
    }
    url += host;
    if let Some(port) = get(&["port"]) {
        url += &format!(":{port}");
    }
    if let Some(database) = get(&["database", "initial catalog"]) {
        url += &format!("/{}", encode(database));
    }
    url.push('?');
    if let Some(mode) = get(&["sslmode", "ssl mode"]) {
        url += &format!("sslMode={}&", encode(mode));
    }
    if let Some(ca) = get(&["sslca", "ssl ca", "cacertificatefile", "ca certificate file"]) {
        url += &format!("ssl_ca={}", encode(ca));
    }
    Some(url)
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// TLS as strict as the parameters of an address ask for, in any driver's words: the strictest of
/// them counts. The certificates to trust are returned too, as a path.
#[cfg(feature = "mysql")]
pub(super) fn tls(address: &Address) -> Result<(TlsMode, Option<String>), Expected> {
    let mut asked: Vec<TlsMode> = Vec::new();
    let mut authorities = None;
    for (name, value) in address.parameters()? {
        let (name, value) = (name.replace('_', "-").to_ascii_lowercase(), value);
        match &*name {
            "ssl-ca" | "sslca" | "sslcert" => {
                asked.push(TlsMode::Require(Verification::Authority));
                authorities = Some(value);
            }
            _ => asked.extend(asked_by(&name, &value)?),
        }
    }
    let strictest = asked.into_iter().max_by_key(|mode| strictness(*mode));
    Ok((strictest.unwrap_or(TlsMode::Prefer), authorities))
}

#[cfg(feature = "mysql")]
fn strictness(mode: TlsMode) -> u8 {
    match mode {
        TlsMode::Prefer => 0,
        TlsMode::Off => 1, // it is asked for, and the other is not
        TlsMode::Require(Verification::Nothing) => 2,
        TlsMode::Require(Verification::Authority) => 3,
        TlsMode::Require(Verification::AuthorityAndName) => 4,
    }
}

/// What one parameter asks for; names are in lower case, with `-` for `_`.
#[cfg(feature = "mysql")]
fn asked_by(name: &str, value: &str) -> Result<Option<TlsMode>, Expected> {
    const UNVERIFIED: TlsMode = TlsMode::Require(Verification::Nothing);
    const VERIFIED: TlsMode = TlsMode::Require(Verification::Authority);
    const FULL: TlsMode = TlsMode::Require(Verification::AuthorityAndName);
    let value = value.to_ascii_lowercase().replace(['_', '-'], "");
    let is_true = matches!(&*value, "true" | "1" | "yes" | "on");
    let is_false = matches!(&*value, "false" | "0" | "no" | "off" | "none" | "");
    let yes = |mode| is_true.then_some(mode);
    Ok(match name {
        "ssl-mode" | "sslmode" => Some(match &*value {
            "disabled" | "disable" | "none" | "false" | "off" => TlsMode::Off,
            "preferred" | "prefer" => TlsMode::Prefer,
            "required" | "require" | "trust" => UNVERIFIED,
            "verifyca" => VERIFIED,
            "verifyidentity" | "verifyfull" => FULL,
            _ => {
                return Err(Expected::new(
                    "expected ssl-mode to be DISABLED, PREFERRED, REQUIRED, VERIFY_CA or \
                     VERIFY_IDENTITY",
                ));
            }
        }),
        "sslaccept" if value == "strict" => Some(FULL),
        "ssl" if is_false => Some(TlsMode::Off),
        // JSON of Node.js: only this lets a certificate pass that is not trusted.
        "ssl" if value.replace(' ', "").contains("\"rejectunauthorized\":false") => Some(UNVERIFIED),
        "ssl" => Some(FULL),
        "tls" if is_false => Some(TlsMode::Off),
        "tls" if value == "skipverify" => Some(UNVERIFIED),
        "tls" if value == "preferred" => Some(TlsMode::Prefer),
        "tls" => Some(FULL),
        "usessl" if is_false => Some(TlsMode::Off),
        "usessl" | "requiressl" => yes(UNVERIFIED),
        "ssl-disabled" => yes(TlsMode::Off),
        "verifyservercertificate" | "ssl-verify-cert" | "sslverify" => yes(VERIFIED),
        "ssl-verify-identity" | "ssl-verify-server-cert" => yes(FULL),
        _ => None,
    })
}
