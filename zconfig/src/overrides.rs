//! `-X section/key=value`: settings on the command line that win over those in the file.
//!
//! A path names sections by their names or their types, from the outermost to the innermost, and then a
//! key. An override applies to the first section that fits; one that fits none is an error, so that no
//! override is silently ignored. Nothing is substituted in the value.

use std::sync::Arc;

use crate::error::{ConfigError, OverrideError};
use crate::location::Location;
use crate::syntax::is_key;

/// The overrides for a section and for those in it.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    keys: Vec<Override>,
    deeper: Vec<Override>,
}

/// The value of an option `-X PATH=VALUE`, on its way to the section that it names.
#[derive(Debug)]
pub(crate) struct Override {
    /// The rest of the path, outermost section first; the last part is the key.
    path: Vec<String>,
    pub(crate) value: String,
    /// The whole override, for messages.
    pub(crate) location: Location,
}

impl Overrides {
    /// Reads overrides as given on the command line.
    pub(crate) fn parse(specs: &[String]) -> Result<Self, ConfigError> {
        let overrides = specs.iter().map(|spec| {
            let location = Location::Override(Arc::from(spec.as_str()));
            Override::parse(spec, location.clone())
                .map_err(|error| ConfigError::Override { error, location: Some(location) })
        });
        Ok(Self::of(overrides.collect::<Result<_, _>>()?))
    }

    fn of(overrides: Vec<Override>) -> Self {
        let (keys, deeper) = overrides.into_iter().partition(|one| one.path.len() == 1);
        Self { keys, deeper }
    }

    /// Takes out the overrides for a section in this one.
    pub(crate) fn take_for(&mut self, section_type: &str, name: Option<&str>) -> Self {
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

    /// Whether an override replaces the file's setting of a key, given in lower case.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.keys.iter().any(|one| one.path[0].to_lowercase() == key)
    }

    /// The overrides of the keys of the section itself; those for sections in it must have been taken.
    pub(crate) fn into_keys(self) -> Result<Vec<Override>, ConfigError> {
        match self.deeper.into_iter().next() {
            None => Ok(self.keys),
            Some(left) => {
                let error = OverrideError::Unused;
                Err(ConfigError::Override { error, location: Some(left.location) })
            }
        }
    }
}

impl Override {
    fn parse(spec: &str, location: Location) -> Result<Self, OverrideError> {
        let (path, value) = spec.split_once('=').ok_or(OverrideError::NoValue)?;
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(OverrideError::EmptyPart);
        }
        if let Some(part) = path.iter().find(|part| !is_key(part)) {
            return Err(OverrideError::NotAName(part.clone()));
        }
        Ok(Self { path, value: value.to_owned(), location })
    }

    /// The key, as given.
    pub(crate) fn key(&self) -> &str {
        &self.path[0]
    }
}
