//! Formats as `$levelname ${message}`: the styles `template` and `safe-template`.

use super::column::Column;
use super::error::FormatError;
use super::parts::Parts;

/// With `safe`, a name that is not a field stays as it is written.
pub(super) fn parse(text: &str, safe: bool, parts: &mut Parts) -> Result<(), FormatError> {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        parts.literal(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            parts.literal("$");
            rest = after;
            continue;
        }
        let Some((name, after)) = split_name(rest) else {
            if !safe {
                return Err(FormatError::LoneDollar);
            }
            parts.literal("$");
            continue;
        };
        match parts.named(name) {
            Ok(field) => parts.field(field, Column::PLAIN),
            Err(_) if safe => {
                parts.literal("$");
                parts.literal(&rest[..rest.len() - after.len()]);
            }
            Err(error) => return Err(error),
        }
        rest = after;
    }
    parts.literal(rest);
    if safe || parts.has_fields() { Ok(()) } else { Err(FormatError::NoFields) }
}

/// A name, in braces or not, and the rest.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_later = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (inner, braced) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    if !inner.starts_with(is_first) {
        return None;
    }
    let (name, after) = inner.split_at(inner.find(|c| !is_later(c)).unwrap_or(inner.len()));
    if braced { Some((name, after.strip_prefix('}')?)) } else { Some((name, after)) }
}
