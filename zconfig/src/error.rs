//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::invalid::InvalidValue;
use crate::limits::{INCLUDE_DEPTH_MAX, INCLUDES_MAX, SECTION_DEPTH_MAX};
use crate::location::{BesideValue, Location, OwnLine};
use crate::python::repr;
use crate::substitution::SubstitutionError;
use crate::syntax::SyntaxError;

/// A configuration that cannot be used. Shown in ZConfig's words, which end with the location.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A directive that is well-formed but cannot be followed.
    #[error("{error}{}", OwnLine(Some(location)))]
    Directive {
        /// The reason, without the location.
        error: DirectiveError,
        /// The line that contains it.
        location: Location,
    },
    /// A URL for the configuration itself that is not a file's.
    #[error("error opening URL {0}: only files can be read")]
    NotAFile(String),
    /// An override that is malformed or has nothing to override.
    #[error("{error}{}", OwnLine(location.as_ref()))]
    Override {
        /// The reason, without the location.
        error: OverrideError,
        /// The override, as given; none if the error is not of a single one.
        location: Option<Location>,
    },
    /// Lines that contradict the schema.
    #[error("{error}{}", OwnLine(location.as_ref()))]
    Schema {
        /// The reason, without the location.
        error: SchemaError,
        /// Where it is; the file if the configuration as a whole lacks something.
        location: Option<Location>,
    },
    /// A value that cannot be expanded.
    #[error("{error}{}", OwnLine(Some(location)))]
    Substitution {
        /// The reason, without the location.
        error: SubstitutionError,
        /// The line that contains it.
        location: Location,
    },
    /// A line that is not ZConfig.
    #[error("{error}{}", OwnLine(Some(location)))]
    Syntax {
        /// The reason, without the location.
        error: SyntaxError,
        /// The line that contains it.
        location: Location,
    },
    /// A file that cannot be read.
    #[error("error opening file {}: {source}{}", path.display(), OwnLine(location.as_ref()))]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
        /// The directive that includes it; none for the configuration itself.
        location: Option<Location>,
    },
    /// A value that is not of its key's type, or that contradicts others.
    #[error("{error}{}", BesideValue(location.as_ref()))]
    Value {
        /// The reason, without the location.
        error: InvalidValue,
        /// What the key accepts, for hints; none if the reason says it.
        expected: Option<String>,
        /// Where it is; none if a default is wrong.
        location: Option<Location>,
    },
}

/// Why a directive cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// Two different definitions of one name.
    #[error("cannot redefine {}", repr(.0))]
    CannotRedefine(String),
    /// A file that includes itself, directly or through others.
    #[error("{} includes itself", .0.display())]
    Cycle(PathBuf),
    /// A URL with a `#`.
    #[error("fragment identifiers are not supported")]
    Fragment,
    /// Too many files that include one another.
    #[error("files include each other more than {INCLUDE_DEPTH_MAX} levels deep")]
    IncludesTooDeep,
    /// A package that the schema does not list.
    #[error(
        "could not load package {0}: Python packages cannot be loaded; remove the line and use the \
         section types that are built in"
    )]
    NoPackage(String),
    /// A URL that is not a file's.
    #[error("{0} is not a file: only files can be included")]
    NotAFile(String),
    /// A definition of a name that `$` cannot refer to.
    #[error("not a substitution legal name: {}", repr(.0))]
    NotAName(String),
    /// A package that the schema refuses, with its reason.
    #[error("{0}")]
    PackageRefused(&'static str),
    /// Too many sections within one another.
    #[error("sections are nested more than {SECTION_DEPTH_MAX} levels deep")]
    SectionsTooDeep,
    /// Too many included files.
    #[error("more than {INCLUDES_MAX} files are included")]
    TooManyIncludes,
}

/// Why an override cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OverrideError {
    /// A path with nothing between two slashes.
    #[error("'//' is not allowed in an option path")]
    EmptyPart,
    /// An override without a file.
    #[error("configuration overrides (-X) cannot be used without a configuration file")]
    NoFile,
    /// A part of the path that cannot be the name of a section or a key.
    #[error(
        "could not convert basic-key value: value did not match regular expression: {}",
        repr(.0)
    )]
    NotAName(String),
    /// An override without `=`.
    #[error("invalid configuration specifier")]
    NoValue,
    /// An override for a section that does not exist.
    #[error("not all command line options were consumed")]
    Unused,
}

/// Why lines contradict the schema.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A section of an abstract type.
    #[error(
        "concrete sections cannot match abstract section types; found abstract type {}",
        repr(.0)
    )]
    AbstractType(String),
    /// A section of a type that other programs accept.
    #[error("unknown type name: {}; {advice}", repr(name))]
    ForeignType {
        /// Name of the section type.
        name: &'static str,
        /// The schema's advice.
        advice: &'static str,
        /// The types that fit.
        fitting: Vec<&'static str>,
    },
    /// A missing key.
    #[error("no values for {}; 1 required", repr(.0))]
    KeyMissing(&'static str),
    /// A missing key that may be repeated.
    #[error("not enough values for {}; 0 found, 1 required", repr(.0))]
    KeyNotEnough(&'static str),
    /// A key that is given twice.
    #[error("{} does not support multiple values", repr(.0))]
    KeyRepeated(String),
    /// Two sections of one name.
    #[error("section names must not be re-used within the same container:{}", repr(.0))]
    NameReused(String),
    /// A section in a section that has no slot for it.
    #[error(
        "no matching section defined for type='{section_type}', name='{}'",
        name.as_deref().unwrap_or("None")
    )]
    NoSlot {
        /// Type in the section's header.
        section_type: String,
        /// Name in the section's header.
        name: Option<String>,
        /// Section types that fit there.
        fitting: Vec<&'static str>,
    },
    /// No section where the schema requires at least one.
    #[error("not enough values for section type {}; 0 found, 1 required", repr(.0))]
    NotEnough(&'static str),
    /// A section of a type that the schema knows and refuses.
    #[error("<{section_type}>: {reason}")]
    Refused {
        /// Name of the refused section type.
        section_type: &'static str,
        /// What the schema gives as the reason.
        reason: &'static str,
    },
    /// A missing section.
    #[error("no values for section type {}; 1 required", repr(.0))]
    SectionMissing(&'static str),
    /// A second section in a slot for one.
    #[error("too many instances of {} section", repr(.0))]
    TooMany(&'static str),
    /// A key that the section does not have.
    #[error("{} is not a known key name{}", repr(key), did_you_mean(suggestion.as_deref(), ['\'', '\'']))]
    UnknownKey {
        /// Name of the unknown key.
        key: String,
        /// A known key with a similar name.
        suggestion: Option<&'static str>,
        /// The keys that the section has.
        known: Vec<&'static str>,
    },
    /// A section type that does not exist.
    #[error("unknown type name: {}{}", repr(name), did_you_mean(suggestion.as_deref(), ['<', '>']))]
    UnknownType {
        /// Name of the unknown section type.
        name: String,
        /// A type with a similar name that fits.
        suggestion: Option<&'static str>,
        /// Section types that fit there.
        fitting: Vec<&'static str>,
    },
}

impl ConfigError {
    /// Where it is, if that is known.
    #[must_use]
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Directive { location, .. }
            | Self::Substitution { location, .. }
            | Self::Syntax { location, .. } => Some(location),
            Self::Override { location, .. }
            | Self::Schema { location, .. }
            | Self::Unreadable { location, .. }
            | Self::Value { location, .. } => location.as_ref(),
            Self::NotAFile(_) => None,
        }
    }

    /// What is accepted instead, where the message does not say it.
    #[must_use]
    pub fn expected(&self) -> Option<String> {
        match self {
            Self::Value { expected, .. } => expected.clone(),
            Self::Schema { error, .. } => error.expected(),
            Self::Directive { .. }
            | Self::NotAFile(_)
            | Self::Override { .. }
            | Self::Substitution { .. }
            | Self::Syntax { .. }
            | Self::Unreadable { .. } => None,
        }
    }
}

impl SchemaError {
    /// What is accepted instead, where the message does not say it.
    #[must_use]
    pub fn expected(&self) -> Option<String> {
        let (before, names) = match self {
            Self::UnknownKey { known, .. } => ("one of the keys ", known),
            Self::ForeignType { fitting, .. }
            | Self::NoSlot { fitting, .. }
            | Self::UnknownType { fitting, .. } => ("one of the sections ", fitting),
            Self::AbstractType(_)
            | Self::KeyMissing(_)
            | Self::KeyNotEnough(_)
            | Self::KeyRepeated(_)
            | Self::NameReused(_)
            | Self::NotEnough(_)
            | Self::Refused { .. }
            | Self::SectionMissing(_)
            | Self::TooMany(_) => return None,
        };
        Some(if names.is_empty() {
            "nothing".to_owned()
        } else {
            before.to_owned() + &names.join(", ")
        })
    }
}

fn did_you_mean(suggestion: Option<&str>, [before, after]: [char; 2]) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean {before}{name}{after}?"))
}
