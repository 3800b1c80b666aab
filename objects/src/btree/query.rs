//! Questions to trees that change nothing.

use alloc::collections::BTreeSet;
use core::ops::Bound;

use super::error::{Damage, LEVELS_MAX};
use super::layout::Layout;
use super::leaf::{Leaf, Left, Root, search};
use super::nodes::{bucket, damaged, last_bucket, node};
use super::range::Cursor;
use super::tree_node::Content;
use crate::error::Error;
use crate::reference::ObjectId;
use crate::snapshot::Snapshot;
use crate::value::PyValue;

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

/// Number of items. Every bucket is read; what is lacking on one level is loaded together.
pub(super) fn len(snapshot: &mut Snapshot, root: Root) -> Result<usize, Error> {
    if root.is_tree {
        Count { snapshot, layout: root.layout, visited: BTreeSet::new() }.below(root.id, 0)
    } else {
        bucket(snapshot, root.layout, root.id).map(|bucket| bucket.len())
    }
}

/// Counts items.
struct Count<'a> {
    snapshot: &'a mut Snapshot,
    layout: Layout,
    /// Nodes and buckets so far. In a damaged tree, they can have any number of parents.
    visited: BTreeSet<ObjectId>,
}

impl Count<'_> {
    fn below(&mut self, id: ObjectId, depth: u32) -> Result<usize, Error> {
        let tree_node = node(self.snapshot, self.layout, id)?;
        let children = match &tree_node.content {
            Content::OneBucket(bucket) => return Ok(bucket.len()),
            Content::Children(children) => children,
        };
        if depth == LEVELS_MAX {
            return Err(damaged(id, Damage::TooDeep));
        }
        if children.ids.is_empty() && depth > 0 {
            return Err(damaged(id, Damage::Empty));
        }
        self.snapshot.want(children.ids.iter().filter_map(|id| id.oid()));
        let mut len = 0;
        for child in &children.ids {
            if !self.visited.insert(*child) {
                return Err(damaged(id, Damage::SharedChild));
            }
            len += if children.are_buckets {
                bucket(self.snapshot, self.layout, *child)?.len()
            } else {
                self.below(*child, depth + 1)?
            };
        }
        Ok(len)
    }
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
