//! The journal: the changes of a cache, in order, as bytes.
//!
//! ```text
//! journal := "RZCJ" version:u32 entry*
//! entry   := check:u32 operation                              integers are big-endian
//! operation :=
//!     's' is_main:u8 oid serial end length:u32 data           stored; end 0: current
//!   | 'e' oid tid                                             changed in tid
//!   | 'f' oid                                                 its current revision is not known
//!   | 't' tid                                                 everything up to tid was applied
//!   | 'c' tid                                                 nothing is known; the last tid is this
//!   | 'l' check:u32                                           the next entry follows on this check
//! ```
//!
//! A check is the CRC-32 of all bytes from the beginning up to its entry's end, without the checks: each
//! continues the one before. So an entry is valid only after exactly the entries after which it was written.
//! Whatever a crash leaves of a file (a part of an entry, zeros where a block was not written,
//! old blocks of the file, a missing piece), the valid part is a prefix of
//! the journal, and every prefix is correct: operations are in the order in which they happened, and a
//! last tid follows the invalidations of its transaction. With 'l', entries that were written for an old journal
//! continue a new one with the same contents.
//!
//! Evictions are not in the journal. So it has the end of a revision even if the cache has evicted the
//! revision, because a replay may still have it. A replay is a state that the cache could have reached with other
//! evictions.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Oid, Tid};

/// The first bytes of a journal of any version.
pub const MAGIC: [u8; 4] = *b"RZCJ";

/// The first bytes of a journal of this version.
pub const HEADER: [u8; 8] = *b"RZCJ\0\0\0\x01";

/// Size of a check in bytes.
const CHECK: usize = 4;

/// The entries that have not been taken yet.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) pending: Vec<u8>,
    pub(super) chain: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Store { oid: Oid, serial: Tid, end: Option<Tid>, is_main: bool, data: &'a [u8] },
    Ended { oid: Oid, tid: Tid },
    Forget { oid: Oid },
    LastTid { tid: Tid },
    Clear { tid: Tid },
    Link { check: u32 },
}

/// The result of decoding the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded<'a> {
    Entry {
        operation: Operation<'a>,
        /// Length of the entry in bytes.
        len: usize,
        /// The check that the next entry continues.
        chain: u32,
    },
    /// More bytes are needed.
    Short,
    /// The bytes are not a valid entry.
    Bad,
}

impl Journal {
    pub(super) fn write(&mut self, operation: &Operation<'_>) {
        self.chain = encode(operation, self.chain, &mut self.pending);
    }

    pub(super) fn take(&mut self) -> Option<Bytes> {
        (!self.pending.is_empty()).then(|| core::mem::take(&mut self.pending).into())
    }
}

/// The check of a header, which the first entry continues.
pub(super) fn chain_start() -> u32 {
    check(0, &HEADER)
}

/// Appends an entry; returns the check that the next one continues.
pub(super) fn encode(operation: &Operation<'_>, chain: u32, out: &mut Vec<u8>) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; CHECK]);
    match operation {
        Operation::Store { oid, serial, end, is_main, data } => {
            out.extend_from_slice(&[b's', u8::from(*is_main)]);
            out.extend_from_slice(&oid.to_bytes());
            out.extend_from_slice(&serial.to_bytes());
            out.extend_from_slice(&end.unwrap_or(Tid::ZERO).to_bytes());
            let len = u32::try_from(data.len()).expect("the cache does not take longer records");
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(data);
        }
        Operation::Ended { oid, tid } => {
            out.push(b'e');
            out.extend_from_slice(&oid.to_bytes());
            out.extend_from_slice(&tid.to_bytes());
        }
        Operation::Forget { oid } => {
            out.push(b'f');
            out.extend_from_slice(&oid.to_bytes());
        }
        Operation::LastTid { tid } => {
            out.push(b't');
            out.extend_from_slice(&tid.to_bytes());
        }
        Operation::Clear { tid } => {
            out.push(b'c');
            out.extend_from_slice(&tid.to_bytes());
        }
        Operation::Link { check } => {
            out.push(b'l');
            out.extend_from_slice(&check.to_be_bytes());
        }
    }
    let chain = check(chain, &out[start + CHECK..]);
    out[start..start + CHECK].copy_from_slice(&chain.to_be_bytes());
    if let Operation::Link { check } = operation { *check } else { chain }
}

pub(super) fn decode(bytes: &[u8], chain: u32) -> Decoded<'_> {
    let Some((expected, body)) = bytes.split_first_chunk::<CHECK>() else { return Decoded::Short };
    let mut fields = Fields(body);
    let Some(kind) = fields.u8() else { return Decoded::Short };
    if !b"seftcl".contains(&kind) {
        return Decoded::Bad;
    }
    let Some(operation) = fields.operation(kind) else { return Decoded::Short };
    let len = body.len() - fields.0.len();
    let chain = check(chain, &body[..len]);
    if chain != u32::from_be_bytes(*expected) {
        return Decoded::Bad;
    }
    let chain = if let Operation::Link { check } = operation { check } else { chain };
    Decoded::Entry { operation, len: CHECK + len, chain }
}

/// Reads fields from the start of some bytes, while there are enough.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn operation(&mut self, kind: u8) -> Option<Operation<'a>> {
        Some(match kind {
            b's' => {
                let is_main = self.u8()? != 0;
                let (oid, serial, end) = (self.oid()?, self.tid()?, self.tid()?);
                let len = usize::try_from(self.u32()?).ok()?;
                let (data, rest) = self.0.split_at_checked(len)?;
                self.0 = rest;
                let end = (end != Tid::ZERO).then_some(end);
                Operation::Store { oid, serial, end, is_main, data }
            }
            b'e' => Operation::Ended { oid: self.oid()?, tid: self.tid()? },
            b'f' => Operation::Forget { oid: self.oid()? },
            b't' => Operation::LastTid { tid: self.tid()? },
            b'c' => Operation::Clear { tid: self.tid()? },
            _ => Operation::Link { check: self.u32()? },
        })
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn u8(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    fn oid(&mut self) -> Option<Oid> {
        self.chunk().map(Oid::from_bytes)
    }

    fn tid(&mut self) -> Option<Tid> {
        self.chunk().map(Tid::from_bytes)
    }
}

fn check(chain: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(chain);
    hasher.update(bytes);
    hasher.finalize()
}
