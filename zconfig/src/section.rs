//! Section types, as a program declares them, and sections that fit them, as the reader makes them.
//!
//! The two are in one file because they refer to each other: a section has a type, and a type can have
//! a rule about whole sections. A type is a table in a static. Adding one means adding a table and a
//! function that takes typed settings out of a [`Section`].

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::invalid::InvalidValue;
use crate::kind::Kind;
use crate::location::Location;
use crate::system::System;
use crate::value::{FromValue, Value};

/// A section type: its keys, and the sections that it can contain.
#[derive(Debug)]
pub struct SectionType {
    /// The name in headers, in lower case; empty for the file itself.
    pub name: &'static str,
    /// Keys that sections of the type can have.
    pub keys: &'static [Key],
    /// Slots for sections within.
    pub slots: &'static [Slot],
    /// The rule about several values, see [`SectionType::checked`].
    pub check: Option<Check>,
    /// Why sections of this type are refused, see [`SectionType::refused`].
    pub refused: Option<&'static str>,
}

/// A rule about several values of a section.
pub type Check = fn(&Section, &dyn System) -> Result<(), ConfigError>;

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// The name, in lower case.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// Whether a section must have it.
    pub need: Need,
    /// Its value in a section that does not have it.
    pub default: DefaultText,
}

/// Whether a section must have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Once or not at all.
    Optional,
    /// Once or several times.
    Repeated,
    /// Exactly once.
    Required,
}

/// The value of a key in a section that does not have it, as a file would contain it.
#[derive(Clone, Copy, Debug)]
pub enum DefaultText {
    /// Computed from a default that is elsewhere in the program.
    Computed(fn() -> String),
    /// The same text in every configuration.
    Fixed(&'static str),
    /// No value: [`Section::value`] returns none.
    None,
}

/// A slot for sections in a section.
#[derive(Debug)]
pub struct Slot {
    /// Which sections fit.
    pub accepts: Accepts,
    /// How many of them there can be.
    pub count: Count,
}

/// Which sections fit a slot.
#[derive(Clone, Copy, Debug)]
pub enum Accepts {
    /// Sections of any type of a group.
    Group(&'static Group),
    /// Sections of one type.
    Type(&'static SectionType),
}

/// Section types that fit the same slots: an abstract type, in ZConfig's words.
#[derive(Debug)]
pub struct Group {
    /// The name, in lower case.
    pub name: &'static str,
    /// The names of the types.
    pub members: &'static [&'static str],
}

/// How many sections fit a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Any number.
    Any,
    /// One or more.
    AtLeastOne,
    /// None or one.
    AtMostOne,
    /// Exactly one.
    One,
}

/// A section that fits its type.
#[derive(Debug)]
pub struct Section {
    /// Type of the section, with the schema of its keys.
    pub section_type: &'static SectionType,
    /// The name, in lower case.
    pub name: Option<String>,
    /// Where it begins; `None` if it is not in a file.
    pub start: Option<Location>,
    /// Where it ends; `None` if it is not in a file.
    pub end: Option<Location>,
    /// The sections within, in order.
    pub sections: Vec<Self>,
    settings: BTreeMap<&'static str, Vec<Setting>>,
}

/// A value of a key of a section.
#[derive(Debug)]
pub struct Setting {
    /// The text, after substitution.
    pub text: String,
    /// The value that the text stands for.
    pub value: Value,
    /// Where it is; `None` if it is the default.
    pub location: Option<Location>,
}

impl Key {
    /// A key that can be left out.
    #[must_use]
    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, need: Need::Optional, default: DefaultText::None }
    }

    /// A key that can be left out and has that default.
    #[must_use]
    pub const fn with_default(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self { name, kind, need: Need::Optional, default: DefaultText::Fixed(default) }
    }

    /// A key that can be left out, with a default that is elsewhere in the program.
    #[must_use]
    pub const fn with_computed_default(
        name: &'static str,
        kind: Kind,
        default: fn() -> String,
    ) -> Self {
        Self { name, kind, need: Need::Optional, default: DefaultText::Computed(default) }
    }

    /// A key that each section must have.
    #[must_use]
    pub const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, need: Need::Required, default: DefaultText::None }
    }

    /// A key that each section must have once or several times.
    #[must_use]
    pub const fn repeated(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, need: Need::Repeated, default: DefaultText::None }
    }
}

impl SectionType {
    /// A type with these keys and places for sections.
    #[must_use]
    pub const fn new(name: &'static str, keys: &'static [Key], slots: &'static [Slot]) -> Self {
        Self { name, keys, slots, check: None, refused: None }
    }

    /// The same type with a rule about several values.
    #[must_use]
    pub const fn checked(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }

    /// The same type, refused for that reason. The contents of sections are checked first, so that errors
    /// in them are reported as by a program that accepts the type.
    #[must_use]
    pub const fn refused(self, reason: &'static str) -> Self {
        Self { refused: Some(reason), ..self }
    }

    /// The key of that name, in lower case.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The type of that name which has a slot of its own here. Two types can have the same name if they
    /// fit different sections.
    #[must_use]
    pub fn own_type(&self, name: &str) -> Option<&'static Self> {
        self.own_types().find(|own| own.name == name)
    }

    /// The types that have slots of their own here.
    pub fn own_types(&self) -> impl Iterator<Item = &'static Self> {
        self.slots.iter().filter_map(|slot| match slot.accepts {
            Accepts::Type(own) => Some(own),
            Accepts::Group(_) => None,
        })
    }

    /// The slot for sections of a type.
    #[must_use]
    pub fn slot(&self, section_type: &Self) -> Option<&'static Slot> {
        self.slots.iter().find(|slot| slot.accepts.fits(section_type.name))
    }
}

impl Accepts {
    /// Whether sections of a type of that name fit.
    #[must_use]
    pub fn fits(self, section_type: &str) -> bool {
        self.names().contains(&section_type)
    }

    /// The name of the type or the group.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Group(group) => group.name,
            Self::Type(section_type) => section_type.name,
        }
    }

    /// The names of all types that fit.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Self::Group(group) => group.members.to_vec(),
            Self::Type(section_type) => vec![section_type.name],
        }
    }
}

impl DefaultText {
    /// The text; `None` if there is no default.
    #[must_use]
    pub fn text(self) -> Option<String> {
        match self {
            Self::Computed(compute) => Some(compute()),
            Self::Fixed(text) => Some(text.to_owned()),
            Self::None => None,
        }
    }
}

impl Section {
    pub(crate) fn new(
        section_type: &'static SectionType,
        name: Option<String>,
        [start, end]: [Option<Location>; 2],
        sections: Vec<Self>,
        settings: BTreeMap<&'static str, Vec<Setting>>,
    ) -> Self {
        Self { section_type, name, start, end, sections, settings }
    }

    /// The first section of a type within this one.
    #[must_use]
    pub fn section(&self, section_type: &str) -> Option<&Self> {
        self.sections.iter().find(|section| section.section_type.name == section_type)
    }

    /// The values of a key: none, one, or several if the key can be repeated.
    ///
    /// # Panics
    /// If the schema declares no such key: that is an error of the program, not of the configuration.
    #[must_use]
    pub fn settings(&self, key: &str) -> &[Setting] {
        self.settings.get(key).expect("the schema declares all keys in use")
    }

    /// A key's value, if it was given or has a default.
    ///
    /// # Panics
    /// As [`Section::settings`], and if the schema declares another kind for the key.
    #[must_use]
    pub fn value<T: FromValue>(&self, key: &str) -> Option<T> {
        self.settings(key).first().map(Setting::get)
    }

    /// All values of a key that can be repeated.
    ///
    /// # Panics
    /// As [`Section::value`].
    #[must_use]
    pub fn values<T: FromValue>(&self, key: &str) -> Vec<T> {
        self.settings(key).iter().map(Setting::get).collect()
    }

    /// The value of a key that is required or has a default.
    ///
    /// # Panics
    /// As [`Section::value`], and if the key is optional and was not given.
    #[must_use]
    pub fn required<T: FromValue>(&self, key: &str) -> T {
        self.value(key).expect("the reader refuses sections without their required keys")
    }

    /// An error of the section as a whole, located where it begins.
    #[must_use]
    pub fn wrong_at_start(&self, error: InvalidValue) -> ConfigError {
        ConfigError::Value { error, expected: None, location: self.start.clone() }
    }

    /// An error in a key's value that only the rest of the section shows, located at the key.
    ///
    /// # Panics
    /// As [`Section::settings`].
    #[must_use]
    pub fn wrong(&self, key: &str, error: InvalidValue) -> ConfigError {
        let location = self.settings(key).iter().find_map(|setting| setting.location.clone());
        let location = location.or_else(|| self.end.clone());
        ConfigError::Value { error, expected: None, location }
    }
}

impl Setting {
    fn get<T: FromValue>(&self) -> T {
        T::from_value(&self.value).expect("the schema declares the kind under which a key is used")
    }
}
