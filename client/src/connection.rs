//! The client on any runtime: a [`Link`] is a protocol that [`rzeo_net::drive`] carries over a stream, and
//! a [`Driver`] runs until the client ends.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rzeo_net::{Protocol, Runtime, Status, Stream, Timer, drive, race};

use crate::driver::{Driver, Link, Order};

impl Driver {
    /// Runs the client to its end. `connect` is called for each connection to make; it spawns a task that
    /// connects to the link's address and calls [`Link::attempt`] and [`Link::run`].
    pub async fn run<R: Runtime>(mut self, runtime: R, mut connect: impl FnMut(Link)) {
        let mut timer = pin!(runtime.timer());
        while let Order::Connect(link) =
            poll_fn(|cx| self.poll_order_or_timeout(cx, timer.as_mut())).await
        {
            connect(link);
        }
    }

    /// The next order; deadlines that pass meanwhile are handled.
    fn poll_order_or_timeout<T: Timer>(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut T>,
    ) -> Poll<Order> {
        loop {
            if let Poll::Ready(order) = self.poll_order(cx) {
                return Poll::Ready(order);
            }
            let Some(wait) = self.wait() else { return Poll::Pending };
            // A runtime rounds timers up, so one that is set to a deadline that has passed is always late.
            if !wait.is_zero() {
                timer.as_mut().set_after(wait);
                ready!(timer.as_mut().poll_expired(cx));
            }
            self.handle_timeout();
        }
    }
}

impl Link {
    /// Makes a step that comes before the protocol, such as connecting or a TLS handshake. `None` if it
    /// fails, or when the connection is not needed any more.
    pub async fn attempt<T>(
        self,
        attempt: impl Future<Output = io::Result<T>>,
    ) -> Option<(Self, T)> {
        let given_up = poll_fn(|cx| self.poll_given_up(cx).map(|()| None));
        match race(async { Some(attempt.await) }, given_up).await? {
            Ok(made) => Some((self, made)),
            Err(error) => {
                self.failed(&rzeo_tls::explain(&error));
                None
            }
        }
    }

    /// Runs the protocol over a stream, to the end of the connection.
    pub async fn run<R: Runtime, S: Stream>(mut self, runtime: R, stream: S) {
        self.connected();
        drive(runtime, self, stream).await;
    }
}

impl Protocol for Link {
    /// Callers that were answered run before more is read. So of many answers that come together, the
    /// first are followed by new requests while the others are still read, and neither side waits for
    /// the other: with 64 loads at once that doubles the loads per second.
    const READ_BYTES: usize = 16 * 1024;
    const YIELDS_AFTER_READ: bool = true;

    fn transmit(&mut self, cx: &mut Context<'_>, output: &mut VecDeque<Bytes>) -> Status {
        if self.is_over() {
            Status::Closed
        } else if self.take_outbox(cx, output) {
            Status::Open
        } else {
            Status::Closing
        }
    }

    fn wants_input(&self) -> bool {
        Self::wants_input(self)
    }

    fn received(&mut self, bytes: &[u8]) {
        Self::received(self, bytes);
    }

    fn end_of_input(&mut self) {
        self.lost(&"the server has closed the connection");
    }

    fn sent(&mut self, bytes: usize) {
        Self::sent(self, bytes);
    }

    fn disconnected(&mut self, reason: io::Error) {
        self.lost(&rzeo_tls::explain(&reason));
    }
}
