//! The directory in which a storage keeps its blobs.
//!
//! Its file `.layout` names one of two ways to arrange blobs in it: `bushy`, a directory per byte of the
//! oid, or the old `lawn`, a directory per object. A directory that was used before there were markers
//! is a lawn.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

const MARKER: &str = ".layout";

/// A directory that cannot hold blobs.
#[derive(Debug, Error)]
pub(crate) enum BlobDirError {
    /// It cannot be made, read or written.
    #[error("cannot prepare the blob directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Its marker says something else than `bushy` or `lawn`.
    #[error("the blob directory {} has a layout that is not known: {layout:?}", path.display())]
    UnknownLayout {
        /// The directory.
        path: PathBuf,
        /// What the marker says.
        layout: String,
    },
}

/// Makes the directory, its `tmp` and its marker if they are missing.
pub(crate) fn prepare(path: &Path) -> Result<(), BlobDirError> {
    let layout = prepare_layout(path)
        .map_err(|source| BlobDirError::Io { path: path.to_owned(), source })?;
    if ["bushy", "lawn"].contains(&layout.as_str()) {
        Ok(())
    } else {
        Err(BlobDirError::UnknownLayout { path: path.to_owned(), layout })
    }
}

fn prepare_layout(path: &Path) -> io::Result<String> {
    let marker = path.join(MARKER);
    fs::create_dir_all(path)?;
    match fs::read_to_string(&marker) {
        Ok(layout) => {
            fs::create_dir_all(path.join("tmp"))?;
            Ok(layout.trim().to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let layout = if is_used(path)? { "lawn" } else { "bushy" };
            fs::create_dir_all(path.join("tmp"))?;
            fs::write(&marker, layout)?;
            Ok(layout.to_owned())
        }
        Err(error) => Err(error),
    }
}

/// Whether there is anything that is not hidden.
fn is_used(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if !entry?.file_name().as_encoded_bytes().starts_with(b".") {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_directories_are_bushy_and_used_ones_lawns() {
        let base = tempfile::tempdir().unwrap();
        let layout = |path: &Path| fs::read_to_string(path.join(MARKER)).unwrap();

        let new = base.path().join("a/b");
        prepare(&new).unwrap();
        prepare(&new).unwrap();
        assert_eq!(layout(&new), "bushy");
        assert!(new.join("tmp").is_dir());

        let used = base.path().join("used");
        fs::create_dir_all(used.join("0x01")).unwrap();
        prepare(&used).unwrap();
        assert_eq!(layout(&used), "lawn");

        fs::write(used.join(MARKER), "bushy\n").unwrap();
        prepare(&used).unwrap();
        assert_eq!(layout(&used), "bushy\n");

        fs::write(used.join(MARKER), "hedge").unwrap();
        assert!(matches!(prepare(&used), Err(BlobDirError::UnknownLayout { .. })));

        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(prepare(&file), Err(BlobDirError::Io { .. })));
    }
}
