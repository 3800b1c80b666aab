//! Layouts of log records: `%(asctime)s %(levelname)s %(name)s %(message)s`.
//!
//! A layout is read once, when the configuration is, so that a mistake shows at start and not in the
//! first record. It is what Python's `%` does with a mapping, reduced to the conversions that make
//! sense for a record: `s` and `r` for all fields, `d`, `i`, `u` and `f` for numbers.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use thiserror::Error;

use super::record::{Field, FieldValue, Record};
use crate::config::repr;

/// The widest column, and the most digits, that a layout may ask for.
const WIDTH_MAX: usize = 1000;

/// A layout of log records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordFormat {
    parts: Vec<Part>,
}

/// How a record's time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DateFormat {
    /// Empty for `2003-07-08 16:49:45,896`.
    template: String,
}

/// Why a text is no layout.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FormatError {
    /// A date format that `strftime` does not know.
    #[error("Invalid date format {}", repr(.0))]
    Date(String),
    /// The text ends within a field.
    #[error("incomplete format")]
    Incomplete,
    /// The text ends within a field's name.
    #[error("incomplete format key")]
    IncompleteName,
    /// A layout that would drop the message and all else.
    #[error("Invalid format {} for '%' style", repr(.0))]
    NoField(String),
    /// `%s` instead of `%(name)s`.
    #[error("'%' not followed by '%' or a field name in parentheses")]
    NoName,
    /// A number's conversion for a text.
    #[error("%{conversion} format: a real number is required, not the text of '{field}'")]
    NotNumber {
        /// The conversion.
        conversion: char,
        /// The field's name.
        field: String,
    },
    /// A width or a precision over [`WIDTH_MAX`].
    #[error("width or precision over {WIDTH_MAX}")]
    TooWide,
    /// A field that Python's records do not have.
    #[error("no log record has a field {}", repr(.0))]
    UnknownField(String),
    /// A conversion that is not Python's, or makes no sense here.
    #[error("unsupported format character {}", repr(&.0.to_string()))]
    UnsupportedConversion(char),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(Field, Column),
}

/// What stands between a field's name and the end of its conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    left: bool,
    zeros: bool,
    plus: Option<char>,
    width: usize,
    precision: Option<usize>,
    conversion: Conversion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conversion {
    Text,
    Integer,
    Decimal,
}

impl RecordFormat {
    /// What runzeo uses when nothing else is configured.
    pub(crate) const DEFAULT: &str = "------\n%(asctime)s %(levelname)s %(name)s %(message)s";

    /// Reads a layout as it stands in a configuration file, with `\n` and `\t` for control characters.
    pub(crate) fn parse(text: &str) -> Result<Self, FormatError> {
        let escapes =
            [("\\n", "\n"), ("\\t", "\t"), ("\\b", "\x08"), ("\\f", "\x0c"), ("\\r", "\r")];
        let text = escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        let text = if text.is_empty() { "%(message)s".to_owned() } else { text };
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('%') {
            push_literal(&mut parts, &rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                push_literal(&mut parts, "%");
                rest = after;
            } else {
                let (field, column, after) = parse_field(rest)?;
                parts.push(Part::Field(field, column));
                rest = after;
            }
        }
        push_literal(&mut parts, rest);
        if parts.iter().any(|part| matches!(part, Part::Field(..))) {
            Ok(Self { parts })
        } else {
            Err(FormatError::NoField(text))
        }
    }

    /// Writes a record, without a final newline.
    pub(crate) fn render(&self, record: &Record<'_>, date_format: &DateFormat) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Field(Field::AscTime, column) => {
                    let time = FieldValue::Text(date_format.render(record.time).into());
                    column.push(&mut text, &time);
                }
                Part::Field(field, column) => column.push(&mut text, &record.field(*field)),
            }
        }
        text
    }
}

impl Default for RecordFormat {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("the default layout is one")
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &str) {
    match parts.last_mut() {
        _ if literal.is_empty() => {}
        Some(Part::Literal(last)) => last.push_str(literal),
        _ => parts.push(Part::Literal(literal.to_owned())),
    }
}

/// Reads what stands after a `%`; returns what stands after the conversion.
fn parse_field(text: &str) -> Result<(Field, Column, &str), FormatError> {
    if text.is_empty() {
        return Err(FormatError::Incomplete);
    }
    let rest = text.strip_prefix('(').ok_or(FormatError::NoName)?;
    let (name, rest) = rest.split_once(')').ok_or(FormatError::IncompleteName)?;
    let field = Field::named(name).ok_or_else(|| FormatError::UnknownField(name.to_owned()))?;
    let (flags, rest) = split_while(rest, |c| "#0- +".contains(c));
    let (width, rest) = parse_number(rest)?;
    let (precision, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (precision, rest) = parse_number(rest)?;
            (Some(precision), rest)
        }
        None => (None, rest),
    };
    let rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    let letter = rest.chars().next().ok_or(FormatError::Incomplete)?;
    let conversion = match letter {
        's' | 'r' => Conversion::Text,
        'd' | 'i' | 'u' => Conversion::Integer,
        'f' | 'F' => Conversion::Decimal,
        other => return Err(FormatError::UnsupportedConversion(other)),
    };
    if conversion != Conversion::Text && !field.is_number() {
        return Err(FormatError::NotNumber { conversion: letter, field: name.to_owned() });
    }
    let column = Column {
        left: flags.contains('-'),
        zeros: flags.contains('0'),
        plus: ['+', ' '].into_iter().find(|sign| flags.contains(*sign)),
        width,
        precision,
        conversion,
    };
    Ok((field, column, &rest[letter.len_utf8()..]))
}

fn parse_number(text: &str) -> Result<(usize, &str), FormatError> {
    let (digits, rest) = split_while(text, |c| c.is_ascii_digit());
    let number = if digits.is_empty() { Ok(0) } else { digits.parse() };
    let number = number.ok().filter(|number| *number <= WIDTH_MAX).ok_or(FormatError::TooWide)?;
    Ok((number, rest))
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

impl Column {
    fn push(self, text: &mut String, value: &FieldValue<'_>) {
        let shown = self.show(value);
        let blanks = self.width.saturating_sub(shown.chars().count());
        if self.left {
            text.push_str(&shown);
            text.extend(std::iter::repeat_n(' ', blanks));
        } else if self.zeros && self.conversion != Conversion::Text {
            let (sign, digits) = split_while(&shown, |c| "+- ".contains(c));
            text.push_str(sign);
            text.extend(std::iter::repeat_n('0', blanks));
            text.push_str(digits);
        } else {
            text.extend(std::iter::repeat_n(' ', blanks));
            text.push_str(&shown);
        }
    }

    fn show(self, value: &FieldValue<'_>) -> String {
        let number = match (self.conversion, value) {
            (Conversion::Text, value) => {
                let all = value.to_string();
                return match self.precision {
                    Some(precision) => all.chars().take(precision).collect(),
                    None => all,
                };
            }
            (_, FieldValue::Text(text)) => return text.clone().into_owned(),
            (Conversion::Integer, FieldValue::Integer(number)) => number.to_string(),
            (Conversion::Integer, FieldValue::Float(number)) => format!("{:.0}", number.trunc()),
            (Conversion::Decimal, value) => {
                let precision = self.precision.unwrap_or(6);
                match value {
                    FieldValue::Float(number) => format!("{number:.precision$}"),
                    other => format!("{other}.{}", "0".repeat(precision)),
                }
            }
        };
        match self.plus {
            Some(sign) if !number.starts_with('-') => format!("{sign}{number}"),
            _ => number,
        }
    }
}

impl DateFormat {
    /// What runzeo uses when nothing else is configured.
    pub(crate) const DEFAULT: &str = "%Y-%m-%dT%H:%M:%S";

    /// Checks a `strftime` format. An empty one stands for Python's own.
    pub(crate) fn parse(text: &str) -> Result<Self, FormatError> {
        let sample = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        match strtime::format(text, &sample) {
            Ok(_) => Ok(Self { template: text.to_owned() }),
            Err(_) => Err(FormatError::Date(text.to_owned())),
        }
    }

    /// Writes a time, local to the server.
    fn render(&self, time: Timestamp) -> String {
        self.render_zoned(&time.to_zoned(TimeZone::system()))
    }

    fn render_zoned(&self, time: &Zoned) -> String {
        let template =
            if self.template.is_empty() { "%Y-%m-%d %H:%M:%S,%3f" } else { self.template.as_str() };
        strtime::format(template, time).unwrap_or_else(|_| time.timestamp().to_string())
    }
}

impl Default for DateFormat {
    fn default() -> Self {
        Self { template: Self::DEFAULT.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::Level;

    fn render(format: &str) -> String {
        let record = Record {
            time: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
            level: Level::WARNING,
            name: "ZEO.StorageServer",
            message: "hello",
            file: "host/src/lock.rs",
            line: 7,
            start: Timestamp::from_second(1_699_999_999).unwrap(),
        };
        let date_format = DateFormat::parse("%%").unwrap();
        RecordFormat::parse(format).unwrap().render(&record, &date_format)
    }

    #[test]
    fn records_are_laid_out_as_python_does() {
        let cases = [
            ("%(message)s", "hello"),
            ("", "hello"),
            ("%(asctime)s|%(levelname)s", "%|WARNING"),
            (r"a\n\t%(name)s%%", "a\n\tZEO.StorageServer%"),
            ("%(message)8s|%(message)-8s|%(message).2s|", "   hello|hello   |he|"),
            ("%(levelno)d %(levelno)05d %(levelno)+d %(levelno)s", "30 00030 +30 30"),
            ("%(created)f %(created).1f %(created)d", "1700000000.123456 1700000000.1 1700000000"),
            ("%(msecs)03d %(relativeCreated)d", "123 1123"),
            ("%(pathname)s %(filename)s %(module)s %(lineno)d", "host/src/lock.rs lock.rs lock 7"),
            ("%(lineno).2f %(processName)s %(funcName)s", "7.00 MainProcess (unknown function)"),
        ];
        for (format, text) in cases {
            assert_eq!(render(format), text, "{format:?}");
        }
        assert_eq!(render("%(process)d"), std::process::id().to_string());
    }

    #[test]
    fn the_defaults_are_runzeos() {
        let time = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        assert_eq!(DateFormat::default().render_zoned(&time), "1970-01-01T00:00:00");
        assert_eq!(DateFormat::parse("").unwrap().render_zoned(&time), "1970-01-01 00:00:00,000");
        assert_eq!(RecordFormat::default().parts.len(), 8);
    }

    #[test]
    fn every_malformed_layout_has_its_message() {
        let cases = [
            ("%(foo)s", "no log record has a field 'foo'"),
            ("%s", "'%' not followed by '%' or a field name in parentheses"),
            ("%", "incomplete format"),
            ("%(message)", "incomplete format"),
            ("%(message", "incomplete format key"),
            ("%(message)q", "unsupported format character 'q'"),
            ("%(message)d", "%d format: a real number is required, not the text of 'message'"),
            ("no fields", "Invalid format 'no fields' for '%' style"),
            ("%(message)1001s", "width or precision over 1000"),
            ("%(created).99999999999999999999f", "width or precision over 1000"),
        ];
        for (text, message) in cases {
            assert_eq!(RecordFormat::parse(text).unwrap_err().to_string(), message, "{text:?}");
        }
        assert_eq!(DateFormat::parse("%!").unwrap_err().to_string(), "Invalid date format '%!'");
    }
}
