//! Blobs on their way in.
//!
//! ```text
//!   storeBlobStart    storeBlobChunk…   storeBlobEnd            the last write is done
//!   ──────────────► Opening ──► Open ──────────────► Ending ──────────────────────────► operation
//!                      │  a failing disk, a limit
//!                      └───────────► Failed ──storeBlobEnd──► the transaction fails at its vote
//! ```
//!
//! Chunks name neither their transaction nor their object, so a connection has one upload at a time.
//! They are written to a file of the storage while they arrive ([`ScratchWriter`]): of a blob, however
//! big, little is in memory. Calls that arrive while the file is being made or finished are held with
//! the calls of the transaction, so a vote never overtakes a write.
//!
//! An upload needs no transaction until it ends. In Python's server one that was aborted stays open,
//! and the next `storeBlobStart` then ends the connection (`spec: zeo-protocol-gotchas 39`); here it is
//! forgotten with the transaction.
//!
//! `storeBlobShared` names a file that the client has put beside the blobs itself.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;

use bytes::Bytes;

use super::context::Context;
use super::operations::too_much;
use super::scratch_writer::ScratchWriter;
use crate::server::caller::Caller;
use crate::server::log_line::LogLevel;
use crate::server::storage_calls::{
    BlobRecord, CreateUpload, FindShared, FoundShared, UploadId, WriteScratch, Writer,
};
use crate::server::vote::Operation;
use crate::storage::{Scratch, StorageError};
use crate::value::Value;
use crate::wire::refusal::Refusal;

/// The upload of a connection, if one is open.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    current: Option<Upload>,
}

#[derive(Debug)]
struct Upload {
    /// Names it to the storage calls that are under way.
    id: UploadId,
    stage: UploadStage,
    /// Bytes that have arrived.
    bytes: u64,
}

#[derive(Debug)]
enum UploadStage {
    /// The storage makes the file.
    Opening,
    /// Chunks arrive.
    Open(ScratchWriter),
    /// All chunks have arrived, the last ones are being written.
    Ending(ScratchWriter, BlobRecord),
    /// The storage looks for the file that the client has made.
    Sharing,
    /// Chunks that still arrive are dropped.
    Failed(Refusal),
}

/// The end of an upload: the call that waits for it, and the operation that it becomes. If it failed, so does the
/// transaction, at its vote.
#[derive(Debug)]
pub(super) struct UploadEnd {
    pub(super) caller: Caller,
    pub(super) result: Result<Operation, Refusal>,
}

impl UploadEnd {
    fn stored(record: BlobRecord, file: Arc<dyn Scratch>) -> Self {
        let (caller, operation) = record.with_blob(file);
        Self { caller, result: Ok(operation) }
    }

    fn failed(record: BlobRecord, refusal: Refusal) -> Self {
        Self { caller: record.caller, result: Err(refusal) }
    }
}

impl Uploads {
    /// Whether calls of the transaction have to wait.
    pub(super) fn is_under_way(&self) -> bool {
        self.current.as_ref().is_some_and(|upload| match upload.stage {
            UploadStage::Opening | UploadStage::Ending(..) | UploadStage::Sharing => true,
            UploadStage::Open(_) | UploadStage::Failed(_) => false,
        })
    }

    /// Whether no more chunks should be read until some are written.
    pub(super) fn is_full(&self) -> bool {
        self.current.as_ref().and_then(Upload::writer).is_some_and(ScratchWriter::is_full)
    }

    /// Forgets the upload. Returns its file, if it has one.
    pub(super) fn abort(&mut self) -> Option<Arc<dyn Scratch>> {
        self.current.take().and_then(|upload| upload.writer().map(|writer| writer.file().clone()))
    }

    /// `storeBlobStart`.
    pub(super) fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Refusal> {
        cx.refuse_without_blobs("temporaryDirectory")?;
        if self.current.is_some() {
            return Err(out_of_turn("storeBlobStart: another upload is open on this connection"));
        }
        let id = self.begin(cx, UploadStage::Opening);
        cx.perform(CreateUpload(id));
        Ok(())
    }

    fn begin(&mut self, cx: &mut Context<'_>, stage: UploadStage) -> UploadId {
        let id = UploadId(cx.next_number());
        self.current = Some(Upload { id, stage, bytes: 0 });
        id
    }

    /// `storeBlobChunk`.
    pub(super) fn chunk(&mut self, cx: &mut Context<'_>, chunk: &Bytes) -> Result<(), Refusal> {
        let limit = cx.limits().blob_bytes_max;
        let Some(upload) = &mut self.current else {
            return Err(out_of_turn("storeBlobChunk: no upload is open on this connection"));
        };
        upload.bytes = upload.bytes.saturating_add(chunk.len() as u64);
        if let UploadStage::Open(writer) = &mut upload.stage {
            if upload.bytes > limit {
                let text = format!(
                    "a blob has more than {limit} bytes, which is the limit (max-blob-size)"
                );
                upload.stage = UploadStage::Failed(too_much(text));
            } else {
                writer.push(chunk);
            }
        }
        self.write(cx);
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        if let Some(write) = self.current.as_mut().and_then(Upload::next_write) {
            cx.perform(write);
        }
    }

    /// `storeBlobEnd`. The upload ends when all of it is written.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, record: BlobRecord) -> Option<UploadEnd> {
        let Some(Upload { id, stage, bytes }) = self.current.take() else {
            let refusal = out_of_turn("storeBlobEnd: no upload is open on this connection");
            cx.answer(record.caller, Err(refusal));
            return None;
        };
        let stage = match stage {
            UploadStage::Open(writer) => UploadStage::Ending(writer, record),
            UploadStage::Failed(refusal) => return Some(UploadEnd::failed(record, refusal)),
            stage @ (UploadStage::Opening | UploadStage::Ending(..) | UploadStage::Sharing) => {
                self.current = Some(Upload { id, stage, bytes });
                let refusal = out_of_turn("storeBlobEnd: the upload is not open yet");
                cx.answer(record.caller, Err(refusal));
                return None;
            }
        };
        self.current = Some(Upload { id, stage, bytes });
        self.take_written()
    }

    /// Ends the upload if all of it has arrived and is written.
    fn take_written(&mut self) -> Option<UploadEnd> {
        let upload = self.current.take_if(
            |upload| matches!(&upload.stage, UploadStage::Ending(writer, _) if writer.is_written()),
        )?;
        match upload.stage {
            UploadStage::Ending(writer, record) => {
                Some(UploadEnd::stored(record, writer.file().clone()))
            }
            UploadStage::Opening
            | UploadStage::Open(_)
            | UploadStage::Sharing
            | UploadStage::Failed(_) => None,
        }
    }

    /// `storeBlobShared`.
    pub(super) fn share(&mut self, cx: &mut Context<'_>, name: String, record: BlobRecord) {
        if let Err(refusal) = self.check_share(cx, &name) {
            return cx.answer(record.caller, Err(refusal));
        }
        let id = self.begin(cx, UploadStage::Sharing);
        cx.perform(FindShared { id, name, record: Box::new(record) });
    }

    fn check_share(&self, cx: &mut Context<'_>, name: &str) -> Result<(), Refusal> {
        if self.current.is_some() {
            return Err(out_of_turn("storeBlobShared: an upload is open on this connection"));
        }
        if !is_upload_name(name) {
            let text = format!("storeBlobShared: bad file name {name:?}");
            cx.out.log(LogLevel::Critical, &text);
            return Err(Refusal::Other("builtins.ValueError", vec![Value::Str(name.into())]));
        }
        cx.refuse_without_blobs("fshelper")
    }

    /// The storage has made the file of an upload, which may be forgotten.
    pub(super) fn created(
        &mut self,
        cx: &mut Context<'_>,
        id: UploadId,
        result: Result<Arc<dyn Scratch>, StorageError>,
    ) {
        let Some(upload) = self.named(id) else { return };
        match result {
            Ok(file) => {
                if let UploadStage::Opening = upload.stage {
                    let writer = ScratchWriter::new(Writer::Upload(id), file);
                    upload.stage = UploadStage::Open(writer);
                }
            }
            Err(error) => {
                log_failure(cx, &error);
                upload.stage = UploadStage::Failed(error.into());
            }
        }
    }

    /// The storage has written a part of an upload, which may be forgotten.
    pub(super) fn written(
        &mut self,
        cx: &mut Context<'_>,
        id: UploadId,
        result: Result<(), StorageError>,
    ) -> Option<UploadEnd> {
        let upload = self.named(id)?;
        match result {
            Ok(()) => {
                if let Some(writer) = upload.writer_mut() {
                    writer.wrote();
                }
                self.write(cx);
                self.take_written()
            }
            Err(error) => {
                log_failure(cx, &error);
                let upload = self.current.take()?;
                match upload.stage {
                    UploadStage::Ending(_, record) => Some(UploadEnd::failed(record, error.into())),
                    UploadStage::Opening
                    | UploadStage::Open(_)
                    | UploadStage::Sharing
                    | UploadStage::Failed(_) => {
                        let stage = UploadStage::Failed(error.into());
                        self.current = Some(Upload { stage, ..upload });
                        None
                    }
                }
            }
        }
    }

    /// The storage has found the file that the client has made, or not.
    pub(super) fn shared(
        &mut self,
        cx: &mut Context<'_>,
        FoundShared { id, record, found }: FoundShared,
    ) -> Option<UploadEnd> {
        self.current.take_if(|upload| upload.id == id)?;
        Some(match found {
            Ok(file) => UploadEnd::stored(*record, file),
            Err(error) => {
                log_failure(cx, &error);
                UploadEnd::failed(*record, error.into())
            }
        })
    }

    fn named(&mut self, id: UploadId) -> Option<&mut Upload> {
        self.current.as_mut().filter(|upload| upload.id == id)
    }
}

impl Upload {
    const fn writer(&self) -> Option<&ScratchWriter> {
        match &self.stage {
            UploadStage::Open(writer) | UploadStage::Ending(writer, _) => Some(writer),
            UploadStage::Opening | UploadStage::Sharing | UploadStage::Failed(_) => None,
        }
    }

    const fn writer_mut(&mut self) -> Option<&mut ScratchWriter> {
        match &mut self.stage {
            UploadStage::Open(writer) | UploadStage::Ending(writer, _) => Some(writer),
            UploadStage::Opening | UploadStage::Sharing | UploadStage::Failed(_) => None,
        }
    }

    fn next_write(&mut self) -> Option<WriteScratch> {
        self.writer_mut()?.next_write()
    }
}

fn log_failure(cx: &mut Context<'_>, error: &StorageError) {
    cx.out.log(LogLevel::Error, &format!("upload of a blob failed: {error}"));
}

/// A bare file name, as the client makes them: `.tmp`, and at most one more character
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
    use super::super::bench::{Bench, NoFile};
    use super::*;
    use crate::ids::{Oid, Tid};
    use crate::server::storage_calls::Job;

    fn record() -> BlobRecord {
        let caller = Caller::numbered(1);
        BlobRecord { caller, oid: Oid(1), serial: Tid::ZERO, data: Bytes::from_static(b"blob") }
    }

    /// An upload whose file is there and whose only chunk is being written.
    fn writing(bench: &mut Bench) -> (Uploads, UploadId) {
        let mut uploads = Uploads::default();
        uploads.start(&mut bench.context()).expect("no other upload is open");
        let [Job::CreateUpload(CreateUpload(id))] = bench.jobs()[..] else {
            panic!("a file is requested")
        };
        uploads.created(&mut bench.context(), id, Ok(Arc::new(NoFile)));
        let chunk = Bytes::from_static(b"chunk");
        uploads.chunk(&mut bench.context(), &chunk).expect("an upload is open");
        assert!(matches!(bench.jobs()[..], [Job::WriteScratch(_)]));
        (uploads, id)
    }

    #[test]
    fn an_upload_becomes_an_operation_when_its_last_write_is_done() {
        let mut bench = Bench::new();
        let (mut uploads, id) = writing(&mut bench);
        assert!(uploads.end(&mut bench.context(), record()).is_none());
        assert!(uploads.is_under_way());
        let end = uploads.written(&mut bench.context(), id, Ok(())).expect("all is written");
        assert!(matches!(end.result, Ok(Operation::StoreBlob { .. })));
        assert!(uploads.abort().is_none());
    }

    #[test]
    fn an_upload_that_cannot_be_written_fails_at_its_end() {
        let mut bench = Bench::new();
        let (mut uploads, id) = writing(&mut bench);
        let error = Err(StorageError::Unsupported("write"));
        assert!(uploads.written(&mut bench.context(), id, error).is_none());
        let end = uploads.end(&mut bench.context(), record()).expect("nothing is written");
        assert!(end.result.is_err());
    }

    #[test]
    fn an_answer_for_a_forgotten_upload_changes_nothing() {
        let mut bench = Bench::new();
        let (mut uploads, old) = writing(&mut bench);
        assert!(uploads.abort().is_some());
        uploads.start(&mut bench.context()).expect("the other one is forgotten");
        assert!(uploads.written(&mut bench.context(), old, Ok(())).is_none());
        assert!(uploads.is_under_way(), "its file is still being made");
    }

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
