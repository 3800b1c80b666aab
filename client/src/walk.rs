//! Walks over all that was committed.

use rzeo_core::client::{Answer, CallError, IteratorId, Request, WalkedTransaction};
use rzeo_core::ids::Tid;
use rzeo_core::storage::Record;

use crate::client::Client;

/// A walk over transactions, oldest first; made by [`Client::transactions`].
///
/// The server keeps it for one connection. If that is lost, so is the walk, and [`Self::next`] says so;
/// another one can begin after the last tid that came.
#[derive(Debug)]
pub struct Transactions {
    walk: Walk,
    start: Option<Tid>,
    stop: Option<Tid>,
    last: Option<Tid>,
}

/// A walk over the records of a transaction; made by [`Transactions::records`].
#[derive(Debug)]
pub struct Records {
    walk: Walk,
    /// Of which transaction of which walk; `None` if there is none.
    of: Option<(IteratorId, Tid)>,
}

/// Something that the server keeps, until its end or until it is not wanted any more.
#[derive(Debug)]
struct Walk {
    client: Client,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    NotBegun,
    At(IteratorId),
    Ended,
}

impl Transactions {
    pub(crate) const fn new(client: Client, start: Option<Tid>, stop: Option<Tid>) -> Self {
        Self { walk: Walk { client, state: State::NotBegun }, start, stop, last: None }
    }

    /// The next transaction, `None` at the end.
    ///
    /// A dropped future may have taken a transaction with it: the server has gone on.
    ///
    /// # Errors
    /// As for all calls; the walk is of no use then.
    pub async fn next(&mut self) -> Result<Option<WalkedTransaction>, CallError> {
        let start = Request::IteratorStart { start: self.start, stop: self.stop };
        let Some(iterator) = self.walk.iterator(start).await? else { return Ok(None) };
        let answer = self.walk.client.ask(Request::IteratorNext(iterator)).await?;
        let Answer::Transaction(transaction) = answer else {
            unreachable!("an iterator's next is a transaction")
        };
        self.last = transaction.as_ref().map(|transaction| transaction.tid);
        self.walk.end_without(transaction.as_ref());
        Ok(transaction)
    }

    /// The records of the transaction that came last; to be begun before the next one is asked for.
    #[must_use]
    pub fn records(&self) -> Records {
        let of = match (self.walk.state, self.last) {
            (State::At(iterator), Some(tid)) => Some((iterator, tid)),
            _ => None,
        };
        Records { walk: Walk { client: self.walk.client.clone(), state: State::NotBegun }, of }
    }
}

impl Records {
    /// The next record, `None` at the end.
    ///
    /// A dropped future may have taken a record with it: the server has gone on.
    ///
    /// # Errors
    /// As for all calls; the walk is of no use then.
    pub async fn next(&mut self) -> Result<Option<Record>, CallError> {
        let Some((transactions, tid)) = self.of else { return Ok(None) };
        let start = Request::RecordsStart(transactions, tid);
        let Some(iterator) = self.walk.iterator(start).await? else { return Ok(None) };
        let answer = self.walk.client.ask(Request::RecordsNext(iterator)).await?;
        let Answer::Record(record) = answer else { unreachable!("its next is a record") };
        self.walk.end_without(record.as_ref());
        Ok(record)
    }
}

impl Walk {
    /// What the server calls it, begun now if it is not yet; `None` after its end.
    async fn iterator(&mut self, start: Request) -> Result<Option<IteratorId>, CallError> {
        match self.state {
            State::Ended => return Ok(None),
            State::At(iterator) => return Ok(Some(iterator)),
            State::NotBegun => {}
        }
        let Answer::Iterator(iterator) = self.client.ask(start).await? else {
            unreachable!("a walk is an iterator")
        };
        self.state = State::At(iterator);
        Ok(Some(iterator))
    }

    /// The server forgets what has come to its end.
    const fn end_without<T>(&mut self, next: Option<&T>) {
        if next.is_none() {
            self.state = State::Ended;
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if let State::At(iterator) = self.state {
            self.client.forget(iterator);
        }
    }
}
