//! For storages that are laid over another one.

/// Inside an `impl` of [`Storage`](crate::storage::Storage): what is only read, and new oids, come from
/// the storage in this field. `description`, `recent` and all that writes are left to the layer, whose crate
/// needs `bytes`, as every storage does.
#[macro_export]
macro_rules! reads_from {
    ($below:ident) => {
        fn info(&self) -> $crate::storage::Info {
            self.$below.info()
        }

        fn last_tid(&self) -> $crate::ids::Tid {
            self.$below.last_tid()
        }

        fn load_before(
            &self,
            oid: $crate::ids::Oid,
            before: $crate::ids::Tid,
            patience: $crate::storage::Patience,
        ) -> Result<$crate::storage::Load, $crate::storage::StorageError> {
            self.$below.load_before(oid, before, patience)
        }

        fn load_serial(
            &self,
            oid: $crate::ids::Oid,
            serial: $crate::ids::Tid,
            patience: $crate::storage::Patience,
        ) -> Result<bytes::Bytes, $crate::storage::StorageError> {
            self.$below.load_serial(oid, serial, patience)
        }

        fn current_serial(
            &self,
            oid: $crate::ids::Oid,
            patience: $crate::storage::Patience,
        ) -> Result<$crate::ids::Tid, $crate::storage::StorageError> {
            self.$below.current_serial(oid, patience)
        }

        fn history(
            &self,
            oid: $crate::ids::Oid,
            size: usize,
        ) -> Result<Vec<$crate::storage::HistoryEntry>, $crate::storage::StorageError> {
            self.$below.history(oid, size)
        }

        fn next_record(
            &self,
            from: $crate::ids::Oid,
        ) -> Result<$crate::storage::CurrentRecord, $crate::storage::StorageError> {
            self.$below.next_record(from)
        }

        fn new_oids(
            &self,
            count: usize,
            patience: $crate::storage::Patience,
        ) -> Result<Vec<$crate::ids::Oid>, $crate::storage::StorageError> {
            self.$below.new_oids(count, patience)
        }

        fn undo_log(
            &self,
            visit: &mut dyn FnMut($crate::storage::TransactionHeader) -> core::ops::ControlFlow<()>,
        ) -> Result<(), $crate::storage::StorageError> {
            self.$below.undo_log(visit)
        }

        fn iterate(
            &self,
            start: Option<$crate::ids::Tid>,
            stop: Option<$crate::ids::Tid>,
        ) -> Result<Box<dyn $crate::storage::TransactionIterator>, $crate::storage::StorageError> {
            self.$below.iterate(start, stop)
        }
    };
}
