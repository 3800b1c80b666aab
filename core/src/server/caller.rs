//! The caller of a method: where its answer goes.
//!
//! A caller travels with its request to the storage or the hub, and returns with the answer.
//! So no table of open questions is kept, and an answer cannot reach the wrong question.

use alloc::vec;

use crate::ids::{Oid, Tid};
use crate::value::Value;

/// Names a call of the peer, and says whether the peer waits for an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub(super) id: CallId,
    pub(super) oneway: bool,
    /// Length of the message, which is the memory that the call takes while it waits.
    pub(super) message_bytes: usize,
}

/// The id that the peer gave its call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CallId {
    /// The arguments of a load, which is how clients name nearly all of their loads.
    Load(Oid, Tid),
    /// Any other id, as the peer sent it.
    Value(Value),
}

impl Caller {
    /// The caller of the message with this number, for tests that drive a hub without a session.
    #[must_use]
    pub const fn numbered(number: i64) -> Self {
        Self { id: CallId::Value(Value::Int(number)), oneway: false, message_bytes: 0 }
    }

    /// A caller that gets no answer.
    pub(super) const fn unanswered() -> Self {
        Self { id: CallId::Value(Value::None), oneway: true, message_bytes: 0 }
    }
}

impl CallId {
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Load(oid, before) => Value::Tuple(vec![Value::oid(oid), Value::tid(before)]),
            Self::Value(value) => value,
        }
    }
}
