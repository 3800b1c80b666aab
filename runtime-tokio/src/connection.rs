//! One connection: its socket, its session, its inbox, its timer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rzeo_core::server::{Input, JobId, Output, Session, StorageCall, StorageId};
use rzeo_core::time::Instant;
use rzeo_host::{Connected, Host, Inbox, Wake, log};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Sleep;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Chunks written at a time.
const WRITE_CHUNKS: usize = 64;

/// How long a peer may take to read what is left for it when its connection is closed.
const LINGER: Duration = Duration::from_secs(5);

thread_local! {
    /// One read buffer for all connections of a worker: sessions take what they need at once.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Tokio's channel as an inbox.
struct Mailbox(UnboundedSender<Wake>);

impl Inbox for Mailbox {
    fn push(&self, wake: Wake) {
        // The connection may be gone; then nobody needs it.
        let _ = self.0.send(wake);
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve<S>(host: Arc<Host>, stream: S, peer: String)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sender, inbox) = unbounded_channel();
    let mailbox: Arc<dyn Inbox> = Arc::new(Mailbox(sender));
    let session = Session::new(host.now(), host.settings(), peer);
    let connected = host.connect(mailbox.clone());
    let outgoing = VecDeque::new();
    let connection =
        Connection { host, stream, session, connected, mailbox, inbox, outgoing, close_by: None };
    connection.run().await;
}

struct Connection<S> {
    host: Arc<Host>,
    stream: S,
    session: Session,
    connected: Connected,
    mailbox: Arc<dyn Inbox>,
    inbox: UnboundedReceiver<Wake>,
    outgoing: VecDeque<Bytes>,
    /// Set when the session is finished: until when the rest may be written.
    close_by: Option<Instant>,
}

/// What a connection waits for.
enum Event {
    Wake(Wake),
    /// Something was read or written and has been handled.
    Moved,
    Timeout,
    /// The socket is of no more use.
    Broken,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(mut self) {
        let mut timer = pin!(tokio::time::sleep_until(tokio::time::Instant::now()));
        loop {
            self.drain();
            if self.close_by.is_some() && self.outgoing.is_empty() {
                break;
            }
            let deadline = self.close_by.or_else(|| self.session.poll_timeout());
            self.set_timer(timer.as_mut(), deadline);
            let wants_timer = deadline.is_some();
            match poll_fn(|cx| self.poll_event(cx, timer.as_mut(), wants_timer)).await {
                Event::Moved => {}
                Event::Wake(wake) => self.wake(wake),
                Event::Timeout if self.close_by.is_some() => self.outgoing.clear(),
                Event::Timeout => self.session.handle_timeout(self.host.now()),
                Event::Broken => {
                    self.outgoing.clear();
                    self.session.handle_input(self.host.now(), Input::Gone);
                }
            }
        }
        // The peer may be gone, or may not have read everything: nothing is left to be done.
        let _ = self.stream.shutdown().await;
    }

    /// Does what the session says, and goes on with what is in the inbox already, so that everything
    /// that is ready goes out in one write.
    fn drain(&mut self) {
        loop {
            while let Some(output) = self.session.poll_output() {
                match output {
                    Output::Transmit(chunk) => self.outgoing.push_back(chunk),
                    Output::Perform(storage, job, call) => self.perform(storage, job, call),
                    Output::Ask(storage, request) => self.connected.ask(storage, request),
                    Output::Log(line) => log(&line),
                    Output::Close(_) => self.close_by = Some(self.host.now().instant.after(LINGER)),
                }
            }
            match self.inbox.try_recv() {
                Ok(wake) if self.close_by.is_none() => self.wake(wake),
                _ => return,
            }
        }
    }

    /// Here if it needs not wait for the disk, else on a thread for waiting.
    fn perform(&mut self, storage: StorageId, job: JobId, call: StorageCall) {
        match self.connected.perform(storage, call) {
            Ok(reply) => self.session.handle_input(self.host.now(), Input::Answer(job, reply)),
            Err(call) => {
                let mailbox = self.mailbox.clone();
                let work = self.connected.perform_waiting(storage, job, call, mailbox);
                tokio::task::spawn_blocking(work);
            }
        }
    }

    fn wake(&mut self, wake: Wake) {
        let input = match wake {
            Wake::Notice(notice) => Input::Notice(notice),
            Wake::Answer(job, reply) => Input::Answer(job, reply),
            Wake::Stop => Input::Gone,
        };
        self.session.handle_input(self.host.now(), input);
    }

    fn set_timer(&self, timer: Pin<&mut Sleep>, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            let wait = deadline.0.saturating_sub(self.host.now().instant.0);
            timer.reset(tokio::time::Instant::now() + wait);
        }
    }

    /// Reading and writing at the same time, because a peer may read only when its requests were
    /// read, and the other way round.
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        timer: Pin<&mut Sleep>,
        wants_timer: bool,
    ) -> Poll<Event> {
        if !self.outgoing.is_empty()
            && let Poll::Ready(written) = self.poll_write(cx)
        {
            return Poll::Ready(written);
        }
        if self.close_by.is_none() {
            if let Poll::Ready(Some(wake)) = self.inbox.poll_recv(cx) {
                return Poll::Ready(Event::Wake(wake));
            }
            if self.session.wants_input()
                && let Poll::Ready(read) = self.poll_read(cx)
            {
                return Poll::Ready(read);
            }
        }
        if wants_timer {
            ready!(timer.poll(cx));
            return Poll::Ready(Event::Timeout);
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => {
                    self.session.handle_input(self.host.now(), Input::Gone);
                }
                Ok(()) => {
                    let input = Input::Bytes(buffer.filled());
                    self.session.handle_input(self.host.now(), input);
                }
                Err(_) => return Poll::Ready(Event::Broken),
            }
            Poll::Ready(Event::Moved)
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.outgoing) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        let stream = Pin::new(&mut self.stream);
        match ready!(stream.poll_write_vectored(cx, &slices[..count])) {
            Ok(0) => Poll::Ready(Event::Broken),
            Ok(written) => {
                self.forget(written);
                self.session.handle_input(self.host.now(), Input::Sent(written));
                Poll::Ready(Event::Moved)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(Event::Moved),
            Err(_) => Poll::Ready(Event::Broken),
        }
    }

    /// Drops what the socket has taken.
    fn forget(&mut self, mut written: usize) {
        while written > 0 {
            let Some(chunk) = self.outgoing.front_mut() else { return };
            if chunk.len() > written {
                return chunk.advance(written);
            }
            written -= chunk.len();
            self.outgoing.pop_front();
        }
    }
}
