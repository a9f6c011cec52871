//! The words of drivers: forms of targets that are no URLs, and parameters for TLS. Sources are the
//! documentation of redis-py ("SSL connection"), go-redis ("ParseURL"), Lettuce ("Redis URI and connection
//! details"), Symfony ("Redis cache adapter") and StackExchange.Redis ("Configuration").

use crate::net::tls::{TlsMode, Verification};
use crate::targets::{Address, Endpoint, Expected, encode, key_values};

/// `redis+socket:///run/redis.sock`, `redis-socket://secret@/run/redis.sock`, `redis:///run/redis.sock`.
pub(super) fn socket(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, path) = place.split_at(place.find('/')?);
    let is_socket = match &*scheme.to_ascii_lowercase() {
        "redis+socket" | "redis-socket" | "redis+unix" => true,
        // One segment is a database.
        "redis" | "valkey" => path[1..].contains('/') && (login.is_empty() || login.ends_with('@')),
        _ => false,
    };
    is_socket.then(|| format!("redis://{login}{}?{query}", encode(path)))
}

/// `cache:6379,password=secret,ssl=true,defaultDatabase=1`.
pub(super) fn stack_exchange(text: &str) -> Option<String> {
    let (host, pairs) = text.split_once(',')?;
    let pairs = key_values(pairs, ',')?;
    let get = |name| pairs.get(&[name]);
    let names = ["password", "ssl", "abortconnect", "defaultdatabase", "user"];
    if Endpoint::parse(host, Some(6379)).is_err() || !names.into_iter().any(|name| get(name).is_some()) {
        return None;
    }
    let scheme = match get("ssl") {
        Some(ssl) if ssl.eq_ignore_ascii_case("true") => "rediss",
        _ => "redis",
    };
    let user = encode(get("user").unwrap_or_default());
    let login = get("password").map(|password| format!("{user}:{}@", encode(password)));
    let login = login.unwrap_or_default();
    let database = get("defaultdatabase").unwrap_or_default();
    Some(format!("{scheme}://{login}{host}/{database}"))
}

/// TLS as strict as the scheme and the parameters ask for, and the file of the authorities to trust.
pub(super) fn tls(address: &Address) -> Result<(TlsMode, Option<(String, String)>), Expected> {
    let (mut is_on, mut verification) = (address.scheme.is_tls, Verification::AuthorityAndName);
    let mut authorities = None;
    for (name, value) in address.parameters()? {
        let text = value.to_ascii_lowercase();
        let is_false = matches!(&*text, "false" | "0" | "no" | "off");
        match &*name {
            "ssl" | "tls" => is_on |= !is_false,
            "ssl_cert_reqs" if matches!(&*text, "none" | "cert_none") => {
                verification = Verification::Nothing;
            }
            "skip_verify" if !is_false => verification = Verification::Nothing,
            "ssl[verify_peer]" if is_false => verification = Verification::Nothing,
            "ssl_check_hostname" if is_false && verification != Verification::Nothing => {
                verification = Verification::Authority;
            }
            "ssl_ca_certs" => authorities = Some((name, value)),
            _ => {}
        }
    }
    let mode = match is_on {
        true => TlsMode::Require(verification),
        false => TlsMode::Off,
    };
    let verifies = mode.verification() != Verification::Nothing;
    Ok((mode, authorities.filter(|_| verifies)))
}
