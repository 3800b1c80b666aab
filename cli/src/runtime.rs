//! The two async runtimes; they serve alike.

use std::future::Future;
use std::io;
use std::sync::Arc;

use rzeo_host::Host;
use rzeo_net::Listener;
use rzeo_tokio::ServerConfig;

use crate::config::Runtime;

impl Runtime {
    /// Serves until `stop` is done and all connections have ended; `hurry` closes them at once.
    pub(crate) fn run(
        self,
        host: &Arc<Host>,
        listeners: Vec<Listener>,
        tls: Option<Arc<ServerConfig>>,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> io::Result<()> {
        match self {
            Self::Tokio => rzeo_tokio::serve_blocking(host.clone(), listeners, tls, stop, hurry),
            Self::Smol => rzeo_smol::serve_blocking(host.clone(), listeners, tls, stop, hurry),
        }
    }
}
