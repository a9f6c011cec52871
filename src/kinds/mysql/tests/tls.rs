//! TLS that cannot be agreed on, certificates of every sort, and logins that depend on them.

use std::net::Ipv4Addr;

use rcgen::{CertificateParams, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// A fatal alert: the server takes none of the suites.
const HANDSHAKE_FAILURE: &[u8] = b"\x15\x03\x03\0\x02\x02\x28";

impl Server {
    /// Offers TLS, and refuses it.
    async fn offer_tls_in_vain(&mut self) {
        self.offer_tls().await;
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).await.expect("a hello");
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let mut hello = vec![0; length];
        self.stream.read_exact(&mut hello).await.expect("a hello");
        self.send_raw(HANDSHAKE_FAILURE).await;
        assert_eq!(self.receive().await, None, "it goes on");
    }

    /// Offers TLS and takes a login in clear.
    async fn offer_tls_and_let_in(&mut self) {
        let offer = greeting(NATIVE, CapabilityFlags::CLIENT_SSL);
        self.send(0, &offer).await;
        let login = self.receive().await.expect("a login");
        assert!(login.len() > 32, "a request for TLS");
        self.send(2, &ok()).await;
        self.answer_ping().await;
        self.expect_the_end().await;
    }

    /// Offers TLS and makes it.
    async fn secure(mut self, how: &TlsAcceptor) -> std::io::Result<Server<TlsStream<DuplexStream>>> {
        self.offer_tls().await;
        let stream = how.accept(self.stream).await?;
        Ok(Server { stream, chunk: 999 })
    }
}

#[tokio::test]
async fn preferred_tls_that_cannot_be_agreed_on_is_done_without() {
    for (route, is_warned) in [(Route::Private, false), (Route::Public, true)] {
        let target = target(TARGET, None);
        let first = over_several(route, &target, Stop::default(), async |[mut a, mut b]| {
            a.offer_tls_in_vain().await;
            b.offer_tls_and_let_in().await;
        });
        let (result, warning) = first.await;
        assert_eq!((result, warning.is_some()), (Ok(()), is_warned));
        // From now on it is known.
        let second = over_several(route, &target, Stop::default(), async |[mut only]| {
            only.offer_tls_and_let_in().await;
        });
        let (result, warning) = second.await;
        assert_eq!((result, warning.is_some()), (Ok(()), is_warned));
    }
}

#[tokio::test]
async fn where_tls_is_preferred_here_and_required_there_it_is_tried_again() {
    let target = target(TARGET, None);
    for _ in 0..2 {
        let attempt = over_several(
            Route::Private,
            &target,
            Stop::default(),
            async |[mut first, mut second]| {
                first.offer_tls_in_vain().await;
                let offer = greeting(NATIVE, CapabilityFlags::CLIENT_SSL);
                second.send(0, &offer).await;
                second.receive().await.expect("a login");
                second.send(2, &error(3159, "#HY000Insecure")).await;
            },
        );
        refused(attempt.await.0, &TLS_FAILED, "no TLS version or cipher suite");
    }
    // If the account requires it, the server only denies the login.
    let denied = async |[mut first, mut second]: [Server; 2]| {
        first.offer_tls_in_vain().await;
        second.greet(NATIVE).await;
        second.receive().await.expect("a login");
        second.send(2, &error(1045, "#28000Access denied")).await;
    };
    let attempt = over_several(Route::Private, &target, Stop::default(), denied);
    let detail = "Access denied, without TLS: the server has no TLS version or cipher suite";
    refused(attempt.await.0, &ACCESS_DENIED, detail);
    // The server may have changed since.
    let require = async |[mut only]: [Server; 1]| {
        only.greet(NATIVE).await;
        only.receive().await.expect("a login");
        only.send(2, &error(3159, "#HY000Insecure")).await;
    };
    let attempt = over_several(Route::Private, &target, Stop::default(), require);
    refused(attempt.await.0, &TLS_FAILED, "no TLS version or cipher suite");
    let attempt = over_several(Route::Private, &target, Stop::default(), denied);
    refused(attempt.await.0, &ACCESS_DENIED, detail);
}

#[tokio::test]
async fn required_tls_that_cannot_be_agreed_on_names_the_cause_and_the_setting() {
    for mode in ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"] {
        let target = target(&format!("{TARGET}?ssl-mode={mode}"), None);
        let attempt = over_several(
            Route::Private,
            &target,
            Stop::default(),
            async |[mut first, second]| {
                first.offer_tls_in_vain().await;
                drop(second); // not used
            },
        );
        let why = attempt.await.0.expect_err("no TLS");
        assert_eq!(why.reason, NOTHING_IN_COMMON, "{why:?}");
        assert_eq!(why.reason.retry, Retry::Rarely);
        for part in ["ECDHE", "ssl-mode=PREFERRED"] {
            assert!(why.reason.hint.contains(part), "{why:?}");
        }
        assert!(why.detail.contains("(received fatal alert: HandshakeFailure)"), "{why}");
    }
}

/// A certificate and its key, in PEM format.
struct Made {
    certificate: String,
    key: String,
}

fn make(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "db");
    params.subject_alt_names = vec![name("db")];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Made {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

fn name(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a name"))
}

/// A server with a certificate, which demands one of this authority from its clients.
fn acceptor(made: &Made, demanded: Option<&str>) -> TlsAcceptor {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).expect("a key");
    let provider = Arc::new(default_provider());
    let key = provider.key_provider.load_private_key(key).expect("a key");
    let certified = CertifiedKey::new(vec![der(&made.certificate)], key);
    let verifier = match demanded {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(authority)).expect("an authority");
            let (roots, provider) = (Arc::new(roots), Arc::clone(&provider));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            verifier.build().expect("a verifier")
        }
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Always(Arc::new(certified))));
    Arc::new(config).into()
}

/// A certificate of version 1, as `openssl x509 -req` makes it without extensions, and its key.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBFjCBvQIUNIYK+5FJkYsDz/RP7xUdXJT9Zs8wCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCZGIwIBcNMjYxMTI2MTQ0MjA4WhgPMjEyNjExMDIxNDQyMDhaMA0xCzAJ
BgNVBAMMAmRiMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGQaP3yt2789Wlcrp
xaM+BQKdV2wI97DWM8juBeKAhjoWCdsK3FYSPE88HPXGiZAwg6hgf85p/tqOLSqQ
aLA2XzAKBggqhkjOPQQDAgNIADBFAiBaFLgQuqfu/JMLH0WhOmso/hD5+jzs+jTa
VpVvriiuYQIhAOBnOMqpxlAaWaLxcKeeI5SJM+jJ0e5Lkl61VN9qY88C
-----END CERTIFICATE-----
";
const ITS_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+DGmZ0rAXSQUbwyb
EM3t5W4wJz6FoKBCW319bpQambahRANCAAQZBo/fK3bvz1aVyunFoz4FAp1XbAj3
sNYzyO4F4oCGOhYJ2wrcVhI8Tzwc9caJkDCDqGB/zmn+2o4tKpBosDZf
-----END PRIVATE KEY-----
";

#[tokio::test]
async fn certificates_that_are_not_taken_are_explained() {
    let good = make(|_| {});
    let version_1 = Made {
        certificate: VERSION_1.to_owned(),
        key: ITS_KEY.to_owned(),
    };
    let common_name_alone = make(|params| params.subject_alt_names.clear());
    let elsewhere = make(|params| {
        let long = ["label-of-twenty-ones"; 8].join(".");
        params.subject_alt_names = (0..100).map(|n| name(&format!("h{n}.{long}"))).collect();
    });
    let of_an_address = make(|params| {
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
    });
    let old = make(|params| {
        params.not_before = date_time_ymd(1999, 1, 1);
        params.not_after = date_time_ymd(2000, 1, 1);
    });
    let early = make(|params| params.not_before = date_time_ymd(2999, 1, 1));
    let authority = make(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let of_that_name = make(|_| {});
    let another = make(|params| {
        params.distinguished_name.push(DnType::CommonName, "another");
    });
    for (made, trusted, mode, detail, hint) in [
        (&good, &good, "VERIFY_IDENTITY", "", ""),
        (&common_name_alone, &common_name_alone, "VERIFY_CA", "", ""),
        (&elsewhere, &elsewhere, "VERIFY_CA", "", ""),
        (&version_1, &version_1, "VERIFY_CA", "of version 1", "openssl x509"),
        (&version_1, &version_1, "VERIFY_IDENTITY", "of version 1", "version 3"),
        (
            &common_name_alone,
            &common_name_alone,
            "VERIFY_IDENTITY",
            "not valid for name db: it has no subjectAltName",
            "subjectAltName=DNS:",
        ),
        (
            &elsewhere,
            &elsewhere,
            "VERIFY_IDENTITY",
            "not valid for name db, but for DnsName(\"h0.label",
            "make a certificate with this one",
        ),
        (
            &of_an_address,
            &of_an_address,
            "VERIFY_IDENTITY",
            "not valid for name db, but for IpAddress(127.0.0.1)",
            "use a name",
        ),
        (&old, &old, "VERIFY_CA", "has expired, 9", "clock"),
        (&early, &early, "VERIFY_CA", "not valid yet", "clock"),
        (
            &good,
            &of_that_name,
            "VERIFY_CA",
            "another authority than the trusted one of that name",
            "WAIT_TLS_CA_FILE",
        ),
        (&good, &another, "VERIFY_CA", "UnknownIssuer", "WAIT_TLS_CA_FILE"),
        (&authority, &another, "VERIFY_CA", "", "WAIT_TLS_CA_FILE"),
    ] {
        let text = format!("app-user:secret@db/shop?ssl-mode={mode}#ca-file=/ca.pem");
        let files = [("/ca.pem", &*trusted.certificate)];
        let target = try_target(&text, &[], &files).expect("a target");
        let attempt = by_route(Route::Private, &target, 999, async |server| {
            let mut server = server.secure(&acceptor(made, None)).await.expect("TLS");
            let login = server.receive().await.expect("a login");
            let is_ours = login.windows(8).any(|window| window == b"app-user");
            assert_eq!(is_ours, hint.is_empty(), "{mode}: {detail}");
            server.send(3, &error(1045, "#28000Access denied")).await;
            assert_eq!(server.receive().await, None, "it goes on");
        });
        let why = attempt.await.0.expect_err("denied");
        if hint.is_empty() {
            assert!(why.is(&ACCESS_DENIED), "{why}");
            continue;
        }
        assert!(why.is(&TLS_FAILED) && why.detail.contains(detail), "{why}");
        assert!(why.reason.hint.contains(hint), "{why:?}");
        assert!(why.detail.len() < 350, "{why}");
    }
}

/// mysql2 takes them so.
#[tokio::test]
async fn authorities_may_stand_in_the_options_of_node() {
    let (good, another) = (make(|_| {}), make(|_| {}));
    for (trusted, is_trusted) in [(&good, true), (&another, false)] {
        let pem = trusted.certificate.replace('\r', "").replace('\n', "\\n");
        let ssl = format!("{{\"ca\": \"{pem}\", \"rejectUnauthorized\": true}}");
        let ssl = percent_encoding::utf8_percent_encode(&ssl, percent_encoding::NON_ALPHANUMERIC);
        let target = try_target(&format!("app:secret@db/shop?ssl={ssl}"), &[], &[]);
        let target = target.expect("a target");
        let attempt = by_route(Route::Private, &target, 999, async |server| {
            let mut server = server.secure(&acceptor(&good, None)).await.expect("TLS");
            server.receive().await.expect("a login");
            server.send(3, &error(1045, "#28000Access denied")).await;
        });
        let why = attempt.await.0.expect_err("denied");
        assert_eq!(why.is(&ACCESS_DENIED), is_trusted, "{why}");
        assert_eq!(why.is(&TLS_FAILED), !is_trusted, "{why}");
    }
    for (parameter, expected) in [
        (
            "ssl={\"ca\":\"-----BEGIN\"}",
            "expected ca of ssl to hold certificates in PEM format",
        ),
        (
            "sslca=/rubbish",
            "expected sslca to hold certificates in PEM format",
        ),
        (
            "ssl-ca=/none",
            "expected ssl-ca to be readable: entity not found",
        ),
    ] {
        let text = format!("app:secret@db/shop?{parameter}");
        let expected_of = try_target(&text, &[], &[("/rubbish", "x")]).expect_err(parameter);
        assert_eq!(expected_of.to_string(), expected);
    }
}

/// A server's key of a kind that is not supported here. Its signatures are nonsense, which is not noticed
/// where nothing is verified.
#[derive(Debug)]
struct OddKey(SignatureScheme);

impl SigningKey for OddKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_offered = offered.contains(&self.0);
        is_offered.then(|| Box::new(Self(self.0)) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0 {
            SignatureScheme::ED448 => SignatureAlgorithm::ED448,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

impl Signer for OddKey {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![7; 100])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let scheme = self.0.key.choose_scheme(hello.signature_schemes());
        scheme.map(|_| Arc::clone(&self.0))
    }
}

#[tokio::test]
async fn keys_of_every_kind_are_taken_where_nothing_is_verified() {
    for scheme in [
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::ED448,
    ] {
        let key = CertifiedKey::new(vec![CertificateDer::from(vec![0x30])], Arc::new(OddKey(scheme)));
        let config = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(Arc::new(key))));
        let acceptor: TlsAcceptor = Arc::new(config).into();
        let text = format!("{TARGET}?ssl-mode=REQUIRED");
        let result = against(&text, None, 999, async |server| {
            let mut server = server.secure(&acceptor).await.expect("TLS");
            server.receive().await.expect("a login");
            server.send(3, &ok()).await;
            server.answer_ping().await;
            server.expect_the_end().await;
        });
        assert_eq!(result.await, Ok(()), "{scheme:?}");
        let text = format!("{TARGET}?ssl-mode=VERIFY_CA");
        let result = against(&text, None, 999, async |server| {
            server.secure(&acceptor).await.expect_err("it is no use");
        });
        let why = result.await.expect_err("no TLS");
        assert!(why.is(&TLS_FAILED), "{why}");
    }
}

#[tokio::test]
async fn a_password_in_clear_goes_over_tls_that_is_verified_where_the_target_allows_it() {
    let good = make(|_| {});
    let another = make(|_| {});
    for (options, trusted, is_sent) in [
        ("?ssl-mode=VERIFY_IDENTITY#ca-file=/ca.pem&cleartext", &good, true),
        ("?ssl-mode=VERIFY_CA#ca-file=/ca.pem&cleartext", &good, true),
        ("?ssl-mode=VERIFY_IDENTITY#ca-file=/ca.pem", &good, false),
        ("?ssl-mode=REQUIRED#cleartext", &good, false),
        ("?ssl-mode=PREFERRED#cleartext", &good, false),
        ("?ssl-mode=VERIFY_CA#ca-file=/ca.pem&cleartext", &another, false),
    ] {
        for is_first in [true, false] {
            let text = format!("app:secret@db/shop{options}");
            let files = [("/ca.pem", &*trusted.certificate)];
            let target = try_target(&text, &[], &files).expect("a target");
            let attempt = by_route(Route::Private, &target, 999, async |mut server| {
                let plugin = match is_first {
                    true => "mysql_clear_password",
                    false => NATIVE,
                };
                let offer = greeting(plugin, CapabilityFlags::CLIENT_SSL);
                server.send(0, &offer).await;
                server.receive().await.expect("a request for TLS");
                let acceptor = acceptor(&good, None);
                let stream = acceptor.accept(server.stream).await.expect("TLS");
                let mut server = Server { stream, chunk: 999 };
                let mut heard = server.receive().await.expect("a login");
                if !is_first {
                    let switch = [&[EOF], &b"mysql_clear_password\0"[..]].concat();
                    server.send(3, &switch).await;
                    heard = server.receive().await.expect("an answer");
                }
                let is_heard = heard.windows(7).any(|window| window == b"secret\0");
                assert_eq!(is_heard, is_sent, "{options}");
                server.send(5, &error(1045, "#28000Access denied")).await;
            });
            attempt.await.0.expect_err("denied");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_given_where_it_is_demanded() {
    let of_server = make(|params| {
        params.distinguished_name.push(DnType::CommonName, "another");
    });
    let ours = make(|_| {});
    let files = [
        ("/ours.pem", &*ours.certificate),
        ("/key.pem", &*ours.key),
    ];
    let by_variable = [
        ("WAIT_TLS_CERT_FILE", "/ours.pem"),
        ("WAIT_TLS_KEY_FILE", "/key.pem"),
    ];
    let required = "app:secret@db/shop?ssl-mode=REQUIRED";
    let by_option = format!("{required}#cert-file=/ours.pem&key-file=/key.pem");
    for (text, variables, authority, detail) in [
        (&*by_option, &[][..], &ours, None),
        (required, &by_variable, &ours, None),
        (required, &[], &ours, Some("requires a client certificate")),
        (&by_option, &[], &of_server, Some("does not accept the client certificate")),
    ] {
        let target = try_target(text, variables, &files).expect("a target");
        let attempt = by_route(Route::Private, &target, 999, async |server| {
            let acceptor = acceptor(&of_server, Some(&authority.certificate));
            let Ok(mut server) = server.secure(&acceptor).await else {
                return;
            };
            server.receive().await.expect("a login");
            server.send(3, &ok()).await;
            server.answer_ping().await;
            server.expect_the_end().await;
        });
        match detail {
            None => assert_eq!(attempt.await.0, Ok(())),
            Some(detail) => {
                let result = attempt.await.0;
                let why = result.clone().expect_err("not accepted");
                assert!(why.reason.hint.contains("WAIT_TLS_CERT_FILE"), "{why:?}");
                refused(result, &TLS_FAILED, detail);
            }
        }
    }
    for (options, variables, expected) in [
        ("#key-file=/key.pem", &[][..], "both cert-file and key-file"),
        ("#cert-file=/ours.pem", &[], "both cert-file and key-file"),
        ("", &by_variable[..1], "both cert-file and key-file"),
        ("", &by_variable[1..], "both cert-file and key-file"),
        ("#cert-file=/key.pem&key-file=/key.pem", &[], "in PEM format"),
        ("#cert-file=/ours.pem&key-file=/ours.pem", &[], "in PEM format"),
        ("#cert-file=/none&key-file=/key.pem", &[], "cert-file to be readable"),
    ] {
        let text = format!("{required}{options}");
        let error = try_target(&text, variables, &files).expect_err("a mistake");
        assert!(error.to_string().contains(expected), "{options}: {error}");
    }
}
