//! Servers that get TLS wrong, in every way there is.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::fixtures::http;
use crate::fixtures::mysql::{offering, preferring};
use crate::fixtures::ports::{answer, drip, listen_to, serve};
use crate::fixtures::tls::{
    Authority, Secured, beginning, demanding, old_hello, secure, secured, tls,
};

pub(super) fn be_healthy(mut stream: Secured) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(http::OK);
    listen_to(stream.sock);
}

#[test]
fn tls_that_is_not_as_it_should_be() {
    let authority = Authority::new();
    let good = authority.certify(&["127.0.0.1"]);
    let mut early = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    early.not_before = date_time_ymd(2999, 1, 1);
    let early = tls(&authority.sign(&early));
    let tls = tls(&good);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &good.authority).expect("written");

    let is = |address: SocketAddr, reason: &str, detail: &str| {
        let wait = waiting_for(format!("https://{address}")).var("WAIT_TLS_CA_FILE", &file);
        gives_up_as(&wait.run(), reason, detail);
    };
    let of_mysql = |address: SocketAddr, reason: &str, detail: &str| {
        let wait = waiting_for(format!("mysql://app:secret@{address}?ssl-mode=REQUIRED"));
        gives_up_as(&wait.run(), reason, detail);
    };
    let starting = "while starting TLS";
    let waiting = "while waiting for the response";
    side_by_side(&[
        ("it is well", &|| {
            let target = format!("https://{}", secured(&tls, be_healthy));
            let wait = waiting_long_for(target).var("WAIT_TLS_CA_FILE", &file);
            starts(&wait.run(), 0.0);
        }),
        ("it is plain text", &|| {
            is(answer(http::OK), "tls_failed", "an answer that is not TLS");
        }),
        ("it refuses", &|| {
            let alert = answer(b"\x15\x03\x03\0\x02\x02\x28");
            is(alert, "tls_failed", "HandshakeFailure");
        }),
        ("it knows old versions alone, and says so", &|| {
            let alert = answer(b"\x15\x03\x01\0\x02\x02\x46");
            is(alert, "tls_failed", "ProtocolVersion");
        }),
        ("it is TLS 1.0", &|| {
            is(old_hello(1), "tls_failed", "incompatible");
        }),
        ("it is TLS 1.1", &|| {
            is(old_hello(2), "tls_failed", "incompatible");
        }),
        ("it is frozen", &|| {
            is(serve(listen_to), "timed_out", starting);
        }),
        ("it closes the connection", &|| {
            is(serve(drop), "closed", starting);
        }),
        ("it closes the connection after its hello", &|| {
            let server = beginning(&tls, |stream, flight| {
                let hello = 5 + usize::from(u16::from_be_bytes([flight[3], flight[4]]));
                let _ = stream.write_all(&flight[..hello]);
            });
            is(server, "closed", starting);
        }),
        (
            "it closes the connection in the middle of a message",
            &|| {
                let server = beginning(&tls, |stream, flight| {
                    let _ = stream.write_all(&flight[..flight.len() - 9]);
                });
                is(server, "closed", starting);
            },
        ),
        ("it drips", &|| {
            let server = beginning(&tls, |stream, flight| {
                drip(stream, flight.iter().copied(), Duration::from_millis(20));
            });
            is(server, "timed_out", starting);
        }),
        ("its certificate is not valid yet", &|| {
            is(secured(&early, be_healthy), "tls_failed", "not valid yet");
        }),
        ("it demands a certificate, in the handshake", &|| {
            let server = secured(&demanding(&good, &TLS12), be_healthy);
            is(server, "tls_failed", "CertificateRequired");
        }),
        ("it demands a certificate, after the handshake", &|| {
            let server = secured(&demanding(&good, &TLS13), be_healthy);
            is(server, "tls_failed", "CertificateRequired");
        }),
        ("inside it is silence", &|| {
            let server = secured(&tls, |mut stream| {
                let _ = stream.read(&mut [0; 4096]);
                listen_to(stream.sock);
            });
            is(server, "timed_out", waiting);
        }),
        ("inside it is garbage", &|| {
            let server = secured(&tls, |mut stream| {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"SSH-2.0-x\r\n\r\n");
                listen_to(stream.sock);
            });
            is(server, "protocol", "not HTTP");
        }),
        ("inside it closes the connection", &|| {
            let server = secured(&tls, |mut stream| {
                let _ = stream.read(&mut [0; 4096]);
            });
            is(server, "closed", waiting);
        }),
        ("MySQL offers it and closes the connection", &|| {
            of_mysql(offering(drop), "closed", starting);
        }),
        ("MySQL offers it and freezes", &|| {
            of_mysql(offering(listen_to), "timed_out", starting);
        }),
        ("MySQL offers it and sends something else", &|| {
            let server = offering(|mut stream| {
                let _ = stream.write_all(b"SSH-2.0-x\r\n");
                listen_to(stream);
            });
            of_mysql(server, "tls_failed", "corrupt message");
        }),
        ("MySQL offers it and refuses", &|| {
            let server = offering(|mut stream| {
                let _ = stream.write_all(b"\x15\x03\x03\0\x02\x02\x28");
                listen_to(stream);
            });
            of_mysql(server, "tls_failed", "HandshakeFailure");
        }),
        ("MySQL offers it and refuses, and need not have it", &|| {
            let (mut requests, mut logins) = (0, 0);
            let (sender, what) = mpsc::channel();
            let server = preferring(sender, |mut stream| {
                let _ = stream.write_all(b"\x15\x03\x03\0\x02\x02\x28");
                listen_to(stream);
            });
            // It takes no login at first, so that there are several attempts.
            starts(
                &waiting_long_for(format!("mysql://app:secret@{server}")).run(),
                0.0,
            );
            for is_request in what.try_iter() {
                match is_request {
                    true => requests += 1,
                    false => logins += 1,
                }
            }
            assert_eq!((requests, logins), (1, 3));
        }),
        ("MySQL offers it and demands a certificate", &|| {
            let config = demanding(&good, &TLS13);
            let server = offering(move |stream| be_healthy(secure(&config, stream)));
            of_mysql(server, "tls_failed", "CertificateRequired");
        }),
    ]);
}
