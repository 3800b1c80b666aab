//! Iterates over transactions and their records, for copies, checks and tools.
//!
//! An iterator keeps the file and the end that it started with: later commits and packs do not
//! affect it.

use rzeo_core::Tid;
use rzeo_core::storage::{
    Patience, Record, RecordIterator, StorageError, TransactionHeader, TransactionIterator,
};

use super::format::{FIRST, RECORD_HEAD, RecordHead, Status, TransactionHead};
use super::history::header;
use super::log::{Log, Payload, RecordReader};

/// The transactions between two tids.
pub(super) struct FileTransactions {
    log: Log,
    stop: Option<Tid>,
    /// Position of the next transaction.
    next: u64,
    /// Position and header of the current transaction.
    current: Option<(u64, TransactionHead)>,
}

/// The records of a transaction.
struct Records {
    log: Log,
    transaction: u64,
    next: u64,
    end: u64,
}

impl FileTransactions {
    pub(super) fn new(
        log: Log,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Self, StorageError> {
        let next = start.map_or(Ok(FIRST), |start| find(&log, start))?;
        Ok(Self { log, stop, next, current: None })
    }
}

/// The position of the first transaction at or after a tid. Searches from both ends of the file at
/// once, since most callers want either nearly all transactions or only the newest ones.
fn find(log: &Log, start: Tid) -> Result<u64, StorageError> {
    let mut front = FIRST;
    let mut back = log.end;
    loop {
        let Some((before, head)) = log.transaction_before(back)? else {
            return Ok(FIRST);
        };
        if head.tid < start {
            return Ok(back);
        }
        back = before;
        let head = log.transaction(front, Patience::Wait)?;
        if head.tid >= start {
            return Ok(front);
        }
        let Some(next) = head.end(front).filter(|next| *next <= log.end) else {
            return Err(log.corrupt(front, "a transaction passes the end of the file"));
        };
        front = next;
    }
}

impl FileTransactions {
    /// Position and header of the next transaction, whatever its status.
    fn step(&mut self) -> Result<Option<(u64, TransactionHead)>, StorageError> {
        let at = self.next;
        if at >= self.log.end {
            return Ok(None);
        }
        let head = self.log.transaction(at, Patience::Wait)?;
        if self.stop.is_some_and(|stop| head.tid > stop) {
            self.next = self.log.end;
            return Ok(None);
        }
        let end = head.end(at).filter(|end| *end <= self.log.end && head.len >= head.head_len());
        self.next =
            end.ok_or_else(|| self.log.corrupt(at, "a transaction's length is impossible"))?;
        Ok(Some((at, head)))
    }
}

impl TransactionIterator for FileTransactions {
    fn next_transaction(&mut self) -> Result<Option<TransactionHeader>, StorageError> {
        while let Some((at, head)) = self.step()? {
            // An undone transaction does not count.
            if head.status != Status::UNDONE {
                self.current = Some((at, head));
                return header(&self.log, at, head).map(Some);
            }
        }
        self.current = None;
        Ok(None)
    }

    fn records(&self) -> Result<Box<dyn RecordIterator>, StorageError> {
        let (transaction, next, end) = match self.current {
            Some((at, head)) => (at, at + head.head_len(), at + head.len),
            None => (0, 0, 0),
        };
        Ok(Box::new(Records { log: self.log.clone(), transaction, next, end }))
    }
}

impl RecordIterator for Records {
    fn next_record(&mut self) -> Result<Option<Record>, StorageError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let at = self.next;
        let mut head = [0; RECORD_HEAD];
        self.log.exact(&mut head, at, Patience::Wait)?;
        let head = RecordHead::parse(&head);
        let end = head.end(at).filter(|end| *end <= self.end);
        let Some(end) = end.filter(|_| head.transaction == self.transaction) else {
            return Err(self.log.corrupt(at, "a record does not fit into its transaction"));
        };
        let mut reader = RecordReader::new(&self.log, head.oid, at, Patience::Wait)?;
        let mut data_txn = None;
        if let Payload::Back(back) = reader.payload()? {
            reader.go_back(back)?;
            data_txn = Some(reader.head().tid);
        }
        let data = reader.data()?;
        self.next = end;
        Ok(Some(Record { oid: head.oid, tid: head.tid, data, data_txn }))
    }
}
