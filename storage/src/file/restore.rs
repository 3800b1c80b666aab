//! Restore: writes a record as it is in another database, for copies and repairs.
//!
//! There are no conflict checks, and the record keeps its tid. The only decision is whether its
//! data can be shared: the source names a transaction with the same data, and if that transaction's
//! record in this database has them too, a back pointer is enough. (Python does not compare the
//! data if the record has a back pointer. But a transaction may have two records of an object, and
//! the source may mean the other one.)

use bytes::Bytes;
use rzeo_core::storage::{Patience, RecordData, StorageError};
use rzeo_core::{Oid, Tid};

use super::format::{RECORD_HEAD, RecordHead, TransactionHead};
use super::log::{Log, RecordReader};
use super::scan::Window;
use super::vote::{Content, FileVote, Planned};

impl FileVote<'_> {
    pub(super) fn restore_record(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: Option<RecordData>,
        prev_txn: Option<Tid>,
    ) -> Result<(), StorageError> {
        if self.patience == Patience::Now {
            return Err(StorageError::WouldBlock);
        }
        if data.as_ref().is_some_and(RecordData::is_empty) {
            return Err(StorageError::EmptyRecord(oid));
        }
        self.storage.use_oid(oid);
        let shared = match prev_txn {
            Some(source) => {
                let bytes = data.as_ref().map(|data| data.bytes(Patience::Wait)).transpose()?;
                find_data(&self.storage.log(), source, oid, bytes.as_ref())?
            }
            None => None,
        };
        let content = match (shared, data) {
            (Some(at), _) => Content::Back(at),
            (None, Some(data)) => Content::Data(data),
            (None, None) => Content::Deleted,
        };
        self.plan(Planned { oid, tid: Some(tid), content });
        Ok(())
    }
}

/// The position of the last record of an object in a transaction, if it has these data.
fn find_data(
    log: &Log,
    transaction: Tid,
    oid: Oid,
    data: Option<&Bytes>,
) -> Result<Option<u64>, StorageError> {
    let (at, head) = find_transaction(log, transaction)?;
    let records = record_heads(log, at, head)?;
    let Some((at, _)) = records.into_iter().rfind(|(_, head)| head.oid == oid) else {
        return Ok(None);
    };
    let here = RecordReader::new(log, oid, at, Patience::Wait)?.data()?;
    Ok((here.as_ref() == data).then_some(at))
}

/// The newest transaction with this tid, searched from the end.
pub(super) fn find_transaction(
    log: &Log,
    tid: Tid,
) -> Result<(u64, TransactionHead), StorageError> {
    let mut end = log.end;
    while let Some((at, head)) = log.transaction_before(end)? {
        if head.tid == tid {
            return Ok((at, head));
        }
        end = at;
    }
    Err(StorageError::Undo { reason: "Invalid transaction id".to_owned(), oid: None })
}

/// Positions and headers of a transaction's records, in file order.
pub(super) fn record_heads(
    log: &Log,
    transaction: u64,
    head: TransactionHead,
) -> Result<Vec<(u64, RecordHead)>, StorageError> {
    let mut window = Window::new(log.clone());
    let end = transaction + head.len;
    let mut at = transaction + head.head_len();
    let mut heads = Vec::new();
    while at < end {
        let record = window.bytes(at, RECORD_HEAD)?.first_chunk().map(RecordHead::parse);
        let next = record.and_then(|record| record.end(at)).filter(|next| *next <= end);
        let (Some(record), Some(next)) = (record, next) else {
            return Err(log.corrupt(at, "a record passes the end of its transaction"));
        };
        heads.push((at, record));
        at = next;
    }
    Ok(heads)
}
