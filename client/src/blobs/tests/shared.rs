use rzeo_core::storage::Storage;
use rzeo_storage::blob::BlobDirectory;
use rzeo_storage::disk::RealDisk;
use rzeo_storage::{BlobStorage, MappingStorage};

use std::sync::Arc;

use super::*;

#[test]
fn a_missing_blob_of_a_shared_directory_cannot_be_downloaded() {
    let place = TestDir::shared();
    let dir = place.open();
    assert!(dir.is_shared());
    assert!(!place.path("").exists(), "only the server makes it");
    let path = dir.path_of(OID, SERIAL).unwrap();
    let expected = format!("no blob file at {}", path.display());
    assert_eq!(dir.lookup(OID, SERIAL).unwrap_err().to_string(), expected);
    assert_eq!(dir.download(OID, SERIAL).unwrap_err().to_string(), expected);
    assert_eq!(dir.try_download(OID, SERIAL).unwrap_err().to_string(), expected);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"x").unwrap();
    place.put(".layout", b"bushy");
    set_accessed(&path, 1_000_000);
    assert_eq!(content(dir.lookup(OID, SERIAL).unwrap().unwrap()), b"x");
    assert!(matches!(dir.download(OID, SERIAL).unwrap(), Fetch::Here(_)));
}

#[test]
fn a_shared_directory_has_the_layout_of_the_server() {
    let place = TestDir::shared();
    place.put("0x01/0x02.blob", b"");
    let dir = place.open();
    let name = |dir: &BlobDir| dir.path_of(Oid(1), Tid(3)).unwrap();
    assert_eq!(name(&dir), place.path("0x01/0x03.blob"));
    let bushy = place.path("0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x01/0x03.blob");
    place.put(".layout", b"bushy\n");
    assert_eq!(name(&dir), bushy);
    assert_eq!(name(&place.open()), bushy);
    for marker in ["zeocache", "zoned"] {
        place.put(".layout", marker.as_bytes());
        assert!(place.refused().contains(marker));
    }
}

#[test]
fn the_server_has_the_same_names() {
    for marker in ["", "bushy", "lawn"] {
        let place = TestDir::shared();
        place.put("tmp/x", b"");
        if !marker.is_empty() {
            place.put(".layout", marker.as_bytes());
        }
        let dir = place.open();
        // A client that opens the directory first must choose the same layout as the server.
        let name = dir.path_of(OID, SERIAL).unwrap();
        let server = BlobDirectory::open(&RealDisk, &place.options.path, false).unwrap();
        assert_eq!(name, server.file(OID, SERIAL));
        for (oid, tid) in [(0, 0), (1234, 1), (u64::MAX, SERIAL.0)] {
            let (oid, tid) = (Oid(oid), Tid(tid));
            assert_eq!(dir.path_of(oid, tid).unwrap(), server.file(oid, tid));
        }
    }
}

#[test]
fn the_server_takes_an_upload() {
    let place = TestDir::shared();
    let dir = place.open();
    let storage = Arc::new(MappingStorage::named("numbers"));
    let server = BlobStorage::open_directory(&place.options.path, storage).unwrap();
    let server = server.blobs().unwrap();
    for take in [Take::Move, Take::Copy] {
        let path = place.file(b"0123456789");
        let mut upload = dir.take_upload(OID, SERIAL, &path, take).unwrap();
        assert_eq!(path.exists(), take == Take::Copy);
        let name = upload.shared_name().unwrap().to_owned();
        assert!(name.starts_with("0x03f6fcd22ddddddd") && name.ends_with(".tmp-"), "{name}");
        assert_eq!(upload.path().parent(), dir.path_of(OID, SERIAL).unwrap().parent());
        assert_eq!(mode(upload.path()) & 0o222, 0);
        assert_eq!(upload.read(8, 9).unwrap(), b"89");
        let taken = server.shared_upload(OID, &name).unwrap();
        assert_eq!(&taken.read(0, 10).unwrap()[..], b"0123456789");
        fs::rename(upload.path(), dir.path_of(OID, SERIAL).unwrap()).unwrap();
        upload.committed(SERIAL).unwrap();
        assert_eq!(content(dir.lookup(OID, SERIAL).unwrap().unwrap()), b"0123456789");
    }
}
