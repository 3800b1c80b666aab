//! Index files of old versions of ZODB: one pickled dict with the keys `index` and `pos`.
//!
//! The index in it is a dict of oids and positions, or a pickled `ZODB.fsIndex.fsIndex` whose state
//! holds what the current form has as separate pickles.

use bytes::Bytes;
use rzeo_core::Oid;
use rzeo_core::pickle;
use rzeo_core::value::{Opaque, ReadLimits, Value};

use super::buckets::{Unusable, add_buckets};
use crate::file::index::Index;

/// Maximum memory to read an index, in bytes for each byte of its file.
const MEMORY_PER_BYTE: usize = 64;
/// Maximum depth of nested values; an fsIndex in a dict needs six.
const DEPTH_MAX: u32 = 16;

pub(super) fn parse(bytes: Vec<u8>) -> Result<(u64, Index), Unusable> {
    let limits = ReadLimits {
        depth_max: DEPTH_MAX,
        memory_bytes_max: bytes.len().saturating_mul(MEMORY_PER_BYTE),
    };
    let root = pickle::load(&Bytes::from(bytes), &limits)
        .map_err(|error| Unusable::Unreadable(error.to_string()))?;
    let end = position(root.item("pos").ok_or(Unusable::Absurd)?)?;
    let mut index = Index::new();
    match root.item("index") {
        Some(Value::Dict(entries)) => {
            for (oid, at) in entries {
                let oid = Oid::from_slice(bytes_of(oid)?).ok_or(Unusable::Absurd)?;
                let at = position(at)?;
                if at >= end {
                    return Err(Unusable::Absurd);
                }
                index.insert(oid, at);
            }
        }
        Some(Value::Opaque(object)) => add_fs_index(&mut index, end, object)?,
        Some(_) | None => return Err(Unusable::Absurd),
    }
    Ok((end, index))
}

fn add_fs_index(index: &mut Index, end: u64, object: &Opaque) -> Result<(), Unusable> {
    let Opaque::Build { state, .. } = object else { return Err(Unusable::Absurd) };
    let Some(Value::List(rows)) = state.item("_data") else { return Err(Unusable::Absurd) };
    for row in rows {
        let Value::Tuple(pair) = row else { return Err(Unusable::Absurd) };
        let [prefix, buckets] = pair.as_slice() else { return Err(Unusable::Absurd) };
        add_buckets(index, end, bytes_of(prefix)?, bytes_of(buckets)?)?;
    }
    Ok(())
}

fn bytes_of(value: &Value) -> Result<&[u8], Unusable> {
    if let Value::Bytes(bytes) = value { Ok(bytes) } else { Err(Unusable::Absurd) }
}

fn position(value: &Value) -> Result<u64, Unusable> {
    match value {
        Value::Int(int) => u64::try_from(*int).ok().filter(|at| *at > 0).ok_or(Unusable::Absurd),
        _ => Err(Unusable::Absurd),
    }
}
