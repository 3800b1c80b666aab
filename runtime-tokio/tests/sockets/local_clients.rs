//! Clients of a server in the same process.

use rzeo_client::{ClientEvent, ClientOptions, Tid};
use rzeo_host::{Host, StorageSpec};

use super::clients::{commit, record};
use super::server::settings;
use super::{LONG, memory};
use crate::{adapter, block_on};

#[test]
fn a_client_in_the_process_of_its_server_needs_no_listener() {
    let storage = StorageSpec { name: "1".to_owned(), storage: memory() };
    let host = Host::new(&settings(), vec![storage]).unwrap();
    let open = || adapter::open_local_client(host.clone(), ClientOptions::new([])).unwrap();
    block_on(async {
        let (one, other) = (open(), open());
        let oid = one.new_oid().await.unwrap();
        let serial = commit(&one, oid, Tid::ZERO, record(LONG)).await.unwrap();
        other.ping().await.unwrap();
        assert_eq!(other.load(oid).await.unwrap(), (record(LONG), serial));
        let mut events = other.subscribe();
        host.stop_connections();
        assert_eq!(events.next().await, Some(ClientEvent::Disconnected));
        one.close().await;
        other.close().await;
    });
    host.close().unwrap();
}
