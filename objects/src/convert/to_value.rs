//! The serializer that makes Python values.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use serde_core::ser::{self, Serialize, Serializer};

use super::limits::DEPTH_MAX;
use super::reference;
use crate::convert_error::ConvertError;
use crate::value::{PyValue, Repr};

type Converted = Result<PyValue, ConvertError>;

/// Converts a value.
pub(super) fn serialize<T: Serialize + ?Sized>(value: &T) -> Converted {
    value.serialize(ToValue { depth: DEPTH_MAX })
}

/// Makes one value.
struct ToValue {
    /// Number of further levels that may be nested.
    depth: u32,
}

impl ToValue {
    fn below(&self) -> Result<Self, ConvertError> {
        let depth = self.depth.checked_sub(1).ok_or(ConvertError::too_deep(DEPTH_MAX))?;
        Ok(Self { depth })
    }
}

/// The name of a field or of a variant.
const fn name(name: &'static str) -> PyValue {
    PyValue(Repr::Name(name))
}

/// A variant with its content.
fn with_variant(variant: Option<&'static str>, content: PyValue) -> PyValue {
    match variant {
        Some(variant) => PyValue::dict(vec![(name(variant), content)]),
        None => content,
    }
}

fn big_int(bytes: Vec<u8>) -> PyValue {
    match rzeo_core::value::Value::from_le_bytes(bytes.into()) {
        rzeo_core::value::Value::BigInt(bytes) => PyValue(Repr::BigInt(Arc::new(bytes))),
        rzeo_core::value::Value::Int(int) => int.into(),
        _ => unreachable!("an integer is one of these"),
    }
}

macro_rules! small_ints {
    ($($method:ident: $int:ty),*) => {
        $(fn $method(self, int: $int) -> Converted {
            Ok(i64::from(int).into())
        })*
    };
}

impl Serializer for ToValue {
    type Ok = PyValue;
    type Error = ConvertError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Pairs;
    type SerializeStruct = Pairs;
    type SerializeStructVariant = Pairs;

    fn serialize_bool(self, truth: bool) -> Converted {
        Ok(truth.into())
    }

    small_ints! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32
    }

    fn serialize_i128(self, int: i128) -> Converted {
        Ok(big_int(int.to_le_bytes().into()))
    }

    fn serialize_u64(self, int: u64) -> Converted {
        Ok(int.into())
    }

    fn serialize_u128(self, int: u128) -> Converted {
        Ok(big_int(int.to_le_bytes().into_iter().chain([0]).collect()))
    }

    fn serialize_f32(self, float: f32) -> Converted {
        Ok(f64::from(float).into())
    }

    fn serialize_f64(self, float: f64) -> Converted {
        Ok(float.into())
    }

    fn serialize_char(self, char: char) -> Converted {
        Ok(char.to_string().into())
    }

    fn serialize_str(self, text: &str) -> Converted {
        Ok(text.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Converted {
        Ok(Bytes::copy_from_slice(bytes).into())
    }

    fn serialize_none(self) -> Converted {
        Ok(PyValue::NONE)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Converted {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Converted {
        Ok(PyValue::NONE)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Converted {
        Ok(PyValue::NONE)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Converted {
        Ok(name(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        type_name: &'static str,
        value: &T,
    ) -> Converted {
        let content = value.serialize(self)?;
        if type_name != reference::NAME {
            return Ok(content);
        }
        let reference = reference::from_parts(&content);
        let reference = reference.ok_or(ConvertError::new("the parts of a reference do not match"));
        reference.map(PyValue::from)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Converted {
        let content = value.serialize(self.below()?).map_err(|error| error.in_key(variant))?;
        Ok(with_variant(Some(variant), content))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Items, ConvertError> {
        Ok(Items { parent: self, items: Vec::new(), variant: None })
    }

    fn serialize_tuple(self, _len: usize) -> Result<Items, ConvertError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Items, ConvertError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items, ConvertError> {
        Ok(Items { variant: Some(variant), ..self.serialize_seq(None)? })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Pairs, ConvertError> {
        Ok(Pairs { parent: self, items: Vec::new(), key: None, variant: None })
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Pairs, ConvertError> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Pairs, ConvertError> {
        Ok(Pairs { variant: Some(variant), ..self.serialize_map(None)? })
    }
}

/// Gathers the items of a list or tuple.
struct Items {
    parent: ToValue,
    items: Vec<PyValue>,
    variant: Option<&'static str>,
}

impl Items {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let index = self.items.len();
        let item = value.serialize(self.parent.below()?).map_err(|error| error.in_item(index))?;
        self.items.push(item);
        Ok(())
    }

    fn tuple(self) -> PyValue {
        with_variant(self.variant, PyValue::tuple(self.items))
    }
}

impl ser::SerializeSeq for Items {
    type Ok = PyValue;
    type Error = ConvertError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.add(value)
    }

    fn end(self) -> Converted {
        Ok(PyValue::list(self.items))
    }
}

macro_rules! end_as_tuple {
    ($($name:ident: $method:ident),*) => {
        $(impl ser::$name for Items {
            type Ok = PyValue;
            type Error = ConvertError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
                self.add(value)
            }

            fn end(self) -> Converted {
                Ok(self.tuple())
            }
        })*
    };
}

end_as_tuple!(
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

/// Gathers the items of a dict.
struct Pairs {
    parent: ToValue,
    items: Vec<(PyValue, PyValue)>,
    /// The key whose value comes next.
    key: Option<PyValue>,
    variant: Option<&'static str>,
}

impl Pairs {
    fn add<T: Serialize + ?Sized>(&mut self, key: PyValue, value: &T) -> Result<(), ConvertError> {
        let value = value.serialize(self.parent.below()?);
        let value = value.map_err(|error| match key.as_text() {
            Some(key) => error.in_key(key),
            None => error.in_key(alloc::format!("{key:?}")),
        })?;
        self.items.push((key, value));
        Ok(())
    }

    fn dict(self) -> PyValue {
        with_variant(self.variant, PyValue::dict(self.items))
    }
}

impl ser::SerializeMap for Pairs {
    type Ok = PyValue;
    type Error = ConvertError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConvertError> {
        self.key = Some(key.serialize(self.parent.below()?)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let key = self.key.take().ok_or(ConvertError::new("a map gave a value before its key"))?;
        self.add(key, value)
    }

    fn end(self) -> Converted {
        Ok(self.dict())
    }
}

macro_rules! end_as_dict {
    ($($name:ident),*) => {
        $(impl ser::$name for Pairs {
            type Ok = PyValue;
            type Error = ConvertError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                field: &'static str,
                value: &T,
            ) -> Result<(), ConvertError> {
                self.add(name(field), value)
            }

            fn end(self) -> Converted {
                Ok(self.dict())
            }
        })*
    };
}

end_as_dict!(SerializeStruct, SerializeStructVariant);
