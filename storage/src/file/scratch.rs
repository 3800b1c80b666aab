//! Records of one big transaction, in a file instead of in memory.
//!
//! The file is beside the database, where there is room if there is room for the commit, and loses its
//! name as soon as it is open: whatever happens, it is gone with its last owner.

use std::any::Any;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rzeo_core::storage::{Scratch, StorageError};

use super::FileStorage;
use super::index_file::with_suffix;
use crate::disk::{Access, DiskFile, failed};

/// What the name ends in that the file has for an instant.
pub(super) const SUFFIX: &str = ".spool";

/// A file without a name.
#[derive(Debug)]
struct Spool {
    file: Arc<dyn DiskFile>,
    /// The name that it had, for messages.
    name: String,
}

impl FileStorage {
    pub(super) fn new_scratch(&self) -> Result<Arc<dyn Scratch>, StorageError> {
        let path = with_suffix(&self.path, SUFFIX);
        let name = path.display().to_string();
        // One at a time: the next would empty this one.
        let _one = self.naming.lock();
        let opened = self.disk.open(&path, Access::Create);
        let file = opened.map_err(|error| failed(|| format!("create {name}"), &error))?;
        let removed = self.disk.remove(&path);
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
            let text = "it is shorter than what was written to it".to_owned();
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
