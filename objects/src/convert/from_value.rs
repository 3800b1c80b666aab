//! The deserializer that reads Python values.

use alloc::format;
use core::cell::Cell;

use serde_core::de::value::SeqDeserializer;
use serde_core::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde_core::forward_to_deserialize_any;

use super::limits::{DEPTH_MAX, VALUES_MAX};
use super::reference;
use crate::convert_error::ConvertError;
use crate::value::{PyValue, View};

/// Converts a value.
pub(super) fn deserialize<T: DeserializeOwned>(value: &PyValue) -> Result<T, ConvertError> {
    let left = Cell::new(VALUES_MAX);
    T::deserialize(FromValue { value, depth: DEPTH_MAX, left: &left })
}

/// Reads one value.
#[derive(Clone, Copy)]
struct FromValue<'v> {
    value: &'v PyValue,
    /// Number of further levels that may be nested.
    depth: u32,
    /// Number of further values that may be read, those that are shared as often as they occur.
    left: &'v Cell<u32>,
}

impl FromValue<'_> {
    /// The depth of `count` items.
    fn below(self, count: usize) -> Result<u32, ConvertError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let left = self.left.get().checked_sub(count);
        self.left.set(left.ok_or(ConvertError::too_many(VALUES_MAX))?);
        self.depth.checked_sub(1).ok_or(ConvertError::too_deep(DEPTH_MAX))
    }

    fn sequence<'de, V: Visitor<'de>>(
        self,
        items: &[PyValue],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let depth = self.below(items.len())?;
        let mut items = Sequence { items: items.iter().enumerate(), depth, left: self.left };
        let value = visitor.visit_seq(&mut items)?;
        match items.items.len() {
            0 => Ok(value),
            rest => Err(ConvertError::new(format!("there are {rest} items too many"))),
        }
    }

    fn dict<'de, V: Visitor<'de>>(
        self,
        items: &[(PyValue, PyValue)],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let depth = self.below(2 * items.len())?;
        visitor.visit_map(Dict { items: items.iter(), next: None, depth, left: self.left })
    }

    fn unexpected(self, expected: &dyn de::Expected) -> ConvertError {
        de::Error::custom(format!("it is {}, expected {expected}", kind(self.value)))
    }
}

/// What a value is, for messages.
fn kind(value: &PyValue) -> &'static str {
    match value.view() {
        View::None => "None",
        View::Bool(_) => "a bool",
        View::Int(_) | View::BigInt(_) => "an int",
        View::Float(_) => "a float",
        View::Bytes(_) => "bytes",
        View::Text(_) => "a str",
        View::Tuple(_) => "a tuple",
        View::List(_) => "a list",
        View::Dict(_) => "a dict",
        View::Class(_) => "a class",
        View::Reference(_) => "a reference to an object",
        View::Object => "an object of a class that does not convert",
    }
}

/// The number that little-endian two's complement bytes of up to 16 bytes, and one for the sign, are.
fn wide(bytes: &[u8]) -> Option<Wide> {
    let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 16];
    let (low, high) = bytes.split_at(bytes.len().min(16));
    wide[..low.len()].copy_from_slice(low);
    match high {
        [] => Some(Wide::Signed(i128::from_le_bytes(wide))),
        [0] => Some(Wide::Unsigned(u128::from_le_bytes(wide))),
        _ => None,
    }
}

enum Wide {
    Signed(i128),
    Unsigned(u128),
}

impl<'de> Deserializer<'de> for FromValue<'_> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.value.view() {
            View::None => visitor.visit_unit(),
            View::Bool(truth) => visitor.visit_bool(truth),
            View::Int(int) => visitor.visit_i64(int),
            View::BigInt(bytes) => match wide(bytes) {
                Some(Wide::Signed(int)) => match u64::try_from(int) {
                    Ok(int) => visitor.visit_u64(int),
                    Err(_) => visitor.visit_i128(int),
                },
                Some(Wide::Unsigned(int)) => visitor.visit_u128(int),
                None => Err(ConvertError::new("an int of more than 128 bits")),
            },
            View::Float(float) => visitor.visit_f64(float),
            View::Bytes(bytes) => visitor.visit_bytes(bytes),
            View::Text(text) => visitor.visit_str(text),
            View::Tuple(items) | View::List(items) => self.sequence(&items, visitor),
            View::Dict(items) => self.dict(&items, visitor),
            View::Class(_) | View::Reference(_) | View::Object => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if self.value.is_none() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.value.view() {
            View::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        if name != reference::NAME {
            return visitor.visit_newtype_struct(self);
        }
        let View::Reference(reference) = self.value.view() else {
            return Err(self.unexpected(&visitor));
        };
        let parts = reference::to_parts(reference);
        visitor.visit_newtype_struct(FromValue { value: &parts, ..self })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        match self.value.view() {
            View::Text(variant) => visitor.visit_enum(variant.into_deserializer()),
            View::Dict(items) => match &*items {
                [(variant, content)] => {
                    let content =
                        FromValue { value: content, depth: self.below(1)?, left: self.left };
                    visitor.visit_enum(Variant { variant, content })
                }
                items => Err(ConvertError::new(format!(
                    "it is a dict of {} items, expected one of a single item, the name of a variant",
                    items.len()
                ))),
            },
            _ => Err(self.unexpected(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map struct identifier
    }
}

/// The items of a list or tuple.
struct Sequence<'v> {
    items: core::iter::Enumerate<core::slice::Iter<'v, PyValue>>,
    depth: u32,
    left: &'v Cell<u32>,
}

impl<'de> SeqAccess<'de> for Sequence<'_> {
    type Error = ConvertError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConvertError> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        let item = seed.deserialize(FromValue { value, depth: self.depth, left: self.left });
        item.map(Some).map_err(|error| error.in_item(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The items of a dict.
struct Dict<'v> {
    items: core::slice::Iter<'v, (PyValue, PyValue)>,
    /// The item whose value comes next.
    next: Option<&'v (PyValue, PyValue)>,
    depth: u32,
    left: &'v Cell<u32>,
}

impl<'de> MapAccess<'de> for Dict<'_> {
    type Error = ConvertError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ConvertError> {
        self.next = self.items.next();
        let Some((key, _)) = self.next else { return Ok(None) };
        seed.deserialize(FromValue { value: key, depth: self.depth, left: self.left }).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, ConvertError> {
        let (key, value) = self.next.take().ok_or(ConvertError::new("a value before its key"))?;
        let value = seed.deserialize(FromValue { value, depth: self.depth, left: self.left });
        value.map_err(|error| match key.as_text() {
            Some(key) => error.in_key(key),
            None => error.in_key(format!("{key:?}")),
        })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// A variant with its content.
struct Variant<'v> {
    variant: &'v PyValue,
    content: FromValue<'v>,
}

impl<'v, 'de> EnumAccess<'de> for Variant<'v> {
    type Error = ConvertError;
    type Variant = Content<'v>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content<'v>), ConvertError> {
        let name = seed.deserialize(FromValue { value: self.variant, ..self.content })?;
        Ok((name, Content { variant: self.variant, content: self.content }))
    }
}

/// What a variant contains.
struct Content<'v> {
    variant: &'v PyValue,
    content: FromValue<'v>,
}

impl Content<'_> {
    fn named<T>(&self, result: Result<T, ConvertError>) -> Result<T, ConvertError> {
        result.map_err(|error| match self.variant.as_text() {
            Some(name) => error.in_key(name),
            None => error,
        })
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = ConvertError;

    fn unit_variant(self) -> Result<(), ConvertError> {
        self.named(de::Deserialize::deserialize(self.content))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ConvertError> {
        self.named(seed.deserialize(self.content))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.named(self.content.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.named(self.content.deserialize_any(visitor))
    }
}
