//! The lines of a ZConfig file.
//!
//! The syntax has no continuation lines and no trailing comments, so [`Line::parse`] can read each line
//! alone. Types, names and keys come out in lower
//! case, values as they stand, before substitution.

use thiserror::Error;

use crate::python::{is_space, repr, strip};

/// One line of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A blank line or a comment.
    Blank,
    /// `</TYPE>`
    Close {
        /// The type, in lower case.
        section_type: String,
    },
    /// `%define NAME VALUE`
    Define {
        /// In lower case; not checked yet.
        name: String,
        /// The rest of the line.
        value: &'a str,
    },
    /// `KEY VALUE`
    Entry {
        /// As written; not checked yet.
        key: &'a str,
        /// The rest of the line.
        value: &'a str,
    },
    /// `%import PACKAGE`
    Import {
        /// The rest of the line.
        package: &'a str,
    },
    /// `%include URL`
    Include {
        /// The rest of the line.
        target: &'a str,
    },
    /// `<TYPE NAME>`, or `<TYPE NAME/>` which closes the section at once.
    Open {
        /// In lower case.
        section_type: String,
        /// In lower case.
        name: Option<String>,
        /// Whether the section ends here.
        empty: bool,
    },
}

/// Why a line, or the nesting of sections, is not ZConfig.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// `</zeo` without the bracket.
    #[error("malformed section end")]
    MalformedEnd,
    /// A line that starts with a parenthesis.
    #[error("malformed configuration data")]
    MalformedEntry,
    /// `<>`, `<a b c>`, `<a(b)>`.
    #[error("malformed section header")]
    MalformedHeader,
    /// `<zeo` without the bracket.
    #[error("malformed section start")]
    MalformedStart,
    /// A directive without an argument.
    #[error("missing argument to %{0} directive")]
    MissingArgument(String),
    /// `%` without a directive.
    #[error("missing or unrecognized directive")]
    MissingDirective,
    /// The end of a section that is not the innermost.
    #[error("unbalanced section end")]
    UnbalancedEnd,
    /// A section without an end in its file.
    #[error("unclosed sections not allowed")]
    Unclosed,
    /// An end without a start in its file.
    #[error("unexpected section end")]
    UnexpectedEnd,
    /// `%` with a word that is not a directive.
    #[error("unknown directive: {}", repr(.0))]
    UnknownDirective(String),
}

impl<'a> Line<'a> {
    pub(crate) fn parse(line: &'a str) -> Result<Self, SyntaxError> {
        let line = strip(line);
        if line.is_empty() || line.starts_with('#') {
            return Ok(Line::Blank);
        }
        if let Some(rest) = line.strip_prefix("</") {
            let rest = rest.strip_suffix('>').ok_or(SyntaxError::MalformedEnd)?;
            let section_type = rest.trim_end_matches(is_space).to_lowercase();
            return Ok(Line::Close { section_type });
        }
        if let Some(rest) = line.strip_prefix('<') {
            return parse_header(rest.strip_suffix('>').ok_or(SyntaxError::MalformedStart)?);
        }
        if let Some(rest) = line.strip_prefix('%') {
            return parse_directive(rest);
        }
        let (key, value) = split_entry(line).ok_or(SyntaxError::MalformedEntry)?;
        Ok(Line::Entry { key, value })
    }
}

fn parse_header<'a>(header: &str) -> Result<Line<'a>, SyntaxError> {
    let (header, empty) = match header.strip_suffix('/') {
        Some(header) => (header, true),
        None => (header, false),
    };
    let header = header.trim_end_matches(is_space);
    let (section_type, name) = match header.split_once(is_space) {
        Some((section_type, name)) => (section_type, Some(name.trim_start_matches(is_space))),
        None => (header, None),
    };
    let is_word = |text: &str| !text.is_empty() && text.chars().all(is_word_character);
    if !is_word(section_type) || !name.is_none_or(is_word) {
        return Err(SyntaxError::MalformedHeader);
    }
    Ok(Line::Open {
        section_type: section_type.to_lowercase(),
        name: name.map(str::to_lowercase),
        empty,
    })
}

fn parse_directive(rest: &str) -> Result<Line<'_>, SyntaxError> {
    let (directive, argument) = split_entry(rest).ok_or(SyntaxError::MissingDirective)?;
    if !["define", "import", "include"].contains(&directive) {
        return Err(SyntaxError::UnknownDirective(directive.to_owned()));
    }
    if argument.is_empty() {
        return Err(SyntaxError::MissingArgument(directive.to_owned()));
    }
    Ok(match directive {
        "import" => Line::Import { package: argument },
        "include" => Line::Include { target: argument },
        _ => {
            let (name, value) = argument.split_once(is_space).unwrap_or((argument, ""));
            Line::Define { name: name.to_lowercase(), value: value.trim_start_matches(is_space) }
        }
    })
}

/// `KEY VALUE`, where a parenthesis ends the key too. `None` without a key.
fn split_entry(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c| !is_word_character(c)).unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_start_matches(is_space)))
}

fn is_word_character(c: char) -> bool {
    !is_space(c) && c != '(' && c != ')'
}

/// Whether a text can be the name of a key or a section: ZConfig's `basic-key`.
pub(crate) fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(section_type: &str, name: Option<&str>, empty: bool) -> Line<'static> {
        Line::Open { section_type: section_type.to_owned(), name: name.map(str::to_owned), empty }
    }

    #[test]
    fn lines_are_understood() {
        let cases = [
            ("", Line::Blank),
            ("  # <zeo>", Line::Blank),
            ("<ZEO>", open("zeo", None, false)),
            ("<mappingstorage  Main >", open("mappingstorage", Some("main"), false)),
            ("<mappingstorage 1/>", open("mappingstorage", Some("1"), true)),
            ("<mappingstorage x/ />", open("mappingstorage", Some("x/"), true)),
            ("<mappingstorage x/ >", open("mappingstorage", Some("x/"), false)),
            ("</Zeo >\r", Line::Close { section_type: "zeo".to_owned() }),
            ("</>", Line::Close { section_type: String::new() }),
            ("path  a b ", Line::Entry { key: "path", value: "a b" }),
            ("read-only true # x", Line::Entry { key: "read-only", value: "true # x" }),
            ("x(", Line::Entry { key: "x", value: "(" }),
            ("path", Line::Entry { key: "path", value: "" }),
            ("%define A  b c", Line::Define { name: "a".to_owned(), value: "b c" }),
            ("%define A", Line::Define { name: "a".to_owned(), value: "" }),
            ("%include ./x", Line::Include { target: "./x" }),
            ("%import ZODB", Line::Import { package: "ZODB" }),
        ];
        for (text, line) in cases {
            assert_eq!(Line::parse(text), Ok(line), "{text:?}");
        }
    }

    #[test]
    fn every_way_to_be_malformed_has_its_message() {
        let cases = [
            ("<zeo", "malformed section start"),
            ("<", "malformed section start"),
            ("</zeo", "malformed section end"),
            ("<>", "malformed section header"),
            ("< zeo>", "malformed section header"),
            ("<a b c>", "malformed section header"),
            ("<a(b)>", "malformed section header"),
            ("(x) y", "malformed configuration data"),
            ("%", "missing or unrecognized directive"),
            ("%foo bar", "unknown directive: 'foo'"),
            ("%Define a b", "unknown directive: 'Define'"),
            ("%include", "missing argument to %include directive"),
        ];
        for (text, message) in cases {
            assert_eq!(Line::parse(text).unwrap_err().to_string(), message, "{text:?}");
        }
    }
}
