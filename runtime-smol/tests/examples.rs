//! The example works: a client commits at the server and reads it back.

#[expect(dead_code, reason = "its main is not called")]
#[path = "../examples/server.rs"]
mod server;

use rzeo_smol::rzeo_client::{Begin, Oid, Tid};
use rzeo_smol::{Address, ClientOptions};

#[test]
fn a_client_commits_at_the_server() {
    let directory = tempfile::tempdir().expect("a directory for the socket");
    let address = Address::unix(directory.path().join("socket"));
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let serving = server::serve(&address, async {
        let _ = stopped.recv().await;
    });
    let committing = async {
        let client = rzeo_smol::connect(ClientOptions::new([address.clone()])).await?;
        let mut transaction = client.begin(Begin::default()).await?;
        transaction.store(Oid::ROOT, Tid::ZERO, "a record".into()).await?;
        let tid = transaction.vote().await?.finish().await?;
        let (record, serial) = client.load(Oid::ROOT).await?;
        assert_eq!((&record[..], serial), (&b"a record"[..], tid));
        client.close().await;
        drop(stop);
        Ok(())
    };
    smol::block_on(smol::future::try_zip(serving, committing)).expect("both end well");
}
