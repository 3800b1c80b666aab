//! Finds the intact records of transactions that are damaged in the middle.
//!
//! If the two lengths of a transaction agree, its begin and end are known. Each of its records
//! holds the transaction's position, so trying every position finds the records after the damage,
//! and no others.

use rzeo_core::storage::StorageError;

use super::{Gap, PayloadInfo, RecordInfo, Scan, Transaction};
use crate::file::format::{POINTER, RECORD_HEAD, TRANSACTION_HEAD, TransactionHead};
use crate::file::history;

impl Scan {
    /// The transactions at the beginning of a gap, one after the other, as far as their headers can
    /// be read, each with the records that can be found. Does not move the scan.
    ///
    /// # Errors
    /// `Disk`.
    pub fn salvage(&mut self, gap: &Gap) -> Result<Vec<Transaction>, StorageError> {
        let mut found = Vec::new();
        let mut at = gap.at;
        let gap_end = gap.at + gap.bytes;
        while !gap.unfinished
            && let Some((head, end)) = self.spanning(at, gap_end)?
        {
            let records = self.records_within(at, head, end - POINTER as u64)?;
            if !records.is_empty() {
                let header = history::header(&self.log, at, head)?;
                found.push(Transaction { at, header, records });
            }
            at = end;
        }
        Ok(found)
    }

    /// The header at a position, and the end of its transaction, if both lengths agree.
    fn spanning(
        &mut self,
        at: u64,
        limit: u64,
    ) -> Result<Option<(TransactionHead, u64)>, StorageError> {
        let head = self.window.bytes(at, TRANSACTION_HEAD)?.first_chunk();
        let Some(head) = head.map(TransactionHead::parse) else { return Ok(None) };
        let end = head.end(at).filter(|end| *end <= limit && head.len >= head.head_len());
        let Some(end) = end.filter(|_| head.status.is_final()) else { return Ok(None) };
        let agreed = self.window.number(end - POINTER as u64)? == Some(head.len);
        Ok(agreed.then_some((head, end)))
    }

    fn records_within(
        &mut self,
        transaction: u64,
        head: TransactionHead,
        end: u64,
    ) -> Result<Vec<RecordInfo>, StorageError> {
        let mut records = Vec::new();
        let mut at = transaction + head.head_len();
        while at < end {
            let Some(record) = self.window.record_head(at)? else { break };
            let next = (record.end(at)).filter(|next| {
                *next <= end && record.transaction == transaction && record.version_len == 0
            });
            let Some(next) = next else {
                at += 1;
                continue;
            };
            let payload = match record.data_len {
                0 => match self.window.number(at + RECORD_HEAD as u64)? {
                    Some(0) | None => PayloadInfo::Deleted,
                    Some(back) => PayloadInfo::Back(back),
                },
                len => PayloadInfo::Data(len),
            };
            let (oid, tid, prev) = (record.oid, record.tid, record.prev);
            records.push(RecordInfo { oid, tid, at, prev, payload });
            at = next;
        }
        Ok(records)
    }
}
