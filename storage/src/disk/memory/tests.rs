use super::*;

struct Every(usize);

impl Survival for Every {
    fn name_change(&mut self) -> bool {
        true
    }

    fn piece(&mut self, _: &Path) -> bool {
        self.0 += 1;
        self.0.is_multiple_of(2)
    }
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let disk = MemoryDisk::new();
    let path = Path::new("f");
    let file = disk.open(path, Access::Create).unwrap();
    file.write_at(&[b"safe"], 0).unwrap();
    file.sync().unwrap();
    file.write_at(&[&[1; 1024]], 4).unwrap();
    assert_eq!(disk.crash(&mut OnlySynced).bytes(path), None, "its name was not synced");
    disk.sync_directory(Path::new("")).unwrap();
    assert_eq!(disk.crash(&mut OnlySynced).bytes(path).unwrap(), b"safe");
    // Pieces end at 512, 1024 and 1028; the second survives.
    let torn = disk.crash(&mut Every(0)).bytes(path).unwrap();
    assert_eq!(torn.len(), 1024);
    assert_eq!(&torn[..512], [b"safe".as_slice(), &[0; 508]].concat());
    assert_eq!(&torn[512..], [1; 512]);
}

#[test]
fn a_process_after_a_kill_finds_what_is_not_synced() {
    let disk = MemoryDisk::new();
    disk.put("f", b"safe");
    let file = disk.open(Path::new("f"), Access::ReadWrite).unwrap();
    file.write_at(&[b"more"], 4).unwrap();
    disk.rename(Path::new("f"), Path::new("g")).unwrap();
    let forked = disk.fork();
    file.write_at(&[b"lost"], 8).unwrap();
    assert_eq!(forked.bytes("g").unwrap(), b"safemore");
    assert_eq!(forked.crash(&mut OnlySynced).bytes("f").unwrap(), b"safe");
    forked.open(Path::new("g"), Access::Read).unwrap().sync().unwrap();
    forked.sync_directory(Path::new("")).unwrap();
    assert_eq!(forked.crash(&mut OnlySynced).bytes("g").unwrap(), b"safemore");
}

#[test]
fn directories_are_made_and_renamed_durably_or_not() {
    let disk = MemoryDisk::new();
    let path = Path::new;
    disk.put("a/b/f", b"x");
    disk.rename(path("a"), path("c")).unwrap();
    disk.create_directory(path("d/e")).unwrap();
    assert_eq!(disk.bytes("c/b/f").unwrap(), b"x");
    assert_eq!(disk.names(path("c")).unwrap(), ["b"]);
    assert!(disk.metadata(path("a")).unwrap().is_none());
    assert!(disk.remove_directory(path("c/b")).is_err(), "it is not empty");
    let crashed = disk.crash(&mut OnlySynced);
    assert_eq!(crashed.bytes("a/b/f").unwrap(), b"x");
    assert!(crashed.metadata(path("d")).unwrap().is_none());
    disk.remove_directory(path("d/e")).unwrap();
    disk.sync_directory(path("d")).unwrap();
    let crashed = disk.crash(&mut OnlySynced);
    assert_eq!(crashed.bytes("c/b/f").unwrap(), b"x");
    assert!(crashed.metadata(path("d")).unwrap().is_some());
    assert!(crashed.metadata(path("d/e")).unwrap().is_none());
}

#[test]
fn a_fault_strikes_once() {
    let disk = MemoryDisk::new();
    let file = disk.open(Path::new("f"), Access::Create).unwrap();
    disk.fail_call(disk.calls(), Fault::NoSpace);
    let refused = file.write_at(&[b"ab", b"cd"], 0).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    assert_eq!(disk.bytes("f").unwrap(), b"ab");
    file.write_at(&[b"abcd"], 0).unwrap();
}
