//! Reads a file, and the files that it includes, into a tree of sections that fits the schema.
//!
//! ```text
//! file ──► lines ──► Line ──► open, fill and close sections ──► Section
//!             ▲                  │
//!             └──── %include ◄───┘
//! ```
//!
//! A section is checked when it closes, so errors come in the order of the file, as in Python. An
//! included file may hold lines of a section that is open, but must close what it opens itself.
//! Definitions are shared by all files.
//!
//! Whatever the text, the reader ends, and within bounds: of files within files, of files in all, of
//! sections within sections, and of a value's length.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ConfigError, DirectiveError, Place, file_url};
use super::schema::{Count, Need, Schema, SchemaError, SectionType};
use super::substitution::{Replacements, is_name};
use super::syntax::{Line, SyntaxError};
use super::system::System;
use super::types::{InvalidValue, Value};

/// How many files may be open at a time.
pub(crate) const INCLUDE_DEPTH_MAX: usize = 16;
/// How many files may be included in all.
pub(crate) const INCLUDES_MAX: usize = 256;
/// How many sections may be open at a time.
pub(crate) const SECTION_DEPTH_MAX: usize = 32;

/// A section that fits its type.
#[derive(Debug)]
pub(crate) struct Section {
    /// What it is.
    pub(crate) section_type: &'static SectionType,
    /// Its name, in lower case.
    pub(crate) name: Option<String>,
    /// Where it ends.
    pub(crate) place: Place,
    /// The sections in it, in order.
    pub(crate) sections: Vec<Self>,
    values: BTreeMap<&'static str, Value>,
}

/// Reads the configuration in a file.
pub(crate) fn read(
    system: &dyn System,
    schema: &'static Schema,
    path: &Path,
) -> Result<Section, ConfigError> {
    let path = system.absolute(path);
    let top = OpenSection::new(schema.top, None);
    let mut reader = Reader {
        system,
        schema,
        defines: BTreeMap::new(),
        open: vec![top],
        files: Vec::new(),
        included: 0,
    };
    let end = reader.read_file(&path, None)?;
    let top = reader.open.pop().expect("a file closes only what it opened");
    top.close(end, system)
}

struct Reader<'a> {
    system: &'a dyn System,
    schema: &'static Schema,
    defines: BTreeMap<String, String>,
    /// The innermost open section is the last; the first is the configuration itself.
    open: Vec<OpenSection>,
    /// The files being read; each includes the next.
    files: Vec<PathBuf>,
    included: usize,
}

/// A section whose end has not been read yet.
struct OpenSection {
    section_type: &'static SectionType,
    name: Option<String>,
    values: BTreeMap<&'static str, (String, Place)>,
    sections: Vec<Section>,
}

impl Reader<'_> {
    /// Reads all lines of a file, which is included somewhere or not; returns its end.
    fn read_file(
        &mut self,
        path: &Path,
        included_at: Option<&Place>,
    ) -> Result<Place, ConfigError> {
        let unreadable = |source| {
            let place = included_at.cloned();
            ConfigError::Unreadable { path: path.to_owned(), source, place }
        };
        let bytes = self.system.read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| unreadable(std::io::Error::other(error.utf8_error())))?;
        let mut place = Place { url: Arc::from(file_url(path)), line: 0 };
        let depth = self.open.len();
        self.files.push(path.to_owned());
        for line in text.split_terminator('\n') {
            place.line += 1;
            self.read_line(line, depth, &place)?;
        }
        self.files.pop();
        if self.open.len() > depth {
            return Err(ConfigError::Syntax { error: SyntaxError::Unclosed, place });
        }
        Ok(place)
    }

    fn read_line(&mut self, line: &str, depth: usize, place: &Place) -> Result<(), ConfigError> {
        let syntax = |error| ConfigError::Syntax { error, place: place.clone() };
        match Line::parse(line).map_err(syntax)? {
            Line::Blank => Ok(()),
            Line::Close { .. } if self.open.len() == depth => {
                Err(syntax(SyntaxError::UnexpectedEnd))
            }
            Line::Close { section_type } if section_type != self.innermost().section_type.name => {
                Err(syntax(SyntaxError::UnbalancedEnd))
            }
            Line::Close { .. } => self.close_section(place),
            Line::Define { name, value } => self.define(name, value, place),
            Line::Entry { key, value } => self.add_value(key, value, place),
            Line::Import { package } => self.import(package, place),
            Line::Include { target } => self.include(target, place),
            Line::Open { section_type, name, empty } => {
                self.open_section(&section_type, name, place)?;
                if empty { self.close_section(place) } else { Ok(()) }
            }
        }
    }

    fn innermost(&mut self) -> &mut OpenSection {
        self.open.last_mut().expect("the configuration itself is open to the end")
    }

    fn open_section(
        &mut self,
        section_type: &str,
        name: Option<String>,
        place: &Place,
    ) -> Result<(), ConfigError> {
        let schema_error = |error| ConfigError::Schema { error, place: Some(place.clone()) };
        let opened = self.schema.section_type(section_type).map_err(schema_error)?;
        let outer = self.innermost().section_type;
        if outer.slot(opened).is_none() {
            let section_type = section_type.to_owned();
            let error = SchemaError::NoSlot { section_type, name, fitting: outer.fitting() };
            return Err(schema_error(error));
        }
        if self.open.len() > SECTION_DEPTH_MAX {
            let error = DirectiveError::SectionsTooDeep;
            return Err(ConfigError::Directive { error, place: place.clone() });
        }
        self.open.push(OpenSection::new(opened, name));
        Ok(())
    }

    fn close_section(&mut self, place: &Place) -> Result<(), ConfigError> {
        let closing = self.open.pop().expect("only what is open is closed");
        let section = closing.close(place.clone(), self.system)?;
        self.innermost().add_section(section)
    }

    fn add_value(&mut self, key: &str, value: &str, place: &Place) -> Result<(), ConfigError> {
        let schema_error = |error| ConfigError::Schema { error, place: Some(place.clone()) };
        let value = self.expand(value, place)?;
        let section = self.innermost();
        let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if !is_key {
            let error = InvalidValue::NotAKey(key.to_owned());
            return Err(ConfigError::Value { error, expected: None, place: place.clone() });
        }
        let Some(known) = section.section_type.key(&key.to_lowercase()) else {
            let known = section.section_type.keys.iter().map(|key| key.name).collect();
            return Err(schema_error(SchemaError::UnknownKey { key: key.to_owned(), known }));
        };
        if section.values.insert(known.name, (value, place.clone())).is_some() {
            return Err(schema_error(SchemaError::KeyRepeated(key.to_owned())));
        }
        Ok(())
    }

    fn define(&mut self, name: String, value: &str, place: &Place) -> Result<(), ConfigError> {
        let directive = |error| ConfigError::Directive { error, place: place.clone() };
        if self.defines.get(&name).is_some_and(|defined| defined != value) {
            return Err(directive(DirectiveError::CannotRedefine(name)));
        }
        if !is_name(&name) {
            return Err(directive(DirectiveError::NotAName(name)));
        }
        let value = self.expand(value, place)?;
        self.defines.insert(name, value);
        Ok(())
    }

    fn import(&mut self, package: &str, place: &Place) -> Result<(), ConfigError> {
        let package = self.expand(package, place)?;
        let error = match package.as_str() {
            known if self.schema.packages.contains(&known) => return Ok(()),
            "ZEO" => DirectiveError::RedefinedType,
            _ => DirectiveError::NoPackage(package),
        };
        Err(ConfigError::Directive { error, place: place.clone() })
    }

    fn include(&mut self, target: &str, place: &Place) -> Result<(), ConfigError> {
        let target = self.expand(target, place)?;
        let directive = |error| ConfigError::Directive { error, place: place.clone() };
        let including = self.files.last().expect("only a file can include another");
        let directory = including.parent().unwrap_or(Path::new("/"));
        let Some(file) = file_path(&target) else {
            return Err(directive(DirectiveError::NotAFile(target)));
        };
        let path = directory.join(file);
        self.included += 1;
        if self.files.contains(&path) {
            return Err(directive(DirectiveError::Cycle(path)));
        }
        if self.files.len() >= INCLUDE_DEPTH_MAX {
            return Err(directive(DirectiveError::IncludesTooDeep));
        }
        if self.included > INCLUDES_MAX {
            return Err(directive(DirectiveError::TooManyIncludes));
        }
        self.read_file(&path, Some(place))?;
        Ok(())
    }

    fn expand(&self, text: &str, place: &Place) -> Result<String, ConfigError> {
        let variable = |name: &str| self.system.variable(name);
        Replacements { defines: &self.defines, variable: &variable }
            .expand(text)
            .map_err(|error| ConfigError::Substitution { error, place: place.clone() })
    }
}

/// The file that a command line names, as a path or a URL.
pub(crate) fn path_of(text: &str) -> Result<&Path, ConfigError> {
    file_path(text).map(Path::new).ok_or_else(|| ConfigError::NotAFile(text.to_owned()))
}

/// The path in a text that may be a `file:` URL; `None` if it is the URL of something else.
fn file_path(text: &str) -> Option<&str> {
    let is_scheme_character = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    match text.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
            Some(rest.strip_prefix("//").unwrap_or(rest))
        }
        Some((scheme, _)) if !scheme.is_empty() && scheme.chars().all(is_scheme_character) => None,
        _ => Some(text),
    }
}

impl OpenSection {
    fn new(section_type: &'static SectionType, name: Option<String>) -> Self {
        Self { section_type, name, values: BTreeMap::new(), sections: Vec::new() }
    }

    fn add_section(&mut self, section: Section) -> Result<(), ConfigError> {
        let place = Some(section.place.clone());
        let slot = self
            .section_type
            .slot(section.section_type)
            .expect("the section's place was checked when it opened");
        if let Some(name) = &section.name
            && self.sections.iter().any(|other| other.name.as_ref() == Some(name))
        {
            let error = SchemaError::NameReused(name.clone());
            return Err(ConfigError::Schema { error, place });
        }
        let in_slot = |other: &&Section| slot.accepts.fits(other.section_type.name);
        let one = matches!(slot.count, Count::One | Count::AtMostOne);
        if one && self.sections.iter().find(in_slot).is_some() {
            let error = SchemaError::TooMany(slot.accepts.name());
            return Err(ConfigError::Schema { error, place });
        }
        self.sections.push(section);
        Ok(())
    }

    /// Checks that nothing is missing and converts the values.
    fn close(mut self, place: Place, system: &dyn System) -> Result<Section, ConfigError> {
        if let Some(error) = self.lacks() {
            // What the configuration as a whole lacks, it lacks nowhere in particular.
            let place = (!self.section_type.name.is_empty()).then_some(place);
            return Err(ConfigError::Schema { error, place });
        }
        let mut values = BTreeMap::new();
        for key in self.section_type.keys {
            let Some((text, place)) = self.values.remove(key.name) else { continue };
            let value = key.kind.convert(&text, system).map_err(|error| ConfigError::Value {
                error,
                expected: key.kind.expected(),
                place,
            })?;
            values.insert(key.name, value);
        }
        let Self { section_type, name, sections, .. } = self;
        Ok(Section { section_type, name, place, sections, values })
    }

    fn lacks(&self) -> Option<SchemaError> {
        for key in self.section_type.keys {
            if key.need == Need::Required && !self.values.contains_key(key.name) {
                return Some(SchemaError::KeyMissing(key.name));
            }
        }
        for slot in self.section_type.slots {
            let mut found =
                self.sections.iter().filter(|section| slot.accepts.fits(section.section_type.name));
            let missing = match slot.count {
                Count::One => SchemaError::SectionMissing(slot.accepts.name()),
                Count::AtLeastOne => SchemaError::NotEnough(slot.accepts.name()),
                Count::Any | Count::AtMostOne => continue,
            };
            if found.next().is_none() {
                return Some(missing);
            }
        }
        None
    }
}

/// A type that a value can be taken out as.
pub(crate) trait FromValue: Sized {
    /// `None` if the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl Section {
    /// A key's value, if the key was given.
    ///
    /// # Panics
    /// If the schema declares no such key, or another kind for it: then the program is wrong, not
    /// the configuration.
    pub(crate) fn value<T: FromValue>(&self, key: &str) -> Option<T> {
        assert!(self.section_type.key(key).is_some(), "the schema declares all keys in use");
        let value = self.values.get(key)?;
        Some(T::from_value(value).expect("the schema declares the kind under which a key is used"))
    }

    /// The value of a key that the schema requires.
    ///
    /// # Panics
    /// As [`Section::value`].
    pub(crate) fn required<T: FromValue>(&self, key: &str) -> T {
        self.value(key).expect("the reader refuses sections without their required keys")
    }
}
