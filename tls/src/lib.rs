//! TLS for ZEO servers and clients: from the files of an `<ssl>` section to a configuration of
//! rustls.
//!
//! ```text
//!   certificate ─┐
//!   key ─────────┼─► server_config ─► Arc<rustls::ServerConfig> ─► a runtime's adapter
//!   password ────┤                          │ asks at each handshake
//!   authenticate ┴─► TrustStore ◄── PathVerifier (webpki)
//! ```
//!
//! | to | use |
//! |---|---|
//! | serve | [`TlsFiles`], [`server_config`] |
//! | connect | [`client::ClientFiles`], [`client::client_config`], [`Pin`] |
//! | open an encrypted key | [`Password`], [`password_from_command`] |
//! | log why a connection failed | [`explain`], or [`refusal`] for the details |
//!
//! A client must have a certificate. It is accepted if exactly this certificate is in the file or
//! directory of trusted certificates, however it is signed, or if an authority there issued it.
//! webpki verifies certificate paths by its own rules; `docs/tls.md` lists where these differ from
//! OpenSSL's, that is from Python's. rustls verifies the signature over the handshake, which proves
//! that the client has the key.
//!
//! The versions are TLS 1.2 and 1.3, with the algorithms of ring. Sessions are not resumed: ZEO
//! connections live for days, and each one is verified against what is trusted at that moment.
//!
//! The crate has no sockets, no runtime and no settings. A signal to read the files again is not
//! needed: a directory of trusted certificates is looked at in each handshake; other files are read
//! at start.

mod certificate;
pub mod client;
mod date;
mod error;
mod explain;
#[doc(hidden)]
pub mod fuzz;
mod identity;
mod key;
mod password;
mod path;
mod pem_file;
mod pin;
mod refusal;
mod trust;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;

pub use crate::error::TlsError;
pub use crate::explain::explain;
use crate::identity::IdentityFiles;
pub use crate::password::{Password, PasswordCommandError, password_from_command};
use crate::path::PathVerifier;
pub use crate::pin::{BadPin, Pin};
pub use crate::refusal::{Peer, Refusal, Refused, refusal};
use crate::trust::TrustStore;
use crate::verifier::ClientVerifier;

/// The settings of a server's `<ssl>` section.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM file with the server's certificate, then those of its issuers, if clients need them.
    pub certificate: PathBuf,
    /// PEM file with the certificate's private key [default: the certificate's file].
    pub key: Option<PathBuf>,
    /// Password of the key, if it is encrypted.
    pub password: Option<Password>,
    /// Clients to trust: a PEM file of certificates and revocation lists, or a directory of such
    /// files under OpenSSL's hashed names. Without it, no client is accepted.
    pub authenticate: Option<PathBuf>,
}

/// Reads the files and makes a server's configuration of them.
///
/// # Errors
/// Files that are missing, unreadable or do not belong together.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let identity = IdentityFiles {
        certificate: &files.certificate,
        key: files.key.as_deref(),
        password: files.password.as_ref(),
    };
    let identity = identity.read(&provider)?;
    let algorithms = provider.signature_verification_algorithms;
    let store = TrustStore::open(files.authenticate.as_deref(), Peer::Client)?;
    let path = PathVerifier { store, algorithms: algorithms.all };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(Arc::new(ClientVerifier::new(path, algorithms)))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
