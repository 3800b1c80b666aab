//! `-X section/key=value`: settings on the command line that win over those in the file.
//!
//! A path names sections by their names or their types, from the outermost in, and then a key. It goes to
//! the first section that fits; what finds no section is an error, so that no wish is silently
//! forgotten. Nothing is substituted in the value.

use std::sync::Arc;

use thiserror::Error;

use super::error::{ConfigError, Place};
use super::python::repr;

/// What the command line says about a section and those in it.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    keys: Vec<Override>,
    deeper: Vec<Override>,
}

/// A key's new value.
#[derive(Debug)]
pub(super) struct Override {
    /// The rest of the way, outermost first; the last is the key.
    path: Vec<String>,
    /// The text.
    pub(super) value: String,
    /// The whole option, for messages.
    pub(super) place: Place,
}

/// Why an option `-X` is none, in ZConfig's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OverrideError {
    /// A path with nothing between two slashes.
    #[error("'//' is not allowed in an option path")]
    EmptyPart,
    /// Nothing to override.
    #[error("configuration overrides (-X) cannot be used without a configuration file")]
    NoFile,
    /// A section or a key that cannot be called so.
    #[error(
        "could not convert basic-key value: value did not match regular expression: {}",
        repr(.0)
    )]
    NotAName(String),
    /// Options for sections that are not there.
    #[error("not all command line options were consumed")]
    Unused,
    /// No `=`.
    #[error("invalid configuration specifier")]
    NoValue,
}

impl Overrides {
    /// Understands options as they were given.
    pub(super) fn parse(specs: &[String]) -> Result<Self, ConfigError> {
        let overrides = specs.iter().map(|spec| {
            let place = Place::Override(Arc::from(spec.as_str()));
            Override::parse(spec, place.clone())
                .map_err(|error| ConfigError::Override { error, place: Some(place) })
        });
        Ok(Self::of(overrides.collect::<Result<_, _>>()?))
    }

    fn of(overrides: Vec<Override>) -> Self {
        let (keys, deeper) = overrides.into_iter().partition(|one| one.path.len() == 1);
        Self { keys, deeper }
    }

    /// Takes out what belongs to a section in this one.
    pub(super) fn take_for(&mut self, section_type: &str, name: Option<&str>) -> Self {
        let fits = |one: &Override| {
            let first = one.path[0].to_lowercase();
            Some(first.as_str()) == name || first == section_type
        };
        let (taken, left) = std::mem::take(&mut self.deeper).into_iter().partition(fits);
        self.deeper = left;
        let inner = |one: Override| Override { path: one.path[1..].to_vec(), ..one };
        let taken: Vec<Override> = taken;
        Self::of(taken.into_iter().map(inner).collect())
    }

    /// Whether the file's own setting of a key, in lower case, does not count.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.keys.iter().any(|one| one.path[0].to_lowercase() == key)
    }

    /// The keys of the section itself; all that was meant for sections in it must have been taken.
    pub(super) fn into_keys(self) -> Result<Vec<Override>, ConfigError> {
        match self.deeper.into_iter().next() {
            None => Ok(self.keys),
            Some(left) => {
                let error = OverrideError::Unused;
                Err(ConfigError::Override { error, place: Some(left.place) })
            }
        }
    }
}

impl Override {
    fn parse(spec: &str, place: Place) -> Result<Self, OverrideError> {
        let (path, value) = spec.split_once('=').ok_or(OverrideError::NoValue)?;
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(OverrideError::EmptyPart);
        }
        if let Some(part) = path.iter().find(|part| !is_key(part)) {
            return Err(OverrideError::NotAName(part.clone()));
        }
        Ok(Self { path, value: value.to_owned(), place })
    }

    /// The key, as given.
    pub(super) fn key(&self) -> &str {
        &self.path[0]
    }
}

/// Whether a text can be a key at all: ZConfig's `basic-key`.
pub(super) fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}
