//! Columns: the width and the notation of a field's value.

use rzeo_zconfig::python::repr;

use super::error::{FormatError, WIDTH_MAX};
use crate::record::{Field, FieldValue};

/// The width and the notation of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) align: Align,
    pub(super) fill: char,
    /// The sign of a number that is not negative.
    pub(super) plus: Option<char>,
    pub(super) width: usize,
    pub(super) precision: Option<usize>,
    pub(super) conversion: Conversion,
}

/// Where a value is filled up to the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Between a number's sign and its digits.
    AfterSign,
    /// On both sides.
    Center,
    /// After the value.
    Left,
    /// Before the value.
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    /// With a point.
    Decimal,
    /// Without.
    Integer,
    /// In quotes, if it is a text.
    Quoted,
    /// As it is.
    Text,
}

impl Column {
    /// A value as it is.
    pub(super) const PLAIN: Self = Self {
        align: Align::Right,
        fill: ' ',
        plus: None,
        width: 0,
        precision: None,
        conversion: Conversion::Text,
    };

    /// Refuses a conversion of numbers for a field with text.
    pub(super) fn check(&self, field: &Field, letter: char) -> Result<(), FormatError> {
        let wants_number = matches!(self.conversion, Conversion::Decimal | Conversion::Integer);
        if wants_number && field.is_text() {
            let field = field.name().to_owned();
            return Err(FormatError::NotNumber { conversion: letter, field });
        }
        Ok(())
    }

    pub(super) fn push(self, text: &mut String, value: &FieldValue<'_>) {
        let shown = self.show(value);
        let missing = self.width.saturating_sub(shown.chars().count());
        let fill = |text: &mut String, count| text.extend(std::iter::repeat_n(self.fill, count));
        match self.align {
            Align::AfterSign => {
                let digits = shown.trim_start_matches(['+', '-', ' ']);
                text.push_str(&shown[..shown.len() - digits.len()]);
                fill(text, missing);
                text.push_str(digits);
            }
            Align::Center => {
                fill(text, missing / 2);
                text.push_str(&shown);
                fill(text, missing - missing / 2);
            }
            Align::Left => {
                text.push_str(&shown);
                fill(text, missing);
            }
            Align::Right => {
                fill(text, missing);
                text.push_str(&shown);
            }
        }
    }

    fn show(self, value: &FieldValue<'_>) -> String {
        let number = match (self.conversion, value) {
            (Conversion::Text | Conversion::Quoted, value) => {
                let all = match value {
                    FieldValue::Text(text) if self.conversion == Conversion::Quoted => repr(text),
                    value => value.to_string(),
                };
                return match self.precision {
                    Some(precision) => all.chars().take(precision).collect(),
                    None if matches!(value, FieldValue::Text(_)) => all,
                    None => self.signed(all),
                };
            }
            (_, FieldValue::Text(text)) => return text.clone().into_owned(),
            (Conversion::Integer, FieldValue::Integer(number)) => number.to_string(),
            (Conversion::Integer, FieldValue::Float(number)) => format!("{:.0}", number.trunc()),
            (Conversion::Decimal, value) => {
                let precision = self.precision.unwrap_or(6);
                match value {
                    FieldValue::Float(number) => format!("{number:.precision$}"),
                    other if precision == 0 => other.to_string(),
                    other => format!("{other}.{}", "0".repeat(precision)),
                }
            }
        };
        self.signed(number)
    }

    fn signed(self, number: String) -> String {
        match self.plus {
            Some(sign) if !number.starts_with('-') => format!("{sign}{number}"),
            _ => number,
        }
    }
}

/// Splits off a number, 0 if there is none, and returns it with the rest.
pub(super) fn parse_number(text: &str) -> Result<(usize, &str), FormatError> {
    let (digits, rest) = split_while(text, |c| c.is_ascii_digit());
    let number = if digits.is_empty() { Ok(0) } else { digits.parse() };
    let number = number.ok().filter(|number| *number <= WIDTH_MAX).ok_or(FormatError::TooWide)?;
    Ok((number, rest))
}

/// Splits off a precision, if there is a point, and returns it with the rest.
pub(super) fn parse_precision(text: &str) -> Result<(Option<usize>, &str), FormatError> {
    match text.strip_prefix('.') {
        Some(rest) => {
            let (precision, rest) = parse_number(rest)?;
            Ok((Some(precision), rest))
        }
        None => Ok((None, text)),
    }
}

pub(super) fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}
