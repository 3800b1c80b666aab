//! The handle of an application.

use std::fmt;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_channel::oneshot;
use rzeo_core::client::cache::Statistics;
use rzeo_core::client::query::{
    CurrentSerial, History, Info, LoadSerial, NextRecord, Pack, Ping, ServerStatus, UndoInfo,
    UndoLog,
};
use rzeo_core::client::{Begin, CallError, Found, Refused, ServerInfo, UndoEntry};
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::{CurrentRecord, Revision};
use rzeo_core::time::UnixTime;
use rzeo_core::value::Value;
use rzeo_net::Address;
use rzeo_tls::client::ClientTls;

use crate::blobs::{Blob, BlobDir, Fetch};
use crate::disk_job::{DiskJob, Incoming};
use crate::error::{BlobFailure, ConnectError, check_addresses};
use crate::handle::Handle;
use crate::iterators::TransactionIterator;
use crate::observer::Subscription;
use crate::shared::Shared;
use crate::transaction::{Open, Transaction};
use crate::unblock::unblock;

/// One storage, as one application uses it. Clones are the same client; it is closed with the last of
/// them, and of the transactions and walks that it has made.
///
/// A call that needs the server waits for a connection for as long as the options say, and then fails.
/// What is asked when there is one fails if that is lost, except loads and new oids, which are asked for
/// again.
#[derive(Clone)]
pub struct Client(Arc<Handle>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// How it is.
impl Client {
    pub(crate) fn new(
        shared: Arc<Shared>,
        blobs: Option<BlobDir>,
        tls: Option<ClientTls>,
        server_sync: bool,
    ) -> Self {
        Self(Arc::new(Handle { shared, blobs, tls, server_sync }))
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The newest commit that observers know of. What was loaded before [`Tid::next`] of it is a
    /// consistent view of the whole storage.
    #[must_use]
    pub fn last_tid(&self) -> Tid {
        self.shared().look(|state| state.machine.last_tid())
    }

    /// Whether calls go through now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared().look(|state| state.machine.is_connected())
    }

    /// Whether writing is refused, by the options or by the server.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.shared().look(|state| state.machine.is_read_only())
    }

    /// What the server last said of its storage; `None` before the first connection.
    #[must_use]
    pub fn known_info(&self) -> Option<Arc<ServerInfo>> {
        self.shared().look(|state| state.machine.info().cloned())
    }

    /// What the cache has been good for.
    #[must_use]
    pub fn cache_statistics(&self) -> Statistics {
        self.shared().look(|state| state.machine.cache().statistics())
    }

    /// All news from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.shared().with(|state, _| state.audience.subscribe(state.driver.is_gone))
    }

    /// Waits until calls go through, for as long as a call may wait; a server that is reached and lost
    /// again is waited for anew. Can be dropped at any time.
    ///
    /// # Errors
    /// If no server was reached in that time.
    pub async fn wait_connected(&self) -> Result<(), CallError> {
        while !self.is_connected() {
            match self.ping().await {
                Err(CallError::Lost(_)) => {}
                result => return result,
            }
        }
        Ok(())
    }

    /// There are other servers now. Takes effect when the connection is lost; at once if there is none, or
    /// one that refuses writing although writing is wanted.
    ///
    /// # Errors
    /// If there is no address, or with TLS one whose host is no name. All stays as it was then.
    pub fn set_addresses(
        &self,
        addresses: impl IntoIterator<Item = Address>,
    ) -> Result<(), ConnectError> {
        let addresses: Vec<Address> = addresses.into_iter().collect();
        check_addresses(&addresses, self.0.tls.as_ref())?;
        self.shared().with(|state, now| {
            let servers = addresses.len();
            state.addresses = addresses;
            state.machine.set_servers(now, servers);
        });
        Ok(())
    }

    /// Closes all connections and lets everything that waits fail, also for other handles; waits until
    /// all that was to be written to files is. Dropped meanwhile, the client is closed all the same.
    ///
    /// It waits for ever if nobody drives the client any more, but has kept the driver.
    pub async fn close(&self) {
        self.shared().close();
        poll_fn(|cx| self.shared().poll_end(cx)).await;
    }
}

/// Reading.
impl Client {
    /// The current revision of an object, and its serial.
    ///
    /// Dropped meanwhile, the record still comes into the cache.
    ///
    /// # Errors
    /// [`Refused::NoSuchObject`], or as for all calls.
    pub async fn load(&self, oid: Oid) -> Result<(Bytes, Tid), CallError> {
        match self.load_before(oid, Tid::MAX).await? {
            Some(Revision { data, serial, .. }) => Ok((data, serial)),
            None => Err(Refused::NoSuchObject { oid: Some(oid), serial: None, text: None }.into()),
        }
    }

    /// The newest revision with a serial less than `before`; `None` if the object has none so old.
    ///
    /// Dropped meanwhile, the record still comes into the cache.
    ///
    /// # Errors
    /// [`Refused::NoSuchObject`], or as for all calls.
    pub async fn load_before(&self, oid: Oid, before: Tid) -> Result<Option<Revision>, CallError> {
        if let Some(revision) = self.shared().cached_before(oid, before) {
            return Ok(Some(revision));
        }
        self.shared().ask(|machine, now| machine.ask_before(now, oid, before)).await
    }

    /// Asks for all of these that are not in the cache, and waits for none. Does nothing without a
    /// connection.
    pub fn prefetch(&self, oids: &[Oid], before: Tid) {
        self.shared().with(|state, _| state.machine.prefetch(oids, before));
    }

    /// Waits until all that was committed before is known here: [`Self::last_tid`] shows it. Can be
    /// dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn ping(&self) -> Result<(), CallError> {
        self.0.ask(Ping).await
    }

    /// The same if the options say so, else nothing: what applications do at the beginning of a
    /// transaction. Can be dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn sync(&self) -> Result<(), CallError> {
        if self.0.server_sync { self.ping().await } else { Ok(()) }
    }

    /// The serial of the current record of an object. Can be dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn current_serial(&self, oid: Oid) -> Result<Tid, CallError> {
        self.0.ask(CurrentSerial(oid)).await
    }

    /// The record of exactly that revision. Can be dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn load_serial(&self, oid: Oid, serial: Tid) -> Result<Bytes, CallError> {
        self.0.ask(LoadSerial(oid, serial)).await
    }

    /// At most so many revisions of an object, newest first: dicts with `time`, `tid`, `user_name`,
    /// `description`, `size` and others. Can be dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn history(&self, oid: Oid, size: usize) -> Result<Vec<Value>, CallError> {
        self.0.ask(History(oid, size)).await
    }

    /// The current record of the smallest oid at or after this one, and where to go on. Can be
    /// dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn next_record(&self, from: Option<Oid>) -> Result<CurrentRecord, CallError> {
        self.0.ask(NextRecord(from)).await
    }

    /// A walk over the transactions from one tid to another, both inclusive, oldest first.
    #[must_use]
    pub fn transactions(&self, start: Option<Tid>, stop: Option<Tid>) -> TransactionIterator {
        TransactionIterator::new(self.0.clone(), start, stop)
    }
}

/// Writing.
impl Client {
    /// An oid that nobody has had. Dropped meanwhile, it goes to the next who asks, or is never used.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn new_oid(&self) -> Result<Oid, CallError> {
        let found = self.shared().with(|state, now| {
            let found = state.machine.new_oid(now);
            if let Found::Later(call) = &found {
                state.waiters.add(*call);
            }
            found
        });
        match found {
            Found::Now(oid) => Ok(oid),
            Found::Later(call) => self.shared().answer_of(call).await,
        }
    }

    /// Begins a transaction, when the turn comes to it: a client has one at a time. Dropped meanwhile,
    /// it gives up its place.
    ///
    /// # Errors
    /// As for all calls, and if writing is refused.
    pub async fn begin(&self, begin: Begin) -> Result<Transaction, CallError> {
        let (open, call) = self.shared().with(|state, now| {
            let (txn, call) = state.machine.begin(now, begin);
            state.waiters.add(call);
            (Open::new(self.0.clone(), txn), call)
        });
        self.shared().answer_of(call).await?;
        Ok(Transaction::new(open))
    }

    /// Undoable transactions, newest first: from the `first`th up to the `last`th, or for a negative
    /// `last`, so many. Can be dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn undo_log(&self, first: i64, last: i64) -> Result<Vec<UndoEntry>, CallError> {
        self.0.ask(UndoLog { first, last }).await
    }

    /// The same of those whose entries have these items. Can be dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn undo_info(
        &self,
        first: i64,
        last: i64,
        specification: Option<Vec<(Value, Value)>>,
    ) -> Result<Vec<UndoEntry>, CallError> {
        self.0.ask(UndoInfo { first, last, specification }).await
    }

    /// Lets the server remove what is not reachable as of a time. With `wait`, returns when it has.
    /// Dropped meanwhile, the server goes on.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn pack(&self, time: UnixTime, wait: bool) -> Result<(), CallError> {
        self.0.ask(Pack { time, wait }).await
    }

    /// Figures and abilities of the storage, asked for now. Can be dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn info(&self) -> Result<Arc<ServerInfo>, CallError> {
        self.0.ask(Info).await
    }

    /// Figures of the server by name. Can be dropped at any time.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn server_status(&self) -> Result<Vec<(String, Value)>, CallError> {
        self.0.ask(ServerStatus).await
    }
}

/// Blobs.
impl Client {
    /// Where an application may write what is to become blobs, so that they need not be copied.
    #[must_use]
    pub fn blob_directory(&self) -> Option<&BlobDir> {
        self.0.blobs.as_ref()
    }

    /// The file of a blob; `serial` is that of the record. In a cache, it may be removed at any time:
    /// [`Self::open_blob`] is the safer way. Dropped meanwhile, the blob still comes into the cache.
    ///
    /// # Errors
    /// [`Refused::NoSuchObject`] if there is none, as for all calls, and the disk's.
    pub async fn load_blob(&self, oid: Oid, serial: Tid) -> Result<PathBuf, BlobFailure> {
        self.fetch_blob(oid, serial).await.map(|blob| blob.path)
    }

    /// The file of a blob, open for reading; `serial` is that of the record. Dropped meanwhile, the
    /// blob still comes into the cache.
    ///
    /// # Errors
    /// [`Refused::NoSuchObject`] if there is none, as for all calls, and the disk's.
    pub async fn open_blob(&self, oid: Oid, serial: Tid) -> Result<std::fs::File, BlobFailure> {
        self.fetch_blob(oid, serial).await.map(|blob| blob.file)
    }

    async fn fetch_blob(&self, oid: Oid, serial: Tid) -> Result<Blob, BlobFailure> {
        let directory = self.0.blob_dir()?;
        if let Some(blob) = directory.lookup(oid, serial)? {
            return Ok(blob);
        }
        let fetch = match directory.try_download(oid, serial)? {
            Some(fetch) => fetch,
            None => {
                let directory = directory.clone();
                unblock(move || directory.download(oid, serial)).await?
            }
        };
        let download = match fetch {
            Fetch::Here(blob) => return Ok(blob),
            Fetch::Missing(download) => download,
        };
        let (done, blob) = oneshot::channel();
        let asked = self.shared().ask_state(|state, now| {
            state.do_on_disk(DiskJob::Download(oid, serial, Incoming { download, done }));
            let call = state.machine.load_blob(now, oid, serial);
            state.downloading.insert(call.id, (oid, serial));
            call
        });
        asked.await?;
        // The sender is dropped only with a download that has failed, or with the client.
        Ok(blob.await.map_err(|_| CallError::Closed)??)
    }
}
