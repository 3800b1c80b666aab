//! Iterators over all transactions, and over the records of one.

use std::sync::Arc;

use rzeo_core::Tid;
use rzeo_core::client::query::{IteratorNext, IteratorStart, Query, RecordsNext, RecordsStart};
use rzeo_core::client::{CallError, IteratorId, TransactionInfo};
use rzeo_core::storage::Record;

use crate::handle::Handle;

/// An iterator over transactions, oldest first; made by [`Client::transactions`](crate::Client).
///
/// The server keeps it for one connection. If that is lost, so is the iterator, and [`Self::next`] fails;
/// another one can begin after the last tid that came.
#[derive(Debug)]
pub struct TransactionIterator {
    iterator: ServerIterator<IteratorStart>,
    last: Option<Tid>,
}

/// An iterator over the records of a transaction; made by [`TransactionIterator::records`].
#[derive(Debug)]
pub struct RecordIterator(ServerIterator<RecordsStart>);

/// An iterator at the server, which keeps it until its end or until the client releases it.
#[derive(Debug)]
struct ServerIterator<Start> {
    handle: Arc<Handle>,
    position: Position<Start>,
}

/// How far an iterator has come.
#[derive(Clone, Copy, Debug)]
enum Position<Start> {
    /// The query that opens it when its first item is requested.
    NotOpened(Start),
    At(IteratorId),
    Ended,
}

impl TransactionIterator {
    pub(crate) const fn new(handle: Arc<Handle>, start: Option<Tid>, stop: Option<Tid>) -> Self {
        let position = Position::NotOpened(IteratorStart { start, stop });
        Self { iterator: ServerIterator { handle, position }, last: None }
    }

    /// The next transaction, `None` at the end.
    ///
    /// A dropped future may have taken a transaction with it: the server has moved on.
    ///
    /// # Errors
    /// As for all calls; the iterator cannot be used further then.
    pub async fn next(&mut self) -> Result<Option<TransactionInfo>, CallError> {
        let transaction = self.iterator.next(IteratorNext).await?;
        self.last = transaction.as_ref().map(|transaction| transaction.tid);
        Ok(transaction)
    }

    /// The records of the transaction that came last. The first one has to be taken before the next
    /// transaction.
    #[must_use]
    pub fn records(&self) -> RecordIterator {
        let position = match (self.iterator.position, self.last) {
            (Position::At(iterator), Some(tid)) => Position::NotOpened(RecordsStart(iterator, tid)),
            _ => Position::Ended,
        };
        RecordIterator(ServerIterator { handle: self.iterator.handle.clone(), position })
    }
}

impl RecordIterator {
    /// The next record, `None` at the end.
    ///
    /// A dropped future may have taken a record with it: the server has moved on.
    ///
    /// # Errors
    /// As for all calls; the iterator cannot be used further then.
    pub async fn next(&mut self) -> Result<Option<Record>, CallError> {
        self.0.next(RecordsNext).await
    }
}

impl<Start: Query<Answer = IteratorId> + Copy> ServerIterator<Start> {
    /// The next item, by the query for it. The server forgets an iterator that has come to its end.
    async fn next<Next: Query<Answer = Option<Item>>, Item>(
        &mut self,
        next: impl FnOnce(IteratorId) -> Next,
    ) -> Result<Option<Item>, CallError> {
        let iterator = match self.position {
            Position::Ended => return Ok(None),
            Position::At(iterator) => iterator,
            Position::NotOpened(start) => self.handle.ask(start).await?,
        };
        self.position = Position::At(iterator);
        let item = self.handle.ask(next(iterator)).await?;
        if item.is_none() {
            self.position = Position::Ended;
        }
        Ok(item)
    }
}

impl<Start> Drop for ServerIterator<Start> {
    fn drop(&mut self) {
        if let Position::At(iterator) = self.position {
            self.handle.forget(iterator);
        }
    }
}
