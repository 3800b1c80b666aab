//! Two-phase commit, as an application does it.
//!
//! ```text
//!   begin ─► Transaction ── vote ──► Voted ── finish ──► Tid
//!               │ store …              │
//!               └─ abort, or dropped ──┘
//! ```

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use rzeo_core::client::{CallError, Client as Machine, Misuse, TxnId};
use rzeo_core::{Oid, Tid};

use crate::blobs::{Take, Upload};
use crate::disk_job::DiskJob;
use crate::error::BlobFailure;
use crate::handle::Handle;
use crate::shared::{BACKLOG_BYTES_MAX, State};
use crate::unblock::unblock;

/// An open transaction, to which changes are added. Made by [`Client::begin`](crate::Client::begin).
///
/// A client has one at a time; the next one waits until this one is finished, aborted or dropped. Dropping
/// it aborts it, also while one of its futures runs.
///
/// Changes are sent at once and checked by the vote, which also fails if the connection was lost meanwhile.
/// So [`Self::store`] and the like fail only when the client was closed.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction(Open);

/// A transaction that the server has promised to commit. Dropping it aborts it.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Voted {
    open: Open,
    resolved: Vec<Oid>,
}

/// Aborts its transaction when it is dropped, which does nothing if that is over or being finished.
#[derive(Debug)]
pub(crate) struct Open {
    handle: Arc<Handle>,
    txn: TxnId,
}

impl Transaction {
    pub(crate) const fn new(open: Open) -> Self {
        Self(open)
    }

    /// Writes a record. `serial` is the revision that was read, zero for a new object. Waits while too
    /// many bytes wait to be sent; if the future is dropped, nothing is written.
    ///
    /// # Errors
    /// If the client was closed.
    pub async fn store(&mut self, oid: Oid, serial: Tid, data: Bytes) -> Result<(), CallError> {
        self.0.add(|machine, txn| machine.store(txn, oid, serial, data)).await
    }

    /// Deletes an object. Waits as [`Self::store`] does.
    ///
    /// # Errors
    /// If the client was closed.
    pub async fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), CallError> {
        self.0.add(|machine, txn| machine.delete(txn, oid, serial)).await
    }

    /// Makes the vote fail unless this revision is current. Waits as [`Self::store`] does.
    ///
    /// # Errors
    /// If the client was closed.
    pub async fn check_current(&mut self, oid: Oid, serial: Tid) -> Result<(), CallError> {
        self.0.add(|machine, txn| machine.check_current(txn, oid, serial)).await
    }

    /// Writes a record under its original tid, for copied transactions; `prev_txn` may name a transaction
    /// that wrote the same data. Waits as [`Self::store`] does.
    ///
    /// # Errors
    /// If the client was closed.
    pub async fn restore(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: Option<Bytes>,
        prev_txn: Option<Tid>,
    ) -> Result<(), CallError> {
        self.0.add(|machine, txn| machine.restore(txn, oid, serial, data, prev_txn)).await
    }

    /// Undoes a transaction, by the id of an [`UndoEntry`](crate::UndoEntry). Waits as [`Self::store`]
    /// does.
    ///
    /// # Errors
    /// If the client was closed.
    pub async fn undo(&mut self, id: Bytes) -> Result<(), CallError> {
        self.0.add(|machine, txn| machine.undo(txn, id)).await
    }

    /// Writes a record and its blob. The file is taken away from `path`, by renaming if it is in the
    /// file system of the blob directory (see [`Client::blob_directory`](crate::Client::blob_directory)), and is sent while other things
    /// are done. Waits as [`Self::store`] does; dropped meanwhile, the file may be gone.
    ///
    /// # Errors
    /// If the client was closed, has no directory of blobs, or the file cannot be taken.
    pub async fn store_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        path: &Path,
    ) -> Result<(), BlobFailure> {
        let directory = self.0.handle.blob_dir()?.clone();
        let path = path.to_owned();
        let taken = unblock(move || directory.take_upload(oid, serial, &path, Take::Move)).await?;
        self.0.room().await;
        self.0.handle.shared.with(|state, _| self.0.add_blob(state, oid, serial, data, taken))?;
        Ok(())
    }

    /// First phase: the server checks everything, and promises to commit it. Conflicts that it leaves
    /// to its clients are resolved, if the resolver can. If the future is dropped, the transaction is aborted.
    ///
    /// # Errors
    /// If it cannot be committed. It is aborted then.
    pub async fn vote(self) -> Result<Voted, CallError> {
        let Self(open) = self;
        let resolved = open.handle.shared.ask(|machine, now| machine.vote(now, open.txn)).await?;
        Ok(Voted { open, resolved })
    }

    /// Aborts it, and waits until the server has. If the future is dropped, it is aborted all the same.
    pub async fn abort(self) {
        self.0.abort().await;
    }
}

impl Voted {
    /// The objects that are not what was stored: their conflicts were resolved, or they were undone. Copies
    /// of them in memory have to be loaded anew.
    #[must_use]
    pub fn resolved(&self) -> &[Oid] {
        &self.resolved
    }

    /// Second phase: commits it. Observers have been called when this returns.
    ///
    /// If the future is dropped, it is not known whether the transaction was committed; the cache is right
    /// in either case, and observers are called if it was.
    ///
    /// # Errors
    /// [`CallError::MaybeCommitted`] if the connection was lost before the answer came.
    pub async fn finish(self) -> Result<Tid, CallError> {
        let Self { open, .. } = self;
        let finished = open.handle.shared.ask_state(|state, now| {
            let call = state.machine.finish(now, open.txn);
            if state.uploading.remove(&open.txn) {
                state.finishing.insert(call.id, open.txn);
            }
            call
        });
        finished.await
    }

    /// Aborts it, and waits until the server has. If the future is dropped, it is aborted all the same.
    pub async fn abort(self) {
        self.open.abort().await;
    }
}

impl Open {
    pub(crate) const fn new(handle: Arc<Handle>, txn: TxnId) -> Self {
        Self { handle, txn }
    }

    /// Waits until fewer bytes wait to be sent.
    async fn room(&self) {
        poll_fn(|cx| {
            self.handle.shared.with(|state, _| {
                if state.machine.backlog() < BACKLOG_BYTES_MAX {
                    return Poll::Ready(());
                }
                state.waits_to_store.push(cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }

    async fn add(
        &self,
        add: impl FnOnce(&mut Machine, TxnId) -> Result<(), Misuse>,
    ) -> Result<(), CallError> {
        self.room().await;
        Ok(self.handle.shared.with(|state, _| add(&mut state.machine, self.txn))?)
    }

    /// The upload is queued for the thread for files before its bytes are requested.
    fn add_blob(
        &self,
        state: &mut State,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        upload: Upload,
    ) -> Result<(), CallError> {
        let added = match upload.shared_name().map(str::to_owned) {
            Some(name) => state.machine.store_blob_shared(self.txn, oid, serial, data, name),
            None => state.machine.store_blob(self.txn, oid, serial, data).map(|_number| ()),
        };
        added?;
        state.uploading.insert(self.txn);
        state.do_on_disk(DiskJob::Upload(self.txn, upload));
        Ok(())
    }

    async fn abort(self) {
        let aborted = self.handle.shared.ask_state(|state, now| {
            state.discard_blobs(self.txn);
            state.machine.abort(now, self.txn)
        });
        // A server that does not know it any more has nothing to abort.
        let _ = aborted.await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.handle.shared.with(|state, now| {
            state.discard_blobs(self.txn);
            state.machine.abort(now, self.txn);
        });
    }
}
