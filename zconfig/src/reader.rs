//! Reads a file, and the files that it includes, into a tree of sections that fits the schema.
//!
//! ```text
//! file ──► lines ──► Line ──► open, fill and close sections ──► Section
//!             ▲                  │
//!             └──── %include ◄───┘
//! ```
//!
//! A section is checked when it closes, so errors come in the order of the file, as in Python. An
//! included file can contain lines of a section that is open, but must close what it opens itself.
//! Definitions are shared by all files.
//!
//! Whatever the text, the reader ends and takes bounded memory, see [`crate::limits`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{ConfigError, DirectiveError, SchemaError};
use crate::invalid::InvalidValue;
use crate::limits::{INCLUDE_DEPTH_MAX, INCLUDES_MAX, SECTION_DEPTH_MAX};
use crate::location::Location;
use crate::open_section::OpenSection;
use crate::overrides::Overrides;
use crate::schema::Schema;
use crate::section::Section;
use crate::substitution::{Replacements, is_name};
use crate::syntax::{Line, SyntaxError, is_key};
use crate::system::System;
use crate::url::{decoded, file_path, file_url};

impl Schema {
    /// Reads the configuration in a file. An override, `section/key=value`, replaces a setting of the
    /// file.
    ///
    /// # Errors
    /// The first of anything in the file that is not ZConfig or does not fit the schema.
    pub fn read(
        &'static self,
        system: &dyn System,
        path: &Path,
        overrides: &[String],
    ) -> Result<Section, ConfigError> {
        let path = system.absolute(path);
        let whole = Some(Location::File { url: Arc::from(file_url(&path)) });
        let top = OpenSection::new(self.top, None, whole.clone(), Overrides::parse(overrides)?);
        let mut reader = Reader {
            system,
            schema: self,
            defines: BTreeMap::new(),
            open: vec![top],
            files: Vec::new(),
            included: 0,
        };
        reader.read_file(&path, None)?;
        let top = reader.open.pop().expect("a file closes only what it opened");
        top.close(whole, system)
    }
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

impl Reader<'_> {
    /// Reads all lines of a file. `included_at` is the directive that includes it.
    fn read_file(
        &mut self,
        path: &Path,
        included_at: Option<&Location>,
    ) -> Result<(), ConfigError> {
        let unreadable = |source| {
            let location = included_at.cloned();
            ConfigError::Unreadable { path: path.to_owned(), source, location }
        };
        let bytes = self.system.read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| unreadable(std::io::Error::other(error.utf8_error())))?;
        let url: Arc<str> = Arc::from(file_url(path));
        let mut location = Location::Line { url: Arc::clone(&url), line: 0 };
        let depth = self.open.len();
        self.files.push(path.to_owned());
        for (line, text) in (1..).zip(text.split_terminator('\n')) {
            location = Location::Line { url: Arc::clone(&url), line };
            self.read_line(text, depth, &location)?;
        }
        self.files.pop();
        if self.open.len() > depth {
            return Err(ConfigError::Syntax { error: SyntaxError::Unclosed, location });
        }
        Ok(())
    }

    fn read_line(
        &mut self,
        line: &str,
        depth: usize,
        location: &Location,
    ) -> Result<(), ConfigError> {
        let syntax = |error| ConfigError::Syntax { error, location: location.clone() };
        match Line::parse(line).map_err(syntax)? {
            Line::Blank => Ok(()),
            Line::Close { .. } if self.open.len() == depth => {
                Err(syntax(SyntaxError::UnexpectedEnd))
            }
            Line::Close { section_type } if section_type != self.innermost().section_type.name => {
                Err(syntax(SyntaxError::UnbalancedEnd))
            }
            Line::Close { .. } => self.close_section(location),
            Line::Define { name, value } => self.define(name, value, location),
            Line::Entry { key, value } => self.add_value(key, value, location),
            Line::Import { package } => self.import(package, location),
            Line::Include { target } => self.include(target, location),
            Line::Open { section_type, name, empty } => {
                self.open_section(&section_type, name, location)?;
                if empty { self.close_section(location) } else { Ok(()) }
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
        location: &Location,
    ) -> Result<(), ConfigError> {
        let schema_error = |error| ConfigError::Schema { error, location: Some(location.clone()) };
        let outer = self.innermost().section_type;
        let opened = self.schema.section_type(section_type, outer).map_err(schema_error)?;
        if outer.slot(opened).is_none() {
            let section_type = section_type.to_owned();
            let error =
                SchemaError::NoSlot { section_type, name, fitting: self.schema.fitting(outer) };
            return Err(schema_error(error));
        }
        if self.open.len() > SECTION_DEPTH_MAX {
            let error = DirectiveError::SectionsTooDeep;
            return Err(ConfigError::Directive { error, location: location.clone() });
        }
        let overrides = self.innermost().overrides.take_for(opened.name, name.as_deref());
        self.open.push(OpenSection::new(opened, name, Some(location.clone()), overrides));
        Ok(())
    }

    fn close_section(&mut self, location: &Location) -> Result<(), ConfigError> {
        let closing = self.open.pop().expect("only what is open is closed");
        let section = closing.close(Some(location.clone()), self.system)?;
        self.innermost().add_section(section)
    }

    fn add_value(
        &mut self,
        key: &str,
        value: &str,
        location: &Location,
    ) -> Result<(), ConfigError> {
        let value = self.expand(value, location)?;
        let section = self.innermost();
        if !is_key(key) {
            let error = InvalidValue::NotAKey(key.to_owned());
            return Err(ConfigError::Value {
                error,
                expected: None,
                location: Some(location.clone()),
            });
        }
        if section.overrides.has_key(&key.to_lowercase()) {
            return Ok(());
        }
        section.set(key, value, Some(location))
    }

    fn define(
        &mut self,
        name: String,
        value: &str,
        location: &Location,
    ) -> Result<(), ConfigError> {
        let directive = |error| ConfigError::Directive { error, location: location.clone() };
        if self.defines.get(&name).is_some_and(|defined| defined != value) {
            return Err(directive(DirectiveError::CannotRedefine(name)));
        }
        if !is_name(&name) {
            return Err(directive(DirectiveError::NotAName(name)));
        }
        let value = self.expand(value, location)?;
        self.defines.insert(name, value);
        Ok(())
    }

    fn import(&mut self, package: &str, location: &Location) -> Result<(), ConfigError> {
        let package = self.expand(package, location)?;
        if self.schema.packages.contains(&package.as_str()) {
            return Ok(());
        }
        let refused = self.schema.refused_packages.iter().find(|(name, _)| *name == package);
        let error = match refused {
            Some((_, reason)) => DirectiveError::PackageRefused(reason),
            None => DirectiveError::NoPackage(package),
        };
        Err(ConfigError::Directive { error, location: location.clone() })
    }

    fn include(&mut self, target: &str, location: &Location) -> Result<(), ConfigError> {
        let target = self.expand(target, location)?;
        let directive = |error| ConfigError::Directive { error, location: location.clone() };
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
        self.read_file(&path, Some(location))
    }

    fn expand(&self, text: &str, location: &Location) -> Result<String, ConfigError> {
        let variable = |name: &str| self.system.variable(name);
        Replacements { defines: &self.defines, variable: &variable }
            .expand(text)
            .map_err(|error| ConfigError::Substitution { error, location: location.clone() })
    }
}

/// The file that a user names, as a path or as a `file:` URL.
///
/// # Errors
/// If the text is a URL of another kind.
pub fn path_of(text: &str) -> Result<PathBuf, ConfigError> {
    let path = file_path(text).ok_or_else(|| ConfigError::NotAFile(text.to_owned()))?;
    // Only in a URL `%20` is a blank.
    Ok(if path.len() == text.len() { path.into() } else { decoded(path).into() })
}
