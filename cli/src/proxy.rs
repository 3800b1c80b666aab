//! Opens storages that are clients of other servers.
//!
//! Whatever runtime serves, a client of another server is driven by a small one of tokio's in a thread of
//! its own: it has one connection.

use std::io;

use rzeo_client::blobs::BlobOptions;
use rzeo_client::{Access, ClientOptions, Driver};
use rzeo_core::storage::StorageError;
use rzeo_proxy::{Proxy, ProxyOptions};
use rzeo_tls::client::{ClientFiles, ClientTls, client_config};

use crate::config::{ClientTlsConfig, ZeoClientConfig};
use crate::tls::{self, SslError};

/// Connects to a server and opens its storage.
pub(crate) fn open(config: &ZeoClientConfig) -> Result<Proxy, StorageError> {
    let tls = config.ssl.as_ref().map(client_tls).transpose().map_err(|error| no_tls(&error))?;
    let client = ClientOptions {
        storage: config.storage.clone(),
        access: access(config),
        label: config.client_label.clone(),
        wait_timeout: config.wait_timeout,
        cache_bytes: usize::try_from(config.cache_size).unwrap_or(usize::MAX),
        cache_path: config.cache_path.clone(),
        blobs: blobs(config),
        tls,
        ..ClientOptions::new(config.servers.iter().cloned())
    };
    let name = Some(config.name.clone()).filter(|name| !name.is_empty());
    Proxy::open(ProxyOptions { client, name }, drive)
}

const fn access(config: &ZeoClientConfig) -> Access {
    match (config.read_only, config.read_only_fallback) {
        (true, _) => Access::ReadOnly,
        (false, true) => Access::ReadOnlyFallback,
        (false, false) => Access::ReadWrite,
    }
}

fn blobs(config: &ZeoClientConfig) -> Option<BlobOptions> {
    let path = config.blob_dir.as_deref()?;
    if config.shared_blob_dir {
        return Some(BlobOptions::shared(path));
    }
    let usual = BlobOptions::cache(path);
    let percent = |percent: i64| u8::try_from(percent.clamp(0, 255)).unwrap_or(u8::MAX);
    let check_percent = config.blob_cache_size_check.map_or(usual.check_percent, percent);
    Some(BlobOptions { cache_size: config.blob_cache_size, check_percent, ..usual })
}

fn client_tls(config: &ClientTlsConfig) -> Result<ClientTls, SslError> {
    let files = ClientFiles {
        certificate: Some(config.certificate.clone()),
        key: config.key.clone(),
        password: config.password.clone().map(tls::password).transpose()?,
        authenticate: config.authenticate.clone(),
        check_hostname: config.check_hostname,
        server_hostname: config.server_hostname.clone(),
        pins: Vec::new(),
    };
    Ok(client_config(&files)?)
}

fn no_tls(error: &SslError) -> StorageError {
    StorageError::Disk {
        doing: "use <ssl> in <zeoclient>".to_owned(),
        text: error.to_string(),
        code: None,
    }
}

fn drive(driver: Driver) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let drive = move || runtime.block_on(rzeo_tokio::drive_client(driver));
    std::thread::Builder::new().name("client".to_owned()).spawn(drive).map(drop)
}
