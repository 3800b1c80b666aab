//! Spool files: hold the records of one big transaction instead of memory.
//!
//! The file is created beside the database, on the disk that the commit writes to. Its name is
//! removed as soon as the file is open, so the operating system frees it when the last handle is
//! dropped, also after a crash.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rzeo_core::storage::{Scratch, StorageError};

use super::index_file::with_suffix;
use crate::disk::{Access, Disk, DiskFile, failed};

/// The suffix of the name that a spool file has until it is open.
pub(super) const SUFFIX: &str = ".spool";

/// A file without a name.
#[derive(Debug)]
struct Spool {
    file: Arc<dyn DiskFile>,
    /// The name that it had, for error messages.
    name: String,
}

/// Creates the spool files of one database.
#[derive(Debug, Default)]
pub(super) struct SpoolFiles {
    /// Held while a spool file has its name: the next one would truncate it.
    naming: Mutex<()>,
}

impl SpoolFiles {
    /// An empty file beside the database at `database`, without a name.
    pub(super) fn create(
        &self,
        disk: &dyn Disk,
        database: &Path,
    ) -> Result<Arc<dyn Scratch>, StorageError> {
        let path = with_suffix(database, SUFFIX);
        let name = path.display().to_string();
        let _naming = self.naming.lock();
        let opened = disk.open(&path, Access::Create);
        let file = opened.map_err(|error| failed(|| format!("create {name}"), &error))?;
        let removed = disk.remove(&path);
        removed.map_err(|error| failed(|| format!("remove {name}"), &error))?;
        Ok(Arc::new(Spool { file, name }))
    }
}

impl Scratch for Spool {
    fn write(&self, at: u64, chunks: &[Bytes]) -> Result<(), StorageError> {
        let slices: Vec<&[u8]> = chunks.iter().map(|chunk| &chunk[..]).collect();
        let written = self.file.write_at(&slices, at);
        written.map_err(|error| failed(|| format!("write {}", self.name), &error))
    }

    fn read(&self, at: u64, len: usize) -> Result<Bytes, StorageError> {
        let mut bytes = BytesMut::zeroed(len);
        let filled = (self.file.read_at(&mut bytes, at))
            .map_err(|error| failed(|| format!("read {}", self.name), &error))?;
        if filled < len {
            let text = "the file is shorter than what was written to it".to_owned();
            return Err(StorageError::Disk {
                doing: format!("read {}", self.name),
                text,
                code: None,
            });
        }
        Ok(bytes.freeze())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
