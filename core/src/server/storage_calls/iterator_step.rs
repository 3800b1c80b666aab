//! The calls behind iterators. An iterator moves to the thread that runs its step, and back.

use alloc::boxed::Box;
use core::fmt;

use super::job::StorageJob;
use crate::ids::Tid;
use crate::server::caller::Caller;
use crate::storage::{
    Patience, Record, RecordIterator, Storage, StorageError, TransactionHeader, TransactionIterator,
};

/// One step of the iterator with this id.
#[derive(Debug)]
pub(in crate::server) struct IteratorStep {
    pub(in crate::server) id: u64,
    pub(in crate::server) caller: Caller,
    pub(in crate::server) step: Step,
}

/// What a step does.
pub(in crate::server) enum Step {
    /// Opens an iterator over transactions.
    Start { start: Option<Tid>, stop: Option<Tid> },
    /// Fetches the next transaction.
    NextTransaction(Box<dyn TransactionIterator>),
    /// Opens the records of the current transaction.
    OpenRecords(Box<dyn TransactionIterator>),
    /// Fetches the next record.
    NextRecord(Box<dyn RecordIterator>),
}

/// The answer to an [`IteratorStep`].
pub(in crate::server) struct Stepped {
    pub(in crate::server) id: u64,
    pub(in crate::server) caller: Caller,
    pub(in crate::server) to: SteppedTo,
}

/// Where a [`Step`] led, in the variant that belongs to it.
pub(in crate::server) enum SteppedTo {
    Started(Result<Box<dyn TransactionIterator>, StorageError>),
    Transaction(Box<dyn TransactionIterator>, Result<Option<TransactionHeader>, StorageError>),
    Records(Box<dyn TransactionIterator>, Result<Box<dyn RecordIterator>, StorageError>),
    Record(Box<dyn RecordIterator>, Result<Option<Record>, StorageError>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start { .. } => "Start",
            Self::NextTransaction(_) => "NextTransaction",
            Self::OpenRecords(_) => "OpenRecords",
            Self::NextRecord(_) => "NextRecord",
        })
    }
}

impl StorageJob for IteratorStep {
    type Answer = Stepped;

    fn run(self, storage: &dyn Storage, patience: Patience) -> Result<Stepped, Self> {
        if patience == Patience::Now {
            return Err(self);
        }
        let Self { id, caller, step } = self;
        let to = match step {
            Step::Start { start, stop } => SteppedTo::Started(storage.iterate(start, stop)),
            Step::NextTransaction(mut transactions) => {
                let next = transactions.next_transaction();
                SteppedTo::Transaction(transactions, next)
            }
            Step::OpenRecords(transactions) => {
                let records = transactions.records();
                SteppedTo::Records(transactions, records)
            }
            Step::NextRecord(mut records) => {
                let next = records.next_record();
                SteppedTo::Record(records, next)
            }
        };
        Ok(Stepped { id, caller, to })
    }
}
