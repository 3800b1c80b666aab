//! Calls, and what each kind of them is answered with.
//!
//! A command returns a [`Call`] of the type of its answer. The answers of all kinds come out of one queue,
//! so there they are one type, [`Answer`]; its variants and the types of calls correspond one to one.

use alloc::vec::Vec;
use core::marker::PhantomData;

use super::ids::CallId;
use super::query::Reply;
use crate::ids::{Oid, Tid};
use crate::storage::Revision;

/// A call that is answered with an `A`.
#[derive(Debug, PartialEq, Eq)]
pub struct Call<A> {
    /// The id that the answer comes with.
    pub id: CallId,
    answer: PhantomData<fn() -> A>,
}

impl<A> Call<A> {
    pub(super) const fn new(id: CallId) -> Self {
        Self { id, answer: PhantomData }
    }
}

impl<A> Clone for Call<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Call<A> {}

/// The turn of a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun;

/// The answer to a call of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To an abort or a blob download, `()`.
    Done,
    /// To a load; `None` if the object exists, but not before that tid.
    Loaded(Option<Revision>),
    /// To a request for a new oid.
    Oid(Oid),
    /// To a begin, [`Begun`].
    Begun,
    /// To a vote: the objects that are not what was stored, because their conflicts were resolved or they
    /// were undone.
    Voted(Vec<Oid>),
    /// To a finish: the tid of the transaction.
    Finished(Tid),
    /// To a [`Query`](super::query::Query), which reads it.
    Reply(Reply),
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl From<Option<Revision>> for Answer {
    fn from(revision: Option<Revision>) -> Self {
        Self::Loaded(revision)
    }
}

impl From<Oid> for Answer {
    fn from(oid: Oid) -> Self {
        Self::Oid(oid)
    }
}

impl From<Begun> for Answer {
    fn from(Begun: Begun) -> Self {
        Self::Begun
    }
}

impl From<Vec<Oid>> for Answer {
    fn from(oids: Vec<Oid>) -> Self {
        Self::Voted(oids)
    }
}

impl From<Tid> for Answer {
    fn from(tid: Tid) -> Self {
        Self::Finished(tid)
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}
