//! Web services, healthy and not, as targets and as `--check`.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa};

use crate::fixtures::http::{answering, respond, service, status};
use crate::fixtures::ports::{Port, Silent, listen_to, serve, speechless};
use crate::fixtures::tls::{Authority, Certified, secured, self_signed, tls};
use crate::support::{Outcome, best_of_three, wait};

fn check(target: &str) -> Outcome {
    wait()
        .args(["--check", target, "--connect-timeout", "1"])
        .run()
}

#[test]
fn a_status_from_200_to_399_is_ready() {
    for line in ["200 OK", "204 No Content", "302 Found", "399 X"] {
        let (port, _requests) = service(status(line));
        let outcome = check(&format!("http://127.0.0.1:{port}/"));
        outcome.exits(0);
        assert_eq!((&*outcome.stderr, &*outcome.stdout), ("", ""), "{line}");
    }
    let (port, _requests) = service("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    check(&format!("http://localhost:{port}")).exits(0);
}

#[test]
fn a_check_of_an_open_port_prints_nothing() {
    let port = Port::opened();
    let outcome = check(&port.address.to_string());
    outcome.exits(0);
    assert_eq!((&*outcome.stderr, &*outcome.stdout), ("", ""));
}

#[test]
fn redirects_are_not_followed() {
    let (elsewhere, requests) = service(status("200 OK"));
    for line in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        let to = format!("Location: http://127.0.0.1:{elsewhere}/\r\n");
        let answer = status(line).replace("Connection", &format!("{to}Connection"));
        let (port, _requests) = service(answer);
        check(&format!("http://127.0.0.1:{port}/")).exits(0);
    }
    let request = requests.recv_timeout(Duration::from_millis(100));
    assert_eq!(request, Err(mpsc::RecvTimeoutError::Timeout));
}

#[test]
fn a_body_without_end_is_not_waited_for() {
    // As fast as it can, and a byte now and then.
    for (piece, pause) in [(4096, Duration::ZERO), (1, Duration::from_millis(10))] {
        let server = serve(move |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&vec![b'x'; piece]).is_ok() {
                sleep(pause);
            }
        });
        let target = format!("http://{server}/");
        best_of_three(Duration::from_secs(1), || {
            wait().args(["--check", &target]).run().exits(0).took
        });
    }
}

#[test]
fn the_request_has_the_host_the_path_and_the_credentials() {
    let (port, requests) = service(status("200 OK"));
    check(&format!(
        "http://Aladdin:open%20sesame@localhost:{port}/a%20b?c=d"
    ))
    .exits(0);
    let request = requests.recv().expect("a request");
    let lines: Vec<_> = request.lines().collect();
    assert_eq!(lines[0], "GET /a%20b?c=d HTTP/1.1");
    for line in [
        format!("host: localhost:{port}"),
        format!("user-agent: compose-wait/{}", env!("CARGO_PKG_VERSION")),
        "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned(),
        "connection: close".to_owned(),
    ] {
        assert!(lines.contains(&&*line), "{line} is not in {request}");
    }
}

#[test]
fn a_failed_check_is_one_line_and_exit_1() {
    let (refused, silent) = (Port::new(), Silent::new());
    let (refused, silent, speechless) = (refused.address, silent.address(), speechless());
    let serve = |answer: &[u8]| format!("http://127.0.0.1:{}/", service(answer).0);
    let endless = [b"HTTP/1.1 200 OK\r\n", &b"x: y\r\n".repeat(100_000)[..]].concat();
    let plain = serve(status("200 OK").as_bytes());
    for (target, says) in [
        (serve(status("100 Continue").as_bytes()), "protocol"),
        (
            serve(status("404 Not Found").as_bytes()),
            "http_status: the response is 404 Not Found",
        ),
        (
            serve(status("400 Bad Request").as_bytes()),
            "http_status: the response is 400",
        ),
        (
            serve(status("500 Oh").as_bytes()),
            "http_status: the response is 500",
        ),
        (
            serve(status("503 Service Unavailable").as_bytes()),
            "http_status: the response is 503",
        ),
        (
            serve(status("999 ?").as_bytes()),
            "http_status: the response is 999",
        ),
        (serve(b""), "closed"),
        (serve(b"HTTP/1.1 20"), "closed"),
        (serve(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol"),
        (serve(b"\x15\x03\x03\0\x02\x02\x46"), "protocol"),
        (serve(&endless), "protocol"),
        (plain.replace("http", "https"), "tls_failed"),
        (format!("http://{refused}/"), "refused"),
        (format!("http://{silent}/"), "timed_out"),
        (
            format!("http://{speechless}/"),
            "timed_out: no answer for … while waiting for the response",
        ),
        (
            format!("https://{speechless}/"),
            "timed_out: no answer for … while starting TLS",
        ),
        (refused.to_string(), "refused"),
        (format!("mysql://{refused}"), "refused"),
        ("/no/such/path".to_owned(), "missing"),
        (
            "http://".to_owned(),
            "--check: http://\u{2026}: expected a host",
        ),
        ("http://a b/".to_owned(), "--check: http://"),
        (
            "gopher://localhost".to_owned(),
            "--check: gopher://localhost: the scheme gopher is unknown: expected HOST:PORT",
        ),
        (
            format!("http://localhost:99999/{}", "x".repeat(100_000)),
            "--check: http://localhost:99999",
        ),
        (
            format!("http://{refused}/{}", "x".repeat(100_000)),
            "refused",
        ),
        (String::new(), "--check: expected a target"),
        (
            "env:NOT_SET".to_owned(),
            "--check: env:NOT_SET: expected a variable that is set",
        ),
    ] {
        let outcome = check(&target);
        outcome.exits(1).says(&says.split('…').collect::<Vec<_>>());
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert!(outcome.stderr.len() < 4096 && outcome.stdout.is_empty());
    }
    for args in [
        &["--check"][..],
        &["--check=/", "--bogus"],
        &["--check", "/", "echo"],
    ] {
        let outcome = wait().args(args).run();
        outcome.exits(1);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
}

#[test]
fn a_check_looks_at_its_target_alone() {
    wait()
        .var("WAIT_HOSTS", "127.0.0.1:1")
        .var("WAIT_PATHS", "/no/such/path")
        .var("WAIT_COMMAND", "echo started")
        .var("WAIT_BEFORE", "60")
        .var("WAIT_HOSTS_TIMEOUT", "60") // deprecated, which is a warning elsewhere
        .args(["--check", "/"])
        .run()
        .exits(0);
}

#[test]
fn a_service_is_waited_for_until_it_is_healthy() {
    let requests = Arc::new(AtomicUsize::new(0));
    let (port, _requests) = answering(move |_| {
        let line = match requests.fetch_add(1, Ordering::Relaxed) {
            0..3 => "503 Service Unavailable",
            _ => "200 OK",
        };
        status(line).into()
    });
    let outcome = wait()
        .var("WAIT_HOSTS", format!("http://127.0.0.1:{port}/health"))
        .args(["echo", "started"])
        .run();
    outcome.exits(0).says(&["http_status: the response is 503"]);
    outcome.says(&["is ready after", ", 4 attempts"]);
    outcome.took_from_to(0.25, 5.0);
    assert_eq!(outcome.stdout, "started\n");
}

/// A service with TLS and this certificate.
fn secure_service(certified: &Certified) -> u16 {
    let server = secured(&tls(certified), |mut stream| {
        let (requests, _) = mpsc::channel();
        respond(&mut stream, |_| status("200 OK").into(), &requests);
        stream.conn.send_close_notify();
        let _ = stream.flush(); // the client may be gone
        listen_to(stream.sock);
    });
    server.port()
}

#[test]
fn a_certificate_is_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let good = authority.certify(&["localhost"]);
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &good.authority).expect("written");
    let mut expired = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = authority.sign(&expired);
    let stranger = Authority::new().certify(&["localhost"]);
    let elsewhere = authority.certify(&["example.org"]);
    for (certified, variable, says) in [
        (&good, Some("WAIT_TLS_CA_FILE"), None),
        (&good, Some("SSL_CERT_FILE"), None),
        (&good, None, Some("UnknownIssuer")),
        (&stranger, Some("WAIT_TLS_CA_FILE"), Some("BadSignature")),
        (&expired, Some("WAIT_TLS_CA_FILE"), Some("expired")),
        (
            &elsewhere,
            Some("WAIT_TLS_CA_FILE"),
            Some("not valid for name"),
        ),
    ] {
        let port = secure_service(certified);
        let mut check = wait().args(["--check", &format!("https://localhost:{port}/")]);
        if let Some(variable) = variable {
            check = check.var(variable, &file);
        }
        let outcome = check.run();
        match says {
            None => outcome.exits(0),
            Some(says) => outcome.exits(1).says(&["tls_failed: ", says]),
        };
    }
    // A file that is not what we read is no reason not to start.
    let port = secure_service(&good);
    let outcome = wait()
        .var("SSL_CERT_FILE", "/no/such/file")
        .var("WAIT_TLS_CA_FILE", &file)
        .args(["--for", &format!("https://localhost:{port}/")])
        .run();
    outcome.exits(0).says(&["warning: SSL_CERT_FILE: "]);
}

#[test]
fn a_self_signed_certificate_is_trusted_where_it_is_named_and_no_further() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    // With CA:TRUE, with CA:FALSE, and without either.
    for is_ca in [
        IsCa::Ca(BasicConstraints::Unconstrained),
        IsCa::ExplicitNoCa,
        IsCa::NoCa,
    ] {
        let for_name = |name: &str| {
            let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            params.is_ca = is_ca;
            params
        };
        let good = self_signed(&for_name("localhost"));
        let mut expired = for_name("localhost");
        expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let expired = self_signed(&expired);
        let elsewhere = self_signed(&for_name("example.org"));
        let stranger = self_signed(&for_name("localhost"));
        for (certified, named, says) in [
            (&good, Some(&good), None),
            (&good, None, Some("tls_failed: ")),
            (&good, Some(&stranger), Some("tls_failed: ")),
            (&expired, Some(&expired), Some("expired")),
            (&elsewhere, Some(&elsewhere), Some("not valid for name")),
        ] {
            let port = secure_service(certified);
            let mut check = wait().args(["--check", &format!("https://localhost:{port}/")]);
            if let Some(named) = named {
                std::fs::write(&file, &named.certificate).expect("written");
                check = check.var("WAIT_TLS_CA_FILE", &file);
            }
            let outcome = check.run();
            match says {
                None => outcome.exits(0),
                Some(says) => outcome.exits(1).says(&["tls_failed: ", says]),
            };
        }
    }
}

#[test]
fn the_first_line_of_a_failed_health_page_is_shown() {
    let page = |body: &str| {
        let length = body.len();
        format!("HTTP/1.1 503 Oh\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let long = "x".repeat(10_000);
    let cut = format!(": {}\u{2026}; ", "x".repeat(200));
    for (body, shown) in [
        ("", "the response is 503 Service Unavailable; "),
        (
            "{\"db\":\"down\"}\nthe second line",
            ": {\"db\":\"down\"}; ",
        ),
        ("\r\n  \r\n  db: down  \r\nthe second line", ": db: down; "),
        ("\x1b[31mdown\x07", ": \\u{1b}[31mdown\\u{7}; "),
        (&long, &cut),
    ] {
        let (port, _requests) = service(page(body));
        let outcome = check(&format!("http://127.0.0.1:{port}/health"));
        outcome
            .exits(1)
            .says(&["http_status: the response is 503", shown]);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert!(!outcome.stderr.contains("second"), "{outcome:?}");
    }
    // The wait shows it too.
    let (port, _requests) = service(page("db: down"));
    let outcome = wait()
        .args([&format!("--for=http://127.0.0.1:{port}/"), "--timeout=0"])
        .run();
    outcome
        .exits(1)
        .says(&["http_status: the response is 503", ": db: down; "]);
}

#[test]
fn secret_parts_of_a_request_that_a_page_shows_are_not_printed() {
    let (port, _requests) = answering(|request| {
        let length = request.len();
        let request = request.replace("\r\n", " ");
        format!("HTTP/1.1 404 No\r\nContent-Length: {length}\r\n\r\nno {request}").into()
    });
    for target in [
        "app:s3cret@127.0.0.1:{}/",
        "127.0.0.1:{}/?token=s3cret%21&x=1",
    ] {
        let target = format!("http://{}", target.replace("{}", &port.to_string()));
        let outcome = check(&target);
        outcome
            .exits(1)
            .says(&["http_status: the response is 404 Not Found; "]);
        for part in ["s3cret", "YXBwOnMzY3JldA"] {
            assert!(!outcome.stderr.contains(part), "{outcome:?}");
        }
    }
    let outcome = check(&format!("http://127.0.0.1:{port}/health"));
    outcome
        .exits(1)
        .says(&["404 Not Found: no GET /health HTTP/1.1"]);
}
