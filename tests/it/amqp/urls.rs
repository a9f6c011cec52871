//! The URLs that applications have, as their frameworks' documentation writes them, each against servers
//! that record the login: it must arrive where the application would have sent it, and nowhere else.

use crate::fixtures::amqp::{Rules, Seen, converse};
use crate::urls::{
    OTHER_NAME, Protocol, TRUSTED, UNTRUSTED, WITHOUT_TLS, World, secured, understood,
};

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
        ("amqp://user:pass@db:10000/vhost", ("user", "pass", "vhost"), 10000, Off),
        ("amqp://user%61:%61pass@db:10000/v%2fhost", ("usera", "apass", "v/host"), 10000, Off),
        ("amqp://db", GUEST, 5672, Off),
        ("amqp://db/", GUEST, 5672, Off),
        ("amqp://db/%2f", GUEST, 5672, Off),
        ("amqp://db/vhost", ("guest", "guest", "vhost"), 5672, Off),
        ("amqp://user@db", ("user", "", "/"), 5672, Off),
        ("amqp://user:@db", ("user", "", "/"), 5672, Off),
        ("AMQP://app:secret@db/shop", APP, 5672, Off),
    ]),
    ("RabbitMQ, URI query parameters", &[
        ("amqp://db?heartbeat=5&connection_timeout=10000", GUEST, 5672, Off),
        ("amqps://db?cacertfile={ca}&certfile={cert}&keyfile={key}&verify=verify_peer&server_name_indication=db", GUEST, 5671, Named),
        ("amqps://db?cacertfile={ca}&certfile={cert}&keyfile={key}&verify=verify_none", GUEST, 5671, Require),
        ("amqps://app:secret@db/shop?server_name_indication=other&verify=verify_peer", APP, 5671, NamedOther),
        ("amqps://app:secret@db/shop?server_name_indication=disable", APP, 5671, Named),
        ("amqp://app:secret@db/shop?auth_mechanism=plain&auth_mechanism=amqplain&channel_max=100&frame_max=131072", APP, 5672, Off),
    ]),
    ("amqplib, connect", &[
        ("amqp://app:secret@db:5672/shop", APP, 5672, Off),
        ("amqp://app:secret@db:5672/shop?frameMax=0x1000&heartbeat=30&channelMax=0&locale=en_US", APP, 5672, Off),
        ("amqp://app:secret@db", ("app", "secret", "/"), 5672, Off),
        ("amqp://app:secret@db/%2F", ("app", "secret", "/"), 5672, Off),
        ("amqp://app:secret@db/a/b", ("app", "secret", "a/b"), 5672, Off),
        ("amqp://app:p%40s%23s%2Fw%3Ard@db:5673/shop", ("app", "p@s#s/w:rd", "shop"), 5673, Off),
        ("amqps://app:secret@db/shop", APP, 5671, Named),
    ]),
    ("NestJS, microservices: RabbitMQ", &[
        ("amqp://db:5672", GUEST, 5672, Off),
        ("amqp://user:password@db:5672", ("user", "password", "/"), 5672, Off),
        ("amqp://db:5672/shop", ("guest", "guest", "shop"), 5672, Off),
    ]),
    ("amqp-connection-manager and Rascal", &[
        ("amqp://app:secret@db/shop,amqp://app:secret@db/shop", APP, 5672, Off),
        ("amqp://guest:guest@db:5672/v1?heartbeat=10&channelMax=100&connection_timeout=10000", ("guest", "guest", "v1"), 5672, Off),
    ]),
    ("Celery and kombu, broker_url", &[
        ("amqp://guest:guest@db:5672//", GUEST, 5672, Off),
        ("amqp://myuser:mypassword@db:5672/myvhost", ("myuser", "mypassword", "myvhost"), 5672, Off),
        ("pyamqp://guest@db//", ("guest", "", "/"), 5672, Off),
        ("librabbitmq://app:secret@db/shop", APP, 5672, Off),
        ("amqp://app:secret@db:5672//shop", ("app", "secret", "/shop"), 5672, Off),
        ("amqps://app:secret@db:5671/shop", APP, 5671, Named),
        ("amqp://app:secret@db//;amqp://app:secret@db//", ("app", "secret", "/"), 5672, Off),
        ("amqps://app:secret@db:5671/shop?ssl_ca_certs={ca}&ssl_cert_reqs=CERT_REQUIRED", APP, 5671, Named),
        ("amqps://app:secret@db:5671/shop?ssl_cert_reqs=CERT_NONE", APP, 5671, Require),
        ("amqp://app:secret@db:5671/shop?ssl=True", APP, 5671, Named),
    ]),
    ("pika, URLParameters", &[
        ("amqp://guest:guest@db:5672/%2F", GUEST, 5672, Off),
        ("amqp://www-data:rabbit_pwd@db/web_messages", ("www-data", "rabbit_pwd", "web_messages"), 5672, Off),
        ("amqps://www-data:rabbit_pwd@db/web_messages", ("www-data", "rabbit_pwd", "web_messages"), 5671, Named),
        ("amqp://app:secret@db:5672/shop?connection_attempts=3&heartbeat=3600&retry_delay=2&socket_timeout=5&blocked_connection_timeout=300", APP, 5672, Off),
    ]),
    ("Spring Boot, spring.rabbitmq.addresses, and the Java client, setUri", &[
        ("amqp://admin:secret@db", ("admin", "secret", "/"), 5672, Off),
        ("amqp://admin:secret@db:5672/shop,amqp://admin:secret@db:5673/shop", ("admin", "secret", "shop"), 5672, Off),
        ("amqps://admin:secret@db:5671/shop", ("admin", "secret", "shop"), 5671, Named),
        ("amqp://app:secret@db,db:5673/shop", APP, 5672, Off),
    ]),
    ("Bunny, connecting", &[
        ("amqp://bunny_gem:bunny_password@db/bunny_testbed", ("bunny_gem", "bunny_password", "bunny_testbed"), 5672, Off),
        ("amqps://app:secret@db/shop?verify=false", APP, 5671, Require),
        ("amqps://app:secret@db/shop?verify=true&cacertfile={ca}&certfile={cert}&keyfile={key}&fail_if_no_peer_cert=true", APP, 5671, Named),
        ("amqp://app:secret@db/shop?heartbeat=10&connection_timeout=100&channel_max=1000&auth_mechanism=PLAIN", APP, 5672, Off),
    ]),
    ("Go, amqp091-go", &[
        ("amqp://guest:guest@db:5672/", GUEST, 5672, Off),
        ("amqps://app:secret@db/shop?cacertfile={ca}&certfile={cert}&keyfile={key}&server_name_indication=db", APP, 5671, Named),
    ]),
    ("Symfony, Messenger: AMQP transport", &[
        ("amqp://guest:guest@db:5672/%2f/messages", GUEST, 5672, Off),
        ("amqp://guest:guest@db:5672/%2f/messages?auto_setup=false", GUEST, 5672, Off),
        ("amqps://app:secret@db:5671/%2f/messages?cacert={ca}", ("app", "secret", "/"), 5671, Named),
        ("amqps://app:secret@db/%2F/messages?cacert={ca}&cert={cert}&key={key}&verify=false", ("app", "secret", "/"), 5671, Require),
    ]),
    ("MassTransit and EasyNetQ", &[
        ("rabbitmq://db", GUEST, 5672, Off),
        ("rabbitmq://app:secret@db/shop", APP, 5672, Off),
        ("rabbitmqs://app:secret@db/shop", APP, 5671, Named),
        ("amqp://app:secret@db:5672/shop", APP, 5672, Off),
    ]),
    ("CloudAMQP and Amazon MQ: URLs of managed brokers", &[
        ("amqps://llmgzyix:secret@db/llmgzyix", ("llmgzyix", "secret", "llmgzyix"), 5671, Named),
        ("amqps://admin:secret@db:5671", ("admin", "secret", "/"), 5671, Named),
    ]),
    ("Enqueue, AMQP transports for PHP", &[
        ("amqp+ext://app:secret@db:5673/shop?connection_timeout=5", APP, 5673, Off),
        ("amqp+lib://app:secret@db/shop?read_timeout=3&lazy=1", APP, 5672, Off),
    ]),
    ("As people write them: quotes, line ends, comments", &[
        ("\"amqp://app:secret@db/shop\"", APP, 5672, Off),
        ("'amqp://app:secret@db/shop' # the broker", APP, 5672, Off),
        ("amqp://app:secret@db/shop\r\n", APP, 5672, Off),
        ("amqp://app:se,cret@db/shop", ("app", "se,cret", "shop"), 5672, Off),
        ("amqp://app:se;cret@db/shop", ("app", "se;cret", "shop"), 5672, Off),
        ("amqp://app:p@ss@db/shop", ("app", "p@ss", "shop"), 5672, Off),
        ("amqp://db/shop?user=app&password=secret", APP, 5672, Off),
    ]),
];

/// Whether an application logs in to a server.
fn logs_in(tls: Tls, server: u8) -> bool {
    match tls {
        Off => server == WITHOUT_TLS,
        Require => server != WITHOUT_TLS,
        Named => server == TRUSTED,
        NamedOther => server == OTHER_NAME,
    }
}

const AMQP: Protocol<Seen> = Protocol {
    ports: &[5671, 5672, 5673, 10000],
    socket: "unused",
    record: |stream, config, seen| {
        // It is noted before the end, which the client waits for.
        let note = |one: &Seen| seen(one.clone());
        match config {
            None => converse(stream, false, Rules::OPEN, note),
            Some(config) => converse(secured(config)(stream), true, Rules::OPEN, note),
        }
        Ok(())
    },
};

#[tokio::test]
async fn the_url_of_an_application_logs_in_as_the_application_would() {
    let world = World::new(AMQP);
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
            Ok((targets, _)) => targets,
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
            let (result, mut seen) = world.attempt(target, server).await;
            seen.retain(|(_, seen)| !seen.mechanism.is_empty());
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
