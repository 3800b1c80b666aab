//! Python's notation, where configuration files and messages depend on it.
//!
//! ZConfig files contain numbers such as `1_000` and `1e3`, and ZConfig's messages contain quoted text:
//! `not a valid boolean value: '1'`. Numbers are read as `int()` and `float()` read them, and quoted text
//! looks as `repr()` writes it. Digits are ASCII; Python also accepts those of other scripts.

use std::fmt::Write as _;

/// Whether `str.strip()` and the regular expression `\s` take a character for a blank.
#[must_use]
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// A text without blanks around it: `str.strip()`.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// A text in quotes: `repr()` of a string.
#[must_use]
pub fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for c in text.chars() {
        push_escaped(&mut quoted, c, quote);
    }
    quoted.push(quote);
    quoted
}

fn push_escaped(quoted: &mut String, c: char, quote: char) {
    let code = u32::from(c);
    let written = match c {
        '\\' => write!(quoted, "\\\\"),
        '\n' => write!(quoted, "\\n"),
        '\r' => write!(quoted, "\\r"),
        '\t' => write!(quoted, "\\t"),
        c if c == quote => write!(quoted, "\\{c}"),
        c if c.is_control() && code <= 0xff => write!(quoted, "\\x{code:02x}"),
        '\u{feff}' | '\u{2028}' | '\u{2029}' => write!(quoted, "\\u{code:04x}"),
        c => write!(quoted, "{c}"),
    };
    written.expect("writing to a string cannot fail");
}

/// Why a text is not an integer of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAnInteger {
    /// Python does not accept the text either.
    Malformed,
    /// Python accepts the text; its integers have no maximum.
    TooLarge,
}

/// Reads an integer as `int(text, base)` does.
///
/// # Errors
/// If the text is not an integer, or does not fit into 64 bits.
pub fn int(text: &str, base: u32) -> Result<i64, NotAnInteger> {
    let text = strip(text);
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (&text[..1], digits),
        None => ("", text),
    };
    let digits = without_underscores(digits).ok_or(NotAnInteger::Malformed)?;
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(NotAnInteger::Malformed);
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).map_err(|_| NotAnInteger::TooLarge)
}

/// Reads a number as `float(text)` does; `None` if the text is not one.
#[must_use]
pub fn float(text: &str) -> Option<f64> {
    without_underscores(strip(text))?.parse().ok()
}

/// The text without single underscores between digits; any other underscore is an error.
fn without_underscores(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('_') {
        let before = rest[..at].chars().next_back();
        let after = rest[at + 1..].chars().next();
        if ![before, after].iter().all(|c| c.is_some_and(|c| c.is_ascii_digit())) {
            return None;
        }
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_python_does() {
        let cases = [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("'\"", "'\\'\"'"),
            ("a\tb\u{1}", "'a\\tb\\x01'"),
            ("\u{feff}<zeo>", "'\\ufeff<zeo>'"),
            ("é\\", "'é\\\\'"),
        ];
        for (text, quoted) in cases {
            assert_eq!(repr(text), quoted);
        }
    }

    #[test]
    fn integers_are_pythons() {
        for (text, value) in [("1", 1), (" -12 ", -12), ("+1_000", 1000), ("007", 7)] {
            assert_eq!(int(text, 10), Ok(value), "{text:?}");
        }
        for text in ["", "1__0", "_1", "1_", "1.5", "0x10", "- 1", "+", "1 2", "é"] {
            assert_eq!(int(text, 10), Err(NotAnInteger::Malformed), "{text:?}");
        }
        assert_eq!(int("99999999999999999999", 10), Err(NotAnInteger::TooLarge));
        assert_eq!(int("-9223372036854775808", 10), Ok(i64::MIN));
        assert_eq!(int("022", 8), Ok(18));
        assert_eq!(int("9", 8), Err(NotAnInteger::Malformed));
    }

    #[test]
    fn floats_are_pythons() {
        for (text, value) in [
            ("1", 1.0),
            (" 1.5e3 ", 1500.0),
            (".5", 0.5),
            ("1_0.2_5", 10.25),
            ("-inf", -f64::INFINITY),
        ] {
            assert_eq!(float(text), Some(value), "{text:?}");
        }
        assert!(float("nan").is_some_and(f64::is_nan));
        for text in ["", "x", "1_.5", "_1", "1 2", "1,5", "0x1"] {
            assert_eq!(float(text), None, "{text:?}");
        }
    }
}
