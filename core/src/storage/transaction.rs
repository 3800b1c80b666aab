//! Transactions: what their client tells of them, and how committed ones are listed.

use alloc::boxed::Box;

use bytes::Bytes;

use super::StorageError;
use crate::ids::{Oid, Tid};

/// What a transaction says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TransactionMeta {
    /// Who.
    pub user: Bytes,
    /// Why.
    pub description: Bytes,
    /// A pickled dict, or empty.
    pub extension: Bytes,
    /// Given only when transactions are copied: the tid to commit under.
    pub tid: Option<Tid>,
    /// `b' '`, or what the copied transaction had.
    pub status: u8,
    /// Whether conflicts may be resolved here (`false` under `client-conflict-resolution`).
    pub resolve_conflicts: bool,
}

/// One transaction, as `iterator` and `undoLog` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHeader {
    /// The commit.
    pub tid: Tid,
    /// `b' '` for a plain commit, `b'p'` for one that a pack rewrote.
    pub status: u8,
    /// Who.
    pub user: Bytes,
    /// Why.
    pub description: Bytes,
    /// The pickled extension, empty for none.
    pub extension: Bytes,
    /// For undoLog: length of the transaction in bytes (`tlen`). 0 where a storage has no such thing.
    pub size: u64,
}

/// One record of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The object.
    pub oid: Oid,
    /// The record's tid (the transaction's, except in files with corrected tids).
    pub tid: Tid,
    /// `None` for a deletion or an undone creation.
    pub data: Option<Bytes>,
    /// The transaction whose record this one points back to, if it does.
    pub data_txn: Option<Tid>,
}

/// A snapshot walk over transactions in file order. Outlives packs: it keeps what it reads open.
pub trait TransactionIterator: Send {
    /// The next transaction, or `None` at the end. May wait for the disk.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::Disk`].
    fn next_transaction(&mut self) -> Result<Option<TransactionHeader>, StorageError>;

    /// The records of the transaction last returned by `next_transaction`.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::Disk`].
    fn records(&self) -> Result<Box<dyn RecordIterator>, StorageError>;
}

/// The records of one transaction, in file order.
pub trait RecordIterator: Send {
    /// The next record, or `None` at the end. May wait for the disk.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::Disk`].
    fn next_record(&mut self) -> Result<Option<Record>, StorageError>;
}
