//! Reads a database with a cache of records in a file, so that the next run finds them there.
//!
//! ```console
//! $ cargo run -p rzeo-tokio --example server -- localhost:8100 &
//! $ cargo run -p rzeo-client --example own_cache -- localhost:8100 /tmp/own.cache
//! 0 records from the cache, 12 from the server
//! $ cargo run -p rzeo-client --example own_cache -- localhost:8100 /tmp/own.cache
//! 12 records from the cache, 0 from the server
//! ```
//!
//! The database may be empty.

use std::error::Error;

use rzeo_client::{CallError, Client, ClientOptions, Oid, Refused};

/// Number of objects to read, from the root on.
const OBJECTS: u64 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "localhost:8100".to_owned());
    let options = ClientOptions {
        cache_path: Some(arguments.next().unwrap_or_else(|| "own.cache".to_owned()).into()),
        cache_bytes: 64 << 20,
        ..ClientOptions::new([address.parse()?])
    };
    let client = rzeo_tokio::connect(options).await?;
    read_objects(&client).await?;
    let statistics = client.cache_statistics();
    println!("{} records from the cache, {} from the server", statistics.hits, statistics.stores);
    // Waits until the cache is written.
    client.close().await;
    Ok(())
}

async fn read_objects(client: &Client) -> Result<(), CallError> {
    // One view of the whole database, whatever others commit meanwhile.
    let before = client.last_tid().next();
    let oids: Vec<Oid> = (0..OBJECTS).map(Oid).collect();
    // One round trip for all that is not in the cache.
    client.prefetch(&oids, before);
    for oid in oids {
        match client.load_before(oid, before).await {
            Ok(_) | Err(CallError::Refused(Refused::NoSuchObject { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
