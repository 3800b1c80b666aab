//! A worker with functions in Rust, on tokio. Ctrl-C ends it when its jobs have ended.
//!
//! ```console
//! $ rzeo serve --timeout 30 &
//! $ cargo run -p rzeo-tasks --example worker -- localhost:8100 &
//! $ rzeo tasks enqueue localhost:8100 --wait app:add 1 2
//! 3
//! $ rzeo tasks enqueue localhost:8100 --wait app:count visits
//! 1
//! ```

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rzeo_client::{Address, Client, ClientOptions};
use rzeo_core::Oid;
use rzeo_net::tokio::Tokio;
use rzeo_objects::{PersistentMapping, PyValue, Snapshot};
use rzeo_tasks::{Functions, Spawn, Tasks, Worker, WorkerOptions};

/// Number of jobs that are executed at the same time.
const SLOTS: u32 = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:8100".to_owned());
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    work(address.parse()?, stop).await
}

/// Executes jobs until `stop` is ready. Creates the queue if it does not exist.
pub(crate) async fn work(
    address: Address,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let bookkeeper = connect(&address).await?;
    Tasks::new(bookkeeper.clone(), "default").create().await?;
    let functions = Functions::new().add("app:add", add).add_in_transaction("app:count", count);
    let mut options = WorkerOptions::new("default", SLOTS, functions, bookkeeper);
    // A client commits one transaction after the other, so jobs need several.
    for _ in 0..SLOTS {
        options.pool.push(connect(&address).await?);
    }
    let spawn: Spawn = Arc::new(|task| drop(tokio::spawn(task)));
    let (worker, end) = Worker::start(Tokio, &spawn, options);
    stop.await;
    worker.drain(Duration::from_secs(30), Duration::from_secs(5));
    end.await;
    Ok(())
}

async fn connect(address: &Address) -> Result<Client, Box<dyn Error>> {
    Ok(rzeo_tokio::connect(ClientOptions::new([address.clone()])).await?)
}

/// A plain function. It may block, and its effects happen at least once.
fn add(a: i64, b: i64) -> Result<i64, &'static str> {
    a.checked_add(b).ok_or("the sum is too large")
}

/// Adds one to a number in the root object. That happens exactly once for each job: it is committed together with
/// the result.
fn count(snapshot: &mut Snapshot, name: String) -> Result<i64, rzeo_objects::Error> {
    let root = snapshot.read::<PersistentMapping>(Oid::ROOT)?;
    let number = root.get(name.as_str()).and_then(PyValue::as_int).unwrap_or(0) + 1;
    snapshot
        .modify(Oid::ROOT, |root: &mut PersistentMapping| root.insert(name.as_str(), number))?;
    Ok(number)
}
