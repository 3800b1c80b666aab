//! A transaction that is passed on to the server.
//!
//! Operations are collected, because the server reports no result before its vote. At the vote the transaction
//! is begun, stored and voted without a pause: the client has one open transaction at a time, so all others of
//! this proxy wait meanwhile. Of several stores of one object the last one counts, so that a conflict that
//! a client has resolved is not met again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_lite::future::block_on;
use rzeo_client::{Begin, Client, Transaction, Value, Voted as ClientVoted};
use rzeo_core::storage::{
    Patience, RecordData, Scratch, StorageError, TransactionMeta, Vote, Voted,
};
use rzeo_core::{Oid, Tid};

use crate::blobs::{Upload, blob_error};
use crate::errors::storage_error;

pub(crate) struct ProxyVote<'a> {
    client: &'a Client,
    dropped: &'a Sender<ClientVoted>,
    meta: TransactionMeta,
    /// `None` for a store that a later one replaced.
    operations: Vec<Option<Operation>>,
    /// Where the last store of each object is.
    stores: BTreeMap<Oid, usize>,
    voted: Option<ClientVoted>,
}

enum Operation {
    Store(Oid, Tid, RecordData),
    StoreBlob(Oid, Tid, RecordData, Arc<dyn Scratch>),
    Delete(Oid, Tid),
    CheckCurrent(Oid, Tid),
    Restore(Oid, Tid, Option<RecordData>, Option<Tid>),
    Undo(Tid),
}

/// A transaction that the server has promised to commit. If it is dropped, it is given up by a thread
/// that may take locks.
pub(crate) struct VotedAtServer {
    voted: Option<ClientVoted>,
    dropped: Sender<ClientVoted>,
}

impl VotedAtServer {
    pub(crate) fn take(mut self) -> ClientVoted {
        self.voted.take().expect("it is taken once")
    }
}

impl Drop for VotedAtServer {
    fn drop(&mut self) {
        if let Some(voted) = self.voted.take() {
            // The thread ends when the last sender is dropped.
            let _ = self.dropped.send(voted);
        }
    }
}

impl<'a> ProxyVote<'a> {
    pub(crate) fn new(
        client: &'a Client,
        dropped: &'a Sender<ClientVoted>,
        meta: &TransactionMeta,
    ) -> Self {
        let (operations, stores) = (Vec::new(), BTreeMap::new());
        Self { client, dropped, meta: meta.clone(), operations, stores, voted: None }
    }

    fn add(&mut self, operation: Operation) {
        self.operations.push(Some(operation));
    }

    fn add_store(&mut self, oid: Oid, operation: Operation) {
        if let Some(replaced) = self.stores.insert(oid, self.operations.len()) {
            self.operations[replaced] = None;
        }
        self.add(operation);
    }

    fn begin(&self) -> Begin {
        let TransactionMeta { user, description, extension, tid, status, .. } = self.meta.clone();
        let extension = if extension.is_empty() {
            Value::Dict(Vec::new())
        } else {
            // A ready-made pickle; what is in it may be more than can be sent otherwise.
            Value::Bytes(extension)
        };
        let copied = tid.map(|tid| (tid, status));
        Begin { user, description, extension, copied, handle: None }
    }
}

impl Vote for ProxyVote<'_> {
    fn store(&mut self, oid: Oid, serial: Tid, data: RecordData) -> Result<(), StorageError> {
        self.add_store(oid, Operation::Store(oid, serial, data));
        Ok(())
    }

    fn store_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: RecordData,
        blob: &Arc<dyn Scratch>,
    ) -> Result<(), StorageError> {
        self.add_store(oid, Operation::StoreBlob(oid, serial, data, blob.clone()));
        Ok(())
    }

    fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), StorageError> {
        self.add(Operation::Delete(oid, serial));
        Ok(())
    }

    fn check_current(&mut self, oid: Oid, serial: Tid) -> Result<(), StorageError> {
        self.add(Operation::CheckCurrent(oid, serial));
        Ok(())
    }

    fn restore(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: Option<RecordData>,
        prev_txn: Option<Tid>,
    ) -> Result<(), StorageError> {
        self.add(Operation::Restore(oid, tid, data, prev_txn));
        Ok(())
    }

    /// Which objects it touches is known when it is settled.
    fn undo(&mut self, tid: Tid) -> Result<Vec<Oid>, StorageError> {
        self.add(Operation::Undo(tid));
        Ok(Vec::new())
    }

    fn check_remotely(&mut self) -> Result<Vec<Oid>, StorageError> {
        let begin = self.begin();
        let operations = std::mem::take(&mut self.operations);
        let voted = block_on(async {
            let mut txn = self.client.begin(begin).await.map_err(storage_error)?;
            for operation in operations.into_iter().flatten() {
                send(&mut txn, operation).await?;
            }
            txn.vote().await.map_err(storage_error)
        })?;
        let resolved = voted.resolved().to_vec();
        self.voted = Some(voted);
        Ok(resolved)
    }

    fn seal(self: Box<Self>) -> Result<Voted, StorageError> {
        let voted = Some(self.voted.expect("a vote is settled before it is sealed"));
        Ok(Voted(Box::new(VotedAtServer { voted, dropped: self.dropped.clone() })))
    }
}

async fn send(txn: &mut Transaction, operation: Operation) -> Result<(), StorageError> {
    match operation {
        Operation::Store(oid, serial, data) => txn.store(oid, serial, data.bytes(Patience::Wait)?),
        Operation::StoreBlob(oid, serial, data, blob) => {
            let data = data.bytes(Patience::Wait)?;
            return send_blob(txn, oid, serial, data, &*blob).await;
        }
        Operation::Delete(oid, serial) => return sent(txn.delete(oid, serial).await),
        Operation::CheckCurrent(oid, serial) => return sent(txn.check_current(oid, serial).await),
        Operation::Restore(oid, tid, data, prev_txn) => {
            let data = data.map(|data| data.bytes(Patience::Wait)).transpose()?;
            return sent(txn.restore(oid, tid, data, prev_txn).await);
        }
        Operation::Undo(tid) => {
            let id = Bytes::from(STANDARD.encode(tid.to_bytes()));
            return sent(txn.undo(id).await);
        }
    }
    .await
    .map_err(storage_error)
}

fn sent(result: Result<(), rzeo_client::CallError>) -> Result<(), StorageError> {
    result.map_err(storage_error)
}

/// The client renames the file that it is given, so it gets a copy: the transaction may be sent again.
async fn send_blob(
    txn: &mut Transaction,
    oid: Oid,
    serial: Tid,
    data: Bytes,
    blob: &dyn Scratch,
) -> Result<(), StorageError> {
    let upload: &Upload = blob.as_any().downcast_ref().expect("only our own uploads are voted");
    let copy = upload.copy()?;
    let stored = txn.store_blob(oid, serial, data, &copy).await;
    stored.map_err(|error| blob_error(oid, serial, error))
}
