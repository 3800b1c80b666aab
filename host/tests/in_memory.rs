//! A client and a server in one thread: no socket, no async runtime, no real time between them. Only the
//! storage is written by a thread of the host.

use std::sync::Arc;

use rzeo_client::{Address, Begin, CallError, Client, ClientOptions, Oid, Tid};
use rzeo_host::{Host, Settings, StorageSpec};
use rzeo_net::memory::{Memory, pipe};
use rzeo_storage::MappingStorage;

/// Longer than what a pipe holds.
const LONG: usize = 10_000;

#[test]
fn a_client_commits_at_a_server_in_memory() {
    let storage = StorageSpec { name: "1".to_owned(), storage: Arc::new(MappingStorage::new()) };
    let host = Host::new(&Settings::default(), vec![storage]).expect("it is empty");
    let memory = Memory::new();
    let options = ClientOptions::new([Address::unix("/in/memory")]);
    let (client, driver) = options.open().expect("no files are needed");
    let (server, runtime) = (host.clone(), memory.clone());
    memory.spawn(driver.run(memory.clone(), move |link| {
        let (near, far) = pipe(1_000);
        let connected = server.admit("memory".to_owned()).expect("there is room").connect();
        runtime.spawn(connected.serve(runtime.clone(), far));
        runtime.spawn(link.run(runtime.clone(), near));
    }));
    memory.spawn(async move {
        commit(&client).await.expect("the server takes it");
        client.close().await;
    });
    // Until the client, the server's connection and the client's have ended.
    while memory.running() > 0 {
        memory.run();
        std::thread::yield_now();
    }
    assert_eq!(host.connection_counts().open, 0);
    host.close().expect("it is in memory");
}

async fn commit(client: &Client) -> Result<(), CallError> {
    let mut transaction = client.begin(Begin::default()).await?;
    transaction.store(Oid::ROOT, Tid::ZERO, vec![b'x'; LONG].into()).await?;
    let tid = transaction.vote().await?.finish().await?;
    let other = client.load_before(Oid::ROOT, Tid::MAX).await?;
    assert_eq!(other.map(|revision| revision.serial), Some(tid));
    Ok(())
}
