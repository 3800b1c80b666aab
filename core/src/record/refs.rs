//! Which objects a record refers to.
//!
//! A reference is a pickled value behind BINPERSID. Its forms:
//!
//! | value | meaning |
//! |---|---|
//! | (oid, class), (oid, (module, name)) | another object |
//! | oid | an object whose class is in its record, or a persistent class |
//! | \['m', (database, oid, class)\], \['n', (database, oid)\] | in another database |
//! | \['w', (oid,)\], \['w', (oid, database)\], \[oid\] | weak |
//!
//! Only references of the first two rows keep objects alive. The oid is a byte string; in records
//! written by Python 2 it can be text.

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

use super::RECORD_LIMITS;
use crate::ids::Oid;
use crate::pickle::Unreadable;
use crate::pickle::arena::{Arena, Node, NodeId};
use crate::pickle::machine::Machine;

/// A record whose references cannot be read. A garbage collection must stop: it would remove the
/// objects that the record refers to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Dangling {
    /// The record is not two pickles.
    #[error("unreadable record: {0}")]
    Unreadable(#[from] Unreadable),
    /// A reference in no known form.
    #[error("reference {index} of the record is in no known form")]
    UnknownForm {
        /// Number of the reference, counted from 0 in order of appearance.
        index: usize,
    },
    /// An oid of the wrong length.
    #[error("reference {index} of the record has an oid of {length} bytes")]
    OidLength {
        /// Number of the reference, counted from 0 in order of appearance.
        index: usize,
        /// Length of the oid in bytes.
        length: usize,
    },
}

/// The objects of the same database that a record refers to (without weak references), in order of
/// appearance and with duplicates.
///
/// # Errors
/// [`Dangling`].
pub fn references(record: &Bytes) -> Result<Vec<Oid>, Dangling> {
    let mut arena = Arena::new(RECORD_LIMITS);
    let mut machine = Machine::new(&mut arena, record)?;
    machine.load()?;
    machine.load()?;
    let references = machine.into_references();
    let mut oids = Vec::with_capacity(references.len());
    for (index, reference) in references.into_iter().enumerate() {
        oids.extend(strong(&arena, reference, index)?);
    }
    Ok(oids)
}

/// The oid of a reference; `None` for weak references and those to other databases.
fn strong(arena: &Arena, reference: NodeId, index: usize) -> Result<Option<Oid>, Dangling> {
    let oid = match arena.node(reference) {
        Node::Tuple(items) => match arena.tuple(items) {
            [oid, ..] => arena.node(*oid),
            [] => return Err(Dangling::UnknownForm { index }),
        },
        Node::List(_) => return Ok(None),
        oid => oid,
    };
    let (Node::Bytes(span) | Node::Text(span) | Node::OldText(span)) = oid else {
        return Err(Dangling::UnknownForm { index });
    };
    let bytes = arena.bytes(span);
    let oid = Oid::from_slice(bytes);
    oid.map(Some).ok_or(Dangling::OidLength { index, length: bytes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(record: &'static [u8]) -> Result<Vec<Oid>, Dangling> {
        references(&Bytes::from_static(record))
    }

    #[test]
    fn strong_references_are_found_through_the_memo_of_both_pickles() {
        let record = b"\x80\x03cm\nC\nq\0C\x08\0\0\0\0\0\0\0\x01q\x01\x86.\
            \x80\x03](h\x01h\0\x86QU\x08\0\0\0\0\0\0\0\xffQh\x01Qe.";
        assert_eq!(refs(record), Ok([Oid(1), Oid(255), Oid(1)].into()));
    }

    #[test]
    fn lists_are_weak_or_elsewhere() {
        assert_eq!(refs(b"N.]X\x01\0\0\0waC\x08\0\0\0\0\0\0\0\x01\x85aQ."), Ok([].into()));
    }

    #[test]
    fn unreadable_references_are_errors() {
        assert_eq!(refs(b"N."), Err(Unreadable::Truncated { at: 2 }.into()));
        assert_eq!(refs(b"N.)Q."), Err(Dangling::UnknownForm { index: 0 }));
        assert_eq!(refs(b"N.]QK\x01Q."), Err(Dangling::UnknownForm { index: 1 }));
        assert_eq!(refs(b"N.Pid\n."), Err(Dangling::OidLength { index: 0, length: 2 }));
    }
}
