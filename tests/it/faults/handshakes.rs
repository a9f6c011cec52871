//! Servers that get TLS wrong, in every way there is.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ALL_VERSIONS, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::certificates::{Authority, Certified};

type Secured = StreamOwned<ServerConnection, TcpStream>;

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")
}

/// A server with a certificate, which demands one of its clients too if it has somebody to verify it.
fn server(
    certified: &Certified,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ClientCertVerifier>,
) -> Arc<ServerConfig> {
    let certificates = vec![certificate(&certified.certificate)];
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key);
    Arc::new(config.expect("a configuration"))
}

pub(super) fn tls(certified: &Certified) -> Arc<ServerConfig> {
    server(
        certified,
        ALL_VERSIONS,
        WebPkiClientVerifier::no_client_auth(),
    )
}

fn demanding(
    certified: &Certified,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    let authority = certificate(&certified.authority);
    roots.add(authority).expect("an authority");
    let provider = default_provider().into();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
    server(certified, &[version], verifier.build().expect("a verifier"))
}

fn secure(config: &Arc<ServerConfig>, stream: TcpStream) -> Secured {
    let server = ServerConnection::new(Arc::clone(config)).expect("a connection");
    StreamOwned::new(server, stream)
}

/// Does the handshake and goes on inside.
pub(super) fn secured(
    config: &Arc<ServerConfig>,
    then: impl Fn(Secured) + Clone + Send + 'static,
) -> SocketAddr {
    let config = Arc::clone(config);
    serve(move |stream| then(secure(&config, stream)))
}

pub(super) fn be_well(mut stream: Secured) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(WELL);
    listen_to(stream.sock);
}

/// All that a server says before it hears from the client a second time: its hello, and more.
fn first_flight(config: &Arc<ServerConfig>, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut server = ServerConnection::new(Arc::clone(config)).expect("a connection");
    while !server.wants_write() {
        if server.read_tls(stream)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        server.process_new_packets().map_err(io::Error::other)?;
    }
    let mut flight = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut flight)?;
    }
    Ok(flight)
}

/// Begins the handshake and then does something with what comes next.
fn beginning(
    config: &Arc<ServerConfig>,
    then: impl Fn(&mut TcpStream, &[u8]) + Clone + Send + 'static,
) -> SocketAddr {
    let config = Arc::clone(config);
    serve(move |mut stream| {
        if let Ok(flight) = first_flight(&config, &mut stream) {
            then(&mut stream, &flight);
        }
    })
}

/// A server of MySQL that offers TLS, and does this when it is asked for it.
fn offering(then: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.write_all(&greeting(true));
        let mut request = [0; 36];
        if stream.read_exact(&mut request).is_ok() {
            assert!(request[5] & 0x08 > 0, "TLS is not what it asks for");
            then(stream);
        }
    })
}

#[test]
fn tls_that_is_not_as_it_should_be() {
    let authority = Authority::new();
    let good = authority.certify(&["127.0.0.1"]);
    let mut early = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    early.not_before = date_time_ymd(2999, 1, 1);
    let early = tls(&authority.sign(early));
    let tls = tls(&good);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &good.authority).expect("written");

    let is = |address: SocketAddr, reason: &str, detail: &str| {
        let wait = waiting_for(format!("https://{address}")).var("WAIT_TLS_CA_FILE", &file);
        gives_up_as(&wait.run(), reason, detail);
    };
    let of_mysql = |address: SocketAddr, reason: &str, detail: &str| {
        let wait = waiting_for(format!("mysql://app:secret@{address}"));
        gives_up_as(&wait.run(), reason, detail);
    };
    let starting = "while starting TLS";
    let waiting = "while waiting for the answer";
    side_by_side(&[
        ("it is well", &|| {
            let target = format!("https://{}", secured(&tls, be_well));
            let wait = waiting_long_for(target).var("WAIT_TLS_CA_FILE", &file);
            starts(&wait.run(), 0.0);
        }),
        ("it is plain text", &|| {
            is(answer(WELL), "tls_failed", "corrupt message");
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
            is(old_hello(1), "tls_failed", "incompatible")
        }),
        ("it is TLS 1.1", &|| {
            is(old_hello(2), "tls_failed", "incompatible")
        }),
        ("it is frozen", &|| {
            is(serve(listen_to), "timed_out", starting);
        }),
        ("it hangs up", &|| is(serve(drop), "closed", starting)),
        ("it hangs up after its hello", &|| {
            let server = beginning(&tls, |stream, flight| {
                let hello = 5 + usize::from(u16::from_be_bytes([flight[3], flight[4]]));
                let _ = stream.write_all(&flight[..hello]);
            });
            is(server, "closed", starting);
        }),
        ("it hangs up in the middle of a message", &|| {
            let server = beginning(&tls, |stream, flight| {
                let _ = stream.write_all(&flight[..flight.len() - 9]);
            });
            is(server, "closed", starting);
        }),
        ("it drips", &|| {
            let server = beginning(&tls, |stream, flight| {
                drip(stream, flight.iter().copied(), Duration::from_millis(20));
            });
            is(server, "timed_out", starting);
        }),
        ("its certificate is not valid yet", &|| {
            is(secured(&early, be_well), "tls_failed", "not valid yet");
        }),
        ("it demands a certificate, in the handshake", &|| {
            let server = secured(&demanding(&good, &TLS12), be_well);
            is(server, "tls_failed", "CertificateRequired");
        }),
        ("it demands a certificate, after the handshake", &|| {
            let server = secured(&demanding(&good, &TLS13), be_well);
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
        ("inside it hangs up", &|| {
            let server = secured(&tls, |mut stream| {
                let _ = stream.read(&mut [0; 4096]);
            });
            is(server, "closed", waiting);
        }),
        ("MySQL offers it and hangs up", &|| {
            of_mysql(offering(drop), "closed", starting);
        }),
        ("MySQL offers it and freezes", &|| {
            of_mysql(offering(listen_to), "timed_out", starting);
        }),
        ("MySQL offers it and says something else", &|| {
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
        ("MySQL offers it and demands a certificate", &|| {
            let config = demanding(&good, &TLS13);
            let server = offering(move |stream| be_well(secure(&config, stream)));
            of_mysql(server, "tls_failed", "CertificateRequired");
        }),
    ]);
}

/// Says hello in TLS 1.0 or 1.1.
fn old_hello(version: u8) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let body = [
            &[3, version][..],
            &[7; 32],            // random
            &[0, 0xc0, 0x13, 0], // no session, ECDHE with AES of 128 bits, no compression
        ];
        let body = body.concat();
        let length = body.len() as u8;
        let record = [
            &[0x16, 3, version, 0, length + 4, 2, 0, 0, length],
            &body[..],
        ];
        let _ = stream.write_all(&record.concat());
        listen_to(stream);
    })
}
