//! Which values were written before, and in which memo slots they are.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;

use bytes::Bytes;
use rzeo_core::Oid;
use rzeo_core::pickle::Slot;
use rzeo_core::pickle::arena::NodeId;

use crate::class::Class;
use crate::graph::Graph;

/// Slots of the values written so far.
#[derive(Default)]
pub(super) struct Memo {
    pub(super) values: BTreeMap<Identity, Slot>,
    /// Text that Python interns, and that of which it has one object.
    pub(super) texts: BTreeMap<String, Slot>,
    /// Byte strings of up to one byte.
    pub(super) bytes: BTreeMap<Bytes, Slot>,
    pub(super) classes: BTreeMap<Class, Slot>,
    pub(super) oids: BTreeMap<Oid, Slot>,
}

/// What makes a value the same object as another one: the graph and the node that it was read from, or
/// the address at which a program made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Identity {
    Node(usize, NodeId),
    Made(usize),
}

impl Identity {
    pub(super) fn node(graph: &Arc<Graph>, id: NodeId) -> Self {
        Self::Node(Arc::as_ptr(graph).addr(), id)
    }

    pub(super) fn made<T: ?Sized>(value: &Arc<T>) -> Self {
        Self::Made(Arc::as_ptr(value).cast::<()>().addr())
    }
}
