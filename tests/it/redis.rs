//! A real server of Redis, in whatever state a wait can meet it, beside ioredis. The image is
//! `REDIS_IMAGE`, or else the public one.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::containers::image;
use crate::drivers::{Server, compare, error_of, lag};
use crate::fixtures::tls::Authority;
use crate::support::{Started, Wait, wait};

fn to_be_started(test: &str) -> Server {
    Server::to_be_started(&format!("redis-{test}"), image("REDIS_IMAGE", "redis:7"))
}

/// Starts a server and waits for it.
fn started(test: &str, args: &[&str]) -> Server {
    let server = to_be_started(test);
    server.run(&[], args);
    wait().args(["--for", &url(&server)]).run().exits(0);
    server
}

fn url(server: &Server) -> String {
    format!("redis://{}", server.address)
}

/// The output of the server's own client.
#[track_caller]
fn cli(server: &Server, command: &[&str]) -> String {
    server.exec(&[&["redis-cli", "--no-auth-warning"], command].concat())
}

/// One attempt.
fn once(url: &str) -> Wait {
    wait().args(["--timeout=0", "--for", url])
}

fn begin(url: &str) -> Started {
    wait().args(["--connect-timeout=1", "--for", url]).start()
}

/// One attempt is ready, or has this for its reason, and ioredis agrees.
#[track_caller]
fn both_say(url: &str, reason: Option<&str>) {
    let outcome = once(url).run();
    let error = error_of("ioredis", url, &[]);
    println!("{url}: {reason:?}, ioredis: {error:?}");
    match reason {
        None => outcome.exits(0),
        Some(reason) => outcome.exits(1).says(&[reason]),
    };
    assert_eq!(error.is_none(), reason.is_none(), "{url}: {error:?}");
}

#[test]
#[ignore = "needs Docker and npm"]
fn it_is_ready_when_ioredis_is() {
    let server = to_be_started("compared");
    compare("ioredis", &server, &url(&server), || server.run(&[], &[]));
}

#[test]
#[ignore = "needs Docker and npm"]
fn logins_and_databases_are_those_of_ioredis() {
    let server = started("logins", &["--requirepass", "s3cret"]);
    let address = &server.address;
    let user = |rules: &[&str]| {
        cli(
            &server,
            &[&["-a", "s3cret", "ACL", "SETUSER"], rules].concat(),
        )
    };
    user(&["app", "on", ">p@ss wörd/%", "~*", "&*", "+@all"]);
    user(&["reader", "on", ">x", "~*", "+get"]);
    user(&["off", "off", ">x", "~*", "+@all"]);
    for (login, reason) in [
        (":s3cret@HOST", None),
        ("default:s3cret@HOST:6379", None),
        (":s3cret@HOST/15", None),
        (":s3cret@HOST?db=15", None),
        ("app:p%40ss%20w%C3%B6rd%2F%25@HOST/3", None),
        ("reader:x@HOST", None), // it may not even PING
        (":wrong@HOST", Some("access_denied: WRONGPASS ")),
        (":@HOST", Some("access_denied: WRONGPASS ")),
        ("app:s3cret@HOST", Some("access_denied: WRONGPASS ")),
        ("unknown:s3cret@HOST", Some("access_denied: WRONGPASS ")),
        ("off:x@HOST", Some("access_denied: WRONGPASS ")),
        (
            ":s3cret@HOST/16",
            Some("unknown_database: ERR DB index is out of range"),
        ),
        (
            ":s3cret@HOST?db=16",
            Some("unknown_database: ERR DB index is out of range"),
        ),
        (":s3cret@HOST:6378", Some("refused: ")),
    ] {
        both_say(
            &format!("redis://{}", login.replace("HOST", address)),
            reason,
        );
    }

    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "s3cret\n").expect("written");
    let by_file = |targets: &str| {
        let once = wait().args(["--timeout=0"]).var("WAIT_REDIS", targets);
        once.var("WAIT_REDIS_PASSWORD_FILE", &file)
    };
    let target = format!("redis://{address}:6379");
    by_file(address).run().exits(0).says(&[&target, "is ready"]);
    by_file(address)
        .var("WAIT_REDIS_DATABASE", "16")
        .run()
        .exits(1)
        .says(&["unknown_database"]);
    by_file(address)
        .var("WAIT_REDIS_USER", "app")
        .run()
        .exits(1)
        .says(&["access_denied"]);
    once(&format!(
        "valkey://{address}/1#password-file={}",
        file.display()
    ))
    .run()
    .exits(0);
    fs::write(&file, "wrong").expect("written");
    by_file(address)
        .run()
        .exits(1)
        .says(&["access_denied", "WAIT_REDIS_PASSWORD"]);

    // Without a password, that the server asks for one is enough.
    for url in [
        format!("redis://{address}"),
        format!("redis://{address}/16"),
    ] {
        once(&url).run().exits(0);
        let error = error_of("ioredis", &url, &[]).expect("ioredis is refused");
        assert!(error.contains("NOAUTH"), "{error}");
    }
}

#[test]
#[ignore = "needs Docker and npm"]
fn a_password_that_the_server_does_not_need_is_a_warning() {
    let server = started("open", &[]);
    let url = format!("redis://:s3cret@{}", server.address);
    both_say(&url, None);
    once(&url)
        .run()
        .exits(0)
        .says(&["warning", "the server has no password"]);
    both_say(
        &format!("redis://app:s3cret@{}", server.address),
        Some("access_denied: WRONGPASS "),
    );
}

#[test]
#[ignore = "needs Docker and npm"]
fn a_full_server_is_ready_when_there_is_room() {
    let server = started("full", &["--maxclients", "5"]);
    let clients: Vec<_> = (0..5)
        .map(|_| TcpStream::connect((&*server.address, 6379)).expect("connected"))
        .collect();
    both_say(
        &url(&server),
        Some("too_many_connections: ERR max number of clients reached"),
    );
    let (lag, outcome) = lag("ioredis", &url(&server), || {
        thread::sleep(Duration::from_secs(1));
        drop(clients);
    });
    println!("{lag} ms after ioredis");
    outcome.says(&["not ready", "too_many_connections"]);
}

#[test]
#[ignore = "needs Docker"]
fn a_frozen_server_is_ready_when_it_thaws() {
    let server = started("frozen", &[]);
    server.docker("pause");
    let mut begun = begin(&url(&server));
    begun.until(&["timed_out: no answer for ", " while pinging"]);
    let thawed = Instant::now();
    server.docker("unpause");
    begun.end().exits(0);
    let took = thawed.elapsed();
    println!("{took:?} after the thaw");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
#[ignore = "needs Docker and npm"]
fn three_million_keys_are_loaded_first() {
    let server = started("loading", &["--enable-debug-command", "yes", "--save", ""]);
    cli(&server, &["DEBUG", "POPULATE", "3000000"]);
    cli(&server, &["SAVE"]);
    server.docker("kill");
    let (lag, outcome) = lag("ioredis", &url(&server), || server.docker("start"));
    println!("{lag} ms after ioredis: {}", outcome.stderr);
    outcome.says(&["not ready", "starting: LOADING "]);
    assert_eq!(cli(&server, &["DBSIZE"]), "3000000");
}

#[test]
#[ignore = "needs Docker and npm"]
fn a_replica_without_its_primary_does_not_serve() {
    let primary = started("primary", &[]);
    let args = [
        "--replicaof",
        &primary.address,
        "6379",
        "--replica-serve-stale-data",
        "no",
    ];
    let replica = started("replica", &args);
    both_say(&url(&replica), None);
    primary.docker("kill");
    let mut begun = begin(&url(&replica));
    begun.until(&["not ready", "not_serving: MASTERDOWN "]);
    both_say(&url(&replica), Some("not_serving: MASTERDOWN "));
    let (lag, _) = lag("ioredis", &url(&replica), || primary.docker("start"));
    println!("{lag} ms after ioredis");
    begun.end().exits(0);
}

#[test]
#[ignore = "needs Docker and npm"]
fn certificates_are_verified_as_asked_for() {
    let server = to_be_started("tls");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let authority = folder.path().join("ca.pem");
    let made = Authority::new().certify(&[&server.address]);
    for (name, pem) in [
        ("ca.pem", made.authority),
        ("cert.pem", made.certificate),
        ("key.pem", made.key),
    ] {
        fs::write(folder.path().join(name), pem).expect("written");
    }
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable).expect("the server may read it");
    let volume = format!("{}:/tls:ro", folder.path().display());
    let args = [
        "--requirepass",
        "s3cret",
        "--tls-port",
        "6380",
        "--tls-cert-file",
        "/tls/cert.pem",
        "--tls-key-file",
        "/tls/key.pem",
        "--tls-ca-cert-file",
        "/tls/ca.pem",
        "--tls-auth-clients",
        "no",
    ];
    server.run(&["--volume", &volume], &args);
    wait().args(["--for", &url(&server)]).run().exits(0);

    let secured = format!("rediss://:s3cret@{}:6380/1", server.address);
    let trusted = |url: &str| once(url).var("WAIT_TLS_CA_FILE", &authority).run();
    trusted(&secured).exits(0);
    let vars: [(&str, &Path); 1] = [("NODE_EXTRA_CA_CERTS", &authority)];
    assert_eq!(error_of("ioredis", &secured, &vars), None);
    both_say(
        &secured,
        Some("tls_failed: the certificate is not signed by an authority that is trusted"),
    );
    trusted(&secured.replace("s3cret", "wrong"))
        .exits(1)
        .says(&["access_denied: WRONGPASS "]);
    once(&format!("{secured}#tls=require")).run().exits(0);
    once(&format!("{secured}#tls=verify-ca"))
        .run()
        .exits(1)
        .says(&["tls_failed: "]);
    trusted(&format!("{secured}#tls=verify-ca")).exits(0);
    // TLS where there is none, and none where there is.
    let plain = secured.replace("rediss", "redis");
    let unsecured = secured.replace("6380", "6379");
    let silent = once(&unsecured).args(["--connect-timeout=1"]).run();
    silent
        .exits(1)
        .says(&["timed_out: no answer for ", " while starting TLS"]);
    assert!(error_of("ioredis", &unsecured, &[]).is_some());
    both_say(&plain, Some("closed: "));
    once(&format!("{plain}#tls=require")).run().exits(0);
}

#[test]
#[ignore = "needs Docker"]
fn waits_leave_nothing_on_the_server() {
    let server = started("marks", &["--loglevel", "verbose", "--databases", "4"]);
    let stat = |name: &str| {
        let stats = cli(&server, &["INFO", "stats"]);
        let line = stats
            .lines()
            .find_map(|line| line.trim().strip_prefix(&format!("{name}:"))?.parse().ok());
        line.unwrap_or_else(|| panic!("{name} is not in {stats}"))
    };
    let received: u64 = stat("total_connections_received");
    for i in 0..50 {
        // A database that is not there is taken leave of as well.
        let outcome = once(&format!("{}/{}", url(&server), i % 5)).run();
        outcome.exits(i32::from(i % 5 == 4));
    }
    assert_eq!(stat("total_connections_received") - received, 51); // one is redis-cli's
    assert_eq!(stat("rejected_connections"), 0);
    assert_eq!(stat("total_error_replies"), 10);
    let clients = cli(&server, &["CLIENT", "LIST"]);
    assert_eq!(clients.lines().count(), 1, "{clients}");
    let log = server.log();
    let accepted = log.lines().filter(|line| line.contains("Accepted"));
    assert!(accepted.count() > 50, "{log}");
    let from_outside =
        |line: &&str| line.contains("Client closed connection") && !line.contains("127.0.0.1");
    assert_eq!(log.lines().filter(from_outside).count(), 0, "{log}");
}
