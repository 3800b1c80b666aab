//! What rustls asks about a peer: its chain, and its signature over the handshake.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};

use crate::certificate::{Certificate, same};
use crate::chain::Judge;
use crate::pin::Pin;
use crate::refusal::{Peer, Refusal, Refused};
use crate::rules;

/// Lets in the clients that the judge accepts and that prove to have the key.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    judge: Judge,
    signatures: Signatures,
}

impl ClientVerifier {
    pub(crate) fn new(judge: Judge, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { judge, signatures: Signatures(algorithms) }
    }
}

impl ClientCertVerifier for ClientVerifier {
    // As Python's server, which names nobody, so that every client sends the certificate that it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let judged = self.judge.judge(end_entity, intermediates, now);
        judged.map(|_| ClientCertVerified::assertion()).map_err(as_error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls12(message, &read(cert)?, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, read(cert)?, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.0.supported_schemes()
    }
}

/// Which servers a client talks to.
#[derive(Debug)]
pub(crate) enum Trusted {
    /// Those that the judge accepts, under any name or only under that of the host.
    Judged { judge: Judge, check_host: bool },
    /// Those with one of these certificates.
    Pinned(Vec<Pin>),
}

/// Accepts the servers that are trusted and that prove to have the key.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    trusted: Trusted,
    signatures: Signatures,
}

impl ServerVerifier {
    pub(crate) fn new(trusted: Trusted, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trusted, signatures: Signatures(algorithms) }
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Refused> {
        match &self.trusted {
            Trusted::Judged { judge, check_host } => {
                let leaf = judge.judge(end_entity, intermediates, now)?;
                if !check_host || leaf.hosts.include(host) {
                    return Ok(());
                }
                let (wanted, names) = (host.to_str().into_owned(), leaf.hosts.shown());
                let subject = leaf.subject.shown().to_owned();
                Err(Refused { subject, reason: Refusal::WrongHost { wanted, names } })
            }
            Trusted::Pinned(pins) => {
                let found = Pin::of(end_entity);
                if pins.contains(&found) {
                    return Ok(());
                }
                let subject = Certificate::from_der(end_entity).map(|leaf| leaf.subject);
                let subject = subject.map_or("(unreadable)".into(), |it| it.shown().to_owned());
                Err(Refused { subject, reason: Refusal::NotPinned { found } })
            }
        }
    }
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
        let judged = self.judge(end_entity, intermediates, server_name, now);
        judged.map(|()| ServerCertVerified::assertion()).map_err(as_error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let leaf = read(cert)?;
        if matches!(self.trusted, Trusted::Judged { .. }) && !rules::may_sign_tls12(&leaf) {
            let at = leaf.subject.shown().to_owned();
            let reason = Refusal::WrongPurpose { at: at.clone(), peer: Peer::Server };
            return Err(as_error(Refused { subject: at, reason }));
        }
        self.signatures.tls12(message, &leaf, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, read(cert)?, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.0.supported_schemes()
    }
}

/// Signatures over handshakes. They are checked by the key alone: webpki would not read every
/// certificate that OpenSSL does.
#[derive(Debug)]
struct Signatures(WebPkiSupportedAlgorithms);

impl Signatures {
    fn tls12(
        &self,
        message: &[u8],
        leaf: &Certificate,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let scheme = self.0.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let (_, candidates) =
            scheme.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // The scheme names a hash; the curve is the key's.
        let valid = candidates
            .iter()
            .filter(|algorithm| same(&algorithm.public_key_alg_id(), &leaf.key.algorithm))
            .any(|algorithm| {
                algorithm.verify_signature(&leaf.key.bits, message, dss.signature()).is_ok()
            });
        if valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(bad_signature()) }
    }

    fn tls13(
        &self,
        message: &[u8],
        leaf: Certificate,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(leaf.key.spki);
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.0)
    }
}

/// The only way to hand one's own words through rustls.
fn as_error(refused: Refused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}

fn read(cert: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(cert)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn bad_signature() -> Error {
    Error::InvalidCertificate(CertificateError::BadSignature)
}
