//! Counts how often it was run, in a database that other programs may use at the same time. The database
//! may be empty.
//!
//! ```console
//! $ cargo run -p rzeo-tokio --example server -- localhost:8100 &
//! $ cargo run -p rzeo-tokio --example client -- localhost:8100
//! ```

use std::error::Error;

use bytes::Bytes;
use rzeo_tokio::rzeo_client::{Begin, CallError, Oid, Refused, Retry, Tid};
use rzeo_tokio::{Address, Client, ClientOptions};

/// Not the root, so that Python's applications can use the same database.
const COUNTER: Oid = Oid(0x636f_756e_7465_7221);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:8100".to_owned());
    let (count, tid) = count_run(address.parse()?).await?;
    println!("run number {count}, committed as {tid}");
    Ok(())
}

/// Counts one run; the new count and its transaction.
pub(crate) async fn count_run(address: Address) -> Result<(u64, Tid), Box<dyn Error>> {
    let client = rzeo_tokio::connect(ClientOptions::new([address])).await?;
    let count = loop {
        match increment(&client).await {
            // Another program was faster. After the ping, a load returns its commit.
            Err(error) if error.retry() == Retry::Transaction => client.ping().await?,
            count => break count?,
        }
    };
    let tid = client.last_tid();
    client.close().await;
    Ok((count, tid))
}

/// Reads the count, adds one, and stores it.
async fn increment(client: &Client) -> Result<u64, CallError> {
    let (count, serial) = match client.load(COUNTER).await {
        Ok((record, serial)) => (read(&record), serial),
        Err(CallError::Refused(Refused::NoSuchObject { .. })) => (0, Tid::ZERO),
        Err(error) => return Err(error),
    };
    let mut transaction = client.begin(Begin::default()).await?;
    transaction.store(COUNTER, serial, record(count + 1)).await?;
    transaction.vote().await?.finish().await?;
    Ok(count + 1)
}

/// A record is two pickles, one of the class and one of the state. The state is the number, as text.
fn record(count: u64) -> Bytes {
    format!("cBTrees.Length\nLength\n.I{count}\n.").into()
}

fn read(record: &Bytes) -> u64 {
    let text = String::from_utf8_lossy(record);
    let state = text.rsplit('I').next().unwrap_or_default();
    state.trim_end_matches("\n.").parse().unwrap_or_default()
}
