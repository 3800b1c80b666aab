//! The TLS options that all commands share.

use std::path::PathBuf;

use rzeo_tls::Password;
use rzeo_tls::client::{ClientFiles, ClientTls, client_config};

use super::ToolError;

/// The environment variable with the password of an encrypted key.
const PASSWORD_VARIABLE: &str = "RZEO_TLS_KEY_PASSWORD";

/// TLS with one server.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "TLS options")]
pub(crate) struct TlsOptions {
    /// Connect with TLS
    #[arg(long)]
    tls: bool,

    #[command(flatten)]
    files: TlsFiles,
}

/// Certificates and names. A command that connects to two servers uses them for both, as one client.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "TLS options")]
pub(crate) struct TlsFiles {
    /// Trust servers with these certificates [default: as the system]
    ///
    /// A PEM file of certificates, or a directory with OpenSSL's hashed names.
    #[arg(long, value_name = "PATH")]
    tls_ca: Option<PathBuf>,

    /// Show this certificate to the server, a PEM file
    ///
    /// The environment variable RZEO_TLS_KEY_PASSWORD has the password of an encrypted key.
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,

    /// Read the key from this PEM file [default: the certificate's file]
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Host name expected in the server certificate
    ///
    /// [default: the host of its address]
    #[arg(long, value_name = "HOST")]
    tls_server: Option<String>,
}

impl TlsOptions {
    /// What connections are made with; `None` without TLS.
    pub(crate) fn configure(&self) -> Result<Option<ClientTls>, ToolError> {
        if self.tls {
            return self.files.configure().map(Some);
        }
        self.check_unused()?;
        Ok(None)
    }

    /// The files and names; `None` without TLS.
    pub(crate) fn paths(&self) -> Result<Option<TlsPaths>, ToolError> {
        if !self.tls {
            self.check_unused()?;
            return Ok(None);
        }
        Ok(Some(TlsPaths {
            authenticate: self.files.tls_ca.clone(),
            certificate: self.files.tls_certificate.clone(),
            key: self.files.tls_key.clone(),
            password: std::env::var(PASSWORD_VARIABLE).ok(),
            server_hostname: self.files.tls_server.clone(),
        }))
    }

    fn check_unused(&self) -> Result<(), ToolError> {
        match self.files.first_given() {
            Some(option) => Err(ToolError::Usage(format!("{option} has no effect without --tls"))),
            None => Ok(()),
        }
    }
}

/// The files and names of TLS, for a program that reads them itself.
pub(crate) struct TlsPaths {
    pub(crate) authenticate: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) password: Option<String>,
    pub(crate) server_hostname: Option<String>,
}

impl TlsFiles {
    /// An option that is given, to name it where it has no effect.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.tls_ca.is_some(), "--tls-ca"),
            (self.tls_certificate.is_some(), "--tls-certificate"),
            (self.tls_server.is_some(), "--tls-server"),
        ];
        given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    /// What connections are made with.
    pub(crate) fn configure(&self) -> Result<ClientTls, ToolError> {
        let files = ClientFiles {
            certificate: self.tls_certificate.clone(),
            key: self.tls_key.clone(),
            password: std::env::var(PASSWORD_VARIABLE).ok().map(Password::new),
            authenticate: self.tls_ca.clone(),
            server_hostname: self.tls_server.clone(),
            ..ClientFiles::default()
        };
        client_config(&files)
            .map_err(|error| ToolError::Refused(format!("cannot set up TLS: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_tls_are_refused() {
        assert!(matches!(TlsOptions::default().configure(), Ok(None)));
        let files = TlsFiles { tls_ca: Some("ca.pem".into()), ..TlsFiles::default() };
        let refused = TlsOptions { tls: false, files: files.clone() }.configure().unwrap_err();
        assert_eq!(refused.to_string(), "--tls-ca has no effect without --tls");
        let missing = TlsOptions { tls: true, files }.configure().unwrap_err();
        assert!(missing.to_string().starts_with("cannot set up TLS: "), "{missing}");
    }
}
