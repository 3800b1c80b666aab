//! Repairing: what can be read of a damaged file goes into a new one.
//!
//! Transactions are restored one after the other, as a copy from another database would be. Damage is
//! stepped over. A transaction of which a record cannot be read, because it points back into what is lost,
//! is left out whole unless partial ones are wanted: half of a transaction may be worse than none.
//!
//! The damaged file is never written to.

use std::collections::BTreeSet;

use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::{Finishing, Patience, RecordData, Storage, StorageError, TransactionMeta};

use super::{Gap, Observer, RecordPlace, Scan, Step, Transaction};
use crate::file::FileStorage;
use crate::file::format::Status;

/// Transactions are committed together until they have so many bytes.
const GROUP_BYTES: u64 = 16 << 20;
/// Or until they are so many.
const GROUP_MAX: usize = 4096;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Transactions that were restored.
    pub transactions: u64,
    /// Their records.
    pub records: u64,
    /// Of these transactions, those that lost records.
    pub partial: u64,
    /// Transactions whose tid was not later than the one before, or later than any can be, and got another
    /// one.
    pub retimed: u64,
    /// Transactions that were undone by a mark in their header, and need not be kept.
    pub undone: u64,
    /// What was left behind, in file order.
    pub lost: Vec<Lost>,
}

/// Something that was left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Bytes that are no transaction.
    Gap(Gap),
    /// Records of a transaction; all of them, unless partial transactions are wanted.
    Records {
        /// The transaction.
        tid: Tid,
        /// Where it is.
        at: u64,
        /// Whether the rest of it was restored.
        partial: bool,
        /// The objects whose records could not be read, each with the reason.
        objects: Vec<(Oid, String)>,
    },
    /// Something was found in the gap told of before, and restored.
    Salvaged {
        /// The transaction.
        tid: Tid,
        /// Where it is.
        at: u64,
        /// How many of its records were found.
        records: usize,
    },
}

impl Repaired {
    /// Bytes that are no transaction, without what an interrupted write left at the end.
    #[must_use]
    pub fn damaged_bytes(&self) -> u64 {
        let gaps = self.lost.iter().map(|lost| match lost {
            Lost::Gap(gap) if !gap.unfinished => gap.bytes,
            Lost::Gap(_) | Lost::Records { .. } | Lost::Salvaged { .. } => 0,
        });
        gaps.sum()
    }
}

/// Restores what a scan finds into an empty database. With `partial`, also transactions of which some
/// records cannot be read, without these and marked as packed.
///
/// # Errors
/// `Disk`, and what the new database refuses.
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
    while let Some(step) = scan.step()? {
        match step {
            Step::Transaction(transaction) if transaction.is_undone() => copy.done.undone += 1,
            Step::Transaction(transaction) => {
                copy.transaction(scan, &transaction, false)?;
                observer.transaction(copy.done.transactions, &transaction);
            }
            Step::Gap(gap) => {
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
    /// The last tid given.
    last: Tid,
    /// The transactions that can be pointed back to, by the tid that they had.
    known: BTreeSet<Tid>,
    group: Vec<Finishing>,
    group_bytes: u64,
    done: Repaired,
}

/// A record as it can be restored.
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

    /// `damaged` says that the transaction has lost something, however well the rest can be read.
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
        // What a record points back to must be committed to be found.
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

    fn read(&self, scan: &Scan, record: &RecordPlace) -> Result<Readable, StorageError> {
        let data = scan.data(record)?.map(RecordData::from);
        // Where the source is lost, the data are kept in its place.
        let source = scan.data_txn(record)?.filter(|source| self.known.contains(source));
        Ok(Readable { oid: record.oid, tid: record.tid, data, source })
    }

    fn tid_for(&mut self, tid: Tid) -> Tid {
        // There must be room behind it, or all that follow would get the same one.
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
