//! Access to files and environment variables.
//!
//! What a configuration means depends on included files, on environment variables and on which
//! directories exist. All of that is asked of a [`System`], so that tests read no real file.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::limits::FILE_BYTES_MAX;

/// Files and environment variables.
pub trait System {
    /// Reads a file.
    ///
    /// # Errors
    /// If the file cannot be read, or is larger than [`FILE_BYTES_MAX`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The value of an environment variable; one that is not UTF-8 counts as not set.
    fn variable(&self, name: &str) -> Option<String>;
    /// Whether a directory of that path exists.
    fn is_directory(&self, path: &Path) -> bool;
    /// Whether a file or a directory of that path exists.
    fn exists(&self, path: &Path) -> bool;
    /// The path from the root of the file system. It need not exist.
    fn absolute(&self, path: &Path) -> PathBuf;
}

/// The files and variables of this process.
#[derive(Clone, Copy, Debug)]
pub struct RealSystem;

impl System for RealSystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
            return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }
}

/// Files and environment variables in memory, for tests.
///
/// The current directory is `/dir`. The directories are `/` and `/dir`; a file may have any path. The
/// variable `HOME` is `/dir` unless it is set otherwise.
#[derive(Clone, Debug)]
pub struct MemorySystem {
    files: BTreeMap<PathBuf, Vec<u8>>,
    variables: BTreeMap<String, String>,
}

impl MemorySystem {
    /// A system with these files: pairs of path and text.
    #[must_use]
    pub fn with(files: &[(&str, &str)]) -> Self {
        let empty = Self {
            files: BTreeMap::new(),
            variables: [("HOME".to_owned(), "/dir".to_owned())].into(),
        };
        files.iter().fold(empty, |system, (path, text)| system.and_file(path, *text))
    }

    /// The same system with another file.
    #[must_use]
    pub fn and_file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), bytes.into());
        self
    }

    /// The same system with another environment variable.
    #[must_use]
    pub fn and_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl System for MemorySystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn is_directory(&self, path: &Path) -> bool {
        path == Path::new("/") || path == Path::new("/dir")
    }

    fn exists(&self, path: &Path) -> bool {
        self.is_directory(path) || self.files.contains_key(path)
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        Path::new("/dir").join(path)
    }
}
