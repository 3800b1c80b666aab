//! Adds items to trees and splits nodes that become too large.
//!
//! A bucket with more than the maximum of items is split in the middle, and so is an inner node with
//! more than the maximum of children; the second half becomes a new object, next to the first one in
//! the parent. The root keeps its identity, because applications refer to it. It may have twice as many
//! children; then they move into a new node, which is split.
//!
//! The order of changes is Python's, from the bucket up, because the first change of an object decides
//! when its record is written and thereby which oids new objects get.

use super::bucket::Bucket;
use super::error::{Damage, LEVELS_MAX};
use super::family::Sizes;
use super::layout::Layout;
use super::nodes::{bucket, damaged, node};
use super::tree_node::{Children, Content, TreeNode};
use crate::error::Error;
use crate::reference::ObjectId;
use crate::snapshot::Snapshot;
use crate::value::PyValue;

/// What to do with a key that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfPresent {
    Keep,
    Replace,
}

/// An item to add to a tree. Key and value have been converted.
pub(super) struct Insertion<'a> {
    pub(super) snapshot: &'a mut Snapshot,
    pub(super) layout: Layout,
    pub(super) sizes: Sizes,
    pub(super) key: PyValue,
    pub(super) value: PyValue,
    pub(super) if_present: IfPresent,
}

impl Insertion<'_> {
    /// Adds the item to a tree. Whether the key is new.
    pub(super) fn add_to_tree(&mut self, root: ObjectId) -> Result<bool, Error> {
        self.add_to_node(root, 0)
    }

    fn add_to_node(&mut self, id: ObjectId, depth: u32) -> Result<bool, Error> {
        let tree_node = node(self.snapshot, self.layout, id)?;
        let children = match &tree_node.content {
            Content::Children(children) if !children.ids.is_empty() => children,
            Content::Children(_) if depth == 0 => {
                drop(tree_node);
                return self.add_to_empty_tree(id);
            }
            Content::OneBucket(_) if depth == 0 => {
                drop(tree_node);
                return self.add_to_one_bucket(id);
            }
            Content::Children(_) => return Err(damaged(id, Damage::Empty)),
            Content::OneBucket(_) => return Err(damaged(id, Damage::NestedBucket)),
        };
        if depth == LEVELS_MAX {
            return Err(damaged(id, Damage::TooDeep));
        }
        let at = children.find(&self.key)?;
        let (child, are_buckets) = (children.ids[at], children.are_buckets);
        drop(tree_node);
        self.snapshot.check_current(id)?;
        let (is_new, is_too_large) = if are_buckets {
            let is_new = self.add_to_bucket(child)?;
            let len = bucket(self.snapshot, self.layout, child)?.len();
            (is_new, len > self.sizes.leaf_max)
        } else {
            let is_new = self.add_to_node(child, depth + 1)?;
            let len = node(self.snapshot, self.layout, child)?.len();
            (is_new, len > self.sizes.internal_max)
        };
        if is_new && is_too_large {
            self.split_child(id, depth > 0, at)?;
        }
        Ok(is_new)
    }

    /// Adds the item to a bucket that has a record of its own. Whether the key is new.
    pub(super) fn add_to_bucket(&mut self, id: ObjectId) -> Result<bool, Error> {
        let found = bucket(self.snapshot, self.layout, id)?;
        let (at, is_new) = match found.find(&self.key)? {
            Ok(at) if self.keeps(&found, at) => return Ok(false),
            Ok(at) => (at, false),
            Err(at) => (at, true),
        };
        drop(found);
        let (key, value) = (self.key.clone(), self.value.clone());
        self.snapshot.modify(id, |bucket: &mut Bucket| put(bucket, at, is_new, key, value))?;
        Ok(is_new)
    }

    fn add_to_empty_tree(&mut self, id: ObjectId) -> Result<bool, Error> {
        self.snapshot.check_current(id)?;
        let mut bucket = Bucket::new(self.layout);
        bucket.insert(0, self.key.clone(), self.value.clone());
        self.snapshot
            .modify(id, |node: &mut TreeNode| node.content = Content::OneBucket(bucket))?;
        Ok(true)
    }

    /// Adds the item to a tree with a bucket that has no record of its own. If the bucket becomes too
    /// large, both halves get records.
    fn add_to_one_bucket(&mut self, id: ObjectId) -> Result<bool, Error> {
        self.snapshot.check_current(id)?;
        let tree_node = node(self.snapshot, self.layout, id)?;
        let Content::OneBucket(found) = &tree_node.content else {
            return Err(damaged(id, Damage::WrongChild));
        };
        let (at, is_new) = match found.find(&self.key)? {
            Ok(at) if self.keeps(found, at) => return Ok(false),
            Ok(at) => (at, false),
            Err(at) => (at, true),
        };
        drop(tree_node);
        let (key, value) = (self.key.clone(), self.value.clone());
        let leaf_max = self.sizes.leaf_max;
        let too_large = self.snapshot.modify(id, |node: &mut TreeNode| {
            let Content::OneBucket(bucket) = &mut node.content else { return None };
            put(bucket, at, is_new, key, value);
            (is_new && bucket.len() > leaf_max).then(|| bucket.clone())
        })?;
        if let Some(mut left) = too_large {
            let class = self.layout.bucket_class();
            let right = left.split_off();
            let key = right.keys()[0].clone();
            let right = self.snapshot.create::<Bucket>(&class, right);
            left.next = Some(right);
            let left = self.snapshot.create::<Bucket>(&class, left);
            let (ids, keys) = ([left, right].into(), [key].into());
            let children = Children { ids, keys, first: Some(left), are_buckets: true };
            self.snapshot
                .modify(id, |node: &mut TreeNode| node.content = Content::Children(children))?;
        }
        Ok(is_new)
    }

    /// Whether the item at a position stays as it is.
    fn keeps(&self, bucket: &Bucket, at: usize) -> bool {
        self.if_present == IfPresent::Keep
            || !self.layout.has_values
            || self.layout.family.value().is_same(&bucket.value(at), &self.value)
    }

    /// Splits a child of a node, which gets the second half as another child.
    fn split_child(&mut self, id: ObjectId, is_nested: bool, at: usize) -> Result<(), Error> {
        let parent = node(self.snapshot, self.layout, id)?;
        let Some(children) = parent.children() else { return Ok(()) };
        let child = children.ids[at];
        let (key, second) =
            if children.are_buckets { self.split_bucket(child)? } else { self.split_node(child)? };
        drop(parent);
        let len = self.snapshot.modify(id, |parent: &mut TreeNode| {
            parent.is_nested |= is_nested;
            if let Content::Children(children) = &mut parent.content {
                children.add(at + 1, key, second);
            }
            parent.len()
        })?;
        if len >= 2 * self.sizes.internal_max {
            self.split_root(id)?;
        }
        Ok(())
    }

    /// The second half and its first key.
    fn split_bucket(&mut self, id: ObjectId) -> Result<(PyValue, ObjectId), Error> {
        let second = self.snapshot.modify(id, Bucket::split_off)?;
        let key = second.keys()[0].clone();
        let second = self.snapshot.create::<Bucket>(&self.layout.bucket_class(), second);
        self.snapshot.modify(id, |bucket: &mut Bucket| bucket.next = Some(second))?;
        Ok((key, second))
    }

    /// The second half and the key between the halves.
    fn split_node(&mut self, id: ObjectId) -> Result<(PyValue, ObjectId), Error> {
        let whole = node(self.snapshot, self.layout, id)?;
        let children = whole.children().ok_or_else(|| damaged(id, Damage::NestedBucket))?;
        let middle = children.ids.len() / 2;
        let first = if children.are_buckets {
            Some(children.ids[middle])
        } else {
            node(self.snapshot, self.layout, children.ids[middle])?.first()
        };
        drop(whole);
        let split = self.snapshot.modify(id, |node: &mut TreeNode| {
            node.is_nested = true;
            node.children_mut().map(|children| children.split_off(middle, first))
        })?;
        let (key, second) = split.ok_or_else(|| damaged(id, Damage::NestedBucket))?;
        Ok((key, self.create_node(second)))
    }

    /// Moves all children into a new node, which becomes the only child, and splits that.
    fn split_root(&mut self, id: ObjectId) -> Result<(), Error> {
        let root = node(self.snapshot, self.layout, id)?;
        let Some(children) = root.children() else { return Ok(()) };
        let only = self.create_node(children.clone());
        let (ids, keys, first) = ([only].into(), [].into(), children.first);
        let children = Children { ids, keys, first, are_buckets: false };
        self.snapshot
            .modify(id, |root: &mut TreeNode| root.content = Content::Children(children))?;
        self.split_child(id, false, 0)
    }

    fn create_node(&mut self, children: Children) -> ObjectId {
        let content = Content::Children(children);
        let node = TreeNode { layout: self.layout, content, is_nested: true };
        self.snapshot.create::<TreeNode>(&self.layout.tree_class(), node)
    }
}

fn put(bucket: &mut Bucket, at: usize, is_new: bool, key: PyValue, value: PyValue) {
    if is_new {
        bucket.insert(at, key, value);
    } else {
        bucket.replace(at, value);
    }
}
