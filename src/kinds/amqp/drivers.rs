//! The words of drivers: parameters and paths. Sources are RabbitMQ's "URI specification" and "URI query
//! parameters", and the documentation of amqplib, Bunny, pika, kombu and Symfony's Messenger.

use super::session::Limits;
use crate::net::tls::{TlsMode, Verification};
use crate::targets::{Address, Dialect, Expected, Host, Secret};

pub(super) const DIALECTS: &[Dialect] = &[list];

/// The options of an application's driver, from the parameters of its URL.
#[derive(Debug)]
pub(super) struct DriverOptions {
    /// TLS as strict as the application has it.
    pub(super) tls: TlsMode,
    /// The file of certificates to trust, where they are verified, and the name of its parameter.
    pub(super) authorities: Option<(String, String)>,
    /// The host that the certificate has to be for, in the place of the URL's.
    pub(super) server_name: Option<Host>,
    pub(super) mechanism: Mechanism,
    /// The limits that the application asks for.
    channel_max: Option<u16>,
    frame_max: Option<u32>,
}

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// With a user and a password.
    Plain,
    /// With a certificate.
    External,
}

impl Mechanism {
    /// Its name in the protocol.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::External => "EXTERNAL",
        }
    }
}

const UNVERIFIED: TlsMode = TlsMode::Require(Verification::Nothing);
const FULL: TlsMode = TlsMode::Require(Verification::AuthorityAndName);

impl DriverOptions {
    pub(super) fn of(address: &Address) -> Result<Self, Expected> {
        let mut options = Self {
            tls: match address.scheme.is_tls {
                true => FULL,
                false => TlsMode::Off,
            },
            authorities: None,
            server_name: None,
            mechanism: Mechanism::Plain,
            channel_max: None,
            frame_max: None,
        };
        let mut is_verified = true;
        for (name, value) in address.parameters()? {
            let lower = value.to_ascii_lowercase();
            let is_false = matches!(&*lower, "false" | "0" | "no" | "off" | "");
            match &*name {
                "ssl" if !is_false => options.tls = FULL,
                "verify" | "ssl_cert_reqs" => {
                    is_verified = !is_false && !lower.trim_start_matches("cert_").ends_with("none");
                }
                "cacertfile" | "cacert" | "ca_certs" | "ssl_ca_certs" => {
                    options.authorities = Some((name, value));
                }
                // `disable` is that no name is sent; the certificate is verified all the same.
                "server_name_indication" if lower != "disable" => {
                    options.server_name = value.parse().ok();
                }
                "auth_mechanism" | "login_method" if lower == "external" => {
                    options.mechanism = Mechanism::External;
                }
                "channelMax" | "channel_max" => options.channel_max = value.parse().ok(),
                "frameMax" | "frame_max" => options.frame_max = value.parse().ok(),
                _ => {}
            }
        }
        if options.tls == FULL && !is_verified {
            options.tls = UNVERIFIED;
            options.authorities = None;
        }
        Ok(options)
    }

    /// The limits to agree on: the lower one of ours and the server's, where 0 is none.
    pub(super) fn limits(&self, proposed: Limits) -> Limits {
        Limits {
            channel_max: lower(proposed.channel_max, self.channel_max.unwrap_or(0)),
            frame_max: lower(proposed.frame_max, self.frame_max.unwrap_or(0)),
        }
    }
}

fn lower<T: Ord + Default>(server: T, client: T) -> T {
    match server == T::default() || client == T::default() {
        true => server.max(client),
        false => server.min(client),
    }
}

/// The certificate and the key that parameters name, as the options of the same meaning.
pub(super) fn take_identity(address: &mut Address) -> Result<(), Expected> {
    let mut files = [("cert-file", None), ("key-file", None)];
    for (name, value) in address.parameters()? {
        match &*name {
            "certfile" | "cert" | "ssl_certfile" => files[0].1 = Some(value),
            "keyfile" | "key" | "ssl_keyfile" => files[1].1 = Some(value),
            _ => {}
        }
    }
    let is_given = files.iter().any(|(option, _)| address.option(option).is_some());
    if let [(certificate, Some(a)), (key, Some(b))] = files
        && !is_given
    {
        let option = |name: &str, value| (name.to_owned(), Secret::new(value));
        address.options.extend([option(certificate, a), option(key, b)]);
    }
    Ok(())
}

/// Has the path name a virtual host as clients understand it: all of what follows the first slash,
/// slashes included. A path that begins with `/%2F/` is Messenger's, where a name for its own use
/// follows the virtual host.
///
/// # Errors
/// Another URL in it.
pub(super) fn make_one_segment(address: &mut Address) -> Result<(), Expected> {
    let Some(path) = address.path.strip_prefix('/') else {
        return Ok(());
    };
    if path.contains("://") {
        return Err(Expected::new("expected one URL, or several that differ in their hosts alone"));
    }
    let segment = match path.get(..4).map(str::to_ascii_lowercase).as_deref() {
        Some("%2f/") => "%2F".to_owned(),
        _ => path.replace('/', "%2F"),
    };
    address.path = format!("/{segment}");
    Ok(())
}

/// URLs that differ in their hosts alone, as kombu and Spring take them: `amqp://a/shop;amqp://b/shop`.
fn list(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    super::KIND.scheme(scheme)?;
    let next = [",", ";"].map(|separator| format!("{separator}{scheme}://"));
    let rest = rest.replace(&next[1], &next[0]);
    let mut urls = rest.split(&*next[0]).map(|url| {
        let end = url.find(['/', '?']).unwrap_or(url.len());
        let (authority, after) = url.split_at(end);
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        (login, host, after)
    });
    let (login, first, after) = urls.next()?;
    let others: Vec<_> = urls.collect();
    if others.is_empty() || others.iter().any(|other| (other.0, other.2) != (login, after)) {
        return None;
    }
    let at = if login.is_empty() { "" } else { "@" };
    let hosts = [first].into_iter().chain(others.iter().map(|other| other.1));
    let hosts = hosts.collect::<Vec<_>>().join(",");
    Some(format!("{scheme}://{login}{at}{hosts}{after}"))
}
