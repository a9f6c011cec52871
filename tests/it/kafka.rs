//! Brokers of Kafka: scripted ones, in whatever state a cluster can be, and a real one, tansu, beside
//! kafkajs. The real one is the program `tansu`, if it is installed.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tempfile::TempDir;

use crate::drivers::{error_of, lag, print_lags};
use crate::fixtures::kafka::{
    API_VERSIONS, Broker, Cluster, LEADER_NOT_AVAILABLE, Login, METADATA, Request,
    SASL_AUTHENTICATE, SASL_HANDSHAKE, TOPIC_AUTHORIZATION_FAILED, Topic, read_frame, string,
    write_frame,
};
use crate::fixtures::ports::{Port, Silent, serve_on, speechless};
use crate::fixtures::tls::{Authority, Certified, secure, tls};
use crate::support::{Wait, wait};

/// One attempt.
fn once(url: &str) -> Wait {
    wait().args(["--timeout=0", "--for", url])
}

/// A state of a cluster, a target without its scheme and address, and the reason that it is not ready.
struct Case {
    change: fn(&mut Cluster),
    login: &'static str,
    rest: &'static str,
    reason: Option<&'static str>,
}

const fn case(
    change: fn(&mut Cluster),
    login: &'static str,
    rest: &'static str,
    reason: Option<&'static str>,
) -> Case {
    Case {
        change,
        login,
        rest,
        reason,
    }
}

/// Two topics, of one and of three partitions.
fn with_topics(cluster: &mut Cluster) {
    cluster.topics = vec![
        Topic::new("orders", &[1]),
        Topic::new("pay.ments_2-x", &[1, 1, 1]),
    ];
}

fn with_login(cluster: &mut Cluster) {
    cluster.login = Some(Login::new("app", "s3cr=t, ü"));
}

fn with_mechanisms(cluster: &mut Cluster, mechanisms: &[&'static str]) {
    with_login(cluster);
    let login = cluster.login.as_mut().expect("a login");
    login.mechanisms = mechanisms.to_vec();
}

const RIGHT: &str = "app:s3cr%3Dt%2C%20%C3%BC@";

/// The states in which kafkajs has to agree.
const CASES: &[Case] = &[
    case(|_| {}, "", "", None),
    case(
        |cluster| cluster.controller = -1,
        "",
        "",
        Some("not_serving: the cluster has no controller"),
    ),
    case(
        |cluster| cluster.brokers.clear(),
        "",
        "",
        Some("starting: the cluster has no broker yet"),
    ),
    case(with_topics, "", "/orders", None),
    case(with_topics, "", "/orders%2Cpay.ments_2-x", None),
    case(
        with_topics,
        "",
        "/other",
        Some("not_serving: no such topic: other"),
    ),
    case(
        with_topics,
        "",
        "/orders%2Cother",
        Some("not_serving: no such topic: other"),
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.topics[0].error = LEADER_NOT_AVAILABLE;
        },
        "",
        "/orders",
        Some("starting: the topic orders has no leader yet"),
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.topics[1].partitions[2] = (LEADER_NOT_AVAILABLE, -1);
        },
        "",
        "/pay.ments_2-x",
        Some("starting: partition 2 of the topic pay.ments_2-x has no leader"),
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.topics[1].partitions[1] = (0, 7);
        },
        "",
        "/pay.ments_2-x",
        Some("starting: partition 1 of the topic pay.ments_2-x has no leader"),
    ),
    case(
        |cluster| cluster.topics = vec![Topic::new("orders", &[])],
        "",
        "/orders",
        Some("starting: the topic orders has no partition yet"),
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.topics[0].error = TOPIC_AUTHORIZATION_FAILED;
        },
        "",
        "/orders",
        Some("access_denied: the user may not see the topic orders"),
    ),
    case(with_login, RIGHT, "?sasl_mechanism=plain", None),
    case(with_login, RIGHT, "?sasl_mechanism=scram-sha-256", None),
    case(with_login, RIGHT, "?sasl_mechanism=SCRAM-SHA-512", None),
    case(with_login, RIGHT, "", None),
    case(
        with_login,
        "app:wrong@",
        "?sasl_mechanism=plain",
        Some("access_denied: Authentication failed"),
    ),
    case(
        with_login,
        "app:wrong@",
        "",
        Some("access_denied: Authentication failed"),
    ),
    case(
        with_login,
        "other:x@",
        "?sasl_mechanism=scram-sha-256",
        Some("access_denied: Authentication failed"),
    ),
    case(
        with_login,
        "",
        "",
        Some("closed: the server closed the connection while asking for the metadata"),
    ),
    case(
        |_| {},
        RIGHT,
        "",
        Some("access_denied: the listener has no SASL"),
    ),
    case(
        |cluster| with_mechanisms(cluster, &["GSSAPI", "PLAIN"]),
        RIGHT,
        "?sasl_mechanism=scram-sha-256",
        Some("access_denied: the listener has the mechanisms GSSAPI, PLAIN"),
    ),
    case(
        |cluster| {
            with_login(cluster);
            with_topics(cluster);
            // Kafka 0.11: the messages of the login are frames of their own.
            cluster.versions.insert(SASL_HANDSHAKE, 0..=0);
            cluster.versions.remove(&SASL_AUTHENTICATE);
            cluster.versions.insert(METADATA, 0..=4);
            cluster.versions.insert(API_VERSIONS, 0..=1);
        },
        RIGHT,
        "/orders",
        None,
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.versions.insert(METADATA, 0..=1); // Kafka 0.10
            cluster.versions.insert(API_VERSIONS, 0..=0);
        },
        "",
        "/orders",
        None,
    ),
    case(
        |cluster| {
            with_topics(cluster);
            cluster.versions.insert(METADATA, 0..=2);
        },
        "",
        "/other",
        Some("not_serving: no such topic: other"),
    ),
];

/// A broker in the state of a case, and the target.
fn prepared(case: &Case) -> (Broker, String) {
    let broker = Broker::start();
    broker.change(case.change);
    let url = format!("kafka://{}{}{}", case.login, broker.address, case.rest);
    (broker, url)
}

#[track_caller]
fn run(case: &Case) {
    let (broker, url) = prepared(case);
    let outcome = once(&url).run();
    match case.reason {
        None => outcome.exits(0),
        Some(reason) => outcome.exits(1).says(&[reason]),
    };
    for Request { version, body, .. } in broker.received(METADATA) {
        let creates_topics =
            body[..4] != [0; 4] && body[..4] != [0xff; 4] && body.last() != Some(&0);
        assert!(!creates_topics, "{url}: version {version}: {body:?}");
    }
}

#[test]
fn a_cluster_is_ready_when_its_metadata_are_complete() {
    for case in CASES {
        run(case);
    }
}

#[test]
#[ignore = "needs npm"]
fn kafkajs_agrees_about_scripted_brokers() {
    for case in CASES {
        let (_broker, url) = prepared(case);
        let error = error_of("kafkajs", &url, &[]);
        println!("{url}: {:?}, kafkajs: {error:?}", case.reason);
        assert_eq!(error.is_none(), case.reason.is_none(), "{url}: {error:?}");
    }
}

/// One attempt is ready, or has this for its reason, and kafkajs agrees if it is asked.
#[track_caller]
fn both_say(asks_kafkajs: bool, url: &str, reason: Option<&str>) {
    let outcome = once(url).run();
    match reason {
        None => outcome.exits(0),
        Some(reason) => outcome.exits(1).says(&[reason]),
    };
    if asks_kafkajs {
        let error = error_of("kafkajs", url, &[]);
        println!("{url}: {reason:?}, kafkajs: {error:?}");
        assert_eq!(error.is_none(), reason.is_none(), "{url}: {error:?}");
    }
}

/// Brokers that advertise addresses at which clients do not reach them, and those that do.
fn advertised_addresses(asks_kafkajs: bool) {
    let both_say = |url: &str, reason: Option<&str>| both_say(asks_kafkajs, url, reason);
    let closed = Port::new(); // reserved: connections are refused
    let (silent, speechless) = (Silent::new(), speechless());
    for (address, why) in [
        (closed.address.to_string(), "refused: "),
        (format!("localhost:{}", closed.number()), "refused: "),
        ("no-such-name.invalid:9092".to_owned(), "unresolved: "),
        (
            silent.address().to_string(),
            "timed_out: no answer while connecting",
        ),
        (
            speechless.to_string(),
            "timed_out: no answer while asking for the protocol's versions",
        ),
    ] {
        let broker = Broker::start();
        broker.change(|cluster| {
            with_topics(cluster);
            cluster.brokers[0].1.clone_from(&address);
        });
        let reason = format!(
            "not_serving: broker 1 advertises {address}, which is not reached from here: {why}"
        );
        let url = format!("kafka://{}", broker.address);
        once(&url)
            .run()
            .exits(1)
            .says(&[&reason, "advertised.listeners"]);
        both_say(&url, Some(&reason));
        both_say(&format!("{url}/orders"), Some(&reason));
    }

    // A cluster of two.
    let (one, other) = (Broker::start(), Broker::start());
    let of_two = |cluster: &mut Cluster| {
        cluster.brokers = vec![(1, one.address.to_string()), (2, other.address.to_string())];
        cluster.topics = vec![Topic::new("orders", &[1, 2, 1]), Topic::new("first", &[1])];
    };
    one.change(of_two);
    other.change(of_two);
    let both = format!("kafka://{}%2C{}", one.address, other.address);
    let url = format!("kafka://{}", one.address);
    both_say(&format!("{url}/orders"), None);
    both_say(&url, None);
    once(&format!("{both}/orders")).run().exits(0);
    let elsewhere = |cluster: &mut Cluster| cluster.brokers[1].1 = closed.address.to_string();
    one.change(elsewhere);
    other.change(elsewhere);
    let unreached = format!(
        "broker 2 advertises {}, which is not reached from here",
        closed.address
    );
    both_say(
        &format!("{url}/orders"),
        Some(&format!("not_serving: {unreached}")),
    );
    // No partition of this topic is there.
    both_say(&format!("{url}/first"), None);
    for rest in ["", "/first"] {
        let outcome = once(&format!("{url}{rest}")).run();
        outcome
            .exits(0)
            .says(&["warning", &unreached, "advertised.listeners"]);
    }
}

#[test]
fn brokers_have_to_be_reached_at_the_addresses_that_they_advertise() {
    advertised_addresses(false);
}

#[test]
#[ignore = "needs npm"]
fn kafkajs_does_not_reach_other_brokers_either() {
    advertised_addresses(true);
}

#[test]
fn one_of_several_brokers_is_enough() {
    let broker = Broker::start();
    broker.change(with_topics);
    let (closed, silent) = (Port::new(), Silent::new());
    for others in [closed.address, silent.address(), speechless()] {
        for hosts in [
            format!("{others}%2C{}", broker.address),
            format!("{}%2C{others}", broker.address),
        ] {
            let url = format!("kafka://{hosts}/orders");
            once(&url).run().exits(0);
        }
    }
    let url = format!("kafka://{0}%2C{0}", closed.address);
    once(&url).run().exits(1).says(&["refused: "]);
}

#[test]
fn a_wait_ends_when_the_last_leader_is_there() {
    let port = Port::new();
    let url = format!("kafka://{}/orders", port.address);
    let mut begun = wait().args(["--for", &url]).start();
    begun.until(&["refused: "]);
    let broker = Broker::start_on(port, None);
    begun.until(&["not_serving: no such topic: orders"]);
    broker.change(|cluster| cluster.topics = vec![Topic::new("orders", &[1, -1])]);
    begun.until(&["starting: partition 1 of the topic orders has no leader"]);
    broker.change(with_topics);
    begun.end().exits(0);
}

/// A folder with the files of a server's certificate.
struct Files {
    folder: TempDir,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn certified() -> (Certified, Files) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let certified = Authority::new().certify(&["127.0.0.1"]);
    for (name, pem) in [
        ("ca.pem", &certified.authority),
        ("cert.pem", &certified.certificate),
        ("key.pem", &certified.key),
    ] {
        fs::write(folder.path().join(name), pem).expect("written");
    }
    (certified, Files { folder })
}

#[test]
fn over_verified_tls_the_password_itself_may_be_sent() {
    let (certified, files) = certified();
    let broker = Broker::start_with_tls(&tls(&certified));
    broker.change(|cluster| with_mechanisms(cluster, &["PLAIN"]));
    let url = format!("kafka+ssl://{RIGHT}{}", broker.address);
    let trusted = |url: &str| {
        once(url)
            .var("WAIT_TLS_CA_FILE", files.path("ca.pem"))
            .run()
    };
    trusted(&url).exits(0);
    let logins = broker.received(SASL_AUTHENTICATE).len();
    assert_eq!(logins, 1);
    once(&url).run().exits(1).says(&["tls_failed: "]);
    let unverified = format!("{url}#tls=require");
    once(&unverified)
        .run()
        .exits(1)
        .says(&["access_denied: of PLAIN, only PLAIN is supported"]);
    assert_eq!(broker.received(SASL_AUTHENTICATE).len(), logins);
    let asked_for = format!("{url}?sasl_mechanism=plain#tls=require");
    once(&asked_for).run().exits(0);
    // TLS where there is none, and none where there is.
    let plain = format!("kafka://{}", broker.address);
    once(&plain).run().exits(1).says(&["kafka+ssl://"]);
    let without = Broker::start();
    let url = format!("kafka+ssl://{}", without.address);
    once(&url).args(["--connect-timeout=1"]).run().exits(1);
}

#[test]
fn a_password_may_be_in_a_file_or_a_variable() {
    let broker = Broker::start();
    broker.change(with_login);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("password");
    let url = format!("kafka://app@{}", broker.address);
    let by_file = format!("{url}#password-file={}", file.display());
    once(&by_file).run().exits(1).says(&["missing: "]);
    fs::write(&file, "s3cr=t, ü\n").expect("written");
    once(&by_file).run().exits(0);
    let by_variable = once(&format!("{url}#password-env=KAFKA_PASSWORD"));
    by_variable
        .var("KAFKA_PASSWORD", "s3cr=t, ü")
        .run()
        .exits(0);
    once(&url)
        .run()
        .exits(1)
        .says(&["access_denied: ", "no password is set for this target"]);
}

#[test]
fn the_mechanism_that_was_found_is_remembered() {
    let broker = Broker::start();
    broker.change(|cluster| {
        with_mechanisms(cluster, &["SCRAM-SHA-256"]);
        cluster.topics = vec![Topic::new("orders", &[-1])];
    });
    let url = format!("kafka://{RIGHT}{}/orders", broker.address);
    let begun = wait().args(["--interval=100ms", "--for", &url]).start();
    let start = Instant::now();
    while broker.received(METADATA).len() < 5 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "too few attempts"
        );
        thread::sleep(Duration::from_millis(20));
    }
    broker.change(with_topics);
    begun.end().exits(0);
    let wrong = string("SCRAM-SHA-512");
    let choices = broker.received(SASL_HANDSHAKE);
    let refused = choices.iter().filter(|choice| choice.body == wrong);
    assert_eq!(refused.count(), 1, "{choices:?}");
}

/// The program of the real broker; `None` if it is not installed.
fn tansu() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cargo-tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut programs = env::split_paths(&path)
        .chain([tools])
        .map(|folder| folder.join("tansu"));
    programs.find(|program| program.is_file())
}

/// A real broker that comes and goes, with all it has in its memory.
struct Tansu {
    program: PathBuf,
    address: SocketAddr,
    args: Vec<String>,
    process: Option<Child>,
}

impl Tansu {
    /// A broker that is not started yet, with these arguments. Where the program is not installed, the
    /// test that needs it says so and does nothing.
    fn new(args: &[&str]) -> Option<Self> {
        let Some(program) = tansu() else {
            println!("tansu is not installed: this is tried with the scripted broker alone");
            return None;
        };
        let address = Port::new().address; // free again
        let url = format!("tcp://{address}");
        let own = [
            "broker",
            "--silent",
            "--storage-engine=memory://tansu/",
            "--listener-url",
            &url,
        ];
        let advertised = ["--advertised-listener-url", &url];
        let is_given = args.iter().any(|arg| arg.starts_with(advertised[0]));
        let advertised = if is_given { &[][..] } else { &advertised };
        let args = [&own[..], advertised, args].concat();
        let args = args.into_iter().map(str::to_owned).collect();
        let process = None;
        Some(Self {
            program,
            address,
            args,
            process,
        })
    }

    fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("it starts"));
    }

    /// Starts it and waits for it.
    fn started(args: &[&str]) -> Option<Self> {
        let mut tansu = Self::new(args)?;
        tansu.start();
        let port = wait().args(["--for", &tansu.address.to_string()]).run();
        port.exits(0);
        Some(tansu)
    }

    /// Sends it a signal by its name.
    fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args(["-s", name, &process]).status();
        assert!(status.expect("a shell's command").success());
    }

    fn end(&mut self, signal: &str) {
        self.signal(signal);
        let mut process = self.process.take().expect("it runs");
        process.wait().expect("its end");
    }

    fn create_topic(&self, name: &str) {
        let mut command = Command::new(&self.program);
        let broker = format!("tcp://{}", self.address);
        command.args([
            "topic",
            "create",
            "--partitions=3",
            "--broker",
            &broker,
            name,
        ]);
        assert!(command.status().expect("it starts").success());
    }
}

impl Drop for Tansu {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// How much later than kafkajs `wait` ends, over the life of a broker.
#[test]
#[ignore = "needs npm"]
fn it_is_ready_when_kafkajs_is() {
    let Some(mut tansu) = Tansu::new(&[]) else {
        let port = Port::new();
        let url = format!("kafka://{}", port.address);
        let (lag, _) = lag("kafkajs", &url, || {
            thread::sleep(Duration::from_millis(1500));
            Broker::start_on(port, None);
        });
        println!("a scripted broker: {lag} ms after kafkajs");
        return;
    };
    let url = format!("kafka://{}", tansu.address);
    println!("kafkajs and tansu: wait ended so long after the driver's first success:");
    println!(
        "first start: {} ms",
        lag("kafkajs", &url, || tansu.start()).0
    );
    for (name, signal) in [("restart", "TERM"), ("crash", "KILL"), ("freeze", "STOP")] {
        print_lags(name, || {
            match signal {
                "STOP" => tansu.signal("STOP"),
                signal => tansu.end(signal),
            }
            let up = || {
                thread::sleep(Duration::from_millis(1500));
                match signal {
                    "STOP" => tansu.signal("CONT"),
                    _ => tansu.start(),
                }
            };
            lag("kafkajs", &url, up).0
        });
    }
    let of_topic = format!("{url}/orders");
    let (lag, outcome) = lag("kafkajs", &of_topic, || {
        thread::sleep(Duration::from_millis(1500));
        tansu.create_topic("orders");
    });
    outcome.says(&["not_serving: no such topic: orders"]);
    println!("topic: {lag} ms");
    once(&format!("{url}/orders%2Cother"))
        .run()
        .exits(1)
        .says(&["not_serving: no such topic: other"]);
}

/// With its storage in memory it has no users: who is let in is shown by the scripted broker.
#[test]
#[ignore = "needs npm"]
fn logins_are_denied_as_kafkajs_is() {
    let Some(tansu) = Tansu::started(&["--authentication"]) else {
        return;
    };
    let unknown = "access_denied: the broker sends the error unknown-user";
    for (login, rest, reason) in [
        ("app:x@", "?sasl_mechanism=scram-sha-256", unknown),
        ("app:x@", "?sasl_mechanism=scram-sha-512", unknown),
        ("app:x@", "", unknown),
        ("app:x@", "?sasl_mechanism=plain", "closed: "),
        (
            "",
            "",
            "closed: the server closed the connection while asking for the metadata",
        ),
    ] {
        let url = format!("kafka://{login}{}{rest}", tansu.address);
        both_say(true, &url, Some(reason));
    }
}

/// A server with TLS that passes on what it receives, a request and its response at a time.
fn secured_passage(config: &Arc<ServerConfig>, to: SocketAddr, port: Port) {
    let config = Arc::clone(config);
    serve_on(port.listener(), move |stream| {
        let mut client = secure(&config, stream);
        let mut broker = TcpStream::connect(to).expect("connected");
        let mut pass_on = || {
            write_frame(&mut broker, &read_frame(&mut client)?)?;
            write_frame(&mut client, &read_frame(&mut broker)?)
        };
        while pass_on().is_ok() {}
    });
}

/// The broker's own TLS cannot be turned on: of its options `--cert` and `--key` it takes only one.
#[test]
#[ignore = "needs npm"]
fn certificates_are_verified_as_kafkajs_verifies_them() {
    let (certified, files) = certified();
    let port = Port::new();
    let (address, config) = (port.address, tls(&certified));
    let advertised = format!("--advertised-listener-url=tcp://{address}");
    let tansu = Tansu::started(&[&advertised]);
    let scripted = match &tansu {
        Some(tansu) => {
            secured_passage(&config, tansu.address, port);
            None
        }
        None => Some(Broker::start_on(port, Some(&config))),
    };
    let authority = files.path("ca.pem");
    let secured = format!("kafka+ssl://{address}");
    once(&secured)
        .var("WAIT_TLS_CA_FILE", &authority)
        .run()
        .exits(0);
    let vars: [(&str, &Path); 1] = [("NODE_EXTRA_CA_CERTS", &authority)];
    assert_eq!(error_of("kafkajs", &secured, &vars), None);
    both_say(
        true,
        &secured,
        Some("tls_failed: the certificate is not signed by an authority that is trusted"),
    );
    once(&format!("{secured}#tls=require")).run().exits(0);
    drop(scripted);
}
