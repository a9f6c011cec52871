//! The hosts of `mongodb+srv`: its SRV records name them, and its TXT record may set options.

use percent_encoding::percent_decode_str;

use super::options::Options;
use crate::net::At;
use crate::probe::{Attempt, NotReady, reason};
use crate::targets::{Endpoint, Host};

/// What the records say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seeds {
    pub(super) places: Vec<At>,
    pub(super) text: Text,
}

/// The options that a TXT record may set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) auth_source: Option<String>,
    pub(super) replica_set: Option<String>,
    pub(super) is_load_balanced: bool,
}

/// Looks the records up. Where connections are there already, the place itself is the only host.
pub(super) async fn look_up(at: &At, options: &Options, cx: &Attempt) -> Result<Seeds, NotReady> {
    let mut seeds = Seeds {
        places: vec![at.clone()],
        text: Text::default(),
    };
    let Some(names) = cx.names() else {
        return Ok(seeds);
    };
    cx.phase("looking up the SRV records");
    let At::Tcp(Endpoint { host: Host::Name(domain), .. }) = at else {
        return Err(misconfigured("an address has no SRV records"));
    };
    let service = format!("_{}._tcp.{domain}", options.srv.service);
    let mut servers = names.servers(&service, cx.overlap()).await?;
    if let Some(stranger) = servers.iter().find(|server| !is_below(domain, &server.host)) {
        return Err(misconfigured(format!("an SRV record of {domain} names another domain: {stranger}")));
    }
    cx.phase("looking up the TXT record");
    seeds.text = match &*names.texts(domain, cx.overlap()).await? {
        [] => Text::default(),
        [text] => Text::parse(text).ok_or_else(|| {
            misconfigured(format!(
                "the TXT record of {domain} has other options than authSource, replicaSet and loadBalanced"
            ))
        })?,
        _ => return Err(misconfigured(format!("{domain} has several TXT records"))),
    };
    fastrand::shuffle(&mut servers);
    let replica_set = options.replica_set.as_ref().or(seeds.text.replica_set.as_ref());
    let is_load_balanced = options.is_load_balanced || seeds.text.is_load_balanced;
    match options.srv.most_hosts {
        0 => {}
        _ if replica_set.is_some() => {
            return Err(misconfigured("srvMaxHosts is not for a replica set, which the TXT record names"));
        }
        most => servers.truncate(most),
    }
    if is_load_balanced && (servers.len() > 1 || replica_set.is_some()) {
        return Err(misconfigured("the records are not those of one load balancer"));
    }
    seeds.places = servers.into_iter().map(At::Tcp).collect();
    Ok(seeds)
}

/// Records, or a URL, with which no driver would connect.
fn misconfigured(detail: impl Into<String>) -> NotReady {
    NotReady::new(&reason::UNRESOLVED, detail)
        .with_hint("correct the records of the name, or the target: drivers refuse it, too")
}

/// Whether a host of an SRV record is in the parent domain of the name, as drivers demand: one that
/// a false name server makes up must not get a login.
fn is_below(domain: &str, host: &Host) -> bool {
    let Host::Name(host) = host else {
        return false;
    };
    let labels = |name: &str| {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name.split('.').map(str::to_owned).collect::<Vec<_>>()
    };
    let (domain, host) = (labels(domain), labels(host));
    // A name of at most two labels is a parent domain itself.
    let parent = if domain.len() < 3 { &domain[..] } else { &domain[1..] };
    host.len() > parent.len() && host.ends_with(parent)
}

impl Text {
    /// `None` if it has anything else in it than what it may set.
    fn parse(text: &str) -> Option<Self> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            Some(percent_decode_str(&text).decode_utf8().ok()?.into_owned())
        };
        let mut parsed = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).filter(|value| !value.is_empty())?;
            match &*decode(name)? {
                "authSource" => parsed.auth_source = parsed.auth_source.or(Some(value)),
                "replicaSet" => parsed.replica_set = parsed.replica_set.or(Some(value)),
                "loadBalanced" => parsed.is_load_balanced |= value == "true",
                _ => return None,
            }
        }
        Some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of the driver's `checkParentDomainMatch`.
    #[test]
    fn hosts_are_in_the_parent_domain_of_the_name() {
        for (domain, host, expected) in [
            ("cluster0.abc.mongodb.net", "cluster0-shard-00-00.abc.mongodb.net", true),
            ("cluster0.abc.mongodb.net", "a.b.abc.mongodb.net.", true),
            ("Cluster0.ABC.mongodb.net", "shard.abc.MongoDB.net", true),
            ("cluster0.abc.mongodb.net", "shard.xyz.mongodb.net", false),
            ("cluster0.abc.mongodb.net", "shard.evil-abc.mongodb.net", false),
            ("cluster0.abc.mongodb.net", "abc.mongodb.net", false),
            ("cluster0.abc.mongodb.net", "abc.mongodb.net.evil.com", false),
            ("example.com", "db.example.com", true),
            ("example.com", "example.com", false),
            ("example.com", "other.com", false),
            ("localhost", "db.localhost", true),
            ("localhost", "localhost", false),
        ] {
            let host = Host::Name(host.to_owned());
            assert_eq!(is_below(domain, &host), expected, "{domain}, {host}");
        }
        assert!(!is_below("example.com", &"127.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn a_text_record_sets_three_options_and_no_other() {
        let text = |auth_source: Option<&str>, replica_set: Option<&str>, is_load_balanced| {
            Some(Text {
                auth_source: auth_source.map(str::to_owned),
                replica_set: replica_set.map(str::to_owned),
                is_load_balanced,
            })
        };
        for (record, expected) in [
            ("authSource=admin&replicaSet=atlas-x1-shard-0", text(Some("admin"), Some("atlas-x1-shard-0"), false)),
            ("authSource=%24external", text(Some("$external"), None, false)),
            ("loadBalanced=true", text(None, None, true)),
            ("loadBalanced=false", text(None, None, false)),
            ("", text(None, None, false)),
            ("authSource=", None),
            ("authSource", None),
            ("tls=false", None),
            ("authSource=admin&ssl=false", None),
            ("authsource=admin", None),
            ("authSource=%ff", None),
        ] {
            assert_eq!(Text::parse(record), expected, "{record}");
        }
    }
}
