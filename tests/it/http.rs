//! Web services, healthy and not, as targets and as `--check`.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Certified, self_signed};
use crate::support::{
    Outcome, best_of_three_beside, open_port, reserved_port, silent_port, speechless_port, wait,
};

/// A server that gives every request the same answer, and what it was asked.
async fn service(answer: impl Into<Vec<u8>>) -> (u16, mpsc::UnboundedReceiver<String>) {
    let (port, listener) = open_port().await;
    let (tell, told) = mpsc::unbounded_channel();
    let answer = answer.into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(respond(stream, answer.clone(), tell.clone()));
        }
    });
    (port, told)
}

async fn respond(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Vec<u8>,
    tell: mpsc::UnboundedSender<String>,
) {
    let mut request = Vec::new();
    // A hello of TLS has no end of lines.
    while !request.ends_with(b"\r\n\r\n") && !request.starts_with(&[0x16]) {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break, // it has left
        }
    }
    let _ = tell.send(String::from_utf8_lossy(&request).into_owned());
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

async fn check(target: &str) -> Outcome {
    wait()
        .args(["--check", target, "--connect-timeout", "1"])
        .run_beside()
        .await
}

#[tokio::test]
async fn a_status_from_200_to_399_is_ready() {
    for line in ["200 OK", "204 No Content", "302 Found", "399 X"] {
        let (port, _told) = service(status(line)).await;
        let outcome = check(&format!("http://127.0.0.1:{port}/")).await;
        outcome.exits(0);
        assert_eq!((&*outcome.stderr, &*outcome.stdout), ("", ""), "{line}");
    }
    let (port, _told) = service("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    check(&format!("http://localhost:{port}")).await.exits(0);
}

#[tokio::test]
async fn a_port_that_is_open_is_well_without_a_word() {
    let (port, _listener) = open_port().await;
    let outcome = check(&format!("127.0.0.1:{port}")).await;
    outcome.exits(0);
    assert_eq!((&*outcome.stderr, &*outcome.stdout), ("", ""));
}

#[tokio::test]
async fn nobody_goes_where_a_redirect_leads() {
    let (elsewhere, listener) = open_port().await;
    for line in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        let to = format!("Location: http://127.0.0.1:{elsewhere}/\r\n");
        let answer = status(line).replace("Connection", &format!("{to}Connection"));
        let (port, _told) = service(answer).await;
        check(&format!("http://127.0.0.1:{port}/")).await.exits(0);
    }
    // Whoever had come would be in the queue.
    let came = timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(came.is_err(), "{came:?}");
}

#[tokio::test]
async fn a_body_without_end_is_not_waited_for() {
    // As fast as it can, and a byte now and then.
    for (piece, pause) in [(4096, Duration::ZERO), (1, Duration::from_millis(10))] {
        let (port, listener) = open_port().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while stream.write_all(&vec![b'x'; piece]).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            }
        });
        let target = format!("http://127.0.0.1:{port}/");
        best_of_three_beside(Duration::from_secs(1), async || {
            let outcome = wait().args(["--check", &target]).run_beside().await;
            outcome.exits(0).took
        })
        .await;
    }
}

#[tokio::test]
async fn the_request_says_who_asks_for_what() {
    let (port, mut told) = service(status("200 OK")).await;
    check(&format!(
        "http://Aladdin:open%20sesame@localhost:{port}/a%20b?c=d#e"
    ))
    .await
    .exits(0);
    let request = told.recv().await.expect("a request");
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

#[tokio::test]
async fn twenty_kinds_of_trouble_are_a_line_and_exit_1() {
    let (refused, _socket) = reserved_port();
    let (silent, _queue) = silent_port().await;
    let speechless = speechless_port().await;
    let mut told = Vec::new(); // kept, so that the servers go on
    let mut serve = async |answer: &[u8]| {
        let (port, receiver) = service(answer).await;
        told.push(receiver);
        format!("http://127.0.0.1:{port}/")
    };
    let endless = [b"HTTP/1.1 200 OK\r\n", &b"x: y\r\n".repeat(100_000)[..]].concat();
    let plain = serve(status("200 OK").as_bytes()).await;
    for (target, says) in [
        (serve(status("100 Continue").as_bytes()).await, "protocol"),
        (
            serve(status("404 Not Found").as_bytes()).await,
            "http_status: the answer is 404 Not Found",
        ),
        (
            serve(status("400 Bad Request").as_bytes()).await,
            "http_status: the answer is 400",
        ),
        (
            serve(status("500 Oh").as_bytes()).await,
            "http_status: the answer is 500",
        ),
        (
            serve(status("503 Service Unavailable").as_bytes()).await,
            "http_status: the answer is 503",
        ),
        (
            serve(status("999 ?").as_bytes()).await,
            "http_status: the answer is 999",
        ),
        (serve(b"").await, "closed"),
        (serve(b"HTTP/1.1 20").await, "closed"),
        (serve(b"SSH-2.0-OpenSSH_9.2\r\n").await, "protocol"),
        (serve(b"\x15\x03\x03\0\x02\x02\x46").await, "protocol"),
        (serve(&endless).await, "protocol"),
        (plain.replace("http", "https"), "tls_failed"),
        (format!("http://127.0.0.1:{refused}/"), "refused"),
        (format!("http://127.0.0.1:{silent}/"), "timed_out"),
        (
            format!("http://127.0.0.1:{speechless}/"),
            "timed_out: no answer for … while waiting for the answer",
        ),
        (
            format!("https://127.0.0.1:{speechless}/"),
            "timed_out: no answer for … while starting TLS",
        ),
        (format!("127.0.0.1:{refused}"), "refused"),
        (format!("mysql://127.0.0.1:{refused}"), "refused"),
        ("/no/such/path".to_owned(), "missing"),
        (
            "http://".to_owned(),
            "--check: http://: expected a host name",
        ),
        ("http://a b/".to_owned(), "--check: http://a b/: "),
        (
            "gopher://localhost".to_owned(),
            "--check: gopher://localhost: expected HOST:PORT",
        ),
        (
            format!("http://localhost:99999/{}", "x".repeat(100_000)),
            "--check: http://localhost:99999/",
        ),
        (
            format!("http://127.0.0.1:{refused}/{}", "x".repeat(100_000)),
            "refused",
        ),
        (String::new(), "--check: expected a target"),
        (
            "env:NOT_SET".to_owned(),
            "--check: env:NOT_SET: expected a variable that is set",
        ),
    ] {
        let outcome = check(&target).await;
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

#[tokio::test]
async fn a_service_is_waited_for_until_it_is_well() {
    let (port, listener) = open_port().await;
    tokio::spawn(async move {
        let (tell, _told) = mpsc::unbounded_channel();
        let start = tokio::time::Instant::now();
        while let Ok((stream, _)) = listener.accept().await {
            let line = match start.elapsed() < Duration::from_millis(500) {
                true => "503 Service Unavailable",
                false => "200 OK",
            };
            respond(stream, status(line).into(), tell.clone()).await;
        }
    });
    let outcome = wait()
        .var("WAIT_HOSTS", format!("http://127.0.0.1:{port}/health"))
        .args(["echo", "started"])
        .run_beside()
        .await;
    outcome.exits(0).says(&["http_status: the answer is 503"]);
    outcome.took_from_to(0.4, 5.0);
    assert_eq!(outcome.stdout, "started\n");
}

/// A service with TLS and this certificate.
async fn secure_service(certified: &Certified) -> u16 {
    let certificates = CertificateDer::pem_slice_iter(certified.certificate.as_bytes());
    let certificates = certificates
        .collect::<Result<_, _>>()
        .expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (port, listener) = open_port().await;
    tokio::spawn(async move {
        let (tell, _told) = mpsc::unbounded_channel();
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                respond(stream, status("200 OK").into(), tell.clone()).await;
            }
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_is_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let good = authority.certify(&["localhost"]);
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &good.authority).expect("written");
    let mut expired = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = authority.sign(expired);
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
        let port = secure_service(certified).await;
        let mut check = wait().args(["--check", &format!("https://localhost:{port}/")]);
        if let Some(variable) = variable {
            check = check.var(variable, &file);
        }
        let outcome = check.run_beside().await;
        match says {
            None => outcome.exits(0),
            Some(says) => outcome.exits(1).says(&["tls_failed: ", says]),
        };
    }
    // A file that is not what we read is no reason not to start.
    let port = secure_service(&good).await;
    let outcome = wait()
        .var("SSL_CERT_FILE", "/no/such/file")
        .var("WAIT_TLS_CA_FILE", &file)
        .args(["--for", &format!("https://localhost:{port}/")])
        .run_beside()
        .await;
    outcome.exits(0).says(&["warning: SSL_CERT_FILE: "]);
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_where_it_is_named_and_no_further() {
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
            let port = secure_service(certified).await;
            let mut check = wait().args(["--check", &format!("https://localhost:{port}/")]);
            if let Some(named) = named {
                std::fs::write(&file, &named.certificate).expect("written");
                check = check.var("WAIT_TLS_CA_FILE", &file);
            }
            let outcome = check.run_beside().await;
            match says {
                None => outcome.exits(0),
                Some(says) => outcome.exits(1).says(&["tls_failed: ", says]),
            };
        }
    }
}
