//! The certificate and key that this side presents.

use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use crate::certificate::Certificate;
use crate::error::TlsError;
use crate::key;
use crate::password::Password;
use crate::pem_file::{Block, PemFile};

/// The files of a certificate and its key.
#[derive(Clone, Copy)]
pub(crate) struct IdentityFiles<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) key: Option<&'a Path>,
    pub(crate) password: Option<&'a Password>,
}

impl IdentityFiles<'_> {
    /// Reads the certificate, those of its issuers behind it, and the key. The peers verify the
    /// certificate; here it only has to be one, and to fit the key.
    pub(crate) fn read(self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let certificate_file = PemFile::read(self.certificate)?;
        let chain = certificates(&certificate_file)?;
        let path = || self.certificate.to_owned();
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: path() });
        }
        let key_file = self.key.map(PemFile::read).transpose()?;
        let key_file = key_file.as_ref().unwrap_or(&certificate_file);
        let key = key::load(key_file, self.password)?;
        let unusable = |error: rustls::Error| TlsError::BadKey {
            path: key_file.path().to_owned(),
            problem: error.to_string(),
        };
        let key = provider.key_provider.load_private_key(key).map_err(unusable)?;
        let identity = CertifiedKey::new(chain, key);
        match identity.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(identity)
            }
            Err(rustls::Error::InconsistentKeys(_)) => {
                let key = key_file.path().to_owned();
                Err(TlsError::KeyMismatch { key, certificate: path() })
            }
            Err(_) => {
                let problem = "its X.509 version is not 3, or an extension is not supported";
                Err(TlsError::BadCertificate { path: path(), problem })
            }
        }
    }
}

fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut certificates = Vec::new();
    for block in file.blocks() {
        match block {
            Block::Certificate(der) => {
                let certificate = Certificate::from_der(der);
                certificates.push(certificate.map_err(|_| file.bad_certificate())?.der);
            }
            Block::TrustedCertificate => {
                return Err(TlsError::TrustedCertificate { path: file.path().to_owned() });
            }
            Block::RevocationList(_) | Block::Key(_) => {}
        }
    }
    Ok(certificates)
}
