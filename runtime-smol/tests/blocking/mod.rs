//! The client whose calls block.

use std::sync::Arc;

use rzeo_client::{Begin, CallError, ClientEvent, ClientOptions, Oid, Tid};
use rzeo_smol::blocking;
use rzeo_storage::MappingStorage;

use crate::sockets::client::local;
use crate::sockets::server::{Running, settings};

#[test]
fn calls_block() {
    let server = Running::start(&settings(), Arc::new(MappingStorage::new()), &local(), None);
    let address = server.address().to_string().parse();
    let options = ClientOptions::new([address.expect("a server has an address")]);
    let client = blocking::connect(options).expect("the server is there");
    let mut events = client.subscribe();
    let committed = || -> Result<(Oid, Tid), CallError> {
        let oid = client.new_oid()?;
        let mut transaction = client.begin(Begin::default())?;
        transaction.store(oid, Tid::ZERO, "a record".into())?;
        Ok((oid, transaction.vote()?.finish()?))
    };
    let (oid, tid) = committed().expect("no other client writes");
    assert_eq!(client.load(oid), Ok(("a record".into(), tid)));
    assert_eq!(client.last_tid(), tid);
    let expected = ClientEvent::Committed { tid, oids: [oid].into() };
    assert!(events.any(|it| it == expected));
    let mut walk = client.transactions(None, None);
    let walked = walk.next().map(|transaction| transaction.map(|transaction| transaction.tid));
    assert_eq!(walked, Some(Ok(tid)));
    let records: Result<Vec<_>, _> = walk.records().collect();
    assert_eq!(records.map(|records| records.len()), Ok(1));
    assert!(walk.next().is_none());
    client.close();
    assert_eq!(client.ping(), Err(CallError::Closed));
    assert!(
        events.all(|it| it == ClientEvent::Disconnected || matches!(it, ClientEvent::Info { .. }))
    );
    server.stop();
}
