//! Refusals of the server, and failures to reach it, as errors of a storage.
//!
//! Clients of the proxy should see what clients of the server see: what a storage has a variant for
//! becomes that, and anything else is passed on by class and arguments.

use rzeo_client::{CallError, Misuse, Refused, Value};
use rzeo_core::storage::{ForeignRefusal, Patience, StorageError};

/// The text of Python's servers before the path of a blob that is missing.
const NO_BLOB: &str = "No blob file at ";

pub(crate) fn storage_error(error: CallError) -> StorageError {
    let text = error.to_string();
    match error {
        CallError::Refused(refused) => refusal(refused),
        CallError::ConflictsForever { last, .. } => refusal(last),
        CallError::MaybeCommitted(_) => StorageError::Uncertain(text),
        CallError::Misuse(Misuse::ReadOnly) => StorageError::ReadOnly,
        CallError::Blob(_) => {
            StorageError::Disk { doing: "send a blob to the server".to_owned(), text, code: None }
        }
        CallError::Odd { .. } | CallError::Unwritable(_) => {
            foreign("ZODB.POSException.StorageError", vec![Value::Str(text)])
        }
        // A transaction is over before its time when the connection on which it was begun is lost.
        _ => StorageError::Unreachable(text),
    }
}

/// A server reports the end with a `ValueError`.
pub(crate) fn of_next_record(error: CallError) -> StorageError {
    match storage_error(error) {
        StorageError::Refused(foreign) if foreign.class == "builtins.ValueError" => {
            let empty = Value::text("empty tree");
            let is_empty = matches!(&foreign.payload, Value::Tuple(args) if args.contains(&empty));
            StorageError::NoMoreRecords { empty: is_empty }
        }
        error => error,
    }
}

fn refusal(refused: Refused) -> StorageError {
    match refused {
        Refused::NoSuchObject { oid: Some(oid), serial: Some(serial), text: Some(text) } => {
            let path = text.strip_prefix(NO_BLOB).unwrap_or(&text).to_owned();
            StorageError::NoSuchBlob { oid, serial, path }
        }
        Refused::NoSuchObject { oid: Some(oid), serial: Some(serial), text: None } => {
            StorageError::NoSuchRevision(oid, serial)
        }
        Refused::NoSuchObject { oid: Some(oid), serial: None, .. } => {
            StorageError::NoSuchObject(oid)
        }
        Refused::NoSuchObject { oid: None, text, .. } => {
            foreign("ZODB.POSException.POSKeyError", text.map(Value::Str).into_iter().collect())
        }
        Refused::Conflict { oid: Some(oid), serials: Some((committed, read)), .. } => {
            StorageError::Conflict { oid, committed, read }
        }
        Refused::Conflict { oid, .. } => conflict("ZODB.POSException.ConflictError", oid),
        Refused::ReadConflict { oid: Some(oid), serials: Some((committed, read)) } => {
            StorageError::ReadConflict { oid, committed, read }
        }
        Refused::ReadConflict { oid, .. } => conflict("ZODB.POSException.ReadConflictError", oid),
        Refused::ReadOnly => StorageError::ReadOnly,
        Refused::Transaction(text) => {
            foreign("ZODB.POSException.StorageTransactionError", vec![Value::Str(text)])
        }
        Refused::Undo { reason, oid } => StorageError::Undo { reason, oid },
        Refused::UndoFailures(failures) => StorageError::UndoFailures(failures),
        Refused::Other { class, payload } => {
            StorageError::Refused(ForeignRefusal { class, payload })
        }
        other => foreign("ZODB.POSException.StorageError", vec![Value::Str(other.to_string())]),
    }
}

fn foreign(class: &str, args: Vec<Value>) -> StorageError {
    StorageError::Refused(ForeignRefusal { class: class.to_owned(), payload: Value::Tuple(args) })
}

/// A conflict that lacks details, with all keys that a client looks for.
fn conflict(class: &str, oid: Option<rzeo_core::Oid>) -> StorageError {
    let items = [
        ("message", Value::text("database conflict error")),
        ("oid", oid.map_or(Value::None, Value::oid)),
        ("class_name", Value::None),
        ("serials", Value::None),
    ];
    let payload = items.into_iter().map(|(key, value)| (Value::text(key), value)).collect();
    StorageError::Refused(ForeignRefusal { class: class.to_owned(), payload: Value::Dict(payload) })
}

/// A request to the server takes time.
pub(crate) const fn may_wait(patience: Patience) -> Result<(), StorageError> {
    match patience {
        Patience::Wait => Ok(()),
        Patience::Now => Err(StorageError::WouldBlock),
    }
}

#[cfg(test)]
mod tests {
    use rzeo_core::wire::Refusal;
    use rzeo_core::{Oid, Tid};

    use super::*;

    #[test]
    fn a_refusal_is_the_same_for_the_proxys_clients() {
        let (oid, serial) = (Oid(1), Tid(2));
        let args = |args: Vec<Value>| Value::Tuple(args);
        let object = || Refused::NoSuchObject { oid: Some(oid), serial: None, text: None };
        let revision = Refused::NoSuchObject { oid: Some(oid), serial: Some(serial), text: None };
        let text = Some("No blob file at /b/1".to_owned());
        let blob = Refused::NoSuchObject { oid: Some(oid), serial: Some(serial), text };
        let quota = "ZODB.FileStorage.FileStorage.FileStorageQuotaError";
        let full = args(vec![Value::text("The storage quota has been exceeded.")]);
        let other = Refused::Other { class: quota.to_owned(), payload: full.clone() };
        let gone = Refused::Transaction("gone".to_owned());
        let key_error = "ZODB.POSException.POSKeyError";
        let cases = [
            (object(), key_error, args(vec![Value::oid(oid)])),
            (revision, key_error, args(vec![Value::oid(oid), Value::tid(serial)])),
            (
                blob,
                key_error,
                args(vec![
                    Value::text("No blob file at /b/1"),
                    Value::oid(oid),
                    Value::tid(serial),
                ]),
            ),
            (Refused::ReadOnly, "ZODB.POSException.ReadOnlyError", args(vec![])),
            (gone, "ZODB.POSException.StorageTransactionError", args(vec![Value::text("gone")])),
            (other, quota, full),
        ];
        for (refused, class, payload) in cases {
            let seen = Refusal::from(storage_error(refused.into())).to_value();
            assert_eq!(seen, args(vec![Value::text(class), payload]));
        }
    }

    #[test]
    fn conflicts_keep_what_they_are_about() {
        let (oid, committed, read) = (Oid(1), Tid(3), Tid(2));
        let serials = Some((committed, read));
        let conflict = Refused::Conflict { oid: Some(oid), class_name: None, serials };
        let expected = StorageError::Conflict { oid, committed, read };
        assert_eq!(storage_error(conflict.into()), expected);
        let unsaid = Refused::Conflict { oid: Some(oid), class_name: None, serials: None };
        let seen = Refusal::from(storage_error(unsaid.into()));
        assert_eq!(seen.class(), "ZODB.POSException.ConflictError");
        assert_eq!(
            storage_error(Refused::ReadConflict { oid: Some(oid), serials }.into()),
            StorageError::ReadConflict { oid, committed, read }
        );
    }

    #[test]
    fn the_end_of_the_records_is_distinguished_from_other_errors() {
        let of = |class: &str, text| {
            let payload = Value::Tuple(vec![Value::text(text)]);
            of_next_record(Refused::Other { class: class.to_owned(), payload }.into())
        };
        let value_error = "builtins.ValueError";
        assert_eq!(of(value_error, "empty tree"), StorageError::NoMoreRecords { empty: true });
        assert_eq!(of(value_error, "no key"), StorageError::NoMoreRecords { empty: false });
        assert!(matches!(of("builtins.OSError", "no key"), StorageError::Refused(_)));
    }

    #[test]
    fn a_lost_server_is_reported_with_the_error_of_pythons_client() {
        for error in [CallError::Closed, CallError::Misuse(Misuse::NotOpen)] {
            let seen = Refusal::from(storage_error(error));
            assert_eq!(seen.class(), "ZEO.Exceptions.ClientDisconnected");
        }
    }
}
