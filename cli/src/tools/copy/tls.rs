//! TLS on the way to servers.

use std::path::PathBuf;

use rzeo_tls::Password;
use rzeo_tls::client::{ClientFiles, ClientTls, client_config};

use super::ToolError;

/// What opens an encrypted key.
const PASSWORD_VARIABLE: &str = "RZEO_TLS_KEY_PASSWORD";

/// The files are for both sides: who copies is one client.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct TlsOptions {
    /// Speak TLS with FROM
    #[arg(long)]
    pub(super) from_tls: bool,

    /// Speak TLS with TO
    #[arg(long)]
    pub(super) to_tls: bool,

    /// Which servers to trust: a PEM file of certificates, or a hashed directory [default: as the system]
    #[arg(long, value_name = "PATH")]
    tls_ca: Option<PathBuf>,

    /// The own certificate, a PEM file; an encrypted key's password is in RZEO_TLS_KEY_PASSWORD
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,

    /// The key of the own certificate, if it is not in the same file
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Whose certificate the server must have, if not its address's host's
    #[arg(long, value_name = "HOST")]
    tls_server: Option<String>,
}

impl TlsOptions {
    /// Whether files are given that nobody would look at.
    pub(super) fn is_idle(&self) -> bool {
        let has_files = self.tls_ca.is_some() || self.tls_certificate.is_some();
        (has_files || self.tls_server.is_some()) && !self.from_tls && !self.to_tls
    }

    /// What connections are made with.
    pub(super) fn configure(&self) -> Result<ClientTls, ToolError> {
        let files = ClientFiles {
            certificate: self.tls_certificate.clone(),
            key: self.tls_key.clone(),
            password: std::env::var(PASSWORD_VARIABLE).ok().map(Password::new),
            authenticate: self.tls_ca.clone(),
            server_hostname: self.tls_server.clone(),
            ..ClientFiles::default()
        };
        client_config(&files).map_err(|error| ToolError::Refused(format!("no TLS: {error}")))
    }
}
