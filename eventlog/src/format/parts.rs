//! The parts of a format, whatever the style in which it is written.

use super::column::Column;
use super::error::FormatError;
use crate::record::Field;

/// A part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Field(Field, Column),
}

/// A format under construction.
pub(super) struct Parts {
    pub(super) parts: Vec<Part>,
    /// Whether fields are accepted that only some records have.
    pub(super) arbitrary_fields: bool,
}

impl Parts {
    pub(super) fn literal(&mut self, literal: &str) {
        match self.parts.last_mut() {
            _ if literal.is_empty() => {}
            Some(Part::Literal(last)) => last.push_str(literal),
            _ => self.parts.push(Part::Literal(literal.to_owned())),
        }
    }

    pub(super) fn field(&mut self, field: Field, column: Column) {
        self.parts.push(Part::Field(field, column));
    }

    pub(super) fn named(&self, name: &str) -> Result<Field, FormatError> {
        match Field::named(name) {
            Some(field) => Ok(field),
            None if self.arbitrary_fields => Ok(Field::Extra(name.to_owned())),
            None => Err(FormatError::UnknownField(name.to_owned())),
        }
    }

    pub(super) fn has_fields(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(..)))
    }
}
