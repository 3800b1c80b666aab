//! A server and a client over streams of async-std, on async-std's own executor.
//!
//! async-std is discontinued (RUSTSEC-2025-0052), so only this test depends on it. Its streams have the
//! traits of futures-io, which is all that a program that still uses it needs.

use std::net::Ipv4Addr;
use std::sync::Arc;

use async_std::net::{TcpListener, TcpStream};
use async_std::task;
use rzeo_smol::rzeo_client::{Begin, CallError, Client, Driver, Link, Oid, Tid};
use rzeo_smol::rzeo_net::smol::{FuturesStream, Smol};
use rzeo_smol::rzeo_storage::MappingStorage;
use rzeo_smol::{Address, ClientOptions, Host, Settings, StorageSpec, serve_stream};

/// Fills several reads and writes.
const LONG: usize = 300_000;

#[test]
fn a_client_on_async_std_commits_at_a_server_on_async_std() {
    let storage = StorageSpec { name: "1".to_owned(), storage: Arc::new(MappingStorage::new()) };
    let host = Host::new(&Settings::default(), vec![storage]).expect("it is empty");
    task::block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let served = task::spawn(accept(listener, host.clone()));
        let options = ClientOptions::new([Address::tcp("127.0.0.1", port)]);
        let (client, driver) = options.open().expect("no files are needed");
        let driving = task::spawn(drive(driver));
        commit(&client).await.expect("the server takes it");
        client.close().await;
        driving.await;
        served.await;
    });
    host.close().expect("it is in memory");
}

/// Serves one connection to its end.
async fn accept(listener: TcpListener, host: Arc<Host>) {
    let (stream, peer) = listener.accept().await.expect("the client connects");
    serve_stream(host, stream, peer.to_string()).await;
}

async fn drive(driver: Driver) {
    driver.run(Smol, |link| drop(task::spawn(connect(link)))).await;
}

async fn connect(link: Link) {
    let Address::Tcp { host: Some(host), port } = link.address().clone() else { return };
    let connecting = async move { TcpStream::connect((host.as_str(), port)).await };
    if let Some((link, stream)) = link.attempt(connecting).await {
        link.run(Smol, FuturesStream(stream)).await;
    }
}

async fn commit(client: &Client) -> Result<(), CallError> {
    let mut transaction = client.begin(Begin::default()).await?;
    transaction.store(Oid::ROOT, Tid::ZERO, vec![b'x'; LONG].into()).await?;
    let tid = transaction.vote().await?.finish().await?;
    client.sync().await?;
    let (record, serial) = client.load(Oid::ROOT).await?;
    assert_eq!((record.len(), serial), (LONG, tid));
    Ok(())
}
