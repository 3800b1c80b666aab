//! The journal of blob files that a commit renames to their final names.
//!
//! It names the revisions of the last group of transactions with blobs, one line of hexadecimal oid and
//! tid for each, and is durable before the first file gets its final name. After a crash the next opening
//! removes the named files whose revisions are not in the database.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rzeo_core::{Oid, Tid};

use crate::disk::{Access, Disk, DiskFile};

/// The journal of one blob directory.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    path: PathBuf,
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    /// `None` before the first group with blobs.
    file: Option<Arc<dyn DiskFile>>,
    len: u64,
    /// Files whose transactions may not be committed, and whose removal is not durable.
    in_doubt: Vec<(Oid, Tid)>,
}

impl Journal {
    /// `directory` is the parent of `path`.
    pub(super) fn new(disk: Arc<dyn Disk>, directory: &Path, path: PathBuf) -> Self {
        Self { disk, directory: directory.to_owned(), path, content: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the revisions whose files are about to be renamed, durably.
    pub(super) fn write(&self, entries: &[(Oid, Tid)]) -> io::Result<()> {
        let mut content = self.content.lock();
        let file = match &content.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = self.disk.open(&self.path, Access::Create)?;
                self.disk.sync_directory(&self.directory)?;
                content.file = Some(Arc::clone(&file));
                file
            }
        };
        let lines: String = (content.in_doubt.iter().chain(entries))
            .map(|(oid, tid)| format!("{:016x} {:016x}\n", oid.0, tid.0))
            .collect();
        let len = lines.len() as u64;
        file.write_at(&[lines.as_bytes()], 0)?;
        if len < content.len {
            file.set_len(len)?;
        }
        content.len = len;
        file.sync()
    }

    /// Keeps revisions in the journal until the next opening decides about them.
    pub(super) fn keep_in_doubt(&self, entries: Vec<(Oid, Tid)>) {
        self.content.lock().in_doubt.extend(entries);
    }

    /// Closes the journal, and removes it if no revision is in doubt.
    pub(super) fn close(&self) {
        let mut content = self.content.lock();
        if content.file.take().is_some() && content.in_doubt.is_empty() {
            // If this fails, the next opening finds all revisions of the journal committed.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// The revisions in the bytes of a journal. A line that a crash has torn is skipped.
pub(super) fn parse(bytes: &[u8]) -> impl Iterator<Item = (Oid, Tid)> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let (oid, tid) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        if oid.len() != 16 || tid.len() != 16 {
            return None;
        }
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((Oid(number(oid)?), Tid(number(tid)?)))
    })
}
