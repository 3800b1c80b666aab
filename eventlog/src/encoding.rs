//! Encodings of log files.

use std::borrow::Cow;

/// The encoding of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// All characters, one to four bytes each.
    Utf8,
    /// The first 256 characters of Unicode, a byte each.
    Latin1,
    /// The first 128 characters of Unicode, a byte each.
    Ascii,
}

impl Encoding {
    /// The encoding of that name, which is one of Python's, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name: String = name
            .to_lowercase()
            .chars()
            .map(|c| if c == '-' || c == ' ' { '_' } else { c })
            .collect();
        match name.as_str() {
            "utf_8" | "utf8" | "u8" | "utf" | "cp65001" => Some(Self::Utf8),
            "latin_1" | "iso_8859_1" | "iso8859_1" | "8859" | "cp819" | "latin" | "latin1"
            | "l1" | "iso8859" => Some(Self::Latin1),
            "ascii" | "646" | "us_ascii" => Some(Self::Ascii),
            _ => None,
        }
    }

    /// The bytes of a text. Characters that the encoding does not have are written as `\u{20ac}`.
    pub(crate) fn encode(self, text: &str) -> Cow<'_, [u8]> {
        let last = match self {
            Self::Utf8 => return Cow::Borrowed(text.as_bytes()),
            Self::Latin1 => 0xff,
            Self::Ascii => 0x7f,
        };
        let mut bytes = Vec::with_capacity(text.len());
        for c in text.chars() {
            match u8::try_from(u32::from(c)) {
                Ok(byte) if byte <= last => bytes.push(byte),
                _ => bytes.extend_from_slice(c.escape_unicode().to_string().as_bytes()),
            }
        }
        Cow::Owned(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_an_encoding_lacks_are_escaped() {
        assert_eq!(Encoding::named("UTF-8"), Some(Encoding::Utf8));
        assert_eq!(Encoding::named("Latin-1"), Some(Encoding::Latin1));
        assert_eq!(Encoding::named("us-ascii"), Some(Encoding::Ascii));
        assert_eq!(Encoding::named("cp1252"), None);
        assert_eq!(&*Encoding::Utf8.encode("é"), "é".as_bytes());
        assert_eq!(&*Encoding::Latin1.encode("é€"), b"\xe9\\u{20ac}");
        assert_eq!(&*Encoding::Ascii.encode("aé"), b"a\\u{e9}");
    }
}
