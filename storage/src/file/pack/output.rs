//! Writes the new file sequentially.

use std::path::Path;
use std::sync::Arc;

use rzeo_core::storage::StorageError;

use crate::disk::{Access, Disk, DiskFile, failed};
use crate::file::scan::Window;

/// Bytes gathered before each write.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes copied at once.
const PIECE_BYTES: u64 = 64 << 10;

/// A file that is written sequentially, with a buffer.
pub(super) struct Output {
    file: Arc<dyn DiskFile>,
    name: String,
    buffer: Vec<u8>,
    /// Position where the buffer will be written.
    flushed: u64,
}

impl Output {
    pub(super) fn create(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let name = path.display().to_string();
        let file = disk
            .open(path, Access::Create)
            .map_err(|error| failed(|| format!("create {name}"), &error))?;
        Ok(Self { file, name, buffer: Vec::new(), flushed: 0 })
    }

    /// Position of the next byte.
    pub(super) fn at(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Copies bytes of the old file.
    pub(super) fn copy(
        &mut self,
        from: &mut Window,
        at: u64,
        len: u64,
    ) -> Result<(), StorageError> {
        let (mut at, mut left) = (at, len);
        while left > 0 {
            let wanted = left.min(PIECE_BYTES);
            let piece = from.bytes(at, usize::try_from(wanted).expect("a piece is small"))?;
            if (piece.len() as u64) < wanted {
                return Err(from.log().corrupt(at, "the file ends within a record"));
            }
            self.put(piece)?;
            at += wanted;
            left -= wanted;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let name = &self.name;
        (self.file.write_at(&[&self.buffer], self.flushed))
            .map_err(|error| failed(|| format!("write {name}"), &error))?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes all bytes so far durable.
    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        let name = &self.name;
        self.file.sync().map_err(|error| failed(|| format!("sync {name}"), &error))
    }

    /// Makes all bytes durable and returns the file.
    pub(super) fn finish(mut self) -> Result<Arc<dyn DiskFile>, StorageError> {
        self.sync()?;
        Ok(self.file)
    }
}
