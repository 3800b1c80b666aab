//! Records: the states of objects as storages store them.
//!
//! A record is two consecutive pickles, written by one pickler with one memo: the class of the
//! object, and its state. The second may refer to memo entries of the first, so reading the state
//! requires reading both. Bytes after the second are ignored.
//!
//! The class has six forms, because the ways to create instances changed over the years:
//!
//! | value | when |
//! |---|---|
//! | class | normal |
//! | (class, args) | the class has `__getnewargs__` |
//! | ((module, name), None) | persistent classes |
//! | ((module, name), args) | these with arguments |
//! | (class, None), (class, args) | old |
//!
//! Nothing in this module depends on the classes; [`crate::resolve`] supports a few of them.

mod reference;
mod refs;

use alloc::string::String;

use bytes::Bytes;

pub use self::reference::Reference;
pub use self::refs::{Dangling, references};
use crate::pickle::Unreadable;
use crate::pickle::arena::{Arena, Node, NodeId};
use crate::pickle::machine::Machine;
use crate::pickle::text;
use crate::value::{ReadLimits, Value};

/// Limits for records that a server reads itself. A pack must be able to read every record that
/// clients have stored, so the only limit is the memory in proportion to the length of the record.
pub const RECORD_LIMITS: ReadLimits =
    ReadLimits { depth_max: ReadLimits::DEFAULT.depth_max, memory_bytes_max: usize::MAX };

/// The class of a record's object as `module.Class`, as conflict errors name it. `None` if the
/// record has no class in a known form.
#[must_use]
pub fn class_name(record: &Bytes) -> Option<String> {
    if let Some((module, name)) = leading_global(record) {
        return join(module, name);
    }
    let mut arena = Arena::new(RECORD_LIMITS);
    let class = Machine::new(&mut arena, record).and_then(|mut machine| machine.load()).ok()?;
    let (module, name) = class_of(&arena, class)?;
    join(module, name)
}

/// Whether the object is a blob, with its data in a separate file.
#[must_use]
pub fn is_blob_record(record: &Bytes) -> bool {
    let mut arena = Arena::new(RECORD_LIMITS);
    let class = Machine::new(&mut arena, record).and_then(|mut machine| machine.load());
    match class.map(|class| arena.node(class)) {
        Ok(Node::Global(names)) => arena.global(names) == (b"ZODB.blob", b"Blob"),
        _ => false,
    }
}

/// Class and state as values.
///
/// # Errors
/// [`Unreadable`], for malformed records and for those beyond the limits.
pub fn values(record: &Bytes, limits: &ReadLimits) -> Result<(Value, Value), Unreadable> {
    let mut arena = Arena::new(*limits);
    let parts = Parts::read(&mut arena, record)?;
    Ok((arena.value(parts.class)?, arena.value(parts.state)?))
}

/// The two pickles of a record, as nodes of an arena.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The class, in one of its forms.
    pub class: NodeId,
    /// What `__setstate__` gets.
    pub state: NodeId,
}

impl Parts {
    /// Reads a record into an arena, which may hold other records.
    ///
    /// # Errors
    /// [`Unreadable`], for malformed records and for those beyond the arena's limits.
    pub fn read(arena: &mut Arena, record: &Bytes) -> Result<Self, Unreadable> {
        let mut machine = Machine::new(arena, record)?;
        Ok(Self { class: machine.load()?, state: machine.load()? })
    }
}

/// Module and name of the class in any of its forms.
#[must_use]
pub fn class_of(arena: &Arena, class: NodeId) -> Option<(&[u8], &[u8])> {
    match arena.node(class) {
        Node::Global(names) => Some(arena.global(names)),
        Node::Tuple(form) => match arena.tuple(form) {
            [class, _args] => class_or_names(arena, *class),
            _ => None,
        },
        _ => None,
    }
}

fn class_or_names(arena: &Arena, class: NodeId) -> Option<(&[u8], &[u8])> {
    match arena.node(class) {
        Node::Global(names) => Some(arena.global(names)),
        Node::Tuple(names) => match arena.tuple(names) {
            [module, name] => Some((text_of(arena, *module)?, text_of(arena, *name)?)),
            _ => None,
        },
        _ => None,
    }
}

/// The bytes of a text.
pub(crate) fn text_of(arena: &Arena, id: NodeId) -> Option<&[u8]> {
    match arena.node(id) {
        Node::Text(span) | Node::OldText(span) => Some(arena.bytes(span)),
        _ => None,
    }
}

/// The class at the beginning of a record, without reading further: so it is known even if the rest
/// is damaged.
fn leading_global(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = match record {
        [0x80, _protocol, rest @ ..] => rest,
        rest => rest,
    };
    let names = rest.strip_prefix(b"(c").or_else(|| rest.strip_prefix(b"c"))?;
    let mut lines = names.splitn(3, |byte| *byte == b'\n');
    let (module, name) = (lines.next()?, lines.next()?);
    lines.next().map(|_rest| (module, name))
}

fn join(module: &[u8], name: &[u8]) -> Option<String> {
    let mut class = text::decode(module)?.into_owned();
    class.push('.');
    class.push_str(&text::decode(name)?);
    Some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(record: &'static [u8]) -> Option<String> {
        class_name(&Bytes::from_static(record))
    }

    #[test]
    fn every_form_of_class_has_a_name() {
        let forms: [&[u8]; 8] = [
            b"\x80\x03cmod\nClass\nq\0.\x80\x03N.",
            b"\x80\x03cmod\nClass\nq\0K\x01\x85\x86.\x80\x03N.",
            b"\x80\x03X\x03\0\0\0modX\x05\0\0\0Class\x86N\x86.\x80\x03N.",
            b"\x80\x03X\x03\0\0\0modX\x05\0\0\0Class\x86K\x01\x85\x86.\x80\x03N.",
            b"(cmod\nClass\nNt.N.",
            b"((S'mod'\nS'Class'\ntNt.N.",
            b"\x80\x01((U\x03modU\x05ClasstNt.N.",
            b"\x80\x03cmod\nClass\n damaged",
        ];
        for form in forms {
            assert_eq!(class(form).as_deref(), Some("mod.Class"), "{form:?}");
        }
    }

    #[test]
    fn other_values_at_the_start_of_a_record_are_not_classes() {
        let forms: [&[u8]; 6] = [
            b"",
            b"\x80\x03",
            b"\x80\x03K\x01.",
            b"\x80\x03cmod\n",
            b"K\x01K\x02\x86.",
            b"])\x86.",
        ];
        for form in forms {
            assert_eq!(class(form), None, "{form:?}");
        }
    }

    #[test]
    fn only_the_blob_class_itself_makes_a_blob() {
        let is_blob = |record: &'static [u8]| is_blob_record(&Bytes::from_static(record));
        assert!(is_blob(b"\x80\x03cZODB.blob\nBlob\nq\0.\x80\x03N."));
        assert!(!is_blob(b"\x80\x03cZODB.blob\nBlob2\nq\0.\x80\x03N."));
        assert!(!is_blob(b"\x80\x03cZODB.blob\nBlob\nN\x86.\x80\x03N."));
        assert!(!is_blob(b"\x80\x03cZODB.blob\nBlob\n"));
    }
}
