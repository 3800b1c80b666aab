//! What can be wrong with a configuration, and where.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::overrides::OverrideError;
use super::python::repr;
use super::reader::{INCLUDE_DEPTH_MAX, INCLUDES_MAX, SECTION_DEPTH_MAX};
use super::schema::SchemaError;
use super::substitution::SubstitutionError;
use super::syntax::SyntaxError;
use super::types::InvalidValue;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of a file.
    Line {
        /// The file, as a URL.
        url: Arc<str>,
        /// The line, from 1.
        line: usize,
    },
    /// An option `-X` of the command line, as given.
    Override(Arc<str>),
}

/// A configuration that cannot be used. Shown in Python's words, which end with the place.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// A directive that cannot be followed.
    #[error("{error}\n{}", in_parentheses(place))]
    Directive {
        /// What is wrong.
        error: DirectiveError,
        /// Where.
        place: Place,
    },
    /// An option `-X` that is none, or has nothing to override.
    #[error("{error}{}", on_a_line(place.as_ref()))]
    Override {
        /// What is wrong.
        error: OverrideError,
        /// The option.
        place: Option<Place>,
    },
    /// Lines that contradict the schema.
    #[error("{error}{}", on_a_line(place.as_ref()))]
    Schema {
        /// What is wrong.
        error: SchemaError,
        /// Where; for what the whole configuration lacks, nowhere.
        place: Option<Place>,
    },
    /// A value that could not be expanded.
    #[error("{error}\n{}", in_parentheses(place))]
    Substitution {
        /// What is wrong.
        error: SubstitutionError,
        /// Where.
        place: Place,
    },
    /// A line that is not ZConfig.
    #[error("{error}\n{}", in_parentheses(place))]
    Syntax {
        /// What is wrong.
        error: SyntaxError,
        /// Where.
        place: Place,
    },
    /// A URL for the configuration itself that is no file's.
    #[error("error opening URL {0}: only files can be read")]
    NotAFile(String),
    /// A file that cannot be read.
    #[error("error opening file {}: {source}{}", path.display(), on_a_line(place.as_ref()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
        /// Where it is included, if it is.
        place: Option<Place>,
    },
    /// A value that is not of its key's type.
    #[error("{error}{}", beside_a_value(place.as_ref()))]
    Value {
        /// What is wrong.
        error: InvalidValue,
        /// What would have been right.
        expected: Option<&'static str>,
        /// Where; nowhere only if nobody wrote it.
        place: Option<Place>,
    },
}

/// A directive that is well-formed but cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum DirectiveError {
    /// Two definitions of one name that differ.
    #[error("cannot redefine {}", repr(.0))]
    CannotRedefine(String),
    /// A file that is being read already.
    #[error("{} includes itself", .0.display())]
    Cycle(PathBuf),
    /// A file that includes a file that includes a file, and so on.
    #[error("more than {INCLUDE_DEPTH_MAX} files within each other")]
    IncludesTooDeep,
    /// Python packages stay in Python.
    #[error(
        "could not load package {0}: section types of Python packages need Python's server; \
             leave the line out and use the sections that are here"
    )]
    NoPackage(String),
    /// A URL with something after a `#`.
    #[error("fragment identifiers are not supported")]
    Fragment,
    /// A URL that is no file's.
    #[error("{0} is not a file: only files can be included")]
    NotAFile(String),
    /// A definition of something that `$` could not refer to.
    #[error("not a substitution legal name: {}", repr(.0))]
    NotAName(String),
    /// `%import ZEO`, which Python refuses too.
    #[error("type name cannot be redefined: 'ssl'")]
    RedefinedType,
    /// Sections in sections in sections.
    #[error("more than {SECTION_DEPTH_MAX} sections within each other")]
    SectionsTooDeep,
    /// Too many files in all.
    #[error("more than {INCLUDES_MAX} files included")]
    TooManyIncludes,
}

impl ConfigError {
    /// Where, if it is anywhere in particular.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Directive { place, .. }
            | Self::Substitution { place, .. }
            | Self::Syntax { place, .. } => Some(place),
            Self::Override { place, .. }
            | Self::Schema { place, .. }
            | Self::Unreadable { place, .. }
            | Self::Value { place, .. } => place.as_ref(),
            Self::NotAFile(_) => None,
        }
    }

    /// What would have been right, where the message does not say so.
    pub(crate) fn expected(&self) -> Option<String> {
        match self {
            Self::Value { expected, .. } => expected.map(str::to_owned),
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

fn on_a_line(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!("\n{}", in_parentheses(place)))
}

fn in_parentheses(place: &Place) -> String {
    match place {
        Place::Line { url, line } => format!("(line {line} in {url})"),
        Place::Override(spec) => format!("(in -X {spec})"),
    }
}

fn beside_a_value(place: Option<&Place>) -> String {
    match place {
        None => String::new(),
        Some(Place::Line { url, line }) => format!(" (line {line}, in {url})"),
        Some(place) => format!(" {}", in_parentheses(place)),
    }
}

/// `file:///dir/c.conf`, with what is special in a URL as `%20`.
pub(super) fn file_url(path: &Path) -> String {
    let mut url = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/_.-~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}
