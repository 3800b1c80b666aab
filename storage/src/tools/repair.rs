//! Repair: copies everything readable from a damaged file into a new database.
//!
//! Transactions are restored one after the other, like those copied from another database. Damage
//! is skipped. A transaction with an unreadable record, for example one that points back into
//! damage, is left out completely unless the caller asks for partial transactions: half of a
//! transaction may be worse than none.
//!
//! Repair never writes to the damaged file.

use std::collections::BTreeSet;

use rzeo_core::storage::{Finishing, Patience, RecordData, Storage, StorageError, TransactionMeta};
use rzeo_core::{Oid, Tid};

use super::{Gap, Observer, RecordInfo, Scan, ScanItem, Transaction};
use crate::file::FileStorage;
use crate::file::format::Status;

/// Minimum bytes of transactions that are committed together, except for the last ones.
const GROUP_BYTES: u64 = 16 << 20;
/// Maximum number of transactions that are committed together.
const GROUP_MAX: usize = 4096;

/// The result of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Number of transactions that were restored.
    pub transactions: u64,
    /// Number of their records.
    pub records: u64,
    /// Number of these transactions that lost records.
    pub partial: u64,
    /// Number of transactions that got a new tid, because theirs was not later than the one before,
    /// or too great.
    pub retimed: u64,
    /// Number of transactions that were left out because their header marks them as undone.
    pub undone: u64,
    /// What was not restored, in file order.
    pub lost: Vec<Lost>,
}

/// A part of the file that was not restored, or only partly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Bytes that are not a transaction.
    Gap(Gap),
    /// Records of a transaction: those that cannot be read with partial transactions, otherwise
    /// all.
    Records {
        /// Tid of the transaction.
        tid: Tid,
        /// Position of the transaction.
        at: u64,
        /// Whether the other records were restored.
        partial: bool,
        /// The objects whose records cannot be read, each with the reason.
        objects: Vec<(Oid, String)>,
    },
    /// A damaged transaction inside the gap before, of which some records were restored.
    Salvaged {
        /// Tid of the transaction.
        tid: Tid,
        /// Position of the transaction.
        at: u64,
        /// Number of its records that were found.
        records: usize,
    },
}

impl Repaired {
    /// Number of damaged bytes, without an unfinished write at the end.
    #[must_use]
    pub fn damaged_bytes(&self) -> u64 {
        let gaps = self.lost.iter().map(|lost| match lost {
            Lost::Gap(gap) if !gap.unfinished => gap.bytes,
            Lost::Gap(_) | Lost::Records { .. } | Lost::Salvaged { .. } => 0,
        });
        gaps.sum()
    }
}

/// Restores what a scan finds into an empty database. With `partial`, also restores the readable
/// records of transactions with unreadable ones; these transactions get the status "packed".
///
/// # Errors
/// `Disk`, and the errors of the new database.
pub fn repair(
    scan: &mut Scan,
    into: &FileStorage,
    partial: bool,
    observer: &mut dyn Observer,
) -> Result<Repaired, StorageError> {
    let total = scan.end();
    let mut copy = Copy {
        into,
        partial,
        last: Tid::ZERO,
        known: BTreeSet::new(),
        group: Vec::new(),
        group_bytes: 0,
        done: Repaired::default(),
    };
    while let Some(step) = scan.next_item()? {
        match step {
            ScanItem::Transaction(transaction) if transaction.is_undone() => copy.done.undone += 1,
            ScanItem::Transaction(transaction) => {
                copy.transaction(scan, &transaction, false)?;
                observer.transaction(copy.done.transactions, &transaction);
            }
            ScanItem::Gap(gap) => {
                copy.done.lost.push(Lost::Gap(gap));
                copy.salvage(scan, &gap)?;
            }
        }
        observer.progress(scan.position(), total);
    }
    copy.commit()?;
    Ok(copy.done)
}

struct Copy<'a> {
    into: &'a FileStorage,
    partial: bool,
    /// The last tid that was used.
    last: Tid,
    /// The restored transactions that records can point back to, by their original tid.
    known: BTreeSet<Tid>,
    group: Vec<Finishing>,
    group_bytes: u64,
    done: Repaired,
}

/// A record that can be restored.
struct Readable {
    oid: Oid,
    tid: Tid,
    data: Option<RecordData>,
    source: Option<Tid>,
}

impl Copy<'_> {
    fn salvage(&mut self, scan: &mut Scan, gap: &Gap) -> Result<(), StorageError> {
        if !self.partial {
            return Ok(());
        }
        for transaction in scan.salvage(gap)? {
            let (tid, at) = (transaction.header.tid, transaction.at);
            self.done.lost.push(Lost::Salvaged { tid, at, records: transaction.records.len() });
            self.transaction(scan, &transaction, true)?;
        }
        Ok(())
    }

    /// `damaged` says that the transaction has lost records, even if all others can be read.
    fn transaction(
        &mut self,
        scan: &Scan,
        transaction: &Transaction,
        damaged: bool,
    ) -> Result<(), StorageError> {
        let header = &transaction.header;
        let mut readable = Vec::new();
        let mut objects = Vec::new();
        for record in &transaction.records {
            match self.read(scan, record) {
                Ok(record) => readable.push(record),
                Err(StorageError::Corrupt { what, .. }) => objects.push((record.oid, what)),
                Err(error) => return Err(error),
            }
        }
        let unreadable = !objects.is_empty();
        let lost_some = unreadable || damaged;
        let keep = !lost_some || (self.partial && !readable.is_empty());
        if unreadable {
            let (tid, at) = (header.tid, transaction.at);
            self.done.lost.push(Lost::Records { tid, at, partial: keep, objects });
        }
        if !keep {
            return Ok(());
        }
        let tid = self.tid_for(header.tid);
        let status = match Status(header.status) {
            _ if lost_some => Status::PACKED,
            status if status.is_final() => status,
            _ => Status::COMMITTED,
        };
        let meta = TransactionMeta {
            user: header.user.clone(),
            description: header.description.clone(),
            extension: header.extension.clone(),
            tid: Some(tid),
            status: status.0,
            resolve_conflicts: false,
        };
        // `restore` finds only committed records to point back to.
        if readable.iter().any(|record| record.source.is_some()) {
            self.commit()?;
        }
        let mut vote = self.into.begin_vote(&meta, Patience::Wait)?;
        self.done.records += readable.len() as u64;
        for Readable { oid, tid: own, data, source } in readable {
            let own = if own == header.tid { tid } else { own };
            vote.restore(oid, own, data, source)?;
        }
        let voted = vote.seal()?;
        self.last = tid;
        self.known.insert(tid);
        self.done.transactions += 1;
        self.done.partial += u64::from(lost_some);
        self.group.push(Finishing { tid, voted });
        self.group_bytes += header.size;
        if self.group_bytes >= GROUP_BYTES || self.group.len() >= GROUP_MAX {
            self.commit()?;
        }
        Ok(())
    }

    fn read(&self, scan: &Scan, record: &RecordInfo) -> Result<Readable, StorageError> {
        let data = scan.data(record)?.map(RecordData::from);
        // If the source is lost, the record gets the data instead.
        let source = scan.data_txn(record)?.filter(|source| self.known.contains(source));
        Ok(Readable { oid: record.oid, tid: record.tid, data, source })
    }

    fn tid_for(&mut self, tid: Tid) -> Tid {
        // `Tid::MAX` would leave no tid for the transactions that follow.
        if tid > self.last && tid < Tid::MAX {
            return tid;
        }
        self.done.retimed += 1;
        self.last.next()
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        if !self.group.is_empty() {
            self.into.commit(std::mem::take(&mut self.group))?;
            self.group_bytes = 0;
        }
        Ok(())
    }
}
