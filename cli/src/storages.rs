//! Opens the storages of a configuration.

use std::sync::Arc;

use rzeo_core::storage::{Storage, StorageError};
use rzeo_host::StorageSpec;
use rzeo_storage::file::FileOptions;
use rzeo_storage::{FileStorage, MappingStorage};
use thiserror::Error;

use crate::blob_dir::{self, BlobDirError};
use crate::config::{FileConfig, StorageConfig, StorageKind};

/// A storage that cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// Because of its blobs.
    #[error(transparent)]
    Blobs(#[from] BlobDirError),
    /// Because it is of a kind that is not there yet.
    #[error("<demostorage> cannot be opened by this version; serve its base, or a copy of it")]
    Demo,
    /// Because of its records.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Opens a storage under its name.
pub(crate) fn open(config: &StorageConfig) -> Result<StorageSpec, OpenError> {
    Ok(StorageSpec { name: config.name.clone(), storage: open_kind(&config.kind)? })
}

fn open_kind(kind: &StorageKind) -> Result<Arc<dyn Storage>, OpenError> {
    Ok(match kind {
        StorageKind::Blob { directory, base } => match &**base {
            StorageKind::File(file) => {
                let blob_dir = Some(directory.clone());
                Arc::new(open_file(&FileConfig { blob_dir, ..file.clone() })?)
            }
            other => {
                blob_dir::prepare(directory)?;
                open_kind(other)?
            }
        },
        StorageKind::Demo { .. } => return Err(OpenError::Demo),
        StorageKind::File(file) => Arc::new(open_file(file)?),
        StorageKind::Mapping { name } => Arc::new(MappingStorage::named(name.as_str())),
    })
}

fn open_file(config: &FileConfig) -> Result<FileStorage, OpenError> {
    let options = FileOptions {
        read_only: config.read_only,
        create: config.create,
        quota: config.quota,
        pack_gc: config.pack_gc,
        pack_keep_old: config.pack_keep_old,
        blob_dir: config.blob_dir.clone(),
    };
    Ok(FileStorage::open_file(&config.path, options)?)
}
