//! TLS for clients: from an `<ssl>` section inside `<clientstorage>` or `<zeoclient>` to a
//! configuration of rustls, and the host name that the server's certificate must have.
//!
//! ```text
//!   certificate, key, password ──┐
//!   authenticate ──► TrustStore ─┼─► client_config ─► ClientTls ─► Arc<rustls::ClientConfig>
//!   check-hostname, pin ─────────┘                       │
//!   server-hostname, host of the address ────────────────┴───────► rustls::ServerName
//! ```
//!
//! Servers' certificates are verified like clients': one that is itself in the trust store is
//! accepted, and one that a trusted authority issued. The certificate must also name the host.
//! Without `authenticate`, the system's trust store counts.
//!
//! With pins, exactly the pinned certificates are accepted, regardless of their issuer, whatever host they
//! name and however old they are. The trust store and the host name do not count then, because a
//! pin says more than an authority can.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::{IpAddr, Ipv4Addr, ServerName};

use crate::error::TlsError;
use crate::identity::IdentityFiles;
use crate::password::Password;
use crate::path::PathVerifier;
use crate::pin::Pin;
use crate::refusal::Peer;
use crate::trust::TrustStore;
use crate::verifier::{AcceptedServers, ServerVerifier};

/// The settings of a client's `<ssl>` section.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// PEM file with the client's certificate, then those of its issuers. ZEO servers require one;
    /// other TLS servers, such as a tunnel, may not.
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key [default: the certificate's file].
    pub key: Option<PathBuf>,
    /// Password of the key, if it is encrypted.
    pub password: Option<Password>,
    /// Servers to trust: a PEM file of certificates and revocation lists, or a directory of such
    /// files under OpenSSL's hashed names [default: the system's trust store].
    pub authenticate: Option<PathBuf>,
    /// Whether the server's certificate must name the host.
    pub check_hostname: bool,
    /// Host name expected in the server's certificate [default: the host of the address].
    pub server_hostname: Option<String>,
    /// Pinned server certificates. If there are any, exactly these are accepted.
    pub pins: Vec<Pin>,
}

/// A client without a certificate that trusts what the system trusts.
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

/// The TLS configuration of connections to a server.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_hostname: Option<String>,
    needs_name: bool,
}

/// Reads the files and makes a client's configuration of them.
///
/// # Errors
/// Files that are missing, unreadable or do not belong together; a system without a trust store; a
/// `server_hostname` that is not a host name.
pub fn client_config(files: &ClientFiles) -> Result<ClientTls, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let identity = files.certificate.as_deref().map(|certificate| {
        let (key, password) = (files.key.as_deref(), files.password.as_ref());
        IdentityFiles { certificate, key, password }.read(&provider)
    });
    let identity = identity.transpose()?;
    let algorithms = provider.signature_verification_algorithms;
    let accepted = if files.pins.is_empty() {
        let store = match &files.authenticate {
            Some(path) => TrustStore::open(Some(path), Peer::Server)?,
            None => TrustStore::of_system(Peer::Server)?,
        };
        let path = PathVerifier { store, algorithms: algorithms.all };
        AcceptedServers::Trusted { path, check_host: files.check_hostname }
    } else {
        AcceptedServers::Pinned(files.pins.clone())
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier::new(accepted, algorithms)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
    };
    // As in the server: every connection is verified against what is trusted at that moment.
    config.resumption = Resumption::disabled();
    let name = files.server_hostname.clone().filter(|name| !name.is_empty());
    let needs_name = files.check_hostname && files.pins.is_empty();
    Ok(ClientTls { needs_name, ..ClientTls::new(Arc::new(config), name)? })
}

impl ClientTls {
    /// Wraps a configuration that was made elsewhere and that checks the host name.
    ///
    /// # Errors
    /// A `server_hostname` that is not a host name.
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

    /// The configuration, for rustls and the adapters.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The name for a connection to the server at this host, a host name or IP address. A Unix
    /// socket has no host.
    ///
    /// # Errors
    /// If names are checked: no name, or one that is not a host name.
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

/// A name for a server that has none: rustls needs one, but does not send addresses to servers.
fn nameless() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])))
}
