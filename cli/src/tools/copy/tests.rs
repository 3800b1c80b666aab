#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Parser as _;
use rzeo_core::storage::{Finishing, Patience, Storage as _, TransactionMeta};
use rzeo_core::{Oid, Tid};
use rzeo_storage::FileStorage;
use rzeo_storage::file::FileOptions;
use tempfile::TempDir;

use super::database::Database as _;
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

    /// Copies until the progress was reported `reports_max` times.
    fn copy_until(&self, reports_max: usize) -> Result<Copied, ToolError> {
        let source = FileSource::open(&self.from, self.from_blobs.clone())?;
        let mut target = Box::new(FileTarget::open(&self.to, self.to_blobs.clone())?);
        let stop = Stop::default();
        let mut reports = 0;
        let copied = copy(&source, &mut *target, &stop, &mut |done, total| {
            assert!(done <= total);
            reports += 1;
            stop.0.store(reports >= reports_max, Ordering::Relaxed);
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

/// Samples whose copies differ from them, as Python's copies do. (The tests in Python compare the bytes.)
const CHANGED: [(&str, &str); 8] = [
    ("flip-oid", "what a record names as the one it replaced is found anew"),
    ("flip-prev", "what a record names as the one it replaced is found anew"),
    (
        "packed-future-back",
        "revisions that a pack kept for pointers back get their predecessors again",
    ),
    ("tail-undone-status", "what is marked as undone is not copied"),
    ("flip-status-u", "what is marked as undone is not copied"),
    ("status-u", "what is marked as undone is not copied"),
    ("tail-bad-status", "an unknown status becomes a plain one"),
    ("packed-dup-undo", "the pack kept another record of two than a copy looks at"),
];

#[test]
fn copies_are_identical() {
    let mut changed = BTreeSet::new();
    let mut copied = 0;
    for entry in fs::read_dir(sample("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let sides = Sides::of_sample(&name);
        // Damaged files, and directories without a database.
        let Ok(source) = FileSource::open(&sides.from, None) else { continue };
        let size = usize::try_from(source.size()).unwrap();
        let result = match sides.copy() {
            Err(ToolError::Storage(_)) if name.starts_with("flip-") => continue,
            result => result.unwrap_or_else(|error| panic!("{name}: {error}")),
        };
        assert!(result.is_complete(), "{name}: {result:?}");
        let is_same = fs::read(&sides.to).unwrap() == fs::read(&sides.from).unwrap()[..size];
        if !is_same {
            changed.insert(name.clone());
        }
        if let (Some(from), Some(to)) = (&sides.from_blobs, &sides.to_blobs)
            // The copy's directory has the layout "bushy".
            && name != "blobs-lawn"
        {
            assert_eq!(blob_files(to), blob_files(from), "{name}");
        }
        copied += 1;
    }
    assert!(copied > 40, "{copied}");
    assert_eq!(changed, CHANGED.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn tids_out_of_order_become_later_ones() {
    let sides = Sides::new(sample("copied-reordered").join("source.fs"), None);
    assert_eq!(sides.copy().unwrap().retimed, 1);
    let pythons = fs::read(sample("copied-reordered").join("Data.fs")).unwrap();
    assert_eq!(fs::read(&sides.to).unwrap(), pythons);
}

/// Wherever it is stopped, also within a transaction, a copy is a prefix of its source, and the next copy
/// resumes there.
#[test]
fn a_stopped_copy_is_resumed() {
    for name in ["undo", "deleted", "metadata", "packed-gc", "blobs-objects", "blobs-packed"] {
        let sides = Sides::of_sample(name);
        let whole = sides.copy().unwrap();
        let expected = fs::read(&sides.to).unwrap();
        for reports_max in 1.. {
            let sides = Sides::of_sample(name);
            let stopped = match sides.copy_until(reports_max) {
                Err(ToolError::Interrupted) => true,
                result => {
                    assert_eq!(result.unwrap(), whole, "{name}");
                    false
                }
            };
            let target = fs::read(&sides.to).unwrap();
            assert_eq!(target, expected[..target.len()], "{name}, {reports_max}");
            let rest = sides.copy().unwrap();
            assert_eq!(rest.last, whole.last);
            assert_eq!(fs::read(&sides.to).unwrap(), expected, "{name}, {reports_max}");
            if let (Some(from), Some(to)) = (&sides.from_blobs, &sides.to_blobs) {
                assert_eq!(blob_files(to), blob_files(from), "{name}, {reports_max}");
            }
            if !stopped {
                break;
            }
        }
    }
}

/// For each transaction its tid, its user, and its records with their lengths.
type Plan<'a> = &'a [(u64, &'static str, &'a [(u64, usize)])];

/// Makes a database; records without a length are deletions.
fn make(path: &Path, plan: Plan<'_>) {
    let storage = FileStorage::open_file(path, FileOptions::default()).unwrap();
    for (tid, user, records) in plan {
        let tid = Tid(*tid << 32);
        let user = user.as_bytes().into();
        let meta = TransactionMeta { user, tid: Some(tid), status: b' ', ..Default::default() };
        let mut vote = storage.begin_vote(&meta, Patience::Wait).unwrap();
        for (oid, len) in *records {
            let data = Some(vec![b'x'; *len].into()).filter(|_| *len > 0).map(bytes::Bytes::into);
            vote.restore(Oid(*oid), tid, data, None).unwrap();
        }
        let voted = vote.seal().unwrap();
        storage.commit(vec![Finishing { tid, voted }]).unwrap();
    }
    storage.close().unwrap();
}

fn made(from: Plan<'_>, to: Plan<'_>) -> Sides {
    let dir = TempDir::new().unwrap();
    let (from_path, to_path) = (dir.path().join("From.fs"), dir.path().join("To.fs"));
    make(&from_path, from);
    make(&to_path, to);
    Sides { from: from_path, to: to_path, from_blobs: None, to_blobs: None, _dir: dir }
}

#[test]
fn only_a_prefix_of_the_source_is_resumed() {
    let source: Plan<'_> = &[(1, "a", &[(0, 9)]), (2, "b", &[(1, 5), (2, 6)]), (3, "", &[(1, 0)])];
    let cases: [(Plan<'_>, &str); 6] = [
        (
            &[(1, "a", &[(0, 8)])],
            "has a different record of object 0x0000000000000000 in the source",
        ),
        (&[(1, "z", &[(0, 9)])], "transaction 0x0000000100000000 has a different user in"),
        (
            &[(2, "b", &[(1, 5)])],
            "has a different record of object 0x0000000000000002 in the source",
        ),
        (&[(2, "b", &[(1, 5), (2, 6), (7, 1)])], "a different record of object 0x0000000000000007"),
        (
            &[(3, "", &[(1, 1)])],
            "has a different record of object 0x0000000000000001 in the source",
        ),
        (&[(4, "", &[])], "its last transaction 0x0000000400000000 is not in"),
    ];
    for (target, expected) in cases {
        let sides = made(source, target);
        let before = fs::read(&sides.to).unwrap();
        let refusal = sides.refusal();
        assert!(refusal.contains(expected), "{refusal}");
        assert!(refusal.contains("To.fs does not hold a prefix of "), "{refusal}");
        assert_eq!(fs::read(&sides.to).unwrap(), before);
    }
    let done = made(source, source).copy().unwrap();
    assert_eq!((done.transactions, done.last), (0, Some(Tid(3 << 32))));
    // Transactions before the last one are not compared.
    let rest = made(source, &[(2, "b", &[(2, 6), (1, 5)])]).copy().unwrap();
    assert_eq!((rest.transactions, rest.records), (1, 1));
    let empty = made(&[], &[]).copy().unwrap();
    assert_eq!((empty.transactions, empty.last), (0, None));
}

#[test]
fn a_transaction_too_large_for_memory_goes_through_a_file() {
    let large = &[(1, 5 << 20), (2, 2 << 20), (3, 4 << 20), (4, 3 << 20)];
    let sides = made(&[(1, "", large), (2, "", &[(1, 7)])], &[]);
    assert_eq!(sides.copy().unwrap().records, 5);
    assert_eq!(fs::read(&sides.to).unwrap(), fs::read(&sides.from).unwrap());
}

#[test]
fn blobs_that_were_not_copied_are_reported() {
    let sides = Sides::of_sample("blobs-objects");
    let count = sides.copy().unwrap().blobs;
    assert!(count > 1);

    // A blob without its file.
    let dir = TempDir::new().unwrap();
    let from_blobs = dir.path().join("from");
    let files = blob_files(sides.from_blobs.as_ref().unwrap());
    for (n, (name, content)) in files.into_iter().enumerate() {
        let path = from_blobs.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if n > 0 {
            fs::write(path, content).unwrap();
        }
    }
    fs::copy(sides.from_blobs.as_ref().unwrap().join(".layout"), from_blobs.join(".layout"))
        .unwrap();
    let poor = Sides::new(sides.from.clone(), Some(from_blobs));
    let copied = poor.copy().unwrap();
    assert_eq!((copied.blobs, copied.missing.len(), copied.is_complete()), (count - 1, 1, false));
    assert_eq!(fs::read(&poor.to).unwrap(), fs::read(&sides.to).unwrap());

    // Blobs are not asked for.
    let bare = Sides::new(sides.from.clone(), None);
    let copied = bare.copy().unwrap();
    assert_eq!((copied.blobs, copied.without_blobs, copied.is_complete()), (0, count, true));
    assert_eq!(fs::read(&bare.to).unwrap(), fs::read(&sides.to).unwrap());
}

fn options(arguments: &[&str]) -> Options {
    let words = ["rzeo", "copy"].iter().chain(arguments);
    match Args::try_parse_from(words).unwrap().command {
        Command::Copy(options) => options,
        other => unreachable!("copy was asked for, not {other:?}"),
    }
}

#[test]
fn options_for_the_wrong_side_are_refused() {
    let refusal = |arguments: &[&str]| match options(arguments).refuse_nonsense() {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    };
    let cases: [(&[&str], &str); 8] = [
        (&["a.fs", "--from-tls", ":1"], "--from-tls needs a server, but a.fs is a file"),
        (&[":2", "--tls-ca", "x", ":1"], "--tls-ca has no effect without --from-tls or --to-tls"),
        (&["a.fs", "--from-storage", "x", ":1"], "--from-storage needs a server, but a.fs"),
        (&[":1", "--to-storage", "x", "a.fs"], "--to-storage needs a server, but a.fs"),
        (&[":1", "--from-blobs", "x", "a.fs"], "--from-blobs needs a file"),
        (&["a.fs", "--to-blobs", "x", "unix:z"], "--to-blobs needs a file, but unix:z is a server"),
        (&["a.fs", "--to-blobs", "x", "b.fs"], "use both --from-blobs and --to-blobs"),
        (&["Cargo.toml", "./Cargo.toml"], "./Cargo.toml is the same file as Cargo.toml"),
    ];
    for (arguments, expected) in cases {
        let refusal = refusal(arguments);
        assert!(refusal.contains(expected), "{refusal}");
    }
    assert_eq!(refusal(&["a.fs", "--from-blobs", "x", "--to-blobs", "y", "b.fs"]), "");
    assert_eq!(refusal(&[":1", "--from-storage", "x", "--to-blobs", "y", "b.fs"]), "");
}
