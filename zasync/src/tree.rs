//! A tree of the layout with its path, so that what is wrong with it names the place.

use alloc::format;
use alloc::string::String;
use core::ops::RangeBounds;

use rzeo_objects::btree::{BTree, Family, Range, Values};
use rzeo_objects::{ObjectId, PyValue, Snapshot};

use crate::entry_key;
use crate::error::{Error, LayoutError, at};

/// A tree and its path.
#[derive(Clone, Debug)]
pub(crate) struct NamedTree {
    tree: BTree,
    path: String,
}

/// Entries of a tree in ascending order.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'a> {
    range: Range<Values>,
    path: &'a str,
}

impl NamedTree {
    /// The tree that a reference of the layout leads to.
    pub(crate) fn open(
        snapshot: &mut Snapshot,
        id: ObjectId,
        family: Family,
        path: String,
    ) -> Result<Self, Error> {
        let tree = BTree::open(snapshot, id).map_err(|error| at(&path, error))?;
        if tree.family() != family {
            let expected = if family == Family::LO { "an LOBTree" } else { "an OOBTree" };
            let found = format!("{}", snapshot.class(id)?);
            return Err(LayoutError::Malformed { path, found, expected }.into());
        }
        Ok(Self { tree, path })
    }

    pub(crate) const fn id(&self) -> ObjectId {
        self.tree.id()
    }

    pub(crate) fn path_of(&self, key: &PyValue) -> String {
        format!("{}[{key:?}]", self.path)
    }

    pub(crate) fn get(
        &self,
        snapshot: &mut Snapshot,
        key: impl Into<PyValue>,
    ) -> Result<Option<PyValue>, Error> {
        self.tree.get(snapshot, key).map_err(|error| at(&self.path, error))
    }

    /// The object that an item refers to.
    pub(crate) fn object(
        &self,
        snapshot: &mut Snapshot,
        key: &PyValue,
    ) -> Result<Option<ObjectId>, Error> {
        let Some(value) = self.get(snapshot, key.clone())? else { return Ok(None) };
        match value.as_object() {
            Some(id) => Ok(Some(id)),
            None => {
                let expected = "a reference to an object";
                Err(LayoutError::malformed(self.path_of(key), &value, expected).into())
            }
        }
    }

    pub(crate) fn set(
        &self,
        snapshot: &mut Snapshot,
        key: impl Into<PyValue>,
        value: PyValue,
    ) -> Result<bool, Error> {
        self.tree.set(snapshot, key, value).map_err(|error| at(&self.path, error))
    }

    pub(crate) fn remove(
        &self,
        snapshot: &mut Snapshot,
        key: impl Into<PyValue>,
    ) -> Result<bool, Error> {
        self.tree.remove(snapshot, key).map_err(|error| at(&self.path, error))
    }

    /// Adds an entry under the first free key from `key` on, and returns that key.
    pub(crate) fn add(
        &self,
        snapshot: &mut Snapshot,
        mut key: i64,
        value: &PyValue,
    ) -> Result<i64, Error> {
        let insert = |snapshot: &mut Snapshot, key| self.tree.insert(snapshot, key, value.clone());
        while !insert(snapshot, key).map_err(|error| at(&self.path, error))? {
            key = entry_key::next(key);
        }
        Ok(key)
    }

    pub(crate) fn is_empty(&self, snapshot: &mut Snapshot) -> Result<bool, Error> {
        self.tree.is_empty(snapshot).map_err(|error| at(&self.path, error))
    }

    pub(crate) fn entries(&self, keys: impl RangeBounds<PyValue>) -> Result<Entries<'_>, Error> {
        let range = self.tree.range(keys).map_err(|error| at(&self.path, error))?;
        Ok(Entries { range, path: &self.path })
    }
}

impl Entries<'_> {
    pub(crate) fn next(
        &mut self,
        snapshot: &mut Snapshot,
    ) -> Result<Option<(PyValue, PyValue)>, Error> {
        self.range.next(snapshot).map_err(|error| at(self.path, error))
    }
}
