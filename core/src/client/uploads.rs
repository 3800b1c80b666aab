//! Blobs on their way to the server: never more of one in memory than the socket takes.
//!
//! Chunks carry no name, so a transaction's blobs go one after the other. The next piece is asked of
//! the adapter when the socket has taken most of what it got.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::channel::Channel;
use super::context::Context;
use super::ids::TxnId;
use super::output::Output;
use crate::value::Value;

/// Bytes of a blob in a message, as Python's client has it.
const CHUNK_BYTES: usize = 59_000;

/// A blob is read on while fewer bytes than this wait for the socket.
const UNSENT_BYTES_MAX: usize = 1 << 20;

const CARRIED: &str = "both encodings carry byte strings and whatever began the transaction";

/// The blobs of one transaction that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    queue: VecDeque<Upload>,
    /// Uploads that are being sent, by their numbers, each with the arguments of `storeBlobEnd`.
    sent: Vec<Vec<Value>>,
    /// How many there have been, sent or not.
    count: usize,
    /// Whether the next piece was asked for.
    is_reading: bool,
    /// Why one of them could not be read.
    failed: Option<String>,
}

#[derive(Debug)]
struct Upload {
    number: usize,
    at: u64,
    /// The arguments of the message at its end.
    end: Vec<Value>,
}

impl Uploads {
    /// Adds a blob, with the arguments of the message at its end. Returns its number.
    pub(super) fn push(&mut self, end: Vec<Value>) -> usize {
        let number = self.count;
        self.count += 1;
        self.queue.push_back(Upload { number, at: 0, end });
        number
    }

    /// Everything must be sent once more, because the transaction is voted again and Python's server
    /// forgets blobs with the first vote (`spec: zeo-protocol 10`).
    pub(super) fn send_again(&mut self) {
        let sent = core::mem::take(&mut self.sent).into_iter().enumerate();
        self.queue = sent.map(|(number, end)| Upload { number, at: 0, end }).collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Why a blob could not be read.
    pub(super) const fn take_failure(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// Asks the adapter for the next piece of the blob that is being sent, if there is room for it.
    pub(super) fn read_next(&mut self, cx: &mut Context, channel: &mut Channel, txn: TxnId) {
        if self.is_reading || channel.backlog() > UNSENT_BYTES_MAX {
            return;
        }
        let Some(upload) = self.queue.front() else { return };
        if upload.at == 0 {
            channel.send_oneway("storeBlobStart", vec![]).expect("there is nothing to write");
        }
        self.is_reading = true;
        let (blob, at) = (upload.number, upload.at);
        cx.output(Output::ReadBlob { txn, blob, at, len: CHUNK_BYTES });
    }

    /// Sends the piece that the adapter has read. Fewer bytes than were asked for are the last.
    pub(super) fn send(&mut self, channel: &mut Channel, bytes: Result<Bytes, String>) {
        if !self.is_reading {
            return;
        }
        match bytes {
            Ok(bytes) => {
                self.is_reading = false;
                let Some(upload) = self.queue.front_mut() else { return };
                let len = bytes.len();
                upload.at += len as u64;
                if len > 0 {
                    let chunk = vec![Value::Bytes(bytes)];
                    channel.send_oneway("storeBlobChunk", chunk).expect(CARRIED);
                }
                if len < CHUNK_BYTES
                    && let Some(upload) = self.queue.pop_front()
                {
                    self.sent.push(upload.end.clone());
                    channel.send_oneway("storeBlobEnd", upload.end).expect(CARRIED);
                }
            }
            Err(problem) => {
                self.give_up(channel);
                self.failed.get_or_insert(problem);
            }
        }
    }

    /// Drops what is still to be sent. A server that has received the beginning of a blob accepts no
    /// other one before its end (`spec: zeo-protocol 9.3`).
    pub(super) fn give_up(&mut self, channel: &mut Channel) {
        let began = self.is_reading || self.queue.front().is_some_and(|upload| upload.at > 0);
        let first = core::mem::take(&mut self.queue).pop_front();
        self.is_reading = false;
        if let Some(upload) = first.filter(|_| began) {
            channel.send_oneway("storeBlobEnd", upload.end).expect(CARRIED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::Cache;
    use super::super::settings::ClientSettings;
    use super::*;
    use crate::time::Instant;

    const TXN: TxnId = TxnId(1);

    /// The number and the position of the piece that is asked for.
    fn wanted(cx: &mut Context) -> Option<(usize, u64)> {
        match cx.take_output()? {
            Output::ReadBlob { blob, at, .. } => Some((blob, at)),
            output => panic!("{output:?}"),
        }
    }

    #[test]
    fn blobs_are_sent_one_after_the_other_and_once_more() {
        let mut cx = Context::new(Instant::START, ClientSettings::default(), Cache::new(0));
        let (mut uploads, mut channel) = (Uploads::default(), Channel::new(1 << 20));
        assert_eq!((uploads.push(vec![]), uploads.push(vec![])), (0, 1));
        for _ in 0..2 {
            let whole = Bytes::from(vec![0; CHUNK_BYTES]);
            for (piece, blob, at) in
                [(whole, 0, 0), (Bytes::new(), 0, CHUNK_BYTES as u64), ("end".into(), 1, 0)]
            {
                uploads.read_next(&mut cx, &mut channel, TXN);
                uploads.read_next(&mut cx, &mut channel, TXN);
                assert_eq!((wanted(&mut cx), wanted(&mut cx)), (Some((blob, at)), None));
                uploads.send(&mut channel, Ok(piece));
            }
            assert!(uploads.is_empty());
            uploads.send_again();
        }
    }

    #[test]
    fn nothing_is_read_while_much_waits_to_be_sent() {
        let mut cx = Context::new(Instant::START, ClientSettings::default(), Cache::new(0));
        let (mut uploads, mut channel) = (Uploads::default(), Channel::new(1 << 20));
        let much = Value::Bytes(vec![0; UNSENT_BYTES_MAX].into());
        channel.send_oneway("storea", vec![much]).unwrap();
        uploads.push(vec![]);
        uploads.read_next(&mut cx, &mut channel, TXN);
        assert_eq!(wanted(&mut cx), None);
        while let Some(chunk) = channel.take_chunk() {
            channel.sent(chunk.len());
        }
        uploads.read_next(&mut cx, &mut channel, TXN);
        assert_eq!(wanted(&mut cx), Some((0, 0)));
        uploads.send(&mut channel, Err("it cannot be read".into()));
        assert!(uploads.is_empty());
        assert_eq!(uploads.take_failure().as_deref(), Some("it cannot be read"));
    }
}
