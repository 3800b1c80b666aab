//! A ZEO server in a program of one's own, with a database in memory.
//!
//! ```console
//! $ cargo run -p rzeo-tokio --example server -- localhost:8100
//! ```

use std::error::Error;
use std::future::{Future, pending};
use std::sync::Arc;

use rzeo_tokio::rzeo_storage::MappingStorage;
use rzeo_tokio::{Address, Host, Settings, StorageSpec, listen};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:8100".to_owned());
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    serve(&address.parse()?, stop).await
}

/// Serves until `stop` is ready.
pub(crate) async fn serve(
    address: &Address,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let listeners = listen(address)?;
    println!("serving on {}", listeners[0].address()?);
    // Clients ask for storage "1" unless they are told another name.
    let storage = StorageSpec { name: "1".to_owned(), storage: Arc::new(MappingStorage::new()) };
    let host = Host::new(&Settings::default(), vec![storage])?;
    rzeo_tokio::serve(host.clone(), listeners, None, stop, pending()).await?;
    host.close()?;
    Ok(())
}
