//! The URLs that applications have, as the documentation of their drivers writes them, each against
//! servers with and without TLS: the login must be made where the application would have made it, and
//! nowhere else.

use std::sync::Arc;
use std::time::Duration;

use compose_wait::net::{Network, Roots, Route, Stream};
use compose_wait::probe::{Attempt, NotReady, Stop};
use compose_wait::targets::Target;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixtures::mongodb::{Account, Server, State};
use crate::fixtures::tls::{Authority, tls};
use crate::urls::understood;

/// How strict an application is about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tls {
    Off,
    /// Unverified.
    Require,
    /// From a server whose certificate is trusted.
    Trusted,
    /// And is for its name.
    Named,
}
use Tls::{Named, Off, Require, Trusted};

/// No login.
const NONE: &str = "";

/// The value of a variable, the command that the login begins with, the last command, and TLS.
type Row = (&'static str, &'static str, &'static str, Tls);

const ADMIN: &str = "saslStart admin";
const SHOP: &str = "saslStart shop";
/// The command in the database of the path, where it is not that of the login.
const IN_SHOP: &str = "listCollections shop";
const PING: &str = "ping admin";
const HELLO: &str = "hello admin";

/// Each with its source.
#[rustfmt::skip]
const ROWS: &[(&str, &[Row])] = &[
    ("MongoDB manual, connection strings", &[
        ("mongodb://localhost", NONE, HELLO, Off),
        ("mongodb://localhost:27017", NONE, HELLO, Off),
        ("mongodb://app:secret@db.example.com:27017/?authSource=admin", ADMIN, PING, Off),
        ("mongodb://app:secret@db.example.com:27017/shop", SHOP, PING, Off),
        ("mongodb://app:D1fficultP%40ssw0rd@db.example.com:27017/?authSource=admin&replicaSet=rs0", ADMIN, PING, Off),
        ("mongodb://app:secret@a.example.com:27017,b.example.com:27017,c.example.com:27017/?authSource=admin&replicaSet=rs0", ADMIN, PING, Off),
        ("mongodb://app:secret@mongos0.example.com:27017,mongos1.example.com:27017/?authSource=admin", ADMIN, PING, Off),
        ("mongodb+srv://server.example.com/", NONE, HELLO, Named),
        ("mongodb+srv://server.example.com/?connectTimeoutMS=300000&authSource=aDifferentAuthDB", NONE, HELLO, Named),
        ("mongodb+srv://app:secret@cluster0.example.com/?authSource=admin&replicaSet=rs0&tls=true", ADMIN, PING, Named),
        ("mongodb://db.example.com/?replicaSet=rs0&tls=true", NONE, HELLO, Named),
        ("mongodb://db.example.com,b.example.com:2500/?w=majority&wtimeoutMS=2000", NONE, HELLO, Off),
        ("mongodb://localhost/?replicaSet=rs0&readPreference=primaryPreferred", NONE, HELLO, Off),
        ("mongodb://db.example.com/?directConnection=true", NONE, HELLO, Off),
    ]),
    ("MongoDB Atlas, connect from an application", &[
        ("mongodb+srv://app:secret@cluster0.ab12c.mongodb.net/?retryWrites=true&w=majority&appName=Cluster0", ADMIN, PING, Named),
        ("mongodb+srv://app:secret@cluster0.ab12c.mongodb.net/shop?retryWrites=true&w=majority", SHOP, PING, Named),
        ("mongodb+srv://app:secret@cluster0.ab12c.mongodb.net/shop?authSource=admin", ADMIN, IN_SHOP, Named),
        ("mongodb://app:secret@a.ab12c.mongodb.net:27017,b.ab12c.mongodb.net:27017/?ssl=true&replicaSet=rs0&authSource=admin&appName=Cluster0", ADMIN, PING, Named),
        ("mongodb://app:secret@a.ab12c.mongodb.net:27017/shop?ssl=true&replicaSet=rs0&authSource=admin&retryWrites=true&w=majority", ADMIN, IN_SHOP, Named),
    ]),
    ("MongoDB driver for Node.js 7, connection guide and TLS", &[
        ("mongodb://app:secret@db:27017/?authMechanism=DEFAULT", ADMIN, PING, Off),
        ("mongodb://app:secret@db:27017/?authMechanism=SCRAM-SHA-256&authSource=shop", SHOP, PING, Off),
        ("mongodb://app:secret@db:27017/?authMechanism=SCRAM-SHA-1&authSource=shop", SHOP, PING, Off),
        ("mongodb://db:27017/?tls=true", NONE, HELLO, Named),
        ("mongodb://db:27017/?ssl=true", NONE, HELLO, Named),
        ("mongodb+srv://app:secret@server.example.com/?tls=true&tlsCAFile={ca}", ADMIN, PING, Named),
        ("mongodb://db:27017/?tls=true&tlsAllowInvalidCertificates=true", NONE, HELLO, Require),
        ("mongodb://db:27017/?tls=true&tlsAllowInvalidHostnames=true", NONE, HELLO, Trusted),
        ("mongodb://db:27017/?tls=true&tlsInsecure=true", NONE, HELLO, Require),
        ("mongodb://db:27017/?tls=true&tlsAllowInvalidCertificates=false", NONE, HELLO, Named),
        ("mongodb+srv://server.example.com/?tls=false", NONE, HELLO, Off),
        ("mongodb://db:27017/?compressors=snappy,zlib&zlibCompressionLevel=4", NONE, HELLO, Off),
        ("mongodb://db:27017/?maxPoolSize=20&w=majority&readConcernLevel=majority", NONE, HELLO, Off),
        ("mongodb://db:27017/?loadBalanced=false&serverSelectionTimeoutMS=5000", NONE, HELLO, Off),
        ("mongodb://db:27017/?TLS=true&tlsinsecure=true", NONE, HELLO, Require),
        ("mongodb://app:secret@db:27017/shop?authsource=admin", ADMIN, IN_SHOP, Off),
    ]),
    ("Mongoose, connections", &[
        ("mongodb://127.0.0.1:27017/myapp", NONE, HELLO, Off),
        ("mongodb://app:secret@db:27017/shop", SHOP, PING, Off),
        ("mongodb://app:secret@db:27017/shop?authSource=admin", ADMIN, IN_SHOP, Off),
        ("mongodb://app:secret@a:27017,b:27017/shop?replicaSet=rs0&authSource=admin", ADMIN, IN_SHOP, Off),
        ("mongodb://127.0.0.1:27017/test?directConnection=true&serverSelectionTimeoutMS=2000&appName=mongosh", NONE, HELLO, Off),
        ("mongodb://app:secret@db:27017/shop?socketTimeoutMS=1000&autoIndex=false", SHOP, PING, Off),
    ]),
    ("Prisma, MongoDB connector", &[
        ("mongodb://app:secret@db:27017/shop", SHOP, PING, Off),
        ("mongodb://app:secret@db:27017/shop?authSource=admin", ADMIN, IN_SHOP, Off),
        ("mongodb+srv://app:secret@cluster0.ab12c.mongodb.net/shop?retryWrites=true&w=majority", SHOP, PING, Named),
        ("mongodb://prisma%40x:secret@db:27017/shop?authSource=admin&replicaSet=rs0&retryWrites=true", ADMIN, IN_SHOP, Off),
        ("\"mongodb://app:secret@db:27017/shop?authSource=admin\"", ADMIN, IN_SHOP, Off),
    ]),
    ("Spring Data MongoDB, spring.data.mongodb.uri", &[
        ("mongodb://app:secret@db.example.com:27017,b.example.com:23456/shop", SHOP, PING, Off),
        ("mongodb://app:secret@db:27017/shop?authSource=admin&uuidRepresentation=STANDARD", ADMIN, IN_SHOP, Off),
        ("mongodb://app:secret@db:27017/shop?ssl=true&sslInvalidHostNameAllowed=false", SHOP, PING, Named),
        ("mongodb://app:secret@db:27017/shop?maxIdleTimeMS=60000&minPoolSize=2", SHOP, PING, Off),
    ]),
    ("PyMongo and Motor, authentication and TLS examples", &[
        ("mongodb://app:secret@db:27017/?authSource=shop&authMechanism=SCRAM-SHA-256", SHOP, PING, Off),
        ("mongodb://app:D1fficultP%40ssw0rd@db/?authSource=shop&authMechanism=SCRAM-SHA-1", SHOP, PING, Off),
        ("mongodb://db/?tls=true&tlsCAFile={ca}", NONE, HELLO, Named),
        ("mongodb://db/?tls=true&tlsAllowInvalidHostnames=true&tlsCAFile={ca}", NONE, HELLO, Trusted),
        ("mongodb://db:27017/?replicaSet=rs0&readPreference=secondaryPreferred", NONE, HELLO, Off),
        ("mongodb://[::1]:27017/", NONE, HELLO, Off),
        ("mongodb://db/?w=3&journal=true&unicode_decode_error_handler=ignore", NONE, HELLO, Off),
    ]),
    ("Azure Cosmos DB, Amazon DocumentDB and DigitalOcean, connection strings", &[
        ("mongodb://app:secret@db:10255/?ssl=true&replicaSet=rs0&retrywrites=false&maxIdleTimeMS=120000&appName=@app@", ADMIN, PING, Named),
        ("mongodb://app:secret@db:27017/?tls=true&tlsCAFile={ca}&replicaSet=rs0&readPreference=secondaryPreferred&retryWrites=false", ADMIN, PING, Named),
        ("mongodb+srv://app:secret@server.example.com/admin?tls=true&authSource=admin&replicaSet=rs0", ADMIN, PING, Named),
    ]),
    ("Docker Hub's mongo image, and Compose files", &[
        ("mongodb://root:secret@mongo:27017/", ADMIN, PING, Off),
        ("mongodb://root:secret@mongo:27017", ADMIN, PING, Off),
        ("mongodb://root:secret@mongo:27017/shop?authSource=admin", ADMIN, IN_SHOP, Off),
        ("mongodb://root:secret@mongo/admin", ADMIN, PING, Off),
        ("mongodb://mongo/shop?replicaSet=rs0", NONE, HELLO, Off),
    ]),
];

/// Whether an application that is so strict sends its login.
type IsTaken = fn(Tls) -> bool;

/// The servers, by what is wrong with them.
const SERVERS: [(&str, IsTaken); 4] = [
    ("trusted", |_| true),
    ("for another name", |tls| tls < Named),
    ("not trusted", |tls| tls < Trusted),
    ("without TLS", |tls| tls == Off),
];

struct World {
    servers: Vec<Server>,
    network: Arc<Network>,
    ca: tempfile::NamedTempFile,
}

/// The names of all hosts.
const HOSTS: [&str; 10] = [
    "localhost",
    "db",
    "a",
    "db.example.com",
    "a.example.com",
    "mongos0.example.com",
    "server.example.com",
    "cluster0.example.com",
    "cluster0.ab12c.mongodb.net",
    "a.ab12c.mongodb.net",
];

impl World {
    fn new() -> Self {
        let (ours, others) = (Authority::new(), Authority::new());
        let all = [&HOSTS[..], &["mongo", "127.0.0.1", "::1"]].concat();
        let trusted = ours.certify(&all);
        let configs = [
            Some(tls(&trusted)),
            Some(tls(&ours.certify(&["another.test"]))),
            Some(tls(&others.certify(&all))),
            None,
        ];
        let account = |source, user, password| Account {
            source,
            user,
            password,
            mechanisms: &["SCRAM-SHA-1", "SCRAM-SHA-256"],
            roles: &["shop"],
        };
        let accounts = ["admin", "shop"].into_iter().flat_map(|source| {
            let users = ["app", "root", "prisma@x"].into_iter();
            users.map(move |user| account(source, user, "secret"))
        });
        let mut accounts: Vec<_> = accounts.collect();
        // The one whose password is difficult.
        for source in ["admin", "shop"] {
            accounts.push(account(source, "difficult", "D1fficultP@ssw0rd"));
        }
        let members = all.iter().map(|host| match host.contains(':') {
            true => format!("[{host}]:27017"),
            false => format!("{host}:27017"),
        });
        let members = members.chain(["db:10255".to_owned()]);
        let hello = json!({ "setName": "rs0", "isWritablePrimary": true, "hosts": members.collect::<Vec<_>>() });
        let state = State {
            hello,
            accounts,
            ..State::default()
        };
        let start = |config: Option<_>| match config {
            Some(config) => Server::with_tls(state.clone(), &config),
            None => Server::start(|_| state.clone()),
        };
        let authority = CertificateDer::from_pem_slice(trusted.authority.as_bytes());
        let mut ca = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut ca, trusted.authority.as_bytes()).expect("written");
        Self {
            servers: configs.into_iter().map(start).collect(),
            network: Arc::new(Network {
                roots: Roots::new(vec![authority.expect("PEM")]),
                ..Network::default()
            }),
            ca,
        }
    }

    /// An attempt at a target whose first host is this server, and the commands that it has seen.
    async fn attempt(
        &self,
        target: &Target,
        server: &Server,
    ) -> (Result<(), NotReady>, Vec<String>) {
        let before = server.log().len();
        let stream = TcpStream::connect(server.address).await.expect("connected");
        let stream = Stream::new(stream, Route::Private);
        let cx = Attempt::over(Arc::clone(&self.network), [stream], Stop::default());
        let result = timeout(Duration::from_secs(20), target.probe.attempt(&cx)).await;
        let result =
            result.unwrap_or_else(|_| panic!("{target} hangs while {}", cx.current_phase()));
        (result, server.log().split_off(before))
    }
}

#[tokio::test]
async fn the_url_of_an_application_logs_in_as_the_application_would() {
    let world = World::new();
    let rows = ROWS
        .iter()
        .flat_map(|(source, rows)| rows.iter().map(move |row| (source, row)));
    let mut wrong = Vec::new();
    let mut number = 0;
    for (source, (row, login, last, tls)) in rows {
        number += 1;
        let text = row.replace("{ca}", &world.ca.path().display().to_string());
        let text = text.replace("app:D1ff", "difficult:D1ff");
        let mut check = |is_right: bool, words: String| {
            if !is_right {
                wrong.push(format!("{source}: {row}: {words}"));
            }
        };
        let targets = match understood(&text) {
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
        check(
            !target.to_string().contains("secret"),
            "its name".to_owned(),
        );
        for ((name, is_taken), server) in SERVERS.iter().zip(&world.servers) {
            let (result, commands) = world.attempt(target, server).await;
            // A server with TLS does not answer one without.
            let is_ready = if *tls == Off {
                *name == "without TLS"
            } else {
                is_taken(*tls)
            };
            check(
                result.is_ok() == is_ready,
                format!("server {name}: {result:?}"),
            );
            let begins = commands
                .iter()
                .find(|command| command.starts_with("saslStart"));
            let expected = Some(*login).filter(|login| is_ready && *login != NONE);
            check(
                begins.map(String::as_str) == expected,
                format!("server {name}: {commands:?}"),
            );
            let is_last = commands.last().is_some_and(|command| command == last);
            check(is_last == is_ready, format!("server {name}: {commands:?}"));
        }
    }
    assert!(number >= 60, "{number} rows");
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong.join("\n"),
        wrong.len()
    );
}
