//! Whether the last transaction of a target is also in the source.
//!
//! A copy is resumed after this transaction, so it must be the same on both sides: tid, user, description, and
//! the last record of each object. The order of records is not compared: a server writes blobs last, and their
//! records twice. Records are compared by a keyed hash, so that a large transaction does not have to be in
//! memory and no attacker can make two records with the same hash.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use rzeo_core::{Oid, Tid};

use super::database::{Database, Header, TransactionCursor};
use super::stop::Stop;
use crate::tools::ToolError;

/// For each object, the tid of its last record, and length and hash of the data; none for a deletion.
type States = BTreeMap<Oid, (Tid, Option<(usize, u64)>)>;

/// Refuses unless the cursor through the source begins with the target's last transaction. The cursor has
/// then passed this transaction.
pub(super) fn check(
    source: &dyn Database,
    cursor: &mut dyn TransactionCursor,
    target: &dyn Database,
    last: Tid,
    stop: &Stop,
) -> Result<(), ToolError> {
    let (from, to) = (source.name(), target.name());
    let refused = |what: String| {
        Err(ToolError::Refused(format!(
            "{to} does not hold a prefix of {from}, so the copy cannot be resumed: {what}"
        )))
    };
    let Some(theirs) = cursor.next_transaction()?.filter(|header| header.tid == last) else {
        return refused(format!("its last transaction {last} is not in the source"));
    };
    let mut there = target.transactions(Some(last))?;
    let Some(ours) = there.next_transaction()?.filter(|header| header.tid == last) else {
        return refused(format!("its last transaction {last} cannot be read from it"));
    };
    if let Some(what) = difference(&theirs, &ours) {
        return refused(format!("transaction {last} has a different {what} in the source"));
    }
    let hasher = RandomState::new();
    let theirs = states(cursor, &hasher, stop)?;
    let ours = states(&mut *there, &hasher, stop)?;
    match first_difference(&theirs, &ours) {
        None => Ok(()),
        Some(oid) => refused(format!(
            "transaction {last} has a different record of object {oid} in the source"
        )),
    }
}

fn difference(theirs: &Header, ours: &Header) -> Option<&'static str> {
    if theirs.user != ours.user {
        Some("user")
    } else if theirs.description != ours.description {
        Some("description")
    } else {
        None
    }
}

fn states(
    cursor: &mut dyn TransactionCursor,
    hasher: &RandomState,
    stop: &Stop,
) -> Result<States, ToolError> {
    let mut states = States::new();
    while let Some(record) = cursor.next_record()? {
        stop.check()?;
        let state = record.data.map(|data| (data.len(), hasher.hash_one(&data[..])));
        states.insert(record.oid, (record.tid, state));
    }
    Ok(states)
}

fn first_difference(theirs: &States, ours: &States) -> Option<Oid> {
    let oids = theirs.keys().chain(ours.keys());
    oids.copied().filter(|oid| theirs.get(oid) != ours.get(oid)).min()
}
