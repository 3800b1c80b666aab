//! A schema: all section types that a file can contain.

use crate::error::SchemaError;
use crate::section::{Group, SectionType};
use crate::suggestion;

/// All section types that a file can contain.
#[derive(Debug)]
pub struct Schema {
    /// The file itself: a section without a header.
    pub top: &'static SectionType,
    /// The types, in lists. A type that has a slot of its own need not be listed.
    pub types: &'static [&'static [&'static SectionType]],
    /// The groups that slots name.
    pub groups: &'static [&'static Group],
    /// The packages that `%import` accepts, because their types are part of the schema.
    pub packages: &'static [&'static str],
    /// The packages that `%import` refuses, each with the reason.
    pub refused_packages: &'static [(&'static str, &'static str)],
    /// Types that other programs accept and this one does not have, each with advice for the user.
    pub foreign_types: &'static [(&'static str, &'static str)],
}

impl Schema {
    /// A schema with these types, without groups, packages and foreign types.
    #[must_use]
    pub const fn new(
        top: &'static SectionType,
        types: &'static [&'static [&'static SectionType]],
    ) -> Self {
        Self { top, types, groups: &[], packages: &[], refused_packages: &[], foreign_types: &[] }
    }

    /// All section types; groups (abstract types) are not among them.
    pub fn types(&self) -> impl Iterator<Item = &'static SectionType> {
        self.types.iter().flat_map(|list| list.iter().copied())
    }

    /// The type of that name, in lower case, for a section within one of the type `outer`.
    ///
    /// # Errors
    /// If there is no such type, or it is a group.
    pub fn section_type(
        &self,
        name: &str,
        outer: &SectionType,
    ) -> Result<&'static SectionType, SchemaError> {
        let named = || self.types().find(|known| known.name == name);
        if let Some(section_type) = outer.own_type(name).or_else(named) {
            return Ok(section_type);
        }
        if self.groups.iter().any(|group| group.name == name) {
            return Err(SchemaError::AbstractType(name.to_owned()));
        }
        let fitting = self.fitting(outer);
        if let Some((name, advice)) = self.foreign_types.iter().find(|(known, _)| *known == name) {
            return Err(SchemaError::ForeignType { name, advice, fitting });
        }
        let suggestion = suggestion::closest(name, fitting.iter().copied());
        Err(SchemaError::UnknownType { name: name.to_owned(), suggestion, fitting })
    }

    /// The names of all types that fit into a section of the type `outer` and are not refused.
    #[must_use]
    pub fn fitting(&self, outer: &SectionType) -> Vec<&'static str> {
        let is_usable =
            |name: &&str| !self.types().any(|known| known.name == *name && known.refused.is_some());
        outer.slots.iter().flat_map(|slot| slot.accepts.names()).filter(is_usable).collect()
    }
}
