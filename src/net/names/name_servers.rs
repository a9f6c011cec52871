//! By ourselves, as the C library does it: the hosts file, then the name servers of resolv.conf with
//! its search domains. Unlike there, nothing is cached, not even the files, and all name servers are
//! asked side by side.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::{NetError, NoRecords};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use resolv_conf::ScopedIp;
use tokio::time::{sleep, timeout};

use super::zones::Runtime;
use crate::probe::{NotReady, Overlap, files, reason};
use crate::targets::Endpoint;

/// How long the addresses of one family wait for those of the other (RFC 8305).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long a name server may be silent before the next one is believed that there is no such name.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most name servers that are asked, as in the C library (`MAXNS`).
const MOST_SERVERS: usize = 3;

/// The most descriptors that one silent name server needs: for either family a socket, and two more
/// as the question is repeated.
const DESCRIPTORS_PER_SERVER: usize = 6;

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
    /// How many descriptors the look-up of a name needs, at most.
    pub(crate) fn descriptors(&self) -> usize {
        let servers = match files::read_local(&self.resolv_conf) {
            Some(text) => Configuration::parse(&text.unwrap_or_default())
                .servers
                .len(),
            None => MOST_SERVERS, // it may hang
        };
        DESCRIPTORS_PER_SERVER * servers
    }

    /// The addresses of a name, at least one.
    pub(in crate::net) async fn addresses(
        &self,
        name: &str,
        overlap: &Overlap,
    ) -> Result<Vec<IpAddr>, NotReady> {
        let hosts = overlap.read(&self.hosts).await.unwrap_or_default();
        let known = in_hosts_file(&hosts, name);
        if !known.is_empty() {
            return Ok(known);
        }
        let resolv_conf = overlap.read(&self.resolv_conf).await.unwrap_or_default();
        self.ask_name_servers(name, &Configuration::parse(&resolv_conf))
            .await
    }

    /// The servers that the SRV records of a name list, at least one.
    ///
    /// # Errors
    /// `unresolved` or `timed_out`.
    pub async fn servers(&self, name: &str, overlap: &Overlap) -> Result<Vec<Endpoint>, NotReady> {
        let servers = self.records(name, RecordType::SRV, overlap, |data| match data {
            RData::SRV(SRV { target, port, .. }) => {
                let host = target.to_ascii().trim_end_matches('.').parse().ok()?;
                Some(Endpoint { host, port: *port })
            }
            _ => None,
        });
        servers.await.map_err(|error| match is_denial(&error) {
            true => NotReady::new(
                &reason::UNRESOLVED,
                format!("there is no SRV record of {name}"),
            ),
            false => unresolved(&error),
        })
    }

    /// The TXT records of a name; there may be none.
    ///
    /// # Errors
    /// `unresolved` or `timed_out`, where no name server knows.
    pub async fn texts(&self, name: &str, overlap: &Overlap) -> Result<Vec<String>, NotReady> {
        let texts = self.records(name, RecordType::TXT, overlap, |data| match data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        });
        match texts.await {
            Err(error) if is_denial(&error) => Ok(Vec::new()),
            result => result.map_err(|error| unresolved(&error)),
        }
    }

    /// The records of a name as it is, without search domains.
    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        overlap: &Overlap,
        read: impl Fn(&RData) -> Option<T> + Copy,
    ) -> Result<Vec<T>, NetError> {
        let resolv_conf = overlap.read(&self.resolv_conf).await.unwrap_or_default();
        let resolvers = self.resolvers(&Configuration::parse(&resolv_conf))?;
        let name = Name::from_ascii(name.to_ascii_lowercase())?;
        ask_all(&resolvers, &fully_qualified(name), kind, read).await
    }

    fn resolvers(&self, configuration: &Configuration) -> Result<Vec<Resolver<Runtime>>, NetError> {
        let resolver = |server| self.resolver(server, &configuration.options);
        configuration.servers.iter().map(resolver).collect()
    }

    /// Tries the name in every search domain, until there is one where it has an address.
    async fn ask_name_servers(
        &self,
        name: &str,
        configuration: &Configuration,
    ) -> Result<Vec<IpAddr>, NotReady> {
        let resolvers = self.resolvers(configuration);
        let resolvers = resolvers.map_err(|error| unresolved(&error))?;
        // A failure in one of them is a better reason than "no such name" in another.
        let (mut failure, mut denial) = (None, None);
        for name in configuration.candidates(name) {
            match ask_for_both_families(&resolvers, &name).await {
                Ok(addresses) => return Ok(addresses),
                Err(error) if is_denial(&error) => denial = Some(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(match failure.or(denial) {
            Some(error) => unresolved(&error),
            None => NotReady::new(&reason::UNRESOLVED, "not a name that a server could know"),
        })
    }

    /// A resolver that asks one server alone.
    fn resolver(
        &self,
        server: &Server,
        options: &ResolverOpts,
    ) -> Result<Resolver<Runtime>, NetError> {
        let mut config = NameServerConfig::udp_and_tcp(server.address);
        for connection in &mut config.connections {
            connection.port = self.port;
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
        Resolver::builder_with_config(config, Runtime::of(server.zone.clone()))
            .with_options(options.clone())
            .build()
    }
}

/// The addresses that a hosts file has for a name.
fn in_hosts_file(text: &[u8], name: &str) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(text);
    let address_of_name = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        let is_it = |word: &str| word.eq_ignore_ascii_case(name);
        words.any(is_it).then_some(address)
    };
    text.lines().filter_map(address_of_name).collect()
}

/// The result of the files for a name, for a fuzzer: its addresses in the hosts file, the names to
/// ask the servers of resolv.conf for, and the number of these servers.
#[cfg(fuzzing)]
pub fn what_files_say(
    hosts: &[u8],
    resolv_conf: &[u8],
    name: &str,
) -> (Vec<IpAddr>, Vec<Name>, usize) {
    let configuration = Configuration::parse(resolv_conf);
    let candidates = configuration.candidates(name);
    (
        in_hosts_file(hosts, name),
        candidates,
        configuration.servers.len(),
    )
}

/// A name server.
struct Server {
    address: IpAddr,
    /// The network interface, for an address that is one only together with it.
    zone: Option<String>,
}

/// The contents of resolv.conf.
struct Configuration {
    /// At least one.
    servers: Vec<Server>,
    search: Vec<String>,
    /// With so many dots, a name is tried as it is before the search domains, and not after them.
    ndots: usize,
    options: ResolverOpts,
}

impl Configuration {
    /// Lines that cannot be understood are ignored.
    fn parse(text: &[u8]) -> Self {
        let (parsed, _mistakes) = resolv_conf::Config::parse_with_errors(text);
        let mut search: Vec<_> = parsed.get_last_search_or_domain().cloned().collect();
        if search.is_empty() {
            search.extend(parsed.get_system_domain());
        }
        let servers = parsed.nameservers.iter().map(|server| Server {
            address: server.into(),
            zone: match server {
                ScopedIp::V6(_, zone) => zone.clone(),
                ScopedIp::V4(_) => None,
            },
        });
        let mut servers: Vec<_> = servers.take(MOST_SERVERS).collect();
        if servers.is_empty() {
            let address = Ipv4Addr::LOCALHOST.into();
            servers.push(Server {
                address,
                zone: None,
            });
        }
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_secs(parsed.timeout.max(1).into());
        options.attempts = 0; // the look-up itself is repeated, and a failure of the server's not at once
        options.edns0 = parsed.edns0;
        options.use_hosts_file = ResolveHosts::Never; // it was asked first, for both families
        options.cache_size = 0;
        Self {
            servers,
            search,
            ndots: parsed.ndots as usize,
            options,
        }
    }

    /// The names that a name may be short for, in the order in which the C library tries them. What
    /// no name can be is left out.
    fn candidates(&self, name: &str) -> Vec<Name> {
        let full = |name: String| {
            let name = Name::from_ascii(name.to_ascii_lowercase()).ok()?;
            name.is_fqdn().then_some(name) // its last dot may be one that is escaped
        };
        if name.ends_with('.') {
            return full(name.to_owned()).into_iter().collect();
        }
        let as_it_is = full(format!("{name}."));
        let searched = self.search.iter().filter_map(|domain| {
            let domain = domain.trim_end_matches('.');
            match domain.is_empty() {
                true => full(format!("{name}.")),
                false => full(format!("{name}.{domain}.")),
            }
        });
        match name.matches('.').count() >= self.ndots {
            true => as_it_is.into_iter().chain(searched).collect(),
            false => searched.chain(as_it_is).collect(),
        }
    }
}

/// Asks for either family by itself: there are name servers that never answer for one of them.
async fn ask_for_both_families(
    resolvers: &[Resolver<Runtime>],
    name: &Name,
) -> Result<Vec<IpAddr>, NetError> {
    let v4 = pin!(ask_all(resolvers, name, RecordType::A, RData::ip_addr));
    let v6 = pin!(ask_all(resolvers, name, RecordType::AAAA, RData::ip_addr));
    let (first, other) = match select(v4, v6).await {
        Either::Left((first, other)) => (first, Either::Left(other)),
        Either::Right((first, other)) => (first, Either::Right(other)),
    };
    match first {
        Ok(mut found) => {
            if let Ok(Ok(more)) = timeout(RESOLUTION_DELAY, other).await {
                found.extend(more);
            }
            Ok(found)
        }
        Err(first) => other.await.map_err(|other| match is_denial(&first) {
            true => other,
            false => first,
        }),
    }
}

/// Asks all servers side by side: a dead one is not waited for when another answers. A record is
/// taken from the server that has one first. That there is none is believed as by the C library,
/// which asks one after the other: only if no server that is listed before may still answer, or
/// those have been silent for long.
async fn ask_all<T>(
    resolvers: &[Resolver<Runtime>],
    name: &Name,
    kind: RecordType,
    read: impl Fn(&RData) -> Option<T> + Copy,
) -> Result<Vec<T>, NetError> {
    let ask = |(at, resolver)| async move { Some((at, ask(resolver, name, kind, read).await)) };
    let patience_ends = async {
        sleep(PATIENCE).await;
        None
    };
    let mut events = FuturesUnordered::new();
    events.extend(
        resolvers
            .iter()
            .enumerate()
            .map(|one| Either::Left(ask(one))),
    );
    if resolvers.len() > 1 {
        events.push(Either::Right(patience_ends));
    }
    let mut silent: Vec<usize> = (0..resolvers.len()).collect();
    let mut is_patient = true;
    let mut denial: Option<(usize, NetError)> = None;
    let mut failure = None;
    while let Some(event) = events.next().await {
        match event {
            None => is_patient = false,
            Some((_, Ok(records))) => return Ok(records),
            Some((at, Err(error))) => {
                silent.retain(|other| *other != at);
                match is_denial(&error) {
                    true if denial.as_ref().is_none_or(|(other, _)| at < *other) => {
                        denial = Some((at, error));
                    }
                    true => {}
                    false => failure = failure.or(Some(error)),
                }
            }
        }
        match denial.take() {
            Some((at, error)) if !is_patient || silent.iter().all(|other| at < *other) => {
                return Err(error);
            }
            undecided => denial = undecided,
        }
        if silent.is_empty() {
            break;
        }
    }
    Err(failure.unwrap_or(NetError::NoConnections))
}

async fn ask<T>(
    resolver: &Resolver<Runtime>,
    name: &Name,
    kind: RecordType,
    read: impl Fn(&RData) -> Option<T>,
) -> Result<Vec<T>, NetError> {
    let found = resolver.lookup(name.clone(), kind).await?;
    let records = found.answers().iter();
    let records: Vec<_> = records.filter_map(|record| read(&record.data)).collect();
    match records.is_empty() {
        // Such as an alias that leads nowhere.
        true => Err(NoRecords::new(Query::query(name.clone(), kind), ResponseCode::NoError).into()),
        false => Ok(records),
    }
}

/// The same name with the dot at its end.
fn fully_qualified(mut name: Name) -> Name {
    name.set_fqdn(true);
    name
}

/// Whether a name server answers that there is no such name, or no address for it.
fn is_denial(error: &NetError) -> bool {
    error.is_no_records_found()
}

fn unresolved(error: &NetError) -> NotReady {
    match error {
        NetError::Timeout => NotReady::new(&reason::TIMED_OUT, "no name server answers"),
        NetError::NoConnections => NotReady::new(
            &reason::UNRESOLVED,
            "no name server can be reached",
        )
        .with_hint(
            "is the name server in /etc/resolv.conf up, and on a network that this host reaches?",
        ),
        error if error.is_nx_domain() => NotReady::new(&reason::UNRESOLVED, "no such name"),
        error if is_denial(error) => NotReady::new(&reason::UNRESOLVED, "the name has no address"),
        error => NotReady::new(&reason::UNRESOLVED, error.to_string())
            .with_hint("the name server fails: is it up, and does its log say more?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::SocketAddr;
    use tokio::net::UdpSocket;
    use tokio::time::Instant;

    const THERE: [u8; 4] = [10, 1, 2, 3];

    /// The answer of a name server.
    #[derive(Clone, Copy)]
    enum Answer {
        V4([u8; 4]),
        V6,
        NoAddress,
        Failure,
        NoSuchName,
        Refusal,
        Silence,
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    async fn look_up(names: &Names, host: &str) -> Result<Vec<IpAddr>, NotReady> {
        let endpoint = format!("{host}:1").parse().expect("an endpoint");
        let found = names.look_up(&endpoint, &Overlap::default()).await?;
        Ok(found.iter().map(SocketAddr::ip).collect())
    }

    /// Looks a name up with this resolv.conf and an empty hosts file.
    async fn ask(port: u16, resolv_conf: &str, host: &str) -> Result<Vec<IpAddr>, NotReady> {
        let resolv_conf = file(resolv_conf);
        let names = Names {
            resolv_conf: resolv_conf.path().into(),
            hosts: "/nonexistent".into(),
            port,
        };
        look_up(&names, host).await
    }

    /// A name server that is asked for a name, in lower case, and whether its IPv6 address is meant.
    async fn serve(
        address: impl Into<SocketAddr>,
        delay: Duration,
        answer: impl Fn(&str, bool) -> Answer + Send + 'static,
    ) -> u16 {
        let socket = UdpSocket::bind(address.into()).await.expect("a port");
        let port = socket.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((_, from)) = socket.recv_from(&mut packet).await {
                let mut name = String::new();
                let mut at = 12;
                while packet[at] > 0 {
                    let label = &packet[at + 1..=at + usize::from(packet[at])];
                    name += &String::from_utf8_lossy(label).to_lowercase();
                    name.push('.');
                    at += 1 + label.len();
                }
                let question = &packet[12..at + 5];
                let (code, data) = match answer(&name, packet[at + 2] == 28) {
                    Answer::V4(address) => (0, Some(address.to_vec())),
                    Answer::V6 => (0, Some(std::net::Ipv6Addr::LOCALHOST.octets().to_vec())),
                    Answer::NoAddress => (0, None),
                    Answer::Failure => (2, None),
                    Answer::NoSuchName => (3, None),
                    Answer::Refusal => (5, None),
                    Answer::Silence => continue,
                };
                let answers = u8::from(data.is_some());
                let mut reply = packet[..2].to_vec();
                reply.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
                reply.extend(question);
                if let Some(data) = data {
                    reply.extend([0xc0, 12, 0, packet[at + 2], 0, 1, 0, 0, 0, 60]);
                    reply.extend([0, data.len() as u8]);
                    reply.extend(data);
                }
                tokio::time::sleep(delay).await;
                socket.send_to(&reply, from).await.expect("sent");
            }
        });
        port
    }

    /// One that knows a single name and its IPv4 address.
    async fn serve_one(known: &'static str) -> u16 {
        let answer = move |name: &str, is_v6: bool| match (name == known, is_v6) {
            (true, false) => Answer::V4(THERE),
            (true, true) => Answer::NoAddress,
            (false, _) => Answer::NoSuchName,
        };
        serve(([127, 0, 0, 1], 0), Duration::ZERO, answer).await
    }

    /// Two of them, the first on 127.0.0.1 and slow, and resolv.conf for both.
    async fn serve_two(first: Answer, second: Answer) -> (u16, &'static str) {
        let v4_only = |answer| {
            move |_: &str, is_v6: bool| match (answer, is_v6) {
                (Answer::V4(_), true) => Answer::NoAddress,
                _ => answer,
            }
        };
        let slow = Duration::from_millis(50);
        let port = serve(([127, 0, 0, 1], 0), slow, v4_only(first)).await;
        serve(([127, 0, 0, 2], port), Duration::ZERO, v4_only(second)).await;
        (port, "nameserver 127.0.0.1\nnameserver 127.0.0.2\n")
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
        let text = b"10.0.0.1 x DB\n::1 db # both\n#10.0.0.2 db\n\xff db\n10.0.0.3 db.x\n";
        std::fs::write(hosts.path(), text).expect("written");
        let found = look_up(&names, "db").await.expect("both families");
        assert_eq!(
            found,
            ["::1", "10.0.0.1"].map(|a| a.parse::<IpAddr>().expect("an address"))
        );
    }

    #[tokio::test]
    async fn a_name_may_have_underscores() {
        let hosts = file("10.1.2.3 my_db\n");
        let names = Names {
            hosts: hosts.path().into(),
            ..Names::default()
        };
        let in_file = look_up(&names, "my_db").await;
        let port = serve_one("my_other_db.").await;
        let asked_for = ask(port, "nameserver 127.0.0.1\n", "my_other_db").await;
        for found in [in_file, asked_for] {
            assert_eq!(found.expect("an address"), [IpAddr::from(THERE)]);
        }
    }

    #[tokio::test]
    async fn search_domains_are_tried() {
        let port = serve_one("db.lan.").await;
        let resolv_conf = "nameserver 127.0.0.1\nsearch example.test a..b lan\noptions timeout:0\n";
        let found = ask(port, resolv_conf, "db").await.expect("an address");
        assert_eq!(found, [IpAddr::from(THERE)]);
        let missing = ask(port, resolv_conf, "other").await;
        assert_eq!(
            missing.expect_err("no such name"),
            NotReady::new(&reason::UNRESOLVED, "no such name")
        );
    }

    #[test]
    fn names_are_tried_in_the_order_of_the_c_library() {
        let candidates = |text: &str, name: &str| {
            let candidates = Configuration::parse(text.as_bytes()).candidates(name);
            let texts: Vec<_> = candidates.iter().map(Name::to_ascii).collect();
            texts.join(" ")
        };
        for (resolv_conf, name, expected) in [
            ("search a b", "db", "db.a. db.b. db."),
            ("search a b", "x.db", "x.db. x.db.a. x.db.b."),
            ("search a b\noptions ndots:0", "db", "db. db.a. db.b."),
            ("search a\noptions ndots:5", "x.db", "x.db.a. x.db."),
            ("search a", "db.", "db."),
            ("search .", "DB", "db. db."),
            (r"search a\ b", "db", "db.b. db."),
            ("domain a\nsearch b", "db", "db.b. db."),
            ("search b\ndomain a", "db", "db.a. db."),
            ("", "xn--dnrlain.", "xn--dnrlain."),
        ] {
            assert_eq!(candidates(resolv_conf, name), expected, "{resolv_conf}");
        }
    }

    #[test]
    fn a_file_that_may_hang_is_not_read_to_count_name_servers() {
        let descriptors = |path: &std::path::Path| {
            let resolv_conf = path.into();
            let names = Names {
                resolv_conf,
                ..Names::default()
            };
            names.descriptors() / DESCRIPTORS_PER_SERVER
        };
        let two = file("nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
        assert_eq!(descriptors(two.path()), 2);
        assert_eq!(descriptors("/nonexistent".as_ref()), 1);
        // It is not on a disk of this machine.
        #[cfg(target_os = "linux")]
        assert_eq!(descriptors("/proc/version".as_ref()), MOST_SERVERS);
    }

    #[tokio::test]
    async fn addresses_of_different_names_are_not_mixed() {
        let answer = |name: &str, is_v6: bool| match (name, is_v6) {
            ("db.lan.", false) => Answer::V4(THERE),
            ("db.lan.", true) => Answer::NoAddress,
            (_, true) => Answer::V6,
            (_, false) => Answer::NoSuchName,
        };
        let port = serve(([127, 0, 0, 1], 0), Duration::ZERO, answer).await;
        let resolv_conf = "nameserver 127.0.0.1\nsearch lan wild\n";
        let found = ask(port, resolv_conf, "db").await.expect("an address");
        assert_eq!(found, [IpAddr::from(THERE)]);
    }

    #[tokio::test]
    async fn an_address_counts_more_than_what_others_say_sooner() {
        for second in [
            Answer::NoSuchName,
            Answer::NoAddress,
            Answer::Failure,
            Answer::Refusal,
            Answer::Silence,
        ] {
            let (port, resolv_conf) = serve_two(Answer::V4(THERE), second).await;
            let found = ask(port, resolv_conf, "db").await.expect("an address");
            assert_eq!(found, [IpAddr::from(THERE)]);
        }
    }

    #[tokio::test]
    async fn a_server_that_fails_or_is_silent_leaves_it_to_the_next() {
        for first in [Answer::Failure, Answer::Refusal, Answer::Silence] {
            let (port, resolv_conf) = serve_two(first, Answer::NoSuchName).await;
            let start = Instant::now();
            let missing = ask(port, resolv_conf, "db")
                .await
                .expect_err("no such name");
            assert_eq!(missing.detail, "no such name");
            assert!(start.elapsed() < Duration::from_secs(4));
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_rather_than_that_there_is_no_such_name_elsewhere() {
        let answer = |name: &str, _| match name {
            "db.lan." => Answer::Failure,
            _ => Answer::NoSuchName,
        };
        let port = serve(([127, 0, 0, 1], 0), Duration::ZERO, answer).await;
        let resolv_conf = "nameserver 127.0.0.1\nsearch lan\n";
        let failed = ask(port, resolv_conf, "db").await.expect_err("a failure");
        assert!(failed.detail.contains("Server Failure"), "{failed}");
    }

    #[tokio::test]
    async fn neither_a_family_nor_a_server_that_is_silent_is_waited_for() {
        let answer = |_: &str, is_v6: bool| match is_v6 {
            false => Answer::V4(THERE),
            true => Answer::Silence,
        };
        let port = serve(([127, 0, 0, 1], 0), Duration::ZERO, answer).await;
        // Bound and never read.
        let _silent = UdpSocket::bind(("127.0.0.2", port)).await.expect("a port");
        let resolv_conf = "nameserver 127.0.0.2\nnameserver 127.0.0.1\n";
        let start = Instant::now();
        let found = ask(port, resolv_conf, "db.lan").await.expect("an address");
        assert_eq!(found, [IpAddr::from(THERE)]);
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
