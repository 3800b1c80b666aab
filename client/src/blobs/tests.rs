use std::fs::{self, File, FileTimes, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rzeo_core::{Oid, Tid};
use tempfile::{TempDir, tempdir};

use super::*;

mod shared;
mod sweep;

const OID: Oid = Oid(1231);
/// An object in the same directory of a cache as [`OID`].
const NEIGHBOR: Oid = Oid(1231 + 997);
const ELSEWHERE: Oid = Oid(1232);
const SERIAL: Tid = Tid(0x03f6_fcd2_2ddd_dddd);

struct TestDir {
    directory: TempDir,
    options: BlobOptions,
}

impl TestDir {
    fn new(options: impl FnOnce(PathBuf) -> BlobOptions) -> Self {
        let directory = tempdir().unwrap();
        let options = options(directory.path().join("blobs"));
        Self { directory, options }
    }

    /// A cache whose clients do not wait for locks.
    fn cache() -> Self {
        let mut place = Self::new(BlobOptions::cache);
        place.options.lock_wait = Duration::ZERO;
        place
    }

    fn bounded(size: u64) -> Self {
        let mut place = Self::cache();
        place.options.cache_size = Some(size);
        place
    }

    fn shared() -> Self {
        Self::new(BlobOptions::shared)
    }

    fn open(&self) -> BlobDir {
        BlobDir::open(&self.options).unwrap()
    }

    fn refused(&self) -> String {
        BlobDir::open(&self.options).unwrap_err().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.path.join(name)
    }

    fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A file of the application.
    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join("application");
        fs::write(&path, content).unwrap();
        path
    }

    /// All files, sorted, except locks and the files of open caches.
    fn files(&self) -> Vec<String> {
        fn walk(directory: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else if path.file_name().unwrap() != ".lock" {
                    found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.options.path, &self.options.path, &mut found);
        found.sort();
        found
    }
}

fn missing(dir: &BlobDir, oid: Oid, serial: Tid) -> Download {
    match dir.download(oid, serial).unwrap() {
        Fetch::Missing(download) => download,
        Fetch::Here(blob) => panic!("{} is there", blob.path.display()),
    }
}

fn fill(dir: &BlobDir, oid: Oid, serial: Tid, content: &[u8]) -> Blob {
    let mut download = missing(dir, oid, serial);
    download.append(content).unwrap();
    download.finish().unwrap()
}

fn content(mut blob: Blob) -> Vec<u8> {
    let mut bytes = Vec::new();
    blob.file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_accessed(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::open(path).unwrap().set_times(FileTimes::new().set_accessed(time)).unwrap();
}

#[test]
fn a_cache_is_made_and_marked() {
    let place = TestDir::cache();
    for _ in 0..2 {
        let dir = place.open();
        assert!(!dir.is_shared());
        assert_eq!(fs::read(place.path(".layout")).unwrap(), b"zeocache");
        assert_eq!(dir.path_of(OID, SERIAL).unwrap(), place.path("234/1.03f6fcd22ddddddd.blob"));
        assert!(dir.lookup(OID, SERIAL).unwrap().is_none());
    }
    // A Python client that is writing the marker leaves it empty for a moment.
    place.put(".layout", b"");
    place.open();
    assert_eq!(fs::read(place.path(".layout")).unwrap(), b"zeocache");
}

#[test]
fn other_directories_are_refused_and_left_unchanged() {
    for marker in ["bushy", "lawn\n", "zoned"] {
        let place = TestDir::cache();
        place.put(".layout", marker.as_bytes());
        let refused = place.refused();
        assert!(refused.contains(marker.trim()) && refused.contains("zeocache"), "{refused}");
        assert_eq!(place.files(), [".layout"]);
        assert!(!place.path("tmp").exists());
    }
    let place = TestDir::cache();
    place.put("0x01/0x02.blob", b"");
    assert!(place.refused().contains("lawn"));
    assert_eq!(place.files(), ["0x01/0x02.blob"]);
}

#[test]
fn a_share_is_less_than_all() {
    let mut place = TestDir::bounded(u64::MAX);
    place.options.check_percent = 100;
    assert!(place.refused().contains("100 percent"));
    place.options.check_percent = 99;
    place.open();
}

#[test]
fn a_download_becomes_a_blob_when_it_is_whole() {
    let place = TestDir::cache();
    let dir = place.open();
    let mut download = missing(&dir, OID, SERIAL);
    assert_eq!(place.files(), [".layout", "234/1.03f6fcd22ddddddd.blob.dl"]);
    download.append(b"thrown away").unwrap();
    download.restart().unwrap();
    download.append(b"one").unwrap();
    download.append(b" two").unwrap();
    assert!(dir.lookup(OID, SERIAL).unwrap().is_none());
    let blob = download.finish().unwrap();
    assert_eq!(mode(&blob.path), 0o400);
    assert_eq!(content(blob), b"one two");
    assert_eq!(place.files(), [".layout", "234/1.03f6fcd22ddddddd.blob"]);
    assert_eq!(content(dir.lookup(OID, SERIAL).unwrap().unwrap()), b"one two");
    let Fetch::Here(blob) = dir.download(OID, SERIAL).unwrap() else { panic!() };
    assert_eq!(content(blob), b"one two");
    // The lock is free by now.
    drop(missing(&dir, NEIGHBOR, SERIAL));
}

#[test]
fn an_abandoned_download_leaves_nothing() {
    let place = TestDir::cache();
    let dir = place.open();
    let mut download = missing(&dir, OID, SERIAL);
    download.append(b"some").unwrap();
    drop(download);
    assert_eq!(place.files(), [".layout"]);
    assert_eq!(content(fill(&dir, OID, SERIAL, b"all")), b"all");
}

#[test]
fn one_downloads_into_a_directory_at_a_time() {
    let place = TestDir::cache();
    let (dir, other) = (place.open(), place.open());
    let download = missing(&dir, OID, SERIAL);
    for oid in [OID, NEIGHBOR] {
        assert!(other.try_download(oid, SERIAL).unwrap().is_none());
        let refused = other.download(oid, SERIAL).unwrap_err().to_string();
        assert!(refused.contains("234/.lock"), "{refused}");
    }
    let holder = fs::read_to_string(place.path("234/.lock")).unwrap();
    assert_eq!(holder, format!(" {}\n", std::process::id()));
    assert!(other.try_download(ELSEWHERE, SERIAL).unwrap().is_some());
    download.finish().unwrap();
    let found = other.try_download(OID, SERIAL).unwrap();
    assert!(matches!(found, Some(Fetch::Here(_))));
}

#[test]
fn a_client_that_waits_for_a_download_finds_the_blob() {
    let mut place = TestDir::cache();
    place.options.lock_wait = Duration::MAX;
    let dir = place.open();
    let mut download = missing(&dir, OID, SERIAL);
    let waiter = thread::spawn(move || match dir.download(OID, SERIAL).unwrap() {
        Fetch::Here(blob) => content(blob),
        Fetch::Missing(_) => panic!("the client did not wait for it"),
    });
    download.append(b"for both").unwrap();
    download.finish().unwrap();
    assert_eq!(waiter.join().unwrap(), b"for both");
}

#[test]
fn files_of_ended_processes_are_removed() {
    let place = TestDir::cache();
    let living = place.open();
    let _download = missing(&living, ELSEWHERE, SERIAL);
    let path = place.file(b"upload");
    let mut upload = living.take_upload(OID, SERIAL, &path, Take::Move).unwrap();
    place.put("234/1.03f6fcd22ddddddd.blob.dl", b"some");
    place.put("tmp/rzeo-dead/upload", b"some");
    place.put("tmp/of-an-application", b"some");
    place.put("234/.hers.tmp-", b"a Python client's upload");
    drop(place.open());
    let upload_name = upload.path().strip_prefix(place.path("")).unwrap().to_str().unwrap();
    let mut expected = [
        ".layout",
        "234/.hers.tmp-",
        "235/1.03f6fcd22ddddddd.blob.dl",
        "tmp/of-an-application",
        upload_name,
    ];
    expected.sort_unstable();
    assert_eq!(place.files(), expected);
    assert!(!place.path("tmp/rzeo-dead").exists());
    assert_eq!(upload.read(0, 9).unwrap(), b"upload");
}

#[test]
fn a_download_replaces_that_of_an_ended_process() {
    let place = TestDir::cache();
    let dir = place.open();
    place.put("234/1.03f6fcd22ddddddd.blob.dl", b"much more than there will be");
    assert_eq!(content(fill(&dir, OID, SERIAL, b"all")), b"all");
    assert_eq!(content(dir.lookup(OID, SERIAL).unwrap().unwrap()), b"all");
}

#[test]
fn a_lookup_counts_as_a_use() {
    let place = TestDir::cache();
    let dir = place.open();
    let path = fill(&dir, OID, SERIAL, b"x").path;
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let ask: [fn(&BlobDir); 2] = [
        |dir| drop(dir.lookup(OID, SERIAL).unwrap().unwrap()),
        |dir| drop(dir.download(OID, SERIAL).unwrap()),
    ];
    for ask in ask {
        set_accessed(&path, 1_000_000);
        ask(&dir);
        let found = fs::metadata(&path).unwrap();
        assert!(found.atime() > 1_000_000_000, "{}", found.atime());
        assert_eq!(found.modified().unwrap(), modified);
    }
}

#[test]
fn an_upload_becomes_a_blob() {
    for take in [Take::Move, Take::Copy] {
        let place = TestDir::cache();
        let dir = place.open();
        let path = place.file(b"0123456789");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let mut upload = dir.take_upload(OID, Tid(1), &path, take).unwrap();
        assert_eq!(path.exists(), take == Take::Copy);
        // Later changes of the application's file have no effect.
        fs::write(&path, b"else").unwrap();
        assert_eq!(upload.size(), 10);
        assert_eq!(upload.shared_name(), None);
        assert_eq!(upload.read(0, 4).unwrap(), b"0123");
        assert_eq!(upload.read(4, 4).unwrap(), b"4567");
        assert_eq!(upload.read(8, 4).unwrap(), b"89");
        assert_eq!(upload.read(10, 4).unwrap(), b"");
        upload.committed(SERIAL).unwrap();
        let blob = dir.lookup(OID, SERIAL).unwrap().unwrap();
        assert_eq!(mode(&blob.path) & !0o044, 0o400);
        assert_eq!(mode(&blob.path) & 0o044, mode(blob.path.parent().unwrap()) & 0o044);
        assert_eq!(content(blob), b"0123456789");
        assert_eq!(place.files(), [".layout", "234/1.03f6fcd22ddddddd.blob"]);
    }
}

#[test]
fn an_abandoned_upload_leaves_nothing() {
    for place in [TestDir::cache(), TestDir::shared()] {
        let dir = place.open();
        let path = place.file(b"x");
        let upload = dir.take_upload(OID, Tid(1), &path, Take::Copy).unwrap();
        assert!(upload.path().exists());
        drop(upload);
        let left = place.files();
        assert!(left.is_empty() || left == [".layout"], "{left:?}");
    }
}

#[test]
fn an_upload_waits_for_a_download_into_its_directory() {
    let place = TestDir::cache();
    let dir = place.open();
    let _download = missing(&dir, NEIGHBOR, SERIAL);
    let path = place.file(b"x");
    let upload = dir.take_upload(OID, Tid(1), &path, Take::Move).unwrap();
    let refused = upload.committed(SERIAL).unwrap_err();
    assert!(matches!(refused, BlobError::Locked { .. }), "{refused}");
    assert!(dir.lookup(OID, SERIAL).unwrap().is_none());
}

#[test]
fn only_files_are_taken() {
    let place = TestDir::cache();
    let dir = place.open();
    let file = place.file(b"x");
    let link = place.directory.path().join("link");
    symlink(&file, &link).unwrap();
    let refused = |path, take| dir.take_upload(OID, Tid(1), path, take).unwrap_err();
    for (path, take) in [(&link, Take::Move), (&place.options.path, Take::Copy)] {
        let refused = refused(path, take);
        assert!(matches!(refused, BlobError::NotAFile { .. }), "{refused}");
    }
    assert!(refused(Path::new("/nowhere"), Take::Move).to_string().contains("/nowhere"));
    let mut upload = dir.take_upload(OID, Tid(1), &link, Take::Copy).unwrap();
    assert_eq!(upload.read(0, 1).unwrap(), b"x");
    assert!(file.exists() && link.exists());
}

/// Runs only if /dev/shm is another file system.
#[test]
fn a_file_from_elsewhere_is_copied_and_removed() {
    let place = TestDir::cache();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(elsewhere.path()) == device(place.directory.path()) {
        return;
    }
    let path = elsewhere.path().join("application");
    fs::write(&path, b"from elsewhere").unwrap();
    let dir = place.open();
    let upload = dir.take_upload(OID, Tid(1), &path, Take::Move).unwrap();
    assert!(!path.exists());
    assert_eq!(upload.size(), 14);
    upload.committed(SERIAL).unwrap();
    assert_eq!(content(dir.lookup(OID, SERIAL).unwrap().unwrap()), b"from elsewhere");
}

#[test]
fn a_temporary_directory_lives_as_long_as_its_owner() {
    let place = TestDir::cache();
    let dir = place.open();
    let temporary = dir.temporary().to_owned();
    let path = temporary.join("mine");
    fs::write(&path, b"x").unwrap();
    let clone = dir.clone();
    drop(dir);
    assert!(path.exists());
    let upload = clone.take_upload(OID, Tid(1), &path, Take::Move).unwrap();
    drop(clone);
    upload.committed(SERIAL).unwrap();
    assert!(!temporary.exists());
    assert_eq!(place.files(), [".layout", "234/1.03f6fcd22ddddddd.blob"]);
}
