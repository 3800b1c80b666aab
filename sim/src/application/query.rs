//! Requests of an application other than those of its transactions, and their answers so far.

use std::collections::{BTreeMap, BTreeSet};

use rzeo_core::client::{IteratorId, TransactionInfo};
use rzeo_core::storage::Record;
use rzeo_core::{Oid, Tid};

use crate::application::shared::Shared;

/// A pending request, with the facts that its answer is checked against.
#[derive(Debug)]
pub(crate) enum Query {
    Ping { acknowledged: Tid },
    Newest { acknowledged: Tid },
    Info,
    CurrentSerial { oid: Oid, last_tid: Tid },
    OldRecord { oid: Oid, serial: Tid },
    History { oid: Oid },
    NextRecord { from: Oid },
    UndoLog,
    Pack,
    Iterate(Step),
    Blob { oid: Oid, serial: Tid },
}

/// The kind of the next iterator request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Start,
    Next,
    StartRecords,
    NextRecord,
}

/// A slow read of all objects that have a sum, as of one tid.
#[derive(Debug)]
pub(crate) struct SnapshotReader {
    pub(crate) number: u64,
    pub(crate) tid: Tid,
    pub(crate) missing: BTreeSet<Oid>,
    pub(crate) numbers: BTreeMap<Oid, i64>,
}

/// An iteration over transactions.
#[derive(Debug)]
pub(crate) struct Iteration {
    pub(crate) id: Option<IteratorId>,
    pub(crate) start: Option<Tid>,
    pub(crate) stop: Option<Tid>,
    /// The last tid when it began.
    pub(crate) known: Tid,
    /// The tid of the last transaction.
    pub(crate) last: Tid,
    /// The iterator over its records, and the oids so far.
    pub(crate) records: Option<(IteratorId, BTreeSet<Oid>)>,
    /// Whether a request is pending.
    pub(crate) is_pending: bool,
}

/// A blob that is being downloaded.
#[derive(Debug, Default)]
pub(crate) struct Download {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_whole: bool,
}

impl Iteration {
    /// Checks that no transaction was skipped, except those that a pack may have removed.
    pub(crate) fn check_transaction(&mut self, found: &TransactionInfo, shared: &mut Shared) {
        let tid = found.tid;
        assert!(tid > self.last, "{tid} comes after {}", self.last);
        assert!(self.start.is_none_or(|start| tid >= start), "{tid} is before {:?}", self.start);
        assert!(self.stop.is_none_or(|stop| tid <= stop), "{tid} is after {:?}", self.stop);
        let description = shared.oracle.description(tid);
        assert_eq!(description, Some(&found.description), "the description of {tid}");
        check_skipped(self.last, Tid(tid.0 - 1), shared);
        self.last = tid;
        shared.coverage.count("transactions iterated");
        shared.coverage.add("packed transactions iterated", u64::from(found.status == b'p'));
    }

    pub(crate) fn check_end(&self, shared: &mut Shared) {
        check_skipped(self.last, self.stop.map_or(self.known, |stop| stop.min(self.known)), shared);
        shared.coverage.count("iterations to the end");
    }

    pub(crate) fn check_record(&mut self, found: &Record, shared: &mut Shared) {
        let oracle = shared.oracle.record(self.last, found.oid);
        assert_eq!(oracle, Some(&found.data), "{} of {}", found.oid, self.last);
        if let Some((_, seen)) = &mut self.records {
            seen.insert(found.oid);
        }
        shared.coverage.count("records iterated");
    }

    pub(crate) fn check_end_of_records(&mut self, shared: &Shared) {
        let Some((_, seen)) = self.records.take() else { return };
        if self.last > shared.oracle.packed_to() {
            let known = shared.oracle.records(self.last);
            assert_eq!(Some(seen.len()), known, "the records of {}", self.last);
        }
    }
}

/// Checks that a pack may have removed all transactions in between.
pub(crate) fn check_skipped(after: Tid, up_to: Tid, shared: &Shared) {
    for (tid, _) in shared.oracle.between(after, up_to) {
        assert!(tid <= shared.oracle.packed_to(), "an iteration has missed {tid}");
    }
}
