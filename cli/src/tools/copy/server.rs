//! Servers as source and target, through the client.
//!
//! The protocol has no call that restores a blob. A blob is therefore stored as a new one in a transaction of
//! the given tid, which gives it the same revision, in Python's server as in this one. There are two
//! differences from a copy into a file: the record is written in full where the original has a back pointer,
//! and it is written twice, as for every blob that a client commits. A blob whose record has another tid than
//! its transaction cannot be copied to a server.
//!
//! The server may still be committing the last transaction of a copy that was killed. That transaction is
//! voted and holds the storage's lock. Before the copy asks for the newest tid, it votes and aborts an empty
//! transaction of its own: when that vote succeeds, the other one has ended. Nothing else may write to the
//! target during the copy, so the copy compares the newest tid after each vote.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rzeo_client::blobs::BlobOptions;
use rzeo_client::{
    Access, Address, Begin, BlobFailure, CallError, Client, ClientOptions, RecordIterator, Refused,
    Transaction, TransactionIterator, Value,
};
use rzeo_core::record::is_blob_record;
use rzeo_core::storage::Record;
use rzeo_core::{Oid, Tid};
use rzeo_tls::client::ClientTls;
use tempfile::{NamedTempFile, TempDir};
use tokio::runtime::Runtime;

use super::database::{Database, Extension, Header, Source, Target, TransactionCursor};
use super::location::shown;
use crate::tools::progress::Spinner;
use crate::tools::{ToolError, server_query};

/// Minimal, because a copy does not load records by their oids.
const CACHE_BYTES: usize = 1 << 20;
/// Maximum bytes of blobs that the client keeps after they were copied.
const BLOB_CACHE_BYTES: u64 = 64 << 20;
/// Bytes of a transaction beside its records, user name and description.
const HEAD_BYTES: u64 = 31;
/// The interface of storages with blobs.
const WITH_BLOBS: &str = "IBlobStorage";

/// How to reach a storage behind a server, and for what.
pub(super) struct ServerSettings {
    /// Name of the storage; none for the default name.
    pub(super) storage: Option<String>,
    pub(super) access: Access,
    pub(super) tls: Option<ClientTls>,
    /// The option that turns TLS on, for messages.
    pub(super) tls_option: &'static str,
    /// How long to wait until it can be used.
    pub(super) connect_timeout: Duration,
}

/// A storage behind a server.
pub(super) struct Server {
    runtime: Rc<Runtime>,
    client: Client,
    place: String,
    /// The transaction that is being copied.
    open: Option<Transaction>,
    tid: Tid,
    /// The newest transaction before it.
    last: Tid,
    /// Objects whose blobs it brings.
    with_blobs: BTreeSet<Oid>,
    is_closed: Cell<bool>,
    /// Blobs that are being copied. The last field, because the client uses it until it is dropped.
    _blobs: TempDir,
}

impl Server {
    pub(super) fn connect(
        runtime: &Rc<Runtime>,
        address: &Address,
        settings: ServerSettings,
    ) -> Result<Self, ToolError> {
        let place = shown(address);
        let usual = ClientOptions::default();
        let server = server_query::Server {
            address: address.clone(),
            tls: settings.tls,
            tls_option: settings.tls_option,
        };
        let blobs = TempDir::with_prefix("rzeo-copy-")?;
        let options = ClientOptions {
            storage: settings.storage.unwrap_or_else(|| usual.storage.clone()),
            access: settings.access,
            label: Some("rzeo copy".to_owned()),
            cache_bytes: CACHE_BYTES,
            blobs: Some(BlobOptions {
                cache_size: Some(BLOB_CACHE_BYTES),
                ..BlobOptions::cache(blobs.path())
            }),
            ..usual
        };
        let spinner = Spinner::new(format!("waiting for {place}"));
        let client = runtime.block_on(server.connect(options, settings.connect_timeout, |error| {
            spinner.set(format!("waiting for {place}: {error}"));
        }));
        drop(spinner);
        let client =
            client.map_err(|error| ToolError::Refused(format!("cannot use {place}: {error}")))?;
        Ok(Self {
            runtime: runtime.clone(),
            client,
            place,
            open: None,
            tid: Tid::ZERO,
            last: Tid::ZERO,
            with_blobs: BTreeSet::new(),
            is_closed: Cell::new(false),
            _blobs: blobs,
        })
    }

    /// Adds the name of the server.
    fn failed(&self, error: CallError) -> ToolError {
        ToolError::Server { place: self.place.clone(), error }
    }

    fn open(&mut self) -> &mut Transaction {
        self.open.as_mut().expect("a transaction is begun before anything is added to it")
    }

    /// Waits until no connection has an unfinished vote. A record that is restored needs the
    /// whole storage.
    async fn settle(&self) -> Result<(), CallError> {
        let mut nothing = self.client.begin(Begin::default()).await?;
        nothing.restore(Oid::ROOT, Tid::ZERO, None, None).await?;
        nothing.vote().await?.abort().await;
        self.client.ping().await
    }

    /// The serial that a store must be based on to replace the current revision, which may be a deletion.
    fn current(&self, oid: Oid) -> Result<Tid, ToolError> {
        match self.runtime.block_on(self.client.history(oid, 1)) {
            Ok(entries) => match entries.first().and_then(|entry| entry.item("tid")) {
                Some(Value::Bytes(tid)) => Ok(Tid::from_slice(tid).unwrap_or_default()),
                _ => Ok(Tid::ZERO),
            },
            Err(CallError::Refused(Refused::NoSuchObject { .. })) => Ok(Tid::ZERO),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// A file with the bytes of a blob, in the directory from which the client can rename it.
    fn blob_file(&self, blob: &mut dyn Read) -> Result<NamedTempFile, ToolError> {
        let directory = self.client.blob_directory().expect("the client was opened with one");
        let mut file = NamedTempFile::new_in(directory.temporary())?;
        io::copy(blob, &mut file).map_err(ToolError::Blob)?;
        Ok(file)
    }

    fn store_blob(&mut self, record: &Record, file: &Path) -> Result<(), ToolError> {
        let (oid, data) = (record.oid, record.data.clone().unwrap_or_default());
        let current = self.current(oid)?;
        let runtime = self.runtime.clone();
        let stored = runtime.block_on(self.open().store_blob(oid, current, data, file));
        stored.map_err(|error| self.blob_failed(error))?;
        self.with_blobs.insert(oid);
        Ok(())
    }

    fn blob_failed(&self, error: BlobFailure) -> ToolError {
        match error {
            BlobFailure::Call(error) => self.failed(error),
            other => ToolError::Blob(io::Error::other(other)),
        }
    }
}

/// The open transaction needs no abort: the server aborts it when the connection is closed.
impl Drop for Server {
    fn drop(&mut self) {
        self.open = None;
        if !self.is_closed.replace(true) {
            self.runtime.block_on(self.client.close());
        }
    }
}

impl Database for Server {
    fn name(&self) -> String {
        self.place.clone()
    }

    fn transactions(
        &self,
        start: Option<Tid>,
    ) -> Result<Box<dyn TransactionCursor + '_>, ToolError> {
        let transactions = self.client.transactions(start, None);
        Ok(Box::new(ServerCursor { server: self, transactions, records: None }))
    }

    fn has_blobs(&self) -> bool {
        let info = self.client.known_info();
        info.is_some_and(|info| info.interfaces.iter().any(|(_, name)| name == WITH_BLOBS))
    }

    fn size(&self) -> u64 {
        self.client.known_info().map_or(0, |info| info.size)
    }
}

impl Source for Server {
    fn blob(&self, oid: Oid, tid: Tid) -> Result<Option<Box<dyn Read + '_>>, ToolError> {
        match self.runtime.block_on(self.client.open_blob(oid, tid)) {
            Ok(file) => Ok(Some(Box::new(file) as Box<dyn Read>)),
            Err(BlobFailure::Call(CallError::Refused(Refused::NoSuchObject { .. }))) => Ok(None),
            Err(error) => Err(self.blob_failed(error)),
        }
    }
}

impl Target for Server {
    fn last_tid(&mut self) -> Result<Tid, ToolError> {
        self.runtime.block_on(self.settle()).map_err(|error| self.failed(error))?;
        self.last = self.client.last_tid();
        Ok(self.last)
    }

    fn wants_ascending_tids(&self) -> bool {
        true
    }

    fn begin(&mut self, header: &Header) -> Result<(), ToolError> {
        let Header { tid, status, user, description, extension, .. } = header.clone();
        let extension = match extension {
            Extension::Dict(dict) => dict,
            Extension::Pickled(bytes) if bytes.is_empty() => Value::Dict(Vec::new()),
            // Servers store bytes unchanged.
            Extension::Pickled(bytes) => Value::Bytes(bytes),
        };
        let copied = Some((tid, status));
        let begin = Begin { user, description, extension, copied, handle: None };
        // The client begins a transaction only when the one before has ended.
        self.open = None;
        let begun = self.runtime.block_on(self.client.begin(begin));
        self.open = Some(begun.map_err(|error| self.failed(error))?);
        self.tid = tid;
        self.with_blobs.clear();
        Ok(())
    }

    fn restore(&mut self, record: Record) -> Result<(), ToolError> {
        let Record { oid, tid, data, data_txn } = record;
        if self.with_blobs.contains(&oid) && data.as_ref().is_some_and(is_blob_record) {
            return Ok(());
        }
        let runtime = self.runtime.clone();
        let restored = runtime.block_on(self.open().restore(oid, tid, data, data_txn));
        restored.map_err(|error| self.failed(error))
    }

    fn restore_blob(
        &mut self,
        record: &Record,
        blob: &mut dyn Read,
    ) -> Result<Result<(), String>, ToolError> {
        if record.tid != self.tid {
            let tid = self.tid;
            let text = format!(
                "its transaction is {tid}, and a server stores a blob under the tid of its transaction"
            );
            return Ok(Err(text));
        }
        let file = self.blob_file(blob)?.into_temp_path();
        self.store_blob(record, &file)?;
        // The client has renamed it.
        let _ = file.keep();
        Ok(Ok(()))
    }

    fn commit(&mut self) -> Result<(), ToolError> {
        let open = self.open.take().expect("a transaction is begun before it is committed");
        let runtime = self.runtime.clone();
        let voted = runtime.block_on(open.vote()).map_err(|error| self.failed(error))?;
        let found = self.client.last_tid();
        if found != self.last {
            runtime.block_on(voted.abort());
            let (place, last) = (&self.place, self.last);
            let text = format!(
                "{place}: another client writes to it: its newest transaction is {found}, not {last}"
            );
            return Err(ToolError::Refused(text));
        }
        self.last = runtime.block_on(voted.finish()).map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ToolError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), ToolError> {
        Ok(())
    }
}

struct ServerCursor<'a> {
    server: &'a Server,
    transactions: TransactionIterator,
    records: Option<RecordIterator>,
}

impl TransactionCursor for ServerCursor<'_> {
    fn next_transaction(&mut self) -> Result<Option<Header>, ToolError> {
        self.records = None;
        let next = self.server.runtime.block_on(self.transactions.next());
        let Some(found) = next.map_err(|error| self.server.failed(error))? else {
            return Ok(None);
        };
        self.records = Some(self.transactions.records());
        let text_bytes = found.user.len() + found.description.len();
        Ok(Some(Header {
            tid: found.tid,
            status: found.status,
            user: found.user,
            description: found.description,
            extension: Extension::Dict(found.extension),
            bytes: HEAD_BYTES + text_bytes as u64,
        }))
    }

    fn next_record(&mut self) -> Result<Option<Record>, ToolError> {
        let Some(records) = &mut self.records else { return Ok(None) };
        let next = self.server.runtime.block_on(records.next());
        next.map_err(|error| self.server.failed(error))
    }
}

/// A runtime for the connections of both sides.
pub(super) fn runtime() -> Result<Rc<Runtime>, ToolError> {
    Ok(Rc::new(server_query::runtime()?))
}
