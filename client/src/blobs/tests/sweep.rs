use std::sync::Mutex;

use super::*;
use crate::blobs::lock::Lock;

#[test]
fn a_sweep_removes_the_least_recently_used_blobs() {
    // Ten percent are kept free: 36 bytes may stay.
    let place = TestDir::bounded(40);
    let dir = place.open();
    for (number, accessed) in [(0, 30), (1, 10), (2, 40), (3, 20)] {
        let path = fill(&dir, Oid(number), SERIAL, &[b'x'; 12]).path;
        set_accessed(&path, accessed);
    }
    let left = |dir: &BlobDir| -> Vec<u64> {
        let is_there = |number: &u64| dir.path_of(Oid(*number), SERIAL).unwrap().exists();
        (0..4).filter(is_there).collect()
    };
    // These files are not blobs of the cache.
    place.put("0/0.dl", &[0; 100]);
    place.put("other/0.03f6fcd22ddddddd.blob", &[0; 100]);
    fs::create_dir(place.path("1/1.directory.blob")).unwrap();
    assert_eq!(dir.sweep().unwrap(), Sweep::Done { size: 36, removed: 1 });
    assert_eq!(left(&dir), [0, 2, 3]);
    assert_eq!(dir.sweep().unwrap(), Sweep::Done { size: 36, removed: 0 });

    let tighter = BlobOptions { cache_size: Some(20), ..place.options.clone() };
    let other = BlobDir::open(&tighter).unwrap();
    // Number 3 would be next, but its directory is locked.
    let _download = missing(&dir, Oid(3 + 997), SERIAL);
    assert_eq!(other.sweep().unwrap(), Sweep::Done { size: 12, removed: 2 });
    assert_eq!(left(&dir), [3]);
    assert_eq!(dir.sweep().unwrap(), Sweep::Done { size: 12, removed: 0 });
}

#[test]
fn a_sweep_ends_when_only_blobs_in_use_are_left() {
    let place = TestDir::bounded(0);
    let dir = place.open();
    fill(&dir, OID, SERIAL, b"x");
    let _download = missing(&dir, NEIGHBOR, SERIAL);
    assert_eq!(dir.sweep().unwrap(), Sweep::Done { size: 1, removed: 0 });
}

#[test]
fn one_client_sweeps_at_a_time_and_sees_the_attempts_of_others() {
    let place = TestDir::bounded(0);
    let dir = place.open();
    let sweeper = Lock::try_take(&place.path("check_size.lock")).unwrap();
    assert_eq!(dir.sweep().unwrap(), Sweep::Busy);
    assert!(place.path("check_size.attempt").exists());
    drop(sweeper);
    assert_eq!(dir.sweep().unwrap(), Sweep::Done { size: 0, removed: 0 });
    assert!(!place.path("check_size.attempt").exists());
}

#[test]
fn an_open_blob_can_be_read_after_its_removal() {
    let place = TestDir::bounded(0);
    let dir = place.open();
    let blob = fill(&dir, OID, SERIAL, b"all of it");
    assert_eq!(dir.sweep().unwrap(), Sweep::Done { size: 0, removed: 1 });
    fill(&dir, OID, SERIAL, b"else");
    assert_eq!(content(blob), b"all of it");
}

#[test]
fn a_sweep_is_due_after_its_share_of_new_bytes() {
    let place = TestDir::bounded(100);
    let dir = place.open();
    assert!(dir.sweep_is_due(), "another client may have filled it");
    assert!(!dir.sweep_is_due());
    let mut download = missing(&dir, OID, SERIAL);
    download.append(&[0; 9]).unwrap();
    assert!(!dir.sweep_is_due());
    download.append(&[0; 1]).unwrap();
    assert!(dir.sweep_is_due());
    download.append(&[0; 9]).unwrap();
    download.finish().unwrap();
    assert!(!dir.sweep_is_due());
    let path = place.file(b"x");
    let upload = dir.take_upload(OID, SERIAL, &path, Take::Move).unwrap();
    assert!(!dir.sweep_is_due());
    upload.committed(SERIAL.next()).unwrap();
    assert!(dir.sweep_is_due());
}

#[test]
fn a_cache_without_a_limit_is_not_swept() {
    for place in [TestDir::cache(), TestDir::shared()] {
        let dir = place.open();
        assert!(!dir.sweep_is_due());
        assert_eq!(dir.sweep().unwrap(), Sweep::Unbounded);
    }
}

/// Several clients download, read and sweep at once, in a cache that is far too small.
#[test]
fn a_blob_is_complete_or_missing() {
    let mut place = TestDir::bounded(5000);
    place.options.lock_wait = Duration::MAX;
    let sizes = |number: u64| 100 * (number + 1);
    let whole = |number: u64, blob: Blob| {
        let bytes = content(blob);
        assert_eq!(bytes.len() as u64, sizes(number));
        assert!(bytes.iter().all(|byte| u64::from(*byte) == number));
    };
    let downloads = Mutex::new(0);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (place, downloads) = (&place, &downloads);
            scope.spawn(move || {
                let dir = place.open();
                for step in 0..100_u64 {
                    let number = (step * (2 * worker + 1)) % 16;
                    // Four directories.
                    let oid = Oid(number % 4 + 997 * number);
                    match dir.lookup(oid, SERIAL).unwrap() {
                        Some(blob) => whole(number, blob),
                        None => match dir.download(oid, SERIAL).unwrap() {
                            Fetch::Here(blob) => whole(number, blob),
                            Fetch::Missing(mut download) => {
                                let byte = u8::try_from(number).unwrap();
                                for _ in 0..=number {
                                    download.append(&[byte; 100]).unwrap();
                                }
                                whole(number, download.finish().unwrap());
                                *downloads.lock().unwrap() += 1;
                            }
                        },
                    }
                    if dir.sweep_is_due() {
                        dir.sweep().unwrap();
                    }
                }
            });
        }
    });
    assert!(*downloads.lock().unwrap() > 16, "nothing was removed");
    let Sweep::Done { size, .. } = place.open().sweep().unwrap() else { panic!() };
    assert!(size <= 4500, "{size}");
}
