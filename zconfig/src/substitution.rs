//! `$name`, `${name}`, `$(NAME)` and `$$` in values.
//!
//! Replacements are not expanded again, so expansion always ends. A definition can use another one
//! twice, which can double the length each time, so the result has a maximum length.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::limits::VALUE_BYTES_MAX;
use crate::python::repr;

/// Why a value could not be expanded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubstitutionError {
    /// A `$` at the end.
    #[error("illegal lone '$' at end of source")]
    LoneDollar,
    /// A `$` before something that is not a name.
    #[error("'$' not followed by '$' or name")]
    NoName,
    /// `${` or `$(` before something that is not a name.
    #[error("'${0}' not followed by name")]
    NoNameAfter(char),
    /// A name without a definition, or a variable that is not set.
    #[error("no replacement for {}", repr(.0))]
    NoReplacement(String),
    /// A value longer than [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX) after substitution.
    #[error("value is longer than {VALUE_BYTES_MAX} bytes after substitution")]
    TooLong,
    /// `${name` without the closing bracket.
    #[error("'${open}{name}' not followed by '{close}'")]
    Unclosed {
        /// The bracket after the `$`: `{` or `(`.
        open: char,
        /// The name after the bracket.
        name: String,
        /// The bracket that is missing.
        close: char,
    },
}

/// The sources of replacements.
pub(crate) struct Replacements<'a> {
    /// `%define`d names, in lower case.
    pub(crate) defines: &'a BTreeMap<String, String>,
    /// Reads an environment variable.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Replacements<'_> {
    /// The text with all references replaced.
    pub(crate) fn expand(&self, text: &str) -> Result<String, SubstitutionError> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = self.replace(&rest[at + 1..], &mut expanded)?;
            if expanded.len() > VALUE_BYTES_MAX {
                return Err(SubstitutionError::TooLong);
            }
        }
        expanded.push_str(rest);
        if expanded.len() > VALUE_BYTES_MAX {
            Err(SubstitutionError::TooLong)
        } else {
            Ok(expanded)
        }
    }

    /// Replaces the reference after a `$`; returns the rest of the text.
    fn replace<'t>(
        &self,
        text: &'t str,
        expanded: &mut String,
    ) -> Result<&'t str, SubstitutionError> {
        match text.chars().next() {
            None => Err(SubstitutionError::LoneDollar),
            Some('$') => {
                expanded.push('$');
                Ok(&text[1..])
            }
            Some('{') => {
                let (name, rest) = bracketed(&text[1..], '{', '}')?;
                expanded.push_str(self.definition(name)?);
                Ok(rest)
            }
            Some('(') => {
                let (name, rest) = bracketed(&text[1..], '(', ')')?;
                let value = (self.variable)(name)
                    .ok_or_else(|| SubstitutionError::NoReplacement(name.to_owned()))?;
                expanded.push_str(&value);
                Ok(rest)
            }
            Some(_) => {
                let (name, rest) = split_name(text);
                if name.is_empty() {
                    return Err(SubstitutionError::NoName);
                }
                expanded.push_str(self.definition(name)?);
                Ok(rest)
            }
        }
    }

    fn definition(&self, name: &str) -> Result<&str, SubstitutionError> {
        let definition = self.defines.get(&name.to_lowercase());
        definition
            .map(String::as_str)
            .ok_or_else(|| SubstitutionError::NoReplacement(name.to_owned()))
    }
}

/// Whether a text can be the name of a definition.
pub(crate) fn is_name(text: &str) -> bool {
    let (name, rest) = split_name(text);
    !name.is_empty() && rest.is_empty()
}

fn bracketed(text: &str, open: char, close: char) -> Result<(&str, &str), SubstitutionError> {
    let (name, rest) = split_name(text);
    if name.is_empty() {
        return Err(SubstitutionError::NoNameAfter(open));
    }
    match rest.strip_prefix(close) {
        Some(rest) => Ok((name, rest)),
        None => Err(SubstitutionError::Unclosed { open, name: name.to_owned(), close }),
    }
}

/// Splits after the longest name, which may be empty.
fn split_name(text: &str) -> (&str, &str) {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(is_first) {
        return ("", text);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, SubstitutionError> {
        let defines = BTreeMap::from([
            ("x".to_owned(), "1$y".to_owned()),
            ("long_name".to_owned(), "/srv".to_owned()),
            ("big".to_owned(), "b".repeat(VALUE_BYTES_MAX / 2)),
        ]);
        let variable = |name: &str| (name == "HOME").then(|| "/home/zeo".to_owned());
        Replacements { defines: &defines, variable: &variable }.expand(text)
    }

    #[test]
    fn replacements_are_made_once() {
        let cases = [
            ("plain", "plain"),
            ("$x", "1$y"),
            ("${X}2", "1$y2"),
            ("$Long_Name/Data.fs", "/srv/Data.fs"),
            ("$(HOME)/a$$b", "/home/zeo/a$b"),
            ("$$$$x", "$$x"),
        ];
        for (text, expanded) in cases {
            assert_eq!(expand(text).as_deref(), Ok(expanded), "{text:?}");
        }
    }

    #[test]
    fn every_malformed_reference_has_its_message() {
        let cases = [
            ("a$", "illegal lone '$' at end of source"),
            ("$-", "'$' not followed by '$' or name"),
            ("$1", "'$' not followed by '$' or name"),
            ("${}", "'${' not followed by name"),
            ("$()", "'$(' not followed by name"),
            ("${x", "'${x' not followed by '}'"),
            ("$(x", "'$(x' not followed by ')'"),
            ("$Nope", "no replacement for 'Nope'"),
            ("$(home)", "no replacement for 'home'"),
            ("$big$big$x", "value is longer than 65536 bytes after substitution"),
        ];
        for (text, message) in cases {
            assert_eq!(expand(text).unwrap_err().to_string(), message, "{text:?}");
        }
    }
}
