//! As the C library does it and without the C library: the hosts file, then the name servers of
//! resolv.conf with its search domains. Nothing is cached, not even the files.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use hickory_resolver::config::{
    NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, system_conf};

use tokio::time::timeout;

use crate::probe::{NotReady, Overlap, Reason};

/// How long the addresses of one family wait for those of the other (RFC 8305).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Where names are looked up.
#[derive(Clone, Debug)]
pub struct Names {
    /// The resolver configuration; where it cannot be read, the name server is 127.0.0.1.
    pub resolv_conf: PathBuf,
    /// The hosts file.
    pub hosts: PathBuf,
    /// The port of the name servers.
    pub port: u16,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
            port: 53,
        }
    }
}

impl Names {
    /// The addresses of a name, at least one.
    pub(super) async fn addresses(&self, name: &str, _: &Overlap) -> Result<Vec<IpAddr>, NotReady> {
        let known = self.in_hosts_file(name);
        match known.is_empty() {
            true => self.ask_name_servers(name).await,
            false => Ok(known),
        }
    }

    fn in_hosts_file(&self, name: &str) -> Vec<IpAddr> {
        let mut hosts = Hosts::default();
        if let Ok(file) = File::open(&self.hosts) {
            // Of a file that cannot be read to its end, the lines before count.
            let _ = hosts.read_hosts_conf(file);
        }
        let Ok(name) = Name::from_utf8(name.to_lowercase()) else {
            return Vec::new();
        };
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|family| hosts.lookup_static_host(&Query::query(name.clone(), family)))
            .flat_map(|lookup| {
                let records = lookup.answers().iter();
                records
                    .filter_map(|record| record.data.ip_addr())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    async fn ask_name_servers(&self, name: &str) -> Result<Vec<IpAddr>, NotReady> {
        let (config, options) = self.configuration();
        let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| unresolved(&error))?;
        // Each family for itself: there are name servers that never answer for one of them.
        let v4 = pin!(look_up_family(&resolver, name, RecordType::A));
        let v6 = pin!(look_up_family(&resolver, name, RecordType::AAAA));
        let (first, other) = match select(v4, v6).await {
            Either::Left((first, other)) => (first, Either::Left(other)),
            Either::Right((first, other)) => (first, Either::Right(other)),
        };
        let found = match (first, other) {
            (Ok(mut found), other) => {
                if let Ok(Ok(more)) = timeout(RESOLUTION_DELAY, other).await {
                    found.extend(more);
                }
                Ok(found)
            }
            (Err(error), other) => other.await.map_err(|other| match error.is_nx_domain() {
                true => error,
                false => other,
            }),
        };
        found.map_err(|error| unresolved(&error))
    }

    fn configuration(&self) -> (ResolverConfig, ResolverOpts) {
        let parsed = fs::read(&self.resolv_conf)
            .ok()
            .and_then(|text| system_conf::parse_resolv_conf(text).ok());
        let (config, mut options) = parsed.unwrap_or_else(|| {
            let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
            (config, ResolverOpts::default())
        });
        let (domain, search, mut servers) = config.into_parts();
        for connection in servers
            .iter_mut()
            .flat_map(|server| &mut server.connections)
        {
            connection.port = self.port;
        }
        options.use_hosts_file = ResolveHosts::Never; // it was asked first, for both families
        options.cache_size = 0;
        // All name servers side by side: a dead one is not waited for when another answers.
        options.num_concurrent_reqs = servers.len();
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        let config = ResolverConfig::from_parts(domain, search, servers);
        (config, options)
    }
}

async fn look_up_family(
    resolver: &Resolver<TokioRuntimeProvider>,
    name: &str,
    family: RecordType,
) -> Result<Vec<IpAddr>, NetError> {
    let found = resolver.lookup(name, family).await?;
    let records = found.answers().iter();
    let addresses: Vec<_> = records.filter_map(|record| record.data.ip_addr()).collect();
    match addresses.is_empty() {
        true => Err(NetError::Message("the name has no address")),
        false => Ok(addresses),
    }
}

fn unresolved(error: &NetError) -> NotReady {
    match error {
        NetError::Timeout => NotReady::new(Reason::TimedOut, "no name server answers"),
        NetError::NoConnections => {
            NotReady::new(Reason::Unresolved, "no name server can be reached")
        }
        error if error.is_nx_domain() => NotReady::new(Reason::Unresolved, "no such name"),
        error if error.is_no_records_found() => {
            NotReady::new(Reason::Unresolved, "the name has no address")
        }
        error => NotReady::new(Reason::Unresolved, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Progress;
    use std::io::Write as _;
    use tokio::net::UdpSocket;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    async fn look_up(names: &Names, host: &str) -> Result<Vec<IpAddr>, NotReady> {
        let host = host.parse().expect("a host");
        names
            .look_up(&host, &Overlap::new(1), &Progress::default())
            .await
    }

    #[tokio::test]
    async fn the_hosts_file_is_read_anew_for_every_look_up() {
        let hosts = file("10.0.0.9 db\n");
        let names = Names {
            hosts: hosts.path().into(),
            ..Names::default()
        };
        let found = look_up(&names, "db").await.expect("one address");
        assert_eq!(found, [IpAddr::from([10, 0, 0, 9])]);
        fs::write(hosts.path(), "10.0.0.1 x DB\n::1 db # both\n").expect("written");
        let found = look_up(&names, "db").await.expect("both families");
        assert_eq!(
            found,
            ["::1", "10.0.0.1"].map(|a| a.parse::<IpAddr>().expect("an address"))
        );
    }

    /// A name server that answers every question for `db.lan.` with 10.1.2.3 and others with
    /// "no such name", and on request not at all where IPv6 is asked for.
    async fn name_server(knows_ipv6: bool) -> u16 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let port = socket.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let question = &packet[12..length];
                let name_ends = question.iter().position(|b| *b == 0).expect("a name") + 1;
                let is_ours = question[..name_ends].eq_ignore_ascii_case(b"\x02db\x03lan\0");
                if !knows_ipv6 && question[name_ends..name_ends + 2] == [0, 28] {
                    continue;
                }
                let is_a = question[name_ends..name_ends + 2] == [0, 1];
                let mut answer = packet[..2].to_vec();
                let code = if is_ours { 0x80 } else { 0x83 }; // NXDOMAIN
                answer.extend([0x81, code, 0, 1, 0, u8::from(is_ours && is_a), 0, 0, 0, 0]);
                answer.extend(&question[..name_ends + 4]);
                if is_ours && is_a {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
                }
                socket.send_to(&answer, from).await.expect("sent");
            }
        });
        port
    }

    #[tokio::test]
    async fn search_domains_are_tried() {
        let resolv_conf = file("nameserver 127.0.0.1\nsearch example.test lan\n");
        let names = Names {
            resolv_conf: resolv_conf.path().into(),
            hosts: "/nonexistent".into(),
            port: name_server(true).await,
        };
        let found = look_up(&names, "db").await.expect("an address");
        assert_eq!(found, [IpAddr::from([10, 1, 2, 3])]);
        let missing = look_up(&names, "other").await.expect_err("no such name");
        assert_eq!(missing, NotReady::new(Reason::Unresolved, "no such name"));
    }

    #[tokio::test]
    async fn neither_a_family_nor_a_server_that_is_silent_is_waited_for() {
        let port = name_server(false).await;
        // Bound and never read.
        let _silent = UdpSocket::bind(("127.0.0.2", port)).await.expect("a port");
        let resolv_conf = file("nameserver 127.0.0.2\nnameserver 127.0.0.1\n");
        let names = Names {
            resolv_conf: resolv_conf.path().into(),
            hosts: "/nonexistent".into(),
            port,
        };
        let start = std::time::Instant::now();
        let found = look_up(&names, "db.lan").await.expect("an address");
        assert_eq!(found, [IpAddr::from([10, 1, 2, 3])]);
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
