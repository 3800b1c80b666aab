//! Opens the storages of a configuration.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

use rzeo_core::storage::{Storage, StorageError};
use rzeo_host::StorageSpec;
use rzeo_storage::demo::{self, DEFAULT_MAPPING_NAME};
use rzeo_storage::file::FileOptions;
use rzeo_storage::{BlobStorage, DemoStorage, FileStorage, MappingStorage};

use crate::config::{FileConfig, StorageConfig, StorageKind, ZeoClientConfig};
use crate::proxy;

/// Opens a storage under its name.
pub(crate) fn open(config: &StorageConfig) -> Result<StorageSpec, StorageError> {
    Ok(StorageSpec { name: config.name.clone(), storage: open_kind(&config.kind)? })
}

/// Opens a storage so that nothing is created or changed: files are read, and one that does not exist is
/// replaced by an empty storage in memory.
pub(crate) fn open_unchanged(config: &StorageConfig) -> Result<StorageSpec, StorageError> {
    let storage = open_kind(&unchanged(&config.kind))?;
    Ok(StorageSpec { name: config.name.clone(), storage })
}

fn unchanged(kind: &StorageKind) -> StorageKind {
    let boxed = |kind: &Option<Box<StorageKind>>| kind.as_deref().map(unchanged).map(Box::new);
    match kind {
        // The directory of blobs would be created, and needs not be opened to test.
        StorageKind::Blob { base, .. } => unchanged(base),
        StorageKind::Demo { name, base, changes } => {
            StorageKind::Demo { name: name.clone(), base: boxed(base), changes: boxed(changes) }
        }
        StorageKind::File(file) if file.path.exists() => {
            StorageKind::File(FileConfig { read_only: true, blob_dir: None, ..file.clone() })
        }
        StorageKind::File(file) => StorageKind::Mapping { name: file.path.display().to_string() },
        StorageKind::Mapping { .. } => kind.clone(),
        StorageKind::Zeo(client) => {
            let client = ZeoClientConfig { cache_path: None, blob_dir: None, ..(**client).clone() };
            StorageKind::Zeo(Box::new(client))
        }
    }
}

/// Finds, without an effect, what would keep a storage from being created.
pub(crate) fn check(config: &StorageConfig) -> Result<(), StorageError> {
    check_kind(&config.kind)
}

fn check_kind(kind: &StorageKind) -> Result<(), StorageError> {
    match kind {
        StorageKind::Blob { base, .. } => check_kind(base),
        StorageKind::Demo { base, changes, .. } => {
            base.iter().chain(changes).try_for_each(|kind| check_kind(kind))
        }
        StorageKind::File(file) => check_directory(&file.path),
        StorageKind::Mapping { .. } | StorageKind::Zeo(_) => Ok(()),
    }
}

fn check_directory(path: &Path) -> Result<(), StorageError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match directory.filter(|directory| !directory.is_dir()) {
        None => Ok(()),
        Some(directory) => Err(StorageError::Disk {
            doing: format!("open {}", path.display()),
            text: format!("the directory {} does not exist", directory.display()),
            code: None,
        }),
    }
}

fn open_kind(kind: &StorageKind) -> Result<Arc<dyn Storage>, StorageError> {
    Ok(match kind {
        StorageKind::Blob { directory, base } => match &**base {
            StorageKind::File(file) => {
                let blob_dir = Some(directory.clone());
                Arc::new(open_file(&FileConfig { blob_dir, ..file.clone() })?)
            }
            other => Arc::new(BlobStorage::open_directory(directory, open_kind(other)?)?),
        },
        StorageKind::Demo { name, base, changes } => {
            let base = open_base(base.as_deref())?;
            let changes = open_changes(changes.as_deref(), &*base)?;
            Arc::new(DemoStorage::new(name.clone(), base, changes, random()))
        }
        StorageKind::File(file) => Arc::new(open_file(file)?),
        StorageKind::Mapping { name } => Arc::new(MappingStorage::named(name.as_str())),
        StorageKind::Zeo(client) => Arc::new(proxy::open(client)?),
    })
}

fn open_base(kind: Option<&StorageKind>) -> Result<Arc<dyn Storage>, StorageError> {
    kind.map_or_else(|| Ok(Arc::new(MappingStorage::named(DEFAULT_MAPPING_NAME)) as _), open_kind)
}

/// What may be held by the base is not garbage, so a pack of the changes does not collect any.
fn open_changes(
    kind: Option<&StorageKind>,
    base: &dyn Storage,
) -> Result<Arc<dyn Storage>, StorageError> {
    kind.map_or_else(|| Ok(Arc::new(demo::temporary_changes(base)) as _), open_uncollected)
}

fn open_uncollected(kind: &StorageKind) -> Result<Arc<dyn Storage>, StorageError> {
    let uncollected = match kind {
        StorageKind::File(file) => StorageKind::File(FileConfig { pack_gc: false, ..file.clone() }),
        StorageKind::Mapping { name } => {
            let changes = MappingStorage::named(name.as_str()).without_garbage_collection();
            return Ok(Arc::new(changes));
        }
        StorageKind::Blob { directory, base } => match &**base {
            StorageKind::File(file) => {
                let file = FileConfig { pack_gc: false, ..file.clone() };
                let base = Box::new(StorageKind::File(file));
                StorageKind::Blob { directory: directory.clone(), base }
            }
            StorageKind::Blob { .. }
            | StorageKind::Demo { .. }
            | StorageKind::Mapping { .. }
            | StorageKind::Zeo(_) => {
                let base = open_uncollected(base)?;
                return Ok(Arc::new(BlobStorage::open_directory(directory, base)?));
            }
        },
        StorageKind::Demo { .. } | StorageKind::Zeo(_) => kind.clone(),
    };
    open_kind(&uncollected)
}

/// An unpredictable number, from the place where the standard library gets the keys of its maps.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn open_file(config: &FileConfig) -> Result<FileStorage, StorageError> {
    let options = FileOptions {
        read_only: config.read_only,
        create: config.create,
        quota: config.quota,
        pack_gc: config.pack_gc,
        pack_keep_old: config.pack_keep_old,
        blob_dir: config.blob_dir.clone(),
    };
    FileStorage::open_file(&config.path, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: &StorageKind) -> String {
        open_kind(kind).unwrap().description().name
    }

    #[test]
    fn a_demo_storage_is_in_memory_by_default() {
        let demo = |base, changes| StorageKind::Demo { name: None, base, changes };
        let nothing = demo(None, None);
        assert_eq!(name(&nothing), "DemoStorage('MappingStorage', 'MappingStorage')");
        let mapping = || Some(Box::new(StorageKind::Mapping { name: "it's".to_owned() }));
        assert_eq!(name(&demo(mapping(), None)), "DemoStorage(\"it's\", 'MappingStorage')");
        assert_eq!(name(&demo(None, mapping())), "DemoStorage('MappingStorage', \"it's\")");
        let named = StorageKind::Demo { name: Some("x".to_owned()), base: None, changes: None };
        assert_eq!(name(&named), "x");
        assert_ne!(random(), random());
    }
}
