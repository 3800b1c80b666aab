//! Layers: storages over another storage.
//!
//! A type that implements [`StorageLayer`] is a [`Storage`]. It must name the storage below; each
//! method that it does not implement passes the call on.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::{
    BlobStore, Committed, CurrentRecord, Description, Finishing, HistoryEntry, Info, Load,
    PackProgress, Patience, PreparedPack, Scratch, Storage, StorageError, Subscriber,
    TransactionHeader, TransactionIterator, TransactionMeta, Vote,
};
use crate::ids::{Oid, Tid};
use crate::time::UnixTime;

/// Declares the trait with a default for each method of [`Storage`], and the implementation of [`Storage`]
/// that calls them, so that both have the same list.
macro_rules! layer {
    ($(
        fn $name:ident $(<$life:lifetime>)? (& $($self_life:lifetime)? self $(, $argument:ident: $kind:ty)* $(,)?) $(-> $answer:ty)?;
    )*) => {
        /// A storage over another storage, which [`below`](Self::below) names.
        ///
        /// Each method has the contract of the method of [`Storage`] with its name, and by default calls that
        /// method of the storage below. A layer that wraps the votes of the storage below unwraps them in
        /// `commit`.
        ///
        /// ```
        /// use rzeo_core::{Oid, Tid};
        /// use rzeo_core::storage::{Load, Patience, Storage, StorageError, StorageLayer};
        ///
        /// /// Hides every object from readers.
        /// struct Hidden<S>(S);
        ///
        /// impl<S: Storage> StorageLayer for Hidden<S> {
        ///     fn below(&self) -> &dyn Storage {
        ///         &self.0
        ///     }
        ///
        ///     fn load_before(&self, oid: Oid, _: Tid, _: Patience) -> Result<Load, StorageError> {
        ///         Err(StorageError::NoSuchObject(oid))
        ///     }
        /// }
        /// ```
        #[expect(missing_docs, clippy::missing_errors_doc, clippy::type_complexity, reason = "each is the method of Storage")]
        pub trait StorageLayer: Send + Sync {
            /// The storage below this layer.
            fn below(&self) -> &dyn Storage;
            $(
                fn $name $(<$life>)? (& $($self_life)? self $(, $argument: $kind)*) $(-> $answer)? {
                    self.below().$name($($argument),*)
                }
            )*
        }

        impl<L: StorageLayer> Storage for L {
            $(
                fn $name $(<$life>)? (& $($self_life)? self $(, $argument: $kind)*) $(-> $answer)? {
                    StorageLayer::$name(self $(, $argument)*)
                }
            )*
        }
    };
}

layer! {
    fn description(&self) -> Description;
    fn info(&self) -> Info;
    fn last_tid(&self) -> Tid;
    fn recent(&self, count: usize) -> Result<Option<Vec<(Tid, Vec<Oid>)>>, StorageError>;
    fn load_before(&self, oid: Oid, before: Tid, patience: Patience) -> Result<Load, StorageError>;
    fn load_serial(&self, oid: Oid, serial: Tid, patience: Patience) -> Result<Bytes, StorageError>;
    fn current_serial(&self, oid: Oid, patience: Patience) -> Result<Tid, StorageError>;
    fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, StorageError>;
    fn next_record(&self, from: Oid) -> Result<CurrentRecord, StorageError>;
    fn new_oids(&self, count: usize, patience: Patience) -> Result<Vec<Oid>, StorageError>;
    fn undo_log(
        &self,
        visit: &mut dyn FnMut(TransactionHeader) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;
    fn iterate(
        &self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Box<dyn TransactionIterator>, StorageError>;
    fn begin_vote<'a>(
        &'a self,
        meta: &TransactionMeta,
        patience: Patience,
    ) -> Result<Box<dyn Vote + 'a>, StorageError>;
    fn commit(&self, group: Vec<Finishing>) -> Result<Vec<Committed>, StorageError>;
    fn subscribe(&self, since: Tid, subscriber: Subscriber);
    fn pack(&self, time: UnixTime) -> Result<Option<Box<dyn PreparedPack>>, StorageError>;
    fn blobs(&self) -> Option<&dyn BlobStore>;
    fn scratch(&self) -> Result<Option<Arc<dyn Scratch>>, StorageError>;
    fn clean_up_due(&self) -> bool;
    fn clean_up(&self) -> Result<(), StorageError>;
    fn pack_progress(&self) -> Option<PackProgress>;
    fn broken(&self) -> Option<String>;
    fn close(&self) -> Result<(), StorageError>;
}
