//! Formats of log records: `%(asctime)s %(levelname)s %(name)s %(message)s`.
//!
//! A format is read once, with the configuration, so that a mistake shows at start and not in the first
//! record. Formats are written in one of Python's styles, see [`Style`]; of each style, the conversions are
//! supported that make sense for a record. All styles become the same parts.

mod brace;
mod column;
mod error;
mod parts;
mod percent;
mod template;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

pub use self::error::FormatError;
use self::parts::{Part, Parts};
use crate::record::{Field, FieldValue, Record};

/// A format of log records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFormat {
    parts: Vec<Part>,
}

/// A format of the time of log records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat {
    /// Empty for `2003-07-08 16:49:45,896`, Python's own default.
    template: String,
}

/// How a format names its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `%(message)s`
    Classic,
    /// `{message}`
    Format,
    /// `${message}`; a name that is not a field stays as it is written.
    SafeTemplate,
    /// `${message}`
    Template,
}

impl Style {
    /// All names, for messages, in Python's order.
    pub const NAMES: &str = "'classic', 'format', 'safe-template', 'template'";

    /// The style of that name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "classic" => Self::Classic,
            "format" => Self::Format,
            "safe-template" => Self::SafeTemplate,
            "template" => Self::Template,
            _ => return None,
        })
    }

    /// The format that an empty text stands for.
    fn default_format(self) -> &'static str {
        match self {
            Self::Classic => "%(message)s",
            Self::Format => "{message}",
            Self::SafeTemplate | Self::Template => "${message}",
        }
    }
}

impl RecordFormat {
    /// The default of `<logfile>` sections, in the style `classic`.
    pub const DEFAULT: &str = r"------\n%(asctime)s %(levelname)s %(name)s %(message)s";

    /// Reads a format, with `\n`, `\t` and so on for control characters, as configuration files write them.
    /// With `arbitrary_fields`, it can name fields that only some records have.
    ///
    /// # Errors
    /// If the text is not a format of that style, or names a field that no record has.
    pub fn parse(text: &str, style: Style, arbitrary_fields: bool) -> Result<Self, FormatError> {
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
        Self::parse(Self::DEFAULT, Style::Classic, false).expect("the default format is valid")
    }
}

impl DateFormat {
    /// The default of `<eventlog>` sections.
    pub const DEFAULT: &str = "%Y-%m-%dT%H:%M:%S";

    /// Reads a `strftime` format. An empty one stands for Python's own default.
    ///
    /// # Errors
    /// If the text contains a conversion that is not supported.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let sample = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        match strtime::format(text, &sample) {
            Ok(_) => Ok(Self { template: text.to_owned() }),
            Err(_) => Err(FormatError::Date(text.to_owned())),
        }
    }

    /// Writes a time in the local time zone.
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
    use crate::level::Level;

    fn sample() -> Record<'static> {
        Record {
            time: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
            level: Level::WARNING,
            name: "ZEO.StorageServer",
            message: "hello",
            file: "app/src/lock.rs",
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
    fn records_are_formatted_as_python_does() {
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
            ("%(pathname)s %(filename)s %(module)s %(lineno)d", "app/src/lock.rs lock.rs lock 7"),
            ("%(lineno).2f %(processName)s %(funcName)s", "7.00 MainProcess (unknown function)"),
        ];
        for (format, text) in cases {
            assert_eq!(render(format), text, "{format:?}");
        }
        assert_eq!(render("%(process)d"), std::process::id().to_string());
    }

    #[test]
    fn the_defaults_are_those_of_eventlog_sections() {
        let time = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        assert_eq!(DateFormat::default().render_zoned(&time), "1970-01-01T00:00:00");
        assert_eq!(DateFormat::parse("").unwrap().render_zoned(&time), "1970-01-01 00:00:00,000");
        assert_eq!(RecordFormat::default().parts.len(), 8);
    }

    #[test]
    fn every_malformed_format_has_its_message() {
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
