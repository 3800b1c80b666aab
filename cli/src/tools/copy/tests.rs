#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Parser as _;
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::{Finishing, Patience, Storage as _, TransactionMeta};
use rzeo_storage::FileStorage;
use rzeo_storage::file::FileOptions;
use tempfile::TempDir;

use super::database::{Database as _, Source as _, Target as _};
use super::*;
use crate::args::{Args, Command};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/samples").join(name)
}

/// Both sides of a copy in files.
struct Sides {
    from: PathBuf,
    to: PathBuf,
    from_blobs: Option<PathBuf>,
    to_blobs: Option<PathBuf>,
    _dir: TempDir,
}

impl Sides {
    fn new(from: PathBuf, from_blobs: Option<PathBuf>) -> Self {
        let dir = TempDir::new().unwrap();
        let to = dir.path().join("Data.fs");
        let to_blobs = from_blobs.as_ref().map(|_| dir.path().join("blobs"));
        Self { from, to, from_blobs, to_blobs, _dir: dir }
    }

    fn of_sample(name: &str) -> Self {
        let blobs = Some(sample(name).join("blobs")).filter(|blobs| blobs.exists());
        Self::new(sample(name).join("Data.fs"), blobs)
    }

    /// Copies until the progress has been told so often.
    fn copy_until(&self, told_max: usize) -> Result<Copied, ToolError> {
        let source = FileSource::open(&self.from, self.from_blobs.clone())?;
        let mut target = Box::new(FileTarget::open(&self.to, self.to_blobs.clone())?);
        let stop = Stop::default();
        let mut told = 0;
        let copied = copy(&source, &mut *target, &stop, &mut |done, total| {
            assert!(done <= total);
            told += 1;
            stop.0.store(told >= told_max, Ordering::Relaxed);
        });
        target.close()?;
        copied
    }

    fn copy(&self) -> Result<Copied, ToolError> {
        self.copy_until(usize::MAX)
    }

    fn refusal(&self) -> String {
        self.copy().unwrap_err().to_string()
    }
}

/// The blob files below a directory, by their paths there.
fn blob_files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![path.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() {
                todo.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "blob") {
                let name = entry.strip_prefix(path).unwrap().to_owned();
                found.insert(name, fs::read(entry).unwrap());
            }
        }
    }
    found
}

/// What makes a copy of these no image of the original, in Python as here.
const CHANGED: [(&str, &str); 2] = [
    ("status-u", "undone transactions are not copied"),
    ("flip-status-u", "undone transactions are not copied"),
];

#[test]
fn copies_are_identical() {
    let mut copied = 0;
    for entry in fs::read_dir(sample("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let sides = Sides::of_sample(&name);
        let Ok(source) = FileSource::open(&sides.from, None) else { continue };
        let size = usize::try_from(source.size()).unwrap();
        let result = match sides.copy() {
            Err(ToolError::Storage(_)) if name.starts_with("flip-") => continue,
            result => result.unwrap_or_else(|error| panic!("{name}: {error}")),
        };
        assert!(result.is_complete(), "{name}: {result:?}");
        let is_same = fs::read(&sides.to).unwrap() == fs::read(&sides.from).unwrap()[..size];
        let changed = CHANGED.iter().any(|(changed, _)| *changed == name);
        println!("{name} {is_same} {changed}");
        if is_same == changed { println!("WRONG {name}"); }
        if let (Some(from), Some(to)) = (&sides.from_blobs, &sides.to_blobs)
            && name != "blobs-lawn"
        {
            assert_eq!(blob_files(to), blob_files(from), "{name}");
        }
        copied += 1;
    }
    assert!(copied > 40, "{copied}");
}
