//! Handles for trees and sets.

use core::marker::PhantomData;
use core::ops::{Bound, RangeBounds};

use super::bucket::Bucket;
use super::check::check;
use super::error::{BTreeError, ItemRole};
use super::family::{Family, Sizes};
use super::insert::{IfPresent, Insertion};
use super::layout::Layout;
use super::leaf::{Leaf, Root};
use super::query;
use super::range::Cursor;
use super::remove::Removal;
use super::tree_node::TreeNode;
use crate::class::Class;
use crate::error::Error;
use crate::reference::ObjectId;
use crate::snapshot::Snapshot;
use crate::value::PyValue;

/// What a tree maps its keys to: [`Values`] or [`NoValues`].
pub trait Items: sealed::Items {}

/// A tree has a value for every key.
#[derive(Clone, Copy, Debug)]
pub enum Values {}

/// A tree has only keys.
#[derive(Clone, Copy, Debug)]
pub enum NoValues {}

impl Items for Values {}
impl Items for NoValues {}

mod sealed {
    pub trait Items {
        const HAS_VALUES: bool;
        const EXPECTED: &'static str;
    }

    impl Items for super::Values {
        const HAS_VALUES: bool = true;
        const EXPECTED: &'static str = "BTree or Bucket";
    }

    impl Items for super::NoValues {
        const HAS_VALUES: bool = false;
        const EXPECTED: &'static str = "TreeSet or Set";
    }
}

/// A mapping in ascending order: an object of one of the `BTree` or `Bucket` classes.
pub type BTree = Tree<Values>;

/// A set in ascending order: an object of one of the `TreeSet` or `Set` classes.
pub type TreeSet = Tree<NoValues>;

/// A handle for an object of BTrees. The object itself is in the [`Snapshot`].
#[derive(Clone, Copy, Debug)]
pub struct Tree<I> {
    root: Root,
    sizes: Sizes,
    items: PhantomData<I>,
}

/// Items of a tree between two keys, in ascending order, read when they are needed.
///
/// After [`Error::NotLoaded`] the range is where it was, so that `next` can be called again.
#[derive(Clone, Debug)]
pub struct Range<I> {
    cursor: Cursor,
    items: PhantomData<I>,
}

impl<I: Items> Tree<I> {
    /// Creates an empty tree. It is stored when a stored object refers to it.
    pub fn create(snapshot: &mut Snapshot, family: Family) -> Self {
        let layout = Layout { family, has_values: I::HAS_VALUES };
        let id = snapshot.create::<TreeNode>(&layout.tree_class(), TreeNode::empty(layout));
        Self::new(Root { id, layout, is_tree: true })
    }

    /// Creates an empty bucket or set that is not part of a tree. It never splits, so it is for few
    /// items: a change of one writes all of them.
    pub fn create_bucket(snapshot: &mut Snapshot, family: Family) -> Self {
        let layout = Layout { family, has_values: I::HAS_VALUES };
        let id = snapshot.create::<Bucket>(&layout.bucket_class(), Bucket::new(layout));
        Self::new(Root { id, layout, is_tree: false })
    }

    /// A handle for a tree or bucket of the snapshot.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], [`BTreeError::WrongClass`], and others of [`Snapshot::class`].
    pub fn open(snapshot: &mut Snapshot, id: impl Into<ObjectId>) -> Result<Self, Error> {
        let id = id.into();
        let class = snapshot.class(id)?;
        match Layout::of_class(&class) {
            Some((layout, is_tree)) if layout.has_values == I::HAS_VALUES => {
                Ok(Self::new(Root { id, layout, is_tree }))
            }
            _ => {
                let (class, expected) = (alloc::format!("{class}"), I::EXPECTED);
                Err(BTreeError::WrongClass { id, class, expected }.into())
            }
        }
    }

    const fn new(root: Root) -> Self {
        Self { root, sizes: root.layout.family.sizes(), items: PhantomData }
    }

    /// The handle, for nodes of other sizes than the family's own.
    #[must_use]
    pub const fn with_sizes(self, sizes: Sizes) -> Self {
        Self { sizes, ..self }
    }

    /// The object.
    #[must_use]
    pub const fn id(&self) -> ObjectId {
        self.root.id
    }

    /// The family that the object's class belongs to.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.root.layout.family
    }

    /// A reference to the object, to be stored in another one.
    #[must_use]
    pub fn reference(&self) -> PyValue {
        PyValue::reference(self.root.id, &self.class())
    }

    fn class(&self) -> Class {
        let Root { layout, is_tree, .. } = self.root;
        if is_tree { layout.tree_class() } else { layout.bucket_class() }
    }

    /// Whether there is an item with the key.
    ///
    /// # Errors
    /// Those of [`BTree::get`].
    pub fn contains(
        &self,
        snapshot: &mut Snapshot,
        key: impl Into<PyValue>,
    ) -> Result<bool, Error> {
        query::get(snapshot, self.root, &self.key(key)?).map(|value| value.is_some())
    }

    /// Number of items. Every bucket is read: applications that need it often keep a
    /// `BTrees.Length` beside the tree.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], or what is wrong with the tree.
    pub fn len(&self, snapshot: &mut Snapshot) -> Result<usize, Error> {
        query::len(snapshot, self.root)
    }

    /// Whether there are no items.
    ///
    /// # Errors
    /// Those of [`len`](Self::len).
    pub fn is_empty(&self, snapshot: &mut Snapshot) -> Result<bool, Error> {
        self.min_key(snapshot).map(|key| key.is_none())
    }

    /// The smallest key.
    ///
    /// # Errors
    /// Those of [`len`](Self::len).
    pub fn min_key(&self, snapshot: &mut Snapshot) -> Result<Option<PyValue>, Error> {
        query::min_key(snapshot, self.root, Bound::Unbounded)
    }

    /// The smallest key that is `min` or above.
    ///
    /// # Errors
    /// Those of [`BTree::get`].
    pub fn min_key_from(
        &self,
        snapshot: &mut Snapshot,
        min: impl Into<PyValue>,
    ) -> Result<Option<PyValue>, Error> {
        query::min_key(snapshot, self.root, Bound::Included(self.key(min)?))
    }

    /// The largest key.
    ///
    /// # Errors
    /// Those of [`len`](Self::len).
    pub fn max_key(&self, snapshot: &mut Snapshot) -> Result<Option<PyValue>, Error> {
        query::max_key(snapshot, self.root, Bound::Unbounded)
    }

    /// The largest key that is `max` or below.
    ///
    /// # Errors
    /// Those of [`BTree::get`].
    pub fn max_key_to(
        &self,
        snapshot: &mut Snapshot,
        max: impl Into<PyValue>,
    ) -> Result<Option<PyValue>, Error> {
        query::max_key(snapshot, self.root, Bound::Included(self.key(max)?))
    }

    /// The items between two keys. `..` is all of them.
    ///
    /// # Errors
    /// [`BTreeError`], if a bound cannot be a key of the tree.
    pub fn range(&self, keys: impl RangeBounds<PyValue>) -> Result<Range<I>, Error> {
        let bound = |bound: Bound<&PyValue>| match bound {
            Bound::Included(key) => self.key(key.clone()).map(Bound::Included),
            Bound::Excluded(key) => self.key(key.clone()).map(Bound::Excluded),
            Bound::Unbounded => Ok(Bound::Unbounded),
        };
        let cursor = Cursor::new(self.root, bound(keys.start_bound())?, bound(keys.end_bound())?);
        Ok(Range { cursor, items: PhantomData })
    }

    /// Removes an item. `false` if there is none with the key.
    ///
    /// # Errors
    /// Those of [`BTree::insert`].
    pub fn remove(&self, snapshot: &mut Snapshot, key: impl Into<PyValue>) -> Result<bool, Error> {
        self.take(snapshot, self.key(key)?).map(|value| value.is_some())
    }

    /// Removes all items. The nodes stay in the storage until a pack removes them.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], or what is wrong with the object.
    pub fn clear(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        let Root { id, layout, is_tree } = self.root;
        if Leaf::first(snapshot, self.root)?.is_none() {
            return Ok(());
        }
        if is_tree {
            return snapshot.modify(id, TreeNode::clear);
        }
        if snapshot.read::<Bucket>(id)?.len() > 0 {
            snapshot.write(id, Bucket::new(layout))?;
        }
        Ok(())
    }

    /// Checks that the records of the tree agree with each other, as `BTrees.check` does in Python.
    /// All of them are read.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], [`BTreeError::Damaged`], or what is wrong with a record.
    pub fn check(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        check(snapshot, self.root)
    }

    fn key(&self, key: impl Into<PyValue>) -> Result<PyValue, BTreeError> {
        self.family().key().convert(&key.into(), ItemRole::Key)
    }

    fn put(
        &self,
        snapshot: &mut Snapshot,
        key: PyValue,
        value: PyValue,
        if_present: IfPresent,
    ) -> Result<bool, Error> {
        let Root { id, layout, is_tree } = self.root;
        let sizes = self.sizes;
        snapshot.attempt(|snapshot| {
            let mut insertion = Insertion { snapshot, layout, sizes, key, value, if_present };
            if is_tree { insertion.add_to_tree(id) } else { insertion.add_to_bucket(id) }
        })
    }

    fn take(&self, snapshot: &mut Snapshot, key: PyValue) -> Result<Option<PyValue>, Error> {
        let Root { id, layout, is_tree } = self.root;
        snapshot.attempt(|snapshot| {
            let mut removal = Removal { snapshot, layout, key };
            if is_tree { removal.take_from_tree(id) } else { removal.take_from_bucket(id) }
        })
    }
}

impl BTree {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::NotLoaded`]; [`BTreeError`], if the key cannot be a key of the tree; or what is wrong
    /// with the tree.
    pub fn get(
        &self,
        snapshot: &mut Snapshot,
        key: impl Into<PyValue>,
    ) -> Result<Option<PyValue>, Error> {
        query::get(snapshot, self.root, &self.key(key)?)
    }

    /// Adds an item with a new key. `false` if the key is there already; then nothing changes.
    ///
    /// The inner nodes on the way to the key must be current at the commit, as Python demands
    /// (`readCurrent`): so another transaction that splits one of them conflicts with this one.
    ///
    /// # Errors
    /// [`Error::NotLoaded`]; [`BTreeError`], if the key or the value is not one that the tree can
    /// have; or what is wrong with the tree. Then nothing has changed.
    pub fn insert(
        &self,
        snapshot: &mut Snapshot,
        key: impl Into<PyValue>,
        value: impl Into<PyValue>,
    ) -> Result<bool, Error> {
        let value = self.value(value)?;
        self.put(snapshot, self.key(key)?, value, IfPresent::Keep)
    }

    /// Sets the value of a key, whether or not it is there already. `true` if it is new.
    ///
    /// # Errors
    /// Those of [`insert`](Self::insert).
    pub fn set(
        &self,
        snapshot: &mut Snapshot,
        key: impl Into<PyValue>,
        value: impl Into<PyValue>,
    ) -> Result<bool, Error> {
        let value = self.value(value)?;
        self.put(snapshot, self.key(key)?, value, IfPresent::Replace)
    }

    /// Removes an item and gives its value; `None` if there is none with the key.
    ///
    /// # Errors
    /// Those of [`insert`](Self::insert).
    pub fn pop(
        &self,
        snapshot: &mut Snapshot,
        key: impl Into<PyValue>,
    ) -> Result<Option<PyValue>, Error> {
        self.take(snapshot, self.key(key)?)
    }

    fn value(&self, value: impl Into<PyValue>) -> Result<PyValue, BTreeError> {
        self.family().value().convert(&value.into(), ItemRole::Value)
    }
}

impl TreeSet {
    /// Adds a key. `false` if it is there already.
    ///
    /// # Errors
    /// Those of [`BTree::insert`].
    pub fn insert(&self, snapshot: &mut Snapshot, key: impl Into<PyValue>) -> Result<bool, Error> {
        self.put(snapshot, self.key(key)?, PyValue::NONE, IfPresent::Keep)
    }
}

impl Range<Values> {
    /// The next item, key and value.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], or what is wrong with the tree.
    pub fn next(&mut self, snapshot: &mut Snapshot) -> Result<Option<(PyValue, PyValue)>, Error> {
        self.cursor.next(snapshot)
    }
}

impl Range<NoValues> {
    /// The next key.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], or what is wrong with the tree.
    pub fn next(&mut self, snapshot: &mut Snapshot) -> Result<Option<PyValue>, Error> {
        Ok(self.cursor.next(snapshot)?.map(|(key, _)| key))
    }
}
