//! Classes, by name.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

/// A Python class: its module and its name. Nothing is imported.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(Arc<Names>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Names {
    module: String,
    name: String,
}

impl Class {
    /// The class `name` of `module`, like `BTrees.OOBTree` and `OOBTree`.
    #[must_use]
    pub fn new(module: &str, name: &str) -> Self {
        Self(Arc::new(Names { module: module.to_owned(), name: name.to_owned() }))
    }

    /// The module that Python imports the class from.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.0.module
    }

    /// Name of the class within its module.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether this is the class `name` of `module`.
    #[must_use]
    pub fn is(&self, module: &str, name: &str) -> bool {
        self.module() == module && self.name() == name
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.module, self.0.name)
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
