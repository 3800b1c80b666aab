//! Msgpack, as ZEO's peers write it, and with the options of Python's reader in ZEO.
//!
//! Arrays are read as tuples; map keys are text or bytes; bytes after the value are an error.
//! Integers have the shortest form, bytes and text are distinct, floats are doubles. Peers do not
//! send extension types, so the reader refuses them.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;
use thiserror::Error;

use crate::pickle::Sink;
use crate::pickle::emit::Unwritable;
use crate::value::{Budget, ReadLimits, Value};

/// Bytes that are not exactly one msgpack value, or that exceed the limits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The bytes end within a value.
    #[error("the value ends within the part at byte {at}")]
    Truncated {
        /// Position of the incomplete part.
        at: usize,
    },
    /// A marker that is unused, or that of an extension type.
    #[error("marker {marker:#04x} at byte {at} is not used in ZEO")]
    UnknownMarker {
        /// Value of the marker byte.
        marker: u8,
        /// Position of the marker.
        at: usize,
    },
    /// Text that is not UTF-8.
    #[error("text at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Position of the text.
        at: usize,
    },
    /// A map key that Python does not accept.
    #[error("the map key at byte {at} is neither text nor bytes, but {kind}")]
    BadKey {
        /// Position of the key.
        at: usize,
        /// Type of the key.
        kind: &'static str,
    },
    /// Values are nested too deep.
    #[error("values are nested deeper than the maximum of {limit} levels")]
    TooDeep {
        /// [`ReadLimits::depth_max`](crate::value::ReadLimits::depth_max).
        limit: u32,
    },
    /// The values take too much memory.
    #[error("values take more than the maximum of {limit} bytes of memory")]
    TooLarge {
        /// [`ReadLimits::memory_bytes_max`](crate::value::ReadLimits::memory_bytes_max).
        limit: usize,
    },
    /// There are more bytes after the value.
    #[error("{left} bytes follow the end of the value")]
    LeftOver {
        /// Number of these bytes.
        left: usize,
    },
}

/// Reads one value, which must take all of the bytes.
///
/// # Errors
/// [`Unreadable`], for malformed bytes and for those beyond the limits.
pub fn read(input: &Bytes, limits: &ReadLimits) -> Result<Value, Unreadable> {
    let mut reader = Reader { input, at: 0, budget: Budget::new(limits), limits };
    let value = reader.value(limits.depth_max)?;
    match input.len() - reader.at {
        0 => Ok(value),
        left => Err(Unreadable::LeftOver { left }),
    }
}

struct Reader<'a> {
    input: &'a Bytes,
    at: usize,
    budget: Budget,
    limits: &'a ReadLimits,
}

impl Reader<'_> {
    /// `depth` is the number of further levels that may be nested.
    fn value(&mut self, depth: u32) -> Result<Value, Unreadable> {
        let at = self.at;
        let [marker] = self.array()?;
        Ok(match marker {
            0x00..=0x7f => Value::Int(marker.into()),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f), depth)?,
            0x90..=0x9f => self.tuple(usize::from(marker & 0x0f), depth)?,
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f))?,
            0xc0 => Value::None,
            0xc2 => Value::Bool(false),
            0xc3 => Value::Bool(true),
            0xc4..=0xc6 => {
                let len = self.length(marker - 0xc4)?;
                Value::Bytes(self.input.slice(self.span(len)?))
            }
            0xca => Value::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Value::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Value::Int(u8::from_be_bytes(self.array()?).into()),
            0xcd => Value::Int(u16::from_be_bytes(self.array()?).into()),
            0xce => Value::Int(u32::from_be_bytes(self.array()?).into()),
            0xcf => unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Value::Int(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Value::Int(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Value::Int(i64::from_be_bytes(self.array()?)),
            0xd9..=0xdb => {
                let len = self.length(marker - 0xd9)?;
                self.text(len)?
            }
            0xdc | 0xdd => {
                let len = self.length(marker - 0xdc + 1)?;
                self.tuple(len, depth)?
            }
            0xde | 0xdf => {
                let len = self.length(marker - 0xde + 1)?;
                self.map(len, depth)?
            }
            0xe0..=0xff => Value::Int(marker.cast_signed().into()),
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => {
                return Err(Unreadable::UnknownMarker { marker, at });
            }
        })
    }

    fn tuple(&mut self, len: usize, depth: u32) -> Result<Value, Unreadable> {
        let depth = self.enter(len, 1, depth)?;
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(self.value(depth)?);
        }
        Ok(Value::Tuple(items))
    }

    fn map(&mut self, len: usize, depth: u32) -> Result<Value, Unreadable> {
        let depth = self.enter(len, 2, depth)?;
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            let at = self.at;
            let key = self.value(depth)?;
            if !matches!(key, Value::Str(_) | Value::Bytes(_)) {
                return Err(Unreadable::BadKey { at, kind: key.kind() });
            }
            items.push((key, self.value(depth)?));
        }
        Ok(Value::Dict(items))
    }

    /// Checks a container before its memory is allocated: the input must be long enough for its
    /// items.
    fn enter(&mut self, len: usize, each: usize, depth: u32) -> Result<u32, Unreadable> {
        let limit = self.limits.depth_max;
        let depth = depth.checked_sub(1).ok_or(Unreadable::TooDeep { limit })?;
        let count = len.saturating_mul(each);
        if count > self.input.len() - self.at {
            return Err(Unreadable::Truncated { at: self.at });
        }
        let limit = self.limits.memory_bytes_max;
        self.budget.spend_values(count).map_err(|_| Unreadable::TooLarge { limit })?;
        Ok(depth)
    }

    fn text(&mut self, len: usize) -> Result<Value, Unreadable> {
        let at = self.at;
        let span = self.span(len)?;
        let limit = self.limits.memory_bytes_max;
        self.budget.spend(len).map_err(|_| Unreadable::TooLarge { limit })?;
        let text = core::str::from_utf8(&self.input[span]);
        text.map(|text| Value::Str(String::from(text))).map_err(|_| Unreadable::NotUtf8 { at })
    }

    /// A length of one, two or four bytes.
    fn length(&mut self, log2: u8) -> Result<usize, Unreadable> {
        let at = self.at;
        match log2 {
            0 => Ok(u8::from_be_bytes(self.array()?).into()),
            1 => Ok(u16::from_be_bytes(self.array()?).into()),
            _ => usize::try_from(u32::from_be_bytes(self.array()?))
                .map_err(|_| Unreadable::Truncated { at }),
        }
    }

    fn span(&mut self, len: usize) -> Result<Range<usize>, Unreadable> {
        let start = self.at;
        match start.checked_add(len) {
            Some(end) if end <= self.input.len() => {
                self.at = end;
                Ok(start..end)
            }
            _ => Err(Unreadable::Truncated { at: start }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let rest = &self.input[self.at..];
        let (array, _) = rest.split_first_chunk().ok_or(Unreadable::Truncated { at: self.at })?;
        self.at += N;
        Ok(*array)
    }
}

fn unsigned(number: u64) -> Value {
    match i64::try_from(number) {
        Ok(number) => Value::Int(number),
        Err(_) => {
            let mut bytes = [0; 9];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            Value::BigInt(Bytes::copy_from_slice(&bytes))
        }
    }
}

pub(super) fn write(sink: &mut impl Sink, value: &Value) -> Result<(), Unwritable> {
    match value {
        Value::None => sink.put(&[0xc0]),
        Value::Bool(false) => sink.put(&[0xc2]),
        Value::Bool(true) => sink.put(&[0xc3]),
        Value::Int(number) => int(sink, *number),
        Value::BigInt(bytes) => big_int(sink, bytes)?,
        Value::Float(number) => {
            sink.put(&[0xcb]);
            sink.put(&number.to_be_bytes());
        }
        Value::Bytes(data) => bytes(sink, data)?,
        Value::Str(string) => text(sink, string)?,
        Value::Tuple(items) | Value::List(items) => {
            header(sink, items.len(), &ARRAY)?;
            items.iter().try_for_each(|item| write(sink, item))?;
        }
        Value::Dict(items) => {
            header(sink, items.len(), &MAP)?;
            for (key, value) in items {
                if !matches!(key, Value::Str(_) | Value::Bytes(_)) {
                    return Err(Unwritable::BadKey { kind: key.kind() });
                }
                write(sink, key)?;
                write(sink, value)?;
            }
        }
        Value::Opaque(_) => return Err(Unwritable::Opaque),
    }
    Ok(())
}

/// Writes a byte string.
pub(super) fn bytes(sink: &mut impl Sink, bytes: &Bytes) -> Result<(), Unwritable> {
    header(sink, bytes.len(), &BIN)?;
    sink.put_shared(bytes);
    Ok(())
}

pub(super) fn text(sink: &mut impl Sink, text: &str) -> Result<(), Unwritable> {
    header(sink, text.len(), &STR)?;
    sink.put(text.as_bytes());
    Ok(())
}

/// The markers of one kind of value, by the width of its length.
struct Markers {
    /// First marker that includes the length, and the number of these markers.
    within: Option<(u8, u8)>,
    one_byte: Option<u8>,
    two_bytes: u8,
    four_bytes: u8,
}

const BIN: Markers =
    Markers { within: None, one_byte: Some(0xc4), two_bytes: 0xc5, four_bytes: 0xc6 };
const STR: Markers =
    Markers { within: Some((0xa0, 32)), one_byte: Some(0xd9), two_bytes: 0xda, four_bytes: 0xdb };
const ARRAY: Markers =
    Markers { within: Some((0x90, 16)), one_byte: None, two_bytes: 0xdc, four_bytes: 0xdd };
const MAP: Markers =
    Markers { within: Some((0x80, 16)), one_byte: None, two_bytes: 0xde, four_bytes: 0xdf };

fn header(sink: &mut impl Sink, length: usize, markers: &Markers) -> Result<(), Unwritable> {
    if let Ok(len) = u8::try_from(length) {
        if let Some((marker, _)) = markers.within.filter(|(_, lengths)| len < *lengths) {
            sink.put(&[marker | len]);
            return Ok(());
        }
        if let Some(marker) = markers.one_byte {
            sink.put(&[marker, len]);
            return Ok(());
        }
    }
    if let Ok(len) = u16::try_from(length) {
        let [high, low] = len.to_be_bytes();
        sink.put(&[markers.two_bytes, high, low]);
        return Ok(());
    }
    let len = u32::try_from(length).map_err(|_| Unwritable::TooLong { length })?;
    sink.put(&[markers.four_bytes]);
    sink.put(&len.to_be_bytes());
    Ok(())
}

/// The narrowest form; unsigned ones are preferred.
fn int(sink: &mut impl Sink, number: i64) {
    if let Ok(number) = u64::try_from(number) {
        return unsigned_int(sink, number);
    }
    if let Ok(byte) = i8::try_from(number) {
        return if byte >= -32 {
            sink.put(&byte.to_be_bytes());
        } else {
            sink.put(&[0xd0, byte.cast_unsigned()]);
        };
    }
    if let Ok(short) = i16::try_from(number) {
        sink.put(&[0xd1]);
        sink.put(&short.to_be_bytes());
    } else if let Ok(int) = i32::try_from(number) {
        sink.put(&[0xd2]);
        sink.put(&int.to_be_bytes());
    } else {
        sink.put(&[0xd3]);
        sink.put(&number.to_be_bytes());
    }
}

fn unsigned_int(sink: &mut impl Sink, number: u64) {
    if let Ok(byte) = u8::try_from(number) {
        if byte >= 0x80 {
            sink.put(&[0xcc]);
        }
        sink.put(&[byte]);
    } else if let Ok(short) = u16::try_from(number) {
        sink.put(&[0xcd]);
        sink.put(&short.to_be_bytes());
    } else if let Ok(int) = u32::try_from(number) {
        sink.put(&[0xce]);
        sink.put(&int.to_be_bytes());
    } else {
        sink.put(&[0xcf]);
        sink.put(&number.to_be_bytes());
    }
}

fn big_int(sink: &mut impl Sink, bytes: &[u8]) -> Result<(), Unwritable> {
    match bytes {
        [low @ .., 0] if low.len() == 8 => {
            let low = low.try_into().expect("the length was just looked at");
            unsigned_int(sink, u64::from_le_bytes(low));
            Ok(())
        }
        _ => Err(Unwritable::IntTooWide { length: bytes.len() }),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_msgpack_value;

    const LIMITS: ReadLimits = ReadLimits::DEFAULT;

    fn load(bytes: &[u8]) -> Result<Value, Unreadable> {
        read(&Bytes::copy_from_slice(bytes), &LIMITS)
    }

    #[test]
    fn wide_spellings_are_read_too() {
        let spellings: &[(&[u8], Value)] = &[
            (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", Value::Int(-1)),
            (b"\xcf\0\0\0\0\0\0\0\x07", Value::Int(7)),
            (b"\xd0\x80", Value::Int(-128)),
            (b"\xca\x3f\xc0\0\0", Value::Float(1.5)),
            (b"\xdb\0\0\0\x01a", Value::text("a")),
            (b"\xc6\0\0\0\x01a", Value::Bytes(Bytes::from_static(b"a"))),
            (b"\xdd\0\0\0\x01\xc0", Value::Tuple(vec![Value::None])),
            (b"\xdf\0\0\0\0", Value::Dict(vec![])),
        ];
        for (bytes, value) in spellings {
            assert_eq!(load(bytes).as_ref(), Ok(value), "{bytes:?}");
        }
    }

    #[test]
    fn malformed_bytes_are_refused_with_the_reason() {
        use Unreadable as U;
        let cases: &[(&[u8], Unreadable)] = &[
            (b"", U::Truncated { at: 0 }),
            (b"\xa5ab", U::Truncated { at: 1 }),
            (b"\xdd\xff\xff\xff\xff\xc0", U::Truncated { at: 5 }),
            (b"\xdf\x7f\xff\xff\xff\xc0", U::Truncated { at: 5 }),
            (b"\x91\xc1", U::UnknownMarker { marker: 0xc1, at: 1 }),
            (b"\xd6\xff\0\0\0\0", U::UnknownMarker { marker: 0xd6, at: 0 }),
            (b"\xa1\xff", U::NotUtf8 { at: 1 }),
            (b"\x81\x01\x02", U::BadKey { at: 1, kind: "int" }),
            (b"\xc0\xc0\xc0", U::LeftOver { left: 2 }),
        ];
        for (bytes, error) in cases {
            assert_eq!(load(bytes).as_ref(), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn depth_and_memory_are_limited() {
        let nested = |depth| [vec![0x91; depth], vec![0xc0]].concat();
        assert!(load(&nested(128)).is_ok());
        assert_eq!(load(&nested(129)), Err(Unreadable::TooDeep { limit: 128 }));
        assert_eq!(load(&nested(1 << 20)), Err(Unreadable::TooDeep { limit: 128 }));
        let wide = [&b"\xdd\x00\x20\x00\x00"[..], &vec![0xc0; 0x20_0000]].concat();
        let limit = LIMITS.memory_bytes_max;
        assert_eq!(load(&wide), Err(Unreadable::TooLarge { limit }));
    }

    #[test]
    fn values_that_msgpack_cannot_represent_are_refused() {
        let mut out = Vec::new();
        let wide = Value::BigInt(Bytes::from_static(b"\0\0\0\0\0\0\0\0\x01"));
        assert_eq!(write(&mut out, &wide), Err(Unwritable::IntTooWide { length: 9 }));
        let by_number = Value::Dict(vec![(Value::Int(1), Value::None)]);
        assert_eq!(write(&mut out, &by_number), Err(Unwritable::BadKey { kind: "int" }));
        let reference = crate::value::Opaque::Reference(Value::None).into();
        assert_eq!(write(&mut out, &reference), Err(Unwritable::Opaque));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = load(&bytes);
        }

        #[test]
        fn what_is_written_is_read(value in any_msgpack_value()) {
            let mut bytes = Vec::new();
            write(&mut bytes, &value).unwrap();
            prop_assert_eq!(load(&bytes), Ok(value));
            prop_assert!(load(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
