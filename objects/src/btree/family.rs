//! The families of BTrees: which keys and values a tree may have, and how large its nodes grow.
//!
//! A module of BTrees is named by two letters, one for the keys and one for the values, and has four
//! classes.

use alloc::format;

use rzeo_core::resolve::{BTreesClass, ClassKind};

use super::item_type::ItemType;
use crate::class::Class;

/// The types of a family's keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    key: ItemType,
    value: ItemType,
}

/// Maximum sizes of the nodes of a tree.
///
/// Python's classes have them as attributes (`max_leaf_size`, `max_internal_size`) that an
/// application can set. A tree stays valid if they change, or if programs disagree about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub(super) leaf_max: usize,
    pub(super) internal_max: usize,
}

impl Sizes {
    /// Maximum items in a bucket, at least 1, and maximum children of an inner node, at least 2; the
    /// root is split when it has twice as many. Smaller numbers are raised.
    #[must_use]
    pub const fn new(leaf_max: usize, internal_max: usize) -> Self {
        let leaf_max = if leaf_max < 1 { 1 } else { leaf_max };
        let internal_max = if internal_max < 2 { 2 } else { internal_max };
        Self { leaf_max, internal_max }
    }
}

macro_rules! families {
    ($($name:ident: $key:ident, $value:ident;)*) => {
        impl Family {
            $(
                #[doc = concat!("The classes of the module `BTrees.", stringify!($name), "BTree`.")]
                pub const $name: Self = Self { key: ItemType::$key, value: ItemType::$value };
            )*
        }
    };
}

families! {
    OO: Object, Object;
    OI: Object, I32;
    OU: Object, U32;
    OL: Object, I64;
    OQ: Object, U64;
    IO: I32, Object;
    II: I32, I32;
    IU: I32, U32;
    IF: I32, F32;
    UO: U32, Object;
    UU: U32, U32;
    UI: U32, I32;
    UF: U32, F32;
    LO: I64, Object;
    LL: I64, I64;
    LQ: I64, U64;
    LF: I64, F32;
    QO: U64, Object;
    QQ: U64, U64;
    QL: U64, I64;
    QF: U64, F32;
}

impl Family {
    /// The type of the keys.
    #[must_use]
    pub const fn key(self) -> ItemType {
        self.key
    }

    /// The type of the values. Sets have a family too, but no values.
    #[must_use]
    pub const fn value(self) -> ItemType {
        self.value
    }

    /// How large nodes grow in the family's own classes.
    #[must_use]
    pub const fn sizes(self) -> Sizes {
        let is_object =
            [matches!(self.key, ItemType::Object), matches!(self.value, ItemType::Object)];
        match is_object {
            [true, true] => Sizes::new(30, 250),
            [true, false] => Sizes::new(60, 250),
            [false, true] => Sizes::new(60, 500),
            [false, false] => Sizes::new(120, 500),
        }
    }

    /// The class of the family's nodes of one kind.
    pub(super) fn class(self, kind: ClassKind) -> Class {
        let [key, value] = [self.key.letter(), self.value.letter()];
        let suffix = match kind {
            ClassKind::BTree => "BTree",
            ClassKind::TreeSet => "TreeSet",
            ClassKind::Bucket => "Bucket",
            ClassKind::Set => "Set",
        };
        Class::new(&format!("BTrees.{key}{value}BTree"), &format!("{key}{value}{suffix}"))
    }

    /// Recognizes a class by any of the names that BTrees had in its versions.
    pub(super) fn of_class(class: &Class) -> Option<(Self, ClassKind)> {
        let found = BTreesClass::named(class.module().as_bytes(), class.name().as_bytes())?;
        let [key, value] = found.family.map(ItemType::of_letter);
        Some((Self { key: key?, value: value? }, found.kind))
    }
}
