//! Finds out whether Python can load a state with only its standard library.
//!
//! A pickle with valid opcodes can still fail to load: because it calls a class that is not
//! installed, or has a list as a dict's key. Then Python's resolution fails, and so must this one.

use crate::pickle::arena::{Arena, Node, NodeId};
use crate::pickle::text;
use crate::record::Reference;

use super::names;

/// Maximum depth of nested tuples in dict keys; Python has no such limit.
const KEY_DEPTH_MAX: u32 = 16;

/// Maximum number of key checks for each node of a graph; shared tuples are checked again.
const STEPS_PER_NODE: usize = 16;

/// An object of the standard library.
#[derive(Clone, Copy)]
pub(super) enum StandardObject<'a> {
    /// A decimal number or time span: equal if the pickles are, and not smaller than itself.
    Exact(&'a [NodeId]),
    /// A date or time without time zone; with others of its class it compares as its state does.
    Moment(&'a [u8]),
    /// A set or frozen set of these.
    Set(&'a [NodeId]),
    /// An object that cannot be compared.
    Unordered,
}

/// Whether Python loads every node.
pub(super) fn can_load_all(arena: &Arena) -> bool {
    let steps = STEPS_PER_NODE.saturating_mul(arena.nodes().len());
    let mut check = Check { arena, steps };
    arena.nodes().iter().all(|node| check.can_load(*node))
}

struct Check<'a> {
    arena: &'a Arena,
    steps: usize,
}

impl Check<'_> {
    fn can_load(&mut self, node: Node) -> bool {
        let arena = self.arena;
        match node {
            Node::None
            | Node::Bool(_)
            | Node::Int(_)
            | Node::BigInt(_)
            | Node::Float(_)
            | Node::Bytes(_)
            | Node::Tuple(_)
            | Node::List(_) => true,
            // Names are text without lone surrogates, which other text may have.
            Node::Global(names) => {
                let (module, name) = arena.global(names);
                [module, name].iter().all(|text| core::str::from_utf8(text).is_ok())
            }
            Node::Text(span) => text::decode(arena.bytes(span)).is_some(),
            Node::OldText(span) => arena.bytes(span).is_ascii(),
            Node::Dict(items) => arena
                .sequence(items)
                .iter()
                .step_by(2)
                .all(|key| self.is_hashable(*key, KEY_DEPTH_MAX)),
            Node::Call { callable, args } => match StandardObject::of(arena, callable, args) {
                Some(StandardObject::Set(items)) => {
                    items.iter().all(|item| self.is_hashable(*item, KEY_DEPTH_MAX))
                }
                Some(
                    StandardObject::Exact(_)
                    | StandardObject::Moment(_)
                    | StandardObject::Unordered,
                ) => true,
                None => false,
            },
            Node::Reference(id) => Reference::read(arena, id).is_some(),
            Node::Extension(_)
            | Node::New { .. }
            | Node::Build { .. }
            | Node::Extend { .. }
            | Node::Update { .. } => false,
        }
    }

    /// Whether Python accepts it as a dict key or a member of a set. Python does not accept
    /// references.
    fn is_hashable(&mut self, id: NodeId, depth: u32) -> bool {
        let Some(steps) = self.steps.checked_sub(1) else { return false };
        self.steps = steps;
        match self.arena.node(id) {
            Node::None
            | Node::Bool(_)
            | Node::Int(_)
            | Node::BigInt(_)
            | Node::Float(_)
            | Node::Bytes(_)
            | Node::Text(_)
            | Node::OldText(_) => true,
            Node::Tuple(items) => match depth.checked_sub(1) {
                Some(depth) => {
                    self.arena.tuple(items).iter().all(|item| self.is_hashable(*item, depth))
                }
                None => false,
            },
            _ => false,
        }
    }
}

impl<'a> StandardObject<'a> {
    /// The object that a call makes, if it is certain that the call succeeds (given that the
    /// members of a set can be hashed).
    pub(super) fn of(arena: &'a Arena, callable: NodeId, args: NodeId) -> Option<Self> {
        let Node::Global(class) = arena.node(callable) else { return None };
        let Node::Tuple(args) = arena.node(args) else { return None };
        let args = arena.tuple(args);
        let (module, name) = names::present_class(arena.global(class));
        let node = |at: usize| arena.node(args[at]);
        match (module, name, args.len()) {
            (b"builtins", b"set" | b"frozenset", 1) => {
                let Node::List(items) = node(0) else { return None };
                Some(Self::Set(arena.sequence(items)))
            }
            (b"builtins", b"complex", 2) => {
                let floats = matches!((node(0), node(1)), (Node::Float(_), Node::Float(_)));
                floats.then_some(Self::Unordered)
            }
            (b"builtins", b"bytearray", 1) => {
                matches!(node(0), Node::Bytes(_)).then_some(Self::Unordered)
            }
            (b"datetime", class, 1) => {
                let Node::Bytes(state) = node(0) else { return None };
                let state = arena.bytes(state);
                is_moment(class, state).then_some(Self::Moment(state))
            }
            (b"datetime", b"timedelta", 3) => {
                let (days, seconds, micros) = (node(0), node(1), node(2));
                let normal = matches!(days, Node::Int(-999_999_999..=999_999_998))
                    && matches!(seconds, Node::Int(0..86_400))
                    && matches!(micros, Node::Int(0..1_000_000));
                normal.then_some(Self::Exact(args))
            }
            (b"decimal", b"Decimal", 1) => {
                let Node::Text(digits) = node(0) else { return None };
                is_decimal(arena.bytes(digits)).then_some(Self::Exact(args))
            }
            _ => None,
        }
    }
}

/// The packed state of a date or time without time zone.
fn is_moment(class: &[u8], state: &[u8]) -> bool {
    let is_date = |century: u8, year: u8, month: u8, day: u8| {
        let year = u16::from_be_bytes([century, year]);
        (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=28).contains(&day)
    };
    let is_time = |hour: u8, minute: u8, second: u8| hour < 24 && minute < 60 && second < 60;
    match (class, state) {
        (b"date", &[century, year, month, day]) => is_date(century, year, month, day),
        (b"time", &[hour, minute, second, _, _, _]) => is_time(hour, minute, second),
        (b"datetime", &[century, year, month, day, hour, minute, second, _, _, _]) => {
            is_date(century, year, month, day) && is_time(hour, minute, second)
        }
        _ => false,
    }
}

/// Plain digits. Other spellings include signalling NaNs, whose comparison raises.
fn is_decimal(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    digits.first().is_some_and(u8::is_ascii_digit)
        && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && points <= 1
}
