//! TLS for a ZEO server and for its clients: from the files of an `<ssl>` section to a configuration
//! of rustls.
//!
//! ```text
//!   certificate ─┐
//!   key ─────────┼─► server_config ─► Arc<rustls::ServerConfig> ─► an adapter
//!   password ────┤                          │ asks, at each handshake
//!   authenticate ┴─► TrustStore ◄── Judge ◄─┘
//! ```
//!
//! A client's way is the same, in [`client`]; what follows is about servers.
//!
//! A client has to have a certificate. Which ones are accepted is what Python's server, that is
//! OpenSSL, accepts: also old ones that rustls by itself would refuse (self-signed, by SHA-1, an
//! authority's, version 1), provided that they stand in the file or directory of trusted
//! certificates; and nothing that OpenSSL refuses. `chain.rs` has the rules. The signature over the
//! handshake, which proves that the client has the key, is rustls's business as ever.
//!
//! TLS 1.2 and 1.3 are spoken, with the algorithms of ring. Sessions are not resumed: connections of
//! ZEO live for days, and so each one is judged by what is trusted at that moment.
//!
//! Deliberately absent: sockets, runtimes, settings. A signal to read the files anew is not needed:
//! a directory of trusted certificates is looked up at each handshake, the rest changes with a restart.

mod certificate;
mod chain;
pub mod client;
mod crl;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod host;
mod key;
mod name;
mod password;
mod pem_file;
mod pin;
mod refusal;
mod rules;
mod store;
mod verifier;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::CertificateDer;

use crate::certificate::{Certificate, Scheme};
use crate::chain::Judge;
pub use crate::error::TlsError;
pub use crate::password::{Password, PasswordCommandError, password_from_command};
use crate::pem_file::{Block, PemFile};
pub use crate::pin::{BadPin, Pin};
pub use crate::refusal::{Peer, Refusal, Refused, explain, refusal};
use crate::store::TrustStore;
use crate::verifier::ClientVerifier;

/// The files of a TLS server, as an `<ssl>` section names them.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// A PEM file: the server's certificate, then those of its issuers, if clients need them.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key; if there is none, it is in the certificate's.
    pub key: Option<PathBuf>,
    /// What opens the key, if it is encrypted.
    pub password: Option<Password>,
    /// Which clients to trust: a PEM file of certificates and revocation lists, or a directory of such
    /// files under OpenSSL's hashed names. Without, nobody is let in.
    pub authenticate: Option<PathBuf>,
}

/// Reads the files and makes a server's configuration of them.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let own = OwnFiles {
        certificate: &files.certificate,
        key: files.key.as_deref(),
        password: files.password.as_ref(),
    };
    let own = own.read(&provider)?;
    let algorithms = provider.signature_verification_algorithms;
    let store = TrustStore::open(files.authenticate.as_deref())?;
    let judge = Judge { store, peer: Peer::Client, algorithms: algorithms.all };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(Arc::new(ClientVerifier::new(judge, algorithms)))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Where one's own certificate is, and its key.
#[derive(Clone, Copy)]
struct OwnFiles<'a> {
    certificate: &'a Path,
    key: Option<&'a Path>,
    password: Option<&'a Password>,
}

impl OwnFiles<'_> {
    /// The certificate with its key. Others judge it, so oddities are their business.
    fn read(self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let certificate_file = PemFile::read(self.certificate)?;
        let chain = certificates(&certificate_file)?;
        let path = || self.certificate.to_owned();
        let first = chain.first().ok_or_else(|| TlsError::NoCertificate { path: path() })?;
        weakness(first)
            .map_or(Ok(()), |problem| Err(TlsError::WeakCertificate { path: path(), problem }))?;

        let key_file = self.key.map(PemFile::read).transpose()?;
        let key_file = key_file.as_ref().unwrap_or(&certificate_file);
        let key = key::load(key_file, self.password)?;
        let bad = |error: rustls::Error| TlsError::BadKey {
            path: key_file.path().to_owned(),
            problem: error.to_string(),
        };
        let key = provider.key_provider.load_private_key(key).map_err(bad)?;
        let fits = key.public_key().is_none_or(|spki| same_key(&spki, first));
        if !fits {
            let key = key_file.path().to_owned();
            return Err(TlsError::KeyMismatch { key, certificate: path() });
        }
        let chain: Vec<CertificateDer<'static>> = chain.into_iter().map(|it| it.der).collect();
        Ok(CertifiedKey::new(chain, key))
    }
}

fn certificates(file: &PemFile) -> Result<Vec<Certificate>, TlsError> {
    let mut certificates = Vec::new();
    for block in file.blocks() {
        match block {
            Block::Certificate(der) => {
                let certificate = Certificate::from_der(der);
                certificates.push(certificate.map_err(|_| file.bad_certificate())?);
            }
            Block::TrustedCertificate => {
                return Err(TlsError::TrustedCertificate { path: file.path().to_owned() });
            }
            Block::RevocationList(_) | Block::Key(_) => {}
        }
    }
    Ok(certificates)
}

/// What OpenSSL would not serve.
fn weakness(certificate: &Certificate) -> Option<&'static str> {
    if !certificate.key.kind.is_strong_enough() {
        Some("its key is short or of an unknown kind")
    } else if matches!(certificate.signed.scheme, Scheme::Weak(_)) && !certificate.is_self_signed()
    {
        Some("it is signed with MD5 or SHA-1")
    } else {
        None
    }
}

fn same_key(spki: &[u8], certificate: &Certificate) -> bool {
    spki == certificate.key.spki
}
