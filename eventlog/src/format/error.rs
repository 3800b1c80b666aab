//! What can be wrong with a format.

use rzeo_zconfig::python::repr;
use thiserror::Error;

/// Maximum width of a column, and maximum number of digits.
pub(super) const WIDTH_MAX: usize = 1000;

/// Why a text is not a format of records or times.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// An invalid specification after a field's name in braces.
    #[error("Invalid format specifier {}", repr(.0))]
    BadSpec(String),
    /// A date format that `strftime` does not support.
    #[error("Invalid date format {}", repr(.0))]
    Date(String),
    /// The text ends within a field.
    #[error("incomplete format")]
    Incomplete,
    /// The text ends within a field's name.
    #[error("incomplete format key")]
    IncompleteName,
    /// A `{` or `}` that is neither doubled nor part of a field.
    #[error("Single '{0}' encountered in format string")]
    LoneBrace(char),
    /// A single dollar sign.
    #[error("invalid format: bare '$' not allowed")]
    LoneDollar,
    /// A format of the style `classic` without fields.
    #[error("Invalid format {} for '%' style", repr(.0))]
    NoField(String),
    /// A format of another style without fields.
    #[error("invalid format: no fields")]
    NoFields,
    /// `%s` instead of `%(name)s`.
    #[error("'%' not followed by '%' or a field name in parentheses")]
    NoName,
    /// A conversion of numbers for a field with text.
    #[error("%{conversion} format: a real number is required, not the text of '{field}'")]
    NotNumber {
        /// Letter of the conversion, such as `d`.
        conversion: char,
        /// Name of the field, which has text.
        field: String,
    },
    /// `{}` or `{0}` instead of `{name}`.
    #[error("fields have names: {{message}}, not {{}} or {{0}}")]
    Positional,
    /// A width or a precision over 1000.
    #[error("width or precision over {WIDTH_MAX}")]
    TooWide,
    /// A brace that is not closed.
    #[error("expected '}}' before end of string")]
    UnclosedBrace,
    /// A field that records do not have.
    #[error("no log record has a field {}", repr(.0))]
    UnknownField(String),
    /// A conversion that Python does not have, or that is not supported.
    #[error(
        "unsupported format character {} ({:#x}) at index {index}",
        repr(&conversion.to_string()),
        u32::from(*conversion)
    )]
    UnsupportedConversion {
        /// Letter of the conversion.
        conversion: char,
        /// Its position in the format.
        index: usize,
    },
}
