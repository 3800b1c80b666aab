//! The storage.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_lite::future::block_on;
use rzeo_client::{Access, Client, ClientOptions, ConnectError, Driver, ServerInfo, Voted};
use rzeo_core::storage::{
    BlobStore, Committed, CurrentRecord, Description, Finishing, HistoryEntry, HistoryShape, Info,
    Load, Patience, PreparedPack, Scratch, Storage, StorageError, Subscriber, TransactionHeader,
    TransactionIterator, TransactionMeta, Vote,
};
use rzeo_core::{Oid, Tid, UnixTime};

use crate::blobs::{ClientBlobs, TemporaryFile};
use crate::errors::{self, may_wait, storage_error};
use crate::histories;
use crate::invalidations::InvalidationRelay;
use crate::iterators::ProxyTransactions;
use crate::vote::{ProxyVote, VotedAtServer};

/// How a proxy is set up.
#[derive(Debug)]
pub struct ProxyOptions {
    /// Options of the client. Its observer is replaced by the proxy's own.
    pub client: ClientOptions,
    /// Name of the storage; `None` for the addresses of the servers.
    pub name: Option<String>,
}

/// A storage that is the client of another server.
pub struct Proxy {
    client: Client,
    /// The blobs, if the client has a directory for them.
    blobs: Option<ClientBlobs>,
    relay: Arc<InvalidationRelay>,
    description: Description,
    /// Takes transactions to abort.
    dropped: Sender<Voted>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Opens a proxy, and waits for a server for as long as a call of the client may wait. `drive` starts
    /// to run the client's [`Driver`] on another thread, until the storage is closed.
    ///
    /// # Errors
    /// `Unreachable` if no server was reached, `Disk` for the directory of blobs or a thread.
    pub fn open(
        options: ProxyOptions,
        drive: impl FnOnce(Driver) -> std::io::Result<()>,
    ) -> Result<Self, StorageError> {
        let ProxyOptions { client: mut options, name } = options;
        let read_only = options.access == Access::ReadOnly;
        let addresses: Vec<_> = options.addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        let name = name.unwrap_or_else(|| addresses.clone());
        let relay = Arc::new(InvalidationRelay::default());
        options.observer = Some(relay.clone());
        let (client, driver) = options.open().map_err(not_opened)?;
        drive(driver).map_err(|error| no_thread(&error))?;
        block_on(client.wait_connected()).map_err(|error| match storage_error(error) {
            StorageError::Unreachable(text) => {
                StorageError::Unreachable(format!("{addresses}: {text}"))
            }
            error => error,
        })?;
        let info = client.known_info().ok_or_else(|| {
            StorageError::Unreachable(format!("{name} was lost before it described its storage"))
        })?;
        // A commit that is announced between these two lines is later than this tid.
        let last_tid = client.last_tid();
        relay.begin_at(last_tid);
        let blobs = ClientBlobs::of(&client);
        let description = description(name, read_only, blobs.is_some(), &info);
        Ok(Self { client, blobs, relay, description, dropped: start_aborting()? })
    }
}

/// Starts a thread that aborts transactions.
fn start_aborting() -> Result<Sender<Voted>, StorageError> {
    let (dropped, transactions) = channel();
    std::thread::Builder::new()
        .name("aborts".to_owned())
        .spawn(move || transactions.into_iter().for_each(drop::<Voted>))
        .map_err(|error| no_thread(&error))?;
    Ok(dropped)
}

fn no_thread(error: &std::io::Error) -> StorageError {
    StorageError::Disk {
        doing: "start a thread for the client of a server".to_owned(),
        text: error.to_string(),
        code: error.raw_os_error(),
    }
}

fn not_opened(error: ConnectError) -> StorageError {
    match error {
        ConnectError::Call(error) => storage_error(error),
        error => StorageError::Disk {
            doing: "open a client".to_owned(),
            text: error.to_string(),
            code: None,
        },
    }
}

/// The interfaces that Python's client takes over from its server.
const INTERFACES: [(&str, &str); 5] = [
    ("ZODB.interfaces", "IStorageRestoreable"),
    ("ZODB.interfaces", "IStorageIteration"),
    ("ZODB.interfaces", "IStorageUndoable"),
    ("ZODB.interfaces", "IStorageCurrentRecordIteration"),
    ("ZODB.interfaces", "IExternalGC"),
];
const BLOBS: (&str, &str) = ("ZODB.interfaces", "IBlobStorage");

fn description(name: String, read_only: bool, has_blobs: bool, info: &ServerInfo) -> Description {
    let has = |wanted: &(&str, &str)| {
        info.interfaces.iter().any(|(module, name)| (module.as_str(), name.as_str()) == *wanted)
    };
    let blobs = (has_blobs && has(&BLOBS)).then_some(BLOBS);
    let others = INTERFACES.into_iter().filter(has);
    let own = [("ZODB.interfaces", "IMultiCommitStorage"), ("zope.interface", "Interface")];
    Description {
        name,
        read_only,
        supports_undo: info.supports_undo,
        supports_record_iternext: info.supports_record_iternext,
        interfaces: blobs.into_iter().chain(others).chain(own).collect(),
        history: HistoryShape::FileStorage,
        is_proxy: true,
    }
}

impl Storage for Proxy {
    fn description(&self) -> Description {
        self.description.clone()
    }

    fn info(&self) -> Info {
        self.relay.info()
    }

    fn last_tid(&self) -> Tid {
        self.relay.last_tid()
    }

    fn recent(&self, _: usize) -> Result<Option<Vec<(Tid, Vec<Oid>)>>, StorageError> {
        Ok(None)
    }

    /// For an object that is younger than `before`, the server does not return the first serial, so
    /// the proxy returns the earliest possible one.
    fn load_before(&self, oid: Oid, before: Tid, patience: Patience) -> Result<Load, StorageError> {
        let loading = self.client.load_before(oid, before);
        let loaded = match patience {
            Patience::Wait => block_on(loading),
            // A record that is not cached has been requested now; a load that may wait joins this
            // one.
            Patience::Now => match pin!(loading).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(loaded) => loaded,
                Poll::Pending => return Err(StorageError::WouldBlock),
            },
        };
        let revision = loaded.map_err(storage_error)?;
        Ok(revision.map_or(Load::Younger { first: before }, Load::Found))
    }

    fn load_serial(
        &self,
        oid: Oid,
        serial: Tid,
        patience: Patience,
    ) -> Result<Bytes, StorageError> {
        may_wait(patience)?;
        block_on(self.client.load_serial(oid, serial)).map_err(storage_error)
    }

    fn current_serial(&self, oid: Oid, patience: Patience) -> Result<Tid, StorageError> {
        may_wait(patience)?;
        block_on(self.client.current_serial(oid)).map_err(storage_error)
    }

    fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, StorageError> {
        let entries = block_on(self.client.history(oid, size)).map_err(storage_error)?;
        entries.into_iter().map(histories::history_entry).collect()
    }

    fn next_record(&self, from: Oid) -> Result<CurrentRecord, StorageError> {
        block_on(self.client.next_record(Some(from))).map_err(errors::of_next_record)
    }

    fn new_oids(&self, count: usize, patience: Patience) -> Result<Vec<Oid>, StorageError> {
        may_wait(patience)?;
        (0..count).map(|_| block_on(self.client.new_oid()).map_err(storage_error)).collect()
    }

    fn undo_log(
        &self,
        visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        histories::undo_log(&self.client, visit)
    }

    fn iterate(
        &self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Box<dyn TransactionIterator>, StorageError> {
        Ok(Box::new(ProxyTransactions(self.client.transactions(start, stop))))
    }

    fn begin_vote<'a>(
        &'a self,
        meta: &TransactionMeta,
        patience: Patience,
    ) -> Result<Box<dyn Vote + 'a>, StorageError> {
        if self.client.is_connected() && self.client.is_read_only() {
            return Err(StorageError::ReadOnly);
        }
        may_wait(patience)?;
        Ok(Box::new(ProxyVote::new(&self.client, &self.dropped, meta)))
    }

    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError> {
        let commit = |Finishing { voted, .. }| {
            let voted: Box<VotedAtServer> =
                voted.0.downcast().expect("only our own votes are committed");
            let tid = block_on(voted.take().finish()).map_err(storage_error)?;
            // After a ping all that was committed before is announced. If the server is lost meanwhile,
            // all clients have to verify.
            let _ = block_on(self.client.ping());
            Ok(Committed { tid, info: self.info() })
        };
        group.into_iter().map(commit).collect()
    }

    fn subscribe(&self, since: Tid, subscriber: Subscriber) {
        self.relay.subscribe(since, subscriber);
    }

    /// The server packs.
    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError> {
        block_on(self.client.pack(time, true)).map_err(storage_error)?;
        Ok(None)
    }

    fn blobs(&self) -> Option<&dyn BlobStore> {
        self.blobs.as_ref().map(|blobs| blobs as _)
    }

    fn scratch(&self) -> Result<Option<Arc<dyn Scratch>>, StorageError> {
        let directory = self.client.blob_directory().map(|blobs| blobs.temporary().to_owned());
        let directory = directory.unwrap_or_else(std::env::temp_dir);
        Ok(Some(TemporaryFile::create(&directory)?))
    }

    fn close(&self) -> Result<(), StorageError> {
        block_on(self.client.close());
        Ok(())
    }
}
