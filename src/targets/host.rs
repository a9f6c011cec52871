//! Hosts and ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Expected;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// From 1 to 65535.
    pub port: u16,
}

/// A host, by name or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// To be looked up, anew for every attempt.
    Name(String),
    /// As it is.
    Address(IpAddr),
    /// An address that is one only together with a network interface, by its name or number.
    Zoned(Ipv6Addr, String),
}

impl Endpoint {
    /// Parses `HOST[:PORT]`. Without a default the port is required, and then an IPv6 address may
    /// stand without brackets, as docker-compose-wait took it.
    pub(crate) fn parse(text: &str, default_port: Option<u16>) -> Result<Self, Expected> {
        // The last colon of an address in brackets does not precede a port.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, parse_port(port)?),
            _ => match default_port {
                Some(port) => (text, port),
                None => return Err(Expected::new("expected HOST:PORT")),
            },
        };
        Ok(Self {
            port,
            host: host.parse()?,
        })
    }
}

impl FromStr for Endpoint {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        Self::parse(text, None)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Host {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let expected = || Expected::new("expected a host name, an IPv4 address or [IPv6]");
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').ok_or_else(expected)?;
            let (address, zone) = address.split_once('%').unwrap_or((address, ""));
            let address: Ipv6Addr = address.parse().map_err(|_| expected())?;
            let is_zone = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            return match zone {
                "" => Ok(Self::Address(address.into())),
                zone if zone.bytes().all(is_zone) => Ok(Self::Zoned(address, zone.to_owned())),
                _ => Err(expected()),
            };
        }
        if let Some(address) = text.parse().ok().or_else(|| short_ipv4(text)) {
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
            return Err(expected());
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
            Self::Zoned(address, zone) => write!(f, "[{address}%{zone}]"),
        }
    }
}

/// The other forms of an IPv4 address that getaddrinfo takes: fewer parts, of which the last fills the
/// rest, in decimal, octal or hexadecimal.
fn short_ipv4(text: &str) -> Option<IpAddr> {
    let parse = |part: &str| match (part.strip_prefix("0x"), part.strip_prefix('0')) {
        (Some(hexadecimal), _) => u32::from_str_radix(hexadecimal, 16).ok(),
        (_, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => part.parse().ok(),
    };
    let starts_with_digit = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let parts = text
        .split('.')
        .map(|part| starts_with_digit(part).then(|| parse(part))?);
    let parts: Vec<u32> = parts.collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let bits = 32_u32
        .checked_sub(8 * first.len() as u32)
        .filter(|bits| *bits > 0)?;
    let is_too_large = u64::from(*last) >= 1 << bits || first.iter().any(|part| *part > 255);
    let high = first
        .iter()
        .fold(0_u64, |high, part| high << 8 | u64::from(*part));
    let address = (high << bits) as u32 | last;
    (!is_too_large).then(|| Ipv4Addr::from(address).into())
}

/// A port is one to five digits, and not zero.
pub(super) fn parse_port(text: &str) -> Result<u16, Expected> {
    // Rust's own parser would take "+80" too.
    match text.parse() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(Expected::new("expected a port from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_printed_as_they_are_parsed() {
        for (written, printed) in [
            ("db:3306", "db:3306"),
            ("my_db.internal.:1", "my_db.internal.:1"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
            ("[::1]:80", "[::1]:80"),
            ("::1:80", "[::1]:80"),
            ("env:3306", "env:3306"),
            ("[fe80::1%eth0]:80", "[fe80::1%eth0]:80"),
            ("127.1:80", "127.0.0.1:80"),
            ("0x7f.1:80", "127.0.0.1:80"),
            ("0177.0.0.01:80", "127.0.0.1:80"),
            ("2130706433:80", "127.0.0.1:80"),
            ("1.2.3.4.5:80", "1.2.3.4.5:80"),
            ("127.1.x:80", "127.1.x:80"),
            ("256.1.1.1:80", "256.1.1.1:80"),
        ] {
            let endpoint: Endpoint = written.parse().expect(written);
            assert_eq!(endpoint.to_string(), printed, "{written}");
            assert_eq!(printed.parse(), Ok(endpoint));
        }
        let with_default = Endpoint::parse("[::1]", Some(80)).expect("an endpoint");
        assert_eq!(with_default.to_string(), "[::1]:80");
    }

    #[test]
    fn malformed_endpoints_are_errors() {
        let (host_port, port, host) = ("HOST:PORT", "a port from 1", "a host name");
        for (text, expected) in [
            ("db", host_port),
            ("", host_port),
            ("[::1]", host_port),
            (":80", host),
            ("db:", port),
            ("db:0", port),
            ("db:+80", port),
            ("db:port", port),
            ("db:99999", port),
            ("db :80", host),
            ("a..b:80", host),
            ("[::1:80", host),
            ("[db]:80", host),
            ("[fe80::1%e h]:80", host),
            ("user@db:80", host),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        // Without a port, an IPv6 address needs its brackets.
        assert!(Endpoint::parse("fe80::1:x", Some(80)).is_err());
    }
}
