//! What reading a configuration needs of the system.
//!
//! The result depends on other files, on environment variables and on which directories exist; all of
//! that comes through [`System`], so that tests, also those with arbitrary text, read no real file.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The largest configuration file.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;

/// Files and variables.
pub(crate) trait System {
    /// A file's bytes. Refuses files over [`FILE_BYTES_MAX`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// An environment variable; one that is not UTF-8 counts as not set.
    fn variable(&self, name: &str) -> Option<String>;
    /// Whether a directory of that name exists.
    fn is_directory(&self, path: &Path) -> bool;
    /// Whether anything of that name exists.
    fn exists(&self, path: &Path) -> bool;
    /// The path seen from the root. Need not exist.
    fn absolute(&self, path: &Path) -> PathBuf;
}

/// The real one.
pub(crate) struct RealSystem;

impl System for RealSystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
            return Err(io::Error::other(format!("over {FILE_BYTES_MAX} bytes")));
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

#[cfg(test)]
pub(crate) mod fake {
    use std::collections::BTreeMap;

    use super::*;

    /// Files and variables in memory. Directories are `/` and `/dir`, which is the current one; the
    /// variable `HOME` is `/dir` at first.
    pub(crate) struct FakeSystem {
        files: BTreeMap<PathBuf, Vec<u8>>,
        variables: BTreeMap<String, String>,
    }

    impl FakeSystem {
        pub(crate) fn with(files: &[(&str, &str)]) -> Self {
            let files = files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec()));
            Self::with_bytes(files)
        }

        pub(crate) fn with_bytes<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
            let files = files.into_iter().map(|(path, bytes)| (path.into(), bytes)).collect();
            Self { files, variables: [("HOME".to_owned(), "/dir".to_owned())].into() }
        }

        pub(crate) fn and_file(mut self, path: &str, text: &str) -> Self {
            self.files.insert(path.into(), text.as_bytes().to_vec());
            self
        }

        pub(crate) fn and_variables(mut self, variables: &[(&str, &str)]) -> Self {
            let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            self.variables.extend(variables);
            self
        }
    }

    impl System for FakeSystem {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            self.files.get(path).cloned().ok_or_else(|| io::Error::from_raw_os_error(2))
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
}
