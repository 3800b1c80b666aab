//! Classes, by name.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use rzeo_core::resolve::present_class;

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

    /// The class that a record names, under the name that Python 3 gives it. `None` if the names are no
    /// UTF-8.
    #[must_use]
    pub fn read(module: &[u8], name: &[u8]) -> Option<Self> {
        let (module, name) = python_3_name(present_class((module, name)));
        Some(Self::new(core::str::from_utf8(module).ok()?, core::str::from_utf8(name).ok()?))
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

/// What Python 3 reads in place of names that only Python 2 had. Records are written with protocol 3,
/// in which Python no longer translates them.
fn python_3_name<'a>((module, name): (&'a [u8], &'a [u8])) -> (&'a [u8], &'a [u8]) {
    match (module, name) {
        (b"builtins", b"basestring" | b"unicode") => (module, b"str"),
        (b"builtins", b"long") => (module, b"int"),
        (b"builtins", b"unichr") => (module, b"chr"),
        (b"builtins", b"xrange") => (module, b"range"),
        (b"copy_reg", _) => (b"copyreg", name),
        (b"exceptions", b"StandardError") => (b"builtins", b"Exception"),
        (b"exceptions", _) => (b"builtins", name),
        (b"UserDict", b"UserDict" | b"IterableUserDict") => (b"collections", b"UserDict"),
        (b"UserList", b"UserList") => (b"collections", b"UserList"),
        (b"UserString", b"UserString") => (b"collections", b"UserString"),
        _ => (module, name),
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
