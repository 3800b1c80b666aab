//! A compact journal of the present contents of a cache.
//!
//! Making a snapshot only counts references; its bytes are encoded piece by piece by the thread that
//! writes them, without the client's lock.

use alloc::vec::{self, Vec};

use bytes::Bytes;

use super::journal::{self, HEADER, Operation};
use crate::ids::{Oid, Tid};
use crate::storage::Revision;

/// Size of a piece in bytes; the last record in it may make it longer.
const PIECE: usize = 128 * 1024;

/// The pieces of a compact journal, see [`super::Cache::snapshot`].
#[derive(Debug)]
pub struct Snapshot {
    revisions: vec::IntoIter<(Oid, Revision, bool)>,
    last_tid: Tid,
    link: Option<u32>,
    chain: u32,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Header,
    Revisions,
    Done,
}

impl Snapshot {
    pub(super) fn new(
        revisions: Vec<(Oid, Revision, bool)>,
        last_tid: Tid,
        link: Option<u32>,
    ) -> Self {
        let revisions = revisions.into_iter();
        Self { revisions, last_tid, link, chain: journal::chain_start(), step: Step::Header }
    }

    /// The check that an entry after the pieces so far continues.
    pub(super) const fn last_check(&self) -> u32 {
        self.chain
    }

    fn write(&mut self, operation: &Operation<'_>, out: &mut Vec<u8>) {
        self.chain = journal::encode(operation, self.chain, out);
    }
}

impl Iterator for Snapshot {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        match self.step {
            Step::Header => {
                out.extend_from_slice(&HEADER);
                if self.last_tid != Tid::ZERO {
                    self.write(&Operation::LastTid { tid: self.last_tid }, &mut out);
                }
                self.step = Step::Revisions;
            }
            Step::Revisions => {}
            Step::Done => return None,
        }
        while out.len() < PIECE {
            let Some((oid, Revision { data, serial, end }, is_main)) = self.revisions.next() else {
                if let Some(check) = self.link {
                    self.write(&Operation::Link { check }, &mut out);
                }
                self.step = Step::Done;
                break;
            };
            self.write(&Operation::Store { oid, serial, end, is_main, data: &data }, &mut out);
        }
        (!out.is_empty()).then(|| out.into())
    }
}
