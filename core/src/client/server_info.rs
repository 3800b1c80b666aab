//! The description of a storage that its server sends.

use alloc::string::String;
use alloc::vec::Vec;

use super::reading::expected;
use crate::value::Value;

/// The answer to `get_info`: a storage's name, size and abilities.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerInfo {
    /// Name of the storage; for a FileStorage its path.
    pub name: String,
    /// Number of objects when the client connected.
    pub length: u64,
    /// Size in bytes when the client connected.
    pub size: u64,
    /// Whether transactions can be undone.
    pub supports_undo: bool,
    /// Whether [`NextRecord`](super::query::NextRecord) works.
    pub supports_record_iternext: bool,
    /// The Python interfaces of the storage, `(module, name)`.
    pub interfaces: Vec<(String, String)>,
}

impl ServerInfo {
    /// Servers before 5 say less: what is missing is empty, zero or false.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        if !matches!(value, Value::Dict(_)) {
            return Err(expected("a dict", value));
        }
        let name = match value.item("name") {
            Some(Value::Str(name)) => name.clone(),
            _ => String::new(),
        };
        let interfaces = match value.item("interfaces") {
            Some(Value::Tuple(pairs) | Value::List(pairs)) => {
                pairs.iter().filter_map(interface).collect()
            }
            _ => Vec::new(),
        };
        let yes = |key| value.item(key).is_some_and(Value::is_true);
        Ok(Self {
            name,
            length: count(value.item("length")),
            size: count(value.item("size")),
            supports_undo: yes("supportsUndo"),
            supports_record_iternext: yes("supports_record_iternext"),
            interfaces,
        })
    }

    /// The same after an `info` message.
    pub(super) fn updated(&self, changes: &Value) -> Self {
        let figure = |key, old| changes.item(key).map_or(old, |new| count(Some(new)));
        Self {
            length: figure("length", self.length),
            size: figure("size", self.size),
            ..self.clone()
        }
    }
}

fn interface(pair: &Value) -> Option<(String, String)> {
    match pair {
        Value::Tuple(pair) | Value::List(pair) => match &pair[..] {
            [Value::Str(module), Value::Str(name)] => Some((module.clone(), name.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn count(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
        _ => 0,
    }
}
