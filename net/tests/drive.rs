//! What the loop promises to a protocol, shown in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rzeo_net::memory::{Memory, MemoryStream, pipe};
use rzeo_net::{Protocol, Status, Stream, drive};

/// All calls of a protocol, in order, and what it answers.
#[derive(Default)]
struct Script {
    calls: Vec<String>,
    output: VecDeque<Bytes>,
    is_full: bool,
    is_over: Option<Status>,
}

#[derive(Clone, Default)]
struct Scripted(Rc<RefCell<Script>>);

impl Scripted {
    fn log(&self, call: impl Into<String>) {
        self.0.borrow_mut().calls.push(call.into());
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().calls)
    }

    fn output(&self, chunks: &[&'static str]) {
        self.0.borrow_mut().output.extend(chunks.iter().map(|chunk| Bytes::from(*chunk)));
    }
}

impl Protocol for Scripted {
    fn transmit(&mut self, _cx: &mut Context<'_>, output: &mut VecDeque<Bytes>) -> Status {
        let mut script = self.0.borrow_mut();
        output.append(&mut script.output);
        script.is_over.unwrap_or(Status::Open)
    }

    fn wants_input(&self) -> bool {
        !self.0.borrow().is_full
    }

    fn received(&mut self, bytes: &[u8]) {
        self.log(format!("received {}", String::from_utf8_lossy(bytes)));
    }

    fn end_of_input(&mut self) {
        self.log("end of input");
    }

    fn sent(&mut self, bytes: usize) {
        self.log(format!("sent {bytes}"));
    }

    fn disconnected(&mut self, reason: io::Error) {
        self.log(format!("disconnected: {:?}", reason.kind()));
    }
}

/// Counts the writes of a stream.
struct Counted(MemoryStream, Rc<RefCell<Vec<usize>>>);

impl Stream for Counted {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buffer)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.1.borrow_mut().push(buffers.len());
        self.0.poll_write_vectored(cx, buffers)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }
}

#[test]
fn all_output_of_a_turn_is_one_write() {
    let (memory, protocol) = (Memory::new(), Scripted::default());
    let (near, far) = pipe(100);
    let writes = Rc::new(RefCell::new(Vec::new()));
    protocol.output(&["one", "two", "three"]);
    memory.spawn(drive(memory.clone(), protocol.clone(), Counted(near, writes.clone())));
    memory.run();
    assert_eq!(far.take(), b"onetwothree");
    assert_eq!(*writes.borrow(), [3]);
    assert_eq!(protocol.calls(), ["sent 11"]);
}

#[test]
fn bytes_are_read_while_others_cannot_be_written() {
    let (memory, protocol) = (Memory::new(), Scripted::default());
    let (near, far) = pipe(5);
    protocol.output(&["abc", "defg"]);
    memory.spawn(drive(memory.clone(), protocol.clone(), near));
    memory.run();
    far.send(b"request");
    memory.run();
    assert_eq!(protocol.calls(), ["sent 5", "received request"]);
    assert_eq!(far.take(), b"abcde");
    memory.run();
    assert_eq!(far.take(), b"fg");
    assert_eq!(protocol.calls(), ["sent 2"]);
}

#[test]
fn a_protocol_that_is_full_is_not_read_for() {
    let (memory, protocol) = (Memory::new(), Scripted::default());
    let (near, far) = pipe(5);
    protocol.0.borrow_mut().is_full = true;
    memory.spawn(drive(memory.clone(), protocol.clone(), near));
    far.send(b"request");
    memory.run();
    assert_eq!(protocol.calls(), [""; 0]);
}

#[test]
fn after_the_end_of_input_output_is_still_sent() {
    let (memory, protocol) = (Memory::new(), Scripted::default());
    let (near, far) = pipe(4);
    protocol.output(&["the rest"]);
    memory.spawn(drive(memory.clone(), protocol.clone(), near));
    far.close();
    memory.run();
    assert_eq!(protocol.calls(), ["sent 4", "end of input"]);
    protocol.0.borrow_mut().is_over = Some(Status::Closing);
    assert_eq!(far.take(), b"the ");
    memory.run();
    assert_eq!(far.take(), b"rest");
    memory.run();
    assert!(far.is_closed() && memory.running() == 0);
}

#[test]
fn a_closed_connection_is_dropped_at_once_and_a_lost_one_is_reported() {
    let (memory, protocol) = (Memory::new(), Scripted::default());
    let (near, far) = pipe(100);
    protocol.output(&["lost"]);
    protocol.0.borrow_mut().is_over = Some(Status::Closed);
    memory.spawn(drive(memory.clone(), protocol.clone(), near));
    memory.run();
    assert!(far.is_closed() && far.take().is_empty() && memory.running() == 0);
    assert_eq!(protocol.calls(), [""; 0]);

    let protocol = Scripted::default();
    let (near, far) = pipe(100);
    protocol.output(&["no peer reads this"]);
    drop(far);
    memory.spawn(drive(memory.clone(), protocol.clone(), near));
    memory.run();
    assert_eq!(protocol.calls(), ["disconnected: BrokenPipe"]);
    assert_eq!(memory.running(), 0);
}
