//! A transaction of an application, and the plan of its writes.

use std::collections::BTreeMap;

use bytes::Bytes;
use rzeo_core::storage::Revision;
use rzeo_core::{Oid, Tid};
use rzeo_fixtures::random::Random;

use crate::objects;
use crate::oracle::Plan;
use crate::workload::TransactionKind;

/// A transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Its description.
    pub(crate) number: u64,
    pub(crate) kind: TransactionKind,
    pub(crate) wanted: Vec<Oid>,
    pub(crate) read: BTreeMap<Oid, Option<Revision>>,
    /// For an undo: the commit, and its undo id.
    pub(crate) undoes: Option<(Tid, Bytes)>,
    pub(crate) amount: i64,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stage {
    Queued,
    Reading,
    Voting,
    Finishing,
    Aborting,
}

impl Transaction {
    pub(crate) const fn is_finishing(&self) -> bool {
        matches!(self.stage, Stage::Finishing)
    }
}

/// Maximum length of a blob; longer than a chunk on the wire.
const BLOB_BYTES_MAX: usize = 140_000;

/// The plan of a transaction whose objects are read.
pub(crate) fn plan(transaction: &Transaction, random: &mut Random) -> Plan {
    let mut plan =
        Plan { undoes: transaction.undoes.as_ref().map(|(tid, _)| *tid), ..Plan::default() };
    for (index, oid) in transaction.wanted.iter().enumerate() {
        let Some(read) = &transaction.read[oid].as_ref().filter(|_| !objects::is_blob(*oid)) else {
            continue;
        };
        let number = || objects::number(*oid, &read.data);
        let new = match transaction.kind {
            TransactionKind::Transfer if index == 0 => number() - transaction.amount,
            TransactionKind::Transfer => number() + transaction.amount,
            TransactionKind::Depend if index == 0 => {
                plan.depends.push((*oid, read.serial));
                continue;
            }
            TransactionKind::Count
            | TransactionKind::Mass
            | TransactionKind::Depend
            | TransactionKind::Blob => number() + 1,
            TransactionKind::Undo | TransactionKind::Nothing => continue,
        };
        plan.writes.insert(*oid, (read.serial, objects::record(*oid, new)));
    }
    if transaction.kind == TransactionKind::Blob {
        let oid = transaction.wanted[0];
        let serial = transaction.read[&oid].as_ref().map_or(Tid::ZERO, |read| read.serial);
        plan.writes.insert(oid, (serial, Bytes::from_static(objects::BLOB)));
        plan.blobs.insert(oid, content(transaction.number, random));
    }
    plan
}

/// The content of a blob: often short, sometimes longer than one message.
pub(crate) fn content(number: u64, random: &mut Random) -> Bytes {
    let max = [1, 100, 5000, BLOB_BYTES_MAX][random.below(4)];
    let mut bytes = number.to_string().into_bytes();
    bytes.resize(random.below(max), u8::try_from(number % 251).unwrap_or_default());
    bytes.into()
}
