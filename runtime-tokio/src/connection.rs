//! One connection: its socket, its session, its inbox, its timer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rzeo_core::server::{Input, JobId, Output, Session, StorageCall, StorageId};
use rzeo_core::time::Instant;
use rzeo_host::{Admitted, Connected, Host, Wake, log};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::socket::{READ_BYTES_MAX, Socket};

/// How long a peer may take to read what is left for it when its connection is closed.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// Serves a connection to its end, wherever it comes from. `peer` names it in the log. It counts among
/// the connections of the host, and is closed at once if there are too many.
pub async fn serve<S>(host: Arc<Host>, stream: S, peer: String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(admitted) = host.admit(peer) {
        converse(admitted, stream, None).await;
    }
}

/// Serves a connection that was let in to its end.
pub(crate) async fn converse<S>(admitted: Admitted, stream: S, tls: Option<Arc<ServerConfig>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connected = admitted.connect();
    let Some(tls) = tls else {
        return Connection::new(connected, stream).run().await;
    };
    // In a box, so that connections without TLS need not be as large as those with it.
    let secured = async {
        if let Some(stream) = shake_hands(&connected, stream, tls).await {
            Connection::new(connected, stream).run().await;
        }
    };
    Box::pin(secured).await;
}

/// `None` if the connection is of no use: because the handshake failed, because it took too long, or
/// because the server stops.
async fn shake_hands<S>(
    connected: &Connected,
    stream: S,
    tls: Arc<ServerConfig>,
) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = tokio::time::sleep(connected.time_until(connected.handshake_by()));
    tokio::select! {
        result = TlsAcceptor::from(tls).accept(stream) => {
            result.inspect_err(|error| connected.handshake_failed(&rzeo_tls::explain(error))).ok()
        }
        () = deadline => {
            connected.handshake_timed_out();
            None
        }
        // Nothing else can come for a connection that has asked for nothing.
        _stop = poll_fn(|cx| connected.poll_recv(cx)) => None,
    }
}

struct Connection<S> {
    socket: Socket<S>,
    session: Session,
    connected: Connected,
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
    /// All was written, and the peer was told that no more will come.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(connected: Connected, stream: S) -> Self {
        let session = connected.session();
        Self { socket: Socket::new(stream), session, connected, close_by: None }
    }

    async fn run(mut self) {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            self.drain();
            let deadline = self.close_by.or_else(|| self.session.poll_timeout());
            self.set_timer(timer.as_mut(), deadline);
            let wants_timer = deadline.is_some();
            match poll_fn(|cx| self.poll_event(cx, timer.as_mut(), wants_timer)).await {
                Event::Moved => {}
                Event::Wake(wake) => self.wake(wake),
                Event::Timeout => self.session.handle_timeout(self.connected.now()),
                Event::Broken => break,
                Event::Closed => return,
            }
            if self.close_by.is_some_and(|close_by| close_by <= self.connected.now().instant) {
                return;
            }
        }
        self.session.handle_input(self.connected.now(), Input::Gone);
        self.drain();
    }

    /// Does what the session says, and goes on with what is in the inbox already, so that everything
    /// that is ready goes out in one write.
    fn drain(&mut self) {
        loop {
            while let Some(output) = self.session.poll_output() {
                match output {
                    Output::Transmit(chunk) => self.socket.outgoing.push_back(chunk),
                    Output::Perform(storage, job, call) => self.perform(storage, job, call),
                    Output::Ask(storage, request) => self.connected.ask(storage, request),
                    Output::Log(line) => log(&line),
                    Output::Close(_) => {
                        self.close_by = Some(self.connected.now().instant.after(LINGER));
                    }
                }
            }
            if self.close_by.is_some() {
                return;
            }
            match self.connected.try_recv() {
                Some(wake) => self.wake(wake),
                None => return,
            }
        }
    }

    /// Here if it needs not wait for the disk, else on a thread for waiting.
    fn perform(&mut self, storage: StorageId, job: JobId, call: StorageCall) {
        match self.connected.perform(storage, call) {
            Ok(reply) => {
                self.session.handle_input(self.connected.now(), Input::Answer(job, reply));
            }
            Err(call) => {
                let work = self.connected.perform_waiting(storage, job, call);
                tokio::task::spawn_blocking(work);
            }
        }
    }

    fn wake(&mut self, wake: Wake) {
        let input = match wake {
            Wake::Notice(notice) => Input::Notice(notice),
            Wake::Answer(job, reply) => Input::Answer(job, reply),
            Wake::Stop => Input::Stop,
        };
        self.session.handle_input(self.connected.now(), input);
    }

    fn set_timer(&self, timer: Pin<&mut Sleep>, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            let wait = self.connected.time_until(deadline);
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
        if let Poll::Ready(sent) = self.poll_send(cx) {
            return Poll::Ready(sent);
        }
        if self.close_by.is_none() {
            if let Poll::Ready(wake) = self.connected.poll_recv(cx) {
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

    /// Sends what there is, at last the end. Pending also when nothing is left to be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.close_by.is_some() && self.socket.outgoing.is_empty() {
            let closed = ready!(self.socket.poll_end(cx));
            return Poll::Ready(closed.map_or(Event::Broken, |()| Event::Closed));
        }
        match ready!(self.socket.poll_send(cx)) {
            Ok(sent) => {
                self.session.handle_input(self.connected.now(), Input::Sent(sent));
                Poll::Ready(Event::Moved)
            }
            Err(_) => Poll::Ready(Event::Broken),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let hear = |bytes: &[u8]| {
            let input = if bytes.is_empty() { Input::Gone } else { Input::Bytes(bytes) };
            self.session.handle_input(self.connected.now(), input);
        };
        let read = ready!(self.socket.poll_read(cx, READ_BYTES_MAX, hear));
        Poll::Ready(read.map_or(Event::Broken, |_| Event::Moved))
    }
}
