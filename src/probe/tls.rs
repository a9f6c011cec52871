//! TLS, with as much verification as asked for.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::connect::Connection;
use super::{NotReady, Progress, Reason};
use crate::target::{Host, SslMode};

/// What certificates are verified against.
#[derive(Debug, Default)]
pub struct Trust {
    /// Certificates of authorities besides the built-in ones.
    authorities: Arc<[CertificateDer<'static>]>,
    /// All of them, once they have been needed.
    roots: OnceLock<Arc<RootCertStore>>,
}

impl Trust {
    /// Trusts these authorities besides the built-in ones, which are Mozilla's.
    pub fn new(authorities: Vec<CertificateDer<'static>>) -> Self {
        Self {
            authorities: authorities.into(),
            roots: OnceLock::new(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let roots = self.roots.get_or_init(|| {
            let mut roots =
                RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            // What no certificate can be verified against is no loss.
            roots.add_parsable_certificates(self.authorities.iter().cloned());
            Arc::new(roots)
        });
        Arc::clone(roots)
    }

    /// Makes a connection one with TLS. A certificate that is not good enough does not end it:
    /// some servers would hold that against the host.
    pub(super) async fn secure(
        &self,
        stream: Box<dyn Connection>,
        host: &Host,
        mode: SslMode,
        progress: &Progress,
    ) -> Result<Secured, NotReady> {
        progress.set("starting TLS");
        let failed = |detail: String| NotReady::new(Reason::TlsFailed, detail);
        let name = server_name(host)
            .ok_or_else(|| failed(format!("no certificate can be for the name {host}")))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider, mode);
        let verifier = Arc::new(verifier.map_err(|error| failed(error.to_string()))?);
        let config = ClientConfig::builder_with_details(provider, Arc::new(Clock))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_no_client_auth();
        match TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
        {
            Ok(stream) => Ok(Secured {
                stream: Box::new(stream),
                distrust: verifier
                    .distrust
                    .get()
                    .map(|error| failed(error.to_string())),
            }),
            Err(error) => Err(NotReady::broken(&error, progress)),
        }
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>, mode: SslMode) -> Result<Verifier, Error> {
        let inner = match mode {
            SslMode::Disabled | SslMode::Preferred | SslMode::Required => None,
            SslMode::VerifyCa | SslMode::VerifyIdentity => Some(
                WebPkiServerVerifier::builder_with_provider(self.roots(), Arc::clone(provider))
                    .build()
                    .map_err(|error| Error::General(error.to_string()))?,
            ),
        };
        Ok(Verifier {
            inner,
            authorities: Arc::clone(&self.authorities),
            checks_name: mode == SslMode::VerifyIdentity,
            schemes: provider
                .signature_verification_algorithms
                .supported_schemes(),
            distrust: OnceLock::new(),
        })
    }
}

/// The system's clock. One that stands before 1970, as on a machine that has not asked for the time
/// yet, makes certificates not valid yet, and nothing worse.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Some(UnixTime::since_unix_epoch(since_1970.unwrap_or_default()))
    }
}

/// A connection with TLS.
pub(super) struct Secured {
    pub(super) stream: Box<dyn Connection>,
    /// Why the server is not to be told anything that others must not know.
    pub(super) distrust: Option<NotReady>,
}

/// The name that the certificate has to be for.
fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Address(address) => Some(ServerName::from(*address)),
        // The dot at the end is of the name system and not of the name.
        Host::Name(name) => {
            ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned()).ok()
        }
    }
}

/// Verifies as far as asked for, and takes the certificate in any case.
#[derive(Debug)]
struct Verifier {
    /// `None` takes every certificate, also one that is malformed or too old to be read: what is
    /// not trusted need not be understood.
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// Authorities that the user has named.
    authorities: Arc<[CertificateDer<'static>]>,
    checks_name: bool,
    schemes: Vec<SignatureScheme>,
    /// What is wrong with the certificate.
    distrust: OnceLock<Error>,
}

impl Verifier {
    /// The one who verifies signatures. Those of a certificate that is not trusted mean nothing.
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

/// Whether all that is wrong with a server's certificate is that it is an authority's too, as a
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
