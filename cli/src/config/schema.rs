//! Which sections there are, and what stands in them, as data.
//!
//! A [`Schema`] is a table that says everything the reader has to know. Adding a section type means adding
//! an entry to a table and a function that makes a typed setting of what was read.

use thiserror::Error;

use super::python::repr;
use super::types::Kind;

/// All section types that a file may use.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The file itself: a section without a header.
    pub(crate) top: &'static SectionType,
    /// The types.
    pub(crate) types: &'static [&'static SectionType],
    /// The groups that a [`Slot`] can name instead of a type.
    pub(crate) groups: &'static [&'static Group],
    /// Types of Python's server that this one does not have, each with a sentence that says so.
    pub(crate) missing: &'static [(&'static str, &'static str)],
    /// Packages that may be imported because their types are here anyway.
    pub(crate) packages: &'static [&'static str],
}

/// A section type.
#[derive(Debug)]
pub(crate) struct SectionType {
    /// Its name in headers.
    pub(crate) name: &'static str,
    /// What stands in it.
    pub(crate) keys: &'static [Key],
    /// Which sections stand in it.
    pub(crate) slots: &'static [Slot],
}

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// The type of its value.
    pub(crate) kind: Kind,
    /// Whether it must be there.
    pub(crate) need: Need,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It may be left out, and stands for nothing then.
    Optional,
    /// It must be there.
    Required,
}

/// A place for sections in a section.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Which.
    pub(crate) accepts: Accepts,
    /// How many.
    pub(crate) count: Count,
}

/// Which sections fit a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accepts {
    /// Those of one type.
    Type(&'static SectionType),
    /// Those of any type of a group.
    Group(&'static Group),
}

/// Section types that can stand for each other: an abstract type, in ZConfig's words.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its name, in lower case.
    pub(crate) name: &'static str,
    /// Names of the types that belong to it.
    pub(crate) members: &'static [&'static str],
}

/// How many sections fit a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Any number.
    Any,
    /// One or more.
    AtLeastOne,
    /// None or one.
    AtMostOne,
    /// One.
    One,
}

/// Why lines contradict the schema, in ZConfig's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SchemaError {
    /// A section of an abstract type.
    #[error(
        "concrete sections cannot match abstract section types; found abstract type {}",
        repr(.0)
    )]
    AbstractType(String),
    /// A blob storage around a storage with blobs.
    #[error("<{0}> in <blobstorage> already has blobs of its own")]
    BlobsTwice(&'static str),
    /// A standard stream that is to be opened later: it is open.
    #[error("cannot delay opening {0}")]
    CannotDelay(String),
    /// No section where there must be at least one.
    #[error("not enough values for section type {}; 0 found, 1 required", repr(.0))]
    NotEnough(&'static str),
    /// A key that its section needs.
    #[error("no values for {}; 1 required", repr(.0))]
    KeyMissing(&'static str),
    /// Two sections of one name.
    #[error("section names must not be re-used within the same container:{}", repr(.0))]
    NameReused(String),
    /// A section in a place that has no slot for it.
    #[error(
        "no matching section defined for type='{section_type}', name='{}'",
        name.as_deref().unwrap_or("None")
    )]
    NoSlot {
        /// Its type.
        section_type: String,
        /// Its name.
        name: Option<String>,
        /// The types that would fit.
        fitting: Vec<&'static str>,
    },
    /// A key that is given twice.
    #[error("{} does not support multiple values", repr(.0))]
    KeyRepeated(String),
    /// A section type that only Python's server has so far.
    #[error("<{section_type}>: {reason}")]
    NotHere {
        /// The type.
        section_type: &'static str,
        /// A sentence.
        reason: &'static str,
    },
    /// A section that its container needs.
    #[error("no values for section type {}; 1 required", repr(.0))]
    SectionMissing(&'static str),
    /// More sections than the slot holds.
    #[error("too many instances of {} section", repr(.0))]
    TooMany(&'static str),
    /// A key that this section does not have.
    #[error("{} is not a known key name", repr(key))]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that it has.
        known: Vec<&'static str>,
    },
    /// A section type that does not exist.
    #[error("unknown type name: {}", repr(.0))]
    UnknownType(String),
    /// `<filestorage>` and `<filestorage 1>` are both called `1`.
    #[error("Can't have an unnamed storage and a storage named 1.")]
    UnnamedAndOne,
    /// Several storages that would all be called `1`.
    #[error("No more than one storage may be unnamed.")]
    UnnamedTwice,
}

impl SchemaError {
    /// What would have been right, where the message does not say so.
    pub(crate) fn expected(&self) -> Option<String> {
        let (before, names) = match self {
            Self::UnknownKey { known, .. } => ("one of the keys ", known),
            Self::NoSlot { fitting, .. } => ("one of the sections ", fitting),
            _ => return None,
        };
        Some(if names.is_empty() {
            "nothing".to_owned()
        } else {
            before.to_owned() + &names.join(", ")
        })
    }
}

impl Schema {
    /// The type of a section with that name in its header.
    pub(crate) fn section_type(&self, name: &str) -> Result<&'static SectionType, SchemaError> {
        if let Some(section_type) = self.types.iter().find(|known| known.name == name) {
            return Ok(section_type);
        }
        if self.groups.iter().any(|group| group.name == name) {
            return Err(SchemaError::AbstractType(name.to_owned()));
        }
        match self.missing.iter().find(|(known, _)| *known == name) {
            Some((section_type, reason)) => Err(SchemaError::NotHere { section_type, reason }),
            None => Err(SchemaError::UnknownType(name.to_owned())),
        }
    }
}

impl SectionType {
    /// The key of that name, in lower case.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The slot that sections of a type go into.
    pub(crate) fn slot(&self, section_type: &Self) -> Option<&'static Slot> {
        self.slots.iter().find(|slot| slot.accepts.fits(section_type.name))
    }

    /// The names of all types that fit into a section of this one.
    pub(crate) fn fitting(&self) -> Vec<&'static str> {
        self.slots.iter().flat_map(|slot| slot.accepts.names()).collect()
    }
}

impl Accepts {
    /// Whether sections of that type fit.
    pub(crate) fn fits(self, section_type: &str) -> bool {
        self.names().contains(&section_type)
    }

    /// The name of the type or the group.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Type(section_type) => section_type.name,
            Self::Group(group) => group.name,
        }
    }

    fn names(self) -> Vec<&'static str> {
        match self {
            Self::Type(section_type) => vec![section_type.name],
            Self::Group(group) => group.members.to_vec(),
        }
    }
}
