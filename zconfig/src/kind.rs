//! Kinds: which texts are accepted as a value of a key, and what they become.
//!
//! The names are ZConfig's. What Python accepts is accepted, except that integers must fit into 64 bits.

use crate::address::SocketAddress;
use crate::conversions as to;
use crate::invalid::InvalidValue;
use crate::system::System;
use crate::value::Value;

/// The type of a key's value.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// ZConfig's `boolean`.
    Boolean,
    /// ZConfig's `byte-size`: a number of bytes, or of `kb`, `mb` or `gb`.
    ByteSize,
    /// A whole number within bounds.
    Count {
        /// Minimum, inclusive.
        min: u32,
        /// Maximum, inclusive.
        max: u32,
    },
    /// A type of the caller's own.
    Custom(&'static CustomKind),
    /// ZConfig's `existing-dirpath`: a path in a directory that exists.
    DirPath,
    /// ZConfig's `existing-path`.
    ExistingPath,
    /// ZConfig's `float`.
    Float,
    /// ZConfig's `inet-address`.
    InetAddress,
    /// ZConfig's `integer`.
    Integer,
    /// Integers separated by commas.
    IntegerList,
    /// A number of at least 0.
    NonNegativeFloat,
    /// An integer in octal notation, such as a file mode.
    Octal,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
    /// A path in a directory whose parent directory exists.
    ParentDirPath,
    /// A directory, or a path in a directory that exists.
    ParentDirectory,
    /// A key that is known and refused, with the reason.
    Refused(&'static str),
    /// A number of seconds, with fractions.
    Seconds,
    /// A `byte-size` within bounds.
    Size {
        /// Minimum in bytes, inclusive.
        min: u64,
        /// Maximum in bytes, inclusive.
        max: u64,
    },
    /// ZConfig's `socket-binding-address`.
    SocketBindingAddress,
    /// ZConfig's `socket-connection-address`.
    SocketConnectionAddress,
    /// ZConfig's `string`.
    Text,
    /// ZConfig's `string-list`: words separated by blanks.
    TextList,
    /// ZConfig's `time-interval`: a whole number of seconds, or of `m`, `h` or `d`.
    TimeInterval,
}

/// A type of the caller's own.
#[derive(Debug)]
pub struct CustomKind {
    /// Converts a text, usually with [`Value::custom`] and [`InvalidValue::custom`].
    pub convert: fn(&str, &dyn System) -> Result<Value, InvalidValue>,
    /// What is accepted, for the user to read, if the error does not say it.
    pub expected: Option<&'static str>,
}

impl Kind {
    /// Converts a text.
    ///
    /// # Errors
    /// If the text is not a value of this kind.
    pub fn convert(self, text: &str, system: &dyn System) -> Result<Value, InvalidValue> {
        Ok(match self {
            Self::Boolean => Value::Boolean(to::boolean(text)?),
            Self::ByteSize => Value::Size(to::byte_size(text)?),
            Self::Count { min, max } => Value::Count(to::count(text, min, max)?),
            Self::Custom(kind) => (kind.convert)(text, system)?,
            Self::DirPath => Value::Path(to::dir_path(text, system)?),
            Self::ExistingPath => Value::Path(to::existing_path(text, system)?),
            Self::Float => Value::Float(to::float(text)?),
            Self::InetAddress => Value::Address(SocketAddress::parse_inet(text)?),
            Self::Integer => Value::Integer(to::integer(text, 10)?),
            Self::IntegerList => Value::Integers(to::integer_list(text)?),
            Self::NonNegativeFloat => Value::Float(to::non_negative_float(text)?),
            Self::Octal => Value::Integer(to::integer(text, 8)?),
            Self::OneOf(words) => Value::Text(to::one_of(text, words)?),
            Self::ParentDirPath => Value::Path(to::parent_dir_path(text, system)?),
            Self::ParentDirectory => Value::Path(to::parent_directory(text, system)?),
            Self::Refused(reason) => return Err(InvalidValue::Refused(reason)),
            Self::Seconds => Value::Time(to::seconds(text)?),
            Self::Size { min, max } => Value::Size(to::size(text, min, max)?),
            Self::SocketBindingAddress => Value::Address(SocketAddress::parse(text)?),
            Self::SocketConnectionAddress => Value::Address(SocketAddress::parse_peer(text)?),
            Self::Text => Value::Text(text.to_owned()),
            Self::TextList => Value::Texts(to::words(text)),
            Self::TimeInterval => Value::Integer(to::time_interval(text)?),
        })
    }

    /// What is accepted, for the user to read, if the error does not say it.
    #[must_use]
    pub fn expected(self) -> Option<String> {
        Some(match self {
            Self::Boolean => "yes, true, on, no, false or off".to_owned(),
            Self::ByteSize => "a whole number of bytes, or of kb, mb or gb".to_owned(),
            Self::Count { min, max: u32::MAX } => format!("a whole number of at least {min}"),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::Custom(kind) => return kind.expected.map(str::to_owned),
            Self::DirPath | Self::ParentDirPath => "a path in a directory that exists".to_owned(),
            Self::ExistingPath => "a path that exists".to_owned(),
            Self::Float => "a number".to_owned(),
            Self::InetAddress => "HOST:PORT, HOST or PORT".to_owned(),
            Self::Integer => "a whole number".to_owned(),
            Self::IntegerList => "whole numbers separated by commas".to_owned(),
            Self::NonNegativeFloat => "a number of at least 0".to_owned(),
            Self::Octal => "an octal number".to_owned(),
            Self::ParentDirectory => "a directory that exists".to_owned(),
            Self::Seconds => "a number of seconds of at least 0".to_owned(),
            Self::Size { min, max: u64::MAX } => {
                format!("a number of bytes, or of kb, mb or gb: at least {min} bytes")
            }
            Self::Size { min, max } => {
                format!("a number of bytes, or of kb, mb or gb: from {min} to {max} bytes")
            }
            Self::SocketBindingAddress | Self::SocketConnectionAddress => {
                "HOST:PORT, PORT, [IPV6]:PORT, or a path with a slash".to_owned()
            }
            Self::TimeInterval => "a whole number of seconds, or of m, h or d".to_owned(),
            Self::OneOf(_) | Self::Refused(_) | Self::Text | Self::TextList => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::system::MemorySystem;

    fn convert(kind: Kind, text: &str) -> Result<Value, String> {
        let system = MemorySystem::with(&[("/dir/file", "")]);
        kind.convert(text, &system).map_err(|error| error.to_string())
    }

    fn message(kind: Kind, text: &str) -> String {
        convert(kind, text).unwrap_err()
    }

    #[test]
    fn booleans() {
        for text in ["yes", "TRUE", "On"] {
            assert_eq!(convert(Kind::Boolean, text), Ok(Value::Boolean(true)));
        }
        for text in ["no", "False", "OFF"] {
            assert_eq!(convert(Kind::Boolean, text), Ok(Value::Boolean(false)));
        }
        assert_eq!(message(Kind::Boolean, "1"), "not a valid boolean value: '1'");
        assert_eq!(message(Kind::Boolean, ""), "not a valid boolean value: ''");
    }

    #[test]
    fn numbers() {
        assert_eq!(convert(Kind::Integer, "1_000"), Ok(Value::Integer(1000)));
        assert_eq!(convert(Kind::Float, "1.5"), Ok(Value::Float(1.5)));
        assert_eq!(convert(Kind::Octal, "022"), Ok(Value::Integer(18)));
        assert_eq!(convert(Kind::IntegerList, "0, 2"), Ok(Value::Integers(vec![0, 2])));
        assert_eq!(convert(Kind::IntegerList, ""), Ok(Value::Integers(Vec::new())));
        let words = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(convert(Kind::TextList, " a\t b"), Ok(Value::Texts(words)));
        assert_eq!(message(Kind::Integer, "1.5"), "not a whole number: '1.5'");
        assert_eq!(message(Kind::Octal, "9"), "not an octal number: '9'");
        assert_eq!(message(Kind::IntegerList, "1,x"), "not a whole number: 'x'");
        assert_eq!(message(Kind::Float, "x"), "not a number: 'x'");
        let huge = "99999999999999999999";
        assert_eq!(message(Kind::Integer, huge), format!("{huge} does not fit into 64 bits"));
    }

    #[test]
    fn byte_sizes() {
        let cases = [("10", 10), ("10kb", 10_240), ("10 MB", 10 << 20), ("1_0Gb", 10 << 30)];
        for (text, size) in cases {
            assert_eq!(convert(Kind::ByteSize, text), Ok(Value::Size(size)), "{text:?}");
        }
        let cases = [
            ("10b", "not a whole number: '10b'"),
            ("1.5kb", "not a whole number: '1.5'"),
            ("10tb", "not a whole number: '10tb'"),
            ("-1", "-1 is below lower bound (0)"),
            ("9000000000000000000gb", "9000000000000000000gb does not fit into 64 bits"),
        ];
        for (text, expected) in cases {
            assert_eq!(message(Kind::ByteSize, text), expected, "{text:?}");
        }
    }

    #[test]
    fn bounded_values() {
        let count = Kind::Count { min: 1, max: 9 };
        assert_eq!(convert(count, "9"), Ok(Value::Count(9)));
        assert_eq!(message(count, "0"), "0 is below lower bound (1)");
        assert_eq!(message(count, "10"), "10 is above upper bound (9)");
        let size = Kind::Size { min: 1024, max: 2048 };
        assert_eq!(convert(size, "2kb"), Ok(Value::Size(2048)));
        assert_eq!(message(size, "1023"), "1023 is below lower bound (1024)");
        assert_eq!(message(size, "3kb"), "3072 is above upper bound (2048)");
        assert_eq!(convert(Kind::Seconds, "1.5"), Ok(Value::Time(Duration::from_millis(1500))));
        assert_eq!(convert(Kind::Seconds, "inf"), Ok(Value::Time(Duration::MAX)));
        assert_eq!(message(Kind::Seconds, "-1"), "-1 is below lower bound (0)");
        assert_eq!(message(Kind::Seconds, "nan"), "not a number: 'nan'");
        assert_eq!(convert(Kind::NonNegativeFloat, "inf"), Ok(Value::Float(f64::INFINITY)));
        assert_eq!(message(Kind::NonNegativeFloat, "-1"), "-1 is below lower bound (0)");
        let word = Kind::OneOf(&["tokio", "smol"]);
        assert_eq!(convert(word, "Smol"), Ok(Value::Text("smol".to_owned())));
        assert_eq!(message(word, "x"), "must be one of tokio, smol; found 'x'");
        assert_eq!(convert(Kind::TimeInterval, "2 m"), Ok(Value::Integer(120)));
        assert_eq!(convert(Kind::TimeInterval, "4"), Ok(Value::Integer(4)));
    }

    #[test]
    fn paths() {
        let cases = [
            ("Data.fs", "Data.fs"),
            ("/dir/Data.fs", "/dir/Data.fs"),
            ("/Data.fs", "/Data.fs"),
            ("/dir//Data.fs", "/dir//Data.fs"),
            ("~/Data.fs", "/dir/Data.fs"),
            ("~other", "~other"),
        ];
        for (text, path) in cases {
            assert_eq!(convert(Kind::DirPath, text), Ok(Value::Path(path.into())), "{text:?}");
        }
        let missing = "The directory named as part of the path /nowhere/x does not exist.";
        assert_eq!(message(Kind::DirPath, "/nowhere/x"), missing);
        assert_eq!(message(Kind::ParentDirPath, "/nowhere/x/y").replace("/y", ""), missing);
        assert_eq!(
            convert(Kind::ParentDirPath, "/dir/later/zdsock"),
            Ok(Value::Path("/dir/later/zdsock".into()))
        );
        assert_eq!(
            convert(Kind::ParentDirectory, "/dir/later"),
            Ok(Value::Path("/dir/later".into()))
        );
        assert_eq!(
            message(Kind::ParentDirectory, "/no/where"),
            "/no/where is not an existing directory"
        );
        assert_eq!(convert(Kind::ExistingPath, "/dir/file"), Ok(Value::Path("/dir/file".into())));
        assert_eq!(message(Kind::ExistingPath, "/x"), "/x is not an existing path");
    }

    #[test]
    fn kinds_of_the_callers_own() {
        static LETTER: CustomKind = CustomKind {
            convert: |text, _| {
                let letter = text.parse::<char>().map_err(InvalidValue::custom)?;
                Ok(Value::custom(letter))
            },
            expected: Some("a letter"),
        };
        let letter = Kind::Custom(&LETTER);
        assert_eq!(convert(letter, "x"), Ok(Value::custom('x')));
        assert_eq!(message(letter, "xy"), "too many characters in string");
        assert_eq!(letter.expected().as_deref(), Some("a letter"));
        assert_eq!(message(Kind::Refused("because"), "x"), "because");
    }
}
