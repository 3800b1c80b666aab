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
use rzeo_core::storage::{CurrentRecord, Revision};
use rzeo_core::value::Value;
use rzeo_core::{Oid, Tid, UnixTime};
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
/// them and of the transactions and iterators that it has made.
///
/// A call that needs the server waits for a connection for up to
/// [`wait_timeout`](crate::ClientOptions::wait_timeout), and then fails. A call that was sent fails if its
/// connection is lost, except loads and new oids, which are sent again on the next.
#[derive(Clone)]
pub struct Client(Arc<Handle>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// The state of the client and of its connection.
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

    /// The newest commit that was announced to observers. Loads before [`Tid::next`] of it are a consistent
    /// view of the whole storage.
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

    /// The last description of the storage that a server sent; `None` before the first connection.
    #[must_use]
    pub fn known_info(&self) -> Option<Arc<ServerInfo>> {
        self.shared().look(|state| state.machine.info().cloned())
    }

    /// Counters and sizes of the cache.
    #[must_use]
    pub fn cache_statistics(&self) -> Statistics {
        self.shared().look(|state| state.machine.cache().statistics())
    }

    /// All events from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.shared().with(|state, _| state.observers.subscribe(state.driver.is_gone))
    }

    /// Waits until calls go through, for as long as a call may wait; a server that is reached and lost
    /// again is waited for anew.
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

    /// Replaces the list of servers. Takes effect when the connection is lost; at once if there is none, or
    /// one that refuses writing although the client writes.
    ///
    /// # Errors
    /// If there is no address, or with TLS one without a host name. Nothing changes then.
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

    /// Closes all connections and fails all waiting calls, of other handles too; waits until everything is
    /// written to files. If this future is dropped, the client is closed all the same.
    ///
    /// It waits for ever if the driver is kept but not run.
    pub async fn close(&self) {
        self.shared().close();
        poll_fn(|cx| self.shared().poll_end(cx)).await;
    }
}

/// Reading.
impl Client {
    /// The current revision of an object, and its serial.
    ///
    /// If the future is dropped, the record is still put into the cache.
    ///
    /// # Errors
    /// [`Refused::NoSuchObject`], or as for all calls.
    pub async fn load(&self, oid: Oid) -> Result<(Bytes, Tid), CallError> {
        match self.load_before(oid, Tid::MAX).await? {
            Some(Revision { data, serial, .. }) => Ok((data, serial)),
            None => Err(Refused::NoSuchObject { oid: Some(oid), serial: None, text: None }.into()),
        }
    }

    /// The newest revision with a serial less than `before`; `None` if the object has no such revision.
    ///
    /// If the future is dropped, the record is still put into the cache.
    ///
    /// # Errors
    /// [`Refused::NoSuchObject`], or as for all calls.
    pub async fn load_before(&self, oid: Oid, before: Tid) -> Result<Option<Revision>, CallError> {
        if let Some(revision) = self.shared().cached_before(oid, before) {
            return Ok(Some(revision));
        }
        self.shared().ask(|machine, now| machine.ask_before(now, oid, before)).await
    }

    /// Requests all of these that are not in the cache, and waits for none. Does nothing without a
    /// connection.
    pub fn prefetch(&self, oids: &[Oid], before: Tid) {
        self.shared().with(|state, _| state.machine.prefetch(oids, before));
    }

    /// Waits until all that was committed before is known here: [`Self::last_tid`] shows it.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn ping(&self) -> Result<(), CallError> {
        self.0.ask(Ping).await
    }

    /// The same if the options say so, else nothing: what applications do at the beginning of a
    /// transaction.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn sync(&self) -> Result<(), CallError> {
        if self.0.server_sync { self.ping().await } else { Ok(()) }
    }

    /// The serial of the current record of an object.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn current_serial(&self, oid: Oid) -> Result<Tid, CallError> {
        self.0.ask(CurrentSerial(oid)).await
    }

    /// The record of exactly that revision.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn load_serial(&self, oid: Oid, serial: Tid) -> Result<Bytes, CallError> {
        self.0.ask(LoadSerial(oid, serial)).await
    }

    /// Revisions of an object, newest first, at most `size`: dicts with `time`, `tid`, `user_name`,
    /// `description`, `size` and others.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn history(&self, oid: Oid, size: usize) -> Result<Vec<Value>, CallError> {
        self.0.ask(History(oid, size)).await
    }

    /// The current record of the smallest oid at or after this one, and the oid to continue with.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn next_record(&self, from: Option<Oid>) -> Result<CurrentRecord, CallError> {
        self.0.ask(NextRecord(from)).await
    }

    /// An iterator over the transactions from one tid to another, both inclusive, oldest first.
    #[must_use]
    pub fn transactions(&self, start: Option<Tid>, stop: Option<Tid>) -> TransactionIterator {
        TransactionIterator::new(self.0.clone(), start, stop)
    }
}

/// Writing.
impl Client {
    /// An oid that was never given out. If the future is dropped, the oid goes to the next call, or is never
    /// used.
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

    /// Begins a transaction. A client has one at a time: the future waits for its turn, and gives it up if it
    /// is dropped.
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

    /// Undoable transactions, newest first: from position `first` up to `last`; a negative `last` is the
    /// maximum number of transactions.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn undo_log(&self, first: i64, last: i64) -> Result<Vec<UndoEntry>, CallError> {
        self.0.ask(UndoLog { first, last }).await
    }

    /// The same for entries that have these items.
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

    /// Packs the storage as of a time. With `wait`, returns when the pack is done. If the future is dropped,
    /// the server packs all the same.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn pack(&self, time: UnixTime, wait: bool) -> Result<(), CallError> {
        self.0.ask(Pack { time, wait }).await
    }

    /// Size and abilities of the storage, requested from the server.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn info(&self) -> Result<Arc<ServerInfo>, CallError> {
        self.0.ask(Info).await
    }

    /// Figures of the server by name.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn server_status(&self) -> Result<Vec<(String, Value)>, CallError> {
        self.0.ask(ServerStatus).await
    }
}

/// Blobs.
impl Client {
    /// The directory of blobs. A file that is written there need not be copied to become a blob.
    #[must_use]
    pub fn blob_directory(&self) -> Option<&BlobDir> {
        self.0.blobs.as_ref()
    }

    /// The file of a blob; `serial` is that of the record. In a cache, it may be removed at any time:
    /// [`Self::open_blob`] is the safer way. If the future is dropped, the blob is
    /// still put into the cache.
    ///
    /// # Errors
    /// [`Refused::NoSuchObject`] if there is none, as for all calls, and the disk's.
    pub async fn load_blob(&self, oid: Oid, serial: Tid) -> Result<PathBuf, BlobFailure> {
        self.fetch_blob(oid, serial).await.map(|blob| blob.path)
    }

    /// The file of a blob, open for reading; `serial` is that of the record. If the future is
    /// dropped, the blob is still put into the cache.
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
        // The sender is dropped with a download that has failed, or with the client.
        Ok(blob.await.map_err(|_| CallError::Closed)??)
    }
}
