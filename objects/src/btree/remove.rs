//! Removes items from trees, with buckets and nodes that become empty.
//!
//! Nodes are never joined. A bucket without items leaves its parent and the chain of buckets; a node
//! without children leaves its parent. Both keep their records, because Python stores what has changed,
//! whether or not something refers to it, and a pack removes them.
//!
//! The chain has one direction, so the bucket before a removed one is found from above: it is the last
//! one below the left neighbor, on the lowest level where there is one. On the levels below that, the
//! removed bucket was the first one, and the nodes now refer to the one after it.

use super::bucket::Bucket;
use super::error::{Damage, LEVELS_MAX};
use super::layout::Layout;
use super::nodes::{bucket, damaged, last_bucket, node};
use super::order::order;
use super::tree_node::{Children, Content, TreeNode};
use crate::error::Error;
use crate::reference::ObjectId;
use crate::snapshot::Snapshot;
use crate::value::PyValue;

/// A key to remove from a tree. It has been converted.
pub(super) struct Removal<'a> {
    pub(super) snapshot: &'a mut Snapshot,
    pub(super) layout: Layout,
    pub(super) key: PyValue,
}

/// What was removed from below a node.
struct Removed {
    value: PyValue,
    /// The first bucket below the node, if it was removed and the bucket before it still refers to it.
    unlinked: Option<Unlinked>,
}

/// A bucket that was removed from a tree.
#[derive(Clone, Copy)]
struct Unlinked {
    bucket: ObjectId,
    next: Option<ObjectId>,
}

impl Removal<'_> {
    /// Removes the key from a tree. The value that it had; `None` if it was not there.
    pub(super) fn take_from_tree(&mut self, root: ObjectId) -> Result<Option<PyValue>, Error> {
        Ok(self.take_from_node(root, 0)?.map(|removed| removed.value))
    }

    /// Removes the key from a bucket that has a record of its own.
    pub(super) fn take_from_bucket(&mut self, id: ObjectId) -> Result<Option<PyValue>, Error> {
        let found = bucket(self.snapshot, self.layout, id)?;
        let Ok(at) = found.find(&self.key)? else { return Ok(None) };
        let value = found.value(at);
        drop(found);
        self.snapshot.modify(id, |bucket: &mut Bucket| bucket.remove(at))?;
        Ok(Some(value))
    }

    fn take_from_node(&mut self, id: ObjectId, depth: u32) -> Result<Option<Removed>, Error> {
        let tree_node = node(self.snapshot, self.layout, id)?;
        let children = match &tree_node.content {
            Content::Children(children) if !children.ids.is_empty() => children,
            Content::Children(_) if depth == 0 => return Ok(None),
            Content::OneBucket(bucket) if depth == 0 => {
                return self.take_from_one_bucket(id, bucket);
            }
            Content::Children(_) => return Err(damaged(id, Damage::Empty)),
            Content::OneBucket(_) => return Err(damaged(id, Damage::NestedBucket)),
        };
        if depth == LEVELS_MAX {
            return Err(damaged(id, Damage::TooDeep));
        }
        let at = children.find(&self.key)?;
        self.snapshot.check_current(id)?;
        let child = children.ids[at];
        let removed = if children.are_buckets {
            self.take_from_bucket(child)?.map(|value| Removed { value, unlinked: None })
        } else {
            self.take_from_node(child, depth + 1)?
        };
        let Some(mut removed) = removed else { return Ok(None) };
        removed.unlinked = self.repair(id, depth > 0, children, at, removed.unlinked)?;
        Ok(Some(removed))
    }

    fn take_from_one_bucket(
        &mut self,
        id: ObjectId,
        bucket: &Bucket,
    ) -> Result<Option<Removed>, Error> {
        self.snapshot.check_current(id)?;
        let Ok(at) = bucket.find(&self.key)? else { return Ok(None) };
        self.snapshot.modify(id, |node: &mut TreeNode| match &mut node.content {
            Content::OneBucket(bucket) if bucket.len() > 1 => bucket.remove(at),
            _ => node.clear(),
        })?;
        Ok(Some(Removed { value: bucket.value(at), unlinked: None }))
    }

    /// Makes a node agree with what was removed below the child at a position. The first bucket below
    /// the node, if it is no longer in the tree.
    fn repair(
        &mut self,
        id: ObjectId,
        is_nested: bool,
        children: &Children,
        at: usize,
        unlinked: Option<Unlinked>,
    ) -> Result<Option<Unlinked>, Error> {
        let (child, before) = (children.ids[at], at.checked_sub(1));
        let is_empty = self.is_empty(child, children.are_buckets)?;
        if let Some(before) = before
            && !is_empty
            && order(&children.keys[before], &self.key)?.is_eq()
        {
            let key = self.first_key(child, children.are_buckets)?;
            self.change(id, is_nested, |children| children.keys[before] = key)?;
        }
        let mut still_linked = None;
        if let Some(unlinked) = unlinked {
            if let Some(before) = before {
                let before = last_bucket(self.snapshot, self.layout, children.ids[before])?;
                self.link(before, unlinked)?;
            } else {
                self.change(id, is_nested, |children| children.first = unlinked.next)?;
                still_linked = Some(unlinked);
            }
        }
        if !is_empty {
            return Ok(still_linked);
        }
        if children.are_buckets {
            let next = bucket(self.snapshot, self.layout, child)?.next;
            let unlinked = Unlinked { bucket: child, next };
            if let Some(before) = before {
                self.link(children.ids[before], unlinked)?;
            } else {
                self.change(id, is_nested, |children| children.first = next)?;
                still_linked = Some(unlinked);
            }
        }
        self.change(id, is_nested, |children| children.remove(at))?;
        Ok(still_linked)
    }

    /// Makes the bucket before a removed one refer to the one after it.
    fn link(&mut self, before: ObjectId, removed: Unlinked) -> Result<(), Error> {
        if bucket(self.snapshot, self.layout, before)?.next != Some(removed.bucket) {
            return Err(damaged(before, Damage::NextBucket));
        }
        self.snapshot.modify(before, |bucket: &mut Bucket| bucket.next = removed.next)
    }

    fn is_empty(&mut self, child: ObjectId, is_bucket: bool) -> Result<bool, Error> {
        Ok(if is_bucket {
            bucket(self.snapshot, self.layout, child)?.len() == 0
        } else {
            node(self.snapshot, self.layout, child)?.len() == 0
        })
    }

    /// The smallest key below a child.
    fn first_key(&mut self, child: ObjectId, is_bucket: bool) -> Result<PyValue, Error> {
        let first = if is_bucket {
            child
        } else {
            let first = node(self.snapshot, self.layout, child)?.first();
            first.ok_or_else(|| damaged(child, Damage::FirstBucket))?
        };
        let first_bucket = bucket(self.snapshot, self.layout, first)?;
        first_bucket.keys().first().cloned().ok_or_else(|| damaged(first, Damage::Empty))
    }

    fn change(
        &mut self,
        id: ObjectId,
        is_nested: bool,
        change: impl FnOnce(&mut Children),
    ) -> Result<(), Error> {
        self.snapshot.modify(id, |node: &mut TreeNode| {
            node.is_nested |= is_nested;
            node.children_mut().map(change).unwrap_or_default()
        })
    }
}
