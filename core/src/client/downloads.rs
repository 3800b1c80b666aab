//! Blobs on their way from the server: pieces are handed on as they come; the adapter writes them before
//! it reads the next bytes from the socket.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::answer::Call;
use super::channel::{Channel, Pending};
use super::context::Context;
use super::error::{CallError, LostBecause};
use super::output::{BlobPart, Output};
use super::reading::Reading;
use super::refused::Refused;
use crate::ids::{Oid, Tid};
use crate::value::Value;

/// The blobs that were asked for.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    by_revision: BTreeMap<(Oid, Tid), Download>,
}

#[derive(Debug, Default)]
struct Download {
    callers: Vec<Call<()>>,
    received: Received,
}

/// How much of a blob has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Received {
    #[default]
    Nothing,
    Beginning,
    All,
}

impl Downloads {
    /// Asks for a blob, or joins the callers of a request for the same.
    pub(super) fn ask(&mut self, channel: &mut Channel, oid: Oid, serial: Tid, call: Call<()>) {
        let is_new = !self.by_revision.contains_key(&(oid, serial));
        self.by_revision.entry((oid, serial)).or_default().callers.push(call);
        if is_new {
            let args = vec![Value::oid(oid), Value::tid(serial)];
            channel.ask(Pending::Download(oid, serial), "sendBlob", args);
        }
    }

    /// `receiveBlobStart`, `receiveBlobChunk`, `receiveBlobStop`. What was not asked for is dropped.
    pub(super) fn part(
        &mut self,
        cx: &mut Context,
        method: &'static str,
        args: Value,
    ) -> Result<(), LostBecause> {
        let odd = |problem| LostBecause::Odd { method, problem };
        let mut args = args.into_items().map_err(odd)?.into_iter();
        let mut next = || args.next().unwrap_or(Value::None);
        let oid = next().into_oid().map_err(odd)?;
        let serial = next().into_tid().map_err(odd)?;
        let (part, before, after) = match method {
            "receiveBlobStart" => (BlobPart::Start, Received::Nothing, Received::Beginning),
            "receiveBlobChunk" => {
                let chunk = next().into_bytes().map_err(odd)?;
                (BlobPart::Chunk(chunk), Received::Beginning, Received::Beginning)
            }
            _ => (BlobPart::End, Received::Beginning, Received::All),
        };
        if let Some(download) = self.by_revision.get_mut(&(oid, serial)) {
            if download.received != before {
                return Err(odd("a part of a blob that is out of turn".into()));
            }
            download.received = after;
            cx.output(Output::WriteBlob(oid, serial, part));
        }
        Ok(())
    }

    /// The server has sent the blob, or says that there is none.
    pub(super) fn answered(
        &mut self,
        cx: &mut Context,
        oid: Oid,
        serial: Tid,
        answer: Result<(), Refused>,
    ) {
        let Some(download) = self.by_revision.remove(&(oid, serial)) else { return };
        let result = match answer {
            Ok(()) if download.received == Received::All => Ok(()),
            Ok(()) => {
                let problem = "the blob did not come before it".into();
                Err(CallError::Odd { method: "sendBlob", problem })
            }
            Err(refused) => Err(refused.into()),
        };
        if result.is_err() {
            discard(cx, oid, serial, download.received);
        }
        for call in download.callers {
            cx.answer(call, result.clone());
        }
    }

    /// The connection is lost, and what was coming with it.
    pub(super) fn lost(&mut self, cx: &mut Context, because: &LostBecause) {
        for ((oid, serial), download) in core::mem::take(&mut self.by_revision) {
            discard(cx, oid, serial, download.received);
            for call in download.callers {
                cx.answer(call, Err(because.into()));
            }
        }
    }
}

fn discard(cx: &mut Context, oid: Oid, serial: Tid, received: Received) {
    if received != Received::Nothing {
        cx.output(Output::WriteBlob(oid, serial, BlobPart::Lost));
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::Cache;
    use super::super::output::Event;
    use super::super::settings::ClientSettings;
    use super::*;
    use crate::time::Instant;

    const OID: Oid = Oid(1);
    const SERIAL: Tid = Tid(2);

    fn asked() -> (Context, Downloads) {
        let mut cx = Context::new(Instant::START, ClientSettings::default(), Cache::new(0));
        let mut downloads = Downloads::default();
        let call = cx.new_call();
        downloads.ask(&mut Channel::new(1 << 20), OID, SERIAL, call);
        (cx, downloads)
    }

    fn part(cx: &mut Context, it: &mut Downloads, method: &'static str) -> Result<(), LostBecause> {
        let mut args = vec![Value::oid(OID), Value::tid(SERIAL)];
        args.push(Value::Bytes("bytes".into()));
        it.part(cx, method, Value::Tuple(args))
    }

    fn is_written(cx: &mut Context, part: &BlobPart) -> bool {
        matches!(cx.take_output(), Some(Output::WriteBlob(OID, SERIAL, it)) if it == *part)
    }

    fn result(cx: &mut Context) -> bool {
        let Some(Output::Event(Event::Answered { result, .. })) = cx.take_output() else {
            panic!("it is answered")
        };
        result.is_ok()
    }

    #[test]
    fn parts_are_handed_on_in_their_order() {
        let (mut cx, mut downloads) = asked();
        part(&mut cx, &mut downloads, "receiveBlobStart").unwrap();
        assert!(is_written(&mut cx, &BlobPart::Start));
        part(&mut cx, &mut downloads, "receiveBlobChunk").unwrap();
        assert!(is_written(&mut cx, &BlobPart::Chunk("bytes".into())));
        assert!(part(&mut cx, &mut downloads, "receiveBlobStart").is_err());
        part(&mut cx, &mut downloads, "receiveBlobStop").unwrap();
        assert!(is_written(&mut cx, &BlobPart::End));
        downloads.answered(&mut cx, OID, SERIAL, Ok(()));
        assert!(result(&mut cx));
    }

    #[test]
    fn an_incomplete_blob_is_discarded() {
        let (mut cx, mut downloads) = asked();
        part(&mut cx, &mut downloads, "receiveBlobStart").unwrap();
        assert!(is_written(&mut cx, &BlobPart::Start));
        downloads.answered(&mut cx, OID, SERIAL, Ok(()));
        assert!(is_written(&mut cx, &BlobPart::Lost));
        assert!(!result(&mut cx));
        let (mut cx, mut downloads) = asked();
        downloads.lost(&mut cx, &LostBecause::Closed);
        assert!(!result(&mut cx), "and nothing was written of it");
    }
}
