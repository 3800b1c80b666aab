//! The bytes of a FileStorage: two headers, three numbers and a magic.
//!
//! ```text
//! file        := "FS30" transaction*
//! transaction := head(23) user description extension record* u64:len
//! record      := head(42) ( data | u64:back )
//! ```
//!
//! All integers are big-endian. A transaction's `len` counts from its first byte to the trailing
//! copy of `len`, which is there so that the file can be walked backwards. A record without data
//! points back to an earlier record of its object whose data it shares, or, with `back` zero, says
//! that the object does not exist as of this transaction.
//!
//! All pointers are absolute positions and lead backwards. This module only converts bytes; it
//! accepts any 23 or 42 bytes, and its callers check the values.

use rzeo_core::{Oid, Tid};

/// The first bytes of a file.
pub(crate) const MAGIC: [u8; 4] = *b"FS30";
/// The first bytes of a file that Python 2 wrote.
pub(crate) const MAGIC_PYTHON_2: [u8; 4] = *b"FS21";
/// Position of the first transaction.
pub(crate) const FIRST: u64 = 4;

/// Bytes of a transaction's fixed header.
pub(crate) const TRANSACTION_HEAD: usize = 23;
/// Bytes of a record's header.
pub(crate) const RECORD_HEAD: usize = 42;
/// Bytes of a pointer, and of a transaction's trailing length.
pub(crate) const POINTER: usize = 8;
/// The bytes of a transaction's header with its `len` and status, which a commit rewrites.
pub(crate) const LEN_AND_STATUS: std::ops::Range<usize> = 8..17;

/// A transaction's status byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u8);

impl Status {
    pub(crate) const COMMITTED: Self = Self(b' ');
    /// Committed, and rewritten by a pack.
    pub(crate) const PACKED: Self = Self(b'p');
    /// Voted but not finished: an opening cuts off everything from here to the end of the file.
    pub(crate) const VOTED: Self = Self(b'c');
    /// Marked as undone by an old version of ZODB: its records do not count.
    pub(crate) const UNDONE: Self = Self(b'u');

    /// Whether a committed transaction can have this status.
    pub(crate) fn is_final(self) -> bool {
        self == Self::COMMITTED || self == Self::PACKED
    }
}

/// A transaction's fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionHead {
    pub(crate) tid: Tid,
    /// Bytes from the start of the header to the trailing length.
    pub(crate) len: u64,
    pub(crate) status: Status,
    pub(crate) user_len: u16,
    pub(crate) description_len: u16,
    pub(crate) extension_len: u16,
}

impl TransactionHead {
    pub(crate) fn parse(bytes: &[u8; TRANSACTION_HEAD]) -> Self {
        Self {
            tid: Tid(be64(bytes, 0)),
            len: be64(bytes, 8),
            status: Status(bytes[16]),
            user_len: be16(bytes, 17),
            description_len: be16(bytes, 19),
            extension_len: be16(bytes, 21),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; TRANSACTION_HEAD] {
        let mut bytes = [0; TRANSACTION_HEAD];
        bytes[..8].copy_from_slice(&self.tid.to_bytes());
        bytes[8..16].copy_from_slice(&self.len.to_be_bytes());
        bytes[16] = self.status.0;
        bytes[17..19].copy_from_slice(&self.user_len.to_be_bytes());
        bytes[19..21].copy_from_slice(&self.description_len.to_be_bytes());
        bytes[21..].copy_from_slice(&self.extension_len.to_be_bytes());
        bytes
    }

    /// Bytes of user, description and extension.
    pub(crate) fn meta_len(self) -> usize {
        usize::from(self.user_len)
            + usize::from(self.description_len)
            + usize::from(self.extension_len)
    }

    /// Bytes before the first record.
    pub(crate) fn head_len(self) -> u64 {
        (TRANSACTION_HEAD + self.meta_len()) as u64
    }

    /// Where the transaction after this one starts, if it starts at `at`.
    pub(crate) fn end(self, at: u64) -> Option<u64> {
        at.checked_add(self.len)?.checked_add(POINTER as u64)
    }
}

/// The header of a data record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) oid: Oid,
    pub(crate) tid: Tid,
    /// Position of the record that this one replaced, or 0.
    pub(crate) prev: u64,
    /// Position of the transaction that this record is in.
    pub(crate) transaction: u64,
    /// Length of a version's name. ZODB no longer has versions: a value other than 0 is damage.
    pub(crate) version_len: u16,
    /// Length of the data; 0 if a pointer follows instead.
    pub(crate) data_len: u64,
}

impl RecordHead {
    pub(crate) fn parse(bytes: &[u8; RECORD_HEAD]) -> Self {
        Self {
            oid: Oid(be64(bytes, 0)),
            tid: Tid(be64(bytes, 8)),
            prev: be64(bytes, 16),
            transaction: be64(bytes, 24),
            version_len: be16(bytes, 32),
            data_len: be64(bytes, 34),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; RECORD_HEAD] {
        let mut bytes = [0; RECORD_HEAD];
        bytes[..8].copy_from_slice(&self.oid.to_bytes());
        bytes[8..16].copy_from_slice(&self.tid.to_bytes());
        bytes[16..24].copy_from_slice(&self.prev.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[32..34].copy_from_slice(&self.version_len.to_be_bytes());
        bytes[34..].copy_from_slice(&self.data_len.to_be_bytes());
        bytes
    }

    /// Bytes that follow the header: data or a pointer.
    pub(crate) fn payload_len(self) -> u64 {
        if self.data_len == 0 { POINTER as u64 } else { self.data_len }
    }

    /// Where the next record starts, if this one starts at `at`.
    pub(crate) fn end(self, at: u64) -> Option<u64> {
        at.checked_add(RECORD_HEAD as u64)?.checked_add(self.payload_len())
    }
}

pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes were sliced"))
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes were sliced"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_a_round_trip() {
        let transaction: [u8; TRANSACTION_HEAD] =
            std::array::from_fn(|i| u8::try_from(i + 1).unwrap());
        assert_eq!(TransactionHead::parse(&transaction).to_bytes(), transaction);
        let record: [u8; RECORD_HEAD] = std::array::from_fn(|i| u8::try_from(i + 1).unwrap());
        assert_eq!(RecordHead::parse(&record).to_bytes(), record);
    }

    #[test]
    fn absurd_lengths_have_no_end() {
        let mut head = TransactionHead::parse(&[0xff; TRANSACTION_HEAD]);
        assert_eq!(head.end(4), None);
        head.len = u64::MAX - 12;
        assert_eq!(head.end(4), Some(u64::MAX));
        assert_eq!(RecordHead::parse(&[0xff; RECORD_HEAD]).end(4), None);
    }
}
