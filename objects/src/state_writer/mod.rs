//! Writes records as Python's `ObjectWriter` writes them.
//!
//! Python's pickler writes one object once and then refers to it by its memo slot. Which values are
//! one object follows from where they come from:
//!
//! - nodes of a record, and values made by a program, have an identity of their own;
//! - classes, attribute names, the oids in references, text of one Latin-1 character, byte strings of
//!   up to one byte, and both when empty, are one object wherever they occur.

mod memo;
mod nodes;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use bytes::Bytes;
use rzeo_core::Oid;
use rzeo_core::pickle::{ItemsKind, Pickler, Slot, write_items};

use self::memo::{Identity, Memo};
use crate::class::Class;
use crate::error::WriteError;
use crate::reference::{ObjectId, Reference};
use crate::value::{PyValue, Repr};

/// Maximum depth of nested values that are written.
const DEPTH_MAX: u32 = 250;

/// Gives new objects their oids, in the order in which references to them are written.
pub(crate) trait OidSource {
    /// The oid of an object.
    fn oid(&mut self, id: ObjectId) -> Result<Oid, WriteError>;

    /// The state of a new object to which no reference was written yet.
    fn without_oid(&self, id: ObjectId) -> Option<Arc<dyn Any + Send + Sync>>;
}

/// Writes the state of an object, value by value.
///
/// A tuple is [`start_tuple`](Self::start_tuple), its items, and [`end_tuple`](Self::end_tuple) with
/// the same length.
pub struct StateWriter<'a> {
    pickler: Pickler,
    oids: &'a mut dyn OidSource,
    depth: u32,
    memo: Memo,
    /// The values whose addresses are in the memo.
    kept: Vec<PyValue>,
}

impl<'a> StateWriter<'a> {
    /// Writes a record: the class in the form in which it was read, and the state.
    pub(crate) fn record(
        class: &PyValue,
        oids: &'a mut dyn OidSource,
        state: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<Bytes, WriteError> {
        let mut writer = Self {
            pickler: Pickler::default(),
            oids,
            depth: DEPTH_MAX,
            memo: Memo::default(),
            kept: Vec::new(),
        };
        writer.pickler.start();
        writer.value(class)?;
        writer.pickler.stop();
        writer.pickler.start();
        state(&mut writer)?;
        writer.pickler.stop();
        Ok(writer.pickler.into_bytes())
    }

    /// Writes `None`.
    pub fn none(&mut self) {
        self.pickler.none();
    }

    /// Writes an integer.
    pub fn int(&mut self, int: i64) {
        self.pickler.int(int);
    }

    /// Writes a `float`.
    pub fn float(&mut self, float: f64) {
        self.pickler.float(float);
    }

    /// Writes the name of an attribute or another text that Python interns.
    ///
    /// # Errors
    /// [`WriteError::TooLong`].
    pub fn interned(&mut self, text: &str) -> Result<(), WriteError> {
        if let Some(slot) = self.memo.texts.get(text) {
            self.pickler.get(*slot);
            return Ok(());
        }
        let slot = self.pickler.text(text.as_bytes())?;
        self.memo.texts.insert(text.into(), slot);
        Ok(())
    }

    /// Writes a value, or its memo slot if it was written before.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn value(&mut self, value: &PyValue) -> Result<(), WriteError> {
        self.kept.push(value.clone());
        self.nested(value)
    }

    /// Writes a value that is the state of an object: if it is a dict of attributes, their names are
    /// interned.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn state(&mut self, state: &PyValue) -> Result<(), WriteError> {
        self.kept.push(state.clone());
        match &state.0 {
            Repr::Node(graph, id) => self.object_state(graph, *id),
            Repr::Dict(items) => self.items(
                ItemsKind::Dict,
                items,
                Identity::made(items),
                |writer, (name, value)| {
                    writer.attribute_name(name)?;
                    writer.nested(value)
                },
            ),
            _ => self.nested(state),
        }
    }

    /// Starts a tuple of `len` items.
    pub fn start_tuple(&mut self, len: usize) {
        self.pickler.start_tuple(len);
    }

    /// Ends a tuple after `len` items.
    pub fn end_tuple(&mut self, len: usize) {
        self.pickler.end_tuple(len);
    }

    /// Writes a list, whose items `write` writes. `origin` is the list that it was made from, if there
    /// is one: values that contain that list contain the one that is written.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn list<T>(
        &mut self,
        origin: Option<&PyValue>,
        items: &[T],
        write: impl FnMut(&mut Self, &T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.own_items(ItemsKind::List, origin, items, write)
    }

    /// Writes a dict. `write` writes the key and the value of an item, and `origin` is as in
    /// [`list`](Self::list).
    ///
    /// # Errors
    /// Those of `write`.
    pub fn dict<T>(
        &mut self,
        origin: Option<&PyValue>,
        items: &[T],
        write: impl FnMut(&mut Self, &T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.own_items(ItemsKind::Dict, origin, items, write)
    }

    /// Writes a reference to an object of the same database.
    ///
    /// # Errors
    /// [`WriteError::NoOids`].
    pub fn reference(&mut self, id: ObjectId, class: &Class) -> Result<(), WriteError> {
        self.oid(id)?;
        self.class(class);
        self.end_tuple(2);
        self.pickler.reference();
        Ok(())
    }

    /// Writes a container of the state itself.
    fn own_items<T>(
        &mut self,
        kind: ItemsKind,
        origin: Option<&PyValue>,
        items: &[T],
        write: impl FnMut(&mut Self, &T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let identity = origin.and_then(|origin| match &origin.0 {
            Repr::Node(graph, id) => Some(Identity::node(graph, *id)),
            Repr::List(items) => Some(Identity::made(items)),
            Repr::Dict(items) => Some(Identity::made(items)),
            _ => None,
        });
        self.kept.extend(origin.cloned());
        if let Some(identity) = identity {
            return self.items(kind, items, identity, write);
        }
        self.pickler.empty(kind);
        write_items(self, kind, true, items, write)
    }

    /// The state of a new object that has no oid yet, because no reference to it was written so far in
    /// this commit. Classes that keep such an object's state within their own ask for it.
    #[must_use]
    pub fn without_oid<T: Any + Send + Sync>(&self, id: ObjectId) -> Option<Arc<T>> {
        self.oids.without_oid(id)?.downcast().ok()
    }

    fn nested(&mut self, value: &PyValue) -> Result<(), WriteError> {
        match &value.0 {
            Repr::None => self.pickler.none(),
            Repr::Bool(truth) => self.pickler.bool(*truth),
            Repr::Int(int) => self.pickler.int(*int),
            Repr::BigInt(bytes) => self.pickler.big_int(bytes)?,
            Repr::Float(float) => self.pickler.float(*float),
            Repr::Bytes(bytes) => self.bytes(bytes, Identity::made(bytes))?,
            Repr::Text(text) => self.text(text.as_bytes(), Identity::made(text))?,
            Repr::Name(name) => self.interned(name)?,
            Repr::Tuple(items) => self.tuple(items, Identity::made(items), Self::nested)?,
            Repr::List(items) => {
                self.items(ItemsKind::List, items, Identity::made(items), Self::nested)?
            }
            Repr::Dict(items) => {
                self.items(
                    ItemsKind::Dict,
                    items,
                    Identity::made(items),
                    |writer, (key, value)| {
                        writer.nested(key)?;
                        writer.nested(value)
                    },
                )?;
            }
            Repr::Class(class) => self.class(class),
            Repr::Reference(reference) => self.any_reference(reference)?,
            Repr::Node(graph, id) => self.node(graph, *id)?,
        }
        Ok(())
    }

    fn attribute_name(&mut self, name: &PyValue) -> Result<(), WriteError> {
        match name.as_text() {
            Some(name) => self.interned(name),
            None => self.nested(name),
        }
    }

    fn any_reference(&mut self, reference: &Reference) -> Result<(), WriteError> {
        match reference {
            Reference::Strong { id, class: Some(class) } => return self.reference(*id, class),
            Reference::Strong { id, class: None } => self.oid(*id)?,
            Reference::Weak { id, database } => self.reference_in_list("w", |writer| {
                writer.oid(*id)?;
                if let Some(database) = database {
                    writer.interned(database)?;
                }
                writer.end_tuple(1 + usize::from(database.is_some()));
                Ok(())
            })?,
            Reference::Foreign { database, oid, class } => {
                let form = if class.is_some() { "m" } else { "n" };
                self.reference_in_list(form, |writer| {
                    writer.interned(database)?;
                    writer.oid(ObjectId::Stored(*oid))?;
                    if let Some(class) = class {
                        writer.class(class);
                    }
                    writer.end_tuple(2 + usize::from(class.is_some()));
                    Ok(())
                })?;
            }
        }
        self.pickler.reference();
        Ok(())
    }

    /// The list in which a reference names its form.
    fn reference_in_list(
        &mut self,
        form: &str,
        content: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.pickler.empty(ItemsKind::List);
        let mut content = Some(content);
        write_items(self, ItemsKind::List, true, &[true, false], |writer, is_form| {
            match content.take_if(|_| !is_form) {
                Some(content) => content(writer),
                None => writer.interned(form),
            }
        })
    }

    fn oid(&mut self, id: ObjectId) -> Result<(), WriteError> {
        let oid = self.oids.oid(id)?;
        if let Some(slot) = self.memo.oids.get(&oid) {
            self.pickler.get(*slot);
            return Ok(());
        }
        let slot = self.pickler.bytes(&Bytes::copy_from_slice(&oid.to_bytes()))?;
        self.memo.oids.insert(oid, slot);
        Ok(())
    }

    fn class(&mut self, class: &Class) {
        if let Some(slot) = self.memo.classes.get(class) {
            return self.pickler.get(*slot);
        }
        let slot = self.pickler.global(class.module().as_bytes(), class.name().as_bytes());
        self.memo.classes.insert(class.clone(), slot);
    }

    fn bytes(&mut self, bytes: &Bytes, identity: Identity) -> Result<(), WriteError> {
        if bytes.len() > 1 {
            return self.remembered(identity, |writer| Ok(writer.pickler.bytes(bytes)?));
        }
        if let Some(slot) = self.memo.bytes.get(bytes) {
            self.pickler.get(*slot);
            return Ok(());
        }
        let slot = self.pickler.bytes(bytes)?;
        self.memo.bytes.insert(bytes.clone(), slot);
        Ok(())
    }

    fn text(&mut self, utf8: &[u8], identity: Identity) -> Result<(), WriteError> {
        match core::str::from_utf8(utf8) {
            Ok(text) if is_single(text) => self.interned(text),
            _ => self.remembered(identity, |writer| Ok(writer.pickler.text(utf8)?)),
        }
    }

    fn tuple<T>(
        &mut self,
        items: &[T],
        identity: Identity,
        mut write: impl FnMut(&mut Self, &T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        if self.get(identity) {
            return Ok(());
        }
        self.deeper(|writer| {
            writer.pickler.start_tuple(items.len());
            items.iter().try_for_each(|item| write(writer, item))?;
            // A tuple can contain itself only through a list or an object, which is written in full
            // within it.
            if let Some(slot) = writer.memo.values.get(&identity) {
                writer.pickler.replace(items.len(), *slot);
            } else if let Some(slot) = writer.pickler.end_tuple(items.len()) {
                writer.memo.values.insert(identity, slot);
            }
            Ok(())
        })
    }

    fn items<T>(
        &mut self,
        kind: ItemsKind,
        items: &[T],
        identity: Identity,
        write: impl FnMut(&mut Self, &T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        if self.get(identity) {
            return Ok(());
        }
        self.deeper(|writer| {
            let slot = writer.pickler.empty(kind);
            writer.memo.values.insert(identity, slot);
            write_items(writer, kind, true, items, write)
        })
    }

    /// Writes the slot of a value; `false` if it was not written before.
    fn get(&mut self, identity: Identity) -> bool {
        let slot = self.memo.values.get(&identity);
        slot.map(|slot| self.pickler.get(*slot)).is_some()
    }

    fn remembered(
        &mut self,
        identity: Identity,
        write: impl FnOnce(&mut Self) -> Result<Slot, WriteError>,
    ) -> Result<(), WriteError> {
        if !self.get(identity) {
            let slot = write(self)?;
            self.memo.values.insert(identity, slot);
        }
        Ok(())
    }

    fn deeper(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.depth = self.depth.checked_sub(1).ok_or(WriteError::TooDeep { limit: DEPTH_MAX })?;
        let written = write(self);
        self.depth += 1;
        written
    }
}

impl AsMut<Pickler> for StateWriter<'_> {
    fn as_mut(&mut self) -> &mut Pickler {
        &mut self.pickler
    }
}

/// Whether CPython has only one text object with this content.
fn is_single(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_none_or(|first| first <= '\u{ff}') && chars.next().is_none()
}
