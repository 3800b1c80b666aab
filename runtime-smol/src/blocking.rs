//! The client for programs without an executor: the same calls, and each of them blocks.
//!
//! A call runs the future of the same name on the calling thread, which sleeps until the future is ready;
//! a load from the cache does not sleep. A thread of the client carries the bytes, see
//! [`crate::open_client`].
//!
//! ```no_run
//! use rzeo_smol::rzeo_client::{Begin, Oid};
//! use rzeo_smol::{ClientOptions, blocking};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = blocking::connect(ClientOptions::new(["localhost:8100".parse()?]))?;
//! let (root, serial) = client.load(Oid::ROOT)?;
//! let mut transaction = client.begin(Begin::default())?;
//! transaction.store(Oid::ROOT, serial, root)?;
//! println!("committed as {}", transaction.vote()?.finish()?);
//! # Ok(())
//! # }
//! ```

use std::convert::identity;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rzeo_client::blobs::BlobDir;
use rzeo_client::{
    Address, Begin, BlobFailure, CallError, ClientEvent, ClientOptions, ConnectError,
    CurrentRecord, Oid, Record, Revision, ServerInfo, Statistics, Tid, TransactionInfo, UndoEntry,
    UnixTime, Value,
};
use smol::future::block_on;

/// Makes a client, and waits until a server is connected and the cache verified.
///
/// # Errors
/// As [`crate::connect`].
pub fn connect(options: ClientOptions) -> Result<Client, ConnectError> {
    let client = open(options)?;
    client.wait_connected()?;
    Ok(client)
}

/// Makes a client without waiting for a server; its first calls wait instead.
///
/// # Errors
/// As [`crate::open_client`].
pub fn open(options: ClientOptions) -> Result<Client, ConnectError> {
    crate::open_client(options).map(Client)
}

/// Methods that forward to the method of the same name.
macro_rules! same {
    ($of:literal, $through:path:
        $(fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
        $(
            #[doc = concat!(
                "See [`", $of, "::", stringify!($name), "`](rzeo_client::", $of, "::",
                stringify!($name), ")."
            )]
            pub fn $name(&self $(, $argument: $type)*) -> $result {
                $through(self.0.$name($($argument),*))
            }
        )*
    };
    ($of:literal, $through:path:
        $(fn $name:ident(&mut self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
        $(
            #[doc = concat!(
                "See [`", $of, "::", stringify!($name), "`](rzeo_client::", $of, "::",
                stringify!($name), ")."
            )]
            pub fn $name(&mut self $(, $argument: $type)*) -> $result {
                $through(self.0.$name($($argument),*))
            }
        )*
    };
}

/// A [`rzeo_client::Client`] whose calls block.
#[derive(Clone, Debug)]
pub struct Client(rzeo_client::Client);

/// A [`rzeo_client::Transaction`] whose calls block.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction(rzeo_client::Transaction);

/// A [`rzeo_client::Voted`] whose calls block.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Voted(rzeo_client::Voted);

/// A [`rzeo_client::TransactionIterator`] whose calls block.
#[derive(Debug)]
pub struct TransactionIterator(rzeo_client::TransactionIterator);

/// A [`rzeo_client::RecordIterator`] whose calls block.
#[derive(Debug)]
pub struct RecordIterator(rzeo_client::RecordIterator);

/// A [`rzeo_client::Subscription`] as an iterator that blocks.
#[derive(Debug)]
pub struct Subscription(rzeo_client::Subscription);

/// Calls that may wait for the server or for a file.
impl Client {
    same! { "Client", block_on:
        fn wait_connected(&self) -> Result<(), CallError>;
        fn close(&self) -> ();
        fn load(&self, oid: Oid) -> Result<(Bytes, Tid), CallError>;
        fn load_before(&self, oid: Oid, before: Tid) -> Result<Option<Revision>, CallError>;
        fn ping(&self) -> Result<(), CallError>;
        fn sync(&self) -> Result<(), CallError>;
        fn current_serial(&self, oid: Oid) -> Result<Tid, CallError>;
        fn load_serial(&self, oid: Oid, serial: Tid) -> Result<Bytes, CallError>;
        fn history(&self, oid: Oid, size: usize) -> Result<Vec<Value>, CallError>;
        fn next_record(&self, from: Option<Oid>) -> Result<CurrentRecord, CallError>;
        fn new_oid(&self) -> Result<Oid, CallError>;
        fn undo_log(&self, first: i64, last: i64) -> Result<Vec<UndoEntry>, CallError>;
        fn undo_info(&self, first: i64, last: i64, specification: Option<Vec<(Value, Value)>>)
            -> Result<Vec<UndoEntry>, CallError>;
        fn pack(&self, time: UnixTime, wait: bool) -> Result<(), CallError>;
        fn info(&self) -> Result<Arc<ServerInfo>, CallError>;
        fn server_status(&self) -> Result<Vec<(String, Value)>, CallError>;
        fn load_blob(&self, oid: Oid, serial: Tid) -> Result<PathBuf, BlobFailure>;
        fn open_blob(&self, oid: Oid, serial: Tid) -> Result<File, BlobFailure>;
    }

    /// See [`Client::begin`](rzeo_client::Client::begin).
    ///
    /// # Errors
    /// As the method of the same name.
    pub fn begin(&self, begin: Begin) -> Result<Transaction, CallError> {
        block_on(self.0.begin(begin)).map(Transaction)
    }
}

/// Calls that do not block.
impl Client {
    same! { "Client", identity:
        fn last_tid(&self) -> Tid;
        fn is_connected(&self) -> bool;
        fn is_read_only(&self) -> bool;
        fn known_info(&self) -> Option<Arc<ServerInfo>>;
        fn cache_statistics(&self) -> Statistics;
        fn blob_directory(&self) -> Option<&BlobDir>;
        fn prefetch(&self, oids: &[Oid], before: Tid) -> ();
        fn set_addresses(&self, addresses: impl IntoIterator<Item = Address>)
            -> Result<(), ConnectError>;
    }

    /// See [`Client::subscribe`](rzeo_client::Client::subscribe).
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.0.subscribe())
    }

    /// See [`Client::transactions`](rzeo_client::Client::transactions).
    #[must_use]
    pub fn transactions(&self, start: Option<Tid>, stop: Option<Tid>) -> TransactionIterator {
        TransactionIterator(self.0.transactions(start, stop))
    }
}

impl Transaction {
    same! { "Transaction", block_on:
        fn store(&mut self, oid: Oid, serial: Tid, data: Bytes) -> Result<(), CallError>;
        fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), CallError>;
        fn check_current(&mut self, oid: Oid, serial: Tid) -> Result<(), CallError>;
        fn restore(&mut self, oid: Oid, serial: Tid, data: Option<Bytes>, prev_txn: Option<Tid>)
            -> Result<(), CallError>;
        fn undo(&mut self, id: Bytes) -> Result<(), CallError>;
        fn store_blob(&mut self, oid: Oid, serial: Tid, data: Bytes, path: &Path)
            -> Result<(), BlobFailure>;
    }

    /// See [`Transaction::vote`](rzeo_client::Transaction::vote).
    ///
    /// # Errors
    /// As the method of the same name.
    pub fn vote(self) -> Result<Voted, CallError> {
        block_on(self.0.vote()).map(Voted)
    }

    /// See [`Transaction::abort`](rzeo_client::Transaction::abort).
    pub fn abort(self) {
        block_on(self.0.abort());
    }
}

impl Voted {
    same! { "Voted", identity:
        fn resolved(&self) -> &[Oid];
    }

    /// See [`Voted::finish`](rzeo_client::Voted::finish).
    ///
    /// # Errors
    /// As the method of the same name.
    pub fn finish(self) -> Result<Tid, CallError> {
        block_on(self.0.finish())
    }

    /// See [`Voted::abort`](rzeo_client::Voted::abort).
    pub fn abort(self) {
        block_on(self.0.abort());
    }
}

impl TransactionIterator {
    /// See [`TransactionIterator::records`](rzeo_client::TransactionIterator::records).
    #[must_use]
    pub fn records(&self) -> RecordIterator {
        RecordIterator(self.0.records())
    }
}

impl Iterator for TransactionIterator {
    type Item = Result<TransactionInfo, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next()).transpose()
    }
}

impl Iterator for RecordIterator {
    type Item = Result<Record, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next()).transpose()
    }
}

impl Iterator for Subscription {
    type Item = ClientEvent;

    fn next(&mut self) -> Option<ClientEvent> {
        block_on(self.0.next())
    }
}
