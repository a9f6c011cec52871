//! MongoDB targets against a scripted server, since none of MongoDB's own is at hand. So that it is one
//! that applications would accept, the official driver for Node.js is held against it in the same cases.

mod urls;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::drivers::{error_of, lag, print_lags};
use crate::faults::in_a_world;
use crate::fixtures::dns::{NameServer, records};
use crate::fixtures::mongodb::{Account, Server, State, not_initiated, primary, secondary};
use crate::fixtures::ports::Port;
use crate::fixtures::tls::{Authority, Certified, demanding, tls};
use crate::support::{Outcome, wait};

/// Checks that a target is ready after one attempt, or has this in its line.
type Check = fn(&str, Option<&str>) -> Outcome;

/// `wait` alone.
#[track_caller]
fn wait_says(url: &str, expected: Option<&str>) -> Outcome {
    let application = wait().var("MONGODB_URI", url);
    let outcome = application
        .args(["--timeout=0", "--for=env:MONGODB_URI"])
        .run();
    match expected {
        None => outcome.exits(0),
        Some(expected) => outcome.exits(1).says(&[expected]),
    };
    outcome
}

/// The same, and the driver agrees.
#[track_caller]
fn both_say(url: &str, expected: Option<&str>) -> Outcome {
    let outcome = wait_says(url, expected);
    let error = error_of("mongodb", url, &[]);
    println!("{url}: {expected:?}, the driver: {error:?}");
    assert_eq!(error.is_none(), expected.is_none(), "{url}: {error:?}");
    outcome
}

const BOTH: &[&str] = &["SCRAM-SHA-1", "SCRAM-SHA-256"];

const APP: Account = Account {
    source: "admin",
    user: "app",
    password: "s3cret",
    mechanisms: BOTH,
    roles: &["shop"],
};

/// A standalone server with these accounts.
fn with(accounts: &[Account]) -> Server {
    Server::start(|_| State {
        accounts: accounts.to_vec(),
        ..State::default()
    })
}

fn logins(check: Check) {
    let server = with(&[
        APP,
        Account {
            source: "shop",
            user: "own",
            ..APP
        },
        Account {
            user: "old",
            mechanisms: &BOTH[..1],
            ..APP
        },
        Account {
            user: "new",
            mechanisms: &BOTH[1..],
            ..APP
        },
        Account {
            user: "a=b,c@d",
            password: "p@ss/w:rd %",
            ..APP
        },
        Account {
            user: "prepared",
            password: "IX",
            ..APP
        },
    ]);
    let denied = Some("access_denied: error 18 AuthenticationFailed: Authentication failed.");
    for (rest, expected) in [
        ("HOST", None),
        ("HOST/shop", None),
        ("app:s3cret@HOST/shop?authSource=admin", None),
        ("app:s3cret@HOST/", None),
        ("app:s3cret@HOST/?authSource=admin", None),
        ("app:wrong@HOST/shop?authSource=admin", denied),
        ("app:@HOST/shop?authSource=admin", denied),
        ("app@HOST/shop?authSource=admin", denied),
        ("other:s3cret@HOST/shop?authSource=admin", denied),
        // The database of the path has no such account.
        ("app:s3cret@HOST/shop", denied),
        ("own:s3cret@HOST/shop", None),
        ("old:s3cret@HOST/shop?authSource=admin", None),
        ("new:s3cret@HOST/shop?authSource=admin", None),
        (
            "app:s3cret@HOST/shop?authSource=admin&authMechanism=SCRAM-SHA-1",
            None,
        ),
        (
            "app:s3cret@HOST/shop?authSource=admin&authMechanism=SCRAM-SHA-256",
            None,
        ),
        (
            "app:s3cret@HOST/shop?authSource=admin&authMechanism=DEFAULT",
            None,
        ),
        (
            "old:s3cret@HOST/shop?authSource=admin&authMechanism=scram-sha-1",
            None,
        ),
        (
            "new:s3cret@HOST/shop?authSource=admin&authMechanism=sha-256",
            None,
        ),
        (
            "new:s3cret@HOST/shop?authSource=admin&authMechanism=scram-sha-1",
            denied,
        ),
        // The first spelling counts.
        (
            "app:s3cret@HOST/shop?authSource=admin&AUTHSOURCE=shop",
            None,
        ),
        ("own:s3cret@HOST/?authsource=shop&authSource=admin", None),
        (
            "old:s3cret@HOST/shop?authSource=admin&authMechanism=SCRAM-SHA-256",
            denied,
        ),
        (
            "new:s3cret@HOST/shop?authSource=admin&authMechanism=SCRAM-SHA-1",
            denied,
        ),
        (
            "a%3Db%2Cc%40d:p%40ss%2Fw%3Ard%20%25@HOST/shop?authSource=admin",
            None,
        ),
        ("prepared:%E2%85%A8@HOST/shop?authSource=admin", None),
        ("prepared:%E2%85%A7@HOST/shop?authSource=admin", denied),
        // No role in the database.
        (
            "app:s3cret@HOST/other?authSource=admin",
            Some("access_denied: error 13 Unauthorized"),
        ),
    ] {
        let url = format!(
            "mongodb://{}",
            rest.replace("HOST", &server.address.to_string())
        );
        check(&url, expected);
    }
}

#[test]
fn logins_are_made_as_the_url_has_them() {
    logins(wait_says);
}

#[test]
#[ignore = "needs npm"]
fn logins_are_those_of_the_driver() {
    logins(both_say);
}

/// A server whose logins go as this state has it.
fn strange_logins(check: Check) {
    for (state, expected) in [
        (
            State {
                has_empty_exchange: true,
                ..State::default()
            },
            None,
        ),
        (
            State {
                iterations: 4096,
                ..State::default()
            },
            None,
        ),
        (
            State {
                iterations: 4095,
                ..State::default()
            },
            Some("protocol: the server sends 4095 iterations"),
        ),
        (
            State {
                signs_wrongly: true,
                ..State::default()
            },
            Some("protocol: the server sends a signature"),
        ),
    ] {
        for mechanism in BOTH {
            let accounts = vec![APP];
            let server = Server::start(|_| State {
                accounts,
                ..state.clone()
            });
            let url = format!(
                "mongodb://app:s3cret@{}/?authMechanism={mechanism}",
                server.address
            );
            check(&url, expected);
        }
    }
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_ready() {
    strange_logins(wait_says);
}

#[test]
#[ignore = "needs npm"]
fn a_server_that_does_not_know_the_password_is_none_for_the_driver() {
    strange_logins(both_say);
}

#[test]
fn a_server_cannot_ask_for_work_without_end() {
    let accounts = vec![APP];
    let server = Server::start(|_| State {
        accounts,
        iterations: 1 << 30,
        ..State::default()
    });
    let outcome = wait_says(
        &format!("mongodb://app:s3cret@{}", server.address),
        Some("protocol: the server sends 1073741824 iterations"),
    );
    outcome.took_from_to(0.0, 5.0);
}

/// The errors of commands: the command, the number, its name, and the reason.
fn errors(check: Check) {
    for (command, code, name, reason) in [
        ("hello", 91, "ShutdownInProgress", "shutting_down"),
        ("saslStart", 334, "MechanismUnavailable", "access_denied"),
        ("saslStart", 8000, "AtlasError", "access_denied"),
        (
            "saslContinue",
            11600,
            "InterruptedAtShutdown",
            "shutting_down",
        ),
        ("saslStart", 211, "KeyNotFound", "starting"),
        ("find", 13436, "NotPrimaryOrSecondary", "starting"),
        ("find", 10107, "NotWritablePrimary", "not_serving"),
        (
            "find",
            11602,
            "InterruptedDueToReplStateChange",
            "not_serving",
        ),
        ("find", 189, "PrimarySteppedDown", "not_serving"),
        ("find", 133, "FailedToSatisfyReadPreference", "not_serving"),
        ("find", 13, "Unauthorized", "access_denied"),
        ("find", 99999, "Unknown", "server_error"),
    ] {
        // The names that drivers have for the same.
        let commands: &[_] = match command {
            "hello" => &["hello", "ismaster"],
            "find" => &["find", "listCollections"],
            command => &[command],
        };
        let error = |command: &&'static str| (*command, code, name, "as the test has it");
        let server = Server::start(|_| State {
            accounts: vec![APP],
            errors: commands.iter().map(error).collect(),
            ..State::default()
        });
        let url = format!(
            "mongodb://app:s3cret@{}/shop?authSource=admin",
            server.address
        );
        check(
            &url,
            Some(&format!(
                "{reason}: error {code} {name}: as the test has it"
            )),
        );
    }
}

#[test]
fn errors_are_known_by_their_number() {
    errors(wait_says);
}

#[test]
#[ignore = "needs npm"]
fn errors_are_those_of_the_driver() {
    errors(both_say);
}

#[test]
fn a_server_before_4_4_has_no_hello() {
    let errors = vec![("hello", 59, "CommandNotFound", "no such command: 'hello'")];
    let server = Server::start(|_| State {
        errors,
        accounts: vec![APP],
        ..State::default()
    });
    wait_says(&format!("mongodb://app:s3cret@{}", server.address), None);
    let commands = server.log();
    assert_eq!(
        commands[..2],
        ["hello admin", "isMaster admin"],
        "{commands:?}"
    );
}

/// A server that says this of itself, by its address.
fn saying(hello: impl FnOnce(&str) -> Value) -> Server {
    Server::start(|me| State {
        hello: hello(me),
        ..State::default()
    })
}

/// The members of a replica set, each of which says this of itself, by its address and those of all.
fn members<const N: usize>(hello: [fn(&str, &[&str]) -> Value; N]) -> [Server; N] {
    let ports = hello.map(|hello| (Port::new(), hello));
    let addresses: Vec<_> = ports
        .iter()
        .map(|(port, _)| port.address.to_string())
        .collect();
    let all: Vec<_> = addresses.iter().map(String::as_str).collect();
    ports.map(|(port, hello)| {
        let hello = hello(&port.address.to_string(), &all);
        Server::serve_on(
            port,
            State {
                hello,
                ..State::default()
            },
            None,
        )
    })
}

const PRIMARY: fn(&str, &[&str]) -> Value = |me, all| primary("rs0", me, all);
const SECONDARY: fn(&str, &[&str]) -> Value = |me, all| secondary("rs0", me, all);
/// The state of a member that starts or recovers.
const RECOVERING: fn(&str, &[&str]) -> Value = |me, all| {
    let mut hello = secondary("rs0", me, all);
    hello["secondary"] = json!(false);
    hello
};
const ARBITER: fn(&str, &[&str]) -> Value = |me, all| {
    let mut hello = RECOVERING(me, all);
    hello["arbiterOnly"] = json!(true);
    hello
};
/// One that has stopped since.
const GONE: u16 = 1;

fn one_server(check: Check) {
    let one = |hello: fn(&str, &[&str]) -> Value| saying(|me| hello(me, &[me]));
    let gone = |hello: fn(&str, &[&str]) -> Value| {
        saying(|me| hello(me, &[me, &format!("127.0.0.1:{GONE}")]))
    };
    let elsewhere = |host: &str| saying(|_| primary("rs0", host, &[host]));
    let moved_secondary = saying(|_| secondary("rs0", "127.0.0.1:1", &["127.0.0.1:1"]));
    let tagged = saying(|me| {
        let mut hello = secondary("rs0", me, &[me]);
        hello["tags"] = json!({ "region": "east", "disk": "ssd" });
        hello
    });
    let hidden = saying(|me| {
        let mut hello = secondary("rs0", me, &[me]);
        hello["hidden"] = json!(true);
        hello
    });
    let standalone = with(&[]);
    let router = saying(|_| json!({ "msg": "isdbgrid" }));
    let not_initiated = saying(|_| not_initiated());
    let balanced = saying(|_| json!({ "msg": "isdbgrid", "serviceId": { "$oid": 1 } }));
    let other_name = {
        let port = Port::new();
        let host = format!("localhost:{}", port.number());
        let hello = primary("rs0", &host, &[&host]);
        Server::serve_on(
            port,
            State {
                hello,
                ..State::default()
            },
            None,
        )
    };
    let (one_primary, one_secondary) = (one(PRIMARY), gone(SECONDARY));
    for (server, parameters, expected) in [
        (&standalone, "", None),
        (&standalone, "directConnection=true", None),
        (&standalone, "readPreference=secondary", None),
        (
            &standalone,
            "replicaSet=rs0",
            Some("not_serving: HOST is not a member of a replica set"),
        ),
        (
            &standalone,
            "loadBalanced=true",
            Some("not_serving: HOST is not behind a load balancer"),
        ),
        (&one_primary, "", None),
        (&one_primary, "replicaSet=rs0", None),
        (&one_primary, "replicaSet=rs0&readPreference=nearest", None),
        (&one_primary, "directConnection=true", None),
        (
            &one_primary,
            "replicaSet=rs1",
            Some("not_serving: HOST is a member of rs0, and not of rs1"),
        ),
        (
            &one_primary,
            "directConnection=true&replicaSet=rs1",
            Some("not_serving: HOST is a member of rs0"),
        ),
        (
            &one_primary,
            "readPreference=secondary",
            Some("not_serving: HOST is the primary, and readPreference"),
        ),
        (
            &one_secondary,
            "",
            Some("not_serving: HOST is a secondary; 127.0.0.1:1: "),
        ),
        (
            &one_secondary,
            "replicaSet=rs0",
            Some("not_serving: HOST is a secondary"),
        ),
        (&one_secondary, "readPreference=primaryPreferred", None),
        (&one_secondary, "readPreference=secondary", None),
        (&one_secondary, "readPreference=secondaryPreferred", None),
        (
            &one_secondary,
            "readPreference=nearest&replicaSet=rs0",
            None,
        ),
        (&one_secondary, "directConnection=true", None),
        (
            &tagged,
            "readPreference=secondary&readPreferenceTags=region:east",
            None,
        ),
        (
            &tagged,
            "readPreference=secondary&readPreferenceTags=region:west&readPreferenceTags=disk:ssd",
            None,
        ),
        (
            &tagged,
            "readPreference=secondary&readPreferenceTags=region:west&readPreferenceTags=",
            None,
        ),
        (
            &tagged,
            "readPreference=secondary&readPreferenceTags=region:east,disk:hdd",
            Some("not_serving: HOST is a secondary without the tags"),
        ),
        (
            &hidden,
            "readPreference=secondary",
            Some("not_serving: HOST is hidden"),
        ),
        (&one(ARBITER), "", Some("not_serving: HOST is an arbiter")),
        (
            &one(RECOVERING),
            "replicaSet=rs0",
            Some("starting: HOST is neither primary nor secondary"),
        ),
        (
            &one(RECOVERING),
            "readPreference=nearest",
            Some("starting: HOST is neither primary nor secondary"),
        ),
        (
            &not_initiated,
            "",
            Some("not_serving: HOST is not initiated; initiate the replica set: rs.initiate()"),
        ),
        (
            &not_initiated,
            "replicaSet=rs0",
            Some("not_serving: HOST is not initiated"),
        ),
        // The driver connects, and rs.initiate() works.
        (&not_initiated, "directConnection=true", None),
        (&router, "", None),
        (&router, "readPreference=secondary", None),
        (
            &router,
            "replicaSet=rs0",
            Some("not_serving: HOST is not a member of a replica set"),
        ),
        (&balanced, "loadBalanced=true", None),
        // The driver goes on with the address in the configuration.
        (&other_name, "", None),
        (&other_name, "replicaSet=rs0", None),
        (
            &elsewhere("127.0.0.1:1"),
            "",
            Some("not_serving: HOST is known to its replica set as 127.0.0.1:1; 127.0.0.1:1: "),
        ),
        (
            &elsewhere("127.0.0.1:1"),
            "replicaSet=rs0",
            Some("drivers go on with the addresses in the replica set's configuration"),
        ),
        (&elsewhere("127.0.0.1:1"), "directConnection=true", None),
        (
            &moved_secondary,
            "readPreference=secondary",
            Some("not_serving: HOST is known to its replica set as 127.0.0.1:1"),
        ),
    ] {
        let host = server.address.to_string();
        let expected = expected.map(|expected| expected.replace("HOST", &host));
        check(
            &format!("mongodb://{host}/?{parameters}"),
            expected.as_deref(),
        );
    }
}

#[test]
fn a_server_is_suitable_or_not_by_what_it_says_of_itself() {
    one_server(wait_says);
}

#[test]
#[ignore = "needs npm"]
fn the_driver_finds_the_same_servers_suitable() {
    one_server(both_say);
}

fn several_servers(check: Check) {
    let set = members([SECONDARY, PRIMARY, SECONDARY]);
    let [a, b, c] = set.each_ref().map(|server| server.address);
    let without_primary = members([SECONDARY, SECONDARY]);
    let [first, second] = without_primary.each_ref().map(|server| server.address);
    let [one, other] = [with(&[]), with(&[])];
    let (one, other) = (one.address, other.address);
    let gone = format!("127.0.0.1:{GONE}");
    for (url, expected) in [
        (format!("{a},{b},{c}/?replicaSet=rs0"), None),
        // The primary is found by what another says.
        (format!("{a}/?replicaSet=rs0"), None),
        (format!("{c}"), None),
        (format!("{gone},{b}"), None),
        (format!("{gone},{c}/?replicaSet=rs0"), None),
        (format!("{gone},{a}/?readPreference=secondary"), None),
        (
            format!("{first},{second}/?replicaSet=rs0"),
            Some(format!("{second} is a secondary")),
        ),
        (
            format!("{first}"),
            Some(format!("{first} is a secondary; {second} is a secondary")),
        ),
        (format!("{first}/?readPreference=secondaryPreferred"), None),
        // The driver drops all but the last of them.
        (format!("{one},{other}"), None),
        (
            format!("{gone},{one}"),
            Some(format!("{one} is not a member of a replica set")),
        ),
        (format!("{one}"), None),
    ] {
        check(&format!("mongodb://{url}"), expected.as_deref());
    }
}

#[test]
fn the_primary_is_found_among_the_members() {
    several_servers(wait_says);
}

#[test]
#[ignore = "needs npm"]
fn the_driver_finds_the_same_primary() {
    several_servers(both_say);
}

/// A file with this in it.
fn file(contents: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(contents.as_bytes()).expect("written");
    file
}

fn certificates(check: Check) {
    let authority = Authority::new();
    let state = || State {
        accounts: vec![APP],
        ..State::default()
    };
    let server = |names: &[&str]| Server::with_tls(state(), &tls(&authority.certify(names)));
    let (named, other) = (server(&["localhost"]), server(&["other.test"]));
    let plain = with(&[APP]);
    let ca = file(&authority.certify(&["x"]).authority);
    let ca = ca.path().display();
    let (untrusted, other_name) = (
        Some("tls_failed: the certificate is not signed by an authority that is trusted"),
        Some("tls_failed: the certificate is not valid for name"),
    );
    for (server, parameters, expected) in [
        (&named, "tls=true".to_owned(), untrusted),
        (&named, "ssl=true".to_owned(), untrusted),
        (&named, format!("tls=true&tlsCAFile={ca}"), None),
        (&named, "tls=true&tlsInsecure=true".to_owned(), None),
        (
            &named,
            "tls=true&tlsAllowInvalidCertificates=true".to_owned(),
            None,
        ),
        (
            &named,
            "tls=true&tlsAllowInvalidHostnames=true".to_owned(),
            untrusted,
        ),
        (&other, format!("tls=true&tlsCAFile={ca}"), other_name),
        (
            &other,
            format!("tls=true&tlsCAFile={ca}&tlsAllowInvalidHostnames=true"),
            None,
        ),
        (
            &other,
            format!("tls=true&tlsCAFile={ca}&tlsInsecure=true"),
            None,
        ),
        (&named, "tls=false".to_owned(), Some("tls_required: ")),
        (&plain, "tls=false".to_owned(), None),
        (&plain, format!("tlsCAFile={ca}"), None),
    ] {
        let port = server.address.port();
        check(
            &format!("mongodb://app:s3cret@localhost:{port}/?{parameters}"),
            expected,
        );
    }
}

#[test]
fn certificates_are_verified_as_asked_for() {
    certificates(wait_says);
}

#[test]
#[ignore = "needs npm"]
fn certificates_are_verified_as_by_the_driver() {
    certificates(both_say);
}

fn client_certificate(check: Check) {
    let made = Authority::new().certify(&["localhost"]);
    let config = demanding(&made, &rustls::version::TLS13);
    let subject = Account {
        source: "$external",
        user: "CN=app",
        ..APP
    };
    let server = Server::with_tls(
        State {
            accounts: vec![subject],
            ..State::default()
        },
        &config,
    );
    let (ca, both) = (
        file(&made.authority),
        file(&format!("{}{}", made.certificate, made.key)),
    );
    let tls = format!("tls=true&tlsCAFile={}", ca.path().display());
    let port = server.address.port();
    let by_certificate = format!(
        "{tls}&authMechanism=MONGODB-X509&tlsCertificateKeyFile={}",
        both.path().display()
    );
    check(
        &format!("mongodb://localhost:{port}/?{by_certificate}"),
        None,
    );
    check(
        &format!("mongodb://localhost:{port}/?{by_certificate}&authSource=%24external"),
        None,
    );
    check(
        &format!("mongodb://CN%3Dapp@localhost:{port}/?{by_certificate}"),
        None,
    );
    check(
        &format!("mongodb://localhost:{port}/?{tls}"),
        Some("tls_failed: "),
    );
    server.change(|state| state.accounts.clear());
    let denied = Some("access_denied: error 18 ");
    check(
        &format!("mongodb://localhost:{port}/?{by_certificate}"),
        denied,
    );
}

#[test]
fn a_client_certificate_is_a_login() {
    client_certificate(wait_says);
}

#[test]
#[ignore = "needs npm"]
fn a_client_certificate_is_a_login_for_the_driver() {
    client_certificate(both_say);
}

#[test]
fn waits_leave_nothing_on_the_server() {
    let [a, b] = members([SECONDARY, PRIMARY]);
    for server in [&a, &b] {
        server.change(|state| state.accounts.push(APP));
    }
    let url = |login: &str, rest: &str| format!("mongodb://{login}{}{rest}", a.address);
    for _ in 0..5 {
        wait_says(&url("", ""), None);
        wait_says(
            &url("app:s3cret@", "/shop?authSource=admin&replicaSet=rs0"),
            None,
        );
        wait_says(&url("app:s3cret@", "/"), None);
        wait_says(&url("", "/?readPreference=secondary"), None);
        wait_says(&url("", "/?replicaSet=rs1"), Some("not_serving"));
    }
    // The server's threads see the end of the last connection a moment later.
    for _ in 0..100 {
        if a.connections() + b.connections() == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((a.connections(), b.connections()), (0, 0));
    let known = [
        "hello",
        "saslStart",
        "saslContinue",
        "ping",
        "listCollections",
    ];
    for line in [a.log(), b.log()].concat() {
        let command = line.split(' ').next().unwrap_or_default();
        assert!(known.contains(&command), "{line}");
    }
}

#[test]
fn a_password_that_is_denied_is_not_tried_again_at_once() {
    let server = with(&[APP]);
    let url = format!("mongodb://app:wrong@{}", server.address);
    wait().args(["--timeout=3", "--for", &url]).run().exits(1);
    let log = server.log();
    let logins = log
        .iter()
        .filter(|line| line.starts_with("saslStart"))
        .count();
    assert!((2..=5).contains(&logins), "{logins} logins");
}

#[test]
fn the_variables_of_the_kind_are_defaults() {
    let server = with(&[APP]);
    let target = server.address.to_string();
    let password = file("s3cret\n");
    let once = || wait().args(["--timeout=0"]).var("WAIT_MONGODB", &target);
    let by_file = || {
        let user = once().var("WAIT_MONGODB_USER", "app");
        user.var("WAIT_MONGODB_PASSWORD_FILE", password.path())
    };
    by_file()
        .run()
        .exits(0)
        .says(&["mongodb://app@", "is ready"]);
    by_file()
        .var("WAIT_MONGODB_DATABASE", "shop")
        .run()
        .exits(1)
        .says(&["access_denied: error 18", "WAIT_MONGODB_PASSWORD_FILE"]);
    fs::write(password.path(), "").expect("written");
    by_file().run().exits(1).says(&["missing"]);
    let notice = "has a password and no user";
    once()
        .var("WAIT_MONGODB_PASSWORD", "x")
        .run()
        .exits(0)
        .says(&["warning", notice]);
}

/// `wait` cannot say whether such a login would succeed.
#[test]
fn a_login_that_is_not_made_is_a_warning_from_the_start() {
    let server = with(&[APP]);
    let url = format!(
        "mongodb://app:wrong@{}/?authMechanism=plain",
        server.address
    );
    let log = wait_says(&url, None).stderr;
    let warning = log.find("wait lacks its authMechanism and does not log in");
    let ready = log.find(" ready").expect("a line");
    assert!(warning.is_some_and(|warning| warning < ready), "{log}");
    assert!(
        log.contains("warning")
            && !server
                .log()
                .iter()
                .any(|command| command.starts_with("sasl")),
        "{log}"
    );
}

const ENCODED: &str = "expected a user and a password that are percent-encoded";

/// Of other schemes, the default port is printed.
#[test]
fn a_service_has_no_port() {
    for url in [
        "mongodb+srv://app:x@c.d.test:27017/shop",
        "mongodb+srv://c.d.test:1",
    ] {
        let dry = wait().var("MONGODB_URI", url);
        let dry = dry.args(["--dry-run", "--for=env:MONGODB_URI"]);
        dry.run()
            .exits(2)
            .says(&["expected no port: the SRV records"]);
    }
    let url = "mongodb+srv://app:x@c.d.test/shop";
    let dry = wait().args(["--dry-run", "--mongodb", url]).run();
    let printed = dry.exits(0).stdout.clone();
    assert!(
        printed.contains("mongodb+srv://app@c.d.test/shop"),
        "{printed}"
    );
}

#[test]
fn combinations_that_the_driver_refuses_are_refused() {
    for (target, expected) in [
        (
            "mongodb://a,b/?directConnection=true",
            "expected one host, with directConnection=true",
        ),
        (
            "mongodb://a,b/?loadBalanced=true",
            "expected one host, and neither replicaSet nor",
        ),
        (
            "mongodb://a/?loadBalanced=true&replicaSet=x",
            "expected one host, and neither replicaSet nor",
        ),
        (
            "mongodb://a/?tls=true&ssl=false",
            "expected tls and ssl to be the same",
        ),
        ("mongodb://a/?tls=yes", "expected tls to be true or false"),
        (
            "mongodb://a/?tlsInsecure=true&tlsAllowInvalidHostnames=true",
            "expected tlsInsecure alone",
        ),
        (
            "mongodb://a/?readPreference=any",
            "expected readPreference to be primary, ",
        ),
        (
            "mongodb://a/?readPreferenceTags=x",
            "expected readPreferenceTags to be NAME:VALUE",
        ),
        (
            "mongodb+srv://a.b.c,d/",
            "expected one host after mongodb+srv://",
        ),
        (
            "mongodb+srv://a.b.c/?directConnection=true",
            "expected directConnection with mongodb:// alone",
        ),
        (
            "mongodb+srv://a.b.c/?srvMaxHosts=2&replicaSet=x",
            "expected srvMaxHosts without replicaSet",
        ),
        (
            "mongodb+srv://a.b.c/?srvMaxHosts=-1",
            "expected srvMaxHosts to be a number",
        ),
        (
            "mongodb://a/?authMechanism=MONGODB-X509&authSource=admin",
            "expected authSource=$external",
        ),
        ("mongodb://a/?tls=true&tls=false", "expected tls once"),
        ("mongodb://a/?tls=true&tls=true", "expected tls once"),
        (
            "mongodb://a/?replicaSet=x&replicaSet=y",
            "expected replicaSet once",
        ),
        (
            "mongodb://a/?authSource=x&authSource=x",
            "expected authSource once",
        ),
        (
            "mongodb://a/?authSource=",
            "expected authSource with a value",
        ),
        (
            "mongodb://a/?authSource",
            "expected authSource with a value",
        ),
        (
            "mongodb://a/?replicaSet=",
            "expected replicaSet with a value",
        ),
        (
            "mongodb+srv://a.b.c:1/",
            "expected no port: the SRV records",
        ),
        ("mongodb://app:p@ss@a/", ENCODED),
        ("mongodb://app@x@a/", ENCODED),
        ("mongodb://app:p:ss@a/", ENCODED),
        ("mongodb://app:p[ss@a/", ENCODED),
        ("mongodb://app:100%@a/", ENCODED),
        ("mongodb://app:p%zz@a/", ENCODED),
        ("mongodb+srv://app:p@ss@a.b.c/", ENCODED),
        ("mongodb://u:p@a:1,u:p@b:2/db", ENCODED),
        (
            "mongodb://a/?authMechanism=BANANA",
            "expected authMechanism to be MONGODB-AWS, DEFAULT",
        ),
        (
            "mongodb://app:x@a/?authMechanism=MONGODB-CR",
            "expected authMechanism to be",
        ),
        (
            "mongodb://app:x@a/?authMechanism=SHA-2",
            "expected authMechanism to be",
        ),
        (
            "mongodb://a/?authMechanism=SCRAM-SHA-256",
            "expected a user with SCRAM-SHA-256",
        ),
        (
            "mongodb://a/?authMechanism=sha-1",
            "expected a user with SCRAM-SHA-1",
        ),
        (
            "mongodb://a/?authMechanism=PLAIN",
            "expected a user with PLAIN",
        ),
        (
            "mongodb://a/?authMechanism=GSSAPI",
            "expected a user with GSSAPI",
        ),
        (
            "mongodb://app:x@a/?authMechanism=MONGODB-X509",
            "expected no password with MONGODB-X509",
        ),
        (
            "mongodb://app@a/?authMechanism=GSSAPI&authSource=admin",
            "expected authSource=$external with GSSAPI",
        ),
        (
            "mongodb://a/#tls=prefer",
            "expected tls to be off, require, verify-ca or verify-full",
        ),
        (
            "mongodb://a/?tlsCertificateKeyFile=/x&tlsCertificateKeyFilePassword=y",
            "expected a client key that is not encrypted",
        ),
    ] {
        let dry = wait()
            .var("MONGODB_URI", target)
            .args(["--dry-run", "--for=env:MONGODB_URI"]);
        dry.run().exits(2).says(&[expected]);
        // The same in a list, where a comma is encoded.
        let listed = target.replace(',', "%2C");
        let dry = wait().args(["--dry-run", "--mongodb", &listed]);
        dry.run().exits(2).says(&[expected]);
    }
}

#[test]
#[ignore = "needs npm"]
fn an_election_is_seen_when_the_driver_sees_it() {
    print_lags("election", || {
        let [a, b] = members([SECONDARY, SECONDARY]);
        let url = format!("mongodb://{},{}/?replicaSet=rs0", a.address, b.address);
        let (lag, outcome) = lag("mongodb", &url, || {
            thread::sleep(Duration::from_millis(3500));
            b.change(|state| {
                state.hello["isWritablePrimary"] = json!(true);
                state.hello["secondary"] = json!(false);
            });
        });
        outcome.says(&["not ready", "not_serving: ", " is a secondary"]);
        lag
    });
}

#[test]
#[ignore = "needs npm"]
fn a_server_that_starts_is_ready_when_it_is_for_the_driver() {
    print_lags("first start", || {
        let port = Port::new();
        let url = format!(
            "mongodb://app:s3cret@{}/shop?authSource=admin",
            port.address
        );
        let mut server = None;
        let (lag, _) = lag("mongodb", &url, || {
            thread::sleep(Duration::from_millis(1500));
            let state = State {
                accounts: vec![APP],
                ..State::default()
            };
            server = Some(Server::serve_on(port, state, None));
        });
        lag
    });
}

/// The records of names in a domain: the SRV records, the TXT records, and addresses.
fn srv(check: Check) {
    let authority = Authority::new();
    let Certified { authority: ca, .. } = authority.certify(&["x"]);
    let ca = file(&ca);
    let made = authority.certify(&["one.cluster.test", "two.cluster.test"]);
    let accounts = || {
        vec![
            APP,
            Account {
                source: "shop",
                user: "own",
                ..APP
            },
        ]
    };
    let state = |me: &str| State {
        accounts: accounts(),
        hello: primary("rs0", me, &[me]),
        ..State::default()
    };
    let port = Port::new();
    let number = port.number();
    let member = Server::serve_on(
        port,
        state(&format!("one.cluster.test:{number}")),
        Some(tls(&made)),
    );
    let plain = with(&[APP]);
    let (member, plain) = (member.address.port(), plain.address.port());
    let server = NameServer::answering(move |question| {
        records(question, |name, kind| match (name, kind) {
            ("_mongodb._tcp.db.cluster.test", "SRV") => vec![format!("{member} one.cluster.test")],
            ("db.cluster.test", "TXT") => vec!["authSource=admin&replicaSet=rs0".to_owned()],
            (
                "_mongodb._tcp.bare.cluster.test"
                | "_mongodb._tcp.wrong.cluster.test"
                | "_mongodb._tcp.two.cluster.test",
                "SRV",
            ) => vec![format!("{plain} one.cluster.test")],
            ("_custom._tcp.bare.cluster.test", "SRV") => vec![
                format!("{plain} one.cluster.test"),
                format!("{plain} two.cluster.test"),
            ],
            ("_mongodb._tcp.evil.cluster.test", "SRV") => vec![format!("{plain} one.other.test")],
            ("wrong.cluster.test", "TXT") => vec!["tls=false".to_owned()],
            ("two.cluster.test", "TXT") => {
                vec!["authSource=a".to_owned(), "authSource=b".to_owned()]
            }
            ("one.cluster.test" | "two.cluster.test" | "one.other.test", "A") => {
                vec!["127.0.0.1".to_owned()]
            }
            _ => Vec::new(),
        })
    });
    let ca = ca.path().display();
    for (rest, expected) in [
        // TLS, the database of accounts and the replica set are the records'.
        (
            format!("app:s3cret@db.cluster.test/shop?tlsCAFile={ca}"),
            None,
        ),
        (
            format!("app:wrong@db.cluster.test/shop?tlsCAFile={ca}"),
            Some("access_denied: error 18"),
        ),
        (
            format!("own:s3cret@db.cluster.test/shop?authSource=shop&tlsCAFile={ca}"),
            None,
        ),
        (
            "app:s3cret@db.cluster.test/shop".to_owned(),
            Some("tls_failed: "),
        ),
        (
            format!("app:s3cret@db.cluster.test/shop?replicaSet=rs1&tlsCAFile={ca}"),
            Some("not_serving: one.cluster.test"),
        ),
        ("bare.cluster.test/?tls=false".to_owned(), None),
        ("app:s3cret@bare.cluster.test/?ssl=false".to_owned(), None),
        (
            "app:s3cret@bare.cluster.test/shop?tls=false".to_owned(),
            Some("access_denied: error 18"),
        ),
        (
            "bare.cluster.test/?tls=false&srvServiceName=custom&srvMaxHosts=1".to_owned(),
            None,
        ),
        (
            "bare.cluster.test/?tls=false&srvServiceName=custom".to_owned(),
            None,
        ),
        (
            "bare.cluster.test/?tls=false&srvServiceName=other".to_owned(),
            Some("unresolved: there is no SRV record of _other._tcp.bare"),
        ),
        (
            "evil.cluster.test/?tls=false".to_owned(),
            Some(
                "unresolved: an SRV record of evil.cluster.test names another domain: one.other.test:",
            ),
        ),
        (
            "wrong.cluster.test/?tls=false".to_owned(),
            Some("unresolved: the TXT record of wrong.cluster.test has other options"),
        ),
        (
            "two.cluster.test/?tls=false".to_owned(),
            Some("unresolved: two.cluster.test has several TXT records"),
        ),
    ] {
        check(&format!("mongodb+srv://{rest}"), expected);
    }
    println!("{} questions", server.questions());
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn the_hosts_of_a_service_are_those_of_its_records() {
    in_a_world(|| srv(wait_says));
}

#[test]
#[ignore = "needs root and npm, for a network of its own"]
fn the_hosts_of_a_service_are_those_of_the_driver() {
    // The drivers are installed before there is no network.
    assert!(error_of("mongodb", "mongodb://127.0.0.1:1", &[]).is_some());
    in_a_world(|| srv(both_say));
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn records_that_do_not_exist_yet_are_asked_for_politely() {
    in_a_world(|| {
        let server = NameServer::start();
        let url = "mongodb+srv://db.cluster.test";
        let outcome = wait().args(["--timeout=3", "--for", url]).run();
        outcome
            .exits(1)
            .says(&["unresolved: there is no SRV record of _mongodb._tcp.db.cluster.test"]);
        let questions = server.questions();
        assert!(
            (5..=40).contains(&questions),
            "{questions} questions in 3 s"
        );
        drop(server);
        let outcome = wait().args(["--timeout=2", "--for", url]).run();
        outcome.exits(1).took_from_to(2.0, 4.0).says(&["timed_out"]);
        assert!(Path::new("/etc/resolv.conf").exists());
    });
}
