//! Writes records as Python's `ObjectWriter` writes them.
//!
//! Python's pickler writes one object once and then refers to it by its memo slot. Which values are
//! one object follows from where they come from:
//!
//! - nodes of a record, and values made by a program, have an identity of their own;
//! - classes, attribute names, the oids in references, text of one Latin-1 character, byte strings of
//!   up to one byte, and both when empty, are one object wherever they occur.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use bytes::Bytes;
use rzeo_core::Oid;
use rzeo_core::pickle::arena::{Node, NodeId, Span};
use rzeo_core::pickle::{ItemsKind, Pickler, Slot, write_items};

use crate::class::Class;
use crate::error::WriteError;
use crate::graph::Graph;
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

/// Slots of the values written so far.
#[derive(Default)]
struct Memo {
    /// Nodes by graph and number, and other values by address.
    values: BTreeMap<Identity, Slot>,
    /// Text that Python interns.
    texts: BTreeMap<String, Slot>,
    bytes: BTreeMap<Bytes, Slot>,
    classes: BTreeMap<Class, Slot>,
    oids: BTreeMap<Oid, Slot>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Node(usize, NodeId),
    Made(usize),
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
            Repr::Dict(items) => {
                self.items(ItemsKind::Dict, items, made(items), |writer, (name, value)| {
                    writer.attribute_name(name)?;
                    writer.nested(value)
                })
            }
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
            Repr::Node(graph, id) => Some(node_identity(graph, *id)),
            Repr::List(items) => Some(made(items)),
            Repr::Dict(items) => Some(made(items)),
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
            Repr::Bytes(bytes) => self.bytes(bytes, made(bytes))?,
            Repr::Text(text) => self.text(text.as_bytes(), made(text))?,
            Repr::Tuple(items) => self.tuple(items, made(items), Self::nested)?,
            Repr::List(items) => self.items(ItemsKind::List, items, made(items), Self::nested)?,
            Repr::Dict(items) => {
                self.items(ItemsKind::Dict, items, made(items), |writer, (key, value)| {
                    writer.nested(key)?;
                    writer.nested(value)
                })?;
            }
            Repr::Class(class) => self.class(class),
            Repr::Reference(reference) => self.any_reference(reference)?,
            Repr::Node(graph, id) => self.node(graph, *id)?,
        }
        Ok(())
    }

    fn node(&mut self, graph: &Arc<Graph>, id: NodeId) -> Result<(), WriteError> {
        let identity = node_identity(graph, id);
        let arena = &graph.arena;
        let child = |writer: &mut Self, id: &NodeId| writer.nested(&PyValue::node(graph, *id));
        match arena.node(id) {
            Node::None | Node::Bool(_) | Node::Int(_) | Node::BigInt(_) | Node::Float(_) => {
                self.nested(&PyValue::node(graph, id))
            }
            Node::Bytes(span) => self.bytes(&arena.shared(span), identity),
            Node::Text(span) => self.text(arena.bytes(span), identity),
            Node::OldText(span) => self.old_text(graph, span, identity),
            Node::Tuple(items) => self.tuple(arena.tuple(items), identity, child),
            Node::List(list) => self.items(ItemsKind::List, arena.sequence(list), identity, child),
            Node::Dict(dict) => {
                let (pairs, _) = arena.sequence(dict).as_chunks::<2>();
                self.items(ItemsKind::Dict, pairs, identity, |writer, [key, value]| {
                    child(writer, key)?;
                    child(writer, value)
                })
            }
            Node::Global(names) => {
                let (module, name) = arena.global(names);
                self.remembered(identity, |writer| Ok(writer.pickler.global(module, name)))
            }
            Node::Reference(content) => {
                child(self, &content)?;
                self.pickler.reference();
                Ok(())
            }
            Node::Extension(code) => Err(WriteError::ExtensionCode { code }),
            Node::Call { .. }
            | Node::New { .. }
            | Node::Build { .. }
            | Node::Extend { .. }
            | Node::Update { .. } => self.object(graph, id, identity),
        }
    }

    /// Writes an object: how it is made, then what is done with it. It is in the memo between the
    /// two, because its items and its state may refer to it.
    fn object(
        &mut self,
        graph: &Arc<Graph>,
        id: NodeId,
        identity: Identity,
    ) -> Result<(), WriteError> {
        if self.get(identity) {
            return Ok(());
        }
        let arena = &graph.arena;
        let mut changes = Vec::new();
        let mut made = id;
        loop {
            let node = arena.node(made);
            let (Node::Build { object, .. }
            | Node::Extend { object, .. }
            | Node::Update { object, .. }) = node
            else {
                break;
            };
            changes.push(node);
            made = object;
        }
        self.deeper(|writer| {
            let nested = |writer: &mut Self, id| writer.nested(&PyValue::node(graph, id));
            match arena.node(made) {
                Node::Call { callable: class, args } | Node::New { class, args } => {
                    nested(writer, class)?;
                    nested(writer, args)?;
                    // The arguments may contain a list that contains the object: then it is written.
                    if let Some(slot) = writer.memo.values.get(&identity) {
                        writer.pickler.replace(2, *slot);
                        return Ok(());
                    }
                    let slot = match arena.node(made) {
                        Node::New { .. } => writer.pickler.new_instance(),
                        _ => writer.pickler.call(),
                    };
                    writer.memo.values.insert(identity, slot);
                }
                _ => {
                    if writer.changed_value(graph, made, identity)? {
                        return Ok(());
                    }
                }
            }
            changes.into_iter().rev().try_for_each(|change| writer.change(graph, change))
        })
    }

    /// Writes a value that is changed next, always as a new one. A reader accepts changes of anything;
    /// in Python's own pickles only objects are changed. Returns whether the value contains itself and
    /// so was changed already.
    fn changed_value(
        &mut self,
        graph: &Arc<Graph>,
        made: NodeId,
        identity: Identity,
    ) -> Result<bool, WriteError> {
        let arena = &graph.arena;
        let slot = match arena.node(made) {
            Node::Bytes(span) => Some(self.pickler.bytes(&arena.shared(span))?),
            Node::OldText(span) if !arena.bytes(span).is_ascii() => {
                Some(self.pickler.bytes(&arena.shared(span))?)
            }
            Node::Text(span) | Node::OldText(span) => Some(self.pickler.text(arena.bytes(span))?),
            Node::Global(names) => {
                let (module, name) = arena.global(names);
                Some(self.pickler.global(module, name))
            }
            _ => {
                self.nested(&PyValue::node(graph, made))?;
                if self.memo.values.contains_key(&identity) {
                    return Ok(true);
                }
                self.memo.values.get(&node_identity(graph, made)).copied()
            }
        };
        if let Some(slot) = slot {
            self.memo.values.insert(identity, slot);
        }
        Ok(false)
    }

    fn change(&mut self, graph: &Arc<Graph>, change: Node) -> Result<(), WriteError> {
        let arena = &graph.arena;
        let child = |writer: &mut Self, id: &NodeId| writer.nested(&PyValue::node(graph, *id));
        match change {
            Node::Build { state, .. } => {
                self.object_state(graph, state)?;
                self.pickler.build();
                Ok(())
            }
            Node::Extend { items, .. } => {
                write_items(self, ItemsKind::List, false, arena.sequence(items), child)
            }
            Node::Update { items, .. } => {
                let (pairs, _) = arena.sequence(items).as_chunks::<2>();
                write_items(self, ItemsKind::Dict, false, pairs, |writer, [key, value]| {
                    child(writer, key)?;
                    child(writer, value)
                })
            }
            _ => unreachable!("only changes of objects are collected"),
        }
    }

    /// Writes the state of an object within a state: a dict of attributes, or one and another for
    /// slots. Python interns the names of both.
    fn object_state(&mut self, graph: &Arc<Graph>, state: NodeId) -> Result<(), WriteError> {
        let arena = &graph.arena;
        let identity = node_identity(graph, state);
        match arena.node(state) {
            Node::Dict(dict) => {
                let (pairs, _) = arena.sequence(dict).as_chunks::<2>();
                self.items(ItemsKind::Dict, pairs, identity, |writer, [key, value]| {
                    writer.attribute_name(&PyValue::node(graph, *key))?;
                    writer.nested(&PyValue::node(graph, *value))
                })
            }
            Node::Tuple(parts) if arena.tuple(parts).len() == 2 => {
                self.tuple(arena.tuple(parts), identity, |writer, part| match arena.node(*part) {
                    Node::Dict(_) => writer.object_state(graph, *part),
                    _ => writer.nested(&PyValue::node(graph, *part)),
                })
            }
            _ => self.nested(&PyValue::node(graph, state)),
        }
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

    /// A string of Python 2 is text if it is ASCII, and bytes otherwise.
    fn old_text(
        &mut self,
        graph: &Graph,
        span: Span,
        identity: Identity,
    ) -> Result<(), WriteError> {
        let bytes = graph.arena.shared(span);
        if bytes.is_ascii() { self.text(&bytes, identity) } else { self.bytes(&bytes, identity) }
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

fn node_identity(graph: &Arc<Graph>, id: NodeId) -> Identity {
    Identity::Node(Arc::as_ptr(graph).addr(), id)
}

/// The identity of a value that a program made.
fn made<T: ?Sized>(value: &Arc<T>) -> Identity {
    Identity::Made(Arc::as_ptr(value).cast::<()>().addr())
}

/// Whether CPython has only one text object with this content.
fn is_single(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_none_or(|first| first <= '\u{ff}') && chars.next().is_none()
}
