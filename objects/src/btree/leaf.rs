//! The leaves of a tree, wherever their items are kept.

use alloc::sync::Arc;

use super::bucket::Bucket;
use super::error::{Damage, LEVELS_MAX};
use super::layout::Layout;
use super::nodes::{bucket, damaged, last_bucket, node};
use super::tree_node::{Content, TreeNode};
use crate::error::Error;
use crate::reference::ObjectId;
use crate::snapshot::Snapshot;
use crate::value::PyValue;

/// Where the items of a handle are: below a tree, or in a single bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) id: ObjectId,
    pub(super) layout: Layout,
    pub(super) is_tree: bool,
}

/// A leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// The bucket in the record of this tree.
    WithinTree(ObjectId),
    /// A bucket with a record of its own.
    Bucket(ObjectId),
}

/// Where the search for a key ends.
pub(super) struct Search {
    pub(super) leaf: Leaf,
    /// The leaf before the found one, or the node that it is the last leaf of.
    pub(super) left: Option<Left>,
    /// The node that refers to the leaf, and the position of the leaf among its children.
    pub(super) parent: Option<(Arc<TreeNode>, usize)>,
}

/// A left neighbor of a leaf or of a node above it.
pub(super) enum Left {
    Bucket(ObjectId),
    Node(ObjectId),
}

impl Leaf {
    /// The object whose record has the items.
    pub(super) const fn id(self) -> ObjectId {
        match self {
            Self::WithinTree(id) | Self::Bucket(id) => id,
        }
    }

    /// Looks at the items.
    pub(super) fn look<R>(
        self,
        snapshot: &mut Snapshot,
        layout: Layout,
        look: impl FnOnce(&Bucket) -> R,
    ) -> Result<R, Error> {
        match self {
            Self::Bucket(id) => {
                let bucket = bucket(snapshot, layout, id)?;
                Ok(look(&bucket))
            }
            Self::WithinTree(id) => match &node(snapshot, layout, id)?.content {
                Content::OneBucket(bucket) => Ok(look(bucket)),
                Content::Children(_) => Err(damaged(id, Damage::WrongChild)),
            },
        }
    }

    /// The first leaf.
    pub(super) fn first(snapshot: &mut Snapshot, root: Root) -> Result<Option<Self>, Error> {
        if !root.is_tree {
            return Ok(Some(Self::Bucket(root.id)));
        }
        Ok(match &node(snapshot, root.layout, root.id)?.content {
            Content::OneBucket(_) => Some(Self::WithinTree(root.id)),
            Content::Children(children) if children.ids.is_empty() => None,
            Content::Children(children) => children.first.map(Self::Bucket),
        })
    }

    /// The last leaf.
    pub(super) fn last(snapshot: &mut Snapshot, root: Root) -> Result<Option<Self>, Error> {
        let Root { id, layout, is_tree } = root;
        if !is_tree {
            return Ok(Some(Self::Bucket(id)));
        }
        match &node(snapshot, layout, id)?.content {
            Content::OneBucket(_) => Ok(Some(Self::WithinTree(id))),
            Content::Children(children) if children.ids.is_empty() => Ok(None),
            Content::Children(_) => last_bucket(snapshot, layout, id).map(Self::Bucket).map(Some),
        }
    }
}

/// Searches the leaf where a key is or belongs; `None` if the tree is empty.
pub(super) fn search(
    snapshot: &mut Snapshot,
    root: Root,
    key: &PyValue,
) -> Result<Option<Search>, Error> {
    let (mut id, mut left) = (root.id, None);
    if !root.is_tree {
        return Ok(Some(Search { leaf: Leaf::Bucket(id), left, parent: None }));
    }
    for _ in 0..LEVELS_MAX {
        let tree_node = node(snapshot, root.layout, id)?;
        let children = match &tree_node.content {
            Content::OneBucket(_) => {
                return Ok(Some(Search { leaf: Leaf::WithinTree(id), left, parent: None }));
            }
            Content::Children(children) if children.ids.is_empty() => return Ok(None),
            Content::Children(children) => children,
        };
        let at = children.find(key)?;
        if let Some(before) = at.checked_sub(1) {
            let before = children.ids[before];
            left =
                Some(if children.are_buckets { Left::Bucket(before) } else { Left::Node(before) });
        }
        id = children.ids[at];
        if children.are_buckets {
            let parent = Some((tree_node, at));
            return Ok(Some(Search { leaf: Leaf::Bucket(id), left, parent }));
        }
    }
    Err(damaged(id, Damage::TooDeep))
}
