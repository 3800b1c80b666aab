//! Why there is no client, and why a blob is not there.

use rzeo_core::client::CallError;
use rzeo_net::Address;
use rzeo_tls::TlsError;
use rzeo_tls::client::ClientTls;
use thiserror::Error;

use crate::blobs::BlobError;
use crate::cache_file::CacheFileError;

/// Why there is no client.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The list of addresses is empty.
    #[error("a client needs the address of at least one server")]
    NoAddress,
    /// With TLS, a host must have a name that a certificate can have.
    #[error("{address}: {error}")]
    ServerName {
        /// Address of the server.
        address: Address,
        /// What is wrong with its host.
        error: TlsError,
    },
    /// The directory of blobs cannot be used.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The file of the cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheFileError),
    /// The thread for files could not be started.
    #[error("the thread for files cannot be started: {0}")]
    Thread(std::io::Error),
    /// No server was reached.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Why a blob cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlobFailure {
    /// The options of the client name no directory of blobs.
    #[error("the client has no directory of blobs")]
    NoDirectory,
    /// The server refuses, or cannot be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] BlobError),
}

/// A client needs an address, and with TLS a host name for each of them.
pub(crate) fn check_addresses(
    addresses: &[Address],
    tls: Option<&ClientTls>,
) -> Result<(), ConnectError> {
    if addresses.is_empty() {
        return Err(ConnectError::NoAddress);
    }
    for address in addresses {
        let name = tls.map(|tls| tls.server_name(address.host_to_connect())).transpose();
        name.map_err(|error| ConnectError::ServerName { address: address.clone(), error })?;
    }
    Ok(())
}
