//! The rows of an index file, in both of its formats: the positions of up to 65,536 oids with a common
//! prefix.

use rzeo_core::Oid;
use thiserror::Error;

use crate::file::index::Index;

/// Why an index file is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unusable {
    #[error("there is no index file")]
    Missing,
    #[error("the index file cannot be read: {0}")]
    Unreadable(String),
    #[error("byte {0} is not valid in an index file")]
    Unexpected(usize),
    #[error("it ends too early")]
    CutOff,
    #[error("it holds an impossible oid or position")]
    Absurd,
}

/// Adds the oids with a common prefix. All positions must be before `end`.
pub(super) fn add_buckets(
    index: &mut Index,
    end: u64,
    prefix: &[u8],
    buckets: &[u8],
) -> Result<(), Unusable> {
    let prefix: [u8; 6] = prefix.try_into().map_err(|_| Unusable::Absurd)?;
    let count = buckets.len() / 8;
    if !buckets.len().is_multiple_of(8) {
        return Err(Unusable::Absurd);
    }
    let (suffixes, positions) = buckets.split_at(count * 2);
    let mut oid = [0; 8];
    oid[..6].copy_from_slice(&prefix);
    for (suffix, position) in suffixes.chunks_exact(2).zip(positions.chunks_exact(6)) {
        oid[6..].copy_from_slice(suffix);
        let position = position.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if position == 0 || position >= end {
            return Err(Unusable::Absurd);
        }
        index.insert(Oid::from_bytes(oid), position);
    }
    Ok(())
}
