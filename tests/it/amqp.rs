//! A scripted server of AMQP; and a real RabbitMQ, in whatever state a wait can meet it, beside amqplib.
//! The image is `RABBITMQ_IMAGE`, or else the public one.

#[cfg(target_os = "linux")]
mod urls;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, DnType};

use crate::containers::image;
use crate::drivers::{Server, compare, error_of, lag};
use crate::fixtures::amqp::{Broker, Rules, Seen, close, close_channel, start};
use crate::fixtures::ports::{answer, serve};
use crate::fixtures::tls::Authority;
use crate::support::{Wait, has_line, wait};

/// One attempt.
fn once(url: &str) -> Wait {
    wait().args(["--timeout=0", "--for", url])
}

#[test]
fn a_connection_is_opened_and_closed() {
    let broker = Broker::start(Rules::OPEN);
    let address = broker.address;
    once(&format!("amqp://app:s%40cret@{address}/shop"))
        .run()
        .exits(0);
    once(&format!("amqp://app:secret@{address}#queue=jobs"))
        .run()
        .exits(0);
    let expected = |response: &str, virtual_host: &str, queue: Option<&str>| Seen {
        is_tls: false,
        mechanism: "PLAIN".to_owned(),
        response: response.to_owned(),
        virtual_host: virtual_host.to_owned(),
        queue: queue.map(str::to_owned),
        is_closed: true,
    };
    let all = [
        expected("\0app\0s@cret", "shop", None),
        expected("\0app\0secret", "/", Some("jobs")),
    ];
    assert_eq!(broker.seen(2), all);
}

#[test]
fn settings_have_the_login_of_targets_that_have_none() {
    let broker = Broker::start(Rules::OPEN);
    let address = broker.address;
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "secret\n").expect("written");
    let outcome = wait()
        .args(["--timeout=0"])
        .var("WAIT_AMQP", address.to_string())
        .var("WAIT_AMQP_USER", "app")
        .var("WAIT_AMQP_PASSWORD_FILE", file.path())
        .var("WAIT_AMQP_DATABASE", "shop")
        .run();
    outcome
        .exits(0)
        .says(&[&format!("amqp://app@{address}/shop is ready")]);
    let seen = broker.seen(1);
    assert_eq!(
        (&*seen[0].response, &*seen[0].virtual_host),
        ("\0app\0secret", "shop")
    );
}

#[test]
fn without_a_user_the_offer_to_start_is_enough() {
    let broker = Broker::start(Rules::OPEN);
    let address = broker.address;
    once(&format!("amqp://{address}")).run().exits(0);
    assert_eq!(broker.seen(1), [Seen::default()]);
}

/// The application would log in as guest, whatever its URL leaves out.
#[test]
fn an_application_without_a_user_is_guest() {
    let broker = Broker::start(Rules::OPEN);
    let address = broker.address;
    let outcome = once("env:AMQP_URL")
        .var("AMQP_URL", format!("amqp://{address}"))
        .run();
    outcome
        .exits(0)
        .says(&[&format!("amqp://guest@{address} is ready")]);
    assert_eq!(broker.seen(1)[0].response, "\0guest\0guest");
    let outcome = once("env:AMQP_URL")
        .var("AMQP_URL", format!("amqp://{address}"))
        .var("WAIT_AMQP_USER", "app")
        .var("WAIT_AMQP_PASSWORD", "secret")
        .run();
    outcome.exits(0);
    assert_eq!(broker.seen(2)[1].response, "\0app\0secret");
}

#[test]
fn refusals_are_reported_with_what_to_do() {
    let denies = Rules {
        login: |_| Some(close(403, "ACCESS_REFUSED - Login was refused")),
        ..Rules::OPEN
    };
    let has_no_host = Rules {
        open: |_| Some(close(530, "NOT_ALLOWED - vhost shop not found")),
        ..Rules::OPEN
    };
    let has_no_queue = Rules {
        queue: |_| {
            Some(close_channel(
                404,
                "NOT_FOUND - no queue 'jobs' in vhost 'shop'",
            ))
        },
        ..Rules::OPEN
    };
    for (rules, options, parts) in [
        (
            denies,
            "",
            ["access_denied: 403 ACCESS_REFUSED", "which is from the URL"],
        ),
        (
            has_no_host,
            "",
            ["unknown_database: 530 NOT_ALLOWED", "add_vhost"],
        ),
        (
            has_no_queue,
            "#queue=jobs",
            [
                "not_serving: no such queue: 404 NOT_FOUND",
                "declares the queue",
            ],
        ),
    ] {
        let broker = Broker::start(rules);
        let address = broker.address;
        let outcome = once(&format!("amqp://app:s3cret@{address}/shop{options}")).run();
        outcome.exits(1).says(&parts);
        assert!(!outcome.stderr.contains("s3cret"), "{outcome:?}");
        assert!(broker.seen(1)[0].is_closed);
    }
}

#[test]
fn a_queue_that_is_missing_is_looked_for_at_growing_intervals() {
    let rules = Rules {
        queue: |_| {
            Some(close_channel(
                404,
                "NOT_FOUND - no queue 'jobs' in vhost '/'",
            ))
        },
        ..Rules::OPEN
    };
    let broker = Broker::start(rules);
    let address = broker.address;
    let url = format!("amqp://app:secret@{address}#queue=jobs");
    wait().args(["--timeout=2", "--for", &url]).run().exits(1);
    let attempts = broker.seen(2).len();
    assert!((2..=15).contains(&attempts), "{attempts} in 2 s");
}

#[test]
fn servers_of_another_protocol_are_told_apart() {
    once(&format!("amqp://{}", serve(drop)))
        .run()
        .exits(1)
        .says(&[
            "closed: ",
            "while waiting for the server to start the connection",
        ]);
    once(&format!("amqp://{}", answer(b"AMQP\x00\x01\x00\x00")))
        .run()
        .exits(1)
        .says(&["protocol: the server offers AMQP 1.0.0"]);
    once(&format!(
        "amqp://{}",
        answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    ))
    .run()
    .exits(1)
    .says(&["protocol: ", "HTTP/1.1 400"]);
}

/// A listener that begins to serve late, as RabbitMQ behind a published port.
#[test]
fn a_server_that_starts_late_is_ready() {
    let server = serve(|mut stream| {
        thread::sleep(Duration::from_secs(2));
        let _ = std::io::Write::write_all(&mut stream, &start("PLAIN"));
        thread::sleep(Duration::from_secs(5));
    });
    let url = format!("amqp://{server}");
    let outcome = wait().args(["--connect-timeout=1", "--for", &url]).run();
    outcome.exits(0).took_from_to(2.0, 4.0);
    outcome.says(&["timed_out: no answer for ", "to start the connection"]);
}

/// The variables of the official image.
const ACCOUNT: [&str; 6] = [
    "--env",
    "RABBITMQ_DEFAULT_USER=app",
    "--env",
    "RABBITMQ_DEFAULT_PASS=s3cret",
    "--env",
    "RABBITMQ_DEFAULT_VHOST=shop",
];

fn to_be_started(test: &str) -> Server {
    Server::to_be_started(
        &format!("amqp-{test}"),
        image("RABBITMQ_IMAGE", "rabbitmq:3"),
    )
}

/// Starts a server and waits for it.
fn started(test: &str) -> Server {
    let server = to_be_started(test);
    server.run(&ACCOUNT, &[]);
    wait()
        .args(["--timeout=120", "--for", &url(&server)])
        .run()
        .exits(0);
    server
}

fn url(server: &Server) -> String {
    format!("amqp://app:s3cret@{}/shop", server.address)
}

/// The server's own client.
#[track_caller]
fn ctl(server: &Server, command: &[&str]) -> String {
    server.exec(&[&["rabbitmqctl", "--quiet"], command].concat())
}

/// One attempt is ready, or has this for its reason, and amqplib agrees.
#[track_caller]
fn both_say(url: &str, reason: Option<&str>) {
    let outcome = once(url).run();
    let error = error_of("amqplib", url, &[]);
    println!("{url}: {reason:?}, amqplib: {error:?}");
    match reason {
        None => outcome.exits(0),
        Some(reason) => outcome.exits(1).says(&[reason]),
    };
    assert_eq!(error.is_none(), reason.is_none(), "{url}: {error:?}");
}

#[test]
#[ignore = "needs Docker and npm"]
fn it_is_ready_when_amqplib_is() {
    let server = to_be_started("compared");
    compare("amqplib", &server, &url(&server), || {
        server.run(&ACCOUNT, &[]);
    });
}

#[test]
#[ignore = "needs Docker and npm"]
fn logins_and_virtual_hosts_are_those_of_amqplib() {
    let server = started("logins");
    let address = &server.address;
    for command in [
        "add_vhost /",
        "add_vhost a/b",
        "add_vhost closed",
        "add_user other p@ss/%",
        "add_user guest guest",
        "set_permissions --vhost / app .* .* .*",
        "set_permissions --vhost a/b app .* .* .*",
        "set_permissions --vhost shop other ^$ ^$ ^$",
        "set_permissions --vhost / guest .* .* .*",
    ] {
        ctl(&server, &command.split(' ').collect::<Vec<_>>());
    }
    for (rest, reason) in [
        ("app:s3cret@HOST/shop", None),
        ("app:s3cret@HOST", None),
        ("app:s3cret@HOST/", None),
        ("app:s3cret@HOST//", None),
        ("app:s3cret@HOST/%2F", None),
        ("app:s3cret@HOST/%2f", None),
        ("app:s3cret@HOST/a/b", None),
        ("app:s3cret@HOST/a%2Fb", None),
        ("app:s3cret@HOST/shop?frameMax=8192&channelMax=10", None),
        ("other:p%40ss%2F%25@HOST/shop", None),
        ("guest:guest@HOST", None),
        (
            "app:wrong@HOST/shop",
            Some("access_denied: 403 ACCESS_REFUSED - Login was refused"),
        ),
        ("app@HOST/shop", Some("access_denied: 403 ")),
        ("nix:s3cret@HOST/shop", Some("access_denied: 403 ")),
        (
            "app:s3cret@HOST/nix",
            Some("unknown_database: 530 NOT_ALLOWED - vhost nix not found"),
        ),
        (
            "app:s3cret@HOST/closed",
            Some(
                "unknown_database: 530 NOT_ALLOWED - access to vhost 'closed' refused for user 'app'",
            ),
        ),
        (
            "app:s3cret@HOST/shop#queue=jobs",
            Some("not_serving: no such queue: 404 NOT_FOUND - no queue 'jobs' in vhost 'shop'"),
        ),
        ("app:s3cret@HOST:5673/shop", Some("refused: ")),
    ] {
        both_say(&format!("amqp://{}", rest.replace("HOST", address)), reason);
    }
    // Without a user clients log in as guest; `wait` does so for an application's URL.
    let url = format!("amqp://{address}");
    assert_eq!(error_of("amqplib", &url, &[]), None);
    once("env:AMQP_URL").var("AMQP_URL", &url).run().exits(0);
    ctl(&server, &["change_password", "guest", "other"]);
    both_say(
        &format!("amqp://guest:guest@{address}"),
        Some("access_denied: 403 "),
    );
    once("env:AMQP_URL")
        .var("AMQP_URL", &url)
        .run()
        .exits(1)
        .says(&[
            "access_denied",
            "where no user is named, clients log in as guest",
        ]);
    once(&url).run().exits(0);
    // From elsewhere, guest is refused as if the password were wrong.
    ctl(&server, &["change_password", "guest", "guest"]);
    let loopback = "application:set_env(rabbit, loopback_users, [<<\"guest\">>]).";
    ctl(&server, &["eval", loopback]);
    both_say(
        &format!("amqp://guest:guest@{address}"),
        Some("guest may log in only from the server's own host (loopback_users)"),
    );
}

/// Makes the queue `jobs`.
fn declare(server: &Server) {
    let name = "rabbit_misc:r(<<\"shop\">>, queue, <<\"jobs\">>)";
    let declare =
        format!("element(1, rabbit_amqqueue:declare({name}, true, false, [], none, <<\"t\">>)).");
    assert_eq!(ctl(server, &["eval", &declare]), "new");
}

#[test]
#[ignore = "needs Docker and npm"]
fn a_queue_is_waited_for() {
    let server = started("queue");
    let url = format!("{}#queue=jobs", url(&server));
    let (lag, outcome) = lag("amqplib", &url, || declare(&server));
    println!("{lag} ms after amqplib");
    outcome.says(&[
        "not ready",
        "not_serving: no such queue: 404 NOT_FOUND - no queue 'jobs'",
    ]);
    both_say(&url, None);
}

#[test]
#[ignore = "needs Docker and npm"]
fn a_full_server_is_ready_when_there_is_room() {
    let server = started("full");
    ctl(
        &server,
        &["set_user_limits", "app", "{\"max-connections\": 0}"],
    );
    both_say(&url(&server), Some("user connection limit (0) is reached"));
    ctl(&server, &["clear_user_limits", "app", "all"]);
    both_say(&url(&server), None);
    let limits = [
        "set_vhost_limits",
        "--vhost",
        "shop",
        "{\"max-connections\": 0}",
    ];
    ctl(&server, &limits);
    both_say(
        &url(&server),
        Some(
            "too_many_connections: 530 NOT_ALLOWED - access to vhost 'shop' refused for user 'app': \
              connection limit (0) is reached",
        ),
    );
    let (lag, outcome) = lag("amqplib", &url(&server), || {
        ctl(&server, &["clear_vhost_limits", "--vhost", "shop"]);
    });
    println!("{lag} ms after amqplib");
    outcome.says(&["not ready", "too_many_connections"]);
}

/// The node runs, and the application in it does not, or a virtual host of it does not.
#[test]
#[ignore = "needs Docker and npm"]
fn a_node_that_is_stopped_inside_is_ready_when_it_is_started() {
    let server = started("inside");
    ctl(&server, &["stop_app"]);
    both_say(&url(&server), Some("refused: "));
    let (begins, _) = lag("amqplib", &url(&server), || {
        ctl(&server, &["start_app"]);
    });
    let down = "rabbit_vhost_sup_sup:stop_and_delete_vhost(<<\"shop\">>).";
    ctl(&server, &["eval", down]);
    both_say(
        &url(&server),
        Some("not_serving: 541 INTERNAL_ERROR - access to vhost 'shop' refused"),
    );
    let (restarts, outcome) = lag("amqplib", &url(&server), || {
        ctl(&server, &["restart_vhost", "--vhost", "shop"]);
    });
    println!("{begins} and {restarts} ms after amqplib");
    outcome.says(&["not_serving", "vhost 'shop' is down"]);
}

/// A server that is short of memory still opens connections and serves those who receive messages. It
/// reports that it takes none only to a client that has sent one, which `wait` must not do.
#[test]
#[ignore = "needs Docker and npm"]
fn an_alarm_does_not_keep_clients_from_connecting() {
    let server = started("alarm");
    ctl(&server, &["set_vm_memory_high_watermark", "0.00001"]);
    thread::sleep(Duration::from_secs(2));
    assert!(has_line(
        &server.log(),
        &["memory resource limit alarm set"]
    ));
    both_say(&url(&server), None);
}

/// A folder with these files, which a server may read.
fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for (name, contents) in files {
        fs::write(folder.path().join(name), contents).expect("written");
    }
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable).expect("the server may read it");
    folder
}

const TLS_CONF: &str = "\
listeners.ssl.default = 5671
ssl_options.cacertfile = /etc/rabbitmq/conf.d/ca.pem
ssl_options.certfile = /etc/rabbitmq/conf.d/cert.pem
ssl_options.keyfile = /etc/rabbitmq/conf.d/key.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
";

#[test]
#[ignore = "needs Docker and npm"]
fn certificates_are_verified_as_asked_for() {
    let server = to_be_started("tls");
    let ours = Authority::new();
    let made = ours.certify(&[&server.address]);
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, "app");
    let client = ours.sign(&client);
    let folder = folder_with(&[
        ("ca.pem", &made.authority),
        ("cert.pem", &made.certificate),
        ("key.pem", &made.key),
        ("client.pem", &client.certificate),
        ("client-key.pem", &client.key),
        ("tls.conf", TLS_CONF),
        ("enabled_plugins", "[rabbitmq_auth_mechanism_ssl]."),
    ]);
    let file = |name: &str| folder.path().join(name);
    let volume = format!("{}:/etc/rabbitmq/conf.d:ro", folder.path().display());
    let plugins = "RABBITMQ_ENABLED_PLUGINS_FILE=/etc/rabbitmq/conf.d/enabled_plugins";
    let options = [&ACCOUNT[..], &["--volume", &volume, "--env", plugins]].concat();
    server.run(&options, &[]);
    wait()
        .args(["--timeout=120", "--for", &url(&server)])
        .run()
        .exits(0);

    let secured = url(&server).replace("amqp:", "amqps:");
    let authority = file("ca.pem");
    let trusted = |url: &str| once(url).var("WAIT_TLS_CA_FILE", &authority).run();
    trusted(&secured).exits(0);
    let vars: [(&str, &Path); 1] = [("NODE_EXTRA_CA_CERTS", &authority)];
    assert_eq!(error_of("amqplib", &secured, &vars), None);
    both_say(
        &secured,
        Some("tls_failed: the certificate is not signed by an authority that is trusted"),
    );
    trusted(&secured.replace("s3cret", "wrong"))
        .exits(1)
        .says(&["access_denied: 403 "]);
    once(&format!("{secured}#tls=require")).run().exits(0);
    once(&format!("{secured}#tls=verify-ca"))
        .run()
        .exits(1)
        .says(&["tls_failed: "]);
    once(&format!("{secured}#ca-file={}", authority.display()))
        .run()
        .exits(0);
    once(&format!("{secured}?cacertfile={}", authority.display()))
        .run()
        .exits(0);
    once(&format!("{secured}?verify=verify_none"))
        .run()
        .exits(0);
    // TLS where there is none, and none where there is.
    both_say(
        &secured.replace("/shop", ":5672/shop"),
        Some("tls_failed: "),
    );
    let plain = url(&server).replace("/shop", ":5671/shop");
    once(&plain)
        .run()
        .exits(1)
        .says(&["tls_required: the server answers in TLS", "amqps://"]);
    assert!(error_of("amqplib", &plain, &[]).is_some());

    // The certificate's name is the user.
    let external = format!(
        "amqps://{}/shop?auth_mechanism=external&cacertfile={}&certfile={}&keyfile={}",
        server.address,
        authority.display(),
        file("client.pem").display(),
        file("client-key.pem").display(),
    );
    once(&external).run().exits(0);
    once("env:AMQP_URL")
        .var("AMQP_URL", &external)
        .run()
        .exits(0);
    once(external.split("&certfile").next().unwrap_or_default())
        .run()
        .exits(1)
        .says(&["access_denied: 403 ", "give a certificate and its key"]);
}

/// The lines of a log that are more than information; those that continue one have its mark too.
fn complaints(log: &str) -> Vec<&str> {
    let marks = ["[warning]", "[error]", "[critical]"];
    let lines = log.lines();
    lines
        .filter(|line| marks.iter().any(|mark| line.contains(mark)))
        .collect()
}

#[test]
#[ignore = "needs Docker"]
fn waits_leave_nothing_in_the_log_but_what_was_wrong() {
    let server = started("marks");
    declare(&server);
    let mut known = server.log().len();
    let mut new = || {
        thread::sleep(Duration::from_secs(1));
        let log = server.log();
        let new = log[known..].to_owned();
        known = log.len();
        new
    };
    new();
    // Nothing is wrong: no complaint.
    for url in [url(&server), format!("{}#queue=jobs", url(&server))] {
        for _ in 0..50 {
            once(&url).run().exits(0);
        }
        let log = new();
        assert_eq!(
            log.matches("authenticated and granted access to vhost 'shop'")
                .count(),
            50
        );
        assert_eq!(complaints(&log), [""; 0]);
    }
    // Each refusal is in the log once, and how the connection ended is not.
    for (target, code, words) in [
        (
            url(&server).replace("/shop", "/nix"),
            1,
            "vhost nix not found",
        ),
        (
            url(&server).replace("s3cret", "wrong"),
            1,
            "PLAIN login refused: user 'app'",
        ),
        (
            format!("{}#queue=nix", url(&server)),
            1,
            "no queue 'nix' in vhost 'shop'",
        ),
        // Without a user a connection ends too early for the server, whatever is done.
        (
            format!("amqp://{}", server.address),
            0,
            "client unexpectedly closed TCP connection",
        ),
    ] {
        for _ in 0..50 {
            once(&target).run().exits(code);
        }
        let log = new();
        let complaints = complaints(&log);
        println!("{target}: {}: {:#?}", complaints.len(), &complaints[..2]);
        assert_eq!(log.matches(words).count(), 50, "{log}");
        assert_eq!(complaints.len(), 100, "{complaints:#?}");
    }
    assert_eq!(
        ctl(&server, &["list_connections", "name"]).lines().count(),
        0
    );
}
