//! A connection as a protocol that [`rzeo_net::drive`] carries over a stream: its session, its inbox, and
//! its way to the storages.
//!
//! All that is ready is done before anything is written, so that it goes out in one write.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rzeo_core::server::{Input, Output, Session, StorageCall, StorageId};
use rzeo_net::{Protocol, Runtime, Status, Stream, drive, race, sleep};

use crate::{Connected, InboxMessage, log};

impl Connected {
    /// Serves the connection to its end.
    pub async fn serve<R, S>(self, runtime: R, stream: S)
    where
        R: Runtime + Clone,
        S: Stream,
    {
        let session = self.session();
        let connection =
            Connection { session, connected: self, runtime: runtime.clone(), is_closing: false };
        drive(runtime, connection, stream).await;
    }

    /// Makes the handshake of a layer below the protocol. `None` if it fails, if it takes longer than a
    /// client may take to register, or if the server stops; the log says which.
    pub async fn handshake<R, T, E>(
        &self,
        runtime: &R,
        handshake: impl Future<Output = Result<T, E>>,
    ) -> Option<T>
    where
        R: Runtime,
        E: Display,
    {
        let made = async {
            let made = handshake.await;
            made.inspect_err(|error| self.handshake_failed(&error.to_string())).ok()
        };
        let timed_out = async {
            sleep(runtime, self.time_until(self.handshake_by())).await;
            self.handshake_timed_out();
            None
        };
        // Nothing else can come for a connection that has asked for nothing.
        let stopped = poll_fn(|cx| self.poll_recv(cx).map(|_stop| None));
        race(made, race(timed_out, stopped)).await
    }
}

struct Connection<R> {
    session: Session,
    connected: Connected,
    runtime: R,
    /// Set when the session has ended.
    is_closing: bool,
}

impl<R: Runtime> Connection<R> {
    /// Performs all commands of the session, with all that is in the inbox already.
    fn perform_commands(&mut self, output: &mut VecDeque<Bytes>) -> Status {
        loop {
            while let Some(command) = self.session.poll_output() {
                match command {
                    Output::Transmit(chunk) => output.push_back(chunk),
                    Output::Perform(storage, call) => self.call_storage(storage, call),
                    Output::Ask(storage, request) => self.connected.ask(storage, request),
                    Output::Log(line) => log(&line),
                    Output::Close(_) => self.is_closing = true,
                }
            }
            if self.is_closing {
                return Status::Closing;
            }
            match self.connected.try_recv() {
                Some(message) => self.handle_message(message),
                None => return Status::Open,
            }
        }
    }

    /// On this thread if the call need not wait for the disk, else on one that may block.
    fn call_storage(&mut self, storage: StorageId, call: StorageCall) {
        match self.connected.perform(storage, call) {
            Ok(reply) => self.handle_input(Input::Answer(reply)),
            Err(call) => {
                let work = self.connected.perform_waiting(storage, call);
                self.runtime.spawn_blocking(work);
            }
        }
    }

    fn handle_message(&mut self, message: InboxMessage) {
        self.handle_input(match message {
            InboxMessage::Notice(notice) => Input::Notice(notice),
            InboxMessage::Answer(reply) => Input::Answer(reply),
            InboxMessage::Stop => Input::Stop,
        });
    }

    fn handle_input(&mut self, input: Input<'_>) {
        self.session.handle_input(self.connected.now(), input);
    }
}

impl<R: Runtime> Protocol for Connection<R> {
    fn transmit(&mut self, _cx: &mut Context<'_>, output: &mut VecDeque<Bytes>) -> Status {
        self.perform_commands(output)
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let message = ready!(self.connected.poll_recv(cx));
        self.handle_message(message);
        Poll::Ready(())
    }

    fn wants_input(&self) -> bool {
        self.session.wants_input()
    }

    fn received(&mut self, bytes: &[u8]) {
        self.handle_input(Input::Bytes(bytes));
    }

    fn end_of_input(&mut self) {
        self.handle_input(Input::Gone);
    }

    fn sent(&mut self, bytes: usize) {
        self.handle_input(Input::Sent(bytes));
    }

    fn timeout(&self) -> Option<Duration> {
        self.session.poll_timeout().map(|deadline| self.connected.time_until(deadline))
    }

    fn handle_timeout(&mut self) {
        self.session.handle_timeout(self.connected.now());
    }

    fn disconnected(&mut self, _reason: io::Error) {
        self.handle_input(Input::Gone);
        self.perform_commands(&mut VecDeque::new());
    }
}
