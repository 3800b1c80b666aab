//! Values within the states of objects.
//!
//! A [`PyValue`] is any value that a record can hold. A value that was read from a record is a node of
//! the record's graph, whose items are read only when [`PyValue::view`] asks for them; a value that a
//! program makes is a shared tree. Both are immutable, cheap to clone, and have an identity: a value that occurs twice
//! in a state is written once, as Python's pickler does for one object, and equal values that were
//! made separately are written twice.
//!
//! Objects of classes that are not persistent (dates, decimals, instances of an application) are
//! [`View::Object`]: they are kept, moved and written back, never executed.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use bytes::Bytes;
use rzeo_core::Oid;
use rzeo_core::pickle::Unreadable;
use rzeo_core::pickle::arena::{Node, NodeId};
use rzeo_core::record;

use crate::class::Class;
use crate::graph::Graph;
use crate::reference::{ObjectId, Reference};

/// Maximum depth to which `Debug` shows nested values.
const DEBUG_DEPTH_MAX: u32 = 16;

/// Maximum number of values that `Debug` shows.
const DEBUG_VALUES_MAX: u32 = 10_000;

/// A Python value in the state of an object.
#[derive(Clone)]
pub struct PyValue(pub(crate) Repr);

/// How a value is kept.
#[derive(Clone)]
pub(crate) enum Repr {
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement of more than 64 bits.
    BigInt(Arc<Bytes>),
    Float(f64),
    Bytes(Arc<Bytes>),
    Text(Arc<str>),
    /// Text that is one object wherever it occurs, as names in Python code are.
    Name(&'static str),
    Tuple(Arc<[PyValue]>),
    List(Arc<[PyValue]>),
    Dict(Arc<[(PyValue, PyValue)]>),
    Class(Class),
    Reference(Arc<Reference>),
    /// A node with an identity, or of a kind that only Python can build.
    Node(Arc<Graph>, NodeId),
}

/// What a value is. Containers show their items, which are values of their own.
#[derive(Clone, Debug)]
pub enum View<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int` of up to 64 bits.
    Int(i64),
    /// An `int` of more than 64 bits, in little-endian two's complement.
    BigInt(&'a [u8]),
    /// A `float`.
    Float(f64),
    /// `bytes`.
    Bytes(&'a [u8]),
    /// A `str` without lone surrogates.
    Text(&'a str),
    /// A `tuple`.
    Tuple(Cow<'a, [PyValue]>),
    /// A `list`.
    List(Cow<'a, [PyValue]>),
    /// A `dict`, in its order.
    Dict(Cow<'a, [(PyValue, PyValue)]>),
    /// A class or a function, by name.
    Class(&'a Class),
    /// A reference to a persistent object.
    Reference(&'a Reference),
    /// Anything else: an instance of a class, a text with lone surrogates, a reference in an unknown
    /// form.
    Object,
}

impl PyValue {
    /// `None`.
    pub const NONE: Self = Self(Repr::None);

    /// A tuple.
    #[must_use]
    pub fn tuple(items: Vec<Self>) -> Self {
        Self(Repr::Tuple(items.into()))
    }

    /// A list.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self(Repr::List(items.into()))
    }

    /// A dict. Its keys are distinct.
    #[must_use]
    pub fn dict(items: Vec<(Self, Self)>) -> Self {
        Self(Repr::Dict(items.into()))
    }

    /// A reference to an object of the same database.
    #[must_use]
    pub fn reference(id: impl Into<ObjectId>, class: &Class) -> Self {
        Reference::new(id, class).into()
    }

    /// Reads a pickle, of protocols 0 to 3.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn from_pickle(pickle: &Bytes) -> Result<Self, Unreadable> {
        let (graph, root) = Graph::read_pickle(pickle)?;
        Ok(Self::node(&Arc::new(graph), root))
    }

    /// A value of a record.
    pub(crate) fn node(graph: &Arc<Graph>, id: NodeId) -> Self {
        Self(match graph.arena.node(id) {
            Node::None => Repr::None,
            Node::Bool(truth) => Repr::Bool(truth),
            Node::Int(int) => Repr::Int(int),
            Node::BigInt(span) => Repr::BigInt(Arc::new(graph.arena.shared(span))),
            Node::Float(float) => Repr::Float(float),
            Node::Global(_) => match graph.class(id) {
                Some(class) => Repr::Class(class.clone()),
                None => Repr::Node(graph.clone(), id),
            },
            Node::Reference(content) => match reference(graph, content) {
                Some(reference) => Repr::Reference(Arc::new(reference)),
                None => Repr::Node(graph.clone(), id),
            },
            _ => Repr::Node(graph.clone(), id),
        })
    }

    /// Looks into the value.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        match &self.0 {
            Repr::None => View::None,
            Repr::Bool(truth) => View::Bool(*truth),
            Repr::Int(int) => View::Int(*int),
            Repr::BigInt(bytes) => View::BigInt(bytes),
            Repr::Float(float) => View::Float(*float),
            Repr::Bytes(bytes) => View::Bytes(bytes),
            Repr::Text(text) => View::Text(text),
            Repr::Name(name) => View::Text(name),
            Repr::Tuple(items) => View::Tuple(Cow::Borrowed(items)),
            Repr::List(items) => View::List(Cow::Borrowed(items)),
            Repr::Dict(items) => View::Dict(Cow::Borrowed(items)),
            Repr::Class(class) => View::Class(class),
            Repr::Reference(reference) => View::Reference(reference),
            Repr::Node(graph, id) => view_node(graph, *id),
        }
    }

    /// The items, if the value is a tuple.
    #[must_use]
    pub fn as_tuple(&self) -> Option<Cow<'_, [Self]>> {
        match self.view() {
            View::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if the value is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.view() {
            View::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if the value is an integer of up to 64 bits.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self.0 {
            Repr::Int(int) => Some(int),
            _ => None,
        }
    }

    /// The reference, if the value is one.
    #[must_use]
    pub fn as_reference(&self) -> Option<&Reference> {
        match &self.0 {
            Repr::Reference(reference) => Some(reference),
            _ => None,
        }
    }

    /// The object that the value refers to, if it is a strong reference within the database.
    #[must_use]
    pub fn as_object(&self) -> Option<ObjectId> {
        self.as_reference().and_then(Reference::strong)
    }

    /// Whether the value is `None`.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self.0, Repr::None)
    }
}

fn view_node(graph: &Arc<Graph>, id: NodeId) -> View<'_> {
    let arena = &graph.arena;
    let values = |ids: &[NodeId]| ids.iter().map(|id| PyValue::node(graph, *id)).collect();
    match arena.node(id) {
        Node::Bytes(span) => View::Bytes(arena.bytes(span)),
        Node::Text(span) => text_view(arena.bytes(span)),
        Node::OldText(span) if arena.bytes(span).is_ascii() => text_view(arena.bytes(span)),
        Node::OldText(span) => View::Bytes(arena.bytes(span)),
        Node::Tuple(items) => View::Tuple(Cow::Owned(values(arena.tuple(items)))),
        Node::List(list) => View::List(Cow::Owned(values(arena.sequence(list)))),
        Node::Dict(dict) => {
            let (pairs, _) = arena.sequence(dict).as_chunks::<2>();
            let pairs = pairs.iter().map(|pair| pair.map(|id| PyValue::node(graph, id)));
            View::Dict(Cow::Owned(pairs.map(|[key, value]| (key, value)).collect()))
        }
        _ => View::Object,
    }
}

fn text_view(utf8: &[u8]) -> View<'_> {
    core::str::from_utf8(utf8).map_or(View::Object, View::Text)
}

/// Parses the content of a reference; `None` for forms that Python does not accept.
fn reference(graph: &Graph, content: NodeId) -> Option<Reference> {
    let read = record::Reference::read(&graph.arena, content)?;
    let oid = Oid::from_slice(read.oid)?;
    let text = |bytes: &[u8]| core::str::from_utf8(bytes).ok().map(ToOwned::to_owned);
    let database = match read.database {
        Some(name) => Some(text(name)?),
        None => None,
    };
    if read.weak {
        return Some(Reference::Weak { id: oid.into(), database });
    }
    let class = match read.class {
        Some(names) => Some(class_in(graph, content, names)?),
        None => None,
    };
    Some(match database {
        None => Reference::Strong { id: oid.into(), class },
        Some(database) => Reference::Foreign { database, oid, class },
    })
}

/// The class of a reference: the one that the graph has already, in the usual form.
fn class_in(graph: &Graph, content: NodeId, (module, name): (&[u8], &[u8])) -> Option<Class> {
    if let Node::Tuple(items) = graph.arena.node(content)
        && let [_, class] = *graph.arena.tuple(items)
        && let Some(class) = graph.class(class)
    {
        return Some(class.clone());
    }
    Class::read(module, name)
}

impl From<bool> for PyValue {
    fn from(truth: bool) -> Self {
        Self(Repr::Bool(truth))
    }
}

impl From<i64> for PyValue {
    fn from(int: i64) -> Self {
        Self(Repr::Int(int))
    }
}

impl From<i32> for PyValue {
    fn from(int: i32) -> Self {
        Self(Repr::Int(int.into()))
    }
}

impl From<u64> for PyValue {
    fn from(int: u64) -> Self {
        Self(match i64::try_from(int) {
            Ok(int) => Repr::Int(int),
            Err(_) => {
                let bytes: Vec<u8> = int.to_le_bytes().into_iter().chain([0]).collect();
                Repr::BigInt(Arc::new(bytes.into()))
            }
        })
    }
}

impl From<f64> for PyValue {
    fn from(float: f64) -> Self {
        Self(Repr::Float(float))
    }
}

impl From<&str> for PyValue {
    fn from(text: &str) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl From<String> for PyValue {
    fn from(text: String) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl From<Bytes> for PyValue {
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Bytes(Arc::new(bytes)))
    }
}

impl From<Class> for PyValue {
    fn from(class: Class) -> Self {
        Self(Repr::Class(class))
    }
}

impl From<Reference> for PyValue {
    fn from(reference: Reference) -> Self {
        Self(Repr::Reference(Arc::new(reference)))
    }
}

impl fmt::Debug for PyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(self, f, DEBUG_DEPTH_MAX, &Cell::new(DEBUG_VALUES_MAX))
    }
}

/// Shows a value as Python would. A value that contains itself ends in dots.
fn debug(value: &PyValue, f: &mut fmt::Formatter<'_>, depth: u32, left: &Cell<u32>) -> fmt::Result {
    let (Some(below), Some(rest)) = (depth.checked_sub(1), left.get().checked_sub(1)) else {
        return f.write_str("...");
    };
    left.set(rest);
    let items = |f: &mut fmt::Formatter<'_>, items: &[PyValue]| {
        items.iter().enumerate().try_for_each(|(at, item)| {
            f.write_str(if at == 0 { "" } else { ", " })?;
            debug(item, f, below, left)
        })
    };
    match value.view() {
        View::None => f.write_str("None"),
        View::Bool(true) => f.write_str("True"),
        View::Bool(false) => f.write_str("False"),
        View::Int(int) => write!(f, "{int}"),
        View::BigInt(bytes) => write!(f, "int.from_bytes(b\"{}\")", bytes.escape_ascii()),
        View::Float(float) => write!(f, "{float:?}"),
        View::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
        View::Text(text) => write!(f, "{text:?}"),
        View::Tuple(tuple) => {
            f.write_str("(")?;
            items(f, &tuple)?;
            f.write_str(if tuple.len() == 1 { ",)" } else { ")" })
        }
        View::List(list) => {
            f.write_str("[")?;
            items(f, &list)?;
            f.write_str("]")
        }
        View::Dict(dict) => {
            f.write_str("{")?;
            for (at, (key, value)) in dict.iter().enumerate() {
                f.write_str(if at == 0 { "" } else { ", " })?;
                debug(key, f, below, left)?;
                f.write_str(": ")?;
                debug(value, f, below, left)?;
            }
            f.write_str("}")
        }
        View::Class(class) => write!(f, "{class}"),
        View::Reference(reference) => write!(f, "{reference:?}"),
        View::Object => f.write_str("<object>"),
    }
}
