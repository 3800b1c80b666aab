//! A directory of blobs that a client shares with the server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rzeo_core::{Oid, Tid};
use tempfile::{Builder, TempPath};

use super::blob_file::{Blob, any_mode, open_if_there};
use super::error::{BlobError, doing};
use super::names::{Layout, TEMPORARY, marker};

/// Maximum number of attempts to make a directory, which a pack of the server removes while it is empty.
const TRIES: usize = 10;

/// A directory with the layout of the server, which may not exist before the server has opened it.
#[derive(Debug)]
pub(super) struct Shared {
    root: PathBuf,
    temporary: PathBuf,
    /// The layout, once there is a marker.
    layout: OnceLock<Layout>,
}

impl Shared {
    pub(super) fn open(path: &Path) -> Result<Self, BlobError> {
        let root = std::path::absolute(path).map_err(doing("find", path))?;
        let temporary = root.join(TEMPORARY);
        let shared = Self { root, temporary, layout: OnceLock::new() };
        shared.layout()?;
        Ok(shared)
    }

    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// The layout; without a marker, the one that the server will choose.
    fn layout(&self) -> Result<Layout, BlobError> {
        if let Some(layout) = self.layout.get() {
            return Ok(*layout);
        }
        let layout = match marker(&self.root)?.as_deref() {
            Some("bushy") => Layout::Bushy,
            Some("lawn") => Layout::Lawn,
            Some(found) => {
                let (path, found) = (self.root.clone(), found.to_owned());
                return Err(BlobError::Layout { path, found, wanted: "a server's, bushy or lawn" });
            }
            None if self.holds_blobs()? => return Ok(Layout::Lawn),
            None => return Ok(Layout::Bushy),
        };
        Ok(*self.layout.get_or_init(|| layout))
    }

    fn holds_blobs(&self) -> Result<bool, BlobError> {
        let holds = || -> io::Result<bool> {
            for entry in fs::read_dir(&self.root)? {
                let name = entry?.file_name();
                if name != TEMPORARY && !name.as_encoded_bytes().starts_with(b".") {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match holds() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            holds => holds.map_err(doing("list", &self.root)),
        }
    }

    pub(super) fn file(&self, oid: Oid, serial: Tid) -> Result<PathBuf, BlobError> {
        Ok(self.layout()?.file(&self.root, oid, serial))
    }

    pub(super) fn lookup(&self, oid: Oid, serial: Tid) -> Result<Blob, BlobError> {
        let path = self.file(oid, serial)?;
        open_if_there(path.clone())?.ok_or(BlobError::NoFile { path })
    }

    /// Makes an empty file beside the object's revisions, with a name that servers accept.
    pub(super) fn new_upload(&self, oid: Oid, serial: Tid) -> Result<TempPath, BlobError> {
        let directory = self.layout()?.directory(&self.root, oid);
        let prefix = serial.short().to_string();
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(".tmp-").permissions(any_mode());
        let mut tries = 0;
        loop {
            fs::create_dir_all(&directory).map_err(doing("create", &directory))?;
            tries += 1;
            match builder.tempfile_in(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
                made => {
                    return made
                        .map(tempfile::NamedTempFile::into_temp_path)
                        .map_err(doing("create a file in", &directory));
                }
            }
        }
    }
}
