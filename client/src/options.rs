//! Options of a client.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use rzeo_core::client::cache::Cache;
use rzeo_core::client::{Access, Client as Machine, ClientSettings, Reconnect};
use rzeo_net::Address;
use rzeo_tls::client::ClientTls;

use crate::blobs::{BlobDir, BlobOptions};
use crate::cache_file::CacheFile;
use crate::client::Client;
use crate::disk;
use crate::driver::Driver;
use crate::error::{ConnectError, check_addresses};
use crate::observer::{Observer, Observers};
use crate::resolver::{Builtin, Resolver};
use crate::shared::{Clock, Shared};

/// Options of a client.
///
/// ```
/// use rzeo_client::{Access, ClientOptions};
///
/// # fn main() -> Result<(), rzeo_client::AddressError> {
/// let addresses = ["db1.example.com:8100".parse()?, "db2.example.com:8100".parse()?];
/// let options = ClientOptions {
///     access: Access::ReadOnlyFallback,
///     cache_bytes: 200 << 20,
///     ..ClientOptions::new(addresses)
/// };
/// # let _ = options;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientOptions {
    /// The servers; all serve the same data.
    pub addresses: Vec<Address>,
    /// Name of the storage; servers call an unnamed one `1`.
    pub storage: String,
    /// Whether the client writes.
    pub access: Access,
    /// Name of the client in the server's log.
    pub label: Option<String>,
    /// How long a call waits for a connection before it fails.
    pub wait_timeout: Duration,
    /// How long a server may take from being asked to connect until it can be used.
    pub connect_timeout: Duration,
    /// When a server that could not be reached is tried again, and how often. By default, without end:
    /// after 100 ms, then after twice as long each time, up to a second.
    pub reconnect: Reconnect,
    /// Maximum length of a message from the server.
    pub frame_bytes_max: u32,
    /// Maximum size of the cache of records.
    pub cache_bytes: usize,
    /// File in which the cache is kept, so that the next client begins with it; `None` for memory only.
    pub cache_path: Option<PathBuf>,
    /// Directory of blobs; `None` for a client without blobs.
    pub blobs: Option<BlobOptions>,
    /// Whether [`Client::sync`] asks the server.
    pub server_sync: bool,
    /// TLS for the connections; [`rzeo_tls::client::client_config`] makes it. `None` for no encryption.
    pub tls: Option<ClientTls>,
    /// Resolves conflicts that the server leaves to its clients.
    pub resolver: Arc<dyn Resolver>,
    /// Is called at once for each commit.
    pub observer: Option<Arc<dyn Observer>>,
    /// Seed of the random part of delays between attempts to connect; `None` for a random one.
    pub seed: Option<u64>,
}

impl ClientOptions {
    /// A client of these servers, with defaults for everything else.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = Address>) -> Self {
        Self { addresses: addresses.into_iter().collect(), ..Self::default() }
    }

    /// Makes a client, and the driver that an adapter runs for it; nothing happens before it does. Reads
    /// the file of the cache, which may take a while.
    ///
    /// # Errors
    /// If an option is invalid, or a file cannot be used. No server is contacted yet.
    pub fn open(self) -> Result<(Client, Driver), ConnectError> {
        check_addresses(&self.addresses, self.tls.as_ref())?;
        let clock = Clock::start();
        let settings = self.settings();
        let blobs = self.blobs.as_ref().map(BlobDir::open).transpose()?;
        let (cache_file, cache) = match &self.cache_path {
            Some(path) => {
                let (file, cache) = CacheFile::open(path, self.cache_bytes)?;
                (Some(file), cache)
            }
            None => (None, Cache::new(self.cache_bytes)),
        };
        let machine = Machine::new(clock.now(), settings, cache);
        let needs_disk = blobs.is_some() || cache_file.is_some();
        let (jobs, todo) = channel();
        let observers = Observers::new(self.observer);
        let jobs = needs_disk.then_some(jobs);
        let shared = Shared::new(clock, machine, self.addresses, observers, jobs);
        if needs_disk {
            let started = disk::start(shared.clone(), todo, blobs.clone(), cache_file);
            started.map_err(ConnectError::Thread)?;
        }
        let driver = Driver::new(shared.clone(), self.resolver, self.tls.clone());
        Ok((Client::new(shared, blobs, self.tls, self.server_sync), driver))
    }

    fn settings(&self) -> ClientSettings {
        ClientSettings {
            storage: self.storage.clone(),
            servers: self.addresses.len(),
            access: self.access,
            label: self.label.clone(),
            wait_timeout: self.wait_timeout,
            connect_timeout: self.connect_timeout,
            reconnect: self.reconnect,
            cache_bytes: self.cache_bytes,
            frame_bytes_max: self.frame_bytes_max,
            seed: self.seed.unwrap_or_else(|| RandomState::new().hash_one(())),
        }
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        let usual = ClientSettings::default();
        Self {
            addresses: Vec::new(),
            storage: usual.storage,
            access: usual.access,
            label: usual.label,
            wait_timeout: usual.wait_timeout,
            connect_timeout: usual.connect_timeout,
            reconnect: usual.reconnect,
            frame_bytes_max: usual.frame_bytes_max,
            cache_bytes: usual.cache_bytes,
            cache_path: None,
            blobs: None,
            server_sync: false,
            tls: None,
            resolver: Arc::new(Builtin),
            observer: None,
            seed: None,
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("addresses", &self.addresses)
            .field("storage", &self.storage)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}
