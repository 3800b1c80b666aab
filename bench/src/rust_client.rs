//! Loads per second of the Rust client and of Python's: of cached objects, and of others.
//!
//! Both use the same server, rzeo. Of objects that are not cached, 64 are loaded at once: with
//! Python's client by 64 threads, and by its `prefetch`, which is faster but only fills the cache.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_util::stream::FuturesUnordered;
use rzeo_core::{Oid, Tid};
use rzeo_tokio::rzeo_client::Address;
use rzeo_tokio::{Client, ClientOptions};

use crate::client::OBJECTS;

/// Number of concurrent loads.
const IN_FLIGHT: usize = 64;

/// Operations per second of a client: loads of cached objects, loads of others, and prefetches of
/// others.
pub(crate) struct Figures {
    pub(crate) warm: f64,
    pub(crate) cold: f64,
    pub(crate) prefetched: f64,
}

/// Measures the Rust client. Its prefetches are not measured: they cannot be slower than loads.
pub(crate) fn rust(address: SocketAddr, time: Duration) -> io::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect(address, 100 << 20).await?;
        for oid in 0..OBJECTS {
            load(&client, oid).await?;
        }
        let warm = warm(&client, time).await?;
        client.close().await;
        // The cache is too small for any record, so that the client requests each one.
        let client = connect(address, 1000).await?;
        let cold = cold(&client, time).await?;
        client.close().await;
        Ok(Figures { warm, cold, prefetched: cold })
    })
}

async fn connect(address: SocketAddr, cache_bytes: usize) -> io::Result<Client> {
    let address = Address::tcp(address.ip().to_string(), address.port());
    let options = ClientOptions { cache_bytes, ..ClientOptions::new([address]) };
    rzeo_tokio::connect(options).await.map_err(io::Error::other)
}

async fn load(client: &Client, oid: u64) -> io::Result<()> {
    let found = client.load_before(Oid(oid), Tid::MAX).await.map_err(io::Error::other)?;
    found.map(drop).ok_or_else(|| io::Error::other("no such object"))
}

async fn warm(client: &Client, time: Duration) -> io::Result<f64> {
    let (started, mut done) = (Instant::now(), 0.0);
    while started.elapsed() < time {
        for oid in 0..OBJECTS {
            load(client, oid).await?;
            done += 1.0;
        }
    }
    Ok(done / started.elapsed().as_secs_f64())
}

async fn cold(client: &Client, time: Duration) -> io::Result<f64> {
    let (started, mut done) = (Instant::now(), 0.0);
    let mut oids = (0..OBJECTS).cycle();
    let mut loads: FuturesUnordered<_> =
        oids.by_ref().take(IN_FLIGHT).map(|oid| load(client, oid)).collect();
    while let Some(loaded) = loads.next().await {
        loaded?;
        done += 1.0;
        if started.elapsed() < time {
            loads.extend(oids.next().map(|oid| load(client, oid)));
        }
    }
    Ok(done / started.elapsed().as_secs_f64())
}

/// Measures Python's client.
pub(crate) fn python(python: &str, address: SocketAddr, time: Duration) -> io::Result<Figures> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/client_loads.py");
    let output = Command::new(python)
        .arg(script)
        .args([address.ip().to_string(), address.port().to_string(), OBJECTS.to_string()])
        .arg(time.as_secs_f64().to_string())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    match figures[..] {
        [warm, cold, prefetched] => Ok(Figures { warm, cold, prefetched }),
        _ => Err(io::Error::other(format!(
            "client_loads.py: {}",
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}
