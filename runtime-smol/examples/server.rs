//! A ZEO server in a program of one's own, with a database in memory.
//!
//! ```console
//! $ cargo run -p rzeo-smol --example server -- localhost:8100
//! ```

use std::error::Error;
use std::future::{Future, pending};
use std::sync::Arc;

use rzeo_smol::rzeo_storage::MappingStorage;
use rzeo_smol::{Address, Host, Settings, StorageSpec, listen};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:8100".to_owned());
    // Until the program is killed. A program of one's own has its own reason to stop.
    smol::block_on(serve(&address.parse()?, pending()))
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
    rzeo_smol::serve(host.clone(), listeners, None, stop, pending()).await?;
    host.close()?;
    Ok(())
}
