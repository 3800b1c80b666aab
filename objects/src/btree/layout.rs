//! What all nodes of a tree have in common: the family, and whether there are values.

use rzeo_core::resolve::ClassKind;

use super::family::Family;
use crate::class::Class;
use crate::reference::{ObjectId, Reference};
use crate::value::PyValue;

/// The classes of a tree's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) family: Family,
    /// Whether the tree is a `BTree` of buckets rather than a `TreeSet` of sets.
    pub(super) has_values: bool,
}

impl Layout {
    /// The layout that a class belongs to, and whether it is the class of inner nodes rather than
    /// that of leaves.
    pub(super) fn of_class(class: &Class) -> Option<(Self, bool)> {
        let (family, kind) = Family::of_class(class)?;
        let (has_values, is_tree) = match kind {
            ClassKind::BTree => (true, true),
            ClassKind::Bucket => (true, false),
            ClassKind::TreeSet => (false, true),
            ClassKind::Set => (false, false),
        };
        Some((Self { family, has_values }, is_tree))
    }

    pub(super) fn tree_class(self) -> Class {
        self.family.class(if self.has_values { ClassKind::BTree } else { ClassKind::TreeSet })
    }

    pub(super) fn bucket_class(self) -> Class {
        self.family.class(if self.has_values { ClassKind::Bucket } else { ClassKind::Set })
    }

    /// The node of the same tree that a reference leads to, and whether it is a leaf.
    pub(super) fn child(self, reference: &PyValue) -> Option<(ObjectId, bool)> {
        let Reference::Strong { id, class: Some(class) } = reference.as_reference()? else {
            return None;
        };
        let (layout, is_tree) = Self::of_class(class)?;
        (layout == self).then_some((*id, !is_tree))
    }
}
