//! Layouts of log records: `%(asctime)s %(levelname)s %(name)s %(message)s`.
//!
//! A layout is read once, when the configuration is, so that a mistake shows at start and not in the
//! first record. There are Python's ways to write one, see [`Style`], each reduced to the conversions
//! that make sense for a record. All of them become the same parts.

mod brace;
mod column;
mod percent;
mod template;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use thiserror::Error;

use self::column::{Column, WIDTH_MAX};
use super::record::{Field, FieldValue, Record};
use crate::config::repr;

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
    /// What stands after a field's name in braces.
    #[error("Invalid format specifier {}", repr(.0))]
    BadSpec(String),
    /// A date format that `strftime` does not know.
    #[error("Invalid date format {}", repr(.0))]
    Date(String),
    /// The text ends within a field.
    #[error("incomplete format")]
    Incomplete,
    /// The text ends within a field's name.
    #[error("incomplete format key")]
    IncompleteName,
    /// A brace that belongs to nothing.
    #[error("Single '{0}' encountered in format string")]
    LoneBrace(char),
    /// A dollar sign that belongs to nothing.
    #[error("invalid format: bare '$' not allowed")]
    LoneDollar,
    /// A layout that would drop the message and all else.
    #[error("Invalid format {} for '%' style", repr(.0))]
    NoField(String),
    /// The same in the other styles.
    #[error("invalid format: no fields")]
    NoFields,
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
    /// `{}` or `{0}` instead of `{name}`.
    #[error("fields have names: {{message}}, not {{}} or {{0}}")]
    Positional,
    /// A width or a precision over [`WIDTH_MAX`].
    #[error("width or precision over {WIDTH_MAX}")]
    TooWide,
    /// A brace that is not closed.
    #[error("expected '}}' before end of string")]
    UnclosedBrace,
    /// A field that Python's records do not have.
    #[error("no log record has a field {}", repr(.0))]
    UnknownField(String),
    /// A conversion that is not Python's, or makes no sense here.
    #[error(
        "unsupported format character {} ({:#x}) at index {index}",
        repr(&conversion.to_string()),
        u32::from(*conversion)
    )]
    UnsupportedConversion {
        /// The character.
        conversion: char,
        /// Its place in the layout.
        index: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(Field, Column),
}

/// How a layout names its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `%(message)s`
    Classic,
    /// `{message}`
    Format,
    /// `${message}`, and what is no field stays as it is.
    SafeTemplate,
    /// `${message}`
    Template,
}

impl Style {
    /// All names, in the order in which Python lists them.
    pub(crate) const NAMES: &str = "'classic', 'format', 'safe-template', 'template'";

    /// The style of that name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "classic" => Self::Classic,
            "format" => Self::Format,
            "safe-template" => Self::SafeTemplate,
            "template" => Self::Template,
            _ => return None,
        })
    }

    /// The layout that an empty text stands for.
    fn default_format(self) -> &'static str {
        match self {
            Self::Classic => "%(message)s",
            Self::Format => "{message}",
            Self::SafeTemplate | Self::Template => "${message}",
        }
    }
}

/// A layout under construction.
struct Parts {
    parts: Vec<Part>,
    /// Whether names that no record has of its own may be used.
    arbitrary_fields: bool,
}

impl Parts {
    fn literal(&mut self, literal: &str) {
        match self.parts.last_mut() {
            _ if literal.is_empty() => {}
            Some(Part::Literal(last)) => last.push_str(literal),
            _ => self.parts.push(Part::Literal(literal.to_owned())),
        }
    }

    fn field(&mut self, field: Field, column: Column) {
        self.parts.push(Part::Field(field, column));
    }

    fn named(&self, name: &str) -> Result<Field, FormatError> {
        match Field::named(name) {
            Some(field) => Ok(field),
            None if self.arbitrary_fields => Ok(Field::Extra(name.to_owned())),
            None => Err(FormatError::UnknownField(name.to_owned())),
        }
    }

    fn has_fields(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(..)))
    }
}

impl RecordFormat {
    /// Reads a layout as it stands in a configuration file, with `\n` and `\t` for control characters.
    pub(crate) fn parse(
        text: &str,
        style: Style,
        arbitrary_fields: bool,
    ) -> Result<Self, FormatError> {
        let escapes =
            [("\\n", "\n"), ("\\t", "\t"), ("\\b", "\x08"), ("\\f", "\x0c"), ("\\r", "\r")];
        let text = escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        let text = if text.is_empty() { style.default_format() } else { text.as_str() };
        let mut parts = Parts { parts: Vec::new(), arbitrary_fields };
        match style {
            Style::Classic => percent::parse(text, &mut parts)?,
            Style::Format => brace::parse(text, &mut parts)?,
            Style::SafeTemplate => template::parse(text, true, &mut parts)?,
            Style::Template => template::parse(text, false, &mut parts)?,
        }
        Ok(Self { parts: parts.parts })
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
                Part::Field(field, column) => column.push(&mut text, &record.field(field)),
            }
        }
        text
    }
}

impl Default for RecordFormat {
    fn default() -> Self {
        let text = r"------\n%(asctime)s %(levelname)s %(name)s %(message)s";
        Self::parse(text, Style::Classic, false).expect("the default layout is one")
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

    fn sample() -> Record<'static> {
        Record {
            time: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
            level: Level::WARNING,
            name: "ZEO.StorageServer",
            message: "hello",
            file: "host/src/lock.rs",
            line: 7,
            start: Timestamp::from_second(1_699_999_999).unwrap(),
            plain: "hello",
            fields: &[],
        }
    }

    fn render_as(style: Style, format: &str) -> String {
        let date_format = DateFormat::parse("%%").unwrap();
        let format = RecordFormat::parse(format, style, false).unwrap();
        format.render(&sample(), &date_format)
    }

    fn render(format: &str) -> String {
        render_as(Style::Classic, format)
    }

    #[test]
    fn records_are_laid_out_as_python_does() {
        let cases = [
            ("%(message)s", "hello"),
            ("", "hello"),
            ("%(asctime)s|%(levelname)s", "%|WARNING"),
            (r"a\n\t%(name)s%%", "a\n\tZEO.StorageServer%"),
            ("%(message)8s|%(message)-8s|%(message).2s|", "   hello|hello   |he|"),
            ("%(message)r %(lineno)r %(lineno)+s", "'hello' 7 7"),
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
            ("%(message)q", "unsupported format character 'q' (0x71) at index 10"),
            ("%(message)d", "%d format: a real number is required, not the text of 'message'"),
            ("no fields", "Invalid format 'no fields' for '%' style"),
            ("%(message)1001s", "width or precision over 1000"),
            ("%(created).99999999999999999999f", "width or precision over 1000"),
        ];
        for (text, message) in cases {
            let error = RecordFormat::parse(text, Style::Classic, false).unwrap_err();
            assert_eq!(error.to_string(), message, "{text:?}");
        }
        assert_eq!(DateFormat::parse("%!").unwrap_err().to_string(), "Invalid date format '%!'");
    }

    /// As `str.format` writes them.
    #[test]
    fn braces() {
        let cases = [
            ("{message}", "hello"),
            ("", "hello"),
            (r"{{{levelname:>8}}}\n{name:*^21}|", "{ WARNING}\n**ZEO.StorageServer**|"),
            ("{message:8}|{message:.2}|{message!r:<9}|", "hello   |he|'hello'  |"),
            (
                "{levelno} {levelno:5}|{levelno:05d}|{levelno:+}|{levelno:<4}|",
                "30    30|00030|+30|30  |",
            ),
            (
                "{created:.1f} {created:020.3f} {lineno:.2f}",
                "1700000000.1 0000001700000000.123 7.00",
            ),
            ("{lineno!s:>3} {lineno:=+4d}", "  7 +  7"),
        ];
        for (format, text) in cases {
            assert_eq!(render_as(Style::Format, format), text, "{format:?}");
        }
    }

    /// As `string.Template` writes them.
    #[test]
    fn templates() {
        for style in [Style::Template, Style::SafeTemplate] {
            assert_eq!(render_as(style, ""), "hello");
            assert_eq!(render_as(style, "$levelname:${message}$$ $lineno."), "WARNING:hello$ 7.");
        }
        let safe = |format| render_as(Style::SafeTemplate, format);
        assert_eq!(safe("$foo ${bar} $ ${x $message $"), "$foo ${bar} $ ${x hello $");
        assert_eq!(safe("nothing"), "nothing");
    }

    #[test]
    fn fields_of_ones_own() {
        let fields = [("client", serde_json::Value::from("h:1"))];
        let record = Record { fields: &fields, ..sample() };
        let show = |text, style| {
            let format = RecordFormat::parse(text, style, true).unwrap();
            format.render(&record, &DateFormat::default())
        };
        assert_eq!(show("%(client)s %(other)s|", Style::Classic), "h:1 |");
        assert_eq!(show("{client:>4} {message}", Style::Format), " h:1 hello");
    }

    #[test]
    fn the_other_styles_have_messages_too() {
        let cases = [
            (Style::Format, "{foo}", "no log record has a field 'foo'"),
            (Style::Format, "x", "invalid format: no fields"),
            (Style::Format, "{message", "expected '}' before end of string"),
            (Style::Format, "a}", "Single '}' encountered in format string"),
            (Style::Format, "a{", "Single '{' encountered in format string"),
            (Style::Format, "{} {0}", "fields have names: {message}, not {} or {0}"),
            (
                Style::Format,
                "{message:d}",
                "%d format: a real number is required, not the text of 'message'",
            ),
            (Style::Format, "{message:=5}", "Invalid format specifier '=5'"),
            (Style::Format, "{created:.3}", "Invalid format specifier '.3'"),
            (Style::Format, "{message!x}", "Invalid format specifier 'message!x'"),
            (Style::Template, "$foo", "no log record has a field 'foo'"),
            (Style::Template, "x", "invalid format: no fields"),
            (Style::Template, "$message $", "invalid format: bare '$' not allowed"),
            (Style::Template, "${message", "invalid format: bare '$' not allowed"),
        ];
        for (style, text, message) in cases {
            let error = RecordFormat::parse(text, style, false).unwrap_err();
            assert_eq!(error.to_string(), message, "{text:?}");
        }
    }
}
