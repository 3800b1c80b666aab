//! Items of mappings, of the type that the layout gives them.
//!
//! An item that is `None` counts as absent. One of another type is an error that names its path.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use rzeo_core::UnixTime;
use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot, View};

use crate::error::{Error, LayoutError, at};

/// A mapping and its path.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    mapping: Arc<PersistentMapping>,
    path: String,
}

impl Fields {
    /// Reads a mapping.
    pub(crate) fn read(snapshot: &mut Snapshot, id: ObjectId, path: String) -> Result<Self, Error> {
        let mapping = snapshot.read::<PersistentMapping>(id).map_err(|error| at(&path, error))?;
        Ok(Self { mapping, path })
    }

    /// Reads the mapping that an item refers to.
    pub(crate) fn below(&self, snapshot: &mut Snapshot, key: &str) -> Result<Self, Error> {
        let id = self.need(key, self.object(key)?)?;
        Self::read(snapshot, id, self.path_of(key))
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_string(),
            path => format!("{path}/{key}"),
        }
    }

    pub(crate) fn value(&self, key: &str) -> Option<&PyValue> {
        self.mapping.get(key).filter(|value| !value.is_none())
    }

    /// The item, which must be there.
    pub(crate) fn need<T>(&self, key: &str, value: Option<T>) -> Result<T, LayoutError> {
        value.ok_or_else(|| LayoutError::Missing { path: self.path_of(key) })
    }

    fn converted<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a PyValue) -> Option<T>,
    ) -> Result<Option<T>, LayoutError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(LayoutError::malformed(self.path_of(key), value, expected)),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, LayoutError> {
        self.converted(key, "a text", |value| value.as_text().map(Into::into))
    }

    pub(crate) fn int(&self, key: &str) -> Result<Option<i64>, LayoutError> {
        self.converted(key, "an integer of 64 bits", PyValue::as_int)
    }

    /// A count that is zero if it is absent.
    pub(crate) fn count(&self, key: &str) -> Result<u32, LayoutError> {
        let count = |value: &PyValue| value.as_int().and_then(|int| u32::try_from(int).ok());
        Ok(self.converted(key, "a count", count)?.unwrap_or(0))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, LayoutError> {
        self.converted(key, "a finite number", number)
    }

    pub(crate) fn time(&self, key: &str) -> Result<Option<UnixTime>, LayoutError> {
        Ok(self.number(key)?.map(UnixTime))
    }

    /// Whether an item is there and not `False`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| !matches!(value.view(), View::Bool(false)))
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<ObjectId>, LayoutError> {
        self.converted(key, "a reference to an object", PyValue::as_object)
    }

    /// A tuple or list that is empty if it is absent.
    pub(crate) fn items(&self, key: &str) -> Result<Vec<PyValue>, LayoutError> {
        let items = |value| sequence(value).map(Cow::into_owned);
        Ok(self.converted(key, "a tuple or list", items)?.unwrap_or_default())
    }

    /// A dict that is empty if it is absent.
    pub(crate) fn dict(&self, key: &str) -> Result<Vec<(PyValue, PyValue)>, LayoutError> {
        let items = |value: &PyValue| match value.view() {
            View::Dict(items) => Some(items.into_owned()),
            _ => None,
        };
        Ok(self.converted(key, "a dict", items)?.unwrap_or_default())
    }

    /// A tuple or list whose items convert.
    pub(crate) fn all<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&PyValue) -> Option<T>,
    ) -> Result<Vec<T>, LayoutError> {
        let items = |value| sequence(value)?.iter().map(convert).collect();
        Ok(self.converted(key, expected, items)?.unwrap_or_default())
    }
}

/// The items of a tuple or list.
pub(crate) fn sequence(value: &PyValue) -> Option<Cow<'_, [PyValue]>> {
    match value.view() {
        View::Tuple(items) | View::List(items) => Some(items),
        _ => None,
    }
}

/// A finite number, from an integer or a float.
pub(crate) fn number(value: &PyValue) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "times and durations have far fewer digits")]
    match value.view() {
        View::Int(int) => Some(int as f64),
        View::Float(float) if float.is_finite() => Some(float),
        _ => None,
    }
}
