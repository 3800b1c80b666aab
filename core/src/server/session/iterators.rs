//! A connection's iterators, over transactions and over the records of one.
//!
//! Ids of both kinds count from 0 in one sequence and are not used again (`spec: zeo-protocol 13`).
//! Each step may have to wait for the disk, so the iterator itself travels to where it may wait and
//! back; calls for it that arrive meanwhile stand in line at its slot.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use super::desk::{Desk, Job};
use super::line::{Caller, Line, MsgId};
use crate::ids::Tid;
use crate::server::jobs::Walk;
use crate::server::jobs::{StorageCall, StorageReply};
use crate::storage::{RecordIterator, TransactionIterator};
use crate::value::Value;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// What is asked of an iterator.
#[derive(Debug)]
pub(super) enum IteratorCall {
    /// `iterator_next`.
    Next,
    /// `iterator_record_start`, for the transaction with this tid.
    Records(Tid),
    /// `iterator_record_next`.
    NextRecord,
    /// `iterator_gc`.
    Forget,
}

/// The iterators of a connection.
#[derive(Debug, Default)]
pub(super) struct Iterators {
    slots: BTreeMap<u64, Slot>,
    /// The id that the next one gets.
    next: u64,
    /// How many calls stand in line, at all slots.
    waiting: usize,
}

struct Slot {
    place: Place,
    /// The transaction last returned.
    current: Option<Tid>,
    waiting: VecDeque<(Caller, IteratorCall)>,
}

enum Place {
    Transactions(Box<dyn TransactionIterator>),
    Records(Box<dyn RecordIterator>),
    /// Taking a step for this caller.
    Away(Caller),
}

impl core::fmt::Debug for Slot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let away = matches!(self.place, Place::Away(_));
        write!(f, "iterator at {:?}, away: {away}, {} waiting", self.current, self.waiting.len())
    }
}

impl Iterators {
    fn open(&mut self, place: Place) -> u64 {
        let id = self.next;
        self.next += 1;
        self.slots.insert(id, Slot { place, current: None, waiting: VecDeque::new() });
        id
    }

    /// How many calls wait for an iterator that is away.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }
}

fn number(id: &Value) -> Option<u64> {
    match id {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

impl Desk {
    pub(super) fn start_iterator(
        &mut self,
        line: &mut Line,
        caller: Caller,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) {
        if let Some(refusal) = self.refusal_of_another() {
            return line.answer(caller, Err(refusal));
        }
        let id = self.iterators.open(Place::Away(caller));
        self.perform(line, Job::Iterator(id), StorageCall::Iterate { start, stop });
    }

    /// Why one more iterator cannot be opened, if so.
    fn refusal_of_another(&self) -> Option<Refusal> {
        let limit = self.settings.limits.iterators_max;
        (self.iterators.slots.len() >= limit).then(|| {
            let text =
                format!("{limit} iterators are open on this connection, the limit (max-iterators)");
            Refusal::text("builtins.Exception", text)
        })
    }

    /// `iterator_gc`: ids that are not there, or not even numbers, are no error. An iterator that is
    /// away is forgotten after what was asked of it before.
    pub(super) fn forget_iterators(&mut self, line: &mut Line, ids: &[Value]) {
        for id in ids {
            let nobody =
                Caller { msgid: MsgId::Value(Value::None), oneway: true, message_bytes: 0 };
            self.iterator_call(line, nobody, id, IteratorCall::Forget);
        }
    }

    pub(super) fn iterator_call(
        &mut self,
        line: &mut Line,
        caller: Caller,
        id: &Value,
        call: IteratorCall,
    ) {
        let slot = number(id).and_then(|id| Some((id, self.iterators.slots.get_mut(&id)?)));
        match slot {
            None if matches!(call, IteratorCall::Forget) => line.answer(caller, Ok(Reply::Nil)),
            None => line.answer(caller, Err(Refusal::key(id.clone()))),
            Some((_, slot)) if matches!(slot.place, Place::Away(_)) => {
                slot.waiting.push_back((caller, call));
                self.iterators.waiting += 1;
            }
            Some((id, _)) if matches!(call, IteratorCall::Forget) => {
                self.iterators.slots.remove(&id);
                line.answer(caller, Ok(Reply::Nil));
            }
            Some((id, _)) => self.step(line, id, caller, call),
        }
    }

    /// Sends an iterator that is here on its way.
    fn step(&mut self, line: &mut Line, id: u64, caller: Caller, call: IteratorCall) {
        let too_many = self.refusal_of_another();
        let slot = self.iterators.slots.get_mut(&id).expect("the caller has seen the slot");
        let place = core::mem::replace(&mut slot.place, Place::Away(caller.clone()));
        let walk = match (place, call) {
            (Place::Transactions(walk), IteratorCall::Next) => Ok(Walk::Transactions(walk)),
            (Place::Records(walk), IteratorCall::NextRecord) => Ok(Walk::Records(walk)),
            (Place::Transactions(walk), IteratorCall::Records(tid))
                if slot.current == Some(tid) =>
            {
                match too_many {
                    None => Ok(Walk::Open(walk)),
                    Some(refusal) => Err((Place::Transactions(walk), refusal)),
                }
            }
            (place @ Place::Transactions(_), IteratorCall::Records(tid))
                if slot.current.is_some() =>
            {
                Err((place, out_of_order(tid)))
            }
            (place, _) => {
                let id = i64::try_from(id).unwrap_or(i64::MAX);
                Err((place, Refusal::key(Value::Int(id))))
            }
        };
        match walk {
            Ok(walk) => self.perform(line, Job::Iterator(id), StorageCall::Step(walk)),
            Err((place, refusal)) => {
                slot.place = place;
                line.answer(caller, Err(refusal));
            }
        }
    }

    /// An iterator comes back from a step.
    pub(super) fn iterated(&mut self, line: &mut Line, id: u64, reply: StorageReply) {
        let Some(mut slot) = self.iterators.slots.remove(&id) else { return };
        let Place::Away(caller) = &slot.place else {
            unreachable!("an iterator that is here takes no step")
        };
        let caller = caller.clone();
        let (place, result) = match reply {
            StorageReply::Iterating(Ok(walk)) => {
                (Some(Place::Transactions(walk)), Ok(Reply::Number(id)))
            }
            StorageReply::Iterating(Err(error)) => (None, Err(error)),
            StorageReply::Transaction(walk, Ok(Some(header))) => {
                slot.current = Some(header.tid);
                (Some(Place::Transactions(walk)), Ok(Reply::Transaction(header)))
            }
            StorageReply::Transaction(_, Ok(None)) | StorageReply::Record(_, Ok(None)) => {
                (None, Ok(Reply::Nil))
            }
            StorageReply::Transaction(walk, Err(error)) => {
                (Some(Place::Transactions(walk)), Err(error))
            }
            StorageReply::Record(walk, Ok(Some(record))) => {
                (Some(Place::Records(walk)), Ok(Reply::Record(record)))
            }
            StorageReply::Record(walk, Err(error)) => (Some(Place::Records(walk)), Err(error)),
            StorageReply::Opened(walk, opened) => {
                let opened = opened
                    .map(|records| Reply::Number(self.iterators.open(Place::Records(records))));
                (Some(Place::Transactions(walk)), opened)
            }
            StorageReply::Ready(_)
            | StorageReply::Loaded(_)
            | StorageReply::Voted(_)
            | StorageReply::Scratch(_)
            | StorageReply::Written(_)
            | StorageReply::Blob(_)
            | StorageReply::BlobBytes(_)
            | StorageReply::Discarded => {
                unreachable!("no step of an iterator is answered like that")
            }
        };
        line.answer(caller, result.map_err(Refusal::from));
        self.settle(line, id, slot, place);
    }

    /// Puts an iterator back, or disposes of it at its end, and serves those who wait for it.
    fn settle(&mut self, line: &mut Line, id: u64, mut slot: Slot, place: Option<Place>) {
        let mut waiting = core::mem::take(&mut slot.waiting);
        if let Some(place) = place {
            self.iterators.slots.insert(id, Slot { place, ..slot });
        }
        self.iterators.waiting -= waiting.len();
        while let Some((caller, call)) = waiting.pop_front() {
            let id = Value::Int(i64::try_from(id).unwrap_or(i64::MAX));
            self.iterator_call(line, caller, &id, call);
        }
    }
}

fn out_of_order(tid: Tid) -> Refusal {
    let tid = python_repr(&tid.to_bytes());
    let text = format!("Out-of-order request for record iterator for transaction {tid}");
    Refusal::text("builtins.Exception", text)
}

/// Bytes as Python's `repr` shows them.
fn python_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut text = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\\' => text.push_str("\\\\"),
            b'\'' if quote == '\'' => text.push_str("\\'"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a String takes everything"),
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_look_as_in_python() {
        assert_eq!(python_repr(b"\x04\r(Q~G\xabw"), r"b'\x04\r(Q~G\xabw'");
        assert_eq!(python_repr(b"\t\n \x7f\xff"), r"b'\t\n \x7f\xff'");
        assert_eq!(python_repr(b"say \"so\""), "b'say \"so\"'");
        assert_eq!(python_repr(b"it's"), "b\"it's\"");
        assert_eq!(python_repr(b"'\"\\"), r#"b'\'"\\'"#);
    }
}
