//! Transactions: the metadata that their client gives, and how committed ones are listed.

use alloc::boxed::Box;

use bytes::Bytes;

use super::StorageError;
use crate::ids::{Oid, Tid};

/// The metadata of a transaction, for its vote.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TransactionMeta {
    /// The user who committed, as bytes that the client chose.
    pub user: Bytes,
    /// The description that the client gave, usually the URL of a request.
    pub description: Bytes,
    /// A pickled dict, or empty.
    pub extension: Bytes,
    /// Given only when transactions are copied: the tid to commit under.
    pub tid: Option<Tid>,
    /// `b' '`, or the status of the copied transaction.
    pub status: u8,
    /// Whether the server may resolve conflicts (`false` under `client-conflict-resolution`).
    pub resolve_conflicts: bool,
}

/// One transaction, as `iterator` and `undoLog` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHeader {
    /// Tid of the transaction.
    pub tid: Tid,
    /// `b' '` for a plain commit, `b'p'` for one that a pack rewrote.
    pub status: u8,
    /// The user who committed, as bytes that the client chose.
    pub user: Bytes,
    /// The description that the client gave, usually the URL of a request.
    pub description: Bytes,
    /// The pickled extension, empty for none.
    pub extension: Bytes,
    /// For undoLog: length of the transaction in bytes (`tlen`). 0 from storages without such a
    /// length.
    pub size: u64,
}

/// One record of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Oid of the object.
    pub oid: Oid,
    /// The record's tid (the transaction's, except in files with corrected tids).
    pub tid: Tid,
    /// `None` for a deletion or an undone creation.
    pub data: Option<Bytes>,
    /// The transaction whose record this one points back to, if it has a back pointer.
    pub data_txn: Option<Tid>,
}

/// Iterates over a snapshot of the transactions, in file order. Packs do not affect it: it keeps
/// the file open that it reads.
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
