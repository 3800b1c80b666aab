//! The values of one record as they were read.

use alloc::collections::BTreeMap;

use bytes::Bytes;
use rzeo_core::pickle::arena::{Arena, Node, NodeId};
use rzeo_core::pickle::{Unreadable, load_graph};
use rzeo_core::record::{Parts, RECORD_LIMITS};

use crate::class::Class;

/// Nodes of a record. They stay as they were read, so values that were not changed are written back
/// with the same objects shared.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) arena: Arena,
    /// The classes that nodes name, by the index in [`Node::Global`].
    classes: BTreeMap<u32, Class>,
}

impl Graph {
    /// Reads a record.
    pub(crate) fn read(record: &Bytes) -> Result<(Self, Parts), Unreadable> {
        let mut arena = Arena::new(RECORD_LIMITS);
        let parts = Parts::read(&mut arena, record)?;
        Ok((Self::new(arena), parts))
    }

    /// Reads a single pickle.
    pub(crate) fn read_pickle(pickle: &Bytes) -> Result<(Self, NodeId), Unreadable> {
        let mut arena = Arena::new(RECORD_LIMITS);
        let root = load_graph(&mut arena, pickle)?;
        Ok((Self::new(arena), root))
    }

    fn new(arena: Arena) -> Self {
        let classes = arena.nodes().iter().filter_map(|node| class(&arena, *node)).collect();
        Self { arena, classes }
    }

    /// The class that a node names; `None` for other nodes, and for names that are not UTF-8.
    pub(crate) fn class(&self, id: NodeId) -> Option<&Class> {
        let Node::Global(names) = self.arena.node(id) else { return None };
        self.classes.get(&names)
    }
}

fn class(arena: &Arena, node: Node) -> Option<(u32, Class)> {
    let Node::Global(names) = node else { return None };
    let (module, name) = arena.global(names);
    Some((names, Class::read(module, name)?))
}
