//! Lists the blob files of a directory, without looking at records.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use rzeo_core::storage::StorageError;
use rzeo_core::{Oid, Tid};

use crate::blob::{BlobDirectory, Layout};
use crate::disk::{Disk, failed};

/// Revisions of blobs: object and tid.
pub(super) type Revisions = BTreeSet<(Oid, Tid)>;

/// Directory levels above the files of an object in the bushy layout.
const BUSHY_LEVELS: usize = 8;

/// All revisions that have a file. Files without the name of a blob file are ignored, as in Python:
/// clients that share the directory keep their own files in it.
pub(super) fn revisions(
    disk: &dyn Disk,
    path: &Path,
    directory: &BlobDirectory,
) -> Result<Revisions, StorageError> {
    let mut found = Revisions::new();
    let listed = match directory.layout() {
        Layout::Bushy => bushy(disk, path, &mut Vec::new(), &mut found),
        Layout::Lawn => lawn(disk, path, &mut found),
    };
    listed.map_err(|error| failed(|| format!("list {}", path.display()), &error))?;
    Ok(found)
}

fn bushy(disk: &dyn Disk, path: &Path, oid: &mut Vec<u8>, found: &mut Revisions) -> io::Result<()> {
    if oid.len() == BUSHY_LEVELS {
        let oid = Oid::from_slice(oid).expect("eight bytes are an oid");
        return files(disk, path, oid, found);
    }
    for name in names(disk, path)? {
        if let Some(byte) = hex(&name).and_then(|byte| u8::try_from(byte).ok()) {
            oid.push(byte);
            bushy(disk, &path.join(&name), oid, found)?;
            oid.pop();
        }
    }
    Ok(())
}

fn lawn(disk: &dyn Disk, path: &Path, found: &mut Revisions) -> io::Result<()> {
    for name in names(disk, path)? {
        if let Some(oid) = hex(&name) {
            files(disk, &path.join(&name), Oid(oid), found)?;
        }
    }
    Ok(())
}

fn files(disk: &dyn Disk, path: &Path, oid: Oid, found: &mut Revisions) -> io::Result<()> {
    for name in names(disk, path)? {
        let stem = name.to_str().and_then(|name| name.strip_suffix(".blob"));
        if let Some(tid) = stem.and_then(|stem| hex(OsStr::new(stem))) {
            found.insert((oid, Tid(tid)));
        }
    }
    Ok(())
}

/// The names in a directory; none if it is a file or was removed meanwhile.
fn names(disk: &dyn Disk, path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    match disk.names(path) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) =>
        {
            Ok(Vec::new())
        }
        names => names,
    }
}

fn hex(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}
