//! Web services, healthy and not, as targets and as `--check`.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

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
        (
            "",
            "the response is 503 Service Unavailable; the service's own log may have the cause",
        ),
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

/// One attempt at a target with these options.
fn once(port: u16, options: &str) -> Outcome {
    let target = format!("http://127.0.0.1:{port}/health#{options}");
    wait()
        .args(["--timeout=0", "--connect-timeout=2", "--for", &target])
        .run()
}

#[test]
fn the_login_may_come_from_options() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    let (port, requests) = answering(|request| {
        let status = match request.contains("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") {
            true => "200 OK",
            false => "401 Unauthorized",
        };
        let body = request.replace("\r\n", " ");
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into()
    });
    let options = format!("user=Aladdin&password-file={}", file.display());
    once(port, &options).exits(1).says(&["missing: "]);
    assert!(requests.try_recv().is_err(), "a request without a password");
    std::fs::write(&file, "open sesame\n").expect("written");
    once(port, &options).exits(0);
    std::fs::write(&file, "0pen sesame").expect("written");
    let outcome = once(port, &options);
    let source = format!("which is from the file {}", file.display());
    outcome.exits(1).says(&[
        "the response is 401 Unauthorized; check the user and the password, ",
        &source,
    ]);
    assert!(!outcome.stderr.contains("QWxhZGRpbj"), "{outcome:?}");
    let target = format!("http://Aladdin@127.0.0.1:{port}/#password-env=LAMP");
    let by_variable = |word| {
        wait()
            .args(["--timeout=0", "--for", &target])
            .var("LAMP", word)
            .run()
    };
    by_variable("open sesame").exits(0);
    by_variable("other").exits(1);
}

/// A response with a body of these chunks.
fn chunked(chunks: &[&str]) -> String {
    let chunk = |chunk: &&str| format!("{:x}\r\n{chunk}\r\n", chunk.len());
    let chunks: String = chunks.iter().map(chunk).collect();
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

#[test]
fn the_statuses_of_the_target_are_ready_and_no_others() {
    for (options, line, says) in [
        ("status=200-299", "204 No Content", None),
        ("status=404", "404 Not Found", None),
        ("status=200&status=401-403", "403 Forbidden", None),
        ("status=200&status=401-403", "200 OK", None),
        (
            "status=200&status=401-403",
            "204 No Content",
            Some("http_status: the response is 204 No Content, not 200 or 401-403; "),
        ),
        (
            "status=200-299",
            "302 Found",
            Some("http_status: the response is 302 Found, not 200-299: ok; "),
        ),
        (
            "",
            "404 Not Found",
            Some("http_status: the response is 404 Not Found: ok; "),
        ),
    ] {
        let (port, _requests) = service(status(line));
        let outcome = once(port, options);
        match says {
            None => outcome.exits(0),
            Some(says) => outcome.exits(1).says(&[says]),
        };
    }
}

#[test]
fn a_page_has_to_contain_the_text() {
    let late = format!("{}DB IS \u{fc}p", "x".repeat(300_000));
    let length = late.len();
    let late = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{late}");
    let found = "contains=DB is up";
    let missing = Some("not_serving: the page does not contain the text");
    for (options, answer, says) in [
        (found, chunked(&["the DB is up."]), None),
        (found, chunked(&["the D", "B is ", "u", "p."]), None),
        (found, chunked(&["DB is DB is up"]), None),
        (found, "HTTP/1.0 200 OK\r\n\r\nDB is up".to_owned(), None),
        ("contains=DB IS %C3%BCp", late.clone(), None),
        ("contains=a%26b%25", chunked(&["a&b", "%"]), None),
        ("contains=ok&status=503", status("503 Oh"), None),
        (
            found,
            chunked(&["DB is", " down"]),
            Some("does not contain the text: DB is down; is this the"),
        ),
        (found, chunked(&[]), missing),
        (found, late, missing),
        (found, status("204 No Content"), missing),
        (
            found,
            status("503 Oh"),
            Some("http_status: the response is 503"),
        ),
        (
            found,
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nDB is".to_owned(),
            Some("closed: the server closed the connection while reading the page"),
        ),
    ] {
        let (port, _requests) = service(&*answer);
        let outcome = once(port, options);
        match says {
            None => outcome.exits(0),
            Some(says) => outcome.exits(1).says(&[says]),
        };
    }
}

#[test]
fn a_text_in_a_page_without_end_is_found_and_otherwise_not_looked_for_without_end() {
    for (text, says) in [("needle", None), ("needles", Some("not_serving: "))] {
        let server = serve(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhay need");
            sleep(Duration::from_millis(200));
            let _ = stream.write_all(b"le");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        });
        let outcome = once(server.port(), &format!("contains={text}"));
        match says {
            None => outcome.exits(0),
            Some(says) => outcome.exits(1).says(&[says]),
        };
        outcome.took_from_to(0.19, 5.0);
    }
    // As many pieces as there can be, beside a target that has to be seen in time.
    let pieces = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(&b"1\r\nx\r\n".repeat(1000)).is_ok() {}
    });
    let (healthy, _requests) = service(status("200 OK"));
    let text = "x".repeat(2_000) + "y";
    let outcome = wait()
        .args([
            "--timeout=2",
            "--for",
            &format!("http://{pieces}/#contains={text}"),
        ])
        .args(["--for", &format!("http://127.0.0.1:{healthy}/")])
        .run();
    outcome.exits(1).took_from_to(1.9, 5.0);
    outcome.says(&[&format!(":{healthy}/ is ready after ")]);
    assert!(!outcome.stderr.contains("xxx"), "{outcome:?}");
}

#[test]
fn the_request_has_the_method_and_the_headers_of_the_target() {
    let (port, requests) = service(status("200 OK"));
    let options = "method=post&header=Host: shop.example&header=X-Key: a%26b&header=x-key:c\
                   &header=Accept: text/plain&header=Authorization: Bearer t0ken";
    once(port, options).exits(0);
    let request = requests.recv().expect("a request");
    let lines: Vec<_> = request.lines().collect();
    assert_eq!(lines[0], "POST /health HTTP/1.1");
    for line in [
        "host: shop.example",
        "x-key: a&b",
        "x-key: c",
        "accept: text/plain",
        "authorization: Bearer t0ken",
        "connection: close",
    ] {
        assert!(lines.contains(&line), "{line} is not in {request}");
    }
    for name in ["host: ", "accept: ", "x-key: a"] {
        let number = lines.iter().filter(|line| line.starts_with(name)).count();
        assert_eq!(number, 1, "{name} in {request}");
    }
    // A response to HEAD has no body, whatever its length.
    let (port, requests) = service("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    once(port, "method=HEAD").exits(0);
    assert!(
        requests
            .recv()
            .expect("a request")
            .starts_with("HEAD /health ")
    );
}

#[test]
fn values_of_headers_are_not_printed() {
    let (port, _requests) = answering(|request| {
        let request = request.replace("\r\n", " ");
        let length = request.len();
        format!("HTTP/1.1 401 No\r\nContent-Length: {length}\r\n\r\n{request}").into()
    });
    for (header, parts) in [
        ("X-Key: t0ps3cret", &["t0ps3cret"][..]),
        ("Authorization: Bearer t0ps3cret", &["t0ps3cret"]),
        ("Cookie: a=b; session=t0ps3cret", &["t0ps3cret"]),
        ("x: q7", &["q7"]),
    ] {
        let target = format!("http://127.0.0.1:{port}/#header={header}");
        let traced = wait()
            .args(["--timeout=0", "--log-level=trace", "--for", &target])
            .run();
        traced
            .exits(1)
            .says(&["the response is 401 Unauthorized; "]);
        let dry = wait().args(["--dry-run", "--for", &target]).run();
        dry.exits(0);
        let name = header
            .split(':')
            .next()
            .expect("a name")
            .to_ascii_lowercase();
        assert!(
            dry.stdout.contains(&format!("headers: {name}\n")),
            "{dry:?}"
        );
        for part in parts {
            for outcome in [&traced, &dry] {
                assert!(!format!("{outcome:?}").contains(part), "{outcome:?}");
            }
        }
    }
}

#[test]
fn a_malformed_option_is_one_line() {
    let status = "expected status to be like 204 or 200-299";
    let header = "expected header=NAME: VALUE";
    let own = "expected a header that is not about the connection or a body";
    for (options, says) in [
        ("status=", status),
        ("status=ok", status),
        ("status=299-200", status),
        ("status=200&status=2000", status),
        ("contains=", "expected contains=TEXT"),
        (
            "contains=x&method=HEAD",
            "expected contains without method=HEAD",
        ),
        ("header=t0ps3cret", header),
        ("header=a b: t0ps3cret", header),
        ("header=x: t0ps3cret%0d%0ay: z", header),
        ("header=Transfer-Encoding: t0ps3cret", own),
        (
            "method=a b",
            "expected method to be GET, HEAD, POST or another one",
        ),
        (
            "method=CONNECT",
            "expected method to be GET, HEAD, POST or another one",
        ),
        (
            "tls=prefer",
            "expected tls to be off, require, verify-ca or verify-full",
        ),
        ("tls=maybe", "expected tls to be "),
        (
            "state=200",
            "an unknown option after '#': expected status, contains, ",
        ),
    ] {
        for scheme in ["http", "https"] {
            let target = format!("{scheme}://web/#{options}");
            let outcome = wait().args(["--for", &target]).run();
            outcome.exits(2).says(&["wait: error: --for: ", says]);
            assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
            assert!(!outcome.stderr.contains("t0ps3cret"), "{outcome:?}");
        }
    }
}

#[test]
fn tls_is_as_strict_as_the_target_asks_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = Authority::new().certify(&["localhost"]);
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &good.authority).expect("written");
    let ca = format!("ca-file={}", file.display());
    let port = secure_service(&good);
    for (scheme, host, options, says) in [
        ("https", "localhost", "tls=require", None),
        ("https", "127.0.0.1", "tls=require", None),
        ("http", "localhost", "tls=require", None),
        ("https", "127.0.0.1", &*format!("tls=verify-ca&{ca}"), None),
        ("http", "localhost", &*format!("tls=verify-full&{ca}"), None),
        ("https", "localhost", "tls=verify-ca", Some("tls_failed: ")),
        (
            "https",
            "127.0.0.1",
            &*format!("tls=verify-full&{ca}"),
            Some("tls_failed: "),
        ),
        ("https", "localhost", "tls=off", Some("protocol: ")),
        ("http", "localhost", "", Some("protocol: ")),
    ] {
        let target = format!("{scheme}://{host}:{port}/#{options}");
        let outcome = wait()
            .args(["--timeout=0", "--connect-timeout=2", "--for", &target])
            .run();
        match says {
            None => outcome.exits(0),
            Some(says) => outcome.exits(1).says(&[says]),
        };
    }
}

/// A service that is busy, and asks to come back; the times of its requests.
fn busy(retry_after: &'static str) -> (u16, mpsc::Receiver<Instant>) {
    let (times, received) = mpsc::channel();
    let (port, _requests) = answering(move |_| {
        times.send(Instant::now()).expect("received");
        let line = "HTTP/1.1 503 Busy\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\n";
        format!("{line}Retry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n").into()
    });
    (port, received)
}

#[test]
fn a_service_is_asked_again_when_it_wants_to_be() {
    for retry_after in ["1", "Thu, 26 Nov 2026 12:00:01 GMT"] {
        let (port, times) = busy(retry_after);
        let target = format!("http://127.0.0.1:{port}/");
        let outcome = wait().args(["--timeout=2.8s", "--for", &target]).run();
        outcome.exits(1).took_from_to(2.7, 6.0);
        outcome.says(&["http_status: the response is 503", "and 4 attempts"]);
        let times: Vec<_> = times.try_iter().collect();
        for at in [1, 2] {
            assert!(
                times[at] - times[at - 1] >= Duration::from_secs(1),
                "{times:?}"
            );
        }
    }
}

#[test]
fn a_service_that_wants_to_be_asked_after_the_deadline_is_asked_once_before_it() {
    for retry_after in ["60", "Fri, 27 Nov 2026 12:00:00 GMT", "4000000000"] {
        let (port, times) = busy(retry_after);
        let target = format!("http://127.0.0.1:{port}/");
        let outcome = wait().args(["--timeout=2", "--for", &target]).run();
        outcome.exits(1).took_from_to(1.9, 5.0);
        outcome.says(&["http_status: the response is 503", "and 2 attempts"]);
        let times: Vec<_> = times.try_iter().collect();
        assert!(times[1] - times[0] >= Duration::from_secs(1), "{times:?}");
    }
    // An interval that the user gives is exactly that.
    let (port, _times) = busy("60");
    let target = format!("http://127.0.0.1:{port}/");
    let outcome = wait()
        .args(["--timeout=1", "--interval=200ms", "--for", &target])
        .run();
    outcome.exits(1);
    assert!(!outcome.stderr.contains("and 2 attempts"), "{outcome:?}");
}

#[test]
fn a_proxy_is_never_used() {
    let (port, requests) = service(status("200 OK"));
    let (proxy, asked) = service(status("502 Bad Gateway"));
    let mut wait = wait().args([
        "--timeout=0",
        "--for",
        &format!("http://127.0.0.1:{port}/health"),
    ]);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        wait = wait.var(name, format!("http://127.0.0.1:{proxy}"));
    }
    wait.run().exits(0);
    let request = requests.recv().expect("a request");
    assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
    assert!(asked.try_recv().is_err(), "the proxy has been asked");
}
