//! Walks over transactions, which the server keeps.

use futures_lite::future::block_on;
use rzeo_client::{
    CallError, Record, Records as ClientRecords, Transactions as ClientTransactions,
};
use rzeo_core::storage::{RecordIterator, StorageError, TransactionHeader, TransactionIterator};

use crate::errors::storage_error;
use crate::histories::pickled;

pub(crate) struct Transactions(ClientTransactions);

impl Transactions {
    pub(crate) const fn new(walk: ClientTransactions) -> Self {
        Self(walk)
    }
}

impl TransactionIterator for Transactions {
    fn next_transaction(&mut self) -> Result<Option<TransactionHeader>, StorageError> {
        let next = block_on(self.0.next()).map_err(storage_error)?;
        let header = |it: rzeo_client::WalkedTransaction| TransactionHeader {
            tid: it.tid,
            status: it.status,
            user: it.user,
            description: it.description,
            extension: pickled(&it.extension),
            size: 0,
        };
        Ok(next.map(header))
    }

    /// The server begins a walk over records only while it is at their transaction, so the first one is
    /// fetched now.
    fn records(&self) -> Result<Box<dyn RecordIterator>, StorageError> {
        let mut walk = self.0.records();
        let first = Some(block_on(walk.next()));
        Ok(Box::new(Records { walk, first }))
    }
}

struct Records {
    walk: ClientRecords,
    first: Option<Result<Option<Record>, CallError>>,
}

impl RecordIterator for Records {
    fn next_record(&mut self) -> Result<Option<Record>, StorageError> {
        let next = self.first.take().unwrap_or_else(|| block_on(self.walk.next()));
        next.map_err(storage_error)
    }
}
