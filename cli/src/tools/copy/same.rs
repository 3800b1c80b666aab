//! Whether a target's last transaction is one of the source.
//!
//! A copy goes on after it, so it must be the same: tid, user, description, and for each object what became
//! of it. The order of records is not compared, and of several of one object the last counts: a server puts
//! blobs to the end, and writes their records twice. Records are compared by a hash, so that a large
//! transaction needs not be in memory; who wanted to find two records of one hash would have to know
//! the hash's key.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use rzeo_core::ids::{Oid, Tid};

use super::database::{Database, Header, Walk};
use super::{Stop, ToolError};

/// What became of an object: its record's tid, and what the record is.
type States = BTreeMap<Oid, (Tid, Option<(usize, u64)>)>;

/// Refuses unless the walk through the source begins with the target's last transaction. The walk has
/// this transaction behind it then.
pub(super) fn check(
    source: &dyn Database,
    walk: &mut dyn Walk,
    target: &dyn Database,
    last: Tid,
    stop: &Stop,
) -> Result<(), ToolError> {
    let (from, to) = (source.name(), target.name());
    let refused = |what: String| {
        Err(ToolError::Refused(format!(
            "{to} is no beginning of {from}, so it cannot be gone on with: {what}"
        )))
    };
    let Some(theirs) = walk.next_transaction()?.filter(|header| header.tid == last) else {
        return refused(format!("its last transaction {last} is not there"));
    };
    let mut there = target.walk(Some(last))?;
    let Some(ours) = there.next_transaction()?.filter(|header| header.tid == last) else {
        return refused(format!("its last transaction {last} cannot be found in it"));
    };
    if let Some(what) = difference(&theirs, &ours) {
        return refused(format!("transaction {last} has another {what} there"));
    }
    let hasher = RandomState::new();
    let theirs = states(walk, &hasher, stop)?;
    let ours = states(&mut *there, &hasher, stop)?;
    match first_difference(&theirs, &ours) {
        None => Ok(()),
        Some(oid) => {
            refused(format!("transaction {last} has another record of object {oid} there"))
        }
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

fn states(walk: &mut dyn Walk, hasher: &RandomState, stop: &Stop) -> Result<States, ToolError> {
    let mut states = States::new();
    while let Some(record) = walk.next_record()? {
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
