//! What rustls asks about a client: its chain, and its signature over the handshake.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};

use crate::certificate::{Certificate, PublicKey, same};
use crate::chain::Judge;

/// Lets in whom the judge accepts and who proves to have the key.
#[derive(Debug)]
pub(crate) struct Verifier {
    judge: Judge,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(crate) fn new(judge: Judge, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { judge, algorithms }
    }
}

impl ClientCertVerifier for Verifier {
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
        match self.judge.judge(end_entity, intermediates, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(refused) => Err(Error::InvalidCertificate(CertificateError::Other(OtherError(
                Arc::new(refused),
            )))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key_of(cert)?;
        let scheme = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let (_, candidates) =
            scheme.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // The scheme names a hash; the curve is the key's.
        let valid = candidates
            .iter()
            .filter(|algorithm| same(&algorithm.public_key_alg_id(), &key.algorithm))
            .any(|algorithm| {
                algorithm.verify_signature(&key.bits, message, dss.signature()).is_ok()
            });
        if valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(bad_signature()) }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // By the key alone: webpki would not read every certificate that OpenSSL does.
        let spki = SubjectPublicKeyInfoDer::from(key_of(cert)?.spki);
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn key_of(cert: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    let certificate = Certificate::from_der(cert);
    Ok(certificate.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?.key)
}

fn bad_signature() -> Error {
    Error::InvalidCertificate(CertificateError::BadSignature)
}
