//! Reads ZConfig files, the configuration format of Zope, ZODB and ZEO, into typed values.
//!
//! A [`Schema`] declares the sections and keys of a program as static tables. [`Schema::read`] reads a
//! file with all that it includes, checks it against the tables, converts every value, and returns a
//! tree of [`Section`]s. What is wrong becomes a [`ConfigError`] with the file and the line.
//!
//! ```
//! use std::path::Path;
//! use std::time::Duration;
//! use rzeo_zconfig::{Accepts, Count, Key, Kind, MemorySystem, Schema, SectionType, Slot};
//!
//! static WEB: SectionType = SectionType::new(
//!     "web",
//!     &[Key::required("listen", Kind::SocketBindingAddress),
//!       Key::with_default("timeout", Kind::Seconds, "30")],
//!     &[],
//! );
//! static SCHEMA: Schema = Schema::new(
//!     &SectionType::new("", &[], &[Slot { accepts: Accepts::Type(&WEB), count: Count::One }]),
//!     &[&[&WEB]],
//! );
//!
//! let files = MemorySystem::with(&[("/dir/my.conf", "<web>\n  listen localhost:8080\n</web>\n")]);
//! let top = SCHEMA.read(&files, Path::new("my.conf"), &["web/timeout=2.5".to_owned()])?;
//! let web = top.section("web").expect("the schema requires it");
//! assert_eq!(web.required::<Duration>("timeout"), Duration::from_millis(2500));
//!
//! let files = MemorySystem::with(&[("/dir/my.conf", "<web>\n  listn 8080\n</web>\n")]);
//! let error = SCHEMA.read(&files, Path::new("my.conf"), &[]).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "'listn' is not a known key name; did you mean 'listen'?\n(line 2 in file:///dir/my.conf)"
//! );
//! # Ok::<(), rzeo_zconfig::ConfigError>(())
//! ```
//!
//! # What is supported
//!
//! The whole syntax: sections with names, `%define`, `%include`, `%import` of packages that the schema
//! lists, `$name`, `${name}` and `$(VARIABLE)` in values, overrides `section/key=value`; of schemas: types,
//! groups (abstract types), keys that are required, optional, repeated or have a default, rules
//! over several values, and ZConfig's standard types of values. A program adds types of its own with
//! [`Kind::Custom`].
//!
//! A file that Python's ZConfig accepts with the same schema means the same here, and what Python
//! refuses is refused with Python's message; where Python leaves out the location, it is added, and
//! names of Python's functions and types are replaced by plain words. There are limits, see [`limits`]: whatever the text, reading ends and takes bounded memory.
//!
//! Schemas in XML and types of values that are Python code are not supported.
//!
//! | module | contents |
//! |---|---|
//! | `syntax` | one line |
//! | `substitution` | `$name` in values |
//! | `kind`, `conversions`, `address`, `value` | types of values |
//! | `section`, `schema` | tables, and the sections that fit them |
//! | `overrides` | settings on the command line |
//! | `reader`, `open_section` | from files to sections |
//! | `error`, `invalid`, `location`, `url` | what can be wrong, and where |
//! | [`python`] | numbers and quoted text as Python writes them |
//! | `system` | access to files and environment variables |

mod address;
mod conversions;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod invalid;
mod kind;
pub mod limits;
mod location;
mod open_section;
mod overrides;
pub mod python;
mod reader;
mod schema;
mod section;
mod substitution;
mod suggestion;
mod syntax;
mod system;
#[cfg(test)]
mod tests;
mod url;
mod value;

pub use address::SocketAddress;
pub use error::{ConfigError, DirectiveError, OverrideError, SchemaError};
pub use invalid::InvalidValue;
pub use kind::{CustomKind, Kind};
pub use location::Location;
pub use reader::path_of;
pub use schema::Schema;
pub use section::{
    Accepts, Check, Count, DefaultText, Group, Key, Need, Section, SectionType, Setting, Slot,
};
pub use substitution::SubstitutionError;
pub use syntax::SyntaxError;
pub use system::{MemorySystem, RealSystem, System};
pub use value::{CustomValue, FromValue, Value};
