//! The interface of a database to a copy: a file, or a storage behind a server.

use std::io::Read;

use bytes::Bytes;
use rzeo_core::storage::Record;
use rzeo_core::value::Value;
use rzeo_core::{Oid, Tid};

use crate::tools::ToolError;

/// The metadata of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) tid: Tid,
    pub(super) status: u8,
    pub(super) user: Bytes,
    pub(super) description: Bytes,
    pub(super) extension: Extension,
    /// Bytes by which it advances the progress, without its records.
    pub(super) bytes: u64,
}

/// Further metadata. A file stores it as a pickle, which is copied byte for byte between files; a server
/// sends it as a dict.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Extension {
    Pickled(Bytes),
    Dict(Value),
}

/// What source and target of a copy have in common.
pub(super) trait Database {
    /// Its path or address, for messages.
    fn name(&self) -> String;

    /// Iterates over the transactions that exist now, from a tid on.
    fn transactions(
        &self,
        start: Option<Tid>,
    ) -> Result<Box<dyn TransactionCursor + '_>, ToolError>;

    /// Whether it keeps blobs.
    fn has_blobs(&self) -> bool;

    /// Bytes of the database; an estimate for servers.
    fn size(&self) -> u64;
}

/// A cursor over transactions, and over the records of each.
pub(super) trait TransactionCursor {
    fn next_transaction(&mut self) -> Result<Option<Header>, ToolError>;

    /// The next record of the transaction that was returned last.
    fn next_record(&mut self) -> Result<Option<Record>, ToolError>;
}

/// The database to copy from.
pub(super) trait Source: Database {
    /// A blob, or `None` if the database does not have it.
    fn blob(&self, oid: Oid, tid: Tid) -> Result<Option<Box<dyn Read + '_>>, ToolError>;
}

/// The database to copy to. A transaction is begun, its records are restored, and it is committed; a copy
/// that stops in between leaves nothing of it.
pub(super) trait Target: Database {
    /// The newest transaction, [`Tid::ZERO`] if there is none.
    fn last_tid(&mut self) -> Result<Tid, ToolError>;

    /// Whether a transaction whose tid is not later than the previous one gets a later tid. Python does so
    /// where it copies without blobs.
    fn wants_ascending_tids(&self) -> bool;

    fn begin(&mut self, header: &Header) -> Result<(), ToolError>;

    fn restore(&mut self, record: Record) -> Result<(), ToolError>;

    /// Adds a record with its blob. Adds nothing and returns the reason if the target cannot have the blob.
    fn restore_blob(
        &mut self,
        record: &Record,
        blob: &mut dyn Read,
    ) -> Result<Result<(), String>, ToolError>;

    /// Commits the transaction now or with the next [`Self::flush`].
    fn commit(&mut self) -> Result<(), ToolError>;

    /// Makes all committed transactions durable.
    fn flush(&mut self) -> Result<(), ToolError>;

    /// Flushes, then closes the database.
    fn close(self: Box<Self>) -> Result<(), ToolError>;
}
