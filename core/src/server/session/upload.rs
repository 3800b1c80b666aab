//! Blobs on their way in.
//!
//! ```text
//!   storeBlobStart    storeBlobChunk…   storeBlobEnd            the last write is done
//!   ──────────────► Opening ──► Open ──────────────► Ending ──────────────────────────► operation
//!                      │  a failing disk, a limit
//!                      └───────────► Failed ──storeBlobEnd──► the transaction is doomed
//! ```
//!
//! Chunks say neither whose they are nor of what, so a connection has one upload at a time. They are
//! written to a file of the storage while they arrive ([`Stream`]): of a blob, however big, little is in
//! memory. What comes while the file is being made or finished is held back, with the calls of the
//! transaction, so a vote never overtakes a write.
//!
//! An upload needs no transaction until it ends. In Python's server one that was aborted stays open,
//! and the next `storeBlobStart` then ends the connection (`spec: zeo-protocol-gotchas 39`); here it is
//! forgotten with the transaction.
//!
//! `storeBlobShared` names a file that the client has put beside the blobs itself.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;

use bytes::Bytes;

use super::desk::{Desk, Job};
use super::line::{Caller, Line};
use super::operations::too_much;
use super::stream::Stream;
use crate::ids::{Oid, Tid};
use crate::server::jobs::{StorageCall, StorageReply};
use crate::server::log_line::LogLevel;
use crate::server::vote::Operation;
use crate::storage::{HistoryShape, Scratch, StorageError};
use crate::value::Value;
use crate::wire::call::{TxnCall, TxnHandle};
use crate::wire::refusal::Refusal;
use crate::wire::reply::Reply;

/// The upload of a connection.
#[derive(Debug)]
pub(super) struct Upload {
    /// Names it to the storage calls that are under way.
    number: u64,
    state: State,
    /// What has arrived of it.
    bytes: u64,
}

#[derive(Debug)]
enum State {
    /// The storage makes the file.
    Opening,
    /// Chunks are taken.
    Open(Stream),
    /// All chunks are here, the last ones are being written.
    Ending(Stream, Ending),
    /// The storage looks for the file that the client has made.
    Sharing(Ending),
    /// What still comes is dropped.
    Failed(Refusal),
}

/// The record that a blob comes with, and who waits for it.
#[derive(Debug)]
struct Ending {
    caller: Caller,
    oid: Oid,
    serial: Tid,
    data: Bytes,
}

impl Ending {
    fn operation(&self, blob: Arc<dyn Scratch>) -> Operation {
        let data = self.data.clone().into();
        Operation::StoreBlob { oid: self.oid, serial: self.serial, data, blob }
    }
}

impl Upload {
    /// Whether calls of the transaction have to wait.
    pub(super) const fn is_under_way(&self) -> bool {
        match self.state {
            State::Opening | State::Ending(..) | State::Sharing(_) => true,
            State::Open(_) | State::Failed(_) => false,
        }
    }

    /// Whether no more chunks should be asked for until some are written.
    pub(super) fn is_full(&self) -> bool {
        match &self.state {
            State::Open(stream) | State::Ending(stream, _) => stream.is_full(),
            State::Opening | State::Sharing(_) | State::Failed(_) => false,
        }
    }

    /// Its file, if it has one.
    pub(super) fn file(&self) -> Option<&Arc<dyn Scratch>> {
        match &self.state {
            State::Open(stream) | State::Ending(stream, _) => Some(stream.file()),
            State::Opening | State::Sharing(_) | State::Failed(_) => None,
        }
    }

    fn next_write(&mut self) -> Option<StorageCall> {
        match &mut self.state {
            State::Open(stream) | State::Ending(stream, _) => stream.next_write(),
            State::Opening | State::Sharing(_) | State::Failed(_) => None,
        }
    }
}

impl Desk {
    /// How a storage without blobs refuses, in Python's words.
    pub(super) fn without_blobs(&self, attribute: &str) -> Option<Refusal> {
        let description = &self.settings.storages[self.storage.0].description;
        if description.interfaces.contains(&("ZODB.interfaces", "IBlobStorage")) {
            return None;
        }
        Some(match description.history {
            HistoryShape::FileStorage => {
                Refusal::text("builtins.TypeError", "Blobs are not supported")
            }
            HistoryShape::MappingStorage => {
                let text = format!("'MappingStorage' object has no attribute '{attribute}'");
                Refusal::text("builtins.AttributeError", text)
            }
        })
    }

    pub(super) fn upload_call(&mut self, line: &mut Line, caller: Caller, call: TxnCall) {
        let answer = match call {
            TxnCall::StoreBlobStart => self.start_upload(line),
            TxnCall::StoreBlobChunk { chunk } => self.take_chunk(line, &chunk),
            TxnCall::StoreBlobEnd { oid, serial, data, txn } => {
                return self.end_upload(line, Ending { caller, oid, serial, data }, &txn);
            }
            TxnCall::StoreBlobShared { oid, serial, data, filename, txn } => {
                let ending = Ending { caller, oid, serial, data };
                return self.share_upload(line, ending, filename, &txn);
            }
            call => unreachable!("{call:?} belongs to no upload"),
        };
        line.answer(caller, answer.map(|()| Reply::Nil));
    }

    fn start_upload(&mut self, line: &mut Line) -> Result<(), Refusal> {
        if let Some(refusal) = self.without_blobs("temporaryDirectory") {
            return Err(refusal);
        }
        if self.transactions.upload.is_some() {
            return Err(out_of_turn("storeBlobStart: another upload is open on this connection"));
        }
        self.begin_upload(line, State::Opening, StorageCall::Upload);
        Ok(())
    }

    fn begin_upload(&mut self, line: &mut Line, state: State, call: StorageCall) {
        let number = self.number();
        self.transactions.upload = Some(Upload { number, state, bytes: 0 });
        self.perform(line, Job::Upload(number), call);
    }

    fn take_chunk(&mut self, line: &mut Line, chunk: &Bytes) -> Result<(), Refusal> {
        let limit = self.settings.limits.blob_bytes_max;
        let Some(upload) = &mut self.transactions.upload else {
            return Err(out_of_turn("storeBlobChunk: no upload is open on this connection"));
        };
        upload.bytes = upload.bytes.saturating_add(chunk.len() as u64);
        if let State::Open(stream) = &mut upload.state {
            if upload.bytes > limit {
                let text = format!(
                    "a blob has more than {limit} bytes, which is the limit (max-blob-size)"
                );
                upload.state = State::Failed(too_much(text));
            } else {
                stream.push(chunk);
            }
        }
        self.write_upload(line);
        Ok(())
    }

    fn write_upload(&mut self, line: &mut Line) {
        let Some(upload) = &mut self.transactions.upload else { return };
        let number = upload.number;
        if let Some(call) = upload.next_write() {
            self.perform(line, Job::Upload(number), call);
        }
    }

    /// The upload becomes an operation when all of it is written.
    fn end_upload(&mut self, line: &mut Line, ending: Ending, txn: &TxnHandle) {
        if let Err(refusal) = self.transactions.named(txn) {
            return line.answer(ending.caller, Err(refusal));
        }
        let Some(upload) = self.transactions.upload.take() else {
            let refusal = out_of_turn("storeBlobEnd: no upload is open on this connection");
            return line.answer(ending.caller, Err(refusal));
        };
        match upload.state {
            State::Open(stream) => {
                let state = State::Ending(stream, ending);
                self.transactions.upload = Some(Upload { state, ..upload });
                self.finish_upload(line);
            }
            State::Failed(refusal) => {
                self.doom(line, refusal);
                line.answer(ending.caller, Ok(Reply::Nil));
            }
            State::Opening | State::Ending(..) | State::Sharing(_) => {
                unreachable!("calls are held back meanwhile")
            }
        }
    }

    fn finish_upload(&mut self, line: &mut Line) {
        let upload = self.transactions.upload.take_if(
            |upload| matches!(&upload.state, State::Ending(stream, _) if stream.is_written()),
        );
        if let Some(Upload { state: State::Ending(stream, ending), .. }) = upload {
            self.add(line, ending.operation(stream.file().clone()));
            line.answer(ending.caller, Ok(Reply::Nil));
        }
    }

    fn share_upload(&mut self, line: &mut Line, ending: Ending, name: String, txn: &TxnHandle) {
        let refusal = match self.transactions.named(txn).map(|_| ()) {
            Err(refusal) => Some(refusal),
            Ok(()) if self.transactions.upload.is_some() => {
                Some(out_of_turn("storeBlobShared: an upload is open on this connection"))
            }
            Ok(()) if !is_upload_name(&name) => {
                line.log(LogLevel::Critical, &format!("storeBlobShared: bad file name {name:?}"));
                Some(Refusal::Other("builtins.ValueError", vec![Value::Str(name.clone())]))
            }
            Ok(()) => self.without_blobs("fshelper"),
        };
        if let Some(refusal) = refusal {
            return line.answer(ending.caller, Err(refusal));
        }
        let oid = ending.oid;
        let call = StorageCall::SharedUpload { oid, name };
        self.begin_upload(line, State::Sharing(ending), call);
    }

    /// The storage has answered about an upload, which may be forgotten.
    pub(super) fn uploaded(&mut self, line: &mut Line, number: u64, reply: StorageReply) {
        let Some(upload) = self.transactions.upload.as_mut().filter(|up| up.number == number)
        else {
            return;
        };
        let result = match reply {
            StorageReply::Scratch(file) => file.map(|file| upload.opened(file)),
            StorageReply::Written(written) => written.map(|()| {
                if let State::Open(stream) | State::Ending(stream, _) = &mut upload.state {
                    stream.wrote();
                }
                None
            }),
            reply => unreachable!("no answer about an upload: {reply:?}"),
        };
        match result {
            Ok(None) => {
                self.write_upload(line);
                self.finish_upload(line);
            }
            Ok(Some((ending, file))) => {
                self.transactions.upload = None;
                self.add(line, ending.operation(file));
                line.answer(ending.caller, Ok(Reply::Nil));
            }
            Err(error) => self.upload_failed(line, error),
        }
        self.resume(line);
    }

    /// Whoever waits for the end hears of it at the vote.
    fn upload_failed(&mut self, line: &mut Line, error: StorageError) {
        line.log(LogLevel::Error, &format!("upload of a blob failed: {error}"));
        let Some(upload) = self.transactions.upload.take() else { return };
        match upload.state {
            State::Ending(_, ending) | State::Sharing(ending) => {
                self.doom(line, error.into());
                line.answer(ending.caller, Ok(Reply::Nil));
            }
            State::Opening | State::Open(_) | State::Failed(_) => {
                let state = State::Failed(error.into());
                self.transactions.upload = Some(Upload { state, ..upload });
            }
        }
    }
}

impl Upload {
    /// The file is there. A shared one is complete.
    fn opened(&mut self, file: Option<Arc<dyn Scratch>>) -> Option<(Ending, Arc<dyn Scratch>)> {
        let file = file.expect("a storage with blobs has files for them");
        let open = State::Open(Stream::new(file.clone()));
        match core::mem::replace(&mut self.state, open) {
            State::Sharing(ending) => Some((ending, file)),
            State::Opening => None,
            State::Open(_) | State::Ending(..) | State::Failed(_) => {
                unreachable!("a file is asked for once")
            }
        }
    }
}

/// A bare file name, as the client makes them: `.tmp`, and one more character if it likes
/// (`spec: zeo-protocol 15`). Python's client may put the `repr` of an oid into it, backslashes and all.
fn is_upload_name(name: &str) -> bool {
    let all_but_one = name.char_indices().last().map_or("", |(last, _)| &name[..last]);
    let is_bare = !name.contains(['/', '\0']);
    is_bare && (name.ends_with(".tmp") || all_but_one.ends_with(".tmp"))
}

fn out_of_turn(text: &str) -> Refusal {
    Refusal::text("builtins.AssertionError", text)
}

#[cfg(test)]
mod tests {
    use super::is_upload_name;

    #[test]
    fn names_of_shared_uploads() {
        for name in ["x.tmp", "x.tmp-", ".tmp", ".tmpé", "0x00uxa5gy4v.tmp-", "'\\x00'x.tmp"] {
            assert!(is_upload_name(name), "{name}");
        }
        for name in ["", "x", "x.tmp--", "../x.tmp", "a/b.tmp", "/x.tmp", "a\0.tmp"] {
            assert!(!is_upload_name(name), "{name:?}");
        }
    }
}
