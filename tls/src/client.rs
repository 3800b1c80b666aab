//! TLS for clients: from an `<ssl>` section inside `<clientstorage>` or `<zeoclient>` to a
//! configuration of rustls, and the name under which a server is to show itself.
//!
//! ```text
//!   certificate, key, password ─┐
//!   authenticate ► TrustStore ──┼─► client_config ─► ClientTls ─► Arc<rustls::ClientConfig>
//!   check-hostname, pin ────────┘                       │
//!   server-hostname, host of an address ────────────────┴───────► rustls::ServerName
//! ```
//!
//! Servers' certificates are judged as clients' are by a server, by the rules of OpenSSL that Python's
//! client leaves it to: a self-signed certificate is accepted because it is itself in the place of
//! trusted certificates, others because a trusted authority issued them; then the host's name has to be
//! one of the certificate's. Without a place of trusted certificates, the system's trust store is that.
//!
//! Pins are for what OpenSSL has no setting for: exactly these certificates are accepted, whoever
//! issued them, whatever host they name and however old they are. With a pin nothing else counts,
//! because it says more than an authority could; its certificate may even be one that OpenSSL would
//! not trust as itself, because somebody else issued it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::{IpAddr, Ipv4Addr, ServerName};

use crate::OwnFiles;
use crate::chain::Judge;
use crate::error::TlsError;
use crate::password::Password;
use crate::pin::Pin;
use crate::refusal::Peer;
use crate::store::TrustStore;
use crate::verifier::{ServerVerifier, Trusted};

/// What a client's `<ssl>` section says.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// A PEM file: the client's certificate, then those of its issuers. Servers of ZEO want one, other
    /// ends of TLS, such as a tunnel's, may not.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key; if there is none, it is in the certificate's.
    pub key: Option<PathBuf>,
    /// What opens the key, if it is encrypted.
    pub password: Option<Password>,
    /// Which servers to trust: a PEM file of certificates and revocation lists, or a directory of such
    /// files under OpenSSL's hashed names. Without, those that the system trusts.
    pub authenticate: Option<PathBuf>,
    /// Whether the certificate has to name the host.
    pub check_hostname: bool,
    /// The name of the host, if it is not that of the address.
    pub server_hostname: Option<String>,
    /// Servers' certificates: if there is one, exactly these are accepted.
    pub pins: Vec<Pin>,
}

/// A client without a certificate, for servers that the system trusts.
impl Default for ClientFiles {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            password: None,
            authenticate: None,
            check_hostname: true,
            server_hostname: None,
            pins: Vec::new(),
        }
    }
}

/// What a connection to a server needs.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_hostname: Option<String>,
    needs_name: bool,
}

/// Reads the files and makes a client's configuration of them.
///
/// # Errors
/// Files that are missing, unreadable or do not fit; a system without a trust store; a
/// `server_hostname` that no certificate can have.
pub fn client_config(files: &ClientFiles) -> Result<ClientTls, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let own = files.certificate.as_deref().map(|certificate| {
        let (key, password) = (files.key.as_deref(), files.password.as_ref());
        OwnFiles { certificate, key, password }.read(&provider)
    });
    let own = own.transpose()?;
    let algorithms = provider.signature_verification_algorithms;
    let trusted = if files.pins.is_empty() {
        let store = match &files.authenticate {
            Some(path) => TrustStore::open(Some(path))?,
            None => TrustStore::of_system()?,
        };
        let judge = Judge { store, peer: Peer::Server, algorithms: algorithms.all };
        Trusted::Judged { judge, check_host: files.check_hostname }
    } else {
        Trusted::Pinned(files.pins.clone())
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier::new(trusted, algorithms)));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
    };
    // As on the other side: every connection is judged by what is trusted at that moment.
    config.resumption = Resumption::disabled();
    let name = files.server_hostname.clone().filter(|name| !name.is_empty());
    let needs_name = files.check_hostname && files.pins.is_empty();
    Ok(ClientTls { needs_name, ..ClientTls::new(Arc::new(config), name)? })
}

impl ClientTls {
    /// For whoever has a configuration from elsewhere, which wants to know the host's name.
    ///
    /// # Errors
    /// A `server_hostname` that no certificate can have.
    pub fn new(
        config: Arc<ClientConfig>,
        server_hostname: Option<String>,
    ) -> Result<Self, TlsError> {
        let tls = Self { config, server_hostname, needs_name: true };
        if tls.server_hostname.is_some() {
            tls.server_name(None)?;
        }
        Ok(tls)
    }

    /// What rustls and the adapters make connections of.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The name for a connection to the server at this host, a name or an address; a Unix socket has
    /// none.
    ///
    /// # Errors
    /// No name, or one that no certificate can have, if the name is to be checked.
    pub fn server_name(&self, host: Option<&str>) -> Result<ServerName<'static>, TlsError> {
        let host = self.server_hostname.as_deref().or(host);
        let name = host.map(|host| ServerName::try_from(host.to_owned()));
        match (name, host) {
            (Some(Ok(name)), _) => Ok(name),
            _ if !self.needs_name => Ok(nameless()),
            (_, Some(host)) => Err(TlsError::BadHostName { name: host.to_owned() }),
            (_, None) => Err(TlsError::NoHostName),
        }
    }
}

/// A name for a server that has none: rustls wants one, but does not tell addresses to servers.
fn nameless() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])))
}
