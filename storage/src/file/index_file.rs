//! The index file: the [`Index`] as of the last close, so that opening does not read all of the
//! data file.
//!
//! It is a sequence of pickles, and this module writes exactly the bytes that Python's ZODB writes:
//! the position up to which the index is good, a pair of bytes for each 65,536 oids (their common
//! first six bytes; then their last two bytes each, then their positions in six bytes each), and
//! `None`. Older forms, one pickled dict, are read too.
//!
//! The file is a hint. If anything is wrong with it, the storage opens without it, so the reader
//! only has to be quick, to reject bad files, and to use no more memory than a few times the file's
//! size.

mod buckets;
mod old;

use std::path::{Path, PathBuf};

use rzeo_core::storage::StorageError;

pub(crate) use self::buckets::Unusable;
use self::buckets::add_buckets;
use super::index::Index;
use crate::disk::{Access, Disk, DiskFile, failed, remove_if_there};

/// Bytes gathered before each write.
const CHUNK: usize = 1 << 20;
/// The greatest position that an index file can hold.
const POSITION_MAX: u64 = (1 << 48) - 1;

/// The name of a data file's index file.
pub(crate) fn path_of(data: &Path) -> PathBuf {
    with_suffix(data, ".index")
}

/// A file name with something appended.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The directory of a data file and the files beside it.
pub(crate) fn directory_of(data: &Path) -> &Path {
    data.parent().unwrap_or(Path::new(""))
}

/// Reads the index file of a data file with `data_len` bytes: the position up to which it is good,
/// and the index. A valid index file is not much longer than its data file, so the number of bytes
/// read is limited.
pub(crate) fn load(disk: &dyn Disk, data: &Path, data_len: u64) -> Result<(u64, Index), Unusable> {
    let read = || {
        let file = disk.open(&path_of(data), Access::Read)?;
        let len = file.len()?.min(data_len.saturating_add(4096));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let filled = file.read_at(&mut bytes, 0)?;
        bytes.truncate(filled);
        Ok(bytes)
    };
    let bytes = read().map_err(|error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Unreadable(error.to_string()),
    })?;
    parse(bytes)
}

/// Writes an index file. `end` is the position up to which the index is good. The previous file is
/// replaced when the new one is complete.
pub(crate) fn save(
    disk: &dyn Disk,
    data: &Path,
    end: u64,
    index: &Index,
) -> Result<(), StorageError> {
    prepare(disk, data, end, index)?;
    install(disk, data)
}

/// The first half of [`save`]: writes the file under another name.
pub(crate) fn prepare(
    disk: &dyn Disk,
    data: &Path,
    end: u64,
    index: &Index,
) -> Result<(), StorageError> {
    let temporary = temporary(data);
    let write = || {
        if end > POSITION_MAX {
            return Err(std::io::Error::other(
                "a position is greater than the maximum of six bytes",
            ));
        }
        let file = disk.open(&temporary, Access::Create)?;
        write(&*file, end, index)?;
        file.sync()
    };
    write().map_err(|error| failed(|| format!("write {}", temporary.display()), &error))
}

/// The second half of [`save`]: renames the file, durably. A crash must not bring back an older
/// index: it may belong to another data file, and would be accepted once this one has grown.
pub(crate) fn install(disk: &dyn Disk, data: &Path) -> Result<(), StorageError> {
    let path = path_of(data);
    (disk.rename(&temporary(data), &path))
        .and_then(|()| disk.sync_directory(directory_of(data)))
        .map_err(|error| failed(|| format!("write {}", path.display()), &error))
}

/// Removes the index file, durably.
pub(crate) fn discard(disk: &dyn Disk, data: &Path) -> Result<(), StorageError> {
    let path = path_of(data);
    remove_if_there(disk, &path)
        .and_then(|()| disk.sync_directory(directory_of(data)))
        .map_err(|error| failed(|| format!("remove {}", path.display()), &error))
}

fn temporary(data: &Path) -> PathBuf {
    // The doubled suffix is Python's.
    with_suffix(&path_of(data), ".index_tmp")
}

fn write(file: &dyn DiskFile, end: u64, index: &Index) -> std::io::Result<()> {
    let mut at = 0;
    let mut chunk = Vec::new();
    let mut result = Ok(());
    format(end, index, |part| {
        chunk.extend_from_slice(part);
        if chunk.len() >= CHUNK && result.is_ok() {
            result = file.write_at(&[&chunk], at);
            at += chunk.len() as u64;
            chunk.clear();
        }
    });
    result?;
    file.write_at(&[&chunk], at)
}

/// Passes the bytes of an index file to `put`, in parts.
fn format(end: u64, index: &Index, mut put: impl FnMut(&[u8])) {
    let mut head = vec![0x80, 3];
    push_int(&mut head, end);
    head.push(b'.');
    put(&head);
    let mut entries = index.iter().peekable();
    while let Some((first, _)) = entries.peek() {
        let prefix = first.0 >> 16;
        let mut suffixes = Vec::new();
        let mut positions = Vec::new();
        while let Some((oid, at)) = entries.next_if(|(oid, _)| oid.0 >> 16 == prefix) {
            suffixes.extend_from_slice(&oid.to_bytes()[6..]);
            positions.extend_from_slice(&at.to_be_bytes()[2..]);
        }
        let mut pair = vec![0x80, 3];
        push_bytes(&mut pair, &prefix.to_be_bytes()[2..]);
        push_bytes(&mut pair, &[suffixes, positions].concat());
        pair.extend_from_slice(b"\x86.");
        put(&pair);
    }
    put(b"\x80\x03N.");
}

fn push_int(out: &mut Vec<u8>, value: u64) {
    if let Ok(small) = u8::try_from(value) {
        out.extend_from_slice(&[b'K', small]);
    } else if let Ok(short) = u16::try_from(value) {
        out.push(b'M');
        out.extend_from_slice(&short.to_le_bytes());
    } else if let Ok(int) = i32::try_from(value) {
        out.push(b'J');
        out.extend_from_slice(&int.to_le_bytes());
    } else {
        // Two's complement: a zero byte in front if the highest bit is set.
        let used = u8::try_from((64 - value.leading_zeros()) / 8 + 1).expect("at most nine");
        let bytes = u128::from(value).to_le_bytes();
        out.extend_from_slice(&[0x8a, used]);
        out.extend_from_slice(&bytes[..usize::from(used)]);
    }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(len) = u8::try_from(bytes.len()) {
        out.extend_from_slice(&[b'C', len]);
    } else {
        let len = u32::try_from(bytes.len()).expect("65536 oids take 512 KiB");
        out.push(b'B');
        out.extend_from_slice(&len.to_le_bytes());
    }
    out.extend_from_slice(bytes);
}

/// Parses the bytes of an index file.
pub(crate) fn parse(bytes: Vec<u8>) -> Result<(u64, Index), Unusable> {
    let old = bytes.first() == Some(&b'}') || bytes.get(2) == Some(&b'}');
    if old { old::parse(bytes) } else { parse_rows(&bytes) }
}

fn parse_rows(bytes: &[u8]) -> Result<(u64, Index), Unusable> {
    let mut input = Input { bytes, at: 0 };
    input.expect(b"\x80\x03")?;
    let end = input.int()?;
    input.expect(b".")?;
    let mut index = Index::new();
    loop {
        input.expect(b"\x80\x03")?;
        if input.peek() == Some(b'N') {
            input.expect(b"N.")?;
            return Ok((end, index));
        }
        let prefix = input.byte_string()?;
        let buckets = input.byte_string()?;
        input.expect(b"\x86.")?;
        add_buckets(&mut index, end, prefix, buckets)?;
    }
}

/// The rest of an index file that is not parsed yet.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Unusable> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or(Unusable::CutOff)?;
        self.at += len;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Unusable> {
        Ok(self.take(1)?[0])
    }

    fn expect(&mut self, bytes: &[u8]) -> Result<(), Unusable> {
        let at = self.at;
        if self.take(bytes.len())? == bytes { Ok(()) } else { Err(Unusable::Unexpected(at)) }
    }

    fn int(&mut self) -> Result<u64, Unusable> {
        let opcode = self.byte()?;
        let len = match opcode {
            b'K' => 1,
            b'M' => 2,
            b'J' => 4,
            0x8a => usize::from(self.byte()?),
            _ => return Err(Unusable::Unexpected(self.at - 1)),
        };
        let bytes = self.take(len)?;
        let negative = matches!(opcode, b'J' | 0x8a) && bytes.last().is_some_and(|b| *b >= 0x80);
        if negative || bytes.iter().skip(8).any(|byte| *byte != 0) {
            return Err(Unusable::Absurd);
        }
        Ok(bytes.iter().take(8).rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn byte_string(&mut self) -> Result<&'a [u8], Unusable> {
        let len = match self.byte()? {
            b'C' => usize::from(self.byte()?),
            b'B' => {
                let len = self.take(4)?.try_into().expect("four bytes were taken");
                usize::try_from(u32::from_le_bytes(len)).map_err(|_| Unusable::Absurd)?
            }
            _ => return Err(Unusable::Unexpected(self.at - 1)),
        };
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use rzeo_core::Oid;

    use proptest::prelude::*;

    use super::*;

    fn bytes(end: u64, index: &Index) -> Vec<u8> {
        let mut bytes = Vec::new();
        format(end, index, |part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn integers_are_as_short_as_python_makes_them() {
        let cases: [(u64, &[u8]); 7] = [
            (4, b"K\x04"),
            (256, b"M\x00\x01"),
            (65536, b"J\x00\x00\x01\x00"),
            (0x7fff_ffff, b"J\xff\xff\xff\x7f"),
            (0x8000_0000, b"\x8a\x05\x00\x00\x00\x80\x00"),
            (0x1_0000_0000, b"\x8a\x05\x00\x00\x00\x00\x01"),
            (u64::MAX, b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00"),
        ];
        for (value, expected) in cases {
            let mut out = Vec::new();
            push_int(&mut out, value);
            assert_eq!(out, expected, "{value}");
            assert_eq!(Input { bytes: &out, at: 0 }.int(), Ok(value));
        }
    }

    #[test]
    fn every_way_to_be_unusable() {
        assert_eq!(parse_rows(b""), Err(Unusable::CutOff));
        assert_eq!(parse_rows(b"\x80\x03K\x04.\x80\x03"), Err(Unusable::CutOff));
        assert_eq!(parse_rows(b"\x80\x04K\x04."), Err(Unusable::Unexpected(0)));
        assert_eq!(parse_rows(b"\x80\x03K\x04.\x80\x03K\x01."), Err(Unusable::Unexpected(7)));
        assert_eq!(parse_rows(b"\x80\x03J\xff\xff\xff\xff."), Err(Unusable::Absurd));
        let zero = b"\x80\x03K\x04.\x80\x03C\x06abcdefC\x08\0\0\0\0\0\0\0\0\x86.\x80\x03N.";
        assert_eq!(parse_rows(zero), Err(Unusable::Absurd));
    }

    #[test]
    fn a_hostile_length_allocates_nothing() {
        let claim = b"\x80\x03K\x04.\x80\x03C\x06abcdefB\xff\xff\xff\xff\0";
        assert_eq!(parse_rows(claim), Err(Unusable::CutOff));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            end in 1_u64 << 48..,
            entries in proptest::collection::vec(
                (prop_oneof![0_u64..200_000, any::<u64>()], 1_u64..1 << 48),
                0..500,
            ),
        ) {
            let mut index = Index::new();
            for (oid, position) in entries {
                index.insert(Oid(oid), position);
            }
            prop_assert_eq!(parse(bytes(end, &index)), Ok((end, index)));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(tail.clone());
            let _ = parse([b"\x80\x03}", tail.as_slice()].concat());
            let _ = parse([b"\x80\x03K\x04.\x80\x03", tail.as_slice()].concat());
        }
    }
}
