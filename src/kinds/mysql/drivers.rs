//! The words of drivers: forms of targets that are no URLs, and parameters for TLS. Sources are the
//! documentation of go-sql-driver/mysql ("DSN"), MySqlConnector ("Connection options"), Connector/J
//! and MariaDB Connector/J ("TLS"), Prisma ("MySQL database connector"), mysql2 ("SSL"), PyMySQL and
//! mysqlclient ("connect"), PHP ("PDO_MYSQL DSN"), and Rails ("Configuring a MySQL database").

use crate::kinds::{KINDS, of_driver};
use crate::net::tls::{TlsMode, Verification};
use crate::targets::{Address, Dialect, Expected, encode, key_values};

pub(super) const DIALECTS: &[Dialect] = &[ado_net, pdo, pymysql, mariadb_connector, connector_j, go];

/// `user:password@tcp(host:port)/database?parameters`, where nothing is encoded but the parameters. It
/// is taken apart as the driver does it: at the last slash and at the last '@' before it. It has no mark
/// of its own, and a password in another form may hold all that it is told by, so it comes last.
fn go(text: &str) -> Option<String> {
    let text = text.strip_prefix("mysql://").unwrap_or(text);
    let is_url = |(prefix, _): (&str, &str)| {
        let first = prefix.split(':').next().unwrap_or_default().to_ascii_lowercase();
        matches!(&*first, "jdbc" | "r2dbc" | "r2dbcs") || !prefix.contains([':', '@'])
    };
    if text.split_once("://").is_some_and(is_url) {
        return None;
    }
    let others = KINDS.iter().filter(|kind| kind.name != super::KIND.name);
    if others.flat_map(|kind| kind.dialects).any(|dialect| dialect(text).is_some()) {
        return None;
    }
    let (before, after) = text.rsplit_once('/')?;
    let (login, network) = before.rsplit_once('@').unwrap_or(("", before));
    let (database, parameters) = after.split_once('?').unwrap_or((after, ""));
    let (network, address) = match network {
        // What stands before an '@' is more likely the rest of a password in which '/' is not encoded.
        "" if !login.is_empty() && !database.contains('@') => ("tcp", "127.0.0.1"),
        network => network.strip_suffix(')')?.split_once('(')?,
    };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, socket) = match network {
        "tcp" | "tcp4" | "tcp6" | "" => (address, String::new()),
        "unix" => ("localhost", format!("socket={}&", encode(address))),
        _ => return None,
    };
    let login = match login {
        "" => String::new(),
        _ => format!("{}:{}@", encode(user), encode(password)),
    };
    let database = encode(database);
    Some(format!("mysql://{login}{host}/{database}?{socket}{parameters}"))
}

/// `mysql:host=db;port=3306;dbname=shop`, where the login may be left out.
fn pdo(text: &str) -> Option<String> {
    let pairs = key_values(text.strip_prefix("mysql:")?, ';')?;
    let get = |name| pairs.get(&[name]);
    let host = get("host").or(get("unix_socket").and(Some("localhost")))?;
    let port = get("port").map(|port| format!(":{port}"));
    let database = encode(get("dbname").unwrap_or_default());
    let mut url = format!("mysql://{host}{}/{database}?", port.unwrap_or_default());
    for (name, parameter) in [("unix_socket", "socket"), ("user", "user"), ("password", "password")] {
        if let Some(value) = get(name) {
            url += &format!("{parameter}={}&", encode(value));
        }
    }
    Some(url)
}

/// `jdbc:mysql://address=(host=db)(port=3306)/shop`, `jdbc:mysql://(host=db,port=3306)/shop` and
/// `jdbc:mysql://app:secret@[db:3306,other:3306]/shop`.
fn connector_j(text: &str) -> Option<String> {
    let (prefix, rest) = text.split_once("://")?;
    let is_it = prefix.get(..5)?.eq_ignore_ascii_case("jdbc:");
    let mut depth = 0;
    let end = rest.find(|c| {
        depth += i32::from(matches!(c, '(' | '[')) - i32::from(matches!(c, ')' | ']'));
        depth == 0 && matches!(c, '/' | '?')
    });
    let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let inner = hosts.strip_prefix('[').and_then(|hosts| hosts.strip_suffix(']'));
    // An IPv6 address is in brackets, too.
    let hosts = inner.filter(|inner| inner.contains(',')).unwrap_or(hosts);
    if !is_it || !(hosts.contains('(') || inner == Some(hosts)) {
        return None;
    }
    let mut parameters = String::new();
    let mut depth = 0;
    let is_separator = |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0 && c == ','
    };
    let hosts = hosts.split(is_separator).map(|host| {
        let Some(host) = host.trim_start_matches("address=").strip_prefix('(') else {
            return host.to_owned();
        };
        let pairs = host.split([')', '(', ',']).filter_map(|pair| pair.split_once('='));
        let (mut name, mut port) = (String::new(), String::new());
        for (key, value) in pairs {
            match key.trim() {
                "host" => value.trim().clone_into(&mut name),
                "port" => port = format!(":{}", value.trim()),
                key => parameters += &format!("{key}={}&", encode(value.trim())),
            }
        }
        name + &port
    });
    let hosts: Vec<_> = hosts.collect();
    let login = if login.is_empty() { String::new() } else { format!("{login}@") };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some(format!("mysql://{login}{}{path}?{parameters}{query}", hosts.join(",")))
}

/// `mysql+pymysql://…?ssl_ca=…`: the name is verified unless `ssl_check_hostname=false` is there.
fn pymysql(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let driver = scheme.split_once('+').map_or(scheme, |(_, driver)| driver);
    let is_it = matches!(driver, "pymysql" | "aiomysql" | "asyncmy");
    let verifies = rest.contains("ssl_ca=") || rest.contains("ssl_capath=");
    let is_by_name = !rest.to_ascii_lowercase().contains("ssl_check_hostname=false");
    (is_it && verifies && is_by_name).then(|| {
        let (url, options) = rest.split_once('#').unwrap_or((rest, ""));
        format!("mysql://{url}&ssl_verify_identity=true#{options}")
    })
}

/// `jdbc:mariadb://…?useSSL=true`: it means another thing than for Connector/J, and the same as
/// `useSsl=true`.
fn mariadb_connector(text: &str) -> Option<String> {
    let (prefix, rest) = text.split_once("://")?;
    let is_it = prefix.to_ascii_lowercase().starts_with("jdbc:mariadb");
    (is_it && rest.contains("useSSL=")).then(|| {
        let rest = rest.replace("useSSL=", "useSsl=");
        format!("mariadb://{rest}")
    })
}

/// `Server=host;Port=3306;Database=shop;Uid=app;Pwd=secret`.
fn ado_net(text: &str) -> Option<String> {
    let pairs = key_values(text, ';')?;
    let get = |names: &[&str]| pairs.get(names);
    let host = get(&["server", "host", "data source", "datasource", "address", "addr"])?;
    // SQL Server's form has a user ID, PostgreSQL's a host and a user name.
    let is_others = get(&["port"]) == Some("5432") || of_driver(text).is_some();
    let is_own = get(&["uid", "user"]).is_some()
        || get(&["port"]) == Some("3306")
        || get(&["server"]).and(get(&["user id", "userid", "username"])).is_some();
    if is_others || !is_own {
        return None;
    }
    let user = get(&["uid", "user id", "userid", "username", "user name", "user"]);
    let mut url = "mysql://".to_owned();
    if let Some(user) = user {
        let password = get(&["pwd", "password"]).map(|password| format!(":{}", encode(password)));
        url += &format!("{}{}@", encode(user), password.unwrap_or_default());
    }
    match host.starts_with('/') {
        true => url += &encode(host),
        false => url += host,
    }
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

/// TLS as strict as the parameters of an address ask for, in any driver's words: the strictest of
/// them counts. Where certificates are verified, those to trust are returned too, and the word for them.
pub(super) fn tls(address: &Address) -> Result<(TlsMode, Option<(String, String)>), Expected> {
    let mut asked: Vec<TlsMode> = Vec::new();
    let mut authorities = None;
    let is_false = |name| Ok(address.parameter(name)?.as_deref() == Some("false"));
    let is_any_trusted = address.parameter("trustServerCertificate")?.as_deref() == Some("true");
    for (name, value) in address.parameters()? {
        asked.extend(match &*name {
            "useSsl" if value == "true" && is_any_trusted => Some(UNVERIFIED),
            "useSsl" if value == "true" => Some(FULL),
            // mysql_async's
            "require_ssl" if value == "true" => Some(match () {
                () if is_false("verify_ca")? => UNVERIFIED,
                () if is_false("verify_identity")? => VERIFIED,
                () => FULL,
            }),
            name if is_authorities(name) => Some(VERIFIED),
            // Prisma's, which verifies with `sslaccept=strict` alone.
            "sslcert" => Some(UNVERIFIED),
            _ => asked_by(&name, &value)?,
        });
        match &*name {
            name if name == "sslcert" || is_authorities(name) => authorities = Some((name.to_owned(), value)),
            "ssl" => {
                if let Some(pem) = json_string(&value, "ca") {
                    authorities = Some(("ca of ssl".to_owned(), pem));
                }
            }
            _ => {}
        }
    }
    let strictest = asked.into_iter().max_by_key(|mode| strictness(*mode));
    let mode = strictest.unwrap_or(TlsMode::Prefer);
    let verifies = mode.verification() != Verification::Nothing;
    Ok((mode, authorities.filter(|_| verifies)))
}

const UNVERIFIED: TlsMode = TlsMode::Require(Verification::Nothing);
const VERIFIED: TlsMode = TlsMode::Require(Verification::Authority);
const FULL: TlsMode = TlsMode::Require(Verification::AuthorityAndName);

fn strictness(mode: TlsMode) -> u8 {
    match mode {
        TlsMode::Prefer => 0,
        TlsMode::Off => 1, // it is asked for, and the other is not
        TlsMode::Require(Verification::Nothing) => 2,
        TlsMode::Require(Verification::Authority) => 3,
        TlsMode::Require(Verification::AuthorityAndName) => 4,
    }
}

/// Whether a parameter names a file of the authorities to trust.
fn is_authorities(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_'], "");
    matches!(&*name, "sslca" | "sslrootcert" | "serversslcert")
}

/// The string that a JSON object has under a name, as far as certificates in PEM need it.
fn json_string(object: &str, name: &str) -> Option<String> {
    let (_, rest) = object.split_once(&format!("\"{name}\""))?;
    let text = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let text = &text[..text.find('"')?];
    Some(text.replace("\\r", "").replace("\\n", "\n").replace("\\/", "/"))
}

/// What one parameter asks for.
fn asked_by(name: &str, value: &str) -> Result<Option<TlsMode>, Expected> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let is_json = value.trim_start().starts_with('{');
    let value = value.to_ascii_lowercase().replace(['_', '-', ' '], "");
    let is_true = matches!(&*value, "true" | "1" | "yes" | "on");
    let is_false = matches!(&*value, "false" | "0" | "no" | "off" | "none" | "null" | "");
    let yes = |mode| is_true.then_some(mode);
    Ok(match &*name {
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
        "sslaccept" => Some(UNVERIFIED),
        "ssl" | "tls" | "usessl" if is_false => Some(TlsMode::Off),
        // The options of Node.js: a certificate that is not trusted is refused unless they say
        // otherwise, and mysql2 verifies its name only if they say so.
        "ssl" if is_json => Some(match () {
            () if value.contains("\"rejectunauthorized\":false") => UNVERIFIED,
            () if value.contains("\"verifyidentity\":true") => FULL,
            () => VERIFIED,
        }),
        "tls" if value == "skipverify" => Some(UNVERIFIED),
        "tls" if value == "preferred" => Some(TlsMode::Prefer),
        "ssl" | "tls" => Some(FULL),
        "requiressl" => yes(UNVERIFIED),
        "ssl-disabled" => yes(TlsMode::Off),
        "verifyservercertificate" | "ssl-verify-cert" => yes(VERIFIED),
        // A folder of authorities, which is not read.
        "ssl-capath" | "sslcapath" => Some(VERIFIED),
        "ssl-verify-identity" | "ssl-verify-server-cert" | "sslverify" => yes(FULL),
        _ => None,
    })
}
