//! Iterators over transactions and records, which the server keeps.

use futures_lite::future::block_on;
use rzeo_client::{CallError, Record, TransactionInfo};
use rzeo_core::storage::{RecordIterator, StorageError, TransactionHeader, TransactionIterator};

use crate::errors::storage_error;
use crate::histories::pickled;

pub(crate) struct ProxyTransactions(pub(crate) rzeo_client::TransactionIterator);

impl TransactionIterator for ProxyTransactions {
    fn next_transaction(&mut self) -> Result<Option<TransactionHeader>, StorageError> {
        let next = block_on(self.0.next()).map_err(storage_error)?;
        let header = |it: TransactionInfo| TransactionHeader {
            tid: it.tid,
            status: it.status,
            user: it.user,
            description: it.description,
            extension: pickled(&it.extension),
            size: 0,
        };
        Ok(next.map(header))
    }

    /// The server opens an iterator over records only while another one is at their transaction, so the
    /// first record is fetched now.
    fn records(&self) -> Result<Box<dyn RecordIterator>, StorageError> {
        let mut records = self.0.records();
        let first = Some(block_on(records.next()));
        Ok(Box::new(ProxyRecords { records, first }))
    }
}

struct ProxyRecords {
    records: rzeo_client::RecordIterator,
    first: Option<Result<Option<Record>, CallError>>,
}

impl RecordIterator for ProxyRecords {
    fn next_record(&mut self) -> Result<Option<Record>, StorageError> {
        let next = self.first.take().unwrap_or_else(|| block_on(self.records.next()));
        next.map_err(storage_error)
    }
}
