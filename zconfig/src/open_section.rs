//! A section under construction: what was read of it so far, and the checks when it ends.

use std::collections::BTreeMap;

use crate::error::{ConfigError, SchemaError};
use crate::invalid::InvalidValue;
use crate::location::Location;
use crate::overrides::Overrides;
use crate::section::{Count, Key, Need, Section, SectionType, Setting};
use crate::suggestion;
use crate::system::System;

/// A section whose end has not been read yet.
pub(crate) struct OpenSection {
    pub(crate) section_type: &'static SectionType,
    name: Option<String>,
    start: Option<Location>,
    values: BTreeMap<&'static str, Vec<(String, Option<Location>)>>,
    sections: Vec<Section>,
    /// The overrides that apply to it and to sections within.
    pub(crate) overrides: Overrides,
}

impl OpenSection {
    pub(crate) fn new(
        section_type: &'static SectionType,
        name: Option<String>,
        start: Option<Location>,
        overrides: Overrides,
    ) -> Self {
        let values = BTreeMap::new();
        Self { section_type, name, start, values, sections: Vec::new(), overrides }
    }

    /// Adds a value of a key.
    pub(crate) fn set(
        &mut self,
        key: &str,
        value: String,
        location: Option<&Location>,
    ) -> Result<(), ConfigError> {
        let schema_error = |error| ConfigError::Schema { error, location: location.cloned() };
        let Some(known) = self.section_type.key(&key.to_lowercase()) else {
            let known: Vec<_> = self.section_type.keys.iter().map(|key| key.name).collect();
            let suggestion = suggestion::closest(key, known.iter().copied());
            let key = key.to_owned();
            return Err(schema_error(SchemaError::UnknownKey { key, suggestion, known }));
        };
        let values = self.values.entry(known.name).or_default();
        if !values.is_empty() && known.need != Need::Repeated {
            return Err(schema_error(SchemaError::KeyRepeated(key.to_owned())));
        }
        values.push((value, location.cloned()));
        Ok(())
    }

    /// Adds a section that was closed.
    pub(crate) fn add_section(&mut self, section: Section) -> Result<(), ConfigError> {
        let location = section.end.clone();
        let slot = self
            .section_type
            .slot(section.section_type)
            .expect("the section's slot was found when it opened");
        if let Some(name) = &section.name
            && self.sections.iter().any(|other| other.name.as_ref() == Some(name))
        {
            let error = SchemaError::NameReused(name.clone());
            return Err(ConfigError::Schema { error, location });
        }
        let in_slot = |other: &&Section| slot.accepts.fits(other.section_type.name);
        let one = matches!(slot.count, Count::One | Count::AtMostOne);
        if one && self.sections.iter().find(in_slot).is_some() {
            let error = SchemaError::TooMany(slot.accepts.name());
            return Err(ConfigError::Schema { error, location });
        }
        self.sections.push(section);
        Ok(())
    }

    /// Checks that nothing is missing, converts the values, and checks what they have in common.
    pub(crate) fn close(
        mut self,
        location: Option<Location>,
        system: &dyn System,
    ) -> Result<Section, ConfigError> {
        for one in std::mem::take(&mut self.overrides).into_keys()? {
            self.set(one.key(), one.value.clone(), Some(&one.location))?;
        }
        if let Some(error) = self.lacks() {
            return Err(ConfigError::Schema { error, location });
        }
        let mut settings = BTreeMap::new();
        for key in self.section_type.keys {
            settings.insert(key.name, convert(key, self.values.remove(key.name), system)?);
        }
        let Self { section_type, name, start, sections, .. } = self;
        let section =
            Section::new(section_type, name, [start, location.clone()], sections, settings);
        if let Some(check) = section_type.check {
            check(&section, system)?;
        }
        match section_type.refused {
            None => Ok(section),
            Some(reason) => {
                let error = SchemaError::Refused { section_type: section_type.name, reason };
                Err(ConfigError::Schema { error, location })
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

impl Section {
    /// A section that is not in a file, with these values of keys as texts and the defaults of all
    /// others.
    ///
    /// # Errors
    /// As for a file with these texts.
    pub fn unwritten(
        section_type: &'static SectionType,
        texts: &[(&str, &str)],
        system: &dyn System,
    ) -> Result<Self, ConfigError> {
        let mut open = OpenSection::new(section_type, None, None, Overrides::default());
        for (key, text) in texts {
            open.set(key, (*text).to_owned(), None)?;
        }
        open.close(None, system)
    }
}

/// The values of a key, or its default, or nothing.
fn convert(
    key: &Key,
    texts: Option<Vec<(String, Option<Location>)>>,
    system: &dyn System,
) -> Result<Vec<Setting>, ConfigError> {
    let convert = |text: String, location| {
        let value = key.kind.convert(&text, system)?;
        Ok::<_, InvalidValue>(Setting { text, value, location })
    };
    let Some(texts) = texts else {
        let setting = |text| convert(text, None).expect("defaults are of their key's kind");
        return Ok(key.default.text().map(setting).into_iter().collect());
    };
    let setting = |(text, location): (String, Option<Location>)| {
        convert(text, location.clone()).map_err(|error| {
            let expected = key.kind.expected();
            ConfigError::Value { error, expected, location }
        })
    };
    texts.into_iter().map(setting).collect()
}
