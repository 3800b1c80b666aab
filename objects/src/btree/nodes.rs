//! Access to the nodes of one tree, which must all be of its layout.

use alloc::sync::Arc;

use super::bucket::Bucket;
use super::error::{BTreeError, Damage, LEVELS_MAX};
use super::layout::Layout;
use super::tree_node::TreeNode;
use crate::error::Error;
use crate::reference::ObjectId;
use crate::snapshot::Snapshot;

/// The error for a node.
pub(super) fn damaged(id: ObjectId, damage: Damage) -> Error {
    BTreeError::Damaged { id, damage }.into()
}

/// The bucket with an id.
pub(super) fn bucket(
    snapshot: &mut Snapshot,
    layout: Layout,
    id: ObjectId,
) -> Result<Arc<Bucket>, Error> {
    let bucket = snapshot.read::<Bucket>(id)?;
    if bucket.layout == layout { Ok(bucket) } else { Err(damaged(id, Damage::WrongChild)) }
}

/// The inner node with an id.
pub(super) fn node(
    snapshot: &mut Snapshot,
    layout: Layout,
    id: ObjectId,
) -> Result<Arc<TreeNode>, Error> {
    let node = snapshot.read::<TreeNode>(id)?;
    if node.layout == layout { Ok(node) } else { Err(damaged(id, Damage::WrongChild)) }
}

/// The rightmost bucket below a node.
pub(super) fn last_bucket(
    snapshot: &mut Snapshot,
    layout: Layout,
    mut id: ObjectId,
) -> Result<ObjectId, Error> {
    for _ in 0..LEVELS_MAX {
        let node = node(snapshot, layout, id)?;
        let children = node.children().ok_or_else(|| damaged(id, Damage::NestedBucket))?;
        let last = *children.ids.last().ok_or_else(|| damaged(id, Damage::Empty))?;
        if children.are_buckets {
            return Ok(last);
        }
        id = last;
    }
    Err(damaged(id, Damage::TooDeep))
}
