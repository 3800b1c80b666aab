//! Questions to trees that change nothing.

use super::error::Damage;
use super::leaf::{Leaf, Left, Root, search};
use super::nodes::{damaged, last_bucket};
use super::order::order;
use super::range::Cursor;
use crate::error::Error;
use crate::snapshot::Snapshot;
use crate::value::PyValue;
use core::ops::Bound;

/// The value of a key; `None` if the key is not there. In sets the value is Python's `None`.
pub(super) fn get(
    snapshot: &mut Snapshot,
    root: Root,
    key: &PyValue,
) -> Result<Option<PyValue>, Error> {
    let Some(found) = search(snapshot, root, key)? else { return Ok(None) };
    found.leaf.look(snapshot, root.layout, |bucket| {
        Ok(bucket.find(key)?.ok().map(|at| bucket.value(at)))
    })?
}

/// Number of items. Every bucket is read.
pub(super) fn len(snapshot: &mut Snapshot, root: Root) -> Result<usize, Error> {
    let mut len = 0;
    let mut next = Leaf::first(snapshot, root)?;
    let mut before: Option<PyValue> = None;
    while let Some(leaf) = next {
        let (count, first, after) = leaf.look(snapshot, root.layout, |bucket| {
            (bucket.len(), bucket.keys().first().cloned(), bucket.next)
        })?;
        len += count;
        if !root.is_tree {
            break;
        }
        let first = first.ok_or_else(|| damaged(leaf.id(), Damage::Empty))?;
        if let Some(before) = before
            && order(&before, &first)?.is_ge()
        {
            // Else a chain of buckets that leads back would have no end.
            return Err(damaged(leaf.id(), Damage::KeyOrder));
        }
        before = Some(first);
        next = after.map(Leaf::Bucket);
    }
    Ok(len)
}

/// The smallest key that is not below a bound.
pub(super) fn min_key(
    snapshot: &mut Snapshot,
    root: Root,
    min: Bound<PyValue>,
) -> Result<Option<PyValue>, Error> {
    let first = Cursor::new(root, min, Bound::Unbounded).next(snapshot)?;
    Ok(first.map(|(key, _)| key))
}

/// The largest key that is not above a bound.
pub(super) fn max_key(
    snapshot: &mut Snapshot,
    root: Root,
    max: Bound<PyValue>,
) -> Result<Option<PyValue>, Error> {
    let (Bound::Included(key) | Bound::Excluded(key)) = &max else {
        let last = Leaf::last(snapshot, root)?;
        return last.map_or(Ok(None), |leaf| last_key(snapshot, root, leaf));
    };
    let Some(found) = search(snapshot, root, key)? else { return Ok(None) };
    let below = found.leaf.look(snapshot, root.layout, |bucket| {
        let end = match bucket.find(key)? {
            Ok(at) if matches!(max, Bound::Included(_)) => at + 1,
            Ok(at) | Err(at) => at,
        };
        Ok::<_, Error>(end.checked_sub(1).map(|at| bucket.keys()[at].clone()))
    })??;
    // The smallest key of a bucket may be larger than the one that its parent has for it, because
    // the parent keeps a key that was removed.
    match (below, found.left) {
        (Some(key), _) => Ok(Some(key)),
        (None, None) => Ok(None),
        (None, Some(Left::Bucket(id))) => last_key(snapshot, root, Leaf::Bucket(id)),
        (None, Some(Left::Node(id))) => {
            let last = last_bucket(snapshot, root.layout, id)?;
            last_key(snapshot, root, Leaf::Bucket(last))
        }
    }
}

fn last_key(snapshot: &mut Snapshot, root: Root, leaf: Leaf) -> Result<Option<PyValue>, Error> {
    leaf.look(snapshot, root.layout, |bucket| bucket.keys().last().cloned())
}
