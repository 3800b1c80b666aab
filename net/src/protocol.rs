//! What a protocol implements, and what it can rely on.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

/// Maximum number of bytes read from a socket at once.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// One connection's side of a protocol: bytes in, bytes out, a deadline, events from outside.
///
/// A protocol never waits and owns no socket, so a test can call it without either. [`drive`] connects
/// it to a stream and calls its methods in one task, one at a time:
///
/// 1. [`transmit`](Self::transmit), before everything else, and again after every other call;
/// 2. what was transmitted is written, and [`sent`](Self::sent) says how much the stream has taken;
/// 3. with nothing left to write: [`poll_wake`](Self::poll_wake), then [`received`](Self::received) if
///    [`wants_input`](Self::wants_input), then [`handle_timeout`](Self::handle_timeout) if the time has
///    come;
/// 4. at last one of: the end of the task (after [`Status::Closing`] or [`Status::Closed`]), or
///    [`disconnected`](Self::disconnected). No method is called after that.
///
/// Reading and writing do not wait for each other: bytes are read also while others cannot be written,
/// because a peer may read only after its own bytes were read.
///
/// [`drive`]: crate::drive
pub trait Protocol {
    /// Maximum number of bytes to read at once, up to [`READ_BYTES_MAX`].
    const READ_BYTES: usize = READ_BYTES_MAX;

    /// Whether other tasks run after each read, before the next one. Where those tasks react to what
    /// was read, they do so earlier.
    const YIELDS_AFTER_READ: bool = false;

    /// Adds all bytes that can be sent now to the end of `output`, and says whether the connection stays
    /// open. All chunks go out in one vectored write, if the stream has room.
    ///
    /// `cx` belongs to the connection's task. A protocol whose output can also come from another thread
    /// keeps its waker, here or in [`poll_wake`](Self::poll_wake), and wakes it when there is output.
    fn transmit(&mut self, cx: &mut Context<'_>, output: &mut VecDeque<Bytes>) -> Status;

    /// Handles what other threads or connections have left for this one. Pending if there is nothing,
    /// after keeping the waker of `cx`. Called only when the task is about to wait.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }

    /// Whether to read. While this is false, bytes stay in the socket and the peer has to wait.
    fn wants_input(&self) -> bool {
        true
    }

    /// Handles bytes from the peer, cut anywhere.
    fn received(&mut self, bytes: &[u8]);

    /// The peer sends no more. The protocol can still send; it closes the connection in its next
    /// [`transmit`](Self::transmit) that returns something else than [`Status::Open`].
    fn end_of_input(&mut self);

    /// The stream has taken this number of bytes of the output.
    fn sent(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// How long from now until [`handle_timeout`](Self::handle_timeout) is due, if a deadline is set. A
    /// protocol with deadlines has a clock of its own, so that a test can give it another.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// The deadline has passed. Must move or clear it.
    fn handle_timeout(&mut self) {}

    /// The connection is lost, for this reason.
    fn disconnected(&mut self, reason: io::Error);
}

/// Whether a connection stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The connection stays open.
    Open,
    /// It is closed after all output was sent, or [`LINGER`](crate::LINGER) later. Nothing is read any
    /// more.
    Closing,
    /// It is closed at once. Output that was not sent is lost.
    Closed,
}
