//! Checks keys and values, and converts them as BTrees do.

use alloc::string::ToString;

use super::error::{BTreeError, ItemRole, shown};
use super::item_type::ItemType;
use super::order::is_orderable;
use crate::convert_error::ConvertError;
use crate::error::StateError;
use crate::value::{PyValue, View};

impl ItemType {
    /// A key or value that a program gives, as the C structure of a node holds it: the number that a
    /// `bool` is, the nearest number of single precision.
    pub(super) fn convert(self, value: &PyValue, role: ItemRole) -> Result<PyValue, BTreeError> {
        if self == Self::Object {
            return if role == ItemRole::Value || is_orderable(value) {
                Ok(value.clone())
            } else {
                Err(BTreeError::NotOrderable { key: shown(value) })
            };
        }
        self.convert_number(value, role)
    }

    /// A key or value of a record. An application's own classes can be keys there.
    pub(super) fn load(self, value: &PyValue, role: ItemRole) -> Result<PyValue, StateError> {
        if self == Self::Object {
            return Ok(value.clone());
        }
        let converted = self.convert_number(value, role);
        converted.map_err(|error| ConvertError::new(error.to_string()).into())
    }

    /// Whether Python takes a value for one that is there already, so that nothing changes: of
    /// objects it never does.
    pub(super) fn is_same(self, old: &PyValue, new: &PyValue) -> bool {
        match self {
            Self::Object => false,
            Self::F32 => {
                matches!((old.view(), new.view()), (View::Float(a), View::Float(b)) if a == b)
            }
            Self::I32 | Self::U32 | Self::I64 | Self::U64 => integer(old) == integer(new),
        }
    }

    fn convert_number(self, value: &PyValue, role: ItemRole) -> Result<PyValue, BTreeError> {
        let wrong_type = BTreeError::WrongType { role, value: shown(value), expected: self };
        let Some((min, max)) = self.range() else {
            return single(value).map(|float| f64::from(float).into()).ok_or(wrong_type);
        };
        match (value.view(), integer(value)) {
            (View::Bool(truth), _) => Ok(i64::from(truth).into()),
            (_, Some(int)) if (min..=max).contains(&int) => Ok(value.clone()),
            (View::Int(_) | View::BigInt(_), _) => {
                Err(BTreeError::OutOfRange { role, value: shown(value), min, max })
            }
            _ => Err(wrong_type),
        }
    }
}

/// An integer of at most 72 bits; larger ones fit no type.
fn integer(value: &PyValue) -> Option<i128> {
    match value.view() {
        View::Bool(truth) => Some(truth.into()),
        View::Int(int) => Some(int.into()),
        View::BigInt([low @ .., high]) => {
            let low: [u8; 8] = low.try_into().ok()?;
            Some(i128::from(high.cast_signed()) << 64 | i128::from(u64::from_le_bytes(low)))
        }
        _ => None,
    }
}

/// Rounds as C does: to nearest, and what is too large becomes infinite.
#[expect(clippy::cast_possible_truncation, reason = "BTrees round values to single precision")]
#[expect(clippy::cast_precision_loss, reason = "BTrees round values to single precision")]
fn single(value: &PyValue) -> Option<f32> {
    match value.view() {
        View::Bool(truth) => Some(truth.into()),
        View::Int(int) => Some(int as f32),
        View::Float(float) => Some(float as f32),
        _ => None,
    }
}
