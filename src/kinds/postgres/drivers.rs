//! The words of drivers: forms of targets that are no URLs of this program's, and parameters. Sources are
//! the documentation of libpq ("Connection Strings", "Parameter Key Words", "SSL Support"), pgJDBC
//! ("Connection Parameters"), R2DBC PostgreSQL ("Usage"), node-postgres and pg-connection-string ("SSL",
//! "Connection URI"), Prisma ("PostgreSQL database connector"), SQLAlchemy ("PostgreSQL"), Npgsql
//! ("Connection String Parameters"), and Postgrex ("start_link").

use std::path::Path;

use super::KIND;
use crate::kinds::of_driver;
use crate::net::At;
use crate::net::tls::{TlsMode, Verification};
use crate::targets::{
    Address, Dialect, Expected, Origin, Secret, address, encode, key_values, login_and_hosts, one_of,
};

pub(super) const DIALECTS: &[Dialect] = &[url, conninfo, pdo, ado_net];

/// Names and values, decoded.
type Pairs = Vec<(String, String)>;

/// The folder of the sockets in the libpq of Debian, Alpine and Fedora.
const SOCKETS: &str = "/var/run/postgresql";

/// Says that `sslmode` has libpq's meaning, in the words of pg-connection-string.
const AS_LIBPQ: (&str, &str) = ("uselibpqcompat", "true");

/// The parameters for files that alone turn TLS on in npm's pg.
const FILES: [&str; 3] = ["sslcert", "sslkey", "sslrootcert"];

/// The keywords of libpq.
const KEYWORDS: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gsslib",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "options",
    "passfile",
    "password",
    "port",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// A URL that names the server or the database in its parameters, and one of a driver that takes `sslmode`
/// as libpq does.
fn url(text: &str) -> Option<String> {
    let (text, options) = text.split_at(text.find('#').unwrap_or(text.len()));
    // pgJDBC's short form, of a database on this machine.
    let short = text.strip_prefix("jdbc:postgresql:").filter(|rest| !rest.starts_with("//"));
    let short = short.map(|rest| format!("jdbc:postgresql://localhost/{}", rest.trim_start_matches('/')));
    let (prefix, rest) = short.as_deref().unwrap_or(text).split_once("://")?;
    let prefix = prefix.to_ascii_lowercase();
    let (first, scheme) = match prefix.split_once(':') {
        Some((first @ ("jdbc" | "r2dbc" | "r2dbcs"), rest)) => {
            (first, rest.split(':').find(|name| KIND.scheme(name).is_some())?)
        }
        Some(_) => return None,
        None => ("", &*prefix),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (login, hosts) = login_and_hosts(authority).ok()?;
    let hosts = &*hosts;
    // Such an '@' most likely ends the rest of a password that was not encoded.
    let is_cut = path.contains('@') || query.contains('@') && !(first == "jdbc" && login.is_none());
    // Ecto's scheme is that of any database, but its default is this one.
    let is_ecto = scheme == "ecto" && (hosts.ends_with(":5432") || !hosts.contains(':'));
    if is_cut || KIND.scheme(scheme).is_none() && !is_ecto {
        return None;
    }
    let parameters: Option<Pairs> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((name.to_owned(), decode(&value.replace('+', " "))?))
        })
        .collect();
    let parameters = parameters?;
    let has = |names: &[&str]| parameters.iter().any(|(name, _)| names.contains(&&**name));
    let names_host = has(&["host", "hostaddr", "unix_sock", "socket_dir"]);
    let is_moved = names_host || has(&["user", "password", "port", "dbname"]) || hosts.to_ascii_lowercase().starts_with("%2f");
    let is_libpq = !first.is_empty()
        || has(&["sslaccept"])
        || !matches!(scheme, "postgres" | "postgresql" | "ecto");
    // Only these mean one thing to libpq and another to npm's pg.
    let is_marked = is_libpq
        && !has(&[AS_LIBPQ.0])
        && parameters.iter().any(|(name, value)| match &**name {
            "sslmode" | "sslMode" | "ssl" => {
                matches!(&*plain(value), "allow" | "prefer" | "require" | "verifyca")
            }
            name => FILES.contains(&name),
        });
    let is_psycopg = scheme.contains("+psycopg");
    let is_moved = is_moved || is_psycopg && hosts.is_empty();
    if short.is_none() && !is_moved && !is_marked && !is_ecto {
        return None;
    }
    let mut pairs = Pairs::new();
    let mut push = |name: &str, value: &str| {
        pairs.push((name.to_owned(), decode(value)?));
        Some(())
    };
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        push("user", user)?;
        if login.contains(':') {
            push("password", password)?;
        }
    }
    let host_and_port = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name.to_owned(), Some(port.to_owned())),
        _ => (host.to_owned(), None),
    };
    let names_port = parameters.iter().any(|(name, value)| name == "port" && !value.is_empty());
    match (names_host, host_and_port(hosts)) {
        (true, (_, Some(port))) if !names_port && !hosts.contains(',') => push("port", &port)?,
        (true, _) => {}
        (false, _) if names_port => {
            let names: Vec<_> = hosts.split(',').map(|host| host_and_port(host).0).collect();
            push("host", &names.join(","))?;
        }
        (false, _) => push("host", hosts)?,
    }
    push("dbname", path.trim_start_matches('/'))?;
    if first == "r2dbcs" {
        push("ssl", "true")?;
    }
    if is_marked {
        push(AS_LIBPQ.0, AS_LIBPQ.1)?;
    }
    // The parameters override what comes before them.
    pairs.extend(parameters);
    if is_psycopg {
        take_socket(&mut pairs);
    }
    Some(built(&pairs)? + options)
}

/// `host=db port=5432 user=app password='it\'s' dbname=shop`: libpq's own form.
fn conninfo(text: &str) -> Option<String> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_end();
        if !KEYWORDS.contains(&name) {
            return None;
        }
        let after = after.trim_start();
        let is_quoted = after.starts_with('\'');
        let mut value = String::new();
        let mut chars = after.char_indices().skip(usize::from(is_quoted));
        let end = loop {
            match chars.next() {
                None if is_quoted => return None,
                None => break after.len(),
                Some((at, '\'')) if is_quoted => break at + 1,
                Some((at, c)) if c.is_ascii_whitespace() && !is_quoted => break at,
                Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                Some((_, c)) => value.push(c),
            }
        };
        pairs.push((name.to_owned(), value));
        rest = after[end..].trim_start();
    }
    let is_own = pairs.iter().any(|(name, _)| matches!(&**name, "host" | "hostaddr" | "dbname" | "user"));
    pairs.insert(0, (AS_LIBPQ.0.to_owned(), AS_LIBPQ.1.to_owned()));
    take_socket(&mut pairs);
    is_own.then(|| built(&pairs)).flatten()
}

/// Has libpq take the socket where no host is named.
fn take_socket(pairs: &mut Pairs) {
    let mut hosts = pairs.iter().filter(|(name, _)| matches!(&**name, "host" | "hostaddr"));
    if hosts.all(|(_, host)| host.is_empty()) {
        pairs.push(("host".to_owned(), SOCKETS.to_owned()));
    }
}

/// `pgsql:host=db;port=5432;dbname=shop;user=app;password=secret`: PHP's, which is libpq's with semicolons.
fn pdo(text: &str) -> Option<String> {
    conninfo(&text.strip_prefix("pgsql:")?.replace(';', " "))
}

/// Npgsql's keywords, in the words of libpq.
const ADO_NET: &[(&str, &[&str])] = &[
    ("host", &["host", "server"]),
    ("port", &["port"]),
    ("user", &["username", "user name", "user id", "userid", "user", "uid"]),
    ("password", &["password", "psw", "pwd"]),
    ("dbname", &["database", "db"]),
    ("sslmode", &["ssl mode", "sslmode"]),
    ("sslnegotiation", &["ssl negotiation", "sslnegotiation"]),
    ("sslrootcert", &["root certificate", "rootcertificate"]),
    ("sslcert", &["ssl certificate", "sslcertificate"]),
    ("sslkey", &["ssl key", "sslkey"]),
    ("channel_binding", &["channel binding", "channelbinding"]),
    ("require_auth", &["require auth", "requireauth"]),
    ("target_session_attrs", &["target session attributes", "targetsessionattributes"]),
];

/// `Host=db;Port=5432;Username=app;Password=secret;Database=shop`.
fn ado_net(text: &str) -> Option<String> {
    let own = key_values(text, ';')?;
    let mut pairs = vec![(AS_LIBPQ.0.to_owned(), AS_LIBPQ.1.to_owned())];
    for (name, value) in &own.0 {
        let known = ADO_NET.iter().find(|(_, names)| names.contains(&&**name));
        pairs.extend(known.map(|(known, _)| ((*known).to_owned(), value.clone())));
    }
    let has = |name: &str| pairs.iter().any(|(own, _)| own == name);
    let is_own = text.contains(';') && has("host") && (has("user") || has("dbname"));
    (is_own && of_driver(text).is_none())
        .then(|| built(&pairs))
        .flatten()
}

/// The URL of these parts; the last of a name counts.
fn built(pairs: &Pairs) -> Option<String> {
    let all = |names: &[&str]| {
        let named = pairs.iter().filter(|(name, _)| names.contains(&&**name));
        named.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()).collect::<Vec<_>>()
    };
    let last = |name| all(&[name]).pop();
    let mut url = "postgres://".to_owned();
    let password = last("password").map(|password| format!(":{}", encode(password)));
    if let Some(user) = last("user") {
        url += &encode(user);
    }
    url += password.as_deref().unwrap_or_default();
    url.push('@');
    // SQLAlchemy repeats the parameter, libpq has a list in it.
    let mut hosts = all(&["host", "unix_sock", "socket_dir"]).join(",");
    // Of libpq's two the name is for the certificate alone.
    let is_named = last("sslmode").is_some_and(|mode| plain(mode) == "verifyfull")
        || last("sslrootcert") == Some("system");
    let addresses = all(&["hostaddr"]).join(",");
    if hosts.is_empty() || last(AS_LIBPQ.0).is_some() && !addresses.is_empty() && !is_named {
        hosts = addresses;
    }
    let ports = all(&["port"]).join(",");
    let mut ports = ports.split(',').map(str::trim).filter(|port| !port.is_empty()).cycle();
    let mut socket = None;
    for (at, host) in hosts.split(',').map(str::trim).enumerate() {
        let (name, own_port) = match host.rsplit_once(':') {
            _ if host.parse::<std::net::Ipv6Addr>().is_ok() => (format!("[{host}]"), None),
            Some((name, port)) if !port.ends_with(']') && !port.contains('/') => (name.to_owned(), Some(port)),
            _ => (host.to_owned(), None),
        };
        let port = own_port.or(ports.next()).map(|port| format!(":{port}"));
        let name = match &*name {
            "" => "localhost",
            path if path.starts_with('/') => {
                socket = Some(path.to_owned());
                "localhost"
            }
            name if name.contains(['/', '@', '?', '#', '\\']) => return None,
            name => name,
        };
        let separator = if at > 0 { "," } else { "" };
        url += &format!("{separator}{}{}", name.replace('%', "%25"), port.unwrap_or_default());
    }
    if let Some(database) = last("dbname") {
        url += &format!("/{}", encode(database));
    }
    let mut separator = '?';
    let mut parameter = |name: &str, value: &str| {
        url += &format!("{separator}{name}={value}");
        separator = '&';
    };
    if let Some(socket) = socket {
        parameter("socket", &encode(&socket).replace("%2F", "/"));
    }
    const MOVED: [&str; 8] =
        ["user", "password", "host", "hostaddr", "unix_sock", "socket_dir", "port", "dbname"];
    for (name, value) in pairs.iter().filter(|(name, _)| !MOVED.contains(&&**name)) {
        parameter(&encode(name).replace("%5F", "_"), &encode(value));
    }
    Some(url)
}

fn decode(text: &str) -> Option<String> {
    address::decode(text).ok()
}

/// The address of a server: a socket is a file of this name in the folder that is named.
pub(super) fn at(at: At, port: u16) -> At {
    match at {
        At::Socket(path) if !is_socket(&path) => At::Socket(path.join(format!("{SOCKET}{port}"))),
        at => at,
    }
}

/// The beginning of a socket's name.
const SOCKET: &str = ".s.PGSQL.";

fn is_socket(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(SOCKET.as_bytes())
}

/// How strict an address is about TLS.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encryption {
    pub(super) mode: TlsMode,
    /// Whether TLS is used only where the server refuses to do without (`sslmode=allow`).
    pub(super) is_reluctant: bool,
    /// Whether the mode is stricter than libpq has it.
    pub(super) is_taken_strictly: bool,
    /// Whether TLS begins without a question.
    pub(super) is_direct: bool,
    /// The parameter for the authorities to trust, and its value.
    pub(super) authorities: Option<(String, String)>,
}

const UNVERIFIED: TlsMode = TlsMode::Require(Verification::Nothing);
const VERIFIED: TlsMode = TlsMode::Require(Verification::Authority);
const FULL: TlsMode = TlsMode::Require(Verification::AuthorityAndName);

/// TLS as strict as the parameters of an address ask for, in any driver's words. A mode but `disable` is
/// taken as libpq takes it in a setting of `wait`, and in the URL of a driver that is known to do the
/// same. In any other URL it is taken as npm's pg does: as `verify-full`.
pub(super) fn encryption(address: &Address) -> Result<Encryption, Expected> {
    let get = |names: &[&str]| last_of(address, names);
    let is_true = |name| {
        Ok(get(&[name])?.is_some_and(|value| matches!(&*plain(&value), "" | "true" | "1" | "yes" | "on")))
    };
    let is_libpq = address.origin == Origin::Ours || is_true(AS_LIBPQ.0)?;
    let accept = get(&["sslaccept"])?;
    let is_strict = accept.as_deref() == Some("strict");
    let mut authorities = get(&["sslrootcert", "sslRootCert"])?.map(|file| ("sslrootcert", file));
    if is_strict && authorities.is_none() {
        authorities = get(&["sslcert"])?.map(|file| ("sslcert", file)); // Prisma's is an authority
    }
    let is_system = authorities.as_ref().is_some_and(|(_, file)| file == "system");
    let sslmode = get(&["sslmode", "sslMode"])?.filter(|mode| !mode.is_empty());
    let has_files = address
        .parameters()?
        .iter()
        .any(|(name, file)| FILES.contains(&&**name) && !file.is_empty());
    let is_from_files = !is_libpq && sslmode.is_none() && has_files;
    let words = match sslmode {
        Some(mode) => Some(mode),
        None if is_true("requiressl")? => Some("require".to_owned()),
        None => get(&["ssl"])?,
    };
    let words = words.map(|words| plain(&words));
    let mut is_taken_strictly = false;
    let mut as_libpq = |mode| {
        is_taken_strictly |= !is_libpq;
        if is_libpq { mode } else { FULL }
    };
    let mode = match words.as_deref() {
        // Such TLS cannot be done without: npm's pg turns it on.
        None if !is_libpq && get(&["sslnegotiation"])?.as_deref() == Some("direct") => FULL,
        None => TlsMode::Prefer,
        Some("disable" | "disabled" | "false" | "0" | "no" | "off") => TlsMode::Off,
        Some("allow" | "prefer") => as_libpq(TlsMode::Prefer),
        // As in libpq, where there is something to verify with.
        Some("require" | "required") if authorities.is_some() => as_libpq(VERIFIED),
        Some("require" | "required") => as_libpq(UNVERIFIED),
        Some("verifyca") => as_libpq(VERIFIED),
        Some("verifyfull" | "tunnel") => FULL,
        Some("noverify") => UNVERIFIED,
        Some("" | "true" | "1" | "yes" | "on") => match get(&["sslfactory"])? {
            Some(factory) if factory.ends_with("NonValidatingFactory") => UNVERIFIED,
            _ => FULL,
        },
        // The options of Node.js.
        Some(json) if json.starts_with('{') => match json.contains("\"rejectunauthorized\":false") {
            true => UNVERIFIED,
            false => FULL,
        },
        Some(_) => {
            return Err(Expected::new(
                "expected sslmode to be disable, allow, prefer, require, verify-ca or verify-full",
            ));
        }
    };
    let negotiation = get(&["sslnegotiation", "sslNegotiation"])?;
    let mode = if is_strict || is_system || is_from_files { FULL } else { mode };
    Ok(Encryption {
        mode,
        is_reluctant: is_libpq && words.as_deref() == Some("allow"),
        is_taken_strictly,
        is_direct: negotiation.is_some_and(|words| plain(&words) == "direct")
            || words.as_deref() == Some("tunnel"),
        authorities: authorities
            .filter(|_| !is_system)
            .map(|(name, file)| (name.to_owned(), file)),
    })
}

/// A word without the differences between drivers.
fn plain(word: &str) -> String {
    word.to_ascii_lowercase().replace(['-', '_', ' '], "")
}

/// The value of a parameter that has several names.
fn last_of(address: &Address, names: &[&str]) -> Result<Option<String>, Expected> {
    let parameters = address.parameters()?.into_iter().rev();
    let mut values =
        parameters.filter_map(|(name, value)| names.contains(&&*name).then_some(value));
    Ok(values.next())
}

/// Makes options of the parameters for a client's certificate and its key, if there are no such options.
pub(super) fn take_identity(address: &mut Address) -> Result<(), Expected> {
    let file = |names| Ok(last_of(address, names)?.filter(|file| !file.is_empty()));
    let (certificate, key) = (file(&["sslcert", "sslCert"])?, file(&["sslkey", "sslKey"])?);
    if let (Some(certificate), Some(key)) = (certificate, key)
        && address.option("cert-file").or(address.option("key-file")).is_none()
    {
        let options = [("cert-file", certificate), ("key-file", key)];
        let options = options.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        address.options.extend(options);
    }
    Ok(())
}

/// Whether a login is to be bound to its TLS connection (`channel_binding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    Off,
    Prefer,
    Require,
}

pub(super) fn binding(address: &Address) -> Result<Binding, Expected> {
    let values = [
        ("disable", Binding::Off),
        ("prefer", Binding::Prefer),
        ("require", Binding::Require),
    ];
    match last_of(address, &["channel_binding", "channelBinding"])? {
        None => Ok(Binding::Prefer),
        Some(value) => one_of("expected channel_binding to be", &value, &values),
    }
}

/// The methods of authentication that are taken, or with a `!` not taken (`require_auth`).
pub(super) fn methods(address: &Address) -> Result<Vec<String>, Expected> {
    let methods = last_of(address, &["require_auth", "requireAuth"])?.unwrap_or_default();
    let methods = methods.to_ascii_lowercase();
    let methods = methods.split(',').map(str::trim).filter(|method| !method.is_empty());
    Ok(methods.map(str::to_owned).collect())
}

/// The role that a server must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

impl Role {
    /// The statement whose answer tells it, and that answer.
    pub(super) fn question(self) -> Option<(&'static str, &'static str)> {
        const IS_READ_ONLY: &str = "SHOW transaction_read_only";
        const IS_STANDBY: &str = "SELECT pg_catalog.pg_is_in_recovery()";
        match self {
            Self::Any => None,
            Self::ReadWrite => Some((IS_READ_ONLY, "off")),
            Self::ReadOnly => Some((IS_READ_ONLY, "on")),
            Self::Primary => Some((IS_STANDBY, "f")),
            Self::Standby => Some((IS_STANDBY, "t")),
        }
    }

    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::ReadWrite => Some("read-write"),
            Self::ReadOnly => Some("read-only"),
            Self::Primary => Some("a primary"),
            Self::Standby => Some("a standby"),
        }
    }
}

/// The role that an address asks for. One that is only preferred is no condition.
pub(super) fn role(address: &Address) -> Result<Role, Expected> {
    let values = [
        ("any", Role::Any),
        ("read-write", Role::ReadWrite),
        ("read-only", Role::ReadOnly),
        ("primary", Role::Primary),
        ("standby", Role::Standby),
        ("prefer-standby", Role::Any),
    ];
    const OTHERS: [(&str, Role); 8] = [
        ("master", Role::Primary),
        ("secondary", Role::Standby),
        ("slave", Role::Standby),
        ("preferSecondary", Role::Any),
        ("preferSlave", Role::Any),
        ("preferPrimary", Role::Any),
        ("prefer-primary", Role::Any),
        ("PreferStandby", Role::Any),
    ];
    let Some(value) = last_of(address, &["target_session_attrs", "targetServerType"])? else {
        return Ok(Role::Any);
    };
    one_of("", &value, &OTHERS)
        .or_else(|_| one_of("expected target_session_attrs to be", &value, &values))
}
