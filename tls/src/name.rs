//! Distinguished names, compared as OpenSSL compares them.
//!
//! Two names are the same if their canonical forms are: all text as UTF-8, in lower case (of ASCII),
//! without white space at the ends and with single blanks inside. The file name of a certificate in a
//! hashed directory comes from the same form.

use ring::digest;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::X509Name;

/// How much of a name is shown; it is the peer's text.
const SHOWN_CHARS_MAX: usize = 200;

/// A distinguished name.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    canonical: Vec<u8>,
    shown: String,
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Name {
    pub(crate) fn new(name: &X509Name<'_>) -> Self {
        let mut canonical = Vec::new();
        for rdn in name.iter_rdn() {
            let mut entries: Vec<Vec<u8>> = rdn
                .iter()
                .map(|entry| {
                    let mut body = tlv(Tag::Oid, entry.attr_type().as_bytes());
                    body.extend(canonical_value(entry.attr_value()));
                    tlv(Tag::Sequence, &body)
                })
                .collect();
            entries.sort();
            canonical.extend(tlv(Tag::Set, &entries.concat()));
        }
        Self { canonical, shown: shown(&name.to_string()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.canonical.is_empty()
    }

    /// Whether some part of it may be the name of a host.
    pub(crate) fn has_dot(&self) -> bool {
        self.canonical.contains(&b'.')
    }

    /// The number in the file names of a hashed directory.
    pub(crate) fn hash(&self) -> u32 {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.canonical);
        digest.as_ref().iter().take(4).rev().fold(0, |hash, byte| hash << 8 | u32::from(*byte))
    }

    /// The name for a log: bounded, and without control characters.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }
}

/// A peer's text for a log.
pub(crate) fn shown(text: &str) -> String {
    if text.is_empty() {
        return "(no name)".to_owned();
    }
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn canonical_value(value: &Any<'_>) -> Vec<u8> {
    match text(value) {
        Some(text) => tlv(Tag::Utf8String, &tidy(&text)),
        None => tlv(value.tag(), value.data),
    }
}

/// The text of a value as UTF-8, whichever of the old kinds of strings it is.
pub(crate) fn text(value: &Any<'_>) -> Option<Vec<u8>> {
    let data = value.data;
    match value.tag() {
        Tag::Utf8String => Some(data.to_vec()),
        Tag::PrintableString | Tag::Ia5String | Tag::VisibleString | Tag::T61String => {
            Some(data.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes())
        }
        Tag::BmpString => utf8(data.chunks(2)),
        Tag::UniversalString => utf8(data.chunks(4)),
        _ => None,
    }
}

/// UTF-8 of characters that are written as big-endian numbers.
fn utf8<'a>(chars: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let text: Option<String> = chars.map(|bytes| char::from_u32(number(bytes))).collect();
    text.map(String::into_bytes)
}

fn tidy(text: &[u8]) -> Vec<u8> {
    let blank = |byte: &u8| matches!(byte, b' ' | 9..=13);
    text.split(blank)
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_ascii_lowercase)
        .collect::<Vec<_>>()
        .join(&b' ')
}

fn tlv(tag: Tag, body: &[u8]) -> Vec<u8> {
    let constructed = if matches!(tag, Tag::Sequence | Tag::Set) { 0x20 } else { 0 };
    let mut out = vec![(tag.0 & 0x1f).to_le_bytes()[0] | constructed];
    let length = body.len().to_be_bytes();
    let used: Vec<u8> = length.iter().copied().skip_while(|byte| *byte == 0).collect();
    match (used.len(), used.first()) {
        (0, _) => out.push(0),
        (1, Some(short)) if *short < 0x80 => out.push(*short),
        (count, _) => {
            out.push(0x80 | count.to_le_bytes()[0]);
            out.extend(used);
        }
    }
    out.extend(body);
    out
}
