//! Histories of objects and lists of undoable transactions. A server sends them as dicts, which become the
//! types of the storage contract; the proxy's server makes the same dicts of them again.

use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_lite::future::block_on;
use rzeo_client::{Client, UndoEntry, Value};
use rzeo_core::Tid;
use rzeo_core::pickle;
use rzeo_core::storage::{
    ForeignRefusal, HistoryEntry, HistoryShape, StorageError, TransactionHeader,
};

use crate::errors::storage_error;

/// Number of undoable transactions requested at a time.
const PAGE: usize = 100;
/// The keys that the storage adds to an entry. All others are from the transaction's extension.
const OWN_ITEMS: [&str; 6] = ["id", "time", "user_name", "description", "size", "tid"];

pub(crate) fn undo_log(
    client: &Client,
    visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let mut first = 0;
    loop {
        let page = block_on(client.undo_log(first, -(PAGE as i64))).map_err(storage_error)?;
        let is_last = page.len() < PAGE;
        first += PAGE as i64;
        for entry in page {
            if visit(header(entry)?).is_break() {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

fn header(entry: UndoEntry) -> Result<TransactionHeader, StorageError> {
    let UndoEntry { id, user, description, items, .. } = entry;
    let tid = STANDARD.decode(&id).ok().and_then(|bytes| Tid::from_slice(&bytes));
    let tid = tid.ok_or_else(|| odd("undoLog: the id of a transaction is not made of a tid"))?;
    let size = items.iter().find(|(key, _)| *key == Value::text("size"));
    let size = size.map_or(0, |(_, size)| number(size));
    Ok(TransactionHeader { tid, status: b' ', user, description, extension: others(items), size })
}

pub(crate) fn history_entry(entry: Value) -> Result<HistoryEntry, StorageError> {
    let text = |key| entry.item(key).map(bytes).unwrap_or_default();
    let tid = entry.item("tid").map(bytes).and_then(|tid| Tid::from_slice(&tid));
    let tid = tid.ok_or_else(|| odd("history: an entry has no tid"))?;
    let (user, description) = (text("user_name"), text("description"));
    let size = entry.item("size").map_or(0, number);
    let (shape, extension) = match (entry.item("extension"), &entry) {
        (Some(extension), _) if entry.item("serial").is_some() => {
            (HistoryShape::MappingStorage, pickled(extension))
        }
        (_, Value::Dict(items)) => (HistoryShape::FileStorage, others(items.clone())),
        _ => (HistoryShape::FileStorage, Bytes::new()),
    };
    Ok(HistoryEntry { tid, shape, user, description, extension, size })
}

/// A dict as storages keep it: nothing for none. What cannot be pickled is left out.
pub(crate) fn pickled(extension: &Value) -> Bytes {
    match extension {
        Value::Bytes(ready) => ready.clone(),
        Value::Dict(items) if items.is_empty() => Bytes::new(),
        dict @ Value::Dict(_) => pickle::dump(dict).unwrap_or_default(),
        _ => Bytes::new(),
    }
}

fn others(mut items: Vec<(Value, Value)>) -> Bytes {
    items.retain(|(key, _)| !OWN_ITEMS.iter().any(|own| *key == Value::text(own)));
    pickled(&Value::Dict(items))
}

fn bytes(value: &Value) -> Bytes {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        Value::Str(text) => Bytes::from(text.clone()),
        _ => Bytes::new(),
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Int(number) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

fn odd(text: &str) -> StorageError {
    StorageError::Refused(ForeignRefusal {
        class: "ZODB.POSException.StorageError".to_owned(),
        payload: Value::Tuple(vec![Value::text(text)]),
    })
}

#[cfg(test)]
mod tests {
    use rzeo_core::Oid;
    use rzeo_core::wire::reply;

    use super::*;

    fn extension() -> Bytes {
        let items = vec![(Value::text("path"), Value::text("/a"))];
        pickle::dump(&Value::Dict(items)).unwrap()
    }

    #[test]
    fn histories_come_out_as_they_went_in() {
        for shape in [HistoryShape::FileStorage, HistoryShape::MappingStorage] {
            let entry = HistoryEntry {
                tid: Tid(Oid(77).0 << 32),
                shape,
                user: Bytes::from_static(b"user"),
                description: Bytes::from_static(b"why"),
                extension: extension(),
                size: 5,
            };
            let shown = match shape {
                HistoryShape::FileStorage => reply::history_entry(&entry),
                HistoryShape::MappingStorage => reply::mapping_history_entry(&entry),
            };
            assert_eq!(history_entry(shown), Ok(entry));
        }
    }

    #[test]
    fn undoable_transactions_come_out_as_they_went_in() {
        let transaction = TransactionHeader {
            tid: Tid(77 << 32),
            status: b' ',
            user: Bytes::from_static(b"user"),
            description: Bytes::from_static(b"why"),
            extension: extension(),
            size: 5,
        };
        let shown = reply::undo_entry(&transaction);
        let Value::Dict(items) = shown.clone() else { panic!("{shown:?}") };
        let entry = UndoEntry {
            id: bytes(shown.item("id").unwrap()),
            time: 0.0,
            user: transaction.user.clone(),
            description: transaction.description.clone(),
            items,
        };
        assert_eq!(header(entry), Ok(transaction));
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        assert!(matches!(history_entry(Value::None), Err(StorageError::Refused(_))));
    }
}
