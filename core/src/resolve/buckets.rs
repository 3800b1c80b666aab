//! Buckets, sets, and the small trees made of one.
//!
//! A leaf's state is a tuple of its items in ascending order (alternating keys and values, or keys
//! alone), and a reference to the next leaf if there is one. A tree with a single leaf without an
//! oid holds that leaf's state inside two more tuples; larger trees hold references to their nodes,
//! and changes to those cannot be merged.
//!
//! The merge goes through the items of all three states at once, in order, and compares them: it
//! takes over what one side changed, added or deleted; what both sides changed is a conflict. Two
//! restrictions come from the parent in the tree, which the merge cannot change: a leaf must not
//! become empty, and its first key must not be deleted, because the parent stores that key.
//!
//! ```text
//!   old       a  b  c  d            b is changed in committed, c deleted in new, e added in new
//!   committed a  B  c  d
//!   new       a  b     d  e         result: a  B  d  e
//! ```

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::compare::Compare;
use super::names::ClassKind;
use super::reference;
use super::states::States;
use super::write::MergedValue;
use crate::pickle::arena::{Arena, Node, NodeId};

/// The types of keys and values in the classes of one module.
#[derive(Clone, Copy)]
pub(super) struct Family {
    key: Domain,
    /// `None` in sets.
    value: Option<Domain>,
}

/// A type of keys or values.
#[derive(Clone, Copy)]
enum Domain {
    /// Byte strings of exactly this length.
    Bytes(usize),
    /// Single precision.
    Float,
    /// A range of integers.
    Int(i128, i128),
    Object,
}

impl Family {
    pub(super) fn new(prefix: [u8; 2], kind: ClassKind) -> Self {
        let [key, value] = prefix.map(Domain::of);
        let has_values = matches!(kind, ClassKind::Bucket | ClassKind::BTree);
        Self { key, value: has_values.then_some(value) }
    }
}

impl Domain {
    /// The type for its letter in the name of the module.
    const fn of(letter: u8) -> Self {
        match letter {
            b'I' => Self::Int(i32::MIN as i128, i32::MAX as i128),
            b'L' => Self::Int(i64::MIN as i128, i64::MAX as i128),
            b'U' => Self::Int(0, u32::MAX as i128),
            b'Q' => Self::Int(0, u64::MAX as i128),
            b'F' => Self::Float,
            b'f' => Self::Bytes(2),
            b's' => Self::Bytes(6),
            _ => Self::Object,
        }
    }

    /// The key or value as the C structure holds it; `None` where Python raises a `TypeError`.
    fn load(self, arena: &Arena, id: NodeId) -> Option<Cell> {
        let node = arena.node(id);
        match self {
            Self::Object => Some(Cell::Object(id)),
            Self::Bytes(len) => match node {
                Node::Bytes(span) if arena.bytes(span).len() == len => Some(Cell::Object(id)),
                _ => None,
            },
            Self::Int(min, max) => {
                let int = int(arena, node)?;
                (min..=max).contains(&int).then_some(Cell::Int(int))
            }
            Self::Float => match node {
                Node::Float(float) => Some(Cell::Float(single(float))),
                node => match i64::try_from(int(arena, node)?) {
                    Ok(int) => Some(Cell::Float(single_of_int(int))),
                    Err(_) => None,
                },
            },
        }
    }
}

/// Integers up to 72 bits, which is more than BTrees can hold. Booleans are integers.
fn int(arena: &Arena, node: Node) -> Option<i128> {
    match node {
        Node::Bool(truth) => Some(truth.into()),
        Node::Int(int) => Some(int.into()),
        Node::BigInt(span) => match *arena.bytes(span) {
            [ref low @ .., high] => {
                let low: [u8; 8] = low.try_into().ok()?;
                Some(i128::from(high.cast_signed()) << 64 | i128::from(u64::from_le_bytes(low)))
            }
            [] => None,
        },
        _ => None,
    }
}

/// Rounds to nearest; values that are too large become infinite, as in C.
#[expect(clippy::cast_possible_truncation, reason = "BTrees round values to single precision")]
fn single(double: f64) -> f32 {
    double as f32
}

/// C converts integers directly to single precision, not by way of a double.
#[expect(clippy::cast_precision_loss, reason = "BTrees round values to single precision")]
fn single_of_int(int: i64) -> f32 {
    int as f32
}

/// A key or value.
#[derive(Clone, Copy)]
enum Cell {
    Float(f32),
    Int(i128),
    Object(NodeId),
}

impl Cell {
    fn merged_value(self) -> MergedValue {
        match self {
            Self::Float(float) => MergedValue::Float(float.into()),
            Self::Int(int) => MergedValue::Int(int.to_le_bytes().to_vec().into()),
            Self::Object(id) => MergedValue::Node(id),
        }
    }
}

/// The state of a leaf, loaded.
#[derive(Default)]
struct Leaf {
    items: Vec<Item>,
    /// The target of the reference to the next leaf.
    next: Option<NodeId>,
}

#[derive(Clone, Copy)]
struct Item {
    key: Cell,
    value: Option<Cell>,
}

/// Merges buckets or sets with a record of their own.
pub(super) fn merge_leaves(
    arena: &Arena,
    family: Family,
    states: States<NodeId>,
) -> Option<MergedValue> {
    let leaves = states.try_map(|state| Leaf::load(arena, family, state))?;
    Merge::new(arena, &leaves).run()
}

/// Merges trees, if they consist of a single leaf that has no record of its own.
pub(super) fn merge_trees(
    arena: &Arena,
    family: Family,
    states: States<NodeId>,
) -> Option<MergedValue> {
    let leaves = states.try_map(|state| match arena.node(state) {
        Node::None => Some(Leaf::default()),
        _ => Leaf::load(arena, family, only(arena, only(arena, state)?)?),
    })?;
    let leaf = Merge::new(arena, &leaves).run()?;
    Some(MergedValue::Tuple([MergedValue::Tuple([leaf].into())].into()))
}

/// The item of a tuple with one item.
fn only(arena: &Arena, id: NodeId) -> Option<NodeId> {
    let Node::Tuple(items) = arena.node(id) else { return None };
    match *arena.tuple(items) {
        [item] => Some(item),
        _ => None,
    }
}

impl Leaf {
    fn load(arena: &Arena, family: Family, state: NodeId) -> Option<Self> {
        let Node::Tuple(state) = arena.node(state) else {
            return matches!(arena.node(state), Node::None).then(Self::default);
        };
        let (items, next) = match *arena.tuple(state) {
            [items] => (items, None),
            [items, next] => {
                let Node::Reference(next) = arena.node(next) else { return None };
                (items, Some(next))
            }
            _ => return None,
        };
        let Node::Tuple(items) = arena.node(items) else { return None };
        let items = arena.tuple(items);
        let key = |id| family.key.load(arena, id);
        let items = match family.value {
            None => items.iter().map(|id| Some(Item { key: key(*id)?, value: None })).collect(),
            // C's loader ignores a key without a value.
            Some(domain) => {
                let pairs = items.as_chunks().0.iter();
                let item = |[id, value]: &[NodeId; 2]| {
                    Some(Item { key: key(*id)?, value: Some(domain.load(arena, *value)?) })
                };
                pairs.map(item).collect::<Option<_>>()
            }
        };
        Some(Self { items: items?, next })
    }
}

/// A position among the items of a leaf. BTrees count the items that an iterator has given, which
/// the rule about the first key depends on.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    rest: &'a [Item],
    is_first: bool,
}

impl<'a> Cursor<'a> {
    fn new(leaf: &'a Leaf) -> Self {
        Self { rest: &leaf.items, is_first: true }
    }

    fn item(&self) -> Option<Item> {
        self.rest.first().copied()
    }

    fn advance(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
        self.is_first = false;
    }
}

/// The state of a merge.
struct Merge<'a> {
    arena: &'a Arena,
    compare: Compare<'a>,
    next: States<Option<NodeId>>,
    old: Cursor<'a>,
    committed: Cursor<'a>,
    new: Cursor<'a>,
    merged: Vec<MergedValue>,
}

/// What one side did at the position of an item of the old state.
enum ItemChange {
    /// The side has a smaller key before it.
    Inserted,
    /// The side kept the key.
    Kept,
    /// The side deleted the key.
    Deleted,
}

impl<'a> Merge<'a> {
    fn new(arena: &'a Arena, leaves: &'a States<Leaf>) -> Self {
        let States { old, committed, new } = leaves;
        Self {
            arena,
            compare: Compare::new(arena),
            next: States { old: old.next, committed: committed.next, new: new.next },
            old: Cursor::new(old),
            committed: Cursor::new(committed),
            new: Cursor::new(new),
            merged: Vec::new(),
        }
    }

    /// The state of the merged leaf. The cases are numbered as the reasons of Python's
    /// `BTreesConflictError` are.
    fn run(mut self) -> Option<MergedValue> {
        let both = [self.next.committed, self.next.new];
        if !both.into_iter().all(|next| self.is_old_next(next)) {
            return None; // 0: a leaf was split
        }
        if self.committed.item().is_none() || self.new.item().is_none() {
            return None; // 12: a leaf was emptied
        }
        while let (Some(old), Some(committed), Some(new)) =
            (self.old.item(), self.committed.item(), self.new.item())
        {
            self.three(old, committed, new)?;
        }
        self.two_added()?;
        self.old_and_committed()?;
        self.old_and_new()?;
        if self.old.item().is_some() {
            return None; // 9: both sides deleted the last keys
        }
        while self.committed.item().is_some() {
            self.take_committed();
        }
        while self.new.item().is_some() {
            self.take_new();
        }
        if self.merged.is_empty() {
            return None; // 10: the merged leaf would be empty
        }
        let mut state = Vec::from([MergedValue::Tuple(self.merged)]);
        state.extend(self.next.old.map(MergedValue::Reference));
        Some(MergedValue::Tuple(state))
    }

    /// One step while all three states have more items.
    fn three(&mut self, old: Item, committed: Item, new: Item) -> Option<()> {
        let in_committed = self.change(old, committed)?;
        let in_new = self.change(old, new)?;
        match (in_committed, in_new) {
            (ItemChange::Kept, ItemChange::Kept) => {
                if self.same_value(old, committed)? {
                    self.take_new();
                    self.committed.advance();
                } else if self.same_value(old, new)? {
                    self.take_committed();
                    self.new.advance();
                } else {
                    return None; // 1: both changed the value
                }
                self.old.advance();
            }
            (ItemChange::Kept, ItemChange::Inserted) => self.take_new(),
            (ItemChange::Inserted, ItemChange::Kept) => self.take_committed(),
            (ItemChange::Kept, ItemChange::Deleted) => {
                // 2: changed and deleted; 13: the first key is deleted
                if !self.same_value(old, committed)? || self.new.is_first {
                    return None;
                }
                self.old.advance();
                self.committed.advance();
            }
            (ItemChange::Deleted, ItemChange::Kept) => {
                // 3: deleted and changed; 13: the first key is deleted
                if !self.same_value(old, new)? || self.committed.is_first {
                    return None;
                }
                self.old.advance();
                self.new.advance();
            }
            (in_committed, in_new) => {
                let order = self.order(committed, new)?;
                match (in_committed, in_new, order) {
                    (_, _, Ordering::Equal) => return None, // 4: both inserted the key
                    (ItemChange::Inserted, _, Ordering::Less) => self.take_committed(),
                    (ItemChange::Inserted, _, Ordering::Greater) | (_, ItemChange::Inserted, _) => {
                        self.take_new();
                    }
                    _ => return None, // 5: both deleted the key
                }
            }
        }
        Some(())
    }

    /// The rest of both sides after the end of the old state.
    fn two_added(&mut self) -> Option<()> {
        while let (Some(committed), Some(new)) = (self.committed.item(), self.new.item()) {
            match self.order(committed, new)? {
                Ordering::Less => self.take_committed(),
                Ordering::Greater => self.take_new(),
                Ordering::Equal => return None, // 6: both inserted the key
            }
        }
        Some(())
    }

    /// The rest of the old and committed states after the end of the new state, which deleted the
    /// rest.
    fn old_and_committed(&mut self) -> Option<()> {
        while let (Some(old), Some(committed)) = (self.old.item(), self.committed.item()) {
            match self.change(old, committed)? {
                ItemChange::Inserted => self.take_committed(),
                ItemChange::Kept if self.same_value(old, committed)? => {
                    self.old.advance();
                    self.committed.advance();
                }
                ItemChange::Kept | ItemChange::Deleted => return None, // 7: deleted in new, changed or deleted in committed
            }
        }
        Some(())
    }

    /// The rest of the old and new states after the end of the committed state.
    fn old_and_new(&mut self) -> Option<()> {
        while let (Some(old), Some(new)) = (self.old.item(), self.new.item()) {
            match self.change(old, new)? {
                ItemChange::Inserted => self.take_new(),
                ItemChange::Kept if self.same_value(old, new)? => {
                    self.old.advance();
                    self.new.advance();
                }
                ItemChange::Kept | ItemChange::Deleted => return None, // 8: deleted in committed, changed or deleted in new
            }
        }
        Some(())
    }

    fn take_committed(&mut self) {
        let item = self.committed.item();
        self.committed.advance();
        self.take(item);
    }

    fn take_new(&mut self) {
        let item = self.new.item();
        self.new.advance();
        self.take(item);
    }

    fn take(&mut self, item: Option<Item>) {
        let cells = item.into_iter().flat_map(|item| [Some(item.key), item.value]);
        self.merged.extend(cells.flatten().map(Cell::merged_value));
    }

    fn change(&self, old: Item, side: Item) -> Option<ItemChange> {
        Some(match self.order(old, side)? {
            Ordering::Greater => ItemChange::Inserted,
            Ordering::Equal => ItemChange::Kept,
            Ordering::Less => ItemChange::Deleted,
        })
    }

    fn order(&self, a: Item, b: Item) -> Option<Ordering> {
        self.order_of_cells(a.key, b.key)
    }

    /// Whether two items have the same value; always true in sets.
    fn same_value(&self, a: Item, b: Item) -> Option<bool> {
        match (a.value, b.value) {
            (Some(a), Some(b)) => Some(self.order_of_cells(a, b)?.is_eq()),
            _ => Some(true),
        }
    }

    fn order_of_cells(&self, a: Cell, b: Cell) -> Option<Ordering> {
        match (a, b) {
            (Cell::Int(a), Cell::Int(b)) => Some(a.cmp(&b)),
            // C knows only less, greater, and the rest, so that NaN equals everything.
            (Cell::Float(a), Cell::Float(b)) => Some(a.partial_cmp(&b).unwrap_or(Ordering::Equal)),
            (Cell::Object(a), Cell::Object(b)) => self.compare.order(a, b),
            // All keys of a family have one type, and so have its values; otherwise there is no order.
            (Cell::Int(_) | Cell::Float(_) | Cell::Object(_), _) => None,
        }
    }

    fn is_old_next(&self, next: Option<NodeId>) -> bool {
        match (self.next.old, next) {
            (None, None) => true,
            (Some(old), Some(next)) => reference::same_spelling(self.arena, old, next),
            _ => false,
        }
    }
}
