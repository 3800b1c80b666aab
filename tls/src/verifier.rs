//! The verifiers that rustls asks about a peer: its certificate, and its signature over the
//! handshake.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use crate::certificate::Certificate;
use crate::path::{Accepted, PathVerifier};
use crate::pin::Pin;
use crate::refusal::{Refusal, Refused};

/// Accepts the clients that the trust store accepts and that have the certificate's key.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    path: PathVerifier,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(crate) fn new(path: PathVerifier, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { path, algorithms }
    }
}

impl ClientCertVerifier for ClientVerifier {
    // Empty as in Python, so that every client sends the certificate that it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let accepted = self.path.verify(end_entity, intermediates, now);
        accepted.map(|_| ClientCertVerified::assertion()).map_err(into_rustls)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Which servers a client accepts.
#[derive(Debug)]
pub(crate) enum AcceptedServers {
    /// Those that the trust store accepts, under any name or only under that of the host.
    Trusted { path: PathVerifier, check_host: bool },
    /// Those with one of these certificates.
    Pinned(Vec<Pin>),
}

/// Accepts the servers that the settings name and that have the certificate's key.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    accepted: AcceptedServers,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(crate) fn new(accepted: AcceptedServers, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { accepted, algorithms }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Refused> {
        match &self.accepted {
            AcceptedServers::Trusted { path, check_host } => {
                let accepted = path.verify(end_entity, intermediates, now)?;
                if *check_host { check_name(&accepted, host) } else { Ok(()) }
            }
            AcceptedServers::Pinned(pins) => check_pin(end_entity, pins),
        }
    }
}

/// Checks that the certificate names the host: as an alternative name, by webpki's rules. A
/// certificate that is trusted itself may name it as its common name: `openssl req -x509` makes
/// such ones.
fn check_name(accepted: &Accepted, host: &ServerName<'_>) -> Result<(), Refused> {
    let certificate = accepted.certificate();
    let named = EndEntityCert::try_from(&certificate.der)
        .is_ok_and(|entity| entity.verify_is_valid_for_subject_name(host).is_ok());
    let is_named = match accepted {
        Accepted::Trusted(itself) => named || itself.has_common_name(host),
        Accepted::Issued(_) => named,
    };
    if is_named {
        return Ok(());
    }
    let (wanted, names) = (host.to_str().into_owned(), certificate.hosts_text());
    let subject = certificate.subject.text().to_owned();
    Err(Refused { subject, reason: Refusal::WrongHost { wanted, names } })
}

fn check_pin(end_entity: &CertificateDer<'_>, pins: &[Pin]) -> Result<(), Refused> {
    let found = Pin::of(end_entity);
    if pins.contains(&found) {
        return Ok(());
    }
    let reason = Refusal::NotPinned { found };
    Err(match Certificate::from_der(end_entity) {
        Ok(it) => Refused { subject: it.subject.text().to_owned(), reason },
        Err(_) => Refused::unreadable(reason),
    })
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let accepted = self.verify(end_entity, intermediates, server_name, now);
        accepted.map(|()| ServerCertVerified::assertion()).map_err(into_rustls)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// rustls carries errors of others only in this form.
fn into_rustls(refused: Refused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}
