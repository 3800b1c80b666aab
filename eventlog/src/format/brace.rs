//! Formats as `{levelname:<8} {message}`: the style `format`.
//!
//! Of `str.format`, what makes sense for a record is supported: no attributes, no items, no grouping of
//! digits, no exponents.

use super::column::{Align, Column, Conversion, parse_number, parse_precision};
use super::error::FormatError;
use super::parts::Parts;
use crate::record::Field;

pub(super) fn parse(text: &str, parts: &mut Parts) -> Result<(), FormatError> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        parts.literal(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            parts.literal(brace);
            rest = after;
        } else if brace == "}" {
            return Err(FormatError::LoneBrace('}'));
        } else {
            let (inner, after) = split_field(rest)?;
            parse_field(inner, parts)?;
            rest = after;
        }
    }
    parts.literal(rest);
    if parts.has_fields() { Ok(()) } else { Err(FormatError::NoFields) }
}

fn split_field(text: &str) -> Result<(&str, &str), FormatError> {
    if text.is_empty() {
        return Err(FormatError::LoneBrace('{'));
    }
    text.split_once('}').ok_or(FormatError::UnclosedBrace)
}

fn parse_field(inner: &str, parts: &mut Parts) -> Result<(), FormatError> {
    let (head, spec) = inner.split_once(':').unwrap_or((inner, ""));
    let (name, conversion) = match head.split_once('!') {
        Some((name, conversion)) => (name, Some(conversion)),
        None => (head, None),
    };
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(FormatError::Positional);
    }
    let field = parts.named(name)?;
    // A converted value is a text.
    let (is_text, text) = match conversion {
        None => (field.is_text(), Conversion::Text),
        Some("s") => (true, Conversion::Text),
        Some("r" | "a") => (true, Conversion::Quoted),
        Some(_) => return Err(FormatError::BadSpec(inner.to_owned())),
    };
    let column = parse_spec(spec, &field, is_text, text)?;
    parts.field(field, column);
    Ok(())
}

/// `[[fill]align][sign][0][width][.precision][type]`
fn parse_spec(
    spec: &str,
    field: &Field,
    is_text: bool,
    text: Conversion,
) -> Result<Column, FormatError> {
    let bad = || FormatError::BadSpec(spec.to_owned());
    let (given, rest) = parse_align(spec);
    let (plus, rest) = match rest.strip_prefix(['+', '-', ' ']) {
        Some(after) => (rest.chars().next().filter(|sign| *sign != '-'), after),
        None => (None, rest),
    };
    let (zeros, rest) = match rest.strip_prefix('0') {
        Some(after) => (true, after),
        None => (false, rest),
    };
    let (width, rest) = parse_number(rest)?;
    let (precision, rest) = parse_precision(rest)?;
    let (conversion, letter) = match rest {
        "" => (text, 's'),
        "s" if is_text => (text, 's'),
        "d" => (Conversion::Integer, 'd'),
        "f" | "F" => (Conversion::Decimal, 'f'),
        _ => return Err(bad()),
    };
    let as_number = !is_text || matches!(conversion, Conversion::Integer | Conversion::Decimal);
    let (fill, align) = match given {
        Some(given) => given,
        None if zeros && as_number => ('0', Align::AfterSign),
        None => (if zeros { '0' } else { ' ' }, if is_text { Align::Left } else { Align::Right }),
    };
    let column = Column { align, fill, plus, width, precision, conversion };
    if letter != 's' && is_text {
        return Err(FormatError::NotNumber { conversion: letter, field: field.name().to_owned() });
    }
    let is_wrong_for_text = is_text && (align == Align::AfterSign || plus.is_some());
    // A precision without a type means significant digits, which make no sense for a time.
    if is_wrong_for_text || (!is_text && letter == 's' && precision.is_some()) {
        return Err(bad());
    }
    Ok(column)
}

fn parse_align(spec: &str) -> (Option<(char, Align)>, &str) {
    let align = |c| match c {
        '<' => Some(Align::Left),
        '>' => Some(Align::Right),
        '^' => Some(Align::Center),
        '=' => Some(Align::AfterSign),
        _ => None,
    };
    let mut chars = spec.chars();
    let (first, second) = (chars.next(), chars.next());
    if let (Some(fill), Some(align)) = (first, second.and_then(align)) {
        return (Some((fill, align)), chars.as_str());
    }
    match first.and_then(align) {
        Some(align) => (Some((' ', align)), &spec[1..]),
        None => (None, spec),
    }
}
