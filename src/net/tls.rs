//! TLS, with as much verification as the target asks for.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::Stream;
use crate::probe::{Attempt, NotReady, Reason, reason};
use crate::targets::Host;

/// How TLS is to be made.
#[derive(Debug)]
pub struct Tls {
    /// The part of it that is verified.
    pub verification: Verification,
    /// Authorities that are trusted for this target alone.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Our own certificate, for servers that ask for one.
    pub identity: Option<Identity>,
    /// The protocol that the server has to choose (ALPN), if the kind has one.
    pub protocol: Option<&'static [u8]>,
    /// Whether the server may leave that choice open, as old ones do.
    pub is_protocol_optional: bool,
}

/// A client's certificate, with those of the authorities between, and its key.
pub struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From two files in PEM format; `None` where there is no certificate in one or no key in the
    /// other.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Option<Self> {
        Some(Self {
            certificates: certificates_from_pem(certificates)?,
            key: PrivateKeyDer::from_pem_slice(key).ok()?,
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// The certificates of a file in PEM format; `None` where there is none.
pub fn certificates_from_pem(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
}

/// The part of a server's certificate that is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing.
    Nothing,
    /// That a trusted authority has signed it.
    Authority,
    /// That a trusted authority has signed it for this host.
    AuthorityAndName,
}

/// Whether TLS is used, and how strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Off,
    /// Where the server offers it, the certificate not verified.
    Prefer,
    /// Always.
    Require(Verification),
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Self::NAMES.iter();
        let name = names.find(|(_, mode)| mode == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl TlsMode {
    /// All of them, with their names in the option `tls`, from the least strict.
    pub const NAMES: [(&str, Self); 5] = [
        ("off", Self::Off),
        ("prefer", Self::Prefer),
        ("require", Self::Require(Verification::Nothing)),
        ("verify-ca", Self::Require(Verification::Authority)),
        ("verify-full", Self::Require(Verification::AuthorityAndName)),
    ];

    /// The mode of a connection that always has TLS, or never.
    pub fn of(tls: Option<&Tls>) -> Self {
        tls.map_or(Self::Off, |tls| Self::Require(tls.verification))
    }

    /// With a verified certificate, where the scheme means TLS.
    pub fn of_scheme(is_tls: bool) -> Self {
        match is_tls {
            true => Self::Require(Verification::AuthorityAndName),
            false => Self::Off,
        }
    }

    /// Whether it depends on who signed a certificate.
    pub fn is_verified(self) -> bool {
        self.verification() != Verification::Nothing
    }

    /// The part of the certificate that is verified.
    pub fn verification(self) -> Verification {
        match self {
            Self::Off | Self::Prefer => Verification::Nothing,
            Self::Require(verification) => verification,
        }
    }
}

/// A connection with TLS, and whether it may be trusted.
#[derive(Debug)]
pub struct Verdict {
    /// The connection.
    pub stream: Stream,
    /// Why nothing confidential may be sent over it.
    pub distrust: Option<NotReady>,
    /// The server's certificate, which a login may be bound to.
    pub certificate: Option<CertificateDer<'static>>,
}

/// The authorities that certificates are verified against.
#[derive(Debug, Default)]
pub struct Roots {
    /// Certificates besides the built-in ones.
    authorities: Arc<[CertificateDer<'static>]>,
    /// All of them, once they have been needed.
    all: OnceLock<Arc<RootCertStore>>,
}

impl Roots {
    /// These authorities, besides the built-in ones, which are Mozilla's.
    pub fn new(authorities: Vec<CertificateDer<'static>>) -> Self {
        Self {
            authorities: authorities.into(),
            all: OnceLock::new(),
        }
    }

    fn all(&self) -> Arc<RootCertStore> {
        let all = self.all.get_or_init(|| {
            let mut roots = webpki_roots::TLS_SERVER_ROOTS
                .iter()
                .cloned()
                .collect::<RootCertStore>();
            // A certificate that cannot be parsed cannot have signed anything.
            roots.add_parsable_certificates(self.authorities.iter().cloned());
            Arc::new(roots)
        });
        Arc::clone(all)
    }

    /// All of them, and some for one target.
    fn with(&self, own: &[CertificateDer<'static>]) -> Arc<RootCertStore> {
        let mut all = self.all();
        if !own.is_empty() {
            Arc::make_mut(&mut all).add_parsable_certificates(own.iter().cloned());
        }
        all
    }

    /// Makes TLS of a connection, or fails.
    pub(crate) async fn secure(
        &self,
        stream: Stream,
        how: &Tls,
        cx: &Attempt,
    ) -> Result<Stream, NotReady> {
        let (stream, ..) = self.shake_hands(stream, how, cx, Distrust::Fails).await?;
        Ok(stream)
    }

    /// Makes TLS of a connection even where the certificate is not trusted, and returns the reason.
    pub(crate) async fn judge(
        &self,
        stream: Stream,
        how: &Tls,
        cx: &Attempt,
    ) -> Result<Verdict, NotReady> {
        let shaken = self.shake_hands(stream, how, cx, Distrust::IsNoted);
        let (stream, verifier, certificate) = shaken.await?;
        let distrust = verifier.distrust.get();
        Ok(Verdict {
            stream,
            distrust: distrust.map(failure),
            certificate,
        })
    }

    async fn shake_hands(
        &self,
        stream: Stream,
        how: &Tls,
        cx: &Attempt,
        distrust: Distrust,
    ) -> Result<(Stream, Arc<Verifier>, Option<CertificateDer<'static>>), NotReady> {
        let failed = |detail: String| NotReady::new(&reason::TLS_FAILED, detail);
        let host = &stream.host;
        let name = server_name(host)
            .ok_or_else(|| failed(format!("no certificate can be for the name {host}")))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider, how, distrust);
        let verifier = Arc::new(verifier.map_err(|error| failed(error.to_string()))?);
        let config = ClientConfig::builder_with_details(provider, Arc::new(Clock))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let mut config = match &how.identity {
            None => config.with_no_client_auth(),
            Some(Identity { certificates, key }) => config
                .with_client_auth_cert(certificates.clone(), key.clone_key())
                .map_err(|error| failed(format!("the client certificate: {error}")))?,
        };
        config.alpn_protocols = how.protocol.iter().map(|name| name.to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        let connected = connector.connect(name, stream.io).await;
        let io = connected.map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            match inner {
                Some(error @ Error::InvalidCertificate(_)) => failure(error),
                _ => cx.broken(&error),
            }
        })?;
        if how.protocol.is_some()
            && io.get_ref().1.alpn_protocol() != how.protocol
            && !how.is_protocol_optional
        {
            return Err(NotReady::new(
                &PROTOCOL,
                "the server has not chosen the protocol (ALPN)",
            ));
        }
        let certificates = io.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = certificates.first().map(|own| own.clone().into_owned());
        let io = Box::new(io);
        Ok((Stream { io, ..stream }, verifier, certificate))
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        how: &Tls,
        if_distrusted: Distrust,
    ) -> Result<Verifier, Error> {
        let (verification, own) = (how.verification, &how.authorities);
        let inner = match verification {
            Verification::Nothing => None,
            Verification::Authority | Verification::AuthorityAndName => Some(
                WebPkiServerVerifier::builder_with_provider(self.with(own), Arc::clone(provider))
                    .build()
                    .map_err(|error| Error::General(error.to_string()))?,
            ),
        };
        Ok(Verifier {
            inner,
            authorities: self.authorities.iter().chain(own).cloned().collect(),
            checks_name: verification == Verification::AuthorityAndName,
            if_distrusted,
            schemes: match verification {
                Verification::Nothing => ANY_SCHEME.to_vec(),
                _ => provider
                    .signature_verification_algorithms
                    .supported_schemes(),
            },
            distrust: OnceLock::new(),
        })
    }
}

/// The system's clock. One before 1970, as on a machine that has not set its clock yet, makes
/// certificates not valid yet, and nothing worse.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Some(UnixTime::since_unix_epoch(since_1970.unwrap_or_default()))
    }
}

/// The name that the certificate has to be for.
fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Address(address) => Some(ServerName::from(*address)),
        Host::Zoned(address, _) => Some(ServerName::from(IpAddr::V6(*address))),
        // The dot at the end is of the name system and not of the name.
        Host::Name(name) => {
            ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned()).ok()
        }
    }
}

/// The signatures that are accepted where none is verified: those of every key that servers have.
const ANY_SCHEME: [SignatureScheme; 13] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::ED448,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_SHA1_Legacy,
    SignatureScheme::RSA_PKCS1_SHA1,
];

/// Neither side has a TLS version, a cipher suite and a kind of key that the other takes.
pub const NOTHING_IN_COMMON: Reason = reason::TLS_FAILED.with_hint(
    "enable TLS 1.3, or TLS 1.2 with an ECDHE suite, on the server; is its key RSA, P-256 or P-384?",
);
/// The server answers, and not in TLS.
pub const NOT_TLS: Reason = reason::TLS_FAILED.with_hint("is TLS enabled on this port?");
const PROTOCOL: Reason = reason::TLS_FAILED.with_hint("is this the right port?");
const CLIENT_CERTIFICATE: Reason = reason::TLS_FAILED.with_hint(
    "name a certificate that the server accepts, and its key (WAIT_TLS_CERT_FILE, WAIT_TLS_KEY_FILE)",
);
const AUTHORITY: Reason = reason::TLS_FAILED
    .with_hint("name the certificate of the authority that has signed it (WAIT_TLS_CA_FILE)");
const DATES: Reason =
    reason::TLS_FAILED.with_hint("renew the certificate, or is the clock of this machine wrong?");
const NO_NAME: Reason = reason::TLS_FAILED.with_hint(
    "make a certificate with its host's name: openssl x509 -extfile FILE, with subjectAltName=DNS:NAME in it",
);
const OTHER_NAME: Reason = reason::TLS_FAILED
    .with_hint("use a name that the certificate has, or make a certificate with this one");
const VERSION: Reason = reason::TLS_FAILED.with_hint(
    "make a certificate of version 3: openssl x509 -extfile FILE, with subjectAltName=DNS:NAME in it",
);
const OWN_AUTHORITY: Reason = reason::TLS_FAILED.with_hint(
    "name this very certificate as one to trust (WAIT_TLS_CA_FILE), or make one that it signs",
);
const KEY: Reason = reason::TLS_FAILED
    .with_hint("make a certificate with an RSA, P-256 or P-384 key, signed with SHA-256");

/// The most names of a certificate that are shown, and how much of each.
const SHOWN_NAMES: usize = 3;
const SHOWN_NAME: usize = 64;

/// A failure of TLS in words for people, with the advice.
pub fn failure(error: &Error) -> NotReady {
    let Error::InvalidCertificate(invalid) = error else {
        return handshake_failure(error);
    };
    let own_words = || Cow::from(format!("the certificate is not valid: {invalid}"));
    let (reason, detail): (_, Cow<'_, str>) = match invalid {
        CertificateError::UnknownIssuer => (
            AUTHORITY,
            "the certificate is not signed by an authority that is trusted (UnknownIssuer)".into(),
        ),
        // Servers that make an authority for themselves give it the same name on every machine.
        CertificateError::BadSignature => (
            AUTHORITY,
            "the certificate is signed by another authority than the trusted one of that name \
             (BadSignature)"
                .into(),
        ),
        CertificateError::Expired => (DATES, "the certificate has expired".into()),
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / 86_400;
            (
                DATES,
                format!("the certificate has expired, {days} days ago").into(),
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (DATES, "the certificate is not valid yet".into())
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            match &presented[..] {
                [] => (
                    NO_NAME,
                    format!(
                        "the certificate is not valid for name {expected}: it has no subjectAltName, \
                         and a common name does not count"
                    )
                    .into(),
                ),
                names => (
                    OTHER_NAME,
                    format!(
                        "the certificate is not valid for name {expected}, but for {}",
                        shown(names)
                    )
                    .into(),
                ),
            }
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            KEY,
            "the certificate is signed with an algorithm that is not supported".into(),
        ),
        CertificateError::Other(OtherError(other)) => match other.downcast_ref() {
            Some(webpki::Error::UnsupportedCertVersion) => (
                VERSION,
                "the certificate is of version 1 or 2, which is not supported".into(),
            ),
            Some(webpki::Error::CaUsedAsEndEntity) => (
                OWN_AUTHORITY,
                "the certificate is that of an authority and not of a server".into(),
            ),
            _ => (reason::TLS_FAILED, own_words()),
        },
        _ => (reason::TLS_FAILED, own_words()),
    };
    NotReady::new(&reason, detail)
}

fn handshake_failure(error: &Error) -> NotReady {
    let (reason, words) = match error {
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity,
        ) => (
            NOTHING_IN_COMMON,
            "the server has no TLS version or cipher suite in common",
        ),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            (PROTOCOL, "the server does not speak the protocol (ALPN)")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => (
            CLIENT_CERTIFICATE,
            "the server requires a client certificate",
        ),
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate,
        ) => (
            CLIENT_CERTIFICATE,
            "the server does not accept the client certificate",
        ),
        Error::InvalidMessage(_) => (NOT_TLS, "an answer that is not TLS"),
        _ => return NotReady::new(&reason::TLS_FAILED, error.to_string()),
    };
    NotReady::new(&reason, format!("{words} ({error})"))
}

/// Some of a certificate's names, which may be as many and as long as its maker likes.
fn shown(names: &[String]) -> String {
    let mut shown: Vec<_> = names
        .iter()
        .take(SHOWN_NAMES)
        .map(|name| name.chars().take(SHOWN_NAME).collect())
        .collect();
    let more = names.len() - shown.len();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// The effect of a certificate that is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distrust {
    /// The handshake fails.
    Fails,
    /// The handshake goes on, and the verifier has the reason.
    IsNoted,
}

/// Verifies as far as the target asks for.
#[derive(Debug)]
struct Verifier {
    /// `None` accepts every certificate, also a malformed one or one of a version that is not
    /// supported.
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// Authorities that the user has named.
    authorities: Vec<CertificateDer<'static>>,
    checks_name: bool,
    schemes: Vec<SignatureScheme>,
    if_distrusted: Distrust,
    /// Why the certificate is not trusted.
    distrust: OnceLock<Error>,
}

impl Verifier {
    /// The verifier of signatures. Those of a certificate that is not trusted mean nothing.
    fn trusting(&self) -> Option<&WebPkiServerVerifier> {
        match self.distrust.get() {
            Some(_) => None,
            None => self.inner.as_deref(),
        }
    }

    /// Whether the user has named this very certificate as one to trust.
    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        self.authorities.contains(certificate)
    }
}

/// Whether the only fault of a server's certificate is that it is an authority's too, as a
/// self-signed one made by `openssl req -x509` is. By then its dates have been found good.
fn is_authority_as_server(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(error))) = error else {
        return false;
    };
    error.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        let chain =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verified = match chain {
            Err(error) if is_authority_as_server(&error) && self.is_named(end_entity) => {
                ParsedCertificate::try_from(end_entity)
                    .and_then(|certificate| verify_server_name(&certificate, server_name))
            }
            chain => chain.map(drop),
        };
        match verified {
            Ok(()) => {}
            // The name is looked at last, when everything else has been found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => {}
            Err(error) if self.if_distrusted == Distrust::Fails => return Err(error),
            Err(error) => {
                self.distrust.get_or_init(|| error);
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trusting() {
            Some(inner) => inner.verify_tls12_signature(message, cert, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trusting() {
            Some(inner) => inner.verify_tls13_signature(message, cert, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
