//! The URLs that applications have, as their frameworks' documentation writes them, each against servers
//! that record the login: it must arrive where the application would have sent it, and nowhere else.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use compose_wait::net::{Names, Network, Roots};
use compose_wait::probe::{Attempt, NotReady, Overlap, Stop};
use compose_wait::settings::cli::Cli;
use compose_wait::settings::{self, Surroundings};
use compose_wait::targets::Target;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::time::timeout;

use crate::fixtures::amqp::{Rules, Seen, converse};
use crate::fixtures::tls::{Authority, secure, tls};

/// How strict an application is about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tls {
    Off,
    /// Always, unverified.
    Require,
    /// From a server whose certificate is trusted and for its name.
    Named,
    /// For the name `other`.
    NamedOther,
}
use Tls::{Named, NamedOther, Off, Require};

/// User, password, virtual host.
type Login = (&'static str, &'static str, &'static str);

const APP: Login = ("app", "secret", "shop");
const GUEST: Login = ("guest", "guest", "/");

/// The value of a variable, the login, the port, and TLS. `{ca}`, `{cert}` and `{key}` are files.
type Row = (&'static str, Login, u16, Tls);

/// Each with its source.
#[rustfmt::skip]
const ROWS: &[(&str, &[Row])] = &[
    ("RabbitMQ, URI specification: examples", &[
        ("amqp://user:pass@mq:10000/vhost", ("user", "pass", "vhost"), 10000, Off),
        ("amqp://user%61:%61pass@mq:10000/v%2fhost", ("usera", "apass", "v/host"), 10000, Off),
        ("amqp://mq", GUEST, 5672, Off),
        ("amqp://mq/", GUEST, 5672, Off),
        ("amqp://mq/%2f", GUEST, 5672, Off),
        ("amqp://mq/vhost", ("guest", "guest", "vhost"), 5672, Off),
        ("amqp://user@mq", ("user", "", "/"), 5672, Off),
        ("amqp://user:@mq", ("user", "", "/"), 5672, Off),
        ("AMQP://app:secret@mq/shop", APP, 5672, Off),
    ]),
    ("RabbitMQ, URI query parameters", &[
        ("amqp://mq?heartbeat=5&connection_timeout=10000", GUEST, 5672, Off),
        ("amqps://mq?cacertfile={ca}&certfile={cert}&keyfile={key}&verify=verify_peer&server_name_indication=mq", GUEST, 5671, Named),
        ("amqps://mq?cacertfile={ca}&certfile={cert}&keyfile={key}&verify=verify_none", GUEST, 5671, Require),
        ("amqps://app:secret@mq/shop?server_name_indication=other&verify=verify_peer", APP, 5671, NamedOther),
        ("amqps://app:secret@mq/shop?server_name_indication=disable", APP, 5671, Named),
        ("amqp://app:secret@mq/shop?auth_mechanism=plain&auth_mechanism=amqplain&channel_max=100&frame_max=131072", APP, 5672, Off),
    ]),
    ("amqplib, connect", &[
        ("amqp://app:secret@mq:5672/shop", APP, 5672, Off),
        ("amqp://app:secret@mq:5672/shop?frameMax=0x1000&heartbeat=30&channelMax=0&locale=en_US", APP, 5672, Off),
        ("amqp://app:secret@mq", ("app", "secret", "/"), 5672, Off),
        ("amqp://app:secret@mq/%2F", ("app", "secret", "/"), 5672, Off),
        ("amqp://app:secret@mq/a/b", ("app", "secret", "a/b"), 5672, Off),
        ("amqp://app:p%40s%23s%2Fw%3Ard@mq:5673/shop", ("app", "p@s#s/w:rd", "shop"), 5673, Off),
        ("amqps://app:secret@mq/shop", APP, 5671, Named),
    ]),
    ("NestJS, microservices: RabbitMQ", &[
        ("amqp://mq:5672", GUEST, 5672, Off),
        ("amqp://user:password@mq:5672", ("user", "password", "/"), 5672, Off),
        ("amqp://mq:5672/shop", ("guest", "guest", "shop"), 5672, Off),
    ]),
    ("amqp-connection-manager and Rascal", &[
        ("amqp://app:secret@mq/shop,amqp://app:secret@mq/shop", APP, 5672, Off),
        ("amqp://guest:guest@mq:5672/v1?heartbeat=10&channelMax=100&connection_timeout=10000", ("guest", "guest", "v1"), 5672, Off),
    ]),
    ("Celery and kombu, broker_url", &[
        ("amqp://guest:guest@mq:5672//", GUEST, 5672, Off),
        ("amqp://myuser:mypassword@mq:5672/myvhost", ("myuser", "mypassword", "myvhost"), 5672, Off),
        ("pyamqp://guest@mq//", ("guest", "", "/"), 5672, Off),
        ("librabbitmq://app:secret@mq/shop", APP, 5672, Off),
        ("amqp://app:secret@mq:5672//shop", ("app", "secret", "/shop"), 5672, Off),
        ("amqps://app:secret@mq:5671/shop", APP, 5671, Named),
        ("amqp://app:secret@mq//;amqp://app:secret@mq//", ("app", "secret", "/"), 5672, Off),
        ("amqps://app:secret@mq:5671/shop?ssl_ca_certs={ca}&ssl_cert_reqs=CERT_REQUIRED", APP, 5671, Named),
        ("amqps://app:secret@mq:5671/shop?ssl_cert_reqs=CERT_NONE", APP, 5671, Require),
        ("amqp://app:secret@mq:5671/shop?ssl=True", APP, 5671, Named),
    ]),
    ("pika, URLParameters", &[
        ("amqp://guest:guest@mq:5672/%2F", GUEST, 5672, Off),
        ("amqp://www-data:rabbit_pwd@mq/web_messages", ("www-data", "rabbit_pwd", "web_messages"), 5672, Off),
        ("amqps://www-data:rabbit_pwd@mq/web_messages", ("www-data", "rabbit_pwd", "web_messages"), 5671, Named),
        ("amqp://app:secret@mq:5672/shop?connection_attempts=3&heartbeat=3600&retry_delay=2&socket_timeout=5&blocked_connection_timeout=300", APP, 5672, Off),
    ]),
    ("Spring Boot, spring.rabbitmq.addresses, and the Java client, setUri", &[
        ("amqp://admin:secret@mq", ("admin", "secret", "/"), 5672, Off),
        ("amqp://admin:secret@mq:5672/shop,amqp://admin:secret@mq:5673/shop", ("admin", "secret", "shop"), 5672, Off),
        ("amqps://admin:secret@mq:5671/shop", ("admin", "secret", "shop"), 5671, Named),
        ("amqp://app:secret@mq,mq:5673/shop", APP, 5672, Off),
    ]),
    ("Bunny, connecting", &[
        ("amqp://bunny_gem:bunny_password@mq/bunny_testbed", ("bunny_gem", "bunny_password", "bunny_testbed"), 5672, Off),
        ("amqps://app:secret@mq/shop?verify=false", APP, 5671, Require),
        ("amqps://app:secret@mq/shop?verify=true&cacertfile={ca}&certfile={cert}&keyfile={key}&fail_if_no_peer_cert=true", APP, 5671, Named),
        ("amqp://app:secret@mq/shop?heartbeat=10&connection_timeout=100&channel_max=1000&auth_mechanism=PLAIN", APP, 5672, Off),
    ]),
    ("Go, amqp091-go", &[
        ("amqp://guest:guest@mq:5672/", GUEST, 5672, Off),
        ("amqps://app:secret@mq/shop?cacertfile={ca}&certfile={cert}&keyfile={key}&server_name_indication=mq", APP, 5671, Named),
    ]),
    ("Symfony, Messenger: AMQP transport", &[
        ("amqp://guest:guest@mq:5672/%2f/messages", GUEST, 5672, Off),
        ("amqp://guest:guest@mq:5672/%2f/messages?auto_setup=false", GUEST, 5672, Off),
        ("amqps://app:secret@mq:5671/%2f/messages?cacert={ca}", ("app", "secret", "/"), 5671, Named),
        ("amqps://app:secret@mq/%2F/messages?cacert={ca}&cert={cert}&key={key}&verify=false", ("app", "secret", "/"), 5671, Require),
    ]),
    ("MassTransit and EasyNetQ", &[
        ("rabbitmq://mq", GUEST, 5672, Off),
        ("rabbitmq://app:secret@mq/shop", APP, 5672, Off),
        ("rabbitmqs://app:secret@mq/shop", APP, 5671, Named),
        ("amqp://app:secret@mq:5672/shop", APP, 5672, Off),
    ]),
    ("CloudAMQP and Amazon MQ: URLs of managed brokers", &[
        ("amqps://llmgzyix:secret@mq/llmgzyix", ("llmgzyix", "secret", "llmgzyix"), 5671, Named),
        ("amqps://admin:secret@mq:5671", ("admin", "secret", "/"), 5671, Named),
    ]),
    ("Enqueue, AMQP transports for PHP", &[
        ("amqp+ext://app:secret@mq:5673/shop?connection_timeout=5", APP, 5673, Off),
        ("amqp+lib://app:secret@mq/shop?read_timeout=3&lazy=1", APP, 5672, Off),
    ]),
    ("As people write them: quotes, line ends, comments", &[
        ("\"amqp://app:secret@mq/shop\"", APP, 5672, Off),
        ("'amqp://app:secret@mq/shop' # the broker", APP, 5672, Off),
        ("amqp://app:secret@mq/shop\r\n", APP, 5672, Off),
        ("amqp://app:se,cret@mq/shop", ("app", "se,cret", "shop"), 5672, Off),
        ("amqp://app:se;cret@mq/shop", ("app", "se;cret", "shop"), 5672, Off),
        ("amqp://app:p@ss@mq/shop", ("app", "p@ss", "shop"), 5672, Off),
        ("amqp://mq/shop?user=app&password=secret", APP, 5672, Off),
    ]),
];

/// The servers that an address has at each port, by what is wrong with them.
const TRUSTED: u8 = 1;
const OTHER_NAME: u8 = 2;
const UNTRUSTED: u8 = 3;
const WITHOUT_TLS: u8 = 4;

const PORTS: [u16; 4] = [5671, 5672, 5673, 10000];

/// Whether an application logs in to a server.
fn logs_in(tls: Tls, server: u8) -> bool {
    match tls {
        Off => server == WITHOUT_TLS,
        Require => server != WITHOUT_TLS,
        Named => server == TRUSTED,
        NamedOther => server == OTHER_NAME,
    }
}

/// The servers, and what they have seen since the last look.
struct World {
    seen: Arc<Mutex<Vec<(u16, Seen)>>>,
    networks: HashMap<u8, Arc<Network>>,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, others) = (Authority::new(), Authority::new());
        let certified = ours.certify(&["mq"]);
        for (name, pem) in [
            ("ca.pem", &certified.authority),
            ("cert.pem", &certified.certificate),
            ("key.pem", &certified.key),
        ] {
            std::fs::write(folder.path().join(name), pem).expect("written");
        }
        let mut world = Self {
            seen: Arc::default(),
            networks: HashMap::new(),
            folder,
        };
        // A part of the loopback network that no other process has.
        let (a, b) = (fastrand::u8(1..=254), fastrand::u8(..));
        for (number, config) in [
            (TRUSTED, Some(tls(&certified))),
            (OTHER_NAME, Some(tls(&ours.certify(&["other"])))),
            (UNTRUSTED, Some(tls(&others.certify(&["mq", "other"])))),
            (WITHOUT_TLS, None),
        ] {
            let address = Ipv4Addr::new(127, a, b, number);
            let hosts = world.folder.path().join(format!("hosts-{number}"));
            std::fs::write(&hosts, format!("{address} mq\n")).expect("written");
            let authority = CertificateDer::from_pem_slice(certified.authority.as_bytes());
            let network = Network {
                names: Names {
                    resolv_conf: "/nonexistent".into(),
                    hosts,
                    port: 1,
                },
                roots: Roots::new(vec![authority.expect("PEM")]),
            };
            world.networks.insert(number, Arc::new(network));
            for port in PORTS {
                let listener = TcpListener::bind((address, port)).expect("a port");
                world.serve(port, config.clone(), listener);
            }
        }
        world
    }

    fn serve(&self, port: u16, config: Option<Arc<ServerConfig>>, listener: TcpListener) {
        let seen = Arc::clone(&self.seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, seen) = (config.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    // It is noted before the end, which the client waits for.
                    let note =
                        |one: &Seen| seen.lock().expect("not poisoned").push((port, one.clone()));
                    match config {
                        None => converse(stream, false, Rules::OPEN, note),
                        Some(config) => converse(secure(&config, stream), true, Rules::OPEN, note),
                    }
                });
            }
        });
    }

    /// The text of a row with what it stands for.
    fn text(&self, row: &str) -> String {
        ["ca", "cert", "key"]
            .iter()
            .fold(row.to_owned(), |text, name| {
                let path = self.folder.path().join(format!("{name}.pem"));
                text.replace(&format!("{{{name}}}"), &path.display().to_string())
            })
    }

    /// An attempt at a target over one of the networks, and the logins that servers have seen.
    async fn attempt(
        &self,
        target: &Target,
        number: u8,
    ) -> (Result<(), NotReady>, Vec<(u16, Seen)>) {
        let network = Arc::clone(&self.networks[&number]);
        let cx = Attempt::new(network, Overlap::default(), Stop::default());
        let result = timeout(Duration::from_secs(20), target.probe.attempt(&cx)).await;
        let seen = std::mem::take(&mut *self.seen.lock().expect("not poisoned"));
        let logins = seen
            .into_iter()
            .filter(|(_, seen)| !seen.mechanism.is_empty());
        (result.expect("an end"), logins.collect())
    }
}

/// The target in a variable of an application.
fn understood(value: &str) -> Result<Vec<Target>, String> {
    let surroundings = Surroundings {
        variable: &|name| match name {
            "WAIT_HOSTS" => Some("env:AMQP_URL".into()),
            "AMQP_URL" => Some(value.into()),
            _ => None,
        },
        names: &Vec::new,
        file: &|path| std::fs::read(path),
        is_terminal: false,
    };
    let resolved = settings::resolve(&Cli::default(), &surroundings);
    let (config, _) = resolved.map_err(|error| error.to_string())?;
    Ok(config.targets)
}

#[tokio::test]
async fn the_url_of_an_application_logs_in_as_the_application_would() {
    let world = World::new();
    let mut wrong = Vec::new();
    let rows = ROWS
        .iter()
        .flat_map(|(source, rows)| rows.iter().map(move |row| (source, row)));
    for (source, (row, (user, password, virtual_host), port, tls)) in rows {
        let mut check = |is_right: bool, words: String| {
            if !is_right {
                wrong.push(format!("{source}: {row}: {words}"));
            }
        };
        let targets = match understood(&world.text(row)) {
            Ok(targets) => targets,
            Err(error) => {
                check(false, error);
                continue;
            }
        };
        let [target] = &*targets else {
            check(false, format!("{targets:?}"));
            continue;
        };
        check(!target.to_string().contains("secret"), format!("{target}"));
        for server in [TRUSTED, OTHER_NAME, UNTRUSTED, WITHOUT_TLS] {
            let (result, seen) = world.attempt(target, server).await;
            let expected = Seen {
                is_tls: *tls != Off,
                mechanism: "PLAIN".to_owned(),
                response: format!("\0{user}\0{password}"),
                virtual_host: (*virtual_host).to_owned(),
                queue: None,
                is_closed: true,
            };
            let expected = match logs_in(*tls, server) {
                true => vec![(*port, expected)],
                false => Vec::new(),
            };
            check(
                result.is_ok() != expected.is_empty(),
                format!("server {server}: {result:?}"),
            );
            check(seen == expected, format!("server {server}: {seen:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong.join("\n"),
        wrong.len()
    );
}
