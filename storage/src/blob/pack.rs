//! Pack of blobs: lists those that the pack leaves out, and removes their files after the switch.

use std::io;
use std::sync::Arc;

use rzeo_core::Tid;
use rzeo_core::storage::StorageError;

use super::removal::{IsKnown, RemovalList, Remover};
use super::store::Blobs;

impl Blobs {
    /// Creates the list of the blobs that a pack removes.
    ///
    /// # Errors
    /// `Disk`.
    pub(crate) fn removal_list(&self) -> Result<RemovalList, StorageError> {
        RemovalList::create(Arc::clone(&self.0.disk), self.0.directory.removal_list())
    }

    /// Removes the listed files after the switch, or continues if that failed before. Does not
    /// remove revisions newer than `up_to`.
    ///
    /// # Errors
    /// `Disk`, and the errors of `is_known`. The list stays for the next pack or the next opening.
    pub(crate) fn remove_listed(
        &self,
        up_to: Tid,
        keep_old: bool,
        resumed: bool,
        is_known: &IsKnown<'_>,
    ) -> Result<(), StorageError> {
        let _busy = self.0.cleaning.lock();
        let remover = self.remover(up_to, is_known);
        // A pack that comes here after `close` must not touch files that another process may have
        // open.
        remover.check_open().map_err(|error| remover.failed(&error))?;
        remover.clean(keep_old, resumed)
    }

    fn remover<'a>(&'a self, up_to: Tid, is_known: &'a IsKnown<'a>) -> Remover<'a> {
        Remover {
            closing: &self.0.closing,
            disk: &*self.0.disk,
            directory: &self.0.directory,
            object_directories: &self.0.object_directories,
            up_to,
            is_known,
        }
    }

    /// Removes the files of all revisions up to `up_to` that are not in the database.
    ///
    /// # Errors
    /// `Disk`, and the errors of `is_known`.
    pub(crate) fn remove_unknown(
        &self,
        up_to: Tid,
        is_known: &IsKnown<'_>,
    ) -> Result<(), StorageError> {
        let _busy = self.0.cleaning.lock();
        let remover = self.remover(up_to, is_known);
        let fail = |error: io::Error| remover.failed(&error);
        for oid in self.0.directory.objects(&*self.0.disk).map_err(fail)? {
            for tid in remover.revisions(oid)? {
                if tid <= up_to && !is_known(oid, tid)? {
                    let path = self.0.directory.file(oid, tid);
                    remover.check_open().and_then(|()| remover.delete(&path)).map_err(fail)?;
                }
            }
        }
        Ok(())
    }
}
