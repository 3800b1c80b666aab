//! Which sections there are, and what stands in them, as data.
//!
//! A [`Schema`] is a table that says everything the reader has to know. Adding a section type means adding
//! an entry to a table and a function that makes a typed setting of what was read.

use thiserror::Error;

use super::error::ConfigError;
use super::python::repr;
use super::reader::Section;
use super::system::System;
use super::types::Kind;

/// All section types that a file may use.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The file itself: a section without a header.
    pub(crate) top: &'static SectionType,
    /// The types, in lists.
    pub(crate) types: &'static [&'static [&'static SectionType]],
    /// The groups that a [`Slot`] can name instead of a type.
    pub(crate) groups: &'static [&'static Group],
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
    /// What its values must have in common.
    pub(crate) check: Option<Check>,
    /// Why a section of this type, though all in it may be right, cannot be used: a sentence. Its
    /// contents are checked first, so that what is wrong in it is wrong for Python too.
    pub(crate) refused: Option<&'static str>,
}

/// A rule about several values of a section.
pub(crate) type Check = fn(&Section, &dyn System) -> Result<(), ConfigError>;

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// The type of its value.
    pub(crate) kind: Kind,
    /// Whether it must be there.
    pub(crate) need: Need,
    /// What it stands for when it is left out, as a file would say it.
    pub(crate) default: Option<&'static str>,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It may be left out, and stands for nothing then.
    Optional,
    /// It must be there, and may be there several times.
    Repeated,
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
    /// No section where there must be at least one.
    #[error("not enough values for section type {}; 0 found, 1 required", repr(.0))]
    NotEnough(&'static str),
    /// A repeatable key that its section needs.
    #[error("not enough values for {}; 0 found, 1 required", repr(.0))]
    KeyNotEnough(&'static str),
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
    /// A section that is right and cannot be used all the same.
    #[error("<{section_type}>: {reason}")]
    Refused {
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
    /// All types.
    pub(crate) fn types(&self) -> impl Iterator<Item = &'static SectionType> {
        self.types.iter().flat_map(|list| list.iter().copied())
    }

    /// The type of a section with that name in its header.
    pub(crate) fn section_type(&self, name: &str) -> Result<&'static SectionType, SchemaError> {
        if let Some(section_type) = self.types().find(|known| known.name == name) {
            return Ok(section_type);
        }
        if self.groups.iter().any(|group| group.name == name) {
            return Err(SchemaError::AbstractType(name.to_owned()));
        }
        Err(SchemaError::UnknownType(name.to_owned()))
    }

    /// The names of all types that fit into a section of that type and can be used.
    pub(crate) fn fitting(&self, outer: &SectionType) -> Vec<&'static str> {
        let is_usable =
            |name: &&str| !self.types().any(|known| known.name == *name && known.refused.is_some());
        outer.slots.iter().flat_map(|slot| slot.accepts.names()).filter(is_usable).collect()
    }
}

impl Key {
    /// A key that may be left out.
    pub(crate) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, need: Need::Optional, default: None }
    }

    /// A key that may be left out and stands for that text then.
    pub(crate) const fn with(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self { name, kind, need: Need::Optional, default: Some(default) }
    }

    /// A key that must be there.
    pub(crate) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, need: Need::Required, default: None }
    }

    /// A key that must be there once or several times.
    pub(crate) const fn repeated(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, need: Need::Repeated, default: None }
    }
}

impl SectionType {
    /// A type with these keys and sections.
    pub(crate) const fn new(
        name: &'static str,
        keys: &'static [Key],
        slots: &'static [Slot],
    ) -> Self {
        Self { name, keys, slots, check: None, refused: None }
    }

    /// The same type with a rule about several values.
    pub(crate) const fn checked(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }

    /// The same type, refused with a sentence.
    pub(crate) const fn refused(self, reason: &'static str) -> Self {
        Self { refused: Some(reason), ..self }
    }

    /// The key of that name, in lower case.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The type that sections of that name have in a slot for just one type. Two types may have one
    /// name, if they are in different places.
    pub(crate) fn own_type(&self, name: &str) -> Option<&'static Self> {
        self.own_types().find(|own| own.name == name)
    }

    /// The types that have slots of their own here.
    pub(crate) fn own_types(&self) -> impl Iterator<Item = &'static Self> {
        self.slots.iter().filter_map(|slot| match slot.accepts {
            Accepts::Type(own) => Some(own),
            Accepts::Group(_) => None,
        })
    }

    /// The slot that sections of a type go into.
    pub(crate) fn slot(&self, section_type: &Self) -> Option<&'static Slot> {
        self.slots.iter().find(|slot| slot.accepts.fits(section_type.name))
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
