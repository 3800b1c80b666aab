//! A connection's iterators, over transactions and over the records of one.
//!
//! Ids of both kinds count from 0 in one sequence and are not used again (`spec: zeo-protocol 13`).
//! Each step may have to wait for the disk, so the iterator itself moves to the thread that may wait, and
//! back. Calls for it that arrive meanwhile are queued in its slot.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use super::context::Context;
use crate::ids::Tid;
use crate::server::caller::Caller;
use crate::server::storage_calls::{IteratorStep, Step, Stepped, SteppedTo};
use crate::storage::{RecordIterator, TransactionIterator};
use crate::value::Value;
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// A call for an iterator.
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
    /// Calls queued in all slots.
    queued: usize,
}

struct Slot {
    /// `None` while the iterator takes a step.
    iterator: Option<AnyIterator>,
    /// The transaction last returned.
    current: Option<Tid>,
    queue: VecDeque<(Caller, IteratorCall)>,
}

enum AnyIterator {
    Transactions(Box<dyn TransactionIterator>),
    Records(Box<dyn RecordIterator>),
}

impl core::fmt::Debug for Slot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let steps = self.iterator.is_none();
        write!(f, "iterator at {:?}, steps: {steps}, {} queued", self.current, self.queue.len())
    }
}

impl Iterators {
    fn open(&mut self, iterator: Option<AnyIterator>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.slots.insert(id, Slot { iterator, current: None, queue: VecDeque::new() });
        id
    }

    /// Calls that wait for an iterator that takes a step.
    pub(super) const fn waiting(&self) -> usize {
        self.queued
    }

    /// `iterator_start`.
    pub(super) fn start(
        &mut self,
        cx: &mut Context<'_>,
        caller: Caller,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) {
        if let Some(refusal) = self.refusal_of_another(cx) {
            return cx.answer(caller, Err(refusal));
        }
        let id = self.open(None);
        cx.perform(IteratorStep { id, caller, step: Step::Start { start, stop } });
    }

    /// Why one more iterator cannot be opened, if so.
    fn refusal_of_another(&self, cx: &Context<'_>) -> Option<Refusal> {
        let limit = cx.limits().iterators_max;
        (self.slots.len() >= limit).then(|| {
            let text =
                format!("{limit} iterators are open on this connection, the limit (max-iterators)");
            Refusal::text("builtins.Exception", text)
        })
    }

    /// `iterator_gc`: unknown ids, even if they are no numbers, are no error. An iterator that takes a
    /// step is forgotten after the calls that came before.
    pub(super) fn forget(&mut self, cx: &mut Context<'_>, ids: &[Value]) {
        for id in ids {
            self.call(cx, Caller::unanswered(), id, IteratorCall::Forget);
        }
    }

    pub(super) fn call(
        &mut self,
        cx: &mut Context<'_>,
        caller: Caller,
        id: &Value,
        call: IteratorCall,
    ) {
        let slot = number(id).and_then(|id| Some((id, self.slots.get_mut(&id)?)));
        let Some((number, slot)) = slot else {
            let forgets = matches!(call, IteratorCall::Forget);
            let result = if forgets { Ok(()) } else { Err(Refusal::key(id.clone())) };
            return cx.acknowledge(caller, result);
        };
        match (slot.iterator.take(), call) {
            (None, call) => {
                slot.queue.push_back((caller, call));
                self.queued += 1;
            }
            (Some(_), IteratorCall::Forget) => {
                self.slots.remove(&number);
                cx.acknowledge(caller, Ok(()));
            }
            (Some(iterator), call) => self.step(cx, number, caller, iterator, call),
        }
    }

    /// Lets an iterator take a step, or refuses and puts it back.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        id: u64,
        caller: Caller,
        iterator: AnyIterator,
        call: IteratorCall,
    ) {
        let current = self.slots.get(&id).and_then(|slot| slot.current);
        let step = match (iterator, call) {
            (AnyIterator::Transactions(transactions), IteratorCall::Next) => {
                Ok(Step::NextTransaction(transactions))
            }
            (AnyIterator::Records(records), IteratorCall::NextRecord) => {
                Ok(Step::NextRecord(records))
            }
            (AnyIterator::Transactions(transactions), IteratorCall::Records(tid))
                if current == Some(tid) =>
            {
                match self.refusal_of_another(cx) {
                    None => Ok(Step::OpenRecords(transactions)),
                    Some(refusal) => Err((AnyIterator::Transactions(transactions), refusal)),
                }
            }
            (iterator @ AnyIterator::Transactions(_), IteratorCall::Records(tid))
                if current.is_some() =>
            {
                Err((iterator, out_of_order(tid)))
            }
            (iterator, _) => Err((iterator, Refusal::key(id_value(id)))),
        };
        match step {
            Ok(step) => cx.perform(IteratorStep { id, caller, step }),
            Err((iterator, refusal)) => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.iterator = Some(iterator);
                }
                cx.answer(caller, Err(refusal));
            }
        }
    }

    /// An iterator returns from a step.
    pub(super) fn stepped(&mut self, cx: &mut Context<'_>, Stepped { id, caller, to }: Stepped) {
        let Some(mut slot) = self.slots.remove(&id) else { return };
        let (iterator, result) = match to {
            SteppedTo::Started(Ok(transactions)) => {
                (Some(AnyIterator::Transactions(transactions)), Ok(Reply::Number(id)))
            }
            SteppedTo::Started(Err(error)) => (None, Err(error)),
            SteppedTo::Transaction(transactions, Ok(Some(header))) => {
                slot.current = Some(header.tid);
                (Some(AnyIterator::Transactions(transactions)), Ok(Reply::Transaction(header)))
            }
            SteppedTo::Transaction(_, Ok(None)) | SteppedTo::Record(_, Ok(None)) => {
                (None, Ok(Reply::Nil))
            }
            SteppedTo::Transaction(transactions, Err(error)) => {
                (Some(AnyIterator::Transactions(transactions)), Err(error))
            }
            SteppedTo::Record(records, Ok(Some(record))) => {
                (Some(AnyIterator::Records(records)), Ok(Reply::Record(record)))
            }
            SteppedTo::Record(records, Err(error)) => {
                (Some(AnyIterator::Records(records)), Err(error))
            }
            SteppedTo::Records(transactions, opened) => {
                let opened = opened
                    .map(|records| Reply::Number(self.open(Some(AnyIterator::Records(records)))));
                (Some(AnyIterator::Transactions(transactions)), opened)
            }
        };
        cx.answer(caller, result.map_err(Refusal::from));
        self.settle(cx, id, slot, iterator);
    }

    /// Puts an iterator back, or disposes of it at its end, and performs the calls that wait for it.
    fn settle(
        &mut self,
        cx: &mut Context<'_>,
        id: u64,
        mut slot: Slot,
        iterator: Option<AnyIterator>,
    ) {
        let mut queue = core::mem::take(&mut slot.queue);
        if iterator.is_some() {
            self.slots.insert(id, Slot { iterator, ..slot });
        }
        self.queued -= queue.len();
        while let Some((caller, call)) = queue.pop_front() {
            self.call(cx, caller, &id_value(id), call);
        }
    }
}

fn number(id: &Value) -> Option<u64> {
    match id {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn id_value(id: u64) -> Value {
    Value::Int(i64::try_from(id).unwrap_or(i64::MAX))
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
    use super::super::bench::Bench;
    use super::*;
    use crate::server::limits::Limits;
    use crate::server::storage_calls::Job;
    use crate::storage::StorageError;

    #[test]
    fn calls_for_an_iterator_that_steps_wait_for_it() {
        let mut bench = Bench::new();
        let mut iterators = Iterators::default();
        iterators.start(&mut bench.context(), Caller::numbered(1), None, None);
        let [Job::IteratorStep(step)] = &bench.jobs()[..] else { panic!("one step expected") };
        let id = step.id;
        let call = IteratorCall::Next;
        iterators.call(&mut bench.context(), Caller::numbered(2), &id_value(id), call);
        assert_eq!((iterators.waiting(), bench.replies().len()), (1, 0));
        let to = SteppedTo::Started(Err(StorageError::WouldBlock));
        let caller = Caller::numbered(1);
        iterators.stepped(&mut bench.context(), Stepped { id, caller, to });
        let answered: alloc::vec::Vec<i64> =
            bench.replies().into_iter().map(|(number, _)| number).collect();
        assert_eq!(answered, [1, 2], "the second is refused: the iterator never opened");
        assert_eq!(iterators.waiting(), 0);
    }

    #[test]
    fn there_is_a_maximum_of_iterators() {
        let mut bench = Bench::with_limits(Limits { iterators_max: 1, ..Limits::default() });
        let mut iterators = Iterators::default();
        for number in 1..=2 {
            iterators.start(&mut bench.context(), Caller::numbered(number), None, None);
        }
        assert_eq!(bench.jobs().len(), 1);
        assert_eq!(bench.replies().len(), 1);
    }

    #[test]
    fn bytes_look_as_in_python() {
        assert_eq!(python_repr(b"\x04\r(Q~G\xabw"), r"b'\x04\r(Q~G\xabw'");
        assert_eq!(python_repr(b"\t\n \x7f\xff"), r"b'\t\n \x7f\xff'");
        assert_eq!(python_repr(b"say \"so\""), "b'say \"so\"'");
        assert_eq!(python_repr(b"it's"), "b\"it's\"");
        assert_eq!(python_repr(b"'\"\\"), r#"b'\'"\\'"#);
    }
}
