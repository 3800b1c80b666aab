//! The directories of objects: created durably before a commit, kept while a voted transaction
//! needs them.
//!
//! A pack removes directories that became empty, beside commits. A [`DirectoryReservation`] keeps
//! it from removing one that a voted transaction needs for a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, FileKind};

/// Maximum number of directories remembered as durable.
const DURABLE_MAX: usize = 10_000;

/// The directories below the blob directory `base`.
pub(super) struct ObjectDirectories {
    disk: Arc<dyn Disk>,
    base: PathBuf,
    states: Mutex<DirectoryStates>,
}

#[derive(Default)]
struct DirectoryStates {
    /// Directories that are durable together with those above them. Not complete.
    durable: BTreeSet<PathBuf>,
    /// Directories that voted transactions need, with the number of those transactions.
    reserved: BTreeMap<PathBuf, usize>,
}

/// Directories that no pack removes until this is dropped.
pub(super) struct DirectoryReservation {
    directories: Arc<ObjectDirectories>,
    paths: Vec<PathBuf>,
}

impl ObjectDirectories {
    pub(super) fn new(disk: Arc<dyn Disk>, base: &Path) -> Arc<Self> {
        Arc::new(Self { disk, base: base.to_owned(), states: Mutex::default() })
    }

    /// A reservation of no directory so far.
    pub(super) fn reservation(self: &Arc<Self>) -> DirectoryReservation {
        DirectoryReservation { directories: Arc::clone(self), paths: Vec::new() }
    }

    /// Removes those of the directories above a deleted file that are empty and not reserved.
    pub(super) fn remove_empty_above(&self, file: &Path) -> io::Result<()> {
        // Directories are created under the same lock.
        let mut states = self.states.lock();
        for directory in file.ancestors().skip(1).take_while(|above| *above != self.base) {
            let is_empty = match self.disk.names(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                names => names?.is_empty(),
            };
            if !is_empty || states.is_reserved(directory) {
                break;
            }
            self.disk.remove_directory(directory)?;
            states.durable.remove(directory);
        }
        Ok(())
    }
}

impl DirectoryReservation {
    /// Creates a directory, durably, and reserves it.
    pub(super) fn add(&mut self, path: &Path) -> io::Result<()> {
        let ObjectDirectories { disk, base, states } = &*self.directories;
        let mut states = states.lock();
        states.make(&**disk, base, path)?;
        *states.reserved.entry(path.to_owned()).or_default() += 1;
        self.paths.push(path.to_owned());
        Ok(())
    }
}

impl Drop for DirectoryReservation {
    fn drop(&mut self) {
        let mut states = self.directories.states.lock();
        for path in &self.paths {
            if let Some(count) = states.reserved.get_mut(path) {
                *count -= 1;
                if *count == 0 {
                    states.reserved.remove(path);
                }
            }
        }
    }
}

impl fmt::Debug for DirectoryReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.paths).finish()
    }
}

impl DirectoryStates {
    /// Creates a directory below `base`, and syncs its name and those above it. An existing
    /// directory may not be durable: another program may have just created it.
    fn make(&mut self, disk: &dyn Disk, base: &Path, path: &Path) -> io::Result<()> {
        if self.durable.contains(path) {
            return Ok(());
        }
        let missing = match disk.metadata(path)? {
            Some(found) if found.kind == FileKind::Directory => false,
            Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
            None => true,
        };
        if missing {
            disk.create_directory(path)?;
        }
        if self.durable.len() > DURABLE_MAX {
            self.durable.clear();
        }
        let within = |above: &&Path| above.starts_with(base) && *above != base;
        for directory in path.ancestors().take_while(within) {
            if self.durable.contains(directory) {
                break;
            }
            disk.sync_directory(directory.parent().unwrap_or(base))?;
        }
        self.durable.extend(path.ancestors().take_while(within).map(Path::to_owned));
        Ok(())
    }

    /// Whether a voted transaction needs this directory or one below it.
    fn is_reserved(&self, path: &Path) -> bool {
        (self.reserved.range::<Path, _>((Bound::Included(path), Bound::Unbounded)).next())
            .is_some_and(|(reserved, _)| reserved.starts_with(path))
    }
}
