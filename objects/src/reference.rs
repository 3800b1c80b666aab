//! References from one persistent object to another.

use alloc::string::String;
use core::fmt;

use rzeo_core::Oid;

use crate::class::Class;

/// Which object of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// An object with an oid.
    Stored(Oid),
    /// An object that this snapshot created: it gets its oid when the changes are collected for a
    /// commit, in the order in which Python would give it one.
    New(u32),
}

impl ObjectId {
    /// The root object of a database.
    pub const ROOT: Self = Self::Stored(Oid::ROOT);

    /// The oid; `None` for an object that has none yet.
    #[must_use]
    pub const fn oid(self) -> Option<Oid> {
        match self {
            Self::Stored(oid) => Some(oid),
            Self::New(_) => None,
        }
    }
}

impl From<Oid> for ObjectId {
    fn from(oid: Oid) -> Self {
        Self::Stored(oid)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored(oid) => write!(f, "{oid}"),
            Self::New(number) => write!(f, "new object {number}"),
        }
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A persistent reference in the state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An object of the same database. It is kept by packs as long as it can be reached.
    Strong {
        /// The object.
        id: ObjectId,
        /// Its class; `None` if only its own record tells it.
        class: Option<Class>,
    },
    /// An object of this or another database that packs may remove.
    Weak {
        /// The object.
        id: ObjectId,
        /// Name of its database; `None` for the same one.
        database: Option<String>,
    },
    /// An object of another database.
    Foreign {
        /// Name of the database.
        database: String,
        /// The object's oid there.
        oid: Oid,
        /// Its class; `None` if only its own record tells it.
        class: Option<Class>,
    },
}

impl Reference {
    /// A strong reference to an object of `class`.
    #[must_use]
    pub fn new(id: impl Into<ObjectId>, class: &Class) -> Self {
        Self::Strong { id: id.into(), class: Some(class.clone()) }
    }

    /// The object, if it is in the same database and the reference is not weak.
    #[must_use]
    pub const fn strong(&self) -> Option<ObjectId> {
        match self {
            Self::Strong { id, .. } => Some(*id),
            Self::Weak { .. } | Self::Foreign { .. } => None,
        }
    }
}
