//! Inner nodes of trees, among them the root, which is the object that applications refer to.
//!
//! The state of a node has three forms:
//!
//! - `None`: it is empty;
//! - `((bucket,),)`: a root with a single bucket that has no record of its own; in place of the
//!   bucket is its state;
//! - `((child, key, child, key, …, child), first_bucket)`: references to nodes of the next level,
//!   with the smallest key that each but the first may have before it.
//!
//! Which of the last two forms a root with a single bucket gets depends on whether the bucket has an
//! oid when the root is written. A bucket that the transaction created may have got one from a record
//! that was written before and refers to it.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::bucket::Bucket;
use super::error::{BTreeError, ItemRole};
use super::layout::Layout;
use super::order::find;
use crate::class::Class;
use crate::error::{StateError, WriteError};
use crate::reference::ObjectId;
use crate::state::ObjectState;
use crate::state_writer::StateWriter;
use crate::value::PyValue;

/// A `BTree` or a `TreeSet`.
#[derive(Clone, Debug)]
pub(super) struct TreeNode {
    pub(super) layout: Layout,
    pub(super) content: Content,
    /// Whether the node is known to be below another one.
    ///
    /// Python writes any node with a single bucket without an oid in the second form, and thereby
    /// damages a tree if that node is not the root: the bucket before refers to the same bucket, which
    /// then gets a record as well, and from then on there are two.
    pub(super) is_nested: bool,
}

/// What is in a node.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A bucket that has no record of its own.
    OneBucket(Bucket),
    /// References to nodes of the next level.
    Children(Children),
}

/// The children of a node.
#[derive(Clone, Debug)]
pub(super) struct Children {
    pub(super) ids: Vec<ObjectId>,
    /// One less than children: the smallest key that the child after it may have.
    pub(super) keys: Vec<PyValue>,
    /// The first bucket below the node. A node that was emptied and removed keeps one.
    pub(super) first: Option<ObjectId>,
    /// Whether the children are leaves.
    pub(super) are_buckets: bool,
}

impl Children {
    const NONE: Self = Self { ids: Vec::new(), keys: Vec::new(), first: None, are_buckets: true };

    /// Which child has the keys around `key`. There is at least one child.
    pub(super) fn find(&self, key: &PyValue) -> Result<usize, BTreeError> {
        // The key of a child is the smallest that it may have, so an equal key belongs there.
        Ok(find(&self.keys, key)?.map_or_else(|at| at, |at| at + 1))
    }

    pub(super) fn add(&mut self, at: usize, key: PyValue, child: ObjectId) {
        self.keys.insert(at - 1, key);
        self.ids.insert(at, child);
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.ids.remove(at);
        // The key of the first child is not kept, so the second loses its own when it becomes first.
        if !self.keys.is_empty() {
            self.keys.remove(at.saturating_sub(1));
        }
    }

    /// Splits off the children from `at` on, of which `first` is the first bucket. The key before
    /// them is for the parent.
    pub(super) fn split_off(&mut self, at: usize, first: Option<ObjectId>) -> (PyValue, Self) {
        let ids = self.ids.split_off(at);
        let keys = self.keys.split_off(at);
        let key = self.keys.pop().expect("both halves have children, with a key between them");
        (key, Self { ids, keys, first, are_buckets: self.are_buckets })
    }
}

impl TreeNode {
    pub(super) const fn empty(layout: Layout) -> Self {
        Self { layout, content: Content::Children(Children::NONE), is_nested: false }
    }

    /// The references to children; `None` if there is a bucket instead.
    pub(super) const fn children(&self) -> Option<&Children> {
        match &self.content {
            Content::OneBucket(_) => None,
            Content::Children(children) => Some(children),
        }
    }

    pub(super) const fn children_mut(&mut self) -> Option<&mut Children> {
        match &mut self.content {
            Content::OneBucket(_) => None,
            Content::Children(children) => Some(children),
        }
    }

    /// Number of children.
    pub(super) fn len(&self) -> usize {
        match &self.content {
            Content::OneBucket(_) => 1,
            Content::Children(children) => children.ids.len(),
        }
    }

    /// The first bucket below the node, if it has a record of its own.
    pub(super) fn first(&self) -> Option<ObjectId> {
        self.children().and_then(|children| children.first)
    }

    /// Empties the node.
    pub(super) fn clear(&mut self) {
        self.content = Content::Children(Children::NONE);
    }

    fn of_state(layout: Layout, state: &PyValue) -> Result<Self, StateError> {
        let mut node = Self::empty(layout);
        if state.is_none() {
            return Ok(node);
        }
        let form = |part, expected| StateError::Form { part, expected };
        let parts = state.as_tuple().ok_or_else(|| form("the state", "a tuple or None"))?;
        node.content = match &*parts {
            [bucket] => match bucket.as_tuple().as_deref() {
                Some([state]) => Content::OneBucket(Bucket::of_state(layout, state)?),
                _ => return Err(form("the state", "a bucket in two tuples")),
            },
            [data, first] => Content::Children(children(layout, data, first)?),
            _ => return Err(form("the state", "one or two parts")),
        };
        Ok(node)
    }

    /// The only child, if it has no record: a bucket without an oid.
    fn bucket_without_oid(&self, writer: &StateWriter<'_>) -> Option<Arc<Bucket>> {
        match &self.content {
            Content::Children(Children { ids, are_buckets: true, .. }) if !self.is_nested => {
                let [id] = **ids else { return None };
                writer.without_oid(id)
            }
            _ => None,
        }
    }
}

fn children(layout: Layout, data: &PyValue, first: &PyValue) -> Result<Children, StateError> {
    let form = |part, expected| StateError::Form { part, expected };
    let data = data.as_tuple().ok_or_else(|| form("the children", "a tuple"))?;
    let child = |value| {
        layout.child(value).ok_or_else(|| form("a child", "a reference to a node of the family"))
    };
    let [leftmost, rest @ ..] = &*data else { return Err(form("the children", "not empty")) };
    let (leftmost, are_buckets) = child(leftmost)?;
    let (pairs, odd) = rest.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(form("the children", "a child after every key"));
    }
    let mut ids = vec![leftmost];
    let mut keys = Vec::with_capacity(pairs.len());
    for [key, value] in pairs {
        keys.push(layout.family.key().load(key, ItemRole::Key)?);
        let (id, is_bucket) = child(value)?;
        if is_bucket != are_buckets {
            return Err(form("a child", "of the same class as the others"));
        }
        ids.push(id);
    }
    let (first, is_bucket) = child(first)?;
    if !is_bucket {
        return Err(form("the first bucket", "a reference to a bucket"));
    }
    Ok(Children { ids, keys, first: Some(first), are_buckets })
}

impl ObjectState for TreeNode {
    fn read(class: &Class, state: &PyValue) -> Result<Self, StateError> {
        match Layout::of_class(class) {
            Some((layout, true)) => Self::of_state(layout, state),
            _ => Err(StateError::Class { expected: "a tree of BTrees" }),
        }
    }

    fn write(&self, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
        if let Some(bucket) = self.bucket_without_oid(writer) {
            return write_one_bucket(&bucket, writer);
        }
        let children = match &self.content {
            Content::OneBucket(bucket) => return write_one_bucket(bucket, writer),
            Content::Children(children) => children,
        };
        let Some(first) = children.first.filter(|_| !children.ids.is_empty()) else {
            writer.none();
            return Ok(());
        };
        let bucket_class = self.layout.bucket_class();
        let tree_class = self.layout.tree_class();
        let class = if children.are_buckets { &bucket_class } else { &tree_class };
        let items = children.ids.len() + children.keys.len();
        writer.start_tuple(2);
        writer.start_tuple(items);
        for (at, id) in children.ids.iter().enumerate() {
            if let Some(before) = at.checked_sub(1) {
                writer.value(&children.keys[before])?;
            }
            writer.reference(*id, class)?;
        }
        writer.end_tuple(items);
        writer.reference(first, &bucket_class)?;
        writer.end_tuple(2);
        Ok(())
    }
}

fn write_one_bucket(bucket: &Bucket, writer: &mut StateWriter<'_>) -> Result<(), WriteError> {
    bucket.write_state(writer)?;
    writer.end_tuple(1);
    writer.end_tuple(1);
    Ok(())
}
