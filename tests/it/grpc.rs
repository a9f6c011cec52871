//! gRPC servers: scripted ones, and a real one of grpc-js beside its own client. The image that the real
//! one runs in is `NODE_IMAGE`, or else the public one.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;

use crate::containers::{docker, image};
use crate::drivers::{Server, compare, error_of, installed, lag};
use crate::fixtures::grpc::{
    NOT_SERVING, SERVING, answering, empty_data, error, flood, head, page, ping, respond, service,
    settings, state,
};
use crate::fixtures::http::{self, status};
use crate::fixtures::ports::{Port, answer, listen_to, serve};
use crate::fixtures::tls::{Authority, Certified, secured, tls};
use crate::support::{Outcome, Wait, wait};

/// One attempt.
fn once(target: &str) -> Wait {
    wait().args(["--timeout=0", "--connect-timeout=2", "--for", target])
}

#[track_caller]
fn is_not_ready(target: &str, says: &[&str]) {
    let outcome = once(target).run();
    outcome.exits(1).says(&[&["wait: error: "], says].concat());
}

#[test]
fn a_server_that_is_serving_is_ready_and_taken_leave_of() {
    let (goodbyes, received) = mpsc::channel();
    let server = serve(move |mut stream| {
        goodbyes
            .send(respond(&mut stream, &state(SERVING)))
            .expect("received");
        listen_to(stream);
    });
    for target in [
        format!("grpc://{server}"),
        format!("grpc://{server}/shop.v1.Cart"),
    ] {
        once(&target)
            .run()
            .exits(0)
            .says(&[&target, " is ready after "]);
        let outcome = wait().args(["--check", &target]).run();
        outcome.exits(0);
        assert_eq!((&*outcome.stderr, &*outcome.stdout), ("", ""));
    }
    for _ in 0..4 {
        assert_eq!(
            received.recv_timeout(Duration::from_secs(20)),
            Ok(true),
            "a goodbye"
        );
    }
}

#[test]
fn each_answer_has_its_reason_and_its_words() {
    let refused = Port::new().address;
    for (server, says) in [
        (
            service(state(NOT_SERVING)),
            "not_serving: the state of the server is NOT_SERVING; the server sets this state itself",
        ),
        (
            service(error("5", "unknown service")),
            "not_serving: the server has no state for the whole of it (NOT_FOUND): unknown service; name one",
        ),
        (
            service(error("12", "")),
            "server_error: the server has no health service (UNIMPLEMENTED); add the health service",
        ),
        (
            service(error("14", "no healthy%0Aupstream")),
            "not_serving: the gRPC status is UNAVAILABLE: no healthy\\nupstream; does the proxy reach",
        ),
        (
            service(error("16", "")),
            "access_denied: the gRPC status is UNAUTHENTICATED; let the health service answer without",
        ),
        (
            service(page("503")),
            "not_serving: the response is 503 Service Unavailable, without a gRPC status; does the proxy",
        ),
        (
            answer(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
            "protocol: an answer that begins with \"HTTP/1.1 400 Bad\" while waiting for the response; \
             the server speaks HTTP/1: is this a web service's port?",
        ),
        (serve(drop), "closed: "),
        (serve(listen_to), "timed_out: no answer for "),
        (refused, "refused: "),
    ] {
        is_not_ready(&format!("grpc://{server}"), &[says]);
        let check = wait()
            .args([
                "--check",
                &format!("grpc://{server}"),
                "--connect-timeout=2",
            ])
            .run();
        check.exits(1);
        assert_eq!(check.stderr.lines().count(), 1, "{check:?}");
    }
}

#[test]
fn a_server_is_waited_for_until_it_is_serving() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = answering(move || match calls.fetch_add(1, Ordering::Relaxed) {
        0..2 => page("503"),
        2..4 => state(NOT_SERVING),
        _ => state(SERVING),
    });
    let target = format!("grpc://{server}/shop.v1.Cart");
    let outcome = wait().args(["--for", &target, "echo", "started"]).run();
    outcome
        .exits(0)
        .says(&["not ready", "not_serving: the response is 503"]);
    outcome.says(&["is ready after", ", 5 attempts"]);
    outcome.took_from_to(0.35, 10.0);
    assert_eq!(outcome.stdout, "started\n");
}

#[test]
fn a_target_that_cannot_be_understood_is_one_line() {
    for (target, says) in [
        ("grpc://", "grpc://\u{2026}: expected a host"),
        (
            "grpc://api/a/b",
            "grpc://api\u{2026}: expected one name after the host",
        ),
        (
            "grpc://api?service=x",
            "an unknown parameter: expected socket",
        ),
        (
            "grpc://api#tls=prefer",
            "expected tls to be off, require, verify-ca or verify-full",
        ),
        (
            "grpc://api#query=x",
            "an unknown option after '#': expected user, tls, ",
        ),
        (
            "grpcs://api#ca-file=/no/such/file",
            "expected ca-file to be readable",
        ),
        (
            "grpc://app:x@api#password-env=NOT_SET",
            "expected one of a password, password-file and",
        ),
    ] {
        let outcome = wait().args(["--for", target]).run();
        outcome.exits(2);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert!(outcome.stderr.contains(says), "{says}: {outcome:?}");
    }
}

/// A server's configuration with the protocols that it offers.
fn offering(certified: &Certified, protocols: &[&str]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(&tls(certified));
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Arc::new(config)
}

#[test]
fn certificates_and_the_protocol_are_verified_as_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let certified = Authority::new().certify(&["localhost"]);
    let file = folder.path().join("ca.pem");
    fs::write(&file, &certified.authority).expect("written");
    let file = file.display();
    let serving = |protocols: &[&str]| {
        let config = offering(&certified, protocols);
        let server = secured(&config, |mut stream| {
            respond(&mut stream, &state(SERVING));
            listen_to(stream.sock);
        });
        server.port()
    };
    let port = serving(&["h2"]);
    let ca = format!("#ca-file={file}");
    let expect = |target: String, says: Option<&str>| match says {
        None => drop(once(&target).run().exits(0)),
        Some(says) => is_not_ready(&target, &[says]),
    };
    expect(format!("grpcs://localhost:{port}{ca}"), None);
    expect(format!("grpc://localhost:{port}{ca}&tls=verify-full"), None);
    expect(format!("grpcs://localhost:{port}#tls=require"), None);
    expect(format!("grpcs://127.0.0.1:{port}{ca}&tls=verify-ca"), None);
    expect(
        format!("grpcs://localhost:{port}"),
        Some("tls_failed: the certificate is not signed by"),
    );
    let other_name = "tls_failed: the certificate is not valid for name 127.0.0.1";
    expect(format!("grpcs://127.0.0.1:{port}{ca}"), Some(other_name));
    expect(
        format!("grpc://localhost:{port}"),
        Some("protocol: an answer that begins with \"\\x15\\x03"),
    );
    expect(
        format!("grpcs://{}", service(state(SERVING))),
        Some("tls_failed: an answer that is not TLS"),
    );
    // Servers without HTTP/2, by ALPN.
    for (protocols, says) in [
        (
            &["http/1.1"][..],
            "tls_failed: the server does not speak the protocol (ALPN)",
        ),
        (
            &[],
            "tls_failed: the server has not chosen the protocol (ALPN)",
        ),
    ] {
        let port = serving(protocols);
        expect(format!("grpcs://localhost:{port}{ca}"), Some(says));
    }
}

#[test]
fn a_server_at_a_unix_socket_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("api.sock");
    let target = format!("grpc://localhost/shop.v1.Cart?socket={}", path.display());
    is_not_ready(&target, &["missing: there is no such socket"]);
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            respond(&mut stream, &state(SERVING));
        }
    });
    once(&target).run().exits(0);
}

#[test]
fn a_server_that_never_stops_holds_up_neither_the_deadline_nor_others() {
    let calls = Arc::new(AtomicUsize::new(0));
    let healthy = answering(move || match calls.fetch_add(1, Ordering::Relaxed) {
        0..3 => state(NOT_SERVING),
        _ => state(SERVING),
    });
    let floods: [SocketAddr; 4] = [
        flood(vec![], &settings()),
        flood(vec![], &ping()),
        flood(head(), &empty_data()),
        flood(head(), &[0; 9]),
    ];
    let mut wait = wait().args(["--timeout=2", "--for", &format!("grpc://{healthy}")]);
    for server in floods {
        wait = wait.args(["--for", &format!("grpc://{server}")]);
    }
    let outcome: Outcome = wait.run();
    outcome.exits(1).took_from_to(1.9, 5.0);
    outcome.says(&[&format!("grpc://{healthy} is ready after "), ", 4 attempts"]);
    for server in floods {
        outcome.says(&[
            &format!("grpc://{server} is not ready after 2"),
            "protocol: ",
        ]);
    }
}

#[test]
fn web_services_and_grpc_servers_are_told_apart() {
    let (port, _requests) = http::service(status("200 OK"));
    let web = "protocol: an answer that begins with \"HTTP/1.1 200 OK";
    is_not_ready(
        &format!("grpc://127.0.0.1:{port}"),
        &[web, "is this a web service's port?"],
    );
    is_not_ready(
        &format!("http://{}/", service(state(SERVING))),
        &["protocol: "],
    );
}

/// A real server, to be started with `run`: its arguments are those of `grpc-server.js`.
struct Real(Server);

impl Real {
    fn new(test: &str) -> Self {
        let image = image("NODE_IMAGE", "node:20-slim");
        Self(Server::to_be_started(&format!("grpc-{test}"), image))
    }

    fn run(&self, options: &[&str], args: &[&str]) {
        let drivers = format!("{}:/drivers:ro", installed().display());
        let options = [&["--volume", &drivers], options].concat();
        self.0.run(
            &options,
            &[&["node", "/drivers/grpc-server.js"], args].concat(),
        );
    }

    /// The same, waited for.
    fn started(test: &str, states: &str) -> Self {
        let server = Self::new(test);
        server.run(&[], &[states]);
        wait()
            .args(["--for", &format!("{}:50051", server.0.address)])
            .run()
            .exits(0);
        server
    }

    fn url(&self, service: &str) -> String {
        format!("grpc://{}/{service}", self.0.address)
    }
}

/// One attempt is ready, or has this for its reason, and the client of grpc-js agrees.
#[track_caller]
fn both_say(url: &str, options: &str, vars: &[(&str, &Path)], says: Option<(&str, &str)>) {
    let outcome = once(&format!("{url}{options}")).run();
    let error = error_of("grpc", url, vars);
    println!("{url}: {says:?}, grpc-js: {error:?}");
    match says {
        None => {
            outcome.exits(0);
            assert_eq!(error, None, "{url}");
        }
        Some((says, words)) => {
            outcome.exits(1).says(&[says]);
            let error = error.expect("grpc-js is not content either");
            assert!(error.contains(words), "{url}: {error}");
        }
    }
}

#[test]
#[ignore = "needs Docker and npm"]
fn it_is_ready_when_grpc_js_is() {
    let server = Real::new("compared");
    let url = server.url("shop.v1.Cart");
    compare("grpc", &server.0, &url, || {
        server.run(&[], &[r#"{"shop.v1.Cart":"SERVING"}"#]);
    });
}

#[test]
#[ignore = "needs Docker and npm"]
fn it_is_serving_when_grpc_js_sees_it() {
    let states = r#"{"":"SERVING","shop.v1.Cart":"NOT_SERVING"}"#;
    let server = Real::started("states", states);
    let (lag, outcome) = lag("grpc", &server.url("shop.v1.Cart"), || {
        thread::sleep(Duration::from_secs(1));
        docker(&["kill", "--signal=HUP", &server.0.name]);
    });
    println!("{lag} ms after grpc-js");
    outcome.says(&[
        "not ready",
        "not_serving: the state of the service shop.v1.Cart is NOT_SERVING",
    ]);
}

#[test]
#[ignore = "needs Docker and npm"]
fn states_and_errors_are_those_of_grpc_js() {
    let states = r#"{"":"SERVING","a/b.C":"SERVING","down":"NOT_SERVING","new":"UNKNOWN"}"#;
    let server = Real::started("logins", states);
    let unknown = (
        "not_serving: the server does not know the service cart (NOT_FOUND): ",
        "5 NOT_FOUND",
    );
    for (service, says) in [
        ("", None),
        ("a%2Fb.C", None),
        (
            "down",
            Some((
                "not_serving: the state of the service down is NOT_SERVING",
                "NOT_SERVING",
            )),
        ),
        (
            "new",
            Some((
                "not_serving: the state of the service new is UNKNOWN",
                "UNKNOWN",
            )),
        ),
        ("cart", Some(unknown)),
    ] {
        both_say(&server.url(service), "", &[], says);
    }
    let without = Real::started("without", "null");
    let unimplemented = "server_error: the server has no health service (UNIMPLEMENTED): ";
    both_say(
        &without.url(""),
        "",
        &[],
        Some((unimplemented, "12 UNIMPLEMENTED")),
    );
    let web = format!("http://{}:50051/", server.0.address);
    is_not_ready(&web, &["protocol: "]);
    // The server's shutdown, while a client is still there.
    server.0.docker("stop");
    both_say(
        &server.url(""),
        "",
        &[],
        Some(("refused: ", "14 UNAVAILABLE")),
    );
}

#[test]
#[ignore = "needs Docker and npm"]
fn a_login_and_a_certificate_are_those_of_grpc_js() {
    let server = Real::new("tls");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let made = Authority::new().certify(&[&server.0.address]);
    let authority = folder.path().join("ca.pem");
    for (name, pem) in [
        ("ca.pem", made.authority),
        ("cert.pem", made.certificate),
        ("key.pem", made.key),
    ] {
        fs::write(folder.path().join(name), pem).expect("written");
    }
    let volume = format!("{}:/tls:ro", folder.path().display());
    let options = ["--volume", &volume, "--env", "PASSWORD=s3cret"];
    server.run(
        &options,
        &[r#"{"":"SERVING"}"#, "/tls/cert.pem", "/tls/key.pem"],
    );
    let address = format!("{}:50051", server.0.address);
    wait().args(["--for", &address]).run().exits(0);
    let vars: [(&str, &Path); 1] = [("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &authority)];
    let trusted = format!("#ca-file={}", authority.display());
    let denied = (
        "access_denied: the gRPC status is UNAUTHENTICATED: who are you?",
        "16 UNAUTHENTICATED",
    );
    both_say(
        &format!("grpcs://app:s3cret@{address}"),
        &trusted,
        &vars,
        None,
    );
    both_say(
        &format!("grpcs://app:wrong@{address}"),
        &trusted,
        &vars,
        Some(denied),
    );
    both_say(&format!("grpcs://{address}"), &trusted, &vars, Some(denied));
    let untrusted = (
        "tls_failed: the certificate is not signed by",
        "14 UNAVAILABLE",
    );
    both_say(
        &format!("grpcs://app:s3cret@{address}"),
        "",
        &[],
        Some(untrusted),
    );
    let not_plain = ("closed: ", "14 UNAVAILABLE");
    both_say(
        &format!("grpc://app:s3cret@{address}"),
        "",
        &[],
        Some(not_plain),
    );
    once(&format!("grpcs://app:s3cret@{address}#tls=require"))
        .run()
        .exits(0);
}
