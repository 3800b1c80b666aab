//! Formats as `%(levelname)-8s %(message)s`: the style `classic`.

use super::column::{Align, Column, Conversion, parse_number, parse_precision, split_while};
use super::error::FormatError;
use super::parts::Parts;

pub(super) fn parse(text: &str, parts: &mut Parts) -> Result<(), FormatError> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        parts.literal(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            parts.literal("%");
            rest = after;
        } else {
            rest = parse_field(rest, text, parts)?;
        }
    }
    parts.literal(rest);
    if parts.has_fields() { Ok(()) } else { Err(FormatError::NoField(text.to_owned())) }
}

/// Reads the field after a `%`; returns the rest after its conversion.
fn parse_field<'t>(text: &'t str, whole: &str, parts: &mut Parts) -> Result<&'t str, FormatError> {
    if text.is_empty() {
        return Err(FormatError::Incomplete);
    }
    let rest = text.strip_prefix('(').ok_or(FormatError::NoName)?;
    let (name, rest) = rest.split_once(')').ok_or(FormatError::IncompleteName)?;
    let field = parts.named(name)?;
    let (flags, rest) = split_while(rest, |c| "#0- +".contains(c));
    let (width, rest) = parse_number(rest)?;
    let (precision, rest) = parse_precision(rest)?;
    let rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    let letter = rest.chars().next().ok_or(FormatError::Incomplete)?;
    let conversion = match letter {
        's' => Conversion::Text,
        'r' | 'a' => Conversion::Quoted,
        'd' | 'i' | 'u' => Conversion::Integer,
        'f' | 'F' => Conversion::Decimal,
        conversion => {
            let index = whole.chars().count() - rest.chars().count();
            return Err(FormatError::UnsupportedConversion { conversion, index });
        }
    };
    let is_number = matches!(conversion, Conversion::Integer | Conversion::Decimal);
    let zeros = flags.contains('0') && is_number;
    let (align, fill) = match flags.contains('-') {
        true => (Align::Left, ' '),
        false if zeros => (Align::AfterSign, '0'),
        false => (Align::Right, ' '),
    };
    let signs = ['+', ' '].into_iter().find(|sign| flags.contains(*sign));
    let plus = signs.filter(|_| is_number);
    let column = Column { align, fill, plus, width, precision, conversion };
    column.check(&field, letter)?;
    parts.field(field, column);
    Ok(&rest[letter.len_utf8()..])
}
