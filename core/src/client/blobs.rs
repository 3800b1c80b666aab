//! Blobs on their way: never more of one in memory than the socket takes.
//!
//! Up: chunks carry no name, so a transaction's blobs go one after the other. The next piece is asked of
//! the adapter when the socket has taken most of what it got.
//!
//! Down: pieces are handed on as they come; whoever writes them does so before the next bytes are read
//! from the socket.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answer::Reading;
use super::connection::Pending;
use super::{
    Answer, BlobPart, CallError, CallId, Client, ConnId, LostBecause, Output, Refused, Request,
    TxnId,
};
use crate::ids::{Oid, Tid};
use crate::value::Value;

/// Bytes of a blob in a message, as Python's client has it.
const CHUNK_BYTES: usize = 59_000;

/// A blob is read on while fewer bytes than this wait for the socket.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// The blobs that come down on one connection.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    by_revision: BTreeMap<(Oid, Tid), Download>,
}

#[derive(Debug, Default)]
struct Download {
    callers: Vec<CallId>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Asked,
    Coming,
    Whole,
}

/// The blobs of one transaction that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    queue: VecDeque<Upload>,
    /// Those that are sent, each with what is said at its end; its place is its number.
    sent: Vec<Vec<Value>>,
    /// How many there have been, sent or not.
    count: usize,
    /// Whether the next piece was asked for.
    is_reading: bool,
    /// Why one of them could not be read.
    pub(super) failed: Option<String>,
}

#[derive(Debug)]
struct Upload {
    number: usize,
    at: u64,
    /// Said at its end.
    end: Vec<Value>,
}

impl Uploads {
    pub(super) fn push(&mut self, end: Vec<Value>) -> usize {
        let number = self.count;
        self.count += 1;
        self.queue.push_back(Upload { number, at: 0, end });
        number
    }

    /// Everything is to be sent once more, because the transaction is voted again and Python's server
    /// forgets blobs with the first vote (`spec: zeo-protocol 10`).
    pub(super) fn send_again(&mut self) {
        let sent = core::mem::take(&mut self.sent).into_iter().enumerate();
        self.queue = sent.map(|(number, end)| Upload { number, at: 0, end }).collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What to say to end a blob whose rest will not come: a server that has heard of its beginning takes
    /// no other one (`spec: zeo-protocol 9.3`).
    pub(super) fn give_up(&mut self) -> Option<Vec<Value>> {
        let began = self.is_reading || self.queue.front().is_some_and(|upload| upload.at > 0);
        let first = core::mem::take(&mut self.queue).pop_front();
        self.is_reading = false;
        first.filter(|_| began).map(|upload| upload.end)
    }
}

impl Client {
    /// Asks for the next piece of the blob that is being sent, if there is room for it.
    pub(super) fn send_blobs(&mut self) {
        let Some(connection) = self.chosen.and_then(|id| self.connections.get_mut(&id)) else {
            return;
        };
        let Some(txn) = self.turns.queue.front_mut() else { return };
        if txn.uploads.is_reading || connection.backlog() > UNSENT_BYTES_MAX {
            return;
        }
        let Some(upload) = txn.uploads.queue.front() else { return };
        if upload.at == 0 {
            connection.tell("storeBlobStart", vec![]).expect("there is nothing to write");
        }
        txn.uploads.is_reading = true;
        let (txn, blob, at) = (txn.id, upload.number, upload.at);
        self.outputs.push_back(Output::ReadBlob { txn, blob, at, len: CHUNK_BYTES });
    }

    /// The next piece of a blob is there. Fewer bytes than were asked for are the last.
    pub(super) fn blob_bytes(&mut self, txn: TxnId, bytes: Result<Bytes, String>) {
        let Some(open) = self.turns.queue.front_mut() else { return };
        // Of a transaction that is over.
        if open.id != txn || !open.uploads.is_reading {
            return;
        }
        let Some(connection) = self.chosen.and_then(|id| self.connections.get_mut(&id)) else {
            return;
        };
        let uploads = &mut open.uploads;
        uploads.is_reading = false;
        let said = "both encodings carry byte strings and whatever began the transaction";
        match bytes {
            Ok(bytes) => {
                let upload = uploads.queue.front_mut().expect("one of them is being read");
                let len = bytes.len();
                upload.at += len as u64;
                if len > 0 {
                    let chunk = vec![Value::Bytes(bytes)];
                    connection.tell("storeBlobChunk", chunk).expect(said);
                }
                if len < CHUNK_BYTES
                    && let Some(upload) = uploads.queue.pop_front()
                {
                    uploads.sent.push(upload.end.clone());
                    connection.tell("storeBlobEnd", upload.end).expect(said);
                }
            }
            Err(problem) => {
                uploads.is_reading = true;
                if let Some(end) = uploads.give_up() {
                    connection.tell("storeBlobEnd", end).expect(said);
                }
                uploads.failed.get_or_insert(problem);
            }
        }
        self.send_blobs();
        self.vote_when_sent();
    }

    /// Asks for a blob, or joins those who have.
    pub(super) fn send_download(&mut self, oid: Oid, serial: Tid, call: CallId) {
        let Some(connection) = self.ready_connection() else { return };
        let downloads = &mut connection.downloads.by_revision;
        let is_new = !downloads.contains_key(&(oid, serial));
        downloads.entry((oid, serial)).or_default().callers.push(call);
        if is_new {
            let request = Request::LoadBlob(oid, serial);
            connection.ask(Pending::Download(oid, serial), request.method(), request.args());
        }
    }

    /// `receiveBlobStart`, `receiveBlobChunk`, `receiveBlobStop`. What nobody asked for is dropped.
    pub(super) fn blob_part(
        &mut self,
        id: ConnId,
        method: &'static str,
        args: Value,
    ) -> Result<(), LostBecause> {
        let odd = |problem| LostBecause::Odd { method, problem };
        let mut args = args.into_items().map_err(odd)?.into_iter();
        let mut next = || args.next().unwrap_or(Value::None);
        let oid = next().into_oid().map_err(odd)?;
        let serial = next().into_tid().map_err(odd)?;
        let (part, before, after) = match method {
            "receiveBlobStart" => (BlobPart::Start, State::Asked, State::Coming),
            "receiveBlobChunk" => {
                let chunk = next().into_bytes().map_err(odd)?;
                (BlobPart::Chunk(chunk), State::Coming, State::Coming)
            }
            _ => (BlobPart::End, State::Coming, State::Whole),
        };
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if let Some(download) = connection.downloads.by_revision.get_mut(&(oid, serial)) {
            if download.state != before {
                return Err(odd("a part of a blob that is out of turn".into()));
            }
            download.state = after;
            self.outputs.push_back(Output::WriteBlob(oid, serial, part));
        }
        Ok(())
    }

    /// The server has sent the blob, or says that there is none.
    pub(super) fn downloaded(&mut self, oid: Oid, serial: Tid, answer: Result<(), Refused>) {
        let Some(connection) = self.chosen_connection() else { return };
        let Some(download) = connection.downloads.by_revision.remove(&(oid, serial)) else {
            return;
        };
        let result = match answer {
            Ok(()) if download.state == State::Whole => Ok(Answer::Done),
            Ok(()) => {
                let problem = "the blob did not come before it".into();
                Err(CallError::Odd { method: "sendBlob", problem })
            }
            Err(refused) => Err(refused.into()),
        };
        if result.is_err() {
            self.drop_part(oid, serial, download.state);
        }
        for call in download.callers {
            self.answer(call, result.clone());
        }
    }

    /// The rest of the blobs that were coming will not.
    pub(super) fn downloads_lost(&mut self, downloads: &mut Downloads, because: &LostBecause) {
        for ((oid, serial), download) in core::mem::take(&mut downloads.by_revision) {
            self.drop_part(oid, serial, download.state);
            for call in download.callers {
                self.answer(call, Err(because.into()));
            }
        }
    }

    fn drop_part(&mut self, oid: Oid, serial: Tid, state: State) {
        if state != State::Asked {
            self.outputs.push_back(Output::WriteBlob(oid, serial, BlobPart::Lost));
        }
    }
}
