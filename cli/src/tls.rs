//! From an `<ssl>` section to what the runtimes need to speak TLS.

use std::sync::Arc;

use rzeo_tls::{Password, PasswordCommandError, TlsError, TlsFiles, password_from_command};
use thiserror::Error;

use crate::config::{KeyPassword, TlsConfig};

/// Why there is no TLS.
#[derive(Debug, Error)]
pub(crate) enum SslError {
    /// A password command without a password.
    #[error(transparent)]
    Password(#[from] PasswordCommandError),
    /// Files that are missing, or do not fit.
    #[error(transparent)]
    Files(#[from] TlsError),
}

/// The password of a key: as it is given, or what its command prints.
pub(crate) fn password(from: KeyPassword) -> Result<Password, PasswordCommandError> {
    match from {
        KeyPassword::Given(password) => Ok(Password::new(password)),
        KeyPassword::Command(command) => password_from_command(&command),
    }
}

/// Runs the password command, if there is one, and reads the files.
pub(crate) fn configure(config: TlsConfig) -> Result<Arc<rzeo_tokio::ServerConfig>, SslError> {
    let TlsConfig { certificate, key, authenticate, password: from } = config;
    let password = from.map(password).transpose()?;
    Ok(rzeo_tls::server_config(&TlsFiles { certificate, key, password, authenticate })?)
}
