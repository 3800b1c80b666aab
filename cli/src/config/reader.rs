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
use super::overrides::{Overrides, is_key};
use super::schema::{Count, Key, Need, Schema, SchemaError, SectionType};
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
    /// Where it begins; nowhere if the file does not have it.
    pub(crate) start: Option<Place>,
    /// Where it ends.
    pub(crate) place: Option<Place>,
    /// The sections in it, in order.
    pub(crate) sections: Vec<Self>,
    settings: BTreeMap<&'static str, Vec<Setting>>,
}

/// What a key of a section was set to.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The text, after substitution.
    pub(crate) text: String,
    /// What it means.
    pub(crate) value: Value,
    /// Where it stands; nowhere if it is the default.
    pub(crate) place: Option<Place>,
}

/// Reads the configuration in a file.
pub(crate) fn read(
    system: &dyn System,
    schema: &'static Schema,
    path: &Path,
    overrides: &[String],
) -> Result<Section, ConfigError> {
    let path = system.absolute(path);
    let overrides = Overrides::parse(overrides)?;
    let top = OpenSection { overrides, ..OpenSection::new(schema.top, None, None) };
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
    top.close(Some(end), system)
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
    start: Option<Place>,
    values: BTreeMap<&'static str, Vec<(String, Place)>>,
    sections: Vec<Section>,
    /// What the command line says instead.
    overrides: Overrides,
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
        let url: Arc<str> = Arc::from(file_url(path));
        let mut place = Place::Line { url: Arc::clone(&url), line: 0 };
        let depth = self.open.len();
        self.files.push(path.to_owned());
        for (line, text) in (1..).zip(text.split_terminator('\n')) {
            place = Place::Line { url: Arc::clone(&url), line };
            self.read_line(text, depth, &place)?;
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
        let outer = self.innermost().section_type;
        let opened = match outer.own_type(section_type) {
            Some(own) => own,
            None => self.schema.section_type(section_type).map_err(schema_error)?,
        };
        if outer.slot(opened).is_none() {
            let section_type = section_type.to_owned();
            let error =
                SchemaError::NoSlot { section_type, name, fitting: self.schema.fitting(outer) };
            return Err(schema_error(error));
        }
        if self.open.len() > SECTION_DEPTH_MAX {
            let error = DirectiveError::SectionsTooDeep;
            return Err(ConfigError::Directive { error, place: place.clone() });
        }
        let overrides = self.innermost().overrides.take_for(opened.name, name.as_deref());
        let opened = OpenSection::new(opened, name, Some(place.clone()));
        self.open.push(OpenSection { overrides, ..opened });
        Ok(())
    }

    fn close_section(&mut self, place: &Place) -> Result<(), ConfigError> {
        let closing = self.open.pop().expect("only what is open is closed");
        let section = closing.close(Some(place.clone()), self.system)?;
        self.innermost().add_section(section)
    }

    fn add_value(&mut self, key: &str, value: &str, place: &Place) -> Result<(), ConfigError> {
        let value = self.expand(value, place)?;
        let section = self.innermost();
        if !is_key(key) {
            let error = InvalidValue::NotAKey(key.to_owned());
            return Err(ConfigError::Value { error, expected: None, place: Some(place.clone()) });
        }
        if section.overrides.has_key(&key.to_lowercase()) {
            return Ok(());
        }
        section.set(key, value, place)
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
        if target.contains('#') {
            return Err(directive(DirectiveError::Fragment));
        }
        let Some(file) = file_path(&target) else {
            return Err(directive(DirectiveError::NotAFile(target)));
        };
        // A relative target is part of a URL too.
        let path = directory.join(decoded(file));
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
pub(crate) fn path_of(text: &str) -> Result<PathBuf, ConfigError> {
    let path = file_path(text).ok_or_else(|| ConfigError::NotAFile(text.to_owned()))?;
    // Only in a URL `%20` is a blank.
    Ok(if path.len() == text.len() { path.into() } else { decoded(path).into() })
}

/// A text with `%20` as what it stands for; anything else after a `%` stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let byte = code
            .filter(|code| first == b'%' && code.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
    fn new(section_type: &'static SectionType, name: Option<String>, start: Option<Place>) -> Self {
        Self {
            section_type,
            name,
            start,
            values: BTreeMap::new(),
            sections: Vec::new(),
            overrides: Overrides::default(),
        }
    }

    fn set(&mut self, key: &str, value: String, place: &Place) -> Result<(), ConfigError> {
        let schema_error = |error| ConfigError::Schema { error, place: Some(place.clone()) };
        let Some(known) = self.section_type.key(&key.to_lowercase()) else {
            let known = self.section_type.keys.iter().map(|key| key.name).collect();
            return Err(schema_error(SchemaError::UnknownKey { key: key.to_owned(), known }));
        };
        let values = self.values.entry(known.name).or_default();
        if !values.is_empty() && known.need != Need::Repeated {
            return Err(schema_error(SchemaError::KeyRepeated(key.to_owned())));
        }
        values.push((value, place.clone()));
        Ok(())
    }

    fn add_section(&mut self, section: Section) -> Result<(), ConfigError> {
        let place = section.place.clone();
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

    /// Checks that nothing is missing, converts the values, and checks what they have in common.
    fn close(mut self, place: Option<Place>, system: &dyn System) -> Result<Section, ConfigError> {
        for one in std::mem::take(&mut self.overrides).into_keys()? {
            self.set(one.key(), one.value.clone(), &one.place)?;
        }
        if let Some(error) = self.lacks() {
            // What the configuration as a whole lacks, it lacks nowhere in particular.
            let place = place.filter(|_| !self.section_type.name.is_empty());
            return Err(ConfigError::Schema { error, place });
        }
        let mut settings = BTreeMap::new();
        for key in self.section_type.keys {
            settings.insert(key.name, convert(key, self.values.remove(key.name), system)?);
        }
        let Self { section_type, name, start, sections, .. } = self;
        let section = Section { section_type, name, start, place, sections, settings };
        if let Some(check) = section_type.check {
            check(&section, system)?;
        }
        match section_type.refused {
            None => Ok(section),
            Some(reason) => {
                let error = SchemaError::Refused { section_type: section_type.name, reason };
                Err(ConfigError::Schema { error, place: section.place })
            }
        }
    }

    fn lacks(&self) -> Option<SchemaError> {
        for key in self.section_type.keys {
            let missing = match key.need {
                Need::Optional => continue,
                Need::Repeated => SchemaError::KeyNotEnough(key.name),
                Need::Required => SchemaError::KeyMissing(key.name),
            };
            if !self.values.contains_key(key.name) {
                return Some(missing);
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

/// What a key was set to, or its default, or nothing.
fn convert(
    key: &Key,
    texts: Option<Vec<(String, Place)>>,
    system: &dyn System,
) -> Result<Vec<Setting>, ConfigError> {
    let convert = |text: String, place| {
        let value = key.kind.convert(&text, system)?;
        Ok(Setting { text, value, place })
    };
    let Some(texts) = texts else {
        let setting = |text: &str| convert(text.to_owned(), None).expect("defaults are right");
        return Ok(key.default.map(setting).into_iter().collect());
    };
    let setting = |(text, place): (String, Place)| {
        convert(text, Some(place.clone())).map_err(|error| {
            let expected = key.kind.expected();
            ConfigError::Value { error, expected, place: Some(place) }
        })
    };
    texts.into_iter().map(setting).collect()
}

/// A type that a value can be taken out as.
pub(crate) trait FromValue: Sized {
    /// `None` if the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl Section {
    /// A section that nobody wrote: all its keys have their defaults.
    ///
    /// # Panics
    /// If the type has keys that must be there.
    pub(crate) fn unwritten(section_type: &'static SectionType, system: &dyn System) -> Self {
        OpenSection::new(section_type, None, None)
            .close(None, system)
            .expect("a section can be left out only if all in it can")
    }

    /// What a key was set to: nothing, or one text, or several if the key may be repeated.
    ///
    /// # Panics
    /// If the schema declares no such key: then the program is wrong, not the configuration.
    pub(crate) fn settings(&self, key: &str) -> &[Setting] {
        self.settings.get(key).expect("the schema declares all keys in use")
    }

    /// A key's value, if the key was given or has a default.
    ///
    /// # Panics
    /// As [`Section::settings`], and if the schema declares another kind for the key.
    pub(crate) fn value<T: FromValue>(&self, key: &str) -> Option<T> {
        self.settings(key).first().map(Setting::get)
    }

    /// All values of a key that may be repeated.
    ///
    /// # Panics
    /// As [`Section::value`].
    pub(crate) fn values<T: FromValue>(&self, key: &str) -> Vec<T> {
        self.settings(key).iter().map(Setting::get).collect()
    }

    /// The value of a key that the schema requires, or for which it has a default.
    ///
    /// # Panics
    /// As [`Section::value`].
    pub(crate) fn required<T: FromValue>(&self, key: &str) -> T {
        self.value(key).expect("the reader refuses sections without their required keys")
    }

    /// An error for which the section as a whole is to blame, with the place where it begins.
    pub(crate) fn wrong_at_start(&self, error: InvalidValue) -> ConfigError {
        ConfigError::Value { error, expected: None, place: self.start.clone() }
    }

    /// An error in a key's value that only the rest of the section shows, with the key's place.
    pub(crate) fn wrong(&self, key: &str, error: InvalidValue) -> ConfigError {
        let place = self.settings(key).iter().find_map(|setting| setting.place.clone());
        ConfigError::Value { error, expected: None, place: place.or_else(|| self.place.clone()) }
    }
}

impl Setting {
    fn get<T: FromValue>(&self) -> T {
        T::from_value(&self.value).expect("the schema declares the kind under which a key is used")
    }
}
